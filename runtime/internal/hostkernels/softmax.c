#include "hostkernels.h"
#include "vector.h"

// Which columns of a row a query sees by its position, from begin to below end; and the whole vectors that have them, of which the last
// may go beyond the row.
typedef struct {
  int64_t begin, end, first, last;
} range;

INLINE range seen(const hostkernels_node *n, int64_t query) {
  const int64_t i = n->past + query;
  range r = {0, n->columns, 0, 0};
  if (n->causal && i + 1 < r.end) r.end = i + 1;
  if (n->window > 0 && i + 1 > n->window) r.begin = i + 1 - n->window;
  r.first = r.begin / LANES * LANES;
  r.last = (r.end + LANES - 1) / LANES * LANES;
  return r;
}

// Added to the vector at j: 0 where the row sees, -∞ where it does not.
INLINE vec hidden(range r, int64_t j) {
  enum { n = 8 }; // LANES or more
#define ALL(x) x, x, x, x, x, x, x, x
  static const float edges[] = {ALL(-__builtin_inff()), ALL(0), ALL(-__builtin_inff())};
  const int64_t before = r.begin > j ? r.begin - j : 0, behind = r.end < j + LANES ? j + LANES - r.end : 0;
  return load(edges + n - before) + load(edges + 2 * n - LANES + behind);
}

INLINE vec load_within(const float *p, int64_t j, int64_t columns) { return j + LANES <= columns ? load(p + j) : load_some(p + j, columns - j); }
INLINE void store_within(float *p, vec v, int64_t j, int64_t columns) {
  if (j + LANES <= columns)
    store(p + j, v);
  else
    store_some(p + j, v, columns - j);
}

// Zeros in the vectors that a row does not see.
INLINE void hide(float *y, range r, int64_t columns) {
  for (int64_t j = 0; j < r.first; j += LANES) store(y + j, all(0));
  for (int64_t j = r.last; j < columns; j += LANES) store_within(y, all(0), j, columns);
}

// e^(x − the largest that the row sees), divided by its sum over what it sees; elsewhere 0.
WIDEST void hostkernels_softmax(const hostkernels_call *c, int64_t first, int64_t count, float *partial) {
  const int64_t columns = c->node->columns, queries = c->node->queries;
  const float *x = (const float *)c->in[0] + first * columns;
  float *y = (float *)c->out[0] + first * columns;
  for (int64_t i = first % queries; count > 0; count--, x += columns, y += columns) {
    const range r = seen(c->node, i);
    if (++i == queries) i = 0;
    vec top = all(-__builtin_inff()), sums = all(0);
    for (int64_t j = r.first; j < r.last; j += LANES) top = larger(top, load_within(x, j, columns) + hidden(r, j));
    const float largest = largest_of(top);
    for (int64_t j = r.first; j < r.last; j += LANES) {
      const vec e = exponential(load_within(x, j, columns) + hidden(r, j) - largest);
      sums += e;
      store_within(y, e, j, columns);
    }
    const float share = 1 / sum_of(sums);
    for (int64_t j = r.first; j < r.last; j += LANES) store_within(y, load_within(y, j, columns) * share, j, columns);
    hide(y, r, columns);
  }
}

// y·(dy − Σ y·dy), with the sum over what a row sees. Elsewhere y is 0.
WIDEST void hostkernels_softmax_grad(const hostkernels_call *c, int64_t first, int64_t count, float *partial) {
  const int64_t columns = c->node->columns, queries = c->node->queries;
  const float *y = (const float *)c->in[0] + first * columns, *dy = (const float *)c->in[1] + first * columns;
  float *dx = (float *)c->out[0] + first * columns;
  for (int64_t i = first % queries; count > 0; count--, y += columns, dy += columns, dx += columns) {
    const range r = seen(c->node, i);
    if (++i == queries) i = 0;
    vec sums = all(0);
    for (int64_t j = r.first; j < r.last; j += LANES) sums += load_within(y, j, columns) * load_within(dy, j, columns);
    const float sum = sum_of(sums);
    for (int64_t j = r.first; j < r.last; j += LANES) store_within(dx, load_within(y, j, columns) * (load_within(dy, j, columns) - sum), j, columns);
    hide(dx, r, columns);
  }
}

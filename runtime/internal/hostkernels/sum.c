#include "hostkernels.h"
#include "vector.h"

// The sums of the columns of x [N,C].
WIDEST void hostkernels_column_sum(const hostkernels_call *c, int64_t first, int64_t count, float *partial) {
  const int64_t columns = c->node->columns;
  const float *x = (const float *)c->in[0] + first * columns;
  int64_t j = 0;
  for (; j + LANES <= columns; j += LANES) {
    vec sum = all(0);
    for (int64_t i = 0; i < count; i++) sum += load(x + i * columns + j);
    store(partial + j, sum);
  }
  for (; j < columns; j++) {
    float sum = 0;
    for (int64_t i = 0; i < count; i++) sum += x[i * columns + j];
    partial[j] = sum;
  }
}

void hostkernels_add_columns(const hostkernels_call *c) { hostkernels_fold(c, 0, c->node->columns, c->in[1], c->out[0]); }

// The sum of squares of x [n].
WIDEST void hostkernels_sum_squares(const hostkernels_call *c, int64_t first, int64_t count, float *partial) {
  const float *x = (const float *)c->in[0] + first;
  vec sum[4] = {all(0), all(0), all(0), all(0)};
  int64_t i = 0;
  for (; i + 4 * LANES <= count; i += 4 * LANES) {
    for (int k = 0; k < 4; k++) {
      const vec v = load(x + i + k * LANES);
      sum[k] += v * v;
    }
  }
  for (; i < count; i += LANES) {
    const vec v = load_some(x + i, count - i < LANES ? count - i : LANES);
    sum[0] += v * v;
  }
  *partial = sum_of((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

void hostkernels_add_squares(const hostkernels_call *c) {
  double sum = 0; // thousands of parts
  for (int64_t i = 0; i < c->node->parts; i++) sum += c->partial[i];
  *(float *)c->out[0] = (float)sum;
}

#include "hostkernels.h"

#include <stdlib.h>
#include <string.h>

#include "vector.h"

static void run_part(void *data, size_t i) {
  const hostkernels_call *c = data;
  const hostkernels_node *n = c->node;
  const int64_t first = (int64_t)i * n->span, left = n->total - first;
  n->part(c, first, left < n->span ? left : n->span, c->partial + (int64_t)i * n->partial);
}

char *hostkernels_run(const hostkernels_node *n, void *const *in, void *const *out, const hostkernels_pool *pool) {
  hostkernels_call c = {n, in, out, NULL};
  const size_t size = sizeof(float) * n->parts * n->partial;
  if (size > 0 && !(c.partial = malloc(size))) return strdup("out of memory");
  char *message = NULL;
  if (n->parts > 1 && pool->each)
    message = pool->each(pool->context, run_part, n->parts, &c);
  else
    for (int64_t i = 0; i < n->parts; i++) run_part(&c, i);
  if (!message && n->finish) n->finish(&c);
  free(c.partial);
  return message;
}

int hostkernels_find(hostkernels_node *n, const char *op, const char *kind, int sums) {
  static const struct {
    const char *op;
    hostkernels_part *part;
    hostkernels_finish *finish;
  } list[] = {
      {"Normalize", hostkernels_normalize, NULL},
      {"NormalizeGrad", hostkernels_normalize_grad, hostkernels_add_norm_sums},
      {"MaskedSoftmax", hostkernels_softmax, NULL},
      {"SoftmaxGrad", hostkernels_softmax_grad, NULL},
      {"ColumnSum", hostkernels_column_sum, hostkernels_add_columns},
      {"SumSquares", hostkernels_sum_squares, hostkernels_add_squares},
      {"AdamWStep", hostkernels_adamw, NULL},
  };
  for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
    if (strcmp(op, list[i].op) == 0) {
      n->part = list[i].part, n->finish = list[i].finish;
      return 1;
    }
  }
  return hostkernels_find_activation(n, op, kind, sums);
}

WIDEST void hostkernels_fold(const hostkernels_call *c, int64_t from, int64_t columns, const float *addend, float *out) {
  enum { vectors = 16 }; // side by side, for what lies in one part does
  const hostkernels_node *n = c->node;
  int64_t j = 0;
  for (; j + vectors * LANES <= columns; j += vectors * LANES) {
    vec sums[vectors];
    for (int k = 0; k < vectors; k++) sums[k] = all(0);
    for (int64_t i = 0; i < n->parts; i++)
      for (int k = 0; k < vectors; k++) sums[k] += load(c->partial + i * n->partial + from + j + k * LANES);
    for (int k = 0; k < vectors; k++) store(out + j + k * LANES, addend ? load(addend + j + k * LANES) + sums[k] : sums[k]);
  }
  for (; j < columns; j++) {
    float sum = 0;
    for (int64_t i = 0; i < n->parts; i++) sum += c->partial[i * n->partial + from + j];
    out[j] = addend ? addend[j] + sum : sum;
  }
}

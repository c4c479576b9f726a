#include <math.h>
#include <stddef.h>

#include "hostkernels.h"
#include "vector.h"

// Normalisation of the rows of x [N,D] (LayerNorm, RMSNorm): weight, bias (or NULL) [D]; y [N,D], stats [N,2] = mean, 1/std (0, 1/rms).
WIDEST void hostkernels_normalize(const hostkernels_call *c, int64_t first, int64_t count, float *partial) {
  const int64_t columns = c->node->columns, whole = columns - columns % LANES, rest = columns - whole;
  const float *weight = c->in[1], *bias = c->in[2];
  for (int64_t row = first; row < first + count; row++) {
    const float *x = (const float *)c->in[0] + row * columns;
    float *y = (float *)c->out[0] + row * columns, *stats = (float *)c->out[1] + row * 2, mean = 0;
    vec sums = all(0);
    if (!c->node->rms) {
      for (int64_t j = 0; j < whole; j += LANES) sums += load(x + j);
      mean = (sum_of(sums) + sum_of(load_some(x + whole, rest))) / columns;
    }
    sums = all(0);
    for (int64_t j = 0; j < whole; j += LANES) {
      const vec d = load(x + j) - mean;
      sums += d * d;
    }
    float squares = sum_of(sums);
    for (int64_t j = whole; j < columns; j++) squares += (x[j] - mean) * (x[j] - mean);
    const float inv = 1 / sqrtf(squares / columns + c->node->eps);
    stats[0] = mean, stats[1] = inv;
    for (int64_t j = 0; j < whole; j += LANES) {
      const vec v = (load(x + j) - mean) * inv * load(weight + j);
      store(y + j, bias ? v + load(bias + j) : v);
    }
    for (int64_t j = whole; j < columns; j++) y[j] = (x[j] - mean) * inv * weight[j] + (bias ? bias[j] : 0);
  }
}

// dx [N,D] = inv·(dy·w − mean(dy·w) − x̂·mean(dy·w·x̂)) (+ addend); RMS has no first mean. Each part leaves its rows' sums of dy·x̂ [D] and,
// unless RMS, of dy [D].
WIDEST void hostkernels_normalize_grad(const hostkernels_call *c, int64_t first, int64_t count, float *partial) {
  const int64_t columns = c->node->columns, whole = columns - columns % LANES;
  const float *weight = c->in[1];
  float *dweight = partial, *dbias = c->node->rms ? NULL : partial + columns;
  memset(partial, 0, c->node->partial * sizeof *partial);
  for (int64_t row = first; row < first + count; row++) {
    const float *x = (const float *)c->in[0] + row * columns, *dy = (const float *)c->in[3] + row * columns;
    const float *addend = c->in[4] ? (const float *)c->in[4] + row * columns : NULL;
    const float mean = ((const float *)c->in[2])[row * 2], inv = ((const float *)c->in[2])[row * 2 + 1];
    float *dx = (float *)c->out[0] + row * columns;
    vec sum1 = all(0), sum2 = all(0);
    for (int64_t j = 0; j < whole; j += LANES) {
      const vec d = load(dy + j), xhat = (load(x + j) - mean) * inv, dw = d * load(weight + j);
      store(dweight + j, load(dweight + j) + d * xhat);
      if (dbias) store(dbias + j, load(dbias + j) + d);
      sum1 += dw;
      sum2 += dw * xhat;
    }
    float m1 = sum_of(sum1), m2 = sum_of(sum2);
    for (int64_t j = whole; j < columns; j++) {
      const float xhat = (x[j] - mean) * inv, dw = dy[j] * weight[j];
      dweight[j] += dy[j] * xhat;
      if (dbias) dbias[j] += dy[j];
      m1 += dw;
      m2 += dw * xhat;
    }
    m1 = dbias ? m1 / columns : 0;
    m2 /= columns;
    for (int64_t j = 0; j < whole; j += LANES) {
      const vec d = inv * (load(dy + j) * load(weight + j) - m1 - (load(x + j) - mean) * inv * m2);
      store(dx + j, addend ? d + load(addend + j) : d);
    }
    for (int64_t j = whole; j < columns; j++) {
      const float d = inv * (dy[j] * weight[j] - m1 - (x[j] - mean) * inv * m2);
      dx[j] = addend ? d + addend[j] : d;
    }
  }
}

void hostkernels_add_norm_sums(const hostkernels_call *c) {
  const int64_t columns = c->node->columns;
  hostkernels_fold(c, 0, columns, c->in[5], c->out[1]);
  if (!c->node->rms) hostkernels_fold(c, columns, columns, c->in[6], c->out[2]);
}

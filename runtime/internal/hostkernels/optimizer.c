#include <math.h>
#include <stdbool.h>

#include "hostkernels.h"
#include "vector.h"

// AdamW (Loshchilov and Hutter, 2019): see AdamWStep in package graphgen. Outputs may lie in the inputs' memory.
WIDEST void hostkernels_adamw(const hostkernels_call *c, int64_t first, int64_t count, float *partial) {
  const float *in[4], scale = *(const float *)c->in[4], beta1 = *(const float *)c->in[5], beta2 = *(const float *)c->in[6];
  const float new1 = *(const float *)c->in[7], new2 = *(const float *)c->in[8], rate = *(const float *)c->in[9], eps = *(const float *)c->in[10];
  const bool finite = *(const bool *)c->in[11];
  const float keep = c->node->decay ? *(const float *)c->in[12] : 1, fresh1 = scale * new1, fresh2 = scale * sqrtf(new2);
  float *out[3];
  for (int i = 0; i < 4; i++) in[i] = (const float *)c->in[i] + first;
  for (int i = 0; i < 3; i++) out[i] = (float *)c->out[i] + first;
  for (int64_t i = 0; i < count; i += LANES) {
    const int64_t some = count - i < LANES ? count - i : LANES;
    vec x[4]; // p, m, v, gradient
    for (int k = 0; k < 4; k++) x[k] = some == LANES ? load(in[k] + i) : load_some(in[k] + i, some);
    const vec g = finite ? x[3] : all(0), square = g * fresh2;
    x[1] = x[1] * beta1 + g * fresh1;
    x[2] = x[2] * beta2 + square * square;
    x[0] = x[0] * keep - x[1] / (root(x[2]) + eps) * rate;
    for (int k = 0; k < 3; k++) {
      if (some == LANES)
        store(out[k] + i, x[k]);
      else
        store_some(out[k] + i, x[k], some);
    }
  }
}

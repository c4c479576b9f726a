#include <stddef.h>

#include "../kernels/erfcx.cuh"
#include "hostkernels.h"
#include "vector.h"

// Activations and gated linear units, elementwise, with their gradients and the sums of the gradients' columns, which are those of a bias
// added before. Each activation has NAME(x) and NAME_slope(x, &y) = f'(x), which gives y = f(x) too.

INLINE vec relu(vec x) { return choose(x <= all(0), all(0), x); }
INLINE vec relu_slope(vec x, vec *y) {
  *y = relu(x);
  return choose(x <= all(0), all(0), choose(x > all(0), all(1), x));
}

INLINE vec squared_relu(vec x) { return choose(x <= all(0), all(0), x * x); }
INLINE vec squared_relu_slope(vec x, vec *y) {
  *y = squared_relu(x);
  return choose(x <= all(0), all(0), 2 * x);
}

// x/2·(1 + tanh u) = x·σ(2u) with u = √(2/π)·(x + 0.044715·x³).
static const float gelu_c = 1.5957691216f, gelu_k = 1.5957691216f * 0.044715f;
INLINE vec gelu_tanh(vec x) {
  const vec t = within(x, 16); // beyond, σ is 0 or 1, and no power is infinite
  return x * logistic(t * (gelu_c + gelu_k * t * t));
}
INLINE vec gelu_tanh_slope(vec x, vec *y) {
  const vec t = within(x, 16), s = logistic(t * (gelu_c + gelu_k * t * t));
  *y = x * s;
  return s + t * s * (1 - s) * (gelu_c + 3 * gelu_k * t * t);
}

// x·Φ(x). For x < 0, Φ(x) = e^(−x²/2)·erfcx(−x/√2)/2 (erfcx.cuh), so that Φ is exact where it is small too.
INLINE vec normal_cdf(vec x, vec *density) { // and e^(−x²/2)
  const vec t = 1 / (1 + ERFCX_SCALE * magnitude(x));
  *density = exponential(-0.5f * x * x);
  const vec below = 0.5f * *density * t * ERFCX(t);
  return choose(x < all(0), below, 1 - below);
}
INLINE vec gelu(vec x) {
  vec e;
  return x * normal_cdf(within(x, 64), &e);
}
INLINE vec gelu_slope(vec x, vec *y) {
  vec e;
  const vec t = within(x, 64), p = normal_cdf(t, &e);
  *y = x * p;
  return p + t * e * 0.39894228f;
}

INLINE vec silu(vec x) { return x * logistic(x); }
INLINE vec silu_slope(vec x, vec *y) {
  const vec s = logistic(x);
  *y = x * s;
  return s * (1 + within(x, 1e4f) * (1 - s)); // an infinite x has a slope of 0 or 1
}

INLINE vec sigmoid(vec x) { return logistic(x); }
INLINE vec sigmoid_slope(vec x, vec *y) {
  *y = logistic(x);
  return *y * (1 - *y);
}

// Near 0 a polynomial of x² times x, fitted to a relative error of 5e-9; elsewhere 1 − 2/(e^2x + 1).
INLINE vec hyperbolic(vec x) {
  const vec z = x * x;
  vec p = z * -0.005602740134494835f + 0.020539937864489394f;
  p = p * z - 0.053705320378473614f;
  p = p * z + 0.1333093216271616f;
  p = p * z - 0.3333325220368607f;
  p = p * z + 0.9999999955223361f;
  return choose(magnitude(x) < all(0.625f), x * p, 1 - 2 / (exponential(2 * x) + 1));
}
INLINE vec hyperbolic_slope(vec x, vec *y) {
  *y = hyperbolic(x);
  return 1 - *y * *y;
}

INLINE vec identity(vec x) { return x; }
INLINE vec identity_slope(vec x, vec *y) {
  *y = x;
  return all(1);
}

// The kernels of an activation. Those of elements have flat arrays; those with sums have rows, and leave the sums of their columns.
#define KERNELS(NAME) \
  WIDEST static void NAME##_forward(const hostkernels_call *c, int64_t first, int64_t count, float *partial) { \
    const float *x = (const float *)c->in[0] + first; \
    float *y = (float *)c->out[0] + first; \
    for (int64_t i = 0; i < count; i += LANES) { \
      const int64_t some = count - i; \
      if (some >= LANES) \
        store(y + i, NAME(load(x + i))); \
      else \
        store_some(y + i, NAME(load_some(x + i, some)), some); \
    } \
  } \
  WIDEST static void NAME##_gate(const hostkernels_call *c, int64_t first, int64_t count, float *partial) { \
    const float *g = (const float *)c->in[0] + first, *up = (const float *)c->in[1] + first; \
    float *y = (float *)c->out[0] + first; \
    for (int64_t i = 0; i < count; i += LANES) { \
      const int64_t some = count - i; \
      if (some >= LANES) \
        store(y + i, NAME(load(g + i)) * load(up + i)); \
      else \
        store_some(y + i, NAME(load_some(g + i, some)) * load_some(up + i, some), some); \
    } \
  } \
  WIDEST static void NAME##_grad(const hostkernels_call *c, int64_t first, int64_t count, float *partial) { \
    const int64_t columns = c->node->columns, whole = columns - columns % LANES, rest = columns - whole; \
    if (partial) memset(partial, 0, columns * sizeof *partial); \
    for (int64_t row = first; row < first + count; row++) { \
      const float *x = (const float *)c->in[0] + row * columns, *dy = (const float *)c->in[1] + row * columns; \
      float *dx = (float *)c->out[0] + row * columns; \
      vec y; \
      for (int64_t j = 0; j < whole; j += LANES) { \
        const vec d = load(dy + j) * NAME##_slope(load(x + j), &y); \
        store(dx + j, d); \
        if (partial) store(partial + j, load(partial + j) + d); \
      } \
      if (rest > 0) { \
        const vec d = load_some(dy + whole, rest) * NAME##_slope(load_some(x + whole, rest), &y); \
        store_some(dx + whole, d, rest); \
        if (partial) store_some(partial + whole, load_some(partial + whole, rest) + d, rest); \
      } \
    } \
  } \
  WIDEST static void NAME##_gate_grad(const hostkernels_call *c, int64_t first, int64_t count, float *partial) { \
    const int64_t columns = c->node->columns; \
    float *ups = partial ? partial + columns : NULL; \
    if (partial) memset(partial, 0, 2 * columns * sizeof *partial); \
    for (int64_t row = first; row < first + count; row++) { \
      const float *g = (const float *)c->in[0] + row * columns, *up = (const float *)c->in[1] + row * columns; \
      const float *dy = (const float *)c->in[2] + row * columns; \
      float *dg = (float *)c->out[0] + row * columns, *du = (float *)c->out[1] + row * columns; \
      for (int64_t j = 0; j < columns; j += LANES) { \
        const int64_t some = columns - j < LANES ? columns - j : LANES; \
        vec y, slope, d, u; \
        if (some == LANES) \
          slope = NAME##_slope(load(g + j), &y), d = load(dy + j), u = load(up + j); \
        else \
          slope = NAME##_slope(load_some(g + j, some), &y), d = load_some(dy + j, some), u = load_some(up + j, some); \
        u *= d * slope; \
        d *= y; \
        if (some == LANES) { \
          store(dg + j, u); \
          store(du + j, d); \
          if (partial) store(partial + j, load(partial + j) + u), store(ups + j, load(ups + j) + d); \
        } else { \
          store_some(dg + j, u, some); \
          store_some(du + j, d, some); \
          if (partial) store_some(partial + j, load_some(partial + j, some) + u, some), store_some(ups + j, load_some(ups + j, some) + d, some); \
        } \
      } \
    } \
  }

KERNELS(relu)
KERNELS(squared_relu)
KERNELS(gelu_tanh)
KERNELS(gelu)
KERNELS(silu)
KERNELS(sigmoid)
KERNELS(hyperbolic)
KERNELS(identity)

static void add_activation_sums(const hostkernels_call *c) { hostkernels_fold(c, 0, c->node->columns, c->in[2], c->out[1]); }
static void add_gate_sums(const hostkernels_call *c) {
  const int64_t columns = c->node->columns;
  hostkernels_fold(c, 0, columns, c->in[3], c->out[2]);
  hostkernels_fold(c, columns, columns, c->in[4], c->out[3]);
}

int hostkernels_find_activation(hostkernels_node *n, const char *op, const char *kind, int sums) {
#define KIND(TEXT, NAME) {TEXT, NAME##_forward, NAME##_grad, NAME##_gate, NAME##_gate_grad}
  static const struct {
    const char *kind;
    hostkernels_part *forward, *grad, *gate, *gate_grad;
  } list[] = {KIND("relu", relu), KIND("squared_relu", squared_relu), KIND("gelu_tanh", gelu_tanh), KIND("gelu", gelu),
              KIND("silu", silu), KIND("sigmoid", sigmoid), KIND("tanh", hyperbolic), KIND("identity", identity)};
  for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
    if (strcmp(kind, list[i].kind) != 0) continue;
    if (strcmp(op, "Activate") == 0) n->part = list[i].forward;
    else if (strcmp(op, "Gate") == 0) n->part = list[i].gate;
    else if (strcmp(op, "ActivateGrad") == 0) n->part = list[i].grad, n->finish = sums ? add_activation_sums : NULL;
    else if (strcmp(op, "GateGrad") == 0) n->part = list[i].gate_grad, n->finish = sums ? add_gate_sums : NULL;
    else return 0;
    return 1;
  }
  return 0;
}

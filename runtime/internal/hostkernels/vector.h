// Some floats at a time: as many as AVX2 or NEON take. Of wider vectors GCC makes single comparisons where the processor has no such registers.
#ifndef MARCH_VECTOR_H
#define MARCH_VECTOR_H

#include <stdint.h>
#include <string.h>

// A function with WIDEST is compiled for several processors, of which the one at hand is chosen when the program starts.
#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__clang__) // others' loaders cannot choose
#if __GNUC__ >= 12
#define WIDEST __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define WIDEST __attribute__((target_clones("avx512f", "avx2", "default")))
#endif
#else
#define WIDEST
#endif

#define INLINE static inline __attribute__((always_inline))

#ifdef __x86_64__
enum { LANES = 8 };
#else
enum { LANES = 4 };
#endif

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef int32_t ints __attribute__((vector_size(4 * LANES)));
typedef vec vec_at __attribute__((aligned(4), may_alias)); // wherever it lies in memory

INLINE vec load(const float *p) { return *(const vec_at *)p; }
INLINE void store(float *p, vec x) { *(vec_at *)p = x; }
INLINE vec all(float x) { return (vec){} + x; }

// The first count of a vector; the others are 0.
INLINE vec load_some(const float *p, int64_t count) {
  float x[LANES] = {0};
  memcpy(x, p, count * sizeof *x);
  return load(x);
}
INLINE void store_some(float *p, vec v, int64_t count) {
  float x[LANES];
  store(x, v);
  memcpy(p, x, count * sizeof *x);
}

// Where mask is set, yes, elsewhere no.
INLINE vec choose(ints mask, vec yes, vec no) { return (vec)((mask & (ints)yes) | (~mask & (ints)no)); }
INLINE vec larger(vec a, vec b) { return choose(a < b, b, a); }
INLINE vec magnitude(vec x) { return (vec)((ints)x & 0x7fffffff); }

// x within ±bound; what is not a number stays so.
INLINE vec within(vec x, float bound) {
  x = choose(x > all(bound), all(bound), x);
  return choose(x < all(-bound), all(-bound), x);
}

// The lanes' sum and the largest of them, by halves.
INLINE float sum_of(vec v) {
  float x[LANES];
  store(x, v);
  for (int width = LANES / 2; width > 0; width /= 2)
    for (int i = 0; i < width; i++) x[i] += x[i + width];
  return x[0];
}
INLINE float largest_of(vec v) {
  float x[LANES];
  store(x, v);
  for (int width = LANES / 2; width > 0; width /= 2)
    for (int i = 0; i < width; i++) x[i] = x[i] < x[i + width] ? x[i + width] : x[i];
  return x[0];
}

// eˣ = 2ⁿ·eʳ with |r| ≤ ln 2 / 2, where a polynomial fitted to it is off by 2e-9 of it. Below the smallest normal number it is 0, from
// 2.4e38 on infinite.
INLINE vec exponential(vec x) {
  const float lowest = -87.3365f, highest = 88.37f, whole = 12582912; // 1.5·2²³, whose sums are whole numbers
  vec t = choose(x > all(highest), all(highest), x);
  const vec shifted = choose(t < all(lowest), all(lowest), t) * 1.44269504f + whole;
  const vec n = shifted - whole;
  vec r = t - n * 0.693359375f;
  r = r - n * -2.12194440e-4f;
  vec p = r * 0.0013836824833576668f + 0.008374832307610741f;
  p = p * r + 0.04166822682107533f;
  p = p * r + 0.1666641997420974f;
  p = p * r + 0.4999999207030645f;
  p = p * r + 1.0000000363662886f;
  p = p * r + 1.0000000005550511f;
  const vec power = (vec)(((ints)shifted - (ints)all(whole) + 127) << 23);
  return choose(x > all(highest), all(__builtin_inff()), choose(x < all(lowest), all(0), p * power));
}

// √x for x ≥ 0, by Newton's method from an estimate of 1/√x, right within a rounding or two.
INLINE vec root(vec x) {
  vec r = (vec)(0x5f3759df - ((ints)x >> 1));
  for (int i = 0; i < 3; i++) r = r * (1.5f - 0.5f * x * r * r);
  const vec s = x * r;
  return choose(x == all(__builtin_inff()), x, s + 0.5f * r * (x - s * s));
}

INLINE vec logistic(vec x) { return 1 / (1 + exponential(-x)); }

#endif

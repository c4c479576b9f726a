// Inverted dropout, whose mask is a function of seed, place and index: element i is kept where (a·i + b)⁵ mod p < keep, with
// a and b made of the seed and the place's constants, and p = 2³¹ − 1.
//
// TYPE: type of the tensors; VEC: elements in one access.

typedef TYPE T;

#define P 0x7fffffffu

// x mod p, for x ≤ p²: 2³¹ counts as 1.
__device__ __forceinline__ u32 modulo(u64 x) {
  const u32 r = (u32)(x & P) + (u32)(x >> 31); // below 2³²
  return min(r, r - P);                        // r − p wraps round where r < p
}
__device__ __forceinline__ u32 times(u32 x, u32 y) { return modulo((u64)x * y); }
__device__ __forceinline__ u32 fifth(u32 x) {
  const u32 square = times(x, x);
  return times(times(square, square), x);
}

struct Place { u32 fk, tk, fa, ta, fb, tb; }; // factors and terms of the key, a and b

__device__ __forceinline__ void line_of(const long long* seed, Place at, u32& a, u32& b) {
  __shared__ u32 line[2];
  if (threadIdx.x == 0) {
    const u32 key = fifth(modulo((u64)at.fk * (u32)*seed + at.tk));
    line[0] = max(modulo((u64)at.fa * key + at.ta), 1u);
    line[1] = modulo((u64)at.fb * key + at.tb);
  }
  __syncthreads();
  a = line[0];
  b = line[1];
}

// The mask of VEC elements from i on.
__device__ __forceinline__ void mask_pack(u32 i, u32 a, u32 b, u32 keep, float scale, float* v) {
  u32 x = modulo((u64)a * i + b);
#pragma unroll
  for (int j = 0; j < VEC; j++) {
    v[j] = fifth(x) < keep ? scale : 0;
    x += a; // below 2³²
    x = min(x, x - P);
  }
}

// y [n] = x·mask.
extern "C" __global__ void __launch_bounds__(256) dropout(
    const T* x, const long long* seed, T* y, u32 n, u32 fk, u32 tk, u32 fa, u32 ta, u32 fb, u32 tb, u32 keep, float scale) {
  u32 a, b;
  line_of(seed, Place{fk, tk, fa, ta, fb, tb}, a, b);
  scale = to_float(from_float<T>(scale));
  const u32 packs = n / VEC;
  for (u32 i = blockIdx.x * blockDim.x + threadIdx.x; i < packs; i += gridDim.x * blockDim.x) {
    float v[VEC], mask[VEC];
    load<VEC>(x + (u64)i * VEC, v);
    mask_pack(i * VEC, a, b, keep, scale, mask);
    for (int j = 0; j < VEC; j++) v[j] *= mask[j];
    store<VEC>(y + (u64)i * VEC, v);
  }
  const u32 i = packs * VEC + threadIdx.x;
  if (blockIdx.x == 0 && i < n) {
    const bool kept = fifth(modulo((u64)a * i + b)) < keep;
    y[i] = from_float<T>(to_float(x[i]) * (kept ? scale : 0));
  }
}

// The mask itself.
extern "C" __global__ void __launch_bounds__(256) dropout_mask(
    const long long* seed, T* y, u32 n, u32 fk, u32 tk, u32 fa, u32 ta, u32 fb, u32 tb, u32 keep, float scale) {
  u32 a, b;
  line_of(seed, Place{fk, tk, fa, ta, fb, tb}, a, b);
  const u32 packs = n / VEC;
  for (u32 i = blockIdx.x * blockDim.x + threadIdx.x; i < packs; i += gridDim.x * blockDim.x) {
    float mask[VEC];
    mask_pack(i * VEC, a, b, keep, scale, mask);
    store<VEC>(y + (u64)i * VEC, mask);
  }
  const u32 i = packs * VEC + threadIdx.x;
  if (blockIdx.x == 0 && i < n) y[i] = from_float<T>(fifth(modulo((u64)a * i + b)) < keep ? scale : 0);
}

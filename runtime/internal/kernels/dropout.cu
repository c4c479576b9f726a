// Inverted dropout (dropout.cuh).
//
// TYPE: type of the tensors; VEC: elements in one access.

#include "dropout.cuh"

typedef TYPE T;

// a and b, worked out once a block.
__device__ __forceinline__ void line_of(const long long* seed, Place at, u32& a, u32& b) {
  __shared__ u32 line[2];
  if (threadIdx.x == 0) line_at(*seed, at, line[0], line[1]);
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

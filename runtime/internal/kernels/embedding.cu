// The gradient of a look-up of rows of a table by number: rows summed by number.
//
// TYPE: type of dy; VEC: elements in one access.

typedef TYPE T;

__device__ __forceinline__ void add_to(float* p, const float* v) {
#if __CUDA_ARCH__ >= 900
  if constexpr (VEC % 4 == 0) {
    for (int j = 0; j < VEC; j += 4)
      asm volatile("red.relaxed.gpu.global.add.v4.f32 [%0], {%1, %2, %3, %4};"
                   :: "l"(p + j), "f"(v[j]), "f"(v[j + 1]), "f"(v[j + 2]), "f"(v[j + 3]) : "memory");
    return;
  }
#endif
#pragma unroll
  for (int j = 0; j < VEC; j++) atomicAdd(p + j, v[j]);
}

// Adds row n of dy [N,D] to row ids[n] of out [V,D]. The order of a row's addends is not fixed.
extern "C" __global__ void __launch_bounds__(256) embedding_sum(
    const long long* __restrict__ ids, const T* __restrict__ dy, float* out, int count, int rows, int columns) {
  const int packs = columns / VEC;
  const u32 i = blockIdx.x * blockDim.x + threadIdx.x, n = i / packs;
  if (n >= count) return;
  const int c = (i - n * packs) * VEC;
  long long id = ids[n];
  if (id < 0) id += rows;
  if (id < 0 || id >= rows) return;
  float v[VEC];
  load<VEC>(dy + (long long)n * columns + c, v);
  add_to(out + id * columns + c, v);
}

// out [V,D] = addend (or null) + the rows of dy summed by number, in the order of dy. A block owns OWN rows of the table and
// blockDim.x·VEC columns of them, looks through all ids, and adds what is its own.
#define OWN 16

extern "C" __global__ void __launch_bounds__(128) embedding_sum_ordered(
    const long long* __restrict__ ids, const T* __restrict__ dy, const float* addend, float* out, int count, int rows, int columns) {
  extern __shared__ float sums[]; // [OWN][blockDim.x·VEC]
  __shared__ int found[128], owner[128], before[5];
  const int first = blockIdx.x * OWN, width = blockDim.x * VEC, warps = blockDim.x / 32;
  const int c = (blockIdx.y * blockDim.x + threadIdx.x) * VEC, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  float* own = sums + threadIdx.x * VEC; // only this thread's
  for (int r = 0; r < OWN; r++)
    for (int j = 0; j < VEC; j++) own[r * width + j] = addend && first + r < rows && c < columns ? addend[(long long)(first + r) * columns + c + j] : 0;
  for (int begin = 0; begin < count; begin += blockDim.x) {
    const int n = begin + threadIdx.x;
    long long id = n < count ? ids[n] : -1 - (long long)rows;
    if (id < 0) id += rows;
    const bool mine = id >= first && id < min(first + OWN, rows);
    if (!__syncthreads_or(mine)) continue;
    const u32 ballot = __ballot_sync(0xffffffffu, mine);
    if (lane == 0) before[warp + 1] = __popc(ballot);
    __syncthreads();
    int at = __popc(ballot & ((1u << lane) - 1)), total = 0;
    for (int w = 0; w < warps; w++) {
      if (w < warp) at += before[w + 1];
      total += before[w + 1];
    }
    if (mine) {
      found[at] = n;
      owner[at] = (int)(id - first);
    }
    __syncthreads();
    if (c < columns) {
#pragma unroll 4
      for (int k = 0; k < total; k++) {
        float v[VEC];
        load<VEC>(dy + (long long)found[k] * columns + c, v);
        for (int j = 0; j < VEC; j++) own[owner[k] * width + j] += v[j];
      }
    }
  }
  if (c >= columns) return;
  for (int r = 0; r < OWN && first + r < rows; r++)
    for (int j = 0; j < VEC; j++) out[(long long)(first + r) * columns + c + j] = own[r * width + j];
}

// Normalisation of the rows of x [N,D] (LayerNorm, RMSNorm), with a residual added before, and its gradient. A row
// stays in registers from its only read on.
//
// TYPE: type of x; WEIGHT: of weight and bias; VEC: elements in one access; ITEMS: accesses of a thread to a row;
// LANES: threads to a row, 32 (each warp has rows of its own) or the block.

typedef TYPE T;
typedef WEIGHT W;

#include "rows.cuh"

// Inputs x, residual (or null) [N,D], weight, bias (or null) [D]; y [N,D], stats [N,2] = mean, 1/std (0, 1/rms), sum
// [N,D] = x + residual in T, which then is what is normalised.
extern "C" __global__ void __launch_bounds__(LANES * GROUPS) normalize(
    const T* __restrict__ x, const W* __restrict__ weight, const W* __restrict__ bias, const T* __restrict__ residual,
    T* __restrict__ y, float2* __restrict__ stats, T* __restrict__ sum, int rows, int columns, float eps, int rms) {
  __shared__ float part[2][32];
  const int lane = threadIdx.x % LANES;
  const long long row = (long long)blockIdx.x * GROUPS + threadIdx.x / LANES;
  if (row >= rows) return; // whole warps; a block of one row never
  x += row * columns;
  float v[ITEMS][VEC];
#pragma unroll
  for (int i = 0; i < ITEMS; i++) {
    const int c = (i * LANES + lane) * VEC;
    for (int j = 0; j < VEC; j++) v[i][j] = 0;
    if (c < columns) load<VEC>(x + c, v[i]);
  }
  if (residual) {
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
      const int c = (i * LANES + lane) * VEC;
      if (c >= columns) continue;
      float r[VEC];
      load<VEC>(residual + row * columns + c, r);
      for (int j = 0; j < VEC; j++) v[i][j] = to_float(from_float<T>(v[i][j] + r[j]));
      store<VEC>(sum + row * columns + c, v[i]);
    }
  }
  float mean = 0;
  if (!rms) {
#pragma unroll
    for (int i = 0; i < ITEMS; i++)
      for (int j = 0; j < VEC; j++) mean += v[i][j];
    mean = row_sum(mean, part[0]) / columns;
  }
  float squares = 0;
#pragma unroll
  for (int i = 0; i < ITEMS; i++) {
    if ((i * LANES + lane) * VEC >= columns) continue;
    for (int j = 0; j < VEC; j++) squares += (v[i][j] - mean) * (v[i][j] - mean);
  }
  const float inv = 1 / sqrtf(row_sum(squares, part[1]) / columns + eps);
  if (lane == 0) stats[row] = make_float2(mean, inv);
#pragma unroll
  for (int i = 0; i < ITEMS; i++) {
    const int c = (i * LANES + lane) * VEC;
    if (c >= columns) continue;
    float w[VEC];
    load<VEC>(weight + c, w);
    for (int j = 0; j < VEC; j++) v[i][j] = (v[i][j] - mean) * inv * w[j];
    if (bias) {
      load<VEC>(bias + c, w);
      for (int j = 0; j < VEC; j++) v[i][j] += w[j];
    }
    store<VEC>(y + row * columns + c, v[i]);
  }
}

typedef Bits<VEC * sizeof(T)>::type Raw;
__device__ __forceinline__ Raw load_raw(const T* p) { return *reinterpret_cast<const Raw*>(p); }

// dx [N,D] = inv·(dy·w − mean(dy·w) − x̂·mean(dy·w·x̂)) (+ dresidual); RMS has no first mean. partial holds, for each
// block, its rows' sums of dy·x̂ [D] and, unless RMS, of dy [D].
extern "C" __global__ void __launch_bounds__(LANES * GROUPS, LANES * GROUPS <= 512 ? 512 / (LANES * GROUPS) : 1) normalize_grad(
    const T* __restrict__ x, const W* __restrict__ weight, const float2* __restrict__ stats, const T* __restrict__ dy,
    const T* dresidual, T* dx, float* __restrict__ partial, int rows, int columns, int rms) {
  __shared__ float part[2][2][32];
  const int lane = threadIdx.x % LANES, group = threadIdx.x / LANES;
  float w[ITEMS][VEC], dweight[ITEMS][VEC], dbias[ITEMS][VEC];
#pragma unroll
  for (int i = 0; i < ITEMS; i++) {
    const int c = (i * LANES + lane) * VEC;
    for (int j = 0; j < VEC; j++) w[i][j] = dweight[i][j] = dbias[i][j] = 0;
    if (c < columns) load<VEC>(weight + c, w[i]);
  }
  // In bfloat16 the next row is on its way while this one is worked on; in float the registers would not do.
  constexpr bool ahead = sizeof(T) == 2;
  Raw nextx[ITEMS], nexty[ITEMS], nextr[ITEMS];
  float2 nexts;
  const auto fetch = [&](long long row) {
    if (row >= rows) return;
    nexts = stats[row];
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
      const int c = (i * LANES + lane) * VEC;
      if (c >= columns) continue;
      nextx[i] = load_raw(x + row * columns + c);
      nexty[i] = load_raw(dy + row * columns + c);
      if (ahead && dresidual) nextr[i] = load_raw(dresidual + row * columns + c);
    }
  };
  int turn = 0;
  const long long step = (long long)gridDim.x * GROUPS;
  long long row = (long long)blockIdx.x * GROUPS + group;
  if (ahead) fetch(row);
  for (; row < rows; row += step, turn ^= 1) {
    float xhat[ITEMS][VEC], d[ITEMS][VEC];
    Raw r[ITEMS];
    if (!ahead) fetch(row);
    const float2 s = nexts;
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
      for (int j = 0; j < VEC; j++) xhat[i][j] = s.x, d[i][j] = 0;
      if ((i * LANES + lane) * VEC >= columns) continue;
      load<VEC>(reinterpret_cast<const T*>(&nextx[i]), xhat[i]);
      load<VEC>(reinterpret_cast<const T*>(&nexty[i]), d[i]);
      if (ahead) r[i] = nextr[i];
    }
    if (ahead) fetch(row + step);
    float m1 = 0, m2 = 0;
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
      for (int j = 0; j < VEC; j++) {
        xhat[i][j] = (xhat[i][j] - s.x) * s.y;
        dweight[i][j] += d[i][j] * xhat[i][j];
        dbias[i][j] += d[i][j];
        d[i][j] *= w[i][j];
        m1 += d[i][j];
        m2 += d[i][j] * xhat[i][j];
      }
    }
    m1 = rms ? 0 : row_sum(m1, part[turn][0]) / columns;
    m2 = row_sum(m2, part[turn][1]) / columns;
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
      const int c = (i * LANES + lane) * VEC;
      if (c >= columns) continue;
      float add[VEC];
      for (int j = 0; j < VEC; j++) add[j] = 0;
      if (dresidual) load<VEC>(ahead ? reinterpret_cast<const T*>(&r[i]) : dresidual + row * columns + c, add);
      for (int j = 0; j < VEC; j++) d[i][j] = s.y * (d[i][j] - m1 - xhat[i][j] * m2) + add[j];
      store<VEC>(dx + row * columns + c, d[i]);
    }
  }
  const int sums = rms ? 1 : 2;
  partial += (long long)blockIdx.x * sums * columns;
#if GROUPS == 1
#pragma unroll
  for (int i = 0; i < ITEMS; i++) {
    const int c = (i * LANES + lane) * VEC;
    if (c >= columns) continue;
    for (int j = 0; j < VEC; j++) {
      partial[c + j] = dweight[i][j];
      if (!rms) partial[columns + c + j] = dbias[i][j];
    }
  }
#else
  __shared__ float fold[GROUPS][ITEMS * LANES * VEC];
  for (int k = 0; k < sums; k++) {
    __syncthreads();
#pragma unroll
    for (int i = 0; i < ITEMS; i++)
      for (int j = 0; j < VEC; j++) fold[group][(i * LANES + lane) * VEC + j] = k == 0 ? dweight[i][j] : dbias[i][j];
    __syncthreads();
    for (int c = threadIdx.x; c < columns; c += LANES * GROUPS) {
      float s = 0;
      for (int g = 0; g < GROUPS; g++) s += fold[g][c];
      partial[k * columns + c] = s;
    }
  }
#endif
}

// Sums in a fixed order: of columns, of all entries, of squares. Long ones in two stages, partial sums of blocks first.
//
// TYPE: type of the addends of column_sum; VEC: elements in one access.

typedef TYPE T;
typedef Bits<VEC * sizeof(T)>::type Raw;

#define AHEAD 8 // rows whose reads are on their way before the first is added

// Sums of the columns of x [rows, pitch], the first columns of each row: block (X, Y) sums rows [Y·span, Y·span + span) into
// row Y of out [gridDim.y, columns]. Blocks are 32 × 8 threads.
extern "C" __global__ void __launch_bounds__(256, 3) column_sum(
    const T* __restrict__ x, const float* addend, float* out, int rows, int columns, int pitch, int span) {
  __shared__ float fold[8][32 * VEC];
  const int c = (blockIdx.x * 32 + threadIdx.x) * VEC;
  const int begin = blockIdx.y * span, end = min(begin + span, rows);
  float sum[VEC] = {};
  for (int r = begin + threadIdx.y; c < columns && r < end; r += 8 * AHEAD) {
    Raw raw[AHEAD];
#pragma unroll
    for (int k = 0; k < AHEAD; k++)
      if (r + 8 * k < end) raw[k] = *reinterpret_cast<const Raw*>(x + (long long)(r + 8 * k) * pitch + c);
#pragma unroll
    for (int k = 0; k < AHEAD; k++) {
      if (r + 8 * k >= end) break;
      float v[VEC];
      load<VEC>(reinterpret_cast<const T*>(&raw[k]), v);
      for (int j = 0; j < VEC; j++) sum[j] += v[j];
    }
  }
  for (int j = 0; j < VEC; j++) fold[threadIdx.y][j * 32 + threadIdx.x] = sum[j];
  __syncthreads();
  for (int k = threadIdx.y; k < VEC; k += 8) {
    if (c + k >= columns) continue;
    float s = addend ? addend[c + k] : 0;
    for (int g = 0; g < 8; g++) s += fold[g][k * 32 + threadIdx.x];
    out[(long long)blockIdx.y * columns + c + k] = s;
  }
}

// Sums of the columns of partial [rows, columns]; those from split on go into out1. Blocks are 32 × 32 threads.
extern "C" __global__ void __launch_bounds__(1024) fold_columns(
    const float* __restrict__ partial, int rows, int columns, int split, const float* addend0, float* out0,
    const float* addend1, float* out1) {
  __shared__ float fold[32][33];
  int c = blockIdx.x * 32 + threadIdx.x;
  float sum = 0;
  if (c < columns) {
#pragma unroll 4
    for (int r = threadIdx.y; r < rows; r += 32) sum += partial[(long long)r * columns + c];
  }
  fold[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  sum = warp_sum(fold[threadIdx.x][threadIdx.y]);
  c = blockIdx.x * 32 + threadIdx.y;
  if (threadIdx.x != 0 || c >= columns) return;
  if (c < split) {
    out0[c] = sum + (addend0 ? addend0[c] : 0);
  } else {
    out1[c - split] = sum + (addend1 ? addend1[c - split] : 0);
  }
}

// Each block's sum of squares of its part of x [n].
extern "C" __global__ void __launch_bounds__(512) square_sums(const float* __restrict__ x, long long n, float* __restrict__ partial) {
  __shared__ float part[32];
  const long long packs = n / 4, threads = (long long)gridDim.x * blockDim.x;
  const long long me = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  float sum = 0;
#pragma unroll 4
  for (long long i = me; i < packs; i += threads) {
    float v[4];
    load_pack(x + i * 4, v);
    sum += (v[0] * v[0] + v[1] * v[1]) + (v[2] * v[2] + v[3] * v[3]);
  }
  if (packs * 4 + me < n) sum += x[packs * 4 + me] * x[packs * 4 + me];
  sum = block_sum(sum, part);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// The sum of x [n], by one block.
extern "C" __global__ void __launch_bounds__(1024) sum_all(const float* __restrict__ x, int n, float* out) {
  __shared__ float part[32];
  float sum = 0;
#pragma unroll 4
  for (int i = threadIdx.x; i < n; i += blockDim.x) sum += x[i];
  sum = block_sum(sum, part);
  if (threadIdx.x == 0) *out = sum;
}

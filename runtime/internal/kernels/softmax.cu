// The gradient of a softmax over the rows of y [N,D]. A row stays in registers from its only read on.
//
// TYPE: type of y; VEC: elements in one access; ITEMS: accesses of a thread to a row; LANES: threads to a row, 32 (each warp
// has rows of its own) or the block.

typedef TYPE T;

#include "rows.cuh"

// dx = y·(dy − Σ y·dy), elementwise, with the sum over a row.
extern "C" __global__ void __launch_bounds__(LANES * GROUPS) softmax_grad(const T* __restrict__ y, const T* __restrict__ dy, T* __restrict__ dx, int rows,
                                                                          int columns) {
  __shared__ float part[32];
  const int lane = threadIdx.x % LANES;
  const long long row = (long long)blockIdx.x * GROUPS + threadIdx.x / LANES;
  if (row >= rows) return; // whole warps; a block of one row never
  const long long from = row * columns;
  float p[ITEMS][VEC], d[ITEMS][VEC], sum = 0;
#pragma unroll
  for (int i = 0; i < ITEMS; i++) {
    const int c = (i * LANES + lane) * VEC;
    if (c >= columns) continue;
    load<VEC>(y + from + c, p[i]);
    load<VEC>(dy + from + c, d[i]);
  }
#pragma unroll
  for (int i = 0; i < ITEMS; i++) {
    if ((i * LANES + lane) * VEC >= columns) continue;
    for (int j = 0; j < VEC; j++) sum += p[i][j] * d[i][j];
  }
  sum = row_sum(sum, part);
#pragma unroll
  for (int i = 0; i < ITEMS; i++) {
    const int c = (i * LANES + lane) * VEC;
    if (c >= columns) continue;
    for (int j = 0; j < VEC; j++) p[i][j] *= d[i][j] - sum;
    store<VEC>(dx + from + c, p[i]);
  }
}

// Rows of logits become the gradient of their cross-entropy.
//
// TYPE: type of the logits; ITEMS: accesses of a thread to its row in loss_rows; THREADS: of its block.

typedef TYPE T;
#define VEC (Pack<T>::n)
#define LOG2E 1.44269504f

__device__ __forceinline__ float power2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// The pack of a row at column c, as it lies in memory; past the row's end, −infinity.
__device__ __forceinline__ uint4 logits_pack(const T* row, int c, int columns) {
  const u32 none = sizeof(T) == 4 ? 0xff800000 : 0xff80ff80;
  return c < columns ? *reinterpret_cast<const uint4*>(row + c) : make_uint4(none, none, none, none);
}
// Fills a row's last pack with −infinity: called by all, done by the thread that will read it.
__device__ __forceinline__ void close_row(T* row, int columns, int pitch) {
  if (columns / VEC % blockDim.x != threadIdx.x) return;
  for (int c = columns; c < pitch; c++) row[c] = from_float<T>(-__int_as_float(0x7f800000));
}
// The compiler is not to see that it unpacked raw before: it would keep the floats, twice the registers.
__device__ __forceinline__ void unpack(uint4& raw, float* v) {
  asm volatile("" : "+r"(raw.x), "+r"(raw.y), "+r"(raw.z), "+r"(raw.w));
  load_pack(reinterpret_cast<const T*>(&raw), v);
}

// What a row without a label gets. Whole packs: the row's pitch is a multiple of one.
__device__ __forceinline__ void no_loss(T* row, float* loss, int columns) {
  for (int c = threadIdx.x * VEC; c < columns; c += blockDim.x * VEC) *reinterpret_cast<uint4*>(row + c) = make_uint4(0, 0, 0, 0);
  if (threadIdx.x == 0) *loss = 0;
}

// The last step of a row: its loss, and 1 off the label's probability p. A label that there is no column for gives a loss
// that is not a number.
__device__ __forceinline__ void at_label(T* row, float* loss, long long label, float p, float logit, float largest, float sum, int columns) {
  if (label >= columns) {
    *loss = __int_as_float(0x7fc00000);
    return;
  }
  *loss = (largest - logit) + logf(sum);
  row[label] = from_float<T>(p - 1);
}

// logits [N, pitch], of which the first columns count, become softmax − one-hot, losses [N] −log softmax[label]; both 0
// where the label is negative. A block has a row, which stays in its registers from its only read on.
extern "C" __global__ void __launch_bounds__(THREADS, ITEMS <= 4 && THREADS <= 512 ? 1536 / THREADS : 1) loss_rows(
    T* logits, const long long* __restrict__ labels, float* __restrict__ losses, int columns, int pitch) {
  __shared__ float part[2][32];
  T* row = logits + (long long)blockIdx.x * pitch;
  const long long label = labels[blockIdx.x];
  if (label < 0) return no_loss(row, losses + blockIdx.x, columns);
  close_row(row, columns, pitch);
  uint4 raw[ITEMS];
#pragma unroll
  for (int i = 0; i < ITEMS; i++) raw[i] = logits_pack(row, (i * THREADS + threadIdx.x) * VEC, columns);
  float logit = threadIdx.x == 0 && label < columns ? to_float(row[label]) : 0;
  float largest = -3e38f, v[VEC];
#pragma unroll
  for (int i = 0; i < ITEMS; i++) {
    unpack(raw[i], v);
#pragma unroll
    for (int j = 0; j < VEC; j++) largest = fmaxf(largest, v[j]);
  }
  largest = block_max(largest, part[0]);
  const float shift = largest * LOG2E;
  float sum = 0;
#pragma unroll
  for (int i = 0; i < ITEMS; i++) {
    unpack(raw[i], v);
#pragma unroll
    for (int j = 0; j < VEC; j++) sum += power2(v[j] * LOG2E - shift);
  }
  sum = block_sum(sum, part[1]);
  const float inv = 1 / sum;
#pragma unroll
  for (int i = 0; i < ITEMS; i++) {
    const int c = (i * THREADS + threadIdx.x) * VEC;
    unpack(raw[i], v);
#pragma unroll
    for (int j = 0; j < VEC; j++) v[j] = power2(v[j] * LOG2E - shift) * inv;
    if (c < columns) store_pack(row + c, v);
  }
  __syncthreads();
  if (threadIdx.x == 0) at_label(row, losses + blockIdx.x, label, power2(logit * LOG2E - shift) * inv, logit, largest, sum, columns);
}

// As loss_rows, for rows too long for a block's registers: two reads.
extern "C" __global__ void __launch_bounds__(1024) loss_long_rows(
    T* logits, const long long* __restrict__ labels, float* __restrict__ losses, int columns, int pitch) {
  __shared__ float part[2][32];
  T* row = logits + (long long)blockIdx.x * pitch;
  const long long label = labels[blockIdx.x];
  if (label < 0) return no_loss(row, losses + blockIdx.x, columns);
  close_row(row, columns, pitch);
  float logit = threadIdx.x == 0 && label < columns ? to_float(row[label]) : 0;
  float own = -3e38f, sum = 0, v[VEC]; // the thread's largest, and its sum of e^(logit − own)
#pragma unroll 4
  for (int c = threadIdx.x * VEC; c < columns; c += blockDim.x * VEC) {
    uint4 raw = logits_pack(row, c, columns);
    unpack(raw, v);
    float m = own;
    for (int j = 0; j < VEC; j++) m = fmaxf(m, v[j]);
    sum *= power2((own - m) * LOG2E);
    own = m;
    for (int j = 0; j < VEC; j++) sum += power2((v[j] - own) * LOG2E);
  }
  const float largest = block_max(own, part[0]);
  sum = block_sum(sum * power2((own - largest) * LOG2E), part[1]);
  const float inv = 1 / sum;
#pragma unroll 4
  for (int c = threadIdx.x * VEC; c < columns; c += blockDim.x * VEC) {
    uint4 raw = logits_pack(row, c, columns);
    unpack(raw, v);
    for (int j = 0; j < VEC; j++) v[j] = power2((v[j] - largest) * LOG2E) * inv;
    store_pack(row + c, v);
  }
  __syncthreads();
  if (threadIdx.x == 0) at_label(row, losses + blockIdx.x, label, power2((logit - largest) * LOG2E) * inv, logit, largest, sum, columns);
}

// y [n] = x in T.
extern "C" __global__ void __launch_bounds__(256) round_to(const float* __restrict__ x, T* __restrict__ y, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = from_float<T>(x[i]);
}

// Tensor cores. Where the GPU has the instructions of a warpgroup of four warps (Hopper, compiled for sm_90a), products are
// issued for 64 rows at a time and run on while their threads go on; elsewhere each warp multiplies 16 rows at once.
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define WARPGROUPS 1
#else
#define WARPGROUPS 0
#endif

// 2ˣ, to two units in the last place.
__device__ __forceinline__ float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

__device__ __forceinline__ u32 shared_address(const void* p) { return (u32)__cvta_generic_to_shared(p); }

// Copies BYTES to shared memory behind the thread's back; zeros instead where !in.
template <int BYTES> __device__ __forceinline__ void copy_async(u32 to, const void* from, bool in) {
  int n = in ? BYTES : 0;
  if (BYTES == 16) asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(n) : "memory");
  else asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(to), "l"(from), "n"(BYTES), "r"(n) : "memory");
}

// Shows the thread's writes to shared memory to the tensor cores; a barrier shows them to other threads.
__device__ __forceinline__ void show_writes() {
#if WARPGROUPS
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}
// Waits for the thread's copies, and shows them as well.
__device__ __forceinline__ void wait_copies() {
  asm volatile("cp.async.wait_all;" ::: "memory");
  show_writes();
}

// c [16,8] += a [16,16] · b [16,8].
__device__ __forceinline__ void mma(float* c, const u32* a, u32 b0, u32 b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Four 8×8 matrices; lane l gives the address of row l%8 of matrix l/8.
__device__ __forceinline__ void ldmatrix(u32* r, u32 at) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(at) : "memory");
}
__device__ __forceinline__ void ldmatrix_trans(u32* r, u32 at) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(at) : "memory");
}

#if WARPGROUPS
// Writes four 8×8 matrices as ldmatrix reads them.
__device__ __forceinline__ void stmatrix(u32 at, const u32* r) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1,%2,%3,%4};" ::"r"(at), "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3]) : "memory");
}
// Products of a warpgroup: d [64,N] = a·b or, where ADD, += a·b, of 16 columns of a; a warp's rows 16w.. of d are laid out as mma does
// for each eight columns. a is in shared memory (b by its columns) or in registers (b by its rows); turned, both by their rows, and aᵀ is meant.
template <int N, bool ADD> struct Wgmma;
#define F4(io, i) io "f"(d[i]), io "f"(d[i + 1]), io "f"(d[i + 2]), io "f"(d[i + 3])
#define F8(io, i) F4(io, i), F4(io, i + 4)
#define F16(io, i) F8(io, i), F8(io, i + 8)
#define F32(io, i) F16(io, i), F16(io, i + 16)
#define R8 "%0,%1,%2,%3,%4,%5,%6,%7"
#define R16 R8 ",%8,%9,%10,%11,%12,%13,%14,%15"
#define R32 R16 ",%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
#define WGMMA(N, ADD, IO, REGISTERS, OPERANDS, P0, P1, P2, P3, P4)                                                           \
  template <> struct Wgmma<N, ADD> {                                                                                        \
    static __device__ __forceinline__ void run(float* d, u64 a, u64 b) {                                                    \
      asm volatile("{ .reg .pred p; setp.ne.b32 p, " #ADD ", 0; wgmma.mma_async.sync.aligned.m64n" #N                       \
                   "k16.f32.bf16.bf16 {" REGISTERS "}, " P0 ", " P1 ", p, 1, 1, 0, 0; }" : OPERANDS(IO, 0) : "l"(a), "l"(b)); \
    }                                                                                                                       \
    static __device__ __forceinline__ void run(float* d, const u32* a, u64 b) {                                             \
      asm volatile("{ .reg .pred p; setp.ne.b32 p, " #ADD ", 0; wgmma.mma_async.sync.aligned.m64n" #N                       \
                   "k16.f32.bf16.bf16 {" REGISTERS "}, {" P0 "," P1 "," P2 "," P3 "}, " P4 ", p, 1, 1, 1; }"                \
                   : OPERANDS(IO, 0) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));                                 \
    }                                                                                                                       \
    static __device__ __forceinline__ void run_turned(float* d, u64 a, u64 b) {                                             \
      asm volatile("{ .reg .pred p; setp.ne.b32 p, " #ADD ", 0; wgmma.mma_async.sync.aligned.m64n" #N                       \
                   "k16.f32.bf16.bf16 {" REGISTERS "}, " P0 ", " P1 ", p, 1, 1, 1, 1; }" : OPERANDS(IO, 0) : "l"(a), "l"(b)); \
    }                                                                                                                       \
  };
#define WGMMAS(ADD, IO)                                                  \
  WGMMA(16, ADD, IO, R8, F8, "%8", "%9", "%10", "%11", "%12")            \
  WGMMA(32, ADD, IO, R16, F16, "%16", "%17", "%18", "%19", "%20")        \
  WGMMA(64, ADD, IO, R32, F32, "%32", "%33", "%34", "%35", "%36")
WGMMAS(0, "=")
WGMMAS(1, "+")
#endif
// Before products that are issued, and behind them.
__device__ __forceinline__ void begin_products() {
#if WARPGROUPS
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#endif
}
__device__ __forceinline__ void end_products() {
#if WARPGROUPS
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#endif
}
// Waits until at most LEFT groups of products are on their way.
template <int LEFT> __device__ __forceinline__ void wait_products() {
#if WARPGROUPS
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(LEFT) : "memory");
#endif
}
// Results are read behind this point, not before.
template <int N> __device__ __forceinline__ void arrived(float (&c)[N][4]) {
#if WARPGROUPS
#pragma unroll
  for (int n = 0; n < N; n++) asm volatile("" : "+f"(c[n][0]), "+f"(c[n][1]), "+f"(c[n][2]), "+f"(c[n][3])::"memory");
#endif
}

// A quad's threads q have two columns each of blocks of eight, v[block][half]; then thread q has block q's eight, in order.
__device__ __forceinline__ void gather(float (&v)[4][2]) {
  const bool odd = threadIdx.x & 1, high = threadIdx.x & 2;
#pragma unroll
  for (int h = 0; h < 2; h++) {
#pragma unroll
    for (int b = 0; b < 4; b += 2) {
      float x = __shfl_xor_sync(0xffffffffu, odd ? v[b][h] : v[b + 1][h], 1);
      if (odd) v[b][h] = x;
      else v[b + 1][h] = x;
    }
#pragma unroll
    for (int b = 0; b < 2; b++) {
      float x = __shfl_xor_sync(0xffffffffu, high ? v[b][h] : v[b + 2][h], 2);
      if (high) v[b][h] = x;
      else v[b + 2][h] = x;
    }
  }
}

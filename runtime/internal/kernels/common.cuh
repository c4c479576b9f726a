// What all kernels share. The sources are compiled by NVRTC without any header: march needs no CUDA toolkit. Names in capitals
// are macros of the sources after this one.

typedef unsigned int u32;
typedef unsigned short u16;
typedef unsigned long long u64;

// bf16 is a bfloat16 in memory; arithmetic is done in float.
struct bf16 { u16 bits; };

__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ float to_float(bf16 x) { return __uint_as_float((u32)x.bits << 16); }

template <class Elem> __device__ __forceinline__ Elem from_float(float x);
template <> __device__ __forceinline__ float from_float<float>(float x) { return x; }
template <> __device__ __forceinline__ bf16 from_float<bf16>(float x) {
  bf16 y;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
  return y;
}

// A bf16 pair in one register: lo is the element at the lower address.
__device__ __forceinline__ u32 pack_bf16(float lo, float hi) {
  u32 y;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(hi), "f"(lo));
  return y;
}
__device__ __forceinline__ float low_bf16(u32 x) { return __uint_as_float(x << 16); }
__device__ __forceinline__ float high_bf16(u32 x) { return __uint_as_float(x & 0xffff0000u); }

// Eight bfloat16 or four floats: 16 bytes.
template <class Elem> struct Pack;
template <> struct Pack<float> { static constexpr int n = 4; };
template <> struct Pack<bf16> { static constexpr int n = 8; };

__device__ __forceinline__ void load_pack(const float* p, float* v) {
  float4 x = *reinterpret_cast<const float4*>(p);
  v[0] = x.x; v[1] = x.y; v[2] = x.z; v[3] = x.w;
}
__device__ __forceinline__ void load_pack(const bf16* p, float* v) {
  uint4 x = *reinterpret_cast<const uint4*>(p);
  v[0] = low_bf16(x.x); v[1] = high_bf16(x.x); v[2] = low_bf16(x.y); v[3] = high_bf16(x.y);
  v[4] = low_bf16(x.z); v[5] = high_bf16(x.z); v[6] = low_bf16(x.w); v[7] = high_bf16(x.w);
}
__device__ __forceinline__ void store_pack(float* p, const float* v) {
  *reinterpret_cast<float4*>(p) = make_float4(v[0], v[1], v[2], v[3]);
}
__device__ __forceinline__ void store_pack(bf16* p, const float* v) {
  *reinterpret_cast<uint4*>(p) = make_uint4(pack_bf16(v[0], v[1]), pack_bf16(v[2], v[3]), pack_bf16(v[4], v[5]), pack_bf16(v[6], v[7]));
}

__device__ __forceinline__ float warp_sum(float x) {
  for (int d = 16; d > 0; d >>= 1) x += __shfl_xor_sync(0xffffffffu, x, d);
  return x;
}
__device__ __forceinline__ float warp_max(float x) {
  for (int d = 16; d > 0; d >>= 1) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, d));
  return x;
}

// count elements at once, in 16-byte accesses where count is a multiple of a pack; 1 for what is not aligned.
template <int count, class Elem> __device__ __forceinline__ void load(const Elem* p, float* v) {
  if constexpr (count % Pack<Elem>::n != 0) {
#pragma unroll
    for (int j = 0; j < count; j++) v[j] = to_float(p[j]);
  } else {
#pragma unroll
    for (int j = 0; j < count; j += Pack<Elem>::n) load_pack(p + j, v + j);
  }
}
template <int count, class Elem> __device__ __forceinline__ void store(Elem* p, const float* v) {
  if constexpr (count % Pack<Elem>::n != 0) {
#pragma unroll
    for (int j = 0; j < count; j++) p[j] = from_float<Elem>(v[j]);
  } else {
#pragma unroll
    for (int j = 0; j < count; j += Pack<Elem>::n) store_pack(p + j, v + j);
  }
}

// What an access moves, unconverted: half the registers of bfloat16 as floats while it is on its way. load reads it as it
// reads memory.
template <int bytes> struct Bits;
template <> struct Bits<2> { typedef u16 type; };
template <> struct Bits<4> { typedef u32 type; };
template <> struct Bits<16> { typedef uint4 type; };

// Of a block of whole warps, the same for each thread; shared holds a float for each warp and may be
// used again after the block's next barrier.
__device__ __forceinline__ float block_sum(float x, float* shared) {
  x = warp_sum(x);
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = x;
  __syncthreads();
  return warp_sum(threadIdx.x % 32 < blockDim.x / 32 ? shared[threadIdx.x % 32] : 0);
}
__device__ __forceinline__ float block_max(float x, float* shared) {
  x = warp_max(x);
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = x;
  __syncthreads();
  return warp_max(shared[threadIdx.x % 32 < blockDim.x / 32 ? threadIdx.x % 32 : 0]);
}

// Boxes of matrices in bfloat16, which a Hopper's copying engine takes between memory and shared memory, and the barriers in shared memory
// that tell of their arrival. A barrier's phase ends when so many threads have arrived and what they expect is there.

// Map is how the copying engine sees a matrix.
struct alignas(64) Map { u64 words[16]; };

// Hints to the second-level cache: when what an access touches makes room for other things. The numbers are those that createpolicy.fractional makes on a Hopper.
constexpr u64 SOON = 0x12F0000000000000, USUAL = 0x1000000000000000, LATE = 0x14F0000000000000;
__device__ __forceinline__ void load_pack_hint(const float* p, float* v, u64 hint) {
  asm volatile("ld.global.L2::cache_hint.v4.f32 {%0,%1,%2,%3}, [%4], %5;" : "=f"(v[0]), "=f"(v[1]), "=f"(v[2]), "=f"(v[3]) : "l"(p), "l"(hint) : "memory");
}
__device__ __forceinline__ void store_pack_hint(float* p, const float* v, u64 hint) {
  asm volatile("st.global.L2::cache_hint.v4.f32 [%0], {%1,%2,%3,%4}, %5;" ::"l"(p), "f"(v[0]), "f"(v[1]), "f"(v[2]), "f"(v[3]), "l"(hint) : "memory");
}

// What is in the 128 bytes at p is of no use any more, and need not get from the second-level cache to memory.
__device__ __forceinline__ void discard_line(float* p) { asm volatile("discard.global.L2 [%0], 128;" ::"l"(p) : "memory"); }

__device__ __forceinline__ void barrier_init(u32 at, int count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(at), "r"(count) : "memory");
}
// Shows barriers that were made to the copying engine; __syncthreads shows them to other threads.
__device__ __forceinline__ void show_barriers() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
__device__ __forceinline__ void barrier_expect(u32 at, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(at), "r"(bytes) : "memory");
}
__device__ __forceinline__ void barrier_wait(u32 at, u32 parity) {
  asm volatile(
      "{ .reg .pred p;\n"
      "again: mbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n"
      "@p bra done;\nbra again;\ndone: }" ::"r"(at), "r"(parity) : "memory");
}
__device__ __forceinline__ void barrier_arrive(u32 at) { asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(at) : "memory"); }
// Has a matrix's map fetched, ahead of the first copy.
__device__ __forceinline__ void expect_map(const Map* map) { asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory"); }
// Copies the box at (row, column) of a matrix.
__device__ __forceinline__ void copy_box(u32 to, const Map* from, int row, int column, u32 barrier) {
  asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];" ::"r"(to), "l"(from),
               "r"(column), "r"(row), "r"(barrier) : "memory");
}
// The same, with a hint to the second-level cache.
__device__ __forceinline__ void copy_box(u32 to, const Map* from, int row, int column, u32 barrier, u64 hint) {
  asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1, {%2, %3}], [%4], %5;" ::"r"(to), "l"(from),
               "r"(column), "r"(row), "r"(barrier), "l"(hint) : "memory");
}
// Copies bytes, multiples of 16.
template <int BYTES> __device__ __forceinline__ void copy_bytes(u32 to, const void* from, u32 barrier) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(to), "l"(from), "n"(BYTES), "r"(barrier) : "memory");
}
// Copies a box from shared memory to a matrix, where it is in it.
__device__ __forceinline__ void store_box(const Map* to, u32 from, int row, int column) {
  asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%1, %2}], [%3];\ncp.async.bulk.commit_group;" ::"l"(to), "r"(column), "r"(row), "r"(from)
               : "memory");
}
// Waits until at most LEFT boxes that this thread stores are still read from shared memory.
template <int LEFT> __device__ __forceinline__ void wait_stores() {
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(LEFT) : "memory");
}
__device__ __forceinline__ void warpgroup_barrier(int group) { asm volatile("bar.sync %0, 128;" ::"r"(2 + group) : "memory"); }

// Rows of a matrix that threads keep in registers: LANES threads to a row, 32 (each warp has rows of its own) or the block, which
// has GROUPS rows at a time.

#if LANES == 32
#define GROUPS 8
__device__ __forceinline__ float row_sum(float x, float*) { return warp_sum(x); }
#else
#define GROUPS 1
__device__ __forceinline__ float row_sum(float x, float* shared) { return block_sum(x, shared); }
#endif

// The forward pass of attention on Hopper (attention.cuh), for heads of 32 or 64 and whole tiles of 64 queries and keys.
//
// A block has BLOCK queries of a head at a time, 64 for each of its warpgroups, while tiles of keys and values stream by, once for all of them. One warp copies,
// ahead by STAGES tiles and across heads. Warpgroups go on by themselves: nothing but a tile's arrival and its release is waited for.

#include "attention.cuh"
#include "boxes.cuh"

#define STAGES 8
constexpr int GROUPS = WARPS / 4, BLOCK = GROUPS * 64;
typedef Tile<64, D> Box;

// y [B·Sq, H·dv] and lse [B,H,Sq] as of attention_forward. The blocks of a head go in pairs from both ends, which have the same work under a causal mask.
extern "C" __global__ void __launch_bounds__(THREADS + 32, 1)
attention_stream(PARAMS, const __grid_constant__ Map all_q, const __grid_constant__ Map all_k, const __grid_constant__ Map all_v, const __grid_constant__ Map all_y,
                 float* lse) {
  static_assert(D == DV && TILE == 64, "boxes");
  const u32 own = shared_address(shared_memory), stream = own + 2 * GROUPS * Box::BYTES, barriers = stream + STAGES * 2 * Box::BYTES;
  const u32 full = barriers, empty = full + 8 * STAGES, full_q = empty + 8 * STAGES, empty_q = full_q + 16;
  if (threadIdx.x == 0) {
    for (int i = 0; i < STAGES; i++) barrier_init(full + 8 * i, 1), barrier_init(empty + 8 * i, WARPS);
    for (int i = 0; i < 2; i++) barrier_init(full_q + 8 * i, 1), barrier_init(empty_q + 8 * i, GROUPS);
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  }
  __syncthreads();
  const int blocks = (queries + BLOCK - 1) / BLOCK, pairs = (blocks + 1) / 2, group = warpgroup(), lane = threadIdx.x % 32;
  const float scale2 = scale * LOG2E;
  int stage = 0, turn = 0; // turn: of the queries' two places
  u32 parity = 0, parity_q = 0;
  auto next = [&](int& at, u32& parity, int count) {
    if (++at == count) at = 0, parity ^= 1;
  };
  // Once a result is read, the queries' memory that it went through is free again.
  u32 owed = 0;
  auto release_queries = [&] {
    if (threadIdx.x % 128 == 0 && owed) {
      wait_stores<0>();
      barrier_arrive(owed);
    }
    owed = 0;
  };
  for (int item = blockIdx.x; item < batch * heads * pairs; item += gridDim.x) {
    const int at_head = item / pairs, pair = item - at_head * pairs, b = at_head / heads, h = at_head - b * heads, hk = groups == 1 ? h : h / groups;
    const Rule u(lengths, b, queries, keys, causal, window, memory);
    for (int half = 0; half < (2 * pair == blocks - 1 ? 1 : 2); half++) {
      const int i0 = (half ? pair : blocks - 1 - pair) * BLOCK;
      const Walk walk(u, i0, min(i0 + BLOCK, queries));
      if (group == GROUPS) {
        barrier_wait(empty_q + 8 * turn, parity_q ^ 1);
        if (lane == 0) {
          barrier_expect(full_q + 8 * turn, GROUPS * Box::BYTES);
          for (int g = 0; g < GROUPS; g++) // past the end there is something, if only zeros, and never used
            copy_box(own + (turn * GROUPS + g) * Box::BYTES, &all_q, b * queries + i0 + (half ? GROUPS - 1 - g : g) * 64, h * D, full_q + 8 * turn);
        }
        for (int n = 0; n < walk.count; n++) {
          barrier_wait(empty + 8 * stage, parity ^ 1);
          if (lane == 0) {
            const u32 to = stream + stage * 2 * Box::BYTES;
            barrier_expect(full + 8 * stage, 2 * Box::BYTES);
            copy_box(to, &all_k, b * keys + walk(n), hk * D, full + 8 * stage);
            copy_box(to + Box::BYTES, &all_v, b * keys + walk(n), hk * D, full + 8 * stage);
          }
          __syncwarp();
          next(stage, parity, STAGES);
        }
      } else {
        const int i = i0 + (half ? GROUPS - 1 - group : group) * 64;
        const Box mine{own + (turn * GROUPS + group) * Box::BYTES};
        float o[D / 8][4], top[2] = {-INF, -INF}, sum[2] = {0, 0};
        // Tiles that these queries see, and those of which they see all.
        const bool simple = !window && !memory && scale2 > 0;
        const int limit = causal ? min(i + 64, u.limit) : u.limit, seen = i >= queries ? 0 : simple ? (limit + 63) / 64 : walk.count;
        const int whole = simple ? (causal ? min(i + 1, u.limit) : u.limit) / 64 : 0;
        clear(o);
        barrier_wait(full_q + 8 * turn, parity_q);
        for (int n = 0; n < walk.count; n++) {
          const int j = walk(n);
          const Box tile{stream + stage * 2 * Box::BYTES}, values{tile.at + Box::BYTES};
          barrier_wait(full + 8 * stage, parity);
          if (n < seen && (simple || !u.none(i, i + 64, j, j + 64))) {
            float s[8][4];
            begin_products();
            product_tiles(s, mine, tile);
            end_products();
            wait_products<0>();
            arrived(s);
            soften<64>(s, o, top, sum, n < whole ? scale2 : logits<64, false>(s, u, i, j, keys, bias, scale2));
            u32 p[4][4];
            round_left<64>(p, s);
            begin_products();
#pragma unroll
            for (int c = 0; c < 4; c++) Wgmma<D, 1>::run(o[0], p[c], values.descriptor(c * 16, 0));
            end_products();
            wait_products<0>();
            arrived(o);
          }
          if (lane == 0) barrier_arrive(empty + 8 * stage);
          next(stage, parity, STAGES);
          if (n == 0) release_queries();
        }
        float factor[2];
        finish_rows(factor, top, sum, scale2 <= 0 ? 1 / LOG2E : scale, 1, lse + (i64)at_head * queries, i + threadIdx.x % 128 / 32 * 16 + lane / 4, queries);
        release_queries();
        // The result goes out through the queries' memory.
#pragma unroll
        for (int c = 0; c < D / 8; c++)
#pragma unroll
          for (int e = 0; e < 4; e++) o[c][e] *= factor[e / 2];
        u32 rounded[D / 16][4];
        round_left<D>(rounded, o);
        warpgroup_barrier(group);
        store_box_rows<D>(mine, rounded);
        show_writes();
        warpgroup_barrier(group);
        if (threadIdx.x % 128 == 0 && i < queries) store_box(&all_y, mine.at, b * queries + i, h * D);
        owed = empty_q + 8 * turn;
      }
      next(turn, parity_q, 2);
    }
  }
  if (group < GROUPS && threadIdx.x % 128 == 0) wait_stores<0>();
}

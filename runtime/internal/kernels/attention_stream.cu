// The forward pass of attention on Hopper (attention.cuh), for heads of 32 or 64 and whole tiles of 64 queries and keys.
//
// A block has BLOCK queries of a head at a time, 64 for each of four warpgroups, while tiles of keys and values stream by, once for all of them. A fifth
// warpgroup's first warp copies, ahead by STAGES tiles and across heads. Warpgroups go on by themselves: nothing but a tile's arrival and its release is waited
// for. A tile's product with its values and the next tile's with the queries are issued together, between two tiles' exponentials.

#include "attention.cuh"
#include "boxes.cuh"

#define STAGES 6
constexpr int GROUPS = WARPS / 4, BLOCK = GROUPS * 64;
typedef Tile<64, D> Box;

// The blocks of queries that this block takes: pairs from both ends of a head, which have the same work under a causal mask, a grid apart. Pairs and halves are two
// loops, not one: the compiler gives exponentials more registers then, and they take a twentieth less.
struct Work {
  int batch, heads, blocks, pairs, by_pair, by_head, by_batch; // by_…: from one pair to the next
  int b, h, pair, half;
  __device__ __forceinline__ Work(int batch, int heads, int queries) : batch(batch), heads(heads), blocks((queries + BLOCK - 1) / BLOCK) {
    pairs = (blocks + 1) / 2;
    const int by_all = gridDim.x / pairs, all = blockIdx.x / pairs;
    by_batch = by_all / heads, by_head = by_all - by_batch * heads, by_pair = gridDim.x - by_all * pairs;
    b = all / heads, h = all - b * heads, pair = blockIdx.x - all * pairs;
  }
  __device__ __forceinline__ bool more() const { return b < batch; }
  __device__ __forceinline__ int halves() const { return 2 * pair == blocks - 1 ? 1 : 2; } // a block in the middle is alone
  __device__ __forceinline__ void next() {
    pair += by_pair, h += by_head, b += by_batch;
    if (pair >= pairs) pair -= pairs, h++;
    if (h >= heads) h -= heads, b++;
  }
  __device__ __forceinline__ int first() const { return (half ? pair : blocks - 1 - pair) * BLOCK; }
  // first of a warpgroup: the one with the most keys to see has the fewest in the other half.
  __device__ __forceinline__ int first(int g) const { return first() + (half ? GROUPS - 1 - g : g) * 64; }
  __device__ __forceinline__ Walk walk(const Rule& u) const { return Walk(u, first(), min(first() + BLOCK, u.queries)); }
};

// Turns logits s, but for factor, into rounded exponentials p, the left operand of the next product, and adds them to each row's sum. They are relative to what was the row's
// maximum when that was last looked for, as is what was added up before, in o and sum: sums in floating point are as exact relative to anything, so it is looked
// for only where no key was seen before, and where a thread's exponentials come to more than 2³².
template <int N, int W>
__device__ __forceinline__ void exponentials(u32 (&p)[N / 16][4], float (&s)[N / 8][4], float (&o)[W][4], float (&top)[2], float (&sum)[2], float factor) {
  constexpr float LARGE = 1ull << 32;
  float part[2][2]; // of a row: even and odd columns
  for (bool look = __any_sync(0xffffffffu, fminf(top[0], top[1]) == -INF);; look = true) {
    if (look) {
      arrived(s); // lest maxima are computed before, for nothing
#pragma unroll
      for (int e = 0; e < 2; e++) lift(e, row_maximum<N>(s, e, top[e]), o, top, sum, factor);
    }
    const float base[2] = {top[0] == -INF ? 0 : top[0] * factor, top[1] == -INF ? 0 : top[1] * factor};
    part[0][0] = part[0][1] = part[1][0] = part[1][1] = 0;
#pragma unroll
    for (int k = 0; k < N / 16; k++)
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const int c = 2 * k + i / 2, e = i % 2;
        const float even = exp2_fast(s[c][2 * e] * factor - base[e]), odd = exp2_fast(s[c][2 * e + 1] * factor - base[e]);
        part[e][0] += even, part[e][1] += odd;
        p[k][i] = pack_bf16(even, odd);
      }
    part[0][0] += part[0][1], part[1][0] += part[1][1];
    if (look || !__any_sync(0xffffffffu, fmaxf(part[0][0], part[1][0]) > LARGE)) break;
  }
  sum[0] += part[0][0], sum[1] += part[1][0];
}

// y [B·Sq, H·dv] and lse [B,H,Sq] as of attention_forward.
extern "C" __global__ void __launch_bounds__(THREADS + 128, 1)
attention_stream(PARAMS, const __grid_constant__ Map all_q, const __grid_constant__ Map all_k, const __grid_constant__ Map all_v, const __grid_constant__ Map all_y,
                 float* lse) {
  static_assert(D == DV && TILE == 64, "boxes");
  const u32 own = shared_address(shared_memory), stream = own + 2 * GROUPS * Box::BYTES, barriers = stream + STAGES * 2 * Box::BYTES;
  // Of each stage: keys are there, values are there, both are free. Of the queries' two places, for each warpgroup: they are there, the place is free.
  const u32 full_k = barriers, full_v = full_k + 8 * STAGES, empty = full_v + 8 * STAGES, full_q = empty + 8 * STAGES, empty_q = full_q + 8 * 2 * GROUPS;
  if (threadIdx.x == 0) {
    for (int i = 0; i < STAGES; i++) barrier_init(full_k + 8 * i, 1), barrier_init(full_v + 8 * i, 1), barrier_init(empty + 8 * i, WARPS);
    for (int i = 0; i < 2 * GROUPS; i++) barrier_init(full_q + 8 * i, 1), barrier_init(empty_q + 8 * i, 1);
    show_barriers();
  } else if (threadIdx.x == THREADS) {
    expect_map(&all_k);
    expect_map(&all_q);
    expect_map(&all_v);
  }
  __syncthreads();
  const int group = warpgroup(), lane = threadIdx.x % 32;
  int stage = 0, turn = 0; // turn: of the queries' two places
  u32 parity = 0, parity_q = 0;
  auto next = [](int& at, u32& parity, int count) {
    if (++at == count) at = 0, parity ^= 1;
  };
  Work at(batch, heads, queries);

  if (group == GROUPS) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 32;");
    if (threadIdx.x != THREADS) return;
    for (; at.more(); at.next()) {
      for (at.half = 0; at.half < at.halves(); at.half++, next(turn, parity_q, 2)) {
        const int column = (groups == 1 ? at.h : at.h / groups) * D;
        const Walk walk = at.walk(Rule(lengths, at.b, queries, keys, causal, window, memory));
        auto bring_keys = [&](int n) {
          barrier_wait(empty + 8 * stage, parity ^ 1);
          barrier_expect(full_k + 8 * stage, Box::BYTES);
          copy_box(stream + stage * 2 * Box::BYTES, &all_k, at.b * keys + walk(n), column, full_k + 8 * stage);
        };
        // The first keys, the queries, the first values: what is needed first.
        if (walk.count) bring_keys(0);
        for (int g = 0; g < GROUPS; g++) { // past the end there is something, if only zeros, and never used
          const int place = turn * GROUPS + g;
          barrier_wait(empty_q + 8 * place, parity_q ^ 1);
          barrier_expect(full_q + 8 * place, Box::BYTES);
          copy_box(own + place * Box::BYTES, &all_q, at.b * queries + at.first(g), at.h * D, full_q + 8 * place);
        }
        for (int n = 0; n < walk.count; n++, next(stage, parity, STAGES)) {
          if (n) bring_keys(n);
          barrier_expect(full_v + 8 * stage, Box::BYTES);
          copy_box(stream + (stage * 2 + 1) * Box::BYTES, &all_v, at.b * keys + walk(n), column, full_v + 8 * stage);
        }
      }
    }
    return;
  }

  asm volatile("setmaxnreg.inc.sync.aligned.u32 112;");
  const float scale2 = scale * LOG2E;
  // Once a result is read, the queries' memory that it went through is free again.
  u32 owed = 0;
  auto release_queries = [&] {
    if (threadIdx.x % 128 == 0 && owed) {
      wait_stores<0>();
      barrier_arrive(owed);
    }
    owed = 0;
  };
  auto leave = [&](int stage) {
    if (lane == 0) barrier_arrive(empty + 8 * stage);
  };
  for (; at.more(); at.next()) {
    for (at.half = 0; at.half < at.halves(); at.half++, next(turn, parity_q, 2)) {
      const Rule u(lengths, at.b, queries, keys, causal, window, memory);
      const Walk walk = at.walk(u);
      const int i = at.first(group), place = turn * GROUPS + group;
      const Box mine{own + place * Box::BYTES};
      float s[8][4], o[D / 8][4], top[2] = {-INF, -INF}, sum[2] = {0, 0};
      // Tiles that these queries see, and those of which they see all.
      const bool simple = !window && !memory && scale2 > 0;
      const int limit = causal ? min(i + 64, u.limit) : u.limit, seen = i >= queries ? 0 : simple ? (limit + 63) / 64 : walk.count;
      const int whole = simple ? (causal ? min(i + 1, u.limit) : u.limit) / 64 : 0;
      int n = 0;
      auto pass_by = [&] {
        barrier_wait(full_k + 8 * stage, parity);
        barrier_wait(full_v + 8 * stage, parity);
        leave(stage);
        next(stage, parity, STAGES);
        n++;
      };
      // Waits for the keys of the next tile that these queries see; false where there is none.
      auto next_keys = [&] {
        while (n < seen && !simple && u.none(i, i + 64, walk(n), walk(n) + 64)) pass_by();
        if (n < seen) barrier_wait(full_k + 8 * stage, parity);
        return n < seen;
      };
      auto product_keys = [&] {
        product_tiles(s, mine, Box{stream + stage * 2 * Box::BYTES});
        end_products();
        barrier_wait(full_v + 8 * stage, parity);
        wait_products<0>();
        arrived(s);
      };
      clear(o);
      barrier_wait(full_q + 8 * place, parity_q);
      bool more = next_keys();
      if (more) {
        begin_products();
        product_keys();
      }
      while (more) {
        const int done = stage;
        const Box values{stream + (stage * 2 + 1) * Box::BYTES};
        u32 p[4][4];
        exponentials<64>(p, s, o, top, sum, n < whole ? scale2 : logits<64, false>(s, u, i, walk(n), keys, bias, scale2));
        next(stage, parity, STAGES);
        n++;
        more = next_keys();
        begin_products();
#pragma unroll
        for (int c = 0; c < 4; c++) Wgmma<D, 1>::run(o[0], p[c], values.descriptor(c * 16, 0));
        if (more) product_keys();
        else {
          end_products();
          wait_products<0>();
        }
        arrived(o);
        leave(done);
        release_queries();
      }
      while (n < walk.count) pass_by();
      float factor[2];
      finish_rows(factor, top, sum, scale2 <= 0 ? 1 / LOG2E : scale, 1, lse + ((i64)at.b * heads + at.h) * queries, i + threadIdx.x % 128 / 32 * 16 + lane / 4, queries);
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
      if (threadIdx.x % 128 == 0 && i < queries) store_box(&all_y, mine.at, at.b * queries + i, at.h * D);
      owed = empty_q + 8 * place;
    }
  }
  if (threadIdx.x % 128 == 0) wait_stores<0>();
}

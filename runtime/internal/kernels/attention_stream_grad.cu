// The gradients of queries, keys and values of attention in one pass on Hopper (attention.cuh), for heads of 32 or 64, whole tiles of 64 queries and
// keys, and from 128 to MOST queries.
//
// A block has a head and BLOCK keys of it at a time, 64 for each of three warpgroups, while tiles of queries stream by; that is a pass, and a tile in it a
// step. The three multiply: each makes its keys' gradients of a tile's logits and leaves them in shared memory, where one of them in turn multiplies them all
// with the keys, so that what a step adds to dq is a single product's sum. The order of all sums is fixed. A fourth warpgroup works ahead of them, a
// task for each warp: one plans the steps and brings keys and values, one brings tiles, two make what belongs to each query.

#include "attention.cuh"
#include "boxes.cuh"

#define STAGES 3
#define MOST 512
constexpr int GROUPS = WARPS / 4, BLOCK = GROUPS * 64;
typedef Tile<64, D> Box;
typedef Tile<64, 64> Slopes; // gradients of logits [keys, queries]

// A step as it is planned, in shared memory: the row of its first query, the column of its head, the place of its numbers (of two, of this head and of the next
// one, in turn), flags, and the place of its log-sum-exps in memory.
constexpr int STEP = 32, PLANNED = 32; // bytes; steps that are known at a time
// Flags: it is its tile's first step or its last, of this head; its pass's last, or the last of all; another pass has added to the tile's dq before; there is no
// step at all.
enum : u32 { FIRST = 1, FINAL = 2, LAST = 4, DONE = 8, BEFORE = 16, NOTHING = 32 };
// And in which of two places its keys are, and the range of the warpgroups whose keys these queries see.
__device__ __forceinline__ int keys_place(u32 flags) { return flags >> 8 & 1; }
__device__ __forceinline__ int first_group(u32 flags) { return flags >> 9 & 3; }
__device__ __forceinline__ int end_group(u32 flags) { return flags >> 11 & 3; }

// Where all is in shared memory: keys and values, twice; gradients of logits, twice; queries, dy and y of STAGES tiles; of MOST queries log-sum-exps over ln 2 and
// Σ y·dy, of two heads; steps; barriers.
constexpr u32 PAIR = 2 * Box::BYTES, STAGE = 3 * Box::BYTES, SLOPES = 2 * GROUPS * PAIR, STREAM = SLOPES + 2 * GROUPS * Slopes::BYTES, NUMBERS = STREAM + STAGES * STAGE,
              STEPS = NUMBERS + 2 * 2 * MOST * 4, BARRIERS = STEPS + PLANNED * STEP;
// Barriers, 8 bytes each. Of each stage: it is there, its log-sum-exps are ready, its Σ y·dy are, it is free. Of each of two places: keys are there, values are,
// both are free; gradients of logits are there, they are free. A pass is planned (of four in turn); the first tiles have been asked for.
constexpr u32 FULL = BARRIERS, READY = FULL + 8 * STAGES, READY_SUMS = READY + 8 * STAGES, EMPTY = READY_SUMS + 8 * STAGES, FULL_KEYS = EMPTY + 8 * STAGES,
              FULL_VALUES = FULL_KEYS + 16, EMPTY_KEYS = FULL_VALUES + 16, FULL_SLOPES = EMPTY_KEYS + 16, EMPTY_SLOPES = FULL_SLOPES + 16,
              IS_PLANNED = EMPTY_SLOPES + 16, BEGUN = IS_PLANNED + 32, END = BEGUN + 8;

// Of a block of keys, the tiles of queries of a pass: all that see some of them. A head that has any step has two at least, which places of numbers rely on.
struct Blocks {
  const i64* lengths;
  int queries, keys, causal, window;
  __device__ __forceinline__ int limit(int b) const { return Rule(lengths, b, queries, keys, causal, window, 0).limit; } // keys of a sequence from it on are hidden
  __device__ __forceinline__ int count() const { return (keys + BLOCK - 1) / BLOCK; }
  __device__ __forceinline__ int first(int block) const { return causal ? block * (BLOCK / 64) : 0; }
  __device__ __forceinline__ int end(int block, int limit) const {
    return block * BLOCK < limit ? (min(queries, window ? block * BLOCK + BLOCK - 1 + window : queries) + 63) / 64 : 0;
  }
  // Of the blocks that a tile of queries sees, the first and the last; the last is before the first where it sees none.
  __device__ __forceinline__ int first_block(int tile) const { return (window ? max(0, tile * 64 - window + 1) : 0) / BLOCK; }
  __device__ __forceinline__ int last_block(int tile, int limit) const { return ((causal ? min(tile * 64 + 64, limit) : limit) + BLOCK - 1) / BLOCK - 1; }
};

// A thread of the warp, always the same one, does what one does. All of the warp take part.
__device__ __forceinline__ bool elected() {
  u32 yes;
  asm volatile("{ .reg .pred p;\nelect.sync _|p, 0xffffffff;\nselp.u32 %0, 1, 0, p; }" : "=r"(yes)::"memory");
  return yes;
}
__device__ __forceinline__ void load_step(u32 at, u32& row, u32& column, u32& place, u32& flags) {
  asm volatile("ld.shared.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(row), "=r"(column), "=r"(place), "=r"(flags) : "r"(at) : "memory");
}
__device__ __forceinline__ u32 load_word(u32 at) {
  u32 x;
  asm volatile("ld.shared.u32 %0, [%1];" : "=r"(x) : "r"(at) : "memory");
  return x;
}

// Plans passes and brings their keys and values. Passes go over a head's keys from the last ones on. A warp; each lane has a step of a pass.
__device__ __forceinline__ void plan(u32 own, const Blocks& all, int batch, int heads, const Map* all_k, const Map* all_v) {
  const int lane = threadIdx.x % 32, items = batch * heads;
  int item = blockIdx.x, block = all.count(), b = item / heads, limit = item < items ? all.limit(b) : 0;
  auto next = [&] { // the next pass; no item, where there is none
    for (;;) {
      if (--block < 0) {
        if ((item += gridDim.x) >= items) return;
        block = all.count() - 1, b = item / heads, limit = all.limit(b);
      }
      if (all.first(block) < all.end(block, limit)) return;
    }
  };
  auto copy_keys = [&](u32 pass, int row, int column, int there) { // so many tiles are there, before the end; keys come first
    const int place = pass % 2;
    barrier_wait(own + EMPTY_KEYS + 8 * place, pass / 2 % 2 ^ 1);
    barrier_expect(own + FULL_KEYS + 8 * place, there * Box::BYTES);
    barrier_expect(own + FULL_VALUES + 8 * place, there * Box::BYTES);
#pragma unroll 1
    for (int n = 0; n < 2 * there; n++) {
      const bool values = n >= there;
      const int i = values ? n - there : n, g = place ? i : GROUPS - 1 - i;
      copy_box(own + (place * GROUPS + g) * PAIR + values * Box::BYTES, values ? all_v : all_k, row + i * 64, column, own + (values ? FULL_VALUES : FULL_KEYS) + 8 * place, SOON);
    }
  };
  if (item < items) next();
  if (item >= items) {
    if (lane == 0) asm volatile("st.shared.u32 [%0], %1;" ::"r"(own + STEPS + 12), "r"(NOTHING) : "memory");
    barrier_arrive(own + IS_PLANNED);
    return;
  }
  auto tiles_there = [&](int block) { return min(GROUPS, all.keys / 64 - block * GROUPS); };
  if (lane == 0) copy_keys(0, b * all.keys + block * BLOCK, (item - b * heads) * D, tiles_there(block));
  __syncwarp();
  u32 step = 0, place_of_numbers = 0;
  bool down = false;
#pragma unroll 1
  for (u32 pass = 0; item < items; pass++) {
    const int now = item, at = block, row = b * all.keys + at * BLOCK, column = (item - b * heads) * D;
    const int from = all.first(block), end = all.end(block, limit), count = end - from, j = at * BLOCK, place = pass % 2;
    // Tiles that have been before go first, and those of the last pass's end before those of its begin: they and what dq has may still be in the
    // second-level cache.
    const int fresh = __popc(__ballot_sync(0xffffffffu, lane < count && all.last_block(from + lane, limit) == at)), old = count - fresh;
    const int tile = down ? end - 1 - lane : lane < old ? from + fresh + lane : from + lane - old, i = tile * 64;
    const int low = all.window ? max(0, (i - all.window + 1 - j) >> 6) : 0, high = min(GROUPS, ((all.causal ? min(i + 64, limit) : limit) - j + 63) >> 6);
    u32 flags = (all.last_block(tile, limit) == at ? FIRST : BEFORE) | (all.first_block(tile) == at ? FINAL : 0) | (lane + 1 == count ? LAST : 0) | place << 8 |
                (place ? low : GROUPS - high) << 9 | (place ? high : GROUPS - low) << 11;
    const u32 to = own + STEPS + (step + lane) % PLANNED * STEP, query = b * all.queries + i;
    next();
    if (item >= items && lane + 1 == count) flags |= DONE;
    if (lane < count) {
      asm volatile("st.shared.v4.u32 [%0], {%1,%2,%3,%4};" ::"r"(to), "r"(query), "r"(column), "r"(place_of_numbers + i), "r"(flags) : "memory");
      asm volatile("st.shared.u32 [%0], %1;" ::"r"(to + 16), "r"(now * all.queries + i) : "memory");
    }
    barrier_arrive(own + IS_PLANNED + pass % 4 * 8);
    if (lane == 0) {
      if (pass == 1) barrier_wait(own + BEGUN, 0); // at the start, when all blocks ask for memory at once, the first tiles go before the second keys
      if (pass) copy_keys(pass, row, column, tiles_there(at));
    }
    __syncwarp();
    step += count;
    down = !down;
    if (item != now) place_of_numbers ^= 2 * MOST, down = false;
  }
}

// Brings tiles of queries, dy and, where they are new, y and log-sum-exps, as stages become free. A thread.
__device__ __forceinline__ void bring(u32 own, bool causal, const Map* all_q, const Map* all_dy, const Map* all_y, const float* lse) {
  u32 stage = 0, parity = 1, pass = 0, at = own + STEPS, row, column, place, flags;
#pragma unroll 1
  for (u32 step = 0;; step++) {
    load_step(at, row, column, place, flags);
    const u32 of_lse = load_word(at + 16), to = own + STREAM + stage * STAGE, arrives = own + FULL + 8 * stage;
    at = at + STEP == own + STEPS + PLANNED * STEP ? own + STEPS : at + STEP;
    // Of causal attention most queries go by once or twice: keeping them costs more than it gives.
    const u64 hint = causal ? USUAL : (flags & (FIRST | FINAL)) == (FIRST | FINAL) ? SOON : LATE;
    barrier_wait(own + EMPTY + 8 * stage, parity);
    barrier_expect(arrives, flags & FIRST ? 3 * Box::BYTES + 64 * 4 : 2 * Box::BYTES);
    copy_box(to, all_q, row, column, arrives, hint);
    copy_box(to + Box::BYTES, all_dy, row, column, arrives, hint);
    if (flags & FIRST) {
      copy_box(to + 2 * Box::BYTES, all_y, row, column, arrives, SOON);
      copy_bytes<64 * 4>(own + NUMBERS + place * 4, lse + of_lse, arrives);
    }
    if (step == 1 || (step == 0 && flags & DONE)) barrier_arrive(own + BEGUN);
    if (flags & DONE) return;
    if (flags & LAST) pass++, barrier_wait(own + IS_PLANNED + pass % 4 * 8, pass / 4 % 2);
    if (++stage == STAGES) stage = 0, parity ^= 1;
  }
}

// Makes log-sum-exps over ln 2 (inf where a query sees no key) and Σ y·dy of new tiles. A warp of two; each has half of a tile's queries.
__device__ __forceinline__ void make_numbers(u32 own, int half) {
  constexpr int PARTS = D / 8, AT_ONCE = 32 / PARTS; // 16 bytes of a row
  const int lane = threadIdx.x % 32;
  u32 parity = 0, stage = 0, pass = 0, flags = 0;
#pragma unroll 1
  for (u32 step = 0; !(flags & DONE); step++) {
    barrier_wait(own + FULL + 8 * stage, parity);
    const u32 at = own + STEPS + step % PLANNED * STEP, place = load_word(at + 8);
    flags = load_word(at + 12);
    if (flags & FIRST) {
      const u32 to = own + NUMBERS + (place + half * 32) * 4;
      const float l = __uint_as_float(load_word(to + lane * 4));
      asm volatile("st.shared.f32 [%0], %1;" ::"r"(to + lane * 4), "f"(l == -INF ? INF : l * LOG2E) : "memory");
      barrier_arrive(own + READY + 8 * stage);
      const Box results{own + STREAM + stage * STAGE + 2 * Box::BYTES};
      const int row = half * 32 + lane / PARTS, column = lane % PARTS * 8;
      const u32 even_at = results.address(row, column), odd_at = results.address(row + AT_ONCE, column);
      float sum[PARTS]; // of row n * AT_ONCE
#pragma unroll
      for (int n = 0; n < PARTS; n++) {
        const u32 from = (n % 2 ? odd_at : even_at) + n / 2 * 2 * AT_ONCE * D * 2;
        float a[8], d[8];
        load_shared_pack(from, a);
        load_shared_pack(from - Box::BYTES, d);
        float even = a[0] * d[0], odd = a[1] * d[1];
#pragma unroll
        for (int e = 2; e < 8; e += 2) even += a[e] * d[e], odd += a[e + 1] * d[e + 1];
        sum[n] = even + odd;
      }
      // Each lane of a row gets another n's sum, lane % PARTS.
#pragma unroll
      for (int e = PARTS / 2; e; e /= 2)
#pragma unroll
        for (int n = 0; n < e; n++) {
          const bool high = lane & e;
          const float give = high ? sum[n] : sum[n + e], keep = high ? sum[n + e] : sum[n];
          sum[n] = keep + __shfl_xor_sync(0xffffffffu, give, e);
        }
      asm volatile("st.shared.f32 [%0], %1;" ::"r"(to + (MOST + lane % PARTS * AT_ONCE + lane / PARTS) * 4), "f"(sum[0]) : "memory");
    } else barrier_arrive(own + READY + 8 * stage);
    barrier_arrive(own + READY_SUMS + 8 * stage);
    // With a window there are tiles that see none of a pass's keys: nobody else waits for these numbers before the stage is let go.
    __syncwarp();
    if (elected()) barrier_arrive(own + EMPTY + 8 * stage);
    if (flags & LAST && !(flags & DONE)) pass++, barrier_wait(own + IS_PLANNED + pass % 4 * 8, pass / 4 % 2);
    if (++stage == STAGES) stage = 0, parity ^= 1;
  }
}

// dq [B·Sq, H·dk], dk [B·Sk, H·dk], dv [B·Sk, H·dv]. partial is dq so far [blocks,tiles of queries,64·D], where a head has several blocks of keys, as a
// warpgroup's threads have it; it has one head of each block at a time, and the second-level cache keeps it.
extern "C" __global__ void __launch_bounds__(THREADS + 128, 1)
attention_stream_grad(PARAMS, const __grid_constant__ Map all_q, const __grid_constant__ Map all_k, const __grid_constant__ Map all_v, const __grid_constant__ Map all_y,
                      const __grid_constant__ Map all_dy, const float* lse, bf16* dq, bf16* dk_out, bf16* dv_out, float* partial) {
  static_assert(D == DV && TILE == 64 && GROUPS == 3 && END - BARRIERS <= 512 && PLANNED >= 3 * MOST / 64, "boxes; room for barriers, and for three passes' steps");
  const u32 own = shared_address(shared_memory);
  if (threadIdx.x == 0) {
    for (int i = 0; i < STAGES; i++) {
      barrier_init(own + FULL + 8 * i, 1), barrier_init(own + EMPTY + 8 * i, WARPS + 2);
      barrier_init(own + READY + 8 * i, 64), barrier_init(own + READY_SUMS + 8 * i, 64);
    }
    for (int i = 0; i < 2; i++) {
      barrier_init(own + FULL_KEYS + 8 * i, 1), barrier_init(own + FULL_VALUES + 8 * i, 1), barrier_init(own + EMPTY_KEYS + 8 * i, WARPS);
      barrier_init(own + FULL_SLOPES + 8 * i, WARPS), barrier_init(own + EMPTY_SLOPES + 8 * i, 4);
    }
    for (int i = 0; i < 4; i++) barrier_init(own + IS_PLANNED + 8 * i, 32);
    barrier_init(own + BEGUN, 1);
    show_barriers();
  } else if (threadIdx.x == THREADS) {
    expect_map(&all_q);
    expect_map(&all_dy);
    expect_map(&all_y);
  } else if (threadIdx.x == THREADS + 96) {
    expect_map(&all_k);
    expect_map(&all_v);
  }
  __syncthreads();
  const int group = warpgroup(), lane = threadIdx.x % 32;
  const Blocks all{lengths, queries, keys, causal, window};

  if (group == GROUPS) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 32;");
    const int warp = threadIdx.x / 32 % 4;
    if (warp == 3) {
      plan(own, all, batch, heads, &all_k, &all_v);
      return;
    }
    barrier_wait(own + IS_PLANNED, 0);
    if (load_word(own + STEPS + 12) & NOTHING) return;
    if (warp) make_numbers(own, warp - 1);
    else if (lane == 0) bring(own, causal, &all_q, &all_dy, &all_y, lse);
    return;
  }

  asm volatile("setmaxnreg.inc.sync.aligned.u32 160;");
  int step = 0, stage = 0, due = 0; // step: all so far; due: the next whose dq is to be added up
  u32 parity = 0, pass = 0;
  const float scale2 = scale * LOG2E;
  float* const so_far = partial + (i64)blockIdx.x * queries * D;
  // Stores 64 rows of a result times a factor, rounded: of two blocks of eight columns a thread stores four columns of one.
  auto store_result = [&](bf16* to, const float (&x)[D / 8][4], float factor) {
    to += (i64)(threadIdx.x % 128 / 32 * 16 + lane / 4) * heads * D + (lane % 2 * 8 + lane / 2 % 2 * 4);
    const bool odd = lane & 1;
#pragma unroll
    for (int c = 0; c < D / 8; c += 2)
#pragma unroll
      for (int e = 0; e < 2; e++) {
        u32 a = pack_bf16(x[c][2 * e] * factor, x[c][2 * e + 1] * factor), d = pack_bf16(x[c + 1][2 * e] * factor, x[c + 1][2 * e + 1] * factor);
        const u32 other = __shfl_xor_sync(0xffffffffu, odd ? a : d, 1);
        if (odd) a = other;
        else d = other;
        asm volatile("st.global.v2.u32 [%0], {%1,%2};" ::"l"(to + e * 8 * (heads * D) + c * 8), "r"(a), "r"(d) : "memory");
      }
  };
  // Adds up dq of a step whose gradients of logits are there, or come.
  auto add_dq = [&](int n) {
    const int slot = n % 2;
    u32 row, column, place, flags;
    load_step(own + STEPS + n % PLANNED * STEP, row, column, place, flags);
    // Another warpgroup has stored what dq has so far, and then let go of its step's gradients of logits; this one has waited for that since (wait_slot). Of a
    // step that is its pass's only one dq has nothing yet, for queries fill two tiles. Nor is it a head's last step that throws away what the next head's only
    // step of a pass stores: that pass is of the last tile alone, which no head ends with.
    float part[D / 8][4];
    float* const mine = so_far + place % MOST * D + threadIdx.x % 128 * 4;
    if (flags & BEFORE) {
#pragma unroll
      for (int c = 0; c < D / 8; c++) load_pack_hint(mine + c * 512, part[c], LATE);
    } else clear(part);
    barrier_wait(own + FULL_SLOPES + 8 * slot, n / 2 % 2);
    arrived(part);
    begin_products();
#pragma unroll 1
    for (int g = first_group(flags); g < end_group(flags); g++) {
      const Slopes a{own + SLOPES + (slot * GROUPS + g) * Slopes::BYTES};
      const Box k{own + (keys_place(flags) * GROUPS + g) * PAIR};
#pragma unroll
      for (int c = 0; c < 64; c += 16) Wgmma<D, 1>::run_turned(part[0], a.descriptor(c, 0), k.descriptor(c, 0));
    }
    end_products();
    wait_products<0>();
    arrived(part);
    if (flags & FINAL) {
      // What dq had before is not read again: the second-level cache need not bring it to memory.
      __syncwarp();
      if (flags & BEFORE && lane < D / 2) discard_line(so_far + place % MOST * D + lane / 4 * 512 + threadIdx.x % 128 / 32 * 128 + lane % 4 * 32);
      store_result(dq + (i64)row * heads * D + column, part, scale);
    } else
#pragma unroll
      for (int c = 0; c < D / 8; c++) store_pack_hint(mine + c * 512, part[c], LATE);
    __syncwarp();
    if (elected()) barrier_arrive(own + EMPTY_SLOPES + 8 * slot);
  };
  auto wait_slot = [&] {
    if (step >= 2) barrier_wait(own + EMPTY_SLOPES + 8 * (step % 2), (step / 2 - 1) % 2);
  };
  // Addresses that are kept, not computed again at each step: of its columns' numbers, and of what it writes of gradients of logits.
  const int written = threadIdx.x % 128 / 32 * 16 + lane % 16;
  u32 pairs = own + NUMBERS + lane % 4 * 8, out = own + SLOPES + group * Slopes::BYTES + written * 128 + (lane / 16 ^ written % 8) * 16;
  asm volatile("" : "+r"(pairs), "+r"(out));
#pragma unroll 1
  for (int item = blockIdx.x; item < batch * heads; item += gridDim.x) {
    const int b = item / heads, h = item - b * heads;
    const Rule u(lengths, b, queries, keys, causal, window, 0);
#pragma unroll 1
    for (int block = all.count() - 1; block >= 0; block--) {
      const int from = all.first(block), to = all.end(block, u.limit), place = pass % 2;
      // The keys of a warpgroup: those that fewer queries see are another's in the next pass.
      const int j = block * BLOCK + (place ? group : GROUPS - 1 - group) * 64;
      const Box mine{own + (place * GROUPS + group) * PAIR}, values{mine.at + Box::BYTES};
      bf16 *dk_mine = head(dk_out, b, keys, heads, h, D) + (i64)j * heads * D, *dv_mine = head(dv_out, b, keys, heads, h, D) + (i64)j * heads * D;
      if (from >= to) { // no query sees these keys
        for (int n = threadIdx.x % 128; n < 64 * (D / 8); n += 128) {
          const i64 at = (i64)(n / (D / 8)) * heads * D + n % (D / 8) * 8;
          const float none[8] = {};
          if (j < keys) store_pack(dk_mine + at, none), store_pack(dv_mine + at, none);
        }
        continue;
      }
      // The queries of tiles that see some of these keys are in [seen, unseen), of those that see all in [whole, partly).
      constexpr int NEVER = 1 << 30;
      const int seen = j >= u.limit ? NEVER : causal ? j : 0, unseen = window ? j + 63 + window : NEVER;
      const int whole = j + 64 > u.limit || scale2 <= 0 ? NEVER : causal ? j + 63 : 0, partly = window ? j + window - 63 : NEVER;
      float sum[D / 8][4], sum_v[D / 8][4];
      clear(sum);
      clear(sum_v);
      bool values_there = false;
      auto numbers_of = [&](int step) { return load_word(own + STEPS + step % PLANNED * STEP + 8); };
      barrier_wait(own + IS_PLANNED + pass % 4 * 8, pass / 4 % 2);
      barrier_wait(own + FULL_KEYS + 8 * place, pass / 2 % 2);
      u32 next_numbers = numbers_of(step);
#pragma unroll 1
      for (int t = from; t < to; t++, step++) {
        const int slot = step % 2;
        const u32 of_numbers = next_numbers;
        const int i = of_numbers % MOST; // the tile's first query
        barrier_wait(own + FULL + 8 * stage, parity);
        if (t + 1 < to) next_numbers = numbers_of(step + 1);
        if (i >= seen && i < unseen) {
          const Box tile{own + STREAM + stage * STAGE}, gradients{tile.at + Box::BYTES};
          const u32 pair = pairs + of_numbers * 4;
          float s[8][4], dp[8][4], l[8][2], x[8][2];
          u32 p[4][4], ds[4][4];
          constexpr int AHEAD = 2; // log-sum-exps read before they are needed: with more, registers are spilled
          begin_products();
          product_tiles(s, mine, tile);
          end_products();
          if (!values_there) barrier_wait(own + FULL_VALUES + 8 * place, pass / 2 % 2), values_there = true;
          product_tiles(dp, values, gradients);
          end_products();
          barrier_wait(own + READY + 8 * stage, parity);
#pragma unroll
          for (int c = 0; c < AHEAD; c++) load_pair(l[c], pair + c * 32);
          wait_products<1>();
          arrived(s);
          float factor = scale2;
          if (i < whole || i >= partly) factor = logits<64, true>(s, u, i, j, keys, bias, scale2);
#pragma unroll
          for (int c = 0; c < 8; c++) {
            if (c >= AHEAD) load_pair(l[c], pair + c * 32);
#pragma unroll
            for (int e = 0; e < 4; e++) s[c][e] = exp2_fast(s[c][e] * factor - l[c][e % 2]);
          }
          round_left<64>(p, s);
          begin_products();
#pragma unroll
          for (int c = 0; c < 4; c++) Wgmma<D, 1>::run(sum_v[0], p[c], gradients.descriptor(c * 16, 0));
          end_products();
          barrier_wait(own + READY_SUMS + 8 * stage, parity);
#pragma unroll
          for (int c = 0; c < 8; c++) load_pair(x[c], pair + MOST * 4 + c * 32);
          wait_products<1>();
          arrived(dp);
#pragma unroll
          for (int c = 0; c < 8; c++) {
            const u32 *q = p[c / 2] + c % 2 * 2;
            dp[c][0] = low_bf16(q[0]) * (dp[c][0] - x[c][0]), dp[c][1] = high_bf16(q[0]) * (dp[c][1] - x[c][1]);
            dp[c][2] = low_bf16(q[1]) * (dp[c][2] - x[c][0]), dp[c][3] = high_bf16(q[1]) * (dp[c][3] - x[c][1]);
          }
          round_left<64>(ds, dp);
          begin_products();
#pragma unroll
          for (int c = 0; c < 4; c++) Wgmma<D, 1>::run(sum[0], ds[c], tile.descriptor(c * 16, 0));
          end_products();
          wait_slot();
#pragma unroll
          for (int k = 0; k < 4; k++) stmatrix(out + slot * (GROUPS * Slopes::BYTES) ^ k * 32, ds[k]); // as store_box_rows
          show_writes();
          __syncwarp();
          if (elected()) barrier_arrive(own + FULL_SLOPES + 8 * slot);
          wait_products<0>();
          arrived(sum);
          arrived(sum_v);
        } else {
          wait_slot();
          if (elected()) barrier_arrive(own + FULL_SLOPES + 8 * slot);
        }
        __syncwarp();
        if (elected()) barrier_arrive(own + EMPTY + 8 * stage);
        if (++stage == STAGES) stage = 0, parity ^= 1;
        const bool last = t + 1 == to;
        if (last && j < keys) {
          store_result(dv_mine, sum_v, 1);
          store_result(dk_mine, sum, scale);
        }
        // Of the step before, whose gradients of logits the others have left by now; of a pass's last step too, so that its keys are let go.
#pragma unroll 1
        for (; due <= step - !last; due++)
          if (due % GROUPS == group) add_dq(due);
        __syncwarp();
        if (last && elected()) barrier_arrive(own + EMPTY_KEYS + 8 * place);
      }
      pass++;
    }
    for (int t = 0; t < queries / 64; t++) { // queries that see no key
      if (all.first_block(t) <= all.last_block(t, u.limit)) continue;
      for (int n = threadIdx.x; n < 64 * D; n += THREADS) dq[((i64)(b * queries + t * 64 + n / D) * heads + h) * D + n % D].bits = 0;
    }
  }
}

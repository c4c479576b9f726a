// The gradients of queries, keys and values of attention in one pass on Hopper (attention.cuh), for heads of 32 or 64, whole tiles of 64 queries and
// keys, and at most MOST queries.
//
// A block has a head and BLOCK keys of it at a time, 64 for each of three warpgroups, while tiles of queries stream by. A fourth warpgroup copies them, ahead
// by STAGES, makes what belongs to each query, and adds up dq: the others hand it their gradients of a tile's logits in shared memory, and it multiplies
// them all with the keys, so that what a block adds to dq is a single product's sum. The order of all sums is fixed. Every tile waits for the fourth
// warpgroup, whose instructions follow one another: it has as few of them as can be.

#include "attention.cuh"
#include "boxes.cuh"

#define STAGES 4
#define MOST 512
constexpr int GROUPS = WARPS / 4, BLOCK = GROUPS * 64;
typedef Tile<64, D> Box;
typedef Tile<64, 64> Slopes; // gradients of logits [keys, queries]

// The passes over a block's heads and tiles: over keys from the last ones on, of each the tiles of queries that see some. Those without a tile are left out.
struct Passes {
  const i64* lengths;
  int batch, heads, queries, keys, causal, window;
  int item, block, pass, tile, end, limit; // item: of the batch's heads; pass: all so far; limit: keys from it on are hidden
  int b, h;                                // the item's sequence and head

  __device__ __forceinline__ int first(int block) const { return causal ? block * (BLOCK / 64) : 0; }
  __device__ __forceinline__ int last(int block) const {
    const int j0 = block * BLOCK;
    return j0 < limit ? (int)((min((i64)queries, window ? (i64)j0 + BLOCK - 1 + window : queries) + 63) / 64) : 0;
  }
  __device__ __forceinline__ Rule rule() const { return Rule(lengths, item / heads, queries, keys, causal, window, 0); }
  __device__ __forceinline__ bool more() const { return item < batch * heads; }
  __device__ __forceinline__ void begin_item() {
    if (more()) b = item / heads, h = item - b * heads, limit = Rule(lengths, b, queries, keys, causal, window, 0).limit;
    block = (keys + BLOCK - 1) / BLOCK;
  }
  // The next pass of this head, false where there is none.
  __device__ __forceinline__ bool next_block() {
    while (--block >= 0) {
      tile = first(block), end = last(block);
      if (tile < end) return true;
    }
    return false;
  }
  // The next pass of all.
  __device__ __forceinline__ void next_pass() {
    pass++;
    while (more() && !next_block()) item += gridDim.x, begin_item();
  }
  __device__ __forceinline__ void begin() {
    item = blockIdx.x, pass = -1;
    begin_item();
    next_pass();
  }
  __device__ __forceinline__ void next_tile() {
    if (++tile == end) next_pass();
  }
  // Of the blocks of keys that a tile of queries sees, the first and the last; the last is -1 where it sees none.
  __device__ __forceinline__ int first_block(int tile) const { return (window ? max(0, tile * 64 - window + 1) : 0) / BLOCK; }
  __device__ __forceinline__ int last_block(int tile) const { return ((causal ? min(tile * 64 + 64, limit) : limit) + BLOCK - 1) / BLOCK - 1; }
  // The keys of warpgroup g: those that fewer queries see are another's in the next pass.
  __device__ __forceinline__ int key(int g) const { return block * BLOCK + (pass % 2 ? g : GROUPS - 1 - g) * 64; }
};

// dq [B·Sq, H·dk], dk [B·Sk, H·dk], dv [B·Sk, H·dv]. partial is dq so far [blocks,tiles of queries,64·D], where a head has several blocks of keys, as the
// threads have it that read it again; it has one head of each block at a time, and the second-level cache keeps it.
extern "C" __global__ void __launch_bounds__(THREADS + 128, 1)
attention_stream_grad(PARAMS, const __grid_constant__ Map all_q, const __grid_constant__ Map all_k, const __grid_constant__ Map all_v, const __grid_constant__ Map all_y,
                      const __grid_constant__ Map all_dy, const __grid_constant__ Map all_dk, const __grid_constant__ Map all_dv, const float* lse, bf16* dq,
                      bf16* dk_out, bf16* dv_out, float* partial) {
  static_assert(D == DV && TILE == 64 && GROUPS == 3, "boxes");
  const u32 own = shared_address(shared_memory), slopes = own + 2 * GROUPS * 2 * Box::BYTES; // keys and values, twice
  const u32 stream = slopes + 2 * GROUPS * Slopes::BYTES;
  const Box results{stream + STAGES * 2 * Box::BYTES};
  const u32 rows = results.at + Box::BYTES, barriers = rows + 2 * 2 * MOST * 4;
  const u32 full = barriers, ready = full + 8 * STAGES, empty = ready + 8 * STAGES, full_keys = empty + 8 * STAGES, full_slopes = full_keys + 16,
            empty_slopes = full_slopes + 16, empty_keys = empty_slopes + 16, full_y = empty_keys + 16;
  if (threadIdx.x == 0) {
    for (int i = 0; i < STAGES; i++) barrier_init(full + 8 * i, 1), barrier_init(ready + 8 * i, 128), barrier_init(empty + 8 * i, WARPS);
    for (int i = 0; i < 2; i++) barrier_init(full_keys + 8 * i, 1), barrier_init(empty_keys + 8 * i, GROUPS + 4), barrier_init(full_slopes + 8 * i, WARPS), barrier_init(empty_slopes + 8 * i, 4);
    barrier_init(full_y, 1);
    show_barriers();
  }
  __syncthreads();
  const int group = warpgroup(), lane = threadIdx.x % 32;
  int rows_at = 0; // of the rows' two places
  Passes at = {lengths, batch, heads, queries, keys, causal, window};
  at.begin();

  if (group == GROUPS) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 80;");
    const int warp = threadIdx.x / 32 % 4;
    const bool copier = threadIdx.x % 128 == 0;
    // Keys and values of a pass, into one of the two places.
    Passes ahead = at;
    auto copy_keys = [&] {
      const int place = ahead.pass % 2;
      barrier_wait(empty_keys + 8 * place, ahead.pass / 2 % 2 ^ 1);
      barrier_expect(full_keys + 8 * place, GROUPS * 2 * Box::BYTES);
      for (int g = 0; g < GROUPS; g++) { // past the end there is something, if only zeros, and never used
        const u32 to = own + (place * GROUPS + g) * 2 * Box::BYTES;
        copy_box(to, &all_k, ahead.b * keys + ahead.key(g), ahead.h * D, full_keys + 8 * place, SOON);
        copy_box(to + Box::BYTES, &all_v, ahead.b * keys + ahead.key(g), ahead.h * D, full_keys + 8 * place, SOON);
      }
      ahead.next_pass();
    };
    if (copier && ahead.more()) copy_keys();

    int waiting = -1, before = -1; // the tile whose rows are next, -1: none; its head
    u32 step = 0, parity_y = 0;    // tiles copied so far
    bool waiting_first = false;
    // Log-sum-exp over ln 2 (inf where a query sees no key) and Σ y·dy of the tile that waits for them: 16 rows for each warp.
    auto make_rows = [&] {
      if (waiting < 0) return;
      if (waiting_first) {
        barrier_wait(full + 8 * ((step - 1) % STAGES), (step - 1) / STAGES % 2);
        barrier_wait(full_y, parity_y);
        parity_y ^= 1;
        const Box gradients{stream + (step - 1) % STAGES * 2 * Box::BYTES + Box::BYTES};
        const u32 to = rows + (rows_at * 2 * MOST + waiting + warp * 16) * 4;
        constexpr int PARTS = D / 8, STEPS = 16 * PARTS / 32; // 16 bytes of a row; each lane has some of them
        float sum[STEPS];
#pragma unroll
        for (int n = 0; n < STEPS; n++) {
          const int row = (n * 32 + lane) / PARTS, column = lane % PARTS * 8;
          float a[8], d[8];
          load_shared_pack(results.address(warp * 16 + row, column), a);
          load_shared_pack(gradients.address(warp * 16 + row, column), d);
          float even = a[0] * d[0], odd = a[1] * d[1];
#pragma unroll
          for (int e = 2; e < 8; e += 2) even += a[e] * d[e], odd += a[e + 1] * d[e + 1];
          sum[n] = even + odd;
        }
#pragma unroll
        for (int e = 1; e < PARTS; e *= 2)
#pragma unroll
          for (int n = 0; n < STEPS; n++) sum[n] += __shfl_xor_sync(0xffffffffu, sum[n], e);
        if (lane % PARTS == 0)
#pragma unroll
          for (int n = 0; n < STEPS; n++) asm volatile("st.shared.f32 [%0], %1;" ::"r"(to + (MOST + (n * 32 + lane) / PARTS) * 4), "f"(sum[n]) : "memory");
        if (lane < 16) {
          float l;
          asm volatile("cp.async.wait_all;" ::: "memory");
          asm volatile("ld.shared.f32 %0, [%1];" : "=f"(l) : "r"(to + lane * 4) : "memory");
          asm volatile("st.shared.f32 [%0], %1;" ::"r"(to + lane * 4), "f"(l == -INF ? INF : l * LOG2E) : "memory");
        }
        asm volatile("bar.sync 1, 128;" ::: "memory"); // y may be written over
      }
      barrier_arrive(ready + 8 * ((step - 1) % STAGES));
      waiting = -1;
    };

    Passes adding = at; // where dq is added up
    // Copies the next tile, and makes the rows of the one before.
    auto advance = [&] {
      // Keys that have been multiplied for the last time make room for the next but one's. At the start, when all blocks ask for memory at once, the first
      // tiles go before the second keys.
      if (copier && step >= STAGES - 2 && ahead.more() && ahead.pass == adding.pass + 1) copy_keys();
      if (copier && at.more()) {
        const int row = at.b * queries + at.tile * 64, column = at.h * D;
        const u32 to = stream + step % STAGES * 2 * Box::BYTES;
        // Of causal attention most queries go by once or twice: keeping them costs more than it gives.
        const u64 hint = causal ? USUAL : at.first_block(at.tile) == at.block ? SOON : LATE;
        barrier_wait(empty + 8 * (step % STAGES), step / STAGES % 2 ^ 1);
        barrier_expect(full + 8 * (step % STAGES), 2 * Box::BYTES);
        copy_box(to, &all_q, row, column, full + 8 * (step % STAGES), hint);
        copy_box(to + Box::BYTES, &all_dy, row, column, full + 8 * (step % STAGES), hint);
      }
      asm volatile("bar.sync 1, 128;" ::: "memory"); // none is a tile ahead
      make_rows();
      step++;
      if (!at.more()) return;
      const int i = at.tile * 64;
      if (at.item != before) rows_at ^= 1, before = at.item;
      waiting = i, waiting_first = at.last_block(at.tile) == at.block;
      if (waiting_first) {
        if (copier) {
          barrier_expect(full_y, Box::BYTES);
          copy_box(results.at, &all_y, at.b * queries + i, at.h * D, full_y, SOON);
        }
        if (lane < 16) copy_async<4>(rows + (rows_at * 2 * MOST + i + warp * 16 + lane) * 4, lse + (i64)at.item * queries + i + warp * 16 + lane, true);
      }
      at.next_tile();
    };

    float part[D / 8][4]; // of dq: what the tile has so far, read ahead of its product
    float* const so_far = partial + (i64)blockIdx.x * queries * D + threadIdx.x % 128 * 4;
    auto read_ahead = [&] {
      if (adding.more() && adding.last_block(adding.tile) != adding.block) {
#pragma unroll
        for (int c = 0; c < D / 8; c++) load_pack_hint(so_far + adding.tile * (64 * D) + c * 512, part[c], LATE);
      } else clear(part);
    };
    // dq of a tile, rounded: of two blocks of eight columns a thread stores four columns of one.
    auto store_dq = [&](int i) {
      bf16* to = dq + ((i64)(adding.b * queries + i + warp * 16 + lane / 4) * heads + adding.h) * D + (lane % 2 * 8 + lane / 2 % 2 * 4);
      const bool odd = lane & 1;
#pragma unroll
      for (int c = 0; c < D / 8; c += 2)
#pragma unroll
        for (int e = 0; e < 2; e++) {
          u32 x = pack_bf16(part[c][2 * e] * scale, part[c][2 * e + 1] * scale), y = pack_bf16(part[c + 1][2 * e] * scale, part[c + 1][2 * e + 1] * scale);
          const u32 other = __shfl_xor_sync(0xffffffffu, odd ? x : y, 1);
          if (odd) x = other;
          else y = other;
          asm volatile("st.global.v2.u32 [%0], {%1,%2};" ::"l"(to + e * 8 * (heads * D) + c * 8), "r"(x), "r"(y) : "memory");
        }
    };

    read_ahead();
#pragma unroll 1
    for (int n = 0; n < STAGES - 1; n++) advance();
    for (int added = 0; adding.more(); added++) {
      // A range of the warpgroups has keys that these queries see.
      const int i = adding.tile * 64, place = added % 2, j = adding.block * BLOCK;
      const int low = window ? max(0, (i - window + 1 - j) >> 6) : 0;
      const int high = min(GROUPS, ((causal ? min(i + 64, adding.limit) : adding.limit) - j + 63) >> 6);
      int g = adding.pass % 2 ? low : GROUPS - high;
      const int end = adding.pass % 2 ? high : GROUPS - low;
      barrier_wait(full_slopes + 8 * place, added / 2 % 2);
      arrived(part);
      if (g < end) {
        begin_products();
#pragma unroll 1
        do {
          const Slopes a{slopes + (place * GROUPS + g) * Slopes::BYTES};
          const Box k{own + (adding.pass % 2 * GROUPS + g) * 2 * Box::BYTES};
#pragma unroll
          for (int c = 0; c < 64; c += 16) Wgmma<D, 1>::run_turned(part[0], a.descriptor(c, 0), k.descriptor(c, 0));
        } while (++g < end);
        end_products();
        advance();
        wait_products<0>();
        arrived(part);
      } else advance();
      if (lane == 0) {
        barrier_arrive(empty_slopes + 8 * place);
        if (adding.tile + 1 == adding.end) barrier_arrive(empty_keys + 8 * (adding.pass % 2));
      }
      if (adding.first_block(adding.tile) == adding.block) store_dq(i);
      else
#pragma unroll
        for (int c = 0; c < D / 8; c++) store_pack_hint(so_far + adding.tile * (64 * D) + c * 512, part[c], LATE);
      adding.next_tile();
      read_ahead();
    }
  } else {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 144;");
    int step = 0, stage = 0; // step: all so far
    u32 parity = 0, owed = 0; // owed: the barrier of keys whose memory results go out through
    auto wait_results = [&] {
      if (!owed) return;
      if (threadIdx.x % 128 == 0) {
        wait_stores<0>();
        barrier_arrive(owed);
      }
      owed = 0;
      warpgroup_barrier(group);
    };
    const float scale2 = scale * LOG2E;
    for (at.item = blockIdx.x, at.pass = 0; at.more(); at.item += gridDim.x) {
      const int b = at.item / heads, h = at.item - b * heads;
      const Rule u = at.rule();
      bool any = false;
      bf16 *dk_head = head(dk_out, b, keys, heads, h, D), *dv_head = head(dv_out, b, keys, heads, h, D);
      at.limit = u.limit;
      for (at.block = (keys + BLOCK - 1) / BLOCK - 1; at.block >= 0; at.block--) {
        const int from = at.first(at.block), to = at.last(at.block), j = at.key(group), place = at.pass % 2;
        const Box mine{own + (place * GROUPS + group) * 2 * Box::BYTES}, values{mine.at + Box::BYTES};
        if (from >= to) { // no query sees these keys
          for (int n = threadIdx.x % 128; n < 64 * (D / 8); n += 128) {
            const i64 to = (i64)(j + n / (D / 8)) * heads * D + n % (D / 8) * 8;
            const float none[8] = {};
            if (j < keys) store_pack(dk_head + to, none), store_pack(dv_head + to, none);
          }
          continue;
        }
        float sum[D / 8][4], sum_v[D / 8][4];
        clear(sum);
        clear(sum_v);
        if (!any) rows_at ^= 1, any = true;
        barrier_wait(full_keys + 8 * place, at.pass / 2 % 2);
        for (int t = from; t < to; t++, step++) {
          const int i = t * 64, slot = step % 2;
          barrier_wait(full + 8 * stage, parity);
          if (!u.none(i, i + 64, j, j + 64)) {
            const Box tile{stream + stage * 2 * Box::BYTES}, gradients{tile.at + Box::BYTES};
            const Slopes out{slopes + (slot * GROUPS + group) * Slopes::BYTES};
            const u32 pair = rows + (rows_at * 2 * MOST + i + lane % 4 * 2) * 4;
            float s[8][4], dp[8][4];
            u32 p[4][4], ds[4][4];
            begin_products();
            product_tiles(s, mine, tile);
            end_products();
            barrier_wait(ready + 8 * stage, parity);
            wait_products<0>();
            arrived(s);
            const float factor = logits<64, true>(s, u, i, j, keys, bias, scale2);
#pragma unroll
            for (int c = 0; c < 8; c++) {
              float l[2];
              load_pair(l, pair + c * 32);
#pragma unroll
              for (int e = 0; e < 4; e++) s[c][e] = exp2_fast(s[c][e] * factor - l[e % 2]);
            }
            round_left<64>(p, s);
            wait_results();
            begin_products();
            product_tiles(dp, values, gradients);
            end_products();
#pragma unroll
            for (int c = 0; c < 4; c++) Wgmma<D, 1>::run(sum_v[0], p[c], gradients.descriptor(c * 16, 0));
            end_products();
            wait_products<1>();
            arrived(dp);
#pragma unroll
            for (int c = 0; c < 8; c++) {
              float x[2];
              load_pair(x, pair + MOST * 4 + c * 32);
              const u32 *q = p[c / 2] + c % 2 * 2;
              dp[c][0] = low_bf16(q[0]) * (dp[c][0] - x[0]), dp[c][1] = high_bf16(q[0]) * (dp[c][1] - x[1]);
              dp[c][2] = low_bf16(q[1]) * (dp[c][2] - x[0]), dp[c][3] = high_bf16(q[1]) * (dp[c][3] - x[1]);
            }
            round_left<64>(ds, dp);
            begin_products();
#pragma unroll
            for (int c = 0; c < 4; c++) Wgmma<D, 1>::run(sum[0], ds[c], tile.descriptor(c * 16, 0));
            end_products();
            if (step >= 2) barrier_wait(empty_slopes + 8 * slot, (step / 2 - 1) % 2);
            store_box_rows<64>(out, ds);
            show_writes();
            __syncwarp();
            if (lane == 0) barrier_arrive(full_slopes + 8 * slot);
            wait_products<0>();
            arrived(sum);
            arrived(sum_v);
          } else {
            wait_results(); // here too: the keys that come next are waited for
            if (step >= 2) barrier_wait(empty_slopes + 8 * slot, (step / 2 - 1) % 2);
            if (lane == 0) barrier_arrive(full_slopes + 8 * slot);
          }
          if (lane == 0) barrier_arrive(empty + 8 * stage);
          if (++stage == STAGES) stage = 0, parity ^= 1;
        }
        // Results go out through the values' memory and through the next place of the warpgroup's gradients of logits.
        if (step >= 2) barrier_wait(empty_slopes + 8 * (step % 2), (step / 2 - 1) % 2);
        wait_results();
        u32 rounded[D / 16][4];
        const Box out{slopes + (step % 2 * GROUPS + group) * Slopes::BYTES};
        warpgroup_barrier(group);
        round_left<D>(rounded, sum_v);
        store_box_rows<D>(values, rounded);
#pragma unroll
        for (int c = 0; c < D / 8; c++)
#pragma unroll
          for (int e = 0; e < 4; e++) sum[c][e] *= scale;
        round_left<D>(rounded, sum);
        store_box_rows<D>(out, rounded);
        show_writes();
        warpgroup_barrier(group);
        if (threadIdx.x % 128 == 0 && j < keys) {
          store_box(&all_dv, values.at, b * keys + j, h * D);
          store_box(&all_dk, out.at, b * keys + j, h * D);
        }
        owed = empty_keys + 8 * place;
        at.pass++;
      }
      for (int t = 0; t < queries / 64; t++) { // queries that see no key
        if (at.first_block(t) <= at.last_block(t)) continue;
        for (int n = threadIdx.x; n < 64 * D; n += THREADS) dq[((i64)(b * queries + t * 64 + n / D) * heads + h) * D + n % D].bits = 0;
      }
    }
    if (threadIdx.x % 128 == 0) wait_stores<0>();
  }
}

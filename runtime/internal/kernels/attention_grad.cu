// The gradients of queries, keys and values of attention in one pass (attention.cuh).

#include "attention.cuh"

// dq [B·Sq, H·dk], dk [B·Sk, H·dk], dv [B·Sk, H·dv], and for attention_dbias rows [2,B,H,Sq]: log-sum-exp over ln 2 (inf where a query sees no
// key), and Σ y·dy. A block has a head: it walks over tiles of keys, a half for each of its two warpgroups, and with each over the queries that
// see it. The sums of dq so far are in partial [B,H,tiles of queries,TILE·D], in the order in which its threads have them: a thread reads
// what it wrote itself, so that their order is always the same.
typedef Tile<ROWS, D, D / 2> OwnKeys;
typedef Tile<ROWS, DV> OwnValues;
typedef Tile<ROWS, TILE> Slopes; // gradients of logits [keys, queries]
typedef Tile<TILE, D> Queries;
typedef Tile<TILE, DV> Gradients;
struct Yes { static constexpr bool yes = true; };
struct No { static constexpr bool yes = false; };
constexpr int STAGE = Queries::BYTES + 2 * Gradients::BYTES + 1024; // q, dy, y, two floats beside each row

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
attention_grad(PARAMS, const bf16* y, const float* lse, const bf16* dy, bf16* dq, bf16* dk_out, bf16* dv_out, float* rows, float* partial) {
  static_assert(THREADS == 4 * TILE && TILE == 64, "two warpgroups");
  u32 shared = shared_address(shared_memory);
  OwnKeys own{shared};
  OwnValues own_v{own.at + OwnKeys::BYTES};
  Slopes slopes{own_v.at + OwnValues::BYTES};
  u32 stream = slopes.at + Slopes::BYTES;
  const int b = blockIdx.x / heads, h = blockIdx.x - b * heads;
  int lane = threadIdx.x % 32, group = warpgroup(), row = threadIdx.x % 128 / 32 * 16 + lane / 4; // row: the thread's first of a tile of dq
  Rule u(lengths, b, queries, keys, causal, window, 0);
  DROPOUT_STATE;
  const i64 all_rows = (i64)batch * heads * queries;
  q = head(q, b, queries, heads, h, dk), k = head(k, b, keys, heads, h, dk), v = head(v, b, keys, heads, h, dv);
  y = head(y, b, queries, heads, h, dv), dy = head(dy, b, queries, heads, h, dv), dq = head(dq, b, queries, heads, h, dk);
  dk_out = head(dk_out, b, keys, heads, h, dk), dv_out = head(dv_out, b, keys, heads, h, dv);
  lse += (i64)blockIdx.x * queries, rows += (i64)blockIdx.x * queries;
  partial += (i64)blockIdx.x * ((queries + TILE - 1) / TILE) * (TILE * D) + threadIdx.x * 4;
  if (BIAS) bias += bias_heads == 1 ? 0 : (i64)h * queries * keys;
  float scale2 = scale * LOG2E, sum[D / 8][4], sum_v[DV / 8][4];

  // Of the tiles of keys that queries from i on see, the first and the last; the last is -1 where they see none.
  auto first_keys = [&](int i) { return (window ? max(0, i - window + 1) : 0) / ROWS; };
  auto last_keys = [&](int i) { return ((causal ? min(i + TILE, u.limit) : u.limit) + ROWS - 1) / ROWS - 1; };
  auto bring = [&](int n, int i, bool first) {
    Queries tile{stream + n % 2 * STAGE};
    Gradients gradients{tile.at + Queries::BYTES}, results{gradients.at + Gradients::BYTES};
    u32 beside = results.at + Gradients::BYTES;
    load_tile(tile, q, i, queries, heads * dk, dk);
    load_tile(gradients, dy, i, queries, heads * dv, dv);
    int r = threadIdx.x % TILE;
    if (first) {
      load_tile(results, y, i, queries, heads * dv, dv);
      if (threadIdx.x < TILE) copy_async<4>(beside + r * 4, lse + i + r, i + r < queries);
    } else if (threadIdx.x < 2 * TILE) {
      copy_async<4>(beside + threadIdx.x * 4, rows + (threadIdx.x < TILE ? 0 : all_rows) + i + r, i + r < queries);
    }
  };
  // Sums of dq on their way out, which are stored behind the next fence: one waits for stores that are before it.
  float so_far[D / 16][4];
  auto put_away = [&](int n, bool last) {
    if (n < 0) return;
#pragma unroll
    for (int c = 0; c < D / 16; c++) {
      if (!last) {
        store_pack(partial + (i64)n * (TILE * D) + c * THREADS * 4, so_far[c]);
        continue;
      }
#pragma unroll
      for (int e = 0; e < 4; e += 2) {
        int r = n * TILE + row + e * 4, column = group * (D / 2) + c * 8 + lane % 4 * 2;
        if (r < queries && column < dk) *reinterpret_cast<u32*>(dq + (i64)r * heads * dk + column) = pack_bf16(so_far[c][e] * scale, so_far[c][e + 1] * scale);
      }
    }
  };

  for (int tile_j = 0, j0 = 0; j0 < keys; tile_j++, j0 += ROWS) {
    int j = j0 + group * 64, from = causal ? j0 / TILE : 0;
    int to = j0 < u.limit ? (int)((min((i64)queries, window ? (i64)j0 + ROWS - 1 + window : queries) + TILE - 1) / TILE) : 0;
    load_tile(own, k, j0, u.limit, heads * dk, dk);
    load_tile(own_v, v, j0, u.limit, heads * dv, dv);
    if (from < to) bring(from, from * TILE, first_keys(from * TILE) == tile_j);
    clear(sum);
    clear(sum_v);
    int held = -1;
    bool held_last = false;
    for (int n = from; n < to; n++) {
      int i = n * TILE;
      bool first = first_keys(i) == tile_j, last = last_keys(i) == tile_j;
      wait_copies();
      put_away(held, held_last);
      __syncthreads();
      if (n + 1 < to) bring(n + 1, i + TILE, first_keys(i + TILE) == tile_j);
      Queries tile{stream + n % 2 * STAGE};
      Gradients gradients{tile.at + Queries::BYTES}, results{gradients.at + Gradients::BYTES};
      u32 beside = results.at + Gradients::BYTES;
      if (first) { // Σ y·dy, by four threads for each query
        int r = threadIdx.x / 4, c = threadIdx.x % 4 * (DV / 4);
        float x = 0;
#pragma unroll
        for (int e = 0; e < DV / 4; e += 8) {
          float a[8], d[8];
          load_shared_pack(results.address(r, c + e), a);
          load_shared_pack(gradients.address(r, c + e), d);
#pragma unroll
          for (int f = 0; f < 8; f++) x += a[f] * d[f];
        }
        x += __shfl_xor_sync(0xffffffffu, x, 1);
        x += __shfl_xor_sync(0xffffffffu, x, 2);
        if (lane % 4 == 0) {
          float l;
          asm volatile("ld.shared.f32 %0, [%1];" : "=f"(l) : "r"(beside + r * 4) : "memory");
          l = l == -INF ? INF : l * LOG2E;
          asm volatile("st.shared.f32 [%0], %1;" ::"r"(beside + r * 4), "f"(l) : "memory");
          asm volatile("st.shared.f32 [%0], %1;" ::"r"(beside + (TILE + r) * 4), "f"(x) : "memory");
          if (i + r < queries) rows[i + r] = l, rows[all_rows + i + r] = x;
        }
        __syncthreads();
      }
      bool seen = !u.none(i, i + TILE, j, j + 64);
      u32 p[CHUNK / 16][4], ds[CHUNK / 16][4];
      if (seen) {
#pragma unroll
        for (int at = 0; at < TILE; at += CHUNK) {
          float s[CHUNK / 8][4], dp[CHUNK / 8][4];
          u32 bits[2];
          begin_products();
          product_rows<CHUNK>(s, own, tile, at);
          end_products();
          product_rows<CHUNK>(dp, own_v, gradients, at);
          end_products();
          if (DROPOUT) dropout.draw<CHUNK>(bits, (((i64)b * heads + h) * queries + i + at + lane % 4 * 2) * keys + j + threadIdx.x / 32 % 4 * 16 + lane / 4, keys, 1);
          u32 pair = beside + (at + lane % 4 * 2) * 4;
          float lse2[CHUNK / 8][2], sums[CHUNK / 8][2];
#pragma unroll
          for (int c = 0; c < CHUNK / 8; c++) load_pair(lse2[c], pair + c * 32);
          wait_products<1>();
          arrived(s);
          probabilities(s, logits<CHUNK, true>(s, u, i + at, j, keys, bias, scale2), [&](int c, int e) { return lse2[c][e % 2]; });
#pragma unroll
          for (int c = 0; c < CHUNK / 8; c++) load_pair(sums[c], pair + TILE * 4 + c * 32);
          wait_products<0>();
          arrived(dp);
          slopes_of<CHUNK>(s, dp, [&](int c, int e) { return sums[c][e % 2]; }, bits, drop_scale, p, ds);
          store_left<CHUNK>(slopes, ds, at);
          if (at + CHUNK == TILE) break; // the last columns' products follow with those of dq
          begin_products();
          product_columns<CHUNK>(sum_v, p, gradients, at);
          product_columns<CHUNK>(sum, ds, tile, at);
          end_products();
          wait_products<0>();
          arrived(sum);
          arrived(sum_v);
        }
      }
      float part[D / 16][4];
      clear(part);
      clear(so_far);
      show_writes();
      __syncthreads();
      if (!first)
#pragma unroll
        for (int c = 0; c < D / 16; c++) load_pack(partial + (i64)n * (TILE * D) + c * THREADS * 4, so_far[c]);
      bool other = !u.none(i, i + TILE, j ^ 64, (j ^ 64) + 64);
      auto finish = [&](auto mine, auto others) {
        begin_products();
        if constexpr (mine.yes) {
          product_columns<CHUNK>(sum_v, p, gradients, TILE - CHUNK);
          product_columns<CHUNK>(sum, ds, tile, TILE - CHUNK);
          product_turned<TILE, D>(part, slopes, own, group * 64);
        }
        if constexpr (others.yes) product_turned<TILE, D>(part, slopes, own, 64 - group * 64);
        end_products();
        wait_products<0>();
        arrived(part);
        arrived(sum);
        arrived(sum_v);
      };
      if (seen && other) finish(Yes(), Yes());
      else if (seen) finish(Yes(), No());
      else if (other) finish(No(), Yes());
#pragma unroll
      for (int c = 0; c < D / 16; c++)
#pragma unroll
        for (int e = 0; e < 4; e++) so_far[c][e] += part[c][e];
      held = n, held_last = last;
    }
    wait_copies();
    put_away(held, held_last);
    __syncthreads();
    float factor = DROPOUT ? drop_scale : 1;
    store_rows<D>(own, sum, scale, scale, dk_out + (i64)j0 * heads * dk, keys - j0, heads * dk, dk);
    store_rows<DV>(own_v, sum_v, factor, factor, dv_out + (i64)j0 * heads * dv, keys - j0, heads * dv, dv);
    __syncthreads();
  }
  for (int i = 0; i < queries; i += TILE) { // queries that see no key
    if (first_keys(i) <= last_keys(i)) continue;
    for (int n = threadIdx.x; n < TILE * dk; n += THREADS)
      if (i + n / dk < queries) dq[(i64)(i + n / dk) * heads * dk + n % dk].bits = 0;
    if (threadIdx.x < TILE && i + threadIdx.x < queries) rows[i + threadIdx.x] = INF, rows[all_rows + i + threadIdx.x] = 0;
  }
}

// The gradients of keys and values of attention (attention.cuh).

#include "attention.cuh"

// dk [B·Sk, Hkv·dk] and dv [B·Sk, Hkv·dv]: a block has a tile of keys and walks over the queries that see it, of each query head in turn.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) attention_dkdv(PARAMS, const bf16* dy, const float* rows, bf16* dk_out, bf16* dv_out) {
  u32 own = shared_address(shared_memory), own_v = own + ROWS * D * 2, stream = own_v + ROWS * DV * 2;
  typedef Tile<TILE, D> Queries;
  typedef Tile<TILE, DV> Gradients;
  constexpr int STAGE = Queries::BYTES + Gradients::BYTES + (TILE > 128 ? 8 * TILE : 1024); // and two floats beside each row
  HEAD_AND_SEQUENCE(kv_heads);
  int j0 = blockIdx.y * ROWS, hk = block_head;
  int lane = threadIdx.x % 32, j = j0 + warpgroup() * 64;
  Rule u(lengths, b, queries, keys, causal, window, memory);
  DROPOUT_STATE;

  int j1 = min(j0 + ROWS, keys), from = causal && !(memory && j1 > queries) ? min(j0, queries) / TILE : 0;
  int to = (int)((min((i64)queries, window ? (i64)j1 - 1 + window : queries) + TILE - 1) / TILE);
  int per_head = j0 < u.limit ? max(0, to - from) : 0, count = per_head * groups;
  q = head(q, b, queries, heads, hk * groups, dk);
  dy = head(dy, b, queries, heads, hk * groups, dv);
  rows += ((i64)b * heads + hk * groups) * queries;
  int i_next = from * TILE;
  i64 all_rows = (i64)batch * heads * queries;
  auto bring = [&](int n) {
    Queries tile{stream + n % 2 * STAGE};
    Gradients gradients{tile.at + Queries::BYTES};
    load_tile(tile, q, i_next, queries, heads * dk, dk);
    load_tile(gradients, dy, i_next, queries, heads * dv, dv);
    // Rows past the end are zeros, of which nothing comes: their dy is zero too.
#pragma unroll
    for (int n = 0; n < 2 * TILE; n += THREADS) {
      int r = (n + threadIdx.x) % TILE, which = (n + threadIdx.x) / TILE;
      if (which < 2) copy_async<4>(gradients.at + Gradients::BYTES + (which * TILE + r) * 4, rows + (which ? all_rows : 0) + i_next + r, i_next + r < queries);
    }
    if ((i_next += TILE) >= to * TILE) i_next = from * TILE, q += dk, dy += dv, rows += queries; // the next head
  };
  load_tile(Tile<ROWS, D>{own}, head(k, b, keys, kv_heads, hk, dk), j0, u.limit, kv_heads * dk, dk);
  load_tile(Tile<ROWS, DV>{own_v}, head(v, b, keys, kv_heads, hk, dv), j0, u.limit, kv_heads * dv, dv);
  if (count) bring(0);

  float scale2 = scale * LOG2E, sum[D / 8][4], sum_v[DV / 8][4];
  clear(sum);
  clear(sum_v);
  for (int n = 0, h = hk * groups, i0 = from * TILE; n < count; n++) {
    wait_copies();
    __syncthreads();
    if (n + 1 < count) bring(n + 1);
    Queries tile{stream + n % 2 * STAGE};
    Gradients gradients{tile.at + Queries::BYTES};
    const bf16* head_bias = BIAS ? bias + (bias_heads == 1 ? 0 : (i64)h * queries * keys) : bias;
#pragma unroll 1
    for (int at = 0; at < TILE; at += CHUNK) {
      int i = i0 + at;
      if (i >= queries || u.none(i, i + CHUNK, j, j + 64)) continue;
      u32 row = gradients.at + Gradients::BYTES + (at + lane % 4 * 2) * 4;
      float lse2[CHUNK / 8][2], sums[CHUNK / 8][2];
#pragma unroll
      for (int n = 0; n < CHUNK / 8; n++) load_pair(lse2[n], row + n * 32), load_pair(sums[n], row + TILE * 4 + n * 32);
      float s[CHUNK / 8][4], dp[CHUNK / 8][4];
      u32 bits[2], p[CHUNK / 16][4], ds[CHUNK / 16][4];
      begin_products();
      product_rows<CHUNK>(s, Tile<ROWS, D>{own}, tile, at);
      end_products();
      product_rows<CHUNK>(dp, Tile<ROWS, DV>{own_v}, gradients, at);
      end_products();
      if (DROPOUT) dropout.draw<CHUNK>(bits, (((i64)b * heads + h) * queries + i + lane % 4 * 2) * keys + j + threadIdx.x / 32 % 4 * 16 + lane / 4, keys, 1);
      wait_products<1>();
      arrived(s);
      probabilities(s, logits<CHUNK, true>(s, u, i, j, keys, head_bias, scale2), [&](int n, int e) { return lse2[n][e % 2]; });
      wait_products<0>();
      arrived(dp);
      slopes_of<CHUNK>(s, dp, [&](int n, int e) { return sums[n][e % 2]; }, bits, drop_scale, p, ds);
      begin_products();
      product_columns<CHUNK>(sum_v, p, gradients, at);
      product_columns<CHUNK>(sum, ds, tile, at);
      end_products();
      wait_products<0>();
      arrived(sum);
      arrived(sum_v);
    }
    if ((i0 += TILE) >= to * TILE) i0 = from * TILE, h++;
  }
  wait_copies();
  __syncthreads();
  float factor = DROPOUT ? drop_scale : 1;
  store_rows<D>(Tile<ROWS, D>{own}, sum, scale, scale, head(dk_out, b, keys, kv_heads, hk, dk) + (i64)j0 * kv_heads * dk, keys - j0, kv_heads * dk, dk);
  store_rows<DV>(Tile<ROWS, DV>{own_v}, sum_v, factor, factor, head(dv_out, b, keys, kv_heads, hk, dv) + (i64)j0 * kv_heads * dv, keys - j0, kv_heads * dv, dv);
}

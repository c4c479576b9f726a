// The gradient of the bias of attention (attention.cuh).

#include "attention.cuh"

// dbias [H or 1, Sq, Sk]: a block has a tile of one head's logits (of all heads' where they share a bias) and walks over the batch.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) attention_dbias(PARAMS, const bf16* dy, const float* rows, float* dbias) {
  typedef Tile<ROWS, D> Queries;
  typedef Tile<ROWS, DV> Gradients;
  typedef Tile<TILE, D> Keys;
  typedef Tile<TILE, DV> Values;
  constexpr int STAGE = Queries::BYTES + Gradients::BYTES + Keys::BYTES + Values::BYTES;
  u32 stream = shared_address(shared_memory);
  int j = blockIdx.x * TILE, i0 = blockIdx.y * ROWS, h0 = blockIdx.z;
  int lane = threadIdx.x % 32, i = i0 + warpgroup() * 64, row = i0 + threadIdx.x / 32 * 16 + lane / 4, shared = bias_heads == 1 ? heads : 1;
  bool none = Rule(nullptr, 0, queries, keys, causal, window, memory).none(i0, i0 + ROWS, j, j + TILE);
  int count = none ? 0 : batch * shared;
  float scale2 = scale * LOG2E, sum[TILE / 8][4];
  DROPOUT_STATE;
  bias += (i64)h0 * queries * keys;
  auto bring = [&](int n) {
    int b = n / shared, h = h0 + n % shared, hk = groups == 1 ? h : h / groups;
    u32 at = stream + n % 2 * STAGE;
    load_tile(Queries{at}, head(q, b, queries, heads, h, dk), i0, queries, heads * dk, dk);
    load_tile(Gradients{at += Queries::BYTES}, head(dy, b, queries, heads, h, dv), i0, queries, heads * dv, dv);
    load_tile(Keys{at += Gradients::BYTES}, head(k, b, keys, kv_heads, hk, dk), j, keys, kv_heads * dk, dk);
    load_tile(Values{at += Keys::BYTES}, head(v, b, keys, kv_heads, hk, dv), j, keys, kv_heads * dv, dv);
  };
  clear(sum);
  if (count) bring(0);
  for (int n = 0; n < count; n++) {
    wait_copies();
    __syncthreads();
    if (n + 1 < count) bring(n + 1);
    int b = n / shared, h = h0 + n % shared;
    Queries own{stream + n % 2 * STAGE};
    Gradients own_dy{own.at + Queries::BYTES};
    Keys tile{own_dy.at + Gradients::BYTES};
    Values values{tile.at + Keys::BYTES};
    float s[TILE / 8][4], dp[TILE / 8][4];
    begin_products();
    product_rows<TILE>(s, own, tile, 0);
    product_rows<TILE>(dp, own_dy, values, 0);
    end_products();
    Rule u(lengths, b, queries, keys, causal, window, memory);
    float lse2[2], sums[2];
#pragma unroll
    for (int e = 0; e < 2; e++) {
      i64 at = ((i64)b * heads + h) * queries + row + e * 8;
      bool in = row + e * 8 < queries;
      lse2[e] = in ? rows[at] : INF;
      sums[e] = in ? rows[at + (i64)batch * heads * queries] : 0;
    }
    u32 bits[2];
    if (DROPOUT) dropout.draw<TILE>(bits, (((i64)b * heads + h) * queries + row) * keys + j + lane % 4 * 2, 1, keys);
    wait_products<0>();
    arrived(s);
    arrived(dp);
    probabilities(s, logits<TILE, false>(s, u, i, j, keys, bias, scale2), [&](int, int e) { return lse2[e / 2]; });
    if (DROPOUT) drop(dp, bits, drop_scale);
    gradient(s, dp, [&](int, int e) { return sums[e / 2]; });
#pragma unroll
    for (int c = 0; c < TILE / 8; c++)
#pragma unroll
      for (int e = 0; e < 4; e++) sum[c][e] += dp[c][e];
  }
#pragma unroll
  for (int c = 0; c < TILE / 8; c++)
#pragma unroll
    for (int e = 0; e < 4; e++) {
      int r = row + e / 2 * 8, l = j + c * 8 + lane % 4 * 2 + e % 2;
      if (r < queries && l < keys) dbias[((i64)h0 * queries + r) * keys + l] = sum[c][e];
    }
}

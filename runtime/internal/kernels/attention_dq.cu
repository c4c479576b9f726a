// The gradient of the queries of attention (attention.cuh).

#include "attention.cuh"

// dq [B·Sq, H·dk], and for the other kernels rows [2,B,H,Sq]: log-sum-exp over ln 2 (inf where a query sees no key), and Σ y·dy.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) attention_dq(PARAMS, const bf16* y, const float* lse, const bf16* dy, bf16* dq, float* rows) {
  u32 own = shared_address(shared_memory), own_dy = own + ROWS * D * 2, stream = own_dy + ROWS * DV * 2;
  HEAD_AND_SEQUENCE(heads);
  int i0 = (gridDim.y - 1 - blockIdx.y) * ROWS, h = block_head, hk = groups == 1 ? h : h / groups; // long rows of causal attention first
  int lane = threadIdx.x % 32, i = i0 + warpgroup() * 64, row = i0 + threadIdx.x / 32 * 16 + lane / 4;
  Rule u(lengths, b, queries, keys, causal, window, memory);
  Walk walk(u, i0, min(i0 + ROWS, queries));
  DROPOUT_STATE;
  if (BIAS) bias += bias_heads == 1 ? 0 : (i64)h * queries * keys;
  load_tile(Tile<ROWS, D>{own}, head(q, b, queries, heads, h, dk), i0, queries, heads * dk, dk);
  load_tile(Tile<ROWS, DV>{own_dy}, head(dy, b, queries, heads, h, dv), i0, queries, heads * dv, dv);
  k = head(k, b, keys, kv_heads, hk, dk);
  v = head(v, b, keys, kv_heads, hk, dv);
  if (walk.count) bring_keys(stream, k, v, walk(0), u.limit, kv_heads, dk, dv);

  float lse2[2], sums[2]; // of the thread's two rows; four threads share them
#pragma unroll
  for (int e = 0; e < 2; e++) {
    int r = row + e * 8;
    float sum = 0;
    if (r < queries) {
      const bf16 *yr = head(y, b, queries, heads, h, dv) + (i64)r * heads * dv, *dyr = dy + (yr - y);
#if VEC
#pragma unroll
      for (int c = lane % 4 * 8; c < DV; c += 32)
        if (c < dv) {
          float a[8], d[8];
          load_pack(yr + c, a);
          load_pack(dyr + c, d);
#pragma unroll
          for (int x = 0; x < 8; x++) sum += a[x] * d[x];
        }
#else
      for (int c = lane % 4; c < dv; c += 4) sum += to_float(yr[c]) * to_float(dyr[c]);
#endif
    }
    sum += __shfl_xor_sync(0xffffffffu, sum, 1);
    sum += __shfl_xor_sync(0xffffffffu, sum, 2);
    i64 at = ((i64)b * heads + h) * queries + r;
    float l = r < queries ? lse[at] : -INF;
    lse2[e] = l == -INF ? INF : l * LOG2E;
    sums[e] = sum;
    if (lane % 4 == 0 && r < queries) rows[at] = lse2[e], rows[at + (i64)batch * heads * queries] = sum;
  }

  float scale2 = scale * LOG2E, sum[D / 8][4];
  clear(sum);
  for (int n = 0; n < walk.count; n++) {
    wait_copies();
    __syncthreads();
    if (n + 1 < walk.count) bring_keys(stream + (n + 1) % 2 * KEYS_STAGE, k, v, walk(n + 1), u.limit, kv_heads, dk, dv);
    Keys tile{stream + n % 2 * KEYS_STAGE};
    Values values{tile.at + Keys::BYTES};
#pragma unroll 1
    for (int at = 0; at < TILE; at += CHUNK) {
      int j = walk(n) + at;
      if (u.none(i, i + 64, j, j + CHUNK)) continue;
      float s[CHUNK / 8][4], dp[CHUNK / 8][4];
      begin_products();
      product_rows<CHUNK>(s, Tile<ROWS, D>{own}, tile, at);
      end_products();
      product_rows<CHUNK>(dp, Tile<ROWS, DV>{own_dy}, values, at);
      end_products();
      u32 bits[2];
      if (DROPOUT) dropout.draw<CHUNK>(bits, (((i64)b * heads + h) * queries + row) * keys + j + lane % 4 * 2, 1, keys);
      wait_products<1>();
      arrived(s);
      probabilities(s, logits<CHUNK, false>(s, u, i, j, keys, bias, scale2), [&](int, int e) { return lse2[e / 2]; });
      wait_products<0>();
      arrived(dp);
      if (DROPOUT) drop(dp, bits, drop_scale);
      gradient(s, dp, [&](int, int e) { return sums[e / 2]; });
      u32 ds[CHUNK / 16][4];
      round_left<CHUNK>(ds, dp);
      begin_products();
      product_columns<CHUNK>(sum, ds, tile, at);
      end_products();
      wait_products<0>();
      arrived(sum);
    }
  }
  wait_copies();
  __syncthreads();
  store_rows<D>(Tile<ROWS, D>{own}, sum, scale, scale, head(dq, b, queries, heads, h, dk) + (i64)i0 * heads * dk, queries - i0, heads * dk, dk);
}

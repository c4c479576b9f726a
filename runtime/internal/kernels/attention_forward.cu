// The forward pass of attention (attention.cuh).

#include "attention.cuh"

// y [B·Sq, H·dv] and lse [B,H,Sq], the logarithm of the sum of exponentials: -inf where a query sees no key.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) attention_forward(PARAMS, bf16* y, float* lse) {
  u32 own = shared_address(shared_memory), stream = own + ROWS * (D > DV ? D : DV) * 2;
  HEAD_AND_SEQUENCE(heads);
  int i0 = (gridDim.y - 1 - blockIdx.y) * ROWS, h = block_head, hk = groups == 1 ? h : h / groups; // long rows of causal attention first
  int lane = threadIdx.x % 32, i = i0 + warpgroup() * 64, row = i0 + threadIdx.x / 32 * 16 + lane / 4; // the warpgroup's, the thread's first query
  Rule u(lengths, b, queries, keys, causal, window, memory);
  Walk walk(u, i0, min(i0 + ROWS, queries));
  DROPOUT_STATE;
  if (BIAS) bias += bias_heads == 1 ? 0 : (i64)h * queries * keys;
  load_tile(Tile<ROWS, D>{own}, head(q, b, queries, heads, h, dk), i0, queries, heads * dk, dk);
  k = head(k, b, keys, kv_heads, hk, dk);
  v = head(v, b, keys, kv_heads, hk, dv);
  if (walk.count) bring_keys(stream, k, v, walk(0), u.limit, kv_heads, dk, dv);

  float scale2 = scale * LOG2E, o[DV / 8][4], top[2] = {-INF, -INF}, sum[2] = {0, 0};
  clear(o);
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
      float s[CHUNK / 8][4];
      begin_products();
      product_rows<CHUNK>(s, Tile<ROWS, D>{own}, tile, at);
      end_products();
      u32 bits[2];
      if (DROPOUT) dropout.draw<CHUNK>(bits, (((i64)b * heads + h) * queries + row) * keys + j + lane % 4 * 2, 1, keys);
      wait_products<0>();
      arrived(s);
      float factor = logits<CHUNK, false>(s, u, i, j, keys, bias, scale2);
      soften<CHUNK>(s, o, top, sum, factor);
      if (DROPOUT) drop(s, bits, 1);
      u32 p[CHUNK / 16][4];
      round_left<CHUNK>(p, s);
      begin_products();
      product_columns<CHUNK>(o, p, values, at);
      end_products();
      wait_products<0>();
      arrived(o);
    }
  }
  wait_copies();
  __syncthreads(); // results go out through the queries' memory
  float factor[2];
  finish_rows(factor, top, sum, BIAS || scale2 <= 0 ? 1 / LOG2E : scale, DROPOUT ? drop_scale : 1, lse + ((i64)b * heads + h) * queries, row, queries);
  store_rows<DV>(Tile<ROWS, DV>{own}, o, factor[0], factor[1], head(y, b, queries, heads, h, dv) + (i64)i0 * heads * dv, queries - i0, heads * dv, dv);
}

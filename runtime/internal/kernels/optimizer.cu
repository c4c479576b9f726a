// AdamW (Loshchilov and Hutter, 2019) over flat buffers, in one pass.
//
// DECAY: 1 where parameters decay.

__device__ __forceinline__ void adamw(float& p, float& m, float& v, float g, float fresh1, float fresh2, float beta1,
                                      float beta2, float rate, float eps, float keep) {
  // Each operation is rounded by itself, as in the step that is written in plain operators.
  const float root = __fmul_rn(g, fresh2);
  m = __fadd_rn(__fmul_rn(m, beta1), __fmul_rn(g, fresh1));
  v = __fadd_rn(__fmul_rn(v, beta2), __fmul_rn(root, root));
#if DECAY
  p = __fmul_rn(p, keep);
#endif
  p = __fsub_rn(p, __fmul_rn(__fdiv_rn(m, __fadd_rn(__fsqrt_rn(v), eps)), rate));
}

// Scalars in device memory: scale multiplies grad; new1, new2 are what grad and its square have in m and v beside beta1,
// beta2; keep multiplies p first; where not finite, grad counts as 0. Outputs may lie in the inputs' memory; half is p in
// bfloat16, or null.
extern "C" __global__ void __launch_bounds__(256) adamw_step(
    const float* p, const float* m, const float* v, const float* grad, const float* scale, const float* beta1,
    const float* beta2, const float* new1, const float* new2, const float* rate, const float* eps, const bool* finite,
    const float* keep, float* p_out, float* m_out, float* v_out, bf16* half, long long n) {
  const long long packs = n / 4, i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= packs + n % 4) return;
  const bool valid = *finite;
  const float b1 = *beta1, b2 = *beta2, r = *rate, e = *eps, k = *keep;
  const float fresh1 = __fmul_rn(*scale, *new1), fresh2 = __fmul_rn(*scale, __fsqrt_rn(*new2));
  float P[4], M[4], V[4], G[4];
  if (i >= packs) {
    const long long j = packs * 4 + (i - packs);
    P[0] = p[j], M[0] = m[j], V[0] = v[j];
    adamw(P[0], M[0], V[0], valid ? grad[j] : 0, fresh1, fresh2, b1, b2, r, e, k);
    p_out[j] = P[0], m_out[j] = M[0], v_out[j] = V[0];
    if (half) half[j] = from_float<bf16>(P[0]);
    return;
  }
  load_pack(p + i * 4, P);
  load_pack(m + i * 4, M);
  load_pack(v + i * 4, V);
  load_pack(grad + i * 4, G);
#pragma unroll
  for (int j = 0; j < 4; j++) adamw(P[j], M[j], V[j], valid ? G[j] : 0, fresh1, fresh2, b1, b2, r, e, k);
  store_pack(p_out + i * 4, P);
  store_pack(m_out + i * 4, M);
  store_pack(v_out + i * 4, V);
  if (half) reinterpret_cast<uint2*>(half)[i] = make_uint2(pack_bf16(P[0], P[1]), pack_bf16(P[2], P[3]));
}

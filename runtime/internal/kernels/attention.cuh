// Attention without an array of [queries, keys] (Dao, FlashAttention-2, 2023), on tensor cores (bf16 → float).
//
// B sequences, Sq queries, Sk keys, H heads of D entries for q and k and DV for v. Rows are tokens, as everywhere in march. A
// block holds a tile of ROWS queries (keys in attention_dkdv), each warp 16 of them, and walks over tiles of TILE keys (queries)
// that cp.async brings into one half of shared memory while the other half is worked on. Products of a tile leave the tensor
// cores in the layout in which the next product takes its left operand, so that probabilities never leave registers.
//
// D and DV are head sizes, rounded up to multiples of 16; VEC: rows of heads are multiples of 16 bytes; BIAS, DROPOUT: is there one;
// WARPS (a multiple of 4), TILE; CHUNK: columns of a tile worked on at once; BLOCKS: of a multiprocessor, at least.

#include "dropout.cuh"
#include "tensorcore.cuh"

typedef long long i64;

constexpr int THREADS = WARPS * 32, ROWS = WARPS * 16;
constexpr float LOG2E = 1.4426950408889634f;
#define INF __int_as_float(0x7f800000)

// A tile of R rows of W entries in shared memory, in blocks of at most MOST columns. Rows of a block are 32, 64 or 128 bytes; their 16
// bytes are permuted so that eight rows lie in different banks, in the way that the tensor cores know.
template <int R, int W, int MOST = 64> struct Tile {
  static constexpr int WIDE = MOST >= 64 && W % 64 == 0 ? 64 : MOST >= 32 && W % 32 == 0 ? 32 : 16, BYTES = R * W * 2;
  u32 at;
  __device__ __forceinline__ u32 address(int row, int column) const {
    int turn = WIDE == 64 ? row % 8 : WIDE == 32 ? row / 2 % 4 : row / 4 % 2;
    return at + ((column / WIDE * R + row) * WIDE + (((column % WIDE / 8) ^ turn) * 8)) * 2 + column % 8 * 2;
  }
  // What tells the tensor cores of the tile from (row, column) on, multiples of 8 and 16.
  __device__ __forceinline__ u64 descriptor(int row, int column) const {
    u32 from = (at >> 4 | 1u << 16) + ((column / WIDE * R + row) * WIDE + column % WIDE) / 8;
    return (u64)(WIDE * 8 * 2 >> 4 | (WIDE == 64 ? 1u : WIDE == 32 ? 2u : 3u) << 30) << 32 | from;
  }
};

// Brings the rows from `first` up to `end` of a tensor into a tile, `width` entries of each, `stride` apart; zeros elsewhere.
template <int R, int W, int M> __device__ __forceinline__ void load_tile(Tile<R, W, M> tile, const bf16* from, int first, int end, int stride, int width) {
  constexpr int chunks = W / 8, step = THREADS / chunks;
  if constexpr (VEC && THREADS % chunks == 0 && step % 8 == 0) { // all of a thread's rows are at the same place of their eight
    int r = threadIdx.x / chunks, c = threadIdx.x % chunks * 8;
    u32 to = tile.address(r, c);
    from += c, r += first, end = c < width ? end : 0;
#pragma unroll
    for (int i = 0; i < R; i += step)
      if (R % step == 0 || r + i < first + R) copy_async<16>(to + i * Tile<R, W, M>::WIDE * 2, from + (i64)(r + i) * stride, r + i < end);
  } else {
#pragma unroll
    for (int n = 0; n < R * chunks; n += THREADS) {
      int i = n + threadIdx.x, r = i / chunks, c = i % chunks * 8;
      if (R * chunks % THREADS && i >= R * chunks) break;
      if (VEC) copy_async<16>(tile.address(r, c), from + (i64)(first + r) * stride + c, first + r < end && c < width);
      else
        for (int e = c; e < c + 8; e++) {
          u16 x = first + r < end && e < width ? from[(i64)(first + r) * stride + e].bits : 0;
          asm volatile("st.shared.u16 [%0], %1;" ::"r"(tile.address(r, e)), "h"(x) : "memory");
        }
    }
  }
}

// The block's warpgroup that a thread is in, known to be the same for a whole warp.
__device__ __forceinline__ int warpgroup() { return THREADS == 128 ? 0 : __shfl_sync(0xffffffffu, threadIdx.x / 128, 0); }

#if WARPGROUPS
// c [64, 64] = a · bᵀ of a warpgroup's own tile and one of 64 rows.
template <int W> __device__ __forceinline__ void product_tiles(float (&c)[8][4], Tile<64, W> a, Tile<64, W> b) {
#pragma unroll
  for (int k = 0; k < W; k += 16) {
    if (k == 0) Wgmma<64, 0>::run(c[0], a.descriptor(0, k), b.descriptor(0, k));
    else Wgmma<64, 1>::run(c[0], a.descriptor(0, k), b.descriptor(0, k));
  }
}
#endif

// c [ROWS, N] = a · bᵀ for N rows of b from `row` on.
template <int N, int W, int M, int R> __device__ __forceinline__ void product_rows(float (&c)[N / 8][4], Tile<ROWS, W, M> a, Tile<R, W> b, int row) {
#if WARPGROUPS
  constexpr int part = N < 64 ? N : 64;
#pragma unroll
  for (int k = 0; k < W; k += 16)
#pragma unroll
    for (int n = 0; n < N; n += part) {
      u64 left = a.descriptor(warpgroup() * 64, k), right = b.descriptor(row + n, k);
      if (k == 0) Wgmma<part, 0>::run(c[n / 8], left, right);
      else Wgmma<part, 1>::run(c[n / 8], left, right);
    }
#else
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
  for (int n = 0; n < N / 8; n++) c[n][0] = c[n][1] = c[n][2] = c[n][3] = 0;
#pragma unroll
  for (int k = 0; k < W; k += 16) {
    u32 left[4], r[4];
    ldmatrix(left, a.address(warp * 16 + lane % 16, k + lane / 16 * 8));
#pragma unroll
    for (int n = 0; n < N / 8; n += 2) {
      ldmatrix(r, b.address(row + n * 8 + lane / 16 * 8 + lane % 8, k + lane / 8 % 2 * 8));
      mma(c[n], left, r[0], r[1]);
      mma(c[n + 1], left, r[2], r[3]);
    }
  }
#endif
}

// c [ROWS, W] += a [ROWS, N] · b for N rows of b from `row` on; a as fragments of 16 columns.
template <int N, int W, int R> __device__ __forceinline__ void product_columns(float (&c)[W / 8][4], const u32 (&a)[N / 16][4], Tile<R, W> b, int row) {
#if WARPGROUPS
  constexpr int part = Tile<R, W>::WIDE;
#pragma unroll
  for (int k = 0; k < N / 16; k++)
#pragma unroll
    for (int n = 0; n < W; n += part) Wgmma<part, 1>::run(c[n / 8], a[k], b.descriptor(row + k * 16, n));
#else
  int lane = threadIdx.x % 32;
#pragma unroll
  for (int k = 0; k < N / 16; k++)
#pragma unroll
    for (int n = 0; n < W / 8; n += 2) {
      u32 r[4];
      ldmatrix_trans(r, b.address(row + k * 16 + lane % 16, n * 8 + lane / 16 * 8));
      mma(c[n], a[k], r[0], r[1]);
      mma(c[n + 1], a[k], r[2], r[3]);
    }
#endif
}

// c [N, W / 2] += aᵀ · b for 64 rows of a and b from `row` on; of b the half of the columns that is the warpgroup's (two of them).
template <int N, int W, int R> __device__ __forceinline__ void product_turned(float (&c)[W / 16][4], Tile<R, N> a, Tile<R, W, W / 2> b, int row) {
  static_assert(N == 64, "a warpgroup's rows");
#if WARPGROUPS
#pragma unroll
  for (int k = row; k < row + 64; k += 16) Wgmma<W / 2, 1>::run_turned(c[0], a.descriptor(k, 0), b.descriptor(k, warpgroup() * (W / 2)));
#else
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
  for (int k = row; k < row + 64; k += 16) {
    u32 left[4], r[4];
    ldmatrix_trans(left, a.address(k + lane / 16 * 8 + lane % 8, warp % 4 * 16 + lane / 8 % 2 * 8));
#pragma unroll
    for (int n = 0; n < W / 16; n += 2) {
      ldmatrix_trans(r, b.address(k + lane % 16, warp / 4 * (W / 2) + n * 8 + lane / 16 * 8));
      mma(c[n], left, r[0], r[1]);
      mma(c[n + 1], left, r[2], r[3]);
    }
  }
#endif
}

// Writes fragments of 16 columns, the warp's 16 rows of each, to its rows of a tile from a column on.
template <int N, int W> __device__ __forceinline__ void store_left(Tile<ROWS, W> tile, const u32 (&a)[N / 16][4], int column) {
  int lane = threadIdx.x % 32, row = threadIdx.x / 32 * 16 + lane % 16;
#pragma unroll
  for (int k = 0; k < N / 16; k++) {
#if WARPGROUPS
    stmatrix(tile.address(row, column + k * 16 + lane / 16 * 8), a[k]);
#else
#pragma unroll
    for (int i = 0; i < 4; i++)
      asm volatile("st.shared.b32 [%0], %1;" ::"r"(tile.address(row - lane % 16 + i % 2 * 8 + lane / 4, column + k * 16 + i / 2 * 8 + lane % 4 * 2)), "r"(a[k][i]) : "memory");
#endif
  }
}

// Writes fragments of 16 columns, the warp's 16 rows of each, to its rows of a tile of its warpgroup.
template <int N> __device__ __forceinline__ void store_box_rows(Tile<64, N> tile, const u32 (&a)[N / 16][4]) {
#if WARPGROUPS
  int lane = threadIdx.x % 32, row = threadIdx.x % 128 / 32 * 16 + lane % 16;
#pragma unroll
  for (int k = 0; k < N / 16; k++) stmatrix(tile.address(row, k * 16 + lane / 16 * 8), a[k]);
#endif
}

// Eight entries of a tile's row, that lie together.
__device__ __forceinline__ void load_shared_pack(u32 at, float (&x)[8]) {
  u32 r[4];
  asm volatile("ld.shared.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(at) : "memory");
#pragma unroll
  for (int i = 0; i < 4; i++) x[2 * i] = low_bf16(r[i]), x[2 * i + 1] = high_bf16(r[i]);
}

__device__ __forceinline__ void load_pair(float (&x)[2], u32 at) {
  asm volatile("ld.shared.v2.f32 {%0,%1}, [%2];" : "=f"(x[0]), "=f"(x[1]) : "r"(at) : "memory");
}

template <int N> __device__ __forceinline__ void clear(float (&c)[N][4]) {
#pragma unroll
  for (int n = 0; n < N; n++) c[n][0] = c[n][1] = c[n][2] = c[n][3] = 0;
}

// The result of a product, rounded, as left operand of the next.
template <int N> __device__ __forceinline__ void round_left(u32 (&a)[N / 16][4], const float (&c)[N / 8][4]) {
#pragma unroll
  for (int k = 0; k < N / 16; k++)
#pragma unroll
    for (int i = 0; i < 4; i++) a[k][i] = pack_bf16(c[2 * k + i / 2][i % 2 * 2], c[2 * k + i / 2][i % 2 * 2 + 1]);
}

// Writes the warp's rows of a result [ROWS, W], times a factor for each row, through its own rows of a tile.
template <int W, int M> __device__ __forceinline__ void store_rows(Tile<ROWS, W, M> tile, const float (&c)[W / 8][4], float factor0, float factor1, bf16* to, int rows, i64 stride, int width) {
  int lane = threadIdx.x % 32, first = threadIdx.x / 32 * 16;
#pragma unroll
  for (int n = 0; n < W / 8; n++)
#pragma unroll
    for (int h = 0; h < 2; h++) {
      float f = h ? factor1 : factor0;
      asm volatile("st.shared.b32 [%0], %1;" ::"r"(tile.address(first + h * 8 + lane / 4, n * 8 + lane % 4 * 2)), "r"(pack_bf16(c[n][2 * h] * f, c[n][2 * h + 1] * f)) : "memory");
    }
  __syncwarp();
  constexpr int step = VEC ? 8 : 1;
  for (int i = lane; i < 16 * (W / step); i += 32) {
    int r = first + i / (W / step), e = i % (W / step) * step;
    if (r >= rows || e >= width) continue;
#if VEC
    uint4 x;
    asm volatile("ld.shared.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(x.x), "=r"(x.y), "=r"(x.z), "=r"(x.w) : "r"(tile.address(r, e)) : "memory");
    // As assembly, since the compiler may cut a store of 16 bytes into four.
    asm volatile("st.global.v4.u32 [%0], {%1,%2,%3,%4};" ::"l"(to + r * stride + e), "r"(x.x), "r"(x.y), "r"(x.z), "r"(x.w) : "memory");
#else
    asm volatile("ld.shared.u16 %0, [%1];" : "=h"(to[r * stride + e].bits) : "r"(tile.address(r, e)) : "memory");
#endif
  }
}

// Which keys a query sees. Bounds of ranges are [from, to).
struct Rule {
  int queries, limit, causal, window, memory; // keys from limit on are hidden
  __device__ __forceinline__ Rule(const i64* lengths, int b, int queries, int keys, int causal, int window, int memory)
      : queries(queries), limit(keys), causal(causal), window(window), memory(memory) {
    if (lengths) limit = (int)max(0ll, min((i64)keys, lengths[b] + (memory ? queries : 0)));
  }
  __device__ __forceinline__ bool all(int i0, int i1, int j0, int j1) const {
    return j1 <= limit && (!causal || j1 - 1 <= i0 || (memory && j0 >= queries)) && (!window || j0 > i1 - 1 - window);
  }
  __device__ __forceinline__ bool none(int i0, int i1, int j0, int j1) const {
    return j0 >= limit || (causal && j0 >= i1 && !(memory && j1 > queries)) || (window && j1 - 1 <= i0 - window);
  }
};

// The tiles of keys that queries [i0, i1) see: `near` from first on, then those of the memory from far on.
struct Walk {
  int first, near, far, count;
  __device__ __forceinline__ Walk(const Rule& u, int i0, int i1) {
    int from = u.window ? max(0, i0 - u.window + 1) : 0, to = u.causal ? min(i1, u.limit) : u.limit;
    first = from / TILE;
    near = max(0, (to + TILE - 1) / TILE - first);
    far = max(u.queries / TILE, first + near);
    count = near + (u.causal && u.memory && u.limit > u.queries ? max(0, (u.limit + TILE - 1) / TILE - far) : 0);
  }
  __device__ __forceinline__ int operator()(int n) const { return (n < near ? first + n : far + n - near) * TILE; }
};

struct Dropout {
  u32 a, b, keep;
  __device__ __forceinline__ Dropout(i64 seed, Place at, int keep) : keep(keep) { line_at(seed, at, a, b); }
  // One bit for each of the thread's entries of a product, for its upper and its lower row: the first entry is element `first`,
  // elements are `one` apart from column to column and `below` from row to row.
  template <int N> __device__ __forceinline__ void draw(u32 (&bits)[2], i64 first, int one, int below) const {
    u32 step = times(a, one), eight = times(step, 8);
#pragma unroll
    for (int h = 0; h < 2; h++) {
      u32 x = modulo((u64)a * ((first + h * 8 * (i64)below) % P) + b);
      bits[h] = 0;
#pragma unroll
      for (int n = 0; n < N / 8; n++, x = modulo(x + eight))
        bits[h] |= (fifth(x) < keep ? 1u << 2 * n : 0) | (fifth(modulo(x + step)) < keep ? 2u << 2 * n : 0);
    }
  }
};
// c times factor where the bits are set, else 0.
template <int N> __device__ __forceinline__ void drop(float (&c)[N][4], const u32 (&bits)[2], float factor) {
#pragma unroll
  for (int n = 0; n < N; n++)
#pragma unroll
    for (int e = 0; e < 4; e++) c[n][e] = bits[e / 2] >> (2 * n + e % 2) & 1 ? c[n][e] * factor : 0;
}

// Hides what the rule hides in the products q·k and adds the bias; returns the factor that then gives logits over ln 2. Rows are
// queries and columns keys from (i, j) on, or the other way round where TURNED.
template <int N, bool TURNED> __device__ __forceinline__ float logits(float (&c)[N / 8][4], const Rule& u, int i, int j, int keys, const bf16* bias, float scale2) {
  int row = (TURNED ? j : i) + threadIdx.x % 128 / 32 * 16 + threadIdx.x % 32 / 4, column = (TURNED ? i : j) + threadIdx.x % 4 * 2;
  if (BIAS || scale2 <= 0) {
#pragma unroll
    for (int n = 0; n < N / 8; n++)
#pragma unroll
      for (int e = 0; e < 4; e++) c[n][e] *= scale2;
    scale2 = 1;
  }
  if (BIAS) {
    const bf16* at = bias + (i64)(TURNED ? column : row) * keys + (TURNED ? row : column);
    int i1 = i + (TURNED ? N : 64), j1 = j + (TURNED ? 64 : N);
    if (!TURNED && i1 <= u.queries && j1 <= keys && keys % 2 == 0) {
#pragma unroll
      for (int n = 0; n < N / 8; n++)
#pragma unroll
        for (int h = 0; h < 2; h++) {
          u32 pair = *reinterpret_cast<const u32*>(at + h * 8 * keys + n * 8);
          c[n][2 * h] += LOG2E * low_bf16(pair);
          c[n][2 * h + 1] += LOG2E * high_bf16(pair);
        }
    } else if (i1 <= u.queries && j1 <= keys) {
#pragma unroll
      for (int n = 0; n < N / 8; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) c[n][e] += LOG2E * to_float(TURNED ? at[(n * 8 + e % 2) * keys + e / 2 * 8] : at[e / 2 * 8 * keys + n * 8 + e % 2]);
    } else {
#pragma unroll
      for (int n = 0; n < N / 8; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
          int r = e / 2 * 8, l = n * 8 + e % 2, qi = TURNED ? column + l : row + r, kj = TURNED ? row + r : column + l;
          if (qi < u.queries && kj < keys) c[n][e] += LOG2E * to_float(TURNED ? at[l * keys + r] : at[r * keys + l]);
        }
    }
  }
  if (TURNED ? u.all(i, i + N, j, j + 64) : u.all(i, i + 64, j, j + N)) return scale2;
#pragma unroll
  for (int h = 0; h < 2; h++) {
    // Of a row, columns from `from` on are seen, `near` of them, and `far` from the memory's begin on.
    int r = row + h * 8, from, near, far = 0;
    if (TURNED) {
      from = u.causal && !(u.memory && r >= u.queries) ? r : 0;
      near = r >= u.limit ? 0 : (u.window ? r + u.window : 0x7fffffff) - from;
    } else {
      from = u.window ? r - u.window + 1 : 0;
      near = max(0, (u.causal ? min(r + 1, u.limit) : u.limit) - from);
      if (u.causal && u.memory) far = max(0, u.limit - u.queries);
    }
#pragma unroll
    for (int n = 0; n < N / 8; n++)
#pragma unroll
      for (int e = 0; e < 2; e++) {
        int l = column + n * 8 + e;
        bool seen = (u32)(l - from) < (u32)near | (!TURNED & (u32)(l - u.queries) < (u32)far);
        c[n][2 * h + e] = seen ? c[n][2 * h + e] : -INF;
      }
  }
  return scale2;
}

// The largest of t and row e of logits, of which a quad's threads have two entries in eight.
template <int N> __device__ __forceinline__ float row_maximum(const float (&s)[N / 8][4], int e, float t) {
#pragma unroll
  for (int c = 0; c < N / 8; c++) t = fmaxf(t, fmaxf(s[c][2 * e], s[c][2 * e + 1]));
  t = fmaxf(t, __shfl_xor_sync(0xffffffffu, t, 1));
  return fmaxf(t, __shfl_xor_sync(0xffffffffu, t, 2));
}
// Makes t what row e's exponentials are relative to: those added up before, in o and sum, too.
template <int W> __device__ __forceinline__ void lift(int e, float t, float (&o)[W][4], float (&top)[2], float (&sum)[2], float factor) {
  const float less = top[e] == -INF ? 0 : exp2_fast((top[e] - t) * factor);
  top[e] = t;
  sum[e] *= less;
#pragma unroll
  for (int c = 0; c < W; c++) o[c][2 * e] *= less, o[c][2 * e + 1] *= less;
}

// Turns logits, but for factor, into exponentials relative to something near each row's maximum so far, and adds them to its sum. What was added up
// before, in o and sum, is relative to the same.
template <int N, int W> __device__ __forceinline__ void soften(float (&s)[N / 8][4], float (&o)[W][4], float (&top)[2], float (&sum)[2], float factor) {
#pragma unroll
  for (int e = 0; e < 2; e++) {
    const float t = row_maximum<N>(s, e, top[e]);
    // Sums keep what they are relative to until it is 2⁸ times too small: then, seldom, they are scaled.
    if (__any_sync(0xffffffffu, (t - top[e]) * factor > 8)) lift(e, t, o, top, sum, factor);
    float base = top[e] == -INF ? 0 : top[e] * factor, part = 0;
#pragma unroll
    for (int c = 0; c < N / 8; c++)
#pragma unroll
      for (int x = 2 * e; x < 2 * e + 2; x++) part += s[c][x] = exp2_fast(s[c][x] * factor - base);
    sum[e] += part;
  }
}

// Of a thread's two rows, the first of which is `row`: the factors that turn sums into results, and the logarithms of the sums of exponentials, which are
// stored. unit is what top is in.
__device__ __forceinline__ void finish_rows(float (&factor)[2], const float (&top)[2], const float (&sum)[2], float unit, float scale, float* lse, int row, int rows) {
  float s[2] = {sum[0], sum[1]};
#pragma unroll
  for (int n = 1; n < 4; n *= 2) s[0] += __shfl_xor_sync(0xffffffffu, s[0], n), s[1] += __shfl_xor_sync(0xffffffffu, s[1], n);
#pragma unroll
  for (int e = 0; e < 2; e++) {
    // Within 2⁻²² and one unit in the last place (PTX).
    float log2, inverse;
    asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(log2) : "f"(s[e]));
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(inverse) : "f"(s[e]));
    factor[e] = s[e] > 0 ? scale * inverse : 0;
    int r = row + e * 8;
    if (threadIdx.x % 4 == 0 && r < rows) lse[r] = s[e] > 0 ? top[e] * unit + log2 * (1 / LOG2E) : -INF;
  }
}

// Turns logits into probabilities; lse(n, e) is the log-sum-exp over ln 2 for the query of entry (n, e).
template <int N, class F> __device__ __forceinline__ void probabilities(float (&s)[N][4], float factor, F lse) {
#pragma unroll
  for (int n = 0; n < N; n++)
#pragma unroll
    for (int e = 0; e < 4; e++) s[n][e] = exp2_fast(s[n][e] * factor - lse(n, e));
}
// Turns products dy·v into the gradient of the logits, p·(mask·dp − Σ y·dy).
template <int N, class F> __device__ __forceinline__ void gradient(const float (&p)[N][4], float (&dp)[N][4], F sum) {
#pragma unroll
  for (int n = 0; n < N; n++)
#pragma unroll
    for (int e = 0; e < 4; e++) dp[n][e] = p[n][e] * (dp[n][e] - sum(n, e));
}

// From probabilities s and products dp = dy·v: what multiplies dy (p) and what multiplies queries (ds, the gradient of the logits, which dp becomes), as left operands.
template <int N, class F> __device__ __forceinline__ void slopes_of(float (&s)[N / 8][4], float (&dp)[N / 8][4], F sum, const u32 (&bits)[2], float drop_scale, u32 (&p)[N / 16][4], u32 (&ds)[N / 16][4]) {
  if (DROPOUT) drop(dp, bits, drop_scale);
  gradient(s, dp, sum);
  if (DROPOUT) drop(s, bits, 1);
  round_left<N>(p, s);
  round_left<N>(ds, dp);
}

#define PARAMS \
  const bf16 *q, const bf16 *k, const bf16 *v, const bf16 *bias, const i64 *lengths, const i64 *seed, int batch, int queries, int keys, \
      int heads, int kv_heads, int groups, int dk, int dv, int bias_heads, int causal, int window, int memory, float scale, \
      u32 fk, u32 tk, u32 fa, u32 ta, u32 fb, u32 tb, u32 drop_keep, float drop_scale
#define DROPOUT_STATE Dropout dropout(DROPOUT ? *seed : 0, Place{fk, tk, fa, ta, fb, tb}, drop_keep)

// The block's head (block_head) and sequence (b); returns early where there is none. Blocks start in the order of the grid [some heads, tiles, the
// other heads]: the first tile of some heads, then their second, and so on.
#define HEAD_AND_SEQUENCE(heads)                                        \
  const int at_head = blockIdx.z * gridDim.x + blockIdx.x;              \
  const int b = at_head / (heads), block_head = at_head - b * (heads);  \
  if (b >= batch) return

// Head h of sequence b, of `length` rows of n heads of `width` entries.
template <class E> __device__ __forceinline__ E* head(E* x, int b, int length, int n, int h, int width) {
  return x + ((i64)b * length * n + h) * width;
}

extern __shared__ __align__(1024) unsigned char shared_memory[];

// One half of the memory for what is walked over: keys and values.
typedef Tile<TILE, D> Keys;
typedef Tile<TILE, DV> Values;
constexpr int KEYS_STAGE = Keys::BYTES + Values::BYTES;
__device__ __forceinline__ void bring_keys(u32 stage, const bf16* k, const bf16* v, int first, int limit, int kv_heads, int dk, int dv) {
  load_tile(Keys{stage}, k, first, limit, kv_heads * dk, dk);
  load_tile(Values{stage + Keys::BYTES}, v, first, limit, kv_heads * dv, dv);
}

// Activations and gated linear units, elementwise, with their gradients and the sums of the gradients' columns, which are
// those of a bias added before.
//
// TYPE: type of all tensors; VEC: elements in one access; KIND: the activation.

typedef TYPE T;

#include "erfcx.cuh"

// e^x and 1/x. In bfloat16 their errors (1e-7·|x|) vanish in the rounding of the result.
__device__ __forceinline__ float exponential(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x * 1.44269504f));
  return sizeof(T) == 4 ? expf(x) : y;
}
__device__ __forceinline__ float inverse(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
__device__ __forceinline__ float logistic(float x) { return inverse(1 + exponential(-x)); }

// x within ±bound; what is not a number stays so.
__device__ __forceinline__ float within(float x, float bound) {
  asm("min.NaN.f32 %0, %0, %1;" : "+f"(x) : "f"(bound));
  asm("max.NaN.f32 %0, %0, %1;" : "+f"(x) : "f"(-bound));
  return x;
}

// Each has f(x), and slope(x, y) = f'(x), which gives y = f(x) too.
namespace activation {

struct relu {
  static __device__ float f(float x) { return x <= 0 ? 0 : x; }
  static __device__ float slope(float x, float& y) { y = f(x); return x <= 0 ? 0.f : x > 0 ? 1.f : x; }
};

struct squared_relu {
  static __device__ float f(float x) { return x <= 0 ? 0 : x * x; }
  static __device__ float slope(float x, float& y) { y = f(x); return x <= 0 ? 0 : 2 * x; }
};

// x/2·(1 + tanh u) = x·σ(2u) with u = √(2/π)·(x + 0.044715·x³).
struct gelu_tanh {
  static constexpr float c = 1.5957691216f, k = 1.5957691216f * 0.044715f;
  static __device__ float f(float x) { return x * logistic(x * (c + k * x * x)); }
  static __device__ float slope(float x, float& y) {
    const float t = within(x, 16); // beyond, the slope is 0 or 1, and no square is infinite
    const float s = logistic(t * (c + k * t * t));
    y = x * s;
    return s + t * s * (1 - s) * (c + 3 * k * t * t);
  }
};

// x·Φ(x). For x < 0, Φ(x) = e^(−x²/2)·erfcx(−x/√2)/2 (erfcx.cuh), so that Φ is exact where it is small too.
struct gelu {
  static __device__ float below(float x, float& density) { // Φ(−|x|), and e^(−x²/2)
    const float t = inverse(1 + ERFCX_SCALE * fabsf(x));
    const float p = ERFCX(t);
    density = exponential(-0.5f * x * x);
    return 0.5f * density * t * p;
  }
  static __device__ float f(float x) {
    float e;
    const float q = below(x, e);
    return x * (x < 0 ? q : 1 - q);
  }
  static __device__ float slope(float x, float& y) {
    float e;
    const float t = within(x, 64), q = below(t, e), p = x < 0 ? q : 1 - q;
    y = x * p;
    return p + t * e * 0.39894228f;
  }
};

struct silu {
  static __device__ float f(float x) { return x * logistic(x); }
  static __device__ float slope(float x, float& y) {
    const float s = logistic(x);
    y = x * s;
    return s * (1 + x * (1 - s));
  }
};

struct sigmoid {
  static __device__ float f(float x) { return logistic(x); }
  static __device__ float slope(float x, float& y) { y = logistic(x); return y * (1 - y); }
};

struct tanh {
  static __device__ float f(float x) { return tanhf(x); }
  static __device__ float slope(float x, float& y) { y = tanhf(x); return 1 - y * y; }
};

struct identity {
  static __device__ float f(float x) { return x; }
  static __device__ float slope(float x, float& y) { y = x; return 1; }
};

} // namespace activation

typedef activation::KIND F;

// Calls f(offset, whole) for this thread's of n elements: a pack, or one of those after the last whole pack.
template <class G> __device__ __forceinline__ void each(long long n, G f) {
  const long long packs = n / VEC, i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i < packs) {
    f(i * VEC, true);
  } else if (i < packs + n % VEC) {
    f(packs * VEC + (i - packs), false);
  }
}

extern "C" __global__ void __launch_bounds__(256) activate(const T* __restrict__ x, T* __restrict__ y, long long n) {
  each(n, [&](long long i, bool whole) {
    float v[VEC];
    if (!whole) {
      y[i] = from_float<T>(F::f(to_float(x[i])));
      return;
    }
    load<VEC>(x + i, v);
    for (int j = 0; j < VEC; j++) v[j] = F::f(v[j]);
    store<VEC>(y + i, v);
  });
}

extern "C" __global__ void __launch_bounds__(256) activate_grad(const T* __restrict__ x, const T* dy, T* dx, long long n) {
  each(n, [&](long long i, bool whole) {
    float v[VEC], d[VEC], y;
    if (!whole) {
      dx[i] = from_float<T>(to_float(dy[i]) * F::slope(to_float(x[i]), y));
      return;
    }
    load<VEC>(x + i, v);
    load<VEC>(dy + i, d);
    for (int j = 0; j < VEC; j++) d[j] *= F::slope(v[j], y);
    store<VEC>(dx + i, d);
  });
}

extern "C" __global__ void __launch_bounds__(256) gate(
    const T* __restrict__ g, const T* __restrict__ up, T* __restrict__ y, long long n) {
  each(n, [&](long long i, bool whole) {
    float v[VEC], u[VEC];
    if (!whole) {
      y[i] = from_float<T>(F::f(to_float(g[i])) * to_float(up[i]));
      return;
    }
    load<VEC>(g + i, v);
    load<VEC>(up + i, u);
    for (int j = 0; j < VEC; j++) v[j] = F::f(v[j]) * u[j];
    store<VEC>(y + i, v);
  });
}

extern "C" __global__ void __launch_bounds__(256) gate_grad(
    const T* __restrict__ g, const T* __restrict__ up, const T* dy, T* dgate, T* dup, long long n) {
  each(n, [&](long long i, bool whole) {
    float v[VEC], u[VEC], d[VEC], y;
    if (!whole) {
      const float slope = F::slope(to_float(g[i]), y), e = to_float(dy[i]);
      dgate[i] = from_float<T>(e * to_float(up[i]) * slope);
      dup[i] = from_float<T>(e * y);
      return;
    }
    load<VEC>(g + i, v);
    load<VEC>(up + i, u);
    load<VEC>(dy + i, d);
    for (int j = 0; j < VEC; j++) {
      u[j] *= d[j] * F::slope(v[j], y);
      d[j] *= y;
    }
    store<VEC>(dgate + i, u);
    store<VEC>(dup + i, d);
  });
}

// Writes the sum over the block's 8 rows of threads into out [columns], of columns c to c + VEC.
__device__ __forceinline__ void fold_rows(const float* sum, float (*fold)[32 * VEC], float* out, int c, int columns) {
  for (int j = 0; j < VEC; j++) fold[threadIdx.y][j * 32 + threadIdx.x] = sum[j];
  __syncthreads();
  for (int k = threadIdx.y; k < VEC; k += 8) {
    float s = 0;
    for (int g = 0; g < 8; g++) s += fold[g][k * 32 + threadIdx.x];
    if (c + k < columns) out[c + k] = s;
  }
}

// Calls f(offset, values) for each row of the block's span that this row of threads has, values being those of count arrays
// at columns c to c + VEC.
template <int count, class G>
__device__ __forceinline__ void each_row(const T* const (&from)[count], int rows, int columns, int span, int c, G f) {
  const int begin = blockIdx.y * span, end = min(begin + span, rows);
  if (c >= columns) return;
  for (int r = begin + threadIdx.y; r < end; r += 8) {
    const long long i = (long long)r * columns + c;
    float v[count][VEC];
    for (int a = 0; a < count; a++) load<VEC>(from[a] + i, v[a]);
    f(i, v);
  }
}

// The gradient, and in row blockIdx.y of partial [gridDim.y, columns] the sums of the columns of this block's rows, before
// their rounding. Blocks are 32 × 8 threads and have span rows.
extern "C" __global__ void __launch_bounds__(256, 6) activate_grad_sum(
    const T* x, const T* dy, T* dx, float* __restrict__ partial, int rows, int columns, int span) {
  __shared__ float fold[8][32 * VEC];
  const int c = (blockIdx.x * 32 + threadIdx.x) * VEC;
  float sum[VEC] = {};
  each_row<2>({x, dy}, rows, columns, span, c, [&](long long i, float (*v)[VEC]) {
    float y;
    for (int j = 0; j < VEC; j++) {
      v[1][j] *= F::slope(v[0][j], y);
      sum[j] += v[1][j];
    }
    store<VEC>(dx + i, v[1]);
  });
  fold_rows(sum, fold, partial + (long long)blockIdx.y * columns, c, columns);
}

// As activate_grad_sum, with partial [gridDim.y, 2·columns]: the sums of dgate, then those of dup.
extern "C" __global__ void __launch_bounds__(256, 4) gate_grad_sum(
    const T* g, const T* up, const T* dy, T* dgate, T* dup, float* __restrict__ partial, int rows, int columns, int span) {
  __shared__ float fold[2][8][32 * VEC];
  const int c = (blockIdx.x * 32 + threadIdx.x) * VEC;
  float gates[VEC] = {}, ups[VEC] = {};
  each_row<3>({g, up, dy}, rows, columns, span, c, [&](long long i, float (*v)[VEC]) {
    float y;
    for (int j = 0; j < VEC; j++) {
      v[1][j] *= v[2][j] * F::slope(v[0][j], y);
      v[2][j] *= y;
      gates[j] += v[1][j];
      ups[j] += v[2][j];
    }
    store<VEC>(dgate + i, v[1]);
    store<VEC>(dup + i, v[2]);
  });
  partial += (long long)blockIdx.y * 2 * columns;
  fold_rows(gates, fold[0], partial, c, columns);
  fold_rows(ups, fold[1], partial + columns, c, columns);
}

// The mask of inverted dropout is a function of seed, place and index: element i is kept where (a·i + b)⁵ mod p < keep, with a and
// b made of the seed and the place's constants, and p = 2³¹ − 1.

#define P 0x7fffffffu

// x mod p, for x ≤ p²: 2³¹ counts as 1.
__device__ __forceinline__ u32 modulo(u64 x) {
  const u32 r = (u32)(x & P) + (u32)(x >> 31); // below 2³²
  return min(r, r - P);                        // r − p wraps round where r < p
}
__device__ __forceinline__ u32 times(u32 x, u32 y) { return modulo((u64)x * y); }
__device__ __forceinline__ u32 fifth(u32 x) {
  const u32 square = times(x, x);
  return times(times(square, square), x);
}

struct Place { u32 fk, tk, fa, ta, fb, tb; }; // factors and terms of the key, a and b

// a and b.
__device__ __forceinline__ void line_at(long long seed, Place at, u32& a, u32& b) {
  const u32 key = fifth(modulo((u64)at.fk * (u32)seed + at.tk));
  a = max(modulo((u64)at.fa * key + at.ta), 1u);
  b = modulo((u64)at.fb * key + at.tb);
}

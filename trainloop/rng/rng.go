// Package rng gives random numbers that are pure functions of what they are for: (seed, purpose,
// epoch, index, …) hashed to 64 bits, streams addressed by position, and permutations of any
// length without state. It is no cryptography, and nothing in it depends on how often something
// was drawn before, on the machine or on the Go version. Start with New for numbers, with
// NewPermutation for an order.
//
// Every formula is stated with its function, in unsigned 64-bit arithmetic that wraps, so that
// other languages can reproduce each number bit by bit. All of them rest on one function, the
// output mixer of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators,
// 2014, with the constants of Stafford's variant 13):
//
//	mix(z):  z = (z XOR z>>30) * 0xbf58476d1ce4e5b9
//	         z = (z XOR z>>27) * 0x94d049bb133111eb
//	         z XOR z>>31
//
// and on the golden-ratio increment G = 0x9e3779b97f4a7c15.
package rng

import (
	"math"
	"math/bits"
)

// golden is 2^64 divided by the golden ratio, made odd: SplitMix64's increment.
const golden = 0x9e3779b97f4a7c15

func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// Hash maps a list of words to 64 bits:
//
//	h = G;  for each word w, in order:  h = mix((h XOR w) + G)
//
// For fixed other words it is a bijection of each single word, so two indices of one purpose never
// collide.
func Hash(words ...uint64) uint64 {
	h := uint64(golden)
	for _, w := range words {
		h = mix((h ^ w) + golden)
	}
	return h
}

// Name turns a purpose ("shuffle", "decoder.0.attn.wq") into a word for Hash and New: FNV-1a with
// 64 bits over the UTF-8 bytes (start 0xcbf29ce484222325; for each byte h = (h XOR byte) *
// 0x100000001b3).
func Name(purpose string) uint64 {
	h := uint64(0xcbf29ce484222325)
	for i := range len(purpose) {
		h = (h ^ uint64(purpose[i])) * 0x100000001b3
	}
	return h
}

// Stream is the sequence of random words that belongs to one key. Any position can be read
// directly (At); Uint64 and its relatives walk through it from position 0. The zero value is the
// stream of key 0. A Stream is a small value: copy it to walk twice.
type Stream struct {
	key  uint64
	next uint64 // position that Uint64 reads next
}

// New returns the stream with key Hash(words...), at position 0. Give it the seed first, then the
// purpose, then whatever tells one use from another: New(seed, Name("init"), layer).
func New(words ...uint64) Stream { return Stream{key: Hash(words...)} }

// At returns the word at position i: mix(key + (i+1)*G). Position by position this is SplitMix64
// seeded with the key.
func (s Stream) At(i uint64) uint64 { return mix(s.key + (i+1)*golden) }

// Uint64 returns the word at the stream's position and moves on by one.
func (s *Stream) Uint64() uint64 {
	s.next++
	return mix(s.key + s.next*golden)
}

// Float64 returns Unit(Uint64()).
func (s *Stream) Float64() float64 { return Unit(s.Uint64()) }

// Below returns a uniform number in [0, n), n > 0, without bias (Lemire: Fast Random Integer
// Generation in an Interval, 2019): the high word of the 128-bit product x*n of the next word x;
// products whose low word is smaller than 2^64 mod n are thrown away and drawn anew. It moves on
// by one position, rarely by more. Below(0) is 0.
func (s *Stream) Below(n uint64) uint64 {
	high, low := bits.Mul64(s.Uint64(), n)
	if low < n {
		for reject := -n % n; low < reject; {
			high, low = bits.Mul64(s.Uint64(), n)
		}
	}
	return high
}

// NormalAt returns number i of a sequence of independent standard normal numbers: Box and
// Muller's cosine branch sqrt(-2 ln u) * cos(2 pi v) with u = 1 - Unit(At(2i)) in (0, 1] and
// v = Unit(At(2i+1)). Logarithm and cosine are those of the machine's mathematics library, whose
// last bit may differ elsewhere; all else is exact.
func (s Stream) NormalAt(i uint64) float64 {
	u := 1 - Unit(s.At(2*i))
	v := Unit(s.At(2*i + 1))
	return math.Sqrt(-2*math.Log(u)) * math.Cos(2*math.Pi*v)
}

// Unit maps a random word to [0, 1): its upper 53 bits times 2^-53.
func Unit(x uint64) float64 { return float64(x>>11) * (1.0 / (1 << 53)) }

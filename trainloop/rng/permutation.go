package rng

import "math/bits"

// rounds of the Feistel network. Four already pass for a pseudo-random permutation of a large
// domain (Luby, Rackoff: How to Construct Pseudorandom Permutations from Pseudorandom Functions,
// 1988); halves of one or two bits, as short epochs have them, need more to look shuffled.
const rounds = 12

// Permutation is a pseudo-random order of the numbers 0 … n-1 that takes no memory: any entry is
// computed on its own. The zero value permutes nothing.
//
// It is a balanced Feistel network on 2h bits, the smallest even number of bits (2 at least) that
// holds n-1, with cycle walking (Black, Rogaway: Ciphers with Arbitrary Finite Domains, 2002):
//
//	key of round r:  k[r] = New(words...).At(r),  r = 0 … 11
//	one pass:        left, right = upper h bits, lower h bits of x
//	                 for r = 0 … 11:  left, right = right, left XOR (mix(right + k[r]) mod 2^h)
//	                 x = left * 2^h + right
//	passes repeat until x < n
type Permutation struct {
	n    uint64
	half uint // h
	keys [rounds]uint64
}

// NewPermutation returns the permutation of 0 … n-1 that belongs to the words, as in New.
func NewPermutation(n uint64, words ...uint64) Permutation {
	p := Permutation{n: n, half: 1}
	if n > 1 {
		p.half = max(1, uint(bits.Len64(n-1)+1)/2)
	}
	s := New(words...)
	for r := range p.keys {
		p.keys[r] = s.At(uint64(r))
	}
	return p
}

// Len returns n.
func (p *Permutation) Len() uint64 { return p.n }

// At returns entry i of the order, i < n. Every number below n comes up for exactly one i.
// An i of n or more is returned as it is: there is no cycle to walk it into.
func (p *Permutation) At(i uint64) uint64 {
	if i >= p.n {
		return i
	}
	mask := uint64(1)<<p.half - 1
	// Walking ends: i itself lies below n and the network is a bijection, so its cycle returns
	// below n. As the domain is less than 4n, four passes are the worst average.
	for {
		left, right := i>>p.half, i&mask
		for _, k := range p.keys {
			left, right = right, left^(mix(right+k)&mask)
		}
		if i = left<<p.half | right; i < p.n {
			return i
		}
	}
}

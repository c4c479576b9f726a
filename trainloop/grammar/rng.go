package grammar

import "math/bits"

// stream is splitmix64 read as a counter-based generator: its n-th value is
// mix(key + n·φ), so every document and every pair has a stream of its own
// and none depends on how many others were made before it.
// (Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators, 2014.)
type stream struct{ key, n uint64 }

const golden = 0x9e3779b97f4a7c15 // 2^64 / the golden ratio, odd

func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// newStream gives the stream of the coordinates, for instance (seed, split, document).
func newStream(coordinates ...uint64) stream {
	key := uint64(golden)
	for _, c := range coordinates {
		key = mix(key ^ mix(c+golden))
	}
	return stream{key: key}
}

func (s *stream) next() uint64 {
	s.n++
	return mix(s.key + s.n*golden)
}

// intn is a number in [0, n). Its bias is n/2^64, far below anything seen here.
func (s *stream) intn(n int) int {
	hi, _ := bits.Mul64(s.next(), uint64(n))
	return int(hi)
}

// chance is true in the given percentage of calls.
func (s *stream) chance(percent int) bool { return s.intn(100) < percent }

func pick[T any](s *stream, of []T) T { return of[s.intn(len(of))] }

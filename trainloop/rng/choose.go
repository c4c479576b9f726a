package rng

// Choose returns k of the numbers 0 … n-1 in rising order, 0 ≤ k ≤ n, every choice equally
// likely: number i is taken if Below(n-i) is smaller than the number that is still to be taken
// (Knuth: The Art of Computer Programming 2, 3.4.2, Algorithm S). It stops with the last one.
func (s *Stream) Choose(n, k int) []int {
	chosen := make([]int, 0, k)
	for i := 0; len(chosen) < k; i++ {
		if s.Below(uint64(n-i)) < uint64(k-len(chosen)) {
			chosen = append(chosen, i)
		}
	}
	return chosen
}

package variants

// Layer is the set of parameters, 0 … Unique−1, that use i of Uses has (Takase and
// Kiyono, 2021). Uses must be a multiple of Unique.
func (s Share) Layer(i int) int {
	m, n := s.Unique, s.Uses
	switch {
	case n == m:
		return i
	case s.Assignment == "seq":
		return i * m / n
	case s.Assignment == "cycle_rev" && i >= n-m:
		return n - 1 - i
	}
	return i % m
}

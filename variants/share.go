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

// ffUnique is the one number but 0 that share.ff_unique can be: one feed-forward layer
// for the first half of the uses, and one for each other.
func (c Config) ffUnique() int { return c.Share.Uses - c.Share.Uses/2 + 1 }

// FFLayer is the feed-forward layer that a use has of those that are shared by
// share.ff_unique, −1 where each layer has its own.
func (c Config) FFLayer(use int) int {
	if c.Share.FFUnique == 0 {
		return -1
	}
	return max(0, use-c.Share.Uses/2+1)
}

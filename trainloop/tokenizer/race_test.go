//go:build race

package tokenizer

// The race detector makes tests that go through all of Unicode, or megabytes, ten times as slow; they have
// one goroutine, which it has nothing to say of.
func init() { single = false }

package launch

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"

	"march/graphgen/atomicfile"
)

// choices keeps on disk which of cuBLASLt's algorithms was the quickest for a product: to try eight takes some 30 ms a product, most of
// it to load kernels that are not taken. A choice is good for one kind of GPU and one version of cuBLASLt.
type choices struct {
	dir string // "": nothing is kept
	on  string // the GPU and the version
}

// algorithm is what cuBLASLt calls one, opaque; all zero is none.
type algorithm [64]byte

// choicesOn are those for a device. A deterministic one does not choose.
func choicesOn(o Options, version uint64) choices {
	c := choices{on: fmt.Sprintf("%s %s cuBLASLt %d", o.GPU, o.Capability, version)}
	if dir, err := os.UserCacheDir(); err == nil && !o.Deterministic {
		c.dir = filepath.Join(dir, "march", "kernels")
	}
	return c
}

func (c choices) file(product string) string {
	sum := sha256.Sum256([]byte(c.on + "\n" + product))
	return filepath.Join(c.dir, "product-"+hex.EncodeToString(sum[:16])+".algo")
}

// check is what a file ends with, so that a damaged one is none.
func (c choices) check(product string, a algorithm) string {
	sum := sha256.Sum256([]byte(c.on + "\n" + product + "\n" + string(a[:])))
	return string(sum[:])
}

// read is the choice for a product; none where it is not known.
func (c choices) read(product string) (a algorithm) {
	if c.dir == "" {
		return a
	}
	b, err := os.ReadFile(c.file(product))
	if err != nil || len(b) < len(a) {
		return algorithm{}
	}
	if copy(a[:], b); string(b[len(a):]) != c.check(product, a) {
		return algorithm{}
	}
	return a
}

// keep remembers a choice. What cannot be written costs time only.
func (c choices) keep(product string, a algorithm) {
	if c.dir != "" && os.MkdirAll(c.dir, 0o777) == nil {
		_ = atomicfile.WriteFile(c.file(product), append(a[:], c.check(product, a)...))
	}
}

package graphgen

import (
	"fmt"
	"maps"
)

// Versions of ai.onnx operators that a graph can be written in.
const (
	// Opset is what graphs are written in unless another is asked for: the newest with CUDA
	// kernels for all that march uses.
	Opset = 18
	// OldestOpset is the first with LayerNormalization.
	OldestOpset = 17
	// NewestOpset is the last that the checker of `make check-onnx` knows. What march uses has
	// changed since Opset in the element types that it takes, not in what it does.
	NewestOpset = 28
)

// CheckOpset refuses versions that graphs cannot be written in.
func CheckOpset(v int) error {
	if v < OldestOpset || v > NewestOpset {
		return fmt.Errorf("opset %d: wanted one from %d to %d", v, OldestOpset, NewestOpset)
	}
	return nil
}

// irVersion is the file format's version that came with an opset (ONNX, docs/Versioning.md).
func irVersion(opset int) int64 {
	for _, v := range []struct {
		opset int
		ir    int64
	}{{28, 14}, {25, 13}, {24, 12}, {23, 11}, {21, 10}, {19, 9}} {
		if opset >= v.opset {
			return v.ir
		}
	}
	return 8
}

// forOpset gives a node's inputs and attributes as an opset has them: before 18, reductions
// but the sum have their axes as an attribute.
func forOpset(n *Node, opset int) ([]*Tensor, Attrs) {
	if opset >= 18 || n.Op.Domain != "" || (n.Op.Name != "ReduceMax" && n.Op.Name != "ReduceSumSquare") {
		return n.In, n.Attrs
	}
	attrs := maps.Clone(n.Attrs)
	attrs["axes"] = n.Attrs.ints("_axes")
	return n.In[:1], attrs
}

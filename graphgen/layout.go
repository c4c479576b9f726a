package graphgen

import "maps"

// summedLast transposes factors of large float32 products, in a graph for a GPU, so that the dimension that is summed over stands last in
// them where that pays. Hopper's matrix units load float32 in that order only: a product of two such factors, A·Bᵀ, runs at 340 to 400 TFLOP/s
// (TF32, an H100, P1's shapes), x·W at 150 to 340, xᵀ·dy at 200 to 230. A factor is transposed that is small beside the product's other arrays.
//
// ONNX Runtime would fold the transpositions back into the products; package runtime tells it not to.
func summedLast(src *Graph) *Graph {
	if !src.gpu {
		return src
	}
	return prune(each(src, func(_ *copier, n *Node, in []*Tensor) []*Tensor {
		if n.Op.Name != "Gemm" && n.Op.Name != "Linear" || n.Attrs.bool("transB") || in[0].DType() != Float32 || !n.Out[0].Shape().Static() || !in[0].Shape().Static() {
			return nil
		}
		a, b, transA, transB := in[0], in[1], n.Attrs.bool("transA"), false
		small, large := a.bytes(), b.bytes()
		switch {
		case !a.large() && !b.large() && !n.Out[0].large() || n.Out[0].Dim(1) < leastColumns:
			return nil
		case !transA && atLeast(a.bytes()+n.Out[0].bytes(), b.bytes()): // x·W
			b, transB = SwapLast(b), true
		case n.Op.Kernel:
			return nil
		case transA && atLeast(large, small): // xᵀ·dy with the smaller x
			a, transA = SwapLast(a), false
		case transA && atLeast(small, large):
			b, transB = SwapLast(b), true
		default:
			return nil
		}
		attrs := maps.Clone(n.Attrs)
		attrs["transA"], attrs["transB"] = transA, transB
		return []*Tensor{one(n.Op.Name, attrs, append([]*Tensor{a, b}, in[2:]...)...)}
	}))
}

// leastColumns is the width of a product from which it is one of matrices, and not of a matrix with a vector.
const leastColumns = 32

// atLeast reports whether an array is small beside another: its copy costs little beside the product of both.
func atLeast(large, small int64) bool { return large >= 4*small }

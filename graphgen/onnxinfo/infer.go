package onnxinfo

import (
	"slices"

	"march/graphgen/onnxpb"
)

// infer gives a node's outputs their types, where its rule is known and its inputs' are;
// other outputs stay unknown, and are counted as such.
func (s *shapes) infer(n *onnxpb.NodeProto) {
	for _, o := range n.Output {
		s.made[o] = true
		delete(s.names, o)
	}
	if len(n.Output) == 0 || n.GetDomain() != "" && n.GetDomain() != "ai.onnx" {
		return
	}
	out := n.Output[0]
	if len(n.Input) > 0 {
		s.types[out] = s.types[n.Input[0]]
	}
	switch n.GetOpType() {
	case "Cast":
		s.types[out] = int32(integer(n, "to", 0))
	case "Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual":
		s.types[out] = 9
	case "Shape", "ArgMax":
		s.types[out] = 7
	case "Where":
		if len(n.Input) == 3 {
			s.types[out] = s.types[n.Input[1]]
		}
	case "ConstantOfShape":
		s.types[out] = 1
		for _, a := range n.Attribute {
			if a.T != nil {
				s.types[out] = a.T.GetDataType()
			}
		}
	}
	if d, ok := s.shape(n); ok && len(d) <= maxRank {
		s.dims[out] = d
		if n.GetOpType() == "LayerNormalization" {
			s.statistics(n, d)
		}
	}
	s.follow(n)
}

// statistics are a norm's further outputs, mean and reciprocal deviation, which are float32.
func (s *shapes) statistics(n *onnxpb.NodeProto, d []int64) {
	axis := integer(n, "axis", -1)
	if axis < 0 {
		axis += int64(len(d))
	}
	if axis < 0 || axis >= int64(len(d)) {
		return
	}
	d = slices.Clone(d)
	for i := axis; i < int64(len(d)); i++ {
		d[i] = 1
	}
	for _, o := range n.Output[1:] {
		s.dims[o], s.types[o] = d, 1
	}
}

// shape is the rule of each operator that march's graphs have.
func (s *shapes) shape(n *onnxpb.NodeProto) ([]int64, bool) {
	first, ok := s.known(n.Input, 0)
	if !ok {
		return nil, false
	}
	second, two := s.known(n.Input, 1)
	argument := func(i int) []int64 { // a tensor of few whole numbers
		if i >= len(n.Input) {
			return nil
		}
		return s.values[n.Input[i]]
	}
	axis := func(name string, otherwise int64) (int, bool) {
		a := integer(n, name, otherwise)
		if a < 0 {
			a += int64(len(first))
		}
		return int(a), a >= 0 && a < int64(len(first))
	}
	switch n.GetOpType() {
	case "Cast", "Identity", "Softmax", "Relu", "Sigmoid", "Tanh", "Erf", "Sqrt", "Exp", "Log", "Neg", "Sin", "Cos", "Abs", "Not", "LayerNormalization", "ScatterElements":
		return first, true
	case "Add", "Sub", "Mul", "Div", "Max", "Min", "Pow", "Mod", "And", "Or", "Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Where":
		out := first
		for i := 1; i < len(n.Input); i++ {
			d, ok := s.known(n.Input, i)
			if !ok {
				return nil, false
			}
			out = broadcast(out, d)
		}
		return out, true
	case "GatherElements":
		return second, two
	case "Gemm":
		if !two || len(first) != 2 || len(second) != 2 {
			return nil, false
		}
		return []int64{first[integer(n, "transA", 0)&1], second[1-integer(n, "transB", 0)&1]}, true
	case "MatMul":
		if !two || len(first) < 2 || len(second) < 2 {
			return nil, false
		}
		batch := broadcast(first[:len(first)-2], second[:len(second)-2])
		return append(batch, first[len(first)-2], second[len(second)-1]), true
	case "Transpose":
		perm, ok := integers(n, "perm")
		out := slices.Clone(first)
		slices.Reverse(out)
		for i, p := range perm {
			if len(perm) != len(first) || p < 0 || p >= int64(len(first)) {
				return nil, false
			}
			out[i] = first[p]
		}
		return out, ok || perm == nil
	case "Reshape":
		return reshaped(first, argument(1))
	case "Expand":
		if v := argument(1); v != nil {
			return broadcast(first, v), true
		}
	case "ConstantOfShape":
		return argument(0), argument(0) != nil
	case "Shape":
		return []int64{int64(len(first))}, true
	case "Gather":
		if a, ok := axis("axis", 0); ok && two {
			return slices.Concat(first[:a], second, first[a+1:]), true
		}
	case "Unsqueeze":
		return unsqueezed(first, argument(1))
	case "ReduceSum", "ReduceMax", "ReduceMean", "ReduceSumSquare", "ArgMax":
		axes, given := integers(n, "axes")
		if !given {
			axes = argument(1)
		}
		if n.GetOpType() == "ArgMax" {
			axes = []int64{integer(n, "axis", 0)}
		}
		return reduced(first, axes, integer(n, "keepdims", 1) != 0)
	case "Concat":
		a, ok := axis("axis", 0)
		if !ok {
			return nil, false
		}
		out := slices.Clone(first)
		for i := 1; i < len(n.Input); i++ {
			d, ok := s.known(n.Input, i)
			if !ok || len(d) != len(out) {
				return nil, false
			}
			if out[a] < 0 || d[a] < 0 {
				out[a] = unknown
			} else {
				out[a] += d[a]
			}
		}
		return out, true
	case "Slice":
		return sliced(first, argument(1), argument(2), argument(3))
	case "Split":
		a, ok := axis("axis", 0)
		parts := argument(1)
		if !ok || len(parts) != len(n.Output) {
			return nil, false
		}
		for i, o := range n.Output {
			d := slices.Clone(first)
			d[a] = parts[i]
			s.dims[o], s.types[o] = d, s.types[n.Input[0]]
		}
		return s.dims[n.Output[0]], true
	case "Range":
		if end := argument(1); len(end) == 1 && len(argument(0)) == 1 && len(argument(2)) == 1 && argument(2)[0] == 1 {
			return []int64{max(0, end[0]-argument(0)[0])}, true
		}
		return []int64{unknown}, true
	}
	return nil, false
}

// follow keeps the values of short integer tensors: what shapes are computed from.
func (s *shapes) follow(n *onnxpb.NodeProto) {
	out := n.Output[0]
	switch n.GetOpType() {
	case "Shape":
		d, ok := s.known(n.Input, 0)
		from := integer(n, "start", 0)
		to := integer(n, "end", int64(len(d)))
		if ok && from >= 0 && from <= to && to <= int64(len(d)) && !slices.Contains(d[from:to], unknown) {
			s.values[out], s.dims[out] = d[from:to], []int64{to - from}
		}
	case "Concat":
		var v []int64
		for _, in := range n.Input {
			if s.values[in] == nil || len(v)+len(s.values[in]) > maxValues {
				return
			}
			v = append(v, s.values[in]...)
		}
		s.values[out] = v
	case "Reshape", "Unsqueeze", "Identity":
		if len(n.Input) > 0 && s.values[n.Input[0]] != nil {
			s.values[out] = s.values[n.Input[0]]
		}
	case "Mul", "Add":
		if len(n.Input) != 2 {
			return
		}
		a, b := s.values[n.Input[0]], s.values[n.Input[1]]
		if len(a) == 1 && len(b) == 1 {
			v := a[0] + b[0]
			if n.GetOpType() == "Mul" {
				v = a[0] * b[0]
			}
			s.values[out] = []int64{v}
		}
	}
}

func reshaped(from, to []int64) ([]int64, bool) {
	if to == nil {
		return nil, false
	}
	out, rest, at, whole := slices.Clone(to), int64(1), -1, int64(1)
	for _, d := range from {
		if d < 0 {
			whole = unknown
			break
		}
		whole *= d
	}
	for i, d := range out {
		switch {
		case d == 0 && i < len(from):
			out[i] = from[i]
			rest *= from[i]
		case d == -1:
			at = i
		default:
			rest *= d
		}
	}
	if at >= 0 && whole >= 0 && rest > 0 {
		out[at] = whole / rest
	}
	return out, true
}

func unsqueezed(d, axes []int64) ([]int64, bool) {
	if axes == nil {
		return nil, false
	}
	out := slices.Clone(d)
	for _, a := range slices.Sorted(slices.Values(axes)) {
		if a < 0 {
			a += int64(len(d) + len(axes))
		}
		if a < 0 || a > int64(len(out)) {
			return nil, false
		}
		out = slices.Insert(out, int(a), 1)
	}
	return out, true
}

func reduced(d, axes []int64, keep bool) ([]int64, bool) {
	if axes == nil {
		return nil, false
	}
	out := []int64{}
	for i, x := range d {
		switch {
		case !slices.Contains(axes, int64(i)) && !slices.Contains(axes, int64(i-len(d))):
			out = append(out, x)
		case keep:
			out = append(out, 1)
		}
	}
	return out, true
}

func sliced(d, from, to, axes []int64) ([]int64, bool) {
	if from == nil || to == nil || len(from) != len(to) || len(axes) != len(from) {
		return nil, false
	}
	out := slices.Clone(d)
	for i, a := range axes {
		if a < 0 {
			a += int64(len(d))
		}
		if a < 0 || a >= int64(len(d)) {
			return nil, false
		}
		n := d[a]
		if n < 0 {
			continue
		}
		clamp := func(x int64) int64 {
			if x < 0 {
				x += n
			}
			return min(max(x, 0), n)
		}
		out[a] = max(0, clamp(to[i])-clamp(from[i]))
	}
	return out, true
}

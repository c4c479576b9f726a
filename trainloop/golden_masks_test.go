package trainloop

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"march/graphgen"
	"march/runtime"
	"march/trainloop/safetensors"
	"march/variants"
)

// checkMasked feeds the oracle's dropout masks to the graph that takes them as inputs.
func checkMasked(t *testing.T, rt *runtime.Runtime, g golden, want *safetensors.File, target graphgen.Target, gpu bool) {
	d := variants.Dims{Batch: g.Batch, Length: g.Seq, Decoder: g.DecoderSeq, GPU: gpu}
	built, err := g.config(t).TrainWithMasks(d)
	if err != nil {
		t.Fatal(err)
	}
	p, err := built.Compile(target)
	if err != nil {
		t.Fatal(err)
	}
	model, err := p.Encode(graphgen.EncodeOptions{Name: g.Case})
	if err != nil {
		t.Fatal(err)
	}
	s, err := rt.SessionBytes(model, runtime.SessionOptions{Kernels: target == graphgen.Fused})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	start, masks := g.start(t), 0
	in, out := map[string]*runtime.Tensor{}, map[string]*runtime.Tensor{}
	for _, x := range p.Graph.Inputs() {
		name := x.Name()
		if x.DType() == graphgen.Int64 {
			in[name] = newTensor(t, rt, runtime.Int64, x.Shape(), g.batch().Array(name))
			continue
		}
		v := make([]float32, x.Shape().Elements()) // accumulators start at zero
		if place, ok := strings.CutPrefix(name, variants.MaskName("")); ok {
			m := g.Masks.Places[place]
			if !slices.Equal(m.Shape, x.Shape()) {
				t.Fatalf("the mask of %s has the shape %v, the oracle's %v", place, x.Shape(), m.Shape)
			}
			masks++
			for i := range v {
				if goldenUnit(fmt.Sprintf("%s/0/mask/%s", g.Case, place), i) >= m.Rate {
					v[i] = float32(1 / (1 - m.Rate))
				}
			}
		} else if w, ok := start[name]; ok {
			v = w
		}
		in[name] = newTensor(t, rt, runtime.Float32, x.Shape(), v)
	}
	if masks == 0 {
		t.Fatal("the graph takes no masks")
	}
	for _, o := range p.Graph.Outputs() {
		element := runtime.Float32
		if o.Tensor.DType() == graphgen.Int64 {
			element = runtime.Int64
		}
		x, err := rt.NewTensor(element, sizes(o.Tensor.Shape())...)
		if err != nil {
			t.Fatal(err)
		}
		out[o.Name] = x
	}
	b, err := s.Bind(in, out)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Run(); err != nil {
		t.Fatal(err)
	}
	var loss [1]float32
	if err := runtime.Download(out[variants.Loss], loss[:]); err != nil {
		t.Fatal(err)
	}
	if relative(float64(loss[0]), g.LossSum) > 1e-5 {
		t.Errorf("loss %v, the oracle's %v", loss[0], g.LossSum)
	}
	g.checkGradients(t, want, func(name string, shape []int) []float32 {
		v := make([]float32, graphgen.Shape(shape).Elements())
		if x := out[variants.NewName(variants.GradName(name))]; x != nil {
			if err := runtime.Download(x, v); err != nil {
				t.Fatal(err)
			}
		}
		return v
	})
}

func sizes(s graphgen.Shape) (list []int64) {
	for _, d := range s {
		list = append(list, int64(d))
	}
	return list
}

func newTensor[T runtime.Element](t *testing.T, rt *runtime.Runtime, e runtime.ElementType, s graphgen.Shape, v []T) *runtime.Tensor {
	t.Helper()
	x, err := rt.NewTensor(e, sizes(s)...)
	if err != nil {
		t.Fatal(err)
	}
	if err := runtime.Upload(x, v); err != nil {
		t.Fatal(err)
	}
	return x
}

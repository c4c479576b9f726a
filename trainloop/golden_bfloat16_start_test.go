package trainloop

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"march/graphgen"
	"march/graphgen/onnxpb"
	"march/runtime"
	"march/trainloop/safetensors"
	"march/variants"
	"march/variants/manifest"
	"march/variants/program"
)

// bfloat16Values are TestBFloat16's start values of a program in folder, a teacher's with them: the model's own,
// changed for what makes models this small differ by more in bfloat16, in PyTorch's autocast as here:
//   - Unscaled attention at 16 dimensions is very steep, so matrices are halved.
//   - ReLU's slope jumps at zero, and rounding takes values across (√0.4 % of a gradient's norm): where a model
//     has ReLU, its inputs stay away from zero.
//   - What rounding parameters does is no error of the arithmetic, and larger than all of it, so values are rounded.
func bfloat16Values(t *testing.T, folder string, c variants.Config, m *manifest.Manifest) map[string][]float32 {
	t.Helper()
	f, err := safetensors.Open(filepath.Join(folder, program.InitFile))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	values := map[string][]float32{}
	for _, p := range slices.Concat(m.Parameters, m.Teacher) {
		name, v := strings.TrimPrefix(p.Name, variants.TeacherName("")), make([]float32, p.Elements())
		if _, ok := f.Lookup(name); !ok { // a teacher of another size
			for i := range v {
				v[i] = 0.02 * float32(math.Sin(float64(i*i)))
			}
		} else if err := safetensors.Read(f, name, v); err != nil {
			t.Fatal(err)
		}
		if p.Decay && !strings.HasPrefix(name, "embed.") {
			for i := range v {
				v[i] /= 2
			}
		}
		if hasReLU(c) {
			awayFromZero(c, p.Shape, name, v)
		}
		for i, x := range v {
			v[i] = math.Float32frombits(uint32(bfloat16(x)) << 16)
		}
		values[p.Name] = v
	}
	return values
}

func hasReLU(c variants.Config) bool {
	return c.Act == "relu" || c.Act == "squared_relu" || c.Mix != "none"
}

// awayFromZero changes the start values v of a matrix so that no input of ReLU is next to zero, and yet every hidden unit
// is on for about half of the tokens and off for the others. It takes a direction u = (1, −1, 1, …) of the
// hidden states, of mean zero as LayerNorm leaves it, along which they have their token's sign and nothing else:
//   - no row of width D has a part along u, so that no layer changes what the residual connections pass on,
//   - but the tokens' rows, which get u (of even tokens) or −u,
//   - and the matrices in front of ReLU get columns that are mostly u or −u, in turn.
//
// Without a residual connection around attention, attention itself passes the sign on: queries meet keys of
// their own sign, and values and outputs contain it. All additions are one pattern, ± like a chessboard, in
// units of the matrix' own root mean square.
func awayFromZero(c variants.Config, shape []int, name string, v []float32) {
	if len(shape) != 2 {
		return
	}
	keep, add := 1.0, 0.0
	passed := !c.Attn.Residual && strings.Contains(name, ".attn.")
	switch last := name[strings.LastIndex(name, ".")+1:]; {
	case name == "embed.tokens":
		add = 0.75
	case last == "up", last == "gate", last == "fast", last == "dense":
		keep, add = 0.125, 0.75
	case passed && last == "wq":
		add = 1
	case passed && last == "wk": // a large common part of the keys would meet the rounding of the queries' gradients
		add = 0.25
	case passed && (last == "wv" || last == "wo"):
		add = 0.3
	}
	squares := 0.0
	for _, x := range v {
		squares += float64(x) * float64(x)
	}
	unit := math.Sqrt(squares / float64(len(v)))
	sign := func(i int) float64 { return float64(1 - 2*(i%2)) }
	for i := range shape[0] {
		row, along := v[i*shape[1]:(i+1)*shape[1]], 0.0
		if len(row) == c.D {
			for j, x := range row {
				along += float64(x) * sign(j) / float64(c.D)
			}
		}
		for j, x := range row {
			row[j] = float32(keep*(float64(x)-along*sign(j)) + add*unit*sign(i+j))
		}
	}
}

// TestAwayFromZero holds the inputs of all ReLUs in the models of TestBFloat16 to what their start values are for:
// none within a quarter of their root mean square around zero, and every unit on for a token and off for another.
func TestAwayFromZero(t *testing.T) {
	cpu, err := runtime.Open(runtime.Options{Device: runtime.Device{Kind: "cpu"}, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer cpu.Close()
	files, err := filepath.Glob(filepath.Join(goldens, "*", "case.json"))
	if err != nil {
		t.Fatal(err)
	}
	nearest, ran := math.Inf(1), 0
	for _, file := range files {
		g, _ := readGolden(t, filepath.Dir(file))
		if c := g.config(t); len(g.Masks.Places) > 0 || !hasReLU(c) {
			continue
		}
		ran++
		t.Run(g.Case, func(t *testing.T) {
			for name, z := range reluInputs(t, cpu, g) {
				squares, least, on := 0.0, math.Inf(1), make([]int, z.units)
				for i, x := range z.values {
					squares += float64(x) * float64(x)
					least = min(least, math.Abs(float64(x)))
					if x > 0 {
						on[i%z.units]++
					}
				}
				least /= math.Sqrt(squares / float64(len(z.values)))
				if nearest = min(nearest, least); least < 0.25 {
					t.Errorf("%s: a value is %.2g of the root mean square from zero", name, least)
				}
				if rows := len(z.values) / z.units; slices.Min(on) == 0 || slices.Max(on) == rows {
					t.Errorf("%s: units are on for %d to %d of %d tokens", name, slices.Min(on), slices.Max(on), rows)
				}
			}
		})
	}
	if ran < 40 {
		t.Errorf("%d models with ReLU, want at least 40", ran)
	}
	t.Logf("%d models: nearest to zero is %.2g of the root mean square", ran, nearest)
}

type reluInput struct {
	values []float32 // [tokens, units]
	units  int
}

// reluInputs runs the first batch through a case's grad.onnx in float32 and gives what its operators Relu read.
func reluInputs(t *testing.T, rt *runtime.Runtime, g golden) map[string]reluInput {
	t.Helper()
	folder, c := t.TempDir(), g.config(t)
	o := program.Options{Target: graphgen.ORT, Batch: g.Batch, Length: g.Seq, DecoderLength: g.DecoderSeq, Graphs: []string{"grad"}}
	m, err := program.Write(folder, variants.Variant{Study: "goldens", Base: g.Case, Config: c}, o)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(folder, "grad.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	model := &onnxpb.ModelProto{}
	if err := proto.Unmarshal(data, model); err != nil {
		t.Fatal(err)
	}
	model.Graph.Output = nil
	for _, n := range model.Graph.Node {
		if n.GetOpType() == "Relu" {
			model.Graph.Output = append(model.Graph.Output, &onnxpb.ValueInfoProto{Name: &n.Input[0]})
		}
	}
	if data, err = proto.Marshal(model); err != nil {
		t.Fatal(err)
	}
	s, err := rt.SessionBytes(data, runtime.SessionOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	values, batch := bfloat16Values(t, folder, c, m), g.batch()
	ids := map[string][]int64{"tokens": batch.Tokens, "labels": batch.Labels, "lengths": batch.Lengths, "decoder_tokens": batch.DecoderTokens}
	tensors := func(ports []runtime.Info) map[string]*runtime.Tensor {
		all := map[string]*runtime.Tensor{}
		for _, p := range ports {
			tensor, err := rt.NewTensor(p.Type, p.Shape...) // an accumulator stays zero
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { tensor.Close() })
			if v := values[p.Name]; v != nil {
				err = runtime.Upload(tensor, v)
			} else if v := ids[p.Name]; v != nil {
				err = runtime.Upload(tensor, v)
			}
			if err != nil {
				t.Fatalf("%s: %v", p.Name, err)
			}
			all[p.Name] = tensor
		}
		return all
	}
	outputs := tensors(s.Outputs())
	b, err := s.Bind(tensors(s.Inputs()), outputs)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.Run(); err != nil {
		t.Fatal(err)
	}
	found := map[string]reluInput{}
	for name, tensor := range outputs {
		z := reluInput{make([]float32, tensor.Len()), int(tensor.Shape()[1])}
		if err := runtime.Download(tensor, z.values); err != nil {
			t.Fatal(err)
		}
		found[name] = z
	}
	if len(found) < c.Share.Uses {
		t.Fatalf("%d ReLUs in a model of %d layers", len(found), c.Share.Uses)
	}
	return found
}

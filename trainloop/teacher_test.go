package trainloop

import (
	"math"
	"path/filepath"
	"strings"
	"testing"

	"march/graphgen"
	"march/graphgen/atomicfile"
	"march/variants"
	"march/variants/program"
)

// TestTeachersDistribution: with alpha 0 and temperature 1 the loss, but for the entropy of
// the teacher's distribution, is the cross-entropy to it, worked out from both models'
// logits; and the gradient is that of this loss.
func TestTeachersDistribution(t *testing.T) {
	rt := openRuntime(t)
	for _, arch := range []string{variants.Decoder, variants.Encoder} {
		o, _ := small(t, rt, "distill+init_std=0.3+training.distill.alpha=0+training.distill.temperature=1"+sized, arch, 1)
		student, _ := small(t, rt, "baseline+init_std=0.3"+sized, arch, 1) // the same start values, with an infer.onnx for them alone
		teacher, _ := small(t, rt, "baseline+init_std=0.1"+data, arch, 1)
		e, err := NewEngine(rt, o.Program, EngineOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		if err := e.LoadStart(o.Program); err != nil {
			t.Fatal(err)
		}
		if err := e.LoadTeacher(filepath.Join(teacher.Program, program.InitFile)); err != nil {
			t.Fatal(err)
		}
		b := e.Shapes().New()
		o.Batches.Fill(1, b)
		b.Labels[3], b.Labels[9] = graphgen.IgnoreLabel, graphgen.IgnoreLabel
		sums, err := micro(e, b)
		if err != nil {
			t.Fatal(err)
		}
		s, q := logits(t, rt, student.Program, b), logits(t, rt, teacher.Program, b)
		cross, entropy, plain := 0.0, 0.0, 0.0
		for i, label := range b.Labels {
			if label == graphgen.IgnoreLabel {
				continue
			}
			p, r := logSoftmax(s[32*i:32*(i+1)]), logSoftmax(q[32*i:32*(i+1)])
			for j := range p {
				cross -= math.Exp(r[j]) * p[j]
				entropy -= math.Exp(r[j]) * r[j]
			}
			plain -= p[label]
		}
		if got := sums.Further[variants.DistillSum] + entropy; relative(got, cross) > 1e-5 || relative(sums.Loss, plain) > 1e-5 || cross-entropy < 0.1 {
			t.Errorf("%s: cross-entropy to the teacher %v, to the labels %v; by hand %v and %v (entropy %v)", arch, got, sums.Loss, cross, plain, entropy)
		}
		checkTaughtGradient(t, e, o, sums.Further[variants.DistillSum])
	}
}

// checkTaughtGradient: along its gradient the distance changes as the gradient says.
func checkTaughtGradient(t *testing.T, e *Engine, o Options, distance float64) {
	t.Helper()
	square := 0.0
	grads, start := map[string][]float32{}, map[string][]float32{}
	for _, p := range e.Manifest.Parameters {
		g, err := e.tensor(kindGrads, p)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range g {
			square += float64(x) * float64(x)
		}
		grads[p.Name], start[p.Name] = g, download[float32](t, e.views[p.Name])
	}
	b := e.replicas[0].feed.from
	at := func(step float64) float64 {
		for name, g := range grads {
			moved := make([]float32, len(g))
			for i := range g {
				moved[i] = start[name][i] + float32(step*float64(g[i]))
			}
			upload(t, e.views[name], moved)
		}
		x := e.Shapes().New()
		b.Fill(0, x)
		sums, err := micro(e, x)
		if err != nil {
			t.Fatal(err)
		}
		return sums.Further[variants.DistillSum]
	}
	step := 1e-3 * distance / square
	if got := (at(step) - at(-step)) / (2 * step); relative(got, square) > 0.02 {
		t.Errorf("along the gradient the distance changes by %v, the gradient says %v", got, square)
	}
}

func logSoftmax(x []float32) []float64 {
	sum, y := 0.0, make([]float64, len(x))
	for _, v := range x {
		sum += math.Exp(float64(v))
	}
	for i, v := range x {
		y[i] = float64(v) - math.Log(sum)
	}
	return y
}

// TestTeacherFiles: what is given as a teacher must be what the settings say and fit the
// program, and a run goes on with no other.
func TestTeacherFiles(t *testing.T) {
	rt := openRuntime(t)
	base, _ := small(t, rt, "baseline"+data, variants.Decoder, 1)
	wide, _ := small(t, rt, "baseline+ff=36"+data, variants.Decoder, 1)
	o, _ := small(t, rt, "distill"+sized, variants.Decoder, 4)
	file := func(x Options) (string, string) {
		path := filepath.Join(x.Program, program.InitFile)
		sum, err := atomicfile.SHA256(path)
		if err != nil {
			t.Fatal(err)
		}
		return path, sum
	}
	refuse := func(o Options, want string) {
		t.Helper()
		if _, err := Train(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, wanted %q in it", err, want)
		}
	}
	fresh := func(o Options) Options { o.Dir = filepath.Join(t.TempDir(), "run"); return o }
	refuse(fresh(o), "has a teacher, whose parameters are not given")
	x := fresh(o)
	x.Teacher, _ = file(base)
	refuse(x, "has the sha256")
	x = fresh(o)
	x.Teacher, x.Settings.Teacher = file(wide)
	refuse(x, `tensor "decoder.0.ff.up" has the shape [96 36], the program's teacher [96 384]`)
	x = fresh(base)
	x.Teacher, x.Settings.Teacher = file(base)
	refuse(x, "has no teacher, but")

	o.Teacher, o.Settings.Teacher = file(base)
	r, err := Train(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if d := r.Metrics[3].PerLabel[variants.DistillSum]; !(d > 0) {
		t.Errorf("the last step's distance is %v a label", d)
	}
	other := o
	other.Resume = true
	other.Teacher, other.Settings.Teacher = file(wide)
	refuse(other, "teacher_sha256 (was ")
}

package variants

import (
	"slices"
	"strings"
	"testing"
)

// TestTeacher: the teacher is the named variant with the student's data and budget, and
// nothing else of it.
func TestTeacher(t *testing.T) {
	for _, c := range []struct{ student, arch, want string }{
		{"distill", Decoder, "sharing/baseline"},
		{"distill", Encoder, "sharing/baseline"},
		{"distill+vocab=512+length=64+training.steps=7+heads=12+qkv_dim=8+training.distill.alpha=0.1", Decoder, "sharing/baseline+vocab=512+length=64+training.steps=7"},
		{"deep_cycle+training.distill.teacher=very_wide_seq+training.prune.sparsity=0.5", Encoder, "sharing/very_wide_seq"},
		{"heads/rope+training.distill.teacher=heads/baseline", EncoderDecoder, "heads/baseline"},
		{"baseline", Decoder, ""},
	} {
		v := must[Variant](t)(Find(c.student, "tiny", c.arch))
		teacher, ok, err := v.Teacher()
		if err != nil || ok != (c.want != "") || ok && teacher.FullName() != c.want {
			t.Errorf("%s learns from %s (%v), wanted %q", c.student, teacher.FullName(), err, c.want)
		}
		if ok && (*v.Config.Teacher != teacher.Config || teacher.Config.Arch != c.arch) || !ok && v.Config.Teacher != nil {
			t.Errorf("%s has the teacher %+v", c.student, v.Config.Teacher)
		}
	}
	// Equal configs compare, however they came about.
	a, b := mustFind(t, "baseline+training.distill.teacher=baseline", "tiny"), mustFind(t, "distill", "tiny")
	if a.Config != b.Config {
		t.Error("two configs with the same teacher differ")
	}
	file := must[Variant](t)(ReadYAML([]byte("variant: distill\nvocab: 300\n"), "tiny", ""))
	if file.Config.Teacher == nil || file.Config.Teacher.Vocab != 300 {
		t.Errorf("from a file: %+v", file.Config.Teacher)
	}
	for student, want := range map[string]string{
		"baseline+training.distill.teacher=basline": `training.distill.teacher: unknown variant "basline"; did you mean baseline`,
		"baseline+training.distill.teacher=distill": "training.distill.teacher distill learns from baseline itself",
		"distill+training.distill.temperature=0":    "training.distill.temperature is 0, wanted a number from 0.05",
		"distill+training.distill.alpha=1.5":        "training.distill.alpha is 1.5, wanted a number from 0 to 1",
		"prune+training.prune.start=0.9":            "training.prune.start 0.9 is not before training.prune.end 0.8",
		"prune+training.prune.every=0":              "training.prune.every is 0, wanted a number from 1",
		"rope+training.distill.teacher=baseline":    `architecture "encoder-decoder" is not one of decoder, encoder`,
	} {
		if _, err := Find(student, "tiny", ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, wanted %q in it", student, err, want)
		}
	}
	if _, err := ReadYAML([]byte("training:\n  distill:\n    teacher: baseline+heads=12\n"), "tiny", ""); err == nil || !strings.Contains(err.Error(), "a variant's name without changes") {
		t.Errorf("a teacher with changes: error %v", err)
	}
	// Configs put together by hand.
	c := b.Config
	c.Vocab = 300
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "training.distill.teacher baseline has vocab 2048, the model has vocab 300") {
		t.Errorf("another vocabulary: error %v", err)
	}
	c = b.Config
	c.Length = 64
	if _, err := c.Train(Dims{Batch: 1, Length: 64}); err == nil || !strings.Contains(err.Error(), "training.distill.teacher baseline has length 128, the model has length 64") {
		t.Errorf("another length: error %v", err)
	}
	c.Teacher = nil
	if _, err := c.Train(Dims{Batch: 1, Length: 64}); err == nil || !strings.Contains(err.Error(), "training.distill.teacher baseline: the config came without") {
		t.Errorf("no teacher: error %v", err)
	}
}

// TestTaughtGraphs: what graphs take for a teacher and for masks, and that those which do
// not train know neither.
func TestTaughtGraphs(t *testing.T) {
	v := mustFind(t, "distill+training.prune.sparsity=0.5+dropout.rate=0.1", "tiny")
	c := v.Config
	teacher, err := c.TeacherParameters()
	if err != nil {
		t.Fatal(err)
	}
	var taught []string
	for _, p := range teacher {
		taught = append(taught, p.Name)
	}
	for kind, build := range map[string]func(Dims) (*Graph, error){"grad": c.Train, "step": c.Single} {
		g := must[*Graph](t)(build(Dims{Batch: 2, Length: 16}))
		names := map[string]bool{}
		for _, x := range g.Inputs() {
			names[x.Name()] = true
		}
		for _, p := range g.Parameters {
			if want := len(p.Shape) == 2 && !strings.HasPrefix(p.Name, "embed."); names[PruneMaskName(p.Name)] != want {
				t.Errorf("%s: %s has a mask %t, wanted %t", kind, p.Name, !want, want)
			}
			if strings.HasPrefix(p.Name, "teacher.") {
				t.Errorf("%s trains %s", kind, p.Name)
			}
		}
		for _, name := range taught {
			if !names[name] {
				t.Errorf("%s has no input %s", kind, name)
			}
		}
		_, out := ports(g)
		if !slices.Contains(out, "distill_sum float32[]") || !slices.Contains(out, "loss_sum float32[]") {
			t.Errorf("%s gives %v", kind, out[:min(4, len(out))])
		}
	}
	for kind, build := range map[string]func() (*Graph, error){"eval": c.Eval, "infer": c.Infer} {
		for _, x := range must[*Graph](t)(build()).Inputs() {
			if strings.HasPrefix(x.Name(), "teacher.") || strings.HasSuffix(x.Name(), ".mask") {
				t.Errorf("%s takes %s", kind, x.Name())
			}
		}
	}
}

package variants

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Variant is a named model at a scale.
type Variant struct {
	Study   string
	Base    string   // the catalogue's name
	Changes []string // axis=value, beyond the catalogue's
	Doc     string   // one line: what is different about it
	Source  string   // where the idea and the sizes are from
	Scale   string
	Config  Config

	original Config // the catalogue's
}

// Name is the variant's name inside its study: deep_cycle, baseline+heads=12.
func (v Variant) Name() string { return strings.Join(append([]string{v.Base}, v.Changes...), "+") }

// FullName is study/name.
func (v Variant) FullName() string { return v.Study + "/" + v.Name() }

// Scales lists the sizes that every variant has, largest first.
func Scales() []string { return []string{"paper", "small", "tiny"} }

// Studies lists the catalogue's studies.
func Studies() []string { return []string{"sharing", "plain"} }

// entry is a line of the catalogue: a change to its study's baseline at a scale.
type entry struct {
	study, name, doc, source string
	archs                    []string
	config                   func(scale string) (Config, error)
}

const (
	sharingSource = "study sharing (two architectures, six shapes, three assignments); the assignments after Takase and Kiyono, \"Lessons on Parameter Sharing across Layers in Transformers\" (2021); architecture and sizes are march's choice"
	plainSource   = "Radford et al., GPT-2 (2019), as used for the reference workloads P1 and P2"
)

// shape is a row of study sharing's table: deep has the baseline's parameters and twice
// its depth, very_deep three times; wide keeps the depth, and half the layers pay for
// width, very_wide more so; wide_deep is both.
type shape struct {
	name         string
	unique, uses int
	width        int // 0, 1, 2: which of the scale's widths
}

var shapes = []shape{
	{"deep", 6, 12, 0},
	{"very_deep", 6, 18, 0},
	{"wide", 3, 6, 1},
	{"very_wide", 2, 6, 2},
	{"wide_deep", 3, 12, 1},
}

func (s shape) doc(assignment string) string {
	wider := ""
	if s.width > 0 {
		wider = "wider "
	}
	return fmt.Sprintf("%d %slayers, %d uses, %s", s.unique, wider, s.uses, assignment)
}

var assignments = []struct{ name, doc string }{
	{"seq", "in blocks"},
	{"cycle", "cycled"},
	{"cycle_rev", "reversed end"},
}

// scaleSizes are the sizes of study sharing at each scale.
var scaleSizes = map[string]struct {
	widths        [3]int
	ffStep        int
	vocab, length int
	tokens, steps int
	rate          float64
}{
	"paper": {[3]int{384, 512, 576}, 64, 10_000, 512, 16_384, 10_000, 1e-3},
	"small": {[3]int{192, 256, 288}, 32, 8_192, 256, 4_096, 3_000, 2e-3},
	"tiny":  {[3]int{96, 128, 144}, 16, 2_048, 128, 512, 900, 3e-3},
}

// headsOf are the heads that go with the widths.
var headsOf = [3]int{6, 8, 9}

// catalogue lists every variant in the order of the studies' tables.
var catalogue = func() []entry {
	decoder := []string{"decoder"}
	list := []entry{{"sharing", "baseline", "GPT-Neo-like, nothing shared", sharingSource, decoder, gptNeo}}
	for _, s := range shapes {
		for _, a := range assignments {
			list = append(list, entry{"sharing", s.name + "_" + a.name,
				s.doc(a.doc), sharingSource, decoder,
				func(scale string) (Config, error) { return shared(scale, s, a.name) }})
		}
	}
	return append(list, entry{"plain", "gpt2", "GPT-2-like: all biases, scaled global attention", plainSource, decoder, gpt2})
}()

// gptNeo is study sharing's decoder.
func gptNeo(scale string) (Config, error) {
	z := scaleSizes[scale]
	d := z.widths[0]
	return Config{
		Arch: "decoder", Vocab: z.vocab, Length: z.length, D: d,
		Share: Share{Unique: 6, Uses: 6, Assignment: "seq"},
		Heads: headsOf[0], QKVDim: d / headsOf[0], FF: 4 * d, Act: "gelu_tanh",
		Bias:    Bias{Out: true, FF: true},
		Norm:    Norm{Kind: "layer", Eps: 1e-5},
		Attn:    Attn{Local: "alternate"},
		Pos:     Pos{Kind: "learned", Std: 0.02},
		InitStd: 0.02,
		Training: Training{
			TokensPerStep: z.tokens, Steps: z.steps, Rate: z.rate, Schedule: "cosine", Warmup: 0.1, FinalRate: 0.1, Cooldown: 0.2,
			Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Decay: 0.1, Clip: 1,
		},
	}, nil
}

// gpt2 is the plain decoder of the reference workloads.
func gpt2(scale string) (Config, error) {
	c, err := gptNeo(scale)
	c.Bias = Bias{QKV: true, Out: true, FF: true}
	c.Attn = Attn{Scaled: true, Local: "none"}
	return c, err
}

// shared is a shape of study sharing: wider layers get the feed-forward width that
// brings the parameters nearest to the baseline's.
func shared(scale string, s shape, assignment string) (Config, error) {
	base, err := gptNeo(scale)
	if err != nil {
		return base, err
	}
	z, c := scaleSizes[scale], base
	c.Share = Share{Unique: s.unique, Uses: s.uses, Assignment: assignment}
	c.D, c.Heads = z.widths[s.width], headsOf[s.width]
	c.QKVDim = c.D / c.Heads
	if s.width == 0 {
		return c, nil
	}
	return c.solveFF(base, z.ffStep)
}

// Find gives a variant by name: study/name or a bare name, with further changes behind
// plus signs (baseline+heads=12+qkv_dim=8). A bare name means study sharing's if it has
// it. Empty arch means the first that the variant has.
func Find(name, scale, arch string) (Variant, error) {
	if !slices.Contains(Scales(), scale) {
		return Variant{}, fmt.Errorf("scale %q is not one of %s", scale, strings.Join(Scales(), ", "))
	}
	base, changes, _ := strings.Cut(name, "+")
	i := slices.IndexFunc(catalogue, func(e entry) bool { return e.study+"/"+e.name == base })
	if i < 0 {
		i = slices.IndexFunc(catalogue, func(e entry) bool { return e.name == base })
	}
	if i < 0 {
		return Variant{}, fmt.Errorf("unknown variant %q%s (march list names them all)", base, suggest(base, names(strings.Contains(base, "/"))))
	}
	e := catalogue[i]
	if arch != "" && !slices.Contains(e.archs, arch) {
		return Variant{}, fmt.Errorf("variant %s: architecture %q is not one of %s", e.name, arch, strings.Join(e.archs, ", "))
	}
	c, err := e.config(scale)
	v := Variant{Study: e.study, Base: e.name, Doc: e.doc, Source: e.source, Scale: scale, Config: c, original: c}
	if err == nil {
		err = c.Validate()
	}
	if err == nil && changes != "" {
		err = v.change(strings.Split(changes, "+"))
	}
	if err != nil {
		return Variant{}, fmt.Errorf("variant %s: %w", name, err)
	}
	return v, nil
}

// change sets axes. The name then has what differs from the catalogue, each axis once and
// in the order of the axes, so that one model has one name.
func (v *Variant) change(changes []string) error {
	if err := v.Config.SetAll(changes); err != nil {
		return err
	}
	v.Changes = v.Config.Difference(v.original)
	return nil
}

// With applies further changes to a variant.
func (v Variant) With(changes []string) (Variant, error) {
	if len(changes) == 0 {
		return v, nil
	}
	if err := v.change(changes); err != nil {
		return v, fmt.Errorf("variant %s: %w", v.Base, err)
	}
	return v, nil
}

// Match lists the names that a pattern stands for, in the catalogue's order: a name, a
// name with changes, or a glob over full or bare names (deep_*, sharing/*).
func Match(pattern string) ([]string, error) {
	base, changes, changed := strings.Cut(pattern, "+")
	if !strings.ContainsAny(base, "*?[") {
		return []string{pattern}, nil
	}
	var list []string
	for _, e := range catalogue {
		full := e.study + "/" + e.name
		short, err := path.Match(base, e.name)
		if err != nil {
			return nil, fmt.Errorf("variant pattern %q: %w", pattern, err)
		}
		if long, _ := path.Match(base, full); short || long {
			if changed {
				full += "+" + changes
			}
			list = append(list, full)
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("variant pattern %q matches nothing (march list names all variants)", pattern)
	}
	return list, nil
}

// Names lists the full names of a study's variants, or of all with study "".
func Names(study string) []string {
	var list []string
	for _, e := range catalogue {
		if study == "" || e.study == study {
			list = append(list, e.study+"/"+e.name)
		}
	}
	return list
}

// Archs lists the architectures of a variant by full name.
func Archs(full string) []string {
	for _, e := range catalogue {
		if e.study+"/"+e.name == full {
			return e.archs
		}
	}
	return nil
}

// Baseline is the variant that a study compares with.
func Baseline(study string) string {
	for _, e := range catalogue {
		if e.study == study {
			return e.study + "/" + e.name
		}
	}
	return ""
}

func names(full bool) []string {
	list := make([]string, len(catalogue))
	for i, e := range catalogue {
		list[i] = e.name
		if full {
			list[i] = e.study + "/" + e.name
		}
	}
	return list
}

package variants

import (
	"math"
	"slices"
	"strings"
	"testing"
)

// TestCatalogue: the names are those of the studies, each with its words and source, and
// each config is one that makes sense.
func TestCatalogue(t *testing.T) {
	want := []string{"sharing/baseline"}
	for _, shape := range []string{"deep", "very_deep", "wide", "very_wide", "wide_deep"} {
		for _, assignment := range []string{"seq", "cycle", "cycle_rev"} {
			want = append(want, "sharing/"+shape+"_"+assignment)
		}
	}
	if got := Names("sharing"); !slices.Equal(got, want) {
		t.Errorf("study sharing is %v", got)
	}
	if got := Names(""); !slices.Equal(got, append(want, "plain/gpt2")) {
		t.Errorf("all names are %v", got)
	}
	if got := Names("nothing"); len(got) != 0 {
		t.Errorf("a study that is none has %v", got)
	}
	for _, name := range Names("") {
		for _, scale := range Scales() {
			v := mustFind(t, name, scale)
			if v.FullName() != name || v.Scale != scale || v.Doc == "" || v.Source == "" || len(v.Changes) != 0 {
				t.Errorf("%s at %s: %+v", name, scale, v)
			}
			if err := v.Config.Validate(); err != nil {
				t.Errorf("%s at %s: %v", name, scale, err)
			}
		}
		if !slices.Equal(Archs(name), []string{"decoder"}) {
			t.Errorf("%s has the architectures %v", name, Archs(name))
		}
	}
	for study, want := range map[string]string{"sharing": "sharing/baseline", "plain": "plain/gpt2", "nothing": ""} {
		if got := Baseline(study); got != want {
			t.Errorf("the baseline of %s is %q", study, got)
		}
	}
	for _, study := range Studies() {
		if Baseline(study) == "" {
			t.Errorf("study %s has no variants", study)
		}
	}
	if Archs("sharing/nothing") != nil {
		t.Error("a variant that is none has architectures")
	}
}

// TestShapes compares with the study's table, row by row.
func TestShapes(t *testing.T) {
	type row struct {
		m, n, d, heads, ff int
	}
	for scale, want := range map[string]map[string]row{
		"paper": {"baseline": {6, 6, 384, 6, 1536}, "deep": {6, 12, 384, 6, 1536}, "very_deep": {6, 18, 384, 6, 1536},
			"wide": {3, 6, 512, 8, 1984}, "very_wide": {2, 6, 576, 9, 2560}, "wide_deep": {3, 12, 512, 8, 1984}},
		"small": {"baseline": {6, 6, 192, 6, 768}, "deep": {6, 12, 192, 6, 768}, "very_deep": {6, 18, 192, 6, 768},
			"wide": {3, 6, 256, 8, 864}, "very_wide": {2, 6, 288, 9, 1024}, "wide_deep": {3, 12, 256, 8, 864}},
		"tiny": {"baseline": {6, 6, 96, 6, 384}, "deep": {6, 12, 96, 6, 384}, "very_deep": {6, 18, 96, 6, 384},
			"wide": {3, 6, 128, 8, 512}, "very_wide": {2, 6, 144, 9, 688}, "wide_deep": {3, 12, 128, 8, 512}},
	} {
		base, err := mustFind(t, "baseline", scale).Config.count()
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range Names("sharing") {
			v := mustFind(t, name, scale)
			shape := strings.TrimPrefix(name, "sharing/")
			for _, a := range []string{"_seq", "_cycle_rev", "_cycle"} {
				shape = strings.TrimSuffix(shape, a)
			}
			c := v.Config
			if got := (row{c.Share.Unique, c.Share.Uses, c.D, c.Heads, c.FF}); got != want[shape] {
				t.Errorf("%s at %s: %+v, wanted %+v", name, scale, got, want[shape])
			}
			if name != "sharing/baseline" && !strings.HasSuffix(name, "_"+c.Share.Assignment) {
				t.Errorf("%s assigns by %s", name, c.Share.Assignment)
			}
			if c.QKVDim*c.Heads != c.D {
				t.Errorf("%s at %s: %d heads of %d are not %d", name, scale, c.Heads, c.QKVDim, c.D)
			}
			n, err := c.count()
			if err != nil {
				t.Fatal(err)
			}
			if off := math.Abs(float64(n)/float64(base) - 1); off > 0.007 {
				t.Errorf("%s at %s has %d parameters, the baseline %d: %.2f %% off", name, scale, n, base, 100*off)
			}
		}
	}
}

// TestScales compares vocabulary, length and budget with the table of scales.
func TestScales(t *testing.T) {
	for scale, want := range map[string][5]float64{
		"paper": {10_000, 512, 16_384, 10_000, 1e-3}, "small": {8_192, 256, 4_096, 3_000, 2e-3}, "tiny": {2_048, 128, 512, 900, 3e-3},
	} {
		for _, name := range Names("") {
			c := mustFind(t, name, scale).Config
			o := c.Training
			if got := [5]float64{float64(c.Vocab), float64(c.Length), float64(o.TokensPerStep), float64(o.Steps), o.Rate}; got != want {
				t.Errorf("%s at %s: %v, wanted %v", name, scale, got, want)
			}
			if o.Schedule != "cosine" || o.Warmup != 0.1 || o.FinalRate != 0.1 || o.Beta1 != 0.9 || o.Beta2 != 0.95 || o.Clip != 1 || o.Decay != 0.1 {
				t.Errorf("%s at %s trains with %+v", name, scale, o)
			}
		}
	}
}

func TestFind(t *testing.T) {
	for name, want := range map[string]string{
		"baseline": "sharing/baseline", "gpt2": "plain/gpt2", "plain/gpt2": "plain/gpt2",
		"baseline+heads=12+qkv_dim=8": "sharing/baseline+heads=12+qkv_dim=8",
	} {
		v, err := Find(name, "tiny", "decoder")
		if err != nil || v.FullName() != want {
			t.Errorf("%s is %s (%v), wanted %s", name, v.FullName(), err, want)
		}
	}
	v := mustFind(t, "baseline+heads=12+qkv_dim=8", "tiny")
	if v.Config.Heads != 12 || v.Config.QKVDim != 8 || v.Base != "baseline" || len(v.Changes) != 2 {
		t.Errorf("%+v", v)
	}
	for _, c := range []struct{ name, scale, arch, want string }{
		{"basline", "tiny", "", `unknown variant "basline"; did you mean baseline? (march list names them all)`},
		{"very_wide_cicle", "tiny", "", "did you mean very_wide_cycle"},
		{"sharing/basline", "tiny", "", "did you mean sharing/baseline?"},
		{"plain/baseline", "tiny", "", `unknown variant "plain/baseline"`},
		{"zzz", "tiny", "", `unknown variant "zzz" (march list`},
		{"", "tiny", "", `unknown variant ""`},
		{"baseline", "huge", "", `scale "huge" is not one of paper, small, tiny`},
		{"baseline", "tiny", "encoder", `variant baseline: architecture "encoder" is not one of decoder`},
		{"baseline+heads", "tiny", "", `variant baseline+heads: "heads": wanted axis=value`},
		{"baseline+hats=3", "tiny", "", `variant baseline+hats=3: unknown axis "hats"`},
		{"baseline+share.uses=7", "tiny", "", "share.uses 7 is not a multiple of share.unique 6"},
		{"baseline+", "tiny", "", ""},
	} {
		v, err := Find(c.name, c.scale, c.arch)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s at %s: error %v, wanted %q in it", c.name, c.scale, err, c.want)
		}
		if err != nil && v.Base != "" {
			t.Errorf("%s: an error comes with %+v", c.name, v)
		}
	}
}

func TestWith(t *testing.T) {
	v := mustFind(t, "baseline+heads=12", "tiny")
	w, err := v.With([]string{"qkv_dim=8", "glu=true"})
	if err != nil || w.Name() != "baseline+heads=12+qkv_dim=8+glu=true" || !w.Config.GLU || v.Config.GLU || v.Name() != "baseline+heads=12" {
		t.Errorf("%s of %s (%v)", w.Name(), v.Name(), err)
	}
	if same, err := v.With(nil); err != nil || same.Name() != v.Name() || same.Config != v.Config {
		t.Errorf("without changes it is %s (%v)", same.Name(), err)
	}
	// Two that come of one do not share their lists.
	a, _ := w.With([]string{"act=silu"})
	b, _ := w.With([]string{"act=relu"})
	if a.Name() == b.Name() || a.Config.Act != "silu" {
		t.Errorf("%s and %s", a.Name(), b.Name())
	}
	if _, err := v.With([]string{"kv_heads=5"}); err == nil || !strings.Contains(err.Error(), "variant baseline: kv_heads 5 does not divide heads 12") {
		t.Errorf("error %v", err)
	}
}

func TestMatch(t *testing.T) {
	for pattern, want := range map[string][]string{
		"baseline":         {"baseline"},
		"nothing at all":   {"nothing at all"}, // Find says so
		"deep_*":           {"sharing/deep_seq", "sharing/deep_cycle", "sharing/deep_cycle_rev"},
		"plain/*":          {"plain/gpt2"},
		"*_seq":            {"sharing/deep_seq", "sharing/very_deep_seq", "sharing/wide_seq", "sharing/very_wide_seq", "sharing/wide_deep_seq"},
		"*/b*":             {"sharing/baseline"},
		"gpt?+heads=2":     {"plain/gpt2+heads=2"},
		"[gb]*":            {"sharing/baseline", "plain/gpt2"},
		"*":                Names(""),
		"sharing/*":        Names("sharing"),
		"baseline+act=*lu": {"baseline+act=*lu"},
	} {
		if got, err := Match(pattern); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s matches %v (%v), wanted %v", pattern, got, err, want)
		}
	}
	for pattern, want := range map[string]string{
		"no*":    `variant pattern "no*" matches nothing (march list`,
		"[":      `variant pattern "["`,
		"heads*": "matches nothing",
	} {
		if got, err := Match(pattern); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, error %v, wanted %q", pattern, got, err, want)
		}
	}
}

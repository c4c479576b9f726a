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
	both := []string{Decoder, Encoder}
	want := map[string][]string{"sharing/baseline": both, "plain/gpt2": both[:1]}
	for _, shape := range []string{"deep", "very_deep", "wide", "very_wide", "wide_deep"} {
		for _, assignment := range []string{"seq", "cycle", "cycle_rev"} {
			want["sharing/"+shape+"_"+assignment] = both
		}
	}
	for name, archs := range map[string][]string{
		"share_ffn": both, "no_bias": both, "bias_all": both[:1], "gqa": both[:1], "mqa": both[:1], "linformer": both[1:],
		"universal": both, "universal_act": both, "distill": both, "prune": both,
	} {
		want["sharing/"+name] = archs
	}
	for name := range strings.FieldsSeq(`baseline more_heads_less_layers more_heads_less_qkv_dim more_heads_less_qkv_dim_less_layers
		less_heads_more_qkv_dim scaling_heads inverse_scaling_heads scaling_heads_constant inverse_scaling_heads_constant
		ape_sum_over_average ape_unit_variance relu_glu gelu_glu silu_glu mixed_act mixed_act_sum_over_mean mixed_act_som_dropout
		no_self_attention_residual database database_from_heads database_from_heads_2 database_from_layers database_from_dim
		unified_attention kv_cross_attention more_dim_less_layers tp_weights big_heads big_heads_summed bilinear_glu sigmoid_glu
		squared_relu t5_relative_bias rope alibi sinusoidal no_position post_norm layernorm scaled_attention`) {
		want["heads/"+name] = []string{EncoderDecoder}
	}
	for _, name := range Names("") {
		if !slices.Equal(Archs(name), want[name]) {
			t.Errorf("%s has the architectures %v, wanted %v", name, Archs(name), want[name])
		}
		delete(want, name)
	}
	if len(want) > 0 {
		t.Errorf("the catalogue lacks %v", want)
	}
	if got := Names("nothing"); len(got) != 0 {
		t.Errorf("a study that is none has %v", got)
	}
	for _, name := range Names("") {
		for _, arch := range Archs(name) {
			for _, scale := range Scales() {
				v, err := Find(name, scale, arch)
				if err != nil {
					t.Errorf("%s, %s at %s: %v", name, arch, scale, err)
					continue
				}
				if v.FullName() != name || v.Scale != scale || v.Config.Arch != arch || v.Doc == "" || v.Source == "" || len(v.Changes) != 0 {
					t.Errorf("%s at %s: %+v", name, scale, v)
				}
			}
		}
	}
	for study, want := range map[string]string{"sharing": "sharing/baseline", "heads": "heads/baseline", "plain": "plain/gpt2", "nothing": ""} {
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
	type row struct{ m, n, d, heads, ff int }
	widths := map[string][3]int{"paper": {384, 512, 576}, "small": {192, 256, 288}, "tiny": {96, 128, 144}}
	for arch, solved := range map[string]map[string][2]int{ // feed-forward of wide and very wide
		Decoder: {"paper": {1984, 2560}, "small": {864, 1024}, "tiny": {512, 688}},
		Encoder: {"paper": {1984, 2496}, "small": {864, 992}, "tiny": {512, 672}},
	} {
		for scale, d := range widths {
			find := func(name string) Config {
				v, err := Find(name, scale, arch)
				if err != nil {
					t.Fatal(err)
				}
				return v.Config
			}
			base := must[int64](t)(find("baseline").count())
			ff := solved[scale]
			for shape, want := range map[string]row{
				"deep": {6, 12, d[0], 6, 4 * d[0]}, "very_deep": {6, 18, d[0], 6, 4 * d[0]},
				"wide": {3, 6, d[1], 8, ff[0]}, "wide_deep": {3, 12, d[1], 8, ff[0]}, "very_wide": {2, 6, d[2], 9, ff[1]},
			} {
				for _, assignment := range []string{"seq", "cycle", "cycle_rev"} {
					name := shape + "_" + assignment
					c := find(name)
					if got := (row{c.Share.Unique, c.Share.Uses, c.D, c.Heads, c.FF}); got != want || c.Share.Assignment != assignment || c.QKVDim*c.Heads != c.D {
						t.Errorf("%s (%s) at %s: %+v, %s, heads of %d; wanted %+v", name, arch, scale, got, c.Share.Assignment, c.QKVDim, want)
					}
					n := must[int64](t)(c.count())
					if off := math.Abs(float64(n)/float64(base) - 1); off > 0.007 {
						t.Errorf("%s (%s) at %s has %d parameters, the baseline %d: %.2f %% off", name, arch, scale, n, base, 100*off)
					}
				}
			}
		}
	}
}

// TestScales compares vocabulary, length and budget with the table of scales.
func TestScales(t *testing.T) {
	type row struct {
		vocab, length, tokens, steps int
		rate                         float64
		schedule                     string
		warmup, dropout              float64
	}
	for study, scales := range map[string]map[string]row{
		"sharing": {"paper": {10_000, 512, 16_384, 10_000, 1e-3, "cosine", 0.1, 0.1}, "small": {8_192, 256, 4_096, 3_000, 2e-3, "cosine", 0.1, 0.1},
			"tiny": {2_048, 128, 512, 900, 3e-3, "cosine", 0.1, 0}},
		"heads": {"paper": {30_000, 1024, 1 << 20, 1_000, 1e-4, "constant", 0, 0.1}, "small": {8_192, 256, 8_192, 2_000, 5e-4, "constant", 0, 0.1},
			"tiny": {2_048, 128, 512, 900, 1e-3, "constant", 0, 0}},
	} {
		for scale, want := range scales {
			for _, name := range Names(study) {
				c := mustFind(t, name, scale).Config
				o, want := c.Training, want
				if study == "sharing" && scale == "tiny" && c.Arch == Encoder {
					want.rate = 1e-3
				}
				if got := (row{c.Vocab, c.Length, o.TokensPerStep, o.Steps, o.Rate, o.Schedule, o.Warmup, c.Dropout.Rate}); got != want {
					t.Errorf("%s at %s: %+v, wanted %+v", name, scale, got, want)
				}
				if o.FinalRate != 0.1 || o.Beta1 != 0.9 || o.Beta2 != 0.95 || o.Clip != 1 || o.Decay != 0.1 {
					t.Errorf("%s at %s trains with %+v", name, scale, o)
				}
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
		{"sharing/basline", "tiny", "", "did you mean sharing/baseline, "},
		{"plain/baseline", "tiny", "", `unknown variant "plain/baseline"`},
		{"zzz", "tiny", "", `unknown variant "zzz" (march list`},
		{"", "tiny", "", `unknown variant ""`},
		{"baseline", "huge", "", `scale "huge" is not one of paper, small, tiny`},
		{"mqa", "tiny", "encoder", `variant mqa: architecture "encoder" is not one of decoder`},
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
		"*/ba*":            {"sharing/baseline", "heads/baseline"},
		"gpt?+heads=2":     {"plain/gpt2+heads=2"},
		"[gb]p*":           {"plain/gpt2"},
		"*":                Names(""),
		"sharing/*":        Names("sharing"),
		"baseline+act=*lu": {"baseline+act=*lu"},
	} {
		if got, err := Match(pattern); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s matches %v (%v), wanted %v", pattern, got, err, want)
		}
	}
	for pattern, want := range map[string]string{
		"not*":  `variant pattern "not*" matches nothing (march list`,
		"[":     `variant pattern "["`,
		"head*": "matches nothing",
	} {
		if got, err := Match(pattern); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, error %v, wanted %q", pattern, got, err, want)
		}
	}
}

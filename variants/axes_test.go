package variants

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func mustFind(t *testing.T, name, scale string) Variant {
	t.Helper()
	v, err := Find(name, scale, "")
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestAxes: every axis is described, has one name, and is bounded, by a list or by numbers.
func TestAxes(t *testing.T) {
	seen := map[string]bool{}
	for _, a := range Axes() {
		if a.Doc == "" || a.Name == "" || seen[a.Name] {
			t.Errorf("axis %q: doc %q, known before %t", a.Name, a.Doc, seen[a.Name])
		}
		seen[a.Name] = true
	}
	for _, f := range fieldsOf(&Config{}) {
		_, listed := choices[f.axis]
		_, limited := limits[f.axis]
		if want := f.value.Kind() == reflect.String && !strings.HasSuffix(f.axis, "_by_layer") && f.axis != "training.distill.teacher"; listed != want {
			t.Errorf("axis %s: a list of names %t, wanted %t", f.axis, listed, want)
		}
		if want := f.value.Kind() == reflect.Int || f.value.Kind() == reflect.Float64; limited != want {
			t.Errorf("axis %s: limits %t, wanted %t", f.axis, limited, want)
		}
		delete(seen, f.axis)
	}
	if len(seen) > 0 {
		t.Errorf("axes without a field: %v", seen)
	}
}

func TestSet(t *testing.T) {
	c := mustFind(t, "baseline", "tiny").Config
	for _, s := range []string{"heads=12", "qkv_dim=8", "glu=true", "act=silu", "share.uses=12", "norm.eps=1e-6", "attn.local=none", "training.rate=0.001"} {
		axis, value, _ := strings.Cut(s, "=")
		if err := c.Set(axis, value); err != nil {
			t.Error(err)
		}
	}
	if c.Heads != 12 || c.QKVDim != 8 || !c.GLU || c.Act != "silu" || c.Share.Uses != 12 || c.Norm.Eps != 1e-6 || c.Attn.Local != "none" || c.Training.Rate != 1e-3 {
		t.Errorf("%+v", c)
	}
	for _, c := range []struct{ change, want string }{
		{"head=3", `unknown axis "head"; did you mean heads`},
		{"shareuses=3", `unknown axis "shareuses"; did you mean share.uses?`},
		{"uses=3", "did you mean share.uses?"},
		{"xyzzy=3", `unknown axis "xyzzy" (march list --axes`},
		{"heads=three", "heads=three: wanted a whole number"},
		{"heads=6.5", "wanted a whole number"},
		{"heads=", "wanted a whole number"},
		{"heads=0", "heads is 0, wanted a number from 1 to"},
		{"heads=-6", "heads is -6"},
		{"heads=99999999999999999999", "wanted a whole number"},
		{"norm.eps=small", "norm.eps=small: wanted a number"},
		{"norm.eps=0", "norm.eps is 0"},
		{"norm.eps=NaN", "norm.eps is NaN"},
		{"training.eps=0", "training.eps is 0"},
		{"training.rate=inf", "training.rate is +Inf"},
		{"training.beta2=1", "training.beta2 is 1"},
		{"glu=maybe", "glu=maybe: wanted true or false"},
		{"act=gelu_tan", `act "gelu_tan" is not one of relu, squared_relu, gelu_tanh, gelu, silu, sigmoid, tanh, identity; did you mean gelu_tanh`},
		{"share.assignment=reverse", `share.assignment "reverse" is not one of seq, cycle, cycle_rev`},
		{"arch=encode", `arch "encode" is not one of decoder, encoder, encoder-decoder; did you mean encoder`},
		{"arch=encoder", "training.objective causal-lm does not train arch encoder; wanted masked-lm"},
		{"heads", `"heads": wanted axis=value`},
	} {
		base := mustFind(t, "baseline", "tiny").Config
		if err := base.SetAll([]string{c.change}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, wanted %q in it", c.change, err, c.want)
		}
	}
}

// TestValidate: a config that means nothing names the field, or the two that do not go together.
func TestValidate(t *testing.T) {
	for _, c := range []struct {
		changes []string
		want    string
	}{
		{[]string{"share.uses=7"}, "share.uses 7 is not a multiple of share.unique 6"},
		{[]string{"share.unique=4"}, "share.uses 6 is not a multiple of share.unique 4"},
		{[]string{"kv_heads=4"}, "kv_heads 4 does not divide heads 6"},
		{[]string{"heads=9", "kv_heads=6"}, "kv_heads 6 does not divide heads 9"},
		{[]string{"kv_heads=12"}, "kv_heads 12 does not divide heads 6"},
		{[]string{"length=1"}, "attn.local alternate needs a length of at least 2, found length 1"},
		{[]string{"training.schedule=wsd", "training.warmup=0.9"}, "training.warmup 0.9 and training.cooldown 0.2 together"},
		{[]string{"training.warmup=0.9"}, ""}, // a cosine has no cooldown
		{[]string{"length=1", "attn.local=none"}, ""},
		{[]string{"training.document_mask=true"}, ""},
		{[]string{"arch=encoder", "attn.local=none", "training.objective=masked-lm", "training.document_mask=true"}, "training.document_mask true needs training.objective causal-lm, found masked-lm"},
		{[]string{"arch=encoder-decoder", "attn.local=none", "training.objective=prefix-lm", "training.document_mask=true"}, "training.document_mask true needs training.objective causal-lm, found prefix-lm"},
		{[]string{"share.unique=2", "share.uses=8", "kv_heads=3", "qkv_dim=5", "ff=7"}, ""},
	} {
		config := mustFind(t, "baseline", "tiny").Config
		err := config.SetAll(c.changes)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%v: error %v, wanted %q", c.changes, err, c.want)
		}
	}
	// Fields that a zero Config leaves out are errors, not panics.
	if err := (Config{}).Validate(); err == nil || !strings.Contains(err.Error(), "arch") {
		t.Errorf("the zero config: error %v", err)
	}
}

// TestYAML: what a config writes it reads back, for the whole catalogue at every scale.
func TestYAML(t *testing.T) {
	for _, name := range Names("") {
		for _, scale := range Scales() {
			v := mustFind(t, name, scale)
			back, err := ReadYAML([]byte(v.Config.YAML()), scale, "")
			if err != nil {
				t.Fatalf("%s at %s: %v", name, scale, err)
			}
			if back.Config != v.Config {
				t.Errorf("%s at %s: read back with %v", name, scale, back.Config.Difference(v.Config))
			}
			// The name says what differs, and finds the same again.
			if again, err := Find(back.FullName(), scale, ""); err != nil || again.Config != v.Config {
				t.Errorf("%s at %s: %s finds another config (%v)", name, scale, back.FullName(), err)
			}
			named, err := ReadYAML([]byte("variant: "+name+"\n"), scale, "")
			if err != nil || named.Config != v.Config || named.FullName() != name {
				t.Errorf("variant: %s at %s is %s (%v)", name, scale, named.FullName(), err)
			}
		}
	}
}

func TestReadYAML(t *testing.T) {
	v, err := ReadYAML([]byte(`
# more and smaller heads
variant: deep_cycle
heads: 12 # twice
"qkv_dim": 8
glu: true
share:
  uses: 18
training: {rate: 1e-3, clip: 1e30}
norm.eps: .001
act: 'silu'
`), "tiny", "")
	if err != nil {
		t.Fatal(err)
	}
	if c := v.Config; c.Heads != 12 || c.QKVDim != 8 || !c.GLU || c.Share != (Share{Unique: 6, Uses: 18, Assignment: "cycle"}) || c.Training.Rate != 1e-3 || c.Training.Clip != 1e30 || c.Norm.Eps != 1e-3 || c.Act != "silu" {
		t.Errorf("%+v", c)
	}
	if want := "sharing/deep_cycle+share.uses=18+heads=12+qkv_dim=8+act=silu+glu=true+norm.eps=0.001+training.rate=0.001+training.clip=1e30"; v.FullName() != want {
		t.Errorf("it is called %s", v.FullName())
	}
	if again, err := Find(v.FullName(), "tiny", ""); err != nil || again.Config != v.Config {
		t.Errorf("its name finds another config: %v", err)
	}
	// Changes that the file repeats, or that its variant's own name has, are named once.
	v, err = ReadYAML([]byte("variant: baseline+heads=12\nqkv_dim: 8\nff: 384\n"), "tiny", "")
	if err != nil || v.Name() != "baseline+heads=12+qkv_dim=8" {
		t.Errorf("%s, %v", v.Name(), err)
	}
	if v, err = ReadYAML(nil, "tiny", ""); err != nil || v.FullName() != "sharing/baseline" {
		t.Errorf("an empty file: %s, %v", v.FullName(), err)
	}
	for _, c := range []struct{ yaml, want string }{
		{"heads: 6\nhed: 3\n", `line 2: unknown axis "hed"; did you mean heads`},
		{"share:\n  unique: 6\n  useses: 12\n", `line 3: unknown axis "share.useses"; did you mean share.uses`},
		{"\n\nact: swish\n", `line 3: act "swish" is not one of`},
		{"heads: many\n", "line 1: heads=many: wanted a whole number"},
		{"heads: 0x10\n", "line 1: heads=0x10: wanted a whole number"},
		{"heads:\n", "line 1: heads has no value"},
		{"d: 96\nheads: [6, 12]\n", "line 2: heads: wanted one value"},
		{"d: &x 96\nff: *x\n", "line 1: d: wanted one value"},
		{"heads: !!int 6\n", "line 1: heads: wanted one value"},
		{"heads: {a: 1}\n", `line 1: unknown axis "heads.a"`},
		{"share: 6\n", `line 1: unknown axis "share"`},
		{"heads: 6\nheads: 12\n", "heads"},
		{"share.uses: 6\nshare: {uses: 12}\n", "line 2: share.uses is set twice"},
		{"- heads\n", "wanted a mapping of axes to values"},
		{"heads\n", "wanted a mapping of axes to values"},
		{"a: [\n", "not YAML: "},
		{"a: b: c\n", "not YAML: "},
		{"variant: baselin\n", `unknown variant "baselin"; did you mean baseline?`},
		{"variant: baseline+heads=x\n", "heads=x: wanted a whole number"},
		{"share: {uses: 7}\n", "share.uses 7 is not a multiple of share.unique 6"},
		{"scale: tiny\n", `line 1: unknown axis "scale"`},
	} {
		_, err := ReadYAML([]byte(c.yaml), "tiny", "")
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: error %v, wanted one line with %q", c.yaml, err, c.want)
		}
	}
	if _, err := ReadYAML([]byte("heads: 6\n"), "huge", ""); err == nil || !strings.Contains(err.Error(), `scale "huge" is not one of paper, small, tiny`) {
		t.Errorf("an unknown scale: error %v", err)
	}
}

// FuzzReadYAML: no file panics, and what is accepted is valid.
func FuzzReadYAML(f *testing.F) {
	for _, s := range []string{"", "heads: 12\n", "share:\n  uses: 12\n", "variant: deep_seq\nact: relu\n", "a: [", "? x\n: y\n", "heads: |\n  6\n", "<<: {heads: 6}\n", "--- \nheads: 6\n---\nff: 3\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if v, err := ReadYAML(b, "tiny", ""); err == nil {
			if err := v.Config.Validate(); err != nil {
				t.Errorf("accepted, and not valid: %v", err)
			}
		}
	})
}

func TestDifference(t *testing.T) {
	base, deep := mustFind(t, "baseline", "tiny").Config, mustFind(t, "deep_cycle", "tiny").Config
	if got := deep.Difference(base); !slices.Equal(got, []string{"share.uses=12", "share.assignment=cycle"}) {
		t.Errorf("%v", got)
	}
	if got := base.Difference(base); len(got) != 0 {
		t.Errorf("from itself: %v", got)
	}
	c := base
	c.Training.Clip, c.Training.Eps = 1e30, 1e-10
	if got := fmt.Sprint(c.Difference(base)); got != "[training.eps=1e-10 training.clip=1e30]" {
		t.Errorf("%v", got)
	}
	if err := base.SetAll(c.Difference(base)); err != nil || base != c {
		t.Errorf("a difference that is set again gives %v, %v", base.Difference(c), err)
	}
}

func TestSuggest(t *testing.T) {
	known := []string{"baseline", "deep_seq", "deep_cycle", "deep_cycle_rev", "wide_seq"}
	for name, want := range map[string]string{
		"basline": "; did you mean baseline?", "BASELINE": "; did you mean baseline?", "deep_cicle": "; did you mean deep_cycle?",
		"cycle": "; did you mean ", "quux": "", "": "",
	} {
		if got := suggest(name, known); want == "" && got != "" || !strings.HasPrefix(got, want) {
			t.Errorf("%q: %q, wanted %q", name, got, want)
		}
	}
}

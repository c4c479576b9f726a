package trainloop

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"march/graphgen/atomicfile"
	"march/trainloop/objective"
	"march/variants"
	"march/variants/manifest"
)

// SettingsFile holds what a run is, in the run's folder.
const SettingsFile = "settings.json"

const maxSettingsFile = 16 << 20

// Settings are everything that the parameters after training depend on, but for what changes rounding alone:
// how a GPU's memory is saved, and whether its kernels are recorded. A run goes on only under the settings
// that it was started with.
type Settings struct {
	Study         string          `json:"study"`
	Variant       string          `json:"variant"`
	Arch          string          `json:"arch"`
	Scale         string          `json:"scale"`
	Config        json.RawMessage `json:"config"`
	Objective     string          `json:"objective"` // of package objective; "": causal-lm, as in older runs
	Target        string          `json:"target"`
	Precision     string          `json:"precision"`
	Seed          uint64          `json:"seed"`
	Steps         int64           `json:"steps"`
	TokensPerStep int             `json:"tokens_per_step"`
	MicroBatch    int             `json:"micro_batch"` // sequences
	Length        int             `json:"length"`      // of [corpus.Task]
	DataSHA256    string          `json:"data_sha256"`
	Tokenizer     string          `json:"tokenizer_sha256"`
	DataSource    string          `json:"data_source"`
	Teacher       string          `json:"teacher_sha256"` // of the teacher's parameters; "": none
	Init          string          `json:"init_sha256"`    // of the file that the start values are from; "": they are the seed's
	Threads       int             `json:"threads"`
	Device        string          `json:"device"`
	Runtime       string          `json:"onnxruntime"`
	Deterministic bool            `json:"deterministic"` // on a GPU: sums in a fixed order
}

// about is what may differ when a run goes on: results are then the same but for rounding.
var about = []string{"target", "threads", "device", "onnxruntime", "data_source", "deterministic"}

// MicroBatches is the number of micro-batches of a step.
func (s Settings) MicroBatches() int { return s.TokensPerStep / (s.MicroBatch * s.Length) }

// Check refuses a budget that does not come out even.
func (s Settings) Check() error {
	per := s.MicroBatch * s.Length
	if per < 1 || s.TokensPerStep < per || s.TokensPerStep%per != 0 {
		return fmt.Errorf("tokens per step %d is not a multiple of a micro-batch (%d sequences × %d tokens = %d)", s.TokensPerStep, s.MicroBatch, s.Length, per)
	}
	if s.Steps < 1 {
		return fmt.Errorf("steps is %d, wanted at least 1", s.Steps)
	}
	return nil
}

// Differences names the fields in which s differs from the settings that a run was
// started with; what changes rounding alone is left out.
func (s Settings) Differences(was Settings) []string {
	must, _ := s.differences(was)
	return must
}

// SettingsError says that a folder's run was started with other settings.
type SettingsError struct{ Differences []string }

func (e *SettingsError) Error() string {
	return "the folder's run was started with other settings: " + strings.Join(e.Differences, "; ") + "; go back to those, or choose another --out"
}

// goesOn says whether a run that was started with other settings may go on with these: nil, a
// [SettingsError], or nil after a warning that names the differences, where they change rounding alone or the
// caller overrides what they change.
func (s Settings) goesOn(was Settings, override bool, warn func(string)) error {
	must, may := s.differences(was)
	if len(must) > 0 {
		if !override {
			return &SettingsError{must}
		}
		warn("resuming with other settings, so this is no longer the run that was started: " + strings.Join(must, "; "))
	}
	if len(may) > 0 {
		warn("resuming under other circumstances, so results may differ in rounding: " + strings.Join(may, "; "))
	}
	gpu := s
	if s.Device == "cpu" {
		gpu = was
	}
	if (s.Device == "cpu") != (was.Device == "cpu") && gpu.MicroBatches() > 1 {
		warn(fmt.Sprintf("dropout, where the model has any, may take other masks from here on: a CPU counts through the step's batch, unless the program is of an older version, a GPU through each of its %d micro-batches", gpu.MicroBatches()))
	}
	return nil
}

// differences names the fields in which two settings differ: those that a resumed run
// must share, and those that only matter for exactness.
func (s Settings) differences(o Settings) (must, may []string) {
	a, b := fieldsOf(s), fieldsOf(o)
	for name, v := range a {
		if bytes.Equal(v, b[name]) {
			continue
		}
		text := fmt.Sprintf("%s (was %s, now %s)", name, short(b[name]), short(v))
		if name == "config" {
			text = "config (" + strings.Join(configDifferences(s.Config, o.Config), ", ") + ")"
		}
		if slices.Contains(about, name) {
			may = append(may, text)
		} else {
			must = append(must, text)
		}
	}
	slices.Sort(must)
	slices.Sort(may)
	return must, may
}

// fits refuses a program that is not of these settings. What the program was written for beside these fields changes
// rounding alone.
func (s Settings) fits(m *manifest.Manifest) error {
	have, err := wholeConfig(m.Config)
	if err != nil {
		return err
	}
	want, err := wholeConfig(s.Config)
	if err != nil {
		return err
	}
	wrong := configDifferences(have, want)
	for _, x := range []struct {
		name      string
		have, run any
	}{{"seed", m.Seed, s.Seed}, {"batch", m.Batch, s.MicroBatch}, {"length", m.Length, s.Length}, {"init_sha256", m.Init, s.Init}} {
		if x.have != x.run {
			wrong = append(wrong, fmt.Sprintf("%s was %v, now %v", x.name, x.run, x.have))
		}
	}
	const most = 6
	if n := len(wrong); n > most {
		wrong = append(wrong[:most], fmt.Sprintf("and %d more", n-most))
	}
	if len(wrong) > 0 {
		return fmt.Errorf("it is not that of the run's settings: %s", strings.Join(wrong, ", "))
	}
	return nil
}

// wholeConfig is a config with every axis, also those that it was written without.
func wholeConfig(raw json.RawMessage) (json.RawMessage, error) {
	var c variants.Config
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, fmt.Errorf("the model's config: %w", err)
	}
	return json.Marshal(c)
}

func fieldsOf(s Settings) map[string]json.RawMessage {
	s.Objective = cmp.Or(s.Objective, objective.CausalLM)
	b, _ := json.Marshal(s) // plain fields
	m := map[string]json.RawMessage{}
	_ = json.Unmarshal(b, &m)
	return m
}

// configDifferences lists the axes in which two configs differ.
func configDifferences(now, was json.RawMessage) []string {
	var list []string
	var walk func(prefix string, a, b any)
	walk = func(prefix string, a, b any) {
		x, ok1 := a.(map[string]any)
		y, ok2 := b.(map[string]any)
		if !ok1 || !ok2 {
			if fmt.Sprint(a) != fmt.Sprint(b) {
				list = append(list, fmt.Sprintf("%s was %v, now %v", strings.TrimPrefix(prefix, "."), b, a))
			}
			return
		}
		for k := range x {
			walk(prefix+"."+k, x[k], y[k])
		}
		for k := range y {
			if _, ok := x[k]; !ok {
				walk(prefix+"."+k, nil, y[k])
			}
		}
	}
	var a, b any
	_ = json.Unmarshal(now, &a)
	_ = json.Unmarshal(was, &b)
	walk("", a, b)
	slices.Sort(list)
	return list
}

func short(b []byte) string {
	if len(b) > 24 {
		return string(b[:24]) + "…"
	}
	return string(b)
}

// ReadSettings reads a run's settings; fs.ErrNotExist where dir holds no run.
func ReadSettings(dir string) (Settings, error) {
	var s Settings
	path := filepath.Join(dir, SettingsFile)
	b, err := readBounded(path, maxSettingsFile)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return s, fmt.Errorf("%s holds no run: %w", dir, err)
		}
		return s, err
	}
	if s, err = parseSettings(b); err != nil {
		return s, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

func parseSettings(b []byte) (s Settings, err error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return s, err
	}
	s.Objective = cmp.Or(s.Objective, objective.CausalLM)
	var compact bytes.Buffer
	if err := json.Compact(&compact, s.Config); err != nil {
		return s, fmt.Errorf("config: %w", err)
	}
	s.Config = compact.Bytes()
	return s, s.Check()
}

func (s Settings) write(dir string) error {
	b, err := s.encode()
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(filepath.Join(dir, SettingsFile), b)
}

func (s Settings) encode() ([]byte, error) {
	s.Objective = cmp.Or(s.Objective, objective.CausalLM)
	b, err := json.MarshalIndent(s, "", " ")
	return append(b, '\n'), err
}

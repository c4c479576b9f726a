package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"march/graphgen/atomicfile"
)

// WriteFile validates a run and writes it whole, replacing an older record. The file is JSON, a field
// a line, so that a diff of two records reads well.
func WriteFile(path string, r *Run) error {
	if err := r.Validate(); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	out := *r
	out.Version = Version
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(&out); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if b.Len() > MaxBytes {
		return fmt.Errorf("write %s: the record is %d bytes, at most %d are allowed", path, b.Len(), MaxBytes)
	}
	return atomicfile.WriteFile(path, b.Bytes())
}

// ReadFile reads and validates a record. Unknown fields, repeated fields, a newer version and
// anything after the record are errors; all of them name the file.
func ReadFile(path string) (*Run, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, MaxBytes+1))
	if err != nil {
		return nil, err
	}
	if len(data) > MaxBytes {
		return nil, fmt.Errorf("%s: longer than %d bytes, so not a run record", path, MaxBytes)
	}
	r, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	r.Path = path
	return r, nil
}

// Parse reads a record from its JSON.
func Parse(data []byte) (*Run, error) {
	if err := singleKeys(data); err != nil {
		return nil, err
	}
	// The version comes first: a newer record's unknown fields are not the user's mistake.
	var head struct {
		Version *int `json:"version"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return nil, readable(err)
	}
	switch {
	case head.Version == nil || *head.Version < 1:
		return nil, errors.New(`not a run record: no "version"`)
	case *head.Version > Version:
		return nil, fmt.Errorf("written by a newer march (record version %d, this one reads up to %d): update march", *head.Version, Version)
	}
	r := &Run{}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(r); err != nil {
		return nil, readable(err)
	}
	if err := r.Validate(); err != nil {
		return nil, err
	}
	return r, nil
}

const maxDepth = 16 // a record has 6 levels

// singleKeys refuses what encoding/json lets pass: a key that is there twice, and text behind the
// record.
func singleKeys(data []byte) error {
	type level struct {
		keys  map[string]bool // nil: a list
		key   string
		value bool // the next token of an object is a value
	}
	var stack []level
	dec := json.NewDecoder(bytes.NewReader(data))
	for first := true; first || len(stack) > 0; first = false {
		token, err := dec.Token()
		if err != nil {
			return readable(err)
		}
		if first && token != json.Delim('{') {
			return errors.New("not a run record: want a JSON object")
		}
		var top *level
		if len(stack) > 0 {
			top = &stack[len(stack)-1]
		}
		if key, ok := token.(string); ok && top != nil && top.keys != nil && !top.value {
			if top.keys[key] {
				return fmt.Errorf("field %q appears twice", key)
			}
			top.keys[key], top.key, top.value = true, key, true
			continue
		}
		if top != nil {
			top.value = false
		}
		if len(stack) == maxDepth {
			return errors.New("not a run record: nested too deeply")
		}
		switch token {
		case json.Delim('{'):
			stack = append(stack, level{keys: map[string]bool{}})
		case json.Delim('['):
			stack = append(stack, level{})
		case json.Delim('}'), json.Delim(']'):
			stack = stack[:len(stack)-1]
		}
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("more text after the record")
	}
	return nil
}

// readable turns encoding/json's errors into ones about the file.
func readable(err error) error {
	var kind *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &kind):
		return fmt.Errorf("field %s: found a %s, want a %s", kind.Field, kind.Value, kind.Type)
	case errors.As(err, &syntax):
		return fmt.Errorf("not JSON at byte %d: %w", syntax.Offset, err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("not a run record: it ends too early")
	}
	if rest, ok := strings.CutPrefix(err.Error(), "json: "); ok {
		return errors.New(rest) // `unknown field "x"`
	}
	return err
}

// Validate reports every field that cannot be true.
func (r *Run) Validate() error {
	v := &validator{}
	if r.Version < 0 || r.Version > Version {
		v.add("version", "found %d, want %d", r.Version, Version)
	}
	for _, f := range []struct{ name, value string }{
		{"cell.study", r.Cell.Study}, {"cell.variant", r.Cell.Variant}, {"cell.arch", r.Cell.Arch}, {"cell.scale", r.Cell.Scale},
	} {
		if f.value == "" {
			v.add(f.name, "is missing")
		}
	}
	switch r.Status {
	case Done:
		if r.Reason != "" {
			v.add("reason", "found %q in a run that is done; notes go to \"notes\"", r.Reason)
		}
		if r.Training == nil {
			v.add("training", "is missing in a run that is done")
		}
	case Failed, Skipped:
		if r.Reason == "" {
			v.add("reason", "is missing in a run that is %s", r.Status)
		}
	default:
		v.add("status", "found %q, want %q, %q or %q", r.Status, Done, Failed, Skipped)
	}
	if !r.Finished.IsZero() && r.Finished.Before(r.Started) {
		v.add("finished", "is before started")
	}
	p := r.Parameters
	v.counts("parameters", map[string]int64{"total": p.Total, "embedding": p.Embedding, "norm": p.Norm, "other": p.Other})
	if p.Embedding+p.Norm+p.Other != p.Total {
		v.add("parameters.total", "found %d, but embedding, norm and other make %d", p.Total, p.Embedding+p.Norm+p.Other)
	}
	v.counts("flops_per_token", map[string]int64{"forward": r.FLOPs.Forward, "training": r.FLOPs.Training})
	v.counts("budget", map[string]int64{"steps": r.Budget.Steps, "tokens_per_step": r.Budget.TokensPerStep, "sequence_length": r.Budget.SequenceLength})
	v.counts("data", map[string]int64{"vocab": r.Data.Vocab, "tokens": r.Data.Tokens})
	if t := r.Training; t != nil {
		v.counts("training", map[string]int64{"steps": t.Steps, "tokens": t.Tokens})
		v.numbers("training", map[string]float64{"loss": t.Loss, "seconds": t.Seconds, "tokens_per_second": t.TokensPerSecond})
		if t.Seconds < 0 || t.TokensPerSecond < 0 {
			v.add("training.seconds", "and tokens_per_second must not be negative")
		}
		if t.LossSD != nil {
			v.numbers("training", map[string]float64{"loss_sd": *t.LossSD})
		}
	}
	if x := r.Validation; x != nil {
		v.numbers("validation", map[string]float64{"loss": x.Loss})
		v.counts("validation", map[string]int64{"tokens": x.Tokens})
	}
	for name, s := range r.Suites {
		s.validate(v, "suites."+name)
	}
	return v.err()
}

func (s Suite) validate(v *validator, at string) {
	v.counts(at, map[string]int64{"items": s.Items, "ties": s.Ties, "identical": s.Identical, "truncated": s.Truncated, "limit": s.Limit, "tokens": s.Tokens})
	v.numbers(at, map[string]float64{"seconds": s.Seconds})
	seen := map[string]bool{}
	for _, x := range s.Scores {
		name := at + ".scores." + x.Name
		if x.Name == "" || seen[x.Name] {
			v.add(name, "has no name, or one that is there twice")
		}
		seen[x.Name] = true
		v.numbers(at+".scores", map[string]float64{x.Name: x.Value})
		v.counts(name, map[string]int64{"count": x.Count})
		if x.Unit == ShareUnit && (x.Value < 0 || x.Value > 1) {
			v.add(name, "found %v, want a share from 0 to 1", x.Value)
		}
	}
	groups := map[[2]string]bool{}
	for _, g := range s.Groups {
		name := at + ".groups." + g.Name
		if g.Level != FieldLevel && g.Level != PhenomenonLevel && g.Level != ParadigmLevel {
			v.add(name+".level", "found %q, want %q, %q or %q", g.Level, FieldLevel, PhenomenonLevel, ParadigmLevel)
		}
		key := [2]string{g.Level, g.Name}
		if g.Name == "" || groups[key] {
			v.add(name, "has no name, or one that is there twice at level %s", g.Level)
		}
		groups[key] = true
		if g.Correct < 0 || g.Ties < 0 || g.Correct+g.Ties > g.Items {
			v.add(name, "found %d correct and %d ties of %d items", g.Correct, g.Ties, g.Items)
		} else if g.Items > 0 && math.Abs(g.Accuracy-float64(g.Correct)/float64(g.Items)) > 1e-9 {
			v.add(name+".accuracy", "found %v, but %d of %d are correct", g.Accuracy, g.Correct, g.Items)
		}
	}
}

// validator gathers complaints, so that all are seen at once.
type validator struct{ problems []string }

func (v *validator) add(field, format string, args ...any) {
	v.problems = append(v.problems, field+" "+fmt.Sprintf(format, args...))
}

func (v *validator) counts(at string, fields map[string]int64) {
	for name, n := range fields {
		if n < 0 {
			v.add(at+"."+name, "found %d, want 0 or more", n)
		}
	}
}

func (v *validator) numbers(at string, fields map[string]float64) {
	for name, x := range fields {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			v.add(at+"."+name, "found %v, want a finite number", x)
		}
	}
}

func (v *validator) err() error {
	if len(v.problems) == 0 {
		return nil
	}
	slices.Sort(v.problems) // maps were walked
	const most = 5
	if n := len(v.problems); n > most {
		v.problems = append(v.problems[:most], fmt.Sprintf("and %d more", n-most))
	}
	return errors.New("run record: " + strings.Join(v.problems, "; "))
}

func formatSeed(seed uint64) string { return strconv.FormatUint(seed, 10) }

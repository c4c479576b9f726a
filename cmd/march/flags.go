package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"march/cmd/internal/sweep"
	"march/runtime"
	"march/trainloop"
	"march/variants"
	"march/variants/program"
)

// selection is which models a command is about: --variant, --config, --set, --arch and
// --scale.
type selection struct {
	where    string // what errors call patterns
	patterns []string
	configs  []string
	set      []string
	arch     string
	scale    string
	match    string
}

// selectFlags defines the flags of a selection; scale is the default of --scale.
func selectFlags(f *pflag.FlagSet, scale string) *selection {
	s := &selection{where: "--variant: "}
	f.StringArrayVar(&s.patterns, "variant", nil, "variant `NAME`, with changes behind plus signs (baseline+heads=12), or a glob ('deep_*'); repeatable")
	f.StringArrayVar(&s.configs, "config", nil, "YAML `FILE` with a model of its own, as march show prints it; repeatable")
	s.changeFlags(f, scale)
	return s
}

// changeFlags defines those flags of a selection that do not name models.
func (s *selection) changeFlags(f *pflag.FlagSet, scale string) {
	f.StringArrayVar(&s.set, "set", nil, "change an axis of every chosen model, `AXIS=VALUE`; repeatable (march list --axes)")
	f.StringVar(&s.arch, "arch", "", "`ARCHITECTURES`, joined by commas; of a glob's variants, those that have one (default: each variant's first)")
	f.StringVar(&s.match, "match", "", "give every model the feed-forward width that brings its `MEASURE` nearest to its baseline's: "+joined(variants.Matches()))
	f.StringVar(&s.scale, "scale", scale, "`SIZE` of the models: "+strings.Join(variants.Scales(), ", "))
}

// checkScale checks --scale.
func checkScale(scale string) error {
	if slices.Contains(variants.Scales(), scale) {
		return nil
	}
	return usagef("--scale %s is not one of %s%s", scale, strings.Join(variants.Scales(), ", "), didYouMean(scale, variants.Scales(), ""))
}

// empty tells that no model was named.
func (s *selection) empty() bool { return len(s.patterns)+len(s.configs) == 0 }

// models resolves a selection: the variants in the order of the flags, each once, then
// the config files. None named is an error; use empty before where a command has a
// choice of its own.
func (s *selection) models() ([]variants.Variant, error) {
	if s.empty() {
		return nil, usagef("no model is named: wanted --variant NAME (march list shows them) or --config FILE")
	}
	if err := checkScale(s.scale); err != nil {
		return nil, err
	}
	for _, change := range s.set {
		if axis, _, ok := strings.Cut(change, "="); !ok || strings.TrimSpace(axis) == "" {
			return nil, usagef("--set %q: wanted AXIS=VALUE, such as heads=12", change)
		}
	}
	if s.match != "" && !slices.Contains(variants.Matches(), s.match) {
		return nil, usagef("--match %s is not one of %s%s", s.match, joined(variants.Matches()), didYouMean(s.match, variants.Matches(), ""))
	}
	var list []variants.Variant
	add := func(v variants.Variant, where string) error {
		v, err := v.With(s.set)
		if err != nil {
			return usagef("%s--set: %w", where, err)
		}
		if s.match != "" {
			if v, err = v.Matched(s.match); err != nil {
				return usagef("%s--match: %w", where, err)
			}
		}
		same := func(w variants.Variant) bool { return w.FullName() == v.FullName() && w.Config == v.Config }
		if !slices.ContainsFunc(list, same) {
			list = append(list, v)
		}
		return nil
	}
	var archs []string
	if s.arch != "" {
		archs = strings.Split(s.arch, ",")
	}
	for _, pattern := range s.patterns {
		found, err := variants.Select(pattern, s.scale, archs)
		if err != nil {
			return nil, usagef("%s%w", s.where, err)
		}
		for _, v := range found {
			if err := add(v, ""); err != nil {
				return nil, err
			}
		}
	}
	for _, file := range s.configs {
		if strings.Contains(s.arch, ",") {
			return nil, usagef("--arch %s: a config file wants one architecture", s.arch)
		}
		v, err := readConfig(file, s.scale, s.arch)
		if err != nil {
			return nil, err
		}
		if err := add(v, file+": "); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// one is models for commands that work on a single one.
func (s *selection) one() (variants.Variant, error) {
	list, err := s.models()
	if err != nil {
		return variants.Variant{}, err
	}
	if len(list) > 1 {
		names := make([]string, len(list))
		for i, v := range list {
			names[i] = v.FullName()
		}
		return variants.Variant{}, usagef("wanted one model, found %d: %s", len(list), abridge(names, 4))
	}
	return list[0], nil
}

// Bounds of a config, which has some 60 lines, and of a plan: the YAML library's memory grows with the square of the depth of
// brackets.
const (
	maxConfig  = 64 << 10
	maxNesting = 20
)

// readYAML reads the file of a flag, within the bounds.
func readYAML(flag, file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("--%s %w", flag, plain(err))
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err != nil {
		return nil, fmt.Errorf("--%s %w", flag, plain(err))
	}
	if len(data) > maxConfig {
		err = fmt.Errorf("larger than %d KiB, which no %s is", maxConfig>>10, flag)
	}
	if err == nil && nesting(data) > maxNesting {
		err = fmt.Errorf("more than %d brackets within one another, which no %s has", maxNesting, flag)
	}
	if err != nil {
		return nil, fmt.Errorf("--%s %s: %w", flag, file, err)
	}
	return data, nil
}

func readConfig(file, scale, arch string) (variants.Variant, error) {
	data, err := readYAML("config", file)
	if err != nil {
		return variants.Variant{}, err
	}
	v, err := variants.ReadYAML(data, scale, arch)
	if err != nil {
		return v, fmt.Errorf("--config %s: %w", file, err)
	}
	return v, nil
}

// nesting is how many brackets are open at once, those in texts among them.
func nesting(data []byte) int {
	open, most := 0, 0
	for _, c := range data {
		switch c {
		case '[', '{':
			open++
			most = max(most, open)
		case ']', '}':
			open--
		}
	}
	return most
}

// deviceFlags is where models run: --device, --threads and --lib.
type deviceFlags struct {
	device  string
	threads int
	library string
}

// addDeviceFlags defines the flags of a device.
func addDeviceFlags(f *pflag.FlagSet) *deviceFlags {
	d := &deviceFlags{}
	f.StringVar(&d.device, "device", "auto", "`DEVICE` that models run on: auto (the GPU where there is one, else the CPU), cpu, cuda or cuda:1")
	f.IntVar(&d.threads, "threads", 0, "`NUMBER` of threads on the CPU, shared by what runs at once: parts of a step, batches that are scored (default: one for each physical core)")
	f.StringVar(&d.library, "lib", "", "ONNX Runtime library `FILE` (default: $MARCH_ONNXRUNTIME_LIB, the set-up's, the system's)")
	return d
}

// options checks the flags.
func (d *deviceFlags) options() (runtime.Options, error) {
	device, err := runtime.ParseDevice(d.device)
	if err != nil {
		return runtime.Options{}, usagef("--device: %w", err)
	}
	if d.threads < 0 {
		return runtime.Options{}, usagef("--threads %d: wanted 1 or more, or 0 for one thread for each physical core", d.threads)
	}
	return runtime.Options{Library: d.library, Device: device, Threads: d.threads}, nil
}

// openRuntime says on stderr where there is a GPU that cannot be used.
func openRuntime(note notes, o runtime.Options) (*runtime.Runtime, error) {
	rt, err := runtime.Open(o)
	if err == nil && rt.Unused() != "" {
		note("running on the CPU, though there is a GPU: %s", rt.Unused())
	}
	return rt, err
}

// arithmeticFlags are the flags of how a GPU computes.
type arithmeticFlags struct {
	precision     string
	deterministic bool
}

// addArithmeticFlags defines them.
func addArithmeticFlags(f *pflag.FlagSet) *arithmeticFlags {
	a := &arithmeticFlags{}
	f.StringVar(&a.precision, "precision", "fp32", "`ARITHMETIC`: fp32; on a GPU also tf32 (matrix products of factors rounded to 10 bits) and bf16 (bfloat16, with float32 parameters, statistics, loss and optimizer)")
	f.BoolVar(&a.deterministic, "deterministic", false, "bit-equal runs on the same GPU, at some speed; on a CPU runs always are")
	return a
}

// check refuses arithmetic that there is not.
func (a *arithmeticFlags) check() error {
	if !slices.Contains(sweep.Precisions(), a.precision) {
		return notOneOf("precision", a.precision, sweep.Precisions())
	}
	return nil
}

// open starts ONNX Runtime on a device that can compute so.
func (a *arithmeticFlags) open(note notes, o runtime.Options) (*runtime.Runtime, error) {
	if err := a.check(); err != nil {
		return nil, err
	}
	o.TF32, o.Deterministic = a.precision != "fp32", a.deterministic
	rt, err := openRuntime(note, o)
	if err == nil && rt.GPU() == "" && a.precision != "fp32" {
		rt.Close()
		return nil, usagef("--precision %s needs a GPU; on the CPU there is fp32", a.precision)
	}
	return rt, err
}

// memoryFlags are the flags that trade time for a GPU's memory.
type memoryFlags struct {
	recompute  string
	lossChunks int
}

// addMemoryFlags defines them.
func addMemoryFlags(f *pflag.FlagSet) *memoryFlags {
	m := &memoryFlags{}
	f.StringVar(&m.recompute, "recompute", "none", "`WHAT` gradients compute anew instead of keeping it: "+joined(program.Recomputes())+"; attention is the probabilities of attentions, block all that is inside of a layer")
	f.IntVar(&m.lossChunks, "loss-chunks", 1, "`PARTS` in which the loss head goes over the rows, so that logits never exist whole")
	return m
}

func (m *memoryFlags) check() error {
	if !slices.Contains(program.Recomputes(), m.recompute) {
		return notOneOf("recompute", m.recompute, program.Recomputes())
	}
	if m.lossChunks < 1 {
		return usagef("--loss-chunks %d: wanted 1 or more", m.lossChunks)
	}
	return nil
}

// addCUDAGraphFlag defines --cuda-graph.
func addCUDAGraphFlag(f *pflag.FlagSet) *string {
	return f.String("cuda-graph", "auto", "`WHETHER` a GPU plays a micro-batch's kernels back as one recorded graph: auto (what a few runs find faster; with --deterministic off), on or off")
}

func checkCUDAGraph(text string) error {
	if !slices.Contains(trainloop.CUDAGraphs(), text) {
		return notOneOf("cuda-graph", text, trainloop.CUDAGraphs())
	}
	return nil
}

// checkRecorded refuses --cuda-graph on where nothing can be recorded.
func checkRecorded(rt *runtime.Runtime, text string) error {
	if text == "on" && rt.GPU() == "" {
		return usagef("--cuda-graph on: needs a GPU, and this runs on the CPU; auto takes one where there is one")
	}
	return nil
}

// jsonFlag defines --json.
func jsonFlag(f *pflag.FlagSet) *bool { return f.Bool("json", false, "print JSON") }

// printJSON writes a value for programs to read.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// flagError says what is wrong with a flag, in march's words.
func flagError(f *pflag.FlagSet, err error) error {
	var unknown *pflag.NotExistError
	var missing *pflag.ValueRequiredError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown):
		name, dashes := unknown.GetSpecifiedName(), "--"
		if short := unknown.GetSpecifiedShortnames(); short != "" {
			name, dashes = short, "-"
		}
		var known []string
		f.VisitAll(func(g *pflag.Flag) { known = append(known, g.Name) })
		return fmt.Errorf("unknown flag %s%s%s", dashes, name, didYouMean(name, append(known, "help"), "--"))
	case errors.As(err, &missing):
		return fmt.Errorf("--%s needs a value", missing.GetFlag().Name)
	case errors.As(err, &invalid):
		g := invalid.GetFlag()
		wanted := map[string]string{
			"int": "a whole number", "int64": "a whole number", "uint64": "a whole number that is not negative",
			"float64": "a number", "bool": "true or false", "duration": "a time such as 90s or 1h30m",
		}[g.Value.Type()]
		if wanted == "" {
			return fmt.Errorf("--%s %q: %w", g.Name, invalid.GetValue(), errors.Unwrap(invalid))
		}
		return fmt.Errorf("--%s %q: wanted %s", g.Name, invalid.GetValue(), wanted)
	}
	return err
}

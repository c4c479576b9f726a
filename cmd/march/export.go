package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"march/cmd/internal/sweep"
	"march/graphgen"
	"march/graphgen/atomicfile"
	"march/variants/export"
)

var exportCommand = command{
	name: "export", group: groupTrain,
	short: "a trained run for other tools: ONNX with its weights, or a Hugging Face folder",
	long: "Writes a trained model as infer.onnx, tokens to logits with batch and length left open, with the tokenizer beside it. Weights are inside the file up to --inside MiB; " +
		"above, the file points into model.safetensors beside it. The files' properties have the variant, its config, the run, licence and producer.\n\n" +
		"--cache adds the keys and values of earlier tokens as inputs (past_key_values.N.key and .value) and outputs (present.N.key and .value), so that a text costs one token a run; an encoder-decoder then " +
		"is two files, encoder.onnx and decoder.onnx.\n\n" +
		"--precision fp16 and bf16 write weights, activations and caches of two bytes; logits stay fp32, and in fp32 is computed what adds up or needs the range: the output says which operators.\n\n" +
		"--hf writes what transformers loads instead: config.json, model.safetensors and the tokenizer, for models that GPT-Neo, GPT-2 or RoBERTa can be. march train --init starts from such a folder.",
	examples: []example{
		{"march export --run runs/deep --out exported/deep", "infer.onnx and tokenizer.json"},
		{"march export --run runs/deep --checkpoint best --cache --precision fp16 --out exported/deep", "the best checkpoint, for generating, in half the size"},
		{"march export --run runs/deep --hf --licence CC-BY-4.0 --out exported/hf", "for transformers"},
	},
	setup: func(f *pflag.FlagSet) action {
		x := &exporting{}
		f.StringVar(&x.run, "run", "", "`FOLDER` of a run of march train or march bench")
		f.StringVar(&x.program, "program", "", "`FOLDER` of a program of march gen instead of a run, for its start values or --params")
		f.StringVar(&x.params, "params", "", "safetensors `FILE` with the program's parameters (default: its start values)")
		x.checkpoint = checkpointFlag(f)
		f.StringVar(&x.out, "out", "", "`FOLDER` to write to; new or empty")
		f.BoolVar(&x.hf, "hf", false, "write a Hugging Face folder instead of ONNX files")
		f.BoolVar(&x.cache, "cache", false, "inputs and outputs for the keys and values of earlier tokens")
		f.StringVar(&x.precision, "precision", "fp32", "`TYPE` of weights and activations: "+joined(export.Precisions()))
		f.StringVar(&x.target, "target", string(graphgen.Portable), "`OPERATORS` of the graphs: "+joined(exportTargets))
		f.StringVar(&x.weights, "weights", "auto", "`WHERE` the weights lie: inside the ONNX file, beside it in model.safetensors, or auto (by --inside)")
		f.IntVar(&x.inside, "inside", export.InsideLimit>>20, "`MIB` of weights up to which auto puts them inside")
		f.StringVar(&x.licence, "licence", "", "`LICENCE` of the weights, such as CC-BY-4.0, for the files' properties (default: none is stated)")
		x.data = runDataFlag(f)
		asJSON := jsonFlag(f)
		return func(_ context.Context, e *env, _ []string) error {
			limit, err := x.check(f)
			if err != nil {
				return err
			}
			t, err := x.open(e)
			if err != nil {
				return err
			}
			w, err := x.write(t, limit)
			if err != nil {
				return err
			}
			if x.precision == "bf16" {
				e.logf("bf16 runs where there are kernels for it: ONNX Runtime's CUDA provider, onnx's reference evaluator; ONNX Runtime's CPU provider has none")
			}
			if *asJSON {
				return printJSON(e.stdout, w)
			}
			return w.print(e)
		}
	},
}

// exportTargets are those that other tools have the operators of.
var exportTargets = []graphgen.Target{graphgen.Portable, graphgen.ORT}

// exporting is export's flags.
type exporting struct {
	run, program, params, out, precision, target, weights, licence string
	checkpoint, data                                               *string
	hf, cache                                                      bool
	inside                                                         int
}

// check refuses what nothing can be written by, and gives the limit of [export.ONNXOptions].
func (x *exporting) check(f *pflag.FlagSet) (limit int64, err error) {
	switch {
	case (x.run == "") == (x.program == ""):
		return 0, usagef("wanted --run FOLDER, a run of march train or march bench, or --program FOLDER")
	case x.run != "" && x.params != "":
		return 0, usagef("--params goes with --program: a run has its checkpoints (--checkpoint)")
	case x.program != "" && (x.hf || f.Changed("checkpoint") || f.Changed("data")):
		return 0, usagef("--program has neither a tokenizer nor checkpoints: --hf, --checkpoint and --data go with --run")
	case x.out == "":
		return 0, usagef("wanted --out FOLDER, to write to")
	case !slices.Contains(export.Precisions(), x.precision):
		return 0, notOneOf("precision", x.precision, export.Precisions())
	case !slices.Contains(exportTargets, graphgen.Target(x.target)):
		return 0, usagef("--target %s is not one of %s", x.target, joined(exportTargets))
	case !slices.Contains([]string{"auto", "inside", "beside"}, x.weights):
		return 0, notOneOf("weights", x.weights, []string{"auto", "inside", "beside"})
	case x.inside < 0 || x.inside > 1<<20:
		return 0, usagef("--inside %d: wanted 0 or more MiB", x.inside)
	}
	if x.hf {
		for _, flag := range []string{"cache", "precision", "target", "weights", "inside"} {
			if f.Changed(flag) {
				return 0, usagef("--%s is of ONNX files, and --hf writes none: model.safetensors is fp32, and transformers has its own cache", flag)
			}
		}
	}
	return map[string]int64{"auto": max(1, int64(x.inside)<<20), "inside": -1, "beside": 1}[x.weights], nil
}

// open finds the model.
func (x *exporting) open(e *env) (*sweep.Trained, error) {
	if x.program == "" {
		return openTrained(e, x.run, *x.checkpoint, *x.data)
	}
	t, err := sweep.OpenProgram(x.program, x.params)
	if err != nil {
		return nil, fmt.Errorf("--program: %w", err)
	}
	return t, nil
}

// write makes the folder.
func (x *exporting) write(t *sweep.Trained, limit int64) (*exported, error) {
	entries, err := os.ReadDir(x.out)
	switch {
	case err == nil && len(entries) > 0:
		return nil, fmt.Errorf("--out: %s holds files already, such as %s: wanted a new or an empty folder", x.out, entries[0].Name())
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("--out: %w", plain(err))
	}
	values, closer, err := t.Values()
	if err != nil {
		return nil, err
	}
	defer closer()
	m := export.Model{Name: t.Name(), Config: t.Config, Values: values, Version: marchVersion()}
	if err := os.MkdirAll(x.out, 0o777); err != nil {
		return nil, fmt.Errorf("--out: %w", plain(err))
	}
	if x.hf {
		return x.writeHF(t, m)
	}
	w := &exported{Folder: x.out, Variant: t.Name(), Arch: t.Config.Arch, Step: t.Checkpoint.Step, Valid: t.Checkpoint.Valid, Precision: x.precision, Cache: x.cache}
	metadata, err := x.metadata(t)
	if err != nil {
		return nil, err
	}
	w.Files, err = export.ONNX(x.out, m, export.ONNXOptions{Target: graphgen.Target(x.target), Precision: x.precision, Cache: x.cache, Limit: limit, Metadata: metadata})
	if err != nil {
		_ = os.Remove(x.out) // if nothing was written
		return nil, fmt.Errorf("variant %s: %w", t.Name(), err)
	}
	if t.Tokenizer == nil {
		return w, nil
	}
	if err := t.Tokenizer.Save(filepath.Join(x.out, sweep.TokenizerFile)); err != nil {
		return nil, err
	}
	w.add(sweep.TokenizerFile)
	return w, nil
}

// writeHF makes a Hugging Face folder.
func (x *exporting) writeHF(t *sweep.Trained, m export.Model) (*exported, error) {
	w := &exported{Folder: x.out, Variant: t.Name(), Arch: t.Config.Arch, Step: t.Checkpoint.Step, Valid: t.Checkpoint.Valid, Precision: "fp32"}
	var err error
	if w.Files, w.Twin, err = export.HuggingFace(x.out, m, t.Tokenizer); err != nil {
		_ = os.Remove(x.out) // if nothing was written
		return nil, fmt.Errorf("variant %s: %w", t.Name(), err)
	}
	card := "---\nlibrary_name: transformers\n"
	if x.licence != "" {
		card += fmt.Sprintf("license: %s\n", strings.ToLower(x.licence))
	}
	card += fmt.Sprintf("---\n\nmarch %s, variant %s (%s, scale %s), step %d of a run on %s, as %s.\n", marchVersion(), t.Name(), t.Settings.Arch, t.Settings.Scale, t.Checkpoint.Step, t.Settings.DataSource, w.Twin)
	if err := atomicfile.WriteFile(filepath.Join(x.out, cardFile), []byte(card)); err != nil {
		return nil, err
	}
	w.add(cardFile)
	return w, nil
}

// cardFile is the model's card, with its licence.
const cardFile = "README.md"

// metadata are the properties of the ONNX files; those that ONNX names itself are model_author and model_license.
func (x *exporting) metadata(t *sweep.Trained) (map[string]string, error) {
	s := t.Settings
	m := map[string]string{
		"variant": t.Name(), "arch": s.Arch, "scale": s.Scale, "config": string(s.Config), "precision": x.precision, "target": x.target,
		"objective": s.Objective, "seed": strconv.FormatUint(s.Seed, 10), "producer": "march " + marchVersion(),
	}
	var err error
	if m["parameters_sha256"], err = atomicfile.SHA256(t.Params); err != nil {
		return nil, err
	}
	if x.run != "" {
		m["run"], m["step"] = filepath.Base(filepath.Clean(t.Dir)), strconv.FormatInt(t.Checkpoint.Step, 10)
		m["data"], m["data_sha256"], m["tokenizer_sha256"] = s.DataSource, s.DataSHA256, s.Tokenizer
	}
	if t.Checkpoint.Valid != nil {
		m["valid_loss"] = strconv.FormatFloat(*t.Checkpoint.Valid, 'g', -1, 64)
	}
	if x.licence != "" {
		m["model_license"] = x.licence
	}
	return m, nil
}

// exported is what was written, in a listing and in JSON.
type exported struct {
	Folder    string        `json:"folder"`
	Variant   string        `json:"variant"`
	Arch      string        `json:"arch"`
	Step      int64         `json:"step"`
	Valid     *float64      `json:"valid_loss,omitempty"`
	Precision string        `json:"precision"`
	Cache     bool          `json:"cache"`
	Twin      string        `json:"transformers,omitempty"`
	Files     []export.File `json:"files"`
}

// add lists a file of the folder.
func (w *exported) add(name string) {
	f := export.File{Name: name}
	if info, err := os.Stat(filepath.Join(w.Folder, name)); err == nil {
		f.Bytes = info.Size()
	}
	w.Files = append(w.Files, f)
}

// exportAbout says what the files are for.
var exportAbout = map[string]string{
	"infer.onnx": "tokens to logits", "encoder.onnx": "tokens to the keys and values that decoder.onnx reads", "decoder.onnx": "decoder tokens to logits",
	export.WeightsFile: "the weights", "config.json": "the model, for transformers", "tokenizer_config.json": "special tokens", "generation_config.json": "where a text ends",
	cardFile: "the model's card", sweep.TokenizerFile: "the tokenizer, as Hugging Face's tokenizers reads it",
}

func (w *exported) print(e *env) error {
	fmt.Fprintf(e.stdout, "%s, %s", w.Variant, w.Arch)
	if w.Step > 0 {
		fmt.Fprintf(e.stdout, ", step %s", grouped(w.Step))
	}
	if w.Valid != nil {
		fmt.Fprintf(e.stdout, ", validation loss %.4f", *w.Valid)
	}
	fmt.Fprintf(e.stdout, ", %s", w.Precision)
	if w.Twin != "" {
		fmt.Fprintf(e.stdout, ", as %s", w.Twin)
	}
	fmt.Fprintln(e.stdout)
	rows := make([][]string, len(w.Files))
	var kept string
	for i, f := range w.Files {
		about := exportAbout[f.Name]
		if f.External {
			about += "; its weights are in " + export.WeightsFile
		}
		rows[i] = []string{f.Name, size(f.Bytes), "", about}
		if f.Nodes > 0 {
			rows[i][2] = grouped(int64(f.Nodes))
		}
		if f.Float32 != nil {
			names := make([]string, 0, len(f.Float32))
			for name := range f.Float32 {
				names = append(names, name)
			}
			slices.Sort(names)
			kept += fmt.Sprintf("%s computes in fp32: %s\n", f.Name, strings.Join(names, ", "))
		}
	}
	err := printTable(e.stdout, e.width(), []column{{title: "file"}, {title: "size", right: true}, {title: "nodes", right: true}, {title: "for", fit: fold}}, rows)
	fmt.Fprint(e.stdout, kept)
	fmt.Fprintf(e.stdout, "in %s\n", w.Folder)
	return err
}

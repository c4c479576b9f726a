package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"march/graphgen"
	"march/variants"
	"march/variants/manifest"
	"march/variants/program"
)

var genCommand = command{
	name: "gen", group: groupModels,
	short: "write a variant's program: ONNX training graphs, start values, manifest",
	long: "Writes each chosen model as a program: a folder of ONNX files for one micro-batch's gradients, the optimizer's update, " +
		"a whole training step, evaluation and inference, with start values and a manifest. Any ONNX tool can open them.\n\n" +
		"--out is the program's own folder when one model is asked for; of several, each lies in STUDY/VARIANT/ARCHITECTURE below it. " +
		"Without --out that is below programs in the current folder.",
	examples: []example{
		{"march gen --variant very_wide_cycle", "into programs/sharing/very_wide_cycle/decoder"},
		{"march gen --variant 'deep_*' --scale tiny --target ort --out /tmp/deep", "several, with operators that ONNX Runtime alone has"},
		{"march gen --variant baseline --set heads=12 --set qkv_dim=32 --seq 256 --batch 4", "twelve heads of 32, four sequences of 256 tokens a micro-batch"},
		{"march gen --variant gpt2 --opset 17 --shapes static", "for an older runtime, or one that wants to know all sizes"},
		{"march gen --config mine.yaml --out mine", "a model of your own"},
	},
	setup: func(f *pflag.FlagSet) action {
		g := &generation{selection: selectFlags(f, "paper")}
		f.StringVar(&g.target, "target", string(graphgen.Portable), "`OPERATORS` of the graphs: "+joined(graphgen.Targets())+"; portable has those of ai.onnx alone, fused kernels that march has on a GPU")
		f.IntVar(&g.opset, "opset", graphgen.Opset, fmt.Sprintf("`VERSION` of ai.onnx operators, %d to %d; one newer than a runtime knows does not load there", graphgen.OldestOpset, graphgen.NewestOpset))
		f.StringVar(&g.shapes, "shapes", "dynamic", "`SIZES` of eval.onnx, score.onnx and infer.onnx: "+joined(shapes)+"; static has those of the micro-batch, as the graphs that train always have")
		f.StringVar(&g.precision, "precision", "fp32", "`ARITHMETIC` of the graphs that train: "+joined(program.Precisions())+"; parameters and optimizer are fp32 in both")
		f.BoolVar(&g.training, "training-info", false, "also write "+program.TrainingFile+": the model with its training step in ONNX's own form, TrainingInfoProto")
		g.memory = addMemoryFlags(f)
		f.IntVar(&g.batch, "batch", 0, "`SEQUENCES` of a micro-batch (default: as many as an optimizer step has, up to 16,384 tokens)")
		f.IntVar(&g.seq, "seq", 0, "`TOKENS` of a sequence (default: all positions of the model)")
		f.IntVar(&g.vocab, "vocab", 0, "`ENTRIES` of the vocabulary (default: the scale's)")
		f.Uint64Var(&g.seed, "seed", 1, "`SEED` of the start values")
		f.StringVar(&g.out, "out", "", "`FOLDER` to write to (default: programs/STUDY/VARIANT/ARCHITECTURE)")
		asJSON := jsonFlag(f)
		return func(ctx context.Context, e *env, _ []string) error {
			if err := g.check(f); err != nil {
				return err
			}
			models, err := g.models()
			if err != nil {
				return err
			}
			programs, err := g.generate(ctx, e, models)
			if err != nil {
				return err
			}
			switch {
			case *asJSON:
				return printJSON(e.stdout, programs)
			case len(programs) == 1:
				return programs[0].print(e)
			}
			return printPrograms(e, g.root(), programs)
		}
	},
}

// shapes are what --shapes takes.
var shapes = []string{"static", "dynamic"}

// generation is gen's flags.
type generation struct {
	*selection
	target, precision string
	opset             int
	shapes            string
	training          bool
	memory            *memoryFlags
	batch, seq, vocab int
	seed              uint64
	out               string
}

func (g *generation) check(f *pflag.FlagSet) error {
	if targets := graphgen.Targets(); !slices.Contains(targets, graphgen.Target(g.target)) {
		return usagef("--target %s is not one of %s", g.target, joined(targets))
	}
	if err := graphgen.CheckOpset(g.opset); err != nil {
		return usagef("--%w", err)
	}
	if !slices.Contains(shapes, g.shapes) {
		return notOneOf("shapes", g.shapes, shapes)
	}
	if g.precision == "tf32" {
		return usagef("--precision tf32 is a way to run graphs of fp32 on a GPU, not to write others: wanted --precision fp32")
	}
	if !slices.Contains(program.Precisions(), g.precision) {
		return usagef("--precision %s is not one of %s", g.precision, joined(program.Precisions()))
	}
	if err := g.memory.check(); err != nil {
		return err
	}
	for _, x := range []struct {
		name string
		n    int
	}{{"batch", g.batch}, {"seq", g.seq}, {"vocab", g.vocab}} {
		if f.Changed(x.name) && x.n < 1 {
			return usagef("--%s %d: wanted 1 or more", x.name, x.n)
		}
	}
	if f.Changed("out") && g.out == "" {
		return usagef("--out is empty: wanted a folder")
	}
	return nil
}

// models are the selection's, with the flags' vocabulary and checked against --seq.
func (g *generation) models() ([]variants.Variant, error) {
	list, err := g.selection.models()
	if err != nil {
		return nil, err
	}
	for i, v := range list {
		if g.vocab > 0 {
			if v, err = v.With([]string{fmt.Sprintf("vocab=%d", g.vocab)}); err != nil {
				return nil, usagef("--vocab: %w", err)
			}
			list[i] = v
		}
		if g.seq > v.Config.Length {
			return nil, usagef("--seq %d: variant %s has %d positions at scale %s; --set length=%[1]d gives it as many", g.seq, v.FullName(), v.Config.Length, v.Scale)
		}
	}
	return list, nil
}

// folder is where a model's program goes, one of n.
func (g *generation) folder(v variants.Variant, n int) string {
	if g.out != "" && n == 1 {
		return g.out
	}
	return filepath.Join(g.root(), v.Study, v.Name(), v.Config.Arch)
}

// root is the folder above several programs.
func (g *generation) root() string { return cmp.Or(g.out, "programs") }

// generate writes the programs. Each is whole once its manifest is there; those written
// before an interruption stay.
func (g *generation) generate(ctx context.Context, e *env, models []variants.Variant) ([]writtenProgram, error) {
	list := []writtenProgram{}
	for i, v := range models {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("stopped after %d of %d programs: %w", i, len(models), context.Cause(ctx))
		}
		folder := g.folder(v, len(models))
		if info, err := os.Stat(folder); err == nil && !info.IsDir() {
			return nil, fmt.Errorf("--out: %s is a file, wanted a folder", folder)
		}
		if len(models) > 1 {
			e.logf("%d/%d %s", i+1, len(models), folder)
		}
		m, err := program.Write(folder, v, program.Options{Target: graphgen.Target(g.target), Opset: g.opset, Static: g.shapes == "static", TrainingInfo: g.training, Precision: g.precision, GPU: graphgen.Target(g.target) == graphgen.Fused, Recompute: g.memory.recompute, LossChunks: g.memory.lossChunks, Batch: g.batch, Length: g.seq, Seed: g.seed})
		if err != nil {
			return nil, err
		}
		list = append(list, describeProgram(folder, m))
	}
	return list, nil
}

// writtenProgram is a program in a listing and in JSON.
type writtenProgram struct {
	Folder     string        `json:"folder"`
	Variant    string        `json:"variant"`
	Arch       string        `json:"arch"`
	Scale      string        `json:"scale"`
	Target     string        `json:"target"`
	Precision  string        `json:"precision"`
	Batch      int           `json:"batch"`
	Length     int           `json:"length"`
	Vocab      int           `json:"vocab"`
	Seed       uint64        `json:"seed"`
	Parameters int64         `json:"parameters"`
	Files      []writtenFile `json:"files"`
}

type writtenFile struct {
	File      string         `json:"file"`
	Bytes     int64          `json:"bytes"`
	SHA256    string         `json:"sha256,omitempty"`
	Nodes     int            `json:"nodes,omitempty"`
	Operators map[string]int `json:"operators,omitempty"`
	About     string         `json:"about"`
}

// fileAbout says what a program's files are for, in the order of a listing.
var fileAbout = []struct{ file, about string }{
	{"grad.onnx", "gradients of a micro-batch, added up"},
	{"update.onnx", "the optimizer: clipping and AdamW"},
	{"step.onnx", "a whole step in one, for other tools"},
	{program.TrainingFile, "model and step in one (TrainingInfoProto)"},
	{"eval.onnx", "log-probability of each label"},
	{"score.onnx", "the same of chosen positions; march eval"},
	{"infer.onnx", "tokens to logits"},
	{program.InitFile, "start values; infer.onnx reads them"},
	{manifest.File, "config, inputs and outputs, digests"},
}

func describeProgram(folder string, m *manifest.Manifest) writtenProgram {
	p := writtenProgram{Folder: folder, Variant: m.Study + "/" + m.Variant, Arch: m.Arch, Scale: m.Scale, Target: m.Target, Precision: m.Precision,
		Batch: m.Batch, Length: m.Length, Vocab: m.Vocab, Seed: m.Seed}
	for _, x := range m.Parameters {
		p.Parameters += int64(x.Elements())
	}
	graphs := map[string]*manifest.Graph{}
	for _, g := range m.Graphs {
		graphs[g.File] = g
	}
	for _, known := range fileAbout {
		f := writtenFile{File: known.file, About: known.about}
		if d, ok := m.Files[known.file]; ok {
			f.Bytes, f.SHA256 = d.Bytes, d.SHA256
		} else if info, err := os.Stat(filepath.Join(folder, known.file)); err == nil {
			f.Bytes = info.Size()
		} else {
			continue
		}
		if g := graphs[known.file]; g != nil {
			f.Nodes, f.Operators = g.Nodes, g.Operators
		}
		p.Files = append(p.Files, f)
	}
	return p
}

// print shows one program, file by file.
func (p writtenProgram) print(e *env) error {
	fmt.Fprintf(e.stdout, "%s, %s, scale %s: %s parameters\n", p.Variant, p.Arch, p.Scale, grouped(p.Parameters))
	fmt.Fprintf(e.stdout, "micro-batch of %d × %s tokens, vocabulary %s, target %s, %s\n", p.Batch, grouped(int64(p.Length)), grouped(int64(p.Vocab)), p.Target, p.Precision)
	rows := make([][]string, len(p.Files))
	for i, f := range p.Files {
		rows[i] = []string{f.File, size(f.Bytes), "", "", f.About}
		if f.Nodes > 0 {
			rows[i][2], rows[i][3] = grouped(int64(f.Nodes)), mostUsed(f.Operators, 2)
		}
	}
	err := printTable(e.stdout, e.width(), []column{
		{title: "file"}, {title: "size", right: true}, {title: "nodes", right: true}, {title: "operators"}, {title: "for", fit: fold},
	}, rows)
	fmt.Fprintf(e.stdout, "in %s\n", p.Folder)
	return err
}

// mostUsed names the n most frequent operators of a graph, and how many kinds there are
// besides.
func mostUsed(operators map[string]int, n int) string {
	names := make([]string, 0, len(operators))
	for name := range operators {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(operators[b], operators[a]), cmp.Compare(a, b))
	})
	var words []string
	for _, name := range names[:min(n, len(names))] {
		words = append(words, fmt.Sprintf("%d %s", operators[name], name))
	}
	if rest := len(names) - n; rest > 0 {
		words = append(words, counted(rest, "other kind"))
	}
	return strings.Join(words, ", ")
}

// printPrograms shows several programs, one a row.
func printPrograms(e *env, out string, programs []writtenProgram) error {
	rows := make([][]string, len(programs))
	for i, p := range programs {
		var bytes int64
		nodes := ""
		for _, f := range p.Files {
			bytes += f.Bytes
			if f.File == "grad.onnx" {
				nodes = grouped(int64(f.Nodes))
			}
		}
		rows[i] = []string{p.Variant, p.Arch, grouped(p.Parameters), fmt.Sprintf("%d × %d", p.Batch, p.Length), nodes, size(bytes)}
	}
	err := printTable(e.stdout, e.width(), []column{
		{title: "variant"}, {title: "arch"}, {title: "parameters", right: true}, {title: "batch × seq", right: true},
		{title: "nodes of\ngrad.onnx", right: true}, {title: "size", right: true},
	}, rows)
	e.note("%d programs (scale %s, target %s, %s) below %s, each in STUDY/VARIANT/ARCHITECTURE.", len(programs), programs[0].Scale, programs[0].Target, programs[0].Precision, out)
	return err
}

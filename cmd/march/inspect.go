package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"march/graphgen/onnxinfo"
)

var inspectCommand = command{
	name: "inspect", operands: "FILE [FILE2]", group: groupModels,
	short: "what is in an ONNX file: inputs, outputs, operators by layer, memory",
	long: "Prints an ONNX file's inputs and outputs, its operators by the layer that their names tell, and the memory of parameters and activations. " +
		"With two files it says what differs. It runs nothing and opens no file that a graph points to, and refuses graphs that point outside their folder.\n\n" +
		"Activations are estimated from shapes: of all tensors that nodes give, and of those alive at once in the file's order. A runtime needs less where it fuses nodes.",
	examples: []example{
		{"march inspect programs/sharing/baseline/decoder/step.onnx", "one file"},
		{"march inspect eval.onnx --size batch=8 --size length=128", "with numbers for sizes that are known when the graph runs"},
		{"march inspect a/grad.onnx b/grad.onnx", "what differs"},
	},
	setup: func(f *pflag.FlagSet) action {
		given := f.StringArray("size", nil, "give a dynamic dimension a size, `NAME=NUMBER`; repeatable")
		asJSON := jsonFlag(f)
		return func(_ context.Context, e *env, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return usagef("%d files: wanted FILE, or FILE and FILE2 to compare", len(args))
			}
			sizes, err := parseSizes(*given)
			if err != nil {
				return err
			}
			infos := make([]*onnxinfo.Info, len(args))
			for i, path := range args {
				if infos[i], err = onnxinfo.Read(path, sizes); err != nil {
					return err
				}
			}
			switch {
			case len(infos) == 2 && *asJSON:
				return printJSON(e.stdout, onnxinfo.Compare(infos[0], infos[1]))
			case len(infos) == 2:
				return printDifferences(e, infos[0], infos[1])
			case *asJSON:
				return printJSON(e.stdout, infos[0])
			}
			return printInfo(e, infos[0])
		}
	},
}

func parseSizes(given []string) (map[string]int64, error) {
	sizes := map[string]int64{}
	for _, text := range given {
		name, number, ok := strings.Cut(text, "=")
		n, err := strconv.ParseInt(number, 10, 64)
		if !ok || name == "" || err != nil || n < 1 {
			return nil, usagef("--size %q: wanted NAME=NUMBER, such as batch=8", text)
		}
		sizes[name] = n
	}
	return sizes, nil
}

// printInfo shows one file.
func printInfo(e *env, info *onnxinfo.Info) error {
	var opsets []string
	for _, domain := range slices.Sorted(maps.Keys(info.Opsets)) {
		opsets = append(opsets, fmt.Sprintf("%s %d", domain, info.Opsets[domain]))
	}
	fmt.Fprintf(e.stdout, "%s: %s, %s, format %d", info.File, size(info.Bytes), strings.Join(opsets, ", "), info.IR)
	if info.Producer != "" {
		fmt.Fprintf(e.stdout, ", by %s", info.Producer)
	}
	fmt.Fprintln(e.stdout)
	for _, k := range slices.Sorted(maps.Keys(info.Properties)) {
		if v := info.Properties[k]; len(v) <= 80 { // a config is no reading matter
			fmt.Fprintf(e.stdout, "  %s: %q\n", k, v)
		}
	}
	if err := printPorts(e, info); err != nil {
		return err
	}
	rows := make([][]string, 0, len(info.Layers)+1)
	for _, l := range info.Layers {
		rows = append(rows, []string{cmp.Or(l.Name, "(elsewhere)"), grouped(int64(l.Nodes)), size(l.Bytes), mostUsed(l.Operators, 4)})
	}
	rows = append(rows, []string{"all", grouped(int64(info.Nodes)), size(info.Sum), mostUsed(info.Operators, 4)})
	fmt.Fprintln(e.stdout)
	err := printTable(e.stdout, e.width(), []column{{title: "layer"}, {title: "nodes", right: true}, {title: "activations", right: true}, {title: "operators", fit: fold}}, rows)
	fmt.Fprintf(e.stdout, "\nactivations: %s in all, %s at once in the file's order\n", size(info.Sum), size(info.Peak))
	if info.Unknown > 0 {
		e.note("%s without a known shape are in neither figure; --size NAME=NUMBER gives dynamic dimensions a size.", counted(info.Unknown, "tensor"))
	}
	return err
}

// portKinds are the endings of names that come once for each parameter.
var portKinds = []struct{ suffix, kind string }{
	{".m.new", "new first moments"}, {".v.new", "new second moments"}, {".grad.new", "new sums of gradients"}, {".bf16.new", "new bfloat16 copies"}, {".new", "new parameters"},
	{".m", "first moments"}, {".v", "second moments"}, {".grad", "sums of gradients"}, {".mask", "masks"}, {".bf16", "bfloat16 copies"},
}

// printPorts shows inputs, weights and outputs; those of a kind in one row where they are many.
func printPorts(e *env, info *onnxinfo.Info) error {
	var rows [][]string
	for _, side := range []struct {
		name string
		list []onnxinfo.Port
	}{{"input", info.Inputs}, {"weight", info.Weights}, {"output", info.Outputs}} {
		kinds, order := map[string][]onnxinfo.Port{}, []string{}
		for _, p := range side.list {
			k := kindOf(side.name, p)
			if kinds[k] == nil {
				order = append(order, k)
			}
			kinds[k] = append(kinds[k], p)
		}
		for _, k := range order {
			list := kinds[k]
			if len(list) < 4 {
				for _, p := range list {
					rows = append(rows, []string{side.name, p.Name, p.Type(), portBytes(p.Bytes)})
				}
				continue
			}
			var sum int64
			for _, p := range list {
				sum += max(0, p.Bytes)
			}
			rows = append(rows, []string{side.name, fmt.Sprintf("%s %s", grouped(int64(len(list))), k), list[0].DType, portBytes(sum)})
		}
	}
	if info.External > 0 {
		rows = append(rows, []string{"", "of the weights in other files", "", size(info.External)})
	}
	return printTable(e.stdout, e.width(), []column{{title: ""}, {title: "name"}, {title: "type"}, {title: "bytes", right: true}}, rows)
}

func kindOf(side string, p onnxinfo.Port) string {
	for _, k := range portKinds {
		if strings.HasSuffix(p.Name, k.suffix) {
			return k.kind
		}
	}
	switch {
	case strings.HasPrefix(p.Name, "teacher."):
		return "parameters of the teacher"
	case side == "weight":
		return "weights"
	case strings.HasPrefix(p.DType, "float") && len(p.Shape) > 0 && side == "input":
		return "parameters"
	}
	return p.Name
}

func portBytes(n int64) string {
	if n < 0 {
		return "dynamic"
	}
	return size(n)
}

// printDifferences shows what two files have in different forms.
func printDifferences(e *env, a, b *onnxinfo.Info) error {
	list := onnxinfo.Compare(a, b)
	if len(list) == 0 {
		fmt.Fprintln(e.stdout, "inputs, outputs, weights' types, operators, layers and properties are the same")
		return nil
	}
	absent := func(s string) string {
		if s == "" {
			return "none"
		}
		if r := []rune(s); len(r) > 60 {
			return string(r[:57]) + "…"
		}
		return s
	}
	rows := make([][]string, len(list))
	for i, d := range list {
		rows[i] = []string{d.What, d.Name, absent(d.A), absent(d.B)}
	}
	err := printTable(e.stdout, e.width(), []column{{title: "what"}, {title: "name"}, {title: a.File}, {title: b.File, fit: fold}}, rows)
	fmt.Fprintf(e.stdout, "\nactivations: %s and %s in all, %s and %s at once\n", size(a.Sum), size(b.Sum), size(a.Peak), size(b.Peak))
	return err
}

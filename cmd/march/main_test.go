package main

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files in testdata anew")

// TestMain lets the test binary be march, for tests that send signals: see TestSignals.
func TestMain(m *testing.M) {
	if os.Getenv("MARCH_TEST_AS_MAIN") != "" {
		os.Exit(runTable(onSignals(), append(commands(), waitCommand), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// march runs a command line as main does.
func march(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, log bytes.Buffer
	code = run(context.Background(), args, strings.NewReader(""), &out, &log)
	return code, out.String(), log.String()
}

// ok is march for a command line that must do its work.
func ok(t *testing.T, args ...string) string {
	t.Helper()
	code, stdout, stderr := march(t, args...)
	if code != 0 {
		t.Fatalf("march %s: exit code %d\n%s", strings.Join(args, " "), code, stderr)
	}
	return stdout
}

// inFolder makes an empty folder the current one.
func inFolder(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}

// golden compares output with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		write(t, path, got)
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (go test ./cmd/march -update makes it)", err)
	}
	if got != string(want) {
		t.Errorf("%s has changed; got\n%s\nwant\n%s\n(go test ./cmd/march -update writes it anew)", path, got, want)
	}
}

// Wrong command lines: what they leave behind and what they say.
func TestWrongUse(t *testing.T) {
	inFolder(t)
	write(t, "file", "text")
	write(t, "folder/x", "")
	write(t, "key.yaml", "variant: deep_cycle\nheads: 12\nshare:\n  uzes: 3\n")
	write(t, "name.yaml", "variant: deep_cycl\n")
	write(t, "list.yaml", "heads: [1, 2]\n")
	write(t, "divide.yaml", "kv_heads: 4\n")
	write(t, "deep.yaml", strings.Repeat("[", 60_000))
	write(t, "long.yaml", strings.Repeat("# \n", 30_000))
	write(t, "noyaml.yaml", "a: b\n  c: d\n: :")
	write(t, "latin1.txt", "caf\xe9")
	write(t, "empty.txt", "")
	for _, x := range []struct {
		line string
		code int
		want string // in the one line on stderr
	}{
		{"lst", 2, `unknown command "lst"; did you mean list? (see march --help)`},
		{"frobnicate", 2, `unknown command "frobnicate" (see march --help)`},
		{"--json list", 2, "unknown flag --json of march; the command comes first"},
		{"help lst", 2, `unknown command "lst"; did you mean list?`},
		{"data prep", 2, `unknown command "data prep"; did you mean prepare? (see march data --help)`},
		{"version now", 2, `version: unexpected argument "now" (see march version --help)`},

		{"export --out x", 2, "export: wanted --run FOLDER, a run of march train or march bench, or --program FOLDER"},
		{"export --run folder --program folder --out x", 2, "or --program FOLDER"},
		{"export --run folder", 2, "export: wanted --out FOLDER"},
		{"export --run folder --out x", 1, "folder holds no run"},
		{"export --run folder --params file --out x", 2, "--params goes with --program"},
		{"export --program folder --hf --out x", 2, "go with --run"},
		{"export --program folder --out x", 1, "folder is not a program folder"},
		{"export --run folder --out x --precision fp15", 2, `--precision "fp15" is not one of fp32, fp16, bf16; did you mean fp`},
		{"export --run folder --out x --weights insid", 2, `--weights "insid" is not one of auto, inside, beside; did you mean inside?`},
		{"export --run folder --out x --target fused", 2, "--target fused is not one of portable"},
		{"export --run folder --out x --inside -1", 2, "--inside -1: wanted 0 or more MiB"},
		{"export --run folder --out x --hf --cache", 2, "--cache is of ONNX files, and --hf writes none"},
		{"export --run folder --out x --checkpoint newest", 2, `--checkpoint: "newest": wanted last, best or the number of a step`},
		{"generate", 2, "generate: wanted --run FOLDER"},
		{"generate --run folder", 1, "folder holds no run"},
		{"generate --run folder --tokens 0", 2, "--tokens 0: wanted 1 or more"},
		{"generate --run folder --temperature -1", 2, "--temperature: a temperature of -1: wanted 0"},
		{"generate --run folder --top-p 1.5", 2, "--top-p: a share of 1.5: wanted more than 0 and at most 1"},
		{"generate --run folder --top-k -2", 2, "--top-k: the -2 most likely tokens"},

		{"list --stduy x", 2, "list: unknown flag --stduy; did you mean --study? (see march list --help)"},
		{"list -study x", 2, "list: unknown flag -study; did you mean --study?"},
		{"list --study shring", 2, "--study shring is not one of sharing"},
		{"list --scale tny", 2, "--scale tny is not one of paper, small, tiny; did you mean tiny?"},
		{"list very_wide", 2, "did you mean very_wide_seq, very_wide_cycle"},
		{"list zz*", 2, `"zz*" matches nothing`},
		{"list [", 2, `variant pattern "["`},
		{"list deep_* --study plain", 2, "study plain has no variant that matches deep_*"},
		{"list baseline+heads=12", 2, "march show baseline+heads=12 shows them"},
		{"list --axes deep_seq", 2, "--axes goes with no pattern"},

		{"show", 2, "show: VARIANT or --config FILE is missing"},
		{"show baseline extra", 2, `unexpected argument "extra"`},
		{"show very_wide", 2, "did you mean very_wide_seq, very_wide_cycle"},
		{"show deep_*", 2, "wanted one model, found 3: sharing/deep_seq, sharing/deep_cycle, sharing/deep_cycle_rev"},
		{"show baseline --set heds=12", 2, `--set: variant baseline: unknown axis "heds"; did you mean heads?`},
		{"show baseline --set heads", 2, `--set "heads": wanted AXIS=VALUE`},
		{"show baseline --set heads=x", 2, "heads=x: wanted a whole number"},
		{"show baseline --set kv_heads=4", 2, "kv_heads 4 does not divide heads 6"},
		{"show baseline+kv_heads=4", 2, "kv_heads 4 does not divide heads 6"},
		{"show baseline --set share.unique=4", 2, "share.uses 6 is not a multiple of share.unique 4"},
		{"show baseline --arch quadratic", 2, `architecture "quadratic" is not one of decoder`},
		{"show --config missing.yaml", 1, "--config missing.yaml: no such file"},
		{"show --config folder", 1, "--config folder: is a directory"},
		{"show --config key.yaml", 1, `--config key.yaml: line 4: unknown axis "share.uzes"; did you mean share.uses?`},
		{"show --config name.yaml", 1, `--config name.yaml: unknown variant "deep_cycl"; did you mean deep_cycle`},
		{"show --config list.yaml", 1, "--config list.yaml: line 1: heads: wanted one value"},
		{"show --config divide.yaml", 1, "--config divide.yaml: kv_heads 4 does not divide heads 6"},
		{"train --variant baseline --diverged hope", 2, `--diverged: policy "hope": wanted stop or skip`},
		{"show --config deep.yaml", 1, "--config deep.yaml: more than 20 brackets within one another"},
		{"show --config long.yaml", 1, "--config long.yaml: larger than 64 KiB"},
		{"show --config noyaml.yaml", 1, "--config noyaml.yaml: not YAML"},
		{"show --config key.yaml --set heads=3", 1, "--config key.yaml: line 4"},

		{"gen", 2, "gen: no model is named: wanted --variant NAME"},
		{"gen baseline", 2, `unexpected argument "baseline"; did you mean --variant baseline?`},
		{"gen --variant", 2, "--variant needs a value"},
		{"gen --variant nosuch", 2, `--variant: unknown variant "nosuch"`},
		{"gen --variant baseline --batch x", 2, `--batch "x": wanted a whole number`},
		{"gen --variant baseline --batch 0", 2, "--batch 0: wanted 1 or more"},
		{"gen --variant baseline --seed -1", 2, `--seed "-1": wanted a whole number that is not negative`},
		{"gen --variant baseline --seq 1000", 2, "--seq 1000: variant sharing/baseline has 512 positions at scale paper; --set length=1000 gives it as many"},
		{"gen --variant baseline --vocab 2", 2, "--vocab: variant baseline: vocab is 2"},
		{"gen --variant baseline --target cuda", 2, "--target cuda is not one of portable, ort"},
		{"gen --variant baseline --precision fp8", 2, "--precision fp8 is not one of fp32, bf16"},
		{"gen --variant baseline --precision tf32", 2, "--precision tf32 is a way to run graphs of fp32"},
		{"gen --variant baseline --recompute all", 2, "--recompute \"all\" is not one of none, attention, block"},
		{"gen --variant deep_* --arch quadratic", 2, `no variant that pattern "deep_*" matches has architecture "quadratic"`},
		{"gen --variant baseline --scale tiny --out file", 1, "--out: file is a file, wanted a folder"},
		{"gen --variant baseline --scale tiny --out file/x", 1, "file: not a directory"},
		{"gen --variant baseline --out=", 2, "--out is empty"},

		{"data prepare", 2, "TEXT is missing: wanted text files, or --embedded"},
		{"data prepare file", 2, "--out FOLDER is missing"},
		{"data prepare nofile --out d", 1, `"nofile": no such file`},
		{"data prepare no*.txt --out d", 1, `"no*.txt": no such file`},
		{"data prepare folder --out d", 1, "folder"},
		{"data prepare empty.txt --out d", 1, "empty.txt: empty"},
		{"data prepare latin1.txt --out d", 1, "latin1.txt: not UTF-8"},
		{"data prepare file --out file", 1, "--out file is a file, wanted a folder"},
		{"data prepare file --out d --vocab 10", 2, "--vocab 10: wanted 259 or more"},
		{"data prepare file --out d --valid-fraction 1", 2, "--valid-fraction 1: wanted 0 to below 1"},
		{"data prepare file --out d --valid-fraction .1 --valid file", 2, "--valid and --valid-fraction exclude each other"},
		{"data prepare file --out d --vocab 300 --tokenizer file", 2, "--vocab and --tokenizer exclude each other"},
		{"data prepare file --out d --tokenizer file", 1, "tokenizer file: not JSON"},
		{"data prepare file --embedded --out d", 2, `--embedded and TEXT "file" exclude each other`},
		{"data info", 2, "data info: FOLDER is missing"},
		{"data info nofolder", 1, "nofolder: no such file"},
		{"data info file", 1, "file is a file, wanted a folder"},
		{"data info folder", 1, "folder holds no prepared data"},

		{"table", 2, "table: RUN is missing"},
		{"metrics", 2, "metrics: RUN is missing"},
		{"metrics folder", 1, "no run found: wanted folders with files metrics.jsonl"},
		{"metrics folder --format cvs", 2, `--format "cvs" is not one of csv, jsonl`},
		{"metrics folder --format jsonl --tensorboard x", 2, "--tensorboard and --format jsonl exclude each other"},
		{"metrics nofolder", 1, "nofolder: no such file or folder"},
		{"metrics file", 1, "no run found: wanted folders with files metrics.jsonl"},
		{"metrics nofolder*", 1, "nofolder*: no file or folder matches"},
		{"report", 2, "report: RUN is missing"},
		{"report folder", 2, "wanted --out FILE, --pictures FOLDER, or both"},
		{"report folder --out x.html", 1, "no run found in folder"},
		{"report nofolder --out x.html", 1, "nofolder: no such file or folder"},
		{"table nofolder", 1, "nofolder: no such file or folder"},
		{"table folder", 1, "no run found in folder: wanted folders with files run.json"},
		{"table file", 1, "file: not JSON"},
		{"table folder --format html", 2, `--format: unknown format "html", want one of text, markdown, csv, json, latex`},
		{"table folder --format csv --json", 2, "--json and --format csv exclude each other"},
		{"table folder --by phenomenom", 2, `--by "phenomenom" is not one of field, phenomenon, paradigm; did you mean phenomenon?`},
		{"table folder --suite grammar", 2, "--suite grammar goes with --by LEVEL"},
		{"table folder --by field --verdicts", 2, "--by field and verdicts exclude each other"},
		{"table folder --like head", 2, `--like "head" is not one of sharing, heads; did you mean heads?`},
		{"table folder --like heads --verdicts", 2, "--like heads has its own columns"},
		{"table folder --beside-study", 2, "--beside-study goes with --like STUDY"},
		{"table folder --metric valid_los", 2, `--metric "valid_los" is not one of seconds,`},

		{"doctor --device gpu", 2, `device "gpu"`},
		{"doctor --threads -1", 2, "--threads -1: wanted 1 or more"},
		{"doctor --threads many", 2, `--threads "many": wanted a whole number`},
		{"doctor --lib nolib.so", 1, "nolib.so: no such file"},
	} {
		code, _, stderr := march(t, strings.Fields(x.line)...)
		if code != x.code || !strings.Contains(stderr, x.want) || !strings.HasPrefix(stderr, "march: ") || strings.Count(stderr, "\n") != 1 {
			t.Errorf("march %s: exit code %d, want %d; stderr %q, want one line march: …%s", x.line, code, x.code, stderr, x.want)
		}
	}
}

// What nobody asked to be written is not written.
func TestWrongUseWritesNothing(t *testing.T) {
	inFolder(t)
	march(t, "gen", "--variant", "baseline", "--scale", "tiny", "--seq", "1000")
	march(t, "gen", "--variant", "baseline", "--variant", "nosuch", "--scale", "tiny")
	march(t, "data", "prepare", "missing", "--out", "d")
	entries, err := os.ReadDir(".")
	if err != nil || len(entries) > 0 {
		t.Errorf("found %v, %v", entries, err)
	}
}

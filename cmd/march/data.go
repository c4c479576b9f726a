package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"march/cmd/internal/sweep"
	"march/trainloop/corpus"
)

var dataCommand = command{
	name: "data", group: groupData,
	short: "turn text into tokens to train on",
	long:  "Prepares text for training, fetches public data, and tells what a prepared folder holds.",
	sub:   []command{dataPrepareCommand, dataFetchCommand, dataInfoCommand, dataImportCommand, dataExportCommand},
}

var dataPrepareCommand = command{
	name: "prepare", operands: "[TEXT…]",
	short: "text files into a tokenizer and token shards",
	long: "Trains a byte-level BPE tokenizer on the text, encodes the text, and writes both to a folder that --data takes. TEXT is a file or a " +
		"glob of UTF-8 text, compressed with gzip or zstd where its name ends in .gz or .zst. In plain text, lines that hold only <|endoftext|> " +
		"separate documents, or what --documents says; of a file whose name ends in .jsonl (or .ndjson) or .parquet, each record is one: its --field or --column. " +
		"Text is read as a stream, so memory does not grow with it.",
	examples: []example{
		{"march data prepare corpus/*.txt.gz --out data/mine --vocab 8192", "one hundredth of the documents is kept for validation"},
		{"march data prepare train.txt --valid valid.txt --out data/mine --vocab 2048", "validation text of its own"},
		{"march data prepare 'web/*.jsonl.zst' --field content --dedup --test-fraction 0.01 --out data/web", "records; each text once; two held-out sets"},
		{"march data prepare more.txt --tokenizer data/mine/tokenizer.json --out data/more", "with an existing tokenizer"},
		{"march data prepare --embedded --out data/grammar", "the stories that march bench trains on"},
	},
	setup: func(f *pflag.FlagSet) action {
		p := &preparation{}
		f.StringVar(&p.out, "out", "", "`FOLDER` to make; needed")
		f.IntVar(&p.vocab, "vocab", 2048, "`TOKENS` of the vocabulary to train, the special ones and 256 bytes included")
		f.StringVar(&p.tokenizer, "tokenizer", "", "tokenizer.json `FILE` to use instead of training one")
		f.StringArrayVar(&p.valid, "valid", nil, "validation text `FILE` or glob, in place of --valid-fraction; repeatable")
		f.Float64Var(&p.fraction, "valid-fraction", 0.01, "`SHARE` of the documents kept for validation, 0 to below 1")
		f.Float64Var(&p.test, "test-fraction", 0, "`SHARE` of the documents kept for a test, which --suite ppl-test alone looks at, 0 to below 1")
		f.StringVar(&p.documents, "documents", corpus.DocumentsMarked, "what documents of plain text are: `HOW` is marked (<|endoftext|> lines between them), blank (blank lines) or lines (each is one)")
		f.StringVar(&p.field, "field", corpus.DefaultField, "`NAME` of the field of JSONL records that holds the text")
		f.StringVar(&p.column, "column", corpus.DefaultField, "`NAME` of the column of Parquet files that holds the text")
		f.BoolVar(&p.dedup, "dedup", false, "leave out documents whose text, byte by byte, came before")
		f.BoolVar(&p.embedded, "embedded", false, "prepare march's embedded corpus in place of TEXT")
		asJSON := jsonFlag(f)
		return func(ctx context.Context, e *env, texts []string) error {
			options, err := p.options(f, texts)
			if err != nil {
				return err
			}
			show := newProgress(e)
			options.Progress = func(done, total int64) {
				show.show("", func() string {
					if total == 0 {
						return size(done) + " read"
					}
					return fmt.Sprintf("%s of %s read, %d %%", size(done), size(total), 100*done/total)
				})
			}
			info, err := corpus.Prepare(ctx, options)
			show.clear()
			if err != nil {
				return plainUnlessInterrupted(ctx, err)
			}
			tokens, documents := info.Tokens+info.ValidTokens+info.TestTokens, info.Documents+info.ValidDocuments+info.TestDocuments
			if share := float64(info.ValidTokens) / float64(max(1, tokens)); info.Split == corpus.SplitDocuments && share < options.ValidFraction/2 {
				e.logf("note: %s of %s documents fell to validation, %.2g %% of the tokens; --valid-fraction or --valid gives it more",
					grouped(info.ValidDocuments), grouped(documents), 100*share)
			}
			return printData(e, p.out, *info, *asJSON)
		}
	},
}

var dataInfoCommand = command{
	name: "info", operands: "FOLDER",
	short: "what a prepared folder holds",
	long: "Tells what a folder that march data prepare made holds: documents, tokens, bytes a token, how long the documents are, the entropy of single tokens, " +
		"how held-out text was chosen. --verify reads all of it.",
	examples: []example{
		{"march data info data/mine", "its figures"},
		{"march data info data/mine --verify", "and check every file against its checksum"},
	},
	setup: func(f *pflag.FlagSet) action {
		verify := f.Bool("verify", false, "read every file and compare it with its checksum")
		asJSON := jsonFlag(f)
		return func(_ context.Context, e *env, args []string) error {
			dir := args[0]
			if stat, err := os.Stat(dir); err != nil {
				return plain(err)
			} else if !stat.IsDir() {
				return fmt.Errorf("%s is a file, wanted a folder that march data prepare made", dir)
			}
			info, err := corpus.ReadInfo(dir)
			if errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("%s holds no prepared data: there is no data.json; march data prepare --out %[1]s makes it", dir)
			}
			if err != nil {
				return err
			}
			if *verify {
				d, err := corpus.Open(dir)
				if err != nil {
					return err
				}
				if err := d.Close(); err != nil {
					return err
				}
				e.logf("every file agrees with its checksum")
			}
			return printData(e, dir, *info, *asJSON)
		}
	},
}

// preparation is data prepare's flags.
type preparation struct {
	out       string
	vocab     int
	tokenizer string
	valid     []string
	fraction  float64
	test      float64
	documents string
	field     string
	column    string
	dedup     bool
	embedded  bool
}

func (p *preparation) options(f *pflag.FlagSet, texts []string) (corpus.PrepareOptions, error) {
	var o corpus.PrepareOptions
	switch {
	case p.embedded && len(texts) > 0:
		return o, usagef("--embedded and TEXT %q exclude each other", texts[0])
	case p.embedded && p.dedup:
		return o, usagef("--embedded and --dedup exclude each other: the embedded corpus is what it is")
	case p.embedded && len(p.valid) > 0, p.embedded && f.Changed("valid-fraction"):
		return o, usagef("--embedded brings validation text of its own; --valid and --valid-fraction do not go with it")
	case p.embedded && p.test > 0:
		return o, usagef("--embedded brings held-out text of its own; --test-fraction does not go with it")
	case !slices.Contains([]string{corpus.DocumentsMarked, corpus.DocumentsBlank, corpus.DocumentsLines}, p.documents):
		return o, usagef("--documents %q: wanted marked, blank or lines", p.documents)
	case !p.embedded && len(texts) == 0:
		return o, usagef("TEXT is missing: wanted text files, or --embedded for march's own")
	case len(p.valid) > 0 && f.Changed("valid-fraction"):
		return o, usagef("--valid and --valid-fraction exclude each other")
	case p.out == "":
		return o, usagef("--out FOLDER is missing")
	case p.tokenizer != "" && f.Changed("vocab"):
		return o, usagef("--vocab and --tokenizer exclude each other: a tokenizer has its vocabulary")
	case !(p.fraction >= 0 && p.fraction < 1):
		return o, usagef("--valid-fraction %g: wanted 0 to below 1, such as 0.01", p.fraction)
	case !(p.test >= 0 && p.fraction+p.test < 1):
		return o, usagef("--test-fraction %g with --valid-fraction %g: wanted 0 or more each, and together below 1", p.test, p.fraction)
	case p.vocab < leastVocab:
		return o, usagef("--vocab %d: wanted %d or more, 256 bytes and %d special tokens", p.vocab, leastVocab, leastVocab-256)
	}
	if stat, err := os.Stat(p.out); err == nil && !stat.IsDir() {
		return o, fmt.Errorf("--out %s is a file, wanted a folder", p.out)
	}
	if p.embedded {
		o = sweep.EmbeddedOptions(p.out, p.vocab)
	} else {
		o = corpus.PrepareOptions{
			Inputs: texts, ValidInputs: p.valid, Out: p.out, VocabSize: p.vocab,
			TestFraction: p.test, Documents: p.documents, Field: p.field, Column: p.column, Dedup: p.dedup,
		}
		if len(p.valid) == 0 {
			o.ValidFraction = p.fraction
		}
	}
	o.Tokenizer = p.tokenizer
	return o, nil
}

// leastVocab is a tokenizer without merges: 256 bytes and the special tokens.
const leastVocab = 256 + 3

func printData(e *env, dir string, info corpus.Info, asJSON bool) error {
	if asJSON {
		return printJSON(e.stdout, info)
	}
	if info.Source != "" {
		e.note("%s: %s", dir, info.Source)
	} else {
		fmt.Fprintf(e.stdout, "%s\n", dir)
	}
	shards := map[string]int{}
	for _, s := range info.Shards {
		shards[s.Stream]++
	}
	row := func(title, stream string, documents, tokens, bytes int64) []string {
		perToken := "–"
		if tokens > 0 {
			perToken = fmt.Sprintf("%.2f", float64(bytes)/float64(tokens))
		}
		return []string{title, grouped(documents), grouped(tokens), size(bytes), perToken, fmt.Sprint(shards[stream])}
	}
	rows := [][]string{
		row("training", "train", info.Documents, info.Tokens, info.Bytes),
		row("validation", "valid", info.ValidDocuments, info.ValidTokens, info.ValidBytes),
	}
	if info.TestDocuments > 0 {
		rows = append(rows, row("test", "test", info.TestDocuments, info.TestTokens, info.TestBytes))
	}
	err := printTable(e.stdout, e.width(), []column{
		{title: "stream"}, {title: "documents", right: true}, {title: "tokens", right: true}, {title: "text", right: true},
		{title: "bytes a token", right: true}, {title: "files", right: true},
	}, rows)
	if err == nil {
		err = printLengths(e, info)
	}
	fmt.Fprintf(e.stdout, "vocabulary         %s tokens (%s)\n", grouped(int64(info.VocabSize)), filepath.Join(dir, "tokenizer.json"))
	fmt.Fprintf(e.stdout, "unigram entropy    %.4f nats a token: what the frequencies of tokens alone reach\n", info.UnigramEntropy)
	fmt.Fprintf(e.stdout, "validation text    %s\n", splitAbout[info.Split])
	if info.From.Dedup {
		fmt.Fprintf(e.stdout, "left out           documents that repeat another: %s\n", grouped(info.Duplicates))
	}
	fmt.Fprintf(e.stdout, "sha256             %s\n", info.SHA256)
	return err
}

// printLengths prints the histogram of the training documents' lengths.
func printLengths(e *env, info corpus.Info) error {
	most, first := int64(1), true
	for _, n := range info.Lengths {
		most = max(most, n)
	}
	var rows [][]string
	for i, n := range info.Lengths {
		if first && n == 0 {
			continue
		}
		low := int64(1)
		if i > 0 {
			low = 1<<(i-1) + 1
		}
		lengths := grouped(low) + " to " + grouped(1<<i)
		if low >= 1<<i {
			lengths = grouped(1 << i)
		}
		const bar = 30
		first = false
		rows = append(rows, []string{lengths, grouped(n), fmt.Sprintf("%.1f %%", 100*float64(n)/float64(max(1, info.Documents))), strings.Repeat("█", int((n*bar+most-1)/most))})
	}
	return printTable(e.stdout, e.width(), []column{
		{title: "tokens of a training document", right: true}, {title: "documents", right: true}, {title: "share", right: true}, {title: ""},
	}, rows)
}

var dataImportCommand = command{
	name: "import", operands: "TOKENS…",
	short: "other trainers' files of tokens into a folder to train on",
	long: "Takes over tokens that were made elsewhere: nanoGPT's (16 bits each, nothing else) or llm.c's (behind its header, 16 or 32 bits). A document begins at every " +
		"<|endoftext|>, which the tokenizer must have.",
	examples: []example{
		{"march data import train.bin --valid val.bin --format nanogpt --tokenizer tokenizer.json --out data/owt", "what nanoGPT's prepare.py wrote"},
		{"march data import 'fineweb_train_*.bin' --format llm.c --tokenizer gpt2.json --out data/fineweb", "the shards of llm.c"},
	},
	setup: func(f *pflag.FlagSet) action {
		var o corpus.ImportOptions
		f.StringVar(&o.Format, "format", "", "`FORM` of the files: "+strings.Join(corpus.TokenFormats(), " or ")+"; needed")
		f.StringArrayVar(&o.Valid, "valid", nil, "validation tokens `FILE` or glob; repeatable")
		f.StringArrayVar(&o.Test, "test", nil, "test tokens `FILE` or glob; repeatable")
		f.StringVar(&o.Tokenizer, "tokenizer", "", "tokenizer.json `FILE` that the tokens were made with; needed")
		f.StringVar(&o.Out, "out", "", "`FOLDER` to make; needed")
		asJSON := jsonFlag(f)
		return func(ctx context.Context, e *env, tokens []string) error {
			o.Train = tokens
			switch {
			case !slices.Contains(corpus.TokenFormats(), o.Format):
				return usagef("--format %q: wanted %s", o.Format, strings.Join(corpus.TokenFormats(), " or "))
			case o.Tokenizer == "":
				return usagef("--tokenizer FILE is missing: ids mean nothing without theirs")
			case o.Out == "":
				return usagef("--out FOLDER is missing")
			}
			info, err := corpus.Import(ctx, o)
			if err != nil {
				return plainUnlessInterrupted(ctx, err)
			}
			return printData(e, o.Out, *info, *asJSON)
		}
	},
}

var dataExportCommand = command{
	name: "export", operands: "FOLDER",
	short: "a prepared folder's tokens as other trainers read them",
	long:  "Writes the tokens of a folder that march data prepare made as train.bin, val.bin and test.bin for nanoGPT or llm.c; its tokenizer.json goes with them.",
	examples: []example{
		{"march data export data/mine --format llm.c --out elsewhere", "with llm.c's header"},
	},
	setup: func(f *pflag.FlagSet) action {
		format := f.String("format", "", "`FORM` of the files: "+strings.Join(corpus.TokenFormats(), " or ")+"; needed")
		out := f.String("out", "", "`FOLDER` to write to; needed")
		return func(ctx context.Context, e *env, args []string) error {
			switch {
			case !slices.Contains(corpus.TokenFormats(), *format):
				return usagef("--format %q: wanted %s", *format, strings.Join(corpus.TokenFormats(), " or "))
			case *out == "":
				return usagef("--out FOLDER is missing")
			}
			d, err := corpus.Open(args[0])
			if err != nil {
				return err
			}
			defer d.Close()
			names, err := d.Export(ctx, *format, *out)
			if err != nil {
				return plainUnlessInterrupted(ctx, err)
			}
			for _, name := range names {
				fmt.Fprintln(e.stdout, name)
			}
			return d.Tokenizer().Save(filepath.Join(*out, "tokenizer.json"))
		}
	},
}

// splitAbout says how validation text was chosen.
var splitAbout = map[string]string{
	corpus.SplitGiven:     "given apart from the training text",
	corpus.SplitDocuments: "documents kept from training, chosen by their content",
	corpus.SplitTail:      "the end of the only document",
	corpus.SplitNone:      "none",
}

// plainUnlessInterrupted hides what an interruption broke behind the interruption.
func plainUnlessInterrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return context.Cause(ctx)
	}
	return err
}

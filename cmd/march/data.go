package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"march/cmd/internal/sweep"
	"march/trainloop/corpus"
)

var dataCommand = command{
	name: "data", group: groupData,
	short: "turn text into tokens to train on",
	long:  "Prepares text for training and tells what a prepared folder holds.",
	sub:   []command{dataPrepareCommand, dataInfoCommand},
}

var dataPrepareCommand = command{
	name: "prepare", operands: "[TEXT…]",
	short: "text files into a tokenizer and token shards",
	long: "Trains a byte-level BPE tokenizer on the text, encodes the text, and writes both to a folder that --data takes. TEXT is a file or a " +
		"glob of plain UTF-8 text, gzip-compressed where its name ends in .gz; lines that hold only <|endoftext|> separate documents.",
	examples: []example{
		{"march data prepare corpus/*.txt.gz --out data/mine --vocab 8192", "one hundredth of the documents is kept for validation"},
		{"march data prepare train.txt --valid valid.txt --out data/mine --vocab 2048", "validation text of its own"},
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
			if share := float64(info.ValidTokens) / float64(max(1, info.Tokens+info.ValidTokens)); info.Split == corpus.SplitDocuments && share < options.ValidFraction/2 {
				e.logf("note: %s of %s documents fell to validation, %.2g %% of the tokens; --valid-fraction or --valid gives it more",
					grouped(info.ValidDocuments), grouped(info.Documents+info.ValidDocuments), 100*share)
			}
			return printData(e, p.out, *info, *asJSON)
		}
	},
}

var dataInfoCommand = command{
	name: "info", operands: "FOLDER",
	short: "what a prepared folder holds",
	long:  "Tells what a folder that march data prepare made holds: documents, tokens, vocabulary, how validation text was chosen. --verify reads all of it.",
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
	embedded  bool
}

func (p *preparation) options(f *pflag.FlagSet, texts []string) (corpus.PrepareOptions, error) {
	var o corpus.PrepareOptions
	switch {
	case p.embedded && len(texts) > 0:
		return o, usagef("--embedded and TEXT %q exclude each other", texts[0])
	case p.embedded && len(p.valid) > 0, p.embedded && f.Changed("valid-fraction"):
		return o, usagef("--embedded brings validation text of its own; --valid and --valid-fraction do not go with it")
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
	case p.vocab < leastVocab:
		return o, usagef("--vocab %d: wanted %d or more, 256 bytes and %d special tokens", p.vocab, leastVocab, leastVocab-256)
	}
	if stat, err := os.Stat(p.out); err == nil && !stat.IsDir() {
		return o, fmt.Errorf("--out %s is a file, wanted a folder", p.out)
	}
	if p.embedded {
		o = sweep.EmbeddedOptions(p.out, p.vocab)
	} else {
		o = corpus.PrepareOptions{Inputs: texts, ValidInputs: p.valid, Out: p.out, VocabSize: p.vocab}
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
	var shards struct{ train, valid int }
	for _, s := range info.Shards {
		if s.Stream == "train" {
			shards.train++
		} else {
			shards.valid++
		}
	}
	perToken := func(bytes, tokens int64) string {
		if tokens == 0 {
			return "–"
		}
		return fmt.Sprintf("%.2f", float64(bytes)/float64(tokens))
	}
	err := printTable(e.stdout, e.width(), []column{
		{title: "stream"}, {title: "documents", right: true}, {title: "tokens", right: true}, {title: "text", right: true},
		{title: "bytes a token", right: true}, {title: "files", right: true},
	}, [][]string{
		{"training", grouped(info.Documents), grouped(info.Tokens), size(info.Bytes), perToken(info.Bytes, info.Tokens), fmt.Sprint(shards.train)},
		{"validation", grouped(info.ValidDocuments), grouped(info.ValidTokens), size(info.ValidBytes), perToken(info.ValidBytes, info.ValidTokens), fmt.Sprint(shards.valid)},
	})
	fmt.Fprintf(e.stdout, "vocabulary         %s tokens (%s)\n", grouped(int64(info.VocabSize)), filepath.Join(dir, "tokenizer.json"))
	fmt.Fprintf(e.stdout, "unigram entropy    %.4f nats a token: what the frequencies of tokens alone reach\n", info.UnigramEntropy)
	fmt.Fprintf(e.stdout, "validation text    %s\n", splitAbout[info.Split])
	fmt.Fprintf(e.stdout, "sha256             %s\n", info.SHA256)
	return err
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

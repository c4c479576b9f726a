package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/pflag"

	"march/cmd/internal/sweep"
	"march/evalsuite/generate"
	"march/variants"
)

var generateCommand = command{
	name: "generate", group: groupTrain,
	short: "text from a trained run",
	long: "Continues a prompt with a trained decoder, token by token, and prints the text as it comes. Keys and values of earlier tokens stay in memory; " +
		"where the model's positions are used up, it goes on with the later half of what it has read. An encoder-decoder reads the prompt in its encoder; " +
		"one that was trained on span corruption is asked what stands behind it.\n\n" +
		"The same seed gives the same text. Of the tokens that --top-k leaves, --top-p leaves the most likely ones; --temperature divides the logits before, and 0 takes the most likely token always.",
	examples: []example{
		{"march generate --run runs/deep", "a text from nothing"},
		{"march generate --run runs/deep --prompt Anna --tokens 200 --temperature 0.7 --top-p 0.9 --seed 3", "go on, less wildly"},
		{"march generate --run runs/deep --checkpoint best --prompt Anna --temperature 0", "the most likely text of the best checkpoint"},
	},
	setup: func(f *pflag.FlagSet) action {
		run := f.String("run", "", "`FOLDER` of a run of march train or march bench")
		checkpoint := checkpointFlag(f)
		prompt := f.String("prompt", "", "`TEXT` to go on from")
		var o generate.Options
		f.IntVar(&o.Tokens, "tokens", 100, "`NUMBER` of tokens at most; a text may end before")
		f.Float64Var(&o.Sampling.Temperature, "temperature", 1, "`DIVISOR` of the logits: below 1 likely tokens become likelier, 0 takes the most likely one")
		f.IntVar(&o.Sampling.TopK, "top-k", 0, "choose among so many most likely `TOKENS` (default: all)")
		f.Float64Var(&o.Sampling.TopP, "top-p", 1, "choose among the fewest most likely tokens that together have this `SHARE` of the probability")
		f.Uint64Var(&o.Seed, "seed", 1, "`SEED` of the choices")
		data := runDataFlag(f)
		asJSON := jsonFlag(f)
		device := addDeviceFlags(f)
		return func(ctx context.Context, e *env, _ []string) error {
			if *run == "" {
				return usagef("wanted --run FOLDER, a run of march train or march bench")
			}
			if o.Tokens < 1 {
				return usagef("--tokens %d: wanted 1 or more", o.Tokens)
			}
			if o.Sampling.TopP == 0 {
				return usagef("--top-p 0 leaves no token: wanted more than 0, at most 1")
			}
			for _, x := range []struct {
				flag string
				s    generate.Sampling
			}{{"temperature", generate.Sampling{Temperature: o.Sampling.Temperature}}, {"top-k", generate.Sampling{TopK: o.Sampling.TopK}}, {"top-p", generate.Sampling{TopP: o.Sampling.TopP}}} {
				if err := x.s.Check(); err != nil {
					return usagef("--%s: %w", x.flag, err)
				}
			}
			options, err := device.options()
			if err != nil {
				return err
			}
			t, err := openTrained(e, *run, *checkpoint, *data)
			if err != nil {
				return err
			}
			if t.Config.Arch == variants.Encoder {
				return fmt.Errorf("%s is an encoder: it fills in masked tokens and continues no text; march eval scores it, and a decoder or encoder-decoder generates (march train --arch decoder)", *run)
			}
			rt, err := openRuntime(e.logf, options)
			if err != nil {
				return err
			}
			defer rt.Close()
			g, err := t.Generator(rt)
			if err != nil {
				return err
			}
			defer g.Close()
			o.Prompt, o.Objective = *prompt, t.Settings.Objective
			out := io.Discard
			if !*asJSON {
				out = e.stdout
				if t.Config.Arch == variants.Decoder {
					fmt.Fprint(out, o.Prompt)
				}
			}
			r, err := generate.Text(ctx, g.Model, t.Tokenizer, o, out)
			if r != nil && !*asJSON {
				fmt.Fprintln(out)
			}
			if err != nil {
				return err
			}
			if r.Cut > 0 {
				e.logf("the prompt's first %s were left out: the model has %d positions", counted(r.Cut, "token"), g.Length())
			}
			if *asJSON {
				return printJSON(e.stdout, r)
			}
			e.logf("%s, ended by %s", counted(r.Tokens, "token"), endings[r.Ended])
			return nil
		}
	},
}

// endings are the reasons for a text's end, for people.
var endings = map[string]string{
	generate.EndedByTokens: "--tokens", generate.EndedByText: "the model (end of text)", generate.EndedBySpan: "the model (end of the span)",
	generate.EndedByPositions: "the decoder's last position",
}

// checkpointFlag defines --checkpoint.
func checkpointFlag(f *pflag.FlagSet) *string {
	return f.String("checkpoint", "last", "`WHICH` of the run's checkpoints: last, best (the lowest validation loss, of a run with --validate-every), or the number of a step")
}

// runDataFlag defines --data of commands that need a run's tokenizer only.
func runDataFlag(f *pflag.FlagSet) *string {
	return f.String("data", "", "prepared `FOLDER` that the run was trained on, for runs without a tokenizer.json of their own")
}

// openTrained opens a run for what uses its model.
func openTrained(e *env, run, checkpoint, data string) (*sweep.Trained, error) {
	if err := sweep.CheckCheckpoint(checkpoint); err != nil {
		return nil, usagef("--checkpoint: %w", err)
	}
	t, err := sweep.OpenTrained(run, checkpoint, data, func(text string) { e.logf("%s", text) })
	if err != nil {
		return nil, fmt.Errorf("--run: %w", err)
	}
	return t, nil
}

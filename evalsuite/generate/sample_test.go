package generate

import (
	"bytes"
	"context"
	"math"
	"slices"
	"strings"
	"testing"

	"march/trainloop/objective"
	"march/trainloop/rng"
	"march/trainloop/tokenizer"
	"march/variants"
)

// TestDistribution compares with distributions computed by hand. The logits are logarithms, so the probabilities at
// temperature 1 are 0.5, 0.2, 0.2 and 0.1.
func TestDistribution(t *testing.T) {
	logits := []float32{float32(math.Log(0.2)), float32(math.Log(0.5)), float32(math.Log(0.1)), float32(math.Log(0.2))}
	for _, c := range []struct {
		name    string
		s       Sampling
		allowed []bool
		want    []float64
	}{
		{"as they are", Sampling{Temperature: 1}, nil, []float64{0.2, 0.5, 0.1, 0.2}},
		{"temperature 1/2 squares", Sampling{Temperature: 0.5}, nil, []float64{0.04 / 0.34, 0.25 / 0.34, 0.01 / 0.34, 0.04 / 0.34}},
		{"the most likely", Sampling{}, nil, []float64{0, 1, 0, 0}},
		{"the most likely of two equals", Sampling{}, []bool{true, false, true, true}, []float64{1, 0, 0, 0}},
		{"two, of equals the first", Sampling{Temperature: 1, TopK: 2}, nil, []float64{0.2 / 0.7, 0.5 / 0.7, 0, 0}},
		{"more than there are", Sampling{Temperature: 1, TopK: 9}, nil, []float64{0.2, 0.5, 0.1, 0.2}},
		{"half", Sampling{Temperature: 1, TopP: 0.49}, nil, []float64{0, 1, 0, 0}},
		{"a little more", Sampling{Temperature: 1, TopP: 0.51}, nil, []float64{0.2 / 0.7, 0.5 / 0.7, 0, 0}},
		{"nine tenths", Sampling{Temperature: 1, TopP: 0.89}, nil, []float64{0.2 / 0.9, 0.5 / 0.9, 0, 0.2 / 0.9}},
		{"all", Sampling{Temperature: 1, TopP: 1}, nil, []float64{0.2, 0.5, 0.1, 0.2}},
		{"the share is of those that top-k leaves", Sampling{Temperature: 1, TopK: 2, TopP: 0.7}, nil, []float64{0, 1, 0, 0}},
		{"the temperature comes first", Sampling{Temperature: 0.5, TopP: 0.73}, nil, []float64{0, 1, 0, 0}},
		{"forbidden", Sampling{Temperature: 1}, []bool{true, false, true, true}, []float64{0.4, 0, 0.2, 0.4}},
	} {
		got, err := c.s.Distribution(logits, c.allowed)
		if err != nil {
			t.Fatal(err)
		}
		for i := range got {
			if math.Abs(got[i]-c.want[i]) > 1e-6 {
				t.Errorf("%s: %v, wanted %v", c.name, got, c.want)
				break
			}
		}
	}
	for _, bad := range [][]float32{{0, float32(math.NaN())}, {float32(math.Inf(1)), 0}} {
		if p, err := (Sampling{Temperature: 1}).Distribution(bad, nil); err == nil {
			t.Errorf("logits %v gave %v", bad, p)
		}
	}
	for _, s := range []Sampling{{Temperature: -1}, {Temperature: math.NaN()}, {Temperature: math.Inf(1)}, {TopK: -1}, {TopP: 1.5}, {TopP: -0.1}} {
		if s.Check() == nil {
			t.Errorf("%+v passed", s)
		}
	}
}

// TestDraw: tokens come as often as they are likely (a chi-squared test at 0.1 %, three degrees of freedom), and one that
// is not likely never does.
func TestDraw(t *testing.T) {
	p := []float64{0.2, 0, 0.5, 0.1, 0.2}
	const n = 20_000
	counts, random := make([]int, len(p)), rng.New(11, rng.Name("generate"))
	for i := range n {
		counts[draw(p, rng.Unit(random.At(uint64(i))))]++
	}
	chi := 0.0
	for i, x := range p {
		if x == 0 {
			if counts[i] > 0 {
				t.Errorf("token %d, of no probability, came %d times", i, counts[i])
			}
			continue
		}
		chi += math.Pow(float64(counts[i])-n*x, 2) / (n * x)
	}
	if chi > 16.27 {
		t.Errorf("counts %v of %v: chi-squared %.1f", counts, p, chi)
	}
	for u, want := range map[float64]int{0: 0, 0.1999: 0, 0.2: 2, 0.6999: 2, 0.75: 3, 0.95: 4, math.Nextafter(1, 0): 4} {
		if got := draw(p, u); got != want {
			t.Errorf("%v falls to token %d, wanted %d", u, got, want)
		}
	}
}

// TestText: a text is the same for a seed, goes on where the positions are used up, and is what single passes over the
// same tokens would choose.
func TestText(t *testing.T) {
	rt := open(t)
	tok, err := tokenizer.Train(slices.Values([]string{"the cat sees the dog", "süße Grüße 🙂"}), tokenizer.TrainOptions{VocabSize: 275})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, arch, objective string }{
		{"sharing/baseline", variants.Decoder, objective.CausalLM},
		{"heads/baseline", variants.EncoderDecoder, objective.SpanCorruption},
		{"heads/baseline", variants.EncoderDecoder, objective.PrefixLM},
	} {
		t.Run(c.name+" "+c.objective, func(t *testing.T) {
			config := micro(t, c.name, c.arch, "vocab=300")
			params := start(t, rt, config)
			m, err := New(rt, config, params)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			text := func(o Options) (string, *Result) {
				var out bytes.Buffer
				o.Objective = c.objective
				r, err := Text(context.Background(), m, tok, o, &out)
				if err != nil {
					t.Fatal(err)
				}
				if r.Text != out.String() {
					t.Errorf("%q was written, %q is the result", out.String(), r.Text)
				}
				return r.Text, r
			}
			o := Options{Prompt: "the cat", Tokens: 30, Sampling: Sampling{Temperature: 1.5}, Seed: 4}
			a, first := text(o)
			b, _ := text(o)
			o.Seed = 5
			if other, _ := text(o); a != b || a == other {
				t.Errorf("seed 4 gave %q and %q, seed 5 %q", a, b, other)
			}
			if strings.Contains(a, "<|") {
				t.Errorf("special tokens in %q", a)
			}
			switch {
			case c.arch == variants.Decoder && first.Ended == EndedByTokens && (first.Moved == 0 || first.Tokens != 30):
				t.Errorf("%+v: 14 positions take 30 tokens only if the window moves", first)
			case c.arch != variants.Decoder && first.Tokens > config.Length:
				t.Errorf("%+v: the decoder has %d positions", first, config.Length)
			}
			// Greedy, held against whole passes.
			greedy, r := text(Options{Prompt: "the cat", Tokens: 6})
			end, _ := tok.ID(tokenizer.EndOfText)
			source, read := []int64{int64(end)}, []int64{int64(end)}
			for _, id := range tok.Encode("the cat") {
				source = append(source, int64(id))
			}
			if c.arch == variants.Decoder {
				source, read = nil, source
			} else if c.objective == objective.SpanCorruption {
				source, read = append(source, 299), append(read, 299)
			}
			may := allowed(tok, config.Vocab, end)
			may[298] = c.objective == objective.SpanCorruption
			var ids []int32
			for range r.Tokens {
				all := whole(t, rt, config, params, source, read)
				p, err := (Sampling{}).Distribution(all[len(all)-config.Vocab:], may)
				if err != nil {
					t.Fatal(err)
				}
				id := slices.Index(p, 1)
				ids, read = append(ids, int32(id)), append(read, int64(id))
			}
			if want := tok.Decode(ids); greedy != want {
				t.Errorf("greedy gave %q, whole passes %q", greedy, want)
			}
		})
	}
}

package tokenizer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

func TestSplit(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string
	}{
		{"hello world", []string{"hello", " world"}},
		{"hello   world", []string{"hello", "  ", " world"}},
		{"hello\n\nworld\n", []string{"hello", "\n", "\n", "world", "\n"}},
		{"a \t b", []string{"a", " \t", " b"}},
		{"end   ", []string{"end", "   "}},
		{"she's we'll I'd I'LL 's", []string{"she", "'s", " we", "'ll", " I", "'d", " I", "'", "LL", " '", "s"}},
		{"x1y22 3", []string{"x", "1", "y", "22", " 3"}},
		{"a\u00a0b", []string{"a", "\u00a0", "b"}},
		{"日本 語", []string{"日本", " 語"}},
		{"é?!\xff\xfe", []string{"é", "?!\xff\xfe"}},
		{"\xff a\xffb", []string{"\xff", " a", "\xff", "b"}},
	} {
		var got []string
		for i := 0; i < len(c.text); {
			end := nextWord(c.text, i)
			got = append(got, c.text[i:end])
			i = end
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%q: got %q, want %q", c.text, got, c.want)
		}
	}
}

// randomText is made of few characters, so that runs, contractions and merges come up often.
func randomText(r *rand.Rand, n int) string {
	parts := []string{" ", " ", " ", "\n", "\t", "\u00a0", "\u3000", "'", "s", "ll", "a", "b", "ab", "é", "日", "1", "½", ".", "-", "\xff", "\xe2\x82", "the", "ship"}
	var b strings.Builder
	for range n {
		b.WriteString(parts[r.IntN(len(parts))])
	}
	return b.String()
}

func TestLastCut(t *testing.T) {
	tok := load(t, "trained.json")
	r := rand.New(rand.NewPCG(1, 2))
	cuts := 0
	for range 5000 {
		text := randomText(r, 1+r.IntN(12))
		cut := LastCut(text)
		if cut == 0 {
			continue
		}
		cuts++
		whole := text + randomText(r, r.IntN(4))
		if got := tok.AppendEncode(tok.Encode(whole[:cut]), whole[cut:]); !slices.Equal(got, tok.Encode(whole)) {
			t.Fatalf("%q cut at %d encodes differently", whole, cut)
		}
	}
	if cuts < 1000 {
		t.Errorf("only %d texts could be cut", cuts)
	}
	bloom, err := Parse(edit(t, func(f map[string]any) {
		f["pre_tokenizer"] = map[string]any{"type": "Sequence", "pretokenizers": []any{
			map[string]any{"type": "Split", "pattern": map[string]any{"Regex": "a b"}, "behavior": "Isolated"}, map[string]any{"type": "ByteLevel"}}}
	}))
	if err != nil || bloom.LastCut("a b c") != 0 {
		t.Errorf("a pattern that a cut may run through: cut at %d, %v", bloom.LastCut("a b c"), err)
	}
	for text, want := range map[string]int{"": 0, " ": 0, " a": 0, "a ": 1, "a b c": 3, "a  b": 1, "a\n b": 0, "\xff b": 1, "日 b": 3, "ab": 0} {
		if got := LastCut(text); got != want {
			t.Errorf("LastCut(%q) = %d, want %d", text, got, want)
		}
	}
}

// The heap that long words go through merges as the plain scan does.
func TestLongWordsMergeAlike(t *testing.T) {
	tok := load(t, "trained.json")
	r := rand.New(rand.NewPCG(3, 4))
	letters := []string{"a", "b", "c", "s", "h", "i", "p", "ship", "lighthouse", "keeper", "'", "é"}
	for range 2000 {
		var b strings.Builder
		for range 1 + r.IntN(20) {
			b.WriteString(letters[r.IntN(len(letters))])
		}
		symbols := tok.appendSymbols(nil, b.String())
		if len(symbols) > scanLength {
			continue
		}
		want := new(encoder).merge(nil, tok, b.String())
		if got := new(longWord).merge(nil, tok, slices.Clone(symbols)); !slices.Equal(got, want) {
			t.Fatalf("%q: heap %v, scan %v", b.String(), got, want)
		}
	}
}

// Text without a space is no trap: quadratic merging would take minutes.
func TestEndlessWord(t *testing.T) {
	for _, text := range []string{strings.Repeat("a", 1<<18), strings.Repeat("ship", 1<<15), strings.Repeat(" ", 1<<17)} {
		tok, err := Train(slices.Values([]string{text}), TrainOptions{VocabSize: 290, MinFrequency: 1})
		if err != nil {
			t.Fatal(err)
		}
		if got := tok.Decode(tok.Encode(text)); got != text {
			t.Errorf("%.8q…: comes back different", text)
		}
	}
}

func TestBytesRoundTrip(t *testing.T) {
	tok := load(t, "trained.json")
	r := rand.New(rand.NewPCG(5, 6))
	for range 3000 {
		text := randomText(r, r.IntN(30))
		if r.IntN(2) == 0 {
			b := make([]byte, r.IntN(40))
			for i := range b {
				b[i] = byte(r.Uint32())
			}
			text = string(b)
		}
		ids := tok.Encode(text)
		if got := string(tok.DecodeBytes(nil, ids)); got != text {
			t.Fatalf("%q comes back as %q", text, got)
		}
		if got, want := tok.Decode(ids), validText([]byte(text)); got != want {
			t.Fatalf("%q decodes as %q, want %q", text, got, want)
		}
	}
}

func TestValidText(t *testing.T) {
	for in, want := range map[string]string{
		"":                     "",
		"aé日🚢":                 "aé日🚢",
		"\xff\xfe":             "\ufffd\ufffd",
		"\xe2\x82":             "\ufffd",             // the start of one character
		"\xe2\x82a":            "\ufffda",            //
		"\xf0\x9f\x9a":         "\ufffd",             //
		"\xf0\x9f\x9a\xf0\x9f": "\ufffd\ufffd",       // the starts of two
		"\xed\xa0\x80":         "\ufffd\ufffd\ufffd", // a surrogate
		"\xc0\xaf":             "\ufffd\ufffd",       // overlong
		"\xf4\x90\x80\x80":     "\ufffd\ufffd\ufffd\ufffd",
		"\x80a\xbf":            "\ufffda\ufffd",
	} {
		if got := validText([]byte(in)); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestAccessors(t *testing.T) {
	tok := load(t, "added.json")
	for i, name := range []string{EndOfText, Pad, Mask} {
		if id, ok := tok.ID(name); !ok || id != int32(i) || tok.Token(id) != name {
			t.Errorf("%s: id %d, %v", name, id, ok)
		}
	}
	if _, ok := tok.ID("nowhere"); ok || tok.Token(-1) != "" || tok.Token(int32(tok.VocabSize())) != "" {
		t.Error("something stands where nothing is")
	}
	if id, ok := tok.ID("Ġthe"); !ok || tok.Decode([]int32{id, -1, 9999}) != " the" {
		t.Error("Ġthe is not in the vocabulary, or decodes wrong")
	}
	if got := tok.AddedTokens(); len(got) != 14 || got[3].Content != "WORD" || tok.VocabSize() != int(got[12].ID)+1 {
		t.Errorf("added tokens %+v, vocabulary %d", got, tok.VocabSize())
	}
}

func TestSpecialTokensInText(t *testing.T) {
	tok := load(t, "trained.json")
	if got := tok.Encode("a<|endoftext|>b"); len(got) != 3 || got[1] != 0 {
		t.Errorf("Encode: %v", got)
	}
	if got := tok.AppendEncodeOrdinary(nil, "a<|endoftext|>b"); slices.Contains(got, 0) || tok.Decode(got) != "a<|endoftext|>b" {
		t.Errorf("AppendEncodeOrdinary: %v", got)
	}
}

// Many goroutines, one tokenizer; run with -race. A tiny cache bound is passed over many times.
func TestConcurrentEncode(t *testing.T) {
	tok := load(t, "trained.json")
	r := rand.New(rand.NewPCG(7, 8))
	texts := make([]string, 50)
	want := make([][]int32, len(texts))
	for i := range texts {
		texts[i] = randomText(r, 200)
		want[i] = tok.Encode(texts[i])
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i, text := range texts {
				if !slices.Equal(tok.Encode(text), want[i]) {
					t.Errorf("text %d encodes differently", i)
				}
			}
		})
	}
	wg.Wait()
}

func TestCacheBound(t *testing.T) {
	tok := load(t, "trained.json")
	e := &encoder{cache: map[string][]int32{}}
	for i := range cacheWords + 100 {
		e.appendWord(nil, tok, fmt.Sprint(i))
	}
	if len(e.cache) > cacheWords || len(e.arena) > cacheIDs {
		t.Errorf("%d words and %d ids in the cache", len(e.cache), len(e.arena))
	}
	if got, want := e.appendWord(nil, tok, "131072"), tok.Encode("131072"); !slices.Equal(got, want) {
		t.Errorf("after clearing the cache: %v, want %v", got, want)
	}
}

func TestTrainIsIndependentOfCores(t *testing.T) {
	docs := trainingDocs(t)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	one, err := Train(slices.Values(docs), TrainOptions{VocabSize: 450, SpecialTokens: []string{"<|user|>", Pad}})
	if err != nil {
		t.Fatal(err)
	}
	runtime.GOMAXPROCS(5)
	five, err := Train(slices.Values(docs), TrainOptions{VocabSize: 450, SpecialTokens: []string{"<|user|>", Pad}})
	if err != nil {
		t.Fatal(err)
	}
	if one.SHA256() != five.SHA256() {
		t.Error("one core and five give different vocabularies")
	}
	if id, _ := one.ID("<|user|>"); id != 3 || one.VocabSize() != 450 {
		t.Errorf("<|user|> has id %d, vocabulary %d", id, one.VocabSize())
	}
}

// Dropping rare words happens at places that the text alone decides, so it too is the same on any
// number of cores; and frequent words survive it.
func TestPruning(t *testing.T) {
	docs := func(yield func(string, error) bool) {
		r := rand.New(rand.NewPCG(9, 10))
		for range 400 {
			var b strings.Builder
			for range 100 {
				fmt.Fprintf(&b, " w%d", r.IntN(1_000_000))
				b.WriteString(" often")
			}
			if !yield(b.String(), nil) {
				return
			}
		}
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var want []wordCount
	for _, cores := range []int{1, 2, 7} {
		runtime.GOMAXPROCS(cores)
		c := newCounter(500, 1<<20, 2000)
		got, err := c.count(context.Background(), docs)
		if err != nil {
			t.Fatal(err)
		}
		if want == nil {
			want = got
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d cores: other counts", cores)
		}
		if len(got) > 1000 {
			t.Errorf("%d cores: %d words kept", cores, len(got))
		}
		if at := slices.IndexFunc(got, func(w wordCount) bool { return w.word == " often" }); at < 0 || got[at].count != 40000 {
			t.Errorf("%d cores: a frequent word was lost", cores)
		}
	}
}

func TestTrainErrors(t *testing.T) {
	docs := slices.Values([]string{"some text"})
	for _, c := range []struct {
		name string
		o    TrainOptions
		want string
	}{
		{"small", TrainOptions{VocabSize: 258}, "vocabulary of 258, want at least 259"},
		{"small with specials", TrainOptions{VocabSize: 259, SpecialTokens: []string{"<a>"}}, "want at least 260"},
		{"empty special", TrainOptions{VocabSize: 300, SpecialTokens: []string{""}}, "special token 0 is empty"},
		{"short special", TrainOptions{VocabSize: 300, SpecialTokens: []string{"Ġ"}}, "one character"},
		{"special twice", TrainOptions{VocabSize: 300, SpecialTokens: []string{"<a>", "<a>"}}, "comes twice"},
		{"frequency", TrainOptions{VocabSize: 300, MinFrequency: -1}, "minimum frequency -1"},
	} {
		if _, err := Train(docs, c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
	}
	if _, err := Train(slices.Values([]string{"", ""}), TrainOptions{VocabSize: 300}); err == nil {
		t.Error("no text: no error")
	}
	broken := errors.New("broken")
	_, err := TrainContext(context.Background(), func(yield func(string, error) bool) {
		if yield("a b", nil) {
			yield("", broken)
		}
	}, TrainOptions{VocabSize: 300})
	if !errors.Is(err, broken) {
		t.Errorf("failing source: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := TrainContext(ctx, func(yield func(string, error) bool) { yield("a", nil) }, TrainOptions{VocabSize: 300}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// A text too small for the vocabulary gives what it has.
func TestTrainSmallText(t *testing.T) {
	tok, err := Train(slices.Values([]string{"ab ab"}), TrainOptions{VocabSize: 5000})
	if err != nil {
		t.Fatal(err)
	}
	if tok.VocabSize() != 260 || tok.Token(259) != "ab" {
		t.Errorf("vocabulary of %d, last %q", tok.VocabSize(), tok.Token(int32(tok.VocabSize()-1)))
	}
}

// edit returns trained.json with one thing changed.
func edit(t testing.TB, change func(map[string]any)) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/trained.json")
	if err != nil {
		t.Fatal(err)
	}
	var f map[string]any
	if err := json.Unmarshal(data, &f); err != nil {
		t.Fatal(err)
	}
	change(f)
	out, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestRefused(t *testing.T) {
	object := func(f map[string]any, name string) map[string]any { return f[name].(map[string]any) }
	top := func(name string, value any) func(map[string]any) {
		return func(f map[string]any) { f[name] = value }
	}
	model := func(name string, value any) func(map[string]any) {
		return func(f map[string]any) { object(f, "model")[name] = value }
	}
	token := func(content string, id int) func(map[string]any) {
		return func(f map[string]any) {
			f["added_tokens"] = append(f["added_tokens"].([]any), map[string]any{"id": id, "content": content})
		}
	}
	type any_ = map[string]any
	level := any_{"type": "ByteLevel"}
	split := any_{"type": "Split", "pattern": any_{"Regex": `\p{N}{1,3}`}, "behavior": "Isolated", "invert": false}
	for _, c := range []struct {
		name   string
		change func(map[string]any)
		want   string
	}{
		{"truncation", top("truncation", any_{"max_length": 5}), "truncation is not supported"},
		{"padding", top("padding", any_{"pad_id": 0}), "padding is not supported"},
		{"normalizer", top("normalizer", any_{"type": "BertNormalizer"}), "normalizer of type BertNormalizer is not supported, want NFC"},
		{"normalizer in a sequence", top("normalizer", any_{"type": "Sequence", "normalizers": []any{any_{"type": "NFC"}, any_{"type": "Precompiled"}}}),
			"normalizer.normalizers[1] of type Precompiled is not supported"},
		{"null in a sequence", top("normalizer", any_{"type": "Sequence", "normalizers": []any{nil}}), "normalizer.normalizers[0]: null"},
		{"normalizer's field", top("normalizer", any_{"type": "NFC", "form": 1}), `normalizer: field "form" is not supported`},
		{"long prefix", top("normalizer", any_{"type": "Prepend", "prepend": strings.Repeat("a", 300)}), "normalizer: prepend: 300 bytes, want 256 at most"},
		{"no pattern to replace", top("normalizer", any_{"type": "Replace", "pattern": any_{}, "content": ""}), "normalizer: pattern: want either Regex or String"},
		{"token normalized away", func(f map[string]any) {
			f["normalizer"] = any_{"type": "Strip", "strip_left": true, "strip_right": true}
			f["added_tokens"] = append(f["added_tokens"].([]any), any_{"id": 480, "content": "  ", "normalized": true})
		}, "nothing is left of it once normalized"},
		{"no pre-tokenizer", top("pre_tokenizer", nil), "pre_tokenizer: null is not supported, want ByteLevel"},
		{"pre-tokenizer", top("pre_tokenizer", any_{"type": "Whitespace"}), "pre_tokenizer of type Whitespace is not supported"},
		{"no bytes", top("pre_tokenizer", split), "pre_tokenizer of type Split has 0 ByteLevel, want one"},
		{"bytes twice", top("pre_tokenizer", any_{"type": "Sequence", "pretokenizers": []any{level, level}}), "has 2 ByteLevel, want one"},
		{"in a sequence", top("pre_tokenizer", any_{"type": "Sequence", "pretokenizers": []any{level, any_{"type": "Metaspace"}}}),
			"pre_tokenizer.pretokenizers[1] of type Metaspace is not supported"},
		{"split behavior", top("pre_tokenizer", any_{"type": "Split", "pattern": any_{"String": "a"}, "behavior": "Glued"}), `behavior: "Glued" is not supported`},
		{"split pattern", top("pre_tokenizer", any_{"type": "Split", "pattern": any_{"Regex": `a\b`}, "behavior": "Isolated"}), `pre_tokenizer.pattern "a\\b": \b is not supported (at character 3)`},
		{"empty pattern", top("pre_tokenizer", any_{"type": "Split", "pattern": any_{"String": ""}, "behavior": "Isolated"}), `pre_tokenizer.pattern: empty`},
		{"new option", func(f map[string]any) { object(f, "pre_tokenizer")["mode"] = 1 }, `pre_tokenizer: field "mode" is not supported`},
		{"post-processor", top("post_processor", any_{"type": "Sequence", "processors": []any{any_{"type": "TemplateProcessing"}, any_{"type": "Whisper"}}}),
			"post_processor.processors[1] of type Whisper is not supported"},
		{"decoder", top("decoder", any_{"type": "WordPiece"}), "decoder of type WordPiece is not supported"},
		{"unknown field", top("extra", 1), `field "extra" is not supported`},
		{"no model", top("model", nil), "no field model"},
		{"model type", model("type", "Unigram"), "model: type Unigram is not supported, want BPE"},
		{"dropout", model("dropout", 0.1), "model.dropout: 0.1 is not supported"},
		{"prefix", model("continuing_subword_prefix", "##"), `model.continuing_subword_prefix: "##" is not supported`},
		{"suffix", model("end_of_word_suffix", "</w>"), `model.end_of_word_suffix: "</w>" is not supported`},
		{"byte fallback", model("byte_fallback", true), "model.byte_fallback"},
		{"model field", model("shiny", 1), `model: field "shiny" is not supported`},
		{"unknown token", model("unk_token", "<unk>"), `model.unk_token: "<unk>" is not in model.vocab`},
		{"empty vocabulary", model("vocab", any_{}), "model.vocab: empty"},
		{"vocabulary no object", model("vocab", []int{1}), "want an object of tokens and ids"},
		{"id no number", model("vocab", any_{"a": "b"}), `token "a": id is not a whole number`},
		{"id too large", model("vocab", any_{"a": 2_000_000_000}), `token "a" has id 2000000000, outside`},
		{"id negative", model("vocab", any_{"a": -1}), `token "a" has id -1`},
		{"shared id", model("vocab", any_{"a": 7, "b": 7}), `"a" and "b" share id 7`},
		{"merge not in vocabulary", model("merges", []any{[]string{"q", "q"}}), `number 0 ("q", "q"): model.vocab must hold both and "qq"`},
		{"merge of three", model("merges", []any{"a b c"}), "is not two tokens"},
		{"merge of one", model("merges", []any{[]string{"a", "b"}, []string{"a"}}), "number 1 is not two tokens"},
		{"merge of numbers", model("merges", []any{[]int{1, 2}}), "want a list of pairs of tokens"},
		{"empty added token", token("", 480), "content is empty"},
		{"added token twice", token(EndOfText, 0), "comes twice"},
		{"added token's id", token("ship", 5), "but model.vocab gives it id"},
		{"added token out of order", token("<new>", 700), "id 700, want 480"},
		{"added token on another", token("<new>", 5), "id 5, want 480"},
	} {
		if _, err := Parse(edit(t, c.change)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
	}
	good := string(edit(t, func(map[string]any) {}))
	for _, c := range []struct{ name, data, want string }{
		{"empty", "", "not a whole JSON file"},
		{"cut off", good[:1000], "not a whole JSON file"},
		{"no JSON", "hello", "not JSON"},
		{"an array", "[]", "cannot unmarshal array"},
		{"an empty object", "{}", "pre_tokenizer"},
		{"more behind", good + "{}", "something stands behind"},
		{"not UTF-8", "\xff" + good, "not UTF-8"},
		{"token twice", strings.Replace(good, `"vocab":{`, `"vocab":{"!":77,`, 1), `token "!" comes twice`},
	} {
		if _, err := Parse([]byte(c.data)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
	}
}

func TestLoadErrorsNameTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "broken.json")
	if _, err := Load(path); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("missing file: %v", err)
	}
	if err := os.WriteFile(path, []byte("{"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("broken file: %v", err)
	}
}

// Whatever Parse accepts must encode, decode and survive being written.
func FuzzParse(f *testing.F) {
	// Small ones: mutating a whole vocabulary finds little, slowly.
	small := `{"added_tokens":[{"id":3,"content":"<x>","lstrip":true,"special":true}],"pre_tokenizer":{"type":"ByteLevel"},` +
		`"model":{"unk_token":"a","ignore_merges":true,"vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]}}`
	f.Add([]byte(small))
	f.Add([]byte(`{"version":"1.0","truncation":null,"added_tokens":[{"id":0,"content":"ab","single_word":true,"rstrip":true,"normalized":true},` +
		`{"id":3,"content":" "}],"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"use_regex":true},"decoder":{"type":"ByteLevel"},` +
		`"model":{"type":"BPE","dropout":0,"end_of_word_suffix":"","fuse_unk":true,"vocab":{"ab":0,"a":1,"b":2},"merges":[["a","b"]]}}`))
	f.Add([]byte(`{"normalizer":{"type":"Sequence","normalizers":[{"type":"NFKC"},{"type":"Lowercase"},{"type":"Replace","pattern":{"Regex":"a{2,3}|(?i:é|b)(?!\\s)"},"content":"ab"}]},` +
		`"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Digits","individual_digits":true},{"type":"Split","pattern":{"Regex":"(?>[^\\p{L}\\r]?+[a-z]*?)\\d|.+"},"behavior":"MergedWithNext","invert":true},{"type":"ByteLevel","use_regex":false}]},` +
		`"post_processor":{"type":"TemplateProcessing"},"model":{"vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]}}`))
	f.Add([]byte(`{"pre_tokenizer":{"type":"ByteLevel"},"model":{"vocab":{"":5,"\ud800":1},"merges":[["a",""]]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		tok, err := Parse(data)
		if err != nil {
			return
		}
		text := "the ab<x> \n aab\xff 日本 ship's BOTH"
		ids := tok.Encode(text)
		for _, id := range ids {
			if id < 0 || int(id) >= tok.VocabSize() {
				t.Fatalf("id %d of %d", id, tok.VocabSize())
			}
		}
		tok.Decode(append(ids, -5, 1<<30))
		again, err := Parse(tok.JSON())
		if err != nil {
			t.Fatalf("cannot read what was written: %v\n%s", err, tok.JSON())
		}
		if !slices.Equal(again.Encode(text), ids) || again.SHA256() != tok.SHA256() {
			t.Fatal("another tokenizer after writing and reading")
		}
	})
}

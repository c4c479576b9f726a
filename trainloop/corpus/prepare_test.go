package corpus

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"march/trainloop/rng"
	"march/trainloop/tokenizer"
)

// story returns a made-up document of some words.
func story(seed uint64, words int) string {
	s := rng.New(seed, rng.Name("story"))
	list := strings.Fields("the keeper of lighthouse counted ships before breakfast and didn't sleep 47 fog's lamp äöü 船")
	var b strings.Builder
	for i := range words {
		if i > 0 {
			b.WriteString([]string{" ", " ", " ", "\n", "\n\n", "  "}[s.Below(6)])
		}
		b.WriteString(list[s.Below(uint64(len(list)))])
	}
	return b.String()
}

func stories(n, words int) []string {
	docs := make([]string, n)
	for i := range docs {
		docs[i] = story(uint64(i), words)
	}
	return docs
}

// write makes a file; a name that ends in .gz is compressed.
func write(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	data := []byte(text)
	if strings.HasSuffix(name, ".gz") {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		z.Write(data)
		z.Close()
		data = b.Bytes()
	}
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func joined(docs []string) string { return strings.Join(docs, "\n<|endoftext|>\n") }

func prepare(t testing.TB, o PrepareOptions) *Dataset {
	t.Helper()
	if o.Out == "" {
		o.Out = filepath.Join(t.TempDir(), "data")
	}
	if o.VocabSize == 0 && o.Tokenizer == "" {
		o.VocabSize = 300
	}
	if _, err := Prepare(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	d, err := Open(o.Out)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// documents decodes a stream, document by document.
func documents(d *Dataset, s *Stream) []string {
	var docs []string
	for i := range s.Documents() {
		end := s.Len()
		if i+1 < s.Documents() {
			end = s.DocumentStart(i + 1)
		}
		ids := make([]int32, end-s.DocumentStart(i))
		s.Read(s.DocumentStart(i), ids)
		text, ok := strings.CutPrefix(d.Tokenizer().Decode(ids), tokenizer.EndOfText)
		if !ok {
			text = "no EndOfText before: " + text
		}
		docs = append(docs, text)
	}
	return docs
}

// What is prepared decodes to what went in, however it went in.
func TestPrepareRoundTrip(t *testing.T) {
	docs := append(stories(40, 60), "a mark <|endoftext|> in a line, and <|pad|>", " \t ", "x")
	long := story(99, 40_000) // several pieces
	docs = append(docs, long, "after")
	dir := t.TempDir()
	plain := write(t, dir, "a.txt", joined(docs[:20]))
	zipped := write(t, dir, "b.txt.gz", "\ufeff\n\r\n"+joined(docs[20:])+"\n\n<|endoftext|>\r\n\n<|endoftext|>\n")
	fromFiles := prepare(t, PrepareOptions{Inputs: []string{plain, zipped, filepath.Join(dir, "a*")}})
	fromTexts := prepare(t, PrepareOptions{Texts: slices.Values(append([]string{""}, docs...))})
	for name, d := range map[string]*Dataset{"files": fromFiles, "texts": fromTexts} {
		if got := documents(d, d.Train()); !slices.Equal(got, docs) {
			t.Errorf("%s: documents come back different", name)
		}
		info := d.Info()
		size := int64(len(strings.Join(docs, "")))
		if info.Documents != int64(len(docs)) || info.Bytes != size || d.Train().Bytes() != size ||
			info.Tokens != d.Train().Len() || info.VocabSize != 300 || info.Split != SplitNone || d.Valid().Len() != 0 {
			t.Errorf("%s: info %+v, want %d documents, %d bytes", name, info, len(docs), size)
		}
		if want := float64(size) / float64(d.Train().Len()); info.BytesPerToken != want {
			t.Errorf("%s: %g bytes per token, want %g", name, info.BytesPerToken, want)
		}
	}
	if fromFiles.Info().SHA256 != fromTexts.Info().SHA256 {
		t.Error("the same documents from files and from memory give different data")
	}
	// Cut into pieces or whole, the tokens are those of the document.
	whole := fromFiles.Tokenizer().AppendEncodeOrdinary(nil, long)
	at := fromFiles.Train().DocumentStart(int64(slices.Index(docs, long)))
	got := make([]int32, len(whole))
	if fromFiles.Train().Read(at+1, got); !slices.Equal(got, whole) {
		t.Error("a document in pieces has other tokens than as a whole")
	}
}

// The same folder on one core and on many, byte by byte, with shards so small that documents and
// pieces cross them.
func TestPrepareIsIndependentOfCores(t *testing.T) {
	dir := t.TempDir()
	in := write(t, dir, "in.txt", joined(append(stories(300, 80), story(1000, 30_000))))
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var want map[string]string
	for _, cores := range []int{1, 2, 6} {
		runtime.GOMAXPROCS(cores)
		out := filepath.Join(dir, fmt.Sprint("out", cores))
		prepare(t, PrepareOptions{Inputs: []string{in}, Out: out, ValidFraction: 0.1})
		got := contents(t, out)
		if want == nil {
			want = got
		}
		for name, data := range want {
			if got[name] != data {
				t.Errorf("%d cores: %s differs", cores, name)
			}
		}
		if len(got) != 5 { // data.json, tokenizer.json, two shards, .lock
			t.Errorf("%d cores: files %d", cores, len(got))
		}
	}
}

func contents(t testing.TB, dir string) map[string]string {
	files := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = string(data)
	}
	return files
}

// small prepares with shards of few tokens, which Prepare itself never makes.
func small(t testing.TB, o PrepareOptions, shardTokens int64) *Dataset {
	t.Helper()
	o.Out = t.TempDir()
	p, err := o.plan()
	if err != nil {
		t.Fatal(err)
	}
	staging := filepath.Join(o.Out, stagingPrefix+"test")
	if err := os.Mkdir(staging, 0o777); err != nil {
		t.Fatal(err)
	}
	m := &maker{plan: p, staging: staging, shardTokens: shardTokens, pieceSize: 100}
	info, err := m.build(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if err := publish(o.Out, staging, info); err != nil {
		t.Fatal(err)
	}
	d, err := Open(o.Out)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// Many shards read like one.
func TestShards(t *testing.T) {
	for _, c := range []struct{ limit, docs int64 }{{1, 2}, {7, 3}, {100, 20}, {1000, 40}} {
		docs := stories(int(c.docs), 20)
		one := prepare(t, PrepareOptions{Texts: slices.Values(docs)})
		many := small(t, PrepareOptions{Texts: slices.Values(docs), VocabSize: 300}, c.limit)
		if got := documents(many, many.Train()); !slices.Equal(got, docs) {
			t.Fatalf("shards of %d tokens: documents come back different", c.limit)
		}
		if want := (many.Train().Len() + c.limit - 1) / c.limit; int64(len(many.Info().Shards)) != want || want < 2 {
			t.Errorf("shards of %d tokens: %d of them, want %d", c.limit, len(many.Info().Shards), want)
		}
		want := make([]int32, one.Train().Len())
		one.Train().Read(0, want)
		r := rng.New(uint64(c.limit))
		for range 500 {
			at := int64(r.Below(uint64(len(want))))
			got := make([]int32, r.Below(uint64(len(want))-uint64(at)+1))
			if many.Train().Read(at, got); !slices.Equal(got, want[at:at+int64(len(got))]) {
				t.Fatalf("shards of %d tokens: read of %d at %d differs", c.limit, len(got), at)
			}
			doc := many.Train().DocumentAt(at)
			if many.Train().DocumentStart(doc) > at || doc+1 < many.Train().Documents() && many.Train().DocumentStart(doc+1) <= at {
				t.Fatalf("token %d is not in document %d", at, doc)
			}
		}
	}
}

// More than 65,536 ids take four bytes each.
func TestWideTokens(t *testing.T) {
	base := prepare(t, PrepareOptions{Texts: slices.Values(stories(10, 50))})
	var f map[string]any
	if err := json.Unmarshal(base.Tokenizer().JSON(), &f); err != nil {
		t.Fatal(err)
	}
	vocab := f["model"].(map[string]any)["vocab"].(map[string]any)
	for len(vocab) < 70_000 {
		vocab[fmt.Sprint("unused", len(vocab))] = len(vocab)
	}
	// The most frequent letter changes places with the last id.
	vocab["e"], vocab["unused69999"] = 69999, vocab["e"]
	data, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	path := write(t, t.TempDir(), "wide.json", string(data))
	d := prepare(t, PrepareOptions{Texts: slices.Values(stories(10, 50)), Tokenizer: path})
	if got := documents(d, d.Train()); !slices.Equal(got, stories(10, 50)) {
		t.Error("documents come back different")
	}
	ids := make([]int32, d.Train().Len())
	if d.Train().Read(0, ids); slices.Max(ids) != 69999 {
		t.Errorf("largest id %d", slices.Max(ids))
	}
}

func TestPrepareErrors(t *testing.T) {
	dir := t.TempDir()
	good := write(t, dir, "good.txt", joined(stories(5, 20)))
	empty := write(t, dir, "empty.txt", "")
	blank := write(t, dir, "blank.txt", "\n\r\n<|endoftext|>\n\n<|endoftext|>")
	latin := write(t, dir, "latin.txt", "plain\n<|endoftext|>\nna\xefve")
	deep := write(t, dir, "deep.txt", strings.Repeat("a line of text\n", 10_000)+"caf\xe9")
	utf16 := write(t, dir, "utf16.txt", "\xff\xfea\x00b\x00")
	noGzip := write(t, dir, "no.gz", "")
	os.WriteFile(noGzip, []byte("this is no gzip file at all"), 0o666)
	whole, err := os.ReadFile(write(t, dir, "whole.gz", joined(stories(50, 50))))
	if err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(dir, "cut.gz")
	os.WriteFile(cut, whole[:len(whole)/2], 0o666)
	flipped := filepath.Join(dir, "flipped.gz")
	whole[len(whole)-6] ^= 1 // the checksum at its end
	os.WriteFile(flipped, whole, 0o666)
	foreign := write(t, dir, "foreign.json", `{"pre_tokenizer":{"type":"ByteLevel"},"model":{"vocab":{"a":0},"merges":[]}}`)

	texts := slices.Values(stories(5, 20))
	for _, c := range []struct {
		name string
		o    PrepareOptions
		want string
	}{
		{"nothing", PrepareOptions{}, "set Inputs or Texts"},
		{"both", PrepareOptions{Inputs: []string{good}, Texts: texts}, "both set"},
		{"both validations", PrepareOptions{Texts: texts, ValidInputs: []string{good}, ValidTexts: texts}, "both set"},
		{"fraction and validation", PrepareOptions{Texts: texts, ValidInputs: []string{good}, ValidFraction: 0.1}, "a fraction of 0.1 as well"},
		{"fraction", PrepareOptions{Texts: texts, ValidFraction: 1}, "fraction 1, want 0 or more and less than 1"},
		{"fraction NaN", PrepareOptions{Texts: texts, ValidFraction: math.NaN()}, "fraction NaN"},
		{"missing", PrepareOptions{Inputs: []string{filepath.Join(dir, "none.txt")}}, "none.txt\": no such file"},
		{"no match", PrepareOptions{Inputs: []string{filepath.Join(dir, "*.doc")}}, "*.doc\": no such file, and no file matches"},
		{"bad pattern", PrepareOptions{Inputs: []string{"["}}, "not a valid pattern"},
		{"folder", PrepareOptions{Inputs: []string{dir}}, dir + ": not a regular file"},
		{"empty", PrepareOptions{Inputs: []string{good, empty}}, empty + ": empty"},
		{"blank", PrepareOptions{Inputs: []string{good, blank}}, blank + ": holds no text"},
		{"latin-1", PrepareOptions{Inputs: []string{latin}}, latin + ": not UTF-8 at byte 22 (0xef)"},
		{"latin-1, deep", PrepareOptions{Inputs: []string{deep}}, deep + ": not UTF-8 at byte 150003 (0xe9)"},
		{"latin-1 in memory", PrepareOptions{Texts: slices.Values([]string{"a", "b\xff"})}, "document 1: not UTF-8 at byte 1"},
		{"utf-16", PrepareOptions{Inputs: []string{utf16}}, "begins like UTF-16"},
		{"no gzip", PrepareOptions{Inputs: []string{noGzip}}, noGzip + ": gzip: invalid header"},
		{"gzip cut off", PrepareOptions{Inputs: []string{cut}}, cut + ": ends too early"},
		{"gzip flipped", PrepareOptions{Inputs: []string{flipped}}, flipped + ": gzip: invalid checksum"},
		{"empty texts", PrepareOptions{Texts: slices.Values([]string{"", ""})}, "no text to train on"},
		{"empty validation", PrepareOptions{Texts: texts, ValidTexts: slices.Values([]string{""})}, "no validation text"},
		{"same documents", PrepareOptions{Texts: slices.Values([]string{"a b", "a b"}), ValidFraction: 0.5}, "all its documents are the same"},
		{"one short document", PrepareOptions{Texts: slices.Values([]string{"a b"}), ValidFraction: 0.5}, "too small"},
		{"vocabulary", PrepareOptions{Texts: texts, VocabSize: 100}, "vocabulary of 100, want at least 259"},
		{"no tokenizer", PrepareOptions{Texts: texts, Tokenizer: filepath.Join(dir, "t.json")}, "t.json"},
		{"foreign tokenizer", PrepareOptions{Texts: texts, Tokenizer: foreign}, "foreign.json has no token <|endoftext|>"},
	} {
		c.o.Out = filepath.Join(dir, "out")
		if c.o.VocabSize == 0 {
			c.o.VocabSize = 300
		}
		_, err := Prepare(context.Background(), c.o)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
		if _, err := Open(c.o.Out); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: Open after a failure: %v", c.name, err)
		}
		if ok, _ := Matches(c.o.Out, c.o); ok {
			t.Errorf("%s: Matches after a failure", c.name)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "out", stagingPrefix+"*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if _, err := Prepare(context.Background(), PrepareOptions{Texts: texts, Out: good, VocabSize: 300}); err == nil || !strings.Contains(err.Error(), good) {
		t.Errorf("folder that is a file: %v", err)
	}
}

func TestProgress(t *testing.T) {
	dir := t.TempDir()
	in := write(t, dir, "in.txt.gz", joined(stories(200, 200)))
	stat, _ := os.Stat(in)
	for name, o := range map[string]PrepareOptions{
		"file":  {Inputs: []string{in}},
		"texts": {Texts: slices.Values(stories(200, 50))},
	} {
		var last, lastTotal int64
		o.Progress = func(done, total int64) {
			if done < last {
				t.Errorf("%s: progress goes back from %d to %d", name, last, done)
			}
			last, lastTotal = done, total
		}
		prepare(t, o)
		want := 2 * stat.Size()
		if name == "texts" {
			want = 2 * int64(len(strings.Join(stories(200, 50), "")))
		}
		if last != want || lastTotal != want {
			t.Errorf("%s: ends at %d of %d, want %d", name, last, lastTotal, want)
		}
	}
}

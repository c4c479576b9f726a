package corpus

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

func zstandard(t testing.TB, text string) string {
	t.Helper()
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(z.EncodeAll([]byte(text), nil))
}

func jsonl(name string, docs []string) string {
	var b strings.Builder
	for i, doc := range docs {
		line, _ := json.Marshal(map[string]any{"id": i, name: doc, "meta": map[string]any{"text": nil}})
		b.Write(append(line, '\n'))
	}
	return b.String()
}

type row struct {
	ID   int64   `parquet:"id"`
	Body string  `parquet:"body,dict"`
	Note *string `parquet:"note,optional"`
}

func parquetFile(t testing.TB, docs []string, codec parquet.WriterOption) string {
	t.Helper()
	var b bytes.Buffer
	w := parquet.NewGenericWriter[row](&b, codec, parquet.PageBufferSize(2000), parquet.MaxRowsPerRowGroup(37))
	for i, doc := range docs {
		if _, err := w.Write([]row{{ID: int64(i), Body: doc}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// The same documents in every form give the same data.
func TestForms(t *testing.T) {
	docs := append(stories(100, 30), story(7, 30_000), "with\n\nblank lines", " \t x", "Zeile\u2028 \"quoted\" \\ \u0001")
	single := stories(60, 1) // without line ends
	single = slices.DeleteFunc(single, func(s string) bool { return strings.TrimSpace(s) != s || s == "" })
	dir := t.TempDir()
	want := prepare(t, PrepareOptions{Texts: slices.Values(docs), ValidFraction: 0.1})
	wantSingle := prepare(t, PrepareOptions{Texts: slices.Values(single)})
	for _, c := range []struct {
		name, contents string
		o              PrepareOptions
		want           *Dataset
	}{
		{"marked.txt.zst", zstandard(t, joined(docs)), PrepareOptions{}, want},
		{"records.jsonl", jsonl("text", docs), PrepareOptions{}, want},
		{"records.ndjson.gz", "\ufeff" + jsonl("body", docs) + "\n \n", PrepareOptions{Field: "body"}, want},
		{"records.jsonl.zst", zstandard(t, strings.TrimSuffix(jsonl("body", docs), "\n")), PrepareOptions{Field: "body"}, want},
		{"plain.parquet", parquetFile(t, docs, parquet.Compression(&parquet.Uncompressed)), PrepareOptions{Column: "body"}, want},
		{"snappy.parquet", parquetFile(t, docs, parquet.Compression(&parquet.Snappy)), PrepareOptions{Column: "body"}, want},
		{"zstd.parquet", parquetFile(t, docs, parquet.Compression(&parquet.Zstd)), PrepareOptions{Column: "body"}, want},
		{"lines.txt", strings.Join(single, "\r\n") + "\n\n", PrepareOptions{Documents: DocumentsLines}, wantSingle},
		{"blank.txt", "\n" + strings.Join(single, "\n \t\n\n") + "\n", PrepareOptions{Documents: DocumentsBlank}, wantSingle},
	} {
		c.o.Inputs = []string{write(t, dir, c.name, c.contents)}
		if c.want == want {
			c.o.ValidFraction = 0.1
		}
		got := prepare(t, c.o)
		if got.Info().SHA256 != c.want.Info().SHA256 {
			t.Errorf("%s: other data than of the same documents in memory: %d documents, want %d", c.name, got.Info().Documents, c.want.Info().Documents)
		}
	}
}

// A file that Arrow wrote: dictionary, snappy, pages of version 1.
func TestParquetOfArrow(t *testing.T) {
	d := prepare(t, PrepareOptions{Inputs: []string{"testdata/arrow.parquet"}, Column: "body"})
	got := documents(d, d.Train())
	if len(got) != 60 || got[0] != "The keeper of lighthouse 0 counted ships. äöü 船" || got[59] != "The keeper of lighthouse 4 counted ships. äöü 船" {
		t.Errorf("%d documents, the first %q", len(got), got[0])
	}
}

func TestFormErrors(t *testing.T) {
	dir := t.TempDir()
	good := parquetFile(t, stories(80, 20), parquet.Compression(&parquet.Snappy))
	for _, c := range []struct {
		name, contents string
		o              PrepareOptions
		want           string
	}{
		{"a.jsonl", "{\"text\":\"a\"}\n{\"body\":\"b\",\"id\":1}\n", PrepareOptions{}, `a.jsonl:2: no field "text"; it has ["body" "id"]`},
		{"b.jsonl", "{\"text\":null}\n", PrepareOptions{}, `b.jsonl:1: field "text" is null, want a string`},
		{"c.jsonl", "{\"text\":[1]}\n", PrepareOptions{}, `field "text" is [1], want a string`},
		{"d.jsonl", "{\"text\":\"a\"}\n\"text\"\n", PrepareOptions{}, "d.jsonl:2: not a JSON object"},
		{"e.jsonl", "{\"text\":\"a", PrepareOptions{}, "e.jsonl:1: not a JSON object"},
		{"f.jsonl", "{\"text\":\"\xff\"}\n", PrepareOptions{}, "f.jsonl:1: not UTF-8"},
		{"g.jsonl", "\n\n", PrepareOptions{}, "holds no text"},
		{"a.txt.zst", zstandard(t, "some text")[:12], PrepareOptions{}, "a.txt.zst: ends too early"},
		{"b.txt.zst", "no zstandard", PrepareOptions{}, "b.txt.zst: "},
		{"a.parquet", good, PrepareOptions{}, `no column "text"; it has ["body" "id" "note"]`},
		{"b.parquet", good, PrepareOptions{Column: "id"}, `column "id" is of type`},
		{"c.parquet", good, PrepareOptions{Column: "note"}, `row 0: column "note" is null`},
		{"d.parquet", good[:len(good)/2], PrepareOptions{Column: "body"}, "d.parquet: not a Parquet file, or cut off"},
		{"e.parquet", "PAR1PAR1", PrepareOptions{Column: "body"}, "e.parquet: not a Parquet file, or cut off"},
		{"f.parquet.gz", good, PrepareOptions{Column: "body"}, "Parquet files compress their columns themselves"},
		{"a.txt", "a\n\nb", PrepareOptions{Documents: "words"}, `documents "words", want marked, blank or lines`},
		{"b.txt", "a", PrepareOptions{TestFraction: 0.5, ValidFraction: 0.5}, "together less than 1"},
		{"c.txt", "only one document", PrepareOptions{TestFraction: 0.5}, "the text is a single document"},
	} {
		c.o.Inputs, c.o.Out, c.o.VocabSize = []string{write(t, dir, c.name, c.contents)}, filepath.Join(t.TempDir(), "d"), 300
		if _, err := Prepare(context.Background(), c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
	}
}

// What the Parquet library would read is what is looked at, however the metadata describe it.
func TestParquetPages(t *testing.T) {
	// Headers: fields 2 and 3 are the sizes, field 1 of the structs 5, 7 and 8 is the number of values.
	number := func(kind byte, field int16, x int64) []byte {
		return binary.AppendVarint(binary.AppendVarint([]byte{kind}, int64(field)), x)
	}
	values := func(field int16, n int64) []byte {
		return append(append(binary.AppendVarint([]byte{12}, int64(field)), number(5, 1, n)...), 0)
	}
	page := func(unpacked int64, more ...[]byte) []byte {
		header := append(number(5, 2, unpacked), number(5, 3, 2)...)
		return append(append(header, slices.Concat(more...)...), 0, 'a', 'b')
	}
	good, many := page(2, values(5, 1)), page(2, values(7, 1<<31-1))
	round := number(5, 32767, 0) // and on by steps of 15, to 11 before where it is 2 again
	for field := 32767; field < 1<<16+2-11; field += 15 {
		round = append(round, 15<<4|5, 0)
	}
	for _, c := range []struct {
		name            string
		pages           []byte
		dictionary, all int64 // of the metadata; all bytes where that is 0
		want            string
	}{
		{"two pages", slices.Concat(good, good), 0, 0, ""},
		{"a dictionary", slices.Concat(page(2, values(7, 3)), good), 4, 0, ""},
		{"a large page behind the values", slices.Concat(good, page(1<<30, values(5, 1))), 0, 0, "1073741824 unpacked"},
		{"a dictionary behind the pages", slices.Concat(good, many), 4 + int64(len(good)), int64(len(many)), "2147483647 values"},
		{"a dictionary at a negative byte", good, -4, 0, "pages at bytes -4 to"},
		{"many values, then few", page(2, values(5, 1<<31-1), values(8, 1)), 0, 0, "2147483647 values"},
		{"few values, then many", page(2, values(5, 1), values(8, 1<<31-1)), 0, 0, "2147483647 values"},
		{"a negative number of values", page(2, values(5, -1), values(8, 1)), 0, 0, "values; want"},
		{"a large size, then a small one of another type", page(1<<30, number(6, 2, 2), values(5, 1)), 0, 0, "1073741824 unpacked"},
		{"two ends", page(2, number(6, 3, 1), values(5, 1)), 0, 0, "states its size twice"},
		{"a number of a field that goes round", page(2, round, []byte{11<<4 | 5}, binary.AppendVarint(nil, 1<<30)), 0, 0, "1073741824 unpacked"},
		{"half a header", append(slices.Clone(good), 5), 0, 0, "ends too early"},
		{"longer than the file", good, 0, 1000, "of a file of"},
		{"a size below zero", good, 0, -1, "pages at bytes 4 to 3"},
		{"a size that goes round", good, 0, math.MaxInt64, "pages at bytes 4 to -"},
	} {
		file := append([]byte("PAR1"), c.pages...)
		column := &format.ColumnMetaData{DataPageOffset: 4, DictionaryPageOffset: c.dictionary, TotalCompressedSize: c.all}
		if c.all == 0 {
			column.TotalCompressedSize = int64(len(c.pages))
		}
		err := checkPages(bytes.NewReader(file), int64(len(file)), column)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
	}
}

func TestDedup(t *testing.T) {
	docs := stories(50, 30)
	long := story(3, 30_000) // in pieces
	twice := slices.Concat(docs, []string{long, "almost", docs[7]}, docs[10:20], []string{long + "!", long, docs[7], "almost "})
	once := slices.Concat(docs, []string{long, "almost", long + "!", "almost "})
	dir := t.TempDir()
	file := write(t, dir, "t.txt", joined(twice))
	for _, fraction := range []float64{0, 0.2} {
		got := prepare(t, PrepareOptions{Inputs: []string{file}, Dedup: true, ValidFraction: fraction, TestFraction: fraction})
		want := prepare(t, PrepareOptions{Texts: slices.Values(once), ValidFraction: fraction, TestFraction: fraction})
		if got.Info().SHA256 != want.Info().SHA256 || got.Info().Duplicates != 13 {
			t.Errorf("fraction %g: other data than without the duplicates; %d were dropped, want 13", fraction, got.Info().Duplicates)
		}
	}
	// Training text does not repeat what it is validated on.
	valid := []string{docs[3], docs[3], "held"}
	d := prepare(t, PrepareOptions{Texts: slices.Values(twice), ValidTexts: slices.Values(valid), Dedup: true})
	train := documents(d, d.Train())
	if !slices.Equal(documents(d, d.Valid()), []string{docs[3], "held"}) || slices.Contains(train, docs[3]) || len(train) != len(once)-1 {
		t.Errorf("%d training documents, want %d; validation %q", len(train), len(once)-1, documents(d, d.Valid()))
	}
	if ok, why := Matches(d.Dir(), PrepareOptions{Texts: slices.Values(twice), ValidTexts: slices.Values(valid), VocabSize: 300}); ok || why == "" {
		t.Error("a de-duplicated folder passes for one that is not")
	}
}

func TestThreeWays(t *testing.T) {
	docs := stories(400, 30)
	two := prepare(t, PrepareOptions{Texts: slices.Values(docs), ValidFraction: 0.1})
	three := prepare(t, PrepareOptions{Texts: slices.Values(docs), ValidFraction: 0.1, TestFraction: 0.2})
	if !slices.Equal(documents(two, two.Valid()), documents(three, three.Valid())) {
		t.Error("a test split changes the validation split")
	}
	all := slices.Concat(documents(three, three.Train()), documents(three, three.Valid()), documents(three, three.Test()))
	slices.Sort(all)
	slices.Sort(docs)
	info := three.Info()
	share := float64(info.TestBytes) / float64(info.Bytes+info.ValidBytes+info.TestBytes)
	if !slices.Equal(all, docs) || math.Abs(share-0.2) > 0.003 || info.TestDocuments != three.Test().Documents() {
		t.Errorf("%d documents in three streams, want %d; %g for testing", len(all), len(docs), share)
	}
	// With validation text of its own.
	given := prepare(t, PrepareOptions{Texts: slices.Values(docs), ValidTexts: slices.Values([]string{"held"}), TestFraction: 0.2})
	if n := given.Test().Documents(); n < 60 || given.Valid().Documents() != 1 || given.Train().Documents()+n != 400 {
		t.Errorf("%d documents for testing", n)
	}
	// Few documents: each side gets one where there are three.
	for _, fraction := range []float64{0.001, 0.3, 0.4999} {
		d := prepare(t, PrepareOptions{Texts: slices.Values(docs[:3]), ValidFraction: fraction, TestFraction: fraction})
		if d.Train().Documents() != 1 || d.Valid().Documents() != 1 || d.Test().Documents() != 1 {
			t.Errorf("three documents at %g: %d, %d and %d", fraction, d.Train().Documents(), d.Valid().Documents(), d.Test().Documents())
		}
	}
}

func TestLengths(t *testing.T) {
	// One token a letter: nothing is merged that occurs once.
	docs := []string{"a", "bcd", "efghijklmnop", "qr", "s tu"}
	d := prepare(t, PrepareOptions{Texts: slices.Values(docs), VocabSize: 259})
	if got, want := d.Info().Lengths, []int64{0, 1, 2, 1, 1}; !slices.Equal(got, want) { // 2; 3, 4; 5; 13 tokens
		t.Errorf("lengths %v, want %v", got, want)
	}
}

func TestImportExport(t *testing.T) {
	docs := stories(120, 40)
	d := prepare(t, PrepareOptions{Texts: slices.Values(docs), ValidFraction: 0.1, TestFraction: 0.1})
	tok := filepath.Join(d.Dir(), tokenizerFile)
	for _, format := range TokenFormats() {
		dir := t.TempDir()
		names, err := d.Export(context.Background(), format, dir)
		if err != nil || len(names) != 3 {
			t.Fatalf("%s: %v, %v", format, names, err)
		}
		ids := make([]int32, d.Train().Len())
		d.Train().Read(0, ids)
		var want []byte
		if format == LLMC {
			want = make([]byte, 1024)
			binary.LittleEndian.PutUint32(want, 20240520)
			binary.LittleEndian.PutUint32(want[4:], 1)
			binary.LittleEndian.PutUint32(want[8:], uint32(len(ids)))
		}
		for _, id := range ids {
			want = binary.LittleEndian.AppendUint16(want, uint16(id))
		}
		if got, _ := os.ReadFile(names[0]); !bytes.Equal(got, want) {
			t.Errorf("%s: train.bin differs from its layout", format)
		}
		out := filepath.Join(dir, "back")
		info, err := Import(context.Background(), ImportOptions{Format: format, Train: names[:1], Valid: names[1:2], Test: names[2:], Tokenizer: tok, Out: out})
		if err != nil {
			t.Fatal(err)
		}
		back, err := Open(out)
		if err != nil {
			t.Fatal(err)
		}
		defer back.Close()
		if info.SHA256 != d.Info().SHA256 || back.Info().Bytes != d.Info().Bytes || !slices.Equal(info.Lengths, d.Info().Lengths) {
			t.Errorf("%s: written and read back it is other data", format)
		}
	}
	// EndOfText behind each document, as nanoGPT's own script puts it.
	dir := t.TempDir()
	name := write(t, dir, "t.bin", "\x10\x00\x11\x00\x00\x00\x12\x00\x00\x00")
	info, err := Import(context.Background(), ImportOptions{Format: NanoGPT, Train: []string{name}, Tokenizer: tok, Out: filepath.Join(dir, "d")})
	if err != nil || info.Documents != 2 || info.Tokens != 5 || info.Bytes != 3 {
		t.Errorf("%+v, %v", info, err)
	}
}

func TestWideExport(t *testing.T) {
	var ids []int32
	for i := range int32(1000) {
		ids = append(ids, 70_000-i)
	}
	s, err := parseShard(shardBytes(t, 70_001, ids), 70_001)
	if err != nil {
		t.Fatal(err)
	}
	var stream Stream
	stream.add(s)
	name := filepath.Join(t.TempDir(), "wide.bin")
	if err := stream.export(context.Background(), name, LLMC, 4); err != nil {
		t.Fatal(err)
	}
	data, _ := os.ReadFile(name)
	width, count, err := tokenHeader(bytes.NewReader(data), LLMC, int64(len(data)))
	if err != nil || width != 4 || count != stream.Len() || binary.LittleEndian.Uint32(data[1024:]) != 70_000 {
		t.Errorf("width %d, %d tokens, %v", width, count, err)
	}
}

func TestImportErrors(t *testing.T) {
	d := prepare(t, PrepareOptions{Texts: slices.Values(stories(20, 20))})
	tok := filepath.Join(d.Dir(), tokenizerFile)
	header := func(magic, version, tokens uint32) string {
		b := make([]byte, 1024)
		binary.LittleEndian.PutUint32(b, magic)
		binary.LittleEndian.PutUint32(b[4:], version)
		binary.LittleEndian.PutUint32(b[8:], tokens)
		return string(b)
	}
	for i, c := range []struct{ format, contents, want string }{
		{NanoGPT, "abc", "3 bytes, which is no whole number"},
		{NanoGPT, "\x10\x00\xff\xff", "token 1 is 65535, the tokenizer has 300: made with another one?"},
		{NanoGPT, "\x00\x00\x00\x00", "holds no token but <|endoftext|>"},
		{LLMC, "short", "shorter than llm.c's header"},
		{LLMC, header(1, 2, 3), "begins with magic 1, version 2"},
		{LLMC, header(20240520, 1, 3) + "\x10\x00", "its header says 3 tokens of 2 bytes, which make 1030 bytes; the file has 1026"},
		{LLMC, header(20240520, 1, 1<<31) + "\x10\x00", "cut off?"},
		{"word2vec", "a", `format "word2vec", want one of`},
	} {
		name := write(t, t.TempDir(), fmt.Sprintf("%d.bin", i), c.contents)
		_, err := Import(context.Background(), ImportOptions{Format: c.format, Train: []string{name}, Tokenizer: tok, Out: filepath.Join(t.TempDir(), "d")})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %.10q: error %v, want %q", c.format, c.contents, err, c.want)
		}
	}
}

// Memory does not grow with the text: 64 times as much needs no more.
func TestConstantMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("encodes 60 MB")
	}
	d := prepare(t, PrepareOptions{Texts: slices.Values(stories(20, 20))})
	tok := filepath.Join(d.Dir(), tokenizerFile)
	peak := func(documents int) uint64 {
		doc := story(1, 20_000)
		most := uint64(0)
		texts := func(yield func(string) bool) {
			for i := range documents {
				if i%16 == 0 {
					var m runtime.MemStats
					runtime.GC()
					runtime.ReadMemStats(&m)
					most = max(most, m.HeapAlloc)
				}
				if !yield(doc) {
					return
				}
			}
		}
		p, err := (PrepareOptions{Texts: texts, Tokenizer: tok, Out: t.TempDir()}).plan()
		if err != nil {
			t.Fatal(err)
		}
		m := &maker{plan: p, staging: t.TempDir(), shardTokens: 1 << 18, pieceSize: pieceSize}
		if _, err := m.build(context.Background()); err != nil {
			t.Fatal(err)
		}
		return most
	}
	little, much := peak(32), peak(512)
	if much > little+8<<20 {
		t.Errorf("%d MiB at the most, %d MiB for a sixteenth of the text", much>>20, little>>20)
	}
}

// checkForm reads a file of that name: whatever it holds, it is an error or documents.
func checkForm(t *testing.T, name string, data []byte) {
	in := input{path: name, FileID: FileID{Size: int64(len(data))}}
	how := reading{documents: DocumentsMarked, field: "text", column: "body", size: 1000, cut: func(string) int { return 0 }, progress: func(int) {}}
	size, failed := 0, false
	pieces := func(yield func(piece, error) bool) { in.readFrom(bytes.NewReader(data), how, yield) }
	for p, err := range pieces {
		if failed {
			t.Fatal("something comes behind an error")
		}
		if failed = err != nil; failed {
			continue
		}
		if p.text == "" {
			t.Fatal("an empty piece")
		}
		if size += len(p.text); size > 1<<24 {
			return
		}
	}
}

func FuzzForms(f *testing.F) {
	f.Add("a.txt", []byte("\ufeffa\r\n<|endoftext|>\nb"))
	f.Add("a.jsonl.gz", []byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"))
	f.Add("a.txt.zst", []byte(zstandard(f, "some text")))
	f.Fuzz(checkForm)
}

func FuzzJSONL(f *testing.F) {
	f.Add([]byte("{\"text\":\"a\"}\n{\"text\":\"\\ud800b\",\"x\":{}}"))
	f.Add([]byte("{\"x\":[{\"text\":1}],\"text\":\"\\u00e9\\n<|endoftext|>\"}\r\n\n{\"text\":null}"))
	f.Fuzz(func(t *testing.T, data []byte) { checkForm(t, "a.jsonl", data) })
}

func FuzzParquet(f *testing.F) {
	f.Add([]byte(parquetFile(f, []string{"a", "b"}, parquet.Compression(&parquet.Uncompressed))))
	f.Add([]byte(parquetFile(f, []string{"a", "b", "b"}, parquet.Compression(&parquet.Snappy))))
	f.Fuzz(func(t *testing.T, data []byte) { checkForm(t, "a.parquet", data) })
}

// Whatever a file of tokens holds: an error, or a stream whose documents all begin with EndOfText.
func FuzzTokens(f *testing.F) {
	f.Add(true, []byte("\x10\x00\x11\x00\x00\x00\x12\x00\x00\x00"))
	header := make([]byte, 1024)
	binary.LittleEndian.PutUint32(header, 20240801)
	binary.LittleEndian.PutUint32(header[4:], 7)
	binary.LittleEndian.PutUint32(header[8:], 2)
	f.Add(false, append(header, 0, 0, 0, 0, 9, 0, 0, 0))
	d := prepare(f, PrepareOptions{Texts: slices.Values(stories(5, 20))})
	f.Fuzz(func(t *testing.T, nano bool, data []byte) {
		format := LLMC
		if nano {
			format = NanoGPT
		}
		w := newShardWriter("", trainStream, d.Tokenizer().VocabSize(), maxShardTokens)
		if err := importTokens(context.Background(), bytes.NewReader(data), int64(len(data)), format, d.Tokenizer(), 0, w); err != nil {
			return
		}
		if w.total.Documents < 1 || w.counts[0] != w.total.Documents || w.total.Tokens > int64(len(data))/2+1 {
			t.Fatalf("%+v of %d bytes", w.total, len(data))
		}
	})
}

// A Parquet file with a few bytes changed: an error or documents, and little memory either way.
func TestParquetFlips(t *testing.T) {
	r := rand.New(rand.NewPCG(17, 18))
	how := reading{documents: DocumentsMarked, field: "text", column: "body", size: 1000, cut: func(string) int { return 0 }, progress: func(int) {}}
	refused, most := 0, uint64(0)
	for _, codec := range []parquet.WriterOption{parquet.Compression(&parquet.Uncompressed), parquet.Compression(&parquet.Snappy), parquet.Compression(&parquet.Zstd)} {
		good := []byte(parquetFile(t, stories(40, 20), codec))
		for range 700 {
			bad := slices.Clone(good)
			for range 1 + r.IntN(3) {
				at := r.IntN(len(bad))
				if r.IntN(2) == 0 { // where the metadata are
					at = len(bad) - 1 - r.IntN(min(len(bad), 800))
				}
				bad[at] = byte(r.Uint32())
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			in := input{path: "a.parquet", FileID: FileID{Size: int64(len(bad))}}
			in.readFrom(bytes.NewReader(bad), how, func(_ piece, err error) bool {
				if err != nil {
					refused++
				}
				return err == nil
			})
			runtime.ReadMemStats(&after)
			most = max(most, after.TotalAlloc-before.TotalAlloc)
		}
	}
	if refused < 200 || most > 64<<20 {
		t.Errorf("%d of 2100 refused; one asked for %d MiB", refused, most>>20)
	}
	t.Logf("%d of 2100 refused; %d KiB at the most", refused, most>>10)
}

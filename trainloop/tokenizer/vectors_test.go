package tokenizer

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// What tools/oracle/tokenizer_vectors.py wrote; it says how to make a larger set.
var vectors = flag.String("vectors", "testdata", "folder with the files of tokenizer_vectors.py")

// single is whether tests of a single goroutine run: not under the race detector.
var single = true

func needsNoRace(t testing.TB) {
	if !single {
		t.Skip("one goroutine only: nothing for the race detector")
	}
}

func load(t testing.TB, name string) *Tokenizer {
	t.Helper()
	tok, err := Load(filepath.Join(*vectors, name))
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func trainingDocs(t testing.TB) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(*vectors, "text.txt"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(data), "\n<|endoftext|>\n")
}

// Training gives, byte for byte, the file that the tokenizers library's ByteLevelBPETokenizer
// gives for the same documents: same merges, same ids, same layout.
func TestTrainEqualsLibrary(t *testing.T) {
	want, err := os.ReadFile(filepath.Join(*vectors, "trained.json"))
	if err != nil {
		t.Fatal(err)
	}
	tok, err := Train(slices.Values(trainingDocs(t)), TrainOptions{VocabSize: 480})
	if err != nil {
		t.Fatal(err)
	}
	if got := tok.JSON(); !bytes.Equal(got, want) {
		at := 0
		for at < min(len(got), len(want)) && got[at] == want[at] {
			at++
		}
		t.Fatalf("differs from trained.json at byte %d:\ngot  …%s\nwant …%s", at, around(got, at), around(want, at))
	}
}

func around(b []byte, at int) []byte { return b[max(0, at-60):min(len(b), at+60)] }

// A file that was read is written so that the library reads the same out of it: its own layout is
// reproduced byte by byte, and reading what was written gives the same tokenizer.
func TestSaveKeepsEverything(t *testing.T) {
	for _, name := range []string{"trained.json", "added.json", "sparse.json"} {
		tok := load(t, name)
		original, err := os.ReadFile(filepath.Join(*vectors, name))
		if err != nil {
			t.Fatal(err)
		}
		if want := original; name == "trained.json" && !bytes.Equal(tok.JSON(), want) {
			t.Errorf("%s: JSON() differs from the file", name)
		}
		// Without white space the others are the same but for the form of the merges.
		var got, want bytes.Buffer
		json.Compact(&got, tok.JSON())
		json.Compact(&want, original)
		if name == "added.json" && got.String() != want.String() {
			t.Errorf("%s: JSON() differs from the file in more than layout", name)
		}
		path := filepath.Join(t.TempDir(), name)
		if err := tok.Save(path); err != nil {
			t.Fatal(err)
		}
		again, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		if again.SHA256() != tok.SHA256() {
			t.Errorf("%s: another tokenizer after saving and loading", name)
		}
		if text := "BOTH WORD two  quaint ships\n\n"; !slices.Equal(again.Encode(text), tok.Encode(text)) {
			t.Errorf("%s: encodes differently after saving and loading", name)
		}
	}
}

func TestVectors(t *testing.T) {
	type decoded struct {
		IDs  []int32
		Text string
	}
	type row struct {
		Text                             string
		Trained, Added, Sparse, Ordinary []int32
		DecodeTrained                    *decoded `json:"decode_trained"`
		DecodeAdded                      *decoded `json:"decode_added"`
		DecodeSparse                     *decoded `json:"decode_sparse"`
	}
	trained, added, sparse := load(t, "trained.json"), load(t, "added.json"), load(t, "sparse.json")
	f, err := os.Open(filepath.Join(*vectors, "vectors.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	texts, decodes, wrong := 0, 0, 0
	check := func(what string, ok bool, in, got, want any) {
		if !ok {
			if wrong++; wrong <= 10 {
				t.Errorf("%s %q: got %q, want %q", what, in, got, want)
			}
		}
	}
	for lines.Scan() {
		var r row
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		if r.DecodeTrained != nil {
			decodes++
			for _, c := range []struct {
				name string
				tok  *Tokenizer
				want *decoded
			}{{"trained", trained, r.DecodeTrained}, {"added", added, r.DecodeAdded}, {"sparse", sparse, r.DecodeSparse}} {
				got := c.tok.Decode(c.want.IDs)
				check(c.name+" decode", got == c.want.Text, c.want.IDs, got, c.want.Text)
			}
			continue
		}
		texts++
		if r.Added == nil {
			r.Added = r.Trained
		}
		if r.Ordinary == nil {
			r.Ordinary = r.Added
		}
		for _, c := range []struct {
			name      string
			got, want []int32
		}{
			{"trained", trained.Encode(r.Text), r.Trained},
			{"added", added.Encode(r.Text), r.Added},
			{"ordinary", added.AppendEncodeOrdinary(nil, r.Text), r.Ordinary},
			{"sparse", sparse.Encode(r.Text), r.Sparse},
		} {
			if !slices.Equal(c.got, c.want) {
				tok := map[string]*Tokenizer{"trained": trained, "sparse": sparse}[c.name]
				if tok == nil {
					tok = added
				}
				check(c.name, false, r.Text, spellings(tok, c.got), spellings(tok, c.want))
			}
		}
		if got := string(trained.DecodeBytes(nil, r.Trained)); got != r.Text {
			check("round trip", false, r.Text, got, r.Text)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	if texts < 500 || decodes < 100 {
		t.Errorf("only %d texts and %d id lists in vectors.jsonl", texts, decodes)
	}
	t.Logf("%d texts in four encodings and %d id lists in three vocabularies, %d wrong", texts, decodes, wrong)
}

// Every code point has the class it has in the library. A failure after a change of the Go version
// means that Go's Unicode tables have gone past the library's: then ids would change with them.
func TestUnicodeClasses(t *testing.T) {
	needsNoRace(t)
	data, err := os.ReadFile(filepath.Join(*vectors, "unicode.json"))
	if err != nil {
		t.Fatal(err)
	}
	var want struct{ Split, Word string }
	if err := json.Unmarshal(data, &want); err != nil {
		t.Fatal(err)
	}
	split, word := bytes.Repeat([]byte("O"), 0x110000), bytes.Repeat([]byte("0"), 0x110000)
	for r := range rune(0x110000) {
		if !utf8.ValidRune(r) {
			continue
		}
		kind, _ := classAt(string(r), 0)
		split[r] = map[class]byte{other: 'O', letter: 'L', number: 'N', space: 'S'}[kind]
		if wordCharacter(r) {
			word[r] = '1'
		}
	}
	for _, c := range []struct {
		what, want string
		got        []byte
	}{{"split", want.Split, split}, {"word", want.Word, word}} {
		if got := fmt.Sprintf("%x", sha256.Sum256(c.got)); got != c.want {
			t.Errorf("%s: sha256 of all classes %s, want %s", c.what, got, c.want)
		}
	}
}

// Every property of patterns holds what it does in the library, and every code point, alone and before
// marks, is normalized alike.
func TestUnicodeTables(t *testing.T) {
	needsNoRace(t)
	var want struct{ Properties, Normalized map[string]string }
	readVectors(t, "unicode.json", &want)
	if len(want.Properties) != len(properties)+1 {
		t.Errorf("%d properties in unicode.json, %d here and Digits", len(want.Properties), len(properties))
	}
	for name, digest := range want.Properties {
		has := isNumeric
		if name != "Digits" {
			has = func(r rune) bool { return unicode.In(r, properties[name]...) }
		}
		list := bytes.Repeat([]byte("0"), 0x110000)
		for r := range rune(0x110000) {
			if utf8.ValidRune(r) && has(r) {
				list[r] = '1'
			}
		}
		if fmt.Sprintf("%x", sha256.Sum256(list)) != digest {
			t.Errorf("%s: other characters than in the library", name)
		}
	}
	for name, digest := range want.Normalized {
		n, _, err := parseNormalizer("normalizer", json.RawMessage(`{"type":"`+name+`"}`), 0)
		if err != nil {
			t.Fatal(err)
		}
		hash := sha256.New()
		for r := range rune(0x110000) {
			if utf8.ValidRune(r) {
				io.WriteString(hash, n.normalize(nil, string(r))+n.normalize(nil, "a"+string(r)+"\u0334\u0301"))
			}
		}
		if fmt.Sprintf("%x", hash.Sum(nil)) != digest {
			t.Errorf("%s: other texts than the library's", name)
		}
	}
}

func spellings(t *Tokenizer, ids []int32) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = t.Token(id)
	}
	return out
}

package tokenizer

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// config is an entry of configs.json: what takes the place of parts of loose.json, and digests of ids.
type config struct {
	name         string
	Normalizer   json.RawMessage   `json:"normalizer"`
	PreTokenizer json.RawMessage   `json:"pre_tokenizer"`
	IgnoreMerges bool              `json:"ignore_merges"`
	Added        []map[string]any  `json:"added"`
	Strings      string            `json:"strings"`
	Large        map[string]string `json:"large"`
}

func readVectors(t testing.TB, name string, into any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(*vectors, name))
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// configs returns the entries by name, each with its tokenizer.json.
func configs(t testing.TB) ([]config, map[string][]byte) {
	var all map[string]config
	readVectors(t, "configs.json", &all)
	var list []config
	files := map[string][]byte{}
	// configs.json has them in the order in which strings.jsonl counts them.
	data, _ := os.ReadFile(filepath.Join(*vectors, "configs.json"))
	for _, line := range strings.Split(string(data), "\n") {
		name, _, ok := strings.Cut(strings.TrimPrefix(line, `"`), `": {`)
		c, known := all[name]
		if !ok || !known {
			continue
		}
		c.name = name
		list = append(list, c)
		files[name] = c.file(t)
	}
	if len(list) != len(all) || len(list) < 20 {
		t.Fatalf("%d of %d configs read", len(list), len(all))
	}
	return list, files
}

func (c config) file(t testing.TB) []byte {
	var f map[string]any
	readVectors(t, "loose.json", &f)
	f["pre_tokenizer"], f["normalizer"] = c.PreTokenizer, c.Normalizer
	model := f["model"].(map[string]any)
	model["ignore_merges"] = c.IgnoreMerges
	for i, a := range c.Added {
		a["id"] = len(model["vocab"].(map[string]any)) + i
		f["added_tokens"] = append(f["added_tokens"].([]any), a)
	}
	data, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func idsDigest(lists ...[]int32) string {
	hash := sha256.New()
	for _, ids := range lists {
		binary.Write(hash, binary.LittleEndian, append(slices.Clone(ids), -1))
	}
	return fmt.Sprintf("%x", hash.Sum(nil))
}

// Split patterns, normalizers and added tokens as files in use have them: ids of 2,000 strings in each of
// two dozen tokenizers, and of 1 MB of English, source code, emoji and mixed scripts in four, as the
// tokenizers library gives them.
func TestConfigs(t *testing.T) {
	needsNoRace(t)
	list, files := configs(t)
	toks := map[string]*Tokenizer{}
	for _, c := range list {
		tok, err := Parse(files[c.name])
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		toks[c.name] = tok
		// What is written is the same tokenizer, and its parts the same JSON.
		again, err := Parse(tok.JSON())
		if err != nil || again.SHA256() != tok.SHA256() {
			t.Errorf("%s: another tokenizer after writing and reading: %v", c.name, err)
		}
		var got, want map[string]any
		json.Unmarshal(tok.JSON(), &got)
		json.Unmarshal(files[c.name], &want)
		for _, field := range []string{"normalizer", "pre_tokenizer", "post_processor"} {
			a, _ := json.Marshal(got[field])
			b, _ := json.Marshal(want[field])
			if !bytes.Equal(a, b) {
				t.Errorf("%s: %s written as %s, read as %s", c.name, field, a, b)
			}
		}
	}
	f, err := os.Open(filepath.Join(*vectors, "strings.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ids := map[string][][]int32{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	texts, wrong := 0, 0
	for lines.Scan() {
		var row [2]string
		if err := json.Unmarshal(lines.Bytes(), &row); err != nil {
			t.Fatal(err)
		}
		texts++
		var all []int32
		for _, c := range list {
			one := toks[c.name].Encode(row[0])
			ids[c.name] = append(ids[c.name], one)
			all = append(append(all, one...), -1)
		}
		if got := idsDigest(all)[:8]; got != row[1] {
			if wrong++; wrong <= 20 {
				t.Errorf("%q: some tokenizer gives it other ids (below says which)", row[0])
			}
		}
	}
	if err := lines.Err(); err != nil || texts < 2000 {
		t.Fatalf("%d strings read, %v", texts, err)
	}
	for _, c := range list {
		if idsDigest(ids[c.name]...) != c.Strings {
			t.Errorf("%s: other ids for some string", c.name)
		}
	}
	var pieces map[string][]string
	readVectors(t, "pieces.json", &pieces)
	checked := 0
	for _, kind := range slices.Sorted(maps.Keys(pieces)) {
		text := large(pieces[kind], 1_000_000)
		for _, c := range list {
			if c.Large == nil {
				continue
			}
			checked++
			got := toks[c.name].Encode(text)
			if idsDigest(got) != c.Large[kind] {
				t.Errorf("%s: other ids for 1 MB of %s", c.name, kind)
			}
			// In pieces, as a corpus is encoded.
			var cut []int32
			for rest := text; rest != ""; {
				n := toks[c.name].LastCut(rest[:min(len(rest), 10_000)])
				if n == 0 || len(rest) <= 10_000 {
					n = len(rest)
				}
				cut, rest = toks[c.name].AppendEncode(cut, rest[:n]), rest[n:]
			}
			if !slices.Equal(cut, got) {
				t.Errorf("%s: other ids for %s encoded in pieces", c.name, kind)
			}
		}
	}
	if checked < 16 {
		t.Errorf("only %d large texts", checked)
	}
}

// large is the function of that name in tokenizer_vectors.py.
func large(pieces []string, size int) string {
	var out strings.Builder
	for x := uint64(1); out.Len() < size; {
		x = x*6364136223846793005 + 1442695040888963407
		out.WriteString(pieces[x>>33%uint64(len(pieces))])
	}
	return out.String()
}

package tokenizer

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const sharedData = "../../../shared/data"

// A vocabulary of 4,000 and 2.9 million ids of stories, BLiMP and LAMBADA: all as the tokenizers
// library gives them (testdata/shared.json).
func TestSharedTexts(t *testing.T) {
	if _, err := os.Stat(sharedData); err != nil {
		t.Skipf("no shared data beside the repository: %v", err)
	}
	type digest struct {
		Texts, IDs int
		SHA256     string
	}
	var want struct {
		Tokenizer            string
		Test, BLiMP, Lambada digest
	}
	data, err := os.ReadFile("testdata/shared.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &want); err != nil {
		t.Fatal(err)
	}
	tok, err := Train(slices.Values(stories(t, "sample.txt")), TrainOptions{VocabSize: 4000})
	if err != nil {
		t.Fatal(err)
	}
	if tok.SHA256() != want.Tokenizer {
		t.Error("the vocabulary trained on sample.txt differs from the library's")
	}
	for _, c := range []struct {
		name  string
		texts []string
		want  digest
	}{{"test.txt", stories(t, "test.txt"), want.Test}, {"BLiMP", blimp(t), want.BLiMP}, {"LAMBADA", lambada(t), want.Lambada}} {
		hash := sha256.New()
		got := digest{Texts: len(c.texts)}
		for _, text := range c.texts {
			ids := tok.Encode(text)
			got.IDs += len(ids)
			binary.Write(hash, binary.LittleEndian, append(ids, -1))
		}
		got.SHA256 = fmt.Sprintf("%x", hash.Sum(nil))
		if got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
	}
}

// What tokenizer_vectors.py --exchange wrote: vocabularies that the library trained, and what they make of
// all of BLiMP, LAMBADA and five books.
var exchange = flag.String("exchange", "", "folder that tokenizer_vectors.py --exchange wrote")

func TestExchange(t *testing.T) {
	if *exchange == "" {
		t.Skip("no -exchange folder")
	}
	var want map[string]map[string]string
	data, err := os.ReadFile(filepath.Join(*exchange, "digests.json"))
	if err == nil {
		err = json.Unmarshal(data, &want)
	}
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string][]string{}
	for _, digests := range want {
		for file := range digests {
			if texts[file] != nil {
				continue
			}
			eachLine(t, filepath.Join(*exchange, file+".jsonl"), func(line []byte) {
				var text string
				if err := json.Unmarshal(line, &text); err != nil {
					t.Fatal(err)
				}
				texts[file] = append(texts[file], text)
			})
		}
	}
	mine, err := Train(slices.Values(texts["documents"]), TrainOptions{VocabSize: 4000})
	if err != nil {
		t.Fatal(err)
	}
	toks := map[string]*Tokenizer{"march": mine}
	for name := range want {
		if toks[name], err = Load(filepath.Join(*exchange, name+".json")); err != nil {
			t.Fatal(err)
		}
	}
	// What march writes, the library is to read: tokenizer_vectors.py --back.
	back := filepath.Join(*exchange, "back")
	if err := os.MkdirAll(back, 0o777); err != nil {
		t.Fatal(err)
	}
	got := map[string]map[string]string{}
	for name, tok := range toks {
		if err := tok.Save(filepath.Join(back, name+".json")); err != nil {
			t.Fatal(err)
		}
		got[name] = map[string]string{}
		for file, list := range texts {
			ids := make([][]int32, len(list))
			for i, text := range list {
				ids[i] = tok.Encode(text)
			}
			got[name][file] = idsDigest(ids...)
			if digest, ok := want[name][file]; ok && got[name][file] != digest {
				t.Errorf("%s: other ids for %s", name, file)
			}
			t.Logf("%s: %d texts of %s", name, len(list), file)
		}
	}
	data, _ = json.Marshal(got)
	if err := os.WriteFile(filepath.Join(back, "digests.json"), data, 0o666); err != nil {
		t.Fatal(err)
	}
}

func stories(t testing.TB, name string) []string {
	data, err := os.ReadFile(filepath.Join(sharedData, "corpus", name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimRight(string(data), "\n"), "\n<|endoftext|>\n")
}

func blimp(t testing.TB) (texts []string) {
	files, err := filepath.Glob(filepath.Join(sharedData, "blimp", "*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files { // Glob sorts
		eachLine(t, name, func(line []byte) {
			var item struct {
				Good string `json:"sentence_good"`
				Bad  string `json:"sentence_bad"`
			}
			if err := json.Unmarshal(line, &item); err != nil {
				t.Fatal(err)
			}
			texts = append(texts, item.Good, item.Bad)
		})
	}
	return texts
}

func lambada(t testing.TB) (texts []string) {
	eachLine(t, filepath.Join(sharedData, "lambada", "lambada_test.jsonl"), func(line []byte) {
		var item struct{ Text string }
		if err := json.Unmarshal(line, &item); err != nil {
			t.Fatal(err)
		}
		texts = append(texts, item.Text)
	})
	return texts
}

func eachLine(t testing.TB, path string, do func([]byte)) {
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		do(lines.Bytes())
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkTrain(b *testing.B) {
	if _, err := os.Stat(sharedData); err != nil {
		b.Skip(err)
	}
	docs := stories(b, "sample.txt")
	for b.Loop() {
		if _, err := Train(slices.Values(docs), TrainOptions{VocabSize: 4000}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	if _, err := os.Stat(sharedData); err != nil {
		b.Skip(err)
	}
	docs := stories(b, "sample.txt")
	tok, err := Train(slices.Values(docs), TrainOptions{VocabSize: 4000})
	if err != nil {
		b.Fatal(err)
	}
	text := strings.Join(docs, "\n")
	b.SetBytes(int64(len(text)))
	var ids []int32
	for b.Loop() {
		ids = tok.AppendEncode(ids[:0], text)
	}
}

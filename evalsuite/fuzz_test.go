package evalsuite

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

// FuzzFiles: no BLiMP file and no LAMBADA file, of either form, makes reading and scoring panic; each pair and each passage that
// is read is judged once.
func FuzzFiles(f *testing.F) {
	const pair = `{"sentence_good": "Cats sleep.", "sentence_bad": "Cats sleeps.", "field": "morphology", "linguistics_term": "subject_verb_agreement", "UID": "regular_plural_subject_verb_agreement_1", "pairID": "%"}`
	f.Add(byte(0), []byte(pair+"\n"+pair[:len(pair)-4]+"\"7\"}\n"))
	f.Add(byte(0), []byte(`{"sentence_good":"é","sentence_bad":"\u0000","field":"s-selection","linguistics_term":"x","UID":"y","pairID":3,"more":[{}]}`))
	f.Add(byte(1), []byte(`{"text": "“Well,” she said,\nand took her hat"}`+"\n"))
	f.Add(byte(2), []byte("he said `` no '' and meant no\n\nshe left the house\n"))
	dirs := []string{f.TempDir(), f.TempDir(), f.TempDir()} // one a form: BLiMP takes all files of its folder
	f.Fuzz(func(t *testing.T, form byte, content []byte) {
		dir := dirs[form%3]
		path := filepath.Join(dir, []string{"pairs.jsonl", "passages.jsonl", "passages.txt"}[form%3])
		if err := os.WriteFile(path, content, 0o666); err != nil {
			t.Fatal(err)
		}
		var s Suite
		var items int
		if form%3 == 0 {
			b, err := NewBLiMP(dir)
			if err != nil {
				return
			}
			s, items = b, len(b.pairs)
		} else {
			l, err := NewLAMBADA(path, LAMBADAOptions{PlainQuotes: form&4 != 0})
			if err != nil {
				return
			}
			s, items = l, len(l.passages)
		}
		r, err := Run(context.Background(), uniformModel(t, 16, 257), byteTokenizer{}, s, Options{PerToken: form&8 != 0})
		if err != nil {
			t.Fatal(err)
		}
		if r.Items != int64(items) {
			t.Errorf("%d items of %d", r.Items, items)
		}
	})
}

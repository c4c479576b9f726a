package tokenizer

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestStream: whatever the tokens, pieces are valid UTF-8, come as soon as they can, and join to what Decode gives.
func TestStream(t *testing.T) {
	texts := []string{"plain words", "naïve Grüße", "日本語 und 🙂🙃", "a\u0301e\u0301"}
	tok, err := Train(slices.Values(texts), TrainOptions{VocabSize: 262})
	if err != nil {
		t.Fatal(err)
	}
	check := func(ids []int32) {
		t.Helper()
		s, joined := tok.Stream(), ""
		for i, id := range ids {
			piece := s.Add(id)
			joined += piece
			if !utf8.ValidString(piece) {
				t.Fatalf("%v: piece %d is %q", ids, i, piece)
			}
			raw := tok.DecodeBytes(nil, ids[:i+1])
			if utf8.Valid(raw) && joined != string(raw) {
				t.Fatalf("%v: after %d tokens %q came of %q", ids, i+1, joined, raw)
			}
		}
		if joined += s.Rest(); joined != tok.Decode(ids) {
			t.Fatalf("%v: %q, wanted %q", ids, joined, tok.Decode(ids))
		}
	}
	for _, text := range texts {
		check(tok.Encode(text))
	}
	r := rand.New(rand.NewPCG(5, 6))
	broken := []byte{0xe2, 0x82, 0xac, 0xf0, 0x9f, 0x99, 0x82, 0xc3, 0xa9, 0x80, 0xff, 0xed, 0xa0, 'a'}
	for range 3000 {
		var ids []int32
		for range r.IntN(9) {
			if r.IntN(4) == 0 {
				ids = append(ids, int32(r.IntN(tok.VocabSize()+1)))
			} else {
				ids = append(ids, tok.byteIDs[broken[r.IntN(len(broken))]])
			}
		}
		check(ids)
	}
	euro := tok.Stream()
	var pieces []string
	for _, b := range []byte("€!") {
		pieces = append(pieces, euro.Add(tok.byteIDs[b]))
	}
	if got := strings.Join(pieces, "|"); got != "||€|!" {
		t.Errorf("the bytes of €! came as %q", got)
	}
}

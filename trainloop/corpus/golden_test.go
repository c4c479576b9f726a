package corpus

import (
	"encoding/binary"
	"slices"
	"testing"

	"march/trainloop/objective"
)

// Some rows, written down: data must not change between versions of march. They come from a second
// implementation of the documented formulas, in Python, over 400 tokens: 0 at every tenth, else
// token i is 3 + i mod 290.
func TestObjectivesGolden(t *testing.T) {
	part := &shard{width: 2}
	for i := range 400 {
		token := 0
		if i%10 != 0 {
			token = 3 + i%290
		}
		part.tokens = binary.LittleEndian.AppendUint16(part.tokens, uint16(token))
	}
	stream := &Stream{}
	stream.add(part)
	const no = IgnoreLabel
	for _, c := range []struct {
		objective     string
		length        int
		micro         int64
		tokens, label []int64
	}{
		{objective.MaskedLM, 14, 0, []int64{ // a token becomes another one, one stays, two are masked
			7, 8, 9, 10, 11, 12, 0, 14, 234, 16, 17, 18, 19, 2,
			91, 92, 0, 94, 95, 96, 97, 98, 99, 100, 101, 2, 0, 104,
		}, []int64{
			no, no, no, no, no, no, no, no, 15, no, no, no, no, 20,
			no, 92, no, no, no, no, no, no, no, no, no, 102, no, no,
		}},
		{objective.MaskedLM, 14, 3, []int64{
			0, 2, 285, 286, 287, 288, 289, 290, 291, 292, 0, 4, 5, 2,
			241, 242, 0, 244, 2, 246, 247, 248, 249, 250, 251, 252, 0, 2,
		}, []int64{
			no, 284, no, no, no, no, no, no, no, no, no, no, no, 6,
			no, no, no, no, 245, no, no, no, no, no, no, no, no, 254,
		}},
		{objective.SpanCorruption, 40, 2, []int64{
			28, 29, 30, 31, 32, 0, 34, 35, 36, 37, 38, 39, 40, 41, 42, 0, 44, 45, 46, 47, 48, 49, 50, 51, 319,
			57, 58, 59, 60, 61, 62, 0, 64, 65, 66, 67, 68, 69, 70, 318,
			228, 229, 230, 231, 232, 0, 234, 235, 236, 237, 238, 239, 240, 241, 242, 0, 244, 245, 246, 247, 248, 249, 250, 251, 252, 0, 254, 255, 319,
			258, 259, 260, 261, 262, 0, 264, 265, 266, 267, 318,
		}, []int64{
			319, 52, 0, 54, 55, 56, 318, 71, 72, 317,
			319, 256, 257, 318, 268, 269, 270, 271, 272, 317,
		}},
	} {
		b, err := NewShuffled(stream, task(t, c.objective, 2, c.length), 1234)
		if err != nil {
			t.Fatal(err)
		}
		x := b.Shapes().New()
		b.Fill(c.micro, x)
		if !slices.Equal(x.Tokens, c.tokens) || !slices.Equal(x.Labels, c.label) {
			t.Errorf("%s, micro-batch %d:\ntokens %d\nwanted %d\nlabels %d\nwanted %d", c.objective, c.micro, x.Tokens, c.tokens, x.Labels, c.label)
		}
	}
}

package corpus

import (
	"context"
	"crypto/sha256"
	"iter"
)

// fingerprint tells documents apart: half a sha256, so that even a hostile text makes no two alike.
type fingerprint [16]byte

// duplicates says which documents of a source repeat another one, by their numbers.
type duplicates struct {
	drop  []uint64 // a bit for each document
	count int64
}

func (d *duplicates) dropped(document int64) bool {
	return document/64 < int64(len(d.drop)) && d.drop[document/64]>>(document%64)&1 == 1
}

// find reads a source and notes the documents whose text was seen before, in this source or in those that
// seen came from. It needs some 50 bytes of memory a document, the one thing here that grows with the text.
func (d *duplicates) find(pieces iter.Seq2[piece, error], seen map[fingerprint]struct{}) error {
	h := sha256.New()
	number := int64(-1)
	end := func() {
		if number < 0 {
			return
		}
		var key fingerprint
		copy(key[:], h.Sum(nil))
		if _, ok := seen[key]; ok {
			for int64(len(d.drop)) <= number/64 {
				d.drop = append(d.drop, 0)
			}
			d.drop[number/64] |= 1 << (number % 64)
			d.count++
		} else {
			seen[key] = struct{}{}
		}
		h.Reset()
	}
	for p, err := range pieces {
		if err != nil {
			return err
		}
		if p.first {
			end()
			number++
		}
		h.Write([]byte(p.text))
	}
	end()
	return nil
}

// without passes over the documents that are to be dropped.
func (d *duplicates) without(pieces iter.Seq2[piece, error]) iter.Seq2[piece, error] {
	if d.count == 0 {
		return pieces
	}
	return func(yield func(piece, error) bool) {
		number, drop := int64(-1), false
		for p, err := range pieces {
			if err == nil && p.first {
				number++
				drop = d.dropped(number)
			}
			if (err != nil || !drop) && !yield(p, err) {
				return
			}
		}
	}
}

// findDuplicates does so for validation text given apart and then for the training text, which so keeps
// nothing that it is validated on.
func (m *maker) findDuplicates(ctx context.Context) error {
	seen := map[fingerprint]struct{}{}
	if m.validGiven() {
		if err := m.twice.valid.find(m.source(ctx, m.valid, m.ValidTexts, m.pieceSize), seen); err != nil {
			return err
		}
	}
	return m.twice.train.find(m.source(ctx, m.train, m.Texts, m.pieceSize), seen)
}

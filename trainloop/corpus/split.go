package corpus

import (
	"context"
	"math"

	"march/trainloop/rng"
)

// split says which of the training text is held for validation.
type split struct {
	how string // as Info.Split
	// SplitDocuments: documents whose place lies in a bucket up to last, but for the one at the
	// highest place, which keeps the training side from being empty.
	last    int
	highest float64
	// SplitTail: the only document's pieces from here on, in bytes.
	from, bytes int64
}

// placeBuckets is how finely documents are told apart by place when the share is measured.
const placeBuckets = 1 << 16

// place puts a document, known by its first piece, somewhere in [0, 1), evenly and for good.
func place(first piece) float64 { return rng.Unit(rng.Hash(rng.Name(first.text))) }

func bucket(place float64) int { return int(place * placeBuckets) }

// survey reads the text to choose what to hold: of several documents those at the lowest places,
// so many that their share of the bytes comes closest to ValidFraction, of one document its end.
func (m *maker) survey(ctx context.Context) (split, error) {
	var bytes [placeBuckets]int64 // in the documents of each bucket
	s := split{how: SplitDocuments, highest: math.Inf(-1)}
	at := 0.0
	for p, err := range m.text(ctx, m.pieceSize) {
		if err != nil {
			return s, err
		}
		if p.first {
			at = place(p)
			s.highest = max(s.highest, at)
		}
		bytes[bucket(at)] += int64(len(p.text))
	}
	target := m.ValidFraction * float64(m.seen.bytes)
	if m.seen.documents == 1 {
		return split{how: SplitTail, from: m.seen.bytes - int64(target), bytes: m.seen.bytes}, nil
	}
	held, best := int64(0), math.Inf(1)
	for b, n := range bytes {
		if n == 0 {
			continue
		}
		held += n
		distance := math.Abs(float64(held) - target)
		if distance >= best {
			break // from here on it only grows
		}
		s.last, best = b, distance
	}
	return s, nil
}

// chooser returns a function that, called with all pieces in order, says whether one is held and
// whether a held document begins there.
func (s split) chooser() func(piece) (held, first bool) {
	switch s.how {
	case SplitDocuments:
		held := false
		return func(p piece) (bool, bool) {
			if p.first {
				at := place(p)
				held = bucket(at) <= s.last && at != s.highest
			}
			return held, p.first
		}
	case SplitTail:
		seen, begun := int64(0), false
		return func(p piece) (held, first bool) {
			held = seen > 0 && seen >= s.from
			first = held && !begun
			begun = held
			seen += int64(len(p.text))
			return held, first
		}
	}
	return func(piece) (bool, bool) { return false, false }
}

// sizeFor returns the size of pieces to read a split text in: small ones where a document is split
// at a piece's beginning, so that the place comes close to the one wanted.
func (m *maker) sizeFor(s split) int {
	if s.how != SplitTail {
		return m.pieceSize
	}
	return min(max(int((s.bytes-s.from)/8), 64), m.pieceSize)
}

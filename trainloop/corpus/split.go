package corpus

import (
	"context"
	"errors"
	"math"

	"march/trainloop/rng"
)

// split says which of the training text is held for validation and for testing.
type split struct {
	how string // as Info.Split
	// Documents are held for validation where their place lies in a bucket up to last, for testing in one
	// from there up to lastTest; but for the one at the highest place, which keeps the training side from
	// being empty. -1: none.
	last, lastTest int
	highest        float64
	// SplitTail: the only document's pieces from here on, in bytes.
	from, bytes int64
}

// side is where a document goes.
type side int

const (
	trainSide side = iota
	validSide
	testSide
)

// streams are their names.
var streams = [...]string{trainStream, validStream, testStream}

// placeBuckets is how finely documents are told apart by place when the share is measured.
const placeBuckets = 1 << 16

// place puts a document, known by its first piece, somewhere in [0, 1), evenly and for good.
func place(first piece) float64 { return rng.Unit(rng.Hash(rng.Name(first.text))) }

func bucket(place float64) int { return int(place * placeBuckets) }

// survey reads the text to choose what to hold: of several documents those at the lowest places,
// so many that their share of the bytes comes closest to ValidFraction, and behind them those whose share
// comes closest to TestFraction; of one document its end.
func (m *maker) survey(ctx context.Context, s split) (split, error) {
	var bytes [placeBuckets]int64 // in the documents of each bucket
	s.highest = math.Inf(-1)
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
	if m.seen.documents == 1 {
		if m.TestFraction > 0 {
			return s, errors.New("corpus: the text is a single document, which is not split for testing: give test text of its own, or more documents")
		}
		target := m.ValidFraction * float64(m.seen.bytes)
		return split{how: SplitTail, from: m.seen.bytes - int64(target), bytes: m.seen.bytes}, nil
	}
	// upTo returns the bucket behind first at which the documents in between come closest to a share.
	upTo := func(first int, share float64) int {
		target, held, best, last := share*float64(m.seen.bytes), int64(0), math.Inf(1), first
		for b := first + 1; b < placeBuckets; b++ {
			if bytes[b] == 0 {
				continue
			}
			held += bytes[b]
			distance := math.Abs(float64(held) - target)
			if distance >= best {
				break // from here on it only grows
			}
			last, best = b, distance
		}
		return last
	}
	if m.ValidFraction > 0 {
		s.how = SplitDocuments
		s.last = upTo(-1, m.ValidFraction)
	}
	s.lastTest = s.last
	if m.TestFraction > 0 {
		s.lastTest = upTo(s.last, m.TestFraction)
	}
	return s, nil
}

// chooser returns a function that, called with all pieces in order, says where one goes and whether a
// document begins there.
func (s split) chooser() func(piece) (to side, first bool) {
	switch {
	case s.how == SplitTail:
		seen, begun := int64(0), false
		return func(p piece) (side, bool) {
			held := seen > 0 && seen >= s.from
			first := held && !begun
			begun = held
			seen += int64(len(p.text))
			if held {
				return validSide, first
			}
			return trainSide, p.first
		}
	case s.lastTest >= 0:
		to := trainSide
		return func(p piece) (side, bool) {
			if p.first {
				at := place(p)
				switch b := bucket(at); {
				case at == s.highest || b > s.lastTest:
					to = trainSide
				case b <= s.last:
					to = validSide
				default:
					to = testSide
				}
			}
			return to, p.first
		}
	}
	return func(p piece) (side, bool) { return trainSide, p.first }
}

// sizeFor returns the size of pieces to read a split text in: small ones where a document is split
// at a piece's beginning, so that the place comes close to the one wanted.
func (m *maker) sizeFor(s split) int {
	if s.how != SplitTail {
		return m.pieceSize
	}
	return min(max(int((s.bytes-s.from)/8), 64), m.pieceSize)
}

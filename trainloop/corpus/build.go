package corpus

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc64"
	"iter"
	"math"
	"path/filepath"
	"slices"

	"march/trainloop/tokenizer"
)

// maker makes the files of one preparation.
type maker struct {
	*plan
	staging     string
	shardTokens int64
	pieceSize   int

	cut         func(text string) int
	twice       struct{ train, valid duplicates }
	seen        *digest // of the first reading of the training text
	done, total int64   // progress
}

// digest tells whether two readings of a text gave the same.
type digest struct {
	documents, bytes int64
	crc              uint64
}

// build reads the text and writes everything but data.json into the staging folder.
func (m *maker) build(ctx context.Context) (*Info, error) {
	m.expect()
	m.cut = tokenizer.LastCut
	if m.given != nil {
		m.cut = m.given.LastCut
	}
	if m.Dedup {
		if err := m.findDuplicates(ctx); err != nil {
			return nil, err
		}
	}
	s := split{how: SplitNone, last: -1, lastTest: -1}
	if m.validGiven() {
		s.how = SplitGiven
	}
	if m.ValidFraction > 0 || m.TestFraction > 0 {
		var err error
		if s, err = m.survey(ctx, s); err != nil {
			return nil, err
		}
	}
	tok, err := m.given, error(nil)
	if tok == nil {
		if tok, err = m.trainTokenizer(ctx, s); err != nil {
			return nil, err
		}
	}
	if err := tok.Save(filepath.Join(m.staging, tokenizerFile)); err != nil {
		return nil, fmt.Errorf("corpus: %w", err)
	}
	var writers [len(streams)]*shardWriter
	for i, stream := range streams {
		writers[i] = newShardWriter(m.staging, stream, tok.VocabSize(), m.shardTokens)
	}
	if err := m.encode(ctx, tok, s, writers[:]); err != nil {
		return nil, err
	}
	train, valid, test := writers[trainSide], writers[validSide], writers[testSide]
	switch {
	case train.total.Tokens == 0:
		return nil, errors.New("corpus: no training text: every document is empty")
	case valid.total.Tokens == 0 && s.how == SplitGiven:
		return nil, errors.New("corpus: no validation text: every document given for it is empty")
	case valid.total.Tokens == 0 && s.how != SplitNone:
		return nil, fmt.Errorf("corpus: no validation text: the text is too small, or all its documents are the same, to keep %g of it", m.ValidFraction)
	case test.total.Tokens == 0 && m.TestFraction > 0:
		return nil, fmt.Errorf("corpus: no test text: the text has too few different documents to keep %g of it", m.TestFraction)
	}
	info := infoOf(tok, s.how, writers)
	info.Source, info.From = m.Source, m.from
	info.Duplicates = m.twice.train.count + m.twice.valid.count
	return info, nil
}

// infoOf says what the writers wrote.
func infoOf(tok *tokenizer.Tokenizer, how string, writers [len(streams)]*shardWriter) *Info {
	train, valid, test := writers[trainSide], writers[validSide], writers[testSide]
	info := &Info{
		Version: infoVersion, Split: how, VocabSize: tok.VocabSize(),
		Documents: train.total.Documents, Tokens: train.total.Tokens, Bytes: train.total.Bytes,
		ValidDocuments: valid.total.Documents, ValidTokens: valid.total.Tokens, ValidBytes: valid.total.Bytes,
		TestDocuments: test.total.Documents, TestTokens: test.total.Tokens, TestBytes: test.total.Bytes,
		Lengths:         train.lengths,
		BytesPerToken:   float64(train.total.Bytes) / float64(train.total.Tokens),
		UnigramEntropy:  unigramEntropy(train.counts, valid.counts),
		TokenizerSHA256: tok.SHA256(),
		Shards:          slices.Concat(train.shards, valid.shards, test.shards),
	}
	info.SHA256 = info.identity()
	return info
}

// readings is how often the training text is read.
func (m *maker) readings() int64 {
	n := int64(1)
	if m.given == nil {
		n++
	}
	if m.ValidFraction > 0 || m.TestFraction > 0 {
		n++
	}
	if m.Dedup {
		n++
	}
	return n
}

// expect sets the bytes that will be read, where files tell it.
func (m *maker) expect() {
	if m.Texts != nil || m.ValidTexts != nil {
		return
	}
	for _, in := range m.train {
		m.total += m.readings() * in.Size
	}
	for _, in := range m.valid {
		m.total += in.Size
		if m.Dedup {
			m.total += in.Size
		}
	}
}

func (m *maker) advance(n int) {
	m.done += int64(n)
	if m.Progress != nil {
		m.Progress(m.done, m.total)
	}
}

// text returns the training text in pieces of a size, and makes sure that it is the same each time.
func (m *maker) text(ctx context.Context, size int) iter.Seq2[piece, error] {
	return func(yield func(piece, error) bool) {
		var now digest
		for p, err := range m.twice.train.without(m.source(ctx, m.train, m.Texts, size)) {
			if err == nil {
				if p.first {
					now.documents++
					now.crc = crc64.Update(now.crc, crcTable, []byte{0xff}) // no byte of UTF-8
				}
				now.bytes += int64(len(p.text))
				now.crc = crc64.Update(now.crc, crcTable, []byte(p.text))
			}
			if !yield(p, err) {
				return
			}
		}
		if m.seen == nil {
			m.seen = &now
			if m.Texts != nil && !m.validGiven() && !m.Dedup {
				m.total = m.readings() * now.bytes
			}
		} else if *m.seen != now {
			yield(piece{}, errChanged)
		}
	}
}

// source returns the pieces of files or of texts, until the context ends.
func (m *maker) source(ctx context.Context, files []input, texts iter.Seq[string], size int) iter.Seq2[piece, error] {
	return func(yield func(piece, error) bool) {
		how := reading{documents: m.Documents, field: m.Field, column: m.Column, size: size, cut: m.cut, progress: m.advance}
		pieces := readPieces(files, how)
		if texts != nil {
			pieces = textPieces(texts, how)
		}
		for p, err := range pieces {
			if err == nil {
				err = ctx.Err()
			}
			if !yield(p, err) || err != nil {
				return
			}
			if texts != nil {
				m.advance(len(p.text))
			}
		}
	}
}

// trainTokenizer learns the vocabulary from the training side of the text.
func (m *maker) trainTokenizer(ctx context.Context, s split) (*tokenizer.Tokenizer, error) {
	o := tokenizer.TrainOptions{VocabSize: m.VocabSize, SpecialTokens: m.SpecialTokens}
	return tokenizer.TrainContext(ctx, func(yield func(string, error) bool) {
		choose := s.chooser()
		for p, err := range m.text(ctx, m.sizeFor(s)) {
			if err == nil {
				if to, _ := choose(p); to != trainSide {
					continue
				}
			}
			if !yield(p.text, err) {
				return
			}
		}
	}, o)
}

// encode writes everything into the streams and finishes them.
func (m *maker) encode(ctx context.Context, tok *tokenizer.Tokenizer, s split, streams []*shardWriter) error {
	eot, _ := tok.ID(tokenizer.EndOfText) // plan has seen to it
	write := func(w *shardWriter, first bool, text int, ids []int32) error {
		if first {
			if err := w.beginDocument(); err != nil {
				return err
			}
			if err := w.write([]int32{eot}, 0); err != nil {
				return err
			}
		}
		return w.write(ids, int64(text))
	}
	choose := s.chooser()
	err := encodeAll(ctx, tok, m.text(ctx, m.sizeFor(s)), func(p piece, ids []int32) error {
		to, first := choose(p)
		return write(streams[to], first, len(p.text), ids)
	})
	if err == nil && m.validGiven() {
		given := m.twice.valid.without(m.source(ctx, m.valid, m.ValidTexts, m.pieceSize))
		err = encodeAll(ctx, tok, given, func(p piece, ids []int32) error {
			return write(streams[validSide], p.first, len(p.text), ids)
		})
	}
	for _, w := range streams {
		if err == nil {
			err = w.finish()
		}
	}
	return err
}

// unigramEntropy is Info.UnigramEntropy from the counts of both streams.
func unigramEntropy(train, valid []int64) float64 {
	sum := func(counts []int64) (n float64) {
		for _, c := range counts {
			n += float64(c)
		}
		return n
	}
	if sum(valid) == 0 {
		valid = train
	}
	all, nats := sum(train)+float64(len(train)), 0.0
	for id, c := range valid {
		if c > 0 {
			nats -= float64(c) * math.Log(float64(train[id]+1)/all)
		}
	}
	return nats / sum(valid)
}

// identity is Info.SHA256: the sha256 of the tokenizer's and then of each shard's, as lines of text.
func (info *Info) identity() string {
	h := sha256.New()
	fmt.Fprintln(h, info.TokenizerSHA256)
	for _, s := range info.Shards {
		fmt.Fprintln(h, s.File, s.SHA256)
	}
	return hex.EncodeToString(h.Sum(nil))
}

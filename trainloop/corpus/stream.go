package corpus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sort"
)

// Stream is a sequence of tokens: documents one behind the other, each after one EndOfText. It is
// read by position, from any number of goroutines, straight from the mapped files.
type Stream struct {
	shards    []*shard
	starts    []int64 // position of each shard's first token
	documents []int64 // number of each shard's first document
	tokens    int64
	docs      int64
	bytes     int64
}

func (s *Stream) add(part *shard) {
	s.shards = append(s.shards, part)
	s.starts = append(s.starts, s.tokens)
	s.documents = append(s.documents, s.docs)
	s.tokens += part.len()
	s.docs += part.documentCount()
	s.bytes += part.bytes
}

func (s *Stream) close() error {
	var errs []error
	for _, part := range s.shards {
		if err := part.mapping.Unmap(); err != nil {
			errs = append(errs, fmt.Errorf("corpus: unmap: %w", err))
		}
	}
	*s = Stream{}
	return errors.Join(errs...)
}

// Len returns the number of tokens.
func (s *Stream) Len() int64 { return s.tokens }

// Bytes returns the bytes of text that the tokens stand for; EndOfText stands for none.
func (s *Stream) Bytes() int64 { return s.bytes }

// Documents returns the number of documents.
func (s *Stream) Documents() int64 { return s.docs }

// DocumentStart returns the position of document i's first token, its EndOfText,
// 0 ≤ i < Documents(). Document i ends where document i+1 starts.
func (s *Stream) DocumentStart(i int64) int64 {
	part := holder(s.documents, i)
	return s.starts[part] + s.shards[part].documentStart(i-s.documents[part])
}

// DocumentAt returns the number of the document that the token at a position belongs to,
// 0 ≤ at < Len().
func (s *Stream) DocumentAt(at int64) int64 {
	// The first document that starts behind at; the one before it holds at.
	return int64(sort.Search(int(s.docs), func(i int) bool { return s.DocumentStart(int64(i)) > at })) - 1
}

// Read fills dst with the tokens from position at on. Like indexing a slice it panics when
// at … at+len(dst) do not all lie in 0 … Len().
func (s *Stream) Read(at int64, dst []int32) { readTokens(s, at, dst) }

// readTokens is Read for the element types that batches need.
func readTokens[T int32 | int64](s *Stream, at int64, dst []T) {
	if at < 0 || at > s.tokens || int64(len(dst)) > s.tokens-at {
		panic(fmt.Sprintf("corpus: read of %d tokens at %d from a stream of %d", len(dst), at, s.tokens))
	}
	for part := holder(s.starts, at); len(dst) > 0; part++ {
		shard := s.shards[part]
		raw := shard.tokens[(at-s.starts[part])*int64(shard.width):]
		n := min(len(dst), len(raw)/shard.width)
		if shard.width == 2 {
			for i := range dst[:n] {
				dst[i] = T(binary.LittleEndian.Uint16(raw[2*i:]))
			}
		} else {
			for i := range dst[:n] {
				dst[i] = T(binary.LittleEndian.Uint32(raw[4*i:]))
			}
		}
		dst = dst[n:]
		at += int64(n)
	}
}

// holder returns the last of the rising starts that is not behind x. Where several are equal, as
// when a shard holds no document's start, the last of them is the one that has something there.
func holder(starts []int64, x int64) int {
	return sort.Search(len(starts), func(i int) bool { return starts[i] > x }) - 1
}

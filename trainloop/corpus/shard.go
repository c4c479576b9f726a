package corpus

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"math/bits"
	"os"
	"path/filepath"
	"regexp"

	"march/graphgen/atomicfile"

	"github.com/edsrzf/mmap-go"
)

// A shard is a file of tokens. Everything in it is little-endian:
//
//	bytes  what
//	    8  "MARCHTOK"
//	    4  version, 1
//	    4  bytes per token, 2 or 4
//	    8  number of tokens
//	    8  number of documents that begin in the shard
//	    8  bytes of text that the tokens stand for
//	    4  vocabulary: every token is smaller
//	    4  zero
//	    8  CRC-64 (ECMA polynomial) of everything behind the header
//	    8  CRC-64 of the header up to here
//	       the tokens, then zeros up to a multiple of 8 bytes
//	       for each document the place of its first token (an EndOfText), 8 bytes, rising
const (
	shardMagic   = "MARCHTOK"
	shardVersion = 1
	headerSize   = 64
)

const (
	trainStream = "train"
	validStream = "valid"
	testStream  = "test"
)

// shardName is what shards are called.
var shardName = regexp.MustCompile(`^(train|valid|test)-[0-9]{5,9}\.bin$`)

var crcTable = crc64.MakeTable(crc64.ECMA)

// tokenWidth returns the bytes that a token takes.
func tokenWidth(vocab int) int {
	if vocab <= 1<<16 {
		return 2
	}
	return 4
}

// shard is one file of tokens, mapped and checked.
type shard struct {
	mapping   mmap.MMap
	width     int
	tokens    []byte // width bytes each
	documents []byte // 8 bytes each
	bytes     int64
	crc       uint64 // of everything behind the header
}

func (s *shard) len() int64           { return int64(len(s.tokens) / s.width) }
func (s *shard) documentCount() int64 { return int64(len(s.documents) / 8) }
func (s *shard) documentStart(i int64) int64 {
	return int64(binary.LittleEndian.Uint64(s.documents[i*8:]))
}

// openShard maps a shard and checks it against what data.json says of it.
func openShard(path string, want ShardInfo, vocab int) (*shard, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("corpus: %w", err)
	}
	defer f.Close() // the mapping outlives it
	stat, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("corpus: %w", err)
	}
	if !stat.Mode().IsRegular() || stat.Size() < headerSize {
		return nil, fmt.Errorf("corpus %s: not a shard: no file of at least %d bytes", path, headerSize)
	}
	mapping, err := mmap.Map(f, mmap.RDONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("corpus %s: map into memory: %w", path, err)
	}
	s, err := parseShard(mapping, vocab)
	if err == nil {
		s.mapping = mapping
		err = s.agree(want)
	}
	if err != nil {
		mapping.Unmap()
		return nil, fmt.Errorf("corpus %s: %w", path, err)
	}
	return s, nil
}

func (s *shard) agree(want ShardInfo) error {
	crc := crcString(s.crc)
	if s.len() != want.Tokens || s.documentCount() != want.Documents || s.bytes != want.Bytes || crc != want.CRC64 {
		return fmt.Errorf("%d tokens, %d documents, %d bytes of text, checksum %s, but %s says %d, %d, %d, %s: not from the same preparation, prepare the data anew",
			s.len(), s.documentCount(), s.bytes, crc, infoFile, want.Tokens, want.Documents, want.Bytes, want.CRC64)
	}
	return nil
}

func crcString(crc uint64) string { return fmt.Sprintf("%016x", crc) }

// parseShard checks the contents of a shard for a vocabulary and returns views of it.
func parseShard(data []byte, vocab int) (*shard, error) {
	if len(data) < headerSize || string(data[:8]) != shardMagic {
		return nil, errors.New("not a shard: does not begin with " + shardMagic)
	}
	le := binary.LittleEndian
	if v := le.Uint32(data[8:]); v != shardVersion {
		return nil, fmt.Errorf("shard version %d, this march reads %d: prepare the data anew", v, shardVersion)
	}
	if crc64.Checksum(data[:56], crcTable) != le.Uint64(data[56:]) {
		return nil, errors.New("header is corrupted: its checksum does not fit")
	}
	width, tokens, documents := le.Uint32(data[12:]), le.Uint64(data[16:]), le.Uint64(data[24:])
	text, ids, zero := le.Uint64(data[32:]), le.Uint32(data[40:]), le.Uint32(data[44:])
	if width != 2 && width != 4 || zero != 0 || text > 1<<62 {
		return nil, fmt.Errorf("header: %d bytes per token, %d bytes of text, %d where 0 stands", width, text, zero)
	}
	if int64(ids) != int64(vocab) {
		return nil, fmt.Errorf("made for a vocabulary of %d, the tokenizer has %d", ids, vocab)
	}
	// Compared before multiplied, so that no absurd count overflows.
	body := data[headerSize:]
	size := uint64(len(body))
	if tokens > size/uint64(width) || documents > size/8 || documents > tokens ||
		(tokens*uint64(width)+7)/8*8+documents*8 != size {
		return nil, fmt.Errorf("%d tokens of %d bytes and %d documents do not make a file of %d bytes: cut off?", tokens, width, documents, len(data))
	}
	s := &shard{width: int(width), bytes: int64(text), crc: le.Uint64(data[48:])}
	if got := crc64.Checksum(body, crcTable); got != s.crc {
		return nil, fmt.Errorf("corrupted: checksum %s, the header says %s", crcString(got), crcString(s.crc))
	}
	s.tokens = body[:tokens*uint64(width)]
	padded := (len(s.tokens) + 7) / 8 * 8
	s.documents = body[padded:]
	if len(bytes.TrimLeft(body[len(s.tokens):padded], "\x00")) > 0 {
		return nil, errors.New("something other than zeros stands between tokens and documents")
	}
	if largest := s.largest(); int64(largest) >= int64(vocab) && tokens > 0 {
		return nil, fmt.Errorf("holds token %d, the vocabulary has %d", largest, vocab)
	}
	last := int64(-1)
	for i := range s.documentCount() {
		start := s.documentStart(i)
		if start <= last || start >= s.len() {
			return nil, fmt.Errorf("document %d begins at token %d, want one between %d and %d", i, uint64(start), last+1, tokens)
		}
		last = start
	}
	return s, nil
}

// largest returns the largest token, 0 where there is none.
func (s *shard) largest() uint32 {
	largest := uint32(0)
	if s.width == 2 {
		for i := 0; i < len(s.tokens); i += 2 {
			largest = max(largest, uint32(binary.LittleEndian.Uint16(s.tokens[i:])))
		}
		return largest
	}
	for i := 0; i < len(s.tokens); i += 4 {
		largest = max(largest, binary.LittleEndian.Uint32(s.tokens[i:]))
	}
	return largest
}

// maxShardTokens bounds a shard and with it the memory of writing one: the header has to know
// what follows, so a shard is collected first.
const maxShardTokens = 1 << 25

// shardWriter writes one stream as shards of at most limit tokens.
type shardWriter struct {
	dir, stream string
	vocab       int
	limit       int64

	tokens    []byte
	documents []byte
	bytes     int64

	shards []ShardInfo
	total  struct{ Tokens, Documents, Bytes int64 } // of all shards
	counts []int64                                  // how often each token was written

	lengths []int64 // as Info.Lengths
	began   int64   // total.Tokens where the present document began
}

func newShardWriter(dir, stream string, vocab int, limit int64) *shardWriter {
	return &shardWriter{dir: dir, stream: stream, vocab: vocab, limit: limit, counts: make([]int64, vocab)}
}

func (w *shardWriter) len() int64 { return int64(len(w.tokens) / tokenWidth(w.vocab)) }

// beginDocument notes that the next token begins a document.
func (w *shardWriter) beginDocument() error {
	if w.len() >= w.limit {
		if err := w.flush(); err != nil {
			return err
		}
	}
	w.endDocument()
	w.documents = binary.LittleEndian.AppendUint64(w.documents, uint64(w.len()))
	w.total.Documents++
	return nil
}

// endDocument counts the length of the document that was written last.
func (w *shardWriter) endDocument() {
	if n := w.total.Tokens - w.began; n > 0 {
		i := bits.Len64(uint64(n - 1))
		for len(w.lengths) <= i {
			w.lengths = append(w.lengths, 0)
		}
		w.lengths[i]++
	}
	w.began = w.total.Tokens
}

// write appends tokens that stand for some bytes of text. A document may go on in the next shard;
// the bytes are counted where its stretch of tokens ends.
func (w *shardWriter) write(ids []int32, text int64) error {
	for _, id := range ids {
		if w.len() >= w.limit {
			if err := w.flush(); err != nil {
				return err
			}
		}
		w.counts[id]++
		if tokenWidth(w.vocab) == 2 {
			w.tokens = binary.LittleEndian.AppendUint16(w.tokens, uint16(id))
		} else {
			w.tokens = binary.LittleEndian.AppendUint32(w.tokens, uint32(id))
		}
	}
	w.bytes += text
	w.total.Bytes += text
	w.total.Tokens += int64(len(ids))
	return nil
}

// flush writes what was collected as the next shard.
func (w *shardWriter) flush() error {
	info := ShardInfo{
		File:   fmt.Sprintf("%s-%05d.bin", w.stream, len(w.shards)),
		Stream: w.stream, Tokens: w.len(), Documents: int64(len(w.documents) / 8), Bytes: w.bytes,
	}
	for len(w.tokens)%8 != 0 {
		w.tokens = append(w.tokens, 0)
	}
	crc := crc64.Update(crc64.Checksum(w.tokens, crcTable), crcTable, w.documents)
	info.CRC64 = crcString(crc)

	le := binary.LittleEndian
	header := append(make([]byte, 0, headerSize), shardMagic...)
	header = le.AppendUint32(header, shardVersion)
	header = le.AppendUint32(header, uint32(tokenWidth(w.vocab)))
	header = le.AppendUint64(header, uint64(info.Tokens))
	header = le.AppendUint64(header, uint64(info.Documents))
	header = le.AppendUint64(header, uint64(info.Bytes))
	header = le.AppendUint32(header, uint32(w.vocab))
	header = le.AppendUint32(header, 0)
	header = le.AppendUint64(header, crc)
	header = le.AppendUint64(header, crc64.Checksum(header, crcTable))

	f, err := atomicfile.Create(filepath.Join(w.dir, info.File))
	if err != nil {
		return fmt.Errorf("corpus: %w", err)
	}
	defer f.Abort()
	hash := sha256.New()
	for _, part := range [][]byte{header, w.tokens, w.documents} {
		if _, err := io.MultiWriter(f, hash).Write(part); err != nil {
			return fmt.Errorf("corpus: %w", err)
		}
	}
	if err := f.Commit(); err != nil {
		return fmt.Errorf("corpus: %w", err)
	}
	info.SHA256 = hex.EncodeToString(hash.Sum(nil))
	w.shards = append(w.shards, info)
	w.tokens, w.documents, w.bytes = w.tokens[:0], w.documents[:0], 0
	return nil
}

// finish writes the rest.
func (w *shardWriter) finish() error {
	w.endDocument()
	if w.len() == 0 {
		return nil
	}
	return w.flush()
}

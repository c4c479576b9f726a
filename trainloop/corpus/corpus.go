// Package corpus turns text into what a language model trains on: documents into a tokenizer and
// shards of tokens on disk (Prepare), shards into streams of tokens in memory-mapped files
// (Open), streams into batches that are pure functions of (seed, number). It knows nothing of
// models or of training; where batches go is the caller's affair. Start with Prepare, then Open,
// then NewShuffled for training and NewSequential for validation, each with a Task.
//
// A prepared folder holds tokenizer.json, train-00000.bin and on, valid- and test-00000.bin and on, and
// data.json, which lists the others with their checksums and is written last: without it the
// folder holds no data. (An empty file .lock stays there, which keeps preparations apart.)
package corpus

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"march/trainloop/tokenizer"
)

const (
	infoFile      = "data.json"
	tokenizerFile = "tokenizer.json"
	infoVersion   = 1
	maxInfoFile   = 64 << 20 // bytes of data.json; a shard's entry takes about 300
)

// Info says what a prepared folder holds: the contents of data.json.
type Info struct {
	Version int    `json:"version"`
	Source  string `json:"source,omitempty"` // PrepareOptions.Source

	// The training stream: documents, tokens (one EndOfText a document included), bytes of text.
	Documents int64 `json:"documents"`
	Tokens    int64 `json:"tokens"`
	Bytes     int64 `json:"bytes"`
	// The validation stream.
	ValidDocuments int64 `json:"valid_documents"`
	ValidTokens    int64 `json:"valid_tokens"`
	ValidBytes     int64 `json:"valid_bytes"`
	// The test stream.
	TestDocuments int64 `json:"test_documents,omitempty"`
	TestTokens    int64 `json:"test_tokens,omitempty"`
	TestBytes     int64 `json:"test_bytes,omitempty"`
	// Duplicates is how many documents were left out because they repeated another one.
	Duplicates int64 `json:"duplicates,omitempty"`
	// Lengths is the histogram of the training documents' lengths: Lengths[i] have more than 2^(i-1) and up to
	// 2^i tokens, EndOfText included.
	Lengths []int64 `json:"lengths,omitempty"`
	// Split says how validation text was chosen: SplitGiven, SplitDocuments, SplitTail, SplitNone.
	Split string `json:"split"`

	VocabSize int `json:"vocab_size"`
	// BytesPerToken is Bytes / Tokens, of the training stream.
	BytesPerToken float64 `json:"bytes_per_token"`
	// UnigramEntropy is the cross-entropy, in nats per token, of the validation tokens under the
	// training tokens' frequencies, each counted once more than it occurs: what a model reaches
	// that knows how frequent tokens are and nothing else. Without validation text it is that of
	// the training tokens themselves.
	UnigramEntropy float64 `json:"unigram_entropy"`

	TokenizerSHA256 string `json:"tokenizer_sha256"` // tokenizer.Tokenizer.SHA256
	// SHA256 identifies the data: tokenizer and tokens of the three streams, not where they came from.
	SHA256 string `json:"sha256"`

	Shards []ShardInfo `json:"shards"`
	From   From        `json:"from"`
}

// How validation text was chosen.
const (
	SplitGiven     = "given"     // it was given apart from the training text
	SplitDocuments = "documents" // documents, whole ones, by their hashes
	SplitTail      = "tail"      // the end of the only document
	SplitNone      = "none"      // there is none
)

// ShardInfo describes one file of tokens.
type ShardInfo struct {
	File      string `json:"file"`
	Stream    string `json:"stream"` // "train", "valid" or "test"
	Tokens    int64  `json:"tokens"`
	Documents int64  `json:"documents"` // that begin in it
	Bytes     int64  `json:"bytes"`
	CRC64     string `json:"crc64"`  // of the contents, as in the header, 16 hexadecimal digits
	SHA256    string `json:"sha256"` // of the file
}

// Dataset is a prepared folder, opened.
type Dataset struct {
	dir     string
	info    Info
	tok     *tokenizer.Tokenizer
	streams [len(streams)]Stream
}

// ReadInfo reads the data.json of a prepared folder without opening the rest. Where there is none
// the error is fs.ErrNotExist.
func ReadInfo(dir string) (*Info, error) {
	path := filepath.Join(dir, infoFile)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("corpus %s: holds no prepared data (no %s): prepare it first: %w", dir, infoFile, fs.ErrNotExist)
	}
	if err != nil {
		return nil, fmt.Errorf("corpus: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxInfoFile+1))
	if err != nil {
		return nil, fmt.Errorf("corpus: %w", err)
	}
	info, err := parseInfo(data)
	if err != nil {
		return nil, fmt.Errorf("corpus %s: %w", path, err)
	}
	return info, nil
}

func parseInfo(data []byte) (*Info, error) {
	if len(data) > maxInfoFile {
		return nil, fmt.Errorf("larger than %d MiB", maxInfoFile>>20)
	}
	var version struct{ Version int }
	if err := json.Unmarshal(data, &version); err != nil {
		return nil, fmt.Errorf("not JSON, or cut off: %w", err)
	}
	if version.Version != infoVersion {
		return nil, fmt.Errorf("version %d, this march reads %d: prepare the data anew", version.Version, infoVersion)
	}
	info := &Info{}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(info); err != nil {
		return nil, err
	}
	for _, s := range info.Shards {
		// A name with a slash in it would lead out of the folder.
		if !shardName.MatchString(s.File) {
			return nil, fmt.Errorf("shards: %q is not the name of a shard", s.File)
		}
		if !slices.Contains(streams[:], s.Stream) {
			return nil, fmt.Errorf("shards: %s belongs to stream %q, want one of %q", s.File, s.Stream, streams)
		}
	}
	return info, nil
}

// Open opens a prepared folder. Every shard is read through once: its header, its checksum, the
// range of its ids and what data.json says of it must agree.
func Open(dir string) (*Dataset, error) {
	info, err := ReadInfo(dir)
	if err != nil {
		return nil, err
	}
	d := &Dataset{dir: dir, info: *info}
	if d.tok, err = tokenizer.Load(filepath.Join(dir, tokenizerFile)); err != nil {
		return nil, fmt.Errorf("corpus %s: %w", dir, err)
	}
	if got := d.tok.SHA256(); got != info.TokenizerSHA256 {
		return nil, fmt.Errorf("corpus %s: %s has sha256 %s, but the data was made with %s: prepare it anew", dir, tokenizerFile, got, info.TokenizerSHA256)
	}
	if got := d.tok.VocabSize(); got != info.VocabSize {
		return nil, fmt.Errorf("corpus %s: %s has %d ids, %s says %d", dir, tokenizerFile, got, infoFile, info.VocabSize)
	}
	if err := d.mapShards(); err != nil {
		d.Close()
		return nil, err
	}
	tokens := [...]int64{info.Tokens, info.ValidTokens, info.TestTokens}
	text := [...]int64{info.Bytes, info.ValidBytes, info.TestBytes}
	for i := range d.streams {
		if s := &d.streams[i]; s.Len() != tokens[i] || s.Bytes() != text[i] {
			d.Close()
			return nil, fmt.Errorf("corpus %s: the shards of %s hold %d tokens of %d bytes, %s says %d of %d",
				dir, streams[i], s.Len(), s.Bytes(), infoFile, tokens[i], text[i])
		}
	}
	return d, nil
}

// mapShards maps and checks all shards, some at a time: checksums are the work of Open.
func (d *Dataset) mapShards() error {
	shards := make([]*shard, len(d.info.Shards))
	errs := make([]error, len(shards))
	var wg sync.WaitGroup
	slots := make(chan struct{}, cores())
	for i, s := range d.info.Shards {
		slots <- struct{}{}
		wg.Go(func() {
			shards[i], errs[i] = openShard(filepath.Join(d.dir, s.File), s, d.info.VocabSize)
			<-slots
		})
	}
	wg.Wait()
	for i, s := range shards {
		if s == nil {
			continue
		}
		d.streams[slices.Index(streams[:], d.info.Shards[i].Stream)].add(s)
	}
	return errors.Join(errs...)
}

// Train returns the stream to train on.
func (d *Dataset) Train() *Stream { return &d.streams[trainSide] }

// Valid returns the stream of held-out documents; its length is 0 where none were prepared.
func (d *Dataset) Valid() *Stream { return &d.streams[validSide] }

// Test returns the stream of documents that were kept for testing; its length is 0 where none were.
func (d *Dataset) Test() *Stream { return &d.streams[testSide] }

// Tokenizer returns the tokenizer of the ids.
func (d *Dataset) Tokenizer() *tokenizer.Tokenizer { return d.tok }

// Info returns what data.json says.
func (d *Dataset) Info() Info { return d.info }

// Dir returns the folder as it was given to Open.
func (d *Dataset) Dir() string { return d.dir }

// Close gives the memory back. The streams are empty afterwards, and nothing may be reading them.
func (d *Dataset) Close() error {
	return errors.Join(d.streams[trainSide].close(), d.streams[validSide].close(), d.streams[testSide].close())
}

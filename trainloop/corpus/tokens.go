package corpus

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"march/graphgen/atomicfile"
	"march/trainloop/tokenizer"
)

// Files of tokens that other trainers read and write.
const (
	NanoGPT = "nanogpt" // 16-bit tokens and nothing else, as nanoGPT's prepare.py writes them
	LLMC    = "llm.c"   // a header of 256 int32, then tokens: 16 bits (GPT-2's version) or 32 (Llama 3's)
)

// TokenFormats lists them.
func TokenFormats() []string { return []string{NanoGPT, LLMC} }

// llm.c's header begins with one of these, a version and the number of tokens.
const (
	llmcMagic, llmcVersion         = 20240520, 1 // 16 bits a token
	llmcWideMagic, llmcWideVersion = 20240801, 7 // 32 bits
	llmcHeader                     = 256 * 4
)

// ImportOptions say what tokens to take over.
type ImportOptions struct {
	Format             string
	Train, Valid, Test []string // files or globs
	Tokenizer          string   // the tokenizer.json that the tokens were made with
	Out                string
}

// Import makes a prepared folder of files of tokens. A document begins at every EndOfText. Where documents
// end with it, as nanoGPT has it, one is put before the first and the last is left out, so that the stream is
// what Prepare would have made. The bytes of text are counted by the tokenizer's spelling.
func Import(ctx context.Context, o ImportOptions) (*Info, error) {
	if !slices.Contains(TokenFormats(), o.Format) {
		return nil, fmt.Errorf("corpus: format %q, want one of %q", o.Format, TokenFormats())
	}
	if o.Out == "" || o.Tokenizer == "" || len(o.Train) == 0 {
		return nil, errors.New("corpus: importing tokens needs training files, their tokenizer.json and a folder to make")
	}
	tok, err := tokenizer.Load(o.Tokenizer)
	if err != nil {
		return nil, fmt.Errorf("corpus: %w", err)
	}
	eot, ok := tok.ID(tokenizer.EndOfText)
	if !ok {
		return nil, fmt.Errorf("corpus: tokenizer %s has no token %s, which documents begin with", o.Tokenizer, tokenizer.EndOfText)
	}
	var files [len(streams)][]input
	for i, patterns := range [...][]string{o.Train, o.Valid, o.Test} {
		if files[i], err = resolve(patterns); err != nil {
			return nil, err
		}
	}
	unlock, _, err := prepareFolder(ctx, o.Out)
	if err != nil {
		return nil, err
	}
	defer unlock()
	staging, err := os.MkdirTemp(o.Out, stagingPrefix)
	if err != nil {
		return nil, fmt.Errorf("corpus: %w", err)
	}
	defer os.RemoveAll(staging)
	if err := tok.Save(filepath.Join(staging, tokenizerFile)); err != nil {
		return nil, fmt.Errorf("corpus: %w", err)
	}
	var writers [len(streams)]*shardWriter
	for i, stream := range streams {
		w := newShardWriter(staging, stream, tok.VocabSize(), maxShardTokens)
		for _, in := range files[i] {
			if err := importFile(ctx, in.path, o.Format, tok, eot, w); err != nil {
				return nil, fmt.Errorf("corpus: input %s: %w", in.path, err)
			}
		}
		if err := w.finish(); err != nil {
			return nil, err
		}
		if len(files[i]) > 0 && w.total.Tokens == w.total.Documents {
			return nil, fmt.Errorf("corpus: no %s text: the files hold no token but %s", stream, tokenizer.EndOfText)
		}
		writers[i] = w
	}
	how := SplitNone
	if len(o.Valid) > 0 {
		how = SplitGiven
	}
	info := infoOf(tok, how, writers)
	info.From = From{
		Inputs: fileIDs(files[trainSide]), ValidInputs: fileIDs(files[validSide]), TestInputs: fileIDs(files[testSide]),
		TokenizerSHA256: tok.SHA256(), Imported: o.Format,
	}
	return info, publish(o.Out, staging, info)
}

// importFile appends the documents of one file to a stream.
func importFile(ctx context.Context, path, format string, tok *tokenizer.Tokenizer, eot int32, w *shardWriter) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	stat, err := f.Stat()
	if err != nil {
		return err
	}
	return importTokens(ctx, bufio.NewReaderSize(f, 1<<20), stat.Size(), format, tok, eot, w)
}

func importTokens(ctx context.Context, r io.Reader, size int64, format string, tok *tokenizer.Tokenizer, eot int32, w *shardWriter) error {
	width, count, err := tokenHeader(r, format, size)
	if err != nil {
		return err
	}
	// held says that an EndOfText was read: it counts once something stands behind it.
	held, begun := true, false
	buffer := make([]byte, width*8192)
	var ids []int32
	var text []byte
	flush := func() error {
		if len(ids) == 0 {
			return nil
		}
		text = tok.DecodeBytes(text[:0], ids)
		err := w.write(ids, int64(len(text)))
		ids = ids[:0]
		return err
	}
	for at := int64(0); at < count; {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		part := buffer[:min(int64(len(buffer)), (count-at)*int64(width))]
		if _, err := io.ReadFull(r, part); err != nil {
			return fmt.Errorf("token %d: %w", at, err)
		}
		for ; len(part) > 0; part = part[width:] {
			id := int64(binary.LittleEndian.Uint16(part))
			if width == 4 {
				id = int64(binary.LittleEndian.Uint32(part))
			}
			if id >= int64(tok.VocabSize()) {
				return fmt.Errorf("token %d is %d, the tokenizer has %d: made with another one?", at, id, tok.VocabSize())
			}
			at++
			if int32(id) == eot {
				// Two in a row hold an empty document, which nothing is learned from.
				held = true
				continue
			}
			if held {
				if err := flush(); err != nil {
					return err
				}
				if err := w.beginDocument(); err != nil {
					return err
				}
				if err := w.write([]int32{eot}, 0); err != nil {
					return err
				}
				held, begun = false, true
			}
			ids = append(ids, int32(id))
		}
		if err := flush(); err != nil {
			return err
		}
	}
	if !begun {
		return fmt.Errorf("holds no token but %s", tokenizer.EndOfText)
	}
	return nil
}

// tokenHeader reads what stands before the tokens and returns their width and number.
func tokenHeader(r io.Reader, format string, size int64) (width int, count int64, err error) {
	if format == NanoGPT {
		if size%2 != 0 {
			return 0, 0, fmt.Errorf("%d bytes, which is no whole number of 16-bit tokens: not nanoGPT's", size)
		}
		return 2, size / 2, nil
	}
	var header [llmcHeader]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return 0, 0, fmt.Errorf("shorter than llm.c's header of %d bytes", llmcHeader)
	}
	le := binary.LittleEndian
	magic, version, tokens := le.Uint32(header[:]), le.Uint32(header[4:]), int64(int32(le.Uint32(header[8:])))
	switch {
	case magic == llmcMagic && version == llmcVersion:
		width = 2
	case magic == llmcWideMagic && version == llmcWideVersion:
		width = 4
	default:
		return 0, 0, fmt.Errorf("begins with magic %d, version %d: not llm.c's tokens (%d, %d or %d, %d)",
			magic, version, llmcMagic, llmcVersion, llmcWideMagic, llmcWideVersion)
	}
	if want := llmcHeader + tokens*int64(width); tokens < 0 || size != want {
		return 0, 0, fmt.Errorf("its header says %d tokens of %d bytes, which make %d bytes; the file has %d: cut off?", tokens, width, want, size)
	}
	return width, tokens, nil
}

// Export writes the streams of a prepared folder for another trainer, each as one file in a folder:
// train.bin, val.bin and test.bin with nanoGPT, and with llm.c train.bin and so on behind its header.
// Documents begin with EndOfText, as llm.c has it; nanoGPT's tokens are cut at random places, to which that is the same.
// The names of the files are returned.
func (d *Dataset) Export(ctx context.Context, format, dir string) ([]string, error) {
	width := tokenWidth(d.info.VocabSize)
	switch {
	case !slices.Contains(TokenFormats(), format):
		return nil, fmt.Errorf("corpus: format %q, want one of %q", format, TokenFormats())
	case format == NanoGPT && width != 2:
		return nil, fmt.Errorf("corpus: nanoGPT's files have 16-bit tokens, the vocabulary of %s has %d", d.dir, d.info.VocabSize)
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, fmt.Errorf("corpus: %w", err)
	}
	var names []string
	for i, base := range [...]string{"train.bin", "val.bin", "test.bin"} {
		s := &d.streams[i]
		if s.Len() == 0 {
			continue
		}
		name := filepath.Join(dir, base)
		if err := s.export(ctx, name, format, width); err != nil {
			return nil, fmt.Errorf("corpus: %w", err)
		}
		names = append(names, name)
	}
	return names, nil
}

func (s *Stream) export(ctx context.Context, name, format string, width int) error {
	if format == LLMC && s.Len() > 1<<31-1 {
		return fmt.Errorf("%s: %d tokens, llm.c's header counts up to %d", name, s.Len(), 1<<31-1)
	}
	f, err := atomicfile.Create(name)
	if err != nil {
		return err
	}
	defer f.Abort()
	w := bufio.NewWriterSize(f, 1<<20)
	le := binary.LittleEndian
	if format == LLMC {
		header := make([]byte, llmcHeader)
		le.PutUint32(header, llmcMagic)
		le.PutUint32(header[4:], llmcVersion)
		if width == 4 {
			le.PutUint32(header, llmcWideMagic)
			le.PutUint32(header[4:], llmcWideVersion)
		}
		le.PutUint32(header[8:], uint32(s.Len()))
		w.Write(header)
	}
	// A shard's tokens lie as the file has them.
	for _, part := range s.shards {
		for raw := part.tokens; len(raw) > 0; {
			if err := ctx.Err(); err != nil {
				return context.Cause(ctx)
			}
			n := min(len(raw), 1<<20)
			if _, err := w.Write(raw[:n]); err != nil {
				return err
			}
			raw = raw[n:]
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Commit()
}

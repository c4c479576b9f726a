package corpus

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"unicode/utf8"

	"march/trainloop/tokenizer"
)

// piece is a stretch of a document. Documents are handled in pieces so that one larger than memory
// is no special case; pieces encode to the same tokens as the whole (LastCut of the tokenizer).
type piece struct {
	text  string
	first bool // begins a document
}

const (
	pieceSize = 64 << 10
	// maxPiece bounds a stretch in which LastCut finds no place: there it is cut between any two
	// characters, and only there tokens can differ from those of the whole document.
	maxPiece = 1 << 20
)

// textPieces cuts documents in memory. Nothing is trimmed; empty documents are left out.
func textPieces(docs iter.Seq[string], how reading) iter.Seq2[piece, error] {
	return func(yield func(piece, error) bool) {
		number := 0
		for doc := range docs {
			if !documentPieces(fmt.Sprintf("document %d", number), doc, how, yield) {
				return
			}
			number++
		}
	}
}

// filePieces reads the documents of one plain text. Line ends at the beginning and at the end of a
// document are not part of it, and neither is a byte order mark at the beginning of the file.
func filePieces(name string, r io.Reader, how reading, yield func(piece, error) bool) bool {
	lines := bufio.NewReaderSize(r, 64<<10)
	c := cutter{reading: how, yield: yield, name: name, trim: true}
	if mark, _ := lines.Peek(3); string(mark) == "\ufeff" {
		lines.Discard(3)
		c.at = 3
	}
	whole := true // the next slice begins a line
	for {
		line, err := lines.ReadSlice('\n')
		if err != nil && err != io.EOF && err != bufio.ErrBufferFull {
			yield(piece{}, readError(name, err))
			return false
		}
		between := false // this line stands between documents
		if whole && err != bufio.ErrBufferFull {
			switch how.documents {
			case DocumentsMarked:
				between = string(bytes.TrimRight(line, "\r\n")) == tokenizer.EndOfText
			case DocumentsBlank:
				between = len(bytes.TrimSpace(line)) == 0
			}
		}
		if between {
			if !c.end() {
				return false
			}
			c.at += int64(len(line))
		} else if !c.add(line) {
			return false
		}
		if err == io.EOF || how.documents == DocumentsLines && err == nil {
			if !c.end() {
				return false
			}
		}
		if err == io.EOF {
			return true
		}
		whole = err == nil
	}
}

// readError names the file; io.ErrUnexpectedEOF is what a cut-off gzip file gives.
func readError(name string, err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("corpus: %s: ends too early: cut off?", name)
	}
	return fmt.Errorf("corpus: %s: %w", name, err)
}

// cutter collects the text of one document after the other and yields it in pieces.
type cutter struct {
	reading
	trim  bool // drop line ends around documents
	name  string
	yield func(piece, error) bool

	at    int64 // place in the file of what comes next
	text  []byte
	begun bool // the first piece of this document is out
}

// add appends text to the document and yields what is long enough. False: stop.
func (c *cutter) add(text []byte) bool {
	c.at += int64(len(text))
	if c.trim && !c.begun && len(c.text) == 0 {
		text = bytes.TrimLeft(text, "\r\n")
	}
	before := len(c.text)
	c.text = append(c.text, text...)
	// Looked for once for each further size bytes: a text without a space costs no more.
	for grown := before/c.size != len(c.text)/c.size; grown && len(c.text) >= c.size; {
		cut := c.cut(string(c.text))
		if cut == 0 && len(c.text) >= maxPiece {
			for cut = len(c.text) - 1; cut > len(c.text)-utf8.UTFMax && !utf8.RuneStart(c.text[cut]); {
				cut--
			}
		}
		if cut == 0 {
			break
		}
		if !c.emit(cut) {
			return false
		}
	}
	return true
}

// end ends the document.
func (c *cutter) end() bool {
	if c.trim {
		c.text = bytes.TrimRight(c.text, "\r\n")
	}
	ok := len(c.text) == 0 || c.emit(len(c.text))
	c.text, c.begun = c.text[:0], false
	return ok
}

// emit yields the first n bytes.
func (c *cutter) emit(n int) bool {
	text := string(c.text[:n])
	if !utf8.ValidString(text) {
		c.yield(piece{}, c.notUTF8(text))
		return false
	}
	first := !c.begun
	c.begun = true
	c.text = c.text[:copy(c.text, c.text[n:])]
	return c.yield(piece{text: text, first: first}, nil)
}

// notUTF8 says where a text stops being UTF-8. Byte-level tokens could carry any bytes, but text
// in another encoding is a mistake that no loss curve shows.
func (c *cutter) notUTF8(text string) error {
	bad := 0
	for bad < len(text) {
		r, size := utf8.DecodeRuneInString(text[bad:])
		if r == utf8.RuneError && size == 1 {
			break
		}
		bad += size
	}
	place := c.at - int64(len(c.text)) + int64(bad)
	hint := "convert it first"
	if strings.HasPrefix(text, "\xff\xfe") || strings.HasPrefix(text, "\xfe\xff") {
		hint = "it begins like UTF-16, convert it first"
	}
	return fmt.Errorf("corpus: %s: not UTF-8 at byte %d (%#02x): %s", c.name, place, text[bad], hint)
}

package tokenizer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxFile bounds the tokenizer.json that is read. The largest in use are near 40 MB.
const maxFile = 128 << 20

// Load reads a tokenizer.json. What the file asks for and this package does not do (another model,
// truncation, a look-behind, …) is an error that names it.
func Load(path string) (*Tokenizer, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("tokenizer %s: larger than %d MiB, no tokenizer.json is", path, maxFile>>20)
	}
	t, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("tokenizer %s: %w", path, err)
	}
	return t, nil
}

// file is tokenizer.json. Whatever stands there and is not listed here is refused: a field of a
// later version may change what encoding means.
type file struct {
	Version       string          `json:"version"`
	Truncation    json.RawMessage `json:"truncation"`
	Padding       json.RawMessage `json:"padding"`
	AddedTokens   []AddedToken    `json:"added_tokens"`
	Normalizer    json.RawMessage `json:"normalizer"`
	PreTokenizer  json.RawMessage `json:"pre_tokenizer"`
	PostProcessor json.RawMessage `json:"post_processor"`
	Decoder       json.RawMessage `json:"decoder"`
	Model         json.RawMessage `json:"model"`
}

type modelFile struct {
	Type         *string    `json:"type"` // absent in old files
	Dropout      *float64   `json:"dropout"`
	UnknownToken *string    `json:"unk_token"`
	Prefix       *string    `json:"continuing_subword_prefix"`
	Suffix       *string    `json:"end_of_word_suffix"`
	FuseUnknown  bool       `json:"fuse_unk"`
	ByteFallback bool       `json:"byte_fallback"`
	IgnoreMerges bool       `json:"ignore_merges"`
	Vocab        vocabFile  `json:"vocab"`
	Merges       mergesFile `json:"merges"`
}

// Parse reads the contents of a tokenizer.json.
func Parse(data []byte) (*Tokenizer, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("not UTF-8, so no JSON")
	}
	var f file
	if err := strict(data, &f); err != nil {
		return nil, err
	}
	for _, part := range []struct {
		name, advice string
		raw          json.RawMessage
	}{
		{"truncation", "texts are encoded whole", f.Truncation},
		{"padding", "texts are never padded here", f.Padding},
	} {
		if !isNull(part.raw) {
			return nil, fmt.Errorf("%s%s is not supported, want null: %s", part.name, kindOf(part.raw), part.advice)
		}
	}
	s := spec{added: f.AddedTokens}
	var err error
	cuts := false
	if s.settings.normalizer, cuts, err = parseNormalizer("normalizer", f.Normalizer, 0); err != nil {
		return nil, err
	}
	s.settings.normalizerRaw = f.Normalizer
	if s.settings.pre, err = parsePreTokenizer(f.PreTokenizer); err != nil {
		return nil, err
	}
	s.settings.cuts = cuts && s.settings.pre.cuts
	if s.settings.post, err = parsePostProcessor("post_processor", f.PostProcessor, 0); err != nil {
		return nil, err
	}
	if s.settings.decoder, err = parseByteLevel("decoder", f.Decoder); err != nil {
		return nil, err
	}
	if err := parseModel(f.Model, &s); err != nil {
		return nil, err
	}
	return build(s)
}

// parseModel reads the field "model" into s.
func parseModel(raw json.RawMessage, s *spec) error {
	if isNull(raw) {
		return errors.New("no field model: not a tokenizer.json")
	}
	var kind struct {
		Type *string `json:"type"`
	}
	// The type first: the fields of other models would only be unknown ones.
	if err := json.Unmarshal(raw, &kind); err != nil {
		return fmt.Errorf("model: %w", err)
	}
	if kind.Type != nil && *kind.Type != "BPE" {
		return fmt.Errorf("model: type %s is not supported, want BPE", *kind.Type)
	}
	var m modelFile
	if err := strict(raw, &m); err != nil {
		return fmt.Errorf("model: %w", err)
	}
	switch {
	case m.Dropout != nil && *m.Dropout != 0:
		return fmt.Errorf("model.dropout: %g is not supported, want null: encoding is no matter of chance here", *m.Dropout)
	case m.Prefix != nil && *m.Prefix != "":
		return fmt.Errorf("model.continuing_subword_prefix: %q is not supported, want null", *m.Prefix)
	case m.Suffix != nil && *m.Suffix != "":
		return fmt.Errorf("model.end_of_word_suffix: %q is not supported, want null", *m.Suffix)
	case m.ByteFallback:
		return errors.New("model.byte_fallback: true is not supported, want false: the alphabet has every byte")
	}
	s.settings.unknownToken, s.settings.prefix, s.settings.suffix = m.UnknownToken, m.Prefix, m.Suffix
	s.settings.fuseUnknown, s.settings.ignoreMerges = m.FuseUnknown, m.IgnoreMerges
	s.vocab = m.Vocab
	s.merges = m.Merges
	return nil
}

// parseByteLevel reads a pre-tokenizer or decoder of type ByteLevel; nil for null.
func parseByteLevel(field string, raw json.RawMessage) (*byteLevel, error) {
	if isNull(raw) {
		return nil, nil
	}
	if typeOf(raw) != "ByteLevel" {
		return nil, fmt.Errorf("%s%s is not supported, want ByteLevel", field, kindOf(raw))
	}
	b := byteLevel{AddPrefixSpace: true, TrimOffsets: true} // the library's defaults
	if err := strict(raw, &b); err != nil {
		return nil, fmt.Errorf("%s: %w", field, err)
	}
	return &b, nil
}

// parsePostProcessor checks that a post-processor only moves offsets or puts tokens around a text, which
// is the library's add_special_tokens and left to the caller here. It is kept to be written back; a
// ByteLevel with all that the library writes.
func parsePostProcessor(field string, raw json.RawMessage, depth int) (json.RawMessage, error) {
	if isNull(raw) {
		return nil, nil
	}
	switch typeOf(raw) {
	case "ByteLevel":
		b, err := parseByteLevel(field, raw)
		if err != nil {
			return nil, err
		}
		return b.json(), nil
	case "TemplateProcessing", "RobertaProcessing", "BertProcessing":
		return raw, nil
	case "Sequence":
		var s struct {
			Type string            `json:"type"`
			All  []json.RawMessage `json:"processors"`
		}
		if err := strict(raw, &s); err != nil {
			return nil, fmt.Errorf("%s: %w", field, err)
		}
		if depth > 4 {
			return nil, fmt.Errorf("%s: more than 4 deep", field)
		}
		for i, one := range s.All {
			if _, err := parsePostProcessor(fmt.Sprintf("%s.processors[%d]", field, i), one, depth+1); err != nil {
				return nil, err
			}
		}
		return raw, nil
	}
	return nil, fmt.Errorf("%s%s is not supported, want ByteLevel, TemplateProcessing, RobertaProcessing, BertProcessing or a Sequence of them", field, kindOf(raw))
}

// typeOf returns the field "type" of a JSON object, "" where it has none.
func typeOf(raw json.RawMessage) string {
	var kind struct {
		Type string `json:"type"`
	}
	if json.Unmarshal(raw, &kind) != nil {
		return ""
	}
	return kind.Type
}

// kindOf returns " of type T" for a JSON object with that type, "" where it has none.
func kindOf(raw json.RawMessage) string {
	if kind := typeOf(raw); kind != "" {
		return " of type " + kind
	}
	return ""
}

func isNull(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

// strict decodes one JSON value and nothing behind it, every field of it known.
func strict(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return plain(err)
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("something stands behind the JSON value")
	}
	return nil
}

// plain puts the JSON reader's commonest complaints into words of this file.
func plain(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("ends too early: not a whole JSON file")
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return fmt.Errorf("field %s is not supported", name)
	}
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Errorf("not JSON: %w, at byte %d", err, syntax.Offset)
	}
	return err
}

// vocabFile is model.vocab, read so that a token that comes twice is noticed.
type vocabFile map[string]int32

func (v *vocabFile) UnmarshalJSON(data []byte) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return errors.New("vocab: want an object of tokens and ids")
	}
	*v = vocabFile{}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return err
		}
		name := token.(string) // a key always is
		value, err := d.Token()
		if err != nil {
			return err
		}
		number, _ := value.(json.Number)
		id, err := strconv.ParseInt(string(number), 10, 32)
		if err != nil {
			return fmt.Errorf("vocab: token %q: id is not a whole number of 32 bits", name)
		}
		if _, twice := (*v)[name]; twice {
			return fmt.Errorf("vocab: token %q comes twice", name)
		}
		(*v)[name] = int32(id)
	}
	return nil
}

// mergesFile is model.merges: pairs ["a", "b"], or "a b" in files of earlier versions.
type mergesFile [][2]string

func (m *mergesFile) UnmarshalJSON(data []byte) error {
	var pairs [][]string
	if err := json.Unmarshal(data, &pairs); err != nil {
		var lines []string
		if json.Unmarshal(data, &lines) != nil {
			return errors.New("merges: want a list of pairs of tokens")
		}
		pairs = make([][]string, len(lines))
		for i, line := range lines {
			pairs[i] = strings.Split(line, " ")
		}
	}
	*m = make(mergesFile, len(pairs))
	for i, pair := range pairs {
		if len(pair) != 2 || pair[0] == "" || pair[1] == "" {
			return fmt.Errorf("merges: number %d is not two tokens: %q", i, pair)
		}
		(*m)[i] = [2]string(pair)
	}
	return nil
}

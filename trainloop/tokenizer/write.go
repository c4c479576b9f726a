package tokenizer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"march/graphgen/atomicfile"
)

// Save writes a tokenizer.json, whole or not at all.
func (t *Tokenizer) Save(path string) error { return atomicfile.WriteFile(path, t.JSON()) }

// JSON returns the tokenizer as a tokenizer.json, laid out as the tokenizers library lays it out:
// the same tokenizer gives the same bytes here and there.
func (t *Tokenizer) JSON() []byte {
	w := &writer{}
	w.line(0, "{")
	w.line(1, `"version": "1.0",`)
	w.line(1, `"truncation": null,`)
	w.line(1, `"padding": null,`)
	if len(t.added) == 0 {
		w.line(1, `"added_tokens": [],`)
	} else {
		w.line(1, `"added_tokens": [`)
		for i, a := range t.added {
			w.line(2, "{")
			w.line(3, `"id": %d,`, a.ID)
			w.line(3, `"content": %s,`, quote(a.Content))
			w.line(3, `"single_word": %t,`, a.SingleWord)
			w.line(3, `"lstrip": %t,`, a.LStrip)
			w.line(3, `"rstrip": %t,`, a.RStrip)
			w.line(3, `"normalized": %t,`, a.Normalized)
			w.line(3, `"special": %t`, a.Special)
			w.line(2, "}%s", comma(i, len(t.added)))
		}
		w.line(1, "],")
	}
	w.part("normalizer", t.settings.normalizerRaw)
	w.part("pre_tokenizer", t.settings.pre.raw)
	w.part("post_processor", t.settings.post)
	w.part("decoder", t.settings.decoder.json())
	w.line(1, `"model": {`)
	w.line(2, `"type": "BPE",`)
	w.line(2, `"dropout": null,`)
	w.line(2, `"unk_token": %s,`, optional(t.settings.unknownToken))
	w.line(2, `"continuing_subword_prefix": %s,`, optional(t.settings.prefix))
	w.line(2, `"end_of_word_suffix": %s,`, optional(t.settings.suffix))
	w.line(2, `"fuse_unk": %t,`, t.settings.fuseUnknown)
	w.line(2, `"byte_fallback": false,`)
	w.line(2, `"ignore_merges": %t,`, t.settings.ignoreMerges)
	w.line(2, `"vocab": {`)
	written := 0
	for id, in := range t.inVocab {
		if in {
			w.line(3, "%s: %d%s", quote(t.tokens[id]), id, comma(written, t.model))
			written++
		}
	}
	w.line(2, "},")
	if len(t.merges) == 0 {
		w.line(2, `"merges": []`)
	} else {
		w.line(2, `"merges": [`)
		for i, m := range t.merges {
			w.line(3, "[")
			w.line(4, "%s,", quote(t.tokens[m.left]))
			w.line(4, "%s", quote(t.tokens[m.right]))
			w.line(3, "]%s", comma(i, len(t.merges)))
		}
		w.line(2, "]")
	}
	w.line(1, "}")
	w.WriteByte('}') // no line feed at the end: the library writes none
	return w.Bytes()
}

type writer struct{ bytes.Buffer }

func (w *writer) line(indent int, format string, args ...any) {
	for range indent {
		w.WriteString("  ")
	}
	fmt.Fprintf(w, format, args...)
	w.WriteByte('\n')
}

// part writes a field of JSON that is at hand, nil as null.
func (w *writer) part(field string, raw json.RawMessage) {
	if raw == nil {
		raw = json.RawMessage("null")
	}
	var compact, out bytes.Buffer
	json.Compact(&compact, raw) // it was read, or is written here: no error is possible
	json.Indent(&out, compact.Bytes(), "  ", "  ")
	w.line(1, `"%s": %s,`, field, out.Bytes())
}

// json returns what the library writes, nil for nil.
func (b *byteLevel) json() json.RawMessage {
	if b == nil {
		return nil
	}
	return fmt.Appendf(nil, `{"type":"ByteLevel","add_prefix_space":%t,"trim_offsets":%t,"use_regex":%t}`,
		b.AddPrefixSpace, b.TrimOffsets, b.UseRegex == nil || *b.UseRegex)
}

func comma(i, n int) string {
	if i == n-1 {
		return ""
	}
	return ","
}

func optional(s *string) string {
	if s == nil {
		return "null"
	}
	return quote(*s)
}

// quote returns s as a JSON string, characters such as < and & as they are.
func quote(s string) string {
	if plainText(s) {
		return `"` + s + `"`
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.Encode(s) // a string and a buffer: no error is possible
	return string(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

// plainText reports whether a JSON string holds s as it is, as it does nearly every token.
func plainText(s string) bool {
	for _, r := range s {
		if r < ' ' || r == '"' || r == '\\' || r == utf8.RuneError || r == '\u2028' || r == '\u2029' {
			return false
		}
	}
	return true
}

package evalsuite

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// The two forms of LAMBADA's passages. Figures of different forms do not compare.
const (
	// FormOpenAI is jsonl, {"text": …}: ordinary case and punctuation, line breaks kept. Other
	// tools call it lambada_openai.
	FormOpenAI = "openai"
	// FormOriginal is plain text, one passage a line: lower case, words and punctuation split by
	// spaces.
	FormOriginal = "original"
)

// LAMBADAOptions say how passages are read.
type LAMBADAOptions struct {
	// PlainQuotes makes the passages plain before anything else, for models whose training text
	// was: typographic quotes, dashes, ellipses and spaces become ASCII, invisible characters go,
	// and the original form's two back-ticks and two apostrophes become a double quote. It changes
	// the scores, so it is off unless asked for, and the result says which of the two it was.
	PlainQuotes bool
}

// LAMBADA is the suite "lambada".
type LAMBADA struct {
	passages []passage
	digest   string
	form     string
	options  LAMBADAOptions
}

// NewLAMBADA reads passages from one file: jsonl (by the ending .jsonl or .json), else plain text
// with one passage a line. Errors name the file and the line.
func NewLAMBADA(path string, o LAMBADAOptions) (*LAMBADA, error) {
	l := &LAMBADA{form: FormOriginal, options: o}
	if ext := strings.ToLower(filepath.Ext(path)); ext == ".jsonl" || ext == ".json" {
		l.form = FormOpenAI
	}
	err := readLines(path, func(_ int, line []byte) error {
		text := string(line)
		if l.form == FormOpenAI {
			var object struct {
				Text *string `json:"text"`
			}
			if err := decodeObject(line, &object); err != nil {
				return err
			}
			if object.Text == nil {
				return errors.New(`key "text" is missing`)
			}
			text = *object.Text
		}
		if o.PlainQuotes {
			text = plainQuotes.Replace(text)
		}
		p, err := splitPassage(text)
		if err != nil {
			return err
		}
		l.passages = append(l.passages, p)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("lambada: %w", err)
	}
	if len(l.passages) == 0 {
		return nil, fmt.Errorf("lambada: %s: empty: want one passage a line", path)
	}
	l.digest = digestOf(nil, l.passages)
	return l, nil
}

// Name is "lambada".
func (l *LAMBADA) Name() string { return "lambada" }

// quotes is how the passages' quotes were read.
func (l *LAMBADA) quotes() string {
	if l.options.PlainQuotes {
		return "plain"
	}
	return "as they are"
}

func (l *LAMBADA) plan(p planner) (*plan, error) {
	passages := l.passages[:p.limited(len(l.passages))]
	sequences := planPassages(passages, p)
	return &plan{sequences, func(r *Result, scores []score, emit func(Prediction)) {
		finishPassages(r, "", "", sequences, scores, emit)
		p.passageMethod(r)
		if l.options.PlainQuotes {
			r.note("quotes, dashes and spaces made plain ASCII")
		}
		if p.limit > 0 {
			r.note("the first %d passages", p.limit)
		}
	}}, nil
}

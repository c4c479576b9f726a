package export

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"

	"march/graphgen/atomicfile"
	"march/trainloop/safetensors"
	"march/trainloop/tokenizer"
	"march/variants"
)

// Names of a Hugging Face folder's files beside WeightsFile.
const (
	configFile     = "config.json"
	tokenizerFile  = "tokenizer.json"
	tokenizerSetup = "tokenizer_config.json"
	generationFile = "generation_config.json"
)

// HuggingFace writes a model as a folder that transformers loads: config.json, model.safetensors, tokenizer.json and their
// settings. A config that is no architecture of transformers is an error that names the axes in the way. The folder must exist.
func HuggingFace(dir string, m Model, tok *tokenizer.Tokenizer) (files []File, name string, err error) {
	t, err := twinOf(m.Config)
	if err != nil {
		return nil, "", err
	}
	s, err := specialsOf(tok, m.Config)
	if err != nil {
		return nil, "", err
	}
	f, err := t.write(dir, m, s.pad)
	if err != nil {
		return nil, "", err
	}
	files = append(files, f)
	settings := map[string]map[string]any{configFile: t.configFile(m, s), tokenizerSetup: s.tokenizer(m.Config)}
	if t.arch == variants.Decoder {
		settings[generationFile] = map[string]any{"bos_token_id": s.end, "eos_token_id": s.end, "pad_token_id": s.pad}
	}
	for _, file := range []string{configFile, generationFile, tokenizerSetup} {
		if settings[file] == nil {
			continue
		}
		b, err := json.MarshalIndent(settings[file], "", "  ")
		if err != nil {
			return nil, "", err
		}
		path := filepath.Join(dir, file)
		if err := atomicfile.WriteFile(path, append(b, '\n')); err != nil {
			return nil, "", err
		}
		f, err := fileOf(path)
		if err != nil {
			return nil, "", err
		}
		files = append(files, f)
	}
	path := filepath.Join(dir, tokenizerFile)
	if err := tok.Save(path); err != nil {
		return nil, "", err
	}
	f, err = fileOf(path)
	return append(files, f), t.name, err
}

// specials are the tokens that transformers asks for by their ids.
type specials struct {
	end, pad int
	mask     string // "": none
	padding  string // "": the id is no token
}

// specialsOf finds them. Without a token for padding, the first id behind the tokenizer's is it: RoBERTa counts positions
// from the padding's id on, and finds padding by it.
func specialsOf(tok *tokenizer.Tokenizer, c variants.Config) (s specials, err error) {
	end, ok := tok.ID(tokenizer.EndOfText)
	if !ok {
		return s, fmt.Errorf("the tokenizer has no token %s", tokenizer.EndOfText)
	}
	s.end, s.pad = int(end), tok.VocabSize()
	if id, ok := tok.ID(tokenizer.Pad); ok {
		s.pad, s.padding = int(id), tokenizer.Pad
	}
	if _, ok := tok.ID(tokenizer.Mask); ok {
		s.mask = tokenizer.Mask
	}
	if s.pad >= c.Vocab {
		if c.Arch == variants.Encoder {
			return s, fmt.Errorf("RoBERTa needs an id for padding, and the tokenizer's %d tokens leave none of the model's vocab %d", tok.VocabSize(), c.Vocab)
		}
		s.pad, s.padding = s.end, tokenizer.EndOfText
	}
	return s, nil
}

// tokenizer is tokenizer_config.json.
func (s specials) tokenizer(c variants.Config) map[string]any {
	m := map[string]any{"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": c.Length, "clean_up_tokenization_spaces": false,
		"bos_token": tokenizer.EndOfText, "eos_token": tokenizer.EndOfText}
	if s.padding != "" {
		m["pad_token"] = s.padding
	}
	if s.mask != "" && c.Arch == variants.Encoder {
		m["mask_token"] = s.mask
	}
	return m
}

// configFile is config.json.
func (t twin) configFile(m Model, s specials) map[string]any {
	file := map[string]any{"architectures": []string{t.class}, "model_type": t.kind, "bos_token_id": s.end, "eos_token_id": s.end, "pad_token_id": s.pad,
		"dtype": "float32", "march": map[string]any{"variant": m.Name, "version": m.Version}}
	for _, e := range t.config(m.Config, s.pad) {
		file[e.key] = e.value
	}
	// What the model was trained with is not what it is used with.
	for _, key := range map[string][]string{"gpt_neo": {"resid_dropout", "embed_dropout", "attention_dropout"}, "gpt2": {"resid_pdrop", "embd_pdrop", "attn_pdrop"},
		"roberta": {"hidden_dropout_prob", "attention_probs_dropout_prob"}}[t.kind] {
		file[key] = m.Config.Dropout.Rate
	}
	return file
}

// write makes the weights' file.
func (t twin) write(dir string, m Model, pad int) (File, error) {
	params, err := m.Config.Parameters()
	if err != nil {
		return File{}, err
	}
	known, read := map[string]variants.Parameter{}, map[string]bool{}
	for _, p := range params {
		known[p.Name] = p
	}
	var tensors []safetensors.Tensor
	for _, x := range t.tensors(m.Config, pad) {
		for _, p := range x.parts {
			read[p.param] = true
		}
		tensors = append(tensors, safetensors.Tensor{Name: x.name, DType: "F32", Shape: x.shape, Make: func() ([]byte, error) {
			v, err := x.assemble(known, m.Values)
			return safetensors.Bytes(v), err
		}})
	}
	for _, p := range params {
		if !read[p.Name] {
			return File{}, fmt.Errorf("parameter %s has no place in %s: a bug of march", p.Name, t.name)
		}
	}
	path := filepath.Join(dir, WeightsFile)
	if err := safetensors.WriteFile(path, tensors, map[string]string{"format": "pt"}); err != nil {
		return File{}, err
	}
	return fileOf(path)
}

// columns is the length of the tensor's rows.
func (x tensor) columns() int { return x.shape[len(x.shape)-1] }

func (x tensor) elements() int {
	n := 1
	for _, d := range x.shape {
		n *= d
	}
	return n
}

// visit calls f with the place of each of a parameter's entries in the tensor.
func (x tensor) visit(p part, shape []int, f func(theirs, ours int)) {
	rows, cols := 1, shape[len(shape)-1]
	if len(shape) == 2 {
		rows = shape[0]
	}
	for r := range rows {
		for c := range cols {
			if p.transposed {
				f((p.row+c)*x.columns()+p.col+r, r*cols+c)
			} else {
				f((p.row+r)*x.columns()+p.col+c, r*cols+c)
			}
		}
	}
}

// assemble puts the tensor together. Parameters that the model has not are zeros.
func (x tensor) assemble(known map[string]variants.Parameter, values func(variants.Parameter) ([]float32, error)) ([]float32, error) {
	out := make([]float32, x.elements())
	for _, part := range x.parts {
		p, ok := known[part.param]
		if !ok {
			continue
		}
		v, err := values(p)
		if err != nil {
			return nil, err
		}
		x.visit(part, p.Shape, func(theirs, ours int) { out[theirs] = v[ours] })
	}
	return out, nil
}

// sameShape compares a tensor's shape with a file's.
func (x tensor) sameShape(shape []int) bool { return slices.Equal(x.shape, shape) }

package export

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"march/graphgen/atomicfile"
	"march/trainloop/safetensors"
	"march/trainloop/tokenizer"
	"march/variants"
)

// maxConfigFile bounds config.json.
const maxConfigFile = 16 << 20

// Imported are a config's parameters, as a Hugging Face folder has them.
type Imported struct {
	Twin      string               // the architecture, for people
	SHA256    string               // of model.safetensors
	Tokenizer *tokenizer.Tokenizer // nil where the folder has none

	values map[string][]float32
}

// Values gives a parameter's.
func (i *Imported) Values(p variants.Parameter) ([]float32, error) {
	v, ok := i.values[p.Name]
	if !ok {
		return nil, fmt.Errorf("parameter %s was not imported", p.Name)
	}
	return slices.Clone(v), nil
}

// Import reads a folder in the form that [HuggingFace] writes and that transformers saves models in. What does not fit the config is an
// error that names the entry of config.json or the tensor: another size, a tensor that is missing or that the model has no place for, a
// bias that the model has not and that is not zero, and layers that share parameters and differ.
func Import(dir string, c variants.Config) (*Imported, error) {
	t, err := twinOf(c)
	if err != nil {
		return nil, err
	}
	pad, err := t.checkConfig(filepath.Join(dir, configFile), c)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, WeightsFile)
	f, err := safetensors.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		if _, e := os.Stat(path + ".index.json"); e == nil {
			return nil, fmt.Errorf("%s.index.json: weights in several files are not supported: wanted one %s (save_pretrained with max_shard_size=\"100GB\")", path, WeightsFile)
		}
		return nil, fmt.Errorf("%s: no such file; weights in another form are not supported (save_pretrained makes it)", path)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	i := &Imported{Twin: t.name, values: map[string][]float32{}}
	if err := t.read(f, path, c, pad, i.values); err != nil {
		return nil, err
	}
	if i.SHA256, err = atomicfile.SHA256(path); err != nil {
		return nil, err
	}
	i.Tokenizer, err = tokenizer.Load(filepath.Join(dir, tokenizerFile))
	if errors.Is(err, fs.ErrNotExist) {
		return i, nil
	}
	return i, err
}

// buffers are tensors of older files that are no parameters: masks.
var buffers = regexp.MustCompile(`(\.attn\.(masked_)?bias|\.attn\.attention\.(masked_)?bias|\.position_ids)$`)

// read takes the parameters out of the file.
func (t twin) read(f *safetensors.File, path string, c variants.Config, pad int, values map[string][]float32) error {
	params, err := c.Parameters()
	if err != nil {
		return err
	}
	known, from, used := map[string]variants.Parameter{}, map[string]string{}, map[string]bool{}
	for _, p := range params {
		known[p.Name] = p
	}
	for _, x := range t.tensors(c, pad) {
		name := x.name
		info, ok := f.Lookup(name)
		if !ok {
			name = strings.TrimPrefix(x.name, t.strip)
			info, ok = f.Lookup(name)
		}
		switch {
		case !ok:
			return fmt.Errorf("%s: tensor %s is missing", path, x.name)
		case !x.sameShape(info.Shape):
			return fmt.Errorf("%s: tensor %s has the shape %v, the model's is %v", path, name, info.Shape, x.shape)
		}
		used[name] = true
		v := make([]float32, x.elements())
		if err := safetensors.Read(f, name, v); err != nil {
			return err
		}
		if err := x.take(v, known, values, from, name); err != nil {
			return fmt.Errorf("%s: tensor %w", path, err)
		}
	}
	copies := []string{"lm_head.weight", "lm_head.decoder.weight", "lm_head.decoder.bias"} // of the table and the bias
	for _, info := range f.Tensors() {
		if !used[info.Name] && !slices.Contains(copies, info.Name) && !buffers.MatchString(info.Name) {
			return fmt.Errorf("%s: the model has no place for tensor %s %v", path, info.Name, info.Shape)
		}
	}
	return nil
}

// take copies the tensor's parts into the parameters; from says which tensor each came from before.
func (x tensor) take(v []float32, known map[string]variants.Parameter, values map[string][]float32, from map[string]string, name string) error {
	rest := slices.Clone(v)
	for _, part := range x.parts {
		p, ok := known[part.param]
		if !ok {
			continue
		}
		w := make([]float32, p.Elements())
		x.visit(part, p.Shape, func(theirs, ours int) { w[ours], rest[theirs] = v[theirs], 0 })
		if old, ok := values[p.Name]; ok && !slices.Equal(old, w) {
			return fmt.Errorf("%s differs from %s, and the model has one parameter for both, %s", name, from[p.Name], p.Name)
		}
		values[p.Name], from[p.Name] = w, name
	}
	if at := slices.IndexFunc(rest, func(f float32) bool { return f != 0 }); at >= 0 && !x.free {
		return fmt.Errorf("%s is not zero (entry %d is %g), and the model has no parameter for it", name, at, rest[at])
	}
	return nil
}

// checkConfig holds config.json against the config, and gives the id of the padding.
func (t twin) checkConfig(path string, c variants.Config) (pad int, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, fmt.Errorf("not a Hugging Face folder: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxConfigFile+1))
	if err == nil && len(b) > maxConfigFile {
		err = fmt.Errorf("larger than %d MiB", maxConfigFile>>20)
	}
	var file map[string]any
	if err == nil {
		err = json.Unmarshal(b, &file)
	}
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	if kind := file["model_type"]; kind != t.kind {
		return 0, fmt.Errorf("%s: model_type is %v, the model's twin is %s (%s)", path, kind, t.name, t.kind)
	}
	pad = 1 // RoBERTa's, where the file does not say
	if v, ok := file["pad_token_id"].(float64); ok {
		pad = int(v)
	}
	if pad < 0 || pad >= c.Vocab {
		return 0, fmt.Errorf("%s: pad_token_id is %d, wanted 0 to %d", path, pad, c.Vocab-1)
	}
	for _, e := range t.config(c, pad) {
		have, ok := file[e.key]
		if !ok || have == nil {
			have = e.usual
		}
		if want := plainJSON(e.value); !reflect.DeepEqual(spread(e.key, plainJSON(have)), spread(e.key, want)) {
			return 0, fmt.Errorf("%s: %s is %v, the model's is %v (axis %s)", path, e.key, have, want, e.axis)
		}
	}
	return pad, nil
}

// plainJSON is a value as a JSON file has it.
func plainJSON(v any) any {
	b, err := json.Marshal(v)
	if err != nil {
		return v
	}
	var out any
	if json.Unmarshal(b, &out) != nil {
		return v
	}
	return out
}

// maxLayers bounds what spread writes out.
const maxLayers = 1 << 12

// spread writes GPT-Neo's attention_types out, layer by layer: [[["global","local"],2]] is four layers.
func spread(key string, v any) any {
	groups, ok := v.([]any)
	if key != "attention_types" || !ok {
		return v
	}
	var layers []any
	for _, g := range groups {
		pair, ok := g.([]any)
		if !ok || len(pair) != 2 {
			return v
		}
		kinds, ok1 := pair[0].([]any)
		times, ok2 := pair[1].(float64)
		if !ok1 || !ok2 || !(times >= 0 && times <= maxLayers) || len(layers)+int(times)*len(kinds) > maxLayers {
			return v
		}
		for range int(times) {
			layers = append(layers, kinds...)
		}
	}
	return layers
}

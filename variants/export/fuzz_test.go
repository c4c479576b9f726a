package export

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
)

// FuzzImport: no config.json and no header of model.safetensors make it panic, and what is read is whole. The seeds are what
// march writes for a model of each of the three architectures.
func FuzzImport(f *testing.F) {
	var models []Model
	var data [][]byte
	dir := f.TempDir()
	config, weights := filepath.Join(dir, configFile), filepath.Join(dir, WeightsFile)
	tok := smallTokenizer(f)
	for i, c := range []struct{ name, arch string }{{"deep_cycle", "decoder"}, {"plain/gpt2", "decoder"}, {"no_bias", "encoder"}} {
		m := micro(f, c.name, c.arch, "d=2", "heads=1", "qkv_dim=2", "ff=2", "share.unique=1", "share.uses=2")
		if _, _, err := HuggingFace(dir, m, tok); err != nil {
			f.Fatal(err)
		}
		settings, err := os.ReadFile(config)
		if err != nil {
			f.Fatal(err)
		}
		b, err := os.ReadFile(weights)
		if err != nil {
			f.Fatal(err)
		}
		end := 8 + binary.LittleEndian.Uint64(b)
		models, data = append(models, m), append(data, b[end:])
		f.Add(byte(i), settings, b[8:end], int16(0))
	}
	if err := os.Remove(filepath.Join(dir, tokenizerFile)); err != nil { // which has a target of its own
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, which byte, settings, header []byte, more int16) {
		m, tail := models[int(which)%len(models)], data[int(which)%len(models)]
		if more < 0 {
			tail = tail[:max(0, len(tail)+int(more))]
		} else {
			tail = append(tail[:len(tail):len(tail)], make([]byte, more)...)
		}
		file := append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), append(header[:len(header):len(header)], tail...)...)
		for path, content := range map[string][]byte{config: settings, weights: file} {
			if err := os.WriteFile(path, content, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		got, err := Import(dir, m.Config)
		if err != nil {
			return
		}
		params, err := m.Config.Parameters()
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range params {
			if v, err := got.Values(p); err != nil || len(v) != p.Elements() {
				t.Errorf("parameter %s has %d values, wanted %d: %v", p.Name, len(v), p.Elements(), err)
			}
		}
	})
}

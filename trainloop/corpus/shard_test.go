package corpus

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc64"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"march/trainloop/rng"
)

// shardBytes writes a shard and returns the file.
func shardBytes(t testing.TB, vocab int, docs ...[]int32) []byte {
	t.Helper()
	w := newShardWriter(t.TempDir(), trainStream, vocab, maxShardTokens)
	for _, ids := range docs {
		if err := w.beginDocument(); err != nil {
			t.Fatal(err)
		}
		if err := w.write(ids, 3); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.flush(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(w.dir, w.shards[0].File))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// sealed returns a copy of a shard with something changed and both checksums made to fit again.
func sealed(data []byte, change func([]byte)) []byte {
	data = slices.Clone(data)
	change(data)
	binary.LittleEndian.PutUint64(data[48:], crc64.Checksum(data[headerSize:], crcTable))
	binary.LittleEndian.PutUint64(data[56:], crc64.Checksum(data[:56], crcTable))
	return data
}

// The format, byte by byte: other tools may read it by its description.
func TestShardLayout(t *testing.T) {
	data := shardBytes(t, 300, []int32{0, 299, 7}, []int32{0, 8})
	le := binary.LittleEndian
	want := []byte(shardMagic)
	for _, v := range []uint32{1, 2} {
		want = le.AppendUint32(want, v)
	}
	for _, v := range []uint64{5, 2, 6} {
		want = le.AppendUint64(want, v)
	}
	want = le.AppendUint32(want, 300)
	want = le.AppendUint32(want, 0)
	body := []byte{0, 0, 43, 1, 7, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0}
	body = le.AppendUint64(body, 0)
	body = le.AppendUint64(body, 3)
	want = le.AppendUint64(want, crc64.Checksum(body, crcTable))
	want = le.AppendUint64(want, crc64.Checksum(want, crcTable))
	if want = append(want, body...); !bytes.Equal(data, want) {
		t.Errorf("got  %x\nwant %x", data, want)
	}
}

func TestParseShardRefuses(t *testing.T) {
	good := shardBytes(t, 300, []int32{0, 299, 7}, []int32{0, 8})
	if _, err := parseShard(good, 300); err != nil {
		t.Fatal(err)
	}
	put32 := func(at int, v uint32) func([]byte) {
		return func(b []byte) { binary.LittleEndian.PutUint32(b[at:], v) }
	}
	put64 := func(at int, v uint64) func([]byte) {
		return func(b []byte) { binary.LittleEndian.PutUint64(b[at:], v) }
	}
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"empty", nil, "not a shard"},
		{"header alone", good[:headerSize-1], "not a shard"},
		{"other magic", sealed(good, put32(0, 7)), "does not begin with MARCHTOK"},
		{"other version", sealed(good, put32(8, 2)), "shard version 2, this march reads 1"},
		{"width", sealed(good, put32(12, 3)), "3 bytes per token"},
		{"width 4", sealed(good, put32(12, 4)), "do not make a file"},
		{"too many tokens", sealed(good, put64(16, 1000)), "do not make a file"},
		{"absurdly many", sealed(good, put64(16, 1<<63+2)), "do not make a file"},
		{"documents", sealed(good, put64(24, 3)), "do not make a file"},
		{"absurdly many documents", sealed(good, put64(24, 1<<61)), "do not make a file"},
		{"text", sealed(good, put64(32, 1<<63)), "bytes of text"},
		{"vocabulary", sealed(good, put32(40, 299)), "made for a vocabulary of 299, the tokenizer has 300"},
		{"reserved", sealed(good, put32(44, 1)), "1 where 0 stands"},
		{"cut off", good[:len(good)-8], "cut off?"},
		{"longer", append(slices.Clone(good), make([]byte, 8)...), "do not make a file"},
		{"padding", sealed(good, func(b []byte) { b[headerSize+15] = 1 }), "other than zeros"},
		{"token", sealed(good, func(b []byte) { b[headerSize+5] = 200 }), "holds token 51207, the vocabulary has 300"},
		{"document order", sealed(good, put64(headerSize+24, 0)), "document 1 begins at token 0, want one between 1 and 5"},
		{"document behind", sealed(good, put64(headerSize+24, 5)), "document 1 begins at token 5"},
		{"document negative", sealed(good, put64(headerSize+16, 1<<63)), "document 0 begins at token"},
	} {
		if _, err := parseShard(c.data, 300); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
	}
	// Any single flipped bit is noticed.
	for at := range good {
		for bit := range 8 {
			bad := slices.Clone(good)
			bad[at] ^= 1 << bit
			if _, err := parseShard(bad, 300); err == nil {
				t.Fatalf("bit %d of byte %d flipped: no error", bit, at)
			}
		}
	}
}

// Whatever is done to a prepared folder, Open refuses it with an error that names the file.
func TestOpenRefuses(t *testing.T) {
	out := filepath.Join(t.TempDir(), "data")
	d := prepare(t, PrepareOptions{Texts: slices.Values(stories(30, 30)), Out: out, ValidFraction: 0.2})
	d.Close()
	if d.Train().Len() != 0 {
		t.Error("a closed stream is not empty")
	}
	original := contents(t, out)
	restore := func() {
		for name, data := range original {
			write(t, out, name, data)
		}
	}
	check := func(name, want string) {
		t.Helper()
		d, err := Open(out)
		if err == nil {
			d.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", name, err, want)
		}
	}
	info := func(name, want string, change func(*Info)) {
		t.Helper()
		var i Info
		if err := json.Unmarshal([]byte(original[infoFile]), &i); err != nil {
			t.Fatal(err)
		}
		change(&i)
		data, _ := json.Marshal(i)
		write(t, out, infoFile, string(data))
		check(name, want)
		restore()
	}
	for _, name := range []string{tokenizerFile, "train-00000.bin", "valid-00000.bin"} {
		os.Remove(filepath.Join(out, name))
		check(name+" missing", name)
		restore()
		r := rng.New(rng.Name(name))
		for range 20 {
			data := []byte(original[name])
			data[r.Below(uint64(len(data)))] ^= 1 << r.Below(8)
			write(t, out, name, string(data))
			check(name+" flipped", out)
			write(t, out, name, original[name][:r.Below(uint64(len(data)))])
			check(name+" cut off", out)
		}
		restore()
	}
	write(t, out, infoFile, "")
	check("empty data.json", "data.json: not JSON, or cut off")
	write(t, out, infoFile, original[infoFile][:200])
	check("data.json cut off", "data.json: not JSON, or cut off")
	write(t, out, infoFile, strings.Replace(original[infoFile], `"documents"`, `"dokuments"`, 1))
	check("unknown field", `unknown field "dokuments"`)
	restore()
	info("version", "version 9, this march reads 1", func(i *Info) { i.Version = 9 })
	info("path", "is not the name of a shard", func(i *Info) { i.Shards[0].File = "../train-00000.bin" })
	info("stream", `belongs to stream "extra"`, func(i *Info) { i.Shards[0].Stream = "extra" })
	info("checksum", "not from the same preparation", func(i *Info) { i.Shards[0].CRC64 = "0" })
	info("shard's tokens", "not from the same preparation", func(i *Info) { i.Shards[1].Tokens++ })
	info("tokens", "data.json says", func(i *Info) { i.Tokens++ })
	info("valid tokens", "data.json says", func(i *Info) { i.ValidTokens++ })
	info("a shard less", "data.json says", func(i *Info) { i.Shards = i.Shards[:1] })
	info("tokenizer", "but the data was made with", func(i *Info) { i.TokenizerSHA256 = "0" })
	info("vocabulary", "data.json says 5", func(i *Info) { i.VocabSize = 5 })
	d, err := Open(out)
	if err != nil {
		t.Fatal(err)
	}
	d.Close()
	os.Remove(filepath.Join(out, infoFile))
	check("no data.json", "holds no prepared data (no data.json): prepare it first")
	if _, err := Open(filepath.Join(out, "nowhere")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
}

// A shard that parses can be read at every place.
func FuzzParseShard(f *testing.F) {
	good := shardBytes(f, 300, []int32{0, 299, 7}, []int32{0, 8})
	wide := shardBytes(f, 70_000, []int32{0, 69_999}, []int32{5})
	f.Add(good, 300, false)
	f.Add(wide, 70_000, false)
	f.Add(good[:headerSize], 300, true)
	f.Add(sealed(good, func(b []byte) { b[24] = 1 }), 300, true)
	f.Fuzz(func(t *testing.T, data []byte, vocab int, seal bool) {
		if seal && len(data) >= headerSize { // get past the checksums
			data = sealed(data, func(b []byte) { copy(b, shardMagic); binary.LittleEndian.PutUint32(b[8:], shardVersion) })
		}
		part, err := parseShard(data, vocab)
		if err != nil {
			return
		}
		var s Stream
		s.add(part)
		ids := make([]int32, s.Len())
		s.Read(0, ids)
		for _, id := range ids {
			if id < 0 || int(id) >= vocab {
				t.Fatalf("id %d of %d", id, vocab)
			}
		}
		for i := range s.Documents() {
			if at := s.DocumentStart(i); at < 0 || at >= s.Len() || s.DocumentAt(at) != i {
				t.Fatalf("document %d starts at %d", i, at)
			}
		}
	})
}

func FuzzParseInfo(f *testing.F) {
	f.Add([]byte(`{"version":1,"shards":[{"file":"train-00000.bin","stream":"train","tokens":5}],"from":{"inputs":[{"name":"a","size":1,"mtime":2}]}}`))
	f.Add([]byte(`{"version":2}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		info, err := parseInfo(data)
		if err == nil && info.Version != infoVersion {
			t.Fatalf("version %d", info.Version)
		}
	})
}

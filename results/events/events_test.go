package events

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// Every file of TensorFlow's begins with these bytes: a record of 24, and its masked checksum.
var opening = []byte("\x18\x00\x00\x00\x00\x00\x00\x00\xa3\x7fK\x22")

type event struct {
	at      float64
	step    uint64
	version string
	scalars map[string]float32
}

// read takes a file apart, and checks its checksums.
func read(t *testing.T, file []byte) (list []event) {
	t.Helper()
	for len(file) > 0 {
		n := binary.LittleEndian.Uint64(file)
		if sum := binary.LittleEndian.Uint32(file[8:]); sum != masked(file[:8]) {
			t.Fatal("the length's checksum is wrong")
		}
		data := file[12 : 12+n]
		if sum := binary.LittleEndian.Uint32(file[12+n:]); sum != masked(data) {
			t.Fatal("the data's checksum is wrong")
		}
		e := event{scalars: map[string]float32{}}
		fields(t, data, func(number protowire.Number, v any) {
			switch number {
			case 1:
				e.at = math.Float64frombits(v.(uint64))
			case 2:
				e.step = v.(uint64)
			case 3:
				e.version = string(v.([]byte))
			case 5:
				fields(t, v.([]byte), func(_ protowire.Number, value any) {
					var name string
					var x float32
					fields(t, value.([]byte), func(number protowire.Number, v any) {
						switch number {
						case 1:
							name = string(v.([]byte))
						case 2:
							x = math.Float32frombits(v.(uint32))
						}
					})
					e.scalars[name] = x
				})
			}
		})
		list = append(list, e)
		file = file[16+n:]
	}
	return list
}

func fields(t *testing.T, b []byte, each func(protowire.Number, any)) {
	t.Helper()
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		b = b[n:]
		var v any
		switch kind {
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(b)
		case protowire.Fixed32Type:
			v, n = protowire.ConsumeFixed32(b)
		case protowire.Fixed64Type:
			v, n = protowire.ConsumeFixed64(b)
		case protowire.BytesType:
			v, n = protowire.ConsumeBytes(b)
		}
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		each(number, v)
		b = b[n:]
	}
}

func TestWriter(t *testing.T) {
	var b bytes.Buffer
	began := time.Unix(1_700_000_000, 500_000_000)
	w, err := NewWriter(&b, began)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(b.Bytes(), opening) {
		t.Errorf("the file begins with %q, want %q", b.Bytes()[:12], opening)
	}
	if err := w.Write(began.Add(time.Second), 300, Scalar{"loss/train", 2.25}, Scalar{"lr", 0.003}); err != nil {
		t.Fatal(err)
	}
	list := read(t, b.Bytes())
	if len(list) != 2 || list[0].version != "brain.Event:2" || list[0].at != 1_700_000_000.5 {
		t.Fatalf("%+v", list)
	}
	if e := list[1]; e.step != 300 || e.at != 1_700_000_001.5 || e.scalars["loss/train"] != 2.25 || e.scalars["lr"] != 0.003 || len(e.scalars) != 2 {
		t.Errorf("%+v", e)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestWriterFails(t *testing.T) {
	if _, err := NewWriter(full{}, time.Now()); err == nil {
		t.Error("no error from a full disk")
	}
}

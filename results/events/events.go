// Package events writes TensorBoard's event files: scalars by step, as TensorFlow's summary writer lays
// them out. It knows names, steps and numbers only, and writes neither images nor graphs, nor reads files
// back. Start with Writer.
//
// A file is a sequence of records: length (uint64), masked CRC-32C of the length, data, masked CRC-32C of
// the data, all little-endian. Data is a protocol buffer of type tensorflow.Event, of which these fields
// are written: wall_time = 1 (double), step = 2 (int64), file_version = 3 (string), summary = 5, in it
// value = 1, and in that tag = 1 (string) and simple_value = 2 (float).
package events

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"math"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// Writer writes one event file.
type Writer struct{ w io.Writer }

// FileName is what TensorBoard takes for an event file. It is always the same one, so that what is
// written anew takes the place of what was there; two files would be drawn over each other.
const FileName = "events.out.tfevents.0000000000.march"

// NewWriter begins a file.
func NewWriter(w io.Writer, made time.Time) (*Writer, error) {
	e := &Writer{w}
	b := header(made, 0)
	b = protowire.AppendTag(b, 3, protowire.BytesType)
	b = protowire.AppendString(b, "brain.Event:2")
	return e, e.record(b)
}

// Scalar is a figure with its name; a slash in a name makes groups.
type Scalar struct {
	Name  string
	Value float64
}

// Write writes the scalars of one step, measured at a time.
func (e *Writer) Write(at time.Time, step int64, scalars ...Scalar) error {
	var summary []byte
	for _, s := range scalars {
		value := protowire.AppendTag(nil, 1, protowire.BytesType)
		value = protowire.AppendString(value, s.Name)
		value = protowire.AppendTag(value, 2, protowire.Fixed32Type)
		value = protowire.AppendFixed32(value, math.Float32bits(float32(s.Value)))
		summary = protowire.AppendTag(summary, 1, protowire.BytesType)
		summary = protowire.AppendBytes(summary, value)
	}
	b := header(at, step)
	b = protowire.AppendTag(b, 5, protowire.BytesType)
	return e.record(protowire.AppendBytes(b, summary))
}

func header(at time.Time, step int64) []byte {
	b := protowire.AppendTag(nil, 1, protowire.Fixed64Type)
	b = protowire.AppendFixed64(b, math.Float64bits(float64(at.UnixMicro())/1e6))
	if step == 0 { // which is what a missing step means
		return b
	}
	b = protowire.AppendTag(b, 2, protowire.VarintType)
	return protowire.AppendVarint(b, uint64(step))
}

func (e *Writer) record(data []byte) error {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(data)))
	b = binary.LittleEndian.AppendUint32(b, masked(b))
	b = append(b, data...)
	b = binary.LittleEndian.AppendUint32(b, masked(data))
	_, err := e.w.Write(b)
	return err
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// masked is a checksum that may itself be checksummed.
func masked(data []byte) uint32 {
	sum := crc32.Checksum(data, castagnoli)
	return (sum>>15 | sum<<17) + 0xa282ead8
}

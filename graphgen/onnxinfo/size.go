package onnxinfo

import (
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// maxDecoded bounds the memory that a file's messages, names and numbers may take once they are decoded, beside the bytes of
// its weights: an empty node is two bytes in a file and a hundred times that in memory. Graphs of a million nodes are below.
const maxDecoded = 1 << 30

// What a decoded message and any other value take at most, with their share of a list that has grown.
const (
	messageBytes = 384
	valueBytes   = 48
)

// decoded is the memory that a message will take when it is decoded, an error where that is more than maxDecoded.
func decoded(b []byte, d protoreflect.MessageDescriptor, before int64) (int64, error) {
	total := before
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return 0, protowire.ParseError(n)
		}
		b = b[n:]
		if n = protowire.ConsumeFieldValue(number, kind, b); n < 0 {
			return 0, protowire.ParseError(n)
		}
		field := d.Fields().ByNumber(number)
		switch {
		case field == nil: // is not kept
		case field.Message() != nil && kind == protowire.BytesType:
			inner, _ := protowire.ConsumeBytes(b)
			var err error
			if total, err = decoded(inner, field.Message(), total+messageBytes); err != nil {
				return 0, err
			}
		case field.IsPacked() && kind == protowire.BytesType:
			total += 16 * int64(n)
		default:
			total += valueBytes
		}
		if total > maxDecoded {
			return 0, fmt.Errorf("would take more than %d MiB of memory, its weights aside", maxDecoded>>20)
		}
		b = b[n:]
	}
	return total, nil
}

// plus adds sizes of tensors, which a file may choose as it likes.
func plus(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

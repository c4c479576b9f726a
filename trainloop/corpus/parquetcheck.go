package corpus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// The Parquet library takes the sizes that a file states for granted, so that fifty bytes can ask for gigabytes. What it
// will decode is walked through first: the footer and the header of every page of the column, which are
// structs of Thrift's compact protocol. No list may have more elements than bytes are left, and
// no page more than these bounds.
const (
	maxFooter     = 64 << 20
	maxPageHeader = 1 << 20
	maxPage       = 256 << 20 // bytes unpacked; writers make pages of about 1 MiB
	maxPageValues = 1 << 24
)

// checkFooter reads the end of a Parquet file: metadata, their length in 4 bytes, "PAR1".
func checkFooter(r io.ReaderAt, size int64) error {
	var end [8]byte
	if size < 12 {
		return errors.New("shorter than 12 bytes")
	}
	if _, err := r.ReadAt(end[:], size-8); err != nil {
		return err
	}
	length := int64(binary.LittleEndian.Uint32(end[:]))
	if string(end[4:]) != "PAR1" {
		return errors.New("does not end with PAR1")
	}
	if length > size-12 || length > maxFooter {
		return fmt.Errorf("metadata of %d bytes in a file of %d, want %d at most", length, size, min(size-12, maxFooter))
	}
	data := make([]byte, length)
	if _, err := r.ReadAt(data, size-8-length); err != nil {
		return err
	}
	t := thrift{data: data}
	if err := t.fields(0, 0, nil); err != nil {
		return fmt.Errorf("metadata: %w", err)
	}
	return nil
}

// checkPages walks over the pages of a column in one group of rows: from the dictionary where the metadata name one, else
// from the first page of data, over all bytes that they count, as the library does. Their number of values binds it to
// nothing.
func checkPages(r io.ReaderAt, size int64, column *format.ColumnMetaData) error {
	at := column.DataPageOffset
	if d := column.DictionaryPageOffset; d != 0 {
		at = d
	}
	end := at + column.TotalCompressedSize
	if at < 4 || column.TotalCompressedSize < 0 || end < at || end > size {
		return fmt.Errorf("pages at bytes %d to %d of a file of %d", at, end, size)
	}
	for at < end {
		var t thrift
		var packed, unpacked int64
		var count uint64
		for n := int64(4 << 10); ; n *= 16 { // headers take some 20 bytes, with statistics more
			n = min(n, end-at, maxPageHeader)
			t = thrift{data: make([]byte, n)}
			if _, err := r.ReadAt(t.data, at); err != nil {
				return err
			}
			// A field can be there twice, also with a type that the library passes over: the largest counts, and
			// of where the page ends there is one.
			packed, unpacked, count = -1, -1, 0
			again := false
			err := t.fields(0, 0, func(outer, field int, x int64) {
				switch {
				case outer == 0 && field == 2:
					unpacked = max(unpacked, x)
				case outer == 0 && field == 3:
					again = again || packed != -1
					packed = x
				case (outer == 5 || outer == 7 || outer == 8) && field == 1: // of a data page, a dictionary, a data page of version 2
					count = max(count, uint64(x)) // a negative one is the largest
				}
			})
			if err == nil && again {
				err = errors.New("states its size twice")
			}
			if err == nil {
				break
			}
			if n == min(end-at, maxPageHeader) {
				return fmt.Errorf("header of the page at byte %d: %w", at, err)
			}
		}
		at += int64(t.at)
		if packed < 0 || packed > end-at || unpacked < 0 || unpacked > maxPage || count > maxPageValues {
			return fmt.Errorf("the page at byte %d has %d bytes, %d unpacked, and %d values; want %d, %d and %d at most",
				at, packed, unpacked, count, end-at, maxPage, maxPageValues)
		}
		at += packed
	}
	return nil
}

// columnMetadata returns a column's metadata in every group of rows.
func columnMetadata(file *parquet.File, column int) ([]*format.ColumnMetaData, error) {
	var list []*format.ColumnMetaData
	groups := file.Metadata().RowGroups
	for i := range groups {
		if column >= len(groups[i].Columns) {
			return nil, fmt.Errorf("broken: group of rows %d lacks columns", i)
		}
		list = append(list, &groups[i].Columns[column].MetaData)
	}
	return list, nil
}

// thrift walks over a struct of the compact protocol.
type thrift struct {
	data []byte
	at   int
}

// The types of the compact protocol.
const (
	thriftTrue, thriftFalse, thriftByte, thriftI16, thriftI32, thriftI64    = 1, 2, 3, 4, 5, 6
	thriftDouble, thriftBinary, thriftList, thriftSet, thriftMap, thriftObj = 7, 8, 9, 10, 11, 12
)

var errThrift = errors.New("ends too early, or is no Thrift")

// fields goes past one struct, which is the field outer. visit, if not nil, is told whole numbers in it and, with the
// number of the field that they lie in, one level down.
func (t *thrift) fields(depth, outer int, visit func(outer, field int, x int64)) error {
	if depth > 30 {
		return errors.New("lists or structs more than 30 deep")
	}
	for field := 0; ; {
		head, err := t.byte()
		if err != nil {
			return err
		}
		kind := int(head & 15)
		if kind == 0 {
			return nil
		}
		if delta := int(head >> 4); delta > 0 {
			field = int(int16(field + delta)) // numbers of fields have 16 bits, and the library goes round
		} else {
			id, err := t.number()
			if err != nil {
				return err
			}
			field = int(id)
		}
		if kind == thriftObj && visit != nil && depth == 0 {
			if err := t.fields(depth+1, field, visit); err != nil {
				return err
			}
			continue
		}
		x, err := t.value(kind, depth)
		if err != nil {
			return err
		}
		if visit != nil && kind >= thriftByte && kind <= thriftI64 {
			visit(outer, field, x)
		}
	}
}

// value goes past one value that is a field.
func (t *thrift) value(kind, depth int) (int64, error) {
	if depth > 30 {
		return 0, errors.New("lists or structs more than 30 deep")
	}
	switch kind {
	case thriftTrue, thriftFalse:
		return 0, nil
	case thriftByte:
		b, err := t.byte()
		return int64(int8(b)), err
	case thriftI16, thriftI32, thriftI64:
		return t.number()
	case thriftDouble:
		return 0, t.skip(8)
	case thriftBinary:
		n, err := t.varint()
		if err != nil {
			return 0, err
		}
		return 0, t.skip(n)
	case thriftList, thriftSet:
		head, err := t.byte()
		if err != nil {
			return 0, err
		}
		n := uint64(head >> 4)
		if n == 15 {
			if n, err = t.varint(); err != nil {
				return 0, err
			}
		}
		return 0, t.elements(n, []int{int(head & 15)}, depth)
	case thriftMap:
		n, err := t.varint()
		if err != nil || n == 0 {
			return 0, err
		}
		kinds, err := t.byte()
		if err != nil {
			return 0, err
		}
		return 0, t.elements(n, []int{int(kinds >> 4), int(kinds & 15)}, depth)
	case thriftObj:
		return 0, t.fields(depth+1, 0, nil)
	}
	return 0, fmt.Errorf("a value of type %d at byte %d", kind, t.at)
}

func (t *thrift) elements(n uint64, kinds []int, depth int) error {
	if n > uint64(len(t.data)-t.at) {
		return fmt.Errorf("a list of %d elements in %d bytes", n, len(t.data)-t.at)
	}
	for range n {
		for _, kind := range kinds {
			if kind == thriftTrue || kind == thriftFalse { // in lists they take a byte
				kind = thriftByte
			}
			if _, err := t.value(kind, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *thrift) byte() (byte, error) {
	if t.at >= len(t.data) {
		return 0, errThrift
	}
	t.at++
	return t.data[t.at-1], nil
}

func (t *thrift) skip(n uint64) error {
	if n > uint64(len(t.data)-t.at) {
		return fmt.Errorf("a text of %d bytes in %d", n, len(t.data)-t.at)
	}
	t.at += int(n)
	return nil
}

func (t *thrift) varint() (uint64, error) {
	x, n := binary.Uvarint(t.data[t.at:])
	if n <= 0 {
		return 0, errThrift
	}
	t.at += n
	return x, nil
}

// number is a varint with the sign in its lowest bit.
func (t *thrift) number() (int64, error) {
	x, err := t.varint()
	return int64(x>>1) ^ -int64(x&1), err
}

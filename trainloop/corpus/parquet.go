package corpus

import (
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/parquet-go/parquet-go"
)

// parquetPieces reads a Parquet file: a value of a column of strings is a document. One page after the
// other is in memory.
func parquetPieces(name string, f io.ReaderAt, size int64, how reading, yield func(piece, error) bool) (more bool) {
	inCaller := false // what panics there is no broken file
	defer func() {
		// The library's decoders index what a broken file says.
		if broken := recover(); broken != nil {
			if inCaller {
				panic(broken)
			}
			more = false
			yield(piece{}, fmt.Errorf("corpus: %s: broken Parquet file: %v", name, broken))
		}
	}()
	fail := func(err error) bool {
		inCaller = true
		yield(piece{}, fmt.Errorf("corpus: %s: %w", name, err))
		return false
	}
	if err := checkFooter(f, size); err != nil {
		return fail(fmt.Errorf("not a Parquet file, or cut off: %w", err))
	}
	file, err := parquet.OpenFile(&meterAt{f, how.progress}, size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return fail(fmt.Errorf("not a Parquet file, or cut off: %w", err))
	}
	column, err := textColumn(file, how.column)
	if err != nil {
		return fail(err)
	}
	metadata, err := columnMetadata(file, column)
	if err != nil {
		return fail(err)
	}
	row := int64(0)
	values := make([]parquet.Value, 64)
	for i, group := range file.RowGroups() {
		if err := checkPages(f, size, metadata[i]); err != nil {
			return fail(fmt.Errorf("broken: %w", err))
		}
		pages := group.ColumnChunks()[column].Pages()
		ok := func() bool {
			defer pages.Close()
			for {
				page, err := pages.ReadPage()
				if err == io.EOF {
					return true
				}
				if err != nil {
					return fail(fmt.Errorf("row %d: %w", row, err))
				}
				reader := page.Values()
				for {
					n, err := reader.ReadValues(values)
					for _, v := range values[:n] {
						if v.IsNull() {
							return fail(fmt.Errorf("row %d: column %q is null, want a string", row, how.column))
						}
						if len(v.ByteArray()) > maxRecord {
							return fail(fmt.Errorf("row %d: a text of more than %d MiB", row, maxRecord>>20))
						}
						inCaller = true
						if !documentPieces(fmt.Sprintf("%s, row %d", name, row), string(v.ByteArray()), how, yield) {
							return false
						}
						inCaller = false
						row++
					}
					if err == io.EOF {
						break
					}
					if err != nil {
						return fail(fmt.Errorf("row %d: %w", row, err))
					}
					if n == 0 {
						return fail(fmt.Errorf("row %d: %w", row, io.ErrNoProgress))
					}
				}
				parquet.Release(page)
			}
		}()
		if !ok {
			return false
		}
	}
	return true
}

// textColumn returns the number of a column among the leaves.
func textColumn(file *parquet.File, name string) (int, error) {
	names := map[string]bool{}
	for _, column := range file.Root().Columns() {
		names[column.Name()] = true
		if column.Name() != name {
			continue
		}
		if !column.Leaf() || column.Repeated() || column.Type().Kind() != parquet.ByteArray {
			return 0, fmt.Errorf("column %q is of type %v, want a plain string", name, column)
		}
		return column.Index(), nil
	}
	return 0, fmt.Errorf("no column %q; it has %.200q", name, slices.Sorted(maps.Keys(names)))
}

// meterAt is meter for what is read out of order.
type meterAt struct {
	r        io.ReaderAt
	progress func(n int)
}

func (m *meterAt) ReadAt(p []byte, at int64) (int, error) {
	n, err := m.r.ReadAt(p, at)
	m.progress(n)
	return n, err
}

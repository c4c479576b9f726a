// Package folderlock keeps processes out of a folder that another one writes into: a run in training, data that are
// being prepared. A lock ends with the process that holds it, however that ends. It binds only those who ask for it:
// readers need none. On systems and file systems without such locks nothing is locked. Start at [Try] and [Wait].
package folderlock

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// File is the name of the file in a folder that is locked. It stays, and means nothing by itself.
const File = ".lock"

// HeldError says that somebody else holds a folder's lock.
type HeldError struct {
	Dir string
	By  string // such as "process 4711 on host"; "" where that is not known
}

func (e *HeldError) Error() string {
	by := e.By
	if by == "" {
		by = "another process"
	}
	return fmt.Sprintf("%s is in use by %s", e.Dir, by)
}

// Try locks a folder that exists until unlock is called or the process ends. Where another process has it, or somebody
// else in this one, the error is a [HeldError].
func Try(dir string) (unlock func(), err error) {
	path := filepath.Join(dir, File)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	ok, err := lock(f)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if !ok {
		defer f.Close()
		return nil, &HeldError{dir, holder(f)}
	}
	name(f)
	return func() { f.Close() }, nil // closing lets go of the lock
}

// Wait is Try, but for waiting until the folder is free; waited says that it was not. When ctx ends first, its cause is
// the error.
func Wait(ctx context.Context, dir string) (unlock func(), waited bool, err error) {
	for {
		unlock, err = Try(dir)
		if _, held := err.(*HeldError); !held {
			return unlock, waited, err
		}
		waited = true
		select {
		case <-ctx.Done():
			return nil, true, context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// name writes into a locked file who holds it, for others' errors; without it they say less.
func name(f *os.File) {
	who := fmt.Sprintf("process %d", os.Getpid())
	if host, err := os.Hostname(); err == nil {
		who += " on " + host
	}
	if f.Truncate(0) == nil {
		_, _ = f.WriteAt([]byte(who+"\n"), 0)
	}
}

// holder reads what name wrote.
func holder(f *os.File) string {
	b := make([]byte, 300)
	n, _ := f.ReadAt(b, 0)
	line, _, whole := strings.Cut(string(b[:n]), "\n")
	if !whole || !strings.HasPrefix(line, "process ") {
		return ""
	}
	return line
}

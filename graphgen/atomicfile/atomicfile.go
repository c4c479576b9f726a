// Package atomicfile writes files whole or not at all: bytes go to a temporary file in the same
// folder, are flushed to the disk, and only then take the final name. It is not a lock (of two
// writers of one path the later Commit wins) and it makes no folders. Start with WriteFile for
// bytes at hand, with Create for streams.
//
// A reader sees the old file or the new one, never a part, also after a crash or a power cut. A
// process killed half-way leaves a temporary behind, which nothing reads and which IsTemporary
// recognises; it can be deleted at any time when no writer runs.
package atomicfile

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// infix stands in the name of every temporary: ".<final name>.march-tmp-<12 hex digits>". The
// leading dot hides it from globs such as "*.json".
const infix = ".march-tmp-"

// maxBase keeps the temporary's name below the 255 bytes that file systems allow.
const maxBase = 200

// IsTemporary reports whether a file's name (or path) is that of a temporary of this package.
func IsTemporary(name string) bool {
	base := filepath.Base(name)
	at := strings.LastIndex(base, infix)
	if at < 1 || base[0] != '.' {
		return false
	}
	raw, err := hex.DecodeString(base[at+len(infix):])
	return err == nil && len(raw) == 6
}

// WriteFile replaces the file at path by data, or leaves what was there and returns an error that
// names path. A new file gets mode 0666 less the umask, a replaced one keeps its mode.
func WriteFile(path string, data []byte) error {
	f, err := Create(path)
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Commit()
}

// File is a file being written. It is not safe for use by several goroutines at once.
type File struct {
	path string   // as the caller named it; errors name this one
	dest string   // path with a symbolic link at its end followed
	temp *os.File // nil after Commit or Abort
	err  error    // first failed write; makes Commit fail too
}

// Create starts writing the file at path. Nothing is seen at path before Commit; every Create is
// followed by Commit or Abort, best by a deferred Abort. A symbolic link is followed, so the link
// stays and its target is replaced. Anything else that is no regular file (a folder, a device) is
// an error.
func Create(path string) (*File, error) {
	dest, mode, err := destination(path)
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	temp, err := openTemporary(dest)
	if err != nil {
		return nil, fmt.Errorf("write %s: cannot create a file in folder %s: %w", path, filepath.Dir(dest), cause(err))
	}
	f := &File{path: path, dest: dest, temp: temp}
	if mode != 0 {
		if err := temp.Chmod(mode); err != nil {
			f.Abort()
			return nil, fmt.Errorf("write %s: keep mode %v: %w", path, mode, cause(err))
		}
	}
	return f, nil
}

// destination follows a link at the end of path and returns the mode of the file to be replaced,
// 0 where there is none.
func destination(path string) (dest string, mode fs.FileMode, err error) {
	if path == "" {
		return "", 0, errors.New("empty file name")
	}
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return path, 0, nil
	}
	if err != nil {
		return "", 0, cause(err)
	}
	dest = path
	if info.Mode()&fs.ModeSymlink != 0 {
		if dest, err = filepath.EvalSymlinks(path); err != nil {
			return "", 0, fmt.Errorf("symbolic link leads nowhere: %w", cause(err))
		}
		if info, err = os.Stat(dest); err != nil {
			return "", 0, cause(err)
		}
	}
	if info.IsDir() {
		return "", 0, errors.New("is a folder, want a file name")
	}
	if !info.Mode().IsRegular() {
		return "", 0, fmt.Errorf("is not a regular file (%v)", info.Mode().Type())
	}
	return dest, info.Mode().Perm(), nil
}

// openTemporary does not use os.CreateTemp, which would give the final file mode 0600.
func openTemporary(dest string) (*os.File, error) {
	dir, base := filepath.Split(dest)
	if len(base) > maxBase {
		base = strings.ToValidUTF8(base[:maxBase], "") // macOS refuses half a character
	}
	for range 100 {
		var id [6]byte
		rand.Read(id[:]) // never fails (crypto/rand)
		name := filepath.Join(dir, "."+base+infix+hex.EncodeToString(id[:]))
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		if !errors.Is(err, fs.ErrExist) {
			return f, err
		}
	}
	return nil, errors.New("no free name for a temporary file")
}

// Name returns the path that Commit will write.
func (f *File) Name() string { return f.path }

// Write appends p. It is unbuffered; wrap it in a bufio.Writer for small pieces, and flush that
// before Commit. After one failed write every further one and Commit fail.
func (f *File) Write(p []byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	if f.temp == nil {
		return 0, fmt.Errorf("write %s: already committed or aborted", f.path)
	}
	n, err := f.temp.Write(p)
	if err != nil {
		f.err = fmt.Errorf("write %s: %w", f.path, cause(err))
		return n, f.err
	}
	return n, nil
}

// Commit flushes the bytes to the disk and gives them their final name. On an error the temporary
// is gone and the old file untouched, but for one case that the error states: the new file is in
// place and only its folder could not be flushed.
func (f *File) Commit() error {
	if f.err != nil {
		f.Abort()
		return f.err
	}
	if f.temp == nil {
		return fmt.Errorf("write %s: already committed or aborted", f.path)
	}
	if err := f.temp.Sync(); err != nil {
		f.Abort()
		return fmt.Errorf("write %s: flush to disk: %w", f.path, cause(err))
	}
	name := f.temp.Name()
	err := f.temp.Close()
	f.temp = nil
	if err == nil {
		err = os.Rename(name, f.dest)
	}
	if err != nil {
		os.Remove(name) // best effort: the first error is the one to report
		return fmt.Errorf("write %s: %w", f.path, cause(err))
	}
	if err := syncDir(filepath.Dir(f.dest)); err != nil {
		return fmt.Errorf("write %s: written, but its folder could not be flushed to disk: %w", f.path, cause(err))
	}
	return nil
}

// Abort removes the temporary and leaves path as it was. After Commit or Abort it does nothing,
// so it can be deferred.
func (f *File) Abort() {
	if f.temp == nil {
		return
	}
	name := f.temp.Name()
	f.temp.Close()
	os.Remove(name)
	f.temp = nil
}

// syncDir makes the rename itself durable.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // folders cannot be flushed there
	}
	d, err := os.Open(dir)
	if err != nil {
		if errors.Is(err, fs.ErrPermission) {
			return nil // a folder may be writable and not readable; the data itself is flushed
		}
		return err
	}
	defer d.Close()
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		return nil // some network and user-space file systems have no such thing
	}
	return err
}

// cause drops the operation and the temporary's name from an error of package os: the caller
// knows the file by its final name.
func cause(err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err
	}
	var linkErr *os.LinkError
	if errors.As(err, &linkErr) {
		return linkErr.Err
	}
	return err
}

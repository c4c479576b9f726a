package main

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"march/graphgen/atomicfile"
	"march/runtime/ortlib"
)

// unpack installs the libraries from an archive, which is known by its digest
// and not by its name. They get their final names only when all of them are
// right, and in their order.
func (i *installer) unpack(archive string) error {
	sum, err := atomicfile.SHA256(archive)
	if err != nil {
		return err
	}
	var want []string
	for _, s := range i.sources {
		if s.archive.SHA256 == sum {
			if err := i.place(archive, s); err != nil {
				return fmt.Errorf("%s: %w", filepath.Base(archive), err)
			}
			return nil
		}
		want = append(want, fmt.Sprintf("%s (%s)", s.archive.SHA256, s.archive.Name))
	}
	hint := ""
	switch sum {
	case ortlib.CUDA.Wheel.SHA256:
		hint = "; this is the build with CUDA: add --cuda"
	case ortlib.NPMArchive.SHA256:
		hint = "; this is the build for CPUs: leave --cuda out"
	}
	return fmt.Errorf("%s: sha256 %s, want %s%s", filepath.Base(archive), sum, strings.Join(want, " or "), hint)
}

func (i *installer) place(archive string, s source) error {
	files := map[string]*atomicfile.File{}
	defer func() {
		for _, f := range files {
			f.Abort()
		}
	}()
	err := s.read(archive, s.libraries, func(l library, from io.Reader) error {
		out, err := atomicfile.Create(filepath.Join(i.dir, l.as))
		if err != nil {
			return err
		}
		files[l.Name] = out
		return copyExact(out, from, l.File)
	})
	if err != nil {
		return err
	}
	for _, l := range s.libraries {
		if files[l.Name] == nil {
			return fmt.Errorf("holds no %s", l.Name)
		}
	}
	for _, l := range s.libraries {
		if err := files[l.Name].Commit(); err != nil {
			return err
		}
	}
	return nil
}

// copyExact fails unless what it copied is the file that was expected.
func copyExact(to io.Writer, from io.Reader, want ortlib.File) error {
	h := sha256.New()
	// One byte more than expected is enough to know a wrong file.
	n, err := io.Copy(io.MultiWriter(to, h), io.LimitReader(from, want.Size+1))
	if err != nil {
		return err
	}
	if sum := hex.EncodeToString(h.Sum(nil)); n != want.Size || sum != want.SHA256 {
		return fmt.Errorf("%s: %d bytes with sha256 %s, want %d with %s", want.Name, n, sum, want.Size, want.SHA256)
	}
	return nil
}

// readTar hands out those of the libraries that a compressed tar file holds.
func readTar(archive string, libraries []library, write func(library, io.Reader) error) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	t := tar.NewReader(z)
	for left := slices.Clone(libraries); len(left) > 0; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if at := slices.IndexFunc(left, func(l library) bool { return l.Name == h.Name }); at >= 0 {
			if err := write(left[at], t); err != nil {
				return err
			}
			left = slices.Delete(left, at, at+1)
		}
	}
	return nil
}

// readZip hands out those of the libraries that a zip file holds.
func readZip(archive string, libraries []library, write func(library, io.Reader) error) error {
	z, err := zip.OpenReader(archive)
	if err != nil {
		return err
	}
	defer z.Close()
	for _, l := range libraries {
		f, err := z.Open(l.Name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return err
		}
		err = write(l, f)
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

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
	"os"
	"path/filepath"

	"march/graphgen/atomicfile"
	"march/runtime/ortlib"
)

// unpack installs the library from a package, which is known by its digest and
// not by its name.
func (i *installer) unpack(archive string) error {
	sum, err := atomicfile.SHA256(archive)
	if err != nil {
		return err
	}
	switch sum {
	case i.npm.SHA256:
		err = i.fromTar(archive, i.platform.NPM)
	case i.platform.Wheel.SHA256:
		err = i.fromZip(archive, i.platform.WheelLibrary)
	default:
		return fmt.Errorf("%s: sha256 %s, want %s (%s) or %s (%s)", filepath.Base(archive), sum,
			i.npm.SHA256, i.npm.Name, i.platform.Wheel.SHA256, i.platform.Wheel.Name)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(archive), err)
	}
	return nil
}

func (i *installer) fromTar(archive string, library ortlib.File) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	for t := tar.NewReader(z); ; {
		switch h, err := t.Next(); {
		case errors.Is(err, io.EOF):
			return fmt.Errorf("holds no %s", library.Name)
		case err != nil:
			return err
		case h.Name == library.Name:
			return i.write(t, library)
		}
	}
}

func (i *installer) fromZip(archive string, library ortlib.File) error {
	z, err := zip.OpenReader(archive)
	if err != nil {
		return err
	}
	defer z.Close()
	f, err := z.Open(library.Name)
	if err != nil {
		return fmt.Errorf("holds no %s", library.Name)
	}
	defer f.Close()
	return i.write(f, library)
}

// write gives the library its final name only when its digest is right.
func (i *installer) write(from io.Reader, library ortlib.File) error {
	out, err := atomicfile.Create(i.path)
	if err != nil {
		return err
	}
	defer out.Abort()
	h := sha256.New()
	// One byte more than expected is enough to know a wrong file.
	n, err := io.Copy(io.MultiWriter(out, h), io.LimitReader(from, library.Size+1))
	if err != nil {
		return err
	}
	if sum := hex.EncodeToString(h.Sum(nil)); n != library.Size || sum != library.SHA256 {
		return fmt.Errorf("%s: %d bytes with sha256 %s, want %d with %s", library.Name, n, sum, library.Size, library.SHA256)
	}
	return out.Commit()
}

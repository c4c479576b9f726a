package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"march/graphgen/atomicfile"
	"march/runtime/ortlib"
)

// installer puts one build's libraries into a folder.
type installer struct {
	title   string                 // "ONNX Runtime 1.30.0"
	dir     string                 // the folder
	sources []source               // in the order in which they are tried
	verify  func() (string, error) // reads what is installed; where it is from, for messages
	log     io.Writer
}

// forCPU installs the library of a platform. npm comes first: its package is the
// same file for every platform.
func forCPU(p ortlib.Platform, path string, log io.Writer) *installer {
	as := filepath.Base(path)
	return &installer{
		title: "ONNX Runtime " + ortlib.Version, dir: filepath.Dir(path), log: log,
		verify: func() (string, error) { return p.Verify(path) },
		sources: []source{
			{"npm", ortlib.NPMArchive, []library{{p.NPM, as}}, fetchNPM(ortlib.NPMPackage + "@" + ortlib.Version), readTar},
			{"pip", p.Wheel, []library{{p.WheelLibrary, as}}, fetchPip(ortlib.PipPackage+"=="+ortlib.Version, p.WheelTag), readZip},
		},
	}
}

// forCUDA installs the build with the CUDA provider, which only a wheel holds.
func forCUDA(b ortlib.CUDABuild, dir string, log io.Writer) *installer {
	libraries := make([]library, len(b.Libraries))
	for i, l := range b.Libraries {
		libraries[i] = library{l, b.FileName(l)}
	}
	return &installer{
		title: "ONNX Runtime " + ortlib.Version + " with CUDA", dir: dir, log: log,
		verify:  func() (string, error) { return "pip", b.Verify(dir) },
		sources: []source{{"pip", b.Wheel, libraries, fetchPip(ortlib.CUDAPackage+"=="+ortlib.Version, b.WheelTag), readZip}},
	}
}

// downloads is the pattern of the temporary folders beside the libraries.
const downloads = ".download-*"

// install does nothing where the libraries are there and right. With archive it
// installs from that file, else it fetches from the first source that works.
func (i *installer) install(ctx context.Context, archive string) error {
	origin, err := i.verify()
	switch {
	case err == nil:
		fmt.Fprintf(i.log, "setup: %s (from %s) is in place\n", i.title, origin)
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		fmt.Fprintf(i.log, "setup: replacing a wrong file: %v\n", err)
	}
	if err := os.MkdirAll(i.dir, 0o777); err != nil {
		return err
	}
	i.sweep(i.dir)
	if archive != "" {
		return i.unpack(archive)
	}
	temp, err := os.MkdirTemp(i.dir, downloads)
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	var failed []error
	for _, s := range i.sources {
		start := time.Now()
		err := s.fetch(ctx, temp, func() {
			fmt.Fprintf(i.log, "setup: fetching %s with %s (%d MB)\n", s.archive.Name, s.client, s.archive.Size/1_000_000)
		})
		if err == nil {
			if err = i.unpack(filepath.Join(temp, s.archive.Name)); err == nil {
				fmt.Fprintf(i.log, "setup: %s installed from %s in %.0f s\n", i.title, s.client, time.Since(start).Seconds())
				return nil
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		failed = append(failed, fmt.Errorf("%s: %w", s.client, err))
	}
	return fmt.Errorf("cannot get %s:\n%w\nEither mend one of these, or fetch %s elsewhere and install it with --archive, or set %s to a library of version %s or later",
		i.title, errors.Join(failed...), i.sources[0].archive.Name, ortlib.EnvVar, ortlib.MinVersion)
}

// sweep removes what a killed set-up left behind long ago.
func (i *installer) sweep(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		ours, _ := filepath.Match(downloads, e.Name())
		info, err := e.Info()
		if (ours || atomicfile.IsTemporary(e.Name())) && err == nil && time.Since(info.ModTime()) > 24*time.Hour {
			os.RemoveAll(filepath.Join(dir, e.Name()))
		}
	}
}

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

// installer puts one platform's library at path.
type installer struct {
	platform ortlib.Platform
	npm      ortlib.File // the npm package
	path     string
	log      io.Writer
}

// downloads is the pattern of the temporary folders beside the library.
const downloads = ".download-*"

// install does nothing where the library is there and right. With archive it
// installs from that file, else it fetches: by npm, and where that does not
// work by pip.
func (i *installer) install(ctx context.Context, archive string) error {
	origin, err := i.platform.Verify(i.path)
	switch {
	case err == nil:
		fmt.Fprintf(i.log, "setup: ONNX Runtime %s (from %s) is in place\n", ortlib.Version, origin)
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		fmt.Fprintf(i.log, "setup: replacing a wrong file: %v\n", err)
	}
	dir := filepath.Dir(i.path)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	i.sweep(dir)
	if archive != "" {
		return i.unpack(archive)
	}
	temp, err := os.MkdirTemp(dir, downloads)
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	var failed []error
	for _, client := range clients {
		start := time.Now()
		file, err := client.fetch(ctx, i, temp)
		if err == nil {
			if err = i.unpack(file); err == nil {
				fmt.Fprintf(i.log, "setup: ONNX Runtime %s installed from %s in %.0f s\n", ortlib.Version, client.name, time.Since(start).Seconds())
				return nil
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		failed = append(failed, fmt.Errorf("%s: %w", client.name, err))
	}
	return fmt.Errorf("cannot get ONNX Runtime %s:\n%w\nEither mend one of these, or fetch %s elsewhere and install it with --archive, or set %s to a library of version %s or later",
		ortlib.Version, errors.Join(failed...), i.npm.Name, ortlib.EnvVar, ortlib.MinVersion)
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

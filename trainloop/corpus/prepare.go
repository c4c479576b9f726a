package corpus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"march/graphgen/atomicfile"
	"march/trainloop/folderlock"
)

// stagingPrefix begins the name of the folder, inside the one to make, where files are written
// before all of them take their places.
const stagingPrefix = ".prepare-"

// Prepare makes the folder o.Out, replacing what was prepared there before. Text is read up to
// four times (to find duplicates, to choose held-out documents, to train the tokenizer, to encode) and
// never held in memory; the result does not depend on the number of cores. Special tokens that stand in the
// text are read as the ordinary characters they are spelled with.
//
// When it fails or is stopped, what was there before is still there, but for a moment at the end
// when the folder holds no data. Of several at once in one folder each waits for the one before;
// one that finds its own work done by then returns that.
func Prepare(ctx context.Context, o PrepareOptions) (*Info, error) {
	p, err := o.plan()
	if err != nil {
		return nil, err
	}
	unlock, waited, err := prepareFolder(ctx, o.Out)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if waited {
		if ok, _ := p.matches(o.Out); ok {
			return ReadInfo(o.Out)
		}
	}
	staging, err := os.MkdirTemp(o.Out, stagingPrefix)
	if err != nil {
		return nil, fmt.Errorf("corpus: %w", err)
	}
	defer os.RemoveAll(staging)
	m := &maker{plan: p, staging: staging, shardTokens: maxShardTokens, pieceSize: pieceSize}
	info, err := m.build(ctx)
	if err != nil {
		return nil, err
	}
	if err := publish(o.Out, staging, info); err != nil {
		return nil, err
	}
	return info, nil
}

// prepareFolder makes a folder to prepare into, keeps others out of it until unlock, and clears what killed
// preparations left.
func prepareFolder(ctx context.Context, dir string) (unlock func(), waited bool, err error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, false, fmt.Errorf("corpus: %w", err)
	}
	// Where nothing can be locked, two preparations at once end in an error or in data that Open refuses, never in
	// wrong data: data.json has the checksums of one of them.
	if unlock, waited, err = folderlock.Wait(ctx, dir); err != nil {
		return nil, false, fmt.Errorf("corpus: %w", err)
	}
	if err := removeStaging(dir); err != nil {
		unlock()
		return nil, false, err
	}
	return unlock, waited, nil
}

// removeStaging removes what killed preparations left. The caller holds the lock.
func removeStaging(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("corpus: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), stagingPrefix) {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return fmt.Errorf("corpus: %w", err)
			}
		}
	}
	return nil
}

// publish moves the files into their places. From the removal of the old data.json to the writing
// of the new one the folder holds no data, so that a mixture is never taken for any.
func publish(dir, staging string, info *Info) error {
	data, err := json.MarshalIndent(info, "", "  ")
	if err != nil {
		return fmt.Errorf("corpus: %w", err)
	}
	if err := os.Remove(filepath.Join(dir, infoFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("corpus: %w", err)
	}
	files := append([]string{tokenizerFile}, shardFiles(info)...)
	fresh := map[string]bool{}
	for _, name := range files {
		fresh[name] = true
		if err := os.Rename(filepath.Join(staging, name), filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("corpus: %w", err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("corpus: %w", err)
	}
	for _, e := range entries { // shards of larger data that was here before
		if shardName.MatchString(e.Name()) && !fresh[e.Name()] {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return fmt.Errorf("corpus: %w", err)
			}
		}
	}
	if err := atomicfile.WriteFile(filepath.Join(dir, infoFile), append(data, '\n')); err != nil {
		return fmt.Errorf("corpus: %w", err)
	}
	return nil
}

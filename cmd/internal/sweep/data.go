package sweep

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"march/trainloop/corpus"
	"march/trainloop/stories"
)

// The embedded corpus: simple English stories that package stories makes.
const (
	embeddedSeed       = 1
	embeddedTrainBytes = 3 << 20
	embeddedValidBytes = 100 << 10
)

// EmbeddedName is the embedded corpus in tables.
const EmbeddedName = "grammar"

// Embedded prepares the embedded corpus in dir, unless it lies there already, with a
// vocabulary of at most vocab tokens.
func Embedded(ctx context.Context, dir string, vocab int) (*corpus.Info, error) {
	return corpus.Prepare(ctx, EmbeddedOptions(dir, vocab))
}

// EmbeddedOptions say how the embedded corpus is prepared.
func EmbeddedOptions(dir string, vocab int) corpus.PrepareOptions {
	return corpus.PrepareOptions{
		Texts:      stories.Documents(embeddedSeed, stories.Train, embeddedTrainBytes),
		ValidTexts: stories.Documents(embeddedSeed, stories.Valid, embeddedValidBytes),
		Out:        dir, VocabSize: vocab,
		Source: fmt.Sprintf("march's embedded corpus, version %s, seed %d, %d bytes", stories.Version, embeddedSeed, embeddedTrainBytes),
	}
}

// CacheDir is the folder in the user's cache that holds the embedded corpus for a
// vocabulary, under the corpus's version.
func CacheDir(vocab int) (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no folder for the embedded corpus: %w (--data names one that march data prepare --embedded made)", err)
	}
	return filepath.Join(base, "march", "data", fmt.Sprintf("grammar-%s-%d-%d", stories.Version, embeddedTrainBytes, vocab)), nil
}

// OpenData opens a prepared folder, or the embedded corpus with dir "", which is prepared
// first where the cache does not hold it.
func OpenData(ctx context.Context, dir string, vocab int, note func(string)) (*corpus.Dataset, string, error) {
	if dir != "" {
		d, err := corpus.Open(dir)
		return d, filepath.Base(filepath.Clean(dir)), err
	}
	dir, err := CacheDir(vocab)
	if err != nil {
		return nil, "", err
	}
	if d, err := corpus.Open(dir); err == nil {
		return d, EmbeddedName, nil
	}
	note(fmt.Sprintf("preparing the embedded corpus in %s", dir))
	if _, err := Embedded(ctx, dir, vocab); err != nil {
		return nil, "", err
	}
	d, err := corpus.Open(dir)
	return d, EmbeddedName, err
}

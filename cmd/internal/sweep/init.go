package sweep

import (
	"fmt"

	"march/trainloop"
	"march/variants/export"
)

// imported are the start values of a cell that has them from elsewhere, which the settings then name; nil where they are
// the seed's.
func (l *Lab) imported(c Cell, s *trainloop.Settings) (*export.Imported, error) {
	if c.Init == "" {
		return nil, nil
	}
	from, err := export.Import(c.Init, c.Variant.Config)
	if err != nil {
		return nil, fmt.Errorf("start values: %w", err)
	}
	s.Init = from.SHA256
	if from.Tokenizer == nil {
		return from, nil
	}
	if have, want := l.Data.Info().TokenizerSHA256, from.Tokenizer.SHA256(); have != want {
		return nil, fmt.Errorf("start values: %s has another tokenizer (sha256 %.12s…) than the data (%.12s…): prepare the data with --tokenizer %[1]s/%s", c.Init, want, have, TokenizerFile)
	}
	return from, nil
}

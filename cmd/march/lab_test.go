package main

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
)

// TestOpenData: data are opened beside something else, and where that fails, what is not done is given up.
func TestOpenData(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	noted := make(chan struct{}, 1)
	o := openData(t.Context(), "", 400, func(string, ...any) { noted <- struct{}{} })
	<-noted // the cache is empty: the embedded corpus is being prepared
	if o.close(); !errors.Is(o.err, context.Canceled) || o.data != nil {
		t.Errorf("given up: %v, %v", o.data, o.err)
	}
	o = openData(t.Context(), filepath.Join(t.TempDir(), "nothing"), 400, t.Logf)
	if o.close(); o.err == nil {
		t.Error("a folder that is not there was opened")
	}
}

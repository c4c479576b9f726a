package launch

import (
	"os"
	"path/filepath"
	"testing"
)

// TestChoices: a choice comes back for its product, GPU and version alone, and not from a damaged file.
func TestChoices(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	on := Options{GPU: "A", Capability: "9.0"}
	c := choicesOn(on, 130000)
	if got := c.read("p"); got != (algorithm{}) {
		t.Fatalf("an empty cache gives %v", got)
	}
	want := algorithm{1, 2, 3, 63: 4}
	c.keep("p", want)
	if got := c.read("p"); got != want {
		t.Fatalf("got %v, wanted %v", got, want)
	}
	others := map[string]choices{
		"another GPU": choicesOn(Options{GPU: "B", Capability: "9.0"}, 130000), "another version": choicesOn(on, 130001),
		"a deterministic device": choicesOn(Options{GPU: "A", Capability: "9.0", Deterministic: true}, 130000),
	}
	for name, other := range others {
		if got := other.read("p"); got != (algorithm{}) {
			t.Errorf("%s: %v", name, got)
		}
	}
	if got := c.read("q"); got != (algorithm{}) {
		t.Errorf("another product: %v", got)
	}
	deterministic := others["a deterministic device"]
	deterministic.keep("p", algorithm{9})
	if got := c.read("p"); got != want {
		t.Errorf("a deterministic device replaced it by %v", got)
	}

	whole, err := os.ReadFile(c.file("p"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		damaged := append([]byte{}, whole...)
		damaged[i] ^= 1
		if err := os.WriteFile(c.file("p"), damaged, 0o666); err != nil {
			t.Fatal(err)
		}
		if got := c.read("p"); got != (algorithm{}) {
			t.Fatalf("byte %d was changed, and it gives %v", i, got)
		}
		if err := os.WriteFile(c.file("p"), whole[:i], 0o666); err != nil {
			t.Fatal(err)
		}
		if got := c.read("p"); got != (algorithm{}) {
			t.Fatalf("cut to %d bytes it gives %v", i, got)
		}
	}
	// A file that was copied to another product's name is none either.
	if err := os.WriteFile(c.file("q"), whole, 0o666); err != nil {
		t.Fatal(err)
	}
	if got := c.read("q"); got != (algorithm{}) {
		t.Errorf("another product's file gives %v", got)
	}
	if files, _ := filepath.Glob(filepath.Join(c.dir, "*")); len(files) != 2 {
		t.Errorf("the cache holds %v", files)
	}
}

//go:build linux

package trainloop

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// On a disk that is full, and on one that can only be read, saving fails with a clear error, what was saved
// is whole, and saving works again once there is room.
func TestFullDisk(t *testing.T) {
	disk := t.TempDir()
	if err := syscall.Mount("march-test", disk, "tmpfs", 0, "size=128k"); err != nil {
		t.Skipf("a small file system cannot be mounted here: %v", err)
	}
	defer syscall.Unmount(disk, syscall.MNT_DETACH)
	saveSmall(t, disk, 1, nil)
	intact := func(what string, step int64) {
		t.Helper()
		c, err := Latest(disk, func(text string) { t.Errorf("%s: %s", what, text) })
		if err != nil || c == nil || c.Step != step || checkSmall(c) != nil {
			t.Fatalf("%s: %+v, %v", what, c, err)
		}
	}
	saved, failed := int64(1), 0
	// Room for none of a checkpoint, for a part, for nearly all of it.
	for filler := 100 << 10; filler > 60<<10; filler -= 4 << 10 {
		path := filepath.Join(disk, "filler")
		// It takes what there is where there is less.
		os.WriteFile(path, make([]byte, filler), 0o666)
		next := saved + 1
		if err := saveCheckpoint(disk, State{Step: next, Tokens: 100 * next}, smallFiles(next), keepLast); err == nil {
			saved = next
		} else if failed++; !strings.Contains(err.Error(), "no space left on device") || !strings.Contains(err.Error(), checkpointsDir) {
			t.Errorf("error %v, want one that says so and where", err)
		}
		intact("full disk", saved)
		os.Remove(path)
	}
	if failed < 5 {
		t.Errorf("the disk was full %d times", failed)
	}
	saved++
	saveSmall(t, disk, saved, nil)
	intact("room again", saved)

	if err := syscall.Mount("", disk, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Skipf("cannot be made read-only: %v", err)
	}
	err := saveCheckpoint(disk, State{Step: saved + 1}, smallFiles(saved+1), keepLast)
	if err == nil || !strings.Contains(err.Error(), "read-only file system") {
		t.Errorf("read-only: error %v", err)
	}
	intact("read-only", saved)
	if err := syscall.Mount("", disk, "", syscall.MS_REMOUNT, ""); err != nil {
		t.Fatal(err)
	}
	saveSmall(t, disk, saved+1, nil)
	intact("writable again", saved+1)
}

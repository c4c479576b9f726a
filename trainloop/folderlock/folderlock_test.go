package folderlock

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A lock keeps others out while its process lives, names it, and is gone when it is killed.
func TestLockEndsWithItsProcess(t *testing.T) {
	if dir := os.Getenv("MARCH_TEST_HOLD_LOCK"); dir != "" {
		if _, err := Try(dir); err != nil {
			t.Fatal(err)
		}
		os.Stdout.WriteString("held\n")
		time.Sleep(time.Minute)
		return
	}
	if runtime.GOOS != "linux" && runtime.GOOS != "darwin" {
		t.Skip("nothing is locked on " + runtime.GOOS)
	}
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestLockEndsWithItsProcess$")
	cmd.Env = append(os.Environ(), "MARCH_TEST_HOLD_LOCK="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	_, err = Try(dir)
	var held *HeldError
	if !errors.As(err, &held) || held.Dir != dir || !strings.HasPrefix(held.By, "process "+strconv.Itoa(cmd.Process.Pid)) {
		t.Errorf("of another process: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 120*time.Millisecond)
	defer cancel()
	if _, _, err := Wait(ctx, dir); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	unlock, err := Try(dir)
	if err != nil {
		t.Fatalf("after a kill: %v", err)
	}
	if _, err := Try(dir); !errors.As(err, &held) {
		t.Errorf("twice in one process: %v", err)
	}
	go func() {
		time.Sleep(80 * time.Millisecond)
		unlock()
	}()
	unlock, waited, err := Wait(t.Context(), dir)
	if err != nil || !waited {
		t.Fatalf("waited %v, %v", waited, err)
	}
	unlock()
}

// What is no folder, or cannot be written to, is an error that names it.
func TestNoFolder(t *testing.T) {
	if _, err := Try(t.TempDir() + "/none"); err == nil || !strings.Contains(err.Error(), "none/"+File) {
		t.Errorf("%v", err)
	}
}

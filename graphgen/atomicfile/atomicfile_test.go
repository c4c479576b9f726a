//go:build unix

package atomicfile

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The test binary runs itself as a child for what cannot be done to the test process: hitting the
// kernel's file size limit, and being killed.
const childMode = "ATOMICFILE_TEST_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(childMode) {
	case "":
		os.Exit(m.Run())
	case "limit":
		childLimit(os.Args[1])
	case "loop":
		childLoop(os.Args[1])
	}
}

func child(mode, path string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], path)
	cmd.Env = append(os.Environ(), childMode+"="+mode)
	return cmd
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func wantFile(t *testing.T, path, content string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != content {
		t.Fatalf("%s holds %q, want %q", path, got, content)
	}
}

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.json")
	for _, content := range []string{"first", "", "a longer second"} {
		if err := WriteFile(path, []byte(content)); err != nil {
			t.Fatal(err)
		}
		wantFile(t, path, content)
	}
	if got := names(t, dir); len(got) != 1 {
		t.Fatalf("folder holds %v, want a.json alone", got)
	}
}

func TestMode(t *testing.T) {
	old := syscall.Umask(0o027)
	defer syscall.Umask(old)
	path := filepath.Join(t.TempDir(), "a")
	check := func(want fs.FileMode) {
		t.Helper()
		if err := WriteFile(path, nil); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != want {
			t.Fatalf("mode %v, want %v", info.Mode().Perm(), want)
		}
	}
	check(0o640)
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
	check(0o755)
}

func TestSymbolicLink(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	target, link := filepath.Join(other, "real"), filepath.Join(dir, "link")
	if err := os.Symlink(target, link); err != nil {
		t.Skip("no symbolic links here:", err)
	}
	if err := WriteFile(link, []byte("x")); err == nil || !strings.Contains(err.Error(), "leads nowhere") {
		t.Fatalf("dangling link: %v", err)
	}
	if err := os.WriteFile(target, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(link, []byte("new")); err != nil {
		t.Fatal(err)
	}
	wantFile(t, target, "new")
	if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Fatalf("the link was replaced: %v %v", info, err)
	}
}

func TestCommitAndAbort(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	if err := WriteFile(path, []byte("old")); err != nil {
		t.Fatal(err)
	}
	f, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(f, "half")
	wantFile(t, path, "old") // nothing is seen before Commit
	if got := names(t, dir); len(got) != 2 || IsTemporary(got[0]) == IsTemporary(got[1]) {
		t.Fatalf("folder holds %v, want the file and one temporary", got)
	}
	f.Abort()
	f.Abort()
	wantFile(t, path, "old")
	if err := f.Commit(); err == nil {
		t.Fatal("Commit after Abort succeeded")
	}

	if f, err = Create(path); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(f, "new")
	if err := f.Commit(); err != nil {
		t.Fatal(err)
	}
	f.Abort() // as deferred
	wantFile(t, path, "new")
	if _, err := f.Write([]byte("x")); err == nil {
		t.Fatal("Write after Commit succeeded")
	}
	if err := f.Commit(); err == nil {
		t.Fatal("second Commit succeeded")
	}
	if got := names(t, dir); len(got) != 1 {
		t.Fatalf("folder holds %v, want a alone", got)
	}
}

func TestTwoWriters(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	a, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(a, "from a")
	fmt.Fprint(b, "b")
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	wantFile(t, path, "b")
	if err := a.Commit(); err != nil {
		t.Fatal(err)
	}
	wantFile(t, path, "from a")
}

func TestErrors(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	locked := filepath.Join(dir, "locked")
	if err := os.Mkdir(locked, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(locked, 0o555); err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name, path, want string
		is               error
	}{
		{"empty name", "", "empty file name", nil},
		{"folder", dir, "is a folder", nil},
		{"device", os.DevNull, "not a regular file", nil},
		{"missing folder", filepath.Join(dir, "no", "a"), "in folder " + filepath.Join(dir, "no"), fs.ErrNotExist},
		{"file as folder", filepath.Join(plain, "a"), "not a directory", nil},
		{"read-only folder", filepath.Join(locked, "a"), "in folder " + locked, fs.ErrPermission},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if c.is == fs.ErrPermission && os.Geteuid() == 0 {
				t.Skip("the superuser may write to a read-only folder")
			}
			err := WriteFile(c.path, []byte("x"))
			if err == nil {
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), "write "+c.path+": ") || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %q, want the path and %q", err, c.want)
			}
			if c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("error %q is not %v", err, c.is)
			}
			if strings.Contains(err.Error(), infix) {
				t.Errorf("error %q names the temporary", err)
			}
		})
	}
	if got := names(t, dir); len(got) != 2 {
		t.Errorf("folder holds %v: something was left behind", got)
	}
}

func TestRenameFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	f, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(f, "x")
	if err := os.Mkdir(path, 0o755); err != nil { // a folder took the name meanwhile
		t.Fatal(err)
	}
	if err := f.Commit(); err == nil || !strings.Contains(err.Error(), path) {
		t.Fatalf("Commit: %v", err)
	}
	if got := names(t, dir); len(got) != 1 || got[0] != "a" {
		t.Fatalf("folder holds %v: something was left behind", got)
	}
}

// childLimit writes one MiB where the kernel allows 64 KiB, which fails part-way as a full disk does.
func childLimit(path string) {
	signal.Ignore(syscall.SIGXFSZ)
	limit := syscall.Rlimit{Cur: 64 << 10, Max: 64 << 10}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		fmt.Print("setrlimit: ", err)
		return
	}
	f, err := Create(path)
	if err != nil {
		fmt.Print(err)
		return
	}
	_, writeErr := f.Write(make([]byte, 1<<20))
	fmt.Printf("write: %v\ncommit: %v\nwhole: %v\n", writeErr, f.Commit(), WriteFile(path, make([]byte, 1<<20)))
}

func TestFailedWriteKeepsOldFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	if err := WriteFile(path, []byte("old")); err != nil {
		t.Fatal(err)
	}
	out, err := child("limit", path).CombinedOutput()
	if err != nil {
		t.Fatalf("child: %v\n%s", err, out)
	}
	for _, prefix := range []string{"write: ", "commit: ", "whole: "} {
		if want := prefix + "write " + path + ": file too large"; !strings.Contains(string(out), want) {
			t.Errorf("child printed %q, want %q in it", out, want)
		}
	}
	wantFile(t, path, "old")
	if got := names(t, dir); len(got) != 1 {
		t.Errorf("folder holds %v: a temporary was left behind", got)
	}
}

func version(i int) []byte {
	return bytes.Repeat([]byte{byte('a' + i%26)}, 100_000+i%26)
}

func childLoop(path string) {
	for i := 0; ; i++ {
		if err := WriteFile(path, version(i)); err != nil {
			fmt.Print(err)
			os.Exit(1)
		}
	}
}

func TestKilledWriter(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	if err := WriteFile(path, version(0)); err != nil {
		t.Fatal(err)
	}
	whole := func() {
		t.Helper()
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) == 0 || !bytes.Equal(got, version(int(got[0]-'a'))) {
			t.Fatalf("read a part: %d bytes", len(got))
		}
	}
	for round := range 5 {
		cmd := child("loop", path)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for stop := time.Now().Add(time.Duration(20+7*round) * time.Millisecond); time.Now().Before(stop); {
			whole()
		}
		cmd.Process.Kill()
		cmd.Wait()
		whole()
	}
	for _, name := range names(t, dir) {
		if name != "a" && !IsTemporary(name) {
			t.Errorf("%s is neither the file nor a temporary", name)
		}
	}
}

func TestIsTemporary(t *testing.T) {
	dir := t.TempDir()
	long := strings.Repeat("x", 255)
	f, err := Create(filepath.Join(dir, long))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Abort()
	if got := names(t, dir); len(got) != 1 || !IsTemporary(got[0]) || !IsTemporary(filepath.Join(dir, got[0])) {
		t.Errorf("%v is not recognised", got)
	}
	for _, name := range []string{"", ".", "run.json", ".run.json", "a.march-tmp-0123456789ab", ".a.march-tmp-0123", ".a.march-tmp-0123456789xy", ".march-tmp-0123456789ab"} {
		if IsTemporary(name) {
			t.Errorf("%q is taken for a temporary", name)
		}
	}
}

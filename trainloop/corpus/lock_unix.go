//go:build linux || darwin

package corpus

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// lockDir keeps other preparations, of this process or another, out of a folder until unlock is
// called or the process ends, however it ends. waited says whether another one was in it.
func lockDir(ctx context.Context, dir string) (unlock func(), waited bool, err error) {
	path := filepath.Join(dir, ".lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, false, fmt.Errorf("corpus: %w", err)
	}
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return func() { f.Close() }, waited, nil // closing lets go of the lock
		case errors.Is(err, syscall.EINTR):
			continue
		case !errors.Is(err, syscall.EWOULDBLOCK):
			f.Close()
			return nil, false, fmt.Errorf("corpus: lock %s: %w", path, err)
		}
		waited = true
		select {
		case <-ctx.Done():
			f.Close()
			return nil, false, context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

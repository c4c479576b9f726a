//go:build linux || darwin

package folderlock

import (
	"errors"
	"os"
	"syscall"
)

// lock tries to lock an open file; ok is false where somebody else has it.
func lock(f *os.File) (ok bool, err error) {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EWOULDBLOCK):
			return false, nil
		case errors.Is(err, syscall.ENOSYS), errors.Is(err, syscall.ENOTSUP), errors.Is(err, syscall.ENOLCK):
			return true, nil // a network's file system without locks: better unlocked than of no use
		}
		return err == nil, err
	}
}

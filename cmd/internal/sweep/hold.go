package sweep

import (
	"context"
	"errors"
	"fmt"
	"os"

	"march/trainloop/folderlock"
)

// hold makes a run's folder and keeps other processes from training in it until release is called, or this one ends.
func hold(run string) (release func(), err error) {
	if err := os.MkdirAll(run, 0o777); err != nil {
		return nil, err
	}
	release, err = folderlock.Try(run)
	var held *folderlock.HeldError
	if errors.As(err, &held) {
		return nil, fmt.Errorf("%w, which trains there: wait until that is done, or choose another --out", err)
	}
	return release, err
}

// await is hold for somebody who has a run's record to change and can wait until another process is done with it.
func (l *Lab) await(ctx context.Context, run string) (release func(), err error) {
	release, err = folderlock.Try(run)
	var held *folderlock.HeldError
	if !errors.As(err, &held) {
		return release, err
	}
	if l.Progress.Note != nil {
		l.Progress.Note(Cell{Dir: run}, fmt.Sprintf("waiting to put the scores into the record: %v", err))
	}
	release, _, err = folderlock.Wait(ctx, run)
	return release, err
}

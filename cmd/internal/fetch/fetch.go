package fetch

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"march/graphgen/atomicfile"
)

// LockName is the file in a data set's folder that says what was downloaded. A file that has no pinned sha256 is checked
// against the one that its first download left here.
const LockName = "fetched.json"

// partial is the ending of a file that is not whole yet.
const partial = ".part"

// Client downloads. The zero value is ready to use.
type Client struct {
	HTTP   *http.Client
	Mirror string // an address whose MIRROR/DATASET/FILE are taken in place of the files' own; empty: none
	// Pause is how long the first of the retries waits, and each further one twice as long; 0: a second.
	Pause time.Duration
	// Stall is how long nothing may come, from the request on, until the connection is given up and tried again; 0: a minute.
	Stall time.Duration
	// Progress is told how much of a file is there; total is 0 where that is not known.
	Progress func(file string, done, total int64)
	// Note is told of what went wrong and is tried again.
	Note func(text string)
}

// Outcome is what became of a file.
type Outcome struct {
	File
	Was string `json:"was"` // "downloaded", "resumed" or "there"
}

// tries is how often a file is asked for in a row without a byte of it coming.
const tries = 5

// errGone is of answers that another try would not change.
var errGone = errors.New("not to be had")

// Fetch brings a data set's files into a folder. What is there and right stays; a file that broke off goes on where it
// stopped. Files get their names once they are whole and checked.
func (c *Client) Fetch(ctx context.Context, d Dataset, dir string) ([]Outcome, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	lock, err := readLock(dir)
	if err != nil {
		return nil, err
	}
	var list []Outcome
	for _, f := range d.Files {
		pinned := f
		if was, ok := lock[f.Name]; ok && f.SHA256 == "" {
			pinned.SHA256, pinned.Size = was.SHA256, was.Size
		}
		o, err := c.file(ctx, d, pinned, dir)
		if err != nil {
			return list, fmt.Errorf("%s: %w", f.Name, err)
		}
		list = append(list, o)
		if lock[f.Name] != o.File {
			lock[f.Name] = o.File
			if err := writeLock(dir, lock); err != nil {
				return list, err
			}
		}
	}
	return list, nil
}

// file brings one file.
func (c *Client) file(ctx context.Context, d Dataset, f File, dir string) (Outcome, error) {
	path := filepath.Join(dir, f.Name)
	size, digest, err := sum(ctx, path)
	switch {
	case err == nil && f.SHA256 == "":
		// It is not known what it should be, but it got its name by being whole.
		f.Size, f.SHA256 = size, digest
		return Outcome{f, "there"}, nil
	case err == nil && digest == f.SHA256:
		f.Size = size
		return Outcome{f, "there"}, nil
	case err == nil:
		return Outcome{}, fmt.Errorf("%s is there and is another file: sha256 %s, wanted %s; move it away or choose another --out", path, digest, f.SHA256)
	case !errors.Is(err, fs.ErrNotExist):
		return Outcome{}, err
	}
	address := f.URL
	if c.Mirror != "" {
		if address, err = url.JoinPath(c.Mirror, d.Name, f.Name); err != nil {
			return Outcome{}, fmt.Errorf("mirror %s: %w", c.Mirror, err)
		}
	}
	part := path + partial
	was := "downloaded"
	if stat, err := os.Stat(part); err == nil && stat.Size() > 0 {
		was = "resumed"
	}
	if err := c.download(ctx, address, f, part); err != nil {
		return Outcome{}, err
	}
	size, digest, err = sum(ctx, part)
	if err != nil {
		return Outcome{}, err
	}
	if f.Size > 0 && size != f.Size || f.SHA256 != "" && digest != f.SHA256 {
		if err := os.Remove(part); err != nil {
			return Outcome{}, err
		}
		return Outcome{}, fmt.Errorf("%s gave %d bytes with sha256 %s, wanted %d with %s: it is not the file that is pinned, and was deleted", address, size, digest, f.Size, f.SHA256)
	}
	f.Size, f.SHA256 = size, digest
	return Outcome{f, was}, os.Rename(part, path)
}

// download fills a partial file, going on after what breaks off as long as something comes.
func (c *Client) download(ctx context.Context, address string, f File, part string) error {
	pause := cmp.Or(c.Pause, time.Second)
	failed := 0
	for {
		before := sizeOf(part)
		err := c.once(ctx, address, f, part)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if errors.Is(err, errGone) {
			return err
		}
		if sizeOf(part) > before {
			failed = 0
		}
		if failed++; failed == tries {
			return fmt.Errorf("%w (after %d tries; what came so far is kept, and another call goes on with it)", err, tries)
		}
		if c.Note != nil {
			c.Note(fmt.Sprintf("%s: %v; trying again", f.Name, err))
		}
		select {
		case <-time.After(pause << (failed - 1)):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func sizeOf(path string) int64 {
	stat, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return stat.Size()
}

// once asks for what a partial file lacks.
func (c *Client) once(ctx context.Context, address string, f File, part string) (err error) {
	have := sizeOf(part)
	if f.Size > 0 && have > f.Size {
		have = 0 // another file's
	}
	if f.Size > 0 && have == f.Size {
		return nil
	}
	limit := cmp.Or(c.Stall, time.Minute)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stall := time.AfterFunc(limit, func() { cancel(fmt.Errorf("nothing came for %v", limit)) })
	defer stall.Stop()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return fmt.Errorf("%w: %w", errGone, err)
	}
	r.Header.Set("User-Agent", "march")
	r.Header.Set("Accept-Encoding", "identity") // sizes and ranges are of the file itself
	if have > 0 {
		r.Header.Set("Range", fmt.Sprintf("bytes=%d-", have))
	}
	answer, err := cmp.Or(c.HTTP, http.DefaultClient).Do(r)
	if err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("%s: %w", address, context.Cause(ctx))
		}
		return err
	}
	defer answer.Body.Close()
	stall.Reset(limit)
	total := f.Size
	switch code := answer.StatusCode; {
	case code == http.StatusOK:
		have = 0 // the whole file, also where a part was asked for
		total = cmp.Or(total, max(0, answer.ContentLength))
	case code == http.StatusPartialContent && have > 0:
		first, whole, ok := contentRange(answer.Header.Get("Content-Range"))
		if !ok || first != have {
			return fmt.Errorf("%w: %s was asked for bytes from %d on and answers with %q", errGone, address, have, answer.Header.Get("Content-Range"))
		}
		total = cmp.Or(total, whole)
	case code == http.StatusRequestedRangeNotSatisfiable && have > 0:
		if _, whole, ok := contentRange(answer.Header.Get("Content-Range")); ok && whole == have {
			return nil // it was whole already
		}
		if err := os.Remove(part); err != nil {
			return err
		}
		return fmt.Errorf("%s has no bytes from %d on: beginning again", address, have)
	case code == http.StatusTooManyRequests || code == http.StatusRequestTimeout || code >= 500:
		return fmt.Errorf("%s answers %s", address, answer.Status)
	default:
		return fmt.Errorf("%w: %s answers %s", errGone, address, answer.Status)
	}
	flags := os.O_CREATE | os.O_WRONLY
	if have == 0 {
		flags |= os.O_TRUNC
	}
	file, err := os.OpenFile(part, flags, 0o666)
	if err != nil {
		return fmt.Errorf("%w: %w", errGone, err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if _, err := file.Seek(have, io.SeekStart); err != nil {
		return err
	}
	w := &counter{file: file, done: have, tell: func(done int64) {
		stall.Reset(limit)
		if c.Progress != nil {
			c.Progress(f.Name, done, total)
		}
	}}
	body := io.Reader(answer.Body)
	if total > 0 {
		body = io.LimitReader(body, total-have+1) // one byte more shows that it is another file
	}
	if _, err := io.Copy(w, body); err != nil {
		if w.failed != nil {
			return fmt.Errorf("%w: %w", errGone, w.failed)
		}
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return fmt.Errorf("%s broke off after %d bytes: %w", address, w.done, err)
	}
	switch {
	case total > 0 && w.done > total:
		return nil // which the check of the whole says
	case total > 0 && w.done < total:
		return fmt.Errorf("%s broke off after %d of %d bytes", address, w.done, total)
	}
	return file.Sync()
}

// contentRange reads "bytes 5-9/10", and "bytes */10", whose first is −1.
func contentRange(text string) (first, whole int64, ok bool) {
	text, ok = strings.CutPrefix(text, "bytes ")
	span, size, cut := strings.Cut(text, "/")
	if !ok || !cut {
		return 0, 0, false
	}
	first = -1
	if from, _, dash := strings.Cut(span, "-"); dash {
		n, err := strconv.ParseInt(from, 10, 64)
		if err != nil {
			return 0, 0, false
		}
		first = n
	}
	whole, err := strconv.ParseInt(size, 10, 64)
	if err != nil {
		whole = 0 // "*": not known
	}
	return first, whole, true
}

// counter counts what is written.
type counter struct {
	file   *os.File
	done   int64
	failed error
	tell   func(int64)
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.file.Write(p)
	c.done += int64(n)
	c.failed = err
	c.tell(c.done)
	return n, err
}

// sum gives a file's size and sha256.
func sum(ctx context.Context, path string) (int64, string, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, "", err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, readerFunc(func(p []byte) (int, error) {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		return f.Read(p)
	}))
	return n, hex.EncodeToString(h.Sum(nil)), err
}

type readerFunc func([]byte) (int, error)

func (r readerFunc) Read(p []byte) (int, error) { return r(p) }

func readLock(dir string) (map[string]File, error) {
	lock := map[string]File{}
	path := filepath.Join(dir, LockName)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return lock, nil
	}
	var list []File
	if err == nil {
		err = json.Unmarshal(text, &list)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w (it says what was downloaded here; without it, files of no pinned sha256 cannot be checked)", path, err)
	}
	for _, f := range list {
		lock[f.Name] = f
	}
	return lock, nil
}

func writeLock(dir string, lock map[string]File) error {
	var list []File
	for _, name := range slices.Sorted(maps.Keys(lock)) {
		list = append(list, lock[name])
	}
	text, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(filepath.Join(dir, LockName), append(text, '\n'))
}

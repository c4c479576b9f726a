package fetch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// host serves one text in some way that goes wrong, and notes what it was asked for.
type host struct {
	mu     sync.Mutex
	text   []byte
	asked  []string // Range of each request
	answer func(h *host, n int, w http.ResponseWriter, r *http.Request)
}

func (h *host) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	h.asked = append(h.asked, r.Header.Get("Range"))
	n := len(h.asked)
	h.mu.Unlock()
	h.answer(h, n, w, r)
}

// requests are the Ranges that were asked for.
func (h *host) requests() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.asked)
}

// well answers as a server should, ranges included.
func (h *host) well(w http.ResponseWriter, r *http.Request) {
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(h.text))
}

// cutting sends so many bytes of what it promises and hangs up.
func (h *host) cutting(bytes int, w http.ResponseWriter, r *http.Request) {
	from := 0
	if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); err == nil {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(h.text)-1, len(h.text)))
		w.Header().Set("Content-Length", fmt.Sprint(len(h.text)-from))
		w.WriteHeader(http.StatusPartialContent)
	} else {
		w.Header().Set("Content-Length", fmt.Sprint(len(h.text)))
	}
	w.Write(h.text[from:min(from+bytes, len(h.text))])
	w.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

// What becomes of a file of each kind of host: its bytes, what the folder keeps, and what the host was asked for.
func TestFetch(t *testing.T) {
	t.Parallel()
	text := []byte(strings.Repeat("It was a dark and stormy night. ", 4000)) // 128,000 bytes
	digest := fmt.Sprintf("%x", sha256.Sum256(text))
	well := func(h *host, _ int, w http.ResponseWriter, r *http.Request) { h.well(w, r) }
	for name, c := range map[string]struct {
		file    File // but for its name and URL
		part    int  // bytes that lie there from before
		answer  func(h *host, n int, w http.ResponseWriter, r *http.Request)
		was     string
		asked   []string
		problem string
		kept    int64 // of a part, after a problem
	}{
		"whole":                   {answer: well, was: "downloaded", asked: []string{""}},
		"pinned":                  {file: File{Size: 128000, SHA256: digest}, answer: well, was: "downloaded", asked: []string{""}},
		"resumed":                 {file: File{Size: 128000, SHA256: digest}, part: 50000, answer: well, was: "resumed", asked: []string{"bytes=50000-"}},
		"resumed, unpinned":       {part: 50000, answer: well, was: "resumed", asked: []string{"bytes=50000-"}},
		"all there but the name":  {file: File{Size: 128000, SHA256: digest}, part: 128000, answer: well, was: "resumed"},
		"all there, size unknown": {part: 128000, answer: well, was: "resumed", asked: []string{"bytes=128000-"}},
		"cut short twice": {file: File{Size: 128000, SHA256: digest}, was: "downloaded", asked: []string{"", "bytes=40000-", "bytes=80000-"},
			answer: func(h *host, n int, w http.ResponseWriter, r *http.Request) {
				if n < 3 {
					h.cutting(40000, w, r)
				}
				h.well(w, r)
			}},
		"cut short, size unknown": {was: "downloaded", asked: []string{"", "bytes=40000-"},
			answer: func(h *host, n int, w http.ResponseWriter, r *http.Request) {
				if n < 2 {
					h.cutting(40000, w, r)
				}
				h.well(w, r)
			}},
		"no ranges": {file: File{Size: 128000, SHA256: digest}, part: 50000, was: "resumed", asked: []string{"bytes=50000-"},
			answer: func(h *host, _ int, w http.ResponseWriter, _ *http.Request) { w.Write(h.text) }},
		"a range that was not asked for": {file: File{Size: 128000, SHA256: digest}, part: 50000, asked: []string{"bytes=50000-"}, problem: `was asked for bytes from 50000 on and answers with "bytes 0-127999/128000"`, kept: 50000,
			answer: func(h *host, _ int, w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Range", "bytes 0-127999/128000")
				w.WriteHeader(http.StatusPartialContent)
				w.Write(h.text)
			}},
		"busy at first": {was: "downloaded", asked: []string{"", "", ""},
			answer: func(h *host, n int, w http.ResponseWriter, r *http.Request) {
				if n < 3 {
					http.Error(w, "busy", http.StatusServiceUnavailable)
					return
				}
				h.well(w, r)
			}},
		"always busy": {asked: make([]string, 5), problem: "answers 503 Service Unavailable (after 5 tries",
			answer: func(_ *host, _ int, w http.ResponseWriter, _ *http.Request) {
				http.Error(w, "busy", http.StatusServiceUnavailable)
			}},
		"never a byte more": {part: 50000, kept: 50000, asked: []string{"bytes=50000-", "bytes=50000-", "bytes=50000-", "bytes=50000-", "bytes=50000-"}, problem: "broke off after 50000 bytes",
			answer: func(h *host, _ int, w http.ResponseWriter, r *http.Request) { h.cutting(0, w, r) }},
		"gone": {asked: []string{""}, problem: "answers 404 Not Found",
			answer: func(_ *host, _ int, w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }},
		"another file of this size": {file: File{Size: 128000, SHA256: strings.Repeat("0", 64)}, asked: []string{""}, answer: well, problem: "gave 128000 bytes with sha256 " + digest + ", wanted 128000 with 0000"},
		"a smaller file":            {file: File{Size: 128001, SHA256: digest}, asked: []string{"", "bytes=128000-"}, answer: well, problem: "gave 128000 bytes"},
		"a larger file":             {file: File{Size: 100000, SHA256: digest}, asked: []string{""}, answer: well, problem: "gave 100001 bytes"},
		"a part of another file":    {file: File{Size: 128000, SHA256: digest}, part: 130000, answer: well, was: "resumed", asked: []string{""}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := &host{text: text, answer: c.answer}
			server := httptest.NewServer(h)
			defer server.Close()
			dir := t.TempDir()
			path := filepath.Join(dir, "story.txt")
			if c.part > 0 {
				if err := os.WriteFile(path+partial, append(text, text...)[:c.part], 0o666); err != nil {
					t.Fatal(err)
				}
			}
			f := c.file
			f.Name, f.URL = "story.txt", server.URL+"/story.txt"
			client := &Client{Pause: time.Microsecond}
			list, err := client.Fetch(t.Context(), Dataset{Name: "x", Files: []File{f}}, dir)
			if got, want := fmt.Sprintf("%q", h.requests()), fmt.Sprintf("%q", c.asked); got != want {
				t.Errorf("asked for %s, wanted %s", got, want)
			}
			if c.problem != "" {
				if err == nil || !strings.Contains(err.Error(), c.problem) {
					t.Errorf("found %v, wanted %s", err, c.problem)
				}
				if _, err := os.Stat(path); err == nil {
					t.Error("there is a file all the same")
				}
				if got := sizeOf(path + partial); got != c.kept {
					t.Errorf("%d bytes are kept, wanted %d", got, c.kept)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(path)
			if err != nil || !bytes.Equal(got, text) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			if o := list[0]; o.Was != c.was || o.SHA256 != digest || o.Size != 128000 {
				t.Errorf("found %+v, wanted %s", o, c.was)
			}
			if _, err := os.Stat(path + partial); !errors.Is(err, os.ErrNotExist) {
				t.Error("a part is left")
			}
			// A second call asks for nothing; a file that was changed is not taken for it.
			n := len(h.requests())
			if list, err = client.Fetch(t.Context(), Dataset{Name: "x", Files: []File{f}}, dir); err != nil || list[0].Was != "there" || len(h.requests()) != n {
				t.Errorf("again: %+v, %v, %d requests", list, err, len(h.requests())-n)
			}
			if err := os.WriteFile(path, []byte("changed"), 0o666); err != nil {
				t.Fatal(err)
			}
			if _, err := client.Fetch(t.Context(), Dataset{Name: "x", Files: []File{f}}, dir); err == nil || !strings.Contains(err.Error(), "is there and is another file") {
				t.Errorf("a changed file: %v", err)
			}
		})
	}
}

// Of a file without a pinned digest the first download's is the one that later ones are checked against.
func TestLock(t *testing.T) {
	t.Parallel()
	h := &host{text: []byte("first"), answer: func(h *host, _ int, w http.ResponseWriter, r *http.Request) { h.well(w, r) }}
	server := httptest.NewServer(h)
	defer server.Close()
	dir, d := t.TempDir(), Dataset{Name: "x", Files: []File{{Name: "a.txt"}}}
	client := &Client{Mirror: server.URL + "/mirror"}
	if _, err := client.Fetch(t.Context(), d, dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "a.txt")); err != nil {
		t.Fatal(err)
	}
	h.text = []byte("other")
	if _, err := client.Fetch(t.Context(), d, dir); err == nil || !strings.Contains(err.Error(), "is not the file that is pinned") {
		t.Errorf("another file than at first: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, LockName), []byte("["), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Fetch(t.Context(), d, dir); err == nil || !strings.Contains(err.Error(), LockName) {
		t.Errorf("a broken lock: %v", err)
	}
}

// A connection that stays open with nothing coming is given up, before its answer and within it, and the file goes on.
func TestStalled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	h := &host{text: bytes.Repeat([]byte("still "), 10000), answer: func(h *host, n int, w http.ResponseWriter, r *http.Request) {
		switch n {
		case 1:
			w.Header().Set("Content-Length", fmt.Sprint(len(h.text)))
			w.Write(h.text[:20000])
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		case 2:
			<-r.Context().Done()
		default:
			h.well(w, r)
		}
	}}
	server := httptest.NewServer(h)
	defer server.Close()
	var notes []string
	client := &Client{Pause: time.Microsecond, Stall: 500 * time.Millisecond, Note: func(text string) { notes = append(notes, text) }}
	list, err := client.Fetch(ctx, Dataset{Name: "x", Files: []File{{Name: "a.txt", URL: server.URL}}}, t.TempDir())
	if err != nil || list[0].Size != 60000 {
		t.Fatalf("%+v, %v", list, err)
	}
	if got, want := fmt.Sprintf("%q", h.requests()), `["" "bytes=20000-" "bytes=20000-"]`; got != want {
		t.Errorf("asked for %s, wanted %s", got, want)
	}
	if len(notes) != 2 || !strings.Contains(notes[0], "broke off after 20000 bytes: nothing came for 500ms") || !strings.Contains(notes[1], ": nothing came for 500ms") {
		t.Errorf("noted %q", notes)
	}
}

// An interruption keeps what came, and another call goes on with it.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	text := bytes.Repeat([]byte("again "), 10000)
	stopped := errors.New("stopped by the user")
	ctx, cancel := context.WithCancelCause(t.Context())
	h := &host{text: text, answer: func(h *host, n int, w http.ResponseWriter, r *http.Request) {
		if n > 1 {
			h.well(w, r)
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(h.text)))
		w.Write(h.text[:20000])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}}
	server := httptest.NewServer(h)
	defer server.Close()
	dir, d := t.TempDir(), Dataset{Name: "x", Files: []File{{Name: "a.txt", URL: server.URL}}}
	client := &Client{Progress: func(_ string, done, _ int64) {
		if done == 20000 {
			cancel(stopped)
		}
	}}
	if _, err := client.Fetch(ctx, d, dir); !errors.Is(err, stopped) {
		t.Fatal(err)
	}
	if got := sizeOf(filepath.Join(dir, "a.txt"+partial)); got != 20000 {
		t.Errorf("%d bytes are kept, wanted 20000", got)
	}
	list, err := client.Fetch(t.Context(), d, dir)
	if err != nil || list[0].Was != "resumed" || h.requests()[1] != "bytes=20000-" {
		t.Errorf("%+v, %v, asked for %q", list, err, h.requests())
	}
}

// Every file has a pinned address, and a digest but where its data set says so.
func TestDatasets(t *testing.T) {
	t.Parallel()
	counts := map[string]int{"blimp": 67, "lambada": 3, "tinystories": 2, "wikitext103": 4, "babylm": 6}
	for _, d := range Datasets() {
		if len(d.Files) != counts[d.Name] || d.Licence == "" || d.About == "" || !strings.Contains(d.Use, "FOLDER") {
			t.Errorf("%s: %d files, wanted %d; %+v", d.Name, len(d.Files), counts[d.Name], d)
		}
		for _, f := range d.Files {
			if raw, err := hex.DecodeString(f.SHA256); d.Name != "babylm" && (err != nil || len(raw) != 32 || f.Size == 0) {
				t.Errorf("%s: %+v", d.Name, f)
			}
			if !strings.HasPrefix(f.URL, "https://") || !strings.HasSuffix(f.URL, "/"+f.Name) || strings.Contains(f.URL, "/main/") || strings.Contains(f.URL, "/master/") {
				t.Errorf("%s: %s is no pinned address", f.Name, f.URL)
			}
		}
	}
}

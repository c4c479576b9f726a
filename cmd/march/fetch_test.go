package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"march/cmd/internal/fetch"
)

// Fetching from a mirror: what lies there is checked against the pins, licences are told, a second call finds all.
func TestDataFetch(t *testing.T) {
	inFolder(t)
	d, _ := fetch.Find("babylm")
	for _, f := range d.Files {
		write(t, filepath.Join("mirror", "babylm", f.Name), "text of "+f.Name)
	}
	write(t, "mirror/lambada/lambada_test.jsonl", "not LAMBADA")
	server := httptest.NewServer(http.FileServer(http.Dir("mirror")))
	defer server.Close()
	for _, want := range []string{"babylm: 6 files, 170 B, in data/babylm (6 downloaded)", "(6 there already)"} {
		code, stdout, log := march(t, "data", "fetch", "babylm", "--mirror", server.URL)
		if code != 0 || !strings.Contains(stdout, want) || !strings.Contains(stdout, "licence  each of its six sources") || !strings.Contains(log, "Licence: each of its six sources") {
			t.Errorf("exit code %d\n%s%s wanted %s", code, stdout, log, want)
		}
	}
	if text, err := os.ReadFile("data/babylm/childes.train.txt"); err != nil || string(text) != "text of childes.train.txt" {
		t.Errorf("%q, %v", text, err)
	}
	for _, c := range []struct {
		line string
		code int
		want string
	}{
		{"lambada --mirror " + server.URL, 1, "lambada: lambada_test.jsonl: " + server.URL + "/lambada/lambada_test.jsonl gave 11 bytes with sha256"},
		{"blimp --mirror " + server.URL, 1, "blimp: adjunct_island.jsonl: not to be had: " + server.URL + "/blimp/adjunct_island.jsonl answers 404 Not Found"},
		{"blimpp", 2, `no data set is called "blimpp": wanted blimp, lambada, tinystories, wikitext103, babylm; did you mean blimp?`},
		{"blimp --mirror ftp://x", 2, `--mirror "ftp://x": wanted an address`},
	} {
		code, stdout, log := march(t, append([]string{"data", "fetch"}, strings.Fields(c.line)...)...)
		if code != c.code || stdout != "" || !strings.Contains(log, c.want) {
			t.Errorf("march data fetch %s: exit code %d, %s%s wanted %d, %s", c.line, code, stdout, log, c.code, c.want)
		}
	}
	if text := ok(t, "data", "fetch"); !strings.Contains(text, "CDLA-Sharing-1.0") || !strings.Contains(text, "wikitext103") {
		t.Errorf("the list: %s", text)
	}
}

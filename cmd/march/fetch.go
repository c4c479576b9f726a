package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"march/cmd/internal/fetch"
)

var dataFetchCommand = command{
	name: "fetch", operands: "[NAME…]",
	short: "public data sets, from pinned addresses",
	long: "Downloads data sets, each to a folder of its own below --out: " + strings.Join(fetch.Names(), ", ") + ". Without a NAME it lists them, with their licences. " +
		"Addresses are of fixed revisions, and every file is checked against its sha256 before it gets its name. Of babylm no digests were to be had: what its first download gave is written to " + fetch.LockName +
		" in its folder, and later downloads there are checked against that.\n\n" +
		"A second call downloads what is missing and goes on with what broke off. March needs none of these data: march bench runs on an embedded corpus.",
	examples: []example{
		{"march data fetch", "what there is, how large, under which licence"},
		{"march data fetch blimp lambada --out data", "to data/blimp and data/lambada"},
		{"march data fetch tinystories --mirror https://mirror.example/march", "from MIRROR/tinystories/FILE, checked as ever"},
	},
	setup: func(f *pflag.FlagSet) action {
		out := f.String("out", "data", "`FOLDER` below which each data set gets one of its own name")
		mirror := f.String("mirror", "", "`ADDRESS` whose ADDRESS/NAME/FILE are taken in place of the pinned ones")
		asJSON := jsonFlag(f)
		return func(ctx context.Context, e *env, names []string) error {
			var list []fetch.Dataset
			for _, name := range names {
				d, ok := fetch.Find(name)
				if !ok {
					return usagef("no data set is called %q: wanted %s%s", name, strings.Join(fetch.Names(), ", "), didYouMean(name, fetch.Names(), ""))
				}
				list = append(list, d)
			}
			if *mirror != "" && !strings.HasPrefix(*mirror, "http://") && !strings.HasPrefix(*mirror, "https://") {
				return usagef("--mirror %q: wanted an address that begins with http:// or https://", *mirror)
			}
			if len(list) == 0 {
				return listDatasets(e, *asJSON)
			}
			show := newProgress(e)
			defer show.clear()
			got := []fetched{}
			for _, d := range list {
				show.note("%s: %s. Licence: %s.", d.Name, d.About, d.Licence)
				dir := filepath.Join(*out, d.Name)
				client := &fetch.Client{
					Mirror: *mirror,
					Note:   func(text string) { show.note("%s: %s", d.Name, text) },
					Progress: func(file string, done, total int64) {
						show.show("", func() string {
							if total == 0 {
								return fmt.Sprintf("%s/%s: %s", d.Name, file, size(done))
							}
							return fmt.Sprintf("%s/%s: %s of %s, %d %%", d.Name, file, size(done), size(total), 100*done/total)
						})
					},
				}
				files, err := client.Fetch(ctx, d, dir)
				show.clear()
				if err != nil {
					err = fmt.Errorf("%s: %w", d.Name, plain(err))
					if ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
						err = fmt.Errorf("%s: what came so far is in %s, another call goes on with it: %w", d.Name, dir, context.Cause(ctx))
					}
					return err
				}
				got = append(got, fetched{d.Name, dir, d.Licence, strings.ReplaceAll(d.Use, "FOLDER", dir), files})
				if !*asJSON {
					got[len(got)-1].tell(e)
				}
			}
			if *asJSON {
				return printJSON(e.stdout, got)
			}
			return nil
		}
	},
}

// fetched is what became of a data set.
type fetched struct {
	Name    string          `json:"name"`
	Folder  string          `json:"folder"`
	Licence string          `json:"licence"`
	Use     string          `json:"use"`
	Files   []fetch.Outcome `json:"files"`
}

func (x fetched) tell(e *env) {
	var bytes int64
	count := map[string]int{}
	for _, f := range x.Files {
		bytes += f.Size
		count[f.Was]++
	}
	var how []string
	for _, was := range []string{"downloaded", "resumed", "there"} {
		if n := count[was]; n > 0 {
			how = append(how, fmt.Sprintf("%d %s", n, map[string]string{"downloaded": "downloaded", "resumed": "resumed", "there": "there already"}[was]))
		}
	}
	fmt.Fprintf(e.stdout, "%s: %s, %s, in %s (%s)\n  licence  %s\n  use      %s\n", x.Name, plural(len(x.Files), "file"), size(bytes), x.Folder, strings.Join(how, ", "), x.Licence, x.Use)
}

// listDatasets prints what can be fetched.
func listDatasets(e *env, asJSON bool) error {
	if asJSON {
		return printJSON(e.stdout, fetch.Datasets())
	}
	var rows [][]string
	for _, d := range fetch.Datasets() {
		bytes, whole := d.Bytes()
		text := size(bytes)
		if !whole {
			text = "not known"
		}
		rows = append(rows, []string{d.Name, fmt.Sprint(len(d.Files)), text, d.About + ". Licence: " + d.Licence + "."})
	}
	return printTable(e.stdout, e.width(), []column{{title: "name"}, {title: "files", right: true}, {title: "size", right: true}, {title: "what it is", fit: fold}}, rows)
}

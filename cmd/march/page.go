package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"march/graphgen/atomicfile"
	"march/results"
	"march/results/record"
)

var reportCommand = command{
	name: "report", operands: "RUN…", group: groupResults,
	short: "saved runs as one HTML page, and as pictures",
	long: "Writes one HTML file that needs nothing else, no network either: the verdicts in sentences, tables that can be sorted, pictures, and each run's record, manifest and the command that makes it again. " +
		"RUN is as for march table. --pictures writes the pictures as files too, each as SVG and as PNG.",
	examples: []example{
		{"march report runs --out report.html", "everything below runs"},
		{"march report runs/sharing --out sharing.html --pictures pictures", "with the pictures as SVG and PNG"},
	},
	setup: func(f *pflag.FlagSet) action {
		out := f.String("out", "", "HTML `FILE` to write")
		pictures := f.String("pictures", "", "`FOLDER` for the pictures")
		return func(_ context.Context, e *env, paths []string) error {
			if *out == "" && *pictures == "" {
				return usagef("wanted --out FILE, --pictures FOLDER, or both")
			}
			runs, err := results.Load(paths...)
			if err != nil {
				return err
			}
			if len(runs) == 0 {
				return fmt.Errorf("no run found in %s: wanted folders with files %s, as march train and march bench leave them", strings.Join(paths, ", "), record.FileName)
			}
			if *out != "" {
				var b bytes.Buffer
				problems, err := results.Page(&b, runs, results.PageOptions{
					March: marchVersion(), Command: "march report " + strings.Join(paths, " "), Made: time.Now().UTC(), FLOPs: headsFLOPs})
				if err != nil {
					return err
				}
				for _, p := range problems {
					e.logf("missing: %s", p)
				}
				if err := atomicfile.WriteFile(*out, b.Bytes()); err != nil {
					return fmt.Errorf("--out: %w", plain(err))
				}
				e.logf("%s: %s, %s", *out, plural(len(runs), "run"), size(int64(b.Len())))
			}
			if *pictures != "" {
				return savePictures(e, runs, *pictures)
			}
			return nil
		}
	},
}

// savePictures writes each picture as SVG and as PNG, and names the files.
func savePictures(e *env, runs []record.Run, dir string) error {
	list, problems, err := results.Pictures(runs)
	if err != nil {
		return err
	}
	for _, p := range problems {
		e.logf("missing: %s", p)
	}
	if len(list) == 0 {
		return fmt.Errorf("nothing to draw: no budget has two finished variants")
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("--pictures: %w", plain(err))
	}
	for _, p := range list {
		for _, as := range []struct {
			ending string
			write  func(io.Writer) error
		}{{"svg", p.SVG}, {"png", p.PNG}} {
			var b bytes.Buffer
			if err := as.write(&b); err != nil {
				return fmt.Errorf("picture %s: %w", p.Name, err)
			}
			path := filepath.Join(dir, p.Name+"."+as.ending)
			if err := atomicfile.WriteFile(path, b.Bytes()); err != nil {
				return fmt.Errorf("--pictures: %w", plain(err))
			}
			fmt.Fprintln(e.stdout, path)
		}
	}
	return nil
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return grouped(int64(n)) + " " + what + "s"
}

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	"march/graphgen/atomicfile"
	"march/results"
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
			runs, err := loadRuns(paths)
			if err != nil {
				return err
			}
			drawn, problems, err := results.Pictures(runs)
			if err != nil {
				return err
			}
			var page bytes.Buffer
			if *out != "" {
				problems, err = results.Page(&page, runs, results.PageOptions{
					March: marchVersion(), Command: reportLine(paths, *out), Made: time.Now().UTC(), Pictures: drawn, Problems: problems, Commands: again})
				if err != nil {
					return err
				}
			}
			for _, p := range problems {
				e.logf("missing: %s", p)
			}
			if *out != "" {
				if err := atomicfile.WriteFile(*out, page.Bytes()); err != nil {
					return fmt.Errorf("--out: %w", plain(err))
				}
				e.logf("%s: %s, %s", *out, plural(len(runs), "run"), size(int64(page.Len())))
			}
			if *pictures != "" {
				return savePictures(e, drawn, *pictures)
			}
			return nil
		}
	},
}

// reportLine is the command line that makes a page.
func reportLine(paths []string, out string) string {
	line := "march report"
	for _, p := range paths {
		line += " " + quoted(p)
	}
	return line + " --out " + quoted(out)
}

// savePictures writes each picture as SVG and as PNG, and names the files.
func savePictures(e *env, list []results.Picture, dir string) error {
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

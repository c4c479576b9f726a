// Package results turns run records into comparison tables: it loads records, averages the seeds of
// a cell, marks the best comparable values of each column where seeds and items are evidence for it, tests
// variants against a baseline, and prints text, Markdown, CSV, JSON or LaTeX with a footer that explains
// every figure. It does not know how a run was made, and it never sets
// side by side what does not compare: rows of different budgets or data are told apart and said to be.
// Start with Load, then New, Breakdown or Judge, then Table.Write.
package results

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"march/graphgen/atomicfile"
	"march/results/record"
)

// Load reads run records. Each path is a record, a folder (every run.json in it, at any depth, in the
// order of their paths), or a glob of either. A record that two paths reach is read once. A folder
// without records is no error; a missing file, a glob without match and an unreadable record are:
// the runs that could be read are then returned beside an error that names every other file.
func Load(paths ...string) ([]record.Run, error) {
	files, err := Files(record.FileName, paths...)
	var runs []record.Run
	problems := []error{err}
	for _, file := range files {
		run, err := record.ReadFile(file.Path)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		runs = append(runs, *run)
	}
	return runs, errors.Join(problems...)
}

// File is one that Files found.
type File struct {
	Path string
	Root string // what led to it: a path as it was given, or a match of a glob
}

// Files finds files as Load does: each path is a file of any name, a folder (every file of that name in it,
// at any depth, in the order of their paths), or a glob of either. A file that two paths reach is found once. Beside
// an error, which names every path with a problem, are the files of the others.
func Files(name string, paths ...string) ([]File, error) {
	var files []File
	var problems []error
	seen := map[string]bool{}
	for _, path := range paths {
		found, err := filesUnder(name, path)
		problems = append(problems, err)
		for _, file := range found {
			key := file.Path
			if abs, err := filepath.Abs(key); err == nil {
				key = abs
			}
			if real, err := filepath.EvalSymlinks(key); err == nil {
				key = real
			}
			if !seen[key] {
				seen[key] = true
				files = append(files, file)
			}
		}
	}
	return files, errors.Join(problems...)
}

// filesUnder finds the files of one path or glob.
func filesUnder(name, path string) ([]File, error) {
	matches := []string{path}
	if _, err := os.Lstat(path); err != nil && strings.ContainsAny(path, "*?[") {
		matches, err = filepath.Glob(path)
		if err != nil {
			return nil, fmt.Errorf("%s: not a valid glob: %w", path, err)
		}
		if len(matches) == 0 {
			return nil, fmt.Errorf("%s: no file or folder matches", path)
		}
	}
	var files []File
	var problems []error
	for _, match := range matches {
		info, err := os.Stat(match)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			problems = append(problems, fmt.Errorf("%s: no such file or folder", match))
		case err != nil:
			problems = append(problems, err)
		case !info.IsDir():
			if !atomicfile.IsTemporary(match) {
				files = append(files, File{match, match})
			}
		default:
			found, err := walk(name, match)
			for _, file := range found {
				files = append(files, File{file, match})
			}
			problems = append(problems, err)
		}
	}
	return files, errors.Join(problems...)
}

// walk finds the files of a name in a folder, at any depth.
func walk(name, folder string) ([]string, error) {
	var files []string
	// A link to a folder is followed where the user names it, not further down, where it may lead in circles.
	root := folder
	if real, err := filepath.EvalSymlinks(folder); err == nil {
		root = real
	}
	var problems []error
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			problems = append(problems, err)
			return nil // the others can still be read
		}
		if !entry.IsDir() && entry.Name() == name {
			rel, _ := filepath.Rel(root, path)
			files = append(files, filepath.Join(folder, rel))
		}
		return nil
	})
	slices.Sort(files)
	return files, errors.Join(append(problems, err)...)
}

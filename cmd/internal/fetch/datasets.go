// Package fetch downloads public data sets from pinned addresses: files are resumed where a download broke off, checked
// against their sizes and sha256, and written whole. It unpacks nothing and prints nothing. Start at [Find] and [Client.Fetch].
package fetch

import (
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Dataset is a public data set.
type Dataset struct {
	Name    string `json:"name"`
	About   string `json:"about"`
	Licence string `json:"licence"` // as its publishers state it
	Use     string `json:"use"`     // march's command that takes it; FOLDER is where it lies
	Files   []File `json:"files"`
}

// File is one file of a data set. Size and SHA256 are zero where they are not known before the first download.
type File struct {
	Name   string `json:"name"`
	URL    string `json:"url"`
	Size   int64  `json:"bytes,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
}

// Bytes is the size of all files; whole is false where that of some is not known.
func (d Dataset) Bytes() (n int64, whole bool) {
	whole = true
	for _, f := range d.Files {
		n += f.Size
		whole = whole && f.Size > 0
	}
	return n, whole
}

//go:embed files.tsv
var filesTSV string

// Datasets lists all data sets.
func Datasets() []Dataset {
	list := []Dataset{
		{Name: "blimp", About: "BLiMP, 67,000 minimal pairs (Warstadt and others, 2020), to evaluate on",
			Licence: "none is stated in its repository; the sentences are machine-made from templates; use it to evaluate",
			Use:     "march eval --run RUN --blimp FOLDER"},
		{Name: "lambada", About: "LAMBADA, 5,153 passages in OpenAI's and the original form, and the development set (Paperno and others, 2016), to evaluate on",
			Licence: "CC BY 4.0; its passages are extracts from novels that are not themselves free: evaluate on them, do not train on them",
			Use:     "march eval --run RUN --lambada FOLDER/lambada_test.jsonl"},
		{Name: "tinystories", About: "TinyStories, the stories that GPT-4 wrote (Eldan and Li, 2023)",
			Licence: "CDLA-Sharing-1.0",
			Use:     "march data prepare FOLDER/TinyStoriesV2-GPT4-train.txt --valid FOLDER/TinyStoriesV2-GPT4-valid.txt --out data/stories"},
		{Name: "wikitext103", About: "WikiText-103, raw, articles of Wikipedia line by line (Merity and others, 2016)",
			Licence: "CC BY-SA 3.0 and GFDL",
			Use:     "march data prepare 'FOLDER/train-*.parquet' --valid 'FOLDER/validation-*.parquet' --out data/wikitext"},
		{Name: "babylm", About: "BabyLM 2026 Strict-Small, ten million words of what children hear and read",
			Licence: "each of its six sources has its own; see the data set's card at huggingface.co/datasets/BabyLM-community/BabyLM-2026-Strict-Small",
			Use:     "march data prepare 'FOLDER/*.train.txt' --documents lines --out data/babylm"},
	}
	for n, line := range strings.Split(strings.TrimSpace(filesTSV), "\n") {
		cells := strings.Split(line, "\t")
		if strings.HasPrefix(line, "#") {
			continue
		}
		i := slices.IndexFunc(list, func(d Dataset) bool { return d.Name == cells[0] })
		if i < 0 || len(cells) != 5 {
			panic(fmt.Sprintf("files.tsv:%d", n+1)) // embedded
		}
		f := File{Name: cells[1], URL: cells[4]}
		if cells[2] != "-" {
			f.Size, _ = strconv.ParseInt(cells[2], 10, 64)
		}
		if cells[3] != "-" {
			f.SHA256 = cells[3]
		}
		list[i].Files = append(list[i].Files, f)
	}
	return list
}

// Names lists the data sets' names.
func Names() (names []string) {
	for _, d := range Datasets() {
		names = append(names, d.Name)
	}
	return names
}

// Find gives a data set by its name.
func Find(name string) (Dataset, bool) {
	list := Datasets()
	i := slices.IndexFunc(list, func(d Dataset) bool { return d.Name == name })
	if i < 0 {
		return Dataset{}, false
	}
	return list[i], true
}

package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"

	"march/cmd/internal/sweep"
	"march/evalsuite"
	"march/results/record"
	"march/trainloop"
	"march/variants"
	"march/variants/manifest"
)

// again gives the command line that makes a run and its scores once more, behind comments that say what its
// capital words stand for.
func again(r *record.Run) ([]string, error) {
	dir := filepath.Dir(r.Path)
	s, err := trainloop.ReadSettings(dir)
	if err != nil {
		return nil, err
	}
	m, err := manifest.Read(sweep.ProgramDir(dir))
	if err != nil {
		return nil, err
	}
	var config variants.Config
	if err := json.Unmarshal(s.Config, &config); err != nil {
		return nil, fmt.Errorf("%s: config: %w", filepath.Join(dir, trainloop.SettingsFile), err)
	}
	line := fmt.Sprintf("march train --variant %s --arch %s --scale %s --seed %d --steps %d --tokens-per-step %d --rate %v --batch %d --target %s --device %s --precision %s --threads %d",
		quoted(s.Study+"/"+s.Variant), quoted(s.Arch), quoted(s.Scale), s.Seed, s.Steps, s.TokensPerStep, config.Training.Rate, s.MicroBatch, quoted(s.Target), quoted(r.Cell.Device), quoted(s.Precision), s.Threads)
	if s.Deterministic {
		line += " --deterministic"
	}
	if m.Recompute != "" {
		line += " --recompute " + quoted(m.Recompute)
	}
	if m.LossChunks > 1 {
		line += fmt.Sprintf(" --loss-chunks %d", m.LossChunks)
	}
	var where []string
	comment := func(text string) { where = append(where, "# "+strings.Join(strings.Fields(text), " ")) } // one line, whatever a record holds
	if r.Data.Name != sweep.EmbeddedName {
		line += " --data DATA"
		comment(fmt.Sprintf("DATA: the prepared folder %s (sha256 %s)", r.Data.Name, r.Data.SHA256))
	}
	if s.Teacher != "" {
		line += " --teacher TEACHER"
		comment("TEACHER: the run whose parameters have the sha256 " + s.Teacher)
	}
	if s.Init != "" {
		line += " --init INIT"
		comment("INIT: the Hugging Face folder whose model.safetensors has the sha256 " + s.Init)
	}
	var suites, later []string
	var limit int64
	more, evalMore := "", ""
	for _, name := range suiteNames {
		x, ok := r.Suites[name]
		if !ok {
			continue
		}
		suites = append(suites, name)
		limit = max(limit, x.Limit)
		exact := r.Cell.Device == "cuda" && s.Precision != "fp32" && x.Settings["arithmetic"] == "" // march eval's, where training scores in TF32
		if within := evalsuite.WithinWord(x.Settings); within || exact {
			later = append(later, name)
			if within {
				evalMore = " --within-word"
			}
		}
		switch name {
		case "blimp":
			more += " --blimp BLIMP"
			comment("BLIMP: its folder of jsonl files" + digestOf(x))
		case "lambada":
			more += " --lambada LAMBADA"
			comment(fmt.Sprintf("LAMBADA: its file, in the %s form", x.Settings["form"]) + digestOf(x))
		}
		if x.Settings["quotes"] == "plain" {
			more += " --plain-quotes"
		}
		if x.Settings["sentence length"] != "" && !strings.Contains(more, "--per-token") {
			more += " --per-token"
		}
	}
	if limit > 0 {
		more += fmt.Sprintf(" --limit %d", limit)
	}
	if len(suites) == 0 {
		suites = []string{"none"}
	}
	lines := append(where, line+" --suite "+strings.Join(suites, ",")+more+" --out again")
	if len(later) > 0 {
		data := ""
		if r.Data.Name != sweep.EmbeddedName {
			data = " --data DATA"
		}
		lines = append(lines, "march eval --run again"+data+" --suite "+strings.Join(later, ",")+more+evalMore)
	}
	return lines, nil
}

// digestOf says which items a suite's scores are of.
func digestOf(s record.Suite) string {
	if s.Settings["data"] == "" {
		return ""
	}
	return ", of which march says data: " + s.Settings["data"]
}

// quoted makes a word safe for a shell.
func quoted(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./,:@") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

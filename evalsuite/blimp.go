package evalsuite

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// blimpPhenomena are BLiMP's phenomena and paradigms in the order of table 4 of the paper (Warstadt
// and others, 2020), by the names in the files. determiner_noun_agreement_with_adjective_1 is the
// paper's determiner_noun_agreement_with_adj_1.
var blimpPhenomena = []struct {
	name, title string
	paradigms   []string
}{
	{"anaphor_agreement", "Anaphor agreement", []string{
		"anaphor_gender_agreement", "anaphor_number_agreement"}},
	{"argument_structure", "Argument structure", []string{
		"animate_subject_passive", "animate_subject_trans", "causative", "drop_argument", "inchoative", "intransitive",
		"passive_1", "passive_2", "transitive"}},
	{"binding", "Binding", []string{
		"principle_A_c_command", "principle_A_case_1", "principle_A_case_2", "principle_A_domain_1", "principle_A_domain_2",
		"principle_A_domain_3", "principle_A_reconstruction"}},
	{"control_raising", "Control/raising", []string{
		"existential_there_object_raising", "existential_there_subject_raising", "expletive_it_object_raising",
		"tough_vs_raising_1", "tough_vs_raising_2"}},
	{"determiner_noun_agreement", "Determiner-noun agreement", []string{
		"determiner_noun_agreement_1", "determiner_noun_agreement_2",
		"determiner_noun_agreement_irregular_1", "determiner_noun_agreement_irregular_2",
		"determiner_noun_agreement_with_adjective_1", "determiner_noun_agreement_with_adj_2",
		"determiner_noun_agreement_with_adj_irregular_1", "determiner_noun_agreement_with_adj_irregular_2"}},
	{"ellipsis", "Ellipsis", []string{
		"ellipsis_n_bar_1", "ellipsis_n_bar_2"}},
	{"filler_gap_dependency", "Filler-gap", []string{
		"wh_questions_object_gap", "wh_questions_subject_gap", "wh_questions_subject_gap_long_distance",
		"wh_vs_that_no_gap", "wh_vs_that_no_gap_long_distance", "wh_vs_that_with_gap", "wh_vs_that_with_gap_long_distance"}},
	{"irregular_forms", "Irregular forms", []string{
		"irregular_past_participle_adjectives", "irregular_past_participle_verbs"}},
	{"island_effects", "Island effects", []string{
		"adjunct_island", "complex_NP_island",
		"coordinate_structure_constraint_complex_left_branch", "coordinate_structure_constraint_object_extraction",
		"left_branch_island_echo_question", "left_branch_island_simple_question", "sentential_subject_island", "wh_island"}},
	{"npi_licensing", "NPI licensing", []string{
		"matrix_question_npi_licensor_present", "npi_present_1", "npi_present_2", "only_npi_licensor_present", "only_npi_scope",
		"sentential_negation_npi_licensor_present", "sentential_negation_npi_scope"}},
	{"quantifiers", "Quantifiers", []string{
		"existential_there_quantifiers_1", "existential_there_quantifiers_2", "superlative_quantifiers_1", "superlative_quantifiers_2"}},
	{"subject_verb_agreement", "Subject-verb agreement", []string{
		"distractor_agreement_relational_noun", "distractor_agreement_relative_clause",
		"irregular_plural_subject_verb_agreement_1", "irregular_plural_subject_verb_agreement_2",
		"regular_plural_subject_verb_agreement_1", "regular_plural_subject_verb_agreement_2"}},
}

// blimpAliases are names that the files use for what the paper calls otherwise.
var blimpAliases = map[string]string{
	"s-selection":      "argument_structure",
	"syntax/semantics": "syntax_semantics",
}

// blimpRank is each paradigm's place in the paper's order, from 1 on; blimpTitles are the fields'
// and phenomena's names in a table.
var blimpRank, blimpTitles = func() (map[string]int, map[string]string) {
	rank, titles := map[string]int{}, map[string]string{"syntax_semantics": "Syntax-semantics"}
	for _, phenomenon := range blimpPhenomena {
		titles[phenomenon.name] = phenomenon.title
		for _, paradigm := range phenomenon.paradigms {
			rank[paradigm] = len(rank) + 1
		}
	}
	return rank, titles
}()

// BLiMP is the suite "blimp".
type BLiMP struct {
	pairs     []pair
	paradigms int
	missing   int // paradigms of the paper that the folder lacks
	digest    string
}

// NewBLiMP reads a folder of paradigms, one jsonl file each: BLiMP's data folder, or pairs of one's
// own in the same form, whose paradigms then follow BLiMP's in alphabetical order. A line is a JSON
// object with the keys sentence_good, sentence_bad, field, linguistics_term, UID and pairID; other
// keys are left alone. Errors name the file, the line and the key.
func NewBLiMP(dir string) (*BLiMP, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("blimp: %w", err)
	}
	b := &BLiMP{}
	files := map[string]string{}
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		if filepath.Ext(path) != ".jsonl" || entry.IsDir() {
			continue
		}
		pairs, err := readParadigm(path)
		if err != nil {
			return nil, fmt.Errorf("blimp: %w", err)
		}
		name := pairs[0].paradigm
		if other, ok := files[name]; ok {
			return nil, fmt.Errorf("blimp: %s and %s both hold the paradigm %s", other, path, name)
		}
		files[name] = path
		b.pairs = append(b.pairs, pairs...)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("blimp: no *.jsonl file in %s: want the data folder of BLiMP", dir)
	}
	b.paradigms = len(files)
	for name := range blimpRank {
		if _, ok := files[name]; !ok {
			b.missing++
		}
	}
	slices.SortStableFunc(b.pairs, func(x, y pair) int {
		return cmp.Or(cmp.Compare(paperRank(x.paradigm), paperRank(y.paradigm)), strings.Compare(x.paradigm, y.paradigm))
	})
	b.digest = digestOf(b.pairs, nil)
	return b, nil
}

func paperRank(paradigm string) int {
	if rank, ok := blimpRank[paradigm]; ok {
		return rank
	}
	return len(blimpRank) + 1
}

// readParadigm reads one file, all of whose pairs are of one paradigm.
func readParadigm(path string) ([]pair, error) {
	var pairs []pair
	seen := map[string]bool{}
	err := readLines(path, func(_ int, line []byte) error {
		x, err := parsePair(line)
		if err != nil {
			return err
		}
		if len(pairs) > 0 && x.paradigm != pairs[0].paradigm {
			return fmt.Errorf("UID %q: the lines before are of %q, and a file holds one paradigm", x.paradigm, pairs[0].paradigm)
		}
		if seen[x.id] {
			return fmt.Errorf("pairID %q occurs twice", x.id)
		}
		seen[x.id] = true
		pairs = append(pairs, x)
		return nil
	})
	if err == nil && len(pairs) == 0 {
		err = fmt.Errorf("%s: empty: want one pair a line", path)
	}
	return pairs, err
}

// parsePair reads one line.
func parsePair(line []byte) (pair, error) {
	var o struct {
		Good       *string         `json:"sentence_good"`
		Bad        *string         `json:"sentence_bad"`
		Field      *string         `json:"field"`
		Phenomenon *string         `json:"linguistics_term"`
		Paradigm   *string         `json:"UID"`
		ID         json.RawMessage `json:"pairID"`
	}
	if err := decodeObject(line, &o); err != nil {
		return pair{}, err
	}
	var x pair
	for _, key := range []struct {
		name        string
		found       *string
		destination *string
	}{
		{"sentence_good", o.Good, &x.good}, {"sentence_bad", o.Bad, &x.bad}, {"field", o.Field, &x.field},
		{"linguistics_term", o.Phenomenon, &x.phenomenon}, {"UID", o.Paradigm, &x.paradigm},
	} {
		if key.found == nil || *key.found == "" {
			return pair{}, fmt.Errorf("key %q is missing or empty", key.name)
		}
		*key.destination = *key.found
	}
	if x.id = strings.Trim(string(o.ID), `"`); x.id == "" || x.id == "null" {
		return pair{}, errors.New(`key "pairID" is missing or empty`)
	}
	x.field = cmp.Or(blimpAliases[x.field], x.field)
	x.phenomenon = cmp.Or(blimpAliases[x.phenomenon], x.phenomenon)
	return x, nil
}

// Name is "blimp".
func (b *BLiMP) Name() string { return "blimp" }

func (b *BLiMP) plan(p planner) (*plan, error) {
	pairs := limitPairs(b.pairs, p)
	sequences := planPairs(pairs, p)
	return &plan{sequences, func(r *Result, scores []score, emit func(Prediction)) {
		p.finishPairs(r, pairs, sequences, scores, emit)
		r.set("sentence score", cmp.Or(p.layout.method().pairs, "sum of log-probabilities after the start token"))
		r.set("paradigms", strconv.Itoa(b.paradigms))
		if b.missing > 0 {
			r.note("%d of BLiMP's %d paradigms are missing", b.missing, len(blimpRank))
		}
		if p.limit > 0 {
			r.note("the first %d pairs of each paradigm", p.limit)
		}
	}}, nil
}

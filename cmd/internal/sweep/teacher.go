package sweep

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"march/results/record"
	"march/trainloop"
	"march/variants"
)

// WithTeachers is a list of variants with those that teach them: each teacher that is not
// in the list is added in front of the first that learns from it.
func WithTeachers(list []variants.Variant) (all, added []variants.Variant, err error) {
	for _, v := range list {
		t, ok, err := v.Teacher()
		if err != nil {
			return nil, nil, fmt.Errorf("variant %s: %w", v.FullName(), err)
		}
		same := func(w variants.Variant) bool {
			return w.FullName() == t.FullName() && w.Scale == t.Scale && w.Config.Arch == t.Config.Arch
		}
		if ok && !slices.ContainsFunc(list, same) && !slices.ContainsFunc(all, same) {
			all, added = append(all, t), append(added, t)
		}
		all = append(all, v)
	}
	return all, added, nil
}

// teacherDir is the folder of the cell that teaches v in a bench; "" where none does.
func teacherDir(out string, v variants.Variant, seed uint64) string {
	t, ok, err := v.Teacher()
	if !ok || err != nil {
		return "" // an error that checkCell reports
	}
	return CellDir(out, t, seed)
}

// teacher gives the parameters of the run that teaches a cell, as a file with its sha256;
// both are empty where the cell learns from none.
func (l *Lab) teacher(c Cell) (file, sha256 string, err error) {
	name := c.Variant.Config.Training.Distill.Teacher
	if name == "" {
		return "", "", nil
	}
	fail := func(format string, args ...any) (string, string, error) {
		return "", "", fmt.Errorf("teacher %s: %w", name, fmt.Errorf(format, args...))
	}
	if c.Teacher == "" {
		return fail("no trained run of it is given")
	}
	s, err := trainloop.ReadSettings(c.Teacher)
	if err != nil {
		return fail("%w", err)
	}
	if differences, err := unlike(s, *c.Variant.Config.Teacher); err != nil || len(differences) > 0 {
		return fail("%s trained another model, %s/%s: %s", c.Teacher, s.Study, s.Variant, strings.Join(differences, ", "))
	}
	if have := l.Data.Info().TokenizerSHA256; s.Tokenizer != have {
		return fail("%s was trained with another tokenizer (sha256 %.12s…) than the data have (%.12s…)", c.Teacher, s.Tokenizer, have)
	}
	if r, err := record.ReadFile(filepath.Join(c.Teacher, record.FileName)); err == nil && r.Status == record.Failed {
		return fail("%s failed: %s", c.Teacher, r.Reason)
	}
	cp, err := trainloop.Latest(c.Teacher, func(string) {})
	switch {
	case err != nil:
		return fail("%w", err)
	case cp == nil:
		return fail("%s has no checkpoint", c.Teacher)
	case cp.Step != s.Steps:
		return fail("%s stands at step %d of %d: a teacher must be trained to its end", c.Teacher, cp.Step, s.Steps)
	}
	return cp.Params(), cp.ParamsSHA256(), nil
}

// teacherOr is the sha256 of the cell's teacher, or what the run was begun with where that
// is not trained yet, or not there any more.
func (l *Lab) teacherOr(c Cell, was string) string {
	if _, sum, err := l.teacher(c); err == nil {
		return sum
	}
	return was
}

// unlike lists the axes in which a run's model is not the one wanted; how it was trained
// does not matter.
func unlike(s trainloop.Settings, want variants.Config) (list []string, err error) {
	have, err := configOf(s.Config)
	if err != nil {
		return nil, err
	}
	theirs := have.Difference(want) // the same axes in the same order
	for i, w := range want.Difference(have) {
		axis, value, _ := strings.Cut(w, "=")
		if !strings.HasPrefix(axis, "training.") && !strings.HasPrefix(axis, "dropout.") {
			list = append(list, fmt.Sprintf("%s, wanted %s", theirs[i], value))
		}
	}
	return list, nil
}

// taughtNote is what a record says of its teacher.
func taughtNote(v variants.Variant) []string {
	d := v.Config.Training.Distill
	if d.Teacher == "" {
		return nil
	}
	return []string{fmt.Sprintf("learned from a trained %s (alpha %g, temperature %g), whose own training its seconds and FLOPs leave out", d.Teacher, d.Alpha, d.Temperature)}
}

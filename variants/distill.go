package variants

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"march/graphgen"
)

// Distillation (Hinton, Vinyals and Dean, Distilling the Knowledge in a Neural Network,
// 2015): a trained model, the teacher, runs forward on every batch, and the student's loss is
//
//	alpha · cross-entropy + (1 − alpha) · T² · KL(teacher ‖ student),
//
// both distributions at the temperature T, summed over the labelled positions. The
// teacher's parameters are inputs of the graphs that train, and get no gradient.

// Teacher is the variant that v learns from: the one of that name at the same scale and
// architecture, with those of v's changes that belong to the data and the budget, such as
// vocab and training.steps; ok is false where v has no teacher.
func (v Variant) Teacher() (t Variant, ok bool, err error) {
	name := v.Config.Training.Distill.Teacher
	if name == "" {
		return t, false, nil
	}
	if strings.Contains(name, "+") {
		return t, true, fmt.Errorf("training.distill.teacher %s: wanted a variant's name without changes", name)
	}
	if t, err = Find(name, v.Scale, v.Config.Arch); err != nil {
		return t, true, fmt.Errorf("training.distill.teacher: %w", err)
	}
	t, err = t.With(slices.DeleteFunc(slices.Clone(v.Changes), func(change string) bool {
		axis, _, _ := strings.Cut(change, "=")
		return !ofBudget(axis)
	}))
	if err == nil && t.Config.Training.Distill.Teacher != "" {
		err = fmt.Errorf("training.distill.teacher %s learns from %s itself: wanted a variant without a teacher", name, t.Config.Training.Distill.Teacher)
	}
	return t, true, err
}

// ofBudget tells axes of the data and the budget from those of the model.
func ofBudget(axis string) bool {
	if strings.HasPrefix(axis, "training.distill.") || strings.HasPrefix(axis, "training.prune.") {
		return false
	}
	return axis == "vocab" || axis == "length" || strings.HasPrefix(axis, "training.")
}

// findTeacher sets the config's teacher.
func (v *Variant) findTeacher() error {
	t, ok, err := v.Teacher()
	if !ok || err != nil {
		return err
	}
	v.Config.Teacher = interned(t.Config)
	return v.Config.Validate()
}

var teachers sync.Map // *Config by Config

// interned is one pointer for equal configs.
func interned(c Config) *Config {
	p, _ := teachers.LoadOrStore(c, &c)
	return p.(*Config)
}

// fits reports a teacher whose distributions are not over what the student predicts.
func (c Config) fits(t Config) error {
	name := c.Training.Distill.Teacher
	switch {
	case c.Arch != t.Arch:
		return fmt.Errorf("training.distill.teacher %s has arch %s, the model has arch %s", name, t.Arch, c.Arch)
	case c.Vocab != t.Vocab:
		return fmt.Errorf("training.distill.teacher %s has vocab %d, the model has vocab %d", name, t.Vocab, c.Vocab)
	case c.Length != t.Length:
		return fmt.Errorf("training.distill.teacher %s has length %d, the model has length %d", name, t.Length, c.Length)
	case c.Training.DocumentMask != t.Training.DocumentMask:
		return fmt.Errorf("training.distill.teacher %s has training.document_mask %t, the model has training.document_mask %t", name, t.Training.DocumentMask, c.Training.DocumentMask)
	}
	return nil
}

// TeacherParameters lists the teacher's parameters under the graphs' names for them; nil
// without a teacher.
func (c Config) TeacherParameters() ([]Parameter, error) {
	if c.Teacher == nil {
		return nil, nil
	}
	params, err := c.Teacher.Parameters()
	for i := range params {
		params[i].Name = TeacherName(params[i].Name)
	}
	return params, err
}

// teacherLogits is the teacher's forward pass on the same batch, without dropout: [N,V].
func (m *model) teacherLogits(d Dims) (logits *graphgen.Tensor, err error) {
	name := m.c.Training.Distill.Teacher
	if m.c.Teacher == nil {
		return nil, fmt.Errorf("training.distill.teacher %s: the config came without the teacher's", name)
	}
	if err := m.c.fits(*m.c.Teacher); err != nil {
		return nil, err
	}
	m.g.In("teacher", func() {
		logits = modelIn(m.g, *m.c.Teacher, m.compute, teacherPrefix, m.inputs).forward(d).logits()
	})
	return logits, nil
}

package trainloop

import (
	"fmt"
	"slices"
	"strings"

	"march/graphgen/atomicfile"
	"march/runtime"
	"march/trainloop/safetensors"
	"march/variants"
)

// allocateTeacher makes the buffer of the teacher's parameters, where the program has one.
func (e *Engine) allocateTeacher() error {
	if len(e.Manifest.Teacher) == 0 {
		return nil
	}
	b, err := e.rt.Alloc(e.Manifest.TeacherBytes())
	if err != nil {
		return err
	}
	e.buffers[kindTeacher] = b
	for _, p := range e.Manifest.Teacher {
		shape := make([]int64, len(p.Shape))
		for i, d := range p.Shape {
			shape[i] = int64(d)
		}
		if e.views[p.Name], err = b.Tensor(p.Offset, runtime.Float32, shape...); err != nil {
			return err
		}
	}
	return nil
}

// LoadTeacher copies the teacher's parameters to the device from a safetensors file that
// has them under their names as a model's own, such as a checkpoint's.
func (e *Engine) LoadTeacher(path string) error {
	f, err := safetensors.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, p := range e.Manifest.Teacher {
		name, v := strings.TrimPrefix(p.Name, variants.TeacherName("")), make([]float32, p.Elements())
		if x, ok := f.Lookup(name); ok && !slices.Equal(x.Shape, p.Shape) {
			return fmt.Errorf("%s: tensor %q has the shape %v, the program's teacher %v", path, name, x.Shape, p.Shape)
		}
		if err := safetensors.Read(f, name, v); err != nil {
			return err
		}
		if err := runtime.Upload(e.views[p.Name], v); err != nil {
			return err
		}
	}
	return nil
}

// loadTeacher loads what the options name, if it is what the settings say.
func (o *Options) loadTeacher(e *Engine) error {
	switch has := len(e.Manifest.Teacher) > 0; {
	case !has && o.Teacher == "":
		return nil
	case !has:
		return fmt.Errorf("program %s has no teacher, but %s is given as one's parameters", o.Program, o.Teacher)
	case o.Teacher == "":
		return fmt.Errorf("program %s has a teacher, whose parameters are not given", o.Program)
	}
	sum, err := atomicfile.SHA256(o.Teacher)
	if err != nil {
		return err
	}
	if sum != o.Settings.Teacher {
		return fmt.Errorf("teacher %s has the sha256 %.12s…, the settings' is %.12s…", o.Teacher, sum, o.Settings.Teacher)
	}
	if err := e.LoadTeacher(o.Teacher); err != nil {
		return fmt.Errorf("teacher: %w", err)
	}
	return nil
}

package variants

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Variant is a named model at a scale.
type Variant struct {
	Study   string
	Base    string   // the catalogue's name
	Changes []string // axis=value, beyond the catalogue's
	Doc     string   // one line: what is different about it
	Source  string   // where the idea and the sizes are from
	Scale   string
	Config  Config

	original Config // the catalogue's
}

// Name is the variant's name inside its study: deep_cycle, baseline+heads=12.
func (v Variant) Name() string { return strings.Join(append([]string{v.Base}, v.Changes...), "+") }

// FullName is study/name.
func (v Variant) FullName() string { return v.Study + "/" + v.Name() }

// Scales lists the sizes that every variant has, largest first.
func Scales() []string { return []string{"paper", "small", "tiny"} }

// Studies lists the catalogue's studies.
func Studies() []string { return []string{"sharing", "heads", "plain"} }

// entry is a line of the catalogue. To add a variant is to add one.
type entry struct {
	study, name, doc, source string
	archs                    []string // the first is the default
	config                   func(scale, arch string) (Config, error)
}

// catalogue lists every variant in the order of the studies' tables.
var catalogue = slices.Concat(sharingStudy(), headsStudy(), plainStudy())

// Find gives a variant by name: study/name or a bare name, with further changes behind
// plus signs (baseline+heads=12+qkv_dim=8). A bare name means study sharing's if it has
// it. Empty arch means the first that the variant has.
func Find(name, scale, arch string) (Variant, error) {
	if !slices.Contains(Scales(), scale) {
		return Variant{}, fmt.Errorf("scale %q is not one of %s", scale, strings.Join(Scales(), ", "))
	}
	base, changes, _ := strings.Cut(name, "+")
	e := find(base)
	if e == nil {
		return Variant{}, fmt.Errorf("unknown variant %q%s (march list names them all)", base, suggest(base, names(strings.Contains(base, "/"))))
	}
	if arch != "" && !slices.Contains(e.archs, arch) {
		return Variant{}, fmt.Errorf("variant %s: architecture %q is not one of %s", e.name, arch, strings.Join(e.archs, ", "))
	}
	if arch == "" {
		arch = e.archs[0]
	}
	c, err := e.config(scale, arch)
	v := Variant{Study: e.study, Base: e.name, Doc: e.doc, Source: e.source, Scale: scale, Config: c, original: c}
	if err == nil {
		err = c.Validate()
	}
	switch {
	case err != nil:
	case changes != "":
		err = v.change(strings.Split(changes, "+"))
	default:
		err = v.findTeacher()
	}
	if err != nil {
		return Variant{}, fmt.Errorf("variant %s: %w", name, err)
	}
	return v, nil
}

// change sets axes. The name then has what differs from the catalogue, each axis once and
// in the order of the axes, so that one model has one name.
func (v *Variant) change(changes []string) error {
	v.Config.Teacher = nil
	if err := v.Config.SetAll(changes); err != nil {
		return err
	}
	v.Changes = v.Config.Difference(v.original)
	return v.findTeacher()
}

// With applies further changes to a variant.
func (v Variant) With(changes []string) (Variant, error) {
	if len(changes) == 0 {
		return v, nil
	}
	if err := v.change(changes); err != nil {
		return v, fmt.Errorf("variant %s: %w", v.Base, err)
	}
	return v, nil
}

// Matched has the feed-forward width that brings what (see [Matches]) nearest to that of
// its study's baseline at the same scale. The baseline stays as it is.
func (v Variant) Matched(what string) (Variant, error) {
	if v.FullName() == Baseline(v.Study) {
		return v, nil
	}
	base, err := Find(Baseline(v.Study), v.Scale, v.Config.Arch)
	if err != nil {
		return v, err
	}
	c, err := v.Config.Match(base.Config, what)
	if err != nil {
		return v, fmt.Errorf("variant %s: %w", v.Base, err)
	}
	return v.With([]string{fmt.Sprintf("ff=%d", c.FF)})
}

// Match lists the names that a pattern stands for, in the catalogue's order: a name, a
// name with changes, or a glob over full or bare names (deep_*, sharing/*).
func Match(pattern string) ([]string, error) {
	base, changes, changed := strings.Cut(pattern, "+")
	if !strings.ContainsAny(base, "*?[") {
		return []string{pattern}, nil
	}
	var list []string
	for _, e := range catalogue {
		full := e.study + "/" + e.name
		short, err := path.Match(base, e.name)
		if err != nil {
			return nil, fmt.Errorf("variant pattern %q: %w", pattern, err)
		}
		if long, _ := path.Match(base, full); short || long {
			if changed {
				full += "+" + changes
			}
			list = append(list, full)
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("variant pattern %q matches nothing (march list names all variants)", pattern)
	}
	return list, nil
}

// Select gives the variants that a pattern stands for (see [Match]) in those of the architectures asked for that each
// of them has, or in each one's first where none is asked for. A glob stands only for variants that have one
// of them; a name that has none is an error.
func Select(pattern, scale string, archs []string) (list []Variant, err error) {
	names, err := Match(pattern)
	if err != nil {
		return nil, err
	}
	glob := len(names) != 1 || names[0] != pattern
	for _, name := range names {
		wanted := archs
		if base, _, _ := strings.Cut(name, "+"); len(archs) == 0 {
			wanted = []string{""}
		} else if e := find(base); e != nil {
			wanted = slices.DeleteFunc(slices.Clone(e.archs), func(a string) bool { return !slices.Contains(archs, a) })
			if len(wanted) == 0 && !glob {
				wanted = archs[:1] // for the error
			}
		}
		for _, arch := range wanted {
			v, err := Find(name, scale, arch)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("no variant that pattern %q matches has architecture %q", pattern, strings.Join(archs, ","))
	}
	return list, nil
}

// find gives the line of the catalogue that a name without changes means.
func find(base string) *entry {
	i := slices.IndexFunc(catalogue, func(e entry) bool { return e.study+"/"+e.name == base })
	if i < 0 {
		i = slices.IndexFunc(catalogue, func(e entry) bool { return e.name == base })
	}
	if i < 0 {
		return nil
	}
	return &catalogue[i]
}

// Names lists the full names of a study's variants, or of all with study "".
func Names(study string) []string {
	var list []string
	for _, e := range catalogue {
		if study == "" || e.study == study {
			list = append(list, e.study+"/"+e.name)
		}
	}
	return list
}

// Archs lists the architectures of a variant by full name.
func Archs(full string) []string {
	for _, e := range catalogue {
		if e.study+"/"+e.name == full {
			return e.archs
		}
	}
	return nil
}

// Baseline is the variant that a study compares with.
func Baseline(study string) string {
	for _, e := range catalogue {
		if e.study == study {
			return e.study + "/" + e.name
		}
	}
	return ""
}

func names(full bool) []string {
	list := make([]string, len(catalogue))
	for i, e := range catalogue {
		list[i] = e.name
		if full {
			list[i] = e.study + "/" + e.name
		}
	}
	slices.Sort(list) // two studies have a baseline
	return slices.Compact(list)
}

package variants

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/agnivade/levenshtein"
	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Axis is one thing that can be set.
type Axis struct{ Name, Doc string }

// field is an axis in one config.
type field struct {
	axis, doc string
	value     reflect.Value
}

// fieldsOf lists a config's axes in the order of its declaration.
func fieldsOf(c *Config) []field {
	var list []field
	var walk func(prefix string, v reflect.Value)
	walk = func(prefix string, v reflect.Value) {
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if f.Tag.Get("yaml") == "-" {
				continue
			}
			name := prefix + f.Tag.Get("yaml")
			if f.Type.Kind() == reflect.Struct {
				walk(name+".", v.Field(i))
				continue
			}
			list = append(list, field{name, f.Tag.Get("doc"), v.Field(i)})
		}
	}
	walk("", reflect.ValueOf(c).Elem())
	return list
}

// Axes lists everything that --set and a config file can name.
func Axes() []Axis {
	var list []Axis
	for _, f := range fieldsOf(&Config{}) {
		list = append(list, Axis{f.axis, f.doc})
	}
	return list
}

func (f field) number() float64 {
	if f.value.Kind() == reflect.Int {
		return float64(f.value.Int())
	}
	return f.value.Float()
}

// Set changes one axis, given as text.
func (c *Config) Set(axis, value string) error {
	fields := fieldsOf(c)
	i := slices.IndexFunc(fields, func(f field) bool { return f.axis == axis })
	if i < 0 {
		names := make([]string, len(fields))
		for i, f := range fields {
			names[i] = f.axis
		}
		return fmt.Errorf("unknown axis %q%s (march list --axes shows them)", axis, suggest(axis, names))
	}
	f := fields[i]
	switch f.value.Kind() {
	case reflect.Int:
		v, err := strconv.Atoi(value)
		if err != nil {
			return fmt.Errorf("%s=%s: wanted a whole number", axis, value)
		}
		f.value.SetInt(int64(v))
	case reflect.Float64:
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return fmt.Errorf("%s=%s: wanted a number", axis, value)
		}
		f.value.SetFloat(v)
	case reflect.Bool:
		v, err := strconv.ParseBool(value)
		if err != nil {
			return fmt.Errorf("%s=%s: wanted true or false", axis, value)
		}
		f.value.SetBool(v)
	default:
		f.value.SetString(value)
	}
	return f.valid()
}

// Get is an axis's value as [Config.Set] takes it.
func (c Config) Get(axis string) (string, error) {
	for _, f := range fieldsOf(&c) {
		if f.axis == axis {
			return fmt.Sprint(f.value.Interface()), nil
		}
	}
	return "", fmt.Errorf("unknown axis %q", axis)
}

// SetAll applies changes of the form axis=value and validates the result.
func (c *Config) SetAll(changes []string) error {
	for _, s := range changes {
		axis, value, ok := strings.Cut(s, "=")
		if !ok {
			return fmt.Errorf("%q: wanted axis=value", s)
		}
		if err := c.Set(strings.TrimSpace(axis), strings.TrimSpace(value)); err != nil {
			return err
		}
	}
	return c.Validate()
}

// YAML is the whole config as [ReadYAML] reads it.
func (c Config) YAML() string {
	b, err := yaml.Marshal(c)
	if err != nil {
		panic(err) // plain numbers and strings
	}
	return string(b)
}

// Difference lists the axes in which c differs from base, as axis=value. Values hold no
// plus sign, which separates changes in a variant's name.
func (c Config) Difference(base Config) []string {
	var list []string
	other := fieldsOf(&base)
	for i, f := range fieldsOf(&c) {
		if a, b := f.value.Interface(), other[i].value.Interface(); a != b {
			list = append(list, f.axis+"="+strings.ReplaceAll(fmt.Sprint(a), "+", ""))
		}
	}
	return list
}

// ReadYAML reads a config file: `variant` names what to start from (sharing/baseline
// unless given), every other key is an axis. Errors carry the line.
func ReadYAML(data []byte, scale, arch string) (Variant, error) {
	file, err := parser.ParseBytes(data, 0)
	if err != nil {
		return Variant{}, fmt.Errorf("not YAML: %s", firstLine(yaml.FormatError(err, false, false)))
	}
	settings, err := flatten(file)
	if err != nil {
		return Variant{}, err
	}
	base := "sharing/baseline"
	for i, s := range settings {
		if s.axis == "variant" {
			base = s.value
			settings = slices.Delete(settings, i, i+1)
			break
		}
	}
	v, err := Find(base, scale, arch)
	if err != nil {
		return Variant{}, err
	}
	v.Config.Teacher = nil // that of the variant to start from
	for _, s := range settings {
		if err := v.Config.Set(s.axis, s.value); err != nil {
			return Variant{}, fmt.Errorf("line %d: %w", s.line, err)
		}
	}
	v.Changes = v.Config.Difference(v.original)
	if err := v.Config.Validate(); err != nil {
		return v, err
	}
	return v, v.findTeacher()
}

type setting struct {
	axis, value string
	line        int
}

// flatten lists a YAML mapping's leaves with dotted names.
func flatten(file *ast.File) ([]setting, error) {
	var list []setting
	var walk func(prefix string, n ast.Node) error
	walk = func(prefix string, n ast.Node) error {
		line := 0
		if t := n.GetToken(); t != nil && t.Position != nil {
			line = t.Position.Line
		}
		switch n := n.(type) {
		case *ast.MappingNode:
			for _, v := range n.Values {
				if err := walk(prefix, v); err != nil {
					return err
				}
			}
		case *ast.MappingValueNode:
			key := n.Key.GetToken().Value // without quotes
			if slices.ContainsFunc(list, func(s setting) bool { return s.axis == prefix+key }) {
				return fmt.Errorf("line %d: %s is set twice", line, prefix+key)
			}
			if _, nested := n.Value.(ast.MapNode); nested {
				return walk(prefix+key+".", n.Value)
			}
			return walk(prefix+key, n.Value)
		case *ast.SequenceNode, *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
			return fmt.Errorf("line %d: %s: wanted one value", line, prefix)
		case *ast.NullNode:
			return fmt.Errorf("line %d: %s has no value", line, prefix)
		case *ast.StringNode:
			list = append(list, setting{prefix, n.Value, line})
		default:
			list = append(list, setting{prefix, n.String(), line})
		}
		return nil
	}
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if _, ok := doc.Body.(ast.MapNode); !ok {
			return nil, fmt.Errorf("wanted a mapping of axes to values")
		}
		if err := walk("", doc.Body); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	return s
}

// suggest names the nearest of the known names, if any is near.
func suggest(name string, known []string) string {
	type near struct {
		name string
		d    int
	}
	var list []near
	for _, k := range known {
		d := levenshtein.ComputeDistance(strings.ToLower(name), strings.ToLower(k))
		if d <= max(2, len(name)/3) && d < len(k) || len(name) > 2 && strings.Contains(k, name) {
			list = append(list, near{k, d})
		}
	}
	slices.SortStableFunc(list, func(a, b near) int { return a.d - b.d })
	if len(list) == 0 {
		return ""
	}
	names := make([]string, 0, 3)
	for _, n := range list[:min(3, len(list))] {
		names = append(names, n.name)
	}
	return "; did you mean " + strings.Join(names, ", ") + "?"
}

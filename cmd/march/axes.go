package main

import (
	"strings"

	"march/variants"
)

// axis is one thing about a model that can be set.
type axis struct {
	Name   string `json:"name"`
	Values string `json:"values"`
	Doc    string `json:"doc"`
}

// listAxes prints everything that --set and a config file can name.
func listAxes(e *env, asJSON bool) error {
	var list []axis
	for _, a := range variants.Axes() {
		list = append(list, axis{a.Name, allowed(a.Name), a.Doc})
	}
	if asJSON {
		return printJSON(e.stdout, list)
	}
	rows := make([][]string, len(list))
	for i, a := range list {
		rows[i] = []string{a.Name, strings.Join(wrap(a.Values, 36), "\n"), a.Doc}
	}
	err := printTable(e.stdout, e.width(), []column{{title: "axis"}, {title: "values"}, {title: "what it is", fit: fold}}, rows)
	e.note("Set by --set AXIS=VALUE, by a name such as baseline+heads=12+qkv_dim=32, or in a config file, where axis a.b is key b below a.")
	return err
}

// allowed says which values an axis takes, by asking it: one that none takes is refused
// with what would be right.
func allowed(name string) string {
	err := new(variants.Config).Set(name, "?")
	if err == nil {
		return "text"
	}
	for _, mark := range []string{" is not one of ", ": wanted "} {
		if _, wanted, ok := strings.Cut(err.Error(), mark); ok {
			return wanted
		}
	}
	return ""
}

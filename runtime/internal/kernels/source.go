package kernels

import (
	"embed"
	"fmt"
)

//go:embed *.cu *.cuh
var sources embed.FS

// Source is a kernels' source with what all share before it.
func Source(file string) (string, error) {
	common, err := sources.ReadFile("common.cuh")
	if err != nil {
		return "", err
	}
	text, err := sources.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("there is no kernels' source %s", file)
	}
	return string(common) + "\n#line 1 \"" + file + "\"\n" + string(text), nil
}

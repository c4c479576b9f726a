package onnxinfo

import (
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"march/graphgen/onnxpb"
)

// external checks where a tensor says that its data lies, and gives the file. What a runtime should not open is an error that
// names the tensor: a path that is absolute or leaves the model's folder, an offset or length that is no size of a file, and a
// length that is not that of the tensor (bytes, where that is not unknown).
func external(t *onnxpb.TensorProto, bytes int64) (location string, err error) {
	if t.GetDataLocation() != onnxpb.TensorProto_EXTERNAL {
		return "", nil
	}
	sizes := map[string]int64{"length": unknown}
	for _, e := range t.ExternalData {
		switch key := e.GetKey(); key {
		case "location":
			location = e.GetValue()
		case "offset", "length":
			n, err := strconv.ParseUint(e.GetValue(), 10, 63)
			if err != nil {
				return "", fmt.Errorf("tensor %q: %s %.40q of its external data, wanted a number of bytes", t.GetName(), key, e.GetValue())
			}
			sizes[key] = int64(n)
		}
	}
	switch {
	case location == "":
		return "", fmt.Errorf("tensor %q has external data and no location of it", t.GetName())
	case !local(location):
		return "", fmt.Errorf("tensor %q lies in %.200q, wanted a file below the model's folder", t.GetName(), location)
	case sizes["offset"] > math.MaxInt64-max(0, sizes["length"]):
		return "", fmt.Errorf("tensor %q: offset %d and length %d of its external data are larger than a file", t.GetName(), sizes["offset"], sizes["length"])
	case sizes["length"] != unknown && bytes != unknown && sizes["length"] != bytes:
		return "", fmt.Errorf("tensor %q has %d bytes of external data, its shape %v wants %d", t.GetName(), sizes["length"], t.Dims, bytes)
	}
	return location, nil
}

// local says whether a path stays below its folder on every system, whatever this one's separators are.
func local(location string) bool {
	slashes := strings.ReplaceAll(location, `\`, "/")
	return filepath.IsLocal(location) && filepath.IsLocal(filepath.FromSlash(slashes)) && !(len(slashes) > 1 && slashes[1] == ':')
}

// checkLinks refuses external data behind a symbolic link: whoever made the link chose the file, not who made the model. Files
// that are not there are none of its business.
func checkLinks(dir string, locations map[string]string) error {
	for location, tensor := range locations {
		parts := strings.Split(path.Clean(filepath.ToSlash(location)), "/")
		for i := range parts {
			name := filepath.Join(append([]string{dir}, parts[:i+1]...)...)
			if info, err := os.Lstat(name); err == nil && info.Mode()&fs.ModeSymlink != 0 {
				return fmt.Errorf("tensor %q lies behind %s, a link, wanted a file below the model's folder", tensor, name)
			}
		}
	}
	return nil
}

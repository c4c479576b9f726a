//go:build !linux

package cudalibs

// find finds nothing: ONNX Runtime has no CUDA provider for this system that
// march knows how to look into.
func find(string) (path, message string) { return "", "not looked for on this system" }

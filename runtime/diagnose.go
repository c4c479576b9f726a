package runtime

import (
	_ "embed"
	"fmt"
	"path/filepath"
	goruntime "runtime"

	"march/runtime/internal/hostcpu"
	"march/runtime/ortlib"
)

// Diagnosis is the state of this machine's ONNX Runtime, as far as march needs
// it.
type Diagnosis struct {
	OK       bool      `json:"ok"` // a model ran, with the right result
	Problems []Problem `json:"problems"`

	OS              string   `json:"os"`
	Arch            string   `json:"arch"`
	Library         string   `json:"library"`          // "" where none was found
	Source          string   `json:"source"`           // one of the Source constants
	Build           string   `json:"build"`            // for the cached library: the package it came from, its sha256 verified
	Version         string   `json:"version"`          // of the library
	RequiredVersion string   `json:"required_version"` // at least
	PinnedVersion   string   `json:"pinned_version"`   // what the set-up installs
	Providers       []string `json:"providers"`
	Tried           []string `json:"tried"` // places without a usable library, and why

	CUDA CUDADiagnosis `json:"cuda"`

	Device  string       `json:"device"`
	Unused  string       `json:"unused"` // why "auto" is not the GPU that is there
	Threads int          `json:"threads"`
	CPU     hostcpu.Info `json:"cpu"`
}

// Problem is something missing or wrong, and the command or setting that helps,
// where one is known.
type Problem struct {
	What string `json:"what"`
	Fix  string `json:"fix"`
}

// checkModel is y = x + 1 over four floats.
//
//go:embed check.onnx
var checkModel []byte

// Diagnose looks for the library, opens it as Open would with these options,
// and runs a small model. What goes wrong is in the result.
func Diagnose(o Options) Diagnosis {
	d := Diagnosis{
		OS: goruntime.GOOS, Arch: goruntime.GOARCH,
		RequiredVersion: ortlib.MinVersion, PinnedVersion: ortlib.Version,
		Device: o.Device.String(), Threads: o.Threads, CPU: hostcpu.Read(),
		Problems: []Problem{}, Providers: []string{}, Tried: []string{},
	}
	if d.Device == "" {
		d.Device = "cpu"
	}
	if d.Threads == 0 {
		d.Threads = d.CPU.Threads()
	}
	problem := func(err error, fix string) {
		d.Problems = append(d.Problems, Problem{err.Error(), fix})
	}
	d.CUDA = diagnoseGPUs()
	wanted, noGPU := o.Device.Kind == "cuda", error(nil)
	if wanted {
		noGPU = d.CUDA.noGPU(o.Device)
	}
	found, err := search(o.Library, wanted && noGPU == nil) // what there is beside a GPU is said all the same
	d.Tried = append(d.Tried, found.tried...)
	switch {
	case noGPU != nil:
		problem(noGPU, "--device cpu")
		if err != nil {
			return d
		}
	case err != nil:
		_, unknown := ortlib.Current()
		setup := ortlib.SetupCommand
		if wanted {
			_, unknown = ortlib.CurrentCUDA()
			setup = ortlib.SetupCUDACommand
		}
		switch {
		case found.source == SourceOption:
			problem(err, "name another library, or none")
		case found.source == SourceEnvironment:
			problem(err, "unset "+ortlib.EnvVar)
		case unknown != nil:
			problem(unknown, fmt.Sprintf("export %s=/path/to/library", ortlib.EnvVar))
		default:
			problem(fmt.Errorf("no ONNX Runtime found for %s/%s", d.OS, d.Arch), setup)
		}
		return d
	}
	d.Library, d.Source, d.Version = found.lib.Path, found.source, found.lib.Version
	found.lib.Close()
	if noGPU != nil {
		return d
	}
	if d.Source == SourceCache {
		if d.Build, err = verifyCached(d.Library); err != nil {
			fix := ortlib.SetupCommand
			if providerBeside(d.Library) != "" {
				fix = ortlib.SetupCUDACommand
			}
			problem(err, fix)
		}
	}
	if wanted || d.CUDA.None == "" {
		if problems := d.CUDA.diagnoseProvider(d.Library, d.Version); wanted {
			d.Problems = append(d.Problems, problems...)
		}
	}
	if wanted && len(d.Problems) > 0 {
		return d // loading the provider would tell the same in worse words
	}
	r, err := Open(o)
	if err != nil {
		fix := ""
		if o.Device.Kind == "cuda" {
			fix = "--device cpu"
		}
		problem(err, fix)
		return d
	}
	defer r.Close()
	d.Device, d.Threads, d.Unused = r.Device().String(), r.Threads(), r.Unused()
	d.Providers = append(d.Providers, r.Providers()...)
	if err := r.selfTest(); err != nil {
		problem(fmt.Errorf("ONNX Runtime %s does not work: %w", d.Version, err), ortlib.SetupCommand)
	}
	d.OK = len(d.Problems) == 0
	return d
}

// verifyCached reads the library that the set-up has put into the cache, and what
// belongs to it, and says which package it came from.
func verifyCached(path string) (string, error) {
	if providerBeside(path) != "" {
		build, err := ortlib.CurrentCUDA()
		if err != nil {
			return "", err
		}
		return "pip, with CUDA", build.Verify(filepath.Dir(path))
	}
	platform, err := ortlib.Current()
	if err != nil {
		return "", err
	}
	return platform.Verify(path)
}

// selfTest runs checkModel.
func (r *Runtime) selfTest() error {
	x, err := r.NewTensor(Float32, 4)
	if err != nil {
		return err
	}
	defer x.Close()
	s, err := r.SessionBytes(checkModel, SessionOptions{})
	if err != nil {
		return err
	}
	defer s.Close()
	values := [4]float32{0, 1, 2, 3}
	if err := Upload(x, values[:]); err != nil {
		return err
	}
	b, err := s.Bind(map[string]*Tensor{"x": x}, map[string]*Tensor{"y": x})
	if err != nil {
		return err
	}
	if err := b.Run(); err != nil {
		return err
	}
	if err := Download(x, values[:]); err != nil {
		return err
	}
	if want := [4]float32{1, 2, 3, 4}; values != want {
		return fmt.Errorf("adding 1 to 0, 1, 2, 3 gave %v", values)
	}
	return nil
}

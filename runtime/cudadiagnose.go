package runtime

import (
	"fmt"
	"strings"

	"march/runtime/internal/cudadrv"
	"march/runtime/internal/cudalibs"
	"march/runtime/ortlib"
)

// CUDADiagnosis is what this machine has for NVIDIA's GPUs. Without a GPU it
// says no more than why there is none, unless the device is a GPU.
type CUDADiagnosis struct {
	GPUs       []cudadrv.GPU `json:"gpus"`
	None       string        `json:"none"`        // why there are none
	Driver     string        `json:"driver"`      // the driver's version
	DriverCUDA string        `json:"driver_cuda"` // the newest CUDA that it serves

	Provider        string             `json:"provider"`         // the CUDA provider's file beside the library, "" where there is none
	ProviderVersion string             `json:"provider_version"` // of ONNX Runtime, "" where the file does not tell
	Libraries       []cudalibs.Library `json:"libraries"`        // NVIDIA's, that the provider needs
	SearchPath      string             `json:"search_path"`      // to be added to LD_LIBRARY_PATH
	Install         []string           `json:"install"`          // packages for pip, for what is needed and nowhere
	InstallOptional []string           `json:"install_optional"` // and for what is not needed
}

// diagnoseGPUs looks at GPUs and driver.
func diagnoseGPUs() CUDADiagnosis {
	d := CUDADiagnosis{Libraries: []cudalibs.Library{}, Install: []string{}, InstallOptional: []string{}}
	d.Driver = cudalibs.DriverVersion()
	gpus, err := cudadrv.GPUs()
	if err != nil {
		d.None = err.Error()
	} else if len(gpus) == 0 {
		d.None = "NVIDIA's driver shows this process no GPU"
	}
	d.GPUs = append([]cudadrv.GPU{}, gpus...)
	d.DriverCUDA, _ = cudadrv.Driver()
	return d
}

// diagnoseProvider looks at the provider beside a core, if there is one, and
// returns what keeps it from working.
func (d *CUDADiagnosis) diagnoseProvider(core, coreVersion string) []Problem {
	if d.Provider = providerBeside(core); d.Provider == "" {
		return []Problem{{fmt.Sprintf("%s has no CUDA provider beside it", core), ortlib.SetupCUDACommand}}
	}
	var err error
	if d.ProviderVersion, err = cudalibs.Version(d.Provider); err != nil {
		return []Problem{{err.Error(), ortlib.SetupCUDACommand}}
	}
	libraries, err := cudalibs.Look(d.Provider)
	if err != nil {
		return []Problem{{err.Error(), ortlib.SetupCUDACommand}}
	}
	d.Libraries = append(d.Libraries, libraries...)
	d.SearchPath = cudalibs.SearchPath(libraries)
	needed, others := cudalibs.Install(libraries)
	d.Install, d.InstallOptional = append(d.Install, needed...), append(d.InstallOptional, others...)
	var problems []Problem
	if d.ProviderVersion != "" && d.ProviderVersion != coreVersion {
		problems = append(problems, Problem{
			fmt.Sprintf("ONNX Runtime is %s, its CUDA provider %s: both must be of one version", coreVersion, d.ProviderVersion), ortlib.SetupCUDACommand})
	}
	if missing := d.missing(); len(missing) > 0 {
		problems = append(problems, Problem{
			fmt.Sprintf("the CUDA provider needs %s, which the system's loader does not find", strings.Join(missing, ", ")), d.Advice()})
	}
	return problems
}

// missing are the libraries without which the provider does not load.
func (d CUDADiagnosis) missing() []string {
	var names []string
	for _, l := range d.Libraries {
		if l.Needed && l.Path == "" {
			names = append(names, l.Name)
		}
	}
	return names
}

// Advice is what to do so that all needed libraries are found, "" where they
// are.
func (d CUDADiagnosis) Advice() string {
	switch {
	case len(d.missing()) == 0:
		return ""
	case len(d.Install) > 0:
		return "python3 -m pip install '" + strings.Join(d.Install, "' '") + "' (or install NVIDIA's CUDA toolkit); then look again with march doctor"
	case d.SearchPath != "":
		return d.Export()
	}
	return "install NVIDIA's driver and CUDA toolkit"
}

// Export is the command that adds SearchPath to where the loader looks.
func (d CUDADiagnosis) Export() string {
	return "export LD_LIBRARY_PATH=" + d.SearchPath + "${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
}

// noGPU says why a GPU that was asked for cannot be used, before anything is
// loaded.
func (d CUDADiagnosis) noGPU(device Device) error {
	switch {
	case d.None != "":
		return fmt.Errorf("device %s: %s", device, d.None)
	case device.Index >= len(d.GPUs):
		return fmt.Errorf("device %s: GPUs are counted from 0, and there are %d", device, len(d.GPUs))
	}
	return nil
}

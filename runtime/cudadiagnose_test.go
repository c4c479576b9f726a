package runtime

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"testing"

	"march/runtime/internal/cudadrv"
	"march/runtime/internal/cudalibs"
	"march/runtime/ortlib"
)

// putBeside makes the library file name, with this source and these arguments
// for the linker, in the folder of another.
func putBeside(t *testing.T, other, name, source string, args ...string) string {
	t.Helper()
	path := filepath.Join(filepath.Dir(other), name)
	c := exec.Command("cc", append([]string{"-shared", "-fPIC", "-Wl,-soname," + name, "-o", path, "-x", "c", "-", "-x", "none", "-Wl,--no-as-needed"}, args...)...)
	c.Stdin = strings.NewReader(source)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

const fakeDriver = `#include <string.h>
#include <stddef.h>
int cuInit(unsigned f) { return 0; }
int cuDriverGetVersion(int *v) { *v = 13020; return 0; }
int cuDeviceGetCount(int *n) { *n = 2; return 0; }
int cuDeviceGet(int *d, int i) { *d = i; return 0; }
int cuDeviceGetName(char *name, int n, int d) { strcpy(name, d ? "Second" : "First"); return 0; }
int cuDeviceTotalMem_v2(size_t *m, int d) { *m = 80ull << 30; return 0; }
int cuDeviceGetAttribute(int *v, int what, int d) { *v = what == 75 ? 9 : what == 76 ? 1 : 132; return 0; }
#define NEVER(name) int name(void) { return 999; }
NEVER(cuGetErrorName) NEVER(cuGetErrorString) NEVER(cuDevicePrimaryCtxRetain) NEVER(cuDevicePrimaryCtxRelease_v2) NEVER(cuCtxSetCurrent)
NEVER(cuStreamCreate) NEVER(cuStreamDestroy_v2) NEVER(cuStreamSynchronize) NEVER(cuMemGetInfo_v2) NEVER(cuMemAlloc_v2) NEVER(cuMemFree_v2)
NEVER(cuMemHostAlloc) NEVER(cuMemFreeHost) NEVER(cuMemsetD8Async) NEVER(cuMemcpyHtoDAsync_v2) NEVER(cuMemcpyDtoHAsync_v2) NEVER(cuMemcpyDtoDAsync_v2)
NEVER(cuEventCreate) NEVER(cuEventDestroy_v2) NEVER(cuEventRecord) NEVER(cuEventSynchronize)`

func TestSearchCUDA(t *testing.T) {
	library := fakeVersion(t, ortlib.Version)
	for _, test := range []struct {
		name          string
		env, explicit string
	}{{"option", "", library}, {"variable", library, ""}} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv(ortlib.EnvVar, test.env)
			os.Remove(filepath.Join(filepath.Dir(library), ortlib.CUDAProvider))
			if d, err := search(test.explicit, false); err != nil || d.lib.Path != library {
				t.Errorf("CPU: %+v, %v", d, err)
			}
			d, err := search(test.explicit, true)
			wantError(t, err, library, "no CUDA provider", ortlib.SetupCUDACommand)
			if d.lib != nil || len(d.tried) != 1 {
				t.Errorf("%+v", d)
			}
			os.WriteFile(filepath.Join(filepath.Dir(library), ortlib.CUDAProvider), nil, 0o644)
			if d, err := search(test.explicit, true); err != nil || d.lib.Path != library {
				t.Errorf("CUDA: %+v, %v", d, err)
			}
		})
	}
}

func TestSearchCUDACache(t *testing.T) {
	build, err := ortlib.CurrentCUDA()
	if err != nil {
		t.Skip(err)
	}
	t.Setenv(ortlib.EnvVar, "")
	t.Run("empty", func(t *testing.T) {
		t.Setenv("XDG_CACHE_HOME", t.TempDir())
		if _, err := search("", true); err != nil {
			wantError(t, err, "with CUDA not found", ortlib.SetupCUDACommand, ortlib.EnvVar, "not there")
		}
	})
	folder := must[string](t)(build.Folder())
	if err := build.Plausible(folder); err != nil {
		t.Skipf("the rest needs `%s`: %v", ortlib.SetupCUDACommand, err)
	}
	// The CPU takes it only where there is a GPU to share the process with. Asked first, for by its name alone the system has it too once it is loaded.
	if d, err := search("", false); err == nil && (d.lib.Path == filepath.Join(folder, build.Core())) != nvidiaDriver() {
		t.Errorf("took %s", d.lib.Path)
	}
	d, err := search("", true)
	if err != nil || d.source != SourceCache || d.lib.Path != filepath.Join(folder, build.Core()) {
		t.Fatalf("%+v, %v", d, err)
	}
	if origin, err := verifyCached(d.lib.Path); origin != "pip, with CUDA" || err != nil {
		t.Errorf("%q, %v", origin, err)
	}
}

// A machine with two GPUs and a library without some of what it needs.
func TestDiagnoseCUDA(t *testing.T) {
	if goruntime.GOOS != "linux" {
		t.Skip("the CUDA provider is looked into on Linux only")
	}
	if library := os.Getenv("MARCH_TEST_CUDA"); library != "" {
		json.NewEncoder(os.Stdout).Encode([]Diagnosis{
			Diagnose(Options{Library: library, Device: Device{Kind: "cuda"}}),
			Diagnose(Options{Library: library, Device: Device{Kind: "cuda", Index: 2}}),
		})
		os.Exit(0)
	}
	library := fakeVersion(t, "1.30.0")
	putBeside(t, library, "libcuda.so.1", fakeDriver)
	gone := putBeside(t, library, "libcudart.so.99", "int x;")
	there := putBeside(t, library, "libcurand.so.98", "int x;")
	provider := putBeside(t, library, ortlib.CUDAProvider, `const char v[] = "\0" "1.29.0";`, gone, there)
	os.Remove(gone)
	c := exec.Command(os.Args[0], "-test.run=^TestDiagnoseCUDA$")
	c.Env = append(os.Environ(), "MARCH_TEST_CUDA="+library, "LD_LIBRARY_PATH="+filepath.Dir(library))
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var all []Diagnosis
	if err := json.Unmarshal(out, &all); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	d := all[0]
	if d.OK || d.Library != library || len(d.CUDA.GPUs) != 2 || d.CUDA.None != "" || d.CUDA.DriverCUDA != "13.2" ||
		d.CUDA.GPUs[1] != (cudadrv.GPU{Name: "Second", Memory: 80 << 30, Capability: "9.1", Multiprocessors: 132, Clock: 132, Bandwidth: 4_356_000}) {
		t.Errorf("%+v", d)
	}
	if d.CUDA.Provider != provider || d.CUDA.ProviderVersion != "1.29.0" || len(d.CUDA.Libraries) < 2 || d.CUDA.Libraries[1].Path != there {
		t.Errorf("%+v", d.CUDA)
	}
	if len(d.Problems) != 2 || !strings.Contains(d.Problems[0].What, "one version") || !strings.Contains(d.Problems[1].What, "libcudart.so.99") ||
		!strings.Contains(d.Problems[1].Fix, "nvidia-cuda-runtime==99.*") {
		t.Errorf("%+v", d.Problems)
	}
	if d := all[1]; d.OK || len(d.Problems) != 1 || !strings.Contains(d.Problems[0].What, "cuda:2") {
		t.Errorf("%+v", d)
	}
}

func TestAdvice(t *testing.T) {
	missing := cudalibs.Library{Name: "libx.so.1", Needed: true, Error: "not there"}
	elsewhere := missing
	elsewhere.Elsewhere = "/opt/nvidia/libx.so.1"
	for _, test := range []struct {
		d    CUDADiagnosis
		want string
	}{
		{CUDADiagnosis{Libraries: []cudalibs.Library{{Name: "libx.so.1", Needed: true, Path: "/lib/libx.so.1"}}}, ""},
		{CUDADiagnosis{Libraries: []cudalibs.Library{{Name: "libcudnn.so.9", Error: "not there"}}}, ""},
		{CUDADiagnosis{Libraries: []cudalibs.Library{missing}}, "toolkit"},
		{CUDADiagnosis{Libraries: []cudalibs.Library{missing}, Install: []string{"nvidia-x==1.*"}}, "pip install 'nvidia-x==1.*'"},
		{CUDADiagnosis{Libraries: []cudalibs.Library{elsewhere}, SearchPath: "/opt/nvidia"}, "export LD_LIBRARY_PATH=/opt/nvidia"},
	} {
		if got := test.d.Advice(); !strings.Contains(got, test.want) || test.want == "" && got != "" {
			t.Errorf("%+v: %q, want %q", test.d.Libraries, got, test.want)
		}
	}
}

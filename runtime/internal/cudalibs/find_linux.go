package cudalibs

/*
#cgo LDFLAGS: -ldl
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>

// cudalibs_find loads a library where the loader looks and returns the path of
// its file, or NULL and the loader's message. Both are to be freed. The library
// stays: NVIDIA's do not all survive being unloaded.
static char *cudalibs_find(const char *name, char **message) {
	*message = NULL;
	void *handle = dlopen(name, RTLD_LAZY | RTLD_LOCAL);
	const char *text = handle ? NULL : dlerror();
	struct link_map *map = NULL;
	if (handle && dlinfo(handle, RTLD_DI_LINKMAP, &map) != 0) text = dlerror();
	if (map && map->l_name && *map->l_name) return strdup(map->l_name);
	if (handle && !text) return strdup(name);
	*message = strdup(text ? text : "cannot be loaded");
	return NULL;
}

// cudalibs_driver starts the driver and returns the number of GPUs, or -1 with a
// message.
static int cudalibs_driver(void **handle, int *serves, char **message) {
	int count = 0, code = 0;
	*message = NULL;
	*handle = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
	if (!*handle) {
		*message = strdup(dlerror());
		return -1;
	}
	int (*init)(unsigned) = dlsym(*handle, "cuInit");
	int (*version)(int *) = dlsym(*handle, "cuDriverGetVersion");
	int (*number)(int *) = dlsym(*handle, "cuDeviceGetCount");
	if (!init || !version || !number) {
		*message = strdup("libcuda.so.1 is not NVIDIA's driver");
		return -1;
	}
	if ((code = init(0)) == 0 && (code = version(serves)) == 0 && (code = number(&count)) == 0) return count;
	int (*text)(int, const char **) = dlsym(*handle, "cuGetErrorString");
	const char *s = NULL;
	if (!text || text(code, &s) != 0 || !s) s = "unknown error";
	*message = strdup(s);
	return -1;
}

// cudalibs_gpu describes a GPU; name has room for 256 bytes.
static int cudalibs_gpu(void *handle, int index, char *name, size_t *memory, int *major, int *minor) {
	int (*get)(int *, int) = dlsym(handle, "cuDeviceGet");
	int (*get_name)(char *, int, int) = dlsym(handle, "cuDeviceGetName");
	int (*get_memory)(size_t *, int) = dlsym(handle, "cuDeviceTotalMem_v2");
	int (*get_attribute)(int *, int, int) = dlsym(handle, "cuDeviceGetAttribute");
	int device;
	if (!get || !get_name || !get_memory || !get_attribute) return -1;
	if (get(&device, index) || get_name(name, 256, device) || get_memory(memory, device)) return -1;
	return get_attribute(major, 75, device) || get_attribute(minor, 76, device) ? -1 : 0; // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_…
}
*/
import "C"

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"unsafe"
)

// find returns the file that the loader takes for a name, or why there is none.
func find(name string) (path, message string) {
	c := C.CString(name)
	defer C.free(unsafe.Pointer(c))
	var m *C.char
	p := C.cudalibs_find(c, &m)
	defer C.free(unsafe.Pointer(p))
	defer C.free(unsafe.Pointer(m))
	if p == nil {
		return "", strings.TrimPrefix(C.GoString(m), name+": ")
	}
	return C.GoString(p), ""
}

// GPUs asks the driver which GPUs this process may use. Where there are none,
// the error says why.
func GPUs() ([]GPU, Driver, error) {
	var d Driver
	if text, err := os.ReadFile("/proc/driver/nvidia/version"); err == nil {
		d.Version = driverVersion(string(text))
	}
	var handle unsafe.Pointer
	var serves C.int
	var message *C.char
	count := C.cudalibs_driver(&handle, &serves, &message)
	if message != nil {
		defer C.free(unsafe.Pointer(message))
		return nil, d, errors.New("NVIDIA's driver: " + strings.TrimSpace(C.GoString(message)))
	}
	d.CUDA = fmt.Sprintf("%d.%d", serves/1000, serves%1000/10)
	if count == 0 {
		return nil, d, errors.New("NVIDIA's driver shows this process no GPU")
	}
	list := make([]GPU, count)
	for i := range list {
		var name [256]C.char
		var memory C.size_t
		var major, minor C.int
		if C.cudalibs_gpu(handle, C.int(i), &name[0], &memory, &major, &minor) != 0 {
			return nil, d, fmt.Errorf("NVIDIA's driver does not describe GPU %d", i)
		}
		list[i] = GPU{Name: C.GoString(&name[0]), Memory: int64(memory), Capability: fmt.Sprintf("%d.%d", major, minor)}
	}
	return list, d, nil
}

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
*/
import "C"

import (
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

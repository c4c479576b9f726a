// The few calls to NVRTC, NVIDIA's compiler at run time, which is opened when it is first needed.
#ifndef MARCH_NVRTC_H
#define MARCH_NVRTC_H

#include <stddef.h>

// Both return NULL, or an error message that the caller frees with free.
char *nvrtc_open(const char *library, int *major, int *minor);
char *nvrtc_compile(const char *name, const char *source, const char *const *options, int count, void **image, size_t *bytes);

#endif

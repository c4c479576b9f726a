#include "nvrtc.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int result; // nvrtcResult, 0 where a call went well

#define FUNCTIONS(F)                                                                                 \
  F(nvrtcVersion, int *, int *)                                                                      \
  F(nvrtcCreateProgram, void **, const char *, const char *, int, const char *const *, const char *const *) \
  F(nvrtcDestroyProgram, void **)                                                                    \
  F(nvrtcCompileProgram, void *, int, const char *const *)                                           \
  F(nvrtcGetProgramLogSize, void *, size_t *)                                                        \
  F(nvrtcGetProgramLog, void *, char *)                                                              \
  F(nvrtcGetCUBINSize, void *, size_t *)                                                             \
  F(nvrtcGetCUBIN, void *, char *)

#define DECLARE(name, ...) static result (*name)(__VA_ARGS__);
FUNCTIONS(DECLARE)

static char *copy(const char *text) {
  char *c = strdup(text);
  if (!c) abort(); // a few bytes: nothing sensible is left to do
  return c;
}

static char *fail(const char *call, result r) {
  if (r == 0) return NULL;
  char message[128];
  snprintf(message, sizeof message, "%s: NVRTC's result %d", call, r);
  return copy(message);
}

char *nvrtc_open(const char *library, int *major, int *minor) {
  void *h = dlopen(library, RTLD_NOW | RTLD_LOCAL);
  if (!h) return copy(dlerror());
#define FIND(name, ...) \
  if (!(*(void **)&name = dlsym(h, #name))) return copy("it lacks " #name);
  FUNCTIONS(FIND)
  return fail("nvrtcVersion", nvrtcVersion(major, minor));
}

char *nvrtc_compile(const char *name, const char *source, const char *const *options, int count, void **image, size_t *bytes) {
  void *program;
  char *message = fail("nvrtcCreateProgram", nvrtcCreateProgram(&program, source, name, 0, NULL, NULL));
  if (message) return message;
  if (nvrtcCompileProgram(program, count, options) != 0) {
    size_t size = 0;
    if (nvrtcGetProgramLogSize(program, &size) == 0 && (message = malloc(size + 1))) {
      message[0] = 0;
      nvrtcGetProgramLog(program, message);
      message[size] = 0;
    } else {
      message = copy("it does not compile");
    }
  } else if (!(message = fail("nvrtcGetCUBINSize", nvrtcGetCUBINSize(program, bytes)))) {
    *image = malloc(*bytes);
    message = *image ? fail("nvrtcGetCUBIN", nvrtcGetCUBIN(program, *image)) : copy("out of memory");
  }
  nvrtcDestroyProgram(&program);
  return message;
}

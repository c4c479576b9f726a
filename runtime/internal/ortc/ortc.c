#define _GNU_SOURCE // dladdr
#include "ortc.h"

#include <dlfcn.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef void *status; // OrtStatus*, NULL where a call went well

// OrtApiBase, ONNX Runtime's one fixed structure.
typedef struct {
  const void *(*get_api)(uint32_t version);
  const char *(*get_version_string)(void);
} api_base;

// CALL(api, Name, result type, parameter types...) is the function Name of the
// table, ready to be called.
#define CALL(api, name, result, ...) ((result(*)(__VA_ARGS__))((void *const *)(api))[ORTC_##name])

static char *copy(const char *text) {
  char *c = strdup(text ? text : "");
  if (!c) abort(); // a few bytes: nothing sensible is left to do
  return c;
}

// take turns a status into a message and releases it.
static char *take(ortc_api api, status s) {
  if (!s) return NULL;
  char *message = copy(CALL(api, GetErrorMessage, const char *, const void *)(s));
  CALL(api, ReleaseStatus, void, void *)(s);
  return message;
}

char *ortc_open(const char *library, void **handle, void **base, char **path, char **version) {
  // NOW: a library that lacks something fails here and not in the middle of a
  // run.
  void *h = dlopen(library, RTLD_NOW | RTLD_LOCAL);
  if (!h) return copy(dlerror());
  void *entry = dlsym(h, "OrtGetApiBase");
  if (!entry) {
    dlclose(h);
    return copy("not an ONNX Runtime library: it has no function OrtGetApiBase");
  }
  const api_base *b = ((const api_base *(*)(void))entry)();
  const char *v = b && b->get_api && b->get_version_string ? b->get_version_string() : NULL;
  if (!v) {
    dlclose(h);
    return copy("not an ONNX Runtime library: its OrtGetApiBase gives no version");
  }
  Dl_info info;
  *path = copy(dladdr(entry, &info) && info.dli_fname ? info.dli_fname : library);
  *version = copy(v);
  *base = (void *)b;
  *handle = h;
  return NULL;
}

void ortc_close(void *handle) { dlclose(handle); }

ortc_api ortc_get_api(void *base, uint32_t version) { return ((const api_base *)base)->get_api(version); }

void ortc_no_telemetry(void) {
  // Since 1.29 the official libraries for Linux and macOS send usage data to
  // their maker and leave an identifier in the cache folder, from the moment
  // the environment is made, too early for DisableTelemetryEvents. This
  // variable is the documented way to have none of it.
  setenv("ORT_DISABLE_TELEMETRY", "1", 1);
}

char *ortc_providers(ortc_api api, char ***names, int *count) {
  return take(api, CALL(api, GetAvailableProviders, status, char ***, int *)(names, count));
}

void ortc_release_providers(ortc_api api, char **names, int count) {
  take(api, CALL(api, ReleaseAvailableProviders, status, char **, int)(names, count));
}

char *ortc_new_tensor(ortc_api api, int gpu, void *data, size_t bytes, const int64_t *shape, size_t rank, int type, void **value) {
  void *memory = NULL;
  // OrtDeviceAllocator and OrtMemTypeDefault, both 0: plain memory, not ONNX
  // Runtime's arena.
  status s = gpu < 0 ? CALL(api, CreateCpuMemoryInfo, status, int, int, void **)(0, 0, &memory)
                     : CALL(api, CreateMemoryInfo, status, const char *, int, int, int, void **)("Cuda", 0, gpu, 0, &memory);
  if (s) return take(api, s);
  s = CALL(api, CreateTensorWithDataAsOrtValue, status, const void *, void *, size_t, const int64_t *, size_t, int,
           void **)(memory, data, bytes, shape, rank, type, value);
  CALL(api, ReleaseMemoryInfo, void, void *)(memory);
  return take(api, s);
}

void ortc_release_value(ortc_api api, void *value) { CALL(api, ReleaseValue, void, void *)(value); }

char *ortc_count(ortc_api api, void *session, int outputs, size_t *count) {
  return take(api, outputs ? CALL(api, SessionGetOutputCount, status, const void *, size_t *)(session, count)
                           : CALL(api, SessionGetInputCount, status, const void *, size_t *)(session, count));
}

static char *describe_tensor(ortc_api api, const void *type_info, ortc_port *port) {
  const void *tensor = NULL; // belongs to type_info
  status s = CALL(api, CastTypeInfoToTensorInfo, status, const void *, const void **)(type_info, &tensor);
  if (s) return take(api, s);
  if (!tensor) return NULL; // a sequence, a map, ...: rank stays -1
  s = CALL(api, GetTensorElementType, status, const void *, int *)(tensor, &port->type);
  if (s) return take(api, s);
  size_t rank = 0;
  s = CALL(api, GetDimensionsCount, status, const void *, size_t *)(tensor, &rank);
  if (s) return take(api, s);
  if (rank > ORTC_MAX_RANK) {
    char text[64];
    snprintf(text, sizeof text, "%zu dimensions, at most %d are supported", rank, ORTC_MAX_RANK);
    return copy(text);
  }
  if (rank > 0) {
    s = CALL(api, GetDimensions, status, const void *, int64_t *, size_t)(tensor, port->shape, rank);
    if (s) return take(api, s);
    const char *symbols[ORTC_MAX_RANK] = {0}; // belong to type_info
    s = CALL(api, GetSymbolicDimensions, status, const void *, const char **, size_t)(tensor, symbols, rank);
    if (s) return take(api, s);
    for (size_t i = 0; i < rank; i++) {
      if (symbols[i] && *symbols[i]) port->symbols[i] = copy(symbols[i]);
    }
  }
  port->rank = (int)rank;
  return NULL;
}

char *ortc_describe(ortc_api api, void *session, int outputs, size_t index, ortc_port *port) {
  memset(port, 0, sizeof *port);
  port->rank = -1;
  void *allocator = NULL; // belongs to ONNX Runtime
  status s = CALL(api, GetAllocatorWithDefaultOptions, status, void **)(&allocator);
  if (s) return take(api, s);
  char *name = NULL;
  s = outputs ? CALL(api, SessionGetOutputName, status, const void *, size_t, void *, char **)(session, index, allocator, &name)
              : CALL(api, SessionGetInputName, status, const void *, size_t, void *, char **)(session, index, allocator, &name);
  if (s) return take(api, s);
  port->name = copy(name);
  take(api, CALL(api, AllocatorFree, status, void *, void *)(allocator, name));
  void *type_info = NULL;
  s = outputs ? CALL(api, SessionGetOutputTypeInfo, status, const void *, size_t, void **)(session, index, &type_info)
              : CALL(api, SessionGetInputTypeInfo, status, const void *, size_t, void **)(session, index, &type_info);
  if (s) return take(api, s);
  char *message = describe_tensor(api, type_info, port);
  CALL(api, ReleaseTypeInfo, void, void *)(type_info);
  return message;
}

void ortc_free_port(ortc_port *port) {
  free(port->name);
  for (int i = 0; i < ORTC_MAX_RANK; i++) free(port->symbols[i]);
  memset(port, 0, sizeof *port);
}

char *ortc_deterministic(ortc_api api, void *session_options) {
  return take(api, CALL(api, SetDeterministicCompute, status, void *, bool)(session_options, true));
}

static struct {
  struct sigaction action;
  int known;
} handlers[NSIG];

void ortc_signals_save(void) {
  for (int i = 1; i < NSIG; i++) handlers[i].known = sigaction(i, NULL, &handlers[i].action) == 0;
}

void ortc_signals_restore(void) {
  for (int i = 1; i < NSIG; i++) {
    struct sigaction now;
    if (handlers[i].known && sigaction(i, NULL, &now) == 0 && now.sa_sigaction != handlers[i].action.sa_sigaction) {
      sigaction(i, &handlers[i].action, NULL);
    }
  }
}

char *ortc_end_profiling(ortc_api api, void *session, char **path) {
  void *allocator = NULL;
  status s = CALL(api, GetAllocatorWithDefaultOptions, status, void **)(&allocator);
  if (s) return take(api, s);
  char *text = NULL;
  s = CALL(api, SessionEndProfiling, status, void *, void *, char **)(session, allocator, &text);
  if (s) return take(api, s);
  *path = copy(text);
  take(api, CALL(api, AllocatorFree, status, void *, void *)(allocator, text));
  return NULL;
}

#include "cudadrv.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long long device_pointer; // CUdeviceptr
typedef int result;                        // CUresult, 0 where a call went well

// The functions that are used, with their result and parameters.
#define FUNCTIONS(F)                                                          \
  F(cuInit, unsigned)                                                         \
  F(cuDriverGetVersion, int *)                                                \
  F(cuGetErrorName, result, const char **)                                    \
  F(cuGetErrorString, result, const char **)                                  \
  F(cuDeviceGetCount, int *)                                                  \
  F(cuDeviceGet, int *, int)                                                  \
  F(cuDeviceGetName, char *, int, int)                                        \
  F(cuDeviceTotalMem_v2, size_t *, int)                                       \
  F(cuDeviceGetAttribute, int *, int, int)                                    \
  F(cuDevicePrimaryCtxRetain, void **, int)                                   \
  F(cuDevicePrimaryCtxRelease_v2, int)                                        \
  F(cuCtxSetCurrent, void *)                                                  \
  F(cuStreamCreate, void **, unsigned)                                        \
  F(cuStreamDestroy_v2, void *)                                               \
  F(cuStreamSynchronize, void *)                                              \
  F(cuMemGetInfo_v2, size_t *, size_t *)                                      \
  F(cuMemAlloc_v2, device_pointer *, size_t)                                  \
  F(cuMemFree_v2, device_pointer)                                             \
  F(cuMemHostAlloc, void **, size_t, unsigned)                                \
  F(cuMemFreeHost, void *)                                                    \
  F(cuMemsetD8Async, device_pointer, unsigned char, size_t, void *)           \
  F(cuMemcpyHtoDAsync_v2, device_pointer, const void *, size_t, void *)       \
  F(cuMemcpyDtoHAsync_v2, void *, device_pointer, size_t, void *)             \
  F(cuMemcpyDtoDAsync_v2, device_pointer, device_pointer, size_t, void *)     \
  F(cuEventCreate, void **, unsigned)                                         \
  F(cuEventDestroy_v2, void *)                                                \
  F(cuEventRecord, void *, void *)                                            \
  F(cuEventSynchronize, void *)

#define DECLARE(name, ...) static result (*name)(__VA_ARGS__);
FUNCTIONS(DECLARE)

static char *copy(const char *text) {
  char *c = strdup(text);
  if (!c) abort(); // a few bytes: nothing sensible is left to do
  return c;
}

// fail is the message of a call that went wrong, NULL of one that did not.
static char *fail(const char *call, result r) {
  if (r == 0) return NULL;
  const char *name = "unknown error", *text = "";
  if (cuGetErrorName) cuGetErrorName(r, &name);
  if (cuGetErrorString) cuGetErrorString(r, &text);
  char message[512];
  if (r == 2) { // CUDA_ERROR_OUT_OF_MEMORY
    snprintf(message, sizeof message, "out of memory on the GPU (%s)", call);
  } else {
    snprintf(message, sizeof message, "%s: %s (%s)", call, text ? text : "", name ? name : "unknown error");
  }
  return copy(message);
}

#define TRY(name, ...)                             \
  do {                                             \
    char *message = fail(#name, name(__VA_ARGS__)); \
    if (message) return message;                   \
  } while (0)

// CONTEXT makes the calls that follow go to the context: CUDA keeps the current one a
// thread, and Go moves goroutines between threads. Callers need not lock their thread,
// for each function here sets it in the same call.
#define CONTEXT() TRY(cuCtxSetCurrent, context)

static device_pointer address(const void *p) { return (device_pointer)(uintptr_t)p; }

static struct {
  pthread_once_t once;
  char *message;
  int version;
} loaded = {PTHREAD_ONCE_INIT, NULL, 0};

static void load(void) {
  void *h = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!h) {
    loaded.message = copy("no NVIDIA driver: libcuda.so.1 is not there");
    return;
  }
#define FIND(name, ...)                                                     \
  if (!(*(void **)&name = dlsym(h, #name))) {                               \
    loaded.message = copy("the NVIDIA driver is too old: it lacks " #name); \
    return;                                                                 \
  }
  FUNCTIONS(FIND)
  if ((loaded.message = fail("cuInit", cuInit(0)))) return;
  loaded.message = fail("cuDriverGetVersion", cuDriverGetVersion(&loaded.version));
}

char *cudadrv_load(int *version) {
  pthread_once(&loaded.once, load);
  if (loaded.message) return copy(loaded.message);
  *version = loaded.version;
  return NULL;
}

char *cudadrv_count(int *devices) {
  TRY(cuDeviceGetCount, devices);
  return NULL;
}

char *cudadrv_describe(int device, cudadrv_info *info) {
  int d;
  memset(info, 0, sizeof *info);
  TRY(cuDeviceGet, &d, device);
  TRY(cuDeviceGetName, info->name, sizeof info->name - 1, d);
  TRY(cuDeviceTotalMem_v2, &info->memory, d);
  TRY(cuDeviceGetAttribute, &info->multiprocessors, 16, d); // MULTIPROCESSOR_COUNT
  TRY(cuDeviceGetAttribute, &info->major, 75, d);           // COMPUTE_CAPABILITY_MAJOR
  TRY(cuDeviceGetAttribute, &info->minor, 76, d);           // and MINOR
  cuDeviceGetAttribute(&info->clock, 13, d);        // CLOCK_RATE
  cuDeviceGetAttribute(&info->memory_clock, 36, d); // MEMORY_CLOCK_RATE
  cuDeviceGetAttribute(&info->bus, 37, d);          // GLOBAL_MEMORY_BUS_WIDTH
  return NULL;
}

char *cudadrv_open(int device, void **opened, void **stream) {
  int d;
  void *context;
  TRY(cuDeviceGet, &d, device);
  TRY(cuDevicePrimaryCtxRetain, &context, d);
  char *message = fail("cuCtxSetCurrent", cuCtxSetCurrent(context));
  // Not ordered after the legacy default stream, which nothing here uses.
  if (!message) message = fail("cuStreamCreate", cuStreamCreate(stream, 1));
  if (message) {
    cuDevicePrimaryCtxRelease_v2(d);
    return message;
  }
  *opened = context;
  return NULL;
}

void cudadrv_close(int device, void *context, void *stream) {
  int d;
  if (cuCtxSetCurrent(context) == 0) {
    cuStreamSynchronize(stream);
    cuStreamDestroy_v2(stream);
  }
  if (cuDeviceGet(&d, device) == 0) cuDevicePrimaryCtxRelease_v2(d);
}

char *cudadrv_alloc(void *context, size_t bytes, void **memory) {
  CONTEXT();
  device_pointer p = 0;
  TRY(cuMemAlloc_v2, &p, bytes);
  *memory = (void *)(uintptr_t)p;
  return NULL;
}

char *cudadrv_free(void *context, void *memory) {
  CONTEXT();
  TRY(cuMemFree_v2, address(memory));
  return NULL;
}

char *cudadrv_zero(void *context, void *stream, void *memory, size_t bytes) {
  CONTEXT();
  TRY(cuMemsetD8Async, address(memory), 0, bytes, stream);
  return NULL;
}

char *cudadrv_upload(void *context, void *stream, void *to, const void *from, size_t bytes) {
  CONTEXT();
  TRY(cuMemcpyHtoDAsync_v2, address(to), from, bytes, stream);
  return NULL;
}

char *cudadrv_download(void *context, void *stream, void *to, const void *from, size_t bytes) {
  CONTEXT();
  TRY(cuMemcpyDtoHAsync_v2, to, address(from), bytes, stream);
  TRY(cuStreamSynchronize, stream);
  return NULL;
}

char *cudadrv_copy(void *context, void *stream, void *to, const void *from, size_t bytes) {
  CONTEXT();
  TRY(cuMemcpyDtoDAsync_v2, address(to), address(from), bytes, stream);
  return NULL;
}

char *cudadrv_synchronize(void *context, void *stream) {
  CONTEXT();
  TRY(cuStreamSynchronize, stream);
  return NULL;
}

char *cudadrv_memory(void *context, size_t *available, size_t *total) {
  CONTEXT();
  TRY(cuMemGetInfo_v2, available, total);
  return NULL;
}

char *cudadrv_alloc_host(void *context, size_t bytes, void **memory) {
  CONTEXT();
  TRY(cuMemHostAlloc, memory, bytes, 0);
  return NULL;
}

char *cudadrv_free_host(void *context, void *memory) {
  CONTEXT();
  TRY(cuMemFreeHost, memory);
  return NULL;
}

char *cudadrv_event(void *context, void **event) {
  CONTEXT();
  TRY(cuEventCreate, event, 2); // without a clock: DISABLE_TIMING
  return NULL;
}

char *cudadrv_free_event(void *context, void *event) {
  CONTEXT();
  TRY(cuEventDestroy_v2, event);
  return NULL;
}

char *cudadrv_record(void *context, void *stream, void *event) {
  CONTEXT();
  TRY(cuEventRecord, event, stream);
  return NULL;
}

char *cudadrv_wait(void *context, void *event) {
  CONTEXT();
  TRY(cuEventSynchronize, event);
  return NULL;
}

// The calls to ONNX Runtime's C interface that onnxruntime_go lacks. ONNX
// Runtime's own header is not needed: OrtApi is a table of function pointers
// that only ever grows at its end, so each function is named by its position.
// A test compares the positions with the header in onnxruntime_go's module.
#ifndef MARCH_ORTC_H
#define MARCH_ORTC_H

#include <stddef.h>
#include <stdint.h>

// Positions in OrtApi.
enum {
  ORTC_GetErrorMessage = 2,
  ORTC_SessionGetInputCount = 30,
  ORTC_SessionGetOutputCount = 31,
  ORTC_SessionGetInputTypeInfo = 33,
  ORTC_SessionGetOutputTypeInfo = 34,
  ORTC_SessionGetInputName = 36,
  ORTC_SessionGetOutputName = 37,
  ORTC_CreateTensorWithDataAsOrtValue = 49,
  ORTC_CastTypeInfoToTensorInfo = 55,
  ORTC_GetTensorElementType = 60,
  ORTC_GetDimensionsCount = 61,
  ORTC_GetDimensions = 62,
  ORTC_GetSymbolicDimensions = 63,
  ORTC_CreateMemoryInfo = 68,
  ORTC_CreateCpuMemoryInfo = 69,
  ORTC_AllocatorFree = 76,
  ORTC_GetAllocatorWithDefaultOptions = 78,
  ORTC_ReleaseStatus = 93,
  ORTC_ReleaseMemoryInfo = 94,
  ORTC_ReleaseValue = 96,
  ORTC_ReleaseTypeInfo = 98,
  ORTC_SessionEndProfiling = 110,
  ORTC_GetAvailableProviders = 125,
  ORTC_ReleaseAvailableProviders = 126,
  ORTC_SetDeterministicCompute = 273,
};

// Opaque: a pointer to OrtApi.
typedef const void *ortc_api;

// Every function below that returns char* returns NULL, or an error message
// that the caller frees. Strings given back through a char** are freed by the
// caller too, with free.

// ortc_open loads a library and finds its entry point. It runs nothing of ONNX
// Runtime but the function that names the version. *path is the file the
// system's loader took.
char *ortc_open(const char *library, void **handle, void **base, char **path, char **version);
void ortc_close(void *handle);

// ortc_get_api returns NULL where the library is too old for that version; the
// library then also writes to stderr, so look at the version before.
ortc_api ortc_get_api(void *base, uint32_t version);

// ortc_no_telemetry must come before the environment is made.
void ortc_no_telemetry(void);

char *ortc_providers(ortc_api api, char ***names, int *count);
void ortc_release_providers(ortc_api api, char **names, int count);

// ortc_new_tensor makes a tensor value over memory that it does not own: the GPU's of
// that number, or the host's where gpu is negative.
char *ortc_new_tensor(ortc_api api, int gpu, void *data, size_t bytes, const int64_t *shape, size_t rank, int type, void **value);
void ortc_release_value(ortc_api api, void *value);

enum { ORTC_MAX_RANK = 16 };

// ortc_port is an input or output of a session. rank is -1 where it is not a
// tensor. symbols are NULL for dimensions without a name.
typedef struct {
  char *name;
  int type;
  int rank;
  int64_t shape[ORTC_MAX_RANK];
  char *symbols[ORTC_MAX_RANK];
} ortc_port;

char *ortc_count(ortc_api api, void *session, int outputs, size_t *count);
char *ortc_describe(ortc_api api, void *session, int outputs, size_t index, ortc_port *port);
void ortc_free_port(ortc_port *port);

char *ortc_deterministic(ortc_api api, void *session_options);

// ortc_signals_save notes the handlers of all signals, ortc_signals_restore puts back
// those that were changed since. CUDA's start replaces Go's handlers by ones that end the
// process at Ctrl-C. One caller at a time.
void ortc_signals_save(void);
void ortc_signals_restore(void);

// ortc_end_profiling writes the profile and gives its file's path.
char *ortc_end_profiling(ortc_api api, void *session, char **path);

#endif

// Kernels on NVIDIA's GPUs: modules, programs of launches, and matrix products by cuBLASLt. The driver and cuBLASLt are
// opened at run time, and their headers are not needed: the functions' C interface is fixed.
#ifndef MARCH_LAUNCH_H
#define MARCH_LAUNCH_H

#include <stddef.h>
#include <stdint.h>

// Every function that returns char* returns NULL, or an error message that the caller frees with free.

// launch_open opens both libraries once; later calls return what the first one did.
char *launch_open(void);

// A device is what all programs on one GPU share.
typedef struct launch_device launch_device;
char *launch_device_new(void *context, void *stream, int deterministic, launch_device **device);
void launch_device_free(launch_device *device);
// launch_reserve makes the scratch memory at least so large. Memory that was scratch before stays until the end:
// recorded graphs may hold its address.
char *launch_reserve(launch_device *device, size_t bytes);
char *launch_module(launch_device *device, const void *image, void **module);
char *launch_function(launch_device *device, void *module, const char *name, int shared, void **function);

enum { LAUNCH_NUMBER, LAUNCH_INPUT, LAUNCH_OUTPUT, LAUNCH_SCRATCH };

typedef struct {
  int kind;
  int64_t index; // of the input or output; bytes into the scratch memory
  uint64_t bits; // the number; of an input or output, bytes from its begin
  uint64_t rows, columns; // of a matrix in bfloat16 that lies there, where the kernel takes what the copying engine knows it by; else 0
  unsigned wide;          // columns of its boxes: 32 or 64
} launch_arg;

enum { LAUNCH_MAX_ARGS = 40, LAUNCH_MAX_BOXES = 8 };

typedef struct {
  int kind; // one of LAUNCH_STEP_…
  void *function;
  unsigned grid[3], block[3], shared;
  int count; // of args
  launch_arg args[LAUNCH_MAX_ARGS];
  size_t bytes;  // of a fill or copy: to args[0], from args[1]
  void *product; // of a product of args: A, B, C, D, bias
} launch_step;

enum { LAUNCH_STEP_KERNEL, LAUNCH_STEP_ZERO, LAUNCH_STEP_COPY, LAUNCH_STEP_PRODUCT };

// launch_run queues the steps on the stream. Addresses are those of this run. label is what a profile files them under.
char *launch_run(launch_device *device, const launch_step *steps, int count, void *const *inputs, void *const *outputs, int label);

// launch_profile begins a profile, or ends it: then it waits for the stream and adds each label's calls and
// milliseconds to the arrays, which have so many entries. What the profile's own events take is left out.
char *launch_profile(launch_device *device, int begin, int labels, int64_t *calls, double *ms);

typedef struct {
  int type_in, type_out; // numbers of ONNX's TensorProto.DataType: 1 or 16
  int64_t m, n, k, lda, ldb, ldd;
  int trans_a, trans_b;
  float alpha;
  int bias, addend; // whether there are; an addend is added as it is
  int tf32;
} launch_shape;

// What cuBLASLt calls an algorithm; all zero is none. It may be kept for the same version of cuBLASLt.
typedef struct {
  uint64_t data[8];
} launch_algorithm;

// launch_product chooses an algorithm: the one given, where there is one that fits; else the quickest of a few runs on memory of
// its own; the first of cuBLASLt's own order on a deterministic device. The one chosen is left in algorithm.
char *launch_product(launch_device *device, const launch_shape *shape, launch_algorithm *algorithm, void **product);

// launch_version is cuBLASLt's.
uint64_t launch_version(void);

#endif

// March's operators for ONNX Runtime: an OrtCustomOp for each, whose kernels run programs of package launch on a GPU, nodes of package
// hostkernels on a CPU.
#ifndef MARCH_CUSTOMOP_H
#define MARCH_CUSTOMOP_H

#include <stddef.h>
#include <stdint.h>

#include "../hostkernels/hostkernels.h"
#include "../launch/launch.h"

// Positions in OrtApi: see package ortc.
enum {
  ORTC_CreateStatus = 0,
  ORTC_CreateCustomOpDomain = 26,
  ORTC_CustomOpDomain_Add = 27,
  ORTC_AddCustomOpDomain = 28,
  ORTC_GetErrorMessage = 2,
  ORTC_GetTensorMutableData = 51,
  ORTC_CastTypeInfoToTensorInfo = 55,
  ORTC_GetTensorElementType = 60,
  ORTC_GetDimensionsCount = 61,
  ORTC_GetDimensions = 62,
  ORTC_KernelInfoGetAttribute_float = 85,
  ORTC_KernelInfoGetAttribute_int64 = 86,
  ORTC_KernelInfoGetAttribute_string = 87,
  ORTC_KernelContext_GetInput = 90,
  ORTC_KernelContext_GetOutput = 91,
  ORTC_ReleaseStatus = 93,
  ORTC_ReleaseTypeInfo = 98,
  ORTC_ReleaseCustomOpDomain = 101,
  ORTC_KernelInfoGetAttributeArray_int64 = 163,
  ORTC_KernelInfo_GetInputCount = 230,
  ORTC_KernelInfo_GetOutputCount = 231,
  ORTC_KernelInfo_GetInputTypeInfo = 234,
  ORTC_KernelInfo_GetOutputTypeInfo = 235,
  ORTC_KernelContext_ParallelFor = 274,
};

typedef const void *customop_api; // a pointer to OrtApi

// customop_domain makes the domain with an operator for each name, of an execution provider. handle comes back in customop_create.
char *customop_domain(customop_api api, uint32_t version, const char *domain, const char *provider, const char *const *names, int count, uintptr_t handle, void **made);
char *customop_add(customop_api api, void *session_options, void *domain);

enum { CUSTOMOP_MAX_RANK = 8, CUSTOMOP_MAX_PORTS = 24 };

typedef struct {
  int type; // a number of TensorProto.DataType
  int rank; // -1: not known, or no tensor
  int64_t shape[CUSTOMOP_MAX_RANK];
} customop_port;

// What ONNX Runtime tells of a node.
char *customop_count(customop_api api, const void *info, int outputs, size_t *count);
char *customop_port_of(customop_api api, const void *info, int outputs, size_t index, customop_port *port);
// These return 0 where the node has no such attribute.
int customop_int(customop_api api, const void *info, const char *name, int64_t *value);
int customop_float(customop_api api, const void *info, const char *name, float *value);
int customop_string(customop_api api, const void *info, const char *name, char *value, size_t size);
int customop_ints(customop_api api, const void *info, const char *name, int64_t *values, size_t *count);

// customop_kernel is what a node runs: steps on a GPU's device, or host.
typedef struct {
  customop_api api;
  hostkernels_node *host; // belongs to the kernel
  char *(*run_host)(const hostkernels_node *, void *const *, void *const *, const hostkernels_pool *); // hostkernels_run
  launch_device *device;
  launch_step *steps;
  char *(*run)(launch_device *, const launch_step *, int, void *const *, void *const *, int); // launch_run
  int count, label;
  int inputs, outputs; // how many the node has
  int slots[CUSTOMOP_MAX_PORTS]; // of the operator's inputs, for each input of the node
  customop_port shapes[CUSTOMOP_MAX_PORTS]; // of the outputs
} customop_kernel;

#endif

#include "customop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "_cgo_export.h"

typedef void *status; // OrtStatus*, NULL where a call went well

#define CALL(api, name, result, ...) ((result(*)(__VA_ARGS__))((void *const *)(api))[ORTC_##name])

static char *copy(const char *text) {
  char *c = strdup(text ? text : "");
  if (!c) abort(); // a few bytes: nothing sensible is left to do
  return c;
}

static char *take(customop_api api, status s) {
  if (!s) return NULL;
  char *message = copy(CALL(api, GetErrorMessage, const char *, const void *)(s));
  CALL(api, ReleaseStatus, void, void *)(s);
  return message;
}

static status give(customop_api api, char *message) {
  if (!message) return NULL;
  status s = CALL(api, CreateStatus, status, int, const char *)(1, message); // ORT_FAIL
  free(message);
  return s;
}

// OrtCustomOp, in the interface's version 24. A test compares the order with the header.
typedef struct custom_op {
  uint32_t version;
  void *(*CreateKernel)(const struct custom_op *, const void *, const void *);
  const char *(*GetName)(const struct custom_op *);
  const char *(*GetExecutionProviderType)(const struct custom_op *);
  int (*GetInputType)(const struct custom_op *, size_t);
  size_t (*GetInputTypeCount)(const struct custom_op *);
  int (*GetOutputType)(const struct custom_op *, size_t);
  size_t (*GetOutputTypeCount)(const struct custom_op *);
  void (*KernelCompute)(void *, void *);
  void (*KernelDestroy)(void *);
  int (*GetInputCharacteristic)(const struct custom_op *, size_t);
  int (*GetOutputCharacteristic)(const struct custom_op *, size_t);
  int (*GetInputMemoryType)(const struct custom_op *, size_t);
  int (*GetVariadicInputMinArity)(const struct custom_op *);
  int (*GetVariadicInputHomogeneity)(const struct custom_op *);
  int (*GetVariadicOutputMinArity)(const struct custom_op *);
  int (*GetVariadicOutputHomogeneity)(const struct custom_op *);
  status (*CreateKernelV2)(const struct custom_op *, const void *, const void *, void **);
  status (*KernelComputeV2)(void *, void *);
  status (*InferOutputShapeFn)(const struct custom_op *, void *);
  int (*GetStartVersion)(const struct custom_op *);
  int (*GetEndVersion)(const struct custom_op *);
  size_t (*GetMayInplace)(int **, int **);
  void (*ReleaseMayInplace)(int *, int *);
  size_t (*GetAliasMap)(int **, int **);
  void (*ReleaseAliasMap)(int *, int *);
  // march's own, behind what ONNX Runtime reads
  customop_api api;
  uintptr_t handle;
  char name[64], provider[64];
} custom_op;

static const char *get_name(const custom_op *op) { return op->name; }
static const char *get_provider(const custom_op *op) { return op->provider; }
// One input and one output, each standing for any number of any types: then ONNX Runtime infers no
// types and takes those that the file states.
static int any_type(const custom_op *op, size_t i) { return 0; }
static size_t one(const custom_op *op) { return 1; }
static int variadic(const custom_op *op, size_t i) { return 2; }
static int on_device(const custom_op *op, size_t i) { return 0; } // OrtMemTypeDefault
static int at_least_one(const custom_op *op) { return 1; }
static int mixed(const custom_op *op) { return 0; }
static int first_version(const custom_op *op) { return 1; }
static int last_version(const custom_op *op) { return 1000; }

static status create(const custom_op *op, const void *api, const void *info, void **kernel) {
  char *message = customop_create(op->handle, (char *)op->name, (void *)info, kernel);
  return give(op->api, message);
}

static void destroy(void *kernel) {
  customop_kernel *k = kernel;
  if (!k) return;
  free(k->steps);
  free(k->host);
  free(k);
}

// Threads of the session that runs the node.
typedef struct {
  customop_api api;
  void *context; // OrtKernelContext
} threads;

static char *each(void *of, void (*f)(void *, size_t), size_t count, void *data) {
  const threads *t = of;
  return take(t->api, CALL(t->api, KernelContext_ParallelFor, status, const void *, void (*)(void *, size_t), size_t, size_t, void *)(t->context, f, count, 0, data));
}

static status compute(void *kernel, void *context) {
  const customop_kernel *k = kernel;
  void *in[CUSTOMOP_MAX_PORTS] = {0}, *out[CUSTOMOP_MAX_PORTS] = {0};
  for (int i = 0; i < k->inputs; i++) {
    const void *value = NULL;
    status s = CALL(k->api, KernelContext_GetInput, status, const void *, size_t, const void **)(context, i, &value);
    if (!s && value) s = CALL(k->api, GetTensorMutableData, status, const void *, void **)(value, &in[k->slots[i]]);
    if (s) return s;
  }
  for (int i = 0; i < k->outputs; i++) {
    void *value = NULL;
    const customop_port *p = &k->shapes[i];
    status s = CALL(k->api, KernelContext_GetOutput, status, void *, size_t, const int64_t *, size_t, void **)(context, i, p->shape, p->rank, &value);
    if (!s && value) s = CALL(k->api, GetTensorMutableData, status, void *, void **)(value, &out[i]);
    if (s) return s;
  }
  if (k->host) {
    threads t = {k->api, context};
    const hostkernels_pool pool = {each, &t};
    return give(k->api, k->run_host(k->host, in, out, &pool));
  }
  return give(k->api, k->run(k->device, k->steps, k->count, in, out, k->label));
}

char *customop_domain(customop_api api, uint32_t version, const char *domain, const char *provider, const char *const *names, int count, uintptr_t handle, void **made) {
  char *message = take(api, CALL(api, CreateCustomOpDomain, status, const char *, void **)(domain, made));
  for (int i = 0; i < count && !message; i++) {
    custom_op *op = calloc(1, sizeof *op); // lives as long as the process: sessions may
    if (!op) return copy("out of memory");
    op->version = version;
    op->GetName = get_name;
    op->GetExecutionProviderType = get_provider;
    op->GetInputType = any_type;
    op->GetInputTypeCount = one;
    op->GetOutputType = any_type;
    op->GetOutputTypeCount = one;
    op->KernelDestroy = destroy;
    op->GetInputCharacteristic = variadic;
    op->GetOutputCharacteristic = variadic;
    op->GetInputMemoryType = on_device;
    op->GetVariadicInputMinArity = at_least_one;
    op->GetVariadicInputHomogeneity = mixed;
    op->GetVariadicOutputMinArity = at_least_one;
    op->GetVariadicOutputHomogeneity = mixed;
    op->CreateKernelV2 = create;
    op->KernelComputeV2 = compute;
    op->GetStartVersion = first_version;
    op->GetEndVersion = last_version;
    op->api = api;
    op->handle = handle;
    snprintf(op->name, sizeof op->name, "%s", names[i]);
    snprintf(op->provider, sizeof op->provider, "%s", provider);
    message = take(api, CALL(api, CustomOpDomain_Add, status, void *, const void *)(*made, op));
  }
  return message;
}

char *customop_add(customop_api api, void *session_options, void *domain) {
  return take(api, CALL(api, AddCustomOpDomain, status, void *, void *)(session_options, domain));
}

char *customop_count(customop_api api, const void *info, int outputs, size_t *count) {
  return take(api, outputs ? CALL(api, KernelInfo_GetOutputCount, status, const void *, size_t *)(info, count)
                           : CALL(api, KernelInfo_GetInputCount, status, const void *, size_t *)(info, count));
}

char *customop_port_of(customop_api api, const void *info, int outputs, size_t index, customop_port *port) {
  memset(port, 0, sizeof *port);
  port->rank = -1;
  void *type_info = NULL;
  status s = outputs ? CALL(api, KernelInfo_GetOutputTypeInfo, status, const void *, size_t, void **)(info, index, &type_info)
                     : CALL(api, KernelInfo_GetInputTypeInfo, status, const void *, size_t, void **)(info, index, &type_info);
  if (s) return take(api, s);
  const void *tensor = NULL; // belongs to type_info
  size_t rank = 0;
  s = CALL(api, CastTypeInfoToTensorInfo, status, const void *, const void **)(type_info, &tensor);
  if (!s && tensor) {
    s = CALL(api, GetTensorElementType, status, const void *, int *)(tensor, &port->type);
    if (!s) s = CALL(api, GetDimensionsCount, status, const void *, size_t *)(tensor, &rank);
    if (!s && rank <= CUSTOMOP_MAX_RANK) {
      if (rank > 0) s = CALL(api, GetDimensions, status, const void *, int64_t *, size_t)(tensor, port->shape, rank);
      port->rank = (int)rank;
    }
  }
  CALL(api, ReleaseTypeInfo, void, void *)(type_info);
  return take(api, s);
}

static int found(customop_api api, status s) {
  if (s) CALL(api, ReleaseStatus, void, void *)(s);
  return s == NULL;
}

int customop_int(customop_api api, const void *info, const char *name, int64_t *value) {
  return found(api, CALL(api, KernelInfoGetAttribute_int64, status, const void *, const char *, int64_t *)(info, name, value));
}

int customop_float(customop_api api, const void *info, const char *name, float *value) {
  return found(api, CALL(api, KernelInfoGetAttribute_float, status, const void *, const char *, float *)(info, name, value));
}

int customop_string(customop_api api, const void *info, const char *name, char *value, size_t size) {
  return found(api, CALL(api, KernelInfoGetAttribute_string, status, const void *, const char *, char *, size_t *)(info, name, value, &size));
}

int customop_ints(customop_api api, const void *info, const char *name, int64_t *values, size_t *count) {
  return found(api, CALL(api, KernelInfoGetAttributeArray_int64, status, const void *, const char *, int64_t *, size_t *)(info, name, values, count));
}

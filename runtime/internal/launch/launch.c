#include "launch.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long long device_pointer; // CUdeviceptr
typedef int result;                        // CUresult or cublasStatus_t, 0 where a call went well

#define DRIVER(F)                                                                                              \
  F(cuGetErrorName, result, const char **)                                                                     \
  F(cuCtxSetCurrent, void *)                                                                                   \
  F(cuModuleLoadData, void **, const void *)                                                                   \
  F(cuModuleUnload, void *)                                                                                    \
  F(cuModuleGetFunction, void **, void *, const char *)                                                        \
  F(cuFuncSetAttribute, void *, int, int)                                                                      \
  F(cuLaunchKernel, void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *, void **, void **) \
  F(cuMemAlloc_v2, device_pointer *, size_t)                                                                   \
  F(cuMemFree_v2, device_pointer)                                                                              \
  F(cuMemsetD8Async, device_pointer, unsigned char, size_t, void *)                                            \
  F(cuMemcpyDtoDAsync_v2, device_pointer, device_pointer, size_t, void *)                                      \
  F(cuTensorMapEncodeTiled, void *, int, unsigned, void *, const uint64_t *, const uint64_t *, const unsigned *, const unsigned *, int, int, int, int) \
  F(cuStreamSynchronize, void *)                                                                               \
  F(cuEventCreate, void **, unsigned)                                                                          \
  F(cuEventDestroy_v2, void *)                                                                                 \
  F(cuEventRecord, void *, void *)                                                                             \
  F(cuEventSynchronize, void *)                                                                                \
  F(cuEventElapsedTime, float *, void *, void *)

// cublasLtMatmulAlgo_t and cublasLtMatmulHeuristicResult_t, whose sizes are part of the interface.
typedef launch_algorithm algorithm;
typedef struct {
  algorithm algo;
  size_t workspace;
  result state;
  float waves;
  int reserved[4];
} heuristic;

#define CUBLASLT(F)                                                                                            \
  F(cublasLtCreate, void **)                                                                                   \
  F(cublasLtDestroy, void *)                                                                                   \
  F(cublasLtMatmulAlgoCheck, void *, void *, void *, void *, void *, void *, const algorithm *, heuristic *)   \
  F(cublasLtMatmulDescCreate, void **, int, int)                                                               \
  F(cublasLtMatmulDescDestroy, void *)                                                                         \
  F(cublasLtMatmulDescSetAttribute, void *, int, const void *, size_t)                                         \
  F(cublasLtMatrixLayoutCreate, void **, int, uint64_t, uint64_t, int64_t)                                     \
  F(cublasLtMatrixLayoutDestroy, void *)                                                                       \
  F(cublasLtMatmulPreferenceCreate, void **)                                                                   \
  F(cublasLtMatmulPreferenceDestroy, void *)                                                                   \
  F(cublasLtMatmulPreferenceSetAttribute, void *, int, const void *, size_t)                                   \
  F(cublasLtMatmulAlgoGetHeuristic, void *, void *, void *, void *, void *, void *, void *, int, heuristic *, int *) \
  F(cublasLtMatmul, void *, void *, const void *, const void *, void *, const void *, void *, const void *, const void *, void *, void *, void *, const algorithm *, void *, size_t, void *)

#define DECLARE(name, ...) static result (*name)(__VA_ARGS__);
DRIVER(DECLARE)
CUBLASLT(DECLARE)
static size_t (*cublasLtGetVersion)(void);

static char *copy(const char *text) {
  char *c = strdup(text);
  if (!c) abort(); // a few bytes: nothing sensible is left to do
  return c;
}

static char *fail(const char *call, result r) {
  if (r == 0) return NULL;
  char message[256];
  const char *name = "";
  if (call[0] == 'c' && call[1] == 'u' && call[2] == 'b') {
    snprintf(message, sizeof message, "%s: cuBLASLt's status %d", call, r);
  } else {
    if (cuGetErrorName) cuGetErrorName(r, &name);
    snprintf(message, sizeof message, r == 2 ? "out of memory on the GPU (%s)" : "%s: %s", call, name ? name : "unknown error");
  }
  return copy(message);
}

#define TRY(name, ...)                              \
  do {                                              \
    char *message = fail(#name, name(__VA_ARGS__)); \
    if (message) return message;                    \
  } while (0)

static struct {
  pthread_once_t once;
  char *message;
} opened = {PTHREAD_ONCE_INIT, NULL};

static void open_libraries(void) {
  void *h = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!h) {
    opened.message = copy("no NVIDIA driver: libcuda.so.1 is not there");
    return;
  }
#define FIND(name, ...)                                                     \
  if (!(*(void **)&name = dlsym(h, #name))) {                               \
    opened.message = copy("the library is too old: it lacks " #name);       \
    return;                                                                 \
  }
  DRIVER(FIND)
  // What ONNX Runtime's CUDA provider has loaded is found by its name.
  const char *names[] = {"libcublasLt.so.13", "libcublasLt.so.12"};
  h = NULL;
  for (size_t i = 0; !h && i < sizeof names / sizeof *names; i++) h = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
  if (!h) {
    opened.message = copy("libcublasLt.so.13 is not there: pip install 'nvidia-cublas==13.*'");
    return;
  }
  CUBLASLT(FIND)
  FIND(cublasLtGetVersion)
}

uint64_t launch_version(void) { return cublasLtGetVersion ? cublasLtGetVersion() : 0; }

char *launch_open(void) {
  pthread_once(&opened.once, open_libraries);
  return opened.message ? copy(opened.message) : NULL;
}

enum { MAX_SCRATCH = 64, WORKSPACE = 32 << 20 };

struct launch_device {
  // Held while a node's steps are queued: sessions that run at once share scratch memory and descriptions of products.
  pthread_mutex_t queueing;
  void *context, *stream, *lt;
  int deterministic;
  device_pointer scratch, workspace;
  size_t scratch_bytes;
  device_pointer old[MAX_SCRATCH];
  int olds;
  int profiling, marks, room; // of the profile's events, two for each mark
  float between;              // milliseconds from one to the other with nothing between them
  void **events;
  int *labels;
};

char *launch_device_new(void *context, void *stream, int deterministic, launch_device **device) {
  TRY(cuCtxSetCurrent, context);
  launch_device *d = calloc(1, sizeof *d);
  if (!d) return copy("out of memory");
  pthread_mutex_init(&d->queueing, NULL);
  d->context = context;
  d->stream = stream;
  d->deterministic = deterministic;
  char *message = fail("cublasLtCreate", cublasLtCreate(&d->lt));
  if (!message) message = fail("cuMemAlloc", cuMemAlloc_v2(&d->workspace, WORKSPACE));
  if (message) {
    launch_device_free(d);
    return message;
  }
  *device = d;
  return NULL;
}

void launch_device_free(launch_device *d) {
  if (cuCtxSetCurrent(d->context) == 0) {
    cuStreamSynchronize(d->stream);
    if (d->lt) cublasLtDestroy(d->lt);
    if (d->workspace) cuMemFree_v2(d->workspace);
    if (d->scratch) cuMemFree_v2(d->scratch);
    for (int i = 0; i < d->olds; i++) cuMemFree_v2(d->old[i]);
    for (int i = 0; i < 2 * d->room; i++) cuEventDestroy_v2(d->events[i]);
  }
  pthread_mutex_destroy(&d->queueing);
  free(d->events);
  free(d->labels);
  free(d);
}

char *launch_reserve(launch_device *d, size_t bytes) {
  if (bytes <= d->scratch_bytes) return NULL;
  TRY(cuCtxSetCurrent, d->context);
  size_t size = 1 << 20; // powers of two, so that it cannot grow often
  while (size < bytes) size *= 2;
  device_pointer p;
  TRY(cuMemAlloc_v2, &p, size);
  pthread_mutex_lock(&d->queueing); // not between two steps of a node
  if (d->scratch) d->old[d->olds++] = d->scratch;
  d->scratch = p;
  d->scratch_bytes = size;
  pthread_mutex_unlock(&d->queueing);
  return NULL;
}

char *launch_module(launch_device *d, const void *image, void **module) {
  TRY(cuCtxSetCurrent, d->context);
  TRY(cuModuleLoadData, module, image);
  return NULL;
}

char *launch_function(launch_device *d, void *module, const char *name, int shared, void **function) {
  TRY(cuCtxSetCurrent, d->context);
  TRY(cuModuleGetFunction, function, module, name);
  if (shared > 48 << 10) TRY(cuFuncSetAttribute, *function, 8, shared); // MAX_DYNAMIC_SHARED_SIZE_BYTES
  return NULL;
}

typedef struct {
  void *operation, *a, *b, *c, *d;
  algorithm algo;
  float alpha, beta;
  int bias;
} product;

static uint64_t value(const launch_device *d, const launch_arg *a, void *const *inputs, void *const *outputs) {
  switch (a->kind) {
    case LAUNCH_INPUT: return inputs[a->index] ? (uint64_t)(uintptr_t)inputs[a->index] + a->bits : 0;
    case LAUNCH_OUTPUT: return outputs[a->index] ? (uint64_t)(uintptr_t)outputs[a->index] + a->bits : 0;
    case LAUNCH_SCRATCH: return d->scratch + (uint64_t)a->index;
  }
  return a->bits;
}

typedef struct { _Alignas(64) uint64_t words[16]; } boxes; // CUtensorMap

// see describes the matrix in bfloat16 that lies at v to the copying engine: boxes of 64 rows, of 64 or 128 bytes, which are
// swizzled, and which has zeros for what is outside.
static char *see(boxes *b, const launch_arg *a, uint64_t v) {
  const uint64_t sizes[2] = {a->columns, a->rows}, pitch = 2 * a->columns;
  const unsigned box[2] = {a->wide, 64}, every[2] = {1, 1};
  TRY(cuTensorMapEncodeTiled, b, 9, 2, (void *)(uintptr_t)v, sizes, &pitch, box, every, 0, a->wide == 64 ? 3 : 2, 2, 0); // BFLOAT16, SWIZZLE_128B or _64B, promotion to 128 bytes
  return NULL;
}

static char *multiply(const launch_device *d, const product *p, const uint64_t *v, void *stream) {
  if (p->bias) TRY(cublasLtMatmulDescSetAttribute, p->operation, 8, &v[4], sizeof v[4]); // BIAS_POINTER
  // Row-major matrices are column-major ones transposed: Dᵀ = Bᵀ·Aᵀ.
  const void *c = (void *)(uintptr_t)(p->beta != 0 ? v[2] : v[3]);
  TRY(cublasLtMatmul, d->lt, p->operation, &p->alpha, (void *)(uintptr_t)v[1], p->a, (void *)(uintptr_t)v[0], p->b, &p->beta, c, p->c,
      (void *)(uintptr_t)v[3], p->d, &p->algo, (void *)(uintptr_t)d->workspace, WORKSPACE, stream);
  return NULL;
}

// mark records an event of the profile, the first or second of a run.
static char *mark(launch_device *d, int label, int second) {
  if (!second && d->marks == d->room) {
    int room = d->room ? 2 * d->room : 1024;
    void **events = realloc(d->events, 2 * room * sizeof *events);
    if (events) d->events = events;
    int *labels = realloc(d->labels, room * sizeof *labels);
    if (labels) d->labels = labels;
    if (!events || !labels) return copy("out of memory");
    for (; d->room < room; d->room++) {
      TRY(cuEventCreate, &d->events[2 * d->room], 0);
      TRY(cuEventCreate, &d->events[2 * d->room + 1], 0);
    }
  }
  TRY(cuEventRecord, d->events[2 * d->marks + second], d->stream);
  d->labels[d->marks] = label;
  d->marks += second;
  return NULL;
}

static char *profile(launch_device *d, int begin, int labels, int64_t *calls, double *ms);

char *launch_profile(launch_device *d, int begin, int labels, int64_t *calls, double *ms) {
  TRY(cuCtxSetCurrent, d->context);
  pthread_mutex_lock(&d->queueing);
  char *message = profile(d, begin, labels, calls, ms);
  pthread_mutex_unlock(&d->queueing);
  return message;
}

// calibrate finds what the marks themselves take, on a GPU that is busy while they are queued.
static char *calibrate(launch_device *d) {
  enum { FILLS = 16, PAIRS = 16 };
  char *message = mark(d, 0, 0); // the first one makes events, which takes longer than the fills
  if (message) return message;
  for (int i = 0; i < FILLS; i++) TRY(cuMemsetD8Async, d->workspace, 0, WORKSPACE, d->stream);
  for (int i = 0; i < 2 * PAIRS; i++) {
    message = mark(d, 0, i % 2);
    if (message) return message;
  }
  TRY(cuStreamSynchronize, d->stream);
  for (int i = 0; i < PAIRS; i++) {
    float t;
    TRY(cuEventElapsedTime, &t, d->events[2 * i], d->events[2 * i + 1]);
    if (i == 0 || t < d->between) d->between = t;
  }
  return NULL;
}

static char *profile(launch_device *d, int begin, int labels, int64_t *calls, double *ms) {
  d->profiling = 0;
  TRY(cuStreamSynchronize, d->stream);
  for (int i = 0; i < d->marks && !begin; i++) {
    float t;
    TRY(cuEventElapsedTime, &t, d->events[2 * i], d->events[2 * i + 1]);
    if (d->labels[i] < labels) {
      calls[d->labels[i]]++;
      ms[d->labels[i]] += t > d->between ? t - d->between : 0;
    }
  }
  d->marks = 0;
  if (begin) {
    char *message = calibrate(d);
    if (message) return message;
  }
  d->marks = 0;
  d->profiling = begin;
  return NULL;
}

static char *run(launch_device *d, const launch_step *steps, int count, void *const *inputs, void *const *outputs);

char *launch_run(launch_device *d, const launch_step *steps, int count, void *const *inputs, void *const *outputs, int label) {
  TRY(cuCtxSetCurrent, d->context);
  pthread_mutex_lock(&d->queueing);
  char *message = d->profiling ? mark(d, label, 0) : NULL;
  if (!message) message = run(d, steps, count, inputs, outputs);
  if (!message && d->profiling) message = mark(d, label, 1);
  pthread_mutex_unlock(&d->queueing);
  return message;
}

static char *run(launch_device *d, const launch_step *steps, int count, void *const *inputs, void *const *outputs) {
  for (int i = 0; i < count; i++) {
    const launch_step *s = &steps[i];
    uint64_t v[LAUNCH_MAX_ARGS];
    void *params[LAUNCH_MAX_ARGS];
    boxes seen[LAUNCH_MAX_BOXES];
    int next = 0;
    char *message = NULL;
    for (int j = 0; j < s->count; j++) {
      v[j] = value(d, &s->args[j], inputs, outputs);
      params[j] = &v[j];
      if (s->args[j].rows == 0) continue;
      if ((message = see(&seen[next], &s->args[j], v[j]))) return message;
      params[j] = &seen[next++];
    }
    switch (s->kind) {
      case LAUNCH_STEP_KERNEL:
        TRY(cuLaunchKernel, s->function, s->grid[0], s->grid[1], s->grid[2], s->block[0], s->block[1], s->block[2], s->shared, d->stream, params, NULL);
        break;
      case LAUNCH_STEP_ZERO:
        TRY(cuMemsetD8Async, v[0], 0, s->bytes, d->stream);
        break;
      case LAUNCH_STEP_COPY:
        if (v[0] != v[1]) TRY(cuMemcpyDtoDAsync_v2, v[0], v[1], s->bytes, d->stream);
        break;
      case LAUNCH_STEP_PRODUCT:
        if ((message = multiply(d, s->product, v, d->stream))) return message;
        break;
    }
  }
  return NULL;
}

static int cuda_type(int onnx) { return onnx == 16 ? 14 : 0; } // CUDA_R_16BF, CUDA_R_32F

// quickest times the candidates on memory of their own and puts the quickest first.
static char *quickest(launch_device *d, const launch_shape *s, product *p, heuristic *found, int count) {
  size_t in = s->type_in == 16 ? 2 : 4, out = s->type_out == 16 ? 2 : 4;
  size_t a = (s->trans_a ? s->k : s->m) * s->lda * in, b = (s->trans_b ? s->n : s->k) * s->ldb * in, c = s->m * s->ldd * out;
  device_pointer memory;
  size_t bytes = a + b + c + s->n * out + 4096;
  if (cuMemAlloc_v2(&memory, bytes) != 0) return NULL; // then cuBLASLt's own order stands
  cuMemsetD8Async(memory, 0, bytes, d->stream);
  uint64_t at_b = (memory + a + 1023) / 1024 * 1024, at_c = (at_b + b + 1023) / 1024 * 1024, at_bias = (at_c + c + 1023) / 1024 * 1024;
  uint64_t v[5] = {memory, at_b, at_c, at_c, at_bias};
  void *begin = NULL, *end = NULL;
  float best = 0;
  int chosen = -1;
  pthread_mutex_lock(&d->queueing); // candidates use the workspace that products of sessions which run meanwhile use
  if (cuEventCreate(&begin, 0) == 0 && cuEventCreate(&end, 0) == 0) {
    for (int i = 0; i < count; i++) {
      if (found[i].state != 0) continue;
      p->algo = found[i].algo;
      char *message = multiply(d, p, v, d->stream);
      for (int run = 0; run < 3 && !message; run++) {
        cuEventRecord(begin, d->stream);
        message = multiply(d, p, v, d->stream);
        cuEventRecord(end, d->stream);
        float ms;
        if (!message && cuEventSynchronize(end) == 0 && cuEventElapsedTime(&ms, begin, end) == 0 && (chosen < 0 || ms < best)) {
          best = ms;
          chosen = i;
        }
      }
      free(message); // of a candidate that does not run
    }
  }
  pthread_mutex_unlock(&d->queueing);
  if (begin) cuEventDestroy_v2(begin);
  if (end) cuEventDestroy_v2(end);
  cuMemFree_v2(memory);
  p->algo = found[chosen < 0 ? 0 : chosen].algo;
  return NULL;
}

static char *choose(launch_device *d, const launch_shape *s, product *p);

char *launch_product(launch_device *d, const launch_shape *s, launch_algorithm *chosen, void **made) {
  TRY(cuCtxSetCurrent, d->context);
  product *p = calloc(1, sizeof *p);
  if (!p) return copy("out of memory");
  *made = p;
  p->alpha = s->alpha;
  p->beta = s->addend ? 1 : 0;
  p->bias = s->bias;
  int in = cuda_type(s->type_in), out = cuda_type(s->type_out);
  int compute = s->type_in == 1 && s->tf32 ? 77 : 68; // COMPUTE_32F_FAST_TF32, COMPUTE_32F
  TRY(cublasLtMatmulDescCreate, &p->operation, compute, 0);
  int32_t transpose = 1, bias = 4; // CUBLAS_OP_T, EPILOGUE_BIAS
  if (s->trans_b) TRY(cublasLtMatmulDescSetAttribute, p->operation, 3, &transpose, sizeof transpose);
  if (s->trans_a) TRY(cublasLtMatmulDescSetAttribute, p->operation, 4, &transpose, sizeof transpose);
  if (s->bias) {
    TRY(cublasLtMatmulDescSetAttribute, p->operation, 7, &bias, sizeof bias);
    int32_t type = out;
    TRY(cublasLtMatmulDescSetAttribute, p->operation, 26, &type, sizeof type); // BIAS_DATA_TYPE
    uint64_t somewhere = 256;                                                 // aligned as all biases are
    TRY(cublasLtMatmulDescSetAttribute, p->operation, 8, &somewhere, sizeof somewhere);
  }
  TRY(cublasLtMatrixLayoutCreate, &p->a, in, s->trans_b ? s->k : s->n, s->trans_b ? s->n : s->k, s->ldb);
  TRY(cublasLtMatrixLayoutCreate, &p->b, in, s->trans_a ? s->m : s->k, s->trans_a ? s->k : s->m, s->lda);
  TRY(cublasLtMatrixLayoutCreate, &p->c, out, s->n, s->m, s->ldd);
  TRY(cublasLtMatrixLayoutCreate, &p->d, out, s->n, s->m, s->ldd);
  static const launch_algorithm none;
  heuristic fits = {.state = -1};
  if (memcmp(chosen, &none, sizeof none) && cublasLtMatmulAlgoCheck(d->lt, p->operation, p->a, p->b, p->c, p->d, chosen, &fits) == 0 &&
      fits.state == 0 && fits.workspace <= WORKSPACE) {
    p->algo = *chosen;
    return NULL;
  }
  char *message = choose(d, s, p);
  *chosen = p->algo;
  return message;
}

static char *choose(launch_device *d, const launch_shape *s, product *p) {
  void *preference;
  TRY(cublasLtMatmulPreferenceCreate, &preference);
  size_t workspace = WORKSPACE;
  TRY(cublasLtMatmulPreferenceSetAttribute, preference, 1, &workspace, sizeof workspace);
  if (d->deterministic) {
    uint32_t schemes = 6; // not INPLACE, which adds in whatever order
    TRY(cublasLtMatmulPreferenceSetAttribute, preference, 3, &schemes, sizeof schemes);
  }
  heuristic found[8];
  memset(found, 0, sizeof found);
  int count = 0;
  result r = cublasLtMatmulAlgoGetHeuristic(d->lt, p->operation, p->a, p->b, p->c, p->d, preference, d->deterministic ? 1 : 8, found, &count);
  cublasLtMatmulPreferenceDestroy(preference);
  if (r != 0 || count == 0) return copy("cuBLASLt has no product of this shape");
  p->algo = found[0].algo;
  return count > 1 ? quickest(d, s, p, found, count) : NULL;
}

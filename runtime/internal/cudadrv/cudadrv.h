// The few calls to NVIDIA's driver that device memory needs. The driver's library is
// opened at run time and its header is not needed: the functions' C interface is fixed,
// and versioned names (_v2) name their signatures.
#ifndef MARCH_CUDADRV_H
#define MARCH_CUDADRV_H

#include <stddef.h>
#include <stdint.h>

// Every function that returns char* returns NULL, or an error message that the caller
// frees with free.

// cudadrv_load opens the driver once; later calls return what the first one did.
char *cudadrv_load(int *version);

char *cudadrv_count(int *devices);

typedef struct {
  char name[256];
  size_t memory; // bytes
  int major, minor; // compute capability
  int multiprocessors;
  int clock, memory_clock; // at most, kHz
  int bus;                 // width of the memory's, bits
} cudadrv_info;

char *cudadrv_describe(int device, cudadrv_info *info);

// cudadrv_open takes the device's primary context, the one that every CUDA library of
// the process shares, and makes a stream in it.
char *cudadrv_open(int device, void **context, void **stream);
void cudadrv_close(int device, void *context, void *stream);

// Device memory. Copies and fills are queued on the stream.
char *cudadrv_alloc(void *context, size_t bytes, void **memory);
char *cudadrv_free(void *context, void *memory);
char *cudadrv_zero(void *context, void *stream, void *memory, size_t bytes);
char *cudadrv_upload(void *context, void *stream, void *to, const void *from, size_t bytes);
char *cudadrv_download(void *context, void *stream, void *to, const void *from, size_t bytes);
char *cudadrv_copy(void *context, void *stream, void *to, const void *from, size_t bytes);
char *cudadrv_synchronize(void *context, void *stream);
char *cudadrv_memory(void *context, size_t *available, size_t *total);

// Memory of the host that the device reads by itself.
char *cudadrv_alloc_host(void *context, size_t bytes, void **memory);
char *cudadrv_free_host(void *context, void *memory);

// Events mark a place in the stream.
char *cudadrv_event(void *context, void **event);
char *cudadrv_free_event(void *context, void *event);
char *cudadrv_record(void *context, void *stream, void *event);
char *cudadrv_wait(void *context, void *event); // blocks the calling thread

#endif

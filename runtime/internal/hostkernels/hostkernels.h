// March's operators on a CPU. A node's work is cut into parts by its shapes alone, so that results are the same on however many threads
// they run.
#ifndef MARCH_HOSTKERNELS_H
#define MARCH_HOSTKERNELS_H

#include <stddef.h>
#include <stdint.h>

typedef struct hostkernels_node hostkernels_node;

// hostkernels_call is one run of a node. Inputs that are left out are NULL, and so are outputs.
typedef struct {
  const hostkernels_node *node;
  void *const *in, *const *out;
  float *partial; // each part's sums
} hostkernels_call;

// hostkernels_node is what a node of an operator does.
struct hostkernels_node {
  void (*part)(const hostkernels_call *, int64_t first, int64_t count, float *partial); // of rows, or of elements
  void (*finish)(const hostkernels_call *);                                           // adds up what the parts left; may be NULL
  int64_t total, span, parts; // rows or elements: in all, of a part; parts
  int64_t partial;            // floats that each part leaves
  int64_t columns;            // of a row
  int64_t queries, past, window; // of an attention's rows: queries of a matrix, position of its first, how many keys up to its own one sees (0: all)
  float eps;
  int rms, decay, causal;
};

// hostkernels_pool runs f(data, i) for every i below count, on threads of the node's session.
typedef struct {
  char *(*each)(void *context, void (*f)(void *data, size_t i), size_t count, void *data);
  void *context;
} hostkernels_pool;

// hostkernels_run returns NULL, or a message to free.
char *hostkernels_run(const hostkernels_node *node, void *const *in, void *const *out, const hostkernels_pool *pool);

// hostkernels_find sets part and finish of a node: kind is the activation's, sums says whether sums of columns are wanted. It
// returns 0 where there is no such kernel.
int hostkernels_find(hostkernels_node *node, const char *op, const char *kind, int sums);

typedef void hostkernels_part(const hostkernels_call *, int64_t first, int64_t count, float *partial);
typedef void hostkernels_finish(const hostkernels_call *);

// The files' own: each sets part and finish of the operators that it has.
int hostkernels_find_activation(hostkernels_node *node, const char *op, const char *kind, int sums);

hostkernels_part hostkernels_normalize, hostkernels_normalize_grad, hostkernels_softmax, hostkernels_softmax_grad, hostkernels_column_sum,
    hostkernels_sum_squares, hostkernels_adamw;
hostkernels_finish hostkernels_add_columns, hostkernels_add_norm_sums, hostkernels_add_squares;

// hostkernels_fold writes, of the columns from..from+columns of what the parts left, the sums in the parts' order, plus the addend
// unless it is NULL.
void hostkernels_fold(const hostkernels_call *c, int64_t from, int64_t columns, const float *addend, float *out);

#endif

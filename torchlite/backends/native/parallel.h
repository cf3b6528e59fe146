// What a kernel's text begins with: the pool of threads, which is compiled once and handed to each library by `bind`,
// and what kernels and programs have in common.

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

// What stands before a kernel's definition: ``static`` where one text has only some kernels of a file, so that what the others
// need is left out, and else nothing.
#ifndef KERNEL
#define KERNEL
#endif

// Does task number `index` of some work that `argument` describes.
typedef void (*Task)(void *argument, long index);

// Does tasks 0 to count - 1, each once, on any thread and in any order, and returns when all are done. What a task
// computes must not depend on either, so that results are the same with any number of threads.
static void (*parallel)(Task task, void *argument, long count);

// What becomes of a finished tile of a kernel's result: rows `row` and following, columns `column` and following. Rows of a
// product are those of all its matrices; of an array whose channels lie side by side they are the positions in all samples,
// and columns are channels. The tile may be changed in place.
typedef void (*Finish)(void *context, float *tile, long tile_step, long row, long column, long rows, long columns);

// An array whose rows a Finish reads or writes along with its tile: where it begins, with the step from row to row.
typedef struct { const float *at; long row; } Stream;

enum { MOST_STREAMS = 8 };

void bind(void (*run)(Task, void *, long)) { parallel = run; }

enum { GRAIN = 1 << 14 };  // numbers that a task takes: 64 KB of each array of float32, which is worth waking a thread

static inline long at_most(long x, long y) { return x < y ? x : y; }
static inline long at_least(long x, long y) { return x > y ? x : y; }
static inline long parts(long whole, long part) { return (whole + part - 1) / part; }

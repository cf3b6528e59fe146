// Rows of a table by their numbers, and the sum of cotangents that goes into each row. There, columns and not rows are
// divided among tasks, so that sums are taken in the order of the numbers: into some columns of wide rows, which are few
// stretches of memory and leave work for several threads.

enum { EMBEDDING_COLUMNS = 32, MOST_EMBEDDING_COLUMNS = 128, EMBEDDING_TASKS = 4 };

typedef struct {
    const float *from;
    const int64_t *numbers;  // negative ones count from the end
    float *to;
    long count, rows, width, each;
} Embedding;

static inline int64_t row_of(const Embedding *e, long i) {
    int64_t number = e->numbers[i];
    return number < 0 ? number + e->rows : number;
}

// Whether every number is that of a row.
static int all_rows_exist(const Embedding *e) {
    for (long i = 0; i < e->count; i++)
        if (e->numbers[i] < -e->rows || e->numbers[i] >= e->rows) return 0;
    return 1;
}

static void embedding_task(void *argument, long index) {
    const Embedding *e = argument;
    for (long i = index * e->each; i < at_most((index + 1) * e->each, e->count); i++)
        memcpy(e->to + i * e->width, e->from + row_of(e, i) * e->width, (size_t)e->width * sizeof *e->to);
}

static void embedding(Embedding *e) {
    e->each = at_least(GRAIN / at_least(e->width, 1), 1);
    parallel(embedding_task, e, parts(e->count, e->each));
}

static void embedding_grad_task(void *argument, long index) {
    const Embedding *e = argument;
    long first = index * e->each, columns = at_most(e->each, e->width - first);
    long whole = columns / EMBEDDING_COLUMNS * EMBEDDING_COLUMNS;
    for (long r = 0; r < e->rows; r++) memset(e->to + r * e->width + first, 0, (size_t)columns * sizeof *e->to);
    for (long i = 0; i < e->count; i++) {
        const float *from = e->from + i * e->width + first;
        float *to = e->to + row_of(e, i) * e->width + first;
        for (long j = 0; j < whole; j += EMBEDDING_COLUMNS)
#pragma omp simd
            for (int k = 0; k < EMBEDDING_COLUMNS; k++) to[j + k] += from[j + k];
        for (long j = whole; j < columns; j++) to[j] += from[j];
    }
}

static void embedding_grad(Embedding *e) {
    long blocks = at_least(e->width / (EMBEDDING_TASKS * EMBEDDING_COLUMNS), 1);
    e->each = at_most(blocks * EMBEDDING_COLUMNS, MOST_EMBEDDING_COLUMNS);
    parallel(embedding_grad_task, e, parts(e->width, e->each));
}

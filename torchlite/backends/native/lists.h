// Work on many arrays in one fork of the threads: rows of arrays of one size (a parameter, its gradient, its state), each
// divided into tasks of GRAIN numbers.


typedef struct {
    float **arrays;              // row after row
    long *sizes, *first_task;    // by row; tasks are numbered through, in order
    long rows, width, tasks;
    const void *rule;
} Lists;

typedef struct { const float *begin, *end; } Extent;

static int earlier(const void *x, const void *y) {
    const Extent *a = x, *b = y;
    return a->begin < b->begin ? -1 : a->begin > b->begin;
}

// Whether the first arrays of two rows share memory: such rows must be taken one after the other.
static int overlapping(const Lists *l, Extent *extents) {
    for (long i = 0; i < l->rows; i++) {
        const float *begin = l->arrays[i * l->width];
        extents[i] = (Extent){begin, begin + l->sizes[i]};
    }
    qsort(extents, (size_t)l->rows, sizeof *extents, earlier);
    for (long i = 1; i < l->rows; i++)
        if (extents[i].begin < extents[i - 1].end) return 1;
    return 0;
}

static int listed(Lists *l, const NumpyArray *const *objects) {
    l->tasks = 0;
    for (long i = 0; i < l->rows; i++) {
        const NumpyArray *const *row = objects + i * l->width;
        l->sizes[i] = size_of(row[0]);
        l->first_task[i] = l->tasks;
        l->tasks += parts(l->sizes[i], GRAIN);
        for (long j = 0; j < l->width; j++) {
            if (!is_dense_float32(row[j]) || size_of(row[j]) != l->sizes[i]) return 0;
            l->arrays[i * l->width + j] = row[j]->data;
        }
    }
    return 1;
}

// Does the task on all parts of all rows. Returns 0, and has done nothing, where an array is not dense or not float32, where
// rows share memory, and without memory for the lists.
static int each(Task task, const NumpyArray *const *objects, long rows, long width, const void *rule) {
    const size_t n = (size_t)rows;
    char *memory = malloc(n * (size_t)width * sizeof(float *) + 2 * n * sizeof(long) + n * sizeof(Extent));
    if (!memory) return 0;
    Lists l = {.arrays = (float **)memory, .rows = rows, .width = width, .rule = rule};
    l.sizes = (long *)(l.arrays + rows * width);
    l.first_task = l.sizes + rows;
    int fit = listed(&l, objects) && !overlapping(&l, (Extent *)(l.first_task + rows));
    if (fit) parallel(task, &l, l.tasks);
    free(memory);
    return fit;
}

// The arrays of the row that task number `index` belongs to, and its part of them.
static float *const *part_of(const Lists *l, long index, long *first, long *last) {
    long low = 0, high = l->rows;
    while (high - low > 1) {
        long middle = (low + high) / 2;
        if (l->first_task[middle] <= index) low = middle;
        else high = middle;
    }
    *first = (index - l->first_task[low]) * GRAIN;
    *last = at_most(*first + GRAIN, l->sizes[low]);
    return l->arrays + low * l->width;
}

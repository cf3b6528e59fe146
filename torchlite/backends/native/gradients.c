// Gradients of many parameters taken together: their norm, and what limits it.

static void squares_task(void *argument, long index) {
    const Lists *l = argument;
    double *of_tasks = *(double *const *)l->rule;
    long first, last;
    const float *g = part_of(l, index, &first, &last)[0];
    double sum = 0.0;
#pragma omp simd reduction(+ : sum)
    for (long i = first; i < last; i++) sum += (double)g[i] * g[i];
    of_tasks[index] = sum;
}

static void scale_task(void *argument, long index) {
    const Lists *l = argument;
    const float factor = *(const float *)l->rule;
    long first, last;
    float *g = part_of(l, index, &first, &last)[0];
#pragma omp simd
    for (long i = first; i < last; i++) g[i] *= factor;
}

// The sum of the squares of all numbers, of which each task leaves its part in `of_tasks`; -1 where `each` declines.
double squares(const NumpyArray *const *gradients, long count, double *of_tasks) {
    if (!each(squares_task, gradients, count, 1, &of_tasks)) return -1.0;
    double sum = 0.0;
    long task = 0;
    for (long i = 0; i < count; i++)
        for (long n = parts(size_of(gradients[i]), GRAIN); n > 0; n--) sum += of_tasks[task++];
    return sum;
}

int scale(const NumpyArray *const *gradients, long count, float factor) {
    return each(scale_task, gradients, count, 1, &factor);
}

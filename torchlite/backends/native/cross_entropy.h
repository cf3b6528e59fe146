// Cross-entropy of rows of logits with the numbers of their classes, and its gradient.

enum { CROSS_ENTROPY_TASKS = 16, CROSS_ENTROPY_GRAIN = 1 << 13, NO_REDUCTION = 0, SUM = 1, MEAN = 2 };

typedef struct {
    const float *x, *g, *lse, *count;
    const int64_t *target;
    float *out, *out_lse, *out_count;
    long rows, classes, ignored, reduction;
    double sums[CROSS_ENTROPY_TASKS];
    long counts[CROSS_ENTROPY_TASKS];
} CrossEntropy;

static inline long cross_entropy_rows(const CrossEntropy *c) {
    return at_least(parts(c->rows, CROSS_ENTROPY_TASKS), at_least(CROSS_ENTROPY_GRAIN / at_least(c->classes, 1), 1));
}

// The largest number of each of `rows` rows and the sum of the exponentials of what lies below it, for rows that are shorter
// than a vector: their numbers in one column side by side. NaN comes back through the sum.
static void short_rows(const float *x, long rows, long n, float *most, float *sums) {
    for (long j = 0; j < LANES; j++) most[j] = -INFINITY, sums[j] = 0.0f;
    for (long i = 0; i < n; i++)
        for (long j = 0; j < rows; j++) most[j] = x[j * n + i] > most[j] ? x[j * n + i] : most[j];
    for (long i = 0; i < n; i++) {
        float column[LANES];
        for (long j = 0; j < LANES; j++) column[j] = j < rows ? x[j * n + i] : 0.0f;
#pragma omp simd
        for (long j = 0; j < LANES; j++) sums[j] += exp_(column[j] - most[j]);
    }
}

static void long_row(const float *x, long n, float *most, float *sum_of_row) {
    float m = largest(x, n), sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (long i = 0; i < n; i++) sum += exp_(x[i] - m);
    *most = m;
    *sum_of_row = sum;
}

static void cross_entropy_task(void *argument, long index) {
    CrossEntropy *c = argument;
    long n = c->classes, first = index * cross_entropy_rows(c), last = at_most(first + cross_entropy_rows(c), c->rows);
    long together = n < LANES ? LANES : 1;
    double total = 0.0;
    long counted = 0;
    for (long begin = first; begin < last; begin += together) {
        float most[LANES], sums[LANES];
        long rows = at_most(together, last - begin);
        if (n < LANES) short_rows(c->x + begin * n, rows, n, most, sums);
        else long_row(c->x + begin * n, n, most, sums);
        for (long r = begin; r < begin + rows; r++) {
            float log_sum = logf(sums[r - begin]), m = most[r - begin], loss = 0.0f;
            c->out_lse[r] = m + log_sum;
            if (c->target[r] != c->ignored) {
                loss = log_sum - (c->x[r * n + c->target[r]] - m);
                counted++;
            }
            if (c->reduction == NO_REDUCTION) c->out[r] = loss;
            total += loss;
        }
    }
    c->sums[index] = total;
    c->counts[index] = counted;
}

// The first row whose target is no class, or -1: nothing is read outside of rows then.
static long outside_classes(const CrossEntropy *c) {
    for (long r = 0; r < c->rows; r++)
        if ((c->target[r] < 0 || c->target[r] >= c->classes) && c->target[r] != c->ignored) return r;
    return -1;
}

static long cross_entropy(CrossEntropy *c) {
    long outside = outside_classes(c), tasks = parts(c->rows, cross_entropy_rows(c)), counted = 0;
    if (outside >= 0) return outside;
    double total = 0.0;
    parallel(cross_entropy_task, c, tasks);
    for (long t = 0; t < tasks; t++) {
        total += c->sums[t];
        counted += c->counts[t];
    }
    *c->out_count = (float)counted;
    if (c->reduction != NO_REDUCTION) *c->out = (float)(c->reduction == MEAN ? total / (double)counted : total);
    return -1;
}

static void cross_entropy_grad_task(void *argument, long index) {
    const CrossEntropy *c = argument;
    long n = c->classes, first = index * cross_entropy_rows(c);
    for (long r = first; r < at_most(first + cross_entropy_rows(c), c->rows); r++) {
        const float *x = c->x + r * n, lse = c->lse[r];
        float *out = c->out + r * n, g = c->reduction == NO_REDUCTION ? c->g[r] : *c->g;
        if (c->reduction == MEAN) g /= *c->count;
        if (c->target[r] == c->ignored || c->target[r] < 0 || c->target[r] >= n) {
            memset(out, 0, (size_t)n * sizeof *out);
            continue;
        }
#pragma omp simd
        for (long i = 0; i < n; i++) out[i] = exp_(x[i] - lse) * g;
        out[c->target[r]] -= g;
    }
}

static void cross_entropy_grad(CrossEntropy *c) {
    parallel(cross_entropy_grad_task, c, parts(c->rows, cross_entropy_rows(c)));
}

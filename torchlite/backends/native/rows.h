// Softmax along the last dimension: each row is read while it is in the first-level cache.


typedef struct { const float *x, *g; float *out; long rows, n, rows_a_task; } Rows;

static void over_rows(Task task, const float *g, const float *x, float *out, long rows, long n) {
    Rows r = {x, g, out, rows, n, at_least(GRAIN / at_least(n, 1), 1)};
    parallel(task, &r, parts(rows, r.rows_a_task));
}

// Calls row(g, x, out, n) for the rows of one task; the function of rows that has no cotangent ignores g.
#define ROWWISE(name)                                                                                      \
    static void name##_task(void *argument, long index) {                                                   \
        const Rows *r = argument;                                                                           \
        long first = index * r->rows_a_task;                                                                \
        for (long i = first; i < at_most(first + r->rows_a_task, r->rows); i++)                             \
            name##_row(r->g + i * r->n, r->x + i * r->n, r->out + i * r->n, r->n);                          \
    }

static void softmax_row(const float *unused, const float *x, float *out, long n) {
    (void)unused;
    float m = largest(x, n), sum = 0.0f;  // NaN comes back through the sum
#pragma omp simd reduction(+ : sum)
    for (long i = 0; i < n; i++) {
        float e = exp_(x[i] - m);
        out[i] = e;
        sum += e;
    }
    float share = 1.0f / sum;
#pragma omp simd
    for (long i = 0; i < n; i++) out[i] *= share;
}

static void log_softmax_row(const float *unused, const float *x, float *out, long n) {
    (void)unused;
    float m = largest(x, n), sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (long i = 0; i < n; i++) sum += exp_(x[i] - m);
    float shift = logf(sum);
#pragma omp simd
    for (long i = 0; i < n; i++) out[i] = x[i] - m - shift;
}

static void softmax_grad_row(const float *g, const float *y, float *out, long n) {
    float along = 0.0f;
#pragma omp simd reduction(+ : along)
    for (long i = 0; i < n; i++) along += g[i] * y[i];
#pragma omp simd
    for (long i = 0; i < n; i++) out[i] = y[i] * (g[i] - along);
}

static void log_softmax_grad_row(const float *g, const float *y, float *out, long n) {
    float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (long i = 0; i < n; i++) sum += g[i];
#pragma omp simd
    for (long i = 0; i < n; i++) out[i] = g[i] - exp_(y[i]) * sum;
}

ROWWISE(softmax)
ROWWISE(log_softmax)
ROWWISE(softmax_grad)
ROWWISE(log_softmax_grad)

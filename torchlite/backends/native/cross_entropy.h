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

// The last `rest` numbers of a row of n in some lanes of a vector, and -inf in the others.
static inline Vector last_of_row(const float *x, long n, long rest) {
    const long first = n < LANES ? 0 : LANES - rest;
    const Vector row = n < LANES ? load_some(x, n) : load(x + n - LANES);
    Lanes places;
    UNROLLED for (int lane = 0; lane < LANES; lane++) places[lane] = lane;
    const Lanes kept = (Lanes)(places >= (int32_t)first) & (Lanes)(places < (int32_t)(first + rest));
    return (Vector)((kept & (Lanes)row) | (~kept & (Lanes)((Vector){0.0f} - INFINITY)));
}

// The largest number of each of LANES rows, a row in each lane; NaN is passed over.
static inline Vector largest_of_rows(const float *const *rows, long n) {
    Vector most[LANES];
    for (int r = 0; r < LANES; r++) {
        Vector m = {0.0f};
        m -= INFINITY;
        for (long i = 0; i + LANES <= n; i += LANES) m = larger(load(rows[r] + i), m);
        most[r] = n % LANES ? larger(last_of_row(rows[r], n, n % LANES), m) : m;
    }
    transpose(most);
    UNROLLED for (int half = LANES / 2; half; half /= 2)
        UNROLLED for (int r = 0; r < half; r++) most[r] = larger(most[r], most[r + half]);
    return most[0];
}

// The sum of the exponentials of what lies below the row's largest number, a row in each lane. NaN comes back.
static inline Vector sums_of_rows(const float *const *rows, long n, const float *most) {
    Vector sums[LANES];
    for (int r = 0; r < LANES; r++) {
        Vector sum = {0.0f}, x[4];
        long i = 0;
        for (; i + 4 * LANES <= n; i += 4 * LANES) {
            UNROLLED for (int v = 0; v < 4; v++) x[v] = load(rows[r] + i + v * LANES) - most[r];
            exponentials(x, 4);
            sum += (x[0] + x[1]) + (x[2] + x[3]);
        }
        for (; i < n; i += LANES) {
            x[0] = (i + LANES <= n ? load(rows[r] + i) : last_of_row(rows[r], n, n - i)) - most[r];
            exponentials(x, 1);
            sum += x[0];
        }
        sums[r] = sum;
    }
    transpose(sums);
    UNROLLED for (int half = LANES / 2; half; half /= 2)
        UNROLLED for (int r = 0; r < half; r++) sums[r] += sums[r + half];
    return sums[0];
}

static void cross_entropy_task(void *argument, long index) {
    CrossEntropy *c = argument;
    long n = c->classes, first = index * cross_entropy_rows(c), last = at_most(first + cross_entropy_rows(c), c->rows);
    double total = 0.0;
    long counted = 0;
    for (long begin = first; begin < last; begin += LANES) {
        const float *at[LANES];
        float most[LANES], logarithms[LANES];
        long rows = at_most(LANES, last - begin);
        for (long j = 0; j < LANES; j++) at[j] = c->x + (begin + at_most(j, rows - 1)) * n;
        store(most, largest_of_rows(at, n));
        store(logarithms, logarithm(sums_of_rows(at, n, most)));
        for (long r = begin; r < begin + rows; r++) {
            float log_sum = logarithms[r - begin], m = most[r - begin], loss = 0.0f;
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

// e^(x - lse) g of a row of n.
static inline void shares_of_row(const float *x, float lse, float g, float *out, long n) {
    Vector e[4];
    long i = 0;
    for (; i + 4 * LANES <= n; i += 4 * LANES) {
        UNROLLED for (int v = 0; v < 4; v++) e[v] = load(x + i + v * LANES) - lse;
        exponentials(e, 4);
        UNROLLED for (int v = 0; v < 4; v++) store(out + i + v * LANES, e[v] * g);
    }
    if (n < LANES) {
#pragma omp simd
        for (long k = 0; k < n; k++) out[k] = exp_(x[k] - lse) * g;
        return;
    }
    for (; i < n; i += LANES) {
        const long at = at_most(i, n - LANES);  // some once more
        e[0] = load(x + at) - lse;
        exponentials(e, 1);
        store(out + at, e[0] * g);
    }
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
        shares_of_row(x, lse, g, out, n);
        out[c->target[r]] -= g;
    }
}

static void cross_entropy_grad(CrossEntropy *c) {
    parallel(cross_entropy_grad_task, c, parts(c->rows, cross_entropy_rows(c)));
}

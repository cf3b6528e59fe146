// Layer normalisation of rows with a scale and a shift, and all its gradients in one pass over rows. Some rows go together, so
// that a processor has several sums under way. Cotangents of scale and shift are summed up in float32 over ROWS_TOGETHER rows,
// then in double precision.

enum { LAYER_NORM_TASKS = 16, ROWS_TOGETHER = 64, ROWS_AT_ONCE = 4, NORM_PIECE = 1 << 9 };

typedef struct {
    const float *x, *weight, *bias, *g, *mean, *scale;  // weight and bias: NULL where there is none
    float *out, *out_mean, *out_scale, *d_weight, *d_bias;
    double *scratch;
    long rows, n;
    float eps;
    Finish finish;  // what becomes of some rows of the gradient; NULL where they are left in `out`
    void *context;
} LayerNorm;

static inline long layer_norm_rows(const LayerNorm *l) {
    return at_least(parts(l->rows, LAYER_NORM_TASKS), at_least(GRAIN / l->n, 1));
}

static inline long layer_norm_tasks(const LayerNorm *l) { return parts(l->rows, layer_norm_rows(l)); }

// Rows as far behind these as a page is long, which a processor does not guess.
static inline __attribute__((always_inline)) void fetch_behind(const float *rows, long count, const int written) {
    enum { PAGE_OF_FLOATS = 1024, LINE_OF_FLOATS = 16 };
    for (long i = PAGE_OF_FLOATS; i < PAGE_OF_FLOATS + count; i += LINE_OF_FLOATS) {
        if (written) __builtin_prefetch(rows + i, 1);
        else __builtin_prefetch(rows + i, 0);
    }
}

#define EACH_ROW UNROLLED for (int r = 0; r < count; r++)
// Does something, which knows `i` and `some`, to the vectors of columns from `begin` to `end`: the last has fewer numbers.
#define EACH_COLUMNS(begin, end, ...)                                            \
    {                                                                            \
        long i = begin;                                                          \
        for (const long some = LANES; i + LANES <= (end); i += LANES) __VA_ARGS__; \
        if (i < (end)) {                                                         \
            const long some = (end) - i;                                         \
            __VA_ARGS__;                                                         \
        }                                                                        \
    }

// Adds up the lanes of each row's vector.
static inline __attribute__((always_inline)) void add_lanes(const Vector *rows, double *totals, const int count) {
    Vector v[ROWS_AT_ONCE] = {{0}};
    float sums[LANES];
    EACH_ROW v[r] = rows[r];
    UNROLLED for (int n = ROWS_AT_ONCE / 2; n; n /= 2)
        UNROLLED for (int r = 0; r < n; r++)
            v[r] = PAIRS(v[r], v[r + n], LOWER_PAIRS) + PAIRS(v[r], v[r + n], UPPER_PAIRS);
    UNROLLED for (int n = ROWS_AT_ONCE; n < LANES; n *= 2) v[0] = PAIRS(v[0], v[0], LOWER_PAIRS) + PAIRS(v[0], v[0], UPPER_PAIRS);
    store(sums, v[0]);
    EACH_ROW totals[r] += sums[r * (LANES / ROWS_AT_ONCE)];
}

// Sums over rows of what `term` is in each of their vectors: lanes over pieces of a row, then double precision.
#define ROW_SUMS(totals, term)                                                                 \
    for (long first = 0; first < l->n; first += NORM_PIECE) {                                  \
        Vector sum[ROWS_AT_ONCE] = {{0}};                                                      \
        EACH_COLUMNS(first, at_most(first + NORM_PIECE, l->n), EACH_ROW sum[r] += term)        \
        add_lanes(sum, totals, count);                                                         \
    }

// What is left of some numbers without their mean; zeros behind them.
static inline __attribute__((always_inline)) Vector centered(const float *x, float mean, long some) {
    Vector v = load_some(x, some) - mean, shortened = {0};
    if (some >= LANES) return v;
    store_some((float *)&shortened, v, some);
    return shortened;
}

static inline __attribute__((always_inline)) void normalize_rows(const LayerNorm *l, long row, const int count) {
    const float *x = l->x + row * l->n, one = 1.0f;
    double totals[ROWS_AT_ONCE] = {0}, squares[ROWS_AT_ONCE] = {0};
    float mean[ROWS_AT_ONCE], scale[ROWS_AT_ONCE], *out = l->out + row * l->n;
    fetch_behind(x, count * l->n, 0);
    fetch_behind(out, count * l->n, 1);
    ROW_SUMS(totals, load_some(x + r * l->n + i, some))
    EACH_ROW mean[r] = (float)(totals[r] / (double)l->n);
    // The variance of what is left after the mean is gone does not cancel.
    ROW_SUMS(squares, centered(x + r * l->n + i, mean[r], some) * centered(x + r * l->n + i, mean[r], some))
    EACH_ROW scale[r] = 1.0f / sqrtf((float)(squares[r] / (double)l->n) + l->eps);
    EACH_COLUMNS(0, l->n, {
        Vector weight = l->weight ? load_some(l->weight + i, some) : (Vector){0} + one;
        Vector bias = l->bias ? load_some(l->bias + i, some) : (Vector){0};
        EACH_ROW store_some(out + r * l->n + i, (load_some(x + r * l->n + i, some) - mean[r]) * scale[r] * weight + bias, some);
    })
    EACH_ROW l->out_mean[row + r] = mean[r], l->out_scale[row + r] = scale[r];
}

static void layer_norm_task(void *argument, long index) {
    const LayerNorm *l = argument;
    long r = index * layer_norm_rows(l), end = at_most(r + layer_norm_rows(l), l->rows);
    for (; r + ROWS_AT_ONCE <= end; r += ROWS_AT_ONCE) normalize_rows(l, r, ROWS_AT_ONCE);
    for (; r < end; r++) normalize_rows(l, r, 1);
}

static void layer_norm(LayerNorm *l) { parallel(layer_norm_task, l, layer_norm_tasks(l)); }

// Rows of doubles that the gradient needs for each task: sums of both cotangents, those of few rows in float32, and such rows.
enum { NORM_SCRATCH = 3 + ROWS_AT_ONCE / 2 };

static long layer_norm_scratch(const LayerNorm *l) { return layer_norm_tasks(l) * NORM_SCRATCH * l->n; }

// The cotangent of x is that of the standardized numbers, g weight, without what it is along them and along ones.
static inline __attribute__((always_inline)) void cotangents_of_rows(const LayerNorm *l, long row, float *out, float *d_weight,
                                                                     float *d_bias, const int count) {
    const float *x = l->x + row * l->n, *g = l->g + row * l->n, *mean = l->mean + row, *scale = l->scale + row, one = 1.0f;
    double totals[ROWS_AT_ONCE] = {0}, products[ROWS_AT_ONCE] = {0};
    float shift[ROWS_AT_ONCE], share[ROWS_AT_ONCE];
    fetch_behind(x, count * l->n, 0);
    fetch_behind(g, count * l->n, 0);
    if (!l->finish) fetch_behind(out, count * l->n, 1);
    for (long first = 0; first < l->n; first += NORM_PIECE) {
        Vector sum[ROWS_AT_ONCE] = {{0}}, along[ROWS_AT_ONCE] = {{0}};
        EACH_COLUMNS(first, at_most(first + NORM_PIECE, l->n), {
            Vector weight = l->weight ? load_some(l->weight + i, some) : (Vector){0} + one;
            Vector of_weight = load_some(d_weight + i, some), of_bias = load_some(d_bias + i, some);
            EACH_ROW {
                Vector slope = load_some(g + r * l->n + i, some), h = slope * weight;
                Vector standard = (load_some(x + r * l->n + i, some) - mean[r]) * scale[r];
                of_weight += slope * standard;
                of_bias += slope;
                sum[r] += h;
                along[r] += h * standard;
            }
            store_some(d_weight + i, of_weight, some);
            store_some(d_bias + i, of_bias, some);
        })
        add_lanes(sum, totals, count);
        add_lanes(along, products, count);
    }
    EACH_ROW shift[r] = (float)(totals[r] / (double)l->n), share[r] = (float)(products[r] / (double)l->n) * scale[r];
    EACH_COLUMNS(0, l->n, {
        Vector weight = l->weight ? load_some(l->weight + i, some) : (Vector){0} + one;
        EACH_ROW {
            Vector h = load_some(g + r * l->n + i, some) * weight;
            store_some(out + r * l->n + i, (h - shift[r] - (load_some(x + r * l->n + i, some) - mean[r]) * share[r]) * scale[r], some);
        }
    })
}
#undef ROW_SUMS
#undef EACH_COLUMNS
#undef EACH_ROW

static void layer_norm_grad_task(void *argument, long index) {
    const LayerNorm *l = argument;
    long n = l->n, begin = index * layer_norm_rows(l), end = at_most(begin + layer_norm_rows(l), l->rows);
    double *totals = l->scratch + index * NORM_SCRATCH * n;
    float *d_weight = (float *)(totals + 2 * n), *d_bias = d_weight + n, *tile = d_bias + n;
    memset(totals, 0, (size_t)(3 * n) * sizeof *totals);
    for (long first = begin, r = begin; first < end; first += ROWS_TOGETHER) {
        long last = at_most(first + ROWS_TOGETHER, end);
        for (long count; r < last; r += count) {
            float *out = l->finish ? tile : l->out + r * n;
            count = r + ROWS_AT_ONCE <= last ? ROWS_AT_ONCE : 1;
            if (count > 1) cotangents_of_rows(l, r, out, d_weight, d_bias, ROWS_AT_ONCE);
            else cotangents_of_rows(l, r, out, d_weight, d_bias, 1);
            if (l->finish) l->finish(l->context, tile, n, r, 0, count, n);
        }
        for (long i = 0; i < 2 * n; i++) totals[i] += d_weight[i];
        memset(d_weight, 0, (size_t)(2 * n) * sizeof *d_weight);
    }
}

static void layer_norm_grad(LayerNorm *l) {
    long tasks = layer_norm_tasks(l), n = l->n;
    parallel(layer_norm_grad_task, l, tasks);
    for (long i = 0; l->weight && i < n; i++) {
        double d_weight = 0.0, d_bias = 0.0;
        for (long t = 0; t < tasks; t++) {
            d_weight += l->scratch[t * NORM_SCRATCH * n + i];
            d_bias += l->scratch[t * NORM_SCRATCH * n + n + i];
        }
        l->d_weight[i] = (float)d_weight;
        if (l->d_bias) l->d_bias[i] = (float)d_bias;
    }
}

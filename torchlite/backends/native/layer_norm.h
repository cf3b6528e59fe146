// Layer normalisation of rows with a scale and a shift, and all its gradients in one pass over rows. Cotangents of scale and
// shift are summed up in float32 over ROWS_TOGETHER rows, then in double precision.

enum { LAYER_NORM_TASKS = 16, ROWS_TOGETHER = 64 };

typedef struct {
    const float *x, *weight, *bias, *g, *mean, *scale;  // weight and bias: NULL where there is none
    float *out, *out_mean, *out_scale, *d_weight, *d_bias;
    double *scratch;
    long rows, n;
    float eps;
} LayerNorm;

static inline long layer_norm_rows(const LayerNorm *l) {
    return at_least(parts(l->rows, LAYER_NORM_TASKS), at_least(GRAIN / l->n, 1));
}

static inline long layer_norm_tasks(const LayerNorm *l) { return parts(l->rows, layer_norm_rows(l)); }

static void layer_norm_task(void *argument, long index) {
    const LayerNorm *l = argument;
    long n = l->n, first = index * layer_norm_rows(l);
    for (long r = first; r < at_most(first + layer_norm_rows(l), l->rows); r++) {
        const float *x = l->x + r * n, *weight = l->weight, *bias = l->bias;
        float *out = l->out + r * n, mean = (float)(sum_of(x, n) / (double)n);
        // Two passes: the variance of what is left after the mean is gone does not cancel.
#pragma omp simd
        for (long i = 0; i < n; i++) out[i] = x[i] - mean;
        float scale = 1.0f / sqrtf((float)(sum_of_products(out, out, n) / (double)n) + l->eps);
        if (weight && bias) {
#pragma omp simd
            for (long i = 0; i < n; i++) out[i] = out[i] * scale * weight[i] + bias[i];
        } else if (weight) {
#pragma omp simd
            for (long i = 0; i < n; i++) out[i] = out[i] * scale * weight[i];
        } else {
#pragma omp simd
            for (long i = 0; i < n; i++) out[i] *= scale;
        }
        l->out_mean[r] = mean;
        l->out_scale[r] = scale;
    }
}

static void layer_norm(LayerNorm *l) { parallel(layer_norm_task, l, layer_norm_tasks(l)); }

// Doubles that the gradient needs: of each task sums of both cotangents, and those of few rows in float32.
static long layer_norm_scratch(const LayerNorm *l) { return layer_norm_tasks(l) * 3 * l->n; }

static void layer_norm_grad_task(void *argument, long index) {
    const LayerNorm *l = argument;
    long n = l->n, first = index * layer_norm_rows(l), end = at_most(first + layer_norm_rows(l), l->rows);
    double *totals = l->scratch + index * 3 * n;
    float *d_weight = (float *)(totals + 2 * n), *d_bias = d_weight + n;
    memset(totals, 0, (size_t)(3 * n) * sizeof *totals);
    for (long r = first; r < end; r++) {
        const float *x = l->x + r * n, *g = l->g + r * n, *weight = l->weight, mean = l->mean[r], scale = l->scale[r];
        float *out = l->out + r * n, sum = 0.0f, along = 0.0f;
        if (weight) {
#pragma omp simd reduction(+ : sum, along)
            for (long i = 0; i < n; i++) {
                float standard = (x[i] - mean) * scale, h = g[i] * weight[i];
                d_weight[i] += g[i] * standard;
                d_bias[i] += g[i];
                out[i] = h;
                sum += h;
                along += h * standard;
            }
        } else {
#pragma omp simd reduction(+ : sum, along)
            for (long i = 0; i < n; i++) {
                out[i] = g[i];
                sum += g[i];
                along += g[i] * ((x[i] - mean) * scale);
            }
        }
        float g_mean = sum / (float)n, share = along / (float)n;
#pragma omp simd
        for (long i = 0; i < n; i++) out[i] = (out[i] - g_mean - (x[i] - mean) * scale * share) * scale;
        if ((r - first + 1) % ROWS_TOGETHER == 0 || r + 1 == end) {
            for (long i = 0; i < 2 * n; i++) totals[i] += d_weight[i];
            memset(d_weight, 0, (size_t)(2 * n) * sizeof *d_weight);
        }
    }
}

static void layer_norm_grad(LayerNorm *l) {
    long tasks = layer_norm_tasks(l), n = l->n;
    parallel(layer_norm_grad_task, l, tasks);
    for (long i = 0; l->weight && i < n; i++) {
        double d_weight = 0.0, d_bias = 0.0;
        for (long t = 0; t < tasks; t++) {
            d_weight += l->scratch[t * 3 * n + i];
            d_bias += l->scratch[t * 3 * n + n + i];
        }
        l->d_weight[i] = (float)d_weight;
        if (l->d_bias) l->d_bias[i] = (float)d_bias;
    }
}

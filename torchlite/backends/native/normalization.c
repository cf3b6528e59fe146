// Statistics, and scaling, of arrays seen as (a, b, c): b stays, a and c are reduced over. Layer normalisation has a = 1,
// batch normalisation has channels in the middle. Where c is 1 the middle is contiguous: the columns of a matrix.

enum { COLUMN_PARTS = 16 };

typedef struct {
    const float *x, *y, *weight, *bias;
    float *out, *mean, *scale;
    double *partial;
    long a, b, c, a_task;  // a task takes so many of whatever is divided
    float eps;
} Work;

static void standardize_task(void *argument, long index) {
    const Work *w = argument;
    long n = w->a * w->c;
    for (long b = index * w->a_task; b < at_most((index + 1) * w->a_task, w->b); b++) {
        double sum = 0.0, squares = 0.0;
        for (long a = 0; a < w->a; a++) sum += sum_of(w->x + (a * w->b + b) * w->c, w->c);
        float mean = (float)(sum / (double)n);
        // Two passes: the variance of what is left after the mean is gone does not cancel.
        for (long a = 0; a < w->a; a++) {
            const float *x = w->x + (a * w->b + b) * w->c;
            float *out = w->out + (a * w->b + b) * w->c;
#pragma omp simd
            for (long i = 0; i < w->c; i++) out[i] = x[i] - mean;
            squares += sum_of_products(out, out, w->c);
        }
        float scale = 1.0f / sqrtf((float)(squares / (double)n) + w->eps);
        for (long a = 0; a < w->a; a++) {
            float *out = w->out + (a * w->b + b) * w->c;
#pragma omp simd
            for (long i = 0; i < w->c; i++) out[i] *= scale;
        }
        w->mean[b] = mean;
        w->scale[b] = scale;
    }
}

KERNEL void standardize(const float *x, float *out, float *mean, float *scale, long a, long b, long c, float eps) {
    Work w = {.x = x, .out = out, .mean = mean, .scale = scale, .a = a, .b = b, .c = c, .eps = eps,
              .a_task = at_least(GRAIN / (a * c), 1)};
    parallel(standardize_task, &w, parts(b, w.a_task));
}

// x is the cotangent, y what was standardized.
static void standardize_grad_task(void *argument, long index) {
    const Work *w = argument;
    double n = (double)(w->a * w->c);
    for (long b = index * w->a_task; b < at_most((index + 1) * w->a_task, w->b); b++) {
        double sum = 0.0, along = 0.0;
        for (long a = 0; a < w->a; a++) {
            long at = (a * w->b + b) * w->c;
            sum += sum_of(w->x + at, w->c);
            along += sum_of_products(w->x + at, w->y + at, w->c);
        }
        float mean = (float)(sum / n), share = (float)(along / n), scale = w->weight[b];
        for (long a = 0; a < w->a; a++) {
            const float *g = w->x + (a * w->b + b) * w->c, *y = w->y + (a * w->b + b) * w->c;
            float *out = w->out + (a * w->b + b) * w->c;
#pragma omp simd
            for (long i = 0; i < w->c; i++) out[i] = (g[i] - mean - y[i] * share) * scale;
        }
    }
}

KERNEL void standardize_grad(const float *g, const float *y, const float *scale, float *out, long a, long b, long c) {
    Work w = {.x = g, .y = y, .weight = scale, .out = out, .a = a, .b = b, .c = c,
              .a_task = at_least(GRAIN / (a * c), 1)};
    parallel(standardize_grad_task, &w, parts(b, w.a_task));
}

static void affine_segments(void *argument, long index) {
    const Work *w = argument;
    for (long s = index * w->a_task; s < at_most((index + 1) * w->a_task, w->a * w->b); s++) {
        const float *x = w->x + s * w->c, weight = w->weight[s % w->b], bias = w->bias[s % w->b];
        float *out = w->out + s * w->c;
#pragma omp simd
        for (long i = 0; i < w->c; i++) out[i] = x[i] * weight + bias;
    }
}

static void affine_rows(void *argument, long index) {
    const Work *w = argument;
    for (long a = index * w->a_task; a < at_most((index + 1) * w->a_task, w->a); a++) {
        const float *x = w->x + a * w->b, *weight = w->weight, *bias = w->bias;
        float *out = w->out + a * w->b;
#pragma omp simd
        for (long i = 0; i < w->b; i++) out[i] = x[i] * weight[i] + bias[i];
    }
}

// x * weight[b] + bias[b]
KERNEL void affine(const float *x, const float *weight, const float *bias, float *out, long a, long b, long c) {
    Work w = {.x = x, .weight = weight, .bias = bias, .out = out, .a = a, .b = b, .c = c,
              .a_task = at_least(GRAIN / (c > 1 ? c : b), 1)};
    parallel(c > 1 ? affine_segments : affine_rows, &w, parts(c > 1 ? a * b : a, w.a_task));
}

static void reduce_segments(void *argument, long index) {
    const Work *w = argument;
    for (long b = index * w->a_task; b < at_most((index + 1) * w->a_task, w->b); b++) {
        double total = 0.0;
        for (long a = 0; a < w->a; a++) {
            long at = (a * w->b + b) * w->c;
            total += w->y ? sum_of_products(w->x + at, w->y + at, w->c) : sum_of(w->x + at, w->c);
        }
        w->out[b] = (float)total;
    }
}

static void reduce_columns(void *argument, long index) {
    const Work *w = argument;
    double *partial = w->partial + index * w->b;
    memset(partial, 0, (size_t)w->b * sizeof *partial);
    for (long a = index * w->a_task; a < at_most((index + 1) * w->a_task, w->a); a++) {
        const float *x = w->x + a * w->b, *y = w->y + a * w->b;
        if (w->y) {
#pragma omp simd
            for (long i = 0; i < w->b; i++) partial[i] += x[i] * y[i];
        } else {
#pragma omp simd
            for (long i = 0; i < w->b; i++) partial[i] += x[i];
        }
    }
}

// The sum over a and c of x * y, or of x where y is NULL. Returns 0 when there is no memory for it.
KERNEL int reduce(const float *x, const float *y, float *out, long a, long b, long c) {
    Work w = {.x = x, .y = y, .out = out, .a = a, .b = b, .c = c};
    if (c > 1) {
        w.a_task = at_least(GRAIN / (a * c), 1);
        parallel(reduce_segments, &w, parts(b, w.a_task));
        return 1;
    }
    w.a_task = at_least(parts(a, COLUMN_PARTS), at_least(GRAIN / b, 1));
    long count = parts(a, w.a_task);
    w.partial = malloc((size_t)(count * b) * sizeof *w.partial);
    if (!w.partial) return 0;
    parallel(reduce_columns, &w, count);
    for (long i = 0; i < b; i++) {
        double total = 0.0;
        for (long k = 0; k < count; k++) total += w.partial[k * b + i];
        out[i] = (float)total;
    }
    free(w.partial);
    return 1;
}

// Batch normalisation of arrays (a, b, c) with channels b in the middle, and all its gradients: statistics in one pass over
// memory, results in another. Numbers are float32, or bfloat16, which are computed in float32 and rounded once.

#define ALWAYS static inline __attribute__((always_inline))

enum { STATISTICS_TASKS = 16, SUMMED = 1 << 10 };  // numbers whose sum is formed in float32

typedef struct {
    const void *x, *g;
    const float *weight, *bias, *mean, *scale;  // weight and bias: NULL where there is none
    void *out;
    float *factor, *first, *second;  // of each channel: what the second pass needs
    double *partial;                 // of each task and channel two
    long a, b, c;
} BatchNorm;

ALWAYS float number(const void *x, int half, long i) {
    return half ? bf16_wide(((const bfloat16 *)x)[i]) : ((const float *)x)[i];
}

ALWAYS void put(void *out, int half, long i, float value) {
    if (half) ((bfloat16 *)out)[i] = bf16_of(value);
    else ((float *)out)[i] = value;
}

ALWAYS const void *at(const void *x, int half, long i) { return (const char *)x + i * (half ? 2 : 4); }

static long samples_of_task(const BatchNorm *w) {
    return at_least(parts(w->a, STATISTICS_TASKS), at_least(GRAIN / (w->b * w->c), 1));
}

// The sum of each channel and that of squares around its mean, of the samples of one task. A segment is read twice while it is
// in the cache, so nothing cancels; segments are joined as in moments.h.
ALWAYS void moments(const BatchNorm *w, long index, int half) {
    const long first = index * samples_of_task(w), c = w->c;
    double *partial = w->partial + index * 2 * w->b;
    memset(partial, 0, (size_t)(2 * w->b) * sizeof *partial);
    for (long a = first; a < at_most(first + samples_of_task(w), w->a); a++) {
        const double before = (double)((a - first) * c), per_number = before > 0.0 ? 1.0 / before : 0.0;
        const double weight = before / (double)(a - first + 1);
        for (long b = 0; b < w->b; b++) {
            const void *x = at(w->x, half, (a * w->b + b) * c);
            double sum = 0.0, squares = 0.0;
            for (long from = 0; from < c; from += SUMMED) {
                float part = 0.0f;
#pragma omp simd reduction(+ : part)
                for (long i = from; i < at_most(from + SUMMED, c); i++) part += number(x, half, i);
                sum += part;
            }
            const float mean = (float)(sum / (double)c);
            for (long from = 0; from < c; from += SUMMED) {
                float part = 0.0f;
#pragma omp simd reduction(+ : part)
                for (long i = from; i < at_most(from + SUMMED, c); i++) {
                    const float x_i = number(x, half, i) - mean;
                    part += x_i * x_i;
                }
                squares += part;
            }
            const double distance = (double)mean - partial[2 * b] * per_number;
            partial[2 * b + 1] += squares + distance * distance * weight;
            partial[2 * b] += sum;
        }
    }
}

// (x - first) factor + second
ALWAYS void apply(const BatchNorm *w, long index, int half) {
    const long segments = at_least(GRAIN / w->c, 1), c = w->c;
    for (long s = index * segments; s < at_most((index + 1) * segments, w->a * w->b); s++) {
        const long b = s % w->b;
        const void *x = at(w->x, half, s * c);
        void *out = (void *)at(w->out, half, s * c);
        const float first = w->first[b], factor = w->factor[b], second = w->second[b];
#pragma omp simd
        for (long i = 0; i < c; i++) put(out, half, i, (number(x, half, i) - first) * factor + second);
    }
}

// The sums of g and of g (x - mean) of each channel, of the samples of one task.
ALWAYS void sums(const BatchNorm *w, long index, int half) {
    const long first = index * samples_of_task(w), c = w->c;
    double *partial = w->partial + index * 2 * w->b;
    memset(partial, 0, (size_t)(2 * w->b) * sizeof *partial);
    for (long a = first; a < at_most(first + samples_of_task(w), w->a); a++) {
        for (long b = 0; b < w->b; b++) {
            const void *x = at(w->x, half, (a * w->b + b) * c), *g = at(w->g, half, (a * w->b + b) * c);
            const float mean = w->mean[b];
            for (long from = 0; from < c; from += SUMMED) {
                float sum = 0.0f, along = 0.0f;
#pragma omp simd reduction(+ : sum, along)
                for (long i = from; i < at_most(from + SUMMED, c); i++) {
                    const float g_i = number(g, half, i);
                    sum += g_i;
                    along += g_i * (number(x, half, i) - mean);
                }
                partial[2 * b] += sum;
                partial[2 * b + 1] += along;
            }
        }
    }
}

// (g - first - (x - mean) second) factor
ALWAYS void apply_grad(const BatchNorm *w, long index, int half) {
    const long segments = at_least(GRAIN / w->c, 1), c = w->c;
    for (long s = index * segments; s < at_most((index + 1) * segments, w->a * w->b); s++) {
        const long b = s % w->b;
        const void *x = at(w->x, half, s * c), *g = at(w->g, half, s * c);
        void *out = (void *)at(w->out, half, s * c);
        const float mean = w->mean[b], first = w->first[b], second = w->second[b], factor = w->factor[b];
#pragma omp simd
        for (long i = 0; i < c; i++)
            put(out, half, i, (number(g, half, i) - first - (number(x, half, i) - mean) * second) * factor);
    }
}

// Each for both types of numbers.
#define TASKS(name)                                                                             \
    static void name##_float(void *argument, long index) { name((BatchNorm *)argument, index, 0); } \
    static void name##_half(void *argument, long index) { name((BatchNorm *)argument, index, 1); }

TASKS(moments)
TASKS(apply)
TASKS(sums)
TASKS(apply_grad)

static long tasks(const BatchNorm *w) { return parts(w->a, samples_of_task(w)); }

static long tasks_of_segments(const BatchNorm *w) { return parts(w->a * w->b, at_least(GRAIN / w->c, 1)); }

// Memory of partial sums and of three numbers a channel; NULL where there is none.
static int reserve(BatchNorm *w) {
    const long sums_ = tasks(w) * 2 * w->b;
    w->partial = malloc((size_t)sums_ * sizeof *w->partial + (size_t)(3 * w->b) * sizeof *w->first);
    if (!w->partial) return 0;
    w->first = (float *)(w->partial + sums_);
    w->second = w->first + w->b;
    w->factor = w->second + w->b;
    return 1;
}

// The result, and the mean and 1 / sqrt(variance + eps) of each channel. Returns 0 when there is no memory for it.
int batch_norm(const void *x, const float *weight, const float *bias, void *out, float *mean, float *scale, long half, long a,
               long b, long c, float eps) {
    BatchNorm w = {.x = x, .out = out, .a = a, .b = b, .c = c};
    if (!reserve(&w)) return 0;
    parallel(half ? moments_half : moments_float, &w, tasks(&w));
    for (long i = 0; i < b; i++) {
        double sum = 0.0, squares = 0.0, n = 0.0;
        for (long t = 0; t < tasks(&w); t++) {
            const double *part = w.partial + (t * b + i) * 2;
            const double more = (double)((at_most((t + 1) * samples_of_task(&w), a) - t * samples_of_task(&w)) * c);
            const double distance = part[0] / more - (t ? sum / n : 0.0);
            squares += part[1] + distance * distance * n * more / (n + more);
            sum += part[0];
            n += more;
        }
        mean[i] = w.first[i] = (float)(sum / n);
        scale[i] = 1.0f / sqrtf((float)(squares / n) + eps);
        w.factor[i] = weight ? scale[i] * weight[i] : scale[i];
        w.second[i] = bias ? bias[i] : 0.0f;
    }
    parallel(half ? apply_half : apply_float, &w, tasks_of_segments(&w));
    free(w.partial);
    return 1;
}

// The cotangents of x, weight and bias from that of the result. Returns 0 when there is no memory for it.
int batch_norm_grad(const void *g, const void *x, const float *mean, const float *scale, const float *weight, void *out,
                    float *d_weight, float *d_bias, long half, long a, long b, long c) {
    BatchNorm w = {.x = x, .g = g, .mean = mean, .out = out, .a = a, .b = b, .c = c};
    if (!reserve(&w)) return 0;
    const double n = (double)(a * c);
    parallel(half ? sums_half : sums_float, &w, tasks(&w));
    for (long i = 0; i < b; i++) {
        double sum = 0.0, along = 0.0;
        for (long t = 0; t < tasks(&w); t++) {
            sum += w.partial[(t * b + i) * 2];
            along += w.partial[(t * b + i) * 2 + 1];
        }
        w.first[i] = (float)(sum / n);
        w.second[i] = (float)(along * (double)scale[i] * (double)scale[i] / n);
        w.factor[i] = weight ? scale[i] * weight[i] : scale[i];
        if (d_weight) d_weight[i] = (float)(along * (double)scale[i]);
        if (d_bias) d_bias[i] = (float)sum;
    }
    parallel(half ? apply_grad_half : apply_grad_float, &w, tasks_of_segments(&w));
    free(w.partial);
    return 1;
}

// Batch normalisation of arrays (a, b, c) with channels b in the middle, and all its gradients: statistics in one pass over
// memory, results in another. Numbers are float32, or bfloat16, which are computed in float32 and rounded once. Where c is short,
// vectors run along several channels, as if each number of a sample, a column, were a channel.

#define ALWAYS static inline __attribute__((always_inline))

enum { STATISTICS_TASKS = 16, SUMMED = 1 << 10, SAMPLES = 1 << 6 };  // numbers, of a column, whose sum is formed in float32
enum { SHORT = 32, COLUMNS = 64 };  // c below which columns are added up, so many at once

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

// Joins the sum and the sum of squares around the mean of `more` numbers with those of `before`, as in moments.h.
ALWAYS void join(double *partial, double before, double sum, double squares, double more) {
    const double distance = before > 0.0 ? sum / more - partial[0] / before : 0.0;
    partial[0] += sum;
    partial[1] += squares + distance * distance * (before * more / (before + more));
}

// Calls `visit` with i for each of the columns of some samples, where x_i is its number.
#define EACH_NUMBER(columns, x, begin, end, visit)                                                 \
    for (long a = begin; a < end; a++) {                                                           \
        const void *of_##x = at(w->x, half, (a * w->b + b) * w->c);                                \
        _Pragma("omp simd") for (long i = 0; i < columns; i++) {                                   \
            const float x##_i = number(of_##x, half, i);                                           \
            visit;                                                                                 \
        }                                                                                          \
    }

// As below, of short segments.
ALWAYS void moments_of_columns(const BatchNorm *w, double *partial, long first, long last, int half) {
    const long c = w->c, channels = COLUMNS / c;
    for (long b = 0; b < w->b; b += channels) {
        const long some = at_most(channels, w->b - b), columns = some * c;
        for (long begin = first; begin < last; begin += SAMPLES) {
            const long end = at_most(begin + SAMPLES, last);
            const double before = (double)((begin - first) * c), more = (double)((end - begin) * c);
            float sum[COLUMNS] = {0}, squares[COLUMNS] = {0}, mean[COLUMNS];
            double of_channel[COLUMNS];
            EACH_NUMBER(columns, x, begin, end, sum[i] += x_i)
            for (long k = 0; k < some; k++) {
                of_channel[k] = 0.0;
                for (long i = k * c; i < (k + 1) * c; i++) of_channel[k] += sum[i];
                for (long i = k * c; i < (k + 1) * c; i++) mean[i] = (float)(of_channel[k] / more);
            }
            EACH_NUMBER(columns, x, begin, end, squares[i] += (x_i - mean[i]) * (x_i - mean[i]))
            for (long k = 0; k < some; k++) {
                double around = 0.0;
                for (long i = k * c; i < (k + 1) * c; i++) around += squares[i];
                join(partial + 2 * (b + k), before, of_channel[k], around, more);
            }
        }
    }
}

// The sum of each channel and that of squares around its mean, of the samples of one task. A segment is read twice while it is
// in the cache, so nothing cancels.
ALWAYS void moments(const BatchNorm *w, long index, int half) {
    const long first = index * samples_of_task(w), c = w->c;
    double *partial = w->partial + index * 2 * w->b;
    memset(partial, 0, (size_t)(2 * w->b) * sizeof *partial);
    if (c < SHORT) {
        moments_of_columns(w, partial, first, at_most(first + samples_of_task(w), w->a), half);
        return;
    }
    for (long a = first; a < at_most(first + samples_of_task(w), w->a); a++) {
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
            join(partial + 2 * b, (double)((a - first) * c), sum, squares, (double)c);
        }
    }
}

// (x - first) factor + second
ALWAYS void apply(const BatchNorm *w, long index, int half) {
    if (w->c == 1) {
        const long columns = w->b, samples = at_least(GRAIN / columns, 1);
        for (long a = index * samples; a < at_most((index + 1) * samples, w->a); a++) {
            const void *x = at(w->x, half, a * columns);
            void *out = (void *)at(w->out, half, a * columns);
#pragma omp simd
            for (long i = 0; i < columns; i++) put(out, half, i, (number(x, half, i) - w->first[i]) * w->factor[i] + w->second[i]);
        }
        return;
    }
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

// As below, of short segments.
ALWAYS void sums_of_columns(const BatchNorm *w, double *partial, long first, long last, int half) {
    const long c = w->c, channels = COLUMNS / c;
    for (long b = 0; b < w->b; b += channels) {
        const long some = at_most(channels, w->b - b), columns = some * c;
        float mean[COLUMNS];
        for (long k = 0; k < some; k++)
            for (long i = k * c; i < (k + 1) * c; i++) mean[i] = w->mean[b + k];
        for (long begin = first; begin < last; begin += SAMPLES) {
            float sum[COLUMNS] = {0}, along[COLUMNS] = {0};
            for (long a = begin; a < at_most(begin + SAMPLES, last); a++) {
                const void *x = at(w->x, half, (a * w->b + b) * c), *g = at(w->g, half, (a * w->b + b) * c);
#pragma omp simd
                for (long i = 0; i < columns; i++) {
                    const float g_i = number(g, half, i);
                    sum[i] += g_i;
                    along[i] += g_i * (number(x, half, i) - mean[i]);
                }
            }
            for (long k = 0; k < some; k++)
                for (long i = k * c; i < (k + 1) * c; i++) {
                    partial[2 * (b + k)] += sum[i];
                    partial[2 * (b + k) + 1] += along[i];
                }
        }
    }
}

// The sums of g and of g (x - mean) of each channel, of the samples of one task.
ALWAYS void sums(const BatchNorm *w, long index, int half) {
    const long first = index * samples_of_task(w), c = w->c;
    double *partial = w->partial + index * 2 * w->b;
    memset(partial, 0, (size_t)(2 * w->b) * sizeof *partial);
    if (c < SHORT) {
        sums_of_columns(w, partial, first, at_most(first + samples_of_task(w), w->a), half);
        return;
    }
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
    if (w->c == 1) {
        const long columns = w->b, samples = at_least(GRAIN / columns, 1);
        for (long a = index * samples; a < at_most((index + 1) * samples, w->a); a++) {
            const void *x = at(w->x, half, a * columns), *g = at(w->g, half, a * columns);
            void *out = (void *)at(w->out, half, a * columns);
#pragma omp simd
            for (long i = 0; i < columns; i++)
                put(out, half, i,
                    (number(g, half, i) - w->first[i] - (number(x, half, i) - w->mean[i]) * w->second[i]) * w->factor[i]);
        }
        return;
    }
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

static long tasks_of_segments(const BatchNorm *w) {
    return w->c == 1 ? parts(w->a, at_least(GRAIN / w->b, 1)) : parts(w->a * w->b, at_least(GRAIN / w->c, 1));
}

// Memory of partial sums and of four numbers a channel, or a column where those are added up; NULL where there is none.
static int reserve(BatchNorm *w) {
    const long sums_ = tasks(w) * 2 * w->b, numbers = w->c < SHORT ? w->b * w->c : w->b;
    w->partial = malloc((size_t)sums_ * sizeof *w->partial + (size_t)(4 * numbers) * sizeof *w->first);
    if (!w->partial) return 0;
    w->first = (float *)(w->partial + sums_);
    w->second = w->first + numbers;
    w->factor = w->second + numbers;
    return 1;
}

// Makes each column a channel, where segments are short.
static void spread(BatchNorm *w) {
    const long c = w->c;
    if (c >= SHORT) return;
    float *mean = w->factor + w->b * c, *all[] = {w->first, w->second, w->factor, mean};
    if (w->mean) memcpy(mean, w->mean, (size_t)w->b * sizeof *mean);
    for (int of = 0; of < (w->mean ? 4 : 3); of++)
        for (long k = w->b - 1; k >= 0; k--) {
            const float value = all[of][k];
            for (long i = k * c; i < (k + 1) * c; i++) all[of][i] = value;
        }
    if (w->mean) w->mean = mean;
    w->b *= c;
    w->c = 1;
}

// The result, and the mean and 1 / sqrt(variance + eps) of each channel. Returns 0 when there is no memory for it.
KERNEL int batch_norm(const void *x, const float *weight, const float *bias, void *out, float *mean, float *scale, long half, long a,
               long b, long c, float eps) {
    BatchNorm w = {.x = x, .out = out, .a = a, .b = b, .c = c};
    if (!reserve(&w)) return 0;
    parallel(half ? moments_half : moments_float, &w, tasks(&w));
    for (long i = 0; i < b; i++) {
        double whole[2] = {0.0, 0.0}, n = 0.0;
        for (long t = 0; t < tasks(&w); t++) {
            const double *part = w.partial + (t * b + i) * 2;
            const double more = (double)((at_most((t + 1) * samples_of_task(&w), a) - t * samples_of_task(&w)) * c);
            join(whole, n, part[0], part[1], more);
            n += more;
        }
        mean[i] = w.first[i] = (float)(whole[0] / n);
        scale[i] = 1.0f / sqrtf((float)(whole[1] / n) + eps);
        w.factor[i] = weight ? scale[i] * weight[i] : scale[i];
        w.second[i] = bias ? bias[i] : 0.0f;
    }
    spread(&w);
    parallel(half ? apply_half : apply_float, &w, tasks_of_segments(&w));
    free(w.partial);
    return 1;
}

// The cotangents of x, weight and bias from that of the result. Returns 0 when there is no memory for it.
KERNEL int batch_norm_grad(const void *g, const void *x, const float *mean, const float *scale, const float *weight, void *out,
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
    spread(&w);
    parallel(half ? apply_grad_half : apply_grad_float, &w, tasks_of_segments(&w));
    free(w.partial);
    return 1;
}

// Batch normalisation of arrays whose channels lie side by side: (positions, channels), with sizes as constants.
//
// Moments are formed in blocks that stay in the first-level cache, in two passes (around a mean that is rounded, whose error
// the second pass finds, so that little cancels), and merged: with counts n and m, the sum of squares around the common mean is
// M + M' + (mean - mean')^2 n m / (n + m) (Chan, Golub and LeVeque).

enum { NORM_SHARES = 64, NORM_BLOCK = 1 << 12, NORM_ROWS = 4 };  // NORM_BLOCK numbers lie in the first-level cache

typedef struct { long positions, channels; } Normalization;

typedef struct {
    const float *x, *y;  // of the gradient: the cotangent, and what was standardized
    float *target, *mean, *scale, *scratch;
    float eps;
} NormalizationArrays;

ALWAYS long norm_shares(const Normalization n) {
    return at_most(NORM_SHARES, parts(n.positions * n.channels, NORM_BLOCK));
}
ALWAYS long norm_block(const Normalization n) { return n.channels > NORM_BLOCK ? 1 : NORM_BLOCK / n.channels; }
ALWAYS long norm_first(const Normalization n, long share) { return share * n.positions / norm_shares(n); }

typedef struct { Vector sum, products; } LaneSums;

// For each lane, the sums over rows of x - shift, and of that times itself, or times y where there is one.
ALWAYS LaneSums lane_sums(const Normalization n, const float *x, const float *y, long rows, long width, Vector shift) {
    LaneSums s[NORM_ROWS] = {0};
    for (long r = 0; r < rows; r += NORM_ROWS)
        WHOLLY for (long k = 0; k < NORM_ROWS; k++) {
            if (k && r + k >= rows) break;
            const Vector a = load_some(x + (r + k) * n.channels, width) - shift;
            s[k].sum += a;
            s[k].products += a * (y ? load_some(y + (r + k) * n.channels, width) : a);
        }
    return (LaneSums){(s[0].sum + s[1].sum) + (s[2].sum + s[3].sum),
                      (s[0].products + s[1].products) + (s[2].products + s[3].products)};
}

ALWAYS long lanes_left(const Normalization n, long c) {
    return n.channels % LANES ? at_most(n.channels - c, LANES) : LANES;
}

// Means and sums of squares around them, of a share, for all channels; they lie in the scratch memory.
ALWAYS void share_moments(const Normalization n, const NormalizationArrays *arrays, long share) {
    double *mean = (double *)arrays->scratch + share * 2 * n.channels, *squares = mean + n.channels;
    const long begin = norm_first(n, share), end = norm_first(n, share + 1);
    memset(mean, 0, 2 * (size_t)n.channels * sizeof *mean);
    for (long row = begin; row < end; row += norm_block(n)) {
        const long rows = at_most(norm_block(n), end - row);
        const double before = (double)(row - begin), weight = (double)rows / (before + (double)rows);
        for (long c = 0; c < n.channels; c += LANES) {
            const float *x = arrays->x + row * n.channels + c;
            const Vector middle = lane_sums(n, x, NULL, rows, lanes_left(n, c), (Vector){0}).sum / (float)rows;
            const LaneSums around = lane_sums(n, x, NULL, rows, lanes_left(n, c), middle);
            for (long i = 0; i < lanes_left(n, c); i++) {
                const double rest = around.sum[i] / (double)rows, distance = middle[i] + rest - mean[c + i];
                mean[c + i] += distance * weight;
                squares[c + i] += around.products[i] - rest * around.sum[i] + distance * distance * before * weight;
            }
        }
    }
}

// mean, and 1 / sqrt(variance + eps), from the moments of all shares.
ALWAYS void merge_shares(const Normalization n, const NormalizationArrays *arrays) {
    for (long c = 0; c < n.channels; c++) {
        double mean = 0.0, squares = 0.0;
        for (long share = 0; share < norm_shares(n); share++) {
            const double *own = (const double *)arrays->scratch + share * 2 * n.channels + c;
            const double before = (double)norm_first(n, share), count = (double)norm_first(n, share + 1) - before;
            if (count == 0.0) continue;
            const double distance = own[0] - mean, weight = count / (before + count);
            mean += distance * weight;
            squares += own[n.channels] + distance * distance * before * weight;
        }
        arrays->mean[c] = (float)mean;
        arrays->scale[c] = 1.0f / sqrtf((float)(squares / (double)n.positions) + arrays->eps);
    }
}

// Sums of the cotangent, and of its products with what was standardized.
ALWAYS void share_sums(const Normalization n, const NormalizationArrays *arrays, long share) {
    double *sums = (double *)arrays->scratch + share * 2 * n.channels;
    const long end = norm_first(n, share + 1);
    memset(sums, 0, 2 * (size_t)n.channels * sizeof *sums);
    for (long row = norm_first(n, share); row < end; row += norm_block(n)) {
        const long rows = at_most(norm_block(n), end - row);
        for (long c = 0; c < n.channels; c += LANES) {
            const float *g = arrays->x + row * n.channels + c, *y = arrays->y + row * n.channels + c;
            const LaneSums s = lane_sums(n, g, y, rows, lanes_left(n, c), (Vector){0});
            for (long i = 0; i < lanes_left(n, c); i++) sums[c + i] += s.sum[i], sums[n.channels + c + i] += s.products[i];
        }
    }
}

// Leaves means instead of sums, as floats, at `mean`.
ALWAYS void merge_sums(const Normalization n, const NormalizationArrays *arrays) {
    for (long c = 0; c < 2 * n.channels; c++) {
        double total = 0.0;
        for (long share = 0; share < norm_shares(n); share++)
            total += ((const double *)arrays->scratch)[share * 2 * n.channels + c];
        arrays->mean[c] = (float)(total / (double)n.positions);
    }
}

// (g - mean(g) - y mean(g y)) scale
ALWAYS void share_gradient(const Normalization n, const NormalizationArrays *arrays, long share) {
    const float *mean = arrays->mean, *along = mean + n.channels, *scale = arrays->scale;
    for (long row = norm_first(n, share); row < norm_first(n, share + 1); row++) {
        const float *g = arrays->x + row * n.channels, *y = arrays->y + row * n.channels;
        float *out = arrays->target + row * n.channels;
#pragma omp simd
        for (long c = 0; c < n.channels; c++) out[c] = (g[c] - mean[c] - y[c] * along[c]) * scale[c];
    }
}

// name(x, mean, scale, scratch)
#define MOMENTS(name, rows, columns, epsilon)                                                                       \
    ALWAYS Normalization name##_sizes(void) { return (Normalization){rows, columns}; }                              \
    static void name##_share(void *argument, long share) { share_moments(name##_sizes(), argument, share); }        \
    static void name(const float *x, float *mean, float *scale, float *scratch) {                                   \
        NormalizationArrays arrays = {.x = x, .mean = mean, .scale = scale, .scratch = scratch, .eps = epsilon};    \
        parallel(name##_share, &arrays, norm_shares(name##_sizes()));                                               \
        merge_shares(name##_sizes(), &arrays);                                                                      \
    }

// name(g, y, scale, out, scratch): the cotangent of what was standardized to y.
#define STANDARDIZE_GRADIENT(name, rows, columns)                                                             \
    ALWAYS Normalization name##_sizes(void) { return (Normalization){rows, columns}; }                        \
    static void name##_sums(void *argument, long share) { share_sums(name##_sizes(), argument, share); }            \
    static void name##_share(void *argument, long share) { share_gradient(name##_sizes(), argument, share); }       \
    static void name(const float *g, const float *y, float *scale, float *out, float *scratch) {                    \
        const Normalization n = name##_sizes();                                                                     \
        NormalizationArrays arrays = {.x = g, .y = y, .target = out, .scale = scale, .scratch = scratch,            \
                                      .mean = scratch + norm_shares(n) * 4 * n.channels};                           \
        parallel(name##_sums, &arrays, norm_shares(n));                                                             \
        merge_sums(n, &arrays);                                                                                     \
        parallel(name##_share, &arrays, norm_shares(n));                                                            \
    }

// Sums and moments of the channels of an array (N, H, W, C) that are formed in parts.
//
// A part's moments are its mean, the sum of squares around it, and how many numbers it has. With counts n and m, the sum of
// squares around the common mean is M + M' + (mean - mean')^2 n m / (n + m) (Chan, Golub and LeVeque).

// Adds `rows` numbers of each channel of a vector, from number `first` of `channels` on, to moments; the sums of x - shift and
// of its squares are known.
static inline void add_moments(float *mean, float *squares, float *count, long first, long channels, Vector shift,
                               Vector sum, Vector sum_of_squares, float rows) {
    const long width = channels - first;
    const Vector middle = load_some(mean + first, width), before = load_some(count + first, width);
    const Vector rest = sum / rows, distance = shift + rest - middle, weight = rows / (before + rows);
    const Vector more = sum_of_squares - rest * sum + distance * distance * before * weight;
    store_some(squares + first, load_some(squares + first, width) + more, width);
    store_some(mean + first, middle + distance * weight, width);
    store_some(count + first, before + rows, width);
}

// The same for one channel.
static inline void add_moments_of_one(float *mean, float *squares, float *count, float shift, float sum,
                                      float sum_of_squares, float rows) {
    const float rest = sum / rows, distance = shift + rest - *mean, weight = rows / (*count + rows);
    *squares += sum_of_squares - rest * sum + distance * distance * *count * weight;
    *mean += distance * weight;
    *count += rows;
}

// Adds the numbers of all parts, which lie `step` apart, to those of the first.
static inline void add_parts(float *sums, long parts_, long step, long channels) {
    for (long p = 1; p < parts_; p++)
        for (long c = 0; c < channels; c++) sums[c] += sums[p * step + c];
}

enum { MERGED = 64 };  // channels at a time

// mean, and 1 / sqrt(variance + eps), of the moments of all parts, which lie `step` apart.
static inline void merge_moments(const float *mean, const float *squares, const float *count, long parts_, long step,
                                 long channels, float eps, float *means, long mean_step, float *scales, long scale_step) {
    for (long first = 0; first < channels; first += MERGED) {
        double n[MERGED] = {0}, middle[MERGED] = {0}, total[MERGED] = {0};
        const long width = at_most(channels - first, MERGED);
        for (long p = 0; p < parts_; p++)
#pragma omp simd
            for (long c = 0; c < width; c++) {
                const long at = p * step + first + c;
                const double more = (double)count[at], weight = more / (n[c] + more), distance = (double)mean[at] - middle[c];
                total[c] += (double)squares[at] + distance * distance * n[c] * weight;
                middle[c] += distance * weight;
                n[c] += more;
            }
        for (long c = 0; c < width; c++) {
            means[(first + c) * mean_step] = (float)middle[c];
            scales[(first + c) * scale_step] = 1.0f / sqrtf((float)(total[c] / n[c]) + eps);
        }
    }
}

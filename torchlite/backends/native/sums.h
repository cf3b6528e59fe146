// Sums in vector lanes over pieces, and between pieces in double precision.

enum { PIECE = 1 << 9 };

static inline double sum_of(const float *x, long n) {
    double total = 0.0;
    for (long first = 0; first < n; first += PIECE) {
        float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
        for (long i = first; i < at_most(first + PIECE, n); i++) sum += x[i];
        total += sum;
    }
    return total;
}

static inline double sum_of_products(const float *x, const float *y, long n) {
    double total = 0.0;
    for (long first = 0; first < n; first += PIECE) {
        float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
        for (long i = first; i < at_most(first + PIECE, n); i++) sum += x[i] * y[i];
        total += sum;
    }
    return total;
}

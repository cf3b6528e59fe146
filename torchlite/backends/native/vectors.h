// The widest vectors that the processor has, for kernels that keep a tile of results in registers.

#if defined(__AVX512F__)
enum { LANES = 16, REGISTERS = 32 };
#define LOWER_PAIRS 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define UPPER_PAIRS 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#define LOWER_OF_QUARTERS 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29
#define UPPER_OF_QUARTERS 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31
#define LOWER_HALVES_OF_QUARTERS 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29
#define UPPER_HALVES_OF_QUARTERS 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31
#define EVEN_QUARTERS 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27
#define ODD_QUARTERS 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31
#elif defined(__AVX__)
enum { LANES = 8, REGISTERS = 16 };
#define LOWER_PAIRS 0, 8, 1, 9, 2, 10, 3, 11
#define UPPER_PAIRS 4, 12, 5, 13, 6, 14, 7, 15
#define LOWER_OF_QUARTERS 0, 8, 1, 9, 4, 12, 5, 13
#define UPPER_OF_QUARTERS 2, 10, 3, 11, 6, 14, 7, 15
#define LOWER_HALVES_OF_QUARTERS 0, 1, 8, 9, 4, 5, 12, 13
#define UPPER_HALVES_OF_QUARTERS 2, 3, 10, 11, 6, 7, 14, 15
#define EVEN_QUARTERS 0, 1, 2, 3, 8, 9, 10, 11
#define ODD_QUARTERS 4, 5, 6, 7, 12, 13, 14, 15
#else
#if defined(__aarch64__)
enum { LANES = 4, REGISTERS = 32 };
#else
enum { LANES = 4, REGISTERS = 16 };
#endif
#define LOWER_PAIRS 0, 4, 1, 5
#define UPPER_PAIRS 2, 6, 3, 7
#define LOWER_OF_QUARTERS LOWER_PAIRS
#define UPPER_OF_QUARTERS UPPER_PAIRS
#define LOWER_HALVES_OF_QUARTERS 0, 1, 4, 5
#define UPPER_HALVES_OF_QUARTERS 2, 3, 6, 7
#endif

enum { LINE_BYTES = 64 };  // bytes of memory that come together

// Loops over the registers of a tile must be unrolled completely, or the tile lies in memory.
#if defined(__clang__)
#define UNROLLED _Pragma("clang loop unroll(full)")
#define UNROLLED_BY_4 _Pragma("clang loop unroll_count(4)")
#else
#define UNROLLED _Pragma("GCC unroll 16")
#define UNROLLED_BY_4 _Pragma("GCC unroll 4")
#endif

typedef float Vector __attribute__((vector_size(sizeof(float) * LANES)));
typedef float Anywhere __attribute__((vector_size(sizeof(float) * LANES), aligned(4), may_alias));

static inline Vector load(const float *p) { return *(const Anywhere *)p; }
static inline void store(float *p, Vector v) { *(Anywhere *)p = v; }

// The first n numbers of a vector, all of them most often; zeros behind them.
static inline __attribute__((always_inline)) Vector load_some(const float *from, long n) {
    if (n >= LANES) return load(from);
    Vector v = {0};
#ifdef __AVX512F__  // which waits for no copy
    return n > 0 ? __builtin_ia32_loadups512_mask(from, v, (1u << n) - 1) : v;
#else
    if (n > 0) memcpy(&v, from, (size_t)n * sizeof *from);
    return v;
#endif
}

static inline __attribute__((always_inline)) void store_some(float *to, Vector v, long n) {
    if (n >= LANES) store(to, v);
    else if (n > 0) memcpy(to, &v, (size_t)n * sizeof *to);
}

// Copies fewer numbers than a vector has, in two parts that overlap.
static inline __attribute__((always_inline)) void copy_few(const float *from, long n, float *to) {
#define IN_HALVES(PART) memcpy(to, from, PART * sizeof *to), memcpy(to + n - PART, from + n - PART, PART * sizeof *to)
    if (n >= 8) IN_HALVES(8);
    else if (n >= 4) IN_HALVES(4);
    else if (n >= 2) IN_HALVES(2);
    else if (n) *to = *from;
#undef IN_HALVES
}

static inline __attribute__((always_inline)) void copy_row(const float *from, long n, float *to) {
    long i = 0;
    for (; i + LANES <= n; i += LANES) store(to + i, load(from + i));
    copy_few(from + i, n - i, to + i);
}

typedef int32_t Lanes __attribute__((vector_size(sizeof(float) * LANES), unused));

// The larger of two numbers in each lane; b where a is NaN, which b must not be.
static inline Vector larger(Vector a, Vector b) {
#if defined(__AVX512F__) && defined(__clang__)
    return __builtin_ia32_maxps512(a, b, 4);
#elif defined(__AVX512F__)
    return __builtin_ia32_maxps512_mask(a, b, b, -1, 4);
#elif defined(__AVX__)
    return __builtin_ia32_maxps256(a, b);
#else
    const Lanes first = (Lanes)(a > b);
    return (Vector)((first & (Lanes)a) | (~first & (Lanes)b));
#endif
}

#if defined(__clang__)
#define PAIRS(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define PAIRS(a, b, ...) __builtin_shuffle(a, b, (Lanes){__VA_ARGS__})
#endif

// The largest of n numbers that are not NaN; -inf where there is none.
static inline float largest(const float *x, long n) {
    float m = -INFINITY;
    if (n < LANES) {
        for (long i = 0; i < n; i++) m = x[i] > m ? x[i] : m;
        return m;
    }
    Vector least = (Vector){0.0f} - INFINITY, first = least, second = least;
    for (long i = 0; i + 2 * LANES <= n; i += 2 * LANES) {
        first = larger(load(x + i), first);
        second = larger(load(x + i + LANES), second);
    }
    if (n / LANES % 2) first = larger(load(x + n / LANES * LANES - LANES), first);
    first = larger(load(x + n - LANES), larger(second, first));  // which reads some once more
    UNROLLED for (int lanes = LANES; lanes > 1; lanes /= 2)
        first = larger(PAIRS(first, first, LOWER_PAIRS), PAIRS(first, first, UPPER_PAIRS));
    return first[0];
}

// Transposes LANES rows of LANES numbers: squares of four by four within quarters of 128 bits, which take one fast instruction a
// vector and no register of indices, then the quarters, of which each round turns the bits of their places round by one.
static inline void transpose(Vector *rows) {
    enum { QUARTERS = LANES / 4 };
    Vector next[LANES];
    UNROLLED for (int i = 0; i < LANES; i += 4) {
        UNROLLED for (int j = i; j < i + 4; j += 2) {
            next[j] = PAIRS(rows[j], rows[j + 1], LOWER_OF_QUARTERS);
            next[j + 1] = PAIRS(rows[j], rows[j + 1], UPPER_OF_QUARTERS);
        }
        UNROLLED for (int j = 0; j < 2; j++) {
            rows[i + 2 * j] = PAIRS(next[i + j], next[i + j + 2], LOWER_HALVES_OF_QUARTERS);
            rows[i + 2 * j + 1] = PAIRS(next[i + j], next[i + j + 2], UPPER_HALVES_OF_QUARTERS);
        }
    }
#if defined(__AVX__)
    UNROLLED for (int round = 1; round < QUARTERS; round *= 2) {
        UNROLLED for (int i = 0; i < LANES / 2; i++) {
            const Vector first = rows[i / 4 * 8 + i % 4], second = rows[i / 4 * 8 + i % 4 + 4];
            next[i] = PAIRS(first, second, EVEN_QUARTERS);
            next[i + LANES / 2] = PAIRS(first, second, ODD_QUARTERS);
        }
        UNROLLED for (int i = 0; i < LANES; i++) rows[i] = next[i];
    }
#endif
}

// to[c][r] = from[r][c] * factor.
static inline void transpose_rows(const float *from, long from_row, long rows, long columns, float factor, float *to, long to_row) {
    long r = 0;
    for (; r + LANES <= rows; r += LANES) {
        long c = 0;
        for (; c + LANES <= columns; c += LANES) {
            Vector square[LANES];
            UNROLLED for (int i = 0; i < LANES; i++) square[i] = load(from + (r + i) * from_row + c) * factor;
            transpose(square);
            UNROLLED for (int i = 0; i < LANES; i++) store(to + (c + i) * to_row + r, square[i]);
        }
        for (; c < columns; c++)
            for (long i = r; i < r + LANES; i++) to[c * to_row + i] = from[i * from_row + c] * factor;
    }
    for (; r < rows; r++)
        for (long c = 0; c < columns; c++) to[c * to_row + r] = from[r * from_row + c] * factor;
}

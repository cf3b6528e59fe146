// Numbers of bfloat16 or float32 as what tiles of bfloat16 multiply: `terms` of them. Of bfloat16 it is one. A number of float32 is
// the sum of three, to the last bit; of their nine products the six largest are added up, which errs less than float32 does that
// adds up one after the other. Infinities have no such terms.
//
// First of the files of the LSTM in tiles: `recurrent_products.h` multiplies what is described here, `recurrent_weight.h` packs
// the recurrent weight for it, `recurrent_tiles.h` and `recurrent_tiles_grad.h` are the LSTM and its gradient.

enum { FLOAT_TERMS = 3 };

#if defined(__AVX512BF16__)
static inline Vector widened_half(__m256bh x) {
    return (Vector)_mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i)x), 16);
}
#endif

static inline __attribute__((always_inline)) Vector load_numbers(const void *from, long at, const int terms) {
    if (terms > 1) return load((const float *)from + at);
    const uint16_t *half = (const uint16_t *)from + at;
#ifdef __AVX512BF16__
    return widened_half((__m256bh)_mm256_loadu_si256((const __m256i *)half));
#else
    Vector x;
    for (int i = 0; i < LANES; i++) x[i] = bf16_wide(half[i]);
    return x;
#endif
}

// The rest of a number is what rounding has taken from it.
static inline __attribute__((always_inline)) Vector store_half(uint16_t *to, Vector x) {
#ifdef __AVX512BF16__
    __m256bh half = _mm512_cvtneps_pbh((__m512)x);
    _mm256_storeu_si256((__m256i *)to, (__m256i)half);
    return x - widened_half(half);
#else
    Vector wide;
    for (int i = 0; i < LANES; i++) {
        to[i] = bf16_of(x[i]);
        wide[i] = bf16_wide(to[i]);
    }
    return x - wide;
#endif
}

static inline __attribute__((always_inline)) void store_numbers(void *to, long at, Vector x, const int terms) {
    if (terms > 1) store((float *)to + at, x);
    else store_half((uint16_t *)to + at, x);
}

// What is multiplied lies in tiles, [32 numbers of a row][term][16 rows][number]: where number `k` of a row begins.
enum { BF16_NUMBERS = BF16_SIDE * BF16_DEPTH };
static inline long in_tiles_at(long row, long k, int terms) {
    return k / BF16_DEPTH * terms * BF16_NUMBERS + row * BF16_DEPTH + k % BF16_DEPTH;
}

static inline __attribute__((always_inline)) void store_terms(uint16_t *to, Vector x, const int terms) {
    UNROLLED for (int term = 0; term < terms; term++) x = store_half(to + term * BF16_NUMBERS, x);
}

static inline int all_finite(const float *x, long n) {
    float zero = 0.0f;
#pragma omp simd reduction(+ : zero)
    for (long i = 0; i < n; i++) zero += x[i] * 0.0f;
    return zero == 0.0f;
}

static inline long size_of_number(int terms) { return terms > 1 ? 4 : 2; }
static inline const void *number_at(const void *from, long at, int terms) {
    return (const char *)from + at * size_of_number(terms);
}

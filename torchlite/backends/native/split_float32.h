// Numbers of float32 as sums of three of bfloat16, which tile registers (AMX) multiply.
//
// The terms are the number's rounded upper half, the upper half of what is left, and the rest: to the last bit the number, unless
// it is so small that a term is below 2^-126, which tile registers take for zero. So those who split numbers note their range, and
// multiply them by a power of two, which is exact, or leave them to others.

#ifdef __AMX_BF16__
enum {
    SPLIT_TERMS = 3,
    // Exponents of 2:
    SPLIT_LARGEST = 54,    // of what numbers are scaled to: sums of products of two such are finite
    SPLIT_MOST_SCALE = 63,
    SPLIT_LEAST = -80,     // of products of which no bit, 46 places lower, is below 2^-126
    SPLIT_LEAST_LEFT = -50,
    SPLIT_LEAST_RIGHT = SPLIT_LEAST - SPLIT_LEAST_LEFT,
    SPLIT_LEAST_TERM = -103,  // of numbers whose terms are not
    SPLIT_NEVER = -1000,
};

typedef struct { __m512 most, least; } SplitRange;  // of numbers' sizes, zeros left out

// Of some numbers the exponents of what they are multiplied by, and of the least of them then.
typedef struct { long scale, least; } SplitSpan;

static inline SplitRange no_range(void) { return (SplitRange){_mm512_setzero_ps(), _mm512_set1_ps(0x1p127f)}; }

static inline __attribute__((always_inline)) void extend(SplitRange *range, __m512 x) {
    enum { LEAST_SIZE = 10, LARGEST_SIZE = 11 };
    __mmask16 some = _mm512_test_epi32_mask(_mm512_castps_si512(x), _mm512_set1_epi32(0x7fffffff));
    range->most = _mm512_range_ps(range->most, x, LARGEST_SIZE);
    range->least = _mm512_mask_range_ps(range->least, some, range->least, x, LEAST_SIZE);
}

static inline __attribute__((always_inline)) __m512 upper_halves(__m512 x, const int rounded) {
    __m512i bits = _mm512_castps_si512(x);
    if (rounded) bits = _mm512_add_epi32(bits, _mm512_set1_epi32(0x8000));
    return _mm512_castsi512_ps(_mm512_and_si512(bits, _mm512_set1_epi32((int)0xffff0000u)));
}

// The terms of two vectors, x in lower and y in upper halves of words, `term` words apart. The first is rounded: what the three
// products that are left out would add is then below 2^-24 of the product, and of either sign. No number is so large here that it
// is rounded to infinity.
static inline __attribute__((always_inline)) void split_numbers(__m512 x, __m512 y, uint32_t *to, long term) {
    UNROLLED for (int i = 0; i < SPLIT_TERMS; i++) {
        __m512 upper_x = upper_halves(x, !i), upper_y = upper_halves(y, !i);
        __m512i lower = _mm512_srli_epi32(_mm512_castps_si512(upper_x), 16);
        _mm512_store_si512(to + i * term, _mm512_or_si512(lower, _mm512_castps_si512(upper_y)));
        x = _mm512_sub_ps(x, upper_x);
        y = _mm512_sub_ps(y, upper_y);
    }
}

static inline float power_of_2(long exponent) { return from_bits((uint32_t)(exponent + 127) << 23); }

// Rounded down; 128 of what is not finite, -127 of what is below 2^-126.
static inline long exponent_of(float x) { return (long)(to_bits(x) >> 23 & 255) - 127; }

// By what numbers of a range have to be multiplied: by nothing where they are large enough, and not too large.
static inline SplitSpan span_of(SplitRange range, long enough) {
    long most = exponent_of(_mm512_reduce_max_ps(range.most)), least = exponent_of(_mm512_reduce_min_ps(range.least));
    if (least >= enough && most <= SPLIT_LARGEST) return (SplitSpan){0, least};
    long scale = at_least(at_most(SPLIT_LARGEST - most, SPLIT_MOST_SCALE), -SPLIT_MOST_SCALE);
    if (most > 127 || least < -126 || least + scale < SPLIT_LEAST_TERM) return (SplitSpan){0, SPLIT_NEVER};
    return (SplitSpan){scale, least + scale};
}

// Products of two by two tiles that are split, over 32 numbers, whose sums are tiles 0 to 3. Small terms of all that is summed over
// come first. LEFT, LOWER_LEFT, RIGHT and NEXT_RIGHT of a term, the caller's macros, load tiles 4 to 7, each right before its first
// product, while others are multiplied; from one of the five products of small terms to the next only the left or the right one changes.
// `wide` is 0 where there is no next right tile, and `beside` is done after every four products.
#define SMALL_TERMS(wide, beside)                                                                                    \
    FIRST_TERMS(2, 0, wide) beside;                                                                                  \
    NEXT_LEFT_TERM(1, wide) beside;                                                                                  \
    NEXT_RIGHT_TERM(1, wide) beside;                                                                                 \
    NEXT_LEFT_TERM(0, wide) beside;                                                                                  \
    NEXT_RIGHT_TERM(2, wide) beside;
#define LARGE_TERM(wide, beside) FIRST_TERMS(0, 0, wide) beside;
#define FIRST_TERMS(left, right, wide)                                                                               \
    RIGHT(right) LEFT(left) _tile_dpbf16ps(0, 4, 6);                                                                 \
    if (wide) { NEXT_RIGHT(right) _tile_dpbf16ps(1, 4, 7); }                                                         \
    LOWER_LEFT(left) _tile_dpbf16ps(2, 5, 6); if (wide) _tile_dpbf16ps(3, 5, 7);
#define NEXT_LEFT_TERM(left, wide)                                                                                   \
    LEFT(left) _tile_dpbf16ps(0, 4, 6); if (wide) _tile_dpbf16ps(1, 4, 7);                                           \
    LOWER_LEFT(left) _tile_dpbf16ps(2, 5, 6); if (wide) _tile_dpbf16ps(3, 5, 7);
#define NEXT_RIGHT_TERM(right, wide)                                                                                 \
    RIGHT(right) _tile_dpbf16ps(0, 4, 6); _tile_dpbf16ps(2, 5, 6);                                                   \
    if (wide) { NEXT_RIGHT(right) _tile_dpbf16ps(1, 4, 7); _tile_dpbf16ps(3, 5, 7); }
#endif

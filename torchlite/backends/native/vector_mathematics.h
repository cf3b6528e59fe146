// Functions of several vectors at once. A processor looks some hundred operations ahead, which are three chains of a function:
// where each step is done to four vectors before the next, four chains are under way in a third of that.

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#define EACH for (int v = 0; v < count; v++)

// x within ±limit; NaN stays.
static inline Vector limited(Vector x, float limit) {
#if defined(__AVX512F__)
    return (Vector)_mm512_max_ps(_mm512_set1_ps(-limit), _mm512_min_ps(_mm512_set1_ps(limit), (__m512)x));
#else
    Lanes above = (Lanes)(x > limit), below = (Lanes)(x < -limit);
    Vector most = (Vector){0.0f} + limit;
    return (Vector)((~(above | below) & (Lanes)x) | (above & (Lanes)most) | (below & (Lanes)-most));
#endif
}

// A first guess of 1 / x, and how many of Newton's steps bring it to 1 ulp, for x from 1 to 1e37.
#if defined(__AVX512F__)
enum { NEWTON_STEPS = 1 };
static inline Vector near_reciprocal(Vector x) { return (Vector)_mm512_rcp14_ps((__m512)x); }
#else
enum { NEWTON_STEPS = 2 };
static inline Vector near_reciprocal(Vector x) {
    Vector y = (Vector)(0x7eb53567 - (Lanes)x);
    return 1.9395974f * y * (1.436142f - x * y);
}
#endif

static inline __attribute__((always_inline)) void reciprocals(Vector *x, const int count) {
    Vector y[4];
    UNROLLED EACH y[v] = near_reciprocal(x[v]);
    UNROLLED for (int step = 0; step < NEWTON_STEPS; step++) UNROLLED EACH y[v] = y[v] + y[v] * (1.0f - x[v] * y[v]);
    UNROLLED EACH x[v] = y[v];
}

// 2^(x scale) for |x scale| up to 126, as p and the bits of n: 2^n (p + 1), |p| below 0.5, to 1 ulp of p where |x| is below 10.
static inline __attribute__((always_inline)) void powers_of_two(const Vector *x, float scale, Vector *p, Lanes *bits,
                                                                const int count) {
    Vector f[4];
    UNROLLED EACH f[v] = x[v] * scale + 12582912.0f;  // the nearest integer is in the lowest bits
    UNROLLED EACH bits[v] = (Lanes)f[v] << 23;
    UNROLLED EACH f[v] = x[v] * scale - (f[v] - 12582912.0f);
    UNROLLED EACH p[v] = f[v] * 0.00015403512f + 0.0013390735f;
    UNROLLED EACH p[v] = p[v] * f[v] + 0.0096182375f;
    UNROLLED EACH p[v] = p[v] * f[v] + 0.055503574f;
    UNROLLED EACH p[v] = p[v] * f[v] + 0.24022650f;
    UNROLLED EACH p[v] = p[v] * f[v] + 0.69314719f;
    UNROLLED EACH p[v] = p[v] * f[v];
}

// The logistic function of `count` vectors, at most four; arguments beyond ±80 count as ±80. 2 ulp from -10 on.
static inline __attribute__((always_inline)) void sigmoids(Vector *x, const int count) {
    Vector p[4];
    Lanes bits[4];
    UNROLLED EACH x[v] = limited(x[v], 80.0f);
    powers_of_two(x, -1.44269504f, p, bits, count);
    UNROLLED EACH x[v] = (Vector)((Lanes)(p[v] + 1.0f) + bits[v]) + 1.0f;
    reciprocals(x, count);
}

// e^x for x up to 0, as `exp_parts` has it; 0 below -87, where results would be denormal. NaN stays.
static inline __attribute__((always_inline)) void exponentials(Vector *x, const int count) {
    Vector f[4], p[4], r[4];
#if defined(__AVX512F__)
    __mmask16 some[4];
    UNROLLED EACH some[v] = _mm512_cmp_ps_mask((__m512)x[v], _mm512_set1_ps(-87.0f), _CMP_NLT_UQ);
#else
    Lanes some[4];
    UNROLLED EACH some[v] = ~(Lanes)(x[v] < -87.0f);
    UNROLLED EACH x[v] = (Vector)(some[v] & (Lanes)x[v]);
#endif
    UNROLLED EACH f[v] = x[v] * 1.44269504f + 12582912.0f - 12582912.0f;
    UNROLLED EACH r[v] = x[v] - f[v] * 0.693145752f;
    UNROLLED EACH r[v] = r[v] - f[v] * 1.42860677e-6f;
    UNROLLED EACH p[v] = r[v] * 0.0013813142f + 0.0083694197f;
    UNROLLED EACH p[v] = p[v] * r[v] + 0.041668456f;
    UNROLLED EACH p[v] = p[v] * r[v] + 0.16666515f;
    UNROLLED EACH p[v] = p[v] * r[v] + 0.49999994f;
    UNROLLED EACH p[v] = p[v] * (r[v] * r[v]) + r[v] + 1.0f;
#if defined(__AVX512F__)
    UNROLLED EACH x[v] = (Vector)_mm512_maskz_scalef_ps(some[v], (__m512)p[v], (__m512)f[v]);
#else
    UNROLLED EACH p[v] *= (Vector)(((Lanes)(f[v] + 12582912.0f) << 23) + 0x3f800000);
    UNROLLED EACH x[v] = (Vector)(some[v] & (Lanes)p[v]);
#endif
}

// tanh(x) = q / (q + 2) with q = e^2x - 1, which near 0 is a polynomial; 2.5 ulp.
static inline __attribute__((always_inline)) void tanhs(Vector *x, const int count) {
    Vector p[4], d[4];
    Lanes bits[4];
    UNROLLED EACH x[v] = limited(x[v], 20.0f);
    powers_of_two(x, 2.88539008f, p, bits, count);
    UNROLLED EACH d[v] = (Vector)(bits[v] + 0x3f800000);
    UNROLLED EACH x[v] = p[v] * d[v] + (d[v] - 1.0f);
    UNROLLED EACH d[v] = x[v] + 2.0f;
    reciprocals(d, count);
    UNROLLED EACH x[v] = x[v] * d[v];
}

// ln x for x from 1 on, to 1 ulp; NaN stays. x = 2^n (1 + f) with f from -0.3 to 0.42.
static inline Vector logarithm(Vector x) {
    const Lanes n = ((Lanes)x - 0x3f3504f3) >> 23;
    const Vector f = (Vector)((Lanes)x - (n << 23)) - 1.0f, whole = __builtin_convertvector(n, Vector);
    Vector p = f * -0.0763450265f + 0.127615795f;
    p = p * f - 0.13160181f;
    p = p * f + 0.142017573f;
    p = p * f - 0.166233569f;
    p = p * f + 0.200012267f;
    p = p * f - 0.250008196f;
    p = p * f + 0.333333313f;
    p = p * (f * f * f) - whole * 2.12194440e-4f;
    return whole * 0.693359375f + (f + (p - f * f * 0.5f)) + (x - x);
}
#undef EACH

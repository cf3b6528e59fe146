// Functions of one number, without branches, so that a compiler turns loops over them into vector code for whatever
// instructions the processor has. The polynomials are our own minimax fits; errors are in units of the last place.

static inline float from_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline uint32_t to_bits(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

// x y + z with one rounding where the processor has that, so that these functions give the same and are as fast wherever they
// are inlined, also in code that rounds each operation.
static inline float mad(float x, float y, float z) {
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA) || defined(__FP_FAST_FMAF)
    return __builtin_fmaf(x, y, z);
#else
    return x * y + z;
#endif
}

// bfloat16 is the upper half of float32.
typedef uint16_t bfloat16;

static inline float bf16_wide(bfloat16 x) { return from_bits((uint32_t)x << 16); }

// Of a number that is one already.
static inline bfloat16 bf16_same(float x) { return (bfloat16)(to_bits(x) >> 16); }

// The nearest bfloat16, of two the even one; NaN keeps its sign. Lanes stay as wide as they are.
static inline float bf16_rounded(float x) {
    uint32_t bits = to_bits(x), rounded = bits + 0x7fffu + (bits >> 16 & 1u);
    return from_bits((x != x ? bits | 0x400000u : rounded) & 0xffff0000u);
}

static inline bfloat16 bf16_of(float x) { return bf16_same(bf16_rounded(x)); }

// e^x = 2^n e^r with |r| <= ln(2) / 2, as e^r and n; below 1 ulp.
static inline float exp_parts(float x, int32_t *n) {
    float shifted = mad(x, 1.44269504f, 12582912.0f);  // the nearest integer is in the lowest bits
    *n = (int32_t)(to_bits(shifted) - 0x4b400000u);
    float whole = shifted - 12582912.0f;
    float r = mad(whole, -0.693145752f, x);
    r = mad(whole, -1.42860677e-6f, r);
    float p = 0.0013813142f;
    p = mad(p, r, 0.0083694197f);
    p = mad(p, r, 0.041668456f);
    p = mad(p, r, 0.16666515f);
    p = mad(p, r, 0.49999994f);
    return mad(p, r * r, r) + 1.0f;
}

// Scaled in two steps, which reach denormal results and infinity. What becomes 0 is not computed: processors take their
// time over numbers below the denormal ones.
static inline float exp_(float argument) {
    float x = argument > 89.0f ? 89.0f : argument;  // NaN compares false and stays
    x = argument < -104.0f ? 0.0f : x;
    int32_t n;
    float p = exp_parts(x, &n);
    int32_t half = n >> 1;
    p = p * from_bits((uint32_t)(half + 127) << 23) * from_bits((uint32_t)(n - half + 127) << 23);
    return argument < -104.0f ? 0.0f : p;
}

// Where the result is known to be an ordinary number: for |x| up to 80.
static inline float exp_within(float x) {
    int32_t n;
    float p = exp_parts(x, &n);
    return from_bits(to_bits(p) + ((uint32_t)n << 23));
}

// 1 / x to 1 ulp for x from 1 to 1e37, where division would be what a loop waits for: a first guess from the bits, whose
// error of 0.9 % two steps of Newton square twice.
static inline float reciprocal_(float x) {
    float y = from_bits(0x7eb53567u - to_bits(x));
    y = 1.9395974f * y * mad(-x, y, 1.436142f);
    y = mad(y, mad(-x, y, 1.0f), y);
    return mad(y, mad(-x, y, 1.0f), y);
}

// From 0.625 on 1 - 2 / (e^2x + 1), below a polynomial; 2 ulp.
static inline float tanh_(float x) {
    float a = fabsf(x), u = x * x;
    float p = -0.005717033f;
    p = mad(p, u, 0.020650575f);
    p = mad(p, u, -0.053743493f);
    p = mad(p, u, 0.13331491f);
    p = mad(p, u, -0.33333284f);
    float near_zero = mad(p * u, a, a);
    float far = 1.0f - 2.0f * reciprocal_(exp_within(a > 10.0f ? 20.0f : 2.0f * a) + 1.0f);
    return copysignf(a < 0.625f ? near_zero : far, x);
}

// From the hyperbolic tangent of x / 2 below 1, where e^x - 1 would lose digits; 3 ulp.
static inline float expm1_(float x) {
    float half = tanh_(0.5f * x);
    return x < 1.0f ? 2.0f * half / (1.0f - half) : exp_(x) - 1.0f;
}

static inline float sigmoid_(float x) { return 1.0f / (1.0f + exp_(-x)); }

// tanh(x p(x^2)), as on NumPy; 3 ulp.
static inline float erf_(float x) {
    float a = x > 4.0f ? 4.0f : x;
    a = a < -4.0f ? -4.0f : a;
    float u = a * a;
    float p = 5.421777e-09f;
    p = mad(p, u, 2.757142e-08f);
    p = mad(p, u, -4.794559e-06f);
    p = mad(p, u, 8.459637e-05f);
    p = mad(p, u, -0.0006148378f);
    p = mad(p, u, -0.00019528867f);
    p = mad(p, u, 0.10276987f);
    p = mad(p, u, 1.1283792f);
    return tanh_(a * p);
}

// e^(-x^2 / 2), 0 from 12.6 standard deviations on.
static inline float bell_(float x) {
    float a = fabsf(x), near = a > 12.6f ? 12.6f : a, e = exp_within(-0.5f * (near * near));
    return a > 12.6f ? 0.0f : e;
}

static inline float normal_density_(float x) { return 0.39894228f * bell_(x); }

// The normal distribution function from its tail, which is the density times a polynomial without constant of
// 1 / (1 + 0.4 |x|): the exponential is that of the density, and the error below 1.4e-7.
static inline float normal_cdf_(float x) {
    float a = fabsf(x), near = a > 12.6f ? 12.6f : a, t = reciprocal_(mad(near, 0.4f, 1.0f));
    float p = -0.031702917f;
    p = mad(p, t, 0.162416032f);
    p = mad(p, t, -0.296211296f);
    p = mad(p, t, 0.165627776f);
    p = mad(p, t, 0.0426824632f);
    p = mad(p, t, 0.137570776f);
    p = mad(p, t, 0.160135459f);
    p = mad(p, t, 0.159481702f);
    float tail = bell_(x) * (p * t);
    return x > 0.0f ? 1.0f - tail : tail;
}

static inline float gelu_slope_(float x) { return normal_cdf_(x) + x * normal_density_(x); }

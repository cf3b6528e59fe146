// GELU, x times the normal distribution function, and its slope.

#if defined(__AVX512F__)
#include <immintrin.h>

// The distribution's upper tail is a polynomial of degree 5 in each of 31 intervals around multiples of GELU_STEP, and 0
// beyond. It is the integral of one that errs by 1e-8 from the density. Looking up a coefficient takes one operation.
#define GELU_STEP 0.203125f

static const float GELU_TAIL[6][32] __attribute__((aligned(64))) = {
    {0.5f, 0.41951868f, 0.34227946f, 0.27113795f, 0.2082524f, 0.154904f, 0.111469544f, 0.07753127f, 0.05208128f,
     0.033765398f, 0.02111482f, 0.012729204f, 0.007394607f, 0.004137663f, 0.0022293008f, 0.0011561692f,
     0.00057702506f, 0.00027706608f, 0.00012796589f, 5.6838693e-5f, 2.4274974e-5f, 9.967168e-6f, 3.933901e-6f,
     1.4923129e-6f, 5.440423e-7f, 1.9058895e-7f, 6.415274e-8f, 2.0746688e-8f, 6.4456303e-9f, 1.9236885e-9f,
     5.514793e-10f, 0},
    {-0.3989423f, -0.39079645f, -0.36734343f, -0.3313409f, -0.28678668f, -0.23819023f, -0.18983229f, -0.14517683f,
     -0.106538266f, -0.075023115f, -0.050695058f, -0.032871332f, -0.020452674f, -0.012211358f, -0.006996148f,
     -0.0038462288f, -0.002029048f, -0.0010271424f, -0.00049894204f, -0.00023256839f, -0.00010402371f,
     -4.4647295e-5f, -1.8388193e-5f, -7.2671487e-6f, -2.7559427e-6f, -1.0028995e-6f, -3.5020773e-7f, -1.1734787e-7f,
     -3.7731645e-8f, -1.1641728e-8f, -3.4467535e-9f, 0},
    {0, 0.039690107f, 0.07461636f, 0.100955114f, 0.1165068f, 0.12095579f, 0.11567897f, 0.10321168f, 0.08656245f,
     0.06857595f, 0.0514873f, 0.036723543f, 0.02492676f, 0.016122837f, 0.009947649f, 0.0058594756f, 0.003297184f,
     0.001773407f, 0.0009121133f, 0.00044877338f, 0.000211291f, 9.521997e-5f, 4.1083676e-5f, 1.6974316e-5f,
     6.716971e-6f, 2.5461254e-6f, 9.2463495e-7f, 3.2173435e-7f, 1.07277295e-7f, 3.4280184e-8f, 1.04988285e-8f, 0},
    {0.066490285f, 0.0624453f, 0.051119525f, 0.03471691f, 0.016243814f, -0.0012502056f, -0.015355835f,
     -0.024721833f, -0.029131528f, -0.02928453f, -0.02641194f, -0.021872777f, -0.016844183f, -0.012156222f,
     -0.008263527f, -0.0053100106f, -0.0032337965f, -0.001870095f, -0.0010284974f, -0.00053857866f, -0.00026879384f,
     -0.00012795457f, -5.8135684e-5f, -2.5224304e-5f, -1.0456537e-5f, -4.1430753e-6f, -1.569547e-6f, -5.686869e-7f,
     -1.971217e-7f, -6.538211e-8f, -2.075566e-8f, 0},
    {0, -0.009755043f, -0.017574402f, -0.02205294f, -0.022662137f, -0.01980455f, -0.014586457f, -0.008420309f,
     -0.0026129284f, 0.0019279748f, 0.0048055924f, 0.006077693f, 0.0060977526f, 0.0053325575f, 0.0042166375f,
     0.0030707663f, 0.0020816275f, 0.0013224598f, 0.00079103216f, 0.00044696912f, 0.00023916911f, 0.00012142291f,
     5.8575104e-5f, 2.6882153e-5f, 1.1748444e-5f, 4.893464e-6f, 1.9438828e-6f, 7.368764e-7f, 2.6669053e-7f,
     9.219283e-8f, 3.0452817e-8f, 0},
    {-0.009952152f, -0.008950838f, -0.0062251803f, -0.002511925f, 0.0012463348f, 0.0042038197f, 0.0058474448f,
     0.0060891244f, 0.005205518f, 0.0036766145f, 0.002001764f, 0.0005608069f, -0.0004470496f, -0.0009916263f,
     -0.0011562497f, -0.0010719124f, -0.0008653273f, -0.0006306234f, -0.00042254306f, -0.00026310666f,
     -0.0001532999f, -8.3976105e-5f, -4.339676e-5f, -2.1210957e-5f, -9.824851e-6f, -4.3195387e-6f, -1.8048743e-6f,
     -7.174794e-7f, -2.7158413e-7f, -9.7960864e-8f, -3.3692118e-8f, 0},
};

// GELU errs by 1e-7, relative to x where that is above 1, and the slope by 1.4e-7.
static inline __attribute__((always_inline)) __m512 gelu_of(__m512 x, __m512 *slope) {
    const __m512 integer = _mm512_set1_ps(12582912.0f);  // which rounds, and leaves the integer in the lowest bits
    __m512 a = _mm512_min_ps(_mm512_set1_ps(31 * GELU_STEP), _mm512_abs_ps(x));  // NaN stays
    __m512 interval = _mm512_fmadd_ps(a, _mm512_set1_ps(1.0f / GELU_STEP), integer);
    __m512 t = _mm512_fnmadd_ps(_mm512_sub_ps(interval, integer), _mm512_set1_ps(GELU_STEP), a);
#define COEFFICIENT(k) \
    _mm512_permutex2var_ps(_mm512_load_ps(GELU_TAIL[k]), _mm512_castps_si512(interval), _mm512_load_ps(GELU_TAIL[k] + 16))
    __m512 tail_slope = COEFFICIENT(5), tail = _mm512_fmadd_ps(tail_slope, t, COEFFICIENT(4));
    UNROLLED for (int k = 3; k >= 0; k--) {
        tail_slope = _mm512_fmadd_ps(tail_slope, t, tail);
        tail = _mm512_fmadd_ps(tail, t, COEFFICIENT(k));
    }
#undef COEFFICIENT
    __mmask16 above = _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_GT_OQ);
    __m512 below = _mm512_mask_sub_ps(tail, above, _mm512_set1_ps(1.0f), tail);  // how much of the distribution lies below x
    *slope = _mm512_fnmadd_ps(x, tail_slope, below);
    return _mm512_mul_ps(x, below);
}
#endif

// values[i] = GELU(x[i]), or of its sum with a bias, and slopes[i] = its slope there; either may lie where x does, or be NULL.
static inline __attribute__((always_inline)) void gelu_with_slopes(const float *x, const float *bias, float *values, float *slopes,
                                                                   long n) {
#if defined(__AVX512F__)
    long i = 0;
    for (__m512 slope; i + 16 <= n; i += 16) {
        __m512 argument = _mm512_loadu_ps(x + i);
        if (bias) argument = _mm512_add_ps(argument, _mm512_loadu_ps(bias + i));
        __m512 value = gelu_of(argument, &slope);
        if (values) _mm512_storeu_ps(values + i, value);
        if (slopes) _mm512_storeu_ps(slopes + i, slope);
    }
    if (i < n) {
        __mmask16 left = (__mmask16)((1u << (n - i)) - 1);
        __m512 argument = _mm512_maskz_loadu_ps(left, x + i);
        if (bias) argument = _mm512_add_ps(argument, _mm512_maskz_loadu_ps(left, bias + i));
        __m512 slope, value = gelu_of(argument, &slope);
        if (values) _mm512_mask_storeu_ps(values + i, left, value);
        if (slopes) _mm512_mask_storeu_ps(slopes + i, left, slope);
    }
#else
    _Pragma("omp simd") for (long i = 0; i < n; i++) {
        const float number = bias ? x[i] + bias[i] : x[i];
        if (values) values[i] = number * normal_cdf_(number);
        if (slopes) slopes[i] = gelu_slope_(number);
    }
#endif
}

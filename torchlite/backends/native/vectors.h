// The widest vectors that the processor has, for kernels that keep a tile of results in registers.

#if defined(__AVX512F__)
enum { LANES = 16, REGISTERS = 32 };
#elif defined(__AVX__)
enum { LANES = 8, REGISTERS = 16 };
#elif defined(__aarch64__)
enum { LANES = 4, REGISTERS = 32 };
#else
enum { LANES = 4, REGISTERS = 16 };
#endif

typedef float Vector __attribute__((vector_size(sizeof(float) * LANES)));
typedef float Anywhere __attribute__((vector_size(sizeof(float) * LANES), aligned(4), may_alias));

static inline Vector load(const float *p) { return *(const Anywhere *)p; }
static inline void store(float *p, Vector v) { *(Anywhere *)p = v; }

// The larger of two numbers in each lane; b where a is NaN, and a where b is.
static inline Vector larger(Vector a, Vector b) {
    typedef int32_t Mask __attribute__((vector_size(sizeof(float) * LANES)));
    Mask first = (Mask)(a > b) | (Mask)(b != b);
    return (Vector)((first & (Mask)a) | (~first & (Mask)b));
}

// The largest of n numbers that are not NaN; -inf where there is none.
static inline float largest(const float *x, long n) {
    Vector best[2];
    float lanes[2 * LANES], m = -INFINITY;
    for (int i = 0; i < 2 * LANES; i++) lanes[i] = m;
    memcpy(best, lanes, sizeof best);
    long i = 0;
    for (; i + 2 * LANES <= n; i += 2 * LANES) {
        best[0] = larger(best[0], load(x + i));
        best[1] = larger(best[1], load(x + i + LANES));
    }
    memcpy(lanes, best, sizeof best);
    for (int j = 0; j < 2 * LANES; j++) m = lanes[j] > m ? lanes[j] : m;
    for (; i < n; i++) m = x[i] > m ? x[i] : m;
    return m;
}

// Loops over the registers of a tile must be unrolled completely, or the tile lies in memory.
#if defined(__clang__)
#define UNROLLED _Pragma("clang loop unroll(full)")
#else
#define UNROLLED _Pragma("GCC unroll 16")
#endif

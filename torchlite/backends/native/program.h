// What the C of captured functions is written with: loops over flat arrays, one or many at a time.

// Before a function that only calls others, one after the other, with tables of addresses: optimizing those takes longer than
// anything else in it.
#if defined(__clang__)
#define UNOPTIMIZED __attribute__((noinline, optnone))
#else
#define UNOPTIMIZED __attribute__((optimize("O0")))
#endif

// 16 numbers of bfloat16 as float32, and back. A loop over so few that did this itself would use half of the widest vectors.
typedef uint32_t ShortRow __attribute__((vector_size(64), aligned(4), may_alias, unused));
typedef bfloat16 ShortRowOfHalves __attribute__((vector_size(32), aligned(2), may_alias, unused));

static inline void widen_row(const bfloat16 *from, float *to) {
#if defined(__AVX512F__) && !defined(__clang__)  // gcc converts halves of the vector and puts them together
    typedef short Halves __attribute__((vector_size(32)));
    const Halves halves = (Halves) * (const ShortRowOfHalves *)from;
    *(ShortRow *)to = (ShortRow)__builtin_ia32_pmovzxwd512_mask(halves, (Lanes){0}, -1) << 16;
#else
    *(ShortRow *)to = __builtin_convertvector(*(const ShortRowOfHalves *)from, ShortRow) << 16;
#endif
}

static inline void narrow_row(const float *from, bfloat16 *to) {
    *(ShortRowOfHalves *)to = __builtin_convertvector(*(const ShortRow *)from >> 16, ShortRowOfHalves);
}

// Does elements begin to end - 1 of the arrays that lie at `at`.
typedef void (*Range)(void *const *at, long begin, long end);

typedef struct { Range range; void *const *at; long n; } Flat;

static void flat_task(void *argument, long index) {
    const Flat *f = argument;
    f->range(f->at, index * GRAIN, at_most((index + 1) * GRAIN, f->n));
}

static inline void flat(Range range, void *const *at, long n) {
    Flat f = {range, at, n};
    parallel(flat_task, &f, parts(n, GRAIN));
}

// The same on several groups of `arrays` arrays each, which lie at at[0], at[arrays], … and have n[0], n[1], … elements.
// A task takes a stretch of one group: chunks[i] says which, and where it begins.
typedef struct { int group; long begin; } Chunk;
typedef struct { Range range; void *const *at; int arrays; const long *n; const Chunk *chunks; } Many;

static void many_task(void *argument, long index) {
    const Many *m = argument;
    const Chunk c = m->chunks[index];
    m->range(m->at + c.group * m->arrays, c.begin, at_most(c.begin + GRAIN, m->n[c.group]));
}

static inline void many(Range range, void *const *at, int arrays, const long *n, const Chunk *chunks, long count) {
    Many m = {range, at, arrays, n, chunks};
    parallel(many_task, &m, count);
}

// The same on groups that are worth no other thread together.
static inline void few(Range range, void *const *at, int arrays, const long *n, long groups) {
    for (long g = 0; g < groups; g++) range(at + g * arrays, 0, n[g]);
}

static inline float gelu_tanh_(float x) { return tanh_(x * (0.79788456f + 0.035677408f * (x * x))); }

static inline float gelu_tanh_slope_(float x) {
    float t = gelu_tanh_(x);
    return 0.5f * (1 + t) + 0.5f * x * (1 - t * t) * (0.79788456f + 0.10703222f * (x * x));
}

static inline float silu_slope_(float x) {
    float s = sigmoid_(x);
    return s * (1 + x * (1 - s));
}

// Conversions between bfloat16 and float32, and products of matrices of either.

enum { HALF_GRAIN = 2 * GRAIN };  // numbers of half the size that a task takes

typedef struct { const void *from; void *to; long n; } Conversion;

static void to_bfloat16_task(void *argument, long index) {
    const Conversion *c = argument;
    const float *x = c->from;
    uint16_t *out = c->to;
#pragma omp simd
    for (long i = index * HALF_GRAIN; i < at_most((index + 1) * HALF_GRAIN, c->n); i++) out[i] = bf16_of(x[i]);
}

static void to_float32_task(void *argument, long index) {
    const Conversion *c = argument;
    const uint16_t *x = c->from;
    float *out = c->to;
#pragma omp simd
    for (long i = index * HALF_GRAIN; i < at_most((index + 1) * HALF_GRAIN, c->n); i++) out[i] = bf16_wide(x[i]);
}

KERNEL void to_bfloat16(const float *x, uint16_t *out, long n) {
    Conversion c = {x, out, n};
    parallel(to_bfloat16_task, &c, parts(n, HALF_GRAIN));
}

KERNEL void to_float32(const uint16_t *x, float *out, long n) {
    Conversion c = {x, out, n};
    parallel(to_float32_task, &c, parts(n, HALF_GRAIN));
}

typedef struct { const uint16_t *x, *y; uint16_t *out; long n; } Elements;

// A function of two numbers in float32, rounded.
#define BINARY(name, expression)                                                                                  \
    static void name##_task(void *argument, long index) {                                                         \
        const Elements *e = argument;                                                                             \
        const uint16_t *xs = e->x, *ys = e->y;                                                                    \
        uint16_t *out = e->out;                                                                                   \
        _Pragma("omp simd") for (long i = index * HALF_GRAIN; i < at_most((index + 1) * HALF_GRAIN, e->n); i++) { \
            const float x = bf16_wide(xs[i]), y = bf16_wide(ys[i]);                                               \
            out[i] = bf16_of(expression);                                                                         \
        }                                                                                                         \
    }                                                                                                             \
    KERNEL void name(const uint16_t *x, const uint16_t *y, uint16_t *out, long n) {                               \
        Elements e = {x, y, out, n};                                                                              \
        parallel(name##_task, &e, parts(n, HALF_GRAIN));                                                          \
    }

BINARY(add, x + y)
BINARY(subtract, x - y)
BINARY(multiply, x * y)
BINARY(relu_grad, y <= 0.0f ? 0.0f : x)  // so that NaN lets its gradient pass

typedef struct { Elements of; float slope; } Leaky;

static void leaky_relu_grad_task(void *argument, long index) {
    const Leaky *l = argument;
    const uint16_t *gs = l->of.x, *xs = l->of.y;
    uint16_t *out = l->of.out;
    const float slope = l->slope;
#pragma omp simd
    for (long i = index * HALF_GRAIN; i < at_most((index + 1) * HALF_GRAIN, l->of.n); i++) {
        const float g = bf16_wide(gs[i]);
        out[i] = bf16_of(bf16_wide(xs[i]) > 0.0f ? g : g * slope);
    }
}

KERNEL void leaky_relu_grad(const uint16_t *g, const uint16_t *x, uint16_t *out, long n, float slope) {
    Leaky l = {{g, x, out, n}, slope};
    parallel(leaky_relu_grad_task, &l, parts(n, HALF_GRAIN));
}

static void relu_task(void *argument, long index) {
    const Elements *e = argument;
    const uint16_t *x = e->x;
    uint16_t *out = e->out;
#pragma omp simd
    for (long i = index * HALF_GRAIN; i < at_most((index + 1) * HALF_GRAIN, e->n); i++)
        out[i] = x[i] >= 0x8000u && x[i] <= 0xff80u ? 0 : x[i];  // negative, and not NaN
}

KERNEL void relu(const uint16_t *x, uint16_t *out, long n) {
    Elements e = {x, NULL, out, n};
    parallel(relu_task, &e, parts(n, HALF_GRAIN));
}

typedef struct {
    int64_t batches, inner, rows, columns, k, half_out;
    struct { int64_t half, outer_step, inner_step, line_step, k_step; } left, right;
} Geometry;

typedef struct {
    const Geometry *g;
    void *out;
    const void *bias;  // a number a column, of the left operand's type
} Result;

static inline __attribute__((always_inline)) void write_rows(const Result *r, const float *sums, long step, long at,
                                                              long rows, long columns, const float *bias) {
    for (long i = 0; i < rows; i++, sums += step, at += r->g->columns) {
        float row[BF16_BLOCK];
        for (long j = 0; j < columns; j++) row[j] = sums[j] + bias[j];
        if (!r->g->half_out) memcpy((float *)r->out + at, row, (size_t)columns * sizeof *row);
        else if (columns == BF16_BLOCK) bf16_along(row, 0, (uint32_t *)((uint16_t *)r->out + at));
        else
            for (long j = 0; j < columns; j++) ((uint16_t *)r->out)[at + j] = bf16_of(row[j]);
    }
}

static void write_block(void *context, float *sums, long step, long row, long column, long rows, long columns) {
    const Result *r = context;
    float bias[BF16_BLOCK];
    for (long j = 0; j < columns; j++)
        bias[j] = !r->bias ? -0.0f  // which added to anything changes nothing
                  : r->g->left.half ? bf16_wide(((const uint16_t *)r->bias)[column + j])
                                    : ((const float *)r->bias)[column + j];
    long at = row * r->g->columns + column;
    if (columns == BF16_BLOCK) write_rows(r, sums, step, at, rows, BF16_BLOCK, bias);
    else write_rows(r, sums, step, at, rows, columns, bias);
}

#define OPERAND(name) {name, g->name.half, g->name.outer_step, g->name.inner_step, g->name.line_step, g->name.k_step}

// How much scratch memory a product takes, in bytes.
KERNEL long scratch(const Geometry *g) {
    const void *left = NULL;
    Bf16Operand o = OPERAND(left);
    return bf16_scratch(&o, g->batches, g->rows, g->columns, g->k);
}

// Returns whether there was memory enough.
KERNEL int product(const void *left, const void *right, const void *bias, void *out, const Geometry *g) {
    Result r = {g, out, bias};
    Bf16Product p = {.left = OPERAND(left), .right = OPERAND(right), .batches = g->batches, .inner = g->inner,
                     .rows = g->rows, .columns = g->columns, .k = g->k, .finish = write_block, .context = &r};
    p.scratch = aligned_alloc(64, (size_t)parts(scratch(g), 64) * 64);
    if (!p.scratch) return 0;
    bf16_product(&p);
    free(p.scratch);
    return 1;
}

KERNEL int has_tiles(void) { return bf16_tiles_allowed(); }

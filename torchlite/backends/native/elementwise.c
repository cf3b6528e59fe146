// Activations and their gradients: one pass over memory, by several threads where there is enough of it.

typedef struct { const float *x, *g; float *out; long n; } Elements;

// A function of one array: `expression` is in terms of x.
#define UNARY(name, expression)                                                                  \
    static void name##_task(void *argument, long index) {                                         \
        const Elements *e = argument;                                                             \
        const float *xs = e->x;                                                                   \
        float *out = e->out;                                                                      \
        _Pragma("omp simd") for (long i = index * GRAIN; i < at_most((index + 1) * GRAIN, e->n); i++) {              \
            const float x = xs[i];                                                                \
            out[i] = expression;                                                                  \
        }                                                                                         \
    }                                                                                             \
    IN_TASKS_OF_ONE(name)

#define IN_TASKS_OF_ONE(name)                                                                    \
    KERNEL void name(const float *x, float *out, long n) {                                        \
        Elements e = {x, NULL, out, n};                                                           \
        parallel(name##_task, &e, parts(n, GRAIN));                                               \
    }

// A function of a cotangent g and what the gradient is expressed by, x.
#define GRADIENT(name, expression)                                                               \
    static void name##_task(void *argument, long index) {                                         \
        const Elements *e = argument;                                                             \
        const float *gs = e->g, *xs = e->x;                                                       \
        float *out = e->out;                                                                      \
        _Pragma("omp simd") for (long i = index * GRAIN; i < at_most((index + 1) * GRAIN, e->n); i++) {              \
            const float g = gs[i], x = xs[i];                                                     \
            out[i] = expression;                                                                  \
        }                                                                                         \
    }                                                                                             \
    IN_TASKS_OF_TWO(name)

#define IN_TASKS_OF_TWO(name)                                                                    \
    KERNEL void name(const float *g, const float *x, float *out, long n) {                        \
        Elements e = {x, g, out, n};                                                              \
        parallel(name##_task, &e, parts(n, GRAIN));                                               \
    }

static inline float tanh_inside(float x) { return tanh_(x * (0.79788456f + 0.035677408f * (x * x))); }

static inline float gelu_tanh_slope(float x) {
    float t = tanh_inside(x);
    return 0.5f * (1.0f + t + x * (1.0f - t * t) * (0.79788456f + 0.10703222f * (x * x)));
}

static inline float silu_slope(float x) {
    float s = sigmoid_(x);
    return s * (1.0f + x * (1.0f - s));
}

typedef struct { Elements of; float slope; } Leaky;

static void leaky_relu_grad_task(void *argument, long index) {
    const Leaky *l = argument;
    const float *gs = l->of.g, *xs = l->of.x;
    float *out = l->of.out;
    const float slope = l->slope;
#pragma omp simd
    for (long i = index * GRAIN; i < at_most((index + 1) * GRAIN, l->of.n); i++) out[i] = xs[i] > 0.0f ? gs[i] : gs[i] * slope;
}

KERNEL void leaky_relu_grad(const float *g, const float *x, float *out, long n, float slope) {
    Leaky l = {{x, g, out, n}, slope};
    parallel(leaky_relu_grad_task, &l, parts(n, GRAIN));
}

UNARY(erf_values, erf_(x))
UNARY(sigmoid, sigmoid_(x))
UNARY(silu, x / (1.0f + exp_(-x)))
UNARY(gelu_tanh, 0.5f * x * (1.0f + tanh_inside(x)))
GRADIENT(silu_grad, g * silu_slope(x))
GRADIENT(gelu_tanh_grad, g * gelu_tanh_slope(x))
GRADIENT(sigmoid_grad, g * (x * (1.0f - x)))  // x is the result
GRADIENT(tanh_grad, g * (1.0f - x * x))
GRADIENT(relu_grad, x <= 0.0f ? 0.0f : g)  // so that NaN lets its gradient pass

typedef struct { const unsigned char *condition; const float *x, *y; float *out; long n; } Choice;

static void choose_task(void *argument, long index) {
    const Choice *c = argument;
    const unsigned char *condition = c->condition;
    const float *xs = c->x, *ys = c->y;
    float *out = c->out;
#pragma omp simd
    for (long i = index * GRAIN; i < at_most((index + 1) * GRAIN, c->n); i++) {
        const float x = xs[i], y = ys[i];  // both are read, so that there is no branch
        out[i] = condition[i] ? x : y;
    }
}

KERNEL void choose(const void *condition, const float *x, const float *y, float *out, long n) {
    Choice c = {condition, x, y, out, n};
    parallel(choose_task, &c, parts(n, GRAIN));
}

static void gelu_task(void *argument, long index) {
    const Elements *e = argument;
    long begin = index * GRAIN;
    gelu_with_slopes(e->x + begin, NULL, e->out + begin, NULL, at_most(GRAIN, e->n - begin));
}
IN_TASKS_OF_ONE(gelu)

static void gelu_grad_task(void *argument, long index) {
    const Elements *e = argument;
    const float *g = e->g;
    float *out = e->out;
    long end = at_most((index + 1) * GRAIN, e->n);
    for (long first = index * GRAIN; first < end; first += 1024) {
        long n = at_most(1024, end - first);
        float slopes[1024];
        gelu_with_slopes(e->x + first, NULL, NULL, slopes, n);
        _Pragma("omp simd") for (long i = 0; i < n; i++) out[first + i] = g[first + i] * slopes[i];
    }
}
IN_TASKS_OF_TWO(gelu_grad)

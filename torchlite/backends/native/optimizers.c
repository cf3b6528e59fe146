// Steps of optimizers: each number is read and written once, where a rule of array operations passes a dozen times.

enum { GRAIN = 1 << 14 };

// Arrays lie one parameter after the other: the parameter, its gradient and the state of the rule.
typedef struct {
    float *const *arrays;
    const int64_t *sizes, *first_task;  // by parameter; tasks are numbered through, in order
    long parameters, width;             // arrays of each parameter
    const void *rule;
} Step;

static long tasks_of(const int64_t *sizes, int64_t *first_task, long parameters) {
    long count = 0;
    for (long i = 0; i < parameters; i++) {
        first_task[i] = count;
        count += parts(sizes[i], GRAIN);
    }
    return count;
}

// The arrays of the parameter that task number `index` belongs to, and its part of them.
static float *const *part_of(const Step *s, long index, long *first, long *last) {
    long low = 0, high = s->parameters;
    while (high - low > 1) {
        long middle = (low + high) / 2;
        if (s->first_task[middle] <= index) low = middle;
        else high = middle;
    }
    *first = (index - s->first_task[low]) * GRAIN;
    *last = at_most(*first + GRAIN, s->sizes[low]);
    return s->arrays + low * s->width;
}

typedef struct {
    // Of the gradient its sign and the L2 penalty; what decoupled weight decay leaves of the parameter.
    float sign, decay, kept;
    float rate, one_minus_beta1, beta2, one_minus_beta2, eps;
} Adam;

static void adam_task(void *argument, long index) {
    const Step *s = argument;
    const Adam a = *(const Adam *)s->rule;
    long first, last;
    float *const *arrays = part_of(s, index, &first, &last);
    float *param = arrays[0], *grad = arrays[1], *m = arrays[2], *v = arrays[3];
#pragma omp simd
    for (long i = first; i < last; i++) {
        float p = param[i] * a.kept, g = a.sign * grad[i] + a.decay * p;
        m[i] += (g - m[i]) * a.one_minus_beta1;
        v[i] = v[i] * a.beta2 + g * g * a.one_minus_beta2;
        param[i] = p - m[i] / (sqrtf(v[i]) + a.eps) * a.rate;
    }
}

typedef struct { float sign, decay, rate, momentum, share; int32_t first, nesterov; } Descent;

static void sgd_task(void *argument, long index) {
    const Step *s = argument;
    const Descent d = *(const Descent *)s->rule;
    long first, last;
    float *const *arrays = part_of(s, index, &first, &last);
    float *param = arrays[0], *grad = arrays[1], *buffer = s->width > 2 ? arrays[2] : NULL;
    if (!buffer) {
#pragma omp simd
        for (long i = first; i < last; i++) param[i] -= (d.sign * grad[i] + d.decay * param[i]) * d.rate;
        return;
    }
    float momentum = d.first ? 0.0f : d.momentum, share = d.first ? 1.0f : d.share;
    float ahead = d.nesterov ? d.momentum : 1.0f, own = d.nesterov ? 1.0f : 0.0f;
#pragma omp simd
    for (long i = first; i < last; i++) {
        float g = d.sign * grad[i] + d.decay * param[i];
        buffer[i] = buffer[i] * momentum + g * share;
        param[i] -= (g * own + buffer[i] * ahead) * d.rate;
    }
}

static void take(Task task, float *const *arrays, const int64_t *sizes, int64_t *first_task, long parameters, long width,
                 const void *rule) {
    Step s = {arrays, sizes, first_task, parameters, width, rule};
    parallel(task, &s, tasks_of(sizes, first_task, parameters));
}

void adam(float *const *arrays, const int64_t *sizes, int64_t *first_task, long parameters, const Adam *rule) {
    take(adam_task, arrays, sizes, first_task, parameters, 4, rule);
}

void sgd(float *const *arrays, const int64_t *sizes, int64_t *first_task, long parameters, long width,
         const Descent *rule) {
    take(sgd_task, arrays, sizes, first_task, parameters, width, rule);
}

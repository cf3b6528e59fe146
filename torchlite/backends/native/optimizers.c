// Steps of optimizers: each number is read and written once, where a rule of array operations passes a dozen times.

typedef struct {
    // Of the gradient its sign and the L2 penalty; what decoupled weight decay leaves of the parameter.
    float sign, decay, kept;
    float rate, one_minus_beta1, beta2, one_minus_beta2, eps;
} Adam;

static void adam_task(void *argument, long index) {
    const Lists *l = argument;
    const Adam a = *(const Adam *)l->rule;
    long first, last;
    float *const *arrays = part_of(l, index, &first, &last);
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
    const Lists *l = argument;
    const Descent d = *(const Descent *)l->rule;
    long first, last;
    float *const *arrays = part_of(l, index, &first, &last);
    float *param = arrays[0], *grad = arrays[1], *buffer = l->width > 2 ? arrays[2] : NULL;
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

// Rows hold a parameter, its gradient and the state of the rule.
int adam(const NumpyArray *const *objects, long rows, const Adam *rule) { return each(adam_task, objects, rows, 4, rule); }

int sgd(const NumpyArray *const *objects, long rows, long width, const Descent *rule) {
    return each(sgd_task, objects, rows, width, rule);
}

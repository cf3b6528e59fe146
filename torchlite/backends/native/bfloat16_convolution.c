// Convolution of bfloat16 arrays and its two gradients.

typedef struct {
    int64_t samples, in, height, width, out, rows, columns, kh, kw, sh, sw, ph, pw, dh, dw;
    struct { int64_t half, sample, channel, row, column; } x, y;  // steps of the input and of the result, or their cotangents
    int64_t weight_half;
} Geometry;

static Bf16Axis forward_axis(long taps, long stride, long padding, long dilation) {
    Bf16Axis axis = {.taps = taps, .step = stride, .before = padding};
    for (long k = 0; k < taps; k++) axis.at[k] = k * dilation, axis.tap[k] = k;
    return axis;
}

// Which cotangents meet the inputs at `residue` by the stride.
static Bf16Axis backward_axis(long taps, long stride, long padding, long dilation, long residue) {
    Bf16Axis axis = {.step = 1};
    for (long k = taps - 1; k >= 0; k--) {
        long shift = residue + padding - k * dilation;
        if (shift % stride) continue;
        axis.at[axis.taps] = shift / stride;
        axis.tap[axis.taps++] = k;
    }
    if (axis.taps && axis.at[0] < 0) axis.before = -axis.at[0];
    for (long k = 0; k < axis.taps; k++) axis.at[k] += axis.before;
    return axis;
}

#define STEPS(s) (s).half, (s).sample, (s).channel, (s).row, (s).column

static int run_sum(Bf16Sum *s) {
    bf16_arrange(s);
    s->scratch = aligned_alloc(64, (size_t)parts(bf16_sum_scratch(s), 64) * 64);
    if (!s->scratch) return 0;
    bf16_sum(s);
    free(s->scratch);
    return 1;
}

// All return whether there was memory enough.
int convolution(const void *x, const void *weight, const void *bias, void *y, const Geometry *g) {
    Bf16Sum s = {.source = {(void *)x, STEPS(g->x)}, .result = {y, STEPS(g->y)}, .weight = weight, .bias = bias,
                 .weight_half = g->weight_half, .weight_result = g->in * g->kh * g->kw, .weight_channel = g->kh * g->kw,
                 .weight_row = g->kw, .weight_column = 1, .samples = g->samples, .height = g->height, .width = g->width,
                 .channels = g->in, .rows = g->rows, .columns = g->columns, .results = g->out,
                 .down = forward_axis(g->kh, g->sh, g->ph, g->dh), .across = forward_axis(g->kw, g->sw, g->pw, g->dw)};
    return run_sum(&s);
}

// `x` must be zeros.
int input_grad(const void *y, const void *weight, void *x, const Geometry *g) {
    for (long down = 0; down < at_most(g->sh, g->height); down++)
        for (long across = 0; across < at_most(g->sw, g->width); across++) {
            long start = down * g->x.row + across * g->x.column;
            Bf16Sum s = {.source = {(void *)y, STEPS(g->y)},
                         .result = {g->x.half ? (void *)((uint16_t *)x + start) : (void *)((float *)x + start), g->x.half,
                                    g->x.sample, g->x.channel, g->x.row * g->sh, g->x.column * g->sw},
                         .weight = weight, .weight_half = g->weight_half, .weight_result = g->kh * g->kw,
                         .weight_channel = g->in * g->kh * g->kw, .weight_row = g->kw, .weight_column = 1,
                         .samples = g->samples, .height = g->rows, .width = g->columns, .channels = g->out,
                         .rows = parts(g->height - down, g->sh), .columns = parts(g->width - across, g->sw), .results = g->in,
                         .down = backward_axis(g->kh, g->sh, g->ph, g->dh, down),
                         .across = backward_axis(g->kw, g->sw, g->pw, g->dw, across)};
            if (s.down.taps && s.across.taps && !run_sum(&s)) return 0;
        }
    return 1;
}

int weight_grad(const void *x, const void *y, void *weight, const Geometry *g) {
    Bf16WeightGrad s = {.source = {(void *)x, STEPS(g->x)}, .grad = {(void *)y, STEPS(g->y)}, .weight = weight,
                        .weight_half = g->weight_half, .weight_result = g->in * g->kh * g->kw,
                        .weight_channel = g->kh * g->kw, .weight_row = g->kw, .weight_column = 1, .samples = g->samples,
                        .height = g->height, .width = g->width, .channels = g->in, .rows = g->rows,
                        .columns = g->columns, .results = g->out, .down = forward_axis(g->kh, g->sh, g->ph, g->dh),
                        .across = forward_axis(g->kw, g->sw, g->pw, g->dw)};
    bf16_arrange_weight_grad(&s);
    s.scratch = aligned_alloc(64, (size_t)parts(bf16_weight_grad_scratch(&s), 64) * 64);
    if (!s.scratch) return 0;
    bf16_weight_grad(&s);
    free(s.scratch);
    return 1;
}

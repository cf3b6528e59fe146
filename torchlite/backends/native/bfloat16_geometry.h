// Convolutions of bfloat16 arrays by their sizes: which sums they and their gradients are.

typedef struct {
    int64_t samples, in, height, width, out, rows, columns, kh, kw, sh, sw, ph, pw, dh, dw;
    struct { int64_t half, sample, channel, row, column; } x, y;  // steps of the input and of the result, or their cotangents
    int64_t weight_half;
} Bf16Geometry;

static Bf16Axis bf16_forward_axis(long taps, long stride, long padding, long dilation) {
    Bf16Axis axis = {.taps = taps, .step = stride, .before = padding};
    for (long k = 0; k < taps; k++) axis.at[k] = k * dilation, axis.tap[k] = k;
    return axis;
}

// Which cotangents meet the inputs at `residue` by the stride.
static Bf16Axis bf16_backward_axis(long taps, long stride, long padding, long dilation, long residue) {
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

// A convolution without its arrays.
static Bf16Sum bf16_forward(const Bf16Geometry *g) {
    Bf16Sum s = {.source = {NULL, STEPS(g->x)}, .result = {NULL, STEPS(g->y)}, .weight_half = g->weight_half,
                 .weight_result = g->in * g->kh * g->kw, .weight_channel = g->kh * g->kw, .weight_row = g->kw,
                 .weight_column = 1, .samples = g->samples, .height = g->height, .width = g->width, .channels = g->in,
                 .rows = g->rows, .columns = g->columns, .results = g->out,
                 .down = bf16_forward_axis(g->kh, g->sh, g->ph, g->dh),
                 .across = bf16_forward_axis(g->kw, g->sw, g->pw, g->dw), .whole_rows = g->rows,
                 .whole_columns = g->columns, .row_steps = 1, .column_steps = 1};
    bf16_arrange(&s, BF16_BY_POSITIONS);
    return s;
}

// The gradient of the inputs at one residue of rows and columns by the stride, without its arrays.
static Bf16Sum bf16_backward(const Bf16Geometry *g, long down, long across) {
    Bf16Sum s = {.source = {NULL, STEPS(g->y)},
                 .result = {NULL, g->x.half, g->x.sample, g->x.channel, g->x.row * g->sh, g->x.column * g->sw},
                 .weight_half = g->weight_half, .weight_result = g->kh * g->kw, .weight_channel = g->in * g->kh * g->kw,
                 .weight_row = g->kw, .weight_column = 1, .samples = g->samples, .height = g->rows, .width = g->columns,
                 .channels = g->out, .rows = parts(g->height - down, g->sh), .columns = parts(g->width - across, g->sw),
                 .results = g->in, .down = bf16_backward_axis(g->kh, g->sh, g->ph, g->dh, down),
                 .across = bf16_backward_axis(g->kw, g->sw, g->pw, g->dw, across), .whole_rows = g->height,
                 .whole_columns = g->width, .first_row = down, .first_column = across, .row_steps = g->sh,
                 .column_steps = g->sw};
    bf16_arrange(&s, BF16_BY_POSITIONS);
    return s;
}

static Bf16WeightGrad bf16_of_weight(const Bf16Geometry *g, int beside) {
    Bf16WeightGrad s = {.source = {NULL, STEPS(g->x)}, .grad = {NULL, STEPS(g->y)}, .weight_half = g->weight_half,
                        .weight_result = g->in * g->kh * g->kw, .weight_channel = g->kh * g->kw, .weight_row = g->kw,
                        .weight_column = 1, .samples = g->samples, .height = g->height, .width = g->width,
                        .channels = g->in, .rows = g->rows, .columns = g->columns, .results = g->out,
                        .down = bf16_forward_axis(g->kh, g->sh, g->ph, g->dh),
                        .across = bf16_forward_axis(g->kw, g->sw, g->pw, g->dw)};
    bf16_arrange_weight_grad(&s);
    if (beside) bf16_arrange_beside(&s);
    return s;
}

// Bytes of scratch memory, at a multiple of 64.
static inline long bf16_convolution_scratch(const Bf16Geometry *g) {
    Bf16Sum s = bf16_forward(g);
    return bf16_most_scratch(s);
}

static inline long bf16_input_grad_scratch(const Bf16Geometry *g) {
    long most = 0, all = 0;
    for (long r = 0; r < g->sh * g->sw; r++)
        if (r / g->sw < g->height && r % g->sw < g->width) {
            Bf16Sum s = bf16_backward(g, r / g->sw, r % g->sw);
            most = at_least(most, bf16_most_scratch(s));
            bf16_arrange(&s, 1);
            all += bf16_sum_scratch(&s);
        }
    return at_least(most, all);
}

// However the arrays lie.
static inline long bf16_of_weight_scratch(const Bf16Geometry *g) {
    Bf16WeightGrad apart = bf16_of_weight(g, 0), beside = bf16_of_weight(g, 1);
    return at_least(bf16_weight_grad_scratch(&apart), bf16_weight_grad_scratch(&beside));
}

static inline void bf16_convolution(const Bf16Geometry *g, const void *x, const void *weight, const void *bias, void *y,
                                    void *scratch, Bf16OnRows finish, Bf16OnRows fill) {
    Bf16Sum s = bf16_forward(g);
    s.source.at = (void *)x, s.weight = weight, s.bias = bias, s.result.at = y;
    s.scratch = scratch, s.finish = finish.each, s.context = finish.context, s.finished = finish.arrays, s.fill = fill;
    bf16_sum(&s);
}

#ifndef __AMX_BF16__
// Whether all residues are summed up row by row.
static inline int bf16_by_rows(const Bf16Geometry *g) {
    return g->sh * g->sw > 1 && at_least(g->sh, g->sw) <= BF16_MOST_STRIDE && g->height >= g->sh && g->width >= g->sw;
}

static void bf16_input_grad_by_rows(const Bf16Geometry *g, const void *y, const void *weight, void *x, char *scratch,
                                    Bf16OnRows finish) {
    Bf16Residues all = {.down = g->sh, .across = g->sw, .whole = bf16_backward(g, 0, 0)};
    for (long r = 0; r < g->sh * g->sw; r++) {
        Bf16Sum *s = &all.sums[r];
        *s = bf16_backward(g, r / g->sw, r % g->sw);
        s->source.at = (void *)y, s->weight = weight, s->scratch = scratch;
        scratch += bf16_sum_scratch(s);
    }
    Bf16Sum *whole = &all.whole;
    whole->source.at = (void *)y, whole->result = (Bf16Array){x, STEPS(g->x)};
    whole->rows = g->height, whole->columns = whole->pitch = g->width, whole->row_steps = whole->column_steps = 1;
    whole->finish = finish.each, whole->context = finish.context, whole->finished = finish.arrays;
    bf16_sum_residues(&all);
}
#endif

static inline void bf16_input_grad(const Bf16Geometry *g, const void *y, const void *weight, void *x, void *scratch,
                                   Bf16OnRows finish, Bf16OnRows fill) {
#ifndef __AMX_BF16__
    if (bf16_by_rows(g) && !fill.each) {
        bf16_input_grad_by_rows(g, y, weight, x, scratch, finish);
        return;
    }
#endif
    for (long r = 0; r < g->sh * g->sw; r++)
        if (r / g->sw < g->height && r % g->sw < g->width) {
            Bf16Sum s = bf16_backward(g, r / g->sw, r % g->sw);
            long start = s.first_row * g->x.row + s.first_column * g->x.column;
            s.source.at = (void *)y, s.weight = weight;
            s.result.at = g->x.half ? (void *)((uint16_t *)x + start) : (void *)((float *)x + start);
            s.scratch = scratch, s.finish = finish.each, s.context = finish.context, s.finished = finish.arrays, s.fill = fill;
            bf16_sum(&s);
        }
}

static inline void bf16_gradient_of_weight(const Bf16Geometry *g, const void *x, const void *y, void *weight, void *scratch,
                                           Bf16OnRows fill) {
    int beside = (g->y.channel == 1 && g->out > 1) || fill.each;
    Bf16WeightGrad s = bf16_of_weight(g, beside);
    s.source.at = (void *)x, s.grad.at = (void *)y, s.weight = weight, s.scratch = scratch, s.fill = fill;
    s.tiles = bf16_tiles_allowed();
    if (beside) bf16_weight_grad_beside(&s);
    else bf16_weight_grad(&s);
}

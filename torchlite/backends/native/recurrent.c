// LSTM and GRU over whole sequences. Samples are divided among tasks, so nobody waits for anybody between steps, and the
// recurrent weight stays in the second-level cache.

typedef struct {
    const float *gates, *h0, *c0, *hs, *cs, *g_h, *g_c;  // g_h or g_c is NULL where nothing depends on those states
    float *out_h, *out_c, *d_gates, *d_h0, *d_c0;
    const float *forward_panels, *backward_panels;
    long steps, samples, width, reverse;
    int failed;
} Lstm;

static void lstm_task(void *argument, long index) {
    Lstm *l = argument;
    long h = l->width, step = padded(4 * h), first = index * BLOCK, rows = at_most(BLOCK, l->samples - first);
    float *a = malloc((size_t)(BLOCK * (step + h)) * sizeof *a), *state = a + BLOCK * step;
    if (!a) {
        l->failed = 1;
        return;
    }
    take_rows(state, h, l->h0 + first * h, h, h, rows, 1.0f);
    const float *c_before = l->c0 + first * h;
    for (long s = 0; s < l->steps; s++) {
        long t = l->reverse ? l->steps - 1 - s : s, at = (t * l->samples + first) * h;
        take_rows(a, step, l->gates + 4 * at, 4 * h, 4 * h, rows, 1.0f);
        multiply(state, h, 1, l->forward_panels, h, h, a, step, BLOCK, 4 * h);
        for (long r = 0; r < rows; r++) {
            const float *row = a + r * step, *before = c_before + r * h;
            float *out_c = l->out_c + at + r * h, *out_h = l->out_h + at + r * h, *own = state + r * h;
#pragma omp simd
            for (long j = 0; j < h; j++) {
                float c = sigmoid_(row[h + j]) * before[j] + sigmoid_(row[j]) * tanh_(row[2 * h + j]);
                float y = sigmoid_(row[3 * h + j]) * tanh_(c);
                out_c[j] = c;
                out_h[j] = y;
                own[j] = y;
            }
        }
        c_before = l->out_c + at;
    }
    free(a);
}

static void lstm_grad_task(void *argument, long index) {
    Lstm *l = argument;
    long h = l->width, step = padded(4 * h), back = padded(h), first = index * BLOCK;
    long rows = at_most(BLOCK, l->samples - first);
    // Gates of a step, then their cotangents; the state before; cotangents of both states.
    float *a = malloc((size_t)(BLOCK * (step + 4 * h + h + back + h)) * sizeof *a);
    if (!a) {
        l->failed = 1;
        return;
    }
    float *d = a + BLOCK * step, *state = d + BLOCK * 4 * h, *dh = state + BLOCK * h, *dc = dh + BLOCK * back;
    memset(d, 0, (size_t)(BLOCK * (4 * h + h + back + h)) * sizeof *d);
    for (long s = l->steps - 1; s >= 0; s--) {
        long t = l->reverse ? l->steps - 1 - s : s, at = (t * l->samples + first) * h;
        long before = ((l->reverse ? t + 1 : t - 1) * l->samples + first) * h;
        const float *h_before = s ? l->hs + before : l->h0 + first * h, *c_before = s ? l->cs + before : l->c0 + first * h;
        take_rows(a, step, l->gates + 4 * at, 4 * h, 4 * h, rows, 1.0f);
        take_rows(state, h, h_before, h, h, rows, 1.0f);
        multiply(state, h, 1, l->forward_panels, h, h, a, step, BLOCK, 4 * h);
        for (long r = 0; r < rows; r++) {
            const float *row = a + r * step, *c_old = c_before + r * h, *c_new = l->cs + at + r * h;
            const float *g_h = l->g_h ? l->g_h + at + r * h : NULL, *g_c = l->g_c ? l->g_c + at + r * h : NULL;
            float *by_gate = d + r * 4 * h, *by_h = dh + r * back, *by_c = dc + r * h;
            if (g_h) for (long j = 0; j < h; j++) by_h[j] += g_h[j];
            if (g_c) for (long j = 0; j < h; j++) by_c[j] += g_c[j];
#pragma omp simd
            for (long j = 0; j < h; j++) {
                float i = sigmoid_(row[j]), f = sigmoid_(row[h + j]), g = tanh_(row[2 * h + j]), o = sigmoid_(row[3 * h + j]);
                float y = tanh_(c_new[j]), through = by_c[j] + by_h[j] * o * (1.0f - y * y);
                by_gate[j] = through * g * i * (1.0f - i);
                by_gate[h + j] = through * c_old[j] * f * (1.0f - f);
                by_gate[2 * h + j] = through * i * (1.0f - g * g);
                by_gate[3 * h + j] = by_h[j] * y * o * (1.0f - o);
                by_c[j] = through * f;
            }
            memcpy(l->d_gates + 4 * (at + r * h), by_gate, (size_t)(4 * h) * sizeof *by_gate);
        }
        memset(dh, 0, (size_t)(BLOCK * back) * sizeof *dh);
        multiply(d, 4 * h, 1, l->backward_panels, 4 * h, 4 * h, dh, back, BLOCK, h);
    }
    for (long r = 0; r < rows; r++) {
        memcpy(l->d_h0 + (first + r) * h, dh + r * back, (size_t)h * sizeof *dh);
        memcpy(l->d_c0 + (first + r) * h, dc + r * h, (size_t)h * sizeof *dc);
    }
    free(a);
}

// Both return whether there was memory enough.
int lstm(const float *gates, const float *h0, const float *c0, const float *w_hh, float *out_h, float *out_c, long steps,
         long samples, long width, long reverse) {
    float *panels = malloc((size_t)(width * padded(4 * width)) * sizeof *panels);
    if (!panels) return 0;
    pack(w_hh, 1, width, width, 4 * width, panels);
    Lstm l = {.gates = gates, .h0 = h0, .c0 = c0, .out_h = out_h, .out_c = out_c, .forward_panels = panels,
              .steps = steps, .samples = samples, .width = width, .reverse = reverse};
    parallel(lstm_task, &l, parts(samples, BLOCK));
    free(panels);
    return !l.failed;
}

int lstm_grad(const float *gates, const float *h0, const float *c0, const float *w_hh, const float *hs, const float *cs,
              const float *g_h, const float *g_c, float *d_gates, float *d_h0, float *d_c0, long steps, long samples,
              long width, long reverse) {
    long forward = width * padded(4 * width), backward = 4 * width * padded(width);
    float *panels = malloc((size_t)(forward + backward) * sizeof *panels);
    if (!panels) return 0;
    pack(w_hh, 1, width, width, 4 * width, panels);
    pack(w_hh, width, 1, 4 * width, width, panels + forward);
    Lstm l = {.gates = gates, .h0 = h0, .c0 = c0, .hs = hs, .cs = cs, .g_h = g_h, .g_c = g_c, .d_gates = d_gates,
              .d_h0 = d_h0, .d_c0 = d_c0, .forward_panels = panels, .backward_panels = panels + forward,
              .steps = steps, .samples = samples, .width = width, .reverse = reverse};
    parallel(lstm_grad_task, &l, parts(samples, BLOCK));
    free(panels);
    return !l.failed;
}

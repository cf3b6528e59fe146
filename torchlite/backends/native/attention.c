// Attention head by head: a block of queries against all keys that it may see, so that scores never leave the caches. The
// gradient computes them again.

typedef struct {  // steps between numbers of the arrays, rows of them being dense
    int64_t batch, head, row;
} Steps;

typedef struct { int64_t batches, heads, queries, keys, width, values, causal; Steps q, k, v, g; } Geometry;

typedef struct {
    const float *q, *k, *v, *g;
    float *out, *dq, *dk, *dv;
    const Geometry *geometry;
    float scale;
    int failed;
} Attention;

static const float *head_of(const float *array, const Steps *s, const Geometry *a, long index) {
    return array + index / a->heads * s->batch + index % a->heads * s->head;
}

// Scores to weights in place: each row over the keys that its query sees, zeros behind them.
static void softmax_rows(float *scores, long step, long first, long rows, const Geometry *a) {
    for (long r = 0; r < BLOCK; r++) {
        float *row = scores + r * step, sum = 0.0f;
        long seen = r >= rows ? 0 : a->causal ? at_most(first + r + 1, a->keys) : a->keys;
        float m = largest(row, seen);  // NaN is passed over and comes back through the sum
        long whole = parts(seen, LANES) * LANES;  // in vectors without a rest
        for (long i = seen; i < whole; i++) row[i] = -INFINITY;
#pragma omp simd reduction(+ : sum)
        for (long i = 0; i < whole; i++) {
            float e = exp_(row[i] - m);
            row[i] = e;
            sum += e;
        }
        float share = 1.0f / sum;
#pragma omp simd
        for (long i = 0; i < whole; i++) row[i] *= share;
        memset(row + seen, 0, (size_t)(step - seen) * sizeof *row);
    }
}

// How many keys any query of a block sees.
static long seen_by(const Geometry *a, long first) { return a->causal ? at_most(first + BLOCK, a->keys) : a->keys; }

static void attention_task(void *argument, long index) {
    Attention *t = argument;
    const Geometry *a = t->geometry;
    long score_step = padded(a->keys), out_step = padded(a->values);
    float *k_panels = malloc((size_t)(score_step * a->width + out_step * a->keys +
                                      BLOCK * (a->width + score_step + out_step)) * sizeof(float));
    if (!k_panels) {
        t->failed = 1;
        return;
    }
    float *v_panels = k_panels + score_step * a->width, *x = v_panels + out_step * a->keys, *scores = x + BLOCK * a->width;
    float *block = scores + BLOCK * score_step;
    pack(head_of(t->k, &a->k, a, index), 1, a->k.row, a->width, a->keys, k_panels);
    pack(head_of(t->v, &a->v, a, index), a->v.row, 1, a->keys, a->values, v_panels);
    const float *q = head_of(t->q, &a->q, a, index);
    float *out = t->out + index * a->queries * a->values;
    for (long first = 0; first < a->queries; first += BLOCK) {
        long rows = at_most(BLOCK, a->queries - first), seen = seen_by(a, first);
        take_rows(x, a->width, q + first * a->q.row, a->q.row, a->width, rows, t->scale);
        memset(scores, 0, (size_t)(BLOCK * score_step) * sizeof *scores);
        multiply(x, a->width, 1, k_panels, a->width, a->width, scores, score_step, BLOCK, seen);
        softmax_rows(scores, score_step, first, rows, a);
        memset(block, 0, (size_t)(BLOCK * out_step) * sizeof *block);
        multiply(scores, score_step, 1, v_panels, a->keys, seen, block, out_step, BLOCK, a->values);
        for (long r = 0; r < rows; r++)
            memcpy(out + (first + r) * a->values, block + r * out_step, (size_t)a->values * sizeof *out);
    }
    free(k_panels);
}

// Adds the transpose of a block (BLOCK, keys) times rows, packed for it, to sums (keys, columns).
static void add_transposed(const float *block, long step, long keys, const float *rows, float *sums, long columns) {
    multiply(block, 1, step, rows, BLOCK, BLOCK, sums, padded(columns), parts(keys, ROWS) * ROWS, columns);
}

static void attention_grad_task(void *argument, long index) {
    Attention *t = argument;
    const Geometry *a = t->geometry;
    long keys = padded(a->keys), width = padded(a->width), values = padded(a->values), n = a->keys + ROWS;
    float *memory = malloc((size_t)(keys * (a->width + a->values) + width * a->keys + n * (width + values) +
                                    BLOCK * (a->width + a->values + 2 * keys + 2 * width + values)) * sizeof *memory);
    if (!memory) {
        t->failed = 1;
        return;
    }
    float *kt_panels = memory, *vt_panels = kt_panels + keys * a->width, *k_panels = vt_panels + keys * a->values;
    float *dk = k_panels + width * a->keys, *dv = dk + n * width;
    float *x = dv + n * values, *g = x + BLOCK * a->width, *weights = g + BLOCK * a->values;
    float *slopes = weights + BLOCK * keys, *dq = slopes + BLOCK * keys, *x_panels = dq + BLOCK * width;
    float *g_panels = x_panels + BLOCK * width;
    const float *q = head_of(t->q, &a->q, a, index), *k = head_of(t->k, &a->k, a, index), *v = head_of(t->v, &a->v, a, index);
    const float *grad = head_of(t->g, &a->g, a, index);
    pack(k, 1, a->k.row, a->width, a->keys, kt_panels);
    pack(v, 1, a->v.row, a->values, a->keys, vt_panels);
    pack(k, a->k.row, 1, a->keys, a->width, k_panels);
    memset(dk, 0, (size_t)(n * (width + values)) * sizeof *dk);
    for (long first = 0; first < a->queries; first += BLOCK) {
        long rows = at_most(BLOCK, a->queries - first), seen = seen_by(a, first);
        take_rows(x, a->width, q + first * a->q.row, a->q.row, a->width, rows, t->scale);
        take_rows(g, a->values, grad + first * a->g.row, a->g.row, a->values, rows, 1.0f);
        memset(weights, 0, (size_t)(BLOCK * (2 * keys + width)) * sizeof *weights);
        multiply(x, a->width, 1, kt_panels, a->width, a->width, weights, keys, BLOCK, seen);
        softmax_rows(weights, keys, first, rows, a);
        multiply(g, a->values, 1, vt_panels, a->values, a->values, slopes, keys, BLOCK, seen);
        pack(g, a->values, 1, BLOCK, a->values, g_panels);
        add_transposed(weights, keys, seen, g_panels, dv, a->values);
        for (long r = 0; r < BLOCK; r++) {
            float *w = weights + r * keys, *s = slopes + r * keys, along = 0.0f;
            long own = r >= rows ? 0 : a->causal ? at_most(first + r + 1, a->keys) : a->keys;
#pragma omp simd reduction(+ : along)
            for (long i = 0; i < own; i++) along += w[i] * s[i];
#pragma omp simd
            for (long i = 0; i < own; i++) s[i] = w[i] * (s[i] - along);
            memset(s + own, 0, (size_t)(keys - own) * sizeof *s);
        }
        multiply(slopes, keys, 1, k_panels, a->keys, seen, dq, width, BLOCK, a->width);
        pack(x, a->width, 1, BLOCK, a->width, x_panels);  // the scale is in it already
        add_transposed(slopes, keys, seen, x_panels, dk, a->width);
        float *target = t->dq + (index * a->queries + first) * a->width;
        for (long r = 0; r < rows; r++)
            for (long i = 0; i < a->width; i++) target[r * a->width + i] = dq[r * width + i] * t->scale;
    }
    for (long i = 0; i < a->keys; i++) {
        memcpy(t->dk + (index * a->keys + i) * a->width, dk + i * width, (size_t)a->width * sizeof *dk);
        memcpy(t->dv + (index * a->keys + i) * a->values, dv + i * values, (size_t)a->values * sizeof *dv);
    }
    free(memory);
}

// Both return whether there was memory enough.
int attention(const float *q, const float *k, const float *v, float *out, const Geometry *a, float scale) {
    Attention t = {.q = q, .k = k, .v = v, .out = out, .geometry = a, .scale = scale};
    parallel(attention_task, &t, a->batches * a->heads);
    return !t.failed;
}

int attention_grad(const float *q, const float *k, const float *v, const float *g, float *dq, float *dk, float *dv,
                   const Geometry *a, float scale) {
    Attention t = {.q = q, .k = k, .v = v, .g = g, .dq = dq, .dk = dk, .dv = dv, .geometry = a, .scale = scale};
    parallel(attention_grad_task, &t, a->batches * a->heads);
    return !t.failed;
}

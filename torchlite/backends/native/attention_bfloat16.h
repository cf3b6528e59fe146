// Attention of bfloat16: what a block or a head needs is widened to float32 in a task's memory, where its results are
// rounded, too, so scores and weights are not rounded in between.

typedef struct {
    const bfloat16 *q, *k, *v, *g;
    bfloat16 *out, *dq, *dk, *dv;
    float *scratch;
    const Geometry *geometry;
    float scale;
} HalfAttention;

// Rows of a head; the same of the next head are fetched, where there is one.
static void widen_rows(const bfloat16 *from, const Steps *steps, const Geometry *a, long head, long rows, long columns, float *to) {
    int next = head + 1 < a->batches * a->heads;
    const bfloat16 *later = from + offset_of(steps, a, head + next);
    from += offset_of(steps, a, head);
    for (long r = 0; r < rows; r++, from += steps->row, later += steps->row, to += columns) {
        for (long c = 0; next && c < columns; c += 32) __builtin_prefetch(later + c, 0, 2);
#pragma omp simd
        for (long c = 0; c < columns; c++) to[c] = bf16_wide(from[c]);
    }
}

static void round_rows(const float *from, long rows, long columns, bfloat16 *to, long row) {
    for (long r = 0; r < rows; r++, from += columns, to += row)
#pragma omp simd
        for (long c = 0; c < columns; c++) to[c] = bf16_of(from[c]);
}

// One head of rows that lie side by side.
static Geometry widened_head(const Geometry *a) {
    const Steps width = {0, 0, a->width}, values = {0, 0, a->values};
    return (Geometry){1,     1,     a->queries, a->keys, a->width, a->values, a->causal, width, width, values, values, {0},
                      width, width, values};
}

// Floats that a task needs.
static long half_attention_scratch(const Geometry *a, int gradient) {
    long results = a->queries * a->values + (gradient ? (a->queries + a->keys) * a->width + a->keys * a->values : 0);
    return (a->queries + a->keys) * a->width + a->keys * a->values + results + attention_scratch(a, gradient);
}

static void half_attend(const HalfAttention *t, long head, long first, float *scratch) {
    const Geometry *a = t->geometry, own = widened_head(a);
    long rows = at_most(QUERIES, a->queries - first), keys = keys_seen(a, first + QUERIES);
    float *q = scratch, *k = q + a->queries * a->width, *v = k + a->keys * a->width, *out = v + a->keys * a->values;
    widen_rows(t->q + first * a->q.row, &a->q, a, head, rows, a->width, q + first * a->width);
    widen_rows(t->k, &a->k, a, head, keys, a->width, k);
    widen_rows(t->v, &a->v, a, head, keys, a->values, v);
    Attention wide = {.q = q, .k = k, .v = v, .out = out, .geometry = &own, .scale = t->scale};
    attend(&wide, 0, first, out + a->queries * a->values);
    round_rows(out + first * a->values, rows, a->values, t->out + offset_of(&a->out, a, head) + first * a->out.row, a->out.row);
}

static void half_attend_grad(const HalfAttention *t, long head, float *scratch) {
    const Geometry *a = t->geometry, own = widened_head(a);
    float *q = scratch, *k = q + a->queries * a->width, *v = k + a->keys * a->width, *g = v + a->keys * a->values;
    float *dq = g + a->queries * a->values, *dk = dq + a->queries * a->width, *dv = dk + a->keys * a->width;
    widen_rows(t->q, &a->q, a, head, a->queries, a->width, q);
    widen_rows(t->k, &a->k, a, head, a->keys, a->width, k);
    widen_rows(t->v, &a->v, a, head, a->keys, a->values, v);
    widen_rows(t->g, &a->out, a, head, a->queries, a->values, g);
    Attention wide = {.q = q, .k = k, .v = v, .g = g, .dq = dq, .dk = dk, .dv = dv, .geometry = &own, .scale = t->scale};
    attend_grad(&wide, 0, dv + a->keys * a->values);
    round_rows(dq, a->queries, a->width, t->dq + offset_of(&a->dq, a, head), a->dq.row);
    round_rows(dk, a->keys, a->width, t->dk + offset_of(&a->dk, a, head), a->dk.row);
    round_rows(dv, a->keys, a->values, t->dv + offset_of(&a->dv, a, head), a->dv.row);
}

ATTENTION_TASKS_OF(half_, HalfAttention)

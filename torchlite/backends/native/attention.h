// Attention head by head. Queries lie in the lanes of vectors: the scores of a block of them are (key, query), so softmax
// goes down columns without sums across lanes, and keys, values and cotangents are read where they lie. Scores never leave
// the caches; the gradient computes them again.

enum { QUERIES = 4 * LANES, ATTENTION_TASKS = 32, ATTENTION_STACK = 192 * 1024 };

typedef struct {  // between numbers of an array, whose rows are dense
    int64_t batch, head, row;
} Steps;

typedef struct {
    int64_t batches, heads, queries, keys, width, values, causal;
    Steps q, k, v, out, mask, dq, dk, dv;  // out is the cotangent's where there is one
} Geometry;

typedef struct {
    const float *q, *k, *v, *g, *mask;  // the mask is added to scores, NULL where there is none
    float *out, *dq, *dk, *dv, *scratch;
    const Geometry *geometry;
    float scale;
} Attention;

static inline long offset_of(const Steps *s, const Geometry *a, long head) {
    return head / a->heads * s->batch + head % a->heads * s->head;
}

// How many keys the first `count` queries see together.
static inline long keys_seen(const Geometry *a, long count) { return a->causal ? at_most(count, a->keys) : a->keys; }

// How many queries of the block, from its first on, don't see a key.
static inline long unseen(const Geometry *a, long first, long key) { return a->causal ? at_least(key - first, 0) : 0; }

// Rows of the head behind this one, which lie too far apart for a processor to guess them: fetched some at a time beside
// products, because a processor waits where too many are under way.
typedef struct { const Attention *t; long head, row, rows; } NextHead;

static NextHead next_head(const Attention *t, long head, long first) {
    const Geometry *a = t->geometry;
    int some = first == 0 && head + 1 < a->batches * a->heads;
    return (NextHead){t, head + 1, 0, some ? at_least(a->queries, a->keys) : 0};
}

static inline __attribute__((always_inline)) void fetch_row(const float *at, const Steps *steps, const NextHead *f, long rows,
                                                            long columns, const int written) {
    if (!at || f->row >= rows) return;
    at += offset_of(steps, f->t->geometry, f->head) + f->row * steps->row;
    for (long c = 0; c < columns; c += 64 / (long)sizeof *at) {  // Clang takes literal constants only
        if (written) __builtin_prefetch(at + c, 1, 2);
        else __builtin_prefetch(at + c, 0, 2);
    }
}

static void fetch_rows(NextHead *f, long count) {
    const Attention *t = f->t;
    const Geometry *a = t->geometry;
    for (; count > 0 && f->row < f->rows; count--, f->row++) {
        fetch_row(t->q, &a->q, f, a->queries, a->width, 0);
        fetch_row(t->k, &a->k, f, a->keys, a->width, 0);
        fetch_row(t->v, &a->v, f, a->keys, a->values, 0);
        fetch_row(t->g, &a->out, f, a->queries, a->values, 0);
        fetch_row(t->out, &a->out, f, a->queries, a->values, 1);
        fetch_row(t->dq, &a->dq, f, a->queries, a->width, 1);
        fetch_row(t->dk, &a->dk, f, a->keys, a->width, 1);
        fetch_row(t->dv, &a->dv, f, a->keys, a->values, 1);
    }
}

// out (key, query) = or += rows of keys times a block's columns, as far as one of them is seen.
static void multiply_keys(const Geometry *a, long first, Matrix rows, const float *columns, long width, float *out, int adding,
                          NextHead *next) {
    static const float one = 1.0f;
    for (long i = 0; i < QUERIES; i += LANES) {
        int both = i % (2 * LANES) == 0;  // vectors of queries, which the second alone goes on with
        long keys = keys_seen(a, first + i + LANES), count;
        for (long j = both ? 0 : keys_seen(a, first + i); j < keys; j += count) {
            count = at_most(2 * STRIP_ROWS, keys - j);
            multiply_strips((Matrix){rows.at + j * rows.row, rows.row, 1}, (Matrix){columns + i, QUERIES, 1}, width,
                            (Target){out + j * QUERIES + i, QUERIES, &one, 0, adding}, count, both ? 2 * LANES : LANES);
            fetch_rows(next, 3);
        }
    }
}

static void attention_scores(const Attention *t, long head, long first, long rows, const float *queries, float *scores,
                             NextHead *next) {
    const Geometry *a = t->geometry;
    long keys = keys_seen(a, first + QUERIES);
    if (t->mask) {
        if (rows < QUERIES) memset(scores, 0, (size_t)(keys * QUERIES) * sizeof *scores);
        transpose_rows(t->mask + offset_of(&a->mask, a, head) + first * a->mask.row, a->mask.row, rows, keys, 1.0f, scores, QUERIES);
    }
    multiply_keys(a, first, (Matrix){t->k + offset_of(&a->k, a, head), a->k.row, 1}, queries, a->width, scores, t->mask != NULL, next);
}

// The lanes of a vector of queries that see a key.
static inline Lanes seeing(long hidden) {
    Lanes lane;
    for (int i = 0; i < LANES; i++) lane[i] = i;
    return (Lanes)(lane >= (int)hidden);
}

static inline Vector where(Lanes some, Vector x, float other) {
    return (Vector)((some & (Lanes)x) | (~some & (Lanes)((Vector){0} + other)));
}

// Scores to exponentials of their distance to each query's largest, in place, their sums turned into factors. NaN is passed over
// by the search for the largest and comes back through the sum. Where a key is not seen there are zeros, as far as products read,
// which take the rows of a strip together. Given slopes, which get zeros there, too, `along` is what their products with
// the weights add up to.
static void attention_exponentials(const Attention *t, long first, float *scores, float *slopes, float *factor, float *along) {
    enum { EACH = 4 };
    const Geometry *a = t->geometry;
    for (long i = 0; i < QUERIES; i += LANES, scores += LANES, slopes += slopes ? LANES : 0) {
        long begin = first + i, keys = keys_seen(a, begin + LANES), open = a->causal ? at_most(begin + 1, keys) : keys, j = 0;
        long read = keys_seen(a, first + parts(i + LANES, STRIP_ROWS) * STRIP_ROWS);
        Vector m[EACH], sum[EACH], sloped[EACH];
        UNROLLED for (int r = 0; r < EACH; r++) m[r] = (Vector){0} - INFINITY, sum[r] = sloped[r] = (Vector){0};
        for (; j + EACH <= open; j += EACH)
            UNROLLED for (int r = 0; r < EACH; r++) m[r] = larger(load(scores + (j + r) * QUERIES), m[r]);
        for (; j < keys; j++) m[0] = larger(where(seeing(unseen(a, begin, j)), load(scores + j * QUERIES), -INFINITY), m[0]);
        Vector most = larger(larger(m[0], m[1]), larger(m[2], m[3]));
#define EXPONENTIALS(count, seen)                                                              \
    {                                                                                          \
        Vector e[EACH];                                                                        \
        UNROLLED for (int r = 0; r < count; r++) e[r] = load(scores + (j + r) * QUERIES) - most; \
        exponentials(e, count);                                                                \
        UNROLLED for (int r = 0; r < count; r++) {                                             \
            e[r] = seen;                                                                       \
            store(scores + (j + r) * QUERIES, e[r]);                                           \
            sum[r] += e[r];                                                                    \
            if (slopes) sloped[r] += e[r] * load(slopes + (j + r) * QUERIES);                  \
        }                                                                                      \
    }
        if (t->mask) most = where((Lanes)(most != -INFINITY), most, 0.0f);  // a query that sees nothing gets nothing
        for (j = 0; j + EACH <= open; j += EACH) EXPONENTIALS(EACH, e[r]);
        for (; j + EACH <= keys; j += EACH) EXPONENTIALS(EACH, where(seeing(unseen(a, begin, j + r)), e[r], 0.0f));
        for (; j < keys; j++) EXPONENTIALS(1, where(seeing(unseen(a, begin, j)), e[r], 0.0f));
#undef EXPONENTIALS
        for (; j < read; j++) {
            store(scores + j * QUERIES, (Vector){0});
            if (slopes) store(slopes + j * QUERIES, (Vector){0});
        }
        sum[0] = (sum[0] + sum[1]) + (sum[2] + sum[3]);
        Vector f = 1.0f / sum[0];
        if (t->mask) f = where((Lanes)(sum[0] != 0.0f), f, 0.0f);
        store(factor + i, f);
        if (slopes) store(along + i, ((sloped[0] + sloped[1]) + (sloped[2] + sloped[3])) * f);
    }
}

// A block's queries or cotangents as columns, zeros in those that are not there.
static void as_columns(const float *from, long row, long rows, long columns, float factor, float *to) {
    if (rows < QUERIES) memset(to, 0, (size_t)(columns * QUERIES) * sizeof *to);
    transpose_rows(from, row, rows, columns, factor, to, QUERIES);
}

static void attend(const Attention *t, long head, long first, float *scratch) {
    const Geometry *a = t->geometry;
    long rows = at_most(QUERIES, a->queries - first), keys = keys_seen(a, first + QUERIES), values = whole_lanes(a->values);
    float *queries = scratch, *scores = queries + a->width * QUERIES, *block = scores + keys * QUERIES;
    float factor[QUERIES], *out = t->out + offset_of(&a->out, a, head) + first * a->out.row;
    float *rest = block + QUERIES * values;
    NextHead next = next_head(t, head, first);
    as_columns(t->q + offset_of(&a->q, a, head) + first * a->q.row, a->q.row, rows, a->width, t->scale, queries);
    attention_scores(t, head, first, rows, queries, scores, &next);
    attention_exponentials(t, first, scores, NULL, factor, NULL);
    Matrix v = with_whole_lanes(t->v + offset_of(&a->v, a, head), a->v.row, keys, a->values, &rest);
    int whole = values == a->values;
    float *to = whole ? out : block;
    long to_row = whole ? a->out.row : values, step = a->causal ? STRIP_ROWS : rows;
    for (long i = 0; i < rows; i += step) {
        multiply_strips((Matrix){scores + i, 1, QUERIES}, v, keys_seen(a, first + i + step),
                       (Target){to + i * to_row, to_row, factor + i, 1, 0}, at_most(step, rows - i), values);
        fetch_rows(&next, 3);
    }
    for (long i = 0; !whole && i < rows; i++)
        memcpy(out + i * a->out.row, block + i * values, (size_t)a->values * sizeof *out);
}

// The gradient of one head. Cotangents of keys and values are added up over blocks of queries.
static void attend_grad(const Attention *t, long head, float *scratch) {
    const Geometry *a = t->geometry;
    static const float one = 1.0f;
    long width = whole_lanes(a->width), values = whole_lanes(a->values), begun = 0;
    float *queries = scratch, *cotangents = queries + a->width * QUERIES, *scores = cotangents + a->values * QUERIES;
    float *slopes = scores + a->keys * QUERIES, *rest = slopes + a->keys * QUERIES, factor[QUERIES], along[QUERIES];
    Matrix q = with_whole_lanes(t->q + offset_of(&a->q, a, head), a->q.row, a->queries, a->width, &rest);
    Matrix k = with_whole_lanes(t->k + offset_of(&a->k, a, head), a->k.row, a->keys, a->width, &rest);
    Matrix g = with_whole_lanes(t->g + offset_of(&a->out, a, head), a->out.row, a->queries, a->values, &rest);
    Matrix v = {t->v + offset_of(&a->v, a, head), a->v.row, 1};
    float *dq = t->dq + offset_of(&a->dq, a, head), *dk = t->dk + offset_of(&a->dk, a, head);
    float *dv = t->dv + offset_of(&a->dv, a, head), *own_dq = dq, *own_dk = dk, *own_dv = dv;
    long dq_row = a->dq.row, dk_row = a->dk.row, dv_row = a->dv.row;
    if (width != a->width) {
        own_dq = rest, own_dk = own_dq + a->queries * width, rest = own_dk + a->keys * width;
        dq_row = dk_row = width;
    }
    if (values != a->values) own_dv = rest, dv_row = values;
    for (long first = 0; first < a->queries; first += QUERIES) {
        long rows = at_most(QUERIES, a->queries - first), keys = keys_seen(a, first + QUERIES);
        NextHead next = next_head(t, head, first);
        as_columns(q.at + first * q.row, q.row, rows, a->width, t->scale, queries);
        as_columns(g.at + first * g.row, g.row, rows, a->values, 1.0f, cotangents);
        attention_scores(t, head, first, rows, queries, scores, &next);
        multiply_keys(a, first, v, cotangents, a->values, slopes, 0, &next);
        attention_exponentials(t, first, scores, slopes, factor, along);
        for (long i = 0; i < QUERIES; i += LANES) {
            Vector f = load(factor + i), mean = load(along + i);
            long read = keys_seen(a, first + parts(i + LANES, STRIP_ROWS) * STRIP_ROWS);
            fetch_rows(&next, 1);
            for (long j = i; j < i + read * QUERIES; j += QUERIES) {
                Vector weight = load(scores + j) * f;
                store(scores + j, weight);
                store(slopes + j, weight * (load(slopes + j) - mean));
            }
        }
        long step = a->causal ? STRIP_ROWS : rows;
        for (long i = 0; i < rows; i += step) {
            multiply_strips((Matrix){slopes + i, 1, QUERIES}, k, keys_seen(a, first + i + step),
                           (Target){own_dq + (first + i) * dq_row, dq_row, &t->scale, 0, 0}, at_most(step, rows - i), width);
            fetch_rows(&next, 1);
        }
        step = a->causal ? STRIP_ROWS : keys;
        for (long j = 0; j < keys;) {
            // Rows of keys that an earlier block has seen are added to, the others begin.
            int adding = j < begun;
            long count = at_most(step, (adding ? begun : keys) - j), skipped = unseen(a, first, j) / STRIP_ROWS * STRIP_ROWS;
            if (skipped >= rows) skipped = rows;  // nobody sees them
            multiply_strips((Matrix){scores + j * QUERIES + skipped, QUERIES, 1},
                           (Matrix){g.at + (first + skipped) * g.row, g.row, 1}, rows - skipped,
                           (Target){own_dv + j * dv_row, dv_row, &one, 0, adding}, count, values);
            multiply_strips((Matrix){slopes + j * QUERIES + skipped, QUERIES, 1},
                           (Matrix){q.at + (first + skipped) * q.row, q.row, 1}, rows - skipped,
                           (Target){own_dk + j * dk_row, dk_row, &t->scale, 0, adding}, count, width);
            j += count;
            fetch_rows(&next, 1);
        }
        begun = at_least(begun, keys);
    }
    for (long j = begun; j < a->keys; j++) {
        memset(own_dk + j * dk_row, 0, (size_t)width * sizeof *dk);
        memset(own_dv + j * dv_row, 0, (size_t)values * sizeof *dv);
    }
    for (long i = 0; own_dq != dq && i < a->queries; i++)
        memcpy(dq + i * a->dq.row, own_dq + i * width, (size_t)a->width * sizeof *dq);
    for (long j = 0; own_dk != dk && j < a->keys; j++)
        memcpy(dk + j * a->dk.row, own_dk + j * width, (size_t)a->width * sizeof *dk);
    for (long j = 0; own_dv != dv && j < a->keys; j++)
        memcpy(dv + j * a->dv.row, own_dv + j * values, (size_t)a->values * sizeof *dv);
}

// Floats that a task needs.
static long attention_scratch(const Geometry *a, int gradient) {
    long width = whole_lanes(a->width), values = whole_lanes(a->values);
    if (!gradient) return QUERIES * (a->width + a->keys + values) + a->keys * values;
    return QUERIES * (a->width + a->values + 2 * a->keys) + 2 * (a->queries + a->keys) * (width + values);
}

static long attention_blocks(const Geometry *a) { return a->batches * a->heads * parts(a->queries, QUERIES); }

// Where a task's numbers are: on its stack, where a cache still has what the task before has left, unless they are too many.
static int attention_on_stack(long floats) { return floats * (long)sizeof(float) <= ATTENTION_STACK; }
#define TASK_SCRATCH(t, index, floats)                                                              \
    long each = floats;                                                                             \
    float stack[attention_on_stack(each) ? each : 1] __attribute__((aligned(64)));                  \
    float *scratch = attention_on_stack(each) ? stack : t->scratch + index * each;

// The tasks of attention and of its gradient, with what computes one block or one head: `prefix`attend and `prefix`attend_grad.
#define ATTENTION_TASKS_OF(prefix, Argument)                                                        \
    static void prefix##attention_task(void *argument, long index) {                                \
        const Argument *t = argument;                                                               \
        const Geometry *a = t->geometry;                                                            \
        const long all = attention_blocks(a), own = parts(all, ATTENTION_TASKS);                    \
        const long blocks = parts(a->queries, QUERIES);                                             \
        TASK_SCRATCH(t, index, prefix##attention_scratch(a, 0))                                     \
        for (long i = index * own; i < at_most((index + 1) * own, all); i++)                        \
            prefix##attend(t, i / blocks, i % blocks * QUERIES, scratch);                           \
    }                                                                                               \
    static void prefix##attention_grad_task(void *argument, long index) {                           \
        const Argument *t = argument;                                                               \
        const Geometry *a = t->geometry;                                                            \
        const long heads = a->batches * a->heads, own = parts(heads, ATTENTION_TASKS);              \
        TASK_SCRATCH(t, index, prefix##attention_scratch(a, 1))                                     \
        for (long i = index * own; i < at_most((index + 1) * own, heads); i++)                      \
            prefix##attend_grad(t, i, scratch);                                                     \
    }
ATTENTION_TASKS_OF(, Attention)

// How many tasks share `count` heads or blocks; each needs its scratch.
static long attention_tasks(long count) { return parts(count, parts(count, ATTENTION_TASKS)); }

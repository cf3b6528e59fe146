// Attention head by head. Queries lie in the lanes of vectors: the scores of a block of them are (key, query), so softmax
// goes down columns without sums across lanes, and keys, values and cotangents are read where they lie. Scores never leave
// the caches; the gradient computes them again.

enum { QUERIES = 4 * LANES, ATTENTION_TASKS = 32, DIAGONAL = REGISTERS >= 32 && LANES < 8 ? 8 : LANES };

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

static void attention_scores(const Attention *t, long head, long first, long rows, const float *queries, float *scores) {
    const Geometry *a = t->geometry;
    static const float one = 1.0f;
    long keys = keys_seen(a, first + QUERIES);
    if (t->mask) {
        if (rows < QUERIES) memset(scores, 0, (size_t)(keys * QUERIES) * sizeof *scores);
        transpose_rows(t->mask + offset_of(&a->mask, a, head) + first * a->mask.row, a->mask.row, rows, keys, 1.0f, scores, QUERIES);
    }
    for (long i = 0; i < QUERIES; i += 2 * LANES)
        multiply_strips((Matrix){t->k + offset_of(&a->k, a, head), a->k.row, 1}, (Matrix){queries + i, QUERIES, 1}, a->width,
                       (Target){scores + i, QUERIES, &one, 0, t->mask != NULL}, keys_seen(a, first + i + 2 * LANES), 2 * LANES);
}

// Scores to exponentials of their distance to each query's largest, in place and zero where a key is not seen; their sums
// turned into factors. NaN is passed over by the search for the largest and comes back through the sum.
static void attention_exponentials(const Attention *t, long first, float *scores, float *factor) {
    const Geometry *a = t->geometry;
    float m[QUERIES], sum[QUERIES];
    long keys = keys_seen(a, first + QUERIES), open = a->causal ? at_most(first + 1, keys) : keys, j = 0;
    for (long i = 0; i < QUERIES; i++) m[i] = -INFINITY, sum[i] = 0.0f;
    for (; j + 4 <= open; j += 4) {
        const float *row = scores + j * QUERIES;
#pragma omp simd
        for (int i = 0; i < QUERIES; i++) {
            float x = row[i], y = row[QUERIES + i], z = row[2 * QUERIES + i], w = row[3 * QUERIES + i];
            x = x > m[i] ? x : m[i];
            y = y > x ? y : x;
            z = z > y ? z : y;
            m[i] = w > z ? w : z;
        }
    }
    for (; j < keys; j++) {
        int hidden = (int)unseen(a, first, j);
        for (int v = hidden / LANES * LANES; v < QUERIES; v += LANES) {
            const float *row = scores + j * QUERIES + v;
            float *best = m + v;
#pragma omp simd
            for (int i = 0; i < LANES; i++) {
                float x = i >= hidden - v ? row[i] : -INFINITY;
                best[i] = x > best[i] ? x : best[i];
            }
        }
    }
    if (t->mask)  // a query that sees nothing gets nothing
        for (long i = 0; i < QUERIES; i++) m[i] = m[i] == -INFINITY ? 0.0f : m[i];
    for (j = 0; j < open; j++) {
        float *row = scores + j * QUERIES;
#pragma omp simd
        for (int i = 0; i < QUERIES; i++) {
            float e = exp_(row[i] - m[i]);
            row[i] = e;
            sum[i] += e;
        }
    }
    for (; j < keys; j++) {
        int hidden = (int)unseen(a, first, j);
        for (int v = hidden / DIAGONAL * DIAGONAL; v < QUERIES; v += LANES) {
            float *row = scores + j * QUERIES + v, *best = m + v, *total = sum + v;
#pragma omp simd
            for (int i = 0; i < LANES; i++) {
                float e = exp_(i >= hidden - v ? row[i] - best[i] : 0.0f);
                e = i >= hidden - v ? e : 0.0f;
                row[i] = e;
                total[i] += e;
            }
        }
    }
    for (long i = 0; i < QUERIES; i++) factor[i] = t->mask && sum[i] == 0.0f ? 0.0f : 1.0f / sum[i];
}

// A block's queries or cotangents as columns, zeros in those that are not there.
static void as_columns(const float *from, long row, long rows, long columns, float factor, float *to) {
    if (rows < QUERIES) memset(to, 0, (size_t)(columns * QUERIES) * sizeof *to);
    transpose_rows(from, row, rows, columns, factor, to, QUERIES);
}

// Asks for the rows of the head behind this one, which lie too far apart for a processor to guess them.
static void fetch_head(const float *at, const Steps *steps, const Geometry *a, long head, long rows, long columns) {
    if (++head >= a->batches * a->heads) return;
    at += offset_of(steps, a, head);
    for (long r = 0; r < rows; r++, at += steps->row)
        for (long c = 0; c < columns; c += 64 / (long)sizeof *at) __builtin_prefetch(at + c, 0, 2);
}

static void attend(const Attention *t, long head, long first, float *scratch) {
    const Geometry *a = t->geometry;
    long rows = at_most(QUERIES, a->queries - first), keys = keys_seen(a, first + QUERIES), values = whole_lanes(a->values);
    float *queries = scratch, *scores = queries + a->width * QUERIES, *block = scores + keys * QUERIES;
    float factor[QUERIES], *out = t->out + offset_of(&a->out, a, head) + first * a->out.row;
    float *rest = block + QUERIES * values;
    as_columns(t->q + offset_of(&a->q, a, head) + first * a->q.row, a->q.row, rows, a->width, t->scale, queries);
    if (first == 0) fetch_head(t->q, &a->q, a, head, a->queries, a->width);
    attention_scores(t, head, first, rows, queries, scores);
    if (first == 0) fetch_head(t->k, &a->k, a, head, a->keys, a->width);
    attention_exponentials(t, first, scores, factor);
    if (first == 0) fetch_head(t->v, &a->v, a, head, a->keys, a->values);
    Matrix v = with_whole_lanes(t->v + offset_of(&a->v, a, head), a->v.row, keys, a->values, &rest);
    int whole = values == a->values;
    float *to = whole ? out : block;
    long to_row = whole ? a->out.row : values, step = a->causal ? STRIP_ROWS : rows;
    for (long i = 0; i < rows; i += step)
        multiply_strips((Matrix){scores + i, 1, QUERIES}, v, keys_seen(a, first + i + step),
                       (Target){to + i * to_row, to_row, factor + i, 1, 0}, at_most(step, rows - i), values);
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
        long open = a->causal ? at_most(first + 1, keys) : keys;
        as_columns(q.at + first * q.row, q.row, rows, a->width, t->scale, queries);
        as_columns(g.at + first * g.row, g.row, rows, a->values, 1.0f, cotangents);
        if (first == 0) fetch_head(t->q, &a->q, a, head, a->queries, a->width);
        attention_scores(t, head, first, rows, queries, scores);
        if (first == 0) fetch_head(t->k, &a->k, a, head, a->keys, a->width);
        attention_exponentials(t, first, scores, factor);
        if (first == 0) fetch_head(t->v, &a->v, a, head, a->keys, a->values);
        for (long i = 0; i < QUERIES; i += 2 * LANES)
            multiply_strips(v, (Matrix){cotangents + i, QUERIES, 1}, a->values, (Target){slopes + i, QUERIES, &one, 0, 0},
                           keys_seen(a, first + i + 2 * LANES), 2 * LANES);
        if (first == 0) fetch_head(t->g, &a->out, a, head, a->queries, a->values);
        for (long i = 0; i < QUERIES; i++) along[i] = 0.0f;
        for (long j = 0; j < keys; j++) {
            float *p = scores + j * QUERIES, *s = slopes + j * QUERIES;
            for (long v = j < open ? 0 : unseen(a, first, j) / DIAGONAL * DIAGONAL; v < QUERIES; v += LANES)
#pragma omp simd
                for (int i = 0; i < LANES; i++) {
                    float weight = p[v + i] * factor[v + i];
                    p[v + i] = weight;
                    along[v + i] += weight * s[v + i];
                }
        }
        for (long j = 0; j < keys; j++) {
            float *p = scores + j * QUERIES, *s = slopes + j * QUERIES;
            for (long v = j < open ? 0 : unseen(a, first, j) / DIAGONAL * DIAGONAL; v < QUERIES; v += LANES)
#pragma omp simd
                for (int i = 0; i < LANES; i++) s[v + i] = p[v + i] * (s[v + i] - along[v + i]);
        }
        long step = a->causal ? STRIP_ROWS : rows;
        for (long i = 0; i < rows; i += step)
            multiply_strips((Matrix){slopes + i, 1, QUERIES}, k, keys_seen(a, first + i + step),
                           (Target){own_dq + (first + i) * dq_row, dq_row, &t->scale, 0, 0}, at_most(step, rows - i), width);
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

static void attention_task(void *argument, long index) {
    const Attention *t = argument;
    const Geometry *a = t->geometry;
    long blocks = parts(a->queries, QUERIES), own = parts(attention_blocks(a), ATTENTION_TASKS);
    for (long i = index * own; i < at_most((index + 1) * own, attention_blocks(a)); i++)
        attend(t, i / blocks, i % blocks * QUERIES, t->scratch + index * attention_scratch(a, 0));
}

static void attention_grad_task(void *argument, long index) {
    const Attention *t = argument;
    const Geometry *a = t->geometry;
    long heads = a->batches * a->heads, own = parts(heads, ATTENTION_TASKS);
    for (long i = index * own; i < at_most((index + 1) * own, heads); i++)
        attend_grad(t, i, t->scratch + index * attention_scratch(a, 1));
}

// How many tasks share `count` heads or blocks; each needs its scratch.
static long attention_tasks(long count) { return parts(count, parts(count, ATTENTION_TASKS)); }

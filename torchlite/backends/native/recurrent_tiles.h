// The LSTM of `recurrent.h` with the products by the recurrent weight in tiles of bfloat16: of arrays of bfloat16, and, where the
// processor has tile registers, of float32. Gates and states are computed in float32. A task has as many samples as a tile has
// rows, and for each step it reads the weight, packed in tiles, once. Units are a multiple of 16.
//
// What is multiplied consists of `terms`. Of bfloat16 it is one: states, and in the gradient the cotangents of gates, are
// rounded as they are stored. A number of float32 is the sum of three, to the last bit; of their nine products the six largest
// are added up, which errs less than float32 does that adds up one after the other. Infinities have no such terms.

enum {
    LSTM_TILES = 4,  // of 16 columns, whose sums are in tile registers at once: the gates of 16 units, or 64 units
    LSTM_COLUMNS = LSTM_TILES * BF16_SIDE,
    LSTM_WORDS = LSTM_TILES * BF16_TILE,
    FLOAT_TERMS = 3,
};

typedef struct {
    const void *gates, *h0, *c0, *w_hh, *cs, *kept, *g_h, *g_c;  // of bfloat16 or float32; g_h, g_c: NULL where there is none
    void *out_h, *out_c, *out_kept, *d_gates, *d_h0, *d_c0;
    void *scratch;  // tiled_lstm_scratch bytes at a multiple of 64
    Sequences of;
    int finite;  // whether the weight is
} TiledLstm;

// ---- numbers of either type, and their terms ----

#if defined(__AVX512BF16__)
static inline Vector widened_half(__m256bh x) {
    return (Vector)_mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i)x), 16);
}
#endif

static inline __attribute__((always_inline)) Vector load_numbers(const void *from, long at, const int terms) {
    if (terms > 1) return load((const float *)from + at);
    const uint16_t *half = (const uint16_t *)from + at;
#ifdef __AVX512BF16__
    return widened_half((__m256bh)_mm256_loadu_si256((const __m256i *)half));
#else
    Vector x;
    for (int i = 0; i < LANES; i++) x[i] = bf16_wide(half[i]);
    return x;
#endif
}

// The rest of a number is what rounding has taken from it.
static inline __attribute__((always_inline)) Vector store_half(uint16_t *to, Vector x) {
#ifdef __AVX512BF16__
    __m256bh half = _mm512_cvtneps_pbh((__m512)x);
    _mm256_storeu_si256((__m256i *)to, (__m256i)half);
    return x - widened_half(half);
#else
    Vector wide;
    for (int i = 0; i < LANES; i++) {
        to[i] = bf16_of(x[i]);
        wide[i] = bf16_wide(to[i]);
    }
    return x - wide;
#endif
}

static inline __attribute__((always_inline)) void store_numbers(void *to, long at, Vector x, const int terms) {
    if (terms > 1) store((float *)to + at, x);
    else store_half((uint16_t *)to + at, x);
}

// The terms of numbers, `step` apart.
static inline __attribute__((always_inline)) void store_terms(uint16_t *to, long step, Vector x, const int terms) {
    UNROLLED for (int term = 0; term < terms; term++) x = store_half(to + term * step, x);
}

static inline int all_finite(const float *x, long n) {
    float zero = 0.0f;
#pragma omp simd reduction(+ : zero)
    for (long i = 0; i < n; i++) zero += x[i] * 0.0f;
    return zero == 0.0f;
}

static inline long size_of_number(int terms) { return terms > 1 ? 4 : 2; }
static inline const void *number_at(const void *from, long at, int terms) {
    return (const char *)from + at * size_of_number(terms);
}

// ---- the weight ----

// A block of columns that the weight (4 width, width) is as a right operand, for h times its transpose or d times it: four tiles
// of some lines, which of the weight's numbers they begin with, and the steps between tiles, lines and the numbers of a line.
typedef struct { long at, tile_step, line_step, k_step, k, lines[LSTM_TILES]; } Columns;

static Columns columns_of(long width, long block, int gradient) {
    long unit = block * (gradient ? LSTM_COLUMNS : BF16_SIDE);
    Columns c = gradient ? (Columns){unit, BF16_SIDE, 1, width, 4 * width, {0}}
                         : (Columns){unit * width, width * width, width, 1, width, {0}};
    for (int tile = 0; tile < LSTM_TILES; tile++)
        c.lines[tile] = at_least(at_most(BF16_SIDE, width - unit - (gradient ? tile * BF16_SIDE : 0)), 0);
    return c;
}

static inline long blocks_of_columns(long width, int gradient) { return parts(width, gradient ? LSTM_COLUMNS : BF16_SIDE); }
static inline long tiles_deep(long width, int gradient) { return parts(gradient ? 4 * width : width, BF16_DEPTH); }
static inline long whole_columns(long width) { return parts(width, LSTM_COLUMNS) * LSTM_COLUMNS; }
static inline long words_of_block(long width, int gradient, int terms) {
    return tiles_deep(width, gradient) * terms * LSTM_WORDS;
}

// Bytes of the packed weight, and of what is left of float32 behind its first terms.
static inline long weight_bytes(long width, int gradient, int terms) {
    long words = blocks_of_columns(width, gradient) * words_of_block(width, gradient, terms);
    return 4 * (words + (terms > 1 ? parts(4 * width * width, 16) * 16 : 0));
}

// Bytes of a task: states or their cotangents, and the terms of what is multiplied, in forward before and after a step.
static inline long tiled_task_bytes(long width, int gradient, int terms) {
    long line = 2 * BF16_DEPTH * tiles_deep(width, gradient) * terms;
    return BF16_SIDE * (gradient ? 8 * whole_columns(width) + line : 4 * whole_columns(width) + 2 * line);
}

static inline long tiled_lstm_scratch(long samples, long width, int gradient, int terms) {
    return weight_bytes(width, gradient, terms) + recurrent_tasks(samples) * tiled_task_bytes(width, gradient, terms);
}

static void keep_rest(const float *from, float *rest, const Columns *c) {
    for (int tile = 0; tile < LSTM_TILES; tile++) {
        long along = c->k_step == 1 ? c->k : c->lines[tile], step = c->k_step == 1 ? c->line_step : c->k_step;
        for (long i = 0; i < (c->k_step == 1 ? c->lines[tile] : c->k); i++) {
            long at = c->at + tile * c->tile_step + i * step;
#pragma omp simd
            for (long j = at; j < at + along; j++) rest[j] = from[j] - bf16_rounded(from[j]);
        }
    }
}

static inline __attribute__((always_inline)) void pack_columns(const TiledLstm *l, long block, int gradient, const int terms) {
    long width = l->of.width, words = words_of_block(width, gradient, terms);
    uint32_t *to = (uint32_t *)l->scratch + block * words;
    float *rest = (float *)l->scratch + blocks_of_columns(width, gradient) * words;
    Columns c = columns_of(width, block, gradient);
    Bf16Operand o = {.at = l->w_hh, .half = terms == 1, .line_step = c.line_step, .k_step = c.k_step};
    for (int term = 0; term < terms; term++) {
        if (term) {
            keep_rest(o.at, rest, &c);
            o.at = rest;
        }
        for (long k = 0; k < c.k; k += BF16_DEPTH)
            for (int tile = 0; tile < LSTM_TILES; tile++)
                bf16_pack_tile(&o, c.at + tile * c.tile_step + k * c.k_step, c.lines[tile], at_most(BF16_DEPTH, c.k - k), 0,
                               to + (k / BF16_DEPTH * terms + term) * LSTM_WORDS + tile * BF16_TILE);
    }
}

// ---- products ----

// sums (16 rows, 64 columns) = rows, [term][row][32 numbers of each tile], times packed columns, [tile][term][column].
static inline __attribute__((always_inline)) void tile_sums(int tiles, const uint16_t *left, const uint32_t *right, long depth,
                                                            float *sums, const int terms) {
    long row = depth * BF16_DEPTH;
#ifdef __AMX_BF16__
    if (tiles) {
        enum { WORDS = BF16_SIDE * sizeof(uint32_t), ROW = LSTM_COLUMNS * sizeof(float), AHEAD_OF_TILE = 2 * BF16_TILE };
        long step = row * (long)sizeof *left;
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
        for (long d = 0; d < depth; d++, left += BF16_DEPTH) {
            _tile_loadd(4, left, step);
            if (terms > 1) _tile_loadd(5, left + BF16_SIDE * row, step);
            if (terms > 2) _tile_loadd(6, left + 2 * BF16_SIDE * row, step);
            UNROLLED for (int term = 0; term < terms; term++) {
#define COLUMNS_OF(tile)                                                                                               \
    for (int i = 0; i < BF16_TILE; i += BF16_SIDE) __builtin_prefetch(right + AHEAD_OF_TILE + i);                      \
    _tile_loadd(7, right, WORDS);                                                                                      \
    _tile_dpbf16ps(tile, 4, 7);                                                                                        \
    if (terms - term > 1) _tile_dpbf16ps(tile, 5, 7);                                                                  \
    if (terms - term > 2) _tile_dpbf16ps(tile, 6, 7);                                                                  \
    right += BF16_TILE;
                COLUMNS_OF(0)
                COLUMNS_OF(1)
                COLUMNS_OF(2)
                COLUMNS_OF(3)
#undef COLUMNS_OF
            }
        }
        _tile_stored(0, sums, ROW);
        _tile_stored(1, sums + BF16_SIDE, ROW);
        _tile_stored(2, sums + 2 * BF16_SIDE, ROW);
        _tile_stored(3, sums + 3 * BF16_SIDE, ROW);
        return;
    }
#else
    (void)tiles;
#endif
    if (terms > 1) return;  // only where there are tiles
    for (int first = 0; first < BF16_SIDE; first += BF16_ROWS)
        for (int column = 0; column < LSTM_COLUMNS; column += BF16_WIDE) {
            const uint32_t *words = right + column / BF16_SIDE * BF16_TILE + column % BF16_SIDE;
            Bf16Sums sum[BF16_ROWS];
            UNROLLED for (int r = 0; r < BF16_ROWS; r++) sum[r] = (Bf16Sums){0};
            for (long d = 0; d < depth; d++)
                for (long pair = 0; pair < BF16_SIDE; pair++)
                    UNROLLED for (int r = 0; r < BF16_ROWS; r++)
                        sum[r] = bf16_dot(sum[r], bf16_pair(left + (first + r) * row + d * BF16_DEPTH + 2 * pair),
                                          words + d * LSTM_WORDS + pair * BF16_SIDE);
            UNROLLED for (int r = 0; r < BF16_ROWS; r++) store(sums + (first + r) * LSTM_COLUMNS + column, (Vector)sum[r]);
        }
}

// The same where something is infinite.
static void plain_sums(const float *left, const float *weight, const Columns *c, long rows, float *sums) {
    for (long r = 0; r < rows; r++)
        for (int tile = 0; tile < LSTM_TILES; tile++)
            for (long line = 0; line < c->lines[tile]; line++) {
                const float *column = weight + c->at + tile * c->tile_step + line * c->line_step;
                float sum = 0.0f;
                for (long k = 0; k < c->k; k++) sum += left[r * c->k + k] * column[k * c->k_step];
                sums[r * LSTM_COLUMNS + tile * BF16_SIDE + line] = sum;
            }
}

static inline __attribute__((always_inline)) void column_sums(const TiledLstm *l, int tiles, int finite, long block,
                                                              const uint16_t *left, const void *numbers, long rows, float *sums,
                                                              int gradient, const int terms) {
    long width = l->of.width;
    if (terms > 1 && !finite) {
        Columns c = columns_of(width, block, gradient);
        plain_sums(numbers, l->w_hh, &c, rows, sums);
        return;
    }
    tile_sums(tiles, left, (const uint32_t *)l->scratch + block * words_of_block(width, gradient, terms),
              tiles_deep(width, gradient), sums, terms);
}

// ---- forward ----

// Where a task's samples lie in its memory: rows of whole blocks of columns, and of terms.
typedef struct { long first, rows, whole, line, term; char *room; int tiles; } Share;

static inline Share share_of(const TiledLstm *l, long index, int gradient, int terms) {
    long width = l->of.width, each = samples_a_task(l->of.samples), first = index * each;
    long line = tiles_deep(width, gradient) * BF16_DEPTH, bytes = tiled_task_bytes(width, gradient, terms);
    char *room = (char *)l->scratch + weight_bytes(width, gradient, terms) + index * bytes;
    memset(room, 0, (size_t)bytes);
    return (Share){first, at_most(each, l->of.samples - first), whole_columns(width), line, BF16_SIDE * line, room,
                   bf16_tiles_allowed()};
}

// Some samples' units from `place` on, where their states go, from the sums of their gates; `next` are the states' terms.
static inline __attribute__((always_inline)) void tiled_block(const TiledLstm *l, const Share *s, const float *sums, long place,
                                                              float *cells, uint16_t *next, const int rows, const int terms) {
    long width = l->of.width, gates_at = place + place / width * 3 * width;
    Vector gates[4][GATE_ROWS], c[GATE_ROWS], h[GATE_ROWS];
    UNROLLED for (int r = 0; r < rows; r++) {
        c[r] = load(cells + r * s->whole);
        UNROLLED for (int gate = 0; gate < 4; gate++)
            gates[gate][r] = load(sums + r * LSTM_COLUMNS + gate * BF16_SIDE) +
                             load_numbers(l->gates, gates_at + (4 * r + gate) * width, terms);
    }
    lstm_cells(gates, c, h, rows);
    UNROLLED for (int r = 0; r < rows; r++) {
        store(cells + r * s->whole, c[r]);
        store_numbers(l->out_c, place + r * width, c[r], terms);
        store_numbers(l->out_h, place + r * width, h[r], terms);
        store_terms(next + r * s->line, s->term, h[r], terms);
        UNROLLED for (int gate = 0; gate < 4; gate++)
            store_numbers(l->out_kept, gates_at + (4 * r + gate) * width, gates[gate][r], terms);
    }
}

static inline __attribute__((always_inline)) void tiled_lstm_task(const TiledLstm *l, long index, const int terms) {
    const Sequences *of = &l->of;
    const Share share = share_of(l, index, 0, terms), *own = &share;
    long width = of->width, size = size_of_number(terms);
    float *c = (float *)own->room, sums[BF16_SIDE * LSTM_COLUMNS] __attribute__((aligned(64)));
    uint16_t *h = (uint16_t *)(c + BF16_SIDE * own->whole), *next = h + terms * own->term;
    const void *before = number_at(l->h0, own->first * width, terms);
    int finite = l->finite && (terms == 1 || all_finite(before, own->rows * width));
    for (long r = 0; r < own->rows; r++)
        for (long unit = 0; unit < width; unit += LANES) {
            long at = (own->first + r) * width + unit;
            store(c + r * own->whole + unit, load_numbers(l->c0, at, terms));
            store_terms(h + r * own->line + unit, own->term, load_numbers(l->h0, at, terms), terms);
        }
    if (own->tiles) bf16_begin_tiles(BF16_SIDE);
    for (long s = 0; s < of->steps; s++) {
        long t = step_at(of, s), at = (t * of->samples + own->first) * width, active = running(of, t, own->first, own->rows);
        for (long unit = 0; unit < width; unit += BF16_SIDE) {
            column_sums(l, own->tiles, finite, unit / BF16_SIDE, h, before, active, sums, 0, terms);
            for (long u = unit; u < unit + BF16_SIDE; u += LANES) {
                long r = 0;
#define ROWS(rows)                                                                                                     \
    for (; r + rows <= active; r += rows)                                                                              \
        tiled_block(l, own, sums + r * LSTM_COLUMNS + u - unit, at + r * width + u, c + r * own->whole + u,            \
                    next + r * own->line + u, rows, terms);
                ROWS(GATE_ROWS)
                ROWS(1)
#undef ROWS
            }
        }
        for (long r = active; r < own->rows; r++) {  // which have ended
            for (int term = 0; term < terms; term++)
                memcpy(next + term * own->term + r * own->line, h + term * own->term + r * own->line, (size_t)width * sizeof *h);
            memcpy((char *)l->out_h + (at + r * width) * size, number_at(before, r * width, terms), (size_t)(width * size));
            for (long unit = 0; unit < width; unit += LANES)
                store_numbers(l->out_c, at + r * width + unit, load(c + r * own->whole + unit), terms);
            memset((char *)l->out_kept + 4 * (at + r * width) * size, 0, (size_t)(4 * width * size));
        }
        before = number_at(l->out_h, at, terms);
        finite = l->finite;  // states are, or are not numbers, which terms keep
        uint16_t *free = h;
        h = next;
        next = free;
    }
    if (own->tiles) bf16_end_tiles();
}

// ---- the gradient ----

static inline __attribute__((always_inline)) void add_numbers(float *sum, long step, const void *g, long at, long rows,
                                                              long width, const int terms) {
    for (long r = 0; g && r < rows; r++)
        for (long j = 0; j < width; j += LANES)
            store(sum + r * step + j, load(sum + r * step + j) + load_numbers(g, at + r * width + j, terms));
}

// Some samples' units from `place` on, where their states lie, and `before` of those before; d are the terms of the cotangents.
static inline __attribute__((always_inline)) void tiled_grad_block(const TiledLstm *l, const Share *s, long place,
                                                                   const void *c_before, long before, const float *dh, float *dc,
                                                                   uint16_t *d, const int rows, const int terms) {
    long width = l->of.width, gates_at = place + place / width * 3 * width;
    Vector gates[4][GATE_ROWS], old[GATE_ROWS], c[GATE_ROWS], by_h[GATE_ROWS], by_c[GATE_ROWS];
    UNROLLED for (int r = 0; r < rows; r++) {
        old[r] = load_numbers(c_before, before + r * width, terms);
        c[r] = load_numbers(l->cs, place + r * width, terms);
        by_h[r] = load(dh + r * s->whole);
        by_c[r] = load(dc + r * s->whole);
        UNROLLED for (int gate = 0; gate < 4; gate++)
            gates[gate][r] = load_numbers(l->kept, gates_at + (4 * r + gate) * width, terms);
    }
    lstm_cell_grads(gates, old, c, by_h, by_c, rows);
    UNROLLED for (int r = 0; r < rows; r++) {
        store(dc + r * s->whole, by_c[r]);
        UNROLLED for (int gate = 0; gate < 4; gate++) {
            store_numbers(l->d_gates, gates_at + (4 * r + gate) * width, gates[gate][r], terms);
            store_terms(d + r * s->line + gate * width, s->term, gates[gate][r], terms);
        }
    }
}

static inline __attribute__((always_inline)) void tiled_lstm_grad_task(const TiledLstm *l, long index, const int terms) {
    const Sequences *of = &l->of;
    const Share share = share_of(l, index, 1, terms), *own = &share;
    long width = of->width, size = size_of_number(terms);
    float *dh = (float *)own->room, *dc = dh + BF16_SIDE * own->whole;
    float sums[BF16_SIDE * LSTM_COLUMNS] __attribute__((aligned(64)));
    uint16_t *d = (uint16_t *)(dc + BF16_SIDE * own->whole);
    if (own->tiles) bf16_begin_tiles(BF16_SIDE);
    for (long s = of->steps - 1; s >= 0; s--) {
        long t = step_at(of, s), at = (t * of->samples + own->first) * width, active = running(of, t, own->first, own->rows);
        const void *c_before = s ? l->cs : l->c0;
        long before = (s ? step_at(of, s - 1) * of->samples + own->first : own->first) * width;
        add_numbers(dh, own->whole, l->g_h, at, own->rows, width, terms);
        add_numbers(dc, own->whole, l->g_c, at, own->rows, width, terms);
        long r = 0;
#define ROWS(rows)                                                                                                     \
    for (; r + rows <= active; r += rows)                                                                              \
        for (long unit = 0; unit < width; unit += LANES)                                                               \
            tiled_grad_block(l, own, at + r * width + unit, c_before, before + r * width + unit,                       \
                             dh + r * own->whole + unit, dc + r * own->whole + unit, d + r * own->line + unit, rows, terms);
        ROWS(GATE_ROWS)
        ROWS(1)
#undef ROWS
        void *by_gates = (char *)l->d_gates + 4 * at * size;
        memset((char *)by_gates + 4 * active * width * size, 0, (size_t)(4 * (own->rows - active) * width * size));
        int finite = l->finite && (terms == 1 || all_finite(by_gates, 4 * active * width));
        for (long column = 0; column < width; column += LSTM_COLUMNS) {
            column_sums(l, own->tiles, finite, column / LSTM_COLUMNS, d, by_gates, active, sums, 1, terms);
            for (long r = 0; r < active; r++)
                memcpy(dh + r * own->whole + column, sums + r * LSTM_COLUMNS, LSTM_COLUMNS * sizeof *sums);
        }
    }
    if (own->tiles) bf16_end_tiles();
    for (long r = 0; r < own->rows; r++)
        for (long unit = 0; unit < width; unit += LANES) {
            long at = (own->first + r) * width + unit;
            store_numbers(l->d_h0, at, load(dh + r * own->whole + unit), terms);
            store_numbers(l->d_c0, at, load(dc + r * own->whole + unit), terms);
        }
}

// ---- both, of either type ----

#define OF_TYPE(suffix, terms)                                                                                                  \
    static void pack_for_lstm_##suffix(void *l, long block) { pack_columns(l, block, 0, terms); }                               \
    static void pack_for_lstm_grad_##suffix(void *l, long block) { pack_columns(l, block, 1, terms); }                          \
    static void lstm_task_##suffix(void *l, long index) { tiled_lstm_task(l, index, terms); }                                   \
    static void lstm_grad_task_##suffix(void *l, long index) { tiled_lstm_grad_task(l, index, terms); }                         \
    static void tiled_lstm_##suffix(TiledLstm *l, int gradient) {                                                               \
        long width = l->of.width;                                                                                               \
        l->finite = terms == 1 || all_finite(l->w_hh, 4 * width * width);                                                       \
        parallel(gradient ? pack_for_lstm_grad_##suffix : pack_for_lstm_##suffix, l, blocks_of_columns(width, gradient));       \
        parallel(gradient ? lstm_grad_task_##suffix : lstm_task_##suffix, l, recurrent_tasks(l->of.samples));                   \
    }

OF_TYPE(bfloat16, 1)
OF_TYPE(float32, FLOAT_TERMS)

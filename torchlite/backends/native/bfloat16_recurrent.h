// The LSTM of `recurrent.h` for arrays of bfloat16. Gates and states are computed in float32; what the recurrent weight is
// multiplied by, the states and in the gradient the cotangents of the gates, is rounded as it is stored. A task has as many
// samples as a tile has rows, and for each step it reads the weight, packed in tiles, once.

enum {
    LSTM_TILES = 4,  // of 16 columns, whose sums are in tile registers at once: the gates of 16 units
    LSTM_COLUMNS = LSTM_TILES * BF16_SIDE,
    LSTM_WORDS = LSTM_TILES * BF16_TILE,
};

typedef struct {
    const uint16_t *gates, *h0, *c0, *cs, *kept, *g_h, *g_c;  // g_h, g_c: NULL where there is none
    uint16_t *out_h, *out_c, *out_kept, *d_gates, *d_h0, *d_c0;
    const uint32_t *weight;  // packed
    void *scratch;           // bf16_lstm_scratch bytes a task, at a multiple of 64
    Sequences of;
} Bf16Lstm;

// sums (16 rows, 64 columns) = 16 rows of 32 `depth` numbers times packed columns, [depth][tile][pair][16 columns].
static void bf16_gate_sums(int tiles, const uint16_t *left, const uint32_t *right, long depth, float *sums) {
    long row = depth * BF16_DEPTH;
#ifdef __AMX_BF16__
    if (tiles) {
        enum { WORDS = BF16_SIDE * sizeof(uint32_t), ROW = LSTM_COLUMNS * sizeof(float) };
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
        for (long d = 0; d < depth; d++, right += LSTM_WORDS) {
            _tile_loadd(4, left + d * BF16_DEPTH, row * (long)sizeof *left);
            _tile_loadd(6, right, WORDS);
            _tile_dpbf16ps(0, 4, 6);
            _tile_loadd(7, right + BF16_TILE, WORDS);
            _tile_dpbf16ps(1, 4, 7);
            _tile_loadd(6, right + 2 * BF16_TILE, WORDS);
            _tile_dpbf16ps(2, 4, 6);
            _tile_loadd(7, right + 3 * BF16_TILE, WORDS);
            _tile_dpbf16ps(3, 4, 7);
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

static inline long bf16_depth(long k) { return parts(k, BF16_DEPTH); }

static inline long whole_columns(long width) { return parts(width, LSTM_COLUMNS) * LSTM_COLUMNS; }

// w_hh (4 width, width) for h times its transpose: blocks of 16 units, whose gates are the tiles.
static void bf16_pack_gates(const uint16_t *w_hh, long width, uint32_t *to) {
    Bf16Operand o = {.at = w_hh, .half = 1, .line_step = width, .k_step = 1};
    for (long unit = 0; unit < width; unit += BF16_SIDE)
        for (long k = 0; k < width; k += BF16_DEPTH)
            for (long gate = 0; gate < LSTM_TILES; gate++, to += BF16_TILE)
                bf16_pack_tile(&o, (gate * width + unit) * width + k, at_most(BF16_SIDE, width - unit),
                               at_most(BF16_DEPTH, width - k), 0, to);
}

// The same for d (rows, 4 width) times it: blocks of 64 units.
static void bf16_pack_units(const uint16_t *w_hh, long width, uint32_t *to) {
    Bf16Operand o = {.at = w_hh, .half = 1, .line_step = 1, .k_step = width};
    for (long column = 0; column < width; column += LSTM_COLUMNS)
        for (long k = 0; k < 4 * width; k += BF16_DEPTH)
            for (long unit = column; unit < column + LSTM_COLUMNS; unit += BF16_SIDE, to += BF16_TILE)
                bf16_pack_tile(&o, k * width + unit, at_least(at_most(BF16_SIDE, width - unit), 0),
                               at_most(BF16_DEPTH, 4 * width - k), 0, to);
}

// Bytes of the packed weight, in forward and in the gradient.
static inline long bf16_weight_bytes(long width, int gradient) {
    return gradient ? bf16_depth(4 * width) * BF16_DEPTH * whole_columns(width) * 2
                    : bf16_depth(width) * LSTM_WORDS * parts(width, BF16_SIDE) * 4;
}

// Bytes of a task: both states of its samples before and after a step; in the gradient the cotangents of states and gates.
static inline long bf16_lstm_scratch(long width, int gradient) {
    return BF16_SIDE * (gradient ? 8 * whole_columns(width) + 2 * BF16_DEPTH * bf16_depth(4 * width)
                                 : 4 * whole_columns(width) + 2 * 2 * BF16_DEPTH * bf16_depth(width));
}

static inline void bf16_round(const float *from, long count, uint16_t *to) {
#pragma omp simd
    for (long i = 0; i < count; i++) to[i] = bf16_of(from[i]);
}

static inline void bf16_widen(const uint16_t *from, long count, float *to) {
#pragma omp simd
    for (long i = 0; i < count; i++) to[i] = bf16_wide(from[i]);
}

static inline Vector bf16_load_some(const uint16_t *from, long count) {
    Vector x = {0};
#ifdef __AVX512F__
    if (count == LANES) return (Vector)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)from)), 16);
#endif
    for (long i = 0; i < count; i++) x[i] = bf16_wide(from[i]);
    return x;
}

static inline void bf16_store_some(uint16_t *to, Vector x, long count) {
#ifdef __AVX512BF16__
    if (count == LANES) {
        _mm256_storeu_si256((__m256i *)to, (__m256i)_mm512_cvtneps_pbh((__m512)x));
        return;
    }
#endif
    for (long i = 0; i < count; i++) to[i] = bf16_of(x[i]);
}

// Some rows' units from `place` on, where their states go, from the sums of their gates; `next` are the states once more.
static inline void bf16_lstm_block(const Bf16Lstm *l, const float *sums, long place, float *cells, long whole, uint16_t *next,
                                   long line, long rows, long units) {
    long width = l->of.width, gates_at = place + place / width * 3 * width;
    Vector gates[4][GATE_ROWS], c[GATE_ROWS], h[GATE_ROWS];
    UNROLLED for (int r = 0; r < GATE_ROWS; r++) {
        long row = at_most(r, rows - 1);
        c[r] = load(cells + row * whole);
        UNROLLED for (int gate = 0; gate < 4; gate++)
            gates[gate][r] = load(sums + row * LSTM_COLUMNS + gate * BF16_SIDE) +
                             bf16_load_some(l->gates + gates_at + (4 * row + gate) * width, units);
    }
    lstm_cells(gates, c, h);
    UNROLLED for (int r = 0; r < GATE_ROWS; r++) {
        if (r >= rows) break;
        store(cells + r * whole, c[r]);
        bf16_store_some(l->out_c + place + r * width, c[r], units);
        bf16_store_some(l->out_h + place + r * width, h[r], units);
        bf16_store_some(next + r * line, h[r], units);
        UNROLLED for (int gate = 0; gate < 4; gate++)
            bf16_store_some(l->out_kept + gates_at + (4 * r + gate) * width, gates[gate][r], units);
    }
}

static void bf16_lstm_task(void *argument, long index) {
    const Bf16Lstm *l = argument;
    const Sequences *of = &l->of;
    long width = of->width, each = samples_a_task(of->samples), first = index * each, rows = at_most(each, of->samples - first);
    long depth = bf16_depth(width), line = depth * BF16_DEPTH, whole = whole_columns(width);
    char *room = (char *)l->scratch + index * bf16_lstm_scratch(width, 0);
    float *c = (float *)room, sums[BF16_SIDE * LSTM_COLUMNS] __attribute__((aligned(64)));
    uint16_t *h = (uint16_t *)(c + BF16_SIDE * whole), *next = h + BF16_SIDE * line;
    int tiles = bf16_tiles_allowed();
    memset(room, 0, (size_t)bf16_lstm_scratch(width, 0));
    for (long r = 0; r < rows; r++) {
        memcpy(h + r * line, l->h0 + (first + r) * width, (size_t)width * sizeof *h);
        bf16_widen(l->c0 + (first + r) * width, width, c + r * whole);
    }
    if (tiles) bf16_begin_tiles(BF16_SIDE);
    for (long s = 0; s < of->steps; s++) {
        long t = step_at(of, s), at = (t * of->samples + first) * width, active = running(of, t, first, rows);
        for (long unit = 0; unit < width; unit += BF16_SIDE) {
            bf16_gate_sums(tiles, h, l->weight + unit / BF16_SIDE * depth * LSTM_WORDS, depth, sums);
            for (long r = 0; r < active; r += GATE_ROWS)
                for (long u = unit; u < at_most(unit + BF16_SIDE, width); u += LANES)
                    bf16_lstm_block(l, sums + r * LSTM_COLUMNS + u - unit, at + r * width + u, c + r * whole + u, whole,
                                    next + r * line + u, line, at_most(GATE_ROWS, active - r), at_most(LANES, width - u));
        }
        for (long r = active; r < rows; r++) {  // which have ended
            memcpy(next + r * line, h + r * line, (size_t)width * sizeof *h);
            memcpy(l->out_h + at + r * width, h + r * line, (size_t)width * sizeof *h);
            bf16_round(c + r * whole, width, l->out_c + at + r * width);
            memset(l->out_kept + 4 * (at + r * width), 0, (size_t)(4 * width) * sizeof *h);
        }
        uint16_t *before = h;
        h = next;
        next = before;
    }
    if (tiles) bf16_end_tiles();
}

static void bf16_add_cotangents(float *sum, long step, const uint16_t *g, long rows, long width) {
    for (long r = 0; g && r < rows; r++)
#pragma omp simd
        for (long j = 0; j < width; j++) sum[r * step + j] += bf16_wide(g[r * width + j]);
}

// Some samples' units from `place` on, where their states lie; d are the cotangents of the gates.
static inline void bf16_lstm_grad_block(const Bf16Lstm *l, long place, const uint16_t *c_before, const float *dh, float *dc,
                                        long whole, uint16_t *d, long line, long rows, long units) {
    long width = l->of.width, gates_at = place + place / width * 3 * width;
    Vector gates[4][GATE_ROWS], before[GATE_ROWS], c[GATE_ROWS], by_h[GATE_ROWS], by_c[GATE_ROWS];
    UNROLLED for (int r = 0; r < GATE_ROWS; r++) {
        long row = at_most(r, rows - 1);
        before[r] = bf16_load_some(c_before + row * width, units);
        c[r] = bf16_load_some(l->cs + place + row * width, units);
        by_h[r] = load(dh + row * whole);
        by_c[r] = load(dc + row * whole);
        UNROLLED for (int gate = 0; gate < 4; gate++)
            gates[gate][r] = bf16_load_some(l->kept + gates_at + (4 * row + gate) * width, units);
    }
    lstm_cell_grads(gates, before, c, by_h, by_c);
    UNROLLED for (int r = 0; r < GATE_ROWS; r++) {
        if (r >= rows) break;
        store(dc + r * whole, by_c[r]);
        UNROLLED for (int gate = 0; gate < 4; gate++) bf16_store_some(d + r * line + gate * width, gates[gate][r], units);
    }
}

static void bf16_lstm_grad_task(void *argument, long index) {
    const Bf16Lstm *l = argument;
    const Sequences *of = &l->of;
    long width = of->width, each = samples_a_task(of->samples), first = index * each, rows = at_most(each, of->samples - first);
    long depth = bf16_depth(4 * width), line = depth * BF16_DEPTH, whole = whole_columns(width);
    char *room = (char *)l->scratch + index * bf16_lstm_scratch(width, 1);
    float *dh = (float *)room, *dc = dh + BF16_SIDE * whole, sums[BF16_SIDE * LSTM_COLUMNS] __attribute__((aligned(64)));
    uint16_t *d = (uint16_t *)(dc + BF16_SIDE * whole);
    int tiles = bf16_tiles_allowed();
    memset(room, 0, (size_t)bf16_lstm_scratch(width, 1));
    if (tiles) bf16_begin_tiles(BF16_SIDE);
    for (long s = of->steps - 1; s >= 0; s--) {
        long t = step_at(of, s), at = (t * of->samples + first) * width, active = running(of, t, first, rows);
        const uint16_t *c_before = s ? l->cs + (step_at(of, s - 1) * of->samples + first) * width : l->c0 + first * width;
        bf16_add_cotangents(dh, whole, l->g_h ? l->g_h + at : NULL, rows, width);
        bf16_add_cotangents(dc, whole, l->g_c ? l->g_c + at : NULL, rows, width);
        for (long r = 0; r < active; r += GATE_ROWS)
            for (long unit = 0; unit < width; unit += LANES)
                bf16_lstm_grad_block(l, at + r * width + unit, c_before + r * width + unit, dh + r * whole + unit,
                                     dc + r * whole + unit, whole, d + r * line + unit, line, at_most(GATE_ROWS, active - r),
                                     at_most(LANES, width - unit));
        for (long r = 0; r < active; r++)
            memcpy(l->d_gates + 4 * (at + r * width), d + r * line, (size_t)(4 * width) * sizeof *d);
        memset(l->d_gates + 4 * (at + active * width), 0, (size_t)(4 * (rows - active) * width) * sizeof *d);
        for (long column = 0; column < width; column += LSTM_COLUMNS) {
            bf16_gate_sums(tiles, d, l->weight + column / LSTM_COLUMNS * depth * LSTM_WORDS, depth, sums);
            for (long r = 0; r < active; r++)
                memcpy(dh + r * whole + column, sums + r * LSTM_COLUMNS, LSTM_COLUMNS * sizeof *sums);
        }
    }
    if (tiles) bf16_end_tiles();
    for (long r = 0; r < rows; r++) {
        bf16_round(dh + r * whole, width, l->d_h0 + (first + r) * width);
        bf16_round(dc + r * whole, width, l->d_c0 + (first + r) * width);
    }
}

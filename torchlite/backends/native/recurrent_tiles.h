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

// What is done with the cotangents of gates after every so many steps of the gradient. Step s's terms lie at
// terms + s % slots * numbers, as long as no other's do.
typedef struct Following {
    void (*follow)(const struct Following *f, long task, long first, long count, const uint16_t *terms, long numbers);
    long steps, slots;  // at least 2 slots
    int *infinite;      // of each task, whether a cotangent of float32 was
} Following;

typedef struct {
    const void *gates, *h0, *c0, *w_hh, *cs, *kept, *g_h, *g_c;  // of bfloat16 or float32; g_h, g_c: NULL where there is none
    void *out_h, *out_c, *out_kept, *d_gates, *d_h0, *d_c0;
    void *scratch;  // tiled_lstm_scratch bytes at a multiple of 64
    Sequences of;
    const Following *following;  // NULL where there is nothing to do
    int finite;                  // whether the weight is
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

// What is multiplied lies in tiles, [32 numbers of a row][term][16 rows][number]: where number `k` of a row begins.
enum { BF16_NUMBERS = BF16_SIDE * BF16_DEPTH };
static inline long in_tiles_at(long row, long k, int terms) {
    return k / BF16_DEPTH * terms * BF16_NUMBERS + row * BF16_DEPTH + k % BF16_DEPTH;
}

static inline __attribute__((always_inline)) void store_terms(uint16_t *to, Vector x, const int terms) {
    UNROLLED for (int term = 0; term < terms; term++) x = store_half(to + term * BF16_NUMBERS, x);
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

// Bytes of the packed weight.
static inline long weight_bytes(long width, int gradient, int terms) {
    return 4 * blocks_of_columns(width, gradient) * words_of_block(width, gradient, terms);
}

// Bytes of a task: states or their cotangents, and the terms of what is multiplied, before and after a step, or so many steps.
static inline long tiled_task_bytes(long width, int gradient, int terms, long steps) {
    long states = BF16_SIDE * (gradient ? 8 : 4) * whole_columns(width);
    return states + 2 * steps * tiles_deep(width, gradient) * terms * BF16_NUMBERS;
}

static inline long tiled_lstm_scratch(long samples, long width, int gradient, int terms, long steps) {
    return weight_bytes(width, gradient, terms) + recurrent_tasks(samples) * tiled_task_bytes(width, gradient, terms, steps);
}

static inline long steps_in_terms(const TiledLstm *l) { return l->following ? l->following->slots : 2; }

static inline __attribute__((always_inline)) void pack_columns(const TiledLstm *l, long block, int gradient, const int terms) {
    long words = words_of_block(l->of.width, gradient, terms);
    uint32_t *to = (uint32_t *)l->scratch + block * words;
    Columns c = columns_of(l->of.width, block, gradient);
    Bf16Operand o = {.at = l->w_hh, .half = terms == 1, .line_step = c.line_step, .k_step = c.k_step};
    int along = c.k_step == 1;
    float x[BF16_NUMBERS];
    for (long k = 0; k < c.k; k += BF16_DEPTH, to += terms * LSTM_WORDS)
        for (int tile = 0; tile < LSTM_TILES; tile++) {
            long at = c.at + tile * c.tile_step + k * c.k_step, depth = at_most(BF16_DEPTH, c.k - k);
            if (terms == 1) {
                bf16_pack_tile(&o, at, c.lines[tile], depth, 0, to + tile * BF16_TILE);
                continue;
            }
            bf16_stage(&o, at, c.lines[tile], depth, along, x);
            for (int term = 0; term < terms; term++) {
                bf16_pack_rows(x, 0, along ? BF16_DEPTH : BF16_SIDE, along, 0, to + term * LSTM_WORDS + tile * BF16_TILE);
                for (int i = 0; i < BF16_NUMBERS; i++) x[i] -= bf16_rounded(x[i]);
            }
        }
}

// ---- products, and work beside them ----

// The tiles of one depth: of rows, and of packed columns.
typedef struct { const uint16_t *left; const uint32_t *right; } Depth;

// Work in pieces that vectors do while tile registers multiply: a piece, where it is given the tiles of one depth, also multiplies
// them, some after each of its parts, because a processor does not look ahead over a whole piece. The first `alone` depths need
// nothing that the work leaves, others `each` pieces more.
typedef void (*Piece)(void *of, long index, const Depth *depth);
typedef struct {
    Piece piece;
    void *of;
    long next, count, alone, each;
} Beside;

static inline void do_pieces(Beside *b, long count) {
    for (; b->next < at_most(count, b->count); b->next++) b->piece(b->of, b->next, NULL);
}

#ifdef __AMX_BF16__
static inline __attribute__((always_inline)) void load_rows(const Depth *depth, const int terms) {
    enum { ROW = BF16_SIDE * sizeof(uint32_t) };
    _tile_loadd(4, depth->left, ROW);
    if (terms > 1) _tile_loadd(5, depth->left + BF16_NUMBERS, ROW);
    if (terms > 2) _tile_loadd(6, depth->left + 2 * BF16_NUMBERS, ROW);
}

// Tile registers 0 to 3 += the rows times some of the columns' tiles, which are needed once and go past the first-level cache.
static inline __attribute__((always_inline)) void multiply_tiles(const Depth *depth, const int first, const int last,
                                                                 const int terms) {
    UNROLLED for (int i = first; i < last; i++) {
        const int term = i % terms;  // of 1 or 3, so that each meets all 4 tiles
        _tile_stream_loadd(7, depth->right + (term * LSTM_TILES + i % LSTM_TILES) * BF16_TILE, BF16_SIDE * sizeof(uint32_t));
#define SUMS(tile)                                                                                                     \
    if (i % LSTM_TILES == tile) {                                                                                      \
        _tile_dpbf16ps(tile, 4, 7);                                                                                    \
        if (terms - term > 1) _tile_dpbf16ps(tile, 5, 7);                                                              \
        if (terms - term > 2) _tile_dpbf16ps(tile, 6, 7);                                                              \
    }
        SUMS(0)
        SUMS(1)
        SUMS(2)
        SUMS(3)
#undef SUMS
    }
}
#else
static inline void load_rows(const Depth *depth, int terms) { (void)depth, (void)terms; }
static inline void multiply_tiles(const Depth *depth, int first, int last, int terms) {
    (void)depth, (void)first, (void)last, (void)terms;
}
#endif

static inline __attribute__((always_inline)) void multiply_depth(const Depth *depth, const int terms) {
    load_rows(depth, terms);
    multiply_tiles(depth, 0, LSTM_TILES * terms, terms);
}

// The share of a depth that is multiplied before one of some parts of a piece.
static inline __attribute__((always_inline)) void multiply_beside(const Depth *depth, const int part, const int all,
                                                                  const int terms) {
    if (depth) multiply_tiles(depth, LSTM_TILES * terms * part / all, LSTM_TILES * terms * (part + 1) / all, terms);
}

// sums (16 rows, 64 columns) = rows times packed columns, [tile][term][column]. Tiles are taken from `stretches` stretches of the
// depth in turn.
static inline __attribute__((always_inline)) void tile_sums(int tiles, const uint16_t *left, const uint32_t *right, long depth,
                                                            long stretches, float *sums, long sums_step, Beside *beside,
                                                            const int terms) {
#ifdef __AMX_BF16__
    if (tiles) {
        __asm__ volatile("" ::: "memory");  // compilers don't know what tiles are loaded from
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
        for (long i = 0; i < depth; i++) {
            long d = i % stretches * (depth / stretches) + i / stretches;
            const Depth at = {left + d * terms * BF16_NUMBERS, right + d * terms * LSTM_WORDS};
            if (i >= beside->alone) do_pieces(beside, ((i - beside->alone) / stretches + 1) * beside->each);
            if (beside->next < beside->count) beside->piece(beside->of, beside->next++, &at);
            else multiply_depth(&at, terms);
        }
        _tile_stored(0, sums, sums_step * sizeof *sums);
        _tile_stored(1, sums + BF16_SIDE, sums_step * sizeof *sums);
        _tile_stored(2, sums + 2 * BF16_SIDE, sums_step * sizeof *sums);
        _tile_stored(3, sums + 3 * BF16_SIDE, sums_step * sizeof *sums);
        return;
    }
#else
    (void)tiles, (void)stretches;
#endif
    do_pieces(beside, beside->count);
    if (terms > 1) return;  // only where there are tiles
    for (int first = 0; first < BF16_SIDE; first += BF16_ROWS)
        for (int column = 0; column < LSTM_COLUMNS; column += BF16_WIDE) {
            const uint32_t *words = right + column / BF16_SIDE * BF16_TILE + column % BF16_SIDE;
            Bf16Sums sum[BF16_ROWS];
            UNROLLED for (int r = 0; r < BF16_ROWS; r++) sum[r] = (Bf16Sums){0};
            for (long d = 0; d < depth; d++)
                for (long pair = 0; pair < BF16_SIDE; pair++)
                    UNROLLED for (int r = 0; r < BF16_ROWS; r++)
                        sum[r] = bf16_dot(sum[r], bf16_pair(left + in_tiles_at(first + r, d * BF16_DEPTH + 2 * pair, terms)),
                                          words + d * LSTM_WORDS + pair * BF16_SIDE);
            UNROLLED for (int r = 0; r < BF16_ROWS; r++) store(sums + (first + r) * sums_step + column, (Vector)sum[r]);
        }
}

// The same where something is infinite.
static void plain_sums(const float *left, const float *weight, const Columns *c, long rows, float *sums, long sums_step) {
    for (long r = 0; r < rows; r++)
        for (int tile = 0; tile < LSTM_TILES; tile++)
            for (long line = 0; line < c->lines[tile]; line++) {
                const float *column = weight + c->at + tile * c->tile_step + line * c->line_step;
                float sum = 0.0f;
                for (long k = 0; k < c->k; k++) sum += left[r * c->k + k] * column[k * c->k_step];
                sums[r * sums_step + tile * BF16_SIDE + line] = sum;
            }
}

typedef struct { float *at; long step; } SumRows;  // where sums go

static inline __attribute__((always_inline)) void column_sums(const TiledLstm *l, int tiles, int finite, long block,
                                                              const uint16_t *left, const void *numbers, long rows, SumRows sums,
                                                              int gradient, Beside *beside, const int terms) {
    long width = l->of.width, whole = gradient && width % LSTM_COLUMNS == 0;
    if (terms > 1 && !finite) {
        Columns c = columns_of(width, block, gradient);
        do_pieces(beside, beside->count);
        plain_sums(numbers, l->w_hh, &c, rows, sums.at, sums.step);
        return;
    }
    tile_sums(tiles, left, (const uint32_t *)l->scratch + block * words_of_block(width, gradient, terms),
              tiles_deep(width, gradient), whole ? 4 : 1, sums.at, sums.step, beside, terms);
    do_pieces(beside, beside->count);
}

// ---- forward ----

enum { CELL_PARTS = 6 };  // of a block of cells, before which some tiles are multiplied

// Where a task's samples lie in its memory: rows of whole blocks of columns, and so many numbers in tiles.
typedef struct { long first, rows, whole, numbers; char *room; int tiles; } Share;

static inline Share share_of(const TiledLstm *l, long index, int gradient, int terms) {
    long width = l->of.width, each = samples_a_task(l->of.samples), first = index * each;
    long numbers = tiles_deep(width, gradient) * terms * BF16_NUMBERS, bytes = tiled_task_bytes(width, gradient, terms, steps_in_terms(l));
    char *room = (char *)l->scratch + weight_bytes(width, gradient, terms) + index * bytes;
    memset(room, 0, (size_t)bytes);
    return (Share){first, at_most(each, l->of.samples - first), whole_columns(width), numbers, room,
                   bf16_tiles_allowed()};
}

// Some samples' units from `place` on, where their states go, from the sums of their gates; `next` are the states' terms.
static inline __attribute__((always_inline)) void tiled_block(const TiledLstm *l, const Share *s, const float *sums, long place,
                                                              float *cells, uint16_t *next, const Depth *depth, const int rows,
                                                              const int terms) {
    long width = l->of.width, gates_at = place + place / width * 3 * width;
    Vector gates[4][GATE_ROWS], c[GATE_ROWS], h[GATE_ROWS];
    if (depth) load_rows(depth, terms);
    UNROLLED for (int gate = 0; gate < 4; gate++) {
        multiply_beside(depth, gate, CELL_PARTS, terms);
        UNROLLED for (int r = 0; r < rows; r++)
            gates[gate][r] = load(sums + r * LSTM_COLUMNS + gate * BF16_SIDE) +
                             load_numbers(l->gates, gates_at + (4 * r + gate) * width, terms);
        gate_values(gate, gates[gate], rows);
        UNROLLED for (int r = 0; r < rows; r++)
            store_numbers(l->out_kept, gates_at + (4 * r + gate) * width, gates[gate][r], terms);
        if (gate != 2) continue;
        UNROLLED for (int r = 0; r < rows; r++) c[r] = load(cells + r * s->whole);
        new_cells(gates, c, rows);
        UNROLLED for (int r = 0; r < rows; r++) {
            h[r] = c[r];
            store(cells + r * s->whole, c[r]);
            store_numbers(l->out_c, place + r * width, c[r], terms);
        }
    }
    multiply_beside(depth, 4, CELL_PARTS, terms);
    tanhs(h, rows);
    multiply_beside(depth, 5, CELL_PARTS, terms);
    UNROLLED for (int r = 0; r < rows; r++) {
        h[r] = h[r] * gates[3][r];
        store_numbers(l->out_h, place + r * width, h[r], terms);
        store_terms(next + r * BF16_DEPTH, h[r], terms);
    }
}

// Cells of 16 units that wait for being computed, from the sums of their gates.
typedef struct {
    const TiledLstm *l;
    const Share *own;
    long place, active, unit;  // of the first sample, and how many there are; the first unit
    const float *sums;
    float *cells;
    uint16_t *next;
} Cells;

static inline __attribute__((always_inline)) void cells_piece(void *of, long index, const Depth *depth, const int terms) {
    const Cells *c = of;
    long groups = parts(c->active, GATE_ROWS), r = index % groups * GATE_ROWS, unit = index / groups * LANES;
    long last = at_most(r + GATE_ROWS, c->active), width = c->l->of.width;
#define ROWS(rows, depth)                                                                                              \
    tiled_block(c->l, c->own, c->sums + r * LSTM_COLUMNS + unit, c->place + r * width + unit,                          \
                c->cells + r * c->own->whole + unit, c->next + in_tiles_at(r, c->unit + unit, terms), depth, rows, terms)
    if (last - r == GATE_ROWS && depth) {
        ROWS(GATE_ROWS, depth);
        return;
    }
    if (depth) multiply_depth(depth, terms);
    if (last - r == GATE_ROWS) ROWS(GATE_ROWS, NULL);
    else
        for (; r < last; r++) ROWS(1, NULL);
#undef ROWS
}

// While the gates of 16 units are multiplied, the cells of the 16 before are computed, at the first units those of the last step.
static inline __attribute__((always_inline)) void tiled_lstm_task(const TiledLstm *l, long index, Piece piece, const int terms) {
    const Sequences *of = &l->of;
    const Share share = share_of(l, index, 0, terms), *own = &share;
    long width = of->width, size = size_of_number(terms), groups = BF16_SIDE / LANES;
    float *c = (float *)own->room, sums[2][BF16_SIDE * LSTM_COLUMNS] __attribute__((aligned(64)));
    float *free_sums = sums[0];
    uint16_t *h = (uint16_t *)(c + BF16_SIDE * own->whole), *next = h + own->numbers;
    const void *before = number_at(l->h0, own->first * width, terms);
    int finite = l->finite && (terms == 1 || all_finite(before, own->rows * width));
    for (long r = 0; r < own->rows; r++)
        for (long unit = 0; unit < width; unit += LANES) {
            long at = (own->first + r) * width + unit;
            store(c + r * own->whole + unit, load_numbers(l->c0, at, terms));
            store_terms(h + in_tiles_at(r, unit, terms), load_numbers(l->h0, at, terms), terms);
        }
    if (own->tiles) bf16_begin_tiles(BF16_SIDE);
    Cells cells;
    Beside waiting = {0};
    for (long s = 0; s < of->steps; s++) {
        long t = step_at(of, s), at = (t * of->samples + own->first) * width, active = running(of, t, own->first, own->rows);
        for (long unit = 0; unit < width; unit += BF16_SIDE) {
            float *ready = free_sums;
            waiting.alone = unit ? tiles_deep(width, 0) : (width - BF16_SIDE) / BF16_DEPTH;
            column_sums(l, own->tiles, finite, unit / BF16_SIDE, h, before, active, (SumRows){ready, LSTM_COLUMNS}, 0, &waiting,
                        terms);
            cells = (Cells){l, own, at + unit, active, unit, ready, c + unit, next};
            long pieces = groups * parts(active, GATE_ROWS);
            waiting = (Beside){piece, &cells, 0, pieces, 0, pieces};
            free_sums = ready == sums[0] ? sums[1] : sums[0];
        }
        for (long r = active; r < own->rows; r++) {  // which have ended
            for (long i = r * BF16_DEPTH; i < own->numbers; i += BF16_NUMBERS) memcpy(next + i, h + i, BF16_DEPTH * sizeof *h);
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
    do_pieces(&waiting, waiting.count);
    if (own->tiles) bf16_end_tiles();
}

// ---- the gradient ----

enum { GRAD_PARTS = 5 };  // of a block of cells, before which some tiles are multiplied

// A step of the gradient: where its samples lie, and of the cells before. `infinite` is zero as long as the gates' cotangents are
// finite.
typedef struct {
    const TiledLstm *l;
    const Share *own;
    long at, active;
    const void *c_before;
    long before;
    long column;  // of the block of units that waits
    float *dh, *dc;
    uint16_t *d;  // terms of the gates' cotangents
    Vector infinite;
} GradCells;

static inline __attribute__((always_inline)) void begin_step(GradCells *g, long s) {
    const Sequences *of = &g->l->of;
    long t = step_at(of, s), first = g->own->first;
    g->at = (t * of->samples + first) * of->width;
    g->active = running(of, t, first, g->own->rows);
    g->c_before = s ? g->l->cs : g->l->c0;
    g->before = (s ? step_at(of, s - 1) * of->samples + first : first) * of->width;
    g->infinite = (Vector){0};
}

static inline long units_of_block(const GradCells *g) { return at_most(LSTM_COLUMNS, g->l->of.width - g->column); }

static inline __attribute__((always_inline)) void add_numbers(const GradCells *g, float *sum, const void *given,
                                                              const int terms) {
    for (long r = 0; given && r < g->own->rows; r++)
        for (long j = g->column; j < g->column + units_of_block(g); j += LANES) {
            float *to = sum + r * g->own->whole + j;
            store(to, load(to) + load_numbers(given, g->at + r * g->l->of.width + j, terms));
        }
}

// The cells of a block of units, which wait for being computed, `alone` depths of what is multiplied meanwhile not for them.
static inline __attribute__((always_inline)) Beside begin_block(GradCells *g, long block, Piece piece, long alone,
                                                                const int terms) {
    long groups = parts(g->active, GATE_ROWS);
    g->column = block * LSTM_COLUMNS;
    add_numbers(g, g->dh, g->l->g_h, terms);
    add_numbers(g, g->dc, g->l->g_c, terms);
    return (Beside){piece, g, 0, groups * (units_of_block(g) / LANES), alone, groups * (BF16_DEPTH / LANES)};
}

// Some samples' units from `unit` on.
static inline __attribute__((always_inline)) void tiled_grad_block(GradCells *g, long first, long unit, const Depth *depth,
                                                                   const int rows, const int terms) {
    const TiledLstm *l = g->l;
    const Share *s = g->own;
    long width = l->of.width, place = g->at + first * width + unit, gates_at = g->at * 4 + first * 4 * width + unit;
    float *dh = g->dh + first * s->whole + unit, *dc = g->dc + first * s->whole + unit;
    Vector gates[4][GATE_ROWS], old[GATE_ROWS], c[GATE_ROWS], by_h[GATE_ROWS], by_c[GATE_ROWS], d[GATE_ROWS], infinite = {0};
    if (depth) load_rows(depth, terms);
    multiply_beside(depth, 0, GRAD_PARTS, terms);
    UNROLLED for (int r = 0; r < rows; r++) c[r] = load_numbers(l->cs, place + r * width, terms);
    tanhs(c, rows);
    UNROLLED for (int gate = 3; gate >= 0; gate--) {  // what a gate needs is loaded where it is needed: registers are scarce
        multiply_beside(depth, GRAD_PARTS - 1 - gate, GRAD_PARTS, terms);
        UNROLLED for (int r = 0; r < rows; r++) {
            if (gate == 3) {
                by_h[r] = load(dh + r * s->whole);
                by_c[r] = load(dc + r * s->whole);
            }
            if (gate == 2) gates[0][r] = load_numbers(l->kept, gates_at + 4 * r * width, terms);
            if (gate == 1) old[r] = load_numbers(g->c_before, g->before + (first + r) * width + unit, terms);
            if (gate) gates[gate][r] = load_numbers(l->kept, gates_at + (4 * r + gate) * width, terms);
        }
        if (gate == 3) through_states(gates, c, by_h, by_c, rows);
        through_gate(gate, gates, old, c, by_h, by_c, d, rows);
        UNROLLED for (int r = 0; r < rows; r++) {
            if (gate == 1) store(dc + r * s->whole, by_c[r] * gates[1][r]);
            store_numbers(l->d_gates, gates_at + (4 * r + gate) * width, d[r], terms);
            store_terms(g->d + in_tiles_at(first + r, gate * width + unit, terms), d[r], terms);
            if (terms > 1) infinite += d[r] * 0.0f;
        }
    }
    if (terms > 1) g->infinite += infinite;
}

static inline __attribute__((always_inline)) void grad_cells_piece(void *of, long index, const Depth *depth, const int terms) {
    GradCells *g = of;
    long groups = parts(g->active, GATE_ROWS), r = index % groups * GATE_ROWS, last = at_most(r + GATE_ROWS, g->active);
    long unit = g->column + index / groups * LANES;
    if (last - r == GATE_ROWS && depth) {
        tiled_grad_block(g, r, unit, depth, GATE_ROWS, terms);
        return;
    }
    if (depth) multiply_depth(depth, terms);
    if (last - r == GATE_ROWS) tiled_grad_block(g, r, unit, NULL, GATE_ROWS, terms);
    else
        for (; r < last; r++) tiled_grad_block(g, r, unit, NULL, 1, terms);
}

static inline int is_zero(Vector x) {
    int zero = 1;
    for (int i = 0; i < LANES; i++) zero &= x[i] == 0.0f;
    return zero;
}

// A step multiplies blocks of columns one after the other, which are the states' cotangents of as many units. While the first is
// multiplied, the cells of the step's last units are computed, and while others are, those of the step before, of the units of
// the block before.
static inline __attribute__((always_inline)) void tiled_lstm_grad_task(const TiledLstm *l, long index, Piece piece,
                                                                       const int terms) {
    const Sequences *of = &l->of;
    const Share share = share_of(l, index, 1, terms), *own = &share;
    long width = of->width, size = size_of_number(terms), depth = tiles_deep(width, 1), blocks = blocks_of_columns(width, 1);
    long alone = width % LSTM_COLUMNS ? 0 : depth - 4 * LSTM_COLUMNS / BF16_DEPTH;
    float sums[BF16_SIDE * LSTM_COLUMNS] __attribute__((aligned(64)));
    float *dh = (float *)own->room, *dc = dh + BF16_SIDE * own->whole;
    uint16_t *all = (uint16_t *)(dc + BF16_SIDE * own->whole);
    GradCells cells = {.l = l, .own = own, .dh = dh, .dc = dc};
#define TERMS_OF(s) (all + (s) % steps_in_terms(l) * own->numbers)
    if (own->tiles) bf16_begin_tiles(BF16_SIDE);
    if (of->steps) {
        begin_step(&cells, of->steps - 1);
        cells.d = TERMS_OF(of->steps - 1);
    }
    for (long block = 0; of->steps && block < blocks - 1; block++) {
        Beside first = begin_block(&cells, block, piece, 0, terms);
        do_pieces(&first, first.count);
    }
    for (long s = of->steps - 1; s >= 0; s--) {
        long active = cells.active;
        uint16_t *d = TERMS_OF(s);
        void *by_gates = (char *)l->d_gates + 4 * cells.at * size;
        int finite = l->finite;
        for (long block = 0; block < blocks; block++) {
            Beside waiting = {0};
            if (!block) waiting = begin_block(&cells, blocks - 1, piece, alone, terms);
            else if (s) waiting = begin_block(&cells, block - 1, piece, depth, terms);
            SumRows to = active == BF16_SIDE ? (SumRows){dh + block * LSTM_COLUMNS, own->whole} : (SumRows){sums, LSTM_COLUMNS};
            column_sums(l, own->tiles, finite, block, d, by_gates, active, to, 1, &waiting, terms);
            if (!block) {
                finite = l->finite && is_zero(cells.infinite);
                if (!finite) column_sums(l, own->tiles, finite, block, d, by_gates, active, to, 1, &waiting, terms);
                if (l->following && !is_zero(cells.infinite)) l->following->infinite[index] = 1;
                cells.d = TERMS_OF(s + steps_in_terms(l) - 1);
                if (s) begin_step(&cells, s - 1);
            }
            for (long r = 0; to.at == sums && r < active; r++)
                memcpy(dh + r * own->whole + block * LSTM_COLUMNS, sums + r * LSTM_COLUMNS, sizeof sums / BF16_SIDE);
        }
        memset((char *)by_gates + 4 * active * width * size, 0, (size_t)(4 * (own->rows - active) * width * size));
        if (!l->following) continue;
        for (long r = active; r < own->rows; r++)
            for (long i = r * BF16_DEPTH; i < own->numbers; i += BF16_NUMBERS) memset(d + i, 0, BF16_DEPTH * sizeof *d);
        if (s % l->following->steps == 0)
            l->following->follow(l->following, index, s, at_most(l->following->steps, of->steps - s), all, own->numbers);
    }
#undef TERMS_OF
    if (own->tiles) bf16_end_tiles();
    for (long r = 0; r < own->rows; r++)
        for (long unit = 0; unit < width; unit += LANES) {
            long at = (own->first + r) * width + unit;
            store_numbers(l->d_h0, at, load(dh + r * own->whole + unit), terms);
            store_numbers(l->d_c0, at, load(dc + r * own->whole + unit), terms);
        }
}

// ---- both, of either type ----

// The weight is packed, and then the samples' tasks run.
static inline void run_tiled(TiledLstm *l, Task pack, Task task, int gradient, int terms) {
    long width = l->of.width;
    l->finite = terms == 1 || all_finite(l->w_hh, 4 * width * width);
    parallel(pack, l, blocks_of_columns(width, gradient));
    parallel(task, l, recurrent_tasks(l->of.samples));
}

// Who calls one direction does not wait for the other to be compiled.
#define OF_TYPE(suffix, terms)                                                                                             \
    static void pack_for_lstm_##suffix(void *l, long block) { pack_columns(l, block, 0, terms); }                          \
    static void pack_for_lstm_grad_##suffix(void *l, long block) { pack_columns(l, block, 1, terms); }                     \
    static void cells_##suffix(void *of, long index, const Depth *depth) { cells_piece(of, index, depth, terms); }         \
    static void grad_cells_##suffix(void *of, long index, const Depth *depth) {                                            \
        grad_cells_piece(of, index, depth, terms);                                                                         \
    }                                                                                                                      \
    static void lstm_task_##suffix(void *l, long index) { tiled_lstm_task(l, index, cells_##suffix, terms); }              \
    static void lstm_grad_task_##suffix(void *l, long index) { tiled_lstm_grad_task(l, index, grad_cells_##suffix, terms); } \
    static void tiled_lstm_##suffix(TiledLstm *l) {                                                                        \
        run_tiled(l, pack_for_lstm_##suffix, lstm_task_##suffix, 0, terms);                                                \
    }                                                                                                                      \
    static void tiled_lstm_grad_##suffix(TiledLstm *l) {                                                                   \
        run_tiled(l, pack_for_lstm_grad_##suffix, lstm_grad_task_##suffix, 1, terms);                                      \
    }

OF_TYPE(bfloat16, 1)
OF_TYPE(float32, FLOAT_TERMS)

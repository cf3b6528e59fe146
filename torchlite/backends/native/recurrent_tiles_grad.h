// The gradient of the LSTM of `recurrent_tiles.h`, in the same tiles: the gates' cotangents, which are rounded as they are stored
// where they are of bfloat16, times the recurrent weight are the cotangents of the states before.

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
    const Samples samples = {of, own->first, own->rows, size};
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
        Needed needed = own->tiles ? (Needed){0} : need_backward(&samples, s - 1, 4, l->kept, l->cs, l->g_h, l->d_gates, NULL);
        for (long block = 0; block < blocks; block++) {
            Beside waiting = {0};
            if (!block) waiting = begin_block(&cells, blocks - 1, piece, alone, terms);
            else if (s) waiting = begin_block(&cells, block - 1, piece, depth, terms);
            SumRows to = active == BF16_SIDE ? (SumRows){dh + block * LSTM_COLUMNS, own->whole} : (SumRows){sums, LSTM_COLUMNS};
            column_sums(l, own->tiles, finite, block, d, by_gates, active, to, 1, &waiting, &needed, terms);
            if (!block) {
                finite = l->finite && is_zero(cells.infinite);
                if (!finite) column_sums(l, own->tiles, finite, block, d, by_gates, active, to, 1, &waiting, &needed, terms);
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

#define GRADIENT(suffix, terms)                                                                                        \
    static void pack_for_lstm_grad_##suffix(void *l, long block) { pack_columns(l, block, 1, terms); }                 \
    static void grad_cells_##suffix(void *of, long index, const Depth *depth) {                                        \
        grad_cells_piece(of, index, depth, terms);                                                                     \
    }                                                                                                                  \
    static void lstm_grad_task_##suffix(void *l, long index) { tiled_lstm_grad_task(l, index, grad_cells_##suffix, terms); } \
    static void tiled_lstm_grad_##suffix(TiledLstm *l) {                                                               \
        run_tiled(l, pack_for_lstm_grad_##suffix, lstm_grad_task_##suffix, 1, terms);                                  \
    }

GRADIENT(bfloat16, 1)
GRADIENT(float32, FLOAT_TERMS)
#undef GRADIENT

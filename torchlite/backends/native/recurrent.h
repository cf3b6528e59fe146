// LSTM and GRU over whole sequences. Samples are divided among tasks, so nobody waits for anybody between steps, and the
// recurrent weight stays in the second-level cache. It is packed in panels in which the gates of LANES units lie side by
// side, an LSTM's in two pairs one after the other, as they are multiplied, so a tile of the product holds all gates of a few
// samples, and states follow while it is in the first-level cache.
//
// What forward leaves for the gradient, `kept`, are the values of the gates: i, f, g, o of an LSTM; r, z, n and the state's
// share of n before r of a GRU. Sequences are sorted by length, longest first; batch_sizes says how many each step has.

enum {
    MOST_GATES = 4,
    GATE_ROWS = REGISTERS >= 32 ? 4 : 2,  // whose cells are computed at once; in an LSTM's gradient so many vectors of a row
    SUM_ROWS = 2 * GATE_ROWS,             // whose sums of two or three gates are in registers at once
};

typedef struct {
    const int64_t *batch_sizes;  // NULL where all steps have all samples
    long steps, samples, width, reverse;
} Sequences;

typedef struct {
    const float *gates, *h0, *c0, *bias, *hs, *cs, *kept, *g_h, *g_c;  // g_h, g_c, bias: NULL where there is none; h0: or zeros
    float *out_h, *out_c, *out_kept, *d_gates, *d_own, *d_h0, *d_c0, *scratch;  // d_h0, d_c0: NULL where nobody wants them
    const float *panels;  // of the weight, packed in forward, its rows filled up to whole vectors in the gradient
    const Embedding *taken;  // NULL, or whose numbers say which row of the gates of an LSTM each sample has at each step
    Sequences of;
    const float *inputs;  // of an LSTM that multiplies them by a weight in the panels, (steps, samples, columns); `gates` are biases
    const float *w_ih;    // this weight, (4 width, columns), where the gradient multiplies by it; columns are whole vectors
    float *d_inputs;      // what comes of it, or NULL
    float *d_bias;        // the sums of all cotangents of gates, or NULL; tasks leave theirs in `scratch`
    long columns;
} Recurrent;

// Where the gates of units of an LSTM that lie at `place` begin, `r` samples on.
static inline __attribute__((always_inline)) long gates_of(const Embedding *taken, long width, long place, int r) {
    long row = place / width;
    return taken ? 4 * row_of(taken, row + r) * width + place % width : place + (3 * row + 4 * r) * width;
}

static inline void copy_units(const float *from, long units, float *to) {
    if (units == LANES) store(to, load(from));
    else memcpy(to, from, (size_t)units * sizeof *to);
}

// So many samples that two tasks or more have work; the numbers of a sample depend on no other.
static inline long samples_a_task(long samples) { return samples >= 32 ? 16 : samples >= 16 ? 8 : 4; }

static inline long step_at(const Sequences *of, long s) { return of->reverse ? of->steps - 1 - s : s; }

// How many of a task's samples a step has.
static inline long running(const Sequences *of, long t, long first, long rows) {
    return of->batch_sizes ? at_least(at_most(of->batch_sizes[t] - first, rows), 0) : rows;
}

// Samples of a task, whose numbers have so many bytes.
typedef struct { const Sequences *of; long first, rows, size; } Samples;

// What a task has of an array at a step, so many numbers a unit, will be needed.
static inline void need_step(Needed *a, const Samples *own, long s, const void *array, long numbers) {
    const Sequences *of = own->of;
    long bytes = of->width * numbers * own->size;
    if (array && s >= 0 && s < of->steps)
        add_stretch(a, (const char *)array + (step_at(of, s) * of->samples + own->first) * bytes, own->rows * bytes);
}

// What step s of a layer of so many gates reads and writes, if there is one; c, or the gates: NULL where there are none.
static inline Needed need_forward(const Samples *own, long s, long gates, const void *sums, const void *kept, const void *h,
                                 const void *c) {
    Needed a = {0};
    need_step(&a, own, s, sums, gates);
    need_step(&a, own, s, kept, 4);
    need_step(&a, own, s, h, 1);
    need_step(&a, own, s, c, 1);
    return a;
}

// What it reads and writes in the gradient; d_own, g_h: NULL where there is none.
static inline Needed need_backward(const Samples *own, long s, long gates, const void *kept, const void *states, const void *g_h,
                                  const void *d_gates, const void *d_own) {
    Needed a = {0};
    need_step(&a, own, s, kept, 4);
    need_step(&a, own, s, d_gates, gates);
    need_step(&a, own, s, d_own, gates);
    need_step(&a, own, s, g_h, 1);
    need_step(&a, own, s - 1, states, 1);
    return a;
}

// How many gates of a panel lie side by side.
static inline __attribute__((always_inline)) long gates_beside(long gates) { return gates == 4 ? 2 : gates; }

// w_ih (gates * width, columns), if there is one, and w_hh (gates * width, width) as
// [LANES units][gates, or pairs][columns + width][gate][unit], filled up with zeros.
typedef struct { const float *w_hh; long gates, width; float *panels; const float *w_ih; long columns; } GatePanels;

static void pack_gates_task(void *argument, long index) {
    const GatePanels *p = argument;
    long width = p->width, unit = index * LANES, beside = gates_beside(p->gates), own = at_most(LANES, width - unit);
    long deep = p->columns + width;
    float *panel = p->panels + unit * p->gates * deep;
    if (own < LANES) memset(panel, 0, (size_t)(deep * p->gates * LANES) * sizeof *panel);
    for (long gate = 0; gate < p->gates; gate++) {
        float *to = panel + (gate / beside * deep * beside + gate % beside) * LANES;
        long row = gate * width + unit;
        if (p->columns) transpose_rows(p->w_ih + row * p->columns, p->columns, own, p->columns, 1.0f, to, beside * LANES);
        transpose_rows(p->w_hh + row * width, width, own, width, 1.0f, to + p->columns * beside * LANES, beside * LANES);
    }
}

static void pack_gates(const float *w_hh, long gates, long width, float *panels) {
    GatePanels p = {w_hh, gates, width, panels, NULL, 0};
    parallel(pack_gates_task, &p, parts(width, LANES));
}

// The same with the weight of an LSTM's inputs.
static inline void pack_both(const float *w_hh, const float *w_ih, long columns, long width, float *panels) {
    GatePanels p = {w_hh, 4, width, panels, w_ih, columns};
    parallel(pack_gates_task, &p, parts(width, LANES));
}

// sums (rows, vectors) += left (rows, k) right (k, vectors), all in registers; each with the step between its rows, and the right
// one with that between pairs of its vectors.
static inline __attribute__((always_inline)) void add_product(const int rows, const int vectors, const float *left, long left_row,
                                                              const float *right, long right_row, long right_pair, long k,
                                                              float *sums, long sums_row, Needed *needed) {
    Vector sum[SUM_ROWS][MOST_GATES];
    Lines lines = needed_lines(needed, k, left);
    UNROLLED for (int r = 0; r < rows; r++)
        UNROLLED for (int v = 0; v < vectors; v++) sum[r][v] = load(sums + r * sums_row + v * LANES);
    for (long i = 0; i < k; i++) {
        Vector row[MOST_GATES];
        fetch_line(&lines);
        UNROLLED for (int v = 0; v < vectors; v++) row[v] = load(right + i * right_row + v / 2 * right_pair + v % 2 * LANES);
        UNROLLED for (int r = 0; r < rows; r++)
            UNROLLED for (int v = 0; v < vectors; v++) sum[r][v] += left[r * left_row + i] * row[v];
    }
    UNROLLED for (int r = 0; r < rows; r++)
        UNROLLED for (int v = 0; v < vectors; v++) store(sums + r * sums_row + v * LANES, sum[r][v]);
}

// tile (rows, gates, LANES) += states (rows, width) times a panel, whose pairs are `deep` numbers deep. Functions of their own: what
// else a task computes must not take their registers. More rows than gates at once: a vector of the panel then serves more products,
// and gcc does not read it again for each.
#define GATE_TILE(name, gates, some)                                                                                   \
    static __attribute__((noinline)) void name(long rows, const float *states, const float *panel, long width,         \
                                               long deep, float *tile, Needed *needed) {                                 \
        const long row = gates * LANES, beside = some * LANES, pair = some < gates ? deep * beside : 2 * LANES;         \
        for (; rows >= SUM_ROWS; rows -= SUM_ROWS, states += SUM_ROWS * width, tile += SUM_ROWS * row)                 \
            for (int v = 0; v < gates; v += some)                                                                      \
                add_product(SUM_ROWS, some, states, width, panel + v / some * pair, beside, pair, width, tile + v * LANES, row, \
                            needed);                                                                                   \
        for (; rows >= GATE_ROWS; rows -= GATE_ROWS, states += GATE_ROWS * width, tile += GATE_ROWS * row)             \
            add_product(GATE_ROWS, gates, states, width, panel, beside, pair, width, tile, row, needed);                \
        for (; rows > 0; rows--, states += width, tile += row)                                                         \
            add_product(1, gates, states, width, panel, beside, pair, width, tile, row, needed);                        \
    }

GATE_TILE(lstm_tile, 4, 2)
GATE_TILE(gru_tile, 3, 3)
#undef GATE_TILE

// The sums of gate i, f, g or o become its values.
static inline __attribute__((always_inline)) void gate_values(const int gate, Vector *x, const int rows) {
    if (gate == 2) tanhs(x, rows);
    else sigmoids(x, rows);
}

// The cells become the new ones, from the values of gates i, f, g.
static inline __attribute__((always_inline)) void new_cells(Vector gates[4][GATE_ROWS], Vector *c, const int rows) {
    UNROLLED for (int r = 0; r < rows; r++) c[r] = gates[1][r] * c[r] + gates[0][r] * gates[2][r];
}

// Samples that have ended keep their states.
static void keep_states(const float *before, float *after, long count, long width) {
    if (count > 0) memcpy(after, before, (size_t)(count * width) * sizeof *after);
}

// Some samples' units from `place` on, where their states go, from the sums of their gates.
static inline __attribute__((always_inline)) void lstm_block(const Recurrent *l, const float *tile, long place,
                                                             const float *c_before, const int rows, const long units) {
    long width = l->of.width, gates_at = place + place / width * 3 * width;
    Vector gates[4][GATE_ROWS], c[GATE_ROWS], h[GATE_ROWS];
    UNROLLED for (int r = 0; r < rows; r++) {
        c[r] = load_some(c_before + r * width, units);
        UNROLLED for (int gate = 0; gate < 4; gate++) gates[gate][r] = load(tile + (r * 4 + gate) * LANES);
    }
    UNROLLED for (int gate = 0; gate < 4; gate++) gate_values(gate, gates[gate], rows);
    new_cells(gates, c, rows);
    UNROLLED for (int r = 0; r < rows; r++) h[r] = c[r];
    tanhs(h, rows);
    UNROLLED for (int r = 0; r < rows; r++) {
        h[r] = h[r] * gates[3][r];
        store_some(l->out_c + place + r * width, c[r], units);
        store_some(l->out_h + place + r * width, h[r], units);
        UNROLLED for (int gate = 0; gate < 4; gate++)
            store_some(l->out_kept + gates_at + (4 * r + gate) * width, gates[gate][r], units);
    }
}

// The cells of some samples' units, GATE_ROWS at once where the units fill a vector.
static void lstm_cells(const Recurrent *l, const float *tile, long place, const float *c_before, long rows, long units) {
    long width = l->of.width, r = 0;
    for (; r + GATE_ROWS <= rows && units == LANES; r += GATE_ROWS)
        lstm_block(l, tile + r * 4 * LANES, place + r * width, c_before + r * width, GATE_ROWS, LANES);
    for (; r < rows; r++) lstm_block(l, tile + r * 4 * LANES, place + r * width, c_before + r * width, 1, units);
}

// Cells of LANES units of SUM_ROWS samples that wait for being computed, from the first of a task's samples on; tile: the sums of
// their gates, NULL where none wait.
typedef struct { const float *tile, *c_before; long place, kept_at, first; } WaitingCells;

static void finish_cells(const Recurrent *l, WaitingCells *w) {
    if (w->tile) lstm_cells(l, w->tile, w->place, w->c_before, SUM_ROWS, LANES);
    w->tile = NULL;
}

enum {
    CELL_STEPS = 5,   // the four gates and the states
    BESIDE_ROWS = 2,  // of cells at once, for which there are registers beside a product
};

// One of these steps of some rows of cells that wait. The gates' values go from step to step where they are kept.
static inline __attribute__((always_inline)) void cell_step(const Recurrent *l, const WaitingCells *w, const int step, long row) {
    long width = l->of.width, place = w->place + row * width;
    const float *sums = w->tile + row * 4 * LANES;
    float *kept = l->out_kept + w->kept_at + 4 * row * width;
    Vector x[BESIDE_ROWS];
    if (step < 4) {
        UNROLLED for (int r = 0; r < BESIDE_ROWS; r++) x[r] = load(sums + (4 * r + step) * LANES);
        gate_values(step, x, BESIDE_ROWS);
        UNROLLED for (int r = 0; r < BESIDE_ROWS; r++) store(kept + (4 * r + step) * width, x[r]);
        return;
    }
    UNROLLED for (int r = 0; r < BESIDE_ROWS; r++) {
        const float *gates = kept + 4 * r * width;
        x[r] = load(gates + width) * load(w->c_before + (row + r) * width) + load(gates) * load(gates + 2 * width);
        store(l->out_c + place + r * width, x[r]);
    }
    tanhs(x, BESIDE_ROWS);
    UNROLLED for (int r = 0; r < BESIDE_ROWS; r++)
        store(l->out_h + place + r * width, x[r] * load(kept + (4 * r + 3) * width));
}

// Where the gates of units of an LSTM begin, of so many products: the inputs' is added to biases, which all samples have.
static inline __attribute__((always_inline)) const float *gates_at(const Recurrent *l, const int products, long place, int r) {
    long width = l->of.width;
    return l->gates + (products > 1 ? place % width : gates_of(l->taken, width, place, r));
}

// tile = the gates from `place` on + inputs, if there are two products, and states (NULL: zeros) times a panel, two gates after the
// other two, of SUM_ROWS samples; between stretches of either product come the steps of half of the cells that wait, or of a quarter.
// A processor does not look ahead from one to the other where they follow as wholes: cells are chains of some 100 operations, which
// leave most of its units idle, and products leave none.
static inline __attribute__((always_inline)) void tile_beside_cells(const Recurrent *l, const int products, const WaitingCells *w,
                                                                    const float *states, const float *panel, long place, float *tile,
                                                                    Needed *needed) {
    long width = l->of.width;
    const float *from[SUM_ROWS];
    for (int r = 0; r < SUM_ROWS; r++) from[r] = gates_at(l, products, place, r);
    for (int gate = 0; gate < 4; gate += 2) {
        Vector sum[SUM_ROWS][2];
        UNROLLED for (int r = 0; r < SUM_ROWS; r++)
            UNROLLED for (int v = 0; v < 2; v++) sum[r][v] = load(from[r] + (gate + v) * width);
        for (int product = 0; product < products; product++) {
            int last = product == products - 1;
            const float *left = last ? states : l->inputs + place / width * l->columns;
            long k = last ? width : l->columns, each = parts(k, CELL_STEPS), some = left ? k : 0, i = 0;
            Lines lines = needed_lines(needed, some, left);
            UNROLLED for (int step = 0; step < CELL_STEPS; step++) {
                for (long end = at_most(i + each, some); i < end; i++) {
                    Vector row[2];
                    fetch_line(&lines);
                    UNROLLED for (int v = 0; v < 2; v++) row[v] = load(panel + (i * 2 + v) * LANES);
                    UNROLLED for (int r = 0; r < SUM_ROWS; r++)
                        UNROLLED for (int v = 0; v < 2; v++) sum[r][v] += left[r * k + i] * row[v];
                }
                UNROLLED for (int r = 0; r < GATE_ROWS; r += BESIDE_ROWS)
                    if (r * products / GATE_ROWS == product) cell_step(l, w, step, gate / 2 * GATE_ROWS + r);
            }
            panel += k * 2 * LANES;
        }
        UNROLLED for (int r = 0; r < SUM_ROWS; r++)
            UNROLLED for (int v = 0; v < 2; v++) store(tile + (4 * r + gate + v) * LANES, sum[r][v]);
    }
}

#define BESIDE_CELLS(name, products)                                                                                   \
    static __attribute__((noinline)) void name(const Recurrent *l, const WaitingCells *w, const float *states, const float *panel, \
                                               long place, float *tile, Needed *needed) {                               \
        tile_beside_cells(l, products, w, states, panel, place, tile, needed);                                          \
    }

BESIDE_CELLS(lstm_tile_beside_cells, 1)
BESIDE_CELLS(lstm_tiles_beside_cells, 2)
#undef BESIDE_CELLS

// tile = the gates from `place` on + inputs, if there are two products, and states times a panel.
static inline void lstm_sums(const Recurrent *l, const int products, const float *states, const float *panel, long place, long rows,
                             long units, float *tile, Needed *needed) {
    long width = l->of.width, columns = products > 1 ? l->columns : 0, deep = columns + width;
    for (int i = 0; i < rows * 4; i++) copy_units(gates_at(l, products, place, i / 4) + i % 4 * width, units, tile + i * LANES);
    if (products > 1) lstm_tile(rows, l->inputs + place / width * columns, panel, columns, deep, tile, needed);
    if (states) lstm_tile(rows, states, panel + columns * 2 * LANES, width, deep, tile, needed);
}

static inline __attribute__((always_inline)) void lstm_samples(const Recurrent *l, long index, const int products) {
    const Sequences *of = &l->of;
    long width = of->width, each = samples_a_task(of->samples), first = index * each, rows = at_most(each, of->samples - first);
    const float *h_before = l->h0 ? l->h0 + first * width : NULL, *c_before = l->c0 + first * width;
    float tiles[2][SUM_ROWS * 4 * LANES] __attribute__((aligned(64))) = {0}, *tile = tiles[0];
    const Samples samples = {of, first, rows, sizeof(float)};
    WaitingCells waiting = {0};
    for (long s = 0; s < of->steps; s++) {
        Needed needed = need_forward(&samples, s + 1, 4, l->taken || products > 1 ? NULL : l->gates, l->out_kept, l->out_h, l->out_c);
        long t = step_at(of, s), at = (t * of->samples + first) * width, active = running(of, t, first, rows);
        if (active < rows) finish_cells(l, &waiting);
        for (long unit = 0; unit < width; unit += LANES) {
            const float *panel = l->panels + unit * (width + (products > 1 ? l->columns : 0)) * 4;
            long units = at_most(LANES, width - unit);
            for (long r = 0; r < active; r += SUM_ROWS) {
                long own = at_most(SUM_ROWS, active - r), place = at + r * width + unit;
                const float *states = h_before ? h_before + r * width : NULL, *cells = c_before + r * width + unit;
                int whole = own == SUM_ROWS && units == LANES;
                if (!whole || (!unit && waiting.first == r)) finish_cells(l, &waiting);  // the product needs their states
                if (!waiting.tile) lstm_sums(l, products, states, panel, place, own, units, tile, &needed);
                else if (products > 1) lstm_tiles_beside_cells(l, &waiting, states, panel, place, tile, &needed);
                else lstm_tile_beside_cells(l, &waiting, states, panel, place, tile, &needed);
                if (!whole) {
                    lstm_cells(l, tile, place, cells, own, units);
                    continue;
                }
                waiting = (WaitingCells){tile, cells, place, 4 * (at + r * width) + unit, r};
                tile = tile == tiles[0] ? tiles[1] : tiles[0];
            }
        }
        if (h_before) keep_states(h_before + active * width, l->out_h + at + active * width, rows - active, width);
        keep_states(c_before + active * width, l->out_c + at + active * width, rows - active, width);
        memset(l->out_kept + 4 * (at + active * width), 0, (size_t)(4 * (rows - active) * width) * sizeof(float));
        h_before = l->out_h + at;
        c_before = l->out_c + at;
    }
    finish_cells(l, &waiting);
}

static void lstm_task(void *l, long index) { lstm_samples(l, index, 1); }
static inline void lstm_of_inputs_task(void *l, long index) { lstm_samples(l, index, 2); }

// The same of a GRU, where the sums are those of what the states add to the gates.
static inline __attribute__((always_inline)) void gru_block(const Recurrent *g, const float *tile, long place, const float *h_before,
                                                            const int rows, const long units) {
    long width = g->of.width, row = place / width * width, gates_at = place + 2 * row, kept_at = place + 3 * row;
    Vector gates[3][GATE_ROWS], own[GATE_ROWS];
    UNROLLED for (int r = 0; r < rows; r++) {
        own[r] = load(tile + (r * 3 + 2) * LANES);
        UNROLLED for (int gate = 0; gate < 3; gate++)
            gates[gate][r] = load_some(g->gates + gates_at + (3 * r + gate) * width, units);
        UNROLLED for (int gate = 0; gate < 2; gate++) gates[gate][r] += load(tile + (r * 3 + gate) * LANES);
    }
    UNROLLED for (int gate = 0; gate < 2; gate++) sigmoids(gates[gate], rows);
    UNROLLED for (int r = 0; r < rows; r++) gates[2][r] += gates[0][r] * own[r];
    tanhs(gates[2], rows);
    UNROLLED for (int r = 0; r < rows; r++) {
        Vector n = gates[2][r];
        store_some(g->out_h + place + r * width, n + gates[1][r] * (load_some(h_before + r * width, units) - n), units);
        UNROLLED for (int gate = 0; gate < 3; gate++)
            store_some(g->out_kept + kept_at + (4 * r + gate) * width, gates[gate][r], units);
        store_some(g->out_kept + kept_at + (4 * r + 3) * width, own[r], units);
    }
}

static void gru_task(void *argument, long index) {
    const Recurrent *g = argument;
    const Sequences *of = &g->of;
    long width = of->width, each = samples_a_task(of->samples), first = index * each, rows = at_most(each, of->samples - first);
    const float *before = g->h0 + first * width;
    float tile[SUM_ROWS * 3 * LANES] = {0};
    const Samples samples = {of, first, rows, sizeof(float)};
    for (long s = 0; s < of->steps; s++) {
        Needed needed = need_forward(&samples, s + 1, 3, g->gates, g->out_kept, g->out_h, NULL);
        long t = step_at(of, s), at = (t * of->samples + first) * width, active = running(of, t, first, rows);
        for (long unit = 0; unit < width; unit += LANES) {
            const float *panel = g->panels + unit * width * 3;
            long units = at_most(LANES, width - unit);
            for (long r = 0; r < active; r += SUM_ROWS) {
                long own = at_most(SUM_ROWS, active - r);
                if (!g->bias) memset(tile, 0, sizeof tile);
                for (long i = 0; g->bias && i < own * 3; i++)
                    copy_units(g->bias + i % 3 * width + unit, units, tile + i * LANES);
                gru_tile(own, before + r * width, panel, width, width, tile, &needed);
                const float *h = before + r * width + unit;
                long i = 0, place = at + r * width + unit;
                for (; i + GATE_ROWS <= own && units == LANES; i += GATE_ROWS)
                    gru_block(g, tile + i * 3 * LANES, place + i * width, h + i * width, GATE_ROWS, LANES);
                for (; i < own; i++) gru_block(g, tile + i * 3 * LANES, place + i * width, h + i * width, 1, units);
            }
        }
        keep_states(before + active * width, g->out_h + at + active * width, rows - active, width);
        memset(g->out_kept + 4 * (at + active * width), 0, (size_t)(4 * (rows - active) * width) * sizeof(float));
        before = g->out_h + at;
    }
}

// dh += the cotangents of the states after a step, where something depends on them.
static void add_cotangents(float *sum, long step, const float *g, long rows, long width) {
    for (long r = 0; g && r < rows; r++)
#pragma omp simd
        for (long j = 0; j < width; j++) sum[r * step + j] += g[r * width + j];
}

// dh of some rows += d (rows, k) times vectors of the weight.
static inline __attribute__((always_inline)) void add_columns(const int vectors, const float *d, const float *weight, long k,
                                                              float *dh, long whole, long rows, Needed *needed) {
    for (; rows >= SUM_ROWS; rows -= SUM_ROWS, d += SUM_ROWS * k, dh += SUM_ROWS * whole)
        add_product(SUM_ROWS, vectors, d, k, weight, whole, 2 * LANES, k, dh, whole, needed);
    for (; rows >= GATE_ROWS; rows -= GATE_ROWS, d += GATE_ROWS * k, dh += GATE_ROWS * whole)
        add_product(GATE_ROWS, vectors, d, k, weight, whole, 2 * LANES, k, dh, whole, needed);
    for (; rows > 0; rows--, d += k, dh += whole) add_product(1, vectors, d, k, weight, whole, 2 * LANES, k, dh, whole, needed);
}

// Sums of running samples += d (rows, k) times a weight, whose rows are whole vectors. Lines are fetched beside the second half, where
// that has enough of them: earlier, the weight would push them out again, and the core of another task may write beside them.
static __attribute__((noinline)) void through_weight(const float *d, long k, const float *weight, long whole, float *sums, long rows,
                                                     Needed *needed) {
    long column = 0, fetching = whole >= 8 * LANES ? whole / 2 : 0;
    Needed none = {0};
    for (; column + 2 * LANES <= whole; column += 2 * LANES)
        add_columns(2, d, weight + column, k, sums + column, whole, rows, column >= fetching ? needed : &none);
    if (column < whole) add_columns(1, d, weight + column, k, sums + column, whole, rows, needed);
}

// Rows from the first one on, if they are wanted.
static void store_states(const float *from, long step, float *to, long first, long rows, long width) {
    for (long r = 0; to && r < rows; r++) memcpy(to + (first + r) * width, from + r * step, (size_t)width * sizeof *to);
}

enum { TASK_SAMPLES = 16 };

// Floats that a task of the gradient needs: cotangents of both states.
static inline long recurrent_scratch(long width) { return 2 * TASK_SAMPLES * whole_lanes(width); }

static inline long recurrent_tasks(long samples) { return parts(samples, samples_a_task(samples)); }

// Where a task leaves the sums (4, whole vectors) of its samples' cotangents of gates: behind those of states of all tasks.
static inline float *task_sums(float *scratch, long samples, long width, long index) {
    return scratch + recurrent_tasks(samples) * recurrent_scratch(width) + index * 4 * whole_lanes(width);
}

// The sums (4, width) of those of all tasks.
static inline void add_task_sums(float *scratch, long samples, long width, float *out) {
    for (long gate = 0; gate < 4; gate++, out += width) {
        memset(out, 0, (size_t)width * sizeof *out);
        for (long task = 0; task < recurrent_tasks(samples); task++) {
            const float *sums = task_sums(scratch, samples, width, task) + gate * whole_lanes(width);
            for (long j = 0; j < width; j++) out[j] += sums[j];
        }
    }
}

// The cotangents of the cells += what reaches them through the states; c is their tanh.
static inline __attribute__((always_inline)) void through_states(Vector gates[4][GATE_ROWS], const Vector *c, const Vector *by_h,
                                                                 Vector *by_c, const int rows) {
    UNROLLED for (int r = 0; r < rows; r++) by_c[r] += by_h[r] * gates[3][r] * (1.0f - c[r] * c[r]);
}

// The cotangents of one gate's sums, from those of the states and cells, the values of gates and the cells before.
static inline __attribute__((always_inline)) void through_gate(const int gate, Vector gates[4][GATE_ROWS], const Vector *c_before,
                                                               const Vector *c, const Vector *by_h, const Vector *by_c, Vector *d,
                                                               const int rows) {
    UNROLLED for (int r = 0; r < rows; r++) {
        Vector x = gates[gate][r];
        if (gate == 0) d[r] = by_c[r] * gates[2][r] * x * (1.0f - x);
        if (gate == 1) d[r] = by_c[r] * c_before[r] * x * (1.0f - x);
        if (gate == 2) d[r] = by_c[r] * gates[0][r] * (1.0f - x * x);
        if (gate == 3) d[r] = by_h[r] * c[r] * x * (1.0f - x);
    }
}

// The cotangents of so many vectors of gates from a unit on, of the sample whose states lie at `place`.
static inline __attribute__((always_inline)) void lstm_grad_block(const Recurrent *l, long place, long unit, const float *c_before,
                                                                  const float *dh, float *dc, const int vectors,
                                                                  const long units) {
    long width = l->of.width, at = place + unit;
    const float *kept = l->kept + 4 * place + unit;
    float *d_gates = l->d_gates + 4 * place + unit;
    Vector gates[4][GATE_ROWS], before[GATE_ROWS], c[GATE_ROWS], by_h[GATE_ROWS], by_c[GATE_ROWS], d[GATE_ROWS];
    UNROLLED for (int v = 0; v < vectors; v++) {
        before[v] = load_some(c_before + unit + v * LANES, units);
        c[v] = load_some(l->cs + at + v * LANES, units);
        by_h[v] = load(dh + unit + v * LANES);
        if (l->g_h) by_h[v] += load_some(l->g_h + at + v * LANES, units);
        by_c[v] = load(dc + unit + v * LANES);
        UNROLLED for (int gate = 0; gate < 4; gate++)
            gates[gate][v] = load_some(kept + gate * width + v * LANES, units);
    }
    tanhs(c, vectors);
    through_states(gates, c, by_h, by_c, vectors);
    UNROLLED for (int v = 0; v < vectors; v++) store(dc + unit + v * LANES, by_c[v] * gates[1][v]);
    UNROLLED for (int gate = 0; gate < 4; gate++) {
        through_gate(gate, gates, before, c, by_h, by_c, d, vectors);
        UNROLLED for (int v = 0; v < vectors; v++) store_some(d_gates + gate * width + v * LANES, d[v], units);
    }
}

// The same of all units of a sample, GATE_ROWS vectors side by side at once: its numbers are fewer stretches of memory than those of
// several samples.
static inline void lstm_grad_cells(const Recurrent *l, long place, const float *c_before, const float *dh, float *dc) {
    long width = l->of.width, unit = 0;
    for (; unit + GATE_ROWS * LANES <= width; unit += GATE_ROWS * LANES)
        lstm_grad_block(l, place, unit, c_before, dh, dc, GATE_ROWS, LANES);
    for (; unit < width; unit += LANES)
        lstm_grad_block(l, place, unit, c_before, dh, dc, 1, at_most(LANES, width - unit));
}

// A task's sums (4, whole vectors) += the cotangents (samples, 4, width) of gates, while they are in the caches.
static inline void add_to_sums(const float *d, long samples, long width, float *sums) {
    for (long gate = 0; gate < 4; gate++, d += width, sums += whole_lanes(width))
        for (long unit = 0; unit < width; unit += LANES) {
            Vector sum = load(sums + unit);
            for (long r = 0; r < samples; r++) sum += load_some(d + r * 4 * width + unit, width - unit);
            store(sums + unit, sum);
        }
}

static void lstm_grad_task(void *argument, long index) {
    const Recurrent *l = argument;
    const Sequences *of = &l->of;
    long width = of->width, whole = whole_lanes(width), each = samples_a_task(of->samples), first = index * each;
    long rows = at_most(each, of->samples - first);
    float *dh = l->scratch + index * recurrent_scratch(width), *dc = dh + TASK_SAMPLES * whole;
    memset(dh, 0, (size_t)recurrent_scratch(width) * sizeof *dh);
    float *sums = l->d_bias ? task_sums(l->scratch, of->samples, width, index) : NULL;
    if (sums) memset(sums, 0, (size_t)(4 * whole) * sizeof *sums);
    const Samples samples = {of, first, rows, sizeof(float)};
    for (long s = of->steps - 1; s >= 0; s--) {
        long t = step_at(of, s), at = (t * of->samples + first) * width, active = running(of, t, first, rows);
        const float *c_before = s ? l->cs + (step_at(of, s - 1) * of->samples + first) * width : l->c0 + first * width;
        add_cotangents(dh + active * whole, whole, l->g_h ? l->g_h + at + active * width : NULL, rows - active, width);
        add_cotangents(dc, whole, l->g_c ? l->g_c + at : NULL, rows, width);
        for (long r = 0; r < active; r++)
            lstm_grad_cells(l, at + r * width, c_before + r * width, dh + r * whole, dc + r * whole);
        memset(l->d_gates + 4 * (at + active * width), 0, (size_t)(4 * (rows - active) * width) * sizeof(float));
        memset(dh, 0, (size_t)(active * whole) * sizeof *dh);
        const float *d = l->d_gates + 4 * at;
        if (sums) add_to_sums(d, active, width, sums);
        if (l->d_inputs) {
            float *to = l->d_inputs + (t * of->samples + first) * l->columns;
            memset(to, 0, (size_t)(rows * l->columns) * sizeof *to);
            through_weight(d, 4 * width, l->w_ih, l->columns, to, active, &(Needed){0});
        }
        if (!s && !l->d_h0) break;
        Needed needed = need_backward(&samples, s - 1, 4, l->kept, l->cs, l->g_h, l->d_gates, NULL);
        through_weight(d, 4 * width, l->panels, whole, dh, active, &needed);
    }
    store_states(dh, whole, l->d_h0, first, rows, width);
    store_states(dc, whole, l->d_c0, first, rows, width);
}

static void gru_grad_task(void *argument, long index) {
    const Recurrent *g = argument;
    const Sequences *of = &g->of;
    long width = of->width, whole = whole_lanes(width), each = samples_a_task(of->samples), first = index * each;
    long rows = at_most(each, of->samples - first);
    float *dh = g->scratch + index * recurrent_scratch(width);
    memset(dh, 0, (size_t)recurrent_scratch(width) * sizeof *dh);
    const Samples samples = {of, first, rows, sizeof(float)};
    for (long s = of->steps - 1; s >= 0; s--) {
        long t = step_at(of, s), at = (t * of->samples + first) * width, active = running(of, t, first, rows);
        const float *before = s ? g->hs + (step_at(of, s - 1) * of->samples + first) * width : g->h0 + first * width;
        add_cotangents(dh, whole, g->g_h ? g->g_h + at : NULL, rows, width);
        for (long r = 0; r < active; r++) {
            const float *kept = g->kept + 4 * (at + r * width), *old = before + r * width;
            float *d = g->d_gates + 3 * (at + r * width), *d_own = g->d_own + 3 * (at + r * width), *by_h = dh + r * whole;
#pragma omp simd
            for (long j = 0; j < width; j++) {
                float reset = kept[j], z = kept[width + j], n = kept[2 * width + j], own = kept[3 * width + j];
                float by_n = by_h[j] * (1.0f - z) * (1.0f - n * n);
                float by_r = by_n * own * reset * (1.0f - reset), by_z = by_h[j] * (old[j] - n) * z * (1.0f - z);
                d[j] = by_r;
                d[width + j] = by_z;
                d[2 * width + j] = by_n;
                d_own[j] = by_r;
                d_own[width + j] = by_z;
                d_own[2 * width + j] = by_n * reset;
                by_h[j] *= z;
            }
        }
        size_t ended = (size_t)(3 * (rows - active) * width) * sizeof(float);
        memset(g->d_gates + 3 * (at + active * width), 0, ended);
        memset(g->d_own + 3 * (at + active * width), 0, ended);
        if (!s && !g->d_h0) break;
        Needed needed = need_backward(&samples, s - 1, 3, g->kept, g->hs, g->g_h, g->d_gates, g->d_own);
        through_weight(g->d_own + 3 * at, 3 * width, g->panels, whole, dh, active, &needed);
    }
    store_states(dh, whole, g->d_h0, first, rows, width);
}

// The weight, rows filled up to whole vectors: where it lies, or a copy in `room`.
static const float *rows_of_weight(const float *w_hh, long gates, long width, float *room) {
    return with_whole_lanes(w_hh, width, gates * width, width, &room).at;
}

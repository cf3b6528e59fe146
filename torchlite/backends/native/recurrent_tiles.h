// The LSTM of `recurrent.h` with the products by the recurrent weight in tiles of bfloat16: of arrays of bfloat16, and, where the
// processor has tile registers, of float32. Gates and states are computed in float32. A task has as many samples as a tile has
// rows, and for each step it reads the weight, packed in tiles, once. Units are a multiple of 16. States of bfloat16 are rounded
// as they are stored. Gates may be rows of a small table, which stays in the second-level cache.

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
    long from[GATE_ROWS];
    UNROLLED for (int r = 0; r < rows; r++) from[r] = gates_of(l->taken, width, place, r);
    if (depth) load_rows(depth, terms);
    UNROLLED for (int gate = 0; gate < 4; gate++) {
        multiply_beside(depth, gate, CELL_PARTS, terms);
        UNROLLED for (int r = 0; r < rows; r++)
            gates[gate][r] = load(sums + r * LSTM_COLUMNS + gate * BF16_SIDE) +
                             load_numbers(l->gates, from[r] + gate * width, terms);
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
    const Samples samples = {of, own->first, own->rows, size};
    if (own->tiles) bf16_begin_tiles(BF16_SIDE);
    Cells cells;
    Beside waiting = {0};
    for (long s = 0; s < of->steps; s++) {
        long t = step_at(of, s), at = (t * of->samples + own->first) * width, active = running(of, t, own->first, own->rows);
        Needed needed = own->tiles ? (Needed){0} : need_forward(&samples, s + 1, 4, l->taken ? NULL : l->gates, l->out_kept, l->out_h,
                                                             l->out_c);
        for (long unit = 0; unit < width; unit += BF16_SIDE) {
            float *ready = free_sums;
            waiting.alone = unit ? tiles_deep(width, 0) : (width - BF16_SIDE) / BF16_DEPTH;
            column_sums(l, own->tiles, finite, unit / BF16_SIDE, h, before, active, (SumRows){ready, LSTM_COLUMNS}, 0, &waiting,
                        &needed, terms);
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

// The weight is packed, and then the samples' tasks run.
static inline void run_tiled(TiledLstm *l, Task pack, Task task, int gradient, int terms) {
    long width = l->of.width;
    l->finite = terms == 1 || all_finite(l->w_hh, 4 * width * width);
    parallel(pack, l, blocks_of_columns(width, gradient));
    parallel(task, l, recurrent_tasks(l->of.samples));
}

#define FORWARD(suffix, terms)                                                                                         \
    static void pack_for_lstm_##suffix(void *l, long block) { pack_columns(l, block, 0, terms); }                      \
    static void cells_##suffix(void *of, long index, const Depth *depth) { cells_piece(of, index, depth, terms); }     \
    static void lstm_task_##suffix(void *l, long index) { tiled_lstm_task(l, index, cells_##suffix, terms); }          \
    static void tiled_lstm_##suffix(TiledLstm *l) {                                                                    \
        run_tiled(l, pack_for_lstm_##suffix, lstm_task_##suffix, 0, terms);                                            \
    }

FORWARD(bfloat16, 1)
FORWARD(float32, FLOAT_TERMS)
#undef FORWARD

// An LSTM in tiles as who computes it describes it, and its recurrent weight: packed in tiles, once a call, and multiplied by.

// What is done with the cotangents of gates after every so many steps of the gradient. Step s's terms lie at
// terms + s % slots * numbers, as long as no other's do.
typedef struct Following {
    void (*follow)(const struct Following *f, long task, long first, long count, const uint16_t *terms, long numbers);
    long steps, slots;  // at least 2 slots
    int *infinite;      // of each task, whether a cotangent of float32 was
} Following;

typedef struct {
    const void *gates, *h0, *c0, *w_hh, *cs, *kept, *g_h, *g_c;  // of bfloat16 or float32; g_h, g_c: NULL where there is none
    const Embedding *taken;  // NULL, or whose numbers say which row of the gates each sample has at each step
    void *out_h, *out_c, *out_kept, *d_gates, *d_h0, *d_c0;
    void *scratch;  // tiled_lstm_scratch bytes at a multiple of 64
    Sequences of;
    const Following *following;  // NULL where there is nothing to do
    int finite;                  // whether the weight is
} TiledLstm;

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

// Rows times a block of columns as they are, where something is infinite.
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
                                                              int gradient, Beside *beside, Needed *needed, const int terms) {
    long width = l->of.width, whole = gradient && width % LSTM_COLUMNS == 0;
    if (terms > 1 && !finite) {
        Columns c = columns_of(width, block, gradient);
        do_pieces(beside, beside->count);
        plain_sums(numbers, l->w_hh, &c, rows, sums.at, sums.step);
        return;
    }
    tile_sums(tiles, left, (const uint32_t *)l->scratch + block * words_of_block(width, gradient, terms),
              tiles_deep(width, gradient), whole ? 4 : 1, rows, sums.at, sums.step, beside, needed, terms);
    do_pieces(beside, beside->count);
}

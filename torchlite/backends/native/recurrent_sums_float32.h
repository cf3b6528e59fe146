// The sums of `recurrent_sums.h` in float32, whose numbers consist of three terms: some steps at a time are multiplied as
// `gemm_tiles.h` does it.

#ifdef __AMX_BF16__
// The sums of cotangents (steps, samples, 4 width) that have been stored.
static void plain_gate_sums(const float *d_gates, const GateSums *g) {
    enum { ROWS = 192, COLUMNS = 64 };
    long gates = 4 * g->of.width, k = g->of.steps * g->of.samples;
    for (const Factor *x = g->factors; x < g->factors + MOST_FACTORS && x->columns; x++) {
        Part part = {x->out, x->columns};
        multiply_matrices(&(Product){d_gates, x->at, gates, x->columns, k, 1, gates, x->columns, 1, 1, 1, 0, 0, 0, 0, ROWS,
                                     COLUMNS, k, NULL, keep_part, &part, {{0}}});
    }
}

enum { SUMMED_STEPS = 4, SUMMED_WORDS = SUMMED_STEPS / 2 * SPLIT_STEP };  // at a time; of a block of packed columns

// Sixteen columns of two steps as rows of words: of each column a word for each sample, the first step in its lower half.
// Returns whether a number is too large or not one.
static int pack_columns_of_steps(const Factor *x, const Sequences *of, long first, long rows, long step, long steps, long column,
                                 uint32_t *to) {
    Vector numbers[2][LANES];
    const __m512 most = _mm512_set1_ps(0x1p100f);
    __mmask16 beyond = 0;
    long columns = x->columns - column;
    for (long s = 0; s < 2; s++) {
        long sample = step_at(of, step + at_most(s, steps - 1)) * of->samples + first;
        const float *from = (const float *)x->at + sample * x->columns + column;
        for (long r = 0; r < LANES; r++) {
            Vector v = r < rows && s < steps && columns > 0 ? load_some(from + r * x->columns, columns) : (Vector){0};
            beyond |= _mm512_cmp_ps_mask(_mm512_abs_ps((__m512)v), most, _CMP_NLE_UQ);
            numbers[s][r] = v;
        }
        transpose(numbers[s]);
    }
    UNROLLED for (int i = 0; i < LANES; i++)
        split_numbers((__m512)numbers[0][i], (__m512)numbers[1][i], to + i * BF16_SIDE, SPLIT_TERM);
    return beyond != 0;
}

// A term of 32 gates of two steps that lie in tiles as rows of words: of each sample a word for each gate.
static void pair_gates_of_steps(const uint16_t *lower, const uint16_t *upper, uint32_t *to) {
    for (long r = 0; r < BF16_SIDE; r++) {
        RowPairs pairs = pair_rows(_mm512_loadu_si512(lower + r * BF16_DEPTH), _mm512_loadu_si512(upper + r * BF16_DEPTH));
        for (int half = 0; half < 2; half++) _mm512_store_si512(to + half * BF16_TILE + r * BF16_SIDE, pairs.words[half]);
    }
}

typedef struct { float *all; int more; } BlockSums;

static void add_to_block(void *context, float *tile, long tile_step, long row, long column, long rows, long columns) {
    const BlockSums *b = context;
    float *to = b->all + row * BF16_BLOCK + column;
    for (long r = 0; r < rows; r++, tile += tile_step, to += BF16_BLOCK)
        for (long j = 0; j < columns; j += LANES) store(to + j, b->more ? load(to + j) + load(tile + j) : load(tile + j));
}

// Adds some steps of a task's samples to its sums.
static void sum_steps(const Following *f, long task, long step, long steps, const uint16_t *terms, long numbers) {
    static const uint16_t none[BF16_NUMBERS];
    const GateSums *g = (const GateSums *)(const void *)f;
    long first = task * samples_a_task(g->of.samples), rows = at_most(samples_a_task(g->of.samples), g->of.samples - first);
    long pairs = parts(steps, 2), across = gates_in_blocks(g), count = 0;
    float *all = sums_of_task(g, task), sums[2][BLOCK_SUMS] __attribute__((aligned(64)));
    uint32_t *packed = columns_of_task(g, task), gates[SUMMED_WORDS] __attribute__((aligned(64)));
    for (const Factor *x = g->factors; x < g->factors + MOST_FACTORS; x++)
        for (long column = 0; column < x->columns; column += BF16_BLOCK, count++)
            for (long p = 0; p < pairs; p++)
                for (long half = 0; half < 2; half++)
                    if (pack_columns_of_steps(x, &g->of, first, rows, step + 2 * p, steps - 2 * p, column + half * BF16_SIDE,
                                              packed + count * SUMMED_WORDS + p * SPLIT_STEP + half * BF16_TILE))
                        f->infinite[task] = 1;
    SplitBeside beside = {0};
    BlockSums to[2];
    int side = 0;
    for (long b = 0; b < across; b++) {
        for (long p = 0; p < pairs; p++) {
            const uint16_t *lower = terms + (step + 2 * p) % (SUMMED_STEPS + 1) * numbers;
            const uint16_t *upper = terms + (step + 2 * p + 1) % (SUMMED_STEPS + 1) * numbers;
            for (long term = 0; term < SPLIT_TERMS; term++) {
                long at = (b * SPLIT_TERMS + term) * BF16_NUMBERS;
                pair_gates_of_steps(lower + at, 2 * p + 1 < steps ? upper + at : none,
                                    gates + p * SPLIT_STEP + term * SPLIT_TERM);
            }
        }
        for (long u = 0; u < count; u++, side = !side) {
            beside.last.each = parts(BF16_BLOCK, BESIDES * pairs);
            __asm__ volatile("" ::: "memory");  // compilers don't know what tiles are loaded from
            split_sums(packed + u * SUMMED_WORDS, gates, pairs, sums[side], &beside, 0, NONE_IS_PAST);
            finish_rows(&beside.last, beside.last.rows);
            to[side] = (BlockSums){all + (u * across + b) * BLOCK_SUMS, step + steps < g->of.steps};
            beside.last = (SplitFinish){add_to_block, &to[side], sums[side], 0, 0, BF16_BLOCK, BF16_BLOCK, 0};
        }
    }
    finish_rows(&beside.last, beside.last.rows);
}

static void add_up_gates_task(void *g, long block) { add_up_gates(g, block, 0); }

// The gradient in tiles, and the sums.
static void tiled_lstm_grad_and_sums_float32(TiledLstm l, GateSums g) {
    long tasks = recurrent_tasks(g.of.samples);
    int infinite[tasks], any = 0;
    memset(infinite, 0, sizeof infinite);
    g.following = (Following){sum_steps, SUMMED_STEPS, SUMMED_STEPS + 1, infinite};
    g.words = SUMMED_WORDS;
    l.following = &g.following;
    tiled_lstm_grad_float32(&l);
    for (long task = 0; task < tasks; task++) any |= infinite[task];
    if (!any && g.of.steps) {
        parallel(add_up_gates_task, &g, gates_in_blocks(&g));
        return;
    }
    plain_gate_sums(l.d_gates, &g);
}
#endif

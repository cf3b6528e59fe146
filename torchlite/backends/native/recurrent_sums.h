// The gradients of an LSTM's weights beside its own: the sums over steps and samples of the cotangents of gates times what the
// weights have multiplied. In tiles the cotangents' terms are there already, so some steps at a time are multiplied as
// `gemm_tiles.h` does it, while they are in the second-level cache.

enum { MOST_FACTORS = 2, SUMMED_STEPS = 4, SUMMED_PAIRS = SUMMED_STEPS / 2 };

typedef struct {
    const float *at;  // (steps, samples, columns)
    float *out;       // (4 width, columns)
    long columns;
} Factor;

typedef struct {
    Following following;
    Sequences of;
    Factor factors[MOST_FACTORS];  // up to the first of no columns
    char *scratch;                 // gate_sums_scratch bytes at a multiple of 64
} GateSums;

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

#ifdef __AMX_BF16__
static inline long blocks_of_factors(const GateSums *g) {
    long blocks = 0;
    for (const Factor *x = g->factors; x < g->factors + MOST_FACTORS; x++) blocks += parts(x->columns, BF16_BLOCK);
    return blocks;
}

// A task's memory: sums of blocks of 32 columns by 32 gates, and the packed columns of some steps.
enum { SUMMED_WORDS = SUMMED_PAIRS * SPLIT_STEP };  // of a packed block
static inline long gates_in_blocks(const GateSums *g) { return 4 * g->of.width / BF16_BLOCK; }
static inline long bytes_of_sums(const GateSums *g) {
    return 4 * blocks_of_factors(g) * (gates_in_blocks(g) * SPLIT_SUMS + SUMMED_WORDS);
}
static inline float *sums_of_task(const GateSums *g, long task) { return (float *)(g->scratch + task * bytes_of_sums(g)); }

// Sixteen columns of two steps as rows of words: of each column a word for each sample, the first step in its lower half.
// Returns whether a number is too large or not one.
static int pack_columns_of_steps(const Factor *x, const Sequences *of, long first, long rows, long step, long steps, long column,
                                 uint32_t *to) {
    Vector numbers[2][LANES];
    const __m512 most = _mm512_set1_ps(0x1p100f);
    __mmask16 beyond = 0;
    long columns = x->columns - column;
    for (long s = 0; s < 2; s++) {
        const float *from = x->at + (step_at(of, step + at_most(s, steps - 1)) * of->samples + first) * x->columns + column;
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

// The terms of 32 gates of two steps, which lie in tiles, as rows of words: of each sample a word for each gate.
static void pair_gates_of_steps(const uint16_t *lower, const uint16_t *upper, uint32_t *to) {
    const __m512i first = _mm512_add_epi16(_mm512_set1_epi32(32 << 16), _mm512_mullo_epi32(
        _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0), _mm512_set1_epi32(0x10001)));
    const __m512i second = _mm512_add_epi16(first, _mm512_set1_epi16(16));
    for (int term = 0; term < SPLIT_TERMS; term++, to += SPLIT_TERM)
        for (int r = 0; r < BF16_SIDE; r++, lower += BF16_DEPTH, upper += BF16_DEPTH) {
            __m512i x = _mm512_loadu_si512(lower), y = _mm512_loadu_si512(upper);
            _mm512_store_si512(to + r * BF16_SIDE, _mm512_permutex2var_epi16(x, first, y));
            _mm512_store_si512(to + BF16_TILE + r * BF16_SIDE, _mm512_permutex2var_epi16(x, second, y));
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
    static const uint16_t none[SPLIT_TERMS * BF16_NUMBERS];
    const GateSums *g = (const GateSums *)(const void *)f;
    long first = task * samples_a_task(g->of.samples), rows = at_most(samples_a_task(g->of.samples), g->of.samples - first);
    long pairs = parts(steps, 2), across = gates_in_blocks(g), count = 0;
    float *all = sums_of_task(g, task), sums[2][SPLIT_SUMS] __attribute__((aligned(64)));
    uint32_t *packed = (uint32_t *)(all + blocks_of_factors(g) * across * SPLIT_SUMS);
    uint32_t gates[SUMMED_WORDS] __attribute__((aligned(64)));
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
            long at = b * SPLIT_TERMS * BF16_NUMBERS;
            pair_gates_of_steps(lower + at, 2 * p + 1 < steps ? upper + at : none, gates + p * SPLIT_STEP);
        }
        for (long u = 0; u < count; u++, side = !side) {
            beside.last.each = parts(BF16_BLOCK, BESIDES * pairs);
            __asm__ volatile("" ::: "memory");  // compilers don't know what tiles are loaded from
            split_sums(packed + u * SUMMED_WORDS, gates, pairs, sums[side], &beside, 0, NONE_IS_PAST);
            finish_rows(&beside.last, beside.last.rows);
            to[side] = (BlockSums){all + (u * across + b) * SPLIT_SUMS, step + steps < g->of.steps};
            beside.last = (SplitFinish){add_to_block, &to[side], sums[side], 0, 0, BF16_BLOCK, BF16_BLOCK, 0};
        }
    }
    finish_rows(&beside.last, beside.last.rows);
}

// The sums of all tasks, of 32 gates.
static void gate_sums_task(void *argument, long index) {
    const GateSums *g = argument;
    long across = gates_in_blocks(g), tasks = recurrent_tasks(g->of.samples), before = 0;
    for (const Factor *x = g->factors; x < g->factors + MOST_FACTORS; before += parts(x->columns, BF16_BLOCK), x++)
        for (long column = 0; column < x->columns; column += BF16_SIDE)
            for (long half = 0; half < BF16_BLOCK; half += BF16_SIDE) {
                long from = ((before + column / BF16_BLOCK) * across + index) * SPLIT_SUMS + column % BF16_BLOCK * BF16_BLOCK + half;
                Vector rows[LANES];
                UNROLLED for (int i = 0; i < LANES; i++) rows[i] = load(sums_of_task(g, 0) + from + i * BF16_BLOCK);
                for (long task = 1; task < tasks; task++)
                    UNROLLED for (int i = 0; i < LANES; i++) rows[i] += load(sums_of_task(g, task) + from + i * BF16_BLOCK);
                transpose(rows);
                float *to = x->out + (index * BF16_BLOCK + half) * x->columns + column;
                for (int i = 0; i < LANES; i++) store_some(to + i * x->columns, rows[i], x->columns - column);
            }
}

static long gate_sums_bytes(const GateSums *g) { return recurrent_tasks(g->of.samples) * (bytes_of_sums(g) + 64); }
#endif

// The gradient in tiles, and the sums.
static void tiled_lstm_grad_and_sums(TiledLstm l, GateSums g) {
#ifdef __AMX_BF16__
    long tasks = recurrent_tasks(g.of.samples);
    int infinite[tasks], any = 0;
    memset(infinite, 0, sizeof infinite);
    g.following = (Following){sum_steps, SUMMED_STEPS, infinite};
    l.following = &g.following;
    tiled_lstm_grad_float32(&l);
    for (long task = 0; task < tasks; task++) any |= infinite[task];
    if (!any && g.of.steps) {
        parallel(gate_sums_task, &g, gates_in_blocks(&g));
        return;
    }
#endif
    plain_gate_sums(l.d_gates, &g);
}

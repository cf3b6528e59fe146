// The gradients of an LSTM's weights beside its own: the sums over steps and samples of the cotangents of gates times what the
// weights have multiplied. In tiles the cotangents' terms are there already, so some steps at a time are multiplied while they
// are in the second-level cache, two steps of 16 samples in the depth of a tile. Here are those of bfloat16, and what those of
// float32 share with them.

enum {
    MOST_FACTORS = 2,
    SUMMED_HALVES = 16,  // steps of bfloat16 at a time
    BLOCK_SUMS = BF16_BLOCK * BF16_BLOCK,
};

typedef struct {
    const void *at;  // (steps, samples, columns)
    void *out;       // (4 width, columns)
    long columns;
} Factor;

typedef struct {
    Following following;
    Sequences of;
    Factor factors[MOST_FACTORS];  // up to the first of no columns
    char *scratch;                 // of each task bytes_of_sums at a multiple of 64
    long words;                    // of a block of 32 packed columns
    const void *d_gates;           // (steps, samples, 4 width)
} GateSums;

#ifdef __AMX_BF16__
static inline long blocks_of_factors(const GateSums *g) {
    long blocks = 0;
    for (const Factor *x = g->factors; x < g->factors + MOST_FACTORS; x++) blocks += parts(x->columns, BF16_BLOCK);
    return blocks;
}

// A task's memory: sums of blocks of 32 columns by 32 gates, and the packed columns of some steps.
static inline long gates_in_blocks(const GateSums *g) { return 4 * g->of.width / BF16_BLOCK; }
static inline long bytes_of_sums(const GateSums *g) {
    return 4 * blocks_of_factors(g) * (gates_in_blocks(g) * BLOCK_SUMS + g->words);
}
static inline float *sums_of_task(const GateSums *g, long task) { return (float *)(g->scratch + task * bytes_of_sums(g)); }
static inline uint32_t *columns_of_task(const GateSums *g, long task) {
    return (uint32_t *)(sums_of_task(g, task) + blocks_of_factors(g) * gates_in_blocks(g) * BLOCK_SUMS);
}

// Words of the numbers of two rows, the first row's in lower halves: of the first 16 columns and of the others.
typedef struct { __m512i words[2]; } RowPairs;

static inline RowPairs pair_rows(__m512i lower, __m512i upper) {
    const __m512i first = _mm512_add_epi16(_mm512_set1_epi32(32 << 16), _mm512_mullo_epi32(
        _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0), _mm512_set1_epi32(0x10001)));
    const __m512i second = _mm512_add_epi16(first, _mm512_set1_epi16(16));
    return (RowPairs){{_mm512_permutex2var_epi16(lower, first, upper), _mm512_permutex2var_epi16(lower, second, upper)}};
}

// The sums of all tasks, of 32 gates.
static inline __attribute__((always_inline)) void add_up_gates(const GateSums *g, long block, const int half) {
    long across = gates_in_blocks(g), tasks = recurrent_tasks(g->of.samples), before = 0;
    for (const Factor *x = g->factors; x < g->factors + MOST_FACTORS; before += parts(x->columns, BF16_BLOCK), x++)
        for (long column = 0; column < x->columns; column += BF16_SIDE)
            for (long gate = 0; gate < BF16_BLOCK; gate += BF16_SIDE) {
                long from = ((before + column / BF16_BLOCK) * across + block) * BLOCK_SUMS + column % BF16_BLOCK * BF16_BLOCK + gate;
                Vector rows[LANES];
                UNROLLED for (int i = 0; i < LANES; i++) rows[i] = load(sums_of_task(g, 0) + from + i * BF16_BLOCK);
                for (long task = 1; task < tasks; task++)
                    UNROLLED for (int i = 0; i < LANES; i++) rows[i] += load(sums_of_task(g, task) + from + i * BF16_BLOCK);
                transpose(rows);
                for (int i = 0; i < LANES; i++) {
                    long at = (block * BF16_BLOCK + gate + i) * x->columns + column, columns = at_most(LANES, x->columns - column);
                    uint16_t halves[LANES];
                    if (!half) {
                        store_some((float *)x->out + at, rows[i], columns);
                        continue;
                    }
                    store_half(halves, rows[i]);
                    memcpy((uint16_t *)x->out + at, halves, (size_t)columns * sizeof *halves);
                }
            }
}

// ---- bfloat16 ----

// An array (steps, samples, columns) of which a task sums `rows` samples from `first` on over `steps` steps from `step` on.
typedef struct { const uint16_t *at; long columns; const Sequences *of; long first, rows, step, steps; } Halves;

// Of two of the steps 32 columns from one on: of each sample a word for each column, zeros where there are none.
static inline __attribute__((always_inline)) void pair_halves(const Halves *x, long pair, long column, RowPairs words[BF16_SIDE]) {
    __mmask32 there = 0xffffffffu >> (BF16_BLOCK - at_most(BF16_BLOCK, x->columns - column));
    long lower = x->step + 2 * pair, upper = at_most(lower + 1, x->step + x->steps - 1);
    const uint16_t *from = x->at + x->first * x->columns + column;
    const uint16_t *first = from + step_at(x->of, lower) * x->of->samples * x->columns;
    const uint16_t *second = from + step_at(x->of, upper) * x->of->samples * x->columns;
    UNROLLED for (long r = 0; r < BF16_SIDE; r++) {
        __mmask32 own = r < x->rows ? there : 0;
        words[r] = pair_rows(_mm512_maskz_loadu_epi16(own, first + r * x->columns),
                             _mm512_maskz_loadu_epi16(upper > lower ? own : 0, second + r * x->columns));
    }
}

// These as rows of words: of each sample a word for each column, or, turned, of each column a word for each sample.
static void pack_halves(const Halves *x, long pair, long column, const int turned, uint32_t *to) {
    RowPairs words[BF16_SIDE];
    pair_halves(x, pair, column, words);
    UNROLLED for (int half = 0; half < 2; half++) {
        Vector rows[LANES];
        UNROLLED for (int r = 0; r < LANES; r++) rows[r] = (Vector)words[r].words[half];
        if (turned) transpose(rows);
        UNROLLED for (int r = 0; r < LANES; r++) store((float *)to + half * BF16_TILE + r * BF16_SIDE, rows[r]);
    }
}

// Adds some steps of a task's samples to its sums. Cotangents are read where they have been stored.
static void sum_halves(const Following *f, long task, long step, long steps, const uint16_t *terms, long numbers) {
    enum { PAIR = 2 * BF16_TILE };  // words of two steps
    const GateSums *g = (const GateSums *)(const void *)f;
    long first = task * samples_a_task(g->of.samples), rows = at_most(samples_a_task(g->of.samples), g->of.samples - first);
    long pairs = parts(steps, 2), across = gates_in_blocks(g), count = 0;
    int tiles = bf16_tiles_allowed();
    float *all = sums_of_task(g, task);
    uint32_t *packed = columns_of_task(g, task), gates[SUMMED_HALVES / 2 * PAIR] __attribute__((aligned(64)));
    Halves d = {g->d_gates, 4 * g->of.width, &g->of, first, rows, step, steps};
    (void)terms, (void)numbers;
    for (const Factor *x = g->factors; x < g->factors + MOST_FACTORS; count += parts(x->columns, BF16_BLOCK), x++) {
        Halves numbers_of = {x->at, x->columns, &g->of, first, rows, step, steps};
        for (long p = 0; p < pairs; p++)
            for (long column = 0; column < x->columns; column += BF16_BLOCK)
                pack_halves(&numbers_of, p, column, 1, packed + (count + column / BF16_BLOCK) * g->words + p * PAIR);
    }
    for (long b = 0; b < across; b++) {
        for (long p = 0; p < pairs; p++) pack_halves(&d, p, b * BF16_BLOCK, 0, gates + p * PAIR);
        for (long u = 0; u < count; u++) {
            Bf16Term term = {(const uint16_t *)(packed + u * g->words), gates};
            __asm__ volatile("" ::: "memory");  // compilers don't know what tiles are loaded from
            bf16_block(tiles, &term, 1, bf16_packed, pairs, all + (u * across + b) * BLOCK_SUMS, step + steps < g->of.steps, 0, 0);
        }
    }
}

static void add_up_halves_task(void *g, long block) { add_up_gates(g, block, 1); }

// The gradient in tiles, and the sums.
static inline void tiled_lstm_grad_and_sums_bfloat16(TiledLstm l, GateSums g) {
    g.following = (Following){sum_halves, SUMMED_HALVES, 2, NULL};
    g.words = SUMMED_HALVES * BF16_TILE;
    g.d_gates = l.d_gates;
    l.following = &g.following;
    tiled_lstm_grad_bfloat16(&l);
    parallel(add_up_halves_task, &g, gates_in_blocks(&g));
}
#endif

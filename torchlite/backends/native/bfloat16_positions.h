// Where there are no tile registers: the sums of a convolution by positions, each of which reads its windows where they lie.
//
// A tile of sums is BF16_ROWS positions, anywhere in a sample, times 32 results, or where there are at most 16, twice as many
// positions, two side by side: as many registers, and a number of the weights is loaded once for all of them. No position
// between the end of a row of windows and the next is computed, and runs of channels need not fill tiles.

#ifndef __AMX_BF16__

static inline long bf16_positions_of(const Bf16Sum *s) { return s->rows * s->columns; }

// sums (positions x 32) = the products of runs of `pairs` pairs, beginning so far from those of the window at 0. Of each pointer
// `beside` positions are `step` numbers apart, for which there are 2 / `beside` vectors of results.
static inline __attribute__((always_inline)) void bf16_sum_tile(const int beside, const Bf16Term *term, long terms, const long *at,
                                                                long step, long pairs, int column, float *sums) {
    Bf16Sums sum[BF16_ROWS][2];
    UNROLLED for (int r = 0; r < BF16_ROWS; r++)
        UNROLLED for (int v = 0; v < 2; v++) sum[r][v] = (Bf16Sums){0};
    for (long t = 0; t < terms; t++) {
        const uint16_t *x[BF16_ROWS];
        const uint32_t *weight = term[t].right + column, *end = weight + pairs * BF16_SIDE;
        UNROLLED for (int r = 0; r < BF16_ROWS; r++) x[r] = term[t].left + at[r * beside];
        for (long i = 0; weight < end; weight += BF16_SIDE, i += 2)
            UNROLLED for (int r = 0; r < BF16_ROWS; r++)
                UNROLLED for (int v = 0; v < 2; v++)
                    sum[r][v] = bf16_dot(sum[r][v], bf16_pair(x[r] + i + (beside == 2 ? v * step : 0)),
                                         weight + (beside == 2 ? 0 : v * pairs * BF16_SIDE));
    }
    UNROLLED for (int r = 0; r < BF16_ROWS; r++)
        UNROLLED for (int v = 0; v < 2; v++)
            store(sums + column + (beside == 2 ? (2 * r + v) * BF16_BLOCK : r * BF16_BLOCK + v * BF16_SIDE), (Vector)sum[r][v]);
}

// Hands over finished sums of some positions.
static void bf16_hand_over(const Bf16Sum *s, float *sums, long sample, long first, long result) {
    long results = at_most(BF16_BLOCK, s->results - result), end = bf16_positions_of(s);
    if (s->bias) bf16_add_bias(s, sums, result, results);
    if (!s->finish) bf16_write_positions(s, sums, sample, first, result, results);
    else if (s->whole_rows * s->whole_columns != end) bf16_finish_positions(s, sums, sample, first, result, results);
    else s->finish(s->context, sums, BF16_BLOCK, sample * end + first, result, at_most(BF16_BLOCK, end - first), results);
}

// What the next sample reads and writes.
static Bf16Ahead bf16_next_sample(const Bf16Sum *s, long sample, long tiles) {
    Bf16Ahead ahead = bf16_nothing_ahead();
    if (sample == s->samples) return ahead;
    if (s->fill.each) bf16_look_at_rows(&ahead, s->fill, sample, 1, s->height * s->width * s->channels, tiles);
    else bf16_look_at_samples(&ahead, &s->source, sample, 1, s->height, s->width, s->channels, tiles);
    Bf16OnRows finish = {s->finish, s->context, s->finished};
    bf16_look_at_rows(&ahead, finish, sample, 1, s->whole_rows * s->whole_columns * s->results, tiles);
    return ahead;
}

// The terms of a block of results for one sample, which lies copied.
static void bf16_terms_of(const Bf16Sum *s, const uint16_t *copy, long block, Bf16Term *terms) {
    long runs = s->across.taps / s->together, words = 2 * s->pairs * BF16_SIDE;
    for (long t = 0; t < s->terms; t++) {
        long down = s->down.at[t / runs], across = s->across.at[s->together > 1 ? 0 : t % runs];
        long line = down % s->down.step * s->plane_rows + down / s->down.step;
        terms[t].left = copy + (line * s->padded + across) * s->wide;
        terms[t].right = (const uint32_t *)s->scratch + (block * s->terms + t) * words;
    }
}

// How many positions lie side by side in a tile.
static inline int bf16_beside(const Bf16Sum *s, long block) { return s->results - block * BF16_BLOCK <= BF16_SIDE ? 2 : 1; }

// The sums of some positions, at most a block.
static void bf16_sum_positions(const Bf16Sum *s, const Bf16Term *terms, const long *at, long count, int beside, Bf16Ahead *ahead,
                               float *sums) {
    long step = s->across.step * s->wide;
    for (long i = 0; i < count; i += beside * BF16_ROWS) {
        bf16_ask(ahead);
        for (int column = 0; column < BF16_SIDE; column += BF16_WIDE) {
            if (beside == 2) bf16_sum_tile(2, terms, s->terms, at + i, step, s->pairs, column, sums + i * BF16_BLOCK);
            else bf16_sum_tile(1, terms, s->terms, at + i, step, s->pairs, column, sums + i * BF16_BLOCK);
        }
    }
}

static inline uint16_t *bf16_copy_of(const Bf16Sum *s, long share) {
    uint16_t *copies = (uint16_t *)((uint32_t *)s->scratch + bf16_weight_words(s));
    return copies + share * bf16_copied(s) / (long)sizeof(uint16_t);
}

static void bf16_sum_task(void *argument, long share) {
    const Bf16Sum *s = argument;
    long shares = bf16_shares(s->samples), first = share * s->samples / shares, last = (share + 1) * s->samples / shares;
    uint16_t *copy = bf16_copy_of(s, share);
    long end = bf16_positions_of(s), blocks = parts(s->results, BF16_BLOCK);
    long tiles = blocks * parts(end, (s->columns % 2 ? 1 : bf16_beside(s, 0)) * BF16_ROWS);
    Bf16Term terms[BF16_MOST_TAPS * BF16_MOST_TAPS];
    float sums[BF16_BLOCK * BF16_BLOCK] __attribute__((aligned(64)));
    memset(copy, 0, (size_t)s->sample_size * sizeof *copy);
    for (long sample = first; sample < last; sample++) {
        if (s->terms || s->fill.each) bf16_copy_sample(s, sample, copy);
        Bf16Ahead ahead = bf16_next_sample(s, sample + 1, tiles);
        for (long b = 0; b < blocks; b++) {
            int beside = s->columns % 2 ? 1 : bf16_beside(s, b);
            bf16_terms_of(s, copy, b, terms);
            for (long p = 0, row = 0, column = 0; p < end; p += BF16_BLOCK) {
                long at[BF16_BLOCK];
                for (int i = 0; i < BF16_BLOCK; i++) {
                    at[i] = (row * s->padded + column * s->across.step) * s->wide;
                    if (p + i + 1 < end && ++column == s->columns) column = 0, row++;
                }
                bf16_sum_positions(s, terms, at, at_most(BF16_BLOCK, end - p), beside, &ahead, sums);
                bf16_hand_over(s, sums, sample, p, b * BF16_BLOCK);
            }
        }
    }
}

#endif

// results = sums over taps and channels, once `bf16_arrange` has been called and there is scratch memory.
static void bf16_sum(Bf16Sum *s) {
    s->tiles = bf16_tiles_allowed();
    parallel(bf16_pack_weights_task, s, parts(s->results, BF16_BLOCK));
    parallel(bf16_sum_task, s, bf16_shares(s->samples));
}

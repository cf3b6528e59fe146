// The gradient of the weight of a convolution in bfloat16 where the cotangent's channels lie side by side, without tile registers;
// with them and without, the sum of what shares have.
//
// Pixels are paired within rows, so that no position between two rows is multiplied: a row of the input once for each place
// in a pair and each residue by the stride at which a tap begins, a row of the cotangent once. The words of the cotangent are
// read one by one, so nothing is turned. Where channels are few, those of all taps of a row are one tile.

#ifndef __AMX_BF16__

enum { BF16_POSITIONS = 256 };  // whose pairs lie in the first-level cache while all sums pass by

typedef struct {
    const Bf16WeightGrad *s;
    long first, last;       // tiles of 16 results
    uint16_t *pixels, *row; // a row of the input and one of the cotangent, with zeros beside them
    uint16_t *made;         // a row of the input as it is made
    uint32_t *pairs;        // [residue of a row][beginning][tile of channels][sample][row][pair][16 channels]
    uint32_t *grad;         // [sample][row][pair][result]
    Bf16Ahead ahead;
} Bf16Paired;

static inline long bf16_beginnings(const Bf16WeightGrad *s) { return 2 * s->across.step; }
static inline long bf16_pairs_of_row(const Bf16WeightGrad *s) { return parts(s->columns, 2); }
static inline long bf16_wide_of_pixel(const Bf16WeightGrad *s) {
    return s->joined > 1 ? s->channels : bf16_channel_tiles(s) * BF16_SIDE;
}
static inline long bf16_pixels_of_row(const Bf16WeightGrad *s) { return bf16_beginnings(s) * s->pitch + s->across.step; }
static inline long bf16_words_of_row(const Bf16WeightGrad *s) { return s->pitch * BF16_SIDE; }
static inline long bf16_words_of_tile(const Bf16WeightGrad *s) { return s->together * s->plane_rows * bf16_words_of_row(s); }

// Does what `bf16_arrange_weight_grad` has left.
static void bf16_arrange_beside(Bf16WeightGrad *s) {
    long across = 0;
    for (long k = 0; k < s->across.taps; k++) across = at_least(across, s->across.at[k] / bf16_beginnings(s));
    long tiles = bf16_channel_tiles(s), results = bf16_tiles_of(s->results) * BF16_SIDE;
    s->pitch = bf16_pairs_of_row(s) + across;
    s->band = at_most(at_least(BF16_POSITIONS / s->columns, 1), s->rows);
    s->together = at_most(at_least(BF16_POSITIONS / (s->rows * s->columns), 1), parts(s->samples, s->shares));
    if (s->channels * s->across.taps <= BF16_SIDE) {
        s->joined = s->across.taps;
        s->tiles_of_taps = parts(s->down.taps, 2);
        s->sums = s->tiles_of_taps * parts(s->results, BF16_BLOCK) * BF16_BLOCK * BF16_BLOCK;
    }
    long pixels = bf16_pixels_of_row(s) * bf16_wide_of_pixel(s) + 2 * bf16_pairs_of_row(s) * results;
    long words = s->down.step * bf16_beginnings(s) * tiles * bf16_words_of_tile(s);
    s->copied_bytes = parts(pixels * (long)sizeof(uint16_t), 64) * 64 + words * (long)sizeof(uint32_t);
    s->share_bytes = s->copied_bytes + s->together * s->band * bf16_pairs_of_row(s) * results * (long)sizeof(uint32_t);
    s->share_bytes += bf16_made(s->width * s->channels) * (long)sizeof(uint16_t);
}

// Pairs of a row, with the channels of all taps side by side.
static void bf16_pair_taps(const Bf16WeightGrad *s, const uint16_t *pixels, uint32_t *to) {
    long step = s->across.step * s->channels;
    for (long i = 0; i < bf16_pairs_of_row(s); i++, pixels += 2 * step, to += BF16_SIDE)
        for (long k = 0; k < s->across.taps; k++)
            for (long c = 0; c < s->channels; c++) {
                const uint16_t *x = pixels + s->across.at[k] * s->channels + c;
                to[k * s->channels + c] = x[0] | (uint32_t)x[step] << 16;
            }
}

// Pairs of a row from each beginning that a tap has.
static void bf16_pair_beginnings(const Bf16WeightGrad *s, const uint16_t *pixels, uint32_t *to) {
    long tiles = bf16_channel_tiles(s), wide = tiles * BF16_SIDE, beginnings = bf16_beginnings(s);
    for (long v = 0; v < beginnings; v++) {
        int wanted = 0;
        for (long k = 0; k < s->across.taps; k++) wanted |= s->across.at[k] % beginnings == v;
        for (long tile = 0; tile < (wanted ? tiles : 0); tile++) {
            const uint16_t *from = pixels + v * wide + tile * BF16_SIDE;
            uint32_t *target = to + (v * tiles + tile) * bf16_words_of_tile(s);
            for (long i = 0; i < s->pitch; i++, from += beginnings * wide, target += BF16_SIDE)
                bf16_across(from, from + s->across.step * wide, 1, target);
        }
    }
}

// Pairs the rows of a sample of the input from the one that is read at `begin` rows of the cotangent to those before `end`.
static void bf16_pair_rows(const Bf16Paired *b, long sample, long place, long begin, long end) {
    const Bf16WeightGrad *s = b->s;
    const Bf16Array *a = &s->source;
    long wide = bf16_wide_of_pixel(s), width = at_most(s->width, bf16_pixels_of_row(s) - s->across.before);
    long first = at_least(begin * s->down.step - s->down.before, 0), last = at_most(end * s->down.step - s->down.before, s->height);
    for (long h = first; h < last; h++) {
        long row = (h + s->down.before) / s->down.step, phase = (h + s->down.before) % s->down.step;
        if (!bf16_is_read(&s->down, phase)) continue;
        uint16_t *pixels = b->pixels + s->across.before * wide;
        if (s->fill.each)
            bf16_fill_row(s->fill, b->made, (sample * s->height + h) * s->width, s->width, width, s->channels, wide, pixels);
        else bf16_copy_row(a, sample * a->sample + h * a->row, width, s->channels, wide, pixels);
        uint32_t *to = b->pairs + phase * bf16_beginnings(s) * bf16_channel_tiles(s) * bf16_words_of_tile(s) +
                       (place * s->plane_rows + row) * bf16_words_of_row(s);
        if (s->joined > 1) bf16_pair_taps(s, b->pixels, to);
        else bf16_pair_beginnings(s, b->pixels, to);
    }
}

// Pairs rows of the cotangent of a sample.
static void bf16_pair_grad(const Bf16Paired *b, long sample, long place, long begin, long end) {
    const Bf16WeightGrad *s = b->s;
    const Bf16Array *a = &s->grad;
    long wide = bf16_tiles_of(s->results) * BF16_SIDE, pairs = bf16_pairs_of_row(s);
    uint32_t *to = b->grad + place * (end - begin) * pairs * wide;
    int dense = a->half && a->channel == 1 && a->column == wide && wide == s->results && s->columns % 2 == 0;
    for (long row = begin; row < end; row++) {
        const uint16_t *line = (const uint16_t *)a->at + sample * a->sample + row * a->row;
        if (!dense) {
            bf16_copy_row(a, sample * a->sample + row * a->row, s->columns, s->results, wide, b->row);
            line = b->row;
        }
        for (long i = 0; i < pairs; i++, line += 2 * wide)
            for (long r = 0; r < wide; r += BF16_SIDE, to += BF16_SIDE) bf16_across(line + r, line + wide + r, 1, to);
    }
}

// Where the pairs begin that a tap reads, of a tile of channels.
static const uint32_t *bf16_pairs_of(const Bf16Paired *b, long tap, long tile) {
    const Bf16WeightGrad *s = b->s;
    long runs = s->across.taps / s->joined, beginnings = bf16_beginnings(s);
    long down = s->down.at[tap / runs], across = s->joined > 1 ? 0 : s->across.at[tap % runs];
    long plane = down % s->down.step * beginnings + across % beginnings;
    return b->pairs + (plane * bf16_channel_tiles(s) + tile) * bf16_words_of_tile(s) + down / s->down.step * bf16_words_of_row(s) +
           across / beginnings * BF16_SIDE;
}

typedef struct { long samples, rows, pairs, results, sample_words, row_words; } Bf16Stretch;

// sums (results x 32) = or += words of the cotangent times pairs of both tiles, or, of `beside` = 2, of the first for twice as
// many results.
static inline __attribute__((always_inline)) void bf16_add_tile(const int beside, Bf16Stretch of, const uint32_t *grad,
                                                                const uint32_t *const *pairs, int column, float *sums, int add) {
    enum { ROW = BF16_BLOCK };
    Bf16Sums sum[BF16_ROWS][2];
    float *at = sums + column;
    const long lower = beside == 2 ? BF16_ROWS * ROW : BF16_SIDE;
    UNROLLED for (int r = 0; r < BF16_ROWS; r++)
        UNROLLED for (int v = 0; v < 2; v++) sum[r][v] = add ? (Bf16Sums)load(at + r * ROW + v * lower) : (Bf16Sums){0};
    for (long n = 0; n < of.samples; n++)
        for (long row = 0; row < of.rows; row++) {
            const uint32_t *first = pairs[0] + n * of.sample_words + row * of.row_words + column;
            const uint32_t *second = pairs[1] + n * of.sample_words + row * of.row_words + column;
            const uint32_t *end = first + of.pairs * BF16_SIDE;
            for (; first < end; first += BF16_SIDE, second += BF16_SIDE, grad += of.results)
                UNROLLED for (int r = 0; r < BF16_ROWS; r++)
                    UNROLLED for (int v = 0; v < 2; v++)
                        sum[r][v] = bf16_dot(sum[r][v], grad[beside == 2 ? r + v * BF16_ROWS : r],
                                             beside == 1 && v ? second : first);
        }
    UNROLLED for (int r = 0; r < BF16_ROWS; r++)
        UNROLLED for (int v = 0; v < 2; v++) store(at + r * ROW + v * lower, (Vector)sum[r][v]);
}

// Adds what some rows make to the sums of all blocks, or begins them.
static void bf16_add_rows(Bf16Paired *b, long samples, long begin, long end, float *sums, int add) {
    const Bf16WeightGrad *s = b->s;
    long few = s->channels <= BF16_SIDE, results = bf16_tiles_of(s->results) * BF16_SIDE;
    long row = bf16_words_of_row(s);
    Bf16Stretch of = {samples, end - begin, bf16_pairs_of_row(s), results, s->plane_rows * row, row};
    for (long tile = b->first; tile < b->last; tile += 2)
        for (long t = 0; t < s->tiles_of_taps; t++)
            for (long c = 0; c < s->channel_blocks; c++) {
                float *block = sums + ((tile / 2 * s->tiles_of_taps + t) * s->channel_blocks + c) * BF16_BLOCK * BF16_BLOCK;
                long alone = few && 2 * t + 1 == s->taps / s->joined, rows = tile + 1 == b->last ? BF16_SIDE : BF16_BLOCK;
                const uint32_t *pairs[2] = {bf16_pairs_of(b, few ? 2 * t : t, 2 * c), NULL};
                pairs[1] = alone ? pairs[0] : bf16_pairs_of(b, few ? 2 * t + 1 : t, few ? 0 : 2 * c + 1);
                for (int v = 0; v < 2; v++) pairs[v] += begin * row;
                for (long r = 0; r < rows; r += alone ? 2 * BF16_ROWS : BF16_ROWS) {
                    bf16_ask(&b->ahead);
                    for (int column = 0; column < BF16_SIDE; column += BF16_WIDE) {
                        const uint32_t *grad = b->grad + tile * BF16_SIDE + r;
                        if (alone) bf16_add_tile(2, of, grad, pairs, column, block + r * BF16_BLOCK, add);
                        else bf16_add_tile(1, of, grad, pairs, column, block + r * BF16_BLOCK, add);
                    }
                }
            }
}

static void bf16_weight_grad_beside_task(void *argument, long index) {
    const Bf16WeightGrad *s = argument;
    long share = index / s->splits, split = index % s->splits, blocks = parts(s->results, BF16_BLOCK);
    long sample = share * s->samples / s->shares, last = (share + 1) * s->samples / s->shares;
    long reach = s->plane_rows - s->rows;  // rows that taps read below a position
    float *sums = (float *)s->scratch + share * s->sums;
    char *room = (char *)((float *)s->scratch + s->shares * s->sums) + index * s->share_bytes;
    long words = s->down.step * bf16_beginnings(s) * bf16_channel_tiles(s) * bf16_words_of_tile(s);
    Bf16Paired b = {s, split * blocks / s->splits * 2, at_most((split + 1) * blocks / s->splits * 2, bf16_tiles_of(s->results)),
                    .pixels = (uint16_t *)((uint32_t *)room + words), .pairs = (uint32_t *)room,
                    .grad = (uint32_t *)(room + s->copied_bytes)};
    b.made = (uint16_t *)(b.grad + s->together * s->band * bf16_pairs_of_row(s) * bf16_tiles_of(s->results) * BF16_SIDE);
    b.row = b.pixels + bf16_pixels_of_row(s) * bf16_wide_of_pixel(s);
    memset(room, 0, (size_t)s->copied_bytes);
    for (int add = 0; sample < last; sample += s->together) {
        long count = at_most(s->together, last - sample), next = sample + count;
        long tiles = (b.last - b.first) * (BF16_SIDE / BF16_ROWS) * s->tiles_of_taps * s->channel_blocks * parts(s->rows, s->band);
        long following = at_most(s->together, last - next);
        b.ahead = bf16_nothing_ahead();
        if (s->fill.each) bf16_look_at_rows(&b.ahead, s->fill, next, following, s->height * s->width * s->channels, tiles);
        else bf16_look_at_samples(&b.ahead, &s->source, next, following, s->height, s->width, s->channels, tiles);
        bf16_look_at_samples(&b.ahead, &s->grad, next, following, s->rows, s->columns, s->results, tiles);
        for (long begin = 0; begin < s->rows; begin += s->band, add = 1) {
            long end = at_most(begin + s->band, s->rows);
            for (long n = 0; n < count; n++) {
                bf16_pair_rows(&b, sample + n, n, begin ? begin + reach : 0, end + reach);
                bf16_pair_grad(&b, sample + n, n, begin, end);
            }
            bf16_add_rows(&b, count, begin, end, sums, add);
        }
    }
}
#endif

// Adds up the sums of all shares, for one result.
static void bf16_add_shares_beside_task(void *argument, long result) {
    const Bf16WeightGrad *s = argument;
    long few = s->channels <= BF16_SIDE, each = few ? BF16_SIDE : BF16_BLOCK;
    long runs = s->across.taps / s->joined, channels = s->channels * s->joined;
    Bf16Array to = {.at = s->weight, .half = s->weight_half};
    for (long tap = 0; tap < s->down.taps * runs; tap++)
        for (long c = 0; c < channels; c += each) {
            long t = few ? tap / 2 : tap, block = (result / BF16_BLOCK * s->tiles_of_taps + t) * s->channel_blocks + c / BF16_BLOCK;
            const float *sums = (const float *)s->scratch + (block * BF16_BLOCK + result % BF16_BLOCK) * BF16_BLOCK +
                                (few ? tap % 2 * BF16_SIDE : 0);
            float total[BF16_BLOCK] = {0};
            for (long share = 0; share < s->shares; share++)
                for (long i = 0; i < each; i++) total[i] += sums[share * s->sums + i];
            long at = result * s->weight_result + s->down.tap[tap / runs] * s->weight_row;
            if (s->joined == 1) at += s->across.tap[tap % runs] * s->weight_column;
            for (long i = c; i < at_most(c + each, channels); i++) {
                long beside = s->joined == 1 ? i * s->weight_channel
                                             : s->across.tap[i / s->channels] * s->weight_column + i % s->channels * s->weight_channel;
                bf16_write(&to, at + beside, total[i - c]);
            }
        }
}

static void bf16_weight_grad_beside(Bf16WeightGrad *s) {
    parallel(bf16_weight_grad_beside_task, s, s->shares * s->splits);
    parallel(bf16_add_shares_beside_task, s, s->results);
}

// Convolutions of stride 1 and the gradients of their inputs, as `convolution_nhwc.h` has them, in tile registers (AMX): as sums
// of products of numbers that are split (`split_float32.h`).
//
// Where rows of the source are copied, or computed, they are split. A split row lies as [32 channels][term][pixel][channel], so
// that the left tile of any tap is 16 neighbouring pixels as they lie, and a row is split once for all taps and results. Where
// rows are short those of some samples are woven into one, pixel by pixel, so that 16 neighbours belong to as many results.
//
// As in `gemm_tiles.h` small terms are added up first, over all taps and channels, each tile is loaded right before its first
// product, and the rows of the source that come next are split beside the products, where also what follows the last sums is done.
// Numbers that are small or large are multiplied by a power of two, which each strip of rows finds for itself; what is read
// by results of rows whose numbers span too much, or are infinite, is kept or put together again for multiply-adds.

#ifdef __AMX_BF16__
enum {
    SPLIT_AT_ONCE = 4,     // pixels that are split at once
    FINISHED_AT_ONCE = 8,  // positions whose sums are handed over at once
    MOST_SLOTS = 64,
    FEW_PIXELS = 4,        // whose sums multiply-adds form at once: more take longer to be compiled than they are worth here
    SPLIT_HEADROOM = 8,    // by which later rows of a strip may be larger than those that its scale is found for
    TAP_WORDS = 2 * SPLIT_TERMS * BF16_TILE,
};

// How the work is laid out.
typedef struct {
    long woven;  // samples whose pixels take turns
    long high;   // rows of the result that are computed at once: a step
    long lower;  // rows of the lower tiles of a block
    long slots;  // for split rows, of the step and the next one
} Weave;

// A block is two tiles of positions, which lie anywhere in a step, by 32 results.
ALWAYS long tiles_across(const Convolution g, const Weave w) { return parts(w.woven * g.columns, BF16_SIDE); }
ALWAYS long blocks_of_step(const Convolution g, const Weave w) { return w.high * tiles_across(g, w) / 2; }
ALWAYS long pieces_of_block(const Weave w) {
    return parts(BF16_SIDE / w.woven, FINISHED_AT_ONCE) + parts(w.lower / w.woven, FINISHED_AT_ONCE);
}

// Words of a term of 32 channels of a row, and of the row.
ALWAYS long term_words(const Convolution g, const Weave w) { return w.woven * g.padded * BF16_SIDE; }
ALWAYS long depth_of(const Convolution g) { return g.channels / BF16_DEPTH; }
ALWAYS long slot_words(const Convolution g, const Weave w) { return depth_of(g) * SPLIT_TERMS * term_words(g, w); }
ALWAYS long pieces_of_row(const Convolution g, const Weave w) { return w.woven * parts(g.width, SPLIT_AT_ONCE); }

// Split weights: [32 results][tap down][tap across][32 channels][term][two tiles]
ALWAYS long row_words(const Convolution g) { return g.across.taps * depth_of(g) * TAP_WORDS; }

typedef struct {
    ConvolutionArrays arrays;  // with packed weights for multiply-adds
    uint32_t *weights;
    SplitRange *ranges;  // of each row of taps of a block of results
    SplitSpan span;      // of all weights
    int allowed;         // whether the system lets this process use tile registers
} SplitConvolution;

// Rows begin to end - 1 of the results of woven samples, of which they read the row `first` in slot number `slot`, and on.
typedef struct { long sample, begin, end, first, slot, scale; } Strip;

// What is done beside products.
typedef struct {
    const SplitConvolution *of;
    uint32_t *slots;
    float *staged;  // a row before it is split
    long least[MOST_SLOTS];  // the exponent of the least of the numbers in each slot
    Strip strip;     // whose rows are split, of which `row` is next, piece by piece, up to `last`
    long row, last, piece;
    SplitRange range, all;  // of the numbers of that row, and of those before it that were scaled alike
    Strip finished;  // of the last sums, which begin with tile number `tile` of a step
    float *sums;
    long tile, done, left;  // positions of a tile that have been handed over; pieces that are left
    long until_split, until_finish, each_split, each_finish;  // calls until something is done, each time
} SplitBesides;

typedef void (*DoBeside)(SplitBesides *b);
typedef struct { DoBeside split, finish, some; } Besides;

ALWAYS long strips_of(const Convolution g, const Weave w) { return parts(g.samples, w.woven) * parts(g.rows, g.band); }
ALWAYS Strip strip_of(const Convolution g, const Weave w, long index) {
    const long bands = parts(g.rows, g.band), begin = index % bands * g.band;
    return (Strip){index / bands * w.woven, begin, at_most(begin + g.band, g.rows), first_row(g, begin), 0, 0};
}
ALWAYS long slot_of(const Weave w, const Strip *strip, long row) { return (strip->slot + row - strip->first) % w.slots; }
ALWAYS long last_of_step(const Convolution g, const Weave w, const Strip *strip, long row) {
    return last_row(g, at_most(row + w.high, strip->end));
}

// Asks for numbers of arrays that lie alike.
ALWAYS void ask_for(const float *const *arrays, long first, long count) {
    for (; arrays && *arrays; arrays++)
        for (long i = 0; i < count; i += LINE_BYTES / (long)sizeof **arrays) __builtin_prefetch(*arrays + first + i, 0, 2);
}

// ---- rows of the source ----

ALWAYS void begin_row(const Convolution g, const Weave w, SplitBesides *b) {
    if (b->row > b->last) return;
    const long slot = slot_of(w, &b->strip, b->row);
    if (b->least[slot] == SPLIT_NEVER)  // zeros lie elsewhere beside split numbers
        memset(b->slots + slot * slot_words(g, w), 0, (size_t)slot_words(g, w) * sizeof *b->slots);
    b->least[slot] = 0, b->piece = 0, b->range = no_range();
}

// Splits pixels of a sample.
ALWAYS void split_pixels(const Convolution g, const Weave w, SplitBesides *b, long sample, long pixel, long count) {
    const float *from = b->staged + (pixel * w.woven + sample) * g.channels;
    uint32_t *to = b->slots + slot_of(w, &b->strip, b->row) * slot_words(g, w) +
                   ((g.left + pixel) * w.woven + sample) * BF16_SIDE;
    const __m512 factor = _mm512_set1_ps(power_of_2(b->strip.scale));
    SplitRange range = b->range;
    for (long p = 0; p < count; p++, from += w.woven * g.channels, to += w.woven * BF16_SIDE)
        for (long d = 0; d < depth_of(g); d++) {
            const __m512 x = _mm512_mul_ps(_mm512_loadu_ps(from + d * BF16_DEPTH), factor);
            const __m512 y = _mm512_mul_ps(_mm512_loadu_ps(from + d * BF16_DEPTH + BF16_SIDE), factor);
            extend(&range, x);
            extend(&range, y);
            split_numbers(x, y, to + d * SPLIT_TERMS * term_words(g, w), term_words(g, w));
        }
    b->range = range;
}

// Notes the range of a row, and keeps what can't be split as it is. The first row of a strip is split again where another scale
// is better for it and those before it.
ALWAYS void end_row(const Convolution g, const Weave w, SplitBesides *b) {
    SplitRange all = {_mm512_max_ps(b->all.most, b->range.most), _mm512_min_ps(b->all.least, b->range.least)};
    if (b->row == b->strip.first) {
        const SplitSpan span = span_of(all, SPLIT_LEAST - b->of->span.least);
        const long scale = b->strip.scale + span.scale - SPLIT_HEADROOM;
        if (span.scale && scale != b->strip.scale) {
            b->strip.scale = at_least(at_most(scale, SPLIT_MOST_SCALE), -SPLIT_MOST_SCALE);
            b->range = no_range();
            for (long s = 0; s < at_most(w.woven, g.samples - b->strip.sample); s++)
                split_pixels(g, w, b, s, 0, g.width);
            all = b->range;
        }
    }
    const long slot = slot_of(w, &b->strip, b->row);
    const SplitSpan span = span_of(b->range, SPLIT_LEAST_TERM);
    b->least[slot] = span.scale ? SPLIT_NEVER : span.least;
    if (b->least[slot] == SPLIT_NEVER)
        memcpy(b->slots + slot * slot_words(g, w), b->staged, (size_t)(w.woven * g.width * g.channels) * sizeof *b->staged);
    if (span.least != SPLIT_NEVER) b->all = all;
    b->row++;
    begin_row(g, w, b);
}

// Copies or computes some pixels of a row, and splits them.
ALWAYS void split_piece(const Convolution g, const Weave w, SplitBesides *b) {
    if (b->row > b->last) return;
    const ConvolutionArrays *arrays = &b->of->arrays;
    const long pieces = parts(g.width, SPLIT_AT_ONCE), sample = b->piece / pieces, n = b->strip.sample + sample;
    const long pixel = b->piece % pieces * SPLIT_AT_ONCE, count = at_most(SPLIT_AT_ONCE, g.width - pixel);
    if (n < g.samples) {
        const long ahead = b->row + w.high < g.height ? w.high : w.high + (w.woven - 1) * g.height;
        const long position = (n * g.height + b->row) * g.width + pixel;
        float *to = b->staged + (pixel * w.woven + sample) * g.channels;
        if (arrays->fill.each) {
            ask_for(arrays->fill.arrays, (position + ahead * g.width) * g.channels, count * g.channels);
            arrays->fill.each(arrays->fill.context, to, w.woven * g.channels, position, 0, count, g.channels);
        } else {
            const float *from = arrays->source + n * g.sample_step + b->row * g.row_step + pixel * g.column_step;
            for (long p = 0; p < count; p++, from += g.column_step, to += w.woven * g.channels) {
                if (g.channel_step == 1) ask_for((const float *[]){from, NULL}, ahead * g.row_step, g.channels);
                for (long c = 0; c < g.channels; c++) to[c] = from[c * g.channel_step];
            }
        }
        split_pixels(g, w, b, sample, pixel, count);
    }
    if (++b->piece == pieces_of_row(g, w)) end_row(g, w, b);
}

// ---- what follows sums ----

// Hands over sums of neighbouring positions, which are `step` numbers apart.
ALWAYS void hand_over(const Convolution g, const ConvolutionArrays *arrays, float *sums, long step, long position, long count,
                      float factor) {
    if (factor != 1 || arrays->bias || arrays->target)
        for (long p = 0; p < count; p++)
            for (long r = 0; r < g.results; r += LANES) {
                Vector v = load(sums + p * step + r) * factor;
                if (arrays->bias) v += load(arrays->bias + r);
                store(sums + p * step + r, v);
                if (arrays->target) store(arrays->target + (position + p) * g.results + r, v);
            }
    if (arrays->finish.each) arrays->finish.each(arrays->finish.context, sums, step, position, 0, count, g.results);
}

ALWAYS void finish_piece(const Convolution g, const Weave w, SplitBesides *b) {
    if (!b->left) return;
    const ConvolutionArrays *arrays = &b->of->arrays;
    const Strip *strip = &b->finished;
    const long half = b->tile % 2, all = (half ? w.lower : BF16_SIDE) / w.woven, row = strip->begin + b->tile / tiles_across(g, w);
    const long column = b->tile % tiles_across(g, w) * (BF16_SIDE / w.woven) + b->done;
    const long count = at_most(FINISHED_AT_ONCE, all - b->done);
    const long ahead = (BF16_SIDE + w.lower) / w.woven + (row + w.high < strip->end ? 0 : (w.woven - 1) * g.rows * g.columns);
    for (long s = 0; s < at_most(w.woven, g.samples - strip->sample) && row < strip->end; s++) {
        const long position = ((strip->sample + s) * g.rows + row) * g.columns + column;
        float *sums = b->sums + (half * BF16_SIDE + b->done * w.woven + s) * g.results;
        ask_for(arrays->finish.arrays, (position + ahead) * g.results, count * g.results);
        hand_over(g, arrays, sums, w.woven * g.results, position, count, power_of_2(-strip->scale - b->of->span.scale));
    }
    b->done += count, b->left--;
    if (b->done == all) b->done = 0, b->tile++;
}

ALWAYS void do_some(SplitBesides *b, Besides besides) {
    if (!--b->until_finish) {
        b->until_finish = b->each_finish;
        besides.finish(b);
    }
    if (!--b->until_split) {
        b->until_split = b->each_split;
        besides.split(b);
    }
}

// ---- sums ----

typedef struct { long count; const uint32_t *upper[MOST_DOWN], *lower[MOST_DOWN], *weight[MOST_DOWN]; } SplitTaps;

// The rows that a block reads, and their weights; zeros for a tile that reads none where the other does.
ALWAYS void find_taps(const Convolution g, const Weave w, const SplitBesides *b, const Strip *strip, long row, long tile,
                      long column, SplitTaps *taps) {
    const long start = (g.left + g.across.shift) * w.woven * BF16_SIDE;
    taps->count = 0;
    for (long k = 0; k < g.down.taps; k++) {
        const uint32_t *at[2] = {NULL, NULL};
        for (long half = 0; half < 2; half++) {
            const long o = row + (tile + half) / tiles_across(g, w);
            const long read = o < strip->end ? source_of(g.down, g.height, o, k) : -1;
            if (read >= 0)
                at[half] = b->slots + slot_of(w, strip, read) * slot_words(g, w) + start +
                           (tile + half) % tiles_across(g, w) * BF16_TILE;
        }
        if (!at[0] && !at[1]) continue;
        const uint32_t *zeros = b->slots + w.slots * slot_words(g, w) + start;
        taps->upper[taps->count] = at[0] ? at[0] : zeros;
        taps->lower[taps->count] = at[1] ? at[1] : zeros;
        taps->weight[taps->count++] = b->of->weights + (column / BF16_BLOCK * g.down.taps + k) * row_words(g);
    }
}

// The sums of a block.
ALWAYS void sum_block(const Convolution g, const Weave w, const SplitTaps *taps, float *sums, SplitBesides *b, Besides besides) {
    enum { WORDS = BF16_SIDE * sizeof(uint32_t) };
    const long term = term_words(g, w), step = g.across.dilation * w.woven * BF16_SIDE;
    const long row = g.results * (long)sizeof *sums;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
#define EACH_TAP                                                                                            \
    for (long t = 0; t < taps->count; t++)                                                                  \
        for (long k = 0; k < g.across.taps * depth_of(g); k++) {                                            \
            const long at = k / depth_of(g) * step + k % depth_of(g) * SPLIT_TERMS * term;                  \
            const uint32_t *upper = taps->upper[t] + at, *lower = taps->lower[t] + at;                      \
            const uint32_t *right = taps->weight[t] + k * TAP_WORDS;
#define LEFT(x) _tile_loadd(4, upper + (x) * term, WORDS);
#define LOWER_LEFT(x) _tile_loadd(5, lower + (x) * term, WORDS);
#define RIGHT(y) _tile_loadd(6, right + (y) * 2 * BF16_TILE, WORDS);
#define NEXT_RIGHT(y) _tile_loadd(7, right + (y) * 2 * BF16_TILE + BF16_TILE, WORDS);
    EACH_TAP
        SMALL_TERMS(1, besides.some(b))
    }
    EACH_TAP
        LARGE_TERM(1, besides.some(b))
    }
#undef EACH_TAP
#undef LEFT
#undef LOWER_LEFT
#undef RIGHT
#undef NEXT_RIGHT
    _tile_stored(0, sums, row);
    _tile_stored(1, sums + BF16_SIDE, row);
    _tile_stored(2, sums + BF16_SIDE * g.results, row);
    _tile_stored(3, sums + BF16_SIDE * g.results + BF16_SIDE, row);
}

// ---- rows that are computed by multiply-adds ----

// Whether all that a step reads is split so that tile registers lose nothing.
ALWAYS int can_sum(const Convolution g, const Weave w, const SplitBesides *b, const Strip *strip, long row) {
    for (long r = first_row(g, row); r <= last_of_step(g, w, strip, row); r++)
        if (b->least[slot_of(w, strip, r)] + b->of->span.least < SPLIT_LEAST) return 0;
    return b->of->allowed;
}

// A row of one sample as it was before it was split, with zeros beside it.
ALWAYS void join_row(const Convolution g, const Weave w, const SplitBesides *b, const Strip *strip, long row, long sample,
                     float *to) {
    const long slot = slot_of(w, strip, row), term = term_words(g, w);
    const uint32_t *from = b->slots + slot * slot_words(g, w);
    const float factor = power_of_2(-strip->scale);
    memset(to, 0, (size_t)(g.padded * g.channels) * sizeof *to);
    to += g.left * g.channels;
    for (long p = 0; p < g.width; p++, to += g.channels) {
        const long pixel = p * w.woven + sample;
        if (b->least[slot] == SPLIT_NEVER) {
            memcpy(to, from + pixel * g.channels, (size_t)g.channels * sizeof *to);
            continue;
        }
        const uint32_t *words = from + (g.left * w.woven + pixel) * BF16_SIDE;
        for (long c = 0; c < g.channels; c++) {
            const uint32_t *word = words + c / BF16_DEPTH * SPLIT_TERMS * term + c % BF16_SIDE;
            for (long i = 0; i < SPLIT_TERMS; i++, word += term)
                to[c] += from_bits(c / BF16_SIDE % 2 ? *word & 0xffff0000u : *word << 16);
            to[c] *= factor;
        }
    }
}

// A row of the result of one sample.
ALWAYS void convolve_joined(const Convolution g, const Weave w, const SplitBesides *b, const Strip *strip, long row,
                            long sample) {
    float joined[g.down.taps * g.padded * g.channels], out[g.columns * g.results];
    const Wanted nothing = {.count = 0};
    ConvolutionArrays arrays = b->of->arrays;
    arrays.bias = NULL;
    Taps taps = {0};
    for (long k = 0; k < g.down.taps; k++) {
        const long read = source_of(g.down, g.height, row, k);
        if (read < 0) continue;
        float *to = joined + taps.count * g.padded * g.channels;
        join_row(g, w, b, strip, read, sample, to);
        taps.source[taps.count] = to + (g.left + first_read(g.across, 0)) * g.channels;
        taps.weight[taps.count++] = arrays.weight + k * packed_row(g);
    }
    for (long block = 0; block < groups_of(g); block++) {
        convolve_row(g, FEW_PIXELS, &arrays, &taps, block, out + block * lanes_of(g), &nothing);
        for (long t = 0; t < taps.count; t++) taps.weight[t] += packed_block(g);
    }
    const long position = ((strip->sample + sample) * g.rows + row) * g.columns;
    hand_over(g, &b->of->arrays, out, g.results, position, g.columns, 1);
}

// ---- whole convolutions ----

// Lets the rows come next that the step behind one reads, which may be in the strip behind its own.
ALWAYS void go_on(const Convolution g, const Weave w, SplitBesides *b, const Strip *strip, long row, long index, long end) {
    if (row + w.high < strip->end) {
        b->last = last_of_step(g, w, strip, row + w.high);
    } else if (index + 1 < end) {
        Strip next = strip_of(g, w, index + 1);
        next.slot = slot_of(w, &b->strip, b->row), next.scale = strip->scale;
        b->strip = next, b->row = next.first, b->last = last_of_step(g, w, &next, next.begin);
    } else {
        return;
    }
    begin_row(g, w, b);
}

ALWAYS void convolve_split(const Convolution g, const Weave w, const SplitConvolution *of, long share, Besides besides) {
    const long begin = share * strips_of(g, w) / g.shares, end = (share + 1) * strips_of(g, w) / g.shares;
    const long calls = 2 * SPLIT_TERMS * g.down.taps * g.across.taps * depth_of(g) * (g.results / BF16_BLOCK);  // of a block
    const long blocks = blocks_of_step(g, w), pieces = pieces_of_block(w);
    uint32_t slots[(w.slots + 1) * slot_words(g, w)] __attribute__((aligned(64)));
    float staged[w.woven * g.width * g.channels], sums[2][BF16_BLOCK * g.results] __attribute__((aligned(64)));
    SplitBesides b = {.of = of, .slots = slots, .staged = staged, .all = no_range()};
    b.each_split = b.until_split = at_least(calls * blocks / (w.high * pieces_of_row(g, w)), 1);
    b.each_finish = at_least(calls / pieces, 1), b.until_finish = at_least(b.each_finish / 2, 1);
    memset(slots, 0, sizeof slots);
    memset(staged, 0, sizeof staged);
    if (of->allowed) bf16_begin_uneven_tiles(BF16_SIDE, w.lower);
    Strip strip = b.strip = strip_of(g, w, begin);
    b.row = strip.first, b.last = last_of_step(g, w, &strip, strip.begin);
    begin_row(g, w, &b);
    int place = 0;
    for (long i = begin; i < end; i++, strip = b.strip)
        for (long row = strip.begin; row < strip.end; row += w.high) {
            while (b.row <= b.last) besides.split(&b);
            strip.scale = row == strip.begin ? b.strip.scale : strip.scale;
            go_on(g, w, &b, &strip, row, i, end);
            if (!can_sum(g, w, &b, &strip, row)) {
                while (b.left) besides.finish(&b);
                for (long s = 0; s < at_most(w.woven, g.samples - strip.sample); s++)
                    for (long o = row; o < at_most(row + w.high, strip.end); o++) convolve_joined(g, w, &b, &strip, o, s);
                continue;
            }
            for (long block = 0; block < blocks; block++, place = !place) {
                for (long column = 0; column < g.results; column += BF16_BLOCK) {
                    SplitTaps taps;
                    find_taps(g, w, &b, &strip, row, 2 * block, column, &taps);
                    sum_block(g, w, &taps, sums[place] + column, &b, besides);
                }
                while (b.left) besides.finish(&b);
                b.finished = strip, b.finished.begin = row, b.sums = sums[place];
                b.tile = 2 * block, b.done = 0, b.left = pieces;
            }
        }
    while (b.left) besides.finish(&b);
    if (of->allowed) bf16_end_tiles();
}

// Splits packed weights of a block and a row of taps.
ALWAYS void split_weights(const Convolution g, const SplitConvolution *of, long index) {
    const float *from = of->arrays.weight + index * packed_row(g);
    const __m512 factor = _mm512_set1_ps(power_of_2(of->span.scale));
    const long channel = g.across.taps * BF16_BLOCK;
    uint32_t *to = of->weights + index * row_words(g);
    SplitRange range = no_range();
    for (long k = 0; k < g.across.taps; k++)
        for (long d = 0; d < depth_of(g); d++, to += TAP_WORDS)
            for (long i = 0; i < 2 * BF16_SIDE; i++) {
                const float *x = from + k * BF16_BLOCK + (d * BF16_DEPTH + i / 2) * channel + i % 2 * BF16_SIDE;
                const __m512 lower = _mm512_mul_ps(_mm512_loadu_ps(x), factor);
                const __m512 upper = _mm512_mul_ps(_mm512_loadu_ps(x + BF16_SIDE * channel), factor);
                extend(&range, lower);
                extend(&range, upper);
                split_numbers(lower, upper, to + i % 2 * BF16_TILE + i / 2 * BF16_SIDE, 2 * BF16_TILE);
            }
    of->ranges[index] = range;
}

ALWAYS SplitSpan span_of_all(const SplitRange *ranges, long count) {
    SplitRange all = no_range();
    for (long i = 0; i < count; i++) {
        all.most = _mm512_max_ps(all.most, ranges[i].most);
        all.least = _mm512_min_ps(all.least, ranges[i].least);
    }
    return span_of(all, SPLIT_LEAST_RIGHT);
}

// CONVOLUTION where the processor has tile registers, and else too; scratch, at a multiple of 64, also holds split weights.
#define CONVOLUTION_IN_TILES(name, result_step, channel_step, woven, high, lower, slots, ...)                       \
    ALWAYS Convolution name##_geometry(void) { return (Convolution)__VA_ARGS__; }                                   \
    ALWAYS Weave name##_weave(void) { return (Weave){woven, high, lower, slots}; }                                  \
    static __attribute__((noinline)) void name##_split(SplitBesides *b) {                                           \
        split_piece(name##_geometry(), name##_weave(), b);                                                          \
    }                                                                                                               \
    static __attribute__((noinline)) void name##_finish(SplitBesides *b) {                                          \
        finish_piece(name##_geometry(), name##_weave(), b);                                                         \
    }                                                                                                               \
    static __attribute__((noinline)) void name##_some(SplitBesides *b) {                                            \
        do_some(b, (Besides){name##_split, name##_finish, NULL});                                                   \
    }                                                                                                               \
    static void name##_share(void *argument, long share) {                                                          \
        convolve_split(name##_geometry(), name##_weave(), argument, share,                                          \
                       (Besides){name##_split, name##_finish, name##_some});                                        \
    }                                                                                                               \
    static void name##_split_weights(void *argument, long index) {                                                  \
        split_weights(name##_geometry(), argument, index);                                                          \
    }                                                                                                               \
    static void name##_pack(void *argument, long index) {                                                           \
        const SplitConvolution *of = argument;                                                                      \
        pack_weights(name##_geometry(), result_step, channel_step, of->arrays.source, of->arrays.scratch, index);   \
        name##_split_weights(argument, index);                                                                      \
    }                                                                                                               \
    static void name(const float *source, const float *weight, const float *bias, float *target, float *scratch,    \
                     OnRows finish, OnRows fill) {                                                                  \
        const Convolution g = name##_geometry();                                                                    \
        const long tasks = groups_of(g) * g.down.taps;                                                              \
        SplitRange ranges[tasks];                                                                                   \
        SplitConvolution of = {{.source = weight, .weight = scratch, .scratch = scratch},                           \
                               (uint32_t *)(scratch + packed_size(g)), ranges, {0, 0}, bf16_tiles_allowed()};       \
        parallel(name##_pack, &of, tasks);                                                                          \
        of.span = span_of_all(ranges, tasks);                                                                       \
        if (of.span.scale) parallel(name##_split_weights, &of, tasks);                                              \
        of.arrays = (ConvolutionArrays){.source = source, .weight = scratch, .bias = bias, .target = target,        \
                                        .finish = finish, .fill = fill};                                            \
        parallel(name##_share, &of, g.shares);                                                                      \
    }
#else
#define CONVOLUTION_IN_TILES(name, result_step, channel_step, woven, high, lower, slots, ...)                       \
    CONVOLUTION(name, result_step, channel_step, __VA_ARGS__)
#endif

// The gradient of the weight of a convolution in tile registers (AMX), whose numbers are sums of three of bfloat16
// (`split_float32.h`); what such sums would lose something of is added up as in `convolution_nhwc.h`.
//
// Rows of results are summed over in chunks. A product of tiles takes 16 neighbours in a row of the upper half of a chunk and
// those in the same row of its lower half, whose cotangents are paired and turned, once for all taps. The numbers of the source that
// they meet are paired as they lie, so that taps differ in where a tile begins, and few rows are needed for taps of both halves.
// Where rows are short, some samples lie side by side, number by number, so that there are always 16 neighbours. The next chunk is
// packed between the products of one.

// What is chosen for a convolution.
typedef struct {
    long together;  // samples that lie side by side
    long chunk;     // rows of results, an even number that divides all
    long pitch;     // columns of a row that taps of one phase read, where a phase is a column's residue by the step across
} TilesOfWeight;

#ifdef __AMX_BF16__
enum {
    TAPS_ABREAST = 3,
    PIXEL_WORDS = SPLIT_TERMS * BF16_SIDE,  // of 16 channels
    GRAD_WORDS = SPLIT_TERMS * BF16_TILE,   // of 16 results
    PIECE_PIXELS = 4,                       // that are packed at once,
    PIECE_ROWS = 2,                         // and rows of cotangents
    STRIP_STEPS = 4,                        // products of tiles one after the other, whose tiles lie in the first-level cache
};

typedef struct {
    Convolution g;
    TilesOfWeight t;
    long shares;                      // into which groups of samples are divided
    const ConvolutionArrays *arrays;  // whose target is a share's packed weights
    AddWeights add_apart;
    float *weight, *sums;             // the latter of each share, [tile of results][tile of channels][tap][result][channel]
    long tap[TAPS_ABREAST];           // where a tap begins in a row of words
    long grad_at[BF16_SIDE];          // where the cotangents of 16 neighbours lie
} WeightInTiles;

static inline long channel_tiles(const WeightInTiles *w) { return w->g.channels / BF16_SIDE; }
static inline long result_tiles(const WeightInTiles *w) { return w->g.results / BF16_SIDE; }
static inline long tile_columns(const WeightInTiles *w) { return BF16_SIDE / w->t.together; }
static inline long sums_of_taps(const WeightInTiles *w) { return w->g.down.taps * TAPS_ABREAST * BF16_TILE; }
static inline long sums_of_share(const WeightInTiles *w) { return result_tiles(w) * channel_tiles(w) * sums_of_taps(w); }
static inline long words_of_row(const WeightInTiles *w) { return w->g.across.step * w->t.pitch * w->t.together * PIXEL_WORDS; }

static inline long half_of_chunk(const WeightInTiles *w) { return w->t.chunk / 2; }
static inline long steps_of_row(const WeightInTiles *w) { return w->g.columns / tile_columns(w); }
static inline long steps_of_chunk(const WeightInTiles *w) { return half_of_chunk(w) * steps_of_row(w); }

// Rows of the source that the upper half of a chunk meets.
static inline long rows_of_words(const WeightInTiles *w) {
    return (half_of_chunk(w) - 1) * w->g.down.step + (w->g.down.taps - 1) * w->g.down.dilation + 1;
}

// The row `begin` of results, and following ones, of some samples.
typedef struct { long sample, samples, begin; } RowChunk;

// One of two sides, of which one is packed while the other is multiplied: [tile of channels][row][phase][column][sample][term]
// [channel], and [step][tile of results][term][result][pair].
typedef struct { uint32_t *words, *grads; } PackedChunk;

typedef struct {
    const WeightInTiles *w;
    RowChunk chunk;
    PackedChunk to;
    float *rows[2];  // where those of the source are copied or computed
    float factor;    // of cotangents
    // The next piece of words, of `left` pixels of a run that remain:
    long row, sample, tile, phase, left;
    const float *from[2];
    long from_step[2];
    uint32_t *next;
    // And of cotangents:
    long step, grad_tile, staged;  // rows of the latter that lie turned
    SplitRange source, grad;
    __mmask16 missing;  // whether a cotangent is NaN
    long pieces, slots, due;
    float turned[2 * BF16_TILE] __attribute__((aligned(64)));
} WeightPacking;

static inline int words_are_packed(const WeightPacking *p) { return !p->left && p->row >= rows_of_words(p->w); }
static inline int grads_are_packed(const WeightPacking *p) { return p->step >= steps_of_chunk(p->w); }

static const float no_pixels[BF16_SIDE] __attribute__((aligned(64)));

// The numbers of a row of the source that the upper or the lower half of a chunk meets, channels side by side, `*step` apart; NULL
// where there are none.
static const float *row_met(const WeightPacking *p, int lower, long *step) {
    const Convolution *g = &p->w->g;
    const ConvolutionArrays *arrays = p->w->arrays;
    long sample = p->chunk.sample + p->sample, first = !p->tile && !p->phase;
    long row = (p->chunk.begin + lower * half_of_chunk(p->w)) * g->down.step + g->down.shift + p->row;
    if (p->sample >= p->chunk.samples || row < 0 || row >= g->height) return NULL;
    const float *from = arrays->source + sample * g->sample_step + row * g->row_step;
    float *to = p->rows[lower];
    *step = g->channels;
    if (arrays->fill.each) {
        if (first) arrays->fill.each(arrays->fill.context, to, g->channels, (sample * g->height + row) * g->width, 0, g->width, g->channels);
    } else if (g->channel_step == 1) {
        *step = g->column_step;
        return from;
    } else if (first) {
        for (long c = 0; c < g->channels; c++)
            for (long x = 0; x < g->width; x++) to[x * g->channels + c] = from[x * g->column_step + c * g->channel_step];
    }
    return to;
}

static inline uint32_t *words_at(const WeightInTiles *w, uint32_t *words, long tile, long row) {
    return words + (tile * rows_of_words(w) + row) * words_of_row(w);
}

// Where the next run of pixels is, of one phase, and where its words go; and on to the run behind it.
static void begin_run(WeightPacking *p) {
    const WeightInTiles *w = p->w;
    const Convolution *g = &w->g;
    long padding = -g->across.shift, stride = g->across.step;
    long first = parts(at_least(padding - p->phase, 0), stride), column = first * stride + p->phase - padding;
    for (int lower = 0; lower < 2; lower++) {
        long step = 0;
        const float *row = row_met(p, lower, &step);
        p->from[lower] = row ? row + column * step + p->tile * BF16_SIDE : no_pixels;
        p->from_step[lower] = row ? step * stride : 0;
    }
    p->left = at_least(at_most(w->t.pitch - first, parts(g->width - column, stride)), 0);
    p->next = words_at(w, p->to.words, p->tile, p->row) + ((p->phase * w->t.pitch + first) * w->t.together + p->sample) * PIXEL_WORDS;
    if (++p->phase < stride) return;
    p->phase = 0;
    if (++p->tile < channel_tiles(w)) return;
    p->tile = 0;
    if (++p->sample < w->t.together) return;
    p->sample = 0;
    p->row++;
}

static inline __attribute__((always_inline)) void pack_run(WeightPacking *p, const long pixels) {
    const long next = p->w->t.together * PIXEL_WORDS, step = p->from_step[0], other = p->from_step[1], ahead = p->w->g.row_step;
    const float *upper = p->from[0], *lower = p->from[1];
    uint32_t *to = p->next;
    SplitRange range = p->source;
    UNROLLED for (long i = 0; i < pixels; i++, upper += step, lower += other, to += next) {
        UNROLLED for (int term = 0; term < SPLIT_TERMS; term++)
            __builtin_prefetch(to + PIECE_PIXELS * next + term * BF16_SIDE, 1);
        __builtin_prefetch(upper + ahead, 0, 2);
        __builtin_prefetch(lower + ahead, 0, 2);
        __m512 x = _mm512_loadu_ps(upper), y = _mm512_loadu_ps(lower);
        extend(&range, x);
        extend(&range, y);
        split_numbers(x, y, to, BF16_SIDE);
    }
    p->from[0] = upper, p->from[1] = lower, p->next = to, p->source = range;
    p->left -= pixels;
}

static inline void pack_pixels(WeightPacking *p) {
    if (!p->left) begin_run(p);
    if (p->left >= PIECE_PIXELS) pack_run(p, PIECE_PIXELS);
    else while (p->left) pack_run(p, 1);
}

// Turns the cotangents of 16 neighbours in two rows.
static inline void turn_grads(WeightPacking *p) {
    const WeightInTiles *w = p->w;
    const Convolution *g = &w->g;
    long row = p->chunk.begin + p->step / steps_of_row(w), column = p->step % steps_of_row(w) * tile_columns(w);
    long all = w->t.together == p->chunk.samples;
    const float *from = w->arrays->grad + ((p->chunk.sample * g->rows + row) * g->columns + column) * g->results +
                        p->grad_tile * BF16_SIDE;
    for (int lower = 0; lower < 2; lower++, from += half_of_chunk(w) * g->columns * g->results) {
        Vector rows[LANES];
        if (all) UNROLLED for (int i = 0; i < LANES; i++) {
            rows[i] = load(from + w->grad_at[i]);
            __builtin_prefetch(from + w->grad_at[i] + g->columns * g->results, 0, 2);
        }
        else for (int i = 0; i < LANES; i++) rows[i] = i % w->t.together < p->chunk.samples ? load(from + w->grad_at[i]) : (Vector){0};
        transpose(rows);
        UNROLLED for (int i = 0; i < LANES; i++) store(p->turned + lower * BF16_TILE + i * LANES, rows[i]);
    }
}

static inline void pack_grads(WeightPacking *p) {
    if (!p->staged) {
        turn_grads(p);
        p->staged = BF16_SIDE;
        return;
    }
    long tiles = result_tiles(p->w), row = BF16_SIDE - p->staged;
    uint32_t *to = p->to.grads + (p->step * tiles + p->grad_tile) * GRAD_WORDS + row * BF16_SIDE;
    __m512 factor = _mm512_set1_ps(p->factor);
    SplitRange range = p->grad;
    UNROLLED for (int i = 0; i < PIECE_ROWS; i++, row++, to += BF16_SIDE) {
        UNROLLED for (int term = 0; term < SPLIT_TERMS; term++)
            __builtin_prefetch(to + term * BF16_TILE + 2 * PIECE_ROWS * BF16_SIDE, 1);
        __m512 x = _mm512_mul_ps(_mm512_load_ps(p->turned + row * LANES), factor);
        __m512 y = _mm512_mul_ps(_mm512_load_ps(p->turned + BF16_TILE + row * LANES), factor);
        extend(&range, x);
        extend(&range, y);
        p->missing |= _mm512_cmp_ps_mask(x, y, _CMP_UNORD_Q);
        split_numbers(x, y, to, BF16_TILE);
    }
    p->grad = range;
    p->staged -= PIECE_ROWS;
    if (p->staged || ++p->grad_tile < tiles) return;
    p->grad_tile = 0;
    p->step++;
}

static __attribute__((noinline)) void pack_more(WeightPacking *p) {
    for (p->due += p->pieces; p->due >= p->slots; p->due -= p->slots) {
        if (!words_are_packed(p)) pack_pixels(p);
        else if (!grads_are_packed(p)) pack_grads(p);
    }
}

static void begin_grads(WeightPacking *p, float factor) {
    p->step = p->grad_tile = p->staged = 0;
    p->factor = factor, p->grad = no_range(), p->missing = 0;
}

static void begin_chunk(WeightPacking *p, RowChunk chunk, PackedChunk to) {
    const WeightInTiles *w = p->w;
    p->chunk = chunk, p->to = to;
    p->row = p->sample = p->tile = p->phase = p->left = 0;
    p->source = no_range();
    begin_grads(p, 1.0f);
    long runs = rows_of_words(w) * w->t.together * channel_tiles(w) * w->g.across.step;
    p->pieces = runs * parts(w->t.pitch, PIECE_PIXELS) + steps_of_chunk(w) * result_tiles(w) * (1 + BF16_SIDE / PIECE_ROWS);
    p->slots = steps_of_chunk(w) * result_tiles(w) * channel_tiles(w) * w->g.down.taps * 2 * SPLIT_TERMS;
    p->due = 0;
}

// Packs what is left, and returns by what cotangents are scaled: SPLIT_NEVER where tiles would lose something.
static long end_chunk(WeightPacking *p) {
    while (!words_are_packed(p)) pack_pixels(p);
    while (!grads_are_packed(p)) pack_grads(p);
    SplitSpan source = span_of(p->source, SPLIT_LEAST_TERM);
    if (source.scale || source.least == SPLIT_NEVER || p->missing) return SPLIT_NEVER;
    SplitSpan grad = span_of(p->grad, at_least(SPLIT_LEAST - source.least, SPLIT_LEAST_TERM));
    if (grad.scale) {
        begin_grads(p, power_of_2(grad.scale));
        while (!grads_are_packed(p)) pack_grads(p);
    }
    return source.least + grad.least >= SPLIT_LEAST ? grad.scale : SPLIT_NEVER;
}

// Adds the products of a tile of results, a tile of channels and the taps of a row along a strip: those of small terms first, so that
// large sums are seldom rounded. They are of three taps each, and each tile is loaded right before its first product.
static inline __attribute__((always_inline)) void add_taps(const WeightInTiles *w, const uint32_t *grads, const uint32_t *const *words,
                                                           const long steps, float *sums, WeightPacking *next) {
    enum { ROW = BF16_SIDE * sizeof(uint32_t), PIXEL = PIXEL_WORDS * sizeof(uint32_t) };
    const long second = w->tap[1], third = w->tap[2], grad_step = result_tiles(w) * GRAD_WORDS;
    float strip[TAPS_ABREAST * BF16_TILE] __attribute__((aligned(64)));
    const uint32_t *a = grads;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
#define GRAD(tile, term) _tile_loadd(tile, a + (term) * BF16_TILE, ROW);
#define SOURCES(term, grad)                                                                \
    _tile_loadd(5, b + (term) * BF16_SIDE, PIXEL); _tile_dpbf16ps(0, grad, 5);             \
    _tile_loadd(6, b + second + (term) * BF16_SIDE, PIXEL); _tile_dpbf16ps(1, grad, 6);    \
    _tile_loadd(7, b + third + (term) * BF16_SIDE, PIXEL); _tile_dpbf16ps(2, grad, 7);
#define SAME(grad) _tile_dpbf16ps(0, grad, 5); _tile_dpbf16ps(1, grad, 6); _tile_dpbf16ps(2, grad, 7);
    for (long s = 0; s < steps; s++, a += grad_step) {
        const uint32_t *b = words[s];
        GRAD(3, 2) SOURCES(0, 3)
        pack_more(next);
        GRAD(4, 1) SAME(4)
        pack_more(next);
        SOURCES(1, 4)
        pack_more(next);
        GRAD(3, 0) SAME(3)
        pack_more(next);
        SOURCES(2, 3)
        pack_more(next);
    }
    a = grads;
    for (long s = 0; s < steps; s++, a += grad_step) {
        const uint32_t *b = words[s];
        GRAD(3, 0) SOURCES(0, 3)
        pack_more(next);
    }
#undef GRAD
#undef SOURCES
#undef SAME
    _tile_stored(0, strip, ROW);
    _tile_stored(1, strip + BF16_TILE, ROW);
    _tile_stored(2, strip + 2 * BF16_TILE, ROW);
    for (long i = 0; i < TAPS_ABREAST * BF16_TILE; i += LANES) store(sums + i, load(sums + i) + load(strip + i));
}

// Adds the products of a chunk, and packs the next one.
static void add_chunk(const WeightInTiles *w, PackedChunk chunk, float *sums, WeightPacking *next) {
    const long all = steps_of_chunk(w), across = steps_of_row(w), grad_step = result_tiles(w) * GRAD_WORDS;
    for (long begin = 0; begin < all; begin += STRIP_STEPS) {
        const long steps = at_most(STRIP_STEPS, all - begin);
        for (long tile = 0; tile < channel_tiles(w); tile++)
            for (long k = 0; k < w->g.down.taps; k++) {
                const uint32_t *at[STRIP_STEPS];
                for (long s = 0, step = begin; s < steps; s++, step++)
                    at[s] = words_at(w, chunk.words, tile, step / across * w->g.down.step + k * w->g.down.dilation) +
                            step % across * BF16_SIDE * PIXEL_WORDS;
                for (long result = 0; result < result_tiles(w); result++)
                    add_taps(w, chunk.grads + begin * grad_step + result * GRAD_WORDS, at, steps,
                             sums + (result * channel_tiles(w) + tile) * sums_of_taps(w) + k * TAPS_ABREAST * BF16_TILE, next);
            }
    }
}

// ---- a share ----

static inline RowChunk first_chunk(const WeightInTiles *w, long group) {
    long sample = group * w->t.together;
    return (RowChunk){sample, at_most(w->t.together, w->g.samples - sample), 0};
}

static inline RowChunk chunk_behind(const WeightInTiles *w, RowChunk c) {
    c.begin += w->t.chunk;
    return c.begin < w->g.rows ? c : first_chunk(w, c.sample / w->t.together + 1);
}

// Adds to a share's sums what its packed weights have.
static void add_packed(const WeightInTiles *w, const float *packed, float *sums) {
    const Convolution g = w->g;
    const long tiles = channel_tiles(w), each = sums_of_taps(w);
    for (long o = 0; o < g.results; o++)
        for (long c = 0; c < g.channels; c++)
            for (long k = 0; k < g.down.taps * TAPS_ABREAST; k++) {
                long row = o / lanes_of(g) * packed_block(g) + k / TAPS_ABREAST * packed_row(g);
                float *to = sums + (o / BF16_SIDE * tiles + c / BF16_SIDE) * each + k * BF16_TILE;
                to[o % BF16_SIDE * BF16_SIDE + c % BF16_SIDE] +=
                    packed[row + (c * TAPS_ABREAST + k % TAPS_ABREAST) * lanes_of(g) + o % lanes_of(g)];
            }
}

// Adds what rows that tiles would lose something of make, by multiply-adds.
static void add_chunk_apart(const WeightInTiles *w, const RowChunk *c, float *scratch, float *packed) {
    for (long sample = c->sample; sample < c->sample + c->samples; sample++)
        for (long row = c->begin, end = row + w->t.chunk; row < end; row += w->g.band)
            w->add_apart(w->arrays, (Band){sample, row, at_most(row + w->g.band, end)}, scratch, packed, (Next){0});
}

// Sums over a share of the samples. What is packed lies on the stack, where the other shares of a thread have it, too.
static void sum_in_tiles(const WeightInTiles *w, long share) {
    const long groups = parts(w->g.samples, w->t.together), end = (share + 1) * groups / w->shares * w->t.together;
    const long words = channel_tiles(w) * rows_of_words(w) * words_of_row(w), grads = steps_of_chunk(w) * result_tiles(w) * GRAD_WORDS;
    const long row = w->g.width * w->g.channels, size = sums_of_share(w);
    uint32_t room[2 * (words + grads + row) + BF16_SIDE], *from = (uint32_t *)(((uintptr_t)room + 63) / 64 * 64);
    float *sums = w->sums + share * size, *packed = w->arrays->target + share * packed_size(w->g);
    const PackedChunk sides[] = {{from, from + 2 * words}, {from + words, from + 2 * words + grads}};
    float *rows = (float *)(from + 2 * (words + grads));
    WeightPacking p = {.w = w, .rows = {rows, rows + row}};
    int apart = 0;
    memset(from, 0, (size_t)(2 * words) * sizeof *from);
    memset(sums, 0, (size_t)size * sizeof *sums);
    RowChunk chunk = first_chunk(w, share * groups / w->shares);
    begin_chunk(&p, chunk, sides[0]);
    bf16_begin_tiles(BF16_SIDE);
    for (int side = 0; chunk.sample < at_most(end, w->g.samples); side = !side) {
        const long scale = end_chunk(&p);
        const RowChunk behind = chunk_behind(w, chunk);
        if (behind.sample < at_most(end, w->g.samples)) begin_chunk(&p, behind, sides[!side]);
        if (scale == SPLIT_NEVER) {
            if (!apart++) memset(packed, 0, (size_t)packed_size(w->g) * sizeof *packed);
            add_chunk_apart(w, &chunk, scratch_of(w->g, w->arrays->scratch, share), packed);
        } else if (scale) {
            float *scaled = w->sums + (w->shares + share) * size;
            memset(scaled, 0, (size_t)size * sizeof *scaled);
            add_chunk(w, sides[side], scaled, &p);
            for (long i = 0; i < size; i++) sums[i] += scaled[i] * power_of_2(-scale);
        } else {
            add_chunk(w, sides[side], sums, &p);
        }
        chunk = behind;
    }
    bf16_end_tiles();
    if (apart) add_packed(w, packed, sums);
}

// Adds up what the shares have for a tile of results and a tile of channels.
static void total_in_tiles(const WeightInTiles *w, float *out, long index) {
    const long taps = w->g.down.taps * TAPS_ABREAST, each = sums_of_taps(w);
    const long result = index / channel_tiles(w) * BF16_SIDE, channel = index % channel_tiles(w) * BF16_SIDE;
    float *sums = w->sums + index * each;
    for (long share = 1; share < w->shares; share++)
        for (long i = 0; i < each; i += LANES) store(sums + i, load(sums + i) + load(sums + share * sums_of_share(w) + i));
    for (long r = 0; r < BF16_SIDE; r++)
        for (long c = 0; c < BF16_SIDE; c++)
            for (long k = 0; k < taps; k++)
                out[((result + r) * w->g.channels + channel + c) * taps + k] = sums[(k * BF16_SIDE + r) * BF16_SIDE + c];
}

static void sum_in_tiles_task(void *argument, long share) { sum_in_tiles(argument, share); }
static void total_in_tiles_task(void *argument, long index) {
    const WeightInTiles *w = argument;
    total_in_tiles(w, w->weight, index);
}

static void weight_in_tiles(const Convolution g, const TilesOfWeight t, const ConvolutionArrays *arrays, AddWeights add, float *weight) {
    WeightInTiles w = {.g = g, .t = t, .shares = at_most(g.shares, parts(g.samples, t.together)), .arrays = arrays, .add_apart = add, .weight = weight,
                       .sums = arrays->scratch + g.shares * (copied_size(g) + g.columns * g.results)};
    for (long k = 0; k < TAPS_ABREAST; k++)
        w.tap[k] = (k * g.across.dilation % g.across.step * t.pitch + k * g.across.dilation / g.across.step) * t.together * PIXEL_WORDS;
    for (long i = 0; i < BF16_SIDE; i++)
        w.grad_at[i] = (i % t.together * g.rows * g.columns + i / t.together) * g.results;
    parallel(sum_in_tiles_task, &w, w.shares);
    parallel(total_in_tiles_task, &w, result_tiles(&w) * channel_tiles(&w));
}
#endif

// name(source, grad, result, scratch, fill): as the WEIGHT_GRADIENT `apart`, in tile registers where there are some; what
// follows are the numbers of a `TilesOfWeight`. Scratch begins with that of the other.
#ifdef __AMX_BF16__
#define WEIGHT_GRADIENT_IN_TILES(name, apart, ...)                                                                  \
    static void name(const float *source, const float *grad, float *target, float *scratch, OnRows fill) {          \
        const Convolution g = apart##_geometry();                                                                   \
        if (!bf16_tiles_allowed()) {                                                                                \
            apart(source, grad, target, scratch, fill);                                                             \
            return;                                                                                                 \
        }                                                                                                           \
        ConvolutionArrays arrays = {.source = source, .grad = grad, .target = scratch, .fill = fill,                \
                                    .scratch = scratch + g.shares * packed_size(g)};                                \
        weight_in_tiles(g, (TilesOfWeight){__VA_ARGS__}, &arrays, apart##_band, target);                            \
    }
#else
#define WEIGHT_GRADIENT_IN_TILES(name, apart, ...)                                                                  \
    static void name(const float *source, const float *grad, float *target, float *scratch, OnRows fill) {          \
        apart(source, grad, target, scratch, fill);                                                                 \
    }
#endif

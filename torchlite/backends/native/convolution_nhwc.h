// Convolution in two dimensions of arrays whose channels lie side by side (N, H, W, C), and its two gradients.
//
// Everything that describes a convolution is a constant where these functions are inlined, handed on by value, so that a
// tile of results lies in registers and addresses are computed by the compiler. A convolution and the gradient of its
// input are the same sum
//
//     result[o] = sum of weight[k] * source[q] over taps k and sources q with q * by = o * step + k * dilation + shift
//
// along both dimensions: in a convolution `by` is 1 and `step` its stride, in the gradient it is the other way round. Within
// a tile, a number of the source is loaded once for all taps of a row that meet it.
//
// `convolution_nhwc.py` makes the constants.

#define ALWAYS static inline __attribute__((always_inline))
#if defined(__clang__)
#define WHOLLY _Pragma("clang loop unroll(full)")
#else
#define WHOLLY _Pragma("GCC unroll 64")
#endif

enum { MOST_DOWN = 16, MOST_ACROSS = 7, MOST_PIXELS = 16, MOST_CHANNELS = 8 };  // taps of a window, and extents of tiles

typedef struct { long taps, step, by, dilation, shift; } Axis;

typedef struct {
    long samples, height, width, channels;                  // of the source
    long rows, columns, results;                            // of the result, whose channels `results` counts
    Axis down, across;
    long sample_step, row_step, column_step, channel_step;  // between numbers of the source
    long band, copied;                                      // rows of the result at a time, and of the source that lie copied
    long left, padded;                                      // columns of zeros before a copied row, and its length
    long shares;                                            // into which the bands of all samples are divided
} Convolution;

// What is done with each row of positions, or NULL, what it is given, and the arrays of the same sizes that it goes through,
// ended by NULL.
typedef struct {
    Finish each;
    void *context;
    const float *const *arrays;
} OnRows;

typedef struct {
    const float *source, *weight, *bias, *grad;  // there need not be a bias
    float *target, *scratch;                     // without a target, rows are only handed to `finish`
    OnRows finish, fill;                         // takes rows of the result; makes those of the source, if they are not copied
} ConvolutionArrays;

// ---- what a tile is ----

// Vectors of results in a tile. Where only some taps meet a source, one is better: weights are read half as often.
ALWAYS long vectors_of(const Convolution g) { return g.results > LANES && REGISTERS >= 32 && g.across.by == 1 ? 2 : 1; }
ALWAYS long lanes_of(const Convolution g) { return vectors_of(g) * LANES; }
ALWAYS long groups_of(const Convolution g) { return parts(g.results, lanes_of(g)); }

// As many positions as registers hold sums for, without a remainder where that can be, in steps of `by`.
ALWAYS long pixels_of(const Convolution g) {
    const long room = (REGISTERS - 2) / vectors_of(g) - g.across.taps;
    const long most = room < 1 ? 1 : room > MOST_PIXELS ? MOST_PIXELS : room, n = g.columns;
    const long even = n <= most                     ? n
                      : most >= 16 && n % 16 == 0   ? 16
                      : most >= 8 && n % 8 == 0     ? 8
                                                    : parts(n, parts(n, most));
    return parts(even, g.across.by) * g.across.by;
}

// Packed weights: [block of results][tap down][channel][tap across][lanes], with zeros for results that are missing.
ALWAYS long packed_row(const Convolution g) { return g.channels * g.across.taps * lanes_of(g); }
ALWAYS long packed_block(const Convolution g) { return g.down.taps * packed_row(g); }
ALWAYS long packed_size(const Convolution g) { return groups_of(g) * packed_block(g); }

// Packs the weights w(result, channel, tap) of a block and a row of taps.
ALWAYS void pack_weights(const Convolution g, long result_step, long channel_step, const float *weight, float *packed,
                         long index) {
    const long lanes = lanes_of(g), block = index / g.down.taps, down = index % g.down.taps;
    const float *from = weight + block * lanes * result_step + down * g.across.taps;
    float *to = packed + block * packed_block(g) + down * packed_row(g);
    const long width = at_most(g.results - block * lanes, lanes);
    for (long c = 0; c < g.channels; c++)
        for (long k = 0; k < g.across.taps; k++, to += lanes)
            for (long i = 0; i < lanes; i++) to[i] = i < width ? from[i * result_step + c * channel_step + k] : 0.0f;
}

// ---- rows and positions that meet ----

ALWAYS long rounded_down(long a, long b) { return a >= 0 ? a / b : -((b - 1 - a) / b); }

// The first and the last source, there or not, that result number o reads.
ALWAYS long first_read(const Axis a, long o) {
    const long reach = (a.taps - 1) * a.dilation;
    return rounded_down(o * a.step + (reach < 0 ? reach : 0) + a.shift + a.by - 1, a.by);
}
ALWAYS long last_read(const Axis a, long o) {
    const long reach = (a.taps - 1) * a.dilation;
    return rounded_down(o * a.step + (reach > 0 ? reach : 0) + a.shift, a.by);
}

// The source that result o reads with tap k, or -1.
ALWAYS long source_of(const Axis a, long sources, long o, long k) {
    const long at = o * a.step + k * a.dilation + a.shift;
    return at < 0 || at % a.by || at / a.by >= sources ? -1 : at / a.by;
}

// The result that source q, counted from the first that result 0 reads, is read by with tap k, or -1.
ALWAYS long result_of(const Axis a, long q, long k) {
    const long distance = (first_read(a, 0) + q) * a.by - k * a.dilation - a.shift;
    return distance < 0 || distance % a.step ? -1 : distance / a.step;
}
ALWAYS long reads_of(const Axis a, long results) { return last_read(a, results - 1) - first_read(a, 0) + 1; }

// The first and the last row that are there of those that results of rows begin to end - 1 read.
ALWAYS long first_row(const Convolution g, long begin) { return at_least(first_read(g.down, begin), 0); }
ALWAYS long last_row(const Convolution g, long end) { return at_most(last_read(g.down, end - 1), g.height - 1); }

typedef struct {
    const float *source;     // row `first`, where a window begins at result 0, and on; of copied ones those that came last
    long step, first;
    const float *uncopied;   // the row `next`, which is not there before it has been copied
    float *scratch;
    long next, sample;
} WindowRows;

// Those rows, to be copied first where zeros must lie beside them, or channels side by side.
ALWAYS WindowRows rows_for(const Convolution g, const float *source, float *scratch, long sample, long begin) {
    const long first = first_row(g, begin), start = (g.left + first_read(g.across, 0)) * g.channels;
    const float *from = source + sample * g.sample_step + first * g.row_step;
    if (!g.copied) return (WindowRows){from + start, g.row_step, first, NULL, NULL, g.height, sample};
    return (WindowRows){scratch + start, g.padded * g.channels, first, from, scratch + g.left * g.channels, first, sample};
}

// Where that row begins.
ALWAYS const float *row_at(const Convolution g, const WindowRows *rows, long row) {
    const long number = row - rows->first;
    return rows->source + (g.copied ? number % g.copied : number) * rows->step;
}

// Copies, or computes, a row of the source.
ALWAYS void copy_source(const Convolution g, const ConvolutionArrays *arrays, long sample, long row, const float *from, float *to) {
    if (arrays->fill.each)
        arrays->fill.each(arrays->fill.context, to, g.channels, (sample * g.height + row) * g.width, 0, g.width, g.channels);
    else if (g.channel_step == 1 && g.column_step == g.channels)
        for (long i = 0; i < g.width * g.channels; i++) to[i] = from[i];
    else
        for (long c = 0; c < g.channels; c++)
            for (long w = 0; w < g.width; w++) to[w * g.channels + c] = from[w * g.column_step + c * g.channel_step];
}

// Copies, or computes, what is missing up to row `last`. Rows are copied when they are wanted, where others were that are not
// wanted any more and lie in the first-level cache: beside sums that costs next to nothing.
ALWAYS void copy_rows(const Convolution g, const ConvolutionArrays *arrays, WindowRows *rows, long last) {
    for (; rows->next <= last; rows->next++, rows->uncopied += g.row_step)
        copy_source(g, arrays, rows->sample, rows->next, rows->uncopied,
                    rows->scratch + (rows->next - rows->first) % at_least(g.copied, 1) * rows->step);
}

ALWAYS long copied_size(const Convolution g) { return g.copied * g.padded * g.channels; }

// Room for copied rows, with zeros beside them, and for a row of results.
ALWAYS float *scratch_of(const Convolution g, float *all, long share) {
    float *scratch = all + share * (copied_size(g) + g.columns * g.results);
    memset(scratch, 0, (size_t)copied_size(g) * sizeof *scratch);
    return scratch;
}

typedef struct { long sample, begin, end; } Band;

ALWAYS Band band_of(const Convolution g, long index) {
    const long bands = parts(g.rows, g.band), begin = index % bands * g.band;
    return (Band){index / bands, begin, at_most(begin + g.band, g.rows)};
}
ALWAYS long bands_of(const Convolution g) { return g.samples * parts(g.rows, g.band); }
ALWAYS long first_band(const Convolution g, long share) { return share * bands_of(g) / g.shares; }

// ---- what comes next, fetched while the rest is computed ----

typedef struct { const float *at; long size; } Run;  // of numbers side by side

// Asks for one of `pieces` equal pieces. Read when they are wanted, numbers come faster than memory gives them, and later none.
ALWAYS void fetch(Run run, long piece, long pieces) {
    const long line = LINE_BYTES / (long)sizeof *run.at;
    const long length = parts(parts(run.size, line), pieces) * line, end = at_most((piece + 1) * length, run.size);
    for (long i = piece * length; i < end; i += line) __builtin_prefetch(run.at + i, 0, 2);
}

// What band number `index` reads of the source, unless it reads little of what lies there.
ALWAYS Run source_of_band(const Convolution g, const float *source, long index) {
    if (g.channel_step != 1 || g.column_step != g.channels || g.row_step != g.width * g.channels) return (Run){0};
    if (g.down.taps < g.down.step || g.across.taps < g.across.step || index >= bands_of(g)) return (Run){0};
    const Band band = band_of(g, index);
    const long first = first_row(g, band.begin), end = last_row(g, band.end) + 1;
    return (Run){source + band.sample * g.sample_step + first * g.row_step, (end - first) * g.row_step};
}

// The gradients that belong to it.
ALWAYS Run grad_of_band(const Convolution g, const float *grad, long index) {
    if (index >= bands_of(g)) return (Run){0};
    const Band band = band_of(g, index);
    const long length = g.columns * g.results;
    return (Run){grad + (band.sample * g.rows + band.begin) * length, (band.end - band.begin) * length};
}

// Rows that `finish` and `fill` want next. A processor waits for some ten lines of memory at a time, so all at once would hold
// it up: the tiles of a row share them, and ask for a piece of some with each channel that they take up.
enum { ASKED = 3, MOST_WANTED = 24 };
typedef struct {
    const char *rows[MOST_WANTED];
    long count;
} Wanted;

ALWAYS void want(Wanted *wanted, const float *const *arrays, long number) {
    for (; arrays && *arrays && wanted->count < MOST_WANTED; arrays++)
        wanted->rows[wanted->count++] = (const char *)(*arrays + number);
}

// What belongs to the row of results behind one, and to the rows of the source that are missing for it.
ALWAYS void want_after(const Convolution g, const ConvolutionArrays *arrays, const WindowRows *rows, long position,
                       Wanted *wanted) {
    wanted->count = 0;
    want(wanted, arrays->finish.arrays, (position + g.columns) * g.results);
    for (long row = rows->next; row < rows->next + g.down.step; row++)
        want(wanted, arrays->fill.arrays, (rows->sample * g.height + row) * g.width * g.channels);
}

// Those that tile number `tile` of `tiles` asks for; where they are fewer, for what is there anyway.
ALWAYS void wanted_by(const ConvolutionArrays *arrays, const Wanted *wanted, long tile, long tiles, const char **rows) {
    const long each = at_most(parts(wanted->count, tiles), ASKED);
    for (long i = 0, at = tile * each; i < ASKED; i++, at++)
        rows[i] = i < each && at < wanted->count ? wanted->rows[at] : (const char *)arrays->weight;
}

// ---- convolution, and the gradient of its input ----

typedef struct { long count; const float *source[MOST_DOWN], *weight[MOST_DOWN]; } Taps;  // of the rows that meet

// Sums for positions side by side, of which the first `width` channels of a block are stored; `wanted` are rows to ask for.
ALWAYS void convolve_tile(const Convolution g, long pixels, const Taps *taps, long at, const float *bias, float *out,
                          long width, const char *const *wanted) {
    const long vectors = vectors_of(g), reads = reads_of(g.across, pixels);
    Vector sum[MOST_PIXELS][2];
    WHOLLY for (long p = 0; p < pixels; p++) WHOLLY for (long v = 0; v < vectors; v++) sum[p][v] = (Vector){0};
    const long row = at_least(g.columns * g.results, g.width * g.channels) * (long)sizeof *bias;
    const long piece = at_most(parts(row, g.down.taps * g.channels), LINE_BYTES);
    long asked = 0;
    for (long t = 0; t < taps->count; t++) {
        const float *x = taps->source[t] + at, *w = taps->weight[t];
        for (long c = 0; c < g.channels; c++, x++, w += g.across.taps * lanes_of(g)) {
            Vector weight[MOST_ACROSS][2];
            WHOLLY for (long i = 0; i < ASKED; i++) __builtin_prefetch(wanted[i] + asked, 0, 2);
            asked += piece;
            WHOLLY for (long k = 0; k < g.across.taps; k++)
                WHOLLY for (long v = 0; v < vectors; v++) weight[k][v] = load(w + (k * vectors + v) * LANES);
            WHOLLY for (long q = 0; q < reads; q++)
                WHOLLY for (long k = 0; k < g.across.taps; k++) {
                    const long p = result_of(g.across, q, k);
                    if (p >= 0 && p < pixels)
                        WHOLLY for (long v = 0; v < vectors; v++) sum[p][v] += x[q * g.channels] * weight[k][v];
                }
        }
    }
    if (bias) WHOLLY for (long v = 0; v < vectors; v++) {
        const Vector more = load_some(bias + v * LANES, width - v * LANES);
        WHOLLY for (long p = 0; p < pixels; p++) sum[p][v] += more;
    }
    WHOLLY for (long p = 0; p < pixels; p++)
        WHOLLY for (long v = 0; v < vectors; v++)
            store_some(out + p * g.results + v * LANES, sum[p][v], width - v * LANES);
}

// A row of positions, so many at a time, for one block of channels.
ALWAYS void convolve_row(const Convolution g, long pixels, const ConvolutionArrays *arrays, const Taps *taps, long block,
                         float *out, const Wanted *wanted) {
    const long rest = g.columns % pixels, lanes = lanes_of(g), tiles = parts(g.columns, pixels);
    const long width = g.results % lanes ? at_most(g.results - block * lanes, lanes) : lanes;
    const float *bias = arrays->bias ? arrays->bias + block * lanes : NULL;
    const char *rows[ASKED];
    for (long tile = 0; tile < tiles; tile++) {
        const long o = tile * pixels, at = o * g.across.step / g.across.by * g.channels;
        wanted_by(arrays, wanted, block * tiles + tile, groups_of(g) * tiles, rows);
        if (!rest || tile < tiles - 1) convolve_tile(g, pixels, taps, at, bias, out + o * g.results, width, rows);
        else convolve_tile(g, rest, taps, at, bias, out + o * g.results, width, rows);
    }
}

// A share of the work.
ALWAYS void convolve(const Convolution g, const ConvolutionArrays *arrays, long share) {
    float *scratch = scratch_of(g, arrays->scratch, share);
    Wanted wanted;
    for (long i = first_band(g, share); i < first_band(g, share + 1); i++) {
        const Band band = band_of(g, i);
        WindowRows rows = rows_for(g, arrays->source, scratch, band.sample, band.begin);
        const Run next = source_of_band(g, arrays->source, i + 1);
        for (long row = band.begin; row < band.end; row++) {
            const long position = (band.sample * g.rows + row) * g.columns;
            float *out = arrays->target ? arrays->target + position * g.results : scratch + copied_size(g);
            fetch(next, row - band.begin, g.band);
            copy_rows(g, arrays, &rows, last_row(g, row + 1));
            want_after(g, arrays, &rows, position, &wanted);
            for (long block = 0; block < groups_of(g); block++) {
                Taps taps = {0};
                for (long k = 0; k < g.down.taps; k++) {
                    const long read = source_of(g.down, g.height, row, k);
                    if (read < 0) continue;
                    taps.source[taps.count] = row_at(g, &rows, read);
                    taps.weight[taps.count++] = arrays->weight + block * packed_block(g) + k * packed_row(g);
                }
                convolve_row(g, pixels_of(g), arrays, &taps, block, out + block * lanes_of(g), &wanted);
            }
            if (arrays->finish.each)
                arrays->finish.each(arrays->finish.context, out, g.results, position, 0, g.columns, g.results);
        }
    }
}

// ---- the gradient of the weight ----

// Registers hold sums for all taps across, so many channels of the source and one block of results, and so many positions
// of the gradient. Where taps share what they read, fewer sums and more positions load less.
ALWAYS long channels_at_once(const Convolution g) {
    const long taps = g.across.taps, shared = vectors_of(g) == 2 && g.across.step == 1;
    const long channels = taps == 1 ? 8 : taps > 5 ? 1 : taps > 3 || shared ? 2 : 4;
    return channels < g.channels ? channels : g.channels;
}
ALWAYS long pixels_at_once(const Convolution g) {
    const long pixels = REGISTERS < 32 ? 2 : vectors_of(g) == 1 ? 8 : g.across.step == 1 && g.across.taps > 1 ? 4 : 2;
    return pixels < g.columns ? pixels : g.columns;
}

typedef Vector Sums[MOST_ACROSS][MOST_CHANNELS][2];

// What the next band reads, of which every product asks for some.
typedef struct { const char *source, *grad; } Next;

ALWAYS long products_of_band(const Convolution g) {
    const long of_a_row = parts(g.channels, channels_at_once(g)) * parts(g.columns, pixels_at_once(g));
    return groups_of(g) * g.down.taps * g.band * of_a_row;
}

// Asks for one of so many pieces of `bytes`, and returns where the next one begins.
ALWAYS const char *ask(const char *at, long bytes, long pieces) {
    const long piece = parts(bytes, pieces);
    WHOLLY for (long i = 0; i < piece; i += LINE_BYTES) __builtin_prefetch(at + i, 0, 2);
    return at + piece;
}

// Adds what some positions make: the outer products of channels and gradients.
ALWAYS void add_products(const Convolution g, long pixels, long channels, const float *x, const float *grad, long width,
                         Sums sums, Next *next) {
    const long vectors = vectors_of(g), size = (long)sizeof *x;
    next->source = ask(next->source, ((g.band - 1) * g.down.step + 1) * g.width * g.channels * size, products_of_band(g));
    next->grad = ask(next->grad, g.band * g.columns * g.results * size, products_of_band(g));
    Vector at[MOST_PIXELS][2];
    WHOLLY for (long p = 0; p < pixels; p++)
        WHOLLY for (long v = 0; v < vectors; v++)
            at[p][v] = load_some(grad + p * g.results + v * LANES, width - v * LANES);
    WHOLLY for (long q = 0; q < reads_of(g.across, pixels); q++)
        WHOLLY for (long c = 0; c < channels; c++)  // inside, so that sums which follow each other are many
            WHOLLY for (long k = 0; k < g.across.taps; k++) {
                const long p = result_of(g.across, q, k);
                if (p >= 0 && p < pixels)
                    WHOLLY for (long v = 0; v < vectors; v++) sums[k][c][v] += x[q * g.channels + c] * at[p][v];
            }
}

// Adds to packed weights of `channels` channels what the rows of a band make with one row of taps.
ALWAYS void add_band(const Convolution g, const ConvolutionArrays *arrays, long channels, WindowRows *rows, long channel,
                     const float *grad, Band band, long down, long width, float *out, Next *next) {
    const long vectors = vectors_of(g), pixels = pixels_at_once(g), rest = g.columns % pixels;
    Sums sums;
    WHOLLY for (long c = 0; c < channels; c++)
        WHOLLY for (long k = 0; k < g.across.taps; k++)
            WHOLLY for (long v = 0; v < vectors; v++)
                sums[k][c][v] = load(out + ((c * g.across.taps + k) * vectors + v) * LANES);
    for (long row = band.begin; row < band.end; row++, grad += g.columns * g.results) {
        const long read = source_of(g.down, g.height, row, down);
        if (read < 0) continue;
        copy_rows(g, arrays, rows, read);
        const float *at = row_at(g, rows, read) + channel, *end = at + g.columns / pixels * pixels * g.across.step * g.channels;
        const float *from = grad;
        for (; at < end; at += pixels * g.across.step * g.channels, from += pixels * g.results)
            add_products(g, pixels, channels, at, from, width, sums, next);
        if (rest) add_products(g, rest, channels, at, from, width, sums, next);
    }
    WHOLLY for (long c = 0; c < channels; c++)
        WHOLLY for (long k = 0; k < g.across.taps; k++)
            WHOLLY for (long v = 0; v < vectors; v++)
                store(out + ((c * g.across.taps + k) * vectors + v) * LANES, sums[k][c][v]);
}

// Adds what a band makes to packed weights.
ALWAYS void add_weights(const Convolution g, const ConvolutionArrays *arrays, Band band, float *scratch, float *sums, Next next) {
    const long lanes = lanes_of(g), channels = channels_at_once(g), rest = g.channels % channels;
    const float *grad = arrays->grad + (band.sample * g.rows + band.begin) * g.columns * g.results;
    WindowRows rows = rows_for(g, arrays->source, scratch, band.sample, band.begin);
    for (long index = 0; index < groups_of(g) * g.down.taps; index++) {
        const long block = index / g.down.taps, down = index % g.down.taps;
        const long width = g.results % lanes ? at_most(g.results - block * lanes, lanes) : lanes;
        float *out = sums + index * packed_row(g);
        long c = 0;
        for (; c + channels <= g.channels; c += channels, out += channels * g.across.taps * lanes)
            add_band(g, arrays, channels, &rows, c, grad + block * lanes, band, down, width, out, &next);
        if (rest) add_band(g, arrays, rest, &rows, c, grad + block * lanes, band, down, width, out, &next);
    }
}

// That of one convolution.
typedef void (*AddWeights)(const ConvolutionArrays *arrays, Band band, float *scratch, float *sums, Next next);

// The sum over a share of the samples, left in its place of `target` as packed weights, to which `add` adds what a band makes.
ALWAYS void sum_weights(const Convolution g, const ConvolutionArrays *arrays, long share, AddWeights add) {
    float *scratch = scratch_of(g, arrays->scratch, share), *sums = arrays->target + share * packed_size(g);
    memset(sums, 0, (size_t)packed_size(g) * sizeof *sums);
    for (long i = first_band(g, share); i < first_band(g, share + 1); i++) {
        const float *grad = grad_of_band(g, arrays->grad, i).at, *source = source_of_band(g, arrays->source, i + 1).at;
        const float *behind = grad + g.band * g.columns * g.results;
        add(arrays, band_of(g, i), scratch, sums, (Next){(const char *)(source ? source : grad), (const char *)behind});
    }
}

// Adds up what the shares have for a block and a row of taps, and unpacks it to (result, channel, tap).
ALWAYS void total_weights(const Convolution g, const float *sums, float *out, long index) {
    const long lanes = lanes_of(g), block = index / g.down.taps, down = index % g.down.taps;
    const long taps = g.down.taps * g.across.taps, width = at_most(g.results - block * lanes, lanes);
    const float *from = sums + index * packed_row(g);
    float *to = out + block * lanes * g.channels * taps + down * g.across.taps;
    for (long c = 0; c < g.channels; c++)
        for (long k = 0; k < g.across.taps; k++, from += lanes) {
            float total[2 * LANES] = {0};
            for (long share = 0; share < g.shares; share++)
                for (long i = 0; i < lanes; i++) total[i] += from[share * packed_size(g) + i];
            for (long i = 0; i < width; i++) to[(i * g.channels + c) * taps + k] = total[i];
        }
}

// ---- functions of one convolution ----

// name(source, weight, bias, result, scratch, finish, fill): the convolution that the braces describe, or the gradient of an
// input. Scratch begins with the packed weights.
#define CONVOLUTION(name, result_step, channel_step, ...)                                                           \
    ALWAYS Convolution name##_geometry(void) { return (Convolution)__VA_ARGS__; }                                   \
    static void name##_pack(void *argument, long index) {                                                           \
        const ConvolutionArrays *arrays = argument;                                                                 \
        pack_weights(name##_geometry(), result_step, channel_step, arrays->weight, arrays->scratch, index);         \
    }                                                                                                               \
    static void name##_share(void *argument, long share) { convolve(name##_geometry(), argument, share); }          \
    static void name(const float *source, const float *weight, const float *bias, float *target, float *scratch,    \
                     OnRows finish, OnRows fill) {                                                                  \
        const Convolution g = name##_geometry();                                                                    \
        ConvolutionArrays arrays = {.source = source, .weight = weight, .bias = bias, .target = target,             \
                                    .scratch = scratch, .finish = finish, .fill = fill};                            \
        parallel(name##_pack, &arrays, groups_of(g) * g.down.taps);                                                 \
        arrays.weight = scratch, arrays.scratch = scratch + packed_size(g);                                         \
        parallel(name##_share, &arrays, g.shares);                                                                  \
    }

// name(source, grad, result, scratch, fill): the gradient of the weight of the convolution that the braces describe.
#define WEIGHT_GRADIENT(name, ...)                                                                                  \
    ALWAYS Convolution name##_geometry(void) { return (Convolution)__VA_ARGS__; }                                   \
    static void name##_band(const ConvolutionArrays *arrays, Band band, float *scratch, float *sums, Next next) {   \
        add_weights(name##_geometry(), arrays, band, scratch, sums, next);                                          \
    }                                                                                                               \
    static void name##_share(void *argument, long share) {                                                          \
        sum_weights(name##_geometry(), argument, share, name##_band);                                               \
    }                                                                                                               \
    static void name##_total(void *argument, long index) {                                                          \
        const ConvolutionArrays *arrays = argument;                                                                 \
        total_weights(name##_geometry(), arrays->source, arrays->target, index);                                    \
    }                                                                                                               \
    static void name(const float *source, const float *grad, float *target, float *scratch, OnRows fill) {          \
        const Convolution g = name##_geometry();                                                                    \
        ConvolutionArrays arrays = {.source = source, .grad = grad, .target = scratch, .fill = fill,                \
                                    .scratch = scratch + g.shares * packed_size(g)};                                \
        parallel(name##_share, &arrays, g.shares);                                                                  \
        arrays.source = scratch, arrays.target = target;                                                            \
        parallel(name##_total, &arrays, groups_of(g) * g.down.taps);                                                \
    }

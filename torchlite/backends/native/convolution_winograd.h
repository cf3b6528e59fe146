// Convolutions of stride 1 with three taps across and the gradients of their inputs, as `convolution_nhwc.h` has them, with a third
// fewer multiplications: by `winograd.h` along rows, and directly down.
//
// Rows of the source are transformed where they would be copied, once for all taps down and all results. Where rows are short
// those of some samples lie behind each other and make one tile. The four sums of a pair are formed one after the other, each
// from zero, so that they err less than one direct sum of all; what the first two make waits in the first-level cache.

enum {
    MOST_PAIRS = 16,         // of results in a tile
    CHANNELS_AT_ONCE = 16,   // between which what comes next is asked for
    MOST_WOVEN = 8,          // samples
    MOST_KEPT = MOST_PAIRS * 2 * LANES,
};

ALWAYS long pairs_of(const Convolution g, long woven) { return woven * pairs_across(g); }
ALWAYS long plane_size(const Convolution g, long woven) { return pairs_of(g, woven) * g.channels; }

// As many pairs as registers hold sums for, all tiles about as large.
ALWAYS long pairs_of_tile(const Convolution g, long woven) {
    const long room = (REGISTERS - 2) / vectors_of(g) - 1, all = pairs_of(g, woven);
    return parts(all, parts(all, at_most(room, MOST_PAIRS)));
}

// Transformed weights: [block of results][plane][tap down][channel][lanes], with zeros for results that are missing.
ALWAYS long transformed_row(const Convolution g) { return g.channels * lanes_of(g); }
ALWAYS long transformed_plane(const Convolution g) { return g.down.taps * transformed_row(g); }
ALWAYS long transformed_size(const Convolution g) { return groups_of(g) * PLANES * transformed_plane(g); }

// Transforms the weights w(result, channel, tap) of a block and a row of taps.
ALWAYS void transform_weights(const Convolution g, long result_step, long channel_step, const float *weight, float *to,
                              long index) {
    const long lanes = lanes_of(g), block = index / g.down.taps, down = index % g.down.taps, plane = transformed_plane(g);
    const float *from = weight + block * lanes * result_step + down * g.across.taps;
    const long width = at_most(g.results - block * lanes, lanes), first = g.across.dilation < 0 ? 2 : 0;
    to += block * PLANES * plane + down * transformed_row(g);
    for (long c = 0; c < g.channels; c++, from += channel_step, to += lanes)
        for (long i = 0; i < lanes; i++) {
            const float *taps = from + i * result_step;
            const float g0 = i < width ? taps[first] : 0, g1 = i < width ? taps[1] : 0, g2 = i < width ? taps[2 - first] : 0;
            const float outer = 0.5f * g0 + 0.5f * g2, inner = 0.5f * g1;
            to[i] = outer + inner, to[plane + i] = outer - inner, to[2 * plane + i] = g0, to[3 * plane + i] = g2;
        }
}

// What a share works in.
typedef struct { float *row, *planes, *kept, *out; } WinogradScratch;

ALWAYS WinogradScratch winograd_scratch(const Convolution g, long woven, float *all, long share) {
    const long row = g.width * g.channels, planes = g.copied * PLANES * plane_size(g, woven);
    const long kept = 2 * MOST_KEPT, out = woven * g.columns * g.results;
    float *to = all + share * (row + planes + kept + out);
    return (WinogradScratch){to, to + row, to + row + planes, to + row + planes + kept};
}

// Transforms row number `row` of woven samples.
ALWAYS void transform_rows(const Convolution g, long woven, const ConvolutionArrays *arrays, const WinogradScratch *scratch,
                           long sample, long row, float *to) {
    for (long s = 0; s < woven; s++, sample++) {
        const float *from = scratch->row;
        long step = g.channels, width = g.width;
        if (sample >= g.samples) width = 0;
        else if (arrays->fill.each)
            arrays->fill.each(arrays->fill.context, scratch->row, g.channels, (sample * g.height + row) * g.width, 0, g.width,
                              g.channels);
        else {
            from = arrays->source + sample * g.sample_step + row * g.row_step, step = g.column_step;
            if (g.channel_step != 1) {
                for (long c = 0; c < g.channels; c++)
                    for (long w = 0; w < g.width; w++)
                        scratch->row[w * g.channels + c] = from[w * g.column_step + c * g.channel_step];
                from = scratch->row, step = g.channels;
            }
        }
        transform_row(from, step, width, first_read(g.across, 0), pairs_across(g), g.channels,
                      to + s * pairs_across(g) * g.channels, plane_size(g, woven));
    }
}

// Rows that are wanted next, of which every call asks for a piece.
typedef struct { const Wanted *wanted; long bytes, piece, pieces; } Asking;

ALWAYS void ask_ahead(Asking *asking) {
    const long length = parts(parts(asking->bytes, LINE_BYTES), asking->pieces) * LINE_BYTES;
    const long begin = asking->piece++ * length, end = at_most(begin + length, asking->bytes);
    for (long i = 0; i < asking->wanted->count; i++)
        for (long at = begin; at < end; at += LINE_BYTES) __builtin_prefetch(asking->wanted->rows[i] + at, 0, 2);
}

// Sums for `pairs` pairs of results from number `first` on; `out` has the rows of woven samples.
ALWAYS void convolve_pairs(const Convolution g, long woven, long pairs, const Taps *taps, long first, const float *bias,
                           float *const *out, long width, float *kept, Asking *asking) {
    const long vectors = vectors_of(g), across = pairs_across(g);
    Vector sum[MOST_PAIRS][2];
    WHOLLY for (long p = 0; p < pairs; p++) WHOLLY for (long v = 0; v < vectors; v++) sum[p][v] = (Vector){0};
    for (long plane = 0; plane < PLANES; plane++) {
        for (long t = 0; t < taps->count; t++) {
            const float *x = taps->source[t] + plane * plane_size(g, woven) + first * g.channels;
            const float *w = taps->weight[t] + plane * transformed_plane(g);
            for (long c = 0; c < g.channels; c += CHANNELS_AT_ONCE) {
                ask_ahead(asking);
                const float *end = x + at_most(g.channels - c, CHANNELS_AT_ONCE);
                for (; x < end; x++, w += lanes_of(g)) {
                    Vector weight[2];
                    WHOLLY for (long v = 0; v < vectors; v++) weight[v] = load(w + v * LANES);
                    WHOLLY for (long p = 0; p < pairs; p++)
                        WHOLLY for (long v = 0; v < vectors; v++) sum[p][v] += x[p * g.channels] * weight[v];
                }
            }
        }
        WHOLLY for (long v = 0; v < vectors; v++) {
            const Vector more = bias && plane > 1 ? load_some(bias + v * LANES, width - v * LANES) : (Vector){0};
            WHOLLY for (long p = 0; p < pairs; p++) {
                float *first_kept = kept + (p * vectors + v) * LANES, *second_kept = first_kept + MOST_KEPT;
                const Vector made = sum[p][v];
                sum[p][v] = (Vector){0};
                if (plane == 0) {
                    store(first_kept, made);
                } else if (plane == 1) {
                    const Vector before = load(first_kept);
                    store(first_kept, before + made);
                    store(second_kept, before - made);
                } else {
                    const long column = 2 * (woven > 1 ? p % across : first + p) + plane - 2;
                    const Vector result = load(plane == 2 ? first_kept : second_kept) + made + more;
                    float *to = out[woven > 1 ? p / across : 0] + column * g.results + v * LANES;
                    if (g.columns % 2 == 0 || column < g.columns) store_some(to, result, width - v * LANES);
                }
            }
        }
    }
}

ALWAYS long strips_of_winograd(const Convolution g, long woven) { return parts(g.samples, woven) * parts(g.rows, g.band); }

// Which rows of which samples that are.
ALWAYS Band strip_of_winograd(const Convolution g, long woven, long index) {
    const long bands = parts(g.rows, g.band), begin = index % bands * g.band;
    return (Band){index / bands * woven, begin, at_most(begin + g.band, g.rows)};
}

// A share of the work.
ALWAYS void convolve_transformed(const Convolution g, long woven, const ConvolutionArrays *arrays, long share) {
    const WinogradScratch scratch = winograd_scratch(g, woven, arrays->scratch, share);
    const long strips = strips_of_winograd(g, woven), bands = parts(g.rows, g.band);
    const long pairs = pairs_of_tile(g, woven), all = pairs_of(g, woven), rest = all % pairs, lanes = lanes_of(g);
    const long slot = PLANES * plane_size(g, woven);
    Wanted wanted;
    for (long i = share * strips / g.shares; i < (share + 1) * strips / g.shares; i++) {
        const Band strip = strip_of_winograd(g, woven, i), next = strip_of_winograd(g, woven, i + 1);
        const long first = first_row(g, strip.begin), there = at_most(woven, g.samples - strip.sample);
        long missing = first;
        for (long row = strip.begin; row < strip.end; row++) {
            float *out[MOST_WOVEN];
            for (long s = 0; s < woven; s++) {
                const long position = ((strip.sample + s) * g.rows + row) * g.columns;
                out[s] = arrays->target && s < there ? arrays->target + position * g.results
                                                     : scratch.out + s * g.columns * g.results;
                fetch(source_of_band(g, arrays->source, (next.sample + s) * bands + next.begin / g.band), row - strip.begin,
                      g.band);
            }
            for (; missing <= last_row(g, row + 1); missing++)
                transform_rows(g, woven, arrays, &scratch, strip.sample, missing,
                               scratch.planes + (missing - first) % g.copied * slot);
            wanted.count = 0;
            for (long s = 0; s < there; s++) {
                want(&wanted, arrays->finish.arrays, (((strip.sample + s) * g.rows + row + 1) * g.columns) * g.results);
                want(&wanted, arrays->fill.arrays, ((strip.sample + s) * g.height + missing) * g.width * g.channels);
            }
            const long asked = groups_of(g) * parts(all, pairs) * PLANES * parts(g.channels, CHANNELS_AT_ONCE);
            Asking asking = {&wanted, at_least(g.columns * g.results, g.width * g.channels) * (long)sizeof **out, 0, 1};
            for (long block = 0; block < groups_of(g); block++) {
                Taps taps = {0};
                for (long k = 0; k < g.down.taps; k++) {
                    const long read = source_of(g.down, g.height, row, k);
                    if (read < 0) continue;
                    taps.source[taps.count] = scratch.planes + (read - first) % g.copied * slot;
                    taps.weight[taps.count++] =
                        arrays->weight + block * PLANES * transformed_plane(g) + k * transformed_row(g);
                }
                asking.pieces = asked * taps.count;
                const long width = g.results % lanes ? at_most(g.results - block * lanes, lanes) : lanes;
                const float *bias = arrays->bias ? arrays->bias + block * lanes : NULL;
                float *to[MOST_WOVEN];
                for (long s = 0; s < woven; s++) to[s] = out[s] + block * lanes;
                for (long p = 0; p < all; p += pairs)
                    if (!rest || p + pairs <= all) convolve_pairs(g, woven, pairs, &taps, p, bias, to, width, scratch.kept, &asking);
                    else convolve_pairs(g, woven, rest, &taps, p, bias, to, width, scratch.kept, &asking);
            }
            for (long s = 0; s < there && arrays->finish.each; s++)
                arrays->finish.each(arrays->finish.context, out[s], g.results,
                                    ((strip.sample + s) * g.rows + row) * g.columns, 0, g.columns, g.results);
        }
    }
}

// name(source, weight, bias, result, scratch, finish, fill), as CONVOLUTION makes it. Scratch begins with transformed weights.
#define CONVOLUTION_BY_WINOGRAD(name, result_step, channel_step, woven, ...)                                        \
    ALWAYS Convolution name##_geometry(void) { return (Convolution)__VA_ARGS__; }                                   \
    static void name##_weights(void *argument, long index) {                                                        \
        const ConvolutionArrays *arrays = argument;                                                                 \
        transform_weights(name##_geometry(), result_step, channel_step, arrays->weight, arrays->scratch, index);    \
    }                                                                                                               \
    static void name##_share(void *argument, long share) {                                                          \
        convolve_transformed(name##_geometry(), woven, argument, share);                                            \
    }                                                                                                               \
    static void name(const float *source, const float *weight, const float *bias, float *target, float *scratch,    \
                     OnRows finish, OnRows fill) {                                                                  \
        const Convolution g = name##_geometry();                                                                    \
        ConvolutionArrays arrays = {.source = source, .weight = weight, .bias = bias, .target = target,             \
                                    .scratch = scratch, .finish = finish, .fill = fill};                            \
        parallel(name##_weights, &arrays, groups_of(g) * g.down.taps);                                              \
        arrays.weight = scratch, arrays.scratch = scratch + transformed_size(g);                                    \
        parallel(name##_share, &arrays, g.shares);                                                                  \
    }

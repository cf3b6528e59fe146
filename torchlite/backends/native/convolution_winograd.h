// Convolutions of stride 1 with three taps across and the gradients of their inputs, as `convolution_nhwc.h` has them, with fewer
// multiplications by `winograd.h`: along rows a third fewer, and with three taps down nested in itself, 2.25 times fewer.
//
// Rows of the source are transformed where they would be copied, once for all taps down and all results, or four of them at once for
// two rows of results. Where rows are short those of some samples lie behind each other and make one tile. The sums of a pair
// are formed one after the other, each from zero, so that they err less than one direct sum of all; those that others are added
// to wait in the first-level cache.

// How the work is laid out: samples whose rows are one, and rows of results at once, 1 or 2.
typedef struct { long woven, high; } Winograd;

enum {
    MOST_PAIRS = 16,        // of results in a tile
    CHANNELS_AT_ONCE = 16,  // between which what comes next is asked for
    MOST_WOVEN = 8,
    MOST_HIGH = 2,
    KEPT = 2 + 2 * MOST_HIGH,  // sums of a tile that wait: two across, and two down for each of these
};

ALWAYS long planes_of(const Winograd w) { return w.high == 2 ? PLANES * PLANES : PLANES; }
ALWAYS long taps_down(const Convolution g, const Winograd w) { return w.high == 2 ? 1 : g.down.taps; }
ALWAYS long pairs_of(const Convolution g, const Winograd w) { return w.woven * pairs_across(g); }
ALWAYS long plane_size(const Convolution g, const Winograd w) { return pairs_of(g, w) * g.channels; }
ALWAYS long slot_size(const Convolution g, const Winograd w) { return PLANES * plane_size(g, w); }  // of a row
ALWAYS long slots_of(const Convolution g, const Winograd w) { return g.copied + w.high - 1; }

// As many pairs as registers hold sums for, all tiles about as large.
ALWAYS long pairs_of_tile(const Convolution g, const Winograd w) {
    const long room = (REGISTERS - 2) / vectors_of(g) - 1, all = pairs_of(g, w);
    return parts(all, parts(all, at_most(room, MOST_PAIRS)));
}

ALWAYS long kept_size(const Convolution g, const Winograd w) { return pairs_of_tile(g, w) * lanes_of(g); }

// Transformed weights: [block of results][plane][tap down][channel][lanes], with zeros for results that are missing.
ALWAYS long transformed_row(const Convolution g) { return g.channels * lanes_of(g); }
ALWAYS long transformed_plane(const Convolution g, const Winograd w) { return taps_down(g, w) * transformed_row(g); }
ALWAYS long transformed_block(const Convolution g, const Winograd w) { return planes_of(w) * transformed_plane(g, w); }
ALWAYS long transformed_size(const Convolution g, const Winograd w) { return groups_of(g) * transformed_block(g, w); }

// Transforms the weights w(result, channel, tap) of a block and a row of taps, which down is one of the transformed ones where two
// rows are computed at once.
ALWAYS long rows_of_weights(const Convolution g, const Winograd w) { return w.high == 2 ? PLANES : g.down.taps; }
ALWAYS float transformed_tap(float g0, float g1, float g2, long plane) {
    return plane == 2 ? g0 : plane == 3 ? g2 : plane ? 0.5f * g0 + 0.5f * g2 - 0.5f * g1 : 0.5f * g0 + 0.5f * g2 + 0.5f * g1;
}
ALWAYS void transform_weights(const Convolution g, const Winograd w, long result_step, long channel_step, const float *weight,
                              float *to, long index) {
    const long lanes = lanes_of(g), block = index / rows_of_weights(g, w), row = index % rows_of_weights(g, w);
    const long plane = transformed_plane(g, w), width = at_most(g.results - block * lanes, lanes), across = g.across.taps;
    const long first = g.across.dilation < 0 ? 2 : 0, upper = (g.down.dilation < 0 ? 2 : 0) * across;
    const float *from = weight + block * lanes * result_step + (w.high == 2 ? 0 : row * across);
    to += block * transformed_block(g, w) + row * (w.high == 2 ? PLANES * plane : transformed_row(g));
    for (long c = 0; c < g.channels; c++, from += channel_step, to += lanes)
        for (long i = 0; i < lanes; i++) {
            float taps[3] = {0};
            for (long k = 0; k < 3 && i < width; k++) {
                const float *at = from + i * result_step + k;
                taps[k] = w.high == 2 ? transformed_tap(at[upper], at[across], at[2 * across - upper], row) : *at;
            }
            for (long p = 0; p < PLANES; p++) to[p * plane + i] = transformed_tap(taps[first], taps[1], taps[2 - first], p);
        }
}

// What a share works in: zeros in place of a pixel, rows that have to be copied, or computed, before they are transformed, planes of
// rows, sums that wait, and rows of results.
typedef struct { float *zeros, *copies, *planes, *kept, *out; } WinogradScratch;

ALWAYS WinogradScratch winograd_scratch(const Convolution g, const Winograd w, float *all, long share) {
    const long copies = w.high == 2 ? slots_of(g, w) * w.woven : 1, planes = w.high == 2 ? PLANES : slots_of(g, w);
    const long sizes[] = {g.channels, copies * copied_row(g), planes * slot_size(g, w), KEPT * kept_size(g, w)};
    float *at[5];
    at[0] = all + share * (sizes[0] + sizes[1] + sizes[2] + sizes[3] + w.high * w.woven * g.columns * g.results);
    for (long i = 0; i < 4; i++) at[i + 1] = at[i] + sizes[i];
    memset(at[0], 0, (size_t)g.channels * sizeof *all);
    return (WinogradScratch){at[0], at[1], at[2], at[3], at[4]};
}

ALWAYS const float *row_of_source(const Convolution g, const ConvolutionArrays *arrays, long sample, long row) {
    return arrays->source + sample * g.sample_step + row * g.row_step;
}

// Transforms row number `row` of woven samples.
ALWAYS void transform_across(const Convolution g, const Winograd w, const ConvolutionArrays *arrays, float *copy, long sample,
                             long row, float *to) {
    for (long s = 0; s < w.woven; s++, sample++) {
        const int copied = must_copy(g, arrays), there = sample < g.samples;
        const float *from = row_of_source(g, arrays, sample, row);
        if (copied && there) copy_source(g, arrays, sample, row, from, copy);
        transform_row(copied ? copy : from, copied ? g.channels : g.column_step, there ? g.width : 0, first_read(g.across, 0),
                      pairs_across(g), g.channels, to + s * pairs_across(g) * g.channels, plane_size(g, w));
    }
}

// Four rows, and how far the pixels of each are apart.
typedef struct { const float *at[PLANES]; long step[PLANES]; } FourRows;

ALWAYS void down_at(const FourRows *rows, long width, long column, long channel, long n, Vector *to) {
    Vector d[PLANES] = {0};
    if ((unsigned long)column < (unsigned long)width)
        UNROLLED for (long k = 0; k < PLANES; k++) d[k] = load_some(rows->at[k] + column * rows->step[k] + channel, n);
    to[0] = d[1] + d[2], to[1] = d[2] - d[1], to[2] = d[0] - d[2], to[3] = d[3] - d[1];
}

// Transforms four rows of a sample, down and across.
ALWAYS void transform_both(const Convolution g, const Winograd w, const FourRows *rows, float *planes) {
    const long first = first_read(g.across, 0), plane = plane_size(g, w);
    for (long c = 0; c < g.channels; c += LANES) {
        const long n = g.channels % LANES ? g.channels - c : LANES;
        Vector v0[PLANES], v1[PLANES], v2[PLANES], v3[PLANES];
        down_at(rows, g.width, first, c, n, v0);
        down_at(rows, g.width, first + 1, c, n, v1);
        float *to = planes + c;
        for (long p = 0, column = first + 2; p < pairs_across(g); p++, column += 2, to += g.channels) {
            down_at(rows, g.width, column, c, n, v2);
            down_at(rows, g.width, column + 1, c, n, v3);
            UNROLLED for (long i = 0; i < PLANES; i++) {
                store_input_sums(v0[i], v1[i], v2[i], v3[i], n, to + i * PLANES * plane, plane);
                v0[i] = v2[i], v1[i] = v3[i];
            }
        }
    }
}

// Copies what is missing, of woven samples, up to row `last`, and transforms what two rows of results from number `row` on read.
ALWAYS void transform_block(const Convolution g, const Winograd w, const ConvolutionArrays *arrays, const WinogradScratch *scratch,
                            long sample, long row, long missing, long last) {
    const int copied = must_copy(g, arrays);
    for (long s = 0; s < w.woven; s++) {
        const int there = sample + s < g.samples;
        float *copies = scratch->copies + s * slots_of(g, w) * copied_row(g);
        for (long r = missing; r <= last && copied && there; r++)
            copy_source(g, arrays, sample + s, r, row_of_source(g, arrays, sample + s, r),
                        copies + r % slots_of(g, w) * copied_row(g));
        FourRows rows;
        for (long k = 0; k < PLANES; k++) {
            const long read = first_read(g.down, row) + k;
            const int some = there && read >= 0 && read <= last;
            rows.step[k] = !some ? 0 : copied ? g.channels : g.column_step;
            rows.at[k] = !some    ? scratch->zeros
                         : copied ? copies + read % slots_of(g, w) * copied_row(g)
                                  : row_of_source(g, arrays, sample + s, read);
        }
        transform_both(g, w, &rows, scratch->planes + s * pairs_across(g) * g.channels);
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

// Takes up the sum of a plane, where those that wait are `size` numbers apart; from number 2 on a result is finished, number
// `plane` - 2.
ALWAYS Vector take_up(Vector sum, long plane, float *kept, long size) {
    if (plane == 0) {
        store(kept, sum);
    } else if (plane == 1) {
        const Vector before = load(kept);
        store(kept, before + sum);
        store(kept + size, before - sum);
    } else {
        sum += load(kept + (plane - 2) * size);
    }
    return sum;
}

// Sums for `pairs` pairs of results from number `first` on; `out` has rows of results, each of woven samples.
ALWAYS void convolve_pairs(const Convolution g, const Winograd w, long pairs, const Taps *taps, long first, const float *bias,
                           float *const *out, long width, float *kept, Asking *asking) {
    const long vectors = vectors_of(g), across = pairs_across(g), size = kept_size(g, w);
    Vector sum[MOST_PAIRS][2];
    WHOLLY for (long p = 0; p < pairs; p++) WHOLLY for (long v = 0; v < vectors; v++) sum[p][v] = (Vector){0};
    for (long plane = 0; plane < planes_of(w); plane++) {
        for (long t = 0; t < taps->count; t++) {
            const float *x = taps->source[t] + plane * plane_size(g, w) + first * g.channels;
            const float *u = taps->weight[t] + plane * transformed_plane(g, w);
            for (long c = 0; c < g.channels; c += CHANNELS_AT_ONCE) {
                ask_ahead(asking);
                const float *end = x + at_most(g.channels - c, CHANNELS_AT_ONCE);
                for (; x < end; x++, u += lanes_of(g)) {
                    Vector weight[2];
                    WHOLLY for (long v = 0; v < vectors; v++) weight[v] = load(u + v * LANES);
                    WHOLLY for (long p = 0; p < pairs; p++)
                        WHOLLY for (long v = 0; v < vectors; v++) sum[p][v] += x[p * g.channels] * weight[v];
                }
            }
        }
        const long right = plane % PLANES - 2, lower = w.high == 2 ? plane / PLANES - 2 : 0;  // result, where one is finished
        WHOLLY for (long v = 0; v < vectors; v++) {
            const Vector more = bias ? load_some(bias + v * LANES, width - v * LANES) : (Vector){0};
            WHOLLY for (long p = 0; p < pairs; p++) {
                float *at = kept + (p * vectors + v) * LANES;
                Vector made = take_up(sum[p][v], plane % PLANES, at, size);
                sum[p][v] = (Vector){0};
                if (right < 0) continue;
                if (w.high == 2) made = take_up(made, plane / PLANES, at + (2 + 2 * right) * size, size);
                if (lower < 0) continue;
                const long column = 2 * (w.woven > 1 ? p % across : first + p) + right;
                float *to = out[lower * w.woven + (w.woven > 1 ? p / across : 0)] + column * g.results + v * LANES;
                if (g.columns % 2 == 0 || column < g.columns) store_some(to, made + more, width - v * LANES);
            }
        }
    }
}

ALWAYS long strips_of_winograd(const Convolution g, const Winograd w) { return parts(g.samples, w.woven) * parts(g.rows, g.band); }

// Which rows of which samples that are.
ALWAYS Band strip_of_winograd(const Convolution g, const Winograd w, long index) {
    const long bands = parts(g.rows, g.band), begin = index % bands * g.band;
    return (Band){index / bands * w.woven, begin, at_most(begin + g.band, g.rows)};
}

// The rows of planes that rows of results from number `row` on read, and their weights.
ALWAYS Taps winograd_taps(const Convolution g, const Winograd w, const WinogradScratch *scratch, long first, long row,
                          const float *weight) {
    Taps taps = {.count = w.high == 2, .source = {scratch->planes}, .weight = {weight}};
    for (long k = 0; k < g.down.taps && w.high == 1; k++) {
        const long read = source_of(g.down, g.height, row, k);
        if (read < 0) continue;
        taps.source[taps.count] = scratch->planes + (read - first) % slots_of(g, w) * slot_size(g, w);
        taps.weight[taps.count++] = weight + k * transformed_row(g);
    }
    return taps;
}

// A share of the work.
ALWAYS void convolve_transformed(const Convolution g, const Winograd w, const ConvolutionArrays *arrays, long share) {
    const WinogradScratch scratch = winograd_scratch(g, w, arrays->scratch, share);
    const long strips = strips_of_winograd(g, w), bands = parts(g.rows, g.band), length = g.columns * g.results;
    const long pairs = pairs_of_tile(g, w), all = pairs_of(g, w), rest = all % pairs, lanes = lanes_of(g);
    const long bytes = w.high * at_least(length, g.width * g.channels) * (long)sizeof(float);
    Wanted wanted;
    for (long i = share * strips / g.shares; i < (share + 1) * strips / g.shares; i++) {
        const Band strip = strip_of_winograd(g, w, i), next = strip_of_winograd(g, w, i + 1);
        const long first = first_row(g, strip.begin), there = at_most(w.woven, g.samples - strip.sample);
        long missing = first;
        for (long row = strip.begin; row < strip.end; row += w.high) {
            const long high = at_most(w.high, strip.end - row);
            float *out[MOST_HIGH * MOST_WOVEN];
            wanted.count = 0;
            for (long s = 0; s < w.woven; s++) {
                const long sample = strip.sample + s;
                for (long h = 0; h < w.high; h++)
                    out[h * w.woven + s] = arrays->target && s < there && h < high
                                               ? arrays->target + (sample * g.rows + row + h) * length
                                               : scratch.out + (h * w.woven + s) * length;
                for (long h = 0; h < high; h++)
                    fetch(source_of_band(g, arrays->source, (next.sample + s) * bands + next.begin / g.band),
                          row + h - strip.begin, g.band);
            }
            const long last = last_row(g, row + high);
            if (w.high == 2) transform_block(g, w, arrays, &scratch, strip.sample, row, missing, last);
            for (; missing <= last; missing++)
                if (w.high == 1)
                    transform_across(g, w, arrays, scratch.copies, strip.sample, missing,
                                     scratch.planes + (missing - first) % slots_of(g, w) * slot_size(g, w));
            for (long s = 0; s < there; s++) {
                want(&wanted, arrays->finish.arrays, ((strip.sample + s) * g.rows + row + w.high) * length);
                want(&wanted, arrays->fill.arrays, ((strip.sample + s) * g.height + missing) * g.width * g.channels);
            }
            const long asked = groups_of(g) * parts(all, pairs) * planes_of(w) * parts(g.channels, CHANNELS_AT_ONCE);
            Asking asking = {&wanted, bytes, 0, 1};
            for (long block = 0; block < groups_of(g); block++) {
                const Taps taps =
                    winograd_taps(g, w, &scratch, first, row, arrays->weight + block * transformed_block(g, w));
                const long width = g.results % lanes ? at_most(g.results - block * lanes, lanes) : lanes;
                const float *bias = arrays->bias ? arrays->bias + block * lanes : NULL;
                float *to[MOST_HIGH * MOST_WOVEN];
                for (long o = 0; o < w.high * w.woven; o++) to[o] = out[o] + block * lanes;
                asking.pieces = asked * taps.count;
                for (long p = 0; p < all; p += pairs)
                    if (!rest || p + pairs <= all)
                        convolve_pairs(g, w, pairs, &taps, p, bias, to, width, scratch.kept, &asking);
                    else convolve_pairs(g, w, rest, &taps, p, bias, to, width, scratch.kept, &asking);
            }
            for (long s = 0; s < there && arrays->finish.each; s++)
                for (long h = 0; h < high; h++)
                    arrays->finish.each(arrays->finish.context, out[h * w.woven + s], g.results,
                                        ((strip.sample + s) * g.rows + row + h) * g.columns, 0, g.columns, g.results);
        }
    }
}

// name(source, weight, bias, result, scratch, finish, fill), as CONVOLUTION makes it. Scratch begins with transformed weights.
#define CONVOLUTION_BY_WINOGRAD(name, result_step, channel_step, woven, high, ...)                                  \
    ALWAYS Convolution name##_geometry(void) { return (Convolution)__VA_ARGS__; }                                   \
    ALWAYS Winograd name##_layout(void) { return (Winograd){woven, high}; }                                         \
    static void name##_weights(void *argument, long index) {                                                        \
        const ConvolutionArrays *arrays = argument;                                                                 \
        transform_weights(name##_geometry(), name##_layout(), result_step, channel_step, arrays->weight,            \
                          arrays->scratch, index);                                                                  \
    }                                                                                                               \
    static void name##_share(void *argument, long share) {                                                          \
        convolve_transformed(name##_geometry(), name##_layout(), argument, share);                                  \
    }                                                                                                               \
    static void name(const float *source, const float *weight, const float *bias, float *target, float *scratch,    \
                     OnRows finish, OnRows fill) {                                                                  \
        const Convolution g = name##_geometry();                                                                    \
        ConvolutionArrays arrays = {.source = source, .weight = weight, .bias = bias, .target = target,             \
                                    .scratch = scratch, .finish = finish, .fill = fill};                            \
        parallel(name##_weights, &arrays, groups_of(g) * rows_of_weights(g, name##_layout()));                      \
        arrays.weight = scratch, arrays.scratch = scratch + transformed_size(g, name##_layout());                   \
        parallel(name##_share, &arrays, g.shares);                                                                  \
    }

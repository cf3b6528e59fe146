// The gradient of the weight of a convolution, three taps wide and of stride 1, by Winograd's F(2, 3) transposed.
//
// Two neighbouring results and the sources d0 to d3 that they read (`winograd.h`) have six products for the three taps. With
// their gradients h0 and h1, four sums of products over all such pairs are enough:
//
//     M0 = (d1 + d2) (h0 + h1)    d0 h0 + d1 h1 = (M0 + M1) / 2 + M2
//     M1 = (d2 - d1) (h0 - h1)    d1 h0 + d2 h1 = (M0 - M1) / 2
//     M2 = (d0 - d2) h0           d2 h0 + d3 h1 = (M0 + M1) / 2 + M3
//     M3 = (d3 - d1) h1
//
// Both sides are transformed a strip at a time, into planes that lie in a cache while all products pass by.

// What is chosen for a convolution: a strip has so many rows of the source, of so many samples.
typedef struct { long rows, samples; } Strips;

// ---- what a tile is ----

enum { MOST_TILE_CHANNELS = 16, MOST_TILE_TAPS = 3 };

// Rows of taps that a tile has sums for. Where it has one vector of results, numbers of the source serve several of them.
ALWAYS long taps_of_tile(const Convolution g) { return vectors_of(g) == 1 && g.down.taps <= MOST_TILE_TAPS ? g.down.taps : 1; }
ALWAYS long channels_of_tile(const Convolution g, long taps) {
    const long most = at_most(3 * REGISTERS / 4 / vectors_of(g) / taps, MOST_TILE_CHANNELS);
    return parts(g.channels, parts(g.channels, most));
}

// ---- how numbers lie ----

// Planes of the source are [sample][row][pair][channel], those of gradients [block of results][sample][row][pair][lanes], of as
// many rows as read those of the source.
ALWAYS long source_row(const Convolution g) { return pairs_across(g) * g.channels; }
ALWAYS long source_plane(const Convolution g, const Strips s) { return s.samples * s.rows * source_row(g); }
ALWAYS long grad_row(const Convolution g) { return pairs_across(g) * lanes_of(g); }
ALWAYS long grad_rows(const Convolution g, const Strips s) { return at_most(s.rows + g.down.taps - 1, g.rows); }
ALWAYS long grad_block(const Convolution g, const Strips s) { return s.samples * grad_rows(g, s) * grad_row(g); }
ALWAYS long grad_plane(const Convolution g, const Strips s) { return groups_of(g) * grad_block(g, s); }

// Before them: a row of the source that is copied or computed.
ALWAYS long strip_scratch(const Convolution g, const Strips s) {
    return copied_row(g) + PLANES * (source_plane(g, s) + grad_plane(g, s));
}

// Sums are [plane][block of results][tap down][channel][lanes].
ALWAYS long sums_of_tap(const Convolution g) { return g.channels * lanes_of(g); }
ALWAYS long sums_of_plane(const Convolution g) { return groups_of(g) * g.down.taps * sums_of_tap(g); }

ALWAYS long strips_down(const Convolution g, const Strips s) { return parts(g.height, s.rows); }
ALWAYS long count_strips(const Convolution g, const Strips s) { return parts(g.samples, s.samples) * strips_down(g, s); }
ALWAYS long shares_of_strips(const Convolution g, const Strips s) { return at_most(g.shares, count_strips(g, s)); }

// ---- transforms ----

// Makes the planes of a row of gradients: h0 + h1, h0 - h1, h0 and h1.
ALWAYS void transform_grads(const Convolution g, const Strips s, const float *row, float *planes) {
    const long lanes = lanes_of(g), plane = grad_plane(g, s);
    for (long p = 0; p < pairs_across(g); p++, row += 2 * g.results, planes += lanes)
        for (long i = 0; i < groups_of(g) * lanes; i += LANES) {
            float *to = planes + i / lanes * grad_block(g, s) + i % lanes;
            const long n = g.results % lanes ? g.results - i : LANES;
            const Vector h0 = load_some(row + i, n);
            const Vector h1 = 2 * p + 1 < g.columns ? load_some(row + g.results + i, n) : (Vector){0};
            store(to, h0 + h1);
            store(to + plane, h0 - h1);
            store(to + 2 * plane, h0);
            store(to + 3 * plane, h1);
        }
}

// Rows `begin` to end - 1 of the source, of some samples, and rows `first` to `last` of results, which read them.
typedef struct { long sample, samples, begin, end, first, last; } StripRows;

ALWAYS StripRows strip_at(const Convolution g, const Strips s, long index) {
    const long sample = index / strips_down(g, s) * s.samples, begin = index % strips_down(g, s) * s.rows;
    const long end = at_most(begin + s.rows, g.height);
    return (StripRows){sample, at_most(s.samples, g.samples - sample), begin, end,
                       at_least(begin - (g.down.taps - 1) - g.down.shift, 0), at_most(end - 1 - g.down.shift, g.rows - 1)};
}

ALWAYS const float *source_of_strip(const Convolution g, const float *source, StripRows r) {
    return source + r.sample * g.sample_step + r.begin * g.row_step;
}
ALWAYS const float *grad_of_strip(const Convolution g, const float *grad, StripRows r) {
    return grad + (r.sample * g.rows + r.first) * g.columns * g.results;
}

ALWAYS void transform_strip(const Convolution g, const Strips s, const ConvolutionArrays *arrays, StripRows strip, float *scratch) {
    const int copies = must_copy(g, arrays);
    float *copied = scratch, *sources = scratch + copied_row(g), *grads = sources + PLANES * source_plane(g, s);
    for (long n = 0; n < strip.samples; n++, strip.sample++) {
        const float *from = source_of_strip(g, arrays->source, strip), *grad = grad_of_strip(g, arrays->grad, strip);
        for (long row = 0; row < strip.end - strip.begin; row++, from += g.row_step) {
            if (copies) copy_source(g, arrays, strip.sample, strip.begin + row, from, copied);
            transform_row(copies ? copied : from, copies ? g.channels : g.column_step, g.width, g.across.shift, pairs_across(g),
                          g.channels, sources + (n * s.rows + row) * source_row(g), source_plane(g, s));
        }
        for (long row = 0; row <= strip.last - strip.first; row++)
            transform_grads(g, s, grad + row * g.columns * g.results, grads + (n * grad_rows(g, s) + row) * grad_row(g));
    }
}

// ---- sums ----

enum { ASKING_PAIRS = 8 };  // after which some of what the next strip reads is asked for

// What the next strip reads, in pieces of so many bytes.
typedef struct { Next next; long source_piece, grad_piece; } Asked;

// For `rows` rows of either side, between `tiles` tiles of sums over `pairs` pairs.
ALWAYS Asked asked_of(const Convolution g, Next next, long rows, long tiles, long pairs) {
    const long pieces = tiles * parts(pairs, ASKING_PAIRS), size = (long)sizeof(float);
    return (Asked){next, parts(rows * g.width * g.channels * size, pieces), parts(rows * g.columns * g.results * size, pieces)};
}

ALWAYS void ask_for_piece(Asked *asked) {
    for (long i = 0; i < asked->source_piece; i += LINE_BYTES) __builtin_prefetch(asked->next.source + i, 0, 2);
    for (long i = 0; i < asked->grad_piece; i += LINE_BYTES) __builtin_prefetch(asked->next.grad + i, 0, 2);
    asked->next.source += asked->source_piece, asked->next.grad += asked->grad_piece;
}

// Adds a plane's outer products of some channels and a block of results for `taps` rows of taps, over `count` pairs of each sample.
ALWAYS void add_pairs(const Convolution g, const Strips s, long channels, long taps, long samples, long count,
                      const float *source, const float *grad, float *sums, Asked *asked) {
    const long vectors = vectors_of(g);
    Vector sum[MOST_TILE_TAPS][MOST_TILE_CHANNELS][2];
    WHOLLY for (long k = 0; k < taps; k++)
        WHOLLY for (long c = 0; c < channels; c++)
            WHOLLY for (long v = 0; v < vectors; v++) sum[k][c][v] = (Vector){0};
    for (long n = 0; n < samples; n++, source += s.rows * source_row(g), grad += grad_rows(g, s) * grad_row(g)) {
        const float *x = source, *h = grad;
        for (long left = count; left > 0; left -= ASKING_PAIRS) {
            ask_for_piece(asked);
            for (long p = at_most(left, ASKING_PAIRS); p > 0; p--, x += g.channels, h += lanes_of(g)) {
                Vector at[MOST_TILE_TAPS][2];
                WHOLLY for (long k = 0; k < taps; k++)
                    WHOLLY for (long v = 0; v < vectors; v++) at[k][v] = load(h - k * grad_row(g) + v * LANES);
                WHOLLY for (long c = 0; c < channels; c++)
                    WHOLLY for (long k = 0; k < taps; k++)
                        WHOLLY for (long v = 0; v < vectors; v++) sum[k][c][v] += x[c] * at[k][v];
            }
        }
    }
    WHOLLY for (long k = 0; k < taps; k++)
        WHOLLY for (long c = 0; c < channels; c++)
            WHOLLY for (long v = 0; v < vectors; v++) {
                float *to = sums + k * sums_of_tap(g) + (c * vectors + v) * LANES;
                store(to, load(to) + sum[k][c][v]);  // so that one sum has few terms
            }
}

// Rows of the source, from `begin` on, that `taps` rows of taps from `tap` on all meet.
typedef struct { long tap, taps, begin, end; } TapRows;

// Which sums make all that a strip has. Where tiles have several rows of taps, there are rows that only some of these meet.
ALWAYS long rows_of_taps(const Convolution g, StripRows strip, TapRows *all) {
    const long taps = taps_of_tile(g), shift = g.down.shift;
    long count = 0, begin = at_least(strip.begin, taps - 1 + shift), end = at_most(strip.end, g.rows + shift);
    if (taps == 1 || begin >= end) begin = end = strip.end;
    else all[count++] = (TapRows){0, taps, begin, end};
    for (long k = 0; k < g.down.taps; k++) {
        all[count++] = (TapRows){k, 1, at_least(strip.begin, k + shift), at_most(begin, g.rows + k + shift)};
        all[count++] = (TapRows){k, 1, at_least(end, k + shift), at_most(strip.end, g.rows + k + shift)};
    }
    return count;
}

// Adds what a strip makes.
ALWAYS void add_strip(const Convolution g, const Strips s, const float *planes, StripRows strip, float *sums, Next next) {
    TapRows all[2 * MOST_DOWN + 1];
    const long count = rows_of_taps(g, strip, all), channels = channels_of_tile(g, taps_of_tile(g)), rest = g.channels % channels;
    const long tiles = PLANES * groups_of(g) * parts(g.down.taps, taps_of_tile(g)) * parts(g.channels, channels);
    Asked asked = asked_of(g, next, s.samples * s.rows, tiles * s.samples, s.rows * pairs_across(g));
    for (long index = 0; index < PLANES * groups_of(g) * count; index++) {
        const TapRows rows = all[index % count];
        if (rows.begin >= rows.end) continue;
        const long block = index / count % groups_of(g), plane = index / count / groups_of(g);
        const long result = rows.begin - rows.tap - g.down.shift, pairs = (rows.end - rows.begin) * pairs_across(g);
        const float *source = planes + plane * source_plane(g, s) + (rows.begin - strip.begin) * source_row(g);
        const float *grad = planes + PLANES * source_plane(g, s) + plane * grad_plane(g, s) + block * grad_block(g, s) +
                            (result - strip.first) * grad_row(g);
        float *to = sums + plane * sums_of_plane(g) + (block * g.down.taps + rows.tap) * sums_of_tap(g);
        for (long c = 0; c < g.channels; c += channels)
#define ADD_PAIRS(channels, taps) add_pairs(g, s, channels, taps, strip.samples, pairs, source + c, grad, to + c * lanes_of(g), &asked)
            if (c + channels <= g.channels)
                if (rows.taps > 1) ADD_PAIRS(channels, taps_of_tile(g));
                else ADD_PAIRS(channels, 1);
            else if (rows.taps > 1) ADD_PAIRS(rest, taps_of_tile(g));
            else ADD_PAIRS(rest, 1);
#undef ADD_PAIRS
    }
}

// The sum over a share of the strips, left in its place of `target`.
ALWAYS void sum_strips(const Convolution g, const Strips s, const ConvolutionArrays *arrays, long share) {
    const long shares = shares_of_strips(g, s), size = PLANES * sums_of_plane(g);
    float *scratch = arrays->scratch + share * strip_scratch(g, s), *sums = arrays->target + share * size;
    memset(sums, 0, (size_t)size * sizeof *sums);
    for (long i = share * count_strips(g, s) / shares; i < (share + 1) * count_strips(g, s) / shares; i++) {
        const StripRows strip = strip_at(g, s, i), behind = strip_at(g, s, i + 1);
        const float *grad = grad_of_strip(g, arrays->grad, behind);
        const float *source = arrays->source && g.channel_step == 1 ? source_of_strip(g, arrays->source, behind) : grad;
        transform_strip(g, s, arrays, strip, scratch);
        add_strip(g, s, scratch + copied_row(g), strip, sums, (Next){(const char *)source, (const char *)grad});
    }
}

// The three taps that the four sums of a transform make.
ALWAYS void taps_of_sums(float m0, float m1, float m2, float m3, float *taps) {
    const float half = 0.5f * (m0 + m1);
    taps[0] = half + m2, taps[1] = 0.5f * (m0 - m1), taps[2] = half + m3;
}

// Adds up what the shares have for a block and a row of taps, and makes (result, channel, tap) of it.
ALWAYS void total_of_strips(const Convolution g, const Strips s, const float *sums, float *out, long index) {
    const long lanes = lanes_of(g), block = index / g.down.taps, down = index % g.down.taps;
    const long taps = g.down.taps * g.across.taps, width = at_most(g.results - block * lanes, lanes);
    const float *from = sums + index * sums_of_tap(g);
    float *to = out + block * lanes * g.channels * taps + down * g.across.taps;
    for (long c = 0; c < g.channels; c++, from += lanes, to += taps) {
        float total[PLANES][2 * LANES] = {0};
        for (long share = 0; share < shares_of_strips(g, s); share++)
            for (long plane = 0; plane < PLANES; plane++)
                for (long i = 0; i < lanes; i++) total[plane][i] += from[(share * PLANES + plane) * sums_of_plane(g) + i];
        for (long i = 0; i < width; i++)
            taps_of_sums(total[0][i], total[1][i], total[2][i], total[3][i], to + i * g.channels * taps);
    }
}

// name(source, grad, result, scratch, fill): as a WEIGHT_GRADIENT of the convolution that the braces describe, in strips of so many
// rows and samples.
#define WEIGHT_GRADIENT_BY_WINOGRAD(name, rows, samples, ...)                                                       \
    ALWAYS Convolution name##_geometry(void) { return (Convolution)__VA_ARGS__; }                                   \
    static void name##_share(void *argument, long share) {                                                          \
        sum_strips(name##_geometry(), (Strips){rows, samples}, argument, share);                                    \
    }                                                                                                               \
    static void name##_total(void *argument, long index) {                                                          \
        const ConvolutionArrays *arrays = argument;                                                                 \
        total_of_strips(name##_geometry(), (Strips){rows, samples}, arrays->source, arrays->target, index);         \
    }                                                                                                               \
    static void name(const float *source, const float *grad, float *target, float *scratch, OnRows fill) {          \
        const Convolution g = name##_geometry();                                                                    \
        const long shares = shares_of_strips(g, (Strips){rows, samples});                                           \
        ConvolutionArrays arrays = {.source = source, .grad = grad, .target = scratch, .fill = fill,                \
                                    .scratch = scratch + shares * PLANES * sums_of_plane(g)};                       \
        parallel(name##_share, &arrays, shares);                                                                    \
        arrays.source = scratch, arrays.target = target;                                                            \
        parallel(name##_total, &arrays, groups_of(g) * g.down.taps);                                                \
    }

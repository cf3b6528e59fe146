// The gradient of the weight as in `weight_grad_winograd.h`, of windows three by three, by Winograd's F(2×2, 3×3) transposed: what is
// transformed across is transformed down as well, so that a square of four results has 16 products instead of 36.
//
// Here a strip has so many pairs of rows of the result.

enum {
    SQUARE_PLANES = PLANES * PLANES,  // [down][across]
    PLANE_GAP = 80,                   // numbers between planes, which are written together, in other sets of a cache
    TOTAL_CHANNELS = 8,               // that a task adds up
};

ALWAYS long squares_down(const Convolution g) { return parts(g.rows, 2); }
ALWAYS long squares_of_strip(const Convolution g, const Strips s) { return s.samples * s.rows * pairs_across(g); }

// Planes of the source are [sample][pair of rows][pair][channel], those of gradients [block of results][sample][pair of rows][pair]
// [lanes].
ALWAYS long squares_of_source(const Convolution g, const Strips s) { return squares_of_strip(g, s) * g.channels + PLANE_GAP; }
ALWAYS long squares_of_block(const Convolution g, const Strips s) { return squares_of_strip(g, s) * lanes_of(g); }
ALWAYS long squares_of_grad(const Convolution g, const Strips s) { return groups_of(g) * squares_of_block(g, s) + PLANE_GAP; }

// Before them: a row of the source that is copied or computed, zeros in place of one that is not there, and four transformed rows.
ALWAYS long transformed_source(const Convolution g) { return PLANES * source_row(g); }
ALWAYS long before_squares(const Convolution g) { return copied_row(g) + (1 + PLANES) * transformed_source(g); }
ALWAYS long squares_scratch(const Convolution g, const Strips s) {
    return before_squares(g) + SQUARE_PLANES * (squares_of_source(g, s) + squares_of_grad(g, s));
}

// Sums are [plane][block of results][channel][lanes].
ALWAYS long sums_of_square(const Convolution g) { return groups_of(g) * sums_of_tap(g); }

ALWAYS long square_strips_down(const Convolution g, const Strips s) { return parts(squares_down(g), s.rows); }
ALWAYS long square_strips(const Convolution g, const Strips s) { return parts(g.samples, s.samples) * square_strips_down(g, s); }
ALWAYS long shares_of_squares(const Convolution g, const Strips s) { return at_most(g.shares, square_strips(g, s)); }

// Transforms four transformed rows down.
ALWAYS void transform_down_squares(const Convolution g, const Strips s, const float *const *rows, float *planes) {
    const long plane = squares_of_source(g, s), down = PLANES * plane;
    for (long across = 0; across < PLANES; across++) {
        const float *row[PLANES];
        for (long k = 0; k < PLANES; k++) row[k] = rows[k] + across * source_row(g);
        float *to = planes + across * plane;
        for (long i = 0; i < source_row(g); i += LANES) {
            const long n = source_row(g) % LANES ? source_row(g) - i : LANES;
            store_input_sums(load_some(row[0] + i, n), load_some(row[1] + i, n), load_some(row[2] + i, n),
                             load_some(row[3] + i, n), n, to + i, down);
        }
    }
}

// Makes the planes of two rows of gradients, of which the lower may not be there.
ALWAYS void transform_square_grads(const Convolution g, const Strips s, const float *row, int both, float *planes) {
    const long lanes = lanes_of(g), plane = squares_of_grad(g, s), below = g.columns * g.results;
    for (long p = 0; p < pairs_across(g); p++, row += 2 * g.results, planes += lanes)
        for (long i = 0; i < groups_of(g) * lanes; i += LANES) {
            float *to = planes + i / lanes * squares_of_block(g, s) + i % lanes;
            const long n = g.results % lanes ? g.results - i : LANES;
            const Vector none = {0};
            const int beside = 2 * p + 1 < g.columns;
            const Vector a = load_some(row + i, n), b = beside ? load_some(row + g.results + i, n) : none;
            const Vector c = both ? load_some(row + below + i, n) : none;
            const Vector d = both && beside ? load_some(row + below + g.results + i, n) : none;
            const Vector upper[PLANES] = {a + b, a - b, a, b}, lower[PLANES] = {c + d, c - d, c, d};
            UNROLLED for (long k = 0; k < PLANES; k++) {
                store(to + k * plane, upper[k] + lower[k]);
                store(to + (PLANES + k) * plane, upper[k] - lower[k]);
                store(to + (2 * PLANES + k) * plane, upper[k]);
                store(to + (3 * PLANES + k) * plane, lower[k]);
            }
        }
}

typedef struct { long sample, samples, begin, end; } SquareRows;  // pairs of rows of the result, of some samples

ALWAYS SquareRows squares_at(const Convolution g, const Strips s, long index) {
    const long down = square_strips_down(g, s), sample = index / down * s.samples, begin = index % down * s.rows;
    return (SquareRows){sample, at_most(s.samples, g.samples - sample), begin, at_most(begin + s.rows, squares_down(g))};
}
ALWAYS const float *source_of_squares(const Convolution g, const float *source, SquareRows r, long row) {
    return source + r.sample * g.sample_step + row * g.row_step;
}
ALWAYS const float *grad_of_squares(const Convolution g, const float *grad, SquareRows r) {
    return grad + (r.sample * g.rows + 2 * r.begin) * g.columns * g.results;
}

ALWAYS void transform_squares(const Convolution g, const Strips s, const ConvolutionArrays *arrays, SquareRows strip, float *scratch) {
    const int copies = must_copy(g, arrays);
    float *copied = scratch, *zeros = copied + copied_row(g), *slots = zeros + transformed_source(g);
    float *sources = scratch + before_squares(g), *grads = sources + SQUARE_PLANES * squares_of_source(g, s);
    for (long n = 0; n < strip.samples; n++, strip.sample++) {
        const float *grad = grad_of_squares(g, arrays->grad, strip);
        const long first = 2 * strip.begin + g.down.shift;
        long next = first;
        for (long q = strip.begin; q < strip.end; q++, grad += 2 * g.columns * g.results) {
            const float *rows[PLANES];
            for (long k = 0; k < PLANES; k++) {
                const long row = 2 * q + g.down.shift + k;
                float *slot = slots + (row - first) % PLANES * transformed_source(g);
                const int there = row >= 0 && row < g.height;
                if (row == next && next++ >= 0 && there) {
                    const float *from = source_of_squares(g, arrays->source, strip, row);
                    if (copies) copy_source(g, arrays, strip.sample, row, from, copied);
                    transform_row(copies ? copied : from, copies ? g.channels : g.column_step, g.width, g.across.shift,
                                  pairs_across(g), g.channels, slot, source_row(g));
                }
                rows[k] = there ? slot : zeros;
            }
            transform_down_squares(g, s, rows, sources);
            transform_square_grads(g, s, grad, 2 * q + 1 < g.rows, grads);
            sources += source_row(g), grads += grad_row(g);
        }
    }
}

// Adds what a strip makes.
ALWAYS void add_squares(const Convolution g, const Strips s, const float *planes, SquareRows strip, float *sums, Next next) {
    const long channels = channels_of_tile(g, 1), rest = g.channels % channels;
    const long squares = strip.samples * (strip.end - strip.begin) * pairs_across(g);
    const long tiles = SQUARE_PLANES * groups_of(g) * parts(g.channels, channels);
    Asked asked = asked_of(g, next, 2 * s.samples * s.rows, tiles, squares_of_strip(g, s));
    for (long index = 0; index < SQUARE_PLANES * groups_of(g); index++, sums += sums_of_tap(g)) {
        const long plane = index / groups_of(g), block = index % groups_of(g);
        const float *source = planes + plane * squares_of_source(g, s);
        const float *grad = planes + SQUARE_PLANES * squares_of_source(g, s) + plane * squares_of_grad(g, s) +
                            block * squares_of_block(g, s);
        for (long c = 0; c < g.channels; c += channels)
            if (c + channels <= g.channels) add_pairs(g, s, channels, 1, 1, squares, source + c, grad, sums + c * lanes_of(g), &asked);
            else add_pairs(g, s, rest, 1, 1, squares, source + c, grad, sums + c * lanes_of(g), &asked);
    }
}

// The sum over a share of the strips, left in its place of `target`.
ALWAYS void sum_squares(const Convolution g, const Strips s, const ConvolutionArrays *arrays, long share) {
    const long shares = shares_of_squares(g, s), size = SQUARE_PLANES * sums_of_square(g), strips = square_strips(g, s);
    float *scratch = arrays->scratch + share * squares_scratch(g, s), *sums = arrays->target + share * size;
    memset(scratch, 0, (size_t)before_squares(g) * sizeof *scratch);
    memset(sums, 0, (size_t)size * sizeof *sums);
    for (long i = share * strips / shares; i < (share + 1) * strips / shares; i++) {
        const SquareRows strip = squares_at(g, s, i), behind = squares_at(g, s, i + 1);
        const float *grad = grad_of_squares(g, arrays->grad, behind);
        const float *source = arrays->source && g.channel_step == 1
                                  ? source_of_squares(g, arrays->source, behind, at_least(2 * behind.begin + g.down.shift, 0))
                                  : grad;
        transform_squares(g, s, arrays, strip, scratch);
        add_squares(g, s, scratch + before_squares(g), strip, sums, (Next){(const char *)source, (const char *)grad});
    }
}

// Adds up what the shares have for a block and some channels, and makes (result, channel, tap) of it.
ALWAYS void total_of_squares(const Convolution g, const Strips s, const float *sums, float *out, long index) {
    const long lanes = lanes_of(g), each = parts(g.channels, TOTAL_CHANNELS), block = index / each;
    const long width = at_most(g.results - block * lanes, lanes), begin = index % each * TOTAL_CHANNELS;
    for (long c = begin; c < at_most(begin + TOTAL_CHANNELS, g.channels); c++) {
        const float *from = sums + block * sums_of_tap(g) + c * lanes;
        float total[SQUARE_PLANES][2 * LANES] = {0};
        for (long share = 0; share < shares_of_squares(g, s); share++)
            for (long plane = 0; plane < SQUARE_PLANES; plane++)
                for (long i = 0; i < lanes; i++) total[plane][i] += from[(share * SQUARE_PLANES + plane) * sums_of_square(g) + i];
        for (long i = 0; i < width; i++) {
            float down[PLANES][3], *to = out + ((block * lanes + i) * g.channels + c) * 9;
            for (long k = 0; k < PLANES; k++)
                taps_of_sums(total[k][i], total[PLANES + k][i], total[2 * PLANES + k][i], total[3 * PLANES + k][i], down[k]);
            for (long k = 0; k < 3; k++) taps_of_sums(down[0][k], down[1][k], down[2][k], down[3][k], to + 3 * k);
        }
    }
}

// name(source, grad, result, scratch, fill): as WEIGHT_GRADIENT_BY_WINOGRAD, in strips of so many pairs of rows and samples.
#define WEIGHT_GRADIENT_BY_SQUARES(name, rows, samples, ...)                                                        \
    ALWAYS Convolution name##_geometry(void) { return (Convolution)__VA_ARGS__; }                                   \
    static void name##_share(void *argument, long share) {                                                          \
        sum_squares(name##_geometry(), (Strips){rows, samples}, argument, share);                                   \
    }                                                                                                               \
    static void name##_total(void *argument, long index) {                                                          \
        const ConvolutionArrays *arrays = argument;                                                                 \
        total_of_squares(name##_geometry(), (Strips){rows, samples}, arrays->source, arrays->target, index);        \
    }                                                                                                               \
    static void name(const float *source, const float *grad, float *target, float *scratch, OnRows fill) {          \
        const Convolution g = name##_geometry();                                                                    \
        const long shares = shares_of_squares(g, (Strips){rows, samples});                                          \
        ConvolutionArrays arrays = {.source = source, .grad = grad, .target = scratch, .fill = fill,                \
                                    .scratch = scratch + shares * SQUARE_PLANES * sums_of_square(g)};               \
        parallel(name##_share, &arrays, shares);                                                                    \
        arrays.source = scratch, arrays.target = target;                                                            \
        parallel(name##_total, &arrays, groups_of(g) * parts(g.channels, TOTAL_CHANNELS));                          \
    }

// Winograd's minimal filtering F(2, 3) (Winograd 1980; Lavin and Gray 2016) along rows of arrays whose channels lie side by side:
// two neighbouring results y0 and y1 of three taps g0, g1, g2 and four sources d0 ... d3 by four products instead of six.
//
//     y0 = d0 g0 + d1 g1 + d2 g2 = S + D + V2 U2     S = V0 U0,  V0 = d1 + d2,  U0 = (g0 + g1 + g2) / 2
//     y1 = d1 g0 + d2 g1 + d3 g2 = S - D + V3 U3     D = V1 U1,  V1 = d2 - d1,  U1 = (g0 - g1 + g2) / 2
//                                                                V2 = d0 - d2,  U2 = g0
//                                                                V3 = d3 - d1,  U3 = g2
//
// A number that a result does not read takes no part in it, so that infinities stay where windows meet them.

enum { PLANES = 4 };  // V0 ... V3 of a row, each [pair of results][channel]

ALWAYS long pairs_across(const Convolution g) { return parts(g.columns, 2); }

// Rows of the source are copied, or computed, where their channels do not lie side by side yet.
ALWAYS int must_copy(const Convolution g, const ConvolutionArrays *arrays) { return arrays->fill.each || g.channel_step != 1; }
ALWAYS long copied_row(const Convolution g) { return g.width * g.channels; }

ALWAYS Vector source_at(const float *from, long step, long width, long column, long n) {
    return (unsigned long)column < (unsigned long)width ? load_some(from + column * step, n) : (Vector){0};
}

// V0 ... V3 of four sources, `plane` numbers apart.
ALWAYS void store_input_sums(Vector d0, Vector d1, Vector d2, Vector d3, long n, float *to, long plane) {
    store_some(to, d1 + d2, n);
    store_some(to + plane, d2 - d1, n);
    store_some(to + 2 * plane, d0 - d2, n);
    store_some(to + 3 * plane, d3 - d1, n);
}

// Makes the planes, which are `plane` numbers apart, of a row of `width` sources, which are `step` numbers apart, with zeros beside
// it; the first pair begins at source number `first`, there or not.
ALWAYS void transform_row(const float *from, long step, long width, long first, long pairs, long channels, float *planes,
                          long plane) {
    for (long c = 0; c < channels; c += LANES) {
        const long n = channels % LANES ? channels - c : LANES;
        Vector d0 = source_at(from + c, step, width, first, n), d1 = source_at(from + c, step, width, first + 1, n);
        float *to = planes + c;
        for (long p = 0, column = first + 2; p < pairs; p++, column += 2, to += channels) {
            const Vector d2 = source_at(from + c, step, width, column, n), d3 = source_at(from + c, step, width, column + 1, n);
            store_input_sums(d0, d1, d2, d3, n, to, plane);
            d0 = d2, d1 = d3;
        }
    }
}

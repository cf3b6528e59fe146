// Max-pooling of arrays whose channels lie side by side (N, H, W, C), and spreading values to the places of the maxima,
// with sizes as constants. A window reads what a convolution reads, and a spread gradient what the gradient of its input
// does, so geometry is that of `convolution_nhwc.h`; channels stay what they are.

typedef struct {
    const float *x;
    const uint8_t *from;
    float *target, *scratch;  // without a target, rows are only handed to `finish`
    uint8_t *place;
    Finish finish;
    void *context;
} PoolingArrays;

typedef int32_t Places __attribute__((vector_size(sizeof(float) * LANES)));
typedef uint8_t Bytes __attribute__((vector_size(LANES)));

ALWAYS Vector chosen(Places which, Vector a, Vector b) { return (Vector)((which & (Places)a) | (~which & (Places)b)); }

ALWAYS Places load_places(const uint8_t *from, long n) {
    Bytes bytes = {0};
    memcpy(&bytes, from, (size_t)n);
    return __builtin_convertvector(bytes, Places);
}
ALWAYS void store_places(uint8_t *to, Places places, long n) {
    const Bytes bytes = __builtin_convertvector(places, Bytes);
    memcpy(to, &bytes, (size_t)n);
}

ALWAYS long pooled_lanes(const Convolution g, long c) {
    return g.channels % LANES ? at_most(g.channels - c, LANES) : LANES;
}

// The first of equal maxima; the last NaN, if any, wins over everything.
ALWAYS void max_of_row(const Convolution g, const PoolingArrays *arrays, Band band, long row) {
    const float *x = arrays->x + band.sample * g.height * g.width * g.channels;
    const long start = (band.sample * g.rows + row) * g.columns * g.channels;
    for (long o = 0; o < g.columns; o++)
        for (long c = 0; c < g.channels; c += LANES) {
            const long n = pooled_lanes(g, c), at = start + o * g.channels + c;
            Vector best = (Vector){0} - INFINITY;
            Places place = {0};
            int first = 1;  // whether no element was inside
            for (long i = 0; i < g.down.taps; i++) {
                const long h = source_of(g.down, g.height, row, i);
                for (long j = 0; j < g.across.taps; j++) {
                    const long w = source_of(g.across, g.width, o, j);
                    if (h < 0 || w < 0) continue;
                    const Vector value = load_some(x + (h * g.width + w) * g.channels + c, n);
                    const int32_t tap = (int32_t)(i * g.across.taps + j);
                    const Places better = (Places)(value > best) | (Places)(value != value) | (Places){0} - first;
                    best = chosen(better, value, best);
                    place = (better & tap) | (~better & place);
                    first = 0;
                }
            }
            store_some(arrays->target + at, best, n);
            store_places(arrays->place + at, place, n);
        }
}

enum { MOST_MET = 256 };  // as many taps as a byte can name

ALWAYS void spread_row(const Convolution g, const PoolingArrays *arrays, Band band, long row, float *out) {
    const long start = band.sample * g.height * g.width * g.channels;
    for (long o = 0; o < g.columns; o++) {
        long met = 0, window[MOST_MET];
        int32_t tap[MOST_MET];
        for (long i = 0; i < g.down.taps; i++)
            for (long j = 0; j < g.across.taps; j++) {
                const long h = source_of(g.down, g.height, row, i), w = source_of(g.across, g.width, o, j);
                if (h < 0 || w < 0) continue;
                window[met] = start + (h * g.width + w) * g.channels;
                tap[met++] = (int32_t)(i * g.across.taps + j);
            }
        for (long c = 0; c < g.channels; c += LANES) {
            const long n = pooled_lanes(g, c);
            Vector sum = {0};
            for (long t = 0; t < met; t++) {
                const Places here = load_places(arrays->from + window[t] + c, n) == tap[t];
                sum += (Vector)(here & (Places)load_some(arrays->x + window[t] + c, n));
            }
            store_some(out + o * g.channels + c, sum, n);
        }
    }
}

ALWAYS void pool_share(const Convolution g, const PoolingArrays *arrays, long share) {
    for (long i = first_band(g, share); i < first_band(g, share + 1); i++) {
        const Band band = band_of(g, i);
        for (long row = band.begin; row < band.end; row++) max_of_row(g, arrays, band, row);
    }
}

ALWAYS void spread_share(const Convolution g, const PoolingArrays *arrays, long share) {
    float *line = scratch_of(g, arrays->scratch, share);
    for (long i = first_band(g, share); i < first_band(g, share + 1); i++) {
        const Band band = band_of(g, i);
        for (long row = band.begin; row < band.end; row++) {
            const long position = (band.sample * g.rows + row) * g.columns;
            float *out = arrays->target ? arrays->target + position * g.channels : line;
            spread_row(g, arrays, band, row, out);
            if (arrays->finish) arrays->finish(arrays->context, out, g.channels, position, 0, g.columns, g.channels);
        }
    }
}

// name(x, out, places)
#define MAX_POOL(name, ...)                                                                                         \
    ALWAYS Convolution name##_geometry(void) { return (Convolution)__VA_ARGS__; }                                   \
    static void name##_share(void *argument, long share) { pool_share(name##_geometry(), argument, share); }        \
    static void name(const float *x, float *out, uint8_t *place) {                                                  \
        PoolingArrays arrays = {.x = x, .target = out, .place = place};                                             \
        parallel(name##_share, &arrays, name##_geometry().shares);                                                  \
    }

// name(values, places, out, scratch, finish, context)
#define SPREAD(name, ...)                                                                                           \
    ALWAYS Convolution name##_geometry(void) { return (Convolution)__VA_ARGS__; }                                   \
    static void name##_share(void *argument, long share) { spread_share(name##_geometry(), argument, share); }      \
    static void name(const float *values, const uint8_t *places, float *out, float *scratch, Finish finish,         \
                     void *context) {                                                                               \
        PoolingArrays arrays = {.x = values, .from = places, .target = out, .scratch = scratch, .finish = finish,   \
                                .context = context};                                                                \
        parallel(name##_share, &arrays, name##_geometry().shares);                                                  \
    }

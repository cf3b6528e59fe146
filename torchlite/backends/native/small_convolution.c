// Convolution of images of a few positions in two dimensions, and its two gradients.
//
// Most of a window over a small image lies in the padding: of a 3x3 window only 16 in 36 elements meet a 2x2 image, one in nine
// a 1x1 image. So all that meets is listed, and nothing else is multiplied. Rows of positions are too short for vectors; there,
// samples lie side by side,
//
//     out[o][p][n] = sum over channels c and what meets at p, of a tap t and a position q, of weight[o][c][t] * x[c][q][n],
//
// and the gradient of the input is the same sum with the other ends of what meets. In that of the weight, which is a sum over
// samples, results o lie side by side.

enum { ROWS = REGISTERS / 2, PACKED = 1 << 12, ITEMS = 128 };  // channels that registers hold sums for; numbers; sums of a task

// ---- what meets ----

enum { OUT, TAP, IN };  // ends: a position of windows, an element of the window, a position of the input

typedef struct { int32_t end[3]; } Meeting;

typedef struct {  // those of number k at one end are first[k] to first[k + 1] - 1
    long ends[3], *first;
    Meeting *all;
} Meetings;

static void *release(void *first, void *second) {
    free(first);
    free(second);
    return NULL;
}

static void *room(long numbers) { return aligned_alloc(64, (size_t)parts(numbers, 16) * 64); }

// Does `visit` for each meeting m of a geometry.
#define EACH_MEETING(g, m, visit)                                                                                      \
    for (long row = 0; row < (g)->rows; row++)                                                                         \
        for (long column = 0; column < (g)->columns; column++)                                                         \
            for (long i = 0; i < (g)->kh; i++)                                                                         \
                for (long j = 0; j < (g)->kw; j++) {                                                                   \
                    long h = row * (g)->sh + i * (g)->dh - (g)->ph, w = column * (g)->sw + j * (g)->dw - (g)->pw;      \
                    if (h < 0 || h >= (g)->height || w < 0 || w >= (g)->width) continue;                               \
                    Meeting m = {{(int32_t)(row * (g)->columns + column), (int32_t)(i * (g)->kw + j),                  \
                                  (int32_t)(h * (g)->width + w)}};                                                     \
                    visit;                                                                                             \
                }

// All meetings, ordered by one end; 0 where there is no memory for them.
static int list_meetings(Meetings *list, const ConvolutionGeometry *g, int by) {
    *list = (Meetings){{g->rows * g->columns, g->kh * g->kw, g->height * g->width}, NULL, NULL};
    long count = list->ends[by];
    list->first = calloc((size_t)count + 2, sizeof *list->first);
    list->all = malloc((size_t)(list->ends[OUT] * list->ends[TAP]) * sizeof *list->all);
    if (!list->first || !list->all) return 0;
    long *next = list->first + 1;  // one further than where they begin, until all are entered
    EACH_MEETING(g, m, next[m.end[by] + 1]++)
    for (long k = 0; k < count; k++) next[k + 1] += next[k];
    EACH_MEETING(g, m, list->all[next[m.end[by]]++] = m)
    return 1;
}

static void forget(Meetings *list) { list->first = release(list->first, list->all); }

// ---- sums over channels ----

typedef struct { long weight, source; } Step;  // where the numbers lie that are multiplied, those of the first channel

typedef struct {
    const float *from;      // [sample][channel][position]
    const float *weight, *bias;
    float *side_by_side;    // [block of samples][position][channel][LANES]
    float *out;
    Meetings list;          // by what is summed up for
    int source, target;     // ends
    long samples, groups, channels, results;
    long channel_step, result_step, group_step;  // between weights
    long taps, *used;                            // that meet anything
    Step *steps;                                 // for each of what meets
    long parts_a_tile;
    int failed;
} Sums;

enum { LAID = GRAIN / LANES };  // numbers of a sample that a task takes

static void lay_side_by_side(void *argument, long index) {
    const Sums *s = argument;
    const long positions = s->list.ends[s->source], channels = s->groups * s->channels, numbers = channels * positions;
    const long pieces = parts(numbers, LAID), block = index / pieces, first = index % pieces * LAID;
    const long last = at_most(first + LAID, numbers), samples = at_most(s->samples - block * LANES, LANES);
    const float *from = s->from + block * LANES * numbers;
    float *to = s->side_by_side + block * numbers * LANES;
    long channel = first / positions, position = first % positions;
    for (long k = first; k < last; k += LANES) {
        const long count = at_most(last - k, LANES);
        Vector square[LANES];
        UNROLLED for (int i = 0; i < LANES; i++)
            square[i] = i < samples ? load_some(from + i * numbers + k, count) : (Vector){0};
        transpose(square);
        for (long j = 0; j < count; j++) {
            store(to + (position * channels + channel) * LANES, square[j]);
            if (++position == positions) position = 0, channel++;
        }
    }
}

// Writes sums [position][ROWS] of some rows, from `row` on, and positions, to places side by side; samples are `step` apart.
static void write_sums(const Vector *sums, long row, long rows, long positions, float *to, long step, long samples) {
    long position = 0;
    for (long k = 0; k < rows * positions; k += LANES) {
        const long count = at_most(rows * positions - k, LANES);
        Vector square[LANES] = {0};
        for (long j = 0; j < count; j++) {
            square[j] = sums[position * ROWS + row];
            if (++position == positions) position = 0, row++;
        }
        transpose(square);
        for (long n = 0; n < samples; n++) store_some(to + n * step + k, square[n], count);
    }
}

// Weights of some channels as [channel][tap][ROWS].
static void pack(const Sums *s, const float *weight, long channels, long results, float *to) {
    if (results == ROWS && s->taps == s->list.ends[TAP] && s->channel_step == s->taps) {
        transpose_rows(weight, s->result_step, ROWS, channels * s->taps, 1.0f, to, ROWS);
        return;
    }
    for (long c = 0; c < channels; c++)
        for (long t = 0; t < s->taps; t++, to += ROWS) {
            const float *from = weight + c * s->channel_step + s->used[t];
            if (results == ROWS) UNROLLED for (long r = 0; r < ROWS; r++) to[r] = from[r * s->result_step];
            else for (long r = 0; r < ROWS; r++) to[r] = r < results ? from[r * s->result_step] : 0.0f;
        }
}

// Adds to ROWS sums what meets at one position, of some channels.
static void add_channels(const Sums *s, const float *x, const float *weight, const Step *first, const Step *last,
                         long channels, Vector *sums) {
    const long weight_step = s->taps * ROWS;
    Vector sum[ROWS];
    UNROLLED for (int r = 0; r < ROWS; r++) sum[r] = sums[r];
    for (const Step *at = first; at < last; at++) {
        const float *w = weight + at->weight, *v = x + at->source;
        for (long c = 0; c < channels; c++, w += weight_step, v += LANES) {
            const Vector of_samples = load(v);
            UNROLLED for (int r = 0; r < ROWS; r++) sum[r] += w[r] * of_samples;
        }
    }
    UNROLLED for (int r = 0; r < ROWS; r++) sums[r] = sum[r];
}

static void sum_task(void *argument, long index) {
    Sums *s = argument;
    const long tiles = parts(s->results, ROWS), positions = s->list.ends[s->target], source = s->list.ends[s->source];
    const long part = index % s->parts_a_tile, tile = index / s->parts_a_tile % tiles, group = index / s->parts_a_tile / tiles;
    const long items = parts(s->samples, LANES) * positions, share = parts(items, s->parts_a_tile);
    const long begin = part * share, end = at_most(begin + share, items);
    const long first = tile * ROWS, results = at_most(s->results - first, ROWS);
    const long at_once = at_least(PACKED / at_least(s->taps * ROWS, 1), 1);
    if (begin >= end) return;
    Vector *sums = room((end - begin) * ROWS * LANES);
    float *packed = room(at_once * s->taps * ROWS);
    if (!sums || !packed) {
        s->failed = 1;
        release(sums, packed);
        return;
    }
    for (long i = 0; i < (end - begin) * ROWS; i++) {
        long r = i % ROWS;
        sums[i] = (Vector){0} + (s->bias && r < results ? s->bias[group * s->results + first + r] : 0.0f);
    }
    for (long c = 0; c < s->channels; c += at_once) {
        long channels = at_most(s->channels - c, at_once);
        pack(s, s->weight + group * s->group_step + first * s->result_step + c * s->channel_step, channels, results, packed);
        for (long item = begin; item < end; item++) {
            const long *of = s->list.first + item % positions;
            const float *x = s->side_by_side + ((item / positions * source * s->groups + group) * s->channels + c) * LANES;
            add_channels(s, x, packed, s->steps + of[0], s->steps + of[1], channels, sums + (item - begin) * ROWS);
        }
    }
    for (long item = begin, count; item < end; item += count) {
        long block = item / positions, position = item % positions, sample = block * LANES;
        count = at_most(positions - position, end - item);
        const long samples = at_most(s->samples - sample, LANES), step = s->groups * s->results * positions;
        const Vector *from = sums + (item - begin) * ROWS;
        float *to = s->out + ((sample * s->groups + group) * s->results + first) * positions + position;
        if (count == positions) write_sums(from, 0, results, positions, to, step, samples);
        else
            for (long r = 0; r < results; r++) write_sums(from, r, 1, count, to + r * positions, step, samples);
    }
    release(sums, packed);
}

// Finds the taps that meet anything, and the steps. Returns 0 where there is no memory for them.
static int take_steps(Sums *s, const ConvolutionGeometry *g) {
    if (!list_meetings(&s->list, g, s->target)) return 0;
    const long taps = s->list.ends[TAP], count = s->list.first[s->list.ends[s->target]];
    s->used = malloc((size_t)(2 * taps) * sizeof *s->used);
    s->steps = malloc((size_t)at_least(count, 1) * sizeof *s->steps);
    if (!s->used || !s->steps) return 0;
    long *place = s->used + taps;
    for (long t = 0; t < taps; t++) place[t] = 0;
    for (long i = 0; i < count; i++) place[s->list.all[i].end[TAP]] = 1;
    for (long t = 0; t < taps; t++)
        if (place[t]) place[t] = s->taps, s->used[s->taps++] = t;
    for (long i = 0; i < count; i++) {
        const int32_t *end = s->list.all[i].end;
        s->steps[i] = (Step){place[end[TAP]] * ROWS, end[s->source] * s->groups * s->channels * LANES};
    }
    return 1;
}

static int sum_channels(Sums *s, const ConvolutionGeometry *g) {
    int fine = take_steps(s, g);
    const long blocks = parts(s->samples, LANES), numbers = s->groups * s->channels * s->list.ends[s->source];
    s->side_by_side = room(blocks * numbers * LANES);
    if (fine && s->side_by_side) {
        const long tiles = s->groups * parts(s->results, ROWS), items = blocks * s->list.ends[s->target];
        parallel(lay_side_by_side, s, blocks * parts(numbers, LAID));
        s->parts_a_tile = at_most(at_least(parts(convolution_tasks(g), tiles), parts(items, ITEMS)), items);
        parallel(sum_task, s, tiles * s->parts_a_tile);
    }
    fine = fine && s->side_by_side && !s->failed;
    free(s->side_by_side);
    release(s->used, s->steps);
    forget(&s->list);
    return fine;
}

KERNEL int convolution(const float *x, const float *weight, const float *bias, float *out, const ConvolutionGeometry *g) {
    const long taps = g->kh * g->kw;
    Sums s = {.from = x, .weight = weight, .bias = bias, .out = out, .source = IN, .target = OUT, .samples = g->samples,
              .groups = g->groups, .channels = g->in, .results = g->out, .channel_step = taps, .result_step = g->in * taps,
              .group_step = g->out * g->in * taps};
    return sum_channels(&s, g);
}

KERNEL int input_grad(const float *grad, const float *weight, float *out, const ConvolutionGeometry *g) {
    const long taps = g->kh * g->kw;
    Sums s = {.from = grad, .weight = weight, .out = out, .source = OUT, .target = IN, .samples = g->samples,
              .groups = g->groups, .channels = g->out, .results = g->in, .channel_step = g->in * taps, .result_step = taps,
              .group_step = g->out * g->in * taps};
    return sum_channels(&s, g);
}

// ---- the gradient of the weight ----

enum { CHANNELS = 8 };  // of the input that registers hold sums for

typedef struct {
    const float *x, *grad;
    float *x_tiles, *grad_tiles, *out;  // [tile of channels][position][sample][channels of a tile]
    const ConvolutionGeometry *g;
    Meetings list;                      // by tap
    long width;                         // results side by side: one or two vectors
    long chunk;                         // channels of the input that are written together
    int failed;
} Weights;

// Copies a tile of `width` channels from `first` on, of all samples (N, channels, positions).
static void copy_tile(const float *from, float *to, long samples, long channels, long positions, long first, long last,
                      long width) {
    for (long p = 0; p < positions; p++)
        for (long n = 0; n < samples; n++, to += width)
            for (long c = 0; c < width; c++)
                to[c] = first + c < last ? from[(n * channels + first + c) * positions + p] : 0.0f;
}

static void copy_tiles(void *argument, long index) {
    const Weights *w = argument;
    const ConvolutionGeometry *g = w->g;
    const long x_tiles = parts(g->in, CHANNELS), grad_tiles = parts(g->out, w->width), tiles = x_tiles + grad_tiles;
    const long group = index / tiles, tile = index % tiles, in = w->list.ends[IN], out = w->list.ends[OUT];
    if (tile < x_tiles) {
        float *to = w->x_tiles + (group * x_tiles + tile) * CHANNELS * in * g->samples;
        long first = group * g->in + tile * CHANNELS;
        copy_tile(w->x, to, g->samples, g->groups * g->in, in, first, (group + 1) * g->in, CHANNELS);
    } else {
        float *to = w->grad_tiles + (group * grad_tiles + tile - x_tiles) * w->width * out * g->samples;
        long first = group * g->out + (tile - x_tiles) * w->width;
        copy_tile(w->grad, to, g->samples, g->groups * g->out, out, first, (group + 1) * g->out, w->width);
    }
}

// Sums for CHANNELS of the input, whose distance is `step` numbers, and `vectors` of results.
#define ADD_SAMPLES(vectors)                                                                                          \
    static void add_samples_##vectors(const Weights *w, const float *x, const float *grad, long tap, float *out, long step) { \
        const long samples = w->g->samples, *of = w->list.first + tap;                                                \
        Vector sum[CHANNELS][vectors];                                                                                \
        UNROLLED for (int c = 0; c < CHANNELS; c++)                                                                   \
            UNROLLED for (int v = 0; v < vectors; v++) sum[c][v] = (Vector){0};                                       \
        for (const Meeting *m = w->list.all + of[0]; m < w->list.all + of[1]; m++) {                                  \
            const float *at_x = x + m->end[IN] * samples * CHANNELS;                                                  \
            const float *at_grad = grad + m->end[OUT] * samples * vectors * LANES;                                    \
            for (long n = 0; n < samples; n++, at_x += CHANNELS, at_grad += vectors * LANES) {                        \
                Vector g[vectors];                                                                                    \
                UNROLLED for (int v = 0; v < vectors; v++) g[v] = load(at_grad + v * LANES);                          \
                UNROLLED for (int c = 0; c < CHANNELS; c++)                                                           \
                    UNROLLED for (int v = 0; v < vectors; v++) sum[c][v] += at_x[c] * g[v];                           \
            }                                                                                                         \
        }                                                                                                             \
        UNROLLED for (int c = 0; c < CHANNELS; c++)                                                                   \
            UNROLLED for (int v = 0; v < vectors; v++) store(out + c * step + v * LANES, sum[c][v]);                  \
    }
ADD_SAMPLES(2)
ADD_SAMPLES(1)

static void weight_task(void *argument, long index) {
    Weights *w = argument;
    const ConvolutionGeometry *g = w->g;
    const long chunks = parts(g->in, w->chunk), grad_tiles = parts(g->out, w->width), taps = w->list.ends[TAP];
    const long chunk = index % chunks, tile = index / chunks % grad_tiles, group = index / chunks / grad_tiles;
    const long first = chunk * w->chunk, channels = at_most(g->in - first, w->chunk);
    const long results = at_most(g->out - tile * w->width, w->width), step = taps * w->width;
    float *sums = room(w->chunk * step);
    if (!sums) {
        w->failed = 1;
        return;
    }
    const float *grad = w->grad_tiles + (group * grad_tiles + tile) * w->width * w->list.ends[OUT] * g->samples;
    for (long c = 0; c < channels; c += CHANNELS) {
        long x_tile = group * parts(g->in, CHANNELS) + (first + c) / CHANNELS;
        const float *x = w->x_tiles + x_tile * CHANNELS * w->list.ends[IN] * g->samples;
        for (long t = 0; t < taps; t++)
            (w->width > LANES ? add_samples_2 : add_samples_1)(w, x, grad, t, sums + c * step + t * w->width, step);
    }
    float *out = w->out + ((group * g->out + tile * w->width) * g->in + first) * taps;
    transpose_rows(sums, w->width, channels * taps, results, 1.0f, out, g->in * taps);
    free(sums);
}

KERNEL int weight_grad(const float *x, const float *grad, float *out, const ConvolutionGeometry *g) {
    Weights w = {.x = x, .grad = grad, .out = out, .g = g, .width = g->out > LANES ? 2 * LANES : LANES};
    int fine = list_meetings(&w.list, g, TAP);
    const long x_tiles = parts(g->in, CHANNELS), grad_tiles = parts(g->out, w.width);
    const long of_x = g->groups * x_tiles * CHANNELS * w.list.ends[IN] * g->samples;
    const long of_grad = g->groups * grad_tiles * w.width * w.list.ends[OUT] * g->samples;
    w.x_tiles = room(of_x);
    w.grad_tiles = room(of_grad);
    fine = fine && w.x_tiles && w.grad_tiles;
    if (fine) {
        parallel(copy_tiles, &w, g->groups * (x_tiles + grad_tiles));
        w.chunk = g->groups * grad_tiles * parts(g->in, 2 * CHANNELS) < CONVOLUTION_TASKS ? CHANNELS : 2 * CHANNELS;
        parallel(weight_task, &w, g->groups * grad_tiles * parts(g->in, w.chunk));
    }
    release(w.x_tiles, w.grad_tiles);
    forget(&w.list);
    return fine && !w.failed;
}

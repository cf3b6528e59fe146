// Convolution in two dimensions and its two gradients, directly, without columns copied out.
//
// A sample's channels are copied into planes with their padding, in which a window that moves by one position moves by
// one number: where the stride is s, rows and columns are dealt out to s planes each. Then every element of the window
// ("tap") lies at a fixed distance, and a convolution is a sum of shifted planes,
//
//     out[o][p] = sum over channels c and taps t of weight[o][c][t] * plane[c][p + shift[t]],
//
// for all positions p of the sample in one run, with vectors along p. Positions between the end of a row of windows and
// the next row are computed too and dropped. The gradient of the input is the same sum over the output's planes, for
// each of the s * s residues of a position separately; that of the weight is a sum over positions instead.

enum { TILE = REGISTERS >= 32 ? 8 : 4, WIDE = 3 };  // channels, and vectors of positions, that registers hold sums for

typedef struct {         // the channels of some samples as planes, the samples below each other
    long height, width;  // of an array
    long sh, sw;         // over how many planes rows and columns are dealt out
    long top, left;      // padding before the array; what follows a row or a sample is the padding of the next
    long rows, columns;  // a sample takes in a plane
    long samples;        // that lie in it
    long plane, size;    // numbers in a plane, and in all planes of a channel
    uint64_t used_rows, used_columns;  // bit r: whether any tap reads what is dealt out to r
} Planes;

// Planes of arrays height x width in which windows start in `window_rows` rows and reach to `rows`, columns likewise.
static Planes arranged(long height, long width, long sh, long sw, long top, long left, long window_rows,
                       long window_columns, long rows, long columns) {
    Planes p = {height, width, sh, sw, top, left, .rows = at_least(rows, window_rows),
                .columns = at_least(columns, window_columns)};
    if (sh == 1) p.rows = at_least(at_least(rows - top, top + height), window_rows);
    if (sw == 1) p.columns = at_least(at_least(columns - left, left + width), window_columns);
    return p;
}

enum { RUN = 768 };  // positions, for which eight rows of numbers take half of a first-level cache

// Decides how many samples lie in a plane.
static void stack(Planes *p, long samples) {
    p->samples = at_least(at_most(RUN / (p->rows * p->columns), samples), 1);
    p->plane = (p->samples * p->rows + (p->sh == 1 ? p->top : 0) + 1) * p->columns;
    p->size = p->sh * p->sw * p->plane;
}

enum { CHARTED = 256 };

// Where each number of a channel goes, where rows are so short that loops over them would take longer; otherwise none.
typedef struct {
    long count;
    int32_t from[CHARTED], to[CHARTED];
} Chart;

static inline void follow(const Chart *c, float *to, const float *from, float bias) {
    for (long i = 0; i < c->count; i++) to[c->to[i]] = from[c->from[i]] + bias;
}

static inline void note(Chart *c, long from, long to) {
    c->from[c->count] = (int32_t)from;
    c->to[c->count++] = (int32_t)to;
}

// Of an array to its planes.
static void chart_planes(Chart *c, const Planes *p) {
    c->count = 0;
    if (p->height * p->width > CHARTED || p->width >= LANES * p->sw) return;
    for (long h = 0; h < p->height; h++)
        for (long w = 0; w < p->width; w++) {
            long row = (h + p->top) / p->sh, column = (w + p->left) / p->sw;
            long down = (h + p->top) % p->sh, beside = (w + p->left) % p->sw;
            if (row < p->rows && column < p->columns && p->used_rows >> down & 1 && p->used_columns >> beside & 1)
                note(c, h * p->width + w, (down * p->sw + beside) * p->plane + row * p->columns + column);
        }
}

// Copies one channel of sample number `sample`; what is padding must be zero and stays so.
static void fill(float *to, const float *from, const Planes *p, const Chart *chart, long sample) {
    if (chart->count) {
        follow(chart, to + sample * p->rows * p->columns, from, -0.0f);  // which added to anything changes nothing
        return;
    }
    for (long h = 0; h < p->height; h++) {
        long row = (h + p->top) / p->sh, phase = (h + p->top) % p->sh;
        if (row >= p->rows || !(p->used_rows >> phase & 1)) continue;
        float *line = to + phase * p->sw * p->plane + (sample * p->rows + row) * p->columns;
        const float *source = from + h * p->width;
        if (p->sw == 1) {
            for (long w = 0; w < p->width; w++) line[p->left + w] = source[w];
            continue;
        }
        for (long beside = 0; beside < p->sw; beside++) {
            if (!(p->used_columns >> beside & 1)) continue;
            long column = parts(at_least(p->left - beside, 0), p->sw), w = column * p->sw + beside - p->left;
            float *target = line + beside * p->plane;
            for (; w < p->width && column < p->columns; w += p->sw) target[column++] = source[w];
        }
    }
}

static long positions_of(const Planes *p, long samples, long rows, long columns) {
    return ((samples - 1) * p->rows + rows - 1) * p->columns + columns;
}

enum { SLACK = 2 * WIDE * LANES };  // that vectors may read behind the last plane

static float *zeros(long n) {
    size_t bytes = ((size_t)n * sizeof(float) + 127) / 64 * 64;
    float *result = aligned_alloc(64, bytes);
    if (result) memset(result, 0, bytes);
    return result;
}

// ---- sums of shifted planes ----

typedef struct {
    const float *source, *weight, *bias;  // weights are packed: [group][tile of results][channel][tap][TILE]
    float *target;
    Planes planes;
    long samples, groups, channels, results, taps;
    const long *shift;
    long rows, columns;                            // of positions
    long plane_step, row_step, column_step;        // between results in the target
    long samples_a_task, tiles_a_task;
    int failed;
} Shifted;

// Sums for TILE results at `vectors` vectors of positions.
#define SUM_TILE(vectors)                                                                                           \
    static void sum_tile_##vectors(const Shifted *s, const float *plane, const float *weight, float *out, long step) { \
        Vector sum[TILE][vectors];                                                                                  \
        UNROLLED for (int r = 0; r < TILE; r++) UNROLLED for (int v = 0; v < vectors; v++) sum[r][v] = (Vector){0};  \
        for (long c = 0; c < s->channels; c++, plane += s->planes.size) {                                           \
            for (long t = 0; t < s->taps; t++, weight += TILE) {                                                    \
                const float *x = plane + s->shift[t];                                                               \
                Vector at[vectors];                                                                                 \
                UNROLLED for (int v = 0; v < vectors; v++) at[v] = load(x + v * LANES);                             \
                UNROLLED for (int r = 0; r < TILE; r++)                                                             \
                    UNROLLED for (int v = 0; v < vectors; v++) sum[r][v] += weight[r] * at[v];                      \
            }                                                                                                       \
        }                                                                                                           \
        UNROLLED for (int r = 0; r < TILE; r++)                                                                     \
            UNROLLED for (int v = 0; v < vectors; v++) store(out + r * step + v * LANES, sum[r][v]);                \
    }
SUM_TILE(3)
SUM_TILE(2)
SUM_TILE(1)

// Of sums to the target.
static void chart_results(Chart *c, const Shifted *s) {
    c->count = 0;
    if (s->rows * s->columns > CHARTED || s->columns >= LANES) return;
    for (long row = 0; row < s->rows; row++)
        for (long i = 0; i < s->columns; i++)
            note(c, row * s->planes.columns + i, row * s->row_step + i * s->column_step);
}

static void write_results(const Shifted *s, const Chart *chart, const float *sums, long step, long first, long sample,
                          long group) {
    for (long r = 0; r < at_most(TILE, s->results - first); r++) {
        long channel = group * s->results + first + r;
        float *target = s->target + (sample * s->groups * s->results + channel) * s->plane_step;
        float bias = s->bias ? s->bias[channel] : -0.0f;
        follow(chart, target, sums + r * step, bias);
        for (long row = 0; !chart->count && row < s->rows; row++) {
            const float *from = sums + r * step + row * s->planes.columns;
            float *to = target + row * s->row_step;
            if (s->column_step == 1) {
                for (long i = 0; i < s->columns; i++) to[i] = from[i] + bias;
            } else {
                for (long i = 0; i < s->columns; i++) to[i * s->column_step] = from[i] + bias;
            }
        }
    }
}

static void shifted_task(void *argument, long index) {
    Shifted *s = argument;
    const Planes *p = &s->planes;
    long tiles = parts(s->results, TILE), splits = parts(tiles, s->tiles_a_task);
    long split = index % splits, group = index / splits % s->groups, part = index / splits / s->groups;
    long step = parts(positions_of(p, p->samples, s->rows, s->columns), LANES) * LANES;
    long first = part * s->samples_a_task, last = at_most(first + s->samples_a_task, s->samples);
    float *planes = zeros(s->channels * p->size + SLACK), *sums = zeros(TILE * step);
    if (!planes || !sums) s->failed = 1, last = first;
    Chart sources, targets;
    chart_planes(&sources, p);
    chart_results(&targets, s);
    for (; first < last; first += p->samples) {
        long samples = at_most(p->samples, last - first), positions = positions_of(p, samples, s->rows, s->columns);
        for (long c = 0; c < s->channels; c++)
            for (long n = 0; n < samples; n++) {
                long channel = ((first + n) * s->groups + group) * s->channels + c;
                fill(planes + c * p->size, s->source + channel * p->height * p->width, p, &sources, n);
            }
        for (long tile = split * s->tiles_a_task; tile < at_most((split + 1) * s->tiles_a_task, tiles); tile++) {
            const float *weight = s->weight + (group * tiles + tile) * s->channels * s->taps * TILE;
            long at = 0;
            for (; at + (WIDE - 1) * LANES < positions; at += WIDE * LANES)
                sum_tile_3(s, planes + at, weight, sums + at, step);
            if (at + LANES < positions) sum_tile_2(s, planes + at, weight, sums + at, step);
            else if (at < positions) sum_tile_1(s, planes + at, weight, sums + at, step);
            for (long n = 0; n < samples; n++)
                write_results(s, &targets, sums + n * p->rows * p->columns, step, tile * TILE, first + n, group);
        }
    }
    free(planes);
    free(sums);
}

static long samples_a_task(const ConvolutionGeometry *g) { return at_least(g->samples * g->groups / convolution_tasks(g), 1); }

// Returns whether there was memory enough.
static int sum_shifted(Shifted *s, long tasks) {
    long tiles = parts(s->results, TILE), shares = parts(s->samples, s->samples_a_task) * s->groups;
    s->tiles_a_task = at_most(at_least(tiles * shares / tasks, 1), tiles);
    parallel(shifted_task, s, shares * parts(tiles, s->tiles_a_task));
    return !s->failed;
}

// Packs the weights w(result, channel, tap) of one group; missing results of the last tile are zeros.
static void pack(float *to, const float *weight, long results, long channels, long taps, const long *tap,
                 long result_step, long channel_step) {
    for (long tile = 0; tile < results; tile += TILE)
        for (long c = 0; c < channels; c++)
            for (long t = 0; t < taps; t++, to += TILE) {
                const float *from = weight + tile * result_step + c * channel_step + tap[t];
                if (tile + TILE <= results)
                    UNROLLED for (int r = 0; r < TILE; r++) to[r] = from[r * result_step];
                else
                    for (long r = 0; r < TILE; r++) to[r] = tile + r < results ? from[r * result_step] : 0.0f;
            }
}

// The planes of the input, and how far each tap is from the first.
static Planes input_planes(const ConvolutionGeometry *g, long samples, long *shift) {
    long down = (g->kh - 1) * g->dh / g->sh, right = (g->kw - 1) * g->dw / g->sw;
    Planes p = arranged(g->height, g->width, g->sh, g->sw, g->ph, g->pw, g->rows, g->columns, g->rows + down,
                        g->columns + right);
    stack(&p, samples);
    for (long i = 0; i < g->kh; i++)
        for (long j = 0; j < g->kw; j++) {
            long h = i * g->dh, w = j * g->dw;
            p.used_rows |= (uint64_t)1 << h % g->sh;
            p.used_columns |= (uint64_t)1 << w % g->sw;
            shift[i * g->kw + j] = (h % g->sh * g->sw + w % g->sw) * p.plane + h / g->sh * p.columns + w / g->sw;
        }
    return p;
}

KERNEL int convolution(const float *x, const float *weight, const float *bias, float *out, const ConvolutionGeometry *g) {
    long taps = g->kh * g->kw, packed = parts(g->out, TILE) * TILE * g->in * taps;
    long *shift = malloc((size_t)taps * 2 * sizeof *shift), *tap = shift + taps;
    float *weights = zeros(g->groups * packed);
    int fine = shift && weights;
    if (fine) {
        long share = samples_a_task(g);
        Shifted s = {.source = x, .weight = weights, .bias = bias, .target = out,
                     .planes = input_planes(g, share, shift), .samples_a_task = share, .samples = g->samples,
                     .groups = g->groups, .channels = g->in, .results = g->out, .taps = taps, .shift = shift,
                     .rows = g->rows, .columns = g->columns,
                     .plane_step = g->rows * g->columns, .row_step = g->columns, .column_step = 1};
        for (long t = 0; t < taps; t++) tap[t] = t;
        for (long i = 0; i < g->groups; i++)
            pack(weights + i * packed, weight + i * g->out * g->in * taps, g->out, g->in, taps, tap, g->in * taps, taps);
        fine = sum_shifted(&s, convolution_tasks(g));
    }
    free(shift);
    free(weights);
    return fine;
}

// Along one dimension: positions of the padded input with residue r are q * stride + r. Tap k reaches them from the
// window at q - back(k) where its distance has that residue.
typedef struct { long first, count, most, least; } Residue;

static Residue residue(long r, long size, long kernel, long stride, long padding, long dilation) {
    Residue result = {.first = padding > r ? parts(padding - r, stride) : 0, .most = -1};
    long last = padding + size - 1 - r;
    result.count = last < 0 ? 0 : last / stride - result.first + 1;
    for (long k = kernel - 1; k >= 0; k--)
        if (k * dilation % stride == r) {
            result.least = k * dilation / stride;
            if (result.most < 0) result.most = result.least;
        }
    return result;
}

// One residue of rows and columns of the gradient of the input.
static int input_grad_part(const float *grad, const float *weight, float *out, const ConvolutionGeometry *g, long rh, long rw,
                           float *weights, long *shift, long *tap) {
    Residue v = residue(rh, g->height, g->kh, g->sh, g->ph, g->dh), h = residue(rw, g->width, g->kw, g->sw, g->pw, g->dw);
    if (v.most < 0 || h.most < 0 || v.count <= 0 || h.count <= 0) return 1;
    long top = at_least(v.most - v.first, 0), left = at_least(h.most - h.first, 0);
    Planes p = arranged(g->rows, g->columns, 1, 1, top, left, v.count, h.count, v.count + v.first - v.least + top,
                        h.count + h.first - h.least + left);
    p.used_rows = p.used_columns = 1;
    long share = samples_a_task(g);
    stack(&p, share);
    long taps = 0, packed = parts(g->in, TILE) * TILE * g->out;
    for (long i = 0; i < g->kh; i++)
        for (long j = 0; j < g->kw; j++)
            if (i * g->dh % g->sh == rh && j * g->dw % g->sw == rw) {
                tap[taps] = i * g->kw + j;
                shift[taps++] = (v.first - i * g->dh / g->sh + top) * p.columns + h.first - j * g->dw / g->sw + left;
            }
    packed *= taps;
    long all = g->kh * g->kw;
    for (long i = 0; i < g->groups; i++)
        pack(weights + i * packed, weight + i * g->out * g->in * all, g->in, g->out, taps, tap, all, g->in * all);
    long start = (v.first * g->sh + rh - g->ph) * g->width + h.first * g->sw + rw - g->pw;
    Shifted s = {.source = grad, .weight = weights, .target = out + start, .planes = p,
                 .samples_a_task = share, .samples = g->samples,
                 .groups = g->groups, .channels = g->out, .results = g->in, .taps = taps, .shift = shift,
                 .rows = v.count, .columns = h.count, .plane_step = g->height * g->width,
                 .row_step = g->sh * g->width, .column_step = g->sw};
    return sum_shifted(&s, convolution_tasks(g));
}

KERNEL int input_grad(const float *grad, const float *weight, float *out, const ConvolutionGeometry *g) {
    long taps = g->kh * g->kw;
    long *shift = malloc((size_t)taps * 2 * sizeof *shift);
    float *weights = zeros(g->groups * parts(g->in, TILE) * TILE * g->out * taps);
    int fine = shift && weights;
    int everywhere = 1;  // whether each residue has a tap; the positions of others get no gradient
    for (long r = 0; r < g->sh; r++) everywhere &= residue(r, g->height, g->kh, g->sh, g->ph, g->dh).most >= 0;
    for (long r = 0; r < g->sw; r++) everywhere &= residue(r, g->width, g->kw, g->sw, g->pw, g->dw).most >= 0;
    if (!everywhere) memset(out, 0, (size_t)(g->samples * g->groups * g->in * g->height * g->width) * sizeof *out);
    for (long r = 0; fine && r < g->sh * g->sw; r++)
        fine = input_grad_part(grad, weight, out, g, r / g->sw, r % g->sw, weights, shift, shift + taps);
    free(shift);
    free(weights);
    return fine;
}

// ---- the gradient of the weight ----

typedef struct {
    const float *x, *grad;
    float *partial;  // [part of the samples][group][tile of results][channel and tap][TILE]
    const ConvolutionGeometry *g;
    Planes planes, grad_planes;
    const long *shift;  // by channel and tap, from the first of a task's channels
    long samples_a_task, channels_a_task;
    int failed;
} Weights;

// Adds the sums of the lanes of TILE vectors to TILE numbers.
static inline void add_lanes(float *out, Vector *v) {
#if defined(__AVX512F__)
#define EVEN_LANES 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define ODD_LANES 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
#elif defined(__AVX__)
#define EVEN_LANES 0, 2, 4, 6, 8, 10, 12, 14
#define ODD_LANES 1, 3, 5, 7, 9, 11, 13, 15
#endif
#ifdef EVEN_LANES
    // Neighbours are added, and two vectors become one, until it has two lanes of each.
#define PAIRED(a, b) (__builtin_shufflevector(a, b, EVEN_LANES) + __builtin_shufflevector(a, b, ODD_LANES))
    UNROLLED for (int n = TILE / 2; n; n /= 2)
        UNROLLED for (int i = 0; i < n; i++) v[i] = PAIRED(v[2 * i], v[2 * i + 1]);
    Vector sums = PAIRED(v[0], v[0]);
    UNROLLED for (int r = 0; r < TILE; r++) out[r] += sums[r];
#else
    for (int r = 0; r < TILE; r++)
        for (int i = 0; i < LANES; i++) out[r] += v[r][i];
#endif
}

// Adds sums over positions for TILE rows of the gradient and `width` channels and taps.
#define ADD_TILE(width)                                                                                          \
    static void add_tile_##width(const float *grad, long step, const float *x, const long *shift, long positions, \
                                 float *out) {                                                                   \
        Vector sum[width][TILE];                                                                                 \
        UNROLLED for (int k = 0; k < width; k++) UNROLLED for (int r = 0; r < TILE; r++) sum[k][r] = (Vector){0}; \
        for (long p = 0; p < positions; p += LANES) {                                                            \
            Vector at[width];                                                                                    \
            UNROLLED for (int k = 0; k < width; k++) at[k] = load(x + shift[k] + p);                             \
            UNROLLED for (int r = 0; r < TILE; r++) {                                                            \
                Vector g = load(grad + r * step + p);                                                            \
                UNROLLED for (int k = 0; k < width; k++) sum[k][r] += g * at[k];                                 \
            }                                                                                                    \
        }                                                                                                        \
        UNROLLED for (int k = 0; k < width; k++) add_lanes(out + k * TILE, sum[k]);                              \
    }
ADD_TILE(3)
ADD_TILE(2)
ADD_TILE(1)

static void weight_task(void *argument, long index) {
    Weights *w = argument;
    const ConvolutionGeometry *g = w->g;
    const Planes *p = &w->planes;
    long tiles = parts(g->out, TILE), splits = parts(g->in, w->channels_a_task), taps = g->kh * g->kw;
    long split = index % splits, group = index / splits % g->groups, part = index / splits / g->groups;
    long first_channel = split * w->channels_a_task, channels = at_most(w->channels_a_task, g->in - first_channel);
    long first = part * w->samples_a_task, last = at_most(first + w->samples_a_task, g->samples);
    long step = w->grad_planes.size, x_step = g->height * g->width, grad_step = g->rows * g->columns;
    float *x = zeros(channels * p->size + SLACK), *grad = zeros(tiles * TILE * step + SLACK);
    if (!x || !grad) w->failed = 1, last = first;
    Chart sources, grads;
    chart_planes(&sources, p);
    chart_planes(&grads, &w->grad_planes);
    for (; first < last; first += p->samples) {
        long samples = at_most(p->samples, last - first), positions = positions_of(p, samples, g->rows, g->columns);
        for (long n = 0; n < samples; n++) {
            const float *of_x = w->x + (((first + n) * g->groups + group) * g->in + first_channel) * x_step;
            const float *of_grad = w->grad + ((first + n) * g->groups + group) * g->out * grad_step;
            for (long c = 0; c < channels; c++) fill(x + c * p->size, of_x + c * x_step, p, &sources, n);
            for (long r = 0; r < g->out; r++)
                fill(grad + r * step, of_grad + r * grad_step, &w->grad_planes, &grads, n);
        }
        if (samples < p->samples)  // the last vector reads on into what an earlier sample has left
            for (long r = 0; r < g->out; r++)
                memset(grad + r * step + positions, 0, (size_t)(step - positions) * sizeof *grad);
        for (long tile = 0; tile < tiles; tile++) {
            const float *rows = grad + tile * TILE * step;
            long before = ((part * g->groups + group) * tiles + tile) * g->in + first_channel, i = 0, k = channels * taps;
            float *out = w->partial + before * taps * TILE;
            for (; i + 3 <= k; i += 3) add_tile_3(rows, step, x, w->shift + i, positions, out + i * TILE);
            if (i + 2 == k) add_tile_2(rows, step, x, w->shift + i, positions, out + i * TILE);
            else if (i < k) add_tile_1(rows, step, x, w->shift + i, positions, out + i * TILE);
        }
    }
    free(x);
    free(grad);
}

enum { PARTIAL = 1 << 20 };  // numbers that partial sums may take altogether

KERNEL int weight_grad(const float *x, const float *grad, float *out, const ConvolutionGeometry *g) {
    long taps = g->kh * g->kw, k = g->in * taps, tiles = parts(g->out, TILE), all = g->groups * tiles * TILE * k;
    long *shift = malloc((size_t)(k + taps) * sizeof *shift);
    if (!shift) return 0;
    // Into how many parts the samples are divided depends on sizes alone, because it decides how sums are rounded. Sums over
    // few positions take less time than adding up their lanes: then channels are divided instead.
    long divided = at_most(convolution_tasks(g) / g->groups, g->samples * g->rows * g->columns / RUN);
    divided = at_most(at_least(at_most(PARTIAL / all, divided), 1), g->samples);
    long share = parts(g->samples, divided);
    divided = parts(g->samples, share);
    Weights w = {.x = x, .grad = grad, .g = g, .planes = input_planes(g, share, shift + k), .shift = shift,
                 .samples_a_task = share, .partial = zeros(divided * all)};
    for (long c = 0; c < g->in; c++)
        for (long t = 0; t < taps; t++) shift[c * taps + t] = c * w.planes.size + shift[k + t];
    // The gradient lies as the windows do, with zeros where none is.
    w.grad_planes = (Planes){g->rows, g->columns, 1, 1, .rows = w.planes.rows, .columns = w.planes.columns,
                             .used_rows = 1, .used_columns = 1};
    w.grad_planes.size = parts(w.planes.samples * w.planes.rows * w.planes.columns, LANES) * LANES;
    w.channels_a_task = parts(g->in, at_least(convolution_tasks(g) / (divided * g->groups), 1));
    int fine = w.partial != NULL;
    if (fine) {
        parallel(weight_task, &w, divided * g->groups * parts(g->in, w.channels_a_task));
        fine = !w.failed;
        for (long part = 1; part < divided; part++)
            for (long i = 0; i < all; i++) w.partial[i] += w.partial[part * all + i];
        for (long o = 0; o < g->groups * g->out; o++) {
            const float *tile = w.partial + (o / g->out * tiles + o % g->out / TILE) * k * TILE + o % g->out % TILE;
            for (long i = 0; i < k; i++) out[o * k + i] = tile[i * TILE];
        }
    }
    free(shift);
    free(w.partial);
    return fine;
}

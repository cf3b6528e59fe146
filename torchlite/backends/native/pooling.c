// Max-pooling in two dimensions, and spreading values to the places of the maxima.
//
// A plane is seen with its padding, so that element t of every window ("tap") lies tap[t] behind the window's start, and
// the windows of a plane are one run of numbers, however short its rows are.

enum { BLOCK = 64 };

typedef struct { int64_t planes, height, width, kh, kw, sh, sw, ph, pw, dh, dw, rows, columns; } Geometry;

typedef struct {
    const float *x;
    const uint8_t *from;
    float *out;
    uint8_t *place;
    const Geometry *g;
    long planes_a_task;
    long padded_height, padded_width, windows, taps;
    int32_t *start, *first, *tap;  // of each window, its first tap that is not padding; of each tap
    int failed;
} Pooling;

static long first_inside(long start, long dilation) { return start < 0 ? parts(-start, dilation) : 0; }

static int prepare(Pooling *p) {
    const Geometry *g = p->g;
    p->planes_a_task = at_least(GRAIN / (g->height * g->width), 1);
    p->padded_height = at_least(g->height + 2 * g->ph, (g->rows - 1) * g->sh + (g->kh - 1) * g->dh + 1);
    p->padded_width = at_least(g->width + 2 * g->pw, (g->columns - 1) * g->sw + (g->kw - 1) * g->dw + 1);
    p->windows = g->rows * g->columns;
    p->taps = g->kh * g->kw;
    p->start = malloc((size_t)(2 * p->windows + p->taps) * sizeof *p->start);
    if (!p->start) return 0;
    p->first = p->start + p->windows;
    p->tap = p->first + p->windows;
    for (long i = 0; i < g->rows; i++)
        for (long j = 0; j < g->columns; j++) {
            long row = first_inside(i * g->sh - g->ph, g->dh), column = first_inside(j * g->sw - g->pw, g->dw);
            p->start[i * g->columns + j] = (int32_t)(i * g->sh * p->padded_width + j * g->sw);
            p->first[i * g->columns + j] = (int32_t)(row * g->kw + column);
        }
    for (long t = 0; t < p->taps; t++)
        p->tap[t] = (int32_t)(t / g->kw * g->dh * p->padded_width + t % g->kw * g->dw);
    return 1;
}

// A plane with its padding: itself where it has none, else in `scratch`.
static const float *padded(const Pooling *p, const float *plane, float *scratch) {
    if (!scratch) return plane;
    const Geometry *g = p->g;
    for (long h = 0; h < g->height; h++)
        memcpy(scratch + (h + g->ph) * p->padded_width + g->pw, plane + h * g->width, (size_t)g->width * sizeof *plane);
    return scratch;
}

static int needs_scratch(const Pooling *p) {
    return p->padded_height != p->g->height || p->padded_width != p->g->width;
}

// The first of equal maxima; the last NaN, if any, wins over everything.
static void max_of_plane(const Pooling *p, const float *x, float *out, uint8_t *place) {
    for (long first = 0; first < p->windows; first += BLOCK) {
        long n = at_most(BLOCK, p->windows - first);
        const int32_t *start = p->start + first;
        float best[BLOCK];
        int32_t where[BLOCK];
        for (long i = 0; i < n; i++) best[i] = -INFINITY, where[i] = p->first[first + i];
        for (int32_t t = 0; t < p->taps; t++) {
            const float *element = x + p->tap[t];
#pragma omp simd
            for (long i = 0; i < n; i++) {
                float value = element[start[i]];
                int better = (value > best[i]) | (value != value);
                best[i] = better ? value : best[i];
                where[i] = better ? t : where[i];
            }
        }
        for (long i = 0; i < n; i++) out[first + i] = best[i], place[first + i] = (uint8_t)where[i];
    }
}

static void max_task(void *argument, long index) {
    Pooling *p = argument;
    const Geometry *g = p->g;
    long size = p->padded_height * p->padded_width;
    float *scratch = needs_scratch(p) ? malloc((size_t)size * sizeof *scratch) : NULL;
    if (needs_scratch(p) && !scratch) {
        p->failed = 1;
        return;
    }
    for (long i = 0; scratch && i < size; i++) scratch[i] = -INFINITY;
    for (long n = index * p->planes_a_task; n < at_most((index + 1) * p->planes_a_task, g->planes); n++) {
        const float *x = padded(p, p->x + n * g->height * g->width, scratch);
        max_of_plane(p, x, p->out + n * p->windows, p->place + n * p->windows);
    }
    free(scratch);
}

static void spread_task(void *argument, long index) {
    Pooling *p = argument;
    const Geometry *g = p->g;
    size_t bytes = (size_t)(p->padded_height * p->padded_width) * sizeof(float);
    float *scratch = needs_scratch(p) ? malloc(bytes) : NULL;
    if (needs_scratch(p) && !scratch) {
        p->failed = 1;
        return;
    }
    for (long n = index * p->planes_a_task; n < at_most((index + 1) * p->planes_a_task, g->planes); n++) {
        const float *values = p->x + n * p->windows;
        const uint8_t *places = p->from + n * p->windows;
        float *out = p->out + n * g->height * g->width, *target = scratch ? scratch : out;
        memset(target, 0, bytes);
        for (long i = 0; i < p->windows; i++) target[p->start[i] + p->tap[places[i]]] += values[i];
        for (long h = 0; scratch && h < g->height; h++)
            memcpy(out + h * g->width, scratch + (h + g->ph) * p->padded_width + g->pw, (size_t)g->width * sizeof *out);
    }
    free(scratch);
}

static int over_planes(Task task, Pooling p) {
    if (!prepare(&p)) return 0;
    parallel(task, &p, parts(p.g->planes, p.planes_a_task));
    free(p.start);
    return !p.failed;
}

// Both return whether there was memory enough.
int max_pool(const float *x, float *out, uint8_t *place, const Geometry *g) {
    return over_planes(max_task, (Pooling){.x = x, .out = out, .place = place, .g = g});
}

int spread(const float *values, const uint8_t *places, float *out, const Geometry *g) {
    return over_planes(spread_task, (Pooling){.x = values, .from = places, .out = out, .g = g});
}

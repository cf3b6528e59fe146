// Convolution in bfloat16 with sums in float32, and its two gradients, in two dimensions.
//
// A sample is copied into bfloat16 with its padding, channels side by side, so that the numbers that a row of the window
// meets lie in one run: without columns copied out, a tile's 16 rows are 16 neighbouring windows. Where the stride is s,
// every s-th row of the sample lies in the same one of s planes. Positions between the end of a row of windows and the next
// row are computed too and dropped. The gradient of the input is the same sum over the cotangent, for each residue of a
// position by the stride; that of the weight is a sum over positions instead.

enum { BF16_MOST_TAPS = 16, BF16_SHARES = 16 };  // rows or columns of a window; parts that samples are divided into

typedef struct {                 // an array (N, C, H, W) of float32 or bfloat16, with its steps in numbers
    void *at;
    long half, sample, channel, row, column;
} Bf16Array;

typedef struct {                 // which sources the results along a dimension read
    long taps, step;             // of sources, from a result to the next
    long at[BF16_MOST_TAPS];     // of each tap, from the first source after `before` zeros
    long tap[BF16_MOST_TAPS];    // its place in the window
    long before;
} Bf16Axis;

typedef struct {
    Bf16Array source, result;
    const void *weight, *bias;   // the bias, a number a result, is of the weight's type or NULL
    long weight_half, weight_result, weight_channel, weight_row, weight_column;  // its steps
    long samples, height, width, channels, rows, columns, results;
    Bf16Axis down, across;
    void *scratch;
    // What takes finished numbers instead of the result, if it is not NULL: rows are positions, the first of which is `first` in
    // the whole result of whole_rows x whole_columns, others some steps from there.
    Finish finish;
    void *context;
    long whole_rows, whole_columns, first_row, first_column, row_steps, column_steps;
    // how the copy of a sample lies, filled in by bf16_arranged:
    long wide, plane_rows, padded, pitch, sample_size;  // numbers of a pixel; rows of a plane; pixels and windows of a row
    long together, pairs, depth, terms;                 // taps of a row in one run, and the tiles that it is cut into
    int tiles;
} Bf16Sum;

static void bf16_arrange(Bf16Sum *s) {
    const Bf16Axis *down = &s->down, *across = &s->across;
    s->together = at_least(across->taps, 1);
    for (long k = 1; k < across->taps; k++)
        if (across->at[k] != across->at[k - 1] + 1) s->together = 1;
    // The fewest numbers a pixel with which a run is a whole number of equal tiles of pairs.
    for (s->wide = parts(s->channels, 2) * 2;; s->wide += 2) {
        long run = s->together * s->wide;
        s->depth = parts(run, BF16_DEPTH);
        s->pairs = run / s->depth / 2;
        if (s->pairs * s->depth * 2 == run) break;
    }
    s->terms = down->taps * across->taps / s->together;
    long lowest = 0, last = 0;
    for (long k = 0; k < down->taps; k++) lowest = at_least(lowest, down->at[k]);
    for (long k = 0; k < across->taps; k++) last = at_least(last, across->at[k]);
    s->padded = parts(last + (s->columns - 1) * across->step + 1, across->step) * across->step;
    s->pitch = s->padded / across->step;
    s->plane_rows = parts(lowest + (s->rows - 1) * down->step + 1, down->step);
    s->sample_size = parts((down->step * s->plane_rows * s->padded + 2 * BF16_BLOCK * across->step) * s->wide, 32) * 32;
}

// Words of the packed weights, and numbers of all that is packed and copied.
static inline long bf16_weight_words(const Bf16Sum *s) {
    return parts(s->results, BF16_BLOCK) * s->terms * s->depth * 2 * s->pairs * BF16_SIDE;
}
static inline long bf16_shares(long samples) { return at_most(samples, BF16_SHARES); }
static inline long bf16_sum_scratch(const Bf16Sum *s) {
    return bf16_weight_words(s) * (long)sizeof(uint32_t) +
           bf16_shares(s->samples) * s->sample_size * (long)sizeof(uint16_t) + 64;
}

// [32 results][row of the window, and column where they do not lie together][depth][two tiles][pair][16 results]
static void bf16_pack_weights_task(void *argument, long block) {
    const Bf16Sum *s = argument;
    uint32_t *to = (uint32_t *)s->scratch + block * s->terms * s->depth * 2 * s->pairs * BF16_SIDE;
    long runs = s->across.taps / s->together;
    for (long term = 0; term < s->terms; term++)
        for (long number = 0; number < s->together * s->wide; number += 2 * s->pairs)
            for (long result = block * BF16_BLOCK; result < (block + 1) * BF16_BLOCK; result += BF16_SIDE)
                for (long pair = 0; pair < s->pairs; pair++, to += BF16_SIDE)
                    for (long half = 0; half < 2; half++) {
                        long n = number + 2 * pair + half, channel = n % s->wide;
                        long tap = s->together > 1 ? n / s->wide : term % runs;
                        long at = channel * s->weight_channel + s->down.tap[term / runs] * s->weight_row +
                                  s->across.tap[tap] * s->weight_column;
                        uint16_t *target = (uint16_t *)to + half;
                        for (long r = result; r < result + BF16_SIDE; r++, target += 2) {
                            long w = at + r * s->weight_result;
                            if (r >= s->results || channel >= s->channels) *target = 0;
                            else *target = s->weight_half ? ((const uint16_t *)s->weight)[w]
                                                          : bf16_of(((const float *)s->weight)[w]);
                        }
                    }
}

static inline uint16_t bf16_read(const Bf16Array *a, long at) {
    return a->half ? ((const uint16_t *)a->at)[at] : bf16_of(((const float *)a->at)[at]);
}

// Numbers that lie side by side as bfloat16.
static inline void bf16_narrow(const Bf16Array *a, long at, long count, uint16_t *to) {
    if (a->half) memcpy(to, (const uint16_t *)a->at + at, (size_t)count * sizeof *to);
    else
        for (long i = 0; i < count; i++) to[i] = bf16_of(((const float *)a->at)[at + i]);
}

// Copies `count` <= 16 pixels of a row, whose channels lie apart, to where they lie side by side.
static void bf16_copy_pixels(const Bf16Array *a, long at, long channels, long count, long wide, uint16_t *to) {
    for (long c = 0; c < channels; c += 2 * BF16_SIDE) {
        uint32_t words[BF16_TILE], pixels[BF16_TILE];
        long lines = at_most(2 * BF16_SIDE, channels - c), whole = count == BF16_SIDE && a->column == 1;
        for (long l = 0; l < 2 * BF16_SIDE; l += 2) {
            uint16_t line[2][BF16_SIDE] = {{0}};
            for (long i = l; i < at_most(l + 2, lines); i++) {
                long from = at + (c + i) * a->channel;
                if (whole) bf16_narrow(a, from, BF16_SIDE, line[i - l]);
                else
                    for (long j = 0; j < count; j++) line[i - l][j] = bf16_read(a, from + j * a->column);
            }
            for (int j = 0; j < BF16_SIDE; j++) words[l / 2 * BF16_SIDE + j] = line[0][j] | (uint32_t)line[1][j] << 16;
        }
        bf16_transpose(words, pixels);
        long filled = at_most(wide - c, 2 * BF16_SIDE);
        for (long j = 0; j < count; j++) memcpy(to + j * wide + c, pixels + j * BF16_SIDE, (size_t)filled * sizeof *to);
    }
}

// Copies one sample; what is padding must be zero and stays so.
static void bf16_copy_sample(const Bf16Sum *s, long sample, uint16_t *to) {
    const Bf16Array *a = &s->source;
    long width = at_most(s->width, s->padded - s->across.before);
    for (long h = 0; h < s->height; h++) {
        long row = (h + s->down.before) / s->down.step, plane = (h + s->down.before) % s->down.step;
        if (row >= s->plane_rows) continue;
        uint16_t *line = to + ((plane * s->plane_rows + row) * s->padded + s->across.before) * s->wide;
        long from = sample * a->sample + h * a->row;
        if (a->channel == 1 && a->half && a->column == s->channels && s->wide == s->channels)
            memcpy(line, (const uint16_t *)a->at + from, (size_t)(at_least(width, 0) * s->wide) * sizeof *line);
        else if (a->channel == 1)
            for (long w = 0; w < width; w++) bf16_narrow(a, from + w * a->column, s->channels, line + w * s->wide);
        else
            for (long w = 0; w < width; w += BF16_SIDE)
                bf16_copy_pixels(a, from + w * a->column, s->channels, at_most(BF16_SIDE, width - w), s->wide,
                                 line + w * s->wide);
    }
}

static inline void bf16_write(const Bf16Array *a, long at, float x) {
    if (a->half) ((uint16_t *)a->at)[at] = bf16_of(x);
    else ((float *)a->at)[at] = x;
}

static void bf16_add_bias(const Bf16Sum *s, float *sums, long result, long results) {
    float bias[BF16_BLOCK];
    for (long r = 0; r < results; r++)
        bias[r] = s->weight_half ? bf16_wide(((const uint16_t *)s->bias)[result + r]) : ((const float *)s->bias)[result + r];
    for (long p = 0; p < BF16_BLOCK; p++)
        for (long r = 0; r < results; r++) sums[p * BF16_BLOCK + r] += bias[r];
}

// Hands over the positions of a block that are windows.
static void bf16_finish_positions(const Bf16Sum *s, float *sums, long sample, long first, long result, long results) {
    long end = (s->rows - 1) * s->pitch + s->columns;
    for (long p = first; p < at_most(first + BF16_BLOCK, end); p++) {
        long row = p / s->pitch, column = p % s->pitch, count = at_most(s->columns - column, first + BF16_BLOCK - p);
        if (count <= 0) continue;
        if (s->column_steps > 1) count = 1;
        long at = (sample * s->whole_rows + row * s->row_steps + s->first_row) * s->whole_columns +
                  column * s->column_steps + s->first_column;
        s->finish(s->context, sums + (p - first) * BF16_BLOCK, BF16_BLOCK, at, result, count, results);
        p += count - 1;
    }
}

// Writes the positions of a block that are windows.
static void bf16_write_positions(const Bf16Sum *s, float *sums, long sample, long first, long result, long results) {
    const Bf16Array *a = &s->result;
    long end = (s->rows - 1) * s->pitch + s->columns;
    long across = a->channel != 1;  // then a channel's positions lie side by side
    float turned[BF16_BLOCK * BF16_BLOCK];
    if (across)
        for (int i = 0; i < BF16_BLOCK; i += BF16_SIDE)
            for (int j = 0; j < (results > BF16_SIDE ? BF16_BLOCK : BF16_SIDE); j += BF16_SIDE) {
                uint32_t from[BF16_TILE], to[BF16_TILE];
                for (int r = 0; r < BF16_SIDE; r++)
                    memcpy(from + r * BF16_SIDE, sums + (i + r) * BF16_BLOCK + j, BF16_SIDE * sizeof *from);
                bf16_transpose(from, to);
                for (int r = 0; r < BF16_SIDE; r++)
                    memcpy(turned + (j + r) * BF16_BLOCK + i, to + r * BF16_SIDE, BF16_SIDE * sizeof *to);
            }
    for (long p = first; p < at_most(first + BF16_BLOCK, end);) {
        long row = p / s->pitch, column = p % s->pitch;
        long count = at_most(at_most(s->columns - column, first + BF16_BLOCK - p), end - p);
        if (count > 0) {
            long at = sample * a->sample + result * a->channel + row * a->row + column * a->column;
            for (long i = 0; i < (across ? results : count); i++) {
                const float *from = across ? turned + i * BF16_BLOCK + p - first : sums + (p - first + i) * BF16_BLOCK;
                long to = at + i * (across ? a->channel : a->column), step = across ? a->column : 1;
                long n = across ? count : results;
                if (a->half && step == 1)
                    for (long j = 0; j < n; j++) ((uint16_t *)a->at)[to + j] = bf16_of(from[j]);
                else if (step == 1) memcpy((float *)a->at + to, from, (size_t)n * sizeof *from);
                else
                    for (long j = 0; j < n; j++) bf16_write(a, to + j * step, from[j]);
            }
        }
        p = at_most((row + 1) * s->pitch, first + BF16_BLOCK);
    }
}

static void bf16_sum_task(void *argument, long share) {
    const Bf16Sum *s = argument;
    long shares = bf16_shares(s->samples), runs = s->across.taps / s->together;
    long first = share * s->samples / shares, last = (share + 1) * s->samples / shares;
    uint16_t *copy = (uint16_t *)((uint32_t *)s->scratch + bf16_weight_words(s)) + share * s->sample_size;
    long end = (s->rows - 1) * s->pitch + s->columns, block = s->terms * s->depth * 2 * s->pairs * BF16_SIDE;
    Bf16Steps steps = {s->across.step * s->wide, s->across.step * s->wide * BF16_SIDE, 2 * s->pairs, s->pairs};
    Bf16Term terms[BF16_MOST_TAPS * BF16_MOST_TAPS];
    float sums[BF16_BLOCK * BF16_BLOCK] __attribute__((aligned(64)));
    if (s->tiles) bf16_begin_tiles(s->pairs);
    memset(copy, 0, (size_t)s->sample_size * sizeof *copy);
    for (long sample = first; sample < last; sample++) {
        bf16_copy_sample(s, sample, copy);
        for (long b = 0; b < parts(s->results, BF16_BLOCK); b++)
            for (long p = 0; p < end; p += BF16_BLOCK) {
                for (long t = 0; t < s->terms; t++) {
                    long down = s->down.at[t / runs], across = s->across.at[s->together > 1 ? 0 : t % runs];
                    long line = down % s->down.step * s->plane_rows + down / s->down.step;
                    terms[t].left = copy + (line * s->padded + across + p * s->across.step) * s->wide;
                    terms[t].right = (const uint32_t *)s->scratch + b * block + t * s->depth * 2 * s->pairs * BF16_SIDE;
                }
                bf16_block(s->tiles, terms, (int)s->terms, steps, s->depth, sums, 0,
                           s->results - b * BF16_BLOCK <= BF16_SIDE);
                long result = b * BF16_BLOCK, results = at_most(BF16_BLOCK, s->results - result);
                if (s->bias) bf16_add_bias(s, sums, result, results);
                if (s->finish) bf16_finish_positions(s, sums, sample, p, result, results);
                else bf16_write_positions(s, sums, sample, p, result, results);
            }
    }
    if (s->tiles) bf16_end_tiles();
}

// results = sums over taps and channels, once `bf16_arrange` has been called and there is scratch memory.
static void bf16_sum(Bf16Sum *s) {
    s->tiles = bf16_tiles_allowed();
    parallel(bf16_pack_weights_task, s, parts(s->results, BF16_BLOCK));
    parallel(bf16_sum_task, s, bf16_shares(s->samples));
}

// ---- the gradient of the weight ----

typedef struct {
    Bf16Array source, grad;
    void *weight;                // the result and its steps
    long weight_half, weight_result, weight_channel, weight_row, weight_column;
    long samples, height, width, channels, rows, columns, results;
    Bf16Axis down, across;
    void *scratch;
    // filled in by bf16_arrange_weight_grad:
    long pitch, plane_rows, plane, positions;  // windows of a row, rows of a plane, its numbers, and the positions summed over
    long shares, splits, channel_blocks, taps, tiles_of_taps;
    long sums, share_bytes;                    // numbers of a share's sums; bytes of all that a task needs besides
    int tiles;
} Bf16WeightGrad;

enum { BF16_PARTIAL = 1 << 22 };  // numbers that the sums of all shares may take

static void bf16_arrange_weight_grad(Bf16WeightGrad *s) {
    long down = 0, across = 0, blocks = parts(s->results, BF16_BLOCK);
    for (long k = 0; k < s->down.taps; k++) down = at_least(down, s->down.at[k] / s->down.step);
    for (long k = 0; k < s->across.taps; k++) across = at_least(across, s->across.at[k] / s->across.step);
    s->pitch = across + s->columns;
    s->plane_rows = down + s->rows;
    s->plane = parts(s->plane_rows * s->pitch + BF16_DEPTH, 32) * 32;
    s->positions = parts((s->rows - 1) * s->pitch + s->columns, BF16_DEPTH) * BF16_DEPTH;
    s->taps = s->down.taps * s->across.taps;
    // Few channels are one tile: then a block takes two taps.
    s->channel_blocks = s->channels > BF16_SIDE ? parts(s->channels, BF16_BLOCK) : 1;
    s->tiles_of_taps = s->channels > BF16_SIDE ? s->taps : parts(s->taps, 2);
    s->sums = s->tiles_of_taps * s->channel_blocks * blocks * BF16_BLOCK * BF16_BLOCK;
    s->shares = at_most(s->samples, at_least(at_most(BF16_SHARES, BF16_PARTIAL / s->sums), 1));
    s->splits = at_most(blocks, parts(BF16_SHARES / 2, s->shares));
    long channels = s->channel_blocks * (s->channels > BF16_SIDE ? BF16_BLOCK : BF16_SIDE);
    long copies = channels * s->down.step * s->across.step * s->plane + parts(s->results, BF16_SIDE) * BF16_SIDE * s->positions;
    s->share_bytes = parts((copies + blocks * BF16_BLOCK * s->positions) * (long)sizeof(uint16_t), 64) * 64;
}

static inline long bf16_weight_grad_scratch(const Bf16WeightGrad *s) {
    return s->shares * s->sums * (long)sizeof(float) + s->shares * s->splits * s->share_bytes;
}

// Copies rows of one channel of a sample to planes, one for each residue of a row and of a column by the stride.
static void bf16_copy_planes(const Bf16Array *a, long at, long height, long width, const Bf16Axis *down, const Bf16Axis *across,
                             long plane_rows, long pitch, long plane, uint16_t *to) {
    for (long h = 0; h < height; h++) {
        long row = (h + down->before) / down->step, phase = (h + down->before) % down->step;
        if (row >= plane_rows) continue;
        uint16_t *line = to + phase * across->step * plane + row * pitch;
        long from = at + h * a->row;
        if (across->step == 1 && a->column == 1) {
            long n = at_most(width, pitch - across->before);
            if (a->half) memcpy(line + across->before, (const uint16_t *)a->at + from, (size_t)at_least(n, 0) * sizeof *line);
            else
                for (long w = 0; w < n; w++) line[across->before + w] = bf16_of(((const float *)a->at)[from + w]);
            continue;
        }
        for (long beside = 0; beside < across->step; beside++) {
            long column = parts(at_least(across->before - beside, 0), across->step);
            long w = column * across->step + beside - across->before, count = parts(width - w, across->step);
            long step = across->step * a->column, n = at_most(count, pitch - column);
            uint16_t *target = line + beside * plane + column;
            from = at + h * a->row + w * a->column;
            if (a->half)
                for (long i = 0; i < n; i++) target[i] = ((const uint16_t *)a->at)[from + i * step];
            else
                for (long i = 0; i < n; i++) target[i] = bf16_of(((const float *)a->at)[from + i * step]);
        }
    }
}

// The same for all channels where they lie side by side: tiles of 16 columns by 32 channels are turned.
static void bf16_copy_turned(const Bf16Array *a, long at, long height, long width, long channels, const Bf16Axis *down,
                             const Bf16Axis *across, long plane_rows, long pitch, long plane, long channel_step, uint16_t *to) {
    for (long h = 0; h < height; h++) {
        long row = (h + down->before) / down->step, phase = (h + down->before) % down->step;
        if (row >= plane_rows) continue;
        uint16_t *line = to + phase * across->step * plane + row * pitch;
        for (long w = 0; w < width; w += BF16_SIDE) {
            long places[BF16_SIDE], count = at_most(BF16_SIDE, width - w);
            for (long i = 0; i < count; i++) {
                long column = (w + i + across->before) / across->step, beside = (w + i + across->before) % across->step;
                places[i] = column < pitch ? beside * plane + column : -1;
            }
            int run = across->step == 1 && count == BF16_SIDE && places[count - 1] >= 0;
            for (long c = 0; c < channels; c += 2 * BF16_SIDE) {
                uint32_t words[BF16_TILE] = {0}, turned[BF16_TILE];
                for (long i = 0; i < count; i++)
                    bf16_narrow(a, at + h * a->row + (w + i) * a->column + c, at_most(2 * BF16_SIDE, channels - c),
                                (uint16_t *)(words + i * BF16_SIDE));
                bf16_transpose(words, turned);
                for (long l = 0; l < at_most(2 * BF16_SIDE, channels - c); l++) {
                    const uint32_t *from = turned + l / 2 * BF16_SIDE;
                    uint16_t *target = line + (c + l) * channel_step;
                    int shift = l % 2 * 16;
                    if (run)
                        for (int i = 0; i < BF16_SIDE; i++) target[places[0] + i] = (uint16_t)(from[i] >> shift);
                    else
                        for (long i = 0; i < count; i++)
                            if (places[i] >= 0) target[places[i]] = (uint16_t)(from[i] >> shift);
                }
            }
        }
    }
}

// Packs the cotangent's channels, which lie apart, as right operands: [32 results][32 positions][two tiles][pair][16 results].
static void bf16_pack_grad(const Bf16WeightGrad *s, const uint16_t *grad, long first, uint32_t *to) {
    for (long p = 0; p < s->positions; p += BF16_DEPTH)
        for (long r = first; r < first + BF16_BLOCK; r += BF16_SIDE, to += BF16_TILE) {
            uint32_t words[BF16_TILE];
            if (r >= s->results) {
                memset(to, 0, sizeof words);
                continue;
            }
            for (long i = 0; i < BF16_SIDE; i++)
                memcpy(words + i * BF16_SIDE, grad + (r + i) * s->positions + p, BF16_DEPTH * sizeof *grad);
            bf16_transpose(words, to);
        }
}

static void bf16_weight_grad_task(void *argument, long index) {
    const Bf16WeightGrad *s = argument;
    long share = index / s->splits, split = index % s->splits, blocks = parts(s->results, BF16_BLOCK);
    long first = share * s->samples / s->shares, last = (share + 1) * s->samples / s->shares;
    long first_block = split * blocks / s->splits, last_block = (split + 1) * blocks / s->splits;
    long planes = s->down.step * s->across.step, few = s->channels <= BF16_SIDE;
    float *sums = (float *)s->scratch + share * s->sums;
    uint32_t *packed = (uint32_t *)((char *)((float *)s->scratch + s->shares * s->sums) + index * s->share_bytes);
    uint16_t *grad = (uint16_t *)(packed + blocks * BF16_BLOCK * s->positions / 2);
    uint16_t *copy = grad + parts(s->results, BF16_SIDE) * BF16_SIDE * s->positions;
    Bf16Axis plain = {.taps = 1, .step = 1};
    Bf16Steps steps = {planes * s->plane, planes * s->plane * BF16_SIDE, BF16_DEPTH, BF16_SIDE};
    memset(packed, 0, (size_t)s->share_bytes);
    if (s->tiles) bf16_begin_tiles(BF16_SIDE);
    for (long n = first; n < last; n++) {
        if (s->source.channel == 1 && s->channels > 1)
            bf16_copy_turned(&s->source, n * s->source.sample, s->height, s->width, s->channels, &s->down, &s->across,
                             s->plane_rows, s->pitch, s->plane, planes * s->plane, copy);
        else
        for (long c = 0; c < s->channels; c++)
            bf16_copy_planes(&s->source, n * s->source.sample + c * s->source.channel, s->height, s->width, &s->down,
                             &s->across, s->plane_rows, s->pitch, s->plane, copy + c * planes * s->plane);
        long first_result = first_block * BF16_BLOCK;
        if (s->grad.channel == 1 && s->results > 1)
            bf16_copy_turned(&s->grad, n * s->grad.sample + first_result, s->rows, s->columns,
                             at_most(last_block * BF16_BLOCK, s->results) - first_result, &plain, &plain, s->rows, s->pitch, 0,
                             s->positions, grad + first_result * s->positions);
        else
        for (long r = first_result; r < at_most(last_block * BF16_BLOCK, s->results); r++)
            bf16_copy_planes(&s->grad, n * s->grad.sample + r * s->grad.channel, s->rows, s->columns, &plain, &plain, s->rows,
                             s->pitch, 0, grad + r * s->positions);
        for (long b = first_block; b < last_block; b++) {
            uint32_t *right = packed + b * BF16_BLOCK * s->positions / 2;
            bf16_pack_grad(s, grad, b * BF16_BLOCK, right);
            for (long t = 0; t < s->tiles_of_taps; t++) {
                long at[2];
                for (long i = 0; i < 2; i++) {
                    long tap = at_most(few ? 2 * t + i : t, s->taps - 1);
                    long down = s->down.at[tap / s->across.taps], across = s->across.at[tap % s->across.taps];
                    at[i] = (down % s->down.step * s->across.step + across % s->across.step) * s->plane +
                            down / s->down.step * s->pitch + across / s->across.step;
                }
                if (few) steps.tile = at[1] - at[0];
                for (long c = 0; c < s->channel_blocks; c++) {
                    Bf16Term term = {copy + c * BF16_BLOCK * planes * s->plane + at[0], right};
                    bf16_block(s->tiles, &term, 1, steps, s->positions / BF16_DEPTH,
                               sums + ((b * s->tiles_of_taps + t) * s->channel_blocks + c) * BF16_BLOCK * BF16_BLOCK, n > first,
                               s->results - b * BF16_BLOCK <= BF16_SIDE);
                }
            }
        }
    }
    if (s->tiles) bf16_end_tiles();
}

// Adds up the sums of all shares, for 32 results.
static void bf16_add_shares_task(void *argument, long b) {
    const Bf16WeightGrad *s = argument;
    long few = s->channels <= BF16_SIDE;
    Bf16Array to = {.at = s->weight, .half = s->weight_half};
    for (long tap = 0; tap < s->taps; tap++)
        for (long c = 0; c < s->channels; c++) {
            long block = (b * s->tiles_of_taps + (few ? tap / 2 : tap)) * s->channel_blocks + c / BF16_BLOCK;
            const float *sums = (const float *)s->scratch + (block * BF16_BLOCK + (few ? tap % 2 * BF16_SIDE : 0) +
                                                             c % BF16_BLOCK) * BF16_BLOCK;
            long at = s->down.tap[tap / s->across.taps] * s->weight_row +
                      s->across.tap[tap % s->across.taps] * s->weight_column + c * s->weight_channel;
            float total[BF16_BLOCK] = {0};
            for (long share = 0; share < s->shares; share++)
                for (int r = 0; r < BF16_BLOCK; r++) total[r] += sums[share * s->sums + r];
            for (long r = 0; r < at_most(BF16_BLOCK, s->results - b * BF16_BLOCK); r++)
                bf16_write(&to, at + (b * BF16_BLOCK + r) * s->weight_result, total[r]);
        }
}

// The weight's gradient, once `bf16_arrange_weight_grad` has been called and there is scratch memory.
static void bf16_weight_grad(Bf16WeightGrad *s) {
    s->tiles = bf16_tiles_allowed();
    parallel(bf16_weight_grad_task, s, s->shares * s->splits);
    parallel(bf16_add_shares_task, s, parts(s->results, BF16_BLOCK));
}

// ---- convolutions by their sizes ----

typedef struct {
    int64_t samples, in, height, width, out, rows, columns, kh, kw, sh, sw, ph, pw, dh, dw;
    struct { int64_t half, sample, channel, row, column; } x, y;  // steps of the input and of the result, or their cotangents
    int64_t weight_half;
} Bf16Geometry;

static Bf16Axis bf16_forward_axis(long taps, long stride, long padding, long dilation) {
    Bf16Axis axis = {.taps = taps, .step = stride, .before = padding};
    for (long k = 0; k < taps; k++) axis.at[k] = k * dilation, axis.tap[k] = k;
    return axis;
}

// Which cotangents meet the inputs at `residue` by the stride.
static Bf16Axis bf16_backward_axis(long taps, long stride, long padding, long dilation, long residue) {
    Bf16Axis axis = {.step = 1};
    for (long k = taps - 1; k >= 0; k--) {
        long shift = residue + padding - k * dilation;
        if (shift % stride) continue;
        axis.at[axis.taps] = shift / stride;
        axis.tap[axis.taps++] = k;
    }
    if (axis.taps && axis.at[0] < 0) axis.before = -axis.at[0];
    for (long k = 0; k < axis.taps; k++) axis.at[k] += axis.before;
    return axis;
}

#define STEPS(s) (s).half, (s).sample, (s).channel, (s).row, (s).column

// A convolution without its arrays.
static Bf16Sum bf16_forward(const Bf16Geometry *g) {
    Bf16Sum s = {.source = {NULL, STEPS(g->x)}, .result = {NULL, STEPS(g->y)}, .weight_half = g->weight_half,
                 .weight_result = g->in * g->kh * g->kw, .weight_channel = g->kh * g->kw, .weight_row = g->kw,
                 .weight_column = 1, .samples = g->samples, .height = g->height, .width = g->width, .channels = g->in,
                 .rows = g->rows, .columns = g->columns, .results = g->out,
                 .down = bf16_forward_axis(g->kh, g->sh, g->ph, g->dh),
                 .across = bf16_forward_axis(g->kw, g->sw, g->pw, g->dw), .whole_rows = g->rows,
                 .whole_columns = g->columns, .row_steps = 1, .column_steps = 1};
    bf16_arrange(&s);
    return s;
}

// The gradient of the inputs at one residue of rows and columns by the stride, without its arrays.
static Bf16Sum bf16_backward(const Bf16Geometry *g, long down, long across) {
    Bf16Sum s = {.source = {NULL, STEPS(g->y)},
                 .result = {NULL, g->x.half, g->x.sample, g->x.channel, g->x.row * g->sh, g->x.column * g->sw},
                 .weight_half = g->weight_half, .weight_result = g->kh * g->kw, .weight_channel = g->in * g->kh * g->kw,
                 .weight_row = g->kw, .weight_column = 1, .samples = g->samples, .height = g->rows, .width = g->columns,
                 .channels = g->out, .rows = parts(g->height - down, g->sh), .columns = parts(g->width - across, g->sw),
                 .results = g->in, .down = bf16_backward_axis(g->kh, g->sh, g->ph, g->dh, down),
                 .across = bf16_backward_axis(g->kw, g->sw, g->pw, g->dw, across), .whole_rows = g->height,
                 .whole_columns = g->width, .first_row = down, .first_column = across, .row_steps = g->sh,
                 .column_steps = g->sw};
    bf16_arrange(&s);
    return s;
}

static Bf16WeightGrad bf16_of_weight(const Bf16Geometry *g) {
    Bf16WeightGrad s = {.source = {NULL, STEPS(g->x)}, .grad = {NULL, STEPS(g->y)}, .weight_half = g->weight_half,
                        .weight_result = g->in * g->kh * g->kw, .weight_channel = g->kh * g->kw, .weight_row = g->kw,
                        .weight_column = 1, .samples = g->samples, .height = g->height, .width = g->width,
                        .channels = g->in, .rows = g->rows, .columns = g->columns, .results = g->out,
                        .down = bf16_forward_axis(g->kh, g->sh, g->ph, g->dh),
                        .across = bf16_forward_axis(g->kw, g->sw, g->pw, g->dw)};
    bf16_arrange_weight_grad(&s);
    return s;
}

// Bytes of scratch memory, at a multiple of 64.
static inline long bf16_convolution_scratch(const Bf16Geometry *g) {
    Bf16Sum s = bf16_forward(g);
    return bf16_sum_scratch(&s);
}

static inline long bf16_input_grad_scratch(const Bf16Geometry *g) {
    long most = 0;
    for (long r = 0; r < g->sh * g->sw; r++)
        if (r / g->sw < g->height && r % g->sw < g->width) {
            Bf16Sum s = bf16_backward(g, r / g->sw, r % g->sw);
            most = at_least(most, bf16_sum_scratch(&s));
        }
    return most;
}

static inline long bf16_of_weight_scratch(const Bf16Geometry *g) {
    Bf16WeightGrad s = bf16_of_weight(g);
    return bf16_weight_grad_scratch(&s);
}

static inline void bf16_convolution(const Bf16Geometry *g, const void *x, const void *weight, const void *bias, void *y,
                                    void *scratch, Finish finish, void *context) {
    Bf16Sum s = bf16_forward(g);
    s.source.at = (void *)x, s.weight = weight, s.bias = bias, s.result.at = y;
    s.scratch = scratch, s.finish = finish, s.context = context;
    bf16_sum(&s);
}

static inline void bf16_input_grad(const Bf16Geometry *g, const void *y, const void *weight, void *x, void *scratch,
                                   Finish finish, void *context) {
    for (long r = 0; r < g->sh * g->sw; r++)
        if (r / g->sw < g->height && r % g->sw < g->width) {
            Bf16Sum s = bf16_backward(g, r / g->sw, r % g->sw);
            long start = s.first_row * g->x.row + s.first_column * g->x.column;
            s.source.at = (void *)y, s.weight = weight;
            s.result.at = g->x.half ? (void *)((uint16_t *)x + start) : (void *)((float *)x + start);
            s.scratch = scratch, s.finish = finish, s.context = context;
            bf16_sum(&s);
        }
}

static inline void bf16_gradient_of_weight(const Bf16Geometry *g, const void *x, const void *y, void *weight, void *scratch) {
    Bf16WeightGrad s = bf16_of_weight(g);
    s.source.at = (void *)x, s.grad.at = (void *)y, s.weight = weight, s.scratch = scratch;
    bf16_weight_grad(&s);
}

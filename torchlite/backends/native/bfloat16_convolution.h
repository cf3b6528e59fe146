// Convolution in bfloat16 with sums in float32, and its two gradients, in two dimensions.
//
// A sample is copied into bfloat16 with its padding, channels side by side, so that the numbers that a row of the window
// meets lie in one run: without columns copied out, a tile's 16 rows are 16 neighbouring windows. Where the stride is s,
// every s-th row of the sample lies in the same one of s planes. In tile registers positions between the end of a row of windows
// and the next row are computed too and dropped; without them `bfloat16_positions.h` leaves these out. The gradient of the input
// is the same sum over the cotangent, for each residue of a position by the stride; that of the weight
// (`bfloat16_weight_grad.h`) is a sum over positions instead.

enum { BF16_MOST_TAPS = 16, BF16_SHARES = 16 };  // rows or columns of a window; parts that samples are divided into
enum { BF16_FEW = 4 };                             // channels of which copies are made one by one

typedef struct {                 // an array (N, C, H, W) of float32 or bfloat16, with its steps in numbers
    void *at;
    long half, sample, channel, row, column;
} Bf16Array;

// What takes rows of the result, in float32, or makes those of the source that lie nowhere, in bfloat16, if `each` is not NULL; and
// the arrays of bfloat16 of the same sizes that it goes through, ended by NULL.
typedef struct {
    Finish each;
    void *context;
    const uint16_t *const *arrays;
} Bf16OnRows;

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
    const uint16_t *const *finished;  // arrays that it goes through
    Bf16OnRows fill;
    long whole_rows, whole_columns, first_row, first_column, row_steps, column_steps;
    // how the copy of a sample lies, filled in by bf16_arrange:
    long wide, plane_rows, padded, pitch, sample_size;  // numbers of a pixel; rows of a plane; pixels of a row; positions of one
    long together, pairs, depth, terms;                 // taps of a row in one run, and the tiles that it is cut into
    int tiles;
} Bf16Sum;

#ifdef __AMX_BF16__
enum { BF16_BY_POSITIONS = 0 };
#else
enum { BF16_BY_POSITIONS = 1 };
#endif

// For tile registers, or by positions.
static void bf16_arrange(Bf16Sum *s, int by_positions) {
    const Bf16Axis *down = &s->down, *across = &s->across;
    s->together = at_least(across->taps, 1);
    for (long k = 1; k < across->taps; k++)
        if (across->at[k] != across->at[k - 1] + 1) s->together = 1;
    // The fewest numbers a pixel with which a run is a whole number of equal tiles of pairs.
    for (s->wide = parts(s->channels, 2) * 2;; s->wide += 2) {
        long run = s->together * s->wide;
        s->depth = by_positions ? 1 : parts(run, BF16_DEPTH);
        s->pairs = run / s->depth / 2;
        if (s->pairs * s->depth * 2 == run) break;
    }
    s->terms = down->taps * across->taps / s->together;
    long lowest = 0, last = 0;
    for (long k = 0; k < down->taps; k++) lowest = at_least(lowest, down->at[k]);
    for (long k = 0; k < across->taps; k++) last = at_least(last, across->at[k]);
    s->padded = parts(last + (s->columns - 1) * across->step + 1, across->step) * across->step;
    s->pitch = by_positions ? s->columns : s->padded / across->step;
    s->plane_rows = parts(lowest + (s->rows - 1) * down->step + 1, down->step);
    s->sample_size = parts((down->step * s->plane_rows * s->padded + 2 * BF16_BLOCK * across->step) * s->wide, 32) * 32;
}

// Words of the packed weights, and numbers of all that is packed and copied.
static inline long bf16_weight_words(const Bf16Sum *s) {
    return parts(s->results, BF16_BLOCK) * s->terms * s->depth * 2 * s->pairs * BF16_SIDE;
}
static inline long bf16_shares(long samples) { return at_most(samples, BF16_SHARES); }

// Numbers of a row that is made, in whole lines of the caches.
static inline long bf16_made(long numbers) { return parts(numbers, 32) * 32; }

// Bytes of a sample that is copied, and of a row of it that is made before.
static inline long bf16_copied(const Bf16Sum *s) {
    return (s->sample_size + bf16_made(s->width * s->channels)) * (long)sizeof(uint16_t);
}
static inline long bf16_sum_scratch(const Bf16Sum *s) {
    return bf16_weight_words(s) * (long)sizeof(uint32_t) + bf16_shares(s->samples) * bf16_copied(s) + 64;
}

// However it is arranged: a program may be compiled for another processor than this one.
static inline long bf16_most_scratch(Bf16Sum s) {
    bf16_arrange(&s, 0);
    long tiles = bf16_sum_scratch(&s);
    bf16_arrange(&s, 1);
    return at_least(tiles, bf16_sum_scratch(&s));
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

// Copies pixels of a row, whose few channels lie apart, to where they lie side by side.
static void bf16_copy_few_channels(const Bf16Array *a, long at, long channels, long width, long wide, uint16_t *to) {
    for (long c = 0; c < channels; c++, at += a->channel)
        if (a->half)
            for (long w = 0; w < width; w++) to[w * wide + c] = ((const uint16_t *)a->at)[at + w * a->column];
        else
            for (long w = 0; w < width; w++) to[w * wide + c] = bf16_of(((const float *)a->at)[at + w * a->column]);
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

// Copies a row of pixels to where their channels lie side by side.
static void bf16_copy_row(const Bf16Array *a, long at, long width, long channels, long wide, uint16_t *to) {
    if ((a->channel == 1 || channels == 1) && a->column == channels && wide == channels)
        bf16_narrow(a, at, at_least(width, 0) * wide, to);
    else if (a->channel == 1)
        for (long w = 0; w < width; w++) bf16_narrow(a, at + w * a->column, channels, to + w * wide);
    else if (channels <= BF16_FEW) bf16_copy_few_channels(a, at, channels, width, wide, to);
    else
        for (long w = 0; w < width; w += BF16_SIDE)
            bf16_copy_pixels(a, at + w * a->column, channels, at_most(BF16_SIDE, width - w), wide, to + w * wide);
}

// Makes a row of `all` pixels where it is wanted, or copies those of them that are read.
static void bf16_fill_row(Bf16OnRows fill, uint16_t *made, long first, long all, long width, long channels, long wide, uint16_t *to) {
    int there = wide == channels && width == all;
    fill.each(fill.context, (float *)(there ? to : made), channels, first, 0, all, channels);
    Bf16Array row = {made, .half = 1, .channel = 1, .column = channels};
    if (!there) bf16_copy_row(&row, 0, width, channels, wide, to);
}

// Copies one sample; what is padding must be zero and stays so.
static void bf16_copy_sample(const Bf16Sum *s, long sample, uint16_t *to) {
    const Bf16Array *a = &s->source;
    uint16_t *made = to + s->sample_size;
    long width = at_most(s->width, s->padded - s->across.before);
    for (long h = 0; h < s->height; h++) {
        long row = (h + s->down.before) / s->down.step, plane = (h + s->down.before) % s->down.step;
        int read = row < s->plane_rows;
        uint16_t *line = to + ((plane * s->plane_rows + row) * s->padded + s->across.before) * s->wide;
        if (s->fill.each)
            bf16_fill_row(s->fill, made, (sample * s->height + h) * s->width, s->width, read ? width : 0, s->channels, s->wide,
                          line);
        else if (read) bf16_copy_row(a, sample * a->sample + h * a->row, width, s->channels, s->wide, line);
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

#ifdef __AMX_BF16__
static void bf16_sum_task(void *argument, long share) {
    const Bf16Sum *s = argument;
    long shares = bf16_shares(s->samples), runs = s->across.taps / s->together;
    long first = share * s->samples / shares, last = (share + 1) * s->samples / shares;
    uint16_t *copy = (uint16_t *)((uint32_t *)s->scratch + bf16_weight_words(s)) + share * bf16_copied(s) / (long)sizeof(uint16_t);
    long end = (s->rows - 1) * s->pitch + s->columns, block = s->terms * s->depth * 2 * s->pairs * BF16_SIDE;
    Bf16Steps steps = {s->across.step * s->wide, s->across.step * s->wide * BF16_SIDE, 2 * s->pairs, s->pairs,
                       s->pairs * BF16_SIDE, 2 * s->pairs * BF16_SIDE};
    Bf16Term terms[BF16_MOST_TAPS * BF16_MOST_TAPS];
    float sums[BF16_BLOCK * BF16_BLOCK] __attribute__((aligned(64)));
    if (s->tiles) bf16_begin_tiles(s->pairs);
    memset(copy, 0, (size_t)s->sample_size * sizeof *copy);
    for (long sample = first; sample < last; sample++) {
        if (s->terms || s->fill.each) bf16_copy_sample(s, sample, copy);
        for (long b = 0; b < parts(s->results, BF16_BLOCK); b++)
            for (long p = 0; p < end; p += BF16_BLOCK) {
                for (long t = 0; t < s->terms; t++) {
                    long down = s->down.at[t / runs], across = s->across.at[s->together > 1 ? 0 : t % runs];
                    long line = down % s->down.step * s->plane_rows + down / s->down.step;
                    terms[t].left = copy + (line * s->padded + across + p * s->across.step) * s->wide;
                    terms[t].right = (const uint32_t *)s->scratch + b * block + t * s->depth * 2 * s->pairs * BF16_SIDE;
                }
                bf16_block(s->tiles, terms, (int)s->terms, steps, s->depth, sums, 0,
                           s->results - b * BF16_BLOCK <= BF16_SIDE, 0);
                long result = b * BF16_BLOCK, results = at_most(BF16_BLOCK, s->results - result);
                if (s->bias) bf16_add_bias(s, sums, result, results);
                if (s->finish) bf16_finish_positions(s, sums, sample, p, result, results);
                else bf16_write_positions(s, sums, sample, p, result, results);
            }
    }
    if (s->tiles) bf16_end_tiles();
}
#endif

// The gradient of the weight of a convolution in bfloat16 where the cotangent's channels lie side by side, for tile registers
// (`bfloat16_weight_grad_rows.h` does without them).
//
// Products of bfloat16 want pairs of what is summed over, here of neighbouring pixels. Those of the input are paired as they
// lie, once beginning with even pixels and once with odd ones, so that every tap of the window finds its pairs somewhere
// in one run; those of the cotangent are paired, too, and turned, once for all taps. Some samples lie below each other and are
// gone through in stretches, so that what all taps read stays in the first-level cache.

static inline long bf16_tiles_of(long channels) { return parts(channels, BF16_SIDE); }

// Tiles of channels of the input: an even number, unless there is only one.
static inline long bf16_channel_tiles(const Bf16WeightGrad *s) { return s->channels > BF16_SIDE ? 2 * s->channel_blocks : 1; }

// Whether any tap reads what is dealt out to a plane.
static int bf16_is_read(const Bf16Axis *axis, long phase) {
    for (long k = 0; k < axis->taps; k++)
        if (axis->at[k] % axis->step == phase) return 1;
    return 0;
}

#ifdef __AMX_BF16__
typedef struct {
    const Bf16WeightGrad *s;
    long first, last;                    // tiles of 16 results
    uint16_t *pixels, *grad;             // copies: pixels of each plane, and cotangents with zeros between the rows
    uint32_t *pairs;                     // [plane][even or odd][tile of channels][pair][16 channels]
    uint32_t *turned;                    // [32 pixels][tile of results][result][pair]
    long ready;                          // pairs of each plane that are there
} Bf16Beside;

enum { BF16_STRETCH = 8, BF16_RUN = 512 };  // tiles of 32 pixels at a time; pixels for which small samples lie together

// Does what `bf16_arrange_weight_grad` has left.
static void bf16_arrange_beside(Bf16WeightGrad *s) {
    long down = s->plane_rows - s->rows, across = s->pitch - s->columns;  // furthest that a tap reads
    long planes = s->down.step * s->across.step, share = parts(s->samples, s->shares);
    long fitting = at_most(at_least(BF16_RUN / (s->plane_rows * s->pitch), 1), share);
    s->together = parts(share, parts(share, fitting));
    s->positions = parts(((s->together - 1) * s->plane_rows + s->rows - 1) * s->pitch + s->columns, BF16_DEPTH) * BF16_DEPTH;
    s->plane = parts(at_least(s->together * s->plane_rows * s->pitch, s->positions + down * s->pitch + across) + 2, 32) * 32;
    long wide = bf16_channel_tiles(s) * BF16_SIDE, results = bf16_tiles_of(s->results) * BF16_SIDE;
    long words = planes * s->plane * wide + BF16_STRETCH * BF16_DEPTH / 2 * results;
    s->copied_bytes = parts(((planes * s->plane + 2) * wide + s->positions * results) * (long)sizeof(uint16_t), 64) * 64;
    s->share_bytes = s->copied_bytes + words * (long)sizeof(uint32_t);
}

// Copies a sample to planes, one for each residue of a row and of a column by the stride.
static void bf16_copy_pixels_of(const Bf16Array *a, long at, long height, long width, long channels, const Bf16Axis *down,
                                const Bf16Axis *across, long plane_rows, long pitch, long plane, long wide, uint16_t *to) {
    long dense = a->channel == 1 && a->column == channels && wide == channels && across->step == 1;
    for (long h = 0; h < height; h++) {
        long row = (h + down->before) / down->step, phase = (h + down->before) % down->step;
        if (row >= plane_rows || !bf16_is_read(down, phase)) continue;
        uint16_t *line = to + (phase * across->step * plane + row * pitch) * wide;
        long from = at + h * a->row;
        if (dense) {
            long n = at_least(at_most(width, pitch - across->before), 0);
            bf16_narrow(a, from, n * channels, line + across->before * wide);
            continue;
        }
        for (long beside = 0; beside < across->step; beside++, line += plane * wide) {
            if (!bf16_is_read(across, beside)) continue;
            long column = parts(at_least(across->before - beside, 0), across->step), w = column * across->step + beside - across->before;
            for (; w < width && column < pitch; w += across->step, column++) {
                uint16_t *target = line + column * wide;
                if (a->channel == 1) bf16_narrow(a, from + w * a->column, channels, target);
                else
                    for (long c = 0; c < channels; c++) target[c] = bf16_read(a, from + w * a->column + c * a->channel);
            }
        }
    }
}

// Pairs the pixels of all planes up to pair number `end`.
static void bf16_pair_pixels(Bf16Beside *b, long end) {
    const Bf16WeightGrad *s = b->s;
    long planes = s->down.step * s->across.step, tiles = bf16_channel_tiles(s), wide = tiles * BF16_SIDE, half = s->plane / 2;
    end = at_most(end, half);
    for (long plane = 0; plane < planes; plane++)
        for (long tile = 0; tile < tiles; tile++) {
            if (!bf16_is_read(&s->down, plane / s->across.step) || !bf16_is_read(&s->across, plane % s->across.step)) continue;
            const uint16_t *from = b->pixels + (plane * s->plane + 2 * b->ready) * wide + tile * BF16_SIDE;
            uint32_t *even = b->pairs + ((plane * 2 * tiles + tile) * half + b->ready) * BF16_SIDE, *odd = even + tiles * half * BF16_SIDE;
            for (long i = b->ready; i < end; i++, from += 2 * wide, even += BF16_SIDE, odd += BF16_SIDE) {
                bf16_across(from, from + wide, 1, even);
                bf16_across(from + wide, from + 2 * wide, 1, odd);
            }
        }
    b->ready = at_least(b->ready, end);
}

// Turns the cotangents of a stretch.
static void bf16_turn_grad(Bf16Beside *b, long begin, long depth) {
    long wide = bf16_tiles_of(b->s->results) * BF16_SIDE;
    uint32_t words[BF16_TILE], *to = b->turned;
    for (long d = begin; d < begin + depth; d++)
        for (long tile = b->first; tile < b->last; tile++, to += BF16_TILE) {
            const uint16_t *from = b->grad + d * BF16_DEPTH * wide + tile * BF16_SIDE;
            for (long i = 0; i < BF16_SIDE; i++, from += 2 * wide) bf16_across(from, from + wide, 1, words + i * BF16_SIDE);
            bf16_transpose(words, to);
        }
}

// Where the pairs begin that a tap reads, for pixel 0.
static const uint32_t *bf16_pairs_of(const Bf16Beside *b, long tap) {
    const Bf16WeightGrad *s = b->s;
    long down = s->down.at[tap / s->across.taps], across = s->across.at[tap % s->across.taps], half = s->plane / 2;
    long plane = down % s->down.step * s->across.step + across % s->across.step, tiles = bf16_channel_tiles(s);
    long pixel = down / s->down.step * s->pitch + across / s->across.step;
    return b->pairs + ((plane * 2 + pixel % 2) * tiles * half + pixel / 2) * BF16_SIDE;
}

// Adds what a stretch makes to the sums of all blocks, or begins them.
static void bf16_add_stretch(const Bf16Beside *b, long begin, long depth, float *sums, int add) {
    const Bf16WeightGrad *s = b->s;
    long few = s->channels <= BF16_SIDE, half = s->plane / 2 * BF16_SIDE, tiles = b->last - b->first;
    Bf16Steps steps = {BF16_DEPTH, 2 * BF16_TILE, 2 * BF16_TILE * tiles, BF16_SIDE, half, BF16_TILE};
    for (long tile = b->first; tile < b->last; tile += 2)
        for (long t = 0; t < s->tiles_of_taps; t++) {
            const uint32_t *pairs = bf16_pairs_of(b, few ? 2 * t : t) + begin * BF16_TILE;
            long alone = few && 2 * t + 1 == s->taps;
            if (few) steps.right_tile = alone ? 0 : bf16_pairs_of(b, 2 * t + 1) + begin * BF16_TILE - pairs;
            for (long c = 0; c < s->channel_blocks; c++, pairs += 2 * half) {
                Bf16Term term = {(const uint16_t *)(b->turned + (tile - b->first) * BF16_TILE), pairs};
                bf16_block(s->tiles, &term, 1, steps, depth,
                           sums + ((tile / 2 * s->tiles_of_taps + t) * s->channel_blocks + c) * BF16_BLOCK * BF16_BLOCK, add,
                           alone, tile + 1 == b->last);
            }
        }
}

static void bf16_weight_grad_beside_task(void *argument, long index) {
    const Bf16WeightGrad *s = argument;
    long share = index / s->splits, split = index % s->splits, blocks = parts(s->results, BF16_BLOCK);
    long planes = s->down.step * s->across.step, tiles = bf16_tiles_of(s->results), wide = bf16_channel_tiles(s) * BF16_SIDE;
    long sample = share * s->samples / s->shares, end = (share + 1) * s->samples / s->shares;
    long reach = s->plane_rows * s->pitch;  // of a sample in a plane
    float *sums = (float *)s->scratch + share * s->sums;
    Bf16Beside b = {s, split * blocks / s->splits * 2, at_most((split + 1) * blocks / s->splits * 2, tiles)};
    char *room = (char *)((float *)s->scratch + s->shares * s->sums) + index * s->share_bytes;
    b.pixels = (uint16_t *)room;
    b.grad = b.pixels + (planes * s->plane + 2) * wide;
    b.pairs = (uint32_t *)(room + s->copied_bytes);
    b.turned = b.pairs + planes * s->plane * wide;
    Bf16Axis plain = {.taps = 1, .step = 1};
    memset(room, 0, (size_t)s->copied_bytes);
    if (s->tiles) bf16_begin_tiles(BF16_SIDE);
    for (int add = 0; sample < end; sample += s->together) {
        long count = at_most(s->together, end - sample);
        if (count < s->together) memset(b.grad, 0, (size_t)(s->positions * tiles * BF16_SIDE) * sizeof *b.grad);
        for (long n = 0; n < count; n++) {
            bf16_copy_pixels_of(&s->source, (sample + n) * s->source.sample, s->height, s->width, s->channels, &s->down, &s->across,
                                s->plane_rows, s->pitch, s->plane, wide, b.pixels + n * reach * wide);
            bf16_copy_pixels_of(&s->grad, (sample + n) * s->grad.sample, s->rows, s->columns, s->results, &plain, &plain, s->rows,
                                s->pitch, 0, tiles * BF16_SIDE, b.grad + n * reach * tiles * BF16_SIDE);
        }
        b.ready = 0;
        for (long d = 0; d < s->positions / BF16_DEPTH; d += BF16_STRETCH, add = 1) {
            long depth = at_most(BF16_STRETCH, s->positions / BF16_DEPTH - d);
            bf16_pair_pixels(&b, ((d + depth) * BF16_DEPTH + (s->plane_rows - s->rows + 1) * s->pitch) / 2 + 1);
            bf16_turn_grad(&b, d, depth);
            bf16_add_stretch(&b, d, depth, sums, add);
        }
    }
    if (s->tiles) bf16_end_tiles();
}
#endif

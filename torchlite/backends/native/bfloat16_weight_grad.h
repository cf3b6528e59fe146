// The gradient of the weight of a convolution in bfloat16, where channels lie apart: those of the input are copied into planes, so
// that the pixels that a tap reads are pairs as they lie, and those of the cotangent are packed.

typedef struct {
    Bf16Array source, grad;
    void *weight;                // the result and its steps
    long weight_half, weight_result, weight_channel, weight_row, weight_column;
    long samples, height, width, channels, rows, columns, results;
    Bf16Axis down, across;
    void *scratch;
    Bf16OnRows fill;
    // filled in by bf16_arrange_weight_grad:
    long pitch, plane_rows, plane, positions;  // windows of a row, rows of a plane, its numbers, and the positions summed over
    long shares, splits, channel_blocks, taps, tiles_of_taps;
    long sums, share_bytes;                    // numbers of a share's sums; bytes of all that a task needs besides
    int tiles;
    // filled in by bf16_arrange_beside:
    long together, copied_bytes, band;         // samples in a plane, bytes of the copies of them, rows at a time
    long joined;                               // taps of a row whose channels are one tile's, or 1
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
    s->joined = 1;
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
    Bf16Steps steps = {planes * s->plane, planes * s->plane * BF16_SIDE, BF16_DEPTH, BF16_SIDE, BF16_TILE, 2 * BF16_TILE};
    memset(packed, 0, (size_t)s->share_bytes);
    if (s->tiles) bf16_begin_tiles(BF16_SIDE);
    for (long n = first; n < last; n++) {
        for (long c = 0; c < s->channels; c++)
            bf16_copy_planes(&s->source, n * s->source.sample + c * s->source.channel, s->height, s->width, &s->down,
                             &s->across, s->plane_rows, s->pitch, s->plane, copy + c * planes * s->plane);
        for (long r = first_block * BF16_BLOCK; r < at_most(last_block * BF16_BLOCK, s->results); r++)
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
                               s->results - b * BF16_BLOCK <= BF16_SIDE, 0);
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
    parallel(bf16_weight_grad_task, s, s->shares * s->splits);
    parallel(bf16_add_shares_task, s, parts(s->results, BF16_BLOCK));
}


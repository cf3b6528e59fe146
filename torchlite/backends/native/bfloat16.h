// Products of matrices in bfloat16 with sums in float32.
//
// Operands of either type are packed into tiles of 16 lines (rows of the left matrix, columns of the right one) by 32 of the
// numbers that are summed over, which lie in pairs: 16 x 16 words of 32 bits, [line][pair] on the left and [pair][line] on
// the right. Tile registers (AMX), the dot products of AVX-512 and plain vectors multiply the same tiles.

#if defined(__AVX512BF16__) || defined(__AMX_BF16__)
#include <immintrin.h>
#endif
#if defined(__AMX_BF16__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

enum { BF16_SIDE = 16, BF16_DEPTH = 32, BF16_TILE = 256, BF16_BLOCK = 2 * BF16_SIDE };  // a block is two by two tiles

// ---- packing ----

typedef struct {
    const void *at;
    long half;                   // whether it is bfloat16, float32 otherwise
    long outer_step, inner_step;  // from product to product, in numbers: those of a batch lie along two dimensions
    long line_step, k_step;
} Bf16Operand;

static inline const void *bf16_at(const Bf16Operand *o, long offset) {
    return o->half ? (const void *)((const uint16_t *)o->at + offset) : (const void *)((const float *)o->at + offset);
}

// 32 numbers that lie side by side, in pairs.
static inline void bf16_along(const void *from, int half, uint32_t *to) {
    if (half) {
        memcpy(to, from, BF16_DEPTH * sizeof(uint16_t));
        return;
    }
    const float *x = from;
#ifdef __AVX512BF16__
    _mm512_storeu_si512(to, (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(x + 16), _mm512_loadu_ps(x)));
#else
    for (int i = 0; i < BF16_SIDE; i++) to[i] = bf16_of(x[2 * i]) | (uint32_t)bf16_of(x[2 * i + 1]) << 16;
#endif
}

// 16 numbers that lie side by side, each paired with the one below it.
static inline void bf16_across(const void *first, const void *second, int half, uint32_t *to) {
#ifdef __AVX512BF16__
    __m256i x = half ? _mm256_loadu_si256(first) : (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(first));
    __m256i y = half ? _mm256_loadu_si256(second) : (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(second));
    _mm512_storeu_si512(to, _mm512_or_si512(_mm512_cvtepu16_epi32(x), _mm512_slli_epi32(_mm512_cvtepu16_epi32(y), 16)));
#else
    if (half) {
        const uint16_t *x = first, *y = second;
        for (int i = 0; i < BF16_SIDE; i++) to[i] = x[i] | (uint32_t)y[i] << 16;
        return;
    }
    const float *x = first, *y = second;
    for (int i = 0; i < BF16_SIDE; i++) to[i] = bf16_of(x[i]) | (uint32_t)bf16_of(y[i]) << 16;
#endif
}

// 16 rows of 16 words, so many bytes apart, become columns.
static inline void bf16_transpose_rows(const void *from, long step, uint32_t *to) {
    if ((int)LANES == (int)BF16_SIDE) {
        Vector rows[LANES];
        UNROLLED for (int i = 0; i < LANES; i++) rows[i] = load((const float *)((const char *)from + i * step));
        transpose(rows);
        UNROLLED for (int i = 0; i < LANES; i++) store((float *)to + i * BF16_SIDE, rows[i]);
        return;
    }
    for (int i = 0; i < BF16_SIDE; i++)
        for (int j = 0; j < BF16_SIDE; j++)
            memcpy(to + j * BF16_SIDE + i, (const char *)from + i * step + j * (long)sizeof *to, sizeof *to);
}

static inline void bf16_transpose(const uint32_t *from, uint32_t *to) {
    bf16_transpose_rows(from, BF16_SIDE * (long)sizeof *from, to);
}

// One tile in pairs, from rows of 32 numbers a line (`along`) or of 16 lines a number.
static inline void bf16_pack_rows(const void *from, int half, long step, int along, int left, uint32_t *to) {
    if (half && along && !left) {  // pairs already
        bf16_transpose_rows(from, step * (long)sizeof(uint16_t), to);
        return;
    }
    uint32_t words[BF16_TILE], *target = along == left ? to : words;
    for (int i = 0; i < BF16_SIDE; i++) {
        if (along) bf16_along(half ? (const void *)((const uint16_t *)from + i * step)
                                   : (const void *)((const float *)from + i * step), half, target + i * BF16_SIDE);
        else if (half) bf16_across((const uint16_t *)from + 2 * i * step, (const uint16_t *)from + (2 * i + 1) * step, 1,
                                   target + i * BF16_SIDE);
        else bf16_across((const float *)from + 2 * i * step, (const float *)from + (2 * i + 1) * step, 0,
                         target + i * BF16_SIDE);
    }
    if (target == words) bf16_transpose(words, to);
}

// Copies what there is of a tile as float32 numbers, zeros elsewhere: rows of 32 numbers a line, or of 16 lines a number.
static void bf16_stage(const Bf16Operand *o, long offset, long lines, long depth, int along, float *to) {
    long rows = along ? lines : depth, columns = along ? depth : lines, width = along ? BF16_DEPTH : BF16_SIDE;
    long row_step = along ? o->line_step : o->k_step, step = along ? o->k_step : o->line_step;
    if (!o->half && step == 1 && lines == BF16_SIDE && depth == BF16_DEPTH) {
        const float *x = bf16_at(o, offset);
        if (along)
            for (int i = 0; i < BF16_SIDE; i++) memcpy(to + i * BF16_DEPTH, x + i * row_step, BF16_DEPTH * sizeof *to);
        else
            for (int i = 0; i < BF16_DEPTH; i++) memcpy(to + i * BF16_SIDE, x + i * row_step, BF16_SIDE * sizeof *to);
        return;
    }
    memset(to, 0, BF16_SIDE * BF16_DEPTH * sizeof *to);
    for (long i = 0; i < rows; i++, offset += row_step, to += width) {
        const float *x = bf16_at(o, offset);
        const uint16_t *h = bf16_at(o, offset);
        if (o->half)
            for (long j = 0; j < columns; j++) to[j] = bf16_wide(h[j * step]);
        else if (step == 1) memcpy(to, x, (size_t)columns * sizeof *to);
        else
            for (long j = 0; j < columns; j++) to[j] = x[j * step];
    }
}

// Packs one tile.
static void bf16_pack_tile(const Bf16Operand *o, long offset, long lines, long depth, int left, uint32_t *to) {
    int along = o->k_step == 1 || o->line_step != 1;
    long step = along ? o->line_step : o->k_step;
    if (lines == BF16_SIDE && depth == BF16_DEPTH && (o->k_step == 1 || o->line_step == 1)) {
        if (o->half) bf16_pack_rows(bf16_at(o, offset), 1, step, along, left, to);
        else bf16_pack_rows(bf16_at(o, offset), 0, step, along, left, to);
        return;
    }
    float rows[BF16_SIDE * BF16_DEPTH];
    bf16_stage(o, offset, lines, depth, along, rows);
    bf16_pack_rows(rows, 0, along ? BF16_DEPTH : BF16_SIDE, along, left, to);
}

// Words of one block of 32 lines.
static inline long bf16_block_words(long k) { return parts(k, BF16_DEPTH) * 2 * BF16_TILE; }

// Packs a block of lines: [32 numbers][16 lines].
static void bf16_pack_block(const Bf16Operand *o, long offset, long lines, long k, int left, uint32_t *to) {
    for (long at = 0; at < k; at += BF16_DEPTH)
        for (long line = 0; line < BF16_BLOCK; line += BF16_SIDE, to += BF16_TILE) {
            long n = at_least(at_most(BF16_SIDE, lines - line), 0);
            bf16_pack_tile(o, offset + line * o->line_step + at * o->k_step, n, at_most(BF16_DEPTH, k - at), left, to);
        }
}

// ---- a block of the product ----
//
// sums (32 x 32) = or += the products of `terms` pairs of blocks, each `depth` tiles of 2 `pairs` numbers deep. The right ones
// are packed, [depth][two tiles][pair][16 columns]; the left ones may also be bfloat16 arrays as they lie in memory, because
// neighbours along a row are pairs already. Upright left ones are packed as the right ones are, which spares turning them where
// neighbours lie apart, and which only vectors multiply: they take one pair of each row at a time. Of a narrow block the first
// 16 columns are computed alone, of a low one the first 16 rows.

typedef struct { const uint16_t *left; const uint32_t *right; } Bf16Term;

// What vectors ask for while they multiply, because a finished block reads and writes it: rows of some lines of the caches, `step`
// numbers apart, of which `left` are to be asked for and `each` before some rows of the block. Tiles leave that to the stores.
typedef struct { const float *at; long step, lines, left, each; } Bf16Rows;
typedef struct { Bf16Rows later[MOST_STREAMS]; int count; } Bf16Wanted;

enum { BF16_LINE_LENGTH = LINE_BYTES / sizeof(float) };  // numbers of a line
#ifdef __AMX_BF16__
enum { BF16_STORES_FETCH = 1 };
#else
enum { BF16_STORES_FETCH = 0 };
#endif

typedef struct {
    long row, tile, step, pairs;   // on the left, in numbers: to the next row, the lower tile, the next depth
    long right_tile, right_step;   // on the right, in pairs: to the second tile, the next depth
    int upright;
    Bf16Wanted *wanted;            // NULL where nothing is asked for
} Bf16Steps;

static const Bf16Steps bf16_packed = {2 * BF16_SIDE, 2 * BF16_TILE, 4 * BF16_TILE, BF16_SIDE, BF16_TILE, 2 * BF16_TILE, 0, NULL};

enum { BF16_CHUNK = 2 };  // tiles of one pair before those of the next, whose left ones are nearly the same numbers: taps of a window

#ifdef __AMX_BF16__
typedef struct { uint8_t palette, start, reserved[14]; uint16_t row_bytes[16]; uint8_t rows[16]; } Bf16Configuration;

// Whether the system lets this process use tile registers; asking again does no harm.
static inline int bf16_tiles_allowed(void) {
#if defined(__linux__) && defined(SYS_arch_prctl)
    return syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */, 18 /* tile data */) == 0;
#else
    return 0;
#endif
}

// Tiles 0 to 3 are sums, two by two, 4 and 5 left, 6 and 7 right; the lower ones have so many rows.
static void bf16_begin_uneven_tiles(long pairs, long lower) {
    Bf16Configuration c = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        c.rows[i] = (uint8_t)(i >= 6 ? pairs : i == 2 || i == 3 || i == 5 ? lower : BF16_SIDE);
        c.row_bytes[i] = (uint16_t)((i == 4 || i == 5 ? pairs : BF16_SIDE) * (long)sizeof(uint32_t));
    }
    __asm__ volatile("" : : "r"(&c) : "memory");  // gcc takes the instruction for one that reads 8 bytes
    _tile_loadconfig(&c);
}

static void bf16_begin_tiles(long pairs) { bf16_begin_uneven_tiles(pairs, BF16_SIDE); }

static void bf16_end_tiles(void) { _tile_release(); }

static inline __attribute__((always_inline)) void bf16_block_in_tiles(const Bf16Term *term, int terms, Bf16Steps steps, long depth,
                                                                       float *sums, int add, int narrow, int low) {
    enum { ROW = BF16_BLOCK * sizeof(float), WORDS = BF16_SIDE * sizeof(uint32_t) };
    float *lower = sums + BF16_SIDE * BF16_BLOCK;
    if (add) {
        _tile_loadd(0, sums, ROW);
        if (!narrow) _tile_loadd(1, sums + BF16_SIDE, ROW);
        if (!low) _tile_loadd(2, lower, ROW);
        if (!narrow && !low) _tile_loadd(3, lower + BF16_SIDE, ROW);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    long chunk = terms > 1 ? BF16_CHUNK : depth, row = steps.row * (long)sizeof(uint16_t);
    for (long first = 0; first < depth; first += chunk)
        for (int i = 0; i < terms; i++) {
            const uint16_t *left = term[i].left + first * steps.step;
            const uint32_t *right = term[i].right + first * steps.right_step;
            for (long d = first; d < at_most(first + chunk, depth); d++, left += steps.step, right += steps.right_step) {
                _tile_loadd(4, left, row);
                _tile_loadd(6, right, WORDS);
                _tile_dpbf16ps(0, 4, 6);
                if (!low) {
                    _tile_loadd(5, left + steps.tile, row);
                    _tile_dpbf16ps(2, 5, 6);
                }
                if (!narrow) {
                    _tile_loadd(7, right + steps.right_tile, WORDS);
                    _tile_dpbf16ps(1, 4, 7);
                    if (!low) _tile_dpbf16ps(3, 5, 7);
                }
            }
        }
    _tile_stored(0, sums, ROW);
    if (!narrow) _tile_stored(1, sums + BF16_SIDE, ROW);
    if (!low) _tile_stored(2, lower, ROW);
    if (!narrow && !low) _tile_stored(3, lower + BF16_SIDE, ROW);
}
#else
static inline int bf16_tiles_allowed(void) { return 0; }
static void bf16_begin_tiles(long pairs) { (void)pairs; }
static void bf16_end_tiles(void) {}
#endif

#ifdef __AVX512BF16__
enum { BF16_ROWS = 8 };  // of a block whose sums are in registers at once
typedef __m512 Bf16Sums;
enum { BF16_WIDE = 16 };

static inline Bf16Sums bf16_dot(Bf16Sums sum, uint32_t left, const uint32_t *right) {
    return _mm512_dpbf16_ps(sum, (__m512bh)_mm512_set1_epi32((int)left), (__m512bh)_mm512_loadu_si512(right));
}
#else
enum { BF16_ROWS = REGISTERS >= 32 ? 8 : 2 };
typedef Vector Bf16Sums;
enum { BF16_WIDE = LANES };

static inline Bf16Sums bf16_dot(Bf16Sums sum, uint32_t left, const uint32_t *right) {
    typedef uint32_t Words __attribute__((vector_size(sizeof(float) * LANES), aligned(4), may_alias));
    Words pairs = *(const Words *)right;
    sum += from_bits(left << 16) * (Vector)(pairs << 16);
    return sum + from_bits(left & 0xffff0000u) * (Vector)(pairs & 0xffff0000u);
}
#endif

static inline uint32_t bf16_pair(const uint16_t *x) {
    uint32_t pair;
    memcpy(&pair, x, sizeof pair);
    return pair;
}

static inline void bf16_fetch(Bf16Wanted *wanted) {
    for (Bf16Rows *l = wanted->later; l < wanted->later + wanted->count; l++)
        for (long n = at_most(l->each, l->left); n > 0; n--, l->left--, l->at += l->step)
            for (long line = 0; line < l->lines; line++) __builtin_prefetch(l->at + line * BF16_LINE_LENGTH, 1);
}

// The sums of BF16_ROWS rows from `row` on and of one or two `vectors` of columns; the steps are the left ones', in numbers.
static inline __attribute__((always_inline)) void bf16_rows_in_vectors(const Bf16Term *term, int terms, const Bf16Steps *steps,
                                                                        long depth, float *target, int add, int row, int column,
                                                                        int vectors, long row_step, long pair_step) {
    Bf16Sums sum[BF16_ROWS][2];
    UNROLLED for (int r = 0; r < BF16_ROWS; r++)
        UNROLLED for (int v = 0; v < vectors; v++)
            sum[r][v] = add ? (Bf16Sums)load(target + r * BF16_BLOCK + v * BF16_SIDE) : (Bf16Sums){0};
    for (int i = 0; i < terms; i++) {
        const uint16_t *left = term[i].left + row / BF16_SIDE * steps->tile + row % BF16_SIDE * row_step;
        const uint32_t *right = term[i].right + column;
        for (long d = 0; d < depth; d++, left += steps->step, right += steps->right_step)
            for (int pair = 0; pair < steps->pairs; pair++)
                UNROLLED for (int r = 0; r < BF16_ROWS; r++)
                    UNROLLED for (int v = 0; v < vectors; v++)
                        sum[r][v] = bf16_dot(sum[r][v], bf16_pair(left + r * row_step + pair * pair_step),
                                             right + pair * BF16_SIDE + v * steps->right_tile);
    }
    UNROLLED for (int r = 0; r < BF16_ROWS; r++)
        UNROLLED for (int v = 0; v < vectors; v++) store(target + r * BF16_BLOCK + v * BF16_SIDE, (Vector)sum[r][v]);
}

static void bf16_part_in_vectors(const Bf16Term *term, int terms, Bf16Steps steps, long depth, float *sums, int add,
                                 int narrow, int low) {
    for (int row = 0; row < (low ? BF16_SIDE : BF16_BLOCK); row += BF16_ROWS)
        for (int column = 0; column < BF16_SIDE; column += BF16_WIDE) {
            float *target = sums + row * BF16_BLOCK + column;
            if (steps.wanted) bf16_fetch(steps.wanted);
            if (steps.upright)
                bf16_rows_in_vectors(term, terms, &steps, depth, target, add, row, column, 2, 2, 2 * BF16_SIDE);
            else if (narrow)
                bf16_rows_in_vectors(term, terms, &steps, depth, target, add, row, column, 1, steps.row, 2);
            else
                bf16_rows_in_vectors(term, terms, &steps, depth, target, add, row, column, 2, steps.row, 2);
        }
}

enum { BF16_PART = 8 };  // of the depth, of which both blocks stay in the first-level cache while all rows pass by

static void bf16_block_in_vectors(const Bf16Term *term, int terms, Bf16Steps steps, long depth, float *sums, int add,
                                  int narrow, int low) {
    if (terms != 1) {
        bf16_part_in_vectors(term, terms, steps, depth, sums, add, narrow, low);
        return;
    }
    for (long first = 0; first < depth; first += BF16_PART) {
        Bf16Term part = {term->left + first * steps.step, term->right + first * steps.right_step};
        bf16_part_in_vectors(&part, 1, steps, at_most(BF16_PART, depth - first), sums, add || first, narrow, low);
    }
}

static void bf16_block(int tiles, const Bf16Term *term, int terms, Bf16Steps steps, long depth, float *sums, int add,
                       int narrow, int low) {
#ifdef __AMX_BF16__
    if (tiles) {
        if (narrow && low) bf16_block_in_tiles(term, terms, steps, depth, sums, add, 1, 1);
        else if (narrow) bf16_block_in_tiles(term, terms, steps, depth, sums, add, 1, 0);
        else if (low) bf16_block_in_tiles(term, terms, steps, depth, sums, add, 0, 1);
        else bf16_block_in_tiles(term, terms, steps, depth, sums, add, 0, 0);
        return;
    }
#else
    (void)tiles;
#endif
    bf16_block_in_vectors(term, terms, steps, depth, sums, add, narrow, low);
}

// ---- whole products ----

typedef struct {
    Bf16Operand left, right;
    long batches, inner, rows, columns, k;  // `inner` of the batches follow each other by the inner steps
    Finish finish;
    void *context;
    void *scratch;  // bf16_scratch bytes at a multiple of 64
    Stream streams[MOST_STREAMS];  // arrays of float32 like the result that `finish` reads or writes, up to the first NULL
} Bf16Product;

enum {
    BF16_SLICE = 1024,      // numbers that are summed over at once
    BF16_PANELS = 1 << 18,  // words that the packed columns of a task may take, so that they stay in the second-level cache
    BF16_TASKS = 4,         // at least, where there are as many blocks
    BF16_WORK = 1 << 18,    // blocks times numbers summed over that are worth a task more
};

// How a product is divided into tasks, each of some blocks of rows by some of columns.
typedef struct { long rows, columns, down, across, tasks, slice, left_words, right_words; } Bf16Division;

// A left operand that tiles are loaded from as it is.
static inline int bf16_in_place(const Bf16Operand *o, long k) {
    return o->half && o->k_step == 1 && k % BF16_DEPTH == 0;
}

// Every task packs its columns and, where they are not taken as they are, its rows: the fewer tasks share them, the better.
static inline Bf16Division bf16_divided(const Bf16Operand *left, long batches, long rows, long columns, long k) {
    Bf16Division d = {.rows = parts(rows, BF16_BLOCK), .columns = parts(columns, BF16_BLOCK), .slice = at_most(k, BF16_SLICE)};
    long wanted = parts(at_most(d.rows * d.columns, at_least(BF16_TASKS, d.rows * d.columns * k / BF16_WORK)), batches);
    long words = bf16_block_words(d.slice), least = -1, widest = at_least(BF16_PANELS / words, 1);
    Bf16Division best = d;
    int in_place = bf16_in_place(left, k);
    for (long across = 1; across <= d.columns; across++) {
        long wide = parts(d.columns, across), down = at_most(parts(wanted, across), d.rows);
        long cost = 4 * down * d.columns + (in_place ? 1 : 4) * across * d.rows;  // packing over reading
        if ((wide > widest && wide > 1) || (least >= 0 && cost >= least)) continue;
        least = cost;
        best.columns = wide, best.rows = parts(d.rows, down);
    }
    best.across = parts(d.columns, best.columns), best.down = parts(d.rows, best.rows);
    best.tasks = batches * best.across * best.down;
    best.left_words = words, best.right_words = words * best.columns;
    return best;
}

static inline long bf16_sums(long batches, long rows, long columns, long k) {
    return k > BF16_SLICE ? batches * parts(rows, BF16_BLOCK) * parts(columns, BF16_BLOCK) * BF16_BLOCK * BF16_BLOCK : 0;
}

// How much scratch a product takes, in bytes.
static inline long bf16_scratch(const Bf16Operand *left, long batches, long rows, long columns, long k) {
    Bf16Division d = bf16_divided(left, batches, rows, columns, k);
    return (d.tasks * (d.left_words + d.right_words) + bf16_sums(batches, rows, columns, k)) * (long)sizeof(uint32_t);
}

typedef struct { const Bf16Product *p; Bf16Division d; int tiles; } Bf16Job;

// Where an operand of product number `batch` begins.
static inline long bf16_begin(const Bf16Product *p, const Bf16Operand *o, long batch) {
    return batch / p->inner * o->outer_step + batch % p->inner * o->inner_step;
}

// What a block asks for that is finished next, of so many numbers deep: its rows of the streams, from (row, column) on.
static void bf16_want(const Bf16Product *p, long row, long column, long rows, long columns, long depth, Bf16Wanted *wanted) {
    long times = parts(at_least(depth, 1), BF16_PART * BF16_DEPTH) * (BF16_BLOCK / BF16_ROWS);
    wanted->count = 0;
    for (const Stream *s = p->streams; s < p->streams + MOST_STREAMS && s->at; s++)
        wanted->later[wanted->count++] =
            (Bf16Rows){s->at + row * s->row + column, s->row, parts(columns, BF16_LINE_LENGTH), rows, parts(rows, times)};
}

// One slice of the sums of a task's blocks.
static void bf16_slice(const Bf16Job *job, long index, long batch, long first_row, long first_column, long k) {
    const Bf16Product *p = job->p;
    const Bf16Division *d = &job->d;
    uint32_t *right = (uint32_t *)p->scratch + index * (d->left_words + d->right_words), *left = right + d->right_words;
    float *all = (float *)((uint32_t *)p->scratch + d->tasks * (d->left_words + d->right_words));
    float own[BF16_BLOCK * BF16_BLOCK] __attribute__((aligned(64)));
    long depth = at_most(BF16_SLICE, p->k - k), words = bf16_block_words(depth);
    long last_row = at_most(first_row + d->rows * BF16_BLOCK, p->rows);
    long last_column = at_most(first_column + d->columns * BF16_BLOCK, p->columns);
    long together = !job->tiles && p->right.line_step == 1 ? BF16_DEPTH : depth;  // so that rows of memory are read from end to end
    for (long at = 0; at < depth; at += together)
        for (long c = first_column; c < last_column; c += BF16_BLOCK)
            bf16_pack_block(&p->right, bf16_begin(p, &p->right, batch) + c * p->right.line_step + (k + at) * p->right.k_step,
                            p->columns - c, at_most(together, depth - at), 0,
                            right + (c - first_column) / BF16_BLOCK * words + bf16_block_words(at));
    for (long r = first_row; r < last_row; r += BF16_BLOCK) {
        long offset = bf16_begin(p, &p->left, batch) + r * p->left.line_step + k * p->left.k_step;
        int in_place = r + BF16_BLOCK <= p->rows && bf16_in_place(&p->left, p->k);
        int upright = !job->tiles && p->left.line_step == 1;
        Bf16Steps steps = bf16_packed;
        const uint16_t *from = (const uint16_t *)left;
        Bf16Wanted wanted;
        if (in_place) {
            from = bf16_at(&p->left, offset);
            steps = (Bf16Steps){p->left.line_step, p->left.line_step * BF16_SIDE, BF16_DEPTH, BF16_SIDE, BF16_TILE, 2 * BF16_TILE,
                                0, NULL};
        } else {
            steps.upright = upright;
            bf16_pack_block(&p->left, offset, p->rows - r, depth, !upright, left);
        }
        int asks = !job->tiles && p->streams[0].at && k + depth >= p->k;
        if (asks) steps.wanted = &wanted;
        for (long c = first_column; c < last_column; c += BF16_BLOCK) {
            Bf16Term term = {from, right + (c - first_column) / BF16_BLOCK * words};
            float *sums = own;
            if (p->k > BF16_SLICE)
                sums = all + ((batch * parts(p->rows, BF16_BLOCK) + r / BF16_BLOCK) * parts(p->columns, BF16_BLOCK) +
                              c / BF16_BLOCK) * BF16_BLOCK * BF16_BLOCK;
            if (asks)
                bf16_want(p, batch * p->rows + r, c, at_most(BF16_BLOCK, p->rows - r), at_most(BF16_BLOCK, p->columns - c), depth,
                         &wanted);
            bf16_block(job->tiles, &term, 1, steps, parts(depth, BF16_DEPTH), sums, k > 0,
                       p->columns - c <= BF16_SIDE, !job->tiles && p->rows - r <= BF16_SIDE);
            if (k + BF16_SLICE >= p->k)
                p->finish(p->context, sums, BF16_BLOCK, batch * p->rows + r, c, at_most(BF16_BLOCK, p->rows - r),
                          at_most(BF16_BLOCK, p->columns - c));
        }
    }
}

static void bf16_product_task(void *argument, long index) {
    const Bf16Job *job = argument;
    const Bf16Division *d = &job->d;
    if (job->tiles) bf16_begin_tiles(BF16_SIDE);
    for (long k = 0; k < at_least(job->p->k, 1); k += BF16_SLICE)
        bf16_slice(job, index, index / (d->across * d->down), index / d->across % d->down * d->rows * BF16_BLOCK,
                   index % d->across * d->columns * BF16_BLOCK, k);
    if (job->tiles) bf16_end_tiles();
}

// left (rows, k) times right (k, columns), each of `batches`; `finish` takes what results.
static void bf16_product(const Bf16Product *p) {
    Bf16Job job = {p, bf16_divided(&p->left, p->batches, p->rows, p->columns, p->k), bf16_tiles_allowed()};
    parallel(bf16_product_task, &job, job.d.tasks);
}

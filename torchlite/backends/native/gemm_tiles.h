// The product of `gemm.h` in tile registers (AMX), which errs less than there.
//
// Of the nine products of two sums of three numbers of bfloat16 (`split_float32.h`) the six largest are added up, over K_BLOCK
// numbers at once, and the five small ones of all of these first, so that large sums are not rounded more often than in `gemm.h`.
//
// A block of an operand is multiplied by a power of two where its numbers are so small or large that what is lost below 2^-126
// could be seen; where they span too much, or are infinite, `gemm.h` computes what they meet.

#ifdef __AMX_BF16__
enum {
    SPLIT_TERM = 2 * BF16_TILE,  // words of a term of 32 lines by 32 numbers that are summed over
    SPLIT_STEP = SPLIT_TERMS * SPLIT_TERM,
    SPLIT_BLOCK = K_BLOCK / BF16_DEPTH * SPLIT_STEP,  // words of a packed block
    SPLIT_SUMS = BF16_BLOCK * BF16_BLOCK,
    SPLIT_LINES = 512,    // of a task that stay packed, at most
    SPLIT_PIECE = 2,      // rows of words that are packed at once
    SPLIT_SUM_ROWS = 32,  // of a task that adds up sums over parts of k
    SPLIT_KEPT = 16 * SPLIT_BLOCK,  // words that each thread has to itself
};

// Lines, which are rows of A or columns of B, of `depth` numbers each.
typedef struct { const float *at; long line_step, k_step, lines, depth; } SplitLines;

// A block that is packed piece by piece, beside other work. A row of words holds 16 numbers in lower and 16 in upper halves:
// 32 of one line, or (`across`) two of 16 lines; either way the two of a word are 16 places of k apart.
typedef struct {
    SplitLines of;
    int across;
    int staging;  // whether tiles are copied before, because their rows don't lie so, or are not whole
    long piece, pieces, each;  // the next one, how many there are, and how many are packed at once
    const float *first, *from;  // the first row of all, and the next one
    uint32_t *to, *tile;        // and theirs as words
    long line, k, row, second;  // steps to the tile of other lines or places of k, to the next row, and to the upper halves
    float factor;
    SplitRange range;
    float staged[BF16_SIDE * BF16_DEPTH] __attribute__((aligned(64)));
} SplitPacking;

enum { SPLIT_PIECES = BF16_SIDE / SPLIT_PIECE };  // of a tile

// A tile as rows of 32 numbers a line, or of 16 lines a place in k (`across`), with zeros where there are none.
static __attribute__((noinline)) void stage_tile(SplitPacking *p, long line, long k) {
    const SplitLines *o = &p->of;
    const float *from = o->at + line * o->line_step + k * o->k_step;
    long lines = at_least(at_most(BF16_SIDE, o->lines - line), 0), depth = at_most(BF16_DEPTH, o->depth - k);
    long step = p->across ? o->line_step : o->k_step, place = p->across ? LANES * LANES : LANES;
    if (lines == BF16_SIDE && depth == BF16_DEPTH && (p->across ? o->k_step : o->line_step) == 1) {
        for (int half = 0; half < 2; half++) {
            const float *square = from + half * LANES * (p->across ? 1 : step);
            Vector rows[LANES];
            UNROLLED for (int i = 0; i < LANES; i++) rows[i] = load(square + i * step);
            transpose(rows);
            UNROLLED for (int i = 0; i < LANES; i++)
                store(p->staged + half * place + i * (p->across ? LANES : BF16_DEPTH), rows[i]);
        }
        return;
    }
    memset(p->staged, 0, sizeof p->staged);
    for (long i = 0; i < lines; i++)
        for (long j = 0; j < depth; j++)
            p->staged[p->across ? j * BF16_SIDE + i : i * BF16_DEPTH + j] = from[i * o->line_step + j * o->k_step];
}

static inline int is_packed(const SplitPacking *p) { return p->piece >= p->pieces; }

static inline void begin_packing(SplitPacking *p, SplitLines of, int across, float factor, uint32_t *to) {
    p->of = of, p->across = across, p->factor = factor, p->to = to;
    p->staging = (across ? of.line_step : of.k_step) != 1 || of.lines < BF16_BLOCK || of.depth % BF16_DEPTH;
    p->first = p->staging ? p->staged : of.at;
    p->line = p->staging ? 0 : BF16_SIDE * of.line_step, p->k = p->staging ? 0 : BF16_DEPTH * of.k_step;
    p->row = across ? p->staging ? BF16_SIDE : of.k_step : p->staging ? BF16_DEPTH : of.line_step;
    p->second = across ? BF16_SIDE * p->row : BF16_SIDE;
    p->piece = 0, p->pieces = 2 * SPLIT_PIECES * parts(of.depth, BF16_DEPTH);
    p->range = no_range();
}

static inline __attribute__((always_inline)) void pack_rows_of_words(SplitPacking *p, long count, const int scaled) {
    const __m512 factor = _mm512_set1_ps(p->factor);
    SplitRange range = p->range;
    const long row = p->row, second = p->second;
    for (; count > 0 && p->piece < p->pieces; count--, p->piece++) {
        if (p->piece % SPLIT_PIECES == 0) {
            long line = p->piece / SPLIT_PIECES % 2, k = p->piece / SPLIT_PIECES / 2;
            if (p->staging) stage_tile(p, line * BF16_SIDE, k * BF16_DEPTH);
            p->from = p->first + line * p->line + k * p->k;
            p->tile = p->to + k * SPLIT_STEP + line * BF16_TILE;
        }
        const float *from = p->from;
        uint32_t *to = p->tile;
        p->from += SPLIT_PIECE * row, p->tile += SPLIT_PIECE * BF16_SIDE;
        UNROLLED for (int i = 0; i < SPLIT_PIECE; i++, from += row, to += BF16_SIDE) {
            __m512 x = _mm512_loadu_ps(from), y = _mm512_loadu_ps(from + second);
            if (scaled) x = _mm512_mul_ps(x, factor), y = _mm512_mul_ps(y, factor);
            extend(&range, x);
            extend(&range, y);
            split_numbers(x, y, to, SPLIT_TERM);
        }
    }
    p->range = range;
}

// Packs some more of a block, where there is more.
static __attribute__((noinline)) void pack_pieces(SplitPacking *p, long count) {
    if (p->factor == 1.0f) pack_rows_of_words(p, count, 0);
    else pack_rows_of_words(p, count, 1);
}

// Packs what is left of a block, and all of it again where it has to be scaled.
static SplitSpan end_packing(SplitPacking *p) {
    pack_pieces(p, p->pieces);
    SplitSpan span = span_of(p->range, p->across ? SPLIT_LEAST_RIGHT : SPLIT_LEAST_LEFT);
    if (!span.scale) return span;
    begin_packing(p, p->of, p->across, power_of_2(span.scale), p->to);
    pack_pieces(p, p->pieces);
    return span;
}

// What follows finished sums, some rows at a time.
typedef struct { Finish finish; void *context; float *sums; long row, column, rows, columns, each; } SplitFinish;

static inline void finish_rows(SplitFinish *f, long rows) {
    rows = at_most(rows, f->rows);
    if (!rows) return;
    f->finish(f->context, f->sums, BF16_BLOCK, f->row, f->column, rows, f->columns);
    f->sums += rows * BF16_BLOCK, f->row += rows, f->rows -= rows;
}

// What is done beside the products of two blocks, a little after every few of them: other blocks are packed, what follows the
// last sums is done, and the rows that will be read and written with these are fetched.
typedef struct {
    SplitPacking inner, outer;
    SplitFinish last;
    Stream streams[MOST_STREAMS];
    long row, rows;  // of the streams that is next, and how many there are
} SplitBeside;

enum { BESIDES = 6 };  // of 32 numbers summed over

static __attribute__((noinline)) void do_beside(SplitBeside *b) {
    SplitPacking *packing = is_packed(&b->inner) ? &b->outer : &b->inner;
    if (!is_packed(packing)) pack_pieces(packing, packing->each);
    finish_rows(&b->last, b->last.each);
    for (long n = 0; n < b->last.each && b->row < b->rows; n++, b->row++)
        for (const Stream *s = b->streams; s < b->streams + MOST_STREAMS && s->at; s++)
            UNROLLED for (int i = 0; i < BF16_BLOCK; i += LINE) __builtin_prefetch(s->at + b->row * s->row + i, 1);
}

typedef enum { NONE_IS_PAST, LEFT_IS_PAST, RIGHT_IS_PAST } SplitPast;

// sums (32 x 32) = the product of two packed blocks. Of a narrow one the first 16 columns are computed alone. Tiles of the `past`
// operand, which is larger than the first-level cache, are loaded past that, so that it keeps the other one's block and the one
// that is being packed.
static inline __attribute__((always_inline)) void split_sums(const uint32_t *left, const uint32_t *right, long steps, float *sums,
                                                             SplitBeside *beside, const int narrow, const SplitPast past) {
    enum { SUMS = BF16_BLOCK * sizeof(float), WORDS = BF16_SIDE * sizeof(uint32_t) };
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
#define LOAD(tile, from, is_past)                                        \
    if (is_past) _tile_stream_loadd(tile, from, WORDS);                  \
    else _tile_loadd(tile, from, WORDS);
#define LEFT(term) LOAD(4, a + (term) * SPLIT_TERM, past == LEFT_IS_PAST)
#define LOWER_LEFT(term) LOAD(5, a + (term) * SPLIT_TERM + BF16_TILE, past == LEFT_IS_PAST)
#define RIGHT(term) LOAD(6, b + (term) * SPLIT_TERM, past == RIGHT_IS_PAST)
#define NEXT_RIGHT(term) LOAD(7, b + (term) * SPLIT_TERM + BF16_TILE, past == RIGHT_IS_PAST)
    const uint32_t *a = left, *b = right;
    for (long s = 0; s < steps; s++, a += SPLIT_STEP, b += SPLIT_STEP) {
        SMALL_TERMS(!narrow, do_beside(beside))
    }
    a = left, b = right;
    for (long s = 0; s < steps; s++, a += SPLIT_STEP, b += SPLIT_STEP) {
        LARGE_TERM(!narrow, do_beside(beside))
    }
#undef LOAD
#undef LEFT
#undef LOWER_LEFT
#undef RIGHT
#undef NEXT_RIGHT
    _tile_stored(0, sums, SUMS);
    _tile_stored(2, sums + BF16_SIDE * BF16_BLOCK, SUMS);
    if (narrow) return;
    _tile_stored(1, sums + BF16_SIDE, SUMS);
    _tile_stored(3, sums + BF16_SIDE * BF16_BLOCK + BF16_SIDE, SUMS);
}

// all = or += factor * sums.
static void add_sums(float *all, const float *sums, float factor, int more) {
    for (long i = 0; i < SPLIT_SUMS; i += LANES) {
        Vector v = load(sums + i) * factor;
        store(all + i, more ? load(all + i) + v : v);
    }
}

// ---- whole products ----

typedef struct { float *sums; long n; } Part;

static void keep_part(void *context, float *tile, long tile_step, long row, long column, long rows, long columns) {
    const Part *part = context;
    for (long r = 0; r < rows; r++, tile += tile_step) {
        float *to = part->sums + (row + r) * part->n + column;
#pragma omp simd
        for (long j = 0; j < columns; j++) to[j] = tile[j];
    }
}

// A task, which computes a block of C over k from `begin` to `end`: `down` times K_BLOCK. Of one operand, the inner one, all
// `across` blocks of 32 lines stay packed; blocks of the other meet all of these one after the other.
typedef struct {
    const Product *p;
    Block c;
    const float *a, *b;
    long begin, end, across, down;
    int wide;          // whether rows are the inner lines
    int fetches;       // whether what follows reads and writes rows that are to be fetched
    Finish finish;
    void *context;
    uint32_t *inner;   // packed, [down][across]
    SplitSpan *spans;  // of these
    SplitBeside beside;
} SplitTask;

// A block of C whose first row and column these are.
typedef struct { long row, column, rows, columns; } SplitCorner;

static inline SplitCorner corner_of(const SplitTask *t, long outer, long inner) {
    long row = t->wide ? inner : outer, column = t->wide ? outer : inner;
    return (SplitCorner){t->c.row + row, t->c.column + column, at_most(BF16_BLOCK, t->c.rows - row),
                         at_most(BF16_BLOCK, t->c.columns - column)};
}

// Begins to pack a block of rows, or of columns, to be done in a number of pieces.
static void begin_lines(const SplitTask *t, SplitPacking *packing, int columns, SplitCorner at, long k, long calls, uint32_t *to) {
    const Product *p = t->p;
    k += t->begin;
    SplitLines of = {t->a + at.row * p->a_row + k * p->a_column, p->a_row, p->a_column, at.rows, at_most(K_BLOCK, t->end - k)};
    if (columns)
        of = (SplitLines){t->b + at.column * p->b_column + k * p->b_row, p->b_column, p->b_row, at.columns, of.depth};
    begin_packing(packing, of, columns, 1.0f, to);
    packing->each = parts(packing->pieces, calls);
}

// The next of the inner blocks, and of the others.
static void begin_inner(SplitTask *t, long block) {
    if (block >= t->down * t->across) return;
    long k = block / t->across * K_BLOCK, steps = parts(at_most(K_BLOCK, t->end - t->begin - k), BF16_DEPTH);
    begin_lines(t, &t->beside.inner, !t->wide, corner_of(t, 0, block % t->across * BF16_BLOCK), k, BESIDES * steps,
                t->inner + block * SPLIT_BLOCK);
}

static void begin_outer(SplitTask *t, long line, long k, uint32_t *to) {
    if (k >= t->end - t->begin) line += BF16_BLOCK, k = 0;
    if (line >= (t->wide ? t->c.columns : t->c.rows)) return;
    long steps = parts(at_most(K_BLOCK, t->end - t->begin - k), BF16_DEPTH);
    begin_lines(t, &t->beside.outer, t->wide, corner_of(t, line, 0), k, t->across * BESIDES * steps, to);
}

typedef struct { float *sums; SplitCorner at; } SplitKept;

static void keep_corner(void *context, float *tile, long tile_step, long row, long column, long rows, long columns) {
    const SplitKept *kept = context;
    float *to = kept->sums + (row - kept->at.row) * BF16_BLOCK + column - kept->at.column;
    for (long r = 0; r < rows; r++) memcpy(to + r * BF16_BLOCK, tile + r * tile_step, (size_t)columns * sizeof *tile);
}

// sums = an outer block by an inner one, in tiles or not.
static void multiply_pair(SplitTask *t, const uint32_t *outer, long block, SplitCorner at, int in_tiles, float *sums) {
    const Product *p = t->p;
    long k = t->begin + block / t->across * K_BLOCK, depth = at_most(K_BLOCK, t->end - k), steps = parts(depth, BF16_DEPTH);
    const uint32_t *inner = t->inner + block * SPLIT_BLOCK;
    if (!in_tiles) {
        SplitKept kept = {sums, at};
        multiply_panel(p, t->a, t->b, 0, at.row, at.row + at.rows, at.column, at.columns, k, k + depth, keep_corner, &kept);
        return;
    }
    SplitBeside *beside = &t->beside;
    beside->row = 0, beside->rows = k + depth < t->end || !t->fetches ? 0 : at.rows;
    beside->last.each = parts(BF16_BLOCK, BESIDES * steps);
    for (int i = 0; t->fetches && i < MOST_STREAMS && p->streams[i].at; i++) {
        const Stream all = p->streams[i];
        beside->streams[i] = (Stream){all.at + (t->c.product * p->m + at.row) * all.row + at.column, all.row};
    }
    const uint32_t *left = t->wide ? inner : outer, *right = t->wide ? outer : inner;
    if (t->wide) split_sums(left, right, steps, sums, beside, 0, LEFT_IS_PAST);
    else if (at.columns <= BF16_SIDE) split_sums(left, right, steps, sums, beside, 1, RIGHT_IS_PAST);
    else split_sums(left, right, steps, sums, beside, 0, RIGHT_IS_PAST);
}

static void split_portion(SplitTask *t) {
    enum { APART = BF16_BLOCK * BF16_SIDE };  // so that one block is not packed where the other lies within a page
    uint32_t outer[2][SPLIT_BLOCK + APART] __attribute__((aligned(64)));
    float sums[2][SPLIT_SUMS] __attribute__((aligned(64))), all[BF16_BLOCK * SPLIT_LINES] __attribute__((aligned(64)));
    SplitFinish *last = &t->beside.last;
    int side = 0, place = 0;
    begin_inner(t, 0);
    begin_outer(t, 0, 0, outer[0]);
    for (long line = 0; line < (t->wide ? t->c.columns : t->c.rows); line += BF16_BLOCK)
        for (long d = 0; d < t->down; d++, side = !side) {
            SplitSpan span = end_packing(&t->beside.outer);
            begin_outer(t, line, (d + 1) * K_BLOCK, outer[!side]);
            for (long j = 0; j < t->across; j++, place = !place) {
                long block = d * t->across + j;
                SplitCorner at = corner_of(t, line, j * BF16_BLOCK);
                if (!line) {
                    t->spans[block] = end_packing(&t->beside.inner);
                    begin_inner(t, block + 1);
                }
                SplitSpan other = t->spans[block];
                int in_tiles = span.least + other.least >= SPLIT_LEAST;
                long scale = in_tiles ? span.scale + other.scale : 0;
                float *own = t->down > 1 ? all + j * SPLIT_SUMS : sums[place];
                float *target = d || scale ? sums[place] : own;
                multiply_pair(t, outer[side], block, at, in_tiles, target);
                finish_rows(last, last->rows);
                if (target != own || scale) add_sums(own, target, power_of_2(-scale), d > 0);
                if (d + 1 < t->down) continue;
                *last = (SplitFinish){t->finish, t->context, own, t->c.product * t->p->m + at.row, at.column, at.rows,
                                      at.columns, 0};
                if (t->across == 1 && t->down > 1) finish_rows(last, last->rows);  // before the next lines are added up there
            }
        }
    finish_rows(last, last->rows);
}

// Whether a task keeps its rows packed: where they are few beside its columns. Otherwise it goes from row to row, as memory does.
static inline int split_wide(const Product *p) { return 2 * p->rows <= p->columns || p->columns > SPLIT_LINES; }

// Words of the packed lines of a task.
static inline long split_words(long lines, long depth) { return parts(lines, BF16_BLOCK) * parts(depth, K_BLOCK) * SPLIT_BLOCK; }

// Where a task packs: always in the same memory of its thread, which is in its second-level cache then, or, what is too large
// for that, behind the sums of parts of k.
static uint32_t *packed_lines(const Product *p, long index) {
    static _Thread_local uint32_t kept[SPLIT_KEPT] __attribute__((aligned(64)));
    long sums = p->depth < p->k ? parts(p->k, p->depth) * p->outer * p->inner * p->m * p->n : 0;
    long words = split_words(split_wide(p) ? p->rows : p->columns, at_most(p->depth, p->k));
    return words <= SPLIT_KEPT ? kept : (uint32_t *)p->scratch + parts(sums, LINE) * LINE + index * words;
}

static void split_block_of_product(const Product *p, long index, uint32_t *inner, long begin, long end, Finish finish,
                                   void *context) {
    Block c = block_of(p, index);
    int wide = split_wide(p);
    long across = parts(wide ? c.rows : c.columns, BF16_BLOCK), down = parts(end - begin, K_BLOCK);
    SplitSpan spans[across * down];
    SplitTask task = {.p = p, .c = c, .begin = begin, .end = end, .across = across, .down = down, .wide = wide,
                      .fetches = finish == p->finish,
                      .finish = finish, .context = context, .inner = inner, .spans = spans};
    task.a = p->a + c.product / p->inner * p->a_outer + c.product % p->inner * p->a_inner;
    task.b = p->b + c.product / p->inner * p->b_outer + c.product % p->inner * p->b_inner;
    bf16_begin_tiles(BF16_SIDE);
    split_portion(&task);
    bf16_end_tiles();
}

static void split_task(void *argument, long index) {
    const Product *p = argument;
    split_block_of_product(p, index, packed_lines(p, index), 0, p->k, p->finish, p->context);
}

static void split_part_task(void *argument, long index) {
    const Product *p = argument;
    long blocks = blocks_of(p), begin = index / blocks * p->depth;
    Part part = {p->scratch + index / blocks * p->outer * p->inner * p->m * p->n, p->n};
    split_block_of_product(p, index % blocks, packed_lines(p, index), begin, at_most(begin + p->depth, p->k), keep_part, &part);
}

static void split_in_parts(Product *p) {
    parallel(split_part_task, p, blocks_of(p) * parts(p->k, p->depth));
    p->rows = SPLIT_SUM_ROWS;
    parallel(sum_task, p, blocks_of(p));
}
#endif

// The tiles of vectors that `multiply_split` takes: where it hardly ever takes any, none that take long to be compiled.
#ifdef __AMX_BF16__
#define FETCHING_WITHOUT_SPLIT NULL
#else
#define FETCHING_WITHOUT_SPLIT fetching_tiles
#endif

// As `multiply_matrices`, in tile registers where there are some; a task then has a multiple of 32 rows, of columns, and of k a
// multiple of K_BLOCK or all, at most SPLIT_LINES rows or columns, and `scratch` at a multiple of 64 also holds what each task
// packs, if that is more than SPLIT_KEPT. Otherwise a task has these rows, columns and depth.
static void multiply_split(Product *p, long rows, long columns, long depth) {
#ifdef __AMX_BF16__
    if (bf16_tiles_allowed()) {
        if (p->depth < p->k) split_in_parts(p);
        else parallel(split_task, p, blocks_of(p));
        return;
    }
#endif
    p->rows = rows, p->columns = columns, p->depth = depth;
    multiply_matrices(p);
}

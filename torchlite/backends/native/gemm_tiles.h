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
    SPLIT_COLUMNS = 512,  // of a task, at most
    SPLIT_PIECE = 2,      // rows of words that are packed at once
    SPLIT_SUM_ROWS = 32,  // of a task that adds up sums over parts of k
};

// Lines, which are rows of A or columns of B, of `depth` numbers each.
typedef struct { const float *at; long line_step, k_step, lines, depth; } SplitLines;

// A block that is packed piece by piece, beside other work. A row of words holds 16 numbers in lower and 16 in upper halves:
// 32 of one line, or (`across`) two of 16 lines; either way the two of a word are 16 places of k apart.
typedef struct {
    SplitLines of;
    int across;
    int pieces;   // of a tile that are left
    long line, k;  // of the next tile
    const float *from;
    long row, second;  // steps from one row of words to the next, and to the upper halves
    float factor;
    uint32_t *to, *tile;
    SplitRange range;
    float staged[BF16_SIDE * BF16_DEPTH] __attribute__((aligned(64)));
} SplitPacking;

// A tile as rows of 32 numbers a line, or of 16 lines a place in k (`across`), with zeros where there are none.
static void stage_tile(SplitPacking *p, const float *from, long lines, long depth) {
    const SplitLines *o = &p->of;
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

static inline int is_packed(const SplitPacking *p) { return !p->pieces && p->k >= p->of.depth; }

// Where the rows of the next tile are: as they lie, or staged.
static void begin_tile(SplitPacking *p) {
    const SplitLines *o = &p->of;
    const float *from = o->at + p->line * o->line_step + p->k * o->k_step;
    long lines = at_least(at_most(BF16_SIDE, o->lines - p->line), 0), depth = at_most(BF16_DEPTH, o->depth - p->k);
    int direct = (p->across ? o->line_step : o->k_step) == 1 && lines == BF16_SIDE && depth == BF16_DEPTH;
    if (!direct) stage_tile(p, from, lines, depth);
    p->from = direct ? from : p->staged;
    p->row = p->across ? direct ? o->k_step : BF16_SIDE : direct ? o->line_step : BF16_DEPTH;
    p->second = p->across ? BF16_SIDE * p->row : BF16_SIDE;
    p->tile = p->to + p->k / BF16_DEPTH * SPLIT_STEP + p->line / BF16_SIDE * BF16_TILE;
    p->pieces = BF16_SIDE / SPLIT_PIECE;
    p->k += p->line ? BF16_DEPTH : 0;
    p->line = p->line ? 0 : BF16_SIDE;
}

// Packs some more of a block, where that is not packed already.
static __attribute__((noinline)) void pack_piece(SplitPacking *p) {
    if (is_packed(p)) return;
    if (!p->pieces) begin_tile(p);
    p->pieces--;
    __m512 factor = _mm512_set1_ps(p->factor);
    SplitRange range = p->range;
    UNROLLED for (int i = 0; i < SPLIT_PIECE; i++, p->from += p->row, p->tile += BF16_SIDE) {
        __m512 x = _mm512_mul_ps(_mm512_loadu_ps(p->from), factor);
        __m512 y = _mm512_mul_ps(_mm512_loadu_ps(p->from + p->second), factor);
        extend(&range, x);
        extend(&range, y);
        UNROLLED for (int term = 0; term < SPLIT_TERMS; term++)
            __builtin_prefetch(p->tile + term * SPLIT_TERM + 2 * SPLIT_PIECE * BF16_SIDE, 1);
        split_numbers(x, y, p->tile, SPLIT_TERM);
    }
    p->range = range;
}

static inline void begin_packing(SplitPacking *p, SplitLines of, int across, float factor, uint32_t *to) {
    p->of = of, p->across = across, p->factor = factor, p->to = to;
    p->pieces = 0, p->line = 0, p->k = 0;
    p->range = no_range();
}

// Packs what is left of a block, and all of it again where it has to be scaled.
static SplitSpan end_packing(SplitPacking *p) {
    while (!is_packed(p)) pack_piece(p);
    SplitSpan span = span_of(p->range, p->across ? SPLIT_LEAST_RIGHT : SPLIT_LEAST_LEFT);
    if (!span.scale) return span;
    begin_packing(p, p->of, p->across, power_of_2(span.scale), p->to);
    while (!is_packed(p)) pack_piece(p);
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
    SplitPacking right, left;
    SplitFinish last;
    Stream streams[MOST_STREAMS];
    long row, rows;  // of the streams that is next, and how many there are
} SplitBeside;

enum { BESIDES = 6 };  // of 32 numbers summed over

static __attribute__((noinline)) void do_beside(SplitBeside *b) {
    if (is_packed(&b->right)) {
        pack_piece(&b->left);
    } else {
        pack_piece(&b->right);
        pack_piece(&b->right);
    }
    finish_rows(&b->last, b->last.each);
    for (long n = 0; n < b->last.each && b->row < b->rows; n++, b->row++)
        for (const Stream *s = b->streams; s < b->streams + MOST_STREAMS && s->at; s++)
            UNROLLED for (int i = 0; i < BF16_BLOCK; i += LINE) __builtin_prefetch(s->at + b->row * s->row + i, 1);
}

// sums (32 x 32) = the product of two packed blocks, in tiles of 16 x 16. Of a narrow one the first 16 columns are computed
// alone. Each tile is loaded right before its first product, while others are multiplied; from one of the five products of
// small terms to the next only the left or the right one changes.
static inline __attribute__((always_inline)) void split_sums(const uint32_t *left, const uint32_t *right, long steps,
                                                             float *sums, SplitBeside *beside, const int narrow) {
    enum { SUMS = BF16_BLOCK * sizeof(float), WORDS = BF16_SIDE * sizeof(uint32_t) };
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
#define LEFT(term) _tile_loadd(4, a + (term) * SPLIT_TERM, WORDS);
#define LOWER_LEFT(term) _tile_loadd(5, a + (term) * SPLIT_TERM + BF16_TILE, WORDS);
#define RIGHT(term) _tile_loadd(6, b + (term) * SPLIT_TERM, WORDS);
#define NEXT_RIGHT(term) if (!narrow) _tile_loadd(7, b + (term) * SPLIT_TERM + BF16_TILE, WORDS);
#define ROW(left, first, second) _tile_dpbf16ps(first, left, 6); if (!narrow) _tile_dpbf16ps(second, left, 7);
#define BOTH(x, y)                                                       \
    RIGHT(y) LEFT(x) _tile_dpbf16ps(0, 4, 6);                            \
    NEXT_RIGHT(y) if (!narrow) _tile_dpbf16ps(1, 4, 7);                  \
    LOWER_LEFT(x) ROW(5, 2, 3)
#define OTHER_LEFT(x) LEFT(x) ROW(4, 0, 1) LOWER_LEFT(x) ROW(5, 2, 3)
#define OTHER_RIGHT(y)                                                   \
    RIGHT(y) _tile_dpbf16ps(0, 4, 6); _tile_dpbf16ps(2, 5, 6);           \
    NEXT_RIGHT(y) if (!narrow) { _tile_dpbf16ps(1, 4, 7); _tile_dpbf16ps(3, 5, 7); }
    const uint32_t *a = left, *b = right;
    for (long s = 0; s < steps; s++, a += SPLIT_STEP, b += SPLIT_STEP) {
        BOTH(2, 0)
        do_beside(beside);
        OTHER_LEFT(1)
        do_beside(beside);
        OTHER_RIGHT(1)
        do_beside(beside);
        OTHER_LEFT(0)
        do_beside(beside);
        OTHER_RIGHT(2)
        do_beside(beside);
    }
    a = left, b = right;
    for (long s = 0; s < steps; s++, a += SPLIT_STEP, b += SPLIT_STEP) {
        BOTH(0, 0)
        do_beside(beside);
    }
#undef LEFT
#undef LOWER_LEFT
#undef RIGHT
#undef NEXT_RIGHT
#undef ROW
#undef BOTH
#undef OTHER_LEFT
#undef OTHER_RIGHT
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

// Keeps a tile of the transposed product.
static void keep_turned_part(void *context, float *tile, long tile_step, long row, long column, long rows, long columns) {
    const Part *part = context;
    transpose_rows(tile, tile_step, rows, columns, 1.0f, part->sums + column * part->n + row, part->n);
}

// A task, which computes a block of C over k from `begin` to `end`: `down` times K_BLOCK, and `across` times 32 columns.
typedef struct {
    const Product *p;
    Block c;
    const float *a, *b;
    long begin, end, across, down;
    Finish finish;
    void *context;
    uint32_t *right;   // packed, [down][across]
    SplitSpan *spans;  // of these
    SplitBeside beside;
} SplitTask;

static inline long rows_from(const SplitTask *t, long row) { return at_most(BF16_BLOCK, t->c.row + t->c.rows - row); }
static inline long columns_from(const SplitTask *t, long column) {
    return at_most(BF16_BLOCK, t->c.column + t->c.columns - column);
}

static void begin_left(SplitTask *t, long row, long k, uint32_t *to) {
    const Product *p = t->p;
    if (k >= t->end) row += BF16_BLOCK, k = t->begin;
    if (row >= t->c.row + t->c.rows) return;
    SplitLines of = {t->a + row * p->a_row + k * p->a_column, p->a_row, p->a_column, rows_from(t, row),
                     at_most(K_BLOCK, t->end - k)};
    begin_packing(&t->beside.left, of, 0, 1.0f, to);
}

static void begin_right(SplitTask *t, long block) {
    const Product *p = t->p;
    if (block >= t->down * t->across) return;
    long column = t->c.column + block % t->across * BF16_BLOCK, k = t->begin + block / t->across * K_BLOCK;
    SplitLines of = {t->b + column * p->b_column + k * p->b_row, p->b_column, p->b_row, columns_from(t, column),
                     at_most(K_BLOCK, t->end - k)};
    begin_packing(&t->beside.right, of, 1, 1.0f, t->right + block * SPLIT_BLOCK);
}

// A part of C whose corner is at a row and a column.
typedef struct { float *sums; long row, column; } SplitCorner;

static void keep_corner(void *context, float *tile, long tile_step, long row, long column, long rows, long columns) {
    const SplitCorner *c = context;
    float *to = c->sums + (row - c->row) * BF16_BLOCK + column - c->column;
    for (long r = 0; r < rows; r++) memcpy(to + r * BF16_BLOCK, tile + r * tile_step, (size_t)columns * sizeof *tile);
}

// sums = a block of rows by a block of columns, in tiles or not.
static void multiply_pair(SplitTask *t, const uint32_t *left, long row, long block, int in_tiles, float *sums) {
    const Product *p = t->p;
    long column = t->c.column + block % t->across * BF16_BLOCK, k = t->begin + block / t->across * K_BLOCK;
    long depth = at_most(K_BLOCK, t->end - k), columns = columns_from(t, column), steps = parts(depth, BF16_DEPTH);
    const uint32_t *right = t->right + block * SPLIT_BLOCK;
    if (!in_tiles) {
        SplitCorner corner = {sums, row, column};
        multiply_panel(p, t->a, t->b, 0, row, row + rows_from(t, row), column, columns, k, k + depth, keep_corner, &corner);
        return;
    }
    SplitBeside *beside = &t->beside;
    beside->row = 0, beside->rows = k + depth < t->end || t->finish != p->finish ? 0 : rows_from(t, row);
    beside->last.each = t->finish == keep_turned_part ? BF16_SIDE : parts(BF16_BLOCK, BESIDES * steps);
    for (int i = 0; i < MOST_STREAMS && p->streams[i].at; i++) {
        const Stream all = p->streams[i];
        beside->streams[i] = (Stream){all.at + (t->c.product * p->m + row) * all.row + column, all.row};
    }
    if (columns <= BF16_SIDE) split_sums(left, right, steps, sums, beside, 1);
    else split_sums(left, right, steps, sums, beside, 0);
}

static void split_portion(SplitTask *t) {
    enum { APART = BF16_BLOCK * BF16_SIDE };  // so that one block is not packed where the other lies within a page
    uint32_t left[2][SPLIT_BLOCK + APART] __attribute__((aligned(64)));
    float sums[2][SPLIT_SUMS] __attribute__((aligned(64))), all[BF16_BLOCK * SPLIT_COLUMNS] __attribute__((aligned(64)));
    SplitFinish *last = &t->beside.last;
    int side = 0, place = 0;
    begin_right(t, 0);
    begin_left(t, t->c.row, t->begin, left[0]);
    for (long row = t->c.row; row < t->c.row + t->c.rows; row += BF16_BLOCK)
        for (long d = 0; d < t->down; d++, side = !side) {
            SplitSpan span = end_packing(&t->beside.left);
            begin_left(t, row, t->begin + (d + 1) * K_BLOCK, left[!side]);
            for (long j = 0; j < t->across; j++, place = !place) {
                long block = d * t->across + j, column = t->c.column + j * BF16_BLOCK;
                if (row == t->c.row) {
                    t->spans[block] = end_packing(&t->beside.right);
                    begin_right(t, block + 1);
                }
                SplitSpan other = t->spans[block];
                int in_tiles = span.least + other.least >= SPLIT_LEAST;
                long scale = in_tiles ? span.scale + other.scale : 0;
                float *own = t->down > 1 ? all + j * SPLIT_SUMS : sums[place];
                float *target = d || scale ? sums[place] : own;
                multiply_pair(t, left[side], row, block, in_tiles, target);
                finish_rows(last, last->rows);
                if (target != own || scale) add_sums(own, target, power_of_2(-scale), d > 0);
                if (d + 1 < t->down) continue;
                *last = (SplitFinish){t->finish, t->context, own, t->c.product * t->p->m + row, column, rows_from(t, row),
                                      columns_from(t, column), 0};
                if (t->across == 1 && t->down > 1) finish_rows(last, last->rows);  // before the next row is added up there
            }
        }
    finish_rows(last, last->rows);
}

// Words of the packed columns of a task.
static inline long split_words(long columns, long depth) {
    return parts(columns, BF16_BLOCK) * parts(depth, K_BLOCK) * SPLIT_BLOCK;
}

// What is packed lies behind the sums of parts of k.
static uint32_t *packed_columns(const Product *p, long index) {
    long sums = p->depth < p->k ? parts(p->k, p->depth) * p->outer * p->inner * p->m * p->n : 0;
    return (uint32_t *)p->scratch + parts(sums, LINE) * LINE + index * split_words(p->columns, at_most(p->depth, p->k));
}

static void split_block_of_product(const Product *p, long index, uint32_t *right, long begin, long end, Finish finish,
                                   void *context) {
    Block c = block_of(p, index);
    long across = parts(c.columns, BF16_BLOCK), down = parts(end - begin, K_BLOCK);
    SplitSpan spans[across * down];
    SplitTask task = {.p = p, .c = c, .begin = begin, .end = end, .across = across, .down = down, .finish = finish,
                      .context = context, .right = right, .spans = spans};
    task.a = p->a + c.product / p->inner * p->a_outer + c.product % p->inner * p->a_inner;
    task.b = p->b + c.product / p->inner * p->b_outer + c.product % p->inner * p->b_inner;
    bf16_begin_tiles(BF16_SIDE);
    split_portion(&task);
    bf16_end_tiles();
}

static void split_task(void *argument, long index) {
    const Product *p = argument;
    split_block_of_product(p, index, packed_columns(p, index), 0, p->k, p->finish, p->context);
}

static void split_part(const Product *p, long index, Finish keep, long row) {
    long blocks = blocks_of(p), begin = index / blocks * p->depth;
    Part part = {p->scratch + index / blocks * p->outer * p->inner * p->m * p->n, row};
    long end = at_most(begin + p->depth, p->k);
    split_block_of_product(p, index % blocks, packed_columns(p, index), begin, end, keep, &part);
}

static void split_part_task(void *argument, long index) {
    const Product *p = argument;
    split_part(p, index, keep_part, p->n);
}

static void split_turned_part_task(void *argument, long index) {
    const Product *p = argument;
    split_part(p, index, keep_turned_part, p->m);
}

// B^T A^T.
static Product turned(const Product *p) {
    Product t = *p;
    t.a = p->b, t.a_row = p->b_column, t.a_column = p->b_row, t.a_outer = p->b_outer, t.a_inner = p->b_inner;
    t.b = p->a, t.b_row = p->a_column, t.b_column = p->a_row, t.b_outer = p->a_outer, t.b_inner = p->a_inner;
    t.m = p->n, t.n = p->m, t.rows = p->columns, t.columns = p->rows;
    return t;
}

// Sums over parts of k meet in rows as they lie in C. The columns that a task packs should be few: where C is wide, its
// transpose is computed.
static void split_in_parts(Product *p) {
    long tasks = blocks_of(p) * parts(p->k, p->depth);
    if (p->m < p->n && p->outer * p->inner == 1) {
        Product t = turned(p);
        parallel(split_turned_part_task, &t, tasks);
    } else {
        parallel(split_part_task, p, tasks);
    }
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

// As `multiply_matrices`, in tile registers where there are some; a task then has a multiple of 32 rows, of columns at most
// SPLIT_COLUMNS, and of k a multiple of K_BLOCK or all, and `scratch` at a multiple of 64 also holds packed columns; of a wide
// product that is divided along k rows and columns are the other way round. Otherwise a task has these rows, columns and depth.
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

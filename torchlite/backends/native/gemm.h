// The product of two matrices of any layout, C = A B, with whatever follows done to each finished tile of C.
//
// A tile of C stays in registers while K_BLOCK rows of B pass by, a panel as wide as the tile, and then the next tile meets the
// same panel. The panel is a copy, unless too few tiles come to make up for copying: transposed by vectors where B is, and
// otherwise made by the first tile, of what it has loaded anyway.
// An element's sum is divided by K_BLOCK and `depth` alone, so it does not depend on where in a tile it lies, and rounds less
// than one long sum.

enum {
    TILE_VECTORS = REGISTERS >= 32 ? 4 : 2,
    TILE_COLUMNS = TILE_VECTORS * LANES,
    K_BLOCK = 128,  // a panel of so many rows stays in the first-level cache
    CHUNK = 32,     // steps of k after which a tile fetches some of what comes next
    LINE = 16,      // numbers of a line of the caches
    MOST_ROWS = 384,  // of C that are summed up over several blocks at once
    AHEAD = 8,        // steps of k, when the numbers of a row of A lie apart
    TALLEST = 16,  // rows of a tile by the vectors that it is wide, as many as there are registers for
    TILE_ROWS_1 = REGISTERS >= 32 ? 16 : 12,
    TILE_ROWS_2 = REGISTERS >= 32 ? 12 : 6,
    TILE_ROWS_3 = 8,
    TILE_ROWS_4 = 6,
    LOW_ROWS = 4,  // of a low tile, for the last rows of a panel
};

typedef struct Ahead Ahead;

// A tile's sums over k, added to those in `sums` where it is not NULL, are left in `out`. Some tiles copy B to `panel`.
typedef void (*Tile)(const float *a, long a_row, long a_column, const float *b, long b_row, long k, const float *sums,
                     float *out, long out_row, Ahead *ahead, float *panel);

typedef struct {
    const float *a, *b;
    long m, n, k;
    long a_row, a_column, b_row, b_column;  // steps between neighbours, of any size and sign
    long outer, inner;                      // how many products: `outer` times `inner`, with steps between their operands
    long a_outer, a_inner, b_outer, b_inner;
    long rows, columns, depth;              // of a task; where depth is less than k, sums meet in `scratch`
    float *scratch;                         // (parts(k, depth), outer inner m, n)
    Finish finish;                          // NULL where C is left as dense rows, which begin at `context`
    void *context;
    Stream streams[MOST_STREAMS];           // arrays like C that `finish` reads or writes, up to the first NULL
    const Tile *fetching;                   // tiles that fetch ahead; NULL where nothing is, which products in a loop want
} Product;

// A block of numbers that later tiles need, fetched into the second-level cache: `left` stretches of some lines, of which each
// call fetches `each`.
typedef struct { const float *at; long step, lines, left, each; } Later;

// What is fetched while a tile is computed, because no processor guesses it: the next tile's rows of A into the first-level
// cache, the rows of this tile in arrays like C, and some of the next panel of B and of the next block of A.
struct Ahead {
    const float *a;
    Stream streams[MOST_STREAMS];
    Later later[2];
};

// What is fetched in one of the `chunks` of a tile.
static inline __attribute__((always_inline)) void fetch_ahead(Ahead *ahead, long a_row, long chunk, long chunks, int height) {
    if (ahead->a)
        UNROLLED for (int r = 0; r < height; r++)
            UNROLLED for (int i = 0; i < CHUNK; i += LINE) __builtin_prefetch(ahead->a + r * a_row + chunk * CHUNK + i);
    for (const Stream *s = ahead->streams; s < ahead->streams + MOST_STREAMS && s->at; s++)
        for (long r = chunk; r < height; r += chunks)
            UNROLLED for (int j = 0; j < TILE_COLUMNS; j += LINE) __builtin_prefetch(s->at + r * s->row + j, 1);
    for (Later *l = ahead->later; l < ahead->later + 2; l++)
        for (long n = at_most(l->each, l->left); n > 0; n--, l->left--, l->at += l->step)
            for (long line = 0; line < l->lines; line++) __builtin_prefetch(l->at + line * LINE, 0, 2);
}

// Keeps a compiler from deriving a pointer from others, which it would do with more registers than there are.
#define APART(pointer) __asm__("" : "+r"(pointer))

#define TILE(VECTORS, ROWS, NAME, FETCHES, COPIES)                                                                     \
    static void NAME(const float *a, long a_row, long a_column, const float *b, long b_row, long k, const float *sums, \
                     float *out, long out_row, Ahead *ahead, float *panel) {                                           \
        enum { BASES = (ROWS + 2) / 3 };                                                                               \
        const float *rows[BASES]; /* every third, with which the processor reaches the others without a register */    \
        UNROLLED for (int r = 0; r < BASES; r++) rows[r] = a + 3 * r * a_row;                                          \
        UNROLLED for (int r = 0; r < BASES; r++) APART(rows[r]);                                                       \
        Vector c[ROWS][VECTORS];                                                                                       \
        UNROLLED for (int r = 0; r < ROWS; r++)                                                                        \
            UNROLLED for (int v = 0; v < VECTORS; v++)                                                                 \
                c[r][v] = (Vector){0};                                                                                 \
        for (long chunk = 0, chunks = FETCHES ? parts(k, CHUNK) : 1; chunk < chunks; chunk++) {                        \
            long steps = FETCHES ? at_most(CHUNK, k - chunk * CHUNK) : k;                                              \
            if (FETCHES) fetch_ahead(ahead, a_row, chunk, chunks, ROWS);                                               \
            UNROLLED_BY_4 for (long i = 0; i < steps; i++, b += b_row) {                                               \
                Vector row[VECTORS];                                                                                   \
                if (a_column != 1) __builtin_prefetch(rows[0] + AHEAD * a_column);                                     \
                UNROLLED for (int v = 0; v < VECTORS; v++) row[v] = load(b + v * LANES);                               \
                if (COPIES) {                                                                                          \
                    UNROLLED for (int v = 0; v < VECTORS; v++) store(panel + v * LANES, row[v]);                       \
                    panel += TILE_COLUMNS;                                                                             \
                }                                                                                                      \
                UNROLLED for (int r = 0; r < ROWS; r++)                                                                \
                    UNROLLED for (int v = 0; v < VECTORS; v++) c[r][v] += rows[r / 3][r % 3 * a_row] * row[v];         \
                UNROLLED for (int r = 0; r < BASES; r++) rows[r] += a_column;                                          \
            }                                                                                                          \
        }                                                                                                              \
        UNROLLED for (int r = 0; r < ROWS; r++)                                                                        \
            UNROLLED for (int v = 0; v < VECTORS; v++) {                                                               \
                if (sums) c[r][v] += load(sums + r * TILE_COLUMNS + v * LANES);                                        \
                store(out + r * out_row + v * LANES, c[r][v]);                                                         \
            }                                                                                                          \
    }

TILE(1, TILE_ROWS_1, tile_1, 0, 0)
TILE(2, TILE_ROWS_2, tile_2, 0, 0)
TILE(3, TILE_ROWS_3, tile_3, 0, 0)
TILE(4, TILE_ROWS_4, tile_4, 0, 0)
TILE(2, TILE_ROWS_2, tile_2_fetching, 1, 0)
TILE(4, TILE_ROWS_4, tile_4_fetching, 1, 0)
TILE(2, TILE_ROWS_2, tile_2_copying, 1, 1)
TILE(4, TILE_ROWS_4, tile_4_copying, 1, 1)

TILE(TILE_VECTORS, LOW_ROWS, low_tile, 0, 0)

static const Tile tiles[] = {tile_1, tile_2, tile_3, tile_4};
static const Tile fetching_tiles[] __attribute__((unused)) = {tile_1, tile_2_fetching, tile_3, tile_4_fetching};
static const Tile copying_tile = TILE_VECTORS == 4 ? tile_4_copying : tile_2_copying;
static const long tile_rows[] = {TILE_ROWS_1, TILE_ROWS_2, TILE_ROWS_3, TILE_ROWS_4};

// Copies (k, columns) numbers to dense rows, filled up with zeros to whole vectors.
static void pack_panel(const float *b, long b_row, long b_column, long k, long columns, float *panel) {
    long filled = parts(columns, LANES) * LANES, i = 0;
    for (; b_row == 1 && i + LANES <= k; i += LANES)
        for (long j = 0; j < filled; j += LANES) {
            Vector square[LANES];
            UNROLLED for (int r = 0; r < LANES; r++)
                square[r] = j + r < columns ? load(b + (j + r) * b_column + i) : (Vector){0};
            transpose(square);
            UNROLLED for (int r = 0; r < LANES; r++) store(panel + (i + r) * filled + j, square[r]);
        }
    for (; i < k; i++) {
        float *to = panel + i * filled;
        const float *from = b + i * b_row;
        if (b_column == 1)
            copy_row(from, columns, to);
        else
            for (long j = 0; j < columns; j++) to[j] = from[j * b_column];
        for (long j = columns; j < filled; j++) to[j] = 0.0f;
    }
}

// Rows of A as columns that lie together, filled up with zeros, where there are fewer than a tile has.
static void pack_rows(const float *a, long a_row, long a_column, long rows, long k, long height, float *to) {
    for (long i = 0; i < k; i++)
        for (long r = 0; r < height; r++) to[i * height + r] = r < rows ? a[r * a_row + i * a_column] : 0.0f;
}

// A block of rows and columns, of which one lie together, of which each of `count` tiles fetches some.
static Later later(const float *at, long row, long column, long rows, long columns, long count) {
    if (row != 1 && column != 1) return (Later){0};
    Later l = {at, column == 1 ? row : column, parts(column == 1 ? columns : rows, LINE), column == 1 ? rows : columns, 0};
    l.each = parts(l.left, count * (K_BLOCK / CHUNK));
    return l;
}

// What the tiles of rows `first` to `last` and one panel fetch for those behind them, in the order of `multiply_block`: the next
// panel of B, and of A, where its columns are dense, the next block for the first panel and the next rows behind the last.
static Ahead behind_panel(const Product *p, const float *a, const float *b, long first, long last, long column, long k,
                          long begin, long end, long count) {
    int through = k + K_BLOCK >= end;
    long rows = last - first, next = through ? begin : k + K_BLOCK, depth = at_most(K_BLOCK, end - next);
    long next_column = through ? column + TILE_COLUMNS : column, columns = at_most(TILE_COLUMNS, p->n - next_column);
    Ahead ahead = {0};
    if (columns > 0)
        ahead.later[0] = later(b + next * p->b_row + next_column * p->b_column, p->b_row, p->b_column, depth, columns, count);
    if (p->a_row != 1) return ahead;
    a += next * p->a_column;
    if (!through && column == 0) ahead.later[1] = later(a + first, 1, p->a_column, rows, depth, count);
    if (columns <= 0) ahead.later[1] = later(a + last, 1, p->a_column, at_most(rows, p->m - last), depth, count);
    return ahead;
}

// What becomes of a tile: `finish`, or without one a copy in the dense rows of n numbers at `context`.
static void leave_tile(const Product *p, Finish finish, void *context, float *tile, long row, long column, long rows, long columns) {
    if (finish) {
        finish(context, tile, TILE_COLUMNS, row, column, rows, columns);
        return;
    }
    float *out = (float *)context + row * p->n + column;
    for (long r = 0; r < rows; r++, tile += TILE_COLUMNS, out += p->n) copy_row(tile, columns, out);
}

// Rows `first` to `last` of C, `columns` (at most TILE_COLUMNS) from `column` on, over k from `begin` to `end`. `above` rows of C
// belong to earlier products.
static void multiply_panel(const Product *p, const float *a, const float *b, long above, long first, long last, long column,
                           long columns, long begin, long end, Finish finish, void *context) {
    float panel[K_BLOCK * TILE_COLUMNS] __attribute__((aligned(64)));
    float sums[(MOST_ROWS + TALLEST) * TILE_COLUMNS] __attribute__((aligned(64)));
    float few[TALLEST * K_BLOCK];
    long vectors = parts(columns, LANES), height = tile_rows[vectors - 1];
    int packs = p->b_column != 1 || columns % LANES || last - first > 2 * height;
    int copies = packs && p->b_column == 1 && columns == TILE_COLUMNS;  // the first tile does
    int lonely = p->m < height, blocks = end - begin > K_BLOCK, fetches = p->fetching != NULL;
    int direct = !finish && columns % LANES == 0 && last - first >= height;  // tiles leave their sums where they belong
    long end_of_tiles = direct ? last : p->m;
    Tile tile = (fetches ? p->fetching : tiles)[vectors - 1];
    for (long k = begin; k == begin || k < end; k += K_BLOCK) {
        long depth = at_most(K_BLOCK, end - k);
        int finishes = k + depth >= end;
        const float *from = b + k * p->b_row + column * p->b_column, *left = a + k * p->a_column;
        if (packs && !copies) pack_panel(from, p->b_row, p->b_column, depth, columns, panel);
        if (lonely) pack_rows(left, p->a_row, p->a_column, p->m, depth, height, few);
        Ahead ahead = {0};
        if (fetches) ahead = behind_panel(p, a, b, first, last, column, k, begin, end, parts(last - first, height));
        float *own = sums;
        for (long row = first; row < last; row += height, own += blocks ? height * TILE_COLUMNS : 0) {
            int low = !lonely && vectors == TILE_VECTORS && last - row <= LOW_ROWS;
            long start = lonely ? 0 : at_most(row, end_of_tiles - (low ? LOW_ROWS : height));  // the last tile overlaps the one before
            if (fetches && !lonely && p->a_column == 1) ahead.a = left + at_most(row + height, p->m - height) * p->a_row;
            for (int s = 0; fetches && finishes && s < MOST_STREAMS && p->streams[s].at; s++) {
                const Stream all = p->streams[s];
                ahead.streams[s] = (Stream){all.at + (above + start) * all.row + column, all.row};
            }
            int copied = packs && !(copies && row == first), leaves = direct && finishes;
            (low ? low_tile : copied || !copies ? tile : copying_tile)(
                lonely ? few : left + start * p->a_row, lonely ? 1 : p->a_row, lonely ? height : p->a_column,
                copied ? panel : from, copied ? vectors * LANES : p->b_row, depth, k > begin ? own : NULL,
                leaves ? (float *)context + (above + start) * p->n + column : own, leaves ? p->n : TILE_COLUMNS, &ahead, panel);
            if (finishes && !direct)
                leave_tile(p, finish, context, own + (row - start) * TILE_COLUMNS, above + row, column,
                           at_most(height, last - row), columns);
        }
    }
}

typedef struct { long product, row, rows, column, columns; } Block;  // of C, that a task computes

static long blocks_of(const Product *p) {
    return p->outer * p->inner * parts(p->m, p->rows) * parts(p->n, p->columns);
}

static Block block_of(const Product *p, long index) {
    long down = parts(p->m, p->rows), across = parts(p->n, p->columns);
    long row = index / across % down * p->rows, column = index % across * p->columns;
    return (Block){index / down / across, row, at_most(p->rows, p->m - row), column, at_most(p->columns, p->n - column)};
}

// Where C is narrower than a vector, or few columns are left over from its panels, and rows of A and columns of B are dense and
// long, vectors run along k, and nothing is packed. A tile has as many sums as a vector has lanes, so that their lanes are added
// up together.

enum { DOT_COLUMNS = 2, DOT_ROWS = LANES / DOT_COLUMNS };

// How many columns, the last ones.
static inline long columns_along_rows(const Product *p) {
    int dense = p->k >= 8 * LANES && p->a_column == 1 && p->b_row == 1;
    long last = p->n < LANES ? p->n : p->n % TILE_COLUMNS;
    return dense && (p->n < LANES || last <= 2 * DOT_COLUMNS) ? last : 0;
}

// The sum of each of LANES vectors.
static inline __attribute__((always_inline)) Vector sums_of(Vector *v) {
    UNROLLED for (int n = LANES / 2; n; n /= 2)
        UNROLLED for (int i = 0; i < n; i++)
            v[i] = PAIRS(v[i], v[i + n], LOWER_PAIRS) + PAIRS(v[i], v[i + n], UPPER_PAIRS);
    return v[0];
}

// What n numbers of each row and column add to their products.
static inline __attribute__((always_inline)) void add_dots(Vector *c, const float *const *rows, const float *const *columns,
                                                          long i, long n) {
    Vector right[DOT_COLUMNS];
    UNROLLED for (int j = 0; j < DOT_COLUMNS; j++) right[j] = load_some(columns[j] + i, n);
    UNROLLED for (int r = 0; r < DOT_ROWS; r++) {
        const Vector left = load_some(rows[r] + i, n);
        UNROLLED for (int j = 0; j < DOT_COLUMNS; j++) c[r * DOT_COLUMNS + j] += left * right[j];
    }
}

// The products of each row with each column, one row after the other.
static inline Vector dots_of(const float *const *rows, const float *const *columns, long k) {
    Vector c[LANES];
    UNROLLED for (int i = 0; i < LANES; i++) c[i] = (Vector){0};
    long i = 0;
    for (; i + LANES <= k; i += LANES) add_dots(c, rows, columns, i, LANES);
    if (i < k) add_dots(c, rows, columns, i, k - i);
    return sums_of(c);
}

static void multiply_along_rows(const Product *p, Block c, const float *a, const float *b, long begin, long end, Finish finish,
                                void *context) {
    float tile[DOT_ROWS * TILE_COLUMNS];
    const float *rows[DOT_ROWS], *columns[DOT_COLUMNS];  // the last one again where there are no more
    for (long row = c.row; row < c.row + c.rows; row += DOT_ROWS) {
        for (long r = 0; r < DOT_ROWS; r++) rows[r] = a + at_most(row + r, p->m - 1) * p->a_row + begin;
        for (long column = c.column; column < c.column + c.columns; column += DOT_COLUMNS) {
            for (long j = 0; j < DOT_COLUMNS; j++) columns[j] = b + at_most(column + j, p->n - 1) * p->b_column + begin;
            float dots[LANES];
            store(dots, dots_of(rows, columns, end - begin));
            UNROLLED for (int r = 0; r < DOT_ROWS; r++)
                memcpy(tile + r * TILE_COLUMNS + column - c.column, dots + r * DOT_COLUMNS, DOT_COLUMNS * sizeof *dots);
        }
        leave_tile(p, finish, context, tile, c.product * p->m + row, c.column, at_most(DOT_ROWS, c.row + c.rows - row), c.columns);
    }
}

static void multiply_block(const Product *p, Block c, const float *a, const float *b, long begin, long end, Finish finish,
                           void *context) {
    long along = at_most(c.columns, at_least(c.column + c.columns + columns_along_rows(p) - p->n, 0));
    c.columns -= along;
    long together = end - begin > K_BLOCK ? MOST_ROWS : c.rows;
    for (long row = c.row; row < c.row + c.rows; row += together)
        for (long column = c.column; column < c.column + c.columns; column += TILE_COLUMNS)
            multiply_panel(p, a, b, c.product * p->m, row, at_most(row + together, c.row + c.rows), column,
                           at_most(TILE_COLUMNS, c.column + c.columns - column), begin, end, finish, context);
    c.column += c.columns, c.columns = along;
    if (along) multiply_along_rows(p, c, a, b, begin, end, finish, context);
}

static void multiply_block_of(const Product *p, long index, long begin, long end, Finish finish, void *context) {
    Block c = block_of(p, index);
    const float *a = p->a + c.product / p->inner * p->a_outer + c.product % p->inner * p->a_inner;
    const float *b = p->b + c.product / p->inner * p->b_outer + c.product % p->inner * p->b_inner;
    multiply_block(p, c, a, b, begin, end, finish, context);
}

static void product_task(void *argument, long index) {
    const Product *p = argument;
    multiply_block_of(p, index, 0, p->k, p->finish, p->context);
}

static void part_task(void *argument, long index) {
    const Product *p = argument;
    long blocks = blocks_of(p), begin = index / blocks * p->depth;
    float *sums = p->scratch + index / blocks * p->outer * p->inner * p->m * p->n;
    multiply_block_of(p, index % blocks, begin, at_most(begin + p->depth, p->k), NULL, sums);
}

static void sum_task(void *argument, long index) {
    const Product *p = argument;
    Block c = block_of(p, index);
    float sums[TILE_COLUMNS] __attribute__((aligned(64)));
    for (long r = c.product * p->m + c.row; r < c.product * p->m + c.row + c.rows; r++)
        for (long column = c.column; column < c.column + c.columns; column += TILE_COLUMNS) {
            long columns = at_most(TILE_COLUMNS, c.column + c.columns - column);
            const float *from = p->scratch + r * p->n + column;
            memcpy(sums, from, (size_t)columns * sizeof *sums);
            for (long part = 1; part < parts(p->k, p->depth); part++) {
                from += p->outer * p->inner * p->m * p->n;
                for (long j = 0; j < columns; j++) sums[j] += from[j];
            }
            leave_tile(p, p->finish, p->context, sums, r, column, 1, columns);
        }
}

static void multiply_matrices(Product *p) {
    if (p->depth >= p->k) {
        parallel(product_task, p, blocks_of(p));
        return;
    }
    parallel(part_task, p, blocks_of(p) * parts(p->k, p->depth));
    parallel(sum_task, p, blocks_of(p));
}

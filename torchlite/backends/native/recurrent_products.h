// Products in tile registers, and work of vectors beside them: while tiles are multiplied, vectors compute the cells of an LSTM, of
// the units or of the step before. Right operands are packed as `recurrent_weight.h` does it; without tile registers rows of
// bfloat16 are multiplied in vectors.

enum {
    LSTM_TILES = 4,  // of 16 columns, whose sums are in tile registers at once: the gates of 16 units, or 64 units
    LSTM_COLUMNS = LSTM_TILES * BF16_SIDE,
    LSTM_WORDS = LSTM_TILES * BF16_TILE,
};

// The tiles of one depth: of rows, and of packed columns.
typedef struct { const uint16_t *left; const uint32_t *right; } Depth;

// Work in pieces that vectors do while tile registers multiply: a piece, where it is given the tiles of one depth, also multiplies
// them, some after each of its parts, because a processor does not look ahead over a whole piece. The first `alone` depths need
// nothing that the work leaves, others `each` pieces more.
typedef void (*Piece)(void *of, long index, const Depth *depth);
typedef struct {
    Piece piece;
    void *of;
    long next, count, alone, each;
} Beside;

static inline void do_pieces(Beside *b, long count) {
    for (; b->next < at_most(count, b->count); b->next++) b->piece(b->of, b->next, NULL);
}

#ifdef __AMX_BF16__
static inline __attribute__((always_inline)) void load_rows(const Depth *depth, const int terms) {
    enum { ROW = BF16_SIDE * sizeof(uint32_t) };
    _tile_loadd(4, depth->left, ROW);
    if (terms > 1) _tile_loadd(5, depth->left + BF16_NUMBERS, ROW);
    if (terms > 2) _tile_loadd(6, depth->left + 2 * BF16_NUMBERS, ROW);
}

// Tile registers 0 to 3 += the rows times some of the columns' tiles, which are needed once and go past the first-level cache.
static inline __attribute__((always_inline)) void multiply_tiles(const Depth *depth, const int first, const int last,
                                                                 const int terms) {
    UNROLLED for (int i = first; i < last; i++) {
        const int term = i % terms;  // of 1 or 3, so that each meets all 4 tiles
        _tile_stream_loadd(7, depth->right + (term * LSTM_TILES + i % LSTM_TILES) * BF16_TILE, BF16_SIDE * sizeof(uint32_t));
#define SUMS(tile)                                                                                                     \
    if (i % LSTM_TILES == tile) {                                                                                      \
        _tile_dpbf16ps(tile, 4, 7);                                                                                    \
        if (terms - term > 1) _tile_dpbf16ps(tile, 5, 7);                                                              \
        if (terms - term > 2) _tile_dpbf16ps(tile, 6, 7);                                                              \
    }
        SUMS(0)
        SUMS(1)
        SUMS(2)
        SUMS(3)
#undef SUMS
    }
}
#else
static inline void load_rows(const Depth *depth, int terms) { (void)depth, (void)terms; }
static inline void multiply_tiles(const Depth *depth, int first, int last, int terms) {
    (void)depth, (void)first, (void)last, (void)terms;
}
#endif

static inline __attribute__((always_inline)) void multiply_depth(const Depth *depth, const int terms) {
    load_rows(depth, terms);
    multiply_tiles(depth, 0, LSTM_TILES * terms, terms);
}

// The share of a depth that is multiplied before one of some parts of a piece.
static inline __attribute__((always_inline)) void multiply_beside(const Depth *depth, const int part, const int all,
                                                                  const int terms) {
    if (depth) multiply_tiles(depth, LSTM_TILES * terms * part / all, LSTM_TILES * terms * (part + 1) / all, terms);
}

// Some rows of bfloat16 times a vector of columns of each of two tiles. Two vectors for each number of a row: one would need more
// loads than multiplications, and have too few sums under way.
static inline __attribute__((always_inline)) void vector_sums(const uint16_t *left, const uint32_t *right, long depth, float *sums,
                                                              long sums_step, Needed *needed) {
    Bf16Sums sum[BF16_ROWS][2];
    Lines lines = needed_lines(needed, depth * BF16_SIDE, left);
    UNROLLED for (int r = 0; r < BF16_ROWS; r++) UNROLLED for (int v = 0; v < 2; v++) sum[r][v] = (Bf16Sums){0};
    for (long d = 0; d < depth; d++, left += BF16_NUMBERS, right += LSTM_WORDS)
        for (long pair = 0; pair < BF16_SIDE; pair++) {
            fetch_line(&lines);
            UNROLLED for (int r = 0; r < BF16_ROWS; r++)
                UNROLLED for (int v = 0; v < 2; v++)
                    sum[r][v] = bf16_dot(sum[r][v], bf16_pair(left + r * BF16_DEPTH + 2 * pair),
                                         right + pair * BF16_SIDE + v * BF16_TILE);
        }
    UNROLLED for (int r = 0; r < BF16_ROWS; r++)
        UNROLLED for (int v = 0; v < 2; v++) store(sums + r * sums_step + v * BF16_SIDE, (Vector)sum[r][v]);
}

// sums (16 rows, 64 columns) = rows times packed columns, [tile][term][column]. Tiles are taken from `stretches` stretches of the
// depth in turn. Vectors compute no more rows than whole groups of BF16_ROWS that hold `rows`, and fetch what is needed.
static inline __attribute__((always_inline)) void tile_sums(int tiles, const uint16_t *left, const uint32_t *right, long depth,
                                                            long stretches, long rows, float *sums, long sums_step,
                                                            Beside *beside, Needed *needed, const int terms) {
#ifdef __AMX_BF16__
    if (tiles) {
        __asm__ volatile("" ::: "memory");  // compilers don't know what tiles are loaded from
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
        for (long i = 0; i < depth; i++) {
            long d = i % stretches * (depth / stretches) + i / stretches;
            const Depth at = {left + d * terms * BF16_NUMBERS, right + d * terms * LSTM_WORDS};
            if (i >= beside->alone) do_pieces(beside, ((i - beside->alone) / stretches + 1) * beside->each);
            if (beside->next < beside->count) beside->piece(beside->of, beside->next++, &at);
            else multiply_depth(&at, terms);
        }
        _tile_stored(0, sums, sums_step * sizeof *sums);
        _tile_stored(1, sums + BF16_SIDE, sums_step * sizeof *sums);
        _tile_stored(2, sums + 2 * BF16_SIDE, sums_step * sizeof *sums);
        _tile_stored(3, sums + 3 * BF16_SIDE, sums_step * sizeof *sums);
        return;
    }
#else
    (void)tiles, (void)stretches;
#endif
    do_pieces(beside, beside->count);
    if (terms > 1) return;  // only where there are tiles
    for (long first = 0; first < rows; first += BF16_ROWS)
        for (int tile = 0; tile < LSTM_TILES; tile += 2)
            for (int column = 0; column < BF16_SIDE; column += BF16_WIDE)
                vector_sums(left + first * BF16_DEPTH, right + tile * BF16_TILE + column, depth,
                            sums + first * sums_step + tile * BF16_SIDE + column, sums_step, needed);
}

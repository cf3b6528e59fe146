// Products of matrices that lie in the caches, read and written where they are: no copies, no allocation.

enum { STRIP_ROWS = REGISTERS >= 32 ? 8 : 4 };

typedef struct {
    const float *at;
    long row, column;  // steps between rows and between the numbers of a row
} Matrix;

typedef struct {
    float *at;
    long row;
    const float *factor;  // of each row, or of all where factor_step is 0
    long factor_step;
    int adding;
} Target;

// `height` rows and `width` vectors of factor * x y, in registers. `dense_rows` says which step of x is 1: that between rows,
// or else that between columns.
static inline __attribute__((always_inline)) void strip_product(const int height, const int width, const int dense_rows,
                                                               Matrix x, Matrix y, long k, Target out) {
    Vector sum[STRIP_ROWS][2];
    UNROLLED for (int r = 0; r < height; r++)
        UNROLLED for (int v = 0; v < width; v++) sum[r][v] = (Vector){0.0f};
    for (long i = 0; i < k; i++) {
        Vector row[2];
        UNROLLED for (int v = 0; v < width; v++) row[v] = load(y.at + i * y.row + v * LANES);
        UNROLLED for (int r = 0; r < height; r++)
            UNROLLED for (int v = 0; v < width; v++) sum[r][v] += (dense_rows ? x.at[r + i * x.column] : x.at[r * x.row + i]) * row[v];
    }
    UNROLLED for (int r = 0; r < height; r++)
        UNROLLED for (int v = 0; v < width; v++) {
            float *to = out.at + r * out.row + v * LANES;
            Vector result = sum[r][v] * out.factor[r * out.factor_step];
            store(to, out.adding ? load(to) + result : result);
        }
}

#define STRIP_OF(height)                                            \
    for (; rows >= height; rows -= height) {                       \
        strip_product(height, width, dense_rows, x, y, k, out);     \
        x.at += height * x.row;                                    \
        out.at += height * out.row;                                \
        out.factor += height * out.factor_step;                    \
    }

static inline __attribute__((always_inline)) void rows_of_strips(const int width, const int dense_rows, Matrix x,
                                                            Matrix y, long k, Target out, long rows) {
    STRIP_OF(STRIP_ROWS)
    STRIP_OF(4)
    STRIP_OF(1)
}

static inline __attribute__((always_inline)) void strip_panels(const int dense_rows, Matrix x, Matrix y, long k, Target out,
                                                              long rows, long columns) {
    for (; columns >= 2 * LANES; columns -= 2 * LANES) {
        rows_of_strips(2, dense_rows, x, y, k, out, rows);
        y.at += 2 * LANES;
        out.at += 2 * LANES;
    }
    if (columns > 0) rows_of_strips(1, dense_rows, x, y, k, out, rows);
}

// out = or += factor * x y, with x (rows, k), of which one step is 1, and y (k, columns), whose rows are dense and columns
// whole vectors.
static void multiply_strips(Matrix x, Matrix y, long k, Target out, long rows, long columns) {
    if (x.row == 1) strip_panels(1, x, y, k, out, rows, columns);
    else strip_panels(0, x, y, k, out, rows, columns);
}

static inline long whole_lanes(long columns) { return parts(columns, LANES) * LANES; }

// Rows of whole vectors: where they lie, or copied to `scratch`, which moves on, and filled up with zeros.
static Matrix with_whole_lanes(const float *from, long row, long rows, long columns, float **scratch) {
    long width = whole_lanes(columns);
    if (width == columns) return (Matrix){from, row, 1};
    float *to = *scratch;
    for (long r = 0; r < rows; r++) {
        memcpy(to + r * width, from + r * row, (size_t)columns * sizeof *to);
        memset(to + r * width + columns, 0, (size_t)(width - columns) * sizeof *to);
    }
    *scratch += rows * width;
    return (Matrix){to, width, 1};
}

// Products of matrices with a dense result, to whose columns a bias may be added.

typedef struct { float *out; const float *bias; long n; } Dense;

static void add_bias(void *context, float *tile, long tile_step, long row, long column, long rows, long columns) {
    const Dense *d = context;
    for (long r = 0; r < rows; r++, tile += tile_step) {
        float *out = d->out + (row + r) * d->n + column;
#pragma omp simd
        for (long j = 0; j < columns; j++) out[j] = tile[j] + d->bias[column + j];
    }
}

// Returns whether there was memory enough. `sizes` are the numbers of a Product from m to depth.
int product(const float *a, const float *b, const float *bias, float *out, const int64_t *sizes) {
    Dense dense = {out, bias, sizes[1]};
    Product p = {.a = a, .b = b, .finish = bias ? add_bias : NULL, .context = bias ? (void *)&dense : out};
    long *fields[] = {&p.m, &p.n, &p.k, &p.a_row, &p.a_column, &p.b_row, &p.b_column, &p.outer, &p.inner, &p.a_outer,
                      &p.a_inner, &p.b_outer, &p.b_inner, &p.rows, &p.columns, &p.depth};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) *fields[i] = (long)sizes[i];
    if (p.depth < p.k) {
        p.scratch = malloc((size_t)(parts(p.k, p.depth) * p.outer * p.inner * p.m * p.n) * sizeof *p.scratch);
        if (!p.scratch) return 0;
    }
    multiply_matrices(&p);
    free(p.scratch);
    return 1;
}

static int is_matrix(const NumpyArray *a) {
    enum { SIZE = sizeof(float) };  // an int, because strides may be negative
    return is_float32(a) && a->dimensions == 2 && a->strides[0] % SIZE == 0 && a->strides[1] % SIZE == 0;
}

// Whether tiles compute little beside what is wanted, and packed columns meet enough rows.
static int fills_tiles(const Product *p) {
    if (p->n < LANES && columns_along_rows(p)) return p->m >= DOT_ROWS && p->n >= DOT_COLUMNS;
    long height = tile_rows[parts(at_most(p->n, TILE_COLUMNS), LANES) - 1];
    return p->m >= (p->b_column != 1 ? at_least(height, 16) : height) && 3 * parts(p->m, height) * height <= 4 * p->m &&
           3 * parts(p->n, LANES) * LANES <= 5 * p->n;
}

// A product that is too small for several threads; None where it is left to NumPy.
void *small_product(const NumpyArray *x, const NumpyArray *y, const NumpyArray *bias) {
    enum { SIZE = sizeof(float) };
    if (!x || !y) return python.fail(python.type_error, "small_product expects a matrix on either side");
    if (!is_matrix(x) || !is_matrix(y) || x->shape[1] != y->shape[0]) return nothing();
    Product p = {.a = x->data, .b = y->data, .m = x->shape[0], .n = y->shape[1], .k = x->shape[1],
                 .a_row = x->strides[0] / SIZE, .a_column = x->strides[1] / SIZE,
                 .b_row = y->strides[0] / SIZE, .b_column = y->strides[1] / SIZE};
    if (p.n < 1 || !fills_tiles(&p)) return nothing();
    if (bias && (!is_dense_float32(bias) || bias->dimensions != 1 || bias->shape[0] != p.n)) return nothing();
    NumpyArray *out = new_matrix(p.m, p.n);
    if (!out) return NULL;
    Dense dense = {out->data, bias ? bias->data : NULL, p.n};
    Block all = {0, 0, p.m, 0, p.n};
    multiply_block(&p, all, p.a, p.b, 0, p.k, bias ? add_bias : NULL, bias ? (void *)&dense : out->data);
    return out;
}

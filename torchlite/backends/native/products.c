// Products of matrices with a dense result, to whose columns a bias may be added.

typedef struct { float *out; const float *bias; long n; } Dense;

static void to_dense(void *context, float *tile, long tile_step, long row, long column, long rows, long columns) {
    const Dense *d = context;
    for (long r = 0; r < rows; r++, tile += tile_step) {
        float *out = d->out + (row + r) * d->n + column;
        if (d->bias) {
#pragma omp simd
            for (long j = 0; j < columns; j++) out[j] = tile[j] + d->bias[column + j];
        } else if (columns == TILE_COLUMNS) {
            memcpy(out, tile, TILE_COLUMNS * sizeof *out);  // of a constant size, which takes no call
        } else {
            memcpy(out, tile, (size_t)columns * sizeof *out);
        }
    }
}

// Returns whether there was memory enough. `sizes` are the numbers of a Product from m to depth.
int product(const float *a, const float *b, const float *bias, float *out, const int64_t *sizes) {
    Dense dense = {out, bias, sizes[1]};
    Product p = {.a = a, .b = b, .finish = to_dense, .context = &dense};
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

// Both return whether every number is that of a row; otherwise they do nothing.

int embedding_rows(const float *table, const int64_t *numbers, float *out, long count, long rows, long width) {
    Embedding e = {table, numbers, out, count, rows, width, 0};
    if (!all_rows_exist(&e)) return 0;
    embedding(&e);
    return 1;
}

int embedding_sums(const float *values, const int64_t *numbers, float *out, long count, long rows, long width) {
    Embedding e = {values, numbers, out, count, rows, width, 0};
    if (!all_rows_exist(&e)) return 0;
    embedding_grad(&e);
    return 1;
}

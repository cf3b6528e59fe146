// Returns the first row whose target is no class, or -1 where all are.
long cross_entropy_values(const float *x, const int64_t *target, float *out, float *lse, float *count, long rows, long classes,
                          long ignored, long reduction) {
    CrossEntropy c = {.x = x, .target = target, .out = out, .out_lse = lse, .out_count = count, .rows = rows,
                      .classes = classes, .ignored = ignored, .reduction = reduction};
    return cross_entropy(&c);
}

void cross_entropy_gradient(const float *g, const float *x, const int64_t *target, const float *lse, const float *count,
                            float *out, long rows, long classes, long ignored, long reduction) {
    CrossEntropy c = {.g = g, .x = x, .target = target, .lse = lse, .count = count, .out = out, .rows = rows,
                      .classes = classes, .ignored = ignored, .reduction = reduction};
    cross_entropy_grad(&c);
}

void layer_norm_values(const float *x, const float *weight, const float *bias, float *out, float *mean, float *scale, long rows,
                       long n, float eps) {
    LayerNorm l = {.x = x, .weight = weight, .bias = bias, .out = out, .out_mean = mean, .out_scale = scale, .rows = rows,
                   .n = n, .eps = eps};
    layer_norm(&l);
}

// Returns whether there was memory enough.
int layer_norm_gradients(const float *g, const float *x, const float *mean, const float *scale, const float *weight, float *out,
                         float *d_weight, float *d_bias, long rows, long n) {
    LayerNorm l = {.g = g, .x = x, .mean = mean, .scale = scale, .weight = weight, .out = out, .d_weight = d_weight,
                   .d_bias = d_bias, .rows = rows, .n = n};
    l.scratch = malloc((size_t)layer_norm_scratch(&l) * sizeof *l.scratch);
    if (!l.scratch) return 0;
    layer_norm_grad(&l);
    free(l.scratch);
    return 1;
}

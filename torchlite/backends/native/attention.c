// Both return whether there was memory enough.

int attention(const float *q, const float *k, const float *v, const float *mask, float *out, const Geometry *a, float scale) {
    long tasks = attention_tasks(attention_blocks(a));
    Attention t = {.q = q, .k = k, .v = v, .mask = mask, .out = out, .geometry = a, .scale = scale,
                   .scratch = malloc((size_t)(tasks * attention_scratch(a, 0)) * sizeof(float))};
    if (!t.scratch) return 0;
    parallel(attention_task, &t, tasks);
    free(t.scratch);
    return 1;
}

int attention_grad(const float *q, const float *k, const float *v, const float *mask, const float *g, float *dq, float *dk,
                   float *dv, const Geometry *a, float scale) {
    long tasks = attention_tasks(a->batches * a->heads);
    Attention t = {.q = q, .k = k, .v = v, .mask = mask, .g = g, .dq = dq, .dk = dk, .dv = dv, .geometry = a, .scale = scale,
                   .scratch = malloc((size_t)(tasks * attention_scratch(a, 1)) * sizeof(float))};
    if (!t.scratch) return 0;
    parallel(attention_grad_task, &t, tasks);
    free(t.scratch);
    return 1;
}

// Both return whether there was memory enough.

static int run_tasks(Attention *t, Task task, long tasks, int gradient) {
    long each = attention_scratch(t->geometry, gradient), on_stack = attention_on_stack(each);
    t->scratch = on_stack ? NULL : malloc((size_t)(tasks * each) * sizeof(float));
    if (!on_stack && !t->scratch) return 0;
    parallel(task, t, tasks);
    free(t->scratch);
    return 1;
}

KERNEL int attention(const float *q, const float *k, const float *v, const float *mask, float *out, const Geometry *a,
                     float scale) {
    Attention t = {.q = q, .k = k, .v = v, .mask = mask, .out = out, .geometry = a, .scale = scale};
    return run_tasks(&t, attention_task, attention_tasks(attention_blocks(a)), 0);
}

KERNEL int attention_grad(const float *q, const float *k, const float *v, const float *mask, const float *g, float *dq,
                          float *dk, float *dv, const Geometry *a, float scale) {
    Attention t = {.q = q, .k = k, .v = v, .mask = mask, .g = g, .dq = dq, .dk = dk, .dv = dv, .geometry = a, .scale = scale};
    return run_tasks(&t, attention_grad_task, attention_tasks(a->batches * a->heads), 1);
}

// All return whether there was memory enough.

static int forward(Task task, Recurrent r, const float *w_hh, long gates) {
    float *panels = malloc((size_t)(gates * whole_lanes(r.of.width) * r.of.width) * sizeof *panels);
    if (!panels) return 0;
    pack_gates(w_hh, gates, r.of.width, panels);
    r.panels = panels;
    parallel(task, &r, recurrent_tasks(r.of.samples));
    free(panels);
    return 1;
}

int lstm(const float *gates, const float *h0, const float *c0, const float *w_hh, float *out_h, float *out_c, float *kept,
         const int64_t *batch_sizes, long steps, long samples, long width, long reverse) {
    return forward(lstm_task, (Recurrent){.gates = gates, .h0 = h0, .c0 = c0, .out_h = out_h, .out_c = out_c,
                   .out_kept = kept, .of = {batch_sizes, steps, samples, width, reverse}}, w_hh, 4);
}

int gru(const float *gates, const float *h0, const float *w_hh, const float *bias, float *out_h, float *kept,
        const int64_t *batch_sizes, long steps, long samples, long width, long reverse) {
    return forward(gru_task, (Recurrent){.gates = gates, .h0 = h0, .bias = bias, .out_h = out_h, .out_kept = kept,
                   .of = {batch_sizes, steps, samples, width, reverse}}, w_hh, 3);
}

static float *gradient_room(long gates, long samples, long width) {
    return malloc((size_t)(recurrent_tasks(samples) * recurrent_scratch(width) + gates * width * whole_lanes(width)) *
                  sizeof(float));
}

int lstm_grad(const float *kept, const float *c0, const float *w_hh, const float *cs, const float *g_h, const float *g_c,
              float *d_gates, float *d_h0, float *d_c0, const int64_t *batch_sizes, long steps, long samples, long width,
              long reverse) {
    float *room = gradient_room(4, samples, width), *scratch = room + 4 * width * whole_lanes(width);
    if (!room) return 0;
    Recurrent l = {.kept = kept, .c0 = c0, .cs = cs, .g_h = g_h, .g_c = g_c, .d_gates = d_gates, .scratch = scratch,
                   .d_h0 = d_h0, .d_c0 = d_c0, .panels = rows_of_weight(w_hh, 4, width, room),
                   .of = {batch_sizes, steps, samples, width, reverse}};
    parallel(lstm_grad_task, &l, recurrent_tasks(samples));
    free(room);
    return 1;
}

int gru_grad(const float *kept, const float *h0, const float *w_hh, const float *hs, const float *g_h, float *d_gates,
             float *d_own, float *d_h0, const int64_t *batch_sizes, long steps, long samples, long width, long reverse) {
    float *room = gradient_room(3, samples, width), *scratch = room + 3 * width * whole_lanes(width);
    if (!room) return 0;
    Recurrent g = {.kept = kept, .h0 = h0, .hs = hs, .g_h = g_h, .d_gates = d_gates, .d_own = d_own, .scratch = scratch,
                   .d_h0 = d_h0, .panels = rows_of_weight(w_hh, 3, width, room),
                   .of = {batch_sizes, steps, samples, width, reverse}};
    parallel(gru_grad_task, &g, recurrent_tasks(samples));
    free(room);
    return 1;
}

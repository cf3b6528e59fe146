// All return whether there was memory enough.

// Floats at the beginning of a cache line, which vectors then don't cross.
static float *room_for(long count) { return aligned_alloc(64, (size_t)parts(count * (long)sizeof(float), 64) * 64); }

static int forward(Task task, Recurrent r, const float *w_hh, long gates) {
    float *panels = room_for(gates * whole_lanes(r.of.width) * r.of.width);
    if (!panels) return 0;
    pack_gates(w_hh, gates, r.of.width, panels);
    r.panels = panels;
    parallel(task, &r, recurrent_tasks(r.of.samples));
    free(panels);
    return 1;
}

// The LSTM and its gradient in tiles, of bfloat16 or float32.
static int in_tiles(TiledLstm l, int gradient, void (*run)(TiledLstm *), int terms) {
    long bytes = tiled_lstm_scratch(l.of.samples, l.of.width, gradient, terms, 2);
    l.scratch = aligned_alloc(64, (size_t)parts(bytes, 64) * 64);
    if (!l.scratch) return 0;
    run(&l);
    free(l.scratch);
    return 1;
}

KERNEL int lstm_bfloat16(const uint16_t *gates, const uint16_t *h0, const uint16_t *c0, const uint16_t *w_hh,
                  uint16_t *out_h, uint16_t *out_c, uint16_t *kept, const int64_t *batch_sizes, long steps, long samples, long width,
                  long reverse) {
    return in_tiles((TiledLstm){.gates = gates, .h0 = h0, .c0 = c0, .w_hh = w_hh, .out_h = out_h, .out_c = out_c,
                    .out_kept = kept, .of = {batch_sizes, steps, samples, width, reverse}}, 0, tiled_lstm_bfloat16, 1);
}

KERNEL int lstm(const float *gates, const float *h0, const float *c0, const float *w_hh, float *out_h, float *out_c, float *kept,
         const int64_t *batch_sizes, long steps, long samples, long width, long reverse) {
    if (bf16_tiles_allowed() && width % BF16_SIDE == 0)
        return in_tiles((TiledLstm){.gates = gates, .h0 = h0, .c0 = c0, .w_hh = w_hh, .out_h = out_h, .out_c = out_c,
                        .out_kept = kept, .of = {batch_sizes, steps, samples, width, reverse}}, 0, tiled_lstm_float32,
                        FLOAT_TERMS);
    return forward(lstm_task, (Recurrent){.gates = gates, .h0 = h0, .c0 = c0, .out_h = out_h, .out_c = out_c,
                   .out_kept = kept, .of = {batch_sizes, steps, samples, width, reverse}}, w_hh, 4);
}

KERNEL int gru(const float *gates, const float *h0, const float *w_hh, const float *bias, float *out_h, float *kept,
        const int64_t *batch_sizes, long steps, long samples, long width, long reverse) {
    return forward(gru_task, (Recurrent){.gates = gates, .h0 = h0, .bias = bias, .out_h = out_h, .out_kept = kept,
                   .of = {batch_sizes, steps, samples, width, reverse}}, w_hh, 3);
}

static float *gradient_room(long gates, long samples, long width) {
    return room_for(recurrent_tasks(samples) * recurrent_scratch(width) + gates * width * whole_lanes(width));
}

KERNEL int lstm_grad_bfloat16(const uint16_t *kept, const uint16_t *c0, const uint16_t *w_hh, const uint16_t *cs,
                              const uint16_t *g_h, const uint16_t *g_c, uint16_t *d_gates, uint16_t *d_h0, uint16_t *d_c0,
                              const int64_t *batch_sizes, long steps, long samples, long width, long reverse) {
    return in_tiles((TiledLstm){.kept = kept, .c0 = c0, .w_hh = w_hh, .cs = cs, .g_h = g_h, .g_c = g_c, .d_gates = d_gates,
                    .d_h0 = d_h0, .d_c0 = d_c0, .of = {batch_sizes, steps, samples, width, reverse}},
                    1, tiled_lstm_grad_bfloat16, 1);
}

KERNEL int lstm_grad(const float *kept, const float *c0, const float *w_hh, const float *cs, const float *g_h, const float *g_c,
              float *d_gates, float *d_h0, float *d_c0, const int64_t *batch_sizes, long steps, long samples, long width,
              long reverse) {
    if (bf16_tiles_allowed() && width % BF16_SIDE == 0)
        return in_tiles((TiledLstm){.kept = kept, .c0 = c0, .w_hh = w_hh, .cs = cs, .g_h = g_h, .g_c = g_c, .d_gates = d_gates,
                        .d_h0 = d_h0, .d_c0 = d_c0, .of = {batch_sizes, steps, samples, width, reverse}},
                        1, tiled_lstm_grad_float32, FLOAT_TERMS);
    float *room = gradient_room(4, samples, width), *scratch = room + 4 * width * whole_lanes(width);
    if (!room) return 0;
    Recurrent l = {.kept = kept, .c0 = c0, .cs = cs, .g_h = g_h, .g_c = g_c, .d_gates = d_gates, .scratch = scratch,
                   .d_h0 = d_h0, .d_c0 = d_c0, .panels = rows_of_weight(w_hh, 4, width, room),
                   .of = {batch_sizes, steps, samples, width, reverse}};
    parallel(lstm_grad_task, &l, recurrent_tasks(samples));
    free(room);
    return 1;
}

KERNEL int gru_grad(const float *kept, const float *h0, const float *w_hh, const float *hs, const float *g_h, float *d_gates,
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

// Bytes of scratch memory of the LSTM in tiles, and of its gradient, with numbers of so many terms, kept of so many steps.
KERNEL long tiled_scratch(long samples, long width, long gradient, long terms, long steps) {
    return tiled_lstm_scratch(samples, width, (int)gradient, (int)terms, steps);
}

// The LSTM in bfloat16 and its gradient. Both return whether there was memory enough.

long weight_bytes(long width, int gradient) { return bf16_weight_bytes(width, gradient); }

long task_bytes(long width, int gradient) { return bf16_lstm_scratch(width, gradient); }

// The packed weight, and behind it what tasks need.
static void *room_of(long samples, long width, int gradient) {
    long bytes = bf16_weight_bytes(width, gradient) + recurrent_tasks(samples) * bf16_lstm_scratch(width, gradient);
    return aligned_alloc(64, (size_t)parts(bytes, 64) * 64);
}

int lstm(const uint16_t *gates, const uint16_t *h0, const uint16_t *c0, const uint16_t *w_hh, uint16_t *out_h, uint16_t *out_c,
         uint16_t *kept, const int64_t *batch_sizes, long steps, long samples, long width, long reverse) {
    char *room = room_of(samples, width, 0);
    if (!room) return 0;
    bf16_pack_gates(w_hh, width, (uint32_t *)room);
    parallel(bf16_lstm_task, &(Bf16Lstm){.gates = gates, .h0 = h0, .c0 = c0, .out_h = out_h, .out_c = out_c, .out_kept = kept,
             .weight = (uint32_t *)room, .scratch = room + bf16_weight_bytes(width, 0),
             .of = {batch_sizes, steps, samples, width, reverse}}, recurrent_tasks(samples));
    free(room);
    return 1;
}

int lstm_grad(const uint16_t *kept, const uint16_t *c0, const uint16_t *w_hh, const uint16_t *cs, const uint16_t *g_h,
              const uint16_t *g_c, uint16_t *d_gates, uint16_t *d_h0, uint16_t *d_c0, const int64_t *batch_sizes, long steps,
              long samples, long width, long reverse) {
    char *room = room_of(samples, width, 1);
    if (!room) return 0;
    bf16_pack_units(w_hh, width, (uint32_t *)room);
    parallel(bf16_lstm_grad_task, &(Bf16Lstm){.kept = kept, .c0 = c0, .cs = cs, .g_h = g_h, .g_c = g_c, .d_gates = d_gates,
             .d_h0 = d_h0, .d_c0 = d_c0, .weight = (uint32_t *)room, .scratch = room + bf16_weight_bytes(width, 1),
             .of = {batch_sizes, steps, samples, width, reverse}}, recurrent_tasks(samples));
    free(room);
    return 1;
}

// What comes next, which no processor guesses while it multiplies for so long: arrays that samples are read from or written to,
// some lines of which are asked for with each tile of sums.

enum { BF16_MOST_AHEAD = 8, BF16_ASKED = 1 << 18 };  // arrays, and bytes of all of them, so that they fit in a second-level cache

typedef struct {
    struct { const char *at, *end; long lines; } of[BF16_MOST_AHEAD];
    int count;
    long room;  // bytes left
} Bf16Ahead;

static inline Bf16Ahead bf16_nothing_ahead(void) { return (Bf16Ahead){.room = BF16_ASKED}; }

// Asks for `bytes` from `at` on, over `tiles` tiles.
static void bf16_look_ahead(Bf16Ahead *ahead, const void *at, long bytes, long tiles) {
    bytes = at_most(bytes, ahead->room);
    if (ahead->count == BF16_MOST_AHEAD || bytes <= 0) return;
    ahead->room -= bytes;
    ahead->of[ahead->count].at = at;
    ahead->of[ahead->count].end = (const char *)at + bytes;
    ahead->of[ahead->count++].lines = parts(parts(bytes, LINE_BYTES), at_least(tiles, 1));
}

// The same for some samples of an array, if its channels lie side by side and nothing between its rows.
static void bf16_look_at_samples(Bf16Ahead *ahead, const Bf16Array *a, long sample, long samples, long height, long width,
                                 long channels, long tiles) {
    long row = width * channels, size = a->half ? sizeof(uint16_t) : sizeof(float);
    if (a->channel != 1 || a->column != channels || a->row != row || a->sample != height * row) return;
    bf16_look_ahead(ahead, (const char *)a->at + sample * a->sample * size, samples * height * row * size, tiles);
}

// The same for all arrays that are gone through with rows of `numbers` numbers a sample.
static void bf16_look_at_rows(Bf16Ahead *ahead, Bf16OnRows rows, long sample, long samples, long numbers, long tiles) {
    for (const uint16_t *const *a = rows.arrays; a && *a; a++)
        bf16_look_ahead(ahead, *a + sample * numbers, samples * numbers * (long)sizeof **a, tiles);
}

static inline void bf16_ask(Bf16Ahead *ahead) {
    for (int i = 0; i < ahead->count; i++) {
        const char *end = ahead->of[i].at + ahead->of[i].lines * LINE_BYTES;
        for (; ahead->of[i].at < end && ahead->of[i].at < ahead->of[i].end; ahead->of[i].at += LINE_BYTES)
            __builtin_prefetch(ahead->of[i].at, 0, 3);
    }
}

// What will be read or written soon, fetched while something is multiplied that leaves memory idle: a line for each number that
// is summed over, not all at once, for which a processor would have to wait.

enum { MOST_NEEDED = 5, ROOM_TO_FETCH = REGISTERS >= 32 };  // loops of few registers have no room for it

typedef struct { const char *at; long bytes; } Stretch;
typedef struct { Stretch of[MOST_NEEDED]; int count, next; } Needed;

static inline void add_stretch(Needed *a, const void *at, long bytes) {
    if (at && bytes > 0) a->of[a->count++] = (Stretch){at, bytes};
}

// Lines that a loop fetches, one after the other; the same again where there are no more.
typedef struct { const char *at; long step; } Lines;

static inline Lines needed_lines(Needed *a, long count, const void *otherwise) {
    if (a->next == a->count) return (Lines){otherwise, 0};
    Stretch *s = &a->of[a->next];
    Lines lines = {s->at, LINE_BYTES};
    s->at += count * LINE_BYTES;
    s->bytes -= count * LINE_BYTES;
    a->next += s->bytes <= 0;
    return lines;
}

static inline __attribute__((always_inline)) void fetch_line(Lines *lines) {
    if (!ROOM_TO_FETCH) return;
    __builtin_prefetch(lines->at);
    lines->at += lines->step;
}

// Products of a block of rows and a matrix that was packed for it, small enough to stay in the caches.

enum { ROWS = REGISTERS >= 32 ? 8 : 4, WIDE = 2, PANEL = WIDE * LANES, BLOCK = 2 * ROWS };

static inline long padded(long columns) { return parts(columns, PANEL) * PANEL; }

// A matrix (k, columns) as panels of PANEL columns, [panel][k][PANEL], the last one filled up with zeros.
static void pack(const float *from, long row_step, long column_step, long k, long columns, float *to) {
    for (long panel = 0; panel < columns; panel += PANEL, to += k * PANEL) {
        long width = at_most(PANEL, columns - panel);
        if (width < PANEL) memset(to, 0, (size_t)(k * PANEL) * sizeof *to);
        if (column_step == 1)
            for (long i = 0; i < k; i++) memcpy(to + i * PANEL, from + i * row_step + panel, (size_t)width * sizeof *to);
        else
            for (long j = 0; j < width; j++)
                for (long i = 0; i < k; i++) to[i * PANEL + j] = from[i * row_step + (panel + j) * column_step];
    }
}

// out += x times the first k rows of panels of `height` rows, for `rows` rows (a multiple of ROWS) of x and of out. Rows of x
// lie x_step apart and the numbers of a row k_step, so x may be transposed.
static void multiply(const float *x, long x_step, long k_step, const float *panels, long height, long k, float *out,
                     long out_step, long rows, long columns) {
    for (long panel = 0; panel < columns; panel += PANEL, panels += height * PANEL)
        for (long first = 0; first < rows; first += ROWS) {
            Vector sum[ROWS][WIDE];
            const float *from = x + first * x_step;
            float *target = out + first * out_step + panel;
            UNROLLED for (int r = 0; r < ROWS; r++)
                UNROLLED for (int v = 0; v < WIDE; v++) sum[r][v] = load(target + r * out_step + v * LANES);
            for (long i = 0; i < k; i++) {
                Vector row[WIDE];
                UNROLLED for (int v = 0; v < WIDE; v++) row[v] = load(panels + i * PANEL + v * LANES);
                UNROLLED for (int r = 0; r < ROWS; r++)
                    UNROLLED for (int v = 0; v < WIDE; v++) sum[r][v] += from[r * x_step + i * k_step] * row[v];
            }
            UNROLLED for (int r = 0; r < ROWS; r++)
                UNROLLED for (int v = 0; v < WIDE; v++) store(target + r * out_step + v * LANES, sum[r][v]);
        }
}

// Copies rows `from_step` apart to rows `step` apart, times a factor, and fills a block up with zeros.
static void take_rows(float *to, long step, const float *from, long from_step, long width, long rows, float factor) {
    for (long r = 0; r < BLOCK; r++) {
        for (long i = 0; r < rows && i < width; i++) to[r * step + i] = from[r * from_step + i] * factor;
        long filled = r < rows ? width : 0;
        memset(to + r * step + filled, 0, (size_t)(step - filled) * sizeof *to);
    }
}

// The sizes of a convolution of float32 in two dimensions, and into how many tasks it is divided.

typedef struct {  // channels are those of one group
    int64_t samples, groups, in, out, height, width, kh, kw, sh, sw, ph, pw, dh, dw, rows, columns;
} ConvolutionGeometry;

enum { CONVOLUTION_TASKS = 16, CONVOLUTION_WORTH = 1 << 22 };  // into so many, where each has that many multiplications

static long convolution_tasks(const ConvolutionGeometry *g) {
    long whole = g->samples * g->groups * g->in * g->out * g->kh * g->kw * g->rows * g->columns;
    return at_most(at_least(whole / CONVOLUTION_WORTH, 1), CONVOLUTION_TASKS);
}

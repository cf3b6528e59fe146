// The functions of rows.h on whole arrays; those of one array ignore g.

#define ON_ROWS(name)                                                                 \
    KERNEL void name(const float *g, const float *x, float *out, long rows, long n) { \
        over_rows(name##_task, g, x, out, rows, n);                                   \
    }

ON_ROWS(softmax)
ON_ROWS(log_softmax)
ON_ROWS(softmax_grad)
ON_ROWS(log_softmax_grad)

// The functions of cuDNN and cuBLASLt that are bound, computing on the host: what they are for a simulated GPU. Each looks at all it is
// given, writes over its whole workspace, and is noted in a log.
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FLOAT = 0, DOUBLE = 1, HALF = 2, BFLOAT16 = 9 };
enum { OK = 0, BAD_PARAM = 2000, NOT_SUPPORTED = 3000 };
enum { DEFAULT = 0, TENSOR_OP = 1, FMA = 3 };
enum { MOST_DIMS = 5, ALGORITHMS = 3 };

// What is noted, and what is to fail.

static char noted[1 << 16];
static char failing[64];
static int failure, least_algorithm;

const char *fake_log(void) { return noted; }
void fake_clear(void) { noted[0] = 0, failing[0] = 0, failure = 0, least_algorithm = 0; }
void fake_fail(const char *function, int status) { snprintf(failing, sizeof failing, "%s", function), failure = status; }
void fake_support(int first) { least_algorithm = first; }  // algorithms before that say that they are not supported

static void note(const char *format, ...) {
    const size_t used = strlen(noted);
    va_list values;
    va_start(values, format);
    vsnprintf(noted + used, sizeof noted - used, format, values);
    va_end(values);
}

#define CHECK(condition) \
    if (!(condition)) return snprintf(message, sizeof message, "%s:%d: %s", __func__, __LINE__, #condition), BAD_PARAM
#define BEGIN \
    message[0] = 0; \
    if (failing[0] && !strcmp(failing, __func__)) return snprintf(message, sizeof message, "as asked"), failure

static char message[256];

// Numbers of any type, as doubles.

static double load(const char *base, int type, int64_t at) {
    if (type == DOUBLE) return ((const double *)base)[at];
    if (type == FLOAT) return ((const float *)base)[at];
    if (type == HALF) return (double)((const _Float16 *)base)[at];
    const uint32_t bits = (uint32_t)((const uint16_t *)base)[at] << 16;
    float x;
    return memcpy(&x, &bits, 4), x;
}

static void store(char *base, int type, int64_t at, double x) {
    if (type == DOUBLE) ((double *)base)[at] = x;
    else if (type == FLOAT) ((float *)base)[at] = (float)x;
    else if (type == HALF) ((_Float16 *)base)[at] = (_Float16)(float)x;
    else {
        const float f = (float)x;
        uint32_t bits;
        memcpy(&bits, &f, 4);
        ((uint16_t *)base)[at] = f != f ? 0x7fff : (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
    }
}

// cuDNN

typedef struct { void *stream; } Handle;
typedef struct { int type, dims, shape[MOST_DIMS], strides[MOST_DIMS]; } Array;
typedef struct { int dims, padding[3], stride[3], dilation[3], math, groups, sums; } Convolution;
typedef struct { int algo, status; float time; size_t memory; int determinism, math, reserved[3]; } Algorithm;

static int live;
int fake_live(void) { return live; }  // descriptors that have not been destroyed

size_t cudnnGetVersion(void) { return 90100; }
const char *cudnnGetErrorString(int status) {
    return status == BAD_PARAM ? "CUDNN_STATUS_BAD_PARAM" : status == NOT_SUPPORTED ? "CUDNN_STATUS_NOT_SUPPORTED"
         : "CUDNN_STATUS_INTERNAL_ERROR";
}
void cudnnGetLastErrorString(char *text, size_t size) { snprintf(text, size, "%s", message); }

int cudnnCreate(Handle **made) { BEGIN; *made = calloc(1, sizeof **made); note("cudnnCreate\n"); return OK; }
int cudnnSetStream(Handle *handle, void *stream) { BEGIN; CHECK(handle); handle->stream = stream; return OK; }

#define DESCRIPTOR(Name, Type) \
    int cudnnCreate##Name##Descriptor(Type **made) { BEGIN; *made = calloc(1, sizeof **made); live++; return OK; } \
    int cudnnDestroy##Name##Descriptor(Type *made) { BEGIN; CHECK(made); free(made); live--; return OK; }
DESCRIPTOR(Tensor, Array)
DESCRIPTOR(Filter, Array)
DESCRIPTOR(Convolution, Convolution)

int cudnnSetTensorNdDescriptor(Array *array, int type, int dims, const int *shape, const int *strides) {
    BEGIN;
    CHECK(type == FLOAT || type == DOUBLE || type == HALF || type == BFLOAT16);
    CHECK(dims == 4 || dims == 5);
    *array = (Array){.type = type, .dims = dims};
    for (int d = 0; d < dims; d++) {
        CHECK(shape[d] > 0 && strides[d] > 0);
        array->shape[d] = shape[d], array->strides[d] = strides[d];
    }
    return OK;
}

int cudnnSetFilterNdDescriptor(Array *array, int type, int format, int dims, const int *shape) {
    BEGIN;
    CHECK(format == 0 || format == 1);
    CHECK(dims == 4 || dims == 5);
    int strides[MOST_DIMS], step = 1;
    if (format) strides[1] = 1, step = shape[1];
    for (int d = dims - 1; d >= 0; d--)
        if (!(format && d == 1)) strides[d] = step, step *= shape[d];
    return cudnnSetTensorNdDescriptor(array, type, dims, shape, strides);
}

int cudnnSetConvolutionNdDescriptor(
    Convolution *c, int dims, const int *padding, const int *stride, const int *dilation, int mode, int sums
) {
    BEGIN;
    CHECK(dims == 2 || dims == 3);
    CHECK(mode == 1);
    CHECK(sums == FLOAT || sums == DOUBLE);
    *c = (Convolution){.dims = dims, .groups = 1, .sums = sums};
    for (int d = 0; d < dims; d++) {
        CHECK(padding[d] >= 0 && stride[d] > 0 && dilation[d] > 0);
        c->padding[d] = padding[d], c->stride[d] = stride[d], c->dilation[d] = dilation[d];
    }
    return OK;
}
int cudnnSetConvolutionMathType(Convolution *c, int math) { BEGIN; CHECK(math >= 0 && math <= 3); c->math = math; return OK; }
int cudnnSetConvolutionGroupCount(Convolution *c, int groups) { BEGIN; CHECK(groups > 0); c->groups = groups; return OK; }

static int fitting(const Array *x, const Array *w, const Array *y, const Convolution *c) {
    CHECK(x->dims == c->dims + 2 && w->dims == x->dims && y->dims == x->dims);
    CHECK(x->type == w->type && x->type == y->type);
    CHECK((x->type == DOUBLE) == (c->sums == DOUBLE));
    CHECK(x->shape[0] == y->shape[0] && w->shape[0] == y->shape[1] && x->shape[1] == w->shape[1] * c->groups);
    CHECK(w->shape[0] % c->groups == 0);
    for (int d = 0; d < c->dims; d++) {
        const int span = x->shape[d + 2] + 2 * c->padding[d] - c->dilation[d] * (w->shape[d + 2] - 1) - 1;
        CHECK(span >= 0 && span / c->stride[d] + 1 == y->shape[d + 2]);
    }
    return OK;
}

// Algorithm 1 is fast and not deterministic, 0 and 2 are; each needs a workspace of its own size.
static size_t workspace_of(int algo) { return algo * 1000 + 24; }

static int ranked(const Array *x, const Array *w, const Array *y, const Convolution *c, int most, int *count, Algorithm *found) {
    const int status = fitting(x, w, y, c);
    if (status) return status;
    const int order[] = {1, 0, 2};
    *count = most < ALGORITHMS ? most : ALGORITHMS;
    for (int i = 0; i < *count; i++) {
        const int algo = order[i], math = algo == 2 && c->math != FMA ? DEFAULT : c->math;
        found[i] = (Algorithm){algo, OK, 1.0f + i, workspace_of(algo), algo != 1, math, {0}};
    }
    return OK;
}

#define RANKED(name, A, B, R, x, w, y) \
    int cudnnGetConvolution##name##Algorithm_v7( \
        Handle *handle, const Array *A, const Array *B, const Convolution *c, const Array *R, int most, int *count, \
        Algorithm *found \
    ) { \
        BEGIN; \
        CHECK(handle); \
        note("cudnnGetConvolution" #name "Algorithm_v7 math=%d\n", c->math); \
        return ranked(x, w, y, c, most, count, found); \
    }
RANKED(Forward, x, w, y, x, w, y)
RANKED(BackwardData, w, y, x, x, w, y)
RANKED(BackwardFilter, x, y, w, x, w, y)

static int64_t at(const Array *a, int n, int c, const int *place) {
    int64_t where = (int64_t)n * a->strides[0] + (int64_t)c * a->strides[1];
    for (int d = 0; d < a->dims - 2; d++) where += (int64_t)place[d] * a->strides[d + 2];
    return where;
}

static int next(int *place, const int *shape, int dims) {
    for (int d = dims - 1; d >= 0; d--) {
        if (++place[d] < shape[d]) return 1;
        place[d] = 0;
    }
    return 0;
}

static int64_t extent(const Array *a) {
    int64_t last = 1;
    for (int d = 0; d < a->dims; d++) last += (int64_t)(a->shape[d] - 1) * a->strides[d];
    return last;
}

// Adds x·w, y·w or x·y to the third; the sums are doubles that lie as the result does.
static void add_products(
    const Array *x, const Array *w, const Array *y, const Convolution *c, const void *px, const void *pw, const void *py, double *sums
) {
    const int each = w->shape[0] / c->groups;
    for (int n = 0; n < x->shape[0]; n++)
        for (int k = 0; k < w->shape[0]; k++)
            for (int j = 0; j < w->shape[1]; j++) {
                const int channel = k / each * w->shape[1] + j;
                int out[3] = {0};
                do {
                    int tap[3] = {0};
                    do {
                        int in[3], inside = 1;
                        for (int d = 0; d < c->dims; d++) {
                            in[d] = out[d] * c->stride[d] - c->padding[d] + tap[d] * c->dilation[d];
                            inside &= in[d] >= 0 && in[d] < x->shape[d + 2];
                        }
                        if (!inside) continue;
                        const int64_t ax = at(x, n, channel, in), aw = at(w, k, j, tap), ay = at(y, n, k, out);
                        if (!py) sums[ay] += load(px, x->type, ax) * load(pw, w->type, aw);
                        else if (!px) sums[ax] += load(py, y->type, ay) * load(pw, w->type, aw);
                        else sums[aw] += load(px, x->type, ax) * load(py, y->type, ay);
                    } while (next(tap, w->shape + 2, c->dims));
                } while (next(out, y->shape + 2, c->dims));
            }
}

static int computed(
    const char *name, Handle *handle, const void *alpha, const void *beta, const Array *x, const Array *w, const Array *y,
    const Convolution *c, const void *px, const void *pw, const void *py, int algo, void *workspace, size_t bytes,
    const Array *result, void *out
) {
    const int status = fitting(x, w, y, c);
    if (status) return status;
    CHECK(handle && out);
    CHECK(algo >= 0 && algo < ALGORITHMS);
    CHECK(load(alpha, c->sums, 0) == 1 && load(beta, c->sums, 0) == 0);
    CHECK(workspace && bytes >= workspace_of(algo));
    note("%s algo=%d math=%d stream=%zu\n", name, algo, c->math, (size_t)handle->stream);
    if (algo < least_algorithm) return NOT_SUPPORTED;
    memset(workspace, 0xff, bytes);
    const int64_t n = extent(result);
    double *sums = calloc(n, sizeof *sums);
    add_products(x, w, y, c, px, pw, py, sums);
    for (int64_t i = 0; i < n; i++) store(out, result->type, i, sums[i]);
    free(sums);
    return OK;
}

int cudnnConvolutionForward(
    Handle *handle, const void *alpha, const Array *x, const void *px, const Array *w, const void *pw, const Convolution *c,
    int algo, void *workspace, size_t bytes, const void *beta, const Array *y, void *py
) {
    BEGIN;
    return computed(__func__, handle, alpha, beta, x, w, y, c, px, pw, NULL, algo, workspace, bytes, y, py);
}
int cudnnConvolutionBackwardData(
    Handle *handle, const void *alpha, const Array *w, const void *pw, const Array *y, const void *py, const Convolution *c,
    int algo, void *workspace, size_t bytes, const void *beta, const Array *x, void *px
) {
    BEGIN;
    return computed(__func__, handle, alpha, beta, x, w, y, c, NULL, pw, py, algo, workspace, bytes, x, px);
}
int cudnnConvolutionBackwardFilter(
    Handle *handle, const void *alpha, const Array *x, const void *px, const Array *y, const void *py, const Convolution *c,
    int algo, void *workspace, size_t bytes, const void *beta, const Array *w, void *pw
) {
    BEGIN;
    return computed(__func__, handle, alpha, beta, x, w, y, c, px, NULL, py, algo, workspace, bytes, w, pw);
}

// cuBLASLt

enum { LT_INVALID_VALUE = 7, LT_NOT_SUPPORTED = 15 };
enum { R_32F = 0, R_64F = 1, R_16F = 2, R_16BF = 14 };
enum { EPILOGUE_DEFAULT = 1, EPILOGUE_BIAS = 4 };
static const size_t LT_WORKSPACE = 4096 + 16;

typedef struct { int type; uint64_t rows, columns; int64_t lead, batch_stride; int32_t batch; } Matrix;
typedef struct { int compute, scale; int32_t transposed[2]; uint32_t epilogue; const void *bias; } Product;
const size_t fake_product_size = sizeof(Product);
typedef struct { uint64_t workspace; uint32_t alignment[2]; } Preference;
typedef struct { uint64_t algo[8]; size_t workspace; int state; float waves; int reserved[4]; } Choice;

#undef CHECK
#define CHECK(condition) if (!(condition)) return fprintf(stderr, "%s:%d: %s\n", __func__, __LINE__, #condition), LT_INVALID_VALUE

size_t cublasLtGetVersion(void) { return 130000; }
const char *cublasLtGetStatusString(int status) { return status == LT_INVALID_VALUE ? "CUBLAS_STATUS_INVALID_VALUE" : "other"; }
int cublasLtCreate(Handle **made) { BEGIN; *made = calloc(1, sizeof **made); note("cublasLtCreate\n"); return OK; }

#define DESTROY(Name, Type) int cublasLt##Name##Destroy(Type *made) { BEGIN; CHECK(made); free(made); live--; return OK; }
DESTROY(MatmulDesc, Product)
DESTROY(MatrixLayout, Matrix)
DESTROY(MatmulPreference, Preference)

int cublasLtMatmulDescCreate(Product **made, int compute, int scale) {
    BEGIN;
    CHECK(compute == 68 || compute == 77 || compute == 70);
    CHECK(scale == (compute == 70 ? R_64F : R_32F));
    *made = calloc(1, sizeof **made), live++;
    **made = (Product){.compute = compute, .scale = scale, .epilogue = EPILOGUE_DEFAULT};
    return OK;
}
int cublasLtMatrixLayoutCreate(Matrix **made, int type, uint64_t rows, uint64_t columns, int64_t lead) {
    BEGIN;
    CHECK(type == R_32F || type == R_64F || type == R_16F || type == R_16BF);
    CHECK(rows > 0 && columns > 0 && lead >= (int64_t)rows);
    *made = calloc(1, sizeof **made), live++;
    **made = (Matrix){.type = type, .rows = rows, .columns = columns, .lead = lead, .batch = 1};
    return OK;
}
int cublasLtMatmulPreferenceCreate(Preference **made) { BEGIN; *made = calloc(1, sizeof **made), live++; return OK; }

static int set(void *field, size_t wanted, const void *value, size_t size) {
    CHECK(size == wanted);
    memcpy(field, value, size);
    return OK;
}
int cublasLtMatmulDescSetAttribute(Product *p, int attribute, const void *value, size_t size) {
    BEGIN;
    if (attribute == 3 || attribute == 4) return set(&p->transposed[attribute - 3], 4, value, size);
    if (attribute == 7) return set(&p->epilogue, 4, value, size);
    CHECK(attribute == 8);
    return set(&p->bias, sizeof p->bias, value, size);
}
int cublasLtMatrixLayoutSetAttribute(Matrix *m, int attribute, const void *value, size_t size) {
    BEGIN;
    if (attribute == 5) return set(&m->batch, 4, value, size);
    CHECK(attribute == 6);
    return set(&m->batch_stride, 8, value, size);
}
int cublasLtMatmulPreferenceSetAttribute(Preference *p, int attribute, const void *value, size_t size) {
    BEGIN;
    if (attribute == 1) return set(&p->workspace, 8, value, size);
    CHECK(attribute == 5 || attribute == 6);
    return set(&p->alignment[attribute - 5], 4, value, size);
}

static int multiplies(const Product *p, const Matrix *a, const Matrix *b, const Matrix *c, const Matrix *d) {
    CHECK(c == d && a->type == b->type && a->type == d->type);
    CHECK(a->batch == d->batch && b->batch == d->batch);
    CHECK((a->type == R_64F) == (p->compute == 70));
    CHECK(p->compute != 77 || a->type == R_32F);
    CHECK((p->transposed[0] ? a->columns : a->rows) == d->rows && (p->transposed[1] ? b->rows : b->columns) == d->columns);
    CHECK((p->transposed[0] ? a->rows : a->columns) == (p->transposed[1] ? b->columns : b->rows));
    CHECK(p->epilogue == EPILOGUE_DEFAULT || (p->epilogue == EPILOGUE_BIAS && p->bias));
    return OK;
}

int cublasLtMatmulAlgoGetHeuristic(
    Handle *handle, const Product *p, const Matrix *a, const Matrix *b, const Matrix *c, const Matrix *d, const Preference *preference,
    int most, Choice *found, int *count
) {
    BEGIN;
    const int status = multiplies(p, a, b, c, d);
    if (status) return status;
    CHECK(handle && preference->workspace >= LT_WORKSPACE && most == 1);
    note("cublasLtMatmulAlgoGetHeuristic alignments=%u,%u\n", preference->alignment[0], preference->alignment[1]);
    if (a->type == R_64F && p->epilogue != EPILOGUE_DEFAULT) return LT_NOT_SUPPORTED;
    *found = (Choice){.algo = {42}, .workspace = LT_WORKSPACE};
    *count = 1;
    return OK;
}

static int number_type(const Matrix *m) {
    return m->type == R_32F ? FLOAT : m->type == R_64F ? DOUBLE : m->type == R_16F ? HALF : BFLOAT16;
}

static double element(const Matrix *m, const char *base, int transposed, int i, int j, int batch) {
    return load(base, number_type(m), batch * m->batch_stride + (transposed ? j + i * m->lead : i + j * m->lead));
}

int cublasLtMatmul(
    Handle *handle, const Product *p, const void *alpha, const void *pa, const Matrix *a, const void *pb, const Matrix *b,
    const void *beta, const void *pc, const Matrix *c, void *pd, const Matrix *d, const uint64_t *algo, void *workspace,
    size_t bytes, void *stream
) {
    BEGIN;
    const int status = multiplies(p, a, b, c, d);
    if (status) return status;
    CHECK(handle && pa && pb && pd && pc == pd && *algo == 42);
    CHECK(load(alpha, p->scale == R_64F ? DOUBLE : FLOAT, 0) == 1 && load(beta, p->scale == R_64F ? DOUBLE : FLOAT, 0) == 0);
    CHECK(workspace && bytes == LT_WORKSPACE);
    memset(workspace, 0xff, bytes);
    note("cublasLtMatmul epilogue=%u compute=%d batch=%d stream=%zu\n", p->epilogue, p->compute, d->batch, (size_t)stream);
    const int inner = p->transposed[0] ? a->rows : a->columns;
    const Matrix vector = {.type = d->type, .lead = d->rows};
    for (int batch = 0; batch < d->batch; batch++)
        for (int j = 0; j < (int)d->columns; j++)
            for (int i = 0; i < (int)d->rows; i++) {
                double sum = p->epilogue == EPILOGUE_DEFAULT ? 0 : element(&vector, p->bias, 0, i, 0, 0);
                for (int k = 0; k < inner; k++)
                    sum += element(a, pa, p->transposed[0], i, k, batch) * element(b, pb, p->transposed[1], k, j, batch);
                store(pd, number_type(d), batch * d->batch_stride + i + j * d->lead, sum);
            }
    return OK;
}

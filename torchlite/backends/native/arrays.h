// NumPy's arrays as they lie in memory: the fields of PyArrayObject, which its binary interface keeps. Kernels that take
// hundreds of arrays get the objects, because asking each for its address in Python takes longer than the arithmetic.

typedef struct {
    intptr_t references;
    void *type, *type_of_numbers;
    char kind, letter, order;
} NumpyType;

typedef struct {
    intptr_t references;
    void *type;
    float *data;
    int dimensions;
    intptr_t *shape, *strides;
    void *base;
    const NumpyType *dtype;
    int flags;
} NumpyArray;

enum { CONTIGUOUS = 1, ALIGNED = 0x100 };

static inline int is_float32(const NumpyArray *a) {
    return a->dtype->letter == 'f' && a->dtype->order == '=' && (a->flags & ALIGNED);
}

static inline int is_dense_float32(const NumpyArray *a) { return is_float32(a) && (a->flags & CONTIGUOUS); }

static inline long size_of(const NumpyArray *a) {
    long size = 1;
    for (int d = 0; d < a->dimensions; d++) size *= a->shape[d];
    return size;
}

// Whether arrays lie in this Python as said above: `object` is one of float32, of shape (2, size), at `data`.
int understands(const void *object, const void *data, long size) {
    const NumpyArray *a = object;
    return a->data == data && a->dimensions == 2 && a->shape[0] == 2 && a->shape[1] == size && is_dense_float32(a);
}

// Kernels as functions of Python: it hands over its arguments as objects, which takes 0.1 µs where ctypes takes 1.5.
//
// What that needs of Python is of its stable interface and comes as addresses by `bind_python`, so that neither its headers
// nor a linker that finds its library are needed.

typedef struct {
    void *none, *array_type, *type_error, *empty, *float32;  // the last two of NumPy
    intptr_t header;  // bytes of an object before what it holds, of an array the address of its numbers first
    int (*is_instance)(void *object, void *type);
    long (*as_long)(void *object);
    double (*as_double)(void *object);
    void *(*from_long)(long number);
    void *(*from_double)(double number);
    void *(*tuple)(intptr_t length, ...);
    void *(*call)(void *function, void *const *given, size_t count, void *names);
    void (*increment)(void *object);
    void (*decrement)(void *object);
    void *(*failure)(void);
    void *(*fail)(void *type, const char *format, ...);
    void *(*let_others_run)(void);
    void (*go_on)(void *thread);
} Python;

// PyMethodDef; METH_FASTCALL is how functions of it are called.
typedef struct {
    const char *name;
    void *(*function)(void *self, void *const *given, intptr_t count);
    int flags;
    const char *doc;
} Method;

enum { METH_FASTCALL = 0x80 };

static Python python;

void bind_python(const Python *given) { python = *given; }

// Where an array's numbers begin; NULL for None.
static inline void *numbers_of(void *object) {
    if (object == python.none) return NULL;
    if (python.is_instance(object, python.array_type) == 1) return *(void **)((char *)object + python.header);
    python.fail(python.type_error, "a kernel expects an array of NumPy or None");
    return NULL;
}

// The array itself, as `arrays.h` reads it.
static inline void *array_of(void *object) { return numbers_of(object) || object != python.none ? object : NULL; }

static inline void *nothing(void) {
    python.increment(python.none);
    return python.none;
}

// A new matrix of float32; NULL where there is no memory.
static inline void *new_matrix(long rows, long columns) {
    void *lengths[] = {python.from_long(rows), python.from_long(columns)};
    void *given[] = {python.tuple(2, lengths[0], lengths[1]), python.float32};
    void *made = given[0] ? python.call(python.empty, given, 2, NULL) : NULL;
    if (given[0]) python.decrement(given[0]);
    for (int i = 0; i < 2; i++) python.decrement(lengths[i]);
    return made;
}

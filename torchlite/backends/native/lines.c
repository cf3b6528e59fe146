// An allocator of NumPy (its NEP 49) that gives memory which begins at a line of the caches: it asks another one for a line
// more, so that what that one does for small and for large blocks stays as it is.
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct {  // PyDataMemAllocator
    void *context;
    void *(*allocate)(void *context, size_t size);
    void *(*allocate_zeros)(void *context, size_t count, size_t size);
    void *(*reallocate)(void *context, void *numbers, size_t size);
    void (*release)(void *context, void *numbers, size_t size);
} Allocator;

typedef struct {  // PyDataMem_Handler
    char name[127];
    uint8_t version;
    Allocator allocator;
} Handler;

enum { LINE = 64 };

static Allocator other;

// The first line behind the beginning of a block; how far behind it lies stands before it.
static char *line_in(char *block) {
    if (!block) return NULL;
    size_t offset = LINE - (uintptr_t)block % LINE;
    memcpy(block + offset - sizeof offset, &offset, sizeof offset);
    return block + offset;
}

static size_t offset_of(const char *numbers) {
    size_t offset;
    memcpy(&offset, numbers - sizeof offset, sizeof offset);
    return offset;
}

static void *allocate(void *context, size_t size) {
    (void)context;
    return size > SIZE_MAX - LINE ? NULL : line_in(other.allocate(other.context, size + LINE));
}

static void *allocate_zeros(void *context, size_t count, size_t size) {
    (void)context;
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX - LINE) return NULL;
    return line_in(other.allocate_zeros(other.context, 1, bytes + LINE));
}

static void *reallocate(void *context, void *numbers, size_t size) {
    if (!numbers) return allocate(context, size);
    if (size > SIZE_MAX - LINE) return NULL;
    size_t before = offset_of(numbers);
    char *block = other.reallocate(other.context, (char *)numbers - before, size + LINE);
    if (!block) return NULL;
    size_t after = LINE - (uintptr_t)block % LINE;
    if (after != before) memmove(block + after, block + before, size);
    return line_in(block);
}

static void release(void *context, void *numbers, size_t size) {
    (void)context;
    if (numbers) other.release(other.context, (char *)numbers - offset_of(numbers), size + LINE);
}

static Handler handler = {"torchlite_lines", 1, {NULL, allocate, allocate_zeros, reallocate, release}};

const char capsule_name[] = "mem_handler";

// The handler that asks this one, or another that it was given before.
const Handler *handler_above(const Handler *given) {
    if (!other.allocate) other = given->allocator;
    return &handler;
}

// CUDA C++ on the host, for tests where there is no GPU: the threads of a block are contexts that take turns, from one
// barrier or exchange between lanes to the next. A block whose threads wait for different things ends the program.
#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

using namespace std;

#define __global__
#define __device__
#define __shared__ static
#define __launch_bounds__(...)

struct Place { unsigned x = 0, y = 0, z = 0; };
static Place threadIdx, blockIdx, blockDim, gridDim;

enum Wait { DONE, SYNC, SHUFFLE };
struct Thread {
    ucontext_t context;
    vector<char> stack = vector<char>(1 << 16);
    Wait wait = DONE;
    uint64_t slot = 0;
    unsigned operands[6];
};
static vector<Thread> threads;
static unsigned current;
static ucontext_t scheduler;
static void (*body)();

static void turn(Wait wait) {
    threads[current].wait = wait;
    swapcontext(&threads[current].context, &scheduler);
}
static void __syncthreads() { turn(SYNC); }

template <class V> V __shfl_xor_sync(unsigned mask, V v, int step) {
    static_assert(sizeof(V) <= 8);
    if (mask != 0xffffffffu) abort();
    memcpy(&threads[current].slot, &v, sizeof v);
    const unsigned other = current ^ (unsigned)step;
    turn(SHUFFLE);
    memcpy(&v, &threads.at(other).slot, sizeof v);
    turn(SHUFFLE);
    return v;
}

static void start() {
    body();
    threads[current].wait = DONE;
    swapcontext(&threads[current].context, &scheduler);
}

// Shared memory of which a launch says the size: nothing is in it when a block starts, and its end is guarded.
enum { MOST_SHARED = 227 << 10, GUARD = 64 };
alignas(128) static unsigned char dynamic_shared[MOST_SHARED + GUARD];
static size_t shared_bytes;

static void run_block() {
    memset(dynamic_shared, 0xff, sizeof dynamic_shared);
    const unsigned count = blockDim.x * blockDim.y * blockDim.z;
    if (count > 1024) { fprintf(stderr, "a block has at most 1024 threads\n"); abort(); }
    if (threads.size() < count) threads.resize(count);
    for (unsigned i = 0; i < count; i++) {
        getcontext(&threads[i].context);
        threads[i].context.uc_stack.ss_sp = threads[i].stack.data();
        threads[i].context.uc_stack.ss_size = threads[i].stack.size();
        threads[i].context.uc_link = nullptr;
        makecontext(&threads[i].context, start, 0);
    }
    for (Wait wait = SYNC; wait != DONE;) {
        for (current = 0; current < count; current++) {
            threadIdx = {current % blockDim.x, current / blockDim.x % blockDim.y, current / blockDim.x / blockDim.y};
            swapcontext(&scheduler, &threads[current].context);
        }
        wait = threads[0].wait;
        for (unsigned i = 0; i < count; i++)
            if (threads[i].wait != wait && (wait == SYNC || threads[i].wait == SYNC || i % 32)) {
                fprintf(stderr, "threads of a block wait for different things\n");
                abort();
            }
    }
    for (int i = 0; i < GUARD; i++)
        if (dynamic_shared[shared_bytes + i] != 0xff) { fprintf(stderr, "a block wrote behind its shared memory\n"); abort(); }
}

static void launch(void (*kernel)(), const unsigned *grid, const unsigned *block, size_t shared) {
    body = kernel;
    shared_bytes = shared;
    if (shared > MOST_SHARED) { fprintf(stderr, "a block has at most 227 KB of shared memory\n"); abort(); }
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    for (blockIdx.z = 0; blockIdx.z < gridDim.z; blockIdx.z++)
        for (blockIdx.y = 0; blockIdx.y < gridDim.y; blockIdx.y++)
            for (blockIdx.x = 0; blockIdx.x < gridDim.x; blockIdx.x++) run_block();
}

static float __int_as_float(int bits) { float x; memcpy(&x, &bits, 4); return x; }
static double __longlong_as_double(long long bits) { double x; memcpy(&x, &bits, 8); return x; }

struct __half { uint16_t bits; };
struct __nv_bfloat16 { uint16_t bits; };
static float __half2float(__half h) { _Float16 x; memcpy(&x, &h, 2); return (float)x; }
static __half __float2half_rn(float f) { const _Float16 x = (_Float16)f; __half h; memcpy(&h, &x, 2); return h; }
static float __bfloat162float(__nv_bfloat16 b) { return __int_as_float((int)((uint32_t)b.bits << 16)); }
static __nv_bfloat16 __float2bfloat16_rn(float f) {
    uint32_t bits;
    memcpy(&bits, &f, 4);
    if (f != f) return {0x7fff};
    return {(uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}

// The product of a warp on tensor cores, (16, 16) times (16, 8), as PTX lays it out over the lanes; bf16 by its name.
static float half_of(const unsigned *registers, int i, bool bf16) {
    const uint16_t bits = (uint16_t)(registers[i / 2] >> (i % 2 * 16));
    return bf16 ? __bfloat162float({bits}) : __half2float({bits});
}
static void mma_of(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2], bool bf16) {
    memcpy(threads[current].operands, a, sizeof a);
    memcpy(threads[current].operands + 4, b, sizeof b);
    const unsigned warp = current / 32 * 32, lane = current % 32;
    turn(SHUFFLE);
    for (int i = 0; i < 4; i++) {
        const int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
        double sum = c[i];
        for (int k = 0; k < 16; k++) {
            const unsigned *left = threads.at(warp + row % 8 * 4 + k % 8 / 2).operands;
            const unsigned *right = threads.at(warp + column * 4 + k % 8 / 2).operands + 4;
            const int quarter = row / 8 + k / 8 * 2;
            sum += (double)half_of(left, quarter * 2 + k % 2, bf16) * half_of(right, k / 8 * 2 + k % 2, bf16);
        }
        c[i] = (float)sum;
    }
    turn(SHUFFLE);
}
#define mma(c, a, b) mma_of(c, a, b, TENSOR_CORES[0] == 'b')

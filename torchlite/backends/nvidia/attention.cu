// softmax(q kᵀ · scale + mask) v and its gradients, tile by tile: the scores of all queries and keys are nowhere stored.
//
// A block has 16 × 16 threads and works on tiles of 64 × 64 scores, of which each thread has 4 × 4, 16 apart, in
// registers. Everything is added up in float, in an order that sizes alone decide. Before this text stand T, the type of
// the arrays, widened(T) and narrowed(float), and E and V, the widths of keys and values, CAUSAL and MASKED as constants;
// where TENSOR_CORES is defined, T is a half type, and products are formed on tensor cores, of weights rounded to T.

constexpr int SIDE = 16, EACH = 4, TILE = SIDE * EACH;
constexpr int PART = 32, PITCH = PART + 1;   // so much of a row is in shared memory at once when rows are multiplied
constexpr int ROOM = 2 * TILE * PITCH, SCORES = TILE * (TILE + 1);
__device__ constexpr int columns(int width) { return (width + SIDE - 1) / SIDE; }  // that a thread has of so many

struct Rows { const T *first; long long step; int count; };
struct Mask { const T *first; long long down, across; };

__device__ inline float largest(float a, float b) { return a > b || a != a ? a : b; }

// Of the 16 threads that have a row, what f makes of their numbers.
template <class F> __device__ float of_row(float x, F f) {
    for (int step = 1; step < SIDE; step *= 2) x = f(x, __shfl_xor_sync(0xffffffffu, x, step));
    return x;
}
__device__ inline float row_sum(float x) { return of_row(x, [](float a, float b) { return a + b; }); }
__device__ inline float row_largest(float x) { return of_row(x, largest); }

__device__ inline Rows rows(const T *array, long long batch, long long head, long long step, int count) {
    return {array + blockIdx.z * batch + blockIdx.y * head, step, count};
}
__device__ inline Mask mask_of(const T *array, long long batch, long long head, long long down, long long across) {
    return {array + blockIdx.z * batch + blockIdx.y * head, down, across};
}

#ifdef TENSOR_CORES

// Pitches of T in shared memory with which the lanes of a warp read from different banks.
constexpr int PART_PITCH = PART + 8, SQUARE_PITCH = TILE + 8;

// c += a · b of a warp: c is (16, 8), a (16, 16), b (16, 8). With lane = 4 · g + t a lane has rows g and g + 8 of c and a, in
// columns 2t and 2t + 1 (of a 8 further, too), and column g of b in rows 2t, 2t + 1, 2t + 8 and 2t + 9; two T to a register.
#ifdef __CUDA_ARCH__
__device__ inline void mma(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32." TENSOR_CORES "." TENSOR_CORES ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1])
    );
}
#endif

__device__ inline int lane() { return (threadIdx.y * SIDE + threadIdx.x) % 32; }
// Where the warp's part of a tile begins: 16 rows, 32 columns.
__device__ inline int warp_row() { return threadIdx.y / 4 * 16; }
__device__ inline int warp_column() { return threadIdx.y / 2 % 2 * 32; }

__device__ inline unsigned two(const T *at) { return *(const unsigned *)at; }
__device__ inline unsigned two(const T *at, int further) {
    return *(const unsigned short *)at | (unsigned)*(const unsigned short *)(at + further) << 16;
}

// Rows `row` up to `row + 64` of a, columns `column` up to `column + COUNT`, zeros where there are none.
template <int WIDTH, int COUNT, int PITCHED> __device__ void load_square(T *to, Rows a, int row, int column) {
    for (int i = threadIdx.y * SIDE + threadIdx.x; i < TILE * COUNT; i += SIDE * SIDE) {
        const int r = i / COUNT, d = i % COUNT;
        const bool there = row + r < a.count && column + d < WIDTH;
        to[r * PITCHED + d] = there ? a.first[(row + r) * a.step + column + d] : narrowed(0);
    }
}

// The rows of a that the warp multiplies, 16 columns from `k` on.
template <int PITCHED> __device__ void load_left(unsigned (&a)[4], const T *from, int k) {
    const T *at = from + (warp_row() + lane() / 4) * PITCHED + k + lane() % 4 * 2;
    a[0] = two(at), a[1] = two(at + 8 * PITCHED), a[2] = two(at + 8), a[3] = two(at + 8 * PITCHED + 8);
}

// What the warps have, as the threads want it: rows threadIdx.y + 16 i, columns threadIdx.x + 16 j.
__device__ inline void exchange(float (&products)[EACH][EACH], const float (&c)[4][4], float *room) {
    __syncthreads();
    for (int n = 0; n < 4; n++)
        for (int i = 0; i < 4; i++) {
            const int row = warp_row() + lane() / 4 + i / 2 * 8, column = warp_column() + n * 8 + lane() % 4 * 2 + i % 2;
            room[row * (TILE + 1) + column] = c[n][i];
        }
    __syncthreads();
    for (int i = 0; i < EACH; i++)
        for (int j = 0; j < EACH; j++)
            products[i][j] = room[(threadIdx.y + i * SIDE) * (TILE + 1) + threadIdx.x + j * SIDE];
}

// products[i][j] = Σ a[row][d] · b[column][d]: of 64 rows of each.
template <int WIDTH> __device__ void multiply(float (&products)[EACH][EACH], Rows a, int row, Rows b, int column, float *room) {
    T *left = (T *)room, *right = left + TILE * PART_PITCH;
    float c[4][4] = {};
    for (int from = 0; from < WIDTH; from += PART) {
        __syncthreads();
        load_square<WIDTH, PART, PART_PITCH>(left, a, row, from);
        load_square<WIDTH, PART, PART_PITCH>(right, b, column, from);
        __syncthreads();
        for (int k = 0; k < PART && from + k < WIDTH; k += 16) {
            unsigned x[4], y[2];
            load_left<PART_PITCH>(x, left, k);
            for (int n = 0; n < 4; n++) {
                const T *at = right + (warp_column() + n * 8 + lane() / 4) * PART_PITCH + k + lane() % 4 * 2;
                y[0] = two(at), y[1] = two(at + 8);
                mma(c[n], x, y);
            }
        }
    }
    exchange(products, c, room);
}

__device__ inline void put_weight(float *weights, int row, int column, float w) {
    ((T *)weights)[row * SQUARE_PITCH + column] = narrowed(w);
}

// sums[i][c] += Σ w[row][k] · m[first + k][column]: 64 rows of weights, which all threads have written, by 64 rows of m.
template <int WIDTH> __device__ void add_weighted(
    float (&sums)[EACH][columns(WIDTH)], const float *weights, Rows m, int first, float *room
) {
    T *right = (T *)room;
    #pragma unroll
    for (int start = 0; start < WIDTH; start += TILE) {
        __syncthreads();
        load_square<WIDTH, TILE, SQUARE_PITCH>(right, m, first, start);
        __syncthreads();
        float c[4][4] = {}, products[EACH][EACH];
        for (int k = 0; k < TILE; k += 16) {
            unsigned x[4], y[2];
            load_left<SQUARE_PITCH>(x, (const T *)weights, k);
            for (int n = 0; n < 4; n++) {
                const T *at = right + (k + lane() % 4 * 2) * SQUARE_PITCH + warp_column() + n * 8 + lane() / 4;
                y[0] = two(at, SQUARE_PITCH), y[1] = two(at + 8 * SQUARE_PITCH, SQUARE_PITCH);
                mma(c[n], x, y);
            }
        }
        exchange(products, c, room);
        #pragma unroll
        for (int i = 0; i < EACH; i++)
            #pragma unroll
            for (int j = 0; j < EACH; j++)
                if (start / SIDE + j < columns(WIDTH)) sums[i][start / SIDE + j] += products[i][j];
    }
}

#else

constexpr int STEP = 16;  // so many rows are in shared memory at once when columns are multiplied

// Numbers `from` up to `from + PART` of 64 rows, zeros where there are none.
template <int WIDTH> __device__ void load_part(float *to, Rows a, int first, int from) {
    for (int i = threadIdx.y * SIDE + threadIdx.x; i < TILE * PART; i += SIDE * SIDE) {
        const int r = i / PART, d = i % PART;
        const bool there = first + r < a.count && from + d < WIDTH;
        to[r * PITCH + d] = there ? widened(a.first[(first + r) * a.step + from + d]) : 0;
    }
}

// products[i][j] = Σ a[row][d] · b[column][d]: of 64 rows of each.
template <int WIDTH> __device__ void multiply(float (&products)[EACH][EACH], Rows a, int row, Rows b, int column, float *room) {
    for (int i = 0; i < EACH; i++)
        for (int j = 0; j < EACH; j++) products[i][j] = 0;
    for (int from = 0; from < WIDTH; from += PART) {
        __syncthreads();
        load_part<WIDTH>(room, a, row, from);
        load_part<WIDTH>(room + TILE * PITCH, b, column, from);
        __syncthreads();
        const float *left = room + threadIdx.y * PITCH, *right = room + (TILE + threadIdx.x) * PITCH;
        const int end = WIDTH - from < PART ? WIDTH - from : PART;
        #pragma unroll 8
        for (int d = 0; d < end; d++) {
            float x[EACH], y[EACH];
            #pragma unroll
            for (int i = 0; i < EACH; i++) x[i] = left[i * SIDE * PITCH + d], y[i] = right[i * SIDE * PITCH + d];
            #pragma unroll
            for (int i = 0; i < EACH; i++)
                #pragma unroll
                for (int j = 0; j < EACH; j++) products[i][j] += x[i] * y[j];
        }
    }
}

__device__ inline void put_weight(float *weights, int row, int column, float w) { weights[row * (TILE + 1) + column] = w; }

// sums[i][c] += Σ w[row][k] · m[first + k][column]: 64 rows of weights, which all threads have written, by 64 rows of m.
template <int WIDTH> __device__ void add_weighted(
    float (&sums)[EACH][columns(WIDTH)], const float *weights, Rows m, int first, float *room
) {
    constexpr int N = columns(WIDTH), FULL = N * SIDE;
    for (int k = 0; k < TILE && first + k < m.count; k += STEP) {
        __syncthreads();
        for (int i = threadIdx.y * SIDE + threadIdx.x; i < STEP * FULL; i += SIDE * SIDE) {
            const int r = i / FULL, d = i % FULL;
            const bool there = first + k + r < m.count && d < WIDTH;
            room[i] = there ? widened(m.first[(first + k + r) * m.step + d]) : 0;
        }
        __syncthreads();
        for (int r = 0; r < STEP; r++) {
            float x[EACH];
            #pragma unroll
            for (int i = 0; i < EACH; i++) x[i] = weights[(threadIdx.y + i * SIDE) * (TILE + 1) + k + r];
            #pragma unroll
            for (int c = 0; c < N; c++) {
                const float y = room[r * FULL + threadIdx.x + c * SIDE];
                #pragma unroll
                for (int i = 0; i < EACH; i++) sums[i][c] += x[i] * y;
            }
        }
    }
}

#endif

// What is left of the product of a query and a key: -∞ where they don't see each other or there is none.
__device__ inline float score(float product, float scale, int query, int key, int queries, int keys, Mask mask) {
    if (query >= queries || key >= keys) return -INFINITY;
    float s = CAUSAL && key > query ? -INFINITY : product * scale;
    if (MASKED) s += widened(mask.first[query * mask.down + key * mask.across]);
    return s;
}

__device__ inline int keys_end(Rows k, int first) { return CAUSAL && first + TILE < k.count ? first + TILE : k.count; }

// For 64 queries: Σ weight · v, not yet divided by Σ weight, and the largest score, with which weights are exp(score - it).
__device__ void attend(
    float (&sums)[EACH][columns(V)], float (&total)[EACH], float (&peak)[EACH], Rows q, int first, Rows k, Rows v, Mask mask,
    float scale, float *room, float *weights
) {
    for (int i = 0; i < EACH; i++) {
        peak[i] = -INFINITY, total[i] = 0;
        for (int c = 0; c < columns(V); c++) sums[i][c] = 0;
    }
    for (int key = 0; key < keys_end(k, first); key += TILE) {
        float s[EACH][EACH];
        multiply<E>(s, q, first, k, key, room);
        for (int i = 0; i < EACH; i++) {
            const int row = threadIdx.y + i * SIDE;
            float found = -INFINITY, sum = 0;
            for (int j = 0; j < EACH; j++) {
                s[i][j] = score(s[i][j], scale, first + row, key + threadIdx.x + j * SIDE, q.count, k.count, mask);
                found = largest(found, s[i][j]);
            }
            const float now = largest(peak[i], row_largest(found));
            const float base = now == -INFINITY ? 0 : now, shrunk = expf(peak[i] - base);  // exp(-∞ - 0) is 0, as it shall
            for (int j = 0; j < EACH; j++) {
                const float w = expf(s[i][j] - base);
                put_weight(weights, row, threadIdx.x + j * SIDE, w);
                sum += w;
            }
            total[i] = total[i] * shrunk + row_sum(sum);
            for (int c = 0; c < columns(V); c++) sums[i][c] *= shrunk;
            peak[i] = now;
        }
        add_weighted<V>(sums, weights, v, key, room);
    }
}

// A query that sees no key attends to nothing, if a mask hides them all; otherwise scores were -∞ by themselves.
__device__ inline float share(float total) { return total == 0 ? (MASKED ? 0 : NAN) : 1 / total; }

extern "C" __global__ void attention(
    const T *q, long long q0, long long q1, long long q2, const T *k, long long k0, long long k1, long long k2, const T *v,
    long long v0, long long v1, long long v2, const T *mask, long long m0, long long m1, long long m2, long long m3, T *out,
    int queries, int keys, float scale
) {
    __shared__ float room[ROOM], weights[SCORES];
    float sums[EACH][columns(V)], total[EACH], peak[EACH];
    const int first = blockIdx.x * TILE;
    attend(
        sums, total, peak, rows(q, q0, q1, q2, queries), first, rows(k, k0, k1, k2, keys), rows(v, v0, v1, v2, keys),
        mask_of(mask, m0, m1, m2, m3), scale, room, weights
    );
    T *result = out + ((long long)blockIdx.z * gridDim.y + blockIdx.y) * queries * V;
    for (int i = 0; i < EACH; i++) {
        const int row = first + threadIdx.y + i * SIDE;
        for (int c = 0; c < columns(V); c++) {
            const int column = threadIdx.x + c * SIDE;
            if (row < queries && column < V) result[(long long)row * V + column] = narrowed(sums[i][c] * share(total[i]));
        }
    }
}

// What the gradients need of each query: ln Σ exp(score), and the product of its result and its cotangent.
extern "C" __global__ void attention_rows(
    const T *q, long long q0, long long q1, long long q2, const T *k, long long k0, long long k1, long long k2, const T *v,
    long long v0, long long v1, long long v2, const T *mask, long long m0, long long m1, long long m2, long long m3,
    const T *g, long long g0, long long g1, long long g2, float *log_sums, float *slopes, int queries, int keys, float scale
) {
    __shared__ float room[ROOM], weights[SCORES];
    float sums[EACH][columns(V)], total[EACH], peak[EACH];
    const int first = blockIdx.x * TILE;
    const Rows cotangents = rows(g, g0, g1, g2, queries);
    attend(
        sums, total, peak, rows(q, q0, q1, q2, queries), first, rows(k, k0, k1, k2, keys), rows(v, v0, v1, v2, keys),
        mask_of(mask, m0, m1, m2, m3), scale, room, weights
    );
    const long long start = ((long long)blockIdx.z * gridDim.y + blockIdx.y) * queries;
    for (int i = 0; i < EACH; i++) {
        const int row = first + threadIdx.y + i * SIDE;
        float slope = 0;
        for (int c = 0; c < columns(V); c++) {
            const int column = threadIdx.x + c * SIDE;
            if (row < queries && column < V)
                slope += sums[i][c] * share(total[i]) * widened(cotangents.first[row * cotangents.step + column]);
        }
        slope = row_sum(slope);
        if (row < queries && threadIdx.x == 0) {
            log_sums[start + row] = total[i] == 0 ? (MASKED ? INFINITY : NAN) : peak[i] + logf(total[i]);
            slopes[start + row] = slope;
        }
    }
}

// The cotangents of 64 queries, which go through all keys that they see.
extern "C" __global__ void attention_grad_q(
    const T *q, long long q0, long long q1, long long q2, const T *k, long long k0, long long k1, long long k2, const T *v,
    long long v0, long long v1, long long v2, const T *mask, long long m0, long long m1, long long m2, long long m3,
    const T *g, long long g0, long long g1, long long g2, const float *log_sums, const float *slopes, T *grad_q, int queries,
    int keys, float scale
) {
    __shared__ float room[ROOM], weights[SCORES];
    const int first = blockIdx.x * TILE;
    const Rows query = rows(q, q0, q1, q2, queries), key = rows(k, k0, k1, k2, keys), value = rows(v, v0, v1, v2, keys);
    const Rows cotangent = rows(g, g0, g1, g2, queries);
    const Mask hidden = mask_of(mask, m0, m1, m2, m3);
    const long long start = ((long long)blockIdx.z * gridDim.y + blockIdx.y) * queries;
    float sums[EACH][columns(E)] = {};
    for (int at = 0; at < keys_end(key, first); at += TILE) {
        float s[EACH][EACH], slope[EACH][EACH];
        multiply<E>(s, query, first, key, at, room);
        multiply<V>(slope, cotangent, first, value, at, room);
        for (int i = 0; i < EACH; i++) {
            const int row = first + threadIdx.y + i * SIDE;
            const float log_sum = row < queries ? log_sums[start + row] : 0, along = row < queries ? slopes[start + row] : 0;
            for (int j = 0; j < EACH; j++) {
                const float w = expf(score(s[i][j], scale, row, at + threadIdx.x + j * SIDE, queries, keys, hidden) - log_sum);
                put_weight(weights, threadIdx.y + i * SIDE, threadIdx.x + j * SIDE, w * (slope[i][j] - along) * scale);
            }
        }
        add_weighted<E>(sums, weights, key, at, room);
    }
    for (int i = 0; i < EACH; i++) {
        const int row = first + threadIdx.y + i * SIDE;
        for (int c = 0; c < columns(E); c++) {
            const int column = threadIdx.x + c * SIDE;
            if (row < queries && column < E) grad_q[(start + row) * E + column] = narrowed(sums[i][c]);
        }
    }
}

// The cotangents of 64 keys and their values, which go through all queries that see them; tiles are transposed here.
extern "C" __global__ void attention_grad_kv(
    const T *q, long long q0, long long q1, long long q2, const T *k, long long k0, long long k1, long long k2, const T *v,
    long long v0, long long v1, long long v2, const T *mask, long long m0, long long m1, long long m2, long long m3,
    const T *g, long long g0, long long g1, long long g2, const float *log_sums, const float *slopes, T *grad_k, T *grad_v,
    int queries, int keys, float scale
) {
    __shared__ float room[ROOM], weights[SCORES];
    const int first = blockIdx.x * TILE;
    const Rows query = rows(q, q0, q1, q2, queries), key = rows(k, k0, k1, k2, keys), value = rows(v, v0, v1, v2, keys);
    const Rows cotangent = rows(g, g0, g1, g2, queries);
    const Mask hidden = mask_of(mask, m0, m1, m2, m3);
    const long long group = (long long)blockIdx.z * gridDim.y + blockIdx.y;
    float to_keys[EACH][columns(E)] = {}, to_values[EACH][columns(V)] = {};
    for (int at = CAUSAL ? first : 0; at < queries; at += TILE) {
        float s[EACH][EACH], slope[EACH][EACH];
        multiply<E>(s, key, first, query, at, room);
        multiply<V>(slope, value, first, cotangent, at, room);
        for (int i = 0; i < EACH; i++)
            for (int j = 0; j < EACH; j++) {
                const int row = first + threadIdx.y + i * SIDE, column = at + threadIdx.x + j * SIDE;
                const float log_sum = column < queries ? log_sums[group * queries + column] : 0;
                const float along = column < queries ? slopes[group * queries + column] : 0;
                s[i][j] = expf(score(s[i][j], scale, column, row, queries, keys, hidden) - log_sum);
                slope[i][j] = s[i][j] * (slope[i][j] - along) * scale;
                put_weight(weights, threadIdx.y + i * SIDE, threadIdx.x + j * SIDE, s[i][j]);
            }
        add_weighted<V>(to_values, weights, cotangent, at, room);
        __syncthreads();
        for (int i = 0; i < EACH; i++)
            for (int j = 0; j < EACH; j++)
                put_weight(weights, threadIdx.y + i * SIDE, threadIdx.x + j * SIDE, slope[i][j]);
        add_weighted<E>(to_keys, weights, query, at, room);
    }
    for (int i = 0; i < EACH; i++) {
        const int row = first + threadIdx.y + i * SIDE;
        if (row >= keys) continue;
        for (int c = 0; c < columns(E); c++) {
            const int column = threadIdx.x + c * SIDE;
            if (column < E) grad_k[(group * keys + row) * E + column] = narrowed(to_keys[i][c]);
        }
        for (int c = 0; c < columns(V); c++) {
            const int column = threadIdx.x + c * SIDE;
            if (column < V) grad_v[(group * keys + row) * V + column] = narrowed(to_values[i][c]);
        }
    }
}

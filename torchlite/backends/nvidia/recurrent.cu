// LSTM, GRU and the plain recurrent layer over whole sequences, and gradients of the first two, in one launch each.
//
// A block has S samples and takes them through all steps, so blocks never wait for each other. A thread multiplies the state
// with one row of the weight (in the gradient: the cotangents of one gate with one column), of which it keeps the first HELD
// numbers in registers; of the following ROWS numbers all threads' lie in shared memory, and the rest is read again at each
// step. Everything is added up in an order that sizes alone decide. Before this text stand T, the type of the arrays, real,
// that of the sums, widened(T), narrowed(real), and as constants KIND, H units, GATES of each, S, THREADS (at least GATES · H),
// HELD and ROWS (multiples of 4), BIAS: whether the state has one of its own, and GIVEN_H and GIVEN_C: which cotangents there are.

enum { TANH, RELU, GRU, LSTM };
constexpr int C = GATES * H, PITCH = (H + 3) / 4 * 4;
struct alignas(4 * sizeof(real)) Four { real of[4]; };
struct Column { const T *first; long long step; };  // number r of a thread lies r steps behind the first

extern __shared__ Four room[];

__device__ inline real logistic(real x) { return 1 / (1 + exp(-x)); }
__device__ inline real tanh_slope(real y) { return 1 - y * y; }
__device__ inline real logistic_slope(real y) { return y * (1 - y); }

__device__ inline real number(Column column, int r) { return r < H ? widened(column.first[r * column.step]) : real(0); }

__device__ inline void keep(Column column, real (&held)[HELD], T *rows) {
#pragma unroll
    for (int r = 0; r < HELD; r++) held[r] = number(column, r);
    for (int r = HELD; r < HELD + ROWS && r < H; r++) rows[(r - HELD) * THREADS + threadIdx.x] = column.first[r * column.step];
}

// The products of this thread's numbers with a vector of each sample, `pitch` apart.
__device__ inline void multiply(const real (&held)[HELD], const T *rows, Column column, const real *vectors, int pitch, real (&sums)[S]) {
    real by[S][4] = {};
    const auto add = [&](int r, real w0, real w1, real w2, real w3) {
#pragma unroll
        for (int s = 0; s < S; s++) {
            const Four v = *(const Four *)(vectors + s * pitch + r);
            by[s][0] += w0 * v.of[0], by[s][1] += w1 * v.of[1], by[s][2] += w2 * v.of[2], by[s][3] += w3 * v.of[3];
        }
    };
#pragma unroll
    for (int r = 0; r < HELD; r += 4) add(r, held[r], held[r + 1], held[r + 2], held[r + 3]);
#pragma unroll 4
    for (int r = HELD; r < HELD + ROWS && r < PITCH; r += 4) {
        real w[4];
        for (int i = 0; i < 4; i++) w[i] = r + i < H ? widened(rows[(r + i - HELD) * THREADS + threadIdx.x]) : real(0);
        add(r, w[0], w[1], w[2], w[3]);
    }
#pragma unroll 4
    for (int r = HELD + ROWS; r < PITCH; r += 4)
        add(r, number(column, r), number(column, r + 1), number(column, r + 2), number(column, r + 3));
#pragma unroll
    for (int s = 0; s < S; s++) sums[s] = (by[s][0] + by[s][1]) + (by[s][2] + by[s][3]);
}

extern "C" __global__ void recurrent(
    const T *gates, const T *h0, const T *c0, const T *weight, const T *bias, const int *lengths, T *out_h, T *out_c, T *out_kept,
    int steps, int samples, int reverse
) {
    const int me = threadIdx.x, unit = me % H, own = me / H, first = blockIdx.x * S, n = first + own;
    const bool multiplies = me < C, has_state = me < S * H && n < samples;
    const Column column = {weight + (multiplies ? me : 0), C};
    T *rows = (T *)room;
    real *states = (real *)(rows + ROWS * THREADS), *sums = states + S * PITCH, *entered = sums + S * C;
    real held[HELD];
    keep(column, held, rows);
    for (int i = me; i < S * PITCH; i += THREADS) states[i] = 0;
    __syncthreads();
    real h = has_state ? widened(h0[n * H + unit]) : real(0), c = has_state && KIND == LSTM ? widened(c0[n * H + unit]) : real(0);
    if (has_state) states[own * PITCH + unit] = h;
    const int length = has_state ? lengths[n] : 0;
    const real shift = BIAS && multiplies ? widened(bias[me]) : real(0);
    __syncthreads();
    for (int i = 0; i < steps; i++) {
        const long long t = reverse ? steps - 1 - i : i;
        real x[S], product[S];
        for (int s = 0; s < S; s++) x[s] = multiplies && first + s < samples ? widened(gates[(t * samples + first + s) * C + me]) : real(0);
        multiply(held, rows, column, states, PITCH, product);
        if (multiplies)
            for (int s = 0; s < S; s++)
                if (KIND == GRU && me >= 2 * H) sums[s * C + me] = product[s] + shift, entered[s * H + me - 2 * H] = x[s];
                else sums[s * C + me] = product[s] + shift + x[s];
        __syncthreads();
        if (has_state) {
            const real *a = sums + own * C + unit;
            const long long at = t * samples + n;
            T *kept = out_kept + at * 4 * H + unit;
            if (t < length) {
                if constexpr (KIND == LSTM) {
                    const real in = logistic(a[0]), forget = logistic(a[H]), candidate = tanh(a[2 * H]), out = logistic(a[3 * H]);
                    c = forget * c + in * candidate;
                    h = out * tanh(c);
                    kept[0] = narrowed(in), kept[H] = narrowed(forget), kept[2 * H] = narrowed(candidate), kept[3 * H] = narrowed(out);
                } else if constexpr (KIND == GRU) {
                    const real r = logistic(a[0]), z = logistic(a[H]), fresh = tanh(entered[own * H + unit] + r * a[2 * H]);
                    h = fresh + z * (h - fresh);
                    kept[0] = narrowed(r), kept[H] = narrowed(z), kept[2 * H] = narrowed(fresh), kept[3 * H] = narrowed(a[2 * H]);
                } else {
                    h = KIND == TANH ? tanh(a[0]) : a[0] < 0 ? real(0) : a[0];
                }
                states[own * PITCH + unit] = h;
            } else if constexpr (GATES > 1) {
                for (int gate = 0; gate < 4; gate++) kept[gate * H] = narrowed(0);
            }
            out_h[at * H + unit] = narrowed(h);
            if constexpr (KIND == LSTM) out_c[at * H + unit] = narrowed(c);
        }
        __syncthreads();
    }
}

// What a unit's cotangents are computed from, at one step.
struct Step { real kept[4], after, before, g_h, g_c; };

// `states` are the cells' after each step, c0 before the first; of the GRU the hidden states.
extern "C" __global__ void recurrent_grad(
    const T *kept, const T *c0, const T *weight, const T *states, const T *g_h, const T *g_c, const int *lengths, T *d_gates, T *d_own,
    T *d_h0, T *d_c0, int steps, int samples, int reverse
) {
    const int me = threadIdx.x, unit = me % H, own = me / H, n = blockIdx.x * S + own;
    const bool multiplies = me < C, has_state = me < S * H && n < samples;
    const int gate = multiplies ? own : 0;
    const Column column = {weight + (long long)gate * H * H + unit, H};
    T *rows = (T *)room;
    real *vectors = (real *)(rows + ROWS * THREADS), *parts = vectors + S * GATES * PITCH;
    real held[HELD];
    keep(column, held, rows);
    for (int i = me; i < S * GATES * PITCH; i += THREADS) vectors[i] = 0;
    for (int i = me; i < S * C; i += THREADS) parts[i] = 0;
    const int length = has_state ? lengths[n] : 0;
    const auto at = [&](int i) { return (long long)(reverse ? steps - 1 - i : i) * samples + n; };
    const auto read = [&](int i) {
        Step step = {};
        if (!has_state) return step;
        const long long here = at(i) * H + unit;
        for (int k = 0; k < 4; k++) step.kept[k] = widened(kept[at(i) * 4 * H + k * H + unit]);
        step.after = widened(states[here]);
        step.before = widened(i > 0 ? states[at(i - 1) * H + unit] : c0[n * H + unit]);
        if (GIVEN_H) step.g_h = widened(g_h[here]);
        if (GIVEN_C) step.g_c = widened(g_c[here]);
        return step;
    };
    const auto through_products = [&] {
        real sum = 0;
        for (int part = 0; part < GATES; part++) sum += parts[own * C + part * H + unit];
        return sum;
    };
    real rest = 0, dc = 0;  // what of the state's cotangent goes by the products, and that of the cell
    Step next = read(steps - 1);
    __syncthreads();
    for (int i = steps - 1; i >= 0; i--) {
        const Step now = next;
        if (i > 0) next = read(i - 1);
        if (has_state) {
            const real dh = rest + through_products() + now.g_h;
            real d[4] = {}, d_state = 0;  // by the gates, and of the GRU by what the state adds to the last
            dc += now.g_c;
            const bool runs = (reverse ? steps - 1 - i : i) < length;
            rest = dh;
            if (runs) {
                if constexpr (KIND == LSTM) {
                    const real in = now.kept[0], forget = now.kept[1], candidate = now.kept[2], out = now.kept[3];
                    const real y = tanh(now.after), through = dc + dh * out * tanh_slope(y);
                    d[0] = candidate * logistic_slope(in) * through, d[1] = now.before * logistic_slope(forget) * through;
                    d[2] = in * tanh_slope(candidate) * through, d[3] = dh * y * logistic_slope(out);
                    dc = through * forget, rest = 0;
                } else {
                    const real r = now.kept[0], z = now.kept[1], fresh = now.kept[2];
                    d[2] = (1 - z) * tanh_slope(fresh) * dh;
                    d[0] = d[2] * now.kept[3] * logistic_slope(r), d[1] = (now.before - fresh) * logistic_slope(z) * dh;
                    d_state = d[2] * r, rest = dh * z;
                }
            }
            T *gates = d_gates + at(i) * C + unit;
            for (int k = 0; k < GATES; k++) {
                const real by_state = KIND == GRU && k == 2 ? d_state : d[k];
                gates[k * H] = narrowed(d[k]);
                if (KIND == GRU) d_own[at(i) * C + k * H + unit] = narrowed(by_state);
                vectors[(own * GATES + k) * PITCH + unit] = by_state;
            }
        }
        __syncthreads();
        real product[S];
        multiply(held, rows, column, vectors + gate * PITCH, GATES * PITCH, product);
        if (multiplies)
            for (int s = 0; s < S; s++) parts[s * C + me] = product[s];
        __syncthreads();
    }
    if (!has_state) return;
    d_h0[n * H + unit] = narrowed(rest + through_products());
    if (KIND == LSTM) d_c0[n * H + unit] = narrowed(dc);
}

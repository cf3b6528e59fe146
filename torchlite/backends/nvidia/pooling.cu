// Pooling in up to three dimensions: the largest element of every window and its place there, sums of windows, and gradients.
//
// A thread computes one element of the result, which lies in memory as its number says: (lead, channels, D, H, W), or with
// channels innermost where LAST. What is read has any strides. Gradients ask, for an element, which windows it lies in: nothing is
// added atomically, and always in the same order. Before this text stand T, the type of the arrays, real, that of sums, widened(T),
// narrowed(real), P, that of places, and as constants LAST and for each dimension KERNELi, STRIDEi, PADDINGi and DILATIONi.

struct Element { int lead, channel, at[3]; };
struct Lengths { int of[3]; };

__device__ inline long long number() { return blockIdx.x * (long long)blockDim.x + threadIdx.x; }

__device__ inline Element placed(unsigned i, int channels, Lengths n) {
    Element p;
    if (LAST) p.channel = i % channels, i /= channels;
    for (int d = 2; d >= 0; d--) p.at[d] = i % n.of[d], i /= n.of[d];
    if (!LAST) p.channel = i % channels, i /= channels;
    p.lead = i;
    return p;
}

template <class V> struct Strided {
    const V *first;
    long long lead, channel, at[3];
    __device__ V operator()(Element p, int a, int b, int c) const {
        return first[p.lead * lead + p.channel * channel + a * at[0] + b * at[1] + c * at[2]];
    }
};

// Calls f(number of the place in the window, a, b, c) for the elements of the window at p that are no padding.
template <class F> __device__ inline void each_inside(Element p, Lengths n, F f) {
    const int a0 = p.at[0] * STRIDE0 - PADDING0, b0 = p.at[1] * STRIDE1 - PADDING1, c0 = p.at[2] * STRIDE2 - PADDING2;
    for (int i = 0; i < KERNEL0; i++)
        for (int j = 0; j < KERNEL1; j++)
            for (int k = 0; k < KERNEL2; k++) {
                const int a = a0 + i * DILATION0, b = b0 + j * DILATION1, c = c0 + k * DILATION2;
                if (a >= 0 && a < n.of[0] && b >= 0 && b < n.of[1] && c >= 0 && c < n.of[2])
                    f((i * KERNEL1 + j) * KERNEL2 + k, a, b, c);
            }
}

// Where the windows begin that have `at` as their element k, if any: f(window).
__device__ inline bool window_of(int at, int k, int stride, int padding, int dilation, int windows, int &window) {
    const int start = at + padding - k * dilation;
    window = start / stride;
    return start >= 0 && start % stride == 0 && window < windows;
}

// Calls f(number of the place in the window, a, b, c) for the windows in which the element at p lies.
template <class F> __device__ inline void each_around(Element p, Lengths windows, F f) {
    int a, b, c;
    for (int i = 0; i < KERNEL0; i++)
        if (window_of(p.at[0], i, STRIDE0, PADDING0, DILATION0, windows.of[0], a))
            for (int j = 0; j < KERNEL1; j++)
                if (window_of(p.at[1], j, STRIDE1, PADDING1, DILATION1, windows.of[1], b))
                    for (int k = 0; k < KERNEL2; k++)
                        if (window_of(p.at[2], k, STRIDE2, PADDING2, DILATION2, windows.of[2], c))
                            f((i * KERNEL1 + j) * KERNEL2 + k, a, b, c);
}

extern "C" __global__ void max_pool(
    const T *x, long long x0, long long x1, long long x2, long long x3, long long x4, T *out, P *places, int channels, int n0, int n1,
    int n2, int m0, int m1, int m2, int count
) {
    const long long i = number();
    if (i >= count) return;
    const Strided<T> of = {x, x0, x1, {x2, x3, x4}};
    const Element p = placed(i, channels, {m0, m1, m2});
    T best = narrowed(0);
    int place = -1;
    each_inside(p, {n0, n1, n2}, [&](int k, int a, int b, int c) {
        const T candidate = of(p, a, b, c);
        const real value = widened(candidate);
        // The first of equals stays, and NaN wins.
        if (place < 0 || value > widened(best) || value != value) best = candidate, place = k;
    });
    out[i] = best, places[i] = (P)place;
}

extern "C" __global__ void spread(
    const T *x, long long x0, long long x1, long long x2, long long x3, long long x4, const P *places, long long p0, long long p1,
    long long p2, long long p3, long long p4, T *out, int channels, int n0, int n1, int n2, int m0, int m1, int m2, int count
) {
    const long long i = number();
    if (i >= count) return;
    const Strided<T> of = {x, x0, x1, {x2, x3, x4}};
    const Strided<P> at = {places, p0, p1, {p2, p3, p4}};
    const Element p = placed(i, channels, {n0, n1, n2});
    real sum = 0;
    each_around(p, {m0, m1, m2}, [&](int k, int a, int b, int c) { if ((int)at(p, a, b, c) == k) sum += widened(of(p, a, b, c)); });
    out[i] = narrowed(sum);
}

extern "C" __global__ void sum_windows(
    const T *x, long long x0, long long x1, long long x2, long long x3, long long x4, T *out, int channels, int n0, int n1, int n2,
    int m0, int m1, int m2, int count
) {
    const long long i = number();
    if (i >= count) return;
    const Strided<T> of = {x, x0, x1, {x2, x3, x4}};
    const Element p = placed(i, channels, {m0, m1, m2});
    real sum = 0;
    each_inside(p, {n0, n1, n2}, [&](int, int a, int b, int c) { sum += widened(of(p, a, b, c)); });
    out[i] = narrowed(sum);
}

extern "C" __global__ void share(
    const T *x, long long x0, long long x1, long long x2, long long x3, long long x4, T *out, int channels, int n0, int n1, int n2,
    int m0, int m1, int m2, int count
) {
    const long long i = number();
    if (i >= count) return;
    const Strided<T> of = {x, x0, x1, {x2, x3, x4}};
    const Element p = placed(i, channels, {n0, n1, n2});
    real sum = 0;
    each_around(p, {m0, m1, m2}, [&](int, int a, int b, int c) { sum += widened(of(p, a, b, c)); });
    out[i] = narrowed(sum);
}

/* An int8 LSTM layer over packed rows, fused: products, gates, states, requantisation; and the attention.
 *
 * The same arithmetic as convai/emotion/int8.py, which is its reference and its fallback: weights with a
 * scale a gate channel, rows with one each, sums exact in int32, everything else float32. Compiled for
 * AVX-512 with VNNI, which the caller asks for first (convai_emotion_supported).
 *
 * Activations are unsigned (value + 128), as vpdpbusd wants them; `offset` is 128 times each channel's sum
 * of weights and takes that back. Channels are ordered so that 64 of them are the four gates i, f, o, g of
 * 16 hidden units: [hidden / 16][4][16]. The matrix of the inputs is packed in panels of 32 channels,
 * [channel / 32][k / 4][32][4], that of the states in panels of 64, whose products go on to the new states
 * without leaving the registers.
 *
 * The directions of a layer are shared among OpenMP threads. torch's operators have the same ones: threads
 * of another kind would have to wait for a core until torch's stop looking for work.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__)
#define FAST 1
#else
#define FAST 0
#endif

int convai_emotion_supported(void) {
#if FAST
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("fma");
#else
    return 0;
#endif
}

#if FAST
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,fma")
#endif
#include "gates.h"
#include "texts.h"

#define GATES 4
#define PANEL 32      /* channels of the inputs' panels */
#define BLOCK 64      /* channels of the states' panels: all gates of 16 units */
#define ROWS 12       /* 12 rows x 2 vectors of sums, 2 weights, 1 activation: 27 of 32 registers */
#define STATE_ROWS 6  /* 6 rows x 4 vectors */
#define TOGETHER 24   /* input rows multiplied at once: a single text's weights are read once for as many steps */

typedef struct {
    const int8_t *weights;
    const float *scale;
    const int32_t *offset;
} Matrix;

/* What one direction computes with; as convai/emotion/native.py hands it over. */
typedef struct {
    Matrix inputs, states;
    const float *bias;
} Side;

/* Sums of `count` rows times `vectors` vectors of channels: [count][vectors]. Inlined with constants, so that
 * they stay in registers; 24 at most. `apart`: rows in a group; vector j begins at w[j / 2][j % 2]. */
#define STEP                                                                                              \
    {                                                                                                     \
        __m512i weights[8];                                                                               \
        _Pragma("GCC unroll 8") for (int j = 0; j < vectors; j++) weights[j] =                            \
            _mm512_loadu_si512(w + (j / width) * panel + (j % width) * 64);                               \
        _Pragma("GCC unroll 12") for (int r = 0; r < count; r++) {                                        \
            __m512i x = _mm512_set1_epi32(rows[r]);                                                       \
            _Pragma("GCC unroll 8") for (int j = 0; j < vectors; j++) /* the intrinsic costs a copy each in GCC 12 */ \
                __asm__("vpdpbusd %2, %1, %0" : "+v"(sum[r * vectors + j]) : "v"(x), "v"(weights[j]));     \
        }                                                                                                 \
        rows += apart, w += 64 * width;                                                                   \
    }
static inline __attribute__((always_inline)) void multiply(const int count, const int vectors, const int width,
                                                           const long apart, const int32_t *rows, const int8_t *w,
                                                           long depth, __m512i *sum) {
    const long panel = 16 * width * depth;
    long k = depth / 4;
#pragma GCC unroll 24
    for (int i = 0; i < count * vectors; i++) sum[i] = _mm512_setzero_si512();
    for (; k >= 4; k -= 4) { /* counters and pointers take the products' ports: so four at a time */
        STEP STEP STEP STEP
    }
    for (; k; k--) STEP
}
#undef STEP

static inline __m512 scaled(__m512i sum, const Matrix *m, long channel, float row_scale, const float *plus) {
    __m512 value = _mm512_cvtepi32_ps(_mm512_sub_epi32(sum, _mm512_loadu_si512(m->offset + channel)));
    __m512 both = _mm512_mul_ps(_mm512_loadu_ps(m->scale + channel), _mm512_set1_ps(row_scale));
    return _mm512_fmadd_ps(value, both, _mm512_loadu_ps(plus));
}

/* `count` rows of inputs times `panels` panels from channel `at` on, plus the bias, to `out`. */
static inline __attribute__((always_inline)) void input_kernel(const int count, const int panels, const int32_t *rows,
                                                               const float *row_scale, const Side *s, long depth,
                                                               long at, float *out, long stride) {
    __m512i sum[24];
    multiply(count, 2 * panels, 2, ROWS, rows, s->inputs.weights + at * depth, depth, sum);
#pragma GCC unroll 12
    for (int r = 0; r < count; r++)
#pragma GCC unroll 8
        for (int j = 0; j < 2 * panels; j++) {
            long channel = at + LANES * j;
            __m512 v = scaled(sum[r * 2 * panels + j], &s->inputs, channel, row_scale[r], s->bias + channel);
            _mm512_storeu_ps(out + r * stride + channel, v);
        }
}

/* Gates of `count` rows of inputs, all channels. A panel stays in the first-level cache while all rows pass it. */
static void input_gates(const int32_t *rows, const float *row_scale, long count, const Side *s, long depth,
                        long channels, float *out, long stride) {
#define RUN(n, panels)                                              \
    for (long at = 0; at < channels; at += (panels)*PANEL)          \
    input_kernel(n, panels, rows, row_scale, s, depth, at, out, stride)
    switch (count) {
    case 1: RUN(1, 4); return;
    case 2: RUN(2, 4); return;
    case 3: RUN(3, 4); return;
    case 4: RUN(4, 2); return;
    case 5: RUN(5, 2); return;
    case 6: RUN(6, 2); return;
    }
#undef RUN
    for (long at = 0; at < channels; at += PANEL) {
        long r = 0;
#define REST(n) \
    case n: input_kernel(n, 1, rows + r * (depth / 4), row_scale + r, s, depth, at, out + r * stride, stride); break
        for (; r + ROWS <= count; r += ROWS)
            input_kernel(ROWS, 1, rows + r * (depth / 4), row_scale + r, s, depth, at, out + r * stride, stride);
        switch (count - r) {
            REST(1); REST(2); REST(3); REST(4); REST(5); REST(6);
            REST(7); REST(8); REST(9); REST(10); REST(11);
        }
#undef REST
    }
}

/* What goes on at a step: the quantised states of the rows before, what the inputs give to the gates, cells. */
typedef struct {
    const int32_t *states;
    const float *state_scale;
    const float *gates;
    float *cells;
    float **out; /* where each row's new state goes */
    long depth;  /* 0 at the first step, whose states are all zero, and whose scales are */
    long hidden, stride;
} Step;

/* `count` rows from row `r` on: their new states of `16 * blocks` units from `unit` on. */
static inline __attribute__((always_inline)) void state_kernel(const int count, const int blocks, const int hard,
                                                               const Step *t, const Side *s, long r, long unit) {
    const int vectors = GATES * blocks;
    __m512i sum[24];
    multiply(count, vectors, GATES, STATE_ROWS, t->states + r * (t->depth / 4),
             s->states.weights + GATES * unit * t->depth, t->depth, sum);
#pragma GCC unroll 6
    for (int i = 0; i < count; i++)
#pragma GCC unroll 2
        for (int b = 0; b < blocks; b++) {
            const long at = unit + LANES * b;
            const float *before = t->gates + (r + i) * t->stride + GATES * at;
            __m512 v[GATES];
#pragma GCC unroll 4
            for (int g = 0; g < GATES; g++)
                v[g] = scaled(sum[i * vectors + GATES * b + g], &s->states, GATES * at + LANES * g,
                              t->state_scale[r + i], before + LANES * g);
            float *cell = t->cells + (r + i) * t->hidden + at;
            __m512 c = _mm512_mul_ps(gate(v[0], hard), fast_tanh(v[3]));
            c = _mm512_fmadd_ps(gate(v[1], hard), _mm512_loadu_ps(cell), c);
            _mm512_storeu_ps(cell, c);
            _mm512_storeu_ps(t->out[r + i] + at, _mm512_mul_ps(gate(v[2], hard), fast_tanh(c)));
        }
}

/* New states of `count` rows, all units. */
static inline __attribute__((always_inline)) void step(const int hard, long count, const Step *t, const Side *s) {
    if (count == 1) { /* two blocks at once: four sums alone would wait for each other */
        for (long unit = 0; unit < t->hidden; unit += 2 * LANES) state_kernel(1, 2, hard, t, s, 0, unit);
        return;
    }
    for (long unit = 0; unit < t->hidden; unit += LANES) {
        long r = 0;
        for (; r + STATE_ROWS <= count; r += STATE_ROWS) state_kernel(STATE_ROWS, 1, hard, t, s, r, unit);
        switch (count - r) {
        case 1: state_kernel(1, 1, hard, t, s, r, unit); break;
        case 2: state_kernel(2, 1, hard, t, s, r, unit); break;
        case 3: state_kernel(3, 1, hard, t, s, r, unit); break;
        case 4: state_kernel(4, 1, hard, t, s, r, unit); break;
        case 5: state_kernel(5, 1, hard, t, s, r, unit); break;
        }
    }
}

static void hard_step(long count, const Step *t, const Side *s) { step(1, count, t, s); }
static void soft_step(long count, const Step *t, const Side *s) { step(0, count, t, s); }

/* A direction of a layer. Returns 0, or 1 without memory. */
static int direction(const float *x, long depth, long hidden, const Texts *texts, int backwards, const Side *s, int hard,
                     float *out, long out_width) {
    const int64_t *sizes = texts->sizes;
    long steps = texts->steps, batch = texts->count, channels = GATES * hidden;
    long stride = channels + LANES; /* rows 4 KiB apart would all fall into the same lines of the cache */
    long group = batch > TOGETHER ? batch : TOGETHER + batch; /* most rows multiplied at once */
    long padded = (group / ROWS + 1) * ROWS, states = (batch / STATE_ROWS + 1) * STATE_ROWS;
    int32_t *xq = malloc(padded * depth), *hq = malloc(states * hidden);
    float *xs = malloc(padded * sizeof(float)), *hs = calloc(states, sizeof(float));
    float *gates = malloc(group * stride * sizeof(float) + 1), *cells = calloc(batch * hidden + 1, sizeof(float));
    float **to = malloc((batch + 1) * sizeof(float *));
    int failed = !xq || !hq || !xs || !hs || !gates || !cells || !to;
    long row = 0, ready = 0, first = 0;
    for (long t = 0; t < steps && !failed; t++) {
        if (row == ready) { /* the inputs of this step and, while they are few, of the next ones */
            first = row;
            for (long next = t; next < steps && (next == t || ready - first + sizes[next] <= TOGETHER); next++)
                ready += sizes[next];
            for (long i = 0, step = t, b = 0; i < ready - first; i++) {
                const float *from = x + row_at(texts, backwards, step, b) * depth;
                xs[i] = quantise(from, depth, xq + i / ROWS * ROWS * (depth / 4) + i % ROWS, ROWS);
                if (++b == sizes[step]) step++, b = 0;
            }
            input_gates(xq, xs, ready - first, s, depth, channels, gates, stride);
        }
        for (long b = 0; b < sizes[t]; b++) to[b] = out + row_at(texts, backwards, t, b) * out_width;
        Step now = {hq, hs, gates + (row - first) * stride, cells, to, t ? hidden : 0, hidden, stride};
        (hard ? hard_step : soft_step)(sizes[t], &now, s);
        for (long b = 0; t + 1 < steps && b < sizes[t + 1]; b++)
            hs[b] = quantise(to[b], hidden, hq + b / STATE_ROWS * STATE_ROWS * (hidden / 4) + b % STATE_ROWS, STATE_ROWS);
        row += sizes[t];
    }
    free(xq), free(hq), free(xs), free(hs), free(gates), free(cells), free(to);
    return failed;
}
#endif

/* A layer of one or two directions, the second backwards, on at most `threads` threads. x: [rows, depth], packed:
 * the first words of all texts, longest text first, then all second words, and so on; sizes: texts that have a
 * word at each of `steps` steps; sides: Side[directions]; out: [rows, directions * hidden]. `depth` is a multiple
 * of 4, `hidden` of 32. Returns 0; 1 without memory; 2 where the processor is not meant. */
int convai_emotion_layer(const float *x, long depth, long hidden, const int64_t *sizes, long steps, long directions,
                         const void *sides, int hard, float *out, long threads) {
#if !FAST
    return 2;
#else
    Texts texts;
    if (!read_texts(&texts, sizes, steps)) return 1;
    int failed = 0;
#pragma omp parallel for schedule(static, 1) reduction(| : failed) num_threads(threads) if (threads > 1)
    for (long d = 0; d < directions; d++)
        failed |= direction(x, depth, hidden, &texts, d == 1, (const Side *)sides + d, hard, out + d * hidden,
                            directions * hidden);
    free(texts.starts);
    return failed;
#endif
}

/* Attention over `parts` packed matrices side by side, parts[i]: [rows, widths[i]]: a text's words are weighted
 * by a softmax of their products with `vector` (the widths in all), features: [texts, all widths] are the sums,
 * attention: [texts, wide], zeroed by the caller, gets the weights. Text b is row places[b] of both. Returns as
 * convai_emotion_layer does. */
int convai_emotion_attend(const float *const *parts, const int64_t *widths, long count, const float *vector,
                          const int64_t *sizes, long steps, const int64_t *places, float *features, float *attention,
                          long wide, long threads) {
#if !FAST
    return 2;
#else
    Texts texts;
    if (!read_texts(&texts, sizes, steps)) return 1;
    long width = 0;
    for (long i = 0; i < count; i++) width += widths[i];
#pragma omp parallel for schedule(dynamic, 4) num_threads(threads) if (threads > 1 && texts.count >= MANY)
    for (long b = 0; b < texts.count; b++)
        attend(parts, widths, count, vector, &texts, b, features + places[b] * width, attention + places[b] * wide);
    free(texts.starts);
    return 0;
#endif
}

#if defined(__clang__) && FAST
#pragma clang attribute pop
#endif

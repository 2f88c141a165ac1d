/* Products of 8-bit rows with 8-bit weights (AVX-512 VNNI), exact in 32-bit whole numbers. */
#ifndef CONVAI_PRODUCT_H
#define CONVAI_PRODUCT_H

#include "vector.h"

#define PANEL 32     /* outputs whose weights lie together, and one piece of work */
#define TILE_ROWS 12 /* 12 rows x 2 vectors: 24 sums in registers, two loads and 12 broadcasts for 24 products */
#define FEW_ROWS 6   /* 12 sums and 12 totals: most rows of a tile where inputs are in groups, each of which is added to totals */
#define CHUNK_ROWS 48 /* most rows of one piece of work */
#define NEAR 512     /* bytes that few rows, which wait for memory, fetch ahead: a core of Zen 4 reads a third less with 18 kB */

/* A linear layer. Weights are w = (stored - 128) * scale of their output, stored as
   [outputs / 32][inputs / 4][32][4], outputs padded to 64, inputs to 64 (with 128, that is 0). Rows that go in have a
   scale for every `group` inputs. */
typedef struct {
    const uint8_t *weight;
    const float *scale, *bias; /* [outputs padded] */
    int32_t inputs, padded, outputs, group;
} Linear;

/* Quantised rows: x = q * scale of the group; sum is that of a group's q, times -128. */
typedef struct {
    int8_t *q; /* [rows][stride] */
    float *scale;
    int32_t *sum; /* [rows][most groups], as scale */
    int32_t stride, groups;
} Rows;

/* What becomes of a product. STORE_GATED: the outputs are 16 gates and the 16 numbers that they gate in turn, and
   silu(gate) * number is stored, half as many (SwiGLU: Shazeer 2020, arXiv 2002.05202). */
enum Ending { STORE, STORE_GELU, STORE_GATED, ADD };

static inline void quantise_to(const float *x, const Linear *layer, Rows to, int r) {
    int8_t *q = to.q + (long)r * to.stride;
    float *scale = to.scale + (long)r * to.groups;
    int32_t *sum = to.sum + (long)r * to.groups;
    for (int from = 0; from < layer->padded; from += layer->group, scale++, sum++) {
        const int n = layer->inputs - from < layer->group ? layer->inputs - from : layer->group;
        *scale = quantise_row(x + from, n, q + from, sum);
        *sum *= -128;
    }
    for (int i = layer->inputs; i < layer->padded; i++) q[i] = 0;
}

/* A total and the next group's sum. Rounded once, whoever adds: a row gives the same in tiles of every height. */
static inline vec joined(vec total, __m512i sum, float scale) {
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), _mm512_set1_ps(scale), total);
}

/* sums + four products each, of weights and of a row's numbers. In assembly, since GCC 12 copies each sum twice around the
   intrinsic, in every step of the loop. */
static inline __attribute__((always_inline)) __m512i dot4(__m512i sums, __m512i weights, __m512i numbers) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sums) : "v"(weights), "v"(numbers));
    return sums;
}

/* The end of a tile: totals of `rows` rows and of the panel's outputs from `first` on, short of scales and biases. `to`: where
   the first row is stored. */
static inline __attribute__((always_inline)) void finish(const int rows, vec (*total)[2], const Linear *layer, int first, float *to,
                                                         long ld, enum Ending ending) {
    const vec scale[2] = {_mm512_loadu_ps(layer->scale + first), _mm512_loadu_ps(layer->scale + first + 16)};
    const vec bias[2] = {_mm512_loadu_ps(layer->bias + first), _mm512_loadu_ps(layer->bias + first + 16)};
    const int left = layer->outputs - first;
    const __mmask16 valid[2] = {left >= 16 ? 0xffff : (__mmask16)((1u << left) - 1),
                                left >= 32 ? 0xffff : left > 16 ? (__mmask16)((1u << (left - 16)) - 1) : 0};
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++, to += ld) {
        vec y[2];
#pragma GCC unroll 2
        for (int v = 0; v < 2; v++) y[v] = _mm512_fmadd_ps(total[r][v], scale[v], bias[v]);
        if (ending == STORE_GATED) {
            _mm512_storeu_ps(to, _mm512_mul_ps(silu16(y[0]), y[1]));
            continue;
        }
#pragma GCC unroll 2
        for (int v = 0; v < 2; v++) {
            if (ending == STORE_GELU) y[v] = gelu16(y[v]);
            if (ending == ADD) y[v] = _mm512_add_ps(y[v], _mm512_maskz_loadu_ps(valid[v], to + 16 * v));
            _mm512_mask_storeu_ps(to + 16 * v, valid[v], y[v]);
        }
    }
}

/* What a tile fetches for those that come after it: `bytes` (64 or 128) from `from` on for every 128 that it reads. */
typedef struct {
    const uint8_t *from;
    long bytes;
} Fetch;

/* `rows` x 32 outputs from output `first` on; rows is a constant once inlined. Few rows have two sums an output (`chains`),
   so that products need not wait for one another. More than FEW_ROWS: all inputs are one group, since totals beside the sums
   do not fit into the registers. */
static inline __attribute__((always_inline)) void tile(const int rows, const int chains, const Linear *layer, int first, Rows x,
                                                       int row, float *out, long ld, enum Ending ending, Fetch fetch) {
    vec total[TILE_ROWS][2];
    const uint8_t *w = layer->weight + (long)first * layer->padded;
    const int8_t *q = x.q + (long)row * x.stride;
    const float *scale = x.scale + (long)row * x.groups;
    const int32_t *sum = x.sum + (long)row * x.groups;
    float *to = out + row * ld + (ending == STORE_GATED ? first / 2 : first);
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++) { /* stores that wait for their lines cost a sixteenth of all */
        total[r][0] = total[r][1] = _mm512_setzero_ps();
        __builtin_prefetch(to + r * ld, 1);
        if (ending != STORE_GATED) __builtin_prefetch(to + r * ld + 16, 1);
    }
    for (int from = 0; from < layer->padded; from += layer->group, scale++, sum++) {
        const int end = from + layer->group < layer->padded ? from + layer->group : layer->padded;
        __m512i sums[TILE_ROWS][2][2];
#pragma GCC unroll 12
        for (int r = 0; r < rows; r++) {
            sums[r][0][0] = sums[r][0][1] = _mm512_set1_epi32(sum[(long)r * x.groups]);
            if (chains == 2) sums[r][1][0] = sums[r][1][1] = _mm512_setzero_si512();
        }
        for (int k = from; k < end; k += 4 * chains)
#pragma GCC unroll 2
            for (int c = 0; c < chains; c++, fetch.from += fetch.bytes, w += 4 * PANEL, q += 4) {
                const __m512i w0 = _mm512_loadu_si512(w), w1 = _mm512_loadu_si512(w + 64);
                _mm_prefetch(fetch.from, _MM_HINT_T1);
                _mm_prefetch(fetch.from + fetch.bytes - 64, _MM_HINT_T1);
#pragma GCC unroll 12
                for (int r = 0; r < rows; r++) {
                    int32_t four;
                    __builtin_memcpy(&four, q + (long)r * x.stride, 4);
                    const __m512i numbers = _mm512_set1_epi32(four);
                    sums[r][c][0] = dot4(sums[r][c][0], w0, numbers);
                    sums[r][c][1] = dot4(sums[r][c][1], w1, numbers);
                }
            }
#pragma GCC unroll 12
        for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
            for (int v = 0; v < 2; v++) {
                const __m512i whole = chains == 2 ? _mm512_add_epi32(sums[r][0][v], sums[r][1][v]) : sums[r][0][v];
                total[r][v] = joined(total[r][v], whole, scale[(long)r * x.groups]);
            }
        if (rows > FEW_ROWS) break;
    }
    finish(rows, total, layer, first, to, ld, ending);
}

#define CASE(n, chains)                                                                                                 \
    case n:                                                                                                             \
        tile(n, chains, layer, first, x, row, out, ld, ending, fetch);                                                  \
        break;

/* Rows `row` ... `end` - 1 of one panel, in tiles of nearly the same height, which fetch the next panel, `ahead` (NULL: it
   has been). Not inlined: one copy of the tiles serves every layer. */
static __attribute__((noinline)) void panel(const Linear *layer, int first, Rows x, int row, int end, float *out, long ld,
                                            enum Ending ending, const uint8_t *ahead) {
    const uint8_t *w = layer->weight + (long)first * layer->padded;
    const int most = layer->group < layer->padded ? FEW_ROWS : TILE_ROWS;
    const long half = (long)layer->padded * PANEL / 2;
    int tiles = (end - row + most - 1) / most, height;
    Fetch fetch = {ahead ? ahead : w, tiles > 1 ? 64 : 128};
    if (end - row <= 4) fetch.from = w + NEAR;
    for (int t = 0; t < tiles; t++, row += height) {
        if (t) fetch.from = t == 1 && ahead ? ahead + half : w; /* the panel itself is there, whatever is fetched of it */
        height = (end - row + tiles - t - 1) / (tiles - t);
        switch (height) {
            CASE(1, 2)
            CASE(2, 2)
            CASE(3, 2)
            CASE(4, 2)
            CASE(5, 1)
            CASE(6, 1)
            CASE(7, 1)
            CASE(8, 1)
            CASE(9, 1)
            CASE(10, 1)
            CASE(11, 1)
            default: tile(TILE_ROWS, 1, layer, first, x, row, out, ld, ending, fetch);
        }
    }
}

static inline int panels_of(const Linear *layer) { return (layer->outputs + PANEL - 1) / PANEL; }

static inline const uint8_t *weights_of(const Linear *layer, int panel) {
    return layer->weight + (long)panel * PANEL * layer->padded;
}

/* Threads that compute together; each finds its share of a product by itself, so that it knows what it reads next. */
typedef struct {
    int id, size;
} Team;

/* The team's share of out[rows][ld]. `then`: the layer that is computed after this one, whose weights are fetched at the end,
   or NULL. */
static void product(const Linear *layer, Rows x, int rows, float *out, long ld, enum Ending ending, const Linear *then, Team team) {
    const int chunks = (rows + CHUNK_ROWS - 1) / CHUNK_ROWS;
    const long items = (long)panels_of(layer) * chunks, end = items * (team.id + 1) / team.size;
    for (long i = items * team.id / team.size; i < end; i++) {
        const int at = (int)(i / chunks), chunk = (int)(i % chunks);
        const uint8_t *ahead = 0;
        if (!chunk) {
            if (i + chunks < end) ahead = weights_of(layer, at + 1);
            else if (then) ahead = weights_of(then, panels_of(then) * team.id / team.size);
        }
        panel(layer, at * PANEL, x, (int)((long)rows * chunk / chunks), (int)((long)rows * (chunk + 1) / chunks), out, ld, ending,
              ahead);
    }
}

#endif

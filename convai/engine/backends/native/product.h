/* Products of 8-bit rows with 8-bit weights (AVX-512 VNNI), exact in 32-bit whole numbers. */
#ifndef CONVAI_PRODUCT_H
#define CONVAI_PRODUCT_H

#include "vector.h"

#define PANEL 32     /* outputs whose weights lie together */
#define PIECE 64     /* outputs of one piece of work */
#define TILE_ROWS 12 /* 12 rows x 2 vectors: 24 sums in registers, two loads and 12 broadcasts for 24 products */
#define CHUNK_ROWS 48

/* A linear layer. Weights are w = (stored - 128) * scale of their output, stored as
   [outputs / 32][inputs / 4][32][4], outputs padded to 64, inputs to 64 (with 128, that is 0). */
typedef struct {
    const uint8_t *weight;
    const float *scale, *bias; /* [outputs padded] */
    int32_t inputs, padded, outputs;
} Linear;

/* Quantised rows: x = q * scale; sum is that of q. */
typedef struct {
    int8_t *q; /* [rows][stride] */
    float *scale;
    int32_t *sum;
    int32_t stride;
} Rows;

enum Ending { STORE, STORE_GELU, ADD };

/* Whole numbers to what they stand for: scales, bias, and the ending. */
static void finish(int rows, int vectors, const int32_t *raw, const Linear *layer, int first, Rows x, int row, float *out,
                   long ld, enum Ending ending) {
    for (int v = 0; v < vectors; v++) {
        int o = first + 16 * v, left = layer->outputs - o;
        if (left <= 0) return;
        __mmask16 valid = left >= 16 ? 0xffff : (__mmask16)((1u << left) - 1);
        vec scale = _mm512_loadu_ps(layer->scale + o), bias = _mm512_loadu_ps(layer->bias + o);
        for (int r = 0; r < rows; r++) {
            __m512i sum = _mm512_loadu_si512(raw + (r * vectors + v) * 16);
            sum = _mm512_sub_epi32(sum, _mm512_set1_epi32(128 * x.sum[row + r]));
            vec y = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_mul_ps(_mm512_set1_ps(x.scale[row + r]), scale));
            y = _mm512_add_ps(y, bias);
            float *to = out + (row + r) * ld + o;
            if (ending == STORE_GELU) y = gelu16(y);
            if (ending == ADD) y = _mm512_add_ps(y, _mm512_maskz_loadu_ps(valid, to));
            _mm512_mask_storeu_ps(to, valid, y);
        }
    }
}

/* `rows` x 16 `vectors` outputs from output `first` on; rows and vectors are constants once inlined. `ahead`:
   fetch the next panel meanwhile. */
static inline __attribute__((always_inline)) void tile(const int rows, const int vectors, const Linear *layer, int first,
                                                       Rows x, int row, float *out, long ld, enum Ending ending, int ahead) {
    __m512i sums[TILE_ROWS][4];
    const uint8_t *w[2] = {layer->weight + (long)first * layer->padded, layer->weight + (long)(first + PANEL) * layer->padded};
    const int8_t *q = x.q + (long)row * x.stride;
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) sums[r][v] = _mm512_setzero_si512();
    for (int k = 0; k < layer->padded; k += 4) {
        __m512i ws[4];
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) ws[v] = _mm512_loadu_si512(w[v / 2] + (long)k * PANEL + v % 2 * 64);
        if (ahead)
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++) _mm_prefetch(w[v / 2] + (k + layer->padded) * (long)PANEL + v % 2 * 64, _MM_HINT_T1);
#pragma GCC unroll 12
        for (int r = 0; r < rows; r++) {
            int32_t four;
            __builtin_memcpy(&four, q + (long)r * x.stride + k, 4);
            __m512i qs = _mm512_set1_epi32(four);
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++) sums[r][v] = _mm512_dpbusd_epi32(sums[r][v], ws[v], qs);
        }
    }
    int32_t raw[TILE_ROWS * PIECE];
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) _mm512_storeu_si512(raw + (r * vectors + v) * 16, sums[r][v]);
    finish(rows, vectors, raw, layer, first, x, row, out, ld, ending);
}

#define CASE(n, v, a)                                                                                                     \
    case n:                                                                                                            \
        tile(n, v, layer, first, x, row, out, ld, ending, a);                                                            \
        break;

/* Rows `row` ... `end` - 1 of one panel; its halves one after the other, so that half a panel stays in the first cache
   for all rows. Not inlined: one copy of the tiles serves every layer. */
static __attribute__((noinline)) void panel(const Linear *layer, int first, Rows x, int row, int end, float *out, long ld,
                                            enum Ending ending) {
    if (end - row <= 6) {
        switch (end - row) {
            CASE(1, 4, 0)
            CASE(2, 4, 0)
            CASE(3, 4, 0)
            CASE(4, 4, 0)
            CASE(5, 4, 0)
            CASE(6, 4, 0)
        }
        return;
    }
    const int begin = row, last = first + PIECE;
    for (; first < last; first += PANEL)
        for (row = begin; row < end; row += TILE_ROWS)
            switch (end - row) {
                CASE(1, 2, row == begin)
                CASE(2, 2, row == begin)
                CASE(3, 2, row == begin)
                CASE(4, 2, row == begin)
                CASE(5, 2, row == begin)
                CASE(6, 2, row == begin)
                CASE(7, 2, row == begin)
                CASE(8, 2, row == begin)
                CASE(9, 2, row == begin)
                CASE(10, 2, row == begin)
                CASE(11, 2, row == begin)
                default: tile(TILE_ROWS, 2, layer, first, x, row, out, ld, ending, row == begin);
            }
}

/* out[rows][ld] of all rows, shared among the threads of the team; ends with a barrier. */
static void product(const Linear *layer, Rows x, int rows, float *out, long ld, enum Ending ending) {
    int panels = (layer->outputs + PIECE - 1) / PIECE, chunks = (rows + CHUNK_ROWS - 1) / CHUNK_ROWS;
#pragma omp for schedule(static)
    for (int i = 0; i < panels * chunks; i++) {
        int row = i % chunks * CHUNK_ROWS;
        int end = row + CHUNK_ROWS < rows ? row + CHUNK_ROWS : rows;
        panel(layer, i / chunks * PIECE, x, row, end, out, ld, ending);
    }
}

#endif

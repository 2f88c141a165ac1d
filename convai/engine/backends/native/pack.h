/* Weights from single precision to the 8 bits that products are made of, in one pass over each row's cache lines. */
#ifndef CONVAI_PACK_H
#define CONVAI_PACK_H

#include "product.h"

/* The scale of a row and its numbers / scale, rounded as torch rounds (half to even), plus 128, to `to`: four at a time,
   4 * PANEL bytes apart. A row that holds what is not a number gets such a scale. */
static inline float pack_row(const float *x, int n, uint8_t *to) {
    vec top = _mm512_setzero_ps();
    __mmask16 bad = 0;
    for (int i = 0; i < n; i += 16) {
        __mmask16 valid = n - i < 16 ? (__mmask16)((1u << (n - i)) - 1) : 0xffff;
        vec v = _mm512_maskz_loadu_ps(valid, x + i);
        bad |= _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
        top = _mm512_max_ps(top, _mm512_abs_ps(v));
    }
    float most = _mm512_reduce_max_ps(top), scale = (most > 1e-30f ? most : 1e-30f) / 127.0f;
    const vec by = _mm512_set1_ps(scale);
    for (int i = 0; i < n; i += 16) {
        __mmask16 valid = n - i < 16 ? (__mmask16)((1u << (n - i)) - 1) : 0xffff;
        __m512i q = _mm512_cvtps_epi32(_mm512_div_ps(_mm512_maskz_loadu_ps(valid, x + i), by));
        __m128i bytes = _mm_xor_si128(_mm512_cvtsepi32_epi8(q), _mm_set1_epi8((char)128));
        uint32_t fours[4];
        _mm_storeu_si128((__m128i *)fours, bytes);
        for (int k = 0; k < 4 && i + 4 * k < n; k++) __builtin_memcpy(to + (long)(i / 4 + k) * 4 * PANEL, fours + k, 4);
    }
    return bad ? NAN : scale;
}

/* The outputs' rows of `inputs` numbers as a Linear's weight `to` and `scale`, both with room for what sizes are padded
   to. */
static void pack(const float *const *row, int outputs, int inputs, uint8_t *to, float *scale, int threads) {
    const int rows = up(outputs, 64), padded = up(inputs, 64);
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
    for (int first = 0; first < rows; first += PANEL) {
        uint8_t *panel = to + (long)first * padded;
        memset(panel, 128, (long)PANEL * padded);
        for (int r = 0; r < PANEL; r++)
            scale[first + r] = first + r < outputs ? pack_row(row[first + r], inputs, panel + 4 * r) : 0;
    }
}

#endif

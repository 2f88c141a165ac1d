/* What cell.c does sixteen numbers at a time: tanh, gates, rows as bytes. */
#include <immintrin.h>
#include <stdint.h>

#define LANES 16

/* A rational approximation, within 3e-7 of tanh (the minimax one of Eigen's generic fast tanh). */
static inline __m512 fast_tanh(__m512 v) {
    const __m512 limit = _mm512_set1_ps(7.90531110763549805f);
    __m512 x = _mm512_max_ps(_mm512_min_ps(v, limit), _mm512_sub_ps(_mm512_setzero_ps(), limit));
    __m512 s = _mm512_mul_ps(x, x), p = _mm512_set1_ps(-2.76076847742355e-16f);
#define TERM(sum, c) sum = _mm512_fmadd_ps(sum, s, _mm512_set1_ps(c))
    TERM(p, 2.00018790482477e-13f);
    TERM(p, -8.60467152213735e-11f);
    TERM(p, 5.12229709037114e-08f);
    TERM(p, 1.48572235717979e-05f);
    TERM(p, 6.37261928875436e-04f);
    TERM(p, 4.89352455891786e-03f);
    __m512 q = _mm512_set1_ps(1.19825839466702e-06f);
    TERM(q, 1.18534705686654e-04f);
    TERM(q, 2.26843463243900e-03f);
    TERM(q, 4.89352518554385e-03f);
#undef TERM
    /* 1 / q by one step of Newton's from 14 bits: a division takes as long as all the rest */
    __m512 r = _mm512_rcp14_ps(q);
    r = _mm512_mul_ps(r, _mm512_fnmadd_ps(q, r, _mm512_set1_ps(2.0f)));
    return _mm512_mul_ps(_mm512_mul_ps(x, p), r);
}

static inline __m512 gate(__m512 v, int hard) {
    if (hard) return _mm512_min_ps(_mm512_max_ps(v, _mm512_setzero_ps()), _mm512_set1_ps(1.0f));
    const __m512 half = _mm512_set1_ps(0.5f); /* sigmoid(x) = (1 + tanh(x / 2)) / 2 */
    return _mm512_fmadd_ps(half, fast_tanh(_mm512_mul_ps(half, v)), half);
}

static inline __mmask16 present(long left) { return left >= LANES ? 0xffff : left <= 0 ? 0 : (__mmask16)((1 << left) - 1); }

/* One row of n numbers as unsigned bytes; returns its scale. Rows are interleaved by four activations, so that
 * the innermost loop needs one pointer for all rows of a group: this row's words go to block[0], block[apart]. */
static float quantise(const float *row, long n, int32_t *block, long apart) {
    __m512 top = _mm512_set1_ps(1e-12f);
    for (long k = 0; k < n; k += LANES)
        top = _mm512_max_ps(top, _mm512_abs_ps(_mm512_maskz_loadu_ps(present(n - k), row + k)));
    float most = _mm512_reduce_max_ps(top);
    __m512 factor = _mm512_set1_ps(127.0f / most), middle = _mm512_set1_ps(128.5f);
    const __m512i places = _mm512_mullo_epi32(
        _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), _mm512_set1_epi32((int)apart));
    for (long k = 0; k < n; k += 4 * LANES) {
        __m128i part[4];
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            __m512 v = _mm512_maskz_loadu_ps(present(n - k - i * LANES), row + k + i * LANES);
            part[i] = _mm512_cvtepi32_epi8(_mm512_cvttps_epi32(_mm512_fmadd_ps(v, factor, middle)));
        }
        __m512i words = _mm512_castsi128_si512(part[0]);
        words = _mm512_inserti32x4(words, part[1], 1);
        words = _mm512_inserti32x4(words, part[2], 2);
        words = _mm512_inserti32x4(words, part[3], 3);
        _mm512_mask_i32scatter_epi32(block + k / 4 * apart, present((n - k) / 4), places, words, 4);
    }
    return most / 127.0f;
}

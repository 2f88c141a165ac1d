/* Vectors of 16 floats: exponential, GELU, SiLU, sums, half-precision loads; and rows quantised to 8 bits. */
#ifndef CONVAI_VECTOR_H
#define CONVAI_VECTOR_H

#include <immintrin.h>
#include <math.h>
#include <stdint.h>

typedef __m512 vec;

static inline vec load_half(const uint16_t *p) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p)); }

static inline void store_half(uint16_t *p, vec x) {
    /* what half precision cannot hold becomes its largest number, not infinity; NaN stays (second operand) */
    vec most = _mm512_set1_ps(65504.0f);
    x = _mm512_max_ps(_mm512_sub_ps(_mm512_setzero_ps(), most), _mm512_min_ps(most, x));
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
}

/* exp(x) to 3 ulp: 2^n times a polynomial on [-ln2/2, ln2/2], whose largest relative error, 1.05e-7, is the least that one of
   its degree with a value and a slope of 1 at 0 has. Below -104 it is exp(-104), which is nothing in float32, above 88
   exp(88); NaN stays (min and max give their second operand). */
static inline vec exp16(vec x) {
    x = _mm512_max_ps(_mm512_set1_ps(-104.0f), _mm512_min_ps(_mm512_set1_ps(88.0f), x));
    const vec n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504088896341f)),
                                       _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const vec r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.69314718055994531f), x);
    vec y = _mm512_set1_ps(8.3125202230e-3f);
    y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(4.1890156938e-2f));
    y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(1.6667114650e-1f));
    y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(4.9999231494e-1f));
    y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(1.0f));
    y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(y, n);
}

/* x / (1 + exp(minus)). Divided: another part of the processor does that, while this one multiplies. */
static inline vec times_sigmoid(vec x, vec minus) { return _mm512_div_ps(x, _mm512_add_ps(_mm512_set1_ps(1.0f), exp16(minus))); }

/* The tanh approximation of GELU as x * sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3). */
static inline vec gelu16(vec x) {
    vec x2 = _mm512_mul_ps(x, x);
    return times_sigmoid(
        x, _mm512_mul_ps(x, _mm512_fmadd_ps(x2, _mm512_set1_ps(-0.0713548162726f), _mm512_set1_ps(-1.5957691216057308f))));
}

/* SiLU: x * sigmoid(x). */
static inline vec silu16(vec x) { return times_sigmoid(x, _mm512_sub_ps(_mm512_setzero_ps(), x)); }

/* Sums of 16 vectors each, in order. */
static inline vec sums16(const vec *x) {
    vec four[4];
    for (int i = 0; i < 4; i++) {
        const vec *a = x + 4 * i;
        vec ab = _mm512_add_ps(_mm512_unpacklo_ps(a[0], a[1]), _mm512_unpackhi_ps(a[0], a[1]));
        vec cd = _mm512_add_ps(_mm512_unpacklo_ps(a[2], a[3]), _mm512_unpackhi_ps(a[2], a[3]));
        __m512d p = _mm512_castps_pd(ab), q = _mm512_castps_pd(cd);
        four[i] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(p, q)), _mm512_castpd_ps(_mm512_unpackhi_pd(p, q)));
    }
    vec low = _mm512_add_ps(_mm512_shuffle_f32x4(four[0], four[1], 0x88), _mm512_shuffle_f32x4(four[0], four[1], 0xdd));
    vec high = _mm512_add_ps(_mm512_shuffle_f32x4(four[2], four[3], 0x88), _mm512_shuffle_f32x4(four[2], four[3], 0xdd));
    return _mm512_add_ps(_mm512_shuffle_f32x4(low, high, 0x88), _mm512_shuffle_f32x4(low, high, 0xdd));
}

/* 16 vectors as the columns of a 16 x 16 square, in place. */
static inline void transpose16(vec *x) {
    vec t[16];
    for (int i = 0; i < 16; i += 4) {
        __m512d ab = _mm512_castps_pd(_mm512_unpacklo_ps(x[i], x[i + 1])), cd = _mm512_castps_pd(_mm512_unpacklo_ps(x[i + 2], x[i + 3]));
        __m512d ef = _mm512_castps_pd(_mm512_unpackhi_ps(x[i], x[i + 1])), gh = _mm512_castps_pd(_mm512_unpackhi_ps(x[i + 2], x[i + 3]));
        t[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd));
        t[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd));
        t[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(ef, gh));
        t[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(ef, gh));
    }
    for (int i = 0; i < 4; i++) { /* t[i + 4 j] has columns i, i + 4, i + 8, i + 12 of rows 4 j ... 4 j + 3 */
        vec a = _mm512_shuffle_f32x4(t[i], t[i + 4], 0x88), b = _mm512_shuffle_f32x4(t[i], t[i + 4], 0xdd);
        vec c = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0x88), d = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0xdd);
        x[i] = _mm512_shuffle_f32x4(a, c, 0x88);
        x[i + 8] = _mm512_shuffle_f32x4(a, c, 0xdd);
        x[i + 4] = _mm512_shuffle_f32x4(b, d, 0x88);
        x[i + 12] = _mm512_shuffle_f32x4(b, d, 0xdd);
    }
}

/* q = round(x / scale), scale = max|x| / 127, over n (a multiple of 16) numbers. Returns the scale, NaN where x holds a
   number that is not finite; *sum is the sum of q. */
static inline float quantise_row(const float *x, int n, int8_t *q, int32_t *sum) {
    enum { NOT_FINITE = 0x99 }; /* classes of _mm512_fpclass_ps_mask: both kinds of NaN, both infinities */
    vec most = _mm512_setzero_ps();
    __mmask16 bad = 0;
    for (int i = 0; i < n; i += 16) {
        vec v = _mm512_loadu_ps(x + i);
        most = _mm512_max_ps(most, _mm512_abs_ps(v));
        bad |= _mm512_fpclass_ps_mask(v, NOT_FINITE);
    }
    const float top = _mm512_reduce_max_ps(most);
    vec inverse = _mm512_set1_ps(top > 0 ? 127.0f / top : 0.0f);
    __m512i total = _mm512_setzero_si512();
    for (int i = 0; i < n; i += 16) {
        __m512i v = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x + i), inverse));
        total = _mm512_add_epi32(total, v);
        _mm_storeu_si128((__m128i *)(q + i), _mm512_cvtsepi32_epi8(v));
    }
    *sum = _mm512_reduce_add_epi32(total);
    return bad ? NAN : top / 127.0f;
}

/* y = (x - mean) / sqrt(variance + eps) * gain + bias over n (a multiple of 16) numbers; y may be x. */
static inline void normalise_row(const float *x, int n, const float *gain, const float *bias, float eps, float *y) {
    vec sum = _mm512_setzero_ps(), squares = _mm512_setzero_ps();
    for (int i = 0; i < n; i += 16) sum = _mm512_add_ps(sum, _mm512_loadu_ps(x + i));
    vec mean = _mm512_set1_ps(_mm512_reduce_add_ps(sum) / n);
    for (int i = 0; i < n; i += 16) {
        vec v = _mm512_sub_ps(_mm512_loadu_ps(x + i), mean);
        squares = _mm512_fmadd_ps(v, v, squares);
    }
    vec rate = _mm512_set1_ps(1.0f / sqrtf(_mm512_reduce_add_ps(squares) / n + eps));
    for (int i = 0; i < n; i += 16) {
        vec v = _mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(x + i), mean), rate);
        _mm512_storeu_ps(y + i, _mm512_fmadd_ps(v, _mm512_loadu_ps(gain + i), _mm512_loadu_ps(bias + i)));
    }
}

/* y = x / sqrt(mean of squares + eps) * gain over n (a multiple of 16) numbers (RMSNorm); y may be x. */
static inline void rms_row(const float *x, int n, const float *gain, float eps, float *y) {
    vec squares[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
    for (int i = 0; i < n; i += 16) {
        vec v = _mm512_loadu_ps(x + i);
        squares[i / 16 % 2] = _mm512_fmadd_ps(v, v, squares[i / 16 % 2]);
    }
    vec rate = _mm512_set1_ps(1.0f / sqrtf(_mm512_reduce_add_ps(_mm512_add_ps(squares[0], squares[1])) / n + eps));
    for (int i = 0; i < n; i += 16)
        _mm512_storeu_ps(y + i, _mm512_mul_ps(_mm512_mul_ps(_mm512_loadu_ps(x + i), rate), _mm512_loadu_ps(gain + i)));
}

#endif

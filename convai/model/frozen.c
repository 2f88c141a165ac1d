/* The passes around the int8 products of frozen layers (frozen.py): rows to 8 bits, and sums back to floats.
 *
 * Each is one pass over memory where torch's operators need four or five. The numbers are those of
 * frozen.quantise_rows to the last bit: the same division, rounded half to even. Compiled where there is a C
 * compiler, done without elsewhere. */

#include <math.h>
#include <stdint.h>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__linux__)

int convai_frozen_supported(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl")
#pragma GCC optimize("no-math-errno", "no-trapping-math")

/* bfloat16 is the upper half of a float; what is cut off is rounded half to even. */
static inline float wide(uint16_t h) {
    union { uint32_t u; float f; } bits = {(uint32_t)h << 16};
    return bits.f;
}

static inline uint16_t brief(float f) {
    union { float f; uint32_t u; } bits = {f};
    return (uint16_t)((bits.u + 0x7fff + ((bits.u >> 16) & 1)) >> 16);
}

static inline float same(float f) { return f; }

/* q[m][k], scale[m] from x[m][k], each number first multiplied by by[k] where by is given; x may be in
 * bfloat16. */
#define ROWS(READ)                                                                     \
    _Pragma("omp parallel for schedule(static) if (m > 8)")                            \
    for (int64_t i = 0; i < m; i++) {                                                  \
        int8_t *out = q + i * k;                                                       \
        float most = 1e-30f;                                                           \
        if (by) {                                                                      \
            _Pragma("omp simd reduction(max : most)")                                  \
            for (int64_t j = 0; j < k; j++) {                                          \
                float v = fabsf(READ(x[i * k + j]) * by[j]);                           \
                most = v > most ? v : most;                                            \
            }                                                                          \
        } else {                                                                       \
            _Pragma("omp simd reduction(max : most)")                                  \
            for (int64_t j = 0; j < k; j++) {                                          \
                float v = fabsf(READ(x[i * k + j]));                                   \
                most = v > most ? v : most;                                            \
            }                                                                          \
        }                                                                              \
        const float s = most / 127;                                                    \
        scale[i] = s;                                                                  \
        if (by) {                                                                      \
            _Pragma("omp simd")                                                        \
            for (int64_t j = 0; j < k; j++)                                            \
                out[j] = (int8_t)(int32_t)rintf(READ(x[i * k + j]) * by[j] / s);       \
        } else {                                                                       \
            _Pragma("omp simd")                                                        \
            for (int64_t j = 0; j < k; j++)                                            \
                out[j] = (int8_t)(int32_t)rintf(READ(x[i * k + j]) / s);               \
        }                                                                              \
    }

void convai_frozen_rows(const float *x, const float *by, int64_t m, int64_t k, int8_t *q, float *scale) {
    ROWS(same)
}

void convai_frozen_rows_bf16(const uint16_t *x, const float *by, int64_t m, int64_t k, int8_t *q,
                             float *scale) {
    ROWS(wide)
}

/* y[m][n] = sums[m][n] * row[m] * column[n] + more[m][n]; column and more (in bfloat16) may be missing. */
#define FLOATS(WRITE)                                                                                   \
    _Pragma("omp parallel for schedule(static) if (m > 8)")                                             \
    for (int64_t i = 0; i < m; i++) {                                                                   \
        const int32_t *in = sums + i * n;                                                               \
        const uint16_t *also = more + (more ? i * n : 0);                                               \
        const float r = row[i];                                                                         \
        if (more && column) {                                                                           \
            _Pragma("omp simd")                                                                         \
            for (int64_t j = 0; j < n; j++)                                                             \
                y[i * n + j] = WRITE((float)in[j] * r * column[j] + wide(also[j]));                     \
        } else if (more) {                                                                              \
            _Pragma("omp simd")                                                                         \
            for (int64_t j = 0; j < n; j++) y[i * n + j] = WRITE((float)in[j] * r + wide(also[j]));     \
        } else if (column) {                                                                            \
            _Pragma("omp simd")                                                                         \
            for (int64_t j = 0; j < n; j++) y[i * n + j] = WRITE((float)in[j] * r * column[j]);         \
        } else {                                                                                        \
            _Pragma("omp simd")                                                                         \
            for (int64_t j = 0; j < n; j++) y[i * n + j] = WRITE((float)in[j] * r);                     \
        }                                                                                               \
    }

void convai_frozen_floats(const int32_t *sums, const float *row, const float *column, const uint16_t *more,
                          int64_t m, int64_t n, float *y) {
    FLOATS(same)
}

void convai_frozen_floats_bf16(const int32_t *sums, const float *row, const float *column,
                               const uint16_t *more, int64_t m, int64_t n, uint16_t *y) {
    FLOATS(brief)
}

#else

int convai_frozen_supported(void) { return 0; }

#endif

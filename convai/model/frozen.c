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

/* q[m][k], scale[m] from x[m][k], each number first multiplied by by[k] where by is given. */
void convai_frozen_rows(const float *x, const float *by, int64_t m, int64_t k, int8_t *q, float *scale) {
#pragma omp parallel for schedule(static) if (m > 8)
    for (int64_t i = 0; i < m; i++) {
        const float *row = x + i * k;
        int8_t *out = q + i * k;
        float most = 1e-30f;
        if (by) {
#pragma omp simd reduction(max : most)
            for (int64_t j = 0; j < k; j++) {
                float v = fabsf(row[j] * by[j]);
                most = v > most ? v : most;
            }
        } else {
#pragma omp simd reduction(max : most)
            for (int64_t j = 0; j < k; j++) {
                float v = fabsf(row[j]);
                most = v > most ? v : most;
            }
        }
        const float s = most / 127;
        scale[i] = s;
        if (by) {
#pragma omp simd
            for (int64_t j = 0; j < k; j++)
                out[j] = (int8_t)(int32_t)rintf(row[j] * by[j] / s);
        } else {
#pragma omp simd
            for (int64_t j = 0; j < k; j++)
                out[j] = (int8_t)(int32_t)rintf(row[j] / s);
        }
    }
}

/* y[m][n] = sums[m][n] * row[m] * column[n]; column may be missing. */
void convai_frozen_floats(const int32_t *sums, const float *row, const float *column, int64_t m, int64_t n,
                          float *y) {
#pragma omp parallel for schedule(static) if (m > 8)
    for (int64_t i = 0; i < m; i++) {
        const int32_t *in = sums + i * n;
        float *out = y + i * n;
        const float r = row[i];
        if (column) {
#pragma omp simd
            for (int64_t j = 0; j < n; j++) out[j] = (float)in[j] * r * column[j];
        } else {
#pragma omp simd
            for (int64_t j = 0; j < n; j++) out[j] = (float)in[j] * r;
        }
    }
}

#else

int convai_frozen_supported(void) { return 0; }

#endif

/* What llama.cpp's quantised blocks of 32 numbers stand for, in single precision. Plain C: scales and minima come as floats.

   A level times a scale of half precision is exact, so that only the sum is rounded, however this is compiled. Formats:
   ggml-common.h and ggml-quants.c of llama.cpp. */

#include <stdint.h>

enum { NUMBERS = 32 };

/* `blocks` of `stride` bytes with 16 bytes of 4-bit levels each at `levels`, the first 16 numbers in the low halves. */
void convai_blocks_four_bits(const uint8_t *levels, long stride, const float *scale, const float *minimum, long blocks, float *to) {
#pragma omp parallel for schedule(static)
    for (long b = 0; b < blocks; b++) {
        const uint8_t *q = levels + b * stride;
        const float s = scale[b], m = minimum[b];
        float *x = to + b * NUMBERS;
        for (int i = 0; i < NUMBERS / 2; i++) x[i] = (float)(q[i] & 15) * s + m;
        for (int i = 0; i < NUMBERS / 2; i++) x[NUMBERS / 2 + i] = (float)(q[i] >> 4) * s + m;
    }
}

/* The same with 32 signed bytes, and no minimum. */
void convai_blocks_eight_bits(const int8_t *levels, long stride, const float *scale, long blocks, float *to) {
#pragma omp parallel for schedule(static)
    for (long b = 0; b < blocks; b++) {
        const int8_t *q = levels + b * stride;
        const float s = scale[b];
        float *x = to + b * NUMBERS;
        for (int i = 0; i < NUMBERS; i++) x[i] = (float)q[i] * s;
    }
}

int convai_blocks_supported(void) {
    const uint16_t one = 1;
    return *(const uint8_t *)&one; /* files are little-endian, and so is what reads them here */
}

/* Causal attention of one head of one span over its keys and values in the cache (half precision). */
#ifndef CONVAI_ATTENTION_H
#define CONVAI_ATTENTION_H

#include "vector.h"

#define QUERIES 4

typedef struct {
    int32_t slot, start, count, first; /* `first`: the batch's row of its first token */
    int32_t wanted;                    /* the last tokens whose hidden states are asked for */
} Span;

/* What the head works on: queries of `size` numbers, `ldq` apart; its keys and its values, [place][size] each. */
typedef struct {
    const float *q;
    long ldq;
    uint16_t *keys, *values;
    int size;
    float *out;
    long ldo;
    float *scratch; /* see scratch_floats */
} Head;

static inline int up(int n, int to) { return (n + to - 1) / to * to; }

/* Floats of scratch that attention over `places` tokens of heads of `size` needs. */
static inline long scratch_floats(int places, int size) { return (long)up(places, 64) * (2 * size + QUERIES); }

/* Exponentials of scores[0 .. n) less their maximum, zeros up to `padded` (a multiple of 16); returns their sum. */
static inline float softmax_row(float *scores, int n, int padded) {
    vec top = _mm512_set1_ps(-INFINITY), sum = _mm512_setzero_ps();
    int whole = n & ~15;
    __mmask16 rest = (__mmask16)((1u << (n & 15)) - 1);
    for (int s = 0; s < whole; s += 16) top = _mm512_max_ps(top, _mm512_loadu_ps(scores + s));
    if (rest) top = _mm512_mask_max_ps(top, rest, top, _mm512_loadu_ps(scores + whole));
    top = _mm512_set1_ps(_mm512_reduce_max_ps(top));
    for (int s = 0; s < padded; s += 16) {
        __mmask16 seen = s < whole ? 0xffff : s == whole ? rest : 0;
        vec e = _mm512_maskz_mov_ps(seen, exp16(_mm512_sub_ps(_mm512_loadu_ps(scores + s), top)));
        sum = _mm512_add_ps(sum, e);
        _mm512_storeu_ps(scores + s, e);
    }
    return _mm512_reduce_add_ps(sum);
}

/* One query over `n` places, straight from the cache. */
static void attend_one(Head h, int n) {
    float *scores = h.scratch;
    const float scale = 1.0f / sqrtf((float)h.size);
    for (int s = 0; s < n; s += 16) {
        vec sums[16];
        for (int t = 0; t < 16; t++) {
            /* past the last place it is the last place again, which softmax_row leaves out */
            const uint16_t *key = h.keys + (long)(s + t < n ? s + t : n - 1) * h.size;
            vec sum = _mm512_mul_ps(_mm512_loadu_ps(h.q), load_half(key));
            for (int i = 16; i < h.size; i += 16) sum = _mm512_fmadd_ps(_mm512_loadu_ps(h.q + i), load_half(key + i), sum);
            sums[t] = sum;
            _mm_prefetch(h.values + (long)(s + t) * h.size, _MM_HINT_T1);
            if (h.size > 32) _mm_prefetch(h.values + (long)(s + t) * h.size + 32, _MM_HINT_T1);
        }
        _mm512_storeu_ps(scores + s, _mm512_mul_ps(sums16(sums), _mm512_set1_ps(scale)));
    }
    vec rate = _mm512_set1_ps(1.0f / softmax_row(scores, n, up(n, 16)));
    for (int i = 0; i < h.size; i += 64) {
        int vectors = h.size - i < 64 ? (h.size - i) / 16 : 4;
        vec sums[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
        if (vectors == 4) {
            for (int s = 0; s < n; s++) {
                vec p = _mm512_set1_ps(scores[s]);
                const uint16_t *value = h.values + (long)s * h.size + i;
#pragma GCC unroll 4
                for (int v = 0; v < 4; v++) sums[v] = _mm512_fmadd_ps(p, load_half(value + 16 * v), sums[v]);
            }
        } else {
            for (int s = 0; s < n; s++)
                for (int v = 0; v < vectors; v++)
                    sums[v] = _mm512_fmadd_ps(_mm512_set1_ps(scores[s]), load_half(h.values + (long)s * h.size + i + 16 * v), sums[v]);
        }
        for (int v = 0; v < vectors; v++) _mm512_storeu_ps(h.out + i + 16 * v, _mm512_mul_ps(sums[v], rate));
    }
}

/* sums[r][v] += a[r * lda + k * step] * b[k * ldb + 16 v] over k < depth: outer products of the two. */
static inline __attribute__((always_inline)) void outer(const int rows, const int vectors, const float *a, long lda, const float *b,
                                                        long ldb, int depth, float scale, float *to, long ldt) {
    vec sums[QUERIES][4];
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) sums[r][v] = _mm512_setzero_ps();
    for (int k = 0; k < depth; k++) {
        vec bs[4];
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) bs[v] = _mm512_loadu_ps(b + k * ldb + 16 * v);
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++) {
            vec as = _mm512_set1_ps(a[r * lda + k]);
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++) sums[r][v] = _mm512_fmadd_ps(as, bs[v], sums[r][v]);
        }
    }
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            _mm512_storeu_ps(to + r * ldt + 16 * v, _mm512_mul_ps(sums[r][v], _mm512_set1_ps(scale)));
}

/* `count` queries, the first of which sees places 0 ... start. Keys are laid out anew, [size][places], so that
   scores are outer products without sums across a vector. */
static void attend_many(Head h, int start, int count) {
    const int places = start + count, width = up(places, 64), size = h.size;
    float *keys = h.scratch, *values = keys + (long)width * size, *scores = values + (long)width * size;
    const float scale = 1.0f / sqrtf((float)size);
    for (int s = 0; s < width; s += 16)
        for (int i = 0; i < size; i += 16) {
            vec square[16];
            for (int j = 0; j < 16; j++)
                square[j] = s + j < places ? load_half(h.keys + (long)(s + j) * size + i) : _mm512_setzero_ps();
            transpose16(square);
            for (int j = 0; j < 16; j++) _mm512_storeu_ps(keys + (long)(i + j) * width + s, square[j]);
        }
    for (long i = 0; i < (long)places * size; i += 16) _mm512_storeu_ps(values + i, load_half(h.values + i));
    for (int t = 0; t < count; t += QUERIES) {
        int rows = count - t < QUERIES ? count - t : QUERIES, seen = start + t + rows;
        const float *q = h.q + t * h.ldq;
        for (int s = 0; s < seen; s += 64) {
            if (rows == QUERIES) /* past the diagonal only what fills a vector */
                switch ((seen - s + 15) / 16) {
                    case 1: outer(QUERIES, 1, q, h.ldq, keys + s, width, size, scale, scores + s, width); break;
                    case 2: outer(QUERIES, 2, q, h.ldq, keys + s, width, size, scale, scores + s, width); break;
                    case 3: outer(QUERIES, 3, q, h.ldq, keys + s, width, size, scale, scores + s, width); break;
                    default: outer(QUERIES, 4, q, h.ldq, keys + s, width, size, scale, scores + s, width);
                }
            else
                for (int r = 0; r < rows; r++)
                    outer(1, 4, q + r * h.ldq, h.ldq, keys + s, width, size, scale, scores + (long)r * width + s, width);
        }
        float rates[QUERIES];
        for (int r = 0; r < rows; r++) rates[r] = 1.0f / softmax_row(scores + (long)r * width, start + t + r + 1, up(seen, 16));
        float *out = h.out + t * h.ldo;
        for (int i = 0; i < size; i += 64) {
            int vectors = size - i < 64 ? (size - i) / 16 : 4;
            if (rows == QUERIES && vectors == 4) outer(QUERIES, 4, scores, width, values + i, size, seen, 1.0f, out + i, h.ldo);
            else
                for (int r = 0; r < rows; r++)
                    for (int v = 0; v < vectors; v++)
                        outer(1, 1, scores + (long)r * width, width, values + i + 16 * v, size, seen, 1.0f,
                              out + r * h.ldo + i + 16 * v, h.ldo);
        }
        for (int r = 0; r < rows; r++)
            for (int i = 0; i < size; i += 16)
                _mm512_storeu_ps(out + r * h.ldo + i, _mm512_mul_ps(_mm512_loadu_ps(out + r * h.ldo + i), _mm512_set1_ps(rates[r])));
    }
}

#endif

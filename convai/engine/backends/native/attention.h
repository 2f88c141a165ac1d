/* Causal attention of the heads of one span that share keys and values, over those in the cache (half precision). */
#ifndef CONVAI_ATTENTION_H
#define CONVAI_ATTENTION_H

#include "vector.h"

#define QUERIES 4      /* queries, or heads with one query each, that are computed together */
#define BLOCK_ROWS 64  /* queries of one piece of work */

typedef struct {
    int32_t slot, start, count, first; /* `first`: the batch's row of its first token */
    int32_t wanted;                    /* the last tokens whose hidden states are asked for */
} Span;

/* `group` heads with queries of `size` numbers, one head after another, tokens `ldq` apart; the keys and the values that
   they share, [place][size] each. (Grouped queries: Ainslie et al. 2023, arXiv 2305.13245; a group of 1 is what
   GPT has.) */
typedef struct {
    const float *q;
    long ldq;
    const uint16_t *keys, *values;
    const uint16_t *next; /* the keys that are asked for next, which are fetched */
    int size, group;
    float *out;
    long ldo;
    float *scratch; /* see scratch_floats */
} Heads;

static inline int up(int n, int to) { return (n + to - 1) / to * to; }

/* Floats of scratch that attention over `places` tokens of heads of `size` needs. */
static inline long scratch_floats(int places, int size) { return (long)up(places, 64) * (2 * size + QUERIES); }

/* Rotary positions (Su et al. 2021, arXiv 2104.09864): number i and number i + size / 2 are turned by an angle of the
   position. `turn`: size / 2 cosines, then as many sines; size is a multiple of 32. */
static inline void rotate(float *x, int size, const float *turn) {
    const int half = size / 2;
    for (int i = 0; i < half; i += 16) {
        vec a = _mm512_loadu_ps(x + i), b = _mm512_loadu_ps(x + half + i);
        vec c = _mm512_loadu_ps(turn + i), s = _mm512_loadu_ps(turn + half + i);
        _mm512_storeu_ps(x + i, _mm512_fnmadd_ps(b, s, _mm512_mul_ps(a, c)));
        _mm512_storeu_ps(x + half + i, _mm512_fmadd_ps(a, s, _mm512_mul_ps(b, c)));
    }
}

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

/* One query of each of `heads` heads (a constant once inlined) over `n` places, straight from the cache. */
static inline __attribute__((always_inline)) void attend_heads(const int heads, Heads h, int n) {
    const int width = up(n, 16);
    float *scores = h.scratch, rates[QUERIES];
    const vec scale = _mm512_set1_ps(1.0f / sqrtf((float)h.size));
    for (int s = 0; s < n; s += 16) {
        vec sums[QUERIES][16];
        for (int t = 0; t < 16; t++) {
            const uint16_t *key = h.keys + (long)(s + t < n ? s + t : n - 1) * h.size;
            vec own[QUERIES], k = load_half(key);
#pragma GCC unroll 4
            for (int g = 0; g < heads; g++) own[g] = _mm512_mul_ps(_mm512_loadu_ps(h.q + g * h.size), k);
            for (int i = 16; i < h.size; i += 16) {
                k = load_half(key + i);
#pragma GCC unroll 4
                for (int g = 0; g < heads; g++) own[g] = _mm512_fmadd_ps(_mm512_loadu_ps(h.q + g * h.size + i), k, own[g]);
            }
#pragma GCC unroll 4
            for (int g = 0; g < heads; g++) sums[g][t] = own[g];
            _mm_prefetch(h.values + (long)(s + t) * h.size, _MM_HINT_T1);
            if (h.size > 32) _mm_prefetch(h.values + (long)(s + t) * h.size + 32, _MM_HINT_T1);
        }
#pragma GCC unroll 4
        for (int g = 0; g < heads; g++) _mm512_storeu_ps(scores + (long)g * width + s, _mm512_mul_ps(sums16(sums[g]), scale));
    }
#pragma GCC unroll 4
    for (int g = 0; g < heads; g++) rates[g] = 1.0f / softmax_row(scores + (long)g * width, n, width);
    for (int i = 0; i < h.size; i += 64) {
        const int vectors = h.size - i < 64 ? (h.size - i) / 16 : 4;
        vec sums[QUERIES][4];
#pragma GCC unroll 4
        for (int g = 0; g < heads; g++)
#pragma GCC unroll 4
            for (int v = 0; v < 4; v++) sums[g][v] = _mm512_setzero_ps();
        if (vectors == 4) {
            for (int s = 0; s < n; s++) {
                const uint16_t *value = h.values + (long)s * h.size + i;
                _mm_prefetch(h.next + (long)s * h.size + i, _MM_HINT_T1);
                _mm_prefetch(h.next + (long)s * h.size + i + 32, _MM_HINT_T1);
                vec x[4];
#pragma GCC unroll 4
                for (int v = 0; v < 4; v++) x[v] = load_half(value + 16 * v);
#pragma GCC unroll 4
                for (int g = 0; g < heads; g++) {
                    vec p = _mm512_set1_ps(scores[(long)g * width + s]);
#pragma GCC unroll 4
                    for (int v = 0; v < 4; v++) sums[g][v] = _mm512_fmadd_ps(p, x[v], sums[g][v]);
                }
            }
        } else {
            for (int s = 0; s < n; s++)
                for (int v = 0; v < vectors; v++) {
                    vec x = load_half(h.values + (long)s * h.size + i + 16 * v);
                    for (int g = 0; g < heads; g++)
                        sums[g][v] = _mm512_fmadd_ps(_mm512_set1_ps(scores[(long)g * width + s]), x, sums[g][v]);
                }
        }
#pragma GCC unroll 4
        for (int g = 0; g < heads; g++)
            for (int v = 0; v < vectors; v++)
                _mm512_storeu_ps(h.out + g * h.size + i + 16 * v, _mm512_mul_ps(sums[g][v], _mm512_set1_ps(rates[g])));
    }
}

/* One query of each head of the group over `n` places; every key and value is read once for four of them. */
static void attend_one(Heads h, int n) {
    for (int left = h.group; left > 0; left -= QUERIES) {
        switch (left) {
            case 1: attend_heads(1, h, n); break;
            case 2: attend_heads(2, h, n); break;
            case 3: attend_heads(3, h, n); break;
            default: attend_heads(4, h, n);
        }
        h.q += QUERIES * h.size;
        h.out += QUERIES * h.size;
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

/* Up to four queries of one head over `seen` places, the first of which sees `own` of them: keys [size][width] and
   values [places][size] in single precision. */
static inline void attend_rows(int rows, const float *q, long ldq, const float *keys, const float *values, int width, int own,
                               int size, float *scores, float *out, long ldo) {
    const int seen = own + rows - 1;
    const float scale = 1.0f / sqrtf((float)size);
    for (int s = 0; s < seen; s += 64) {
        if (rows == QUERIES) /* past the diagonal only what fills a vector */
            switch ((seen - s + 15) / 16) {
                case 1: outer(QUERIES, 1, q, ldq, keys + s, width, size, scale, scores + s, width); break;
                case 2: outer(QUERIES, 2, q, ldq, keys + s, width, size, scale, scores + s, width); break;
                case 3: outer(QUERIES, 3, q, ldq, keys + s, width, size, scale, scores + s, width); break;
                default: outer(QUERIES, 4, q, ldq, keys + s, width, size, scale, scores + s, width);
            }
        else
            for (int r = 0; r < rows; r++)
                outer(1, 4, q + r * ldq, ldq, keys + s, width, size, scale, scores + (long)r * width + s, width);
    }
    float rates[QUERIES];
    for (int r = 0; r < rows; r++) rates[r] = 1.0f / softmax_row(scores + (long)r * width, own + r, up(seen, 16));
    for (int i = 0; i < size; i += 64) {
        int vectors = size - i < 64 ? (size - i) / 16 : 4;
        if (rows == QUERIES && vectors == 4) outer(QUERIES, 4, scores, width, values + i, size, seen, 1.0f, out + i, ldo);
        else
            for (int r = 0; r < rows; r++)
                for (int v = 0; v < vectors; v++)
                    outer(1, 1, scores + (long)r * width, width, values + i + 16 * v, size, seen, 1.0f, out + r * ldo + i + 16 * v, ldo);
    }
    for (int r = 0; r < rows; r++)
        for (int i = 0; i < size; i += 16)
            _mm512_storeu_ps(out + r * ldo + i, _mm512_mul_ps(_mm512_loadu_ps(out + r * ldo + i), _mm512_set1_ps(rates[r])));
}

/* `count` tokens' queries, the first of which sees places 0 ... start. Keys are laid out anew, [size][places], so that
   scores are outer products without sums across a vector. */
static void attend_many(Heads h, int start, int count) {
    const int places = start + count, width = up(places, 64), size = h.size;
    float *keys = h.scratch, *values = keys + (long)width * size, *scores = values + (long)width * size;
    for (int s = 0; s < width; s += 16)
        for (int i = 0; i < size; i += 16) {
            vec square[16];
            for (int j = 0; j < 16; j++)
                square[j] = s + j < places ? load_half(h.keys + (long)(s + j) * size + i) : _mm512_setzero_ps();
            transpose16(square);
            for (int j = 0; j < 16; j++) _mm512_storeu_ps(keys + (long)(i + j) * width + s, square[j]);
        }
    for (long i = 0; i < (long)places * size; i += 16) _mm512_storeu_ps(values + i, load_half(h.values + i));
    for (int g = 0; g < h.group; g++)
        for (int t = 0; t < count; t += QUERIES)
            attend_rows(count - t < QUERIES ? count - t : QUERIES, h.q + t * h.ldq + g * size, h.ldq, keys, values, width,
                        start + t + 1, size, scores, h.out + t * h.ldo + g * size, h.ldo);
}

#endif

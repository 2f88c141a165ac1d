/* The next token of a row of logits by temperature and nucleus, without sorting the vocabulary. */
#ifndef CONVAI_DRAW_H
#define CONVAI_DRAW_H

#include "vector.h"

enum { BROKEN = -1, EMPTY = -2 }; /* instead of a token: a logit is no number or plus infinity; all are masked */

#define BLOCK 256 /* numbers that are added up in single precision before they join a sum in double precision */

/* How a row is drawn: `number` in [0, 1) says where in the nucleus of `mass`. The logits of `ids` count as minus
   infinity; they are masked for the time being, and their values are kept in `kept`. */
typedef struct {
    float heat;
    double mass, number;
    const int64_t *ids[2];
    int counts[2];
    float *kept;
} Wish;

/* Memory of one thread, for a vocabulary of n: weights, those of the candidates twice, and their ids. */
typedef struct {
    float *weights, *best, *sorted;
    int32_t *ids;
} Candidates;

static inline __mmask16 tail(int left) { return left >= 16 ? 0xffff : (__mmask16)((1u << left) - 1); }

/* The largest of x[0 .. n), minus infinity where there is none; *bad is set where one is no number or infinity. */
static inline float largest(const float *x, int n, int *bad) {
    const vec least = _mm512_set1_ps(-INFINITY), most = _mm512_set1_ps(INFINITY);
    vec top[4] = {least, least, least, least};
    __mmask16 wrong = 0;
    int i = 0;
    for (; i + 64 <= n; i += 64)
        for (int v = 0; v < 4; v++) {
            vec y = _mm512_loadu_ps(x + i + 16 * v);
            top[v] = _mm512_max_ps(y, top[v]);
            wrong |= _mm512_cmp_ps_mask(y, most, _CMP_NLT_UQ);
        }
    for (; i < n; i += 16) {
        vec y = _mm512_mask_loadu_ps(least, tail(n - i), x + i);
        top[0] = _mm512_max_ps(y, top[0]);
        wrong |= _mm512_cmp_ps_mask(y, most, _CMP_NLT_UQ);
    }
    *bad |= wrong != 0;
    return _mm512_reduce_max_ps(_mm512_max_ps(_mm512_max_ps(top[0], top[1]), _mm512_max_ps(top[2], top[3])));
}

/* weights = exp((x - top) * rate), 0 for minus infinity; *sum is theirs, *plain that of exp(x - best). */
static inline void weigh(const float *x, int n, float top, float rate, float best, float *weights, double *sum, double *plain) {
    *sum = *plain = 0;
    for (int i = 0; i < n; i += BLOCK) {
        int end = i + BLOCK < n ? i + BLOCK : n;
        vec warm = _mm512_setzero_ps(), cold = _mm512_setzero_ps();
        for (int j = i; j < end; j += 16) {
            vec y = _mm512_mask_loadu_ps(_mm512_set1_ps(-INFINITY), tail(end - j), x + j);
            __mmask16 there = _mm512_cmp_ps_mask(y, _mm512_set1_ps(-INFINITY), _CMP_GT_OQ);
            vec w = _mm512_maskz_mov_ps(there, exp16(_mm512_mul_ps(_mm512_sub_ps(y, _mm512_set1_ps(top)), _mm512_set1_ps(rate))));
            _mm512_mask_storeu_ps(weights + j, tail(end - j), w);
            warm = _mm512_add_ps(warm, w);
            cold = _mm512_add_ps(cold, _mm512_maskz_mov_ps(there, exp16(_mm512_sub_ps(y, _mm512_set1_ps(best)))));
        }
        *sum += _mm512_reduce_add_ps(warm);
        *plain += _mm512_reduce_add_ps(cold);
    }
}

/* The tokens of at least `least` weight (and more than none), in the order of their ids; returns how many. */
static inline int gather(int n, float least, Candidates c, double *sum) {
    int count = 0;
    const vec bound = _mm512_set1_ps(least);
    const __m512i steps = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    *sum = 0;
    for (int i = 0; i < n; i += 16) {
        vec w = _mm512_maskz_loadu_ps(tail(n - i), c.weights + i);
        __mmask16 in = _mm512_cmp_ps_mask(w, bound, _CMP_GE_OQ) & _mm512_cmp_ps_mask(w, _mm512_setzero_ps(), _CMP_GT_OQ);
        if (!in) continue;
        _mm512_mask_compressstoreu_ps(c.best + count, in, w);
        _mm512_mask_compressstoreu_epi32(c.ids + count, in, _mm512_add_epi32(_mm512_set1_epi32(i), steps));
        count += __builtin_popcount(in);
        *sum += _mm512_mask_reduce_add_ps(in, w);
    }
    return count;
}

static inline float middle(float a, float b, float c) {
    if (a > b) return b > c ? b : a > c ? c : a;
    return a > c ? a : b > c ? c : b;
}

/* The weight of the last token that is kept when tokens are taken, the heaviest first, until they weigh `target`;
   *above: what all heavier ones weigh. x[0 .. n) is reordered (a quickselect). Minus 1: all are too few. */
static float edge(float *x, int n, double target, double *above) {
    int low = 0, high = n;
    *above = 0;
    while (low < high) {
        float pivot = middle(x[low], x[low + (high - low) / 2], x[high - 1]);
        int more = low, next = low, less = high; /* heavier | as heavy | not seen | lighter */
        double heavier = 0;
        while (next < less) {
            float w = x[next];
            if (w > pivot) {
                heavier += w;
                x[next++] = x[more];
                x[more++] = w;
            } else if (w < pivot) {
                x[next] = x[--less];
                x[less] = w;
            } else next++;
        }
        double even = (double)(less - more) * pivot;
        if (*above + heavier >= target && more > low) high = more;
        else if (*above + heavier + even >= target) {
            *above += heavier;
            return pivot;
        } else {
            *above += heavier + even;
            low = less;
        }
    }
    return -1.0f;
}

/* A token among the candidates: the nucleus of `target`, of equals the lower ids, summed in the order of the ids. */
static int pick(Candidates c, int count, double target, double number) {
    for (int i = 0; i < count; i++) c.sorted[i] = c.best[i];
    double above, total = 0;
    float last = edge(c.sorted, count, target, &above);
    long even = last > 0 ? (long)ceil((target - above) / last) : count;
    if (even < 1) even = 1;
    int kept = 0;
    for (int i = 0; i < count; i++)
        if (c.best[i] > last || (c.best[i] == last && even-- > 0)) {
            c.best[kept] = c.best[i];
            c.ids[kept++] = c.ids[i];
            total += c.best[kept - 1];
        }
    double drawn = number * total, sum = 0;
    for (int i = 0; i < kept - 1; i++) {
        sum += c.best[i];
        if (sum > drawn) return c.ids[i];
    }
    return c.ids[kept - 1];
}

/* The token of a row of n masked logits, and the natural log of its probability among all, `masked` being the largest
   of those that are masked. */
static int drawn(const float *x, int n, const Wish *wish, int masked_count, float masked, int bad, Candidates c, float *logprob) {
    float top = largest(x, n, &bad), best = top > masked ? top : masked;
    if (bad || best == -INFINITY) return BROKEN;
    if (top == -INFINITY) return EMPTY;
    double sum, plain, found;
    weigh(x, n, top, 1.0f / (wish->heat > 1e-30f ? wish->heat : 1e-30f), best, c.weights, &sum, &plain);
    for (int i = 0; i < masked_count; i++) plain += exp((double)wish->kept[i] - best);
    /* what weighs less than (1 - mass) / n of all weighs less than 1 - mass together: no token of the nucleus is
       lighter. Most often far fewer are enough. */
    const double target = wish->mass * sum, rest = (1 - wish->mass) * sum;
    int count = gather(n, (float)(rest / 256), c, &found);
    if (found < target) count = gather(n, (float)(rest / 8192), c, &found);
    if (found < target) count = gather(n, 0, c, &found);
    int token = pick(c, count, target, wish->number);
    *logprob = (float)(x[token] - (best + log(plain)));
    return token;
}

/* As `drawn`, the logits of the ids that are not allowed being masked meanwhile. */
static int draw_row(float *x, int n, const Wish *wish, Candidates c, float *logprob) {
    int count = 0, bad = 0;
    float masked = -INFINITY;
    for (int s = 0; s < 2; s++)
        for (int i = 0; i < wish->counts[s]; i++) {
            float *at = x + wish->ids[s][i], value = *at;
            bad |= !(value < INFINITY);
            if (value > masked) masked = value;
            wish->kept[count++] = value;
            *at = -INFINITY;
        }
    int token = drawn(x, n, wish, count, masked, bad, c, logprob);
    for (int s = 1; s >= 0; s--) /* backwards: an id may be there twice */
        for (int i = wish->counts[s] - 1; i >= 0; i--) x[wish->ids[s][i]] = wish->kept[--count];
    return token;
}

#endif

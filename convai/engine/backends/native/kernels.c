/* A GPT's forward pass over a ragged batch of spans, and its language-model head, in 8-bit whole numbers.

   Plain C without a runtime of its own: whoever calls owns all memory. Compiled for one instruction set beyond the
   baseline (AVX-512 with VNNI), which the caller asks for first (convai_supported). */

#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__) && defined(__linux__)

#ifdef _OPENMP
#include <omp.h>
#endif

int convai_supported(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("fma");
}

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,fma,f16c"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,fma,f16c")
#endif

#include "attention.h"
#include "draw.h"
#include "product.h"

typedef struct {
    const float *gain, *bias;
} Norm;

typedef struct {
    Norm first, second;
    Linear qkv, projection, expand, contract;
} Layer;

typedef struct {
    int32_t layers, heads, width, inner, vocabulary, positions, norm_before;
    float eps;
    const float *words, *places; /* [vocabulary][width], [positions][width] */
    Norm last;                   /* after the last block, where norms come before */
    const Layer *layer;
    Linear output; /* the language-model head */
} Model;

typedef struct {
    uint16_t *data; /* [layers][slots][keys, values][heads][capacity][width / heads] */
    int32_t slots, capacity;
} Pool;

static int thread_number(void) {
#ifdef _OPENMP
    return omp_get_thread_num();
#else
    return 0;
#endif
}

/* Where the pieces of the workspace are; every piece begins at a multiple of 64 bytes. */
typedef struct {
    float *qkv, *mixed, *inner, *scratch;
    Rows narrow, wide; /* quantised rows of `width` and of `inner` numbers */
    long scratch_each, bytes;
} Work;

static void *take(char *base, long *used, long bytes) {
    void *piece = base + *used;
    *used += (bytes + 63) / 64 * 64;
    return piece;
}

static Rows take_rows(char *base, long *used, int rows, int numbers) {
    Rows r = {0};
    r.stride = up(numbers, 64);
    r.q = take(base, used, (long)rows * r.stride);
    r.scale = take(base, used, rows * 4L);
    r.sum = take(base, used, rows * 4L);
    return r;
}

static Work workspace(const Model *m, char *base, int rows, int places, int threads) {
    Work w;
    w.bytes = 0;
    w.qkv = take(base, &w.bytes, 12L * rows * m->width);
    w.mixed = take(base, &w.bytes, 4L * rows * m->width);
    w.inner = take(base, &w.bytes, 4L * rows * m->inner);
    w.narrow = take_rows(base, &w.bytes, rows, m->width);
    w.wide = take_rows(base, &w.bytes, rows, m->inner);
    w.scratch_each = up(scratch_floats(places, m->width / m->heads), 16);
    w.scratch = take(base, &w.bytes, 4L * threads * w.scratch_each);
    return w;
}

/* Bytes of workspace for a batch of `rows` tokens whose longest sequence has `places`. */
long convai_workspace(const Model *m, int rows, int places, int threads) {
    return workspace(m, (char *)0, rows, places, threads).bytes;
}

static void quantise(const float *x, int rows, int numbers, Rows to) {
#pragma omp for schedule(static)
    for (int r = 0; r < rows; r++)
        to.scale[r] = quantise_row(x + (long)r * numbers, numbers, to.stride, to.q + (long)r * to.stride, to.sum + r);
}

/* Normalise rows of x and quantise them. `keep`: x itself is replaced (norms after the addition). */
static void normalise(float *x, int rows, int numbers, Norm norm, float eps, int keep, float *spare, Rows to) {
#pragma omp for schedule(static)
    for (int r = 0; r < rows; r++) {
        float *row = x + (long)r * numbers, *y = keep ? row : spare + (long)r * numbers;
        normalise_row(row, numbers, norm.gain, norm.bias, eps, y);
        to.scale[r] = quantise_row(y, numbers, to.stride, to.q + (long)r * to.stride, to.sum + r);
    }
}

/* `wanted`: only what the spans' wanted tokens see is computed; the keys and values of all are stored. */
static void attention(const Model *m, const Span *spans, int n_spans, uint16_t *cache, int capacity, int wanted, Work w) {
    const int width = m->width, size = width / m->heads;
    float *scratch = w.scratch + thread_number() * w.scratch_each;
#pragma omp for schedule(dynamic)
    for (int i = 0; i < n_spans * m->heads; i++) {
        Span s = spans[i / m->heads];
        int head = i % m->heads;
        const float *qkv = w.qkv + 3L * s.first * width + head * size;
        uint16_t *keys = cache + ((long)s.slot * 2 * m->heads + head) * capacity * size;
        uint16_t *values = keys + (long)m->heads * capacity * size;
        for (int t = 0; t < s.count; t++)
            for (int j = 0; j < size; j += 16) {
                long to = (long)(s.start + t) * size + j;
                store_half(keys + to, _mm512_loadu_ps(qkv + 3L * t * width + width + j));
                store_half(values + to, _mm512_loadu_ps(qkv + 3L * t * width + 2 * width + j));
            }
        int count = wanted ? s.wanted : s.count, skip = s.count - count;
        float *out = w.mixed + (long)(s.first + skip) * width + head * size;
        Head h = {qkv + 3L * skip * width, 3L * width, keys, values, size, out, width, scratch};
        if (count == 1) attend_one(h, s.start + s.count);
        else if (count) attend_many(h, s.start + skip, count);
    }
}

/* Move the rows of wanted tokens to the front, in their order. */
static void gather_wanted(const Span *spans, int n_spans, int width, float *x) {
    long to = 0;
    for (int i = 0; i < n_spans; i++) {
        long from = spans[i].first + spans[i].count - spans[i].wanted;
        if (from != to) memmove(x + to * width, x + from * width, 4L * spans[i].wanted * width);
        to += spans[i].wanted;
    }
}

/* Hidden states of the spans' wanted tokens, one after another, at the beginning of x[rows][width]. What nobody asked
   for is not computed in the last layer, but for its keys and values. Returns -1, or the row whose word, position or
   segment the model does not have. The spans have been checked against the pool. */
long convai_forward(const Model *m, const int64_t *words, const int64_t *positions, const int64_t *segments, int rows,
                    const Span *spans, int n_spans, const Pool *pool, int places, char *memory, int threads, float *x) {
    const int width = m->width, before = m->norm_before;
    for (int r = 0; r < rows; r++)
        if (words[r] < 0 || words[r] >= m->vocabulary || segments[r] < 0 || segments[r] >= m->vocabulary || positions[r] < 0 ||
            positions[r] >= m->positions)
            return r;
    int wanted = 0;
    for (int i = 0; i < n_spans; i++) wanted += spans[i].wanted;
    const Work w = workspace(m, memory, rows, places, threads);
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
#pragma omp for schedule(static)
        for (int r = 0; r < rows; r++)
            for (int i = 0; i < width; i += 16) {
                vec sum = _mm512_add_ps(_mm512_loadu_ps(m->words + words[r] * width + i),
                                        _mm512_loadu_ps(m->places + positions[r] * width + i));
                sum = _mm512_add_ps(sum, _mm512_loadu_ps(m->words + segments[r] * width + i));
                _mm512_storeu_ps(x + (long)r * width + i, sum);
            }
        for (int l = 0; l < m->layers; l++) {
            const Layer *layer = m->layer + l;
            const int last = l == m->layers - 1, left = last ? wanted : rows;
            if (before) normalise(x, rows, width, layer->first, m->eps, 0, w.mixed, w.narrow);
            else if (l) normalise(x, rows, width, layer[-1].second, m->eps, 1, w.mixed, w.narrow);
            else quantise(x, rows, width, w.narrow);
            product(&layer->qkv, w.narrow, rows, w.qkv, 3L * width, STORE);
            attention(m, spans, n_spans, pool->data + (long)l * pool->slots * pool->capacity * 2 * width, pool->capacity, last, w);
            if (left < rows) {
#pragma omp single
                {
                    gather_wanted(spans, n_spans, width, x);
                    gather_wanted(spans, n_spans, width, w.mixed);
                }
            }
            quantise(w.mixed, left, width, w.narrow);
            product(&layer->projection, w.narrow, left, x, width, ADD);
            normalise(x, left, width, before ? layer->second : layer->first, m->eps, !before, w.mixed, w.narrow);
            product(&layer->expand, w.narrow, left, w.inner, m->inner, STORE_GELU);
            quantise(w.inner, left, m->inner, w.wide);
            product(&layer->contract, w.wide, left, x, width, ADD);
        }
        Norm last = before ? m->last : m->layer[m->layers - 1].second;
#pragma omp for schedule(static)
        for (int r = 0; r < wanted; r++)
            normalise_row(x + (long)r * width, width, last.gain, last.bias, m->eps, x + (long)r * width);
    }
    return -1;
}

/* logits[rows][vocabulary] of hidden[rows][width]. */
void convai_logits(const Model *m, const float *hidden, int rows, char *memory, int threads, float *logits) {
    const Work w = workspace(m, memory, rows, 1, threads);
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        quantise(hidden, rows, m->width, w.narrow);
        product(&m->output, w.narrow, rows, logits, m->vocabulary, STORE);
    }
}

/* Memory of a thread that draws from a vocabulary of n with up to `masked` ids masked. */
static Candidates candidates(char *base, int n, int masked, long *used, float **kept) {
    Candidates c;
    c.weights = take(base, used, 4L * n);
    c.best = take(base, used, 4L * n);
    c.sorted = take(base, used, 4L * n);
    c.ids = take(base, used, 4L * n);
    *kept = take(base, used, 4L * masked);
    return c;
}

/* Bytes of workspace for drawing. */
long convai_draw_workspace(int vocabulary, int masked, int threads) {
    long used = 0;
    float *kept;
    candidates((char *)0, vocabulary, masked, &used, &kept);
    return used * threads;
}

/* tokens[rows] (BROKEN, EMPTY) and their log-probabilities, of logits[rows][vocabulary], which stay as they are.
   `forbidden` ids are masked in every row, banned[ends[r - 1] .. ends[r]) in row r (from 0 on in row 0). `masked`: the most
   ids that are masked in one row. */
void convai_draw(float *logits, int rows, int vocabulary, const float *heat, const double *mass, const double *numbers,
                 const int64_t *forbidden, int n_forbidden, const int64_t *banned, const int32_t *ends, int masked, char *memory,
                 int threads, int32_t *tokens, float *logprobs) {
    const long each = convai_draw_workspace(vocabulary, masked, 1);
#pragma omp parallel num_threads(threads) if (threads > 1 && rows > 1)
    {
        long used = 0;
        Wish wish;
        Candidates c = candidates(memory + thread_number() * each, vocabulary, masked, &used, &wish.kept);
#pragma omp for schedule(dynamic)
        for (int r = 0; r < rows; r++) {
            int first = r ? ends[r - 1] : 0;
            wish = (Wish){heat[r], mass[r], numbers[r], {forbidden, banned + first}, {n_forbidden, ends[r] - first}, wish.kept};
            logprobs[r] = NAN;
            tokens[r] = draw_row(logits + (long)r * vocabulary, vocabulary, &wish, c, logprobs + r);
        }
    }
}

#ifdef __clang__
#pragma clang attribute pop
#endif

#else

int convai_supported(void) { return 0; }

#endif

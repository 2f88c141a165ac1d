/* A forward pass over a ragged batch of spans (blocks of GPT, GPT-2 and llama), and its language-model head, in 8-bit whole
   numbers.

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
#include "pack.h"
#include "product.h"

typedef struct {
    const float *gain, *bias; /* without a bias it is RMSNorm (Zhang & Sennrich 2019, arXiv 1910.07467) */
} Norm;

typedef struct {
    Norm first, second;
    Norm query, key; /* of each head's queries and keys, before they are rotated; without a gain there is none */
    Linear qkv, projection, expand, contract;
} Layer;

typedef struct {
    int32_t layers, heads, kv_heads, size, width, inner, vocabulary, positions;
    int32_t norm_before, gated; /* gated: expand's outputs are gates and what they gate (STORE_GATED) */
    float eps;
    float segment_gate;   /* what the embedding of a segment is multiplied with */
    const float *words;   /* [vocabulary][width] */
    const float *places;  /* [positions][width], or NULL */
    const float *turns;   /* rotary positions [positions][size] (see rotate), or NULL */
    Norm last;            /* after the last block, where norms come before */
    const Layer *layer;
    Linear output; /* the language-model head */
} Model;

typedef struct {
    uint16_t *data; /* [layers][slots][keys, values][kv_heads][capacity][size] */
    int32_t slots, capacity;
} Pool;

static Team this_team(void) {
#ifdef _OPENMP
    return (Team){omp_get_thread_num(), omp_get_num_threads()};
#else
    return (Team){0, 1};
#endif
}

/* Queries of one span that are one piece of work for each of the heads with keys of their own. */
typedef struct {
    int32_t span, skip, count; /* `skip`: tokens of the span before the first */
} Block;

/* Where the pieces of the workspace are; every piece begins at a multiple of 64 bytes. */
typedef struct {
    float *qkv, *mixed, *inner, *scratch;
    Rows narrow, wide; /* quantised rows of `width` (or of all heads) and of `inner` numbers */
    Block *all, *asked;
    int32_t *owner; /* the span of each row */
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
    r.groups = r.stride / 64; /* none is smaller than that */
    r.q = take(base, used, (long)rows * r.stride);
    r.scale = take(base, used, 4L * rows * r.groups);
    r.sum = take(base, used, 4L * rows * r.groups);
    return r;
}

static inline int qkv_width(const Model *m) { return (m->heads + 2 * m->kv_heads) * m->size; }

static Work workspace(const Model *m, char *base, int rows, int places, int threads) {
    Work w;
    const int mixed = m->heads * m->size, most = mixed > m->width ? mixed : m->width;
    w.bytes = 0;
    w.qkv = take(base, &w.bytes, 4L * rows * qkv_width(m));
    w.mixed = take(base, &w.bytes, 4L * rows * most);
    w.inner = take(base, &w.bytes, 4L * rows * m->inner);
    w.narrow = take_rows(base, &w.bytes, rows, most);
    w.wide = take_rows(base, &w.bytes, rows, m->inner);
    w.all = take(base, &w.bytes, (long)rows * sizeof(Block));
    w.asked = take(base, &w.bytes, (long)rows * sizeof(Block));
    w.owner = take(base, &w.bytes, 4L * rows);
    w.scratch_each = up(scratch_floats(places, m->size), 16);
    w.scratch = take(base, &w.bytes, 4L * threads * w.scratch_each);
    return w;
}

/* Bytes of workspace for a batch of `rows` tokens whose longest sequence has `places`. */
long convai_workspace(const Model *m, int rows, int places, int threads) {
    return workspace(m, (char *)0, rows, places, threads).bytes;
}

static inline void norm_row(const float *x, int n, Norm norm, float eps, float *y) {
    if (norm.bias) normalise_row(x, n, norm.gain, norm.bias, eps, y);
    else rms_row(x, n, norm.gain, eps, y);
}

/* Rows of x quantised for `layer`. */
static void quantise(const float *x, int rows, const Linear *layer, Rows to) {
#pragma omp for schedule(static)
    for (int r = 0; r < rows; r++) quantise_to(x + (long)r * layer->inputs, layer, to, r);
}

/* Rows of x normalised, and quantised for `layer`. `keep`: x itself is replaced (norms after the addition). */
static void normalise(float *x, int rows, const Linear *layer, Norm norm, float eps, int keep, float *spare, Rows to) {
#pragma omp for schedule(static)
    for (int r = 0; r < rows; r++) {
        float *row = x + (long)r * layer->inputs, *y = keep ? row : spare + (long)r * layer->inputs;
        norm_row(row, layer->inputs, norm, eps, y);
        quantise_to(y, layer, to, r);
    }
}

/* The queries of the group of a row that share a key, and the key: normalised, where the model does that, and rotated.
   Keys and values go into the cache. */
static void place_row(const Model *m, const Layer *layer, int64_t position, float *qkv, int kv, uint16_t *keys, uint16_t *values) {
    const int size = m->size, group = m->heads / m->kv_heads;
    float *q = qkv + (long)kv * group * size, *k = qkv + (long)(m->heads + kv) * size, *v = k + (long)m->kv_heads * size;
    for (int g = 0; layer->query.gain && g < group; g++) norm_row(q + g * size, size, layer->query, m->eps, q + g * size);
    if (layer->key.gain) norm_row(k, size, layer->key, m->eps, k);
    if (m->turns) {
        const float *turn = m->turns + position * size;
        for (int g = 0; g < group; g++) rotate(q + g * size, size, turn);
        rotate(k, size, turn);
    }
    for (int j = 0; j < size; j += 16) {
        store_half(keys + j, _mm512_loadu_ps(k + j));
        store_half(values + j, _mm512_loadu_ps(v + j));
    }
}

/* The heads of a batch in one layer, over `cache`, the layer's part of the pool. `blocks`: the queries that are asked for;
   the keys and values of all tokens are stored. */
static void attention(const Model *m, const Layer *layer, const int64_t *positions, int rows, const Span *spans,
                      const Block *blocks, int n_blocks, uint16_t *cache, int capacity, Work w, Team team) {
    const int size = m->size, kv_heads = m->kv_heads, group = m->heads / kv_heads, width = qkv_width(m);
    const long each = (long)capacity * size, slot = 2 * each * kv_heads; /* numbers of a head's keys, of a slot */
    float *scratch = w.scratch + team.id * w.scratch_each;
    if (n_blocks < rows) { /* more than single tokens: the keys of all are needed before any is asked for */
#pragma omp for schedule(static)
        for (int r = 0; r < rows; r++) {
            const Span s = spans[w.owner[r]];
            uint16_t *keys = cache + s.slot * slot + (long)(s.start + r - s.first) * size;
            for (int kv = 0; kv < kv_heads; kv++)
                place_row(m, layer, positions[r], w.qkv + (long)r * width, kv, keys + kv * each, keys + (kv_heads + kv) * each);
        }
    }
#pragma omp for schedule(dynamic)
    for (int i = 0; i < n_blocks * kv_heads; i++) {
        const Block b = blocks[i / kv_heads];
        const Span s = spans[b.span];
        const int kv = i % kv_heads, row = s.first + b.skip, before = s.start + b.skip;
        uint16_t *keys = cache + s.slot * slot + kv * each, *values = keys + kv_heads * each;
        float *qkv = w.qkv + (long)row * width;
        if (n_blocks == rows)
            place_row(m, layer, positions[row], qkv, kv, keys + (long)before * size, values + (long)before * size);
        Heads h = {qkv + (long)kv * group * size, width, keys, values, size, group, NULL, (long)m->heads * size, scratch};
        h.out = w.mixed + row * h.ldo + (long)kv * group * size;
        if (b.count == 1) attend_one(h, before + 1);
        else attend_many(h, before, b.count);
    }
}

/* Pieces of work of the spans: all queries, or those that are asked for; returns how many. */
static int divide(const Span *spans, int n_spans, int asked, Block *to) {
    int n = 0;
    for (int i = 0; i < n_spans; i++) {
        const int none = asked ? spans[i].count - spans[i].wanted : 0;
        for (int end = spans[i].count; end > none; end -= BLOCK_ROWS) { /* what takes longest comes first */
            const int from = end - BLOCK_ROWS > none ? end - BLOCK_ROWS : none;
            to[n++] = (Block){i, from, end - from};
        }
    }
    return n;
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

/* Sum of the embeddings of a token. */
static void embed(const Model *m, int64_t word, int64_t position, int64_t segment, float *x) {
    const float *w = m->words + word * m->width, *s = m->words + segment * m->width;
    const vec gate = _mm512_set1_ps(m->segment_gate);
    for (int i = 0; i < m->width; i += 16) {
        vec sum = _mm512_loadu_ps(w + i);
        if (m->places) sum = _mm512_add_ps(sum, _mm512_loadu_ps(m->places + position * m->width + i));
        if (m->segment_gate != 0) sum = _mm512_fmadd_ps(gate, _mm512_loadu_ps(s + i), sum);
        _mm512_storeu_ps(x + i, sum);
    }
}

/* Hidden states of the spans' wanted tokens, one after another, at the beginning of x[rows][width]. What nobody asked
   for is not computed in the last layer, but for its keys and values. Returns -1, or the row whose word, position or
   segment the model does not have. The spans have been checked against the pool. */
long convai_forward(const Model *m, const int64_t *words, const int64_t *positions, const int64_t *segments, int rows,
                    const Span *spans, int n_spans, const Pool *pool, int places, char *memory, int threads, float *x) {
    const int width = m->width, before = m->norm_before, mixed = m->heads * m->size;
    for (int r = 0; r < rows; r++)
        if (words[r] < 0 || words[r] >= m->vocabulary || segments[r] < 0 || segments[r] >= m->vocabulary || positions[r] < 0 ||
            positions[r] >= m->positions)
            return r;
    const Work w = workspace(m, memory, rows, places, threads);
    int wanted = 0;
    for (int i = 0; i < n_spans; i++) {
        wanted += spans[i].wanted;
        for (int t = 0; t < spans[i].count; t++) w.owner[spans[i].first + t] = i;
    }
    const int n_all = divide(spans, n_spans, 0, w.all), n_asked = divide(spans, n_spans, 1, w.asked);
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        const Team team = this_team();
#pragma omp for schedule(static)
        for (int r = 0; r < rows; r++) embed(m, words[r], positions[r], segments[r], x + (long)r * width);
        for (int l = 0; l < m->layers; l++) {
            const Layer *layer = m->layer + l;
            const int last = l == m->layers - 1, left = last ? wanted : rows;
            uint16_t *cache = pool->data + (long)l * pool->slots * pool->capacity * 2 * m->kv_heads * m->size;
            if (before) normalise(x, rows, &layer->qkv, layer->first, m->eps, 0, w.mixed, w.narrow);
            else if (l) normalise(x, rows, &layer->qkv, layer[-1].second, m->eps, 1, w.mixed, w.narrow);
            else quantise(x, rows, &layer->qkv, w.narrow);
            product(&layer->qkv, w.narrow, rows, w.qkv, qkv_width(m), STORE, &layer->projection, team);
            attention(m, layer, positions, rows, spans, last ? w.asked : w.all, last ? n_asked : n_all, cache, pool->capacity, w, team);
            if (left < rows) {
#pragma omp single
                {
                    gather_wanted(spans, n_spans, width, x);
                    gather_wanted(spans, n_spans, mixed, w.mixed);
                }
            }
            quantise(w.mixed, left, &layer->projection, w.narrow);
            product(&layer->projection, w.narrow, left, x, width, ADD, &layer->expand, team);
            normalise(x, left, &layer->expand, before ? layer->second : layer->first, m->eps, !before, w.mixed, w.narrow);
            product(&layer->expand, w.narrow, left, w.inner, m->inner, m->gated ? STORE_GATED : STORE_GELU, &layer->contract, team);
            quantise(w.inner, left, &layer->contract, w.wide);
            product(&layer->contract, w.wide, left, x, width, ADD, last ? &m->output : &layer[1].qkv, team);
        }
        Norm last = before ? m->last : m->layer[m->layers - 1].second;
#pragma omp for schedule(static)
        for (int r = 0; r < wanted; r++) norm_row(x + (long)r * width, width, last, m->eps, x + (long)r * width);
    }
    return -1;
}

/* logits[rows][vocabulary] of hidden[rows][width]. */
void convai_logits(const Model *m, const float *hidden, int rows, char *memory, int threads, float *logits) {
    const Work w = workspace(m, memory, rows, 1, threads);
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        quantise(hidden, rows, &m->output, w.narrow);
        product(&m->output, w.narrow, rows, logits, m->vocabulary, STORE, NULL, this_team());
    }
}

/* See pack. */
void convai_pack(const float *const *row, int outputs, int inputs, uint8_t *to, float *scale, int threads) {
    pack(row, outputs, inputs, to, scale, threads);
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
        Candidates c = candidates(memory + this_team().id * each, vocabulary, masked, &used, &wish.kept);
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

/* A forward pass over a ragged batch of spans (blocks of GPT, GPT-2 and llama), and its language-model head, in 8-bit whole
   numbers.

   Plain C without a runtime of its own: whoever calls owns all memory. Compiled for one instruction set beyond the
   baseline (AVX-512 with VNNI), which the caller asks for first (convai_supported). */

#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__) && defined(__linux__)

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
#include "model.h"
#include "pack.h"
#include "product.h"

/* Bytes of workspace for a batch of `rows` tokens whose longest sequence has `places`. */
long convai_workspace(const Model *m, int rows, int places, int threads) {
    return workspace(m, (char *)0, rows, places, threads).bytes;
}

static inline void norm_row(const float *x, int n, Norm norm, float eps, float *y) {
    if (norm.bias) normalise_row(x, n, norm.gain, norm.bias, eps, y);
    else rms_row(x, n, norm.gain, eps, y);
}

/* Rows of x, which all threads are done with, quantised for `layer`. */
static void quantise(const float *x, int rows, const Linear *layer, Rows to, int alone) {
    if (alone) {
        for (int r = 0; r < rows; r++) quantise_to(x + (long)r * layer->inputs, layer, to, r);
        return;
    }
#pragma omp for schedule(static)
    for (int r = 0; r < rows; r++) quantise_to(x + (long)r * layer->inputs, layer, to, r);
}

static inline void normalise_to(float *row, float *y, const Linear *layer, Norm norm, float eps, Rows to, int r) {
    norm_row(row, layer->inputs, norm, eps, y);
    quantise_to(y, layer, to, r);
}

/* Rows of x normalised, and quantised for `layer`. `keep`: x itself is replaced (norms after the addition). */
static void normalise(float *x, int rows, const Linear *layer, Norm norm, float eps, int keep, Work w) {
    const long n = layer->inputs;
    if (w.alone) {
        for (int r = 0; r < rows; r++) normalise_to(x + r * n, w.spare + r * n, layer, norm, eps, w.narrow, r);
        return;
    }
#pragma omp for schedule(static)
    for (int r = 0; r < rows; r++) normalise_to(x + r * n, (keep ? x : w.spare) + r * n, layer, norm, eps, w.narrow, r);
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

/* A batch in one layer, whose part of the pool is `cache`. */
typedef struct {
    const Model *m;
    const Layer *layer;
    const int64_t *positions;
    const Span *spans;
    uint16_t *cache;
    long each, slot; /* numbers of a head's keys, of a slot */
    int singles;     /* single tokens alone, each of which puts its own keys and values into the cache */
} Batch;

/* The heads that share keys `kv`, over the queries `b`. */
static void attend(const Batch *x, Block b, int kv, Work w, float *scratch) {
    const Model *m = x->m;
    const Span s = x->spans[b.span];
    const int size = m->size, group = m->heads / m->kv_heads, width = qkv_width(m);
    const int row = s.first + b.skip, before = s.start + b.skip;
    uint16_t *keys = x->cache + s.slot * x->slot + kv * x->each, *values = keys + m->kv_heads * x->each;
    float *qkv = w.qkv + (long)row * width;
    if (x->singles)
        place_row(m, x->layer, x->positions[row], qkv, kv, keys + (long)before * size, values + (long)before * size);
    Heads h = {qkv + (long)kv * group * size, width, keys, values, size, group, NULL, (long)m->heads * size, scratch};
    h.out = w.mixed + row * h.ldo + (long)kv * group * size;
    if (b.count == 1) attend_one(h, before + 1);
    else attend_many(h, before, b.count);
}

/* The heads of a batch of `rows` tokens. `blocks`: the queries that are asked for; the keys and values of all tokens are
   stored. */
static void attention(Batch x, int rows, const Block *blocks, int n_blocks, Work w, Team team) {
    const Model *m = x.m;
    const int kv_heads = m->kv_heads, items = n_blocks * kv_heads;
    float *scratch = w.scratch + team.id * w.scratch_each;
    x.singles = n_blocks == rows;
    if (!x.singles) { /* the keys of all are needed before any is asked for */
#pragma omp for schedule(static)
        for (int r = 0; r < rows; r++) {
            const Span s = x.spans[w.owner[r]];
            uint16_t *keys = x.cache + s.slot * x.slot + (long)(s.start + r - s.first) * m->size;
            for (int kv = 0; kv < kv_heads; kv++)
                place_row(m, x.layer, x.positions[r], w.qkv + (long)r * qkv_width(m), kv, keys + kv * x.each,
                          keys + (kv_heads + kv) * x.each);
        }
    }
    if (w.alone && x.singles) { /* handing them out one at a time takes as long as one of them */
        for (int i = team.id; i < items; i += team.size) attend(&x, blocks[i / kv_heads], i % kv_heads, w, scratch);
#pragma omp barrier
        return;
    }
#pragma omp for schedule(dynamic)
    for (int i = 0; i < items; i++) attend(&x, blocks[i / kv_heads], i % kv_heads, w, scratch);
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
   segment the model does not have. The spans have been checked against the pool. `spent` becomes the seconds that it
   took, and those of the threads' processor time in it. */
long convai_forward(const Model *m, const int64_t *words, const int64_t *positions, const int64_t *segments, int rows,
                    const Span *spans, int n_spans, const Pool *pool, int places, char *memory, int threads, float *x,
                    double *spent) {
    const int width = m->width, before = m->norm_before, mixed = m->heads * m->size;
    for (int r = 0; r < rows; r++)
        if (words[r] < 0 || words[r] >= m->vocabulary || segments[r] < 0 || segments[r] >= m->vocabulary || positions[r] < 0 ||
            positions[r] >= m->positions)
            return r;
    const Work all = workspace(m, memory, rows, places, threads);
    int wanted = 0;
    for (int i = 0; i < n_spans; i++) {
        wanted += spans[i].wanted;
        for (int t = 0; t < spans[i].count; t++) all.owner[spans[i].first + t] = i;
    }
    const int n_all = divide(spans, n_spans, 0, all.all), n_asked = divide(spans, n_spans, 1, all.asked);
    const double began = wall_seconds();
    double busy = 0;
#pragma omp parallel num_threads(threads) reduction(+ : busy) if (threads > 1)
    {
        const double busy_before = thread_seconds();
        const Team team = this_team();
        const Work w = mine(m, all, rows, team);
#pragma omp for schedule(static)
        for (int r = 0; r < rows; r++) embed(m, words[r], positions[r], segments[r], x + (long)r * width);
        for (int l = 0; l < m->layers; l++) {
            const Layer *layer = m->layer + l;
            const int last = l == m->layers - 1, left = last ? wanted : rows;
            const long each = (long)pool->capacity * m->size, slot = 2 * each * m->kv_heads;
            const Batch batch = {m, layer, positions, spans, pool->data + l * pool->slots * slot, each, slot, 0};
            if (before) normalise(x, rows, &layer->qkv, layer->first, m->eps, 0, w);
            else if (l) normalise(x, rows, &layer->qkv, layer[-1].second, m->eps, 1, w);
            else quantise(x, rows, &layer->qkv, w.narrow, w.alone);
            product(&layer->qkv, w.narrow, rows, w.qkv, qkv_width(m), STORE, &layer->projection, team);
            attention(batch, rows, last ? w.asked : w.all, last ? n_asked : n_all, w, team);
            if (left < rows) {
#pragma omp single
                {
                    gather_wanted(spans, n_spans, width, x);
                    gather_wanted(spans, n_spans, mixed, w.mixed);
                }
            }
            quantise(w.mixed, left, &layer->projection, w.narrow, w.alone);
            product(&layer->projection, w.narrow, left, x, width, ADD, &layer->expand, team);
            normalise(x, left, &layer->expand, before ? layer->second : layer->first, m->eps, !before, w);
            product(&layer->expand, w.narrow, left, w.inner, m->inner, m->gated ? STORE_GATED : STORE_GELU, &layer->contract, team);
            quantise(w.inner, left, &layer->contract, w.wide, w.alone);
            product(&layer->contract, w.wide, left, x, width, ADD, last ? &m->output : &layer[1].qkv, team);
        }
        Norm last = before ? m->last : m->layer[m->layers - 1].second;
#pragma omp for schedule(static)
        for (int r = 0; r < wanted; r++) norm_row(x + (long)r * width, width, last, m->eps, x + (long)r * width);
        busy += thread_seconds() - busy_before;
    }
    spent[0] = wall_seconds() - began, spent[1] = busy;
    return -1;
}

/* logits[rows][vocabulary] of hidden[rows][width]; `spent` as by convai_forward. */
void convai_logits(const Model *m, const float *hidden, int rows, char *memory, int threads, float *logits, double *spent) {
    const Work all = workspace(m, memory, rows, 1, threads);
    const double began = wall_seconds();
    double busy = 0;
#pragma omp parallel num_threads(threads) reduction(+ : busy) if (threads > 1)
    {
        const double busy_before = thread_seconds();
        const Team team = this_team();
        const Work w = mine(m, all, rows, team);
        quantise(hidden, rows, &m->output, w.narrow, w.alone);
        product(&m->output, w.narrow, rows, logits, m->vocabulary, STORE, NULL, team);
        busy += thread_seconds() - busy_before;
    }
    spent[0] = wall_seconds() - began, spent[1] = busy;
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

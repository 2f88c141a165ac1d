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
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,fma,f16c,prfchw"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,fma,f16c,prfchw")
#endif

#include "draw.h"
#include "model.h"
#include "pack.h"

/* Bytes of workspace for a batch of `rows` tokens whose longest sequence has `places`. */
long convai_workspace(const Model *m, int rows, int places, int threads) {
    return workspace(m, (char *)0, rows, places, threads).bytes;
}

static inline void norm_row(const float *x, int n, Norm norm, float eps, float *y) {
    if (norm.bias) normalise_row(x, n, norm.gain, norm.bias, eps, y);
    else rms_row(x, n, norm.gain, eps, y);
}

/* Rows of a piece of x, quantised for `layer`. */
static void quantise(const float *x, Piece p, const Linear *layer, Rows to, const Share *s) {
    x += (long)p.first * layer->inputs;
    for (int r = p.from; r < p.to; r++) quantise_to(x + (long)r * layer->inputs, layer, to, r);
    meet_rounded(s);
}

/* Rows of a piece of x normalised, and quantised for `layer`. `keep`: x itself is replaced (norms after the addition). */
static void normalise(float *x, Piece p, const Linear *layer, Norm norm, float eps, int keep, Work w, const Share *s) {
    x += (long)p.first * layer->inputs;
    for (int r = p.from; r < p.to; r++) {
        float *row = x + (long)r * layer->inputs, *y = keep ? row : w.spare;
        norm_row(row, layer->inputs, norm, eps, y);
        quantise_to(y, layer, w.narrow, r);
    }
    meet_rounded(s);
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
    int n_spans;
    uint16_t *cache;
    long each, slot; /* numbers of a head's keys, of a slot */
    int singles;     /* single tokens alone, each of which puts its own keys and values into the cache */
} Batch;

static inline uint16_t *keys_of(const Batch *x, int span, int kv) { return x->cache + x->spans[span].slot * x->slot + kv * x->each; }

/* The heads that share keys `kv`, over the queries `b`; the keys of block `then`, the next one, are fetched meanwhile. */
static void attend(const Batch *x, Block b, int kv, const Block *then, Work w) {
    const Model *m = x->m;
    const Span s = x->spans[b.span];
    const int size = m->size, group = m->heads / m->kv_heads, width = qkv_width(m);
    const int row = s.first + b.skip, before = s.start + b.skip;
    uint16_t *keys = keys_of(x, b.span, kv), *values = keys + m->kv_heads * x->each;
    float *qkv = w.qkv + (long)row * width;
    if (x->singles)
        place_row(m, x->layer, x->positions[row], qkv, kv, keys + (long)before * size, values + (long)before * size);
    const uint16_t *next = kv + 1 < m->kv_heads ? keys + x->each : then ? keys_of(x, then->span, 0) : keys;
    Heads h = {qkv + (long)kv * group * size, width, keys, values, next, size, group, NULL, (long)mixed_width(m), w.scratch};
    h.out = w.mixed + row * h.ldo + (long)kv * group * size;
    if (b.single) attend_one(h, before + 1);
    else attend_many(h, before, b.count);
}

/* The heads of a batch whose queries, keys and values this thread has computed of its rows. `blocks`: the queries that are
   asked for; the keys and values of all tokens are stored. Where threads are apart, this one's are answered then, and else
   all. */
static void attention(Batch x, const Block *blocks, int n_blocks, Work w, const Share *s) {
    const Model *m = x.m;
    const int kv_heads = m->kv_heads, items = n_blocks * kv_heads;
    x.singles = n_blocks == s->rows;
    if (!x.singles) { /* the keys of all are needed before any is asked for */
        const int part = s->how == ALONE ? s->team.id : 0, step = s->how == ALONE ? s->team.size : 1;
        for (int r = s->from + part; r < s->to; r += step) {
            const Span own = x.spans[w.owner[r]];
            uint16_t *keys = keys_of(&x, w.owner[r], 0) + (long)(own.start + r - own.first) * m->size;
            for (int kv = 0; kv < kv_heads; kv++)
                place_row(m, x.layer, x.positions[r], w.qkv + (long)r * qkv_width(m), kv, keys + kv * x.each,
                          keys + (kv_heads + kv) * x.each);
        }
#pragma omp barrier
    }
    if (s->how == APART) {
        for (int i = 0; i < n_blocks; i++) {
            const Block b = cut(blocks[i], x.spans, s->from, s->to);
            for (int kv = 0; b.count > 0 && kv < kv_heads; kv++) attend(&x, b, kv, i + 1 < n_blocks ? blocks + i + 1 : 0, w);
        }
    } else if (x.singles) {
        const int end = begins(x.spans, x.n_spans, 0, kv_heads, s->team.id + 1, s->team.size);
        for (int i = begins(x.spans, x.n_spans, 0, kv_heads, s->team.id, s->team.size); i < end; i++)
            attend(&x, blocks[i / kv_heads], i % kv_heads, i + kv_heads < items ? blocks + i / kv_heads + 1 : 0, w);
#pragma omp barrier
    } else {
#pragma omp for schedule(dynamic)
        for (int i = 0; i < items; i++) attend(&x, blocks[i / kv_heads], i % kv_heads, 0, w);
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

/* The products of a row in a layer, in places of its attention that take as long: four times as many 8-bit numbers are multiplied
   at once. */
static double products_in_places(const Model *m) {
    const Linear *of[4] = {&m->layer->qkv, &m->layer->projection, &m->layer->expand, &m->layer->contract};
    double numbers = 0;
    for (int i = 0; i < 4; i++) numbers += (double)of[i]->inputs * of[i]->outputs;
    return numbers / (4 * 2.0 * mixed_width(m));
}

/* What of a layer comes before its attention: queries, keys and values of this thread's rows or of all. */
static void ask(const Model *m, int l, float *x, Work w, const Share *s) {
    const Layer *layer = m->layer + l;
    for (int i = 0; i < pieces_of(s); i++) {
        const Piece p = piece_of(s, i);
        if (m->norm_before) normalise(x, p, &layer->qkv, layer->first, m->eps, 0, w, s);
        else if (l) normalise(x, p, &layer->qkv, layer[-1].second, m->eps, 1, w, s);
        else quantise(x, p, &layer->qkv, w.narrow, s);
        multiply(&layer->qkv, w.narrow, p.count, w.qkv + (long)p.first * qkv_width(m), qkv_width(m), STORE, &layer->projection, s);
    }
}

/* What of a layer comes after its attention. */
static void answer(const Model *m, int l, float *x, Work w, const Share *s) {
    const Layer *layer = m->layer + l;
    const int before = m->norm_before;
    for (int i = 0; i < pieces_of(s); i++) {
        const Piece p = piece_of(s, i);
        float *to = x + (long)p.first * m->width;
        quantise(w.mixed, p, &layer->projection, w.narrow, s);
        multiply(&layer->projection, w.narrow, p.count, to, m->width, ADD, &layer->expand, s);
        normalise(x, p, &layer->expand, before ? layer->second : layer->first, m->eps, !before, w, s);
        multiply(&layer->expand, w.narrow, p.count, w.inner, m->inner, m->gated ? STORE_GATED : STORE_GELU, &layer->contract, s);
        quantise(w.inner, (Piece){0, p.count, p.from, p.to}, &layer->contract, w.wide, s);
        multiply(&layer->contract, w.wide, p.count, to, m->width, ADD, l + 1 < m->layers ? &layer[1].qkv : &m->output, s);
    }
}

/* Hidden states of the spans' wanted tokens, one after another, at the beginning of x[rows][width]. What nobody asked
   for is not computed in the last layer, but for its keys and values. Returns -1, or the row whose word, position or
   segment the model does not have. The spans have been checked against the pool. `spent` becomes the seconds that it
   took, and those of the threads' processor time in it. */
long convai_forward(const Model *m, const int64_t *words, const int64_t *positions, const int64_t *segments, int rows,
                    const Span *spans, int n_spans, const Pool *pool, int places, char *memory, int threads, float *x,
                    double *spent) {
    const int width = m->width, before = m->norm_before;
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
    const double each = products_in_places(m), began = wall_seconds();
    double busy = 0;
#pragma omp parallel num_threads(threads) reduction(+ : busy) if (threads > 1)
    {
        const double busy_before = thread_seconds();
        const Team team = this_team();
        Share s = shared(rows, spans, n_spans, each, before, team);
        Work w = mine(m, all, &s);
#pragma omp for schedule(static)
        for (int r = 0; r < rows; r++) embed(m, words[r], positions[r], segments[r], x + (long)r * width);
        for (int l = 0; l < m->layers; l++) {
            const int last = l == m->layers - 1;
            const long one = (long)pool->capacity * m->size, slot = 2 * one * m->kv_heads;
            const Batch batch = {m, m->layer + l, positions, spans, n_spans, pool->data + l * pool->slots * slot, one, slot, 0};
            ask(m, l, x, w, &s);
            attention(batch, last ? all.asked : all.all, last ? n_asked : n_all, w, &s);
            if (last && wanted < rows) {
#pragma omp barrier
#pragma omp single
                {
                    gather_wanted(spans, n_spans, width, x);
                    gather_wanted(spans, n_spans, mixed_width(m), w.mixed);
                }
                s = shared(wanted, NULL, 0, 0, before, team);
                w = mine(m, all, &s);
            }
            answer(m, l, x, w, &s);
        }
        Norm last = before ? m->last : m->layer[m->layers - 1].second;
#pragma omp barrier
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
        const Share s = shared(rows, NULL, 0, 0, 1, this_team());
        const Work w = mine(m, all, &s);
        for (int i = 0; i < pieces_of(&s); i++) {
            const Piece p = piece_of(&s, i);
            quantise(hidden, p, &m->output, w.narrow, &s);
            multiply(&m->output, w.narrow, p.count, logits + (long)p.first * m->vocabulary, m->vocabulary, STORE, NULL, &s);
        }
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

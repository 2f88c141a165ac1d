/* A model as the caller describes it, its pool of caches, and the memory that a forward pass works in. */
#ifndef CONVAI_MODEL_H
#define CONVAI_MODEL_H

#include "attention.h"
#include "product.h"

#include <time.h>

#ifdef _OPENMP
#include <omp.h>
#endif

#define ALONE_ROWS 4 /* rows that it takes less time to round twice than to wait for */

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

static double seconds_of(clockid_t clock) {
    struct timespec now;
    return clock_gettime(clock, &now) ? 0 : now.tv_sec + now.tv_nsec * 1e-9;
}

static double wall_seconds(void) { return seconds_of(CLOCK_MONOTONIC); }

/* Of the processor, of this thread. */
static double thread_seconds(void) { return seconds_of(CLOCK_THREAD_CPUTIME_ID); }

/* Queries of one span that are one piece of work for each of the heads with keys of their own. */
typedef struct {
    int32_t span, skip, count; /* `skip`: tokens of the span before the first */
} Block;

/* Where the pieces of the workspace are, which is the caller's memory; every piece begins at a multiple of 64 bytes. */
typedef struct {
    float *qkv, *mixed, *inner, *scratch;
    Rows narrow, wide; /* quantised rows of `width` (or of all heads) and of `inner` numbers */
    float *spare;      /* rows that are normalised for a product */
    int alone;         /* few rows, which each thread rounds for itself, in `spare`, `narrow` and `wide` of its own */
    Block *all, *asked;
    int32_t *owner; /* the span of each row */
    long scratch_each, own_each, bytes;
    char *own; /* of all threads, `own_each` bytes each */
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

/* A thread's own rounded rows. */
static void take_own(const Model *m, char *base, int rows, long *used, Work *w) {
    const int mixed = m->heads * m->size, most = mixed > m->width ? mixed : m->width;
    w->spare = take(base, used, 4L * rows * most);
    w->narrow = take_rows(base, used, rows, most);
    w->wide = take_rows(base, used, rows, m->inner);
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
    w.spare = w.mixed;
    w.alone = rows <= ALONE_ROWS && m->norm_before;
    w.own_each = 0;
    if (w.alone) take_own(m, (char *)0, rows, &w.own_each, &w);
    w.own = take(base, &w.bytes, threads * w.own_each);
    return w;
}

/* What a thread works with. */
static Work mine(const Model *m, Work w, int rows, Team team) {
    long used = 0;
    if (w.alone) take_own(m, w.own + team.id * w.own_each, rows, &used, &w);
    return w;
}

#endif

/* A model as the caller describes it, its pool of caches, and the memory that a forward pass works in. */
#ifndef CONVAI_MODEL_H
#define CONVAI_MODEL_H

#include "sharing.h"

#include <time.h>

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

static double seconds_of(clockid_t clock) {
    struct timespec now;
    return clock_gettime(clock, &now) ? 0 : now.tv_sec + now.tv_nsec * 1e-9;
}

static double wall_seconds(void) { return seconds_of(CLOCK_MONOTONIC); }

/* Of the processor, of this thread. */
static double thread_seconds(void) { return seconds_of(CLOCK_THREAD_CPUTIME_ID); }

/* Where the pieces of the workspace are, which is the caller's memory; every piece begins at a multiple of 64 bytes. */
typedef struct {
    float *qkv, *mixed, *inner, *scratch;
    Rows narrow, wide; /* quantised rows of `width` (or of all heads) and of `inner` numbers */
    float *spare;      /* a row that is normalised for a product */
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

static inline int qkv_width(const Model *m) { return (m->heads + 2 * m->kv_heads) * m->size; }

static inline int mixed_width(const Model *m) { return m->heads * m->size; }

static inline int narrow_width(const Model *m) { return mixed_width(m) > m->width ? mixed_width(m) : m->width; }

/* A thread's own memory: what it normalises, and the rows that it rounds alone. */
static void take_own(const Model *m, char *base, long *used, float **spare, Rows *narrow, Rows *wide) {
    *spare = take(base, used, 4L * narrow_width(m));
    *narrow = take_rows(base, used, ALONE_ROWS, narrow_width(m));
    *wide = take_rows(base, used, ALONE_ROWS, m->inner);
}

static Work workspace(const Model *m, char *base, int rows, int places, int threads) {
    Work w;
    Rows narrow, wide;
    w.bytes = w.own_each = 0;
    w.qkv = take(base, &w.bytes, 4L * rows * qkv_width(m));
    w.mixed = take(base, &w.bytes, 4L * rows * mixed_width(m));
    w.inner = take(base, &w.bytes, 4L * rows * m->inner);
    w.narrow = take_rows(base, &w.bytes, rows, narrow_width(m));
    w.wide = take_rows(base, &w.bytes, rows, m->inner);
    w.all = take(base, &w.bytes, (long)rows * sizeof(Block));
    w.asked = take(base, &w.bytes, (long)rows * sizeof(Block));
    w.owner = take(base, &w.bytes, 4L * rows);
    w.scratch_each = up(scratch_floats(places, m->size), 16);
    w.scratch = take(base, &w.bytes, 4L * threads * w.scratch_each);
    take_own(m, (char *)0, &w.own_each, &w.spare, &narrow, &wide);
    w.own = take(base, &w.bytes, threads * w.own_each);
    return w;
}

static Rows rows_from(Rows r, int first) {
    r.q += (long)first * r.stride;
    r.scale += (long)first * r.groups;
    r.sum += (long)first * r.groups;
    return r;
}

/* What a thread works with while it shares rows so. Apart it has the places of its rows, and uses the first of them for each
   piece. */
static Work mine(const Model *m, Work w, const Share *s) {
    long used = 0;
    Rows narrow, wide;
    take_own(m, w.own + s->team.id * w.own_each, &used, &w.spare, &narrow, &wide);
    w.scratch += s->team.id * w.scratch_each;
    if (s->how == ALONE) {
        w.narrow = narrow;
        w.wide = wide;
    } else if (s->how == APART) {
        w.narrow = rows_from(w.narrow, s->from);
        w.wide = rows_from(w.wide, s->from);
        w.inner += (long)s->from * m->inner;
    }
    return w;
}

#endif

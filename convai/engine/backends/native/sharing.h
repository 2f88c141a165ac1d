/* How the threads of a pass share its rows. */
#ifndef CONVAI_SHARING_H
#define CONVAI_SHARING_H

#include "attention.h"
#include "product.h"

#ifdef _OPENMP
#include <omp.h>
#endif

#define ALONE_ROWS 4  /* rows that it takes less time to round twice than to wait for */
#define APART_ROWS 32 /* rows of each thread from which on all weights are read faster than rows are exchanged */

/* What a thread computes of a product and of the rounding before it. */
enum Sharing {
    APART,    /* its rows with all weights: it waits for others where it needs their keys, and what it computes stays in its cache */
    ALONE,    /* all rows, which it rounds by itself, with its weights */
    TOGETHER, /* all rows, some of which it rounds, with its weights */
};

typedef struct {
    enum Sharing how;
    Team team;
    int rows, from, to; /* of all rows those that this thread rounds */
} Share;

static Team this_team(void) {
#ifdef _OPENMP
    return (Team){omp_get_thread_num(), omp_get_num_threads()};
#else
    return (Team){0, 1};
#endif
}

/* Where the work of thread `part` of `parts` begins, in items of which each row has `per_row`. A row costs `each`, and as much
   as the places that it sees. */
static int begins(const Span *spans, int n_spans, double each, int per_row, int part, int parts) {
    double all = 0, before = 0;
    int row = 0;
    for (int i = 0; i < n_spans; i++) all += spans[i].count * (each + spans[i].start + 0.5 * (spans[i].count + 1));
    const double until = all * part / parts;
    for (int i = 0; i < n_spans; i++)
        for (int t = 0; t < spans[i].count; t++, row++) {
            const double cost = each + spans[i].start + t + 1;
            if (part < parts && before + cost > until) return row * per_row + (int)((until - before) / cost * per_row);
            before += cost;
        }
    return row * per_row;
}

/* Of `rows` rows, which are those of the spans, or cost the same where there are none. `each` as in begins. `alone`: whether
   each thread may round all rows. */
static Share shared(int rows, const Span *spans, int n_spans, double each, int alone, Team team) {
    Share s = {TOGETHER, team, rows, (int)((long)rows * team.id / team.size), (int)((long)rows * (team.id + 1) / team.size)};
    if (team.size == 1 || rows >= APART_ROWS * team.size) {
        s.how = APART;
        if (n_spans) {
            s.from = begins(spans, n_spans, each, 1, team.id, team.size);
            s.to = begins(spans, n_spans, each, 1, team.id + 1, team.size);
        }
    } else if (rows <= ALONE_ROWS && alone) s = (Share){ALONE, team, rows, 0, rows};
    return s;
}

/* Rows that are computed one after another: `count` from `first` on, of which this thread rounds `from` ... `to` - 1, counted
   from the first. Apart they are few, so that what becomes of them is still in the cache. */
typedef struct {
    int first, count, from, to;
} Piece;

static inline int pieces_of(const Share *s) { return s->how == APART ? (s->to - s->from + CHUNK_ROWS - 1) / CHUNK_ROWS : 1; }

static inline Piece piece_of(const Share *s, int number) {
    if (s->how != APART) return (Piece){0, s->rows, s->from, s->to};
    const int rows = s->to - s->from, pieces = pieces_of(s);
    const int first = (int)((long)rows * number / pieces), end = (int)((long)rows * (number + 1) / pieces);
    return (Piece){s->from + first, end - first, 0, end - first};
}

/* Wait for the rows that others round. */
static inline void meet_rounded(const Share *s) {
    if (s->how == TOGETHER) {
#pragma omp barrier
    }
}

/* out[rows][ld] of a piece's rows: complete where the threads are apart, and else once all are here. */
static inline void multiply(const Linear *layer, Rows x, int rows, float *out, long ld, enum Ending ending, const Linear *then,
                            const Share *s) {
    product(layer, x, rows, out, ld, ending, then, s->how == APART ? (Team){0, 1} : s->team);
    if (s->how != APART) {
#pragma omp barrier
    }
}

/* Queries of one span that are one piece of work for each of the heads with keys of their own. */
typedef struct {
    int32_t span, skip, count; /* `skip`: tokens of the span before the first */
    int32_t single;            /* computed as one query, whatever a cut leaves of others */
} Block;

/* Blocks of the spans: all queries, or those that are asked for; returns how many. */
static int divide(const Span *spans, int n_spans, int asked, Block *to) {
    int n = 0;
    for (int i = 0; i < n_spans; i++) {
        const int none = asked ? spans[i].count - spans[i].wanted : 0;
        for (int end = spans[i].count; end > none; end -= BLOCK_ROWS) { /* what takes longest comes first */
            const int from = end - BLOCK_ROWS > none ? end - BLOCK_ROWS : none;
            to[n++] = (Block){i, from, end - from, end - from == 1};
        }
    }
    return n;
}

/* What of a block is in the batch's rows `from` ... `to` - 1; its count may be 0 or less. A query gives the same wherever
   its block is cut. */
static inline Block cut(Block b, const Span *spans, int from, int to) {
    const int first = spans[b.span].first + b.skip, end = first + b.count;
    const int begin = first > from ? first : from;
    b.skip += begin - first;
    b.count = (end < to ? end : to) - begin;
    return b;
}

#endif

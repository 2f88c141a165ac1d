/* Texts in packed rows: where their words are, and the attention over them. */

#define MANY 8 /* texts from which on threads share the attention */

typedef struct {
    const int64_t *sizes;     /* texts that have a word at each step */
    int64_t *starts, *lengths; /* first row of each step; words of each text, falling. One piece of memory */
    long steps, count;
} Texts;

static int read_texts(Texts *t, const int64_t *sizes, long steps) {
    long count = steps ? sizes[0] : 0, row = 0, live = count;
    t->sizes = sizes, t->steps = steps, t->count = count;
    t->starts = malloc((steps + count + 1) * sizeof(int64_t));
    if (!t->starts) return 0;
    t->lengths = t->starts + steps;
    for (long i = 0; i < steps; i++) {
        t->starts[i] = row, row += sizes[i];
        while (live > sizes[i]) t->lengths[--live] = i;
    }
    while (live) t->lengths[--live] = steps;
    return 1;
}

/* The row that is read of a text at a step; backwards a text begins with its own last word. */
static inline long row_at(const Texts *t, int backwards, long step, long text) {
    return t->starts[backwards ? t->lengths[text] - 1 - step : step] + text;
}

static float dot(const float *a, const float *b, long n) {
    __m512 sum = _mm512_setzero_ps();
    for (long k = 0; k < n; k += LANES)
        sum = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(present(n - k), a + k), _mm512_maskz_loadu_ps(present(n - k), b + k), sum);
    return _mm512_reduce_add_ps(sum);
}

static void add_scaled(float *to, const float *row, float by, long n) {
    for (long k = 0; k < n; k += LANES) {
        __mmask16 there = present(n - k);
        __m512 v = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(there, row + k), _mm512_set1_ps(by), _mm512_maskz_loadu_ps(there, to + k));
        _mm512_mask_storeu_ps(to + k, there, v);
    }
}

/* One text; see convai_emotion_attend. `weights` has room for its words. */
static void attend(const float *const *parts, const int64_t *widths, long count, const float *vector, const Texts *t,
                   long text, float *features, float *weights) {
    long words = t->lengths[text];
    float top = -INFINITY, total = 0;
    for (long w = 0; w < words; w++) {
        const float *v = vector;
        weights[w] = 0;
        for (long i = 0; i < count; v += widths[i++]) weights[w] += dot(parts[i] + row_at(t, 0, w, text) * widths[i], v, widths[i]);
        top = weights[w] > top ? weights[w] : top;
    }
    for (long w = 0; w < words; w++) total += weights[w] = expf(weights[w] - top);
    for (long i = 0; i < count; features += widths[i++]) {
        memset(features, 0, widths[i] * sizeof(float));
        for (long w = 0; w < words; w++)
            add_scaled(features, parts[i] + row_at(t, 0, w, text) * widths[i], weights[w] / total, widths[i]);
    }
    for (long w = 0; w < words; w++) weights[w] /= total;
}

/* Attention on the host, by blocks of queries.
 *
 * For one sample, head and block of queries all scores are computed as one matrix
 * product, so memory is block x keys whatever the number of queries. Keys behind the
 * last that any query of the block sees are left out: with keys in order, causal
 * attention does half the work. The backward pass computes the scores again and turns
 * them into probabilities by the log-sum-exp over all keys, which makes its answer
 * right for a part of the keys too.
 * Source: Dao et al. 2022 (arXiv 2205.14135), algorithm 1 and appendix B.2. */
#include "exec/host_internal.h"
#include "exec/host_math.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_QUERIES = 64 };

/* One head of one sample, and a block of its queries. */
typedef struct piece {
    const galv_attention *shape;
    int32_t sample, head, group;
    int32_t first, n_queries; /* of the block */
    int32_t n_visible;        /* keys before this index may be seen */
    float *scores;            /* [BLOCK_QUERIES, n_keys] */
} piece;

static size_t query_stride(const galv_attention *shape, int32_t dim)
{
    return (size_t)shape->n_heads * (size_t)dim;
}

static size_t key_stride(const galv_attention *shape, int32_t dim)
{
    return (size_t)shape->n_groups * (size_t)dim;
}

/* Where the block's first row lies in an array [n_samples, n_queries, n_heads, dim]. */
static size_t query_place(const piece *p, int32_t dim)
{
    size_t token = (size_t)p->sample * (size_t)p->shape->n_queries + (size_t)p->first;
    return (token * (size_t)p->shape->n_heads + (size_t)p->head) * (size_t)dim;
}

static size_t key_place(const piece *p, int32_t dim)
{
    size_t token = (size_t)p->sample * (size_t)p->shape->n_keys;
    return (token * (size_t)p->shape->n_groups + (size_t)p->group) * (size_t)dim;
}

/* Where the block's first query lies in an array [n_samples, n_heads, n_queries]. */
static size_t row_place(const piece *p)
{
    const galv_attention *shape = p->shape;
    size_t head = (size_t)p->sample * (size_t)shape->n_heads + (size_t)p->head;
    return head * (size_t)shape->n_queries + (size_t)p->first;
}

static int32_t count_visible(const galv_attention *shape, int32_t first,
                             int32_t n_queries)
{
    if (!shape->causal) {
        return shape->n_keys;
    }
    int32_t latest = INT32_MIN;
    for (int32_t i = first; i < first + n_queries; i++) {
        if (shape->query_positions[i] > latest) {
            latest = shape->query_positions[i];
        }
    }
    int32_t n = shape->n_keys;
    while (n > 0 && shape->key_positions[n - 1] > latest) {
        n--;
    }
    return n;
}

/* c[m, n] = alpha a b^T or a b + beta c, of rows that lie `stride` apart. */
static void product(bool transpose_a, bool transpose_b, int32_t m, int32_t n, int32_t k,
                    float alpha, const float *a, size_t lda, const float *b, size_t ldb,
                    float beta, float *c, size_t ldc)
{
    cblas_sgemm(CblasRowMajor, transpose_a ? CblasTrans : CblasNoTrans,
                transpose_b ? CblasTrans : CblasNoTrans, m, n, k, alpha, a, (int)lda, b,
                (int)ldb, beta, c, (int)ldc);
}

/* scores[n_queries, n_visible] = scale q k^T. */
static void score(const piece *p, const float *q, const float *k)
{
    int32_t dim = p->shape->qk_dim;
    product(false, true, p->n_queries, p->n_visible, dim, p->shape->scale,
            q + query_place(p, dim), query_stride(p->shape, dim), k + key_place(p, dim),
            key_stride(p->shape, dim), 0, p->scores, (size_t)p->n_visible);
}

typedef void visit(void *state, const piece *p);

/* Calls `work` for every block of every head. False: out of memory. */
static bool for_each_block(const galv_attention *shape, visit *work, void *state)
{
    size_t n_scores = (size_t)BLOCK_QUERIES * (size_t)shape->n_keys;
    float *scores = malloc((n_scores + 1) * sizeof *scores);
    if (scores == NULL) {
        return false;
    }
    piece p = {.shape = shape, .scores = scores};
    for (p.first = 0; p.first < shape->n_queries; p.first += BLOCK_QUERIES) {
        int32_t left = shape->n_queries - p.first;
        p.n_queries = left < BLOCK_QUERIES ? left : BLOCK_QUERIES;
        p.n_visible = count_visible(shape, p.first, p.n_queries);
        for (p.sample = 0; p.sample < shape->n_samples; p.sample++) {
            for (p.head = 0; p.head < shape->n_heads; p.head++) {
                p.group = p.head / (shape->n_heads / shape->n_groups);
                work(state, &p);
            }
        }
    }
    free(scores);
    return true;
}

/* ---- forward ---- */

typedef struct forward {
    float *out, *lse;
    const float *q, *k, *v;
} forward;

/* Puts -infinity where the query does not see the key. */
static void hide(const piece *p, int32_t row)
{
    const galv_attention *shape = p->shape;
    if (!shape->causal) {
        return;
    }
    float *scores = p->scores + (size_t)row * (size_t)p->n_visible;
    int32_t position = shape->query_positions[p->first + row];
    for (int32_t key = 0; key < p->n_visible; key++) {
        scores[key] = shape->key_positions[key] <= position ? scores[key] : -INFINITY;
    }
}

/* Turns the scores of one query into probabilities; returns their log-sum-exp. */
static float normalise(const piece *p, int32_t row)
{
    float *scores = p->scores + (size_t)row * (size_t)p->n_visible;
    size_t n = (size_t)p->n_visible;
    hide(p, row);
    float greatest = max_of(scores, n, -INFINITY);
    if (isinf(greatest) && greatest < 0) {
        memset(scores, 0, n * sizeof *scores);
        return -INFINITY;
    }
    exp_all(scores, greatest, n);
    double sum = sum_of(scores, n);
    float inverse = (float)(1 / sum);
    for (size_t key = 0; key < n; key++) {
        scores[key] *= inverse;
    }
    return greatest + (float)log(sum);
}

static void forward_block(void *state, const piece *p)
{
    const forward *f = state;
    int32_t dim = p->shape->v_dim;
    float *out = f->out + query_place(p, dim);
    size_t stride = query_stride(p->shape, dim);
    float *lse = f->lse + row_place(p);
    if (p->n_visible == 0) {
        for (int32_t row = 0; row < p->n_queries; row++) {
            memset(out + (size_t)row * stride, 0, (size_t)dim * sizeof *out);
            lse[row] = -INFINITY;
        }
        return;
    }
    score(p, f->q, f->k);
    for (int32_t row = 0; row < p->n_queries; row++) {
        lse[row] = normalise(p, row);
    }
    product(false, false, p->n_queries, dim, p->n_visible, 1, p->scores,
            (size_t)p->n_visible, f->v + key_place(p, dim), key_stride(p->shape, dim),
            0, out, stride);
}

static void attend(galv_backend *b, galv_stream stream, const galv_attention *shape,
                   void *out, float *lse, const void *q, const void *k, const void *v)
{
    host *h = galv_host_enter(b, stream);
    forward f = {.out = out, .lse = lse, .q = q, .k = k, .v = v};
    if (h != NULL && !for_each_block(shape, forward_block, &f)) {
        galv_host_fail(h, GALV_NO_MEMORY, "out of memory");
    }
}

/* With a and b the log-sum-exps of two sets of keys and c of both, out is
 * e^(a-c) out_a + e^(b-c) out_b. A side without keys is not read. */
static void merge_row(float *out, const float *part, float a, float b, float both,
                      int32_t dim)
{
    float keep = expf(a - both);
    float take = expf(b - both);
    if (isinf(b)) {
        if (isinf(a)) {
            memset(out, 0, (size_t)dim * sizeof *out);
        }
        return;
    }
    for (int32_t i = 0; i < dim; i++) {
        out[i] = isinf(a) ? part[i] : keep * out[i] + take * part[i];
    }
}

static void attend_merge(galv_backend *b, galv_stream stream,
                         const galv_attention *shape, float *out, float *lse,
                         const void *part_out, const float *part_lse)
{
    if (galv_host_enter(b, stream) == NULL) {
        return;
    }
    size_t dim = (size_t)shape->v_dim;
    size_t heads = (size_t)shape->n_heads;
    size_t queries = (size_t)shape->n_queries;
    for (size_t sample = 0; sample < (size_t)shape->n_samples; sample++) {
        for (size_t query = 0; query < queries; query++) {
            for (size_t head = 0; head < heads; head++) {
                size_t place = ((sample * queries + query) * heads + head) * dim;
                size_t row = (sample * heads + head) * queries + query;
                float ours = lse[row];
                float theirs = part_lse[row];
                float more = ours > theirs ? ours : theirs;
                float less = ours > theirs ? theirs : ours;
                float both = isinf(more) ? more : more + log1pf(expf(less - more));
                merge_row(out + place, (const float *)part_out + place, ours, theirs,
                          both, shape->v_dim);
                lse[row] = both;
            }
        }
    }
}

/* ---- backward ---- */

typedef struct backward {
    float *dq, *dk, *dv;
    const float *dout, *q, *k, *v, *out, *lse;
    float *dscores; /* [BLOCK_QUERIES, n_keys] */
} backward;

/* p = e^(score - lse) in place; 0 where the query does not see the key. */
static void probabilities(const piece *p, const float *lse)
{
    size_t n = (size_t)p->n_visible;
    for (int32_t row = 0; row < p->n_queries; row++) {
        float *scores = p->scores + (size_t)row * n;
        if (isinf(lse[row]) && lse[row] < 0) {
            memset(scores, 0, n * sizeof *scores);
            continue;
        }
        hide(p, row);
        exp_all(scores, lse[row], n);
    }
}

/* ds = scale p (dp - delta), delta the product of dout and out of the query. */
static void score_gradient(const piece *p, const backward *g)
{
    int32_t dim = p->shape->v_dim;
    size_t place = query_place(p, dim);
    size_t stride = query_stride(p->shape, dim);
    for (int32_t row = 0; row < p->n_queries; row++) {
        const float *dout = g->dout + place + (size_t)row * stride;
        const float *out = g->out + place + (size_t)row * stride;
        float delta = (float)dot_of(dout, out, (size_t)dim);
        const float *prob = p->scores + (size_t)row * (size_t)p->n_visible;
        float *ds = g->dscores + (size_t)row * (size_t)p->n_visible;
        float scale = p->shape->scale;
        for (int32_t key = 0; key < p->n_visible; key++) {
            ds[key] = scale * prob[key] * (ds[key] - delta);
        }
    }
}

static void backward_block(void *state, const piece *p)
{
    const backward *g = state;
    if (p->n_visible == 0) {
        return;
    }
    int32_t qk = p->shape->qk_dim;
    int32_t vd = p->shape->v_dim;
    size_t keys = (size_t)p->n_visible;
    size_t q_stride = query_stride(p->shape, qk);
    size_t o_stride = query_stride(p->shape, vd);
    size_t k_stride = key_stride(p->shape, qk);
    size_t v_stride = key_stride(p->shape, vd);
    const float *dout = g->dout + query_place(p, vd);
    score(p, g->q, g->k);
    probabilities(p, g->lse + row_place(p));
    product(true, false, p->n_visible, vd, p->n_queries, 1, p->scores, keys, dout,
            o_stride, 1, g->dv + key_place(p, vd), v_stride);
    product(false, true, p->n_queries, p->n_visible, vd, 1, dout, o_stride,
            g->v + key_place(p, vd), v_stride, 0, g->dscores, keys);
    score_gradient(p, g);
    product(false, false, p->n_queries, qk, p->n_visible, 1, g->dscores, keys,
            g->k + key_place(p, qk), k_stride, 1, g->dq + query_place(p, qk), q_stride);
    product(true, false, p->n_visible, qk, p->n_queries, 1, g->dscores, keys,
            g->q + query_place(p, qk), q_stride, 1, g->dk + key_place(p, qk), k_stride);
}

static void attend_backward(galv_backend *b, galv_stream stream,
                            const galv_attention *shape, float *dq, float *dk,
                            float *dv, const void *dout, const void *q, const void *k,
                            const void *v, const void *out, const float *lse)
{
    host *h = galv_host_enter(b, stream);
    if (h == NULL) {
        return;
    }
    size_t n_scores = (size_t)BLOCK_QUERIES * (size_t)shape->n_keys;
    backward g = {.dq = dq,
                  .dk = dk,
                  .dv = dv,
                  .dout = dout,
                  .q = q,
                  .k = k,
                  .v = v,
                  .out = out,
                  .lse = lse,
                  .dscores = malloc((n_scores + 1) * sizeof(float))};
    if (g.dscores == NULL || !for_each_block(shape, backward_block, &g)) {
        galv_host_fail(h, GALV_NO_MEMORY, "out of memory");
    }
    free(g.dscores);
}

/* Elements are float32 here. */
static void attend_backward_whole(galv_backend *b, galv_stream stream,
                                  const galv_attention *shape, void *dq, void *dk,
                                  void *dv, const void *dout, const void *q,
                                  const void *k, const void *v, const void *out,
                                  const float *lse)
{
    size_t samples = (size_t)shape->n_samples;
    size_t queries = samples * (size_t)shape->n_queries * (size_t)shape->n_heads;
    size_t keys = samples * (size_t)shape->n_keys * (size_t)shape->n_groups;
    b->fill_zero(b, stream, dq, queries * (size_t)shape->qk_dim * sizeof(float));
    b->fill_zero(b, stream, dk, keys * (size_t)shape->qk_dim * sizeof(float));
    b->fill_zero(b, stream, dv, keys * (size_t)shape->v_dim * sizeof(float));
    attend_backward(b, stream, shape, dq, dk, dv, dout, q, k, v, out, lse);
}

void galv_host_fill_attention(galv_backend *b)
{
    b->attend = attend;
    b->attend_merge = attend_merge;
    b->attend_backward = attend_backward;
    b->attend_backward_whole = attend_backward_whole;
}

/* Attention against the host: odd sizes, causal or not, positions in order (where a
 * library may have a kernel of its own) and out of order, keys in blocks that are
 * joined, gradients. Probabilities are rounded to bf16 before the
 * product with values, so 2e-2 is allowed. */
#include "tests/exec/gpu/gpu_check.h"

#include <math.h>
#include <stdio.h>

typedef struct problem {
    int32_t samples, queries, keys, heads, groups, qk_dim, v_dim;
    bool causal;
    bool in_order;
} problem;

static galv_attention shape_of(const problem *p, const twin *query_at,
                               const twin *key_at, int side)
{
    galv_attention shape = {.n_samples = p->samples,
                            .n_queries = p->queries,
                            .n_keys = p->keys,
                            .n_heads = p->heads,
                            .n_groups = p->groups,
                            .qk_dim = p->qk_dim,
                            .v_dim = p->v_dim,
                            .causal = p->causal,
                            .in_order = p->in_order,
                            .scale = 1 / sqrtf((float)p->qk_dim),
                            .query_positions = query_at->at[side],
                            .key_positions = key_at->at[side]};
    return shape;
}

/* 0, 1, 2... */
static twin counted(check *c, int32_t n)
{
    int32_t values[512];
    for (int32_t i = 0; i < n && i < 512; i++) {
        values[i] = i;
    }
    return twin_ints(c, values, (size_t)n);
}

static void run(check *c, const problem *p)
{
    char text[120];
    size_t queries = (size_t)p->samples * (size_t)p->queries * (size_t)p->heads;
    size_t keys = (size_t)p->samples * (size_t)p->keys * (size_t)p->groups;
    size_t qk = (size_t)p->qk_dim;
    size_t vd = (size_t)p->v_dim;
    twin q = twin_new(c, queries * qk, GALV_ELEMENT, 2);
    twin k = twin_new(c, keys * qk, GALV_ELEMENT, 2);
    twin v = twin_new(c, keys * vd, GALV_ELEMENT, 1);
    twin dout = twin_new(c, queries * vd, GALV_ELEMENT, 1);
    twin out = twin_new(c, queries * vd, GALV_ELEMENT, 1);
    twin lse = twin_all(c, queries, GALV_FLOAT32, 7);
    twin sum = twin_new(c, queries * vd, GALV_FLOAT32, 1);
    twin total = twin_all(c, queries, GALV_FLOAT32, -INFINITY);
    twin dq = twin_all(c, queries * qk, GALV_FLOAT32, 0.5);
    twin dk = twin_all(c, keys * qk, GALV_FLOAT32, 0.5);
    twin dv = twin_all(c, keys * vd, GALV_FLOAT32, 0.5);
    /* else some queries come before all keys and see none */
    twin query_at = p->in_order
                        ? counted(c, p->queries)
                        : twin_random_ints(c, (size_t)p->queries, 0, p->queries + 1);
    twin key_at = p->in_order ? counted(c, p->keys)
                              : twin_random_ints(c, (size_t)p->keys,
                                                 p->keys > 8 ? 3 : 0, p->keys + 3);
    for (int s = 0; s < N_SIDES; s++) {
        galv_backend *b = c->b[s];
        galv_attention shape = shape_of(p, &query_at, &key_at, s);
        b->attend(b, on, &shape, out.at[s], lse.at[s], q.at[s], k.at[s], v.at[s]);
        b->attend_merge(b, on, &shape, sum.at[s], total.at[s], out.at[s], lse.at[s]);
        b->attend_merge(b, on, &shape, sum.at[s], total.at[s], out.at[s], lse.at[s]);
        b->attend_backward(b, on, &shape, dq.at[s], dk.at[s], dv.at[s], dout.at[s],
                           q.at[s], k.at[s], v.at[s], out.at[s], lse.at[s]);
    }
    twin whole_q = twin_new(c, queries * qk, GALV_ELEMENT, 1);
    twin whole_k = twin_new(c, keys * qk, GALV_ELEMENT, 1);
    twin whole_v = twin_new(c, keys * vd, GALV_ELEMENT, 1);
    for (int s = 0; s < N_SIDES; s++) {
        galv_backend *b = c->b[s];
        galv_attention shape = shape_of(p, &query_at, &key_at, s);
        b->attend_backward_whole(b, on, &shape, whole_q.at[s], whole_k.at[s],
                                 whole_v.at[s], dout.at[s], q.at[s], k.at[s], v.at[s],
                                 out.at[s], lse.at[s]);
    }
    snprintf(text, sizeof text,
             "attend %dx%d queries, %d keys, %d/%d heads of %d/%d%s%s", (int)p->samples,
             (int)p->queries, (int)p->keys, (int)p->heads, (int)p->groups,
             (int)p->qk_dim, (int)p->v_dim, p->causal ? ", causal" : "",
             p->in_order ? ", in order" : "");
    compare(c, text, &out, 2e-2);
    compare(c, "  lse", &lse, 1e-3);
    compare(c, "  joined", &sum, 2e-2);
    compare(c, "  joined lse", &total, 1e-3);
    compare(c, "  dq", &dq, 3e-2);
    compare(c, "  dk", &dk, 3e-2);
    compare(c, "  dv", &dv, 3e-2);
    /* nothing is added to 0.5 here, so errors are larger parts; with one key the
     * gradients of scores are differences of equal numbers */
    if (p->keys > 1) {
        compare(c, "  dq of all keys", &whole_q, 6e-2);
        compare(c, "  dk of all keys", &whole_k, 6e-2);
    }
    compare(c, "  dv of all keys", &whole_v, 6e-2);
    twin *all[] = {&whole_q, &whole_k, &whole_v, &q,  &k,  &v,  &dout,     &out,
                   &lse,     &sum,     &total,   &dq, &dk, &dv, &query_at, &key_at};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        twin_free(c, all[i]);
    }
}

void check_attention(check *c)
{
    static const problem problems[] = {{1, 1, 1, 1, 1, 8, 8, true, false},
                                       {2, 5, 9, 2, 1, 12, 12, true, false},
                                       {1, 64, 64, 4, 4, 64, 64, true, false},
                                       {2, 100, 130, 4, 2, 64, 64, false, false},
                                       {1, 129, 257, 8, 2, 128, 128, true, false},
                                       {1, 200, 77, 2, 2, 128, 128, false, false},
                                       {1, 65, 65, 2, 1, 192, 128, true, false},
                                       {1, 33, 100, 3, 3, 256, 256, true, false},
                                       {1, 70, 70, 2, 2, 80, 80, true, false},
                                       {3, 31, 63, 6, 2, 33, 17, true, false},
                                       {1, 64, 64, 4, 4, 64, 64, true, true},
                                       {2, 70, 70, 4, 2, 128, 128, true, true},
                                       {1, 128, 128, 2, 1, 16, 16, true, true},
                                       {1, 1, 1, 2, 2, 64, 64, true, true},
                                       {2, 40, 100, 2, 2, 64, 64, false, true},
                                       {1, 130, 130, 8, 1, 96, 96, true, true},
                                       {1, 65, 65, 2, 2, 192, 128, true, true},
                                       {1, 33, 33, 3, 3, 36, 36, true, true}};
    for (size_t i = 0; i < sizeof problems / sizeof problems[0]; i++) {
        run(c, &problems[i]);
    }
}

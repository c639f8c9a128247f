#include "tests/exec/support.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

GALV_TEST_SUITE(exec_attention);

/* A case of attention, with all its numbers in double. */
typedef struct problem {
    galv_attention shape;
    const int32_t *query_positions, *key_positions;
    size_t n_q, n_k, n_v, n_out, n_lse;
    double *q, *k, *v, *dout;
    double *out, *lse; /* of the naive computation */
} problem;

static problem problem_new(galv_attention shape, const int32_t *query_positions,
                           const int32_t *key_positions)
{
    problem p = {.shape = shape};
    p.query_positions = query_positions;
    p.key_positions = key_positions;
    size_t queries = (size_t)(shape.n_samples * shape.n_queries * shape.n_heads);
    size_t keys = (size_t)(shape.n_samples * shape.n_keys * shape.n_groups);
    p.n_q = queries * (size_t)shape.qk_dim;
    p.n_k = keys * (size_t)shape.qk_dim;
    p.n_v = keys * (size_t)shape.v_dim;
    p.n_out = queries * (size_t)shape.v_dim;
    p.n_lse = queries;
    p.q = calloc(p.n_q, sizeof *p.q);
    p.k = calloc(p.n_k, sizeof *p.k);
    p.v = calloc(p.n_v, sizeof *p.v);
    p.dout = calloc(p.n_out, sizeof *p.dout);
    p.out = calloc(p.n_out, sizeof *p.out);
    p.lse = calloc(p.n_lse, sizeof *p.lse);
    cr_assert(p.q && p.k && p.v && p.dout && p.out && p.lse);
    fill_random(p.q, p.n_q, 1);
    fill_random(p.k, p.n_k, 2);
    fill_random(p.v, p.n_v, 3);
    fill_random(p.dout, p.n_out, 4);
    return p;
}

static void problem_free(problem *p)
{
    free(p->q);
    free(p->k);
    free(p->v);
    free(p->dout);
    free(p->out);
    free(p->lse);
}

/* Score of query i and key j of a head, or -infinity. */
static double score(const problem *p, int s, int i, int j, int head)
{
    const galv_attention *a = &p->shape;
    if (a->causal && p->key_positions[j] > p->query_positions[i]) {
        return -INFINITY;
    }
    int group = head / (a->n_heads / a->n_groups);
    double sum = 0;
    for (int c = 0; c < a->qk_dim; c++) {
        sum += p->q[((s * a->n_queries + i) * a->n_heads + head) * a->qk_dim + c] *
               p->k[((s * a->n_keys + j) * a->n_groups + group) * a->qk_dim + c];
    }
    return sum * (double)a->scale;
}

/* Attention as it is written in books; returns the sum of out * dout. */
static double naive(void *state)
{
    problem *p = state;
    const galv_attention *a = &p->shape;
    double loss = 0;
    for (int s = 0; s < a->n_samples; s++) {
        for (int head = 0; head < a->n_heads; head++) {
            int group = head / (a->n_heads / a->n_groups);
            for (int i = 0; i < a->n_queries; i++) {
                double total = 0;
                int place = ((s * a->n_queries + i) * a->n_heads + head) * a->v_dim;
                for (int c = 0; c < a->v_dim; c++) {
                    p->out[place + c] = 0;
                }
                for (int j = 0; j < a->n_keys; j++) {
                    total += exp(score(p, s, i, j, head));
                }
                p->lse[(s * a->n_heads + head) * a->n_queries + i] = log(total);
                for (int j = 0; j < a->n_keys && total > 0; j++) {
                    double weight = exp(score(p, s, i, j, head)) / total;
                    const double *v =
                        p->v + ((s * a->n_keys + j) * a->n_groups + group) * a->v_dim;
                    for (int c = 0; c < a->v_dim; c++) {
                        p->out[place + c] += weight * v[c];
                    }
                }
                for (int c = 0; c < a->v_dim; c++) {
                    loss += p->out[place + c] * p->dout[place + c];
                }
            }
        }
    }
    return loss;
}

static const int32_t in_order[80] = {
    0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19,
    20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39,
    40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59,
    60, 61, 62, 63, 64, 65, 66, 67, 68, 69, 70, 71, 72, 73, 74, 75, 76, 77, 78, 79};
/* The first and last piece of four, as ring attention deals them out; and the others.
 */
static const int32_t zigzag[6] = {0, 1, 2, 9, 10, 11};
static const int32_t middle[6] = {3, 4, 5, 6, 7, 8};

/* Computes on the device and holds answer and gradients to the naive ones. */
static void hold(galv_attention shape, const int32_t *query_positions,
                 const int32_t *key_positions)
{
    problem p = problem_new(shape, query_positions, key_positions);
    device d = device_open();
    int32_t *qp = put_int(&d, query_positions, (size_t)shape.n_queries);
    int32_t *kp = put_int(&d, key_positions, (size_t)shape.n_keys);
    shape.query_positions = qp;
    shape.key_positions = kp;
    float *q = put(&d, p.q, p.n_q);
    float *k = put(&d, p.k, p.n_k);
    float *v = put(&d, p.v, p.n_v);
    float *dout = put(&d, p.dout, p.n_out);
    float *out = put_all(&d, NAN, p.n_out);
    float *lse = put_all(&d, NAN, p.n_lse);
    float *dq = put_all(&d, 0, p.n_q);
    float *dk = put_all(&d, 0, p.n_k);
    float *dv = put_all(&d, 0, p.n_v);
    d.b->attend(d.b, GALV_STREAM_COMPUTE, &shape, out, lse, q, k, v);
    d.b->attend_backward(d.b, GALV_STREAM_COMPUTE, &shape, dq, dk, dv, dout, q, k, v,
                         out, lse);
    naive(&p);
    expect_close("out", &d, out, p.out, p.n_out, 1e-6);
    expect_close("lse", &d, lse, p.lse, p.n_lse, 1e-6);
    expect_gradient("dq", &d, dq, naive, &p, p.q, p.n_q);
    expect_gradient("dk", &d, dk, naive, &p, p.k, p.n_k);
    expect_gradient("dv", &d, dv, naive, &p, p.v, p.n_v);
    void *all[] = {qp, kp, q, k, v, dout, out, lse, dq, dk, dv};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        give_back(&d, all[i]);
    }
    device_close(&d);
    problem_free(&p);
}

Test(exec_attention, equals_the_textbook_with_its_gradients)
{
    galv_attention shape = {.n_samples = 2,
                            .n_queries = 5,
                            .n_keys = 7,
                            .n_heads = 4,
                            .n_groups = 2,
                            .qk_dim = 6,
                            .v_dim = 3,
                            .causal = false,
                            .scale = 0.4F};
    hold(shape, in_order, in_order);
    shape.causal = true;
    hold(shape, in_order, in_order);
    shape.n_groups = 1;
    hold(shape, in_order + 2, in_order);
}

Test(exec_attention, sees_by_position_not_by_index)
{
    galv_attention shape = {.n_samples = 1,
                            .n_queries = 6,
                            .n_keys = 6,
                            .n_heads = 2,
                            .n_groups = 2,
                            .qk_dim = 4,
                            .v_dim = 4,
                            .causal = true,
                            .scale = 0.5F};
    hold(shape, zigzag, zigzag);
    hold(shape, zigzag, middle); /* some queries see no key */
    hold(shape, middle, zigzag);
    static const int32_t falling[6] = {11, 7, 5, 3, 2, 0};
    hold(shape, middle, falling);
}

Test(exec_attention, more_queries_than_a_block)
{
    galv_attention shape = {.n_samples = 1,
                            .n_queries = 70,
                            .n_keys = 70,
                            .n_heads = 1,
                            .n_groups = 1,
                            .qk_dim = 2,
                            .v_dim = 2,
                            .causal = true,
                            .scale = 0.7F};
    hold(shape, in_order, in_order);
}

/* Part of the keys of a problem: one sample, keys [first, first + n). */
static void attend_part(const device *d, const problem *p, galv_attention shape,
                        const int32_t *positions, int first, int n, float *out,
                        float *lse, const float *q)
{
    int32_t *kp = put_int(d, positions + first, (size_t)n);
    float *k = put(d, p->k + first * shape.n_groups * shape.qk_dim,
                   (size_t)(n * shape.n_groups * shape.qk_dim));
    float *v = put(d, p->v + first * shape.n_groups * shape.v_dim,
                   (size_t)(n * shape.n_groups * shape.v_dim));
    shape.n_keys = n;
    shape.key_positions = kp;
    d->b->attend(d->b, GALV_STREAM_COMPUTE, &shape, out, lse, q, k, v);
    give_back(d, kp);
    give_back(d, k);
    give_back(d, v);
}

Test(exec_attention, merged_over_blocks_of_keys_equals_all_at_once)
{
    galv_attention shape = {.n_samples = 1,
                            .n_queries = 6,
                            .n_keys = 6,
                            .n_heads = 2,
                            .n_groups = 1,
                            .qk_dim = 4,
                            .v_dim = 5,
                            .causal = true,
                            .scale = 0.5F};
    /* the first query sees only the second block, the second neither of the two */
    static const int32_t query_positions[6] = {2, -1, 4, 5, 6, 7};
    static const int32_t key_positions[6] = {3, 4, 5, 0, 1, 2};
    problem p = problem_new(shape, query_positions, key_positions);
    naive(&p);
    for (size_t i = 0; i < 2 * 5; i++) {
        p.out[10 + i] = 0; /* query 1 sees nothing: the naive sum is empty */
    }
    device d = device_open();
    int32_t *qp = put_int(&d, query_positions, 6);
    shape.query_positions = qp;
    float *q = put(&d, p.q, p.n_q);
    float *out = put_all(&d, NAN, p.n_out);
    float *lse = put_all(&d, -INFINITY, p.n_lse);
    float *part = put_all(&d, NAN, p.n_out);
    float *part_lse = put_all(&d, NAN, p.n_lse);
    for (int first = 0; first < 6; first += 2) {
        attend_part(&d, &p, shape, key_positions, first, 2, part, part_lse, q);
        d.b->attend_merge(d.b, GALV_STREAM_COMPUTE, &shape, out, lse, part, part_lse);
    }
    expect_close("out", &d, out, p.out, p.n_out, 1e-6);
    expect_close("lse", &d, lse, p.lse, p.n_lse, 1e-6);
    void *all[] = {qp, q, out, lse, part, part_lse};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        give_back(&d, all[i]);
    }
    device_close(&d);
    problem_free(&p);
}

Test(exec_attention, gradients_over_blocks_of_keys_add_up)
{
    galv_attention shape = {.n_samples = 1,
                            .n_queries = 4,
                            .n_keys = 4,
                            .n_heads = 2,
                            .n_groups = 2,
                            .qk_dim = 3,
                            .v_dim = 3,
                            .causal = true,
                            .scale = 0.6F};
    problem p = problem_new(shape, in_order, in_order);
    naive(&p);
    device d = device_open();
    int32_t *positions = put_int(&d, in_order, 4);
    shape.query_positions = positions;
    float *q = put(&d, p.q, p.n_q);
    float *k = put(&d, p.k, p.n_k);
    float *v = put(&d, p.v, p.n_v);
    float *dout = put(&d, p.dout, p.n_out);
    float *out = put(&d, p.out, p.n_out);
    float *lse = put(&d, p.lse, p.n_lse);
    float *dq = put_all(&d, 0, p.n_q);
    float *dk = put_all(&d, 0, p.n_k);
    float *dv = put_all(&d, 0, p.n_v);
    for (int first = 0; first < 4; first += 2) {
        shape.n_keys = 2;
        shape.key_positions = positions + first;
        int place = first * 2 * 3;
        d.b->attend_backward(d.b, GALV_STREAM_COMPUTE, &shape, dq, dk + place,
                             dv + place, dout, q, k + place, v + place, out, lse);
    }
    expect_gradient("dq", &d, dq, naive, &p, p.q, p.n_q);
    expect_gradient("dk", &d, dk, naive, &p, p.k, p.n_k);
    expect_gradient("dv", &d, dv, naive, &p, p.v, p.n_v);
    void *all[] = {positions, q, k, v, dout, out, lse, dq, dk, dv};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        give_back(&d, all[i]);
    }
    device_close(&d);
    problem_free(&p);
}

/* Jobs made by hand, so that the tests need no catalog. */
#ifndef GALV_TESTS_COSTMODEL_JOB_H
#define GALV_TESTS_COSTMODEL_JOB_H

#include "costmodel/costmodel.h"

/* GPT of `layers` blocks, f = 4 h, on nodes of eight A100-80GB; bf16, batch as given,
 * no fused attention, not causal, fp32 gradients. */
void test_gpt_job(galv_job *job, int32_t layers, int32_t hidden, int32_t heads,
                  int32_t seq, int32_t vocab, int32_t nodes, int64_t batch);

/* A plan with one strategy and one virtual stage per stage, without plan/ checks. */
typedef struct test_plan {
    galv_plan plan;
    galv_strategy strategy;
    int32_t layer_strategy[256];
    int32_t first_layer[65];
} test_plan;
void test_uniform_plan(test_plan *p, const galv_job *job, const galv_strategy *strategy,
                       int32_t pp, int32_t micro_batch);

galv_costmodel *test_model(const galv_job *job, const galv_profile *profile);

/* One compute operation. */
galv_cost test_op(const galv_costmodel *model, const test_plan *p, int kind, int part,
                  int32_t first_layer, int32_t n_layers);

#endif

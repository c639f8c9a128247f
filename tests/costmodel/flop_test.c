#include "tests/costmodel/job.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>

GALV_TEST_SUITE(costmodel_flop);

/* Narayanan et al. 2021 (arXiv 2104.04473), eq. 3: with full recomputation an iteration
 * executes 96 B s l h^2 (1 + s/6h + V/16lh). The vocabulary is a multiple of 128 tp. */
Test(costmodel_flop, executed_flop_match_narayanan_with_full_recompute)
{
    static const int32_t shapes[][6] = {
        /* layers, hidden, heads, seq, vocab, tp */
        {24, 1024, 16, 1024, 51200, 1},
        {12, 2048, 16, 2048, 51200, 8},
        {96, 12288, 96, 2048, 51200, 8},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        const int32_t *c = shapes[i];
        galv_job job;
        test_gpt_job(&job, c[0], c[1], c[2], c[3], c[4], 1, 8);
        galv_strategy s = GALV_STRATEGY_INIT;
        s.tp = c[5];
        s.dp = 8 / c[5];
        s.recompute = GALV_RECOMPUTE_FULL;
        test_plan p;
        test_uniform_plan(&p, &job, &s, 1, 8 / s.dp);
        galv_costmodel *model = test_model(&job, NULL);
        double flop = 0;
        static const int passes[3] = {GALV_OP_FORWARD, GALV_OP_RECOMPUTE,
                                      GALV_OP_BACKWARD};
        for (int k = 0; k < 3; k++) {
            flop += test_op(model, &p, passes[k], GALV_PART_WHOLE, 1, c[0]).flop;
            if (passes[k] != GALV_OP_RECOMPUTE) {
                flop += test_op(model, &p, passes[k], GALV_PART_WHOLE, 0, 1).flop;
                flop +=
                    test_op(model, &p, passes[k], GALV_PART_WHOLE, c[0] + 1, 1).flop;
            }
        }
        flop *= 8; /* devices */
        double B = 8, l = c[0], h = c[1], seq = c[3], V = c[4];
        double expected =
            96 * B * seq * l * h * h * (1 + seq / (6 * h) + V / (16 * l * h));
        cr_expect(fabs(flop / expected - 1) < 1e-12, "shape %zu: %g, expected %g", i,
                  flop, expected);
        double model_flop = galv_costmodel_model_flop(model);
        double counted =
            72 * B * seq * l * h * h * (1 + seq / (6 * h) + V / (12 * l * h));
        cr_expect(fabs(model_flop / counted - 1) < 1e-12, "shape %zu: model %g, not %g",
                  i, model_flop, counted);
        galv_costmodel_free(model);
    }
}

/* A fused causal kernel executes half of the square forward and 2.5 times that back. */
Test(costmodel_flop, fused_causal_attention_halves_the_square)
{
    galv_job job;
    test_gpt_job(&job, 2, 1024, 16, 4096, 51200, 1, 8);
    galv_strategy s = GALV_STRATEGY_INIT;
    s.dp = 8;
    test_plan p;
    test_uniform_plan(&p, &job, &s, 1, 1);
    galv_costmodel *full = test_model(&job, NULL);
    job.workload.flash_attention = true;
    job.workload.causal = true;
    galv_costmodel *fused = test_model(&job, NULL);
    double square = 4.0 * 4096 * 4096 * 1024;
    double forward = test_op(full, &p, GALV_OP_FORWARD, GALV_PART_WHOLE, 1, 1).flop -
                     test_op(fused, &p, GALV_OP_FORWARD, GALV_PART_WHOLE, 1, 1).flop;
    cr_expect_float_eq(forward / square, 0.5, 1e-12);
    double backward = test_op(full, &p, GALV_OP_BACKWARD, GALV_PART_WHOLE, 1, 1).flop -
                      test_op(fused, &p, GALV_OP_BACKWARD, GALV_PART_WHOLE, 1, 1).flop;
    cr_expect_float_eq(backward / square, 2 - 2.5 / 2, 1e-12);
    galv_costmodel_free(full);
    galv_costmodel_free(fused);
}

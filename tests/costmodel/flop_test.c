#include "plan/catalog.h"
#include "tests/costmodel/job.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

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

/* Forward FLOP of the whole job, summed over its devices. */
static double forward_flop(const galv_job *job, const galv_profile *profile,
                           const galv_strategy *s)
{
    test_plan p;
    test_uniform_plan(&p, job, s, 1, 1);
    galv_costmodel *model = test_model(job, profile);
    int32_t n_layers = galv_model_n_layers(&job->model);
    double flop = 0;
    for (int32_t layer = 0; layer < n_layers; layer++) {
        flop += test_op(model, &p, GALV_OP_FORWARD, GALV_PART_WHOLE, layer, 1).flop;
    }
    galv_costmodel_free(model);
    return flop * s->tp * s->cp * s->dp;
}

/* What the kernels execute forward is a third of the model FLOP that are counted in
 * another place from the shapes, for every architecture (MoE, latent attention,
 * encoder-decoder, images), and however the work is spread. */
Test(costmodel_flop, kernels_execute_what_the_model_needs)
{
    galv_arena *arena = galv_arena_new();
    galv_model *models;
    size_t n_models = 0;
    galv_err err = GALV_ERR_INIT;
    cr_assert(galv_catalog_models(&models, &n_models, arena, &err) == GALV_OK, "%s",
              err.message);
    galv_profile *profile = galv_profile_new();
    galv_profile_row row;
    memset(&row, 0, sizeof row);
    row.kind = GALV_PROFILE_FACTOR;
    row.precision = -1;
    strcpy(row.op, "expert_imbalance");
    row.value = 1;
    cr_assert(galv_profile_add(profile, &row, &err) == GALV_OK);
    for (size_t i = 0; i < n_models; i++) {
        galv_job job;
        test_gpt_job(&job, 2, 1024, 16, 1024, 51200, 1, 8);
        job.model = models[i];
        job.model.groups[job.model.n_groups - 1].vocab_size &= ~7; /* no padding */
        job.workload.seq_length = models[i].seq_length;
        job.workload.software = GALV_SOFTWARE_ONEFLOW;
        if (galv_model_n_layers(&job.model) > 250) {
            continue;
        }
        static const int32_t ways[][4] = {{1, 1, 1, 8}, {2, 1, 1, 4}, {2, 2, 2, 2}};
        for (int way = 0; way < 3; way++) {
            galv_strategy s = GALV_STRATEGY_INIT;
            s.tp = ways[way][0];
            s.cp = ways[way][1];
            s.ep = ways[way][2];
            s.dp = ways[way][3];
            s.sp = way > 0 ? GALV_SP_MEGATRON : GALV_SP_NONE;
            /* patches and classes of images are not cut */
            if (way > 0 && job.model.groups[0].kind == GALV_LAYER_PATCH_EMBEDDING) {
                continue;
            }
            galv_costmodel *model = test_model(&job, profile);
            /* dp samples a pass */
            double needed = galv_costmodel_model_flop(model) / 3 / 8 * s.dp;
            galv_costmodel_free(model);
            double executed = forward_flop(&job, profile, &s);
            cr_expect(fabs(executed / needed - 1) < 1e-9, "%s way %d: %g of %g",
                      models[i].name, way, executed, needed);
        }
    }
    galv_profile_free(profile);
    galv_arena_free(arena);
}

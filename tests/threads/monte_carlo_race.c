/* Drawn iterations of every rank on four threads, for the thread sanitizer: the same
 * spread, to the last bit, as on one. */
#include "sim/evaluate.h"

#include <stdio.h>
#include <string.h>

static galv_status draw(galv_spread *spread, const galv_costmodel *model,
                        const galv_plan *plan, int n_jobs, galv_err *err)
{
    galv_evaluate_options options = GALV_EVALUATE_OPTIONS_INIT;
    galv_differences differences = {.seed = 5, .compute_sigma = 0.1, .comm_sigma = 0.2};
    galv_result result;
    galv_arena *arena = galv_arena_new();
    options.differences = &differences;
    options.n_runs = 24;
    options.n_jobs = n_jobs;
    galv_status status =
        arena == NULL ? galv_fail(err, GALV_NO_MEMORY, "out of memory")
                      : galv_evaluate(&result, model, plan, &options, arena, err);
    if (status == GALV_OK) {
        *spread = result.cluster.spread;
    }
    galv_arena_free(arena);
    return status;
}

int main(void)
{
    galv_job job = {.workload = GALV_WORKLOAD_INIT};
    galv_uniform_plan parameters = {.strategy = {.tp = 2, .cp = 1, .ep = 1, .dp = 2},
                                    .pp = 2,
                                    .vpp = 1,
                                    .micro_batch_size = 1,
                                    .overlap = GALV_OVERLAP_INIT};
    galv_costmodel *model = NULL;
    galv_plan *plan = NULL;
    galv_err err = GALV_ERR_INIT;
    galv_arena *arena = galv_arena_new();
    galv_spread one, four;
    memset(&one, 0, sizeof one); /* compared as bytes */
    memset(&four, 0, sizeof four);
    job.workload.global_batch_size = 8;
    galv_status status = galv_model_load(&job.model, "llama3-8b", &err);
    if (status == GALV_OK) {
        status = galv_cluster_load(&job.cluster, "dgx-h100", 1, &err);
    }
    if (status == GALV_OK) {
        galv_job_fill_defaults(&job);
        status = galv_plan_make_uniform(&plan, &job, &parameters, arena, &err);
    }
    if (status == GALV_OK) {
        status = galv_costmodel_new(&model, &job, NULL, &err);
    }
    if (status == GALV_OK) {
        status = draw(&one, model, plan, 1, &err);
    }
    if (status == GALV_OK) {
        status = draw(&four, model, plan, 4, &err);
    }
    galv_costmodel_free(model);
    galv_arena_free(arena);
    if (status != GALV_OK) {
        fprintf(stderr, "monte_carlo_race: %s\n", err.message);
        return 1;
    }
    if (one.n_runs != 24 || !(one.sd_s > 0) || memcmp(&one, &four, sizeof one) != 0) {
        fprintf(stderr, "monte_carlo_race: mean %.17g and %.17g s\n", one.mean_s,
                four.mean_s);
        return 1;
    }
    return 0;
}

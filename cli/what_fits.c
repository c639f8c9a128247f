/* By the estimate of memory alone, of the plans that save most: enough for a hint. */
#include "cli/what_fits.h"

#include "costmodel/costmodel.h"
#include "sim/evaluate.h"

#include <stdio.h>

/* Leaves of the open choices only those that save most memory. */
static galv_space frugal(const galv_space *space)
{
    galv_space narrow = *space;
    if (narrow.recompute.n_values == 0) {
        narrow.recompute = (galv_choices){1, {GALV_RECOMPUTE_FULL}};
    }
    if (narrow.micro_batch.n_values == 0) {
        narrow.micro_batch = (galv_choices){1, {1}};
    }
    if (narrow.vpp.n_values == 0) {
        narrow.vpp = (galv_choices){1, {1}};
    }
    if (narrow.sp.n_values == 0) {
        narrow.sp = (galv_choices){2, {GALV_SP_NONE, GALV_SP_MEGATRON}};
    }
    return narrow;
}

/* Does any plan of the space fit, by the estimate that is never too low? */
static bool something_fits(const galv_setup *setup, const galv_space *wanted,
                           const galv_job *job)
{
    galv_space space = frugal(wanted);
    galv_err err = GALV_ERR_INIT;
    galv_costmodel *model = NULL;
    galv_candidates candidates = {0};
    bool fits = false;
    galv_arena *arena = galv_arena_new();
    galv_arena *scratch = galv_arena_new();
    if (arena != NULL && scratch != NULL &&
        galv_costmodel_new(&model, job, setup->profile, &err) == GALV_OK) {
        galv_space_enumerate(&candidates, &space, job, arena, &err);
    }
    for (size_t i = 0; !fits && i < candidates.n_candidates; i++) {
        galv_plan *plan = NULL;
        galv_err why = GALV_ERR_INIT;
        galv_arena_reset(scratch);
        if (galv_candidate_plan(&plan, &candidates.candidates[i], &space, job, scratch,
                                &why) != GALV_OK) {
            continue;
        }
        double *peaks = GALV_NEW_ARRAY(scratch, double, plan->pp);
        if (peaks == NULL ||
            galv_estimate_memory(peaks, model, plan, NULL, scratch, &why) != GALV_OK) {
            continue;
        }
        fits = true;
        for (int32_t stage = 0; stage < plan->pp; stage++) {
            fits = fits && peaks[stage] <= galv_costmodel_memory_limit(model);
        }
    }
    galv_costmodel_free(model);
    galv_arena_free(scratch);
    galv_arena_free(arena);
    return fits;
}

/* The hint of "no plan fits": twice the nodes, and again, until one does. */
void galv_say_what_fits(const galv_cli *cli, const galv_setup *setup,
                        const galv_space *space, galv_err *err)
{
    galv_job job = setup->job;
    int32_t n_nodes = galv_cluster_n_nodes(&job.cluster);
    for (int doubling = 0; doubling < 7 && n_nodes <= 500000; doubling++) {
        galv_err ignored = GALV_ERR_INIT;
        n_nodes *= 2;
        if (galv_cluster_set_nodes(&job.cluster, n_nodes, &ignored) != GALV_OK) {
            return;
        }
        if (!galv_cli_given(cli, GALV_OPTION_GLOBAL_BATCH)) {
            job.workload.global_batch_size = 0;
            galv_job_fill_defaults(&job);
        }
        if (something_fits(setup, space, &job)) {
            snprintf(err->hint, sizeof err->hint,
                     "it fits with --nodes %d; or try a GPU with more memory (--gpu), "
                     "fewer restrictions",
                     n_nodes);
            return;
        }
    }
}

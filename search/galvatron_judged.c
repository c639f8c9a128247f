/* One plan for each number of micro-batches and stages, the best under Galvatron's
 * model; budgets shrink by steps of 1 % until our simulation fits, at most to 80 %. A
 * plan that is the same as with the larger budget is not simulated again. */
#include "search/galvatron_judged.h"

#include <math.h>

#define STEP  0.01
#define STEPS 20
#define LEAST 1e-12 /* relative: two budgets with the same best plan */

typedef struct judging {
    galv_galvatron_judged *judged;
    const galv_costmodel *model;
    const galv_galvatron_inputs *inputs;
    galv_arena *arena, *scratch;
} judging;

/* Simulates what was found; true when it fits. */
static bool simulate(judging *j, const galv_galvatron_found *found, galv_err *err)
{
    galv_job job = *galv_costmodel_job(j->model);
    galv_plan *plan = NULL, *kept = NULL;
    galv_evaluate_options options = GALV_EVALUATE_OPTIONS_INIT;
    galv_result result;
    galv_err why = GALV_ERR_INIT;
    if (galv_galvatron_found_plan(&plan, &job, found, j->scratch, &why) != GALV_OK) {
        return true; /* a plan of ours cannot say it: a smaller budget does not help */
    }
    j->judged->n_simulated++;
    if (galv_evaluate(&result, j->model, plan, &options, j->scratch, &why) != GALV_OK) {
        return true;
    }
    if (!result.fits) {
        return false;
    }
    if (j->judged->plan != NULL &&
        !(result.iteration_time_s < j->judged->result.iteration_time_s)) {
        return true;
    }
    if (galv_plan_copy(&kept, plan, j->arena, err) == GALV_OK &&
        galv_evaluate(&result, j->model, kept, &options, j->arena, err) == GALV_OK) {
        j->judged->plan = kept;
        j->judged->result = result;
    }
    return true;
}

static galv_status judge_shape(judging *j, const galv_galvatron_space *space,
                               galv_err *err)
{
    double before_s = -1;
    for (int step = 0; step <= STEPS; step++) {
        galv_galvatron_space smaller = *space;
        galv_galvatron_found found;
        double kept_free = galv_galvatron_reserve_mib(space->budget_mib);
        galv_arena_reset(j->scratch);
        smaller.budget_mib -= step * STEP * (space->budget_mib - kept_free);
        smaller.reserve_mib = kept_free;
        galv_status status =
            galv_galvatron_search(&found, j->inputs, &smaller, j->scratch, err);
        if (status != GALV_OK || !found.found) {
            return status;
        }
        /* the same time is taken for the same plan */
        if (fabs(found.iteration_s - before_s) <= LEAST * found.iteration_s) {
            continue;
        }
        before_s = found.iteration_s;
        if (simulate(j, &found, err)) {
            return err->status;
        }
    }
    return GALV_OK;
}

galv_status galv_galvatron_judge(galv_galvatron_judged *judged,
                                 const galv_costmodel *model,
                                 const galv_galvatron_inputs *inputs,
                                 const galv_galvatron_space *space, galv_arena *arena,
                                 galv_err *err)
{
    galv_galvatron_judged found = {0};
    judging j = {&found, model, inputs, arena, galv_arena_new()};
    galv_galvatron_space one = *space;
    int32_t most = space->max_pp > 0 ? space->max_pp : 8;
    galv_status status =
        j.scratch == NULL ? galv_fail(err, GALV_NO_MEMORY, "out of memory") : GALV_OK;
    one.whole_samples = true;
    for (int64_t n = 1; status == GALV_OK && n <= space->global_batch_size; n++) {
        bool wanted = space->n_micro_batches == 0 || space->n_micro_batches == n;
        if (!wanted || space->global_batch_size % n != 0) {
            continue;
        }
        one.n_micro_batches = (int32_t)n;
        for (one.pp = 1; status == GALV_OK && one.pp <= most && one.pp <= n;
             one.pp *= 2) {
            if (space->pp == 0 || space->pp == one.pp) {
                status = judge_shape(&j, &one, err);
            }
        }
    }
    galv_arena_free(j.scratch);
    if (status == GALV_OK) {
        *judged = found;
    }
    return status;
}

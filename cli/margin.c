/* The error to expect of a peak of memory is larger than what such a plan leaves, so
 * whoever plans wants to know what a margin costs. It is the same search with a limit
 * of that much less, for the best plan alone, among pipelines like those of the best
 * plans: with all others it would take as long again to say hardly another thing. */
#include "cli/margin.h"

#include "accuracy/interval.h"
#include "base/units.h"
#include "cli/output.h"

#include <stdio.h>

static void add_choice(galv_choices *choices, int64_t value)
{
    for (size_t i = 0; i < choices->n_values; i++) {
        if (choices->values[i] == value) {
            return;
        }
    }
    if (choices->n_values < GALV_MAX_CHOICES) {
        choices->values[choices->n_values++] = value;
    }
}

/* Pipelines and micro-batches of the plans that were listed: those with a little less
 * memory are like them. */
static galv_space near_best(const galv_space *space, const galv_search_result *best)
{
    galv_space near = *space;
    near.pp.n_values = near.vpp.n_values = near.micro_batch.n_values = 0;
    for (int32_t i = 0; i < best->n_plans; i++) {
        add_choice(&near.pp, best->plans[i].plan->pp);
        add_choice(&near.vpp, best->plans[i].plan->vpp);
        const galv_plan *plan = best->plans[i].plan;
        for (int32_t layer = 0; layer < plan->n_layers; layer++) {
            add_choice(&near.micro_batch,
                       (int32_t)galv_plan_local_samples(plan, layer));
        }
    }
    return near;
}

/* Puts a plan in front of the others; one too many goes. */
static galv_status put_first(galv_search_result *best, const galv_margin *margin,
                             int32_t top_k, galv_arena *arena, galv_err *err)
{
    int32_t n = best->n_plans < top_k ? best->n_plans + 1 : best->n_plans;
    galv_ranked_plan *plans = GALV_NEW_ARRAY(arena, galv_ranked_plan, n);
    if (plans == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    plans[0] = (galv_ranked_plan){margin->plan, margin->result};
    for (int32_t i = 1; i < n; i++) {
        plans[i] = best->plans[i - 1];
    }
    best->plans = plans;
    best->n_plans = n;
    return GALV_OK;
}

galv_status galv_margin_find(galv_margin *margin, const galv_cli *cli,
                             const galv_setup *setup, const galv_space *space,
                             const galv_search_options *options,
                             galv_search_result *best, galv_err *err)
{
    galv_margin made = {0};
    galv_costmodel *model = NULL;
    galv_search_options own = *options;
    galv_search_result found = {0};
    galv_err why = GALV_ERR_INIT;
    const galv_result *r = &best->plans[0].result;
    double limit_bytes = (1 - GALV_MARGIN_FRAC) * r->memory_limit_bytes;
    made.asked = !best->interrupted && r->peak_memory_bytes > limit_bytes &&
                 !(setup->job.workload.memory_limit_bytes > 0);
    if (!made.asked) {
        *margin = made;
        return GALV_OK;
    }
    galv_job *job = GALV_NEW(cli->arena, galv_job);
    if (job == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    *job = setup->job;
    job->workload.memory_limit_frac = 1 - GALV_MARGIN_FRAC;
    own.top_k = 1;
    made.status = galv_costmodel_new(&model, job, setup->profile, &why);
    if (made.status == GALV_OK) {
        galv_space near = near_best(space, best);
        made.status = galv_search(&found, model, &near, &own, cli->arena, &why);
    }
    if (made.status == GALV_INFEASIBLE || made.status == GALV_USAGE) {
        found = (galv_search_result){0};
        made.status = galv_search(&found, model, space, &own, cli->arena, &why);
    }
    galv_costmodel_free(model);
    if (made.status == GALV_NO_MEMORY) {
        return galv_fail(err, made.status, "%s", why.message);
    }
    made.asked = !found.interrupted;
    if (made.status == GALV_OK) {
        made.plan = found.plans[0].plan;
        made.result = found.plans[0].result;
        made.result.memory_limit_bytes = r->memory_limit_bytes;
    }
    *margin = made;
    if (made.status == GALV_OK && made.asked &&
        made.result.iteration_time_s < r->iteration_time_s) {
        margin->asked = false;
        return put_first(best, &made, options->top_k, cli->arena, err);
    }
    return GALV_OK;
}

void galv_margin_print(const galv_margin *margin, const galv_cli *cli,
                       const galv_result *best)
{
    char line[160], time[32];
    if (!margin->asked) {
        return;
    }
    if (margin->status != GALV_OK) {
        galv_print(cli, "  keeps %.0f %% free   no plan does\n",
                   100 * GALV_MARGIN_FRAC);
        return;
    }
    galv_print(cli, "  keeps %.0f %% free   %s (%+.1f %%), %.1f GiB:\n%*s%s\n",
               100 * GALV_MARGIN_FRAC,
               galv_print_seconds(time, sizeof time, margin->result.iteration_time_s),
               100 * (margin->result.iteration_time_s / best->iteration_time_s - 1),
               margin->result.peak_memory_bytes / 0x1p30, 19, "",
               galv_plan_print(line, sizeof line, margin->plan));
}

void galv_margin_to_json(const galv_margin *margin, const galv_setup *setup,
                         galv_json_writer *writer)
{
    char line[160];
    galv_json_put_key(writer, "margin");
    if (!margin->asked || margin->status != GALV_OK) {
        galv_json_put_null(writer);
        return;
    }
    galv_json_begin_object(writer, false);
    galv_json_key_f64(writer, "free_frac", GALV_MARGIN_FRAC);
    galv_json_key_string(writer, "name",
                         galv_plan_print(line, sizeof line, margin->plan));
    galv_prediction_to_json(&margin->result, &setup->job, margin->plan, writer);
    galv_json_end_object(writer);
}

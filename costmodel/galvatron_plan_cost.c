/* Whole plans in Galvatron's eyes: tables of strategies, stages, the pipeline.
 *
 * A search asks for the same few strategies millions of times; a table costs each once
 * and a plan is then a sum of look-ups. Memory is summed in whole MiB, every layer
 * rounded up, because that is the grid of Galvatron's dynamic program: what it says
 * fits must fit here.
 *
 * A plan of ours carries layers 0 (embedding) and n - 1 (head); Galvatron counts blocks
 * only and gives both ends one strategy. */
#include "costmodel/galvatron_model.h"

#include <math.h>
#include <string.h>

/* ---- tables ---- */

static void fill_memory(galv_galvatron_table *t, const galv_galvatron_inputs *inputs)
{
    for (int32_t stage = 0; stage < t->task.pp; stage++) {
        int32_t in_flight = galv_galvatron_in_flight(&t->task, stage);
        for (int32_t i = 0; i < t->n_strategies; i++) {
            const galv_galvatron_part *layer = &t->layers[i];
            size_t at = (size_t)stage * (size_t)t->n_strategies + (size_t)i;
            t->layer_mib[at] =
                ceil(layer->states_mib + layer->activation_mib * in_flight);
            double ends = 0;
            if (stage == 0 || stage == t->task.pp - 1) {
                const galv_galvatron_part *end = &t->ends[i][stage > 0];
                ends = end->states_mib + end->activation_mib * in_flight;
            }
            t->ends_mib[at] = ceil(ends + inputs->context_mib);
        }
    }
}

static galv_status fill(galv_galvatron_table *t, const galv_galvatron_inputs *inputs,
                        galv_err *err)
{
    int32_t n = t->n_strategies;
    galv_status status = GALV_OK;
    for (int32_t i = 0; status == GALV_OK && i < n; i++) {
        const galv_strategy *s = &t->strategies[i];
        status = galv_galvatron_check(inputs, &t->task, s, err);
        if (status == GALV_OK) {
            status = galv_galvatron_layer_cost(&t->layers[i], inputs, &t->task, s, err);
        }
        if (status == GALV_OK) {
            status = galv_galvatron_ends_cost(t->ends[i], inputs, &t->task, s, err);
        }
    }
    for (int32_t i = 0; i < n; i++) {
        for (int32_t j = 0; status == GALV_OK && j < n; j++) {
            status = galv_galvatron_switch_cost(
                &t->switch_s[(size_t)i * (size_t)n + (size_t)j], inputs, &t->task,
                &t->strategies[i], &t->strategies[j], err);
        }
    }
    if (status == GALV_OK) {
        fill_memory(t, inputs);
    }
    return status;
}

galv_status galv_galvatron_table_new(galv_galvatron_table **table,
                                     const galv_galvatron_inputs *inputs,
                                     const galv_galvatron_task *task,
                                     const galv_strategy *strategies,
                                     int32_t n_strategies, galv_arena *arena,
                                     galv_err *err)
{
    if (n_strategies < 1 || task->pp < 1) {
        return galv_fail(err, GALV_USAGE, "a table needs a strategy and a stage");
    }
    size_t n = (size_t)n_strategies;
    galv_galvatron_table *t = GALV_NEW(arena, galv_galvatron_table);
    if (t == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    t->task = *task;
    t->n_strategies = n_strategies;
    t->strategies = strategies;
    t->layers = GALV_NEW_ARRAY(arena, galv_galvatron_part, n);
    t->ends = galv_arena_calloc(arena, n, sizeof *t->ends);
    t->switch_s = GALV_NEW_ARRAY(arena, double, n *n);
    t->layer_mib = GALV_NEW_ARRAY(arena, double, n *(size_t)task->pp);
    t->ends_mib = GALV_NEW_ARRAY(arena, double, n *(size_t)task->pp);
    if (t->layers == NULL || t->ends == NULL || t->switch_s == NULL ||
        t->layer_mib == NULL || t->ends_mib == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    galv_status status = fill(t, inputs, err);
    if (status == GALV_OK) {
        *table = t;
    }
    return status;
}

/* ---- stages and pipeline ---- */

void galv_galvatron_sum_stages(galv_galvatron_stage *stages,
                               const galv_galvatron_table *table,
                               const int32_t *layer_strategy,
                               const int32_t *first_block, int32_t ends_strategy,
                               double buffer_mib)
{
    int32_t pp = table->task.pp;
    size_t n = (size_t)table->n_strategies;
    for (int32_t s = 0; s < pp; s++) {
        const double *layer_mib = &table->layer_mib[(size_t)s * n];
        galv_galvatron_stage sum = {0};
        for (int32_t i = first_block[s]; i < first_block[s + 1]; i++) {
            int32_t strategy = layer_strategy[i];
            sum.sync_s += table->layers[strategy].sync_s;
            sum.no_sync_s += table->layers[strategy].no_sync_s;
            sum.memory_mib += layer_mib[strategy];
        }
        if (s == 0 || s == pp - 1) {
            sum.no_sync_s += table->ends[ends_strategy][s > 0].no_sync_s;
        }
        sum.memory_mib +=
            table->ends_mib[(size_t)s * n + (size_t)ends_strategy] + floor(buffer_mib);
        stages[s] = sum;
    }
}

double galv_galvatron_pipeline_s(const galv_galvatron_stage *stages, int32_t n_stages,
                                 int32_t n_micro_batches)
{
    double p = n_stages, n = n_micro_batches;
    double first = stages[0].no_sync_s;
    double last = stages[n_stages - 1].no_sync_s;
    double sum = 0, late = 0;
    for (int32_t s = 0; s < n_stages; s++) {
        sum += stages[s].no_sync_s;
        late = fmax(late, stages[s].sync_s - sum);
    }
    double by_last = sum + (n - 1) * last;
    double others = 0;
    for (int32_t s = 1; s < n_stages; s++) {
        others += stages[s].no_sync_s;
    }
    double warm_up = fmin(p - 1, n - 1) * first;
    double by_first = fmax(warm_up / 3, others / 3) +
                      fmax(2 * warm_up / 3, 2 * others / 3) +
                      first * fmax(0, n + 1 - p);
    return fmax(by_last, by_first) + late;
}

/* ---- a plan of ours ---- */

static galv_status check_plan(const galv_galvatron_inputs *inputs,
                              const galv_plan *plan, galv_err *err)
{
    if (plan->vpp != 1) {
        galv_fail(err, GALV_USAGE, "Galvatron has no virtual stages (vpp %d)",
                  (int)plan->vpp);
        galv_hint(err, "nearest: vpp 1, schedule 1f1b");
        return GALV_USAGE;
    }
    bool known = strcmp(plan->schedule, "1f1b") == 0 ||
                 strcmp(plan->schedule, "gpipe") == 0 ||
                 (plan->pp == 1 && strcmp(plan->schedule, "none") == 0);
    if (!known) {
        galv_fail(err, GALV_USAGE, "Galvatron has no schedule %s", plan->schedule);
        galv_hint(err, "nearest: 1f1b, gpipe");
        return GALV_USAGE;
    }
    if (plan->n_layers - 2 != inputs->n_layers) {
        return galv_fail(err, GALV_USAGE,
                         "the plan has %d blocks, Galvatron's inputs %d",
                         (int)plan->n_layers - 2, (int)inputs->n_layers);
    }
    if (plan->layer_strategy[0] != plan->layer_strategy[plan->n_layers - 1] &&
        !galv_strategy_equal(galv_plan_strategy(plan, 0),
                             galv_plan_strategy(plan, plan->n_layers - 1))) {
        return galv_fail(err, GALV_USAGE,
                         "embedding and head differ: Galvatron gives them one "
                         "strategy");
    }
    return GALV_OK;
}

/* Degree that the shared buffer is made for; 0 = none. */
static int32_t buffer_degree(const galv_galvatron_inputs *inputs,
                             const galv_galvatron_task *task, const galv_plan *plan)
{
    int32_t largest = 1;
    bool megatron = false;
    for (int32_t i = 0; i < plan->n_strategies; i++) {
        const galv_strategy *s = &plan->strategies[i];
        megatron = megatron || (s->tp > 1 && s->sp != GALV_SP_ULYSSES);
        largest = s->tp > largest ? s->tp : largest;
    }
    if (!megatron) {
        return 0;
    }
    /* the least that its search tries: a sample for every rank */
    int64_t per_stage = inputs->n_devices / task->pp;
    int64_t samples = task->global_batch_size / task->n_micro_batches;
    int64_t least = samples < per_stage ? per_stage / samples : 1;
    return least > largest ? (int32_t)least : largest;
}

static void judge(galv_galvatron_cost *cost, double budget_mib)
{
    cost->budget_mib = budget_mib;
    cost->reserve_mib = galv_galvatron_reserve_mib(budget_mib);
    for (int32_t s = 0; s < cost->n_stages; s++) {
        if (cost->stages[s].memory_mib > cost->stages[cost->fullest_stage].memory_mib) {
            cost->fullest_stage = s;
        }
    }
    cost->memory_mib = cost->stages[cost->fullest_stage].memory_mib + cost->reserve_mib;
    cost->fits = !(budget_mib > 0) || cost->memory_mib <= budget_mib;
}

galv_status galv_galvatron_plan_cost(galv_galvatron_cost *cost,
                                     const galv_galvatron_inputs *inputs,
                                     const galv_plan *plan, double budget_mib,
                                     galv_arena *arena, galv_err *err)
{
    galv_status status = check_plan(inputs, plan, err);
    if (status != GALV_OK) {
        return status;
    }
    galv_galvatron_task task = {plan->pp, galv_plan_n_micro_batches(plan),
                                plan->global_batch_size,
                                strcmp(plan->schedule, "gpipe") == 0};
    galv_galvatron_table *table = NULL;
    status = galv_galvatron_table_new(&table, inputs, &task, plan->strategies,
                                      plan->n_strategies, arena, err);
    if (status != GALV_OK) {
        return status;
    }
    int32_t *first_block = GALV_NEW_ARRAY(arena, int32_t, plan->pp + 1);
    galv_galvatron_cost found = {.n_stages = plan->pp};
    found.stages = GALV_NEW_ARRAY(arena, galv_galvatron_stage, plan->pp);
    if (first_block == NULL || found.stages == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    for (int32_t s = 0; s <= plan->pp; s++) { /* layer 0 is no block, nor is the last */
        int32_t block = plan->first_layer[s] - 1;
        first_block[s] = block < 0                  ? 0
                         : block > inputs->n_layers ? inputs->n_layers
                                                    : block;
    }
    galv_galvatron_sum_stages(
        found.stages, table, plan->layer_strategy + 1, first_block,
        plan->layer_strategy[0],
        galv_galvatron_buffer_mib(inputs, &task, buffer_degree(inputs, &task, plan)));
    found.iteration_s =
        galv_galvatron_pipeline_s(found.stages, plan->pp, task.n_micro_batches);
    found.samples_per_s = (double)plan->global_batch_size / found.iteration_s;
    judge(&found, budget_mib);
    *cost = found;
    return GALV_OK;
}

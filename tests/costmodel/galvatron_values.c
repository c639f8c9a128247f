#include "tests/costmodel/galvatron_values.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define MAX_BLOCKS 256
#define MAX_STAGES 64

typedef struct record {
    galv_galvatron_inputs inputs;
    galv_arena *arena;
    const char *name;
    bool gpipe, zero2;
    double reserve_mib, budget_mib;
    size_t n_values;
} record;

static double number(galv_json_value object, const char *key)
{
    double value = NAN;
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(
        galv_json_to_f64(&value, galv_json_member(object, key), -1e15, 1e15, &err),
        GALV_OK, "%s: %s", key, err.message);
    return value;
}

static double element(galv_json_value array, size_t i)
{
    double value = NAN;
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(
        galv_json_to_f64(&value, galv_json_element(array, i), -1e15, 1e15, &err),
        GALV_OK);
    return value;
}

static const char *string(galv_json_value object, const char *key)
{
    const char *value = "";
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(galv_json_to_string(&value, galv_json_member(object, key), &err),
                 GALV_OK);
    return value;
}

static void same(record *r, double ours, double theirs, const char *what,
                 const char *where)
{
    r->n_values++;
    double scale = fmax(fabs(ours), fabs(theirs));
    cr_expect(fabs(ours - theirs) <= 1e-9 * scale, "%s, %s of %s: %.17g, engine %.17g",
              r->name, what, where, ours, theirs);
}

void test_galvatron_strategy(galv_strategy *strategy, int32_t *pp, const char *text,
                             bool zero2)
{
    int stages = 0, degree = 0, dp = 0, used = 0;
    *strategy = (galv_strategy)GALV_STRATEGY_INIT;
    cr_assert_eq(sscanf(text, "%d-%d%n", &stages, &degree, &used), 2, "%s", text);
    text += used + (text[used] == '*');
    cr_assert_eq(sscanf(text, "-%d%n", &dp, &used), 1, "%s", text);
    text += used;
    *pp = stages;
    strategy->tp = degree;
    strategy->dp = dp;
    strategy->zero = *text == 'f' ? 3 : zero2 ? 2 : 0;
    strategy->recompute =
        strstr(text, "-c") != NULL ? GALV_RECOMPUTE_FULL : GALV_RECOMPUTE_NONE;
    strategy->sp = degree == 1                   ? GALV_SP_NONE
                   : strstr(text, "-sp") != NULL ? GALV_SP_ULYSSES
                                                 : GALV_SP_MEGATRON;
}

static galv_galvatron_task task_of(const record *r, galv_json_value entry)
{
    return (galv_galvatron_task){0, (int32_t)number(entry, "chunks"),
                                 (int64_t)number(entry, "gbsz"), r->gpipe};
}

static void check_layer(record *r, galv_json_value entry)
{
    const char *text = string(entry, "strategy");
    galv_galvatron_task task = task_of(r, entry);
    galv_strategy strategy;
    galv_galvatron_part cost;
    galv_err err = GALV_ERR_INIT;
    test_galvatron_strategy(&strategy, &task.pp, text, r->zero2);
    cr_assert_eq(galv_galvatron_check(&r->inputs, &task, &strategy, &err), GALV_OK,
                 "%s %s: %s", r->name, text, err.message);
    cr_assert_eq(galv_galvatron_layer_cost(&cost, &r->inputs, &task, &strategy, &err),
                 GALV_OK, "%s %s: %s", r->name, text, err.message);
    same(r, cost.sync_s, number(entry, "time_s"), "time", text);
    same(r, cost.no_sync_s, number(entry, "time_no_grad_sync_s"), "time without sync",
         text);
    galv_json_value stages =
        galv_json_member(entry, "mem_MB_per_stage_states_act_total");
    cr_assert_eq(galv_json_length(stages), (size_t)task.pp);
    for (int32_t s = 0; s < task.pp; s++) {
        galv_json_value memory = galv_json_element(stages, (size_t)s);
        double activation = cost.activation_mib * galv_galvatron_in_flight(&task, s);
        same(r, cost.states_mib, element(memory, 0), "states", text);
        same(r, activation, element(memory, 1), "activations", text);
        same(r, cost.states_mib + activation, element(memory, 2), "memory", text);
    }
}

static void check_ends(record *r, galv_json_value entry)
{
    const char *text = string(entry, "strategy");
    galv_galvatron_task task = task_of(r, entry);
    galv_strategy strategy;
    galv_galvatron_part cost[2];
    galv_err err = GALV_ERR_INIT;
    test_galvatron_strategy(&strategy, &task.pp, text, r->zero2);
    cr_assert_eq(galv_galvatron_ends_cost(cost, &r->inputs, &task, &strategy, &err),
                 GALV_OK, "%s %s: %s", r->name, text, err.message);
    for (int32_t s = 0; s < task.pp; s++) {
        galv_galvatron_part none = {.sync_s = 0};
        const galv_galvatron_part *end = s == 0             ? &cost[0]
                                         : s == task.pp - 1 ? &cost[1]
                                                            : &none;
        double activation = end->activation_mib * galv_galvatron_in_flight(&task, s);
        size_t i = (size_t)s;
        same(r, end->sync_s, element(galv_json_member(entry, "time_s_per_stage"), i),
             "ends' time", text);
        same(r, end->no_sync_s,
             element(galv_json_member(entry, "time_no_grad_sync_s_per_stage"), i),
             "ends' time without sync", text);
        same(r, end->states_mib, element(galv_json_member(entry, "mem_states_MB"), i),
             "ends' states", text);
        same(r, activation, element(galv_json_member(entry, "mem_act_MB"), i),
             "ends' activations", text);
        same(r, end->states_mib + activation + r->inputs.context_mib,
             element(galv_json_member(entry, "mem_MB_per_stage"), i), "ends' memory",
             text);
    }
}

/* A plan that the engine found: its strategies by name, the ends' among them. */
typedef struct found_plan {
    int32_t n_strategies, n_blocks;
    galv_strategy strategies[MAX_BLOCKS];
    int32_t layer_strategy[MAX_BLOCKS];
    int32_t first_block[MAX_STAGES + 1];
} found_plan;

static void read_plan(found_plan *p, const record *r, galv_json_value entry, int32_t pp)
{
    int32_t degree = (int32_t)number(entry, "embedding_lmhead_tp_sp_size");
    bool ulysses = number(entry, "embedding_lmhead_sp") > 0;
    p->strategies[0] = (galv_strategy)GALV_STRATEGY_INIT;
    p->strategies[0].tp = degree;
    p->strategies[0].dp = r->inputs.n_devices / pp / degree;
    p->strategies[0].zero = number(entry, "embedding_lmhead_sdp") > 0 ? 3
                            : r->zero2                                ? 2
                                                                      : 0;
    p->strategies[0].sp = degree == 1 ? GALV_SP_NONE
                          : ulysses   ? GALV_SP_ULYSSES
                                      : GALV_SP_MEGATRON;
    p->n_strategies = 1;
    p->n_blocks = 0;
    galv_json_value runs = galv_json_member(entry, "strategies_rle");
    for (size_t i = 0; i < galv_json_length(runs); i++) {
        galv_json_value run = galv_json_element(runs, i);
        const char *text = "";
        int32_t stages = 0;
        galv_err err = GALV_ERR_INIT;
        cr_assert_eq(galv_json_to_string(&text, galv_json_element(run, 0), &err),
                     GALV_OK);
        test_galvatron_strategy(&p->strategies[p->n_strategies], &stages, text,
                                r->zero2);
        cr_assert_eq(stages, pp);
        for (int32_t k = (int32_t)element(run, 1); k > 0; k--) {
            p->layer_strategy[p->n_blocks++] = p->n_strategies;
        }
        p->n_strategies++;
    }
    galv_json_value division = galv_json_member(entry, "pp_division");
    p->first_block[0] = 0;
    for (int32_t s = 0; s < pp; s++) {
        p->first_block[s + 1] =
            p->first_block[s] + (int32_t)element(division, (size_t)s);
    }
    cr_assert_eq(p->first_block[pp], p->n_blocks);
}

static void check_task(record *r, galv_json_value entry)
{
    if (galv_json_type_of(galv_json_member(entry, "time_cost")) != GALV_JSON_NUMBER) {
        return; /* nothing fitted */
    }
    found_plan plan;
    galv_galvatron_stage stages[MAX_STAGES];
    galv_galvatron_table *table = NULL;
    galv_err err = GALV_ERR_INIT;
    galv_galvatron_task task = task_of(r, entry);
    task.pp = (int32_t)number(entry, "pp_size");
    read_plan(&plan, r, entry, task.pp);
    cr_assert_eq(galv_galvatron_table_new(&table, &r->inputs, &task, plan.strategies,
                                          plan.n_strategies, r->arena, &err),
                 GALV_OK, "%s: %s", r->name, err.message);
    bool ulysses_only = strcmp(string(entry, "tp_sp_mode"), "sp_only") == 0;
    int32_t buffer = (int32_t)number(entry, "global_buffer_tp_size");
    galv_galvatron_sum_stages(
        stages, table, plan.layer_strategy, plan.first_block, 0,
        galv_galvatron_buffer_mib(&r->inputs, &task, ulysses_only ? 0 : buffer));
    double time_s = galv_galvatron_pipeline_s(stages, task.pp, task.n_micro_batches);
    same(r, time_s, number(entry, "time_cost"), "iteration", "a task");
    same(r, (double)task.global_batch_size / time_s, number(entry, "throughput"),
         "throughput", "a task");
    for (int32_t s = 0; s < task.pp; s++) {
        double used = stages[s].memory_mib + r->reserve_mib;
        double theirs = element(galv_json_member(entry, "memory_used_MB"), (size_t)s);
        r->n_values++;
        cr_expect(fabs(used - theirs) < 0.5, "%s: stage %d uses %g MiB, engine %g",
                  r->name, (int)s, used, theirs);
        cr_expect(used <= r->budget_mib, "%s: what the engine found does not fit",
                  r->name);
    }
}

static void check_all(record *r, galv_json_value entries,
                      void (*check)(record *, galv_json_value))
{
    for (size_t i = 0; i < galv_json_length(entries); i++) {
        check(r, galv_json_element(entries, i));
    }
}

size_t test_galvatron_document(galv_json_value document, const char *name)
{
    record r = {.name = name};
    galv_err err = GALV_ERR_INIT;
    galv_json_value resolved = galv_json_member(document, "resolved_inputs");
    galv_json_value parallel = galv_json_member(resolved, "parallel");
    cr_assert_eq(galv_galvatron_inputs_from_run(
                     &r.inputs, galv_json_member(document, "request"), resolved, &err),
                 GALV_OK, "%s: %s", name, err.message);
    r.gpipe = strcmp(string(parallel, "pipeline_type"), "gpipe") == 0;
    galv_json_object o;
    galv_json_enter(&o, parallel, &err);
    o.ignore_unknown = true;
    galv_json_bool(&o, "use_zero2_for_dp", GALV_REQUIRED, &r.zero2);
    cr_assert_eq(galv_json_leave(&o), GALV_OK);
    r.budget_mib = number(resolved, "memory_constraint_MB");
    r.reserve_mib = galv_galvatron_reserve_mib(r.budget_mib);
    same(&r, r.budget_mib - r.reserve_mib, number(resolved, "dp_max_mem_MB"), "budget",
         "a run");
    r.arena = galv_arena_new();
    cr_assert_not_null(r.arena);
    check_all(&r, galv_json_member(document, "layer_table"), check_layer);
    check_all(&r, galv_json_member(document, "embedding_lmhead_table"), check_ends);
    check_all(&r, galv_json_member(document, "tasks"), check_task);
    galv_arena_free(r.arena);
    return r.n_values;
}

/* Changes of degrees are made of uniform plans alone: of one strategy for all blocks.
 * Twice the degree takes half of data parallelism, as far as there is any. */
#include "cli/variants.h"

#include "base/units.h"
#include "cli/output.h"

#include <stdio.h>
#include <string.h>

#define MOST_SAID 3 /* of those that fit */

typedef struct trying {
    galv_variants *out;
    const galv_costmodel *model;
    const galv_job *job;
    const galv_plan *plan;
    const galv_evaluate_options *options;
} trying;

/* Simulates a plan and keeps it under its label, if it is one. */
static galv_status keep(const trying *t, const galv_plan *plan, bool of_degrees,
                        const char *label, galv_arena *arena, galv_err *err)
{
    galv_err why = GALV_ERR_INIT;
    galv_result result;
    galv_status status = galv_plan_check(plan, t->job, &why);
    if (status == GALV_OK) {
        status = galv_evaluate(&result, t->model, plan, t->options, arena, &why);
    }
    if (status == GALV_NO_MEMORY) {
        return galv_fail(err, status, "%s", why.message);
    }
    if (status == GALV_OK && t->out->n < GALV_MOST_VARIANTS) {
        galv_variant *v = &t->out->all[t->out->n++];
        snprintf(v->label, sizeof v->label, "%s", label);
        v->of_degrees = of_degrees;
        v->time_s = result.iteration_time_s;
        v->peak_bytes = result.peak_memory_bytes;
        v->fits = result.fits;
    }
    return GALV_OK;
}

/* ---- the same degrees ---- */

typedef struct choice {
    const char *label;
    int recompute; /* -1: as it is */
    int32_t zero;  /* -1: as it is */
} choice;

static const choice choices[] = {
    {"--recompute none", GALV_RECOMPUTE_NONE, -1},
    {"--recompute selective", GALV_RECOMPUTE_SELECTIVE, -1},
    {"--recompute full", GALV_RECOMPUTE_FULL, -1},
    {"--zero 0", -1, 0},
    {"--zero 1", -1, 1},
    {"--zero 2", -1, 2},
    {"--zero 3", -1, 3},
    {"--zero 3 --recompute full", GALV_RECOMPUTE_FULL, 3},
};
#define N_CHOICES (sizeof choices / sizeof choices[0])
#define N_SINGLE  (N_CHOICES - 1) /* the last makes two changes */

/* Changes a copy of the plan's strategies; the number of kinds of changes made.
 * Embedding and head are not recomputed, as in plans that are found. */
static int change_strategies(galv_strategy *changed, const galv_plan *plan,
                             const choice *c)
{
    bool recomputes = false;
    bool shards = false;
    for (int32_t i = 0; i < plan->n_strategies; i++) {
        changed[i] = plan->strategies[i];
        bool of_ends = i == plan->layer_strategy[0] && plan->n_layers > 2 &&
                       i != plan->layer_strategy[1];
        if (c->recompute >= 0 && !of_ends) {
            recomputes |= changed[i].recompute != (galv_recompute)c->recompute;
            changed[i].recompute = (galv_recompute)c->recompute;
        }
        if (c->zero >= 0 && changed[i].dp > 1) {
            shards |= changed[i].zero != c->zero;
            changed[i].zero = c->zero;
        }
    }
    return recomputes + shards;
}

static galv_status try_choice(const trying *t, const choice *c, int n_changes,
                              galv_arena *arena, galv_err *err)
{
    galv_plan plan = *t->plan;
    plan.strategies = GALV_NEW_ARRAY(arena, galv_strategy, plan.n_strategies);
    if (plan.strategies == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    return change_strategies(plan.strategies, t->plan, c) == n_changes
               ? keep(t, &plan, false, c->label, arena, err)
               : GALV_OK;
}

/* ---- other degrees ---- */

/* One strategy for all blocks? */
static bool is_uniform(const galv_plan *plan)
{
    const galv_strategy *first = galv_plan_strategy(plan, plan->n_layers > 2);
    for (int32_t layer = 1; layer + 1 < plan->n_layers; layer++) {
        if (!galv_strategy_equal(galv_plan_strategy(plan, layer), first)) {
            return false;
        }
    }
    return true;
}

/* A uniform plan like it, but for what `to` says. */
static galv_status try_degrees(const trying *t, galv_uniform_plan *to,
                               const char *label, galv_arena *arena, galv_err *err)
{
    galv_plan *plan = NULL;
    galv_err why = GALV_ERR_INIT;
    if (to->strategy.dp < 1 || to->micro_batch_size < 1) {
        return GALV_OK;
    }
    galv_status status = galv_plan_make_uniform(&plan, t->job, to, arena, &why);
    if (status == GALV_NO_MEMORY) {
        return galv_fail(err, status, "%s", why.message);
    }
    return status == GALV_OK ? keep(t, plan, true, label, arena, err) : GALV_OK;
}

static galv_status try_other_degrees(const trying *t, galv_arena *arena, galv_err *err)
{
    const galv_plan *plan = t->plan;
    const galv_uniform_plan like = {.strategy =
                                        *galv_plan_strategy(plan, plan->n_layers > 2),
                                    .pp = plan->pp,
                                    .vpp = plan->vpp,
                                    .schedule = plan->schedule,
                                    .micro_batch_size = galv_plan_micro_batch(plan),
                                    .overlap = plan->overlap};
    char label[48];
    bool halves = like.strategy.dp % 2 == 0;
    int64_t domain = t->job->cluster.pools[0].scaleup_domain;
    galv_status status = GALV_OK;
    galv_uniform_plan to = like;
    if (like.micro_batch_size > 1) {
        to.micro_batch_size = 1;
        status = try_degrees(t, &to, "--micro-batch 1", arena, err);
    }
    to = like;
    to.strategy.dp /= 2;
    if (status == GALV_OK && halves && 2 * like.strategy.tp <= domain) {
        to.strategy.tp *= 2;
        snprintf(label, sizeof label, "--tp %d", (int)to.strategy.tp);
        status = try_degrees(t, &to, label, arena, err);
        to.strategy.tp /= 2;
    }
    if (status == GALV_OK && halves) {
        to.strategy.cp *= 2;
        snprintf(label, sizeof label, "--cp %d", (int)to.strategy.cp);
        status = try_degrees(t, &to, label, arena, err);
        to.strategy.cp /= 2;
    }
    if (status == GALV_OK && halves) {
        to.pp *= 2;
        to.schedule = plan->pp == 1 ? NULL : plan->schedule;
        snprintf(label, sizeof label, "--pp %d", (int)to.pp);
        status = try_degrees(t, &to, label, arena, err);
    }
    return status;
}

galv_status galv_variants_try(galv_variants *variants, const galv_costmodel *model,
                              const galv_job *job, const galv_plan *plan,
                              const galv_result *result,
                              const galv_evaluate_options *options, galv_err *err)
{
    trying t = {variants, model, job, plan, options};
    galv_arena *arena = galv_arena_new();
    variants->n = 0;
    if (arena == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    galv_status status = GALV_OK;
    for (size_t i = 0; i < N_SINGLE && status == GALV_OK; i++) {
        status = try_choice(&t, &choices[i], 1, arena, err);
        galv_arena_reset(arena);
    }
    if (status == GALV_OK && !result->fits) {
        status = try_choice(&t, &choices[N_SINGLE], 2, arena, err);
    }
    if (status == GALV_OK && !result->fits && is_uniform(plan) && plan->order == NULL) {
        status = try_other_degrees(&t, arena, err);
    }
    galv_arena_free(arena);
    return status;
}

/* ---- what is said ---- */

void galv_variants_print(const galv_variants *variants, const galv_cli *cli,
                         const galv_result *result)
{
    static const galv_column columns[] = {{"with", "", true, 0, 0},
                                          {"step", "s", false, 0, 0},
                                          {"change", "%", false, 0, 0},
                                          {"memory", "GiB", false, 0, 0},
                                          {"", "", true, 0, 0}};
    bool any_degrees = false;
    galv_table table;
    galv_table_init(&table, cli->arena, columns, 5);
    for (size_t i = 0; i < variants->n; i++) {
        const galv_variant *v = &variants->all[i];
        char text[32];
        any_degrees = any_degrees || v->of_degrees;
        galv_table_row(&table);
        galv_table_cell(&table, "%s", v->label);
        galv_table_cell(&table, "%s", galv_print_number(text, sizeof text, v->time_s));
        galv_table_cell(&table, "%+.1f",
                        100 * (v->time_s / result->iteration_time_s - 1));
        galv_table_cell(&table, "%.1f", v->peak_bytes / 0x1p30);
        galv_table_cell(&table, "%s", v->fits ? "fits" : "does not fit");
    }
    if (table.n_rows > 0) {
        galv_print(cli, any_degrees ? "\nanother choice\n"
                                    : "\nthe same degrees, another choice\n");
        galv_cli_print_table(cli, &table);
    }
}

void galv_variants_print_fitting(const galv_variants *variants, const galv_cli *cli,
                                 const galv_result *result)
{
    bool said[GALV_MOST_VARIANTS] = {false};
    int n_said = 0;
    for (; n_said < MOST_SAID; n_said++) {
        const galv_variant *best = NULL;
        for (size_t i = 0; i < variants->n; i++) {
            const galv_variant *v = &variants->all[i];
            if (v->fits && !said[i] && (best == NULL || v->time_s < best->time_s)) {
                best = v;
            }
        }
        if (best == NULL) {
            break;
        }
        said[best - variants->all] = true;
        galv_print(cli, "%s%s (step %+.1f %%, %.1f GiB)\n",
                   n_said == 0 ? "fits with " : "     or with ", best->label,
                   100 * (best->time_s / result->iteration_time_s - 1),
                   best->peak_bytes / 0x1p30);
    }
    if (n_said == 0) {
        galv_print(cli, "nothing that was tried makes it fit: other recomputation, "
                        "ZeRO or\nmicro-batch, twice the tp, cp or pp\n");
    }
}

void galv_variants_to_json(const galv_variants *variants, galv_json_writer *writer)
{
    galv_json_put_key(writer, "variants");
    galv_json_begin_array(writer, false);
    for (size_t i = 0; i < variants->n; i++) {
        const galv_variant *v = &variants->all[i];
        galv_json_begin_object(writer, true);
        galv_json_key_string(writer, "with", v->label);
        galv_json_key_f64(writer, "iteration_time_s", v->time_s);
        galv_json_key_f64(writer, "peak_memory_bytes", v->peak_bytes);
        galv_json_key_bool(writer, "fits", v->fits);
        galv_json_end_object(writer);
    }
    galv_json_end_array(writer);
}

/* plan --cost-model galvatron: the best plan in the eyes of Galvatron's own cost model,
 * found exactly in Galvatron's own space, and what our simulator makes of it.
 *
 * Only plans that are whole in ours, too: samples that divide. The guide that plan uses
 * otherwise, our simulator, has no say here; it only judges. */
#include "cli/plan_galvatron.h"
#include "base/units.h"
#include "cli/choices.h"
#include "cli/config.h"
#include "cli/galvatron_cost.h"
#include "cli/output.h"
#include "cli/report.h"
#include "search/galvatron_search.h"
#include "sim/evaluate.h"

#include <stdio.h>
#include <string.h>

typedef struct planning {
    const galv_cli *cli;
    galv_setup setup;
    galv_target target;
    galv_costmodel *model;
    galv_galvatron_inputs inputs;
    galv_galvatron_space space;
    galv_galvatron_found found;
    galv_plan *plan;
    galv_result result;
    galv_second_opinion opinion;
} planning;

/* ---- the space ---- */

static bool holds(const galv_choices *choices, int64_t value)
{
    bool found = choices->n_values == 0;
    for (size_t i = 0; i < choices->n_values; i++) {
        found = found || choices->values[i] == value;
    }
    return found;
}

static int64_t largest(const galv_choices *choices)
{
    int64_t most = 0;
    for (size_t i = 0; i < choices->n_values; i++) {
        most = choices->values[i] > most ? choices->values[i] : most;
    }
    return most;
}

static galv_status refuse(const char *option, const char *nearest, galv_err *err)
{
    galv_fail(err, GALV_USAGE, "--%s cannot restrict Galvatron's space so", option);
    galv_hint(err, "%s; or plan without --cost-model galvatron", nearest);
    return GALV_USAGE;
}

static galv_status read_schedule(planning *p, const galv_space *space, galv_err *err)
{
    p->space.gpipe = false;
    for (size_t i = 0; i < space->n_schedules; i++) {
        const char *name = space->schedules[i];
        p->space.gpipe = strcmp(name, "gpipe") == 0;
        if (space->n_schedules > 1 || (!p->space.gpipe && strcmp(name, "1f1b") != 0)) {
            return refuse("schedule", "gpipe or 1f1b", err);
        }
    }
    return GALV_OK;
}

/* What --tp, --zero and so on leave of it. */
static galv_status restrict_space(planning *p, galv_err *err)
{
    galv_space asked = GALV_SPACE_INIT;
    galv_galvatron_space *s = &p->space;
    galv_status status = galv_space_read(&asked, p->cli, err);
    if (status == GALV_OK) {
        status = read_schedule(p, &asked, err);
    }
    if (status != GALV_OK) {
        return status;
    }
    if (!holds(&asked.cp, 1) || !holds(&asked.vpp, 1)) {
        return refuse(holds(&asked.cp, 1) ? "vpp" : "cp", "it has 1 only", err);
    }
    if (asked.dp.n_values > 0 || asked.ep.n_values > 0 ||
        asked.micro_batch.n_values > 0) {
        return refuse(asked.dp.n_values > 0   ? "dp"
                      : asked.ep.n_values > 0 ? "ep"
                                              : "micro-batch",
                      "leave it out", err);
    }
    if (!holds(&asked.recompute, GALV_RECOMPUTE_NONE)) {
        return refuse("recompute", "none, or none,full", err);
    }
    if (!holds(&asked.zero, 0) && !holds(&asked.zero, 2)) {
        return refuse("zero", "2,3 or 0,3", err);
    }
    if (asked.pp.n_values > 1) {
        return refuse("pp", "one number of stages", err);
    }
    s->default_zero = holds(&asked.zero, 2) ? 2 : 0;
    s->without_zero3 = !holds(&asked.zero, 3);
    s->without_recompute = !holds(&asked.recompute, GALV_RECOMPUTE_FULL);
    s->max_tp = (int32_t)largest(&asked.tp);
    s->max_ulysses = s->max_tp;
    s->without_tp = !holds(&asked.sp, GALV_SP_MEGATRON);
    s->without_ulysses = !holds(&asked.sp, GALV_SP_ULYSSES);
    s->pp = (int32_t)largest(&asked.pp);
    s->max_pp = s->pp;
    return GALV_OK;
}

static galv_status read_all(planning *p, galv_err *err)
{
    galv_status status = galv_target_read(&p->target, p->cli, ".json", false, err);
    if (status == GALV_OK) {
        status = galv_setup_read(&p->setup, p->cli, err);
    }
    if (status == GALV_OK) {
        status = restrict_space(p, err);
    }
    if (status == GALV_OK) {
        status =
            galv_second_opinion_inputs(&p->inputs, &p->opinion, p->cli, &p->setup, err);
    }
    p->space.budget_mib = galv_second_opinion_budget_mib(&p->setup);
    p->space.global_batch_size = p->setup.job.workload.global_batch_size;
    p->space.whole_samples = true;
    return status;
}

/* ---- the search and its report ---- */

static galv_status search(planning *p, galv_err *err)
{
    galv_evaluate_options options = GALV_EVALUATE_OPTIONS_INIT;
    galv_status status =
        galv_galvatron_search(&p->found, &p->inputs, &p->space, p->cli->arena, err);
    if (status == GALV_OK && !p->found.found) {
        galv_fail(err, GALV_INFEASIBLE,
                  "no plan of Galvatron's space fits in %.1f GiB, %.1f GiB kept free",
                  p->space.budget_mib / 1024,
                  galv_galvatron_reserve_mib(p->space.budget_mib) / 1024);
        galv_hint(err, "more memory (--memory-limit), more nodes, or plan without "
                       "--cost-model galvatron");
        return GALV_INFEASIBLE;
    }
    if (status == GALV_OK) {
        status = galv_galvatron_found_plan(&p->plan, &p->setup.job, &p->found,
                                           p->cli->arena, err);
    }
    if (status == GALV_OK) {
        status = galv_setup_costmodel(&p->model, &p->setup, p->cli, err);
    }
    if (status == GALV_OK) {
        status =
            galv_evaluate(&p->result, p->model, p->plan, &options, p->cli->arena, err);
    }
    if (status == GALV_OK) {
        status = galv_second_opinion_cost(&p->opinion, &p->inputs, &p->setup, p->plan,
                                          p->cli->arena, err);
    }
    return status;
}

static void report(const planning *p)
{
    char tasks[32], solved[32], bound[32];
    galv_report_job(p->cli, &p->setup);
    galv_report_result(p->cli, &p->setup, p->model, p->plan, &p->result,
                       "Best for Galvatron");
    galv_second_opinion_print(&p->opinion, p->cli, &p->result);
    galv_print(p->cli, "\n%s tasks, %s solved\n",
               galv_print_count(tasks, sizeof tasks, (int64_t)p->found.n_tasks),
               galv_print_count(solved, sizeof solved, (int64_t)p->found.n_solved));
    if (p->found.proven) {
        galv_print(p->cli, "proven: no other plan of Galvatron's space is faster under "
                           "its model\n");
    } else {
        galv_print(p->cli,
                   "not proven best: under its model no plan can take less "
                   "than %s\n",
                   galv_print_seconds(bound, sizeof bound, p->found.lower_bound_s));
    }
}

static galv_status report_json(const planning *p, galv_err *err)
{
    char line[160];
    galv_json_writer writer;
    galv_cli_begin_json(p->cli, &writer, "galvatron_plan");
    galv_config_to_json(p->cli, &p->setup, &writer);
    galv_json_key_string(&writer, "name", galv_plan_print(line, sizeof line, p->plan));
    galv_json_put_key(&writer, "plan");
    galv_plan_to_json(&p->setup.job, p->plan, &writer);
    galv_json_key_f64(&writer, "iteration_time_s", p->result.iteration_time_s);
    galv_json_key_f64(&writer, "peak_memory_bytes", p->result.peak_memory_bytes);
    galv_json_key_bool(&writer, "fits", p->result.fits);
    galv_second_opinion_to_json(&p->opinion, &writer);
    galv_json_put_key(&writer, "searched");
    galv_json_begin_object(&writer, false);
    galv_json_key_i64(&writer, "tasks", (int64_t)p->found.n_tasks);
    galv_json_key_i64(&writer, "solved", (int64_t)p->found.n_solved);
    galv_json_key_bool(&writer, "proven_optimal", p->found.proven);
    galv_json_key_f64(&writer, "lower_bound_s", p->found.lower_bound_s);
    galv_json_end_object(&writer);
    return galv_cli_end_json(p->cli, &writer, err);
}

static galv_status plan_it(planning *p, galv_err *err)
{
    galv_status status = search(p, err);
    if (status != GALV_OK) {
        return status;
    }
    if (galv_cli_given(p->cli, GALV_OPTION_JSON)) {
        status = report_json(p, err);
    } else {
        report(p);
    }
    if (status == GALV_OK && p->target.given) {
        status = galv_plan_write(p->target.file, &p->setup.job, p->plan, err);
        if (status == GALV_OK) {
            galv_cli_wrote(p->cli, p->target.file);
        }
    }
    return status;
}

int galv_plan_galvatron(const galv_cli *cli)
{
    galv_err err = GALV_ERR_INIT;
    planning *p = GALV_NEW(cli->arena, planning);
    if (p == NULL) {
        galv_fail(&err, GALV_NO_MEMORY, "out of memory");
        return galv_cli_fail(cli, &err);
    }
    p->cli = cli;
    galv_status status = read_all(p, &err);
    if (status == GALV_OK && galv_cli_given(cli, GALV_OPTION_PRINT_CONFIG)) {
        status = galv_config_print(cli, &p->setup, &err);
    } else if (status == GALV_OK) {
        status = plan_it(p, &err);
    }
    galv_costmodel_free(p->model);
    galv_setup_release(&p->setup);
    return status == GALV_OK ? 0 : galv_cli_fail(cli, &err);
}

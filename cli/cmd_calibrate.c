/* calibrate: measured iterations in, a profile of fitted factors out.
 *
 * What is printed is the profile's own numbers with their intervals and, for every run,
 * the error before and after: a fit that does not help must be seen not to. */
#include "accuracy/calibrate.h"
#include "accuracy/each_run.h"
#include "base/file.h"
#include "base/units.h"
#include "cli/help.h"
#include "cli/job.h"
#include "cli/measured.h"
#include "cli/output.h"
#include "cli/report.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define SHOWN_RUNS 30

typedef struct calibrating {
    const galv_cli *cli;
    galv_setup setup; /* the plan's job, and the profiles given */
    galv_target target;
    int n_jobs;
    bool has_plan; /* runs of one plan, not of a table */
    size_t n_runs;
    galv_measured_run *runs;
    galv_calibration calibration;
} calibrating;

/* ---- input ---- */

static galv_status add_runs(calibrating *c, const galv_measured_run *more, size_t n,
                            galv_err *err)
{
    galv_measured_run *all =
        GALV_NEW_ARRAY(c->cli->arena, galv_measured_run, c->n_runs + n + 1);
    if (all == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    if (c->n_runs > 0) {
        memcpy(all, c->runs, c->n_runs * sizeof all[0]);
    }
    if (n > 0) {
        memcpy(all + c->n_runs, more, n * sizeof all[0]);
    }
    c->runs = all;
    c->n_runs += n;
    return GALV_OK;
}

/* Timed cases that make no plan are not among the runs: tells the first, and why. */
static galv_status warn_of_dropped(const calibrating *c, const galv_case *cases,
                                   size_t n, const galv_measured_run *runs,
                                   size_t n_runs, galv_err *err)
{
    const galv_case *first = NULL;
    size_t n_dropped = 0;
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (kept < n_runs && runs[kept].name == cases[i].case_id) {
            kept++;
        } else if (cases[i].iteration_time_s > 0 && cases[i].model.n_groups > 0) {
            first = n_dropped++ == 0 ? &cases[i] : first;
        }
    }
    if (n_dropped == 0) {
        return GALV_OK;
    }
    galv_err why = GALV_ERR_INIT;
    galv_job *job = GALV_NEW(c->cli->arena, galv_job);
    galv_plan *plan = NULL;
    if (job == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    galv_case_to_plan(job, &plan, first, c->cli->arena, &why);
    return galv_cli_warn(c->cli, err, "%zu of %zu cases left out: %s:%ld: %s",
                         n_dropped, n, first->file, first->line, why.message);
}

/* The cases of the chosen software; of any when none was chosen. */
static galv_status add_cases(calibrating *c, const char *path, galv_err *err)
{
    galv_case *cases = NULL;
    galv_measured_run *runs = NULL;
    size_t n = 0;
    size_t n_runs = 0;
    size_t n_chosen = 0;
    const char *software = galv_cli_value(c->cli, GALV_OPTION_SOFTWARE);
    galv_status status = galv_cases_read(&cases, &n, path, c->cli->arena, err);
    if (status != GALV_OK) {
        return status;
    }
    for (size_t i = 0; i < n; i++) {
        if (software == NULL || strcmp(cases[i].software, software) == 0) {
            cases[n_chosen++] = cases[i];
        }
    }
    status = galv_runs_from_cases(&runs, &n_runs, cases, n_chosen, c->cli->arena, err);
    if (status == GALV_OK) {
        status = warn_of_dropped(c, cases, n_chosen, runs, n_runs, err);
    }
    return status == GALV_OK ? add_runs(c, runs, n_runs, err) : status;
}

static galv_status add_plan(calibrating *c, galv_err *err)
{
    const galv_cli *cli = c->cli;
    if (cli->n_arguments < 2) {
        galv_fail(err, GALV_USAGE, "a plan needs what was measured of it");
        galv_hint(err, "for example: galvatron-sim calibrate plan.json megatron.log");
        return GALV_USAGE;
    }
    galv_status status = galv_setup_load(&c->setup, cli, cli->arguments[0], err);
    for (size_t i = 1; i < cli->n_arguments && status == GALV_OK; i++) {
        galv_measured_run run = {
            .name = cli->arguments[i], .job = &c->setup.job, .plan = c->setup.plan};
        status = galv_measured_read(&run, cli, cli->arguments[i], err);
        if (status == GALV_OK) {
            status = add_runs(c, &run, 1, err);
        }
    }
    return status;
}

static galv_status read_profiles(calibrating *c, galv_err *err)
{
    galv_status status = GALV_OK;
    for (size_t i = 0; status == GALV_OK; i++) {
        const char *path = galv_cli_repeated(c->cli, GALV_OPTION_PROFILE, i);
        if (path == NULL) {
            break;
        }
        if (c->setup.profile == NULL) {
            c->setup.profile = galv_profile_new();
        }
        status = c->setup.profile == NULL
                     ? galv_fail(err, GALV_NO_MEMORY, "out of memory")
                     : galv_profile_read(c->setup.profile, path, err);
    }
    return status;
}

static galv_status read_input(calibrating *c, galv_err *err)
{
    const galv_cli *cli = c->cli;
    bool has_plan =
        cli->n_arguments > 0 && galv_path_has_extension(cli->arguments[0], ".json");
    c->has_plan = has_plan;
    galv_status status = galv_target_read(&c->target, cli, ".csv", false, err);
    if (status == GALV_OK) {
        status = galv_jobs_read(&c->n_jobs, cli, err);
    }
    if (status == GALV_OK && cli->n_arguments == 0 &&
        !galv_cli_given(cli, GALV_OPTION_CASES)) {
        galv_fail(err, GALV_USAGE, "'calibrate' needs measured iterations");
        galv_hint(err, "for example: galvatron-sim calibrate --cases measured.csv -o "
                       "profile.csv");
        return GALV_USAGE;
    }
    if (status == GALV_OK && has_plan) {
        status = add_plan(c, err);
    }
    for (size_t i = 0; status == GALV_OK && i < cli->n_arguments && !has_plan; i++) {
        status = add_cases(c, cli->arguments[i], err);
    }
    for (size_t i = 0; status == GALV_OK; i++) {
        const char *path = galv_cli_repeated(cli, GALV_OPTION_CASES, i);
        if (path == NULL) {
            break;
        }
        status = add_cases(c, path, err);
    }
    /* A plan's profile was read with its setup. */
    return status == GALV_OK && !has_plan ? read_profiles(c, err) : status;
}

/* ---- for people ---- */

static void print_factors(const calibrating *c, const galv_stack_fit *stack)
{
    static const galv_column columns[] = {
        {"factor", "", true, 0, 0},  {"built in", "", false, 0, 0},
        {"fitted", "", false, 0, 0}, {"90 % from", "", false, 1, 0},
        {"to", "", false, 1, 0},     {"told by the runs", "", true, 2, 0}};
    galv_table table;
    galv_table_init(&table, c->cli->arena, columns, 6);
    for (int k = 0; k < GALV_N_KNOBS; k++) {
        const galv_fitted_knob *knob = &stack->knobs[k];
        for (int i = 0; i < GALV_MAX_FACTORS_OF_KNOB; i++) {
            char a[4][32];
            if (galv_knobs[k].factors[i] == NULL || isnan(knob->value[i]) ||
                (knob->x == 0 && !knob->informed)) {
                continue;
            }
            galv_table_row(&table);
            galv_table_cell(&table, "%s", galv_knobs[k].factors[i]);
            galv_table_cell(&table, "%s",
                            galv_print_number(a[0], sizeof a[0], knob->builtin[i]));
            galv_table_cell(&table, "%s",
                            galv_print_number(a[1], sizeof a[1], knob->value[i]));
            galv_table_cell(&table, "%s",
                            galv_print_number(a[2], sizeof a[2], knob->low[i]));
            galv_table_cell(&table, "%s",
                            galv_print_number(a[3], sizeof a[3], knob->high[i]));
            galv_table_cell(&table, "%s", knob->informed ? "yes" : "little");
        }
    }
    galv_cli_print_table(c->cli, &table);
}

static void print_runs(const calibrating *c)
{
    static const galv_column columns[] = {
        {"run", "", true, 0, 20},         {"measured", "s", false, 0, 0},
        {"built in", "s", false, 0, 0},   {"error", "%", false, 0, 0},
        {"calibrated", "s", false, 0, 0}, {"error", "%", false, 0, 0}};
    galv_table table;
    size_t n_shown = 0;
    galv_table_init(&table, c->cli->arena, columns, 6);
    for (size_t i = 0; i < c->calibration.n_runs; i++) {
        const galv_calibrated_run *run = &c->calibration.runs[i];
        double measured = run->run->iteration_time_s;
        char a[3][32];
        if (run->status != GALV_OK || n_shown++ >= SHOWN_RUNS) {
            continue;
        }
        galv_table_row(&table);
        galv_table_cell(&table, "%s", run->run->name);
        galv_table_cell(&table, "%s", galv_print_number(a[0], sizeof a[0], measured));
        galv_table_cell(&table, "%s",
                        galv_print_number(a[1], sizeof a[1], run->before_s));
        galv_table_cell(&table, "%+.1f", 100 * (run->before_s / measured - 1));
        galv_table_cell(&table, "%s",
                        galv_print_number(a[2], sizeof a[2], run->after_s));
        galv_table_cell(&table, "%+.1f", 100 * (run->after_s / measured - 1));
    }
    galv_cli_print_table(c->cli, &table);
    if (n_shown > SHOWN_RUNS) {
        galv_print(c->cli, "and %zu more\n", n_shown - SHOWN_RUNS);
    }
}

static void print_all(const calibrating *c)
{
    for (size_t s = 0; s < c->calibration.n_stacks; s++) {
        const galv_stack_fit *stack = &c->calibration.stacks[s];
        galv_print(c->cli, "%s, %s, %s: %zu run%s, mean error %.1f %% -> %.1f %%\n\n",
                   stack->device->id, galv_precision_names[stack->workload->precision],
                   galv_software_names[stack->workload->software], stack->n_runs,
                   stack->n_runs == 1 ? "" : "s", 100 * stack->mape_before_frac,
                   100 * stack->mape_after_frac);
        print_factors(c, stack);
        galv_print(c->cli,
                   "expected before: a stack is off by %.1f %%, of its own a run by "
                   "%.1f %%\n\n",
                   100 * stack->between_frac, 100 * stack->within_frac);
    }
    print_runs(c);
    for (size_t i = 0; i < c->calibration.n_runs; i++) {
        const galv_calibrated_run *run = &c->calibration.runs[i];
        if (run->status != GALV_OK) {
            galv_print(c->cli, "left out: %s: %s\n", run->run->name, run->why_not);
        }
    }
}

/* ---- for programs ---- */

static void put_factor(galv_json_writer *writer, const galv_fitted_knob *knob, int k,
                       int i)
{
    galv_json_begin_object(writer, true);
    galv_json_key_string(writer, "factor", galv_knobs[k].factors[i]);
    galv_json_key_string(writer, "meaning", galv_knobs[k].meaning);
    galv_json_key_f64(writer, "builtin", knob->builtin[i]);
    galv_json_key_f64(writer, "value", knob->value[i]);
    galv_json_key_f64(writer, "low", knob->low[i]);
    galv_json_key_f64(writer, "high", knob->high[i]);
    galv_json_key_bool(writer, "informed", knob->informed);
    galv_json_end_object(writer);
}

static void put_stack(galv_json_writer *writer, const galv_stack_fit *stack)
{
    galv_json_begin_object(writer, false);
    galv_json_key_string(writer, "device", stack->device->id);
    galv_json_key_string(writer, "precision",
                         galv_precision_names[stack->workload->precision]);
    galv_json_key_string(writer, "software",
                         galv_software_names[stack->workload->software]);
    galv_json_key_i64(writer, "n_runs", (int64_t)stack->n_runs);
    galv_json_key_f64(writer, "mape_before_frac", stack->mape_before_frac);
    galv_json_key_f64(writer, "mape_after_frac", stack->mape_after_frac);
    galv_json_key_f64(writer, "bias_before_frac", stack->bias_before_frac);
    galv_json_key_f64(writer, "bias_after_frac", stack->bias_after_frac);
    galv_json_key_f64(writer, "median_before_frac", stack->median_before_frac);
    galv_json_key_f64(writer, "median_after_frac", stack->median_after_frac);
    galv_json_key_f64(writer, "between_frac", stack->between_frac);
    galv_json_key_f64(writer, "within_frac", stack->within_frac);
    galv_json_put_key(writer, "factors");
    galv_json_begin_array(writer, false);
    for (int k = 0; k < GALV_N_KNOBS; k++) {
        for (int i = 0; i < GALV_MAX_FACTORS_OF_KNOB; i++) {
            if (galv_knobs[k].factors[i] != NULL && !isnan(stack->knobs[k].value[i])) {
                put_factor(writer, &stack->knobs[k], k, i);
            }
        }
    }
    galv_json_end_array(writer);
    galv_json_end_object(writer);
}

static galv_status print_json(const calibrating *c, galv_err *err)
{
    galv_json_writer writer;
    galv_cli_begin_json(c->cli, &writer, "calibration");
    galv_json_put_key(&writer, "stacks");
    galv_json_begin_array(&writer, false);
    for (size_t s = 0; s < c->calibration.n_stacks; s++) {
        put_stack(&writer, &c->calibration.stacks[s]);
    }
    galv_json_end_array(&writer);
    galv_json_put_key(&writer, "runs");
    galv_json_begin_array(&writer, false);
    for (size_t i = 0; i < c->calibration.n_runs; i++) {
        const galv_calibrated_run *run = &c->calibration.runs[i];
        galv_json_begin_object(&writer, true);
        galv_json_key_string(&writer, "name", run->run->name);
        galv_json_key_f64(&writer, "measured_iteration_time_s",
                          run->run->iteration_time_s);
        galv_json_key_f64(&writer, "before_s", run->before_s);
        galv_json_key_f64(&writer, "after_s", run->after_s);
        if (run->status != GALV_OK) {
            galv_json_key_string(&writer, "why_not", run->why_not);
        }
        galv_json_end_object(&writer);
    }
    galv_json_end_array(&writer);
    return galv_cli_end_json(c->cli, &writer, err);
}

/* ---- --each ---- */

static void print_each(const calibrating *c, const galv_each_run *stacks, size_t n)
{
    static const galv_column columns[] = {{"stack", "", true, 0, 24},
                                          {"gpu", "", true, 1, 0},
                                          {"", "", true, 1, 0},
                                          {"runs", "", false, 0, 0},
                                          {"built in", "%", false, 0, 0},
                                          {"after one", "%", false, 0, 0},
                                          {"worst one", "%", false, 0, 0},
                                          {"harm", "", false, 0, 0},
                                          {"after all", "%", false, 0, 0}};
    galv_table table;
    galv_table_init(&table, c->cli->arena, columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < n; i++) {
        const galv_each_run *s = &stacks[i];
        galv_table_row(&table);
        galv_table_cell(&table, "%s", s->source);
        galv_table_cell(&table, "%s", s->device->id);
        galv_table_cell(&table, "%s", galv_precision_names[s->workload->precision]);
        galv_table_cell(&table, "%zu", s->n_runs);
        galv_table_cell(&table, "%.1f", 100 * s->before_frac);
        galv_table_cell(&table, "%.1f", 100 * s->one_frac);
        galv_table_cell(&table, "%.1f", 100 * s->worst_frac);
        galv_table_cell(&table, "%zu/%zu", s->n_harmed, s->n_runs);
        galv_table_cell(&table, "%.1f", 100 * s->rest_frac);
    }
    galv_cli_print_table(c->cli, &table);
    galv_print(
        c->cli,
        "mean size of the error of the others: built in, after calibrating on one "
        "run\n(mean and worst over which), and of each after calibrating on all "
        "the others;\nharm: ones that make it worse by more than 1 %%\n");
}

static galv_status put_each(const calibrating *c, const galv_each_run *stacks, size_t n,
                            galv_err *err)
{
    galv_json_writer writer;
    galv_cli_begin_json(c->cli, &writer, "calibration-each");
    galv_json_put_key(&writer, "stacks");
    galv_json_begin_array(&writer, false);
    for (size_t i = 0; i < n; i++) {
        const galv_each_run *s = &stacks[i];
        galv_json_begin_object(&writer, true);
        galv_json_key_string(&writer, "source", s->source);
        galv_json_key_string(&writer, "device", s->device->id);
        galv_json_key_string(&writer, "precision",
                             galv_precision_names[s->workload->precision]);
        galv_json_key_string(&writer, "software",
                             galv_software_names[s->workload->software]);
        galv_json_key_i64(&writer, "n_runs", (int64_t)s->n_runs);
        galv_json_key_f64(&writer, "mape_before_frac", s->before_frac);
        galv_json_key_f64(&writer, "scatter_frac", s->scatter_frac);
        galv_json_key_f64(&writer, "mape_after_one_frac", s->one_frac);
        galv_json_key_f64(&writer, "mape_after_worst_one_frac", s->worst_frac);
        galv_json_key_i64(&writer, "n_harmed", (int64_t)s->n_harmed);
        galv_json_key_f64(&writer, "mape_after_others_frac", s->rest_frac);
        galv_json_end_object(&writer);
    }
    galv_json_end_array(&writer);
    return galv_cli_end_json(c->cli, &writer, err);
}

static galv_status try_each(const calibrating *c, galv_err *err)
{
    galv_each_run *stacks = NULL;
    size_t n = 0;
    if (c->target.given) {
        return galv_fail(err, GALV_USAGE, "--each makes no profile: leave out -o");
    }
    galv_status status =
        galv_calibrate_each_run(&stacks, &n, c->runs, c->n_runs, c->setup.profile,
                                c->n_jobs, c->cli->arena, err);
    if (status == GALV_OK && galv_cli_given(c->cli, GALV_OPTION_JSON)) {
        status = put_each(c, stacks, n, err);
    } else if (status == GALV_OK) {
        print_each(c, stacks, n);
    }
    return status;
}

/* ---- the command ---- */

static galv_status calibrate_it(calibrating *c, galv_err *err)
{
    const galv_cli *cli = c->cli;
    galv_text text = GALV_TEXT_INIT;
    galv_status status = galv_calibrate(
        &c->calibration, c->runs, c->n_runs, c->setup.profile,
        c->has_plan ? GALV_FOR_PLAN : GALV_FOR_STACK, c->n_jobs, cli->arena, err);
    if (status == GALV_OK) {
        status = galv_measured_warn(c->cli, &c->calibration, err);
    }
    if (status != GALV_OK) {
        return status;
    }
    if (galv_cli_given(cli, GALV_OPTION_JSON)) {
        status = print_json(c, err);
    } else {
        print_all(c);
    }
    if (status == GALV_OK && c->target.given) {
        galv_calibration_print(&text, &c->calibration);
        status =
            galv_file_write(c->target.file, galv_text_string(&text), text.length, err);
        if (status == GALV_OK) {
            galv_cli_wrote(cli, c->target.file);
        }
    }
    galv_text_release(&text);
    return status;
}

int galv_cmd_calibrate(const galv_cli *cli)
{
    calibrating c = {.cli = cli};
    galv_err err = GALV_ERR_INIT;
    galv_status status = read_input(&c, &err);
    if (status == GALV_OK) {
        status = galv_cli_given(cli, GALV_OPTION_EACH) ? try_each(&c, &err)
                                                       : calibrate_it(&c, &err);
    }
    galv_setup_release(&c.setup);
    return status == GALV_OK ? 0 : galv_cli_fail(cli, &err);
}

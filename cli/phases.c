/* plan --phases: reads the phases, plans them together, prints one row for each. */
#include "cli/phases.h"

#include "accuracy/interval.h"
#include "base/file.h"
#include "base/units.h"
#include "cli/choices.h"
#include "cli/config.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/report.h"
#include "search/phases.h"

#include <math.h>
#include <stdio.h>

#define USUAL_RESTART_S 300.0

typedef struct phasing {
    const galv_cli *cli;
    galv_setup setup;
    galv_space space;
    galv_search_options options;
    galv_target target;
    galv_phase *phases;
    size_t n_phases;
    double restart_time_s;
    galv_planned_run run;
} phasing;

static galv_status read_input(phasing *p, galv_err *err)
{
    const galv_cli *cli = p->cli;
    int64_t top = 0;
    p->options = (galv_search_options)GALV_SEARCH_OPTIONS_INIT;
    p->options.max_ops = GALV_SEARCH_USUAL_OPS;
    galv_status status = galv_target_read(&p->target, cli, "", true, err);
    if (status == GALV_OK) {
        status = galv_setup_read(&p->setup, cli, err);
    }
    if (status == GALV_OK) {
        status = galv_space_read(&p->space, cli, err);
        p->space.layer_wise = !galv_cli_given(cli, GALV_OPTION_UNIFORM);
    }
    if (status == GALV_OK) {
        status = galv_cli_count(&top, cli, GALV_OPTION_TOP, 1, 100, err);
    }
    if (status == GALV_OK) {
        status = galv_cli_time_limit(&p->options.time_limit_s, cli, err);
    }
    if (status == GALV_OK) {
        status =
            galv_cli_seconds(&p->restart_time_s, cli, GALV_OPTION_RESTART_TIME, err);
    }
    if (status == GALV_OK) {
        status = galv_jobs_read(&p->options.n_jobs, cli, err);
    }
    if (status == GALV_OK) {
        status =
            galv_phases_read(&p->phases, &p->n_phases,
                             galv_cli_value(cli, GALV_OPTION_PHASES), cli->arena, err);
    }
    p->options.top_k = (int32_t)top;
    return status;
}

/* ---- for people ---- */

static void print_table(const phasing *p)
{
    static const galv_column columns[] = {
        {"phase", "", true, 0, 6},  {"seq", "", false, 0, 0},
        {"batch", "", false, 0, 0}, {"tokens", "", false, 2, 0},
        {"plan", "", true, 0, 0},   {"step", "s", false, 0, 0},
        {"MFU", "%", false, 1, 0},  {"memory", "GiB", false, 3, 0},
        {"time", "", false, 0, 0},  {"switch", "s", false, 0, 0}};
    galv_table table;
    galv_table_init(&table, p->cli->arena, columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < p->run.n_phases; i++) {
        const galv_planned_phase *at = &p->run.phases[i];
        char text[160];
        galv_table_row(&table);
        galv_table_cell(&table, "%s", at->phase->name);
        galv_table_cell(&table, "%d", (int)at->job.workload.seq_length);
        galv_table_cell(&table, "%lld", (long long)at->job.workload.global_batch_size);
        galv_table_cell(&table, "%s",
                        galv_print_si(text, sizeof text, at->phase->tokens));
        galv_table_cell(&table, "%s", galv_plan_print(text, sizeof text, at->plan));
        galv_table_cell(
            &table, "%s",
            galv_print_number(text, sizeof text, at->result.iteration_time_s));
        galv_table_cell(&table, "%.1f", 100 * at->result.mfu);
        galv_table_cell(&table, "%.1f", at->result.peak_memory_bytes / 0x1p30);
        galv_table_cell(&table, "%s",
                        galv_print_duration(text, sizeof text, at->time_s));
        if (at->switched) {
            galv_table_cell(
                &table, "%s",
                galv_print_number(text, sizeof text,
                                  at->switching.time_s + p->restart_time_s));
        } else {
            galv_table_cell(&table, "-");
        }
    }
    galv_print(p->cli, "\n");
    galv_cli_print_table(p->cli, &table);
}

static void print_verdict(const phasing *p)
{
    const galv_planned_run *run = &p->run;
    char total[32], kept[32], line[160];
    galv_print(p->cli, "%s in all, %d switch%s\n",
               galv_print_duration(total, sizeof total, run->time_s),
               (int)run->n_switches, run->n_switches == 1 ? "" : "es");
    double gap = 1 - run->lower_bound_s / run->time_s;
    if (gap < 0.0005) {
        galv_print(p->cli, "proven: no sequence of plans takes less\n");
    } else if (run->lower_bound_s > 0) {
        galv_print(p->cli, "no sequence of plans takes less than %s (-%.1f %%)\n",
                   galv_print_duration(total, sizeof total, run->lower_bound_s),
                   100 * gap);
    }
    if (run->kept_plan == NULL) {
        galv_print(p->cli, "no plan of these can be kept throughout\n");
    } else if (run->n_switches > 0) {
        double more = run->kept_time_s / run->time_s - 1;
        galv_print(p->cli, "keeping %s throughout: %s, %.1f %% more\n",
                   galv_plan_print(line, sizeof line, run->kept_plan),
                   galv_print_duration(kept, sizeof kept, run->kept_time_s),
                   100 * more);
    } else {
        galv_print(p->cli, "one plan is best throughout: no switch repays itself\n");
    }
    if (run->n_switches > 0) {
        galv_print(p->cli,
                   "a switch moves weights and optimizer state, and restarts in %s\n"
                   "(--restart-time)\n",
                   galv_print_duration(kept, sizeof kept, p->restart_time_s));
    }
    galv_space_say(&p->space, p->cli);
    if (run->interrupted) {
        galv_print(p->cli,
                   "interrupted: the best so far, maybe not the best there is\n");
    }
}

static void report(const phasing *p)
{
    galv_report_job(p->cli, &p->setup);
    print_table(p);
    print_verdict(p);
}

/* ---- documents ---- */

static void put_phase(const phasing *p, const galv_planned_phase *at,
                      galv_json_writer *writer)
{
    char line[160];
    galv_json_begin_object(writer, false);
    galv_json_key_string(writer, "phase", at->phase->name);
    galv_json_key_i64(writer, "seq_length", at->job.workload.seq_length);
    galv_json_key_i64(writer, "global_batch_size", at->job.workload.global_batch_size);
    galv_json_key_f64(writer, "tokens", at->phase->tokens);
    galv_json_key_f64(writer, "steps", at->n_steps);
    galv_json_key_f64(writer, "time_s", at->time_s);
    galv_json_key_bool(writer, "switched", at->switched);
    galv_json_key_f64(writer, "switch_time_s",
                      at->switched ? at->switching.time_s + p->restart_time_s : 0);
    galv_json_key_f64(writer, "switch_bytes", at->switching.moved_bytes);
    galv_json_key_bool(writer, "proven_optimal", at->proven);
    galv_json_key_string(writer, "name", galv_plan_print(line, sizeof line, at->plan));
    galv_prediction_to_json(&at->result, &at->job, at->plan, writer);
    galv_json_end_object(writer);
}

static galv_status report_json(const phasing *p, galv_err *err)
{
    galv_json_writer writer;
    galv_cli_begin_json(p->cli, &writer, "phases");
    galv_config_to_json(p->cli, &p->setup, &writer);
    galv_json_key_f64(&writer, "time_s", p->run.time_s);
    galv_json_key_f64(&writer, "lower_bound_s", p->run.lower_bound_s);
    galv_json_key_i64(&writer, "switches", p->run.n_switches);
    galv_json_key_f64(&writer, "restart_time_s", p->restart_time_s);
    if (p->run.kept_plan != NULL) {
        char line[160];
        galv_json_key_f64(&writer, "kept_time_s", p->run.kept_time_s);
        galv_json_key_string(&writer, "kept_name",
                             galv_plan_print(line, sizeof line, p->run.kept_plan));
    }
    galv_json_key_bool(&writer, "interrupted", p->run.interrupted);
    galv_json_put_key(&writer, "phases");
    galv_json_begin_array(&writer, false);
    for (size_t i = 0; i < p->run.n_phases; i++) {
        put_phase(p, &p->run.phases[i], &writer);
    }
    galv_json_end_array(&writer);
    return galv_cli_end_json(p->cli, &writer, err);
}

/* -o DIR: plan-PHASE.json for each phase. */
static galv_status write_plans(const phasing *p, galv_err *err)
{
    galv_status status = galv_folder_make(p->target.folder, err);
    for (size_t i = 0; i < p->run.n_phases && status == GALV_OK; i++) {
        const galv_planned_phase *at = &p->run.phases[i];
        char name[64];
        snprintf(name, sizeof name, "plan-%zu.json", i + 1);
        const char *path = galv_path_join(p->cli->arena, p->target.folder, name);
        if (path == NULL) {
            return galv_fail(err, GALV_NO_MEMORY, "out of memory");
        }
        status = galv_plan_write(path, &at->job, at->plan, err);
        if (status == GALV_OK) {
            galv_cli_wrote(p->cli, path);
        }
    }
    return status;
}

/* ---- the command ---- */

static galv_status plan_them(phasing *p, galv_err *err)
{
    galv_progress progress;
    galv_progress_begin(&progress, p->cli);
    p->options.cancel = galv_interrupt_watch();
    p->options.progress = galv_progress_show;
    p->options.progress_context = &progress;
    galv_status status = galv_phases_plan(
        &p->run, &p->setup.job, p->phases, p->n_phases, p->setup.profile, &p->space,
        &p->options, p->restart_time_s, p->cli->arena, err);
    galv_progress_end(&progress);
    if (status != GALV_OK) {
        return status;
    }
    if (galv_cli_given(p->cli, GALV_OPTION_JSON)) {
        status = report_json(p, err);
    } else {
        report(p);
    }
    if (status == GALV_OK && p->target.given) {
        status = write_plans(p, err);
    }
    return status;
}

int galv_plan_phases(const galv_cli *cli)
{
    phasing p = {.cli = cli, .restart_time_s = USUAL_RESTART_S};
    galv_err err = GALV_ERR_INIT;
    galv_status status = read_input(&p, &err);
    if (status == GALV_OK) {
        status = plan_them(&p, &err);
    }
    galv_setup_release(&p.setup);
    if (status != GALV_OK) {
        return galv_cli_fail(cli, &err);
    }
    return p.run.interrupted ? galv_status_exit_code(GALV_INTERRUPTED) : 0;
}

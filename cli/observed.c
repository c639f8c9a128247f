/* plan PLAN.json --observed FILE: what was measured calibrates the model, which then
 * judges the plan that runs and every other.
 *
 * The factors of the stack are fitted to the measurements (accuracy/calibrate.h) and
 * hold for all plans of the job, so what is compared are two predictions by the same
 * calibrated model: the error that both share cancels. A change is advised when it
 * gains more than the measurements scatter, and at least LEAST_GAIN_FRAC; what it costs
 * is moving the state and a restart, repaid after so many steps. */
#include "cli/observed.h"

#include "accuracy/calibrate.h"
#include "accuracy/follow.h"
#include "accuracy/interval.h"
#include "base/file.h"
#include "base/units.h"
#include "cli/choices.h"
#include "cli/config.h"
#include "cli/interrupt.h"
#include "cli/measured.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/report.h"
#include "search/search.h"
#include "search/switching.h"

#include <math.h>
#include <stdio.h>

#define USUAL_RESTART_S 300.0
#define LEAST_GAIN_FRAC 0.01
#define MOST_OBSERVED   64

typedef struct observing {
    const galv_cli *cli;
    galv_setup setup;
    galv_space space;
    galv_search_options options;
    galv_target target;
    double restart_time_s;
    size_t n_runs;
    galv_measured_run runs[MOST_OBSERVED];
    galv_calibration calibration;
    galv_costmodel *model; /* calibrated */
    galv_result before;    /* of the plan as built in would have it */
    galv_result current;   /* the same, calibrated */
    galv_search_result found;
    galv_switching switching;
    galv_followed followed; /* how the profile was off, where there is one */
    double gain_s;          /* of a step */
    double scatter_frac;    /* of the measurements */
    bool change;
} observing;

/* ---- input ---- */

static galv_status read_runs(observing *o, galv_err *err)
{
    galv_status status = GALV_OK;
    for (size_t i = 0; status == GALV_OK; i++) {
        const char *path = galv_cli_repeated(o->cli, GALV_OPTION_OBSERVED, i);
        if (path == NULL) {
            break;
        }
        if (i == MOST_OBSERVED) {
            return galv_fail(err, GALV_USAGE, "--observed: more than %d files",
                             MOST_OBSERVED);
        }
        galv_measured_run *run = &o->runs[o->n_runs++];
        *run = (galv_measured_run){
            .name = path, .job = &o->setup.job, .plan = o->setup.plan};
        status = galv_measured_read(run, o->cli, path, err);
    }
    return status;
}

static galv_status read_input(observing *o, galv_err *err)
{
    const galv_cli *cli = o->cli;
    if (cli->n_arguments == 0 || !galv_cli_given(cli, GALV_OPTION_OBSERVED)) {
        galv_fail(err, GALV_USAGE, "'plan' takes a plan and --observed together");
        galv_hint(err, "for example: galvatron-sim plan plan.json --observed "
                       "measured.csv; a plan by itself: galvatron-sim simulate");
        return GALV_USAGE;
    }
    o->options = (galv_search_options)GALV_SEARCH_OPTIONS_INIT;
    o->options.max_ops = GALV_SEARCH_USUAL_OPS;
    o->options.top_k = 1;
    galv_status status = galv_target_read(&o->target, cli, ".json", false, err);
    if (status == GALV_OK) {
        status = galv_setup_load_job(&o->setup, cli, cli->arguments[0], err);
    }
    if (status == GALV_OK) {
        status = galv_space_read(&o->space, cli, err);
        o->space.layer_wise = !galv_cli_given(cli, GALV_OPTION_UNIFORM);
    }
    if (status == GALV_OK) {
        status = galv_cli_time_limit(&o->options.time_limit_s, cli, err);
    }
    if (status == GALV_OK) {
        status =
            galv_cli_seconds(&o->restart_time_s, cli, GALV_OPTION_RESTART_TIME, err);
    }
    if (status == GALV_OK) {
        status = galv_jobs_read(&o->options.n_jobs, cli, err);
    }
    return status == GALV_OK ? read_runs(o, err) : status;
}

/* ---- calibrate, judge, search ---- */

static galv_status evaluate_current(galv_result *result, const observing *o,
                                    const galv_costmodel *model, galv_err *err)
{
    galv_evaluate_options options = GALV_EVALUATE_OPTIONS_INIT;
    return galv_evaluate(result, model, o->setup.plan, &options, o->cli->arena, err);
}

/* A profile's measured times are replayed as they are, whatever a calibration says. So
 * where the run shows them to be off, kind by kind, they are brought to it first. */
static galv_status follow(observing *o, const galv_costmodel *builtin, galv_err *err)
{
    galv_evaluate_options options = GALV_EVALUATE_OPTIONS_INIT;
    galv_timeline measured = {0};
    galv_result predicted;
    options.sim.record_timeline = true;
    galv_status status =
        galv_timeline_read_csv(&measured, o->runs[0].name, o->cli->arena, err);
    if (status == GALV_OK) {
        status = galv_evaluate(&predicted, builtin, o->setup.plan, &options,
                               o->cli->arena, err);
    }
    if (status == GALV_OK) {
        status =
            galv_follow_timelines(&o->followed, &measured, &predicted.timeline, err);
    }
    if (status == GALV_OK) {
        galv_follow_profile(o->setup.profile, &o->followed);
    }
    return status;
}

static galv_status calibrate(observing *o, galv_err *err)
{
    galv_costmodel *builtin = NULL;
    galv_status status = galv_setup_costmodel(&builtin, &o->setup, o->cli, err);
    if (status == GALV_OK) {
        status = evaluate_current(&o->before, o, builtin, err);
    }
    o->followed.communication = 1;
    if (status == GALV_OK && o->setup.profile != NULL &&
        galv_path_has_extension(o->runs[0].name, ".csv")) {
        status = follow(o, builtin, err);
    }
    galv_costmodel_free(builtin);
    if (status == GALV_OK) {
        status = galv_calibrate(&o->calibration, o->runs, o->n_runs, o->setup.profile,
                                GALV_FOR_PLAN, o->options.n_jobs, o->cli->arena, err);
    }
    if (status == GALV_OK) {
        status = galv_measured_warn(o->cli, &o->calibration, err);
    }
    if (status == GALV_OK && o->setup.profile == NULL) {
        o->setup.profile = galv_profile_new();
        if (o->setup.profile == NULL) {
            status = galv_fail(err, GALV_NO_MEMORY, "out of memory");
        }
    }
    if (status == GALV_OK) {
        status = galv_calibration_to_profile(o->setup.profile, &o->calibration, err);
    }
    if (status == GALV_OK) {
        status = galv_costmodel_new(&o->model, &o->setup.job, o->setup.profile, err);
    }
    return status == GALV_OK ? evaluate_current(&o->current, o, o->model, err) : status;
}

/* What the files differ by among themselves, and each says of itself. */
static double scatter(const observing *o)
{
    double least_s = HUGE_VAL, most_s = 0, noise_frac = 0;
    for (size_t i = 0; i < o->n_runs; i++) {
        least_s = fmin(least_s, o->runs[i].iteration_time_s);
        most_s = fmax(most_s, o->runs[i].iteration_time_s);
        noise_frac = fmax(noise_frac, o->runs[i].noise_frac);
    }
    return fmax(noise_frac, most_s / least_s - 1);
}

static galv_status search(observing *o, galv_err *err)
{
    galv_progress progress;
    galv_progress_begin(&progress, o->cli);
    o->options.cancel = galv_interrupt_watch();
    o->options.progress = galv_progress_show;
    o->options.progress_context = &progress;
    galv_status status =
        galv_search(&o->found, o->model, &o->space, &o->options, o->cli->arena, err);
    galv_progress_end(&progress);
    if (status == GALV_OK) {
        status = galv_switching_cost(&o->switching, &o->setup.job, o->setup.plan,
                                     o->found.plans[0].plan, err);
    }
    o->switching.time_s *= fmax(1, o->followed.communication);
    if (status == GALV_OK) {
        o->gain_s =
            o->current.iteration_time_s - o->found.plans[0].result.iteration_time_s;
        o->scatter_frac = scatter(o);
        o->change =
            o->switching.changes && o->gain_s > fmax(LEAST_GAIN_FRAC, o->scatter_frac) *
                                                    o->current.iteration_time_s;
    }
    return status;
}

static double switch_time_s(const observing *o)
{
    return o->switching.changes ? o->switching.time_s + o->restart_time_s : 0;
}

/* ---- the report ---- */

static void print_plans(const observing *o)
{
    static const galv_column columns[] = {
        {"", "", true, 0, 0},           {"plan", "", true, 0, 0},
        {"step", "s", false, 0, 0},     {"MFU", "%", false, 0, 0},
        {"memory", "GiB", false, 0, 0}, {"tok/s/GPU", "", false, 1, 0}};
    const galv_plan *plans[] = {o->setup.plan, o->found.plans[0].plan};
    const galv_result *results[] = {&o->current, &o->found.plans[0].result};
    const char *const names[] = {"now", o->gain_s > 0 ? "best" : "other"};
    galv_table table;
    galv_table_init(&table, o->cli->arena, columns, sizeof columns / sizeof columns[0]);
    for (int i = 0; i < 2; i++) {
        char line[160], number[32];
        galv_table_row(&table);
        galv_table_cell(&table, "%s", names[i]);
        galv_table_cell(&table, "%s", galv_plan_print(line, sizeof line, plans[i]));
        galv_table_cell(
            &table, "%s",
            galv_print_number(number, sizeof number, results[i]->iteration_time_s));
        galv_table_cell(&table, "%.1f", 100 * results[i]->mfu);
        galv_table_cell(&table, "%.1f", results[i]->peak_memory_bytes / 0x1p30);
        galv_table_cell(
            &table, "%s",
            galv_print_number(number, sizeof number, results[i]->tokens_per_s_per_gpu));
    }
    galv_print(o->cli, "\n");
    galv_cli_print_table(o->cli, &table);
}

/* "4.40 s", or "4.40 to 5.72 s in 3 files" */
static const char *print_measured(char *text, size_t size, const observing *o)
{
    double least_s = HUGE_VAL, most_s = 0;
    char least[32], most[32];
    for (size_t i = 0; i < o->n_runs; i++) {
        least_s = fmin(least_s, o->runs[i].iteration_time_s);
        most_s = fmax(most_s, o->runs[i].iteration_time_s);
    }
    if (o->n_runs == 1) {
        return galv_print_seconds(text, size, most_s);
    }
    snprintf(text, size, "%s to %s in %zu files",
             galv_print_seconds(least, sizeof least, least_s),
             galv_print_seconds(most, sizeof most, most_s), o->n_runs);
    return text;
}

static void report(const observing *o)
{
    char a[96], b[32], c[32];
    galv_report_job(o->cli, &o->setup);
    galv_print(o->cli, "\nmeasured %s; predicted %s as built in, %s calibrated\n",
               print_measured(a, sizeof a, o),
               galv_print_seconds(b, sizeof b, o->before.iteration_time_s),
               galv_print_seconds(c, sizeof c, o->current.iteration_time_s));
    print_plans(o);
    double gain = o->gain_s / o->current.iteration_time_s;
    if (o->change) {
        galv_print(o->cli,
                   "change: %.1f %% less time a step; the switch takes %s, "
                   "repaid after %.0f steps\n",
                   100 * gain, galv_print_duration(a, sizeof a, switch_time_s(o)),
                   ceil(switch_time_s(o) / o->gain_s));
    } else if (gain > LEAST_GAIN_FRAC) {
        galv_print(o->cli,
                   "keep: the best gains %.1f %%, less than the measurements "
                   "scatter (%.1f %%)\n",
                   100 * gain, 100 * o->scatter_frac);
    } else if (o->found.proven_optimal) {
        galv_print(o->cli, "keep: no plan of this space is more than %.0f %% faster\n",
                   100 * LEAST_GAIN_FRAC);
    } else {
        double most = 1 - o->found.lower_bound_s / o->current.iteration_time_s;
        galv_print(o->cli,
                   "keep: no plan that was found is more than %.0f %% faster, and none "
                   "can be\nmore than %.1f %%\n",
                   100 * LEAST_GAIN_FRAC, 100 * most);
    }
    if (o->found.interrupted) {
        galv_print(o->cli,
                   "interrupted: the best so far, maybe not the best there is\n");
    }
}

static void put_plan(const observing *o, const char *key, const galv_plan *plan,
                     const galv_result *result, galv_json_writer *writer)
{
    char line[160];
    galv_json_put_key(writer, key);
    galv_json_begin_object(writer, false);
    galv_json_key_string(writer, "name", galv_plan_print(line, sizeof line, plan));
    galv_prediction_to_json(result, &o->setup.job, plan, writer);
    galv_json_end_object(writer);
}

static galv_status report_json(const observing *o, galv_err *err)
{
    galv_json_writer writer;
    galv_cli_begin_json(o->cli, &writer, "observed");
    galv_config_to_json(o->cli, &o->setup, &writer);
    galv_json_key_string(&writer, "advice", o->change ? "change" : "keep");
    galv_json_key_f64(&writer, "measured_iteration_time_s",
                      o->calibration.runs[0].run->iteration_time_s);
    galv_json_key_f64(&writer, "builtin_iteration_time_s", o->before.iteration_time_s);
    galv_json_key_f64(&writer, "scatter_frac", o->scatter_frac);
    galv_json_key_f64(&writer, "gain_s", o->gain_s);
    galv_json_key_f64(&writer, "switch_time_s", switch_time_s(o));
    galv_json_key_f64(&writer, "switch_bytes", o->switching.moved_bytes);
    galv_json_key_bool(&writer, "proven_optimal", o->found.proven_optimal);
    put_plan(o, "current", o->setup.plan, &o->current, &writer);
    put_plan(o, "best", o->found.plans[0].plan, &o->found.plans[0].result, &writer);
    return galv_cli_end_json(o->cli, &writer, err);
}

/* ---- the command ---- */

static galv_status observe(observing *o, galv_err *err)
{
    galv_status status = calibrate(o, err);
    if (status == GALV_OK) {
        status = search(o, err);
    }
    if (status != GALV_OK) {
        return status;
    }
    if (galv_cli_given(o->cli, GALV_OPTION_JSON)) {
        status = report_json(o, err);
    } else {
        report(o);
    }
    if (status == GALV_OK && o->target.given) {
        const galv_plan *plan = o->change ? o->found.plans[0].plan : o->setup.plan;
        status = galv_plan_write(o->target.file, &o->setup.job, plan, err);
        if (status == GALV_OK) {
            galv_cli_wrote(o->cli, o->target.file);
        }
    }
    return status;
}

int galv_plan_observed(const galv_cli *cli)
{
    galv_err err = GALV_ERR_INIT;
    observing *o = GALV_NEW(cli->arena, observing);
    if (o == NULL) {
        galv_fail(&err, GALV_NO_MEMORY, "out of memory");
        return galv_cli_fail(cli, &err);
    }
    o->cli = cli;
    o->restart_time_s = USUAL_RESTART_S;
    galv_status status = read_input(o, &err);
    if (status == GALV_OK) {
        status = observe(o, &err);
    }
    galv_costmodel_free(o->model);
    galv_setup_release(&o->setup);
    if (status != GALV_OK) {
        return galv_cli_fail(cli, &err);
    }
    return o->found.interrupted ? galv_status_exit_code(GALV_INTERRUPTED) : 0;
}

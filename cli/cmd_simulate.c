/* simulate: one plan, from a file or by degrees.
 *
 * One simulation has one thread; --jobs is for many of them (--mc-runs), and accepted
 * everywhere so that scripts can pass it to every command.
 *
 * What is looked at beside the iteration itself (a check by the naive simulator,
 * Galvatron's cost of the same plan, a run of days, and for documents the critical
 * path) is worked out first and reported with it, so that a command that fails has
 * printed nothing. Only a check that does not hold is reported and then fails. */
#include "accuracy/interval.h"
#include "base/csv.h"
#include "base/file.h"
#include "base/units.h"
#include "cli/choices.h"
#include "cli/config.h"
#include "cli/galvatron_cost.h"
#include "cli/output.h"
#include "cli/path_report.h"
#include "cli/report.h"
#include "cli/run_days.h"
#include "cli/stage_times.h"
#include "cli/whole_cluster.h"
#include "schedule/program.h"
#include "schedule/schedule_file.h"
#include "sim/critical_path.h"
#include "sim/reference.h"
#include "sim/weigh.h"

/* What the engine and the naive simulator may differ by: of rounding. */
#define MOST_APART 1e-9
#define MANY_SPANS 500000 /* a trace of them is some 80 MB */

typedef struct simulation {
    const galv_cli *cli;
    galv_setup setup;
    galv_costmodel *model;
    galv_plan *plan;
    galv_evaluate_options options;
    galv_differences differences;
    galv_result result;
    galv_target target;
    galv_run_days run;
    galv_second_opinion galvatron;
    galv_check check;        /* n_ops 0: not asked for */
    galv_critical_path path; /* n_ranks 0: not asked for */
    const char *no_path;     /* why it is left out, NULL: it is not */
} simulation;

static galv_status read_plan(simulation *s, galv_err *err)
{
    int n_jobs = 1;
    galv_status status =
        galv_target_read(&s->target, s->cli, ".json .csv .png .svg .pdf", true, err);
    if (status == GALV_OK) {
        status = galv_jobs_read(&n_jobs, s->cli, err);
    }
    if (status != GALV_OK) {
        return status;
    }
    if (galv_cli_given(s->cli, GALV_OPTION_MICRO_BATCHES)) {
        status = galv_fail(err, GALV_USAGE, "--micro-batches goes with --stage-times");
        galv_hint(err, "a plan's follow from --global-batch and --micro-batch");
        return status;
    }
    if (s->cli->n_arguments > 0) {
        status = galv_setup_load(&s->setup, s->cli, s->cli->arguments[0], err);
        s->plan = s->setup.plan;
        return status;
    }
    status = galv_setup_read(&s->setup, s->cli, err);
    if (status == GALV_OK && !galv_cli_given(s->cli, GALV_OPTION_PRINT_CONFIG)) {
        status = galv_plan_by_hand(&s->plan, &s->setup, s->cli, err);
    }
    return status;
}

static galv_status print_program(simulation *s, galv_err *err)
{
    galv_program *program = NULL;
    galv_status status = galv_setup_costmodel(&s->model, &s->setup, s->cli, err);
    if (status == GALV_OK) { /* some orders follow costs */
        status =
            galv_program_of_plan(&program, s->model, s->plan, NULL, s->cli->arena, err);
    }
    if (status == GALV_OK) {
        *s->cli->out_is_data = true;
        galv_program_print(s->cli->out, program);
    }
    return status;
}

static galv_status print_order(simulation *s, galv_err *err)
{
    galv_schedule schedule;
    galv_schedule_shape shape = {s->plan->pp, s->plan->vpp,
                                 galv_plan_n_micro_batches(s->plan),
                                 s->plan->group_size, NULL};
    galv_prices *prices = NULL;
    galv_arena *arena = s->cli->arena;
    galv_status status = galv_schedule_of_plan(&schedule, s->plan, err);
    if (status == GALV_OK) {
        status = galv_setup_costmodel(&s->model, &s->setup, s->cli, err);
    }
    if (status == GALV_OK) {
        status = galv_prices_new(&prices, s->model, s->plan, NULL, arena, err);
    }
    if (status == GALV_OK) { /* some orders follow costs */
        status = galv_weigh_plan(&shape.weights, s->model, s->plan, prices, arena, err);
    }
    if (status == GALV_OK) {
        *s->cli->out_is_data = true;
        status = galv_schedule_file_put(s->cli->out, &schedule, &shape, err);
    }
    return status;
}

static void report_csv(const simulation *s)
{
    const galv_result *r = &s->result;
    const struct {
        const char *name;
        double value;
    } values[] = {
        {"iteration_time_s", r->iteration_time_s},
        {"tokens_per_s", r->tokens_per_s},
        {"tokens_per_s_per_gpu", r->tokens_per_s_per_gpu},
        {"samples_per_s", r->samples_per_s},
        {"mfu", r->mfu},
        {"hfu", r->hfu},
        {"peak_memory_bytes", r->peak_memory_bytes},
        {"memory_limit_bytes", r->memory_limit_bytes},
        {"bubble_frac", r->bubble_frac},
        {"exposed_comm_frac", r->exposed_comm_frac},
    };
    char line[160];
    galv_text *out = s->cli->out;
    *s->cli->out_is_data = true;
    galv_text_append(out, "plan");
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        galv_csv_put(out, values[i].name, false);
    }
    galv_text_append(out, "\n");
    galv_csv_put(out, galv_plan_print(line, sizeof line, s->plan), true);
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        galv_csv_put_f64(out, values[i].value, false);
    }
    galv_text_append(out, "\n");
}

/* The result as a document, with what was looked at beside it. */
static galv_status document(galv_text *out, const simulation *s, galv_err *err)
{
    galv_json_writer writer;
    galv_json_writer_init(&writer, out);
    galv_json_begin_object(&writer, false);
    galv_json_put_head(&writer, "result");
    galv_config_to_json(s->cli, &s->setup, &writer);
    galv_prediction_to_json(&s->result, &s->setup.job, s->plan, &writer);
    if (s->path.n_ranks > 0) {
        galv_json_put_key(&writer, "critical_path");
        galv_critical_path_to_json(&s->path, &writer);
    }
    if (s->no_path != NULL) {
        galv_json_key_string(&writer, "critical_path_left_out", s->no_path);
    }
    galv_whole_cluster_to_json(&s->result, &s->options, &writer);
    galv_run_days_to_json(&s->run, &writer);
    galv_second_opinion_to_json(&s->galvatron, &writer);
    if (s->check.n_ops > 0) {
        galv_json_put_key(&writer, "check");
        galv_json_begin_object(&writer, true);
        galv_json_key_i64(&writer, "operations", s->check.n_ops);
        galv_json_key_f64(&writer, "iteration_time_s", s->check.iteration_time_s);
        galv_json_key_f64(&writer, "time_frac", s->check.time_frac);
        galv_json_key_f64(&writer, "memory_frac", s->check.memory_frac);
        galv_json_end_object(&writer);
    }
    galv_json_end_object(&writer);
    return galv_json_finish(&writer, err);
}

static void print_check(const simulation *s)
{
    char ops[32];
    if (s->check.n_ops > 0) {
        galv_print(s->cli,
                   "\ncheck: %s operations replayed by a second simulator; at most\n"
                   "  %.1e of the step between starts and ends, %.1e of a peak\n",
                   galv_print_count(ops, sizeof ops, s->check.n_ops),
                   s->check.time_frac, s->check.memory_frac);
    }
}

static galv_status report(const simulation *s, galv_err *err)
{
    if (galv_cli_given(s->cli, GALV_OPTION_JSON)) {
        *s->cli->out_is_data = true;
        return document(s->cli->out, s, err);
    }
    if (galv_cli_given(s->cli, GALV_OPTION_CSV)) {
        report_csv(s);
        return GALV_OK;
    }
    galv_report_job(s->cli, &s->setup);
    galv_report_result(s->cli, &s->setup, s->model, s->plan, &s->result, "Plan");
    galv_print(s->cli, "\n");
    galv_report_stages(s->cli, &s->result);
    galv_whole_cluster_print(s->cli, &s->result, &s->options);
    galv_second_opinion_print(&s->galvatron, s->cli, &s->result);
    galv_run_days_print(&s->run, s->cli);
    print_check(s);
    return GALV_OK;
}

/* ---- files ---- */

static galv_status write_document(const char *path, const simulation *s, galv_err *err)
{
    galv_text text = GALV_TEXT_INIT;
    galv_status status = document(&text, s, err);
    if (status == GALV_OK) {
        status = galv_file_write(path, galv_text_string(&text), text.length, err);
    }
    galv_text_release(&text);
    return status;
}

static galv_status write_folder(const simulation *s, galv_err *err)
{
    static const char *const names[] = {"plan.json", "result.json", "timeline.csv",
                                        "timeline.png", "trace.json"};
    galv_status status = galv_folder_make(s->target.folder, err);
    if (status == GALV_OK && s->result.timeline.n_spans > MANY_SPANS) {
        char count[32];
        status = galv_cli_warn(
            s->cli, err,
            "timeline.csv and trace.json hold %s operations and will be large",
            galv_print_count(count, sizeof count, (int64_t)s->result.timeline.n_spans));
    }
    for (int i = 0; status == GALV_OK && i < 5; i++) {
        const char *path = galv_path_join(s->cli->arena, s->target.folder, names[i]);
        if (path == NULL) {
            return galv_fail(err, GALV_NO_MEMORY, "out of memory");
        }
        status = i == 0   ? galv_plan_write(path, &s->setup.job, s->plan, err)
                 : i == 1 ? write_document(path, s, err)
                          : galv_timeline_write(path, &s->result.timeline, err);
        if (status == GALV_OK) {
            galv_cli_wrote(s->cli, path);
        }
    }
    return status;
}

static galv_status write_files(const simulation *s, galv_err *err)
{
    if (s->target.folder != NULL) {
        return write_folder(s, err);
    }
    galv_status status =
        galv_target_is(&s->target, ".json")
            ? write_document(s->target.file, s, err)
            : galv_timeline_write(s->target.file, &s->result.timeline, err);
    if (status == GALV_OK) {
        galv_cli_wrote(s->cli, s->target.file);
    }
    return status;
}

/* ---- the command ---- */

/* Is the result wanted as a document? */
static bool wants_document(const simulation *s)
{
    return galv_cli_given(s->cli, GALV_OPTION_JSON) ||
           (s->target.given &&
            (s->target.folder != NULL || galv_target_is(&s->target, ".json")));
}

/* --check, of every rank where every rank was simulated. */
static galv_status check_it(simulation *s, galv_err *err)
{
    const galv_evaluate_options *o = &s->options;
    galv_arena *arena = s->cli->arena;
    if (s->result.cluster.n_ranks == 0) {
        return galv_check_plan(&s->check, s->model, s->plan, arena, err);
    }
    if (o->share_network || o->differences->n_slow_links > 0) {
        galv_fail(err, GALV_USAGE,
                  "--check: the second simulator has no shared network");
        galv_hint(err, "without --contention and --slow-link it checks every rank");
        return GALV_USAGE;
    }
    return galv_check_all_ranks(&s->check, s->model, s->plan, o->differences,
                                (uint32_t)s->result.cluster.spread.median_run, arena,
                                err);
}

/* What was asked for beside the iteration itself. */
static galv_status look_further(simulation *s, galv_err *err)
{
    galv_status status =
        galv_run_days_play(&s->run, s->cli, &s->setup, s->plan, &s->result, err);
    if (status == GALV_OK) {
        status =
            galv_second_opinion_read(&s->galvatron, s->cli, &s->setup, s->plan, err);
    }
    if (status == GALV_OK && galv_cli_given(s->cli, GALV_OPTION_CHECK)) {
        status = check_it(s, err);
    }
    return status == GALV_OK && wants_document(s)
               ? galv_path_report_find(&s->path, &s->no_path, s->model, s->plan,
                                       &s->result, &s->options, s->cli->arena, err)
               : status;
}

static galv_status simulate_it(simulation *s, galv_err *err)
{
    const galv_evaluate_options usual = GALV_EVALUATE_OPTIONS_INIT;
    s->options = usual;
    s->options.sim.record_timeline = s->target.given;
    s->options.attribute_peaks = wants_document(s);
    galv_status status =
        galv_whole_cluster_read(&s->options, &s->differences, s->cli, &s->setup, err);
    if (status == GALV_OK) {
        status = galv_setup_costmodel(&s->model, &s->setup, s->cli, err);
    }
    if (status == GALV_OK) {
        status = galv_evaluate(&s->result, s->model, s->plan, &s->options,
                               s->cli->arena, err);
    }
    if (status == GALV_OK) {
        status = look_further(s, err);
    }
    if (status == GALV_OK) {
        status = report(s, err);
    }
    if (status == GALV_OK && s->target.given) {
        status = write_files(s, err);
    }
    return status;
}

/* The two simulators differ: the report is printed, and the command fails. */
static int conclude(const simulation *s)
{
    galv_err err = GALV_ERR_INIT;
    const galv_spread *spread = &s->result.cluster.spread;
    if (spread->n_runs < spread->n_wanted ||
        s->run.result.n_runs < s->run.result.n_asked) {
        return galv_status_exit_code(GALV_INTERRUPTED);
    }
    if (!(s->check.time_frac > MOST_APART) && !(s->check.memory_frac > MOST_APART)) {
        return 0;
    }
    galv_fail(&err, GALV_INTERNAL,
              "the two simulators differ by %.1e of the step and %.1e of a peak",
              s->check.time_frac, s->check.memory_frac);
    return galv_cli_conclude(s->cli, &err);
}

int galv_cmd_simulate(const galv_cli *cli)
{
    simulation s = {.cli = cli};
    galv_err err = GALV_ERR_INIT;
    if (galv_cli_given(cli, GALV_OPTION_STAGE_TIMES)) {
        return galv_cmd_stage_times(cli);
    }
    galv_status status = read_plan(&s, &err);
    if (status == GALV_OK && galv_cli_given(cli, GALV_OPTION_PRINT_CONFIG)) {
        status = galv_config_print(cli, &s.setup, &err);
    } else if (status == GALV_OK && galv_cli_given(cli, GALV_OPTION_PROGRAM)) {
        status = print_program(&s, &err);
    } else if (status == GALV_OK && galv_cli_given(cli, GALV_OPTION_PRINT_ORDER)) {
        status = print_order(&s, &err);
    } else if (status == GALV_OK) {
        status = simulate_it(&s, &err);
    }
    galv_costmodel_free(s.model);
    galv_setup_release(&s.setup);
    return status == GALV_OK ? conclude(&s) : galv_cli_fail(cli, &err);
}

/* One plan's predicted timeline beside a measured one.
 *
 * Both are lists of spans with the same vocabulary, so they are compared by what the
 * spans say they are (accuracy/timeline_pair.h): by kind of operation, by stage, and by
 * the parts of the iteration, whose differences add up. A kind that only one of the two
 * has is shown with nothing on the other side. */
#include "cli/measured.h"

#include "accuracy/timeline_pair.h"
#include "base/file.h"
#include "base/units.h"
#include "cli/output.h"
#include "cli/report.h"
#include "cli/table.h"
#include "sim/evaluate.h"
#include "viz/timelines_figure.h"

#include <math.h>
#include <stdio.h>

/* A run off by more is more likely of another plan, or in another unit. */
#define STRANGE 1.5

typedef struct comparison {
    const galv_cli *cli;
    galv_target target;
    galv_timeline measured, predicted;
    galv_timeline_pair pair;
} comparison;

static galv_status simulate(galv_timeline *timeline, const galv_cli *cli,
                            const char *path, galv_err *err)
{
    galv_setup setup;
    galv_costmodel *model = NULL;
    galv_result result;
    galv_evaluate_options options = GALV_EVALUATE_OPTIONS_INIT;
    options.sim.record_timeline = true;
    galv_status status = galv_setup_load(&setup, cli, path, err);
    if (status == GALV_OK) {
        status = galv_setup_costmodel(&model, &setup, cli, err);
    }
    if (status == GALV_OK) {
        status = galv_evaluate(&result, model, setup.plan, &options, cli->arena, err);
    }
    if (status == GALV_OK) {
        *timeline = result.timeline;
    }
    galv_costmodel_free(model);
    galv_setup_release(&setup);
    return status;
}

/* A timeline that has more of something than the plan, or work on fewer stages, is one
 * of another plan. */
static galv_status check_timeline(const galv_timeline *timeline, const galv_plan *plan,
                                  const char *path, galv_err *err)
{
    int32_t n_stages = 0;
    int32_t n_micro_batches = 0;
    bool computes = false;
    for (size_t i = 0; i < timeline->n_spans; i++) {
        const galv_span *span = &timeline->spans[i];
        computes = computes || span->stream == GALV_STREAM_COMPUTE;
        n_stages = span->stage >= n_stages ? span->stage + 1 : n_stages;
        n_micro_batches = span->micro_batch >= n_micro_batches ? span->micro_batch + 1
                                                               : n_micro_batches;
    }
    if (n_stages > plan->pp || (computes && n_stages < plan->pp)) {
        return galv_fail_at(err, path, 0, 0,
                            "%d pipeline stage%s, and the plan has %d: a timeline of "
                            "another plan",
                            (int)n_stages, n_stages == 1 ? "" : "s", (int)plan->pp);
    }
    if (n_micro_batches > galv_plan_n_micro_batches(plan) ||
        (computes && n_micro_batches < galv_plan_n_micro_batches(plan))) {
        return galv_fail_at(err, path, 0, 0,
                            "%d micro-batches, and the plan has %d: a timeline of "
                            "another plan",
                            (int)n_micro_batches, (int)galv_plan_n_micro_batches(plan));
    }
    return GALV_OK;
}

galv_status galv_measured_read(galv_measured_run *run, const galv_cli *cli,
                               const char *path, galv_err *err)
{
    if (galv_path_has_extension(path, ".csv")) {
        galv_timeline timeline = {0};
        galv_status status = galv_timeline_read_csv(&timeline, path, cli->arena, err);
        if (status == GALV_OK && !(timeline.duration_s > 0)) {
            return galv_fail_at(err, path, 0, 0, "no iteration in this timeline");
        }
        run->iteration_time_s = timeline.duration_s;
        return status == GALV_OK && run->plan != NULL
                   ? check_timeline(&timeline, run->plan, path, err)
                   : status;
    }
    size_t n_iterations = 0;
    galv_status status = galv_megatron_log_read(
        &run->iteration_time_s, &run->noise_frac, &n_iterations, path, cli->arena, err);
    return status == GALV_OK && n_iterations == 1
               ? galv_cli_warn(cli, err,
                               "%s has one iteration alone: the first warms up and "
                               "takes longer",
                               path)
               : status;
}

/* ---- for people ---- */

static void cell_seconds(galv_table *table, double seconds)
{
    char text[32];
    if (seconds > 0) {
        galv_table_cell(table, "%s", galv_print_number(text, sizeof text, seconds));
    } else {
        galv_table_cell(table, "-");
    }
}

static void cell_error(galv_table *table, double measured, double predicted)
{
    if (measured > 0 && predicted > 0) {
        double percent = 100 * (predicted / measured - 1);
        galv_table_cell(table, "%+.1f", fabs(percent) < 0.05 ? 0.0 : percent);
    } else {
        galv_table_cell(table, "-");
    }
}

static void add_row(galv_table *table, const char *stream, const char *kind,
                    double measured_s, double predicted_s)
{
    galv_table_row(table);
    galv_table_cell(table, "%s", kind);
    galv_table_cell(table, "%s", stream);
    cell_seconds(table, measured_s);
    cell_seconds(table, predicted_s);
    cell_error(table, measured_s, predicted_s);
}

static void print_operations(const comparison *c)
{
    static const galv_column columns[] = {{"operation", "", true, 0, 0},
                                          {"stream", "", true, 0, 0},
                                          {"measured", "s", false, 0, 0},
                                          {"predicted", "s", false, 0, 0},
                                          {"error", "%", false, 0, 0}};
    const galv_stage_share *m = &c->pair.measured_mean, *p = &c->pair.predicted_mean;
    galv_table table;
    galv_table_init(&table, c->cli->arena, columns, 5);
    add_row(&table, "", "iteration", c->pair.measured_s, c->pair.predicted_s);
    for (int s = 0; s < GALV_N_STREAMS; s++) {
        for (int k = 0; k < GALV_N_OP_KINDS; k++) {
            if (m->busy_s[s][k] > 0 || p->busy_s[s][k] > 0) {
                add_row(&table, galv_stream_names[s], galv_op_kind_names[k],
                        m->busy_s[s][k], p->busy_s[s][k]);
            }
        }
    }
    galv_cli_print_table(c->cli, &table);
    galv_print(c->cli, "seconds of one rank, the mean of all\n");
}

static void cell_memory(galv_table *table, double bytes)
{
    if (bytes > 0) {
        galv_table_cell(table, "%.2f", bytes / 0x1p30);
    } else {
        galv_table_cell(table, "-");
    }
}

/* Seconds that the stage computes. */
static double computing_s(const galv_stage_share *stage)
{
    double sum_s = 0;
    for (int kind = 0; kind < GALV_N_OP_KINDS; kind++) {
        sum_s += stage->part_s[kind];
    }
    return sum_s;
}

static void print_stages(const comparison *c)
{
    static const galv_column columns[] = {
        {"stage", "", false, 0, 0},      {"compute", "s", false, 0, 0},
        {"predicted", "s", false, 0, 0}, {"error", "%", false, 0, 0},
        {"memory", "GiB", false, 0, 0},  {"predicted", "GiB", false, 0, 0},
        {"error", "%", false, 0, 0},
    };
    galv_table table;
    galv_table_init(&table, c->cli->arena, columns, sizeof columns / sizeof columns[0]);
    for (int32_t stage = 0; stage < c->pair.n_stages; stage++) {
        const galv_stage_share *m = &c->pair.measured[stage];
        const galv_stage_share *p = &c->pair.predicted[stage];
        galv_table_row(&table);
        galv_table_cell(&table, "%d", (int)stage);
        cell_seconds(&table, computing_s(m));
        cell_seconds(&table, computing_s(p));
        cell_error(&table, computing_s(m), computing_s(p));
        cell_memory(&table, m->peak_memory_bytes);
        cell_memory(&table, p->peak_memory_bytes);
        cell_error(&table, m->peak_memory_bytes, p->peak_memory_bytes);
    }
    galv_print(c->cli, "\n");
    galv_cli_print_table(c->cli, &table);
}

static void print_causes(const comparison *c)
{
    const galv_timeline_pair *pair = &c->pair;
    char time[32];
    double apart_s = pair->measured_s - pair->predicted_s;
    if (pair->n_causes == 0) {
        return;
    }
    galv_print(c->cli, "\nmeasured is %s %s; the largest parts of that:\n",
               galv_print_seconds(time, sizeof time, fabs(apart_s)),
               apart_s < 0 ? "shorter" : "longer");
    for (int i = 0; i < pair->n_causes; i++) {
        const galv_time_cause *cause = &pair->causes[i];
        char most[32] = "";
        char at[64] = "";
        if (pair->n_stages > 1) {
            snprintf(at, sizeof at, "; most on stage %d, %c%s", (int)cause->stage,
                     cause->stage_s < 0 ? '-' : '+',
                     galv_print_seconds(most, sizeof most, fabs(cause->stage_s)));
        }
        galv_print(c->cli, "  %c%-9s %s%s\n", cause->difference_s < 0 ? '-' : '+',
                   galv_print_seconds(time, sizeof time, fabs(cause->difference_s)),
                   galv_time_part_name(cause->part), at);
    }
}

/* ---- documents ---- */

static void put_operations(galv_json_writer *writer, const galv_stage_share *m,
                           const galv_stage_share *p)
{
    galv_json_put_key(writer, "operations");
    galv_json_begin_array(writer, false);
    for (int s = 0; s < GALV_N_STREAMS; s++) {
        for (int k = 0; k < GALV_N_OP_KINDS; k++) {
            if (m->busy_s[s][k] <= 0 && p->busy_s[s][k] <= 0) {
                continue;
            }
            galv_json_begin_object(writer, true);
            galv_json_key_string(writer, "kind", galv_op_kind_names[k]);
            galv_json_key_string(writer, "stream", galv_stream_names[s]);
            galv_json_key_f64(writer, "measured_s", m->busy_s[s][k]);
            galv_json_key_f64(writer, "predicted_s", p->busy_s[s][k]);
            galv_json_end_object(writer);
        }
    }
    galv_json_end_array(writer);
}

static void put_parts(galv_json_writer *writer, const galv_stage_share *m,
                      const galv_stage_share *p)
{
    galv_json_put_key(writer, "parts");
    galv_json_begin_array(writer, false);
    for (int part = 0; part < GALV_N_TIME_PARTS; part++) {
        if (m->part_s[part] <= 0 && p->part_s[part] <= 0) {
            continue;
        }
        galv_json_begin_object(writer, true);
        galv_json_key_string(writer, "part", galv_time_part_name(part));
        galv_json_key_f64(writer, "measured_s", m->part_s[part]);
        galv_json_key_f64(writer, "predicted_s", p->part_s[part]);
        galv_json_end_object(writer);
    }
    galv_json_end_array(writer);
}

static void put_memory(galv_json_writer *writer, const galv_stage_share *m,
                       const galv_stage_share *p)
{
    if (m->peak_memory_bytes > 0) {
        galv_json_key_f64(writer, "measured_peak_memory_bytes", m->peak_memory_bytes);
    }
    if (p->peak_memory_bytes > 0) {
        galv_json_key_f64(writer, "predicted_peak_memory_bytes", p->peak_memory_bytes);
    }
}

static galv_status print_json(const comparison *c, galv_err *err)
{
    const galv_timeline_pair *pair = &c->pair;
    galv_json_writer writer;
    galv_cli_begin_json(c->cli, &writer, "validate");
    galv_json_key_f64(&writer, "measured_iteration_time_s", pair->measured_s);
    galv_json_key_f64(&writer, "predicted_iteration_time_s", pair->predicted_s);
    galv_json_key_f64(&writer, "error", pair->predicted_s / pair->measured_s - 1);
    put_memory(&writer, &pair->measured_mean, &pair->predicted_mean);
    put_operations(&writer, &pair->measured_mean, &pair->predicted_mean);
    put_parts(&writer, &pair->measured_mean, &pair->predicted_mean);
    galv_json_put_key(&writer, "stages");
    galv_json_begin_array(&writer, false);
    for (int32_t stage = 0; stage < pair->n_stages; stage++) {
        galv_json_begin_object(&writer, false);
        galv_json_key_i64(&writer, "stage", stage);
        put_memory(&writer, &pair->measured[stage], &pair->predicted[stage]);
        put_parts(&writer, &pair->measured[stage], &pair->predicted[stage]);
        galv_json_end_object(&writer);
    }
    galv_json_end_array(&writer);
    galv_json_put_key(&writer, "causes");
    galv_json_begin_array(&writer, false);
    for (int i = 0; i < pair->n_causes; i++) {
        galv_json_begin_object(&writer, true);
        galv_json_key_string(&writer, "part",
                             galv_time_part_name(pair->causes[i].part));
        galv_json_key_f64(&writer, "difference_s", pair->causes[i].difference_s);
        galv_json_key_i64(&writer, "stage", pair->causes[i].stage);
        galv_json_key_f64(&writer, "stage_difference_s", pair->causes[i].stage_s);
        galv_json_end_object(&writer);
    }
    galv_json_end_array(&writer);
    return galv_cli_end_json(c->cli, &writer, err);
}

/* ---- the picture: one above the other ---- */

static galv_status draw(const comparison *c, galv_err *err)
{
    galv_timeline measured = c->measured, predicted = c->predicted;
    const galv_timeline *both[] = {&predicted, &measured};
    galv_figure_options figure = GALV_FIGURE_OPTIONS_INIT;
    figure.footer = GALV_FOOTER;
    char time[32];
    snprintf(predicted.title, sizeof predicted.title, "predicted   %s",
             galv_print_seconds(time, sizeof time, predicted.duration_s));
    snprintf(measured.title, sizeof measured.title, "measured   %s",
             galv_print_seconds(time, sizeof time, measured.duration_s));
    galv_status status =
        galv_timelines_draw(both, 2, c->predicted.title, c->target.file, &figure, err);
    if (status == GALV_OK) {
        galv_cli_wrote(c->cli, c->target.file);
    }
    return status;
}

/* A stage that was measured and is not predicted is one of another plan. */
static galv_status check_stages(const galv_timeline_pair *pair, const char *path,
                                galv_err *err)
{
    int32_t n_measured = 0;
    int32_t n_predicted = 0;
    for (int32_t stage = 0; stage < pair->n_stages; stage++) {
        n_measured = pair->measured[stage].n_ranks > 0 ? stage + 1 : n_measured;
        n_predicted = pair->predicted[stage].n_ranks > 0 ? stage + 1 : n_predicted;
    }
    return n_measured <= n_predicted
               ? GALV_OK
               : galv_fail_at(err, path, 0, 0,
                              "%d pipeline stages, and the plan has %d: a timeline of "
                              "another plan",
                              (int)n_measured, (int)n_predicted);
}

/* A log says of an iteration how long it took, and nothing else. */
static galv_status compare_log(double *error_frac, comparison *c, const char *plan_path,
                               const char *log_path, galv_err *err)
{
    static const galv_column columns[] = {{"", "", true, 0, 0},
                                          {"measured", "s", false, 0, 0},
                                          {"predicted", "s", false, 0, 0},
                                          {"error", "%", false, 0, 0}};
    double measured_s = 0, noise_frac = 0;
    size_t n = 0;
    galv_table table;
    if (c->target.given) {
        return galv_fail(err, GALV_USAGE, "a log has no timeline to draw: %s",
                         log_path);
    }
    galv_status status = galv_megatron_log_read(&measured_s, &noise_frac, &n, log_path,
                                                c->cli->arena, err);
    if (status == GALV_OK) {
        status = simulate(&c->predicted, c->cli, plan_path, err);
    }
    if (status != GALV_OK) {
        return status;
    }
    double predicted_s = c->predicted.duration_s;
    *error_frac = predicted_s / measured_s - 1;
    if (galv_cli_given(c->cli, GALV_OPTION_JSON)) {
        galv_json_writer writer;
        galv_cli_begin_json(c->cli, &writer, "validate");
        galv_json_key_f64(&writer, "measured_iteration_time_s", measured_s);
        galv_json_key_f64(&writer, "predicted_iteration_time_s", predicted_s);
        galv_json_key_f64(&writer, "error", *error_frac);
        galv_json_key_i64(&writer, "iterations", (int64_t)n);
        galv_json_key_f64(&writer, "noise_frac", noise_frac);
        return galv_cli_end_json(c->cli, &writer, err);
    }
    galv_table_init(&table, c->cli->arena, columns, 4);
    galv_table_row(&table);
    galv_table_cell(&table, "iteration");
    cell_seconds(&table, measured_s);
    cell_seconds(&table, predicted_s);
    cell_error(&table, measured_s, predicted_s);
    galv_cli_print_table(c->cli, &table);
    if (n > 1) {
        galv_print(c->cli,
                   "the median of %zu iterations, the first of the log left out, which "
                   "scatter by %.1f %%\n",
                   n - 1, 100 * noise_frac);
    } else {
        galv_print(c->cli, "one iteration alone: the first warms up\n");
    }
    return GALV_OK;
}

galv_status galv_measured_compare(double *error_frac, const galv_cli *cli,
                                  const char *plan_path, const char *timeline_path,
                                  galv_err *err)
{
    comparison c = {.cli = cli};
    galv_status status = galv_target_read(&c.target, cli, ".png .svg .pdf", false, err);
    if (status == GALV_OK && !galv_path_has_extension(timeline_path, ".csv")) {
        return compare_log(error_frac, &c, plan_path, timeline_path, err);
    }
    if (status == GALV_OK) {
        status = galv_timeline_read_csv(&c.measured, timeline_path, cli->arena, err);
    }
    if (status == GALV_OK) {
        status = simulate(&c.predicted, cli, plan_path, err);
    }
    if (status == GALV_OK) {
        status = galv_timeline_pair_make(&c.pair, &c.measured, &c.predicted, cli->arena,
                                         err);
        if (status != GALV_OK) {
            galv_err_set_file(err, timeline_path);
        } else {
            status = check_stages(&c.pair, timeline_path, err);
        }
    }
    if (status == GALV_OK && c.target.given) {
        status = draw(&c, err);
    }
    if (status != GALV_OK) {
        return status;
    }
    *error_frac = c.pair.predicted_s / c.pair.measured_s - 1;
    if (galv_cli_given(cli, GALV_OPTION_JSON)) {
        return print_json(&c, err);
    }
    print_operations(&c);
    print_stages(&c);
    print_causes(&c);
    return GALV_OK;
}

galv_status galv_measured_warn(const galv_cli *cli, const galv_calibration *calibration,
                               galv_err *err)
{
    for (size_t i = 0; i < calibration->n_runs; i++) {
        const galv_calibrated_run *run = &calibration->runs[i];
        double times = run->run->iteration_time_s / run->before_s;
        char text[32];
        if (run->status == GALV_OK && (times > STRANGE || times < 1 / STRANGE)) {
            return galv_cli_warn(cli, err,
                                 "%s took %s times what is predicted: was it this "
                                 "plan?",
                                 run->run->name,
                                 galv_print_number(text, sizeof text, times));
        }
    }
    return GALV_OK;
}

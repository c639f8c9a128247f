/* plan --front: one row for each plan that no other beats in both time and memory. */
#include "cli/front.h"

#include "accuracy/interval.h"
#include "base/csv.h"
#include "base/file.h"
#include "base/units.h"
#include "cli/choices.h"
#include "cli/config.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/report.h"
#include "search/front.h"
#include "viz/pareto_figure.h"

#include <stdio.h>

typedef struct fronting {
    const galv_cli *cli;
    galv_setup setup;
    galv_space space;
    galv_search_options options;
    galv_target target;
    galv_front front;
} fronting;

static galv_status read_input(fronting *f, galv_err *err)
{
    f->options = (galv_search_options)GALV_SEARCH_OPTIONS_INIT;
    f->options.max_ops = GALV_SEARCH_USUAL_OPS;
    galv_status status =
        galv_target_read(&f->target, f->cli, ".csv .png .svg .pdf", false, err);
    if (status == GALV_OK) {
        status = galv_setup_read(&f->setup, f->cli, err);
    }
    if (status == GALV_OK) {
        status = galv_space_read(&f->space, f->cli, err);
    }
    if (status == GALV_OK) {
        status = galv_cli_time_limit(&f->options.time_limit_s, f->cli, err);
    }
    return status == GALV_OK ? galv_jobs_read(&f->options.n_jobs, f->cli, err) : status;
}

static void report(const fronting *f)
{
    static const galv_column columns[] = {
        {"memory", "GiB", false, 0, 0}, {"step", "s", false, 0, 0},
        {"slower", "%", false, 0, 0},   {"MFU", "%", false, 0, 0},
        {"plan", "", true, 0, 0},       {"", "", true, 1, 0}};
    galv_table table;
    galv_table_init(&table, f->cli->arena, columns, sizeof columns / sizeof columns[0]);
    double best_s = f->front.points[0].result.iteration_time_s;
    bool all_proven = true;
    for (size_t i = 0; i < f->front.n_points; i++) {
        const galv_front_point *p = &f->front.points[i];
        char line[160], number[32];
        galv_table_row(&table);
        galv_table_cell(&table, "%.1f", p->result.peak_memory_bytes / 0x1p30);
        galv_table_cell(
            &table, "%s",
            galv_print_number(number, sizeof number, p->result.iteration_time_s));
        galv_table_cell(&table, "%.1f",
                        100 * (p->result.iteration_time_s / best_s - 1));
        galv_table_cell(&table, "%.1f", 100 * p->result.mfu);
        galv_table_cell(&table, "%s", galv_plan_print(line, sizeof line, p->plan));
        galv_table_cell(&table, "%s", p->proven ? "" : "?");
        all_proven = all_proven && p->proven;
    }
    galv_report_job(f->cli, &f->setup);
    galv_print(
        f->cli,
        "\nthe fastest plan for every memory budget, in steps of %.1f GiB or more\n",
        GALV_FRONT_STEP_FRAC * f->front.points[0].result.memory_limit_bytes / 0x1p30);
    galv_cli_print_table(f->cli, &table);
    if (f->front.interrupted) {
        galv_print(f->cli, "interrupted: the rest of the front is missing\n");
    } else if (all_proven) {
        galv_print(f->cli, "proven: each is the fastest within its memory%s\n",
                   f->space.layer_wise
                       ? ""
                       : " that has one strategy\nfor all layers; --layer-wise mixes "
                         "them");
    } else {
        galv_print(f->cli, "? not proven the fastest within its memory\n");
    }
}

static galv_status report_json(const fronting *f, galv_err *err)
{
    galv_json_writer writer;
    galv_cli_begin_json(f->cli, &writer, "front");
    galv_config_to_json(f->cli, &f->setup, &writer);
    galv_json_put_key(&writer, "points");
    galv_json_begin_array(&writer, false);
    for (size_t i = 0; i < f->front.n_points; i++) {
        const galv_front_point *p = &f->front.points[i];
        char line[160];
        galv_json_begin_object(&writer, false);
        galv_json_key_string(&writer, "name",
                             galv_plan_print(line, sizeof line, p->plan));
        galv_json_key_bool(&writer, "proven_optimal", p->proven);
        galv_prediction_to_json(&p->result, p->job, p->plan, &writer);
        galv_json_end_object(&writer);
    }
    galv_json_end_array(&writer);
    galv_json_key_bool(&writer, "interrupted", f->front.interrupted);
    return galv_cli_end_json(f->cli, &writer, err);
}

static void put_csv(galv_text *out, const fronting *f)
{
    galv_text_append(out, "plan,iteration_time_s,peak_memory_bytes,mfu,proven\n");
    for (size_t i = 0; i < f->front.n_points; i++) {
        const galv_front_point *p = &f->front.points[i];
        char line[160];
        galv_csv_put(out, galv_plan_print(line, sizeof line, p->plan), true);
        galv_csv_put_f64(out, p->result.iteration_time_s, false);
        galv_csv_put_f64(out, p->result.peak_memory_bytes, false);
        galv_csv_put_f64(out, p->result.mfu, false);
        galv_csv_put_i64(out, p->proven ? 1 : 0, false);
        galv_text_append(out, "\n");
    }
}

static galv_status draw(const fronting *f, galv_err *err)
{
    galv_arena *arena = f->cli->arena;
    galv_pareto_point *points =
        GALV_NEW_ARRAY(arena, galv_pareto_point, f->front.n_points);
    if (points == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < f->front.n_points; i++) {
        const galv_front_point *p = &f->front.points[i];
        char line[160];
        points[i] =
            (galv_pareto_point){.x = p->result.peak_memory_bytes / 0x1p30,
                                .y = p->result.iteration_time_s,
                                .label = galv_arena_strdup(
                                    arena, galv_plan_print(line, sizeof line, p->plan)),
                                .on_front = true,
                                .chosen = i == 0};
    }
    char title[160];
    snprintf(title, sizeof title, "Time and memory: %s on %d x %s",
             f->setup.job.model.name, (int)galv_cluster_n_nodes(&f->setup.job.cluster),
             f->setup.job.cluster.name);
    galv_pareto_axes axes = {.title = title,
                             .x_title = "peak memory per GPU (GiB)",
                             .y_title = "iteration time (s)"};
    galv_figure_options figure = GALV_FIGURE_OPTIONS_INIT;
    figure.footer = GALV_FOOTER;
    return galv_pareto_draw(points, f->front.n_points, &axes, f->target.file, &figure,
                            err);
}

static galv_status write_file(const fronting *f, galv_err *err)
{
    galv_status status = GALV_OK;
    if (galv_target_is_picture(&f->target)) {
        status = draw(f, err);
    } else {
        galv_text text = GALV_TEXT_INIT;
        put_csv(&text, f);
        status =
            galv_file_write(f->target.file, galv_text_string(&text), text.length, err);
        galv_text_release(&text);
    }
    if (status == GALV_OK) {
        galv_cli_wrote(f->cli, f->target.file);
    }
    return status;
}

static galv_status find(fronting *f, galv_err *err)
{
    galv_progress progress;
    galv_progress_begin(&progress, f->cli);
    f->options.cancel = galv_interrupt_watch();
    f->options.progress = galv_progress_show;
    f->options.progress_context = &progress;
    galv_status status = galv_front_find(&f->front, &f->setup.job, f->setup.profile,
                                         &f->space, &f->options, f->cli->arena, err);
    galv_progress_end(&progress);
    if (status != GALV_OK) {
        return status;
    }
    if (galv_cli_given(f->cli, GALV_OPTION_JSON)) {
        status = report_json(f, err);
    } else if (galv_cli_given(f->cli, GALV_OPTION_CSV)) {
        *f->cli->out_is_data = true;
        put_csv(f->cli->out, f);
    } else {
        report(f);
    }
    return status == GALV_OK && f->target.given ? write_file(f, err) : status;
}

int galv_plan_front(const galv_cli *cli)
{
    fronting f = {.cli = cli};
    galv_err err = GALV_ERR_INIT;
    galv_status status = read_input(&f, &err);
    if (status == GALV_OK) {
        status = find(&f, &err);
    }
    galv_setup_release(&f.setup);
    if (status != GALV_OK) {
        return galv_cli_fail(cli, &err);
    }
    return f.front.interrupted ? galv_status_exit_code(GALV_INTERRUPTED) : 0;
}

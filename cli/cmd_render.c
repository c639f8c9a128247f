/* render: a picture of what a file holds.
 *
 * A plan or result is simulated again to get its timeline or its memory, with the
 * options that simulate takes; a timeline, simulated or measured, is drawn as it is.
 * Sweeps and candidates are read as the numbers they are. */
#include "base/csv.h"
#include "base/file.h"
#include "base/units.h"
#include "base/words.h"
#include "cli/job.h"
#include "cli/output.h"
#include "cli/report.h"
#include "search/search.h"
#include "sim/evaluate.h"
#include "viz/breakdown_figure.h"
#include "viz/memory_figure.h"
#include "viz/pareto_figure.h"
#include "viz/scaling_figure.h"
#include "viz/timeline_figure.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct rendering {
    const galv_cli *cli;
    const char *path; /* of the input */
    galv_target target;
    galv_figure_options figure;
} rendering;

/* ---- options ---- */

static galv_status read_window(galv_figure_options *figure, const galv_cli *cli,
                               galv_err *err)
{
    const char *text = galv_cli_value(cli, GALV_OPTION_WINDOW);
    if (text == NULL) {
        return GALV_OK;
    }
    const char *dots = strstr(text, "..");
    if (dots == NULL) {
        galv_fail(err, GALV_USAGE, "must be A..B");
        galv_hint(err, "for example: --window 0s..1.5s");
        return galv_cli_blame(cli, GALV_OPTION_WINDOW, text, err);
    }
    char begin[48];
    snprintf(begin, sizeof begin, "%.*s", (int)(dots - text), text);
    if (galv_parse_duration(&figure->window_start_s, begin, err) != GALV_OK ||
        galv_parse_duration(&figure->window_end_s, dots + 2, err) != GALV_OK) {
        return galv_cli_blame(cli, GALV_OPTION_WINDOW, text, err);
    }
    if (!(figure->window_end_s > figure->window_start_s)) {
        galv_fail(err, GALV_USAGE, "must end after it begins");
        return galv_cli_blame(cli, GALV_OPTION_WINDOW, text, err);
    }
    return GALV_OK;
}

static galv_status read_options(rendering *r, galv_err *err)
{
    const galv_cli *cli = r->cli;
    r->figure = (galv_figure_options)GALV_FIGURE_OPTIONS_INIT;
    r->figure.footer = GALV_FOOTER;
    int64_t width = 0;
    galv_status status =
        galv_target_read(&r->target, cli, ".png .svg .pdf .csv .json", false, err);
    if (status == GALV_OK) {
        status = galv_cli_count(&width, cli, GALV_OPTION_WIDTH, 300, 10000, err);
    }
    if (status == GALV_OK) {
        status = galv_cli_number(&r->figure.scale, cli, GALV_OPTION_SCALE, 0.1, 8, err);
    }
    if (status == GALV_OK) {
        status = read_window(&r->figure, cli, err);
    }
    r->figure.width_px = (int32_t)width;
    r->figure.all_rows = galv_cli_given(cli, GALV_OPTION_ROWS);
    r->figure.streams = galv_cli_given(cli, GALV_OPTION_STREAMS);
    if (status == GALV_OK && !r->target.given &&
        !galv_cli_given(cli, GALV_OPTION_ASCII)) {
        galv_fail(err, GALV_USAGE, "where should the picture go?");
        galv_hint(err, "-o FILE.png, .svg or .pdf; or --ascii for the terminal");
        return GALV_USAGE;
    }
    return status;
}

static galv_status need_picture(const rendering *r, galv_err *err)
{
    if (galv_target_is_picture(&r->target)) {
        return GALV_OK;
    }
    galv_fail(err, GALV_USAGE, "this kind is drawn as a picture only");
    galv_hint(err, "-o FILE.png, .svg or .pdf");
    return GALV_USAGE;
}

/* ---- what is simulated again ---- */

typedef struct replay {
    galv_setup setup;
    galv_result result;
} replay;

static galv_status replay_plan(replay *p, const rendering *r, bool timeline,
                               galv_err *err)
{
    galv_costmodel *model = NULL;
    galv_evaluate_options options = GALV_EVALUATE_OPTIONS_INIT;
    options.sim.record_timeline = timeline;
    galv_status status = galv_setup_load(&p->setup, r->cli, r->path, err);
    if (status == GALV_OK) {
        status = galv_setup_costmodel(&model, &p->setup, r->cli, err);
    }
    if (status == GALV_OK) {
        status = galv_evaluate(&p->result, model, p->setup.plan, &options,
                               r->cli->arena, err);
    }
    galv_costmodel_free(model);
    galv_setup_release(&p->setup);
    return status;
}

static void title_of(char *title, size_t size, const replay *p)
{
    char plan[160];
    snprintf(title, size, "%.40s on %d x %.40s, %.100s", p->setup.job.model.name,
             galv_cluster_n_nodes(&p->setup.job.cluster), p->setup.job.cluster.name,
             galv_plan_print(plan, sizeof plan, p->setup.plan));
}

/* ---- the kinds ---- */

static galv_status render_timeline(rendering *r, galv_err *err)
{
    galv_timeline timeline;
    galv_status status = GALV_OK;
    if (galv_path_has_extension(r->path, ".csv")) {
        status = galv_timeline_read_csv(&timeline, r->path, r->cli->arena, err);
    } else {
        replay p;
        status = replay_plan(&p, r, true, err);
        timeline = p.result.timeline;
    }
    if (status == GALV_OK && galv_cli_given(r->cli, GALV_OPTION_ASCII)) {
        status = galv_timeline_draw_ascii(r->cli->out, &timeline,
                                          r->cli->terminal.width, err);
    }
    if (status != GALV_OK || !r->target.given) {
        return status;
    }
    return galv_target_is_picture(&r->target)
               ? galv_timeline_draw(&timeline, r->target.file, &r->figure, err)
               : galv_timeline_write(r->target.file, &timeline, err);
}

static galv_status render_memory(rendering *r, galv_err *err)
{
    replay p;
    galv_status status = need_picture(r, err);
    if (status == GALV_OK) {
        status = replay_plan(&p, r, false, err);
    }
    if (status != GALV_OK) {
        return status;
    }
    size_t n = (size_t)p.result.n_stages;
    galv_memory_row *rows = GALV_NEW_ARRAY(r->cli->arena, galv_memory_row, n);
    if (rows == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < n; i++) {
        const galv_stage_result *s = &p.result.stages[i];
        rows[i] = (galv_memory_row){
            .label = galv_arena_printf(r->cli->arena, "stage %d", s->stage),
            .parameters_bytes = s->memory[GALV_MEMORY_PARAMETERS],
            .gradients_bytes = s->memory[GALV_MEMORY_GRADIENTS],
            .optimizer_bytes = s->memory[GALV_MEMORY_OPTIMIZER],
            .activations_bytes = s->memory[GALV_MEMORY_ACTIVATIONS],
            .buffers_bytes = s->memory[GALV_MEMORY_BUFFERS],
            .context_bytes = s->memory[GALV_MEMORY_CONTEXT],
            .peak_time_s = -1};
    }
    char title[240];
    title_of(title, sizeof title, &p);
    return galv_memory_draw(rows, n, p.result.memory_limit_bytes, title, r->target.file,
                            &r->figure, err);
}

static void fill_bar(galv_breakdown_row *row, const double *seconds)
{
    row->compute_s = seconds[GALV_BREAKDOWN_COMPUTE];
    row->recompute_s = seconds[GALV_BREAKDOWN_RECOMPUTE];
    row->tp_s = seconds[GALV_BREAKDOWN_TP];
    row->cp_s = seconds[GALV_BREAKDOWN_CP];
    row->ep_s = seconds[GALV_BREAKDOWN_EP];
    row->pp_s = seconds[GALV_BREAKDOWN_PP];
    row->dp_s = seconds[GALV_BREAKDOWN_DP];
    row->optimizer_s = seconds[GALV_BREAKDOWN_OPTIMIZER];
    row->bubble_s = seconds[GALV_BREAKDOWN_BUBBLE];
}

/* Bars of a document with several plans, as it states them. */
static galv_status bars_of_plans(galv_breakdown_row *rows, galv_json_value plans,
                                 galv_arena *arena, galv_err *err)
{
    for (size_t i = 0; i < galv_json_length(plans); i++) {
        galv_json_value plan = galv_json_element(plans, i);
        galv_json_value parts = galv_json_member(plan, "breakdown_s");
        const char *name = NULL;
        double seconds[GALV_N_BREAKDOWNS];
        galv_status status =
            galv_json_to_string(&name, galv_json_member(plan, "name"), err);
        for (int k = 0; status == GALV_OK && k < GALV_N_BREAKDOWNS; k++) {
            status = galv_json_to_f64(&seconds[k],
                                      galv_json_member(parts, galv_breakdown_names[k]),
                                      0, 1e18, err);
        }
        if (status != GALV_OK) {
            return status;
        }
        rows[i].label = galv_arena_strdup(arena, name);
        fill_bar(&rows[i], seconds);
    }
    return GALV_OK;
}

static galv_status render_breakdown(rendering *r, galv_err *err)
{
    galv_json *document = NULL;
    galv_status status = need_picture(r, err);
    if (status == GALV_OK) {
        status = galv_json_read_file(&document, r->path, err);
    }
    if (status != GALV_OK) {
        return status;
    }
    galv_json_value plans = galv_json_member(galv_json_root(document), "plans");
    size_t n = galv_json_length(plans);
    galv_breakdown_row *rows =
        GALV_NEW_ARRAY(r->cli->arena, galv_breakdown_row, n > 0 ? n : 1);
    char title[240] = "Where the time of an iteration goes";
    if (rows == NULL) {
        status = galv_fail(err, GALV_NO_MEMORY, "out of memory");
    } else if (n > 0) {
        status = bars_of_plans(rows, plans, r->cli->arena, err);
    } else {
        replay p;
        status = replay_plan(&p, r, false, err);
        if (status == GALV_OK) {
            char line[160];
            title_of(title, sizeof title, &p);
            rows[0].label = galv_arena_strdup(
                r->cli->arena, galv_plan_print(line, sizeof line, p.setup.plan));
            fill_bar(&rows[0], p.result.breakdown_s);
            n = 1;
        }
    }
    galv_json_free(document);
    return status == GALV_OK
               ? galv_breakdown_draw(rows, n, title, r->target.file, &r->figure, err)
               : status;
}

/* ---- sweeps ---- */

static galv_status points_of_sweep(galv_json_value *points, const galv_json *document,
                                   const char *path, galv_err *err)
{
    *points = galv_json_member(galv_json_root(document), "points");
    if (galv_json_type_of(*points) != GALV_JSON_ARRAY) {
        galv_fail_at(err, path, 0, 0, "no sweep in this file");
        galv_hint(err, "make one: galvatron-sim sweep -n 8..64:x2 -o sweep.json");
        return GALV_INPUT;
    }
    return GALV_OK;
}

/* A point that nothing fitted on has no result. */
static bool has_result(galv_json_value point)
{
    return galv_json_type_of(galv_json_member(point, "iteration_time_s")) ==
           GALV_JSON_NUMBER;
}

/* What the pictures need of one point; strings are valid as long as the document. */
typedef struct sweep_point {
    int32_t gpus;
    double tokens_per_s, mfu, iteration_time_s;
    double usd_per_tokens; /* 0 = unknown */
    bool on_front;
    char gpu[64];
    char name[160];
} sweep_point;

static galv_status read_point(sweep_point *point, galv_json_value value, galv_err *err)
{
    galv_json_object o;
    *point = (sweep_point){0};
    galv_json_enter(&o, value, err);
    o.ignore_unknown = true;
    galv_json_i32(&o, "gpus", GALV_REQUIRED, 1, INT32_MAX, &point->gpus);
    galv_json_f64(&o, "tokens_per_s", GALV_REQUIRED, 0, 1e18, &point->tokens_per_s);
    galv_json_f64(&o, "mfu", GALV_REQUIRED, 0, 1e6, &point->mfu);
    galv_json_f64(&o, "iteration_time_s", GALV_REQUIRED, 0, 1e18,
                  &point->iteration_time_s);
    if (galv_json_type_of(galv_json_member(value, "usd_per_tokens")) ==
        GALV_JSON_NUMBER) {
        galv_json_f64(&o, "usd_per_tokens", GALV_OPTIONAL, 0, 1e300,
                      &point->usd_per_tokens);
    }
    galv_json_bool(&o, "on_front", GALV_OPTIONAL, &point->on_front);
    galv_json_string(&o, "gpu", GALV_REQUIRED, point->gpu, sizeof point->gpu);
    galv_json_string(&o, "name", GALV_REQUIRED, point->name, sizeof point->name);
    return galv_json_leave(&o);
}

/* "WHAT of MODEL", when the document names its model. */
static void title_of_sweep(char *title, size_t size, const char *what,
                           const galv_json *document)
{
    galv_err ignored = GALV_ERR_INIT;
    galv_json_value config = galv_json_member(galv_json_root(document), "config");
    galv_json_value model = galv_json_member(config, "model");
    const char *name = NULL;
    if (galv_json_to_string(&name, galv_json_member(model, "name"), &ignored) ==
        GALV_OK) {
        snprintf(title, size, "%s of %.100s", what, name);
    } else {
        snprintf(title, size, "%s", what);
    }
}

static galv_status render_scaling(rendering *r, galv_err *err)
{
    galv_json *document = NULL;
    galv_json_value points;
    galv_status status = need_picture(r, err);
    if (status == GALV_OK) {
        status = galv_json_read_file(&document, r->path, err);
    }
    if (status != GALV_OK) {
        return status;
    }
    status = points_of_sweep(&points, document, r->path, err);
    char title[160];
    title_of_sweep(title, sizeof title, "Scaling", document);
    size_t n = 0;
    galv_scaling_point *rows =
        GALV_NEW_ARRAY(r->cli->arena, galv_scaling_point, galv_json_length(points) + 1);
    if (status == GALV_OK && rows == NULL) {
        status = galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; status == GALV_OK && i < galv_json_length(points); i++) {
        galv_json_value point = galv_json_element(points, i);
        if (!has_result(point)) {
            continue;
        }
        sweep_point read;
        status = read_point(&read, point, err);
        if (status == GALV_OK) {
            rows[n++] =
                (galv_scaling_point){read.gpus, read.tokens_per_s, read.mfu,
                                     galv_arena_strdup(r->cli->arena, read.name),
                                     galv_arena_strdup(r->cli->arena, read.gpu)};
        }
    }
    galv_json_free(document);
    return status == GALV_OK
               ? galv_scaling_draw(rows, n, title, r->target.file, &r->figure, err)
               : status;
}

static galv_status pareto_of_sweep(rendering *r, galv_err *err)
{
    galv_json *document = NULL;
    galv_json_value points;
    galv_status status = galv_json_read_file(&document, r->path, err);
    if (status != GALV_OK) {
        return status;
    }
    status = points_of_sweep(&points, document, r->path, err);
    char title[160];
    title_of_sweep(title, sizeof title, "Time and money", document);
    size_t n = 0;
    galv_pareto_point *rows =
        GALV_NEW_ARRAY(r->cli->arena, galv_pareto_point, galv_json_length(points) + 1);
    if (status == GALV_OK && rows == NULL) {
        status = galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; status == GALV_OK && i < galv_json_length(points); i++) {
        galv_json_value point = galv_json_element(points, i);
        sweep_point read;
        if (!has_result(point)) {
            continue;
        }
        status = read_point(&read, point, err);
        if (status == GALV_OK && read.usd_per_tokens > 0) {
            rows[n++] =
                (galv_pareto_point){.x = read.usd_per_tokens,
                                    .y = read.iteration_time_s,
                                    .on_front = read.on_front,
                                    .label = galv_arena_printf(r->cli->arena, "%d %s",
                                                               read.gpus, read.gpu)};
        }
    }
    galv_json_free(document);
    const galv_pareto_axes axes = {.title = title,
                                   .x_title = "USD for 1e12 tokens",
                                   .y_title = "iteration time (s)"};
    return status == GALV_OK
               ? galv_pareto_draw(rows, n, &axes, r->target.file, &r->figure, err)
               : status;
}

/* ---- candidates ---- */

/* On the front: no other plan that fits is both faster and smaller. O(n^2), but only
 * over simulated plans, of which there are few. */
static void mark_front(galv_pareto_point *points, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        points[i].on_front = !points[i].infeasible;
        points[i].chosen = !points[i].infeasible;
        for (size_t k = 0; k < n && !points[i].infeasible; k++) {
            if (points[k].infeasible) {
                continue;
            }
            bool no_worse = points[k].x <= points[i].x && points[k].y <= points[i].y;
            bool better = points[k].x < points[i].x || points[k].y < points[i].y;
            if (no_worse && better) {
                points[i].on_front = false;
            }
            if (points[k].y < points[i].y || (points[k].y == points[i].y && k < i)) {
                points[i].chosen = false;
            }
        }
    }
}

/* "tp4 pp2 dp8" from the columns of those names, as far as they are there. */
static const char *label_of(const galv_csv *table, size_t row, galv_arena *arena)
{
    static const char *const names[] = {"tp", "cp", "ep", "pp", "dp"};
    char label[80] = "";
    size_t length = 0;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *cell = galv_csv_cell(table, row, galv_csv_column(table, names[i]));
        if (cell[0] != '\0' && strcmp(cell, "1") != 0 && length < sizeof label) {
            int n = snprintf(label + length, sizeof label - length, "%s%s%.8s",
                             length > 0 ? " " : "", names[i], cell);
            length += n > 0 ? (size_t)n : 0;
        }
    }
    return galv_arena_strdup(arena, label);
}

static galv_status pareto_of_candidates(rendering *r, galv_err *err)
{
    galv_csv table;
    galv_status status = galv_csv_read_file(&table, r->path, r->cli->arena, err);
    int time = -1, memory = -1, fate = -1;
    if (status == GALV_OK) {
        fate = galv_csv_require(&table, "fate", err);
        time = galv_csv_require(&table, "iteration_time_s", err);
        memory = galv_csv_require(&table, "peak_memory_bytes", err);
        status = err->status;
    }
    if (status != GALV_OK) {
        return status;
    }
    size_t n = 0;
    galv_pareto_point *points =
        GALV_NEW_ARRAY(r->cli->arena, galv_pareto_point, table.n_rows + 1);
    if (points == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    for (size_t row = 0; status == GALV_OK && row < table.n_rows; row++) {
        double seconds = 0, bytes = 0;
        status = galv_csv_f64(&table, row, time, 0, 1e18, &seconds, err);
        if (status == GALV_OK) {
            status = galv_csv_f64(&table, row, memory, 0, 1e18, &bytes, err);
        }
        if (status == GALV_OK && seconds > 0 && bytes > 0) {
            points[n++] = (galv_pareto_point){
                .x = bytes / 0x1p30,
                .y = seconds,
                .label = label_of(&table, row, r->cli->arena),
                .infeasible = strcmp(galv_csv_cell(&table, row, fate),
                                     galv_fate_names[GALV_FATE_OUT_OF_MEMORY]) == 0};
        }
    }
    if (status != GALV_OK) {
        return status;
    }
    mark_front(points, n);
    const galv_pareto_axes axes = {.title = "Plans by memory and time",
                                   .x_title = "peak memory per GPU (GiB)",
                                   .y_title = "iteration time (s)"};
    return galv_pareto_draw(points, n, &axes, r->target.file, &r->figure, err);
}

static galv_status render_pareto(rendering *r, galv_err *err)
{
    galv_status status = need_picture(r, err);
    if (status != GALV_OK) {
        return status;
    }
    return galv_path_has_extension(r->path, ".csv") ? pareto_of_candidates(r, err)
                                                    : pareto_of_sweep(r, err);
}

/* ---- the command ---- */

int galv_cmd_render(const galv_cli *cli)
{
    static const char *const kinds[] = {"timeline", "memory", "breakdown", "scaling",
                                        "pareto"};
    static galv_status (*const draw[])(rendering *, galv_err *) = {
        render_timeline, render_memory, render_breakdown, render_scaling,
        render_pareto};
    galv_err err = GALV_ERR_INIT;
    rendering r = {.cli = cli, .path = cli->arguments[cli->n_arguments - 1]};
    int kind = 0;
    galv_status status = GALV_OK;
    if (cli->n_arguments == 2) {
        kind = galv_word_index(kinds, 5, cli->arguments[0]);
    }
    if (kind < 0) {
        status = galv_fail(&err, GALV_USAGE, "unknown kind of picture '%.64s'",
                           cli->arguments[0]);
        galv_hint_words(&err, kinds, 5, cli->arguments[0]);
    } else if (cli->n_arguments == 1 && galv_word_index(kinds, 5, r.path) >= 0 &&
               !galv_is_file(r.path)) {
        status = galv_fail(&err, GALV_USAGE, "'render %s' needs a file", r.path);
        galv_hint(&err,
                  "for example: galvatron-sim render %s out/plan.json -o "
                  "picture.png",
                  r.path);
    }
    if (status == GALV_OK) {
        status = read_options(&r, &err);
    }
    if (status == GALV_OK) {
        status = draw[kind](&r, &err);
    }
    if (status != GALV_OK) {
        return galv_cli_fail(cli, &err);
    }
    if (r.target.given) {
        galv_cli_wrote(cli, r.target.file);
    }
    return 0;
}

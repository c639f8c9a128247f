/* render: a picture of what a file holds.
 *
 * A plan or result is simulated again to get its timeline or its memory, with the
 * options that simulate takes; a timeline, simulated or measured, is drawn as it is.
 * Sweeps and candidates are read as the numbers they are. */
#include "base/file.h"
#include "base/units.h"
#include "base/words.h"
#include "cli/job.h"
#include "cli/output.h"
#include "cli/render.h"
#include "cli/report.h"
#include "sim/evaluate.h"
#include "viz/breakdown_figure.h"
#include "viz/memory_figure.h"
#include "viz/timeline_figure.h"
#include "viz/timelines_figure.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const kinds[] = {"timeline", "memory", "breakdown", "scaling",
                                    "pareto"};
#define N_KINDS (sizeof kinds / sizeof kinds[0])

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

static galv_status read_options(galv_rendering *r, galv_err *err)
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

galv_status galv_render_need_picture(const galv_rendering *r, galv_err *err)
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

static galv_status replay_plan(replay *p, const galv_rendering *r, bool timeline,
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

static galv_status read_timeline(galv_timeline *timeline, galv_rendering *r,
                                 galv_err *err)
{
    if (galv_path_has_extension(r->path, ".csv")) {
        return galv_timeline_read_csv(timeline, r->path, r->cli->arena, err);
    }
    replay p;
    galv_status status = replay_plan(&p, r, true, err);
    if (status == GALV_OK) {
        *timeline = p.result.timeline;
    }
    return status;
}

/* Several on one time scale. */
static galv_status render_timelines(galv_rendering *r, galv_err *err)
{
    galv_timeline timelines[GALV_MOST_TIMELINES];
    const galv_timeline *all[GALV_MOST_TIMELINES];
    galv_status status = galv_render_need_picture(r, err);
    if (status == GALV_OK && r->n_paths > GALV_MOST_TIMELINES) {
        return galv_fail(err, GALV_USAGE, "at most %d timelines in one picture",
                         GALV_MOST_TIMELINES);
    }
    for (size_t i = 0; status == GALV_OK && i < r->n_paths; i++) {
        r->path = r->paths[i];
        all[i] = &timelines[i];
        status = read_timeline(&timelines[i], r, err);
    }
    return status == GALV_OK ? galv_timelines_draw(all, r->n_paths, NULL,
                                                   r->target.file, &r->figure, err)
                             : status;
}

static galv_status render_timeline(galv_rendering *r, galv_err *err)
{
    if (r->n_paths > 1) {
        return render_timelines(r, err);
    }
    galv_timeline timeline;
    galv_status status = read_timeline(&timeline, r, err);
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

static galv_status render_memory(galv_rendering *r, galv_err *err)
{
    replay p;
    galv_status status = galv_render_need_picture(r, err);
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
            .peak_time_s = -1,
            .limit_bytes = s->memory_limit_bytes > 0 ? s->memory_limit_bytes
                                                     : p.result.memory_limit_bytes};
    }
    char title[240];
    title_of(title, sizeof title, &p);
    return galv_memory_draw(rows, n, title, r->target.file, &r->figure, err);
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
    row->bubble_s = seconds[GALV_BREAKDOWN_BUBBLE] + seconds[GALV_BREAKDOWN_STRAGGLING];
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
            seconds[k] = 0;
            if (k == GALV_BREAKDOWN_STRAGGLING && /* not in documents of 1.0 at first */
                galv_json_type_of(galv_json_member(parts, galv_breakdown_names[k])) ==
                    GALV_JSON_ABSENT) {
                continue;
            }
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

static galv_status render_breakdown(galv_rendering *r, galv_err *err)
{
    galv_json *document = NULL;
    galv_status status = galv_render_need_picture(r, err);
    /* Standard input can be read only once, and is then taken as one plan. */
    if (status == GALV_OK && strcmp(r->path, "-") != 0) {
        status = galv_json_read_file(&document, r->path, err);
    }
    if (status != GALV_OK) {
        return status;
    }
    galv_json_value plans = {NULL, NULL};
    if (document != NULL) {
        plans = galv_json_member(galv_json_root(document), "plans");
    }
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

/* ---- the command ---- */

/* "[KIND] FILE...": which kind, and the files. */
static galv_status read_arguments(galv_rendering *r, int *kind, galv_err *err)
{
    const galv_cli *cli = r->cli;
    const char *first = cli->arguments[0];
    int named = galv_word_index(kinds, N_KINDS, first);
    *kind = named < 0 ? 0 : named;
    size_t skip = named < 0 ? 0 : 1;
    if (named >= 0 && cli->n_arguments == 1) {
        galv_fail(err, GALV_USAGE, "'render %s' needs a file", first);
        galv_hint(err,
                  "for example: galvatron-sim render %s out/plan.json -o picture.png",
                  first);
        return GALV_USAGE;
    }
    if (named < 0 && cli->n_arguments > 1 && !galv_is_file(first)) {
        galv_fail(err, GALV_USAGE, "unknown kind of picture '%.64s'", first);
        galv_hint_words(err, kinds, N_KINDS, first);
        return GALV_USAGE;
    }
    r->paths = cli->arguments + skip;
    r->n_paths = cli->n_arguments - skip;
    r->path = r->paths[0];
    if (*kind != 0 && r->n_paths > 1) {
        galv_fail(err, GALV_USAGE, "'render %s' takes one file", kinds[*kind]);
        return GALV_USAGE;
    }
    return GALV_OK;
}

int galv_cmd_render(const galv_cli *cli)
{
    static galv_status (*const draw[N_KINDS])(galv_rendering *, galv_err *) = {
        render_timeline, render_memory, render_breakdown, galv_render_scaling,
        galv_render_pareto};
    galv_err err = GALV_ERR_INIT;
    galv_rendering r = {.cli = cli};
    int kind = 0;
    galv_status status = read_arguments(&r, &kind, &err);
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

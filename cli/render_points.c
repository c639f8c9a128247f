/* Pictures of points: sweeps, and the candidates of a search.
 *
 * Both are read as the numbers they are, nothing is simulated again. Points on which
 * nothing fitted have no numbers and are left out. */
#include "base/csv.h"
#include "base/file.h"
#include "base/json.h"
#include "cli/render.h"
#include "search/search.h"
#include "viz/pareto_figure.h"
#include "viz/scaling_figure.h"

#include <stdio.h>
#include <string.h>

#define TOKENS          1e12 /* what a sweep prices (usd_per_tokens) */
#define SECONDS_PER_DAY 86400.0

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
    double tokens_per_s, mfu;
    double usd_per_tokens; /* 0 = unknown */
    bool on_front;
    char series[160]; /* whose points make a line; in older files, the GPU */
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
    if (galv_json_type_of(galv_json_member(value, "usd_per_tokens")) ==
        GALV_JSON_NUMBER) {
        galv_json_f64(&o, "usd_per_tokens", GALV_OPTIONAL, 0, 1e300,
                      &point->usd_per_tokens);
    }
    galv_json_bool(&o, "on_front", GALV_OPTIONAL, &point->on_front);
    galv_json_string(&o, "gpu", GALV_REQUIRED, point->series, sizeof point->series);
    galv_json_string(&o, "series", GALV_OPTIONAL, point->series, sizeof point->series);
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

galv_status galv_render_scaling(galv_rendering *r, galv_err *err)
{
    galv_json *document = NULL;
    galv_json_value points;
    galv_status status = galv_render_need_picture(r, err);
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
                                     galv_arena_strdup(r->cli->arena, read.series)};
        }
    }
    galv_json_free(document);
    return status == GALV_OK
               ? galv_scaling_draw(rows, n, title, r->target.file, &r->figure, err)
               : status;
}

static galv_status pareto_of_sweep(galv_rendering *r, galv_err *err)
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
        /* Points of different batches have iterations of different lengths: what can
         * be compared is the time of as many tokens. */
        if (status == GALV_OK && read.usd_per_tokens > 0 && read.tokens_per_s > 0) {
            rows[n++] =
                (galv_pareto_point){.x = read.usd_per_tokens,
                                    .y = TOKENS / read.tokens_per_s / SECONDS_PER_DAY,
                                    .on_front = read.on_front,
                                    .label = galv_arena_printf(r->cli->arena, "%d %s",
                                                               read.gpus, read.series)};
        }
    }
    galv_json_free(document);
    const galv_pareto_axes axes = {.title = title,
                                   .x_title = "USD for 1e12 tokens",
                                   .y_title = "days for 1e12 tokens"};
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
            if (no_worse && (better || k < i)) { /* of equals, the first */
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

static galv_status pareto_of_candidates(galv_rendering *r, galv_err *err)
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

galv_status galv_render_pareto(galv_rendering *r, galv_err *err)
{
    galv_status status = galv_render_need_picture(r, err);
    if (status != GALV_OK) {
        return status;
    }
    return galv_path_has_extension(r->path, ".csv") ? pareto_of_candidates(r, err)
                                                    : pareto_of_sweep(r, err);
}

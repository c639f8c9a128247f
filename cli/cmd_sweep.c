/* sweep: the search of plan for many clusters, side by side.
 *
 * Strong scaling unless --global-batch says otherwise: every cluster works on the batch
 * of the largest. A cluster on which nothing fits is a row that says so, not an error;
 * the exit status is 3 only when nothing fits anywhere. */
#include "accuracy/interval.h"
#include "search/sweep.h"

#include "base/csv.h"
#include "base/file.h"
#include "base/units.h"
#include "cli/choices.h"
#include "cli/config.h"
#include "cli/help.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/report.h"
#include "cli/sweep_jobs.h"
#include "viz/plan_map_figure.h"
#include "viz/scaling_figure.h"

#include <stdio.h>
#include <string.h>

typedef struct sweeping {
    const galv_cli *cli;
    galv_setup setup;
    galv_cluster *clusters;
    size_t n_clusters;
    galv_sweep_jobs jobs;
    galv_space space;
    galv_search_options options;
    galv_target target;
    galv_sweep_point *points;
    size_t n_points;
    bool interrupted;
} sweeping;

static galv_status read_input(sweeping *s, galv_err *err)
{
    const galv_cli *cli = s->cli;
    s->options = (galv_search_options)GALV_SEARCH_OPTIONS_INIT;
    s->options.max_ops = GALV_SEARCH_USUAL_OPS;
    galv_status status =
        galv_target_read(&s->target, cli, ".json .csv .png .svg .pdf", true, err);
    if (status == GALV_OK) {
        status = galv_clusters_read(&s->clusters, &s->n_clusters, cli, err);
    }
    if (status == GALV_OK) {
        status = galv_setup_read_on(&s->setup, cli, &s->clusters[0], err);
    }
    if (status == GALV_OK) {
        galv_job base = s->setup.job;
        if (!galv_cli_given(cli, GALV_OPTION_GLOBAL_BATCH)) {
            base.workload.global_batch_size = 0;
        }
        status =
            galv_sweep_jobs_read(&s->jobs, &base, s->clusters, s->n_clusters, cli, err);
    }
    if (status == GALV_OK) {
        status = galv_space_read(&s->space, cli, err);
    }
    if (status == GALV_OK) {
        status = galv_cli_time_limit(&s->options.time_limit_s, cli, err);
    }
    return status == GALV_OK ? galv_jobs_read(&s->options.n_jobs, cli, err) : status;
}

/* ---- for people ---- */

static void cell_number(galv_table *table, double value)
{
    char text[32];
    if (value > 0) {
        galv_table_cell(table, "%s", galv_print_number(text, sizeof text, value));
    } else {
        galv_table_cell(table, "-");
    }
}

static void cell_si(galv_table *table, double value)
{
    char text[32];
    if (value > 0) {
        galv_table_cell(table, "%s", galv_print_si(text, sizeof text, value));
    } else {
        galv_table_cell(table, "-");
    }
}

/* Is more than one cluster named? (Of --gpu the clusters are told by their GPUs.) */
static bool has_clusters(const sweeping *s)
{
    bool many = false;
    for (size_t i = 1; i < s->n_clusters; i++) {
        many |= strcmp(s->clusters[i].name, s->clusters[0].name) != 0;
    }
    return many && !galv_cli_given(s->cli, GALV_OPTION_GPU);
}

/* "dgx-h100, batch 256": what a point differs in from those of as many devices. Points
 * of one series make a line of the scaling picture. Owned by the sweep's arena. */
static const char *series_of(const sweeping *s, const galv_sweep_point *p)
{
    const galv_workload *w = &p->job->workload;
    char seq_length[32] = "", limit[48] = "", batch[32] = "", bytes[32];
    if (s->jobs.n_seq_lengths > 1) {
        snprintf(seq_length, sizeof seq_length, ", seq %d", (int)w->seq_length);
    }
    if (s->jobs.n_limits > 1) {
        snprintf(limit, sizeof limit, ", limit %s",
                 galv_print_bytes(bytes, sizeof bytes, w->memory_limit_bytes));
    }
    if (s->jobs.n_batches > 1) {
        snprintf(batch, sizeof batch, ", batch %lld", (long long)w->global_batch_size);
    }
    return galv_arena_printf(s->cli->arena, "%s%s%s%s",
                             has_clusters(s) ? p->cluster : p->device, seq_length,
                             limit, batch);
}

/* What the points differ in besides their size. */
static void cells_of_job(galv_table *table, const sweeping *s,
                         const galv_sweep_point *p)
{
    char text[32];
    if (galv_cli_given(s->cli, GALV_OPTION_GPU)) {
        galv_table_cell(table, "%s", p->device);
    }
    if (has_clusters(s)) {
        galv_table_cell(table, "%s", p->cluster);
    }
    if (s->jobs.n_seq_lengths > 1) {
        galv_table_cell(table, "%d", (int)p->job->workload.seq_length);
    }
    if (s->jobs.n_limits > 1) {
        galv_table_cell(
            table, "%s",
            galv_print_bytes(text, sizeof text, p->job->workload.memory_limit_bytes));
    }
    if (s->jobs.n_batches > 1) {
        galv_table_cell(table, "%lld", (long long)p->job->workload.global_batch_size);
    }
}

static void add_point(galv_table *table, const sweeping *s, const galv_sweep_point *p)
{
    char line[160];
    galv_table_row(table);
    galv_table_cell(table, "%d", p->n_nodes);
    galv_table_cell(table, "%lld", (long long)p->n_devices);
    cells_of_job(table, s, p);
    if (p->status != GALV_OK) {
        galv_table_cell(table, "%s",
                        p->status == GALV_INFEASIBLE ? "nothing fits" : "no plan");
        return;
    }
    galv_table_cell(table, "%s", galv_plan_print(line, sizeof line, p->plan));
    cell_number(table, p->result.iteration_time_s);
    cell_number(table, p->result.tokens_per_s_per_gpu);
    if (s->n_clusters > 1) {
        galv_table_cell(table, "%.1f", 100 * p->scaling_frac);
    }
    galv_table_cell(table, "%.1f", 100 * p->result.mfu);
    galv_table_cell(table, "%.1f", p->result.peak_memory_bytes / 0x1p30);
    cell_number(table, p->usd_per_hour);
    if (p->job->workload.tokens_to_train > 0) {
        cell_number(table, p->days);
        cell_si(table, p->usd);
    }
    galv_table_cell(table, "%s", s->n_clusters > 1 && p->on_front ? "*" : "");
}

static void print_table(const sweeping *s)
{
    bool many_gpus = galv_cli_given(s->cli, GALV_OPTION_GPU);
    galv_column columns[16];
    size_t n = 0;
    columns[n++] = (galv_column){"nodes", "", false, 0, 0};
    columns[n++] = (galv_column){"GPUs", "", false, 0, 0};
    if (many_gpus) {
        columns[n++] = (galv_column){"gpu", "", true, 0, 0};
    }
    if (has_clusters(s)) {
        columns[n++] = (galv_column){"cluster", "", true, 0, 0};
    }
    if (s->jobs.n_seq_lengths > 1) {
        columns[n++] = (galv_column){"seq", "", false, 0, 0};
    }
    if (s->jobs.n_limits > 1) {
        columns[n++] = (galv_column){"limit", "", false, 0, 0};
    }
    if (s->jobs.n_batches > 1) {
        columns[n++] = (galv_column){"batch", "", false, 0, 0};
    }
    columns[n++] = (galv_column){"plan", "", true, 0, 0};
    columns[n++] = (galv_column){"step", "s", false, 0, 0};
    columns[n++] = (galv_column){"tok/s/GPU", "", false, 2, 0};
    if (s->n_clusters > 1) {
        columns[n++] = (galv_column){"scaling", "%", false, 1, 0};
    }
    columns[n++] = (galv_column){"MFU", "%", false, 1, 0};
    columns[n++] = (galv_column){"memory", "GiB", false, 4, 0};
    columns[n++] = (galv_column){"$/h", "", false, 3, 0};
    if (galv_cli_given(s->cli, GALV_OPTION_TOKENS)) {
        columns[n++] = (galv_column){"days", "", false, 0, 0};
        columns[n++] = (galv_column){"USD", "", false, 0, 0};
    }
    columns[n++] = (galv_column){"", "", true, 0, 0};
    galv_table table;
    galv_table_init(&table, s->cli->arena, columns, n);
    bool front = false;
    for (size_t i = 0; i < s->n_points; i++) {
        add_point(&table, s, &s->points[i]);
        front = front || (s->n_clusters > 1 && s->points[i].on_front);
    }
    galv_cli_print_table(s->cli, &table);
    if (front) {
        galv_print(s->cli, "* no other point is both faster and cheaper\n");
    }
    galv_space_say(&s->space, s->cli);
}

static void print_head(const sweeping *s)
{
    bool gpus = galv_cli_given(s->cli, GALV_OPTION_GPU);
    char batch[32], tokens[32], sequence[32], global_batch[96];
    const galv_workload *w = &s->points[0].job->workload;
    galv_print(s->cli, "galvatron-sim %s   %s on %s\n", GALV_VERSION,
               s->setup.job.model.name,
               gpus              ? "each GPU in its usual node"
               : has_clusters(s) ? "several clusters"
                                 : s->clusters[0].name);
    snprintf(sequence, sizeof sequence, "seq %d", w->seq_length);
    snprintf(global_batch, sizeof global_batch, "global batch %s (%s tokens)%s",
             galv_print_count(batch, sizeof batch, w->global_batch_size),
             galv_print_si(tokens, sizeof tokens,
                           (double)w->global_batch_size * w->seq_length),
             galv_cli_given(s->cli, GALV_OPTION_GLOBAL_BATCH) ? "" : " everywhere");
    galv_report_parts(s->cli, s->jobs.n_seq_lengths > 1 ? "" : sequence,
                      s->jobs.n_batches > 1 ? "" : global_batch,
                      galv_precision_names[w->precision], (char *)NULL);
    galv_report_changes(s->cli);
    galv_print(s->cli, "\n");
}

/* "batch 64, limit 20.0 GiB: " */
static void say_job(galv_text *line, const sweeping *s, const galv_sweep_point *p)
{
    const galv_workload *w = &p->job->workload;
    char text[32];
    if (s->jobs.n_seq_lengths > 1) {
        galv_text_printf(line, "seq %d: ", (int)w->seq_length);
    }
    if (s->jobs.n_limits > 1) {
        galv_text_printf(line, "limit %s: ",
                         galv_print_bytes(text, sizeof text, w->memory_limit_bytes));
    }
    if (s->jobs.n_batches > 1) {
        galv_text_printf(line, "batch %lld: ", (long long)w->global_batch_size);
    }
}

static void print_sweep(const sweeping *s)
{
    print_head(s);
    print_table(s);
    for (size_t i = 0; i < s->n_points; i++) {
        const galv_sweep_point *p = &s->points[i];
        if (p->status != GALV_OK) {
            galv_text line = GALV_TEXT_INIT;
            galv_text_printf(&line, "%d x %s: ", p->n_nodes, p->cluster);
            say_job(&line, s, p);
            galv_text_printf(&line, "%s", p->why_not);
            galv_text wrapped = GALV_TEXT_INIT;
            galv_help_wrap(&wrapped, galv_text_string(&line), 0, 80);
            galv_print(s->cli, "%s", galv_text_string(&wrapped));
            galv_text_release(&wrapped);
            galv_text_release(&line);
        }
    }
    if (s->interrupted) {
        galv_print(s->cli, "interrupted: %zu of %zu points\n", s->n_points,
                   s->jobs.n_jobs);
    }
}

/* ---- for programs ---- */

static void put_known(galv_json_writer *writer, const char *key, double value)
{
    galv_json_put_key(writer, key);
    if (value > 0) {
        galv_json_put_f64(writer, value);
    } else {
        galv_json_put_null(writer);
    }
}

static void put_point(galv_json_writer *writer, const sweeping *s,
                      const galv_sweep_point *p)
{
    galv_json_begin_object(writer, false);
    galv_json_key_i64(writer, "nodes", p->n_nodes);
    galv_json_key_i64(writer, "gpus", p->n_devices);
    galv_json_key_string(writer, "gpu", p->device);
    galv_json_key_string(writer, "cluster", p->cluster);
    galv_json_key_string(writer, "series", series_of(s, p));
    galv_json_key_i64(writer, "seq_length", p->job->workload.seq_length);
    galv_json_key_i64(writer, "global_batch_size", p->job->workload.global_batch_size);
    galv_json_key_f64(writer, "memory_limit_bytes_asked",
                      p->job->workload.memory_limit_bytes);
    if (p->status != GALV_OK) {
        galv_json_key_bool(writer, "fits", false);
        galv_json_key_string(writer, "why_not", p->why_not);
    } else {
        char line[160];
        galv_json_key_string(writer, "name",
                             galv_plan_print(line, sizeof line, p->plan));
        put_known(writer, "usd_per_hour", p->usd_per_hour);
        put_known(writer, "days", p->days);
        put_known(writer, "usd", p->usd);
        put_known(writer, "usd_per_tokens", p->usd_per_tokens);
        galv_json_key_f64(writer, "scaling_frac", p->scaling_frac);
        galv_json_key_bool(writer, "on_front", p->on_front);
        galv_prediction_to_json(&p->result, p->job, p->plan, writer);
    }
    galv_json_end_object(writer);
}

static galv_status document(galv_text *out, const sweeping *s, galv_err *err)
{
    galv_json_writer writer;
    galv_json_writer_init(&writer, out);
    galv_json_begin_object(&writer, false);
    galv_json_put_head(&writer, "sweep");
    galv_config_to_json(s->cli, &s->setup, &writer);
    galv_json_put_key(&writer, "points");
    galv_json_begin_array(&writer, false);
    for (size_t i = 0; i < s->n_points; i++) {
        put_point(&writer, s, &s->points[i]);
    }
    galv_json_end_array(&writer);
    galv_json_put_key(&writer, "pareto"); /* indices into points */
    galv_json_begin_array(&writer, true);
    for (size_t i = 0; i < s->n_points; i++) {
        if (s->points[i].on_front) {
            galv_json_put_i64(&writer, (int64_t)i);
        }
    }
    galv_json_end_array(&writer);
    galv_json_key_bool(&writer, "interrupted", s->interrupted);
    galv_json_end_object(&writer);
    return galv_json_finish(&writer, err);
}

static void put_csv(galv_text *out, const sweeping *s)
{
    galv_text_append(out, "nodes,gpus,gpu,cluster,seq_length,global_batch_size,"
                          "memory_limit_bytes,fits,plan,iteration_time_s,"
                          "tokens_per_s,tokens_per_s_per_gpu,scaling_frac,mfu,"
                          "peak_memory_bytes,usd_per_hour,days,usd,usd_per_tokens,"
                          "on_front,why_not\n");
    for (size_t i = 0; i < s->n_points; i++) {
        const galv_sweep_point *p = &s->points[i];
        bool ok = p->status == GALV_OK;
        char line[160] = "";
        galv_csv_put_i64(out, p->n_nodes, true);
        galv_csv_put_i64(out, p->n_devices, false);
        galv_csv_put(out, p->device, false);
        galv_csv_put(out, p->cluster, false);
        galv_csv_put_i64(out, p->job->workload.seq_length, false);
        galv_csv_put_i64(out, p->job->workload.global_batch_size, false);
        galv_csv_put_f64(out, p->job->workload.memory_limit_bytes, false);
        galv_csv_put_i64(out, ok ? 1 : 0, false);
        galv_csv_put(out, ok ? galv_plan_print(line, sizeof line, p->plan) : "", false);
        const double values[] = {p->result.iteration_time_s,
                                 p->result.tokens_per_s,
                                 p->result.tokens_per_s_per_gpu,
                                 p->scaling_frac,
                                 p->result.mfu,
                                 p->result.peak_memory_bytes,
                                 p->usd_per_hour,
                                 p->days,
                                 p->usd,
                                 p->usd_per_tokens};
        for (size_t k = 0; k < sizeof values / sizeof values[0]; k++) {
            if (ok && values[k] > 0) {
                galv_csv_put_f64(out, values[k], false);
            } else {
                galv_csv_put(out, "", false);
            }
        }
        galv_csv_put_i64(out, p->on_front ? 1 : 0, false);
        galv_csv_put(out, ok ? "" : p->why_not, false);
        galv_text_append(out, "\n");
    }
}

/* ---- files ---- */

/* One cluster, many conditions: a map of two of them, the batch (or the sequence
 * length) and the memory limit. A point's place follows from the order of the jobs. */
static galv_status draw_map(const sweeping *s, const char *path, galv_err *err)
{
    galv_arena *arena = s->cli->arena;
    bool by_length = s->jobs.n_batches == 1 && s->jobs.n_seq_lengths > 1;
    size_t n_columns = by_length ? s->jobs.n_seq_lengths : s->jobs.n_batches;
    size_t n_rows = s->jobs.n_limits;
    galv_map_cell *cells = GALV_NEW_ARRAY(arena, galv_map_cell, n_rows * n_columns);
    const char **columns = GALV_NEW_ARRAY(arena, const char *, n_columns);
    const char **rows = GALV_NEW_ARRAY(arena, const char *, n_rows);
    if (cells == NULL || columns == NULL || rows == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < s->n_points; i++) {
        const galv_sweep_point *p = &s->points[i];
        const galv_workload *w = &p->job->workload;
        size_t column = by_length ? i / n_rows : i % n_columns;
        size_t row = by_length ? i % n_rows : i / n_columns;
        char text[160], rate[32];
        columns[column] = galv_arena_strdup(
            arena, galv_print_count(text, sizeof text,
                                    by_length ? w->seq_length : w->global_batch_size));
        rows[row] = galv_arena_strdup(
            arena, w->memory_limit_bytes > 0
                       ? galv_print_bytes(text, sizeof text, w->memory_limit_bytes)
                       : "all of it");
        if (p->status == GALV_OK) {
            galv_map_cell *cell = &cells[row * n_columns + column];
            cell->plan =
                galv_arena_strdup(arena, galv_plan_print(text, sizeof text, p->plan));
            snprintf(
                text, sizeof text, "%s tok/s/GPU",
                galv_print_number(rate, sizeof rate, p->result.tokens_per_s_per_gpu));
            cell->value = galv_arena_strdup(arena, text);
        }
    }
    char title[160];
    snprintf(title, sizeof title, "Best plans for %s on %d x %s",
             s->setup.job.model.name, (int)s->points[0].n_nodes, s->points[0].cluster);
    galv_plan_map map = {.title = title,
                         .x_title = by_length ? "sequence length (tokens)"
                                              : "global batch (samples)",
                         .y_title = "memory budget of one GPU",
                         .n_columns = n_columns,
                         .n_rows = n_rows,
                         .columns = columns,
                         .rows = rows,
                         .cells = cells};
    galv_figure_options figure = GALV_FIGURE_OPTIONS_INIT;
    figure.footer = GALV_FOOTER;
    return galv_plan_map_draw(&map, path, &figure, err);
}

static galv_status draw(const sweeping *s, const char *path, galv_err *err)
{
    bool two_of_three = s->jobs.n_batches == 1 || s->jobs.n_seq_lengths == 1;
    if (s->n_clusters == 1 && s->jobs.n_jobs > 1 && two_of_three &&
        s->n_points == s->jobs.n_jobs) {
        return draw_map(s, path, err);
    }
    galv_figure_options figure = GALV_FIGURE_OPTIONS_INIT;
    figure.footer = GALV_FOOTER;
    galv_scaling_point *rows =
        GALV_NEW_ARRAY(s->cli->arena, galv_scaling_point, s->n_points + 1);
    if (rows == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    size_t n = 0;
    for (size_t i = 0; i < s->n_points; i++) {
        const galv_sweep_point *p = &s->points[i];
        char line[160];
        if (p->status == GALV_OK) {
            rows[n++] = (galv_scaling_point){
                (int32_t)p->n_devices, p->result.tokens_per_s, p->result.mfu,
                galv_arena_strdup(s->cli->arena,
                                  galv_plan_print(line, sizeof line, p->plan)),
                series_of(s, p)};
        }
    }
    char title[128];
    snprintf(title, sizeof title, "Scaling of %s", s->setup.job.model.name);
    return galv_scaling_draw(rows, n, title, path, &figure, err);
}

static galv_status write_one(const sweeping *s, const char *path, galv_err *err)
{
    galv_status status = GALV_OK;
    galv_text text = GALV_TEXT_INIT;
    if (galv_path_has_extension(path, ".json")) {
        status = document(&text, s, err);
    } else if (galv_path_has_extension(path, ".csv")) {
        put_csv(&text, s);
    }
    if (status == GALV_OK) {
        status = text.length > 0
                     ? galv_file_write(path, galv_text_string(&text), text.length, err)
                     : draw(s, path, err);
    }
    galv_text_release(&text);
    if (status == GALV_OK) {
        galv_cli_wrote(s->cli, path);
    }
    return status;
}

static galv_status write_files(const sweeping *s, galv_err *err)
{
    static const char *const names[] = {"sweep.json", "sweep.csv", "sweep.png"};
    if (s->target.file != NULL) {
        return write_one(s, s->target.file, err);
    }
    galv_status status = galv_folder_make(s->target.folder, err);
    for (int i = 0; status == GALV_OK && i < 3; i++) {
        const char *path = galv_path_join(s->cli->arena, s->target.folder, names[i]);
        status = path == NULL ? galv_fail(err, GALV_NO_MEMORY, "out of memory")
                              : write_one(s, path, err);
    }
    return status;
}

/* ---- the command ---- */

static galv_status run_sweep(sweeping *s, galv_err *err)
{
    galv_progress progress;
    galv_progress_begin(&progress, s->cli);
    s->options.cancel = galv_interrupt_watch();
    s->options.progress = galv_progress_show;
    s->options.progress_context = &progress;
    galv_status status =
        galv_sweep(&s->points, &s->n_points, s->jobs.jobs, s->jobs.n_jobs,
                   s->setup.profile, &s->space, &s->options, s->cli->arena, err);
    galv_progress_end(&progress);
    if (status == GALV_INTERRUPTED && s->n_points > 0) {
        s->interrupted = true;
        *err = (galv_err)GALV_ERR_INIT;
        return GALV_OK;
    }
    return status;
}

static galv_status need_one_that_fits(const sweeping *s, galv_err *err)
{
    for (size_t i = 0; i < s->n_points; i++) {
        if (s->points[i].status == GALV_OK) {
            return GALV_OK;
        }
    }
    galv_status status = s->n_points > 0 ? s->points[0].status : GALV_INFEASIBLE;
    galv_fail(err, status, "%s", s->n_points > 0 ? s->points[0].why_not : "no points");
    if (s->n_points > 1) {
        galv_hint(err, "this is the first of %zu points; none has a plan", s->n_points);
    }
    return status;
}

static galv_status sweep_it(sweeping *s, galv_err *err)
{
    galv_status status = run_sweep(s, err);
    if (status == GALV_OK) {
        status = need_one_that_fits(s, err);
    }
    if (status != GALV_OK) {
        return status;
    }
    if (galv_cli_given(s->cli, GALV_OPTION_JSON)) {
        *s->cli->out_is_data = true;
        status = document(s->cli->out, s, err);
    } else if (galv_cli_given(s->cli, GALV_OPTION_CSV)) {
        *s->cli->out_is_data = true;
        put_csv(s->cli->out, s);
    } else {
        print_sweep(s);
    }
    return status == GALV_OK && s->target.given ? write_files(s, err) : status;
}

int galv_cmd_sweep(const galv_cli *cli)
{
    sweeping s = {.cli = cli};
    galv_err err = GALV_ERR_INIT;
    galv_status status = read_input(&s, &err);
    if (status == GALV_OK && galv_cli_given(cli, GALV_OPTION_PRINT_CONFIG)) {
        status = galv_config_print(cli, &s.setup, &err);
    } else if (status == GALV_OK) {
        status = sweep_it(&s, &err);
    }
    galv_setup_release(&s.setup);
    if (status != GALV_OK) {
        return galv_cli_fail(cli, &err);
    }
    return s.interrupted ? galv_status_exit_code(GALV_INTERRUPTED) : 0;
}

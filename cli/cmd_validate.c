/* validate: predicted beside measured.
 *
 * Every case is predicted by the same model with the same factors; a case that cannot
 * be predicted is counted and named, never dropped in silence. Errors are relative:
 * predicted / measured - 1. */
#include "base/csv.h"
#include "base/file.h"
#include "base/units.h"
#include "cli/help.h"
#include "cli/job.h"
#include "cli/measured.h"
#include "cli/output.h"
#include "cli/report.h"
#include "sim/validation.h"
#include "viz/accuracy_figure.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOTHING ((double)NAN)

typedef struct validating {
    const galv_cli *cli;
    galv_setup setup; /* only its profile is used */
    galv_target target;
    int n_jobs;
    galv_case *cases;
    size_t n_cases;
    galv_validation validation;
} validating;

/* ---- input ---- */

static galv_status add_cases(validating *v, const char *path, galv_err *err)
{
    galv_case *more = NULL;
    size_t n = 0;
    galv_status status = galv_cases_read(&more, &n, path, v->cli->arena, err);
    if (status != GALV_OK) {
        return status;
    }
    galv_case *all = GALV_NEW_ARRAY(v->cli->arena, galv_case, v->n_cases + n + 1);
    if (all == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    if (v->n_cases > 0) {
        memcpy(all, v->cases, v->n_cases * sizeof all[0]);
    }
    if (n > 0) {
        memcpy(all + v->n_cases, more, n * sizeof all[0]);
    }
    v->cases = all;
    v->n_cases += n;
    return GALV_OK;
}

static galv_status read_profiles(validating *v, galv_err *err)
{
    galv_status status = GALV_OK;
    for (size_t i = 0; status == GALV_OK; i++) {
        const char *path = galv_cli_repeated(v->cli, GALV_OPTION_PROFILE, i);
        if (path == NULL) {
            break;
        }
        if (v->setup.profile == NULL) {
            v->setup.profile = galv_profile_new();
        }
        status = v->setup.profile == NULL
                     ? galv_fail(err, GALV_NO_MEMORY, "out of memory")
                     : galv_profile_read(v->setup.profile, path, err);
    }
    return status;
}

static galv_status read_input(validating *v, galv_err *err)
{
    const galv_cli *cli = v->cli;
    galv_status status =
        galv_target_read(&v->target, cli, ".png .svg .pdf .csv .json", false, err);
    if (status == GALV_OK) {
        status = galv_jobs_read(&v->n_jobs, cli, err);
    }
    if (status == GALV_OK && cli->n_arguments == 0 &&
        !galv_cli_given(cli, GALV_OPTION_CASES)) {
        galv_fail(err, GALV_USAGE, "'validate' needs measured cases");
        galv_hint(err, "for example: galvatron-sim validate --cases measured.csv");
        return GALV_USAGE;
    }
    for (size_t i = 0; status == GALV_OK; i++) {
        const char *path = galv_cli_repeated(cli, GALV_OPTION_CASES, i);
        if (path == NULL) {
            break;
        }
        status = add_cases(v, path, err);
    }
    for (size_t i = 0; status == GALV_OK && i < cli->n_arguments; i++) {
        status = add_cases(v, cli->arguments[i], err);
    }
    return status == GALV_OK ? read_profiles(v, err) : status;
}

/* ---- sums by source ---- */

typedef struct source_sum {
    const char *source;
    size_t n, n_failed, n_within;
    size_t n_memory;
    double abs_sum, sum, worst, memory_abs_sum;
    double *sizes; /* |error| of each, for the percentile */
} source_sum;

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The smallest size that at least 90 % do not exceed. */
static double percentile_90(double *sizes, size_t n)
{
    if (n == 0) {
        return NOTHING;
    }
    qsort(sizes, n, sizeof sizes[0], by_size);
    size_t index = (size_t)ceil(0.9 * (double)n);
    return sizes[index > 0 ? index - 1 : 0];
}

static void add_case(source_sum *sum, const galv_validated_case *c)
{
    if (isfinite(c->memory_error_frac) && c->status == GALV_OK) {
        sum->n_memory++;
        sum->memory_abs_sum += fabs(c->memory_error_frac);
    }
    if (c->status != GALV_OK) {
        sum->n_failed++;
        return;
    }
    if (!isfinite(c->error_frac)) {
        return;
    }
    double size = fabs(c->error_frac);
    sum->sizes[sum->n++] = size;
    sum->abs_sum += size;
    sum->sum += c->error_frac;
    sum->n_within += size <= 0.1;
    if (size > fabs(sum->worst)) {
        sum->worst = c->error_frac;
    }
}

static galv_status sum_up(source_sum **sums, size_t *n_sums, const validating *v,
                          galv_err *err)
{
    size_t n_cases = v->validation.n_cases;
    source_sum *made = GALV_NEW_ARRAY(v->cli->arena, source_sum, n_cases + 1);
    if (made == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    size_t n = 0;
    for (size_t i = 0; i < n_cases; i++) {
        const galv_validated_case *c = &v->validation.cases[i];
        size_t k = 0;
        while (k < n && strcmp(made[k].source, c->measured->source) != 0) {
            k++;
        }
        if (k == n) {
            made[n].source = c->measured->source;
            made[n].sizes = GALV_NEW_ARRAY(v->cli->arena, double, n_cases);
            if (made[n++].sizes == NULL) {
                return galv_fail(err, GALV_NO_MEMORY, "out of memory");
            }
        }
        add_case(&made[k], c);
    }
    *sums = made;
    *n_sums = n;
    return GALV_OK;
}

/* ---- for people ---- */

static void cell_percent(galv_table *table, double frac)
{
    if (isfinite(frac)) {
        galv_table_cell(table, "%.1f", 100 * frac);
    } else {
        galv_table_cell(table, "-");
    }
}

static void add_row(galv_table *table, const char *name, source_sum *sum)
{
    double n = (double)sum->n;
    galv_table_row(table);
    galv_table_cell(table, "%s", name);
    galv_table_cell(table, "%zu", sum->n);
    cell_percent(table, sum->n > 0 ? sum->abs_sum / n : NOTHING);
    cell_percent(table, sum->n > 0 ? sum->sum / n : NOTHING);
    cell_percent(table, percentile_90(sum->sizes, sum->n));
    cell_percent(table, sum->n > 0 ? sum->worst : NOTHING);
    galv_table_cell(table, "%zu/%zu", sum->n_within, sum->n);
    cell_percent(table, sum->n_memory > 0 ? sum->memory_abs_sum / (double)sum->n_memory
                                          : NOTHING);
    galv_table_cell(table, "%zu", sum->n_memory);
    galv_table_cell(table, "%zu", sum->n_failed);
}

static galv_status print_sources(const validating *v, galv_err *err)
{
    static const galv_column columns[] = {
        {"source", "", true, 0, 28},  {"n", "", false, 0, 0},
        {"MAPE", "%", false, 0, 0},   {"bias", "%", false, 0, 0},
        {"P90", "%", false, 1, 0},    {"worst", "%", false, 1, 0},
        {"<= 10 %", "", false, 1, 0}, {"memory", "%", false, 2, 0},
        {"n mem", "", false, 4, 0},   {"failed", "", false, 3, 0}};
    source_sum *sums = NULL;
    size_t n = 0;
    galv_status status = sum_up(&sums, &n, v, err);
    if (status != GALV_OK) {
        return status;
    }
    source_sum all = {.source = "all"};
    all.sizes = GALV_NEW_ARRAY(v->cli->arena, double, v->validation.n_cases + 1);
    if (all.sizes == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < v->validation.n_cases; i++) {
        add_case(&all, &v->validation.cases[i]);
    }
    galv_table table;
    galv_table_init(&table, v->cli->arena, columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < n; i++) {
        add_row(&table, sums[i].source, &sums[i]);
    }
    if (n > 1) {
        add_row(&table, "all", &all);
    }
    galv_cli_print_table(v->cli, &table);
    galv_print(v->cli,
               "error = predicted / measured - 1 of the iteration time; MAPE its mean "
               "size\n");
    return GALV_OK;
}

static void print_details(const validating *v)
{
    static const galv_column columns[] = {
        {"case", "", true, 0, 20},        {"measured", "s", false, 0, 0},
        {"predicted", "s", false, 0, 0},  {"error", "%", false, 0, 0},
        {"measured", "GiB", false, 1, 0}, {"predicted", "GiB", false, 1, 0},
        {"error", "%", false, 1, 0}};
    galv_table table;
    galv_table_init(&table, v->cli->arena, columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < v->validation.n_cases; i++) {
        const galv_validated_case *c = &v->validation.cases[i];
        char text[32];
        if (c->status != GALV_OK) {
            continue;
        }
        galv_table_row(&table);
        galv_table_cell(&table, "%s", c->measured->case_id);
        galv_table_cell(
            &table, "%s",
            c->measured->iteration_time_s > 0
                ? galv_print_number(text, sizeof text, c->measured->iteration_time_s)
                : "-");
        galv_table_cell(
            &table, "%s",
            galv_print_number(text, sizeof text, c->predicted_iteration_time_s));
        cell_percent(&table, c->error_frac);
        galv_table_cell(&table, "%s",
                        c->measured->peak_memory_bytes > 0
                            ? galv_print_number(text, sizeof text,
                                                c->measured->peak_memory_bytes / 0x1p30)
                            : "-");
        galv_table_cell(&table, "%s",
                        galv_print_number(text, sizeof text,
                                          c->predicted_peak_memory_bytes / 0x1p30));
        cell_percent(&table, c->memory_error_frac);
    }
    galv_cli_print_table(v->cli, &table);
    bool titled = false;
    for (size_t i = 0; i < v->validation.n_cases; i++) {
        const galv_validated_case *c = &v->validation.cases[i];
        if (c->status != GALV_OK) {
            galv_print(v->cli, "%s", titled ? "" : "\nnot predicted\n");
            galv_help_wrap(v->cli->out, c->why_not, 2, 79);
            titled = true;
        }
    }
    galv_print(v->cli, "\n");
}

/* ---- for programs ---- */

static void put_number(galv_json_writer *writer, const char *key, double value)
{
    galv_json_key_f64(writer, key, value); /* NaN becomes null */
}

static void put_case(galv_json_writer *writer, const galv_validated_case *c)
{
    const galv_case *m = c->measured;
    bool ok = c->status == GALV_OK;
    galv_json_begin_object(writer, false);
    galv_json_key_string(writer, "case_id", m->case_id);
    galv_json_key_string(writer, "source", m->source);
    put_number(writer, "measured_iteration_time_s",
               m->iteration_time_s > 0 ? m->iteration_time_s : NOTHING);
    put_number(writer, "predicted_iteration_time_s",
               ok ? c->predicted_iteration_time_s : NOTHING);
    put_number(writer, "measured_peak_memory_bytes",
               m->peak_memory_bytes > 0 ? m->peak_memory_bytes : NOTHING);
    put_number(writer, "predicted_peak_memory_bytes",
               ok ? c->predicted_peak_memory_bytes : NOTHING);
    put_number(writer, "error", ok ? c->error_frac : NOTHING);
    put_number(writer, "memory_error", ok ? c->memory_error_frac : NOTHING);
    if (!ok) {
        galv_json_key_string(writer, "why_not", c->why_not);
    }
    galv_json_end_object(writer);
}

static galv_status document(galv_text *out, const validating *v, galv_err *err)
{
    const galv_validation *a = &v->validation;
    galv_json_writer writer;
    galv_json_writer_init(&writer, out);
    galv_json_begin_object(&writer, false);
    galv_json_put_head(&writer, "validate");
    galv_json_put_key(&writer, "cases");
    galv_json_begin_array(&writer, false);
    for (size_t i = 0; i < a->n_cases; i++) {
        put_case(&writer, &a->cases[i]);
    }
    galv_json_end_array(&writer);
    galv_json_key_i64(&writer, "n_timed", (int64_t)a->n_timed);
    put_number(&writer, "mape_frac", a->mape_frac);
    put_number(&writer, "bias_frac", a->bias_frac);
    put_number(&writer, "p90_frac", a->p90_frac);
    put_number(&writer, "worst_frac", a->worst_frac);
    galv_json_key_i64(&writer, "n_memory", (int64_t)a->n_memory);
    put_number(&writer, "memory_mape_frac", a->memory_mape_frac);
    galv_json_end_object(&writer);
    return galv_json_finish(&writer, err);
}

static void put_csv(galv_text *out, const validating *v)
{
    galv_text_append(out, "case_id,source,measured_iteration_time_s,"
                          "predicted_iteration_time_s,error,measured_peak_memory_bytes,"
                          "predicted_peak_memory_bytes,memory_error,why_not\n");
    for (size_t i = 0; i < v->validation.n_cases; i++) {
        const galv_validated_case *c = &v->validation.cases[i];
        bool ok = c->status == GALV_OK;
        const galv_case *m = c->measured;
        galv_csv_put(out, m->case_id, true);
        galv_csv_put(out, m->source, false);
        galv_csv_put_f64(out, m->iteration_time_s > 0 ? m->iteration_time_s : NOTHING,
                         false);
        galv_csv_put_f64(out, ok ? c->predicted_iteration_time_s : NOTHING, false);
        galv_csv_put_f64(out, ok ? c->error_frac : NOTHING, false);
        galv_csv_put_f64(out, m->peak_memory_bytes > 0 ? m->peak_memory_bytes : NOTHING,
                         false);
        galv_csv_put_f64(out, ok ? c->predicted_peak_memory_bytes : NOTHING, false);
        galv_csv_put_f64(out, ok ? c->memory_error_frac : NOTHING, false);
        galv_csv_put(out, ok ? "" : c->why_not, false);
        galv_text_append(out, "\n");
    }
}

/* ---- files ---- */

static galv_status draw(const validating *v, galv_err *err)
{
    galv_figure_options figure = GALV_FIGURE_OPTIONS_INIT;
    figure.footer = GALV_FOOTER;
    galv_accuracy_point *points =
        GALV_NEW_ARRAY(v->cli->arena, galv_accuracy_point, v->validation.n_cases + 1);
    if (points == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    size_t n = 0;
    for (size_t i = 0; i < v->validation.n_cases; i++) {
        const galv_validated_case *c = &v->validation.cases[i];
        if (c->status == GALV_OK && c->measured->iteration_time_s > 0) {
            points[n++] = (galv_accuracy_point){
                c->measured->iteration_time_s, c->predicted_iteration_time_s,
                c->measured->source, c->measured->case_id};
        }
    }
    return galv_accuracy_draw(points, n, "Predicted and measured iteration time",
                              v->target.file, &figure, err);
}

static galv_status write_file(const validating *v, galv_err *err)
{
    if (galv_target_is_picture(&v->target)) {
        return draw(v, err);
    }
    galv_text text = GALV_TEXT_INIT;
    galv_status status = GALV_OK;
    if (galv_target_is(&v->target, ".json")) {
        status = document(&text, v, err);
    } else {
        put_csv(&text, v);
    }
    if (status == GALV_OK) {
        status =
            galv_file_write(v->target.file, galv_text_string(&text), text.length, err);
    }
    galv_text_release(&text);
    return status;
}

/* ---- the command ---- */

static galv_status validate_it(validating *v, galv_err *err)
{
    galv_status status = galv_validate(&v->validation, v->cases, v->n_cases,
                                       v->setup.profile, v->n_jobs, v->cli->arena, err);
    if (status != GALV_OK) {
        return status;
    }
    if (galv_cli_given(v->cli, GALV_OPTION_JSON)) {
        *v->cli->out_is_data = true;
        status = document(v->cli->out, v, err);
    } else if (galv_cli_given(v->cli, GALV_OPTION_CSV)) {
        *v->cli->out_is_data = true;
        put_csv(v->cli->out, v);
    } else {
        if (galv_cli_given(v->cli, GALV_OPTION_DETAILS)) {
            print_details(v);
        }
        status = print_sources(v, err);
    }
    if (status == GALV_OK && v->target.given) {
        status = write_file(v, err);
        if (status == GALV_OK) {
            galv_cli_wrote(v->cli, v->target.file);
        }
    }
    return status;
}

/* A gate with nothing to measure must not pass. */
static galv_status check_tolerance(const galv_cli *cli, size_t n, double error_frac,
                                   galv_err *err)
{
    double tolerance = -1;
    galv_status status =
        galv_cli_number(&tolerance, cli, GALV_OPTION_TOLERANCE, 0, 1e6, err);
    if (status != GALV_OK || tolerance < 0) {
        return status;
    }
    if (n == 0) {
        return galv_fail(err, GALV_TOLERANCE, "no case could be compared");
    }
    double percent = 100 * fabs(error_frac);
    if (!(percent <= tolerance)) {
        return galv_fail(err, GALV_TOLERANCE,
                         "the mean error of %.1f %% is over the tolerance of %g %%",
                         percent, tolerance);
    }
    return GALV_OK;
}

/* PLAN.json MEASURED.csv: two timelines instead of a table of cases. */
static int validate_timeline(const galv_cli *cli)
{
    galv_err err = GALV_ERR_INIT;
    double error_frac = 0;
    check_tolerance(cli, 1, 0, &err); /* a wrong option is told before any work */
    if (err.status == GALV_OK) {
        galv_measured_compare(&error_frac, cli, cli->arguments[0], cli->arguments[1],
                              &err);
    }
    if (err.status != GALV_OK) {
        return galv_cli_fail(cli, &err);
    }
    check_tolerance(cli, 1, error_frac, &err);
    return galv_cli_conclude(cli, &err);
}

int galv_cmd_validate(const galv_cli *cli)
{
    if (cli->n_arguments == 2 && galv_path_has_extension(cli->arguments[0], ".json")) {
        return validate_timeline(cli);
    }
    validating v = {.cli = cli};
    galv_err err = GALV_ERR_INIT;
    galv_status status = check_tolerance(cli, 1, 0, &err);
    if (status == GALV_OK) {
        status = read_input(&v, &err);
    }
    if (status == GALV_OK) {
        status = validate_it(&v, &err);
    }
    galv_setup_release(&v.setup);
    if (status != GALV_OK) {
        return galv_cli_fail(cli, &err);
    }
    check_tolerance(cli, v.validation.n_timed, v.validation.mape_frac, &err);
    return galv_cli_conclude(cli, &err);
}

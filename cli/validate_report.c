/* Predicted beside measured, on paper.
 *
 * A case that cannot be predicted is counted and named, never dropped in silence; one
 * without a measurement is predicted and listed all the same. Errors are relative:
 * predicted / measured - 1. */
#include "cli/validate_report.h"

#include "base/csv.h"
#include "base/units.h"
#include "cli/help.h"

#include <math.h>
#include <string.h>

#define NOTHING     ((double)NAN)
#define ID_WIDTH    24
#define SHOWN_CASES 20 /* of those without a measurement or a prediction */

galv_status galv_validate_intervals(galv_interval **intervals,
                                    galv_interval **memory_intervals,
                                    const galv_cli *cli,
                                    const galv_validation *validation, galv_err *err)
{
    galv_residuals residuals;
    galv_interval *made =
        GALV_NEW_ARRAY(cli->arena, galv_interval, validation->n_cases);
    galv_interval *of_memory =
        GALV_NEW_ARRAY(cli->arena, galv_interval, validation->n_cases);
    galv_status status = galv_residuals_builtin(&residuals, cli->arena, err);
    if (made == NULL || of_memory == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < validation->n_cases && status == GALV_OK; i++) {
        const galv_validated_case *c = &validation->cases[i];
        if (c->kind.words[GALV_FEATURE_SOFTWARE][0] != '\0') {
            galv_left_out left_out = {c->source, NULL};
            galv_interval_find(&made[i], &residuals, &c->kind, &left_out);
            galv_memory_interval_find(&of_memory[i], &residuals, &c->kind,
                                      c->measured->memory_kind, &left_out);
        }
    }
    *intervals = made;
    *memory_intervals = of_memory;
    return status;
}

/* ---- tables ---- */

static void cell_percent(galv_table *table, double frac)
{
    if (isfinite(frac)) {
        galv_table_cell(table, "%.1f", 100 * frac);
    } else {
        galv_table_cell(table, "-");
    }
}

static void cell_number(galv_table *table, double value)
{
    char text[32];
    if (value > 0) {
        galv_table_cell(table, "%s", galv_print_number(text, sizeof text, value));
    } else {
        galv_table_cell(table, "-");
    }
}

/* The end of an id tells cases apart. */
static void cell_id(galv_table *table, const char *id)
{
    size_t length = strlen(id);
    if (length <= ID_WIDTH) {
        galv_table_cell(table, "%s", id);
    } else {
        galv_table_cell(table, "..%s", id + length - (ID_WIDTH - 2));
    }
}

static void add_sum(galv_table *table, const galv_error_sum *sum)
{
    galv_table_row(table);
    galv_table_cell(table, "%s", sum->name[0] != '\0' ? sum->name : "(not stated)");
    galv_table_cell(table, "%zu", sum->n_timed);
    cell_percent(table, sum->mape_frac);
    cell_percent(table, sum->bias_frac);
    cell_percent(table, sum->p90_frac);
    cell_percent(table, sum->worst_frac);
    galv_table_cell(table, "%zu/%zu", sum->n_within, sum->n_timed);
    cell_percent(table, sum->memory_mape_frac);
    cell_percent(table, sum->memory_bias_frac);
    galv_table_cell(table, "%zu", sum->n_memory);
    galv_table_cell(table, "%zu", sum->n_failed);
}

galv_status galv_validate_print_by(const galv_validate_report *report, int by,
                                   galv_err *err)
{
    const galv_cli *cli = report->cli;
    const galv_column columns[] = {
        {galv_by_name(by), "", true, 0, 28}, {"n", "", false, 0, 0},
        {"MAPE", "%", false, 0, 0},          {"bias", "%", false, 0, 0},
        {"P90", "%", false, 1, 0},           {"worst", "%", false, 1, 0},
        {"<= 10 %", "", false, 1, 0},        {"memory", "%", false, 2, 0},
        {"bias", "%", false, 5, 0},          {"n mem", "", false, 4, 0},
        {"failed", "", false, 3, 0}};
    galv_error_sum *sums = NULL;
    galv_error_sum *all = NULL;
    size_t n = 0;
    size_t n_all = 0;
    galv_status status =
        galv_error_sums(&sums, &n, report->validation, by, cli->arena, err);
    if (status == GALV_OK) {
        status = galv_error_sums(&all, &n_all, report->validation, GALV_BY_ALL,
                                 cli->arena, err);
    }
    if (status != GALV_OK) {
        return status;
    }
    galv_table table;
    galv_table_init(&table, cli->arena, columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < n; i++) {
        add_sum(&table, &sums[i]);
    }
    if (n > 1) {
        add_sum(&table, all);
    }
    galv_cli_print_table(cli, &table);
    return GALV_OK;
}

/* Of cases that were predicted: all, or those that have no measurement at all. */
static void print_predicted(const galv_validate_report *report, bool all, size_t most)
{
    static const galv_column columns[] = {
        {"case", "", true, 0, 0},         {"measured", "s", false, 0, 0},
        {"predicted", "s", false, 0, 0},  {"error", "%", false, 0, 0},
        {"measured", "GiB", false, 1, 0}, {"predicted", "GiB", false, 1, 0},
        {"error", "%", false, 1, 0},      {"90 % from", "s", false, 2, 0},
        {"to", "s", false, 2, 0}};
    const galv_cli *cli = report->cli;
    const galv_validation *v = report->validation;
    size_t n = 0;
    galv_table table;
    galv_table_init(&table, cli->arena, columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < v->n_cases; i++) {
        const galv_validated_case *c = &v->cases[i];
        const galv_interval *interval = &report->intervals[i];
        double predicted_s = c->predicted_iteration_time_s;
        bool measured = !isnan(c->error_frac) || !isnan(c->memory_error_frac);
        if (c->status != GALV_OK || (measured && !all) || n++ >= most) {
            continue;
        }
        galv_table_row(&table);
        cell_id(&table, c->measured->case_id);
        cell_number(&table, c->measured->iteration_time_s);
        cell_number(&table, predicted_s);
        cell_percent(&table, c->error_frac);
        cell_number(&table, c->measured->peak_memory_bytes / 0x1p30);
        cell_number(&table, c->predicted_peak_memory_bytes / 0x1p30);
        cell_percent(&table, c->memory_error_frac);
        cell_number(&table,
                    interval->validated ? predicted_s * (1 + interval->low_frac) : 0);
        cell_number(&table,
                    interval->validated ? predicted_s * (1 + interval->high_frac) : 0);
    }
    if (n == 0) {
        return;
    }
    galv_print(cli, "%s", all ? "" : "predicted, not measured\n");
    galv_cli_print_table(cli, &table);
    if (n > most) {
        galv_print(cli, "and %zu more: --details\n", n - most);
    }
    galv_print(cli, "\n");
}

static void print_failed(const galv_validate_report *report, size_t most)
{
    const galv_validation *v = report->validation;
    size_t n = 0;
    for (size_t i = 0; i < v->n_cases; i++) {
        const galv_validated_case *c = &v->cases[i];
        if (c->status == GALV_OK || n++ >= most) {
            continue;
        }
        galv_print(report->cli, "%s", n == 1 ? "not predicted\n" : "");
        bool named = strstr(c->why_not, c->measured->case_id) != NULL;
        const char *line = galv_arena_printf(report->cli->arena, "%s%s%s",
                                             named ? "" : c->measured->case_id,
                                             named ? "" : ": ", c->why_not);
        galv_help_wrap(report->cli->out, line != NULL ? line : c->why_not, 2, 79);
    }
    if (n > most) {
        galv_print(report->cli, "  and %zu more: --details\n", n - most);
    }
    galv_print(report->cli, "%s", n > 0 ? "\n" : "");
}

void galv_validate_print_cases(const galv_validate_report *report, bool all)
{
    size_t most = all ? SIZE_MAX : SHOWN_CASES;
    print_predicted(report, all, most);
    print_failed(report, most);
}

static void cell_tau(galv_table *table, double tau)
{
    if (isnan(tau)) {
        galv_table_cell(table, "-");
    } else {
        galv_table_cell(table, "%.2f", tau);
    }
}

galv_status galv_validate_print_sweeps(const galv_validate_report *report,
                                       galv_err *err)
{
    static const galv_column columns[] = {{"sweep", "", true, 0, 24},
                                          {"n", "", false, 0, 0},
                                          {"tau", "", false, 0, 0},
                                          {"clear", "tau", false, 0, 0},
                                          {"regret", "%", false, 0, 0},
                                          {"predicted fastest", "", true, 1, 16},
                                          {"measured fastest", "", true, 1, 16}};
    galv_ranking *rankings = NULL;
    size_t n = 0;
    galv_status status =
        galv_rankings(&rankings, &n, report->validation, report->cli->arena, err);
    if (status != GALV_OK) {
        return status;
    }
    galv_table table;
    galv_table_init(&table, report->cli->arena, columns,
                    sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < n; i++) {
        const galv_ranking *r = &rankings[i];
        galv_table_row(&table);
        galv_table_cell(&table, "%s", r->sweep);
        galv_table_cell(&table, "%zu", r->n);
        cell_tau(&table, r->tau);
        cell_tau(&table, r->tau_clear);
        cell_percent(&table, r->regret_frac);
        galv_table_cell(&table, "%s", r->predicted->measured->case_id);
        galv_table_cell(&table, "%s", r->fastest->measured->case_id);
    }
    galv_cli_print_table(report->cli, &table);
    return GALV_OK;
}

/* ---- under the tables ---- */

typedef struct ranking_sum {
    size_t n;
    size_t n_tau; /* sweeps of three runs or more that have a tau */
    double tau, regret, worst_regret;
    size_t n_clear_tau; /* of three runs or more that have a pair told apart */
    double clear_tau;
    size_t n_clear; /* their pairs */
} ranking_sum;

static galv_status sum_rankings(ranking_sum *sum, const galv_validate_report *report,
                                galv_err *err)
{
    galv_ranking *rankings = NULL;
    size_t n = 0;
    galv_status status =
        galv_rankings(&rankings, &n, report->validation, report->cli->arena, err);
    *sum = (ranking_sum){.n = n};
    for (size_t i = 0; i < n && status == GALV_OK; i++) {
        if (rankings[i].n >= 3 && !isnan(rankings[i].tau)) {
            sum->n_tau++;
            sum->tau += rankings[i].tau;
        }
        if (rankings[i].n >= 3 && rankings[i].n_clear > 0) {
            sum->n_clear_tau++;
            sum->n_clear += rankings[i].n_clear;
            sum->clear_tau += rankings[i].tau_clear;
        }
        sum->regret += rankings[i].regret_frac / (double)n;
        sum->worst_regret = fmax(sum->worst_regret, rankings[i].regret_frac);
    }
    sum->tau = sum->n_tau > 0 ? sum->tau / (double)sum->n_tau : NOTHING;
    sum->clear_tau =
        sum->n_clear_tau > 0 ? sum->clear_tau / (double)sum->n_clear_tau : NOTHING;
    return status;
}

static bool lies_inside(double error_frac, const galv_interval *interval)
{
    double ratio = 1 / (1 + error_frac);
    return ratio >= 1 + interval->low_frac && ratio <= 1 + interval->high_frac;
}

/* Of the measured times, or peaks, that have an interval. */
static void count_covered(size_t *n_inside, size_t *n,
                          const galv_validate_report *report, bool memory)
{
    *n_inside = *n = 0;
    for (size_t i = 0; i < report->validation->n_cases; i++) {
        const galv_validated_case *c = &report->validation->cases[i];
        const galv_interval *interval =
            memory ? &report->memory_intervals[i] : &report->intervals[i];
        double error_frac = memory ? c->memory_error_frac : c->error_frac;
        if (interval->validated && !isnan(error_frac)) {
            ++*n;
            *n_inside += lies_inside(error_frac, interval);
        }
    }
}

static size_t count_refitted(const galv_validate_report *report)
{
    size_t n = 0;
    for (size_t i = 0; i < report->validation->n_cases && report->refitted != NULL;
         i++) {
        n += report->refitted[i];
    }
    return n;
}

galv_status galv_validate_print_foot(const galv_validate_report *report, galv_err *err)
{
    const galv_cli *cli = report->cli;
    ranking_sum sum;
    size_t n_inside = 0;
    size_t n = 0;
    galv_status status = sum_rankings(&sum, report, err);
    if (status != GALV_OK) {
        return status;
    }
    galv_print(cli, "error = predicted / measured - 1 of the iteration time; MAPE its "
                    "mean size\n");
    if (sum.n > 0) {
        galv_print(cli, "ranking: %zu sweep%s", sum.n, sum.n == 1 ? "" : "s");
        if (sum.n_tau > 0) {
            galv_print(cli, ", Kendall tau %.2f (mean of the %zu of 3 or more)",
                       sum.tau, sum.n_tau);
        }
        if (sum.n_clear_tau > 0) {
            galv_print(cli,
                       ",\n  %.2f over the %zu pairs that differ by more than noise",
                       sum.clear_tau, sum.n_clear);
        }
        galv_print(cli, ",\n  regret of our winner %.1f %% mean, %.1f %% most\n",
                   100 * sum.regret, 100 * sum.worst_regret);
    }
    count_covered(&n_inside, &n, report, false);
    if (n > 0) {
        galv_print(cli,
                   "intervals: %zu of %zu (%.0f %%) runs lie inside the 90 %% interval "
                   "that\n  runs of other sources give\n",
                   n_inside, n, 100 * (double)n_inside / (double)n);
    }
    if (report->refitted != NULL) {
        galv_print(
            cli,
            "left out: factors fitted anew for %zu of %zu cases; the others have "
            "too few\n  like runs elsewhere and are as built in\n",
            count_refitted(report), report->validation->n_cases);
    }
    return GALV_OK;
}

/* ---- for programs ---- */

static void put_memory_interval(galv_json_writer *writer, const galv_interval *interval,
                                double peak_bytes)
{
    galv_json_put_key(writer, "peak_memory_interval_bytes");
    if (!interval->validated) {
        galv_json_put_null(writer);
        return;
    }
    galv_json_begin_array(writer, true);
    galv_json_put_f64(writer, peak_bytes * (1 + interval->low_frac));
    galv_json_put_f64(writer, peak_bytes * (1 + interval->high_frac));
    galv_json_end_array(writer);
}

static void put_case(galv_json_writer *writer, const galv_validate_report *report,
                     size_t i)
{
    const galv_validated_case *c = &report->validation->cases[i];
    const galv_case *m = c->measured;
    bool ok = c->status == GALV_OK;
    galv_json_begin_object(writer, false);
    galv_json_key_string(writer, "case_id", m->case_id);
    galv_json_key_string(writer, "source", c->source);
    galv_json_key_f64(writer, "measured_iteration_time_s",
                      m->iteration_time_s > 0 ? m->iteration_time_s : NOTHING);
    galv_json_key_f64(writer, "predicted_iteration_time_s",
                      ok ? c->predicted_iteration_time_s : NOTHING);
    galv_json_key_f64(writer, "measured_peak_memory_bytes",
                      m->peak_memory_bytes > 0 ? m->peak_memory_bytes : NOTHING);
    galv_json_key_f64(writer, "predicted_peak_memory_bytes",
                      ok && c->predicted_peak_memory_bytes > 0
                          ? c->predicted_peak_memory_bytes
                          : NOTHING);
    galv_json_key_f64(writer, "error", ok ? c->error_frac : NOTHING);
    galv_json_key_f64(writer, "memory_error", ok ? c->memory_error_frac : NOTHING);
    if (!ok) {
        galv_json_key_string(writer, "why_not", c->why_not);
    } else if (c->kind.words[GALV_FEATURE_SOFTWARE][0] != '\0') {
        galv_json_put_key(writer, "kind");
        galv_json_begin_object(writer, true);
        for (int f = 0; f < GALV_N_FEATURES; f++) {
            galv_json_key_string(writer, galv_feature_names[f], c->kind.words[f]);
        }
        galv_json_key_f64(writer, "host_share", c->kind.host_share);
        galv_json_key_f64(writer, "memory_share", c->kind.memory_share);
        if (c->measured->peak_memory_bytes > 0) {
            galv_json_key_string(writer, "memory_kind", c->measured->memory_kind);
        }
        galv_json_end_object(writer);
        galv_interval_to_json(&report->intervals[i], c->predicted_iteration_time_s,
                              writer);
        put_memory_interval(writer, &report->memory_intervals[i],
                            c->predicted_peak_memory_bytes);
    }
    if (report->refitted != NULL) {
        galv_json_key_bool(writer, "refitted", report->refitted[i]);
    }
    galv_json_end_object(writer);
}

static void put_sums(galv_json_writer *writer, const galv_error_sum *sums, size_t n,
                     int by)
{
    for (size_t i = 0; i < n; i++) {
        const galv_error_sum *s = &sums[i];
        galv_json_begin_object(writer, true);
        galv_json_key_string(writer, "by", galv_by_name(by));
        galv_json_key_string(writer, "name", s->name);
        galv_json_key_i64(writer, "n_cases", (int64_t)s->n_cases);
        galv_json_key_i64(writer, "n_failed", (int64_t)s->n_failed);
        galv_json_key_i64(writer, "n_timed", (int64_t)s->n_timed);
        galv_json_key_f64(writer, "mape_frac", s->mape_frac);
        galv_json_key_f64(writer, "bias_frac", s->bias_frac);
        galv_json_key_f64(writer, "p90_frac", s->p90_frac);
        galv_json_key_f64(writer, "worst_frac", s->worst_frac);
        galv_json_key_i64(writer, "n_memory", (int64_t)s->n_memory);
        galv_json_key_f64(writer, "memory_mape_frac", s->memory_mape_frac);
        galv_json_key_f64(writer, "memory_bias_frac", s->memory_bias_frac);
        galv_json_end_object(writer);
    }
}

static galv_status put_groups(galv_json_writer *writer,
                              const galv_validate_report *report, galv_err *err)
{
    galv_status status = GALV_OK;
    galv_json_put_key(writer, "sums");
    galv_json_begin_array(writer, false);
    for (int by = GALV_BY_SOURCE; by < GALV_N_BYS && status == GALV_OK; by++) {
        galv_error_sum *sums = NULL;
        size_t n = 0;
        status =
            galv_error_sums(&sums, &n, report->validation, by, report->cli->arena, err);
        if (status == GALV_OK) {
            put_sums(writer, sums, n, by);
        }
    }
    galv_json_end_array(writer);
    return status;
}

static galv_status put_rankings(galv_json_writer *writer,
                                const galv_validate_report *report, galv_err *err)
{
    galv_ranking *rankings = NULL;
    size_t n = 0;
    galv_status status =
        galv_rankings(&rankings, &n, report->validation, report->cli->arena, err);
    galv_json_put_key(writer, "sweeps");
    galv_json_begin_array(writer, false);
    for (size_t i = 0; i < n && status == GALV_OK; i++) {
        galv_json_begin_object(writer, true);
        galv_json_key_string(writer, "sweep", rankings[i].sweep);
        galv_json_key_i64(writer, "n", (int64_t)rankings[i].n);
        galv_json_key_f64(writer, "tau", rankings[i].tau);
        galv_json_key_f64(writer, "tau_clear", rankings[i].tau_clear);
        galv_json_key_i64(writer, "n_clear_pairs", (int64_t)rankings[i].n_clear);
        galv_json_key_f64(writer, "regret_frac", rankings[i].regret_frac);
        galv_json_key_string(writer, "predicted_fastest",
                             rankings[i].predicted->measured->case_id);
        galv_json_key_string(writer, "measured_fastest",
                             rankings[i].fastest->measured->case_id);
        galv_json_end_object(writer);
    }
    galv_json_end_array(writer);
    return status;
}

galv_status galv_validate_document(galv_text *out, const galv_validate_report *report,
                                   galv_err *err)
{
    const galv_validation *v = report->validation;
    galv_json_writer writer;
    ranking_sum sum;
    size_t n_inside = 0;
    size_t n = 0;
    galv_json_writer_init(&writer, out);
    galv_json_begin_object(&writer, false);
    galv_json_put_head(&writer, "validate");
    galv_json_put_key(&writer, "cases");
    galv_json_begin_array(&writer, false);
    for (size_t i = 0; i < v->n_cases; i++) {
        put_case(&writer, report, i);
    }
    galv_json_end_array(&writer);
    galv_status status = put_groups(&writer, report, err);
    if (status == GALV_OK) {
        status = put_rankings(&writer, report, err);
    }
    if (status == GALV_OK) {
        status = sum_rankings(&sum, report, err);
    }
    if (status != GALV_OK) {
        return status;
    }
    count_covered(&n_inside, &n, report, false);
    galv_json_key_i64(&writer, "n_timed", (int64_t)v->n_timed);
    galv_json_key_f64(&writer, "mape_frac", v->mape_frac);
    galv_json_key_f64(&writer, "bias_frac", v->bias_frac);
    galv_json_key_f64(&writer, "p90_frac", v->p90_frac);
    galv_json_key_f64(&writer, "worst_frac", v->worst_frac);
    galv_json_key_i64(&writer, "n_memory", (int64_t)v->n_memory);
    galv_json_key_f64(&writer, "memory_mape_frac", v->memory_mape_frac);
    galv_json_key_f64(&writer, "kendall_tau", sum.tau);
    galv_json_key_f64(&writer, "kendall_tau_clear", sum.clear_tau);
    galv_json_key_f64(&writer, "regret_frac", sum.n > 0 ? sum.regret : NOTHING);
    galv_json_key_f64(&writer, "coverage_frac",
                      n > 0 ? (double)n_inside / (double)n : NOTHING);
    galv_json_key_i64(&writer, "n_intervals", (int64_t)n);
    count_covered(&n_inside, &n, report, true);
    galv_json_key_f64(&writer, "memory_coverage_frac",
                      n > 0 ? (double)n_inside / (double)n : NOTHING);
    galv_json_key_i64(&writer, "n_memory_intervals", (int64_t)n);
    if (report->refitted != NULL) {
        galv_json_key_i64(&writer, "n_refitted", (int64_t)count_refitted(report));
    }
    galv_json_end_object(&writer);
    return galv_json_finish(&writer, err);
}

void galv_validate_csv(galv_text *out, const galv_validate_report *report)
{
    const galv_validation *v = report->validation;
    galv_text_append(out,
                     "case_id,source,measured_iteration_time_s,"
                     "predicted_iteration_time_s,error,measured_peak_memory_bytes,"
                     "predicted_peak_memory_bytes,memory_error,why_not,low_s,high_s"
                     "\n");
    for (size_t i = 0; i < v->n_cases; i++) {
        const galv_validated_case *c = &v->cases[i];
        const galv_interval *interval = &report->intervals[i];
        const galv_case *m = c->measured;
        bool ok = c->status == GALV_OK;
        double low = ok && interval->validated ? 1 + interval->low_frac : NOTHING;
        double high = ok && interval->validated ? 1 + interval->high_frac : NOTHING;
        galv_csv_put(out, m->case_id, true);
        galv_csv_put(out, c->source, false);
        galv_csv_put_f64(out, m->iteration_time_s > 0 ? m->iteration_time_s : NOTHING,
                         false);
        galv_csv_put_f64(out, ok ? c->predicted_iteration_time_s : NOTHING, false);
        galv_csv_put_f64(out, ok ? c->error_frac : NOTHING, false);
        galv_csv_put_f64(out, m->peak_memory_bytes > 0 ? m->peak_memory_bytes : NOTHING,
                         false);
        galv_csv_put_f64(out,
                         ok && c->predicted_peak_memory_bytes > 0
                             ? c->predicted_peak_memory_bytes
                             : NOTHING,
                         false);
        galv_csv_put_f64(out, ok ? c->memory_error_frac : NOTHING, false);
        galv_csv_put(out, ok ? "" : c->why_not, false);
        galv_csv_put_f64(out, low * c->predicted_iteration_time_s, false);
        galv_csv_put_f64(out, high * c->predicted_iteration_time_s, false);
        galv_text_append(out, "\n");
    }
}

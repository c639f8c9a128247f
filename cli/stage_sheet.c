/* A sheet as a table for people, and as CSV and JSON for programs. */
#include "cli/stage_sheet.h"

#include "base/csv.h"
#include "base/units.h"
#include "cli/help.h"
#include "cli/output.h"
#include "cli/report.h"

#include <stdio.h>

#define FIRST_LISTED 2
#define LAST_LISTED  1
#define PEAKS_WIDTH  19

size_t galv_stage_sheet_n_played(const galv_stage_sheet *s)
{
    size_t n = 0;
    while (n < s->n_rows && s->rows[n].why_not == NULL) {
        n++;
    }
    return n;
}

static double worst_peak(const galv_stage_times_result *result)
{
    double worst = 0;
    for (int32_t i = 0; i < result->sim.n_ranks; i++) {
        double peak = result->sim.ranks[i].peak_bytes;
        worst = peak > worst ? peak : worst;
    }
    return worst;
}

static double in_unit(const galv_stage_sheet *s, double bytes)
{
    return s->times.has_bytes ? bytes / 1073741824.0 : bytes;
}

static void put_peak(galv_text *text, const galv_stage_sheet *s,
                     const galv_stage_times_result *result, int32_t stage)
{
    char number[32];
    galv_text_printf(
        text, "%s%s", stage > 0 ? " " : "",
        galv_print_number(number, sizeof number,
                          in_unit(s, result->sim.ranks[stage].peak_bytes)));
}

/* The peaks of the stages, from the first to the last; those in the middle are left out
 * where there is no room. A cell that is cut at its end would show other numbers. */
static const char *list_peaks(const galv_stage_sheet *s,
                              const galv_stage_times_result *result)
{
    galv_text text = GALV_TEXT_INIT;
    int32_t n = result->sim.n_ranks;
    for (int32_t i = 0; i < n; i++) {
        put_peak(&text, s, result, i);
    }
    if (text.length > PEAKS_WIDTH && n > FIRST_LISTED + LAST_LISTED &&
        !galv_cli_given(s->cli, GALV_OPTION_WIDE)) {
        galv_text_release(&text);
        text = (galv_text)GALV_TEXT_INIT;
        for (int32_t i = 0; i < FIRST_LISTED; i++) {
            put_peak(&text, s, result, i);
        }
        galv_text_append(&text, " \xe2\x80\xa6");
        for (int32_t i = n - LAST_LISTED; i < n; i++) {
            put_peak(&text, s, result, i);
        }
    }
    const char *list = galv_arena_strdup(s->cli->arena, galv_text_string(&text));
    galv_text_release(&text);
    return list == NULL ? "" : list;
}

static void print_table(const galv_stage_sheet *s)
{
    const char *unit = s->times.has_bytes ? "GiB" : "micro-batches";
    const galv_column columns[] = {
        {"schedule", "", true, 0, 0},
        {"chunks", "", false, 2, 0},
        {"time", "s", false, 0, 0},
        {"slower", "%", false, 1, 0},
        {"bubble", "%", false, 0, 0},
        {"rolling", "%", false, 1, 0},
        {"peak", s->times.has_bytes ? unit : "", false, 0, 0},
        {"peak by stage", unit, true, 1, 12}};
    galv_table table;
    double times_s[GALV_MOST_STAGE_ROWS] = {0};
    double peaks[GALV_MOST_STAGE_ROWS] = {0};
    size_t n = galv_stage_sheet_n_played(s);
    double best_s = s->rows[0].result.iteration_time_s;
    for (size_t i = 0; i < n; i++) {
        times_s[i] = s->rows[i].result.iteration_time_s;
        peaks[i] = in_unit(s, worst_peak(&s->rows[i].result));
    }
    int time_decimals = galv_table_decimals(times_s, n);
    int peak_decimals = galv_table_decimals(peaks, n);
    galv_table_init(&table, s->cli->arena, columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < n; i++) {
        const galv_stage_times_result *r = &s->rows[i].result;
        galv_table_row(&table);
        galv_table_cell(&table, "%s", r->schedule->name);
        galv_table_cell(&table, "%d", (int)r->n_chunks);
        galv_table_cell(&table, "%.*f", time_decimals, times_s[i]);
        galv_table_cell(&table, "%.1f",
                        best_s > 0 ? 100 * (times_s[i] / best_s - 1) : 0.0);
        galv_table_cell(&table, "%.1f", 100 * r->bubble_frac);
        galv_table_cell(&table, "%.1f", 100 * r->rolling_bubble_frac);
        galv_table_cell(&table, "%.*f", peak_decimals, peaks[i]);
        galv_table_cell(&table, "%s", list_peaks(s, r));
    }
    galv_cli_print_table(s->cli, &table);
}

void galv_stage_sheet_print(const galv_stage_sheet *s)
{
    char number[32], stages[32], micro_batches[48], least[64];
    size_t n = galv_stage_sheet_n_played(s);
    least[0] = '\0';
    if (n > 0) {
        galv_print_seconds(number, sizeof number, s->rows[0].result.least_time_s);
        snprintf(least, sizeof least, "the busiest stage computes %s", number);
    }
    snprintf(stages, sizeof stages, "%d stage%s", (int)s->times.n_stages,
             s->times.n_stages == 1 ? "" : "s");
    snprintf(micro_batches, sizeof micro_batches, "%s micro-batch%s",
             galv_print_count(number, sizeof number, s->options.n_micro_batches),
             s->options.n_micro_batches == 1 ? "" : "es");
    galv_print(s->cli, "galvatron-sim %s   stage times of %s\n", GALV_VERSION,
               s->times.name);
    galv_report_parts(s->cli, stages, micro_batches, "no cost model",
                      s->options.messages_block ? "messages block" : "",
                      s->options.steps_overlap ? "steps overlap" : "", least,
                      (char *)NULL);
    galv_print(s->cli, "\n");
    if (n > 0) {
        print_table(s);
        galv_print(s->cli,
                   "\nrolling: the bubble where stages begin the next iteration "
                   "without a common step\n");
    }
    for (size_t i = n; i < s->n_rows; i++) {
        galv_text line = GALV_TEXT_INIT;
        galv_text wrapped = GALV_TEXT_INIT;
        galv_text_printf(&line, "left out: %s", s->rows[i].why_not);
        galv_help_wrap(&wrapped, galv_text_string(&line), 0, 80);
        galv_print(s->cli, "%s%s", i == n ? "\n" : "", galv_text_string(&wrapped));
        galv_text_release(&wrapped);
        galv_text_release(&line);
    }
}

void galv_stage_sheet_put_csv(galv_text *out, const galv_stage_sheet *s)
{
    galv_text_append(out, "schedule,chunks,stages,micro_batches,iteration_time_s,"
                          "bubble_frac,rolling_bubble_frac,makespan_s,period_s,");
    galv_text_append(out, s->times.has_bytes ? "peak_activation_bytes\n"
                                             : "peak_activations\n");
    for (size_t i = 0; i < galv_stage_sheet_n_played(s); i++) {
        const galv_stage_times_result *r = &s->rows[i].result;
        galv_csv_put(out, r->schedule->name, true);
        galv_csv_put_i64(out, r->n_chunks, false);
        galv_csv_put_i64(out, s->times.n_stages, false);
        galv_csv_put_i64(out, s->options.n_micro_batches, false);
        galv_csv_put_f64(out, r->iteration_time_s, false);
        galv_csv_put_f64(out, r->bubble_frac, false);
        galv_csv_put_f64(out, r->rolling_bubble_frac, false);
        galv_csv_put_f64(out, r->makespan_s, false);
        galv_csv_put_f64(out, r->period_s, false);
        galv_csv_put_f64(out, worst_peak(r), false);
        galv_text_append(out, "\n");
    }
}

static void put_row(galv_json_writer *w, const galv_stage_sheet *s,
                    const galv_stage_times_result *r)
{
    galv_json_begin_object(w, true);
    galv_json_key_string(w, "schedule", r->schedule->name);
    galv_json_key_i64(w, "chunks", r->n_chunks);
    galv_json_key_f64(w, "iteration_time_s", r->iteration_time_s);
    galv_json_key_f64(w, "makespan_s", r->makespan_s);
    galv_json_key_f64(w, "period_s", r->period_s);
    galv_json_key_f64(w, "least_time_s", r->least_time_s);
    galv_json_key_f64(w, "bubble_frac", r->bubble_frac);
    galv_json_key_f64(w, "rolling_bubble_frac", r->rolling_bubble_frac);
    galv_json_put_key(w, "busy_s");
    galv_json_begin_array(w, true);
    for (int32_t i = 0; i < r->sim.n_ranks; i++) {
        galv_json_put_f64(w, r->sim.ranks[i].busy_s);
    }
    galv_json_end_array(w);
    galv_json_put_key(w, s->times.has_bytes ? "peak_activation_bytes"
                                            : "peak_activations");
    galv_json_begin_array(w, true);
    for (int32_t i = 0; i < r->sim.n_ranks; i++) {
        galv_json_put_f64(w, r->sim.ranks[i].peak_bytes);
    }
    galv_json_end_array(w);
    galv_json_end_object(w);
}

galv_status galv_stage_sheet_document(galv_text *out, const galv_stage_sheet *s,
                                      galv_err *err)
{
    galv_json_writer w;
    galv_json_writer_init(&w, out);
    galv_json_begin_object(&w, false);
    galv_json_put_head(&w, "stage-times");
    galv_json_key_string(&w, "stage_times", s->times.name);
    galv_json_key_i64(&w, "stages", s->times.n_stages);
    galv_json_key_i64(&w, "micro_batches", s->options.n_micro_batches);
    galv_json_key_bool(&w, "messages_block", s->options.messages_block);
    galv_json_key_bool(&w, "steps_overlap", s->options.steps_overlap);
    galv_json_put_key(&w, "schedules");
    galv_json_begin_array(&w, false);
    size_t n = galv_stage_sheet_n_played(s);
    for (size_t i = 0; i < n; i++) {
        put_row(&w, s, &s->rows[i].result);
    }
    galv_json_end_array(&w);
    galv_json_put_key(&w, "left_out");
    galv_json_begin_array(&w, false);
    for (size_t i = n; i < s->n_rows; i++) {
        galv_json_begin_object(&w, true);
        galv_json_key_string(&w, "schedule", s->rows[i].schedule->name);
        galv_json_key_string(&w, "why", s->rows[i].why_not);
        galv_json_end_object(&w);
    }
    galv_json_end_array(&w);
    galv_json_end_object(&w);
    return galv_json_finish(&w, err);
}

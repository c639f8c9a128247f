/* The report on one plan.
 *
 * Three significant figures, units beside labels, at most 80 columns. "Predicted" is
 * said where a measured number could be meant. The share of each origin of the numbers
 * stands in every report: a prediction from the specification alone must look like one.
 */
#include "cli/report.h"

#include "accuracy/interval.h"
#include "base/file.h"
#include "base/units.h"
#include "cli/config.h"
#include "cli/help.h"
#include "viz/timeline_figure.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- the job ---- */

void galv_report_changes(const galv_cli *cli)
{
    galv_text line = GALV_TEXT_INIT;
    galv_text wrapped = GALV_TEXT_INIT;
    const char *change = NULL;
    for (size_t i = 0; (change = galv_cli_repeated(cli, GALV_OPTION_SET, i)) != NULL;
         i++) {
        galv_text_printf(&line, "%s%s", i == 0 ? "changed: " : ", ", change);
    }
    if (line.length > 0) {
        galv_help_wrap(&wrapped, galv_text_string(&line), 0, 80);
        galv_print(cli, "%s", galv_text_string(&wrapped));
    }
    galv_text_release(&wrapped);
    galv_text_release(&line);
}

static void print_defaults(const galv_cli *cli, const galv_setup *setup)
{
    static const galv_option_id ids[] = {GALV_OPTION_MODEL, GALV_OPTION_NODES,
                                         GALV_OPTION_GLOBAL_BATCH};
    galv_text list = GALV_TEXT_INIT;
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        bool in_file =
            ids[i] == GALV_OPTION_NODES && setup->cluster_from == GALV_ORIGIN_FILE;
        if (!galv_cli_given(cli, ids[i]) && !in_file) {
            galv_text_printf(&list, "%s%s", list.length > 0 ? ", " : "",
                             galv_options[ids[i]].name);
        }
    }
    if (!galv_cli_given(cli, GALV_OPTION_CLUSTER) &&
        !galv_cli_given(cli, GALV_OPTION_GPU)) {
        galv_text_printf(&list, "%scluster", list.length > 0 ? ", " : "");
    }
    if (list.length > 0) {
        galv_print(cli, "by default: %s\n", galv_text_string(&list));
    }
    galv_text_release(&list);
}

void galv_report_parts(const galv_cli *cli, const char *first, ...)
{
    size_t column = 0;
    va_list args;
    va_start(args, first);
    for (const char *part = first; part != NULL; part = va_arg(args, const char *)) {
        size_t width = galv_text_columns(part);
        if (width == 0) {
            continue;
        }
        if (column > 0 && column + 3 + width > 79) {
            galv_print(cli, "\n");
            column = 0;
        } else if (column > 0) {
            galv_print(cli, " · ");
            column += 3;
        }
        galv_print(cli, "%s", part);
        column += width;
    }
    va_end(args);
    galv_print(cli, "\n");
}

void galv_report_job(const galv_cli *cli, const galv_setup *setup)
{
    const galv_job *job = &setup->job;
    const galv_workload *w = &job->workload;
    char tokens[32], batch[32], gpus[32];
    char head[160], devices[160], sequence[32], global_batch[96];
    snprintf(head, sizeof head, "galvatron-sim %s   %s on %d x %s", GALV_VERSION,
             job->model.name, galv_cluster_n_nodes(&job->cluster), job->cluster.name);
    int n = snprintf(
        devices, sizeof devices, "%s GPU%s",
        galv_print_count(gpus, sizeof gpus, galv_cluster_n_devices(&job->cluster)),
        galv_cluster_n_devices(&job->cluster) == 1 ? "" : "s");
    for (int32_t i = 0; i < job->cluster.n_pools && n > 0 && n < 120; i++) {
        n += snprintf(devices + n, sizeof devices - (size_t)n, "%s %s",
                      i > 0 ? " +" : "", job->cluster.pools[i].device.id);
    }
    double step_tokens = (double)w->global_batch_size * w->seq_length;
    snprintf(sequence, sizeof sequence, "seq %d", w->seq_length);
    snprintf(global_batch, sizeof global_batch, "global batch %s (%s tokens)",
             galv_print_count(batch, sizeof batch, w->global_batch_size),
             galv_print_si(tokens, sizeof tokens, step_tokens));
    galv_print(cli, "%s\n", head);
    galv_report_parts(cli, devices, sequence, global_batch,
                      galv_precision_names[w->precision],
                      w->flash_attention ? "" : "no flash attention", (char *)NULL);
    if (setup->plan == NULL) {
        print_defaults(cli, setup);
    }
    galv_report_changes(cli);
}

/* ---- one result ---- */

/* The shares of the breakdown or of the origins, largest first: "compute 80.9  tp 9.8".
 * Shares under 0.05 % are left out. */
static void put_shares(galv_text *out, const double *values, const char *const *names,
                       size_t n, double total)
{
    bool done[32] = {false};
    for (size_t round = 0; round < n && n <= 32; round++) {
        size_t best = n;
        for (size_t i = 0; i < n; i++) {
            if (!done[i] && (best == n || values[i] > values[best])) {
                best = i;
            }
        }
        done[best] = true;
        double percent = total > 0 ? 100 * values[best] / total : 0;
        if (percent < 0.05) {
            break;
        }
        galv_text_printf(out, "%s%s %.1f", out->length > 0 ? "  " : "", names[best],
                         percent);
    }
}

void galv_report_share_line(const galv_cli *cli, const char *label,
                            const double *values, const char *const *names, size_t n,
                            double total)
{
    galv_text line = GALV_TEXT_INIT;
    put_shares(&line, values, names, n, total);
    galv_text_append(&line, "  %");
    galv_text wrapped = GALV_TEXT_INIT;
    /* Broken between items: a blank inside an item is a no-break one until printed. */
    const char *text = galv_text_string(&line);
    size_t column = 0;
    while (*text != '\0') {
        const char *end = strstr(text, "  ");
        size_t length = end == NULL ? strlen(text) : (size_t)(end - text);
        /* the sign stays beside the last number */
        bool is_sign = strcmp(text, "%") == 0;
        size_t with_sign = length + (end != NULL && strcmp(end, "  %") == 0 ? 3 : 0);
        if (column > 0 && !is_sign && column + 2 + with_sign > 60) {
            galv_text_printf(&wrapped, "\n%*s", 19, "");
            column = 0;
        } else if (column > 0) {
            galv_text_append(&wrapped, "  ");
            column += 2;
        }
        galv_text_append_bytes(&wrapped, text, length);
        column += length;
        text += length + (end == NULL ? 0 : 2);
    }
    galv_print(cli, "  %-16s %s\n", label, galv_text_string(&wrapped));
    galv_text_release(&wrapped);
    galv_text_release(&line);
}

static void print_plan(const galv_cli *cli, const galv_plan *plan, const char *title)
{
    char line[160];
    const galv_strategy *s = galv_plan_strategy(plan, plan->n_layers > 2 ? 1 : 0);
    galv_print(cli, "\n%s%-11s%s %s\n", galv_terminal_bold(&cli->terminal), title,
               galv_terminal_plain(&cli->terminal),
               galv_plan_print(line, sizeof line, plan));
    bool alike = true;
    for (int32_t i = 1; i + 1 < plan->n_layers; i++) {
        alike = alike && galv_plan_strategy(plan, i)->recompute == s->recompute;
    }
    int32_t n = galv_plan_n_micro_batches(plan);
    galv_print(cli, "%11s schedule %s · %d micro-batch%s of %d · recompute %s\n", "",
               plan->schedule, n, n == 1 ? "" : "es", galv_plan_micro_batch(plan),
               alike ? galv_recompute_names[s->recompute] : "by layer");
}

/* All of them, the absent ones too: "measured 0 %" says something. */
static void print_origins(const galv_cli *cli, const galv_result *result)
{
    galv_print(cli, "  %-16s ", "numbers from");
    for (int i = 0; i < GALV_N_PROVENANCES; i++) {
        galv_print(cli, "%s%s %.0f %%", i > 0 ? ", " : "", galv_provenance_names[i],
                   100 * result->provenance[i]);
    }
    galv_print(cli, "\n");
}

/* What the nodes draw in so many seconds, were they at full load throughout. */
static void print_energy(const galv_cli *cli, const galv_cluster *cluster,
                         double seconds)
{
    char energy[32], power[32];
    if (cluster->node_power_w > 0 && cluster->n_pools == 1) {
        double watts = cluster->node_power_w * (double)galv_cluster_n_nodes(cluster);
        galv_print(cli, "  %-16s %sWh at %sW a node, its full load\n", "energy",
                   galv_print_si(energy, sizeof energy, watts * seconds / 3600),
                   galv_print_si(power, sizeof power, cluster->node_power_w));
    }
}

/* Days and money for the whole training, when --tokens was given. */
static void print_training(const galv_cli *cli, const galv_setup *setup,
                           const galv_result *result)
{
    double tokens = setup->job.workload.tokens_to_train;
    if (!(tokens > 0) || !(result->tokens_per_s > 0)) {
        return;
    }
    double seconds = tokens / result->tokens_per_s;
    double usd_per_hour = setup->job.cluster.usd_per_device_hour *
                          (double)galv_cluster_n_devices(&setup->job.cluster);
    char count[32], time[32], money[32], price[32];
    galv_print(cli, "  %-16s %s tokens in %s", "training",
               galv_print_si(count, sizeof count, tokens),
               galv_print_duration(time, sizeof time, seconds));
    if (usd_per_hour > 0) {
        galv_print(cli, " · %s USD at %s USD/GPU/h",
                   galv_print_si(money, sizeof money, usd_per_hour * seconds / 3600),
                   galv_print_number(price, sizeof price,
                                     setup->job.cluster.usd_per_device_hour));
    }
    galv_print(cli, "\n");
    print_energy(cli, &setup->job.cluster, seconds);
}

/* "-6 % / +8 %  (90 %, from 23 like runs)". An interval that cannot be had is no reason
 * to withhold the answer. */
static char *error_to_expect(char *buffer, size_t size, const galv_setup *setup,
                             const galv_plan *plan, const galv_result *result)
{
    galv_err err = GALV_ERR_INIT;
    galv_interval interval = {0};
    galv_status status = galv_interval_of(&interval, &setup->job, plan, result, &err);
    if (status == GALV_OK && interval.validated) {
        return galv_interval_print(buffer, size, &interval);
    }
    snprintf(buffer, size, "(predicted; not validated in this regime)");
    return buffer;
}

/* "   -8 % / +6 %  (90 %)", for a plan that fits: a full device may turn out too small.
 * Nothing where no like peak was ever validated. */
static char *memory_error(char *buffer, size_t size, const galv_setup *setup,
                          const galv_plan *plan, const galv_result *result)
{
    galv_err err = GALV_ERR_INIT;
    galv_interval interval = {0};
    galv_status status =
        galv_memory_interval_of(&interval, &setup->job, plan, result, &err);
    buffer[0] = '\0';
    if (!result->fits) {
        double over = result->peak_memory_bytes - result->memory_limit_bytes;
        char more[32];
        snprintf(buffer, size, "   DOES NOT FIT%s%s",
                 over < 0.05 * 0x1p30 ? ", by " : "", /* both print alike */
                 over < 0.05 * 0x1p30 ? galv_print_bytes(more, sizeof more, over) : "");
    } else if (status == GALV_OK && interval.validated) {
        snprintf(buffer, size, "   %+.0f %% / %+.0f %%  (%.0f %%)",
                 100 * interval.low_frac, 100 * interval.high_frac,
                 100 * GALV_INTERVAL_COVERAGE);
    }
    return buffer;
}

void galv_report_result(const galv_cli *cli, const galv_setup *setup,
                        const galv_costmodel *model, const galv_plan *plan,
                        const galv_result *result, const char *title)
{
    char a[32], b[32], error[80];
    print_plan(cli, plan, title);
    galv_print(cli, "\n  %-16s %s   %s\n", "step time",
               galv_print_seconds(a, sizeof a, result->iteration_time_s),
               error_to_expect(error, sizeof error, setup, plan, result));
    galv_print(cli, "  %-16s %s tokens/s   %s tokens/s/GPU\n", "throughput",
               galv_print_si(a, sizeof a, result->tokens_per_s),
               galv_print_number(b, sizeof b, result->tokens_per_s_per_gpu));
    galv_print(
        cli, "  %-16s %.1f %%   (%s dense peak %s TFLOP/s)\n", "MFU", 100 * result->mfu,
        galv_precision_names[setup->job.workload.precision],
        galv_print_number(a, sizeof a, galv_costmodel_peak_flop_per_s(model) / 1e12));
    galv_print(cli, "  %-16s %s of %s on stage %d%s\n", "memory, worst",
               galv_print_bytes(a, sizeof a, result->peak_memory_bytes),
               galv_print_bytes(b, sizeof b, result->memory_limit_bytes),
               (int)galv_result_fullest_stage(result),
               memory_error(error, sizeof error, setup, plan, result));
    galv_report_share_line(cli, "where time goes", result->breakdown_s,
                           galv_breakdown_names, GALV_N_BREAKDOWNS,
                           result->iteration_time_s);
    print_origins(cli, result);
    print_training(cli, setup, result);
}

/* Do some stages have more memory than others? */
static bool has_unlike_limits(const galv_result *result)
{
    bool unlike = false;
    for (int32_t i = 1; i < result->n_stages; i++) {
        unlike |=
            result->stages[i].memory_limit_bytes >
                result->stages[0].memory_limit_bytes ||
            result->stages[i].memory_limit_bytes < result->stages[0].memory_limit_bytes;
    }
    return unlike;
}

void galv_report_stages(const galv_cli *cli, const galv_result *result)
{
    static const char *const headers[GALV_N_MEMORY_USES] = {
        "params", "grads", "optim", "activ", "buffers", "context"};
    galv_column columns[5 + GALV_N_MEMORY_USES] = {
        {"stage", "", false, 0, 0},
        {"blocks", "", false, 0, 0},
        {"busy", "%", false, 0, 0},
        {"peak", "GiB", false, 0, 0},
    };
    bool unlike = has_unlike_limits(result);
    size_t n_columns = 4;
    if (unlike) {
        columns[n_columns++] = (galv_column){"of", "GiB", false, 0, 0};
    }
    for (int use = 0; use < GALV_N_MEMORY_USES; use++) {
        columns[n_columns++] = (galv_column){headers[use], "GiB", false, 1, 0};
    }
    galv_table table;
    galv_table_init(&table, cli->arena, columns, n_columns);
    for (int32_t i = 0; i < result->n_stages; i++) {
        const galv_stage_result *s = &result->stages[i];
        galv_table_row(&table);
        galv_table_cell(&table, "%d", s->stage);
        galv_table_cell(&table, "%d", s->n_layers);
        galv_table_cell(&table, "%.1f", 100 * s->busy_s / result->iteration_time_s);
        galv_table_cell(&table, "%.1f", s->peak_memory_bytes / 0x1p30);
        if (unlike) {
            galv_table_cell(&table, "%.1f", s->memory_limit_bytes / 0x1p30);
        }
        for (int use = 0; use < GALV_N_MEMORY_USES; use++) {
            galv_table_cell(&table, "%.2f", s->memory[use] / 0x1p30);
        }
    }
    galv_table_print(cli->out, &table,
                     galv_cli_given(cli, GALV_OPTION_WIDE) ? 0 : cli->terminal.width,
                     galv_terminal_bold(&cli->terminal),
                     galv_terminal_plain(&cli->terminal));
}

/* ---- documents and files ---- */

galv_status galv_result_document(galv_text *out, const galv_cli *cli,
                                 const galv_setup *setup, const galv_plan *plan,
                                 const galv_result *result, galv_err *err)
{
    galv_json_writer writer;
    galv_json_writer_init(&writer, out);
    galv_json_begin_object(&writer, false);
    galv_json_put_head(&writer, "result");
    galv_config_to_json(cli, setup, &writer);
    galv_prediction_to_json(result, &setup->job, plan, &writer);
    galv_json_end_object(&writer);
    return galv_json_finish(&writer, err);
}

galv_status galv_plan_write(const char *path, const galv_job *job,
                            const galv_plan *plan, galv_err *err)
{
    galv_text text = GALV_TEXT_INIT;
    galv_json_writer writer;
    galv_json_writer_init(&writer, &text);
    galv_plan_to_json(job, plan, &writer);
    galv_status status = galv_json_finish(&writer, err);
    if (status == GALV_OK) {
        status = galv_file_write(path, galv_text_string(&text), text.length, err);
    }
    galv_text_release(&text);
    return status;
}

galv_status galv_result_write(const char *path, const galv_cli *cli,
                              const galv_setup *setup, const galv_plan *plan,
                              const galv_result *result, galv_err *err)
{
    galv_text text = GALV_TEXT_INIT;
    galv_status status = galv_result_document(&text, cli, setup, plan, result, err);
    if (status == GALV_OK) {
        status = galv_file_write(path, galv_text_string(&text), text.length, err);
    }
    galv_text_release(&text);
    return status;
}

/* Beyond so many stages lanes of communication under each are too thin to read. */
enum { MAX_ROWS_WITH_LANES = 8 };

galv_status galv_timeline_write(const char *path, const galv_timeline *timeline,
                                galv_err *err)
{
    if (galv_path_has_extension(path, ".csv")) {
        return galv_timeline_write_csv(timeline, path, err);
    }
    if (galv_path_has_extension(path, ".json")) {
        return galv_timeline_write_chrome(timeline, path, err);
    }
    galv_figure_options options = GALV_FIGURE_OPTIONS_INIT;
    options.footer = GALV_FOOTER;
    options.streams = timeline->n_ranks <= MAX_ROWS_WITH_LANES;
    return galv_timeline_draw(timeline, path, &options, err);
}

/* The rule.
 *
 * Residuals e = ln(measured / predicted) are looked at on levels of likeness, from all
 * runs down to those of exactly the same kind:
 *
 *   0  every run
 *   1  same software, generation and precision
 *   2  and pace (paced by the host's launches or by kernels)
 *   3  and one node or several
 *   4  and pipeline or none, parameters sharded (ZeRO-3) or not
 *   5  and experts or none, fused attention or not
 *
 * On each level the 5 %, 50 % and 95 % quantiles are taken, a source of many runs
 * counting for at most 12, and drawn towards those of the level above as if that had
 * been seen 10 times more: q = (W q_here + 10 q_above) / (W + 10), W the runs counted.
 * So a few like runs move the interval, and many set it.
 *
 * The user's run belongs to none of these sources, and sources differ among one
 * another by more than their runs do (another cluster, container, day). So the distance
 * of each end from the median is joined in quadrature with the spread of sources:
 *
 *   end = m -+ sqrt((m - q)^2 + (2.132 t)^2 (1 + 1 / S))
 *
 * t: spread of the sources' median residuals about 0, by their mean size (1.2533 mean
 * |median|, the standard deviation if they were normal); S: sources on the finest level
 * that has any; 1 + 1/S as for the prediction of a further member of a sample.
 * 2.132 is the 95 % quantile of Student's t of four degrees of freedom, whose tails are
 * those that calibration gives runs (shrinkage.h): there are few sources, and what
 * their tables say may be wrong. Leaving out one source at a time, about 90 % of the
 * runs of each fall inside (tests/sim/interval_test.c).
 *
 * Two things differ from stack to stack more than the rest, and runs have shares in
 * them that are known:
 *
 *   host     versions and processors. Host and device pace a layer in turns, t = (d^2 +
 *            h^2)^(1/2) (costmodel/host.c), so that ln t moves by (h / t)^2 where ln h
 *            does
 *   memory   which memory-bound kernels are fused, and how well. ln t moves by the
 * share m that they have in a layer where the logarithm of their time does
 *
 * With the spreads that calibration expects of both (factors.h, the knobs HOST and
 * MEMORY) a run's own part has the variance
 *
 *   a^2 = (sd_host (h / t)^2)^2 + (sd_memory m)^2
 *
 * and (1.645 a)^2 joins the distance in quadrature too. The validated runs have such
 * parts as well, other ones: a run of small layers that is off by a quarter says
 * nothing of large ones. So each counts with e s / sqrt(s^2 + a^2), what would be
 * expected of it without its part, where s is what runs differ by otherwise (RUN_SD).
 * For a large model the part is less than the rest; for one that the host paces alone
 * there is little to know before one run of it is calibrated on.
 *
 * Peaks of memory have levels of their own: every run whose peak was measured alike (by
 * the allocator, or from outside); same software; and ZeRO-3 or not, recomputation; and
 * experts, attention.
 *
 * A regime is not validated when level 1 has fewer than three runs.
 *
 * Left out: the residuals are those of a model whose few factors were fitted to the
 * same runs; what that flatters is within the spread of sources. */
#include "accuracy/interval.h"

#include "accuracy/factors.h"
#include "base/units.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern const char galv_data_residuals_csv[];
extern const size_t galv_data_residuals_csv_length;

#define NORMAL_95      1.6448536269514722
#define ABOVE_RUNS     10.0
#define SHOWN_MIN_RUNS 5
#define T4_95          2.1318467863266499
#define SIGMA_OF_SIZE  1.2533141373155003 /* sqrt(pi / 2) */
#define RUN_SD         0.05 /* of runs about the middle of their source: spread.h */

/* ---- the table ---- */

galv_status galv_residuals_read_table(galv_residuals *residuals, const galv_csv *table,
                                      galv_arena *arena, galv_err *err)
{
    galv_residuals made = {table->n_rows, NULL};
    int ratio = galv_csv_require(table, "measured_over_predicted", err);
    int source = galv_csv_require(table, "source", err);
    made.rows = GALV_NEW_ARRAY(arena, galv_residual, table->n_rows);
    if (ratio < 0 || source < 0) {
        return err->status;
    }
    if (made.rows == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for residuals");
    }
    int memory = galv_csv_column(table, "memory_measured_over_predicted");
    int host_share = galv_csv_column(table, "host_share");
    int memory_share = galv_csv_column(table, "memory_share");
    for (size_t row = 0; row < table->n_rows; row++) {
        galv_residual *r = &made.rows[row];
        double value = 0;
        double peak = 0;
        galv_status status = galv_csv_f64(table, row, ratio, 1e-6, 1e6, &value, err);
        if (status == GALV_OK) {
            status = galv_csv_f64(table, row, memory, 1e-6, 1e6, &peak, err);
        }
        if (status == GALV_OK) {
            status =
                galv_csv_f64(table, row, host_share, 0, 1, &r->kind.host_share, err);
        }
        if (status == GALV_OK) {
            status = galv_csv_f64(table, row, memory_share, 0, 1, &r->kind.memory_share,
                                  err);
        }
        if (status != GALV_OK) {
            return status;
        }
        if (!(value > 0) && !(peak > 0)) {
            return galv_csv_fail(table, row, ratio, err, "a ratio is missing");
        }
        r->log_ratio = value > 0 ? log(value) : (double)NAN;
        r->memory_log_ratio = peak > 0 ? log(peak) : (double)NAN;
        r->source = galv_csv_cell(table, row, source);
        r->memory_kind =
            galv_csv_cell(table, row, galv_csv_column(table, "memory_kind"));
        r->source_index = row;
        for (size_t i = 0; i < row; i++) {
            if (strcmp(made.rows[i].source, r->source) == 0) {
                r->source_index = made.rows[i].source_index;
                break;
            }
        }
        r->case_id = galv_csv_cell(table, row, galv_csv_column(table, "case_id"));
        r->family = galv_csv_cell(table, row, galv_csv_column(table, "family"));
        for (int f = 0; f < GALV_N_FEATURES; f++) {
            int column = galv_csv_column(table, galv_feature_names[f]);
            snprintf(r->kind.words[f], sizeof r->kind.words[f], "%s",
                     galv_csv_cell(table, row, column));
        }
    }
    *residuals = made;
    return GALV_OK;
}

galv_status galv_residuals_builtin(galv_residuals *residuals, galv_arena *arena,
                                   galv_err *err)
{
    galv_csv table;
    galv_status status =
        galv_csv_read_text(&table, "residuals.csv", galv_data_residuals_csv,
                           galv_data_residuals_csv_length, arena, err);
    return status == GALV_OK ? galv_residuals_read_table(residuals, &table, arena, err)
                             : status;
}

/* Empty for NAN. */
static void put_number(galv_text *out, int digits, double value)
{
    char number[40] = "";
    if (!isnan(value)) {
        snprintf(number, sizeof number, "%.*f", digits, value);
    }
    galv_csv_put(out, number, false);
}

void galv_residuals_print(galv_text *out, const galv_validation *validation)
{
    galv_text_append(out, "case_id,source,family");
    for (int f = 0; f < GALV_N_FEATURES; f++) {
        galv_csv_put(out, galv_feature_names[f], false);
    }
    galv_text_append(out,
                     ",host_share,memory_share,measured_over_predicted,memory_kind,"
                     "memory_measured_over_predicted\n");
    for (size_t i = 0; i < validation->n_cases; i++) {
        const galv_validated_case *c = &validation->cases[i];
        if ((isnan(c->error_frac) && isnan(c->memory_error_frac)) ||
            c->kind.words[GALV_FEATURE_SOFTWARE][0] == '\0') {
            continue;
        }
        galv_csv_put(out, c->measured->case_id, true);
        galv_csv_put(out, c->source, false);
        galv_csv_put(out, c->measured->model_family, false);
        for (int f = 0; f < GALV_N_FEATURES; f++) {
            galv_csv_put(out, c->kind.words[f], false);
        }
        put_number(out, 3, c->kind.host_share);
        put_number(out, 3, c->kind.memory_share);
        put_number(out, 4, 1 / (1 + c->error_frac));
        bool told = !isnan(c->memory_error_frac);
        galv_csv_put(out, told ? c->measured->memory_kind : "", false);
        put_number(out, 4, 1 / (1 + c->memory_error_frac));
        galv_text_append(out, "\n");
    }
}

/* ---- likeness ---- */

static bool same_feature(const galv_run_kind *a, const galv_run_kind *b, int feature)
{
    const char *x = a->words[feature];
    const char *y = b->words[feature];
    if (feature == GALV_FEATURE_PIPELINE) {
        return (strcmp(x, "none") == 0) == (strcmp(y, "none") == 0);
    }
    if (feature == GALV_FEATURE_ZERO) {
        return (strcmp(x, "3") == 0) == (strcmp(y, "3") == 0);
    }
    return strcmp(x, y) == 0;
}

/* Features that a level asks for besides those of the levels above it. */
typedef struct rung {
    int n;
    galv_feature features[3];
} rung;

/* What a quantity's residuals are told apart by. */
typedef struct ladder {
    bool memory;
    int n_levels;
    rung levels[6];
} ladder;

static const ladder of_time = {
    false,
    6,
    {
        {0, {GALV_FEATURE_SOFTWARE}},
        {3, {GALV_FEATURE_SOFTWARE, GALV_FEATURE_GENERATION, GALV_FEATURE_PRECISION}},
        {1, {GALV_FEATURE_PACE}},
        {1, {GALV_FEATURE_NODES}},
        {2, {GALV_FEATURE_PIPELINE, GALV_FEATURE_ZERO}},
        {2, {GALV_FEATURE_EXPERTS, GALV_FEATURE_ATTENTION}},
    }};

static const ladder of_memory = {
    true,
    4,
    {
        {0, {GALV_FEATURE_SOFTWARE}},
        {1, {GALV_FEATURE_SOFTWARE}},
        {2, {GALV_FEATURE_ZERO, GALV_FEATURE_RECOMPUTE}},
        {2, {GALV_FEATURE_EXPERTS, GALV_FEATURE_ATTENTION}},
    }};

/* The finest level on which two kinds are alike. */
static int likeness(const ladder *l, const galv_run_kind *a, const galv_run_kind *b)
{
    int level = 0;
    while (level + 1 < l->n_levels) {
        for (int i = 0; i < l->levels[level + 1].n; i++) {
            if (!same_feature(a, b, l->levels[level + 1].features[i])) {
                return level;
            }
        }
        level++;
    }
    return level;
}

static void name_regime(char *text, size_t size, const ladder *l,
                        const galv_run_kind *kind, int level)
{
    size_t length = 0;
    text[0] = '\0';
    for (int k = 1; k <= level; k++) {
        for (int i = 0; i < l->levels[k].n && length < size; i++) {
            galv_feature f = l->levels[k].features[i];
            const char *word = kind->words[f];
            const char *before = "";
            const char *after = "";
            if (f == GALV_FEATURE_NODES) {
                after = strcmp(word, "one") == 0 ? " node" : " nodes";
            } else if (f == GALV_FEATURE_PIPELINE) {
                word = strcmp(word, "none") == 0 ? "no pipeline" : "pipeline";
            } else if (f == GALV_FEATURE_ZERO) {
                word = strcmp(word, "3") == 0 ? "ZeRO-3" : "ZeRO-0..2";
            } else if (f == GALV_FEATURE_PACE) {
                after = "-paced";
            } else if (f == GALV_FEATURE_ATTENTION) {
                after = " attention";
            } else if (f == GALV_FEATURE_RECOMPUTE) {
                after = " recomputation";
            }
            length += (size_t)snprintf(text + length, size - length, "%s%s%s%s",
                                       length > 0 ? ", " : "", before, word, after);
        }
    }
}

/* ---- quantiles ---- */

typedef struct weighed {
    double value;
    double weight;
    int level; /* of likeness */
    size_t source;
} weighed;

static int compare_weighed(const void *a, const void *b)
{
    double x = ((const weighed *)a)->value;
    double y = ((const weighed *)b)->value;
    return (x > y) - (x < y);
}

/* Quantile of items[n] sorted by value: each item stands in the middle of its weight,
 * between items it is linear, beyond the first and last it is theirs. */
static double quantile(const weighed *items, size_t n, double total, double p)
{
    double before = 0;
    double last_at = 0;
    for (size_t i = 0; i < n; i++) {
        double at = (before + items[i].weight / 2) / total;
        if (p <= at) {
            if (i == 0) {
                return items[0].value;
            }
            return items[i - 1].value + (items[i].value - items[i - 1].value) *
                                            (p - last_at) / (at - last_at);
        }
        before += items[i].weight;
        last_at = at;
    }
    return items[n - 1].value;
}

/* The items of a level and finer ones, weighed; `picked` is room for them, n_of for a
 * count of each source. Returns how many, with their sources and the sum of their
 * weights. */
static size_t pick_level(weighed *picked, size_t *n_of, double *total,
                         size_t *n_sources, const weighed *items, size_t n, int level)
{
    size_t n_picked = 0;
    *total = 0;
    *n_sources = 0;
    for (size_t i = 0; i < n; i++) {
        n_of[items[i].source] = 0;
    }
    for (size_t i = 0; i < n; i++) {
        if (items[i].level >= level) {
            *n_sources += n_of[items[i].source]++ == 0;
        }
    }
    for (size_t i = 0; i < n; i++) {
        if (items[i].level >= level) {
            double same = (double)n_of[items[i].source];
            picked[n_picked] = items[i];
            picked[n_picked].weight = fmin(same, GALV_SOURCE_RUNS) / same;
            *total += picked[n_picked++].weight;
        }
    }
    return n_picked;
}

/* Spread of the sources' medians. `picked` is room for n items, `done` for a mark of
 * each source. */
static double source_spread(weighed *picked, size_t *done, const weighed *items,
                            size_t n)
{
    double sum = 0;
    double n_sources = 0;
    for (size_t i = 0; i < n; i++) {
        done[items[i].source] = 0;
    }
    for (size_t i = 0; i < n; i++) {
        size_t n_same = 0;
        if (done[items[i].source]++ > 0) {
            continue;
        }
        for (size_t j = i; j < n; j++) { /* items are sorted, so these are */
            if (items[j].source == items[i].source) {
                picked[n_same++] = items[j];
            }
        }
        double middle = picked[n_same / 2].value;
        sum += fabs(n_same % 2 == 1 ? middle
                                    : (middle + picked[n_same / 2 - 1].value) / 2);
        n_sources++;
    }
    return n_sources > 0 ? SIGMA_OF_SIZE * sum / n_sources : 0;
}

/* ---- the interval ---- */

/* Were two peaks measured alike: both by an allocator, or neither? */
static bool same_measure(const char *a, const char *b)
{
    bool by_a = strncmp(a, "torch_", 6) == 0;
    bool by_b = strncmp(b, "torch_", 6) == 0;
    return a[0] == '\0' || b[0] == '\0' || by_a == by_b;
}

/* The variance of ln t that a kind of run has by its shares in what stacks differ in.
 */
static double own_variance(const galv_run_kind *kind)
{
    double host = galv_knobs[GALV_KNOB_HOST].sd * kind->host_share * kind->host_share;
    double memory = galv_knobs[GALV_KNOB_MEMORY].sd * kind->memory_share;
    return host * host + memory * memory;
}

/* Items sorted by value; returns how many. `memory_kind` is looked at for peaks. */
static size_t gather(weighed *items, const ladder *l, const galv_residuals *residuals,
                     const galv_run_kind *kind, const char *memory_kind,
                     const galv_left_out *left_out)
{
    size_t n = 0;
    for (size_t i = 0; i < residuals->n; i++) {
        const galv_residual *r = &residuals->rows[i];
        double value = l->memory ? r->memory_log_ratio : r->log_ratio;
        if (isnan(value) || (l->memory && !same_measure(memory_kind, r->memory_kind))) {
            continue;
        }
        if (left_out != NULL &&
            ((left_out->source != NULL && strcmp(left_out->source, r->source) == 0) ||
             (left_out->family != NULL && strcmp(left_out->family, r->family) == 0))) {
            continue;
        }
        if (!l->memory) {
            value *= RUN_SD / sqrt(RUN_SD * RUN_SD + own_variance(&r->kind));
        }
        items[n++] = (weighed){value, 1, likeness(l, kind, &r->kind), r->source_index};
    }
    qsort(items, n, sizeof *items, compare_weighed);
    return n;
}

static void find(galv_interval *out, const ladder *l, const galv_run_kind *kind,
                 weighed *items, weighed *picked, size_t *n_of, size_t n)
{
    double q[3] = {0, 0, 0};
    double finest_sources = 1;
    int shown = 1;
    for (int level = 0; level < l->n_levels; level++) {
        static const double p[3] = {0.05, 0.5, 0.95};
        double total = 0;
        size_t n_sources = 0;
        size_t n_level = pick_level(picked, n_of, &total, &n_sources, items, n, level);
        if (level <= 1 && n_level < GALV_INTERVAL_MIN_RUNS) {
            *out = (galv_interval){0};
            name_regime(out->regime, sizeof out->regime, l, kind, 1);
            return;
        }
        if (n_level == 0) {
            break;
        }
        double above = level == 0 ? 0 : ABOVE_RUNS;
        for (int k = 0; k < 3; k++) {
            q[k] = (total * quantile(picked, n_level, total, p[k]) + above * q[k]) /
                   (total + above);
        }
        finest_sources = (double)n_sources;
        if (level <= 1 || n_level >= SHOWN_MIN_RUNS) {
            shown = level;
            out->n_runs = n_level;
            out->n_sources = n_sources;
        }
    }
    double spread = T4_95 * source_spread(picked, n_of, items, n);
    double own = l->memory ? 0 : NORMAL_95 * NORMAL_95 * own_variance(kind);
    double other = spread * spread * (1 + 1 / finest_sources) + own;
    out->validated = true;
    out->low_frac = exp(q[1] - sqrt((q[1] - q[0]) * (q[1] - q[0]) + other)) - 1;
    out->high_frac = exp(q[1] + sqrt((q[2] - q[1]) * (q[2] - q[1]) + other)) - 1;
    name_regime(out->regime, sizeof out->regime, l, kind, shown);
}

static void find_on(galv_interval *interval, const ladder *l,
                    const galv_residuals *residuals, const galv_run_kind *kind,
                    const char *memory_kind, const galv_left_out *left_out)
{
    *interval = (galv_interval){0};
    weighed *items = calloc(2 * residuals->n + 1, sizeof *items);
    size_t *n_of = calloc(residuals->n + 1, sizeof *n_of);
    if (items == NULL ||
        n_of == NULL) { /* no memory for a footnote: say nothing rather than fail */
        name_regime(interval->regime, sizeof interval->regime, l, kind, 1);
        free(items);
        free(n_of);
        return;
    }
    size_t n = gather(items, l, residuals, kind, memory_kind, left_out);
    find(interval, l, kind, items, items + n, n_of, n);
    free(items);
    free(n_of);
}

void galv_interval_find(galv_interval *interval, const galv_residuals *residuals,
                        const galv_run_kind *kind, const galv_left_out *left_out)
{
    find_on(interval, &of_time, residuals, kind, "", left_out);
}

void galv_memory_interval_find(galv_interval *interval, const galv_residuals *residuals,
                               const galv_run_kind *kind, const char *memory_kind,
                               const galv_left_out *left_out)
{
    find_on(interval, &of_memory, residuals, kind, memory_kind, left_out);
}

static galv_status interval_of(galv_interval *interval, const ladder *l,
                               const galv_job *job, const galv_plan *plan,
                               const galv_result *result, galv_err *err)
{
    galv_arena *arena = galv_arena_new();
    galv_residuals residuals = {0, NULL};
    if (arena == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for residuals");
    }
    galv_status status = galv_residuals_builtin(&residuals, arena, err);
    if (status == GALV_OK) {
        galv_run_kind kind;
        galv_run_kind_init(&kind, job, plan, result);
        find_on(interval, l, &residuals, &kind, "torch_peak", NULL);
    }
    galv_arena_free(arena);
    return status;
}

galv_status galv_interval_of(galv_interval *interval, const galv_job *job,
                             const galv_plan *plan, const galv_result *result,
                             galv_err *err)
{
    return interval_of(interval, &of_time, job, plan, result, err);
}

galv_status galv_memory_interval_of(galv_interval *interval, const galv_job *job,
                                    const galv_plan *plan, const galv_result *result,
                                    galv_err *err)
{
    return interval_of(interval, &of_memory, job, plan, result, err);
}

/* ---- for people and programs ---- */

char *galv_interval_print(char *buffer, size_t size, const galv_interval *interval)
{
    if (!interval->validated) {
        snprintf(buffer, size, "not validated in this regime");
    } else {
        snprintf(buffer, size, "%+.0f %% / %+.0f %%  (%.0f %%, from %zu like runs)",
                 100 * interval->low_frac, 100 * interval->high_frac,
                 100 * GALV_INTERVAL_COVERAGE, interval->n_runs);
    }
    return buffer;
}

void galv_interval_to_json(const galv_interval *interval, double iteration_time_s,
                           galv_json_writer *writer)
{
    galv_json_put_key(writer, "iteration_time_interval_s");
    if (interval->validated) {
        galv_json_begin_array(writer, true);
        galv_json_put_f64(writer, iteration_time_s * (1 + interval->low_frac));
        galv_json_put_f64(writer, iteration_time_s * (1 + interval->high_frac));
        galv_json_end_array(writer);
    } else {
        galv_json_put_null(writer);
    }
    galv_json_key_f64(writer, "interval_coverage", GALV_INTERVAL_COVERAGE);
    galv_json_key_i64(writer, "interval_from", (int64_t)interval->n_runs);
    galv_json_key_i64(writer, "interval_sources", (int64_t)interval->n_sources);
    galv_json_key_string(writer, "regime", interval->regime);
}

static void memory_to_json(const galv_interval *interval, const galv_result *result,
                           galv_json_writer *writer)
{
    double peak = 0;
    for (int32_t i = 0; i < result->n_stages; i++) {
        peak = fmax(peak, result->stages[i].peak_memory_bytes);
    }
    galv_json_put_key(writer, "peak_memory_interval_bytes");
    if (!interval->validated) {
        galv_json_put_null(writer);
        return;
    }
    galv_json_begin_array(writer, true);
    galv_json_put_f64(writer, peak * (1 + interval->low_frac));
    galv_json_put_f64(writer, peak * (1 + interval->high_frac));
    galv_json_end_array(writer);
}

void galv_prediction_to_json(const galv_result *result, const galv_job *job,
                             const galv_plan *plan, galv_json_writer *writer)
{
    galv_err err = GALV_ERR_INIT;
    galv_interval interval = {0};
    if (galv_interval_of(&interval, job, plan, result, &err) == GALV_OK) {
        galv_interval_to_json(&interval, result->iteration_time_s, writer);
    }
    if (galv_memory_interval_of(&interval, job, plan, result, &err) == GALV_OK) {
        memory_to_json(&interval, result, writer);
    }
    galv_result_to_json(result, job, plan, writer);
}

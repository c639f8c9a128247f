/* How a run of days is asked for, and how its verdict is printed.
 *
 * A number that nobody gave is an assumption, and is printed as one: an MTBF decides
 * more about a run of weeks than all that the cost model knows. */
#include "cli/run_days.h"

#include "base/units.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/report.h"

#include <math.h>
#include <string.h>

/* Ports of a leaf switch that lead down to devices: half of 64. */
#define LEAF_PORTS 32

static bool any_given(const galv_cli *cli)
{
    static const galv_option_id ids[] = {
        GALV_OPTION_MTBF_DEVICE,     GALV_OPTION_MTBF_NODE,
        GALV_OPTION_MTBF_SWITCH,     GALV_OPTION_CHECKPOINT_INTERVAL,
        GALV_OPTION_CHECKPOINT_TIME, GALV_OPTION_RESTART_TIME,
        GALV_OPTION_REPAIR_TIME,     GALV_OPTION_SPARES};
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        if (galv_cli_given(cli, ids[i])) {
            return true;
        }
    }
    return false;
}

bool galv_run_days_asked(const galv_cli *cli)
{
    return any_given(cli) || galv_cli_given(cli, GALV_OPTION_RUN_DAYS);
}

/* ---- reading ---- */

static void count_parts(galv_failure_options *options, const galv_cluster *cluster,
                        const galv_plan *plan)
{
    int64_t nics = 0;
    for (int32_t i = 0; i < cluster->n_pools; i++) {
        const galv_pool *pool = &cluster->pools[i];
        int64_t per_node = pool->nics_per_node > 0 ? pool->nics_per_node : 1;
        nics += per_node * pool->n_nodes;
    }
    options->n_of[GALV_FAILURE_DEVICE] = galv_plan_n_devices(plan);
    options->n_of[GALV_FAILURE_NODE] = galv_cluster_n_nodes(cluster);
    options->n_of[GALV_FAILURE_SWITCH] = (nics + LEAF_PORTS - 1) / LEAF_PORTS;
}

/* A time of more than nothing; one that is not given is a default. */
static galv_status read_time(double *seconds, galv_run_days *run, const galv_cli *cli,
                             galv_option_id id, bool has_default, galv_err *err)
{
    galv_status status = galv_cli_seconds(seconds, cli, id, err);
    if (status == GALV_OK && galv_cli_given(cli, id) && !(*seconds >= 0)) {
        galv_fail(err, GALV_USAGE, "must not be negative");
        status = galv_cli_blame(cli, id, galv_cli_value(cli, id), err);
    }
    if (has_default && !galv_cli_given(cli, id) &&
        run->n_defaults < GALV_RUN_DAYS_MOST_DEFAULTS) {
        run->defaults[run->n_defaults++] = galv_options[id].name;
    }
    return status;
}

static galv_status read_interval(double *seconds, const galv_cli *cli, galv_err *err)
{
    const char *text = galv_cli_value(cli, GALV_OPTION_CHECKPOINT_INTERVAL);
    if (text == NULL || strcmp(text, "auto") == 0) {
        *seconds = 0;
        return GALV_OK;
    }
    galv_status status =
        galv_cli_seconds(seconds, cli, GALV_OPTION_CHECKPOINT_INTERVAL, err);
    if (status == GALV_OK && !(*seconds > 0)) {
        galv_fail(err, GALV_USAGE, "must be auto or more than nothing");
        status = galv_cli_blame(cli, GALV_OPTION_CHECKPOINT_INTERVAL, text, err);
    }
    return status;
}

/* The published rate counts failures of every kind: it holds only where no rate is
 * given. */
static galv_status read_rates(galv_run_days *run, const galv_cli *cli, galv_err *err)
{
    static const galv_option_id ids[GALV_N_FAILURE_KINDS] = {
        GALV_OPTION_MTBF_DEVICE, GALV_OPTION_MTBF_NODE, GALV_OPTION_MTBF_SWITCH};
    bool given = false;
    galv_status status = GALV_OK;
    for (int kind = 0; kind < GALV_N_FAILURE_KINDS; kind++) {
        given |= galv_cli_given(cli, ids[kind]);
    }
    if (!given) {
        run->defaults[run->n_defaults++] = galv_options[ids[0]].name;
        return GALV_OK;
    }
    for (int kind = 0; kind < GALV_N_FAILURE_KINDS && status == GALV_OK; kind++) {
        double *mtbf_s = &run->options.mtbf_s[kind];
        *mtbf_s = 0;
        status = read_time(mtbf_s, run, cli, ids[kind], false, err);
        if (status == GALV_OK && galv_cli_given(cli, ids[kind]) && !(*mtbf_s > 0)) {
            galv_fail(err, GALV_USAGE, "must be more than nothing");
            status =
                galv_cli_blame(cli, ids[kind], galv_cli_value(cli, ids[kind]), err);
        }
    }
    return status;
}

static galv_status read_options(galv_run_days *run, const galv_cli *cli, galv_err *err)
{
    galv_failure_options *o = &run->options;
    int64_t n_runs = o->n_runs;
    galv_status status = read_rates(run, cli, err);
    if (status == GALV_OK) {
        status = read_interval(&o->checkpoint_interval_s, cli, err);
    }
    if (status == GALV_OK) {
        status = read_time(&o->checkpoint_s, run, cli, GALV_OPTION_CHECKPOINT_TIME,
                           true, err);
    }
    if (status == GALV_OK) {
        status =
            read_time(&o->restart_s, run, cli, GALV_OPTION_RESTART_TIME, true, err);
    }
    if (status == GALV_OK) {
        status = galv_cli_count(&o->n_spares, cli, GALV_OPTION_SPARES, 0, 1000000, err);
    }
    if (status == GALV_OK) {
        status = read_time(&o->repair_s, run, cli, GALV_OPTION_REPAIR_TIME,
                           o->n_spares >= 0, err);
    }
    if (status == GALV_OK) {
        status = galv_cli_count(&n_runs, cli, GALV_OPTION_MC_RUNS, 1, 1000000, err);
    }
    o->n_runs = (int32_t)n_runs;
    o->cancel = galv_interrupt_watch();
    return status;
}

/* Seconds of work; 0 when no length is given. */
static galv_status read_length(double *work_s, const galv_cli *cli,
                               const galv_setup *setup, const galv_result *result,
                               galv_err *err)
{
    double days = 0;
    double tokens = setup->job.workload.tokens_to_train;
    galv_status status =
        galv_cli_number(&days, cli, GALV_OPTION_RUN_DAYS, 1e-3, 1e5, err);
    *work_s = 86400 * days;
    if (status == GALV_OK && !(days > 0) && tokens > 0 && result->tokens_per_s > 0) {
        *work_s = tokens / result->tokens_per_s;
    }
    return status;
}

galv_status galv_run_days_play(galv_run_days *run, const galv_cli *cli,
                               const galv_setup *setup, const galv_plan *plan,
                               const galv_result *result, galv_err *err)
{
    const galv_failure_options standard = GALV_FAILURE_OPTIONS_INIT;
    memset(run, 0, sizeof *run);
    run->options = standard;
    run->given = galv_run_days_asked(cli);
    if (!run->given) {
        return GALV_OK;
    }
    galv_status status = read_length(&run->work_s, cli, setup, result, err);
    if (status == GALV_OK && !(run->work_s > 0)) {
        status = galv_fail(err, GALV_USAGE, "failures need the length of the run");
        galv_hint(err, "give --run-days or --tokens");
    }
    if (status == GALV_OK) {
        status = read_options(run, cli, err);
    }
    if (status != GALV_OK) {
        return status;
    }
    count_parts(&run->options, &setup->job.cluster, plan);
    run->options.seed = (uint64_t)setup->seed;
    run->options.step_s = result->iteration_time_s;
    return galv_failure_simulate(&run->result, run->work_s, &run->options, cli->arena,
                                 err);
}

/* ---- printing ---- */

static void print_failures(const galv_run_days *run, const galv_cli *cli)
{
    const galv_run_result *r = &run->result;
    char every[32], number[32];
    if (!isfinite(r->mtbf_s)) {
        galv_print(cli, "  %-16s nothing\n", "fails");
        return;
    }
    galv_print(cli, "  %-16s something every %s:", "fails",
               galv_print_duration(every, sizeof every, r->mtbf_s));
    const char *comma = "";
    for (int kind = 0; kind < GALV_N_FAILURE_KINDS; kind++) {
        if (run->options.mtbf_s[kind] > 0) {
            galv_print(cli, "%s a %s %s times", comma, galv_failure_names[kind],
                       galv_print_number(number, sizeof number, r->n_failures[kind]));
            comma = ",";
        }
    }
    galv_print(cli, "\n");
}

static void print_checkpoints(const galv_run_days *run, const galv_cli *cli)
{
    const galv_run_result *r = &run->result;
    char interval[32], length[32], restart[32];
    galv_print(
        cli, "  %-16s %s%s, %s each; %s to restart\n", "checkpoints",
        r->checkpoint_interval_s >= r->work_s ? "at the end only" : "every ",
        r->checkpoint_interval_s >= r->work_s
            ? ""
            : galv_print_duration(interval, sizeof interval, r->checkpoint_interval_s),
        galv_print_duration(length, sizeof length, run->options.checkpoint_s),
        galv_print_duration(restart, sizeof restart, run->options.restart_s));
}

static void print_defaults(const galv_run_days *run, const galv_cli *cli)
{
    if (run->n_defaults == 0) {
        return;
    }
    galv_print(cli, "  %-16s", "by default");
    for (size_t i = 0; i < run->n_defaults; i++) {
        galv_print(cli, "%s --%s", i > 0 ? "," : "", run->defaults[i]);
    }
    galv_print(cli, "\n");
    if (strcmp(run->defaults[0], galv_options[GALV_OPTION_MTBF_DEVICE].name) == 0) {
        galv_print(cli,
                   "  %-16s a GPU fails every 50.7 kh, whatever the cause: 419 times "
                   "in\n  %-16s 54 d of 16 384 H100 (Llama 3, arXiv 2407.21783)\n",
                   "", "");
    }
}

void galv_run_days_print(const galv_run_days *run, const galv_cli *cli)
{
    static const char *const names[] = {"work", "checkpoints", "rework", "restart",
                                        "waiting"};
    const galv_run_result *r = &run->result;
    if (!run->given) {
        return;
    }
    const double parts[] = {r->work_s, r->checkpoint_s, r->rework_s, r->restart_s,
                            r->waiting_s};
    char work[32], count[32], mean[32], p50[32], p95[32], p99[32], closed[32];
    galv_print(cli, "\nA run of %s of work, played %s time%s (seed %lld)\n\n",
               galv_print_duration(work, sizeof work, r->work_s),
               galv_print_count(count, sizeof count, r->n_runs),
               r->n_runs == 1 ? "" : "s", (long long)r->seed);
    if (r->n_runs < r->n_asked) {
        galv_print(cli, "  %-16s of %s times asked for\n", "interrupted",
                   galv_print_count(count, sizeof count, r->n_asked));
    }
    galv_print(cli, "  %-16s %.1f %%\n", "goodput", 100 * r->goodput_frac);
    galv_print(cli, "  %-16s %s expected", "time to finish",
               galv_print_duration(mean, sizeof mean, r->mean_s));
    if (run->options.n_spares < 0) {
        galv_print(cli, " (closed form: %s)",
                   galv_print_duration(closed, sizeof closed, r->closed_form_s));
    }
    galv_print(cli, "\n  %-16s P50 %s   P95 %s   P99 %s\n", "",
               galv_print_duration(p50, sizeof p50, r->p50_s),
               galv_print_duration(p95, sizeof p95, r->p95_s),
               galv_print_duration(p99, sizeof p99, r->p99_s));
    galv_report_share_line(cli, "where it goes", parts, names, 5, r->mean_s);
    print_failures(run, cli);
    print_checkpoints(run, cli);
    print_defaults(run, cli);
}

void galv_run_days_to_json(const galv_run_days *run, galv_json_writer *writer)
{
    if (run->given) {
        galv_json_put_key(writer, "run");
        galv_run_result_to_json(&run->result, &run->options, run->defaults,
                                run->n_defaults, writer);
    }
}

/* How differences between ranks are asked for, and how what they cost is printed.
 *
 * Any of the options makes the simulation one of every rank. Runs are drawn many times
 * where something is random and --mc-runs is given; a run of days takes that option,
 * too. */
#include "cli/whole_cluster.h"

#include "base/units.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/report.h"
#include "cli/run_days.h"

#include <stdio.h>
#include <string.h>

/* ---- reading ---- */

static galv_status
read_all(galv_differences *differences, const galv_cli *cli, galv_option_id id,
         galv_status (*add)(galv_differences *, const char *, galv_err *),
         galv_err *err)
{
    const char *text = NULL;
    for (size_t i = 0; (text = galv_cli_repeated(cli, id, i)) != NULL; i++) {
        if (add(differences, text, err) != GALV_OK) {
            return err->status;
        }
    }
    return GALV_OK;
}

/* --jitter COMPUTE[,COMM] */
static galv_status read_jitter(galv_differences *differences, const galv_cli *cli,
                               galv_err *err)
{
    const char **items = NULL;
    size_t n_items = 0;
    double *sigmas[] = {&differences->compute_sigma, &differences->comm_sigma};
    if (!galv_cli_given(cli, GALV_OPTION_JITTER)) {
        return GALV_OK;
    }
    galv_status status = galv_cli_split(&items, &n_items, cli, GALV_OPTION_JITTER, err);
    if (status != GALV_OK) {
        return status;
    }
    for (size_t i = 0; i < n_items && status == GALV_OK; i++) {
        double sigma = 0;
        status = galv_parse_number(&sigma, items[i], err);
        if (status == GALV_OK && (!(sigma >= 0 && sigma <= 2) || i > 1)) {
            status = galv_fail(err, GALV_USAGE,
                               "one or two shares, each from 0 to 2: of computation, "
                               "of communication");
        }
        if (status == GALV_OK) {
            *sigmas[i] = sigma;
        }
    }
    return status == GALV_OK
               ? status
               : galv_cli_blame(cli, GALV_OPTION_JITTER,
                                galv_cli_value(cli, GALV_OPTION_JITTER), err);
}

/* Does one run differ from the next? */
static bool is_random(const galv_differences *differences)
{
    bool random = differences->compute_sigma > 0 || differences->comm_sigma > 0;
    for (int32_t i = 0; i < differences->n_stragglers; i++) {
        random |= differences->stragglers[i].rank < 0;
    }
    return random;
}

galv_status galv_whole_cluster_read(galv_evaluate_options *options,
                                    galv_differences *differences, const galv_cli *cli,
                                    const galv_setup *setup, galv_err *err)
{
    memset(differences, 0, sizeof *differences);
    differences->seed = (uint64_t)setup->seed;
    options->differences = differences;
    options->all_ranks = galv_cli_given(cli, GALV_OPTION_ALL_RANKS);
    options->share_network = galv_cli_given(cli, GALV_OPTION_CONTENTION);
    galv_status status = read_all(differences, cli, GALV_OPTION_STRAGGLER,
                                  galv_differences_add_straggler, err);
    if (status == GALV_OK) {
        status = read_all(differences, cli, GALV_OPTION_SLOW_LINK,
                          galv_differences_add_slow_link, err);
    }
    if (status == GALV_OK) {
        status = read_jitter(differences, cli, err);
    }
    int64_t n_runs = 0;
    if (status == GALV_OK && is_random(differences)) {
        status =
            galv_cli_count(&n_runs, cli, GALV_OPTION_MC_RUNS, 1, GALV_MOST_RUNS, err);
    }
    options->n_runs = (int32_t)n_runs;
    options->cancel = n_runs > 0 ? galv_interrupt_watch() : NULL;
    if (status == GALV_OK && n_runs == 0 && galv_cli_given(cli, GALV_OPTION_MC_RUNS) &&
        !galv_run_days_asked(cli)) {
        status = galv_cli_warn(cli, err,
                               "--mc-runs has nothing to draw: it goes with --jitter, "
                               "--straggler SHARE=FACTOR or --run-days");
    }
    return status == GALV_OK ? galv_jobs_read(&options->n_jobs, cli, err) : status;
}

/* ---- printing ---- */

static void print_spread(const galv_cli *cli, const galv_spread *spread)
{
    char count[32], mean[32], sd[32], p50[32], p95[32], p99[32];
    if (spread->n_runs == 0) {
        return;
    }
    char runs[48];
    if (spread->n_runs < spread->n_wanted) {
        char wanted[32];
        galv_print(cli, "  interrupted: %s of %s runs\n",
                   galv_print_count(count, sizeof count, spread->n_runs),
                   galv_print_count(wanted, sizeof wanted, spread->n_wanted));
    }
    snprintf(runs, sizeof runs, "%s runs",
             galv_print_count(count, sizeof count, spread->n_runs));
    galv_print(cli, "  %-16s mean %s, deviation %s\n", runs,
               galv_print_seconds(mean, sizeof mean, spread->mean_s),
               galv_print_seconds(sd, sizeof sd, spread->sd_s));
    galv_print(cli, "  %-16s P50 %s   P95 %s   P99 %s\n", "",
               galv_print_seconds(p50, sizeof p50, spread->p50_s),
               galv_print_seconds(p95, sizeof p95, spread->p95_s),
               galv_print_seconds(p99, sizeof p99, spread->p99_s));
}

void galv_whole_cluster_print(const galv_cli *cli, const galv_result *result,
                              const galv_evaluate_options *options)
{
    const galv_cluster_result *c = &result->cluster;
    char count[32], alike[32], busy[32], mean[32];
    if (c->n_ranks == 0) {
        return;
    }
    double time_s = result->iteration_time_s;
    galv_print(cli, "\nAll %s ranks, each by itself%s (seed %lld)\n\n",
               galv_print_count(count, sizeof count, c->n_ranks),
               c->spread.n_runs > 0 ? ", the median run" : "",
               (long long)options->differences->seed);
    galv_print(cli, "  %-16s %+.2f %% on %s with ranks alike\n", "step",
               100 * (time_s / c->folded_time_s - 1),
               galv_print_seconds(alike, sizeof alike, c->folded_time_s));
    galv_print(cli, "  %-16s %.2f %% of the step, in collectives for others\n",
               "waiting", 100 * c->waiting_s / time_s);
    galv_print(cli, "  %-16s %.2f %% of the step, idle because ranks or links differ\n",
               "straggling",
               100 * result->breakdown_s[GALV_BREAKDOWN_STRAGGLING] / time_s);
    if (c->slowest_busy_s > c->stage_busy_s * (1 + 1e-9)) {
        galv_print(cli, "  %-16s rank %lld computes %s, its stage %s\n", "slowest",
                   (long long)c->slowest_rank,
                   galv_print_seconds(busy, sizeof busy, c->slowest_busy_s),
                   galv_print_seconds(mean, sizeof mean, c->stage_busy_s));
    }
    print_spread(cli, &c->spread);
}

/* ---- documents ---- */

static void put_differences(const galv_differences *d, galv_json_writer *writer)
{
    galv_json_key_i64(writer, "seed", (int64_t)d->seed);
    galv_json_key_f64(writer, "compute_sigma", d->compute_sigma);
    galv_json_key_f64(writer, "comm_sigma", d->comm_sigma);
    galv_json_put_key(writer, "stragglers");
    galv_json_begin_array(writer, true);
    for (int32_t i = 0; i < d->n_stragglers; i++) {
        const galv_straggler *s = &d->stragglers[i];
        galv_json_begin_object(writer, true);
        if (s->rank >= 0) {
            galv_json_key_i64(writer, "rank", s->rank);
        } else {
            galv_json_key_f64(writer, "share_frac", s->share_frac);
        }
        galv_json_key_f64(writer, "factor", s->factor);
        galv_json_end_object(writer);
    }
    galv_json_end_array(writer);
    galv_json_put_key(writer, "slow_links");
    galv_json_begin_array(writer, true);
    for (int32_t i = 0; i < d->n_slow_links; i++) {
        galv_json_begin_object(writer, true);
        galv_json_key_i64(writer, "node", d->slow_links[i].node);
        galv_json_key_f64(writer, "factor", d->slow_links[i].factor);
        galv_json_end_object(writer);
    }
    galv_json_end_array(writer);
}

void galv_whole_cluster_to_json(const galv_result *result,
                                const galv_evaluate_options *options,
                                galv_json_writer *writer)
{
    const galv_cluster_result *c = &result->cluster;
    if (c->n_ranks == 0) {
        return;
    }
    galv_json_put_key(writer, "all_ranks");
    galv_json_begin_object(writer, false);
    galv_json_key_i64(writer, "ranks", c->n_ranks);
    galv_json_key_f64(writer, "folded_time_s", c->folded_time_s);
    galv_json_key_f64(writer, "waiting_s", c->waiting_s);
    galv_json_key_i64(writer, "slowest_rank", c->slowest_rank);
    galv_json_key_f64(writer, "slowest_busy_s", c->slowest_busy_s);
    galv_json_key_f64(writer, "stage_busy_s", c->stage_busy_s);
    galv_json_key_bool(writer, "contention",
                       options->share_network ||
                           options->differences->n_slow_links > 0);
    galv_json_key_i64(writer, "flow_changes", (int64_t)c->n_flow_changes);
    put_differences(options->differences, writer);
    if (c->spread.n_runs > 0) {
        const galv_spread *s = &c->spread;
        galv_json_put_key(writer, "spread");
        galv_json_begin_object(writer, true);
        galv_json_key_i64(writer, "runs", s->n_runs);
        galv_json_key_bool(writer, "interrupted", s->n_runs < s->n_wanted);
        galv_json_key_f64(writer, "mean_s", s->mean_s);
        galv_json_key_f64(writer, "sd_s", s->sd_s);
        galv_json_key_f64(writer, "least_s", s->least_s);
        galv_json_key_f64(writer, "p50_s", s->p50_s);
        galv_json_key_f64(writer, "p95_s", s->p95_s);
        galv_json_key_f64(writer, "p99_s", s->p99_s);
        galv_json_key_f64(writer, "most_s", s->most_s);
        galv_json_end_object(writer);
    }
    galv_json_end_object(writer);
}

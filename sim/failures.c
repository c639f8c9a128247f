/* A run of days, event by event: failures, restarts, repairs.
 *
 * Model. Training goes on in stretches: work for one interval, then stand still while a
 * checkpoint is written; the last stretch may be shorter, and the end of the run is
 * saved too. Each device, node and switch fails at a constant rate, so the whole fails
 * at the sum of their rates, and the time to the next failure forgets what was before.
 * A failure throws away what was done since the last finished checkpoint, an unfinished
 * checkpoint included. Then comes a restart, during which failures strike as well and
 * make it begin anew. A failed device or node takes a node out; it is a spare again
 * after a fixed time of repair. Without a spare the run waits for the first node to
 * come back; nothing strikes meanwhile.
 *
 * Between two failures nothing is decided, so the events are failures alone, and a run
 * costs time in proportion to them. Each run draws from a generator of its own, seeded
 * by the seed and the number of the run.
 *
 * Left out: failures that come in bursts or with age; spares that fail while they wait;
 * going on with fewer nodes; checkpoints kept in memory, from which a restart is
 * quicker after some failures than after others. */
#include "sim/failures.h"

#include <gsl/gsl_errno.h>
#include <gsl/gsl_randist.h>
#include <gsl/gsl_rng.h>
#include <gsl/gsl_sf_lambert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MOST_RUNS   1000000
#define MOST_SPARES 1000000
#define MOST_TIMES  1000.0 /* its work that a run may take */

const char *const galv_failure_names[GALV_N_FAILURE_KINDS] = {
#define GALV_WORD(name, word) word,
    GALV_FAILURE_TABLE(GALV_WORD)
#undef GALV_WORD
};

/* ---- closed forms ---- */

static double rate_of(const galv_failure_options *options, int kind)
{
    return options->mtbf_s[kind] > 0
               ? (double)options->n_of[kind] / options->mtbf_s[kind]
               : 0;
}

double galv_failure_mtbf(const galv_failure_options *options)
{
    double rate = 0;
    for (int kind = 0; kind < GALV_N_FAILURE_KINDS; kind++) {
        rate += rate_of(options, kind);
    }
    return rate > 0 ? 1 / rate : (double)INFINITY;
}

/* With x = interval / M and c = C / M the expected time per work, (exp(x + c) - 1) / x,
 * is least where (x - 1) exp(x - 1) = -exp(-1 - c). For small c that is so near to the
 * end of W's branch that 1 + W loses its digits: there, the root's expansion in
 * sqrt(2 c). */
double galv_failure_best_interval(double checkpoint_s, double mtbf_s)
{
    if (!isfinite(mtbf_s)) {
        return (double)INFINITY;
    }
    double c = checkpoint_s / mtbf_s;
    double y = sqrt(2 * c);
    gsl_sf_result w;
    if (c < 1e-6 || gsl_sf_lambert_W0_e(-exp(-1 - c), &w) != GSL_SUCCESS) {
        return mtbf_s * y * (1 - y / 3 + y * y / 36);
    }
    return mtbf_s * (1 + w.val);
}

double galv_failure_expected(double work_s, double interval_s, double checkpoint_s,
                             double restart_s, double mtbf_s)
{
    double n = interval_s < work_s ? ceil(work_s / interval_s) : 1;
    double last_s = work_s - (n - 1) * interval_s;
    if (!isfinite(mtbf_s)) {
        return work_s + n * checkpoint_s;
    }
    double full = n > 1 ? (n - 1) * expm1((interval_s + checkpoint_s) / mtbf_s) : 0;
    return mtbf_s * exp(restart_s / mtbf_s) *
           (full + expm1((last_s + checkpoint_s) / mtbf_s));
}

/* ---- one run ---- */

/* Nodes that are out, in the order in which they come back: repair takes all alike. */
typedef struct repairs {
    double *back_s; /* [capacity] when */
    size_t capacity, first, n;
} repairs;

typedef struct play {
    const galv_failure_options *options;
    double work_s, interval_s, mtbf_s;
    double rates[GALV_N_FAILURE_KINDS]; /* as shares of the whole, summed up */
    gsl_rng *random;
    repairs repairs;
    double now_s;
    galv_run_result sum; /* of all runs */
} play;

/* A node is out now; waits until one is there in its place. */
static void replace_node(play *p)
{
    repairs *r = &p->repairs;
    if (p->options->n_spares < 0) {
        return;
    }
    while (r->n > 0 && r->back_s[r->first] <= p->now_s) {
        r->first = (r->first + 1) % r->capacity;
        r->n--;
    }
    r->back_s[(r->first + r->n) % r->capacity] = p->now_s + p->options->repair_s;
    r->n++;
    if (r->n > (size_t)p->options->n_spares) {
        p->sum.waiting_s += r->back_s[r->first] - p->now_s;
        p->now_s = r->back_s[r->first];
        r->first = (r->first + 1) % r->capacity;
        r->n--;
    }
}

/* Something has failed: which, and what it takes to be ready to restart. */
static void fail(play *p)
{
    double at = gsl_rng_uniform(p->random);
    int kind = 0;
    while (kind < GALV_N_FAILURE_KINDS - 1 && at >= p->rates[kind]) {
        kind++;
    }
    p->sum.n_failures[kind] += 1;
    if (kind != GALV_FAILURE_SWITCH) {
        replace_node(p);
    }
}

static double time_to_failure(play *p)
{
    return isfinite(p->mtbf_s) ? gsl_ran_exponential(p->random, p->mtbf_s)
                               : (double)INFINITY;
}

static void restart(play *p)
{
    for (;;) {
        double failure_s = time_to_failure(p);
        double spent_s = fmin(failure_s, p->options->restart_s);
        p->now_s += spent_s;
        p->sum.restart_s += spent_s;
        if (failure_s >= p->options->restart_s) {
            return;
        }
        fail(p);
    }
}

/* Plays until the work is done; p->now_s is how long that took. */
static void play_run(play *p)
{
    double left_s = p->work_s;
    double checkpoint_s = p->options->checkpoint_s;
    double stretch_s = p->interval_s + checkpoint_s;
    p->now_s = 0;
    p->repairs.n = 0;
    for (;;) {
        double n = p->interval_s < left_s ? ceil(left_s / p->interval_s) : 1;
        double needed_s = left_s + n * checkpoint_s;
        double failure_s = time_to_failure(p);
        if (failure_s >= needed_s) {
            p->now_s += needed_s;
            p->sum.checkpoint_s += n * checkpoint_s;
            return;
        }
        double saved = n > 1 ? fmin(floor(failure_s / stretch_s), n - 1) : 0;
        p->now_s += failure_s;
        p->sum.rework_s += failure_s - saved * stretch_s;
        p->sum.checkpoint_s += saved * checkpoint_s;
        left_s -= saved > 0 ? saved * p->interval_s : 0;
        fail(p);
        restart(p);
    }
}

/* ---- all runs ---- */

/* Seeds of neighbouring runs have nothing in common. Source: Steele, Lea, Flood 2014,
 * "Fast splittable pseudorandom number generators" (SplitMix64's finaliser). */
static unsigned long seed_of_run(uint64_t seed, int32_t run)
{
    uint64_t z = seed + (uint64_t)(run + 1) * 0x9e3779b97f4a7c15U;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return (unsigned long)((z ^ (z >> 31)) & 0xffffffffU);
}

static int compare_f64(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The smallest of times_s[n], sorted, that at least this share does not exceed. */
static double quantile(const double *times_s, int32_t n, double share)
{
    return times_s[(int32_t)ceil(share * n - 1e-9) - 1];
}

static void sum_up(galv_run_result *result, play *p, double *times_s, int32_t n)
{
    double squares = 0;
    *result = p->sum;
    for (int32_t run = 0; run < n; run++) {
        result->mean_s += times_s[run] / n;
    }
    for (int32_t run = 0; run < n; run++) {
        squares += (times_s[run] - result->mean_s) * (times_s[run] - result->mean_s);
    }
    qsort(times_s, (size_t)n, sizeof *times_s, compare_f64);
    result->standard_error_s = n > 1 ? sqrt(squares / (n - 1.0) / n) : 0;
    result->p50_s = quantile(times_s, n, 0.5);
    result->p95_s = quantile(times_s, n, 0.95);
    result->p99_s = quantile(times_s, n, 0.99);
    result->checkpoint_s /= n;
    result->rework_s /= n;
    result->restart_s /= n;
    result->waiting_s /= n;
    for (int kind = 0; kind < GALV_N_FAILURE_KINDS; kind++) {
        result->n_failures[kind] /= n;
    }
    result->work_s = p->work_s;
    result->mtbf_s = p->mtbf_s;
    result->checkpoint_interval_s = p->interval_s;
    result->goodput_frac = p->work_s / result->mean_s;
    result->closed_form_s =
        galv_failure_expected(p->work_s, p->interval_s, p->options->checkpoint_s,
                              p->options->restart_s, p->mtbf_s);
    result->n_runs = n;
    result->n_asked = p->options->n_runs;
    result->seed = p->options->seed;
}

static bool is_time(double seconds)
{
    return seconds >= 0 && seconds <= 1e12;
}

static galv_status check(double work_s, const galv_failure_options *options,
                         galv_err *err)
{
    if (!(work_s > 0) || !is_time(work_s)) {
        return galv_fail(err, GALV_USAGE, "a run of %g seconds of work cannot be",
                         work_s);
    }
    if (!is_time(options->checkpoint_interval_s) || !is_time(options->checkpoint_s) ||
        !is_time(options->restart_s) || !is_time(options->repair_s) ||
        !is_time(options->step_s)) {
        return galv_fail(err, GALV_USAGE,
                         "times of checkpoints, restarts and repairs must be from 0 "
                         "to 1e12 seconds");
    }
    for (int kind = 0; kind < GALV_N_FAILURE_KINDS; kind++) {
        if (!(options->mtbf_s[kind] >= 0) || options->n_of[kind] < 0) {
            return galv_fail(err, GALV_USAGE,
                             "%g seconds between the failures of a %s cannot be",
                             options->mtbf_s[kind], galv_failure_names[kind]);
        }
    }
    if (options->n_runs < 1 || options->n_runs > MOST_RUNS ||
        options->n_spares > MOST_SPARES) {
        return galv_fail(err, GALV_USAGE, "%d runs with %lld spares cannot be played",
                         (int)options->n_runs, (long long)options->n_spares);
    }
    return GALV_OK;
}

/* The interval asked for, or the best; whole steps; at most the whole run. */
static double choose_interval(double work_s, const galv_failure_options *options,
                              double mtbf_s)
{
    double interval_s = options->checkpoint_interval_s;
    if (!(interval_s > 0)) {
        interval_s = galv_failure_best_interval(options->checkpoint_s, mtbf_s);
        interval_s = fmax(interval_s, work_s / 1e6); /* free checkpoints */
    }
    if (options->step_s > 0 && interval_s < work_s) {
        interval_s = fmax(round(interval_s / options->step_s), 1) * options->step_s;
    }
    return fmin(interval_s, work_s);
}

static galv_status set_up(play *p, const galv_failure_options *options,
                          galv_arena *arena, galv_err *err)
{
    p->options = options;
    p->mtbf_s = galv_failure_mtbf(options);
    p->interval_s = choose_interval(p->work_s, options, p->mtbf_s);
    double share = 0;
    for (int kind = 0; kind < GALV_N_FAILURE_KINDS; kind++) {
        share += isfinite(p->mtbf_s) ? rate_of(options, kind) * p->mtbf_s : 0;
        p->rates[kind] = share;
    }
    double expected_s = galv_failure_expected(
        p->work_s, p->interval_s, options->checkpoint_s, options->restart_s, p->mtbf_s);
    if (!(expected_s <= MOST_TIMES * p->work_s)) {
        return galv_fail(err, GALV_INFEASIBLE,
                         "the run does not get on: something fails every %.3g s, and "
                         "between failures it takes %.3g s to restart, to work and "
                         "to save",
                         p->mtbf_s,
                         options->restart_s + p->interval_s + options->checkpoint_s);
    }
    p->repairs.capacity = (size_t)(options->n_spares < 0 ? 0 : options->n_spares) + 2;
    p->repairs.back_s = GALV_NEW_ARRAY(arena, double, p->repairs.capacity);
    gsl_set_error_handler_off();
    p->random = gsl_rng_alloc(gsl_rng_mt19937);
    if (p->repairs.back_s == NULL || p->random == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for a run of days");
    }
    return GALV_OK;
}

galv_status galv_failure_simulate(galv_run_result *result, double work_s,
                                  const galv_failure_options *options,
                                  galv_arena *arena, galv_err *err)
{
    play p = {0};
    p.work_s = work_s;
    galv_status status = check(work_s, options, err);
    if (status == GALV_OK) {
        status = set_up(&p, options, arena, err);
    }
    double *times_s =
        status == GALV_OK ? GALV_NEW_ARRAY(arena, double, options->n_runs) : NULL;
    if (status == GALV_OK && times_s == NULL) {
        status = galv_fail(err, GALV_NO_MEMORY, "no memory for %d runs",
                           (int)options->n_runs);
    }
    int32_t n = 0;
    while (status == GALV_OK && n < options->n_runs &&
           (n == 0 || options->cancel == NULL || !atomic_load(options->cancel))) {
        gsl_rng_set(p.random, seed_of_run(options->seed, n));
        play_run(&p);
        times_s[n++] = p.now_s;
    }
    if (status == GALV_OK) {
        sum_up(result, &p, times_s, n);
    }
    if (p.random != NULL) {
        gsl_rng_free(p.random);
    }
    return status;
}

/* ---- JSON ---- */

void galv_run_result_to_json(const galv_run_result *result,
                             const galv_failure_options *options,
                             const char *const *defaults, size_t n_defaults,
                             galv_json_writer *writer)
{
    galv_json_begin_object(writer, false);
    galv_json_key_f64(writer, "work_s", result->work_s);
    galv_json_key_f64(writer, "mtbf_s", result->mtbf_s);
    galv_json_key_f64(writer, "checkpoint_interval_s", result->checkpoint_interval_s);
    galv_json_key_f64(writer, "checkpoint_time_s", options->checkpoint_s);
    galv_json_key_f64(writer, "restart_time_s", options->restart_s);
    galv_json_key_i64(writer, "spares", options->n_spares);
    galv_json_key_f64(writer, "repair_time_s", options->repair_s);
    galv_json_key_f64(writer, "goodput_frac", result->goodput_frac);
    galv_json_key_f64(writer, "mean_s", result->mean_s);
    galv_json_key_f64(writer, "standard_error_s", result->standard_error_s);
    galv_json_key_f64(writer, "p50_s", result->p50_s);
    galv_json_key_f64(writer, "p95_s", result->p95_s);
    galv_json_key_f64(writer, "p99_s", result->p99_s);
    galv_json_key_f64(writer, "closed_form_s", result->closed_form_s);
    galv_json_put_key(writer, "lost_s");
    galv_json_begin_object(writer, true);
    galv_json_key_f64(writer, "checkpoint", result->checkpoint_s);
    galv_json_key_f64(writer, "rework", result->rework_s);
    galv_json_key_f64(writer, "restart", result->restart_s);
    galv_json_key_f64(writer, "waiting", result->waiting_s);
    galv_json_end_object(writer);
    galv_json_put_key(writer, "failures");
    galv_json_begin_object(writer, true);
    for (int kind = 0; kind < GALV_N_FAILURE_KINDS; kind++) {
        galv_json_key_f64(writer, galv_failure_names[kind], result->n_failures[kind]);
    }
    galv_json_end_object(writer);
    galv_json_put_key(writer, "mtbf_of_one_s");
    galv_json_begin_object(writer, true);
    for (int kind = 0; kind < GALV_N_FAILURE_KINDS; kind++) {
        galv_json_key_f64(writer, galv_failure_names[kind], options->mtbf_s[kind]);
    }
    galv_json_end_object(writer);
    galv_json_put_key(writer, "defaults");
    galv_json_begin_array(writer, true);
    for (size_t i = 0; i < n_defaults; i++) {
        galv_json_put_string(writer, defaults[i]);
    }
    galv_json_end_array(writer);
    galv_json_key_i64(writer, "runs", result->n_runs);
    galv_json_key_bool(writer, "interrupted", result->n_runs < result->n_asked);
    galv_json_key_i64(writer, "seed", (int64_t)result->seed);
    galv_json_end_object(writer);
}

/* A run of days: what failures, checkpoints and restarts make of it. */
#ifndef GALV_SIM_FAILURES_H
#define GALV_SIM_FAILURES_H

#include "base/arena.h"
#include "base/json.h"
#include "base/status.h"

#include <stdatomic.h>
#include <stdint.h>

/* What fails. X(name, word) */
#define GALV_FAILURE_TABLE(X) \
    X(DEVICE, "device")       \
    X(NODE, "node")           \
    X(SWITCH, "switch")

typedef enum galv_failure_kind {
#define GALV_ENUM(name, word) GALV_FAILURE_##name,
    GALV_FAILURE_TABLE(GALV_ENUM)
#undef GALV_ENUM
        GALV_N_FAILURE_KINDS
} galv_failure_kind;

extern const char *const galv_failure_names[GALV_N_FAILURE_KINDS];

/* Mean time between the failures of one device of the Llama 3 405B run, 50.7 thousand
 * hours: 419 unexpected interruptions of any cause (the device, its host, the network,
 * software) in 54 days of 16,384 H100. Source: Llama Team 2024, "The Llama 3 Herd of
 * Models", arXiv 2407.21783, section 3.3.4 and table 5. */
#define GALV_DEFAULT_MTBF_DEVICE_S (54 * 86400.0 * 16384 / 419)
/* Assumptions, to be replaced by what is known of a cluster. */
#define GALV_DEFAULT_CHECKPOINT_S 60.0
#define GALV_DEFAULT_RESTART_S    300.0
#define GALV_DEFAULT_REPAIR_S     86400.0

typedef struct galv_failure_options {
    int64_t n_of[GALV_N_FAILURE_KINDS];  /* devices, nodes, switches */
    double mtbf_s[GALV_N_FAILURE_KINDS]; /* of one of them; 0 = it never fails */
    double checkpoint_interval_s; /* work between two checkpoints; 0 = the optimum */
    double checkpoint_s;          /* training stands still while one is written */
    double restart_s; /* from a failure until training goes on: noticing it, replacing
                         the node, loading the checkpoint */
    int64_t n_spares; /* nodes in reserve; -1 = always one there */
    double repair_s;  /* until a node that failed is a spare again */
    double step_s;    /* > 0: checkpoints are taken between steps of this length */
    int32_t n_runs;
    uint64_t seed;
    const atomic_bool *cancel; /* set from outside: no run is begun any more but the
                                  first; NULL allowed */
} galv_failure_options;

#define GALV_FAILURE_OPTIONS_INIT                                    \
    {                                                                \
        .mtbf_s = {GALV_DEFAULT_MTBF_DEVICE_S, 0, 0},                \
        .checkpoint_s = GALV_DEFAULT_CHECKPOINT_S,                   \
        .restart_s = GALV_DEFAULT_RESTART_S, .n_spares = -1,         \
        .repair_s = GALV_DEFAULT_REPAIR_S, .n_runs = 1000, .seed = 1 \
    }

typedef struct galv_run_result {
    double work_s; /* of training, as if nothing failed */
    double mtbf_s; /* of the whole; INFINITY = nothing fails */
    double checkpoint_interval_s;
    double mean_s;           /* until the work is done and saved */
    double standard_error_s; /* of the mean */
    double p50_s, p95_s, p99_s;
    double goodput_frac; /* work_s / mean_s */
    /* where the rest of mean_s goes: adds up to it with work_s */
    double checkpoint_s;
    double rework_s; /* done, not saved, and lost */
    double restart_s;
    double waiting_s;                        /* for a node to be repaired */
    double n_failures[GALV_N_FAILURE_KINDS]; /* mean of a run */
    double closed_form_s; /* what mean_s is with spares always there */
    int32_t n_runs;
    int32_t n_asked; /* more than n_runs: it was interrupted */
    uint64_t seed;
} galv_run_result;

/* Mean time between failures of the whole, INFINITY when nothing fails. */
double galv_failure_mtbf(const galv_failure_options *options);

/* The interval between checkpoints with the least expected time: exact for failures
 * that come at a constant rate (Daly 2006, "A higher order estimate of the optimum
 * checkpoint interval for restart dumps", eq. 20, whose minimum Lambert's W gives);
 * sqrt(2 checkpoint mtbf) (Young 1974) where a checkpoint is short. INFINITY when
 * nothing fails, 0 when a checkpoint costs nothing. */
double galv_failure_best_interval(double checkpoint_s, double mtbf_s);

/* Expected time of a run, spares always there: for each stretch of work of w seconds
 * and the checkpoint that follows it, M exp(R / M) (exp((w + C) / M) - 1). Daly 2006,
 * eq. 20. */
double galv_failure_expected(double work_s, double interval_s, double checkpoint_s,
                             double restart_s, double mtbf_s);

/* Plays a run of `work_s` seconds of training n_runs times. Failures come at a constant
 * rate, also during checkpoints and restarts; one throws away the work since the last
 * checkpoint that was finished. A device's or node's failure takes a node out until it
 * is repaired; a switch's takes none. The same seed gives the same bits. Errors:
 * GALV_USAGE for numbers that cannot be, GALV_INFEASIBLE when the run would take more
 * than a thousand times its work, GALV_NO_MEMORY. */
galv_status galv_failure_simulate(galv_run_result *result, double work_s,
                                  const galv_failure_options *options,
                                  galv_arena *arena, galv_err *err);

/* Writes the value of "run" (docs/formats.md). `defaults[n_defaults]` names what nobody
 * gave. */
void galv_run_result_to_json(const galv_run_result *result,
                             const galv_failure_options *options,
                             const char *const *defaults, size_t n_defaults,
                             galv_json_writer *writer);

#endif

/* The discrete-event engine: a program and the costs of its classes in, a timeline and
 * its sums out.
 *
 * Operations are activities with work left and a rate. An activity alone has rate 1;
 * computation and communication on one device slow each other by their factors;
 * activities whose shares of a link of one rank add up to more than 1 slow alike. When
 * anything starts or ends on a rank, the rates there are set anew. Ties in time are
 * broken by (time, rank, stream, order): the same input gives the same bits. */
#ifndef GALV_SIM_SIMULATE_H
#define GALV_SIM_SIMULATE_H

#include "base/arena.h"
#include "base/status.h"
#include "costmodel/cost.h"
#include "schedule/program.h"
#include "traces/timeline.h"

#include <stdint.h>

/* What a second of a rank's iteration went to. X(name, word) */
#define GALV_BREAKDOWN_TABLE(X)                              \
    X(COMPUTE, "compute")                                    \
    X(RECOMPUTE, "recompute")                                \
    X(TP, "tp") /* exposed: nothing is computed meanwhile */ \
    X(CP, "cp")                                              \
    X(EP, "ep")                                              \
    X(PP, "pp") /* only its own message is in flight */      \
    X(DP, "dp")                                              \
    X(OPTIMIZER, "optimizer")                                \
    X(BUBBLE, "bubble")         /* nothing runs */           \
    X(STRAGGLING, "straggling") /* nothing runs, because ranks or links differ */

typedef enum galv_breakdown {
#define GALV_ENUM(name, word) GALV_BREAKDOWN_##name,
    GALV_BREAKDOWN_TABLE(GALV_ENUM)
#undef GALV_ENUM
        GALV_N_BREAKDOWNS
} galv_breakdown;

extern const char *const galv_breakdown_names[GALV_N_BREAKDOWNS];

typedef struct galv_sim_options {
    bool record_timeline; /* fill galv_sim_result.timeline */
    double stop_at_s;     /* > 0: give up once it is sure that the end is later, by the
                             longest path or by the clock (stopped = true) */
    bool repeat_passes;   /* a pass that is a single operation takes what it took before
                             under the same circumstances: the same up to rounding */
} galv_sim_options;

#define GALV_SIM_OPTIONS_INIT \
    {                         \
        false, 0, false       \
    }

typedef struct galv_rank_result {
    double begin_s;                    /* when it first began to compute */
    double end_s;                      /* when its last operation ended */
    double spent_s[GALV_N_BREAKDOWNS]; /* adds up to the iteration's time */
    double busy_s;                     /* of the compute stream */
    double comm_s[GALV_N_STREAMS];     /* time each stream was busy, hidden or not */
    double peak_bytes;
    double peak_time_s;
    double peak_use_bytes[GALV_N_MEMORY_USES]; /* at the peak; adds up to it */
    uint32_t peak_op;                          /* op whose start or end made the peak */
} galv_rank_result;

typedef struct galv_sim_result {
    double iteration_time_s;
    bool stopped;      /* stop_at_s was reached: times are lower bounds */
    uint64_t n_events; /* operations started and ended, rate changes */
    int32_t n_ranks;
    galv_rank_result *ranks; /* [n_ranks], owned by the arena */
    galv_timeline timeline;  /* spans and samples when asked for; no title */
} galv_sim_result;

/* Simulates one iteration. `costs[n_classes]`; `base[n_ranks]` is what each rank holds
 * throughout (NULL = nothing). Errors: GALV_INPUT when the program deadlocks (names an
 * operation that never started and what it waits for), GALV_NO_MEMORY. */
galv_status galv_simulate(galv_sim_result *result, const galv_program *program,
                          const galv_cost *costs, const galv_stage_memory *base,
                          const galv_sim_options *options, galv_arena *arena,
                          galv_err *err);

#endif

/* The search: from a job and a space to the K best plans, judged by the simulator.
 *
 * Candidates get a lower bound of their simulated time in parallel, are sorted by it,
 * and, best first, estimated in memory and simulated. The search may stop as soon as
 * the next bound is no better than the K-th best simulated time: what is left cannot
 * win, so the answer is proven. With space.layer_wise, plans whose layers differ follow
 * (search/layerwise.h): a second producer of candidates behind the same judges. Their
 * best enter the K best, and proven_optimal then speaks of the first plan. */
#ifndef GALV_SEARCH_SEARCH_H
#define GALV_SEARCH_SEARCH_H

#include "costmodel/costmodel.h"
#include "search/space.h"
#include "sim/evaluate.h"

#include <stdatomic.h>

typedef struct galv_search_progress {
    uint64_t done, total; /* of the present phase */
    const char *phase;    /* "pricing", "simulating" */
    double best_s;        /* INFINITY = none yet */
    double best_mfu;
} galv_search_progress;

typedef struct galv_search_options {
    int32_t top_k;       /* plans wanted; 0 = 5 */
    int32_t per_kind;    /* of them, at most so many that differ in schedule, chunks
                            and micro-batch alone (search/podium.h); 0 = any number */
    int n_jobs;          /* threads; 0 = 1 */
    uint64_t max_ops;    /* stop after simulating about so many operations:
                            then the answer is not proven; 0 = no limit */
    double time_limit_s; /* 0 = none; a limit makes the answer depend on the
                            machine, so the command line sets none by itself */
    atomic_bool *cancel; /* set from outside to stop; NULL allowed */
    /* Called from the calling thread now and then; NULL allowed. */
    void (*progress)(void *context, const galv_search_progress *progress);
    void *progress_context;
} galv_search_options;

/* What the command line allows a search by default: about ten seconds on one core. A
 * job of the usual size needs a hundredth of it. */
#define GALV_SEARCH_USUAL_OPS 100000000u

#define GALV_SEARCH_OPTIONS_INIT        \
    {                                   \
        0, 0, 0, 0, 0, NULL, NULL, NULL \
    }

/* What became of one candidate: a row of candidates.csv. */
typedef enum galv_fate {
    GALV_FATE_SIMULATED,     /* fits and was simulated */
    GALV_FATE_OUT_OF_MEMORY, /* by the estimate or by the simulation */
    GALV_FATE_BOUNDED,       /* its bound is no better than the K-th best; whether it
                                fits is not known */
    GALV_FATE_LEFT           /* not reached when the search was stopped */
} galv_fate;

extern const char *const galv_fate_names[4];

typedef struct galv_searched {
    galv_candidate candidate;
    galv_fate fate;
    double bound_s;
    double time_s;            /* NAN unless simulated to the end */
    double peak_memory_bytes; /* simulated, else it needs at least so much: estimated,
                                 or held throughout when its bound was enough */
} galv_searched;

typedef struct galv_ranked_plan {
    galv_plan *plan;
    galv_result result; /* without timeline */
} galv_ranked_plan;

typedef struct galv_search_result {
    int32_t n_plans; /* <= top_k, best first */
    galv_ranked_plan *plans;
    uint64_t n_candidates; /* leaves that were priced */
    uint64_t n_pruned;     /* leaves cut: by the tree, by memory, by bound */
    uint64_t n_simulated;
    uint64_t cut[GALV_N_CUTS];
    double wall_s;
    bool proven_optimal;  /* nothing left can beat the best plan */
    bool proven_uniform;  /* no plan of one strategy for all layers can */
    double lower_bound_s; /* no plan of the space is faster; = best when proven */
    bool interrupted;     /* cancel was set or the time limit reached */
    size_t n_searched;
    galv_searched *searched; /* every priced candidate, by (fate, time or bound) */
    /* when nothing fits: the least memory any candidate needs, and which */
    double least_memory_bytes, least_memory_limit_bytes;
    galv_candidate least_memory;
} galv_search_result; /* arrays are owned by the arena */

/* Runs the search. The same result for any n_jobs. Errors: GALV_USAGE (the space is
 * empty: why), GALV_INFEASIBLE (candidates exist, none fits; `result` is filled all the
 * same, and the message names the smallest memory found), GALV_NO_MEMORY. */
galv_status galv_search(galv_search_result *result, const galv_costmodel *model,
                        const galv_space *space, const galv_search_options *options,
                        galv_arena *arena, galv_err *err);

/* Adds what one search says of its work to what several did: counts, seconds, whether
 * any was interrupted and all proved their uniform plans. */
void galv_search_add_counts(galv_search_result *sum, const galv_search_result *one);

#endif

/* The sweep: the best plan for each of many clusters, and the front of time and money.
 */
#ifndef GALV_SEARCH_SWEEP_H
#define GALV_SEARCH_SWEEP_H

#include "search/search.h"

typedef struct galv_sweep_point {
    int32_t n_nodes;
    int64_t n_devices;
    char device[32];
    char cluster[GALV_NAME_SIZE];
    galv_status status; /* GALV_OK, or GALV_INFEASIBLE / GALV_USAGE: why_not */
    char why_not[256];
    galv_plan *plan;
    galv_job *job; /* with the pools of a mixed cluster in their best order */
    galv_result result;
    double usd_per_hour;   /* of the whole cluster; 0 = price unknown */
    double days;           /* to train workload.tokens_to_train; 0 = not asked */
    double usd;            /* for that; 0 = unknown */
    double usd_per_tokens; /* dollars for 1e12 tokens; 0 = unknown */
    double scaling_frac;   /* tokens/s per device against the smallest cluster of
                              the same name and workload in this sweep; 1 for that
                              one */
    bool on_front;         /* no other point is both faster and cheaper */
} galv_sweep_point;

/* Searches every job (top_k 1 each) in order: one model on many clusters, or with many
 * batches and memory limits; points[n_jobs] owned by the arena. A job that nothing fits
 * is a point with a status, not an error. Stops early, with the points done so far and
 * GALV_INTERRUPTED, when options->cancel is set. Jobs with workload.global_batch_size 0
 * get the usual batch of the largest cluster among them (strong scaling). */
galv_status galv_sweep(galv_sweep_point **points, size_t *n_points,
                       const galv_job *jobs, size_t n_jobs, const galv_profile *profile,
                       const galv_space *space, const galv_search_options *options,
                       galv_arena *arena, galv_err *err);

#endif

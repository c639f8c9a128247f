/* A recorded run of Galvatron's search engine, and what we find for the same inputs. */
#ifndef GALV_BENCHMARKS_GALVATRON_RUN_H
#define GALV_BENCHMARKS_GALVATRON_RUN_H

#include "search/galvatron_search.h"
#include "search/search.h"

/* A plan under both models. NAN = cannot be said. */
typedef struct judged_plan {
    char text[256];     /* "1f1b n8: 16x 2-4*-1-c, ..." */
    double galvatron_s; /* iteration under its cost model */
    double galvatron_mib;
    double ours_s; /* simulated */
    double ours_gib;
    bool ours_fits;
    char why[200]; /* why it cannot be simulated, "" = it can */
} judged_plan;

/* One run. */
typedef struct compared_run {
    char name[96];
    double budget_gib;
    double limit_gib; /* of ours under our simulator: the budget less what is kept free,
                         or what the engine's plan takes by our model if that is more */
    bool limit_raised;
    int64_t global_batch_size;
    char pipeline[16], default_dp[8];
    bool engine_found, own_found, wide_found, simulated_found;
    judged_plan engine;    /* the published engine's */
    judged_plan own;       /* ours, its model and space */
    judged_plan wide;      /* ours, its model in a wider space */
    judged_plan simulated; /* ours, our simulator */
    bool own_proven, wide_proven, simulated_proven;
    double own_s, wide_s, simulated_s; /* seconds of the searches: of the first two CPU
                                          time, of the last wall clock */
    uint64_t n_tasks, n_solved;
} compared_run;

typedef struct compare_options {
    bool simulate;     /* our simulator, too */
    bool own_knobs;    /* our search only uses what Galvatron's can choose */
    bool whole_memory; /* under our simulator, what Galvatron keeps free, too */
    int n_jobs;
} compare_options;

/* Reads a run's file and does everything. Errors: GALV_INPUT for a file that is not a
 * run, GALV_NO_MEMORY. What cannot be simulated is no error. */
galv_status compare_run(compared_run *run, const char *path,
                        const compare_options *options, galv_err *err);

/* The search in its space for 80 layers like the run's on 512 GPUs of 80 GB, batch
 * 1024; groups larger than measured are taken to be as fast as the largest: made up,
 * to time the search. The answer is owned by the arena. */
galv_status compare_large(galv_galvatron_found *found, double *seconds,
                          const char *path, galv_arena *arena, galv_err *err);

#endif

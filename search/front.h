/* The front of time and memory: every plan for which no other is both faster and
 * smaller.
 *
 * The fastest plan is found; then the fastest that needs less memory than that one; and
 * so on until nothing fits. Each point is the answer of a search of its own, with that
 * search's proof. */
#ifndef GALV_SEARCH_FRONT_H
#define GALV_SEARCH_FRONT_H

#include "search/search.h"

typedef struct galv_front_point {
    galv_plan *plan;
    const galv_job *job; /* with the pools of a mixed cluster in their best order */
    galv_result result;  /* with the memory limit of the job */
    double memory_limit_bytes; /* under which it is the fastest */
    bool proven;
} galv_front_point;

typedef struct galv_front {
    size_t n_points;
    galv_front_point *points; /* fastest first, owned by the arena */
    bool interrupted;         /* the rest of the front is missing */
} galv_front;

/* The least that a point must save over the one before, so that a front is a list for
 * people: a share of the memory that the fastest plan may use. Between two points there
 * may be others that save less. */
#define GALV_FRONT_STEP_FRAC 0.01

/* Finds the front. options->top_k is not read; time_limit_s holds for each point.
 * Errors: as galv_search for the first point. */
galv_status galv_front_find(galv_front *front, const galv_job *job,
                            const galv_profile *profile, const galv_space *space,
                            const galv_search_options *options, galv_arena *arena,
                            galv_err *err);

#endif

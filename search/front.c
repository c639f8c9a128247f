/* One search after another, each under the memory that the last plan needed.
 *
 * This is the epsilon-constraint method (Haimes, Lasdon and Wismer 1971): the fastest
 * plan under a limit is on the front, and the next limit excludes it. Of plans that are
 * equally fast the search may return one that is not the smallest; it is then followed
 * by a smaller one of the same time, and is dropped. */
#include "search/front.h"

#include "search/pool_orders.h"

#include <math.h>
#include <string.h>

typedef struct finder {
    const galv_job *job;
    const galv_profile *profile;
    const galv_space *space;
    galv_search_options options;
    galv_arena *arena;
} finder;

static galv_status find_point(galv_front_point *point, bool *interrupted,
                              const finder *f, double limit_bytes, galv_err *err)
{
    galv_job job = *f->job;
    galv_job *best = NULL;
    galv_search_result found = {0};
    job.workload.memory_limit_bytes = limit_bytes;
    galv_status status = galv_pool_orders_search(&found, &best, &job, f->profile,
                                                 f->space, &f->options, f->arena, err);
    *interrupted = found.interrupted;
    if (status == GALV_OK) {
        best->workload.memory_limit_bytes = f->job->workload.memory_limit_bytes;
        point->job = best;
        point->plan = found.plans[0].plan;
        point->result = found.plans[0].result;
        point->memory_limit_bytes = limit_bytes;
        point->proven = found.proven_optimal;
    }
    return status;
}

static bool grow(galv_front *front, size_t *capacity, galv_arena *arena)
{
    if (front->n_points < *capacity) {
        return true;
    }
    size_t more = *capacity == 0 ? 16 : *capacity * 2;
    galv_front_point *points = GALV_NEW_ARRAY(arena, galv_front_point, more);
    if (points == NULL) {
        return false;
    }
    if (front->n_points > 0) {
        memcpy(points, front->points, front->n_points * sizeof points[0]);
    }
    front->points = points;
    *capacity = more;
    return true;
}

/* Of any stage: in a mixed cluster not always the one that is fullest for its devices.
 */
static double most_bytes(const galv_result *result)
{
    double most = 0;
    for (int32_t i = 0; i < result->n_stages; i++) {
        most = fmax(most, result->stages[i].peak_memory_bytes);
    }
    return most;
}

galv_status galv_front_find(galv_front *front, const galv_job *job,
                            const galv_profile *profile, const galv_space *space,
                            const galv_search_options *options, galv_arena *arena,
                            galv_err *err)
{
    finder f = {job, profile, space, *options, arena};
    galv_front made = {0};
    size_t capacity = 0;
    double limit_bytes = job->workload.memory_limit_bytes;
    double usable_bytes = 0;
    f.options.top_k = 1;
    for (;;) {
        galv_front_point point = {0};
        galv_err why = GALV_ERR_INIT;
        bool interrupted = false;
        galv_status status = find_point(&point, &interrupted, &f, limit_bytes, &why);
        if (status == GALV_INFEASIBLE && made.n_points > 0) {
            break;
        }
        if (status != GALV_OK && !(interrupted && made.n_points > 0)) {
            *err = why;
            return status;
        }
        made.interrupted = made.interrupted || interrupted;
        if (status != GALV_OK) {
            break;
        }
        usable_bytes =
            made.n_points == 0 ? point.result.memory_limit_bytes : usable_bytes;
        bool as_fast = made.n_points > 0 &&
                       point.result.iteration_time_s <=
                           made.points[made.n_points - 1].result.iteration_time_s;
        made.n_points -= as_fast; /* smaller and no slower: the last one is not on it */
        if (!grow(&made, &capacity, arena)) {
            return galv_fail(err, GALV_NO_MEMORY, "out of memory");
        }
        made.points[made.n_points++] = point;
        limit_bytes = most_bytes(&point.result) - GALV_FRONT_STEP_FRAC * usable_bytes;
        if (interrupted || limit_bytes <= 0) {
            break;
        }
    }
    for (size_t i = 0; i < made.n_points; i++) {
        made.points[i].result.memory_limit_bytes = usable_bytes;
    }
    *front = made;
    return GALV_OK;
}

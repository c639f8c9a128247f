/* Separate searches, each with its own proof, then one order for all. The bound of a
 * batch, its tokens over the least seconds of a step, is a bound in tokens a second;
 * the largest of them holds for all batches. */
#include "search/batches.h"

#include "search/pool_orders.h"

#include <stdio.h>

static galv_status search_batch(galv_batch_point *point, const galv_job *job,
                                const galv_profile *profile, int64_t batch,
                                const galv_space *space,
                                const galv_search_options *options, galv_arena *arena,
                                galv_err *why)
{
    point->job = GALV_NEW(arena, galv_job);
    if (!point->job) {
        return galv_fail(why, GALV_NO_MEMORY, "out of memory");
    }
    *point->job = *job;
    point->job->workload.global_batch_size = batch;
    galv_status status = galv_pool_orders_search(&point->found, &point->job, point->job,
                                                 profile, space, options, arena, why);
    point->status = status;
    if (status == GALV_OK) {
        const galv_result *best = &point->found.plans[0].result;
        point->tokens_per_s = best->tokens_per_s;
        point->most_tokens_per_s =
            best->tokens_per_s * best->iteration_time_s / point->found.lower_bound_s;
        return GALV_OK;
    }
    snprintf(point->why_not, sizeof point->why_not, "%.255s", why->message);
    return status == GALV_INFEASIBLE || status == GALV_USAGE ? GALV_OK : status;
}

/* The next plan by tokens a second: `taken` of each point's list are in. */
static size_t next_point(const galv_batches_result *r, const int32_t *taken)
{
    size_t best = r->n_points;
    double most = 0;
    for (size_t i = 0; i < r->n_points; i++) {
        const galv_search_result *found = &r->points[i].found;
        if (r->points[i].status == GALV_OK && taken[i] < found->n_plans &&
            found->plans[taken[i]].result.tokens_per_s > most) {
            most = found->plans[taken[i]].result.tokens_per_s;
            best = i;
        }
    }
    return best;
}

static galv_status merge(galv_batches_result *r, int32_t top_k, galv_arena *arena,
                         galv_err *err)
{
    galv_search_result *all = &r->found;
    int32_t n = 0;
    all->proven_uniform = true;
    for (size_t i = 0; i < r->n_points; i++) {
        if (r->points[i].status == GALV_OK) {
            galv_search_add_counts(all, &r->points[i].found);
            n += r->points[i].found.n_plans;
        }
    }
    int32_t *taken = GALV_NEW_ARRAY(arena, int32_t, r->n_points + 1);
    all->plans = GALV_NEW_ARRAY(arena, galv_ranked_plan, n + 1);
    if (!taken || !all->plans) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    r->best = next_point(r, taken);
    while (all->n_plans < n && (top_k <= 0 || all->n_plans < top_k)) {
        size_t point = next_point(r, taken);
        all->plans[all->n_plans++] = r->points[point].found.plans[taken[point]++];
    }
    return GALV_OK;
}

/* In seconds per sample, as exact as the searches are. */
static void prove(galv_batches_result *r)
{
    galv_search_result *all = &r->found;
    const galv_batch_point *best = &r->points[r->best];
    double batch = (double)best->job->workload.global_batch_size;
    double best_s = all->plans[0].result.iteration_time_s / batch;
    double bound_s = best_s;
    for (size_t i = 0; i < r->n_points; i++) {
        const galv_batch_point *p = &r->points[i];
        double here =
            p->found.lower_bound_s / (double)p->job->workload.global_batch_size;
        bound_s = p->status == GALV_OK && here < bound_s ? here : bound_s;
    }
    all->lower_bound_s =
        bound_s < best_s ? bound_s * batch : all->plans[0].result.iteration_time_s;
    all->proven_optimal = !all->interrupted && bound_s >= best_s;
    r->most_tokens_per_s =
        best->tokens_per_s * all->plans[0].result.iteration_time_s / all->lower_bound_s;
}

galv_status galv_batches_search(galv_batches_result *result, const galv_job *job,
                                const galv_profile *profile, const int64_t *batches,
                                size_t n, const galv_space *space,
                                const galv_search_options *options, galv_arena *arena,
                                galv_err *err)
{
    galv_batches_result made = {0};
    galv_err first = GALV_ERR_INIT;
    galv_search_options own = *options;
    bool any = false;
    made.points = GALV_NEW_ARRAY(arena, galv_batch_point, n + 1);
    if (!made.points) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < n; i++) {
        galv_err why = GALV_ERR_INIT;
        galv_batch_point *point = &made.points[i];
        galv_status status =
            search_batch(point, job, profile, batches[i], space, &own, arena, &why);
        if (status != GALV_OK && !(status == GALV_INTERRUPTED && any)) {
            *err = why;
            return status;
        }
        first = i == 0 ? why : first;
        any |= point->status == GALV_OK;
        made.n_points++;
        own.time_limit_s -= options->time_limit_s > 0 ? point->found.wall_s : 0;
        bool late = options->time_limit_s > 0 && own.time_limit_s <= 0 && i + 1 < n;
        if (point->found.interrupted || status != GALV_OK || late) {
            made.found.interrupted = true; /* what is left was not looked at */
            break;
        }
    }
    if (!any) {
        *err = first;
        return made.points[0].status;
    }
    bool interrupted = made.found.interrupted;
    galv_status status = merge(&made, options->top_k, arena, err);
    if (status != GALV_OK) {
        return status;
    }
    made.found.interrupted |= interrupted;
    prove(&made);
    *result = made;
    return GALV_OK;
}

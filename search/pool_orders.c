/* Orders as they come from exchanging pools; those that put like pools in each other's
 * place are left out. The given order is first, and wins ties. */
#include "search/pool_orders.h"

#include <math.h>
#include <string.h>

enum { MOST_ORDERS = 24 }; /* of GALV_MAX_POOLS pools */

typedef struct orders {
    const galv_cluster *cluster;
    int32_t n;
    int32_t of[MOST_ORDERS][GALV_MAX_POOLS];
    int32_t at[GALV_MAX_POOLS];
    bool used[GALV_MAX_POOLS];
} orders;

static bool alike(const galv_pool *a, const galv_pool *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

static void collect(orders *o, int32_t place)
{
    int32_t n_pools = o->cluster->n_pools;
    if (place == n_pools) {
        memcpy(o->of[o->n++], o->at, sizeof o->at);
        return;
    }
    for (int32_t pool = 0; pool < n_pools; pool++) {
        bool again = o->used[pool];
        for (int32_t k = 0; k < pool && !again; k++) {
            again =
                !o->used[k] && alike(&o->cluster->pools[k], &o->cluster->pools[pool]);
        }
        if (!again) {
            o->used[pool] = true;
            o->at[place] = pool;
            collect(o, place + 1);
            o->used[pool] = false;
        }
    }
}

static galv_status search_order(galv_search_result *found, galv_job **made,
                                const galv_job *job, const int32_t *order,
                                const galv_profile *profile, const galv_space *space,
                                const galv_search_options *options, galv_arena *arena,
                                galv_err *err)
{
    galv_costmodel *model = NULL;
    *made = GALV_NEW(arena, galv_job);
    if (!*made) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    **made = *job;
    for (int32_t pool = 0; pool < job->cluster.n_pools; pool++) {
        (*made)->cluster.pools[pool] = job->cluster.pools[order[pool]];
    }
    galv_status status = galv_costmodel_new(&model, *made, profile, err);
    if (status == GALV_OK) {
        status = galv_search(found, model, space, options, arena, err);
    }
    galv_costmodel_free(model);
    return status;
}

galv_status galv_pool_orders_search(galv_search_result *result, galv_job **best,
                                    const galv_job *job, const galv_profile *profile,
                                    const galv_space *space,
                                    const galv_search_options *options,
                                    galv_arena *arena, galv_err *err)
{
    orders o = {.cluster = &job->cluster};
    galv_search_result chosen = {0};
    galv_search_result all = {.proven_uniform = true, .lower_bound_s = INFINITY};
    galv_status first = GALV_OK;
    collect(&o, 0);
    for (int32_t i = 0; i < o.n; i++) {
        galv_search_result found = {0};
        galv_search_options own = *options;
        galv_job *made = NULL;
        galv_err why = GALV_ERR_INIT;
        own.time_limit_s = fmax(options->time_limit_s - all.wall_s, 0);
        if (i > 0 && options->time_limit_s > 0 && !(own.time_limit_s > 0)) {
            all.interrupted = true; /* what is left was not looked at */
            break;
        }
        galv_status status = search_order(&found, &made, job, o.of[i], profile, space,
                                          &own, arena, &why);
        if (i == 0) {
            first = status;
            *err = why;
        }
        if (status != GALV_OK && status != GALV_INFEASIBLE && status != GALV_USAGE) {
            if (chosen.n_plans == 0 || status != GALV_INTERRUPTED) {
                *err = why;
                return status;
            }
            all.interrupted = true;
            break;
        }
        if (status == GALV_OK) {
            galv_search_add_counts(&all, &found);
            all.lower_bound_s = fmin(all.lower_bound_s, found.lower_bound_s);
            if (chosen.n_plans == 0 || found.plans[0].result.iteration_time_s <
                                           chosen.plans[0].result.iteration_time_s) {
                chosen = found;
                *best = made;
            }
        }
        if (found.interrupted) {
            all.interrupted = true;
            break;
        }
    }
    if (chosen.n_plans == 0) {
        return first;
    }
    *err = (galv_err)GALV_ERR_INIT;
    all.n_plans = chosen.n_plans;
    all.plans = chosen.plans;
    all.n_searched = chosen.n_searched;
    all.searched = chosen.searched;
    double best_s = chosen.plans[0].result.iteration_time_s;
    all.proven_uniform &= !all.interrupted;
    all.lower_bound_s = all.interrupted ? 0 : fmin(all.lower_bound_s, best_s);
    all.proven_optimal = !all.interrupted && all.lower_bound_s >= best_s;
    *result = all;
    return GALV_OK;
}

/* What pricing says of a plan that does not fit may be less than it needs, so plans are
 * estimated whole, least first, until the next cannot need less. */
#include "search/least_memory.h"

#include "search/pricing.h"

#include <math.h>
#include <stdlib.h>

typedef struct sort_key {
    double bytes;
    size_t index;
} sort_key;

static int compare_keys(const void *left, const void *right)
{
    const sort_key *a = left;
    const sort_key *b = right;
    if (a->bytes < b->bytes || a->bytes > b->bytes) {
        return a->bytes < b->bytes ? -1 : 1;
    }
    return a->index < b->index ? -1 : a->index > b->index;
}

static galv_status estimate(galv_memory_need *need, const galv_costmodel *model,
                            const galv_space *space, const galv_candidate *candidate,
                            galv_price_table *table, galv_arena *scratch, galv_err *err)
{
    galv_plan *plan = NULL;
    galv_prices *prices = NULL;
    galv_status status = galv_candidate_plan(&plan, candidate, space,
                                             galv_costmodel_job(model), scratch, err);
    if (status == GALV_OK) {
        status = galv_prices_new(&prices, model, plan, table, scratch, err);
    }
    return status == GALV_OK
               ? galv_price_memory(need, model, plan, prices, true, scratch, err)
               : status;
}

galv_status galv_least_memory_find(galv_search_result *result,
                                   const galv_costmodel *model, const galv_space *space,
                                   galv_searched *searched, size_t n, galv_arena *arena,
                                   galv_arena *scratch, galv_price_table *table,
                                   galv_err *err)
{
    sort_key *keys = GALV_NEW_ARRAY(arena, sort_key, n + 1);
    if (!keys) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < n; i++) {
        keys[i] = (sort_key){searched[i].peak_memory_bytes, i};
    }
    qsort(keys, n, sizeof *keys, compare_keys);
    result->least_memory_bytes = INFINITY;
    for (size_t i = 0; i < n && keys[i].bytes < result->least_memory_bytes; i++) {
        galv_searched *c = &searched[keys[i].index];
        galv_memory_need need = {0, 0};
        galv_status status =
            estimate(&need, model, space, &c->candidate, table, scratch, err);
        if (status != GALV_OK) {
            return status;
        }
        galv_arena_reset(scratch);
        c->peak_memory_bytes = fmax(c->peak_memory_bytes, need.bytes);
        if (c->peak_memory_bytes < result->least_memory_bytes) {
            result->least_memory_bytes = c->peak_memory_bytes;
            result->least_memory_limit_bytes = need.limit_bytes;
            result->least_memory = c->candidate;
        }
    }
    return GALV_OK;
}

galv_status galv_least_memory_say(const galv_search_result *result, galv_err *err)
{
    const galv_candidate *least = &result->least_memory;
    if (result->interrupted) {
        return galv_fail(err, GALV_INTERRUPTED,
                         "interrupted before a plan was found that fits");
    }
    galv_fail(err, GALV_INFEASIBLE,
              "no plan %s: the smallest needs %.1f GiB of %.1f per device (pp%d tp%d "
              "dp%d zero%d recompute %s micro-batch %d)",
              isfinite(result->lower_bound_s) ? "was found that fits" : "fits",
              result->least_memory_bytes / 1073741824.0,
              result->least_memory_limit_bytes / 1073741824.0, least->pp,
              least->strategy.tp, least->strategy.dp, least->strategy.zero,
              galv_recompute_names[least->strategy.recompute], least->micro_batch_size);
    galv_hint(err, "more nodes, a device with more memory, or fewer restrictions on "
                   "the plan would make one fit");
    return GALV_INFEASIBLE;
}

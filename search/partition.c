/* Forward over stages. A state is how many blocks the stages so far hold; of the ways
 * to get there, those are kept whose (sum, maximum) no other way beats in both: what
 * follows adds the same to all, and the objective grows with both. */
#include "search/partition.h"

#include <math.h>
#include <stdlib.h>

typedef struct way {
    double sum_s, most_s;
    int32_t n;      /* blocks of the last stage */
    int32_t parent; /* place in the list of ways of the stage before */
} way;

typedef struct ways {
    int32_t n, capacity;
    way *at;
} ways;

/* Adds a way unless one is no worse; drops those that it beats. */
static bool add(ways *list, way w)
{
    for (int32_t i = 0; i < list->n; i++) {
        if (list->at[i].sum_s <= w.sum_s && list->at[i].most_s <= w.most_s) {
            return true;
        }
    }
    if (list->n == list->capacity) {
        int32_t capacity = list->capacity ? 2 * list->capacity : 8;
        way *grown = realloc(list->at, (size_t)capacity * sizeof *grown);
        if (!grown) {
            return false;
        }
        list->at = grown;
        list->capacity = capacity;
    }
    int32_t kept = 0;
    for (int32_t i = 0; i < list->n; i++) {
        if (!(w.sum_s <= list->at[i].sum_s && w.most_s <= list->at[i].most_s)) {
            list->at[kept++] = list->at[i];
        }
    }
    list->at[kept] = w;
    list->n = kept + 1;
    return true;
}

/* All ways to give the first stages up to `stage` their blocks. */
static bool add_stage(ways *table, int32_t stage, int32_t n_stages, int32_t total,
                      galv_partition_cost cost, void *context)
{
    const ways *before =
        &table[(size_t)(stage > 0 ? stage - 1 : 0) * (size_t)(total + 1)];
    ways *here = &table[(size_t)stage * (size_t)(total + 1)];
    int32_t stages_left = n_stages - 1 - stage;
    for (int32_t first = stage; first < total; first++) {
        if (stage == 0 && first > 0) {
            break;
        }
        int32_t n_before = stage == 0 ? 1 : before[first].n;
        int32_t least = stages_left == 0 ? total - first : 1;
        for (int32_t n = least; n_before > 0 && first + n <= total - stages_left; n++) {
            double t = cost(context, stage, first, n);
            for (int32_t i = 0; isfinite(t) && i < n_before; i++) {
                way from = {0, 0, 0, 0};
                if (stage > 0) {
                    from = before[first].at[i];
                }
                way w = {from.sum_s + t, t > from.most_s ? t : from.most_s, n, i};
                if (!add(&here[first + n], w)) {
                    return false;
                }
            }
        }
    }
    return true;
}

galv_status galv_partition(int32_t *n_blocks, double *value_s, int32_t n_stages,
                           int32_t total, double n_micro_batches,
                           galv_partition_cost cost, void *context, galv_err *err)
{
    size_t width = (size_t)total + 1;
    ways *table = calloc((size_t)n_stages * width, sizeof *table);
    bool made = table != NULL;
    for (int32_t stage = 0; made && stage < n_stages; stage++) {
        made = add_stage(table, stage, n_stages, total, cost, context);
    }
    double best_s = INFINITY;
    int32_t best = -1;
    const ways *last =
        made ? &table[(size_t)(n_stages - 1) * width + (size_t)total] : NULL;
    for (int32_t i = 0; made && i < last->n; i++) {
        double s = last->at[i].sum_s + (n_micro_batches - 1) * last->at[i].most_s;
        if (s < best_s) {
            best_s = s;
            best = i;
        }
    }
    int32_t end = total;
    for (int32_t stage = n_stages - 1; best >= 0 && stage >= 0; stage--) {
        const way *w = &table[(size_t)stage * width + (size_t)end].at[best];
        n_blocks[stage] = w->n;
        end -= w->n;
        best = w->parent;
    }
    for (size_t i = 0; table && i < (size_t)n_stages * width; i++) {
        free(table[i].at);
    }
    free(table);
    if (!made) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    *value_s = best_s;
    return GALV_OK;
}

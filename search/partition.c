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

/* The fewest blocks of a stage. */
static int32_t fewest(const galv_partition_problem *p, int32_t stage)
{
    bool bare =
        (stage == 0 && p->bare_first) || (stage == p->n_stages - 1 && p->bare_last);
    return bare && p->n_stages > 1 ? 0 : 1;
}

/* All ways to give the first stages up to `stage` their blocks. */
static bool add_stage(ways *table, int32_t stage, const galv_partition_problem *p)
{
    size_t width = (size_t)p->total + 1;
    const ways *before = &table[(size_t)(stage > 0 ? stage - 1 : 0) * width];
    ways *here = &table[(size_t)stage * width];
    int32_t needed = 0; /* by the stages after this one */
    for (int32_t s = stage + 1; s < p->n_stages; s++) {
        needed += fewest(p, s);
    }
    int32_t last_first = stage == 0 ? 0 : p->total - fewest(p, stage);
    for (int32_t first = 0; first <= last_first; first++) {
        int32_t n_before = stage == 0 ? 1 : before[first].n;
        int32_t rest = p->total - first;
        int32_t least = fewest(p, stage);
        if (stage == p->n_stages - 1 && least < rest) {
            least = rest;
        }
        for (int32_t n = least; n_before > 0 && n <= rest - needed; n++) {
            double t = p->cost(p->cost_context, stage, first, n);
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

/* Reads the division of least value off the table. */
static double read_least(int32_t *n_blocks, const ways *table,
                         const galv_partition_problem *p)
{
    size_t width = (size_t)p->total + 1;
    const ways *last = &table[(size_t)(p->n_stages - 1) * width + (size_t)p->total];
    double least = INFINITY;
    int32_t best = -1;
    for (int32_t i = 0; i < last->n; i++) {
        double s = p->value(p->value_context, last->at[i].sum_s, last->at[i].most_s);
        if (s < least) {
            least = s;
            best = i;
        }
    }
    int32_t end = p->total;
    for (int32_t stage = p->n_stages - 1; best >= 0 && stage >= 0; stage--) {
        const way *w = &table[(size_t)stage * width + (size_t)end].at[best];
        n_blocks[stage] = w->n;
        end -= w->n;
        best = w->parent;
    }
    return least;
}

galv_status galv_partition(int32_t *n_blocks, double *least,
                           const galv_partition_problem *problem, galv_err *err)
{
    size_t n = (size_t)problem->n_stages * ((size_t)problem->total + 1);
    ways *table = calloc(n, sizeof *table);
    bool made = table != NULL;
    for (int32_t stage = 0; made && stage < problem->n_stages; stage++) {
        made = add_stage(table, stage, problem);
    }
    if (made) {
        *least = read_least(n_blocks, table, problem);
    }
    for (size_t i = 0; table && i < n; i++) {
        free(table[i].at);
    }
    free(table);
    return made ? GALV_OK : galv_fail(err, GALV_NO_MEMORY, "out of memory");
}

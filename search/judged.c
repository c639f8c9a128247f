#include "search/judged.h"

#include <string.h>

/* Podiums point to the candidates of lists that were outgrown: those stay in the arena.
 */
static bool make_room(galv_judged *j)
{
    galv_layerwise_result *r = j->result;
    if (r->n_searched < j->capacity) {
        return true;
    }
    size_t capacity = j->capacity > 0 ? 2 * j->capacity : 64;
    galv_searched *grown = GALV_NEW_ARRAY(j->arena, galv_searched, capacity);
    if (grown == NULL) {
        return false;
    }
    if (r->n_searched > 0) {
        memcpy(grown, r->searched, r->n_searched * sizeof *grown);
    }
    r->searched = grown;
    j->capacity = capacity;
    return true;
}

galv_status galv_judged_add(const galv_searched **kept, galv_judged *j,
                            const galv_searched *one, galv_err *err)
{
    galv_layerwise_result *r = j->result;
    if (!make_room(j)) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    galv_searched *at = &r->searched[r->n_searched];
    *at = *one;
    if (at->fate == GALV_FATE_SIMULATED) {
        galv_podium_place entered = {j->first_index + r->n_searched, at->time_s,
                                     &at->candidate};
        galv_podium_enter(j->podium, &entered);
        if (at->time_s < r->best_s) {
            r->best_s = at->time_s;
            r->best = (int64_t)r->n_searched;
        }
    }
    r->n_searched++;
    *kept = at;
    return GALV_OK;
}

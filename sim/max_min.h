/* Max-min fair sharing: flows over links, each flow as fast as it can be without taking
 * from one that is slower.
 *
 * A flow uses some share of each of its links per unit of its rate, and wants no more
 * than its cap. Rates rise together, each in proportion to its weight, until a link is
 * full or a cap is reached; who is held up there stays, the others go on. When flows
 * begin or end, only those are looked at that can feel it: they are joined, link by
 * link, over links that could be full.
 * Source: Bertsekas and Gallager, Data Networks, 2nd ed., section 6.5.2. */
#ifndef GALV_SIM_MAX_MIN_H
#define GALV_SIM_MAX_MIN_H

#include "base/arena.h"
#include "base/status.h"

#include <stdint.h>

typedef struct galv_max_min galv_max_min;

/* One link of a flow. */
typedef struct galv_link_use {
    uint32_t link;
    double use; /* of its capacity, at rate 1; > 0 */
} galv_link_use;

/* Sharing of links with capacities[n_links] (> 0, copied) among flows 0 .. n_flows - 1,
 * none of which runs; most_uses[n_flows] bounds the links of each. Owned by the arena.
 * Errors: GALV_NO_MEMORY. */
galv_status galv_max_min_new(galv_max_min **sharing, const double *capacities,
                             uint32_t n_links, const uint32_t *most_uses,
                             uint32_t n_flows, galv_arena *arena, galv_err *err);

/* A flow that does not run begins: over uses[n], its uses multiplied by `scale` (> 0);
 * `weight` > 0, `cap` > 0. It has no rate before the next settling. */
void galv_max_min_begin(galv_max_min *sharing, uint32_t flow, const galv_link_use *uses,
                        uint32_t n, double scale, double weight, double cap);

/* A flow ends. */
void galv_max_min_end(galv_max_min *sharing, uint32_t flow);

/* Sets the rates after any number of begins and ends. Returns how many flows have
 * another rate than before, and which: *changed, valid until the next call. */
uint32_t galv_max_min_settle(galv_max_min *sharing, const uint32_t **changed);

/* The rate of a flow that runs. */
double galv_max_min_rate(const galv_max_min *sharing, uint32_t flow);

/* How much of a link is used, as a share of its capacity; 0 .. 1 within rounding.
 * O(flows on it). */
double galv_max_min_load(const galv_max_min *sharing, uint32_t link);

#endif

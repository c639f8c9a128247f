/* Switching: what it takes to go on with the same weights under another plan.
 *
 * Every device must hold the optimizer state (master weights and two moments) of the
 * layers, tensor-parallel parts, experts and ZeRO shards that the new plan gives it.
 * What it held already stays; the rest comes from other devices, and the weights in
 * working precision are gathered from the masters. */
#ifndef GALV_SEARCH_SWITCHING_H
#define GALV_SEARCH_SWITCHING_H

#include "plan/plan.h"

typedef struct galv_switching {
    bool changes;            /* pipeline or a layer's strategy: processes start anew */
    double moved_bytes;      /* by all devices together */
    double most_moved_bytes; /* by the one that receives most */
    double time_s;           /* of an even exchange: see switching.c */
} galv_switching;

/* Do two plans of one model lay it out alike? They may differ in batches. */
bool galv_same_layout(const galv_plan *a, const galv_plan *b);

/* Both plans are of the job's model on all of its cluster. No bytes where both
 * place the state alike, whatever else differs; no change where they differ in batches
 * alone. Errors: GALV_USAGE
 * (an unknown schedule), GALV_NO_MEMORY. O(devices layers / stages). */
galv_status galv_switching_cost(galv_switching *switching, const galv_job *job,
                                const galv_plan *from, const galv_plan *to,
                                galv_err *err);

#endif

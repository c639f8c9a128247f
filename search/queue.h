/* The candidates of a search, best bound first, priced as late as can be.
 *
 * Every candidate has a cheap bound of its time from the prices of its layers
 * (search/shapes.h). A closer one, from its compiled passes (search/pricing.h), is
 * asked for only when the cheap one says that a candidate may be next, and whether it
 * fits by the estimate only when the closer one says so, too. The order is that of the
 * closer bounds, as if all had been priced before, for any number of threads. */
#ifndef GALV_SEARCH_QUEUE_H
#define GALV_SEARCH_QUEUE_H

#include "search/search.h"
#include "search/shapes.h"
#include "sim/price_table.h"

typedef struct galv_queue_work { /* borrowed */
    const galv_costmodel *model;
    const galv_space *space;
    galv_searched *searched; /* [n], candidates filled in; fates, bounds and memory are
                                written as they become known */
    size_t n;
    int n_jobs;
    galv_arena **arenas;       /* [n_jobs] */
    galv_price_table **tables; /* [n_jobs] */
    bool (*stopped)(void *at); /* stop pricing now? Asked between slices */
    void *stopped_at;
} galv_queue_work;

typedef struct galv_queue galv_queue;

/* Gives every candidate its cheap bound. Owned by the arena. Errors: GALV_NO_MEMORY. */
galv_status galv_queue_new(galv_queue **queue, const galv_queue_work *work,
                           const galv_shapes *shapes, galv_arena *arena, galv_err *err);

/* The next candidate, if its bound is below `last_s`: *index, or n when there is none.
 * `last_s` must not grow from call to call. Errors: GALV_NO_MEMORY, and what pricing
 * says. */
galv_status galv_queue_next(size_t *index, galv_queue *queue, double last_s,
                            galv_err *err);

/* Candidates that are done with: priced, or left for what they hold throughout. */
size_t galv_queue_n_priced(const galv_queue *queue);

#endif

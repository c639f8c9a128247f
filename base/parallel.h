/* A loop over independent items on several threads, with the same results for any
 * number of them: item i writes only its own slot, and the caller reduces in order. */
#ifndef GALV_BASE_PARALLEL_H
#define GALV_BASE_PARALLEL_H

#include "base/status.h"

#include <stddef.h>

/* Handles one item. `worker` is in [0, n_jobs): index of per-thread state. */
typedef void (*galv_parallel_body)(void *context, size_t item, int worker);

/* Runs body(context, 0..n_items-1, worker) on n_jobs threads (1 = the caller's own);
 * items are handed out in ascending order. Errors: GALV_NO_MEMORY when threads cannot
 * be made (then nothing was run). */
galv_status galv_parallel_for(int n_jobs, size_t n_items, galv_parallel_body body,
                              void *context, galv_err *err);

/* Processors this process may use, at least 1. */
int galv_parallel_default_jobs(void);

#endif

/* The exact search under Galvatron's own cost model (costmodel/galvatron_model.h).
 *
 * Its space: micro-batches are any divisor of the global batch, pipeline stages powers
 * of two of at most as many, blocks divided evenly with the rest on the last stage; a
 * strategy for each block and one for embedding and head, of tensor or Ulysses degrees
 * in powers of two, the default data parallelism or ZeRO-3, recomputed or not. What it
 * ranks by: the seconds of one iteration that it reports, which charge nothing for a
 * change of strategy between blocks.
 *
 * Galvatron's engine searches this space by a dynamic program on a grid of 1 MiB that
 * minimises another sum than the one it then reports. Here every task is solved for
 * what is reported: stages by search/counts.h, tasks best bound first, until the next
 * bound is no better than the best plan. Then the plan is proven best. */
#ifndef GALV_SEARCH_GALVATRON_SEARCH_H
#define GALV_SEARCH_GALVATRON_SEARCH_H

#include "base/arena.h"
#include "base/status.h"
#include "costmodel/galvatron_model.h"

#include <stdint.h>

typedef struct galv_galvatron_space {
    double budget_mib;  /* of one GPU; > 0 */
    double reserve_mib; /* kept free of it; 0 = what Galvatron keeps free */
    int64_t global_batch_size;
    bool gpipe;              /* else 1F1B */
    int32_t default_zero;    /* of data parallelism that is not ZeRO-3: 0 or 2 */
    int32_t n_micro_batches; /* 0 = every divisor of the batch */
    int32_t pp;              /* 0 = every power of two */
    int32_t max_tp, max_ulysses, max_pp; /* 0 = 8, Galvatron's own */
    bool without_recompute, without_tp, without_ulysses, without_zero3;
    bool whole_samples; /* only degrees that divide the samples of a micro-batch, which
                           a plan of ours needs; Galvatron rounds down instead */
    /* wider than Galvatron's own */
    bool exact_mib;  /* layers' memory not rounded up to whole MiB */
    bool mixed_zero; /* the other default, too, block by block */
} galv_galvatron_space;

typedef struct galv_galvatron_found {
    bool found; /* false: nothing fits */
    galv_galvatron_task task;
    int32_t n_blocks;
    int32_t *stage_blocks;     /* [task.pp] */
    galv_strategy *strategies; /* [n_blocks], equal ones side by side in each stage */
    galv_strategy ends;        /* of embedding and head */
    int32_t buffer_tp; /* degree of the shared buffer, 0 = no tensor parallelism */
    double iteration_s, samples_per_s;
    galv_galvatron_stage *stages; /* [task.pp]; memory without the reserve */
    bool proven;                  /* nothing in the space is faster */
    double lower_bound_s;         /* nothing in the space is faster than this */
    uint64_t n_tasks;             /* batch, stages, buffer and ends strategy */
    uint64_t n_solved;            /* not cut by their bound */
} galv_galvatron_found;           /* arrays are owned by the arena */

/* Errors: GALV_USAGE for a budget or a batch that is not positive, GALV_NO_MEMORY. When
 * nothing fits that is no error: `found` says so. */
galv_status galv_galvatron_search(galv_galvatron_found *found,
                                  const galv_galvatron_inputs *inputs,
                                  const galv_galvatron_space *space, galv_arena *arena,
                                  galv_err *err);

/* The plan of what was found, for a job with that model and cluster; sets the job's
 * global batch. Errors: GALV_USAGE when a plan of ours cannot say it (samples that do
 * not divide, degrees that the model's shape does not allow). */
galv_status galv_galvatron_found_plan(galv_plan **plan, galv_job *job,
                                      const galv_galvatron_found *found,
                                      galv_arena *arena, galv_err *err);

#endif

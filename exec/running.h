/* A training under way, whose plan can be changed.
 *
 * A change keeps nothing of the old plan but the state: it goes to host memory, the old
 * trainer is freed, the new one made, and what each rank's share needs comes from the
 * ranks that had it (state.h). No file is written, no process ends; the losses go on as
 * if nothing had happened, but for the order of sums. */
#ifndef GALV_EXEC_RUNNING_H
#define GALV_EXEC_RUNNING_H

#include "exec/trainer.h"

typedef struct galv_running {
    galv_world *world;
    galv_backend *backend;
    galv_trainer_options options;
    double slow_factor; /* this rank computes so many times as slowly; 0 = does not */
    /* made by galv_running_begin, replaced by galv_running_change */
    galv_arena *arena;
    galv_job *job;
    galv_plan *plan;
    galv_trainer *trainer;
} galv_running;

/* A plan document with its memory, read and checked against the number of ranks. */
typedef struct galv_next_plan {
    galv_arena *arena;
    galv_job *job;
    galv_plan *plan;
} galv_next_plan;

/* Reads it on rank 0 and tells it to all. Collective. Free with galv_next_plan_release
 * (one that was never read is fine) unless it was handed on. Errors: GALV_INPUT;
 * GALV_USAGE (not for this many ranks). */
galv_status galv_next_plan_read(galv_next_plan *next, galv_world *world,
                                const char *path, galv_err *err);
void galv_next_plan_release(galv_next_plan *next);
/* Is it the same training by another plan, perhaps with sequences of another length?
 * Errors: GALV_USAGE (another model or global batch). */
galv_status galv_next_plan_check(const galv_next_plan *next,
                                 const galv_running *running, galv_err *err);

/* Makes the trainer of the first plan, which it takes. Collective. Errors: those of
 * galv_trainer_new. Released by galv_running_end. */
galv_status galv_running_begin(galv_running *running, galv_next_plan *first,
                               galv_err *err);
void galv_running_end(galv_running *running);

/* Changes to another plan, which it takes. Collective. `refused`: it was found that the
 * plan cannot be run, and the old one goes on (the status is GALV_OK and the reason is
 * in `why`). Errors: GALV_USAGE (another model or batch: that would be another
 * training; the old plan goes on), others that end the run. */
galv_status galv_running_change(galv_running *running, galv_next_plan *next,
                                bool *refused, galv_err *why, galv_err *err);

#endif

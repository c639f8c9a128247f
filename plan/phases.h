/* Phases: a training run whose batch or sequence length changes on the way. */
#ifndef GALV_PLAN_PHASES_H
#define GALV_PLAN_PHASES_H

#include "base/arena.h"
#include "base/csv.h"
#include "base/status.h"
#include "plan/plan.h"

#include <stddef.h>
#include <stdint.h>

typedef struct galv_phase {
    char name[32];
    int32_t seq_length;        /* tokens of a sample; 0 = the job's */
    int64_t global_batch_size; /* samples of a step; 0 = the job's */
    double tokens;             /* trained in this phase; > 0 */
} galv_phase;

#define GALV_MOST_PHASES 64

/* Reads a CSV with a header: tokens (a count: "1.2T", "800e9"), and optionally phase,
 * seq_length, global_batch; no other. One row is one phase, in order. Errors:
 * GALV_INPUT with file, line and column. Owned by the arena. */
galv_status galv_phases_read(galv_phase **phases, size_t *n_phases, const char *path,
                             galv_arena *arena, galv_err *err);
galv_status galv_phases_read_table(galv_phase **phases, size_t *n_phases,
                                   const galv_csv *table, galv_arena *arena,
                                   galv_err *err);

/* The job of one phase: the same model and cluster. */
galv_job galv_phase_job(const galv_job *job, const galv_phase *phase);

/* Optimizer steps of a phase under its job, at least 1. */
double galv_phase_steps(const galv_job *phase_job, const galv_phase *phase);

#endif

/* The trainer: a plan as a run. Makes the worker of this rank and its interpreter, does
 * steps, and tells what they were and how long they took. All functions are collective
 * over the world. */
#ifndef GALV_EXEC_TRAINER_H
#define GALV_EXEC_TRAINER_H

#include "base/arena.h"
#include "exec/backend.h"
#include "exec/worker.h"
#include "exec/world.h"
#include "plan/plan.h"
#include "traces/timeline.h"

#include <stdint.h>

typedef struct galv_trainer_options {
    uint64_t seed;           /* of weights and random tokens */
    const char *tokens_path; /* NULL: random tokens */
    float learning_rate, beta1, beta2, epsilon, weight_decay;
    double clip_norm; /* 0 = never */
} galv_trainer_options;

#define GALV_TRAINER_OPTIONS_INIT                     \
    {                                                 \
        1, NULL, 1e-3F, 0.9F, 0.95F, 1e-8F, 0.1F, 1.0 \
    }

typedef struct galv_step_result {
    int64_t step;         /* from 1 */
    double loss;          /* mean over tokens, natural logarithm */
    double gradient_norm; /* before clipping */
    double time_s;        /* of the slowest rank */
} galv_step_result;

typedef struct galv_trainer galv_trainer;

/* Bytes that a rank will need: state exactly (weights, gradients, optimizer), and for
 * activations a lower bound (those that wait for their backward). */
typedef struct galv_trainer_memory {
    double state_bytes;
    double activation_bytes;
} galv_trainer_memory;

/* Job, plan, backend and world must live as long. Errors: GALV_UNAVAILABLE (a layer or
 * schedule that cannot be run, with the reason), GALV_USAGE (not as many ranks as the
 * plan has), GALV_NO_MEMORY (said before anything is allocated where the device tells
 * its size), those of the tokens' file. */
galv_status galv_trainer_new(galv_trainer **trainer, const galv_job *job,
                             const galv_plan *plan, galv_backend *backend,
                             galv_world *world, const galv_trainer_options *options,
                             galv_err *err);
void galv_trainer_free(galv_trainer *trainer);

galv_status galv_trainer_step(galv_trainer *trainer, galv_step_result *result,
                              galv_err *err);

/* The last step, all ranks, on rank 0; elsewhere it is left untouched. Times count from
 * the begin of the first rank, clocks of the ranks laid over each other. */
galv_status galv_trainer_timeline(galv_timeline *timeline, galv_trainer *trainer,
                                  galv_arena *arena, galv_err *err);

/* For checkpoints and tests: the rank's layers and their tensors. */
galv_worker *galv_trainer_worker(galv_trainer *trainer);
int64_t galv_trainer_step_count(const galv_trainer *trainer);
galv_trainer_memory galv_trainer_needs(const galv_trainer *trainer);

#endif

/* The trainer's state: steps (trainer.c) and their timelines (trainer_timeline.c). */
#ifndef GALV_EXEC_TRAINER_INTERNAL_H
#define GALV_EXEC_TRAINER_INTERNAL_H

#include "exec/interpreter.h"
#include "exec/trainer.h"
#include "schedule/program.h"

struct galv_trainer {
    galv_worker worker;
    galv_interpreter interpreter;
    galv_trainer_options options;
    galv_program *program;
    galv_arena *arena;
    galv_trainer_memory needs;
    bool laid_out;
    double began_s; /* of the last step, on this rank's clock */
    double duration_s;
};

/* Fills in what this rank needs; then, collectively, holds it against what there is
 * (trainer_memory.c). Errors: GALV_NO_MEMORY, with the numbers. */
galv_status galv_trainer_count_memory(galv_trainer *t, galv_err *err);
galv_status galv_trainer_check_memory(const galv_trainer *t, galv_err *err);

/* Leaves of the sends and receives of a measured timeline what they communicate,
 * without what they wait (timeline_messages.c). Errors: GALV_NO_MEMORY. O(spans log
 * spans). */
galv_status galv_timeline_trim_messages(galv_timeline *t, bool moves_when_called,
                                        galv_err *err);

#endif

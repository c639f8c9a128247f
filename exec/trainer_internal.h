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

#endif

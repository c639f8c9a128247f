/* The interpreter: runs a program's operations of this rank's stage, on its streams, in
 * the order and with the dependencies of the program.
 *
 * All ranks go through the whole program in one order: by the step at which an
 * operation could run if all took as long, communication first. A rank queues its own
 * operations of that order. So a host that waits inside of an operation waits for
 * operations that come before it in the order, and those are never behind it. */
#ifndef GALV_EXEC_INTERPRETER_H
#define GALV_EXEC_INTERPRETER_H

#include "base/arena.h"
#include "exec/worker.h"
#include "schedule/program.h"

/* A message to this rank, in the order in which its sender sends. */
typedef struct galv_message {
    uint32_t send, recv; /* ops */
} galv_message;

typedef struct galv_interpreter {
    const galv_program *program;
    uint32_t n_order;
    uint32_t *order;      /* [n_order] ops of this stage */
    galv_event *events;   /* [n_ops] when an op of this stage was over; -1 */
    uint8_t *hides;       /* [n_ops] a BACKWARD_INPUT whose weights come next, and
                             those weights */
    uint8_t *together;    /* [micro-batches][layers] backward's collectives serve inputs
                             and weights, however the computation is parted */
    int32_t n_peers;      /* stages */
    galv_message **inbox; /* [n_peers] what each stage sends here */
    uint32_t *n_inbox;    /* [n_peers] */
    uint32_t *n_posted;   /* [n_peers] receives queued so far in this step */
} galv_interpreter;

/* Lays out the run of a program. Everything is owned by the arena, the program must
 * live as long. Errors: GALV_NO_MEMORY, GALV_INTERNAL. */
galv_status galv_interpreter_make(galv_interpreter *interpreter,
                                  const galv_program *program,
                                  const galv_worker *worker, galv_arena *arena,
                                  galv_err *err);

/* Runs one step. Errors are the worker's and the backend's. */
void galv_interpreter_run(galv_interpreter *interpreter, galv_worker *worker);

#endif

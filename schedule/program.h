/* The program: for every rank, the ordered operations of one training iteration.
 *
 * The simulator and the executor interpret the same program. Each (rank, stream) has a
 * queue that runs in order; an operation starts when the one before it in its queue
 * has ended and all its dependencies have ended. Operations that differ only in the
 * micro-batch share a class, so costs are looked up by class.
 *
 * Ranks here are simulated ranks. Folded (the default), one stands for all ranks of its
 * pipeline stage, since they cannot differ. */
#ifndef GALV_SCHEDULE_PROGRAM_H
#define GALV_SCHEDULE_PROGRAM_H

#include "base/arena.h"
#include "base/status.h"
#include "base/text.h"
#include "plan/operation.h"
#include "plan/plan.h"
#include "schedule/schedule.h"

#include <stdint.h>

typedef struct galv_program_op {
    uint32_t class_index;      /* into classes */
    int32_t micro_batch;       /* -1: not of one micro-batch */
    uint32_t first_dependency; /* dependencies [first_dependency of this op, of the
                                  next) of the program, indices of ops */
} galv_program_op;

/* What a class stands for that is a whole pass: operations of one rank, which begin
 * when the operation of the class does, and end with it. */
typedef struct galv_program_body {
    uint32_t n_ops;
    uint32_t *classes;    /* [n_ops] of the program, in program order */
    uint32_t *first_wait; /* [n_ops + 1] op i waits for waits[first_wait[i]], ... of
                             this body, and for the op before it in its stream */
    uint32_t *waits;
} galv_program_body;

typedef struct galv_program {
    int32_t n_ranks;
    int32_t n_chunks; /* per rank */
    int32_t n_micro_batches;
    uint32_t n_classes;
    galv_operation *classes;    /* [n_classes] */
    galv_program_body **bodies; /* [n_classes] NULL = one operation; NULL: all are */
    uint32_t n_ops;
    galv_program_op *ops;  /* [n_ops + 1], by (rank, stream, order); the last one is
                              a sentinel for first_dependency */
    uint32_t *queue_begin; /* [n_ranks * GALV_N_STREAMS + 1] first op of a queue */
    uint32_t n_dependencies;
    uint32_t *dependencies; /* [n_dependencies] */
} galv_program;             /* everything is owned by the arena it was made in */

/* Compiles a plan: looks up its schedule, lays out each rank's compute queue slot by
 * slot, cuts layers at their collectives, and adds pipeline messages, gradient
 * reduction, ZeRO gathers and the optimizer step where the plan's overlap switches put
 * them. Passes that run beside each other are interleaved where one of them waits for a
 * communication of its own, so that the other computes meanwhile. Errors: GALV_USAGE
 * (schedule unknown or not possible for this shape), GALV_INPUT (an order of one's own
 * that does something before what it needs on its stage), GALV_NO_MEMORY. */
galv_status galv_program_compile(galv_program **program, const galv_job *job,
                                 const galv_plan *plan, galv_arena *arena,
                                 galv_err *err);

/* The same with the order that the schedule makes for these ratios of costs, where it
 * follows costs; NULL, and galv_program_compile: where forward, input gradient and
 * weight gradient all cost the same, and messages nothing. */
galv_status galv_program_compile_weighted(galv_program **program, const galv_job *job,
                                          const galv_plan *plan,
                                          const galv_schedule_weights *weights,
                                          galv_arena *arena, galv_err *err);

/* The same with passes as single operations (galv_program_body) where that is the same:
 * those that no message of parameters belongs to. For who wants to play the program,
 * not to look at it. */
galv_status galv_program_compile_by_pass(galv_program **program, const galv_job *job,
                                         const galv_plan *plan,
                                         const galv_schedule_weights *weights,
                                         galv_arena *arena, galv_err *err);

/* A program of a schedule alone, without layers: one operation per slot and, on edges
 * between different stages, a send and a receive. Classes: for each stage and chunk one
 * per pass (first_layer = virtual stage, n_layers = 1) and one send per direction
 * (pass FORWARD or BACKWARD). */
galv_status galv_program_from_schedule(galv_program **program,
                                       const galv_schedule *schedule,
                                       const galv_schedule_shape *shape,
                                       galv_arena *arena, galv_err *err);

/* Upper bound of the ops that galv_program_compile would make, without making them. */
double galv_program_count(const galv_job *job, const galv_plan *plan);

/* Is the program one that can run? Every dependency exists, every send has its receive
 * and the other way round, and no cycle (deadlock): the message names the operations of
 * the cycle. Errors: GALV_INPUT. O(ops + dependencies). */
galv_status galv_program_check(const galv_program *program, galv_arena *arena,
                               galv_err *err);

/* Rank and stream of an op, by its queue. O(log queues). */
int32_t galv_program_rank(const galv_program *program, uint32_t op);
int galv_program_stream(const galv_program *program, uint32_t op);

/* "forward of stage 0, chunk 1, micro-batch 3": for messages. Returns the buffer. */
char *galv_program_name_op(char *buffer, size_t size, const galv_program *program,
                           uint32_t op);

/* One line per op: rank, stream, kind, stage.chunk, micro-batch, layers, dependencies.
 */
void galv_program_print(galv_text *out, const galv_program *program);

/* ---- for bounds: one pass of one chunk by itself ---- */

/* Operations [first_op, first_op + n_ops) stand for `times` more such rows of them,
 * which follow one another and differ in their layers alone. Each waits for ops as far
 * back in the pass as they do, which is no further than the row before. */
typedef struct galv_pass_repeat {
    int32_t first_op, n_ops, times;
} galv_pass_repeat;

/* One pass of one virtual stage as a short sequence in program order. */
typedef struct galv_pass_ops {
    int32_t n_ops;
    galv_operation *ops;       /* [n_ops] */
    int32_t *waits_for;        /* [n_ops] op of this pass that it follows besides its
                                  queue, -1 = none */
    int32_t *also_waits_for;   /* [n_ops] another such op, -1 = none */
    int32_t n_repeats;         /* 0: nothing is left out */
    galv_pass_repeat *repeats; /* [n_repeats] in the order of the pass */
} galv_pass_ops;

/* The operations of one pass (galv_pass) of a chunk of a stage, as compile emits them
 * for a micro-batch in the middle of the iteration, owned by the arena: without
 * pipeline messages. Recomputation belongs to the backward passes. An op that waits for
 * more than two others (rare: a side exchange, a collective and a gather at once) shows
 * two of them, so times made from it are lower bounds. */
galv_status galv_program_pass(galv_pass_ops *pass_ops, const galv_job *job,
                              const galv_plan *plan, int32_t stage, int32_t chunk,
                              int pass, galv_arena *arena, galv_err *err);

/* The same with rows of equal layers shortened to a few of them (galv_pass_repeat): in
 * time and memory that do not depend on how many there are. */
galv_status galv_program_pass_short(galv_pass_ops *pass_ops, const galv_job *job,
                                    const galv_plan *plan, int32_t stage, int32_t chunk,
                                    int pass, galv_arena *arena, galv_err *err);

/* Can a plan's schedule do its stages, chunks and micro-batches? Errors: GALV_USAGE, as
 * galv_program_compile. */
galv_status galv_program_check_shape(const galv_plan *plan, galv_err *err);

/* As galv_program_pass for a forward and a backward (galv_pass) of two chunks that run
 * beside each other, in the order in which they take turns. Where they could but need
 * not wait for something of each other, waits_for does not say so. */
galv_status galv_program_pair(galv_pass_ops *pass_ops, const galv_job *job,
                              const galv_plan *plan, int32_t stage,
                              int32_t forward_chunk, int32_t backward_chunk,
                              int backward_pass, galv_arena *arena, galv_err *err);

#endif

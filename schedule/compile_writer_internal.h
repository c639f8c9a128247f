/* What lays out a pass: the state shared by the units (compile_units.c) and the cut
 * layers (compile_layers.c). */
#ifndef GALV_SCHEDULE_COMPILE_WRITER_INTERNAL_H
#define GALV_SCHEDULE_COMPILE_WRITER_INTERNAL_H

#include "schedule/compile_internal.h"

/* Weight gradients that can be computed at any time from now on. */
typedef struct galv_late_weights {
    int32_t first_layer, n_layers;
    int part;
} galv_late_weights;

#define GALV_MAX_LATE 4

typedef struct galv_pass_writer {
    const galv_job *job;
    const galv_plan *plan;
    const galv_chunk *chunk;
    const galv_pass_hooks *hooks;
    galv_arena *arena;
    galv_pass_layout *layout;
    int pass; /* galv_pass */
    bool failed;
    /* of the unit at hand */
    const galv_layer_group *group;
    const galv_strategy *strategy;
    int32_t first_layer, n_layers;
    int32_t gather;    /* bucket that the unit's next computation waits for, or -1 */
    int32_t gather_op; /* gathering op that it waits for, or -1 */
    int serves;        /* pass of its collectives, a galv_op_kind */
    /* what the next operation waits for */
    bool at_entry;
    int32_t frontier[GALV_MAX_WAITS];
    int32_t n_frontier;
    int32_t sides[2]; /* run beside the next computation; join after it */
    int32_t n_sides;
    int32_t hidden, due; /* overlapped tp collectives, see essay; -1 = none */
    galv_late_weights late[GALV_MAX_LATE]; /* gradients that wait for an exchange */
    int32_t n_late;
    int32_t last_compute;
} galv_pass_writer;

/* Where a pass was when something of it had been written, as far as what follows goes
 * by it. */
typedef struct galv_pass_mark {
    int32_t n_ops;
    int32_t frontier[GALV_MAX_WAITS];
    int32_t n_frontier;
    int32_t hidden, due;
    bool other; /* anything else that is unfinished */
} galv_pass_mark;

void galv_pass_set_mark(galv_pass_mark *mark, const galv_pass_writer *w);

/* Of three marks that follow one another, the last of them now: were the same
 * operations written between them, with the same waits, and does what follows go on
 * alike? None may wait for one further back than those of the stretch before. */
bool galv_pass_comes_round(const galv_pass_writer *w, const galv_pass_mark *first,
                           const galv_pass_mark *second, const galv_pass_mark *now);

/* Is a layer a transformer block? */
bool galv_compile_is_block(const galv_layer_group *group);
/* Do the ranks of a tp group share the weights of a layer, and so exchange activations?
 * (Under Ulysses they share the sequence.) */
bool galv_compile_cuts_weights(const galv_strategy *strategy);
/* Has a layer collectives inside? */
bool galv_compile_is_cut(const galv_layer_group *group, const galv_strategy *strategy);

/* Appends an operation on the layers at hand; it waits for nothing yet. */
int32_t galv_pass_append(galv_pass_writer *w, int kind, int stream, int part);
/* `op` waits for `on` (-1 = nothing), unless its queue or another wait says so. */
void galv_pass_add_wait(galv_pass_writer *w, int32_t op, int32_t on);
/* What follows waits for `op` too. */
void galv_pass_join(galv_pass_writer *w, int32_t op);
/* Appends a computation on the layers at hand. */
void galv_pass_compute(galv_pass_writer *w, int kind, int part);

/* Appends a collective on the layers at hand that what follows waits for. */
void galv_pass_communicate(galv_pass_writer *w, int kind, int stream, int part);

/* Computes the weight gradients that are still to be done. */
void galv_pass_finish_weights(galv_pass_writer *w);

/* Forward of the cut layer at hand; `kind` is GALV_OP_FORWARD or _RECOMPUTE. */
void galv_pass_forward_cut(galv_pass_writer *w, int kind);
/* Backward of it; `kind` is GALV_OP_BACKWARD or _BACKWARD_INPUT. */
void galv_pass_backward_cut(galv_pass_writer *w, int kind);

#endif

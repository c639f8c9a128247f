/* Stages as if layers could be cut in pieces: the least time that a stage can need for
 * some layers within its memory, and from it how blocks divide best over stages.
 *
 * With layers in pieces, the fastest mix within a memory limit lies on the lower convex
 * hull of each group's options (time against memory), steepest gain first. Made of
 * lower bounds of time and memory that is a lower bound for every layering of the
 * stage, whatever its runs and their order. */
#ifndef GALV_SEARCH_RELAXATION_H
#define GALV_SEARCH_RELAXATION_H

#include "search/layering.h"

typedef struct galv_relaxation galv_relaxation;

/* Seconds of one micro-batch in a layer: a bound (its latency, or what hiding its own
 * communication takes, if that is more), or a guide. */
typedef double (*galv_layer_seconds)(const galv_layer_price *price,
                                     double n_micro_batches);
double galv_layer_latency_s(const galv_layer_price *price, double n_micro_batches);
/* Latency, and what hiding parameter messages takes at least when all other
 * communication hides some first: of one layer maybe less than its latency, of a whole
 * stage a bound. */
double galv_layer_hiding_s(const galv_layer_price *price, double n_micro_batches);
/* Latency, what shows of its parameter messages (what is longer than the latency, and a
 * share of the rest for slowing it), and its share of the step. */
double galv_layer_guide_s(const galv_layer_price *price, double n_micro_batches);
/* The same, and its share of parameter messages that are sent once an iteration, as far
 * as they are longer than the passes of one micro-batch that they may hide behind. */
double galv_layer_guide_whole_s(const galv_layer_price *price, double n_micro_batches);

/* Borrows table and replay; owned by the arena. Errors: GALV_NO_MEMORY. */
galv_status galv_relaxation_new(galv_relaxation **relaxation,
                                const galv_layer_table *table, galv_replay *replay,
                                const galv_model *model, double memory_bytes,
                                galv_layer_seconds seconds, galv_arena *arena,
                                galv_err *err);

/* Bytes of a stage that layers may take; change it to leave more or less. */
double *galv_relaxation_room(galv_relaxation *relaxation, int32_t stage);

int32_t galv_relaxation_n_blocks(const galv_relaxation *relaxation);

/* One micro-batch on a stage that holds blocks [first, first + n), the first one the
 * embedding and the last one the head besides; INFINITY = they do not fit. Stage pp:
 * all stages as one. A galv_partition_cost. */
double galv_relaxation_stage_s(void *relaxation, int32_t stage, int32_t first,
                               int32_t n);

/* A lower bound of the simulated time of all layerings of the shape, when `seconds` was
 * galv_layer_latency_s; INFINITY = none fits. For one chunk a stage, over all
 * partitions:
 *
 *   T >= sum_j t_j - t_i + m t_i - (k_i - 1) F_i   for every stage i.
 *
 * Its first backward waits for the stages after it, then m backwards and all but k_i
 * forwards are still to do (k_i: forwards before the first backward in its order), then
 * the stages before it drain. F_i is at most t_i times the largest share of forward in
 * any block, and what other layers may add. m t_i if that is more. With several chunks,
 * or a split backward, the most of m t_i + A_i, A_i one block's forward (and backward)
 * on each stage before, with blocks divided over stages as numbers can be; and one
 * micro-batch through all layers. Where a cheaper bound is `enough_s` already, no
 * closer one is made. Errors: GALV_NO_MEMORY. */
galv_status galv_relaxation_bound(double *bound_s, galv_relaxation *relaxation,
                                  double enough_s, galv_err *err);

/* Hulls for galv_relaxation_between_bound. Of two things that are true of a stage i,
 *
 *   T >= A_i + m P_i + O_i   and   T >= (1 - k) A_i + m (P_i + k (D_i - X_i)) + O_i
 *
 * (P its latency, D its messages of parameters, X its other communication, k what
 * hiding a second takes: galv_layer_hiding_s; O its step; A_i what its first
 * micro-batch needs down to it and up again), any mean is true as well: hiding_share of
 * the second. Layers whose communication would hide more than there is to hide gain
 * nothing by it in the first, those that send too much do in the second, and in between
 * neither is free. */
galv_status galv_relaxation_new_between(galv_relaxation **relaxation,
                                        const galv_layer_table *table,
                                        galv_replay *replay, const galv_model *model,
                                        double memory_bytes, double hiding_share,
                                        galv_arena *arena, galv_err *err);

/* A lower bound of the simulated time of all layerings of the shape; INFINITY = none
 * fits. The most of two: the fullest stage, where blocks are alike, and the mean of all
 * stages. Errors: GALV_NO_MEMORY. */
galv_status galv_relaxation_between_bound(double *bound_s, galv_relaxation *relaxation,
                                          galv_err *err);

#endif

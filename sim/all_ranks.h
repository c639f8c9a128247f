/* Every rank of the cluster: the folded program, replayed by each rank of each stage.
 *
 * Folded, one simulated rank stands for a pipeline stage. Here the stage's n ranks are
 * simulated each by itself: rank = stage * n + place, as Megatron Core orders them. The
 * ranks of one place form a pipeline, a whole copy of the folded program in which
 * dependencies between stages hold; its operations are stored once and each rank only
 * keeps how far it has come. Ranks of one stage meet in their collectives: one starts
 * when all ranks of its group have reached it, goes as fast as the slowest of them, and
 * ends for all together. Where ranks do not differ the answer is the folded one. */
#ifndef GALV_SIM_ALL_RANKS_H
#define GALV_SIM_ALL_RANKS_H

#include "sim/differences.h"
#include "sim/meeting.h"
#include "sim/network.h"
#include "sim/simulate.h"

#define GALV_EVERY_PLACE (-2)

typedef struct galv_all_ranks_options {
    const galv_differences *differences; /* NULL: none */
    uint32_t run;                        /* which draw of the random numbers */
    const galv_network *network; /* whose links are shared by all; NULL: each rank has
                                    its share for itself, as in the folded simulation */
    int32_t record_place;        /* place whose pipeline the timeline shows; -1: none;
                                    GALV_EVERY_PLACE: no timeline, but all spans */
} galv_all_ranks_options;

#define GALV_ALL_RANKS_OPTIONS_INIT \
    {                               \
        NULL, 0, NULL, -1           \
    }

typedef struct galv_all_ranks_result {
    int32_t ranks_per_stage;
    galv_sim_result sim; /* of all ranks; its timeline has one row per stage */
    double *waited_s;    /* [n_ranks] of the bubble: time in which the rank did nothing
                            but wait for others in a collective */
    galv_span *spans;    /* [ranks_per_stage][n_ops of the program], asked for by
                            GALV_EVERY_PLACE; their rank is that of the cluster */
    uint64_t n_flow_changes; /* flows that began, ended or changed on the network */
    uint64_t n_held_up;      /* changes that left a flow slower than priced: its links
                                carry more than the price reckons with */
} galv_all_ranks_result;     /* arrays are owned by the arena */

/* Simulates one iteration of every rank. costs[n_classes] and base[n_ranks of the
 * folded program] as in galv_simulate; meetings[n_classes]: strides and numbers whose
 * product divides ranks_per_stage. Errors: GALV_USAGE (a straggler that is no rank),
 * GALV_INPUT (deadlock, meetings that do not divide), GALV_NO_MEMORY.
 * Memory: about 600 bytes a rank. Cost: linear in ranks times operations, times the
 * logarithm of what runs at once. */
galv_status galv_all_ranks_simulate(galv_all_ranks_result *result,
                                    const galv_program *program, const galv_cost *costs,
                                    const galv_stage_memory *base,
                                    const galv_meeting *meetings,
                                    int32_t ranks_per_stage,
                                    const galv_all_ranks_options *options,
                                    galv_arena *arena, galv_err *err);

#endif

/* A folded program written out for every rank of the cluster, each operation by itself:
 * what the plain simulator and the critical path go by where ranks differ. Large: for
 * looking closely, not for simulating (all_ranks.h does that without). */
#ifndef GALV_SIM_UNFOLD_H
#define GALV_SIM_UNFOLD_H

#include "costmodel/cost.h"
#include "sim/all_ranks.h"

/* Operations that are written out at most. */
#define GALV_MOST_UNFOLDED_OPS 1000000

typedef struct galv_unfolded_program {
    galv_program *program; /* of all ranks, rank = stage * ranks_per_stage + place */
    uint32_t *next_member; /* [n_ops] the same collective on the next rank of its group,
                              in a ring; the op itself where it is alone */
    double *work_s;        /* [n_ops] what it takes alone, differences included */
    int32_t ranks_per_stage; /* n */
} galv_unfolded_program;     /* everything is owned by the arena */

/* Writes out a program; arguments as galv_all_ranks_simulate, whose draw `run` decides
 * the works. Errors: GALV_USAGE (more operations than GALV_MOST_UNFOLDED_OPS, a
 * straggler that is no rank), GALV_NO_MEMORY. */
galv_status galv_unfold(galv_unfolded_program *unfolded, const galv_program *program,
                        const galv_cost *costs, const galv_meeting *meetings,
                        int32_t ranks_per_stage, const galv_differences *differences,
                        uint32_t run, galv_arena *arena, galv_err *err);

/* Where an op of the folded program is found for a place of its stage. */
uint32_t galv_unfolded_op(const galv_program *folded, int32_t ranks_per_stage,
                          uint32_t op, int32_t stage, int32_t place);

/* The timeline of all ranks in the order of the unfolded program, from the spans that
 * galv_all_ranks_simulate records with GALV_EVERY_PLACE. Errors: GALV_NO_MEMORY. */
galv_status galv_unfold_timeline(galv_timeline *timeline,
                                 const galv_unfolded_program *unfolded,
                                 const galv_program *folded,
                                 const galv_all_ranks_result *all, galv_arena *arena,
                                 galv_err *err);

#endif

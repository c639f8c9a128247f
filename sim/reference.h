/* A second simulator, to hold the engine (simulate.h) against.
 *
 * It is as plain as the rules can be written down: no heap, no state kept from one
 * moment to the next but what is left of each activity. It takes time in proportion to
 * operations times queues, so it is for checking only. */
#ifndef GALV_SIM_REFERENCE_H
#define GALV_SIM_REFERENCE_H

#include "costmodel/costmodel.h"
#include "sim/evaluate.h"
#include "sim/unfold.h"

typedef struct galv_reference_result {
    double iteration_time_s;
    double *start_s;     /* [n_ops] */
    double *end_s;       /* [n_ops] */
    double *peak_bytes;  /* [n_ranks] */
    uint64_t n_steps;    /* moments at which something ended */
} galv_reference_result; /* arrays are owned by the arena */

/* Simulates one iteration; arguments and errors as galv_simulate. */
galv_status galv_reference_simulate(galv_reference_result *result,
                                    const galv_program *program, const galv_cost *costs,
                                    const galv_stage_memory *base, galv_arena *arena,
                                    galv_err *err);

/* The same for every rank by itself: the ranks of a collective begin it when all of
 * them can, at the pace of the slowest, and end it together. base[n_ranks of the folded
 * program], each for a stage. The network is not shared. Errors: as galv_simulate. */
galv_status galv_reference_simulate_all(galv_reference_result *result,
                                        const galv_unfolded_program *unfolded,
                                        const galv_cost *costs,
                                        const galv_stage_memory *base,
                                        galv_arena *arena, galv_err *err);

/* How far two simulations of one program are apart. */
typedef struct galv_check {
    double time_frac;   /* largest |difference| of a start or an end, as a share of the
                           iteration */
    uint32_t worst_op;  /* where */
    double memory_frac; /* largest |difference| of a rank's peak, as a share of it */
    int32_t worst_rank;
    double iteration_time_s; /* by the reference */
    uint64_t n_steps;
    uint32_t n_ops;
} galv_check;

/* Compares the engine's result, its timeline recorded and in the program's order, with
 * the reference. Errors: GALV_INTERNAL when the timeline is not of this program. */
galv_status galv_check_results(galv_check *check, const galv_program *program,
                               const galv_sim_result *sim,
                               const galv_reference_result *reference, galv_err *err);

/* Operations times ranks that the check of every rank takes at most. */
#define GALV_MOST_CHECKED 20000000

/* Compiles and prices a plan and plays every rank of it with both, in draw `run` of the
 * differences (NULL: none), which have no slow links. Errors: as galv_evaluate, and
 * GALV_USAGE where that would be more than GALV_MOST_CHECKED. */
galv_status galv_check_all_ranks(galv_check *check, const galv_costmodel *model,
                                 const galv_plan *plan,
                                 const galv_differences *differences, uint32_t run,
                                 galv_arena *arena, galv_err *err);

/* Compiles and prices a plan and plays it with both. Errors: as galv_evaluate. */
galv_status galv_check_plan(galv_check *check, const galv_costmodel *model,
                            const galv_plan *plan, galv_arena *arena, galv_err *err);

#endif

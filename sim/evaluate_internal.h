/* Shared between the parts of an evaluation. */
#ifndef GALV_SIM_EVALUATE_INTERNAL_H
#define GALV_SIM_EVALUATE_INTERNAL_H

#include "sim/evaluate.h"

/* What an evaluation knows besides its result. */
typedef struct galv_evaluation {
    galv_sim_result sim;
    double executed_flop; /* of one device of every stage together */
    double priced_s;      /* what the shares of provenance are shares of */
} galv_evaluation;

/* Evaluates a plan operation by operation, however many there are. */
galv_status galv_evaluate_whole(galv_result *result, galv_evaluation *evaluation,
                                const galv_costmodel *model, const galv_plan *plan,
                                const galv_evaluate_options *options, galv_arena *arena,
                                galv_err *err);

/* Prices every class of a program, of a pass that is a single operation too:
 * costs[n_classes], owned by the arena. Errors: GALV_NO_MEMORY. */
galv_status galv_price_classes(galv_cost **costs, const galv_program *program,
                               galv_prices *prices, galv_arena *arena, galv_err *err);

/* Fills what follows from the time of an iteration: rates and utilisation. */
void galv_evaluate_rates(galv_result *result, const galv_costmodel *model,
                         const galv_plan *plan, double executed_flop);

/* Fills in the limits of the stages, and from them and their peaks what the whole plan
 * needs and whether it fits. */
void galv_evaluate_need(galv_result *result, const galv_costmodel *model,
                        const galv_plan *plan);

/* Is an iteration long enough for galv_steady_evaluate? */
bool galv_steady_is_long(const galv_plan *plan);

/* Evaluates a long iteration from shorter ones; *steady tells whether it could (else
 * `result` is not touched). Without timeline, and folded. Errors as galv_evaluate. */
galv_status galv_steady_evaluate(galv_result *result, bool *steady,
                                 const galv_costmodel *model, const galv_plan *plan,
                                 const galv_evaluate_options *options,
                                 galv_arena *arena, galv_err *err);

#endif

/* Prices of a program, class by class. */
#include "sim/evaluate_internal.h"

#include <math.h>
#include <string.h>

/* A pass that is a single operation: its longest path, and the sums of what is executed
 * and of where its seconds come from. Memory is its operations' own. */
static bool price_body(galv_cost *cost, const galv_program *program,
                       const galv_program_body *body, const galv_cost *costs,
                       galv_arena *arena)
{
    double *end_s = GALV_NEW_ARRAY(arena, double, body->n_ops);
    double free_s[GALV_N_STREAMS] = {0};
    memset(cost, 0, sizeof *cost);
    cost->compute_slowdown = cost->comm_slowdown = 1;
    for (uint32_t i = 0; end_s != NULL && i < body->n_ops; i++) {
        const galv_cost *one = &costs[body->classes[i]];
        double *stream_s = &free_s[program->classes[body->classes[i]].stream];
        double start_s = *stream_s;
        for (uint32_t k = body->first_wait[i]; k < body->first_wait[i + 1]; k++) {
            start_s = fmax(start_s, end_s[body->waits[k]]);
        }
        *stream_s = end_s[i] = start_s + one->work_s;
        cost->work_s = fmax(cost->work_s, end_s[i]);
        cost->flop += one->flop;
        for (int p = 0; p < GALV_N_PROVENANCES; p++) {
            cost->provenance_s[p] += one->provenance_s[p];
        }
    }
    return end_s != NULL;
}

galv_status galv_price_classes(galv_cost **costs, const galv_program *program,
                               galv_prices *prices, galv_arena *arena, galv_err *err)
{
    galv_status status = GALV_OK;
    galv_cost *made = GALV_NEW_ARRAY(arena, galv_cost, program->n_classes);
    if (made == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for the costs of %u classes",
                         (unsigned)program->n_classes);
    }
    for (uint32_t i = 0; i < program->n_classes && status == GALV_OK; i++) {
        if (program->bodies != NULL && program->bodies[i] != NULL) {
            continue; /* of classes that may come after it */
        }
        const galv_cost *cost = galv_prices_get(prices, &program->classes[i]);
        if (cost == NULL) {
            status = galv_fail(err, GALV_NO_MEMORY, "no memory for prices");
        } else {
            made[i] = *cost;
        }
    }
    if (status != GALV_OK) {
        return status;
    }
    for (uint32_t i = 0; program->bodies != NULL && i < program->n_classes; i++) {
        if (program->bodies[i] != NULL &&
            !price_body(&made[i], program, program->bodies[i], made, arena)) {
            return galv_fail(err, GALV_NO_MEMORY, "no memory to price a pass");
        }
    }
    *costs = made;
    return GALV_OK;
}

galv_status galv_price_program(galv_cost **costs, const galv_costmodel *model,
                               const galv_plan *plan, const galv_program *program,
                               galv_arena *arena, galv_err *err)
{
    galv_prices *prices = NULL;
    galv_status status = galv_prices_new(&prices, model, plan, NULL, arena, err);
    return status == GALV_OK ? galv_price_classes(costs, program, prices, arena, err)
                             : status;
}

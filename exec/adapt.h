/* Adaptation: watches the times of steps, lets galvatron-sim plan anew where they part
 * from what was expected, and changes the plan where the steps that are left repay it.
 */
#ifndef GALV_EXEC_ADAPT_H
#define GALV_EXEC_ADAPT_H

#include "base/text.h"
#include "exec/running.h"

typedef struct galv_adapter galv_adapter;

/* `predicted_s` of a step, 0 = what the first steady steps take; `restart_s`: what a
 * change costs besides moving the state (as long as the trainer took to be made).
 * `folder`: for the files of the planner, NULL = a temporary one. `profile`: what it
 * plans by, NULL = what is built in; kept by the caller. Freed by
 * galv_adapter_free (NULL is allowed). Errors: GALV_NO_MEMORY, GALV_IO. */
galv_status galv_adapter_new(galv_adapter **adapter, double predicted_s,
                             double restart_s, const char *folder, const char *profile,
                             galv_world *world, galv_err *err);
void galv_adapter_free(galv_adapter *adapter);

/* After every step: what it took, and how many steps are left. Collective. On rank 0
 * `note` gets what there is to tell, in whole lines. `changed`: the plan did. A planner
 * that fails or a plan that cannot be run is told, and the run goes on. Errors: those
 * that end the run. */
galv_status galv_adapter_step(galv_adapter *adapter, galv_running *running,
                              double time_s, int64_t n_left, galv_text *note,
                              bool *changed, galv_err *err);

#endif

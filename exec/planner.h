/* galvatron-sim at work beside the run: asked for a better plan by what was measured.
 * A process of its own, so that the executor stays free of the planner's libraries and
 * training goes on meanwhile. */
#ifndef GALV_EXEC_PLANNER_H
#define GALV_EXEC_PLANNER_H

#include "base/status.h"

typedef struct galv_planner galv_planner;

typedef struct galv_advice {
    bool change;
    double gain_s;        /* of a step */
    double switch_time_s; /* moving and beginning again */
    char plan_path[1100]; /* of the plan advised */
} galv_advice;

/* Starts `galvatron-sim plan FOLDER/plan.json --observed FOLDER/timeline.csv`,
 * with `--profile PROFILE` where that is not NULL. Which galvatron-sim: $GALVATRON_SIM,
 * else the one beside this program, else in PATH. `restart_s`: what a change costs
 * besides moving the state. Errors: GALV_UNAVAILABLE (not found), GALV_IO. */
galv_status galv_planner_start(galv_planner **planner, const char *folder,
                               const char *profile, double restart_s, galv_err *err);
/* True when it has ended: with an advice, or an error (GALV_UNAVAILABLE with what it
 * said). */
bool galv_planner_ended(galv_planner *planner, galv_advice *advice, galv_err *err);
/* Ends it where it still works. NULL is allowed. */
void galv_planner_free(galv_planner *planner);

#endif

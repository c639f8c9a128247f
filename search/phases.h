/* Phases: a plan for each phase of a run, chosen together.
 *
 * A phase may keep the plan of the one before or change it, which costs the time to
 * move weights and optimizer state (search/switching.h) and to restart. The candidates
 * of every phase are the layouts of its own K best plans and of the other phases', each
 * with the micro-batch that suits it best there; of all sequences of candidates the one
 * that ends first is found by dynamic programming. */
#ifndef GALV_SEARCH_PHASES_H
#define GALV_SEARCH_PHASES_H

#include "plan/phases.h"
#include "search/search.h"
#include "search/switching.h"

typedef struct galv_planned_phase {
    const galv_phase *phase;
    galv_job job;
    galv_plan *plan;
    galv_result result;
    double n_steps;
    double time_s;            /* of its steps */
    bool switched;            /* to another layout, before it */
    galv_switching switching; /* all 0 for the first phase */
    bool proven;              /* its search was; the fastest of all candidates counts */
} galv_planned_phase;

typedef struct galv_planned_run {
    size_t n_phases;
    galv_planned_phase *phases; /* [n_phases] */
    double time_s;              /* steps, switches and restarts */
    double lower_bound_s;       /* no sequence of any plans takes less */
    int32_t n_switches;
    /* the best sequence without any switch; time_s INFINITY when no candidate runs in
       every phase */
    double kept_time_s;
    galv_plan *kept_plan; /* its plan in the first phase, micro-batches may differ in
                             others; NULL when none */
    bool interrupted;
} galv_planned_run; /* owned by the arena */

/* Plans a run. `options->top_k` candidates of each phase (0: up to 16 of different
 * kinds, fewer of many phases); `restart_time_s` is added to every switch. Errors:
 * GALV_USAGE and GALV_INFEASIBLE with the name of the phase, GALV_NO_MEMORY. */
galv_status galv_phases_plan(galv_planned_run *run, const galv_job *job,
                             const galv_phase *phases, size_t n_phases,
                             const galv_profile *profile, const galv_space *space,
                             const galv_search_options *options, double restart_time_s,
                             galv_arena *arena, galv_err *err);

/* A copy of a plan for another batch and sequence length, checked, with the micro-batch
 * and the rest as they are. Errors: GALV_USAGE where it cannot run there. */
galv_status galv_plan_in_phase(galv_plan **copy, const galv_plan *plan,
                               const galv_job *phase_job, galv_arena *arena,
                               galv_err *err);

#endif

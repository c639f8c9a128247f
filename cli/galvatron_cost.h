/* A plan in the eyes of Galvatron's own cost model: --cost-model galvatron. */
#ifndef GALV_CLI_GALVATRON_COST_H
#define GALV_CLI_GALVATRON_COST_H

#include "cli/job.h"
#include "costmodel/galvatron_model.h"
#include "sim/evaluate.h"

typedef struct galv_second_opinion {
    bool given;            /* it was asked for */
    const char *time_mode; /* word of --galvatron-time */
    galv_galvatron_cost cost;
} galv_second_opinion;

/* Reads --galvatron-profile and costs the plan, where --cost-model galvatron is given;
 * the budget is --memory-limit, else the GPU's memory as sold. Errors: GALV_USAGE when
 * one option is given without the other; as galv_galvatron_inputs_read and
 * galv_galvatron_plan_cost. */
galv_status galv_second_opinion_read(galv_second_opinion *opinion, const galv_cli *cli,
                                     const galv_setup *setup, const galv_plan *plan,
                                     galv_err *err);

/* The same in steps, for a search in between. Reads the options (errors as above, and
 * without --cost-model galvatron nothing is read); */
galv_status galv_second_opinion_inputs(galv_galvatron_inputs *inputs,
                                       galv_second_opinion *opinion,
                                       const galv_cli *cli, const galv_setup *setup,
                                       galv_err *err);
/* the budget; */
double galv_second_opinion_budget_mib(const galv_setup *setup);
/* and the cost of a plan. */
galv_status galv_second_opinion_cost(galv_second_opinion *opinion,
                                     const galv_galvatron_inputs *inputs,
                                     const galv_setup *setup, const galv_plan *plan,
                                     galv_arena *arena, galv_err *err);

/* Prints it below our result; nothing when it was not asked for. */
void galv_second_opinion_print(const galv_second_opinion *opinion, const galv_cli *cli,
                               const galv_result *ours);

/* Writes "galvatron": {...} into an open document; nothing when not asked for. */
void galv_second_opinion_to_json(const galv_second_opinion *opinion,
                                 galv_json_writer *writer);

#endif

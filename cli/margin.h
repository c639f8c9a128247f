/* A best plan that leaves hardly any memory free, and what it costs to keep some. */
#ifndef GALV_CLI_MARGIN_H
#define GALV_CLI_MARGIN_H

#include "cli/config.h"
#include "search/search.h"

/* Share of the memory that is worth keeping free: told where the best plan does not. */
#define GALV_MARGIN_FRAC 0.05

typedef struct galv_margin {
    bool asked;         /* the best plan fills its memory, and nobody set a limit */
    galv_status status; /* GALV_INFEASIBLE: nothing fits with less */
    galv_plan *plan;    /* a fast one that keeps the margin */
    bool faster; /* than the best that was found with more: then it is the best */
    galv_result result;
} galv_margin; /* owned by the arena of cli */

/* Searches once more, with less memory, if `best` calls for it. A plan that is faster
 * than the best that was found with more memory becomes the first of `best`. Errors:
 * GALV_NO_MEMORY. */
galv_status galv_margin_find(galv_margin *margin, const galv_cli *cli,
                             const galv_setup *setup, const galv_space *space,
                             const galv_search_options *options,
                             galv_search_result *best, galv_err *err);

/* One line; nothing where it was not asked. */
void galv_margin_print(const galv_margin *margin, const galv_cli *cli,
                       const galv_result *best);

/* "margin": null, or what `result` has of the plan. */
void galv_margin_to_json(const galv_margin *margin, const galv_setup *setup,
                         galv_json_writer *writer);

#endif

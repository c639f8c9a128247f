/* Tables of plans for programs, as CSV: one row for each listed plan, or for each
 * candidate of the search with its fate. Degrees of plans whose blocks differ are all
 * that they have, "1/2" (block_words.h). */
#ifndef GALV_CLI_PLAN_SHEET_H
#define GALV_CLI_PLAN_SHEET_H

#include "base/text.h"
#include "search/batches.h"
#include "search/search.h"

typedef struct galv_plan_sheet {
    bool batches;     /* a column of global batches: several were searched */
    bool rank_orders; /* likewise */
} galv_plan_sheet;

void galv_plan_sheet_put(galv_text *out, const galv_search_result *found,
                         const galv_plan_sheet *sheet);

/* Candidates of each point of `batched`, then of `found`. Errors: GALV_IO,
 * GALV_NO_MEMORY. */
galv_status galv_plan_sheet_write_candidates(const char *path,
                                             const galv_search_result *found,
                                             const galv_batches_result *batched,
                                             const galv_plan_sheet *sheet,
                                             galv_err *err);

#endif

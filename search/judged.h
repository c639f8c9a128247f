/* What a search that makes its own plans has judged: a list that grows, and the podium
 * that its plans enter. */
#ifndef GALV_SEARCH_JUDGED_H
#define GALV_SEARCH_JUDGED_H

#include "search/layerwise.h"

typedef struct galv_judged {
    galv_layerwise_result
        *result;     /* searched, n_searched, best and best_s are filled */
    size_t capacity; /* of result->searched */
    galv_podium *podium;
    size_t first_index; /* on the podium, of the first judged */
    galv_arena *arena;  /* of the list */
} galv_judged;

/* Adds one, and gives where it is kept, until the next. Errors: GALV_NO_MEMORY. */
galv_status galv_judged_add(const galv_searched **kept, galv_judged *judged,
                            const galv_searched *one, galv_err *err);

#endif

/* One line of progress on standard error, after a second, while a search runs. */
#ifndef GALV_CLI_PROGRESS_H
#define GALV_CLI_PROGRESS_H

#include "cli/parse.h"
#include "search/search.h"

typedef struct galv_progress {
    bool wanted;
    bool at_once; /* --progress always: do not wait for the first second */
    bool shown;   /* a line stands there and must be wiped */
    double began_s, last_s;
} galv_progress;

void galv_progress_begin(galv_progress *progress, const galv_cli *cli);

/* A galv_search_options.progress callback; `context` is a galv_progress. */
void galv_progress_show(void *context, const galv_search_progress *state);

/* Wipes the line. */
void galv_progress_end(galv_progress *progress);

#endif

/* The progress line: at most ten times a second, at most 79 columns, wiped at the end
 * with blanks instead of an escape sequence, so that any terminal will do. */
#include "cli/progress.h"

#include "base/units.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define FIRST_AFTER_S 1.0
#define EVERY_S       0.1
#define BAR           16
#define LINE          79

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void galv_progress_begin(galv_progress *progress, const galv_cli *cli)
{
    memset(progress, 0, sizeof *progress);
    const char *when = galv_cli_value(cli, GALV_OPTION_PROGRESS);
    progress->wanted =
        cli->terminal.progress && !galv_cli_given(cli, GALV_OPTION_QUIET);
    progress->at_once = when != NULL && strcmp(when, "always") == 0;
    progress->began_s = now_s();
}

void galv_progress_show(void *context, const galv_search_progress *state)
{
    galv_progress *progress = context;
    if (!progress->wanted) {
        return;
    }
    double now = now_s();
    if ((!progress->at_once && now - progress->began_s < FIRST_AFTER_S) ||
        (progress->shown && now - progress->last_s < EVERY_S)) {
        return;
    }
    double share = state->total > 0 ? (double)state->done / (double)state->total : 0.0;
    share = share > 1 ? 1 : share;
    char bar[BAR + 1];
    memset(bar, '.', BAR);
    memset(bar, '#', (size_t)(share * BAR));
    bar[BAR] = '\0';
    char done[24], total[24], best[24] = "", line[160];
    galv_print_count(done, sizeof done, (int64_t)state->done);
    galv_print_count(total, sizeof total, (int64_t)state->total);
    int n = snprintf(line, sizeof line, "%s %3.0f %% [%s] %s/%s", state->phase,
                     100 * share, bar, done, total);
    if (isfinite(state->best_s) && n > 0 && (size_t)n < sizeof line) {
        snprintf(line + n, sizeof line - (size_t)n, "  best %s  MFU %.1f %%",
                 galv_print_duration(best, sizeof best, state->best_s),
                 100 * state->best_mfu);
    }
    fprintf(stderr, "\r%-*.*s", LINE, LINE, line);
    fflush(stderr);
    progress->shown = true;
    progress->last_s = now;
}

void galv_progress_end(galv_progress *progress)
{
    if (progress->shown) {
        fprintf(stderr, "\r%*s\r", LINE, "");
        fflush(stderr);
        progress->shown = false;
    }
}

/* Is a run as fast as expected, or have the two parted for good? Times of steps are
 * noisy, and a slow step or two is no reason to plan anew. */
#ifndef GALV_EXEC_OBSERVE_H
#define GALV_EXEC_OBSERVE_H

#include <stdint.h>

enum { GALV_OBSERVED_STEPS = 10, GALV_OBSERVE_WARM_UP = 2 };

typedef enum galv_verdict {
    GALV_VERDICT_EARLY, /* too few steps */
    GALV_VERDICT_AGREES,
    GALV_VERDICT_PARTED
} galv_verdict;

typedef struct galv_observer {
    double expected_s; /* of a step; 0: the first steady steps will tell */
    int64_t n;         /* steps since the start, warm-up included */
    double times_s[GALV_OBSERVED_STEPS]; /* the last ones, in a ring */
} galv_observer;

/* Begins anew; `expected_s` 0 = what the first steady steps take. */
void galv_observer_start(galv_observer *observer, double expected_s);

/* One step more. Parted, when the median of the last steps is more than a tenth off
 * what was expected, and so are those of their older and of their newer half, on the
 * same side, and the difference is more than twice the scatter of the steps. */
galv_verdict galv_observer_add(galv_observer *observer, double time_s);

/* Median of the last steps. */
double galv_observer_median_s(const galv_observer *observer);

#endif

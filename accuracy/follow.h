/* A profile follows what a run shows: where a measured timeline of a plan parts from
 * the one that a profile predicts of it, the profile's times are scaled by how much.
 *
 * A machine can be slower than when it was profiled, and one whose link is slow runs
 * its collectives at another pace than its products. So each kind of operation has a
 * factor of its own: rows of layers by their phase, rows of collectives and messages by
 * what they are; a kind that the plan does not use takes that of all kinds like it
 * together. Of a computation the slowest rank of a stage counts, which sets the pace;
 * of a communication the rank that took least, since the others waited for it. */
#ifndef GALV_ACCURACY_FOLLOW_H
#define GALV_ACCURACY_FOLLOW_H

#include "traces/profile.h"
#include "traces/timeline.h"

typedef struct galv_followed {
    double kind[GALV_N_OP_KINDS]; /* measured / predicted; 1 where nothing is known */
    double computation, communication;
} galv_followed;

/* Finds the factors of two timelines of one plan; predicted may be folded (one rank for
 * each stage). Errors: GALV_NO_MEMORY. O(spans). */
galv_status galv_follow_timelines(galv_followed *followed,
                                  const galv_timeline *measured,
                                  const galv_timeline *predicted, galv_err *err);
/* Scales the times of layers, collectives and messages. */
void galv_follow_profile(galv_profile *profile, const galv_followed *followed);

#endif

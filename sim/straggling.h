/* What it costs that ranks and links differ: the time of each rank that it only waits
 * because of that. */
#ifndef GALV_SIM_STRAGGLING_H
#define GALV_SIM_STRAGGLING_H

#include "sim/all_ranks.h"

/* The same program without differences, with which every rank is compared. */
typedef struct galv_undisturbed {
    const galv_rank_result *ranks; /* [n_ranks] */
    const double *waited_s;        /* [n_ranks] as in galv_all_ranks_result; NULL: 0 */
    int32_t n_ranks; /* of the cluster, or of the folded simulation: one a stage */
} galv_undisturbed;

/* Moves from GALV_BREAKDOWN_BUBBLE to GALV_BREAKDOWN_STRAGGLING of every rank what it
 * idles longer than the undisturbed rank: in collectives, for members that come late,
 * and apart from that elsewhere, for messages and for the step. So the parts of a rank
 * still add up to the iteration, and bubble is at most what it was undisturbed. What
 * the slow device itself computes longer stays computation, what a slow link carries
 * longer stays communication. `undisturbed` has one rank for each of `all`, or one for
 * each of its stages. */
void galv_straggling_split(galv_all_ranks_result *all,
                           const galv_undisturbed *undisturbed);

#endif

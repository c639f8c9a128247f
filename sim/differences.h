/* How ranks and links differ from one another and from what the cost model says.
 *
 * Every random number is a function of (seed, run, what it is for), never of the order
 * in which events come up: the same seed gives the same iteration whatever else is
 * simulated, and however many threads there are. */
#ifndef GALV_SIM_DIFFERENCES_H
#define GALV_SIM_DIFFERENCES_H

#include "base/arena.h"
#include "base/status.h"

#include <stdint.h>

/* Ranks whose computation takes longer (or less long). */
typedef struct galv_straggler {
    int64_t rank;      /* this rank; -1: a share of all ranks, chosen by the seed */
    double share_frac; /* with rank -1: 0..1; at least one rank unless it is 0 */
    double factor;     /* their operations take this many times as long, > 0 */
} galv_straggler;

/* A node whose network is slower. */
typedef struct galv_slow_link {
    int32_t node;
    double factor; /* of its bandwidth, > 0 and at most 1 */
} galv_slow_link;

#define GALV_MAX_STRAGGLERS 64
#define GALV_MAX_SLOW_LINKS 64

/* All zero: no differences. */
typedef struct galv_differences {
    uint64_t seed;
    double
        compute_sigma; /* of the logarithm of each operation's time: lognormal with */
    double comm_sigma; /* mean 1; a collective is drawn once for all its ranks */
    int32_t n_stragglers;
    galv_straggler stragglers[GALV_MAX_STRAGGLERS];
    int32_t n_slow_links;
    galv_slow_link slow_links[GALV_MAX_SLOW_LINKS];
} galv_differences;

/* Can ranks differ at all? Links are not counted. */
bool galv_differences_of_ranks(const galv_differences *differences);

/* Reads "17=1.1" (rank 17), "0.01=1.05" or "1%=1.05" (that share of all ranks): an
 * integer is a rank, a number with a point or a percent sign a share. Appends it.
 * Errors: GALV_USAGE. */
galv_status galv_differences_add_straggler(galv_differences *differences,
                                           const char *text, galv_err *err);

/* Reads "3=0.5": node 3 has half its bandwidth. Appends it. Errors: GALV_USAGE. */
galv_status galv_differences_add_slow_link(galv_differences *differences,
                                           const char *text, galv_err *err);

/* How much longer each rank's computation takes in a run: factors[n_ranks], owned by
 * the arena. Where several stragglers name a rank its factors multiply; a share is
 * drawn anew in every run. Errors: GALV_USAGE (no such rank), GALV_NO_MEMORY. */
galv_status galv_differences_factors(double **factors,
                                     const galv_differences *differences, uint32_t run,
                                     int32_t n_ranks, galv_arena *arena, galv_err *err);

/* A key that all numbers of one run are drawn with. */
uint64_t galv_random_key(uint64_t seed, uint32_t run);

/* Uniform in (0, 1), from a key and two counters.
 * Source: the finalizer of SplitMix64, Steele, Lea and Flood 2014. */
double galv_random_uniform(uint64_t key, uint64_t a, uint64_t b);

/* Lognormal with mean 1 and this sigma of its logarithm. */
double galv_random_lognormal(uint64_t key, uint64_t a, uint64_t b, double sigma);

#endif

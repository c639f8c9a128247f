/* How many of a row of identical layers take which option: the exact best within a
 * memory limit, without a memory grid.
 *
 * Layers are alike and a change between neighbours is free, so only the counts matter.
 * An option costs a layer two times (without and with the reduction of gradients) and
 * memory; what is wanted is the least of the largest of a few linear terms of the sums
 * of the two times. */
#ifndef GALV_SEARCH_COUNTS_H
#define GALV_SEARCH_COUNTS_H

#include <stdbool.h>
#include <stdint.h>

#define GALV_COUNTS_MAX_OPTIONS 128
#define GALV_COUNTS_MAX_TERMS   8

typedef struct galv_count_option {
    double no_sync_s, sync_s, memory; /* of one layer; at least 0 */
    int32_t name;                     /* the caller's */
} galv_count_option;

/* constant + no_sync * (sum of no_sync_s) + sync * (sum of sync_s); factors at least 0
 */
typedef struct galv_count_term {
    double constant, no_sync, sync;
} galv_count_term;

typedef struct galv_count_problem {
    int32_t n_layers;                 /* >= 1 */
    int32_t n_options;                /* <= GALV_COUNTS_MAX_OPTIONS */
    const galv_count_option *options; /* as galv_counts_prepare leaves them */
    double limit;                     /* of the sum of memory */
    int32_t n_terms;                  /* 1 .. GALV_COUNTS_MAX_TERMS */
    const galv_count_term *terms;
    double beat; /* only answers below this are wanted; INFINITY: any */
} galv_count_problem;

typedef struct galv_count_answer {
    bool found;   /* false: nothing fits, or nothing is below `beat` */
    bool exact;   /* false: the walk was cut short; then a better one may exist, or one
                     at all */
    double value; /* the largest term */
    double no_sync_s, sync_s, memory;
    int32_t counts[GALV_COUNTS_MAX_OPTIONS]; /* by option */
} galv_count_answer;

/* Leaves out options that another beats in all three numbers, and sorts the rest by
 * memory. Returns how many are left. The least of monotone terms is never lost. */
int32_t galv_counts_prepare(galv_count_option *options, int32_t n_options);

/* A lower bound of the largest term, counts not being whole: exact for one term.
 * INFINITY when nothing fits. O(options) for one term. */
double galv_counts_bound(const galv_count_problem *problem);

/* The best counts. */
void galv_counts_best(galv_count_answer *answer, const galv_count_problem *problem);

#endif

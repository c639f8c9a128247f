/* Regularised least squares for few runs: what they miss is shared out between what
 * they have in common (factors; a group's own offset) and what is each run's own, by
 * how much each is known to vary. */
#ifndef GALV_ACCURACY_SHRINKAGE_H
#define GALV_ACCURACY_SHRINKAGE_H

#include "base/status.h"

#include <stddef.h>

typedef struct galv_shrinkage {
    size_t n;                /* runs */
    size_t n_factors;        /* >= 1 */
    size_t n_groups;         /* of runs, each off as a whole by its own; 0 = none are */
    const double *y;         /* [n] what is to be explained */
    const double *jacobian;  /* [n * n_factors] y per factor */
    const double *scale;     /* [n] size of what is a run's own, > 0 */
    const double *weight;    /* [n] runs that each counts for; NULL = 1 */
    const size_t *group;     /* [n] < n_groups; not looked at where there are none */
    const double *factor_sd; /* [n_factors] how far factors lie from 0, > 0 */
    const double *factor_most; /* [n_factors] what each cannot exceed, >= 0; NULL =
                                  any */
    double group_sd;           /* how far offsets do, > 0 */
} galv_shrinkage;

/* x[n_factors] of the most likely factors and sd[n_factors] of what is left open of
 * them (NULL allowed). Both the runs' own parts and the factors as a whole are normal
 * as far as their spreads go and of Student's t with 4 degrees of freedom beyond: a run
 * far from all others pulls less, not more, and factors that several runs agree on go
 * as far as these say; those of a single run are normal. With one run, one factor of
 * jacobian 1 and a small y: x = y sd^2 / (sd^2 + scale^2). A factor that would exceed
 * its most stays there, and the others are the most likely ones given that. O(n
 * (n_factors + n_groups)^2) a step. Errors: GALV_NO_MEMORY; GALV_UNAVAILABLE when the
 * factors do not settle; GALV_INTERNAL when the equations cannot be solved. */
galv_status galv_shrinkage_solve(double *x, double *sd, const galv_shrinkage *problem,
                                 galv_err *err);

/* Scales factor_sd[n_factors], which the problem looks at, so that what the factors do
 * to y is no more than `most`: the root of its mean square, by the weights. Returns
 * what it is then. */
double galv_shrinkage_narrow(double *factor_sd, const galv_shrinkage *problem,
                             double most);

#endif

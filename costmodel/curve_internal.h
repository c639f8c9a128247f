/* Measured curves. */
#ifndef GALV_COSTMODEL_CURVE_INTERNAL_H
#define GALV_COSTMODEL_CURVE_INTERNAL_H

#include "base/status.h"
#include "costmodel/cost.h"

#include <gsl/gsl_interp.h>

#include <stddef.h>

/* A measured curve: y over ascending x. */
typedef struct galv_curve {
    size_t n;
    double *x, *y;        /* [n] */
    gsl_interp *interp;   /* linear; NULL when n < 2 */
    double offset, slope; /* least-squares line through all points; n = 1: y ~ x */
} galv_curve;

/* Prepares a curve whose n >= 1 points are set, x ascending and distinct. The caller
 * frees curve->interp with gsl_interp_free. Errors: GALV_NO_MEMORY, GALV_INPUT. */
galv_status galv_curve_finish(galv_curve *curve, galv_err *err);

/* Value of a curve at x and how it came about. */
double galv_curve_value(const galv_curve *curve, double x, galv_provenance *provenance);

#endif

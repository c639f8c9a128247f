/* A measured curve: what fits exactly is replayed, what lies between is interpolated by
 * GSL, what lies outside goes by the least-squares line through all points, never below
 * half or above twice proportion to the nearest point. The answer says which it was. */
#include "costmodel/curve_internal.h"

#include <gsl/gsl_errno.h>
#include <gsl/gsl_fit.h>

#include <math.h>

double galv_curve_value(const galv_curve *curve, double x, galv_provenance *provenance)
{
    size_t n = curve->n;
    for (size_t i = 0; i < n; i++) {
        if (fabs(curve->x[i] - x) <= 1e-9 * fabs(x)) {
            *provenance = GALV_PROVENANCE_MEASURED;
            return curve->y[i];
        }
    }
    if (n >= 2 && x > curve->x[0] && x < curve->x[n - 1]) {
        double y = 0;
        *provenance = GALV_PROVENANCE_INTERPOLATED;
        if (gsl_interp_eval_e(curve->interp, curve->x, curve->y, x, NULL, &y) ==
            GSL_SUCCESS) {
            return y;
        }
    }
    *provenance = GALV_PROVENANCE_FITTED;
    size_t edge = x < curve->x[0] ? 0 : n - 1;
    double proportion = curve->y[edge] * x / curve->x[edge];
    double line = curve->offset + curve->slope * x;
    return fmin(fmax(line, 0.5 * proportion), 2 * proportion);
}

galv_status galv_curve_finish(galv_curve *curve, galv_err *err)
{
    size_t n = curve->n;
    curve->interp = NULL;
    curve->offset = 0;
    curve->slope = curve->x[0] > 0 ? curve->y[0] / curve->x[0] : 0;
    if (n < 2) {
        return GALV_OK;
    }
    double c00 = 0;
    double c01 = 0;
    double c11 = 0;
    double residual = 0;
    if (gsl_fit_linear(curve->x, 1, curve->y, 1, n, &curve->offset, &curve->slope, &c00,
                       &c01, &c11, &residual) != GSL_SUCCESS) {
        return galv_fail(err, GALV_INPUT, "a line cannot be fitted to the profile");
    }
    curve->interp = gsl_interp_alloc(gsl_interp_linear, n);
    if (curve->interp == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    if (gsl_interp_init(curve->interp, curve->x, curve->y, n) != GSL_SUCCESS) {
        return galv_fail(err, GALV_INPUT,
                         "the profile's points cannot be interpolated");
    }
    return GALV_OK;
}

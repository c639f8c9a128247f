/* The estimator: a random-effects model, its mode by reweighted least squares.
 *
 *   y_i = J_i x + u_g(i) + r_i,   u_g ~ N(0, group_sd^2),   t_i = r_i / scale_i
 *   Q = sum_k (x_k / factor_sd_k)^2
 *
 * r_i and x are normal for t^2, Q < 1 and of Student's t beyond. That is a normal of
 * unknown variance, so its mode is one of weighted squares, with weights
 * (nu + 1) / (nu + t^2) found anew after each solution; for the factors as a whole in
 * the same way with Q. Four degrees of freedom are the usual choice where tails are
 * heavy and little is known of them. Source: Lange, Little, Taylor 1989, "Robust
 * statistical modeling using the t distribution", JASA 84.
 *
 * Of a single run nobody can tell whether it is off by its stack or by itself, and with
 * long tails on both sides the likeliest answer jumps from one to the other as tau
 * passes sigma. There the factors are normal: no validated source was off as a whole by
 * as much as single runs are.
 *
 * Runs that agree better, or worse, than their scales say have other scales: all times
 * m,
 *
 *   m^2 = (nu_0 + (n - 1) / n sum_i w_i t_i^2) / (nu_0 + n - 1),   n = sum_i w_i
 *
 * as if nu_0 = 2.5 runs had been seen to scatter as stated; so differ the sources of
 * published runs (sigma of 1.3 to 11 %, whose logarithm varies by 0.6). One run changes
 * nothing in it.
 *
 * The first step has all weights 1. What is left open of x is the inverse of the last
 * equations' matrix (Laplace's approximation). A fit that does not settle is none. */
#include "accuracy/shrinkage.h"

#include <gsl/gsl_linalg.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DEGREES    4.0
#define SCALE_RUNS 2.5
#define MAX_STEPS  1000
#define MOST_AHEAD 50 /* steps in one */
#define TOLERANCE  1e-7

static double t_weight(double t_squared)
{
    return t_squared < 1 ? 1 : (DEGREES + 1) / (DEGREES + t_squared);
}

static double weight_of(const galv_shrinkage *p, size_t i)
{
    return p->weight == NULL ? 1 : p->weight[i];
}

/* What run i misses at z = (x, u), over its scale. */
static double left_over(const galv_shrinkage *p, const double *z, size_t i)
{
    double r = p->y[i];
    for (size_t k = 0; k < p->n_factors; k++) {
        r -= p->jacobian[i * p->n_factors + k] * z[k];
    }
    if (p->n_groups > 0) {
        r -= z[p->n_factors + p->group[i]];
    }
    return r / p->scale[i];
}

/* Square of what the scales are to be multiplied with, from what it was. */
static double find_m2(const galv_shrinkage *p, const double *z, double m2)
{
    double sum = 0;
    double n = 0;
    for (size_t i = 0; i < p->n; i++) {
        double t = left_over(p, z, i);
        sum += weight_of(p, i) * t_weight(t * t / m2) * t * t;
        n += weight_of(p, i);
    }
    return n > 1 ? (SCALE_RUNS + sum * (n - 1) / n) / (SCALE_RUNS + n - 1) : 1;
}

/* a = the matrix, z = the right side; with the weights of the solution `at`, or 1 where
 * that is NULL. */
static void equations(double *a, double *z, const galv_shrinkage *p, const double *at,
                      double m2, double *row)
{
    size_t size = p->n_factors + p->n_groups;
    double q = 0;
    memset(a, 0, size * size * sizeof *a);
    memset(z, 0, size * sizeof *z);
    for (size_t k = 0; k < p->n_factors && at != NULL; k++) {
        q += at[k] / p->factor_sd[k] * (at[k] / p->factor_sd[k]);
    }
    for (size_t k = 0; k < size; k++) {
        double sd = k < p->n_factors ? p->factor_sd[k] : p->group_sd;
        double w = k < p->n_factors && at != NULL && p->n > 1 ? t_weight(q) : 1;
        a[k * size + k] = w / (sd * sd);
    }
    for (size_t i = 0; i < p->n; i++) {
        double t = at == NULL ? 0 : left_over(p, at, i);
        double w = weight_of(p, i) / (p->scale[i] * p->scale[i] * m2);
        w *= at == NULL ? 1 : t_weight(t * t / m2);
        memset(row, 0, size * sizeof *row);
        memcpy(row, &p->jacobian[i * p->n_factors], p->n_factors * sizeof *row);
        if (p->n_groups > 0) {
            row[p->n_factors + p->group[i]] = 1;
        }
        for (size_t k = 0; k < size; k++) {
            z[k] += w * row[k] * p->y[i];
            for (size_t l = 0; l < size; l++) {
                a[k * size + l] += w * row[k] * row[l];
            }
        }
    }
}

/* Whole steps settle within a few dozen; where runs contradict one another they may go
 * to and fro between two solutions, which shorter ones do not. And where they say
 * little of a direction steps may creep, each by `shrinks` of the one before: now and
 * then one goes where all of them would lead. Source: Aitken's extrapolation of a sum.
 */
static double step_length(int step, double shrinks)
{
    enum { WHOLE = 50, BETWEEN = 20 };
    double length = step < WHOLE ? 1 : 0.5;
    bool creeps = step >= WHOLE && step % BETWEEN == 0 && shrinks > 0.9 && shrinks < 1;
    return creeps ? fmin(length / (1 - shrinks), MOST_AHEAD) : length;
}

static galv_status solve(double *x, double *sd, const galv_shrinkage *p, double *room)
{
    size_t size = p->n_factors + p->n_groups;
    double *a = room;
    double *z = a + size * size;
    double *at = z + size;
    double *row = at + size;
    gsl_matrix_view matrix = gsl_matrix_view_array(a, size, size);
    gsl_vector_view vector = gsl_vector_view_array(z, size);
    double m2 = 1;
    double last = 0;
    bool settled = false;
    for (int step = 0; step < MAX_STEPS && !settled; step++) {
        double change = 0;
        equations(a, z, p, step == 0 ? NULL : at, m2, row);
        if (gsl_linalg_cholesky_decomp1(&matrix.matrix) != 0 ||
            gsl_linalg_cholesky_svx(&matrix.matrix, &vector.vector) != 0) {
            return GALV_INTERNAL;
        }
        for (size_t k = 0; k < size; k++) {
            change = fmax(change, fabs(z[k] - at[k]));
        }
        double length = step_length(step, last > 0 ? change / last : 0);
        for (size_t k = 0; k < size; k++) {
            at[k] += length * (z[k] - at[k]);
        }
        last = change;
        settled = step > 0 && change < TOLERANCE;
        m2 = settled ? m2 : find_m2(p, at, m2);
    }
    if (!settled) {
        return GALV_UNAVAILABLE;
    }
    memcpy(x, at, p->n_factors * sizeof *x);
    if (sd != NULL) {
        if (gsl_linalg_cholesky_invert(&matrix.matrix) != 0) {
            return GALV_INTERNAL;
        }
        for (size_t k = 0; k < p->n_factors; k++) {
            sd[k] = sqrt(a[k * size + k]);
        }
    }
    return GALV_OK;
}

/* Holds the factors that exceed their most in x there: takes what they explain off y
 * and their derivatives out. Returns whether any did that was not held before. */
static bool pin(bool *pinned, double *jacobian, double *y, const double *x,
                const galv_shrinkage *p)
{
    bool any = false;
    for (size_t k = 0; k < p->n_factors && p->factor_most != NULL; k++) {
        if (pinned[k] || !(x[k] > p->factor_most[k])) {
            continue;
        }
        any = pinned[k] = true;
        for (size_t i = 0; i < p->n; i++) {
            y[i] -= jacobian[i * p->n_factors + k] * p->factor_most[k];
            jacobian[i * p->n_factors + k] = 0;
        }
    }
    return any;
}

static galv_status solve_within(double *x, double *sd, const galv_shrinkage *problem,
                                double *room, double *left, bool *pinned)
{
    galv_shrinkage p = *problem;
    double *jacobian = left;
    double *y = jacobian + p.n * p.n_factors;
    double *made = y + p.n;
    memcpy(jacobian, problem->jacobian, p.n * p.n_factors * sizeof *left);
    memcpy(y, problem->y, p.n * sizeof *left);
    p.jacobian = jacobian;
    p.y = y;
    galv_status status = solve(made, sd, &p, room);
    while (status == GALV_OK && pin(pinned, jacobian, y, made, &p)) {
        status = solve(made, sd, &p, room);
    }
    for (size_t k = 0; k < p.n_factors && status == GALV_OK; k++) {
        x[k] = pinned[k] ? p.factor_most[k] : made[k];
    }
    return status;
}

galv_status galv_shrinkage_solve(double *x, double *sd, const galv_shrinkage *problem,
                                 galv_err *err)
{
    size_t size = problem->n_factors + problem->n_groups;
    double *room = calloc(size * size + 3 * size, sizeof *room);
    double *left = calloc((problem->n + 1) * (problem->n_factors + 1), sizeof *left);
    bool *pinned = calloc(problem->n_factors, sizeof *pinned);
    galv_status status = GALV_NO_MEMORY;
    if (room != NULL && left != NULL && pinned != NULL) {
        status = solve_within(x, sd, problem, room, left, pinned);
    }
    free(room);
    free(left);
    free(pinned);
    switch (status) {
    case GALV_OK:
        return GALV_OK;
    case GALV_NO_MEMORY:
        return galv_fail(err, status, "no memory for %zu factors", size);
    case GALV_UNAVAILABLE:
        return galv_fail(err, status,
                         "a fit to %zu runs has not settled after %d steps: they "
                         "contradict one another",
                         problem->n, MAX_STEPS);
    default:
        return galv_fail(err, status, "the equations of a fit cannot be solved");
    }
}

double galv_shrinkage_narrow(double *factor_sd, const galv_shrinkage *problem,
                             double most)
{
    double sum = 0;
    double n = 0;
    for (size_t i = 0; i < problem->n; i++) {
        for (size_t k = 0; k < problem->n_factors; k++) {
            double effect =
                problem->jacobian[i * problem->n_factors + k] * factor_sd[k];
            sum += weight_of(problem, i) * effect * effect;
        }
        n += weight_of(problem, i);
    }
    double effect = n > 0 ? sqrt(sum / n) : 0;
    if (!(effect > most)) {
        return effect;
    }
    for (size_t k = 0; k < problem->n_factors; k++) {
        factor_sd[k] *= most / effect;
    }
    return most;
}

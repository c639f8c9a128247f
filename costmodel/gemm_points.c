/* Matrix products that the user measured.
 *
 * A row of kind kernel and op gemm holds for its own m, n and k (in either order of m
 * and n: a product and its transpose are one kernel). Others take the law, moved by
 * what the rows near them were off by:
 *
 *   ln scale = sum_i w_i ln(measured_i / law_i) / sum_i w_i,   w_i = 1 / (d_i^2 + 0.1)
 *
 * with d_i the distance in (ln m, ln n, ln k): Shepard's interpolation, with a tenth so
 * that one noisy row does not own its surroundings. Source: Shepard 1968, "A
 * two-dimensional interpolation function for irregularly-spaced data". Repeated rows
 * count each; the in-situ factor still applies, for they are measured alone.
 *
 * Left out: rows of other kernels (attention's depend on more than m, n and k); batched
 * products, which take the scale alone. */
#include "costmodel/kernels_internal.h"

#include <math.h>
#include <string.h>

#define NEARNESS 0.1

static bool is_of(const galv_profile_row *row, const char *device,
                  galv_precision precision)
{
    return row->kind == GALV_PROFILE_KERNEL && strcmp(row->op, "gemm") == 0 &&
           (row->device[0] == '\0' || strcmp(row->device, device) == 0) &&
           (row->precision < 0 || row->precision == (int)precision) && row->m > 0 &&
           row->n > 0 && row->k > 0 && row->time_s > 0;
}

galv_status galv_gemm_read_points(galv_gemm_law *law, const galv_profile *profile,
                                  const char *device, galv_precision precision,
                                  galv_arena *arena, galv_err *err)
{
    size_t n = 0;
    for (size_t i = 0; profile != NULL && i < profile->n_rows; i++) {
        n += is_of(&profile->rows[i], device, precision);
    }
    if (n == 0) {
        return GALV_OK;
    }
    galv_gemm_point *points = GALV_NEW_ARRAY(arena, galv_gemm_point, n);
    if (points == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for measured products");
    }
    galv_gemm_law alone = *law;
    alone.factor = 1;
    alone.n_points = 0;
    n = 0;
    for (size_t i = 0; i < profile->n_rows; i++) {
        const galv_profile_row *row = &profile->rows[i];
        if (!is_of(row, device, precision)) {
            continue;
        }
        double size[3] = {(double)row->m, (double)row->n, (double)row->k};
        galv_gemm_point *p = &points[n++];
        p->time_s = row->time_s;
        for (int axis = 0; axis < 3; axis++) {
            p->size[axis] = size[axis];
            p->log_size[axis] = log(size[axis]);
        }
        p->log_ratio =
            log(row->time_s / galv_gemm_time(&alone, 1, size[0], size[1], size[2], 2));
    }
    law->points = points;
    law->n_points = n;
    return GALV_OK;
}

static bool same(double a, double b)
{
    return fabs(a - b) < 0.5;
}

double galv_gemm_measured(const galv_gemm_law *law, double m, double n, double k)
{
    double sum = 0;
    double count = 0;
    for (size_t i = 0; i < law->n_points; i++) {
        const double *s = law->points[i].size;
        if (same(s[2], k) &&
            ((same(s[0], m) && same(s[1], n)) || (same(s[0], n) && same(s[1], m)))) {
            sum += law->points[i].time_s;
            count++;
        }
    }
    return count > 0 ? sum / count : 0;
}

double galv_gemm_scale(const galv_gemm_law *law, double m, double n, double k)
{
    double at[3] = {log(m), log(n), log(k)};
    double sum = 0;
    double weights = 0;
    for (size_t i = 0; i < law->n_points; i++) {
        double distance = NEARNESS;
        for (int axis = 0; axis < 3; axis++) {
            double d = at[axis] - law->points[i].log_size[axis];
            distance += d * d;
        }
        sum += law->points[i].log_ratio / distance;
        weights += 1 / distance;
    }
    return weights > 0 ? exp(sum / weights) : 1;
}

/* Medians throughout, so that a step which waited for a disk does not count. The
 * scatter is the median distance from the median, times 1.4826 to be the standard
 * deviation where times are normal (Rousseeuw and Croux 1993, "Alternatives to the
 * median absolute deviation"). That both halves must be off keeps a slow spell from
 * being taken for a slow machine. What drifts by less than a tenth is left alone: a
 * change of plans would hardly repay itself. */
#include "exec/observe.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define LEAST_PART    0.1
#define SCATTER_TIMES 2.0

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(const double *values, int n)
{
    double sorted[GALV_OBSERVED_STEPS];
    memcpy(sorted, values, (size_t)n * sizeof *values);
    qsort(sorted, (size_t)n, sizeof *sorted, ascending);
    return n % 2 == 1 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

void galv_observer_start(galv_observer *observer, double expected_s)
{
    memset(observer, 0, sizeof *observer);
    observer->expected_s = expected_s;
}

double galv_observer_median_s(const galv_observer *observer)
{
    int64_t n = observer->n - GALV_OBSERVE_WARM_UP;
    n = n < GALV_OBSERVED_STEPS ? n : GALV_OBSERVED_STEPS;
    return n > 0 ? median(observer->times_s, (int)n) : 0;
}

/* Off by more than a tenth: -1 below, 1 above, else 0. */
static int side(double time_s, double expected_s)
{
    double part = time_s / expected_s - 1;
    return part > LEAST_PART ? 1 : part < -LEAST_PART ? -1 : 0;
}

galv_verdict galv_observer_add(galv_observer *observer, double time_s)
{
    enum { N = GALV_OBSERVED_STEPS };
    double in_order[N], distances[N];
    int64_t at = observer->n++ - GALV_OBSERVE_WARM_UP;
    if (at < 0) {
        return GALV_VERDICT_EARLY;
    }
    observer->times_s[at % N] = time_s;
    if (at + 1 < N) {
        return GALV_VERDICT_EARLY;
    }
    double middle = median(observer->times_s, N);
    if (observer->expected_s <= 0) {
        observer->expected_s = middle;
        return GALV_VERDICT_AGREES;
    }
    for (int i = 0; i < N; i++) { /* oldest first */
        in_order[i] = observer->times_s[(at + 1 + i) % N];
        distances[i] = fabs(in_order[i] - middle);
    }
    double scatter = 1.4826 * median(distances, N);
    double expected_s = observer->expected_s;
    int where = side(middle, expected_s);
    bool lasts = side(median(in_order, N / 2), expected_s) == where &&
                 side(median(in_order + N / 2, N / 2), expected_s) == where;
    return where != 0 && lasts && fabs(middle - expected_s) > SCATTER_TIMES * scatter
               ? GALV_VERDICT_PARTED
               : GALV_VERDICT_AGREES;
}

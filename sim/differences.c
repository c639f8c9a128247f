/* Stragglers, jitter and the random numbers behind them.
 *
 * Jitter is lognormal with mean 1: exp(sigma z - sigma^2 / 2). Real kernels have a
 * floor and a long tail; the lognormal has the tail, and its mean of 1 keeps what the
 * cost model says on average. Numbers are counters put through a mixing function, so
 * any of them can be had without those before it.
 *
 * A share of stragglers is drawn without repetition: of r ranks the k with the smallest
 * random numbers, found as those below the k-th smallest. Left out: stragglers that
 * come and go within an iteration, and slow memory beside slow computation. */
#include "sim/differences.h"

#include <gsl/gsl_cdf.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- random numbers ---- */

static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

uint64_t galv_random_key(uint64_t seed, uint32_t run)
{
    return mix(mix(seed + 0x9e3779b97f4a7c15ULL) + run * 0xd1342543de82ef95ULL + 1);
}

double galv_random_uniform(uint64_t key, uint64_t a, uint64_t b)
{
    uint64_t z = mix(key + a * 0x9e3779b97f4a7c15ULL);
    z = mix(z + b * 0xd1342543de82ef95ULL + 1);
    return ((double)(z >> 11) + 0.5) * 0x1p-53;
}

double galv_random_lognormal(uint64_t key, uint64_t a, uint64_t b, double sigma)
{
    double z = gsl_cdf_ugaussian_Pinv(galv_random_uniform(key, a, b));
    return exp(sigma * z - 0.5 * sigma * sigma);
}

/* ---- what is given ---- */

bool galv_differences_of_ranks(const galv_differences *differences)
{
    return differences != NULL &&
           (differences->compute_sigma > 0 || differences->comm_sigma > 0 ||
            differences->n_stragglers > 0);
}

/* A number up to `end_at`; false when it is none, or ends elsewhere. */
static bool read_number(double *value, const char *text, const char *end_at)
{
    char *end = NULL;
    *value = strtod(text, &end);
    return end == end_at && end != text && isfinite(*value) &&
           strspn(text, " \t+") == 0;
}

/* "WHO=FACTOR" */
static bool read_pair(const char **equals, double *who, double *factor,
                      const char *text)
{
    *equals = strchr(text, '=');
    if (*equals == NULL) {
        return false;
    }
    const char *who_end = *equals;
    if (who_end > text && who_end[-1] == '%') {
        who_end--;
    }
    return read_number(who, text, who_end) &&
           read_number(factor, *equals + 1, text + strlen(text));
}

galv_status galv_differences_add_straggler(galv_differences *differences,
                                           const char *text, galv_err *err)
{
    galv_straggler s = {-1, 0, 1};
    const char *equals = NULL;
    double who = 0;
    if (!read_pair(&equals, &who, &s.factor, text)) {
        return galv_fail(err, GALV_USAGE,
                         "'%s' is not a straggler: RANK=FACTOR (17=1.1) or "
                         "SHARE=FACTOR (0.01=1.1, 1%%=1.1)",
                         text);
    }
    bool percent = equals[-1] == '%';
    bool share = percent || memchr(text, '.', (size_t)(equals - text)) != NULL;
    if (share) {
        s.share_frac = percent ? who / 100 : who;
        if (!(s.share_frac >= 0 && s.share_frac <= 1)) {
            return galv_fail(err, GALV_USAGE, "'%s': a share lies between 0 and 1",
                             text);
        }
    } else {
        if (!(who >= 0 && who < 2147483648.0 && who <= floor(who))) {
            return galv_fail(err, GALV_USAGE, "'%s': a rank is 0, 1, 2, ...", text);
        }
        s.rank = (int64_t)who;
    }
    if (!(s.factor >= 1e-3 && s.factor <= 1e6)) {
        return galv_fail(err, GALV_USAGE,
                         "'%s': a factor lies between 0.001 and 1000000; 1.1 is 10 %% "
                         "slower",
                         text);
    }
    if (differences->n_stragglers >= GALV_MAX_STRAGGLERS) {
        return galv_fail(err, GALV_USAGE, "more than %d stragglers",
                         GALV_MAX_STRAGGLERS);
    }
    differences->stragglers[differences->n_stragglers++] = s;
    return GALV_OK;
}

galv_status galv_differences_add_slow_link(galv_differences *differences,
                                           const char *text, galv_err *err)
{
    const char *equals = NULL;
    double node = 0;
    double factor = 0;
    if (!read_pair(&equals, &node, &factor, text) || equals[-1] == '%' ||
        !(node >= 0 && node < 2147483648.0 && node <= floor(node))) {
        return galv_fail(err, GALV_USAGE,
                         "'%s' is not a slow link: NODE=SHARE, as in 3=0.5 for half "
                         "the bandwidth of node 3",
                         text);
    }
    if (!(factor >= 1e-6 && factor <= 1)) {
        return galv_fail(err, GALV_USAGE,
                         "'%s': a slow link has more than 0 and at most 1 of its "
                         "bandwidth",
                         text);
    }
    if (differences->n_slow_links >= GALV_MAX_SLOW_LINKS) {
        return galv_fail(err, GALV_USAGE, "more than %d slow links",
                         GALV_MAX_SLOW_LINKS);
    }
    galv_slow_link link = {(int32_t)node, factor};
    differences->slow_links[differences->n_slow_links++] = link;
    return GALV_OK;
}

/* ---- factors ---- */

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

galv_status galv_differences_factors(double **factors,
                                     const galv_differences *differences, uint32_t run,
                                     int32_t n_ranks, galv_arena *arena, galv_err *err)
{
    double *made = GALV_NEW_ARRAY(arena, double, n_ranks);
    double *drawn = GALV_NEW_ARRAY(arena, double, n_ranks);
    double *sorted = GALV_NEW_ARRAY(arena, double, n_ranks);
    if (made == NULL || drawn == NULL || sorted == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for %d ranks", (int)n_ranks);
    }
    for (int32_t rank = 0; rank < n_ranks; rank++) {
        made[rank] = 1;
    }
    uint64_t key = galv_random_key(differences->seed, run);
    for (int32_t i = 0; i < differences->n_stragglers; i++) {
        const galv_straggler *s = &differences->stragglers[i];
        if (s->rank >= n_ranks) {
            return galv_fail(err, GALV_USAGE,
                             "straggler %lld: the plan has ranks 0 to %d",
                             (long long)s->rank, (int)n_ranks - 1);
        }
        if (s->rank >= 0) {
            made[s->rank] *= s->factor;
            continue;
        }
        int32_t n = (int32_t)(s->share_frac * n_ranks + 0.5);
        if (n == 0) {
            if (!(s->share_frac > 0)) {
                continue;
            }
            n = 1;
        }
        for (int32_t rank = 0; rank < n_ranks; rank++) {
            drawn[rank] =
                galv_random_uniform(key, UINT64_MAX - (uint64_t)i, (uint64_t)rank);
            sorted[rank] = drawn[rank];
        }
        qsort(sorted, (size_t)n_ranks, sizeof *sorted, compare_doubles);
        for (int32_t rank = 0; rank < n_ranks; rank++) {
            if (drawn[rank] <= sorted[n - 1]) {
                made[rank] *= s->factor;
            }
        }
    }
    *factors = made;
    return GALV_OK;
}

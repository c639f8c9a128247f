/* Spreads: medians and mean sizes throughout, since a few runs are far off. */
#include "accuracy/spread.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SIGMA_OF_SIZE   1.2533141373155003 /* sqrt(pi / 2) */
#define MIN_OF_A_SOURCE 3

static int compare_f64(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static bool is_without(const char *source, const char *const *without, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (without[i] != NULL && strcmp(without[i], source) == 0) {
            return true;
        }
    }
    return false;
}

/* The timed residuals of the source that begins at `first`, sorted. */
static size_t take_source(double *values, const galv_residuals *residuals, size_t first)
{
    size_t n = 0;
    for (size_t i = first; i < residuals->n; i++) {
        const galv_residual *r = &residuals->rows[i];
        if (r->source_index == first && !isnan(r->log_ratio)) {
            values[n++] = r->log_ratio;
        }
    }
    qsort(values, n, sizeof *values, compare_f64);
    return n;
}

galv_status galv_residual_spread_find(galv_residual_spread *spread,
                                      const galv_residuals *residuals,
                                      const char *const *without, size_t n_without,
                                      galv_err *err)
{
    galv_residual_spread made = {0, 0, 0};
    size_t n_large = 0;
    double *values = calloc(residuals->n + 1, sizeof *values);
    if (values == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for residuals");
    }
    for (size_t first = 0; first < residuals->n; first++) {
        const galv_residual *r = &residuals->rows[first];
        if (r->source_index != first || is_without(r->source, without, n_without)) {
            continue;
        }
        size_t n = take_source(values, residuals, first);
        if (n == 0) {
            continue;
        }
        double middle = (values[n / 2] + values[(n - 1) / 2]) / 2;
        made.between += fabs(middle);
        made.n_sources++;
        double size = 0;
        for (size_t i = 0; i < n; i++) {
            size += fabs(values[i] - middle) / (double)n;
        }
        if (n >= MIN_OF_A_SOURCE) {
            made.within += size;
            n_large++;
        }
    }
    free(values);
    if (made.n_sources > 0) {
        made.between *= SIGMA_OF_SIZE / (double)made.n_sources;
    }
    if (n_large > 0) {
        made.within *= SIGMA_OF_SIZE / (double)n_large;
    }
    *spread = made;
    return GALV_OK;
}

bool galv_residual_spread_knows(const galv_residuals *residuals,
                                const galv_run_kind *kind)
{
    static const galv_feature features[] = {
        GALV_FEATURE_SOFTWARE, GALV_FEATURE_GENERATION, GALV_FEATURE_PRECISION};
    size_t n = 0;
    for (size_t i = 0; i < residuals->n; i++) {
        bool alike = !isnan(residuals->rows[i].log_ratio);
        for (int f = 0; f < 3; f++) {
            alike = alike && strcmp(residuals->rows[i].kind.words[features[f]],
                                    kind->words[features[f]]) == 0;
        }
        n += alike;
    }
    return n >= GALV_INTERVAL_MIN_RUNS;
}

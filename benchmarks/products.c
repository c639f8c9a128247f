/* Tables of measured products. */
#include "benchmarks/products.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int source_index(products *p, const char *name)
{
    for (int i = 0; i < p->n_sources; i++) {
        if (strcmp(p->sources[i], name) == 0) {
            return i;
        }
    }
    if (p->n_sources == MOST_SOURCES) {
        return MOST_SOURCES - 1;
    }
    p->sources[p->n_sources] = name;
    return p->n_sources++;
}

static double number(const galv_csv *table, size_t row, const char *column)
{
    return atof(galv_csv_cell(table, row, galv_csv_column(table, column)));
}

bool products_add(products *p, const galv_csv *table, const char *device,
                  const char *type)
{
    int dtype = galv_csv_column(table, "dtype");
    int gpu = galv_csv_column(table, "gpu");
    int source = galv_csv_column(table, "source");
    product *all = realloc(p->all, (p->n + table->n_rows + 1) * sizeof *all);
    if (all == NULL) {
        return false;
    }
    p->all = all;
    for (size_t row = 0; row < table->n_rows; row++) {
        const char *its = dtype < 0 ? "bf16" : galv_csv_cell(table, row, dtype);
        if (strcmp(galv_csv_cell(table, row, gpu), device) == 0 &&
            strcmp(its, type) == 0) {
            all[p->n++] =
                (product){.m = number(table, row, "m"),
                          .n = number(table, row, "n"),
                          .k = number(table, row, "k"),
                          .time_s = 1e-6 * number(table, row, "time_us"),
                          .source = source_index(p, galv_csv_cell(table, row, source))};
        }
    }
    return true;
}

void products_free(products *p)
{
    free(p->all);
    *p = (products){0};
}

/* ---- one source beside another ---- */

static int by_shape(const void *left, const void *right)
{
    const product *a = left;
    const product *b = right;
    const double one[] = {a->m, a->n, a->k};
    const double other[] = {b->m, b->n, b->k};
    for (int i = 0; i < 3; i++) {
        if (one[i] < other[i] || one[i] > other[i]) {
            return one[i] < other[i] ? -1 : 1;
        }
    }
    return 0;
}

static int by_size(const void *left, const void *right)
{
    double a = *(const double *)left;
    double b = *(const double *)right;
    return a < b ? -1 : a > b;
}

static int most_measured(const products *p)
{
    size_t count[MOST_SOURCES] = {0};
    int most = 0;
    for (size_t i = 0; i < p->n; i++) {
        count[p->all[i].source]++;
    }
    for (int s = 1; s < p->n_sources; s++) {
        most = count[s] > count[most] ? s : most;
    }
    return most;
}

double products_slowness(const products *p, const char *source)
{
    int usual = most_measured(p);
    size_t n_usual = 0;
    size_t n = 0;
    product *known = malloc((p->n + 1) * sizeof *known);
    double *ratios = malloc((p->n + 1) * sizeof *ratios);
    for (size_t i = 0; known != NULL && i < p->n; i++) {
        if (p->all[i].source == usual) {
            known[n_usual++] = p->all[i];
        }
    }
    if (n_usual > 0) {
        qsort(known, n_usual, sizeof *known, by_shape);
    }
    for (size_t i = 0; n_usual > 0 && ratios != NULL && i < p->n; i++) {
        const product *one = &p->all[i];
        bool large = fmin(one->m, fmin(one->n, one->k)) >= 1024;
        if (large && strcmp(p->sources[one->source], source) == 0) {
            const product *same = bsearch(one, known, n_usual, sizeof *known, by_shape);
            if (same != NULL && same->time_s > 0) {
                ratios[n++] = one->time_s / same->time_s;
            }
        }
    }
    if (n > 0) {
        qsort(ratios, n, sizeof *ratios, by_size);
    }
    double median = n > 0 ? ratios[n / 2] : 1;
    free(known);
    free(ratios);
    return median;
}

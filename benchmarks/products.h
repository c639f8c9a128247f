/* Measured matrix products, read from tables with the columns gpu, source, m, n, k,
 * time_us, and dtype where they hold more than bf16. */
#ifndef GALV_BENCHMARKS_PRODUCTS_H
#define GALV_BENCHMARKS_PRODUCTS_H

#include "base/csv.h"

#define MOST_SOURCES 8

typedef struct product {
    double m, n, k, time_s;
    int source;
} product;

typedef struct products {
    product *all; /* owned */
    size_t n;
    const char *sources[MOST_SOURCES]; /* harnesses; of the tables */
    int n_sources;
} products;

/* Adds those of a device and type, as they stand in the table, which must outlive them.
 * False: no memory. */
bool products_add(products *p, const galv_csv *table, const char *device,
                  const char *type);
void products_free(products *p);

/* What a source is slower than the one with most products, over those of m, n, k >=
 * 1024 that both measured: the median of the ratio of times; 1 where there are none. */
double products_slowness(const products *p, const char *source);

#endif

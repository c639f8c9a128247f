/* Prices that outlive a plan.
 *
 * Whoever prices many plans of one job, one after another, meets the same operations
 * and the same passes again and again. A table keeps what they cost under all that the
 * cost depends on, so that what comes out does not depend on what was asked before.
 * Prices of a plan (sim/prices.h) look there before they ask the cost model. */
#ifndef GALV_SIM_PRICE_TABLE_H
#define GALV_SIM_PRICE_TABLE_H

#include "costmodel/costmodel.h"

typedef struct galv_price_table galv_price_table;

/* An empty table, for plans under one cost model, which is borrowed. It stays below
 * some 8 MiB: what is more is forgotten when the next plan begins. One thread at a
 * time, and the prices of one plan at a time. NULL when memory is out. Caller frees
 * with galv_price_table_free. */
galv_price_table *galv_price_table_new(const galv_costmodel *model);

/* NULL is allowed. */
void galv_price_table_free(galv_price_table *table);

#endif

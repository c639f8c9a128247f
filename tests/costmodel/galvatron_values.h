/* Values that Galvatron's search engine printed, held against our copy of its model. */
#ifndef GALV_TESTS_COSTMODEL_GALVATRON_VALUES_H
#define GALV_TESTS_COSTMODEL_GALVATRON_VALUES_H

#include "base/json.h"
#include "costmodel/galvatron_model.h"

/* Reads "2-4*-1f-c-sp" (stages - degree - dp, f: ZeRO-3, -c: recomputed, -sp: Ulysses)
 * as the engine prints strategies. `zero2`: what dp without f means. */
void test_galvatron_strategy(galv_strategy *strategy, int32_t *pp, const char *text,
                             bool zero2);

/* Compares a document of the engine's (request, resolved_inputs, and any of
 * layer_table, embedding_lmhead_table, tasks) with our values, 1e-9 relative; memory in
 * whole MiB exactly. Returns how many values were compared. */
size_t test_galvatron_document(galv_json_value document, const char *name);

#endif

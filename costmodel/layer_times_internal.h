/* Times of the kernels of layers, each computed once.
 *
 * What layers compute depends on few fields of a strategy: plans that differ in ZeRO,
 * data parallelism or the pipeline alone compute alike. */
#ifndef GALV_COSTMODEL_LAYER_TIMES_INTERNAL_H
#define GALV_COSTMODEL_LAYER_TIMES_INTERNAL_H

#include "costmodel/costmodel.h"
#include "costmodel/layer_internal.h"

/* As galv_layer_add, to the bit, with `share` as galv_layer_share_init makes it of the
 * strategy and the law's imbalance. `times`: NULL allowed. */
void galv_layer_times_add(galv_cost *cost, galv_layer_times *times,
                          const galv_device_law *law, const galv_layer_share *share,
                          const galv_strategy *strategy, int part, int pass,
                          double count);

#endif

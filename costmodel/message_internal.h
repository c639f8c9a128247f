/* Messages of a program's operations, and what they share with its computation. */
#ifndef GALV_COSTMODEL_MESSAGE_INTERNAL_H
#define GALV_COSTMODEL_MESSAGE_INTERNAL_H

#include "costmodel/costmodel_internal.h"

/* Collectives of a layer: tp, cp and ep streams. */
void galv_price_layer_message(galv_cost *cost, const galv_costmodel *model,
                              const galv_plan *plan, const galv_operation *operation);

/* Gradients and weights of a run of layers: dp stream. */
void galv_price_parameter_message(galv_cost *cost, const galv_costmodel *model,
                                  const galv_plan *plan,
                                  const galv_operation *operation);

/* Between pipeline stages. */
void galv_price_send(galv_cost *cost, const galv_costmodel *model,
                     const galv_plan *plan, const galv_operation *operation);

/* Group of the model that a layer is in; `rest`: layers of it from this one on. */
int32_t galv_find_group(const galv_model *model, int32_t layer, int32_t *rest);

/* Parameters of a run of layers. */
typedef struct galv_run_parameters {
    double dense, experts;             /* on this rank, before ZeRO */
    double dense_shard, experts_shard; /* stepped by this rank */
} galv_run_parameters;

galv_run_parameters galv_count_run(const galv_costmodel *model, const galv_plan *plan,
                                   const galv_operation *operation);

#endif

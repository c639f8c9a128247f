/* Prices of one plan's operations, each asked for once.
 *
 * What an operation costs depends on what it does and on the kind and strategy of its
 * layers, not on which of a row of equal layers they are. A plan of a hundred layers
 * has a few dozen different prices. */
#ifndef GALV_SIM_PRICES_H
#define GALV_SIM_PRICES_H

#include "base/arena.h"
#include "costmodel/costmodel.h"
#include "sim/price_table.h"

typedef struct galv_prices galv_prices;

/* No prices yet. `model` and `plan` are borrowed; owned by the arena. `table` (NULL
 * allowed) is where prices of other plans of the model are kept; it serves these prices
 * until others are made with it. */
galv_status galv_prices_new(galv_prices **prices, const galv_costmodel *model,
                            const galv_plan *plan, galv_price_table *table,
                            galv_arena *arena, galv_err *err);

/* The price of an operation of the plan: what galv_costmodel_operation says, to the
 * bit. Valid as long as the prices; NULL when memory is out. */
const galv_cost *galv_prices_get(galv_prices *prices, const galv_operation *operation);

/* What galv_costmodel_stage_memory says of a stage, to the bit; owned by the prices. */
const galv_stage_memory *galv_prices_held(galv_prices *prices, int32_t stage);

/* Virtual stages that hold alike layers under alike strategies are of one class: their
 * passes are the same operations at the same prices. The class of a virtual stage is
 * the first one of it; with several pools, or two copies of the model, every virtual
 * stage is its own. */
int32_t galv_prices_class(const galv_prices *prices, int32_t virtual_stage);

/* The virtual stage that a chunk of a stage is. */
int32_t galv_prices_virtual_stage(const galv_prices *prices, int32_t stage,
                                  int32_t chunk);

/* Stages whose chunks are of the same classes, one by one, are of one class: the first
 * of them. */
int32_t galv_prices_stage_class(const galv_prices *prices, int32_t stage);

/* How many different prices were asked for. */
size_t galv_prices_count(const galv_prices *prices);

#endif

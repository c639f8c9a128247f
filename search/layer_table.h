/* What one layer costs under each strategy it may take: the small numbers that a
 * layer-wise search adds up instead of compiling whole plans.
 *
 * A shape fixes everything but the layers: pipeline, schedule, samples of a
 * micro-batch. Its strategies are those of the uniform candidates of that shape, so
 * whatever a space asks for holds layer by layer. Layers of one group of the model are
 * alike.
 *
 * Every number is a lower bound of what the same layer adds to a plan: the latency of
 * its passes taken alone, without parameter messages (they may be hidden), pipeline
 * messages, what the host does once a pass, and buffers. */
#ifndef GALV_SEARCH_LAYER_TABLE_H
#define GALV_SEARCH_LAYER_TABLE_H

#include "costmodel/costmodel.h"
#include "search/space.h"

typedef struct galv_shape {
    int32_t pp, vpp;
    const galv_schedule *schedule;
    int64_t samples; /* of one micro-batch, on all ranks together */
    int32_t n_strategies;
    const galv_strategy *strategies; /* [n_strategies], distinct */
    int32_t first_stage, n_stages;   /* those that are priced, of one pool of devices;
                                        n_stages 0 = all, of a cluster of one pool */
} galv_shape;

typedef struct galv_layer_price {
    galv_strategy strategy; /* as this layer can take it */
    /* of one micro-batch; backward includes recomputation, and the weights' gradients
     * unless the schedule splits them off */
    double forward_s, backward_s, weight_s;
    double own_slowing_s; /* by which its own communication slows computation that it
                             hides behind, beyond those: of all its passes */
    double load_s[GALV_N_STREAMS]; /* of one micro-batch, by stream; likewise */
    double optimizer_s;            /* the step, without its fixed part */
    double held_bytes;             /* throughout */
    double kept_bytes;             /* from forward to backward of one micro-batch */
    /* What hiding its parameter messages takes, in one micro-batch (those sent once an
     * iteration are spread over all micro-batches): seconds by which
     * they slow the computation that they run beside, were it nothing else; and the
     * most seconds of them that can run beside its other communication instead. */
    double slowing_s, beside_s, most_slowing; /* the last: of the whole table */
    double messages_s; /* of parameters, in one micro-batch: no bound, a guide */
    double gather_s;   /* all-gather of its input over its tp group: see change */
} galv_layer_price;

typedef struct galv_layer_table {
    galv_shape shape;
    int32_t n_layers, n_micro_batches, n_groups;
    int32_t group_of[GALV_MAX_GROUPS + 1]; /* first layer of each group; n_layers */
    int32_t n_prices[GALV_MAX_GROUPS];
    int32_t *price_of[GALV_MAX_GROUPS]; /* [shape.n_strategies] index into prices */
    galv_layer_price *prices[GALV_MAX_GROUPS]; /* owned by the arena */
    double base_bytes;                         /* of a rank without layers */
    double message_s;       /* most seconds of one message to the next stage */
    double least_message_s; /* and the least; 0 where there is none */
    double most_slowing; /* seconds of slowing by a second of parameter messages; < 1 */
} galv_layer_table;

/* Prices every group under every strategy of a shape. `overlap` as plans will have it;
 * `times` of layers priced before, NULL allowed.
 * Errors: GALV_NO_MEMORY, GALV_USAGE. */
galv_status galv_layer_table_make(galv_layer_table *table, const galv_costmodel *model,
                                  const galv_shape *shape, const galv_overlap *overlap,
                                  galv_layer_times *times, galv_arena *arena,
                                  galv_err *err);

/* Index of a layer's group. */
int32_t galv_layer_table_group(const galv_layer_table *table, int32_t layer);

/* Seconds that activations need to change hands from layer `from` to its neighbour `to`
 * in one direction, as schedule/compile_units.c has it: nothing where each rank holds
 * what it needs, else an all-gather. */
double galv_layer_change_s(const galv_layer_price *from, const galv_layer_price *to);

#endif

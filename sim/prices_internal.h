/* Inside of prices: those of one plan, and those that outlive it. */
#ifndef GALV_SIM_PRICES_INTERNAL_H
#define GALV_SIM_PRICES_INTERNAL_H

#include "sim/pass_price.h"
#include "sim/price_table.h"
#include "sim/prices.h"

/* Layers in a row that are alike, as a word of a key. */
#define GALV_KEY_RUNS 8

/* All that the price of an operation, or of a pass, depends on besides the job. */
typedef struct galv_price_key {
    uint64_t what;   /* the operation; the pass */
    uint64_t plan;   /* pipeline, copies, order of ranks, overlap; samples */
    uint64_t where;  /* stage and peer, where they matter */
    uint64_t around; /* the chunk that it opens; the layers before and after */
    uint64_t
        runs[GALV_KEY_RUNS]; /* group, strategy and number of layers; 0 = no more */
} galv_price_key;

/* ---- of a table ---- */

/* A plan begins: empties a table that has grown too large. */
void galv_price_table_begin(galv_price_table *table, const galv_costmodel *model);

/* A number for a strategy, from 0, the same as long as the table is not emptied; -1
 * when memory is out, or there are too many. */
int32_t galv_price_table_strategy(galv_price_table *table,
                                  const galv_strategy *strategy);

/* What layers take that were priced with the table. */
galv_layer_times *galv_price_table_times(const galv_price_table *table);

/* NULL: not there. */
const galv_cost *galv_price_table_find(const galv_price_table *table,
                                       const galv_price_key *key);
const galv_pass_price *galv_price_table_find_pass(const galv_price_table *table,
                                                  const galv_price_key *key);

/* Keeps a copy, which is returned; NULL when memory is out. */
const galv_cost *galv_price_table_add(galv_price_table *table,
                                      const galv_price_key *key, const galv_cost *cost);
const galv_pass_price *galv_price_table_add_pass(galv_price_table *table,
                                                 const galv_price_key *key,
                                                 const galv_pass_price *price);

/* ---- of a plan ---- */

typedef struct galv_known_price galv_known_price;

enum { GALV_N_PRICE_BUCKETS = 128 };

struct galv_prices {
    const galv_costmodel *model;
    const galv_plan *plan;
    galv_arena *arena;
    galv_price_table *table; /* NULL: none, or nothing of this plan may go there */
    uint64_t *strategies;    /* [n_strategies] their numbers in the table */
    uint64_t plan_word;      /* of keys */
    int32_t *group_of;       /* [n_layers] index of each layer's group */
    int32_t *run_end;        /* [n_layers] where its row of alike layers ends */
    uint32_t *opened_class;  /* [n_layers + 1] class of the chunk that a layer begins,
                                from 1; 0 = it begins none */
    int32_t *alike_to;       /* [pp * vpp] first virtual stage with such layers */
    bool mixed;              /* stages may lie in different pools */
    bool placed;             /* what stages do depends on which they are */
    bool classified;         /* is opened_class filled? */
    size_t count;
    galv_known_price *buckets[GALV_N_PRICE_BUCKETS];
    const galv_pass_price **passes; /* [pp * vpp][4] by class; NULL = not known yet */
    int32_t n_chunks;               /* of a stage */
    int32_t *virtual_of;            /* [pp][n_chunks] */
    int32_t *stage_like;            /* [pp] first stage of its class */
    galv_stage_memory *held;        /* [pp] by class */
    bool *holds;                    /* [pp] is it known? */
};

/* Fills the runs of layers [first, end); false when there are too many. */
bool galv_prices_fill_runs(galv_price_key *key, const galv_prices *prices,
                           int32_t first, int32_t end);

#endif

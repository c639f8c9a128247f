/* What releases of a kernel stack changed that costs depend on, by the year in which
 * the usual installation had it. A workload whose year is not told runs today's. */
#ifndef GALV_COSTMODEL_SOFTWARE_INTERNAL_H
#define GALV_COSTMODEL_SOFTWARE_INTERNAL_H

#include "plan/workload.h"

/* X(NAME, software, first year) */
#define GALV_CHANGE_TABLE(X)                                                           \
    /* a tensor-parallel collective begins before the gradients of weights, in release \
       3.0 at the end of 2021 */                                                       \
    X(BEGINS_BEFORE_WEIGHTS, MEGATRON, 2022)                                           \
    /* a distributed optimizer of its own (Megatron-LM, --use-distributed-optimizer);  \
       ZeRO before that is Megatron-DeepSpeed's */                                     \
    X(SHARDS_ITSELF, MEGATRON, 2023)                                                   \
    /* Transformer Engine runs the products of a layer and gathers their inputs */     \
    X(HAS_TRANSFORMER_ENGINE, MEGATRON, 2023)                                          \
    /* one empty gradient for each shape of weight (Transformer Engine 2.3,            \
       get_dummy_wgrad) */                                                             \
    X(KEEPS_EMPTY_GRADIENTS, MEGATRON, 2025)                                           \
    /* rows are weighed by the router inside the expert (Megatron Core, grouped MLP)   \
     */                                                                                \
    X(WEIGHS_ROWS_INSIDE, MEGATRON, 2025)                                              \
    /* a token goes once to each node that has experts for it (Megatron Core, flex     \
       dispatcher; DeepEP) */                                                          \
    X(SENDS_TOKENS_ONCE, MEGATRON, 2025)

typedef enum galv_change {
#define GALV_ENUM(name, software, year) GALV_CHANGE_##name,
    GALV_CHANGE_TABLE(GALV_ENUM)
#undef GALV_ENUM
        GALV_N_CHANGES
} galv_change;

typedef struct galv_change_row {
    galv_software software;
    int32_t year;
} galv_change_row;

static inline galv_change_row galv_change_of(galv_change change)
{
    static const galv_change_row rows[GALV_N_CHANGES] = {
#define GALV_ROW(name, software, year) {GALV_SOFTWARE_##software, year},
        GALV_CHANGE_TABLE(GALV_ROW)
#undef GALV_ROW
    };
    return rows[change];
}

/* Is it the change's software, from before it? */
static inline bool galv_software_is_before(const galv_workload *workload,
                                           galv_change change)
{
    galv_change_row row = galv_change_of(change);
    return workload->software == row.software && workload->software_year > 0 &&
           workload->software_year < row.year;
}

/* Is it the change's software, and has it? */
static inline bool galv_software_has(const galv_workload *workload, galv_change change)
{
    return workload->software == galv_change_of(change).software &&
           !galv_software_is_before(workload, change);
}

#endif

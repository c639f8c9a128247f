/* Constants of laws that hold for all devices, or for those that nobody measured
 * (data/laws.csv, each with what it rests on). */
#ifndef GALV_COSTMODEL_LAW_CONSTANTS_INTERNAL_H
#define GALV_COSTMODEL_LAW_CONSTANTS_INTERNAL_H

#include "costmodel/law_table_internal.h"

/* X(NAME, word) */
#define GALV_CONSTANT_TABLE(X)                            \
    X(PRODUCT_SHARE, "product_share")                     \
    X(PRODUCT_START_US, "product_start_us")               \
    X(PRODUCT_START_K, "product_start_k")                 \
    X(PRODUCT_WAVES, "product_waves")                     \
    X(PRODUCT_MEMORY_SHARE, "product_memory_share")       \
    X(PRODUCT_DROOP_TFLOP, "product_droop_tflop")         \
    X(TILE_OF_HALF, "tile_of_half")                       \
    X(TILE_OF_QUARTER, "tile_of_quarter")                 \
    X(NARROW_CONVERSION, "narrow_conversion")             \
    X(ATTENTION_START_US, "attention_start_us")           \
    X(ATTENTION_FORWARD, "attention_forward")             \
    X(ATTENTION_BACKWARD, "attention_backward")           \
    X(ATTENTION_MASKED_LENGTH, "attention_masked_length") \
    X(ATTENTION_FULL_LENGTH, "attention_full_length")     \
    X(NARROW_HEADS, "narrow_heads")                       \
    X(REDUCE_SHARE_2, "reduce_share_2")                   \
    X(REDUCE_SHARE_4, "reduce_share_4")                   \
    X(REDUCE_SHARE_8, "reduce_share_8")                   \
    X(GATHER_SHARE_2, "gather_share_2")                   \
    X(GATHER_SHARE_4, "gather_share_4")                   \
    X(GATHER_SHARE_8, "gather_share_8")                   \
    X(SCATTER_SHARE_2, "scatter_share_2")                 \
    X(SCATTER_SHARE_4, "scatter_share_4")                 \
    X(SCATTER_SHARE_8, "scatter_share_8")                 \
    X(EXCHANGE_SHARE_2, "exchange_share_2")               \
    X(EXCHANGE_SHARE_4, "exchange_share_4")               \
    X(EXCHANGE_SHARE_8, "exchange_share_8")               \
    X(COLLECTIVE_START_US_2, "collective_start_us_2")     \
    X(COLLECTIVE_START_US_4, "collective_start_us_4")     \
    X(COLLECTIVE_START_US_8, "collective_start_us_8")     \
    X(PLATEAU_US, "plateau_us")                           \
    X(KNEE_US, "knee_us")                                 \
    X(RACK_START, "rack_start")                           \
    X(RACK_RATE, "rack_rate")                             \
    X(BESIDE_REDUCE_START, "beside_reduce_start")         \
    X(BESIDE_REDUCE_GATHER, "beside_reduce_gather")       \
    X(BESIDE_REDUCE_SCATTER, "beside_reduce_scatter")     \
    X(BESIDE_REDUCE_EXCHANGE, "beside_reduce_exchange")   \
    X(PEER_SHARE, "peer_share")                           \
    X(PEER_START_US, "peer_start_us")                     \
    X(INTER_SHARE, "inter_share")                         \
    X(HOP_INSIDE_US, "hop_inside_us")                     \
    X(HOP_BETWEEN_US, "hop_between_us")                   \
    X(HOP_LATENCIES, "hop_latencies")                     \
    X(BUS_3_GBS, "bus_3_gbs")                             \
    X(BUS_4_GBS, "bus_4_gbs")                             \
    X(BUS_5_GBS, "bus_5_gbs")                             \
    X(BUS_6_GBS, "bus_6_gbs")

typedef enum galv_constant {
#define GALV_ENUM(name, word) GALV_CONSTANT_##name,
    GALV_CONSTANT_TABLE(GALV_ENUM)
#undef GALV_ENUM
        GALV_N_CONSTANTS
} galv_constant;

/* Reads constants[GALV_N_CONSTANTS] from the opened table. Errors (in the table's
 * status): GALV_INTERNAL where one is missing, or is none. */
void galv_law_constants_read(double *constants, galv_law_table *table);

#endif

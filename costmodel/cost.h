/* The cost of one operation: seconds, bytes, FLOP, and where the numbers come from. */
#ifndef GALV_COSTMODEL_COST_H
#define GALV_COSTMODEL_COST_H

#include <stdint.h>

/* Where a number comes from, best first. X(name, word) */
#define GALV_PROVENANCE_TABLE(X)                                                      \
    X(MEASURED, "measured")         /* a profile row, replayed as it is */            \
    X(INTERPOLATED, "interpolated") /* between profile rows */                        \
    X(FITTED, "fitted")             /* a law fitted to measurements of this device */ \
    X(ANALYTIC, "analytic")         /* from the specification alone */

typedef enum galv_provenance {
#define GALV_ENUM(name, word) GALV_PROVENANCE_##name,
    GALV_PROVENANCE_TABLE(GALV_ENUM)
#undef GALV_ENUM
        GALV_N_PROVENANCES
} galv_provenance;

extern const char *const galv_provenance_names[GALV_N_PROVENANCES];

/* What memory is used for. X(name, word) */
#define GALV_MEMORY_TABLE(X)                                                          \
    X(PARAMETERS, "parameters") /* weights; ZeRO-3: the shard */                      \
    X(GRADIENTS, "gradients")                                                         \
    X(OPTIMIZER, "optimizer")     /* main weights and moments */                      \
    X(ACTIVATIONS, "activations") /* kept for backward */                             \
    X(BUFFERS, "buffers")         /* gathered weights, messages, workspace, logits */ \
    X(CONTEXT, "context")         /* CUDA, NCCL, libraries; allocator slack */

typedef enum galv_memory_use {
#define GALV_ENUM(name, word) GALV_MEMORY_##name,
    GALV_MEMORY_TABLE(GALV_ENUM)
#undef GALV_ENUM
        GALV_N_MEMORY_USES
} galv_memory_use;

extern const char *const galv_memory_use_names[GALV_N_MEMORY_USES];

/* The cost of an operation of one class on one rank. All zero: takes no time. */
typedef struct galv_cost {
    double work_s; /* when nothing else runs on the device or its links */
    double provenance_s[GALV_N_PROVENANCES]; /* work_s by origin; adds up to work_s */
    /* A communication is latency, then transfer: the latency is of work_s, uses no link
     * and gets no shorter with more bandwidth. The transfer is priced with every group
     * of its kind on the same links; `headroom` tells how many times faster it goes
     * when those are silent (0 = 1: no faster). */
    double latency_s;
    double headroom;
    double message_bytes; /* communication: bytes of the logical buffer */
    double flop;          /* executed, multiply-add = 2 */

    /* What it uses while it runs, as shares of the rank's own capacity, 0..1.
     * Activities of one rank whose shares of a link add up to more than 1 are slowed
     * alike. */
    double intra_share; /* scale-up link */
    double inter_share; /* network */
    double link_busy;   /* of the time, that its bytes alone keep the scale-up link
                           busy: what it takes of the device meanwhile */
    /* Factors >= 1: how much a communication slows computation on its device, and how
     * much computation slows it, while both run. 1 for computation. */
    double compute_slowdown;
    double comm_slowdown;

    /* Bytes of memory: held while the operation runs; and changes that last, taken
     * when it starts and when it ends (negative: given back). */
    double transient_bytes; /* GALV_MEMORY_BUFFERS */
    double start_bytes[GALV_N_MEMORY_USES];
    double end_bytes[GALV_N_MEMORY_USES];
} galv_cost;

/* Bytes that a rank holds through the whole iteration, by use. */
typedef struct galv_stage_memory {
    double bytes[GALV_N_MEMORY_USES];
} galv_stage_memory;

#endif

/* Everything the cost model knows about one pool's device: laws with their constants,
 * looked up once when a cost model is made, from the tables in costmodel/data. */
#ifndef GALV_COSTMODEL_DEVICE_LAW_INTERNAL_H
#define GALV_COSTMODEL_DEVICE_LAW_INTERNAL_H

#include "base/arena.h"
#include "base/status.h"
#include "costmodel/collective_internal.h"
#include "costmodel/kernels_internal.h"
#include "costmodel/law_constants_internal.h"
#include "costmodel/law_table_internal.h"
#include "plan/cluster.h"
#include "plan/workload.h"
#include "traces/profile.h"

/* Factors between kernels alone and a training run, and costs of software that no
 * kernel has. Each is named, depends on generation, precision, software and year only,
 * and may be overridden by a FACTOR row of a profile. X(name, word) */
#define GALV_FACTOR_TABLE(X)                                                           \
    X(GEMM, "gemm")                      /* time of matrix products over alone */      \
    X(ATTENTION, "attention")            /* time of fused attention over alone */      \
    X(MEMORY, "memory")                  /* time of memory-bound kernels over alone */ \
    X(HOST_FORWARD, "host_forward_us")   /* to launch one layer's forward */           \
    X(HOST_BACKWARD, "host_backward_us") /* and its backward */                        \
    X(HOST_COLLECTIVE, "host_collective_us") /* of tp ranks; x log2 tp */              \
    X(CHUNK, "chunk_us")         /* per pass of a chunk: loop, checks, views */        \
    X(STEP, "step_us")           /* per step: data, norms, logging */                  \
    X(STACK, "activation_stack") /* kept activations over the least needed */          \
    X(POWER, "power_exponent")   /* speed ~ (power limit / usual)^this */              \
    X(THROTTLE, "throttle") /* of products in a run, by the device's power density */  \
    X(IMBALANCE, "expert_imbalance") /* most loaded rank over the mean */              \
    X(COMPUTE_SLOWDOWN, "compute_slowdown")                                            \
    X(COMM_SLOWDOWN, "comm_slowdown")                                                  \
    X(STREAMS,                                                                         \
      "stream_wait_us")        /* computation and a collective waiting for another */  \
    X(NETWORK, "network_frac") /* of the network's long-message rate */                \
    X(CONTEXT, "context_mib")  /* of a process: driver, modules, libraries */          \
    X(COLLECTIVES, "collectives_mib")   /* of the collectives' library, once */        \
    X(GROUP, "group_mib")               /* and for each kind of group */               \
    X(SLACK, "allocator_slack")         /* reserved beyond what is held throughout */  \
    X(WORKSPACE, "workspace")           /* of products, over the libraries' usual */   \
    X(OPTIMIZER, "optimizer_bytes")     /* of one parameter: master and moments */     \
    X(STEP_TRANSIENT, "step_transient") /* of the step, over the software's usual */   \
    X(LOSS_TRANSIENT, "loss_transient") /* of the loss: logits beside those kept */    \
    X(BLOCKED,                                                                         \
      "blocked_launch")       /* host's time where each launch waits for its kernel,   \
                                 which adds waking up after it, over the usual */      \
    X(RING, "ring_step_work") /* of a step of masked ring attention on more than       \
                                 two ranks, over what balance leaves of it */          \
    X(LAUNCHES_ATTENTION,                                                              \
      "launches_attention")                 /* of a block's; the MLP has the rest */   \
    X(LAUNCHES_CROSS, "launches_cross")     /* of a second attention */                \
    X(LAUNCHES_ROUTER, "launches_router")   /* of a layer with experts, over */        \
    X(LAUNCHES_EXPERTS, "launches_experts") /* those of a block */                     \
    X(LAUNCHES_COMBINE, "launches_combine")                                            \
    X(LAUNCHES_INPUT, "launches_input") /* of a backward pass, that are of inputs */   \
    X(FIRST_LAUNCH, "first_launch")     /* of chunk_us, what comes before a kernel */  \
    X(PACE_EXPONENT, "pace_exponent")   /* of host and device in turns (host.c) */     \
    X(ROWS_OF_8, "rows_of_8_bytes")     /* time of a product whose rows are whole */   \
    X(ROWS_OF_4, "rows_of_4_bytes")     /* units of as many bytes only, over that */   \
    X(ROWS_OF_2, "rows_of_2_bytes")     /* of one of rows of 16 */

typedef enum galv_factor {
#define GALV_ENUM(name, word) GALV_FACTOR_##name,
    GALV_FACTOR_TABLE(GALV_ENUM)
#undef GALV_ENUM
        GALV_N_FACTORS
} galv_factor;

extern const char *const galv_factor_names[GALV_N_FACTORS];

typedef struct galv_device_law {
    galv_gemm_law gemm[GALV_N_PRECISIONS];
    galv_attention_law attention;
    galv_memory_law memory;
    galv_collective_law collective;
    double factors[GALV_N_FACTORS];
    double constants[GALV_N_CONSTANTS];
    double memory_bytes_per_s; /* peak */
    double power;              /* speed left by a power cap, 0..1 */
    bool measured_overlap;     /* by the profile */
    bool measured_device;      /* has matrix products measured on this device */
} galv_device_law;

/* Fills the law of a pool. Errors: GALV_NO_MEMORY; GALV_INTERNAL when a table compiled
 * in is broken. */
galv_status galv_device_law_init(galv_device_law *law, const galv_pool *pool,
                                 const galv_workload *workload,
                                 const galv_profile *profile, galv_err *err);

/* Fills the law of matrix products of one precision from the table of their constants;
 * reads the law's factors and constants and sets its power. */
void galv_gemm_law_init(galv_device_law *law, galv_law_table *table,
                        const galv_device *device, galv_precision precision);

/* Fills the law of collectives on a pool from the table of their curves; reads the
 * law's factors and constants. */
void galv_collective_law_init(galv_device_law *law, galv_law_table *table,
                              const galv_pool *pool);

/* Peak of a device in a precision, or of what stands in for one that it lacks
 * (galv_device_stand_in()); an eighth of a 16-bit one for fp32 and tf32. */
double galv_device_peak(const galv_device *device, galv_precision precision);

#endif

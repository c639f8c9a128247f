/* The named factors of the cost model that a calibration may move: what each means, how
 * far it may be expected to lie from its built-in value, and how it is handed to the
 * cost model (FACTOR rows of a profile). */
#ifndef GALV_ACCURACY_FACTORS_H
#define GALV_ACCURACY_FACTORS_H

#include "plan/plan.h"
#include "traces/profile.h"

/* What is fitted: a coordinate x, 0 = built in, in which each factor of the knob is
 *   value = floor + (builtin - floor) exp(x)
 * with floor 0, or 1 for factors that are never below 1. X(ID, standard deviation of x
 * before anything is measured, floor, at most, the factors, meaning). The deviations of
 * HOST and MEMORY are those with which about nine in ten validated runs of every share
 * of the host lie inside their intervals when their source is left out (docs/
 * accuracy.md, Intervals); that of GEMM is what software makes of it on one generation
 * (data/insitu.csv: 0.98 to 1.1 times, and machines as unlike as B200's two); the rest
 * are assumed, wide enough that a few runs say what they are. */
#define GALV_KNOB_TABLE(X)                                                           \
    X(GEMM, 0.15, 0, 10, "gemm", NULL, "matrix products in a run over alone")        \
    X(ATTENTION, 0.30, 0, 10, "attention", NULL, "attention in a run over alone")    \
    X(MEMORY, 0.42, 0, 10, "memory", NULL, "memory-bound kernels over alone")        \
    X(HOST, 0.40, 0, 1e6, "host_forward_us", "host_backward_us",                     \
      "host's time to launch a layer")                                               \
    X(CHUNK, 0.50, 0, 1e6, "chunk_us", NULL, "host's time for each pass of a chunk") \
    X(STEP, 0.70, 0, 1e7, "step_us", NULL, "host's time for each step")              \
    X(NETWORK, 0.25, 0, 1, "network_frac", NULL, "share of the network's rate")      \
    X(COMPUTE_SLOWDOWN, 0.50, 1, 4, "compute_slowdown", NULL,                        \
      "computation beside communication over alone")                                 \
    X(COMM_SLOWDOWN, 0.50, 1, 4, "comm_slowdown", NULL,                              \
      "communication beside computation over alone")                                 \
    X(IMBALANCE, 0.50, 1, 8, "expert_imbalance", NULL, "busiest expert rank over mean")

typedef enum galv_knob {
#define GALV_ENUM(id, sd, floor, most, first, second, meaning) GALV_KNOB_##id,
    GALV_KNOB_TABLE(GALV_ENUM)
#undef GALV_ENUM
        GALV_N_KNOBS
} galv_knob;

#define GALV_MAX_FACTORS_OF_KNOB 2

typedef struct galv_knob_info {
    double sd;
    double floor;
    double most;
    const char *factors[GALV_MAX_FACTORS_OF_KNOB]; /* NULL = none */
    const char *meaning;
} galv_knob_info;

extern const galv_knob_info galv_knobs[GALV_N_KNOBS];

/* The value of a knob's factor at x, given its value at 0; within its limits. */
double galv_knob_value(galv_knob knob, double at_zero, double x);

/* The largest x that still changes the value: where it is at its most. >= 0; infinite
 * where there is no such factor. */
double galv_knob_most_x(galv_knob knob, double at_zero);

/* Values of the factors of every knob at 0, for a stack; NAN = there is none. */
typedef struct galv_knob_zeros {
    double value[GALV_N_KNOBS][GALV_MAX_FACTORS_OF_KNOB];
} galv_knob_zeros;

void galv_knob_zeros_init(galv_knob_zeros *zeros, const galv_device *device,
                          const galv_workload *workload, const galv_profile *profile);

/* Appends the FACTOR rows of all knobs at x[GALV_N_KNOBS] that are not 0, for a device
 * and a precision. Errors: GALV_NO_MEMORY. */
galv_status galv_knobs_to_profile(galv_profile *profile, const double *x,
                                  const galv_knob_zeros *zeros,
                                  const galv_device *device, galv_precision precision,
                                  const char *source, galv_err *err);

#endif

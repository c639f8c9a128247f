/* Measurements of a profile, sorted for use: exact ones replayed, between them
 * interpolated, outside them extrapolated by fitted laws (GSL). */
#ifndef GALV_COSTMODEL_PROFILE_USE_INTERNAL_H
#define GALV_COSTMODEL_PROFILE_USE_INTERNAL_H

#include "base/arena.h"
#include "costmodel/curve_internal.h"
#include "costmodel/layer_internal.h"
#include "plan/plan.h"
#include "traces/profile.h"

/* Times of one whole layer over samples per micro-batch, at the job's sequence. */
typedef struct galv_layer_series {
    int32_t group; /* of the model */
    int phase;     /* galv_op_kind */
    int32_t tp, cp;
    bool ulysses;         /* how tp spreads the layer */
    galv_curve curve;     /* x samples (1 for the optimizer), y seconds */
    galv_provenance best; /* MEASURED; worse where another sequence was measured */
} galv_layer_series;

/* Times of one collective over bytes; both as logarithms. */
typedef struct galv_collective_series {
    int kind; /* galv_op_kind */
    int32_t ranks, ranks_per_node;
    galv_curve curve;
} galv_collective_series;

typedef struct galv_memory_point {
    const galv_layer_group *group;
    int32_t tp;
    bool selective;          /* recomputation; else none */
    int sp;                  /* galv_sp; none also where a table does not say */
    double bytes_per_sample; /* at the job's whole sequence; 0 = not measured */
    double parameters;       /* of one layer, all ranks; 0 = not measured */
} galv_memory_point;

typedef struct galv_measured {
    size_t n_series;
    galv_layer_series *series;
    size_t n_collectives;
    galv_collective_series *collectives;
    size_t n_memory;
    galv_memory_point *memory;
    bool other_is_measured; /* embedding and head together: the head's series */
} galv_measured;

/* Reads a profile for a job; arrays live in the arena, GSL objects until release.
 * `warn` is called for what the user should know. Errors: GALV_NO_MEMORY. */
typedef void (*galv_warn)(void *context, const char *text);
galv_status galv_measured_init(galv_measured *measured, const galv_job *job,
                               const galv_profile *profile, galv_arena *arena,
                               galv_warn warn, void *context, galv_err *err);
void galv_measured_release(galv_measured *measured);

/* The series of a group and phase for the strategy's tp and cp, the way it spreads tp
 * if that was measured, or else the nearest in tp with `exact` = false; NULL when the
 * phase was not measured. */
const galv_layer_series *galv_measured_series(const galv_measured *measured,
                                              int32_t group, int phase,
                                              const galv_strategy *strategy,
                                              bool *exact);

/* Seconds of a measured collective; false when this group was not measured. */
bool galv_measured_collective(double *time_s, galv_provenance *provenance,
                              const galv_measured *measured, int kind, int32_t ranks,
                              int32_t ranks_per_node, double bytes);

/* Parameters of a layer measured over counted from its shape; 1 when not measured. */
double galv_measured_parameter_ratio(const galv_measured *measured,
                                     const galv_model *model,
                                     const galv_layer_group *group);

/* Kept activations measured over counted by formula, for the layer's tp; 1 when not
 * measured. */
double galv_measured_memory_ratio(const galv_measured *measured,
                                  const galv_layer_share *share,
                                  const galv_strategy *strategy);

#endif

/* The space of plans: which degrees and choices a search may use, as a decision tree.
 *
 * Order of decisions: pp, schedule and vpp, tp, sp, cp, ep, zero, rank order,
 * recompute, micro-batch. A branch that cannot hold a plan is cut where it is met, and
 * counted under the reason. An empty list leaves a dimension open: every value that can
 * make sense is tried. */
#ifndef GALV_SEARCH_SPACE_H
#define GALV_SEARCH_SPACE_H

#include "base/arena.h"
#include "plan/plan.h"
#include "schedule/schedule.h"

#include <stddef.h>
#include <stdint.h>

#define GALV_MAX_CHOICES 64

/* A list of values to try; n_values 0 = open. */
typedef struct galv_choices {
    size_t n_values;
    int64_t values[GALV_MAX_CHOICES];
} galv_choices;

typedef struct galv_space {
    galv_choices tp, cp, ep, dp, pp, vpp, micro_batch; /* dp: what is left; asked for,
                                                          others are cut */
    galv_choices sp;                                   /* galv_sp */
    galv_choices zero;                                 /* 0..3 */
    galv_choices recompute;                            /* galv_recompute */
    galv_choices rank_order; /* galv_rank_order; none = the usual alone */
    size_t n_schedules;      /* 0 = those that schedule/schedule.h marks as searched */
    const char *schedules[16];
    galv_overlap overlap;
    bool internode_tp; /* tp groups may span scale-up domains */
    bool layer_wise;   /* plans whose layers differ, too: search/layerwise.h */
} galv_space;

#define GALV_SPACE_INIT              \
    {                                \
        .overlap = GALV_OVERLAP_INIT \
    }

/* Why branches were cut. X(name, text) */
#define GALV_CUT_TABLE(X)                                          \
    X(DEVICES, "degrees do not multiply to the number of devices") \
    X(LAYERS, "more virtual stages than layers")                   \
    X(SHAPE, "degrees do not divide the model's shape")            \
    X(BATCH, "batch does not divide")                              \
    X(SCHEDULE, "schedule cannot do this shape")                   \
    X(REDUNDANT, "same program as another candidate")              \
    X(MEMORY, "out of memory")                                     \
    X(BOUND, "slower than the best at best")

typedef enum galv_cut {
#define GALV_ENUM(name, text) GALV_CUT_##name,
    GALV_CUT_TABLE(GALV_ENUM)
#undef GALV_ENUM
        GALV_N_CUTS
} galv_cut;

extern const char *const galv_cut_texts[GALV_N_CUTS];

/* One leaf of the tree. */
typedef struct galv_candidate {
    galv_strategy strategy;
    int32_t pp, vpp;
    int32_t micro_batch_size;
    galv_rank_order rank_order;
    const galv_schedule *schedule;
    const int32_t *blocks;    /* [pp * vpp] of each virtual stage; NULL = evenly */
    const galv_plan *layered; /* found layer-wise: the plan itself; NULL = uniform. Then
                                 `strategy` is that of the first block */
} galv_candidate;

typedef struct galv_candidates {
    size_t n_candidates;
    galv_candidate *candidates; /* owned by the arena, in the order of the tree */
    uint64_t cut[GALV_N_CUTS];  /* leaves cut while the tree was walked, by reason */
} galv_candidates;

/* Walks the tree for uniform plans. The order depends on the job and the space alone.
 * Errors: GALV_USAGE when a value asked for can never be used (tp 7 for 64 heads), with
 * the reason; GALV_NO_MEMORY. */
galv_status galv_space_enumerate(galv_candidates *candidates, const galv_space *space,
                                 const galv_job *job, galv_arena *arena, galv_err *err);

/* The plan of a candidate, checked. */
galv_status galv_candidate_plan(galv_plan **plan, const galv_candidate *candidate,
                                const galv_space *space, const galv_job *job,
                                galv_arena *arena, galv_err *err);

#endif

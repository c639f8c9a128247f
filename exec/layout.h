/* The layout: which rank holds which tokens and which share of the weights.
 *
 * Ranks of the world count through tp, cp, dp, pp, fastest first, as in Megatron Core
 * and plan/placement.h: a pipeline stage is a run of neighbouring ranks, and all layers
 * of it are spread over the same ranks, each by its own strategy.
 *
 * Tokens. A micro-batch is micro_batch_size * dp (of layer 0) samples. Under a strategy
 * its samples are dealt out over dp in runs, the positions of a sample over cp in two
 * runs (of 2 cp equal pieces rank i holds the i-th and the i-th last, so that causal
 * attention costs all alike), and what a tp group then holds together, its rows
 * [samples, positions] in that order, is either held whole by each rank of the group
 * (sp=none) or cut into tp runs of rows (sp=megatron, ulysses). So a gather over the
 * group yields the rows in order. With one sample to a micro-batch that is the split of
 * the sequence; with more it is one of samples and sequence together, of the same size.
 */
#ifndef GALV_EXEC_LAYOUT_H
#define GALV_EXEC_LAYOUT_H

#include "base/arena.h"
#include "exec/backend.h"
#include "plan/plan.h"

#include <stdbool.h>
#include <stdint.h>

/* A rank of a stage under one strategy. */
typedef struct galv_place {
    galv_strategy strategy;
    int32_t stage_rank; /* 0 .. tp * cp * dp - 1 */
    int32_t tp_index, cp_index, dp_index, ep_index;
    bool cuts_weights; /* the tp group shares the weights (tp > 1, not Ulysses) */
    bool cuts_rows;    /* the tp group shares the rows (tp > 1, sp not none) */
    int32_t seq_length;
    int32_t first_sample, n_samples; /* of a micro-batch */
    int32_t n_positions;             /* of a sample: seq_length / cp */
    int32_t n_rows;                  /* n_samples * n_positions, of the tp group */
    int32_t first_row, n_own_rows;   /* held here between the parts of a layer */
} galv_place;

/* Place of a rank of a stage. Errors: GALV_USAGE (samples do not divide). */
galv_status galv_place_make(galv_place *place, const galv_job *job,
                            const galv_plan *plan, const galv_strategy *strategy,
                            int32_t stage_rank, galv_err *err);

/* Position in its sample of position `i`, 0 <= i < n_positions, of cp rank
 * `cp_index`. */
int32_t galv_place_position(const galv_place *place, int32_t cp_index, int32_t i);

/* The token of row `row`, 0 <= row < n_rows: sample * seq_length + position. */
int64_t galv_place_token(const galv_place *place, int32_t row);

/* A strategy of this rank's stage with its communicators; those of one rank are NULL.
 */
typedef struct galv_groups {
    galv_place place;
    bool in_use; /* by a layer of this stage: else only the place is there */
    galv_comm *tp;
    galv_comm *cp;
    galv_comm *ep;
    galv_comm *gradient;        /* ranks that hold the same dense weights */
    galv_comm *expert_gradient; /* ... the same experts */
    galv_comm *copies;          /* the tp group once more, for gradients */
    galv_comm *key_copies;      /* tp ranks that hold the same key/value heads */
    int32_t *positions;         /* device [cp][n_positions] */
    int32_t *row_positions;     /* device [n_rows] */
} galv_groups;

typedef struct galv_layout {
    const galv_job *job;
    const galv_plan *plan;
    galv_backend *backend;
    int32_t seq_length;
    int32_t n_micro_batches;
    int32_t micro_batch_samples; /* over all of dp */
    int32_t stage;               /* of this rank */
    int32_t stage_rank, stage_size;
    int32_t twin_stage;    /* holds the same layers (two-way schedules); -1 = none */
    galv_comm *world;      /* pipeline messages and tied embeddings; NULL alone */
    galv_comm *stage_comm; /* the stage, for redistribution; NULL alone */
    galv_groups *groups;   /* [plan->n_strategies] */
} galv_layout;

/* Collective over the world. The layout is released with galv_layout_release; its
 * arrays are owned by the arena. `uses[n_strategies]`: the strategies of this stage's
 * layers; `n_key_groups` key/value heads of the model, for key_copies; `two_way`:
 * stages i and pp - 1 - i hold the same layers, and their ranks the same weights.
 * Errors: GALV_USAGE, GALV_NO_MEMORY, those of the backend. */
galv_status galv_layout_init(galv_layout *layout, const galv_job *job,
                             const galv_plan *plan, galv_backend *backend,
                             const bool *uses, int32_t n_key_groups, bool two_way,
                             galv_arena *arena, galv_err *err);
void galv_layout_release(galv_layout *layout);

/* Index in the step of sample `sample` of micro-batch `mb`. */
int64_t galv_layout_sample(const galv_layout *layout, int32_t mb, int32_t sample);

#endif

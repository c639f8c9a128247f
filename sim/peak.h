/* The moment when a stage is fullest: what it was doing, and what it held. */
#ifndef GALV_SIM_PEAK_H
#define GALV_SIM_PEAK_H

#include "base/json.h"
#include "base/text.h"
#include "sim/simulate.h"

typedef struct galv_peak {
    double time_s;
    bool has_operation; /* false: nothing takes more than what is held throughout */
    galv_operation operation; /* whose start or end made the peak */
    int32_t micro_batch;      /* -1: not of one micro-batch */

    bool attributed;         /* what follows is filled */
    int32_t n_micro_batches; /* whose activations are held, in whole or in part */
    double most_bytes;       /* activations of the one that holds most */
    /* the parts of GALV_MEMORY_BUFFERS; they add up to it */
    double gathered_bytes;  /* parameters of ZeRO-3, those gathered ahead included */
    double logits_bytes;    /* logits and their gradients, until backward */
    double workspace_bytes; /* of the operations that run */
    double standing_bytes;  /* held throughout: messages, buckets */
} galv_peak;

/* Moment and operation, from what the engine keeps. `stage` is the rank of the program
 * that stands for the rank of the result. */
void galv_peak_read(galv_peak *peak, const galv_program *program,
                    const galv_rank_result *result, int32_t stage);

/* Fills what was held, from when every operation began and ended: spans[n_ops] by the
 * program's order, of a simulation that was not stopped. `base` is what the stage holds
 * throughout, `head_layer` the layer that makes logits (-1 = none). Errors:
 * GALV_NO_MEMORY. */
galv_status galv_peak_attribute(galv_peak *peak, const galv_program *program,
                                const galv_cost *costs, const galv_span *spans,
                                const galv_rank_result *result, int32_t stage,
                                const galv_stage_memory *base, int32_t head_layer,
                                galv_err *err);

/* "backward of micro-batch 3, layers 0-8, at 1.25 s" */
void galv_peak_print(galv_text *out, const galv_peak *peak);

/* Writes the members into an open JSON object. */
void galv_peak_to_json(const galv_peak *peak, galv_json_writer *writer);

#endif

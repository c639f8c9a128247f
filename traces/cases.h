/* Cases: measured whole iterations, one per row, to hold predictions against.
 *
 * Columns are those of docs/formats.md ("cases"); a column that is absent is as if every
 * cell of it were empty. A case says what was run; making a job and a plan of it is
 * galv_case_to_plan's. */
#ifndef GALV_TRACES_CASES_H
#define GALV_TRACES_CASES_H

#include "base/arena.h"
#include "base/status.h"
#include "plan/plan.h"

#include <stddef.h>

typedef struct galv_case {
    const char *case_id;
    const char *sweep;        /* "" = none */
    const char *source;
    const char *software;
    const char *gpu;
    const char *model_family;
    const char *notes;
    long line;                /* in its file, for messages */
    const char *file;
    int32_t software_year;
    int32_t gpus_per_node;
    int32_t num_gpus;
    double intra_bytes_per_s; /* 0 = not stated */
    double inter_bytes_per_s;
    galv_model model;         /* as the row states it, embedding and head included */
    const char *precision;
    int32_t tp, cp, ep, pp, vpp, dp, zero;
    const char *sp;           /* "0", "1", "ulysses" */
    const char *schedule;
    const char *recompute;
    int32_t micro_batch_size;
    int64_t global_batch_size;
    bool flash_attention, overlap_grad_reduce, overlap_param_gather, tp_comm_overlap;
    bool causal_attention;
    const char *stage_layers; /* "2-3-3-2"; "" = even */
    double iteration_time_s;  /* measured; 0 = not measured */
    double peak_memory_bytes; /* measured; 0 = not measured */
    const char *memory_kind;  /* torch_peak, nvidia_smi, unknown, "" */
    double noise_frac;        /* 0 = not known */
    const char *confidence;

    /* stage times, where the case gives them (whole stage, all chunks); 0 = not */
    double t_f_s, t_b_s, t_w_s, t_comm_s;
    double memory_limit_activations;
} galv_case;

/* Reads every case of a file into the arena, in file order. Errors: GALV_INPUT. */
galv_status galv_cases_read(galv_case **cases, size_t *n_cases, const char *path,
                            galv_arena *arena, galv_err *err);

/* The job and the plan of a case. Fails with GALV_UNAVAILABLE when the case needs what
 * does not exist here (the message says what), GALV_INPUT when it contradicts
 * itself. */
galv_status galv_case_to_plan(galv_job *job, galv_plan **plan, const galv_case *c,
                              galv_arena *arena, galv_err *err);

#endif

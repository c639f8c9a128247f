/* The profile: measured numbers, one row each, from CSV files (docs/formats.md).
 *
 * Rows keep SI units; fields that a kind does not use are 0. Only what was measured is
 * in here: interpolation and fits are the cost model's. */
#ifndef GALV_TRACES_PROFILE_H
#define GALV_TRACES_PROFILE_H

#include "base/arena.h"
#include "base/csv.h"
#include "base/status.h"
#include "plan/operation.h"
#include "plan/workload.h"

#include <stddef.h>
#include <stdint.h>

typedef enum galv_profile_kind {
    GALV_PROFILE_COMPUTE,    /* one layer, one phase */
    GALV_PROFILE_KERNEL,     /* one kernel */
    GALV_PROFILE_COLLECTIVE, /* one collective */
    GALV_PROFILE_MEMORY,     /* one layer's bytes */
    GALV_PROFILE_OVERLAP,    /* slowdown when both run */
    GALV_PROFILE_FACTOR,     /* a fitted factor of the cost model, by name */
    GALV_N_PROFILE_KINDS
} galv_profile_kind;

extern const char *const galv_profile_kind_names[GALV_N_PROFILE_KINDS];

typedef struct galv_profile_row {
    galv_profile_kind kind;
    char device[32];
    int precision;  /* galv_precision; -1 = any */
    char layer[32]; /* compute, memory: a layer kind's word ("decoder"),
                       "other" (embedding, head and loss together) */
    int phase;      /* galv_op_kind: FORWARD, BACKWARD, BACKWARD_INPUT,
                       BACKWARD_WEIGHT, RECOMPUTE, OPTIMIZER */
    int32_t hidden_size, ffn_hidden_size, num_attention_heads, num_query_groups;
    int32_t num_experts, moe_router_topk, vocab_size;
    int32_t seq_length;
    double micro_batch_size; /* samples */
    int32_t tp, cp;
    char op[32];             /* kernel: gemm, attention...; collective: all_reduce,
                                all_gather, reduce_scatter, all_to_all, broadcast,
                                send_recv; factor: its name */
    int64_t m, n, k;         /* kernel */
    int32_t ranks;           /* collective */
    int32_t ranks_per_node;  /* collective; 0 = all in one node */
    double message_bytes;    /* as nccl-tests counts it: all-gather: the gathered
                                total; reduce-scatter: the input total */
    double time_s;           /* median or mean of samples */
    double stddev_s;         /* 0 = unknown */
    int32_t samples;         /* 0 = unknown */
    double activation_bytes; /* memory: kept for backward, one micro-batch */
    double parameter_bytes;  /* memory: fp32 bytes of one layer's parameters */
    int recompute;           /* memory: galv_recompute the figure was taken under */
    int sp;                  /* memory, compute: galv_sp */
    double compute_slowdown; /* overlap: >= 1 */
    double comm_slowdown;    /* overlap: >= 1 */
    double value;            /* factor */
    char source[96];
} galv_profile_row;

typedef struct galv_profile {
    galv_arena *arena; /* owns the rows */
    size_t n_rows;
    size_t capacity;
    galv_profile_row *rows;
} galv_profile;

/* An empty profile. Caller frees with galv_profile_free. NULL when memory is out. */
galv_profile *galv_profile_new(void);
void galv_profile_free(galv_profile *profile);

/* Appends a copy of a row. Errors: GALV_NO_MEMORY. */
galv_status galv_profile_add(galv_profile *profile, const galv_profile_row *row,
                             galv_err *err);

/* Can a row be true? Times above 0, slowdowns from 1, the fields its kind needs, and
 * (for devices of the catalog) neither more FLOP/s than the device's peak nor more
 * bytes/s than its links. Errors: GALV_INPUT, naming the column. */
galv_status galv_profile_check_row(const galv_profile_row *row, galv_err *err);

/* Adds the rows of a CSV file, or of every *.csv in a folder. Columns are those of
 * galv_profile_row by name, in any order; others are let be, unless they are nearly one
 * of these that is missing. Times are given as
 * time_s, time_ms or time_us (one of them a row), likewise stddev_*; kind, phase,
 * precision, recompute, sp are words. Empty degrees, micro_batch_size: 1; empty
 * precision: any. A row that cannot be true (galv_profile_check_row) or has an unknown
 * word is refused with file and line. On failure nothing is added. */
galv_status galv_profile_read(galv_profile *profile, const char *path, galv_err *err);

/* The same from a table that is read already. */
galv_status galv_profile_read_table(galv_profile *profile, const galv_csv *table,
                                    galv_err *err);

/* Writes every row, times in seconds; reads back to the same rows. */
galv_status galv_profile_write_csv(const galv_profile *profile, const char *path,
                                   galv_err *err);

#endif

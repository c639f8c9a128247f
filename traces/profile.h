/* The profile: measured numbers, one row each, from CSV files (docs/formats.md).
 *
 * Rows keep SI units; fields that a kind does not use are 0. Only what was measured is
 * in here: interpolation and fits are the cost model's. */
#ifndef GALV_TRACES_PROFILE_H
#define GALV_TRACES_PROFILE_H

#include "base/arena.h"
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
    int precision;              /* galv_precision; -1 = any */
    char layer[32];             /* compute, memory: a layer kind's word ("decoder"),
                                   "other" (embedding, head and loss together) */
    int phase;                  /* galv_op_kind: FORWARD, BACKWARD, BACKWARD_INPUT,
                                   BACKWARD_WEIGHT, RECOMPUTE, OPTIMIZER */
    int32_t hidden_size, ffn_hidden_size, num_attention_heads, num_query_groups;
    int32_t num_experts, moe_router_topk, vocab_size;
    int32_t seq_length;
    double micro_batch_size;    /* samples */
    int32_t tp, cp;
    char op[32];                /* kernel: gemm, attention...; collective: all_reduce,
                                   all_gather, reduce_scatter, all_to_all, broadcast,
                                   send_recv; factor: its name */
    int64_t m, n, k;            /* kernel */
    int32_t ranks;              /* collective */
    int32_t ranks_per_node;     /* collective; 0 = all in one node */
    double message_bytes;       /* as nccl-tests counts it: all-gather: the gathered
                                   total; reduce-scatter: the input total */
    double time_s;              /* median or mean of samples */
    double stddev_s;            /* 0 = unknown */
    int32_t samples;            /* 0 = unknown */
    double activation_bytes;    /* memory: kept for backward, one micro-batch */
    double parameter_bytes;     /* memory: fp32 bytes of one layer's parameters */
    int recompute;              /* memory: galv_recompute the figure was taken under */
    int sp;                     /* memory, compute: galv_sp */
    double compute_slowdown;    /* overlap: >= 1 */
    double comm_slowdown;       /* overlap: >= 1 */
    double value;               /* factor */
    char source[96];
} galv_profile_row;

typedef struct galv_profile {
    galv_arena *arena;          /* owns the rows */
    size_t n_rows;
    size_t capacity;
    galv_profile_row *rows;
} galv_profile;

/* An empty profile. Caller frees with galv_profile_free. NULL when memory is out. */
galv_profile *galv_profile_new(void);
void galv_profile_free(galv_profile *profile);

/* Appends a copy of a row. */
galv_status galv_profile_add(galv_profile *profile, const galv_profile_row *row,
                             galv_err *err);

/* Adds the rows of a CSV file, or of every *.csv in a folder. A row that cannot be true
 * (negative, NaN, zero time, an unknown word) is refused with file, line, column. On
 * failure nothing is added. */
galv_status galv_profile_read(galv_profile *profile, const char *path, galv_err *err);

/* Refuses compute rows and collectives that are faster than the device's peak allows.
 * `line` of the message counts rows when the file is not known. */
galv_status galv_profile_write_csv(const galv_profile *profile, const char *path,
                                   galv_err *err);

/* ---- Galvatron's own profile files ---- */

/* What to import: a folder (searched for the files by their names) and what cannot be
 * read from them. */
typedef struct galv_galvatron_import {
    const char *folder;         /* with computation_profiling_*.json,
                                   memory_profiling_*.json, allreduce_bandwidth_*.json,
                                   p2p_bandwidth_*.json, overlap_coefficient.json,
                                   sp_time_*.json; subfolders are searched too */
    const char *model;          /* "llama2-7b": which computation/memory files */
    const char *device;         /* "a100-sxm-80gb": not stated in the files */
    int32_t n_nodes;            /* which hardware files; 0 = 1 */
    int32_t devices_per_node;   /* 0 = 8 */
    galv_precision precision;   /* which computation/memory files */
} galv_galvatron_import;

/* Adds Galvatron's numbers as rows: layer forward times (ms per layer per sample times
 * samples; backward = 2 x forward is Galvatron's rule and is NOT written), the "other"
 * times, memory per layer (activation per tp degree, checkpoint, parameter_size),
 * bus bandwidths as send_recv / all_reduce times at the message sizes of sp_time or, where a
 * file gives only a bandwidth, as one row at 512 MiB, all-to-all and
 * all-reduce times, and the overlap slowdown. Shapes come from the catalog model of that
 * name. Formats: Hetu-Galvatron cea12ffb, galvatron/core/profiler. Returns in
 * `n_files` how many files were used. Errors: GALV_INPUT with file and key. */
galv_status galv_profile_import_galvatron(galv_profile *profile, size_t *n_files,
                                          const galv_galvatron_import *import,
                                          galv_err *err);

#endif

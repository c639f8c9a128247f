/* Galvatron's own profile files, read into a profile.
 *
 * Formats: Hetu-Galvatron at commit cea12ffb, galvatron/core/profiler. All are JSON;
 * the units are milliseconds, MiB and, for bandwidths, MiB per millisecond. */
#ifndef GALV_TRACES_GALVATRON_H
#define GALV_TRACES_GALVATRON_H

#include "base/status.h"
#include "plan/workload.h"
#include "traces/profile.h"

#include <stddef.h>

/* What to import: a folder (searched for the files by their names) and what cannot be
 * read from them. */
typedef struct galv_galvatron_import {
    const char *folder; /* with computation_profiling_*_all.json,
                           memory_profiling_*_all.json, allreduce_bandwidth_*.json,
                           p2p_bandwidth_*.json, overlap_coefficient.json,
                           sp_time_*.json; subfolders are searched too */
    const char *model;  /* "llama2-7b": which computation/memory files; NULL = only
                           the hardware's */
    const char *device; /* "a100-sxm-80gb": not stated in the files */
    int32_t n_nodes;    /* which hardware files; 0 = 1 */
    int32_t devices_per_node; /* 0 = 8 */
    galv_precision precision; /* which computation/memory files */
} galv_galvatron_import;

/* Adds Galvatron's numbers as rows; on failure nothing is added. Shapes come from the
 * catalog model of that name. Returns in `n_files` how many files were used. What
 * becomes what:
 * - layertype_T_bszB_seqS (ms per layer and sample): compute, forward, the kind of the
 *   model's T-th group of blocks, micro-batch B, times B. Galvatron's rule that
 * backward takes twice as long is not written down as if it had been measured.
 * - layertype_other: layer "other" (embedding, head and loss).
 * - tp_activation_per_bsz_dict: memory, one row per tp, one sample, sp = megatron for
 * the keys that end in _sp (tp > 1); "checkpoint": recompute = full; parameter_size: in
 *   each row.
 * - other_memory_pp_off: layer "other"; pp_on_first: "embedding"; pp_on_last: "head".
 *   model_states (16 bytes a parameter) is given as fp32 bytes of the parameters for
 *   tp 1; for tp > 1 parameter_bytes is 0, since the quotient is not the whole.
 * - sp_time: all_reduce and all_to_all of consecutive ranks.
 * - allreduce_bandwidth: all_reduce at 512 MiB, time = 2(n-1)/n size / bandwidth, where
 *   sp_time does not cover the group; of groups that lie alike on the nodes the
 *   consecutive one is taken.
 * - p2p_bandwidth: send_recv at 512 MiB; ranks = number of stages; between nodes when
 *   the ring of stages crosses them.
 * - overlap_coefficient: both slowdowns.
 * The raw records (layernum..., "1_2_4_sp") are not used.
 * Errors: GALV_INPUT with file and key; GALV_INPUT when no file fits. */
galv_status galv_profile_import_galvatron(galv_profile *profile, size_t *n_files,
                                          const galv_galvatron_import *import,
                                          galv_err *err);

#endif

/* The session: one run of galvatron-exec profile, from what is asked to the files. */
#ifndef GALV_EXEC_PROFILE_SESSION_H
#define GALV_EXEC_PROFILE_SESSION_H

#include "exec/profile_measure.h"

#include <stddef.h>
#include <stdint.h>

#define GALV_MOST_PROFILED 16 /* values of a list */

typedef struct galv_profile_options {
    const char *plan_path; /* what this plan needs; or ... */
    const char *model;     /* ... a model, in these shapes: */
    int64_t seq_length;    /* 0 = the model's */
    int64_t micro_batches[GALV_MOST_PROFILED];
    size_t n_micro_batches; /* 0 = 1 and 2 */
    int64_t tps[GALV_MOST_PROFILED];
    size_t n_tps;              /* 0 = 1, 2, 4 ... as the ranks allow */
    double most_message_bytes; /* of collectives of a model */
    const char *device;        /* its id; NULL = after what the backend says */
    const char *out;           /* folder */
    bool fresh;                /* nothing is kept */
    bool quiet;                /* no progress, no notes */
    galv_patience patience;
} galv_profile_options;

#define GALV_PROFILE_OPTIONS_INIT                                            \
    {                                                                        \
        .most_message_bytes = 64.0 * 1048576, .patience = GALV_PATIENCE_INIT \
    }

typedef struct galv_profile_result {
    galv_cluster cluster;
    int precision;
    size_t n_measured, n_kept; /* rows that were wanted */
    double time_s;
} galv_profile_result;

/* Measures and writes OUT/profile.csv and OUT/cluster.json. Collective over the world.
 * `stop` NULL or set at any time by an interrupt: then GALV_INTERRUPTED, and what was
 * measured is in the file. `result` is filled in as far as it came. Errors: GALV_USAGE
 * (more ranks are needed), those of the files, the plan, the trainer and the backend.
 */
galv_status galv_profile_run(galv_profile_result *result,
                             const galv_profile_options *options, galv_world *world,
                             galv_backend *backend, const atomic_bool *stop,
                             galv_err *err);

#endif

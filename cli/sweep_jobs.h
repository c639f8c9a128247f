/* The jobs of a sweep: every cluster with every sequence length, batch and memory
 * limit that was asked for. */
#ifndef GALV_CLI_SWEEP_JOBS_H
#define GALV_CLI_SWEEP_JOBS_H

#include "cli/job.h"

typedef struct galv_sweep_jobs {
    size_t n_clusters, n_seq_lengths, n_batches, n_limits; /* each at least 1 */
    size_t n_jobs;                                         /* their product */
    galv_job *jobs; /* [clusters][seq lengths][limits][batches] */
} galv_sweep_jobs;

/* Reads the lists; `base` gives model and everything else. A batch that was not given
 * stays 0. Owned by cli->arena. Errors: GALV_USAGE. */
galv_status galv_sweep_jobs_read(galv_sweep_jobs *jobs, const galv_job *base,
                                 const galv_cluster *clusters, size_t n_clusters,
                                 const galv_cli *cli, galv_err *err);

#endif

/* Lists to jobs, the batch varying fastest. */
#include "cli/sweep_jobs.h"

#include "base/units.h"

#define MOST_VALUES 64
#define MOST_JOBS   4096

typedef struct lists {
    int64_t seq_lengths[MOST_VALUES];
    int64_t batches[MOST_VALUES];
    double limits[MOST_VALUES];
} lists;

static galv_status read_limits(lists *values, galv_sweep_jobs *jobs,
                               const galv_cli *cli, galv_err *err)
{
    const char **items = NULL;
    size_t n = 0;
    galv_status status = galv_cli_split(&items, &n, cli, GALV_OPTION_MEMORY_LIMIT, err);
    if (status == GALV_OK && n > MOST_VALUES) {
        return galv_fail(err, GALV_USAGE, "--memory-limit: more than %d values",
                         MOST_VALUES);
    }
    for (size_t i = 0; i < n && status == GALV_OK; i++) {
        status = galv_cli_memory(&values->limits[i], cli, items[i], err);
    }
    jobs->n_limits = n > 0 ? n : 1;
    return status;
}

static galv_status read_lists(lists *values, galv_sweep_jobs *jobs,
                              const galv_job *base, const galv_cli *cli, galv_err *err)
{
    jobs->n_seq_lengths = 1;
    jobs->n_batches = 1;
    values->seq_lengths[0] = base->workload.seq_length;
    values->batches[0] = base->workload.global_batch_size;
    values->limits[0] = base->workload.memory_limit_bytes;
    galv_status status =
        galv_cli_counts(values->seq_lengths, &jobs->n_seq_lengths, MOST_VALUES, cli,
                        GALV_OPTION_SEQ_LENGTH, 1, 1 << 28, err);
    if (status == GALV_OK) {
        status = galv_cli_counts(values->batches, &jobs->n_batches, MOST_VALUES, cli,
                                 GALV_OPTION_GLOBAL_BATCH, 1, (int64_t)1 << 40, err);
    }
    return status == GALV_OK ? read_limits(values, jobs, cli, err) : status;
}

galv_status galv_sweep_jobs_read(galv_sweep_jobs *jobs, const galv_job *base,
                                 const galv_cluster *clusters, size_t n_clusters,
                                 const galv_cli *cli, galv_err *err)
{
    lists values;
    galv_sweep_jobs made = {.n_clusters = n_clusters};
    galv_status status = read_lists(&values, &made, base, cli, err);
    if (status != GALV_OK) {
        return status;
    }
    made.n_jobs = n_clusters * made.n_seq_lengths * made.n_limits * made.n_batches;
    if (made.n_jobs > MOST_JOBS) {
        return galv_fail(err, GALV_USAGE, "a sweep of %zu points; at most %d",
                         made.n_jobs, MOST_JOBS);
    }
    made.jobs = GALV_NEW_ARRAY(cli->arena, galv_job, made.n_jobs);
    if (made.jobs == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < made.n_jobs && status == GALV_OK; i++) {
        galv_job *job = &made.jobs[i];
        size_t rest = i / made.n_batches;
        *job = *base;
        job->workload.global_batch_size = values.batches[i % made.n_batches];
        job->workload.memory_limit_bytes = values.limits[rest % made.n_limits];
        rest /= made.n_limits;
        job->workload.seq_length =
            (int32_t)values.seq_lengths[rest % made.n_seq_lengths];
        job->cluster = clusters[rest / made.n_seq_lengths];
        status = galv_workload_check(&job->workload, err);
    }
    if (status == GALV_OK) {
        *jobs = made;
    }
    return status;
}

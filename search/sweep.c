/* One search per job, in order, then what compares them: scaling, money, front. */
#include "search/sweep.h"

#include "search/pool_orders.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const double SECONDS_PER_DAY = 86400.0;
static const double SECONDS_PER_HOUR = 3600.0;

static void money(galv_sweep_point *point, const galv_job *job)
{
    double rate = job->cluster.usd_per_device_hour * (double)point->n_devices;
    double tokens = job->workload.tokens_to_train;
    point->usd_per_hour = rate;
    if (point->result.tokens_per_s > 0) {
        point->usd_per_tokens =
            rate / SECONDS_PER_HOUR * 1e12 / point->result.tokens_per_s;
        if (tokens > 0) {
            double seconds = tokens / point->result.tokens_per_s;
            point->days = seconds / SECONDS_PER_DAY;
            point->usd = rate * seconds / SECONDS_PER_HOUR;
        }
    }
}

static void fail_point(galv_sweep_point *point, galv_status status, const galv_err *err)
{
    point->status = status;
    snprintf(point->why_not, sizeof point->why_not, "%.255s", err->message);
}

/* Searches one cluster. Only what would fail everywhere is returned as an error. */
static galv_status sweep_point(galv_sweep_point *point, const galv_job *job,
                               const galv_profile *profile, const galv_space *space,
                               const galv_search_options *options, galv_arena *arena,
                               galv_err *err)
{
    galv_search_result found;
    galv_search_options best_only = *options;
    galv_costmodel *model = NULL;
    galv_err own = GALV_ERR_INIT;
    point->job = GALV_NEW(arena, galv_job);
    if (!point->job) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    const galv_cluster *cluster = &job->cluster;
    *point->job = *job;
    galv_job_fill_defaults(point->job);
    point->n_nodes = galv_cluster_n_nodes(cluster);
    point->n_devices = galv_cluster_n_devices(cluster);
    snprintf(point->device, sizeof point->device, "%s", cluster->pools[0].device.id);
    snprintf(point->cluster, sizeof point->cluster, "%s", cluster->name);
    memset(&found, 0, sizeof found);
    best_only.top_k = 1;
    galv_status status = galv_costmodel_new(&model, point->job, profile, err);
    galv_costmodel_free(model);
    if (status != GALV_OK) {
        return status;
    }
    status = galv_pool_orders_search(&found, &point->job, point->job, profile, space,
                                     &best_only, arena, &own);
    if (status == GALV_NO_MEMORY || status == GALV_INTERRUPTED) {
        return galv_fail(err, status, "%s", own.message);
    }
    if (status != GALV_OK) {
        fail_point(point, status, &own);
        return GALV_OK;
    }
    point->plan = found.plans[0].plan;
    point->result = found.plans[0].result;
    money(point, point->job);
    return found.interrupted ? galv_fail(err, GALV_INTERRUPTED, "interrupted")
                             : GALV_OK;
}

static bool same_work(const galv_job *a, const galv_job *b)
{
    return a->workload.seq_length == b->workload.seq_length &&
           a->workload.global_batch_size == b->workload.global_batch_size &&
           a->workload.memory_limit_bytes == b->workload.memory_limit_bytes;
}

static void compare_points(galv_sweep_point *points, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const galv_sweep_point *smallest = NULL;
        if (points[i].status != GALV_OK) {
            continue;
        }
        points[i].on_front = points[i].usd_per_tokens > 0;
        for (size_t k = 0; k < n; k++) {
            const galv_sweep_point *other = &points[k];
            if (other->status != GALV_OK) {
                continue;
            }
            if (strcmp(other->cluster, points[i].cluster) == 0 &&
                same_work(other->job, points[i].job) &&
                (!smallest || other->n_devices < smallest->n_devices)) {
                smallest = other;
            }
            bool no_worse =
                other->result.tokens_per_s >= points[i].result.tokens_per_s &&
                other->usd_per_tokens <= points[i].usd_per_tokens &&
                other->usd_per_tokens > 0;
            bool better = other->result.tokens_per_s > points[i].result.tokens_per_s ||
                          other->usd_per_tokens < points[i].usd_per_tokens;
            if (no_worse && better) {
                points[i].on_front = false;
            }
        }
        points[i].scaling_frac = points[i].result.tokens_per_s_per_gpu /
                                 smallest->result.tokens_per_s_per_gpu;
    }
}

/* The batch of jobs that name none: the usual one of the largest cluster. */
static int64_t common_batch(const galv_job *jobs, size_t n)
{
    galv_job job = {0};
    int64_t most = -1;
    for (size_t i = 0; i < n; i++) {
        if (jobs[i].workload.global_batch_size == 0 &&
            galv_cluster_n_devices(&jobs[i].cluster) > most) {
            most = galv_cluster_n_devices(&jobs[i].cluster);
            job = jobs[i];
        }
    }
    if (most < 0) {
        return 0;
    }
    galv_job_fill_defaults(&job);
    return job.workload.global_batch_size;
}

galv_status galv_sweep(galv_sweep_point **points, size_t *n_points,
                       const galv_job *jobs, size_t n_jobs, const galv_profile *profile,
                       const galv_space *space, const galv_search_options *options,
                       galv_arena *arena, galv_err *err)
{
    galv_status status = GALV_OK;
    size_t done = 0;
    galv_sweep_point *made = GALV_NEW_ARRAY(arena, galv_sweep_point, n_jobs + 1);
    if (!made) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    int64_t batch = common_batch(jobs, n_jobs);
    while (done < n_jobs && status == GALV_OK) {
        galv_job job = jobs[done];
        if (job.workload.global_batch_size == 0) {
            job.workload.global_batch_size = batch;
        }
        status = sweep_point(&made[done], &job, profile, space, options, arena, err);
        done += status == GALV_OK || made[done].plan != NULL;
    }
    if (status != GALV_OK && status != GALV_INTERRUPTED) {
        return status;
    }
    compare_points(made, done);
    *points = made;
    *n_points = done;
    return status;
}

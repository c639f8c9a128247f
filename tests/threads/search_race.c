/* A search on four threads, for the thread sanitizer: same answer as on one. */
#include "search/search.h"

#include <stdio.h>

static double best_s(const galv_costmodel *model, int n_jobs)
{
    galv_space space = GALV_SPACE_INIT;
    galv_search_options options = GALV_SEARCH_OPTIONS_INIT;
    galv_search_result found;
    galv_err err = GALV_ERR_INIT;
    galv_arena *arena = galv_arena_new();
    double time_s = -1;
    options.n_jobs = n_jobs;
    if (arena && galv_search(&found, model, &space, &options, arena, &err) == GALV_OK) {
        time_s = found.plans[0].result.iteration_time_s;
    } else {
        fprintf(stderr, "search on %d threads: %s\n", n_jobs, err.message);
    }
    galv_arena_free(arena);
    return time_s;
}

int main(void)
{
    galv_job job = {.workload = GALV_WORKLOAD_INIT};
    galv_costmodel *model = NULL;
    galv_err err = GALV_ERR_INIT;
    job.workload.global_batch_size = 32;
    if (galv_model_load(&job.model, "llama3-8b", &err) ||
        galv_cluster_load(&job.cluster, "dgx-h100", 1, &err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    galv_job_fill_defaults(&job);
    if (galv_costmodel_new(&model, &job, NULL, &err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    double one = best_s(model, 1);
    double four = best_s(model, 4);
    galv_costmodel_free(model);
    if (one <= 0 || one < four || four < one) {
        fprintf(stderr, "one thread: %.17g s, four: %.17g s\n", one, four);
        return 1;
    }
    return 0;
}

/* How long it takes to cost one uniform plan, on one core, without a simulation: memory
 * that the fullest stage holds, and the lower bound of the time, from the price of
 * every class of operations (galv_price_plan), as the search asks for millions.
 *
 *   build/benchmarks/cost_bench [REPETITIONS]
 *
 * Measured: Llama 3 70B on 512 H100, plans that differ in tp, pp, ZeRO, recomputation
 * and micro-batch, round and round, so that nothing of one plan is left for the next
 * but what the cost model itself keeps. "operations" is the sum over their classes of
 * galv_costmodel_operation alone. Best of the repetitions by the clock of the
 * processor. */
#include "plan/cluster.h"
#include "plan/model.h"
#include "search/pricing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MOST_PLANS 512

static double clock_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Plans of the job; returns how many. */
static int make_plans(galv_plan **plans, const galv_job *job, galv_arena *arena)
{
    int n = 0;
    for (int32_t tp = 1; tp <= 8; tp *= 2) {
        for (int32_t pp = 1; pp <= 8; pp *= 2) {
            for (int choice = 0; choice < 3 * 3 * 4; choice++) {
                galv_uniform_plan uniform;
                galv_err err = GALV_ERR_INIT;
                memset(&uniform, 0, sizeof uniform);
                galv_strategy strategy = GALV_STRATEGY_INIT;
                galv_overlap overlap = GALV_OVERLAP_INIT;
                strategy.tp = tp;
                strategy.dp = 512 / tp / pp;
                strategy.sp = tp > 1 ? GALV_SP_MEGATRON : GALV_SP_NONE;
                strategy.zero = 1 + choice % 3;
                strategy.recompute = choice / 3 % 3;
                uniform.strategy = strategy;
                uniform.pp = pp;
                uniform.vpp = 1;
                uniform.micro_batch_size = 1 << choice / 9;
                uniform.overlap = overlap;
                if (n < MOST_PLANS && galv_plan_make_uniform(&plans[n], job, &uniform,
                                                             arena, &err) == GALV_OK) {
                    n++;
                }
            }
        }
    }
    return n;
}

int main(int argc, char **argv)
{
    static galv_plan *plans[MOST_PLANS];
    int repetitions = argc > 1 ? atoi(argv[1]) : 20;
    galv_err err = GALV_ERR_INIT;
    galv_workload workload = GALV_WORKLOAD_INIT;
    galv_job job;
    galv_costmodel *model = NULL;
    galv_arena *arena = galv_arena_new();
    galv_arena *scratch = galv_arena_new();
    memset(&job, 0, sizeof job);
    job.workload = workload;
    job.workload.global_batch_size = 4096;
    if (arena == NULL || scratch == NULL ||
        galv_model_load(&job.model, "llama3-70b", &err) != GALV_OK ||
        galv_cluster_load(&job.cluster, "dgx-h100", 64, &err) != GALV_OK) {
        fprintf(stderr, "cost_bench: %s\n", err.message);
        return 1;
    }
    galv_job_fill_defaults(&job);
    if (galv_costmodel_new(&model, &job, NULL, &err) != GALV_OK) {
        fprintf(stderr, "cost_bench: %s\n", err.message);
        return 1;
    }
    int n = make_plans(plans, &job, arena);
    double limit = galv_costmodel_memory_limit(model);
    double best_s[2] = {0};
    int n_priced = 0;
    for (int i = 0; i < repetitions && n > 0; i++) {
        for (int all = 0; all < 2; all++) {
            /* "all": as if memory were no limit, so that each is priced */
            double began_s = clock_s();
            int priced = 0;
            for (int p = 0; p < n; p++) {
                galv_plan_price price = {0};
                galv_arena_reset(scratch);
                if (galv_price_plan(&price, model, plans[p], all ? 1e30 : limit,
                                    scratch, &err) != GALV_OK) {
                    fprintf(stderr, "cost_bench: %s\n", err.message);
                    return 1;
                }
                priced += price.may_fit;
            }
            double took_s = (clock_s() - began_s) / n;
            best_s[all] = i == 0 || took_s < best_s[all] ? took_s : best_s[all];
            n_priced = all ? n_priced : priced;
        }
    }
    printf("one plan costed, of %d uniform ones: %.2f us (all priced: %.2f us; "
           "%d may fit)\n",
           n, 1e6 * best_s[0], 1e6 * best_s[1], n_priced);
    galv_costmodel_free(model);
    galv_arena_free(scratch);
    galv_arena_free(arena);
    return n > 0 ? 0 : 1;
}

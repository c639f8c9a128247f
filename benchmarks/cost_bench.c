/* How long it takes to cost one uniform plan, on one core, without a simulation: memory
 * that the fullest stage holds, and the lower bound of the time, from the price of
 * every class of operations (galv_price_plan), as the search asks for millions.
 *
 *   build/benchmarks/cost_bench [REPETITIONS]
 *
 * Measured: Llama 3 70B on 512 H100, plans that differ in tp, pp, ZeRO, recomputation
 * and micro-batch. "operations" is the sum over their classes of
 * galv_costmodel_operation alone; "bound" is memory and bound of all plans in turn with
 * a table of prices that was empty before the first, as a search begins; "again" with
 * one that has seen them all, as a search goes on. "of a space" is what every plan of
 * the whole tree costs, its time and memory bounded from its layers
 * (search/shapes.h), nothing known before: that is what a search pays for each. Best of
 * the repetitions by the clock of the processor. */
#include "plan/cluster.h"
#include "plan/model.h"
#include "schedule/program.h"
#include "search/pricing.h"
#include "search/shapes.h"
#include "sim/price_table.h"

#include <math.h>
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

/* Operations of a plan that differ in price, as the prices of sim/ tell them apart. */
typedef struct classes {
    const galv_plan *plan;
    uint32_t n;
    galv_operation *operations;
} classes;

static bool find_classes(classes *c, const galv_costmodel *model, const galv_plan *plan,
                         galv_arena *arena, galv_err *err)
{
    galv_program *program = NULL;
    galv_plan few = *plan;
    few.global_batch_size = plan->global_batch_size / galv_plan_n_micro_batches(plan);
    if (galv_program_compile(&program, galv_costmodel_job(model), &few, arena, err) !=
        GALV_OK) {
        return false;
    }
    galv_prices *prices = NULL;
    c->plan = plan;
    c->n = 0;
    c->operations = GALV_NEW_ARRAY(arena, galv_operation, program->n_classes + 1);
    if (c->operations == NULL ||
        galv_prices_new(&prices, model, plan, NULL, arena, err) != GALV_OK) {
        return false;
    }
    for (uint32_t i = 0; i < program->n_classes; i++) {
        galv_prices_get(prices, &program->classes[i]);
        if (galv_prices_count(prices) > c->n) {
            c->operations[c->n++] = program->classes[i];
        }
    }
    return true;
}

/* Seconds for one of the plans; in *n_classes, the mean. */
static double time_operations(double *n_classes, const galv_costmodel *model,
                              const classes *all, int n)
{
    double sum_s = 0;
    double count = 0;
    double began_s = clock_s();
    for (int p = 0; p < n; p++) {
        for (uint32_t i = 0; i < all[p].n; i++) {
            galv_cost cost;
            galv_costmodel_operation(&cost, model, all[p].plan, &all[p].operations[i]);
            sum_s += cost.work_s;
        }
        count += all[p].n;
    }
    *n_classes = sum_s > 0 ? count / n : 0;
    return (clock_s() - began_s) / n;
}

/* Seconds for one of the plans, its bound and what it holds; in *n_fit, how many may
 * fit. Negative: an error. */
static double time_bounds(int *n_fit, const galv_costmodel *model, galv_plan **plans,
                          int n, galv_price_table *table, galv_arena *scratch,
                          galv_err *err)
{
    double began_s = clock_s();
    *n_fit = 0;
    for (int p = 0; p < n; p++) {
        galv_plan_price price = {0};
        galv_prices *prices = NULL;
        galv_arena_reset(scratch);
        if (galv_prices_new(&prices, model, plans[p], table, scratch, err) != GALV_OK ||
            galv_price_plan(&price, model, plans[p], prices, scratch, err) != GALV_OK) {
            fprintf(stderr, "cost_bench: %s\n", err->message);
            return -1;
        }
        *n_fit += galv_memory_need_fits(&price.held);
    }
    return (clock_s() - began_s) / n;
}

/* Seconds for one of the plans of the whole space, of which there are *n. Negative: an
 * error. */
static double time_space(size_t *n, const galv_costmodel *model, galv_arena *scratch,
                         galv_err *err)
{
    galv_space space = GALV_SPACE_INIT;
    galv_candidates all = {0};
    galv_shapes shapes;
    double sum_s = 0;
    galv_arena_reset(scratch);
    double began_s = clock_s();
    if (galv_space_enumerate(&all, &space, galv_costmodel_job(model), scratch, err) !=
            GALV_OK ||
        galv_shapes_make(&shapes, model, &space, &all, scratch, err) != GALV_OK) {
        fprintf(stderr, "cost_bench: %s\n", err->message);
        return -1;
    }
    for (size_t i = 0; i < all.n_candidates; i++) {
        sum_s += galv_shapes_bound(&shapes, i).bound_s;
    }
    *n = sum_s > 0 ? all.n_candidates : 0;
    return *n > 0 ? (clock_s() - began_s) / (double)*n : -1;
}

int main(int argc, char **argv)
{
    static galv_plan *plans[MOST_PLANS];
    static classes all[MOST_PLANS];
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
    galv_price_table *kept = galv_price_table_new(model);
    double best_s[4] = {HUGE_VAL, HUGE_VAL, HUGE_VAL, HUGE_VAL};
    size_t n_space = 0;
    double n_classes = 0;
    int n_fit = 0;
    for (int p = 0; p < n; p++) {
        if (!find_classes(&all[p], model, plans[p], arena, &err)) {
            fprintf(stderr, "cost_bench: %s\n", err.message);
            return 1;
        }
    }
    for (int i = 0; i < repetitions && n > 0; i++) {
        best_s[0] = fmin(best_s[0], time_operations(&n_classes, model, all, n));
        for (int again = 0; again < 2; again++) {
            galv_price_table *table = again ? kept : galv_price_table_new(model);
            double took_s = time_bounds(&n_fit, model, plans, n, table, scratch, &err);
            if (took_s < 0) {
                return 1;
            }
            best_s[1 + again] = fmin(best_s[1 + again], took_s);
            if (!again) {
                galv_price_table_free(table);
            }
        }
        double took_s = time_space(&n_space, model, scratch, &err);
        if (took_s < 0) {
            return 1;
        }
        best_s[3] = fmin(best_s[3], took_s);
    }
    printf("one of %d uniform plans costed: operations %.2f us (%.1f classes), "
           "bound %.2f us, again %.2f us (%d may fit)\n",
           n, 1e6 * best_s[0], n_classes, 1e6 * best_s[1], 1e6 * best_s[2], n_fit);
    printf("one of %zu of a space costed: %.2f us\n", n_space, 1e6 * best_s[3]);
    galv_price_table_free(kept);
    galv_costmodel_free(model);
    galv_arena_free(scratch);
    galv_arena_free(arena);
    return n > 0 ? 0 : 1;
}

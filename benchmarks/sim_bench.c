/* How fast programs are made and simulated, on one core.
 *
 *   build/benchmarks/sim_bench [REPETITIONS]
 *
 * Measured: textbook pipelines of 16 stages and 4096 micro-batches, and compiled plans
 * of a 70 B model. Each line is the best of the repetitions; times are of the
 * processor, so that other work on the machine counts little. The program and the costs
 * are made anew each time; memory of the run is reused. */
#include "benchmarks/machine.h"
#include "plan/cluster.h"
#include "plan/model.h"
#include "sim/evaluate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct measure {
    double make_s, price_s, simulate_s;
    uint32_t n_ops, n_classes;
    uint64_t n_events;
} measure;

static void keep_best(measure *best, const measure *now, int repetition)
{
    if (repetition == 0 || now->make_s < best->make_s) {
        best->make_s = now->make_s;
    }
    if (repetition == 0 || now->price_s < best->price_s) {
        best->price_s = now->price_s;
    }
    if (repetition == 0 || now->simulate_s < best->simulate_s) {
        best->simulate_s = now->simulate_s;
    }
    best->n_ops = now->n_ops;
    best->n_classes = now->n_classes;
    best->n_events = now->n_events;
}

static void print_measure(const char *name, const measure *m)
{
    printf("%-34s %9u %6u %8.1f %8.1f %8.1f %8.2f %8.2f\n", name, m->n_ops,
           m->n_classes, 1e3 * m->make_s, 1e3 * m->price_s, 1e3 * m->simulate_s,
           1e-6 * m->n_ops / m->simulate_s,
           1e-6 * m->n_ops / (m->make_s + m->price_s + m->simulate_s));
}

static galv_status simulate(measure *m, const galv_program *program,
                            const galv_cost *costs, galv_arena *arena, galv_err *err)
{
    galv_sim_result result;
    galv_sim_options options = GALV_SIM_OPTIONS_INIT;
    double began_s = clock_s();
    galv_status status =
        galv_simulate(&result, program, costs, NULL, &options, arena, err);
    m->simulate_s = clock_s() - began_s;
    m->n_ops = program->n_ops;
    m->n_classes = program->n_classes;
    m->n_events = status == GALV_OK ? result.n_events : 0;
    return status;
}

static galv_status run_schedule(measure *m, const char *name,
                                const galv_schedule_shape *shape, galv_arena *arena,
                                galv_err *err)
{
    const galv_schedule *schedule = NULL;
    galv_program *program = NULL;
    galv_status status = galv_schedule_find(&schedule, name, err);
    double began_s = clock_s();
    if (status == GALV_OK) {
        status = galv_program_from_schedule(&program, schedule, shape, arena, err);
    }
    m->make_s = clock_s() - began_s;
    if (status != GALV_OK) {
        return status;
    }
    galv_cost *costs = GALV_NEW_ARRAY(arena, galv_cost, program->n_classes);
    for (uint32_t i = 0; i < program->n_classes; i++) {
        int kind = program->classes[i].kind;
        costs[i].work_s =
            kind == GALV_OP_FORWARD                                             ? 1
            : kind == GALV_OP_BACKWARD                                          ? 2
            : kind == GALV_OP_BACKWARD_INPUT || kind == GALV_OP_BACKWARD_WEIGHT ? 1
            : kind == GALV_OP_SEND                                              ? 0.1
                                                                                : 0;
        costs[i].compute_slowdown = costs[i].comm_slowdown = 1;
    }
    m->price_s = 0;
    return simulate(m, program, costs, arena, err);
}

static galv_status run_plan(measure *m, const galv_uniform_plan *parameters,
                            galv_arena *arena, galv_err *err)
{
    galv_job job;
    galv_plan *plan = NULL;
    galv_program *program = NULL;
    galv_costmodel *model = NULL;
    galv_cost *costs = NULL;
    galv_workload workload = GALV_WORKLOAD_INIT;
    memset(&job, 0, sizeof job);
    job.workload = workload;
    job.workload.global_batch_size = 1024;
    galv_status status = galv_model_load(&job.model, "llama3-70b", err);
    if (status == GALV_OK) {
        status = galv_cluster_load(&job.cluster, "dgx-h100", 64, err);
    }
    if (status == GALV_OK) {
        galv_job_fill_defaults(&job);
        status = galv_plan_make_uniform(&plan, &job, parameters, arena, err);
    }
    if (status == GALV_OK) {
        status = galv_costmodel_new(&model, &job, NULL, err);
    }
    double began_s = clock_s();
    if (status == GALV_OK) {
        status = galv_program_compile(&program, &job, plan, arena, err);
    }
    m->make_s = clock_s() - began_s;
    began_s = clock_s();
    if (status == GALV_OK) {
        status = galv_price_program(&costs, model, plan, program, arena, err);
    }
    m->price_s = clock_s() - began_s;
    if (status == GALV_OK) {
        status = simulate(m, program, costs, arena, err);
    }
    galv_costmodel_free(model);
    return status;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        const char *schedule;
        galv_schedule_shape shape;
    } textbook[] = {
        {"gpipe p16 m4096", "gpipe", {16, 1, 4096, 0, NULL}},
        {"1f1b p16 m4096", "1f1b", {16, 1, 4096, 0, NULL}},
        {"interleaved p16 v4 m4096", "interleaved", {16, 4, 4096, 0, NULL}},
        {"zb-1p p32 m128", "zb-1p", {32, 1, 128, 0, NULL}},
        {"zb-v p32 m128", "zb-v", {32, 2, 128, 0, NULL}},
    };
    static const struct {
        const char *name;
        galv_uniform_plan plan;
    } plans[] = {
        {"llama3-70b tp8 pp4 dp16 v5 zero1 sp",
         {{8, 1, 1, 16, GALV_SP_MEGATRON, 1, 0},
          4,
          5,
          NULL,
          1,
          GALV_OVERLAP_INIT,
          NULL}},
        {"llama3-70b pp8 dp64 zero1 full",
         {{1, 1, 1, 64, GALV_SP_NONE, 1, GALV_RECOMPUTE_FULL},
          8,
          1,
          NULL,
          1,
          GALV_OVERLAP_INIT,
          NULL}},
        {"llama3-70b dp512 zero3 full",
         {{1, 1, 1, 512, GALV_SP_NONE, 3, GALV_RECOMPUTE_FULL},
          1,
          1,
          NULL,
          1,
          GALV_OVERLAP_INIT,
          NULL}},
    };
    int repetitions = argc > 1 ? atoi(argv[1]) : 5;
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    print_machine();
    printf("%-34s %9s %6s %8s %8s %8s %8s %8s\n", "", "ops", "class", "make ms",
           "price ms", "sim ms", "Mops/s", "all in");
    for (size_t i = 0; i < sizeof textbook / sizeof textbook[0]; i++) {
        measure best = {0};
        for (int k = 0; k < repetitions && err.status == GALV_OK; k++) {
            measure now = {0};
            galv_arena_reset(arena);
            run_schedule(&now, textbook[i].schedule, &textbook[i].shape, arena, &err);
            keep_best(&best, &now, k);
        }
        print_measure(textbook[i].name, &best);
    }
    for (size_t i = 0; i < sizeof plans / sizeof plans[0]; i++) {
        measure best = {0};
        for (int k = 0; k < repetitions && err.status == GALV_OK; k++) {
            measure now = {0};
            galv_arena_reset(arena);
            run_plan(&now, &plans[i].plan, arena, &err);
            keep_best(&best, &now, k);
        }
        print_measure(plans[i].name, &best);
    }
    galv_arena_free(arena);
    printf("peak memory: %.1f MiB\n", peak_mib());
    if (err.status != GALV_OK) {
        fprintf(stderr, "sim_bench: %s\n", err.message);
        return 1;
    }
    return 0;
}

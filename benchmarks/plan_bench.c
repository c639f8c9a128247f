/* How long one answer takes, from plan to result, on one core, and in how much memory.
 *
 *   build/benchmarks/plan_bench [REPETITIONS]
 *
 * Measured: MT-NLG 530B with tp8 pp35 dp12 on 3360 A100, 160 micro-batches, every
 * operation of one replica simulated (Smith et al. 2022, arXiv 2201.11990, section 5;
 * here with tensor-parallel layers cut at their collectives); the same by kernel, each
 * computation of a layer as ten in a row: 20 kernels of a layer forward, 20 to do it
 * again, 40 backward; a plan for 512 H100; and making the order of zb-auto for 32
 * stages and 128 micro-batches with uneven costs, 8 plays of the greedy. Each line is
 * the best of the repetitions by the clock of the processor, with everything made anew,
 * and the memory that a process of its own took for it. */
#include "benchmarks/machine.h"
#include "plan/cluster.h"
#include "plan/model.h"
#include "sim/evaluate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct plan_case {
    const char *name;
    const char *model, *cluster;
    int32_t nodes, global_batch, seq_length;
    galv_uniform_plan plan;
    bool whole;
    bool by_kernel; /* only the time and memory of one replica */
} plan_case;

typedef struct answer {
    double best_s;
    double work; /* operations, or slots of an order */
    double step_s;
} answer;

/* ---- by kernel ---- */

enum { KERNELS = 10, FIRST, LAST, INNER, N_PLACES = 3 };

static bool has_kernels(const galv_operation *class)
{
    return class->stream == GALV_STREAM_COMPUTE && class->kind != GALV_OP_OPTIMIZER;
}

/* Classes of the first, the last and the inner kernels of every class. */
static void split_classes(galv_program *made, galv_cost *costs,
                          const galv_program *from, const galv_cost *whole)
{
    static const galv_cost nothing;
    for (uint32_t i = 0; i < from->n_classes; i++) {
        bool split = has_kernels(&from->classes[i]);
        for (uint32_t place = 0; place < N_PLACES; place++) {
            galv_cost *cost = &costs[N_PLACES * i + place];
            made->classes[N_PLACES * i + place] = from->classes[i];
            *cost = whole[i];
            if (split) {
                cost->work_s = whole[i].work_s / KERNELS;
            }
            if (split && place != FIRST - FIRST) {
                memcpy(cost->start_bytes, nothing.start_bytes,
                       sizeof cost->start_bytes);
            }
            if (split && place != LAST - FIRST) {
                memcpy(cost->end_bytes, nothing.end_bytes, sizeof cost->end_bytes);
            }
        }
    }
}

/* Every computation as KERNELS operations in a row; who waited for it waits for the
 * last of them. place[n_ops]: where the last, or only, one of an op went. */
static void split_ops(galv_program *made, uint32_t *place, const galv_program *from)
{
    uint32_t n = 0;
    uint32_t queue = 0;
    for (uint32_t op = 0; op < from->n_ops; op++) {
        while (from->queue_begin[queue] <= op) {
            made->queue_begin[queue++] = n;
        }
        const galv_program_op *old = &from->ops[op];
        bool split = has_kernels(&from->classes[old->class_index]);
        uint32_t first_class = N_PLACES * old->class_index;
        for (int kernel = 0; kernel < (split ? KERNELS : 1); kernel++) {
            uint32_t which = kernel == 0 ? FIRST : kernel == KERNELS - 1 ? LAST : INNER;
            made->ops[n++] =
                (galv_program_op){first_class + which - FIRST, old->micro_batch,
                                  kernel == 0 ? old->first_dependency
                                              : from->ops[op + 1].first_dependency};
        }
        place[op] = n - 1;
    }
    for (; queue <= (uint32_t)from->n_ranks * GALV_N_STREAMS; queue++) {
        made->queue_begin[queue] = n;
    }
    made->n_ops = n;
    made->ops[n].first_dependency = from->n_dependencies;
    for (uint32_t i = 0; i < from->n_dependencies; i++) {
        made->dependencies[i] = place[from->dependencies[i]];
    }
}

/* Simulates a plan by kernel: compile, price, split, play. */
static galv_status answer_by_kernel(answer *a, const galv_costmodel *model,
                                    const galv_plan *plan, galv_arena *arena,
                                    galv_err *err)
{
    galv_program *from = NULL;
    galv_cost *whole = NULL;
    galv_sim_result result;
    galv_sim_options options = GALV_SIM_OPTIONS_INIT;
    galv_status status =
        galv_program_compile(&from, galv_costmodel_job(model), plan, arena, err);
    if (status == GALV_OK) {
        status = galv_price_program(&whole, model, plan, from, arena, err);
    }
    if (status != GALV_OK) {
        return status;
    }
    uint32_t n_most = 0;
    for (uint32_t op = 0; op < from->n_ops; op++) {
        n_most += has_kernels(&from->classes[from->ops[op].class_index]) ? KERNELS : 1;
    }
    galv_program made = *from;
    made.n_classes = N_PLACES * from->n_classes;
    made.classes = GALV_NEW_ARRAY(arena, galv_operation, made.n_classes);
    made.ops = GALV_NEW_ARRAY(arena, galv_program_op, n_most + 1);
    made.queue_begin =
        GALV_NEW_ARRAY(arena, uint32_t, from->n_ranks * GALV_N_STREAMS + 1);
    made.dependencies = GALV_NEW_ARRAY(arena, uint32_t, from->n_dependencies);
    uint32_t *place = GALV_NEW_ARRAY(arena, uint32_t, from->n_ops);
    galv_cost *costs = GALV_NEW_ARRAY(arena, galv_cost, made.n_classes);
    if (made.classes == NULL || made.ops == NULL || made.queue_begin == NULL ||
        made.dependencies == NULL || place == NULL || costs == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    split_classes(&made, costs, from, whole);
    split_ops(&made, place, from);
    status = galv_simulate(&result, &made, costs, NULL, &options, arena, err);
    a->work = made.n_ops;
    a->step_s = status == GALV_OK ? result.iteration_time_s : 0;
    return status;
}

static galv_status answer_plan(answer *a, const plan_case *c, galv_arena *arena,
                               galv_err *err)
{
    galv_job job;
    galv_plan *plan = NULL;
    galv_costmodel *model = NULL;
    galv_result result;
    galv_workload workload = GALV_WORKLOAD_INIT;
    galv_evaluate_options options = GALV_EVALUATE_OPTIONS_INIT;
    memset(&job, 0, sizeof job);
    job.workload = workload;
    job.workload.global_batch_size = c->global_batch;
    job.workload.seq_length = c->seq_length;
    options.whole = c->whole;
    galv_status status = galv_model_load(&job.model, c->model, err);
    if (status == GALV_OK) {
        status = galv_cluster_load(&job.cluster, c->cluster, c->nodes, err);
    }
    if (status == GALV_OK) {
        galv_job_fill_defaults(&job);
        status = galv_plan_make_uniform(&plan, &job, &c->plan, arena, err);
    }
    double began_s = clock_s();
    if (status == GALV_OK) {
        status = galv_costmodel_new(&model, &job, NULL, err);
    }
    if (status == GALV_OK && c->by_kernel) {
        status = answer_by_kernel(a, model, plan, arena, err);
    } else if (status == GALV_OK) {
        status = galv_evaluate(&result, model, plan, &options, arena, err);
        a->work = galv_program_count(&job, plan);
        a->step_s = status == GALV_OK ? result.iteration_time_s : 0;
    }
    double took_s = clock_s() - began_s;
    if (status == GALV_OK) {
        a->best_s = a->best_s > 0 && a->best_s < took_s ? a->best_s : took_s;
    }
    galv_costmodel_free(model);
    return status;
}

static galv_status answer_order(answer *a, galv_err *err)
{
    enum { P = 32, M = 128 };
    galv_stage_weights stages[P];
    const galv_schedule *schedule = NULL;
    for (int i = 0; i < P; i++) {
        stages[i] =
            (galv_stage_weights){1 + 0.01 * (i % 5), 1.1 + 0.01 * (i % 3), 0.8, 0};
    }
    galv_schedule_weights weights = {stages, 0.03, 2.0 * P, false};
    galv_schedule_shape shape = {P, 1, M, 0, &weights};
    galv_status status = galv_schedule_find(&schedule, "zb-auto", err);
    if (status != GALV_OK) {
        return status;
    }
    size_t n = galv_schedule_n_slots(schedule, &shape) * P;
    galv_slot *slots = calloc(n, sizeof *slots);
    if (slots == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    double began_s = clock_s();
    status = galv_schedule_order(slots, schedule, &shape, err);
    double took_s = clock_s() - began_s;
    a->best_s = a->best_s > 0 && a->best_s < took_s ? a->best_s : took_s;
    a->work = (double)n;
    free(slots);
    return status;
}

/* Measures in a process of its own, so that the peak memory is of this line. */
static int measure(const char *name, const plan_case *c, int repetitions)
{
    fflush(stdout);
    pid_t child = fork();
    if (child != 0) {
        int how = 0;
        return child < 0 || waitpid(child, &how, 0) < 0 || how != 0 ? 1 : 0;
    }
    galv_err err = GALV_ERR_INIT;
    answer a = {0};
    galv_arena *arena = galv_arena_new();
    for (int i = 0; i < repetitions && arena != NULL && err.status == GALV_OK; i++) {
        galv_arena_reset(arena);
        if (c != NULL) {
            answer_plan(&a, c, arena, &err);
        } else {
            answer_order(&a, &err);
        }
    }
    galv_arena_free(arena);
    printf("%-38s %9.0f %9.2f %8.1f %9.3f %9.1f\n", name, a.work, 1e3 * a.best_s,
           1e-6 * a.work / a.best_s, a.step_s, peak_mib());
    if (err.status != GALV_OK) {
        fprintf(stderr, "plan_bench: %s\n", err.message);
    }
    fflush(stdout);
    _exit(err.status == GALV_OK ? 0 : 1);
}

int main(int argc, char **argv)
{
#define MT_NLG                                                               \
    {                                                                        \
        {8, 1, 1, 12, GALV_SP_NONE, 1, GALV_RECOMPUTE_FULL}, 35, 1, NULL, 1, \
            GALV_OVERLAP_INIT, NULL                                          \
    }
    static const plan_case cases[] = {
        {"MT-NLG 530B, 3360 GPUs", "mt-nlg-530b", "dgx-a100", 420, 1920, 2048, MT_NLG,
         true, false},
        {"MT-NLG 530B, 3360 GPUs, by kernel", "mt-nlg-530b", "dgx-a100", 420, 1920,
         2048, MT_NLG, true, true},
        {"Llama 3 70B, 512 GPUs, tp8 pp4",
         "llama3-70b",
         "dgx-h100",
         64,
         1024,
         8192,
         {{8, 1, 1, 16, GALV_SP_MEGATRON, 1, 0},
          4,
          1,
          NULL,
          1,
          GALV_OVERLAP_INIT,
          NULL},
         false,
         false},
    };
    int repetitions = argc > 1 ? atoi(argv[1]) : 5;
    int failed = 0;
    print_machine();
    printf("%-38s %9s %9s %8s %9s %9s\n", "from plan to result", "ops", "ms", "Mops/s",
           "step s", "peak MiB");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        failed |= measure(cases[i].name, &cases[i], repetitions);
    }
    failed |= measure("order of zb-auto, p 32, m 128", NULL, repetitions);
    return failed;
}

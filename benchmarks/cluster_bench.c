/* How fast whole clusters are simulated, on one core.
 *
 *   build/benchmarks/cluster_bench [REPETITIONS]
 *
 * Measured: Llama 3.1 405B with tp8 pp16 dp128 on 16,384 H100, every rank by itself,
 * alike and with jitter; and tp8 pp16 dp1024 on 131,072 H100, folded. Each line is the
 * best of the repetitions; times are of the processor and include everything from the
 * plan to the result. Then max-min sharing by itself: messages of 1024 pipelines of 16
 * stages, forward and backward, begin and end at random, a quarter of them at a time,
 * and rates are set after each. */
#include "benchmarks/machine.h"
#include "plan/cluster.h"
#include "plan/model.h"
#include "sim/all_ranks.h"
#include "sim/evaluate.h"
#include "sim/max_min.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct job_case {
    const char *name;
    int32_t dp;
    int32_t global_batch;
    bool folded;
    double sigma;
} job_case;

static galv_status make_plan(galv_plan **plan, galv_costmodel **model, galv_job *job,
                             const job_case *c, galv_arena *arena, galv_err *err)
{
    galv_uniform_plan parameters = {{8, 1, 1, c->dp, GALV_SP_MEGATRON, 1, 0},
                                    16,
                                    1,
                                    NULL,
                                    1,
                                    GALV_OVERLAP_INIT,
                                    NULL};
    galv_workload workload = GALV_WORKLOAD_INIT;
    memset(job, 0, sizeof *job);
    job->workload = workload;
    job->workload.global_batch_size = c->global_batch;
    job->workload.seq_length = 8192;
    galv_status status = galv_model_load(&job->model, "llama3.1-405b", err);
    if (status == GALV_OK) {
        status = galv_cluster_load(&job->cluster, "dgx-h100", c->dp * 16, err);
    }
    if (status == GALV_OK) {
        galv_job_fill_defaults(job);
        status = galv_plan_make_uniform(plan, job, &parameters, arena, err);
    }
    return status == GALV_OK ? galv_costmodel_new(model, job, NULL, err) : status;
}

static galv_status unfold(uint64_t *n_ops, double *time_s, const galv_costmodel *model,
                          const galv_plan *plan, const galv_differences *differences,
                          galv_arena *arena, galv_err *err)
{
    galv_program *program = NULL;
    galv_cost *costs = NULL;
    galv_meeting *meetings = NULL;
    int32_t per_stage = 0;
    galv_all_ranks_result result = {0};
    galv_all_ranks_options options = GALV_ALL_RANKS_OPTIONS_INIT;
    options.differences = differences;
    galv_status status =
        galv_program_compile(&program, galv_costmodel_job(model), plan, arena, err);
    if (status == GALV_OK) {
        status = galv_price_program(&costs, model, plan, program, arena, err);
    }
    if (status == GALV_OK) {
        status =
            galv_meetings_of_plan(&meetings, &per_stage, plan, program, arena, err);
    }
    if (status == GALV_OK) {
        status = galv_all_ranks_simulate(&result, program, costs, NULL, meetings,
                                         per_stage, &options, arena, err);
        *n_ops = (uint64_t)program->n_ops * (uint64_t)per_stage;
        *time_s = result.sim.iteration_time_s;
    }
    return status;
}

static galv_status fold(uint64_t *n_ops, double *time_s, const galv_costmodel *model,
                        const galv_plan *plan, galv_arena *arena, galv_err *err)
{
    galv_result result = {0};
    galv_evaluate_options options = GALV_EVALUATE_OPTIONS_INIT;
    galv_status status = galv_evaluate(&result, model, plan, &options, arena, err);
    *n_ops = result.events / 2;
    *time_s = result.iteration_time_s;
    return status;
}

static galv_status measure(const job_case *c, int repetitions, galv_err *err)
{
    double best_s = 0;
    double time_s = 0;
    uint64_t n_ops = 0;
    galv_arena *arena = galv_arena_new();
    for (int k = 0; k < repetitions && err->status == GALV_OK; k++) {
        galv_job job;
        galv_plan *plan = NULL;
        galv_costmodel *model = NULL;
        galv_differences differences = {0};
        differences.compute_sigma = c->sigma;
        galv_arena_reset(arena);
        double began_s = 0;
        if (make_plan(&plan, &model, &job, c, arena, err) == GALV_OK) {
            began_s = clock_s();
            if (c->folded) {
                fold(&n_ops, &time_s, model, plan, arena, err);
            } else {
                unfold(&n_ops, &time_s, model, plan, &differences, arena, err);
            }
        }
        double took_s = clock_s() - began_s;
        best_s = k == 0 || took_s < best_s ? took_s : best_s;
        galv_costmodel_free(model);
    }
    galv_arena_free(arena);
    printf("%-38s %10.3f %10.1f %9.3f %8.2f %9.0f\n", c->name, 1e-6 * (double)n_ops,
           1e3 * best_s, time_s, 1e-6 * (double)n_ops / best_s, peak_mib());
    return err->status;
}

/* ---- max-min sharing ---- */

enum { PIPELINES = 1024, STAGES = 16, NICS = PIPELINES * STAGES, LEAF = 256 };

static uint32_t draw(uint64_t *state, uint32_t n)
{
    *state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t)(*state >> 33) % n;
}

/* Flow i goes from a NIC to its neighbour in the pipeline: out, up, down, in. */
static uint32_t links_of(galv_link_use uses[4], uint32_t flow)
{
    uint32_t pair = flow / 2;
    uint32_t nic = pair / PIPELINES * PIPELINES + pair % PIPELINES;
    uint32_t next = nic + PIPELINES;
    uint32_t from = flow % 2 == 0 ? nic : next;
    uint32_t to = flow % 2 == 0 ? next : nic;
    uses[0] = (galv_link_use){2 * from, 1};
    uses[1] = (galv_link_use){2 * to + 1, 1};
    uses[2] = (galv_link_use){2 * NICS + 2 * (from / LEAF), 1};
    uses[3] = (galv_link_use){2 * NICS + 2 * (to / LEAF) + 1, 1};
    return 4;
}

static galv_status measure_sharing(int repetitions, galv_err *err)
{
    const uint32_t n_flows = 2 * PIPELINES * (STAGES - 1);
    const uint32_t n_links = 2 * NICS + 2 * (NICS / LEAF);
    const int n_changes = 1000000;
    double best_s = 0;
    galv_arena *arena = galv_arena_new();
    for (int k = 0; k < repetitions && err->status == GALV_OK; k++) {
        galv_arena_reset(arena);
        galv_max_min *sharing = NULL;
        double *capacities = GALV_NEW_ARRAY(arena, double, n_links);
        uint32_t *most_uses = GALV_NEW_ARRAY(arena, uint32_t, n_flows);
        uint8_t *runs = GALV_NEW_ARRAY(arena, uint8_t, n_flows);
        for (uint32_t i = 0; i < n_links; i++) {
            capacities[i] = i < 2 * NICS ? 1 : LEAF;
        }
        for (uint32_t i = 0; i < n_flows; i++) {
            most_uses[i] = 4;
        }
        if (galv_max_min_new(&sharing, capacities, n_links, most_uses, n_flows, arena,
                             err) != GALV_OK) {
            break;
        }
        uint64_t state = 1;
        double began_s = clock_s();
        for (int done = 0; done < n_changes;) {
            uint32_t flow = draw(&state, n_flows);
            const uint32_t *changed = NULL;
            galv_link_use uses[4];
            if (runs[flow] != 0) {
                galv_max_min_end(sharing, flow);
            } else if (draw(&state, 3) == 0) {
                galv_max_min_begin(sharing, flow, uses, links_of(uses, flow), 1, 1, 1);
            } else {
                continue;
            }
            runs[flow] ^= 1;
            galv_max_min_settle(sharing, &changed);
            done++;
        }
        double took_s = clock_s() - began_s;
        best_s = k == 0 || took_s < best_s ? took_s : best_s;
    }
    galv_arena_free(arena);
    printf("\nmax-min: %u flows on %u links, %.2f M flow changes/s\n", n_flows, n_links,
           1e-6 * n_changes / best_s);
    return err->status;
}

int main(int argc, char **argv)
{
    static const job_case cases[] = {
        {"131,072 GPUs, folded", 1024, 16384, true, 0},
        {"16,384 GPUs, every rank, alike", 128, 2048, false, 0},
        {"16,384 GPUs, every rank, 5 % jitter", 128, 2048, false, 0.05},
    };
    int repetitions = argc > 1 ? atoi(argv[1]) : 3;
    size_t only = argc > 2 ? (size_t)atoi(argv[2]) : SIZE_MAX; /* for profiling */
    galv_err err = GALV_ERR_INIT;
    print_machine();
    printf("%-38s %10s %10s %9s %8s %9s\n", "Llama 3.1 405B tp8 pp16", "Mops", "ms",
           "step s", "Mops/s", "peak MiB");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (only != SIZE_MAX && only != i) {
            continue;
        }
        if (measure(&cases[i], repetitions, &err) != GALV_OK) {
            fprintf(stderr, "cluster_bench: %s\n", err.message);
            return 1;
        }
    }
    if ((only == SIZE_MAX || only == sizeof cases / sizeof cases[0]) &&
        measure_sharing(repetitions, &err) != GALV_OK) {
        fprintf(stderr, "cluster_bench: %s\n", err.message);
        return 1;
    }
    return 0;
}

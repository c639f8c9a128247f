#include "tests/sim/plans.h"

#include "plan/cluster.h"
#include "plan/model.h"

#include <criterion/criterion.h>

typedef struct plan_case {
    const char *name, *model;
    int32_t n_nodes;
    galv_strategy strategy; /* tp cp ep dp sp zero recompute */
    int32_t pp, vpp;
    int32_t global_batch;
    galv_overlap overlap; /* grad_reduce param_gather tp_comm p2p */
    const char *schedule; /* NULL = the usual one */
} plan_case;

#define SP GALV_SP_MEGATRON

/* clang-format off */
static const plan_case plan_cases[] = {
    {"data parallel", "llama3-8b", 1, {1, 1, 1, 8, GALV_SP_NONE, 0, 0}, 1, 1, 32,
     {true, true, false, true, false}, NULL},
    {"zero 3", "llama3-8b", 2, {1, 1, 1, 16, GALV_SP_NONE, 3, 0}, 1, 1, 32,
     {true, true, false, true, false}, NULL},
    {"1f1b", "llama3-70b", 8, {8, 1, 1, 2, SP, 1, 0}, 4, 1, 32,
     {true, true, false, true, false}, NULL},
    {"interleaved, full recomputation", "llama3-70b", 8,
     {8, 1, 1, 2, SP, 1, GALV_RECOMPUTE_FULL}, 4, 5, 32,
     {true, true, true, true, false}, NULL},
    {"no overlap", "llama3-70b", 8, {8, 1, 1, 2, GALV_SP_NONE, 1, 0}, 4, 1, 32,
     {false, false, false, false, false}, NULL},
    {"cp", "llama3-70b", 8, {4, 2, 1, 2, SP, 2, 0}, 4, 1, 32,
     {true, true, false, true, false}, NULL},
    {"experts", "mixtral-8x7b", 8, {1, 1, 8, 16, GALV_SP_NONE, 1, 0}, 4, 1, 64,
     {true, true, false, true, false}, NULL},
    {"zb-h1", "llama3-70b", 8, {8, 1, 1, 2, SP, 1, 0}, 4, 1, 32,
     {true, true, false, true, false}, "zb-h1"},
    {"dualpipe", "llama3-70b", 8, {8, 1, 1, 2, SP, 1, 0}, 4, 1, 32,
     {true, true, false, true, false}, "dualpipe"},
    {"dualpipe, zero 3, no overlap", "llama3-8b", 1, {1, 1, 1, 2, GALV_SP_NONE, 3, 0},
     4, 1, 32, {false, false, false, false, false}, "dualpipe"},
    {"dualpipe, experts", "mixtral-8x7b", 8,
     {1, 1, 8, 16, GALV_SP_NONE, 2, GALV_RECOMPUTE_FULL}, 4, 1, 256,
     {true, true, false, true, false}, "dualpipe"},
    {"dualpipev, experts", "mixtral-8x7b", 8, {1, 1, 8, 16, GALV_SP_NONE, 1, 0}, 4, 2,
     176, {true, true, false, true, false}, "dualpipev"},
};
/* clang-format on */

const size_t n_plan_cases = sizeof plan_cases / sizeof plan_cases[0];

plan_stand plan_set_up(size_t i)
{
    const plan_case *c = &plan_cases[i];
    const galv_workload workload = GALV_WORKLOAD_INIT;
    galv_err err = GALV_ERR_INIT;
    plan_stand s = {0};
    s.name = c->name;
    s.arena = galv_arena_new();
    s.job = GALV_NEW(s.arena, galv_job);
    s.job->workload = workload;
    s.job->workload.global_batch_size = c->global_batch;
    cr_assert_eq(galv_model_load(&s.job->model, c->model, &err), GALV_OK, "%s",
                 err.message);
    cr_assert_eq(galv_cluster_load(&s.job->cluster, "dgx-h100", c->n_nodes, &err),
                 GALV_OK, "%s", err.message);
    galv_job_fill_defaults(s.job);
    galv_uniform_plan parameters = {c->strategy, c->pp,      c->vpp, c->schedule,
                                    1,           c->overlap, NULL};
    cr_assert_eq(galv_plan_make_uniform(&s.plan, s.job, &parameters, s.arena, &err),
                 GALV_OK, "%s: %s", c->name, err.message);
    cr_assert_eq(galv_costmodel_new(&s.model, s.job, NULL, &err), GALV_OK, "%s: %s",
                 c->name, err.message);
    return s;
}

void plan_tear_down(plan_stand *stand)
{
    galv_costmodel_free(stand->model);
    galv_arena_free(stand->arena);
}

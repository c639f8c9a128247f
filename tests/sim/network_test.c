/* The network of a cluster: who shares what with whom, in whole simulations of every
 * rank. Prices come from the cost model; what sharing makes of them is known in closed
 * form, with t = latency + transfer / share. */
#include "plan/cluster.h"
#include "plan/model.h"
#include "sim/all_ranks.h"
#include "sim/evaluate.h"
#include "tests/sim/drafts.h"
#include "tests/sim/plans.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

GALV_TEST_SUITE(sim_network);

#define MESSAGE_BYTES 1e9
#define COMPUTE_S     1.0

typedef struct stand {
    draft *draft;
    galv_arena *arena;
    galv_job *job;
    galv_plan *plan;
    galv_costmodel *model;
    galv_program *program;
    galv_meeting meetings[2];
    double device_rate; /* bytes per second of the network, per device */
    double hop_s;
} stand;

/* One stage of tp * dp ranks: computation, then an all-reduce over each dp group. */
static stand set_up(int32_t n_nodes, int32_t per_node, int32_t tp, int32_t dp,
                    const char *const *settings)
{
    stand s = {0};
    galv_err err = GALV_ERR_INIT;
    const galv_workload workload = GALV_WORKLOAD_INIT;
    s.draft = draft_make(1);
    s.arena = s.draft->arena;
    s.job = GALV_NEW(s.arena, galv_job);
    s.job->workload = workload;
    s.job->workload.global_batch_size = 64;
    cr_assert_eq(galv_model_load(&s.job->model, "llama3-8b", &err), GALV_OK);
    cr_assert_eq(galv_cluster_load(&s.job->cluster, "dgx-h100", n_nodes, &err),
                 GALV_OK);
    char per[32];
    snprintf(per, sizeof per, "devices_per_node=%d", (int)per_node);
    cr_assert_eq(galv_cluster_set(&s.job->cluster, per, &err), GALV_OK);
    for (; *settings != NULL; settings++) {
        cr_assert_eq(galv_cluster_set(&s.job->cluster, *settings, &err), GALV_OK, "%s",
                     err.message);
    }
    galv_uniform_plan parameters = {
        {tp, 1, 1, dp, GALV_SP_NONE, 0, 0}, 1, 1, NULL, 1, GALV_OVERLAP_INIT, NULL};
    galv_job_fill_defaults(s.job);
    cr_assert_eq(galv_plan_make_uniform(&s.plan, s.job, &parameters, s.arena, &err),
                 GALV_OK, "%s", err.message);
    cr_assert_eq(galv_costmodel_new(&s.model, s.job, NULL, &err), GALV_OK);
    uint32_t compute =
        draft_add(s.draft, 0, GALV_OP_BACKWARD, GALV_STREAM_COMPUTE, COMPUTE_S);
    uint32_t reduce = draft_add(s.draft, 0, GALV_OP_ALL_REDUCE, GALV_STREAM_DP, 1);
    galv_builder_add_wait(&s.draft->builder, reduce, compute);
    galv_group group =
        galv_placement_group(s.plan, &s.job->cluster, GALV_GROUP_DP, 0, 0, 0);
    galv_costmodel_collective(&s.draft->costs[1], s.model, GALV_OP_ALL_REDUCE,
                              group.n_ranks, group.ranks_per_node,
                              group.sharers_per_node, MESSAGE_BYTES);
    s.program = draft_program(s.draft);
    s.meetings[0] = (galv_meeting){1, 1};
    s.meetings[1] = (galv_meeting){tp, dp};
    const galv_pool *pool = &s.job->cluster.pools[0];
    s.hop_s = 8e-6 + 4.5 * pool->inter_latency_s;
    galv_cost message; /* hop + bytes / rate */
    galv_costmodel_collective(&message, s.model, GALV_OP_SEND, 2, 1, per_node,
                              MESSAGE_BYTES);
    s.device_rate = MESSAGE_BYTES / (message.work_s - s.hop_s);
    return s;
}

static void tear_down(stand *s)
{
    galv_costmodel_free(s->model);
    draft_drop(s->draft);
}

/* When the ranks of tp rank 0 and 1 are through with their all-reduce, and how long it
 * took them after their computation. */
static double reduction_s(const stand *s, const galv_differences *differences,
                          int32_t tp_rank)
{
    galv_err err = GALV_ERR_INIT;
    galv_network *network = NULL;
    galv_all_ranks_result all = {0};
    galv_all_ranks_options options = GALV_ALL_RANKS_OPTIONS_INIT;
    int32_t per_stage = (int32_t)galv_plan_n_devices(s->plan);
    cr_assert_eq(galv_network_new(&network, s->model, s->plan, s->program,
                                  s->draft->costs, s->meetings, per_stage, differences,
                                  s->arena, &err),
                 GALV_OK, "%s", err.message);
    options.network = network;
    options.differences = differences;
    cr_assert_eq(galv_all_ranks_simulate(&all, s->program, s->draft->costs, NULL,
                                         s->meetings, per_stage, &options, s->arena,
                                         &err),
                 GALV_OK, "%s", err.message);
    return all.sim.ranks[tp_rank].comm_s[GALV_STREAM_DP];
}

static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-9 * fmax(fabs(a), fabs(b));
}

/* Ring: 2 (n - 1) / n of the bytes over the NIC, 2 (n - 1) hops. */
Test(sim_network, a_ring_alone_takes_its_bytes_over_the_bandwidth_and_its_latencies)
{
    static const char *const none[] = {NULL};
    for (int32_t n = 2; n <= 8; n *= 2) {
        stand s = set_up(n, 1, 1, n, none);
        double expected =
            2.0 * (n - 1) / n * MESSAGE_BYTES / s.device_rate + 2 * (n - 1) * s.hop_s;
        double took = reduction_s(&s, NULL, 0);
        cr_expect(near(took, expected), "%d nodes: %g s, not %g", (int)n, took,
                  expected);
        tear_down(&s);
    }
}

/* Two groups, one in each device of two nodes. */
Test(sim_network, two_equal_collectives_on_one_nic_take_twice_as_long_on_two_not)
{
    for (int nics = 1; nics <= 2; nics++) {
        char setting[32];
        snprintf(setting, sizeof setting, "inter.nics=%d", nics);
        const char *const settings[] = {setting, NULL};
        stand s = set_up(2, 2, 2, 2, settings);
        galv_err err = GALV_ERR_INIT;
        galv_differences one_by_one = {0}; /* tp rank 1 comes when 0 has gone */
        galv_differences_add_straggler(&one_by_one, "1=9", &err);
        cr_assert_eq(galv_differences_add_straggler(&one_by_one, "3=9", &err), GALV_OK);
        double latency_s = 2 * s.hop_s;
        double alone = reduction_s(&s, &one_by_one, 0) - latency_s;
        double later = reduction_s(&s, &one_by_one, 1) - latency_s;
        double both = reduction_s(&s, NULL, 0) - latency_s;
        cr_expect(near(later, alone), "%d NICs", nics);
        cr_expect(near(both, (nics == 1 ? 2 : 1) * alone),
                  "%d NICs: %g together, %g alone", nics, both, alone);
        cr_expect(near(alone, MESSAGE_BYTES / s.device_rate / (nics == 1 ? 2 : 1)));
        tear_down(&s);
    }
}

Test(sim_network, a_slow_link_slows_those_who_use_it)
{
    static const char *const rails[] = {"inter.nics=2", NULL};
    stand s = set_up(2, 2, 2, 2, rails);
    galv_err err = GALV_ERR_INIT;
    galv_differences slow = {0};
    cr_assert_eq(galv_differences_add_slow_link(&slow, "1=0.25", &err), GALV_OK);
    double latency_s = 2 * s.hop_s;
    double usual = reduction_s(&s, NULL, 1) - latency_s;
    cr_expect(near(reduction_s(&s, &slow, 1) - latency_s, 4 * usual));
    galv_network *network = NULL;
    slow.slow_links[0].node = 2;
    cr_expect_eq(galv_network_new(&network, s.model, s.plan, s.program, s.draft->costs,
                                  s.meetings, 4, &slow, s.arena, &err),
                 GALV_USAGE);
    tear_down(&s);
}

/* Four nodes under two leaves: a ring leaves each leaf once, so an uplink for two NICs
 * may be oversubscribed twice before it is felt; the spine carries both crossings. */
Test(sim_network, rings_feel_oversubscription_where_they_cross)
{
    static const struct {
        const char *settings[3];
        double slowed;
    } cases[] = {
        {{"leaf.nodes=2", "leaf.oversubscription=1", NULL}, 1},
        {{"leaf.nodes=2", "leaf.oversubscription=2", NULL}, 1},
        {{"leaf.nodes=2", "leaf.oversubscription=4", NULL}, 2},
        {{"leaf.nodes=2", "spine.oversubscription=2", NULL}, 1},
        {{"leaf.nodes=2", "spine.oversubscription=6", NULL}, 3},
        {{"leaf.nodes=4", "leaf.oversubscription=64", NULL}, 1},
        {{"leaf.nodes=1", "leaf.oversubscription=3", NULL}, 3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        stand s = set_up(4, 1, 1, 4, cases[i].settings);
        double latency_s = 6 * s.hop_s;
        double transfer_s = 1.5 * MESSAGE_BYTES / s.device_rate;
        double took = reduction_s(&s, NULL, 0);
        cr_expect(near(took, latency_s + cases[i].slowed * transfer_s),
                  "case %zu: %g, not %g", i, took,
                  latency_s + cases[i].slowed * transfer_s);
        tear_down(&s);
    }
}

/* Where every group of a kind works at once, as prices take it, and no link is asked
 * for more than it has, sharing the network changes nothing. Where a message runs
 * beside a collective it changes little: the folded simulation slows their latencies,
 * too. */
Test(sim_network, without_a_full_link_the_answer_is_the_folded_one)
{
    size_t n_free = 0;
    for (size_t i = 0; i < n_plan_cases; i++) {
        plan_stand p = plan_set_up(i);
        galv_err err = GALV_ERR_INIT;
        galv_program *program = NULL;
        galv_cost *costs = NULL;
        galv_meeting *meetings = NULL;
        galv_network *network = NULL;
        int32_t per_stage = 0;
        galv_sim_result folded;
        galv_all_ranks_result all;
        galv_sim_options options = GALV_SIM_OPTIONS_INIT;
        galv_all_ranks_options shared = GALV_ALL_RANKS_OPTIONS_INIT;
        galv_program_compile(&program, p.job, p.plan, p.arena, &err);
        galv_price_program(&costs, p.model, p.plan, program, p.arena, &err);
        galv_meetings_of_plan(&meetings, &per_stage, p.plan, program, p.arena, &err);
        galv_network_new(&network, p.model, p.plan, program, costs, meetings, per_stage,
                         NULL, p.arena, &err);
        shared.network = network;
        cr_assert_eq(
            galv_simulate(&folded, program, costs, NULL, &options, p.arena, &err),
            GALV_OK, "%s", err.message);
        cr_assert_eq(galv_all_ranks_simulate(&all, program, costs, NULL, meetings,
                                             per_stage, &shared, p.arena, &err),
                     GALV_OK, "%s", err.message);
        double tolerance = all.n_held_up > 0 ? 5e-4 : 1e-12;
        n_free += all.n_held_up == 0 && all.n_flow_changes > 0;
        cr_expect_float_eq(all.sim.iteration_time_s / folded.iteration_time_s, 1,
                           tolerance, "%s: %g shared, %g folded", p.name,
                           all.sim.iteration_time_s, folded.iteration_time_s);
        plan_tear_down(&p);
    }
    cr_expect_geq(n_free, 3);
}

/* What goes over each link in an iteration, from the routes and what was priced. */
static void add_bytes(double *bytes, const galv_network *network,
                      const galv_program *program, const galv_cost *costs)
{
    for (uint32_t op = 0; op < program->n_ops; op++) {
        uint32_t i = program->ops[op].class_index;
        const galv_network_class *class = &network->classes[i];
        if (class->route < 0) {
            continue;
        }
        const galv_route *route = &network->routes[class->route];
        double transfer_s = costs[i].work_s - costs[i].latency_s;
        for (uint32_t k = 0; k < route->first_use[route->n_groups]; k++) {
            bytes[route->uses[k].link] +=
                route->uses[k].use * class->scale * transfer_s;
        }
    }
}

/* Whatever is in the way, no link carries more than it can in the time that the
 * iteration takes, all its bytes go over it, and the same comes out again. */
Test(sim_network, no_link_carries_more_than_it_can_and_nothing_is_lost)
{
    static const char *const narrow[] = {"leaf.nodes=2", "leaf.oversubscription=16",
                                         "spine.oversubscription=2"};
    double fullest = 0;
    for (size_t i = 0; i < n_plan_cases; i++) {
        plan_stand p = plan_set_up(i);
        galv_err err = GALV_ERR_INIT;
        galv_program *program = NULL;
        galv_cost *costs = NULL;
        galv_meeting *meetings = NULL;
        galv_network *network = NULL;
        galv_costmodel *model = NULL;
        int32_t per_stage = 0;
        galv_all_ranks_result all[2];
        galv_all_ranks_options options = GALV_ALL_RANKS_OPTIONS_INIT;
        galv_differences differences = {0};
        galv_differences_add_straggler(&differences, "3=1.3", &err);
        galv_differences_add_slow_link(&differences, "0=0.7", &err);
        for (size_t k = 0; k < sizeof narrow / sizeof narrow[0]; k++) {
            cr_assert_eq(galv_cluster_set(&p.job->cluster, narrow[k], &err), GALV_OK);
        }
        cr_assert_eq(galv_costmodel_new(&model, p.job, NULL, &err), GALV_OK);
        galv_program_compile(&program, p.job, p.plan, p.arena, &err);
        galv_price_program(&costs, model, p.plan, program, p.arena, &err);
        galv_meetings_of_plan(&meetings, &per_stage, p.plan, program, p.arena, &err);
        galv_network_new(&network, model, p.plan, program, costs, meetings, per_stage,
                         &differences, p.arena, &err);
        options.network = network;
        options.differences = &differences;
        for (int k = 0; k < 2; k++) {
            cr_assert_eq(galv_all_ranks_simulate(&all[k], program, costs, NULL,
                                                 meetings, per_stage, &options, p.arena,
                                                 &err),
                         GALV_OK, "%s", err.message);
        }
        cr_expect_eq(memcmp(&all[0].sim.iteration_time_s, &all[1].sim.iteration_time_s,
                            sizeof(double)),
                     0);
        double *bytes = GALV_NEW_ARRAY(p.arena, double, network->n_links);
        add_bytes(bytes, network, program, costs);
        for (uint32_t l = 0; l < network->n_links; l++) {
            double full =
                bytes[l] / network->capacities[l] / all[0].sim.iteration_time_s;
            cr_expect_leq(full, 1 + 1e-9, "%s: link %u", p.name, (unsigned)l);
            fullest = fmax(fullest, full);
        }
        galv_costmodel_free(model);
        plan_tear_down(&p);
    }
    cr_expect_gt(fullest, 0.5, "at least one plan is held up: %g", fullest);
}

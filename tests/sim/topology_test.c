/* Collectives and messages on every kind of network: what is simulated on the links is
 * what was priced, and what was priced is what the links give. One communication of a
 * whole stage at a time, all its groups at once. */
#include "plan/cluster.h"
#include "plan/model.h"
#include "sim/all_ranks.h"
#include "sim/evaluate.h"
#include "tests/sim/drafts.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

GALV_TEST_SUITE(sim_topology);

typedef struct shape {
    int32_t tp, dp, pp;
    int kind, stream; /* of the communication */
} shape;

typedef struct stand {
    draft *draft;
    galv_job *job;
    galv_plan *plan;
    galv_costmodel *model;
    galv_program *program;
    galv_meeting *meetings;
    int32_t per_stage;
} stand;

/* "base": a cluster of the catalog or a JSON document. */
static galv_cluster read_cluster(const char *text)
{
    galv_cluster cluster = {0};
    galv_err err = GALV_ERR_INIT;
    galv_json *document = NULL;
    cr_assert_eq(galv_json_read_text(&document, "test", text, strlen(text), &err),
                 GALV_OK, "%s", err.message);
    cr_assert_eq(galv_cluster_from_json(&cluster, galv_json_root(document), &err),
                 GALV_OK, "%s: %s", text, err.message);
    galv_json_free(document);
    return cluster;
}

/* Stage 0 alone communicates: a layer's or its parameters' collective, or a message to
 * stage 1. */
static stand set_up(const char *cluster, shape c)
{
    stand s = {0};
    galv_err err = GALV_ERR_INIT;
    const galv_workload workload = GALV_WORKLOAD_INIT;
    s.draft = draft_make(c.pp);
    galv_arena *arena = s.draft->arena;
    s.job = GALV_NEW(arena, galv_job);
    s.job->workload = workload;
    s.job->workload.global_batch_size = 4 * c.dp;
    cr_assert_eq(galv_model_load(&s.job->model, "llama3-8b", &err), GALV_OK);
    s.job->cluster = read_cluster(cluster);
    bool ulysses = c.kind == GALV_OP_ALL_TO_ALL;
    galv_uniform_plan parameters = {
        {c.tp, 1, 1, c.dp, ulysses ? GALV_SP_ULYSSES : GALV_SP_NONE, 0, 0},
        c.pp,
        1,
        NULL,
        1,
        GALV_OVERLAP_INIT,
        NULL};
    galv_job_fill_defaults(s.job);
    cr_assert_eq(galv_plan_make_uniform(&s.plan, s.job, &parameters, arena, &err),
                 GALV_OK, "%s: %s", cluster, err.message);
    cr_assert_eq(galv_costmodel_new(&s.model, s.job, NULL, &err), GALV_OK);
    draft_add(s.draft, 0, c.kind, c.stream, 1);
    s.program = draft_program(s.draft);
    galv_operation *op = &s.program->classes[0];
    op->first_layer = 2;
    op->n_layers = 1;
    op->peer_stage = c.kind == GALV_OP_SEND ? 1 : 0;
    op->pass = GALV_OP_FORWARD;
    galv_costmodel_operation(&s.draft->costs[0], s.model, s.plan, op);
    cr_assert_eq(galv_meetings_of_plan(&s.meetings, &s.per_stage, s.plan, s.program,
                                       arena, &err),
                 GALV_OK, "%s", err.message);
    return s;
}

static void tear_down(stand *s)
{
    galv_costmodel_free(s->model);
    draft_drop(s->draft);
}

static double run(const stand *s, const galv_differences *differences,
                  double capacity_factor, uint64_t *n_flows)
{
    galv_err err = GALV_ERR_INIT;
    galv_network *network = NULL;
    galv_all_ranks_result all = {0};
    galv_all_ranks_options options = GALV_ALL_RANKS_OPTIONS_INIT;
    cr_assert_eq(galv_network_new(&network, s->model, s->plan, s->program,
                                  s->draft->costs, s->meetings, s->per_stage,
                                  differences, s->draft->arena, &err),
                 GALV_OK, "%s", err.message);
    for (uint32_t i = 0; i < network->n_links; i++) {
        network->capacities[i] *= capacity_factor;
    }
    options.network = network;
    cr_assert_eq(galv_all_ranks_simulate(&all, s->program, s->draft->costs, NULL,
                                         s->meetings, s->per_stage, &options,
                                         s->draft->arena, &err),
                 GALV_OK, "%s", err.message);
    if (n_flows != NULL) {
        *n_flows = all.n_flow_changes;
    }
    return all.sim.iteration_time_s;
}

static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-9 * fmax(fabs(a), fabs(b));
}

#define RAIL "{\"base\": \"dgx-h100\", \"n_nodes\": 8}"
#define TREE                                                                           \
    "{\"base\": \"dgx-h100\", \"n_nodes\": 8, \"rail_optimized\": false, \"levels\": " \
    "[{\"name\": \"leaf\", \"n_nodes\": 2}, {\"name\": \"pod\", \"n_nodes\": 4}]}"
#define ISLANDS "{\"base\": \"gb200-nvl72\", \"n_nodes\": 36}"
#define CUBE    "{\"base\": \"tpu-v4-pod\", \"torus\": [4, 4, 4]}"
#define SQUARE  "{\"base\": \"tpu-v5e-pod\", \"torus\": [8, 8]}"
#define BOXES                                                      \
    "{\"base\": \"l40s\", \"n_nodes\": 4, \"nics_per_node\": 1, "  \
    "\"inter_bytes_per_s\": \"2.5Gb/s\", \"devices_per_bus\": 4, " \
    "\"bus_bytes_per_s\": "                                        \
    "\"20GB/s\"}"
#define SLOW_BUSES                                                        \
    "{\"base\": \"rtx-pro-6000\", \"n_nodes\": 4, \"nics_per_node\": 1, " \
    "\"inter_bytes_per_s\": \"100Gb/s\", \"devices_per_bus\": 4, "        \
    "\"bus_bytes_per_s\": \"3GB/s\"}"

#define REDUCE  GALV_OP_ALL_REDUCE, GALV_STREAM_DP
#define GATHER  GALV_OP_ALL_GATHER, GALV_STREAM_TP
#define SPREAD  GALV_OP_ALL_TO_ALL, GALV_STREAM_TP
#define MESSAGE GALV_OP_SEND, GALV_STREAM_PP_SEND

/* Prices know who shares the links, so together all groups take what each was priced;
 * and they fill their links, so with half of those the transfer takes twice as long. */
Test(sim_topology, groups_take_their_price_and_twice_the_transfer_on_half_the_links)
{
    static const struct {
        const char *cluster;
        shape shape;
    } cases[] = {
        {RAIL, {1, 64, 1, REDUCE}},      {RAIL, {8, 8, 1, REDUCE}},
        {RAIL, {4, 16, 1, REDUCE}},      {RAIL, {32, 2, 1, SPREAD}},
        {RAIL, {8, 2, 4, MESSAGE}},      {TREE, {1, 64, 1, REDUCE}},
        {TREE, {8, 8, 1, REDUCE}},       {TREE, {32, 2, 1, SPREAD}},
        {TREE, {8, 2, 4, MESSAGE}},      {ISLANDS, {8, 18, 1, REDUCE}},
        {ISLANDS, {8, 9, 2, MESSAGE}},   {CUBE, {1, 64, 1, REDUCE}},
        {CUBE, {4, 16, 1, REDUCE}},      {CUBE, {16, 4, 1, REDUCE}},
        {CUBE, {32, 2, 1, REDUCE}},      {CUBE, {2, 32, 1, REDUCE}},
        {CUBE, {8, 8, 1, REDUCE}},       {CUBE, {4, 16, 1, GATHER}},
        {CUBE, {8, 8, 1, GATHER}},       {CUBE, {4, 16, 1, SPREAD}},
        {CUBE, {16, 4, 1, SPREAD}},      {CUBE, {32, 2, 1, SPREAD}},
        {CUBE, {2, 32, 1, SPREAD}},      {CUBE, {4, 4, 4, MESSAGE}},
        {CUBE, {4, 1, 16, MESSAGE}},     {SQUARE, {8, 8, 1, REDUCE}},
        {SQUARE, {4, 16, 1, REDUCE}},    {SQUARE, {8, 8, 1, SPREAD}},
        {SQUARE, {4, 16, 1, SPREAD}},    {SQUARE, {1, 64, 1, REDUCE}},
        {SQUARE, {8, 2, 4, MESSAGE}},    {BOXES, {1, 32, 1, REDUCE}},
        {BOXES, {4, 8, 1, REDUCE}},      {BOXES, {16, 2, 1, SPREAD}},
        {BOXES, {4, 2, 4, MESSAGE}},     {SLOW_BUSES, {8, 4, 1, GATHER}},
        {SLOW_BUSES, {8, 4, 1, SPREAD}}, {SLOW_BUSES, {1, 8, 4, REDUCE}},
        {SLOW_BUSES, {4, 2, 4, REDUCE}}, {SLOW_BUSES, {1, 32, 1, REDUCE}},
        {SLOW_BUSES, {8, 4, 1, REDUCE}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const shape *c = &cases[i].shape;
        stand s = set_up(cases[i].cluster, *c);
        const galv_cost *cost = &s.draft->costs[0];
        uint64_t n_flows = 0;
        double usual = run(&s, NULL, 1, &n_flows);
        double halved = run(&s, NULL, 0.5, NULL);
        double transfer_s = cost->work_s - cost->latency_s;
        cr_expect_gt(n_flows, 0, "case %zu uses no link", i);
        cr_expect(near(usual, cost->work_s), "case %zu: %g, priced %g", i, usual,
                  cost->work_s);
        cr_expect(near(halved, cost->latency_s + 2 * transfer_s),
                  "case %zu: %g on half the links, %g of %g is latency", i, halved,
                  cost->latency_s, cost->work_s);
        tear_down(&s);
    }
}

/* Of four nodes two are under each leaf. A ring goes up from every leaf once, so 16
 * NICs' uplinks, oversubscribed eight times, carry a quarter of it. Under leaves by
 * rail all four are together, and nothing goes up. */
Test(sim_topology, leaves_by_rail_keep_rings_down_where_plain_ones_do_not)
{
#define LEVELS(rail, nodes, over)                                        \
    "{\"base\": \"dgx-h100\", \"n_nodes\": 4, \"rail_optimized\": " rail \
    ", \"levels\": [{\"name\": \"leaf\", \"n_nodes\": " nodes            \
    ", \"oversubscription\": " over "}]}"
    static const struct {
        const char *cluster;
        shape shape;
        double slowed;
    } cases[] = {
        {LEVELS("false", "2", "8"), {1, 32, 1, REDUCE}, 4},
        {LEVELS("false", "2", "8"), {8, 4, 1, REDUCE}, 4},
        {LEVELS("true", "4", "8"), {1, 32, 1, REDUCE}, 1},
        {LEVELS("true", "4", "8"), {8, 4, 1, REDUCE}, 1},
        {LEVELS("true", "2", "8"), {8, 4, 1, REDUCE}, 4},
        /* an all-to-all goes to the receiver's rail before it leaves its node */
        {LEVELS("true", "4", "8"), {32, 1, 1, SPREAD}, 1},
        /* two of its three other nodes are under the other leaf: 2/3 of the NICs' */
        {LEVELS("false", "2", "3"), {32, 1, 1, SPREAD}, 2},
        {LEVELS("true", "4", "8"), {8, 1, 4, MESSAGE}, 1},
        {LEVELS("true", "4", "8"), {8, 2, 2, MESSAGE}, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        stand s = set_up(cases[i].cluster, cases[i].shape);
        const galv_cost *cost = &s.draft->costs[0];
        double transfer_s = cost->work_s - cost->latency_s;
        double took_s = run(&s, NULL, 1, NULL) - cost->latency_s;
        double allowed = cases[i].shape.kind == GALV_OP_ALL_TO_ALL ? 0.93 : 1;
        cr_expect(
            near(took_s, fmax(transfer_s, allowed * cases[i].slowed * transfer_s)) ||
                near(took_s, cases[i].slowed * transfer_s),
            "case %zu: %g times as long, not %g", i, took_s / transfer_s,
            cases[i].slowed);
        tear_down(&s);
    }
}

/* Stages of twelve devices on nodes of eight: place p sends to the NIC four further on,
 * over the uplinks of its rail, a quarter of three NICs. Two of the twelve are on some
 * rails. */
Test(sim_topology, messages_from_rail_to_rail_go_over_the_uplinks)
{
    static const char *const rails[] = {"true", "false"};
    for (int i = 0; i < 2; i++) {
        char cluster[256];
        snprintf(cluster, sizeof cluster,
                 "{\"base\": \"dgx-h100\", \"n_nodes\": 3, \"rail_optimized\": %s, "
                 "\"levels\": [{\"n_nodes\": 3, \"oversubscription\": 4}]}",
                 rails[i]);
        stand s = set_up(cluster, (shape){1, 12, 2, MESSAGE});
        const galv_cost *cost = &s.draft->costs[0];
        double transfer_s = cost->work_s - cost->latency_s;
        double took_s = run(&s, NULL, 1, NULL) - cost->latency_s;
        cr_expect(near(took_s, (i == 0 ? 8.0 / 3 : 1) * transfer_s), "%s: %g", rails[i],
                  took_s / transfer_s);
        tear_down(&s);
    }
}

/* Closed forms on a torus of wires of W bytes/s: a ring around has two, a plane four;
 * 2 (n - 1) / n of the bytes, twice as many hops as the sides are long. */
Test(sim_topology, rings_on_a_torus_take_their_bytes_over_their_wires)
{
    static const struct {
        int32_t tp, dp;
        double wires;
        int32_t hops;
    } cases[] = {{16, 4, 2, 3}, {4, 16, 4, 6}, {1, 64, 6, 9}, {2, 32, 5, 8}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        stand s = set_up(CUBE, (shape){cases[i].tp, cases[i].dp, 1, REDUCE});
        const galv_cost *cost = &s.draft->costs[0];
        const galv_pool *pool = &s.job->cluster.pools[0];
        double n = cases[i].dp;
        double wire = galv_costmodel_network_rate(s.model, 0) / 6;
        double expected =
            2 * (n - 1) / n * cost->message_bytes / (cases[i].wires * wire) +
            2 * cases[i].hops * pool->inter_latency_s;
        double took_s = run(&s, NULL, 1, NULL);
        cr_expect(near(took_s, expected), "dp %d: %g, not %g", (int)cases[i].dp, took_s,
                  expected);
        galv_differences slow = {0};
        galv_err err = GALV_ERR_INIT;
        galv_differences_add_slow_link(&slow, "5=0.5", &err);
        double slowed_s = run(&s, &slow, 1, NULL);
        cr_expect(near(slowed_s - cost->latency_s, 2 * (took_s - cost->latency_s)),
                  "with a slow node: %g", slowed_s);
        tear_down(&s);
    }
}

/* Four groups cross from bus to bus together; one by itself has the way for itself. */
Test(sim_topology, groups_on_a_bus_share_its_way_out)
{
#define BUSES(width) \
    "{\"base\": \"l40s\", \"devices_per_bus\": 4, \"bus_bytes_per_s\": " width "}"
    stand s = set_up(BUSES("4e9"), (shape){4, 2, 1, REDUCE});
    const galv_cost *cost = &s.draft->costs[0];
    double transfer_s = cost->work_s - cost->latency_s;
    cr_expect(near(transfer_s, cost->message_bytes / (4e9 / 4)), "%g", transfer_s);
    cr_expect(near(run(&s, NULL, 1, NULL), cost->work_s));
    tear_down(&s);
    /* pairs within a bus need no way out */
    stand pairs = set_up(BUSES("1e9"), (shape){4, 2, 1, GATHER});
    stand wide = set_up(BUSES("1e12"), (shape){4, 2, 1, GATHER});
    cr_expect(near(pairs.draft->costs[0].work_s, wide.draft->costs[0].work_s));
    tear_down(&pairs);
    tear_down(&wide);
}

/* Each stage computes at the pace of its own device; what goes from pool to pool at
 * that of the slower network. */
Test(sim_topology, stages_of_a_mixed_pool_are_priced_by_their_own_devices)
{
    static const char mixed[] =
        "{\"pools\": [{\"base\": \"dgx-h100\", \"n_nodes\": 2}, "
        "{\"base\": \"dgx-a100\", \"n_nodes\": 2}]}";
    stand both = set_up(mixed, (shape){8, 2, 2, MESSAGE});
    stand alone[2] = {
        set_up("{\"base\": \"dgx-h100\", \"n_nodes\": 4}", (shape){8, 2, 2, MESSAGE}),
        set_up("{\"base\": \"dgx-a100\", \"n_nodes\": 4}", (shape){8, 2, 2, MESSAGE})};
    for (int stage = 0; stage < 2; stage++) {
        galv_operation op = {0};
        galv_cost mixed_cost, own_cost;
        op.kind = GALV_OP_FORWARD;
        op.stage = stage;
        op.chunk = 0;
        op.first_layer = both.plan->first_layer[stage] + 1;
        op.n_layers = 4;
        galv_costmodel_operation(&mixed_cost, both.model, both.plan, &op);
        galv_costmodel_operation(&own_cost, alone[stage].model, alone[stage].plan, &op);
        cr_expect(near(mixed_cost.work_s, own_cost.work_s), "stage %d", stage);
    }
    double slower =
        fmax(alone[0].draft->costs[0].work_s, alone[1].draft->costs[0].work_s);
    cr_expect(near(both.draft->costs[0].work_s, slower));
    cr_expect(near(run(&both, NULL, 1, NULL), slower));
    tear_down(&both);
    tear_down(&alone[0]);
    tear_down(&alone[1]);
}

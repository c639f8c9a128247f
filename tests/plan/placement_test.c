/* Groups on nodes, against an enumeration of every rank. */
#include "plan/catalog.h"
#include "plan/placement.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <string.h>

GALV_TEST_SUITE(plan_placement);

/* A plan made by hand, so that sizes need not suit any model. */
typedef struct fixture {
    galv_plan plan;
    galv_strategy strategy;
    int32_t layer_strategy[64];
    int32_t first_layer[65];
    galv_cluster cluster;
} fixture;

static void make(fixture *f, int32_t tp, int32_t cp, int32_t ep, int32_t dp, int32_t pp,
                 int32_t per_node)
{
    memset(f, 0, sizeof *f);
    f->strategy = (galv_strategy){tp, cp, ep, dp, GALV_SP_NONE, 0, GALV_RECOMPUTE_NONE};
    f->plan.pp = pp;
    f->plan.vpp = 1;
    f->plan.n_layers = 64;
    f->plan.n_strategies = 1;
    f->plan.strategies = &f->strategy;
    f->plan.layer_strategy = f->layer_strategy;
    f->plan.first_layer = f->first_layer;
    for (int32_t s = 0; s <= pp; s++) {
        f->first_layer[s] = 64 * s / pp;
    }
    f->cluster.n_pools = 1;
    f->cluster.pools[0].devices_per_node = per_node;
    f->cluster.pools[0].scaleup_domain = per_node;
    f->cluster.pools[0].n_nodes = (tp * cp * dp * pp + per_node - 1) / per_node;
}

/* Which group of a kind a rank (within its stage) belongs to. */
static int32_t group_of(const galv_strategy *s, galv_group_kind kind, int32_t rank)
{
    int32_t tp_rank = rank % s->tp;
    int32_t cp_rank = rank / s->tp % s->cp;
    int32_t dp_rank = rank / s->tp / s->cp;
    switch (kind) {
    case GALV_GROUP_TP:
        return cp_rank + s->cp * dp_rank;
    case GALV_GROUP_CP:
        return tp_rank + s->tp * dp_rank;
    case GALV_GROUP_DP:
        return s->sp == GALV_SP_ULYSSES ? 0 : tp_rank;
    case GALV_GROUP_EP:
        return rank / s->ep;
    default:
        return rank % s->ep;
    }
}

/* The group that spans most nodes, by looking at every rank of a stage. */
static void brute_force(const fixture *f, galv_group_kind kind, int32_t stage,
                        int32_t *n_nodes, int32_t *n_ranks, int32_t *most)
{
    const galv_strategy *s = &f->strategy;
    int32_t per_stage = s->tp * s->cp * s->dp;
    int32_t per_node = f->cluster.pools[0].devices_per_node;
    *n_nodes = 0;
    *most = 0;
    for (int32_t group = 0; group < per_stage; group++) {
        int32_t nodes = 0, ranks = 0, here = 0, densest = 0, last = -1;
        for (int32_t rank = 0; rank < per_stage; rank++) {
            if (group_of(s, kind, rank) != group) {
                continue;
            }
            int32_t node = (stage * per_stage + rank) / per_node;
            ranks++;
            here = node == last ? here + 1 : 1;
            nodes += node != last;
            last = node;
            densest = here > densest ? here : densest;
        }
        if (ranks > 0 && (nodes > *n_nodes || (nodes == *n_nodes && densest > *most))) {
            *n_nodes = nodes;
            *n_ranks = ranks;
            *most = densest;
        }
    }
}

Test(plan_placement, groups_are_those_of_an_enumeration)
{
    static const int32_t shapes[][6] = {
        /* tp cp ep dp pp devices per node */
        {8, 1, 1, 16, 4, 8}, {4, 2, 8, 4, 2, 8},    {2, 1, 4, 8, 3, 8},
        {3, 1, 1, 5, 2, 8},  {6, 2, 3, 4, 2, 8},    {1, 1, 1, 64, 1, 8},
        {16, 1, 1, 4, 2, 8}, {5, 3, 5, 7, 2, 4},    {12, 1, 1, 3, 3, 8},
        {2, 2, 2, 2, 8, 16}, {4, 1, 64, 32, 1, 72}, {7, 1, 1, 2, 5, 8},
        {1, 8, 4, 4, 2, 8},  {2, 4, 16, 8, 1, 6},   {9, 1, 3, 2, 4, 72}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        const int32_t *d = shapes[i];
        for (int ulysses = 0; ulysses < 2; ulysses++) {
            fixture f;
            make(&f, d[0], d[1], d[2], d[3], d[4], d[5]);
            f.strategy.sp = ulysses ? GALV_SP_ULYSSES : GALV_SP_NONE;
            for (int kind = GALV_GROUP_TP; kind <= GALV_GROUP_EXPERT_DP; kind++) {
                for (int32_t stage = 0; stage < d[4]; stage++) {
                    int32_t layer = f.first_layer[stage];
                    galv_group group = galv_placement_group(
                        &f.plan, &f.cluster, (galv_group_kind)kind, layer, 0, 0);
                    int32_t n_nodes = 0, n_ranks = 0, most = 0;
                    brute_force(&f, (galv_group_kind)kind, stage, &n_nodes, &n_ranks,
                                &most);
                    cr_expect(
                        group.n_nodes == n_nodes && group.n_ranks == n_ranks &&
                            group.ranks_per_node == most,
                        "case %zu kind %d stage %d: %d nodes of %d ranks, %d each; "
                        "expected %d, %d, %d",
                        i, kind, stage, group.n_nodes, group.n_ranks,
                        group.ranks_per_node, n_nodes, n_ranks, most);
                }
            }
        }
    }
}

/* Two copies of the model: the ranks of both stages that hold a layer, one by one. */
static void brute_force_copies(const fixture *f, galv_group_kind kind, int32_t stage,
                               int32_t *n_nodes, int32_t *n_ranks, int32_t *most)
{
    const galv_strategy *s = &f->strategy;
    int32_t per_stage = s->tp * s->cp * s->dp;
    int32_t per_node = f->cluster.pools[0].devices_per_node;
    *n_nodes = *most = 0;
    for (int32_t group = 0; group < per_stage; group++) {
        int32_t on_node[512] = {0};
        int32_t nodes = 0, ranks = 0, densest = 0;
        for (int32_t rank = 0; rank < 2 * per_stage; rank++) {
            int32_t place = rank % per_stage;
            int32_t at = rank < per_stage ? stage : f->plan.pp - 1 - stage;
            if (group_of(s, kind, place) != group) {
                continue;
            }
            int32_t *here = &on_node[(at * per_stage + place) / per_node];
            ranks++;
            nodes += *here == 0;
            *here += 1;
            densest = *here > densest ? *here : densest;
        }
        if (ranks > 0 && (nodes > *n_nodes || (nodes == *n_nodes && densest > *most))) {
            *n_nodes = nodes;
            *n_ranks = ranks;
            *most = densest;
        }
    }
}

Test(plan_placement, copies_of_a_layer_are_one_group)
{
    static const int32_t shapes[][6] = {/* tp cp ep dp pp devices per node */
                                        {1, 1, 1, 1, 8, 8},    {1, 1, 1, 1, 16, 8},
                                        {1, 1, 1, 4, 4, 8},    {2, 1, 4, 8, 4, 8},
                                        {8, 1, 1, 16, 4, 8},   {1, 1, 64, 128, 16, 8},
                                        {4, 2, 8, 4, 2, 8},    {1, 1, 4, 4, 2, 8},
                                        {4, 1, 64, 32, 2, 72}, {1, 1, 2, 2, 6, 8}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        const int32_t *d = shapes[i];
        fixture f;
        make(&f, d[0], d[1], d[2], d[3], d[4], d[5]);
        strcpy(f.plan.schedule, "dualpipe");
        for (int kind = GALV_GROUP_DP; kind <= GALV_GROUP_EXPERT_DP; kind++) {
            for (int32_t stage = 0; stage < d[4]; stage++) {
                int32_t layer = f.first_layer[stage];
                galv_group group = galv_placement_group(
                    &f.plan, &f.cluster, (galv_group_kind)kind, layer, stage, stage);
                int32_t n_nodes = 0, n_ranks = 0, most = 0;
                brute_force_copies(&f, (galv_group_kind)kind, stage, &n_nodes, &n_ranks,
                                   &most);
                cr_expect(group.n_nodes == n_nodes && group.n_ranks == n_ranks &&
                              group.ranks_per_node == most,
                          "case %zu kind %d stage %d: %d nodes of %d ranks, %d each; "
                          "expected %d, %d, %d",
                          i, kind, stage, group.n_nodes, group.n_ranks,
                          group.ranks_per_node, n_nodes, n_ranks, most);
            }
        }
    }
}

Test(plan_placement, groups_that_share_a_node_are_counted)
{
    fixture f;
    make(&f, 8, 1, 1, 4, 2, 8);
    galv_group tp = galv_placement_group(&f.plan, &f.cluster, GALV_GROUP_TP, 1, 0, 0);
    cr_expect_eq(tp.n_nodes, 1);
    cr_expect_eq(tp.sharers_per_node, 1);
    galv_group dp = galv_placement_group(&f.plan, &f.cluster, GALV_GROUP_DP, 1, 0, 0);
    cr_expect_eq(dp.n_nodes, 4);
    cr_expect_eq(dp.ranks_per_node, 1);
    cr_expect_eq(dp.sharers_per_node, 8, "one group for each of 8 tensor ranks");
    galv_group pp = galv_placement_group(&f.plan, &f.cluster, GALV_GROUP_PP, 1, 0, 1);
    cr_expect_eq(pp.n_nodes, 2);
    cr_expect_eq(pp.sharers_per_node, 8);
    make(&f, 2, 1, 1, 8, 1, 8);
    dp = galv_placement_group(&f.plan, &f.cluster, GALV_GROUP_DP, 1, 0, 0);
    cr_expect_eq(dp.n_nodes, 2);
    cr_expect_eq(dp.ranks_per_node, 4);
    cr_expect_eq(dp.sharers_per_node, 2);
    make(&f, 16, 1, 1, 4, 1, 8);
    tp = galv_placement_group(&f.plan, &f.cluster, GALV_GROUP_TP, 1, 0, 0);
    cr_expect_eq(tp.n_nodes, 2);
    cr_expect_eq(tp.sharers_per_node, 1, "the group has the node to itself");
}

Test(plan_placement, stages_inside_a_node_stay_inside)
{
    fixture f;
    make(&f, 2, 1, 1, 1, 4, 8);
    galv_group pp = galv_placement_group(&f.plan, &f.cluster, GALV_GROUP_PP, 1, 0, 1);
    cr_expect_eq(pp.n_nodes, 1);
    galv_group tied =
        galv_placement_group(&f.plan, &f.cluster, GALV_GROUP_TIED, 0, 0, 0);
    cr_expect_eq(tied.n_nodes, 1);
    make(&f, 2, 1, 1, 1, 8, 8);
    tied = galv_placement_group(&f.plan, &f.cluster, GALV_GROUP_TIED, 0, 0, 0);
    cr_expect_eq(tied.n_nodes, 2, "ranks 0 and 14");
    galv_group last = galv_placement_group(&f.plan, &f.cluster, GALV_GROUP_PP, 1, 3, 4);
    cr_expect_eq(last.n_nodes, 2, "ranks 6 and 8");
}

Test(plan_placement, a_rack_is_one_domain)
{
    fixture f;
    make(&f, 8, 1, 1, 8, 1, 4);
    f.cluster.pools[0].scaleup_domain = 72;
    galv_group dp = galv_placement_group(&f.plan, &f.cluster, GALV_GROUP_DP, 1, 0, 0);
    cr_expect_eq(dp.n_nodes, 1);
    cr_expect_eq(dp.ranks_per_node, 8);
}

Test(plan_placement, stages_of_a_mixed_cluster_lie_in_their_pool)
{
    fixture f;
    make(&f, 8, 1, 1, 2, 4, 8);
    f.cluster.n_pools = 2;
    f.cluster.pools[0].n_nodes = 2;
    f.cluster.pools[1] = f.cluster.pools[0];
    f.cluster.pools[1].n_nodes = 6;
    cr_expect_eq(galv_placement_pool(&f.plan, &f.cluster, 0), 0);
    for (int32_t stage = 1; stage < 4; stage++) {
        cr_expect_eq(galv_placement_pool(&f.plan, &f.cluster, stage), 1);
    }
    galv_group pp = galv_placement_group(&f.plan, &f.cluster, GALV_GROUP_PP, 1, 0, 1);
    cr_expect_eq(pp.n_nodes, 2);
}

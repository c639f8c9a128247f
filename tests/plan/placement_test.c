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

/* The pipeline inside data parallelism, against every rank by its number: rank = tp +
 * T (cp + C (pp + P dp)). */
static int64_t rank_by_hand(const fixture *f, int32_t stage, int32_t place)
{
    const galv_strategy *s = &f->strategy;
    int32_t tp_rank = place % s->tp;
    int32_t cp_rank = place / s->tp % s->cp;
    int32_t dp_rank = place / s->tp / s->cp;
    return tp_rank +
           s->tp * (cp_rank + (int64_t)s->cp * (stage + (int64_t)f->plan.pp * dp_rank));
}

static void expect_groups_by_number(fixture *f, galv_group_kind kind)
{
    const galv_strategy *s = &f->strategy;
    int32_t n_places = s->tp * s->cp * s->dp;
    int32_t domain = f->cluster.pools[0].devices_per_node;
    galv_group said = galv_placement_group(&f->plan, &f->cluster, kind, 0, 0, 0);
    static int32_t here[4096][512]; /* ranks of a group in a node, of all stages */
    int32_t nodes = 0, most = 0, sharers = 0;
    memset(here, 0, sizeof here);
    for (int32_t stage = 0; stage < f->plan.pp; stage++) {
        for (int32_t place = 0; place < n_places; place++) {
            int32_t group = stage * n_places + group_of(s, kind, place);
            here[group][rank_by_hand(f, stage, place) / domain]++;
            cr_assert_eq(galv_placement_rank(&f->plan, stage, place),
                         rank_by_hand(f, stage, place));
        }
    }
    for (int32_t group = 0; group < f->plan.pp * n_places; group++) {
        int32_t touched = 0;
        for (int32_t node = 0; node < 512; node++) {
            touched += here[group][node] > 0;
            most = here[group][node] > most ? here[group][node] : most;
        }
        nodes = touched > nodes ? touched : nodes;
    }
    for (int32_t group = 0; group < f->plan.pp * n_places; group++) {
        sharers += here[group][0] > 0;
    }
    cr_expect_eq(said.n_nodes, nodes, "%d: %d nodes, by hand %d", kind, said.n_nodes,
                 nodes);
    cr_expect_eq(said.ranks_per_node, most, "%d: %d in a node, by hand %d", kind,
                 said.ranks_per_node, most);
    if (nodes > 1) {
        cr_expect_eq(said.sharers_per_node, sharers, "%d: %d sharers, by hand %d", kind,
                     said.sharers_per_node, sharers);
    }
}

Test(plan_placement, a_pipeline_inside_data_parallelism_is_that_of_an_enumeration)
{
    static const int32_t cases[][6] = {
        /* tp, cp, ep, dp, pp, GPUs in a node */
        {1, 1, 1, 8, 8, 8},  {2, 1, 1, 8, 4, 8},  {2, 1, 2, 4, 2, 8},
        {4, 1, 1, 4, 8, 8},  {2, 2, 4, 4, 4, 8},  {8, 1, 1, 4, 4, 8},
        {4, 4, 4, 2, 2, 8},  {2, 1, 1, 16, 2, 4}, {1, 2, 1, 4, 2, 8},
        {1, 1, 1, 4, 16, 8}, {8, 2, 1, 2, 4, 4}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const int32_t *c = cases[i];
        fixture f;
        galv_err err = GALV_ERR_INIT;
        make(&f, c[0], c[1], c[2], c[3], c[4], c[5]);
        strcpy(f.plan.rank_order, "tp-cp-pp-dp");
        cr_assert_eq(galv_placement_check(&f.plan, &f.cluster, &err), GALV_OK, "%zu %s",
                     i, err.message);
        expect_groups_by_number(&f, GALV_GROUP_TP);
        expect_groups_by_number(&f, GALV_GROUP_CP);
        expect_groups_by_number(&f, GALV_GROUP_DP);
        expect_groups_by_number(&f, GALV_GROUP_EP);
        expect_groups_by_number(&f, GALV_GROUP_EXPERT_DP);
        for (int32_t stage = 0; stage + 1 < c[4]; stage++) {
            bool crosses = false;
            for (int32_t place = 0; place < c[0] * c[1] * c[3]; place++) {
                crosses |= rank_by_hand(&f, stage, place) / c[5] !=
                           rank_by_hand(&f, stage + 1, place) / c[5];
            }
            galv_group pair = galv_placement_group(&f.plan, &f.cluster, GALV_GROUP_PP,
                                                   0, stage, stage + 1);
            cr_expect_eq(pair.n_nodes, crosses ? 2 : 1, "case %zu, stage %d", i, stage);
        }
    }
}

/* dp 8, pp 8 on 8 nodes of 8: in the usual order gradients stay inside a node and every
 * message of the pipeline crosses; in the other one it is the reverse. */
Test(plan_placement, the_order_of_ranks_decides_what_crosses_nodes)
{
    fixture f;
    make(&f, 1, 1, 1, 8, 8, 8);
    for (int inside = 0; inside < 2; inside++) {
        strcpy(f.plan.rank_order, galv_rank_order_names[inside]);
        galv_group dp =
            galv_placement_group(&f.plan, &f.cluster, GALV_GROUP_DP, 0, 0, 0);
        galv_group pp =
            galv_placement_group(&f.plan, &f.cluster, GALV_GROUP_PP, 0, 3, 4);
        cr_expect_eq(dp.n_nodes, inside ? 8 : 1);
        cr_expect_eq(dp.sharers_per_node, inside ? 8 : 1);
        cr_expect_eq(pp.n_nodes, inside ? 1 : 2);
        cr_expect_eq(pp.sharers_per_node, inside ? 1 : 8);
    }
}

Test(plan_placement, an_order_that_does_not_divide_nodes_is_refused)
{
    fixture f;
    galv_err err = GALV_ERR_INIT;
    make(&f, 1, 1, 1, 8, 3, 8);
    strcpy(f.plan.rank_order, "tp-cp-pp-dp");
    cr_expect_eq(galv_placement_check(&f.plan, &f.cluster, &err), GALV_USAGE);
    make(&f, 1, 1, 2, 8, 8, 8); /* experts over data parallelism */
    strcpy(f.plan.rank_order, "tp-cp-pp-dp");
    cr_expect_eq(galv_placement_check(&f.plan, &f.cluster, &err), GALV_USAGE);
}

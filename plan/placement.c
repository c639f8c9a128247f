/* Placement: strides, sizes and the nodes they touch.
 *
 * Ranks count through tp, cp, dp, pp, fastest first, and fill the nodes in order, so a
 * group of stride k and size n that begins at rank r takes r, r + k, ... A block of
 * k n ranks holds k such groups, one for each offset below k. What a "node" is here is
 * the scale-up domain: the devices that reach each other without the network.
 *
 * Where sizes divide, all groups of a kind look alike and closed forms hold; where they
 * do not, the groups of one period of the pattern are walked and the one that spans
 * most domains is taken. Experts follow Megatron Core with whole experts: the ranks of
 * an expert-parallel group are neighbours, those that share an expert are ep apart.
 * With the pipeline inside data parallelism, tp * cp ranks of a stage are followed by
 * those of the next stage, so that a domain holds fewer places of one stage: where all
 * divide, a stage looks as in the usual order on smaller domains, whose network is
 * shared with the other stages. They reduce gradients at nearly the same time; that all
 * of them do is assumed, as it is of the groups of one stage. Pools of a mixed cluster
 * follow each other in rank order. Groups on buses are described as if they began with
 * a bus, those on a torus by plan/torus.c. */
#include "plan/placement.h"

#include "plan/torus.h"

#include <assert.h>

/* Ranks of one pipeline stage: all layers of a stage have the same product. */
static int64_t stage_ranks(const galv_plan *plan)
{
    const galv_strategy *first = galv_plan_strategy(plan, 0);
    return (int64_t)first->tp * first->cp * first->dp;
}

/* Pool that holds a rank, and the first rank of that pool. */
static int32_t pool_of_rank(const galv_cluster *cluster, int64_t rank,
                            int64_t *pool_start)
{
    int64_t start = 0;
    for (int32_t i = 0; i < cluster->n_pools; i++) {
        const galv_pool *pool = &cluster->pools[i];
        int64_t size = (int64_t)pool->n_nodes * pool->devices_per_node;
        if (rank < start + size || i == cluster->n_pools - 1) {
            *pool_start = start;
            return i;
        }
        start += size;
    }
    *pool_start = 0;
    return 0;
}

static int64_t domain_size(const galv_pool *pool)
{
    return pool->scaleup_domain > pool->devices_per_node ? pool->scaleup_domain
                                                         : pool->devices_per_node;
}

/* Ranks of a stage that follow each other when the pipeline is inside. */
static int64_t inner_ranks(const galv_plan *plan)
{
    const galv_strategy *first = galv_plan_strategy(plan, 0);
    return (int64_t)first->tp * first->cp;
}

int64_t galv_placement_rank(const galv_plan *plan, int32_t stage, int64_t place)
{
    if (galv_plan_rank_order(plan) == GALV_RANK_ORDER_DP_INSIDE) {
        return stage * stage_ranks(plan) + place;
    }
    int64_t inner = inner_ranks(plan);
    return (place / inner * plan->pp + stage) * inner + place % inner;
}

/* Of a domain (or a bus) of so many ranks, the places of one stage; 0 = uneven. */
static int64_t split_domain(int64_t domain, int64_t inner, int32_t pp)
{
    if (inner % domain == 0) {
        return domain;
    }
    if (domain % (inner * pp) == 0) {
        return domain / pp;
    }
    return inner * pp % domain == 0 && domain % inner == 0 ? inner : 0;
}

static int64_t places_of(const galv_plan *plan, int64_t domain)
{
    return galv_plan_rank_order(plan) == GALV_RANK_ORDER_DP_INSIDE
               ? domain
               : split_domain(domain, inner_ranks(plan), plan->pp);
}

bool galv_placement_can(galv_rank_order order, int64_t inner, int32_t pp,
                        const galv_cluster *cluster)
{
    int64_t bus = cluster->pools[0].devices_per_bus;
    return order == GALV_RANK_ORDER_DP_INSIDE ||
           (cluster->n_pools == 1 && cluster->torus[0] == 0 &&
            split_domain(domain_size(&cluster->pools[0]), inner, pp) > 0 &&
            (bus <= 0 || split_domain(bus, inner, pp) > 0));
}

int64_t galv_placement_domain(const galv_plan *plan, const galv_cluster *cluster,
                              int32_t stage, int64_t *share)
{
    int64_t domain =
        domain_size(&cluster->pools[galv_placement_pool(plan, cluster, stage)]);
    int64_t places = places_of(plan, domain);
    *share = places > 0 ? domain / places : 1;
    return places;
}

int32_t galv_placement_pool(const galv_plan *plan, const galv_cluster *cluster,
                            int32_t stage)
{
    int64_t start = 0;
    return pool_of_rank(cluster, stage * stage_ranks(plan), &start);
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* One group: domains it spans and most ranks in one of them. */
static void walk_group(int64_t first, int64_t stride, int64_t n, int64_t domain,
                       galv_group *worst)
{
    int32_t n_nodes = 0;
    int32_t most = 0;
    int32_t here = 0;
    int64_t last_domain = -1;
    for (int64_t i = 0; i < n; i++) {
        int64_t at = (first + i * stride) / domain;
        if (at != last_domain) {
            last_domain = at;
            n_nodes++;
            here = 0;
        }
        here++;
        most = here > most ? here : most;
    }
    if (n_nodes > worst->n_nodes ||
        (n_nodes == worst->n_nodes && most > worst->ranks_per_node)) {
        worst->n_nodes = n_nodes;
        worst->ranks_per_node = most;
    }
}

/* Groups of `n` ranks `stride` apart among `n_total` ranks that begin `origin` ranks
 * after the start of a domain. */
static galv_group describe(int64_t origin, int64_t n_total, int64_t stride, int64_t n,
                           int64_t domain)
{
    galv_group group = {.n_ranks = (int32_t)n,
                        .n_nodes = 1,
                        .ranks_per_node = (int32_t)n,
                        .sharers_per_node = 1};
    int64_t block = stride * n;
    if (n == 1 || (origin % block == 0 && domain % block == 0)) {
        return group;
    }
    if (origin % domain == 0 && stride % domain == 0) {
        group.n_nodes = (int32_t)n;
        group.ranks_per_node = 1;
    } else if (origin % domain == 0 && block % domain == 0 && domain % stride == 0) {
        group.n_nodes = (int32_t)(block / domain);
        group.ranks_per_node = (int32_t)(domain / stride);
    } else {
        group.n_nodes = 0;
        group.ranks_per_node = 0;
        /* the pattern repeats after `domain` blocks; offsets `domain` apart are alike
         */
        int64_t n_blocks = smaller(n_total / block, domain);
        int64_t n_offsets = smaller(stride, domain);
        for (int64_t b = 0; b < n_blocks; b++) {
            for (int64_t offset = 0; offset < n_offsets; offset++) {
                walk_group(origin + b * block + offset, stride, n, domain, &group);
            }
        }
    }
    if (group.n_nodes > 1) {
        int64_t sharers = domain / group.ranks_per_node;
        sharers = smaller(sharers, n_total / n);
        group.sharers_per_node = (int32_t)(sharers > 1 ? sharers : 1);
    }
    return group;
}

static void describe_bus(galv_group *group, const galv_plan *plan,
                         const galv_pool *pool, int64_t n_total, int64_t stride)
{
    int64_t bus =
        pool->devices_per_bus > 0 ? places_of(plan, pool->devices_per_bus) : 0;
    if (bus <= 0) {
        return;
    }
    int64_t stages = pool->devices_per_bus / bus;
    int64_t ranks = smaller(bus > stride ? bus / stride : 1, group->ranks_per_node);
    int64_t sharers = smaller(bus / ranks, n_total / group->n_ranks);
    group->ranks_per_bus = (int32_t)ranks;
    group->sharers_per_bus = (int32_t)((sharers > 1 ? sharers : 1) * stages);
}

/* On a torus: every node that a group touches, as a box of it. */
bool galv_placement_wire(galv_group *group, const galv_cluster *cluster, int64_t stride)
{
    if (cluster->torus[0] == 0 || group->n_nodes <= 1) {
        return true;
    }
    int64_t domain = domain_size(&cluster->pools[0]);
    int64_t block = stride * group->n_ranks;
    if (stride % domain == 0) {
        return galv_torus_fill_group(group, cluster, stride / domain, group->n_ranks);
    }
    return block % domain == 0 && domain % stride == 0 &&
           galv_torus_fill_group(group, cluster, 1, block / domain);
}

/* Ranks of one stage and their partners on another. */
static galv_group describe_pair(const galv_plan *plan, const galv_cluster *cluster,
                                int32_t from_stage, int32_t to_stage)
{
    galv_group group = {
        .n_ranks = 2, .n_nodes = 1, .ranks_per_node = 2, .sharers_per_node = 1};
    int64_t per_stage = stage_ranks(plan);
    if (from_stage == to_stage) {
        group.n_ranks = 1;
        group.ranks_per_node = 1;
        return group;
    }
    int64_t from_start = 0;
    int64_t to_start = 0;
    int32_t from_pool = pool_of_rank(cluster, from_stage * per_stage, &from_start);
    int32_t to_pool = pool_of_rank(cluster, to_stage * per_stage, &to_start);
    const galv_pool *pool = &cluster->pools[from_pool];
    int64_t domain = domain_size(pool);
    int64_t bus = pool->devices_per_bus;
    bool crosses = from_pool != to_pool;
    bool between_buses = false;
    for (int64_t i = 0; i < smaller(per_stage, domain) && !crosses; i++) {
        int64_t a = galv_placement_rank(plan, from_stage, i) - from_start;
        int64_t b = galv_placement_rank(plan, to_stage, i) - from_start;
        crosses = a / domain != b / domain;
        between_buses |= bus > 0 && a / bus != b / bus;
    }
    if (bus > 0) {
        group.ranks_per_bus = between_buses || crosses ? 1 : 2;
        group.sharers_per_bus = (int32_t)smaller(per_stage, places_of(plan, bus));
    }
    if (crosses) {
        group.n_nodes = 2;
        group.ranks_per_node = 1;
        group.sharers_per_node = (int32_t)smaller(per_stage, places_of(plan, domain));
    }
    if (crosses && cluster->torus[0] > 0) {
        int64_t n_nodes = per_stage > domain ? per_stage / domain : 1;
        galv_torus_fill_pair(&group, cluster, from_stage * per_stage / domain,
                             to_stage * per_stage / domain, n_nodes);
    }
    return group;
}

galv_group galv_placement_both_copies(const galv_plan *plan,
                                      const galv_cluster *cluster, int32_t stage,
                                      int64_t stride, int64_t n)
{
    int64_t per_stage = stage_ranks(plan);
    int64_t start = 0;
    int32_t pool = pool_of_rank(cluster, stage * per_stage, &start);
    int64_t domain = domain_size(&cluster->pools[pool]);
    int32_t twin = plan->pp - 1 - stage;
    int64_t firsts[2] = {(stage < twin ? stage : twin) * per_stage - start,
                         (stage < twin ? twin : stage) * per_stage - start};
    galv_group group = {.n_ranks = (int32_t)(2 * n), .sharers_per_node = 1};
    /* as in describe(): what there is shows within `domain` blocks and offsets */
    int64_t n_blocks = smaller(per_stage / (stride * n), domain);
    int64_t n_offsets = smaller(stride, domain);
    for (int64_t i = 0; i < n_blocks * n_offsets; i++) {
        int64_t offset = i / n_offsets * stride * n + i % n_offsets;
        galv_group halves[2] = {{0}, {0}};
        walk_group(firsts[0] + offset, stride, n, domain, &halves[0]);
        walk_group(firsts[1] + offset, stride, n, domain, &halves[1]);
        bool meet = (firsts[0] + offset + (n - 1) * stride) / domain ==
                    (firsts[1] + offset) / domain;
        int32_t nodes = halves[0].n_nodes + halves[1].n_nodes - (meet ? 1 : 0);
        int32_t most = halves[0].ranks_per_node > halves[1].ranks_per_node
                           ? halves[0].ranks_per_node
                           : halves[1].ranks_per_node;
        if (nodes == 1) {
            most = (int32_t)(2 * n);
        }
        if (nodes > group.n_nodes ||
            (nodes == group.n_nodes && most > group.ranks_per_node)) {
            group.n_nodes = nodes;
            group.ranks_per_node = most;
        }
    }
    if (group.n_nodes > 1) {
        int64_t sharers = smaller(domain / group.ranks_per_node, per_stage / n);
        group.sharers_per_node = (int32_t)(sharers > 1 ? sharers : 1);
    }
    return group;
}

/* Stage that holds a layer where chunks are looped. The schedules differ in how chunks
 * lie on stages, but in one pool stages are alike. */
static int32_t stage_of_layer(const galv_plan *plan, int32_t layer)
{
    int32_t n_virtual = plan->pp * plan->vpp;
    for (int32_t s = 0; s < n_virtual; s++) {
        if (layer < plan->first_layer[s + 1]) {
            return s % plan->pp;
        }
    }
    return plan->pp - 1;
}

/* Ranks of a group of a strategy, and how far apart. */
static int64_t stride_of(const galv_strategy *s, galv_group_kind kind, int64_t *n)
{
    switch (kind) {
    case GALV_GROUP_TP:
        *n = s->tp;
        return 1;
    case GALV_GROUP_CP:
        *n = s->cp;
        return s->tp;
    case GALV_GROUP_EP:
        *n = s->ep;
        return 1;
    case GALV_GROUP_DP:
        *n = galv_strategy_gradient_ranks(s);
        return s->sp == GALV_SP_ULYSSES ? 1 : s->tp;
    case GALV_GROUP_EXPERT_DP:
        *n = galv_strategy_expert_gradient_ranks(s);
        return s->ep;
    default:
        assert(!"unknown group kind");
        *n = 1;
        return 1;
    }
}

galv_group galv_placement_group(const galv_plan *plan, const galv_cluster *cluster,
                                galv_group_kind kind, int32_t layer, int32_t from_stage,
                                int32_t to_stage)
{
    if (kind == GALV_GROUP_PP) {
        return describe_pair(plan, cluster, from_stage, to_stage);
    }
    if (kind == GALV_GROUP_TIED) {
        return from_stage == to_stage
                   ? describe_pair(plan, cluster, 0, plan->pp - 1)
                   : describe_pair(plan, cluster, from_stage, to_stage);
    }
    const galv_strategy *s = galv_plan_strategy(plan, layer);
    int64_t per_stage = (int64_t)s->tp * s->cp * s->dp;
    int32_t stage = cluster->n_pools > 1 ? from_stage : stage_of_layer(plan, layer);
    int64_t first = stage * per_stage;
    int64_t pool_start = 0;
    int32_t pool = pool_of_rank(cluster, first, &pool_start);
    int64_t domain = domain_size(&cluster->pools[pool]);
    /* within one pool all stages are described by the one that begins worst; a stage
     * that is a whole number of domains, or a part of one, begins like any other */
    int64_t origin = first - pool_start;
    int64_t n = 1;
    int64_t stride = stride_of(s, kind, &n);
    if (galv_plan_n_copies(plan) > 1 &&
        (kind == GALV_GROUP_DP || kind == GALV_GROUP_EXPERT_DP)) {
        return galv_placement_both_copies(plan, cluster, from_stage, stride, n);
    }
    int64_t stages = 1;
    if (galv_plan_rank_order(plan) == GALV_RANK_ORDER_PP_INSIDE) {
        origin = 0;
        domain = galv_placement_domain(plan, cluster, stage, &stages);
    }
    galv_group group = describe(origin, per_stage, stride, n, domain);
    group.sharers_per_node *= group.n_nodes > 1 ? (int32_t)stages : 1;
    describe_bus(&group, plan, &cluster->pools[pool], per_stage, stride);
    galv_placement_wire(&group, cluster, stride);
    return group;
}

/* With the pipeline inside data parallelism: what is not described above. */
static galv_status check_order(const galv_plan *plan, const galv_cluster *cluster,
                               galv_err *err)
{
    const char *order = plan->rank_order;
    int64_t inner = inner_ranks(plan);
    int64_t domain = domain_size(&cluster->pools[0]);
    int64_t bus = cluster->pools[0].devices_per_bus;
    if (cluster->n_pools > 1 || cluster->torus[0] > 0 || galv_plan_n_copies(plan) > 1) {
        return galv_fail(err, GALV_USAGE, "rank order %s is not for %s", order,
                         cluster->n_pools > 1    ? "a cluster of several pools"
                         : cluster->torus[0] > 0 ? "a torus"
                                                 : "schedules with two copies");
    }
    for (int32_t layer = 0; layer < plan->n_layers; layer++) {
        const galv_strategy *s = galv_plan_strategy(plan, layer);
        if ((int64_t)s->tp * s->cp != inner) {
            return galv_fail(err, GALV_USAGE,
                             "rank order %s: all layers must have the same tp x cp",
                             order);
        }
        if (s->ep > 1 && inner % s->ep != 0) {
            return galv_fail(err, GALV_USAGE,
                             "rank order %s: ep %d does not divide tp %d x cp %d",
                             order, s->ep, s->tp, s->cp);
        }
    }
    if (places_of(plan, domain) == 0 || (bus > 0 && places_of(plan, bus) == 0)) {
        return galv_fail(err, GALV_USAGE,
                         "rank order %s: %lld ranks of a stage and %d stages do not "
                         "divide nodes of %lld evenly",
                         order, (long long)inner, (int)plan->pp, (long long)domain);
    }
    return GALV_OK;
}

galv_status galv_placement_check(const galv_plan *plan, const galv_cluster *cluster,
                                 galv_err *err)
{
    if (galv_plan_rank_order(plan) == GALV_RANK_ORDER_PP_INSIDE) {
        return check_order(plan, cluster, err);
    }
    static const galv_group_kind kinds[] = {GALV_GROUP_TP, GALV_GROUP_CP, GALV_GROUP_EP,
                                            GALV_GROUP_DP, GALV_GROUP_EXPERT_DP};
    static const char *const names[] = {"tp", "cp", "ep", "dp", "expert dp"};
    for (int32_t layer = 0; cluster->torus[0] > 0 && layer < plan->n_layers; layer++) {
        for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
            galv_group group =
                galv_placement_group(plan, cluster, kinds[i], layer, 0, 0);
            if (group.n_nodes > 1 && !(group.ring_share > 0)) {
                int64_t n = 1;
                int64_t stride =
                    stride_of(galv_plan_strategy(plan, layer), kinds[i], &n);
                galv_fail(err, GALV_USAGE,
                          "%s groups of %lld ranks, %lld apart, are no boxes of the "
                          "torus of %d x %d x %d",
                          names[i], (long long)n, (long long)stride,
                          (int)cluster->torus[0],
                          (int)(cluster->torus[1] > 0 ? cluster->torus[1] : 1),
                          (int)(cluster->torus[2] > 0 ? cluster->torus[2] : 1));
                galv_hint(err, "degrees that divide its sides in turn fit");
                return GALV_USAGE;
            }
        }
    }
    return GALV_OK;
}

/* Links from the cluster, uses from the groups.
 *
 * Units are bytes per second; a device has inter_bytes_per_s * inter_efficiency of the
 * network, a NIC the sum over the devices nearest to it. Where a group's price says it
 * moves R bytes per second through each node (rate_of below, as costmodel/collective.c
 * has it), its m ranks there move R / m each, through their own NICs:
 *
 *   ring         R out and R in at every node; R up at a leaf and down at the next
 *                wherever neighbours of the ring are under different leaves. Trees are
 *                taken for rings: they cross leaves as often when well laid out
 *   all-to-all   R out and in at every node; the part that goes to other leaves up,
 *                down and over the spine
 *   message      R out at the sender, in at the receiver, up and down between leaves
 *
 * On rail-optimised networks a leaf has one uplink per rail, and traffic stays on the
 * rail of its sender.
 *
 * Left out: collisions of flows on one of many parallel uplinks (ECMP), congestion at
 * switches' buffers, and the scale-up fabric, which is not blocking: the ports of its
 * ranks are shared in all_ranks_rates.c. */
#include "sim/network.h"

#include "plan/chunks.h"

#include <math.h>
#include <string.h>

enum { OUT, IN }; /* of a NIC; of a leaf: up, down */

typedef struct pool_place {
    int64_t first_rank;
    int32_t first_domain, first_node;
    uint32_t first_nic;
    int32_t domain_size, per_node, n_nics; /* devices; NICs of a node */
    double device_rate;                    /* bytes per second */
} pool_place;

typedef struct device_place {
    int32_t domain, leaf;
    uint32_t nic, rail;
} device_place;

typedef struct builder {
    galv_network *network;
    const galv_costmodel *model;
    const galv_cluster *cluster;
    const galv_plan *plan;
    uint32_t per_stage;
    pool_place pools[GALV_MAX_POOLS];
    int32_t n_leaves;
    uint32_t n_rails; /* uplinks of a leaf */
    uint32_t first_uplink, spine;
    double *using;  /* [n_links] of the group at hand */
    uint32_t *used; /* links with using > 0 */
    uint32_t n_used;
    device_place *members; /* [2 * per_stage] */
    galv_link_use *uses;   /* of the route at hand, growing */
    size_t n_uses, most_uses;
    galv_arena *arena;
} builder;

/* ---- the links ---- */

static int32_t at_least(int32_t value, int32_t least)
{
    return value > least ? value : least;
}

static void lay_out_pools(builder *b)
{
    pool_place next = {0};
    for (int32_t i = 0; i < b->cluster->n_pools; i++) {
        const galv_pool *pool = &b->cluster->pools[i];
        pool_place *at = &b->pools[i];
        *at = next;
        at->per_node = at_least(pool->devices_per_node, 1);
        at->domain_size = at_least(pool->scaleup_domain, at->per_node);
        at->n_nics = pool->nics_per_node > 0 && pool->nics_per_node < at->per_node
                         ? pool->nics_per_node
                         : at->per_node;
        double efficiency = pool->inter_efficiency > 0 ? pool->inter_efficiency : 0.94;
        at->device_rate =
            efficiency * (pool->inter_bytes_per_s > 0 ? pool->inter_bytes_per_s : 1e9);
        int64_t n_devices = (int64_t)pool->n_nodes * at->per_node;
        next.first_rank += n_devices;
        next.first_domain +=
            (int32_t)((n_devices + at->domain_size - 1) / at->domain_size);
        next.first_node += pool->n_nodes;
        next.first_nic += (uint32_t)pool->n_nodes * (uint32_t)at->n_nics;
    }
    int32_t per_leaf = b->cluster->nodes_per_leaf;
    b->n_leaves = per_leaf > 0 ? (next.first_node + per_leaf - 1) / per_leaf : 1;
    b->n_rails = 1;
    for (int32_t i = 0; i < b->cluster->n_pools && b->cluster->rail_optimized; i++) {
        b->n_rails = (uint32_t)at_least(b->pools[i].n_nics, (int32_t)b->n_rails);
    }
    b->first_uplink = 2 * next.first_nic;
    b->spine = b->first_uplink + 2 * (uint32_t)b->n_leaves * b->n_rails;
    b->network->n_links = b->spine + 1;
}

static uint32_t uplink(const builder *b, int32_t leaf, uint32_t rail, int direction)
{
    return b->first_uplink + 2 * ((uint32_t)leaf * b->n_rails + rail) +
           (uint32_t)direction;
}

static uint32_t rail_of(const builder *b, int32_t nic_of_node)
{
    return b->cluster->rail_optimized ? (uint32_t)nic_of_node : 0;
}

static double slowed_node(const galv_differences *differences, int32_t node)
{
    double factor = 1;
    for (int32_t i = 0; differences != NULL && i < differences->n_slow_links; i++) {
        if (differences->slow_links[i].node == node) {
            factor *= differences->slow_links[i].factor;
        }
    }
    return factor;
}

static int32_t leaf_of_node(const builder *b, int32_t node)
{
    return b->cluster->nodes_per_leaf > 0 ? node / b->cluster->nodes_per_leaf : 0;
}

static void fill_capacities(builder *b, const galv_differences *differences)
{
    double *capacities = b->network->capacities;
    double leaf_divisor = fmax(b->cluster->leaf_oversubscription, 1);
    for (int32_t i = 0; i < b->cluster->n_pools; i++) {
        const pool_place *pool = &b->pools[i];
        double rate = pool->device_rate * pool->per_node / pool->n_nics;
        for (int32_t node = 0; node < b->cluster->pools[i].n_nodes; node++) {
            int32_t global = pool->first_node + node;
            double slowed = slowed_node(differences, global);
            for (int32_t nic = 0; nic < pool->n_nics; nic++) {
                uint32_t at =
                    2 * (pool->first_nic + (uint32_t)(node * pool->n_nics + nic));
                capacities[at + OUT] = capacities[at + IN] = rate * slowed;
                uint32_t up = uplink(b, leaf_of_node(b, global), rail_of(b, nic), OUT);
                capacities[up] += rate / leaf_divisor;
                capacities[up + 1] += rate / leaf_divisor;
            }
        }
    }
    for (int32_t leaf = 0; leaf < b->n_leaves; leaf++) {
        for (uint32_t rail = 0; rail < b->n_rails; rail++) {
            capacities[b->spine] += capacities[uplink(b, leaf, rail, OUT)] /
                                    fmax(b->cluster->oversubscription, 1);
        }
    }
    for (uint32_t i = 0; i < b->network->n_links; i++) { /* rails that a pool lacks */
        capacities[i] = capacities[i] > 0 ? capacities[i] : 1;
    }
}

static const pool_place *pool_of(const builder *b, int64_t rank)
{
    int32_t i = b->cluster->n_pools - 1;
    while (i > 0 && rank < b->pools[i].first_rank) {
        i--;
    }
    return &b->pools[i];
}

static device_place locate(const builder *b, int64_t rank)
{
    const pool_place *pool = pool_of(b, rank);
    int32_t device = (int32_t)(rank - pool->first_rank);
    int32_t node = device / pool->per_node;
    int32_t nic = device % pool->per_node * pool->n_nics / pool->per_node;
    device_place place = {pool->first_domain + device / pool->domain_size,
                          leaf_of_node(b, pool->first_node + node),
                          pool->first_nic + (uint32_t)(node * pool->n_nics + nic),
                          rail_of(b, nic)};
    return place;
}

/* ---- the uses of one group ---- */

static void use(builder *b, uint32_t link, double bytes_per_s)
{
    if (!(b->using[link] > 0)) {
        b->used[b->n_used++] = link;
    }
    b->using[link] += bytes_per_s;
}

/* From one leaf to another, if they are two. */
static void cross(builder *b, const device_place *from, const device_place *to,
                  double bytes_per_s)
{
    if (from->leaf != to->leaf) {
        use(b, uplink(b, from->leaf, from->rail, OUT), bytes_per_s);
        use(b, uplink(b, to->leaf, to->rail, IN), bytes_per_s);
        use(b, b->spine, bytes_per_s);
    }
}

/* Members of one node: [begin, end) of the members, which are in order of rank. */
static uint32_t node_end(const builder *b, uint32_t begin, uint32_t n)
{
    uint32_t end = begin + 1;
    while (end < n && b->members[end].domain == b->members[begin].domain) {
        end++;
    }
    return end;
}

static void use_nics(builder *b, uint32_t begin, uint32_t end, double rate)
{
    for (uint32_t i = begin; i < end; i++) {
        use(b, 2 * b->members[i].nic + OUT, rate / (end - begin));
        use(b, 2 * b->members[i].nic + IN, rate / (end - begin));
    }
}

/* What the members [from, to) use of a ring of n. */
static void use_ring(builder *b, uint32_t n, uint32_t from, uint32_t to, double rate)
{
    for (uint32_t begin = 0; begin < to;) {
        uint32_t end = node_end(b, begin, n);
        uint32_t next = end < n ? end : 0; /* first member of the next node */
        uint32_t next_end = node_end(b, next, n);
        bool own = begin >= from;
        if (own) {
            use_nics(b, begin, end, rate);
        }
        for (uint32_t i = begin; i < end && own; i++) {
            uint32_t other = next + (i - begin) % (next_end - next);
            cross(b, &b->members[i], &b->members[other], rate / (end - begin));
        }
        begin = end;
    }
}

static void use_all_to_all(builder *b, uint32_t n, double rate)
{
    for (uint32_t begin = 0; begin < n;) {
        uint32_t end = node_end(b, begin, n);
        int32_t leaf = b->members[begin].leaf;
        uint32_t in_leaf = 0;
        for (uint32_t i = 0; i < n; i++) {
            in_leaf += b->members[i].leaf == leaf;
        }
        double away = (double)(n - in_leaf) / (n - (end - begin)) * rate;
        use_nics(b, begin, end, rate);
        for (uint32_t i = begin; i < end && away > 0; i++) {
            use(b, uplink(b, leaf, b->members[i].rail, OUT), away / (end - begin));
            use(b, uplink(b, leaf, b->members[i].rail, IN), away / (end - begin));
            use(b, b->spine, away / (end - begin));
        }
        begin = end;
    }
}

/* Turns what has been used into the next group's uses. */
static bool finish_group(builder *b)
{
    if (b->n_uses + b->n_used > b->most_uses) {
        size_t most = 2 * b->most_uses + b->n_used + 1024;
        galv_link_use *grown = GALV_NEW_ARRAY(b->arena, galv_link_use, most);
        if (grown == NULL) {
            return false;
        }
        if (b->n_uses > 0) {
            memcpy(grown, b->uses, b->n_uses * sizeof *grown);
        }
        b->uses = grown;
        b->most_uses = most;
    }
    for (uint32_t i = 0; i < b->n_used; i++) {
        galv_link_use made = {b->used[i], b->using[b->used[i]]};
        b->uses[b->n_uses++] = made;
        b->using[b->used[i]] = 0;
    }
    b->n_used = 0;
    return true;
}

/* ---- routes ---- */

/* What tells routes apart. */
typedef struct route_key {
    int32_t stage, peer_stage;
    int32_t twin_stage; /* holds copies of the same layers and takes part; -1 = none */
    galv_meeting meeting;
    int kind; /* galv_group_kind */
    bool all_to_all;
    int32_t n_nodes, ranks_per_node, sharers;
} route_key;

static bool same_key(const route_key *a, const route_key *b)
{
    return a->stage == b->stage && a->peer_stage == b->peer_stage &&
           a->twin_stage == b->twin_stage && a->meeting.stride == b->meeting.stride &&
           a->meeting.n == b->meeting.n && a->kind == b->kind &&
           a->all_to_all == b->all_to_all && a->n_nodes == b->n_nodes &&
           a->ranks_per_node == b->ranks_per_node && a->sharers == b->sharers;
}

/* Bytes per second that a group has of each of its nodes' networks. */
static double rate_of(const pool_place *pool, int32_t ranks_per_node, double sharers)
{
    double near =
        ranks_per_node * pool->device_rate * pool->per_node / (double)pool->n_nics;
    return fmin(near, pool->device_rate * pool->domain_size / sharers);
}

/* A ring over the ranks of both stages that hold the copies of some layers. Either
 * stage has an operation for it, which uses what its own members do. */
static void use_group_of_copies(builder *b, const route_key *key, uint32_t first,
                                double rate)
{
    bool before = key->stage < key->twin_stage;
    uint32_t n = (uint32_t)key->meeting.n;
    const int32_t stages[2] = {before ? key->stage : key->twin_stage,
                               before ? key->twin_stage : key->stage};
    for (uint32_t k = 0; k < 2 * n; k++) {
        int64_t stage_rank = (int64_t)stages[k / n] * b->per_stage;
        b->members[k] =
            locate(b, stage_rank + first + k % n * (uint32_t)key->meeting.stride);
    }
    if (node_end(b, 0, 2 * n) < 2 * n) {
        use_ring(b, 2 * n, before ? 0 : n, before ? n : 2 * n, rate);
    }
}

static void use_group(builder *b, const route_key *key, uint32_t group, double rate)
{
    uint32_t first = galv_meeting_first_place(key->meeting, group);
    int64_t stage_rank = (int64_t)key->stage * b->per_stage;
    uint32_t n = (uint32_t)key->meeting.n;
    if (key->twin_stage >= 0) {
        use_group_of_copies(b, key, first, rate);
        return;
    }
    for (uint32_t k = 0; k < n; k++) {
        b->members[k] =
            locate(b, stage_rank + first + k * (uint32_t)key->meeting.stride);
    }
    if (key->peer_stage >= 0) { /* with the same place of another stage */
        device_place peer = locate(b, (int64_t)key->peer_stage * b->per_stage + first);
        if (peer.domain != b->members[0].domain) {
            use(b, 2 * b->members[0].nic + OUT, rate);
            use(b,
                2 * (key->kind == GALV_GROUP_TIED ? b->members[0].nic : peer.nic) + IN,
                rate);
            cross(b, &b->members[0], &peer, rate);
        }
    } else if (node_end(b, 0, n) < n) {
        if (key->all_to_all) {
            use_all_to_all(b, n, rate);
        } else {
            use_ring(b, n, 0, n, rate);
        }
    }
}

static bool make_route(builder *b, galv_route *route, const route_key *key)
{
    const pool_place *pool = pool_of(b, (int64_t)key->stage * b->per_stage);
    double rate = rate_of(pool, key->ranks_per_node, key->sharers);
    route->n_groups = b->per_stage / (uint32_t)key->meeting.n;
    route->first_use = GALV_NEW_ARRAY(b->arena, uint32_t, route->n_groups + 1);
    b->uses = NULL;
    b->n_uses = b->most_uses = 0;
    if (route->first_use == NULL) {
        return false;
    }
    for (uint32_t group = 0; group < route->n_groups; group++) {
        use_group(b, key, group, rate);
        if (!finish_group(b)) {
            return false;
        }
        route->first_use[group + 1] = (uint32_t)b->n_uses;
    }
    route->uses = b->uses;
    return true;
}

/* ---- classes ---- */

static route_key key_of(const builder *b, const galv_operation *operation,
                        galv_meeting meeting, galv_group *group)
{
    int kind = galv_meeting_kind(operation);
    bool pair = kind == GALV_GROUP_PP || kind == GALV_GROUP_TIED;
    *group = galv_placement_group(b->plan, b->cluster, (galv_group_kind)kind,
                                  operation->first_layer, operation->stage,
                                  pair ? operation->peer_stage : operation->stage);
    bool copies = galv_plan_n_copies(b->plan) > 1 &&
                  (kind == GALV_GROUP_DP || kind == GALV_GROUP_EXPERT_DP);
    route_key key = {operation->stage,
                     pair ? operation->peer_stage : -1,
                     copies ? b->plan->pp - 1 - operation->stage : -1,
                     meeting,
                     kind,
                     operation->kind == GALV_OP_ALL_TO_ALL,
                     group->n_nodes,
                     group->ranks_per_node,
                     group->sharers_per_node};
    return key;
}

static galv_status fill_classes(builder *b, const galv_program *program,
                                const galv_cost *costs, const galv_meeting *meetings,
                                galv_err *err)
{
    galv_network *network = b->network;
    route_key *keys = GALV_NEW_ARRAY(b->arena, route_key, program->n_classes);
    network->routes = GALV_NEW_ARRAY(b->arena, galv_route, program->n_classes);
    bool failed = keys == NULL || network->routes == NULL;
    for (uint32_t i = 0; i < program->n_classes && !failed; i++) {
        const galv_operation *operation = &program->classes[i];
        galv_network_class *class = &network->classes[i];
        class->route = -1;
        class->scale = class->weight = class->cap = 1;
        if (!(costs[i].inter_share > 0) || galv_meeting_kind(operation) < 0 ||
            operation->kind == GALV_OP_RECV ||
            !(costs[i].latency_s < costs[i].work_s)) {
            continue;
        }
        galv_group group;
        route_key key = key_of(b, operation, meetings[i], &group);
        uint32_t route = 0;
        while (route < network->n_routes && !same_key(&keys[route], &key)) {
            route++;
        }
        if (route == network->n_routes) {
            failed = !make_route(b, &network->routes[route], &key);
            keys[route] = key;
            network->n_routes++;
        }
        const pool_place *pool = pool_of(b, (int64_t)key.stage * b->per_stage);
        class->route = (int32_t)route;
        double transfer_s = costs[i].work_s - costs[i].latency_s;
        class->latency_s = costs[i].latency_s;
        class->scale = fmin(costs[i].inter_share * costs[i].work_s / transfer_s, 1);
        class->weight = key.ranks_per_node / class->scale /
                        rate_of(pool, key.ranks_per_node, key.sharers);
        class->cap = fmax(costs[i].headroom, 1);
    }
    return failed ? galv_fail(err, GALV_NO_MEMORY, "no memory for the network")
                  : GALV_OK;
}

galv_status galv_network_new(galv_network **network, const galv_costmodel *model,
                             const galv_plan *plan, const galv_program *program,
                             const galv_cost *costs, const galv_meeting *meetings,
                             int32_t ranks_per_stage,
                             const galv_differences *differences, galv_arena *arena,
                             galv_err *err)
{
    builder b = {0};
    b.network = GALV_NEW(arena, galv_network);
    b.model = model;
    b.cluster = &galv_costmodel_job(model)->cluster;
    b.plan = plan;
    b.per_stage = (uint32_t)ranks_per_stage;
    b.arena = arena;
    int32_t n_nodes = galv_cluster_n_nodes(b.cluster);
    for (int32_t i = 0; differences != NULL && i < differences->n_slow_links; i++) {
        if (differences->slow_links[i].node >= n_nodes) {
            return galv_fail(err, GALV_USAGE,
                             "slow link of node %d: the cluster has nodes 0 to %d",
                             (int)differences->slow_links[i].node, (int)n_nodes - 1);
        }
    }
    if (b.network != NULL) {
        lay_out_pools(&b);
        b.network->capacities = GALV_NEW_ARRAY(arena, double, b.network->n_links);
        b.network->classes =
            GALV_NEW_ARRAY(arena, galv_network_class, program->n_classes);
        b.using = GALV_NEW_ARRAY(arena, double, b.network->n_links);
        b.used = GALV_NEW_ARRAY(arena, uint32_t, b.network->n_links);
        b.members = GALV_NEW_ARRAY(arena, device_place, 2 * (size_t)b.per_stage);
    }
    if (b.network == NULL || b.network->capacities == NULL ||
        b.network->classes == NULL || b.using == NULL || b.used == NULL ||
        b.members == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for the network");
    }
    fill_capacities(&b, differences);
    galv_status status = fill_classes(&b, program, costs, meetings, err);
    if (status == GALV_OK) {
        *network = b.network;
    }
    return status;
}

/* Routes: which links the groups of a plan use, and how much of each.
 *
 * Where a group's price says it moves R bytes per second through each node (rate_of
 * below, as costmodel/collective.c has it), its m ranks there move R / m each, through
 * their own NICs:
 *
 *   ring         R out and in at every node; from NIC to NIC wherever neighbours of the
 *                ring are under different switches. Trees are taken for rings: they
 *                cross switches as often when well laid out
 *   all-to-all   R out and in at every node; the part that goes to other switches up,
 *                down and over the spine
 *   message      R out at the sender, in at the receiver, and between their switches
 *
 * Rings are laid rail by rail, so they leave their rails only where the ranks of
 * neighbouring nodes are not at the same places. An all-to-all would, but goes over the
 * scale-up links to the rail of its receiver first (NCCL since 2.12, PXN), unless its
 * nodes have buses in the place of such links; messages go from the sender's NIC to the
 * receiver's, whatever their rails.
 *
 * Where devices are on buses, a ring goes out of and into every bus of a node once, an
 * all-to-all of r ranks a bus r (n - r)/(n - 1) times; and what goes to NICs beyond the
 * buses passes their ways out, too. On a torus: plan/torus.c.
 *
 * Left out: collisions of flows on one of many parallel uplinks (ECMP), congestion at
 * switches' buffers, and the scale-up fabric, which is not blocking: the ports of its
 * ranks are shared in all_ranks_rates.c. */
#include "plan/chunks.h"
#include "sim/network_internal.h"

#include <math.h>
#include <string.h>

/* ---- the uses of one group on switches ---- */

/* Members of one domain: [begin, end) of the members, which are in order of rank. */
static uint32_t domain_end(const net_builder *b, uint32_t begin, uint32_t n)
{
    uint32_t end = begin + 1;
    while (end < n && b->members[end].domain == b->members[begin].domain) {
        end++;
    }
    return end;
}

static void use_nics(net_builder *b, uint32_t begin, uint32_t end, double rate)
{
    for (uint32_t i = begin; i < end; i++) {
        galv_net_use_nic(b, &b->members[i], LINK_OUT, rate / (end - begin));
        galv_net_use_nic(b, &b->members[i], LINK_IN, rate / (end - begin));
    }
}

/* From bus to bus, of the members [first, last) of one domain: `ring` bytes per second
 * once round, or `each` of an all-to-all from every rank to every other. */
static void use_buses(net_builder *b, uint32_t first, uint32_t last, double ring,
                      double each)
{
    for (uint32_t begin = first; begin < last && b->members[first].bus >= 0;) {
        uint32_t end = begin + 1;
        while (end < last && b->members[end].bus == b->members[begin].bus) {
            end++;
        }
        uint32_t others = last - first - (end - begin);
        double rate = ring + (double)(end - begin) * others * each;
        for (uint32_t way = LINK_OUT; others > 0 && way <= LINK_IN; way++) {
            galv_net_use(b, (uint32_t)b->members[begin].bus + way, rate);
        }
        begin = end;
    }
}

/* What the members [from, to) use of a ring of n. */
static void use_ring(net_builder *b, uint32_t n, uint32_t from, uint32_t to,
                     double rate)
{
    for (uint32_t begin = 0; begin < to;) {
        uint32_t end = domain_end(b, begin, n);
        uint32_t next = end < n ? end : 0; /* first member of the next node */
        uint32_t next_end = domain_end(b, next, n);
        bool own = begin >= from;
        if (own) {
            use_nics(b, begin, end, rate);
            use_buses(b, begin, end, rate, 0);
        }
        for (uint32_t i = begin; i < end && own; i++) {
            uint32_t other = next + (i - begin) % (next_end - next);
            galv_net_cross(b, &b->members[i], &b->members[other], rate / (end - begin));
        }
        begin = end;
    }
}

/* Are two members under different switches of a level, seen by an all-to-all? */
static bool apart(const net_builder *b, const net_place *a, const net_place *c,
                  int32_t level, bool forwards)
{
    uint32_t rails = level == 0 && forwards ? b->n_rails : 1;
    return a->switches[level] / rails != c->switches[level] / rails;
}

static void use_all_to_all(net_builder *b, uint32_t n, double rate, bool forwards)
{
    for (uint32_t begin = 0; begin < n;) {
        uint32_t end = domain_end(b, begin, n);
        double each = rate / (end - begin) / (n - (end - begin)); /* for a peer */
        use_nics(b, begin, end, rate);
        use_buses(b, begin, end, 0, each);
        double away = 1;
        for (uint32_t i = begin; i < end; i++) {
            const net_place *from = &b->members[i];
            int32_t k = 0;
            for (; k < b->cluster->n_levels && away > 0; k++) {
                away = 0;
                for (uint32_t j = 0; j < n; j++) {
                    away += (j < begin || j >= end) &&
                            apart(b, from, &b->members[j], k, forwards);
                }
                if (away > 0) {
                    uint32_t up = b->first_uplink[k] + 2 * from->switches[k];
                    galv_net_use(b, up + LINK_OUT, away * each);
                    galv_net_use(b, up + LINK_IN, away * each);
                }
            }
            if (k > 0 && away > 0) {
                galv_net_use(b, b->spine, away * each);
            }
            away = 1;
        }
        begin = end;
    }
}

/* ---- on a torus ---- */

/* The node `steps` on from a node along a dimension. */
static int64_t step_on(const net_builder *b, int64_t node, int32_t dim, int32_t steps)
{
    int64_t stride = 1;
    for (int32_t i = 0; i < dim; i++) {
        stride *= b->cluster->torus[i];
    }
    int64_t side = b->cluster->torus[dim];
    int64_t at = node / stride % side;
    return node + ((at + steps % side + side) % side - at) * stride;
}

/* `steps` wires from a node on, upwards where they are positive. */
static void use_wires(net_builder *b, int64_t node, int32_t dim, int32_t steps,
                      double rate)
{
    int32_t one = steps < 0 ? -1 : 1;
    for (int32_t i = 0; i != steps; i += one) {
        galv_net_use(b, galv_net_wire(b, node, dim, one < 0), rate);
        node = step_on(b, node, dim, one);
    }
}

/* Where a node of a box stands in its line along a dimension: 0 .. nodes - 1. */
static int32_t place_in_box(const net_builder *b, const galv_torus_box *box,
                            int64_t node, int32_t dim)
{
    for (int32_t i = 0; i < dim; i++) {
        node /= b->cluster->torus[i];
    }
    return (int32_t)(node % b->cluster->torus[dim] / box->spacing[dim] %
                     box->nodes[dim]);
}

/* What a node's wires along a dimension carry up to the next node of the box: the whole
 * way round, or as far as the end of the line. */
static void use_dimension(net_builder *b, const galv_torus_box *box, int64_t node,
                          int32_t dim, double rate, bool all_to_all)
{
    int32_t m = box->nodes[dim];
    int32_t q = box->spacing[dim];
    int32_t at = place_in_box(b, box, node, dim);
    if (box->whole[dim]) {
        double each = all_to_all ? rate * galv_torus_mean_way(m) / 2 : rate;
        use_wires(b, node, dim, q, each);
        use_wires(b, node, dim, -q, each);
    } else if (at + 1 < m) {
        double each = all_to_all ? rate * (at + 1) * (m - at - 1) / m : rate;
        use_wires(b, node, dim, q, each);
        use_wires(b, step_on(b, node, dim, q), dim, -q, each);
    }
}

static void use_torus(net_builder *b, const galv_torus_box *box, uint32_t n,
                      double rate, bool all_to_all)
{
    double ways = 0; /* that a ring's bytes are spread over */
    double n_nodes = 1;
    for (int32_t dim = 0; dim < box->n_dims; dim++) {
        n_nodes *= box->nodes[dim];
        ways +=
            box->nodes[dim] > 1 ? (box->whole[dim] ? 2.0 : 1.0) / box->spacing[dim] : 0;
    }
    for (uint32_t i = 0; i < n; i = domain_end(b, i, n)) {
        for (int32_t dim = 0; dim < box->n_dims; dim++) {
            double part =
                all_to_all ? n_nodes / (n_nodes - 1) : 1 / (ways * box->spacing[dim]);
            if (box->nodes[dim] > 1) {
                use_dimension(b, box, b->members[i].node, dim, rate * part, all_to_all);
            }
        }
    }
}

static void use_torus_message(net_builder *b, int64_t from, int64_t to, double rate)
{
    int32_t steps[GALV_MAX_TORUS_DIM];
    galv_torus_step(steps, b->cluster, from, to);
    for (int32_t dim = 0; dim < GALV_MAX_TORUS_DIM; dim++) {
        if (steps[dim] != 0) {
            use_wires(b, from, dim, steps[dim], rate);
            from = step_on(b, from, dim, steps[dim]);
        }
    }
}

/* ---- routes ---- */

/* What tells routes apart. */
typedef struct route_key {
    int32_t stage, peer_stage; /* peer -1: no message */
    int32_t twin_stage; /* holds copies of the same layers and takes part; -1 = none */
    galv_meeting meeting;
    int kind; /* galv_group_kind */
    bool all_to_all;
    galv_group group;
    double rate; /* bytes per second of each node's network; 1 inside a domain */
} route_key;

static bool same_key(const route_key *a, const route_key *b)
{
    return a->stage == b->stage && a->peer_stage == b->peer_stage &&
           a->twin_stage == b->twin_stage && a->meeting.stride == b->meeting.stride &&
           a->meeting.n == b->meeting.n && a->kind == b->kind &&
           a->all_to_all == b->all_to_all && a->group.n_nodes == b->group.n_nodes &&
           a->group.ranks_per_node == b->group.ranks_per_node &&
           a->group.sharers_per_node == b->group.sharers_per_node;
}

/* Bytes per second that a group has of each of its nodes' networks. */
static double rate_of(const net_pool *pool, const galv_group *group, bool all_to_all)
{
    double nic = pool->device_rate * pool->per_node / (double)pool->n_nics;
    double node = pool->device_rate * pool->domain_size;
    double share = all_to_all ? group->spread_share : group->ring_share;
    return fmin(group->ranks_per_node * nic, node / group->sharers_per_node) *
           (share > 0 ? share : 1);
}

static void use_message(net_builder *b, const route_key *key, uint32_t place)
{
    net_place *from = &b->members[0];
    net_place to = galv_net_locate(b, (int64_t)key->peer_stage * b->per_stage + place);
    if (to.domain == from->domain) {
        if (from->bus >= 0 && from->bus != to.bus) {
            galv_net_use(b, (uint32_t)from->bus + LINK_OUT, key->rate);
            galv_net_use(b, (uint32_t)to.bus + LINK_IN, key->rate);
        }
    } else if (b->cluster->torus[0] > 0) {
        use_torus_message(b, from->node, to.node, key->rate);
    } else {
        galv_net_use_nic(b, from, LINK_OUT, key->rate);
        /* of tied embeddings either stage has an operation */
        galv_net_use_nic(b, key->kind == GALV_GROUP_TIED ? from : &to, LINK_IN,
                         key->rate);
        galv_net_cross(b, from, &to, key->rate);
    }
}

/* A ring over the ranks of both stages that hold the copies of some layers. Either
 * stage has an operation for it, which uses what its own members do. */
static void use_group_of_copies(net_builder *b, const route_key *key, uint32_t first)
{
    bool before = key->stage < key->twin_stage;
    uint32_t n = (uint32_t)key->meeting.n;
    const int32_t stages[2] = {before ? key->stage : key->twin_stage,
                               before ? key->twin_stage : key->stage};
    for (uint32_t k = 0; k < 2 * n; k++) {
        int64_t stage_rank = (int64_t)stages[k / n] * b->per_stage;
        b->members[k] = galv_net_locate(b, stage_rank + first +
                                               k % n * (uint32_t)key->meeting.stride);
    }
    if (domain_end(b, 0, 2 * n) < 2 * n) {
        use_ring(b, 2 * n, before ? 0 : n, before ? n : 2 * n, key->rate);
    }
}

static void use_group(net_builder *b, const route_key *key, uint32_t group)
{
    uint32_t first = galv_meeting_first_place(key->meeting, group);
    int64_t stage_rank = (int64_t)key->stage * b->per_stage;
    const net_pool *pool = galv_net_pool_of(b, stage_rank);
    uint32_t n = (uint32_t)key->meeting.n;
    uint32_t stride = (uint32_t)key->meeting.stride;
    if (key->twin_stage >= 0) {
        use_group_of_copies(b, key, first);
        return;
    }
    for (uint32_t k = 0; k < n; k++) {
        b->members[k] = galv_net_locate(b, stage_rank + first + k * stride);
    }
    galv_torus_box box;
    if (key->peer_stage >= 0) { /* with the same place of another stage */
        use_message(b, key, first);
    } else if (domain_end(b, 0, n) >= n) {
        if (key->group.ranks_per_bus > 0 && key->group.n_nodes == 1) {
            use_buses(b, 0, n, key->all_to_all ? 0 : 1,
                      key->all_to_all ? 1.0 / (n - 1) : 0);
        }
    } else if (b->cluster->torus[0] > 0) {
        uint32_t domain = (uint32_t)pool->domain_size;
        if (galv_torus_find_box(&box, b->cluster, stride > domain ? stride / domain : 1,
                                key->group.n_nodes)) {
            use_torus(b, &box, n, key->rate, key->all_to_all);
        }
    } else if (key->all_to_all) {
        use_all_to_all(b, n, key->rate, pool->forwards);
    } else {
        use_ring(b, n, 0, n, key->rate);
    }
}

/* Turns what has been used into the next group's uses. */
static bool finish_group(net_builder *b)
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

static bool make_route(net_builder *b, galv_route *route, const route_key *key)
{
    route->n_groups = b->per_stage / (uint32_t)key->meeting.n;
    route->first_use = GALV_NEW_ARRAY(b->arena, uint32_t, route->n_groups + 1);
    b->uses = NULL;
    b->n_uses = b->most_uses = 0;
    if (route->first_use == NULL) {
        return false;
    }
    for (uint32_t group = 0; group < route->n_groups; group++) {
        use_group(b, key, group);
        if (!finish_group(b)) {
            return false;
        }
        route->first_use[group + 1] = (uint32_t)b->n_uses;
    }
    route->uses = b->uses;
    return true;
}

/* ---- classes ---- */

static route_key key_of(const net_builder *b, const galv_operation *operation,
                        galv_meeting meeting)
{
    int kind = galv_meeting_kind(operation);
    bool pair = kind == GALV_GROUP_PP || kind == GALV_GROUP_TIED;
    int32_t peer = pair ? operation->peer_stage : operation->stage;
    bool copies = galv_plan_n_copies(b->plan) > 1 &&
                  (kind == GALV_GROUP_DP || kind == GALV_GROUP_EXPERT_DP);
    route_key key = {operation->stage,
                     pair ? peer : -1,
                     copies ? b->plan->pp - 1 - operation->stage : -1,
                     meeting,
                     kind,
                     operation->kind == GALV_OP_ALL_TO_ALL,
                     galv_placement_group(b->plan, b->cluster, (galv_group_kind)kind,
                                          operation->first_layer, operation->stage,
                                          peer),
                     1};
    if (key.group.n_nodes > 1) {
        const net_pool *pool = galv_net_pool_of(b, (int64_t)key.stage * b->per_stage);
        const net_pool *other = galv_net_pool_of(b, (int64_t)peer * b->per_stage);
        key.rate = rate_of(pool, &key.group, key.all_to_all);
        if (other != pool) { /* between pools, at the pace of the slower */
            galv_group back =
                galv_placement_group(b->plan, b->cluster, (galv_group_kind)kind,
                                     operation->first_layer, peer, operation->stage);
            key.rate = fmin(key.rate, rate_of(other, &back, false));
        }
    }
    return key;
}

/* Bytes per second over each way from bus to bus: bus bandwidth, as nccl-tests has it.
 */
static double bus_rate(const galv_operation *operation, const galv_cost *cost,
                       int32_t n_ranks)
{
    double n = n_ranks;
    double factor = (n - 1) / n;
    switch (operation->kind) {
    case GALV_OP_ALL_REDUCE:
        factor *= 2;
        break;
    case GALV_OP_SEND:
    case GALV_OP_RING_EXCHANGE:
        factor = 1;
        break;
    default:
        break;
    }
    return factor * cost->message_bytes / (cost->work_s - cost->latency_s);
}

static void fill_class(galv_network_class *class, const galv_operation *operation,
                       const galv_cost *cost, const route_key *key, uint32_t route)
{
    double transfer_s = cost->work_s - cost->latency_s;
    class->route = (int32_t)route;
    class->latency_s = cost->latency_s;
    class->cap = fmax(cost->headroom, 1);
    if (key->group.n_nodes > 1) {
        class->scale = fmin(cost->inter_share * cost->work_s / transfer_s, 1);
        class->weight = key->group.ranks_per_node / class->scale / key->rate;
    } else {
        class->scale = bus_rate(operation, cost, key->group.n_ranks);
        class->weight = 1 / class->scale;
    }
}

/* Does a class use a link that others share? */
static bool is_routed(const route_key *key, const galv_operation *operation,
                      const galv_cost *cost, const net_pool *pool)
{
    bool bus =
        key->group.ranks_per_bus > 0 || (key->peer_stage >= 0 && pool->n_buses > 0);
    return operation->kind != GALV_OP_RECV && cost->latency_s < cost->work_s &&
           (key->group.n_nodes > 1 ? cost->inter_share > 0
                                   : bus && cost->message_bytes > 0);
}

static galv_status fill_classes(net_builder *b, const galv_program *program,
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
        if (galv_meeting_kind(operation) < 0 || !(costs[i].work_s > 0)) {
            continue;
        }
        route_key key = key_of(b, operation, meetings[i]);
        if (!is_routed(&key, operation, &costs[i],
                       galv_net_pool_of(b, (int64_t)key.stage * b->per_stage))) {
            continue;
        }
        uint32_t route = 0;
        while (route < network->n_routes && !same_key(&keys[route], &key)) {
            route++;
        }
        if (route == network->n_routes) {
            failed = !make_route(b, &network->routes[route], &key);
            keys[route] = key;
            network->n_routes++;
        }
        fill_class(class, operation, &costs[i], &key, route);
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
    net_builder b = {0};
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
        galv_net_lay_out(&b);
        b.network->capacities = GALV_NEW_ARRAY(arena, double, b.network->n_links);
        b.network->classes =
            GALV_NEW_ARRAY(arena, galv_network_class, program->n_classes);
        b.using = GALV_NEW_ARRAY(arena, double, b.network->n_links);
        b.used = GALV_NEW_ARRAY(arena, uint32_t, b.network->n_links);
        b.members = GALV_NEW_ARRAY(arena, net_place, 2 * (size_t)b.per_stage);
    }
    if (b.network == NULL || b.network->capacities == NULL ||
        b.network->classes == NULL || b.using == NULL || b.used == NULL ||
        b.members == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for the network");
    }
    galv_net_fill_capacities(&b, differences);
    galv_status status = fill_classes(&b, program, costs, meetings, err);
    if (status == GALV_OK) {
        *network = b.network;
    }
    return status;
}

/* Links and their capacities.
 *
 * Units are bytes per second; a device has of the network what messages are priced by,
 * a NIC the sum over the devices nearest to it. A switch's uplink carries what can come
 * from below over the oversubscription of its level; the spine, one link for all that
 * crosses the last level, the sum of that level over its own. On rail-optimised
 * networks a group of the first level has a switch for every NIC of a node. A bus has
 * its way out; the NICs that serve devices of one bus alone lie on it, the others
 * beyond its way out. A torus has no NICs, switches or spine: every node has two wires
 * along each dimension, with equal parts of its bandwidth.
 *
 * A slow link of a node slows its NICs, or all wires from and to it. */
#include "sim/network_internal.h"

#include <math.h>

static int32_t at_least(int32_t value, int32_t least)
{
    return value > least ? value : least;
}

static void lay_out_pools(net_builder *b)
{
    net_pool next = {0};
    for (int32_t i = 0; i < b->cluster->n_pools; i++) {
        const galv_pool *pool = &b->cluster->pools[i];
        net_pool *at = &b->pools[i];
        *at = next;
        at->per_node = at_least(pool->devices_per_node, 1);
        at->domain_size = at_least(pool->scaleup_domain, at->per_node);
        at->n_nics = pool->nics_per_node > 0 && pool->nics_per_node < at->per_node
                         ? pool->nics_per_node
                         : at->per_node;
        at->n_buses =
            pool->devices_per_bus > 0 ? at->per_node / pool->devices_per_bus : 0;
        at->bus_rate = pool->bus_bytes_per_s;
        at->forwards = at->n_buses == 0;
        at->device_rate = galv_costmodel_network_rate(b->model, i);
        int64_t n_devices = (int64_t)pool->n_nodes * at->per_node;
        next.first_rank += n_devices;
        next.first_domain +=
            (int32_t)((n_devices + at->domain_size - 1) / at->domain_size);
        next.first_node += pool->n_nodes;
        next.first_nic += (uint32_t)pool->n_nodes * (uint32_t)at->n_nics;
        next.first_bus += (uint32_t)pool->n_nodes * (uint32_t)at->n_buses;
    }
    b->first_bus = 2 * next.first_nic; /* levels go between, see below */
    b->first_wire = 2 * next.first_bus;
}

void galv_net_lay_out(net_builder *b)
{
    uint32_t n_nodes = (uint32_t)galv_cluster_n_nodes(b->cluster);
    lay_out_pools(b);
    uint32_t n_links = b->first_bus;
    uint32_t n_bus_links = b->first_wire;
    b->n_rails = 1;
    for (int32_t i = 0; i < b->cluster->n_pools && b->cluster->rail_optimized; i++) {
        b->n_rails = (uint32_t)at_least(b->pools[i].n_nics, (int32_t)b->n_rails);
    }
    for (int32_t k = 0; k < b->cluster->n_levels; k++) {
        uint32_t under = (uint32_t)b->cluster->levels[k].n_nodes;
        b->n_switches[k] = (n_nodes + under - 1) / under * (k == 0 ? b->n_rails : 1);
        b->first_uplink[k] = n_links;
        n_links += 2 * b->n_switches[k];
    }
    b->spine = n_links++;
    b->first_bus = n_links;
    n_links += n_bus_links;
    b->first_wire = n_links;
    n_links += 2 * n_nodes * (uint32_t)galv_cluster_n_torus_dims(b->cluster);
    b->network->n_links = n_links;
}

static uint32_t uplink(const net_builder *b, int32_t level, uint32_t index,
                       int direction)
{
    return b->first_uplink[level] + 2 * index + (uint32_t)direction;
}

uint32_t galv_net_wire(const net_builder *b, int64_t node, int32_t dim, int direction)
{
    uint32_t n_dims = (uint32_t)galv_cluster_n_torus_dims(b->cluster);
    return b->first_wire + 2 * ((uint32_t)node * n_dims + (uint32_t)dim) +
           (uint32_t)direction;
}

/* ---- capacities ---- */

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

static uint32_t switch_of(const net_builder *b, int32_t level, int32_t node,
                          uint32_t rail)
{
    uint32_t group = (uint32_t)(node / b->cluster->levels[level].n_nodes);
    return level == 0 ? group * b->n_rails + rail : group;
}

static uint32_t rail_of(const net_builder *b, int32_t nic_of_node)
{
    return b->cluster->rail_optimized ? (uint32_t)nic_of_node : 0;
}

static void fill_node(net_builder *b, const net_pool *pool, int32_t node,
                      const galv_differences *differences)
{
    double *capacities = b->network->capacities;
    double rate = pool->device_rate * pool->per_node / pool->n_nics;
    int32_t global = pool->first_node + node;
    double slowed = slowed_node(differences, global);
    for (int32_t nic = 0; nic < pool->n_nics; nic++) {
        uint32_t at = 2 * (pool->first_nic + (uint32_t)(node * pool->n_nics + nic));
        capacities[at + LINK_OUT] = capacities[at + LINK_IN] = rate * slowed;
        double up_rate = rate;
        for (int32_t k = 0; k < b->cluster->n_levels; k++) {
            uint32_t up = uplink(b, k, switch_of(b, k, global, rail_of(b, nic)), 0);
            up_rate /= b->cluster->levels[k].oversubscription;
            capacities[up] += up_rate;
            capacities[up + 1] += up_rate;
        }
        capacities[b->spine] += up_rate / fmax(b->cluster->oversubscription, 1);
    }
    for (int32_t bus = 0; bus < pool->n_buses; bus++) {
        uint32_t at = b->first_bus +
                      2 * (pool->first_bus + (uint32_t)(node * pool->n_buses + bus));
        capacities[at + LINK_OUT] = capacities[at + LINK_IN] = pool->bus_rate;
    }
}

static void fill_wires(net_builder *b, const galv_differences *differences)
{
    const galv_cluster *cluster = b->cluster;
    int32_t n_dims = galv_cluster_n_torus_dims(cluster);
    const net_pool *pool = &b->pools[0];
    double rate = pool->device_rate * pool->per_node / (2.0 * n_dims);
    int64_t stride = 1;
    for (int32_t dim = 0; dim < n_dims; dim++) {
        int64_t side = cluster->torus[dim];
        for (int64_t node = 0; node < cluster->pools[0].n_nodes; node++) {
            int64_t at = node / stride % side;
            int64_t next = node + ((at + 1) % side - at) * stride;
            double slowed = fmin(slowed_node(differences, (int32_t)node),
                                 slowed_node(differences, (int32_t)next));
            b->network->capacities[galv_net_wire(b, node, dim, 0)] = rate * slowed;
            b->network->capacities[galv_net_wire(b, next, dim, 1)] = rate * slowed;
        }
        stride *= side;
    }
}

void galv_net_fill_capacities(net_builder *b, const galv_differences *differences)
{
    for (int32_t i = 0; i < b->cluster->n_pools; i++) {
        for (int32_t node = 0; node < b->cluster->pools[i].n_nodes; node++) {
            fill_node(b, &b->pools[i], node, differences);
        }
    }
    if (b->cluster->torus[0] > 0) {
        fill_wires(b, differences);
    }
    for (uint32_t i = 0; i < b->network->n_links; i++) { /* rails that a pool lacks */
        double *capacity = &b->network->capacities[i];
        *capacity = *capacity > 0 ? *capacity : 1;
    }
}

/* ---- places ---- */

const net_pool *galv_net_pool_of(const net_builder *b, int64_t rank)
{
    int32_t i = b->cluster->n_pools - 1;
    while (i > 0 && rank < b->pools[i].first_rank) {
        i--;
    }
    return &b->pools[i];
}

net_place galv_net_locate(const net_builder *b, int64_t rank)
{
    const net_pool *pool = galv_net_pool_of(b, rank);
    int32_t device = (int32_t)(rank - pool->first_rank);
    int32_t node = device / pool->per_node;
    int32_t in_node = device % pool->per_node;
    int32_t nic = in_node * pool->n_nics / pool->per_node;
    net_place place = {.domain = pool->first_domain + device / pool->domain_size,
                       .node = pool->first_node + node,
                       .bus = -1,
                       .rail = rail_of(b, nic)};
    place.nic = 2 * (pool->first_nic + (uint32_t)(node * pool->n_nics + nic));
    if (pool->n_buses > 0) {
        int32_t bus = in_node * pool->n_buses / pool->per_node;
        place.bus =
            (int32_t)(b->first_bus +
                      2 * (pool->first_bus + (uint32_t)(node * pool->n_buses + bus)));
        place.nic_past_bus = pool->n_nics < pool->n_buses;
    }
    for (int32_t k = 0; k < b->cluster->n_levels; k++) {
        place.switches[k] = switch_of(b, k, place.node, place.rail);
    }
    return place;
}

/* ---- uses ---- */

void galv_net_use(net_builder *b, uint32_t link, double bytes_per_s)
{
    if (!(b->using[link] > 0)) {
        b->used[b->n_used++] = link;
    }
    b->using[link] += bytes_per_s;
}

void galv_net_use_nic(net_builder *b, const net_place *place, int direction,
                      double bytes_per_s)
{
    galv_net_use(b, place->nic + (uint32_t)direction, bytes_per_s);
    if (place->bus >= 0 && place->nic_past_bus) {
        galv_net_use(b, (uint32_t)(place->bus + direction), bytes_per_s);
    }
}

void galv_net_cross(net_builder *b, const net_place *from, const net_place *to,
                    double bytes_per_s)
{
    int32_t k = 0;
    while (k < b->cluster->n_levels && from->switches[k] != to->switches[k]) {
        galv_net_use(b, uplink(b, k, from->switches[k], LINK_OUT), bytes_per_s);
        galv_net_use(b, uplink(b, k, to->switches[k], LINK_IN), bytes_per_s);
        k++;
    }
    if (k > 0 && k == b->cluster->n_levels) {
        galv_net_use(b, b->spine, bytes_per_s);
    }
}

/* The links of a cluster while routes are made (network_links.c, network.c). */
#ifndef GALV_SIM_NETWORK_INTERNAL_H
#define GALV_SIM_NETWORK_INTERNAL_H

#include "plan/torus.h"
#include "sim/network.h"

enum { LINK_OUT, LINK_IN }; /* of a NIC or bus; of a switch: up, down */

/* Where a pool lies in the numbering of devices and of links. */
typedef struct net_pool {
    int64_t first_rank;
    int32_t first_domain, first_node;
    uint32_t first_nic, first_bus;
    int32_t domain_size, per_node, n_nics, n_buses; /* of a node; n_buses 0: none */
    double device_rate, bus_rate;                   /* bytes per second */
    bool forwards; /* devices of a domain send through each other's NICs (PXN) */
} net_pool;

/* The way of a device to the top: its bus, NIC, and a switch of every level. */
typedef struct net_place {
    int32_t domain, node;
    int32_t bus;       /* link of its way out; -1: none */
    bool nic_past_bus; /* its NIC serves other buses, too */
    uint32_t nic;      /* link of its NIC */
    uint32_t rail;
    uint32_t switches[GALV_MAX_LEVELS]; /* on the first level by rail */
} net_place;

typedef struct net_builder {
    galv_network *network;
    const galv_costmodel *model;
    const galv_cluster *cluster;
    const galv_plan *plan;
    uint32_t per_stage;
    net_pool pools[GALV_MAX_POOLS];
    uint32_t n_rails; /* switches of a group of the first level */
    uint32_t n_switches[GALV_MAX_LEVELS], first_uplink[GALV_MAX_LEVELS];
    uint32_t spine, first_bus, first_wire;
    double *using;  /* [n_links] of the group at hand */
    uint32_t *used; /* links with using > 0 */
    uint32_t n_used;
    net_place *members;  /* [2 * per_stage] */
    galv_link_use *uses; /* of the route at hand, growing */
    size_t n_uses, most_uses;
    galv_arena *arena;
} net_builder;

/* Numbers the links: NICs, uplinks of each level, the spine, buses, wires of a torus;
 * sets network->n_links. */
void galv_net_lay_out(net_builder *b);

/* Fills network->capacities [n_links]. */
void galv_net_fill_capacities(net_builder *b, const galv_differences *differences);

const net_pool *galv_net_pool_of(const net_builder *b, int64_t rank);
net_place galv_net_locate(const net_builder *b, int64_t rank);

/* Adds bytes per second to what the group at hand uses. */
void galv_net_use(net_builder *b, uint32_t link, double bytes_per_s);
void galv_net_use_nic(net_builder *b, const net_place *place, int direction,
                      double bytes_per_s);

/* From NIC to NIC above them; forwarded: to the receiver's rail before it leaves. */
void galv_net_cross(net_builder *b, const net_place *from, const net_place *to,
                    double bytes_per_s);

/* The link that leaves a node of a torus upwards (0) or downwards (1) along `dim`. */
uint32_t galv_net_wire(const net_builder *b, int64_t node, int32_t dim, int direction);

#endif

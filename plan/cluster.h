/* The cluster: pools of identical nodes, and the network between them.
 *
 * From the inside out: devices of one bus (a PCIe switch or host bridge) share its way
 * out; devices of one scale-up domain (NVLink, xGMI) reach each other without the
 * network; nodes have NICs; NICs meet in switches, level by level, whose ways up may be
 * oversubscribed, and above the last level in a spine. Or there are no switches and
 * nodes are wired to their neighbours, as a torus. */
#ifndef GALV_PLAN_CLUSTER_H
#define GALV_PLAN_CLUSTER_H

#include "base/json.h"
#include "base/status.h"
#include "plan/workload.h"

#include <stdint.h>

/* One accelerator as the catalog knows it. 0 = unknown or not supported. */
typedef struct galv_device {
    char id[32]; /* "h100-sxm-80gb" */
    char name[48];
    char vendor[24];
    char arch[24]; /* "Hopper" */
    int32_t year;
    uint64_t memory_bytes;                     /* as sold */
    double memory_bytes_per_s;                 /* peak of the memory */
    double peak_flop_per_s[GALV_N_PRECISIONS]; /* dense matrix peak by precision */
    double sustained_bf16_flop_per_s;          /* best measured matrix product */
    int32_t n_sm;
    double clock_hz; /* boost */
    double tdp_w;
    char scaleup_link[24];      /* "NVLink4" */
    double scaleup_bytes_per_s; /* to all peers, one direction */
    double p2p_bytes_per_s;     /* to one peer, one direction */
    int32_t pcie_generation;
    double usd_per_hour_low, usd_per_hour_high; /* rent of one device */
    double purchase_usd_low, purchase_usd_high;
    char sources[256];
    char recalled_fields[192]; /* fields without a source, ';' between; "all" */
} galv_device;

/* Identical nodes. A cluster has one pool, or several when it is mixed. */
typedef struct galv_pool {
    galv_device device;
    int32_t n_nodes;
    int32_t devices_per_node;
    int32_t scaleup_domain;   /* devices that reach each other by the scale-up link:
                                 = devices_per_node, or more (72 in an NVL72 rack) */
    double intra_bytes_per_s; /* inside the domain, per device, one direction */
    double intra_latency_s;   /* one hop */
    double inter_bytes_per_s; /* nominal network, per device, one direction */
    double inter_efficiency;  /* share of nominal that a long message gets, 0..1 */
    double inter_latency_s;   /* one message, end to end */
    int32_t nics_per_node;
    int32_t devices_per_bus; /* devices that share one way to the others, and to a NIC
                                that serves not them alone: those of a PCIe switch or
                                host bridge; 0 = no such thing: all are switched */
    double bus_bytes_per_s;  /* of that way, one direction */
    char host[48];
} galv_pool;

#define GALV_MAX_POOLS 4

/* A level of switches: groups of n_nodes nodes that reach each other under it, with a
 * way up that carries 1 / oversubscription of what can come from below. */
typedef struct galv_level {
    char name[16]; /* "leaf", "pod" */
    int32_t n_nodes;
    double oversubscription; /* 1 = none */
} galv_level;

#define GALV_MAX_LEVELS    4
#define GALV_MAX_TORUS_DIM 3

typedef struct galv_cluster {
    char name[GALV_NAME_SIZE];
    int32_t n_pools;
    galv_pool pools[GALV_MAX_POOLS];
    char fabric[48];                    /* "InfiniBand NDR" */
    char topology[64];                  /* "rail-optimized fat tree" */
    int32_t n_levels;                   /* 0 = one switch for all */
    galv_level levels[GALV_MAX_LEVELS]; /* from the nodes up; each is a whole number of
                                           the one before it */
    double oversubscription; /* of the spine above the last level; 1 = none */
    bool rail_optimized;     /* the first level has a switch for each NIC of a node:
                                the i-th NICs of its nodes meet in switch i */
    int32_t torus[GALV_MAX_TORUS_DIM]; /* nodes in each dimension, wired to their
                                          neighbours in a ring; {0} = switched. Nodes
                                          count through the first dimension first */
    double usd_per_device_hour;        /* 0 = unknown */
    double node_power_w;               /* one node under load; 0 = unknown. Both are
                                          means where pools differ */
    char sources[384];
    char recalled_fields[192];
} galv_cluster;

/* Rent of one device, USD an hour: midway between what is asked for it; 0 = unknown. */
double galv_device_usd_per_hour(const galv_device *device);

/* Devices in all pools. */
int64_t galv_cluster_n_devices(const galv_cluster *cluster);
int32_t galv_cluster_n_nodes(const galv_cluster *cluster);

/* Dimensions of the torus; 0 = switched. */
int32_t galv_cluster_n_torus_dims(const galv_cluster *cluster);

/* Changes the number of nodes (of a cluster with one pool). 1 <= n_nodes <= 10^6. A
 * torus is laid out anew with as many dimensions, as near to a cube as they go. */
galv_status galv_cluster_set_nodes(galv_cluster *cluster, int32_t n_nodes,
                                   galv_err *err);

/* A cluster made of one GPU type in its usual node (8 a node by scale-up link; from
 * the systems catalog where it has one). Errors: GALV_USAGE with the nearest id. */
galv_status galv_cluster_from_device(galv_cluster *cluster, const char *device_id,
                                     int32_t n_nodes, galv_err *err);

/* "cluster.inter.bandwidth=2x", "inter.latency=5us", "device.memory=141GiB",
 * "intra.bandwidth=900GB/s": the what-if of --set, on every pool. Paths:
 * {intra,inter}.{bandwidth,latency}, inter.{efficiency,nics}, device.{memory,
 * memory_bandwidth,flops}, usd_per_device_hour, devices_per_node, bus.{devices,
 * bandwidth}, {leaf,pod}.{nodes,oversubscription} (the first and the second level),
 * spine.oversubscription; an optional leading "cluster." is dropped. A value ending in
 * 'x' multiplies. With another number of devices the power of a node is unknown.
 * Errors: GALV_USAGE. */
galv_status galv_cluster_set(galv_cluster *cluster, const char *assignment,
                             galv_err *err);

galv_status galv_cluster_check(const galv_cluster *cluster, galv_err *err);
galv_status galv_cluster_from_json(galv_cluster *cluster, galv_json_value value,
                                   galv_err *err);
void galv_cluster_to_json(const galv_cluster *cluster, galv_json_writer *writer);
void galv_device_to_json(const galv_device *device, galv_json_writer *writer);

/* A catalog name or a file of ours ("schema": "galvatron-sim/cluster"). n_nodes 0 =
 * what the file says (catalog: 1). */
galv_status galv_cluster_load(galv_cluster *cluster, const char *name_or_path,
                              int32_t n_nodes, galv_err *err);

#endif

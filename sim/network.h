/* The network of a cluster as links, and what the meetings of a program use of them.
 *
 * Links: every NIC, out and in; every leaf switch's uplink, up and down (one per rail
 * where the cluster is rail-optimised); the spine. A device uses the NIC nearest to it.
 * Which links a collective uses follows from its pattern: a ring enters and leaves each
 * node once, its traffic spread over the NICs of its ranks there, and crosses from leaf
 * to leaf only between neighbours; an all-to-all sends from every node to every other;
 * a message has one way. Who shares what, and when, is then the simulation's business
 * (max_min.h).
 *
 * A meeting is latency, then transfer (costmodel/cost.h); the links are held by the
 * transfer alone. Prices take it that all groups of a kind that share a node's network
 * use it at once, and rate 1 is that. Where the others are silent a transfer may go
 * faster, up to `cap`. */
#ifndef GALV_SIM_NETWORK_H
#define GALV_SIM_NETWORK_H

#include "costmodel/costmodel.h"
#include "sim/differences.h"
#include "sim/max_min.h"
#include "sim/meeting.h"

/* Links of all groups that meet in the same way: group g uses
 * uses[first_use[g] .. first_use[g + 1]), at the priced rate with all of its time spent
 * on the network. */
typedef struct galv_route {
    uint32_t n_groups;
    uint32_t *first_use; /* [n_groups + 1] */
    galv_link_use *uses;
} galv_route;

/* What a class of operations asks of the network. */
typedef struct galv_network_class {
    int32_t route;      /* index of routes; -1: stays off the network */
    double scale;       /* of the route's uses */
    double weight, cap; /* see galv_max_min_begin; the weight is one over the bytes per
                           second of one of its NICs */
    double latency_s;   /* of its work: goes before the transfer, off the links */
} galv_network_class;

typedef struct galv_network {
    uint32_t n_links;
    double *capacities; /* [n_links] bytes per second */
    uint32_t n_routes;
    galv_route *routes;          /* [n_routes] */
    galv_network_class *classes; /* [n_classes] of the program */
} galv_network;                  /* everything is owned by the arena */

/* The network under a plan's program. `differences` (NULL allowed) has the slow links.
 * Errors: GALV_USAGE (a slow link of no node), GALV_NO_MEMORY. */
galv_status galv_network_new(galv_network **network, const galv_costmodel *model,
                             const galv_plan *plan, const galv_program *program,
                             const galv_cost *costs, const galv_meeting *meetings,
                             int32_t ranks_per_stage,
                             const galv_differences *differences, galv_arena *arena,
                             galv_err *err);

#endif

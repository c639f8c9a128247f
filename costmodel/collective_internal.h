/* Collectives: groups on links, bytes in, seconds out. */
#ifndef GALV_COSTMODEL_COLLECTIVE_INTERNAL_H
#define GALV_COSTMODEL_COLLECTIVE_INTERNAL_H

#include "costmodel/cost.h"
#include "plan/cluster.h"
#include "plan/placement.h"

#include <stdbool.h>

/* Kinds that have curves of their own. */
typedef enum galv_curve_kind {
    GALV_CURVE_ALL_REDUCE,
    GALV_CURVE_ALL_GATHER,
    GALV_CURVE_REDUCE_SCATTER,
    GALV_CURVE_ALL_TO_ALL,
    GALV_N_CURVE_KINDS
} galv_curve_kind;

/* Sizes, 1 MiB times a power of 4, at which measurements correct a curve. */
#define GALV_N_CURVE_KNOTS 5

/* t = (alpha + (S + M S/(S + K)) fac(n) / B) exp(r), r linear in ln S between the
 * knots, fading to 0 below the first */
typedef struct galv_collective_curve {
    double alpha_s;
    double bytes_per_s; /* B: bus bandwidth of long messages */
    double mid_bytes;   /* M: extra bytes of the plateau in the middle */
    double knee_bytes;  /* K */
    double log_ratio[GALV_N_CURVE_KNOTS]; /* r: ln(measured / the rest); 0 = unknown */
} galv_collective_curve;

#define GALV_MAX_CURVE_RANKS 8

typedef struct galv_collective_law {
    galv_collective_curve curves[GALV_N_CURVE_KINDS][GALV_MAX_CURVE_RANKS + 1];
    double ring_bytes_per_s; /* one ring over the scale-up links */
    double p2p_bytes_per_s;  /* one peer, scale-up link */
    double p2p_alpha_s;
    double nic_bytes_per_s;  /* what one rank can use of the network when its
                                neighbours are silent, usable */
    double node_bytes_per_s; /* all of a domain's network, usable */
    double link_bytes_per_s; /* scale-up link, nominal */
    double bus_bytes_per_s;  /* a bus's way out; 0 = there are none: all are switched */
    bool nic_past_bus;       /* NICs serve several buses, and lie beyond their ways out
                              */
    double hop_intra_s;      /* one step of a ring inside a node */
    double hop_inter_s;      /* one step between nodes */
    galv_provenance provenance;
} galv_collective_law;

/* Factor between bus bandwidth and S/t: all-reduce 2 (n-1)/n; all-gather,
 * reduce-scatter, all-to-all (n-1)/n; broadcast, send 1. `kind` is a galv_op_kind.
 * Source: nccl-tests PERFORMANCE.md. */
double galv_collective_bus_factor(int kind, int32_t n_ranks);

/* Sets work, shares and message bytes of a collective over a group. RING_EXCHANGE:
 * `bytes` are of one step, of which there are n - 1. SEND: to one peer. */
void galv_collective_cost(galv_cost *cost, const galv_collective_law *law, int kind,
                          const galv_group *group, double bytes);

/* Sets how much a collective slows computation beside it, and is slowed: by the given
 * factors when it keeps the scale-up link busy (or when they were `measured`), by less
 * when the network bounds it, since fewer SMs then suffice to feed it. */
void galv_cost_set_slowdowns(galv_cost *cost, double compute, double comm,
                             bool measured);

#endif

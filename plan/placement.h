/* Placement: how the groups of a plan lie on the nodes of the cluster.
 *
 * Rank order is that of Megatron Core: tp fastest, then cp, dp, pp; or tp, cp, pp, dp.
 * A group of stride k and size n takes places r, r + k, ..., r + (n-1) k of its stage;
 * in the first order a stage's places are ranks that follow each other. All groups of a
 * kind are alike when degrees divide the node; where they do not, the group that spans
 * most nodes is described, since it is the one that the others wait for.
 *
 * On a torus the nodes of a group must be a box of it: whole dimensions, or a line, or
 * every k-th node of these. */
#ifndef GALV_PLAN_PLACEMENT_H
#define GALV_PLAN_PLACEMENT_H

#include "plan/chunks.h"
#include "plan/cluster.h"
#include "plan/plan.h"

typedef enum galv_group_kind {
    GALV_GROUP_TP, /* tensor (or Ulysses) parallel */
    GALV_GROUP_CP,
    GALV_GROUP_EP,
    GALV_GROUP_DP,        /* ranks that reduce dense gradients together */
    GALV_GROUP_EXPERT_DP, /* ranks that reduce one expert's gradients together */
    GALV_GROUP_PP,        /* two neighbouring pipeline stages */
    GALV_GROUP_TIED,      /* first and last stage, for tied embeddings */
    GALV_N_GROUP_KINDS
} galv_group_kind;

typedef struct galv_group {
    int32_t n_ranks;
    int32_t n_nodes;          /* scale-up domains spanned */
    int32_t ranks_per_node;   /* most ranks of the group in one domain */
    int32_t sharers_per_node; /* groups of the same kind that use one node's network at
                                 the same time (1 when n_nodes is 1) */
    int32_t ranks_per_bus;    /* most ranks of the group on one bus; 0 = no buses */
    int32_t sharers_per_bus;  /* groups of the kind with ranks on a bus */
    /* On a torus; 0 elsewhere. The shares are of all links of a node, when every group
     * of the kind uses them at once. */
    int32_t n_hops;      /* from the first to the last of a ring, or to the peer */
    double ring_share;   /* that rings along its dimensions (a message: its way) have */
    double spread_share; /* that an all-to-all within it has */
} galv_group;

/* The rank, over all stages, of a place in a stage. */
int64_t galv_placement_rank(const galv_plan *plan, int32_t stage, int64_t place);

/* Places of one stage that follow each other and lie in one scale-up domain; in *share,
 * how many stages lie side by side in a domain because of the order of ranks (1 in the
 * usual one). 0 = the order does not divide domains evenly. */
int64_t galv_placement_domain(const galv_plan *plan, const galv_cluster *cluster,
                              int32_t stage, int64_t *share);

/* Can ranks lie on this cluster in that order, `inner` = tp * cp on each of pp stages?
 */
bool galv_placement_can(galv_rank_order order, int64_t inner, int32_t pp,
                        const galv_cluster *cluster);

/* Describes the group of a kind for a layer of a plan, on the stage `from_stage`.
 * `to_stage` is used for GALV_GROUP_PP and _TIED (the same stage twice: the first and
 * the last). In a two-way plan (plan/chunks.h) groups of GALV_GROUP_DP and _EXPERT_DP
 * take in the ranks of the stage that holds the other copy. */
galv_group galv_placement_group(const galv_plan *plan, const galv_cluster *cluster,
                                galv_group_kind kind, int32_t layer, int32_t from_stage,
                                int32_t to_stage);

/* Describes the groups of every `stride`-th rank, n of them on a stage of a two-way
 * plan together with their partners on the stage that holds the other copy. */
galv_group galv_placement_both_copies(const galv_plan *plan,
                                      const galv_cluster *cluster, int32_t stage,
                                      int64_t stride, int64_t n);

/* Fills what a torus makes of a group of ranks `stride` apart, if there is a torus and
 * the group spans nodes. False: it is no box of it. */
bool galv_placement_wire(galv_group *group, const galv_cluster *cluster,
                         int64_t stride);

/* Do the groups of a plan lie on the cluster in a way that can be priced? On switches
 * always; on a torus, see above. Errors: GALV_USAGE, naming the group. */
galv_status galv_placement_check(const galv_plan *plan, const galv_cluster *cluster,
                                 galv_err *err);

/* Pool of a pipeline stage in a mixed cluster (0 when there is one). */
int32_t galv_placement_pool(const galv_plan *plan, const galv_cluster *cluster,
                            int32_t stage);

#endif

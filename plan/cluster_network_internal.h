/* The network of a cluster, between plan/cluster*.c and the catalog. */
#ifndef GALV_PLAN_CLUSTER_NETWORK_INTERNAL_H
#define GALV_PLAN_CLUSTER_NETWORK_INTERNAL_H

#include "plan/cluster.h"

/* Lays n_nodes out as a torus of n_dims (1 .. GALV_MAX_TORUS_DIM) dimensions. */
void galv_cluster_lay_torus(galv_cluster *cluster, int32_t n_dims, int32_t n_nodes);

/* Levels nest; a torus has no levels, one pool, and as many points as nodes. Errors:
 * GALV_INPUT. */
galv_status galv_cluster_check_network(const galv_cluster *cluster, galv_err *err);

/* Changes the index-th level, or adds it above the last one as `name` with
 * oversubscription 1; what is 0 stays as it is. Errors: GALV_USAGE (levels below are
 * missing, too many). */
galv_status galv_cluster_set_level(galv_cluster *cluster, int32_t index,
                                   const char *name, double n_nodes,
                                   double oversubscription, galv_err *err);

/* "leaf:32;pod:384@7", the form of the catalog. Errors: GALV_INPUT. */
galv_status galv_cluster_parse_levels(galv_cluster *cluster, const char *text,
                                      galv_err *err);

#endif

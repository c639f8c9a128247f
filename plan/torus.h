/* Groups of nodes on a torus: which links they have. Node i stands at (i mod a, i / a
 * mod b, ...) of a torus of a x b x ... nodes and has two links along each dimension,
 * one to either neighbour, with equal parts of its network. plan/torus.c says how
 * collectives and messages use them. */
#ifndef GALV_PLAN_TORUS_H
#define GALV_PLAN_TORUS_H

#include "plan/cluster.h"
#include "plan/placement.h"

#include <stdbool.h>

/* Every k-th node, n of them, as a box of the torus. */
typedef struct galv_torus_box {
    int32_t n_dims;                      /* of the torus */
    int32_t nodes[GALV_MAX_TORUS_DIM];   /* along each dimension; 1 = not along it */
    int32_t spacing[GALV_MAX_TORUS_DIM]; /* between them */
    bool whole[GALV_MAX_TORUS_DIM];      /* all the way round */
} galv_torus_box;

/* The box of n_nodes nodes, stride apart, from a multiple of stride * n_nodes on. False
 * when they are none. */
bool galv_torus_find_box(galv_torus_box *box, const galv_cluster *cluster,
                         int64_t stride, int64_t n_nodes);

/* Spacings that a byte of an all-to-all along m nodes goes on average: floor(m^2/4)/m,
 * on a ring; on a line, the part of a node's bytes that crosses its middle either way.
 */
double galv_torus_mean_way(int32_t m);

/* Sets n_hops and the shares of groups of n_nodes nodes, stride nodes apart, that fill
 * the torus in blocks of stride * n_nodes. False, and shares of 0: they are no boxes.
 */
bool galv_torus_fill_group(galv_group *group, const galv_cluster *cluster,
                           int64_t stride, int64_t n_nodes);

/* The same for messages from n_nodes nodes, from `from` on, to as many from `to` on,
 * all at once. */
void galv_torus_fill_pair(galv_group *group, const galv_cluster *cluster, int64_t from,
                          int64_t to, int64_t n_nodes);

/* The shortest way from one node to another: signed steps along each dimension; of two
 * ways alike the one upwards. */
void galv_torus_step(int32_t steps[GALV_MAX_TORUS_DIM], const galv_cluster *cluster,
                     int64_t from, int64_t to);

#endif

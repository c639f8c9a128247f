/* Groups on a torus: which links they have.
 *
 * Node i stands at (i mod a, i / a mod b, ...) of a torus of a x b x ...; each has two
 * links for each dimension, one to either neighbour, and 1 / (2 dimensions) of its
 * network bandwidth on each. A group takes every k-th node, n of them, which is a box
 * of the torus where the numbers divide: along a dimension it has m nodes, q apart.
 *
 *   a whole ring (m q = a)  rings run both ways round: two links at every node, which
 *                           the q groups between its nodes share
 *   a line (m q < a)        one ring goes there and comes back: one link a node, shared
 *                           likewise
 *
 * Along several dimensions rings run at once, each with its part of the bytes, in turn
 * first along one and then along another, so that all links are busy: their shares add
 * up. (Jouppi et al. 2023, arXiv 2304.01433, section 2; Jain and Sabharwal 2010,
 * "Optimal bucket algorithms for large MPI collectives on torus interconnects".) That
 * is exact where the dimensions are equal.
 *
 * An all-to-all goes the shortest way, dimension by dimension. On a ring of m a byte
 * goes floor(m^2/4)/m spacings on average and half of them either way; on a line
 * floor(m^2/4)/m of a node's bytes cross its middle, each way. The busiest dimension
 * sets the pace. A message goes the shortest way as well, and meets those of the other
 * nodes: over a distance of d along a dimension, d of them on every link.
 *
 * Left out: adaptive routing, links of unequal speed, groups that are no boxes. */
#include "plan/torus.h"

#include <math.h>

#include <string.h>

bool galv_torus_find_box(galv_torus_box *box, const galv_cluster *cluster,
                         int64_t stride, int64_t n_nodes)
{
    int32_t dim = 0;
    box->n_dims = galv_cluster_n_torus_dims(cluster);
    for (int32_t i = 0; i < GALV_MAX_TORUS_DIM; i++) {
        box->nodes[i] = box->spacing[i] = 1;
        box->whole[i] = false;
    }
    while (dim < box->n_dims && stride >= cluster->torus[dim]) {
        if (stride % cluster->torus[dim] != 0) {
            return false;
        }
        stride /= cluster->torus[dim++];
    }
    for (int64_t n = n_nodes; n > 1; dim++) {
        if (dim == box->n_dims || cluster->torus[dim] % stride != 0) {
            return false;
        }
        int32_t most = (int32_t)(cluster->torus[dim] / stride);
        int32_t here = n < most ? (int32_t)n : most;
        if (most % here != 0 || n % here != 0) {
            return false;
        }
        box->nodes[dim] = here;
        box->spacing[dim] = (int32_t)stride;
        box->whole[dim] = here == most;
        n /= here;
        stride = 1;
    }
    return true;
}

double galv_torus_mean_way(int32_t m)
{
    return (double)(m / 2) * (m - m / 2) / m;
}

bool galv_torus_fill_group(galv_group *group, const galv_cluster *cluster,
                           int64_t stride, int64_t n_nodes)
{
    galv_torus_box box;
    group->n_hops = 0;
    group->ring_share = group->spread_share = 0;
    if (!galv_torus_find_box(&box, cluster, stride, n_nodes)) {
        return false;
    }
    double links = 2.0 * box.n_dims;
    double others = (double)(n_nodes - 1) / (double)n_nodes;
    group->spread_share = 1;
    for (int32_t i = 0; i < box.n_dims; i++) {
        double q = box.spacing[i];
        if (box.nodes[i] == 1) {
            continue;
        }
        group->n_hops += (box.nodes[i] - 1) * box.spacing[i];
        group->ring_share += (box.whole[i] ? 2 : 1) / q / links;
        double load = q * galv_torus_mean_way(box.nodes[i]) * (box.whole[i] ? 0.5 : 1);
        group->spread_share = fmin(group->spread_share, others / (links * load));
    }
    return true;
}

/* ---- messages ---- */

void galv_torus_step(int32_t steps[GALV_MAX_TORUS_DIM], const galv_cluster *cluster,
                     int64_t from, int64_t to)
{
    for (int32_t i = 0; i < GALV_MAX_TORUS_DIM; i++) {
        int32_t side = cluster->torus[i];
        steps[i] = 0;
        if (side > 0) {
            int32_t d = (int32_t)((to % side - from % side + side) % side);
            steps[i] = 2 * d > side ? d - side : d;
            from /= side;
            to /= side;
        }
    }
}

void galv_torus_fill_pair(galv_group *group, const galv_cluster *cluster, int64_t from,
                          int64_t to, int64_t n_nodes)
{
    int32_t n_dims = galv_cluster_n_torus_dims(cluster);
    int32_t longest = 1;
    group->n_hops = 1;
    for (int64_t node = 0; node < n_nodes; node++) {
        int32_t steps[GALV_MAX_TORUS_DIM];
        int32_t hops = 0;
        galv_torus_step(steps, cluster, from + node, to + node);
        for (int32_t i = 0; i < n_dims; i++) {
            int32_t distance = steps[i] < 0 ? -steps[i] : steps[i];
            longest = distance > longest ? distance : longest;
            hops += distance;
        }
        group->n_hops = hops > group->n_hops ? hops : group->n_hops;
    }
    group->ring_share = group->spread_share = 1 / (2.0 * n_dims * longest);
}

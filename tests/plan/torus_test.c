/* Shares of a torus's links against routes followed wire by wire. */
#include "plan/torus.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

GALV_TEST_SUITE(plan_torus);

enum { MOST_NODES = 64, MOST_WIRES = MOST_NODES * 6 };

static galv_cluster torus_of(int32_t a, int32_t b, int32_t c)
{
    galv_cluster cluster = {0};
    cluster.n_pools = 1;
    cluster.torus[0] = a;
    cluster.torus[1] = b;
    cluster.torus[2] = c;
    return cluster;
}

static int32_t side_of(const galv_cluster *cluster, int32_t dim)
{
    return cluster->torus[dim] > 0 ? cluster->torus[dim] : 1;
}

static void coordinates(int32_t at[3], const galv_cluster *cluster, int32_t node)
{
    for (int32_t dim = 0; dim < 3; dim++) {
        at[dim] = node % side_of(cluster, dim);
        node /= side_of(cluster, dim);
    }
}

/* Sends `bytes` the shortest way, dimension by dimension, half either way when both are
 * as long; a line of a box does not go round. */
static void send(double *wires, const galv_cluster *cluster, int32_t from, int32_t to,
                 double bytes)
{
    int32_t a[3], b[3];
    coordinates(a, cluster, from);
    coordinates(b, cluster, to);
    for (int32_t dim = 0; dim < 3; dim++) {
        int32_t side = side_of(cluster, dim);
        int32_t up = (b[dim] - a[dim] + side) % side;
        for (int32_t way = 0; way < 2; way++) {
            int32_t length = way == 0 ? up : side - up;
            double part = 2 * length < side ? 1 : 2 * length == side ? 0.5 : 0;
            for (int32_t i = 0; i < length && up > 0; i++) {
                int32_t at[3] = {a[0], a[1], a[2]};
                at[dim] = (a[dim] + (way == 0 ? i : side - i)) % side;
                int32_t node =
                    at[0] + side_of(cluster, 0) * (at[1] + side_of(cluster, 1) * at[2]);
                wires[node * 6 + dim * 2 + way] += part * bytes;
            }
        }
        a[dim] = b[dim];
    }
}

static double largest(const double *wires)
{
    double most = 0;
    for (int i = 0; i < MOST_WIRES; i++) {
        most = fmax(most, wires[i]);
    }
    return most;
}

/* Every node sends a byte in all to the others of its group, all groups at once: the
 * fullest wire sets the pace. */
static double spread_by_hand(const galv_cluster *cluster, int32_t n_nodes,
                             int32_t stride, int32_t n)
{
    double wires[MOST_WIRES] = {0};
    for (int32_t i = 0; i < n_nodes; i++) {
        int32_t first = i / (stride * n) * stride * n + i % stride;
        for (int32_t k = 0; k < n; k++) {
            send(wires, cluster, i, first + k * stride,
                 i == first + k * stride ? 0 : 1);
        }
    }
    return (n - 1) / largest(wires);
}

Test(plan_torus, an_all_to_all_has_what_the_fullest_wire_leaves)
{
    static const int32_t shapes[][3] = {{4, 4, 4}, {8, 8, 0}, {3, 5, 4}, {16, 0, 0},
                                        {2, 2, 2}, {2, 4, 8}, {6, 4, 0}};
    int n_boxes = 0;
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        galv_cluster cluster = torus_of(shapes[s][0], shapes[s][1], shapes[s][2]);
        int32_t n_dims = galv_cluster_n_torus_dims(&cluster);
        int32_t n_nodes =
            side_of(&cluster, 0) * side_of(&cluster, 1) * side_of(&cluster, 2);
        for (int32_t stride = 1; stride < n_nodes; stride++) {
            for (int32_t n = 2; stride * n <= n_nodes; n++) {
                galv_torus_box box;
                galv_group group = {0};
                if (n_nodes % (stride * n) != 0 ||
                    !galv_torus_fill_group(&group, &cluster, stride, n)) {
                    continue;
                }
                galv_torus_find_box(&box, &cluster, stride, n);
                bool half = false; /* lines longer than half their ring go round here */
                for (int32_t dim = 0; dim < n_dims; dim++) {
                    half |= !box.whole[dim] && box.nodes[dim] > 1 &&
                            2 * (box.nodes[dim] - 1) * box.spacing[dim] >=
                                cluster.torus[dim];
                }
                if (half) {
                    continue;
                }
                n_boxes++;
                double by_hand =
                    spread_by_hand(&cluster, n_nodes, stride, n) / (2 * n_dims);
                cr_expect_float_eq(group.spread_share, fmin(by_hand, 1), 1e-12,
                                   "%d x %d x %d, %d nodes %d apart: %g, not %g",
                                   (int)shapes[s][0], (int)shapes[s][1],
                                   (int)shapes[s][2], (int)n, (int)stride,
                                   group.spread_share, by_hand);
            }
        }
    }
    cr_expect_geq(n_boxes, 40);
}

Test(plan_torus, rings_have_two_links_where_they_go_round_and_one_on_a_line)
{
    galv_cluster cube = torus_of(4, 4, 4);
    static const struct {
        int32_t stride, n;
        double links; /* of a node's six */
        int32_t n_hops;
    } cases[] = {
        {1, 4, 2, 3},  /* a side */
        {4, 4, 2, 3},  /* another */
        {1, 16, 4, 6}, /* a plane */
        {1, 64, 6, 9}, /* all */
        {1, 2, 1, 1},  /* half a side: there and back on one wire each way */
        {2, 2, 1, 2},  /* every other node of a side: two rings on the same wires */
        {2, 32, 5, 8}, /* every other node of all */
        {16, 2, 1, 1}, /* half a side */
        {4, 16, 4, 6}, /* a plane across */
        {1, 32, 5, 7}, /* half of all */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        galv_group group = {0};
        cr_expect(galv_torus_fill_group(&group, &cube, cases[i].stride, cases[i].n));
        cr_expect_float_eq(group.ring_share, cases[i].links / 6, 1e-12,
                           "%d nodes %d apart: %g links", (int)cases[i].n,
                           (int)cases[i].stride, 6 * group.ring_share);
        cr_expect_eq(group.n_hops, cases[i].n_hops);
    }
    galv_group group = {0};
    cr_expect_not(galv_torus_fill_group(&group, &cube, 1, 3));
    cr_expect_not(galv_torus_fill_group(&group, &cube, 3, 4));
    cr_expect_not(galv_torus_fill_group(&group, &cube, 1, 24));
    cr_expect_eq(group.ring_share, 0);
}

/* A node sends to the one `to - from` on; so do all, and the fullest wire is shared. */
Test(plan_torus, messages_of_all_nodes_meet_on_the_wires_between)
{
    static const int32_t distances[] = {1, 2, 3, 4, 8, 16, 20, 21, 32};
    galv_cluster cube = torus_of(4, 4, 4);
    for (size_t i = 0; i < sizeof distances / sizeof distances[0]; i++) {
        galv_group group = {0};
        galv_torus_fill_pair(&group, &cube, 0, distances[i], 64);
        double wires[MOST_WIRES] = {0};
        bool tie = false; /* by hand ties go both ways, messages do not */
        for (int32_t node = 0; node < 64; node++) {
            int32_t steps[3];
            galv_torus_step(steps, &cube, node, (node + distances[i]) % 64);
            tie |= steps[0] == 2 || steps[1] == 2 || steps[2] == 2;
            send(wires, &cube, node, (node + distances[i]) % 64, 1);
        }
        double by_hand = 1 / largest(wires) / 6;
        cr_expect(tie ? group.ring_share <= by_hand + 1e-12
                      : fabs(group.ring_share - by_hand) < 1e-12,
                  "%d on: %g, by hand %g", (int)distances[i], group.ring_share,
                  by_hand);
    }
}

/* What collectives ask of links, and of the device beside them. */
#include "costmodel/collective_internal.h"
#include "plan/operation.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>

GALV_TEST_SUITE(costmodel_links);

/* A faster network takes no more: neither the collective, nor what hiding it takes of
 * the computation beside it; and what it asks of the scale-up links grows without a
 * step where these become the slower ones. */
Test(costmodel_links, a_faster_network_makes_nothing_slower)
{
    galv_group group = {
        .n_ranks = 64, .n_nodes = 8, .ranks_per_node = 8, .sharers_per_node = 1};
    double last_s = HUGE_VAL;
    double last_hiding_s = HUGE_VAL;
    double last_share = 0;
    for (double nic = 5e9; nic < 150e9; nic *= 1.01) {
        galv_collective_law law = {.ring_bytes_per_s = 330e9,
                                   .nic_bytes_per_s = nic,
                                   .node_bytes_per_s = 8 * nic,
                                   .hop_inter_s = 14e-6,
                                   .hop_intra_s = 3.4e-6};
        galv_cost cost = {0};
        galv_collective_cost(&cost, &law, GALV_OP_ALL_GATHER, &group, 400e6);
        galv_cost_set_slowdowns(&cost, 1.25, 1.3, false);
        double hiding_s =
            cost.work_s * cost.comm_slowdown * (1 - 1 / cost.compute_slowdown);
        cr_expect(cost.work_s <= last_s && hiding_s <= last_hiding_s * (1 + 1e-12),
                  "%g B/s: hiding takes %g s, before %g", nic, hiding_s, last_hiding_s);
        cr_expect(last_share == 0 || cost.intra_share - last_share < 0.015,
                  "%g B/s: %g of the links, before %g", nic, cost.intra_share,
                  last_share);
        last_s = cost.work_s;
        last_hiding_s = hiding_s;
        last_share = cost.intra_share;
    }
    cr_expect_eq(last_share, 1);
}

/* Collectives over links, alone.
 *
 * Inside a scale-up domain: measured curves (data/collective.csv) of the form
 *
 *   t = (alpha + (S + M S/(S + K)) fac(n) / B) exp(r(S))
 *
 * for 2, 4 and 8 ranks, in between linear in log n, beyond 8 (a rack) with B of 8 and a
 * latency that grows with the ring. r corrects what the form misses (NCCL changes
 * protocol and algorithm at sizes of its own) by the measurements at 1, 4, 16, 64 and
 * 256 MiB; at the sizes between them, which it was not made of, errors are then 1 to 6
 * % (4 to 8 % without). Devices without curves take the shares of their link that NCCL
 * reaches on others.
 *
 * Between nodes, a ring passes everything through every rank, so its rate is the
 * smaller of the scale-up ring and what the group has of each node's network W; a tree
 * for all-reduce has log2(N) steps instead of 2 (N - 1); NCCL takes the faster, and so
 * does this:
 *
 *   ring   t = hops + fac(n) S / min(B_ring, W)
 *   tree   t = hops + 2 S / (W e(S))    e: NCCL's own, 0.56 at 1 MiB to 0.94
 *   a2a    t = hops + max(S (n - r)/n / (W/r), S (r - 1)/n / B)
 *
 * Hops: 3.4 us inside, 14 us between nodes on InfiniBand (NCCL's own constants of the
 * Simple protocol), more where the network's latency is higher. For trees that is what
 * 16 to 128 A100 on InfiniBand show (73, 107, 146, 185 us at 64 KiB; 76, 104, 132, 160
 * here), and for 32 B200 on EFA (378 us). Rings of short messages use protocols of
 * lower latency: below 64 KiB times n the hops count less, down to a third. Rings with
 * one rank a node (rails: data parallelism over tensor-parallel nodes) may use LL128,
 * whose hop is 4 us of the 14 at 0.92 of the rate: 16 and 64 nodes show 1.4 to 2.8 us
 * (SimAI). An all-to-all, of sends to all at once, starts as six hops do (SimAI shows
 * 100 to 200 us for 2 to 16 nodes). In theory a tree over two nodes moves half as much;
 * no published curve of two nodes shows it.
 *
 * W: the network of a node over the groups that share it, but no more than the NICs
 * near the group's own ranks. Where devices are on buses (PCIe switches, host bridges)
 * nothing is faster than the ways out of those: a ring of m ranks a node and r a bus
 * uses it once each way, and r/m times again where the NICs lie beyond it.
 * On a torus W is what its links give (plan/torus.h), rings pass as many hops as its
 * sides are long, and there are no trees. Sources: NCCL src/graph/tuning.cc; SimAI
 * calbusbw; nccl-tests PERFORMANCE.md. Left out: rail-crossing, congestion of other
 * jobs, in-network reduction over InfiniBand. */
#include "costmodel/collective_internal.h"

#include "costmodel/kernels_internal.h"
#include "plan/operation.h"

#include <math.h>

double galv_collective_bus_factor(int kind, int32_t n_ranks)
{
    double n = n_ranks;
    switch (kind) {
    case GALV_OP_ALL_REDUCE:
        return 2 * (n - 1) / n;
    case GALV_OP_ALL_GATHER:
    case GALV_OP_REDUCE_SCATTER:
    case GALV_OP_ALL_TO_ALL:
        return (n - 1) / n;
    default:
        return 1;
    }
}

static int curve_kind(int kind)
{
    switch (kind) {
    case GALV_OP_ALL_REDUCE:
        return GALV_CURVE_ALL_REDUCE;
    case GALV_OP_REDUCE_SCATTER:
        return GALV_CURVE_REDUCE_SCATTER;
    case GALV_OP_ALL_TO_ALL:
        return GALV_CURVE_ALL_TO_ALL;
    default:
        return GALV_CURVE_ALL_GATHER;
    }
}

/* Seconds that the way out of a bus is held by the groups on it, `moved` bytes of each
 * going through every rank in turn; or, of an all-to-all, from every rank to all. */
static double bus_time(const galv_collective_law *law, const galv_group *group,
                       bool all_to_all, double moved)
{
    if (group->ranks_per_bus <= 0 || !(law->bus_bytes_per_s > 0)) {
        return 0;
    }
    double n = group->n_ranks;
    double m = group->ranks_per_node;
    double r = group->ranks_per_bus;
    double near = m > r ? 1 : 0;                                  /* from bus to bus */
    double far = group->n_nodes > 1 && law->nic_past_bus ? 1 : 0; /* to the NIC */
    double times =
        all_to_all ? r * (near * (m - r) + far * (n - m)) / n : near + far * r / m;
    return group->sharers_per_bus * times * moved / law->bus_bytes_per_s;
}

/* Below the first knot the correction fades over this many steps of 4. */
#define RAMP 3.0

static double correction(const galv_collective_curve *c, double bytes)
{
    double at = bytes > 0 ? log2(bytes / 1048576.0) / 2 : -RAMP; /* in knots */
    if (at <= 0) {
        return at <= -RAMP ? 1 : exp(c->log_ratio[0] * (1 + at / RAMP));
    }
    if (at >= GALV_N_CURVE_KNOTS - 1) {
        return exp(c->log_ratio[GALV_N_CURVE_KNOTS - 1]);
    }
    int i = (int)floor(at);
    return exp(c->log_ratio[i] + (c->log_ratio[i + 1] - c->log_ratio[i]) * (at - i));
}

static double intra_time(const galv_collective_law *law, int kind,
                         const galv_group *group, double bytes)
{
    int32_t n = group->n_ranks;
    int32_t known = n < GALV_MAX_CURVE_RANKS ? n : GALV_MAX_CURVE_RANKS;
    const galv_collective_curve *c = &law->curves[curve_kind(kind)][known];
    double alpha = c->alpha_s;
    if (n > known) {
        alpha += (n - known) * law->hop_intra_s / 2;
    }
    double moved = bytes + c->mid_bytes * bytes / (bytes + c->knee_bytes);
    double factor = galv_collective_bus_factor(kind, n);
    bool all_to_all = kind == GALV_OP_ALL_TO_ALL;
    double bus_s = bus_time(law, group, all_to_all, bytes * (all_to_all ? 1 : factor));
    double measured_s =
        (alpha + moved * factor / c->bytes_per_s) * correction(c, bytes);
    return fmax(measured_s, alpha + bus_s);
}

/* Bytes per second of each node's network that one group has; `share` of its links on a
 * torus, else 0. */
static double network_rate(const galv_collective_law *law, const galv_group *group,
                           double share)
{
    double near = group->ranks_per_node * law->nic_bytes_per_s;
    double shared = law->node_bytes_per_s / group->sharers_per_node;
    return (near < shared ? near : shared) * (share > 0 ? share : 1);
}

/* Protocols of low latency serve messages that are short for the group. */
static double hop_scale(double bytes, double n)
{
    double small = 65536 * n;
    return bytes >= small ? 1 : 0.35 + 0.65 * bytes / small;
}

/* Hops and rate of NCCL's protocol LL128 over those of its Simple. */
#define LL128_HOP  (4.0 / 14)
#define LL128_RATE 0.92
#define LL128_LINE (120.0 / 128)

typedef struct timing {
    double time_s;
    double latency_s; /* of time_s: hops */
    double intra_s;   /* busy time of a rank's scale-up link */
    double inter_s;   /* busy time of its share of the network */
} timing;

static timing ring_time(const galv_collective_law *law, int kind,
                        const galv_group *group, double bytes)
{
    double n = group->n_ranks;
    double nodes = group->n_nodes;
    double rate = network_rate(law, group, group->ring_share);
    double rounds = kind == GALV_OP_ALL_REDUCE ? 2 : 1;
    double far = group->n_hops > 0 ? group->n_hops : nodes - 1;
    double hops = rounds * (far * law->hop_inter_s + (n - nodes) * law->hop_intra_s);
    double moved = galv_collective_bus_factor(kind, group->n_ranks) * bytes;
    double ring = group->ranks_per_node > 1 ? law->ring_bytes_per_s : HUGE_VAL;
    double slowest = rate < ring ? rate : ring;
    double scale = kind == GALV_OP_ALL_REDUCE ? 1 : hop_scale(bytes, n);
    double transfer = fmax(moved / slowest, bus_time(law, group, false, moved));
    timing t = {hops * scale + transfer, hops * scale, moved / ring, moved / rate};
    double quick = hops * LL128_HOP + transfer / LL128_RATE;
    if (group->ranks_per_node == 1 && group->n_hops == 0 && quick < t.time_s) {
        t.time_s = quick;
        t.latency_s = hops * LL128_HOP;
        t.inter_s /= LL128_RATE;
    }
    return t;
}

/* Share of the network's rate that trees reach: messages of medium size do not fill
 * their pipeline. By powers of two from 1 MiB to 128 MiB; NCCL reckons with these
 * itself (src/graph/tuning.cc, treeCorrectionFactor of LL128, whose lines carry 120 of
 * 128 bytes). */
static double tree_share(double bytes)
{
    static const double shares[] = {0.6, 0.6, 0.8, 0.9, 0.9, 0.9, 0.9, 1};
    const int last = sizeof shares / sizeof shares[0] - 1;
    double at = bytes > 0 ? log2(bytes / 1048576.0) : 0;
    if (at >= last) {
        return shares[last];
    }
    int i = at > 0 ? (int)at : 0;
    double part = at > 0 ? at - i : 0;
    return shares[i] + (shares[i + 1] - shares[i]) * part;
}

static timing tree_time(const galv_collective_law *law, const galv_group *group,
                        double bytes)
{
    double rate = network_rate(law, group, 0);
    double per_node = group->ranks_per_node;
    double inside =
        per_node > 1 ? law->ring_bytes_per_s * 2 * per_node / (per_node - 1) : HUGE_VAL;
    double hops = 2 * ((per_node - 1) * law->hop_intra_s +
                       log2(group->n_nodes) * law->hop_inter_s);
    double moved = 2 * bytes;
    double slowest = rate < inside ? rate : inside;
    double transfer = fmax(moved / slowest, bus_time(law, group, false, moved)) /
                      (LL128_LINE * tree_share(bytes));
    timing t = {hops + transfer, hops, moved / inside, moved / rate};
    return t;
}

static timing all_to_all_time(const galv_collective_law *law, const galv_group *group,
                              double bytes)
{
    double n = group->n_ranks;
    double per_node = group->ranks_per_node;
    double rate = network_rate(law, group, group->spread_share) / per_node;
    double inter = bytes * (n - per_node) / n / rate;
    double intra = bytes * (per_node - 1) / n /
                   law->curves[GALV_CURVE_ALL_TO_ALL][GALV_MAX_CURVE_RANKS].bytes_per_s;
    double hops = group->n_hops > 0 ? group->n_hops * law->hop_inter_s
                                    : 6 * law->hop_inter_s + 0.5e-6 * (n - per_node);
    double transfer =
        fmax(inter > intra ? inter / 0.93 : intra, bus_time(law, group, true, bytes));
    timing t = {hops + transfer, hops, intra, inter};
    return t;
}

/* To a peer; in a ring all send at once. */
static timing step_time(const galv_collective_law *law, int kind,
                        const galv_group *group, double bytes)
{
    timing t = {0, 0, 0, 0};
    if (group->n_nodes > 1) {
        double rate = network_rate(law, group, group->ring_share);
        bool far = kind == GALV_OP_SEND && group->n_hops > 1;
        t.inter_s = bytes / rate;
        t.latency_s = law->hop_inter_s * (far ? group->n_hops : 1);
        t.time_s = t.latency_s + fmax(t.inter_s, bus_time(law, group, false, bytes));
    } else {
        t.intra_s = bytes / law->p2p_bytes_per_s;
        t.latency_s = law->p2p_alpha_s;
        t.time_s =
            law->p2p_alpha_s + fmax(t.intra_s, bus_time(law, group, false, bytes));
    }
    return t;
}

static double share(double busy_s, double time_s)
{
    if (!(time_s > 0) || !(busy_s > 0)) {
        return 0;
    }
    return busy_s < time_s ? busy_s / time_s : 1;
}

/* Steps that follow one another: messages to a neighbour, n - 1 of them in a ring. */
static double n_steps(int kind, const galv_group *group)
{
    return kind == GALV_OP_RING_EXCHANGE ? group->n_ranks - 1 : 1;
}

static timing time_of(const galv_collective_law *law, int kind, const galv_group *group,
                      double bytes)
{
    timing t = {0, 0, 0, 0};
    if (kind == GALV_OP_RING_EXCHANGE || kind == GALV_OP_SEND) {
        double steps = n_steps(kind, group);
        t = step_time(law, kind, group, bytes);
        t.time_s *= steps;
        t.latency_s *= steps;
        t.intra_s *= steps;
        t.inter_s *= steps;
    } else if (group->n_nodes <= 1) {
        t.time_s = intra_time(law, kind, group, bytes);
        t.latency_s = intra_time(law, kind, group, 0);
        t.intra_s = t.time_s;
    } else if (kind == GALV_OP_ALL_TO_ALL) {
        t = all_to_all_time(law, group, bytes);
    } else {
        t = ring_time(law, kind, group, bytes);
        if (kind == GALV_OP_ALL_REDUCE && group->n_hops == 0) {
            timing tree = tree_time(law, group, bytes);
            t = tree.time_s < t.time_s ? tree : t;
        }
    }
    return t;
}

/* How much faster the transfer is without the others that the price reckons with. */
static double headroom(const galv_collective_law *law, int kind,
                       const galv_group *group, double bytes, const timing *priced)
{
    if (group->sharers_per_node <= 1 && group->sharers_per_bus <= 1) {
        return 1;
    }
    galv_group alone = *group;
    alone.sharers_per_node = 1;
    alone.sharers_per_bus = 1;
    timing t = time_of(law, kind, &alone, bytes);
    double ratio = (priced->time_s - priced->latency_s) / (t.time_s - t.latency_s);
    return ratio > 1 ? ratio : 1; /* false for NaN */
}

void galv_collective_cost(galv_cost *cost, const galv_collective_law *law, int kind,
                          const galv_group *group, double bytes)
{
    cost->message_bytes = bytes;
    if (group->n_ranks <= 1 || !(bytes > 0)) {
        return;
    }
    cost->message_bytes *= n_steps(kind, group);
    timing t = time_of(law, kind, group, bytes);
    galv_cost_add(cost, t.time_s, law->provenance, 0);
    cost->latency_s = t.latency_s;
    cost->headroom = headroom(law, kind, group, bytes, &t);
    double transfer_s = t.time_s - t.latency_s;
    bool by_bus = transfer_s > fmax(t.inter_s, t.intra_s) / 0.93 + 1e-12;
    if (by_bus || group->n_nodes <= 1) {
        cost->intra_share = by_bus ? share(t.intra_s, t.time_s) : 1;
        cost->inter_share = share(t.inter_s, t.time_s);
    } else { /* the bottleneck is held throughout, the other by as much as it is faster:
                no step where one overtakes the other */
        bool by_network = t.inter_s >= t.intra_s;
        cost->intra_share = by_network ? share(t.intra_s, transfer_s) : 1;
        cost->inter_share = by_network ? 1 : share(t.inter_s, transfer_s);
    }
    cost->link_busy =
        group->n_nodes > 1 ? share(t.intra_s, t.time_s) : cost->intra_share;
}

void galv_cost_set_slowdowns(galv_cost *cost, double compute, double comm,
                             bool measured)
{
    double busy = measured ? 1 : 0.4 + 0.6 * cost->link_busy;
    cost->compute_slowdown = 1 + (compute - 1) * busy;
    cost->comm_slowdown = 1 + (comm - 1) * busy;
}

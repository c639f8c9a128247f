/* Constants of collectives on a pool: curves inside a node, measured (data/
 * collective.csv) or by the shares of a link that are usual, and what hops between
 * nodes take. */
#include "costmodel/device_law_internal.h"

#include <math.h>
#include <string.h>

static const char *const curve_names[GALV_N_CURVE_KINDS] = {
    "all_reduce", "all_gather", "reduce_scatter", "all_to_all"};

/* Groups between those that were measured, linear in log n. */
static void interpolate_curves(galv_collective_curve *curves)
{
    int low = 2;
    for (int n = 3; n <= GALV_MAX_CURVE_RANKS; n++) {
        if (curves[n].bytes_per_s > 0) {
            low = n;
            continue;
        }
        int high = n;
        while (high < GALV_MAX_CURVE_RANKS && !(curves[high].bytes_per_s > 0)) {
            high++;
        }
        const galv_collective_curve *a = &curves[low];
        const galv_collective_curve *b = &curves[high];
        double w = log2((double)n / low) / log2((double)high / low);
        curves[n].alpha_s = (1 - w) * a->alpha_s + w * b->alpha_s;
        curves[n].bytes_per_s = (1 - w) * a->bytes_per_s + w * b->bytes_per_s;
        curves[n].mid_bytes = (1 - w) * a->mid_bytes + w * b->mid_bytes;
        curves[n].knee_bytes = (1 - w) * a->knee_bytes + w * b->knee_bytes;
        for (int i = 0; i < GALV_N_CURVE_KNOTS; i++) {
            curves[n].log_ratio[i] = (1 - w) * a->log_ratio[i] + w * b->log_ratio[i];
        }
        low = n;
    }
    curves[1] = curves[2];
    curves[0] = curves[2];
}

/* Of a device whose all-reduce alone was measured: others start and run beside it as
 * they do on A100, rings there too. */
static void derive_from_all_reduce(galv_collective_law *law, const double *constants)
{
    const double rates[GALV_N_CURVE_KINDS] = {
        1, constants[GALV_CONSTANT_BESIDE_REDUCE_GATHER],
        constants[GALV_CONSTANT_BESIDE_REDUCE_SCATTER],
        constants[GALV_CONSTANT_BESIDE_REDUCE_EXCHANGE]};
    for (int n = 2; n <= GALV_MAX_CURVE_RANKS; n++) {
        for (int kind = 0; kind < GALV_N_CURVE_KINDS; kind++) {
            galv_collective_curve *c = &law->curves[kind][n];
            *c = law->curves[GALV_CURVE_ALL_REDUCE][n];
            c->alpha_s *= kind == GALV_CURVE_ALL_REDUCE
                              ? 1
                              : constants[GALV_CONSTANT_BESIDE_REDUCE_START];
            c->bytes_per_s *= rates[kind];
        }
    }
}

/* What a device moves over its host's bus, one direction. */
static double bus_bytes_per_s(const galv_device *device, const double *constants)
{
    switch (device->pcie_generation) {
    case 3:
        return 1e9 * constants[GALV_CONSTANT_BUS_3_GBS];
    case 5:
        return 1e9 * constants[GALV_CONSTANT_BUS_5_GBS];
    case 6:
        return 1e9 * constants[GALV_CONSTANT_BUS_6_GBS];
    default:
        return 1e9 * constants[GALV_CONSTANT_BUS_4_GBS];
    }
}

/* NCCL's usual share of a link, by operation and ranks, where nothing was measured.
 * Bridges join pairs: more than two ranks meet on the bus. */
static void default_curves(galv_collective_law *law, const galv_device *device,
                           const double *constants)
{
    static const int first_share[GALV_N_CURVE_KINDS] = {
        GALV_CONSTANT_REDUCE_SHARE_2, GALV_CONSTANT_GATHER_SHARE_2,
        GALV_CONSTANT_SCATTER_SHARE_2, GALV_CONSTANT_EXCHANGE_SHARE_2};
    bool pairs = strstr(device->scaleup_link, "bridge") != NULL;
    double bus = bus_bytes_per_s(device, constants);
    for (int kind = 0; kind < GALV_N_CURVE_KINDS; kind++) {
        for (int i = 0; i < 3; i++) { /* 2, 4 and 8 ranks */
            galv_collective_curve *c = &law->curves[kind][2 << i];
            double link = law->link_bytes_per_s;
            if (pairs && i > 0 && bus < link) {
                link = bus;
            }
            c->alpha_s = 1e-6 * constants[GALV_CONSTANT_COLLECTIVE_START_US_2 + i];
            c->bytes_per_s = constants[first_share[kind] + i] * link;
            c->mid_bytes = 1e-6 * constants[GALV_CONSTANT_PLATEAU_US] * c->bytes_per_s;
            c->knee_bytes = 1e-6 * constants[GALV_CONSTANT_KNEE_US] * c->bytes_per_s;
        }
    }
    law->provenance = GALV_PROVENANCE_ANALYTIC;
}

/* The device whose rows of an operation are nearest to this one; "" = none. */
static const char *nearest_curves(galv_kinship *best, galv_law_table *t, int kind,
                                  const galv_device *device)
{
    const char *chosen = "";
    *best = GALV_KIN_NONE;
    for (size_t row = 0; row < t->csv.n_rows; row++) {
        galv_kinship kin = galv_law_kinship(t, row, device);
        bool switched = galv_law_number(t, row, "link_gbs", 0) > 0;
        if (kin > *best && (kin >= GALV_KIN_SILICON || switched) &&
            strcmp(galv_law_cell(t, row, "op"), curve_names[kind]) == 0) {
            *best = kin;
            chosen = galv_law_cell(t, row, "device");
        }
    }
    return chosen;
}

static void read_curve(galv_collective_curve *c, galv_law_table *t, size_t row,
                       double link_bytes_per_s)
{
    static const char *const knots[GALV_N_CURVE_KNOTS] = {"ln_1m", "ln_4m", "ln_16m",
                                                          "ln_64m", "ln_256m"};
    double nominal = 1e9 * galv_law_number(t, row, "link_gbs", 0);
    double scale = nominal > 0 ? link_bytes_per_s / nominal : 1;
    c->alpha_s = 1e-6 * galv_law_number(t, row, "alpha_us", 10);
    c->bytes_per_s = 1e9 * scale * galv_law_number(t, row, "busbw_gbs", 1);
    c->mid_bytes = 1e6 * galv_law_number(t, row, "mid_mb", 0);
    c->knee_bytes = 1e6 * galv_positive(galv_law_number(t, row, "knee_mb", 1), 1e-3);
    for (int i = 0; i < GALV_N_CURVE_KNOTS; i++) {
        c->log_ratio[i] = galv_law_number(t, row, knots[i], 0);
    }
}

static void read_curves(galv_collective_law *law, galv_law_table *t,
                        const galv_device *device, const double *constants)
{
    default_curves(law, device, constants);
    bool switched = device->scaleup_bytes_per_s >= 100e9 &&
                    strstr(device->scaleup_link, "bridge") == NULL;
    galv_kinship nearest = GALV_KIN_NONE;
    bool reduces_only = true;
    for (int kind = 0; kind < GALV_N_CURVE_KINDS; kind++) {
        galv_kinship best = GALV_KIN_NONE;
        const char *chosen = nearest_curves(&best, t, kind, device);
        if (best == GALV_KIN_NONE || (best < GALV_KIN_SILICON && !switched)) {
            continue; /* bridges and buses: not what a switch of the generation does */
        }
        bool has_eight = false;
        for (size_t row = 0; row < t->csv.n_rows; row++) {
            int n = (int)galv_law_number(t, row, "ranks", 0);
            if (strcmp(galv_law_cell(t, row, "device"), chosen) == 0 &&
                strcmp(galv_law_cell(t, row, "op"), curve_names[kind]) == 0 && n >= 2 &&
                n <= GALV_MAX_CURVE_RANKS) {
                read_curve(&law->curves[kind][n], t, row, law->link_bytes_per_s);
                has_eight = has_eight || n == 8;
            }
        }
        if (!has_eight) {
            /* measured on the four devices of one tray: eight go as the rack's switch
             */
            law->curves[kind][8] = law->curves[kind][4];
            law->curves[kind][8].alpha_s *= constants[GALV_CONSTANT_RACK_START];
            law->curves[kind][8].bytes_per_s *= constants[GALV_CONSTANT_RACK_RATE];
        }
        nearest = best > nearest ? best : nearest;
        reduces_only = reduces_only && kind == GALV_CURVE_ALL_REDUCE;
    }
    if (nearest == GALV_KIN_NONE) {
        return;
    }
    law->provenance =
        nearest >= GALV_KIN_SILICON ? GALV_PROVENANCE_FITTED : GALV_PROVENANCE_ANALYTIC;
    if (reduces_only) {
        derive_from_all_reduce(law, constants);
    }
}

void galv_collective_law_init(galv_device_law *law, galv_law_table *t,
                              const galv_pool *pool)
{
    galv_collective_law *c = &law->collective;
    const double *constants = law->constants;
    const galv_device *device = &pool->device;
    double link = galv_positive(pool->intra_bytes_per_s, device->scaleup_bytes_per_s);
    c->link_bytes_per_s = galv_positive(link, 10e9);
    read_curves(c, t, device, constants);
    for (int kind = 0; kind < GALV_N_CURVE_KINDS; kind++) {
        interpolate_curves(c->curves[kind]);
    }
    double p2p = galv_positive(device->p2p_bytes_per_s, c->link_bytes_per_s);
    if (device->scaleup_bytes_per_s > 0) {
        p2p *= c->link_bytes_per_s / device->scaleup_bytes_per_s;
    }
    c->p2p_bytes_per_s =
        constants[GALV_CONSTANT_PEER_SHARE] * fmin(p2p, c->link_bytes_per_s);
    c->p2p_alpha_s = 1e-6 * constants[GALV_CONSTANT_PEER_START_US];
    c->ring_bytes_per_s = c->curves[GALV_CURVE_REDUCE_SCATTER][8].bytes_per_s;
    double usable =
        galv_positive(pool->inter_efficiency, constants[GALV_CONSTANT_INTER_SHARE]) *
        law->factors[GALV_FACTOR_NETWORK] * galv_positive(pool->inter_bytes_per_s, 1e9);
    double domain = pool->scaleup_domain > pool->devices_per_node
                        ? pool->scaleup_domain
                        : galv_positive(pool->devices_per_node, 1);
    c->node_bytes_per_s = usable * domain;
    c->nic_bytes_per_s = usable;
    if (pool->nics_per_node > 0 && pool->nics_per_node < pool->devices_per_node) {
        c->nic_bytes_per_s = usable * pool->devices_per_node / pool->nics_per_node;
    }
    if (pool->devices_per_bus > 0) {
        c->bus_bytes_per_s = pool->bus_bytes_per_s;
        c->nic_past_bus =
            pool->nics_per_node > 0 &&
            pool->nics_per_node < pool->devices_per_node / pool->devices_per_bus;
    }
    c->hop_intra_s = 1e-6 * constants[GALV_CONSTANT_HOP_INSIDE_US];
    c->hop_inter_s = 1e-6 * constants[GALV_CONSTANT_HOP_BETWEEN_US] +
                     constants[GALV_CONSTANT_HOP_LATENCIES] *
                         galv_positive(pool->inter_latency_s, 1.5e-6);
}

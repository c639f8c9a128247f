/* The cluster: pools of nodes, checks, and the what-if of --set.
 *
 * A node is its devices, the fabric inside the scale-up domain, and the NICs. The
 * bandwidth between nodes is kept per device and nominal, with the share of it that a
 * long message really gets beside it (inter_efficiency): measured RDMA goodput over
 * nominal where the catalog has it, else 0.94, the ratio of published InfiniBand runs
 * (23.5 of 25 GB/s on HDR). What lies above the NICs is in cluster_network.c.
 *
 * Left out: link failures, per-rail imbalance. */
#include "plan/cluster.h"

#include "base/units.h"
#include "base/words.h"
#include "plan/cluster_network_internal.h"

#include <math.h>
#include <string.h>

#define MAX_NODES    1000000
#define MAX_PER_NODE 4096
/* Less is a mistake in the unit. */
#define LEAST_MEMORY 1048576
#define MAX_RATE     1e18

double galv_device_usd_per_hour(const galv_device *device)
{
    return (device->usd_per_hour_low + device->usd_per_hour_high) / 2;
}

int64_t galv_cluster_n_devices(const galv_cluster *cluster)
{
    int64_t n_devices = 0;
    for (int32_t i = 0; i < cluster->n_pools; i++) {
        n_devices +=
            (int64_t)cluster->pools[i].n_nodes * cluster->pools[i].devices_per_node;
    }
    return n_devices;
}

int32_t galv_cluster_n_nodes(const galv_cluster *cluster)
{
    int32_t n_nodes = 0;
    for (int32_t i = 0; i < cluster->n_pools; i++) {
        n_nodes += cluster->pools[i].n_nodes;
    }
    return n_nodes;
}

galv_status galv_cluster_set_nodes(galv_cluster *cluster, int32_t n_nodes,
                                   galv_err *err)
{
    if (n_nodes < 1 || n_nodes > MAX_NODES) {
        return galv_fail(err, GALV_USAGE, "%d nodes is not in 1 .. %d", (int)n_nodes,
                         MAX_NODES);
    }
    if (cluster->n_pools != 1) {
        galv_fail(err, GALV_USAGE,
                  "the number of nodes of a mixed cluster is not one "
                  "number");
        galv_hint(err, "give n_nodes of each pool in the cluster file");
        return GALV_USAGE;
    }
    int32_t n_dims = galv_cluster_n_torus_dims(cluster);
    if (n_dims > 0 && n_nodes != cluster->pools[0].n_nodes) {
        galv_cluster_lay_torus(cluster, n_dims, n_nodes);
    }
    cluster->pools[0].n_nodes = n_nodes;
    return GALV_OK;
}

static bool in_range(double value, double low, double high)
{
    return value >= low && value <= high; /* false for NaN */
}

static galv_status check_device(const galv_device *device, galv_err *err)
{
    if (device->memory_bytes == 0) {
        return galv_fail(err, GALV_INPUT, "device '%s' has no memory_bytes",
                         device->id);
    }
    if (device->memory_bytes < LEAST_MEMORY) {
        return galv_fail(err, GALV_INPUT,
                         "device '%s': memory_bytes %llu is less than any device has",
                         device->id, (unsigned long long)device->memory_bytes);
    }
    if (!in_range(device->memory_bytes_per_s, 1, MAX_RATE)) {
        return galv_fail(err, GALV_INPUT, "device '%s' has no memory_bytes_per_s",
                         device->id);
    }
    double best = 0;
    for (int i = 0; i < GALV_N_PRECISIONS; i++) {
        if (!in_range(device->peak_flop_per_s[i], 0, 1e21)) {
            return galv_fail(err, GALV_INPUT,
                             "device '%s': peak_flop_per_s of %s is "
                             "not a rate",
                             device->id, galv_precision_names[i]);
        }
        best = fmax(best, device->peak_flop_per_s[i]);
    }
    if (best <= 0) {
        return galv_fail(err, GALV_INPUT, "device '%s' has no peak_flop_per_s",
                         device->id);
    }
    return GALV_OK;
}

static galv_status check_pool(const galv_pool *pool, int32_t index, galv_err *err)
{
    if (pool->device.memory_bytes == 0 && pool->device.id[0] == '\0') {
        galv_fail(err, GALV_INPUT, "pools[%d] has no device", (int)index);
        galv_hint(err, "\"device\": a GPU of the catalog or its numbers; or \"base\": "
                       "a cluster of the catalog");
        return GALV_INPUT;
    }
    galv_status status = check_device(&pool->device, err);
    if (status != GALV_OK) {
        return status;
    }
    if (pool->n_nodes < 1 || pool->n_nodes > MAX_NODES) {
        return galv_fail(err, GALV_INPUT, "pools[%d]: n_nodes %d is not in 1 .. %d",
                         (int)index, (int)pool->n_nodes, MAX_NODES);
    }
    if (pool->devices_per_node < 1 || pool->devices_per_node > MAX_PER_NODE) {
        return galv_fail(err, GALV_INPUT,
                         "pools[%d]: devices_per_node %d is not in 1 .. %d", (int)index,
                         (int)pool->devices_per_node, MAX_PER_NODE);
    }
    if (pool->scaleup_domain < pool->devices_per_node ||
        pool->scaleup_domain > 1048576) {
        return galv_fail(err, GALV_INPUT,
                         "pools[%d]: scaleup_domain %d is smaller than "
                         "devices_per_node %d",
                         (int)index, (int)pool->scaleup_domain,
                         (int)pool->devices_per_node);
    }
    if (pool->devices_per_bus < 0 || pool->devices_per_bus > pool->devices_per_node ||
        (pool->devices_per_bus > 0 &&
         pool->devices_per_node % pool->devices_per_bus != 0)) {
        return galv_fail(err, GALV_INPUT,
                         "pools[%d]: devices_per_bus %d does not divide "
                         "devices_per_node %d",
                         (int)index, (int)pool->devices_per_bus,
                         (int)pool->devices_per_node);
    }
    double bus_least = pool->devices_per_bus > 0 ? 1 : 0;
    const struct {
        const char *name;
        double value, low, high;
    } rates[] = {
        {"bus_bytes_per_s", pool->bus_bytes_per_s, bus_least, MAX_RATE},
        {"intra_bytes_per_s", pool->intra_bytes_per_s, 1, MAX_RATE},
        {"inter_bytes_per_s", pool->inter_bytes_per_s, 1, MAX_RATE},
        {"inter_efficiency", pool->inter_efficiency, 1e-6, 1},
        {"intra_latency_s", pool->intra_latency_s, 0, 10},
        {"inter_latency_s", pool->inter_latency_s, 0, 10},
    };
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        if (!in_range(rates[i].value, rates[i].low, rates[i].high)) {
            return galv_fail(err, GALV_INPUT, "pools[%d]: %s %g is not in %g .. %g",
                             (int)index, rates[i].name, rates[i].value, rates[i].low,
                             rates[i].high);
        }
    }
    return GALV_OK;
}

galv_status galv_cluster_check(const galv_cluster *cluster, galv_err *err)
{
    if (cluster->n_pools < 1 || cluster->n_pools > GALV_MAX_POOLS) {
        return galv_fail(err, GALV_INPUT, "a cluster has 1 to %d pools, not %d",
                         GALV_MAX_POOLS, (int)cluster->n_pools);
    }
    for (int32_t i = 0; i < cluster->n_pools; i++) {
        galv_status status = check_pool(&cluster->pools[i], i, err);
        if (status != GALV_OK) {
            return status;
        }
    }
    if (!in_range(cluster->oversubscription, 1, 1e6)) {
        return galv_fail(err, GALV_INPUT, "oversubscription %g is below 1",
                         cluster->oversubscription);
    }
    if (!in_range(cluster->usd_per_device_hour, 0, 1e9) ||
        !in_range(cluster->node_power_w, 0, 1e9)) {
        return galv_fail(err, GALV_INPUT, "price and power must not be negative");
    }
    return galv_cluster_check_network(cluster, err);
}

/* ---- --set ---- */

#define MAX_LEAF_NODES 1000000

typedef enum set_path {
    SET_INTRA_BANDWIDTH,
    SET_INTRA_LATENCY,
    SET_INTER_BANDWIDTH,
    SET_INTER_LATENCY,
    SET_INTER_EFFICIENCY,
    SET_DEVICE_MEMORY,
    SET_DEVICE_MEMORY_BANDWIDTH,
    SET_DEVICE_FLOPS,
    SET_USD,
    SET_NODE_POWER,
    SET_DEVICES_PER_NODE,
    SET_INTER_NICS,
    SET_BUS_DEVICES,
    SET_BUS_BANDWIDTH,
    SET_LEAF_NODES,
    SET_LEAF_OVERSUBSCRIPTION,
    SET_POD_NODES,
    SET_POD_OVERSUBSCRIPTION,
    SET_SPINE_OVERSUBSCRIPTION,
    N_SET_PATHS
} set_path;

static const char *const set_path_names[N_SET_PATHS] = {"intra.bandwidth",
                                                        "intra.latency",
                                                        "inter.bandwidth",
                                                        "inter.latency",
                                                        "inter.efficiency",
                                                        "device.memory",
                                                        "device.memory_bandwidth",
                                                        "device.flops",
                                                        "usd_per_device_hour",
                                                        "node_power_w",
                                                        "devices_per_node",
                                                        "inter.nics",
                                                        "bus.devices",
                                                        "bus.bandwidth",
                                                        "leaf.nodes",
                                                        "leaf.oversubscription",
                                                        "pod.nodes",
                                                        "pod.oversubscription",
                                                        "spine.oversubscription"};

static galv_status parse_plain(double *number, set_path path, const char *text,
                               galv_err *err)
{
    uint64_t bytes = 0;
    galv_status status = GALV_OK;
    switch (path) {
    case SET_INTRA_BANDWIDTH:
    case SET_INTER_BANDWIDTH:
    case SET_BUS_BANDWIDTH:
    case SET_DEVICE_MEMORY_BANDWIDTH:
        return galv_parse_bandwidth(number, text, err);
    case SET_INTRA_LATENCY:
    case SET_INTER_LATENCY:
        return galv_parse_duration(number, text, err);
    case SET_DEVICE_MEMORY:
        status = galv_parse_bytes(&bytes, text, err);
        if (status == GALV_OK) {
            *number = (double)bytes;
        }
        return status;
    default:
        return galv_parse_number(number, text, err);
    }
}

static double current_value(const galv_cluster *cluster, const galv_pool *pool,
                            set_path path)
{
    switch (path) {
    case SET_INTRA_BANDWIDTH:
        return pool->intra_bytes_per_s;
    case SET_INTRA_LATENCY:
        return pool->intra_latency_s;
    case SET_INTER_BANDWIDTH:
        return pool->inter_bytes_per_s;
    case SET_INTER_LATENCY:
        return pool->inter_latency_s;
    case SET_INTER_EFFICIENCY:
        return pool->inter_efficiency;
    case SET_DEVICE_MEMORY:
        return (double)pool->device.memory_bytes;
    case SET_DEVICE_MEMORY_BANDWIDTH:
        return pool->device.memory_bytes_per_s;
    case SET_DEVICE_FLOPS:
        return pool->device.peak_flop_per_s[GALV_BF16] > 0
                   ? pool->device.peak_flop_per_s[GALV_BF16]
                   : pool->device.peak_flop_per_s[GALV_FP16];
    case SET_USD:
        return cluster->usd_per_device_hour;
    case SET_NODE_POWER:
        return cluster->node_power_w;
    case SET_INTER_NICS:
        return pool->nics_per_node;
    case SET_BUS_DEVICES:
        return pool->devices_per_bus;
    case SET_BUS_BANDWIDTH:
        return pool->bus_bytes_per_s;
    case SET_LEAF_NODES:
        return cluster->n_levels > 0 ? cluster->levels[0].n_nodes : 0;
    case SET_LEAF_OVERSUBSCRIPTION:
        return cluster->n_levels > 0 ? cluster->levels[0].oversubscription : 1;
    case SET_POD_NODES:
        return cluster->n_levels > 1 ? cluster->levels[1].n_nodes : 0;
    case SET_POD_OVERSUBSCRIPTION:
        return cluster->n_levels > 1 ? cluster->levels[1].oversubscription : 1;
    case SET_SPINE_OVERSUBSCRIPTION:
        return cluster->oversubscription;
    default:
        return pool->devices_per_node;
    }
}

static void set_devices_per_node(galv_pool *pool, double value)
{
    int32_t devices = (int32_t)value;
    bool domain_is_node = pool->scaleup_domain <= pool->devices_per_node;
    if (domain_is_node || pool->scaleup_domain < devices) {
        pool->scaleup_domain = devices;
    }
    pool->devices_per_node = devices;
}

/* A faster device is faster in every precision, a faster link to every peer. */
static galv_status set_value(galv_cluster *cluster, galv_pool *pool, set_path path,
                             double value, galv_err *err)
{
    double old = current_value(cluster, pool, path);
    double ratio = old > 0 ? value / old : 1;
    galv_device *device = &pool->device;
    switch (path) {
    case SET_INTRA_BANDWIDTH:
        pool->intra_bytes_per_s = value;
        device->scaleup_bytes_per_s *= ratio;
        device->p2p_bytes_per_s *= ratio;
        break;
    case SET_INTRA_LATENCY:
        pool->intra_latency_s = value;
        break;
    case SET_INTER_BANDWIDTH:
        pool->inter_bytes_per_s = value;
        break;
    case SET_INTER_LATENCY:
        pool->inter_latency_s = value;
        break;
    case SET_INTER_EFFICIENCY:
        pool->inter_efficiency = value;
        break;
    case SET_DEVICE_MEMORY:
        device->memory_bytes = (uint64_t)value;
        break;
    case SET_DEVICE_MEMORY_BANDWIDTH:
        device->memory_bytes_per_s = value;
        break;
    case SET_DEVICE_FLOPS:
        for (int i = 0; i < GALV_N_PRECISIONS; i++) {
            device->peak_flop_per_s[i] *= ratio;
        }
        device->sustained_bf16_flop_per_s *= ratio;
        break;
    case SET_USD:
        cluster->usd_per_device_hour = value;
        break;
    case SET_NODE_POWER:
        cluster->node_power_w = value;
        break;
    case SET_INTER_NICS:
        pool->nics_per_node = (int32_t)value;
        break;
    case SET_BUS_DEVICES:
        pool->devices_per_bus = (int32_t)value;
        break;
    case SET_BUS_BANDWIDTH:
        pool->bus_bytes_per_s = value;
        break;
    case SET_LEAF_NODES:
        if (!(value > 0)) { /* one switch for all */
            cluster->n_levels = 0;
            return GALV_OK;
        }
        return galv_cluster_set_level(cluster, 0, "leaf", value, 0, err);
    case SET_LEAF_OVERSUBSCRIPTION:
        return galv_cluster_set_level(cluster, 0, "leaf", 0, value, err);
    case SET_POD_NODES:
        return galv_cluster_set_level(cluster, 1, "pod", value, 0, err);
    case SET_POD_OVERSUBSCRIPTION:
        return galv_cluster_set_level(cluster, 1, "pod", 0, value, err);
    case SET_SPINE_OVERSUBSCRIPTION:
        cluster->oversubscription = value;
        break;
    default:
        if ((int32_t)value != pool->devices_per_node) {
            cluster->node_power_w = 0; /* it was that of another node */
        }
        set_devices_per_node(pool, value);
        break;
    }
    return GALV_OK;
}

static bool is_count(set_path path)
{
    return path == SET_DEVICES_PER_NODE || path == SET_INTER_NICS ||
           path == SET_BUS_DEVICES || path == SET_LEAF_NODES || path == SET_POD_NODES;
}

/* Splits "path=value" and finds the path. */
static galv_status split_assignment(set_path *path, char *value, size_t size,
                                    const char *assignment, galv_err *err)
{
    if (strncmp(assignment, "cluster.", 8) == 0) {
        assignment += 8;
    }
    const char *equals = strchr(assignment, '=');
    if (equals == NULL || equals[1] == '\0') {
        galv_fail(err, GALV_USAGE, "'%.80s' is not an assignment", assignment);
        galv_hint(err, "write for example inter.bandwidth=2x");
        return GALV_USAGE;
    }
    char name[64];
    size_t length = (size_t)(equals - assignment);
    if (length >= sizeof name || strlen(equals + 1) >= size) {
        return galv_fail(err, GALV_USAGE, "'%.80s' is too long", assignment);
    }
    memcpy(name, assignment, length);
    name[length] = '\0';
    int index = galv_word_index(set_path_names, N_SET_PATHS, name);
    if (index < 0) {
        galv_fail(err, GALV_USAGE, "'%s' cannot be set", name);
        galv_hint_words(err, set_path_names, N_SET_PATHS, name);
        galv_hint(err, "`galvatron-sim help units` lists the keys");
        return GALV_USAGE;
    }
    *path = (set_path)index;
    memcpy(value, equals + 1, strlen(equals + 1) + 1);
    return GALV_OK;
}

galv_status galv_cluster_set(galv_cluster *cluster, const char *assignment,
                             galv_err *err)
{
    set_path path = SET_USD;
    char text[64];
    galv_status status = split_assignment(&path, text, sizeof text, assignment, err);
    if (status != GALV_OK) {
        return status;
    }
    size_t length = strlen(text);
    bool multiplies = length > 1 && text[length - 1] == 'x';
    double number = 0;
    if (multiplies) {
        text[length - 1] = '\0';
        status = galv_parse_number(&number, text, err);
    } else {
        status = parse_plain(&number, path, text, err);
    }
    if (status != GALV_OK) {
        return status;
    }
    galv_cluster changed = *cluster;
    for (int32_t i = 0; i < changed.n_pools; i++) {
        galv_pool *pool = &changed.pools[i];
        double value = number;
        if (multiplies) { /* what is of the whole cluster multiplies once */
            value *= current_value(cluster, &cluster->pools[i], path);
        }
        if (!in_range(value, 0, 1e21)) {
            return galv_fail(err, GALV_USAGE, "'%.80s' is out of range", assignment);
        }
        bool of_nodes = path == SET_LEAF_NODES || path == SET_POD_NODES;
        int32_t most = of_nodes ? MAX_LEAF_NODES : MAX_PER_NODE;
        if (is_count(path) && (value > most || floor(value) < value)) {
            return galv_fail(err, GALV_USAGE,
                             "%s must be a whole number up to %d, not %g",
                             set_path_names[path], (int)most, value);
        }
        if (path == SET_DEVICE_MEMORY && value > 1e18) {
            return galv_fail(err, GALV_USAGE, "'%.80s' is out of range", assignment);
        }
        status = set_value(&changed, pool, path, value, err);
        if (status != GALV_OK) {
            return status;
        }
    }
    galv_err why = GALV_ERR_INIT;
    if (galv_cluster_check(&changed, &why) != GALV_OK) {
        return galv_fail(err, GALV_USAGE, "'%.80s': %s", assignment, why.message);
    }
    *cluster = changed;
    return GALV_OK;
}

/* Clusters as JSON: "schema": "galvatron-sim/cluster".
 *
 * What is written is explicit down to every figure of the device, so that a document
 * does not change its meaning when a catalog does. What is read may lean on the
 * catalogs: "base" starts a cluster (or a device) from one of them and the keys beside
 * it override it; a device may be a bare id, and one without an "id" is that of the
 * pool's base, changed; "n_nodes" and the keys of a pool may stand
 * at the top when there is one pool. Bandwidths and latencies are numbers in SI or
 * strings with a unit ("400Gb/s", "5us"). */
#include "plan/cluster.h"

#include "base/file.h"
#include "plan/catalog.h"
#include "plan/cluster_network_internal.h"
#include "plan/document_internal.h"

#include <math.h>
#include <string.h>

#define SCHEMA "galvatron-sim/cluster"

/* ---- devices ---- */

static void read_peaks(galv_json_value value, galv_device *device, galv_err *err)
{
    galv_json_object o;
    galv_json_enter(&o, value, err);
    for (int i = 0; i < GALV_N_PRECISIONS; i++) {
        galv_json_f64(&o, galv_precision_names[i], GALV_OPTIONAL, 0, 1e21,
                      &device->peak_flop_per_s[i]);
    }
    galv_json_leave(&o);
}

/* A name looked up in a catalog from a file is an error of the file. */
static void refuse_name(galv_json_value value, const galv_err *why, galv_err *err)
{
    galv_document_refuse(value, why, err);
}

static void start_device(galv_device *device, galv_json_value value, galv_err *err)
{
    const char *id = "";
    galv_err why = GALV_ERR_INIT;
    if (galv_json_to_string(&id, value, err) == GALV_OK &&
        galv_catalog_device(device, id, &why) != GALV_OK) {
        refuse_name(value, &why, err);
    }
}

static void read_device_fields(galv_json_object *o, galv_device *d)
{
    galv_json_string(o, "id", GALV_OPTIONAL, d->id, sizeof d->id);
    galv_json_string(o, "name", GALV_OPTIONAL, d->name, sizeof d->name);
    galv_json_string(o, "vendor", GALV_OPTIONAL, d->vendor, sizeof d->vendor);
    galv_json_string(o, "arch", GALV_OPTIONAL, d->arch, sizeof d->arch);
    galv_json_i32(o, "year", GALV_OPTIONAL, 0, 2100, &d->year);
    galv_json_bytes(o, "memory_bytes", GALV_OPTIONAL, &d->memory_bytes);
    galv_json_bandwidth(o, "memory_bytes_per_s", GALV_OPTIONAL, &d->memory_bytes_per_s);
    galv_json_value peaks = galv_json_get(o, "peak_flop_per_s", GALV_OPTIONAL);
    if (galv_json_type_of(peaks) != GALV_JSON_ABSENT) {
        read_peaks(peaks, d, o->err);
    }
    galv_json_f64(o, "sustained_bf16_flop_per_s", GALV_OPTIONAL, 0, 1e21,
                  &d->sustained_bf16_flop_per_s);
    galv_json_i32(o, "n_sm", GALV_OPTIONAL, 0, 1000000, &d->n_sm);
    galv_json_f64(o, "clock_hz", GALV_OPTIONAL, 0, 1e12, &d->clock_hz);
    galv_json_f64(o, "tdp_w", GALV_OPTIONAL, 0, 1e6, &d->tdp_w);
    galv_json_string(o, "scaleup_link", GALV_OPTIONAL, d->scaleup_link,
                     sizeof d->scaleup_link);
    galv_json_bandwidth(o, "scaleup_bytes_per_s", GALV_OPTIONAL,
                        &d->scaleup_bytes_per_s);
    galv_json_bandwidth(o, "p2p_bytes_per_s", GALV_OPTIONAL, &d->p2p_bytes_per_s);
    galv_json_i32(o, "pcie_generation", GALV_OPTIONAL, 0, 20, &d->pcie_generation);
    galv_json_f64(o, "usd_per_hour_low", GALV_OPTIONAL, 0, 1e9, &d->usd_per_hour_low);
    galv_json_f64(o, "usd_per_hour_high", GALV_OPTIONAL, 0, 1e9, &d->usd_per_hour_high);
    galv_json_f64(o, "purchase_usd_low", GALV_OPTIONAL, 0, 1e12, &d->purchase_usd_low);
    galv_json_f64(o, "purchase_usd_high", GALV_OPTIONAL, 0, 1e12,
                  &d->purchase_usd_high);
    galv_json_string(o, "sources", GALV_OPTIONAL, d->sources, sizeof d->sources);
    galv_json_string(o, "recalled_fields", GALV_OPTIONAL, d->recalled_fields,
                     sizeof d->recalled_fields);
}

/* One with an id of its own begins with nothing, else with what the pool has. */
static void read_device(galv_device *device, galv_json_value value, galv_err *err)
{
    if (galv_json_type_of(value) == GALV_JSON_STRING) {
        start_device(device, value, err);
        return;
    }
    galv_json_object o;
    galv_json_enter(&o, value, err);
    galv_json_value base = galv_json_get(&o, "base", GALV_OPTIONAL);
    if (galv_json_type_of(base) != GALV_JSON_ABSENT) {
        start_device(device, base, err);
    } else if (galv_json_type_of(galv_json_get(&o, "id", GALV_OPTIONAL)) !=
               GALV_JSON_ABSENT) {
        *device = (galv_device){0};
    }
    read_device_fields(&o, device);
    galv_json_leave(&o);
}

void galv_device_to_json(const galv_device *device, galv_json_writer *writer)
{
    const galv_device *d = device;
    galv_json_begin_object(writer, false);
    galv_json_key_string(writer, "id", d->id);
    galv_json_key_string(writer, "name", d->name);
    galv_json_key_string(writer, "vendor", d->vendor);
    galv_json_key_string(writer, "arch", d->arch);
    galv_json_key_i64(writer, "year", d->year);
    galv_json_key_i64(writer, "memory_bytes", (int64_t)d->memory_bytes);
    galv_json_key_f64(writer, "memory_bytes_per_s", d->memory_bytes_per_s);
    galv_json_put_key(writer, "peak_flop_per_s");
    galv_json_begin_object(writer, true);
    for (int i = 0; i < GALV_N_PRECISIONS; i++) {
        galv_json_key_f64(writer, galv_precision_names[i], d->peak_flop_per_s[i]);
    }
    galv_json_end_object(writer);
    galv_json_key_f64(writer, "sustained_bf16_flop_per_s",
                      d->sustained_bf16_flop_per_s);
    galv_json_key_i64(writer, "n_sm", d->n_sm);
    galv_json_key_f64(writer, "clock_hz", d->clock_hz);
    galv_json_key_f64(writer, "tdp_w", d->tdp_w);
    galv_json_key_string(writer, "scaleup_link", d->scaleup_link);
    galv_json_key_f64(writer, "scaleup_bytes_per_s", d->scaleup_bytes_per_s);
    galv_json_key_f64(writer, "p2p_bytes_per_s", d->p2p_bytes_per_s);
    galv_json_key_i64(writer, "pcie_generation", d->pcie_generation);
    galv_json_key_f64(writer, "usd_per_hour_low", d->usd_per_hour_low);
    galv_json_key_f64(writer, "usd_per_hour_high", d->usd_per_hour_high);
    galv_json_key_f64(writer, "purchase_usd_low", d->purchase_usd_low);
    galv_json_key_f64(writer, "purchase_usd_high", d->purchase_usd_high);
    galv_json_key_string(writer, "sources", d->sources);
    galv_json_key_string(writer, "recalled_fields", d->recalled_fields);
    galv_json_end_object(writer);
}

/* ---- pools ---- */

/* A device put into a pool brings its own scale-up bandwidth, unless that is given too;
 * one without a scale-up link its bandwidth to a peer, unless the pool has one. */
static void read_pool_fields(galv_json_object *o, galv_pool *pool)
{
    int32_t old_per_node = pool->devices_per_node;
    galv_json_value device = galv_json_get(o, "device", GALV_OPTIONAL);
    if (galv_json_type_of(device) != GALV_JSON_ABSENT) {
        galv_device before = pool->device;
        read_device(&pool->device, device, o->err);
        const galv_device *d = &pool->device;
        bool same_link = strcmp(d->id, before.id) == 0 &&
                         !(d->scaleup_bytes_per_s < before.scaleup_bytes_per_s) &&
                         !(d->scaleup_bytes_per_s > before.scaleup_bytes_per_s);
        if ((d->scaleup_bytes_per_s > 0 && !same_link) ||
            pool->intra_bytes_per_s <= 0) {
            pool->intra_bytes_per_s = d->scaleup_bytes_per_s > 0
                                          ? d->scaleup_bytes_per_s
                                          : d->p2p_bytes_per_s;
        }
    }
    galv_json_i32(o, "n_nodes", GALV_OPTIONAL, 1, 1000000, &pool->n_nodes);
    galv_json_i32(o, "devices_per_node", GALV_OPTIONAL, 1, 4096,
                  &pool->devices_per_node);
    if (pool->scaleup_domain == old_per_node ||
        pool->scaleup_domain < pool->devices_per_node) {
        pool->scaleup_domain = pool->devices_per_node;
    }
    galv_json_i32(o, "scaleup_domain", GALV_OPTIONAL, 1, 1048576,
                  &pool->scaleup_domain);
    galv_json_bandwidth(o, "intra_bytes_per_s", GALV_OPTIONAL,
                        &pool->intra_bytes_per_s);
    galv_json_duration(o, "intra_latency_s", GALV_OPTIONAL, &pool->intra_latency_s);
    galv_json_bandwidth(o, "inter_bytes_per_s", GALV_OPTIONAL,
                        &pool->inter_bytes_per_s);
    galv_json_f64(o, "inter_efficiency", GALV_OPTIONAL, 0, 1, &pool->inter_efficiency);
    galv_json_duration(o, "inter_latency_s", GALV_OPTIONAL, &pool->inter_latency_s);
    galv_json_i32(o, "nics_per_node", GALV_OPTIONAL, 0, 4096, &pool->nics_per_node);
    galv_json_i32(o, "devices_per_bus", GALV_OPTIONAL, 0, 4096, &pool->devices_per_bus);
    galv_json_bandwidth(o, "bus_bytes_per_s", GALV_OPTIONAL, &pool->bus_bytes_per_s);
    galv_json_string(o, "host", GALV_OPTIONAL, pool->host, sizeof pool->host);
}

/* Where nothing is said: the assumptions of the catalog (plan/catalog.c). */
static galv_pool empty_pool(void)
{
    galv_pool pool = {0};
    pool.n_nodes = 1;
    pool.devices_per_node = 8;
    pool.intra_latency_s = 3e-6;
    pool.inter_efficiency = 0.94;
    pool.inter_latency_s = 5e-6;
    return pool;
}

/* What a pool costs and draws: a device and hour, a node under load; 0 = unknown. */
typedef struct pool_worth {
    double usd_per_device_hour;
    double node_power_w;
} pool_worth;

static pool_worth worth_of(const galv_cluster *cluster)
{
    return (pool_worth){cluster->usd_per_device_hour, cluster->node_power_w};
}

/* The price and the power of a node are those of its devices: other devices cost what
 * the catalog knows of them, and nobody knows what their node draws. */
static void revalue(pool_worth *worth, const galv_pool *before, const galv_pool *pool)
{
    bool same = strcmp(before->device.id, pool->device.id) == 0;
    if (!same) {
        worth->usd_per_device_hour = galv_device_usd_per_hour(&pool->device);
    }
    if (!same || before->devices_per_node != pool->devices_per_node) {
        worth->node_power_w = 0;
    }
}

/* The mean of known values by their weights; 0 where one is unknown. Equal values are
 * handed on to the last bit. */
static double mean_known(const double *value, const double *weight, int32_t n)
{
    double sum = 0, all = 0;
    bool known = true, equal = true;
    for (int32_t i = 0; i < n; i++) {
        known = known && value[i] > 0;
        equal = equal && !(value[i] < value[0]) && !(value[i] > value[0]);
        sum += weight[i] * value[i];
        all += weight[i];
    }
    return !known ? 0 : equal ? value[0] : sum / all;
}

/* A cluster has one price and one power: those of its mean device and node. */
static void set_worth(galv_cluster *cluster, const pool_worth *worth)
{
    double usd[GALV_MAX_POOLS], watts[GALV_MAX_POOLS];
    double devices[GALV_MAX_POOLS], nodes[GALV_MAX_POOLS];
    for (int32_t i = 0; i < cluster->n_pools; i++) {
        const galv_pool *pool = &cluster->pools[i];
        usd[i] = worth[i].usd_per_device_hour;
        watts[i] = worth[i].node_power_w;
        nodes[i] = pool->n_nodes;
        devices[i] = nodes[i] * pool->devices_per_node;
    }
    cluster->usd_per_device_hour = mean_known(usd, devices, cluster->n_pools);
    cluster->node_power_w = mean_known(watts, nodes, cluster->n_pools);
}

/* `start` is what the pool is as far as nothing is written, and *worth its own. */
static void read_pool(galv_pool *pool, pool_worth *worth, const galv_pool *start,
                      galv_json_value value, galv_err *err)
{
    galv_json_object o;
    galv_json_enter(&o, value, err);
    galv_json_value base = galv_json_get(&o, "base", GALV_OPTIONAL);
    *pool = *start;
    if (galv_json_type_of(base) != GALV_JSON_ABSENT) {
        const char *name = "";
        galv_cluster cluster = {0};
        galv_err why = GALV_ERR_INIT;
        if (galv_json_to_string(&name, base, err) == GALV_OK &&
            galv_catalog_cluster(&cluster, name, &why) != GALV_OK) {
            refuse_name(base, &why, err);
        } else {
            *pool = cluster.pools[0];
            *worth = worth_of(&cluster);
        }
    }
    galv_pool before = *pool;
    read_pool_fields(&o, pool);
    revalue(worth, &before, pool);
    galv_json_leave(&o);
}

static void write_pool(const galv_pool *pool, galv_json_writer *writer)
{
    galv_json_begin_object(writer, false);
    galv_json_key_i64(writer, "n_nodes", pool->n_nodes);
    galv_json_key_i64(writer, "devices_per_node", pool->devices_per_node);
    galv_json_key_i64(writer, "scaleup_domain", pool->scaleup_domain);
    galv_json_key_f64(writer, "intra_bytes_per_s", pool->intra_bytes_per_s);
    galv_json_key_f64(writer, "intra_latency_s", pool->intra_latency_s);
    galv_json_key_f64(writer, "inter_bytes_per_s", pool->inter_bytes_per_s);
    galv_json_key_f64(writer, "inter_efficiency", pool->inter_efficiency);
    galv_json_key_f64(writer, "inter_latency_s", pool->inter_latency_s);
    galv_json_key_i64(writer, "nics_per_node", pool->nics_per_node);
    if (pool->devices_per_bus > 0) {
        galv_json_key_i64(writer, "devices_per_bus", pool->devices_per_bus);
        galv_json_key_f64(writer, "bus_bytes_per_s", pool->bus_bytes_per_s);
    }
    galv_json_key_string(writer, "host", pool->host);
    galv_json_put_key(writer, "device");
    galv_device_to_json(&pool->device, writer);
    galv_json_end_object(writer);
}

/* ---- the network ---- */

static void read_level(galv_level *level, galv_json_value value, galv_err *err)
{
    galv_json_object o;
    galv_json_enter(&o, value, err);
    *level = (galv_level){.name = "level", .oversubscription = 1};
    galv_json_string(&o, "name", GALV_OPTIONAL, level->name, sizeof level->name);
    galv_json_i32(&o, "n_nodes", GALV_REQUIRED, 1, 1000000, &level->n_nodes);
    galv_json_f64(&o, "oversubscription", GALV_OPTIONAL, 1, 1e6,
                  &level->oversubscription);
    galv_json_leave(&o);
}

static void read_levels(galv_cluster *cluster, galv_json_value levels, galv_err *err)
{
    size_t n_levels = galv_json_length(levels);
    if (galv_json_type_of(levels) != GALV_JSON_ARRAY || n_levels > GALV_MAX_LEVELS) {
        galv_json_fail(levels, err, "must be a list of up to %d levels",
                       GALV_MAX_LEVELS);
        return;
    }
    cluster->n_levels = (int32_t)n_levels;
    for (size_t i = 0; i < n_levels; i++) {
        read_level(&cluster->levels[i], galv_json_element(levels, i), err);
    }
}

/* One level, said in short. */
static void read_leaf(galv_cluster *cluster, galv_json_object *o)
{
    int32_t n_nodes = -1;
    double oversubscription = 0;
    galv_json_i32(o, "nodes_per_leaf", GALV_OPTIONAL, 0, 1000000, &n_nodes);
    galv_json_f64(o, "leaf_oversubscription", GALV_OPTIONAL, 1, 1e6, &oversubscription);
    if (n_nodes == 0) {
        cluster->n_levels = 0;
    } else if (n_nodes > 0 || (oversubscription > 0 && cluster->n_levels > 0)) {
        galv_cluster_set_level(cluster, 0, "leaf", n_nodes, oversubscription, o->err);
    }
}

static void read_torus(galv_cluster *cluster, galv_json_value torus, galv_err *err)
{
    size_t n_dims = galv_json_length(torus);
    if (n_dims < 1 || n_dims > GALV_MAX_TORUS_DIM) {
        galv_json_fail(torus, err, "must hold the nodes in each of 1 to %d dimensions",
                       GALV_MAX_TORUS_DIM);
        return;
    }
    memset(cluster->torus, 0, sizeof cluster->torus);
    for (size_t i = 0; i < n_dims; i++) {
        double nodes = 0;
        galv_json_value element = galv_json_element(torus, i);
        if (galv_json_to_f64(&nodes, element, 1, 1e6, err) == GALV_OK &&
            floor(nodes) < nodes) {
            galv_json_fail(element, err, "%g is no number of nodes", nodes);
        }
        cluster->torus[i] = err->status == GALV_OK ? (int32_t)nodes : 0;
    }
    cluster->n_levels = 0;
}

static void read_network(galv_cluster *cluster, galv_json_value torus,
                         galv_json_object *o)
{
    galv_json_f64(o, "oversubscription", GALV_OPTIONAL, 1, 1e6,
                  &cluster->oversubscription);
    galv_json_bool(o, "rail_optimized", GALV_OPTIONAL, &cluster->rail_optimized);
    if (galv_json_type_of(torus) != GALV_JSON_ABSENT) {
        read_torus(cluster, torus, o->err);
    }
    galv_json_value levels = galv_json_get(o, "levels", GALV_OPTIONAL);
    if (galv_json_type_of(levels) != GALV_JSON_ABSENT) {
        read_levels(cluster, levels, o->err);
    }
    read_leaf(cluster, o);
}

static void write_network(const galv_cluster *cluster, galv_json_writer *writer)
{
    galv_json_key_f64(writer, "oversubscription", cluster->oversubscription);
    galv_json_key_bool(writer, "rail_optimized", cluster->rail_optimized);
    if (cluster->n_levels > 0) {
        galv_json_put_key(writer, "levels");
        galv_json_begin_array(writer, false);
        for (int32_t i = 0; i < cluster->n_levels; i++) {
            galv_json_begin_object(writer, true);
            galv_json_key_string(writer, "name", cluster->levels[i].name);
            galv_json_key_i64(writer, "n_nodes", cluster->levels[i].n_nodes);
            galv_json_key_f64(writer, "oversubscription",
                              cluster->levels[i].oversubscription);
            galv_json_end_object(writer);
        }
        galv_json_end_array(writer);
    }
    int32_t n_dims = galv_cluster_n_torus_dims(cluster);
    if (n_dims > 0) {
        galv_json_put_key(writer, "torus");
        galv_json_begin_array(writer, true);
        for (int32_t i = 0; i < n_dims; i++) {
            galv_json_put_i64(writer, cluster->torus[i]);
        }
        galv_json_end_array(writer);
    }
}

/* ---- clusters ---- */

static void start_cluster(galv_cluster *cluster, galv_json_value base, galv_err *err)
{
    const char *name = "";
    galv_err why = GALV_ERR_INIT;
    if (galv_json_type_of(base) != GALV_JSON_ABSENT &&
        galv_json_to_string(&name, base, err) == GALV_OK &&
        galv_cluster_load(cluster, name, 1, &why) != GALV_OK) {
        refuse_name(base, &why, err);
    }
}

static void read_pools(galv_cluster *cluster, galv_json_object *o)
{
    galv_json_value pools = galv_json_get(o, "pools", GALV_OPTIONAL);
    pool_worth worth[GALV_MAX_POOLS] = {{0, 0}};
    for (int32_t i = 0; i < GALV_MAX_POOLS; i++) {
        worth[i] = worth_of(cluster);
    }
    if (galv_json_type_of(pools) == GALV_JSON_ABSENT) {
        if (cluster->n_pools == 0) {
            cluster->n_pools = 1;
            cluster->pools[0] = empty_pool();
        }
        galv_pool before = cluster->pools[0];
        read_pool_fields(o, &cluster->pools[0]);
        revalue(&worth[0], &before, &cluster->pools[0]);
        set_worth(cluster, worth);
        return;
    }
    size_t n_pools = galv_json_length(pools);
    if (n_pools < 1 || n_pools > GALV_MAX_POOLS) {
        galv_json_fail(pools, o->err, "'pools' must hold 1 to %d pools",
                       GALV_MAX_POOLS);
        return;
    }
    /* with a "base", pools past its last one are like that one */
    galv_pool start = empty_pool();
    for (size_t i = 0; i < n_pools; i++) {
        if ((int32_t)i < cluster->n_pools) {
            start = cluster->pools[i];
        }
        read_pool(&cluster->pools[i], &worth[i], &start, galv_json_element(pools, i),
                  o->err);
    }
    cluster->n_pools = (int32_t)n_pools;
    set_worth(cluster, worth);
}

/* A torus says how many nodes there are, if nothing else does; one that comes from a
 * catalog has as many as there are. */
static void fit_torus(galv_cluster *cluster, bool told)
{
    int32_t n_dims = galv_cluster_n_torus_dims(cluster);
    galv_pool *pool = &cluster->pools[0];
    int64_t n_nodes = 1;
    for (int32_t i = 0; i < n_dims; i++) {
        n_nodes *= cluster->torus[i];
    }
    if (n_dims == 0 || cluster->n_pools != 1 || n_nodes == pool->n_nodes) {
        return;
    }
    if (!told) {
        galv_cluster_lay_torus(cluster, n_dims, pool->n_nodes);
    } else if (pool->n_nodes == 1 && n_nodes <= 1000000) {
        pool->n_nodes = (int32_t)n_nodes;
    }
}

galv_status galv_cluster_from_json(galv_cluster *cluster, galv_json_value value,
                                   galv_err *err)
{
    galv_cluster read = {0};
    read.oversubscription = 1;
    galv_json_object o;
    galv_json_enter(&o, value, err);
    galv_document_read_schema(&o, SCHEMA);
    start_cluster(&read, galv_json_get(&o, "base", GALV_OPTIONAL), err);
    galv_json_string(&o, "name", GALV_OPTIONAL, read.name, sizeof read.name);
    galv_json_string(&o, "fabric", GALV_OPTIONAL, read.fabric, sizeof read.fabric);
    galv_json_string(&o, "topology", GALV_OPTIONAL, read.topology,
                     sizeof read.topology);
    galv_json_value torus = galv_json_get(&o, "torus", GALV_OPTIONAL);
    read_network(&read, torus, &o);
    galv_json_string(&o, "sources", GALV_OPTIONAL, read.sources, sizeof read.sources);
    galv_json_string(&o, "recalled_fields", GALV_OPTIONAL, read.recalled_fields,
                     sizeof read.recalled_fields);
    read_pools(&read, &o);
    /* What is given wins over what pools are known to cost and draw. */
    galv_json_f64(&o, "usd_per_device_hour", GALV_OPTIONAL, 0, 1e9,
                  &read.usd_per_device_hour);
    galv_json_f64(&o, "node_power_w", GALV_OPTIONAL, 0, 1e9, &read.node_power_w);
    fit_torus(&read, galv_json_type_of(torus) != GALV_JSON_ABSENT);
    galv_status status = galv_json_leave(&o);
    if (status != GALV_OK) {
        return status;
    }
    galv_err why = GALV_ERR_INIT;
    if (galv_cluster_check(&read, &why) != GALV_OK) {
        return galv_document_refuse(value, &why, err);
    }
    *cluster = read;
    return GALV_OK;
}

void galv_cluster_to_json(const galv_cluster *cluster, galv_json_writer *writer)
{
    galv_json_begin_object(writer, false);
    galv_document_write_schema(writer, SCHEMA);
    galv_json_key_string(writer, "name", cluster->name);
    galv_json_key_string(writer, "fabric", cluster->fabric);
    galv_json_key_string(writer, "topology", cluster->topology);
    write_network(cluster, writer);
    galv_json_key_f64(writer, "usd_per_device_hour", cluster->usd_per_device_hour);
    galv_json_key_f64(writer, "node_power_w", cluster->node_power_w);
    galv_json_key_string(writer, "sources", cluster->sources);
    galv_json_key_string(writer, "recalled_fields", cluster->recalled_fields);
    galv_json_put_key(writer, "pools");
    galv_json_begin_array(writer, false);
    for (int32_t i = 0; i < cluster->n_pools; i++) {
        write_pool(&cluster->pools[i], writer);
    }
    galv_json_end_array(writer);
    galv_json_end_object(writer);
}

static galv_status load_file(galv_cluster *cluster, const char *path, galv_err *err)
{
    galv_json *document = NULL;
    galv_status status = galv_json_read_file(&document, path, err);
    if (status == GALV_OK) {
        status = galv_cluster_from_json(cluster, galv_json_root(document), err);
    }
    galv_json_free(document);
    return status;
}

galv_status galv_cluster_load(galv_cluster *cluster, const char *name_or_path,
                              int32_t n_nodes, galv_err *err)
{
    galv_cluster loaded = {0};
    galv_status status = GALV_OK;
    if (strcmp(name_or_path, "-") == 0 || strchr(name_or_path, '/') != NULL ||
        galv_path_has_extension(name_or_path, ".json") || galv_is_file(name_or_path)) {
        status = load_file(&loaded, name_or_path, err);
    } else {
        /* a system, or failing that a device in its usual node */
        galv_err unknown = GALV_ERR_INIT;
        if (galv_catalog_cluster(&loaded, name_or_path, &unknown) != GALV_OK) {
            galv_err unknown_device = GALV_ERR_INIT;
            status =
                galv_cluster_from_device(&loaded, name_or_path, 1, &unknown_device);
            if (status != GALV_OK && err->status == GALV_OK) {
                *err = unknown;
                return unknown.status;
            }
        }
    }
    if (status == GALV_OK && n_nodes > 0) {
        status = galv_cluster_set_nodes(&loaded, n_nodes, err);
    }
    if (status == GALV_OK) {
        *cluster = loaded;
    }
    return status;
}

/* The catalogs: what is compiled in, read anew at each call.
 *
 * The data stay in their files (plan/catalog/), so that a number can be corrected, with
 * its source, without touching code; reading them takes about a millisecond per
 * table, and nothing has to be kept between calls. Every figure of a device or a system
 * that was not read in its source is named in recalled_fields.
 *
 * Assumptions made where a table is silent: long messages get 0.94 of the nominal
 * network (DEFAULT_EFFICIENCY, as HDR InfiniBand does in published runs), one hop
 * inside a node takes 3 us and one message between nodes 5 us; a device without a
 * system of its own gets eight of its kind by its scale-up link, or by PCIe (80 % of
 * x16) where the link joins pairs only, and one NIC each of the speed usual in its
 * year. */
#include "plan/catalog.h"

#include "base/csv.h"
#include "base/text.h"
#include "base/words.h"
#include "plan/cluster_network_internal.h"
#include "plan/document_internal.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

extern const char galv_data_models_json[];
extern const size_t galv_data_models_json_length;
extern const char galv_data_gpus_csv[];
extern const size_t galv_data_gpus_csv_length;
extern const char galv_data_systems_csv[];
extern const size_t galv_data_systems_csv_length;

#define DEFAULT_EFFICIENCY      0.94
#define DEFAULT_INTRA_LATENCY_S 3e-6
#define DEFAULT_INTER_LATENCY_S 5e-6

static void copy(char *buffer, size_t size, const char *text)
{
    galv_document_copy(buffer, size, text);
}

/* Lower case, with '-' for '_', '.' and blanks: names compare equal in this form. */
static void normalise(char *buffer, size_t size, const char *name)
{
    size_t length = 0;
    for (; name[length] != '\0' && length + 1 < size; length++) {
        unsigned char c = (unsigned char)name[length];
        buffer[length] = c == '_' || c == '.' || c == ' ' ? '-' : (char)tolower((int)c);
    }
    buffer[length] = '\0';
}

static bool same_name(const char *a, const char *b)
{
    char left[128];
    char right[128];
    normalise(left, sizeof left, a);
    normalise(right, sizeof right, b);
    return strcmp(left, right) == 0;
}

/* With the nearest name; else, "h100", the names that contain what was typed. */
static galv_status fail_unknown(galv_err *err, const char *what, const char *list,
                                const char *name, const char *const names[],
                                size_t n_names)
{
    char normal[128];
    normalise(normal, sizeof normal, name);
    galv_fail(err, GALV_USAGE, "unknown %s '%.80s'", what, name);
    const char *near = galv_word_nearest(names, n_names, normal);
    if (near != NULL) {
        galv_hint(err, "did you mean '%s'? `galvatron-sim catalog %s` lists them", near,
                  list);
        return GALV_USAGE;
    }
    galv_text containing = GALV_TEXT_INIT;
    int n = 0;
    for (size_t i = 0; i < n_names && n < 8; i++) {
        if (name[0] != '\0' && strstr(names[i], name) != NULL) {
            galv_text_printf(&containing, "%s%s", n++ > 0 ? ", " : "", names[i]);
        }
    }
    if (n > 0) {
        galv_hint(err, "there is: %.280s", galv_text_string(&containing));
    } else {
        galv_hint(err, "`galvatron-sim catalog %s` lists them", list);
    }
    galv_text_release(&containing);
    return GALV_USAGE;
}

/* ---- tables ---- */

/* One row being read: sticky like the JSON getters. */
typedef struct row_reader {
    const galv_csv *table;
    size_t row;
    galv_err *err;
} row_reader;

static double row_f64(row_reader *row, const char *column, double unit)
{
    double value = 0;
    int index = galv_csv_require(row->table, column, row->err);
    if (row->err->status == GALV_OK) {
        galv_csv_f64(row->table, row->row, index, 0, 1e15, &value, row->err);
    }
    return value * unit;
}

static int32_t row_i32(row_reader *row, const char *column)
{
    int32_t value = 0;
    int index = galv_csv_require(row->table, column, row->err);
    if (row->err->status == GALV_OK) {
        galv_csv_i32(row->table, row->row, index, 0, 1000000000, &value, row->err);
    }
    return value;
}

static void row_text(row_reader *row, const char *column, char *buffer, size_t size)
{
    int index = galv_csv_require(row->table, column, row->err);
    if (row->err->status == GALV_OK) {
        copy(buffer, size, galv_csv_cell(row->table, row->row, index));
    }
}

/* "SOURCES (as of DATE)": the record has one field for both. */
static void row_sources(row_reader *row, char *buffer, size_t size)
{
    char as_of[32] = "";
    char sources[384] = "";
    row_text(row, "as_of", as_of, sizeof as_of);
    row_text(row, "sources", sources, sizeof sources);
    char both[448];
    snprintf(both, sizeof both, "as of %s: %s", as_of, sources);
    copy(buffer, size, both);
}

static galv_status read_device(galv_device *device, const galv_csv *table, size_t index,
                               galv_err *err)
{
    row_reader row = {table, index, err};
    row_text(&row, "id", device->id, sizeof device->id);
    row_text(&row, "name", device->name, sizeof device->name);
    row_text(&row, "vendor", device->vendor, sizeof device->vendor);
    row_text(&row, "arch", device->arch, sizeof device->arch);
    device->year = row_i32(&row, "year");
    device->memory_bytes = (uint64_t)row_f64(&row, "memory_gib", 1073741824.0);
    device->memory_bytes_per_s = row_f64(&row, "memory_gb_per_s", 1e9);
    static const char *const peaks[GALV_N_PRECISIONS] = {
        "fp32_tflop_per_s", "tf32_tflop_per_s",  "bf16_tflop_per_s", "fp16_tflop_per_s",
        "fp8_tflop_per_s",  "mxfp8_tflop_per_s", "nvfp4_tflop_per_s"};
    for (int i = 0; i < GALV_N_PRECISIONS; i++) {
        device->peak_flop_per_s[i] = row_f64(&row, peaks[i], 1e12);
    }
    device->sustained_bf16_flop_per_s =
        row_f64(&row, "sustained_bf16_tflop_per_s", 1e12);
    device->n_sm = row_i32(&row, "n_sm");
    device->clock_hz = row_f64(&row, "clock_mhz", 1e6);
    device->tdp_w = row_f64(&row, "tdp_w", 1);
    row_text(&row, "scaleup_link", device->scaleup_link, sizeof device->scaleup_link);
    device->scaleup_bytes_per_s = row_f64(&row, "scaleup_gb_per_s", 1e9);
    device->p2p_bytes_per_s = row_f64(&row, "p2p_gb_per_s", 1e9);
    device->pcie_generation = row_i32(&row, "pcie_generation");
    device->usd_per_hour_low = row_f64(&row, "usd_per_hour_low", 1);
    device->usd_per_hour_high = row_f64(&row, "usd_per_hour_high", 1);
    device->purchase_usd_low = row_f64(&row, "purchase_usd_low", 1);
    device->purchase_usd_high = row_f64(&row, "purchase_usd_high", 1);
    row_sources(&row, device->sources, sizeof device->sources);
    row_text(&row, "recalled_fields", device->recalled_fields,
             sizeof device->recalled_fields);
    return err->status;
}

static galv_status open_table(galv_csv *table, const char *name, const char *text,
                              size_t length, galv_arena *arena, galv_err *err)
{
    return galv_csv_read_text(table, name, text, length, arena, err);
}

galv_status galv_catalog_devices(galv_device **devices, size_t *n_devices,
                                 galv_arena *arena, galv_err *err)
{
    galv_csv table;
    galv_status status = open_table(&table, "gpus.csv", galv_data_gpus_csv,
                                    galv_data_gpus_csv_length, arena, err);
    if (status != GALV_OK) {
        return status;
    }
    galv_device *list = GALV_NEW_ARRAY(arena, galv_device, table.n_rows);
    if (list == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < table.n_rows; i++) {
        status = read_device(&list[i], &table, i, err);
        if (status != GALV_OK) {
            return status;
        }
    }
    *devices = list;
    *n_devices = table.n_rows;
    return GALV_OK;
}

static const galv_device *find_device(const galv_device *devices, size_t n_devices,
                                      const char *id)
{
    for (size_t i = 0; i < n_devices; i++) {
        if (same_name(devices[i].id, id)) {
            return &devices[i];
        }
    }
    return NULL;
}

static galv_status read_cluster(galv_cluster *cluster, const galv_csv *table,
                                size_t index, const galv_device *devices,
                                size_t n_devices, galv_err *err)
{
    row_reader row = {table, index, err};
    char device_id[32] = "";
    row_text(&row, "id", cluster->name, sizeof cluster->name);
    row_text(&row, "device", device_id, sizeof device_id);
    const galv_device *device = find_device(devices, n_devices, device_id);
    if (err->status != GALV_OK || device == NULL) {
        return galv_fail(err, GALV_INTERNAL, "system '%s' has an unknown device '%s'",
                         cluster->name, device_id);
    }
    cluster->n_pools = 1;
    galv_pool *pool = &cluster->pools[0];
    pool->device = *device;
    pool->n_nodes = 1;
    pool->devices_per_node = row_i32(&row, "devices_per_node");
    pool->scaleup_domain = row_i32(&row, "scaleup_domain");
    pool->intra_bytes_per_s = row_f64(&row, "intra_gb_per_s", 1e9);
    pool->intra_latency_s = row_f64(&row, "intra_latency_us", 1e-6);
    if (pool->intra_latency_s <= 0) {
        pool->intra_latency_s = DEFAULT_INTRA_LATENCY_S;
    }
    pool->nics_per_node = row_i32(&row, "nics_per_node");
    pool->inter_bytes_per_s = row_f64(&row, "inter_gb_per_s", 1e9);
    double goodput = row_f64(&row, "inter_goodput_gb_per_s", 1e9);
    pool->inter_efficiency = goodput > 0 && pool->inter_bytes_per_s > 0
                                 ? goodput / pool->inter_bytes_per_s
                                 : DEFAULT_EFFICIENCY;
    pool->inter_latency_s = row_f64(&row, "inter_latency_us", 1e-6);
    if (pool->inter_latency_s <= 0) {
        pool->inter_latency_s = DEFAULT_INTER_LATENCY_S;
    }
    pool->devices_per_bus = row_i32(&row, "devices_per_bus");
    pool->bus_bytes_per_s = row_f64(&row, "bus_gb_per_s", 1e9);
    row_text(&row, "host", pool->host, sizeof pool->host);
    row_text(&row, "fabric", cluster->fabric, sizeof cluster->fabric);
    row_text(&row, "topology", cluster->topology, sizeof cluster->topology);
    char levels[96] = "";
    row_text(&row, "levels", levels, sizeof levels);
    if (err->status == GALV_OK) {
        galv_cluster_parse_levels(cluster, levels, err);
    }
    int32_t n_dims = row_i32(&row, "torus_dimensions");
    if (n_dims > 0 && n_dims <= GALV_MAX_TORUS_DIM) {
        galv_cluster_lay_torus(cluster, n_dims, 1);
    }
    cluster->oversubscription = row_f64(&row, "oversubscription", 1);
    cluster->rail_optimized = row_i32(&row, "rail_optimized") != 0;
    cluster->node_power_w = row_f64(&row, "node_power_kw", 1e3);
    double usd_per_node = row_f64(&row, "usd_per_node_hour", 1);
    cluster->usd_per_device_hour = usd_per_node > 0 && pool->devices_per_node > 0
                                       ? usd_per_node / pool->devices_per_node
                                       : galv_device_usd_per_hour(device);
    row_sources(&row, cluster->sources, sizeof cluster->sources);
    row_text(&row, "recalled_fields", cluster->recalled_fields,
             sizeof cluster->recalled_fields);
    return err->status;
}

galv_status galv_catalog_clusters(galv_cluster **clusters, size_t *n_clusters,
                                  galv_arena *arena, galv_err *err)
{
    galv_device *devices = NULL;
    size_t n_devices = 0;
    galv_csv table;
    galv_status status = galv_catalog_devices(&devices, &n_devices, arena, err);
    if (status == GALV_OK) {
        status = open_table(&table, "systems.csv", galv_data_systems_csv,
                            galv_data_systems_csv_length, arena, err);
    }
    if (status != GALV_OK) {
        return status;
    }
    galv_cluster *list = GALV_NEW_ARRAY(arena, galv_cluster, table.n_rows);
    if (list == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < table.n_rows; i++) {
        status = read_cluster(&list[i], &table, i, devices, n_devices, err);
        if (status != GALV_OK) {
            return status;
        }
    }
    *clusters = list;
    *n_clusters = table.n_rows;
    return GALV_OK;
}

static galv_status pick_device(galv_device *device, const char *id, galv_arena *arena,
                               galv_err *err)
{
    galv_device *devices = NULL;
    size_t n_devices = 0;
    galv_status status = galv_catalog_devices(&devices, &n_devices, arena, err);
    if (status != GALV_OK) {
        return status;
    }
    const galv_device *found = find_device(devices, n_devices, id);
    if (found != NULL) {
        *device = *found;
        return GALV_OK;
    }
    const char **names = GALV_NEW_ARRAY(arena, const char *, n_devices);
    if (names == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < n_devices; i++) {
        names[i] = devices[i].id;
    }
    return fail_unknown(err, "GPU", "gpus", id, names, n_devices);
}

galv_status galv_catalog_device(galv_device *device, const char *id, galv_err *err)
{
    galv_arena *arena = galv_arena_new();
    if (arena == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    galv_status status = pick_device(device, id, arena, err);
    galv_arena_free(arena);
    return status;
}

static galv_status pick_cluster(galv_cluster *cluster, const char *name,
                                galv_arena *arena, galv_err *err)
{
    galv_cluster *clusters = NULL;
    size_t n_clusters = 0;
    galv_status status = galv_catalog_clusters(&clusters, &n_clusters, arena, err);
    if (status != GALV_OK) {
        return status;
    }
    const char **names = GALV_NEW_ARRAY(arena, const char *, n_clusters);
    if (names == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < n_clusters; i++) {
        if (same_name(clusters[i].name, name)) {
            *cluster = clusters[i];
            return GALV_OK;
        }
        names[i] = clusters[i].name;
    }
    return fail_unknown(err, "cluster", "clusters", name, names, n_clusters);
}

galv_status galv_catalog_cluster(galv_cluster *cluster, const char *name, galv_err *err)
{
    galv_arena *arena = galv_arena_new();
    if (arena == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    galv_status status = pick_cluster(cluster, name, arena, err);
    galv_arena_free(arena);
    return status;
}

/* ---- a cluster of one GPU type ---- */

/* 80 % of an x16 slot, one direction. Source: PCI Express base specifications, 0.985
 * GB/s per lane in generation 3, doubling with each. */
static double pcie_bytes_per_s(int32_t generation)
{
    double per_lane = 0.985e9;
    for (int32_t g = 3; g < generation && g < 7; g++) {
        per_lane *= 2;
    }
    return 0.8 * 16 * per_lane;
}

static double usual_nic_bytes_per_s(int32_t year)
{
    if (year <= 2019) {
        return 12.5e9; /* EDR InfiniBand, 100 Gb/s */
    }
    return year <= 2021 ? 25e9 : 50e9; /* HDR, NDR */
}

static void make_generic(galv_cluster *cluster, const galv_device *device)
{
    *cluster = (galv_cluster){0};
    copy(cluster->name, sizeof cluster->name, device->id);
    cluster->n_pools = 1;
    galv_pool *pool = &cluster->pools[0];
    pool->device = *device;
    pool->n_nodes = 1;
    pool->devices_per_node = 8;
    pool->scaleup_domain = 8;
    bool pairs_only = strstr(device->scaleup_link, "pair") != NULL;
    pool->intra_bytes_per_s = device->scaleup_bytes_per_s > 0 && !pairs_only
                                  ? device->scaleup_bytes_per_s
                                  : pcie_bytes_per_s(device->pcie_generation);
    pool->intra_latency_s = DEFAULT_INTRA_LATENCY_S;
    pool->inter_bytes_per_s = usual_nic_bytes_per_s(device->year);
    pool->inter_efficiency = DEFAULT_EFFICIENCY;
    pool->inter_latency_s = DEFAULT_INTER_LATENCY_S;
    pool->nics_per_node = 8;
    copy(cluster->fabric, sizeof cluster->fabric, "assumed");
    cluster->oversubscription = 1;
    cluster->usd_per_device_hour = galv_device_usd_per_hour(device);
    copy(cluster->sources, sizeof cluster->sources,
         "assumed: eight devices and NICs a "
         "node");
    copy(cluster->recalled_fields, sizeof cluster->recalled_fields, "all");
}

static galv_status make_from_device(galv_cluster *cluster, const char *device_id,
                                    galv_arena *arena, galv_err *err)
{
    galv_device device = {0};
    galv_cluster *clusters = NULL;
    size_t n_clusters = 0;
    galv_status status = pick_device(&device, device_id, arena, err);
    if (status == GALV_OK) {
        status = galv_catalog_clusters(&clusters, &n_clusters, arena, err);
    }
    if (status != GALV_OK) {
        return status;
    }
    const galv_cluster *usual = NULL;
    for (size_t i = 0; i < n_clusters; i++) {
        if (strcmp(clusters[i].pools[0].device.id, device.id) != 0) {
            continue;
        }
        bool is_dgx = strncmp(clusters[i].name, "dgx-", 4) == 0;
        if (usual == NULL || (is_dgx && strncmp(usual->name, "dgx-", 4) != 0)) {
            usual = &clusters[i];
        }
    }
    if (usual != NULL) {
        *cluster = *usual;
    } else {
        make_generic(cluster, &device);
    }
    return GALV_OK;
}

galv_status galv_cluster_from_device(galv_cluster *cluster, const char *device_id,
                                     int32_t n_nodes, galv_err *err)
{
    galv_arena *arena = galv_arena_new();
    if (arena == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    galv_cluster made = {0};
    galv_status status = make_from_device(&made, device_id, arena, err);
    galv_arena_free(arena);
    if (status == GALV_OK) {
        status = galv_cluster_set_nodes(&made, n_nodes, err);
    }
    if (status == GALV_OK) {
        *cluster = made;
    }
    return status;
}

/* ---- models ---- */

static galv_status open_models(galv_json **document, galv_json_value *list,
                               galv_err *err)
{
    galv_status status =
        galv_json_read_text(document, "models.json", galv_data_models_json,
                            galv_data_models_json_length, err);
    if (status == GALV_OK) {
        *list = galv_json_member(galv_json_root(*document), "models");
    }
    return status;
}

galv_status galv_catalog_models(galv_model **models, size_t *n_models,
                                galv_arena *arena, galv_err *err)
{
    galv_json *document = NULL;
    galv_json_value list = {0};
    galv_status status = open_models(&document, &list, err);
    if (status != GALV_OK) {
        return status;
    }
    size_t count = galv_json_length(list);
    galv_model *read = GALV_NEW_ARRAY(arena, galv_model, count);
    if (read == NULL) {
        status = galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < count && status == GALV_OK; i++) {
        status = galv_model_from_json(&read[i], galv_json_element(list, i), err);
    }
    galv_json_free(document);
    if (status == GALV_OK) {
        *models = read;
        *n_models = count;
    }
    return status;
}

static const char *model_name(galv_json_value model, galv_err *err)
{
    const char *name = "";
    galv_json_to_string(&name, galv_json_member(model, "name"), err);
    return name;
}

/* Names of all models, for the hint. */
static galv_status fail_unknown_model(galv_json_value list, const char *name,
                                      galv_err *err)
{
    size_t count = galv_json_length(list);
    galv_arena *arena = galv_arena_new();
    const char **names =
        arena == NULL ? NULL : GALV_NEW_ARRAY(arena, const char *, count);
    if (names == NULL) {
        galv_arena_free(arena);
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < count; i++) {
        names[i] = model_name(galv_json_element(list, i), err);
    }
    galv_status status = fail_unknown(err, "model", "models", name, names, count);
    galv_arena_free(arena);
    return status;
}

galv_status galv_catalog_model(galv_model *model, const char *name, galv_err *err)
{
    galv_json *document = NULL;
    galv_json_value list = {0};
    galv_status status = open_models(&document, &list, err);
    if (status != GALV_OK) {
        return status;
    }
    size_t count = galv_json_length(list);
    size_t found = count;
    for (size_t i = 0; i < count && found == count; i++) {
        if (same_name(model_name(galv_json_element(list, i), err), name)) {
            found = i;
        }
    }
    status = found < count
                 ? galv_model_from_json(model, galv_json_element(list, found), err)
                 : fail_unknown_model(list, name, err);
    galv_json_free(document);
    return status;
}

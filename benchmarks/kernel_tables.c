/* Kernels of published tables against the laws.
 *
 * A table is told by its columns:
 *   products     gpu m n k time_us [dtype source]
 *   attention    gpu batch seq_q seq_kv q_heads d_qk d_vo mask pass time_ms dtype
 *   prefill      gpu batch seq_len num_heads head_dim time_us dtype
 *   norms        gpu backend N C fwd_ms bwd_ms
 *   efficiencies gpu op shape_key effective_tflops
 *   collectives  gpu num_gpus bytes|size_bytes time_us [op nccl_version]
 *   ratios       table bytes nodes_or_case ratio      (of bus bandwidth to nominal)
 *   bus          payload_bytes busbw_1node_gbytes_per_s busbw_4node_gbytes_per_s
 * Others are named and left out. Kernels are predicted alone: in-situ factors say
 * nothing. Collectives of more ranks than a node holds use 8 a node and the network of
 * the device's usual cluster; those of a table that says size_bytes and of buses that
 * of the cluster of the catalog that they were measured on. */
#include "benchmarks/kernel_tables.h"

#include "base/words.h"
#include "plan/catalog.h"
#include "plan/operation.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool bench_make_alone(bench *b)
{
    static const struct {
        const char *name;
        double value;
    } factors[] = {{"gemm", 1},
                   {"throttle", 0},
                   {"attention", 1},
                   {"memory", 1},
                   {"network_frac", 1}};
    b->alone = galv_profile_new();
    for (size_t i = 0; b->alone != NULL && i < sizeof factors / sizeof factors[0];
         i++) {
        galv_profile_row row = {
            .kind = GALV_PROFILE_FACTOR, .precision = -1, .value = factors[i].value};
        snprintf(row.op, sizeof row.op, "%s", factors[i].name);
        if (galv_profile_add(b->alone, &row, &b->err) != GALV_OK) {
            return false;
        }
    }
    return b->alone != NULL;
}

const galv_device_law *bench_law(bench *b, const char *device, const galv_pool **pool)
{
    for (int i = 0; i < b->n_laws; i++) {
        if (strcmp(b->laws[i].device, device) == 0) {
            *pool = &b->laws[i].pool;
            return &b->laws[i].law;
        }
    }
    galv_err err = GALV_ERR_INIT;
    galv_err no_device = GALV_ERR_INIT;
    galv_cluster cluster;
    galv_workload workload = GALV_WORKLOAD_INIT;
    if (b->n_laws == MOST_DEVICES ||
        (galv_cluster_from_device(&cluster, device, 1, &no_device) != GALV_OK &&
         galv_catalog_cluster(&cluster, device, &err) != GALV_OK)) {
        return NULL;
    }
    int i = b->n_laws;
    snprintf(b->laws[i].device, sizeof b->laws[i].device, "%s", device);
    b->laws[i].pool = cluster.pools[0];
    if (galv_device_law_init(&b->laws[i].law, &b->laws[i].pool, &workload, b->alone,
                             &err) != GALV_OK) {
        return NULL;
    }
    b->n_laws++;
    *pool = &b->laws[i].pool;
    return &b->laws[i].law;
}

static const char *text(const galv_csv *t, size_t row, const char *column)
{
    return galv_csv_cell(t, row, galv_csv_column(t, column));
}

static double number(const galv_csv *t, size_t row, const char *column)
{
    return atof(text(t, row, column));
}

static bool has(const galv_csv *t, const char *const columns[])
{
    for (int i = 0; columns[i] != NULL; i++) {
        if (galv_csv_column(t, columns[i]) < 0) {
            return false;
        }
    }
    return true;
}

static int precision_of(const char *dtype)
{
    if (dtype[0] == '\0' || strcmp(dtype, "bfloat16") == 0) {
        return GALV_BF16;
    }
    return galv_word_index(galv_precision_names, GALV_N_PRECISIONS, dtype);
}

static void read_product(bench *b, const galv_csv *t, size_t row)
{
    const galv_pool *pool;
    const char *gpu = text(t, row, "gpu");
    const galv_device_law *law = bench_law(b, gpu, &pool);
    int precision = precision_of(text(t, row, "dtype"));
    if (law == NULL || precision < 0) {
        return;
    }
    double m = number(t, row, "m");
    double n = number(t, row, "n");
    double k = number(t, row, "k");
    bool large = m >= 1024 && n >= 1024 && k >= 1024;
    char kind[48];
    snprintf(kind, sizeof kind, "product %s, %s", galv_precision_names[precision],
             large ? "all >= 1024" : "some < 1024");
    const galv_gemm_law *gemm = &law->gemm[precision];
    double time_s = gemm->harness * galv_gemm_time(gemm, 1, m, n, k, 2);
    kernel_errors_add(&b->errors, gpu, kind, large ? 4 : 0, time_s,
                      1e-6 * number(t, row, "time_us"));
}

static void add_attention(bench *b, const char *gpu, const char *name, bool backward,
                          bool causal, const double shape[6], double measured_s)
{
    const galv_pool *pool;
    const galv_device_law *law = bench_law(b, gpu, &pool);
    if (law == NULL) {
        return;
    }
    double flop = galv_attention_flop(shape[0], shape[1], shape[2], shape[3], shape[4],
                                      shape[5], causal) *
                  (backward ? 2.5 : 1);
    if (flop / measured_s > galv_device_peak(&pool->device, GALV_BF16)) {
        b->n_windows++;
        return;
    }
    char kind[48];
    snprintf(kind, sizeof kind, "%s %s %.0f%s, %s", name, backward ? "back" : "forw",
             shape[4], causal ? " causal" : "",
             shape[2] >= 2048 ? ">= 2048" : "< 2048");
    kernel_errors_add(&b->errors, gpu, kind, 0,
                      galv_attention_time(&law->attention, backward, causal, flop,
                                          shape[3], shape[4]),
                      measured_s);
}

static void read_attention(bench *b, const galv_csv *t, size_t row)
{
    bool both = galv_csv_column(t, "pass") >= 0;
    if (precision_of(text(t, row, "dtype")) != GALV_BF16 ||
        strcmp(text(t, row, "deterministic"), "True") == 0) {
        return;
    }
    double batch = number(t, row, "batch");
    if (both) {
        double shape[6] = {batch,
                           number(t, row, "q_heads"),
                           number(t, row, "seq_q"),
                           number(t, row, "seq_kv"),
                           number(t, row, "d_qk"),
                           number(t, row, "d_vo")};
        add_attention(b, text(t, row, "gpu"), "attention",
                      strcmp(text(t, row, "pass"), "bwd") == 0,
                      strcmp(text(t, row, "mask"), "top_left") == 0, shape,
                      1e-3 * number(t, row, "time_ms"));
        return;
    }
    double seq = number(t, row, "seq_len");
    double dim = number(t, row, "head_dim");
    double shape[6] = {batch, number(t, row, "num_heads"), seq, seq, dim, dim};
    add_attention(b, text(t, row, "gpu"), "prefill", false, true, shape,
                  1e-6 * number(t, row, "time_us"));
}

static void read_norm(bench *b, const galv_csv *t, size_t row)
{
    const galv_pool *pool;
    const char *gpu = text(t, row, "gpu");
    const galv_device_law *law = bench_law(b, gpu, &pool);
    if (law == NULL || strcmp(text(t, row, "backend"), "cudnn") != 0) {
        return;
    }
    double elements = number(t, row, "N") * number(t, row, "C");
    const char *size = elements >= 8e6 ? "norm >= 8 M" : "norm < 8 M";
    char kind[48];
    snprintf(kind, sizeof kind, "%s, forw", size);
    kernel_errors_add(&b->errors, gpu, kind, 0,
                      galv_norm_time(&law->memory, false, 4 * elements),
                      1e-3 * number(t, row, "fwd_ms"));
    snprintf(kind, sizeof kind, "%s, back", size);
    kernel_errors_add(&b->errors, gpu, kind, 0,
                      galv_norm_time(&law->memory, true, 6 * elements),
                      1e-3 * number(t, row, "bwd_ms"));
}

/* "b=1, m=4096, k=8192": the number after a key, 0 when it is not there. */
static double keyed(const char *shape, const char *key)
{
    size_t length = strlen(key);
    for (const char *at = shape; at != NULL; at = strchr(at, ',')) {
        at += strspn(at, ", ");
        if (strncmp(at, key, length) == 0 && at[length] == '=') {
            return atof(at + length + 1);
        }
    }
    return 0;
}

static void read_efficiency(bench *b, const galv_csv *t, size_t row)
{
    const galv_pool *pool;
    const char *gpu = text(t, row, "gpu");
    const galv_device_law *law = bench_law(b, gpu, &pool);
    const char *shape = text(t, row, "shape_key");
    const char *op = text(t, row, "op");
    double rate = 1e12 * number(t, row, "effective_tflops");
    bool grouped = strcmp(op, "group_matmul") == 0;
    if (law == NULL || (!grouped && strcmp(op, "matmul") != 0)) {
        return;
    }
    double batch = keyed(shape, grouped ? "ng" : "b");
    double m = keyed(shape, grouped ? "M" : "m");
    double n = keyed(shape, grouped ? "N" : "n");
    double k = keyed(shape, grouped ? "K" : "k");
    bool fp8 = strstr(shape, "dtype=fp8") != NULL;
    const char *layout = strstr(shape, "layout=");
    const char *stage = strstr(shape, "stage=");
    char pass[16] = "";
    if (layout != NULL) {
        snprintf(pass, sizeof pass, "%.2s", layout + 7);
    } else if (stage != NULL) {
        snprintf(pass, sizeof pass, "%.*s", (int)strcspn(stage + 6, ","), stage + 6);
    }
    bool sum = strstr(shape, "accumulate=True") != NULL;
    char kind[48];
    snprintf(kind, sizeof kind, "%s %s%s", grouped ? "grouped" : "product", pass,
             fp8 ? " fp8" : "");
    kernel_errors_add(&b->errors, gpu, kind, 0,
                      galv_gemm_time(&law->gemm[fp8 ? GALV_FP8 : GALV_BF16], batch, m,
                                     n, k, sum ? 8 : 2),
                      2 * batch * m * n * k / rate);
}

static int collective_kind(const char *op)
{
    if (op[0] == '\0') {
        return GALV_OP_ALL_REDUCE;
    }
    if (strcmp(op, "alltoall") == 0) {
        return GALV_OP_ALL_TO_ALL;
    }
    return galv_word_index(galv_op_kind_names, GALV_N_OP_KINDS, op);
}

static galv_group group_of(int32_t ranks, int32_t per_node)
{
    galv_group group = {.n_ranks = ranks,
                        .n_nodes = (ranks + per_node - 1) / per_node,
                        .ranks_per_node = ranks < per_node ? ranks : per_node,
                        .sharers_per_node = 1};
    return group;
}

static void read_collective(bench *b, const galv_csv *t, size_t row)
{
    const galv_pool *pool;
    const char *gpu = text(t, row, "gpu");
    /* nccl-tests with the size in a column of this name ran on Azure */
    bool azure = galv_csv_column(t, "size_bytes") >= 0 &&
                 galv_csv_column(t, "time_in_place_us") >= 0;
    bool on_azure = azure && strcmp(gpu, "a100-sxm-40gb") == 0;
    const galv_device_law *law =
        bench_law(b, on_azure ? "azure-nd-a100-v4" : gpu, &pool);
    const char *op = text(t, row, "op");
    int kind = collective_kind(op);
    int32_t ranks = atoi(text(t, row, "num_gpus"));
    double bytes =
        number(t, row, galv_csv_column(t, "bytes") >= 0 ? "bytes" : "size_bytes");
    double measured_s = 1e-6 * number(t, row, "time_us");
    if (law == NULL || kind < 0 || ranks < 2) {
        return;
    }
    galv_group group = group_of(ranks, 8);
    galv_cost cost;
    memset(&cost, 0, sizeof cost);
    galv_collective_cost(&cost, &law->collective, kind, &group, bytes);
    bool large = bytes >= 1048576;
    char name[48];
    snprintf(name, sizeof name, "%s%s, %s", galv_op_kind_names[kind],
             group.n_nodes > 1 ? " nodes" : "", large ? ">= 1 MiB" : "< 1 MiB");
    kernel_errors_add(&b->errors, gpu, name, large ? 6 : 0, cost.work_s, measured_s);
}

double bench_bus_bandwidth(const galv_device_law *law, int kind, int32_t ranks,
                           int32_t per_node, double bytes)
{
    galv_group group = group_of(ranks, per_node);
    galv_cost cost;
    memset(&cost, 0, sizeof cost);
    galv_collective_cost(&cost, &law->collective, kind, &group, bytes);
    return galv_collective_bus_factor(kind, ranks) * bytes / cost.work_s;
}

/* SimAI's tables: bus bandwidth over that of the slower of NICs and links, on H100
 * (48.5 GB/s of 50 a NIC). Rings over all GPUs of N nodes, and over one of each. */
static void read_ratio(bench *b, const galv_csv *t, size_t row)
{
    const galv_pool *pool;
    const galv_device_law *law = bench_law(b, "h100-sxm-80gb", &pool);
    const char *of = text(t, row, "table");
    const char *nodes_text = text(t, row, "nodes_or_case");
    int32_t nodes = atoi(nodes_text);
    int32_t per_node = 8;
    if (law == NULL || strcmp(of, "nvlink_ratio") == 0 || nodes == 1) {
        return;
    }
    bool spread = strcmp(of, "ata_ratio") == 0;
    if (strncmp(nodes_text, "multi", 5) == 0) {
        nodes = atoi(nodes_text + 5);
        per_node = 1;
    }
    if (nodes < 2 || (spread && per_node == 1)) {
        return;
    }
    double bytes = number(t, row, "bytes");
    double nominal =
        48.5e9 * (spread ? (nodes * 8.0 - 1) / (8.0 * (nodes - 1)) : per_node);
    double share =
        bench_bus_bandwidth(law, spread ? GALV_OP_ALL_TO_ALL : GALV_OP_ALL_GATHER,
                            nodes * per_node, per_node, bytes) /
        nominal;
    char name[48];
    snprintf(name, sizeof name, "%s x %d, %s", spread ? "all_to_all" : "ring", per_node,
             bytes >= 1e9 ? ">= 1 GB" : "< 1 GB");
    /* times go as the inverse of ratios */
    kernel_errors_add(&b->errors, "SimAI nodes", name, 0, number(t, row, "ratio"),
                      share);
}

static void read_bus(bench *b, const galv_csv *t, size_t row)
{
    const galv_pool *pool;
    const galv_device_law *law = bench_law(b, "aws-p6-b200", &pool);
    double bytes = number(t, row, "payload_bytes");
    if (law == NULL) {
        return;
    }
    for (int nodes = 1; nodes <= 4; nodes += 3) {
        double measured = 1e9 * number(t, row,
                                       nodes == 1 ? "busbw_1node_gbytes_per_s"
                                                  : "busbw_4node_gbytes_per_s");
        double predicted =
            bench_bus_bandwidth(law, GALV_OP_ALL_REDUCE, 8 * nodes, 8, bytes);
        char name[48];
        snprintf(name, sizeof name, "all_reduce torch x %d, %s", nodes,
                 bytes >= 1048576 ? ">= 1 MiB" : "< 1 MiB");
        kernel_errors_add(&b->errors, "b200-180gb", name, 0, measured, predicted);
    }
}

typedef struct table_kind {
    const char *columns[8];
    void (*read)(bench *b, const galv_csv *t, size_t row);
} table_kind;

static const table_kind kinds[] = {
    {{"gpu", "shape_key", "effective_tflops", NULL}, read_efficiency},
    {{"gpu", "m", "n", "k", "time_us", NULL}, read_product},
    {{"gpu", "seq_q", "seq_kv", "q_heads", "d_qk", "pass", "time_ms", NULL},
     read_attention},
    {{"gpu", "batch", "seq_len", "num_heads", "head_dim", "time_us", NULL},
     read_attention},
    {{"gpu", "backend", "N", "C", "fwd_ms", "bwd_ms", NULL}, read_norm},
    {{"gpu", "num_gpus", "bytes", "time_us", NULL}, read_collective},
    {{"gpu", "num_gpus", "size_bytes", "time_us", NULL}, read_collective},
    {{"table", "bytes", "nodes_or_case", "ratio", NULL}, read_ratio},
    {{"payload_bytes", "busbw_4node_gbytes_per_s", NULL}, read_bus},
};

bool bench_read_table(bench *b, const char *path)
{
    galv_csv t;
    galv_err err = GALV_ERR_INIT;
    if (galv_csv_read_file(&t, path, b->arena, &err) != GALV_OK) {
        fprintf(stderr, "kernel_bench: %s: %s\n", path, err.message);
        return false;
    }
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (has(&t, kinds[i].columns)) {
            for (size_t row = 0; row < t.n_rows; row++) {
                kinds[i].read(b, &t, row);
            }
            return true;
        }
    }
    printf("left out: %s (columns of no kind known here)\n", path);
    return true;
}

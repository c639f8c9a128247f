/* How near the laws of single kernels and collectives are to published measurements.
 *
 *   build/benchmarks/kernel_bench TABLE.csv|FOLDER...
 *   build/benchmarks/kernel_bench --devices
 *
 * A table is told by its columns:
 *   products     gpu m n k time_us [dtype source]
 *   attention    gpu batch seq_q seq_kv q_heads d_qk d_vo mask pass time_ms dtype
 *                gpu batch seq_len num_heads head_dim time_us dtype      (causal,
 * forward) norms        gpu backend N C fwd_ms bwd_ms efficiencies gpu op shape_key
 * effective_tflops collectives  gpu num_gpus bytes|size_bytes time_us [op nccl_version]
 *   ratios       table bytes nodes_or_case ratio      (of bus bandwidth to nominal)
 *   bus          payload_bytes busbw_1node_gbytes_per_s busbw_4node_gbytes_per_s
 * Others are named and left out. Kernels are predicted alone: in-situ factors are 1.
 * Collectives of more ranks than a node holds use 8 a node and the network of the
 * device's usual cluster.
 *
 * For each device and kind: points, mean absolute error, bias (mean error), the error
 * that 90 % stay under, and the target where there is one. The same measured by
 * different harnesses on one device differs by up to 7 %: the best that one law can do
 * for all of them is half of that.
 *
 * --devices: what every GPU of the catalog makes of a product of 8192 x 8192 x 8192 and
 * of an all-reduce of 1 GiB over 8 of them, in one line each, to be read with care. */
#include "base/csv.h"
#include "base/words.h"
#include "costmodel/device_law_internal.h"
#include "plan/catalog.h"
#include "plan/operation.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MOST_DEVICES 64
#define MOST_CLASSES 400

typedef struct error_class {
    char device[32];
    char kind[48];
    double target; /* of the mean absolute error; 0 = none */
    size_t n, capacity;
    double *errors;
} error_class;

typedef struct bench {
    galv_arena *arena;
    galv_err err;
    galv_profile *alone; /* in-situ factors, all 1 */
    int n_windows; /* rows faster than the peak: sliding windows, not told as such */
    int n_laws;
    struct {
        char device[32];
        galv_device_law law;
        galv_pool pool;
    } laws[MOST_DEVICES];
    int n_classes;
    error_class classes[MOST_CLASSES];
} bench;

static bool make_alone(bench *b)
{
    static const char *const factors[] = {"gemm", "attention", "memory",
                                          "network_frac"};
    b->alone = galv_profile_new();
    for (size_t i = 0; b->alone != NULL && i < sizeof factors / sizeof factors[0];
         i++) {
        galv_profile_row row = {
            .kind = GALV_PROFILE_FACTOR, .precision = -1, .value = 1};
        snprintf(row.op, sizeof row.op, "%s", factors[i]);
        if (galv_profile_add(b->alone, &row, &b->err) != GALV_OK) {
            return false;
        }
    }
    return b->alone != NULL;
}

/* The law of a device, made when it is first asked for; NULL for unknown ones. */
static const galv_device_law *law_of(bench *b, const char *device,
                                     const galv_pool **pool)
{
    for (int i = 0; i < b->n_laws; i++) {
        if (strcmp(b->laws[i].device, device) == 0) {
            *pool = &b->laws[i].pool;
            return &b->laws[i].law;
        }
    }
    galv_err err = GALV_ERR_INIT;
    galv_cluster cluster;
    galv_workload workload = GALV_WORKLOAD_INIT;
    if (b->n_laws == MOST_DEVICES ||
        galv_cluster_from_device(&cluster, device, 1, &err) != GALV_OK) {
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

static void add_error(bench *b, const char *device, const char *kind, double target,
                      double predicted, double measured)
{
    if (!(predicted > 0 && measured > 0)) {
        return;
    }
    error_class *c = NULL;
    for (int i = 0; i < b->n_classes && c == NULL; i++) {
        error_class *have = &b->classes[i];
        bool same = strcmp(have->device, device) == 0 && strcmp(have->kind, kind) == 0;
        c = same ? have : NULL;
    }
    if (c == NULL) {
        if (b->n_classes == MOST_CLASSES) {
            return;
        }
        c = &b->classes[b->n_classes++];
        memset(c, 0, sizeof *c);
        snprintf(c->device, sizeof c->device, "%s", device);
        snprintf(c->kind, sizeof c->kind, "%s", kind);
        c->target = target;
    }
    if (c->n == c->capacity) {
        size_t capacity = c->capacity > 0 ? 2 * c->capacity : 256;
        double *errors = realloc(c->errors, capacity * sizeof *errors);
        if (errors == NULL) {
            return;
        }
        c->errors = errors;
        c->capacity = capacity;
    }
    c->errors[c->n++] = predicted / measured - 1;
}

/* ---- tables ---- */

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
    const galv_device_law *law = law_of(b, gpu, &pool);
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
    add_error(b, gpu, kind, large ? 4 : 0,
              galv_gemm_time(&law->gemm[precision], 1, m, n, k, 2),
              1e-6 * number(t, row, "time_us"));
}

static void add_attention(bench *b, const char *gpu, const char *name, bool backward,
                          bool causal, const double shape[6], double measured_s)
{
    const galv_pool *pool;
    const galv_device_law *law = law_of(b, gpu, &pool);
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
    add_error(b, gpu, kind, 0,
              galv_attention_time(&law->attention, backward, causal, flop, shape[3],
                                  shape[4]),
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
    const galv_device_law *law = law_of(b, gpu, &pool);
    if (law == NULL || strcmp(text(t, row, "backend"), "cudnn") != 0) {
        return;
    }
    double elements = number(t, row, "N") * number(t, row, "C");
    const char *size = elements >= 8e6 ? "norm >= 8 M" : "norm < 8 M";
    char kind[48];
    snprintf(kind, sizeof kind, "%s, forw", size);
    add_error(b, gpu, kind, 0, galv_memory_time(&law->memory, false, 4 * elements, 1),
              1e-3 * number(t, row, "fwd_ms"));
    snprintf(kind, sizeof kind, "%s, back", size);
    add_error(b, gpu, kind, 0, galv_memory_time(&law->memory, true, 6 * elements, 1),
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
    const galv_device_law *law = law_of(b, gpu, &pool);
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
    add_error(b, gpu, kind, 0,
              galv_gemm_time(&law->gemm[fp8 ? GALV_FP8 : GALV_BF16], batch, m, n, k,
                             sum ? 8 : 2),
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
    const galv_device_law *law = law_of(b, gpu, &pool);
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
    add_error(b, gpu, name, large ? 6 : 0, cost.work_s, measured_s);
}

static double bus_bandwidth(const galv_device_law *law, int kind, int32_t ranks,
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
    const galv_device_law *law = law_of(b, "h100-sxm-80gb", &pool);
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
    double share = bus_bandwidth(law, spread ? GALV_OP_ALL_TO_ALL : GALV_OP_ALL_GATHER,
                                 nodes * per_node, per_node, bytes) /
                   nominal;
    char name[48];
    snprintf(name, sizeof name, "%s x %d, %s", spread ? "all_to_all" : "ring", per_node,
             bytes >= 1e9 ? ">= 1 GB" : "< 1 GB");
    /* times go as the inverse of ratios */
    add_error(b, "SimAI nodes", name, 0, number(t, row, "ratio"), share);
}

static void read_bus(bench *b, const galv_csv *t, size_t row)
{
    const galv_pool *pool;
    const galv_device_law *law = law_of(b, "b200-180gb", &pool);
    double bytes = number(t, row, "payload_bytes");
    if (law == NULL) {
        return;
    }
    for (int nodes = 1; nodes <= 4; nodes += 3) {
        double measured = 1e9 * number(t, row,
                                       nodes == 1 ? "busbw_1node_gbytes_per_s"
                                                  : "busbw_4node_gbytes_per_s");
        double predicted = bus_bandwidth(law, GALV_OP_ALL_REDUCE, 8 * nodes, 8, bytes);
        char name[48];
        snprintf(name, sizeof name, "all_reduce torch x %d, %s", nodes,
                 bytes >= 1048576 ? ">= 1 MiB" : "< 1 MiB");
        add_error(b, "b200-180gb", name, 0, measured, predicted);
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

static bool read_table(bench *b, const char *path)
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

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool read_path(bench *b, const char *path)
{
    struct stat status;
    if (stat(path, &status) != 0 || !S_ISDIR(status.st_mode)) {
        return read_table(b, path);
    }
    char *names[256];
    int n = 0;
    DIR *folder = opendir(path);
    for (struct dirent *e; folder != NULL && (e = readdir(folder)) != NULL;) {
        size_t length = strlen(e->d_name);
        if (n < 256 && length > 4 && strcmp(e->d_name + length - 4, ".csv") == 0) {
            names[n] = malloc(strlen(path) + length + 2);
            if (names[n] != NULL) {
                sprintf(names[n++], "%s/%s", path, e->d_name);
            }
        }
    }
    if (folder != NULL) {
        closedir(folder);
    }
    qsort(names, (size_t)n, sizeof names[0], by_name);
    bool ok = folder != NULL;
    for (int i = 0; i < n; i++) {
        ok = read_table(b, names[i]) && ok;
        free(names[i]);
    }
    return ok;
}

/* ---- the answer ---- */

static int by_size(const void *a, const void *b)
{
    double x = fabs(*(const double *)a);
    double y = fabs(*(const double *)b);
    return (x > y) - (x < y);
}

static int by_class(const void *a, const void *b)
{
    const error_class *x = a;
    const error_class *y = b;
    int device = strcmp(x->device, y->device);
    return device != 0 ? device : strcmp(x->kind, y->kind);
}

static void print_classes(bench *b)
{
    qsort(b->classes, (size_t)b->n_classes, sizeof b->classes[0], by_class);
    printf("%-15s %-34s %6s %6s %6s %6s  %s\n", "device", "kernel", "points", "MAPE",
           "bias", "P90", "target");
    for (int i = 0; i < b->n_classes; i++) {
        error_class *c = &b->classes[i];
        double sum = 0;
        double bias = 0;
        for (size_t k = 0; k < c->n; k++) {
            sum += fabs(c->errors[k]);
            bias += c->errors[k];
        }
        qsort(c->errors, c->n, sizeof c->errors[0], by_size);
        double n = (double)c->n;
        double mape = 100 * sum / n;
        double p90 = 100 * fabs(c->errors[(size_t)(0.9 * (n - 1))]);
        printf("%-15s %-34s %6zu %6.1f %+6.1f %6.1f", c->device, c->kind, c->n, mape,
               100 * bias / n, p90);
        if (c->target > 0) {
            printf("  %.0f %s", c->target, mape <= c->target ? "met" : "missed");
        }
        printf("\n");
        free(c->errors);
    }
}

static int print_devices(bench *b)
{
    galv_device *devices = NULL;
    size_t n = 0;
    if (galv_catalog_devices(&devices, &n, b->arena, &b->err) != GALV_OK) {
        fprintf(stderr, "kernel_bench: %s\n", b->err.message);
        return 1;
    }
    printf("%-20s %-6s %6s %6s", "", "", "peak", "known");
    for (int p = 0; p < GALV_N_PRECISIONS; p++) {
        printf(" %6s", galv_precision_names[p]);
    }
    printf(" %7s %7s\n", "link", "ar x 8");
    for (size_t i = 0; i < n; i++) {
        const galv_pool *pool;
        const galv_device *d = &devices[i];
        const galv_device_law *law = law_of(b, d->id, &pool);
        if (law == NULL) {
            continue;
        }
        printf("%-20s %-6.6s %6.0f %6.0f", d->id,
               galv_provenance_names[law->gemm[GALV_BF16].provenance],
               1e-12 * galv_device_peak(d, GALV_BF16),
               1e-12 * d->sustained_bf16_flop_per_s);
        for (int p = 0; p < GALV_N_PRECISIONS; p++) {
            double time_s = galv_gemm_time(&law->gemm[p], 1, 8192, 8192, 8192, 2);
            printf(" %6.0f", 2e-12 * 8192 * 8192 * 8192 / time_s);
        }
        int32_t domain = pool->scaleup_domain > pool->devices_per_node
                             ? pool->scaleup_domain
                             : pool->devices_per_node;
        int32_t per_node = domain < 8 ? domain : 8;
        printf(" %7.1f %7.1f\n", 1e-9 * law->collective.link_bytes_per_s,
               1e-9 * bus_bandwidth(law, GALV_OP_ALL_REDUCE, 8, per_node, 1073741824));
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        printf("kernels: skipped; give tables of measured kernels and collectives: "
               "%s TABLE.csv|FOLDER...\n",
               argv[0]);
        return 0;
    }
    static bench b;
    b.arena = galv_arena_new();
    if (b.arena == NULL || !make_alone(&b)) {
        return 1;
    }
    int result = 0;
    if (strcmp(argv[1], "--devices") == 0) {
        result = print_devices(&b);
    } else {
        for (int i = 1; i < argc; i++) {
            result = read_path(&b, argv[i]) ? result : 4;
        }
        if (b.n_windows > 0) {
            printf("left out: %d attentions faster than the device's peak (windows)\n",
                   b.n_windows);
        }
        print_classes(&b);
    }
    galv_profile_free(b.alone);
    galv_arena_free(b.arena);
    return result;
}

/* How near the laws of single kernels and collectives are to published measurements.
 *
 *   build/benchmarks/kernel_bench TABLE.csv|FOLDER...
 *   build/benchmarks/kernel_bench --devices
 *
 * kernel_tables.c lists the columns it knows.
 *
 * For each device and kind: points, mean absolute error, bias (mean error), the error
 * that 90 % stay under, and the target where there is one. The same measured by
 * different harnesses on one device differs by up to 7 %: the best that one law can do
 * for all of them is half of that.
 *
 * --devices: what every GPU of the catalog makes of a product of 8192 x 8192 x 8192 and
 * of an all-reduce of 1 GiB over 8 of them, in one line each, to be read with care. */
#include "benchmarks/kernel_tables.h"
#include "plan/catalog.h"
#include "plan/operation.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool read_path(bench *b, const char *path)
{
    struct stat status;
    if (stat(path, &status) != 0 || !S_ISDIR(status.st_mode)) {
        return bench_read_table(b, path);
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
        ok = bench_read_table(b, names[i]) && ok;
        free(names[i]);
    }
    return ok;
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
        const galv_device_law *law = bench_law(b, d->id, &pool);
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
               1e-9 * bench_bus_bandwidth(law, GALV_OP_ALL_REDUCE, 8, per_node,
                                          1073741824));
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
    if (b.arena == NULL || !bench_make_alone(&b)) {
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
        kernel_errors_print(&b.errors);
    }
    galv_profile_free(b.alone);
    galv_arena_free(b.arena);
    return result;
}

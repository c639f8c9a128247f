/* Tables of measured kernels and collectives, told by their columns, each row held
 * against the laws of its device. */
#ifndef GALV_BENCHMARKS_KERNEL_TABLES_H
#define GALV_BENCHMARKS_KERNEL_TABLES_H

#include "base/csv.h"
#include "benchmarks/kernel_errors.h"
#include "costmodel/device_law_internal.h"

#include <stdbool.h>

#define MOST_DEVICES 64

typedef struct bench {
    galv_arena *arena;
    galv_err err;
    galv_profile *alone; /* in-situ factors that change nothing */
    int n_windows; /* rows faster than the peak: sliding windows, not told as such */
    int n_laws;
    struct {
        char device[32];
        galv_device_law law;
        galv_pool pool;
    } laws[MOST_DEVICES];
    kernel_errors errors;
} bench;

/* Sets `alone`. False: no memory. */
bool bench_make_alone(bench *b);

/* The law of a device, or of a cluster of the catalog, alone, made when it is first
 * asked for; NULL for unknown ones. */
const galv_device_law *bench_law(bench *b, const char *device, const galv_pool **pool);

/* Bus bandwidth in bytes/s of a collective of `bytes` in groups of per_node a node. */
double bench_bus_bandwidth(const galv_device_law *law, int kind, int32_t ranks,
                           int32_t per_node, double bytes);

/* Reads a table into the errors; one of no known kind is named and left out. False: it
 * cannot be read. */
bool bench_read_table(bench *b, const char *path);

#endif

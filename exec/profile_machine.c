/* The machine as a cluster that the planner can use: one node, a device for each rank.
 *
 * What is measured is what N ranks get at once, which is why a device is a rank and not
 * a core: half of the ranks may get twice the memory bandwidth each. Peak: the fastest
 * of many square matrix products. Memory bandwidth: copies, bytes read and written.
 * Both are made larger, from what suits a processor, until one takes a millisecond, so
 * that what a GPU needs to start and end is little beside it. Link: a message of 16 MiB
 * and one of 4 bytes between two ranks. The network is not known from one node; it is
 * given the link's figures. */
#include "exec/profile_measure.h"

#include <ctype.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LEAST_SIDE \
    384 /* short enough to be left alone by a busy machine, now and then */
#define MOST_SIDE   12288
#define PRODUCTS    16
#define LEAST_COPY  ((size_t)64 << 20)
#define MOST_COPY   ((size_t)2 << 30)
#define LONG_S      1e-3 /* beside which a launch and its end are little */
#define LINK_BYTES  (16.0 * 1048576)
#define LONE_LINK_S 1e-6 /* latency where there is no second rank to ask */

void galv_device_slug(char *slug, size_t size, const char *backend, const char *device)
{
    char text[128];
    size_t n = 0;
    snprintf(text, sizeof text, "%s-%s", backend, device);
    for (size_t i = 0; text[i] != '\0' && n + 1 < size && n < 31; i++) {
        if (isalnum((unsigned char)text[i])) {
            slug[n++] = (char)tolower((unsigned char)text[i]);
        } else if (n > 0 && slug[n - 1] != '-') {
            slug[n++] = '-';
        }
    }
    while (n > 0 && slug[n - 1] == '-') {
        n--;
    }
    slug[n] = '\0';
}

/* "cpu MHz" of the first processor; 0 = unknown. */
static double clock_hz(void)
{
    char line[256];
    double mhz = 0;
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (file != NULL && mhz <= 0 && fgets(line, sizeof line, file) != NULL) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "cpu MHz", 7) == 0 && colon != NULL) {
            mhz = strtod(colon + 1, NULL);
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return 1e6 * mhz;
}

/* One product of square matrices, or one copy; `x` has room for three matrices. */
static double product_s(galv_backend *b, void *x, size_t side)
{
    size_t step = side * side * (size_t)b->element_bytes;
    double begin_s = galv_measure_now_s();
    b->gemm(b, GALV_STREAM_COMPUTE, false, true, side, side, side, 1, x,
            (char *)x + step, 0, (char *)x + 2 * step, GALV_ELEMENT);
    b->synchronize(b);
    return galv_measure_now_s() - begin_s;
}

static double copy_s(galv_backend *b, void *x, size_t bytes)
{
    double begin_s = galv_measure_now_s();
    b->copy(b, GALV_STREAM_COMPUTE, (char *)x + bytes, x, bytes);
    b->synchronize(b);
    return galv_measure_now_s() - begin_s;
}

typedef struct sizes {
    size_t side, copy_bytes;
} sizes;

static size_t room_for(const galv_backend *b, const sizes *z)
{
    size_t product = 3 * z->side * z->side * (size_t)b->element_bytes;
    return product > 2 * z->copy_bytes ? product : 2 * z->copy_bytes;
}

/* Memory of small random numbers (zeros take less power, so that clocks are higher). */
static void *new_noise(galv_backend *b, size_t bytes)
{
    enum { PIECE = 1 << 20 };
    size_t n = bytes / (size_t)b->element_bytes;
    float *noise = malloc(PIECE * sizeof *noise);
    char *memory = b->allocate(b, bytes);
    uint32_t bits = 1;
    for (size_t i = 0; noise != NULL && i < PIECE; i++) {
        bits = bits * 1664525U + 1013904223U;
        noise[i] = (float)(bits >> 16) / 65536 - 0.5F;
    }
    for (size_t at = 0; noise != NULL && memory != NULL && at < n; at += PIECE) {
        b->upload(b, memory + at * (size_t)b->element_bytes, noise,
                  n - at < PIECE ? n - at : PIECE, GALV_ELEMENT);
    }
    free(noise);
    return memory;
}

/* Doubles sizes until they take long enough; the first call of each is not counted. */
static void choose_sizes(sizes *z, galv_backend *b)
{
    galv_err ignored = GALV_ERR_INIT;
    bool grows = true;
    while (grows && b->status(b, &ignored) == GALV_OK) {
        sizes next = *z;
        void *x = new_noise(b, room_for(b, z));
        if (x == NULL) {
            return;
        }
        product_s(b, x, z->side);
        copy_s(b, x, z->copy_bytes);
        if (product_s(b, x, z->side) < LONG_S && 2 * z->side <= MOST_SIDE) {
            next.side *= 2;
        }
        if (copy_s(b, x, z->copy_bytes) < LONG_S && 2 * z->copy_bytes <= MOST_COPY) {
            next.copy_bytes *= 2;
        }
        b->release(b, x, GALV_STREAM_COMPUTE);
        grows = next.side > z->side || next.copy_bytes > z->copy_bytes;
        *z = next;
    }
}

/* Of some products, the one that was disturbed least. */
static double fastest_product(galv_backend *b, void *memory, size_t side)
{
    double least_s = HUGE_VAL;
    for (int i = 0; i < PRODUCTS; i++) {
        least_s = fmin(least_s, product_s(b, memory, side));
    }
    return least_s;
}

typedef struct speeds {
    double flop_per_s, copied_bytes_per_s; /* fastest product, median copy */
} speeds;

static galv_status measure_speeds(speeds *s, galv_meter *meter, galv_err *err)
{
    galv_backend *b = meter->backend;
    galv_samples samples[2] = {{0}};
    double values[2];
    bool enough = false;
    sizes z = {LEAST_SIDE, LEAST_COPY};
    choose_sizes(&z, b);
    /* the same on all ranks */
    galv_status status = galv_world_broadcast(meter->world, &z, sizeof z, 0, err);
    void *x = status == GALV_OK ? new_noise(b, room_for(b, &z)) : NULL;
    b->status(b, err);
    status = galv_world_agree(meter->world, err);
    while (status == GALV_OK && !enough) {
        double begin_s = galv_measure_now_s();
        values[0] = fastest_product(b, x, z.side);
        values[1] = copy_s(b, x, z.copy_bytes);
        status = galv_meter_take(&enough, samples, values, 2, 1,
                                 galv_measure_now_s() - begin_s, meter, err);
    }
    if (status == GALV_OK) {
        double side = (double)z.side;
        s->flop_per_s = 2 * side * side * side /
                        galv_statistics_of(samples[0].values, samples[0].n).least;
        s->copied_bytes_per_s =
            2 * (double)z.copy_bytes /
            galv_statistics_of(samples[1].values, samples[1].n).median;
    }
    galv_samples_release(&samples[0]);
    galv_samples_release(&samples[1]);
    if (x != NULL) {
        b->release(b, x, GALV_STREAM_COMPUTE);
    }
    return status;
}

static galv_status measure_message(double *time_s, double bytes, galv_meter *meter,
                                   galv_err *err)
{
    galv_wanted_row need = {.row = {.kind = GALV_PROFILE_COLLECTIVE,
                                    .op = "send_recv",
                                    .ranks = 2,
                                    .message_bytes = bytes}};
    galv_status status = galv_measure_collective(&need, meter, err);
    *time_s = need.row.time_s;
    return status;
}

static void describe_device(galv_device *d, const char *id, const galv_backend *b,
                            const speeds *s)
{
    int precision = b->element_bytes == 4 ? GALV_FP32 : GALV_BF16;
    long pages = sysconf(_SC_PHYS_PAGES);
    long page = sysconf(_SC_PAGESIZE);
    double memory = pages > 0 && page > 0 ? (double)pages * (double)page : 0;
    snprintf(d->id, sizeof d->id, "%s", id);
    snprintf(d->name, sizeof d->name, "%.47s", b->device);
    snprintf(d->arch, sizeof d->arch, "%s", b->name);
    d->memory_bytes = b->device_bytes > 0 ? (uint64_t)b->device_bytes
                                          : (uint64_t)(memory / b->n_ranks);
    d->memory_bytes_per_s = s->copied_bytes_per_s;
    d->peak_flop_per_s[precision] = s->flop_per_s;
    d->n_sm = b->n_processors > 0 ? b->n_processors : 1;
    d->clock_hz = strcmp(b->name, "host") == 0 ? clock_hz() : 0;
    snprintf(d->sources, sizeof d->sources, "measured by galvatron-exec %s with %.120s",
             GALV_VERSION, b->libraries);
}

galv_status galv_measure_cluster(galv_cluster *cluster, const char *device,
                                 galv_meter *meter, galv_err *err)
{
    galv_backend *b = meter->backend;
    galv_pool *pool = &cluster->pools[0];
    speeds s = {0, 0};
    char id[32];
    double long_s = 0;
    double short_s = LONE_LINK_S;
    memset(cluster, 0, sizeof *cluster);
    galv_device_slug(id, sizeof id, b->name, b->device);
    galv_status status = measure_speeds(&s, meter, err);
    if (status == GALV_OK && b->n_ranks > 1) {
        status = measure_message(&long_s, LINK_BYTES, meter, err);
    }
    if (status == GALV_OK && b->n_ranks > 1) {
        status = measure_message(&short_s, 4, meter, err);
    }
    if (status != GALV_OK) {
        return status;
    }
    describe_device(&pool->device, device != NULL ? device : id, b, &s);
    snprintf(cluster->name, sizeof cluster->name, "%s", pool->device.id);
    snprintf(cluster->sources, sizeof cluster->sources, "%s", pool->device.sources);
    snprintf(cluster->fabric, sizeof cluster->fabric, "shared memory");
    cluster->n_pools = 1;
    cluster->oversubscription = 1;
    pool->n_nodes = 1;
    pool->devices_per_node = pool->scaleup_domain = b->n_ranks;
    pool->intra_bytes_per_s =
        long_s > 0 ? LINK_BYTES / long_s : pool->device.memory_bytes_per_s / 2;
    pool->intra_latency_s = short_s;
    pool->inter_bytes_per_s = pool->intra_bytes_per_s;
    pool->inter_efficiency = 1;
    pool->inter_latency_s = short_s;
    pool->nics_per_node = 1;
    pool->device.scaleup_bytes_per_s = pool->intra_bytes_per_s;
    snprintf(pool->device.scaleup_link, sizeof pool->device.scaleup_link,
             "shared memory");
    return GALV_OK;
}

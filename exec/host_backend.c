/* The host backend's beginning and end, and its errors.
 *
 * The device of a rank is one core: the BLAS is told to use one thread, so that ranks
 * that share a machine do not compete, and so that its sums have one order. */
#include "exec/host_internal.h"

#include <cblas.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void galv_host_fail(host *h, galv_status status, const char *message)
{
    if (h->err.status == GALV_OK) {
        galv_fail(&h->err, status, "%s", message);
        galv_world_raise_alarm(h->world, &h->err);
    }
}

void galv_host_listen(host *h)
{
    if (h->err.status == GALV_OK) {
        galv_world_hear_alarm(h->world, &h->err);
    }
}

host *galv_host_enter(galv_backend *b, galv_stream stream)
{
    host *h = (host *)b;
    if (h->n_waiting > 0) {
        galv_host_progress(h);
        galv_host_drain(h, stream);
    }
    return h->err.status == GALV_OK ? h : NULL;
}

static galv_status status(galv_backend *b, galv_err *err)
{
    const host *h = (const host *)b;
    if (h->err.status != GALV_OK && err->status == GALV_OK) {
        *err = h->err;
    }
    return h->err.status;
}

static void free_backend(galv_backend *b)
{
    host *h = (host *)b;
    if (h == NULL) {
        return;
    }
    if (h->err.status != GALV_OK && h->base.n_ranks > 1) {
        return; /* messages may still be under way into any of this */
    }
    galv_host_free_streams(h);
    galv_host_free_memory(h);
    if (h->mail != NULL) {
        h->mail->free(h->mail);
    }
    free(h);
}

/* The processor's name, from the line "model name : ..." of /proc/cpuinfo. */
static void name_device(char *name, size_t size)
{
    snprintf(name, size, "processor");
    FILE *file = fopen("/proc/cpuinfo", "r");
    if (file == NULL) {
        return;
    }
    char line[256];
    while (fgets(line, sizeof line, file) != NULL) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) == 0 && colon != NULL) {
            line[strcspn(line, "\n")] = '\0';
            snprintf(name, size, "%.*s", (int)size - 1, colon + 2);
            break;
        }
    }
    fclose(file);
}

/* "OpenBLAS 0.3.21, Open MPI v4.1.4" or "OpenBLAS 0.3.21, TCP", from what the libraries
 * say of themselves. */
static void name_libraries(char *names, size_t size, const galv_world *world)
{
    char blas[64] = "BLAS";
    const char *config = openblas_get_config();
    if (strncmp(config, "OpenBLAS ", 9) == 0) {
        snprintf(blas, sizeof blas, "OpenBLAS %.*s", (int)strcspn(config + 9, " "),
                 config + 9);
    }
    char mpi[MPI_MAX_LIBRARY_VERSION_STRING] = "";
    int length = 0;
    if (!galv_world_has_mpi(world) ||
        MPI_Get_library_version(mpi, &length) != MPI_SUCCESS) {
        snprintf(names, size, "%s%s", blas, galv_world_size(world) > 1 ? ", TCP" : "");
        return;
    }
    mpi[strcspn(mpi, ",\n")] = '\0';
    snprintf(names, size, "%s, %.64s", blas, mpi);
}

/* Bytes that control groups leave to this process, or SIZE_MAX. */
static size_t group_limit(void)
{
    unsigned long long bytes = 0;
    FILE *file = fopen("/sys/fs/cgroup/memory.max", "r");
    bool limited = file != NULL && fscanf(file, "%llu", &bytes) == 1;
    if (file != NULL) {
        fclose(file);
    }
    return limited ? (size_t)bytes : SIZE_MAX;
}

/* What a rank may have of this machine's memory, shared with the others on it. */
static galv_status share_memory(size_t *share, galv_world *world, galv_err *err)
{
    char mine[72] = "";
    size_t size = (size_t)galv_world_size(world);
    char(*hosts)[sizeof mine] = calloc(size, sizeof *hosts);
    if (hosts == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    gethostname(mine, sizeof mine - 1);
    galv_status status = galv_world_all_gather(world, hosts, mine, sizeof mine, err);
    size_t n_here = 0;
    for (size_t rank = 0; rank < size; rank++) {
        n_here += strcmp(hosts[rank], mine) == 0;
    }
    free(hosts);
    long pages = sysconf(_SC_PHYS_PAGES);
    size_t bytes = pages > 0 ? (size_t)pages * (size_t)sysconf(_SC_PAGESIZE) : 0;
    size_t limit = group_limit();
    bytes = limit < bytes ? limit : bytes;
    *share = n_here > 0 ? bytes / n_here : bytes;
    return status;
}

void galv_host_slow_link(galv_backend *backend, int32_t rank, int32_t other,
                         double bytes_per_s)
{
    host *h = (host *)backend;
    if (rank == backend->rank || other == backend->rank) {
        h->slow_peer = rank == backend->rank ? other : rank;
        h->slow_bytes_per_s = bytes_per_s;
    }
}

galv_status galv_host_backend_new(galv_backend **backend, galv_world *world,
                                  galv_err *err)
{
    host *h = calloc(1, sizeof *h);
    if (h == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    openblas_set_num_threads(1);
    h->world = world;
    if (galv_mail_new(&h->mail, world, err) != GALV_OK) {
        free(h);
        return err->status;
    }
    h->n_tags = h->mail != NULL ? h->mail->n_tags / 2 : 0;
    galv_backend *b = &h->base;
    b->name = "host";
    name_device(b->device, sizeof b->device);
    name_libraries(b->libraries, sizeof b->libraries, world);
    b->element_bytes = HOST_VALUE_BYTES;
    b->moves_when_called = true;
    b->rank = galv_world_rank(world);
    b->n_ranks = galv_world_size(world);
    b->free = free_backend;
    b->status = status;
    galv_host_fill_memory(b);
    galv_host_fill_streams(b);
    galv_host_fill_comm(b);
    galv_host_fill_traffic(b);
    galv_host_fill_kernels(b);
    galv_host_fill_attention(b);
    galv_host_fill_loss(b);
    galv_host_fill_moe(b);
    h->slow_peer = -1;
    h->start_s = galv_host_now_s();
    *backend = b;
    return share_memory(&b->device_bytes, world, err);
}

/* The host backend's beginning and end, and its errors.
 *
 * The device of a rank is one core: the BLAS is told to use one thread, so that ranks
 * that share a machine do not compete, and so that its sums have one order. */
#include "exec/host_internal.h"

#include "exec/world_internal.h"

#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Of messages on the world's communicator: 0 is world_mpi.c's. */
enum { CRY_TAG = 1 };

/* The requests are never waited for: the ranks that hear it end. */
static void cry(host *h)
{
    if (h->mpi == MPI_COMM_NULL || h->cries != NULL) {
        return;
    }
    h->cries = calloc((size_t)h->base.n_ranks, sizeof(MPI_Request));
    for (int32_t rank = 0; rank < h->base.n_ranks && h->cries != NULL; rank++) {
        if (rank != h->base.rank) {
            MPI_Isend(&h->err, (int)sizeof h->err, MPI_BYTE, rank, CRY_TAG, h->mpi,
                      &h->cries[rank]);
        }
    }
}

void galv_host_fail(host *h, galv_status status, const char *message)
{
    if (h->err.status == GALV_OK) {
        galv_fail(&h->err, status, "%s", message);
        cry(h);
    }
}

void galv_host_listen(host *h)
{
    int heard = 0;
    MPI_Status from;
    if (h->mpi == MPI_COMM_NULL || h->err.status != GALV_OK ||
        MPI_Iprobe(MPI_ANY_SOURCE, CRY_TAG, h->mpi, &heard, &from) != MPI_SUCCESS ||
        !heard) {
        return;
    }
    galv_err theirs = GALV_ERR_INIT;
    if (MPI_Recv(&theirs, (int)sizeof theirs, MPI_BYTE, from.MPI_SOURCE, CRY_TAG,
                 h->mpi, MPI_STATUS_IGNORE) == MPI_SUCCESS) {
        galv_fail(&h->err, theirs.status, "rank %d failed: %.400s", from.MPI_SOURCE,
                  theirs.message);
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

/* "OpenBLAS 0.3.21, Open MPI v4.1.4", from what the libraries say of themselves. */
static void name_libraries(char *names, size_t size, bool has_mpi)
{
    char blas[64] = "BLAS";
    const char *config = openblas_get_config();
    if (strncmp(config, "OpenBLAS ", 9) == 0) {
        snprintf(blas, sizeof blas, "OpenBLAS %.*s", (int)strcspn(config + 9, " "),
                 config + 9);
    }
    char mpi[MPI_MAX_LIBRARY_VERSION_STRING] = "";
    int length = 0;
    if (!has_mpi || MPI_Get_library_version(mpi, &length) != MPI_SUCCESS) {
        snprintf(names, size, "%s", blas);
        return;
    }
    mpi[strcspn(mpi, ",\n")] = '\0';
    snprintf(names, size, "%s, %.64s", blas, mpi);
}

static int tags_of_a_kind(MPI_Comm comm)
{
    void *limit = NULL;
    int found = 0;
    MPI_Comm_get_attr(comm, MPI_TAG_UB, (void *)&limit, &found);
    int greatest = found ? *(int *)limit : 32767;
    return greatest > 1 << 20 ? 1 << 19 : greatest / 2;
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

galv_status galv_host_backend_new(galv_backend **backend, galv_world *world,
                                  galv_err *err)
{
    if (galv_world_size(world) > 1 && !galv_world_has_mpi(world)) {
        galv_fail(err, GALV_UNAVAILABLE, "the host backend needs MPI for %d ranks",
                  galv_world_size(world));
        galv_hint(err, "start it with mpirun or srun");
        return GALV_UNAVAILABLE;
    }
    host *h = calloc(1, sizeof *h);
    if (h == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    openblas_set_num_threads(1);
    h->mpi = galv_world_mpi(world);
    if (h->mpi != MPI_COMM_NULL) {
        h->n_tags = tags_of_a_kind(h->mpi);
    }
    galv_backend *b = &h->base;
    b->name = "host";
    name_device(b->device, sizeof b->device);
    name_libraries(b->libraries, sizeof b->libraries, h->mpi != MPI_COMM_NULL);
    b->element_bytes = HOST_VALUE_BYTES;
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
    h->start_s = galv_host_now_s();
    *backend = b;
    return share_memory(&b->device_bytes, world, err);
}

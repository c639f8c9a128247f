/* The communicators of a rank: how they begin, fail and end.
 *
 * One communicator of the whole world, `control`, is made at the start, its id passed
 * by the world's hosts. The ids of all others go from their first rank to the other
 * members as messages over `control`, so making one is collective over its members
 * alone and needs neither MPI nor TCP.
 *
 * State: it compiles; it has not yet run on a device. */
#include "exec/cuda_links.cuh"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- errors ---- */

bool galv_nccl_ok(galv_cuda *c, ncclResult_t result, const char *what)
{
    if (result == ncclSuccess || result == ncclInProgress) {
        return true;
    }
    const char *more = ncclGetLastError(nullptr);
    galv_cuda_fail(c, GALV_IO, "NCCL: %s: %s%s%.200s", what, ncclGetErrorString(result),
                   more != nullptr && more[0] != '\0' ? ": " : "",
                   more != nullptr ? more : "");
    if (result == ncclRemoteError || result == ncclSystemError) {
        galv_cuda_hint(c, "a rank or its network has gone: look at the messages of the "
                          "other ranks, or run again with NCCL_DEBUG=INFO");
    } else {
        galv_cuda_hint(c,
                       "run again with NCCL_DEBUG=INFO; every rank needs a device of "
                       "its own, and NCCL_SOCKET_IFNAME a network that joins the "
                       "nodes");
    }
    return false;
}

static bool remember(galv_cuda *c, ncclComm_t nccl)
{
    struct cuda_links *links = c->links;
    if (links->n_all == links->n_all_allocated) {
        size_t n = links->n_all_allocated < 16 ? 16 : 2 * links->n_all_allocated;
        void *all = realloc(links->all, n * sizeof *links->all);
        if (all == nullptr) {
            return galv_cuda_fail(c, GALV_NO_MEMORY, "out of memory of the host");
        }
        links->all = (ncclComm_t *)all;
        links->n_all_allocated = n;
    }
    links->all[links->n_all++] = nccl;
    return true;
}

void galv_nccl_end(galv_cuda *c, ncclComm_t nccl)
{
    struct cuda_links *links = c->links;
    for (size_t i = 0; i < links->n_all; i++) {
        if (links->all[i] == nccl) {
            links->all[i] = links->all[--links->n_all];
            if (c->err.status == GALV_OK) {
                galv_nccl_ok(c, ncclCommDestroy(nccl), "end a communicator");
            } else {
                ncclCommAbort(nccl);
            }
            return;
        }
    }
}

static void abort_all(galv_cuda *c)
{
    while (c->links->n_all > 0) {
        ncclCommAbort(c->links->all[--c->links->n_all]);
    }
}

bool galv_cuda_links_check(galv_cuda *c)
{
    if (c->err.status == GALV_OK && c->all_began && c->links != nullptr &&
        galv_world_hear_alarm(c->world, &c->err)) {
        abort_all(c);
        return false;
    }
    for (size_t i = 0; c->links != nullptr && i < c->links->n_all; i++) {
        ncclResult_t trouble = ncclSuccess;
        ncclResult_t result = ncclCommGetAsyncError(c->links->all[i], &trouble);
        if (!galv_nccl_ok(c, result, "look for errors") ||
            !galv_nccl_ok(c, trouble, "while communicating")) {
            abort_all(c); /* so that kernels that wait for ever end */
            return false;
        }
    }
    return true;
}

/* ---- making communicators ---- */

bool galv_nccl_init(galv_cuda *c, ncclComm_t *nccl, const ncclUniqueId *id, int n_ranks,
                    int index, int most_blocks)
{
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 1;
    if (most_blocks > 0) {
        config.maxCTAs = most_blocks;
    }
    if (!galv_nccl_ok(c, ncclCommInitRankConfig(nccl, n_ranks, *id, index, &config),
                      "make a communicator")) {
        return false;
    }
    if (!remember(c, *nccl)) {
        ncclCommAbort(*nccl);
        return false;
    }
    return true;
}

bool galv_nccl_pass(galv_cuda *c, void *data, size_t bytes, const int32_t *ranks,
                    int32_t n_ranks)
{
    struct cuda_links *links = c->links;
    cudaStream_t stream = links->control_stream;
    bool first = ranks[0] == c->base.rank;
    const char *what = "pass the id of a communicator";
    if (first && !galv_cuda_ok(c,
                               cudaMemcpyAsync(links->control_buffer, data, bytes,
                                               cudaMemcpyHostToDevice, stream),
                               what)) {
        return false;
    }
    bool good = galv_nccl_ok(c, ncclGroupStart(), what);
    for (int32_t i = 1; good && first && i < n_ranks; i++) {
        good = galv_nccl_ok(c,
                            ncclSend(links->control_buffer, bytes, ncclInt8, ranks[i],
                                     links->control, stream),
                            what);
    }
    if (good && !first) {
        good = galv_nccl_ok(c,
                            ncclRecv(links->control_buffer, bytes, ncclInt8, ranks[0],
                                     links->control, stream),
                            what);
    }
    good = galv_nccl_ok(c, ncclGroupEnd(), what) && good;
    if (good && !first) {
        good = galv_cuda_ok(c,
                            cudaMemcpyAsync(data, links->control_buffer, bytes,
                                            cudaMemcpyDeviceToHost, stream),
                            what);
    }
    return good && galv_cuda_drain(c, stream);
}

/* ---- beginning and end ---- */

/* GALV_SHARE_DEVICE=1: several ranks on one device, to see whether they compute the
 * same, not how fast. NCCL 2.30 and later can be asked for it; an earlier one compares
 * only names of hosts and devices, so each rank says that it is a host of its own, and
 * they talk over sockets of this machine. What the user has set stays. Not yet tried.
 */
static bool shares_device(void)
{
    const char *asked = getenv("GALV_SHARE_DEVICE");
    return asked != nullptr && strcmp(asked, "1") == 0;
}

static void prepare_sharing(int rank)
{
    char host[64];
    snprintf(host, sizeof host, "galvatron-rank-%d", rank);
    setenv("NCCL_HOSTID", host, 0);
    setenv("NCCL_SOCKET_IFNAME", "lo", 0);
    setenv("NCCL_NET", "Socket", 0);
    setenv("NCCL_IB_DISABLE", "1", 0);
    setenv("NCCL_NVLS_ENABLE", "0", 0);
    setenv("NCCL_CUMEM_ENABLE", "0", 0);
    setenv("NCCL_MULTI_RANK_GPU_ENABLE", "1", 0);
    setenv("NCCL_MAX_CTAS", "4", 0); /* ranks share the device's processors, too */
}

/* Who runs where: NCCL (up to 2.29) refuses two ranks on one device, in words that do
 * not help. */
typedef struct cuda_seat {
    char host[64];
    char uuid[16];
} cuda_seat;

static bool check_seats(galv_cuda *c)
{
    cuda_seat mine;
    cudaDeviceProp properties;
    memset(&mine, 0, sizeof mine);
    gethostname(mine.host, sizeof mine.host - 1);
    if (!galv_cuda_ok(c, cudaGetDeviceProperties(&properties, c->device),
                      "ask the device for its properties")) {
        return false;
    }
    memcpy(mine.uuid, properties.uuid.bytes, sizeof mine.uuid);
    size_t n = (size_t)c->base.n_ranks;
    cuda_seat *all = (cuda_seat *)calloc(n, sizeof *all);
    galv_err err = GALV_ERR_INIT;
    bool good = all != nullptr && galv_world_all_gather(c->world, all, &mine,
                                                        sizeof mine, &err) == GALV_OK;
    if (!good) {
        galv_cuda_fail(c, all == nullptr ? GALV_NO_MEMORY : err.status, "%s",
                       all == nullptr ? "out of memory of the host" : err.message);
    }
    for (size_t i = 0; good && !shares_device() && i < n; i++) {
        if ((int32_t)i != c->base.rank && memcmp(&all[i], &mine, sizeof mine) == 0) {
            good = galv_cuda_fail(c, GALV_UNAVAILABLE,
                                  "ranks %d and %d share one device (%s on %s), which "
                                  "NCCL refuses",
                                  (int)c->base.rank, (int)i, c->base.device, mine.host);
            galv_cuda_hint(c, "start as many ranks on a node as it has devices, or use "
                              "--backend host; to see only whether ranks compute the "
                              "same, set GALV_SHARE_DEVICE=1");
        }
    }
    free(all);
    return good;
}

bool galv_cuda_links_new(galv_cuda *c)
{
    struct cuda_links *links = (struct cuda_links *)calloc(1, sizeof *links);
    c->links = links;
    if (links == nullptr) {
        galv_cuda_fail(c, GALV_NO_MEMORY, "out of memory of the host");
    }
    if (c->base.n_ranks == 1) {
        return links != nullptr;
    }
    ncclUniqueId id;
    memset(&id, 0, sizeof id);
    check_seats(c);
    if (shares_device()) {
        prepare_sharing((int)c->base.rank);
    }
    if (c->err.status == GALV_OK) {
        galv_nccl_ok(c, c->base.rank == 0 ? ncclGetUniqueId(&id) : ncclSuccess,
                     "make the first id");
    }
    if (c->err.status == GALV_OK) {
        galv_cuda_ok(
            c, cudaStreamCreateWithFlags(&links->control_stream, cudaStreamNonBlocking),
            "make a stream");
        galv_cuda_ok(c, cudaMalloc((void **)&links->control_buffer, CONTROL_BYTES),
                     "allocate");
    }
    /* all go on together, or none does */
    galv_err err = c->err;
    if (galv_world_agree(c->world, &err) == GALV_OK) {
        galv_world_broadcast(c->world, &id, sizeof id, 0, &err);
    }
    if (err.status != GALV_OK) {
        c->err = err;
        return false;
    }
    return galv_nccl_init(c, &links->control, &id, c->base.n_ranks, c->base.rank, 1);
}

void galv_cuda_links_free(galv_cuda *c)
{
    struct cuda_links *links = c->links;
    if (links == nullptr) {
        return;
    }
    galv_cuda_free_pairs(c);
    if (links->control != nullptr) {
        galv_nccl_end(c, links->control);
    }
    if (links->control_buffer != nullptr) {
        cudaFree(links->control_buffer);
    }
    if (links->control_stream != nullptr) {
        cudaStreamDestroy(links->control_stream);
    }
    free(links->all);
    free(links);
    c->links = nullptr;
}

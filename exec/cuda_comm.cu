/* Communication of the CUDA backend: NCCL.
 *
 * Making communicators. One communicator of the whole world, `control`, is made at the
 * start, its id passed by the world's hosts. The ids of all others go from their first
 * rank to the other members as messages over `control`, so making one is collective
 * over its members alone and needs neither MPI nor TCP.
 *
 * Messages. Operations of one NCCL communicator run one after another whatever their
 * streams, and a send ends when it has been received. So two ranks that both send first
 * would wait for each other for ever. Therefore every pair of ranks that exchange
 * messages has two communicators of its own, one for each direction, each with a stream
 * of its own ("side") beside the stream where the message was queued; that stream comes
 * after it again with the next thing queued there that is not a message. A pair's
 * communicators are made with its first message, which both hosts must reach: three or
 * more ranks in a ring that each send their very first message before they receive one
 * would wait for each other on the host; use all_to_all for rings.
 *
 * Order. Kernels of different communicators start when their streams let them, not in
 * the host's order (NCCL_LAUNCH_ORDER_IMPLICIT must stay 0): a send may have to wait
 * for the one before it, which ends only when the other rank starts a receive that its
 * host has queued behind a send of its own; in the host's order both would wait for
 * ever. What waits takes room on the device meanwhile. There is enough: of the
 * communicators whose operations are under way at the same time, those of groups take
 * at most 32 blocks each, those of messages 8, and a block a processor, of which there
 * are 108 or more.
 *
 * Numbers. Sums of elements are taken in bf16 at every hop of NCCL's rings and trees;
 * their order depends on the topology, but not on arrival.
 *
 * State: it compiles; it has not yet run on a device. */
#include "exec/cuda_internal.h"

#include <nccl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct galv_comm {
    int32_t n_ranks, index; /* this rank's place */
    int32_t *ranks;         /* of the world; [n_ranks] */
    ncclComm_t nccl;        /* nullptr for one rank */
};

/* One direction between this rank and another. */
typedef struct cuda_side {
    ncclComm_t nccl;
    cudaStream_t stream;
    cudaEvent_t begun, done;
} cuda_side;

typedef struct cuda_pair {
    int32_t peer; /* of the world */
    cuda_side out, in;
} cuda_pair;

/* A message that its stream does not yet come after. */
typedef struct cuda_message {
    const cuda_side *side;
    uintptr_t begin, end; /* its buffer */
    bool writes;
} cuda_message;

enum { MOST_MESSAGES = 16, CONTROL_BYTES = 2 * NCCL_UNIQUE_ID_BYTES };

struct cuda_links {
    ncclComm_t control;
    cudaStream_t control_stream;
    char *control_buffer; /* device [CONTROL_BYTES] */
    cuda_pair **pairs;
    size_t n_pairs;
    ncclComm_t *all; /* that are alive */
    size_t n_all, n_all_allocated;
    cuda_message messages[GALV_N_STREAMS][MOST_MESSAGES];
    int n_messages[GALV_N_STREAMS];
};

/* ---- errors ---- */

static bool nccl_ok(galv_cuda *c, ncclResult_t result, const char *what)
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

/* Ends a communicator that is alive; those aborted are no more in the list. */
static void end_nccl(galv_cuda *c, ncclComm_t nccl)
{
    struct cuda_links *links = c->links;
    for (size_t i = 0; i < links->n_all; i++) {
        if (links->all[i] == nccl) {
            links->all[i] = links->all[--links->n_all];
            if (c->err.status == GALV_OK) {
                nccl_ok(c, ncclCommDestroy(nccl), "end a communicator");
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
        if (!nccl_ok(c, result, "look for errors") ||
            !nccl_ok(c, trouble, "while communicating")) {
            abort_all(c); /* so that kernels that wait for ever end */
            return false;
        }
    }
    return true;
}

/* ---- making communicators ---- */

static bool init_nccl(galv_cuda *c, ncclComm_t *nccl, const ncclUniqueId *id,
                      int n_ranks, int index, int most_blocks)
{
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 1;
    if (most_blocks > 0) {
        config.maxCTAs = most_blocks;
    }
    if (!nccl_ok(c, ncclCommInitRankConfig(nccl, n_ranks, *id, index, &config),
                 "make a communicator")) {
        return false;
    }
    if (!remember(c, *nccl)) {
        ncclCommAbort(*nccl);
        return false;
    }
    return true;
}

/* Passes `bytes` of the host from ranks[0] to the other ranks (of the world) over
 * `control`; blocks until they are there. */
static bool pass(galv_cuda *c, void *data, size_t bytes, const int32_t *ranks,
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
    bool good = nccl_ok(c, ncclGroupStart(), what);
    for (int32_t i = 1; good && first && i < n_ranks; i++) {
        good = nccl_ok(c,
                       ncclSend(links->control_buffer, bytes, ncclInt8, ranks[i],
                                links->control, stream),
                       what);
    }
    if (good && !first) {
        good = nccl_ok(c,
                       ncclRecv(links->control_buffer, bytes, ncclInt8, ranks[0],
                                links->control, stream),
                       what);
    }
    good = nccl_ok(c, ncclGroupEnd(), what) && good;
    if (good && !first) {
        good = galv_cuda_ok(c,
                            cudaMemcpyAsync(data, links->control_buffer, bytes,
                                            cudaMemcpyDeviceToHost, stream),
                            what);
    }
    return good && galv_cuda_drain(c, stream);
}

static galv_comm *new_comm(galv_cuda *c, const int32_t *ranks, int32_t n_ranks)
{
    galv_comm *comm = (galv_comm *)calloc(1, sizeof *comm);
    int32_t *own = (int32_t *)calloc((size_t)(n_ranks > 0 ? n_ranks : 1), sizeof *own);
    if (comm == nullptr || own == nullptr) {
        free(comm);
        free(own);
        galv_cuda_fail(c, GALV_NO_MEMORY, "out of memory of the host");
        return nullptr;
    }
    comm->n_ranks = n_ranks;
    comm->index = -1;
    comm->ranks = own;
    for (int32_t i = 0; i < n_ranks; i++) {
        own[i] = ranks[i];
        if (ranks[i] == c->base.rank) {
            comm->index = i;
        }
    }
    return comm;
}

static void comm_free(galv_backend *b, galv_comm *comm)
{
    galv_cuda *c = galv_cuda_of(b);
    if (comm == nullptr) {
        return;
    }
    if (comm->nccl != nullptr) {
        b->synchronize(b);
        end_nccl(c, comm->nccl);
    }
    free(comm->ranks);
    free(comm);
}

static galv_comm *comm_new(galv_backend *b, const int32_t *ranks, int32_t n_ranks)
{
    galv_cuda *c = galv_cuda_of(b);
    if (c->err.status != GALV_OK) {
        return nullptr;
    }
    galv_comm *comm = new_comm(c, ranks, n_ranks);
    if (comm == nullptr) {
        return nullptr;
    }
    if (comm->index < 0) {
        galv_cuda_fail(c, GALV_INTERNAL, "a communicator without this rank");
    } else if (n_ranks > 1) {
        ncclUniqueId id;
        memset(&id, 0, sizeof id);
        if (comm->index > 0 || nccl_ok(c, ncclGetUniqueId(&id), "make an id")) {
            if (pass(c, &id, sizeof id, ranks, n_ranks)) {
                init_nccl(c, &comm->nccl, &id, n_ranks, comm->index, 0);
            }
        }
    }
    if (c->err.status != GALV_OK) {
        comm_free(b, comm);
        return nullptr;
    }
    return comm;
}

/* ---- collectives ---- */

static ncclDataType_t type_of(galv_element type)
{
    return type == GALV_ELEMENT   ? ncclBfloat16
           : type == GALV_FLOAT32 ? ncclFloat32
                                  : ncclInt32;
}

/* Copies where a communicator has one rank. */
static void copy_alone(galv_cuda *c, galv_stream stream, void *out, const void *in,
                       size_t bytes)
{
    if (out != in && bytes > 0) {
        galv_cuda_ok(c,
                     cudaMemcpyAsync(out, in, bytes, cudaMemcpyDeviceToDevice,
                                     c->streams[stream]),
                     "copy");
    }
}

static void all_reduce(galv_backend *b, galv_stream stream, galv_comm *comm, void *data,
                       size_t n, galv_element type, galv_reduction reduction)
{
    galv_cuda *c = galv_cuda_of(b);
    if (!galv_cuda_enter(b, stream, data) || n == 0 || comm->n_ranks == 1) {
        return;
    }
    nccl_ok(c,
            ncclAllReduce(data, data, n, type_of(type),
                          reduction == GALV_MAX ? ncclMax : ncclSum, comm->nccl,
                          c->streams[stream]),
            "all-reduce");
}

static void all_gather(galv_backend *b, galv_stream stream, galv_comm *comm, void *out,
                       const void *in, size_t n, galv_element type)
{
    galv_cuda *c = galv_cuda_of(b);
    if (!galv_cuda_enter(b, stream, out) || n == 0) {
        return;
    }
    if (comm->n_ranks == 1) {
        copy_alone(c, stream, out, in, n * galv_cuda_bytes(type));
        return;
    }
    nccl_ok(c, ncclAllGather(in, out, n, type_of(type), comm->nccl, c->streams[stream]),
            "all-gather");
}

static void reduce_scatter(galv_backend *b, galv_stream stream, galv_comm *comm,
                           void *out, const void *in, size_t n, galv_element type)
{
    galv_cuda *c = galv_cuda_of(b);
    if (!galv_cuda_enter(b, stream, out) || n == 0) {
        return;
    }
    if (comm->n_ranks == 1) {
        copy_alone(c, stream, out, in, n * galv_cuda_bytes(type));
        return;
    }
    nccl_ok(c,
            ncclReduceScatter(in, out, n, type_of(type), ncclSum, comm->nccl,
                              c->streams[stream]),
            "reduce-scatter");
}

static void broadcast(galv_backend *b, galv_stream stream, galv_comm *comm, void *data,
                      size_t n, galv_element type, int32_t root)
{
    galv_cuda *c = galv_cuda_of(b);
    if (!galv_cuda_enter(b, stream, data) || n == 0 || comm->n_ranks == 1) {
        return;
    }
    nccl_ok(c,
            ncclBroadcast(data, data, n, type_of(type), root, comm->nccl,
                          c->streams[stream]),
            "broadcast");
}

/* Sends and receives of one group, which NCCL runs together; our own part is copied. A
 * part of no values is left out on both sides. */
static void all_to_all(galv_backend *b, galv_stream stream, galv_comm *comm, void *out,
                       const int64_t *recv_begin, const void *in,
                       const int64_t *send_begin, galv_element type)
{
    galv_cuda *c = galv_cuda_of(b);
    const size_t size = galv_cuda_bytes(type);
    cudaStream_t queue = c->streams[stream];
    if (!galv_cuda_enter(b, stream, out)) {
        return;
    }
    int32_t own = comm->index;
    copy_alone(c, stream, (char *)out + (size_t)recv_begin[own] * size,
               (const char *)in + (size_t)send_begin[own] * size,
               (size_t)(recv_begin[own + 1] - recv_begin[own]) * size);
    if (comm->n_ranks == 1) {
        return;
    }
    bool good = nccl_ok(c, ncclGroupStart(), "all-to-all");
    for (int32_t i = 1; good && i < comm->n_ranks; i++) {
        int32_t to = (own + i) % comm->n_ranks;
        int32_t from = (own + comm->n_ranks - i) % comm->n_ranks;
        size_t n_out = (size_t)(send_begin[to + 1] - send_begin[to]);
        size_t n_in = (size_t)(recv_begin[from + 1] - recv_begin[from]);
        if (n_out > 0) {
            good = nccl_ok(c,
                           ncclSend((const char *)in + (size_t)send_begin[to] * size,
                                    n_out, type_of(type), to, comm->nccl, queue),
                           "all-to-all");
        }
        if (good && n_in > 0) {
            good = nccl_ok(c,
                           ncclRecv((char *)out + (size_t)recv_begin[from] * size, n_in,
                                    type_of(type), from, comm->nccl, queue),
                           "all-to-all");
        }
    }
    nccl_ok(c, ncclGroupEnd(), "all-to-all");
}

/* ---- messages ---- */

static bool make_side(galv_cuda *c, cuda_side *side, const ncclUniqueId *id, int index)
{
    int least = 0;
    int greatest = 0;
    const char *what = "make a stream for messages";
    /* 8 blocks leave the rest of the device to computation; not tuned */
    return galv_cuda_ok(c, cudaDeviceGetStreamPriorityRange(&least, &greatest), what) &&
           galv_cuda_ok(c,
                        cudaStreamCreateWithPriority(&side->stream,
                                                     cudaStreamNonBlocking, greatest),
                        what) &&
           galv_cuda_ok(c,
                        cudaEventCreateWithFlags(&side->begun, cudaEventDisableTiming),
                        what) &&
           galv_cuda_ok(c,
                        cudaEventCreateWithFlags(&side->done, cudaEventDisableTiming),
                        what) &&
           init_nccl(c, &side->nccl, id, 2, index, 8);
}

static void free_side(galv_cuda *c, cuda_side *side)
{
    if (side->nccl != nullptr) {
        end_nccl(c, side->nccl);
    }
    if (side->done != nullptr) {
        cudaEventDestroy(side->done);
    }
    if (side->begun != nullptr) {
        cudaEventDestroy(side->begun);
    }
    if (side->stream != nullptr) {
        cudaStreamDestroy(side->stream);
    }
}

/* The lower rank makes both ids; the first is for messages from it, the second to it.
 */
static bool shake_hands(galv_cuda *c, cuda_pair *pair)
{
    int32_t rank = c->base.rank;
    bool lower = rank < pair->peer;
    int32_t ranks[2] = {lower ? rank : pair->peer, lower ? pair->peer : rank};
    ncclUniqueId ids[2];
    memset(ids, 0, sizeof ids);
    static_assert(sizeof ids == CONTROL_BYTES, "ids fit into the buffer");
    if (lower && !(nccl_ok(c, ncclGetUniqueId(&ids[0]), "make an id") &&
                   nccl_ok(c, ncclGetUniqueId(&ids[1]), "make an id"))) {
        return false;
    }
    cuda_side *first = lower ? &pair->out : &pair->in;
    cuda_side *second = lower ? &pair->in : &pair->out;
    return pass(c, ids, sizeof ids, ranks, 2) &&
           make_side(c, first, &ids[0], lower ? 0 : 1) &&
           make_side(c, second, &ids[1], lower ? 0 : 1);
}

static cuda_pair *pair_with(galv_cuda *c, int32_t peer)
{
    struct cuda_links *links = c->links;
    for (size_t i = 0; i < links->n_pairs; i++) {
        if (links->pairs[i]->peer == peer) {
            return links->pairs[i];
        }
    }
    cuda_pair *pair = (cuda_pair *)calloc(1, sizeof *pair);
    void *pairs = realloc(links->pairs, (links->n_pairs + 1) * sizeof *links->pairs);
    if (pairs != nullptr) {
        links->pairs = (cuda_pair **)pairs;
    }
    if (pair == nullptr || pairs == nullptr) {
        free(pair);
        galv_cuda_fail(c, GALV_NO_MEMORY, "out of memory of the host");
        return nullptr;
    }
    pair->peer = peer;
    links->pairs[links->n_pairs++] = pair;
    return shake_hands(c, pair) ? pair : nullptr;
}

void galv_cuda_join_messages(galv_cuda *c, galv_stream stream)
{
    struct cuda_links *links = c->links;
    if (links == nullptr || links->n_messages[stream] == 0) {
        return;
    }
    int n = links->n_messages[stream];
    links->n_messages[stream] = 0;
    c->used[stream] = true;
    for (int i = 0; i < n && c->err.status == GALV_OK; i++) {
        galv_cuda_ok(c,
                     cudaStreamWaitEvent(c->streams[stream],
                                         links->messages[stream][i].side->done, 0),
                     "wait for a message");
    }
}

/* Whether a message may go beside those that its stream does not yet come after. */
static bool may_pass(const struct cuda_links *links, galv_stream stream,
                     const cuda_message *message)
{
    for (int i = 0; i < links->n_messages[stream]; i++) {
        const cuda_message *other = &links->messages[stream][i];
        bool overlaps = message->begin < other->end && other->begin < message->end;
        if (overlaps && (message->writes || other->writes)) {
            return false;
        }
    }
    return links->n_messages[stream] < MOST_MESSAGES;
}

static void message(galv_backend *b, galv_stream stream, galv_comm *comm, bool out,
                    void *data, size_t n, galv_element type, int32_t peer)
{
    galv_cuda *c = galv_cuda_of(b);
    const char *what = out ? "send" : "receive";
    if (c->err.status != GALV_OK) {
        return;
    }
    if (peer < 0 || peer >= comm->n_ranks || peer == comm->index) {
        galv_cuda_fail(c, GALV_INTERNAL, "a message to oneself or to nobody");
        return;
    }
    const cuda_pair *pair = n > 0 ? pair_with(c, comm->ranks[peer]) : nullptr;
    if (pair == nullptr) {
        return;
    }
    const cuda_side *side = out ? &pair->out : &pair->in;
    uintptr_t begin = (uintptr_t)data;
    cuda_message made = {side, begin, begin + n * galv_cuda_bytes(type), !out};
    if (!may_pass(c->links, stream, &made)) {
        galv_cuda_join_messages(c, stream);
    }
    if (!out) {
        galv_cuda_guard(c, stream, data);
    }
    c->used[stream] = true;
    if (!galv_cuda_ok(c, cudaEventRecord(side->begun, c->streams[stream]), what) ||
        !galv_cuda_ok(c, cudaStreamWaitEvent(side->stream, side->begun, 0), what)) {
        return;
    }
    int other = comm->ranks[peer] < b->rank ? 0 : 1;
    ncclResult_t result =
        out ? ncclSend(data, n, type_of(type), other, side->nccl, side->stream)
            : ncclRecv(data, n, type_of(type), other, side->nccl, side->stream);
    if (nccl_ok(c, result, what) &&
        galv_cuda_ok(c, cudaEventRecord(side->done, side->stream), what)) {
        c->links->messages[stream][c->links->n_messages[stream]++] = made;
    }
}

static void send(galv_backend *b, galv_stream stream, galv_comm *comm, const void *data,
                 size_t n, galv_element type, int32_t to)
{
    message(b, stream, comm, true, (void *)data, n, type, to);
}

static void recv(galv_backend *b, galv_stream stream, galv_comm *comm, void *data,
                 size_t n, galv_element type, int32_t from)
{
    message(b, stream, comm, false, data, n, type, from);
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
        nccl_ok(c, c->base.rank == 0 ? ncclGetUniqueId(&id) : ncclSuccess,
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
    return init_nccl(c, &links->control, &id, c->base.n_ranks, c->base.rank, 1);
}

/* The end of a communicator is collective: all ranks end theirs in one order, by the
 * lower rank of the pair, then by the higher. `pairs` are those of this rank, so by
 * peer is that order. */
static int compare_pairs(const void *a, const void *b)
{
    const cuda_pair *x = *(const cuda_pair *const *)a;
    const cuda_pair *y = *(const cuda_pair *const *)b;
    return x->peer < y->peer ? -1 : x->peer > y->peer;
}

void galv_cuda_links_free(galv_cuda *c)
{
    struct cuda_links *links = c->links;
    if (links == nullptr) {
        return;
    }
    if (links->n_pairs > 1) {
        qsort(links->pairs, links->n_pairs, sizeof *links->pairs, compare_pairs);
    }
    for (size_t i = 0; i < links->n_pairs; i++) {
        cuda_pair *pair = links->pairs[i];
        bool lower = c->base.rank < pair->peer;
        free_side(c, lower ? &pair->out : &pair->in);
        free_side(c, lower ? &pair->in : &pair->out);
        free(pair);
    }
    if (links->control != nullptr) {
        end_nccl(c, links->control);
    }
    if (links->control_buffer != nullptr) {
        cudaFree(links->control_buffer);
    }
    if (links->control_stream != nullptr) {
        cudaStreamDestroy(links->control_stream);
    }
    free(links->pairs);
    free(links->all);
    free(links);
    c->links = nullptr;
}

void galv_cuda_fill_comm(galv_backend *b)
{
    b->comm_new = comm_new;
    b->comm_free = comm_free;
    b->all_reduce = all_reduce;
    b->all_gather = all_gather;
    b->reduce_scatter = reduce_scatter;
    b->broadcast = broadcast;
    b->all_to_all = all_to_all;
    b->send = send;
    b->recv = recv;
}

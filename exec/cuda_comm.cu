/* Communicators and collectives of the CUDA backend: NCCL (cuda_links.cu makes its
 * communicators, cuda_messages.cu passes messages).
 *
 * Numbers. Sums of elements are taken in bf16 at every hop of NCCL's rings and trees;
 * their order depends on the topology, but not on arrival.
 *
 * State: it compiles; it has not yet run on a device. */
#include "exec/cuda_links.cuh"

#include <stdlib.h>
#include <string.h>

/* ---- communicators ---- */

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
        galv_nccl_end(c, comm->nccl);
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
        if (comm->index > 0 || galv_nccl_ok(c, ncclGetUniqueId(&id), "make an id")) {
            if (galv_nccl_pass(c, &id, sizeof id, ranks, n_ranks)) {
                galv_nccl_init(c, &comm->nccl, &id, n_ranks, comm->index, 0);
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
    galv_nccl_ok(c,
                 ncclAllReduce(data, data, n, galv_nccl_type(type),
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
    galv_nccl_ok(
        c,
        ncclAllGather(in, out, n, galv_nccl_type(type), comm->nccl, c->streams[stream]),
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
    galv_nccl_ok(c,
                 ncclReduceScatter(in, out, n, galv_nccl_type(type), ncclSum,
                                   comm->nccl, c->streams[stream]),
                 "reduce-scatter");
}

static void broadcast(galv_backend *b, galv_stream stream, galv_comm *comm, void *data,
                      size_t n, galv_element type, int32_t root)
{
    galv_cuda *c = galv_cuda_of(b);
    if (!galv_cuda_enter(b, stream, data) || n == 0 || comm->n_ranks == 1) {
        return;
    }
    galv_nccl_ok(c,
                 ncclBroadcast(data, data, n, galv_nccl_type(type), root, comm->nccl,
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
    bool good = galv_nccl_ok(c, ncclGroupStart(), "all-to-all");
    for (int32_t i = 1; good && i < comm->n_ranks; i++) {
        int32_t to = (own + i) % comm->n_ranks;
        int32_t from = (own + comm->n_ranks - i) % comm->n_ranks;
        size_t n_out = (size_t)(send_begin[to + 1] - send_begin[to]);
        size_t n_in = (size_t)(recv_begin[from + 1] - recv_begin[from]);
        if (n_out > 0) {
            good = galv_nccl_ok(
                c,
                ncclSend((const char *)in + (size_t)send_begin[to] * size, n_out,
                         galv_nccl_type(type), to, comm->nccl, queue),
                "all-to-all");
        }
        if (good && n_in > 0) {
            good = galv_nccl_ok(c,
                                ncclRecv((char *)out + (size_t)recv_begin[from] * size,
                                         n_in, galv_nccl_type(type), from, comm->nccl,
                                         queue),
                                "all-to-all");
        }
    }
    galv_nccl_ok(c, ncclGroupEnd(), "all-to-all");
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
    galv_cuda_fill_messages(b);
}

/* Messages of the CUDA backend: NCCL, pair by pair.
 *
 * Operations of one NCCL communicator run one after another whatever their
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
 * State: it compiles; it has not yet run on a device. */
#include "exec/cuda_links.cuh"

#include <stdlib.h>
#include <string.h>

/* ---- pairs ---- */

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
           galv_nccl_init(c, &side->nccl, id, 2, index, 8);
}

static void free_side(galv_cuda *c, cuda_side *side)
{
    if (side->nccl != nullptr) {
        galv_nccl_end(c, side->nccl);
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
    if (lower && !(galv_nccl_ok(c, ncclGetUniqueId(&ids[0]), "make an id") &&
                   galv_nccl_ok(c, ncclGetUniqueId(&ids[1]), "make an id"))) {
        return false;
    }
    cuda_side *first = lower ? &pair->out : &pair->in;
    cuda_side *second = lower ? &pair->in : &pair->out;
    return galv_nccl_pass(c, ids, sizeof ids, ranks, 2) &&
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

/* ---- messages ---- */

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
        out ? ncclSend(data, n, galv_nccl_type(type), other, side->nccl, side->stream)
            : ncclRecv(data, n, galv_nccl_type(type), other, side->nccl, side->stream);
    if (galv_nccl_ok(c, result, what) &&
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

/* The end of a communicator is collective: all ranks end theirs in one order, by the
 * lower rank of the pair, then by the higher. `pairs` are those of this rank, so by
 * peer is that order. */
static int compare_pairs(const void *a, const void *b)
{
    const cuda_pair *x = *(const cuda_pair *const *)a;
    const cuda_pair *y = *(const cuda_pair *const *)b;
    return x->peer < y->peer ? -1 : x->peer > y->peer;
}

void galv_cuda_free_pairs(galv_cuda *c)
{
    struct cuda_links *links = c->links;
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
    free(links->pairs);
    links->pairs = nullptr;
    links->n_pairs = 0;
}

void galv_cuda_fill_messages(galv_backend *b)
{
    b->send = send;
    b->recv = recv;
}

/* Communication of the host backend: collectives of our own out of nonblocking
 * messages.
 *
 * Why not MPI's own: their sums may come in an order that depends on who is early, and
 * a run that is restarted must give the same bits; and they must be started in one
 * order on all ranks, which streams do not give. Here every sum goes over ranks in
 * ascending order, the same for all_reduce and reduce_scatter; messages find each other
 * by a tag that counts the operations of the communicator as they are queued.
 *
 * All ranks exchange directly with all others: a rank sends (n - 1)/n of the data for
 * reduce_scatter and all_gather, twice that for all_reduce (which is both), what a ring
 * sends too, in one or two steps instead of n - 1; memory for the blocks of the others
 * is taken from the system and is not counted. The broadcast is flat. */
#include "exec/host_internal.h"

#include <stdlib.h>
#include <string.h>

struct galv_comm {
    int32_t n_ranks, index; /* this rank's place */
    int32_t *ranks;         /* [n_ranks] of the world */
    galv_channel *channel;  /* NULL for one rank */
    int64_t n_collectives;
    int64_t *n_sent, *n_received; /* messages queued, by rank */
};

/* Less than this is reduced by everyone from everyone's whole data, in one step. */
enum { SMALL_VALUES = 512 };
/* Of one letter. */
static const size_t most_values = (size_t)1 << 30;

/* ---- communicators ---- */

static void comm_free(galv_backend *b, galv_comm *comm)
{
    if (comm == NULL) {
        return;
    }
    host *h = (host *)b;
    if (h->err.status == GALV_OK) {
        b->synchronize(b);
    }
    if (h->err.status != GALV_OK && comm->channel != NULL) {
        return; /* its messages may be under way: left to the end of the process */
    }
    if (comm->channel != NULL) {
        h->mail->close(h->mail, comm->channel);
    }
    free(comm->n_sent);
    free(comm->ranks);
    free(comm);
}

/* Its channel: none for one rank. */
static bool connect_ranks(host *h, galv_comm *comm, const int32_t *ranks)
{
    if (comm->n_ranks > 1 && h->mail != NULL) {
        comm->channel = h->mail->open(h->mail, ranks, comm->n_ranks);
    }
    return comm->n_ranks == 1 || comm->channel != NULL;
}

static galv_comm *comm_new(galv_backend *b, const int32_t *ranks, int32_t n_ranks)
{
    host *h = (host *)b;
    if (h->err.status != GALV_OK) {
        return NULL;
    }
    galv_comm *comm = calloc(1, sizeof *comm);
    int64_t *counts = calloc(2 * (size_t)(n_ranks > 0 ? n_ranks : 1), sizeof *counts);
    int32_t *copy = calloc((size_t)(n_ranks > 0 ? n_ranks : 1), sizeof *copy);
    if (comm == NULL || counts == NULL || copy == NULL) {
        free(comm);
        free(counts);
        free(copy);
        galv_host_fail(h, GALV_NO_MEMORY, "out of memory");
        return NULL;
    }
    *comm = (galv_comm){.n_ranks = n_ranks,
                        .index = -1,
                        .ranks = copy,
                        .n_sent = counts,
                        .n_received = counts + n_ranks};
    for (int32_t i = 0; i < n_ranks; i++) {
        copy[i] = ranks[i];
        if (ranks[i] == b->rank) {
            comm->index = i;
        }
    }
    if (comm->index < 0) {
        galv_host_fail(h, GALV_INTERNAL, "a communicator without this rank");
    } else if (!connect_ranks(h, comm, ranks)) {
        galv_host_fail(h, GALV_IO, "no communicator could be made");
    }
    if (h->err.status != GALV_OK) {
        comm_free(b, comm);
        return NULL;
    }
    return comm;
}

/* ---- messages ---- */

static bool more_letters(host *h, host_item *item)
{
    if (item->n_letters < item->n_allocated) {
        return true;
    }
    int n = item->n_allocated < 8 ? 8 : 2 * item->n_allocated;
    galv_letter *letters = realloc(item->letters, (size_t)n * sizeof *letters);
    if (letters == NULL) {
        galv_host_fail(h, GALV_NO_MEMORY, "out of memory");
        return false;
    }
    item->letters = letters;
    item->n_allocated = n;
    return true;
}

/* What goes over the slow link goes there one after another, each way by itself. */
static void take_time(host *h, host_item *item, int32_t peer, bool out, size_t n)
{
    if (item->comm->ranks[peer] == h->slow_peer && n > 0) {
        double *until_s = &h->slow_until_s[out ? 0 : 1];
        double now_s = galv_host_now_s();
        double begin_s = *until_s > now_s ? *until_s : now_s;
        *until_s = begin_s + (double)(n * HOST_VALUE_BYTES) / h->slow_bytes_per_s;
        item->not_before_s =
            *until_s > item->not_before_s ? *until_s : item->not_before_s;
    }
}

/* Posts the send (from != NULL) or the receive of n values to or from a rank. */
static void post(host *h, host_item *item, int32_t peer, const char *from, char *to,
                 size_t n)
{
    galv_channel *channel = item->comm->channel;
    take_time(h, item, peer, from != NULL, n);
    if (!item->is_long && n > HOST_LONG / HOST_VALUE_BYTES) {
        item->is_long = true;
        h->n_long++;
    }
    while (n > 0 && h->err.status == GALV_OK && more_letters(h, item)) {
        size_t now = n < most_values ? n : most_values;
        galv_letter *letter = &item->letters[item->n_letters];
        bool posted =
            from != NULL
                ? h->mail->send(h->mail, letter, channel, peer, item->tag, from, now)
                : h->mail->receive(h->mail, letter, channel, peer, item->tag, to, now);
        if (!posted) {
            galv_host_fail(h, GALV_IO, "communication failed: a rank has gone?");
            return;
        }
        item->n_letters++;
        n -= now;
        from = from != NULL ? from + now * HOST_VALUE_BYTES : NULL;
        to = to != NULL ? to + now * HOST_VALUE_BYTES : NULL;
    }
}

static const char *block_in(const host_item *item, size_t first)
{
    return item->in + first * HOST_VALUE_BYTES;
}

static char *block_out(const host_item *item, size_t first)
{
    return item->out + first * HOST_VALUE_BYTES;
}

static void move(char *to, const char *from, size_t n)
{
    if (to != from && n > 0) {
        memmove(to, from, n * HOST_VALUE_BYTES);
    }
}

/* The i-th of the other ranks, each rank beginning with the one after itself. */
static int32_t other(const galv_comm *comm, int32_t i)
{
    return (comm->index + 1 + i) % comm->n_ranks;
}

/* ---- sums ---- */

static void reduce_float(float *sum, const float *x, size_t n, galv_reduction reduction)
{
    if (reduction == GALV_SUM) {
        for (size_t i = 0; i < n; i++) {
            sum[i] += x[i];
        }
    } else {
        for (size_t i = 0; i < n; i++) {
            sum[i] = x[i] > sum[i] ? x[i] : sum[i];
        }
    }
}

static void reduce_int(int32_t *sum, const int32_t *x, size_t n,
                       galv_reduction reduction)
{
    for (size_t i = 0; i < n; i++) {
        if (reduction == GALV_SUM) {
            sum[i] += x[i];
        } else {
            sum[i] = x[i] > sum[i] ? x[i] : sum[i];
        }
    }
}

/* out[n] = the blocks of all ranks, in their order: ours at `own`, that of another rank
 * in item->work at its place (ours there is free, and holds the sum meanwhile). */
static void reduce_blocks(const host_item *item, char *out, const char *own, size_t n)
{
    const galv_comm *comm = item->comm;
    size_t bytes = n * HOST_VALUE_BYTES;
    if (n == 0) {
        return;
    }
    char *ours = item->work + (size_t)comm->index * bytes;
    memcpy(ours, own, bytes);
    for (int32_t rank = 0; rank < comm->n_ranks; rank++) {
        const char *block = item->work + (size_t)rank * bytes;
        if (rank == 0) {
            memcpy(out, block, bytes);
        } else if (item->type == GALV_INT32) {
            reduce_int((void *)out, (const void *)block, n, item->reduction);
        } else {
            reduce_float((void *)out, (const void *)block, n, item->reduction);
        }
    }
}

static bool take_work(host *h, host_item *item, size_t n)
{
    item->work = malloc(n * (size_t)item->comm->n_ranks * HOST_VALUE_BYTES + 1);
    if (item->work == NULL) {
        galv_host_fail(h, GALV_NO_MEMORY, "out of memory");
    }
    return item->work != NULL;
}

/* ---- the operations, as steps ---- */

/* Rank i sums the values [share(i), share(i + 1)). */
static size_t share(const host_item *item, int32_t rank)
{
    size_t n_ranks = (size_t)item->comm->n_ranks;
    size_t each = item->n / n_ranks;
    size_t rest = item->n % n_ranks;
    size_t before = (size_t)rank;
    return before * each + (before < rest ? before : rest);
}

static bool step_small_all_reduce(host *h, host_item *item)
{
    const galv_comm *comm = item->comm;
    if (comm->n_ranks == 1) {
        return true;
    }
    if (item->phase == 0) {
        if (!take_work(h, item, item->n)) {
            return false;
        }
        for (int32_t i = 0; i < comm->n_ranks - 1; i++) {
            int32_t rank = other(comm, i);
            post(h, item, rank, NULL,
                 item->work + (size_t)rank * item->n * HOST_VALUE_BYTES, item->n);
            post(h, item, rank, item->out, NULL, item->n);
        }
        return false;
    }
    reduce_blocks(item, item->out, item->out, item->n);
    return true;
}

static bool step_all_reduce(host *h, host_item *item)
{
    const galv_comm *comm = item->comm;
    size_t begin = share(item, comm->index);
    size_t n = share(item, comm->index + 1) - begin;
    if (comm->n_ranks == 1 || item->phase == 2) {
        return true;
    }
    if (item->phase == 0 && !take_work(h, item, n)) {
        return false;
    }
    if (item->phase == 1) {
        reduce_blocks(item, block_out(item, begin), block_out(item, begin), n);
    }
    for (int32_t i = 0; i < comm->n_ranks - 1; i++) {
        int32_t rank = other(comm, i);
        size_t theirs = share(item, rank);
        size_t n_theirs = share(item, rank + 1) - theirs;
        if (item->phase == 0) {
            post(h, item, rank, NULL, item->work + (size_t)rank * n * HOST_VALUE_BYTES,
                 n);
            post(h, item, rank, block_out(item, theirs), NULL, n_theirs);
        } else {
            post(h, item, rank, NULL, block_out(item, theirs), n_theirs);
            post(h, item, rank, block_out(item, begin), NULL, n);
        }
    }
    return false;
}

static bool step_all_gather(host *h, host_item *item)
{
    const galv_comm *comm = item->comm;
    if (item->phase == 1) {
        return true;
    }
    char *own = block_out(item, (size_t)comm->index * item->n);
    move(own, item->in, item->n);
    for (int32_t i = 0; i < comm->n_ranks - 1; i++) {
        int32_t rank = other(comm, i);
        post(h, item, rank, NULL, block_out(item, (size_t)rank * item->n), item->n);
        post(h, item, rank, own, NULL, item->n);
    }
    return false;
}

static bool step_reduce_scatter(host *h, host_item *item)
{
    const galv_comm *comm = item->comm;
    if (item->phase == 1) {
        reduce_blocks(item, item->out, block_in(item, (size_t)comm->index * item->n),
                      item->n);
        return true;
    }
    if (!take_work(h, item, item->n)) {
        return false;
    }
    for (int32_t i = 0; i < comm->n_ranks - 1; i++) {
        int32_t rank = other(comm, i);
        post(h, item, rank, NULL,
             item->work + (size_t)rank * item->n * HOST_VALUE_BYTES, item->n);
        post(h, item, rank, block_in(item, (size_t)rank * item->n), NULL, item->n);
    }
    return false;
}

static bool step_broadcast(host *h, host_item *item)
{
    const galv_comm *comm = item->comm;
    if (item->phase == 1) {
        return true;
    }
    if (comm->index != item->peer) {
        post(h, item, item->peer, NULL, item->out, item->n);
        return false;
    }
    for (int32_t i = 0; i < comm->n_ranks - 1; i++) {
        post(h, item, other(comm, i), item->out, NULL, item->n);
    }
    return false;
}

static bool step_all_to_all(host *h, host_item *item)
{
    const galv_comm *comm = item->comm;
    if (item->phase == 1) {
        return true;
    }
    const int64_t *send_begin = item->begins;
    const int64_t *recv_begin = item->begins + comm->n_ranks + 1;
    int32_t own = comm->index;
    move(block_out(item, (size_t)recv_begin[own]),
         block_in(item, (size_t)send_begin[own]),
         (size_t)(recv_begin[own + 1] - recv_begin[own]));
    for (int32_t i = 0; i < comm->n_ranks - 1; i++) {
        int32_t rank = other(comm, i);
        post(h, item, rank, NULL, block_out(item, (size_t)recv_begin[rank]),
             (size_t)(recv_begin[rank + 1] - recv_begin[rank]));
        post(h, item, rank, block_in(item, (size_t)send_begin[rank]), NULL,
             (size_t)(send_begin[rank + 1] - send_begin[rank]));
    }
    return false;
}

static bool step_message(host *h, host_item *item)
{
    if (item->phase == 0) {
        post(h, item, item->peer, item->in, item->out, item->n);
    }
    return item->phase == 1;
}

/* ---- queueing ---- */

/* An item for a communication, or NULL after an error. */
static host_item *item_for(galv_backend *b, galv_comm *comm, host_step *step, size_t n,
                           galv_element type)
{
    host *h = (host *)b;
    if (h->err.status != GALV_OK) {
        return NULL;
    }
    host_item *item = galv_host_item_new(h, HOST_COMMUNICATE);
    if (item != NULL) {
        item->step = step;
        item->comm = comm;
        item->n = n;
        item->type = type;
        item->tag = h->n_tags > 0 ? (int)(comm->n_collectives++ % h->n_tags) * 2 : 0;
    }
    return item;
}

static void all_reduce(galv_backend *b, galv_stream stream, galv_comm *comm, void *data,
                       size_t n, galv_element type, galv_reduction reduction)
{
    host_step *step = n < SMALL_VALUES ? step_small_all_reduce : step_all_reduce;
    host_item *item = item_for(b, comm, step, n, type);
    if (item != NULL) {
        item->out = data;
        item->reduction = reduction;
        galv_host_push((host *)b, stream, item);
    }
}

static void all_gather(galv_backend *b, galv_stream stream, galv_comm *comm, void *out,
                       const void *in, size_t n, galv_element type)
{
    host_item *item = item_for(b, comm, step_all_gather, n, type);
    if (item != NULL) {
        item->out = out;
        item->in = in;
        galv_host_push((host *)b, stream, item);
    }
}

static void reduce_scatter(galv_backend *b, galv_stream stream, galv_comm *comm,
                           void *out, const void *in, size_t n, galv_element type)
{
    host_item *item = item_for(b, comm, step_reduce_scatter, n, type);
    if (item != NULL) {
        item->out = out;
        item->in = in;
        item->reduction = GALV_SUM;
        galv_host_push((host *)b, stream, item);
    }
}

static void broadcast(galv_backend *b, galv_stream stream, galv_comm *comm, void *data,
                      size_t n, galv_element type, int32_t root)
{
    host_item *item = item_for(b, comm, step_broadcast, n, type);
    if (item != NULL) {
        item->out = data;
        item->peer = root;
        galv_host_push((host *)b, stream, item);
    }
}

static void all_to_all(galv_backend *b, galv_stream stream, galv_comm *comm, void *out,
                       const int64_t *recv_begin, const void *in,
                       const int64_t *send_begin, galv_element type)
{
    host_item *item = item_for(b, comm, step_all_to_all, 0, type);
    if (item == NULL) {
        return;
    }
    size_t n = (size_t)comm->n_ranks + 1;
    item->begins = malloc(2 * n * sizeof *item->begins);
    if (item->begins == NULL) {
        galv_host_fail((host *)b, GALV_NO_MEMORY, "out of memory");
    } else {
        memcpy(item->begins, send_begin, n * sizeof *send_begin);
        memcpy(item->begins + n, recv_begin, n * sizeof *recv_begin);
        item->out = out;
        item->in = in;
    }
    galv_host_push((host *)b, stream, item);
}

static void message(galv_backend *b, galv_stream stream, galv_comm *comm, bool out,
                    const void *from, void *to, size_t n, galv_element type,
                    int32_t peer)
{
    host *h = (host *)b;
    if (h->err.status != GALV_OK) {
        return;
    }
    if (peer < 0 || peer >= comm->n_ranks || peer == comm->index) {
        galv_host_fail(h, GALV_INTERNAL, "a message to oneself or to nobody");
        return;
    }
    host_item *item = galv_host_item_new(h, HOST_MESSAGE);
    if (item == NULL) {
        return;
    }
    int64_t *count = out ? &comm->n_sent[peer] : &comm->n_received[peer];
    item->step = step_message;
    item->comm = comm;
    item->tag = (int)((*count)++ % h->n_tags) * 2 + 1;
    item->peer = peer;
    item->in = from;
    item->out = to;
    item->n = n;
    item->type = type;
    galv_host_push(h, stream, item);
}

static void send(galv_backend *b, galv_stream stream, galv_comm *comm, const void *data,
                 size_t n, galv_element type, int32_t to)
{
    message(b, stream, comm, true, data, NULL, n, type, to);
}

static void recv(galv_backend *b, galv_stream stream, galv_comm *comm, void *data,
                 size_t n, galv_element type, int32_t from)
{
    message(b, stream, comm, false, NULL, data, n, type, from);
}

void galv_host_fill_comm(galv_backend *b)
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

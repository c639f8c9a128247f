/* From plan to plan by messages: every rank tells all which pieces it has and which it
 * wants; then, layer by layer, each finds for itself what to send to whom, in an order
 * that the receiver finds, too. Nothing but one layer's share is in flight, and on the
 * device, at a time. */
#include "exec/state.h"

#include <stdlib.h>
#include <string.h>

/* The pieces of all ranks. */
typedef struct directory {
    int64_t *n;         /* [n_ranks] */
    int64_t most;       /* of a rank */
    galv_piece *pieces; /* [n_ranks][most] */
} directory;

typedef struct exchange {
    galv_worker *w;
    galv_state *to;
    const galv_state *from;
    directory has, wants;
    galv_comm *comm;
    int64_t *send_begin, *recv_begin; /* [n_ranks + 1] */
    float *out, *in;                  /* of the host: sent, received */
    size_t out_room, in_room;
    int64_t n_filled;
} exchange;

static galv_status tell_pieces(directory *d, const galv_state *state, galv_worker *w,
                               galv_err *err)
{
    size_t n_ranks = (size_t)w->b->n_ranks;
    d->n = calloc(n_ranks, sizeof *d->n);
    if (d->n == NULL) {
        galv_fail(err, GALV_NO_MEMORY, "no memory for pieces");
    }
    if (galv_world_agree(w->world, err) != GALV_OK ||
        galv_world_all_gather(w->world, d->n, &state->n_pieces, sizeof *d->n, err) !=
            GALV_OK) {
        return err->status;
    }
    for (size_t rank = 0; rank < n_ranks; rank++) {
        d->most = d->n[rank] > d->most ? d->n[rank] : d->most;
    }
    size_t bytes = (size_t)d->most * sizeof *d->pieces;
    galv_piece *mine = calloc((size_t)d->most + 1, sizeof *mine);
    d->pieces = malloc(n_ranks * bytes + 1);
    if (mine == NULL || d->pieces == NULL) {
        galv_fail(err, GALV_NO_MEMORY, "no memory for pieces");
    } else {
        memcpy(mine, state->pieces, (size_t)state->n_pieces * sizeof *mine);
    }
    if (galv_world_agree(w->world, err) == GALV_OK) {
        galv_world_all_gather(w->world, d->pieces, mine, bytes, err);
    }
    free(mine);
    return err->status;
}

/* A pass over the overlaps of two lists: counts values, packs or unpacks an array. */
typedef struct pass {
    const float *from; /* packs: of the piece that has them */
    float *to;         /* unpacks: of the piece that wants them */
    float *buffer;     /* NULL: counts only */
    int64_t n;
} pass;

static void visit_run(void *context, int64_t at_has, int64_t at_wants, int64_t n)
{
    pass *p = context;
    if (p->buffer != NULL && p->from != NULL) {
        memcpy(p->buffer + p->n, p->from + at_has, (size_t)n * sizeof(float));
    } else if (p->buffer != NULL) {
        memcpy(p->to + at_wants, p->buffer + p->n, (size_t)n * sizeof(float));
    }
    p->n += n;
}

/* Of a layer, what rank `sender` has that rank `receiver` wants; `from` and `to` are
 * the values of the one of them that is this rank. Returns how many values. */
static int64_t pass_over(const exchange *x, int32_t layer, int32_t sender,
                         int32_t receiver, const float *from, float *to, float *buffer)
{
    pass p = {.buffer = buffer};
    const galv_piece *has = x->has.pieces + sender * x->has.most;
    const galv_piece *wants = x->wants.pieces + receiver * x->wants.most;
    for (int64_t i = 0; i < x->has.n[sender]; i++) {
        for (int64_t k = 0; has[i].layer == layer && k < x->wants.n[receiver]; k++) {
            p.from = from != NULL ? from + has[i].offset : NULL;
            p.to = to != NULL ? to + wants[k].offset : NULL;
            galv_piece_overlap(&has[i], &wants[k], visit_run, &p);
        }
    }
    return p.n;
}

static void grow(float **buffer, size_t *room, int64_t n)
{
    if ((size_t)n + 1 > *room) {
        free(*buffer);
        *room = (size_t)n + 1;
        *buffer = malloc(*room * sizeof **buffer);
    }
}

/* One array of one layer, its counts known. */
static void exchange_array(exchange *x, int32_t layer, int array)
{
    galv_backend *b = x->w->b;
    int32_t me = b->rank;
    int64_t n_out = x->send_begin[b->n_ranks];
    int64_t n_in = x->recv_begin[b->n_ranks];
    for (int32_t rank = 0; rank < b->n_ranks; rank++) {
        pass_over(x, layer, me, rank, x->from->values[array], NULL,
                  x->out + x->send_begin[rank]);
    }
    float *sent = b->allocate(b, (size_t)n_out * sizeof(float));
    float *received = b->allocate(b, (size_t)n_in * sizeof(float));
    if (sent != NULL && received != NULL) {
        b->upload(b, sent, x->out, (size_t)n_out, GALV_FLOAT32);
        b->all_to_all(b, GALV_STREAM_COMPUTE, x->comm, received, x->recv_begin, sent,
                      x->send_begin, GALV_FLOAT32);
        b->synchronize(b);
        b->download(b, x->in, received, (size_t)n_in, GALV_FLOAT32);
    }
    if (sent != NULL) {
        b->release(b, sent, GALV_STREAM_COMPUTE);
    }
    if (received != NULL) {
        b->release(b, received, GALV_STREAM_COMPUTE);
    }
    for (int32_t rank = 0; rank < b->n_ranks; rank++) {
        pass_over(x, layer, rank, me, NULL, x->to->values[array],
                  x->in + x->recv_begin[rank]);
    }
}

static galv_status exchange_layer(exchange *x, int32_t layer, galv_err *err)
{
    galv_backend *b = x->w->b;
    for (int32_t rank = 0; rank < b->n_ranks; rank++) {
        x->send_begin[rank + 1] =
            x->send_begin[rank] + pass_over(x, layer, b->rank, rank, NULL, NULL, NULL);
        x->recv_begin[rank + 1] =
            x->recv_begin[rank] + pass_over(x, layer, rank, b->rank, NULL, NULL, NULL);
    }
    grow(&x->out, &x->out_room, x->send_begin[b->n_ranks]);
    grow(&x->in, &x->in_room, x->recv_begin[b->n_ranks]);
    if (b->status(b, err) == GALV_OK && (x->out == NULL || x->in == NULL)) {
        galv_fail(err, GALV_NO_MEMORY, "no memory to move layer %d", (int)layer);
    }
    if (galv_world_agree(x->w->world, err) != GALV_OK) {
        return err->status;
    }
    for (int array = 0; array < GALV_STATE_ARRAYS; array++) {
        exchange_array(x, layer, array);
    }
    x->n_filled += x->recv_begin[b->n_ranks];
    return GALV_OK; /* an error of one rank is told where all meet next */
}

static galv_status prepare(exchange *x, galv_err *err)
{
    galv_backend *b = x->w->b;
    size_t n_ranks = (size_t)b->n_ranks;
    int32_t *ranks = calloc(n_ranks, sizeof *ranks);
    x->send_begin = calloc(n_ranks + 1, sizeof *x->send_begin);
    x->recv_begin = calloc(n_ranks + 1, sizeof *x->recv_begin);
    if (ranks == NULL || x->send_begin == NULL || x->recv_begin == NULL) {
        galv_fail(err, GALV_NO_MEMORY, "no memory to move the state");
    }
    if (galv_world_agree(x->w->world, err) == GALV_OK) {
        for (int32_t rank = 0; rank < b->n_ranks; rank++) {
            ranks[rank] = rank;
        }
        x->comm = b->comm_new(b, ranks, b->n_ranks);
        b->status(b, err);
        galv_world_agree(x->w->world, err);
    }
    free(ranks);
    if (err->status == GALV_OK) {
        tell_pieces(&x->has, x->from, x->w, err);
    }
    if (err->status == GALV_OK) {
        tell_pieces(&x->wants, x->to, x->w, err);
    }
    return err->status;
}

galv_status galv_state_exchange(galv_state *to, const galv_state *from,
                                int32_t n_layers, galv_worker *worker, galv_err *err)
{
    exchange x = {.w = worker, .to = to, .from = from};
    galv_status status = prepare(&x, err);
    for (int32_t layer = 0; layer < n_layers && status == GALV_OK; layer++) {
        status = exchange_layer(&x, layer, err);
    }
    if (worker->b->status(worker->b, err) == GALV_OK && status == GALV_OK &&
        x.n_filled != to->n_values) {
        galv_fail(err, GALV_INTERNAL, "of %lld values of the new plan %lld came",
                  (long long)to->n_values, (long long)x.n_filled);
    }
    if (x.comm != NULL) {
        worker->b->comm_free(worker->b, x.comm);
    }
    directory *directories[] = {&x.has, &x.wants};
    for (int i = 0; i < 2; i++) {
        free(directories[i]->n);
        free(directories[i]->pieces);
    }
    free(x.send_begin);
    free(x.recv_begin);
    free(x.out);
    free(x.in);
    return galv_world_agree(worker->world, err);
}

/* Counting on the host.
 *
 * The copies that a rank sends are ordered by (expert, row, choice); experts are dealt
 * out over the ep ranks in runs, so a rank's copies are a run, too. What arrives is
 * ordered by (rank, expert): the counts of both sides, exchanged first, say where each
 * expert's copies lie. */
#include "exec/routing.h"

#include <stdlib.h>
#include <string.h>

size_t galv_experts_here(const galv_layer_work *layer)
{
    return (size_t)(layer->group->num_experts / layer->place->strategy.ep);
}

void galv_routed_free(galv_worker *w, galv_routed *r)
{
    if (r == NULL) {
        return;
    }
    void **owned[] = {&r->sent,   &r->x,      &r->wide,     &r->active,
                      &r->answer, &r->shared, &r->returned, &r->dy,
                      &r->dwide,  &r->dsent,  &r->dlogits,  &r->dx};
    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++) {
        GALV_DROP(w, *owned[i]);
    }
    GALV_DROP(w, r->experts);
    GALV_DROP(w, r->weights);
    GALV_DROP(w, r->dispatch);
    GALV_DROP(w, r->place);
    GALV_DROP(w, r->sort);
    GALV_DROP(w, r->unsort);
    GALV_DROP(w, r->dweights);
    free(r->send_begin);
    free(r->recv_begin);
    free(r->expert_begin);
    free(r);
}

/* Scratch on the host. */
typedef struct counting {
    int32_t *experts;  /* [n_rows * topk] */
    int32_t *next;     /* [n_experts + 1] */
    int32_t *mine;     /* [n_experts] copies that I send to each */
    int32_t *theirs;   /* [ep * experts here] copies that come, by (rank, expert) */
    int32_t *dispatch; /* [n_rows * topk] */
    int32_t *place;    /* [n_rows * topk] */
    int32_t *sort;     /* [n_received] */
    int32_t *unsort;
} counting;

static void free_counting(counting *c)
{
    free(c->experts);
    free(c->next);
    free(c->mine);
    free(c->theirs);
    free(c->dispatch);
    free(c->place);
    free(c->sort);
    free(c->unsort);
}

/* Order of what is sent, from the chosen experts. */
static void order_sent(galv_routed *r, counting *c, int32_t n_experts, size_t topk,
                       int32_t ep)
{
    size_t n = r->n_rows * topk;
    int32_t here = n_experts / ep;
    for (size_t i = 0; i < n; i++) {
        c->mine[c->experts[i]]++;
    }
    for (int32_t e = 0; e < n_experts; e++) {
        c->next[e + 1] = c->next[e] + c->mine[e];
    }
    for (int32_t rank = 0; rank <= ep; rank++) {
        r->send_begin[rank] = c->next[rank * here];
    }
    for (size_t i = 0; i < n; i++) {
        int32_t at = c->next[c->experts[i]]++;
        c->place[i] = at;
        c->dispatch[at] = (int32_t)(i / topk);
    }
}

/* Copies that come, by (rank, expert): exchanged through the device. */
static void exchange_counts(galv_worker *w, const galv_layer_work *layer, counting *c)
{
    galv_backend *b = w->b;
    int32_t ep = layer->place->strategy.ep;
    size_t here = galv_experts_here(layer);
    size_t n = here * (size_t)ep;
    if (ep == 1) {
        memcpy(c->theirs, c->mine, n * sizeof *c->theirs);
        return;
    }
    int32_t *out = galv_take_ints(w, n);
    int32_t *in = galv_take_ints(w, n);
    for (int32_t i = 0; i <= ep; i++) {
        w->counts[i] = (int64_t)here * i;
    }
    b->upload(b, in, c->mine, n, GALV_INT32);
    galv_event start = galv_worker_begin(w, GALV_STREAM_EP);
    b->all_to_all(b, GALV_STREAM_EP, layer->groups->ep, out, w->counts, in, w->counts,
                  GALV_INT32);
    galv_worker_await(w, galv_worker_end(w, GALV_STREAM_EP, GALV_OP_ALL_TO_ALL,
                                         GALV_PART_ROUTER, layer->index, 4 * (double)n,
                                         start));
    b->synchronize(b);
    b->download(b, c->theirs, out, n, GALV_INT32);
    GALV_DROP(w, out);
    GALV_DROP(w, in);
}

/* Order by expert of what comes. */
static bool order_received(galv_routed *r, counting *c, size_t here, int32_t ep)
{
    r->recv_begin[0] = 0;
    for (int32_t rank = 0; rank < ep; rank++) {
        r->recv_begin[rank + 1] = r->recv_begin[rank];
        for (size_t e = 0; e < here; e++) {
            int32_t n = c->theirs[(size_t)rank * here + e];
            r->recv_begin[rank + 1] += n;
            r->expert_begin[e + 1] += n;
        }
    }
    r->n_received = (size_t)r->recv_begin[ep];
    c->sort = calloc(r->n_received + 1, sizeof *c->sort);
    c->unsort = calloc(r->n_received + 1, sizeof *c->unsort);
    if (c->sort == NULL || c->unsort == NULL) {
        return false;
    }
    int32_t to = 0;
    for (size_t e = 0; e < here; e++) {
        r->expert_begin[e + 1] += r->expert_begin[e];
        for (int32_t rank = 0; rank < ep; rank++) {
            int64_t from = r->recv_begin[rank];
            for (size_t before = 0; before < e; before++) {
                from += c->theirs[(size_t)rank * here + before];
            }
            for (int32_t i = 0; i < c->theirs[(size_t)rank * here + e]; i++) {
                c->sort[to] = (int32_t)from + i;
                c->unsort[from + i] = to++;
            }
        }
    }
    return true;
}

static int32_t *put(galv_worker *w, const int32_t *values, size_t n)
{
    int32_t *device = galv_take_ints(w, n);
    if (device != NULL) {
        w->b->upload(w->b, device, values, n, GALV_INT32);
    }
    return device;
}

/* Everything that the host works out. */
static bool plan_exchange(galv_worker *w, const galv_layer_work *layer, galv_routed *r)
{
    int32_t ep = layer->place->strategy.ep;
    int32_t n_experts = layer->group->num_experts;
    size_t topk = (size_t)layer->group->moe_router_topk;
    size_t here = galv_experts_here(layer);
    size_t n = r->n_rows * topk;
    counting c = {0};
    c.experts = calloc(n + 1, sizeof *c.experts);
    c.next = calloc((size_t)n_experts + 1, sizeof *c.next);
    c.mine = calloc((size_t)n_experts, sizeof *c.mine);
    c.theirs = calloc((size_t)n_experts, sizeof *c.theirs);
    c.dispatch = calloc(n + 1, sizeof *c.dispatch);
    c.place = calloc(n + 1, sizeof *c.place);
    r->send_begin = calloc((size_t)ep + 1, sizeof *r->send_begin);
    r->recv_begin = calloc((size_t)ep + 1, sizeof *r->recv_begin);
    r->expert_begin = calloc(here + 1, sizeof *r->expert_begin);
    bool ok = c.experts != NULL && c.next != NULL && c.mine != NULL &&
              c.theirs != NULL && c.dispatch != NULL && c.place != NULL &&
              r->send_begin != NULL && r->recv_begin != NULL && r->expert_begin != NULL;
    if (ok) {
        w->b->synchronize(w->b);
        w->b->download(w->b, c.experts, r->experts, n, GALV_INT32);
        ok = w->b->status(w->b, &w->err) == GALV_OK;
    }
    if (ok) {
        order_sent(r, &c, n_experts, topk, ep);
        exchange_counts(w, layer, &c);
        ok = w->b->status(w->b, &w->err) == GALV_OK && order_received(r, &c, here, ep);
    }
    if (ok) {
        r->n_sent = n;
        r->dispatch = put(w, c.dispatch, n);
        r->place = put(w, c.place, n);
        r->sort = put(w, c.sort, r->n_received);
        r->unsort = put(w, c.unsort, r->n_received);
    }
    free_counting(&c);
    return ok;
}

galv_routed *galv_route(galv_worker *w, galv_layer_work *layer, const void *x,
                        size_t first_row, size_t n_rows)
{
    galv_backend *b = w->b;
    size_t n_experts = (size_t)layer->group->num_experts;
    size_t topk = (size_t)layer->group->moe_router_topk;
    galv_routed *r = calloc(1, sizeof *r);
    if (r == NULL) {
        galv_fail(&w->err, GALV_NO_MEMORY, "no memory for routing");
        return NULL;
    }
    r->first_row = first_row;
    r->n_rows = n_rows;
    float *logits = galv_take_floats(w, n_rows * n_experts);
    r->experts = galv_take_ints(w, n_rows * topk);
    r->weights = galv_take_floats(w, n_rows * topk);
    b->gemm(b, GALV_STREAM_COMPUTE, false, true, n_rows, n_experts, layer->hidden, 1, x,
            galv_weights(b, &layer->tensors, GALV_TENSOR_ROUTER), 0, logits,
            GALV_FLOAT32);
    b->route(b, GALV_STREAM_COMPUTE, r->experts, r->weights, logits, n_rows,
             (int32_t)n_experts, (int32_t)topk);
    GALV_DROP(w, logits);
    if (!plan_exchange(w, layer, r)) {
        galv_fail(&w->err, GALV_NO_MEMORY, "no memory for routing");
        galv_routed_free(w, r);
        return NULL;
    }
    r->sent = galv_take(w, r->n_sent, layer->hidden);
    b->gather_rows(b, GALV_STREAM_COMPUTE, r->sent, x, r->dispatch, r->n_sent,
                   layer->hidden, GALV_ELEMENT);
    return r;
}

void *galv_exchange_tokens(galv_worker *w, const galv_layer_work *layer,
                           const galv_routed *r, void *in, bool there, int part)
{
    int32_t ep = layer->place->strategy.ep;
    int64_t h = (int64_t)layer->hidden;
    if (ep == 1) {
        return in;
    }
    int64_t *send = w->counts;
    int64_t *recv = w->counts + ep + 1;
    for (int32_t i = 0; i <= ep; i++) {
        send[i] = (there ? r->send_begin[i] : r->recv_begin[i]) * h;
        recv[i] = (there ? r->recv_begin[i] : r->send_begin[i]) * h;
    }
    void *out = galv_take(w, there ? r->n_received : r->n_sent, layer->hidden);
    galv_event start = galv_worker_begin(w, GALV_STREAM_EP);
    w->b->all_to_all(w->b, GALV_STREAM_EP, layer->groups->ep, out, recv, in, send,
                     GALV_ELEMENT);
    double bytes = (double)send[ep] * w->b->element_bytes;
    galv_worker_await(w, galv_worker_end(w, GALV_STREAM_EP, GALV_OP_ALL_TO_ALL, part,
                                         layer->index, bytes, start));
    GALV_DROP(w, in);
    return out;
}

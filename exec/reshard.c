/* Who sends which row to whom: each rank works the whole exchange out by itself, from
 * the places of all ranks of its stage, and keeps its part of it.
 *
 * Of the ranks that hold a token (they are tp neighbours under sp=none) the one with
 * the wanting rank's own number modulo their count gives it, which spreads the sending.
 * Both sides go through the wanted rows in the wanting rank's order, so messages need
 * no addresses. */
#include "exec/reshard.h"

#include <stdlib.h>
#include <string.h>

typedef struct exchange {
    int32_t n_ranks;
    galv_place *from, *to; /* [n_ranks] */
    int32_t *first_holder; /* [tokens] */
    int32_t *n_holders;    /* [tokens] */
    int32_t *row;          /* [tokens] among the own rows of its holders */
    int32_t *host_pack, *host_unpack, *source;
} exchange;

/* Fills who holds what. Holders of one token are neighbours: first_holder and on. */
static void find_holders(exchange *x, int64_t n_tokens)
{
    for (int64_t i = 0; i < n_tokens; i++) {
        x->n_holders[i] = 0;
    }
    for (int32_t rank = 0; rank < x->n_ranks; rank++) {
        const galv_place *p = &x->from[rank];
        for (int32_t i = 0; i < p->n_own_rows; i++) {
            int64_t token = galv_place_token(p, p->first_row + i);
            if (x->n_holders[token]++ == 0) {
                x->first_holder[token] = rank;
                x->row[token] = i;
            }
        }
    }
}

static int32_t source_of(const exchange *x, int64_t token, int32_t rank)
{
    int32_t first = x->first_holder[token];
    int32_t n = x->n_holders[token];
    return rank >= first && rank < first + n ? rank : first + rank % n;
}

/* This rank's messages, and whether anyone sends at all. */
static void work_out(galv_reshard *r, exchange *x, int32_t me)
{
    r->same = true;
    r->n_send = 0;
    for (int32_t rank = 0; rank < x->n_ranks; rank++) {
        const galv_place *p = &x->to[rank];
        r->send_begin[rank] = r->n_send;
        for (int32_t i = 0; i < p->n_own_rows; i++) {
            int64_t token = galv_place_token(p, p->first_row + i);
            int32_t source = source_of(x, token, rank);
            r->sends = r->sends || source != rank;
            r->same = r->same && source == rank && x->row[token] == i &&
                      p->n_own_rows == x->from[rank].n_own_rows;
            if (source == me) {
                x->host_pack[r->n_send++] = x->row[token];
            }
        }
    }
    r->send_begin[x->n_ranks] = r->n_send;
    const galv_place *p = &x->to[me];
    r->n_recv = p->n_own_rows;
    int32_t n = 0;
    for (int32_t rank = 0; rank < x->n_ranks; rank++) {
        r->recv_begin[rank] = n;
        for (int32_t i = 0; i < p->n_own_rows; i++) {
            int64_t token = galv_place_token(p, p->first_row + i);
            if (source_of(x, token, me) == rank) {
                x->host_unpack[i] = n++;
            }
        }
    }
    r->recv_begin[x->n_ranks] = n;
    if (!r->sends) { /* its own rows in the wanted order */
        for (int32_t i = 0; i < p->n_own_rows; i++) {
            x->host_pack[i] = x->row[galv_place_token(p, p->first_row + i)];
        }
    }
}

static galv_status fill(galv_reshard *r, exchange *x, const galv_layout *layout,
                        int32_t from_strategy, int32_t to_strategy, galv_err *err)
{
    galv_backend *b = layout->backend;
    galv_status status = GALV_OK;
    for (int32_t rank = 0; rank < x->n_ranks && status == GALV_OK; rank++) {
        status = galv_place_make(&x->from[rank], layout->job, layout->plan,
                                 &layout->plan->strategies[from_strategy], rank, err);
        if (status == GALV_OK) {
            status = galv_place_make(&x->to[rank], layout->job, layout->plan,
                                     &layout->plan->strategies[to_strategy], rank, err);
        }
    }
    if (status != GALV_OK) {
        return status;
    }
    find_holders(x, (int64_t)layout->micro_batch_samples * layout->seq_length);
    work_out(r, x, layout->stage_rank);
    if (r->same) {
        return GALV_OK;
    }
    size_t n_pack = (size_t)(r->sends ? r->n_send : r->n_recv);
    r->pack = b->allocate(b, (n_pack + 1) * sizeof(int32_t));
    r->unpack = b->allocate(b, (size_t)(r->n_recv + 1) * sizeof(int32_t));
    if (r->pack == NULL || r->unpack == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for a change of layout");
    }
    b->upload(b, r->pack, x->host_pack, n_pack, GALV_INT32);
    b->upload(b, r->unpack, x->host_unpack, (size_t)r->n_recv, GALV_INT32);
    return GALV_OK;
}

galv_status galv_reshard_make(galv_reshard *reshard, const galv_layout *layout,
                              int32_t from_strategy, int32_t to_strategy,
                              galv_arena *arena, galv_err *err)
{
    size_t n_ranks = (size_t)layout->stage_size;
    size_t n_tokens = (size_t)layout->micro_batch_samples * (size_t)layout->seq_length;
    galv_reshard r = {0};
    exchange x = {0};
    x.n_ranks = layout->stage_size;
    x.from = calloc(n_ranks, sizeof *x.from);
    x.to = calloc(n_ranks, sizeof *x.to);
    x.first_holder = calloc(n_tokens, sizeof *x.first_holder);
    x.n_holders = calloc(n_tokens, sizeof *x.n_holders);
    x.row = calloc(n_tokens, sizeof *x.row);
    /* a rank may be asked for each of its rows by every other rank */
    x.host_pack = calloc(n_tokens * n_ranks, sizeof *x.host_pack);
    x.host_unpack = calloc(n_tokens, sizeof *x.host_unpack);
    r.send_begin = GALV_NEW_ARRAY(arena, int64_t, n_ranks + 1);
    r.recv_begin = GALV_NEW_ARRAY(arena, int64_t, n_ranks + 1);
    galv_status status = GALV_OK;
    if (x.from == NULL || x.to == NULL || x.first_holder == NULL ||
        x.n_holders == NULL || x.row == NULL || x.host_pack == NULL ||
        x.host_unpack == NULL || r.send_begin == NULL || r.recv_begin == NULL) {
        status = galv_fail(err, GALV_NO_MEMORY, "no memory for a change of layout");
    } else {
        status = fill(&r, &x, layout, from_strategy, to_strategy, err);
    }
    free(x.from);
    free(x.to);
    free(x.first_holder);
    free(x.n_holders);
    free(x.row);
    free(x.host_pack);
    free(x.host_unpack);
    if (status == GALV_OK) {
        *reshard = r;
    }
    return status;
}

void galv_reshard_release(galv_reshard *reshard, galv_backend *b)
{
    if (reshard->pack != NULL) {
        b->release(b, reshard->pack, GALV_STREAM_COMPUTE);
    }
    if (reshard->unpack != NULL) {
        b->release(b, reshard->unpack, GALV_STREAM_COMPUTE);
    }
    reshard->pack = reshard->unpack = NULL;
}

/* Routing: which of a micro-batch's tokens go to which experts, and where those are.
 *
 * Each rank routes its own tokens once: the rows it holds, or under sp=none its share
 * of the rows that all tp ranks hold. A token goes to topk experts; its copies are sent
 * in the order of the experts, so that those for one rank are neighbours, and sorted by
 * expert where they arrive. Counts differ from rank to rank and step to step, so the
 * host must know them: routing waits for the device twice. */
#ifndef GALV_EXEC_ROUTING_H
#define GALV_EXEC_ROUTING_H

#include "exec/worker.h"

/* Of one layer and one micro-batch. Device memory unless it says host. */
typedef struct galv_routed {
    size_t first_row, n_rows;  /* of the own rows, that are routed here */
    size_t n_sent, n_received; /* copies of tokens */
    int32_t *experts;          /* [n_rows, topk] */
    float *weights;            /* [n_rows, topk] */
    int32_t *dispatch;         /* [n_sent] row of each copy sent */
    int32_t *place;            /* [n_rows, topk] among the copies sent */
    int32_t *sort, *unsort;    /* [n_received] by expert, and back */
    int64_t *send_begin;       /* host [ep + 1] */
    int64_t *recv_begin;       /* host [ep + 1] */
    int64_t *expert_begin;     /* host [experts here + 1], of the sorted */
    void *sent;                /* [n_sent, h], until it is exchanged */
    void *x;                   /* [n_received, h] sorted */
    void *wide, *active;       /* [n_received, ...] */
    void *answer;              /* [n_received, h] by source, until it is exchanged */
    void *returned;            /* [n_sent, h] */
    void *shared;              /* answer of shared experts, until it is combined */
    void *dy;                  /* [n_received, h] sorted */
    void *dwide;
    void *dsent;     /* [n_sent, h] gradient of what was sent */
    float *dweights; /* [n_rows, topk] */
    void *dlogits;   /* [n_rows, experts] elements, for weights */
    void *dx;        /* [n_rows, h] sp=megatron: beside what is reduced */
} galv_routed;

size_t galv_experts_here(const galv_layer_work *layer);

/* Chooses experts by the logits of the rows x[n_rows, h], works out who sends what to
 * whom, and packs it into `sent`. NULL after an error. */
galv_routed *galv_route(galv_worker *w, galv_layer_work *layer, const void *x,
                        size_t first_row, size_t n_rows);
void galv_routed_free(galv_worker *w, galv_routed *r);

/* Copies of tokens, `cols` values each, to the ranks of their experts (`there`), or
 * back. Gives `in` up. `part`: what it is recorded as. */
void *galv_exchange_tokens(galv_worker *w, const galv_layer_work *layer,
                           const galv_routed *r, void *in, bool there, int part);

#endif

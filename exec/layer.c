/* A layer: its parts in order, and what it takes from and gives to its neighbours.
 *
 * A part's backward is three steps: gradients of its input up to their reduction;
 * gradients of its weights; and the finish, when the reduction is over: norm and
 * residual. Where the program parts inputs from weights to hide the reduction
 * (`hides`), the finish comes after the weights, else right after the inputs.
 *
 * Activations pass from layer to layer by giving the buffer away. Where neighbours are
 * spread differently the receiving one redistributes (reshard.h), whether the rows came
 * from its own rank or in a message, so messages are always in the giving layer's
 * layout. The program has an all-gather (part WHOLE) where ranks need rows that they do
 * not hold; what is done is an all-to-all of those rows alone, under its name. */
#include "exec/worker.h"

static int parts_of(int parts[4], const galv_layer_work *layer, int part)
{
    int n = 0;
    if (part != GALV_PART_WHOLE || layer->group->kind == GALV_LAYER_EMBEDDING ||
        layer->group->kind == GALV_LAYER_HEAD) {
        parts[n++] = part;
        return n;
    }
    parts[n++] = GALV_PART_ATTENTION;
    if (layer->group->kind == GALV_LAYER_MOE_DECODER) {
        parts[n++] = GALV_PART_ROUTER;
        parts[n++] = GALV_PART_EXPERTS;
        parts[n++] = GALV_PART_COMBINE;
    } else {
        parts[n++] = GALV_PART_MLP;
    }
    return n;
}

/* ---- what passes between layers ---- */

/* The layer whose gather the program has between two (schedule/compile_units.c). */
static int32_t recorded_layer(const galv_worker *w, int32_t from, int32_t to)
{
    const galv_strategy *a = galv_plan_strategy(w->plan, from);
    const galv_strategy *b = galv_plan_strategy(w->plan, to);
    bool pieces_a = a->tp > 1 && a->sp != GALV_SP_NONE;
    bool pieces_b = b->tp > 1 && b->sp != GALV_SP_NONE;
    bool gives = b->dp > a->dp || (b->dp == a->dp && pieces_a && !pieces_b);
    return gives && pieces_a ? from : to;
}

/* Rows under layer `from`'s strategy become rows under layer `to`'s. */
static void *change_layout(galv_worker *w, int32_t from, int32_t to, void *rows)
{
    galv_backend *b = w->b;
    galv_layer_work *layer = &w->layers[to];
    int32_t a = w->plan->layer_strategy[from];
    int32_t c = w->plan->layer_strategy[to];
    size_t index = (size_t)a * (size_t)w->plan->n_strategies + (size_t)c;
    galv_reshard *r = &w->reshards[index];
    if (a == c) {
        return rows;
    }
    if (!w->reshard_made[index]) {
        galv_reshard_make(r, &w->layout, a, c, w->arena, &w->err);
        w->reshard_made[index] = true;
    }
    if (r->same || w->err.status != GALV_OK) {
        return rows;
    }
    size_t n = (size_t)r->n_recv;
    size_t h = layer->hidden;
    void *wanted = galv_take(w, n, h);
    if (!r->sends) {
        b->gather_rows(b, GALV_STREAM_COMPUTE, wanted, rows, r->pack, n, h,
                       GALV_ELEMENT);
        GALV_DROP(w, rows);
        return wanted;
    }
    void *packed = galv_take(w, (size_t)r->n_send, h);
    b->gather_rows(b, GALV_STREAM_COMPUTE, packed, rows, r->pack, (size_t)r->n_send, h,
                   GALV_ELEMENT);
    GALV_DROP(w, rows);
    void *came = galv_take(w, n, h);
    int64_t *send = w->counts;
    int64_t *recv = w->counts + w->layout.stage_size + 1;
    for (int32_t i = 0; i <= w->layout.stage_size; i++) {
        send[i] = r->send_begin[i] * (int64_t)h;
        recv[i] = r->recv_begin[i] * (int64_t)h;
    }
    galv_event start = galv_worker_begin(w, GALV_STREAM_TP);
    b->all_to_all(b, GALV_STREAM_TP, w->layout.stage_comm, came, recv, packed, send,
                  GALV_ELEMENT);
    double bytes = (double)r->n_send * (double)h * b->element_bytes;
    galv_worker_await(w, galv_worker_end(w, GALV_STREAM_TP, GALV_OP_ALL_GATHER,
                                         GALV_PART_WHOLE, recorded_layer(w, from, to),
                                         bytes, start));
    GALV_DROP(w, packed);
    b->gather_rows(b, GALV_STREAM_COMPUTE, wanted, came, r->unpack, n, h, GALV_ELEMENT);
    GALV_DROP(w, came);
    return wanted;
}

void *galv_layer_give_output(galv_worker *w, int32_t layer, int32_t micro_batch)
{
    galv_saved *s = &w->layers[layer].saved[micro_batch];
    void *output = s->output;
    s->output = NULL;
    return output;
}

void *galv_layer_give_gradient(galv_worker *w, int32_t layer, int32_t micro_batch)
{
    galv_saved *s = &w->layers[layer].saved[micro_batch];
    void *gradient = s->input_gradient;
    s->input_gradient = NULL;
    return gradient;
}

static void take_input(galv_worker *w, galv_layer_work *layer, galv_saved *s)
{
    int32_t before = layer->index - 1;
    if (before < 0) {
        return;
    }
    void *rows = s->received;
    if (rows == NULL) { /* made here: two-way stages may get what they hold, too */
        rows = galv_layer_give_output(w, before, w->micro_batch);
    } else {
        galv_worker_await(w, s->received_at);
    }
    s->received = NULL;
    s->input = change_layout(w, before, layer->index, rows);
}

static void take_gradient(galv_worker *w, galv_layer_work *layer, galv_saved *s)
{
    int32_t after = layer->index + 1;
    if (after >= w->plan->n_layers) {
        return;
    }
    void *rows = s->received_gradient;
    if (rows == NULL) {
        rows = galv_layer_give_gradient(w, after, w->micro_batch);
    } else {
        galv_worker_await(w, s->received_gradient_at);
    }
    s->received_gradient = NULL;
    s->output_gradient = change_layout(w, after, layer->index, rows);
}

/* ---- parts ---- */

static void forward_part(galv_worker *w, galv_layer_work *layer, galv_saved *s,
                         int part)
{
    switch (part) {
    case GALV_PART_ATTENTION:
        galv_attention_forward(w, layer, s);
        break;
    case GALV_PART_MLP:
        galv_mlp_forward(w, layer, s);
        break;
    case GALV_PART_ROUTER:
        galv_router_forward(w, layer, s);
        break;
    case GALV_PART_EXPERTS:
        galv_experts_forward(w, layer, s);
        break;
    case GALV_PART_COMBINE:
        galv_combine_forward(w, layer, s);
        break;
    default:
        if (layer->group->kind == GALV_LAYER_EMBEDDING) {
            galv_embedding_forward(w, layer, s);
        } else {
            galv_head_forward(w, layer, s);
        }
        break;
    }
}

static void backward_part(galv_worker *w, galv_layer_work *layer, galv_saved *s,
                          int part)
{
    switch (part) {
    case GALV_PART_ATTENTION:
        galv_attention_backward(w, layer, s);
        break;
    case GALV_PART_MLP:
        galv_mlp_backward(w, layer, s);
        break;
    case GALV_PART_ROUTER:
        galv_router_backward(w, layer, s);
        break;
    case GALV_PART_EXPERTS:
        galv_experts_backward(w, layer, s);
        break;
    case GALV_PART_COMBINE:
        galv_combine_backward(w, layer, s);
        break;
    default:
        if (layer->group->kind == GALV_LAYER_EMBEDDING) {
            galv_embedding_backward(w, layer, s);
        } else {
            galv_head_backward(w, layer, s);
        }
        break;
    }
}

static void weight_part(galv_worker *w, galv_layer_work *layer, galv_saved *s, int part)
{
    switch (part) {
    case GALV_PART_ATTENTION:
        galv_attention_weight(w, layer, s);
        break;
    case GALV_PART_MLP:
        galv_mlp_weight(w, layer, s);
        break;
    case GALV_PART_ROUTER:
        galv_router_weight(w, layer, s);
        break;
    case GALV_PART_EXPERTS:
        galv_experts_weight(w, layer, s);
        break;
    case GALV_PART_COMBINE: /* no weights */
        break;
    default:
        if (layer->group->kind == GALV_LAYER_EMBEDDING) {
            galv_embedding_weight(w, layer, s);
        } else {
            galv_head_weight(w, layer, s);
        }
        break;
    }
}

static void finish_part(galv_worker *w, galv_layer_work *layer, galv_saved *s, int part)
{
    switch (part) {
    case GALV_PART_ATTENTION:
        galv_attention_finish(w, layer, s);
        break;
    case GALV_PART_MLP:
        galv_mlp_finish(w, layer, s);
        break;
    case GALV_PART_ROUTER:
        galv_router_finish(w, layer, s);
        break;
    case GALV_PART_WHOLE:
        if (layer->group->kind == GALV_LAYER_HEAD) {
            galv_head_finish(w, layer, s);
        }
        break;
    default:
        break;
    }
}

/* ---- passes ---- */

static bool is_last(int part)
{
    return part == GALV_PART_WHOLE || part == GALV_PART_MLP ||
           part == GALV_PART_COMBINE;
}

/* Gives up all but the input (full recomputation). */
static void drop_kept(galv_worker *w, galv_saved *s)
{
    if (s->joined != s->context) {
        GALV_DROP(w, s->joined);
    }
    s->joined = NULL;
    GALV_DROP(w, s->context);
    GALV_DROP(w, s->lse);
    GALV_DROP(w, s->norm1);
    GALV_DROP(w, s->mean1);
    GALV_DROP(w, s->rstd1);
    GALV_DROP(w, s->q);
    GALV_DROP(w, s->k);
    s->v = NULL;
    GALV_DROP(w, s->middle);
    GALV_DROP(w, s->norm2);
    GALV_DROP(w, s->mean2);
    GALV_DROP(w, s->rstd2);
    GALV_DROP(w, s->wide);
    GALV_DROP(w, s->active);
    galv_routed_drop(w, s);
}

bool galv_layer_is_dropped(const galv_worker *w, int32_t layer, int32_t micro_batch)
{
    const galv_layer_work *l = &w->layers[layer];
    return l->group->kind != GALV_LAYER_EMBEDDING &&
           l->group->kind != GALV_LAYER_HEAD &&
           l->place->strategy.recompute == GALV_RECOMPUTE_FULL &&
           l->saved[micro_batch].norm1 == NULL;
}

void galv_layer_forward(galv_worker *w, int32_t layer, int32_t micro_batch, int part,
                        bool again)
{
    galv_layer_work *l = &w->layers[layer];
    galv_saved *s = &l->saved[micro_batch];
    int parts[4];
    int n = parts_of(parts, l, part);
    if (!again && (part == GALV_PART_WHOLE || part == GALV_PART_ATTENTION)) {
        take_input(w, l, s);
    }
    for (int i = 0; i < n; i++) {
        forward_part(w, l, s, parts[i]);
    }
    bool block =
        l->group->kind != GALV_LAYER_EMBEDDING && l->group->kind != GALV_LAYER_HEAD;
    if (is_last(part) && block && again) {
        GALV_DROP(w, s->output);
    } else if (is_last(part) && block &&
               l->place->strategy.recompute == GALV_RECOMPUTE_FULL) {
        drop_kept(w, s);
    }
}

void galv_layer_backward(galv_worker *w, int32_t layer, int32_t micro_batch, int part,
                         galv_backward_kind kind)
{
    galv_layer_work *l = &w->layers[layer];
    galv_saved *s = &l->saved[micro_batch];
    int parts[4];
    int n = parts_of(parts, l, part);
    if (is_last(part)) {
        take_gradient(w, l, s);
    }
    for (int i = n - 1; i >= 0; i--) {
        backward_part(w, l, s, parts[i]);
        if (kind == GALV_BACKWARD_BOTH) {
            weight_part(w, l, s, parts[i]);
        }
        if (kind != GALV_BACKWARD_HIDES) {
            finish_part(w, l, s, parts[i]);
        }
    }
}

void galv_layer_weight(galv_worker *w, int32_t layer, int32_t micro_batch, int part,
                       bool finishes)
{
    galv_layer_work *l = &w->layers[layer];
    galv_saved *s = &l->saved[micro_batch];
    int parts[4];
    int n = parts_of(parts, l, part);
    for (int i = n - 1; i >= 0; i--) {
        weight_part(w, l, s, parts[i]);
        if (finishes) {
            finish_part(w, l, s, parts[i]);
        }
    }
}

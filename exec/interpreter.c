/* One walk over the operations of a stage.
 *
 * Operations of the TP, CP and EP streams belong to the computations around them
 * (worker.h): reaching one does nothing but note what the computation so far waits
 * behind, for those that depend on it. All others are done here: passes, messages, the
 * gathers and reductions of data parallelism, the step.
 *
 * Messages from one stage come in the order in which it sends them. A receive that the
 * program has earlier than the messages before it (V shapes do) takes those in first;
 * they wait in their layers. */
#include "exec/interpreter.h"

#include "exec/optimizer.h"

#include <stdlib.h>
#include <string.h>

/* ---- the order ---- */

typedef struct leveller {
    const galv_program *program;
    uint32_t *level;     /* [n_ops] */
    uint32_t *missing;   /* [n_ops] predecessors without a level */
    uint32_t *first_out; /* [n_ops + 1] */
    uint32_t *out;       /* [n_dependencies + 3 n_ops] successors */
    uint32_t *ready;     /* [n_ops] */
} leveller;

static void free_leveller(leveller *l)
{
    free(l->level);
    free(l->missing);
    free(l->first_out);
    free(l->out);
    free(l->ready);
}

static const galv_operation *class_of(const galv_program *p, uint32_t op)
{
    return &p->classes[p->ops[op].class_index];
}

static void add_edge(leveller *l, bool count, uint32_t before, uint32_t after)
{
    if (count) {
        l->first_out[before + 1]++;
        l->missing[after]++;
    } else {
        l->out[l->ready[before]++] = after;
    }
}

/* What adds to the gradient of a tied table, before the stage gives it to the other
 * stage that holds it. The program has the two meet earlier where steps overlap, as if
 * all of the table's gradient were made first (schedule/compile_end.c); here it is made
 * in its turn, with those of the other layers of its chunk. */
static void each_edge_to_tied(leveller *l, bool count, int32_t stage)
{
    const galv_program *p = l->program;
    const uint32_t *queue = p->queue_begin + stage * GALV_N_STREAMS;
    for (uint32_t tied = queue[GALV_STREAM_DP]; tied < queue[GALV_STREAM_DP + 1];
         tied++) {
        int32_t layer = class_of(p, tied)->first_layer;
        for (uint32_t op = queue[GALV_STREAM_COMPUTE];
             class_of(p, tied)->part == GALV_PART_TIED &&
             op < queue[GALV_STREAM_COMPUTE + 1];
             op++) {
            const galv_operation *o = class_of(p, op);
            if ((o->kind == GALV_OP_BACKWARD || o->kind == GALV_OP_BACKWARD_WEIGHT) &&
                o->first_layer <= layer && layer < o->first_layer + o->n_layers) {
                add_edge(l, count, op, tied);
            }
        }
    }
}

/* Calls for each pair (before, after): `count` counts, else fills. */
static void each_edge(leveller *l, bool count)
{
    const galv_program *p = l->program;
    for (uint32_t op = 0; op < p->n_ops; op++) {
        for (uint32_t k = p->ops[op].first_dependency;
             k < p->ops[op + 1].first_dependency; k++) {
            add_edge(l, count, p->dependencies[k], op);
        }
    }
    int32_t n_queues = p->n_ranks * GALV_N_STREAMS;
    for (int32_t q = 0; q < n_queues; q++) {
        for (uint32_t op = p->queue_begin[q] + 1; op < p->queue_begin[q + 1]; op++) {
            add_edge(l, count, op - 1, op);
        }
    }
    for (int32_t stage = 0; stage < p->n_ranks; stage++) {
        each_edge_to_tied(l, count, stage);
    }
}

/* Levels of all ops: one more than the highest of what they wait for. Returns false
 * when they wait in a circle. */
static bool find_levels(leveller *l)
{
    uint32_t n = l->program->n_ops;
    each_edge(l, true);
    for (uint32_t op = 0; op < n; op++) {
        l->first_out[op + 1] += l->first_out[op];
        l->ready[op] = l->first_out[op];
    }
    each_edge(l, false);
    uint32_t end = 0;
    for (uint32_t op = 0; op < n; op++) {
        if (l->missing[op] == 0) {
            l->ready[end++] = op;
        }
    }
    for (uint32_t i = 0; i < end; i++) {
        uint32_t op = l->ready[i];
        for (uint32_t k = l->first_out[op]; k < l->first_out[op + 1]; k++) {
            uint32_t next = l->out[k];
            if (l->level[next] < l->level[op] + 1) {
                l->level[next] = l->level[op] + 1;
            }
            if (--l->missing[next] == 0) {
                l->ready[end++] = next;
            }
        }
    }
    return end == n;
}

typedef struct keyed {
    uint32_t level, stream, op;
} keyed;

static int compare(const void *a, const void *b)
{
    const keyed *x = a;
    const keyed *y = b;
    if (x->level != y->level) {
        return x->level < y->level ? -1 : 1;
    }
    if (x->stream != y->stream) { /* GALV_STREAM_COMPUTE, 0, last */
        return x->stream - 1 < y->stream - 1 ? -1 : 1;
    }
    return x->op < y->op ? -1 : 1;
}

static galv_status make_order(galv_interpreter *in, int32_t stage, galv_arena *arena,
                              galv_err *err)
{
    const galv_program *p = in->program;
    leveller l = {0};
    size_t n = p->n_ops;
    galv_status status = GALV_OK;
    l.program = p;
    l.level = calloc(n + 1, sizeof *l.level);
    l.missing = calloc(n + 1, sizeof *l.missing);
    l.first_out = calloc(n + 2, sizeof *l.first_out);
    l.out = calloc(3 * n + p->n_dependencies + 1, sizeof *l.out);
    l.ready = calloc(n + 1, sizeof *l.ready);
    uint32_t begin = p->queue_begin[stage * GALV_N_STREAMS];
    uint32_t end = p->queue_begin[(stage + 1) * GALV_N_STREAMS];
    keyed *keys = calloc(end - begin + 1, sizeof *keys);
    in->order = GALV_NEW_ARRAY(arena, uint32_t, end - begin);
    in->n_order = end - begin;
    if (l.level == NULL || l.missing == NULL || l.first_out == NULL || l.out == NULL ||
        l.ready == NULL || keys == NULL || in->order == NULL) {
        status = galv_fail(err, GALV_NO_MEMORY, "no memory for the program's order");
    } else if (!find_levels(&l)) {
        status = galv_fail(err, GALV_INTERNAL, "the program waits for itself");
    } else {
        for (uint32_t i = 0; i < in->n_order; i++) {
            const galv_program_op *op = &p->ops[begin + i];
            keys[i] = (keyed){l.level[begin + i], p->classes[op->class_index].stream,
                              begin + i};
        }
        qsort(keys, in->n_order, sizeof *keys, compare);
        for (uint32_t i = 0; i < in->n_order; i++) {
            in->order[i] = keys[i].op;
        }
    }
    free(keys);
    free_leveller(&l);
    return status;
}

/* Is the gradient of a layer's input reduced for a backward of inputs and weights
 * together? (In a split one the reduction serves the inputs alone.) */
static bool reduced_together(const galv_program *p, int32_t stage, uint32_t input)
{
    const galv_operation *o = class_of(p, input);
    uint32_t begin = p->queue_begin[stage * GALV_N_STREAMS + GALV_STREAM_TP];
    uint32_t end = p->queue_begin[stage * GALV_N_STREAMS + GALV_STREAM_TP + 1];
    for (uint32_t op = begin; op < end; op++) {
        const galv_operation *c = class_of(p, op);
        if (c->first_layer == o->first_layer && c->pass == GALV_OP_BACKWARD &&
            c->kind != GALV_OP_ALL_GATHER &&
            p->ops[op].micro_batch == p->ops[input].micro_batch) {
            return true;
        }
    }
    return false;
}

/* Inputs' gradients that are followed by the weights of the very same part, to hide
 * their reduction: parts of a layer always are, a whole layer may also be what a
 * schedule that splits backward has side by side. */
static void find_hides(galv_interpreter *in, int32_t stage)
{
    const galv_program *p = in->program;
    uint32_t begin = p->queue_begin[stage * GALV_N_STREAMS + GALV_STREAM_COMPUTE];
    uint32_t end = p->queue_begin[stage * GALV_N_STREAMS + GALV_STREAM_COMPUTE + 1];
    for (uint32_t op = begin; op + 1 < end; op++) {
        const galv_operation *a = class_of(p, op);
        const galv_operation *c = class_of(p, op + 1);
        if (a->kind == GALV_OP_BACKWARD_INPUT && c->kind == GALV_OP_BACKWARD_WEIGHT &&
            a->part == c->part && a->first_layer == c->first_layer &&
            a->n_layers == 1 && c->n_layers == 1 &&
            p->ops[op].micro_batch == p->ops[op + 1].micro_batch &&
            (a->part != GALV_PART_WHOLE || reduced_together(p, stage, op))) {
            in->hides[op] = in->hides[op + 1] = 1;
        }
    }
}

/* The layers and micro-batches whose backward is one pass in the program, though it may
 * be computed in parts (between which another pass comes, where passes are paired). */
static void find_together(galv_interpreter *in, const galv_worker *w)
{
    const galv_program *p = in->program;
    const uint32_t *queue = p->queue_begin + w->layout.stage * GALV_N_STREAMS;
    static const int streams[] = {GALV_STREAM_TP, GALV_STREAM_CP, GALV_STREAM_EP};
    for (size_t i = 0; i < sizeof streams / sizeof streams[0]; i++) {
        for (uint32_t op = queue[streams[i]]; op < queue[streams[i] + 1]; op++) {
            const galv_operation *c = class_of(p, op);
            if (c->pass == GALV_OP_BACKWARD) {
                size_t row = (size_t)p->ops[op].micro_batch * (size_t)w->plan->n_layers;
                in->together[row + (size_t)c->first_layer] = 1;
            }
        }
    }
}

/* ---- messages ---- */

static galv_status find_messages(galv_interpreter *in, int32_t stage, galv_arena *arena,
                                 galv_err *err)
{
    const galv_program *p = in->program;
    uint32_t *recv_of = calloc(p->n_ops + 1, sizeof *recv_of);
    in->n_peers = p->n_ranks;
    in->inbox = GALV_NEW_ARRAY(arena, galv_message *, p->n_ranks);
    in->n_inbox = GALV_NEW_ARRAY(arena, uint32_t, p->n_ranks);
    in->n_posted = GALV_NEW_ARRAY(arena, uint32_t, p->n_ranks);
    if (recv_of == NULL || in->inbox == NULL || in->n_inbox == NULL ||
        in->n_posted == NULL) {
        free(recv_of);
        return galv_fail(err, GALV_NO_MEMORY, "no memory for messages");
    }
    uint32_t begin = p->queue_begin[stage * GALV_N_STREAMS + GALV_STREAM_PP_RECV];
    uint32_t end = p->queue_begin[stage * GALV_N_STREAMS + GALV_STREAM_PP_RECV + 1];
    for (uint32_t op = begin; op < end; op++) {
        for (uint32_t k = p->ops[op].first_dependency;
             k < p->ops[op + 1].first_dependency; k++) {
            if (class_of(p, p->dependencies[k])->kind == GALV_OP_SEND &&
                class_of(p, p->dependencies[k])->peer_stage == stage) {
                recv_of[p->dependencies[k]] = op + 1;
            }
        }
    }
    galv_status status = GALV_OK;
    for (int32_t peer = 0; peer < p->n_ranks && status == GALV_OK; peer++) {
        uint32_t from = p->queue_begin[peer * GALV_N_STREAMS + GALV_STREAM_PP_SEND];
        uint32_t to = p->queue_begin[peer * GALV_N_STREAMS + GALV_STREAM_PP_SEND + 1];
        in->inbox[peer] = GALV_NEW_ARRAY(arena, galv_message, to - from);
        for (uint32_t op = from; in->inbox[peer] != NULL && op < to; op++) {
            if (class_of(p, op)->peer_stage == stage && recv_of[op] > 0) {
                in->inbox[peer][in->n_inbox[peer]++] =
                    (galv_message){op, recv_of[op] - 1};
            }
        }
        if (in->inbox[peer] == NULL) {
            status = galv_fail(err, GALV_NO_MEMORY, "no memory for messages");
        }
    }
    free(recv_of);
    return status;
}

galv_status galv_interpreter_make(galv_interpreter *interpreter,
                                  const galv_program *program,
                                  const galv_worker *worker, galv_arena *arena,
                                  galv_err *err)
{
    int32_t stage = worker->layout.stage;
    memset(interpreter, 0, sizeof *interpreter);
    interpreter->program = program;
    interpreter->events = GALV_NEW_ARRAY(arena, galv_event, program->n_ops);
    interpreter->hides = GALV_NEW_ARRAY(arena, uint8_t, program->n_ops + 1);
    interpreter->together = GALV_NEW_ARRAY(arena, uint8_t,
                                           (size_t)worker->plan->n_layers *
                                               (size_t)worker->layout.n_micro_batches);
    if (interpreter->events == NULL || interpreter->hides == NULL ||
        interpreter->together == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for events");
    }
    galv_status status = make_order(interpreter, stage, arena, err);
    if (status == GALV_OK) {
        find_hides(interpreter, stage);
        find_together(interpreter, worker);
        status = find_messages(interpreter, stage, arena, err);
    }
    return status;
}

/* ---- operations ---- */

static galv_event run_send(galv_worker *w, const galv_operation *o, int32_t mb)
{
    galv_backend *b = w->b;
    galv_layer_work *layer = &w->layers[o->first_layer];
    bool forward = o->pass == GALV_OP_FORWARD;
    void *rows = forward ? galv_layer_give_output(w, o->first_layer, mb)
                         : galv_layer_give_gradient(w, o->first_layer, mb);
    size_t n = layer->own_rows * layer->hidden;
    int32_t to = o->peer_stage * w->layout.stage_size + w->layout.stage_rank;
    galv_event start = b->record(b, GALV_STREAM_PP_SEND);
    b->send(b, GALV_STREAM_PP_SEND, w->layout.world, rows, n, GALV_ELEMENT, to);
    galv_event end = b->record(b, GALV_STREAM_PP_SEND);
    if (rows != NULL) {
        b->release(b, rows, GALV_STREAM_PP_SEND);
    }
    galv_recorder_add(&w->recorder, o, mb, (double)n * b->element_bytes, start, end);
    return end;
}

/* Takes in one message, which is in the layout of the layer that made it. */
static void take_in(galv_interpreter *in, galv_worker *w, const galv_message *message)
{
    galv_backend *b = w->b;
    const galv_operation *o = class_of(in->program, message->recv);
    int32_t mb = in->program->ops[message->recv].micro_batch;
    galv_layer_work *layer = &w->layers[o->first_layer];
    galv_saved *s = &layer->saved[mb];
    bool forward = o->pass == GALV_OP_FORWARD;
    int32_t maker = forward ? o->first_layer - 1 : o->first_layer + 1;
    const galv_place *place = &w->layout.groups[w->plan->layer_strategy[maker]].place;
    size_t n = (size_t)place->n_own_rows * layer->hidden;
    int32_t from = o->peer_stage * w->layout.stage_size + w->layout.stage_rank;
    void *rows = galv_take(w, 1, n);
    galv_event start = b->record(b, GALV_STREAM_PP_RECV);
    b->recv(b, GALV_STREAM_PP_RECV, w->layout.world, rows, n, GALV_ELEMENT, from);
    galv_event end = b->record(b, GALV_STREAM_PP_RECV);
    galv_recorder_add(&w->recorder, o, mb, (double)n * b->element_bytes, start, end);
    if (forward) {
        s->received = rows;
        s->received_at = end;
    } else {
        s->received_gradient = rows;
        s->received_gradient_at = end;
    }
    in->events[message->recv] = end;
}

static galv_event run_recv(galv_interpreter *in, galv_worker *w, uint32_t op)
{
    int32_t peer = class_of(in->program, op)->peer_stage;
    while (in->events[op] < 0 && in->n_posted[peer] < in->n_inbox[peer]) {
        take_in(in, w, &in->inbox[peer][in->n_posted[peer]++]);
    }
    return in->events[op];
}

/* Gathers and reductions of data parallelism, and the tied table's. */
static galv_event run_data_parallel(galv_worker *w, const galv_operation *o, int32_t mb)
{
    galv_backend *b = w->b;
    double bytes = 0;
    galv_event start = b->record(b, GALV_STREAM_DP);
    for (int32_t i = 0; i < o->n_layers; i++) {
        /* gradients of the last layer are there first */
        int32_t layer = o->kind == GALV_OP_ALL_GATHER
                            ? o->first_layer + i
                            : o->first_layer + o->n_layers - 1 - i;
        galv_layer_tensors *t = &w->layers[layer].tensors;
        galv_block *blocks[3];
        int n = galv_blocks_of(blocks, w, layer, o->part);
        if (o->part == GALV_PART_TIED) {
            blocks[0] = t->table;
            n = 1;
            b->wait(b, GALV_STREAM_DP, b->record(b, GALV_STREAM_COMPUTE));
            b->all_reduce(b, GALV_STREAM_DP, w->tied, galv_block_own_gradient(t->table),
                          (size_t)t->table->own_n, GALV_FLOAT32, GALV_SUM);
            t->table->reduced = true;
            t->table->reduced_at = b->record(b, GALV_STREAM_DP);
        } else if (o->kind == GALV_OP_ALL_GATHER && o->pass != GALV_OP_OPTIMIZER &&
                   o->part == GALV_PART_DENSE && t->table != NULL &&
                   (n == 0 || blocks[n - 1] != t->table)) {
            blocks[n++] = t->table; /* ZeRO-3: the head gathers for itself, too */
        }
        for (int k = 0; k < n; k++) {
            bytes += 4 * (double)blocks[k]->n;
            if (o->part == GALV_PART_TIED) {
                continue;
            }
            if (o->kind == GALV_OP_ALL_GATHER) {
                galv_block_gather(blocks[k], b, GALV_STREAM_DP);
            } else {
                galv_block_reduce(blocks[k], b, GALV_STREAM_DP);
            }
        }
    }
    galv_event end = b->record(b, GALV_STREAM_DP);
    if (o->kind == GALV_OP_ALL_GATHER) {
        bytes *= b->element_bytes / 4.0;
    }
    galv_recorder_add(&w->recorder, o, mb, bytes, start, end);
    return end;
}

/* ZeRO-3 weights of a layer: waited for before, given up after their last use. */
static void use_weights(galv_worker *w, int32_t layer, bool over)
{
    galv_layer_tensors *t = &w->layers[layer].tensors;
    galv_block *blocks[] = {t->dense, t->expert, t->table};
    for (int i = 0; i < 3; i++) {
        if (over) {
            galv_block_drop(blocks[i], w->b);
        } else if (blocks[i] != NULL) {
            galv_block_await(blocks[i], w->b);
        }
    }
}

static bool ends_forward(int part)
{
    return part == GALV_PART_WHOLE || part == GALV_PART_MLP ||
           part == GALV_PART_COMBINE;
}

static bool ends_backward(int part)
{
    return part == GALV_PART_WHOLE || part == GALV_PART_ATTENTION;
}

static void run_layer(galv_worker *w, const galv_operation *o, int32_t layer,
                      bool hides)
{
    int32_t mb = w->micro_batch;
    bool over = false;
    if (o->kind != GALV_OP_BACKWARD_WEIGHT || hides) {
        use_weights(w, layer, false);
    }
    switch (o->kind) {
    case GALV_OP_FORWARD:
    case GALV_OP_RECOMPUTE:
        galv_layer_forward(w, layer, mb, o->part, o->kind == GALV_OP_RECOMPUTE);
        over = o->kind == GALV_OP_FORWARD && ends_forward(o->part);
        break;
    case GALV_OP_BACKWARD:
    case GALV_OP_BACKWARD_INPUT:
        galv_layer_backward(w, layer, mb, o->part,
                            o->kind == GALV_OP_BACKWARD ? GALV_BACKWARD_BOTH
                            : hides                     ? GALV_BACKWARD_HIDES
                                                        : GALV_BACKWARD_INPUT);
        over = !hides && ends_backward(o->part);
        break;
    default:
        galv_layer_weight(w, layer, mb, o->part, hides);
        over = hides && ends_backward(o->part);
        break;
    }
    if (over) {
        use_weights(w, layer, true);
    }
}

/* A layer of a backward whose recomputation was put off: made again now, recorded as
 * the program's recomputation. */
static void make_again(galv_worker *w, const galv_operation *backward, int32_t layer)
{
    galv_operation again = *backward;
    again.kind = again.pass = GALV_OP_RECOMPUTE;
    int serves = w->serves;
    galv_worker_close(w);
    w->operation = &again;
    w->serves = GALV_OP_RECOMPUTE;
    galv_worker_open(w);
    run_layer(w, &again, layer, false);
    galv_worker_close(w);
    w->operation = backward;
    w->serves = serves;
    galv_worker_open(w);
}

/* Of a recomputation of several layers only the last is done when its turn comes, each
 * other right before its own backward: else all of them would be held at once, which is
 * what recomputation is there to avoid. */
static void run_layers(galv_worker *w, const galv_operation *o, bool hides)
{
    bool forward = o->kind == GALV_OP_FORWARD || o->kind == GALV_OP_RECOMPUTE;
    bool backward = o->kind == GALV_OP_BACKWARD || o->kind == GALV_OP_BACKWARD_INPUT;
    bool whole = o->part == GALV_PART_WHOLE;
    for (int32_t i = 0; i < o->n_layers; i++) {
        int32_t layer =
            forward ? o->first_layer + i : o->first_layer + o->n_layers - 1 - i;
        bool dropped = whole && galv_layer_is_dropped(w, layer, w->micro_batch);
        if (o->kind == GALV_OP_RECOMPUTE && dropped && i < o->n_layers - 1) {
            continue;
        }
        if (backward && dropped) {
            make_again(w, o, layer);
        }
        run_layer(w, o, layer, hides);
    }
}

static galv_event run_compute(const galv_interpreter *in, galv_worker *w, uint32_t op)
{
    const galv_operation *o = class_of(in->program, op);
    int32_t mb = in->program->ops[op].micro_batch;
    bool hides = in->hides[op] != 0;
    bool backward =
        o->kind == GALV_OP_BACKWARD_INPUT || o->kind == GALV_OP_BACKWARD_WEIGHT;
    w->operation = o;
    w->micro_batch = mb;
    w->serves = hides || (backward &&
                          in->together[mb * w->plan->n_layers + o->first_layer] != 0)
                    ? GALV_OP_BACKWARD
                    : o->kind;
    galv_worker_open(w);
    if (o->kind == GALV_OP_OPTIMIZER) {
        galv_optimizer_run(w, o->first_layer, o->n_layers);
    } else {
        run_layers(w, o, hides);
    }
    galv_worker_close(w);
    galv_event end = w->b->record(w->b, GALV_STREAM_COMPUTE);
    galv_recorder_sample(&w->recorder, end);
    return end;
}

/* The stream waits for what the op depends on here; what other stages do comes as
 * messages. */
static void wait_for_dependencies(galv_interpreter *in, galv_worker *w, uint32_t op,
                                  int stream)
{
    const galv_program *p = in->program;
    for (uint32_t k = p->ops[op].first_dependency; k < p->ops[op + 1].first_dependency;
         k++) {
        galv_event event = in->events[p->dependencies[k]];
        if (event >= 0 && class_of(p, p->dependencies[k])->stream != stream) {
            w->b->wait(w->b, stream, event);
        }
    }
}

void galv_interpreter_run(galv_interpreter *interpreter, galv_worker *worker)
{
    galv_interpreter *in = interpreter;
    galv_worker *w = worker;
    galv_event computed = -1;
    for (uint32_t op = 0; op < in->program->n_ops; op++) {
        in->events[op] = -1;
    }
    galv_recorder_sample(&w->recorder, w->b->record(w->b, GALV_STREAM_COMPUTE));
    memset(in->n_posted, 0, (size_t)in->n_peers * sizeof *in->n_posted);
    for (uint32_t i = 0; i < in->n_order && w->err.status == GALV_OK; i++) {
        uint32_t op = in->order[i];
        const galv_operation *o = class_of(in->program, op);
        int32_t mb = in->program->ops[op].micro_batch;
        switch (o->stream) {
        case GALV_STREAM_COMPUTE:
            wait_for_dependencies(in, w, op, o->stream);
            computed = run_compute(in, w, op);
            in->events[op] = computed;
            break;
        case GALV_STREAM_PP_SEND:
            wait_for_dependencies(in, w, op, o->stream);
            in->events[op] = run_send(w, o, mb);
            break;
        case GALV_STREAM_PP_RECV:
            in->events[op] = run_recv(in, w, op);
            break;
        case GALV_STREAM_DP:
            wait_for_dependencies(in, w, op, o->stream);
            in->events[op] = run_data_parallel(w, o, mb);
            break;
        default:
            in->events[op] = computed;
            break;
        }
    }
}

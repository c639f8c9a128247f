/* One pass of one chunk: which layers go together, which weights must come first, which
 * gradients can leave.
 *
 * Layers are taken in units: a run of alike layers (one group of the model, one
 * strategy) that nothing waits inside of is one unit and one operation; a layer with
 * communication of its own is a unit by itself, cut into parts at its collectives; a
 * layer under ZeRO-3 is a unit by itself, because its weights come and go by layer.
 *
 * ZeRO-3: the weights of a unit are gathered while the unit before it computes, and no
 * earlier than the end of the unit two before, so that two are held at most; gradients
 * are reduced after each unit in every micro-batch. On the one stream of the group a
 * gather goes before the reduction that became ready with it. ZeRO-2 reduces by bucket
 * in every micro-batch, as FSDP's SHARD_GRAD_OP. Without overlap the next computation
 * waits for these. ZeRO-0 and 1 reduce once, in the last pass over the chunk.
 *
 * Where neighbouring layers are spread differently (a plan may have a strategy for
 * every layer), activations change hands first. Ranks that need tokens that they do not
 * hold get them by an all-gather of the layer's input over a tp group, part WHOLE: the
 * receiving layer's, when it has fewer data-parallel ranks or holds whole sequences
 * that came in pieces; the giving layer's, when its pieces must be put together before
 * they are dealt out. Where every rank holds what it needs, it takes its slice, free of
 * charge. Gradients go the other way by the same rule. Left out: layers that differ in
 * cp alone.
 * Source: Galvatron (Miao et al. 2022, arXiv 2211.13878, section 3.2: the cost of
 * transforming between strategies is that of gathering).
 *
 * A bucket is a run of alike layers of at least 40 M parameters per rank, or 1 M times
 * the ranks that reduce it if that is more, but at most 8 layers.
 * Source: Megatron-LM, core/distributed/distributed_data_parallel.py (bucket_size).
 */
#include "schedule/compile_writer_internal.h"

#include "plan/chunks.h"

#define BUCKET_PARAMETERS          40e6
#define BUCKET_PARAMETERS_PER_RANK 1e6
#define BUCKET_LAYERS              8

typedef struct unit {
    int32_t first_layer, n_layers;
    bool gathered; /* ZeRO-3 */
} unit;

int galv_compile_reduced_parts(int parts[2], const galv_job *job, const galv_plan *plan,
                               int32_t layer)
{
    int n = 0;
    if (galv_plan_gradient_ranks(plan, layer) > 1) {
        parts[n++] = GALV_PART_DENSE;
    }
    if (galv_model_layer(&job->model, layer)->kind == GALV_LAYER_MOE_DECODER &&
        galv_plan_expert_gradient_ranks(plan, layer) > 1) {
        parts[n++] = GALV_PART_EXPERTS;
    }
    return n;
}

/* ---- units ---- */

static bool same_run(const galv_pass_writer *w, int32_t a, int32_t b)
{
    return galv_model_layer(&w->job->model, a) == galv_model_layer(&w->job->model, b) &&
           w->plan->layer_strategy[a] == w->plan->layer_strategy[b];
}

static int32_t bucket_of(const galv_chunk *chunk, int32_t layer)
{
    int32_t bucket = 0;
    while (chunk->buckets[bucket].first_layer + chunk->buckets[bucket].n_layers <=
           layer) {
        bucket++;
    }
    return bucket;
}

/* Are gradients of a layer reduced in this pass? */
static bool reduces_here(const galv_pass_writer *w, int32_t layer)
{
    int parts[2];
    bool weights =
        w->pass == GALV_PASS_BACKWARD || w->pass == GALV_PASS_BACKWARD_WEIGHT;
    return weights &&
           (galv_plan_strategy(w->plan, layer)->zero >= 2 ||
            w->hooks->reduce_gradients) &&
           galv_compile_reduced_parts(parts, w->job, w->plan, layer) > 0;
}

static bool gathers_here(const galv_pass_writer *w, int32_t layer)
{
    int parts[2];
    return galv_plan_strategy(w->plan, layer)->zero >= 3 &&
           galv_compile_reduced_parts(parts, w->job, w->plan, layer) > 0;
}

/* The unit that begins at a layer. */
static unit unit_at(const galv_pass_writer *w, int32_t layer)
{
    const galv_layer_group *group = galv_model_layer(&w->job->model, layer);
    const galv_strategy *strategy = galv_plan_strategy(w->plan, layer);
    bool zero3 = gathers_here(w, layer);
    unit u = {layer, 1, zero3 && w->pass != GALV_PASS_BACKWARD_WEIGHT};
    bool alone = zero3 || (galv_compile_is_cut(group, strategy) &&
                           w->pass != GALV_PASS_BACKWARD_WEIGHT);
    int32_t end = w->chunk->end_layer;
    if (w->hooks->wait_for_parameters || reduces_here(w, layer)) {
        const galv_bucket *bucket = &w->chunk->buckets[bucket_of(w->chunk, layer)];
        end = bucket->first_layer + bucket->n_layers;
    }
    while (!alone && layer + u.n_layers < end &&
           same_run(w, layer, layer + u.n_layers)) {
        u.n_layers++;
    }
    return u;
}

/* Gathers the weights of a ZeRO-3 unit; returns the last op of the gather. `ends` are
 * the last computations of the units so far, `index` the unit's place among them. */
static int32_t gather_unit(galv_pass_writer *w, const unit *u, const int32_t *ends,
                           int32_t index)
{
    int parts[2];
    int n_parts = galv_compile_reduced_parts(parts, w->job, w->plan, u->first_layer);
    int32_t first_layer = w->first_layer;
    int32_t n_layers = w->n_layers;
    int32_t op = -1;
    w->first_layer = u->first_layer;
    w->n_layers = u->n_layers;
    for (int i = 0; i < n_parts && !w->failed; i++) {
        op = galv_pass_append(w, GALV_OP_ALL_GATHER, GALV_STREAM_DP, parts[i]);
        if (w->failed) {
            break;
        }
        int32_t back = w->plan->overlap.param_gather ? 2 : 1;
        if (index >= back) {
            galv_pass_add_wait(w, op, ends[index - back]);
        } else {
            w->layout->ops[op].waits_unit = back - index;
        }
    }
    w->first_layer = first_layer;
    w->n_layers = n_layers;
    return op;
}

/* Reduces the gradients of layers after computation `after`. */
static void reduce_layers(galv_pass_writer *w, int32_t first_layer, int32_t n_layers,
                          int32_t after)
{
    int parts[2];
    int n_parts = galv_compile_reduced_parts(parts, w->job, w->plan, first_layer);
    int32_t zero = galv_plan_strategy(w->plan, first_layer)->zero;
    w->first_layer = first_layer;
    w->n_layers = n_layers;
    for (int i = 0; i < n_parts && !w->failed; i++) {
        int32_t op =
            galv_pass_append(w, zero == 0 ? GALV_OP_ALL_REDUCE : GALV_OP_REDUCE_SCATTER,
                             GALV_STREAM_DP, parts[i]);
        galv_pass_add_wait(w, op, after);
        if (!w->failed) {
            w->layout->ops[op].operation.pass = GALV_OP_BACKWARD;
            if (!w->plan->overlap.grad_reduce && i == n_parts - 1) {
                galv_pass_join(w, op);
            }
        }
    }
}

/* The reduction that a unit, just done, makes possible; n_layers 0 = none. */
static galv_bucket reduction_after(const galv_pass_writer *w, const unit *u)
{
    galv_bucket bucket = {u->first_layer, 0};
    if (reduces_here(w, u->first_layer)) {
        const galv_bucket *whole =
            &w->chunk->buckets[bucket_of(w->chunk, u->first_layer)];
        if (galv_plan_strategy(w->plan, u->first_layer)->zero >= 3) {
            bucket.n_layers = u->n_layers;
        } else if (whole->first_layer == u->first_layer) {
            bucket = *whole;
        }
    }
    return bucket;
}

/* The layer over whose tp group activations are gathered on their way from one layer to
 * the next (or gradients on their way back); -1 = none. */
static int32_t gathered_between(const galv_plan *plan, int32_t from, int32_t to)
{
    const galv_strategy *a = galv_plan_strategy(plan, from);
    const galv_strategy *b = galv_plan_strategy(plan, to);
    bool pieces_a = a->tp > 1 && a->sp != GALV_SP_NONE;
    bool pieces_b = b->tp > 1 && b->sp != GALV_SP_NONE;
    if (b->dp < a->dp) {
        return b->tp > 1 ? to : -1;
    }
    if (b->dp > a->dp || (pieces_a && !pieces_b)) {
        return pieces_a ? from : -1;
    }
    return -1;
}

/* Brings what a unit works on from the layer before it, in the order of the pass. */
static void change_layout(galv_pass_writer *w, const unit *u)
{
    bool forward = w->pass == GALV_PASS_FORWARD;
    int32_t to = forward ? u->first_layer : u->first_layer + u->n_layers - 1;
    int32_t from = forward ? to - 1 : to + 1;
    if (w->pass == GALV_PASS_BACKWARD_WEIGHT || from < 0 || from >= w->plan->n_layers ||
        w->plan->layer_strategy[from] == w->plan->layer_strategy[to]) {
        return;
    }
    int32_t layer = gathered_between(w->plan, from, to);
    if (layer >= 0) {
        w->serves = forward                         ? GALV_OP_FORWARD
                    : w->pass == GALV_PASS_BACKWARD ? GALV_OP_BACKWARD
                                                    : GALV_OP_BACKWARD_INPUT;
        w->first_layer = layer;
        w->n_layers = 1;
        galv_pass_communicate(w, GALV_OP_ALL_GATHER, GALV_STREAM_TP, GALV_PART_WHOLE);
    }
}

static void compute_unit(galv_pass_writer *w, const unit *u)
{
    change_layout(w, u);
    w->group = galv_model_layer(&w->job->model, u->first_layer);
    w->strategy = galv_plan_strategy(w->plan, u->first_layer);
    w->first_layer = u->first_layer;
    w->n_layers = u->n_layers;
    bool cut = galv_compile_is_cut(w->group, w->strategy);
    if (w->pass == GALV_PASS_FORWARD) {
        w->serves = GALV_OP_FORWARD;
        if (w->hooks->wait_for_parameters) {
            w->gather = bucket_of(w->chunk, u->first_layer);
        }
        if (cut) {
            galv_pass_forward_cut(w, GALV_OP_FORWARD);
        } else {
            galv_pass_compute(w, GALV_OP_FORWARD, GALV_PART_WHOLE);
        }
        return;
    }
    if (w->pass == GALV_PASS_BACKWARD_WEIGHT) {
        galv_pass_compute(w, GALV_OP_BACKWARD_WEIGHT, GALV_PART_WHOLE);
        return;
    }
    int kind =
        w->pass == GALV_PASS_BACKWARD ? GALV_OP_BACKWARD : GALV_OP_BACKWARD_INPUT;
    if (w->strategy->recompute == GALV_RECOMPUTE_FULL &&
        galv_compile_is_block(w->group)) {
        w->serves = GALV_OP_RECOMPUTE;
        if (cut) {
            galv_pass_forward_cut(w, GALV_OP_RECOMPUTE);
        } else {
            galv_pass_compute(w, GALV_OP_RECOMPUTE, GALV_PART_WHOLE);
        }
    }
    w->serves = kind;
    if (cut) {
        galv_pass_backward_cut(w, kind);
    } else {
        galv_pass_compute(w, kind, GALV_PART_WHOLE);
    }
    if (w->n_late > 0 && reduces_here(w, u->first_layer)) {
        galv_pass_finish_weights(w);
        galv_pass_join(w, w->last_compute);
    }
}

/* Goes through the units in the order of the pass. */
static void write_units(galv_pass_writer *w, const unit *units, int32_t n_units,
                        int32_t *ends)
{
    bool forward = w->pass == GALV_PASS_FORWARD;
    int32_t gather_ops[2] = {-1, -1}; /* of this unit and of the next, by parity */
    galv_bucket waiting = {0, 0};     /* reduction to be issued after the next gather */
    int gather_serves = forward ? GALV_OP_FORWARD : GALV_OP_BACKWARD;
    for (int32_t i = 0; i < n_units && !w->failed; i++) {
        bool ahead = w->plan->overlap.param_gather;
        w->serves = gather_serves;
        for (int32_t k = i == 0 || !ahead ? i : i + 1;
             k <= (ahead ? i + 1 : i) && k < n_units; k++) {
            const unit *next = &units[forward ? k : n_units - 1 - k];
            gather_ops[k % 2] = next->gathered ? gather_unit(w, next, ends, k) : -1;
        }
        if (waiting.n_layers > 0) {
            reduce_layers(w, waiting.first_layer, waiting.n_layers, ends[i - 1]);
        }
        const unit *u = &units[forward ? i : n_units - 1 - i];
        w->gather_op = gather_ops[i % 2];
        compute_unit(w, u);
        ends[i] = w->last_compute;
        waiting = reduction_after(w, u);
    }
    if (waiting.n_layers > 0 && n_units > 0) {
        reduce_layers(w, waiting.first_layer, waiting.n_layers, ends[n_units - 1]);
    }
}

static void add_exit(galv_pass_layout *layout, int32_t op)
{
    for (int32_t i = 0; i < layout->n_exits; i++) {
        if (layout->exits[i] == op) {
            return;
        }
    }
    if (op >= 0 && layout->n_exits < GALV_MAX_WAITS) {
        layout->exits[layout->n_exits++] = op;
    }
}

galv_status galv_compile_pass(galv_pass_layout *layout, const galv_job *job,
                              const galv_plan *plan, const galv_chunk *chunk, int pass,
                              const galv_pass_hooks *hooks, galv_arena *arena,
                              galv_err *err)
{
    int32_t n_layers = chunk->end_layer - chunk->first_layer;
    galv_pass_layout made = {0};
    galv_pass_writer w = {0};
    w.job = job;
    w.plan = plan;
    w.chunk = chunk;
    w.hooks = hooks;
    w.arena = arena;
    w.layout = &made;
    w.pass = pass;
    w.at_entry = true;
    w.gather = w.gather_op = w.hidden = w.due = w.last_compute = -1;
    unit *units = GALV_NEW_ARRAY(arena, unit, n_layers);
    int32_t *ends = GALV_NEW_ARRAY(arena, int32_t, n_layers);
    int32_t n_units = 0;
    if (units != NULL && ends != NULL) {
        for (int32_t layer = chunk->first_layer; layer < chunk->end_layer;
             layer += units[n_units++].n_layers) {
            units[n_units] = unit_at(&w, layer);
        }
        write_units(&w, units, n_units, ends);
        if (w.n_late > 0) {
            galv_pass_finish_weights(&w);
            galv_pass_join(&w, w.last_compute);
        }
    }
    if (units == NULL || ends == NULL || w.failed) {
        return galv_fail(err, GALV_NO_MEMORY,
                         "a pass of %d layers does not fit in "
                         "memory",
                         (int)n_layers);
    }
    for (int32_t i = 0; i < w.n_frontier; i++) {
        add_exit(&made, w.frontier[i]);
    }
    add_exit(&made, w.due);
    add_exit(&made, w.hidden);
    made.unit_ends[0] = n_units > 0 ? ends[n_units - 1] : -1;
    made.unit_ends[1] = n_units > 1 ? ends[n_units - 2] : -1;
    *layout = made;
    return GALV_OK;
}

/* ---- buckets ---- */

/* Parameters of one layer on one rank, before ZeRO. */
static double local_parameters(const galv_job *job, const galv_plan *plan,
                               int32_t layer)
{
    const galv_strategy *strategy = galv_plan_strategy(plan, layer);
    galv_layer_parameters parameters =
        galv_layer_count_parameters(&job->model, galv_model_layer(&job->model, layer));
    double tp = galv_compile_cuts_weights(strategy) ? strategy->tp : 1;
    return parameters.dense / tp + parameters.experts / strategy->ep;
}

static void fill_buckets(galv_chunk *chunk, const galv_job *job, const galv_plan *plan)
{
    double parameters = 0;
    for (int32_t layer = chunk->first_layer; layer < chunk->end_layer; layer++) {
        double enough =
            BUCKET_PARAMETERS_PER_RANK * (double)galv_plan_gradient_ranks(plan, layer);
        if (enough < BUCKET_PARAMETERS) {
            enough = BUCKET_PARAMETERS;
        }
        galv_bucket *bucket =
            chunk->n_buckets > 0 ? &chunk->buckets[chunk->n_buckets - 1] : NULL;
        bool full = bucket == NULL || parameters >= enough ||
                    bucket->n_layers == BUCKET_LAYERS ||
                    plan->layer_strategy[layer] != plan->layer_strategy[layer - 1] ||
                    galv_model_layer(&job->model, layer) !=
                        galv_model_layer(&job->model, layer - 1);
        if (full) {
            bucket = &chunk->buckets[chunk->n_buckets++];
            bucket->first_layer = layer;
            parameters = 0;
        }
        bucket->n_layers++;
        parameters += local_parameters(job, plan, layer);
    }
}

galv_status galv_compile_chunks(galv_chunk **chunks, const galv_job *job,
                                const galv_plan *plan, const galv_schedule *schedule,
                                const galv_schedule_shape *shape, int32_t stage,
                                galv_arena *arena, galv_err *err)
{
    int32_t n_chunks = galv_plan_n_chunks(plan);
    galv_chunk *made = GALV_NEW_ARRAY(arena, galv_chunk, n_chunks);
    for (int32_t i = 0; made != NULL && i < n_chunks; i++) {
        made[i].stage = stage;
        made[i].chunk = i;
        made[i].virtual_stage = galv_schedule_virtual_stage(schedule, shape, stage, i);
        made[i].first_layer = plan->first_layer[made[i].virtual_stage];
        made[i].end_layer = plan->first_layer[made[i].virtual_stage + 1];
        made[i].buckets =
            GALV_NEW_ARRAY(arena, galv_bucket, made[i].end_layer - made[i].first_layer);
        if (made[i].buckets == NULL) {
            made = NULL;
            break;
        }
        fill_buckets(&made[i], job, plan);
    }
    if (made == NULL) {
        return galv_fail(err, GALV_NO_MEMORY,
                         "the chunks of stage %d do not fit in "
                         "memory",
                         (int)stage);
    }
    *chunks = made;
    return GALV_OK;
}

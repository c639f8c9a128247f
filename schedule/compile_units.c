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

#include <math.h>

#define BUCKET_PARAMETERS          40e6
#define BUCKET_PARAMETERS_PER_RANK 1e6
#define BUCKET_LAYERS              8

typedef struct unit {
    int32_t first_layer, n_layers;
    int32_t run_end; /* of the alike layers that it is one of */
    bool gathered;   /* ZeRO-3 */
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

/* Where the run of alike layers that a layer is in ends, in its chunk. */
static int32_t end_of_run(const galv_pass_writer *w, int32_t layer)
{
    const galv_model *model = &w->job->model;
    const int32_t *strategy = w->plan->layer_strategy;
    int32_t end = 0;
    for (int32_t g = 0; g < model->n_groups && end <= layer; g++) {
        end += model->groups[g].n_layers;
    }
    int32_t next = layer + 1;
    end = end < w->chunk->end_layer ? end : w->chunk->end_layer;
    while (next < end && strategy[next] == strategy[layer]) {
        next++;
    }
    return next;
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

/* The units of a run of alike layers, appended to units[*n_units]. */
static void add_units(const galv_pass_writer *w, unit *units, int32_t *n_units,
                      int32_t first_layer, int32_t run_end)
{
    const galv_layer_group *group = galv_model_layer(&w->job->model, first_layer);
    const galv_strategy *strategy = galv_plan_strategy(w->plan, first_layer);
    bool weights = w->pass == GALV_PASS_BACKWARD_WEIGHT;
    bool zero3 = gathers_here(w, first_layer);
    bool alone = zero3 || (galv_compile_is_cut(group, strategy) && !weights);
    bool by_bucket = w->hooks->wait_for_parameters || reduces_here(w, first_layer);
    int32_t end = first_layer;
    for (int32_t layer = first_layer; layer < run_end; layer = end) {
        end = alone ? layer + 1 : run_end;
        if (!alone && by_bucket) {
            const galv_bucket *bucket = &w->chunk->buckets[bucket_of(w->chunk, layer)];
            end = bucket->first_layer + bucket->n_layers;
        }
        units[(*n_units)++] = (unit){layer, end - layer, run_end, zero3 && !weights};
    }
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

/* The units of a pass, and what is kept while it is written. */
typedef struct unit_list {
    const unit *units; /* [n] in the order of layers */
    int32_t n;
    bool forward;
    int32_t *ends;         /* [n] last computation of each, in the order of the pass */
    galv_pass_mark *marks; /* [n] likewise; NULL: nothing is shortened */
    int32_t first_mark;    /* from here on all are set */
} unit_list;

/* The i-th unit in the order of the pass. */
static const unit *ith_unit(const unit_list *list, int32_t i)
{
    return &list->units[list->forward ? i : list->n - 1 - i];
}

/* Do two units and what is around them ask for the same operations? */
static bool alike_units(const galv_pass_writer *w, const unit *a, const unit *b)
{
    return a->run_end == b->run_end && a->n_layers == b->n_layers &&
           a->gathered == b->gathered &&
           reduction_after(w, a).n_layers == reduction_after(w, b).n_layers;
}

/* Unit i is written. How many units after it would repeat what was written for the last
 * ones, bucket by bucket or unit by unit? Notes the row that they repeat. The writer
 * goes by its state and by the units before, at hand and next: if all have come round,
 * the rest goes on as it began. */
static int32_t repeated_after(galv_pass_writer *w, const unit_list *list, int32_t i)
{
    const unit *u = ith_unit(list, i);
    int32_t row = 1; /* in units */
    if (reduces_here(w, u->first_layer) &&
        galv_plan_strategy(w->plan, u->first_layer)->zero < 3) {
        row = w->chunk->buckets[bucket_of(w->chunk, u->first_layer)].n_layers /
              u->n_layers;
    }
    if (row < 1 || i - 2 * row < list->first_mark ||
        ith_unit(list, i - 2 * row)->run_end != u->run_end ||
        w->layout->n_repeats == GALV_MAX_REPEATS ||
        !galv_pass_comes_round(w, &list->marks[i - 2 * row], &list->marks[i - row],
                               &list->marks[i])) {
        return 0;
    }
    int32_t n_alike = 0;
    while (i + n_alike + 1 < list->n &&
           alike_units(w, ith_unit(list, i + n_alike + 1),
                       ith_unit(list, i + n_alike + 1 - row))) {
        n_alike++;
    }
    int32_t times = (n_alike - 1) / row; /* what comes next has been looked at */
    if (times < 1) {
        return 0;
    }
    int32_t first_op = list->marks[i - row].n_ops;
    w->layout->repeats[w->layout->n_repeats++] =
        (galv_pass_repeat){first_op, w->layout->n_ops - first_op, times};
    return times * row;
}

/* Goes through the units in the order of the pass. */
static void write_units(galv_pass_writer *w, unit_list *list)
{
    int32_t *ends = list->ends;
    int32_t gather_ops[2] = {-1, -1}; /* of this unit and of the next, by parity */
    galv_bucket waiting = {0, 0};     /* reduction to be issued after the next gather */
    int gather_serves = list->forward ? GALV_OP_FORWARD : GALV_OP_BACKWARD;
    bool ahead = w->plan->overlap.param_gather;
    for (int32_t i = 0; i < list->n && !w->failed; i++) {
        w->serves = gather_serves;
        for (int32_t k = i == 0 || !ahead ? i : i + 1;
             k <= (ahead ? i + 1 : i) && k < list->n; k++) {
            const unit *next = ith_unit(list, k);
            gather_ops[k % 2] = next->gathered ? gather_unit(w, next, ends, k) : -1;
        }
        if (waiting.n_layers > 0) {
            reduce_layers(w, waiting.first_layer, waiting.n_layers, ends[i - 1]);
        }
        w->gather_op = gather_ops[i % 2];
        compute_unit(w, ith_unit(list, i));
        ends[i] = w->last_compute;
        if (list->marks != NULL && !w->failed) {
            galv_pass_set_mark(&list->marks[i], w);
            int32_t n = repeated_after(w, list, i);
            int32_t next_gather = gather_ops[(i + 1) % 2];
            list->first_mark = n > 0 ? i + n : list->first_mark;
            list->marks[i + n] = list->marks[i];
            ends[i + n] = ends[i];
            i += n;
            gather_ops[(i + 1) % 2] = next_gather;
        }
        waiting = reduction_after(w, ith_unit(list, i));
    }
    if (waiting.n_layers > 0 && list->n > 0) {
        reduce_layers(w, waiting.first_layer, waiting.n_layers, ends[list->n - 1]);
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
    unit_list list = {.units = units, .forward = pass == GALV_PASS_FORWARD};
    int32_t *ends = list.ends = GALV_NEW_ARRAY(arena, int32_t, n_layers);
    if (hooks->shortens) {
        list.marks = GALV_NEW_ARRAY(arena, galv_pass_mark, n_layers);
    }
    bool no_memory =
        units == NULL || ends == NULL || (hooks->shortens && list.marks == NULL);
    if (!no_memory) {
        int32_t end = 0;
        for (int32_t layer = chunk->first_layer; layer < chunk->end_layer;
             layer = end) {
            end = end_of_run(&w, layer);
            add_units(&w, units, &list.n, layer, end);
        }
        write_units(&w, &list);
        if (w.n_late > 0) {
            galv_pass_finish_weights(&w);
            galv_pass_join(&w, w.last_compute);
        }
    }
    int32_t n_units = list.n;
    if (no_memory || w.failed) {
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
    made.pass = pass;
    made.hooked = hooks->wait_for_parameters || hooks->reduce_gradients;
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
    const galv_layer_group *group = NULL; /* of the layer before */
    galv_bucket *bucket = NULL;
    double enough = 0;
    double each = 0; /* parameters of a layer of the run at hand */
    double parameters = 0;
    for (int32_t layer = chunk->first_layer; layer < chunk->end_layer; layer++) {
        const galv_layer_group *here = galv_model_layer(&job->model, layer);
        bool begins = here != group ||
                      plan->layer_strategy[layer] != plan->layer_strategy[layer - 1];
        if (begins) {
            enough = fmax(BUCKET_PARAMETERS,
                          BUCKET_PARAMETERS_PER_RANK *
                              (double)galv_plan_gradient_ranks(plan, layer));
            each = local_parameters(job, plan, layer);
        }
        if (begins || parameters >= enough || bucket->n_layers == BUCKET_LAYERS) {
            bucket = &chunk->buckets[chunk->n_buckets++];
            bucket->first_layer = layer;
            parameters = 0;
        }
        bucket->n_layers++;
        parameters += each;
        group = here;
    }
}

galv_status galv_compile_chunk(galv_chunk *chunk, const galv_job *job,
                               const galv_plan *plan, const galv_schedule *schedule,
                               const galv_schedule_shape *shape, int32_t stage,
                               int32_t index, galv_arena *arena, galv_err *err)
{
    galv_chunk made = {.stage = stage, .chunk = index};
    made.virtual_stage = galv_schedule_virtual_stage(schedule, shape, stage, index);
    made.first_layer = plan->first_layer[made.virtual_stage];
    made.end_layer = plan->first_layer[made.virtual_stage + 1];
    made.buckets =
        GALV_NEW_ARRAY(arena, galv_bucket, made.end_layer - made.first_layer);
    if (made.buckets == NULL) {
        return galv_fail(err, GALV_NO_MEMORY,
                         "the chunks of stage %d do not fit in memory", (int)stage);
    }
    fill_buckets(&made, job, plan);
    *chunk = made;
    return GALV_OK;
}

galv_status galv_compile_chunks(galv_chunk **chunks, const galv_job *job,
                                const galv_plan *plan, const galv_schedule *schedule,
                                const galv_schedule_shape *shape, int32_t stage,
                                galv_arena *arena, galv_err *err)
{
    int32_t n_chunks = galv_plan_n_chunks(plan);
    galv_chunk *made = GALV_NEW_ARRAY(arena, galv_chunk, n_chunks);
    if (made == NULL) {
        return galv_fail(err, GALV_NO_MEMORY,
                         "the chunks of stage %d do not fit in memory", (int)stage);
    }
    for (int32_t i = 0; i < n_chunks; i++) {
        galv_status status = galv_compile_chunk(&made[i], job, plan, schedule, shape,
                                                stage, i, arena, err);
        if (status != GALV_OK) {
            return status;
        }
    }
    *chunks = made;
    return GALV_OK;
}

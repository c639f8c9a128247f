/* Pricing layers one at a time.
 *
 * A probe is a plan of one strategy whose first stage holds just the layer; its passes
 * are laid out by the compiler itself (galv_program_pass), and priced as a layer in the
 * middle of a stage. Then
 *
 *   - passes of layers follow one another: a layer's first operations wait for all that
 *     the layer before ends with, so latencies add up. Not so where overlap.tp_comm
 * lets a collective run into the next layer: there only computation is counted;
 *   - weights that ZeRO-3 gathers and gradients that it or ZeRO-2 reduces run beside
 *     passes. ZeRO-3 does both by layer, ZeRO-2 reduces by bucket, cheaper than by
 *     layer: a layer is charged its share of the largest bucket. That loads the stream
 *     of the group; and where a message runs beside computation for x seconds, it gets
 *     on by x / sm and the computation by x / sc, so hiding D seconds of messages costs
 *     sm (1 - 1 / sc) D seconds, unless they hide behind other communication;
 *   - so do collectives of the layer itself: each second of them shows, or slows what
 * it runs beside by sm (1 - 1 / sc), which is less; a pass takes at least its
 * computation and that much for all of them, where that is more than its longest path;
 *   - where stages begin in the middle of a node, groups lie differently on each, and
 *     the cheapest is taken. */
#include "search/layer_table.h"

#include "plan/placement.h"
#include "schedule/program.h"
#include "sim/pass_price.h"

#include <math.h>
#include <string.h>

typedef struct prober {
    const galv_costmodel *model;
    const galv_job *job;
    const galv_shape *shape;
    galv_layer_times *times; /* NULL = none */
    galv_overlap overlap;
    galv_arena *arena; /* of the table */
    galv_arena *scratch;
    galv_err *err;
    galv_plan plan;
    galv_strategy strategy;
    int32_t *layer_strategy; /* all 0 */
    int32_t *alone;          /* first_layer: the stage holds the layer alone */
    int32_t *amid;           /* first_layer: the layer lies inside of the stage */
    int32_t stage;
    double most_slowing, message_s, least_message_s;
} prober;

#define MOST_SLOWING 0.99

int32_t galv_layer_table_group(const galv_layer_table *table, int32_t layer)
{
    int32_t g = 0;
    while (g + 1 < table->n_groups && layer >= table->group_of[g + 1]) {
        g++;
    }
    return g;
}

double galv_layer_change_s(const galv_layer_price *from, const galv_layer_price *to)
{
    const galv_strategy *a = &from->strategy;
    const galv_strategy *b = &to->strategy;
    bool pieces_a = a->tp > 1 && a->sp != GALV_SP_NONE;
    bool pieces_b = b->tp > 1 && b->sp != GALV_SP_NONE;
    if (galv_strategy_equal(a, b)) {
        return 0;
    }
    if (b->dp < a->dp) {
        return b->tp > 1 ? to->gather_s : 0;
    }
    if (b->dp > a->dp || (pieces_a && !pieces_b)) {
        return pieces_a ? from->gather_s : 0;
    }
    return 0;
}

static galv_status begin_probe(prober *p)
{
    size_t n_layers = (size_t)galv_model_n_layers(&p->job->model);
    size_t n_stages = (size_t)p->shape->pp + 1;
    p->layer_strategy = GALV_NEW_ARRAY(p->scratch, int32_t, n_layers);
    p->alone = GALV_NEW_ARRAY(p->scratch, int32_t, n_stages);
    p->amid = GALV_NEW_ARRAY(p->scratch, int32_t, n_stages);
    if (!p->layer_strategy || !p->alone || !p->amid) {
        return galv_fail(p->err, GALV_NO_MEMORY, "out of memory");
    }
    galv_plan *plan = &p->plan;
    plan->pp = p->shape->pp;
    plan->vpp = 1;
    strcpy(plan->schedule, "1f1b");
    strcpy(plan->rank_order, "tp-cp-dp-pp");
    plan->global_batch_size = p->job->workload.global_batch_size;
    plan->n_layers = (int32_t)n_layers;
    plan->n_strategies = 1;
    plan->strategies = &p->strategy;
    plan->layer_strategy = p->layer_strategy;
    plan->overlap = p->overlap;
    return GALV_OK;
}

/* Puts the layer on a stage: alone, and amid others. */
static void place(prober *p, int32_t layer, int32_t stage)
{
    p->stage = stage;
    for (int32_t s = 0; s <= p->shape->pp; s++) {
        p->alone[s] = s <= stage ? layer : layer + 1;
        p->amid[s] = s <= stage ? -1 : p->plan.n_layers;
    }
    p->plan.micro_batch_size = (int32_t)(p->shape->samples / p->strategy.dp);
}

static double lasting_bytes(const galv_cost *cost)
{
    double sum = 0;
    for (int use = 0; use < GALV_N_MEMORY_USES; use++) {
        sum += cost->start_bytes[use] + cost->end_bytes[use];
    }
    return sum;
}

/* Layers of the largest bucket that gradients are reduced in.
 * Source: schedule/compile_units.c. */
enum { BUCKET_LAYERS = 8 };

/* Seconds by which a second of communication slows what it runs beside; < 1, and less
 * than it would show otherwise. */
static double slowing_of(const galv_cost *cost)
{
    double slowing = cost->compute_slowdown > 1 ? fmax(cost->comm_slowdown, 1) *
                                                      (1 - 1 / cost->compute_slowdown)
                                                : 0;
    return fmin(slowing, MOST_SLOWING / fmax(cost->comm_slowdown, 1));
}

/* A message of parameters of one layer, sent in `share` of all micro-batches. */
static void add_message(prober *p, galv_layer_price *price, const galv_operation *op,
                        double alone_s, double share)
{
    galv_operation bucket = *op;
    galv_cost cost;
    int32_t left = galv_model_layer(&p->job->model, op->first_layer)->n_layers;
    bool by_layer = price->strategy.zero >= 3;
    bucket.n_layers = by_layer ? 1 : left < BUCKET_LAYERS ? left : BUCKET_LAYERS;
    galv_costmodel_operation(&cost, p->model, &p->plan, &bucket);
    double work_s = fmin(alone_s, cost.work_s / bucket.n_layers);
    double slowing = slowing_of(&cost);
    p->most_slowing = fmax(p->most_slowing, slowing);
    price->load_s[GALV_STREAM_DP] += share * work_s;
    price->slowing_s += share * slowing * work_s;
}

/* Messages of parameters that are sent once an iteration: gradients of ZeRO-0 and 1,
 * and what ZeRO-1 and 2 gather of the stepped parameters. */
static void add_messages_once(prober *p, galv_layer_price *price, int32_t layer,
                              int32_t stage)
{
    const galv_strategy *strategy = &price->strategy;
    bool experts =
        galv_model_layer(&p->job->model, layer)->kind == GALV_LAYER_MOE_DECODER &&
        galv_strategy_expert_gradient_ranks(strategy) > 1;
    bool reduced[2] = {galv_strategy_gradient_ranks(strategy) > 1, experts};
    double share =
        (double)p->shape->samples / (double)p->job->workload.global_batch_size;
    for (int i = 0; i < 2; i++) {
        galv_operation op = {.stream = GALV_STREAM_DP,
                             .part = i == 0 ? GALV_PART_DENSE : GALV_PART_EXPERTS,
                             .stage = stage,
                             .first_layer = layer,
                             .n_layers = 1,
                             .peer_stage = -1};
        if (reduced[i] && strategy->zero < 2) {
            op.kind = strategy->zero == 0 ? GALV_OP_ALL_REDUCE : GALV_OP_REDUCE_SCATTER;
            op.pass = GALV_OP_BACKWARD;
            add_message(p, price, &op, (double)INFINITY, share);
        }
        if (reduced[i] && (strategy->zero == 1 || strategy->zero == 2)) {
            op.kind = GALV_OP_ALL_GATHER;
            op.pass = GALV_OP_OPTIMIZER;
            add_message(p, price, &op, (double)INFINITY, share);
        }
    }
}

/* What an operation adds to the load of its stream, and to what hiding takes. */
static void add_load(prober *p, galv_layer_price *price, const galv_operation *op,
                     const galv_cost *cost)
{
    double work_s = cost->work_s;
    if (op->stream == GALV_STREAM_COMPUTE) {
        price->load_s[op->stream] += work_s;
        return;
    }
    if (op->stream != GALV_STREAM_DP) {
        price->load_s[op->stream] += work_s;
        price->beside_s += work_s * fmax(cost->comm_slowdown, 1);
        return;
    }
    add_message(p, price, op, work_s, 1);
}

/* Latency of one pass; adds to the loads of `price`, and to its kept bytes. */
static galv_status probe_pass(double *latency_s, prober *p, galv_layer_price *price,
                              int pass)
{
    galv_pass_ops ops = {0};
    p->plan.first_layer = p->alone;
    galv_status status = galv_program_pass(&ops, p->job, &p->plan, p->stage, 0, pass,
                                           p->scratch, p->err);
    if (status != GALV_OK) {
        return status;
    }
    double *work_s = GALV_NEW_ARRAY(p->scratch, double, ops.n_ops + 1);
    double *end_s = GALV_NEW_ARRAY(p->scratch, double, ops.n_ops + 1);
    if (!work_s || !end_s) {
        return galv_fail(p->err, GALV_NO_MEMORY, "out of memory");
    }
    double compute_s = 0;
    double slowing_s = 0; /* were all communication hidden behind computation */
    p->plan.first_layer = p->amid;
    for (int32_t i = 0; i < ops.n_ops; i++) {
        galv_cost cost;
        galv_costmodel_operation_by(&cost, p->model, &p->plan, &ops.ops[i], p->times);
        work_s[i] = cost.work_s;
        add_load(p, price, &ops.ops[i], &cost);
        price->messages_s += ops.ops[i].stream == GALV_STREAM_DP ? cost.work_s : 0;
        compute_s += ops.ops[i].stream == GALV_STREAM_COMPUTE ? cost.work_s : 0;
        slowing_s += ops.ops[i].stream != GALV_STREAM_COMPUTE &&
                             ops.ops[i].stream != GALV_STREAM_DP
                         ? slowing_of(&cost) * cost.work_s
                         : 0;
        price->kept_bytes += pass == GALV_PASS_FORWARD ? lasting_bytes(&cost) : 0;
    }
    *latency_s =
        p->overlap.tp_comm ? compute_s : galv_pass_latency(end_s, &ops, work_s);
    price->own_slowing_s +=
        p->overlap.tp_comm ? 0 : fmax(0, compute_s + slowing_s - *latency_s);
    return GALV_OK;
}

static double total_bytes(const galv_stage_memory *memory)
{
    double sum = 0;
    for (int use = 0; use < GALV_N_MEMORY_USES; use++) {
        sum += memory->bytes[use];
    }
    return sum;
}

/* What a layer adds to a rank that holds others already: buffers are left out, for
 * layers share them, and with them their part of the allocator's slack. */
static double held_beside(const galv_stage_memory *with,
                          const galv_stage_memory *without)
{
    double shared =
        with->bytes[GALV_MEMORY_BUFFERS] - without->bytes[GALV_MEMORY_BUFFERS];
    double slack =
        with->bytes[GALV_MEMORY_CONTEXT] - without->bytes[GALV_MEMORY_CONTEXT];
    double own = total_bytes(with) - total_bytes(without) - shared - slack;
    return own + (own + shared > 0 ? slack * own / (own + shared) : 0);
}

static galv_status probe_passes(prober *p, galv_layer_price *price)
{
    galv_status status = probe_pass(&price->forward_s, p, price, GALV_PASS_FORWARD);
    if (status != GALV_OK) {
        return status;
    }
    if (!p->shape->schedule->splits_backward) {
        return probe_pass(&price->backward_s, p, price, GALV_PASS_BACKWARD);
    }
    status = probe_pass(&price->backward_s, p, price, GALV_PASS_BACKWARD_INPUT);
    return status != GALV_OK
               ? status
               : probe_pass(&price->weight_s, p, price, GALV_PASS_BACKWARD_WEIGHT);
}

/* One layer on one stage. */
static galv_status probe(prober *p, galv_layer_price *price, double *base_bytes,
                         int32_t layer, int32_t stage)
{
    galv_stage_memory with, without;
    place(p, layer, stage);
    galv_status status = probe_passes(p, price);
    if (status != GALV_OK) {
        return status;
    }
    /* the fixed part belongs to chunk 0 */
    galv_operation step = galv_optimizer_step(stage, 1, layer, 1);
    galv_operation gather = {.kind = GALV_OP_ALL_GATHER,
                             .stream = GALV_STREAM_TP,
                             .part = GALV_PART_WHOLE,
                             .pass = GALV_OP_FORWARD,
                             .stage = stage,
                             .first_layer = layer,
                             .n_layers = 1,
                             .peer_stage = -1};
    galv_operation send = {.kind = GALV_OP_SEND,
                           .stream = GALV_STREAM_PP_SEND,
                           .part = GALV_PART_WHOLE,
                           .pass = GALV_OP_FORWARD,
                           .stage = stage,
                           .first_layer = layer,
                           .n_layers = 1,
                           .peer_stage = stage + 1 < p->shape->pp ? stage + 1 : 0};
    galv_cost cost;
    galv_costmodel_operation(&cost, p->model, &p->plan, &step);
    price->optimizer_s = cost.work_s;
    if (p->shape->pp > 1) {
        galv_costmodel_operation(&cost, p->model, &p->plan, &send);
        p->message_s = fmax(p->message_s, cost.work_s * fmax(cost.comm_slowdown, 1));
        p->least_message_s = fmin(p->least_message_s, cost.work_s);
    }
    if (price->strategy.tp > 1) {
        galv_costmodel_operation(&cost, p->model, &p->plan, &gather);
        price->gather_s = cost.work_s;
    }
    add_messages_once(p, price, layer, stage);
    p->plan.first_layer = p->alone;
    galv_costmodel_stage_memory(&with, p->model, &p->plan, stage);
    for (int32_t s = 0; s <= p->shape->pp; s++) {
        p->alone[s] = layer;
    }
    galv_costmodel_stage_memory(&without, p->model, &p->plan, stage);
    *base_bytes = total_bytes(&without);
    price->held_bytes = held_beside(&with, &without);
    return GALV_OK;
}

static void take_cheaper(galv_layer_price *price, const galv_layer_price *other)
{
    price->forward_s = fmin(price->forward_s, other->forward_s);
    price->backward_s = fmin(price->backward_s, other->backward_s);
    price->weight_s = fmin(price->weight_s, other->weight_s);
    price->gather_s = fmin(price->gather_s, other->gather_s);
    price->slowing_s = fmin(price->slowing_s, other->slowing_s);
    price->own_slowing_s = fmin(price->own_slowing_s, other->own_slowing_s);
    price->beside_s = fmax(price->beside_s, other->beside_s);
    for (int stream = 0; stream < GALV_N_STREAMS; stream++) {
        price->load_s[stream] = fmin(price->load_s[stream], other->load_s[stream]);
    }
}

static galv_status price_layer(prober *p, galv_layer_price *price, double *base_bytes,
                               int32_t layer)
{
    int32_t first = p->shape->first_stage;
    int32_t end = p->shape->n_stages > 0 ? first + p->shape->n_stages : p->shape->pp;
    galv_layer_price bare = {.strategy = price->strategy};
    p->strategy = price->strategy;
    galv_status status = probe(p, price, base_bytes, layer, first);
    int64_t domain =
        p->job->cluster.pools[galv_placement_pool(&p->plan, &p->job->cluster, first)]
            .scaleup_domain;
    int64_t per_stage =
        (int64_t)price->strategy.tp * price->strategy.cp * price->strategy.dp;
    bool alike = domain < 1 || per_stage % domain == 0 || domain % per_stage == 0;
    for (int32_t stage = first + 1; status == GALV_OK && !alike && stage < end;
         stage++) {
        galv_layer_price here = bare;
        status = probe(p, &here, base_bytes, layer, stage);
        take_cheaper(price, &here);
    }
    return status;
}

static galv_status price_group(prober *p, galv_layer_table *table, int32_t g)
{
    const galv_layer_group *group = &p->job->model.groups[g];
    galv_layer_price *prices =
        GALV_NEW_ARRAY(p->arena, galv_layer_price, p->shape->n_strategies);
    table->price_of[g] = GALV_NEW_ARRAY(p->arena, int32_t, p->shape->n_strategies);
    int32_t n = 0;
    if (!prices || !table->price_of[g]) {
        return galv_fail(p->err, GALV_NO_MEMORY, "out of memory");
    }
    for (int32_t i = 0; i < p->shape->n_strategies; i++) {
        galv_strategy strategy =
            galv_plan_strategy_for(&p->shape->strategies[i], group);
        int32_t k = 0;
        while (k < n && !galv_strategy_equal(&prices[k].strategy, &strategy)) {
            k++;
        }
        table->price_of[g][i] = k;
        if (k < n) {
            continue;
        }
        prices[n].strategy = strategy;
        double base = 0;
        galv_status status = price_layer(p, &prices[n], &base, table->group_of[g]);
        if (status != GALV_OK) {
            return status;
        }
        table->base_bytes = fmin(table->base_bytes, base);
        n++;
    }
    table->prices[g] = prices;
    table->n_prices[g] = n;
    return GALV_OK;
}

galv_status galv_layer_table_make(galv_layer_table *table, const galv_costmodel *model,
                                  const galv_shape *shape, const galv_overlap *overlap,
                                  galv_layer_times *times, galv_arena *arena,
                                  galv_err *err)
{
    prober p = {.model = model,
                .times = times,
                .job = galv_costmodel_job(model),
                .shape = shape,
                .overlap = *overlap,
                .arena = arena,
                .scratch = galv_arena_new(),
                .err = err,
                .least_message_s = INFINITY};
    galv_layer_table made;
    memset(&made, 0, sizeof made);
    made.shape = *shape;
    made.n_layers = galv_model_n_layers(&p.job->model);
    made.n_groups = p.job->model.n_groups;
    made.n_micro_batches =
        (int32_t)(p.job->workload.global_batch_size / shape->samples);
    made.base_bytes = INFINITY;
    galv_status status =
        p.scratch ? begin_probe(&p) : galv_fail(err, GALV_NO_MEMORY, "out of memory");
    for (int32_t g = 0; g < made.n_groups; g++) {
        made.group_of[g + 1] = made.group_of[g] + p.job->model.groups[g].n_layers;
    }
    for (int32_t g = 0; status == GALV_OK && g < made.n_groups; g++) {
        status = price_group(&p, &made, g);
    }
    galv_arena_free(p.scratch);
    made.most_slowing = p.most_slowing;
    made.message_s = p.message_s;
    made.least_message_s = isfinite(p.least_message_s) ? p.least_message_s : 0;
    for (int32_t g = 0; status == GALV_OK && g < made.n_groups; g++) {
        for (int32_t i = 0; i < made.n_prices[g]; i++) {
            made.prices[g][i].most_slowing = p.most_slowing;
        }
    }
    if (status == GALV_OK) {
        *table = made;
    }
    return status;
}

/* A lower bound of the simulated iteration.
 *
 * What is used of a pass (the operations of one micro-batch on one chunk, as compiled):
 *
 *   latency  the longest path from its first operations to its end, all rates 1.
 *            Slowdowns and waiting only lengthen it. The passes of one rank follow one
 *            another, collectives included, so the latencies of its passes add up.
 *   load     the work of each stream: a queue runs in order, so it adds up too.
 *
 * With A_i the sum of forward latencies of the virtual stages before stage i's first
 * one, D_i the same for backward, and S_i the sum over its chunks of m times latency
 * (or of m times the load of one stream, where that is more), the last backward of the
 * first virtual stage cannot end before A_i + S_i + D_i. The optimizer steps of all
 * stages come after every stage's gradients (clipping needs the norm of all of them),
 * so the longest of them is added. Where the backward pass is split, weight gradients
 * may come last, so D_i is left out.
 *
 * Where passes run beside each other their latencies do not add up, so that only the
 * loads count; and of a backward that may be whole or split, what is less. Two copies
 * of the model share the micro-batches.
 *
 * Where ZeRO-2 or 3 sends parameters and gradients in every pass, hiding them costs
 * something too (hiding_s below).
 *
 * Left out, since the schedule decides whether it is hidden: gradient reduction and
 * parameter gathers outside the passes, and pipeline messages. The bound stays true
 * without them. */
#include "search/bound.h"

#include "plan/chunks.h"
#include "schedule/program.h"
#include "schedule/schedule.h"

#include <math.h>
#include <string.h>

enum { FEW_ROUNDS = 4 };

typedef struct bounder {
    const galv_plan *plan;
    galv_plan few; /* the plan with few micro-batches: enough for its passes */
    const galv_job *job;
    galv_arena *arena;
    galv_err *err;
    galv_prices *prices;
    double most_slowing;       /* by one second of parameter messages */
    struct pass_bound *passes; /* [pp * vpp][4] by class of virtual stage and pass */
} bounder;

typedef struct pass_bound {
    bool known;
    double latency_s;
    double load_s[GALV_N_STREAMS];
    double bare_s;    /* latency when parameter messages take no time */
    double slowing_s; /* what hiding its parameter messages behind computation takes */
    double beside_s;  /* most seconds of them that other communication can hide */
} pass_bound;

/* Longest path from the first operations of a pass to its last. Ops are in program
 * order, so predecessors come first. A gather on the dp stream may have run long before
 * the pass began, so no path begins with one. */
double galv_pass_latency(double *end_s, const galv_pass_ops *ops, const double *work_s)
{
    double queue_end[GALV_N_STREAMS];
    double longest = 0;
    for (int stream = 0; stream < GALV_N_STREAMS; stream++) {
        queue_end[stream] = -1;
    }
    for (int32_t i = 0; i < ops->n_ops; i++) {
        int stream = ops->ops[i].stream;
        const int32_t waits[2] = {ops->waits_for[i], ops->also_waits_for[i]};
        double start = queue_end[stream];
        for (int k = 0; k < 2; k++) {
            if (waits[k] >= 0 && end_s[waits[k]] > start) {
                start = end_s[waits[k]];
            }
        }
        if (start < 0 && stream != GALV_STREAM_DP) {
            start = 0;
        }
        end_s[i] = start < 0 ? -1 : start + work_s[i];
        queue_end[stream] = end_s[i];
        if (stream != GALV_STREAM_DP && end_s[i] > longest) {
            longest = end_s[i];
        }
    }
    return longest;
}

/* What hiding an operation takes, if it is a message of parameters; what it can hide,
 * if it is another. See search/layer_table.c. */
static void add_hiding(bounder *b, pass_bound *bound, int stream, const galv_cost *cost)
{
    double comm = cost->comm_slowdown > 1 ? cost->comm_slowdown : 1;
    if (stream == GALV_STREAM_DP && cost->compute_slowdown > 1) {
        double slowing = comm * (1 - 1 / cost->compute_slowdown);
        slowing = slowing * comm < 1 ? slowing : 0;
        bound->slowing_s += slowing * cost->work_s;
        b->most_slowing = slowing > b->most_slowing ? slowing : b->most_slowing;
    } else if (stream != GALV_STREAM_DP && stream != GALV_STREAM_COMPUTE) {
        bound->beside_s += comm * cost->work_s;
    }
}

/* A pass of a virtual stage; those of one class (sim/prices.h) share their bounds. */
static galv_status bound_pass(const pass_bound **found, bounder *b, int32_t stage,
                              int32_t chunk, int32_t virtual_stage, int pass)
{
    int32_t class_of = galv_prices_class(b->prices, virtual_stage);
    pass_bound *bound = &b->passes[4 * class_of + pass];
    *found = bound;
    if (bound->known) {
        return GALV_OK;
    }
    bound->known = true;
    galv_pass_ops ops = {0};
    galv_status status =
        galv_program_pass(&ops, b->job, &b->few, stage, chunk, pass, b->arena, b->err);
    if (status != GALV_OK) {
        return status;
    }
    double *end_s = GALV_NEW_ARRAY(b->arena, double, ops.n_ops + 1);
    double *work_s = GALV_NEW_ARRAY(b->arena, double, ops.n_ops + 1);
    if (!end_s || !work_s) {
        return galv_fail(b->err, GALV_NO_MEMORY, "out of memory");
    }
    for (int32_t i = 0; i < ops.n_ops; i++) {
        const galv_cost *cost = galv_prices_get(b->prices, &ops.ops[i]);
        if (!cost) {
            return galv_fail(b->err, GALV_NO_MEMORY, "out of memory");
        }
        work_s[i] = cost->work_s;
        bound->load_s[ops.ops[i].stream] += work_s[i];
        add_hiding(b, bound, ops.ops[i].stream, cost);
    }
    bound->latency_s = galv_pass_latency(end_s, &ops, work_s);
    for (int32_t i = 0; i < ops.n_ops; i++) {
        work_s[i] = ops.ops[i].stream == GALV_STREAM_DP ? 0 : work_s[i];
    }
    bound->bare_s = bound->load_s[GALV_STREAM_DP] > 0
                        ? galv_pass_latency(end_s, &ops, work_s)
                        : bound->latency_s;
    return GALV_OK;
}

/* The step of one virtual stage; 0 when it holds no layer. */
static double optimizer_s(const bounder *b, int32_t stage, int32_t chunk,
                          int32_t virtual_stage)
{
    galv_operation op = {.kind = GALV_OP_OPTIMIZER,
                         .stream = GALV_STREAM_COMPUTE,
                         .part = GALV_PART_WHOLE,
                         .pass = GALV_OP_OPTIMIZER,
                         .stage = stage,
                         .chunk = chunk,
                         .first_layer = b->plan->first_layer[virtual_stage],
                         .peer_stage = -1};
    op.n_layers = b->plan->first_layer[virtual_stage + 1] - op.first_layer;
    const galv_cost *cost = op.n_layers > 0 ? galv_prices_get(b->prices, &op) : NULL;
    return cost ? cost->work_s : 0;
}

typedef struct stage_bound {
    double latency_s;              /* of all passes of one micro-batch */
    double load_s[GALV_N_STREAMS]; /* the same by stream */
    double optimizer_s;
    double bare_s, slowing_s, beside_s;
    int32_t first_virtual; /* lowest virtual stage it holds */
} stage_bound;

/* Most seconds of messages to and from the stages beside it, for one micro-batch: they
 * too may hide what parameters send. */
static double messages_s(const bounder *b, int32_t stage)
{
    double most = 0;
    for (int32_t chunk = 0; b->plan->pp > 1 && chunk < galv_plan_n_chunks(b->plan);
         chunk++) {
        int32_t v = galv_plan_virtual_stage(b->plan, stage, chunk);
        for (int kind = GALV_OP_SEND; kind <= GALV_OP_RECV; kind++) {
            galv_operation op = {.kind = (uint8_t)kind,
                                 .part = GALV_PART_WHOLE,
                                 .pass = GALV_OP_FORWARD,
                                 .stage = stage,
                                 .chunk = chunk,
                                 .n_layers = 1,
                                 .peer_stage = (stage + 1) % b->plan->pp};
            op.stream =
                kind == GALV_OP_SEND ? GALV_STREAM_PP_SEND : GALV_STREAM_PP_RECV;
            op.first_layer = b->plan->first_layer[v + (kind == GALV_OP_SEND)] -
                             (kind == GALV_OP_SEND);
            op.first_layer = op.first_layer < 0 ? 0 : op.first_layer;
            op.first_layer = op.first_layer < b->plan->n_layers ? op.first_layer
                                                                : b->plan->n_layers - 1;
            const galv_cost *cost = galv_prices_get(b->prices, &op);
            double comm = cost && cost->comm_slowdown > 1 ? cost->comm_slowdown : 1;
            double seconds = cost ? comm * cost->work_s : (double)INFINITY;
            most = seconds > most ? seconds : most;
        }
    }
    return 4 * galv_plan_n_chunks(b->plan) * most;
}

/* The end of a stage's passes when parameter messages must run beside something:
 * `idle_s` is what it waits for others, and hides them too. */
static double hiding_s(const bounder *b, const stage_bound *at, int32_t stage,
                       double idle_s, double m)
{
    double k = b->most_slowing;
    if (!(at->slowing_s > 0)) {
        return 0;
    }
    return (1 - k) * idle_s +
           m * (at->bare_s + at->slowing_s - k * (at->beside_s + messages_s(b, stage)));
}

static double combine(const bounder *b, const stage_bound *stages,
                      const double *forward_s, const double *backward_s,
                      bool splits_backward)
{
    double passes = 0;
    double optimizer = 0;
    double m = galv_plan_n_micro_batches(b->plan);
    for (int32_t stage = 0; stage < b->plan->pp; stage++) {
        double arrival = 0;
        double drain = 0;
        double busiest = stages[stage].latency_s;
        for (int32_t s = 0; s < stages[stage].first_virtual; s++) {
            arrival += forward_s[s];
            drain += splits_backward ? 0 : backward_s[s];
        }
        for (int stream = 0; stream < GALV_N_STREAMS; stream++) {
            double load = stages[stage].load_s[stream];
            busiest = load > busiest ? load : busiest;
        }
        double end = arrival + m * busiest + drain;
        passes = end > passes ? end : passes;
        end = hiding_s(b, &stages[stage], stage, arrival + drain, m);
        passes = end > passes ? end : passes;
        if (stages[stage].optimizer_s > optimizer) {
            optimizer = stages[stage].optimizer_s;
        }
    }
    return passes + optimizer;
}

/* Adds a pass to what a stage does: those of one rank follow one another, unless some
 * run beside each other. */
static void add_pass(stage_bound *stage, const pass_bound *bound, double times,
                     bool beside)
{
    stage->latency_s += beside ? 0 : times * bound->latency_s;
    stage->bare_s += beside ? 0 : times * bound->bare_s;
    stage->slowing_s += beside ? 0 : times * bound->slowing_s;
    stage->beside_s += times * bound->beside_s;
    for (int stream = 0; stream < GALV_N_STREAMS; stream++) {
        stage->load_s[stream] += times * bound->load_s[stream];
    }
}

/* A backward that may be whole or split: of each stream, what is less. */
static pass_bound less_of(const pass_bound *whole, const pass_bound *input,
                          const pass_bound *weight)
{
    pass_bound less = *whole;
    for (int stream = 0; stream < GALV_N_STREAMS; stream++) {
        double split = input->load_s[stream] + weight->load_s[stream];
        less.load_s[stream] = split < less.load_s[stream] ? split : less.load_s[stream];
    }
    return less;
}

static galv_status bound_chunk(stage_bound *stage_at, double *forward_s,
                               double *backward_s, bounder *b,
                               const galv_schedule *schedule, int32_t stage,
                               int32_t chunk)
{
    const pass_bound *bounds[GALV_PASS_NONE] = {NULL};
    int32_t s = galv_plan_virtual_stage(b->plan, stage, chunk);
    double times = 1.0 / galv_plan_n_copies(b->plan);
    for (int pass = 0; pass < GALV_PASS_NONE; pass++) {
        galv_status status = galv_schedule_uses(schedule, pass)
                                 ? bound_pass(&bounds[pass], b, stage, chunk, s, pass)
                                 : GALV_OK;
        if (status != GALV_OK) {
            return status;
        }
    }
    if (s < stage_at->first_virtual) {
        stage_at->first_virtual = s;
    }
    stage_at->optimizer_s += optimizer_s(b, stage, chunk, s);
    forward_s[s] = bounds[GALV_PASS_FORWARD]->latency_s;
    add_pass(stage_at, bounds[GALV_PASS_FORWARD], times, schedule->pairs);
    stage_at->slowing_s *= schedule->pairs ? 0 : 1;
    const pass_bound *whole = bounds[GALV_PASS_BACKWARD];
    const pass_bound *input = bounds[GALV_PASS_BACKWARD_INPUT];
    const pass_bound *weight = bounds[GALV_PASS_BACKWARD_WEIGHT];
    backward_s[s] = (whole != NULL ? whole : input)->latency_s;
    if (whole != NULL && input != NULL) {
        pass_bound less = less_of(whole, input, weight);
        add_pass(stage_at, &less, times, schedule->pairs);
    } else if (whole != NULL) {
        add_pass(stage_at, whole, times, schedule->pairs);
    } else {
        add_pass(stage_at, input, times, false);
        add_pass(stage_at, weight, times, false);
    }
    return GALV_OK;
}

static galv_status bound_stages(stage_bound *stages, double *forward_s,
                                double *backward_s, bounder *b,
                                const galv_schedule *schedule)
{
    galv_status status = GALV_OK;
    for (int32_t stage = 0; stage < b->plan->pp; stage++) {
        stages[stage].first_virtual = INT32_MAX;
        for (int32_t chunk = 0;
             chunk < galv_plan_n_chunks(b->plan) && status == GALV_OK; chunk++) {
            status = bound_chunk(&stages[stage], forward_s, backward_s, b, schedule,
                                 stage, chunk);
        }
    }
    return status;
}

galv_status galv_bound_time(double *bound_s, const galv_costmodel *model,
                            const galv_plan *plan, galv_prices *prices,
                            galv_arena *arena, galv_err *err)
{
    bounder b = {plan, *plan, galv_costmodel_job(model), arena, err, prices, 0, NULL};
    const galv_schedule *schedule = NULL;
    size_t n_virtual = (size_t)plan->pp * (size_t)plan->vpp;
    galv_status status = galv_schedule_find(&schedule, plan->schedule, err);
    if (status != GALV_OK) {
        return status;
    }
    int64_t m = galv_plan_n_micro_batches(plan);
    int64_t few = FEW_ROUNDS * (int64_t)plan->pp + m % (2 * (int64_t)plan->pp);
    b.few.global_batch_size = plan->global_batch_size / m * (m < few ? m : few);
    stage_bound *stages = GALV_NEW_ARRAY(arena, stage_bound, plan->pp);
    double *forward_s = GALV_NEW_ARRAY(arena, double, n_virtual);
    double *backward_s = GALV_NEW_ARRAY(arena, double, n_virtual);
    b.passes = GALV_NEW_ARRAY(arena, pass_bound, 4 * n_virtual);
    if (!stages || !forward_s || !backward_s || !b.passes) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    status = bound_stages(stages, forward_s, backward_s, &b, schedule);
    if (status == GALV_OK) {
        *bound_s =
            combine(&b, stages, forward_s, backward_s, schedule->splits_backward);
    }
    return status;
}

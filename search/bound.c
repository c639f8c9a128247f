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
 * Messages of parameters may begin before a stage's first micro-batch has come, and end
 * while the last is on its way back: m times their load is a bound by itself.
 *
 * The same holds of the chunks of a stage from any of its virtual stages on: none of
 * their passes begins before the first micro-batch came so far, and after the last of
 * them it still has the way back. Few micro-batches on many chunks are bound by that:
 * of the last virtual stage it says that one goes all the way there and back.
 *
 * Where passes run beside each other their latencies do not add up, so that only the
 * loads count; and of a backward that may be whole or split, what is less. Two copies
 * of the model share the micro-batches.
 *
 * Where ZeRO-2 or 3 sends parameters and gradients in every pass, hiding them costs
 * something too (hiding_s below).
 *
 * Messages between stages count on the way there and back alone. Left out, since the
 * schedule decides whether it is hidden: the others, gradient reduction, and parameter
 * gathers outside the passes. The bound stays true without them. */
#include "search/bound.h"

#include "plan/chunks.h"
#include "schedule/schedule.h"
#include "sim/pass_price.h"

#include <math.h>
#include <string.h>

/* Seconds of a virtual stage. */
typedef struct virtual_bound {
    int32_t stage;
    double forward_s, backward_s;
    double passes_s;           /* all of one micro-batch; 0 where passes run beside each
                                  other */
    double later_s;            /* the same, of its stage's later chunks too */
    double arrival_s, drain_s; /* the way there, and back */
} virtual_bound;

typedef struct bounder {
    const galv_plan *plan;
    const galv_schedule *schedule;
    galv_err *err;
    galv_prices *prices;
    int32_t n_chunks;    /* of a stage */
    double most_slowing; /* by one second of parameter messages */
    virtual_bound *at;   /* [pp * vpp] */
    double *steps_s;     /* [pp * vpp][2] by class: of a stage's first chunk, of others;
                            negative = not known yet */
} bounder;

/* The step of one virtual stage; 0 when it holds no layer. */
static double optimizer_s(bounder *b, int32_t stage, int32_t chunk,
                          int32_t virtual_stage)
{
    const int32_t *first = &b->plan->first_layer[virtual_stage];
    galv_operation op =
        galv_optimizer_step(stage, chunk, first[0], first[1] - first[0]);
    double *step_s =
        &b->steps_s[2 * galv_prices_class(b->prices, virtual_stage) + (chunk > 0)];
    if (*step_s < 0) {
        const galv_cost *cost =
            op.n_layers > 0 ? galv_prices_get(b->prices, &op) : NULL;
        *step_s = cost ? cost->work_s : 0;
    }
    return *step_s;
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
    for (int32_t chunk = 0; b->plan->pp > 1 && chunk < b->n_chunks; chunk++) {
        int32_t v = galv_prices_virtual_stage(b->prices, stage, chunk);
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
    return 4 * b->n_chunks * most;
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

/* A stage's passes and what is before and after them, m micro-batches. */
static double passes_s(const bounder *b, const stage_bound *at, int32_t stage,
                       double arrival, double drain, double m)
{
    double busiest = at->latency_s;
    for (int stream = 0; stream < GALV_N_STREAMS; stream++) {
        busiest = fmax(busiest, stream == GALV_STREAM_DP ? 0 : at->load_s[stream]);
    }
    double sent_s = m * at->load_s[GALV_STREAM_DP]; /* arrival and drain hide some */
    return fmax(fmax(arrival + m * busiest + drain, sent_s),
                hiding_s(b, at, stage, arrival + drain, m));
}

/* Seconds of the message from a virtual stage to the next, or back. */
static double message_s(const bounder *b, int32_t v, int pass)
{
    bool forward = pass == GALV_OP_FORWARD;
    int32_t end = b->plan->first_layer[v + 1];
    int32_t stage = b->at[v].stage;
    int32_t next = b->at[v + 1].stage;
    galv_operation op = {.kind = GALV_OP_SEND,
                         .stream = GALV_STREAM_PP_SEND,
                         .part = GALV_PART_WHOLE,
                         .pass = (uint8_t)pass,
                         .stage = forward ? stage : next,
                         .first_layer = forward ? end - 1 : end,
                         .n_layers = 1,
                         .peer_stage = forward ? next : stage};
    bool sent = stage != next && op.first_layer >= 0 &&
                op.first_layer < b->plan->n_layers && !b->schedule->pairs;
    const galv_cost *cost = sent ? galv_prices_get(b->prices, &op) : NULL;
    return cost ? cost->work_s : 0;
}

/* The ways to every virtual stage and back, and what their stages do from there on. */
static void find_ways(const bounder *b)
{
    int32_t n_virtual = b->plan->pp * b->plan->vpp;
    virtual_bound *at = b->at;
    for (int32_t v = n_virtual - 1; v >= 0; v--) {
        int32_t later = v + 1;
        while (later < n_virtual && at[later].stage != at[v].stage) {
            later++;
        }
        at[v].later_s = at[v].passes_s + (later < n_virtual ? at[later].later_s : 0);
    }
    for (int32_t v = 0; v + 1 < n_virtual; v++) {
        at[v + 1].arrival_s =
            at[v].arrival_s + at[v].forward_s + message_s(b, v, GALV_OP_FORWARD);
        at[v + 1].drain_s =
            b->schedule->splits_backward
                ? 0
                : at[v].drain_s + at[v].backward_s + message_s(b, v, GALV_OP_BACKWARD);
    }
}

static double combine(const bounder *b, const stage_bound *stages)
{
    double passes = 0;
    double optimizer = 0;
    double m = galv_plan_n_micro_batches(b->plan);
    find_ways(b);
    for (int32_t v = 0; v < b->plan->pp * b->plan->vpp; v++) {
        const virtual_bound *at = &b->at[v];
        passes = fmax(passes, at->arrival_s + m * at->later_s + at->drain_s);
    }
    for (int32_t stage = 0; stage < b->plan->pp; stage++) {
        const virtual_bound *first = &b->at[stages[stage].first_virtual];
        passes = fmax(passes, passes_s(b, &stages[stage], stage, first->arrival_s,
                                       first->drain_s, m));
        optimizer = fmax(optimizer, stages[stage].optimizer_s);
    }
    return passes + optimizer;
}

/* Adds a pass to what a stage does: those of one rank follow one another, unless some
 * run beside each other. */
static void add_pass(stage_bound *stage, const galv_pass_price *bound, double times,
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
static galv_pass_price less_of(const galv_pass_price *whole,
                               const galv_pass_price *input,
                               const galv_pass_price *weight)
{
    galv_pass_price less = *whole;
    for (int stream = 0; stream < GALV_N_STREAMS; stream++) {
        double split = input->load_s[stream] + weight->load_s[stream];
        less.load_s[stream] = split < less.load_s[stream] ? split : less.load_s[stream];
    }
    return less;
}

static galv_status bound_chunk(stage_bound *stage_at, bounder *b, int32_t stage,
                               int32_t chunk)
{
    const galv_pass_price *prices[GALV_PASS_NONE] = {NULL};
    int32_t s = galv_prices_virtual_stage(b->prices, stage, chunk);
    double times = 1.0 / galv_plan_n_copies(b->plan);
    bool pairs = b->schedule->pairs;
    double before_s = stage_at->latency_s;
    for (int pass = 0; pass < GALV_PASS_NONE; pass++) {
        if (!galv_schedule_uses(b->schedule, pass)) {
            continue;
        }
        galv_status status =
            galv_prices_pass(&prices[pass], b->prices, stage, chunk, pass, b->err);
        if (status != GALV_OK) {
            return status;
        }
        b->most_slowing = fmax(b->most_slowing, prices[pass]->most_slowing);
    }
    stage_at->optimizer_s += optimizer_s(b, stage, chunk, s);
    b->at[s].forward_s = prices[GALV_PASS_FORWARD]->latency_s;
    add_pass(stage_at, prices[GALV_PASS_FORWARD], times, pairs);
    stage_at->slowing_s *= pairs ? 0 : 1;
    const galv_pass_price *whole = prices[GALV_PASS_BACKWARD];
    const galv_pass_price *input = prices[GALV_PASS_BACKWARD_INPUT];
    const galv_pass_price *weight = prices[GALV_PASS_BACKWARD_WEIGHT];
    b->at[s].backward_s = (whole != NULL ? whole : input)->latency_s;
    if (whole != NULL && input != NULL) {
        galv_pass_price less = less_of(whole, input, weight);
        add_pass(stage_at, &less, times, pairs);
    } else if (whole != NULL) {
        add_pass(stage_at, whole, times, pairs);
    } else {
        add_pass(stage_at, input, times, false);
        add_pass(stage_at, weight, times, false);
    }
    b->at[s].passes_s = stage_at->latency_s - before_s;
    return GALV_OK;
}

/* Stages of one class are bounded once. */
static galv_status bound_stages(stage_bound *stages, bounder *b)
{
    for (int32_t stage = 0; stage < b->plan->pp; stage++) {
        int32_t like = galv_prices_stage_class(b->prices, stage);
        int32_t first = INT32_MAX;
        stages[stage] = stages[like];
        for (int32_t chunk = 0; chunk < b->n_chunks; chunk++) {
            int32_t v = galv_prices_virtual_stage(b->prices, stage, chunk);
            int32_t there = galv_prices_virtual_stage(b->prices, like, chunk);
            galv_status status = GALV_OK;
            if (like == stage) {
                status = bound_chunk(&stages[stage], b, stage, chunk);
            }
            if (status != GALV_OK) {
                return status;
            }
            b->at[v] = b->at[there];
            b->at[v].stage = stage;
            first = v < first ? v : first;
        }
        stages[stage].first_virtual = first;
    }
    return GALV_OK;
}

galv_status galv_bound_time(double *bound_s, const galv_costmodel *model,
                            const galv_plan *plan, galv_prices *prices,
                            galv_arena *arena, galv_err *err)
{
    bounder b = {.plan = plan, .prices = prices, .err = err};
    size_t n_virtual = (size_t)plan->pp * (size_t)plan->vpp;
    (void)model;
    galv_status status = galv_schedule_find(&b.schedule, plan->schedule, err);
    if (status != GALV_OK) {
        return status;
    }
    b.n_chunks = galv_plan_n_chunks(plan);
    stage_bound *stages = GALV_NEW_ARRAY(arena, stage_bound, plan->pp);
    b.at = GALV_NEW_ARRAY(arena, virtual_bound, n_virtual);
    b.steps_s = GALV_NEW_ARRAY(arena, double, 2 * n_virtual);
    if (!stages || !b.at || !b.steps_s) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < 2 * n_virtual; i++) {
        b.steps_s[i] = -1;
    }
    status = bound_stages(stages, &b);
    if (status == GALV_OK) {
        *bound_s = combine(&b, stages);
    }
    return status;
}

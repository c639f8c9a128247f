/* ZB-V: zero bubble on two chunks a stage laid out in a V, found by playing it.
 *
 * Chunk 0 of stage r is virtual stage r, chunk 1 is 2p - 1 - r, so the loss is on stage
 * 0, gradients come back soon, and every stage holds the same: 2p chunks' activations,
 * as much as the first stage of 1F1B, and no stage waits where the three passes cost
 * the same.
 *
 * The play. When a stage is free it takes, of the passes whose input is there, a
 * backward for inputs or a forward, of forwards that of chunk 1; when there is none, a
 * weight gradient that waits, oldest first. A forward is taken only while memory
 * allows, that of chunk 0 only if one of chunk 1 would still fit behind it: so the
 * oldest micro-batch can always go on, and there is no deadlock. Eight plays are tried
 * and the one that ends first is kept (the least waiting, where several do):
 *   - in_turn: after a backward comes a forward; else backwards come first always;
 *   - old_first: of backwards that of chunk 0 (the older micro-batch) comes first;
 *   - patient: a stage waits when a pass will come within half a weight gradient's
 * time.
 *
 * Memory is counted in activations of one chunk: a forward takes one, the gradients of
 * weights give back the share that waited for them (a half unless the weights say
 * otherwise), those of inputs the rest. The limit is p micro-batches' unless the shape
 * says otherwise. Messages are latencies. O(p m log p) for each play.
 *
 * This order is our own; that of the authors, which has the same bubble and peak, goes
 * by rounds. Source of the placement and of what it makes possible: Qi et al. 2024,
 * "Pipeline Parallelism with Controllable Memory", arXiv 2405.15362. */
#include "schedule/schedule_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Passes with an input from elsewhere, along the way of a micro-batch. */
typedef enum leg {
    LEG_FORWARD_0,
    LEG_FORWARD_1,
    LEG_BACKWARD_1,
    LEG_BACKWARD_0,
    N_LEGS
} leg;

typedef struct stage {
    double cost[N_LEGS], weight_cost; /* of a chunk */
    double waiting;                   /* share of its activations */
    int32_t n_done[N_LEGS];
    double begin, end, busy; /* of its first and last pass; without waiting */
    double memory;
    bool last_was_forward;
    size_t n_slots;
    size_t first_waiting; /* slot from which on weight gradients are not done */
    int32_t n_waiting;    /* of them */
} stage;

typedef struct event {
    double time;
    int32_t stage;
} event;

typedef struct play {
    int32_t p, m;
    double message, limit;
    bool in_turn, old_first, patient;
    stage *stages;       /* [p] */
    double *end[N_LEGS]; /* [p * m] */
    galv_slot *slots;    /* [p][6 m] */
    event *heap;         /* [2 * 6 * p * m + p] */
    size_t n_events;
    double tolerance; /* times closer than this are the same */
} play;

/* ---- the heap of stages to look at ---- */

static bool sooner(const event *a, const event *b)
{
    return a->time < b->time || (a->time <= b->time && a->stage < b->stage);
}

static void wake(play *g, double time, int32_t j)
{
    event made = {time, j};
    size_t at = g->n_events++;
    while (at > 0 && sooner(&made, &g->heap[(at - 1) / 2])) {
        g->heap[at] = g->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    g->heap[at] = made;
}

static event pop(play *g)
{
    event top = g->heap[0];
    event last = g->heap[--g->n_events];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child + 1 < g->n_events && sooner(&g->heap[child + 1], &g->heap[child])) {
            child++;
        }
        if (child >= g->n_events || !sooner(&g->heap[child], &last)) {
            break;
        }
        g->heap[at] = g->heap[child];
        at = child;
    }
    g->heap[at] = last;
    return top;
}

/* ---- passes ---- */

/* The stage after `j` on a leg; itself at the turn of the V; -1 after the last leg. */
static int32_t next_stage(const play *g, int32_t j, int at)
{
    bool down = at == LEG_FORWARD_0 || at == LEG_BACKWARD_1; /* to higher stages */
    if (down) {
        return j + 1 < g->p ? j + 1 : j;
    }
    return j > 0 ? j - 1 : at == LEG_FORWARD_1 ? j : -1;
}

/* When the input of a stage's next pass on a leg is there; INFINITY = not known yet. */
static double arrival(const play *g, int32_t j, int at)
{
    bool down = at == LEG_FORWARD_0 || at == LEG_BACKWARD_1;
    int32_t n = g->stages[j].n_done[at];
    bool turns = down ? j == 0 : j == g->p - 1;
    int32_t from = turns ? j : down ? j - 1 : j + 1;
    int leg_before = turns ? at - 1 : at;
    if (n == g->m) {
        return (double)INFINITY;
    }
    if (leg_before < 0) {
        return 0;
    }
    if (g->stages[from].n_done[leg_before] <= n) {
        return (double)INFINITY;
    }
    double end = g->end[leg_before][(size_t)from * (size_t)g->m + (size_t)n];
    return turns ? end : end + g->message;
}

static void append(play *g, int32_t j, galv_slot slot, double start, double cost)
{
    stage *s = &g->stages[j];
    if (s->n_slots == 0) {
        s->begin = start;
    }
    g->slots[(size_t)j * 6 * (size_t)g->m + s->n_slots++] = slot;
    s->end = start + cost;
    s->busy += cost;
    wake(g, s->end, j);
}

static void put(play *g, int32_t j, int at, double start)
{
    stage *s = &g->stages[j];
    bool forward = at == LEG_FORWARD_0 || at == LEG_FORWARD_1;
    int32_t chunk = at == LEG_FORWARD_1 || at == LEG_BACKWARD_1;
    int32_t mb = s->n_done[at]++;
    append(g, j,
           galv_slot_make(forward ? GALV_PASS_FORWARD : GALV_PASS_BACKWARD_INPUT, chunk,
                          mb),
           start, s->cost[at]);
    g->end[at][(size_t)j * (size_t)g->m + (size_t)mb] = s->end;
    s->memory += forward ? 1 : s->waiting - 1;
    s->n_waiting += forward ? 0 : 1;
    s->last_was_forward = forward;
    int32_t next = next_stage(g, j, at);
    if (next >= 0 && next != j) {
        wake(g, s->end + g->message, next);
    }
}

static void put_weight(play *g, int32_t j, double start)
{
    stage *s = &g->stages[j];
    const galv_slot *slots = &g->slots[(size_t)j * 6 * (size_t)g->m];
    while (slots[s->first_waiting].pass != GALV_PASS_BACKWARD_INPUT) {
        s->first_waiting++;
    }
    galv_slot slot = slots[s->first_waiting++];
    slot.pass = GALV_PASS_BACKWARD_WEIGHT;
    append(g, j, slot, start, s->weight_cost);
    s->memory -= s->waiting;
    s->n_waiting--;
}

/* ---- the play ---- */

static bool has_room(const play *g, const stage *s, int at)
{
    return at == LEG_FORWARD_0   ? s->memory + 2 <= g->limit
           : at == LEG_FORWARD_1 ? s->memory + 1 <= g->limit
                                 : true;
}

/* What a free stage does at `now`, if anything. */
static void decide(play *g, int32_t j, double now)
{
    stage *s = &g->stages[j];
    int backward = g->old_first ? LEG_BACKWARD_0 : LEG_BACKWARD_1;
    int other = g->old_first ? LEG_BACKWARD_1 : LEG_BACKWARD_0;
    bool forward_first = g->in_turn && !s->last_was_forward && s->n_slots > 0;
    const int orders[2][N_LEGS] = {{backward, other, LEG_FORWARD_1, LEG_FORWARD_0},
                                   {LEG_FORWARD_1, LEG_FORWARD_0, backward, other}};
    double soonest = (double)INFINITY;
    for (int k = 0; k < N_LEGS; k++) {
        int at = orders[forward_first][k];
        double when = has_room(g, s, at) ? arrival(g, j, at) : (double)INFINITY;
        if (when <= now + g->tolerance) {
            put(g, j, at, when > now ? when : now);
            return;
        }
        soonest = when < soonest ? when : soonest;
    }
    bool waits = g->patient && soonest < now + 0.5 * s->weight_cost;
    if (s->n_waiting > 0 && !waits) {
        put_weight(g, j, now);
    }
}

static void run(play *g, const galv_schedule_weights *weights)
{
    for (int32_t j = 0; j < g->p; j++) {
        galv_stage_weights whole = {1, 1, 1, 0};
        stage fresh = {0};
        if (weights != NULL && weights->stages != NULL) {
            whole = weights->stages[j];
        }
        fresh.cost[LEG_FORWARD_0] = fresh.cost[LEG_FORWARD_1] = whole.forward / 2;
        fresh.cost[LEG_BACKWARD_0] = fresh.cost[LEG_BACKWARD_1] = whole.input / 2;
        fresh.weight_cost = whole.weight / 2;
        fresh.waiting = galv_stage_waiting(&whole);
        g->stages[j] = fresh;
    }
    g->n_events = 0;
    wake(g, 0, 0);
    while (g->n_events > 0) {
        event at = pop(g);
        if (g->stages[at.stage].end <= at.time) {
            decide(g, at.stage, at.time);
        }
    }
}

static bool is_better(const play *g, double *best_end, double *best_waited)
{
    double end = 0;
    double waited = 0;
    for (int32_t j = 0; j < g->p; j++) {
        const stage *s = &g->stages[j];
        double w = s->end - s->begin - s->busy;
        end = s->end > end ? s->end : end;
        waited = w > waited ? w : waited;
    }
    bool better =
        end < *best_end - g->tolerance ||
        (end <= *best_end + g->tolerance && waited < *best_waited - g->tolerance);
    if (better) {
        *best_end = end;
        *best_waited = waited;
    }
    return better;
}

static double tolerance_of(const galv_schedule_weights *weights, int32_t p)
{
    double sum = 0;
    for (int32_t j = 0; weights != NULL && weights->stages != NULL && j < p; j++) {
        const galv_stage_weights *s = &weights->stages[j];
        sum += s->forward + s->input + s->weight;
    }
    return 1e-9 * (sum > 0 ? sum / p : 3);
}

static void release(play *g)
{
    free(g->stages);
    free(g->slots);
    free(g->heap);
    for (int at = 0; at < N_LEGS; at++) {
        free(g->end[at]);
    }
}

static bool allocate(play *g)
{
    size_t p = (size_t)g->p;
    size_t n = p * (size_t)g->m;
    g->stages = calloc(p, sizeof *g->stages);
    g->slots = calloc(6 * n, sizeof *g->slots);
    g->heap = calloc(12 * n + p, sizeof *g->heap);
    bool enough = g->stages != NULL && g->slots != NULL && g->heap != NULL;
    for (int at = 0; at < N_LEGS; at++) {
        g->end[at] = calloc(n, sizeof *g->end[at]);
        enough = enough && g->end[at] != NULL;
    }
    return enough;
}

galv_status galv_order_zb_v(galv_slot *slots, const galv_schedule_shape *shape,
                            galv_err *err)
{
    galv_status status = galv_schedule_check_shape("zb-v", shape, 0, err);
    if (status != GALV_OK) {
        return status;
    }
    const galv_schedule_weights *weights = shape->weights;
    play g = {.p = shape->n_stages, .m = shape->n_micro_batches};
    double limit = weights != NULL && weights->memory_limit > 0 ? weights->memory_limit
                                                                : shape->n_stages;
    g.limit = (limit < 1 ? 2 : 2 * limit) + GALV_SHARE_ROUNDING;
    g.message = weights != NULL ? weights->message : 0;
    g.tolerance = tolerance_of(weights, g.p);
    if (!allocate(&g)) {
        release(&g);
        return galv_fail(err, GALV_NO_MEMORY,
                         "a schedule of %d stages and %d micro-batches does not fit in "
                         "memory",
                         (int)shape->n_stages, (int)shape->n_micro_batches);
    }
    double best_end = (double)INFINITY;
    double best_waited = (double)INFINITY;
    for (unsigned choice = 0; choice < 8 && best_waited > g.tolerance; choice++) {
        g.in_turn = (choice & 1) == 0;
        g.old_first = (choice & 2) == 0;
        g.patient = (choice & 4) != 0;
        run(&g, weights);
        if (is_better(&g, &best_end, &best_waited)) {
            memcpy(slots, g.slots, 6 * (size_t)g.p * (size_t)g.m * sizeof *slots);
        }
    }
    release(&g);
    return GALV_OK;
}

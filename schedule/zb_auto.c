/* Zero bubble for given costs and memory: an order found by playing the pipeline.
 *
 * All stages are played together, micro-batch by micro-batch: first as many forwards as
 * memory allows before the first gradient comes back, each stage fewer than the one
 * before it; then in every round each stage does the next forward and the next input
 * gradient, last stage first, and weight gradients go where a stage would wait, or
 * where memory must be given back. What is left of them comes at the end.
 *
 * Three choices have no answer that is best for all costs, so all eight plays are tried
 * and the one that ends first is kept (the least waiting on any stage, where several
 * do), or ZB-H1 or ZB-H2 where memory allows them and they are better still:
 *   - eager: do forwards before the first gradient even if that makes it wait;
 *   - backward_first: leave out a forward when the next stage has two in store and the
 *     forward would make the next gradient late;
 *   - fill: put a weight gradient into a gap shorter than it is, even while the stage
 *     has waited less than another one has already.
 *
 * Memory is counted in activations of one micro-batch on one stage: a forward takes
 * one, the gradients of weights give back the share that waited for them (a half unless
 * the weights say otherwise), those of inputs the rest, or take more where that is more
 * than one. With the memory of p of them (zb-1p) it is never slower than ZB-H1 where
 * that has room, with 2p (zb-2p) stages hardly wait; zb-auto takes the limit that it is
 * given, or 2p. A limit below 1 is taken as 1: every stage can go on
 * then, if slowly.
 *
 * Messages are latencies here: they delay what needs them and nobody else.
 * O(p m) for each play. Left out: integer programming, which the authors use to improve
 * on the result by another percent or less; limits that differ by stage.
 * Source: Qi et al. 2023, arXiv 2401.10241, section 3.1 and appendix B. */
#include "schedule/schedule_internal.h"

#include <stdlib.h>
#include <string.h>

typedef struct stage {
    galv_stage_weights cost;
    int32_t n_forward, n_input, n_weight; /* done */
    double end;                           /* of its last pass */
    double begin;                         /* of its first */
    double memory, most_memory;
    double waited; /* since its first pass */
    size_t n_slots;
} stage;

typedef struct play {
    int32_t p, m;
    double message, limit;
    bool eager, backward_first, fill;
    stage *stages;       /* [p] */
    int32_t *wanted;     /* [p] forwards to do in this round */
    double *forward_end; /* [p * m] */
    double *input_end;   /* [p * m] */
    galv_slot *slots;    /* [p][3 m] */
    galv_slot *written;  /* [p][3 m] an order to be played as it is */
    double most_waited;  /* of all stages */
    double tolerance;    /* times closer than this are the same */
    bool rolling;        /* see galv_schedule_weights */
} play;

static double later(double a, double b)
{
    return a > b ? a : b;
}

/* When the next pass of a kind could begin if the stage were free. */
static double arrival(const play *g, int32_t j, galv_pass pass)
{
    const stage *s = &g->stages[j];
    size_t m = (size_t)g->m;
    if (pass == GALV_PASS_FORWARD && j > 0) {
        return g->forward_end[(size_t)(j - 1) * m + (size_t)s->n_forward] + g->message;
    }
    if (pass == GALV_PASS_BACKWARD_INPUT && j + 1 < g->p) {
        return g->input_end[(size_t)(j + 1) * m + (size_t)s->n_input] + g->message;
    }
    return 0;
}

static void put(play *g, int32_t j, galv_pass pass)
{
    stage *s = &g->stages[j];
    bool forward = pass == GALV_PASS_FORWARD;
    bool input = pass == GALV_PASS_BACKWARD_INPUT;
    int32_t *count = forward ? &s->n_forward : input ? &s->n_input : &s->n_weight;
    double cost = forward ? s->cost.forward : input ? s->cost.input : s->cost.weight;
    double start = later(s->end, arrival(g, j, pass));
    size_t at = (size_t)j * (size_t)g->m + (size_t)*count;
    if (s->n_slots == 0) {
        s->begin = start;
    } else {
        s->waited += start - s->end;
        g->most_waited = later(g->most_waited, s->waited);
    }
    s->end = start + cost;
    if (forward) {
        g->forward_end[at] = s->end;
    } else if (input) {
        g->input_end[at] = s->end;
    }
    double waiting = galv_stage_waiting(&s->cost);
    s->memory += forward ? 1 : input ? waiting - 1 : -waiting;
    s->most_memory = later(s->most_memory, s->memory);
    g->slots[(size_t)j * 3 * (size_t)g->m + s->n_slots++] =
        galv_slot_make(pass, 0, (*count)++);
}

static bool has_weight(const stage *s)
{
    return s->n_weight < s->n_input;
}

/* Weight gradients into the time until `when`. */
static void fill_gap(play *g, int32_t j, double when)
{
    stage *s = &g->stages[j];
    while (has_weight(s) && s->end + s->cost.weight <= when + g->tolerance) {
        put(g, j, GALV_PASS_BACKWARD_WEIGHT);
    }
    if (has_weight(s) && s->end < when - g->tolerance) {
        bool may_wait = when - s->end <= g->most_waited - s->waited + g->tolerance;
        if (!may_wait || g->fill) {
            put(g, j, GALV_PASS_BACKWARD_WEIGHT);
        }
    }
}

/* ---- before the first gradient ---- */

/* Forwards after its first that a stage can do before the gradient comes back at
 * `gradient`; `*end` is when they are done. */
static int32_t count_ahead(const play *g, int32_t j, double gradient, double *end)
{
    const stage *s = &g->stages[j];
    int32_t n = 0;
    while (s->n_forward + n < g->m && s->memory + n + 1 <= g->limit) {
        double until = g->eager ? *end + s->cost.forward : *end;
        if (g->eager ? until > gradient + g->tolerance
                     : until >= gradient - g->tolerance) {
            break;
        }
        *end += s->cost.forward;
        n++;
    }
    return n;
}

static void warm_up(play *g)
{
    for (int32_t j = 0; j < g->p; j++) {
        put(g, j, GALV_PASS_FORWARD);
    }
    double gradient = g->stages[g->p - 1].end + g->stages[g->p - 1].cost.input;
    g->wanted[g->p - 1] = 0;
    for (int32_t j = g->p - 2; j >= 0; j--) {
        double end = g->stages[j].end;
        g->wanted[j] = count_ahead(g, j, gradient + g->message, &end);
        gradient = later(end, gradient + g->message) + g->stages[j].cost.input;
    }
    for (int32_t j = 1; j < g->p; j++) {
        int32_t before = g->wanted[j - 1];
        if (g->wanted[j] >= before) { /* one fewer, unless all are done */
            g->wanted[j] = before == 0 || before + 1 == g->m ? before : before - 1;
        }
    }
    for (int32_t j = 0; j < g->p; j++) {
        for (int32_t i = 0; i < g->wanted[j]; i++) {
            put(g, j, GALV_PASS_FORWARD);
        }
    }
    for (int32_t j = g->p - 1; j >= 0; j--) {
        put(g, j, GALV_PASS_BACKWARD_INPUT);
    }
}

/* ---- a round ---- */

/* Does stage j do a forward in this round, as far as the next stage is concerned? */
static bool wants_forward(const play *g, int32_t j)
{
    const stage *s = &g->stages[j];
    if (s->n_forward == g->m) {
        return false;
    }
    if (!g->backward_first || j + 1 == g->p ||
        s->n_forward < g->stages[j + 1].n_forward + 2) {
        return true;
    }
    const stage *next = &g->stages[j + 1];
    double gradient = next->end + next->cost.forward + next->cost.input + g->message;
    if (s->end >= gradient - g->tolerance) {
        return false;
    }
    double over = s->memory + 1 - g->limit; /* to be given back first */
    double weights = 0;
    for (int32_t w = s->n_weight; over > 0 && w < s->n_input; w++) {
        weights += s->cost.weight;
        over -= galv_stage_waiting(&s->cost);
    }
    return s->end + s->cost.forward + weights <= gradient + g->tolerance ||
           gradient - s->end > g->most_waited - s->waited + g->tolerance;
}

/* Makes room for one more micro-batch; false when that cannot be. */
static bool make_room(play *g, int32_t j)
{
    stage *s = &g->stages[j];
    double waiting = galv_stage_waiting(&s->cost);
    if (s->memory + 1 - waiting * (s->n_input - s->n_weight) > g->limit) {
        return false;
    }
    while (s->memory + 1 > g->limit && has_weight(s)) {
        put(g, j, GALV_PASS_BACKWARD_WEIGHT);
    }
    return true;
}

/* The gradient of inputs, after those of weights without which it would not fit. */
static void put_input(play *g, int32_t j)
{
    stage *s = &g->stages[j];
    double more = galv_stage_waiting(&s->cost) - 1;
    while (s->memory + more > g->limit && has_weight(s)) {
        put(g, j, GALV_PASS_BACKWARD_WEIGHT);
    }
    put(g, j, GALV_PASS_BACKWARD_INPUT);
}

static void do_forward(play *g, int32_t j, int32_t round)
{
    stage *s = &g->stages[j];
    bool needed = s->n_forward == round; /* for the gradient of this round */
    bool arrived = j == 0 || s->n_forward < g->stages[j - 1].n_forward;
    if (!needed && (g->wanted[j] == 0 || !arrived)) {
        return;
    }
    if (make_room(g, j)) {
        fill_gap(g, j, arrival(g, j, GALV_PASS_FORWARD));
        put(g, j, GALV_PASS_FORWARD);
    }
}

static void do_round(play *g, int32_t round)
{
    for (int32_t j = 0; j < g->p; j++) {
        g->wanted[j] = wants_forward(g, j);
    }
    for (int32_t j = g->p - 2; j >= 0; j--) {
        g->wanted[j] = g->wanted[j] && g->wanted[j + 1];
    }
    for (int32_t j = 0; j < g->p; j++) {
        if (g->stages[j].n_forward < g->m) {
            do_forward(g, j, round);
        }
    }
    for (int32_t j = g->p - 1; j >= 0; j--) {
        fill_gap(g, j, arrival(g, j, GALV_PASS_BACKWARD_INPUT));
        while (j == 0 && g->stages[0].n_forward == g->m && has_weight(g->stages)) {
            put(g, 0, GALV_PASS_BACKWARD_WEIGHT); /* nobody waits for stage 0 */
        }
        put_input(g, j);
    }
}

static void run(play *g)
{
    warm_up(g);
    for (int32_t round = 1; round < g->m; round++) {
        do_round(g, round);
    }
    for (int32_t j = 0; j < g->p; j++) {
        while (g->stages[j].n_weight < g->m) {
            put(g, j, GALV_PASS_BACKWARD_WEIGHT);
        }
    }
}

/* ---- the best of all plays ---- */

static void begin(play *g, const galv_schedule_weights *weights)
{
    g->most_waited = 0;
    for (int32_t j = 0; j < g->p; j++) {
        const galv_stage_weights alike = {1, 1, 1, 0};
        stage fresh = {.cost = weights != NULL && weights->stages != NULL
                                   ? weights->stages[j]
                                   : alike};
        g->stages[j] = fresh;
    }
}

/* Is the input of a stage's next pass of a kind made already? */
static bool has_input(const play *g, int32_t j, galv_pass pass)
{
    const stage *s = &g->stages[j];
    if (pass == GALV_PASS_FORWARD) {
        return j == 0 || s->n_forward < g->stages[j - 1].n_forward;
    }
    if (pass == GALV_PASS_BACKWARD_INPUT) {
        return j + 1 == g->p ? s->n_input < s->n_forward
                             : s->n_input < g->stages[j + 1].n_input;
    }
    return has_weight(s);
}

/* Plays an order that is written down already; false when it cannot go on or does not
 * fit. */
static bool replay(play *g, const galv_slot *order)
{
    size_t n_slots = 3 * (size_t)g->m;
    size_t n_left = n_slots * (size_t)g->p;
    for (bool moved = true; moved;) {
        moved = false;
        for (int32_t j = 0; j < g->p; j++) {
            const galv_slot *slots = &order[(size_t)j * n_slots];
            size_t *next = &g->stages[j].n_slots;
            while (*next < n_slots && has_input(g, j, (galv_pass)slots[*next].pass)) {
                put(g, j, (galv_pass)slots[*next].pass);
                n_left--;
                moved = true;
            }
        }
    }
    for (int32_t j = 0; j < g->p; j++) {
        if (g->stages[j].most_memory > g->limit) {
            return false;
        }
    }
    return n_left == 0;
}

static double tolerance_of(const galv_schedule_weights *weights, int32_t p)
{
    double sum = weights == NULL ? 0 : weights->message;
    for (int32_t j = 0; j < p; j++) {
        const galv_stage_weights *s =
            weights == NULL || weights->stages == NULL ? NULL : &weights->stages[j];
        sum += s == NULL ? 3 : s->forward + s->input + s->weight;
    }
    return 1e-9 * sum / p;
}

typedef struct best {
    galv_slot *slots;
    double end, busy;
    bool found;
} best;

/* Keeps the play if it is the best so far. */
static void keep(best *b, const play *g)
{
    double end = 0;
    double busy = 0;
    for (int32_t j = 0; j < g->p; j++) {
        end = later(end, g->stages[j].end);
        busy = later(busy, g->stages[j].end - g->stages[j].begin);
    }
    if (g->rolling) { /* the longest stage decides, then the whole */
        double whole = end;
        end = busy;
        busy = whole;
    }
    if (!b->found || end < b->end - g->tolerance ||
        (end <= b->end + g->tolerance && busy < b->busy - g->tolerance)) {
        memcpy(b->slots, g->slots, 3 * (size_t)g->p * (size_t)g->m * sizeof *b->slots);
        b->end = end;
        b->busy = busy;
        b->found = true;
    }
}

typedef galv_status order_of(galv_slot *slots, const galv_schedule_shape *shape,
                             int32_t stage, galv_err *err);

static galv_status try_written(best *b, play *g, order_of *order,
                               const galv_schedule_shape *shape, galv_err *err)
{
    galv_status status = GALV_OK;
    for (int32_t j = 0; j < g->p && status == GALV_OK; j++) {
        status = order(&g->written[(size_t)j * 3 * (size_t)g->m], shape, j, err);
    }
    if (status == GALV_OK) {
        begin(g, shape->weights);
        if (replay(g, g->written)) {
            keep(b, g);
        }
    }
    return status;
}

static galv_status try_all(galv_slot *slots, play *g, const galv_schedule_shape *shape,
                           galv_err *err)
{
    galv_status status = GALV_OK;
    best b = {slots, 0, 0, false};
    for (unsigned choice = 0; choice < 8; choice++) {
        g->eager = (choice & 4) == 0;
        g->backward_first = (choice & 2) == 0;
        g->fill = (choice & 1) == 0;
        begin(g, shape->weights);
        run(g);
        keep(&b, g);
    }
    if (g->limit >= g->p) {
        status = try_written(&b, g, galv_order_zb_h1, shape, err);
    }
    if (g->limit >= 2 * g->p - 1 && status == GALV_OK) {
        status = try_written(&b, g, galv_order_zb_h2, shape, err);
    }
    return status;
}

/* With room for `limit` activations on each stage. */
static galv_status order_within(galv_slot *slots, const char *name, double limit,
                                const galv_schedule_shape *shape, galv_err *err)
{
    galv_status status = galv_schedule_check_shape(name, shape, 0, err);
    if (status != GALV_OK) {
        return status;
    }
    size_t p = (size_t)shape->n_stages;
    size_t n = p * (size_t)shape->n_micro_batches;
    play g = {.p = shape->n_stages, .m = shape->n_micro_batches};
    g.message = shape->weights != NULL ? shape->weights->message : 0;
    g.limit = (limit < 1 ? 1 : limit) + GALV_SHARE_ROUNDING;
    g.tolerance = tolerance_of(shape->weights, g.p);
    g.rolling = shape->weights != NULL && shape->weights->rolling;
    g.stages = calloc(p, sizeof *g.stages);
    g.wanted = calloc(p, sizeof *g.wanted);
    g.forward_end = calloc(n, sizeof *g.forward_end);
    g.input_end = calloc(n, sizeof *g.input_end);
    g.slots = calloc(3 * n, sizeof *g.slots);
    g.written = calloc(3 * n, sizeof *g.written);
    if (g.stages == NULL || g.wanted == NULL || g.forward_end == NULL ||
        g.input_end == NULL || g.slots == NULL || g.written == NULL) {
        status = galv_fail(err, GALV_NO_MEMORY,
                           "a schedule of %d stages and %d micro-batches does not fit "
                           "in memory",
                           (int)shape->n_stages, (int)shape->n_micro_batches);
    } else {
        status = try_all(slots, &g, shape, err);
    }
    free(g.stages);
    free(g.wanted);
    free(g.forward_end);
    free(g.input_end);
    free(g.slots);
    free(g.written);
    return status;
}

galv_status galv_order_zb_auto(galv_slot *slots, const galv_schedule_shape *shape,
                               galv_err *err)
{
    double limit = shape->weights != NULL ? shape->weights->memory_limit : 0;
    return order_within(slots, "zb-auto", limit > 0 ? limit : 2.0 * shape->n_stages,
                        shape, err);
}

galv_status galv_order_zb_1p(galv_slot *slots, const galv_schedule_shape *shape,
                             galv_err *err)
{
    return order_within(slots, "zb-1p", shape->n_stages, shape, err);
}

galv_status galv_order_zb_2p(galv_slot *slots, const galv_schedule_shape *shape,
                             galv_err *err)
{
    return order_within(slots, "zb-2p", 2.0 * shape->n_stages, shape, err);
}

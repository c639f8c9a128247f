/* V-1F1B: two chunks a stage in a V, whole backwards, about two thirds of 1F1B's
 * memory, and no longer.
 *
 * As with V-Half and V-Min (v_pattern.c) a pattern is laid down that repeats every 6
 * units of time: two forwards of one unit and two backwards of two. Forwards go down
 * the stages and up again one unit after another; so do backwards, two units after
 * another, with a pause of three units after every third stage: then backwards of
 * stages three apart differ by three of the six units, as their forwards do, and what
 * fits on one stage fits on the other. Where 3 divides p, the first backward waits
 * three units longer. From there to an order everything is pulled forward, in the order
 * of time, into the first units that are free and late enough for its inputs; a forward
 * only as far as the memory of its stage stays within the pattern's own peak.
 *
 * Only the order is kept. It does not follow costs. At most 6 m + 10 p + 16 units; each
 * pass looks at as many as it moves.
 * Source: Qi et al. 2024, "Pipeline Parallelism with Controllable Memory", arXiv
 * 2405.15362 (1F1B-V); pattern as in
 * github.com/sail-sg/zero-bubble-pipeline-parallelism, scheduler/v1f1b.py. */
#include "schedule/schedule_internal.h"

#include <stdlib.h>
#include <string.h>

enum { FORWARD_0, FORWARD_1, BACKWARD_1, BACKWARD_0, N_LEGS, FREE = -1, TAKEN = -2 };

/* One pass on the board, in the unit in which it begins. */
typedef struct cell {
    int32_t leg;         /* of the above; FREE, or TAKEN by the one before */
    int32_t micro_batch; /* of a leg */
} cell;

typedef struct board {
    int32_t p, m;
    int32_t n_units;
    cell *cells;          /* [p][n_units] */
    int32_t *held;        /* [p][n_units] activations at the end of a unit */
    int32_t *end[N_LEGS]; /* [p][m] unit after the last of a pass */
    int32_t peak;
} board;

static bool is_forward(int32_t leg)
{
    return leg == FORWARD_0 || leg == FORWARD_1;
}

static int32_t length_of(int32_t leg)
{
    return is_forward(leg) ? 1 : 2;
}

static int32_t *end_of(const board *b, int32_t leg, int32_t stage, int32_t micro_batch)
{
    return &b->end[leg][(size_t)stage * (size_t)b->m + (size_t)micro_batch];
}

static void put(board *b, int32_t stage, int32_t unit, cell c)
{
    const cell taken = {TAKEN, 0};
    cell *cells = &b->cells[(size_t)stage * (size_t)b->n_units];
    cells[unit] = c;
    if (length_of(c.leg) == 2) {
        cells[unit + 1] = taken;
    }
    *end_of(b, c.leg, stage, c.micro_batch) = unit + length_of(c.leg);
}

static void take_away(board *b, int32_t stage, int32_t unit, int32_t leg)
{
    const cell nothing = {FREE, 0};
    cell *cells = &b->cells[(size_t)stage * (size_t)b->n_units];
    cells[unit] = nothing;
    if (length_of(leg) == 2) {
        cells[unit + 1] = nothing;
    }
}

/* ---- the pattern ---- */

/* Lays a leg of all micro-batches on a stage. */
static void lay(board *b, int32_t leg, int32_t stage, int32_t unit)
{
    for (int32_t mb = 0; mb < b->m; mb++) {
        put(b, stage, unit + 6 * mb, (cell){leg, mb});
    }
}

static void lay_pattern(board *b)
{
    int32_t p = b->p;
    for (size_t i = 0; i < (size_t)p * (size_t)b->n_units; i++) {
        b->cells[i] = (cell){FREE, 0};
    }
    int32_t unit = 2 * p + (p % 3 == 0 ? 3 : 0);
    int32_t hops = (p + 2) % 3 == 0 ? 0 : 3 - (p + 2) % 3;
    for (int32_t i = 0; i < 2 * p; i++) {
        bool down = i < p;
        int32_t stage = down ? i : 2 * p - 1 - i;
        lay(b, down ? FORWARD_0 : FORWARD_1, stage, i);
        lay(b, down ? BACKWARD_1 : BACKWARD_0, stage, unit);
        unit += 2;
        if (++hops == 3) {
            hops = 0;
            unit += 3;
        }
    }
}

/* A forward holds from its unit on; a backward gives back with its second unit. */
static void count_held(board *b)
{
    b->peak = 0;
    for (int32_t stage = 0; stage < b->p; stage++) {
        const cell *cells = &b->cells[(size_t)stage * (size_t)b->n_units];
        int32_t *held = &b->held[(size_t)stage * (size_t)b->n_units];
        int32_t now = 0;
        for (int32_t t = 0; t < b->n_units; t++) {
            now += cells[t].leg >= 0 && is_forward(cells[t].leg);
            now -= cells[t].leg == TAKEN;
            held[t] = now;
            b->peak = now > b->peak ? now : b->peak;
        }
    }
}

/* ---- pulling forward ---- */

/* First unit that the inputs of a pass allow: what made them, on whichever stage, and
 * the same pass of the micro-batch before. */
static int32_t earliest(const board *b, int32_t stage, cell c)
{
    bool down = c.leg == FORWARD_0 || c.leg == BACKWARD_1;
    int32_t from = down ? stage - 1 : stage + 1;
    int32_t unit = 0;
    if (from >= 0 && from < b->p) {
        unit = *end_of(b, c.leg, from, c.micro_batch);
    } else if (c.leg > 0) {
        unit = *end_of(b, c.leg - 1, stage, c.micro_batch);
    }
    if (c.micro_batch > 0) {
        int32_t before = *end_of(b, c.leg, stage, c.micro_batch - 1);
        unit = before > unit ? before : unit;
    }
    return unit;
}

/* Where a pass that now begins in unit `t`, and is taken off the board, goes to. */
static int32_t find_place(const board *b, int32_t stage, int32_t t, cell c)
{
    const cell *cells = &b->cells[(size_t)stage * (size_t)b->n_units];
    const int32_t *held = &b->held[(size_t)stage * (size_t)b->n_units];
    int32_t to = earliest(b, stage, c);
    if (is_forward(c.leg)) { /* held from there to t: one more than now */
        int32_t room = t;
        while (room > to && held[room - 1] < b->peak) {
            room--;
        }
        to = room;
    }
    while (to < t && (cells[to].leg != FREE ||
                      (length_of(c.leg) == 2 && cells[to + 1].leg != FREE))) {
        to++;
    }
    return to;
}

static void pull(board *b, int32_t stage, int32_t t)
{
    const cell c = b->cells[(size_t)stage * (size_t)b->n_units + (size_t)t];
    int32_t *held = &b->held[(size_t)stage * (size_t)b->n_units];
    take_away(b, stage, t, c.leg);
    int32_t to = find_place(b, stage, t, c);
    put(b, stage, to, c);
    for (int32_t i = to; i < t; i++) {
        held[is_forward(c.leg) ? i : i + 1] += is_forward(c.leg) ? 1 : -1;
    }
}

static void make_order(galv_slot *slots, board *b)
{
    lay_pattern(b);
    count_held(b);
    for (int32_t t = 0; t < b->n_units; t++) {
        for (int32_t stage = 0; stage < b->p; stage++) {
            if (b->cells[(size_t)stage * (size_t)b->n_units + (size_t)t].leg >= 0) {
                pull(b, stage, t);
            }
        }
    }
    for (int32_t stage = 0; stage < b->p; stage++) {
        const cell *cells = &b->cells[(size_t)stage * (size_t)b->n_units];
        for (int32_t t = 0; t < b->n_units; t++) {
            if (cells[t].leg >= 0) {
                bool folded = cells[t].leg == FORWARD_1 || cells[t].leg == BACKWARD_1;
                *slots++ = galv_slot_make(is_forward(cells[t].leg) ? GALV_PASS_FORWARD
                                                                   : GALV_PASS_BACKWARD,
                                          folded, cells[t].micro_batch);
            }
        }
    }
}

/* ---- the schedule ---- */

static bool allocate(board *b)
{
    size_t p = (size_t)b->p;
    b->cells = calloc(p * (size_t)b->n_units, sizeof *b->cells);
    b->held = calloc(p * (size_t)b->n_units, sizeof *b->held);
    bool enough = b->cells != NULL && b->held != NULL;
    for (int leg = 0; leg < N_LEGS; leg++) {
        b->end[leg] = calloc(p * (size_t)b->m, sizeof *b->end[leg]);
        enough = enough && b->end[leg] != NULL;
    }
    return enough;
}

static void release(board *b)
{
    free(b->cells);
    free(b->held);
    for (int leg = 0; leg < N_LEGS; leg++) {
        free(b->end[leg]);
    }
}

galv_status galv_order_v_1f1b(galv_slot *slots, const galv_schedule_shape *shape,
                              galv_err *err)
{
    board b = {.p = shape->n_stages, .m = shape->n_micro_batches};
    galv_status status = galv_schedule_units(&b.n_units, "v-1f1b", shape,
                                             6.0 * b.m + 10.0 * b.p + 16, err);
    if (status == GALV_OK && allocate(&b)) {
        make_order(slots, &b);
    } else if (status == GALV_OK) {
        status = galv_schedule_no_room(shape, err);
    }
    release(&b);
    return status;
}

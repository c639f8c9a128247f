/* V-Half and V-Min: two chunks a stage in a V, with a half and a third of the memory of
 * 1F1B.
 *
 * How long a micro-batch's activations stay on a stage is what memory costs. In a V the
 * two chunks of a stage make up for each other: where chunk 0 holds long, chunk 1 holds
 * short. So a pattern is laid down that repeats every 6 units of time (six passes a
 * micro-batch and stage, each of one unit), and that gives each stage the same memory;
 * the offsets of the four passes that others wait for decide how much:
 *
 *     V-Min   r, 2p - 1 - r, 2p + d + r, 4p + d - 1 - r        d = 2 if 3 divides p
 *     V-Half  2r, 3p - 2 - r, 3p + d + 2r - 1, 6p + d - 2 - r  d = 3 if p is even
 *
 * for forward of chunk 0, of chunk 1, backward for inputs of chunk 1, of chunk 0. The
 * steps from there to an order:
 *   1. weight gradients go into the free units, oldest first;
 *   2. what comes before the first and after the last of the repetitions is pulled
 *      forward into free units, as far as inputs are there and the peak of no stage
 *      rises above the highest of all;
 *   3. the order is played again with unit costs, so that gaps close;
 *   4. the end is pulled forward once more, now with the weight gradients moving out of
 *      the way into whatever units stay free.
 * Only the order is kept. It does not follow costs: with unequal ones stages wait.
 *
 * Memory here is given back by the weight gradient alone, the worst case. Times are in
 * units; at most 8 m + 6 p + 16 of them. O(p m) but for step 4, O(p^2) more a stage.
 * Source: Qi et al. 2024, "Pipeline Parallelism with Controllable Memory", arXiv
 * 2405.15362, sections 3 and 4, appendix. */
#include "schedule/schedule_internal.h"

#include <stdlib.h>
#include <string.h>

enum { FORWARD_0, FORWARD_1, BACKWARD_1, BACKWARD_0, N_LEGS, WEIGHT = N_LEGS, EMPTY };

typedef struct cell {
    int8_t kind;   /* of the above */
    int32_t index; /* micro-batch; of a WEIGHT: how many came before on the stage */
} cell;

typedef struct board {
    int32_t p, m;
    int32_t n_units;       /* room for each stage */
    cell *cells;           /* [p][n_units] what a stage does when */
    int32_t *ends;         /* [p] one past the last unit that a stage uses */
    int32_t *time[N_LEGS]; /* [p][m] */
    int32_t *gradients;    /* [p][2 m] units of backwards, ascending */
    int32_t *held;         /* [p][n_units + 1] activations before each unit */
    int32_t *waiting;      /* [p][n_units + 1] weight gradients before each unit */
} board;

static cell *row(const board *b, int32_t stage)
{
    return &b->cells[(size_t)stage * (size_t)b->n_units];
}

static int32_t *time_of(const board *b, int kind, int32_t stage, int32_t micro_batch)
{
    return &b->time[kind][(size_t)stage * (size_t)b->m + (size_t)micro_batch];
}

/* A backward for inputs? */
static bool is_backward(cell c)
{
    return c.kind == BACKWARD_0 || c.kind == BACKWARD_1;
}

static void find_ends(board *b)
{
    for (int32_t stage = 0; stage < b->p; stage++) {
        const cell *cells = row(b, stage);
        int32_t end = b->n_units;
        while (end > 0 && cells[end - 1].kind == EMPTY) {
            end--;
        }
        b->ends[stage] = end;
    }
}

/* ---- 1. the pattern ---- */

static void offsets(int32_t at[N_LEGS], bool half, int32_t p, int32_t r)
{
    int32_t d = half ? (p % 2 == 0 ? 3 : 0) : (p % 3 == 0 ? 2 : 0);
    at[FORWARD_0] = half ? 2 * r : r;
    at[FORWARD_1] = half ? 3 * p - 2 - r : 2 * p - 1 - r;
    at[BACKWARD_1] = half ? 3 * p + d + 2 * r - 1 : 2 * p + d + r;
    at[BACKWARD_0] = half ? 6 * p + d - 2 - r : 4 * p + d - 1 - r;
}

static void lay_pattern(board *b, bool half)
{
    for (size_t i = 0; i < (size_t)b->p * (size_t)b->n_units; i++) {
        b->cells[i].kind = EMPTY;
    }
    for (int32_t stage = 0; stage < b->p; stage++) {
        int32_t at[N_LEGS];
        offsets(at, half, b->p, stage);
        for (int kind = 0; kind < N_LEGS; kind++) {
            for (int32_t mb = 0; mb < b->m; mb++) {
                cell made = {(int8_t)kind, mb};
                row(b, stage)[at[kind] + 6 * mb] = made;
                *time_of(b, kind, stage, mb) = at[kind] + 6 * mb;
            }
        }
    }
}

static void add_weights(board *b)
{
    find_ends(b);
    for (int32_t stage = 0; stage < b->p; stage++) {
        cell *cells = row(b, stage);
        int32_t n_ready = 0;
        int32_t n_done = 0;
        for (int32_t t = 0; t < b->ends[stage] || n_done < n_ready; t++) {
            n_ready += is_backward(cells[t]);
            if (cells[t].kind == EMPTY && n_done < n_ready) {
                cells[t].kind = WEIGHT;
                cells[t].index = n_done++;
            }
        }
    }
}

static void remove_weights(board *b)
{
    for (size_t i = 0; i < (size_t)b->p * (size_t)b->n_units; i++) {
        if (b->cells[i].kind == WEIGHT) {
            b->cells[i].kind = EMPTY;
        }
    }
}

/* ---- memory ---- */

/* Counts what a stage holds in units [from, until); returns the most. Weight gradients
 * are those on the board or, if `implied`, done in every free unit. Writes down what
 * is held before each unit only if `keep`. */
static int32_t count_held(const board *b, int32_t stage, int32_t from, int32_t until,
                          bool implied, bool keep)
{
    const cell *cells = row(b, stage);
    size_t base = (size_t)stage * (size_t)(b->n_units + 1);
    int32_t held = b->held[base + (size_t)from];
    int32_t waiting = b->waiting[base + (size_t)from];
    int32_t most = held;
    for (int32_t t = from; t < until; t++) {
        if (cells[t].kind == FORWARD_0 || cells[t].kind == FORWARD_1) {
            held++;
        } else if (is_backward(cells[t])) {
            waiting++;
        } else if (cells[t].kind == WEIGHT || (implied && waiting > 0)) {
            held--;
            waiting--;
        }
        most = held > most ? held : most;
        if (keep) {
            b->held[base + (size_t)t + 1] = held;
            b->waiting[base + (size_t)t + 1] = waiting;
        }
    }
    return most;
}

static int32_t count_all(board *b, bool implied)
{
    int32_t most = 0;
    find_ends(b);
    for (int32_t stage = 0; stage < b->p; stage++) {
        int32_t here = count_held(b, stage, 0, b->ends[stage], implied, true);
        most = here > most ? here : most;
    }
    return most;
}

/* ---- 2. and 4. pulling forward ---- */

/* First unit that the inputs of a cell of a stage allow. */
static int32_t earliest(const board *b, int32_t stage, cell c)
{
    int32_t after = -1;
    if (c.kind == WEIGHT) {
        return b->gradients[(size_t)stage * 2 * (size_t)b->m + (size_t)c.index] + 1;
    }
    bool down = c.kind == FORWARD_0 || c.kind == BACKWARD_1;
    int32_t from = down ? stage - 1 : stage + 1;
    if (from >= 0 && from < b->p) {
        after = *time_of(b, c.kind, from, c.index);
    }
    if (c.kind > 0 && *time_of(b, c.kind - 1, stage, c.index) > after) {
        after = *time_of(b, c.kind - 1, stage, c.index);
    }
    if (c.index > 0 && *time_of(b, c.kind, stage, c.index - 1) > after) {
        after = *time_of(b, c.kind, stage, c.index - 1);
    }
    return after + 1;
}

/* Units of backwards, in order, after one has moved from unit `from` to unit `to`. */
static void move_gradient(board *b, int32_t stage, int32_t from, int32_t to)
{
    int32_t *gradients = &b->gradients[(size_t)stage * 2 * (size_t)b->m];
    int32_t i = 0;
    while (gradients[i] != from) {
        i++;
    }
    for (; i > 0 && gradients[i - 1] > to; i--) {
        gradients[i] = gradients[i - 1];
    }
    gradients[i] = to;
}

static void collect_gradients(board *b)
{
    for (int32_t stage = 0; stage < b->p; stage++) {
        int32_t *gradients = &b->gradients[(size_t)stage * 2 * (size_t)b->m];
        const cell *cells = row(b, stage);
        for (int32_t t = 0; t < b->n_units; t++) {
            if (is_backward(cells[t])) {
                *gradients++ = t;
            }
        }
    }
}

/* Moves what a stage does in unit `t` to the first unit that is free, late enough, and
 * leaves the peak within the limit. */
static void pull(board *b, int32_t stage, int32_t t, int32_t limit, bool implied)
{
    cell *cells = row(b, stage);
    const cell moved = cells[t];
    const cell empty = {EMPTY, 0};
    int32_t until = implied ? b->ends[stage] : t + 1; /* where memory may differ */
    for (int32_t to = earliest(b, stage, moved); to < t; to++) {
        if (cells[to].kind != EMPTY) {
            continue;
        }
        cells[to] = moved;
        cells[t] = empty;
        if (count_held(b, stage, to, until, implied, false) <= limit) {
            count_held(b, stage, to, until, implied, true);
            if (moved.kind < N_LEGS) {
                *time_of(b, moved.kind, stage, moved.index) = to;
            }
            if (is_backward(moved)) {
                move_gradient(b, stage, t, to);
            }
            return;
        }
        cells[to] = empty;
        cells[t] = moved;
    }
}

/* Pulls the begin (unless weight gradients are implied) and the end forward. */
static void squeeze(board *b, bool implied)
{
    enum { BEGIN, MIDDLE, END } part = BEGIN;
    bool entered_all = false; /* the last forward of stage 0 is done */
    int32_t limit = count_all(b, implied);
    collect_gradients(b);
    for (int32_t t = 0; t < b->n_units; t++) {
        for (int32_t stage = 0; stage < b->p; stage++) {
            const cell at = row(b, stage)[t];
            if (at.kind == EMPTY) {
                continue;
            }
            if (stage == 0 && at.kind == BACKWARD_0 && part == BEGIN) {
                part = entered_all ? END : MIDDLE;
            }
            if (part == END || (part == BEGIN && !implied)) {
                pull(b, stage, t, limit, implied);
            }
            if (stage == 0 && at.kind == FORWARD_0 && at.index == b->m - 1) {
                entered_all = true;
                part = part == MIDDLE ? END : part;
            }
        }
    }
}

/* ---- 3. closing gaps ---- */

static void close_gaps(board *b)
{
    for (int32_t stage = 0; stage < b->p; stage++) {
        b->ends[stage] = 0; /* of what has been placed */
    }
    for (int32_t t = 0; t < b->n_units; t++) {
        for (int32_t stage = 0; stage < b->p; stage++) {
            cell *cells = row(b, stage);
            const cell at = cells[t];
            if (at.kind == EMPTY) {
                continue;
            }
            int32_t to = b->ends[stage];
            int32_t ready = at.kind == WEIGHT ? 0 : earliest(b, stage, at);
            to = ready > to ? ready : to;
            cells[t].kind = EMPTY;
            cells[to] = at;
            b->ends[stage] = to + 1;
            if (at.kind < N_LEGS) {
                *time_of(b, at.kind, stage, at.index) = to;
            }
        }
    }
}

/* ---- the order ---- */

static void write_stage(galv_slot *slots, const board *b, int32_t stage)
{
    const cell *cells = row(b, stage);
    size_t n = 0;
    size_t waiting = 0; /* slot of the oldest backward without weight gradient */
    for (int32_t t = 0; t < b->n_units; t++) {
        const cell at = cells[t];
        int32_t chunk = at.kind == FORWARD_1 || at.kind == BACKWARD_1;
        if (at.kind == WEIGHT) {
            while (slots[waiting].pass != GALV_PASS_BACKWARD_INPUT) {
                waiting++;
            }
            slots[n] = slots[waiting++];
            slots[n++].pass = GALV_PASS_BACKWARD_WEIGHT;
        } else if (at.kind != EMPTY) {
            slots[n++] = galv_slot_make(is_backward(at) ? GALV_PASS_BACKWARD_INPUT
                                                        : GALV_PASS_FORWARD,
                                        chunk, at.index);
        }
    }
}

static void make_order(galv_slot *slots, board *b, bool half)
{
    lay_pattern(b, half);
    add_weights(b);
    squeeze(b, false);
    close_gaps(b);
    remove_weights(b);
    squeeze(b, true);
    add_weights(b);
    close_gaps(b);
    remove_weights(b); /* and once more, where gaps have closed */
    add_weights(b);
    for (int32_t stage = 0; stage < b->p; stage++) {
        write_stage(&slots[(size_t)stage * 6 * (size_t)b->m], b, stage);
    }
}

static bool allocate(board *b)
{
    size_t p = (size_t)b->p;
    size_t m = (size_t)b->m;
    size_t n_units = (size_t)b->n_units;
    b->cells = calloc(p * n_units, sizeof *b->cells);
    b->ends = calloc(p, sizeof *b->ends);
    b->gradients = calloc(2 * p * m, sizeof *b->gradients);
    b->held = calloc(p * (n_units + 1), sizeof *b->held);
    b->waiting = calloc(p * (n_units + 1), sizeof *b->waiting);
    bool enough = b->cells != NULL && b->ends != NULL && b->gradients != NULL &&
                  b->held != NULL && b->waiting != NULL;
    for (int kind = 0; kind < N_LEGS; kind++) {
        b->time[kind] = calloc(p * m, sizeof *b->time[kind]);
        enough = enough && b->time[kind] != NULL;
    }
    return enough;
}

static void release(board *b)
{
    free(b->cells);
    free(b->ends);
    free(b->gradients);
    free(b->held);
    free(b->waiting);
    for (int kind = 0; kind < N_LEGS; kind++) {
        free(b->time[kind]);
    }
}

static galv_status order(galv_slot *slots, const char *name, bool half,
                         const galv_schedule_shape *shape, galv_err *err)
{
    board b = {.p = shape->n_stages, .m = shape->n_micro_batches};
    galv_status status =
        galv_schedule_units(&b.n_units, name, shape, 8.0 * b.m + 6.0 * b.p + 16, err);
    if (status == GALV_OK && allocate(&b)) {
        make_order(slots, &b, half);
    } else if (status == GALV_OK) {
        status = galv_schedule_no_room(shape, err);
    }
    release(&b);
    return status;
}

galv_status galv_order_v_half(galv_slot *slots, const galv_schedule_shape *shape,
                              galv_err *err)
{
    return order(slots, "v-half", true, shape, err);
}

galv_status galv_order_v_min(galv_slot *slots, const galv_schedule_shape *shape,
                             galv_err *err)
{
    return order(slots, "v-min", false, shape, err);
}

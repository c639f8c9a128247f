/* Runs are added one after another. A state is (layers of the row that have an option,
 * option of the last run); of the partial answers that reach the same state only those
 * that no other beats in time and memory are kept, because what follows costs all of
 * them the same. So the last states together hold the exact frontier.
 *
 * With C options, n layers in a row, two runs and f kept answers a state, that is about
 * C (C + n) f steps a row; f is small, since all layers of a row are alike. */
#include "search/frontier.h"

#include <stdlib.h>
#include <string.h>

typedef struct partial {
    double time_s, bytes;
    int32_t parent; /* -1 = none */
    int32_t option, n_layers;
} partial;

/* Answers that reach one state: by memory, none of them beaten by another. */
typedef struct answers {
    size_t n, capacity;
    int32_t *at; /* indices of partials */
} answers;

typedef struct maker {
    const galv_frontier_problem *problem;
    partial *partials;
    size_t n, capacity;
    bool failed;
} maker;

/* Where in the list an answer belongs: before the first that needs more, or as much and
 * no less time. */
static size_t place_of(const maker *m, const answers *list, double time_s, double bytes)
{
    size_t low = 0;
    size_t high = list->n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        const partial *p = &m->partials[list->at[middle]];
        bool before = p->bytes < bytes || (p->bytes <= bytes && p->time_s <= time_s);
        low = before ? middle + 1 : low;
        high = before ? high : middle;
    }
    return low;
}

static bool make_room(maker *m, answers *to)
{
    if (m->n == m->capacity) {
        size_t capacity = m->capacity ? 2 * m->capacity : 1024;
        partial *grown = capacity > INT32_MAX
                             ? NULL
                             : realloc(m->partials, capacity * sizeof *grown);
        if (!grown) {
            return false;
        }
        m->partials = grown;
        m->capacity = capacity;
    }
    if (to->n == to->capacity) {
        size_t capacity = to->capacity ? 2 * to->capacity : 8;
        int32_t *grown = realloc(to->at, capacity * sizeof *grown);
        if (!grown) {
            return false;
        }
        to->at = grown;
        to->capacity = capacity;
    }
    return true;
}

/* Adds an answer unless one of the list is no worse, and drops those that it beats. */
static void push(maker *m, answers *to, int32_t parent, double time_s, double bytes,
                 int32_t option, int32_t n_layers)
{
    if (bytes > m->problem->limit_bytes || m->failed) {
        return;
    }
    size_t at = place_of(m, to, time_s, bytes);
    if (at > 0 && m->partials[to->at[at - 1]].time_s <= time_s) {
        return;
    }
    if (!make_room(m, to)) {
        m->failed = true;
        return;
    }
    size_t beaten = at;
    while (beaten < to->n && m->partials[to->at[beaten]].time_s >= time_s) {
        beaten++;
    }
    memmove(&to->at[at + 1], &to->at[beaten], (to->n - beaten) * sizeof *to->at);
    to->n = to->n - (beaten - at) + 1;
    m->partials[m->n] = (partial){time_s, bytes, parent, option, n_layers};
    to->at[at] = (int32_t)m->n++;
}

/* Adds runs of row `row` to every answer of `from` that ends in option `last` of row
 * `from_row` (-1 = nothing before), having placed `used` layers of this row. */
static void add_runs(maker *m, answers *states, const answers *from, int32_t row,
                     int32_t from_row, int32_t last, int32_t used, bool only_whole)
{
    const galv_frontier_row *r = &m->problem->rows[row];
    int32_t left = r->n_layers - used;
    for (int32_t option = 0; option < r->n_options && from->n > 0; option++) {
        if (from_row == row && option == last) {
            continue;
        }
        double change =
            from_row >= 0 && m->problem->change_s
                ? m->problem->change_s(m->problem->context, from_row, last, row, option)
                : 0;
        for (int32_t n = only_whole ? left : 1; n <= left; n++) {
            answers *to = &states[(used + n) * r->n_options + option];
            for (size_t i = 0; i < from->n && !m->failed; i++) {
                const partial p = m->partials[from->at[i]];
                push(m, to, from->at[i],
                     p.time_s + change + n * r->options[option].time_s,
                     p.bytes + n * r->options[option].bytes, option, n);
            }
        }
    }
}

static void free_states(answers *states, size_t n)
{
    for (size_t i = 0; states && i < n; i++) {
        free(states[i].at);
    }
    free(states);
}

/* One row: from the answers by last option of the row before to those of this one. */
static answers *add_row(maker *m, const answers *before, int32_t row)
{
    const galv_frontier_row *r = &m->problem->rows[row];
    size_t n_states = (size_t)(r->n_layers + 1) * (size_t)r->n_options;
    int32_t n_before = row > 0 ? m->problem->rows[row - 1].n_options : 1;
    answers *ends = calloc((size_t)r->n_options, sizeof *ends);
    answers *states = calloc(n_states, sizeof *states);
    m->failed |= !ends || !states;
    for (int32_t i = 0; !m->failed && i < n_before; i++) {
        add_runs(m, states, &before[i], row, row - 1, i, 0, m->problem->max_runs == 1);
    }
    for (int32_t run = 1; !m->failed && run <= m->problem->max_runs; run++) {
        answers *next = calloc(n_states, sizeof *next);
        m->failed |= !next;
        for (int32_t used = 1; !m->failed && used <= r->n_layers; used++) {
            for (int32_t option = 0; option < r->n_options; option++) {
                answers *here = &states[used * r->n_options + option];
                if (used == r->n_layers) {
                    for (size_t i = 0; i < here->n; i++) {
                        const partial p = m->partials[here->at[i]];
                        push(m, &ends[option], p.parent, p.time_s, p.bytes, p.option,
                             p.n_layers);
                    }
                } else if (run < m->problem->max_runs) {
                    add_runs(m, next, here, row, row, option, used,
                             run + 1 == m->problem->max_runs);
                }
            }
        }
        free_states(states, n_states);
        states = next;
    }
    free_states(states, n_states);
    return ends;
}

static void write_options(const maker *m, int32_t index, int32_t *options, int32_t n)
{
    while (index > 0) { /* partial 0 is the empty beginning */
        const partial *p = &m->partials[index];
        for (int32_t i = 0; i < p->n_layers; i++) {
            options[--n] = p->option;
        }
        index = p->parent;
    }
}

static galv_status finish(galv_frontier *frontier, maker *m, answers *ends,
                          galv_arena *arena, galv_err *err)
{
    answers all = {0};
    int32_t n_layers = 0;
    for (int32_t row = 0; row < m->problem->n_rows; row++) {
        n_layers += m->problem->rows[row].n_layers;
    }
    int32_t n_ends = m->problem->rows[m->problem->n_rows - 1].n_options;
    for (int32_t i = 0; i < n_ends; i++) {
        for (size_t k = 0; k < ends[i].n; k++) {
            const partial p = m->partials[ends[i].at[k]];
            push(m, &all, p.parent, p.time_s, p.bytes, p.option, p.n_layers);
        }
    }
    galv_frontier_point *points = GALV_NEW_ARRAY(arena, galv_frontier_point, all.n + 1);
    int32_t *options = GALV_NEW_ARRAY(arena, int32_t, all.n * (size_t)n_layers + 1);
    galv_status status = GALV_OK;
    if (m->failed || !points || !options) {
        status = galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; status == GALV_OK && i < all.n; i++) {
        const partial *p = &m->partials[all.at[i]];
        points[i] =
            (galv_frontier_point){p->time_s, p->bytes, &options[i * (size_t)n_layers]};
        write_options(m, all.at[i], points[i].options, n_layers);
    }
    if (status == GALV_OK) {
        *frontier = (galv_frontier){all.n, points};
    }
    free(all.at);
    return status;
}

galv_status galv_frontier_make(galv_frontier *frontier,
                               const galv_frontier_problem *problem, galv_arena *arena,
                               galv_err *err)
{
    maker m = {.problem = problem};
    size_t n_ends = 1;
    answers *ends = calloc(1, sizeof *ends);
    galv_status status = GALV_OK;
    m.failed = !ends;
    if (!m.failed) {
        push(&m, &ends[0], -1, 0, 0, -1, 0);
    }
    for (int32_t row = 0; row < problem->n_rows && !m.failed; row++) {
        answers *next = add_row(&m, ends, row);
        free_states(ends, n_ends);
        ends = next;
        n_ends = (size_t)problem->rows[row].n_options;
    }
    if (m.failed) {
        status = galv_fail(err, GALV_NO_MEMORY, "out of memory");
    } else {
        status = finish(frontier, &m, ends, arena, err);
    }
    free_states(ends, n_ends);
    free(m.partials);
    return status;
}

/* Who of n is next: a knock-out tournament over times.
 *
 * A leaf for each, in order; every inner node holds the earlier of its two, of equal
 * times the one with the lower number. A new time is played up to the root without a
 * branch that depends on times, which a heap is full of: with a few dozen entrants
 * whose times are all alike in size it takes half as long.
 *
 * Times are kept as their bits: of doubles that are not negative these are in the order
 * of the numbers, and integers can be chosen between without a branch. */
#ifndef GALV_SIM_EARLIEST_INTERNAL_H
#define GALV_SIM_EARLIEST_INTERNAL_H

#include "base/arena.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

typedef struct earliest_node {
    uint64_t time; /* bits of a double, >= 0 or INFINITY */
    uint64_t who;
} earliest_node;

typedef struct earliest {
    uint32_t n_leaves;    /* a power of two */
    earliest_node *nodes; /* [2 * n_leaves]: 1 is the root, 2 i and 2 i + 1 below i */
} earliest;

static inline uint64_t earliest_bits(double time_s)
{
    uint64_t bits;
    memcpy(&bits, &time_s, sizeof bits);
    return bits;
}

/* The time of entrant `who` is `time_s` from now on. O(log n). */
static inline void earliest_set(earliest *e, uint32_t who, double time_s)
{
    uint32_t at = e->n_leaves + who;
    earliest_node winner = {earliest_bits(time_s), who};
    e->nodes[at] = winner;
    while (at > 1) {
        const earliest_node *other = &e->nodes[at ^ 1U];
        /* the other one wins a draw if it is the left one: if we are odd */
        uint64_t before = winner.time + (at & 1U);
        uint64_t other_time = other->time;
        uint64_t other_who = other->who;
        winner.who = other_time < before ? other_who : winner.who;
        winner.time = other_time < before ? other_time : winner.time;
        at >>= 1;
        e->nodes[at] = winner;
    }
}

/* The earliest time, and whose it is; INFINITY when nobody has one. */
static inline double earliest_time(const earliest *e)
{
    double time_s;
    memcpy(&time_s, &e->nodes[1].time, sizeof time_s);
    return time_s;
}

static inline uint32_t earliest_who(const earliest *e)
{
    return (uint32_t)e->nodes[1].who;
}

/* `n` entrants without a time, owned by the arena; false when memory is out. */
static inline bool earliest_init(earliest *e, uint32_t n, galv_arena *arena)
{
    e->n_leaves = 1;
    while (e->n_leaves < n) {
        e->n_leaves *= 2;
    }
    e->nodes = GALV_NEW_ARRAY(arena, earliest_node, 2 * (size_t)e->n_leaves);
    for (uint32_t at = 0; e->nodes != NULL && at < 2 * e->n_leaves; at++) {
        e->nodes[at].time = earliest_bits((double)INFINITY);
        e->nodes[at].who = 0;
    }
    return e->nodes != NULL;
}

#endif

/* Max-min sharing against cases by hand and against its definition on random nets: no
 * link over its capacity, and every flow below its cap has a full link on which no flow
 * has a higher level. */
#include "sim/max_min.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>

GALV_TEST_SUITE(sim_max_min);

#define MOST_USES 5

typedef struct net {
    galv_arena *arena;
    galv_max_min *sharing;
} net;

static net make(const double *capacities, uint32_t n_links, uint32_t n_flows)
{
    net n = {galv_arena_new(), NULL};
    galv_err err = GALV_ERR_INIT;
    uint32_t *most = GALV_NEW_ARRAY(n.arena, uint32_t, n_flows);
    for (uint32_t i = 0; i < n_flows; i++) {
        most[i] = MOST_USES;
    }
    cr_assert_eq(
        galv_max_min_new(&n.sharing, capacities, n_links, most, n_flows, n.arena, &err),
        GALV_OK);
    return n;
}

static void expect_rates(const net *n, const double *rates, uint32_t n_flows,
                         const char *when)
{
    const uint32_t *changed = NULL;
    galv_max_min_settle(n->sharing, &changed);
    for (uint32_t i = 0; i < n_flows; i++) {
        cr_expect_float_eq(galv_max_min_rate(n->sharing, i), rates[i], 1e-12,
                           "%s: flow %u has %g, not %g", when, i,
                           galv_max_min_rate(n->sharing, i), rates[i]);
    }
}

/* The textbook case: a long flow over two links, a short one on each. */
Test(sim_max_min, a_long_flow_shares_its_narrowest_link)
{
    const double capacities[] = {1, 2};
    const galv_link_use both[] = {{0, 1}, {1, 1}};
    net n = make(capacities, 2, 3);
    galv_max_min_begin(n.sharing, 0, both, 2, 1, 1, 10);
    expect_rates(&n, (double[]){1}, 1, "alone");
    galv_max_min_begin(n.sharing, 1, &both[0], 1, 1, 1, 10);
    expect_rates(&n, (double[]){0.5, 0.5}, 2, "with one");
    galv_max_min_begin(n.sharing, 2, &both[1], 1, 1, 1, 10);
    expect_rates(&n, (double[]){0.5, 0.5, 1.5}, 3, "with two");
    galv_max_min_end(n.sharing, 1);
    const uint32_t *changed = NULL;
    cr_expect_eq(galv_max_min_settle(n.sharing, &changed), 2);
    cr_expect_float_eq(galv_max_min_rate(n.sharing, 0), 1, 1e-12);
    cr_expect_float_eq(galv_max_min_rate(n.sharing, 2), 1, 1e-12);
    cr_expect_float_eq(galv_max_min_load(n.sharing, 1), 1, 1e-12);
    galv_arena_free(n.arena);
}

Test(sim_max_min, caps_leave_room_to_others_and_weights_divide_it)
{
    const double capacities[] = {1};
    const galv_link_use use = {0, 1};
    net n = make(capacities, 1, 3);
    galv_max_min_begin(n.sharing, 0, &use, 1, 1, 1, 0.1);
    galv_max_min_begin(n.sharing, 1, &use, 1, 1, 1, 1);
    galv_max_min_begin(n.sharing, 2, &use, 1, 1, 2, 1);
    expect_rates(&n, (double[]){0.1, 0.3, 0.6}, 3, "weights 1 and 2");
    galv_arena_free(n.arena);
}

Test(sim_max_min, only_the_part_that_feels_a_change_changes)
{
    const double capacities[] = {1, 1, 100};
    const galv_link_use left[] = {{0, 1}, {2, 1}};
    const galv_link_use right[] = {{1, 1}, {2, 1}};
    net n = make(capacities, 3, 4);
    const uint32_t *changed = NULL;
    galv_max_min_begin(n.sharing, 0, left, 2, 1, 1, 1);
    galv_max_min_begin(n.sharing, 1, right, 2, 1, 1, 1);
    cr_expect_eq(galv_max_min_settle(n.sharing, &changed), 2);
    galv_max_min_begin(n.sharing, 2, left, 2, 1, 1, 1);
    cr_expect_eq(galv_max_min_settle(n.sharing, &changed), 2, "the right is not asked");
    cr_expect_eq(galv_max_min_settle(n.sharing, &changed), 0, "nothing happened");
    galv_max_min_end(n.sharing, 2);
    cr_expect_eq(galv_max_min_settle(n.sharing, &changed), 1);
    cr_expect_float_eq(galv_max_min_rate(n.sharing, 0), 1, 1e-12);
    galv_arena_free(n.arena);
}

static uint32_t draw(uint64_t *state, uint32_t n)
{
    *state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t)(*state >> 33) % n;
}

enum { LINKS = 12, FLOWS = 24 };

typedef struct random_flow {
    bool runs;
    uint32_t n;
    galv_link_use uses[MOST_USES];
    double weight, cap;
} random_flow;

/* Water-filling from nothing: all levels rise until a link is full or a cap is reached;
 * who is on that link or at that cap stays, the others go on. */
static void fill_by_hand(double rates[FLOWS], const random_flow *flows,
                         const double *capacities)
{
    bool stays[FLOWS] = {false};
    for (uint32_t left = FLOWS; left > 0;) {
        double level = HUGE_VAL;
        double full_at[LINKS];
        for (uint32_t l = 0; l < LINKS; l++) {
            double taken = 0;
            double rising = 0;
            for (uint32_t i = 0; i < FLOWS; i++) {
                for (uint32_t k = 0; flows[i].runs && k < flows[i].n; k++) {
                    if (flows[i].uses[k].link == l) {
                        taken += stays[i] ? rates[i] * flows[i].uses[k].use : 0;
                        rising += stays[i] ? 0 : flows[i].weight * flows[i].uses[k].use;
                    }
                }
            }
            full_at[l] = rising > 0 ? (capacities[l] - taken) / rising : HUGE_VAL;
            level = fmin(level, full_at[l]);
        }
        for (uint32_t i = 0; i < FLOWS; i++) {
            if (!stays[i] && flows[i].runs) {
                level = fmin(level, flows[i].cap / flows[i].weight);
            }
        }
        left = 0;
        for (uint32_t i = 0; i < FLOWS; i++) {
            if (stays[i] || !flows[i].runs) {
                continue;
            }
            rates[i] = level * flows[i].weight;
            stays[i] = rates[i] >= flows[i].cap * (1 - 1e-12);
            for (uint32_t k = 0; k < flows[i].n; k++) {
                stays[i] |= full_at[flows[i].uses[k].link] <= level * (1 + 1e-12);
            }
            left += !stays[i];
        }
    }
}

static void check_net(const net *n, const random_flow *flows, uint32_t seed)
{
    double top[LINKS] = {0};
    for (uint32_t i = 0; i < FLOWS; i++) {
        for (uint32_t k = 0; flows[i].runs && k < flows[i].n; k++) {
            uint32_t at = flows[i].uses[k].link;
            top[at] = fmax(top[at], galv_max_min_rate(n->sharing, i) / flows[i].weight);
        }
    }
    for (uint32_t l = 0; l < LINKS; l++) {
        cr_assert_leq(galv_max_min_load(n->sharing, l), 1 + 1e-9, "seed %u", seed);
    }
    for (uint32_t i = 0; i < FLOWS; i++) {
        double rate = galv_max_min_rate(n->sharing, i);
        if (!flows[i].runs) {
            continue;
        }
        cr_assert_leq(rate, flows[i].cap * (1 + 1e-9));
        bool held = rate >= flows[i].cap * (1 - 1e-9);
        for (uint32_t k = 0; k < flows[i].n; k++) {
            uint32_t at = flows[i].uses[k].link;
            held |= galv_max_min_load(n->sharing, at) >= 1 - 1e-9 &&
                    rate / flows[i].weight >= top[at] * (1 - 1e-9);
        }
        cr_assert(held, "seed %u: flow %u could be faster", seed, i);
    }
}

Test(sim_max_min, fulfils_its_definition_on_random_nets_as_flows_come_and_go)
{
    for (uint32_t seed = 1; seed <= 40; seed++) {
        uint64_t state = seed;
        double capacities[LINKS];
        random_flow flows[FLOWS] = {0};
        for (uint32_t l = 0; l < LINKS; l++) {
            capacities[l] = 1 + draw(&state, 8);
        }
        net n = make(capacities, LINKS, FLOWS);
        for (int step = 0; step < 100; step++) {
            uint32_t n_moves = 1 + draw(&state, 3);
            for (uint32_t move = 0; move < n_moves; move++) {
                uint32_t i = draw(&state, FLOWS);
                random_flow *f = &flows[i];
                if (f->runs) {
                    f->runs = false;
                    galv_max_min_end(n.sharing, i);
                    continue;
                }
                f->runs = true;
                f->n = draw(&state, MOST_USES);
                uint32_t first = draw(&state, LINKS);
                for (uint32_t k = 0; k < f->n; k++) {
                    f->uses[k].link = (first + k * 5) % LINKS;
                    f->uses[k].use = 0.1 + 0.1 * draw(&state, 20);
                }
                f->weight = 1 + draw(&state, 3);
                f->cap = 0.5 + 0.5 * draw(&state, 6);
                galv_max_min_begin(n.sharing, i, f->uses, f->n, 1, f->weight, f->cap);
            }
            const uint32_t *changed = NULL;
            galv_max_min_settle(n.sharing, &changed);
            check_net(&n, flows, seed);
            double by_hand[FLOWS] = {0};
            fill_by_hand(by_hand, flows, capacities);
            for (uint32_t i = 0; i < FLOWS; i++) {
                cr_assert(!flows[i].runs || fabs(galv_max_min_rate(n.sharing, i) -
                                                 by_hand[i]) <= 1e-9 * by_hand[i],
                          "seed %u: flow %u has %g, by hand %g", seed, i,
                          galv_max_min_rate(n.sharing, i), by_hand[i]);
            }
        }
        galv_arena_free(n.arena);
    }
}

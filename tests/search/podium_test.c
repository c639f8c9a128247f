/* The podium against what it is defined by: all plans sorted, one kind at a time. */
#include "search/podium.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

GALV_TEST_SUITE(search_podium);

enum { N = 60 };

static uint32_t next(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 16;
}

/* The K best by going through all of them, fastest first. */
static size_t greedy(size_t *chosen, const galv_searched *all, size_t top_k,
                     int32_t per_kind)
{
    bool used[N] = {false};
    size_t n = 0;
    for (int round = 0; round < N && n < top_k; round++) {
        size_t best = N;
        int32_t alike = 0;
        bool twin = false;
        for (size_t i = 0; i < N; i++) {
            if (!used[i] && (best == N || all[i].time_s < all[best].time_s)) {
                best = i;
            }
        }
        used[best] = true;
        for (size_t k = 0; k < n; k++) {
            alike += galv_candidate_same_kind(&all[chosen[k]].candidate,
                                              &all[best].candidate);
            twin |=
                galv_candidate_is_twin(&all[chosen[k]].candidate, &all[best].candidate);
        }
        if (per_kind == 0 || (alike < per_kind && !twin)) {
            chosen[n++] = best;
        }
    }
    return n;
}

Test(search_podium, holds_what_one_who_goes_through_all_would_take)
{
    uint32_t state = 7;
    for (int instance = 0; instance < 500; instance++) {
        galv_searched all[N];
        galv_plan layered = {0};
        size_t chosen[N];
        galv_podium_place places[N];
        galv_podium podium = {0, 1 + next(&state) % 12, (int32_t)(next(&state) % 4),
                              places};
        memset(all, 0, sizeof all);
        for (size_t i = 0; i < N; i++) {
            all[i].candidate.pp = 1 + (int32_t)(next(&state) % 3);
            all[i].candidate.strategy.tp = 1 + (int32_t)(next(&state) % 2);
            all[i].candidate.vpp = 1 + (int32_t)(next(&state) % 5);
            all[i].candidate.layered = next(&state) % 2 ? &layered : NULL;
            all[i].time_s = 1 + next(&state) % 40; /* with ties */
        }
        size_t first = next(&state) % N;
        for (size_t i = 0; i < N; i++) {
            size_t at = (first + i * 7) % N; /* 7 and N have no common divisor */
            double limit = galv_podium_limit(&podium, &all[at].candidate);
            size_t before = podium.n;
            galv_podium_place held[N];
            memcpy(held, places, podium.n * sizeof *held);
            galv_podium_enter(
                &podium, &(galv_podium_place){at, all[at].time_s, &all[at].candidate});
            if (all[at].time_s > limit) {
                cr_assert(before == podium.n &&
                              memcmp(held, places, before * sizeof *held) == 0,
                          "slower than its limit, yet it entered");
            }
        }
        size_t n = greedy(chosen, all, podium.top_k, podium.per_kind);
        cr_assert_eq(podium.n, n, "instance %d: %zu, not %zu", instance, podium.n, n);
        for (size_t i = 0; i < n; i++) {
            cr_assert_eq(places[i].index, chosen[i], "instance %d, place %zu", instance,
                         i);
        }
        for (size_t i = 0; podium.per_kind > 0 && i < n; i++) {
            for (size_t k = 0; k < i; k++) {
                const galv_candidate *a = &all[places[i].index].candidate;
                const galv_candidate *b = &all[places[k].index].candidate;
                cr_assert(!a->layered || !b->layered || a->pp != b->pp ||
                              a->vpp != b->vpp || a->strategy.tp != b->strategy.tp,
                          "instance %d holds twins", instance);
            }
        }
        cr_assert_eq(galv_podium_best(&podium), all[chosen[0]].time_s);
        cr_assert(n == podium.top_k
                      ? galv_podium_last(&podium) == all[chosen[n - 1]].time_s
                      : isinf(galv_podium_last(&podium)));
    }
}

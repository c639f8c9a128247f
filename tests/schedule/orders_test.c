/* Every schedule over a grid of shapes, without a clock: each pass of each micro-batch
 * once, in an order that cannot deadlock. */
#include "schedule/program.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

GALV_TEST_SUITE(schedule_orders);

/* Is every pass of every chunk there once, backward after forward, weights after
 * inputs? Says what is wrong, NULL when nothing is. */
static const char *fault(const galv_slot *slots, size_t n_slots,
                         const galv_schedule *schedule,
                         const galv_schedule_shape *shape, uint8_t *seen)
{
    int32_t m = shape->n_micro_batches;
    int32_t n_chunks = schedule->two_way ? 2 : shape->n_chunks;
    memset(seen, 0, (size_t)n_chunks * (size_t)m);
    bool ended = false;
    for (size_t s = 0; s < n_slots; s++) {
        const galv_slot *slot = &slots[s];
        if (slot->pass == GALV_PASS_NONE) {
            ended = true;
            continue;
        }
        if (ended || slot->chunk < 0 || slot->chunk >= n_chunks ||
            slot->micro_batch < 0 || slot->micro_batch >= m) {
            return "has a slot that cannot be";
        }
        if (slot->paired &&
            (slot->pass != GALV_PASS_FORWARD || s + 1 == n_slots ||
             slots[s + 1].pass != GALV_PASS_BACKWARD || slots[s + 1].paired)) {
            return "pairs what cannot be paired";
        }
        uint8_t *state = &seen[slot->chunk * m + slot->micro_batch];
        uint8_t before[] = {0, 1, 1, 2};
        uint8_t after[] = {1, 3, 2, 3};
        if (*state != before[slot->pass]) {
            return "does a pass too early or twice";
        }
        *state = after[slot->pass];
    }
    for (int32_t i = 0; i < n_chunks * m; i++) {
        bool other_way = schedule->two_way && (i / m == 0) != (i % m < m / 2);
        if (seen[i] != (other_way ? 0 : 3)) {
            return "leaves a pass out";
        }
    }
    return NULL;
}

/* Checks one shape; returns whether the schedule can do it at all. */
static bool check(const galv_schedule *schedule, const galv_schedule_shape *shape)
{
    galv_err err = GALV_ERR_INIT;
    galv_arena *arena = galv_arena_new();
    galv_program *program = NULL;
    galv_status status =
        galv_program_from_schedule(&program, schedule, shape, arena, &err);
    if (status == GALV_OK) {
        size_t n_slots = galv_schedule_n_slots(schedule, shape);
        galv_slot *slots = calloc(n_slots * (size_t)shape->n_stages, sizeof *slots);
        uint8_t *seen =
            calloc(2 * (size_t)shape->n_chunks * (size_t)shape->n_micro_batches, 1);
        cr_expect_eq(galv_schedule_order(slots, schedule, shape, &err), GALV_OK);
        for (int32_t stage = 0; stage < shape->n_stages; stage++) {
            const char *wrong =
                fault(&slots[(size_t)stage * n_slots], n_slots, schedule, shape, seen);
            cr_expect_null(wrong, "%s p%d v%d m%d: stage %d %s", schedule->name,
                           (int)shape->n_stages, (int)shape->n_chunks,
                           (int)shape->n_micro_batches, (int)stage, wrong);
        }
        cr_expect_eq(galv_program_check(program, arena, &err), GALV_OK,
                     "%s p%d v%d m%d: %s", schedule->name, (int)shape->n_stages,
                     (int)shape->n_chunks, (int)shape->n_micro_batches, err.message);
        free(slots);
        free(seen);
    } else {
        cr_expect_eq(status, GALV_USAGE, "%s p%d v%d m%d: %s", schedule->name,
                     (int)shape->n_stages, (int)shape->n_chunks,
                     (int)shape->n_micro_batches, err.message);
    }
    galv_arena_free(arena);
    return status == GALV_OK;
}

/* May the schedule refuse this shape? */
static bool may_refuse(const galv_schedule *schedule, const galv_schedule_shape *shape)
{
    bool looks_right = shape->n_stages >= schedule->min_stages &&
                       shape->n_chunks >= schedule->min_chunks &&
                       shape->n_chunks <= schedule->max_chunks;
    bool too_few = schedule->pairs && shape->n_micro_batches < 2 * shape->n_stages;
    bool odd = schedule->two_way &&
               (shape->n_stages % 2 == 1 || shape->n_micro_batches % 2 == 1);
    bool none = strcmp(schedule->name, "none") == 0 && shape->n_stages > 1;
    return !looks_right || too_few || odd || none;
}

Test(schedule_orders, are_complete_and_free_of_deadlock_for_every_shape, .timeout = 60)
{
    size_t n = 0;
    const galv_schedule *all = galv_schedules(&n);
    for (size_t i = 0; i < n; i++) {
        for (int32_t p = 1; p <= 8; p++) {
            for (int32_t v = 1; v <= 3; v++) {
                for (int32_t m = 1; m <= 24; m++) {
                    galv_schedule_shape shape = {p, v, m, 0, NULL};
                    cr_expect_neq(check(&all[i], &shape), may_refuse(&all[i], &shape),
                                  "%s p%d v%d m%d", all[i].name, (int)p, (int)v,
                                  (int)m);
                }
            }
        }
    }
}

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525U + 1013904223U;
    return *state >> 8;
}

Test(schedule_orders, hold_for_uneven_costs_and_tight_memory, .timeout = 60)
{
    size_t n = 0;
    const galv_schedule *all = galv_schedules(&n);
    uint32_t random = 5;
    for (int k = 0; k < 400; k++) {
        const galv_schedule *schedule = &all[next_random(&random) % n];
        galv_stage_weights stages[12];
        for (int32_t s = 0; s < 12; s++) {
            stages[s].forward = next_random(&random) % 9 / 4.0;
            stages[s].input = next_random(&random) % 9 / 4.0;
            stages[s].weight = next_random(&random) % 9 / 4.0;
            stages[s].waiting = next_random(&random) % 20 / 8.0;
        }
        galv_schedule_weights weights = {stages, next_random(&random) % 4 / 8.0,
                                         next_random(&random) % 40 / 2.0, false};
        galv_schedule_shape shape = {
            1 + (int32_t)(next_random(&random) % 12), schedule->min_chunks,
            1 + (int32_t)(next_random(&random) % 30), 0, &weights};
        check(schedule, &shape);
    }
}

/* Most that a stage holds, in activations of one micro-batch. */
static double most_held(const galv_slot *slots, size_t n_slots, double waiting)
{
    double held = 0;
    double most = 0;
    for (size_t i = 0; i < n_slots; i++) {
        held += slots[i].pass == GALV_PASS_FORWARD          ? 1
                : slots[i].pass == GALV_PASS_BACKWARD_INPUT ? waiting - 1
                                                            : -waiting;
        most = held > most ? held : most;
    }
    return most;
}

/* Whatever share of an activation waits for the gradients of weights, orders that are
 * promised the memory of some micro-batches take no more: 32 / 87 of them under unfused
 * attention, nearly all under fused. */
Test(schedule_orders, promised_memory_is_kept_for_any_share_that_waits)
{
    static const struct {
        const char *name;
        double limit; /* in p */
    } rows[] = {{"zb-1p", 1}, {"zb-2p", 2}, {"zb-v", 1}};
    static const double shares[] = {0.1, 32.0 / 87, 0.5, 0.94, 1};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (size_t k = 0; k < sizeof shares / sizeof shares[0]; k++) {
            galv_err err = GALV_ERR_INIT;
            const galv_schedule *schedule = NULL;
            cr_assert_eq(galv_schedule_find(&schedule, rows[i].name, &err), GALV_OK);
            galv_stage_weights stages[8];
            for (int s = 0; s < 8; s++) {
                stages[s] = (galv_stage_weights){1, 1, 0.9, shares[k]};
            }
            galv_schedule_weights weights = {stages, 0.05, 0, false};
            galv_schedule_shape shape = {8, schedule->min_chunks, 40, 0, &weights};
            size_t n_slots = galv_schedule_n_slots(schedule, &shape);
            galv_slot *slots = calloc(8 * n_slots, sizeof *slots);
            cr_assert_eq(galv_schedule_order(slots, schedule, &shape, &err), GALV_OK);
            for (size_t stage = 0; stage < 8; stage++) {
                double most = most_held(&slots[stage * n_slots], n_slots, shares[k]) /
                              schedule->min_chunks;
                cr_expect_leq(most, 8 * rows[i].limit + 1e-6, "%s share %g stage %zu",
                              rows[i].name, shares[k], stage);
            }
            free(slots);
        }
    }
}

Test(schedule_orders, costs_that_cannot_be_are_refused)
{
    static const double bad[] = {-1, (double)NAN, (double)INFINITY};
    size_t n = 0;
    const galv_schedule *all = galv_schedules(&n);
    for (size_t i = 0; i < n; i++) {
        for (int k = 0; k < 18; k++) {
            double values[6] = {1, 1, 1, 0, 2, 0.5};
            values[k / 3] = bad[k % 3];
            const galv_stage_weights alike = {1, 1, 1, 0};
            galv_stage_weights stages[4] = {alike, alike, alike, alike};
            stages[3] =
                (galv_stage_weights){values[0], values[1], values[2], values[5]};
            galv_schedule_weights weights = {stages, values[3], values[4], false};
            galv_schedule_shape shape = {4, all[i].min_chunks, 8, 0, &weights};
            galv_arena *arena = galv_arena_new();
            galv_program *program = NULL;
            galv_err err = GALV_ERR_INIT;
            cr_expect_eq(
                galv_program_from_schedule(&program, &all[i], &shape, arena, &err),
                GALV_USAGE, "%s, case %d", all[i].name, k);
            galv_arena_free(arena);
        }
    }
}

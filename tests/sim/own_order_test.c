/* A plan whose schedule is an order of one's own is the plan that the order came from.
 */
#include "schedule/schedule_file.h"
#include "sim/weigh.h"
#include "tests/sim/plans.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <string.h>

GALV_TEST_SUITE(sim_own_order);

/* The order of the plan, through a table. */
static galv_order *order_of(const plan_stand *s)
{
    galv_err err = GALV_ERR_INIT;
    galv_text text = GALV_TEXT_INIT;
    galv_csv table;
    galv_order *order = NULL;
    galv_prices *prices = NULL;
    galv_schedule schedule;
    galv_schedule_shape shape = {s->plan->pp, s->plan->vpp,
                                 galv_plan_n_micro_batches(s->plan),
                                 s->plan->group_size, NULL};
    cr_assert_eq(galv_schedule_of_plan(&schedule, s->plan, &err), GALV_OK);
    cr_assert_eq(galv_prices_new(&prices, s->model, s->plan, NULL, s->arena, &err),
                 GALV_OK);
    cr_assert_eq(
        galv_weigh_plan(&shape.weights, s->model, s->plan, prices, s->arena, &err),
        GALV_OK);
    cr_assert_eq(galv_schedule_file_put(&text, &schedule, &shape, &err), GALV_OK);
    cr_assert_eq(galv_csv_read_text(&table, "o.csv", galv_text_string(&text),
                                    text.length, s->arena, &err),
                 GALV_OK);
    cr_assert_eq(galv_schedule_file_read_table(&order, &table, s->arena, &err), GALV_OK,
                 "%s: %s", s->name, err.message);
    galv_text_release(&text);
    return order;
}

Test(sim_own_order, takes_the_time_and_memory_of_the_schedule_it_came_from)
{
    for (size_t i = 0; i < n_plan_cases; i++) {
        plan_stand s = plan_set_up(i);
        galv_err err = GALV_ERR_INIT;
        galv_result results[2];
        double estimates[2][64];
        galv_plan own = *s.plan;
        const galv_plan *plans[2] = {s.plan, &own};
        galv_evaluate_options options = GALV_EVALUATE_OPTIONS_INIT;
        cr_assert(s.plan->pp <= 64);
        cr_assert_eq(galv_plan_set_order(&own, order_of(&s), &err), GALV_OK, "%s: %s",
                     s.name, err.message);
        cr_expect_eq(galv_plan_check(&own, s.job, &err), GALV_OK, "%s", err.message);
        for (int k = 0; k < 2; k++) {
            cr_assert_eq(
                galv_evaluate(&results[k], s.model, plans[k], &options, s.arena, &err),
                GALV_OK, "%s: %s", s.name, err.message);
            cr_assert_eq(galv_estimate_memory(estimates[k], s.model, plans[k], NULL,
                                              s.arena, &err),
                         GALV_OK, "%s: %s", s.name, err.message);
        }
        cr_expect_eq(results[0].iteration_time_s, results[1].iteration_time_s, "%s",
                     s.name);
        cr_expect_eq(results[0].events, results[1].events, "%s", s.name);
        for (int32_t stage = 0; stage < s.plan->pp; stage++) {
            cr_expect_eq(results[0].stages[stage].peak_memory_bytes,
                         results[1].stages[stage].peak_memory_bytes, "%s", s.name);
            cr_expect_eq(estimates[0][stage], estimates[1][stage], "%s", s.name);
        }
        plan_tear_down(&s);
    }
}

Test(sim_own_order, is_copied_with_its_plan)
{
    plan_stand s = plan_set_up(0);
    galv_err err = GALV_ERR_INIT;
    galv_arena *other = galv_arena_new();
    galv_plan own = *s.plan;
    galv_plan *copy = NULL;
    cr_assert_eq(galv_plan_set_order(&own, order_of(&s), &err), GALV_OK);
    cr_assert_eq(galv_plan_copy(&copy, &own, other, &err), GALV_OK);
    cr_expect(copy->order != own.order && copy->order->slots != own.order->slots);
    cr_expect_eq(copy->order->n_slots, own.order->n_slots);
    plan_tear_down(&s);
    cr_expect_eq(copy->order->slots[0].pass, GALV_PASS_FORWARD);
    galv_arena_free(other);
}

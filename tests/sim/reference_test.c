/* The engine held against the naive simulator, on random programs and on plans. */
#include "sim/reference.h"
#include "tests/sim/drafts.h"
#include "tests/sim/plans.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <string.h>

GALV_TEST_SUITE(sim_reference);

/* ---- the reference by itself, by hand ---- */

Test(sim_reference, slows_what_shares_a_device_or_a_link_as_written_down)
{
    galv_err err = GALV_ERR_INIT;
    galv_reference_result r = {0};
    draft *d = draft_make(2);
    /* rank 0: 2 s of computation beside a message of 1 s. The message takes 1.5 s; by
     * then 1.5 / 1.25 = 1.2 s of the computation are done, 0.8 s are left. */
    uint32_t c = draft_add(d, 0, GALV_OP_BACKWARD, GALV_STREAM_COMPUTE, 2);
    uint32_t m = draft_add(d, 0, GALV_OP_ALL_REDUCE, GALV_STREAM_DP, 1);
    d->costs[m].compute_slowdown = 1.25;
    d->costs[m].comm_slowdown = 1.5;
    /* rank 1: shares of 0.75 and 0.75 of one link, 1 s and 2 s: 1.5 s, then 1 s more */
    uint32_t a = draft_add(d, 1, GALV_OP_ALL_GATHER, GALV_STREAM_TP, 1);
    uint32_t b = draft_add(d, 1, GALV_OP_ALL_GATHER, GALV_STREAM_DP, 2);
    d->costs[a].inter_share = d->costs[b].inter_share = 0.75;
    galv_program *program = draft_program(d);
    cr_assert_eq(galv_reference_simulate(&r, program, d->costs, NULL, d->arena, &err),
                 GALV_OK);
    const double ends[] = {2.3, 1.5, 1.5, 2.5};
    for (uint32_t op = 0; op < program->n_ops; op++) { /* in the order added */
        uint32_t class = program->ops[op].class_index;
        cr_expect_float_eq(r.end_s[op], ends[class], 1e-15, "op %u ends at %g", op,
                           r.end_s[op]);
    }
    cr_expect(c < m && a < b);
    cr_expect_float_eq(r.iteration_time_s, 2.5, 1e-15);
    draft_drop(d);
}

Test(sim_reference, counts_memory_from_start_to_end_with_what_is_held_throughout)
{
    galv_err err = GALV_ERR_INIT;
    galv_reference_result r = {0};
    draft *d = draft_make(1);
    uint32_t f = draft_add(d, 0, GALV_OP_FORWARD, GALV_STREAM_COMPUTE, 1);
    uint32_t b = draft_add(d, 0, GALV_OP_BACKWARD, GALV_STREAM_COMPUTE, 1);
    d->costs[f].end_bytes[GALV_MEMORY_ACTIVATIONS] = 10;
    d->costs[f].transient_bytes = 5;
    d->costs[b].transient_bytes = 3;
    d->costs[b].end_bytes[GALV_MEMORY_ACTIVATIONS] = -10;
    const galv_stage_memory base = {{100, 0, 0, 0, 0, 1}};
    cr_assert_eq(
        galv_reference_simulate(&r, draft_program(d), d->costs, &base, d->arena, &err),
        GALV_OK);
    cr_expect_float_eq(r.peak_bytes[0], 114, 1e-12);
    draft_drop(d);
}

Test(sim_reference, a_deadlock_is_an_error_and_an_empty_program_takes_no_time)
{
    galv_err err = GALV_ERR_INIT;
    galv_reference_result r = {0};
    draft *d = draft_make(2);
    cr_assert_eq(
        galv_reference_simulate(&r, draft_program(d), d->costs, NULL, d->arena, &err),
        GALV_OK);
    cr_expect_eq(r.iteration_time_s, 0);
    uint32_t a = draft_add(d, 0, GALV_OP_FORWARD, GALV_STREAM_COMPUTE, 1);
    uint32_t b = draft_add(d, 1, GALV_OP_BACKWARD, GALV_STREAM_COMPUTE, 1);
    galv_builder_add_wait(&d->builder, a, b);
    galv_builder_add_wait(&d->builder, b, a);
    cr_expect_eq(
        galv_reference_simulate(&r, draft_program(d), d->costs, NULL, d->arena, &err),
        GALV_INPUT);
    cr_expect_not_null(strstr(err.message, "deadlock"));
    draft_drop(d);
}

/* ---- the engine against it ---- */

static galv_check compare(draft *d, const galv_program *program, bool *right_rank)
{
    galv_err err = GALV_ERR_INIT;
    galv_sim_result sim = {0};
    galv_reference_result naive = {0};
    galv_check check = {0};
    galv_sim_options options = GALV_SIM_OPTIONS_INIT;
    options.record_timeline = true;
    cr_assert_eq(galv_simulate(&sim, program, d->costs, NULL, &options, d->arena, &err),
                 GALV_OK, "%s", err.message);
    cr_assert_eq(
        galv_reference_simulate(&naive, program, d->costs, NULL, d->arena, &err),
        GALV_OK, "%s", err.message);
    cr_assert_eq(galv_check_results(&check, program, &sim, &naive, &err), GALV_OK);
    *right_rank = true;
    for (uint32_t op = 0; op < program->n_ops; op++) {
        *right_rank &= sim.timeline.spans[op].first_layer ==
                       program->classes[program->ops[op].class_index].first_layer;
    }
    return check;
}

Test(sim_reference, agrees_with_the_engine_on_random_programs)
{
    for (uint32_t seed = 1; seed <= 300; seed++) {
        draft *d = draft_by_chance(seed, seed % 3 == 0);
        galv_program *program = draft_program(d);
        bool in_order = false;
        galv_check check = compare(d, program, &in_order);
        cr_expect(in_order, "seed %u", seed);
        cr_expect(check.time_frac <= 1e-12, "seed %u: op %u of %u is %g off", seed,
                  check.worst_op, check.n_ops, check.time_frac);
        /* instants at one moment may be put in any order */
        if (seed % 3 != 0) {
            cr_expect(check.memory_frac <= 1e-12, "seed %u: rank %d is %g off", seed,
                      check.worst_rank, check.memory_frac);
        }
        draft_drop(d);
    }
}

Test(sim_reference, sees_a_cost_that_differs)
{
    galv_err err = GALV_ERR_INIT;
    draft *d = draft_by_chance(7, false);
    galv_program *program = draft_program(d);
    galv_sim_result sim = {0};
    galv_reference_result naive = {0};
    galv_check check = {0};
    galv_sim_options options = GALV_SIM_OPTIONS_INIT;
    options.record_timeline = true;
    cr_assert_eq(galv_simulate(&sim, program, d->costs, NULL, &options, d->arena, &err),
                 GALV_OK);
    for (uint32_t i = 0; i < program->n_classes; i++) {
        d->costs[i].comm_slowdown *= 1 + 1e-6;
        d->costs[i].transient_bytes += 1;
    }
    cr_assert_eq(
        galv_reference_simulate(&naive, program, d->costs, NULL, d->arena, &err),
        GALV_OK);
    cr_assert_eq(galv_check_results(&check, program, &sim, &naive, &err), GALV_OK);
    cr_expect(check.time_frac > 1e-9);
    cr_expect(check.memory_frac > 1e-9);
    draft_drop(d);
}

Test(sim_reference, agrees_with_the_engine_on_plans)
{
    for (size_t i = 0; i < n_plan_cases; i++) {
        galv_err err = GALV_ERR_INIT;
        galv_check check = {0};
        plan_stand s = plan_set_up(i);
        cr_assert_eq(galv_check_plan(&check, s.model, s.plan, s.arena, &err), GALV_OK,
                     "%s: %s", s.name, err.message);
        cr_expect(check.n_ops > 100 && check.iteration_time_s > 0, "%s", s.name);
        cr_expect(check.time_frac <= 1e-12, "%s: op %u is %g off", s.name,
                  check.worst_op, check.time_frac);
        cr_expect(check.memory_frac <= 1e-12, "%s: rank %d is %g off", s.name,
                  check.worst_rank, check.memory_frac);
        plan_tear_down(&s);
    }
}

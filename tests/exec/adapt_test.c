/* When a run and its prediction have parted, and what is done about it. */
#include "exec/observe.h"
#include "tests/exec/run_support.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

GALV_TEST_SUITE(exec_adapt);

/* Steps of `time_s` with a noise of a few per cent, up and down. */
static galv_verdict add_steps(galv_observer *o, int n, double time_s)
{
    static const double noise[] = {0, 0.03, -0.02, 0.01, -0.03, 0.02, -0.01};
    galv_verdict last = GALV_VERDICT_EARLY;
    for (int i = 0; i < n; i++) {
        galv_verdict verdict = galv_observer_add(o, time_s * (1 + noise[i % 7]));
        last = verdict > last ? verdict : last;
    }
    return last; /* the strongest */
}

Test(exec_adapt, steady_steps_agree_with_what_was_expected)
{
    galv_observer o;
    galv_observer_start(&o, 1.0);
    cr_expect_eq(add_steps(&o, 11, 1.05), GALV_VERDICT_EARLY);
    cr_expect_eq(add_steps(&o, 100, 1.05), GALV_VERDICT_AGREES);
    /* and with themselves where nothing was */
    galv_observer_start(&o, 0);
    cr_expect_eq(add_steps(&o, 100, 7.0), GALV_VERDICT_AGREES);
    cr_expect_float_eq(o.expected_s, 7.0, 0.1);
}

Test(exec_adapt, a_slow_spell_is_no_reason_but_a_slow_machine_is)
{
    galv_observer o;
    galv_observer_start(&o, 0);
    add_steps(&o, 20, 1.0);
    cr_expect_eq(add_steps(&o, 2, 9.0), GALV_VERDICT_AGREES);
    cr_expect_eq(add_steps(&o, 20, 1.0), GALV_VERDICT_AGREES);
    cr_expect_eq(add_steps(&o, 5, 1.3), GALV_VERDICT_AGREES);
    cr_expect_eq(add_steps(&o, 5, 1.3), GALV_VERDICT_PARTED);
    galv_observer_start(&o, 1.0); /* faster than predicted: another plan may be best */
    cr_expect_eq(add_steps(&o, 12, 0.7), GALV_VERDICT_PARTED);
}

Test(exec_adapt, what_scatters_more_than_it_is_off_says_nothing)
{
    galv_observer o;
    galv_observer_start(&o, 1.0);
    for (int i = 0; i < 100; i++) {
        cr_expect_neq(galv_observer_add(&o, i % 3 == 0   ? 1.0
                                            : i % 3 == 1 ? 1.5
                                                         : 2.0),
                      GALV_VERDICT_PARTED);
    }
}

/* A planner that answers `answer` and gives FOLDER/PLAN.json; tells its arguments. */
static void write_planner(const char *answer, const char *plan, int status)
{
    char path[128];
    snprintf(path, sizeof path, "%s/planner", run_folder());
    FILE *file = fopen(path, "w");
    cr_assert(file != NULL);
    fprintf(file,
            "#!/bin/sh\necho \"$@\" >>arguments\ncp %s.json \"$8\"\n"
            "echo no such thing >&2\necho '%s'\nexit %d\n",
            plan, answer, status);
    fclose(file);
    cr_assert_eq(run_shell("chmod +x planner"), 0);
    setenv("GALVATRON_SIM", path, 1);
}

static const char *const change =
    "{\"advice\": \"change\", \"gain_s\": 10, \"switch_time_s\": 0.5}";

/* No step takes a hundred seconds: they part as soon as ten are known. */
static const char *const run = "plan.json --steps 200 --adapt --predicted 100s";

Test(exec_adapt, the_plan_that_is_advised_is_changed_to_and_losses_go_on,
     .timeout = 180)
{
    run_write_plan("plan", "llama", "pp2");
    run_write_plan("next", "llama", "tp2 sp");
    write_planner(change, "next", 0);
    cr_assert_eq(run_exec(2, "%s -o adapted", run), 0);
    cr_expect_eq(run_shell("grep -q '^adapt: a step takes .* expected were 1.7 min: "
                           "planning' out && grep -q '^changed to tp2 ' out"),
                 0);
    cr_expect_eq(run_shell("grep -q '^plan adapted/adapt/plan.json --observed "
                           "adapted/adapt/timeline.csv --json --quiet -o ' arguments"),
                 0);
    cr_assert_eq(run_exec(2, "plan.json -q --steps 200 -o whole"), 0);
    losses whole = run_losses("whole");
    losses adapted = run_losses("adapted");
    /* in so many steps rounding grows: a moment that got lost shows in per cents */
    cr_expect(run_same_losses(&whole, &adapted, 1e-3));
}

Test(exec_adapt, what_the_steps_left_do_not_repay_is_not_done, .timeout = 120)
{
    run_write_plan("plan", "llama", "dp1");
    write_planner("{\"advice\": \"change\", \"gain_s\": 1, \"switch_time_s\": 1000}",
                  "plan", 0);
    cr_assert_eq(run_exec(1, "%s", run), 0);
    cr_expect_eq(run_shell("grep -q '^adapt: another plan gains 1.00 s a step, the "
                           "change costs 16.7 min: not repaid by the' out"),
                 0);
    cr_expect_eq(run_shell("grep -q '^changed' out"), 1);
}

Test(exec_adapt, a_planner_that_fails_and_a_plan_that_does_not_fit_change_nothing,
     .timeout = 120)
{
    run_write_plan("plan", "llama", "dp1");
    run_write_plan("two", "llama", "dp2");
    run_write_plan("moe", "moe", "dp1");
    write_planner("", "plan", 3);
    cr_expect_eq(run_exec(1, "%s", run), 0);
    cr_expect_eq(run_shell("grep -q '^adapt: the plan stays: galvatron-sim ended with "
                           "status 3: no such thing' out"),
                 0);
    write_planner(change, "two", 0);
    cr_expect_eq(run_exec(1, "%s", run), 0);
    cr_expect_eq(run_shell("grep -q 'the old one stays: the plan is for 2 ranks' out"),
                 0);
    write_planner(change, "moe", 0);
    cr_expect_eq(run_exec(1, "%s", run), 0);
    cr_expect_eq(run_shell("grep -q 'the old one stays: the other plan is for another "
                           "model' out"),
                 0);
    setenv("GALVATRON_SIM", "/nowhere/galvatron-sim", 1);
    cr_expect_eq(run_exec(1, "%s", run), 0);
    cr_expect_eq(run_shell("grep -q 'galvatron-sim cannot be started' out"), 0);
    unsetenv("GALVATRON_SIM");
}

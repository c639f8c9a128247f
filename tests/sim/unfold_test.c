/* Every rank written out: the engine against the naive simulator, rules that any
 * simulation must keep, straggling and the critical path against closed forms. */
#include "sim/critical_path.h"
#include "sim/reference.h"
#include "sim/straggling.h"
#include "sim/weigh.h"
#include "tests/sim/drafts.h"
#include "tests/sim/plans.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

GALV_TEST_SUITE(sim_unfold);

/* A program, who meets in it, and what came of it. */
typedef struct scene {
    galv_arena *arena;
    const galv_program *program;
    const galv_cost *costs;
    const galv_stage_memory *base;
    galv_meeting *meetings;
    int32_t per_stage;
    galv_differences differences;
    galv_unfolded_program unfolded;
    galv_all_ranks_result all; /* with its timeline of every rank */
    galv_sim_result folded;
} scene;

static void play(scene *s)
{
    galv_err err = GALV_ERR_INIT;
    galv_sim_options options = GALV_SIM_OPTIONS_INIT;
    galv_all_ranks_options every = {&s->differences, 3, NULL, GALV_EVERY_PLACE};
    options.record_timeline = true;
    cr_assert_eq(galv_unfold(&s->unfolded, s->program, s->costs, s->meetings,
                             s->per_stage, &s->differences, 3, s->arena, &err),
                 GALV_OK, "%s", err.message);
    cr_assert_eq(galv_simulate(&s->folded, s->program, s->costs, s->base, &options,
                               s->arena, &err),
                 GALV_OK, "%s", err.message);
    cr_assert_eq(galv_all_ranks_simulate(&s->all, s->program, s->costs, s->base,
                                         s->meetings, s->per_stage, &every, s->arena,
                                         &err),
                 GALV_OK, "%s", err.message);
    cr_assert_eq(galv_unfold_timeline(&s->all.sim.timeline, &s->unfolded, s->program,
                                      &s->all, s->arena, &err),
                 GALV_OK);
}

static scene draft_scene(draft *d, int32_t per_stage, const galv_meeting *kinds, int n,
                         uint32_t seed)
{
    scene s = {.arena = d->arena, .per_stage = per_stage};
    s.program = draft_program(d);
    s.costs = d->costs;
    s.meetings = GALV_NEW_ARRAY(d->arena, galv_meeting, s.program->n_classes);
    for (uint32_t i = 0; i < s.program->n_classes; i++) {
        bool alone = s.program->classes[i].stream == GALV_STREAM_COMPUTE;
        s.meetings[i] =
            alone ? (galv_meeting){1, 1} : kinds[(i * 31 + seed) % (uint32_t)n];
    }
    return s;
}

static scene plan_scene(const plan_stand *from)
{
    galv_err err = GALV_ERR_INIT;
    galv_program *program = NULL;
    galv_cost *costs = NULL;
    scene s = {.arena = from->arena};
    cr_assert_eq(galv_program_of_plan(&program, from->model, from->plan, NULL,
                                      from->arena, &err),
                 GALV_OK, "%s", err.message);
    cr_assert_eq(
        galv_price_program(&costs, from->model, from->plan, program, from->arena, &err),
        GALV_OK);
    galv_stage_memory *base =
        GALV_NEW_ARRAY(from->arena, galv_stage_memory, from->plan->pp);
    for (int32_t stage = 0; stage < from->plan->pp; stage++) {
        galv_costmodel_stage_memory(&base[stage], from->model, from->plan, stage);
    }
    cr_assert_eq(galv_meetings_of_plan(&s.meetings, &s.per_stage, from->plan, program,
                                       from->arena, &err),
                 GALV_OK);
    s.program = program;
    s.costs = costs;
    s.base = base;
    return s;
}

static const galv_differences some = {.seed = 11,
                                      .compute_sigma = 0.2,
                                      .comm_sigma = 0.3,
                                      .n_stragglers = 1,
                                      .stragglers = {{2, 0, 1.7}}};

/* ---- the naive simulator ---- */

static void compare(scene *s, const char *name, bool peaks)
{
    galv_err err = GALV_ERR_INIT;
    galv_reference_result naive = {0};
    galv_check check = {0};
    cr_assert_eq(galv_reference_simulate_all(&naive, &s->unfolded, s->costs, s->base,
                                             s->arena, &err),
                 GALV_OK, "%s", err.message);
    cr_assert_eq(
        galv_check_results(&check, s->unfolded.program, &s->all.sim, &naive, &err),
        GALV_OK);
    cr_expect(check.time_frac < 1e-11, "%s: apart by %g at op %u", name,
              check.time_frac, check.worst_op);
    cr_expect(!peaks || check.memory_frac < 1e-11, "%s: peaks apart by %g on rank %d",
              name, check.memory_frac, (int)check.worst_rank);
}

static const galv_meeting kinds[] = {{1, 1}, {1, 2}, {2, 3}, {1, 6},
                                     {3, 2}, {6, 2}, {1, 12}};

Test(sim_unfold, every_rank_of_random_programs_is_what_the_naive_simulator_says)
{
    for (uint32_t seed = 1; seed <= 40; seed++) {
        char name[32];
        draft *d = draft_by_chance(seed, seed % 2 == 0);
        scene s = draft_scene(d, 12, kinds, 7, seed);
        s.differences = some;
        s.differences.seed = seed;
        play(&s);
        snprintf(name, sizeof name, "seed %u", seed);
        compare(&s, name, seed % 2 == 1); /* at one moment either order is right */
        draft_drop(d);
    }
}

Test(sim_unfold, every_rank_of_plans_is_what_the_naive_simulator_says)
{
    galv_err err = GALV_ERR_INIT;
    size_t n = 0;
    for (size_t i = 0; i < n_plan_cases && n < 3; i++) { /* they take seconds */
        plan_stand stand = plan_set_up(i);
        galv_check check = {0};
        galv_status status = galv_check_all_ranks(&check, stand.model, stand.plan,
                                                  &some, 5, stand.arena, &err);
        if (status == GALV_OK) {
            n++;
            cr_expect(check.time_frac < 1e-11 && check.memory_frac < 1e-11,
                      "%s: %g, %g", stand.name, check.time_frac, check.memory_frac);
        } else {
            cr_expect_eq(status, GALV_USAGE, "%s: %s", stand.name, err.message);
            cr_expect_not_null(strstr(err.message, "too many"), "%s", err.message);
            err = (galv_err)GALV_ERR_INIT;
        }
        plan_tear_down(&stand);
    }
    cr_expect_eq(n, 3, "only %zu plans were small enough", n);
}

/* ---- rules ---- */

static void check_rules(const scene *s, const char *name)
{
    const galv_program *program = s->unfolded.program;
    const galv_span *spans = s->all.sim.timeline.spans;
    for (uint32_t op = 0; op < program->n_ops; op++) {
        double start_s = spans[op].start_s;
        cr_assert(spans[op].end_s >= start_s && start_s >= 0, "%s: op %u", name, op);
        for (uint32_t i = program->ops[op].first_dependency;
             i < program->ops[op + 1].first_dependency; i++) {
            cr_assert(spans[program->dependencies[i]].end_s <= start_s,
                      "%s: op %u begins before what it waits for ends", name, op);
        }
        if (op > 0 && spans[op - 1].rank == spans[op].rank &&
            spans[op - 1].stream == spans[op].stream) {
            cr_assert(spans[op - 1].end_s <= start_s, "%s: op %u overtakes", name, op);
        }
        const galv_span *member = &spans[s->unfolded.next_member[op]];
        cr_assert(member->start_s >= start_s && member->start_s <= start_s &&
                      member->end_s >= spans[op].end_s &&
                      member->end_s <= spans[op].end_s,
                  "%s: op %u: the ranks of a collective do not go together", name, op);
    }
}

Test(sim_unfold, nothing_begins_before_its_turn)
{
    for (uint32_t seed = 1; seed <= 40; seed++) {
        char name[32];
        draft *d = draft_by_chance(seed, seed % 2 == 0);
        scene s = draft_scene(d, 12, kinds, 7, seed);
        s.differences = some;
        s.differences.seed = seed;
        play(&s);
        snprintf(name, sizeof name, "seed %u", seed);
        check_rules(&s, name);
        draft_drop(d);
    }
}

/* Ranks alike: the folded simulation, operation by operation. */
Test(sim_unfold, ranks_alike_do_what_the_folded_rank_does)
{
    for (size_t i = 0; i < 4; i++) {
        plan_stand stand = plan_set_up(i);
        scene s = plan_scene(&stand);
        play(&s);
        double whole_s = s.folded.iteration_time_s;
        for (int32_t rank = 0; rank < s.all.sim.n_ranks; rank += 3) {
            int32_t stage = rank / s.per_stage;
            const uint32_t *queues =
                &s.program->queue_begin[(size_t)stage * GALV_N_STREAMS];
            for (uint32_t op = queues[0]; op < queues[GALV_N_STREAMS]; op++) {
                const galv_span *a = &s.folded.timeline.spans[op];
                const galv_span *b = &s.all.sim.timeline.spans[galv_unfolded_op(
                    s.program, s.per_stage, op, stage, rank % s.per_stage)];
                cr_assert_eq(b->rank, rank);
                cr_assert(fabs(a->start_s - b->start_s) <= 1e-12 * whole_s &&
                              fabs(a->end_s - b->end_s) <= 1e-12 * whole_s,
                          "%s: op %u on rank %d", stand.name, op, (int)rank);
            }
        }
        plan_tear_down(&stand);
    }
}

/* What is taken is given back: at the end each stage holds what it held at first, and
 * at no time less. */
Test(sim_unfold, memory_of_plans_is_never_negative_and_comes_back)
{
    for (size_t i = 0; i < n_plan_cases; i++) {
        plan_stand stand = plan_set_up(i);
        scene s = plan_scene(&stand);
        galv_err err = GALV_ERR_INIT;
        galv_sim_result r = {0};
        galv_sim_options options = GALV_SIM_OPTIONS_INIT;
        options.record_timeline = true;
        cr_assert_eq(
            galv_simulate(&r, s.program, s.costs, NULL, &options, s.arena, &err),
            GALV_OK);
        double last[64] = {0};
        cr_assert(r.n_ranks <= 64);
        for (size_t k = 0; k < r.timeline.n_samples; k++) {
            const galv_memory_sample *sample = &r.timeline.samples[k];
            cr_assert_geq(sample->bytes, -1.0, "%s: %g bytes at %g", stand.name,
                          sample->bytes, sample->time_s);
            last[sample->rank] = sample->bytes;
        }
        for (int32_t rank = 0; rank < r.n_ranks; rank++) {
            cr_expect(fabs(last[rank]) < 1.0, "%s: rank %d ends with %g bytes",
                      stand.name, (int)rank, last[rank]);
        }
        plan_tear_down(&stand);
    }
}

/* ---- straggling ---- */

static void split(scene *s)
{
    galv_undisturbed undisturbed = {s->folded.ranks, NULL, s->folded.n_ranks};
    galv_straggling_split(&s->all, &undisturbed);
}

static double part(const scene *s, int32_t rank, int which)
{
    return s->all.sim.ranks[rank].spent_s[which];
}

/* Eight ranks, 10 s of backward, 2 s of all-reduce; rank 3 takes 15 s. Seven wait 5 s
 * for it; the path is its backward, then the all-reduce. */
Test(sim_unfold, waiting_in_a_collective_for_a_slow_rank_is_straggling)
{
    galv_err err = GALV_ERR_INIT;
    draft *d = draft_make(1);
    draft_add(d, 0, GALV_OP_BACKWARD, GALV_STREAM_COMPUTE, 10);
    uint32_t reduce = draft_add(d, 0, GALV_OP_ALL_REDUCE, GALV_STREAM_DP, 2);
    galv_builder_add_wait(&d->builder, reduce, 0);
    const galv_meeting whole = {1, 8};
    scene s = draft_scene(d, 8, &whole, 1, 0);
    cr_assert_eq(galv_differences_add_straggler(&s.differences, "3=1.5", &err),
                 GALV_OK);
    play(&s);
    galv_critical_path path = {0};
    cr_assert_eq(galv_critical_path_find_all(&path, &s.unfolded, &s.all.sim.timeline,
                                             s.arena, &err),
                 GALV_OK, "%s", err.message);
    cr_expect_float_eq(path.spent_s[GALV_BREAKDOWN_COMPUTE], 15, 1e-12);
    cr_expect_float_eq(path.spent_s[GALV_BREAKDOWN_DP], 2, 1e-12);
    cr_expect_float_eq(path.ranks[3].path_s[GALV_BREAKDOWN_COMPUTE], 15, 1e-12);
    split(&s);
    for (int32_t rank = 0; rank < 8; rank++) {
        double waits_s = rank == 3 ? 0 : 5;
        cr_expect_float_eq(part(&s, rank, GALV_BREAKDOWN_STRAGGLING), waits_s, 1e-12);
        cr_expect_float_eq(part(&s, rank, GALV_BREAKDOWN_BUBBLE), 0, 1e-12);
        cr_expect_float_eq(part(&s, rank, GALV_BREAKDOWN_COMPUTE), 15 - waits_s, 1e-12);
        cr_expect_float_eq(path.ranks[rank].bubble_s[GALV_BUBBLE_COLLECTIVE], waits_s,
                           1e-12);
    }
    draft_drop(d);
}

/* Two stages, one micro-batch, F = 1 and B = 2: each stage idles 3 s of 6. With the
 * second stage at half its pace the first idles 6 s of 9, 3 of them for that; the
 * second idles 3 s as before. */
Test(sim_unfold, waiting_for_a_late_message_is_straggling)
{
    galv_err err = GALV_ERR_INIT;
    draft *d = draft_make(2);
    uint32_t f0 = draft_add(d, 0, GALV_OP_FORWARD, GALV_STREAM_COMPUTE, 1);
    uint32_t b0 = draft_add(d, 0, GALV_OP_BACKWARD, GALV_STREAM_COMPUTE, 2);
    uint32_t f1 = draft_add(d, 1, GALV_OP_FORWARD, GALV_STREAM_COMPUTE, 1);
    uint32_t b1 = draft_add(d, 1, GALV_OP_BACKWARD, GALV_STREAM_COMPUTE, 2);
    galv_builder_add_wait(&d->builder, f1, f0);
    galv_builder_add_wait(&d->builder, b0, b1);
    const galv_meeting alone = {1, 1};
    scene s = draft_scene(d, 1, &alone, 1, 0);
    cr_assert_eq(galv_differences_add_straggler(&s.differences, "1=2", &err), GALV_OK);
    play(&s);
    split(&s);
    cr_expect_float_eq(s.all.sim.iteration_time_s, 9, 1e-12);
    cr_expect_float_eq(part(&s, 0, GALV_BREAKDOWN_STRAGGLING), 3, 1e-12);
    cr_expect_float_eq(part(&s, 0, GALV_BREAKDOWN_BUBBLE), 3, 1e-12);
    cr_expect_float_eq(part(&s, 1, GALV_BREAKDOWN_STRAGGLING), 0, 1e-12);
    cr_expect_float_eq(part(&s, 1, GALV_BREAKDOWN_BUBBLE), 3, 1e-12);
    draft_drop(d);
}

/* Whatever differs: the parts of every rank add up, bubble is at most what it was, and
 * nothing straggles where nothing differs. */
Test(sim_unfold, straggling_and_the_rest_add_up)
{
    for (size_t i = 0; i < 4; i++) {
        plan_stand stand = plan_set_up(i);
        for (int differ = 0; differ < 2; differ++) {
            scene s = plan_scene(&stand);
            double straggling_s = 0;
            s.differences = differ ? some : s.differences;
            play(&s);
            split(&s);
            for (int32_t rank = 0; rank < s.all.sim.n_ranks; rank++) {
                double sum_s = 0;
                for (int k = 0; k < GALV_N_BREAKDOWNS; k++) {
                    sum_s += part(&s, rank, k);
                    cr_expect_geq(part(&s, rank, k), 0);
                }
                cr_expect_float_eq(sum_s / s.all.sim.iteration_time_s, 1, 1e-11);
                cr_expect_leq(
                    part(&s, rank, GALV_BREAKDOWN_BUBBLE),
                    s.folded.ranks[rank / s.per_stage].spent_s[GALV_BREAKDOWN_BUBBLE] +
                        1e-9 * s.folded.iteration_time_s);
                straggling_s += part(&s, rank, GALV_BREAKDOWN_STRAGGLING);
            }
            cr_expect_eq(straggling_s > 1e-9 * s.folded.iteration_time_s, differ == 1,
                         "%s: %g s", stand.name, straggling_s);
        }
        plan_tear_down(&stand);
    }
}

/* ---- the path ---- */

Test(sim_unfold, the_path_covers_the_iteration_and_goes_through_the_straggler)
{
    galv_err err = GALV_ERR_INIT;
    for (size_t i = 0; i < 4; i++) {
        plan_stand stand = plan_set_up(i);
        galv_evaluate_options options = GALV_EVALUATE_OPTIONS_INIT;
        galv_differences differences = {.n_stragglers = 1, .stragglers = {{5, 0, 3}}};
        galv_critical_path path = {0};
        options.differences = &differences;
        cr_assert_eq(galv_critical_path_of_all_ranks(&path, stand.model, stand.plan,
                                                     &options, 0, stand.arena, &err),
                     GALV_OK, "%s: %s", stand.name, err.message);
        double sum_s = 0;
        double most_s = 0;
        int32_t most_rank = -1;
        for (int k = 0; k < GALV_N_BREAKDOWNS; k++) {
            sum_s += path.spent_s[k];
        }
        cr_expect_float_eq(sum_s / path.duration_s, 1, 1e-11, "%s", stand.name);
        for (int32_t rank = 0; rank < path.n_ranks; rank++) {
            double computed_s = path.ranks[rank].path_s[GALV_BREAKDOWN_COMPUTE];
            double spent_s = 0;
            double idle_s = 0;
            for (int k = 0; k < GALV_N_BREAKDOWNS; k++) {
                spent_s += path.ranks[rank].spent_s[k];
            }
            for (int k = 0; k < GALV_N_BUBBLES; k++) {
                idle_s += path.ranks[rank].bubble_s[k];
            }
            cr_expect_float_eq(spent_s / path.duration_s, 1, 1e-11);
            cr_expect_float_eq(idle_s, path.ranks[rank].spent_s[GALV_BREAKDOWN_BUBBLE],
                               1e-9);
            most_rank = computed_s > most_s ? rank : most_rank;
            most_s = fmax(computed_s, most_s);
        }
        cr_expect_eq(most_rank, 5, "%s: most on rank %d", stand.name, (int)most_rank);
        plan_tear_down(&stand);
    }
}

Test(sim_unfold, refuses_to_write_out_what_is_too_large)
{
    galv_err err = GALV_ERR_INIT;
    draft *d = draft_make(1);
    for (int i = 0; i < 100; i++) {
        draft_add(d, 0, GALV_OP_FORWARD, GALV_STREAM_COMPUTE, 1);
    }
    const galv_meeting alone = {1, 1};
    scene s = draft_scene(d, 10001, &alone, 1, 0);
    cr_expect_eq(galv_unfold(&s.unfolded, s.program, s.costs, s.meetings, s.per_stage,
                             NULL, 0, s.arena, &err),
                 GALV_USAGE);
    cr_expect_not_null(strstr(err.message, "at most 1000000"), "%s", err.message);
    draft_drop(d);
}

/* The critical path and the account of every second: closed forms of pipelines, a chain
 * by hand, and what must hold for any program. */
#include "plan/chunks.h"
#include "sim/critical_path.h"
#include "tests/sim/drafts.h"
#include "tests/sim/plans.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

GALV_TEST_SUITE(sim_critical_path);

static galv_critical_path find(const galv_program *program, const galv_cost *costs,
                               galv_sim_result *sim, galv_arena *arena)
{
    galv_err err = GALV_ERR_INIT;
    galv_critical_path path = {0};
    galv_sim_options options = GALV_SIM_OPTIONS_INIT;
    options.record_timeline = true;
    cr_assert_eq(galv_simulate(sim, program, costs, NULL, &options, arena, &err),
                 GALV_OK, "%s", err.message);
    cr_assert_eq(
        galv_critical_path_find(&path, program, costs, &sim->timeline, arena, &err),
        GALV_OK, "%s", err.message);
    return path;
}

static double sum(const double *values, int n)
{
    double total = 0;
    for (int i = 0; i < n; i++) {
        total += values[i];
    }
    return total;
}

/* What must hold for any program. */
static void expect_whole(const galv_critical_path *path, const galv_program *program,
                         const galv_sim_result *sim, const char *name)
{
    double whole_s = sim->iteration_time_s;
    double near_s = 1e-12 * whole_s;
    double now_s = 0;
    for (size_t i = 0; i < path->n_ops; i++) {
        const galv_span *span = &sim->timeline.spans[path->ops[i]];
        cr_expect_eq(span->start_s, now_s, "%s: a hole before op %zu", name, i);
        now_s = span->end_s;
    }
    cr_expect_eq(now_s, whole_s, "%s", name);
    cr_expect_float_eq(sum(path->spent_s, GALV_N_BREAKDOWNS), whole_s, near_s,
                       "%s: path %.17g of %.17g", name,
                       sum(path->spent_s, GALV_N_BREAKDOWNS), whole_s);
    cr_expect_eq(path->spent_s[GALV_BREAKDOWN_BUBBLE], 0, "%s", name);
    double on_ranks_s = 0;
    for (int32_t rank = 0; rank < program->n_ranks; rank++) {
        const galv_rank_time *time = &path->ranks[rank];
        cr_expect_float_eq(sum(time->spent_s, GALV_N_BREAKDOWNS), whole_s, near_s,
                           "%s: rank %d", name, rank);
        cr_expect_float_eq(sum(time->bubble_s, GALV_N_BUBBLES),
                           time->spent_s[GALV_BREAKDOWN_BUBBLE], near_s, "%s: rank %d",
                           name, rank);
        for (int part = 0; part < GALV_N_BREAKDOWNS; part++) {
            cr_expect(time->spent_s[part] >= 0, "%s", name);
            /* the engine counts while it runs, in another way */
            cr_expect_float_eq(time->spent_s[part], sim->ranks[rank].spent_s[part],
                               1e-9 * whole_s, "%s: rank %d %s: %.15g, engine %.15g",
                               name, rank, galv_breakdown_names[part],
                               time->spent_s[part], sim->ranks[rank].spent_s[part]);
        }
        for (int cause = 0; cause < GALV_N_BUBBLES; cause++) {
            cr_expect(time->bubble_s[cause] >= 0, "%s: rank %d %s %g", name, rank,
                      galv_bubble_names[cause], time->bubble_s[cause]);
        }
        on_ranks_s += sum(time->path_s, GALV_N_BREAKDOWNS);
    }
    cr_expect_float_eq(on_ranks_s, whole_s, near_s, "%s", name);
    for (size_t i = 0; i < path->n_segments; i++) {
        const galv_path_segment *s = &path->segments[i];
        cr_expect(s->end_s > s->start_s, "%s", name);
        cr_expect(i == 0 || s->start_s == s[-1].end_s, "%s: segment %zu", name, i);
    }
}

Test(sim_critical_path, runs_through_the_chain_that_determines_the_end)
{
    draft *d = draft_make(2);
    galv_sim_result sim = {0};
    /* rank 0: a (2), then c (1); rank 1: b (1), then e (4) that waits for a, by a
     * message of half a second; f (5.5) on rank 1's other stream is hidden under it */
    uint32_t a = draft_add(d, 0, GALV_OP_FORWARD, GALV_STREAM_COMPUTE, 2);
    draft_add(d, 0, GALV_OP_FORWARD, GALV_STREAM_COMPUTE, 1);
    uint32_t m = draft_add(d, 0, GALV_OP_SEND, GALV_STREAM_PP_SEND, 0.5);
    draft_add(d, 1, GALV_OP_FORWARD, GALV_STREAM_COMPUTE, 1);
    uint32_t e = draft_add(d, 1, GALV_OP_BACKWARD, GALV_STREAM_COMPUTE, 4);
    draft_add(d, 1, GALV_OP_ALL_REDUCE, GALV_STREAM_DP, 5.5);
    galv_builder_add_wait(&d->builder, m, a);
    galv_builder_add_wait(&d->builder, e, m);
    galv_program *program = draft_program(d);
    galv_critical_path path = find(program, d->costs, &sim, d->arena);
    const int32_t chain[] = {(int32_t)a, (int32_t)m, (int32_t)e};
    cr_assert_eq(path.n_ops, 3);
    for (size_t i = 0; i < 3; i++) {
        const galv_program_op *op = &program->ops[path.ops[i]];
        cr_expect_eq(program->classes[op->class_index].first_layer, chain[i]);
    }
    cr_expect_float_eq(path.duration_s, 6.5, 1e-12);
    cr_expect_float_eq(path.spent_s[GALV_BREAKDOWN_COMPUTE], 6, 1e-12);
    cr_expect_float_eq(path.spent_s[GALV_BREAKDOWN_PP], 0.5, 1e-12);
    cr_expect_eq(path.n_hops, 1);
    cr_expect_eq(path.slowed_s, 0);
    expect_whole(&path, program, &sim, "chain");
    draft_drop(d);
}

Test(sim_critical_path, counts_what_contention_adds_to_it)
{
    draft *d = draft_make(1);
    galv_sim_result sim = {0};
    draft_add(d, 0, GALV_OP_BACKWARD, GALV_STREAM_COMPUTE, 2);
    uint32_t m = draft_add(d, 0, GALV_OP_ALL_REDUCE, GALV_STREAM_DP, 1);
    d->costs[m].compute_slowdown = 1.25;
    d->costs[m].comm_slowdown = 1.5;
    galv_critical_path path = find(draft_program(d), d->costs, &sim, d->arena);
    cr_expect_float_eq(path.duration_s, 2.3, 1e-12);
    cr_expect_float_eq(path.slowed_s, 0.3, 1e-12);
    draft_drop(d);
}

/* ---- pipelines ---- */

static galv_program *pipeline(const char *name, int32_t p, int32_t m, galv_arena *arena)
{
    galv_err err = GALV_ERR_INIT;
    const galv_schedule *schedule = NULL;
    galv_program *program = NULL;
    galv_schedule_shape shape = {.n_stages = p, .n_chunks = 1, .n_micro_batches = m};
    cr_assert_eq(galv_schedule_find(&schedule, name, &err), GALV_OK);
    cr_assert_eq(galv_program_from_schedule(&program, schedule, &shape, arena, &err),
                 GALV_OK, "%s", err.message);
    return program;
}

/* Forward f, backward b, slow times as long on `slow_stage`. */
static galv_cost *pipeline_costs(const galv_program *program, double f, double b,
                                 double message_s, int32_t slow_stage, double slow,
                                 galv_arena *arena)
{
    galv_cost *costs = GALV_NEW_ARRAY(arena, galv_cost, program->n_classes);
    for (uint32_t i = 0; i < program->n_classes; i++) {
        const galv_operation *class = &program->classes[i];
        double times = class->stage == slow_stage ? slow : 1;
        costs[i].work_s = class->kind == GALV_OP_FORWARD    ? f * times
                          : class->kind == GALV_OP_BACKWARD ? b * times
                          : class->kind == GALV_OP_SEND     ? message_s
                                                            : 0;
        costs[i].compute_slowdown = costs[i].comm_slowdown = 1;
    }
    return costs;
}

/* Equal stages, free messages: stage i waits i f for its first forward, ends i b early,
 * and waits (p - 1 - i)(f + b) in between for the backward to come down. In GPipe that
 * is after its forwards, in 1F1B partly before. */
Test(sim_critical_path, bubbles_of_gpipe_and_1f1b_are_those_of_the_closed_form)
{
    static const char *const names[] = {"gpipe", "1f1b"};
    const int32_t p = 4;
    const int32_t m = 8;
    const double f = 1;
    const double b = 2;
    for (int k = 0; k < 2; k++) {
        galv_arena *arena = galv_arena_new();
        galv_sim_result sim = {0};
        galv_program *program = pipeline(names[k], p, m, arena);
        galv_cost *costs = pipeline_costs(program, f, b, 0, -1, 1, arena);
        galv_critical_path path = find(program, costs, &sim, arena);
        expect_whole(&path, program, &sim, names[k]);
        cr_expect_float_eq(path.spent_s[GALV_BREAKDOWN_COMPUTE], (m + p - 1) * (f + b),
                           1e-12);
        for (int32_t i = 0; i < p; i++) {
            const double *bubble = path.ranks[i].bubble_s;
            double between = (p - 1 - i) * (f + b);
            cr_expect_float_eq(bubble[GALV_BUBBLE_WARM_UP], i * f, 1e-12, "%s %d",
                               names[k], i);
            cr_expect_float_eq(bubble[GALV_BUBBLE_STEP], i * b, 1e-12, "%s %d",
                               names[k], i);
            cr_expect_float_eq(bubble[GALV_BUBBLE_UPSTREAM], 0, 1e-12);
            cr_expect_float_eq(bubble[GALV_BUBBLE_MESSAGE], 0, 1e-12);
            cr_expect_float_eq(bubble[GALV_BUBBLE_COOL_DOWN] +
                                   bubble[GALV_BUBBLE_DOWNSTREAM],
                               between, 1e-12, "%s %d", names[k], i);
            cr_expect(k == 1 || bubble[GALV_BUBBLE_DOWNSTREAM] == 0);
            /* 1F1B: (p - 1 - i) f before the first backward come while the pipeline
             * fills, the rest while it runs empty */
            cr_expect(k == 0 || i == p - 1 || bubble[GALV_BUBBLE_DOWNSTREAM] > 0);
        }
        galv_arena_free(arena);
    }
}

/* Two stages, GPipe, messages of c: stage 1 waits f for its first forward and c for its
 * message, later forwards are under way while it computes; stage 0 waits likewise. */
Test(sim_critical_path, messages_that_are_waited_for_are_told_apart)
{
    galv_arena *arena = galv_arena_new();
    galv_sim_result sim = {0};
    galv_program *program = pipeline("gpipe", 2, 3, arena);
    galv_cost *costs = pipeline_costs(program, 1, 2, 0.25, -1, 1, arena);
    galv_critical_path path = find(program, costs, &sim, arena);
    expect_whole(&path, program, &sim, "messages");
    /* 3 f + the message + ... : f f f on 0, last forward on 1 at 4.25, backwards until
     * 10.25, a message, one backward more */
    cr_expect_float_eq(path.duration_s, 12.5, 1e-12);
    cr_expect_float_eq(path.spent_s[GALV_BREAKDOWN_PP], 0.5, 1e-12);
    cr_expect_float_eq(path.spent_s[GALV_BREAKDOWN_COMPUTE], 12, 1e-12);
    cr_expect_float_eq(path.ranks[1].bubble_s[GALV_BUBBLE_WARM_UP], 1, 1e-12);
    cr_expect_float_eq(path.ranks[1].bubble_s[GALV_BUBBLE_MESSAGE], 0.25, 1e-12);
    /* stage 0 is idle from 3.25 (its last message has left) to 6.25; then a message of
     * 0.25 is awaited; its backwards keep up */
    cr_expect_float_eq(path.ranks[0].bubble_s[GALV_BUBBLE_COOL_DOWN], 3, 1e-12);
    cr_expect_float_eq(path.ranks[0].bubble_s[GALV_BUBBLE_MESSAGE], 0.25, 1e-12);
    cr_expect_float_eq(path.ranks[0].spent_s[GALV_BREAKDOWN_PP], 0.25, 1e-12);
    galv_arena_free(arena);
}

Test(sim_critical_path, stays_on_the_slow_stage)
{
    const int32_t m = 12;
    galv_arena *arena = galv_arena_new();
    galv_sim_result sim = {0};
    galv_program *program = pipeline("1f1b", 4, m, arena);
    galv_cost *costs = pipeline_costs(program, 1, 2, 0, 2, 1.5, arena);
    galv_critical_path path = find(program, costs, &sim, arena);
    expect_whole(&path, program, &sim, "slow stage");
    /* all m forwards and backwards of the slow stage */
    double on_slow_s = sum(path.ranks[2].path_s, GALV_N_BREAKDOWNS);
    cr_expect(on_slow_s >= (m - 1) * 4.5, "%g", on_slow_s);
    cr_expect_float_eq(path.ranks[2].path_s[GALV_BREAKDOWN_COMPUTE], on_slow_s, 1e-12);
    galv_arena_free(arena);
}

/* ---- anything ---- */

Test(sim_critical_path, parts_add_up_to_the_whole_for_random_programs)
{
    for (uint32_t seed = 1; seed <= 200; seed++) {
        char name[32];
        galv_sim_result sim = {0};
        draft *d = draft_by_chance(seed, seed % 2 == 0);
        galv_program *program = draft_program(d);
        galv_critical_path path = find(program, d->costs, &sim, d->arena);
        snprintf(name, sizeof name, "seed %u", seed);
        expect_whole(&path, program, &sim, name);
        draft_drop(d);
    }
}

Test(sim_critical_path, parts_add_up_to_the_whole_for_plans)
{
    for (size_t i = 0; i < n_plan_cases; i++) {
        galv_err err = GALV_ERR_INIT;
        galv_program *program = NULL;
        galv_cost *costs = NULL;
        galv_sim_result sim = {0};
        plan_stand s = plan_set_up(i);
        cr_assert_eq(galv_program_compile(&program, s.job, s.plan, s.arena, &err),
                     GALV_OK);
        cr_assert_eq(
            galv_price_program(&costs, s.model, s.plan, program, s.arena, &err),
            GALV_OK);
        galv_critical_path path = find(program, costs, &sim, s.arena);
        expect_whole(&path, program, &sim, s.name);
        cr_expect(path.spent_s[GALV_BREAKDOWN_COMPUTE] > 0.3 * path.duration_s, "%s",
                  s.name);
        cr_expect(path.spent_s[GALV_BREAKDOWN_OPTIMIZER] > 0, "%s", s.name);
        if (program->n_ranks > 1) {
            int32_t last = program->n_ranks - 1;
            bool waits = galv_plan_n_copies(s.plan) == 1; /* else it begins at once */
            cr_expect_eq(path.ranks[last].bubble_s[GALV_BUBBLE_WARM_UP] > 0, waits,
                         "%s", s.name);
            cr_expect(path.n_hops >= 2, "%s", s.name);
        }
        plan_tear_down(&s);
    }
}

/* As if all ranks had stood still for a while at some moments, which no operation
 * tells: what begins then or later is later. */
static void stand_still(galv_timeline *timeline, uint32_t seed)
{
    enum { TIMES = 3 };
    double still_s = 0;
    for (int k = 0; k < TIMES; k++) {
        size_t which = (seed * 31U + 7U * (unsigned)k) % timeline->n_spans;
        double at_s = timeline->spans[which].start_s;
        double for_s = 0.01 * (1 + k) * timeline->duration_s;
        for (size_t i = 0; i < timeline->n_spans; i++) {
            if (timeline->spans[i].start_s >= at_s) {
                timeline->spans[i].start_s += for_s;
                timeline->spans[i].end_s += for_s;
            }
        }
        still_s += for_s;
    }
    timeline->duration_s += still_s;
}

Test(sim_critical_path, holes_in_a_measured_timeline_are_bubbles_of_the_path)
{
    for (uint32_t seed = 1; seed <= 100; seed++) {
        galv_err err = GALV_ERR_INIT;
        galv_sim_result sim = {0};
        galv_critical_path path = {0};
        draft *d = draft_by_chance(seed, false);
        galv_program *program = draft_program(d);
        find(program, d->costs, &sim, d->arena);
        stand_still(&sim.timeline, seed);
        double whole_s = sim.timeline.duration_s;
        cr_assert_eq(galv_critical_path_find(&path, program, d->costs, &sim.timeline,
                                             d->arena, &err),
                     GALV_OK, "%s", err.message);
        cr_expect_float_eq(sum(path.spent_s, GALV_N_BREAKDOWNS), whole_s,
                           1e-12 * whole_s, "seed %u: path %.17g of %.17g", seed,
                           sum(path.spent_s, GALV_N_BREAKDOWNS), whole_s);
        cr_expect_gt(path.spent_s[GALV_BREAKDOWN_BUBBLE], 0, "seed %u", seed);
        draft_drop(d);
    }
}

Test(sim_critical_path, a_timeline_of_another_program_is_an_error)
{
    galv_err err = GALV_ERR_INIT;
    galv_critical_path path = {0};
    galv_timeline timeline = {0};
    draft *d = draft_by_chance(1, false);
    cr_expect_eq(galv_critical_path_find(&path, draft_program(d), d->costs, &timeline,
                                         d->arena, &err),
                 GALV_INPUT);
    draft_drop(d);
}

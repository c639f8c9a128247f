/* DualPipe and DualPipeV compiled from plans: published vectors, the schedule's own
 * replay, how much of the experts' exchanges is hidden, counted by hand, and what the
 * two copies of the model do together. */
#include "plan/chunks.h"
#include "sim/evaluate.h"
#include "tests/schedule/small_job.h"
#include "tests/sim/plans.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

GALV_TEST_SUITE(sim_dualpipe);

/* One block in every virtual stage, beside the embedding and the head. */
static galv_plan *make_plan(galv_job *job, galv_layer_kind kind, const char *schedule,
                            galv_strategy strategy, int32_t p, int32_t m,
                            galv_arena *arena)
{
    galv_err err = GALV_ERR_INIT;
    galv_plan *plan = NULL;
    galv_overlap overlap = GALV_OVERLAP_INIT;
    int32_t v = strcmp(schedule, "dualpipev") == 0 ? 2 : 1;
    galv_uniform_plan parameters = {strategy, p, v, schedule, 1, overlap, NULL};
    *job = small_job(kind, p * v, p * strategy.dp, (int64_t)m * strategy.dp);
    if (p * strategy.dp % 8 != 0) { /* nodes of one device: enough for any p */
        job->cluster.pools[0].n_nodes = p * strategy.dp;
        job->cluster.pools[0].devices_per_node = 1;
        job->cluster.pools[0].scaleup_domain = 1;
    }
    cr_assert_eq(galv_plan_make_uniform(&plan, job, &parameters, arena, &err), GALV_OK,
                 "%s: %s", schedule, err.message);
    return plan;
}

static galv_program *compile(const galv_job *job, const galv_plan *plan,
                             galv_arena *arena)
{
    galv_err err = GALV_ERR_INIT;
    galv_program *program = NULL;
    cr_assert_eq(galv_program_compile(&program, job, plan, arena, &err), GALV_OK, "%s",
                 err.message);
    cr_assert_eq(galv_program_check(program, arena, &err), GALV_OK, "%s", err.message);
    return program;
}

static galv_sim_result simulate(const galv_program *program, const galv_cost *costs,
                                galv_arena *arena)
{
    galv_err err = GALV_ERR_INIT;
    galv_sim_result result;
    galv_sim_options options = GALV_SIM_OPTIONS_INIT;
    cr_assert_eq(galv_simulate(&result, program, costs, NULL, &options, arena, &err),
                 GALV_OK, "%s", err.message);
    return result;
}

/* Passes of virtual stage s cost f[s], i[s], w[s], b[s] = i + w; all else is free. The
 * costs lie on the blocks, in a program of a schedule on its only operation. */
typedef struct pass_costs {
    const galv_job *job; /* NULL: the program is of a schedule alone */
    const galv_plan *plan;
    const double *f, *i, *w;
} pass_costs;

static int32_t virtual_stage_of(const pass_costs *c, const galv_operation *class)
{
    int32_t s = 0;
    if (c->job == NULL) {
        return class->first_layer;
    }
    while (c->plan->first_layer[s + 1] <= class->first_layer) {
        s++;
    }
    return s;
}

static galv_cost *price(const galv_program *program, const pass_costs *c,
                        galv_arena *arena)
{
    galv_cost *costs = GALV_NEW_ARRAY(arena, galv_cost, program->n_classes);
    for (uint32_t k = 0; k < program->n_classes; k++) {
        const galv_operation *class = &program->classes[k];
        double *end = &costs[k].end_bytes[GALV_MEMORY_ACTIVATIONS];
        bool block = c->job == NULL ||
                     galv_model_layer(&c->job->model, class->first_layer)->kind ==
                         GALV_LAYER_DECODER;
        costs[k].compute_slowdown = costs[k].comm_slowdown = 1;
        if (class->stream != GALV_STREAM_COMPUTE || !block) {
            continue;
        }
        int32_t s = virtual_stage_of(c, class);
        switch (class->kind) {
        case GALV_OP_FORWARD:
            costs[k].work_s = c->f[s];
            *end = 1;
            break;
        case GALV_OP_BACKWARD:
            costs[k].work_s = c->i[s] + c->w[s];
            *end = -1;
            break;
        case GALV_OP_BACKWARD_INPUT:
            costs[k].work_s = c->i[s];
            break;
        case GALV_OP_BACKWARD_WEIGHT:
            costs[k].work_s = c->w[s];
            *end = -1;
            break;
        default:
            break;
        }
    }
    return costs;
}

static const galv_strategy alone = GALV_STRATEGY_INIT;

Test(sim_dualpipe, compiled_plans_take_the_published_spans_and_peaks)
{
    static const struct {
        const char *schedule;
        int32_t p, m;
        double span, waits, peak;
    } vectors[] = {
        {"dualpipe", 8, 20, 66, 6, 9},  {"dualpipe", 4, 8, 26, 2, 5},
        {"dualpipe", 2, 4, 12, 0, 3},   {"dualpipe", 16, 64, 206, 14, 17},
        {"dualpipev", 4, 10, 66, 6, 9}, {"dualpipev", 8, 32, 206, 14, 17},
        {"dualpipev", 3, 7, 46, 4, 7},
    };
    double ones[64];
    for (int32_t s = 0; s < 64; s++) {
        ones[s] = 1;
    }
    for (size_t k = 0; k < sizeof vectors / sizeof vectors[0]; k++) {
        galv_arena *arena = galv_arena_new();
        galv_job job;
        galv_plan *plan = make_plan(&job, GALV_LAYER_DECODER, vectors[k].schedule,
                                    alone, vectors[k].p, vectors[k].m, arena);
        pass_costs costs = {&job, plan, ones, ones, ones};
        galv_program *program = compile(&job, plan, arena);
        galv_sim_result r = simulate(program, price(program, &costs, arena), arena);
        cr_expect_float_eq(r.iteration_time_s, vectors[k].span, 1e-12, "%s %d: %g",
                           vectors[k].schedule, (int)vectors[k].p, r.iteration_time_s);
        cr_expect_float_eq(r.iteration_time_s - r.ranks[0].busy_s, vectors[k].waits,
                           1e-12, "%s %d: %g", vectors[k].schedule, (int)vectors[k].p,
                           r.iteration_time_s - r.ranks[0].busy_s);
        for (int32_t rank = 0; rank < r.n_ranks; rank++) {
            cr_expect_float_eq(r.ranks[rank].peak_bytes, vectors[k].peak, 1e-12,
                               "%s %d, rank %d: %g", vectors[k].schedule,
                               (int)vectors[k].p, (int)rank, r.ranks[rank].peak_bytes);
        }
        galv_arena_free(arena);
    }
}

/* A number without a common measure with its neighbours, 1 .. 2. */
static double some(int32_t s, int which)
{
    double x = sin(12.9898 * s + 78.233 * which) * 43758.5453;
    return 1 + x - floor(x);
}

Test(sim_dualpipe, without_communication_a_plan_is_its_schedule)
{
    static const struct {
        const char *schedule;
        int32_t p, m;
    } cases[] = {{"dualpipe", 2, 6},  {"dualpipe", 4, 8},  {"dualpipe", 6, 18},
                 {"dualpipev", 2, 4}, {"dualpipev", 2, 5}, {"dualpipev", 3, 6},
                 {"dualpipev", 5, 13}};
    double f[64], i[64], w[64];
    for (int32_t s = 0; s < 64; s++) {
        f[s] = some(s, 0);
        i[s] = some(s, 1);
        w[s] = some(s, 2);
    }
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        galv_arena *arena = galv_arena_new();
        galv_job job;
        galv_plan *plan = make_plan(&job, GALV_LAYER_DECODER, cases[k].schedule, alone,
                                    cases[k].p, cases[k].m, arena);
        galv_program *programs[2] = {compile(&job, plan, arena), NULL};
        galv_err err = GALV_ERR_INIT;
        const galv_schedule *schedule = NULL;
        galv_schedule_shape shape = {plan->pp, plan->vpp, cases[k].m, 0, NULL};
        cr_assert_eq(galv_schedule_find(&schedule, cases[k].schedule, &err), GALV_OK);
        cr_assert_eq(
            galv_program_from_schedule(&programs[1], schedule, &shape, arena, &err),
            GALV_OK, "%s", err.message);
        galv_sim_result r[2];
        for (int n = 0; n < 2; n++) {
            pass_costs costs = {n == 0 ? &job : NULL, plan, f, i, w};
            r[n] = simulate(programs[n], price(programs[n], &costs, arena), arena);
        }
        cr_expect_float_eq(r[0].iteration_time_s, r[1].iteration_time_s, 1e-12,
                           "%s %d: %.15g, not %.15g", cases[k].schedule,
                           (int)cases[k].p, r[0].iteration_time_s,
                           r[1].iteration_time_s);
        galv_arena_free(arena);
    }
}

/* ---- exchanges of experts ---- */

/* Every part of a layer of experts takes 1, and its weight gradients `weight_s` more,
 * an exchange `exchange_s`. */
static galv_cost *price_experts(const galv_job *job, const galv_program *program,
                                double weight_s, double exchange_s, galv_arena *arena)
{
    galv_cost *costs = GALV_NEW_ARRAY(arena, galv_cost, program->n_classes);
    for (uint32_t k = 0; k < program->n_classes; k++) {
        const galv_operation *class = &program->classes[k];
        bool block = galv_model_layer(&job->model, class->first_layer)->kind ==
                     GALV_LAYER_MOE_DECODER;
        costs[k].compute_slowdown = costs[k].comm_slowdown = 1;
        if (block && class->stream == GALV_STREAM_EP) {
            costs[k].work_s = exchange_s;
        } else if (block && class->stream == GALV_STREAM_COMPUTE) {
            bool has_weights = class->part != GALV_PART_COMBINE;
            costs[k].work_s = class->kind == GALV_OP_OPTIMIZER         ? 0
                              : class->kind == GALV_OP_BACKWARD_WEIGHT ? weight_s
                              : class->kind == GALV_OP_BACKWARD && has_weights
                                  ? 1 + weight_s
                                  : 1;
        }
    }
    return costs;
}

/* Pairs on a stage, from the order. */
static int32_t count_pairs(const char *name, const galv_plan *plan, int32_t m,
                           int32_t stage, galv_arena *arena)
{
    galv_err err = GALV_ERR_INIT;
    const galv_schedule *schedule = NULL;
    galv_schedule_shape shape = {plan->pp, plan->vpp, m, 0, NULL};
    cr_assert_eq(galv_schedule_find(&schedule, name, &err), GALV_OK);
    size_t n = galv_schedule_n_slots(schedule, &shape);
    galv_slot *slots = GALV_NEW_ARRAY(arena, galv_slot, (size_t)plan->pp * n);
    cr_assert_eq(galv_schedule_order(slots, schedule, &shape, &err), GALV_OK);
    int32_t pairs = 0;
    for (size_t i = 0; i < n; i++) {
        pairs += slots[(size_t)stage * n + i].paired;
    }
    return pairs;
}

/* By hand. A pass by itself shows both of its exchanges. Side by side, with F:
 * attention and router, experts, combine; B: combine, experts, router and attention,
 * each for inputs and, later, for weights; all of 1, exchanges too, weights free:
 *
 *     compute   B-c  F-a F-r  B-e  F-e  B-r B-a  F-c
 *     ends        1    2   3    4    5    6   7    8
 *     exchange       c      d(3-4) d(4-5) c(5-6)      nothing waits
 *
 * With weights of 1 and exchanges of 2, one behind the other from 3 to 9:
 *
 *     compute   B-c  F-a F-r  B-e W-e  F-e  .  B-r B-a W-r W-a  F-c
 *     ends        1    2   3    4   5    6       8   9  10  11   12
 *     exchange     c(1-3)  d(3-5)  d(5-7)  c(7-9)     B-r waits from 6 to 7
 *
 * So of 4 exchanges for each micro-batch a stage shows all but those of its pairs, and
 * with them what a pair shows. */
Test(sim_dualpipe, pairs_hide_the_exchanges_of_experts)
{
    static const galv_strategy experts = {1, 1, 2, 2, GALV_SP_NONE, 1, 0};
    static const struct {
        double weight_s, exchange_s, shown_s; /* of a pair */
    } prices[] = {{0, 1, 0}, {1, 2, 1}};
    static const struct {
        const char *schedule;
        int32_t p, m;
    } cases[] = {{"dualpipe", 2, 4},
                 {"dualpipe", 4, 8},
                 {"dualpipe", 4, 20},
                 {"dualpipev", 2, 4},
                 {"dualpipev", 4, 13}};
    for (size_t k = 0; k < 2 * sizeof cases / sizeof cases[0]; k++) {
        galv_arena *arena = galv_arena_new();
        galv_job job, other;
        const char *name = cases[k / 2].schedule;
        int32_t p = cases[k / 2].p;
        int32_t m = cases[k / 2].m;
        double weight_s = prices[k % 2].weight_s;
        double exchange_s = prices[k % 2].exchange_s;
        galv_plan *plan =
            make_plan(&job, GALV_LAYER_MOE_DECODER, name, experts, p, m, arena);
        galv_plan *plain =
            make_plan(&other, GALV_LAYER_MOE_DECODER, "1f1b", experts, p, m, arena);
        galv_program *program = compile(&job, plan, arena);
        galv_sim_result r = simulate(
            program, price_experts(&job, program, weight_s, exchange_s, arena), arena);
        for (int32_t rank = 0; rank < r.n_ranks; rank++) {
            int32_t pairs = count_pairs(name, plan, m, rank, arena);
            double shown = 4 * exchange_s * (m * plan->vpp - pairs) +
                           prices[k % 2].shown_s * pairs;
            cr_expect_gt(pairs, 0);
            cr_expect_float_eq(r.ranks[rank].spent_s[GALV_BREAKDOWN_EP], shown, 1e-9,
                               "%s %d, rank %d: %g, not %g", name, (int)p, (int)rank,
                               r.ranks[rank].spent_s[GALV_BREAKDOWN_EP], shown);
        }
        galv_program *sequential = compile(&other, plain, arena);
        galv_sim_result s = simulate(
            sequential, price_experts(&other, sequential, weight_s, exchange_s, arena),
            arena);
        for (int32_t rank = 0; rank < s.n_ranks; rank++) { /* 1F1B hides none */
            cr_expect_float_eq(s.ranks[rank].spent_s[GALV_BREAKDOWN_EP],
                               4 * exchange_s * m, 1e-9);
        }
        galv_arena_free(arena);
    }
}

/* ---- with the prices of the cost model ---- */

typedef struct evaluated {
    galv_program *program;
    galv_cost *costs;
    galv_sim_result sim;
} evaluated;

/* Stage 0 computes `slowed` times as long as it should. */
static evaluated evaluate(const plan_stand *s, double slowed)
{
    galv_err err = GALV_ERR_INIT;
    galv_sim_options options = GALV_SIM_OPTIONS_INIT;
    evaluated e;
    options.record_timeline = true;
    e.program = compile(s->job, s->plan, s->arena);
    cr_assert_eq(
        galv_price_program(&e.costs, s->model, s->plan, e.program, s->arena, &err),
        GALV_OK);
    for (uint32_t i = 0; i < e.program->n_classes; i++) {
        const galv_operation *class = &e.program->classes[i];
        if (class->stage == 0 && class->stream == GALV_STREAM_COMPUTE) {
            e.costs[i].work_s *= slowed;
        }
    }
    cr_assert_eq(
        galv_simulate(&e.sim, e.program, e.costs, NULL, &options, s->arena, &err),
        GALV_OK);
    return e;
}

static bool is_dual(const plan_stand *s)
{
    return strncmp(s->plan->schedule, "dualpipe", 8) == 0;
}

Test(sim_dualpipe, what_is_taken_is_given_back)
{
    for (size_t i = 0; i < n_plan_cases; i++) {
        plan_stand s = plan_set_up(i);
        evaluated e = is_dual(&s) ? evaluate(&s, 1) : (evaluated){0};
        for (int32_t rank = 0; is_dual(&s) && rank < e.program->n_ranks; rank++) {
            const uint32_t *begin =
                &e.program->queue_begin[(size_t)rank * GALV_N_STREAMS];
            for (int use = 0; use < GALV_N_MEMORY_USES; use++) {
                double sum = 0;
                double taken = 0;
                for (uint32_t op = begin[0]; op < begin[GALV_N_STREAMS]; op++) {
                    const galv_cost *cost = &e.costs[e.program->ops[op].class_index];
                    sum += cost->start_bytes[use] + cost->end_bytes[use];
                    taken += fabs(cost->start_bytes[use]) + fabs(cost->end_bytes[use]);
                }
                cr_expect(fabs(sum) <= 1e-12 * taken, "%s, rank %d, use %d: %g of %g",
                          s.name, (int)rank, use, sum, taken);
            }
        }
        plan_tear_down(&s);
    }
}

/* Stages i and p - 1 - i reduce and gather together: the same, and from the same time
 * on, even where one of the two is late. */
Test(sim_dualpipe, both_copies_reduce_and_gather_at_once)
{
    size_t n_seen = 0;
    for (size_t i = 0; i < n_plan_cases; i++) {
        plan_stand s = plan_set_up(i);
        bool dual = galv_plan_n_copies(s.plan) == 2;
        evaluated e = dual ? evaluate(&s, 1.3) : (evaluated){0};
        for (int32_t rank = 0; dual && rank < e.program->n_ranks / 2; rank++) {
            const uint32_t *begin = e.program->queue_begin;
            size_t here = (size_t)rank * GALV_N_STREAMS + GALV_STREAM_DP;
            size_t there = (size_t)(e.program->n_ranks - 1 - rank) * GALV_N_STREAMS +
                           GALV_STREAM_DP;
            uint32_t n = begin[here + 1] - begin[here];
            cr_assert_eq(n, begin[there + 1] - begin[there], "%s", s.name);
            cr_expect_gt(n, 0);
            for (uint32_t k = 0; k < n; k++) {
                const galv_span *a = &e.sim.timeline.spans[begin[here] + k];
                const galv_span *b = &e.sim.timeline.spans[begin[there] + k];
                cr_expect(a->first_layer == b->first_layer && a->kind == b->kind &&
                              a->chunk == 1 - b->chunk,
                          "%s", s.name);
                cr_expect(fabs(a->start_s - b->start_s) < 1e-12, "%s: %.15g, %.15g",
                          s.name, a->start_s, b->start_s);
                n_seen++;
            }
        }
        plan_tear_down(&s);
    }
    cr_expect_gt(n_seen, 100);
}

Test(sim_dualpipe, memory_by_order_is_what_the_simulation_finds_or_a_little_more)
{
    for (size_t i = 0; i < n_plan_cases; i++) {
        plan_stand s = plan_set_up(i);
        galv_err err = GALV_ERR_INIT;
        galv_result result = {0};
        galv_evaluate_options options = GALV_EVALUATE_OPTIONS_INIT;
        double peaks[8];
        if (is_dual(&s)) {
            cr_assert_eq(
                galv_estimate_memory(peaks, s.model, s.plan, NULL, s.arena, &err),
                GALV_OK, "%s", err.message);
            cr_assert_eq(
                galv_evaluate(&result, s.model, s.plan, &options, s.arena, &err),
                GALV_OK, "%s", err.message);
        }
        for (int32_t stage = 0; stage < result.n_stages; stage++) {
            double found = result.stages[stage].peak_memory_bytes;
            cr_expect(peaks[stage] >= found * (1 - 1e-9) && peaks[stage] <= found * 1.1,
                      "%s, stage %d: %.6g, found %.6g", s.name, (int)stage,
                      peaks[stage], found);
        }
        plan_tear_down(&s);
    }
}

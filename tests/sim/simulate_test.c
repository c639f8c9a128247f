/* The engine: rates, waits, accounts. Times are worked out by hand; random programs are
 * held to what any schedule of activities must keep. */
#include "schedule/builder_internal.h"
#include "sim/simulate.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

GALV_TEST_SUITE(sim_simulate);

/* A program by hand, with one class per operation so that each has its own cost. */
typedef struct draft {
    galv_builder builder;
    galv_cost costs[4096];
    galv_arena *arena;
} draft;

static draft *draft_new(int32_t n_ranks)
{
    galv_arena *arena = galv_arena_new();
    draft *d = GALV_NEW(arena, draft);
    d->arena = arena;
    galv_builder_init(&d->builder, NULL, n_ranks, 1, 1);
    return d;
}

static void draft_free(draft *d)
{
    galv_builder_release(&d->builder);
    galv_arena_free(d->arena);
}

static uint32_t add(draft *d, int32_t rank, int kind, int stream, double work_s)
{
    galv_operation operation = {0};
    operation.kind = (uint8_t)kind;
    operation.stream = (uint8_t)stream;
    operation.stage = rank;
    operation.first_layer = (int32_t)d->builder.n_ops; /* makes the class its own */
    operation.peer_stage = -1;
    uint32_t op = galv_builder_add(&d->builder, rank,
                                   galv_builder_class(&d->builder, &operation), 0);
    d->costs[op].work_s = work_s;
    d->costs[op].compute_slowdown = 1;
    d->costs[op].comm_slowdown = 1;
    return op;
}

static galv_program *finish(draft *d)
{
    galv_err err = GALV_ERR_INIT;
    galv_program *program = NULL;
    cr_assert_eq(galv_builder_finish(&program, &d->builder, d->arena, &err), GALV_OK);
    return program;
}

static galv_sim_result play(draft *d, const galv_program *program)
{
    galv_err err = GALV_ERR_INIT;
    galv_sim_result result = {0};
    galv_sim_options options = {true, 0, false};
    cr_assert_eq(
        galv_simulate(&result, program, d->costs, NULL, &options, d->arena, &err),
        GALV_OK, "%s", err.message);
    return result;
}

/* The span of the op that was added as number `op`. */
static const galv_span *span_of(const galv_sim_result *result, uint32_t op)
{
    for (size_t i = 0; i < result->timeline.n_spans; i++) {
        if (result->timeline.spans[i].first_layer == (int32_t)op) {
            return &result->timeline.spans[i];
        }
    }
    cr_assert_fail("operation %u never ran", op);
    return NULL;
}

Test(sim_simulate, two_equal_collectives_on_one_link_take_twice_as_long)
{
    draft *d = draft_new(1);
    uint32_t a = add(d, 0, GALV_OP_ALL_REDUCE, GALV_STREAM_TP, 1);
    uint32_t b = add(d, 0, GALV_OP_ALL_REDUCE, GALV_STREAM_DP, 1);
    d->costs[a].intra_share = d->costs[b].intra_share = 1;
    galv_sim_result result = play(d, finish(d));
    cr_expect_float_eq(span_of(&result, a)->end_s, 2, 1e-12);
    cr_expect_float_eq(span_of(&result, b)->end_s, 2, 1e-12);
    draft_free(d);
}

Test(sim_simulate, shares_above_one_slow_all_alike_until_one_ends)
{
    draft *d = draft_new(1);
    uint32_t a = add(d, 0, GALV_OP_ALL_GATHER, GALV_STREAM_TP, 1);
    uint32_t b = add(d, 0, GALV_OP_ALL_GATHER, GALV_STREAM_DP, 2);
    d->costs[a].inter_share = d->costs[b].inter_share = 0.75;
    galv_sim_result result = play(d, finish(d));
    cr_expect_float_eq(span_of(&result, a)->end_s, 1.5, 1e-12);
    cr_expect_float_eq(span_of(&result, b)->end_s, 2.5, 1e-12);
    draft_free(d);
}

Test(sim_simulate, collectives_on_different_links_or_with_room_do_not_meet)
{
    draft *d = draft_new(2);
    uint32_t a = add(d, 0, GALV_OP_ALL_GATHER, GALV_STREAM_TP, 1);
    uint32_t b = add(d, 0, GALV_OP_ALL_GATHER, GALV_STREAM_DP, 1);
    uint32_t c = add(d, 1, GALV_OP_ALL_GATHER, GALV_STREAM_TP, 1);
    uint32_t e = add(d, 1, GALV_OP_ALL_GATHER, GALV_STREAM_DP, 1);
    d->costs[a].intra_share = 1;
    d->costs[b].inter_share = 1;
    d->costs[c].inter_share = d->costs[e].inter_share = 0.5;
    galv_sim_result result = play(d, finish(d));
    cr_expect_float_eq(result.iteration_time_s, 1, 1e-12);
    draft_free(d);
}

Test(sim_simulate, computation_and_communication_slow_each_other_while_both_run)
{
    draft *d = draft_new(1);
    uint32_t c = add(d, 0, GALV_OP_BACKWARD, GALV_STREAM_COMPUTE, 2);
    uint32_t m = add(d, 0, GALV_OP_ALL_REDUCE, GALV_STREAM_DP, 1);
    d->costs[m].compute_slowdown = 1.25;
    d->costs[m].comm_slowdown = 1.5;
    galv_sim_result result = play(d, finish(d));
    /* the message takes 1.5; by then 1.5 / 1.25 = 1.2 of the computation is done */
    cr_expect_float_eq(span_of(&result, m)->end_s, 1.5, 1e-12);
    cr_expect_float_eq(span_of(&result, c)->end_s, 2.3, 1e-12);
    draft_free(d);
}

Test(sim_simulate, time_goes_to_computation_else_to_what_is_exposed_else_to_the_bubble)
{
    draft *d = draft_new(2);
    uint32_t f = add(d, 0, GALV_OP_FORWARD, GALV_STREAM_COMPUTE, 3);
    uint32_t t = add(d, 0, GALV_OP_ALL_REDUCE, GALV_STREAM_TP, 2);
    add(d, 0, GALV_OP_ALL_REDUCE, GALV_STREAM_DP, 6);
    uint32_t r = add(d, 0, GALV_OP_RECOMPUTE, GALV_STREAM_COMPUTE, 1);
    uint32_t late = add(d, 1, GALV_OP_FORWARD, GALV_STREAM_COMPUTE, 5);
    galv_builder_add_wait(&d->builder, t, f);
    galv_builder_add_wait(&d->builder, r, t);
    galv_builder_add_wait(&d->builder, late, f);
    galv_sim_result result = play(d, finish(d));
    const double *spent = result.ranks[0].spent_s;
    cr_expect_float_eq(result.iteration_time_s, 8, 1e-12);
    cr_expect_float_eq(spent[GALV_BREAKDOWN_COMPUTE], 3, 1e-12);
    cr_expect_float_eq(spent[GALV_BREAKDOWN_TP], 2, 1e-12);
    cr_expect_float_eq(spent[GALV_BREAKDOWN_RECOMPUTE], 1, 1e-12);
    cr_expect_float_eq(spent[GALV_BREAKDOWN_DP], 0, 1e-12); /* 6 s, all of it hidden */
    cr_expect_float_eq(spent[GALV_BREAKDOWN_BUBBLE], 2, 1e-12);
    cr_expect_float_eq(result.ranks[0].comm_s[GALV_STREAM_DP], 6, 1e-12);
    cr_expect_float_eq(result.ranks[0].busy_s, 4, 1e-12);
    cr_expect_float_eq(result.ranks[0].end_s, 6, 1e-12);
    cr_expect_float_eq(result.ranks[1].spent_s[GALV_BREAKDOWN_BUBBLE], 3, 1e-12);
    draft_free(d);
}

Test(sim_simulate, the_peak_of_memory_is_where_and_of_what_it_was)
{
    draft *d = draft_new(1);
    uint32_t f = add(d, 0, GALV_OP_FORWARD, GALV_STREAM_COMPUTE, 1);
    uint32_t b = add(d, 0, GALV_OP_BACKWARD, GALV_STREAM_COMPUTE, 1);
    d->costs[f].end_bytes[GALV_MEMORY_ACTIVATIONS] = 10;
    d->costs[f].transient_bytes = 5;
    d->costs[b].transient_bytes = 3;
    d->costs[b].end_bytes[GALV_MEMORY_ACTIVATIONS] = -10;
    galv_program *program = finish(d);
    galv_stage_memory base = {{100, 0, 0, 0, 0, 1}};
    galv_sim_options options = {true, 0, false};
    galv_sim_result result = {0};
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(
        galv_simulate(&result, program, d->costs, &base, &options, d->arena, &err),
        GALV_OK);
    cr_expect_float_eq(result.ranks[0].peak_bytes, 114, 1e-12);
    cr_expect_float_eq(result.ranks[0].peak_time_s, 1, 1e-12);
    cr_expect_eq(result.ranks[0].peak_op, b);
    cr_expect_float_eq(result.ranks[0].peak_use_bytes[GALV_MEMORY_ACTIVATIONS], 10,
                       1e-12);
    cr_expect_float_eq(result.ranks[0].peak_use_bytes[GALV_MEMORY_BUFFERS], 3, 1e-12);
    const galv_timeline *timeline = &result.timeline;
    cr_assert_eq(timeline->n_samples, 3);
    cr_expect_float_eq(timeline->samples[2].bytes, 101, 1e-12);
    draft_free(d);
}

Test(sim_simulate, a_deadlock_is_named)
{
    draft *d = draft_new(2);
    uint32_t a = add(d, 0, GALV_OP_FORWARD, GALV_STREAM_COMPUTE, 1);
    uint32_t b = add(d, 1, GALV_OP_BACKWARD, GALV_STREAM_COMPUTE, 1);
    galv_builder_add_wait(&d->builder, a, b);
    galv_builder_add_wait(&d->builder, b, a);
    galv_program *program = finish(d);
    galv_err err = GALV_ERR_INIT;
    galv_sim_result result = {0};
    galv_sim_options options = GALV_SIM_OPTIONS_INIT;
    cr_expect_eq(
        galv_simulate(&result, program, d->costs, NULL, &options, d->arena, &err),
        GALV_INPUT);
    cr_expect_not_null(strstr(err.message, "forward of stage 0"), "%s", err.message);
    cr_expect_not_null(strstr(err.message, "waits for backward of stage 1"), "%s",
                       err.message);
    draft_free(d);
}

Test(sim_simulate, stops_when_told_and_an_empty_program_takes_no_time)
{
    draft *d = draft_new(1);
    galv_sim_result result = play(d, finish(d));
    cr_expect_float_eq(result.iteration_time_s, 0, 0);
    draft_free(d);
    d = draft_new(1);
    add(d, 0, GALV_OP_FORWARD, GALV_STREAM_COMPUTE, 1);
    add(d, 0, GALV_OP_FORWARD, GALV_STREAM_COMPUTE, 5);
    galv_program *program = finish(d);
    galv_err err = GALV_ERR_INIT;
    galv_sim_options options = {false, 3, false};
    cr_assert_eq(
        galv_simulate(&result, program, d->costs, NULL, &options, d->arena, &err),
        GALV_OK);
    cr_expect(result.stopped);
    cr_expect(result.iteration_time_s >= 3);
    options.stop_at_s = 7;
    cr_assert_eq(
        galv_simulate(&result, program, d->costs, NULL, &options, d->arena, &err),
        GALV_OK);
    cr_expect_not(result.stopped);
    draft_free(d);
}

/* ---- random programs ---- */

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525U + 1013904223U;
    return *state >> 8;
}

static const int kinds[GALV_N_STREAMS] = {
    GALV_OP_FORWARD,    GALV_OP_ALL_GATHER, GALV_OP_RING_EXCHANGE, GALV_OP_ALL_TO_ALL,
    GALV_OP_ALL_REDUCE, GALV_OP_SEND,       GALV_OP_RECV};

/* Waits go from later to earlier ops only, so the program can run. */
static draft *draft_random(uint32_t seed, bool contended)
{
    uint32_t random = seed;
    int32_t n_ranks = 1 + (int32_t)(next_random(&random) % 5);
    uint32_t n_ops = 20 + next_random(&random) % 300;
    draft *d = draft_new(n_ranks);
    for (uint32_t i = 0; i < n_ops; i++) {
        int32_t rank = (int32_t)(next_random(&random) % (uint32_t)n_ranks);
        int stream = (int)(next_random(&random) % GALV_N_STREAMS);
        double work = next_random(&random) % 4 == 0
                          ? 0
                          : (double)(1 + next_random(&random) % 64) / 16;
        uint32_t op = add(d, rank, kinds[stream], stream, work);
        if (contended && stream != GALV_STREAM_COMPUTE) {
            d->costs[op].intra_share = (double)(next_random(&random) % 5) / 4;
            d->costs[op].inter_share = (double)(next_random(&random) % 5) / 4;
            d->costs[op].compute_slowdown = 1 + (double)(next_random(&random) % 9) / 16;
            d->costs[op].comm_slowdown = 1 + (double)(next_random(&random) % 9) / 16;
        }
        d->costs[op].start_bytes[GALV_MEMORY_ACTIVATIONS] =
            (double)(next_random(&random) % 3);
        d->costs[op].end_bytes[GALV_MEMORY_ACTIVATIONS] =
            -d->costs[op].start_bytes[GALV_MEMORY_ACTIVATIONS];
        for (uint32_t k = next_random(&random) % 3; k > 0 && i > 0; k--) {
            galv_builder_add_wait(&d->builder, op, next_random(&random) % i);
        }
    }
    return d;
}

Test(sim_simulate, random_programs_keep_order_waits_and_work)
{
    for (uint32_t seed = 1; seed <= 120; seed++) {
        bool contended = seed % 2 == 0;
        draft *d = draft_random(seed, contended);
        galv_program *program = finish(d);
        galv_sim_result result = play(d, program);
        const galv_timeline *timeline = &result.timeline;
        cr_assert_eq(timeline->n_spans, program->n_ops);
        for (uint32_t op = 0; op < program->n_ops; op++) {
            const galv_span *span = &timeline->spans[op];
            double work = d->costs[program->ops[op].class_index].work_s;
            double length = span->end_s - span->start_s;
            cr_expect(length >= work - 1e-9, "seed %u op %u", seed, op);
            if (!contended) {
                cr_expect(length <= work + 1e-9, "seed %u op %u", seed, op);
            }
            double ready = 0;
            for (uint32_t i = program->ops[op].first_dependency;
                 i < program->ops[op + 1].first_dependency; i++) {
                ready = fmax(ready, timeline->spans[program->dependencies[i]].end_s);
            }
            if (op > 0 && span[-1].rank == span->rank &&
                span[-1].stream == span->stream) {
                ready = fmax(ready, span[-1].end_s);
            }
            /* neither before what it waits for, nor idle when it could run */
            cr_expect_float_eq(span->start_s, ready, 1e-12, "seed %u op %u", seed, op);
        }
        draft_free(d);
    }
}

/* Work that spans of one rank, those from `first` on of which `last` is the last to
 * end, ask of a link between the start of the one and the end of the other. */
static double asked_between(const draft *d, const galv_program *program,
                            const galv_timeline *timeline, const galv_span *first,
                            const galv_span *last, bool intra)
{
    double asked_s = 0;
    for (uint32_t op = 0; op < program->n_ops; op++) {
        const galv_span *span = &timeline->spans[op];
        const galv_cost *cost = &d->costs[program->ops[op].class_index];
        if (span->rank == first->rank && span->start_s >= first->start_s &&
            span->end_s <= last->end_s) {
            asked_s += cost->work_s * (intra ? cost->intra_share : cost->inter_share);
        }
    }
    return asked_s;
}

/* In no window of time does a link of a rank, or its stream of computation, do more
 * work than the window is long. */
Test(sim_simulate, random_programs_ask_no_link_for_more_than_it_has)
{
    for (uint32_t seed = 2; seed <= 24; seed += 2) {
        draft *d = draft_random(seed, true);
        galv_program *program = finish(d);
        galv_sim_result result = play(d, program);
        const galv_timeline *timeline = &result.timeline;
        double fullest = 0;
        for (size_t i = 0; i < timeline->n_spans; i++) {
            const galv_span *first = &timeline->spans[i];
            for (size_t k = 0; k < timeline->n_spans; k += 1 + seed % 3) {
                const galv_span *last = &timeline->spans[k];
                double window_s = last->end_s - first->start_s;
                for (int intra = 0;
                     intra < 2 && window_s > 0 && first->rank == last->rank; intra++) {
                    double asked_s =
                        asked_between(d, program, timeline, first, last, intra == 1);
                    cr_assert(asked_s <= window_s + 1e-9,
                              "seed %u: %g s of work in %g s", seed, asked_s, window_s);
                    fullest = fmax(fullest, asked_s / window_s);
                }
            }
        }
        for (uint32_t op = 1; op < program->n_ops; op++) {
            const galv_span *span = &timeline->spans[op];
            bool follows =
                span[-1].rank == span->rank && span[-1].stream == span->stream;
            cr_expect(!follows || span->start_s >= span[-1].end_s - 1e-12);
        }
        cr_expect(fullest > 0.9 || program->n_ops < 60, "seed %u: at most %g", seed,
                  fullest);
        draft_free(d);
    }
}

Test(sim_simulate, the_longest_path_never_stops_what_ends_in_time)
{
    for (uint32_t seed = 1; seed <= 200; seed++) {
        bool contended = seed % 2 == 0;
        draft *d = draft_random(seed, contended);
        galv_program *program = finish(d);
        double whole_s = play(d, program).iteration_time_s;
        galv_err err = GALV_ERR_INIT;
        galv_sim_options options = {false, whole_s, false};
        galv_sim_result result;
        cr_assert_eq(
            galv_simulate(&result, program, d->costs, NULL, &options, d->arena, &err),
            GALV_OK);
        cr_expect(!result.stopped && result.iteration_time_s >= whole_s &&
                      result.iteration_time_s <= whole_s,
                  "seed %u", seed);
        options.stop_at_s = whole_s * (1 - 1e-9);
        cr_assert_eq(
            galv_simulate(&result, program, d->costs, NULL, &options, d->arena, &err),
            GALV_OK);
        cr_expect(result.stopped && result.iteration_time_s <= whole_s, "seed %u",
                  seed);
        /* without contention it is the time, and nothing is played */
        cr_expect(contended || result.n_events == 0, "seed %u", seed);
        draft_free(d);
    }
}

Test(sim_simulate, random_programs_account_for_every_second_and_every_byte)
{
    for (uint32_t seed = 1; seed <= 60; seed++) {
        draft *d = draft_random(seed, true);
        galv_sim_result result = play(d, finish(d));
        for (int32_t rank = 0; rank < result.n_ranks; rank++) {
            double sum = 0;
            for (int part = 0; part < GALV_N_BREAKDOWNS; part++) {
                cr_expect(result.ranks[rank].spent_s[part] >= 0);
                sum += result.ranks[rank].spent_s[part];
            }
            cr_expect_float_eq(sum, result.iteration_time_s, 1e-9, "seed %u", seed);
        }
        for (size_t i = 0; i < result.timeline.n_samples; i++) {
            const galv_memory_sample *sample = &result.timeline.samples[i];
            cr_expect(sample->bytes >= 0, "seed %u holds %g bytes", seed,
                      sample->bytes);
            cr_expect(sample->bytes <= result.ranks[sample->rank].peak_bytes);
            bool last = i + 1 == result.timeline.n_samples ||
                        result.timeline.samples[i + 1].rank != sample->rank;
            cr_expect(!last || sample->bytes == 0, "seed %u keeps %g bytes", seed,
                      sample->bytes);
        }
        draft_free(d);
    }
}

Test(sim_simulate, the_same_program_gives_the_same_bits)
{
    for (uint32_t seed = 2; seed <= 20; seed += 2) {
        draft *d = draft_random(seed, true);
        galv_program *program = finish(d);
        galv_sim_result first = play(d, program);
        galv_sim_result second = play(d, program);
        cr_expect_eq(first.n_events, second.n_events);
        cr_expect_arr_eq(first.timeline.spans, second.timeline.spans,
                         first.timeline.n_spans * sizeof *first.timeline.spans);
        cr_expect_arr_eq(first.ranks, second.ranks,
                         (size_t)first.n_ranks * sizeof *first.ranks);
        draft_free(d);
    }
}

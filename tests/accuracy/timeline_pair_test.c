#include "accuracy/timeline_pair.h"
#include "base/arena.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

GALV_TEST_SUITE(accuracy_timeline_pair);

static galv_span span(int32_t rank, int32_t stage, int stream, int kind, double start_s,
                      double end_s)
{
    return (galv_span){.rank = rank,
                       .stage = stage,
                       .stream = (uint8_t)stream,
                       .kind = (uint8_t)kind,
                       .micro_batch = -1,
                       .start_s = start_s,
                       .end_s = end_s};
}

static galv_timeline timeline(galv_span *spans, size_t n, int32_t n_ranks, double end_s)
{
    galv_timeline made = {.n_ranks = n_ranks, .duration_s = end_s};
    made.spans = spans;
    made.n_spans = n;
    return made;
}

/* Rank 0: forward 0 to 4, all-reduce 3 to 6 (1 hidden, 2 exposed), a receive inside of
 * it, nothing from 6 to 7, backward 7 to 10. */
Test(accuracy_timeline_pair, every_moment_belongs_to_one_part)
{
    galv_arena *arena = galv_arena_new();
    galv_span spans[] = {
        span(0, 0, GALV_STREAM_COMPUTE, GALV_OP_FORWARD, 0, 4),
        span(0, 0, GALV_STREAM_TP, GALV_OP_ALL_REDUCE, 3, 6),
        span(0, 0, GALV_STREAM_PP_RECV, GALV_OP_RECV, 4, 6.5),
        span(0, 0, GALV_STREAM_COMPUTE, GALV_OP_BACKWARD, 7, 10),
    };
    galv_timeline t = timeline(spans, 4, 1, 10);
    galv_timeline_pair pair;
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(galv_timeline_pair_make(&pair, &t, &t, arena, &err), GALV_OK);
    const double *part_s = pair.measured[0].part_s;
    cr_expect_float_eq(part_s[GALV_OP_FORWARD], 4, 1e-12);
    cr_expect_float_eq(part_s[GALV_OP_BACKWARD], 3, 1e-12);
    cr_expect_float_eq(part_s[GALV_PART_EXPOSED + GALV_STREAM_TP], 2, 1e-12);
    cr_expect_float_eq(part_s[GALV_PART_EXPOSED + GALV_STREAM_PP_RECV], 0.5, 1e-12);
    cr_expect_float_eq(part_s[GALV_PART_IDLE], 0.5, 1e-12);
    cr_expect_float_eq(pair.measured[0].busy_s[GALV_STREAM_TP][GALV_OP_ALL_REDUCE], 3,
                       1e-12);
    cr_expect_eq(pair.n_causes, 0);
    galv_arena_free(arena);
}

static uint32_t next(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

Test(accuracy_timeline_pair, parts_add_up_to_the_iteration_and_causes_to_the_difference)
{
    galv_arena *arena = galv_arena_new();
    uint32_t state = 7;
    enum { N = 400, RANKS = 6, STAGES = 3 };
    galv_span spans[2][N];
    for (int trial = 0; trial < 50; trial++) {
        double end_s[2] = {0, 0};
        for (int side = 0; side < 2; side++) {
            for (int i = 0; i < N; i++) {
                int32_t rank = (int32_t)(next(&state) % RANKS);
                double start_s = next(&state) % 1000 * 1e-3;
                spans[side][i] =
                    span(rank, rank % STAGES, (int)(next(&state) % GALV_N_STREAMS),
                         (int)(next(&state) % GALV_N_OP_KINDS), start_s,
                         start_s + next(&state) % 100 * 1e-3);
                end_s[side] = fmax(end_s[side], spans[side][i].end_s);
            }
        }
        galv_timeline m = timeline(spans[0], N, RANKS, end_s[0]);
        galv_timeline p = timeline(spans[1], N, RANKS, end_s[1]);
        galv_timeline_pair pair;
        galv_err err = GALV_ERR_INIT;
        cr_assert_eq(galv_timeline_pair_make(&pair, &m, &p, arena, &err), GALV_OK);
        cr_assert_eq(pair.n_stages, STAGES);
        double apart_s = 0;
        for (int32_t stage = 0; stage < STAGES; stage++) {
            double sum_s = 0;
            for (int part = 0; part < GALV_N_TIME_PARTS; part++) {
                sum_s += pair.measured[stage].part_s[part];
            }
            cr_expect_float_eq(sum_s, end_s[0], 1e-9);
            cr_expect_eq(pair.measured[stage].n_ranks, RANKS / STAGES);
        }
        for (int part = 0; part < GALV_N_TIME_PARTS; part++) {
            double part_s =
                pair.measured_mean.part_s[part] - pair.predicted_mean.part_s[part];
            apart_s += part_s;
            cr_expect(fabs(part_s) <= fabs(pair.causes[0].difference_s) + 1e-12);
        }
        cr_expect_float_eq(apart_s, end_s[0] - end_s[1], 1e-9);
    }
    galv_arena_free(arena);
}

/* Two stages; on the second, measured forward takes 3 s longer: 1.5 in the mean, and
 * the first stage idles for it. */
Test(accuracy_timeline_pair, the_cause_is_named_with_its_stage)
{
    galv_arena *arena = galv_arena_new();
    galv_span predicted[] = {span(0, 0, GALV_STREAM_COMPUTE, GALV_OP_FORWARD, 0, 5),
                             span(1, 1, GALV_STREAM_COMPUTE, GALV_OP_FORWARD, 0, 5)};
    galv_span measured[] = {span(0, 0, GALV_STREAM_COMPUTE, GALV_OP_FORWARD, 0, 5),
                            span(1, 1, GALV_STREAM_COMPUTE, GALV_OP_FORWARD, 0, 8)};
    galv_timeline m = timeline(measured, 2, 2, 8), p = timeline(predicted, 2, 2, 5);
    galv_timeline_pair pair;
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(galv_timeline_pair_make(&pair, &m, &p, arena, &err), GALV_OK);
    cr_assert_eq(pair.n_causes, 2);
    cr_expect_eq(pair.causes[0].part, GALV_OP_FORWARD);
    cr_expect_eq(pair.causes[0].stage, 1);
    cr_expect_float_eq(pair.causes[0].difference_s, 1.5, 1e-12);
    cr_expect_float_eq(pair.causes[0].stage_s, 3, 1e-12);
    cr_expect_eq(pair.causes[1].part, GALV_PART_IDLE);
    cr_expect_eq(pair.causes[1].stage, 0);
    galv_arena_free(arena);
}

Test(accuracy_timeline_pair, timelines_without_a_stage_in_common_are_refused)
{
    galv_arena *arena = galv_arena_new();
    galv_span a[] = {span(0, 0, GALV_STREAM_COMPUTE, GALV_OP_FORWARD, 0, 5)};
    galv_span b[] = {span(0, 3, GALV_STREAM_COMPUTE, GALV_OP_FORWARD, 0, 5)};
    galv_timeline m = timeline(a, 1, 1, 5), p = timeline(b, 1, 1, 5);
    galv_timeline nothing = timeline(b, 0, 1, 5);
    galv_timeline_pair pair;
    galv_err err = GALV_ERR_INIT, empty = GALV_ERR_INIT;
    cr_expect_eq(galv_timeline_pair_make(&pair, &m, &p, arena, &err), GALV_INPUT);
    cr_expect_eq(galv_timeline_pair_make(&pair, &nothing, &p, arena, &empty),
                 GALV_INPUT);
    cr_expect(strstr(empty.message, "measured") != NULL);
    galv_arena_free(arena);
}

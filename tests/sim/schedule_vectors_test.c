/* Schedules against published vectors and closed forms: spans, idle time and peaks of
 * activations. Sources: GPipe (arXiv 1811.06965), PipeDream-flush (2006.09503),
 * Megatron-LM (2104.04473); vectors computed by an independent list simulator. */
#include "sim/simulate.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>

GALV_TEST_SUITE(sim_schedule_vectors);

typedef struct vector {
    const char *schedule;
    int32_t p, v, m, g;
    double message_s;
    double span, idle; /* idle < 0: not published */
    int32_t peaks[8];  /* chunks, rank 0 first; 0 = not published */
} vector;

/* Forward 1 and backward 2 for a whole rank. */
static const vector vectors[] = {
    {"gpipe", 4, 1, 8, 0, 0, 33, 9, {8, 8, 8, 8}},
    {"1f1b", 4, 1, 8, 0, 0, 33, 9, {4, 3, 2, 1}},
    {"1f1b", 8, 1, 32, 0, 0, 117, 21, {8, 7, 6, 5, 4, 3, 2, 1}},
    {"1f1b", 4, 1, 2, 0, 0, 15, 9, {2, 2, 2, 1}},
    {"1f1b", 8, 1, 3, 0, 0, 30, 21, {3, 3, 3, 3, 3, 3, 2, 1}},
    {"interleaved", 4, 2, 8, 0, 0, 28.5, 4.5, {11, 9, 7, 5}},
    {"interleaved", 4, 4, 8, 0, 0, 26.25, 2.25, {19, 17, 15, 13}},
    {"interleaved", 8, 2, 32, 0, 0, 106.5, 10.5, {23, 21, 19, 17, 15, 13, 11, 9}},
    {"interleaved", 4, 2, 16, 8, 0, 52.5, 4.5, {15, 13, 11, 9}},
    {"interleaved", 4, 2, 6, 0, 0, 27.5, 9.5, {11, 9, 7, 5}},
    {"interleaved", 4, 2, 10, 0, 0, 39.5, 9.5, {11, 9, 7, 5}},
    {"gpipe", 4, 1, 8, 0, 0.1, 33.6, -1, {0}},
    {"1f1b", 4, 1, 8, 0, 0.1, 34.6, -1, {0}},
    {"interleaved", 4, 2, 8, 0, 0.1, 29.9, -1, {0}},
    {"breadth-first", 4, 2, 8, 0, 0, 28.5, 4.5, {16, 16, 16, 16}},
    {"breadth-first", 4, 4, 8, 0, 0, 26.25, 2.25, {32, 32, 32, 32}},
    {"zb-h1", 4, 1, 8, 0, 0, 27, 3, {4, 4, 4, 4}},
    {"zb-h1", 8, 1, 32, 0, 0, 103, 7, {8, 8, 8, 8, 8, 8, 8, 8}},
    {"zb-h2", 4, 1, 8, 0, 0, 27, -1, {7, 7, 7, 7}},
    {"zb-h2", 8, 1, 32, 0, 0, 103, -1, {15, 15, 15, 15, 15, 15, 15, 15}},
    {"none", 1, 1, 5, 0, 0, 15, 0, {1}},
};

/* Costs of a program of a schedule: `f`, `b` for a whole rank (of b, `w` for the
 * weights), activations of 1 byte a chunk from the start of forward to the end of
 * backward. */
static galv_cost *make_costs(const galv_program *program, double f, double b, double w,
                             double message_s, galv_arena *arena)
{
    galv_cost *costs = GALV_NEW_ARRAY(arena, galv_cost, program->n_classes);
    for (uint32_t i = 0; i < program->n_classes; i++) {
        switch (program->classes[i].kind) {
        case GALV_OP_FORWARD:
            costs[i].work_s = f / program->n_chunks;
            costs[i].start_bytes[GALV_MEMORY_ACTIVATIONS] = 1;
            break;
        case GALV_OP_BACKWARD:
            costs[i].work_s = b / program->n_chunks;
            costs[i].end_bytes[GALV_MEMORY_ACTIVATIONS] = -1;
            break;
        case GALV_OP_BACKWARD_INPUT:
            costs[i].work_s = b - w;
            break;
        case GALV_OP_BACKWARD_WEIGHT:
            costs[i].work_s = w;
            costs[i].end_bytes[GALV_MEMORY_ACTIVATIONS] = -1;
            break;
        case GALV_OP_SEND:
            costs[i].work_s = message_s;
            break;
        default:
            break;
        }
        costs[i].compute_slowdown = 1;
        costs[i].comm_slowdown = 1;
    }
    return costs;
}

static galv_sim_result run_split(const char *name, galv_schedule_shape shape, double f,
                                 double b, double w, double message_s,
                                 galv_arena *arena)
{
    galv_err err = GALV_ERR_INIT;
    const galv_schedule *schedule = NULL;
    galv_program *program = NULL;
    galv_sim_result result = {0};
    galv_sim_options options = GALV_SIM_OPTIONS_INIT;
    cr_assert_eq(galv_schedule_find(&schedule, name, &err), GALV_OK, "%s", err.message);
    cr_assert_eq(galv_program_from_schedule(&program, schedule, &shape, arena, &err),
                 GALV_OK, "%s", err.message);
    cr_assert_eq(galv_program_check(program, arena, &err), GALV_OK, "%s: %s", name,
                 err.message);
    galv_cost *costs = make_costs(program, f, b, w, message_s, arena);
    cr_assert_eq(galv_simulate(&result, program, costs, NULL, &options, arena, &err),
                 GALV_OK, "%s", err.message);
    return result;
}

static galv_sim_result run(const char *name, galv_schedule_shape shape, double f,
                           double b, double message_s, galv_arena *arena)
{
    return run_split(name, shape, f, b, b / 2, message_s, arena);
}

Test(sim_schedule_vectors, match_the_published_spans_idle_times_and_peaks)
{
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        const vector *want = &vectors[i];
        galv_arena *arena = galv_arena_new();
        galv_schedule_shape shape = {want->p, want->v, want->m, want->g, NULL};
        galv_sim_result result =
            run(want->schedule, shape, 1, 2, want->message_s, arena);
        cr_expect_float_eq(result.iteration_time_s, want->span, 1e-9,
                           "case %zu %s: span %.12g, not %.12g", i, want->schedule,
                           result.iteration_time_s, want->span);
        if (want->idle >= 0) {
            double idle = result.ranks[0].spent_s[GALV_BREAKDOWN_BUBBLE];
            cr_expect_float_eq(idle, want->idle, 1e-9, "case %zu %s: idle %.12g", i,
                               want->schedule, idle);
        }
        for (int32_t rank = 0; rank < want->p && want->peaks[0] > 0; rank++) {
            cr_expect_float_eq(result.ranks[rank].peak_bytes, want->peaks[rank], 1e-9,
                               "case %zu %s: peak of rank %d is %.12g, not %d", i,
                               want->schedule, (int)rank, result.ranks[rank].peak_bytes,
                               (int)want->peaks[rank]);
        }
        galv_arena_free(arena);
    }
}

Test(sim_schedule_vectors, zero_bubble_leaves_what_the_formula_says)
{
    /* f 1, i 1.25, w 0.75: ZB-H1 leaves (p - 1)(f + i - w) */
    static const struct {
        int32_t p, m;
        double h1, idle, h2;
    } cases[] = {{4, 8, 28.5, 4.5, 0}, {8, 32, 106.5, 10.5, 103}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        galv_arena *arena = galv_arena_new();
        galv_schedule_shape shape = {cases[i].p, 1, cases[i].m, 0, NULL};
        galv_sim_result h1 = run_split("zb-h1", shape, 1, 2, 0.75, 0, arena);
        galv_sim_result h2 = run_split("zb-h2", shape, 1, 2, 0.75, 0, arena);
        cr_expect_float_eq(h1.iteration_time_s, cases[i].h1, 1e-9, "%.12g",
                           h1.iteration_time_s);
        cr_expect_float_eq(h1.ranks[0].spent_s[GALV_BREAKDOWN_BUBBLE], cases[i].idle,
                           1e-9);
        if (cases[i].h2 > 0) {
            cr_expect_float_eq(h2.iteration_time_s, cases[i].h2, 1e-9, "%.12g",
                               h2.iteration_time_s);
        }
        galv_arena_free(arena);
    }
}

/* A small generator of our own, so that cases are the same everywhere. */
static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525U + 1013904223U;
    return *state >> 8;
}

Test(sim_schedule_vectors, match_the_closed_forms_for_random_shapes)
{
    uint32_t random = 7;
    for (int i = 0; i < 150; i++) {
        int32_t p = 1 + (int32_t)(next_random(&random) % 12);
        int32_t m = p + (int32_t)(next_random(&random) % 40);
        double f = 0.25 + next_random(&random) % 100 / 16.0;
        double b = 0.25 + next_random(&random) % 100 / 16.0;
        galv_arena *arena = galv_arena_new();
        galv_schedule_shape shape = {p, 1, m, 0, NULL};
        double want = (m + p - 1) * (f + b);
        double gpipe = run("gpipe", shape, f, b, 0, arena).iteration_time_s;
        galv_sim_result ofob = run("1f1b", shape, f, b, 0, arena);
        cr_expect_float_eq(gpipe, want, 1e-9 * want, "gpipe p%d m%d f%g b%g: %.12g", p,
                           m, f, b, gpipe);
        cr_expect_float_eq(ofob.iteration_time_s, want, 1e-9 * want,
                           "1f1b p%d m%d f%g b%g: %.12g", p, m, f, b,
                           ofob.iteration_time_s);
        for (int32_t rank = 0; rank < p; rank++) {
            cr_expect_float_eq(ofob.ranks[rank].peak_bytes, p - rank, 1e-9);
        }
        if (p > 1) {
            int32_t v = 2 + (int32_t)(next_random(&random) % 4);
            int32_t groups = 1 + (int32_t)(next_random(&random) % 5);
            galv_schedule_shape looped = {p, v, p * groups, 0, NULL};
            double inter = run("interleaved", looped, f, b, 0, arena).iteration_time_s;
            want = (p * groups + (double)(p - 1) / v) * (f + b);
            cr_expect_float_eq(inter, want, 1e-9 * want,
                               "interleaved p%d v%d m%d f%g b%g: %.12g not %.12g", p, v,
                               p * groups, f, b, inter, want);
        }
        galv_arena_free(arena);
    }
}

Test(sim_schedule_vectors, interleaving_runs_for_every_number_of_micro_batches)
{
    for (int32_t p = 2; p <= 8; p++) {
        for (int32_t v = 2; v <= 4; v++) {
            for (int32_t m = 1; m <= 2 * p + 3; m++) {
                for (int32_t g = p; g <= p + 3; g++) {
                    galv_arena *arena = galv_arena_new();
                    galv_schedule_shape shape = {p, v, m, g, NULL};
                    galv_sim_result result = run("interleaved", shape, 1, 2, 0, arena);
                    double least = 3.0 * m + 3.0 * (p - 1) / v;
                    cr_expect(result.iteration_time_s >= least - 1e-9,
                              "p%d v%d m%d g%d takes %g, less than %g", p, v, m, g,
                              result.iteration_time_s, least);
                    galv_arena_free(arena);
                }
            }
        }
    }
}

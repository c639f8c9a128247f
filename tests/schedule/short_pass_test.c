/* A shortened pass stands for the whole one. */
#include "plan/chunks.h"
#include "schedule/program.h"
#include "tests/schedule/small_job.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <string.h>

GALV_TEST_SUITE(schedule_short_pass);

/* Where in the whole pass the op is that one of the shortened pass waits for. `at` is
 * where the waiting one stands in the shortened pass, `copies` how many times the row
 * that it is of has been written out before. */
static int32_t written_out(const galv_pass_ops *ops, int32_t on, int32_t at,
                           int32_t copies)
{
    int32_t where = on;
    for (int32_t r = 0; on >= 0 && r < ops->n_repeats; r++) {
        const galv_pass_repeat *row = &ops->repeats[r];
        bool inside = at >= row->first_op && at < row->first_op + row->n_ops;
        bool after = at >= row->first_op + row->n_ops;
        if (on >= row->first_op - row->n_ops) {
            where += row->n_ops * (inside ? copies : after ? row->times : 0);
        }
    }
    return where;
}

static bool same_op(const galv_pass_ops *whole, int32_t i, const galv_pass_ops *ops,
                    int32_t at, int32_t copies)
{
    const galv_operation *a = &whole->ops[i];
    const galv_operation *b = &ops->ops[at];
    return i < whole->n_ops && a->kind == b->kind && a->stream == b->stream &&
           a->part == b->part && a->pass == b->pass && a->n_layers == b->n_layers &&
           whole->waits_for[i] == written_out(ops, ops->waits_for[at], at, copies) &&
           whole->also_waits_for[i] ==
               written_out(ops, ops->also_waits_for[at], at, copies);
}

/* How many ops agree, from the first on, when the rows are written out. */
static int32_t count_same(const galv_pass_ops *whole, const galv_pass_ops *ops)
{
    int32_t n = 0;
    int32_t r = 0;
    for (int32_t at = 0; at < ops->n_ops; at++) {
        if (!same_op(whole, n, ops, at, 0)) {
            return n;
        }
        n++;
        const galv_pass_repeat *row = &ops->repeats[r];
        if (r == ops->n_repeats || at + 1 < row->first_op + row->n_ops) {
            continue;
        }
        r++;
        for (int32_t i = 0; i < row->n_ops * row->times; i++) {
            if (!same_op(whole, n, ops, row->first_op + i % row->n_ops,
                         i / row->n_ops + 1)) {
                return n;
            }
            n++;
        }
    }
    return n;
}

typedef struct counts {
    uint32_t n_passes, n_shortened;
} counts;

static void compare_passes(counts *n, const galv_job *job, const galv_plan *plan,
                           galv_arena *arena)
{
    galv_err err = GALV_ERR_INIT;
    for (int32_t stage = 0; stage < plan->pp; stage++) {
        for (int32_t chunk = 0; chunk < galv_plan_n_chunks(plan); chunk++) {
            for (int pass = 0; pass < GALV_PASS_NONE; pass++) {
                galv_pass_ops whole, ops;
                cr_assert_eq(galv_program_pass(&whole, job, plan, stage, chunk, pass,
                                               arena, &err),
                             GALV_OK);
                cr_assert_eq(galv_program_pass_short(&ops, job, plan, stage, chunk,
                                                     pass, arena, &err),
                             GALV_OK);
                int32_t same = count_same(&whole, &ops);
                cr_expect_eq(same, whole.n_ops, "zero %d, pass %d: %d of %d ops",
                             (int)plan->strategies[0].zero, pass, (int)same,
                             (int)whole.n_ops);
                n->n_passes++;
                n->n_shortened += ops.n_ops < whole.n_ops;
            }
        }
    }
}

Test(schedule_short_pass, rows_written_out_are_the_whole_pass)
{
    static const int32_t degrees[][3] = {{1, 1, 1}, {2, 1, 1}, {1, 2, 1},
                                         {2, 2, 1}, {1, 1, 2}, {2, 1, 4}};
    counts n = {0, 0};
    for (size_t d = 0; d < sizeof degrees / sizeof degrees[0]; d++) {
        for (int bits = 0; bits < 16 * 4 * 3 * 3; bits++) {
            galv_overlap overlap = {bits & 1, bits >> 1 & 1, bits >> 2 & 1,
                                    bits >> 3 & 1, false};
            galv_strategy strategy = {degrees[d][0],
                                      degrees[d][1],
                                      degrees[d][2],
                                      16 / (degrees[d][0] * degrees[d][1]),
                                      (galv_sp)(bits / 64 % 3),
                                      bits / 16 % 4,
                                      (galv_recompute)(bits / 192 % 3)};
            int32_t pp = 1 << (bits % 5 % 3);
            galv_arena *arena = galv_arena_new();
            galv_err err = GALV_ERR_INIT;
            galv_plan *plan = NULL;
            galv_job job = small_job(GALV_LAYER_MOE_DECODER, 23, 16 * pp, 64);
            galv_uniform_plan parameters = {strategy, pp, 1, NULL, 1, overlap, NULL};
            if (galv_plan_make_uniform(&plan, &job, &parameters, arena, &err) ==
                GALV_OK) {
                compare_passes(&n, &job, plan, arena);
            }
            galv_arena_free(arena);
        }
    }
    cr_expect(n.n_passes > 1000 && n.n_shortened > n.n_passes / 4,
              "%u passes, %u shortened", n.n_passes, n.n_shortened);
}

Test(schedule_short_pass, rows_end_where_kind_or_strategy_changes)
{
    counts n = {0, 0};
    for (int32_t zero = 0; zero < 4; zero++) {
        for (int32_t change = 1; change < 40; change += 3) {
            galv_arena *arena = galv_arena_new();
            galv_err err = GALV_ERR_INIT;
            galv_plan *plan = NULL;
            galv_job job = small_job(GALV_LAYER_DECODER, 20, 8, 64);
            galv_strategy strategies[42];
            galv_uniform_plan parameters = {.pp = 1, .vpp = 1, .micro_batch_size = 1};
            galv_overlap overlap = GALV_OVERLAP_INIT;
            parameters.overlap = overlap;
            job.model.groups[3] = job.model.groups[2];
            job.model.groups[2] = small_group(GALV_LAYER_DECODER, 20);
            job.model.groups[2].ffn_hidden_size = 8192;
            job.model.n_groups = 4;
            for (int32_t layer = 0; layer < 42; layer++) {
                bool before = layer <= change;
                strategies[layer] = (galv_strategy){
                    before ? 2 : 4,     1, 1, before ? 4 : 2, GALV_SP_MEGATRON, zero,
                    GALV_RECOMPUTE_NONE};
            }
            cr_assert_eq(galv_plan_make_layered(&plan, &job, &parameters, strategies,
                                                arena, &err),
                         GALV_OK, "%s", err.message);
            compare_passes(&n, &job, plan, arena);
            galv_arena_free(arena);
        }
    }
    cr_expect(n.n_shortened > n.n_passes / 2, "%u of %u shortened", n.n_shortened,
              n.n_passes);
}

/* Every token of a micro-batch is held by as many ranks of a stage as the strategy
 * says, and gathered rows are the rows of the group, in order. */
#include "exec/layout.h"

#include "exec/parameters.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <string.h>

GALV_TEST_SUITE(exec_layout);

enum { SEQ = 48, SAMPLES = 12 };

static galv_place place_of(const galv_strategy *s, int32_t rank)
{
    galv_job job;
    galv_plan plan;
    galv_strategy strategy = *s;
    int32_t layer_strategy = 0;
    galv_place place;
    galv_err err = GALV_ERR_INIT;
    memset(&job, 0, sizeof job);
    memset(&plan, 0, sizeof plan);
    job.workload.seq_length = SEQ;
    plan.micro_batch_size = SAMPLES / s->dp;
    plan.n_layers = plan.n_strategies = 1;
    plan.strategies = &strategy;
    plan.layer_strategy = &layer_strategy;
    cr_assert_eq(galv_place_make(&place, &job, &plan, s, rank, &err), GALV_OK, "%s",
                 err.message);
    return place;
}

static void check(int32_t tp, int32_t cp, int32_t dp, galv_sp sp)
{
    galv_strategy s = GALV_STRATEGY_INIT;
    int holders[SAMPLES * SEQ] = {0};
    s.tp = tp;
    s.cp = cp;
    s.dp = dp;
    s.sp = sp;
    int want = sp == GALV_SP_NONE ? tp : 1;
    for (int32_t rank = 0; rank < tp * cp * dp; rank++) {
        galv_place p = place_of(&s, rank);
        cr_assert_eq(p.tp_index + tp * (p.cp_index + cp * p.dp_index), rank);
        for (int32_t i = 0; i < p.n_own_rows; i++) {
            int64_t token = galv_place_token(&p, p.first_row + i);
            cr_assert(token >= 0 && token < SAMPLES * SEQ);
            holders[token]++;
        }
        galv_place next = place_of(&s, rank - p.tp_index + (p.tp_index + 1) % tp);
        if (p.cuts_rows && p.tp_index + 1 < tp) {
            cr_expect_eq(next.first_row, p.first_row + p.n_own_rows,
                         "runs of rows follow one another");
        }
    }
    for (int i = 0; i < SAMPLES * SEQ; i++) {
        cr_expect_eq(holders[i], want, "token %d: %d holders, want %d", i, holders[i],
                     want);
    }
}

Test(exec_layout, every_token_is_held_as_often_as_the_strategy_says)
{
    static const int32_t degrees[][3] = {{1, 1, 1}, {2, 1, 1}, {4, 1, 3}, {1, 2, 1},
                                         {1, 4, 2}, {2, 2, 3}, {3, 4, 2}, {4, 3, 1}};
    for (size_t i = 0; i < sizeof degrees / sizeof degrees[0]; i++) {
        for (int sp = 0; sp < GALV_N_SPS; sp++) {
            check(degrees[i][0], degrees[i][1], degrees[i][2], (galv_sp)sp);
        }
    }
}

/* With causal attention the query at position p costs p + 1. */
Test(exec_layout, causal_attention_costs_all_context_parallel_ranks_alike)
{
    galv_strategy s = GALV_STRATEGY_INIT;
    s.cp = 4;
    for (int32_t rank = 0; rank < 4; rank++) {
        galv_place p = place_of(&s, rank);
        int64_t cost = 0;
        for (int32_t i = 0; i < p.n_positions; i++) {
            cost += galv_place_position(&p, rank, i) + 1;
        }
        cr_expect_eq(cost, SEQ * (SEQ + 1) / 2 / 4);
    }
}

Test(exec_layout, samples_that_do_not_divide_are_refused)
{
    galv_job job;
    galv_plan plan;
    galv_place place;
    galv_err err = GALV_ERR_INIT;
    galv_strategy strategy = GALV_STRATEGY_INIT;
    int32_t layer_strategy = 0;
    memset(&job, 0, sizeof job);
    memset(&plan, 0, sizeof plan);
    job.workload.seq_length = SEQ;
    plan.micro_batch_size = 3;
    plan.n_layers = plan.n_strategies = 1;
    plan.strategies = &strategy;
    plan.layer_strategy = &layer_strategy;
    galv_strategy other = strategy;
    other.dp = 2;
    cr_expect_eq(galv_place_make(&place, &job, &plan, &other, 0, &err), GALV_USAGE);
}

/* A box of rows and columns, asked for in runs that end anywhere, has the values that
 * the whole tensor has there; the first of them are written down, so that a run that is
 * begun again by a later version begins alike. */
Test(exec_layout, first_values_are_those_of_the_whole_tensor)
{
    galv_tensor whole = {.id = GALV_TENSOR_UP,
                         .layer = 3,
                         .rows = 7,
                         .cols = 10,
                         .n_rows = 7,
                         .n_cols = 10};
    galv_tensor box = whole;
    box.first_row = 2;
    box.n_rows = 4;
    box.first_col = 5;
    box.n_cols = 3;
    float all[70], part[12];
    galv_tensor_first_values(all, &whole, 0, 70, 1);
    for (int64_t done = 0; done < 12; done += 4) {
        galv_tensor_first_values(part + done, &box, done, 4, 1);
    }
    for (int i = 0; i < 12; i++) {
        cr_expect_eq(part[i], all[(2 + i / 3) * 10 + 5 + i % 3], "value %d", i);
    }
    cr_expect_float_eq(all[0], -0.485374987F, 1e-9);
    cr_expect_float_eq(all[69], -0.373700976F, 1e-9);
}

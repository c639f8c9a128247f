#include "accuracy/follow.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <string.h>

GALV_TEST_SUITE(follow);

static galv_span span_of(int32_t rank, int32_t stage, galv_op_kind kind, double start_s,
                         double end_s)
{
    return (galv_span){.rank = rank,
                       .stage = stage,
                       .kind = (uint8_t)kind,
                       .stream = kind == GALV_OP_FORWARD || kind == GALV_OP_BACKWARD
                                     ? GALV_STREAM_COMPUTE
                                     : GALV_STREAM_TP,
                       .start_s = start_s,
                       .end_s = end_s};
}

/* Two ranks: rank 1 computes three times as slowly as predicted and gathers four times
 * as slowly; rank 0 waits for it in the gather, which is no gather. */
Test(follow, the_slowest_computes_and_the_least_waiting_communicates)
{
    galv_err err = GALV_ERR_INIT;
    galv_followed f;
    galv_span there[] = {
        span_of(0, 0, GALV_OP_FORWARD, 0, 1), span_of(0, 0, GALV_OP_ALL_GATHER, 1, 5),
        span_of(1, 0, GALV_OP_FORWARD, 0, 3), span_of(1, 0, GALV_OP_ALL_GATHER, 3, 5)};
    galv_span here[] = {span_of(0, 0, GALV_OP_FORWARD, 0, 1),
                        span_of(0, 0, GALV_OP_ALL_GATHER, 1, 1.5)};
    galv_timeline measured = {.spans = there, .n_spans = 4};
    galv_timeline predicted = {.spans = here, .n_spans = 2};
    cr_assert_eq(galv_follow_timelines(&f, &measured, &predicted, &err), GALV_OK);
    cr_expect_float_eq(f.kind[GALV_OP_FORWARD], 3, 1e-12);
    cr_expect_float_eq(f.kind[GALV_OP_ALL_GATHER], 4, 1e-12);
    /* what the plan does not use goes like what is like it */
    cr_expect_float_eq(f.kind[GALV_OP_BACKWARD], 3, 1e-12);
    cr_expect_float_eq(f.kind[GALV_OP_SEND], 4, 1e-12);
    cr_expect_float_eq(f.communication, 4, 1e-12);
}

Test(follow, rows_are_scaled_by_what_they_are_of)
{
    galv_profile *profile = galv_profile_new();
    galv_followed f = {.computation = 1, .communication = 1};
    galv_err err = GALV_ERR_INIT;
    galv_profile_row row;
    memset(&row, 0, sizeof row);
    for (int kind = 0; kind < GALV_N_OP_KINDS; kind++) {
        f.kind[kind] = kind + 1;
    }
    strcpy(row.device, "a100-sxm-80gb");
    row.precision = GALV_BF16;
    row.kind = GALV_PROFILE_COMPUTE;
    strcpy(row.layer, "decoder");
    row.phase = GALV_OP_BACKWARD;
    row.hidden_size = row.seq_length = 1024;
    row.micro_batch_size = 1;
    row.tp = row.cp = 1;
    row.time_s = 1;
    cr_assert_eq(galv_profile_add(profile, &row, &err), GALV_OK, "%s", err.message);
    row.kind = GALV_PROFILE_COLLECTIVE;
    row.precision = -1;
    strcpy(row.op, "send_recv");
    row.ranks = 2;
    row.message_bytes = 1e9;
    cr_assert_eq(galv_profile_add(profile, &row, &err), GALV_OK, "%s", err.message);
    strcpy(row.op, "all_gather");
    cr_assert_eq(galv_profile_add(profile, &row, &err), GALV_OK, "%s", err.message);
    galv_follow_profile(profile, &f);
    cr_expect_float_eq(profile->rows[0].time_s, GALV_OP_BACKWARD + 1, 1e-12);
    cr_expect_float_eq(profile->rows[1].time_s, GALV_OP_SEND + 1, 1e-12);
    cr_expect_float_eq(profile->rows[2].time_s, GALV_OP_ALL_GATHER + 1, 1e-12);
    galv_profile_free(profile);
}

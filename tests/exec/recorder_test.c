#include "exec/trainer_internal.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <string.h>

GALV_TEST_SUITE(exec_recorder);

static void add(galv_recorder *r, galv_span *spans, const galv_operation *o, int32_t mb,
                double start_s, double end_s)
{
    memset(&spans[r->n_spans], 0, sizeof *spans);
    spans[r->n_spans].stream = o->stream;
    spans[r->n_spans].kind = o->kind;
    spans[r->n_spans].start_s = start_s;
    spans[r->n_spans].end_s = end_s;
    galv_recorder_add(r, o, mb, 0, 0, 0);
}

Test(exec_recorder, an_operation_begins_with_its_first_piece_that_does_something)
{
    galv_recorder r;
    galv_span spans[8];
    galv_operation forward = {.kind = GALV_OP_FORWARD, .stream = GALV_STREAM_COMPUTE};
    galv_operation step = {.kind = GALV_OP_OPTIMIZER, .stream = GALV_STREAM_COMPUTE};
    galv_operation gather = {.kind = GALV_OP_ALL_GATHER, .stream = GALV_STREAM_TP};
    galv_recorder_init(&r, NULL);
    add(&r, spans, &forward, 0, 0, 1e-7);    /* waits for the gather: left out */
    add(&r, spans, &gather, 0, 1e-7, 2e-7);  /* short, but a communication */
    add(&r, spans, &forward, 0, 1e-3, 2e-3); /* the work */
    add(&r, spans, &forward, 0, 3e-3, 3e-3); /* empty, and no more of it */
    add(&r, spans, &forward, 1, 4e-3, 4e-3); /* another micro-batch, alone */
    add(&r, spans, &step, -1, 5e-3, 6e-3);
    cr_assert_eq(galv_recorder_drop_empty(&r, spans), 5);
    cr_expect_eq(spans[0].stream, GALV_STREAM_TP);
    cr_expect_float_eq(spans[1].start_s, 1e-3, 1e-12);
    cr_expect_eq(spans[4].kind, GALV_OP_OPTIMIZER);
    galv_recorder_release(&r);
}

/* Two ranks send parts of one message, at 3 and 4; it is waited for since 1. */
Test(exec_recorder, a_receive_begins_when_its_message_is_sent)
{
    galv_err err = GALV_ERR_INIT;
    galv_span spans[] = {
        {.stream = GALV_STREAM_PP_SEND,
         .kind = GALV_OP_SEND,
         .pass = GALV_OP_FORWARD,
         .first_layer = 1,
         .n_layers = 2,
         .start_s = 4,
         .end_s = 6},
        {.stream = GALV_STREAM_PP_SEND,
         .kind = GALV_OP_SEND,
         .pass = GALV_OP_FORWARD,
         .first_layer = 1,
         .n_layers = 2,
         .start_s = 3,
         .end_s = 6},
        {.stream = GALV_STREAM_PP_RECV,
         .kind = GALV_OP_RECV,
         .pass = GALV_OP_FORWARD,
         .first_layer = 3,
         .n_layers = 4,
         .start_s = 1,
         .end_s = 6},
        /* back over the same boundary: sent while it is awaited, and before */
        {.stream = GALV_STREAM_PP_SEND,
         .kind = GALV_OP_SEND,
         .pass = GALV_OP_BACKWARD,
         .first_layer = 3,
         .n_layers = 4,
         .start_s = 8,
         .end_s = 9},
        {.stream = GALV_STREAM_PP_RECV,
         .kind = GALV_OP_RECV,
         .pass = GALV_OP_BACKWARD,
         .first_layer = 1,
         .n_layers = 2,
         .start_s = 6,
         .end_s = 7.5}, /* clocks a little apart */
        {.stream = GALV_STREAM_PP_RECV,
         .kind = GALV_OP_RECV,
         .pass = GALV_OP_FORWARD,
         .first_layer = 3,
         .n_layers = 4,
         .micro_batch = 1,
         .start_s = 1,
         .end_s = 6}, /* of a send that is not here */
    };
    galv_timeline t = {.spans = spans, .n_spans = sizeof spans / sizeof spans[0]};
    cr_assert_eq(galv_timeline_trim_messages(&t, false, &err), GALV_OK);
    cr_expect_float_eq(spans[2].start_s, 3, 1e-12);
    cr_expect_float_eq(spans[4].start_s, 7.5, 1e-12);
    cr_expect_float_eq(spans[5].start_s, 1, 1e-12);
    cr_expect_float_eq(spans[0].start_s, 4, 1e-12);
}

/* Rank 0 sends at 2 and computes until 9; rank 1 awaits it from 1 on, but computes from
 * 3 to 5, and it is there at 6. A second message, of another replica, is alone. */
Test(exec_recorder, a_message_moves_while_both_ranks_look_after_it)
{
    const galv_span begun[] = {
        {.stream = GALV_STREAM_PP_SEND,
         .kind = GALV_OP_SEND,
         .pass = GALV_OP_FORWARD,
         .n_layers = 2,
         .start_s = 2,
         .end_s = 9},
        {.stream = GALV_STREAM_PP_RECV,
         .kind = GALV_OP_RECV,
         .rank = 1,
         .pass = GALV_OP_FORWARD,
         .first_layer = 2,
         .n_layers = 2,
         .start_s = 1,
         .end_s = 6},
        {.stream = GALV_STREAM_COMPUTE,
         .kind = GALV_OP_FORWARD,
         .start_s = 2,
         .end_s = 9},
        {.stream = GALV_STREAM_COMPUTE,
         .kind = GALV_OP_BACKWARD,
         .rank = 1,
         .start_s = 3,
         .end_s = 5},
        {.stream = GALV_STREAM_COMPUTE,
         .kind = GALV_OP_BACKWARD,
         .rank = 1,
         .start_s = 6,
         .end_s = 8},
        {.stream = GALV_STREAM_PP_SEND,
         .kind = GALV_OP_SEND,
         .rank = 2,
         .pass = GALV_OP_FORWARD,
         .n_layers = 2,
         .start_s = 3,
         .end_s = 4},
        {.stream = GALV_STREAM_PP_RECV,
         .kind = GALV_OP_RECV,
         .rank = 3,
         .pass = GALV_OP_FORWARD,
         .first_layer = 2,
         .n_layers = 2,
         .start_s = 3.5,
         .end_s = 7},
    };
    galv_err err = GALV_ERR_INIT;
    galv_span spans[7];
    memcpy(spans, begun, sizeof begun);
    galv_timeline t = {.spans = spans, .n_spans = 7};
    cr_assert_eq(galv_timeline_trim_messages(&t, true, &err), GALV_OK);
    cr_expect_float_eq(spans[0].start_s, 5, 1e-12);
    cr_expect_float_eq(spans[0].end_s, 6, 1e-12);
    cr_expect_float_eq(spans[1].start_s, 5, 1e-12);
    cr_expect_float_eq(spans[1].end_s, 6, 1e-12);
    cr_expect_float_eq(spans[5].start_s, 3.5, 1e-12);
    cr_expect_float_eq(spans[5].end_s, 4, 1e-12);
    cr_expect_float_eq(spans[6].start_s, 3.5, 1e-12);
    /* where a device moves messages while it computes */
    memcpy(spans, begun, sizeof begun);
    cr_assert_eq(galv_timeline_trim_messages(&t, false, &err), GALV_OK);
    cr_expect_float_eq(spans[0].start_s, 2, 1e-12);
    cr_expect_float_eq(spans[0].end_s, 6, 1e-12);
    cr_expect_float_eq(spans[1].start_s, 2, 1e-12);
}

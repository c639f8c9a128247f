/* Memory, order and traffic of the host backend, and the experts' kernels. */
#include "tests/exec/support.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

GALV_TEST_SUITE(exec_device);

static const galv_stream on = GALV_STREAM_COMPUTE;

Test(exec_device, memory_is_counted_rounded_up_and_the_peak_kept)
{
    device d = device_open();
    void *a = d.b->allocate(d.b, 1);
    void *b = d.b->allocate(d.b, 257);
    cr_expect_eq(d.b->allocated_bytes(d.b), 256 + 512);
    d.b->release(d.b, a, on);
    cr_expect_eq(d.b->allocated_bytes(d.b), 512);
    cr_expect_eq(d.b->peak_bytes(d.b), 768);
    d.b->reset_peak(d.b);
    cr_expect_eq(d.b->peak_bytes(d.b), 512);
    void *c = d.b->allocate(d.b, 0);
    cr_expect_not_null(c);
    cr_expect_eq(d.b->peak_bytes(d.b), 768);
    d.b->release(d.b, b, on);
    d.b->release(d.b, c, on);
    d.b->release(d.b, NULL, on);
    cr_expect_gt(d.b->device_used_bytes(d.b), 1 << 20);
    device_close(&d);
}

Test(exec_device, too_much_memory_is_an_error_that_sticks)
{
    device d = device_open();
    float *x = put_all(&d, 1, 3);
    cr_expect_null(d.b->allocate(d.b, SIZE_MAX - 5));
    galv_err err = GALV_ERR_INIT;
    cr_expect_eq(d.b->status(d.b, &err), GALV_NO_MEMORY);
    cr_expect_str_eq(err.message, "out of memory");
    cr_expect_null(d.b->allocate(d.b, 8), "nothing is done after an error");
    float kept[3] = {7, 7, 7};
    d.b->download(d.b, kept, x, 3, GALV_FLOAT32);
    cr_expect_eq(kept[0], 7.0F, "nothing is done after an error");
    d.b->release(d.b, x, on);
    d.b->free(d.b);
    galv_world_free(d.world);
}

Test(exec_device, events_of_computation_are_in_order)
{
    device d = device_open();
    d.b->reset_events(d.b);
    double last_s = 0;
    for (int i = 0; i < 1000; i++) {
        galv_event event = d.b->record(d.b, on);
        d.b->wait(d.b, GALV_STREAM_DP, event);
        cr_assert_eq(event, i);
        double time_s = d.b->event_time_s(d.b, event);
        cr_expect(time_s >= last_s);
        last_s = time_s;
    }
    d.b->reset_events(d.b);
    cr_expect_eq(d.b->record(d.b, on), 0, "events are counted anew");
    device_close(&d);
}

Test(exec_device, a_wait_for_nothing_is_an_error_not_a_hang)
{
    device d = device_open();
    d.b->wait(d.b, on, 3);
    galv_err err = GALV_ERR_INIT;
    cr_expect_eq(d.b->status(d.b, &err), GALV_INTERNAL);
    d.b->free(d.b);
    galv_world_free(d.world);
}

Test(exec_device, a_communicator_of_one_rank_copies)
{
    device d = device_open();
    galv_comm *alone = d.b->comm_new(d.b, (int32_t[]){0}, 1);
    cr_assert_not_null(alone);
    double x[600];
    fill_random(x, 600, 1);
    float *in = put(&d, x, 600);
    float *out = put_all(&d, NAN, 600);
    d.b->all_gather(d.b, GALV_STREAM_DP, alone, out, in, 600, GALV_ELEMENT);
    expect_close("all_gather", &d, out, x, 600, 0);
    d.b->fill_zero(d.b, on, out, 600 * sizeof *out);
    d.b->reduce_scatter(d.b, GALV_STREAM_DP, alone, out, in, 600, GALV_FLOAT32);
    d.b->all_reduce(d.b, GALV_STREAM_DP, alone, out, 600, GALV_FLOAT32, GALV_SUM);
    d.b->broadcast(d.b, GALV_STREAM_DP, alone, out, 600, GALV_FLOAT32, 0);
    expect_close("reduce_scatter", &d, out, x, 600, 0);
    d.b->fill_zero(d.b, on, out, 600 * sizeof *out);
    static const int64_t begin[2] = {0, 600};
    d.b->all_to_all(d.b, GALV_STREAM_EP, alone, out, begin, in, begin, GALV_ELEMENT);
    expect_close("all_to_all", &d, out, x, 600, 0);
    d.b->comm_free(d.b, alone);
    cr_expect_null(d.b->comm_new(d.b, (int32_t[]){1}, 1), "this rank is not in it");
    galv_err err = GALV_ERR_INIT;
    cr_expect_eq(d.b->status(d.b, &err), GALV_INTERNAL);
    give_back(&d, in);
    give_back(&d, out);
    d.b->free(d.b);
    galv_world_free(d.world);
}

Test(exec_device, rows_are_gathered_and_added_by_index)
{
    device d = device_open();
    float *x = put(&d, (double[]){1, 2, 3, 4, 5, 6}, 6);
    int32_t *index = put_int(&d, (int32_t[]){2, -1, 0, 2}, 4);
    float *out = put_all(&d, NAN, 8);
    d.b->gather_rows(d.b, on, out, x, index, 4, 2, GALV_ELEMENT);
    expect_close("gathered", &d, out, (double[]){5, 6, 0, 0, 1, 2, 5, 6}, 8, 0);
    float *sum = put_all(&d, 10, 6);
    float *rows = put(&d, (double[]){1, 2, 3, 4, 5, 6, 7, 8}, 8);
    d.b->scatter_add_rows(d.b, on, sum, rows, index, 4, 2, GALV_FLOAT32);
    expect_close("added", &d, sum, (double[]){15, 16, 10, 10, 18, 20}, 6, 0);
    give_back(&d, x);
    give_back(&d, index);
    give_back(&d, out);
    give_back(&d, sum);
    give_back(&d, rows);
    device_close(&d);
}

Test(exec_device, element_wise_sums_and_copies)
{
    device d = device_open();
    galv_backend *b = d.b;
    float *x = put(&d, (double[]){1, 2, 3, 4, 5, 6}, 6);
    float *y = put(&d, (double[]){10, 20, 30}, 3);
    b->add_bias(b, on, x, y, 2, 3);
    expect_close("add_bias", &d, x, (double[]){11, 22, 33, 14, 25, 36}, 6, 0);
    b->bias_gradient(b, on, y, x, 2, 3);
    expect_close("bias_gradient", &d, y, (double[]){35, 67, 99}, 3, 0);
    b->scale(b, on, y, 3, GALV_ELEMENT, 2);
    b->accumulate(b, on, y, x, GALV_ELEMENT, 3);
    expect_close("accumulate", &d, y, (double[]){81, 156, 231}, 3, 0);
    b->add(b, on, x, x, x + 3, 3);
    expect_close("add", &d, x, (double[]){25, 47, 69, 14, 25, 36}, 6, 0);
    b->copy_columns(b, on, x + 1, 3, y, 1, 2, 1, GALV_ELEMENT);
    expect_close("copy_columns", &d, x, (double[]){25, 81, 69, 14, 156, 36}, 6, 0);
    float *squares = put_all(&d, 1, 1);
    b->sum_squares(b, on, squares, x, 6);
    expect_close("sum_squares", &d, squares,
                 (double[]){1 + 625 + 6561 + 4761 + 196 + 24336 + 1296}, 1, 0);
    int32_t *whole = put_int(&d, (int32_t[]){-3, 7}, 2);
    b->convert(b, on, y, GALV_FLOAT32, whole, GALV_INT32, 2);
    b->copy(b, on, y + 2, x, sizeof *x);
    expect_close("convert", &d, y, (double[]){-3, 7, 25}, 3, 0);
    give_back(&d, x);
    give_back(&d, y);
    give_back(&d, squares);
    give_back(&d, whole);
    device_close(&d);
}

/* ---- experts ---- */

enum { TOKENS = 4, EXPERTS = 5, TOPK = 2, WIDTH = 3 };

typedef struct routed {
    double logits[TOKENS * EXPERTS], dweights[TOKENS * TOPK];
    double weights[TOKENS * TOPK];
    int32_t experts[TOKENS * TOPK];
} routed;

/* The two largest by looking at all pairs; returns the sum of weights * dweights. */
static double naive_route(void *state)
{
    routed *r = state;
    double loss = 0;
    for (int row = 0; row < TOKENS; row++) {
        const double *x = r->logits + row * EXPERTS;
        for (int expert = 0; expert < EXPERTS; expert++) {
            int n_before = 0;
            for (int other = 0; other < EXPERTS; other++) {
                n_before +=
                    x[other] > x[expert] || (x[other] == x[expert] && other < expert);
            }
            if (n_before < TOPK) {
                r->experts[row * TOPK + n_before] = expert;
            }
        }
        double a = exp(x[r->experts[row * TOPK]]);
        double b = exp(x[r->experts[row * TOPK + 1]]);
        r->weights[row * TOPK] = a / (a + b);
        r->weights[row * TOPK + 1] = b / (a + b);
        for (int k = 0; k < TOPK; k++) {
            loss += r->weights[row * TOPK + k] * r->dweights[row * TOPK + k];
        }
    }
    return loss;
}

Test(exec_device, router_takes_the_largest_with_their_softmax_and_gradient)
{
    routed r;
    fill_random(r.logits, TOKENS * EXPERTS, 1);
    fill_random(r.dweights, TOKENS * TOPK, 2);
    naive_route(&r);
    device d = device_open();
    float *logits = put(&d, r.logits, TOKENS * EXPERTS);
    float *dweights = put(&d, r.dweights, TOKENS * TOPK);
    int32_t *experts = d.b->allocate(d.b, sizeof r.experts);
    float *weights = put_all(&d, NAN, TOKENS * TOPK);
    float *dlogits = put_all(&d, NAN, TOKENS * EXPERTS);
    d.b->route(d.b, on, experts, weights, logits, TOKENS, EXPERTS, TOPK);
    d.b->route_backward(d.b, on, dlogits, dweights, experts, weights, TOKENS, EXPERTS,
                        TOPK);
    int32_t chosen[TOKENS * TOPK];
    d.b->download(d.b, chosen, experts, TOKENS * TOPK, GALV_INT32);
    cr_expect_arr_eq(chosen, r.experts, sizeof chosen);
    expect_close("weights", &d, weights, r.weights, TOKENS * TOPK, 1e-6);
    expect_gradient("dlogits", &d, dlogits, naive_route, &r, r.logits,
                    TOKENS * EXPERTS);
    /* ties go to the lower index */
    float *flat = put_all(&d, 0.5, EXPERTS);
    d.b->route(d.b, on, experts, weights, flat, 1, EXPERTS, TOPK);
    d.b->download(d.b, chosen, experts, TOPK, GALV_INT32);
    cr_expect(chosen[0] == 0 && chosen[1] == 1);
    void *all[] = {logits, dweights, experts, weights, dlogits, flat};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        give_back(&d, all[i]);
    }
    device_close(&d);
}

typedef struct combined {
    double in[TOKENS * TOPK * WIDTH], weights[TOKENS * TOPK], dout[TOKENS * WIDTH];
    double out[TOKENS * WIDTH];
    const int32_t *place;
} combined;

static double naive_combine(void *state)
{
    combined *c = state;
    double loss = 0;
    for (int row = 0; row < TOKENS; row++) {
        for (int col = 0; col < WIDTH; col++) {
            double sum = 0;
            for (int k = 0; k < TOPK; k++) {
                int32_t place = c->place[row * TOPK + k];
                sum += place < 0
                           ? 0
                           : c->weights[row * TOPK + k] * c->in[place * WIDTH + col];
            }
            c->out[row * WIDTH + col] = sum;
            loss += sum * c->dout[row * WIDTH + col];
        }
    }
    return loss;
}

Test(exec_device, experts_answers_are_combined_with_their_gradients)
{
    static const int32_t place[TOKENS * TOPK] = {3, 0, 1, -1, 6, 2, 5, 4};
    combined c = {.place = place};
    fill_random(c.in, TOKENS * TOPK * WIDTH, 1);
    fill_random(c.weights, TOKENS * TOPK, 2);
    fill_random(c.dout, TOKENS * WIDTH, 3);
    naive_combine(&c);
    device d = device_open();
    float *in = put(&d, c.in, TOKENS * TOPK * WIDTH);
    float *weights = put(&d, c.weights, TOKENS * TOPK);
    float *dout = put(&d, c.dout, TOKENS * WIDTH);
    int32_t *places = put_int(&d, place, TOKENS * TOPK);
    float *out = put_all(&d, NAN, TOKENS * WIDTH);
    float *din = put_all(&d, 0, TOKENS * TOPK * WIDTH);
    float *dweights = put_all(&d, NAN, TOKENS * TOPK);
    d.b->combine(d.b, on, out, in, places, weights, TOKENS, TOPK, WIDTH);
    d.b->combine_backward(d.b, on, din, dweights, dout, in, places, weights, TOKENS,
                          TOPK, WIDTH);
    expect_close("out", &d, out, c.out, TOKENS * WIDTH, 1e-6);
    expect_gradient("din", &d, din, naive_combine, &c, c.in, TOKENS * TOPK * WIDTH);
    expect_gradient("dweights", &d, dweights, naive_combine, &c, c.weights,
                    TOKENS * TOPK);
    void *all[] = {in, weights, dout, places, out, din, dweights};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        give_back(&d, all[i]);
    }
    device_close(&d);
}

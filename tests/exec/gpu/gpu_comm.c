/* Memory and order on the device, and collectives of all ranks against closed forms:
 * values are small whole numbers, so sums are exact in bf16 too. */
#include "tests/exec/gpu/gpu_check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- memory and order ---- */

void check_memory(check *c)
{
    galv_backend *b = c->b[GPU];
    size_t before = b->allocated_bytes(b);
    void *small = b->allocate(b, 1);
    void *large = b->allocate(b, (size_t)64 << 20);
    claim(c, b->allocated_bytes(b) - before == 256 + ((size_t)64 << 20),
          "memory is counted, rounded up to 256");
    b->release(b, small, on);
    b->release(b, large, on);
    claim(c, b->allocated_bytes(b) == before && b->peak_bytes(b) > before,
          "memory given back is counted, the peak kept");
    claim(c,
          b->device_bytes == 0 || (b->device_used_bytes(b) > 0 &&
                                   b->device_bytes > b->device_used_bytes(b)),
          "%s has %.1f GiB, %.2f used", b->device, (double)b->device_bytes / (1 << 30),
          (double)b->device_used_bytes(b) / (1 << 30));
    b->reset_events(b);
    galv_event first = b->record(b, on);
    void *data = b->allocate(b, (size_t)256 << 20);
    b->fill_zero(b, on, data, (size_t)256 << 20);
    galv_event last = b->record(b, on);
    b->wait(b, GALV_STREAM_DP, last);
    galv_event later = b->record(b, GALV_STREAM_DP);
    b->release(b, data, on);
    b->synchronize(b);
    double a = b->event_time_s(b, first);
    double m = b->event_time_s(b, last);
    double z = b->event_time_s(b, later);
    claim(c, a >= 0 && m > a && z >= m, "events are in order: %.6f, %.6f, %.6f s", a, m,
          z);
}

/* A block passes from stream to stream without an event of ours: every time the new
 * owner must come after the old one. */
static void check_passing(check *c)
{
    enum { ROUNDS = 50 };
    const size_t n = c->small ? 1 << 13 : 4 << 20;
    galv_backend *b = c->b[GPU];
    float *ones = malloc(n * sizeof *ones);
    float *sum = b->allocate(b, n * sizeof *sum);
    double wrong = 0;
    for (size_t i = 0; i < n && ones != NULL; i++) {
        ones[i] = 1;
    }
    float *filled = b->allocate(b, n * sizeof *filled);
    b->upload(b, filled, ones, n, GALV_FLOAT32);
    b->fill_zero(b, on, sum, n * sizeof *sum);
    for (int round = 0; round < ROUNDS; round++) {
        float *x = b->allocate(b, n * sizeof *x);
        galv_stream other = (galv_stream)(round % GALV_N_STREAMS);
        b->fill_zero(b, other, x, n * sizeof *x);
        b->wait(b, on, b->record(b, other));
        b->accumulate(b, on, sum, x, GALV_FLOAT32, n); /* zeros */
        b->copy(b, on, x, filled, n * sizeof *x);      /* what the next must not find */
        b->release(b, x, on);
    }
    b->synchronize(b);
    b->download(b, ones, sum, n, GALV_FLOAT32);
    for (size_t i = 0; i < n && ones != NULL; i++) {
        wrong += ones[i] != 0;
    }
    b->release(b, filled, on);
    b->release(b, sum, on);
    free(ones);
    claim(c, wrong == 0, "memory passes from stream to stream, %d times", (int)ROUNDS);
}

/* ---- collectives ---- */

static double value(int32_t rank, size_t i)
{
    return (double)((size_t)rank * 7 + i) - 13 * (double)(((size_t)rank * 7 + i) / 13) -
           6;
}

static void *put(galv_backend *b, int32_t rank, size_t first, size_t n,
                 galv_element type)
{
    void *host = malloc(n * 4 + 4);
    void *device = b->allocate(b, n * 4);
    for (size_t i = 0; host != NULL && i < n; i++) {
        if (type == GALV_INT32) {
            ((int32_t *)host)[i] = (int32_t)value(rank, first + i);
        } else {
            ((float *)host)[i] = (float)value(rank, first + i);
        }
    }
    if (host != NULL && device != NULL) {
        b->upload(b, device, host, n, type);
    }
    free(host);
    return device;
}

typedef double expectation(const check *c, size_t i, size_t n, int32_t n_ranks);

static double sum_of_all(const check *c, size_t i, size_t n, int32_t n_ranks)
{
    (void)c;
    (void)n;
    double sum = 0;
    for (int32_t rank = 0; rank < n_ranks; rank++) {
        sum += value(rank, i);
    }
    return sum;
}

static double greatest_of_all(const check *c, size_t i, size_t n, int32_t n_ranks)
{
    (void)c;
    (void)n;
    double most = value(0, i);
    for (int32_t rank = 1; rank < n_ranks; rank++) {
        most = fmax(most, value(rank, i));
    }
    return most;
}

static double gathered(const check *c, size_t i, size_t n, int32_t n_ranks)
{
    (void)c;
    (void)n_ranks;
    return value((int32_t)(i / n), i % n);
}

static double sum_of_mine(const check *c, size_t i, size_t n, int32_t n_ranks)
{
    return sum_of_all(c, (size_t)c->b[GPU]->rank * n + i, n, n_ranks);
}

static double of_last(const check *c, size_t i, size_t n, int32_t n_ranks)
{
    (void)c;
    (void)n;
    return value(n_ranks - 1, i);
}

/* Rank r sends to all the part of its values that is theirs. */
static double exchanged(const check *c, size_t i, size_t n, int32_t n_ranks)
{
    (void)n_ranks;
    return value((int32_t)(i / n), (size_t)c->b[GPU]->rank * n + i % n);
}

static double of_partner(const check *c, size_t i, size_t n, int32_t n_ranks)
{
    (void)n;
    (void)n_ranks;
    return value(c->b[GPU]->rank ^ 1, i);
}

/* Holds `count` values of the device against what is expected, and gives them back. */
static void expect(check *c, const char *what, void *device, size_t count, size_t n,
                   galv_element type, expectation *want)
{
    galv_backend *b = c->b[GPU];
    void *host = malloc(count * 4 + 4);
    size_t n_wrong = 0;
    galv_err err = GALV_ERR_INIT;
    b->synchronize(b);
    b->download(b, host, device, count, type);
    for (size_t i = 0; host != NULL && i < count; i++) {
        double had =
            type == GALV_INT32 ? ((int32_t *)host)[i] : (double)((float *)host)[i];
        n_wrong += had != want(c, i, n, b->n_ranks);
    }
    b->release(b, device, on);
    free(host);
    bool good = b->status(b, &err) == GALV_OK && n_wrong == 0;
    claim(c, good, "%s, type %d, %zu values on %d ranks%s%s", what, (int)type, n,
          (int)b->n_ranks, good ? "" : ": wrong ", err.message);
}

static void check_type(check *c, galv_comm *all, size_t n, galv_element type)
{
    galv_backend *b = c->b[GPU];
    galv_stream tp = GALV_STREAM_TP;
    int32_t me = b->rank;
    size_t ranks = (size_t)b->n_ranks;
    int64_t begin[1025];
    void *x = put(b, me, 0, n, type);
    b->all_reduce(b, tp, all, x, n, type, GALV_SUM);
    expect(c, "all_reduce", x, n, n, type, sum_of_all);
    x = put(b, me, 0, n, type);
    b->all_reduce(b, tp, all, x, n, type, GALV_MAX);
    expect(c, "all_reduce, maximum", x, n, n, type, greatest_of_all);
    x = put(b, me, 0, n, type);
    void *out = put(b, 0, 0, n * ranks, type);
    b->all_gather(b, tp, all, out, x, n, type);
    expect(c, "all_gather", out, n * ranks, n, type, gathered);
    b->broadcast(b, tp, all, x, n, type, b->n_ranks - 1);
    expect(c, "broadcast", x, n, n, type, of_last);
    x = put(b, me, 0, n * ranks, type);
    out = put(b, 0, 0, n, type);
    b->reduce_scatter(b, tp, all, out, x, n, type);
    expect(c, "reduce_scatter", out, n, n, type, sum_of_mine);
    for (size_t i = 0; i <= ranks && ranks <= 1024; i++) {
        begin[i] = (int64_t)(i * n);
    }
    out = put(b, 0, 0, n * ranks, type);
    b->all_to_all(b, tp, all, out, begin, x, begin, type);
    expect(c, "all_to_all", out, n * ranks, n, type, exchanged);
    b->release(b, x, on);
}

/* Both ranks of a pair send first, more than any buffer between them holds. */
static void check_messages(check *c, galv_comm *all)
{
    const size_t n = c->small ? 1 << 17 : 16 << 20;
    galv_backend *b = c->b[GPU];
    int32_t partner = b->rank ^ 1;
    if (partner >= b->n_ranks) {
        return;
    }
    for (int round = 0; round < 2; round++) {
        bool apart = round == 1; /* on two streams, as pipelines do */
        galv_stream in = apart ? GALV_STREAM_PP_RECV : GALV_STREAM_PP_SEND;
        void *x = put(b, b->rank, 0, n, GALV_ELEMENT);
        void *y = put(b, 0, 0, n, GALV_ELEMENT);
        b->send(b, GALV_STREAM_PP_SEND, all, x, n, GALV_ELEMENT, partner);
        b->recv(b, in, all, y, n, GALV_ELEMENT, partner);
        b->release(b, x, GALV_STREAM_PP_SEND);
        expect(c, apart ? "messages, two streams" : "messages, one stream", y, n, n,
               GALV_ELEMENT, of_partner);
    }
}

void check_collectives(check *c)
{
    galv_backend *b = c->b[GPU];
    int32_t ranks[1024];
    for (int32_t i = 0; i < b->n_ranks && i < 1024; i++) {
        ranks[i] = i;
    }
    check_passing(c);
    galv_comm *all = b->n_ranks <= 1024 ? b->comm_new(b, ranks, b->n_ranks) : NULL;
    galv_err err = GALV_ERR_INIT;
    b->status(b, &err);
    claim(c, all != NULL, "a communicator of %d ranks %s %s", (int)b->n_ranks,
          err.message, err.hint);
    if (all == NULL) {
        return;
    }
    static const galv_element types[] = {GALV_ELEMENT, GALV_FLOAT32, GALV_INT32};
    for (int i = 0; i < 3; i++) {
        check_type(c, all, 1, types[i]);
        check_type(c, all, 1001, types[i]);
        check_type(c, all, 1 << 18, types[i]);
    }
    check_messages(c, all);
    int32_t pair[2] = {b->rank & ~1, b->rank | 1};
    if (pair[1] < b->n_ranks) {
        galv_comm *two = b->comm_new(b, pair, 2);
        void *x = put(b, b->rank, 0, 100, GALV_FLOAT32);
        b->all_reduce(b, GALV_STREAM_DP, two, x, 100, GALV_FLOAT32, GALV_MAX);
        b->synchronize(b);
        b->release(b, x, on);
        b->comm_free(b, two);
        claim(c, b->status(b, &err) == GALV_OK, "communicators of pairs");
    }
    b->comm_free(b, all);
}

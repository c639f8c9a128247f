/* Every collective and message of the host backend, against what each rank can compute
 * by itself; sums bit for bit, in the order of ranks. */
#include "tests/exec/mpi/mpi_support.h"

#include <string.h>

static const size_t sizes[] = {0, 1, 3, 511, 512, 513, 1027, 100003};
enum { N_SIZES = sizeof sizes / sizeof sizes[0] };

/* The sum over all ranks in ascending order, as float32. */
static float sum_over(const team *t, size_t i)
{
    float sum = value_of(0, i);
    for (int rank = 1; rank < t->size; rank++) {
        sum += value_of(rank, i);
    }
    return sum;
}

static float max_over(const team *t, size_t i)
{
    float most = value_of(0, i);
    for (int rank = 1; rank < t->size; rank++) {
        most = value_of(rank, i) > most ? value_of(rank, i) : most;
    }
    return most;
}

static void free_on(team *t, void *memory, galv_stream stream)
{
    t->b->release(t->b, memory, stream);
}

static void all_reduce_sums_in_the_order_of_ranks(team *t)
{
    for (size_t s = 0; s < N_SIZES; s++) {
        size_t n = sizes[s];
        float *sum = new_values(t, t->rank, 0, n);
        float *most = new_values(t, t->rank, 0, n);
        t->b->all_reduce(t->b, GALV_STREAM_TP, t->all, sum, n, GALV_FLOAT32, GALV_SUM);
        t->b->all_reduce(t->b, GALV_STREAM_DP, t->all, most, n, GALV_ELEMENT, GALV_MAX);
        t->b->synchronize(t->b);
        for (size_t i = 0; i < n && t->n_failed == 0; i++) {
            CLAIM(t, sum[i] == sum_over(t, i), "size %zu, index %zu", n, i);
            CLAIM(t, most[i] == max_over(t, i), "size %zu, index %zu", n, i);
        }
        free_on(t, sum, GALV_STREAM_TP);
        free_on(t, most, GALV_STREAM_DP);
    }
}

static void all_reduce_counts_whole_numbers(team *t)
{
    enum { N = 700 };
    int32_t *sum = t->b->allocate(t->b, N * sizeof *sum);
    int32_t *most = t->b->allocate(t->b, N * sizeof *most);
    for (int i = 0; i < N; i++) {
        sum[i] = (1 << 24) + t->rank + i; /* a float32 would lose the last bit */
        most[i] = (t->rank * 7 + i) % 5;
    }
    t->b->all_reduce(t->b, GALV_STREAM_EP, t->all, sum, N, GALV_INT32, GALV_SUM);
    t->b->all_reduce(t->b, GALV_STREAM_EP, t->all, most, 5, GALV_INT32, GALV_MAX);
    t->b->synchronize(t->b);
    for (int i = 0; i < N && t->n_failed == 0; i++) {
        CLAIM(t, sum[i] == t->size * ((1 << 24) + i) + t->size * (t->size - 1) / 2,
              "index %d", i);
    }
    for (int i = 0; i < 5; i++) {
        int32_t want = 0;
        for (int rank = 0; rank < t->size; rank++) {
            want = (rank * 7 + i) % 5 > want ? (rank * 7 + i) % 5 : want;
        }
        CLAIM(t, most[i] == want, "index %d", i);
    }
    free_on(t, sum, GALV_STREAM_EP);
    free_on(t, most, GALV_STREAM_EP);
}

static void all_gather_puts_everyone_in_place(team *t)
{
    for (size_t s = 0; s < N_SIZES; s++) {
        size_t n = sizes[s];
        size_t total = n * (size_t)t->size;
        float *in = new_values(t, t->rank, 0, n);
        float *out = new_zeros(t, total);
        float *same = new_zeros(t, total);
        float *own = same + (size_t)t->rank * n;
        memcpy(own, in, n * sizeof *in);
        t->b->all_gather(t->b, GALV_STREAM_DP, t->all, out, in, n, GALV_ELEMENT);
        t->b->all_gather(t->b, GALV_STREAM_DP, t->all, same, own, n, GALV_ELEMENT);
        t->b->synchronize(t->b);
        for (size_t i = 0; i < total && t->n_failed == 0; i++) {
            CLAIM(t, out[i] == value_of((int)(i / n), i % n), "size %zu at %zu", n, i);
            CLAIM(t, same[i] == out[i], "in place, size %zu at %zu", n, i);
        }
        free_on(t, in, GALV_STREAM_DP);
        free_on(t, out, GALV_STREAM_DP);
        free_on(t, same, GALV_STREAM_DP);
    }
}

static void reduce_scatter_has_the_bits_of_all_reduce(team *t)
{
    for (size_t s = 0; s < N_SIZES; s++) {
        size_t n = sizes[s];
        size_t total = n * (size_t)t->size;
        size_t first = (size_t)t->rank * n;
        float *in = new_values(t, t->rank, 0, total);
        float *same = new_values(t, t->rank, 0, total);
        float *out = new_zeros(t, n);
        t->b->reduce_scatter(t->b, GALV_STREAM_DP, t->all, out, in, n, GALV_FLOAT32);
        t->b->reduce_scatter(t->b, GALV_STREAM_TP, t->all, same + first, same, n,
                             GALV_FLOAT32);
        t->b->synchronize(t->b);
        for (size_t i = 0; i < n && t->n_failed == 0; i++) {
            CLAIM(t, out[i] == sum_over(t, first + i), "size %zu at %zu", n, i);
            CLAIM(t, same[first + i] == out[i], "in place, size %zu at %zu", n, i);
        }
        for (size_t i = 0; i < total && t->n_failed == 0; i++) {
            CLAIM(t, in[i] == value_of(t->rank, i), "the input is left alone");
        }
        free_on(t, in, GALV_STREAM_DP);
        free_on(t, out, GALV_STREAM_DP);
        free_on(t, same, GALV_STREAM_DP);
    }
}

static void broadcast_reaches_all_from_every_root(team *t)
{
    for (int root = 0; root < t->size; root++) {
        size_t n = 40000 + (size_t)root;
        float *data = new_values(t, t->rank, 0, n);
        t->b->broadcast(t->b, GALV_STREAM_DP, t->all, data, n, GALV_ELEMENT, root);
        t->b->synchronize(t->b);
        for (size_t i = 0; i < n && t->n_failed == 0; i++) {
            CLAIM(t, data[i] == value_of(root, i), "root %d at %zu", root, i);
        }
        free_on(t, data, GALV_STREAM_DP);
    }
}

/* Rank a sends ((5 a + 3 b) % 4) * 1000 values to rank b: nothing to some. */
static int64_t sent(int a, int b)
{
    return (5 * a + 3 * b) % 4 * 1000;
}

static void all_to_all_takes_uneven_and_empty_parts(team *t)
{
    int64_t send_begin[65] = {0};
    int64_t recv_begin[65] = {0};
    for (int rank = 0; rank < t->size; rank++) {
        send_begin[rank + 1] = send_begin[rank] + sent(t->rank, rank);
        recv_begin[rank + 1] = recv_begin[rank] + sent(rank, t->rank);
    }
    float *in = new_values(t, t->rank, 0, (size_t)send_begin[t->size]);
    float *out = new_zeros(t, (size_t)recv_begin[t->size]);
    t->b->all_to_all(t->b, GALV_STREAM_EP, t->all, out, recv_begin, in, send_begin,
                     GALV_ELEMENT);
    int64_t kept[65];
    memcpy(kept, recv_begin, sizeof kept);
    memset(recv_begin, 0xff, sizeof recv_begin); /* the arrays were copied */
    memset(send_begin, 0xff, sizeof send_begin);
    t->b->synchronize(t->b);
    for (int from = 0; from < t->size; from++) {
        int64_t first = 0;
        for (int to = 0; to < t->rank; to++) {
            first += sent(from, to);
        }
        for (int64_t i = 0; i < sent(from, t->rank) && t->n_failed == 0; i++) {
            CLAIM(t, out[kept[from] + i] == value_of(from, (size_t)(first + i)),
                  "from rank %d at %d", from, (int)i);
        }
    }
    free_on(t, in, GALV_STREAM_EP);
    free_on(t, out, GALV_STREAM_EP);
}

/* Messages larger than what MPI sends ahead of the receiver. */
enum { LARGE = 300000 };

static void sends_that_cross_on_one_stream_do_not_lock(team *t)
{
    int next = (t->rank + 1) % t->size;
    int previous = (t->rank + t->size - 1) % t->size;
    float *mine = new_values(t, t->rank, 0, LARGE);
    float *theirs = new_zeros(t, LARGE);
    for (int round = 0; round < t->size; round++) { /* a ring: all come by */
        t->b->send(t->b, GALV_STREAM_CP, t->all, mine, LARGE, GALV_ELEMENT, next);
        t->b->recv(t->b, GALV_STREAM_CP, t->all, theirs, LARGE, GALV_ELEMENT, previous);
        t->b->copy(t->b, GALV_STREAM_CP, mine, theirs, LARGE * sizeof *mine);
        int origin = (t->rank + t->size - 1 - round) % t->size;
        t->b->synchronize(t->b);
        for (size_t i = 0; i < LARGE && t->n_failed == 0; i++) {
            CLAIM(t, mine[i] == value_of(origin, i), "round %d at %zu", round, i);
        }
    }
    free_on(t, mine, GALV_STREAM_CP);
    free_on(t, theirs, GALV_STREAM_CP);
}

static void a_message_waits_for_the_buffer_it_shares(team *t)
{
    int next = (t->rank + 1) % t->size;
    int previous = (t->rank + t->size - 1) % t->size;
    float *data = new_values(t, t->rank, 0, LARGE);
    float *buffer = new_zeros(t, LARGE);
    /* even ranks send first, then receive into what they sent; odd the other way */
    if (t->rank % 2 == 0) {
        t->b->send(t->b, GALV_STREAM_CP, t->all, data, LARGE, GALV_ELEMENT, next);
        t->b->recv(t->b, GALV_STREAM_CP, t->all, data, LARGE, GALV_ELEMENT, previous);
    } else {
        t->b->recv(t->b, GALV_STREAM_CP, t->all, buffer, LARGE, GALV_ELEMENT, previous);
        t->b->send(t->b, GALV_STREAM_CP, t->all, data, LARGE, GALV_ELEMENT, next);
    }
    t->b->synchronize(t->b);
    const float *got = t->rank % 2 == 0 ? data : buffer;
    for (size_t i = 0; i < LARGE && t->n_failed == 0; i++) {
        CLAIM(t, got[i] == value_of(previous, i), "at %zu", i);
    }
    free_on(t, data, GALV_STREAM_CP);
    free_on(t, buffer, GALV_STREAM_CP);
}

static void messages_match_in_the_order_queued(team *t)
{
    /* rank 0 to the last: 40 messages over two streams, received the other way round
     * of streams; large and small, so that MPI treats them differently */
    enum { N = 40 };
    int last = t->size - 1;
    float *data[N];
    for (int m = 0; m < N && (t->rank == 0 || t->rank == last); m++) {
        size_t n = m % 3 == 0 ? 50000 : 10;
        galv_stream stream = m % 2 == 0 ? GALV_STREAM_PP_SEND : GALV_STREAM_PP_RECV;
        if (t->rank == 0) {
            data[m] = new_values(t, m, 0, n);
            t->b->send(t->b, stream, t->all, data[m], n, GALV_ELEMENT, last);
            free_on(t, data[m], stream); /* while it may still be under way */
        } else {
            data[m] = new_zeros(t, n);
            t->b->recv(t->b, m % 5 == 0 ? GALV_STREAM_CP : GALV_STREAM_PP_RECV, t->all,
                       data[m], n, GALV_ELEMENT, 0);
        }
    }
    t->b->synchronize(t->b);
    for (int m = 0; m < N && t->rank == last; m++) {
        size_t n = m % 3 == 0 ? 50000 : 10;
        for (size_t i = 0; i < n && t->n_failed == 0; i++) {
            CLAIM(t, data[m][i] == value_of(m, i), "message %d at %zu", m, i);
        }
        free_on(t, data[m], GALV_STREAM_CP);
    }
}

static void many_in_flight_on_all_streams_in_any_order(team *t)
{
    enum { N = 6, SIZE = 20000 };
    int32_t pair[2] = {t->rank / 2 * 2, t->rank / 2 * 2 + 1};
    galv_comm *pairs = t->b->comm_new(t->b, pair, 2);
    galv_comm *alone = t->b->comm_new(t->b, (int32_t[]){t->rank}, 1);
    float *sums[N];
    float *halves[N];
    float *own[N];
    for (int m = 0; m < N; m++) {
        sums[m] = new_values(t, t->rank, (size_t)m, SIZE);
        halves[m] = new_values(t, t->rank, (size_t)m, SIZE);
        own[m] = new_values(t, t->rank, (size_t)m, SIZE);
    }
    for (int m = 0; m < N; m++) {
        /* ranks queue the two communicators in different orders; not so in a program */
        for (int turn = 0; turn < 2; turn++) {
            if ((turn + t->rank) % 2 == 0) {
                t->b->all_reduce(t->b, GALV_STREAM_DP, t->all, sums[m], SIZE,
                                 GALV_FLOAT32, GALV_SUM);
            } else {
                t->b->all_reduce(t->b, GALV_STREAM_TP, pairs, halves[m], SIZE,
                                 GALV_FLOAT32, GALV_SUM);
            }
        }
        t->b->all_reduce(t->b, GALV_STREAM_EP, alone, own[m], SIZE, GALV_FLOAT32,
                         GALV_SUM);
    }
    t->b->synchronize(t->b);
    for (int m = 0; m < N; m++) {
        for (size_t i = 0; i < SIZE && t->n_failed == 0; i++) {
            size_t at = (size_t)m + i;
            CLAIM(t, sums[m][i] == sum_over(t, at), "all, %d at %zu", m, i);
            CLAIM(t, halves[m][i] == value_of(pair[0], at) + value_of(pair[1], at),
                  "pair, %d at %zu", m, i);
            CLAIM(t, own[m][i] == value_of(t->rank, at), "alone, %d at %zu", m, i);
        }
        free_on(t, sums[m], GALV_STREAM_DP);
        free_on(t, halves[m], GALV_STREAM_DP);
        free_on(t, own[m], GALV_STREAM_DP);
    }
    t->b->comm_free(t->b, pairs);
    t->b->comm_free(t->b, alone);
}

static void work_of_a_stream_runs_in_order(team *t)
{
    enum { SIZE = 30000 };
    float *x = new_values(t, t->rank, 0, SIZE);
    float *y = new_zeros(t, SIZE);
    t->b->all_reduce(t->b, GALV_STREAM_TP, t->all, x, SIZE, GALV_FLOAT32, GALV_MAX);
    t->b->all_reduce(t->b, GALV_STREAM_TP, t->all, x, SIZE, GALV_FLOAT32, GALV_SUM);
    galv_event reduced = t->b->record(t->b, GALV_STREAM_TP);
    t->b->wait(t->b, GALV_STREAM_COMPUTE, reduced);
    t->b->add(t->b, GALV_STREAM_COMPUTE, y, x, x, SIZE);
    galv_event added = t->b->record(t->b, GALV_STREAM_COMPUTE);
    t->b->wait(t->b, GALV_STREAM_DP, added);
    t->b->all_reduce(t->b, GALV_STREAM_DP, t->all, y, SIZE, GALV_FLOAT32, GALV_SUM);
    galv_event summed = t->b->record(t->b, GALV_STREAM_DP);
    t->b->wait(t->b, GALV_STREAM_COMPUTE, summed);
    t->b->scale(t->b, GALV_STREAM_COMPUTE, y, SIZE, GALV_FLOAT32, 0.5F);
    for (size_t i = 0; i < SIZE && t->n_failed == 0; i++) {
        float sum = max_over(t, i);
        for (int rank = 1; rank < t->size; rank++) {
            sum += max_over(t, i);
        }
        CLAIM(t, x[i] == sum, "reduced twice, at %zu", i);
        float total = sum + sum;
        for (int rank = 1; rank < t->size; rank++) {
            total += sum + sum;
        }
        CLAIM(t, y[i] == total * 0.5F, "added and reduced, at %zu", i);
    }
    t->b->synchronize(t->b);
    CLAIM(t, t->b->event_time_s(t->b, reduced) <= t->b->event_time_s(t->b, added),
          "events in order");
    CLAIM(t, t->b->event_time_s(t->b, added) <= t->b->event_time_s(t->b, summed),
          "events in order");
    free_on(t, x, GALV_STREAM_COMPUTE);
    free_on(t, y, GALV_STREAM_COMPUTE);
    t->b->reset_events(t->b);
}

static void a_stream_can_wait_for_another_that_waits(team *t)
{
    /* the receive that rank 0's wait hangs on is answered only after rank 0's own
     * reduction has started: nothing may block on the way */
    enum { SIZE = 60000 };
    float *x = new_values(t, t->rank, 0, SIZE);
    float *message = new_zeros(t, SIZE);
    int last = t->size - 1;
    if (t->rank == 0) {
        t->b->recv(t->b, GALV_STREAM_PP_RECV, t->all, message, SIZE, GALV_ELEMENT,
                   last);
        galv_event got = t->b->record(t->b, GALV_STREAM_PP_RECV);
        t->b->all_reduce(t->b, GALV_STREAM_DP, t->all, x, SIZE, GALV_FLOAT32, GALV_SUM);
        t->b->wait(t->b, GALV_STREAM_CP, got);
        t->b->send(t->b, GALV_STREAM_CP, t->all, message, SIZE, GALV_ELEMENT, last);
    } else {
        t->b->all_reduce(t->b, GALV_STREAM_DP, t->all, x, SIZE, GALV_FLOAT32, GALV_SUM);
        galv_event summed = t->b->record(t->b, GALV_STREAM_DP);
        if (t->rank == last) {
            t->b->wait(t->b, GALV_STREAM_PP_SEND, summed);
            t->b->send(t->b, GALV_STREAM_PP_SEND, t->all, x, SIZE, GALV_ELEMENT, 0);
            t->b->recv(t->b, GALV_STREAM_PP_RECV, t->all, message, SIZE, GALV_ELEMENT,
                       0);
        }
    }
    t->b->synchronize(t->b);
    for (size_t i = 0; i < SIZE && t->n_failed == 0; i++) {
        CLAIM(t, x[i] == sum_over(t, i), "sum at %zu", i);
        CLAIM(t, (t->rank != 0 && t->rank != last) || message[i] == sum_over(t, i),
              "message at %zu", i);
    }
    free_on(t, x, GALV_STREAM_DP);
    free_on(t, message, GALV_STREAM_CP);
}

static void a_group_of_some_ranks_counts_its_own_places(team *t)
{
    if (t->size < 3) {
        return;
    }
    /* all but rank 1 */
    int32_t ranks[64];
    int n = 0;
    for (int rank = 0; rank < t->size; rank++) {
        if (rank != 1) {
            ranks[n++] = rank;
        }
    }
    if (t->rank == 1) {
        return;
    }
    galv_comm *some = t->b->comm_new(t->b, ranks, n);
    float *out = new_zeros(t, (size_t)n);
    float *in = new_values(t, t->rank, 0, 1);
    t->b->all_gather(t->b, GALV_STREAM_TP, some, out, in, 1, GALV_ELEMENT);
    t->b->synchronize(t->b);
    for (int i = 0; i < n; i++) {
        CLAIM(t, out[i] == value_of(ranks[i], 0), "place %d", i);
    }
    free_on(t, out, GALV_STREAM_TP);
    free_on(t, in, GALV_STREAM_TP);
    t->b->comm_free(t->b, some);
}

int main(int argc, char **argv)
{
    static const team_test tests[] = {
#define TEST(name) {#name, name}
        TEST(all_reduce_sums_in_the_order_of_ranks),
        TEST(all_reduce_counts_whole_numbers),
        TEST(all_gather_puts_everyone_in_place),
        TEST(reduce_scatter_has_the_bits_of_all_reduce),
        TEST(broadcast_reaches_all_from_every_root),
        TEST(all_to_all_takes_uneven_and_empty_parts),
        TEST(sends_that_cross_on_one_stream_do_not_lock),
        TEST(a_message_waits_for_the_buffer_it_shares),
        TEST(messages_match_in_the_order_queued),
        TEST(many_in_flight_on_all_streams_in_any_order),
        TEST(work_of_a_stream_runs_in_order),
        TEST(a_stream_can_wait_for_another_that_waits),
        TEST(a_group_of_some_ranks_counts_its_own_places),
    };
    return team_main(argc, argv, tests, sizeof tests / sizeof tests[0]);
}

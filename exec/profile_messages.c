/* Collectives and messages, and computation beside them.
 *
 * Neighbouring ranks make the groups, and all groups of the world go at once, as those
 * of a plan do. A sample is the mean of as many calls in a row as last 0.2 ms, little
 * enough to fit between two interruptions,, between two barriers; all ranks' samples
 * count. send_recv is half of a round trip.
 *
 * Overlap: a matrix product that lasts about as long as an all-reduce of 4 MiB, each by
 * itself and then both at once. While both run, either goes slower; from the moments at
 * which the two end follow both slowdowns, as the simulator uses them. */
#include "exec/profile_measure.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LEAST_SAMPLE_S 2e-4
#define MOST_CALLS     200
#define OVERLAP_VALUES ((size_t)1 << 20)

typedef struct channel {
    galv_backend *b;
    galv_comm *comm; /* NULL: this rank is in no group */
    int32_t ranks, index;
    void *in, *out;
    int64_t *begins; /* [ranks + 1] */
} channel;

static double value_bytes(const galv_backend *b, const galv_wanted_row *need)
{
    bool reduces = strcmp(need->row.op, "all_reduce") == 0 ||
                   strcmp(need->row.op, "reduce_scatter") == 0;
    return reduces ? 4 : b->element_bytes;
}

static void send_back_and_forth(const channel *c, size_t n)
{
    for (int32_t turn = 0; turn < 2; turn++) {
        if (c->index == turn) {
            c->b->send(c->b, GALV_STREAM_DP, c->comm, c->in, n, GALV_ELEMENT, 1 - turn);
        } else {
            c->b->recv(c->b, GALV_STREAM_DP, c->comm, c->out, n, GALV_ELEMENT, turn);
        }
        c->b->synchronize(c->b);
    }
}

static void call(const channel *c, const galv_wanted_row *need, size_t n)
{
    galv_backend *b = c->b;
    const char *op = need->row.op;
    size_t share = n / (size_t)c->ranks;
    share = share > 0 ? share : 1;
    if (strcmp(op, "all_reduce") == 0) {
        b->all_reduce(b, GALV_STREAM_DP, c->comm, c->out, n, GALV_FLOAT32, GALV_SUM);
    } else if (strcmp(op, "reduce_scatter") == 0) {
        b->reduce_scatter(b, GALV_STREAM_DP, c->comm, c->out, c->in, share,
                          GALV_FLOAT32);
    } else if (strcmp(op, "all_gather") == 0) {
        b->all_gather(b, GALV_STREAM_DP, c->comm, c->out, c->in, share, GALV_ELEMENT);
    } else if (strcmp(op, "all_to_all") == 0) {
        for (int32_t i = 0; i <= c->ranks; i++) {
            c->begins[i] = (int64_t)i * (int64_t)share;
        }
        b->all_to_all(b, GALV_STREAM_DP, c->comm, c->out, c->begins, c->in, c->begins,
                      GALV_ELEMENT);
    } else if (strcmp(op, "broadcast") == 0) {
        b->broadcast(b, GALV_STREAM_DP, c->comm, c->out, n, GALV_ELEMENT, 0);
    } else if (c->index < 2) {
        send_back_and_forth(c, n);
    }
}

/* Mean seconds of one of `n_calls`; -1 on a rank that has no part. */
static double time_calls(const channel *c, const galv_wanted_row *need, size_t n,
                         int32_t n_calls)
{
    if (c->comm == NULL) {
        return -1;
    }
    double begin_s = galv_measure_now_s();
    for (int32_t i = 0; i < n_calls; i++) {
        call(c, need, n);
    }
    c->b->synchronize(c->b);
    double time_s = (galv_measure_now_s() - begin_s) / n_calls;
    bool pair = strcmp(need->row.op, "send_recv") == 0;
    return pair ? (c->index < 2 ? time_s / 2 : -1) : time_s;
}

static galv_status open_channel(channel *c, int32_t ranks, size_t bytes,
                                galv_meter *meter, galv_arena *arena, galv_err *err)
{
    galv_backend *b = meter->backend;
    int32_t group = b->rank / ranks;
    c->b = b;
    c->ranks = ranks;
    c->index = b->rank % ranks;
    c->begins = GALV_NEW_ARRAY(arena, int64_t, ranks + 1);
    int32_t *members = GALV_NEW_ARRAY(arena, int32_t, ranks);
    if (c->begins == NULL || members == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for a group");
    }
    for (int32_t i = 0; i < ranks; i++) {
        members[i] = group * ranks + i;
    }
    size_t room = bytes + 8 * (size_t)ranks + 256;
    c->in = b->allocate(b, room);
    c->out = b->allocate(b, room);
    if (c->in != NULL && c->out != NULL) {
        b->fill_zero(b, GALV_STREAM_COMPUTE, c->in, room);
        b->fill_zero(b, GALV_STREAM_COMPUTE, c->out, room);
    }
    b->synchronize(b);
    if ((group + 1) * ranks <= b->n_ranks) {
        c->comm = b->comm_new(b, members, ranks);
    }
    b->status(b, err);
    return galv_world_agree(meter->world, err);
}

static void close_channel(channel *c)
{
    if (c->comm != NULL) {
        c->b->comm_free(c->b, c->comm);
    }
    if (c->in != NULL) {
        c->b->release(c->b, c->in, GALV_STREAM_DP);
    }
    if (c->out != NULL) {
        c->b->release(c->b, c->out, GALV_STREAM_DP);
    }
}

/* Calls in one sample, the same on all ranks: rank 0 has a part in every group. */
static galv_status count_calls(int32_t *n_calls, const channel *c,
                               const galv_wanted_row *need, size_t n, galv_meter *meter,
                               galv_err *err)
{
    time_calls(c, need, n, 1);
    galv_status status = galv_world_barrier(meter->world, err);
    double once_s = time_calls(c, need, n, 1);
    double wanted = once_s > 0 ? ceil(LEAST_SAMPLE_S / once_s) : 1;
    *n_calls = wanted > MOST_CALLS ? MOST_CALLS : (int32_t)wanted;
    if (status == GALV_OK) {
        status = galv_world_broadcast(meter->world, n_calls, sizeof *n_calls, 0, err);
    }
    return status;
}

static galv_status sample_calls(galv_samples *samples, const channel *c,
                                const galv_wanted_row *need, size_t n,
                                galv_meter *meter, galv_err *err)
{
    int32_t n_calls = 1;
    bool enough = false;
    galv_status status = count_calls(&n_calls, c, need, n, meter, err);
    while (status == GALV_OK && !enough) {
        status = galv_world_barrier(meter->world, err);
        double begin_s = galv_measure_now_s();
        double time_s = status == GALV_OK ? time_calls(c, need, n, n_calls) : -1;
        galv_status taken = galv_meter_take(&enough, samples, &time_s, 1, 1,
                                            galv_measure_now_s() - begin_s, meter, err);
        status = status == GALV_OK ? taken : status;
    }
    return status;
}

galv_status galv_measure_collective(galv_wanted_row *need, galv_meter *meter,
                                    galv_err *err)
{
    channel c = {0};
    galv_samples samples = {0};
    if (need->row.ranks > meter->backend->n_ranks) {
        galv_fail(err, GALV_USAGE, "%s of %d ranks cannot be measured on %d",
                  need->row.op, (int)need->row.ranks, (int)meter->backend->n_ranks);
        galv_hint(err, "start it with: mpirun -np %d galvatron-exec profile ...",
                  (int)need->row.ranks);
        return GALV_USAGE;
    }
    galv_arena *arena = galv_arena_new();
    if (arena == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for a group");
    }
    size_t n = (size_t)(need->row.message_bytes / value_bytes(meter->backend, need));
    n = n > 0 ? n : 1;
    galv_status status = open_channel(
        &c, need->row.ranks, (size_t)need->row.message_bytes, meter, arena, err);
    if (status == GALV_OK) {
        status = sample_calls(&samples, &c, need, n, meter, err);
    }
    if (status == GALV_OK) {
        need->done = galv_samples_fill(&need->row, &samples);
    }
    close_channel(&c);
    galv_samples_release(&samples);
    galv_arena_free(arena);
    return status;
}

/* ---- overlap ---- */

typedef struct both {
    double compute_s, comm_s; /* ends, from the begin */
} both;

static void multiply(galv_backend *b, const channel *c, size_t n, int32_t times)
{
    for (int32_t i = 0; i < times; i++) {
        b->gemm(b, GALV_STREAM_COMPUTE, false, true, n, n, n, 1, c->in, c->in, 0,
                (float *)c->in + n * n, GALV_ELEMENT);
    }
}

static both run_both(const channel *c, size_t side, int32_t times, bool computes,
                     bool sends)
{
    galv_backend *b = c->b;
    galv_event computed = -1;
    galv_event sent = -1;
    both end = {0, 0};
    b->reset_events(b);
    if (sends) {
        b->all_reduce(b, GALV_STREAM_DP, c->comm, c->out, OVERLAP_VALUES, GALV_FLOAT32,
                      GALV_SUM);
        sent = b->record(b, GALV_STREAM_DP);
    }
    if (computes) {
        multiply(b, c, side, times);
        computed = b->record(b, GALV_STREAM_COMPUTE);
    }
    b->synchronize(b);
    end.compute_s = computes ? b->event_time_s(b, computed) : 0;
    end.comm_s = sends ? b->event_time_s(b, sent) : 0;
    return end;
}

/* From both alone and both together. The one that ends first went slower all the time;
 * the other only until then. */
static void slowdowns_of(galv_profile_row *row, double compute_s, double comm_s,
                         both together)
{
    double first_s = fmin(together.compute_s, together.comm_s);
    if (together.comm_s <= together.compute_s) {
        row->comm_slowdown = together.comm_s / comm_s;
        double done_s = compute_s - (together.compute_s - together.comm_s);
        row->compute_slowdown = done_s > 0 ? first_s / done_s : 100;
    } else {
        row->compute_slowdown = together.compute_s / compute_s;
        double done_s = comm_s - (together.comm_s - together.compute_s);
        row->comm_slowdown = done_s > 0 ? first_s / done_s : 100;
    }
    row->compute_slowdown = fmin(fmax(row->compute_slowdown, 1), 100);
    row->comm_slowdown = fmin(fmax(row->comm_slowdown, 1), 100);
}

static galv_status measure_both(galv_profile_row *row, const channel *c,
                                galv_meter *meter, galv_err *err)
{
    enum { COMPUTE, COMM, COMPUTE_BESIDE, COMM_BESIDE, N };
    const size_t side = 256;
    galv_samples samples[N] = {{0}};
    double values[N];
    bool enough = false;
    int32_t times = 1;
    double one_s = run_both(c, side, 4, true, false).compute_s / 4;
    galv_status status = galv_world_barrier(meter->world, err);
    double comm_s = run_both(c, side, 0, false, true).comm_s;
    times = one_s > 0 && comm_s > one_s ? (int32_t)fmin(comm_s / one_s, 1e4) : 1;
    if (status == GALV_OK) {
        status = galv_world_broadcast(meter->world, &times, sizeof times, 0, err);
    }
    while (status == GALV_OK && !enough) {
        double begin_s = galv_measure_now_s();
        values[COMPUTE] = run_both(c, side, times, true, false).compute_s;
        status = galv_world_barrier(meter->world, err);
        values[COMM] = run_both(c, side, 0, false, true).comm_s;
        status = status == GALV_OK ? galv_world_barrier(meter->world, err) : status;
        both end = run_both(c, side, times, true, true);
        values[COMPUTE_BESIDE] = end.compute_s;
        values[COMM_BESIDE] = end.comm_s;
        galv_status taken = galv_meter_take(&enough, samples, values, N, 1,
                                            galv_measure_now_s() - begin_s, meter, err);
        status = status == GALV_OK ? taken : status;
    }
    if (status == GALV_OK) {
        double medians[N];
        for (int i = 0; i < N; i++) {
            medians[i] = galv_statistics_of(samples[i].values, samples[i].n).median;
        }
        row->samples = (int32_t)samples[0].n;
        slowdowns_of(row, medians[COMPUTE], medians[COMM],
                     (both){medians[COMPUTE_BESIDE], medians[COMM_BESIDE]});
    }
    for (int i = 0; i < N; i++) {
        galv_samples_release(&samples[i]);
    }
    return status;
}

galv_status galv_measure_overlap(galv_profile_row *row, galv_meter *meter,
                                 galv_err *err)
{
    channel c = {0};
    row->compute_slowdown = row->comm_slowdown = 1;
    if (meter->backend->n_ranks < 2) {
        return GALV_OK;
    }
    galv_arena *arena = galv_arena_new();
    if (arena == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for a group");
    }
    galv_status status = open_channel(
        &c, meter->backend->n_ranks, OVERLAP_VALUES * sizeof(float), meter, arena, err);
    if (status == GALV_OK) {
        status = measure_both(row, &c, meter, err);
    }
    close_channel(&c);
    galv_arena_free(arena);
    return status;
}

galv_status galv_measure_latencies(double *wait_s, double *meeting_s, galv_meter *meter,
                                   galv_err *err)
{
    galv_backend *b = meter->backend;
    galv_samples samples[2] = {{0}};
    double values[2];
    double line[2] = {0, 0};
    bool enough = false;
    galv_status status = GALV_OK;
    double *all = malloc((size_t)b->n_ranks * sizeof line);
    if (all == NULL) {
        galv_fail(err, GALV_NO_MEMORY, "no memory for samples");
    }
    status = galv_world_agree(meter->world, err);
    while (status == GALV_OK && !enough) {
        double begin_s = galv_measure_now_s();
        for (int i = 0; i < 100; i++) {
            b->wait(b, GALV_STREAM_COMPUTE, b->record(b, GALV_STREAM_TP));
        }
        b->synchronize(b);
        values[0] = (galv_measure_now_s() - begin_s) / 100;
        b->reset_events(b);
        double met_s = galv_measure_now_s();
        status = galv_world_all_gather(meter->world, all, line, sizeof line, err);
        values[1] = galv_measure_now_s() - met_s;
        galv_status taken = galv_meter_take(&enough, samples, values, 2, 1,
                                            galv_measure_now_s() - begin_s, meter, err);
        status = status == GALV_OK ? taken : status;
    }
    if (status == GALV_OK) {
        *wait_s = galv_statistics_of(samples[0].values, samples[0].n).median;
        *meeting_s = galv_statistics_of(samples[1].values, samples[1].n).median;
    }
    galv_samples_release(&samples[0]);
    galv_samples_release(&samples[1]);
    free(all);
    return status;
}

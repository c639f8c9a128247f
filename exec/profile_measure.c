/* The meter: rounds of samples on all ranks, until they are enough.
 *
 * Every rank gets the samples of all, so all see the same statistics and stop at the
 * same round without a word. What counts as time spent is that of rank 0. */
#include "exec/profile_measure.h"

#include <stdlib.h>
#include <string.h>

void galv_samples_release(galv_samples *samples)
{
    free(samples->values);
    memset(samples, 0, sizeof *samples);
}

static galv_status put(galv_samples *s, double value, galv_err *err)
{
    if (s->n == s->capacity) {
        size_t capacity = s->capacity == 0 ? 64 : 2 * s->capacity;
        double *larger = realloc(s->values, capacity * sizeof *larger);
        if (larger == NULL) {
            return galv_fail(err, GALV_NO_MEMORY, "no memory for samples");
        }
        s->values = larger;
        s->capacity = capacity;
    }
    s->values[s->n++] = value;
    return GALV_OK;
}

/* Statistics of a sorted copy; the samples stay as they came. */
static bool is_enough(const galv_samples *s, const galv_patience *patience,
                      galv_err *err)
{
    double *copy = s->n > 0 ? malloc(s->n * sizeof *copy) : NULL;
    if (s->n == 0) {
        return s->n_rounds >= patience->n_warm_up + 2 * patience->n_least;
    }
    if (copy == NULL) {
        galv_fail(err, GALV_NO_MEMORY, "no memory for samples");
        return true;
    }
    memcpy(copy, s->values, s->n * sizeof *copy);
    galv_statistics statistics = galv_statistics_of(copy, s->n);
    free(copy);
    return galv_patience_ends(patience, &statistics, s->spent_s);
}

/* This rank's line of what all ranks exchange: its samples, time, and its wish to stop.
 */
static galv_status exchange(double *all, const double *values, size_t n, double round_s,
                            galv_meter *meter, galv_err *err)
{
    double *line = malloc((n + 2) * sizeof *line);
    meter->backend->status(meter->backend, err);
    if (line == NULL || all == NULL) {
        galv_fail(err, GALV_NO_MEMORY, "no memory for samples");
    }
    galv_status status = galv_world_agree(meter->world, err);
    if (status == GALV_OK) {
        memcpy(line, values, n * sizeof *line);
        line[n] = round_s;
        line[n + 1] = meter->stop != NULL &&
                              atomic_load_explicit(meter->stop, memory_order_relaxed)
                          ? 1
                          : 0;
        status =
            galv_world_all_gather(meter->world, all, line, (n + 2) * sizeof *line, err);
    }
    free(line);
    return status;
}

/* One thing's samples of a round, of all ranks. `all` has a line of `stride` values for
 * each rank. */
static galv_status take_thing(galv_samples *s, const double *all, size_t stride,
                              size_t n_each, const galv_meter *meter, galv_err *err)
{
    size_t n_ranks = (size_t)galv_world_size(meter->world);
    if (s->n_rounds++ < meter->patience.n_warm_up) {
        return GALV_OK;
    }
    galv_status status = GALV_OK;
    for (size_t i = 0; i < n_ranks * n_each && status == GALV_OK; i++) {
        double value = all[i / n_each * stride + i % n_each];
        status = value >= 0 ? put(s, value, err) : GALV_OK;
    }
    return status;
}

galv_status galv_meter_take(bool *enough, galv_samples *samples, const double *values,
                            size_t n, size_t n_each, double round_s, galv_meter *meter,
                            galv_err *err)
{
    size_t n_ranks = (size_t)galv_world_size(meter->world);
    size_t n_values = n * n_each;
    size_t stride = n_values + 2;
    double *all = malloc(n_ranks * stride * sizeof *all);
    galv_status status = exchange(all, values, n_values, round_s, meter, err);
    *enough = true;
    for (size_t rank = 0; status == GALV_OK && rank < n_ranks; rank++) {
        if (all[rank * stride + n_values + 1] > 0) {
            status = galv_fail(err, GALV_INTERRUPTED, "interrupted");
        }
    }
    for (size_t i = 0; status == GALV_OK && i < n; i++) {
        status = take_thing(&samples[i], all + i * n_each, stride, n_each, meter, err);
        samples[i].spent_s += all[n_values];
        *enough = is_enough(&samples[i], &meter->patience, err) && *enough;
    }
    free(all);
    return err->status != GALV_OK ? err->status : status;
}

bool galv_samples_fill(galv_profile_row *row, galv_samples *samples)
{
    if (samples->n == 0) {
        return false;
    }
    galv_statistics s = galv_statistics_of(samples->values, samples->n);
    row->time_s = s.median;
    row->stddev_s = s.stddev;
    row->samples = (int32_t)s.n;
    return true;
}

/* Measuring: layers in the executor's own functions, collectives, and the machine.
 *
 * All functions are collective over the world: every rank takes the same decisions from
 * the samples of all. */
#ifndef GALV_EXEC_PROFILE_MEASURE_H
#define GALV_EXEC_PROFILE_MEASURE_H

#include "exec/backend.h"
#include "exec/measure.h"
#include "exec/profile_need.h"
#include "exec/world.h"
#include "plan/plan.h"

#include <stdatomic.h>

typedef struct galv_meter {
    galv_world *world;
    galv_backend *backend;
    galv_patience patience;
    const atomic_bool *stop; /* set by an interrupt; NULL = never */
} galv_meter;

/* Samples of one thing, from all ranks. Released with galv_samples_release. */
typedef struct galv_samples {
    size_t n, capacity;
    double *values;
    size_t n_rounds; /* so far, those of the warm-up included */
    double spent_s;
} galv_samples;

void galv_samples_release(galv_samples *samples);

/* Takes in a round of this rank's `n` things, up to `n_each` samples of each,
 * values[n * n_each] seconds (below 0: none), into samples[n]. `*enough` when all
 * things were measured well enough. Errors: GALV_NO_MEMORY, GALV_INTERRUPTED (any rank
 * was stopped), the backend's. */
galv_status galv_meter_take(bool *enough, galv_samples *samples, const double *values,
                            size_t n, size_t n_each, double round_s, galv_meter *meter,
                            galv_err *err);

/* Fills in time, spread and count of a row. False when nothing was sampled. */
bool galv_samples_fill(galv_profile_row *row, galv_samples *samples);

/* Measures all needs of layers that have the strategy and micro-batch of needs[first]
 * and are not done, and marks those done. `job` is the job they are of; its cluster
 * has as many devices as the world has ranks. Errors: GALV_USAGE (more ranks are
 * needed), those of the trainer. */
galv_status galv_measure_layers(galv_needs *needs, size_t first, const galv_job *job,
                                galv_meter *meter, galv_err *err);

/* Measures one collective. */
galv_status galv_measure_collective(galv_wanted_row *need, galv_meter *meter,
                                    galv_err *err);

/* A row of kind overlap: the slowdowns of a matrix product and of an all-reduce over
 * all ranks that run beside each other. Left at 1 for one rank. */
galv_status galv_measure_overlap(galv_profile_row *row, galv_meter *meter,
                                 galv_err *err);

/* Seconds between the end of a piece of communication and the computation that waits
 * for it, and of the meeting of all ranks in a step. */
galv_status galv_measure_latencies(double *wait_s, double *meeting_s, galv_meter *meter,
                                   galv_err *err);

/* This machine as a cluster of one node with a device for each rank of the world.
 * `device` NULL: named after the processor. Errors: the backend's. */
galv_status galv_measure_cluster(galv_cluster *cluster, const char *device,
                                 galv_meter *meter, galv_err *err);

/* "host-amd-epyc": small letters, digits and '-', at most 31. */
void galv_device_slug(char *slug, size_t size, const char *backend, const char *device);

#endif

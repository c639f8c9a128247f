/* A schedule played with nothing but the seconds of its passes: the longest path
 * through the order of every stage and the dependencies between stages.
 *
 * What the engine would say if passes were single operations and messages free. With
 * lower bounds of the passes' latencies it is a lower bound of the simulated time, and
 * a close one: it knows fill, drain and bubble of any schedule and uneven stages. */
#ifndef GALV_SEARCH_REPLAY_H
#define GALV_SEARCH_REPLAY_H

#include "base/arena.h"
#include "schedule/schedule.h"

typedef struct galv_replay galv_replay;

/* Prepares a shape, whose order must not follow costs. Owned by the arena. Errors:
 * GALV_USAGE (no such order), GALV_NO_MEMORY. */
galv_status galv_replay_new(galv_replay **replay, const galv_schedule *schedule,
                            const galv_schedule_shape *shape, galv_arena *arena,
                            galv_err *err);

/* What galv_replay_kept will say, kept[pp][vpp], without preparing a replay. Errors as
 * above. */
galv_status galv_replay_count_kept(double *kept, const galv_schedule *schedule,
                                   const galv_schedule_shape *shape,
                                   galv_arena *scratch, galv_err *err);

/* Seconds until the last pass has ended. forward_s, backward_s, weight_s: of one
 * micro-batch by virtual stage; weight_s is read where the schedule splits backward.
 * Writes to the replay's scratch: one thread at a time. O(passes). */
double galv_replay_time(galv_replay *replay, const double *forward_s,
                        const double *backward_s, const double *weight_s);

/* Passes that galv_replay_time goes through. */
uint64_t galv_replay_cost(const galv_replay *replay);

/* Micro-batches whose activations a chunk of a stage keeps at the moment when the stage
 * keeps most (chunks counted alike; between the two halves of a split backward, half).
 */
double galv_replay_kept(const galv_replay *replay, int32_t stage, int32_t chunk);

/* So many micro-batches of an average layer are kept at some moment, however the
 * layers of a stage are spread over its chunks: with a layer in chunk c counted
 * kept_c(t), max over t of the mean is at least this. */
double galv_replay_kept_spread(const galv_replay *replay, int32_t stage);

/* Forwards of a stage before its first backward, and micro-batches in all. */
double galv_replay_before_backward(const galv_replay *replay, int32_t stage);
int32_t galv_replay_n_micro_batches(const galv_replay *replay);

int32_t galv_replay_virtual_stage(const galv_replay *replay, int32_t stage,
                                  int32_t chunk);

#endif

/* A schedule under measured stage times: no model, no cost model. */
#ifndef GALV_SIM_STAGE_TIMES_H
#define GALV_SIM_STAGE_TIMES_H

#include "base/csv.h"
#include "schedule/schedule.h"
#include "sim/simulate.h"

/* What one micro-batch takes on one chunk of a stage. */
typedef struct galv_stage_time {
    double forward_s;
    double input_s;          /* backward for inputs */
    double weight_s;         /* backward for weights */
    double message_s;        /* a message to the next stage, either way */
    double activation_bytes; /* kept from forward to backward; half of it until
                                backward for inputs is done, half for weights */
} galv_stage_time;

typedef struct galv_stage_times {
    const char *name; /* of the file, or "" */
    int32_t n_stages, n_chunks;
    galv_stage_time *times; /* [n_stages * n_chunks], by stage, then chunk */
    bool has_bytes; /* else activation_bytes count micro-batches: a stage's are 1 */
} galv_stage_times;

/* Reads a CSV with a header: stage, t_f_s, t_b_s and, as far as they are known, chunk
 * (0), t_w_s (0: t_b_s is the whole backward), t_comm_s (0), activation_bytes. One row
 * for every chunk of every stage, in any order. Owned by the arena. Errors: GALV_INPUT
 * with file, line, column. */
galv_status galv_stage_times_read(galv_stage_times *times, const char *path,
                                  galv_arena *arena, galv_err *err);

/* The same from a table that is read already. */
galv_status galv_stage_times_read_table(galv_stage_times *times, const galv_csv *table,
                                        galv_arena *arena, galv_err *err);

typedef struct galv_stage_times_options {
    int32_t n_chunks; /* 0 = as many as the file has, or as near to that as the
                         schedule can do */
    int32_t n_micro_batches;
    int32_t group_size;   /* interleaved; 0 = the number of stages */
    double memory_limit;  /* activations of micro-batches, for schedules that mind;
                             0 = as the schedule says */
    bool messages_block;  /* a stage goes on when what it sends has arrived, as Megatron
                             does with --no-overlap-p2p-communication; else messages
                             are under way while it computes */
    bool steps_overlap;   /* a stage begins the next iteration as soon as it is through
                             with this one, as with post-validation of the optimizer
                             step: iterations follow one another every period_s. Else
                             all stages wait for one another at the step */
    bool record_timeline; /* titled */
} galv_stage_times_options;

/* A schedule played with these times. */
typedef struct galv_stage_times_result {
    const galv_schedule *schedule;
    int32_t n_chunks;
    double iteration_time_s; /* makespan_s, or period_s where steps overlap */
    double makespan_s;       /* from the first pass of all to the end of the last */
    double period_s; /* the longest time from a stage's first pass to its last. Repeated
                        every so many seconds, no stage has two iterations at once, and
                        nothing waits that did not before. Source: Qi et al. 2023, arXiv
                        2401.10241, sections 4 and 5.3 (their "cost") */
    double least_time_s; /* what the busiest stage computes: no order is faster */
    double bubble_frac;  /* share of iteration_time_s in which a stage computes nothing,
                            messages included; mean over stages */
    double rolling_bubble_frac; /* the same share of period_s: what is left of the
                                   bubble where stages run on into the next iteration.
                                   Source: the same, their "bubble rate" */
    galv_sim_result sim;        /* its memory: activations alone */
} galv_stage_times_result;

/* The shape that a schedule has under these times and options, with what orders that
 * follow costs go by, owned by the arena. Errors: GALV_NO_MEMORY. */
galv_status galv_stage_times_shape(galv_schedule_shape *shape,
                                   const galv_stage_times *times,
                                   const galv_schedule *schedule,
                                   const galv_stage_times_options *options,
                                   galv_arena *arena, galv_err *err);

/* Plays a schedule. Whole-stage times, the sum of a stage's rows, are shared out evenly
 * where the schedule has another number of chunks than the file; a stage of a two-way
 * schedule computes, beside its own, the passes of the stage opposite at that one's
 * times. A backward that is not split takes t_b_s + t_w_s; a pair of passes that run
 * beside each other, the sum of both. Errors: as galv_schedule_order. */
galv_status galv_stage_times_simulate(galv_stage_times_result *result,
                                      const galv_stage_times *times,
                                      const galv_schedule *schedule,
                                      const galv_stage_times_options *options,
                                      galv_arena *arena, galv_err *err);

#endif

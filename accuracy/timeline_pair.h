/* Two timelines of one plan, predicted and measured, and where they part.
 *
 * The time of every rank is divided among the parts below, so that the parts of a rank
 * add up to the iteration, and the differences of the parts to the difference of the
 * iterations: nothing is left unexplained, and nothing counts twice. Ranks are taken
 * together by pipeline stage, since a folded simulation has one rank for each. */
#ifndef GALV_ACCURACY_TIMELINE_PAIR_H
#define GALV_ACCURACY_TIMELINE_PAIR_H

#include "base/arena.h"
#include "base/status.h"
#include "traces/timeline.h"

/* What a rank does at a moment: the kind of operation on its compute stream; if there
 * is none, the communication under way, the first of tp, cp, ep, dp, pp; else nothing.
 * Parts [0, GALV_N_OP_KINDS) are computation by galv_op_kind. */
enum {
    GALV_PART_EXPOSED = GALV_N_OP_KINDS,                 /* + galv_stream */
    GALV_PART_IDLE = GALV_PART_EXPOSED + GALV_N_STREAMS, /* the bubble */
    GALV_N_TIME_PARTS
};

/* "forward", "exposed tp communication", "idle": static text. */
const char *galv_time_part_name(int part);

/* One stage of one timeline: means over the ranks of the stage. */
typedef struct galv_stage_share {
    int32_t n_ranks;                                /* 0: not in this timeline */
    double part_s[GALV_N_TIME_PARTS];               /* add up to the iteration */
    double busy_s[GALV_N_STREAMS][GALV_N_OP_KINDS]; /* of every stream by itself */
    double peak_memory_bytes;                       /* of the worst rank; 0 = unknown */
} galv_stage_share;

/* A part whose difference explains some of that of the iterations. */
typedef struct galv_time_cause {
    int part;
    double difference_s; /* measured - predicted, mean of the stages */
    int32_t stage;       /* where it is largest the same way */
    double stage_s;      /* difference there */
} galv_time_cause;

#define GALV_N_CAUSES 3

typedef struct galv_timeline_pair {
    double measured_s, predicted_s; /* iteration */
    int32_t n_stages;
    galv_stage_share *measured, *predicted;         /* [n_stages], owned by the arena */
    galv_stage_share measured_mean, predicted_mean; /* of the stages that both have */
    int n_causes;
    galv_time_cause causes[GALV_N_CAUSES]; /* largest first */
} galv_timeline_pair;

/* Sets two timelines beside each other. Errors: GALV_INPUT (one has no iteration, or
 * the two share no stage), GALV_NO_MEMORY. O(spans log spans). */
galv_status galv_timeline_pair_make(galv_timeline_pair *pair,
                                    const galv_timeline *measured,
                                    const galv_timeline *predicted, galv_arena *arena,
                                    galv_err *err);

#endif

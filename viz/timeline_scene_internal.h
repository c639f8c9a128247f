/* A timeline made ready to be drawn: cells joined, rows chosen, phases and peaks found.
 */
#ifndef GALV_VIZ_TIMELINE_SCENE_INTERNAL_H
#define GALV_VIZ_TIMELINE_SCENE_INTERNAL_H

#include "base/arena.h"
#include "traces/timeline.h"
#include "viz/palette.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The communication lanes, in the order they are drawn. */
typedef enum galv_lane {
    GALV_LANE_TP,
    GALV_LANE_EP,
    GALV_LANE_CP,
    GALV_LANE_DP,
    GALV_LANE_PP,
    GALV_N_LANES
} galv_lane;

/* A time when nothing is computed on a row. */
typedef struct galv_gap {
    int32_t rank;
    double start_s, end_s;
} galv_gap;

typedef struct galv_scene {
    const galv_timeline *timeline;
    galv_span *cells; /* joined, sorted by (rank, stream, start) */
    size_t n_cells;
    galv_memory_sample *samples; /* sorted by (rank, time) */
    size_t n_samples;
    int32_t n_stages;   /* highest stage + 1 */
    size_t *row_begin;  /* [n_ranks + 1] first cell of a rank */
    size_t *lane_begin; /* [n_ranks] first cell that is not computation */
    int32_t *shown;     /* [n_shown] ranks drawn, ascending */
    int32_t n_shown;
    bool rows_are_stages; /* every rank is its stage: labels say so */
    bool lane_used[GALV_N_LANES];
    bool ink_used[GALV_N_INKS];      /* by computation, or exposed */
    bool lane_ink_used[GALV_N_INKS]; /* by any communication */
    bool whole_backward; /* some backward is not split into inputs and weights */
    double duration_s;
    double median_s;       /* of forward and backward cells */
    double forward_s;      /* median forward; median_s when there is none */
    double period_s;       /* forward and backward of one micro-batch on a row */
    double steady_start_s; /* row 0: first backward begins */
    double steady_end_s;   /* row 0: last forward ends */
    double compute_end_s;  /* last forward or backward of any row ends */
    galv_gap gaps[3];      /* longest, >= 3 % of the duration, longest first */
    int n_gaps;
    int32_t worst_rank; /* of the highest memory; -1 = no samples */
    double peak_bytes;
    double peak_time_s;
} galv_scene;

/* Everything is owned by the arena. Errors: GALV_INPUT for spans that are not numbers
 * or ranks that do not exist, and for a timeline without spans; GALV_NO_MEMORY. */
galv_status galv_scene_make(galv_scene *scene, const galv_timeline *timeline,
                            bool all_rows, galv_arena *arena, galv_err *err);

/* Notes the inks seen between two times, on the rows shown; exposed messages count from
 * `least_s` on. */
void galv_scene_find_inks(galv_scene *scene, double start_s, double end_s,
                          double least_s);

/* The next part of a message, from *at_s on, during which its row does not compute;
 * false when there is none. *cover is the cell to look at first (0 at a stream's first
 * message) and moves on. */
bool galv_scene_next_exposed(const galv_scene *scene, const galv_span *message,
                             size_t *cover, double *at_s, double *start_s,
                             double *end_s);

galv_ink galv_span_ink(const galv_span *span);
galv_lane galv_span_lane(const galv_span *span); /* of communication */
bool galv_span_computes(const galv_span *span);
const char *galv_lane_name(galv_lane lane);

/* "stage 3" or "rank 3"; and "L12-15" or "" when its layers are unknown. */
void galv_scene_row_label(const galv_scene *scene, int32_t rank, char *buffer,
                          size_t size);
void galv_scene_layers_label(const galv_scene *scene, int32_t rank, char *buffer,
                             size_t size);

/* The number in a cell: micro-batch, and chunk if `with_chunk`. */
void galv_cell_label(const galv_span *cell, bool with_chunk, char *buffer, size_t size);

#endif

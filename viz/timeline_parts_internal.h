/* The parts that the timeline figure is put together from. */
#ifndef GALV_VIZ_TIMELINE_PARTS_INTERNAL_H
#define GALV_VIZ_TIMELINE_PARTS_INTERNAL_H

#include "viz/canvas.h"
#include "viz/timeline_scene_internal.h"

/* A window of time on the page. */
typedef struct galv_frame {
    double x, w; /* left edge and width */
    double start_s, end_s;
} galv_frame;

/* How rows are stacked. */
typedef struct galv_row_layout {
    double y;      /* top of the first row */
    double height; /* of the computation in a row */
    double gap;    /* between rows */
    bool lanes;    /* communication in lanes below; else exposed parts in the row */
} galv_row_layout;

#define GALV_LANE_HEIGHT 7.0
#define GALV_LANE_PITCH  8.0
/* Narrower exposed messages are not drawn, nor named in the legend. */
#define GALV_SMALLEST_PX 0.5
#define GALV_LABEL_GAP   6.0 /* between labels and the frame */

double galv_frame_x(const galv_frame *frame, double time_s);

double galv_row_pitch(const galv_scene *scene, const galv_row_layout *rows);
double galv_rows_height(const galv_scene *scene, const galv_row_layout *rows);

/* Names at the left of the rows (and of their lanes). */
void galv_draw_row_labels(galv_canvas *canvas, const galv_scene *scene, double x,
                          const galv_row_layout *rows);
/* Background, cells and messages of every row within the frame. */
void galv_draw_rows(galv_canvas *canvas, const galv_scene *scene,
                    const galv_frame *frame, const galv_row_layout *rows);
/* The parts of a row's messages that computation does not hide, as a low band. */
void galv_draw_exposed(galv_canvas *canvas, const galv_scene *scene, int32_t rank,
                       const galv_frame *frame, double y, double height);
/* The lengths of the longest gaps, written into them where they fit. */
void galv_draw_gaps(galv_canvas *canvas, const galv_scene *scene,
                    const galv_frame *frame, const galv_row_layout *rows);
/* One cell with its label where that fits. */
void galv_draw_cell(galv_canvas *canvas, double x, double y, double w, double h,
                    galv_fill fill, const char *label);

/* Stacked shares of the time, per row, instead of cells. */
galv_status galv_draw_overview(galv_canvas *canvas, const galv_scene *scene,
                               const galv_frame *frame, const galv_row_layout *rows,
                               galv_err *err);

/* Time axis below `y`; takes 24 px. `titled`: with "time (s)". */
void galv_draw_time_axis(galv_canvas *canvas, const galv_frame *frame, double y,
                         double duration_s, bool titled);
/* Braces over the phases, the brackets' feet at `y`; takes 14 px above. */
void galv_draw_phases(galv_canvas *canvas, const galv_scene *scene,
                      const galv_frame *frame, double y);
/* Memory over time in [y, y + height]. */
galv_status galv_draw_memory_strip(galv_canvas *canvas, const galv_scene *scene,
                                   const galv_frame *frame, double y, double height,
                                   galv_err *err);
/* The layers around one turn from forward to backward of a single row, from the spans
 * before joining: heading, rows and axis from `y` on. The window is chosen first. */
typedef struct galv_close_up {
    galv_frame frame;
    int32_t micro_batch;
    bool lane_used[GALV_N_LANES]; /* within the window */
    bool ink_used[GALV_N_INKS];
} galv_close_up;

galv_close_up galv_close_up_choose(const galv_scene *scene, double x, double w);
double galv_close_up_height(const galv_close_up *close_up);
void galv_draw_close_up(galv_canvas *canvas, const galv_scene *scene,
                        const galv_close_up *close_up, double y);

#endif

/* The memory figure: what fills each stage's devices at their peak. */
#ifndef GALV_VIZ_MEMORY_FIGURE_H
#define GALV_VIZ_MEMORY_FIGURE_H

#include "viz/figure.h"

#include <stddef.h>

/* Bytes at the peak of one stage. */
typedef struct galv_memory_row {
    const char *label; /* "stage 0"; NULL = that */
    double parameters_bytes;
    double gradients_bytes;
    double optimizer_bytes;
    double activations_bytes;
    double buffers_bytes; /* communication buffers and gathered parameters */
    double context_bytes; /* context, libraries, allocator slack */
    double peak_time_s;   /* when; < 0 = unknown */
    double limit_bytes;   /* what its device has; 0 = unknown */
} galv_memory_row;

/* Rows are drawn with the largest on top, and with one line for a limit that all have.
 * Errors: GALV_INPUT (no rows, or bytes that are negative or no number). */
galv_status galv_memory_compose(galv_canvas **canvas, const galv_memory_row *rows,
                                size_t n_rows, const char *title,
                                const galv_figure_options *options, galv_err *err);
galv_status galv_memory_draw(const galv_memory_row *rows, size_t n_rows,
                             const char *title, const char *path,
                             const galv_figure_options *options, galv_err *err);

#endif

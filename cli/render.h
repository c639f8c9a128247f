/* What the pictures of `render` share; each kind is a function on a galv_rendering. */
#ifndef GALV_CLI_RENDER_H
#define GALV_CLI_RENDER_H

#include "cli/output.h"
#include "viz/figure.h"

typedef struct galv_rendering {
    const galv_cli *cli;
    const char *path;         /* of the input */
    const char *const *paths; /* of all of them, for the timeline */
    size_t n_paths;
    galv_target target;
    galv_figure_options figure;
} galv_rendering;

/* Refuses targets that are no pictures. */
galv_status galv_render_need_picture(const galv_rendering *r, galv_err *err);

/* From a sweep (JSON). */
galv_status galv_render_scaling(galv_rendering *r, galv_err *err);

/* From a sweep (JSON: time and money) or candidates (CSV: time and memory). */
galv_status galv_render_pareto(galv_rendering *r, galv_err *err);

#endif

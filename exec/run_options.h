/* The options of galvatron-exec run. */
#ifndef GALV_EXEC_RUN_OPTIONS_H
#define GALV_EXEC_RUN_OPTIONS_H

#include "exec/trainer.h"

typedef struct galv_run_options {
    const char *plan_path;
    const char *backend;
    const char *out; /* folder; NULL = nothing is written */
    int64_t steps;   /* the run ends after this step */
    bool json, quiet, help;
    galv_trainer_options trainer;
    bool seed_given, rate_given;
    int64_t checkpoint_every; /* 0 = never */
    const char *checkpoint_dir;
    int32_t checkpoint_keep;
    bool resumes;
    const char *resume; /* NULL with `resumes`: checkpoint_dir, if it has any */
    const char *switch_to;
    int64_t switch_at;
    bool adapts;
    double predicted_s; /* 0 = not told */
    int32_t slow_rank;  /* -1 = none */
    double slow_factor;
    int64_t slow_from;    /* step from which on; 0 = the first */
    int32_t slow_link[2]; /* ranks; the first -1 = none */
    double slow_bytes_per_s;
    int64_t slow_link_from;
    const char *profile; /* for the planner; NULL = none */
} galv_run_options;

#define GALV_RUN_OPTIONS_INIT                                               \
    {                                                                       \
        .steps = 10, .trainer = GALV_TRAINER_OPTIONS_INIT, .slow_rank = -1, \
        .slow_link = {-1, -1}, .checkpoint_keep = 3                         \
    }

extern const char *const galv_run_help;

/* Strings are those of argv. Errors: GALV_USAGE. */
galv_status galv_run_options_read(galv_run_options *options, int argc, char **argv,
                                  galv_err *err);

#endif

/* Why an iteration takes as long as it does: the chain of operations that determines
 * its end, and what every second of every rank went to. */
#ifndef GALV_SIM_CRITICAL_PATH_H
#define GALV_SIM_CRITICAL_PATH_H

#include "base/json.h"
#include "sim/evaluate.h"
#include "sim/unfold.h"

/* Why nothing runs on a rank. X(name, word) */
#define GALV_BUBBLE_TABLE(X)                                                         \
    X(WARM_UP, "warm_up")       /* its first micro-batch has not come yet */         \
    X(UPSTREAM, "upstream")     /* a forward that comes in is not done yet */        \
    X(DOWNSTREAM, "downstream") /* a backward that comes in is not done yet */       \
    X(COOL_DOWN, "cool_down")   /* the same, its own forwards being over */          \
    X(MESSAGE, "message")       /* what it waits for is done and on its way to it */ \
    X(STEP, "step")             /* others' gradients are not ready, or it is done */ \
    X(COLLECTIVE, "collective") /* others have not come to its collective */

typedef enum galv_bubble {
#define GALV_ENUM(name, word) GALV_BUBBLE_##name,
    GALV_BUBBLE_TABLE(GALV_ENUM)
#undef GALV_ENUM
        GALV_N_BUBBLES
} galv_bubble;

extern const char *const galv_bubble_names[GALV_N_BUBBLES];

/* Operations of the path that follow one another on one rank for one pass of one
 * micro-batch. */
typedef struct galv_path_segment {
    int32_t rank;
    int32_t stage, chunk;
    int32_t micro_batch; /* -1: not of one */
    uint8_t kind;        /* galv_op_kind: the pass that is computed, its collectives
                            and recomputation included; else what is communicated */
    double start_s, end_s;
    uint32_t n_ops;
} galv_path_segment;

/* The seconds of one rank. */
typedef struct galv_rank_time {
    double spent_s[GALV_N_BREAKDOWNS]; /* adds up to the iteration */
    double bubble_s[GALV_N_BUBBLES];   /* adds up to spent_s[GALV_BREAKDOWN_BUBBLE] */
    double path_s[GALV_N_BREAKDOWNS];  /* seconds of the path on this rank */
} galv_rank_time;

typedef struct galv_critical_path {
    double duration_s; /* the iteration */
    size_t n_ops;
    uint32_t *ops; /* [n_ops] from the first to the one that ends last */
    double spent_s[GALV_N_BREAKDOWNS]; /* along the path; adds up to duration_s. The
                                          bubble is 0 when simulated: each op begins
                                          when the one before it on the path ends */
    double slowed_s; /* of it: more than its operations take alone, because of what
                        runs beside them */
    size_t n_hops;   /* how often it changes ranks */
    size_t n_segments;
    galv_path_segment *segments; /* [n_segments] in time, without those of no length */
    int32_t ranks_per_stage;     /* 1 where one rank stands for a stage */
    int32_t n_ranks;
    galv_rank_time *ranks; /* [n_ranks] */
} galv_critical_path;      /* arrays are owned by the arena */

/* Finds the path through a timeline whose spans are the operations of `program` in the
 * program's order (what galv_simulate records). Where several operations end at the
 * moment at which one can begin, the path stays on its rank if it can, then takes the
 * first in the program's order. `costs` may be NULL: then slowed_s is 0. O(operations
 * + dependencies). Errors: GALV_INPUT when the timeline is not of this program,
 * GALV_NO_MEMORY. */
galv_status galv_critical_path_find(galv_critical_path *path,
                                    const galv_program *program, const galv_cost *costs,
                                    const galv_timeline *timeline, galv_arena *arena,
                                    galv_err *err);

/* The same for every rank by itself. What a collective waits for is what any of its
 * ranks waits for, so that the path goes from a rank to the one that held it up;
 * slowed_s leaves out what differences between ranks make. */
galv_status galv_critical_path_find_all(galv_critical_path *path,
                                        const galv_unfolded_program *unfolded,
                                        const galv_timeline *timeline,
                                        galv_arena *arena, galv_err *err);

/* Compiles and prices a plan, simulates every rank of it as `options` say, in draw
 * `run`, and finds the path. Errors: as galv_evaluate and galv_unfold (too large). */
galv_status galv_critical_path_of_all_ranks(galv_critical_path *path,
                                            const galv_costmodel *model,
                                            const galv_plan *plan,
                                            const galv_evaluate_options *options,
                                            uint32_t run, galv_arena *arena,
                                            galv_err *err);

/* Compiles, prices and simulates a plan and finds its path. Errors: as
 * galv_evaluate. */
galv_status galv_critical_path_of_plan(galv_critical_path *path,
                                       const galv_costmodel *model,
                                       const galv_plan *plan, galv_arena *arena,
                                       galv_err *err);

/* Writes the value of "critical_path" (docs/formats.md). */
void galv_critical_path_to_json(const galv_critical_path *path,
                                galv_json_writer *writer);

#endif

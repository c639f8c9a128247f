/* Plans drawn by lot for the matrix: what nobody thought of. */
#ifndef GALV_TESTS_EXEC_MPI_MATRIX_SUPPORT_H
#define GALV_TESTS_EXEC_MPI_MATRIX_SUPPORT_H

#include "plan/plan.h"

#include <stdint.h>

enum { DRAWN_LAYERS = 16, DRAWN_STAGES = 64, DRAWN_STRATEGIES = 4 };

typedef struct drawn_plan {
    uint64_t seed; /* that draws it again */
    const char *model;
    int32_t global_batch_size;
    galv_uniform_plan uniform; /* its stage_blocks are `blocks`, or NULL */
    int32_t blocks[DRAWN_STAGES];
    galv_strategy strategies[DRAWN_STRATEGIES];
    int32_t of_layer[DRAWN_LAYERS]; /* index into strategies */
} drawn_plan;

/* A plan for `n_ranks`, of `n_blocks` blocks and two ends; it need not be one that can
 * be. `state` is the generator's, any number at first. */
void draw_plan(drawn_plan *plan, uint64_t *state, int32_t n_ranks, int32_t n_blocks);

/* All of it in one line. */
char *drawn_plan_print(char *text, size_t size, const drawn_plan *plan,
                       int32_t n_layers);

#endif

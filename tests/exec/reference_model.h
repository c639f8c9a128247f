/* A transformer in double precision, written without regard to the executor's: the loss
 * of a whole model by its weights, one sample after another. */
#ifndef GALV_TESTS_EXEC_REFERENCE_MODEL_H
#define GALV_TESTS_EXEC_REFERENCE_MODEL_H

#include "exec/parameters.h"
#include "plan/model.h"

enum { REFERENCE_LAYERS = 8 };

typedef struct reference_model {
    const galv_model *model;
    int32_t n_layers;                                  /* embedding and head included */
    double *weights[REFERENCE_LAYERS][GALV_N_TENSORS]; /* whole; NULL: none */
} reference_model;

/* Mean loss over samples[n_samples] of seq_length + 1 tokens each. */
double reference_loss(const reference_model *m, const int32_t *tokens,
                      int32_t n_samples, int32_t seq_length);

#endif

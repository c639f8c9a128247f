/* Timelines made by simple arithmetic, for the tests of pictures. */
#ifndef GALV_TESTS_VIZ_SAMPLE_TIMELINES_H
#define GALV_TESTS_VIZ_SAMPLE_TIMELINES_H

#include "base/arena.h"
#include "traces/timeline.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct sample_shape {
    int32_t p;        /* pipeline stages */
    int32_t m;        /* micro-batches; a multiple of p when v > 1 */
    int32_t v;        /* chunks per stage: 1 = 1F1B, more = Megatron's interleaving */
    int32_t n_layers; /* per stage */
    double forward_s; /* of one micro-batch in one chunk */
    double backward_s;
    double message_s;   /* between stages; 0 = free and not drawn */
    bool gpipe;         /* all forwards first */
    bool split_weights; /* backward as input and weight halves */
    bool recompute;     /* a forward before each backward */
    bool layers;        /* one span per layer and tensor-parallel spans between */
    double reduce_s;    /* gradients at the end; 0 = none */
    double optimizer_s;
    double limit_gib; /* 0 = unknown */
} sample_shape;

/* Everything is owned by the arena. */
galv_timeline sample_timeline(const sample_shape *shape, galv_arena *arena);

/* Shapes of all kinds, used by the tests by index. */
typedef struct named_shape {
    const char *name;
    sample_shape shape;
} named_shape;

#define N_SAMPLE_SHAPES 11
extern const named_shape sample_shapes[N_SAMPLE_SHAPES];

#endif

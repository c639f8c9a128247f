/* What the parts of the layer-wise search share: layerwise.c goes through shapes and
 * judges, layer_improve.c exchanges layers of the best plans, layer_shrink.c looks for
 * any plan that fits. */
#ifndef GALV_SEARCH_LAYERWISE_INTERNAL_H
#define GALV_SEARCH_LAYERWISE_INTERNAL_H

#include "search/judged.h"
#include "search/layer_guess.h"
#include "search/layerwise.h"

/* Plans judged at once, whatever the number of threads. */
#define GALV_LAYERWISE_WAVE 8
/* Plans of different shapes whose layers are exchanged. */
#define GALV_LAYERWISE_STARTS 3

typedef struct galv_layerwise_shape {
    const galv_layer_table *table;
    double bound_s;
    galv_replay *replay; /* of the arena of the result; NULL = made when it is needed */
} galv_layerwise_shape;

/* A plan whose layers are to be exchanged. */
typedef struct galv_layerwise_start {
    const galv_layerwise_shape *entry; /* NULL = none */
    double time_s;
    galv_layering layering; /* of the arena of the result */
} galv_layerwise_start;

typedef struct galv_layer_tried galv_layer_tried;

typedef struct galv_layerwise {
    const galv_costmodel *model;
    const galv_job *job;
    const galv_space *space;
    galv_layerwise_options options;
    galv_layerwise_result *result;
    galv_arena *arena;
    galv_arena *scratch; /* of one shape */
    galv_err *err;
    double limit_bytes;
    size_t n_shapes;
    galv_layerwise_shape *shapes; /* in the order of the tree */
    size_t *order;
    uint64_t n_replayed; /* passes of the replays that are kept */
    bool given_up;       /* a tree was, before all of it was seen */
    double n_ops;
    double exchange_until_ops;
    galv_judged list;
    galv_layerwise_start starts[GALV_LAYERWISE_STARTS]; /* ascending */
    galv_layer_tried *tried; /* of the arena of the result; NULL = none yet */
    /* the wave */
    const galv_layerwise_shape *entry;
    size_t n_wave;
    galv_layer_leaf wave[GALV_LAYERWISE_WAVE];
    double stop_at_s[GALV_LAYERWISE_WAVE]; /* what it must be faster than */
    galv_searched judged[GALV_LAYERWISE_WAVE];
    galv_status statuses[GALV_LAYERWISE_WAVE];
    galv_err errors[GALV_LAYERWISE_WAVE];
    double ops[GALV_LAYERWISE_WAVE];
    galv_arena **arenas; /* [n_jobs] */
} galv_layerwise;

/* A worker's prices of other plans; NULL = none. */
static inline galv_price_table *galv_layerwise_table(const galv_layerwise *l,
                                                     int worker)
{
    return l->options.tables != NULL ? l->options.tables[worker] : NULL;
}

/* layerwise.c */

/* The replay of a shape and what guesses need; not possible when its schedule cannot do
 * so many micro-batches. Empties l->scratch. */
galv_status galv_layerwise_open(galv_layerwise *l, const galv_layerwise_shape *entry,
                                galv_layer_guesser *guesser, bool *possible);

/* Fills the wave with the first of n leaves of l->entry that may be faster than
 * *stop_at_s for all that is known, or may enter the podium (NULL); how many it went
 * through. */
size_t galv_layerwise_fill_wave(galv_layerwise *l, const galv_layer_leaf *leaves,
                                size_t n, const double *stop_at_s);

/* Judges l->wave[n_wave], plans of l->entry, and keeps what came of them in the result
 * and in l->judged. */
galv_status galv_layerwise_judge(galv_layerwise *l);

bool galv_layerwise_out_of_time(galv_layerwise *l);

/* layer_tried.c */

/* What judging a layering of l->entry can tell that is not known: its plan takes no
 * less than this (INFINITY: does not fit); 0 = it was not judged. */
double galv_layerwise_least_s(const galv_layerwise *l, const galv_layering *layering);

/* Notes what galv_layerwise_least_s is to say of a layering of l->entry. Errors:
 * GALV_NO_MEMORY. */
galv_status galv_layerwise_remember(galv_layerwise *l, const galv_layering *layering,
                                    double least_s);

/* layer_shrink.c */

/* Goes down in memory from the smallest plans of each shape that may hold one that
 * fits, and judges what is met. For when nothing that fits was found. */
galv_status galv_layerwise_shrink(galv_layerwise *l);

/* layer_improve.c */

/* Offers a plan to start exchanges from: the best of each shape are. */
galv_status galv_layerwise_offer(galv_layerwise *l, const galv_layerwise_shape *entry,
                                 const galv_layering *layering, double time_s);

/* Offers a uniform candidate: place->index is its number among those of `shapes`. */
galv_status galv_layerwise_offer_uniform(galv_layerwise *l, const galv_shapes *shapes,
                                         const galv_podium_place *place);

/* Exchanges layers of the plans offered while that makes them faster. */
galv_status galv_layerwise_improve(galv_layerwise *l);

#endif

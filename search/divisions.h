/* Uniform plans on a cluster of unlike pools: how many blocks each pool's stages hold.
 *
 * Between stages of one pool blocks are spread evenly, between pools in any way. Of
 * each division a lower bound is known from the prices of a block on each pool, which
 * is what picks the first one, and leaves most of the others aside. */
#ifndef GALV_SEARCH_DIVISIONS_H
#define GALV_SEARCH_DIVISIONS_H

#include "search/shapes.h"

typedef struct galv_divisions galv_divisions;

/* Uniform candidates with their divisions, and what is known of each. */
typedef struct galv_divided {
    galv_candidates candidates;
    galv_shape_bound *known; /* [n_candidates] */
} galv_divided;

/* Prices a block of every leaf on every pool. Borrows `leaves`, the uniform candidates
 * of the space; owned by the arena. Errors: GALV_NO_MEMORY, GALV_USAGE (as
 * galv_layer_table_make). */
galv_status galv_divisions_new(galv_divisions **divisions, const galv_costmodel *model,
                               const galv_space *space, const galv_candidates *leaves,
                               galv_arena *arena, galv_err *err);

/* For each leaf the division with the least bound, and the even one; leaves whose
 * schedule follows costs or pairs passes, and with fewer blocks than virtual stages:
 * the even one alone. Owned by the arena. Errors: GALV_NO_MEMORY. */
galv_status galv_divisions_first(galv_divided *divided, const galv_divisions *divisions,
                                 galv_arena *arena, galv_err *err);

/* All the others with a bound below `below_s`. */
galv_status galv_divisions_rest(galv_divided *divided, const galv_divisions *divisions,
                                double below_s, galv_arena *arena, galv_err *err);

/* The leaves on the stages of one pool: tables, and for each leaf its shape and its
 * strategy there, whose numbers are the same on every pool. */
const galv_shapes *galv_divisions_on_pool(const galv_divisions *divisions,
                                          int32_t pool);

/* The leaf of a uniform candidate, whatever its blocks; -1 when its blocks cannot be
 * divided. */
int64_t galv_divisions_leaf(const galv_divisions *divisions,
                            const galv_candidate *candidate);

/* Spreads the blocks of each pool evenly over its stages and chunks:
 * blocks[pp * vpp] of a leaf. False when memory is out. */
bool galv_divisions_spread(int32_t *blocks, const galv_divisions *divisions,
                           size_t leaf, const int32_t *of_pools, galv_arena *arena);

/* A shape of the leaves, for pools that take strategies of their own, each one for all
 * of its stages. */
typedef struct galv_division_shape {
    size_t leaf;    /* the first of them */
    double bound_s; /* no such plan takes less; INFINITY = none can be */
} galv_division_shape;

/* All of them, by (bound, leaf); owned by the arena. Errors: GALV_NO_MEMORY. */
galv_status galv_divisions_shapes(galv_division_shape **shapes, size_t *n_shapes,
                                  const galv_divisions *divisions, galv_arena *arena,
                                  galv_err *err);

#endif

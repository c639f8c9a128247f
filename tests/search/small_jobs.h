/* Random small jobs that brute force can do: every partition of the blocks, every
 * strategy of every layer, each plan estimated and simulated by itself. */
#ifndef GALV_TESTS_SEARCH_SMALL_JOBS_H
#define GALV_TESTS_SEARCH_SMALL_JOBS_H

#include "search/shapes.h"

/* A small generator of our own: the instances are the same everywhere. */
uint32_t next_random(uint64_t *state);

typedef struct instance {
    galv_job job;
    galv_space space;
    galv_costmodel *model;
    galv_arena *arena;
    galv_err err;
    galv_candidates uniform;
    galv_shapes shapes;
} instance;

/* Plans of a space that brute force is not asked to go beyond. */
enum { MOST_PLANS = 1500 };

/* False when the space is empty. */
bool instance_begin(instance *in, uint64_t seed);
void instance_end(instance *in);
/* The same job with another limit. */
void instance_limit_memory(instance *in, double bytes);
/* The same job where communication is dear: 4 (`how` 1) or 16 (2) times slower links.
 */
void instance_slow_links(instance *in, uint64_t how);

/* Appends a group of one kind to a model of Llama's layers. */
void add_group(galv_model *m, galv_layer_kind kind, int32_t n, int32_t hidden,
               int32_t ffn, int32_t heads, int32_t vocab);

/* Of one shape: alike but for their strategies. */
bool candidates_alike(const galv_candidate *a, const galv_candidate *b);

typedef struct brute_found {
    double best_s;      /* of plans that fit; INFINITY when none does */
    double least_bytes; /* of any plan, whether it fits or not */
    size_t n_plans;
} brute_found;

/* Every plan of the space, or only how many there are. */
brute_found brute_force(instance *in, bool count_only);

#endif

/* The K best plans so far, of which at most so many of one kind.
 *
 * Two plans are of one kind when they agree in everything but what tunes them: the
 * schedule, the chunks of a stage and the micro-batch. The best plans of a job often
 * differ in nothing else; a list of five then shows one idea five times. Plans whose
 * layers differ and that agree in these too are told apart by single layers only: of
 * such twins the podium holds one, unless any number of a kind is wanted. */
#ifndef GALV_SEARCH_PODIUM_H
#define GALV_SEARCH_PODIUM_H

#include "search/search.h"

typedef struct galv_podium_place {
    size_t index; /* of the searched */
    double time_s;
    const galv_candidate *candidate; /* borrowed */
} galv_podium_place;

typedef struct galv_podium {
    size_t n, top_k;
    int32_t per_kind;          /* 0 = any number */
    galv_podium_place *places; /* [top_k] by (time, index); the caller's */
} galv_podium;

/* Do they agree in tp, cp, ep, dp, pp, sp, zero and recompute, and in whether layers
 * differ? Where these do, degrees are those of the first block, and the last three,
 * which are what mostly differs from layer to layer, are not asked. */
bool galv_candidate_same_kind(const galv_candidate *a, const galv_candidate *b);

/* Are both layered, of one kind, and of one schedule, chunks and micro-batch? */
bool galv_candidate_is_twin(const galv_candidate *a, const galv_candidate *b);

/* Offers a plan. In whatever order plans are offered, the podium holds what one would
 * take who goes through all of them, fastest first, leaves out what is one too many of
 * its kind, and stops at the K-th. */
void galv_podium_enter(galv_podium *podium, const galv_podium_place *plan);

/* Times of the first and of the K-th; INFINITY = there is none yet. */
double galv_podium_best(const galv_podium *podium);
double galv_podium_last(const galv_podium *podium);

/* A candidate that takes at least so long cannot enter. */
double galv_podium_limit(const galv_podium *podium, const galv_candidate *candidate);

#endif

/* A sorted list. When a kind is full, a faster plan of it takes the place of its
 * slowest: the number of entries stays, so that what fell off the end before, slower
 * than all of them, is not missed. */
#include "search/podium.h"

#include <math.h>
#include <string.h>

bool galv_candidate_same_kind(const galv_candidate *a, const galv_candidate *b)
{
    const galv_strategy *s = &a->strategy;
    const galv_strategy *t = &b->strategy;
    bool alike = a->layered != NULL ||
                 (s->sp == t->sp && s->zero == t->zero && s->recompute == t->recompute);
    return alike && a->pp == b->pp && a->rank_order == b->rank_order &&
           s->tp == t->tp && s->cp == t->cp && s->ep == t->ep && s->dp == t->dp &&
           (a->layered == NULL) == (b->layered == NULL);
}

bool galv_candidate_is_twin(const galv_candidate *a, const galv_candidate *b)
{
    return a->layered != NULL && galv_candidate_same_kind(a, b) && a->vpp == b->vpp &&
           a->micro_batch_size == b->micro_batch_size && a->schedule == b->schedule;
}

/* The place of the one that the candidate would have to replace, the others of its kind
 * being as many as may be: its twin, or the slowest of a full kind; p->n = none. */
static size_t place_of_rival(const galv_podium *p, const galv_candidate *candidate)
{
    int32_t n_alike = 0;
    size_t last = p->n;
    for (size_t i = 0; p->per_kind > 0 && i < p->n; i++) {
        const galv_candidate *held = p->places[i].candidate;
        if (galv_candidate_is_twin(held, candidate)) {
            return i;
        }
        if (galv_candidate_same_kind(held, candidate)) {
            n_alike++;
            last = i;
        }
    }
    return p->per_kind > 0 && n_alike >= p->per_kind ? last : p->n;
}

static bool before(const galv_podium_place *a, const galv_podium_place *b)
{
    return a->time_s < b->time_s || (a->time_s <= b->time_s && a->index < b->index);
}

void galv_podium_enter(galv_podium *p, const galv_podium_place *plan)
{
    size_t at = p->n;
    size_t leaves = place_of_rival(p, plan->candidate);
    while (at > 0 && before(plan, &p->places[at - 1])) {
        at--;
    }
    if (at >= p->top_k || (leaves < p->n && at > leaves)) {
        return;
    }
    if (leaves == p->n) {
        leaves = p->n < p->top_k ? p->n : p->top_k - 1;
        p->n += p->n < p->top_k;
    }
    memmove(&p->places[at + 1], &p->places[at], (leaves - at) * sizeof *p->places);
    p->places[at] = *plan;
}

double galv_podium_last(const galv_podium *p)
{
    return p->n < p->top_k ? (double)INFINITY : p->places[p->n - 1].time_s;
}

double galv_podium_best(const galv_podium *p)
{
    return p->n == 0 ? (double)INFINITY : p->places[0].time_s;
}

double galv_podium_limit(const galv_podium *p, const galv_candidate *candidate)
{
    size_t last = place_of_rival(p, candidate);
    double limit_s = galv_podium_last(p);
    return last < p->n ? fmin(limit_s, p->places[last].time_s) : limit_s;
}

/* A knapsack with a count: choose n_layers options, each as often as wanted.
 *
 * Without whole counts the best of one linear term lies on the lower convex hull of the
 * options in the plane (memory, time): a mix of the two hull points around the memory
 * that a layer may take on average. The hull's slope there is what a MiB is worth; with
 * it every option has a reduced cost, by which each use of it raises the bound above
 * the mix. The gap between the bound and the best answer known therefore limits how
 * often each option can be used at all; mostly two to four options are left, and a walk
 * over their counts, dearest first, ends at once. The bound of several terms is that of
 * their best mixture, found by line searches: any mixture is a valid bound, so how good
 * the line search is changes the effort and never the answer.
 *
 * The walk stops after MAX_NODES and then says that it is not exact. */
#include "search/counts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_NODES    4000000
#define LINE_STEPS   24
#define MIX_ROUNDS   4
#define GOLDEN       0.61803398874989485
#define WHOLE_DIGITS 1e-13 /* relative: what rounding may do to a sum */

/* ---- options ---- */

static int by_memory(const void *left, const void *right)
{
    const galv_count_option *a = left;
    const galv_count_option *b = right;
    if (a->memory < b->memory || a->memory > b->memory) {
        return a->memory < b->memory ? -1 : 1;
    }
    if (a->no_sync_s < b->no_sync_s || a->no_sync_s > b->no_sync_s) {
        return a->no_sync_s < b->no_sync_s ? -1 : 1;
    }
    if (a->sync_s < b->sync_s || a->sync_s > b->sync_s) {
        return a->sync_s < b->sync_s ? -1 : 1;
    }
    return a->name < b->name ? -1 : a->name > b->name;
}

int32_t galv_counts_prepare(galv_count_option *options, int32_t n_options)
{
    int32_t n = 0;
    qsort(options, (size_t)n_options, sizeof *options, by_memory);
    for (int32_t i = 0; i < n_options; i++) {
        bool beaten = false;
        for (int32_t k = 0; !beaten && k < n; k++) { /* those need no more memory */
            beaten = options[k].no_sync_s <= options[i].no_sync_s &&
                     options[k].sync_s <= options[i].sync_s;
        }
        if (!beaten) {
            options[n++] = options[i];
        }
    }
    return n;
}

/* ---- without whole counts ---- */

/* The best mix of one term. */
typedef struct mix {
    double value;      /* of the term; INFINITY = nothing fits */
    double price;      /* seconds that a unit of memory is worth */
    int32_t low, high; /* the two options; equal = one */
    double share;      /* of the layers: `high` */
} mix;

static double cost(const galv_count_term *term, const galv_count_option *option)
{
    return term->no_sync * option->no_sync_s + term->sync * option->sync_s;
}

/* Is hull point b no help between a and c? */
static bool bulges(const galv_count_option *options, const double *costs, int32_t a,
                   int32_t b, int32_t c)
{
    return (costs[b] - costs[a]) * (options[c].memory - options[a].memory) >=
           (costs[c] - costs[a]) * (options[b].memory - options[a].memory);
}

/* The falling part of the lower hull: indices by ascending memory. */
static int32_t hull_of(int32_t *hull, double *costs, const galv_count_problem *p,
                       const galv_count_term *term)
{
    int32_t n = 0;
    for (int32_t i = 0; i < p->n_options; i++) {
        costs[i] = cost(term, &p->options[i]);
        if (n > 0 && costs[i] >= costs[hull[n - 1]]) {
            continue;
        }
        if (n > 0 && p->options[i].memory <= p->options[hull[n - 1]].memory) {
            n--;
        }
        while (n > 1 && bulges(p->options, costs, hull[n - 2], hull[n - 1], i)) {
            n--;
        }
        hull[n++] = i;
    }
    return n;
}

static mix best_mix(const galv_count_problem *p, const galv_count_term *term)
{
    int32_t hull[GALV_COUNTS_MAX_OPTIONS];
    double costs[GALV_COUNTS_MAX_OPTIONS];
    int32_t n = hull_of(hull, costs, p, term);
    double each = p->limit / p->n_layers;
    mix best = {.value = INFINITY};
    if (n == 0 || p->options[hull[0]].memory > each) {
        return best;
    }
    int32_t at = 0;
    while (at + 1 < n && p->options[hull[at + 1]].memory <= each) {
        at++;
    }
    int32_t next = at + 1 < n ? at + 1 : at;
    best.low = hull[at];
    best.high = hull[next];
    double layer = costs[best.low];
    if (next != at) {
        double room = p->options[best.high].memory - p->options[best.low].memory;
        best.price = (costs[best.low] - costs[best.high]) / room;
        best.share = (each - p->options[best.low].memory) / room;
        layer -= best.price * (each - p->options[best.low].memory);
    }
    best.value = term->constant + p->n_layers * layer;
    return best;
}

static galv_count_term blend(const galv_count_term *a, const galv_count_term *b,
                             double share)
{
    return (galv_count_term){a->constant + share * (b->constant - a->constant),
                             a->no_sync + share * (b->no_sync - a->no_sync),
                             a->sync + share * (b->sync - a->sync)};
}

static double value_at(const galv_count_term *term, double no_sync_s, double sync_s)
{
    return term->constant + term->no_sync * no_sync_s + term->sync * sync_s;
}

static double largest_at(const galv_count_problem *p, double no_sync_s, double sync_s,
                         int32_t *which)
{
    double largest = -INFINITY;
    for (int32_t t = 0; t < p->n_terms; t++) {
        double value = value_at(&p->terms[t], no_sync_s, sync_s);
        if (value > largest) {
            largest = value;
            *which = t;
        }
    }
    return largest;
}

/* The bound is concave along the line from one term to another. */
static galv_count_term line_search(const galv_count_problem *p,
                                   const galv_count_term *from,
                                   const galv_count_term *to)
{
    double low = 0, high = 1;
    double a = high - GOLDEN * (high - low), b = low + GOLDEN * (high - low);
    galv_count_term at_a = blend(from, to, a), at_b = blend(from, to, b);
    double value_a = best_mix(p, &at_a).value, value_b = best_mix(p, &at_b).value;
    for (int step = 0; step < LINE_STEPS; step++) {
        if (value_a < value_b) {
            low = a;
            a = b;
            value_a = value_b;
            b = low + GOLDEN * (high - low);
            at_b = blend(from, to, b);
            value_b = best_mix(p, &at_b).value;
        } else {
            high = b;
            b = a;
            value_b = value_a;
            a = high - GOLDEN * (high - low);
            at_a = blend(from, to, a);
            value_a = best_mix(p, &at_a).value;
        }
    }
    return blend(from, to, (low + high) / 2);
}

/* The mixture of terms with the highest bound, nearly. */
static galv_count_term best_blend(mix *best, const galv_count_problem *p)
{
    galv_count_term chosen = p->terms[0];
    *best = best_mix(p, &chosen);
    for (int32_t t = 1; t < p->n_terms; t++) {
        mix other = best_mix(p, &p->terms[t]);
        if (other.value > best->value) {
            *best = other;
            chosen = p->terms[t];
        }
    }
    for (int round = 0; round < MIX_ROUNDS && isfinite(best->value); round++) {
        const galv_count_option *low = &p->options[best->low];
        const galv_count_option *high = &p->options[best->high];
        int32_t worst = 0;
        double largest = largest_at(
            p,
            p->n_layers *
                (low->no_sync_s + best->share * (high->no_sync_s - low->no_sync_s)),
            p->n_layers * (low->sync_s + best->share * (high->sync_s - low->sync_s)),
            &worst);
        if (largest <= best->value * (1 + 1e-12)) {
            break;
        }
        galv_count_term tried = line_search(p, &chosen, &p->terms[worst]);
        mix other = best_mix(p, &tried);
        if (!(other.value > best->value)) {
            break;
        }
        *best = other;
        chosen = tried;
    }
    return chosen;
}

double galv_counts_bound(const galv_count_problem *problem)
{
    mix best;
    best_blend(&best, problem);
    return best.value;
}

/* ---- whole counts ---- */

typedef struct walk {
    const galv_count_problem *problem;
    galv_count_answer *answer;
    double bound; /* of the mix */
    double price;
    double best;                             /* answers below this are wanted */
    int32_t n;                               /* options left */
    int32_t order[GALV_COUNTS_MAX_OPTIONS];  /* dearest first */
    double reduced[GALV_COUNTS_MAX_OPTIONS]; /* by place in order */
    double least[GALV_COUNTS_MAX_OPTIONS];   /* memory among those from here on */
    double most[GALV_COUNTS_MAX_OPTIONS];
    int32_t counts[GALV_COUNTS_MAX_OPTIONS]; /* by place in order */
    uint64_t n_nodes;
} walk;

static double gap(const walk *w)
{
    return w->best - w->bound - WHOLE_DIGITS * fabs(w->bound);
}

static void judge(walk *w, double no_sync_s, double sync_s, double memory)
{
    int32_t which = 0;
    double value = largest_at(w->problem, no_sync_s, sync_s, &which);
    if (!(value < w->best)) {
        return;
    }
    w->best = value;
    galv_count_answer *a = w->answer;
    a->found = true;
    a->value = value;
    a->no_sync_s = no_sync_s;
    a->sync_s = sync_s;
    a->memory = memory;
    memset(a->counts, 0, sizeof a->counts);
    for (int32_t i = 0; i < w->n; i++) {
        a->counts[w->order[i]] = w->counts[i];
    }
}

/* Options from place `at` on share `left` layers. */
static void descend(walk *w, int32_t at, int32_t left, double spent, double no_sync_s,
                    double sync_s, double memory)
{
    const galv_count_problem *p = w->problem;
    if (++w->n_nodes > MAX_NODES || memory + left * w->least[at] > p->limit) {
        return;
    }
    double idle = p->limit - (memory + left * w->most[at]);
    if (idle > 0 && spent + w->price * idle > gap(w)) {
        return; /* memory left unused is worth more than the gap */
    }
    const galv_count_option *option = &p->options[w->order[at]];
    bool last = at == w->n - 1;
    for (int32_t n = last ? left : 0; n <= left; n++) {
        double dearer = spent + n * w->reduced[at];
        if (dearer > gap(w)) {
            break;
        }
        w->counts[at] = n;
        double a = no_sync_s + n * option->no_sync_s, b = sync_s + n * option->sync_s;
        double m = memory + n * option->memory;
        if (m > p->limit) {
            break;
        }
        if (last) {
            judge(w, a, b, m);
        } else {
            descend(w, at + 1, left - n, dearer, a, b, m);
        }
    }
    w->counts[at] = 0;
}

/* Rounds a mix down to counts that fit. */
static void round_down(walk *w, const mix *best)
{
    const galv_count_problem *p = w->problem;
    const galv_count_option *low = &p->options[best->low];
    const galv_count_option *high = &p->options[best->high];
    int32_t n = best->low == best->high ? 0 : (int32_t)floor(best->share * p->n_layers);
    double memory = 0;
    for (n = n > p->n_layers ? p->n_layers : n; n >= 0; n--) {
        memory = (p->n_layers - n) * low->memory + n * high->memory;
        if (memory <= p->limit) {
            break;
        }
    }
    if (n < 0) {
        return;
    }
    w->n = best->low == best->high ? 1 : 2;
    w->order[0] = best->low;
    w->order[1] = best->high;
    w->counts[0] = p->n_layers - n;
    w->counts[1] = n;
    judge(w, w->counts[0] * low->no_sync_s + n * high->no_sync_s,
          w->counts[0] * low->sync_s + n * high->sync_s, memory);
    w->counts[0] = w->counts[1] = 0;
}

/* Which options can be in an answer better than the best, dearest first. */
static void choose_options(walk *w, const galv_count_term *term, const mix *best)
{
    const galv_count_problem *p = w->problem;
    const galv_count_option *low = &p->options[best->low];
    double level = cost(term, low) + w->price * low->memory;
    w->n = 0;
    for (int32_t i = 0; i < p->n_options; i++) {
        const galv_count_option *o = &p->options[i];
        double reduced = fmax(0, cost(term, o) + w->price * o->memory - level);
        if (reduced > gap(w)) {
            continue;
        }
        int32_t at = w->n++;
        for (; at > 0 && w->reduced[at - 1] < reduced; at--) {
            w->order[at] = w->order[at - 1];
            w->reduced[at] = w->reduced[at - 1];
        }
        w->order[at] = i;
        w->reduced[at] = reduced;
    }
    for (int32_t at = w->n - 1; at >= 0; at--) {
        double memory = p->options[w->order[at]].memory;
        w->least[at] = at + 1 < w->n ? fmin(memory, w->least[at + 1]) : memory;
        w->most[at] = at + 1 < w->n ? fmax(memory, w->most[at + 1]) : memory;
    }
}

void galv_counts_best(galv_count_answer *answer, const galv_count_problem *problem)
{
    mix best;
    galv_count_term term = best_blend(&best, problem);
    walk w = {.problem = problem, .answer = answer};
    memset(answer, 0, sizeof *answer);
    answer->exact = true;
    answer->value = INFINITY;
    w.bound = best.value;
    w.price = best.price;
    w.best = problem->beat;
    if (!isfinite(best.value) || !(best.value < problem->beat)) {
        return;
    }
    round_down(&w, &best);
    choose_options(&w, &term, &best);
    if (w.n > 0) {
        descend(&w, 0, problem->n_layers, 0, 0, 0, 0);
    }
    answer->exact = w.n_nodes <= MAX_NODES;
}

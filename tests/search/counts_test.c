/* The best counts of identical layers, against every count there is. */
#include "search/counts.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>

GALV_TEST_SUITE(search_counts);

enum { OPTIONS = 4, TERMS = 3 };

static uint32_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

/* The least of the largest term over all counts of the first `n_options` options for
 * `left` layers; whole numbers, so sums are exact. */
static double least(const galv_count_problem *p, int32_t n_options, int32_t left,
                    double no_sync, double sync, double memory)
{
    double best = INFINITY;
    if (memory > p->limit) {
        return best;
    }
    if (left == 0) {
        double largest = -INFINITY;
        for (int32_t t = 0; t < p->n_terms; t++) {
            const galv_count_term *term = &p->terms[t];
            largest = fmax(largest, term->constant + term->no_sync * no_sync +
                                        term->sync * sync);
        }
        return largest;
    }
    if (n_options == 0) {
        return best;
    }
    const galv_count_option *o = &p->options[n_options - 1];
    for (int32_t n = 0; n <= left; n++) {
        best = fmin(best, least(p, n_options - 1, left - n, no_sync + n * o->no_sync_s,
                                sync + n * o->sync_s, memory + n * o->memory));
    }
    return best;
}

static double whole(uint64_t *random, int32_t most)
{
    return next_random(random) % (uint32_t)(most + 1);
}

static void any_problem(galv_count_problem *p, galv_count_option *options,
                        galv_count_term *terms, uint64_t *random)
{
    p->n_layers = 1 + (int32_t)(next_random(random) % 12);
    p->n_options = 1 + (int32_t)(next_random(random) % OPTIONS);
    p->n_terms = 1 + (int32_t)(next_random(random) % TERMS);
    for (int32_t i = 0; i < p->n_options; i++) {
        double time = 1 + whole(random, 30);
        options[i] = (galv_count_option){time, time + whole(random, 20),
                                         1 + whole(random, 40), i};
    }
    for (int32_t t = 0; t < p->n_terms; t++) {
        terms[t] =
            (galv_count_term){whole(random, 50), whole(random, 4), whole(random, 4)};
    }
    p->options = options;
    p->terms = terms;
    p->limit = p->n_layers * (1 + whole(random, 40));
    p->beat = INFINITY;
}

Test(search_counts, the_best_of_all_counts_is_found)
{
    uint64_t random = 7;
    int n_found = 0;
    for (int trial = 0; trial < 2000; trial++) {
        galv_count_option options[OPTIONS];
        galv_count_term terms[TERMS];
        galv_count_problem p;
        galv_count_answer answer;
        any_problem(&p, options, terms, &random);
        double best = least(&p, p.n_options, p.n_layers, 0, 0, 0);
        p.n_options = galv_counts_prepare(options, p.n_options);
        double bound = galv_counts_bound(&p);
        galv_counts_best(&answer, &p);
        cr_expect(answer.exact, "trial %d", trial);
        cr_expect_eq(answer.found, isfinite(best), "trial %d", trial);
        cr_expect(!answer.found || fabs(answer.value - best) <= 1e-9 * (1 + best),
                  "trial %d: %.17g, of all %.17g", trial, answer.value, best);
        cr_expect(bound <= best * (1 + 1e-9) + 1e-9, "trial %d: bound %.17g of %.17g",
                  trial, bound, best);
        n_found += answer.found;
    }
    cr_expect_gt(n_found, 1000, "%d of 2000", n_found);
}

Test(search_counts, only_what_beats_is_found)
{
    galv_count_option options[] = {{3, 3, 1, 0}, {1, 1, 4, 1}};
    galv_count_term term = {0, 1, 0};
    galv_count_problem p = {4, 2, options, 10, 1, &term, INFINITY};
    galv_count_answer answer;
    galv_counts_best(&answer, &p); /* two of each: 2 * 3 + 2 * 1, memory 10 */
    cr_expect(answer.found && answer.counts[0] == 2 && answer.counts[1] == 2);
    cr_expect_float_eq(answer.value, 8, 1e-12);
    p.beat = 8;
    galv_counts_best(&answer, &p);
    cr_expect(!answer.found && answer.exact);
    p.beat = INFINITY;
    p.limit = 3;
    galv_counts_best(&answer, &p);
    cr_expect(!answer.found && answer.exact);
}

/* The frontier of a stage and the division into stages, against every way there is. */
#include "search/frontier.h"
#include "search/partition.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

GALV_TEST_SUITE(search_frontier);

static uint32_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

enum { ROWS = 2, MOST_LAYERS = 4, OPTIONS = 3, MOST_WAYS = 6561 };

typedef struct rows_of {
    galv_frontier_option options[ROWS][OPTIONS];
    galv_frontier_row rows[ROWS];
    double change[OPTIONS][OPTIONS];
    int32_t n_layers;
} rows_of;

static double change_of(void *context, int32_t row_a, int32_t a, int32_t row_b,
                        int32_t b)
{
    const rows_of *s = context;
    (void)row_a;
    (void)row_b;
    return s->change[a][b];
}

/* Whole numbers, so that sums in any order are the same. */
static void random_stage(rows_of *s, uint64_t *random)
{
    s->n_layers = 0;
    for (int r = 0; r < ROWS; r++) {
        for (int o = 0; o < OPTIONS; o++) {
            s->options[r][o].time_s = 1 + next_random(random) % 20;
            s->options[r][o].bytes = 1 + next_random(random) % 20;
        }
        s->rows[r].n_layers = 1 + (int32_t)(next_random(random) % MOST_LAYERS);
        s->rows[r].n_options = OPTIONS;
        s->rows[r].options = s->options[r];
        s->n_layers += s->rows[r].n_layers;
    }
    for (int a = 0; a < OPTIONS; a++) {
        for (int b = 0; b < OPTIONS; b++) {
            s->change[a][b] = a == b ? 0 : next_random(random) % 5;
        }
    }
}

/* Time and memory of one way (a number in base OPTIONS); false: too many runs. */
static bool weigh(const rows_of *s, int32_t way, int32_t max_runs, double *time_s,
                  double *bytes)
{
    int32_t before = -1;
    *time_s = *bytes = 0;
    for (int r = 0; r < ROWS; r++) {
        int32_t runs = 0;
        for (int32_t i = 0; i < s->rows[r].n_layers; i++) {
            int32_t option = way % OPTIONS;
            way /= OPTIONS;
            runs += i == 0 || option != before;
            *time_s += s->options[r][option].time_s;
            *time_s += before >= 0 ? s->change[before][option] : 0;
            *bytes += s->options[r][option].bytes;
            before = option;
        }
        if (runs > max_runs) {
            return false;
        }
    }
    return true;
}

Test(search_frontier, is_exactly_what_no_other_way_beats)
{
    uint64_t random = 5;
    for (int trial = 0; trial < 60; trial++) {
        rows_of s;
        galv_frontier frontier = {0};
        galv_err err = GALV_ERR_INIT;
        galv_arena *arena = galv_arena_new();
        random_stage(&s, &random);
        int32_t max_runs = trial % 3 == 0 ? 99 : 1 + trial % 3;
        double limit = 20 + next_random(&random) % 60;
        galv_frontier_problem problem = {ROWS, s.rows, limit, max_runs, change_of, &s};
        cr_assert_eq(galv_frontier_make(&frontier, &problem, arena, &err), GALV_OK);
        int32_t n_ways = (int32_t)lround(pow(OPTIONS, s.n_layers));
        for (int32_t way = 0; way < n_ways; way++) {
            double time_s, bytes;
            bool beaten = false, met = false;
            if (!weigh(&s, way, max_runs, &time_s, &bytes) || bytes > limit) {
                continue;
            }
            for (size_t i = 0; i < frontier.n_points; i++) {
                const galv_frontier_point *p = &frontier.points[i];
                met |= p->time_s <= time_s && p->bytes <= bytes;
                beaten |= time_s < p->time_s && bytes <= p->bytes;
                beaten |= time_s <= p->time_s && bytes < p->bytes;
            }
            cr_expect(met && !beaten, "trial %d, way %d", trial, (int)way);
        }
        for (size_t i = 0; i < frontier.n_points; i++) { /* each is what it says */
            const galv_frontier_point *p = &frontier.points[i];
            int32_t way = 0;
            double time_s, bytes;
            for (int32_t k = s.n_layers - 1; k >= 0; k--) {
                way = way * OPTIONS + p->options[k];
            }
            cr_expect(weigh(&s, way, max_runs, &time_s, &bytes), "trial %d", trial);
            cr_expect_eq(time_s, p->time_s, "trial %d", trial);
            cr_expect_eq(bytes, p->bytes, "trial %d", trial);
        }
        galv_arena_free(arena);
    }
}

typedef struct blocks {
    double cost[4][12]; /* by stage: of block i */
} blocks;

static double cost_of(void *context, int32_t stage, int32_t first, int32_t n)
{
    const blocks *b = context;
    double sum = 0;
    for (int32_t i = 0; i < n; i++) {
        sum += b->cost[stage][first + i];
    }
    return sum > 60 ? (double)INFINITY : sum;
}

static double value_of(void *context, double sum_s, double most_s)
{
    return sum_s + *(const double *)context * most_s;
}

static double try_all(blocks *b, int32_t stage, int32_t n_stages, int32_t first,
                      int32_t total, double sum, double most, double weight)
{
    if (stage == n_stages) {
        return first == total ? sum + weight * most : (double)INFINITY;
    }
    double best = INFINITY;
    for (int32_t n = 1; first + n <= total; n++) {
        double t = cost_of(b, stage, first, n);
        if (isfinite(t)) {
            best = fmin(best, try_all(b, stage + 1, n_stages, first + n, total, sum + t,
                                      fmax(most, t), weight));
        }
    }
    return best;
}

Test(search_frontier, partition_is_the_best_of_all_divisions)
{
    uint64_t random = 11;
    for (int trial = 0; trial < 100; trial++) {
        blocks b;
        int32_t n_stages = 1 + (int32_t)(next_random(&random) % 4);
        int32_t total = n_stages + (int32_t)(next_random(&random) % 8);
        double weight = next_random(&random) % 16;
        int32_t n_blocks[4] = {0};
        double least = -1;
        galv_err err = GALV_ERR_INIT;
        for (int s = 0; s < 4; s++) {
            for (int i = 0; i < 12; i++) {
                b.cost[s][i] = 1 + next_random(&random) % 20;
            }
        }
        galv_partition_problem problem = {n_stages, total,    false, false,
                                          cost_of,  value_of, &b,    &weight};
        cr_assert_eq(galv_partition(n_blocks, &least, &problem, &err), GALV_OK);
        double best = try_all(&b, 0, n_stages, 0, total, 0, 0, weight);
        cr_expect_eq(least, best, "trial %d: %g, not %g", trial, least, best);
        if (isfinite(best)) {
            double sum = 0, most = 0;
            int32_t first = 0;
            for (int32_t s = 0; s < n_stages; s++) {
                double t = cost_of(&b, s, first, n_blocks[s]);
                first += n_blocks[s];
                sum += t;
                most = fmax(most, t);
            }
            cr_expect_eq(first, total);
            cr_expect_eq(sum + weight * most, best, "trial %d", trial);
        }
    }
}

/* The search under Galvatron's model against all there is in small spaces, and against
 * what the published engine found (tests/search/data/galvatron_runs.csv: its search at
 * commit cea12ffb on its own llama2-7b profiles, eight A100, 2048 tokens). */
#include "base/csv.h"
#include "plan/catalog.h"
#include "search/galvatron_search.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

GALV_TEST_SUITE(search_galvatron);

#define PROFILE GALV_SOURCE_DIR "/tests/cli/data/galvatron-1x8"
#define RUNS    GALV_SOURCE_DIR "/tests/search/data/galvatron_runs.csv"

/* ---- small random instances ---- */

enum { MOST_PRICED = 32, MOST_BLOCKS = 4 };

static uint32_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

/* Between low and high, evenly by factor. */
static double any(uint64_t *random, double low, double high)
{
    return low * pow(high / low, next_random(random) / 2147483648.0);
}

/* `factor`: from one degree to the next. */
static void any_degrees(galv_galvatron_by_degree *table, uint64_t *random, double low,
                        double high, double factor)
{
    table->n = 3;
    for (int32_t i = 0; i < 3; i++) {
        table->degrees[i] = 1 << i;
        table->values[i] = any(random, low, high) * pow(factor, i);
    }
}

static void any_collective(galv_galvatron_collective *table, uint64_t *random)
{
    table->n = 2;
    for (int32_t i = 0; i < 2; i++) {
        table->groups[i].n_ranks = 2 << i;
        table->groups[i].line =
            (galv_galvatron_line){any(random, 1e-2, 3) * (i + 1), any(random, 1e-2, 1)};
    }
}

static galv_galvatron_inputs any_inputs(uint64_t *random, int32_t n_blocks)
{
    galv_galvatron_inputs in;
    memset(&in, 0, sizeof in);
    in.n_layers = n_blocks;
    in.hidden_size = 1024;
    in.seq_length = 1024;
    in.n_devices = 4;
    in.sequence_parallel = true;
    in.async_grad_reduce = next_random(random) % 2 == 0;
    in.context_mib = 100;
    in.layer_ms = (galv_galvatron_line){any(random, 1, 10), any(random, 1e-3, 1)};
    in.ends_ms = (galv_galvatron_line){any(random, 0.01, 10), any(random, 1e-3, 1)};
    in.parameter_mib = any(random, 10, 1000);
    in.checkpoint_mib = any(random, 1, 10);
    in.overlap = any(random, 1, 2);
    any_degrees(&in.activation_mib, random, 50, 500, 0.5);
    for (int place = 0; place < GALV_GALVATRON_N_PLACES; place++) {
        any_degrees(&in.ends[place].states_mib, random, 100, 2000, 0.5);
        any_degrees(&in.ends[place].activation_mib, random, 10, 200, 0.5);
    }
    any_degrees(&in.consecutive_ms_per_mib, random, 1e-3, 1, 4);
    any_degrees(&in.strided_ms_per_mib, random, 1e-3, 1, 4);
    any_degrees(&in.p2p_ms_per_mib, random, 1e-4, 1e-1, 1);
    any_collective(&in.all_gather, random);
    any_collective(&in.all_to_all, random);
    return in;
}

/* Every strategy of a task: tensor or Ulysses, both kinds of data parallelism,
 * recomputed or not. */
static int32_t all_strategies(galv_strategy *list, const galv_galvatron_inputs *inputs,
                              const galv_galvatron_task *task, int32_t zero)
{
    int32_t n = 0;
    for (int32_t tp = 1; tp <= inputs->n_devices / task->pp; tp *= 2) {
        for (int which = 0; which < 8; which++) {
            galv_strategy s = GALV_STRATEGY_INIT;
            galv_err ignored = GALV_ERR_INIT;
            s.tp = tp;
            s.dp = inputs->n_devices / task->pp / tp;
            s.sp = tp == 1     ? GALV_SP_NONE
                   : which & 4 ? GALV_SP_ULYSSES
                               : GALV_SP_MEGATRON;
            s.zero = which & 2 ? 3 : zero;
            s.recompute = which & 1 ? GALV_RECOMPUTE_FULL : GALV_RECOMPUTE_NONE;
            bool twice = (tp == 1 && which & 4) || (s.dp == 1 && which & 2);
            if (!twice && galv_galvatron_check(inputs, task, &s, &ignored) == GALV_OK) {
                list[n++] = s;
            }
        }
    }
    return n;
}

typedef struct instance {
    galv_galvatron_inputs inputs;
    galv_galvatron_space space;
    double best_s; /* INFINITY = nothing fits */
} instance;

/* Time of one way to choose, INFINITY when it does not fit. */
static double weigh(const instance *i, const galv_galvatron_table *table,
                    const int32_t *blocks, const int32_t *first, int32_t ends)
{
    galv_galvatron_stage stages[4];
    const galv_galvatron_task *task = &table->task;
    int32_t largest = table->strategies[ends].tp;
    bool megatron = table->strategies[ends].sp == GALV_SP_MEGATRON;
    for (int32_t b = 0; b < i->inputs.n_layers; b++) {
        const galv_strategy *s = &table->strategies[blocks[b]];
        megatron = megatron || s->sp == GALV_SP_MEGATRON;
        largest = s->tp > largest ? s->tp : largest;
    }
    int32_t per_stage = i->inputs.n_devices / task->pp;
    int32_t samples = (int32_t)(task->global_batch_size / task->n_micro_batches);
    int32_t least = samples < per_stage ? per_stage / samples : 1;
    double buffer = galv_galvatron_buffer_mib(&i->inputs, task,
                                              !megatron         ? 0
                                              : largest > least ? largest
                                                                : least);
    galv_galvatron_sum_stages(stages, table, blocks, first, ends, buffer);
    for (int32_t s = 0; s < task->pp; s++) {
        if (stages[s].memory_mib > i->space.budget_mib) {
            return INFINITY;
        }
    }
    return galv_galvatron_pipeline_s(stages, task->pp, task->n_micro_batches);
}

/* Every strategy for every block and for the ends. */
static void try_task(instance *i, int32_t pp, int32_t n, galv_arena *arena)
{
    galv_galvatron_task task = {pp, n, i->space.global_batch_size, i->space.gpipe};
    galv_strategy list[MOST_PRICED];
    int32_t n_list = all_strategies(list, &i->inputs, &task, i->space.default_zero);
    galv_galvatron_table *table = NULL;
    galv_err err = GALV_ERR_INIT;
    if (n_list == 0) {
        return;
    }
    cr_assert_eq(
        galv_galvatron_table_new(&table, &i->inputs, &task, list, n_list, arena, &err),
        GALV_OK, "%s", err.message);
    int32_t first[5] = {0};
    for (int32_t s = 1; s <= pp; s++) {
        first[s] = s == pp ? i->inputs.n_layers : i->inputs.n_layers / pp * s;
    }
    int32_t blocks[MOST_BLOCKS] = {0};
    for (bool more = true; more;) {
        for (int32_t ends = 0; ends < n_list; ends++) {
            i->best_s = fmin(i->best_s, weigh(i, table, blocks, first, ends));
        }
        int32_t at = 0;
        while (at < i->inputs.n_layers && ++blocks[at] == n_list) {
            blocks[at++] = 0;
        }
        more = at < i->inputs.n_layers;
    }
}

static void try_all(instance *i)
{
    galv_arena *arena = galv_arena_new();
    i->best_s = INFINITY;
    for (int32_t n = 1; n <= i->space.global_batch_size; n++) {
        for (int32_t pp = 1; i->space.global_batch_size % n == 0 && pp <= n &&
                             pp <= i->inputs.n_layers && pp <= 4;
             pp *= 2) {
            galv_arena_reset(arena);
            try_task(i, pp, n, arena);
        }
    }
    galv_arena_free(arena);
}

static double seconds_of(const galv_galvatron_found *f)
{
    return f->found ? f->iteration_s : (double)INFINITY;
}

static bool same(double a, double b)
{
    return (isinf(a) && isinf(b)) || fabs(a - b) <= 1e-12 * fabs(b);
}

/* Costs what was found once more, as the evaluator of plans does. */
static void check_claim(const instance *i, const galv_galvatron_found *f,
                        galv_arena *arena)
{
    galv_galvatron_table *table = NULL;
    galv_err err = GALV_ERR_INIT;
    galv_strategy list[MOST_BLOCKS + 1];
    int32_t blocks[MOST_BLOCKS], first[5] = {0};
    for (int32_t b = 0; b < f->n_blocks; b++) {
        list[b] = f->strategies[b];
        blocks[b] = b;
    }
    list[f->n_blocks] = f->ends;
    for (int32_t s = 0; s < f->task.pp; s++) {
        first[s + 1] = first[s] + f->stage_blocks[s];
    }
    cr_assert_eq(galv_galvatron_table_new(&table, &i->inputs, &f->task, list,
                                          f->n_blocks + 1, arena, &err),
                 GALV_OK, "%s", err.message);
    double time = weigh(i, table, blocks, first, f->n_blocks);
    cr_expect(same(time, f->iteration_s), "claimed %.17g, costs %.17g", f->iteration_s,
              time);
}

/* To a few MiB a layer, where rounding up to whole MiB matters. */
static void shrink(instance *i)
{
    galv_galvatron_inputs *in = &i->inputs;
    i->space.budget_mib = ceil(i->space.budget_mib / 100);
    in->context_mib /= 100;
    in->parameter_mib /= 100;
    in->checkpoint_mib /= 100;
    in->hidden_size /= 8;
    for (int k = 0; k < 3; k++) {
        in->activation_mib.values[k] /= 100;
        for (int place = 0; place < GALV_GALVATRON_N_PLACES; place++) {
            in->ends[place].states_mib.values[k] /= 100;
            in->ends[place].activation_mib.values[k] /= 100;
        }
    }
}

static void compare_one(uint64_t *random, int32_t n_blocks, int64_t batch,
                        int *n_proven)
{
    instance i = {.inputs = any_inputs(random, n_blocks)};
    i.space.global_batch_size = batch;
    i.space.gpipe = next_random(random) % 2 == 0;
    i.space.default_zero = next_random(random) % 2 ? 2 : 0;
    i.space.budget_mib = floor(any(random, 1000, 12000));
    if (next_random(random) % 2) {
        shrink(&i);
    }
    if (next_random(random) % 2) { /* one stage cannot hold embedding and head */
        for (int32_t k = 0; k < 3; k++) {
            i.inputs.ends[GALV_GALVATRON_WHOLE].states_mib.values[k] = 1e6;
        }
    }
    try_all(&i);
    galv_arena *arena = galv_arena_new();
    galv_galvatron_found found;
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(galv_galvatron_search(&found, &i.inputs, &i.space, arena, &err),
                 GALV_OK);
    if (found.proven) {
        ++*n_proven;
        cr_expect(same(seconds_of(&found), i.best_s), "found %.17g, of all %.17g",
                  seconds_of(&found), i.best_s);
    } else {
        cr_expect(i.best_s <= seconds_of(&found) * (1 + 1e-12) &&
                      found.lower_bound_s <= i.best_s * (1 + 1e-12),
                  "%.17g is not between %.17g and %.17g", i.best_s, found.lower_bound_s,
                  seconds_of(&found));
    }
    if (found.found) {
        check_claim(&i, &found, arena);
    }
    galv_arena_free(arena);
}

Test(search_galvatron, the_best_of_all_small_plans_is_found)
{
    uint64_t random = 42;
    int n_proven = 0;
    for (int trial = 0; trial < 60; trial++) {
        int32_t n_blocks = 1 + (int32_t)(next_random(&random) % 3);
        compare_one(&random, n_blocks, 1 + next_random(&random) % 8, &n_proven);
    }
    cr_expect_geq(n_proven, 58, "%d of 60 proven", n_proven);
}

/* ---- what the published engine found ---- */

static galv_galvatron_inputs shipped_inputs(void)
{
    galv_job job;
    memset(&job, 0, sizeof job);
    galv_galvatron_inputs inputs;
    galv_galvatron_inputs_options options = {.folder = PROFILE,
                                             .time_mode = GALV_GALVATRON_TIME_BATCH};
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(galv_catalog_model(&job.model, "llama2-7b", &err), GALV_OK);
    cr_assert_eq(galv_cluster_from_device(&job.cluster, "a100-sxm-80gb", 1, &err),
                 GALV_OK);
    job.workload = (galv_workload)GALV_WORKLOAD_INIT;
    job.workload.seq_length = 2048;
    job.workload.global_batch_size = 64;
    cr_assert_eq(galv_galvatron_inputs_read(&inputs, &job, &options, &err), GALV_OK,
                 "%s: %s", err.file, err.message);
    return inputs;
}

static galv_galvatron_space space_of_row(const galv_csv *runs, size_t row)
{
    galv_galvatron_space space = {0};
    galv_err err = GALV_ERR_INIT;
    double budget = 0;
    cr_assert_eq(galv_csv_f64(runs, row, 0, 1, 1024, &budget, &err), GALV_OK);
    cr_assert_eq(galv_csv_i64(runs, row, 1, 1, 1 << 20, &space.global_batch_size, &err),
                 GALV_OK);
    space.budget_mib = budget * 1024;
    space.gpipe = strcmp(galv_csv_cell(runs, row, 2), "gpipe") == 0;
    space.default_zero = strcmp(galv_csv_cell(runs, row, 3), "zero2") == 0 ? 2 : 0;
    return space;
}

Test(search_galvatron, no_published_plan_is_better)
{
    galv_arena *arena = galv_arena_new();
    galv_galvatron_inputs inputs = shipped_inputs();
    galv_csv runs;
    galv_err err = GALV_ERR_INIT;
    int n_better = 0;
    cr_assert_eq(galv_csv_read_file(&runs, RUNS, arena, &err), GALV_OK, "%s",
                 err.message);
    for (size_t row = 0; row < runs.n_rows; row++) {
        galv_galvatron_space space = space_of_row(&runs, row);
        galv_galvatron_found found;
        cr_assert_eq(galv_galvatron_search(&found, &inputs, &space, arena, &err),
                     GALV_OK);
        cr_expect(found.proven, "row %zu", row);
        const char *published = galv_csv_cell(&runs, row, 4);
        if (strcmp(published, "none") == 0) {
            cr_expect(!found.found, "row %zu: a plan where the engine has none", row);
            continue;
        }
        double theirs = strtod(published, NULL);
        cr_expect(seconds_of(&found) <= theirs * (1 + 1e-8), "row %zu: %.9g, it %.9g",
                  row, seconds_of(&found), theirs);
        n_better += seconds_of(&found) < theirs * (1 - 1e-6);
    }
    cr_expect_geq(n_better, 20, "%d of %zu rows", n_better, runs.n_rows);
    galv_arena_free(arena);
}

Test(search_galvatron, what_cannot_be_searched_is_refused)
{
    galv_arena *arena = galv_arena_new();
    galv_galvatron_inputs inputs = shipped_inputs();
    galv_galvatron_space space = {.budget_mib = 0, .global_batch_size = 8};
    galv_galvatron_found found;
    galv_err err = GALV_ERR_INIT;
    cr_expect_eq(galv_galvatron_search(&found, &inputs, &space, arena, &err),
                 GALV_USAGE);
    err = (galv_err)GALV_ERR_INIT;
    space = (galv_galvatron_space){.budget_mib = 1024, .global_batch_size = 0};
    cr_expect_eq(galv_galvatron_search(&found, &inputs, &space, arena, &err),
                 GALV_USAGE);
    galv_arena_free(arena);
}

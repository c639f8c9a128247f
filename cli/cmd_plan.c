/* plan, and the bare form: search, report, files.
 *
 * The best plan is simulated once more with its timeline when a file wants it; the
 * search itself keeps none. Interrupted, it reports the best so far and says so. */
#include "accuracy/interval.h"
#include "base/file.h"
#include "base/units.h"
#include "cli/batches.h"
#include "cli/choices.h"
#include "cli/config.h"
#include "cli/front.h"
#include "cli/interrupt.h"
#include "cli/margin.h"
#include "cli/observed.h"
#include "cli/output.h"
#include "cli/phases.h"
#include "cli/plan_galvatron.h"
#include "cli/plan_sheet.h"
#include "cli/progress.h"
#include "cli/report.h"
#include "cli/what_fits.h"
#include "plan/placement.h"
#include "search/pool_orders.h"
#include "search/search.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define DEFAULT_TOP      5
#define DEFAULT_PER_KIND 2

typedef struct planning {
    const galv_cli *cli;
    galv_setup setup;
    galv_costmodel *model;
    galv_space space;
    galv_search_options options;
    galv_search_result found;
    int64_t batches[GALV_MOST_BATCHES];
    size_t n_batches; /* 0 = one batch, of the setup's job */
    galv_batches_result batched;
    galv_margin margin;
    galv_target target;
} planning;

/* ---- the search ---- */

static galv_status read_options(planning *p, galv_err *err)
{
    int64_t top = DEFAULT_TOP;
    int64_t per_kind = DEFAULT_PER_KIND;
    p->options = (galv_search_options)GALV_SEARCH_OPTIONS_INIT;
    p->options.max_ops = GALV_SEARCH_USUAL_OPS;
    galv_status status =
        galv_target_read(&p->target, p->cli, ".json .csv .png .svg .pdf", true, err);
    if (status == GALV_OK) {
        status = galv_setup_read(&p->setup, p->cli, err);
    }
    if (status == GALV_OK) {
        status = galv_batches_read(p->batches, &p->n_batches, p->cli, err);
    }
    if (status == GALV_OK) {
        status = galv_space_read(&p->space, p->cli, err);
        p->space.layer_wise = !galv_cli_given(p->cli, GALV_OPTION_UNIFORM);
    }
    if (status == GALV_OK) {
        status = galv_cli_count(&top, p->cli, GALV_OPTION_TOP, 1, 1000, err);
    }
    if (status == GALV_OK) {
        status = galv_cli_count(&per_kind, p->cli, GALV_OPTION_PER_KIND, 0, 1000, err);
    }
    if (status == GALV_OK) {
        status = galv_cli_time_limit(&p->options.time_limit_s, p->cli, err);
    }
    if (status == GALV_OK) {
        status = galv_jobs_read(&p->options.n_jobs, p->cli, err);
    }
    p->options.top_k = (int32_t)top;
    p->options.per_kind = (int32_t)per_kind;
    return status;
}

/* The setup and the cost model become those of the best. */
static galv_status take_job(planning *p, const galv_job *job, galv_err *err)
{
    p->setup.job = *job;
    galv_costmodel_free(p->model);
    p->model = NULL;
    return galv_costmodel_new(&p->model, &p->setup.job, p->setup.profile, err);
}

static galv_status search_batches(planning *p, galv_err *err)
{
    galv_status status =
        galv_batches_search(&p->batched, &p->setup.job, p->setup.profile, p->batches,
                            p->n_batches, &p->space, &p->options, p->cli->arena, err);
    if (status != GALV_OK) {
        return status;
    }
    p->found = p->batched.found;
    return take_job(p, p->batched.points[p->batched.best].job, err);
}

/* A mixed cluster: its pools in every order. */
static galv_status search_pool_orders(planning *p, galv_err *err)
{
    galv_job *best = NULL;
    galv_status status =
        galv_pool_orders_search(&p->found, &best, &p->setup.job, p->setup.profile,
                                &p->space, &p->options, p->cli->arena, err);
    return status == GALV_OK ? take_job(p, best, err) : status;
}

static galv_status run_search(planning *p, galv_err *err)
{
    galv_progress progress;
    galv_progress_begin(&progress, p->cli);
    p->options.cancel = galv_interrupt_watch();
    p->options.progress = galv_progress_show;
    p->options.progress_context = &progress;
    galv_status status = p->n_batches > 0 ? search_batches(p, err)
                         : p->setup.job.cluster.n_pools > 1
                             ? search_pool_orders(p, err)
                             : galv_search(&p->found, p->model, &p->space, &p->options,
                                           p->cli->arena, err);
    if (status == GALV_OK && p->n_batches == 0) {
        status = galv_margin_find(&p->margin, p->cli, &p->setup, &p->space, &p->options,
                                  &p->found, err);
    }
    galv_progress_end(&progress);
    if (status == GALV_INFEASIBLE) {
        galv_say_what_fits(p->cli, &p->setup, &p->space, err);
    }
    return status;
}

static galv_status dry_run(const planning *p, galv_err *err)
{
    galv_candidates candidates = {0};
    galv_job job = p->setup.job;
    for (size_t i = 0; i == 0 || i < p->n_batches; i++) {
        galv_candidates found;
        if (p->n_batches > 0) {
            job.workload.global_batch_size = p->batches[i];
        }
        galv_status status =
            galv_space_enumerate(&found, &p->space, &job, p->cli->arena, err);
        if (status != GALV_OK) {
            return status;
        }
        candidates.n_candidates += found.n_candidates;
        for (int reason = 0; reason < GALV_N_CUTS; reason++) {
            candidates.cut[reason] += found.cut[reason];
        }
    }
    char text[32];
    if (galv_cli_given(p->cli, GALV_OPTION_JSON)) {
        galv_json_writer writer;
        galv_cli_begin_json(p->cli, &writer, "space");
        galv_json_key_i64(&writer, "candidates", (int64_t)candidates.n_candidates);
        galv_json_put_key(&writer, "cut");
        galv_json_begin_object(&writer, false);
        for (int i = 0; i < GALV_N_CUTS; i++) {
            galv_json_key_i64(&writer, galv_cut_texts[i], (int64_t)candidates.cut[i]);
        }
        galv_json_end_object(&writer);
        return galv_cli_end_json(p->cli, &writer, err);
    }
    galv_report_job(p->cli, &p->setup);
    galv_print(p->cli, "\nwould look at %s plans; cut before that:\n",
               galv_print_count(text, sizeof text, (int64_t)candidates.n_candidates));
    for (int i = 0; i < GALV_N_CUTS; i++) {
        if (candidates.cut[i] > 0) {
            galv_print(p->cli, "%12s  %s\n",
                       galv_print_count(text, sizeof text, (int64_t)candidates.cut[i]),
                       galv_cut_texts[i]);
        }
    }
    return GALV_OK;
}

/* ---- the report ---- */

static void print_table(const planning *p)
{
    static const galv_column columns[] = {
        {"#", "", false, 0, 0},         {"plan", "", true, 0, 0},
        {"step", "s", false, 0, 0},     {"MFU", "%", false, 0, 0},
        {"memory", "GiB", false, 0, 0}, {"bubble", "%", false, 1, 0},
        {"comm", "%", false, 2, 0},     {"tok/s/GPU", "", false, 3, 0},
        {"schedule", "", true, 4, 0},   {"batch", "", false, 0, 0}};
    size_t n_columns = sizeof columns / sizeof columns[0] - (p->n_batches == 0);
    galv_table table;
    double steps[1000];
    size_t n = p->found.n_plans < 1000 ? (size_t)p->found.n_plans : 1000;
    for (size_t i = 0; i < n; i++) {
        steps[i] = p->found.plans[i].result.iteration_time_s;
    }
    int decimals = galv_table_decimals(steps, n);
    galv_table_init(&table, p->cli->arena, columns, n_columns);
    for (size_t i = 0; i < n; i++) {
        const galv_result *r = &p->found.plans[i].result;
        char line[160], rate[32];
        galv_table_row(&table);
        galv_table_cell(&table, "%zu", i + 1);
        galv_table_cell(&table, "%s",
                        galv_plan_print(line, sizeof line, p->found.plans[i].plan));
        galv_table_cell(&table, "%.*f", decimals, r->iteration_time_s);
        galv_table_cell(&table, "%.1f", 100 * r->mfu);
        galv_table_cell(&table, "%.1f", r->peak_memory_bytes / 0x1p30);
        galv_table_cell(&table, "%.1f", 100 * r->bubble_frac);
        galv_table_cell(&table, "%.1f", 100 * r->exposed_comm_frac);
        galv_table_cell(&table, "%s",
                        galv_print_number(rate, sizeof rate, r->tokens_per_s_per_gpu));
        galv_table_cell(&table, "%s", p->found.plans[i].plan->schedule);
        if (p->n_batches > 0) {
            galv_table_cell(&table, "%lld",
                            (long long)p->found.plans[i].plan->global_batch_size);
        }
    }
    galv_print(p->cli, "\n");
    galv_cli_print_table(p->cli, &table);
}

static void print_verdict(const planning *p)
{
    const galv_search_result *f = &p->found;
    char count[32], time[32], seed[32], bound[32];
    char plans[64], memory[64], simulated[64];
    snprintf(plans, sizeof plans, "%s plans",
             galv_print_count(count, sizeof count, (int64_t)f->n_candidates));
    snprintf(memory, sizeof memory, "%s out of memory",
             galv_print_count(count, sizeof count, (int64_t)f->cut[GALV_CUT_MEMORY]));
    snprintf(simulated, sizeof simulated, "%s simulated",
             galv_print_count(count, sizeof count, (int64_t)f->n_simulated));
    snprintf(seed, sizeof seed, "seed %lld", (long long)p->setup.seed);
    galv_report_parts(p->cli, plans, memory, simulated,
                      galv_print_duration(time, sizeof time, f->wall_s), seed,
                      (char *)NULL);
    if (f->interrupted) {
        galv_print(p->cli,
                   "interrupted: the best so far, maybe not the best there is\n");
    } else if (f->proven_optimal) {
        galv_print(p->cli, p->n_batches > 0
                               ? "proven: no other plan of these batches trains more "
                                 "tokens a second\n"
                               : "proven: no other plan of this space is faster\n");
    } else if (p->n_batches > 0) {
        galv_print(
            p->cli, "not proven best: no plan trains more than %s tok/s (+%.1f %%)\n",
            galv_print_number(bound, sizeof bound, p->batched.most_tokens_per_s),
            100 * (p->batched.most_tokens_per_s / f->plans[0].result.tokens_per_s - 1));
    } else {
        double gap = 1 - f->lower_bound_s / f->plans[0].result.iteration_time_s;
        galv_print(p->cli, "%s takes less than %s (-%.1f %%)\n",
                   f->proven_uniform ? "proven: no uniform plan is faster; none at all"
                                     : "not proven best: no plan",
                   galv_print_seconds(bound, sizeof bound, f->lower_bound_s),
                   100 * gap);
    }
}

/* The strategy of a stage: of the middle layer of its first chunk. */
static const galv_strategy *strategy_of_stage(const galv_plan *plan, int32_t stage)
{
    return galv_plan_strategy(
        plan, (plan->first_layer[stage] + plan->first_layer[stage + 1]) / 2);
}

/* Of a mixed cluster, which stages and how many blocks lie on which devices. */
static void print_pools(const planning *p)
{
    const galv_plan *plan = p->found.plans[0].plan;
    const galv_cluster *cluster = &p->setup.job.cluster;
    const galv_result *r = &p->found.plans[0].result;
    bool differ = false;
    for (int32_t stage = 1; stage < plan->pp; stage++) {
        differ |= !galv_strategy_equal(strategy_of_stage(plan, stage),
                                       strategy_of_stage(plan, 0));
    }
    for (int32_t first = 0, next; cluster->n_pools > 1 && first < plan->pp;
         first = next) {
        int32_t pool = galv_placement_pool(plan, cluster, first);
        int32_t n_blocks = 0;
        char stages[48], strategy[96];
        for (next = first;
             next < plan->pp && galv_placement_pool(plan, cluster, next) == pool;
             next++) {
            n_blocks += r->stages[next].n_layers;
        }
        snprintf(stages, sizeof stages, next - first == 1 ? "stage %d" : "stages %d-%d",
                 (int)first, (int)next - 1);
        galv_print(p->cli, "  %-16s %s: %d block%s%s%s\n", stages,
                   cluster->pools[pool].device.id, (int)n_blocks,
                   n_blocks == 1 ? "" : "s", differ ? ", " : "",
                   differ ? galv_strategy_print(strategy, sizeof strategy,
                                                strategy_of_stage(plan, first))
                          : "");
    }
}

static void report(const planning *p)
{
    galv_report_job(p->cli, &p->setup);
    galv_report_result(p->cli, &p->setup, p->model, p->found.plans[0].plan,
                       &p->found.plans[0].result,
                       p->found.interrupted ? "Best so far" : "Best plan");
    galv_margin_print(&p->margin, p->cli, &p->found.plans[0].result);
    print_pools(p);
    print_table(p);
    if (p->n_batches > 0) {
        galv_batches_print(p->cli, &p->batched);
    }
    print_verdict(p);
}

static const galv_job *job_of(const planning *p, const galv_plan *plan)
{
    return p->n_batches > 0 ? galv_batches_of_plan(&p->batched, plan)->job
                            : &p->setup.job;
}

static galv_status report_json(const planning *p, galv_err *err)
{
    const galv_search_result *f = &p->found;
    galv_json_writer writer;
    galv_cli_begin_json(p->cli, &writer, "plans");
    galv_config_to_json(p->cli, &p->setup, &writer);
    galv_json_put_key(&writer, "plans");
    galv_json_begin_array(&writer, false);
    for (int32_t i = 0; i < f->n_plans; i++) {
        char line[160];
        galv_json_begin_object(&writer, false);
        galv_json_key_i64(&writer, "rank", i + 1);
        galv_json_key_string(&writer, "name",
                             galv_plan_print(line, sizeof line, f->plans[i].plan));
        galv_prediction_to_json(&f->plans[i].result, job_of(p, f->plans[i].plan),
                                f->plans[i].plan, &writer);
        galv_json_end_object(&writer);
    }
    galv_json_end_array(&writer);
    if (p->n_batches > 0) {
        galv_batches_to_json(&p->batched, &writer);
    }
    galv_margin_to_json(&p->margin, &p->setup, &writer);
    galv_json_put_key(&writer, "searched");
    galv_json_begin_object(&writer, false);
    galv_json_key_i64(&writer, "candidates", (int64_t)f->n_candidates);
    galv_json_key_i64(&writer, "pruned", (int64_t)f->n_pruned);
    galv_json_key_i64(&writer, "simulated", (int64_t)f->n_simulated);
    galv_json_key_i64(&writer, "out_of_memory", (int64_t)f->cut[GALV_CUT_MEMORY]);
    galv_json_key_f64(&writer, "wall_s", f->wall_s);
    galv_json_key_bool(&writer, "proven_optimal", f->proven_optimal);
    galv_json_key_bool(&writer, "proven_uniform", f->proven_uniform);
    galv_json_key_f64(&writer, "lower_bound_s", f->lower_bound_s);
    galv_json_key_bool(&writer, "interrupted", f->interrupted);
    galv_json_end_object(&writer);
    return galv_cli_end_json(p->cli, &writer, err);
}

static galv_plan_sheet sheet_of(const planning *p)
{
    return (galv_plan_sheet){p->n_batches > 0, p->space.rank_order.n_values > 0};
}

static void report_csv(const planning *p)
{
    galv_plan_sheet sheet = sheet_of(p);
    *p->cli->out_is_data = true;
    galv_plan_sheet_put(p->cli->out, &p->found, &sheet);
}

/* ---- files ---- */

static galv_status write_candidates(const planning *p, const char *path, galv_err *err)
{
    galv_plan_sheet sheet = sheet_of(p);
    return galv_plan_sheet_write_candidates(path, &p->found, &p->batched, &sheet, err);
}

/* The best plan again, with its timeline. */
static galv_status with_timeline(galv_result *result, const planning *p, galv_err *err)
{
    galv_evaluate_options options = GALV_EVALUATE_OPTIONS_INIT;
    options.sim.record_timeline = true;
    return galv_evaluate(result, p->model, p->found.plans[0].plan, &options,
                         p->cli->arena, err);
}

static galv_status write_folder(const planning *p, galv_err *err)
{
    static const char *const names[] = {"plan.json", "result.json", "candidates.csv",
                                        "timeline.png", "trace.json"};
    const galv_plan *plan = p->found.plans[0].plan;
    galv_result result;
    galv_status status = galv_folder_make(p->target.folder, err);
    if (status == GALV_OK) {
        status = with_timeline(&result, p, err);
    }
    for (int i = 0; status == GALV_OK && i < 5; i++) {
        const char *path = galv_path_join(p->cli->arena, p->target.folder, names[i]);
        if (path == NULL) {
            return galv_fail(err, GALV_NO_MEMORY, "out of memory");
        }
        status = i == 0   ? galv_plan_write(path, &p->setup.job, plan, err)
                 : i == 1 ? galv_result_write(path, p->cli, &p->setup, plan,
                                              &p->found.plans[0].result, err)
                 : i == 2 ? write_candidates(p, path, err)
                          : galv_timeline_write(path, &result.timeline, err);
        if (status == GALV_OK) {
            galv_cli_wrote(p->cli, path);
        }
    }
    return status;
}

static galv_status write_files(const planning *p, galv_err *err)
{
    if (p->target.folder != NULL) {
        return write_folder(p, err);
    }
    const char *path = p->target.file;
    galv_status status = GALV_OK;
    if (galv_target_is(&p->target, ".json")) {
        status = galv_plan_write(path, &p->setup.job, p->found.plans[0].plan, err);
    } else if (galv_target_is(&p->target, ".csv")) {
        status = write_candidates(p, path, err);
    } else {
        galv_result result;
        status = with_timeline(&result, p, err);
        if (status == GALV_OK) {
            status = galv_timeline_write(path, &result.timeline, err);
        }
    }
    if (status == GALV_OK) {
        galv_cli_wrote(p->cli, path);
    }
    return status;
}

/* ---- the command ---- */

static galv_status plan_it(planning *p, galv_err *err)
{
    galv_status status = galv_setup_costmodel(&p->model, &p->setup, p->cli, err);
    if (status == GALV_OK) {
        status = run_search(p, err);
    }
    if (status != GALV_OK) {
        return status;
    }
    if (galv_cli_given(p->cli, GALV_OPTION_JSON)) {
        status = report_json(p, err);
    } else if (galv_cli_given(p->cli, GALV_OPTION_CSV)) {
        report_csv(p);
    } else {
        report(p);
    }
    if (status == GALV_OK && p->target.given) {
        status = write_files(p, err);
    }
    return status;
}

/* What can be done next: for someone who typed nothing, or who has files now. */
static void print_next(const planning *p)
{
    if (galv_cli_given(p->cli, GALV_OPTION_JSON) ||
        galv_cli_given(p->cli, GALV_OPTION_CSV)) {
        return;
    }
    if (p->cli->n_typed == 0) {
        galv_print(p->cli, "\nnext  galvatron-sim --nodes 64, or galvatron-sim help\n");
    } else if (p->target.folder != NULL) {
        galv_print(p->cli, "\nnext  galvatron-sim explain %s%splan.json\n",
                   p->target.folder,
                   p->target.folder[strlen(p->target.folder) - 1] == '/' ? "" : "/");
    }
}

/* Searches of another kind; NULL = the usual one. */
static int (*other_search(const galv_cli *cli))(const galv_cli *)
{
    if (galv_cli_given(cli, GALV_OPTION_FRONT)) {
        return galv_plan_front;
    }
    if (galv_cli_given(cli, GALV_OPTION_PHASES)) {
        return galv_plan_phases;
    }
    if (galv_cli_given(cli, GALV_OPTION_OBSERVED) || cli->n_arguments > 0) {
        return galv_plan_observed;
    }
    if (galv_cli_given(cli, GALV_OPTION_GALVATRON_PROFILE) ||
        galv_cli_given(cli, GALV_OPTION_GALVATRON_TIME) ||
        galv_cli_given(cli, GALV_OPTION_COST_MODEL)) {
        const char *own = galv_cli_value(cli, GALV_OPTION_COST_MODEL);
        return own == NULL || strcmp(own, "own") != 0 ? galv_plan_galvatron : NULL;
    }
    return NULL;
}

int galv_cmd_plan(const galv_cli *cli)
{
    planning p = {.cli = cli};
    galv_err err = GALV_ERR_INIT;
    int (*other)(const galv_cli *) = other_search(cli);
    if (other != NULL) {
        return galv_batches_refuse(cli, &err) == GALV_OK ? other(cli)
                                                         : galv_cli_fail(cli, &err);
    }
    galv_status status = read_options(&p, &err);
    if (status == GALV_OK && galv_cli_given(cli, GALV_OPTION_PRINT_CONFIG)) {
        status = galv_config_print(cli, &p.setup, &err);
    } else if (status == GALV_OK && galv_cli_given(cli, GALV_OPTION_DRY_RUN)) {
        status = dry_run(&p, &err);
    } else if (status == GALV_OK) {
        status = plan_it(&p, &err);
        print_next(&p);
    }
    galv_costmodel_free(p.model);
    galv_setup_release(&p.setup);
    if (status != GALV_OK) {
        return galv_cli_fail(cli, &err);
    }
    return p.found.interrupted ? galv_status_exit_code(GALV_INTERRUPTED) : 0;
}

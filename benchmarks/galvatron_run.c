/* One recorded run: its file read, our searches for the same inputs, and every plan
 * under both models.
 *
 * Galvatron's side is fed with the numbers that the engine itself used
 * (resolved_inputs). Our side is fed with the profile files that the run names,
 * imported as a profile of ours; where they are not there, only Galvatron's side is
 * compared. The memory limit is the same on both sides, the run's budget less what
 * Galvatron keeps free of it (a fifth of one above 20 GiB), unless the whole budget is
 * asked for. The two models of memory differ, and some plans of the engine take more by
 * ours than that. Ours are then held to the same yardstick: they may take as much as
 * the plan that they are compared with. */
#include "benchmarks/galvatron_run.h"

#include "base/file.h"
#include "plan/catalog.h"
#include "traces/galvatron.h"
#include "traces/galvatron_plan.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define DEVICE "a100-sxm-80gb" /* what the shipped profiles were taken on */

typedef struct comparison {
    compared_run *run;
    const compare_options *options;
    const char *path;
    galv_arena *arena;
    galv_json_value request, resolved, result;
    galv_galvatron_inputs inputs;
    galv_galvatron_space space;
    galv_job job;
    galv_costmodel *model;  /* NULL: no profile files */
    galv_costmodel *search; /* the same with the limit that ours are held to */
    char why[200];          /* then */
} comparison;

static double clock_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Of this process: what a search on one thread takes, whoever else is busy. */
static double cpu_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* ---- reading ---- */

static double number_or(galv_json_value object, const char *key, double otherwise)
{
    galv_err ignored = GALV_ERR_INIT;
    galv_json_value value = galv_json_member(object, key);
    if (galv_json_type_of(value) == GALV_JSON_NUMBER) {
        galv_json_to_f64(&otherwise, value, -1e15, 1e15, &ignored);
    }
    return otherwise;
}

static const char *word_of(galv_json_value object, const char *key)
{
    const char *word = "";
    galv_err ignored = GALV_ERR_INIT;
    galv_json_to_string(&word, galv_json_member(object, key), &ignored);
    return word;
}

static galv_status read_space(comparison *c, galv_err *err)
{
    galv_galvatron_space *s = &c->space;
    double budget = number_or(c->request, "memory_GB", 0);
    double batch = number_or(c->request, "gbsz", 0);
    double chunks = number_or(c->request, "settle_chunk", -1);
    if (!(budget > 0) || !(batch >= 1) || batch > 1e9 || chunks > 1e9) {
        return galv_json_fail(c->request, err,
                              "memory_GB and gbsz, both positive, are expected here");
    }
    galv_json_value narrowed = galv_json_member(c->request, "search_space");
    s->budget_mib = budget * 1024;
    s->global_batch_size = (int64_t)batch;
    s->gpipe = strcmp(word_of(c->request, "pipeline_type"), "gpipe") == 0;
    s->default_zero = strcmp(word_of(c->request, "default_dp_type"), "ddp") ? 2 : 0;
    s->n_micro_batches = chunks > 0 ? (int32_t)chunks : 0;
    s->max_tp = (int32_t)fmin(1 << 20, number_or(c->request, "max_tp_deg", 8));
    s->max_ulysses = (int32_t)fmin(1 << 20, number_or(c->request, "max_sp_deg", 8));
    s->max_pp = (int32_t)fmin(1 << 20, number_or(c->request, "max_pp_deg", 8));
    s->without_recompute = number_or(narrowed, "disable_ckpt", 0) > 0;
    s->without_tp = number_or(narrowed, "disable_tp", 0) > 0;
    s->without_ulysses = number_or(narrowed, "disable_sp", 0) > 0;
    s->without_zero3 = number_or(narrowed, "disable_sdp", 0) > 0;
    c->run->budget_gib = budget;
    c->run->global_batch_size = s->global_batch_size;
    snprintf(c->run->pipeline, sizeof c->run->pipeline, "%s",
             s->gpipe ? "gpipe" : "1f1b");
    snprintf(c->run->default_dp, sizeof c->run->default_dp, "%s",
             s->default_zero ? "zero2" : "ddp");
    return GALV_OK;
}

/* The folder of a run's file and `inner`, which is beside the folder of the runs. */
static const char *beside(const comparison *c, const char *inner)
{
    const char *end = strrchr(c->path, '/');
    int length = end == NULL ? 0 : (int)(end - c->path);
    return galv_arena_printf(c->arena, "%.*s%s../%s", length, c->path,
                             length > 0 ? "/" : "", inner);
}

static galv_status import_profile(galv_profile *profile, const comparison *c,
                                  galv_err *err)
{
    size_t n_files = 0;
    galv_galvatron_import import = {
        .folder = beside(c, word_of(c->request, "config_dir")),
        .model = c->inputs.model,
        .device = DEVICE,
        .n_nodes = galv_cluster_n_nodes(&c->job.cluster),
        .devices_per_node = (int32_t)number_or(c->request, "num_gpus_per_node", 8),
        .precision = GALV_BF16};
    if (import.folder == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    galv_status status = galv_profile_import_galvatron(profile, &n_files, &import, err);
    import.folder = beside(c, word_of(c->request, "hw_dir"));
    import.model = NULL;
    if (status == GALV_OK && import.folder != NULL) {
        status = galv_profile_import_galvatron(profile, &n_files, &import, err);
    }
    return status;
}

static galv_status cost_job(galv_costmodel **model, const comparison *c,
                            const galv_job *job, galv_err *err)
{
    galv_profile *profile = galv_profile_new();
    if (profile == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    galv_status status = import_profile(profile, c, err);
    if (status == GALV_OK) {
        status = galv_costmodel_new(model, job, profile, err);
    }
    galv_profile_free(profile);
    return status;
}

/* The job as our simulator knows it, with the run's own profile. */
static galv_status make_model(comparison *c, galv_err *err)
{
    galv_job *job = &c->job;
    galv_status status = galv_catalog_model(&job->model, c->inputs.model, err);
    if (status == GALV_OK) {
        status = galv_cluster_from_device(
            &job->cluster, DEVICE, (int32_t)number_or(c->request, "num_nodes", 1), err);
    }
    if (status != GALV_OK) {
        return status;
    }
    for (int32_t g = 0; g < job->model.n_groups; g++) {
        galv_layer_group *group = &job->model.groups[g];
        bool block = group->num_attention_heads > 0;
        group->n_layers = block ? c->inputs.n_layers : group->n_layers;
    }
    job->workload = (galv_workload)GALV_WORKLOAD_INIT;
    job->workload.seq_length = c->inputs.seq_length;
    job->workload.global_batch_size = c->space.global_batch_size;
    job->workload.precision = c->inputs.fp32 ? GALV_FP32 : GALV_BF16;
    job->workload.grad_precision = job->workload.precision; /* as in Galvatron */
    double kept_mib =
        c->options->whole_memory ? 0 : galv_galvatron_reserve_mib(c->space.budget_mib);
    job->workload.memory_limit_bytes = (c->space.budget_mib - kept_mib) * 0x1p20;
    return cost_job(&c->model, c, job, err);
}

/* ---- judging plans ---- */

/* "3x 1-4*-2f-c", as Galvatron prints strategies, with what it leaves to the whole
 * plan: "z1" and "z2" are ZeRO stages below its "f". */
static void put_strategy(galv_text *text, const galv_strategy *s, int32_t pp, int32_t n)
{
    static const char *const zero[] = {"", "z1", "z2", "f"};
    galv_text_printf(text, "%dx %d-%d%s-%d%s%s%s", (int)n, (int)pp, (int)s->tp,
                     s->tp > 1 ? "*" : "", (int)s->dp,
                     galv_strategy_gradient_ranks(s) > 1 ? zero[s->zero] : "",
                     s->recompute == GALV_RECOMPUTE_FULL        ? "-c"
                     : s->recompute == GALV_RECOMPUTE_SELECTIVE ? "-sel"
                                                                : "",
                     s->sp == GALV_SP_ULYSSES ? "-sp" : "");
}

static void describe(judged_plan *plan, const char *head, int32_t pp,
                     const galv_strategy *blocks, int32_t n_blocks)
{
    galv_text text = GALV_TEXT_INIT;
    galv_text_printf(&text, "%s:", head);
    for (int32_t i = 0, n = 0; i < n_blocks; i += n) {
        for (n = 1; i + n < n_blocks && galv_strategy_equal(&blocks[i], &blocks[i + n]);
             n++) {
        }
        galv_text_append(&text, i > 0 ? ", " : " ");
        put_strategy(&text, &blocks[i], pp, n);
    }
    const char *whole = galv_text_string(&text);
    bool long_text = strlen(whole) >= sizeof plan->text;
    int fits = (int)sizeof plan->text - (long_text ? 5 : 1);
    snprintf(plan->text, sizeof plan->text, "%.*s%s", fits, whole,
             long_text ? " ..." : "");
    galv_text_release(&text);
}

static void describe_plan(judged_plan *judged, const galv_plan *plan, galv_arena *arena)
{
    char head[48];
    int32_t n = plan->n_layers - 2;
    galv_strategy *blocks = GALV_NEW_ARRAY(arena, galv_strategy, n);
    if (blocks == NULL) {
        return;
    }
    for (int32_t i = 0; i < n; i++) {
        blocks[i] = *galv_plan_strategy(plan, i + 1);
    }
    snprintf(head, sizeof head, "%s%sn%d", plan->pp > 1 ? plan->schedule : "",
             plan->pp > 1 ? " " : "", (int)galv_plan_n_micro_batches(plan));
    describe(judged, head, plan->pp, blocks, n);
}

static void simulate(judged_plan *judged, const comparison *c, const galv_plan *plan)
{
    galv_evaluate_options options = GALV_EVALUATE_OPTIONS_INIT;
    galv_result result;
    galv_err why = GALV_ERR_INIT;
    if (c->model == NULL) {
        snprintf(judged->why, sizeof judged->why, "%s", c->why);
        return;
    }
    if (galv_evaluate(&result, c->model, plan, &options, c->arena, &why) != GALV_OK) {
        snprintf(judged->why, sizeof judged->why, "%.199s", why.message);
        return;
    }
    judged->ours_s = result.iteration_time_s;
    judged->ours_gib = result.peak_memory_bytes / 0x1p30;
    judged->ours_fits = result.fits;
}

static void cost(judged_plan *judged, const comparison *c, const galv_plan *plan)
{
    galv_galvatron_cost under;
    galv_err ignored = GALV_ERR_INIT;
    if (galv_galvatron_plan_cost(&under, &c->inputs, plan, c->space.budget_mib,
                                 c->arena, &ignored) == GALV_OK &&
        under.fits) {
        judged->galvatron_s = under.iteration_s;
        judged->galvatron_mib = under.memory_mib - under.reserve_mib;
    }
}

/* What the engine found: its own number for its own model. */
static void judge_engine(comparison *c)
{
    judged_plan *engine = &c->run->engine;
    galv_json_value task = galv_json_member(c->result, "best_task");
    galv_json_value config = galv_json_member(c->result, "galvatron_config");
    galv_plan *plan = NULL;
    galv_err why = GALV_ERR_INIT;
    galv_job job = c->job;
    engine->galvatron_s = number_or(task, "time_cost", NAN);
    c->run->engine_found = isfinite(engine->galvatron_s);
    if (!c->run->engine_found || !c->options->simulate) {
        return;
    }
    if (c->model == NULL) {
        snprintf(engine->why, sizeof engine->why, "%s", c->why);
    } else if (galv_galvatron_plan_from_json(&job, &plan, config, c->arena, &why) ==
               GALV_OK) {
        describe_plan(engine, plan, c->arena);
        simulate(engine, c, plan);
    } else {
        snprintf(engine->why, sizeof engine->why, "%.199s", why.message);
    }
}

/* ---- our searches ---- */

static galv_status search_its_model(judged_plan *judged, bool *found_one, bool *proven,
                                    double *seconds, comparison *c,
                                    const galv_galvatron_space *space, galv_err *err)
{
    galv_galvatron_found found;
    double began_s = cpu_s();
    galv_status status =
        galv_galvatron_search(&found, &c->inputs, space, c->arena, err);
    *seconds = cpu_s() - began_s;
    if (status != GALV_OK) {
        return status;
    }
    *found_one = found.found;
    *proven = found.proven;
    c->run->n_tasks = found.n_tasks;
    c->run->n_solved = found.n_solved;
    if (!found.found) {
        return GALV_OK;
    }
    char head[48];
    judged->galvatron_s = found.iteration_s;
    for (int32_t s = 0; s < found.task.pp; s++) {
        judged->galvatron_mib = fmax(judged->galvatron_mib, found.stages[s].memory_mib);
    }
    snprintf(head, sizeof head, "n%d", (int)found.task.n_micro_batches);
    describe(judged, head, found.task.pp, found.strategies, found.n_blocks);
    galv_job job = c->job;
    galv_plan *plan = NULL;
    galv_err why = GALV_ERR_INIT;
    if (!c->options->simulate) {
        return GALV_OK;
    }
    if (c->model == NULL) {
        snprintf(judged->why, sizeof judged->why, "%s", c->why);
    } else if (galv_galvatron_found_plan(&plan, &job, &found, c->arena, &why) ==
               GALV_OK) {
        simulate(judged, c, plan);
    } else {
        snprintf(judged->why, sizeof judged->why, "%.199s", why.message);
    }
    return GALV_OK;
}

/* Only what Galvatron's search can choose. */
static void narrow(galv_space *space, const comparison *c)
{
    const galv_galvatron_space *s = &c->space;
    space->cp = (galv_choices){1, {1}};
    space->vpp = (galv_choices){1, {1}};
    space->zero = (galv_choices){2, {s->default_zero, 3}};
    space->recompute = (galv_choices){2, {GALV_RECOMPUTE_NONE, GALV_RECOMPUTE_FULL}};
    space->sp = (galv_choices){3, {GALV_SP_NONE, GALV_SP_MEGATRON, GALV_SP_ULYSSES}};
    space->n_schedules = 2;
    space->schedules[0] = "none";
    space->schedules[1] = s->gpipe ? "gpipe" : "1f1b";
}

static void take_plan(comparison *c, const galv_plan *plan)
{
    judged_plan *judged = &c->run->simulated;
    c->run->simulated_found = true;
    describe_plan(judged, plan, c->arena);
    simulate(judged, c, plan);
    cost(judged, c, plan);
}

static galv_status search_ours(comparison *c, galv_err *err)
{
    galv_space space = GALV_SPACE_INIT;
    galv_search_options options = GALV_SEARCH_OPTIONS_INIT;
    galv_search_result found;
    galv_err why = GALV_ERR_INIT;
    options.top_k = 1;
    options.n_jobs = c->options->n_jobs;
    options.max_ops = GALV_SEARCH_USUAL_OPS;
    space.layer_wise = true;
    if (c->options->own_knobs) {
        narrow(&space, c);
    }
    bool alone = c->options->n_jobs <= 1; /* whoever else is busy */
    double began_s = alone ? cpu_s() : clock_s();
    galv_status status =
        galv_search(&found, c->search, &space, &options, c->arena, &why);
    c->run->simulated_s = (alone ? cpu_s() : clock_s()) - began_s;
    if (status == GALV_OK && found.n_plans > 0) {
        c->run->simulated_proven = found.proven_optimal;
        take_plan(c, found.plans[0].plan);
    } else {
        snprintf(c->run->simulated.why, sizeof c->run->simulated.why, "%.199s",
                 why.message);
    }
    return status == GALV_NO_MEMORY ? galv_fail(err, status, "%s", why.message)
                                    : GALV_OK;
}

/* Ours may take what the engine's plan takes by our model, where that is more than the
 * budget: both are measured by the same yardstick. */
static galv_status make_search_model(comparison *c, galv_err *err)
{
    galv_job job = c->job;
    double engine_bytes = c->run->engine.ours_gib * 0x1p30;
    if (isfinite(engine_bytes) && engine_bytes > job.workload.memory_limit_bytes) {
        job.workload.memory_limit_bytes = engine_bytes;
        c->run->limit_raised = true;
    }
    c->run->limit_gib = job.workload.memory_limit_bytes / 0x1p30;
    return cost_job(&c->search, c, &job, err);
}

static galv_status compare_all(comparison *c, galv_err *err)
{
    galv_err why = GALV_ERR_INIT;
    if (c->options->simulate && make_model(c, &why) != GALV_OK) {
        snprintf(c->why, sizeof c->why, "%.120s: %.70s", why.file, why.message);
    }
    judge_engine(c);
    galv_galvatron_space wide = c->space;
    wide.exact_mib = wide.mixed_zero = true;
    galv_status status =
        search_its_model(&c->run->wide, &c->run->wide_found, &c->run->wide_proven,
                         &c->run->wide_s, c, &wide, err);
    if (status == GALV_OK) {
        status = search_its_model(&c->run->own, &c->run->own_found, &c->run->own_proven,
                                  &c->run->own_s, c, &c->space, err);
    }
    if (status == GALV_OK && c->model != NULL) {
        status = make_search_model(c, err);
    }
    return status == GALV_OK && c->search != NULL ? search_ours(c, err) : status;
}

static void clear(judged_plan *plan)
{
    *plan = (judged_plan){.galvatron_s = NAN, .ours_s = NAN, .ours_gib = NAN};
}

galv_status compare_run(compared_run *run, const char *path,
                        const compare_options *options, galv_err *err)
{
    comparison c = {.run = run, .options = options, .path = path};
    galv_json *document = NULL;
    const char *name = strrchr(path, '/');
    memset(run, 0, sizeof *run);
    snprintf(run->name, sizeof run->name, "%.95s", name == NULL ? path : name + 1);
    char *dot = strstr(run->name, ".json");
    if (dot != NULL) {
        *dot = '\0';
    }
    clear(&run->engine);
    clear(&run->own);
    clear(&run->wide);
    clear(&run->simulated);
    c.arena = galv_arena_new();
    if (c.arena == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    galv_status status = galv_json_read_file(&document, path, err);
    if (status == GALV_OK) {
        galv_json_value root = galv_json_root(document);
        c.request = galv_json_member(root, "request");
        c.resolved = galv_json_member(root, "resolved_inputs");
        c.result = galv_json_member(root, "result");
        status = galv_galvatron_inputs_from_run(&c.inputs, c.request, c.resolved, err);
    }
    if (status == GALV_OK) {
        status = read_space(&c, err);
    }
    if (status == GALV_OK) {
        status = compare_all(&c, err);
    }
    galv_costmodel_free(c.model);
    galv_costmodel_free(c.search);
    galv_json_free(document);
    galv_arena_free(c.arena);
    return status;
}

/* ---- a large cluster ---- */

/* Beyond the largest measured group: as the largest. */
static void extend(galv_galvatron_by_degree *table, int32_t most)
{
    int32_t n = table->n;
    for (int32_t degree = n > 0 ? 2 * table->degrees[n - 1] : most + 1;
         degree <= most && table->n < GALV_GALVATRON_MAX_DEGREES; degree *= 2) {
        table->degrees[table->n] = degree;
        table->values[table->n++] = table->values[n - 1];
    }
}

static void sort_degrees(galv_galvatron_by_degree *table)
{
    for (int32_t i = 1; i < table->n; i++) {
        for (int32_t k = i; k > 0 && table->degrees[k] < table->degrees[k - 1]; k--) {
            int32_t degree = table->degrees[k];
            double value = table->values[k];
            table->degrees[k] = table->degrees[k - 1];
            table->values[k] = table->values[k - 1];
            table->degrees[k - 1] = degree;
            table->values[k - 1] = value;
        }
    }
}

galv_status compare_large(galv_galvatron_found *found, double *seconds,
                          const char *path, galv_arena *arena, galv_err *err)
{
    galv_json *document = NULL;
    galv_galvatron_inputs inputs;
    galv_galvatron_space space = {
        .budget_mib = 80 * 1024, .global_batch_size = 1024, .default_zero = 2};
    galv_status status = galv_json_read_file(&document, path, err);
    if (status == GALV_OK) {
        galv_json_value root = galv_json_root(document);
        status = galv_galvatron_inputs_from_run(
            &inputs, galv_json_member(root, "request"),
            galv_json_member(root, "resolved_inputs"), err);
    }
    galv_json_free(document);
    if (status != GALV_OK) {
        return status;
    }
    inputs.n_devices = 512;
    inputs.n_layers = 80;
    galv_galvatron_by_degree *tables[] = {&inputs.consecutive_ms_per_mib,
                                          &inputs.strided_ms_per_mib};
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        sort_degrees(tables[i]);
        extend(tables[i], inputs.n_devices);
    }
    double began_s = cpu_s();
    status = galv_galvatron_search(found, &inputs, &space, arena, err);
    *seconds = cpu_s() - began_s;
    return status;
}

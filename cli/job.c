/* Options to nouns.
 *
 * The order is that of precedence, weakest first: built-in defaults, then the catalog
 * or file that --model and --cluster (or a plan document) name, then single options. A
 * plan that is read keeps its degrees; where its cluster is replaced by another kind,
 * the number of GPUs stays what the plan needs. */
#include "cli/job.h"

#include "base/file.h"
#include "base/parallel.h"
#include "cli/output.h"
#include "plan/catalog.h"
#include "schedule/schedule.h"

#include <stdio.h>
#include <string.h>

#define DEFAULT_MODEL   "llama3-70b"
#define DEFAULT_CLUSTER "dgx-h100"
#define DEFAULT_NODES   8
#define MAX_NODES       1000000
#define MAX_SWEEP       256

const char *const galv_origin_names[4] = {"default", "catalog", "file", "command line"};

/* ---- model and cluster ---- */

static galv_origin origin_of(const char *name_or_path)
{
    return galv_is_file(name_or_path) ? GALV_ORIGIN_FILE : GALV_ORIGIN_CATALOG;
}

static galv_status read_model(galv_setup *setup, const galv_cli *cli, galv_err *err)
{
    const char *name = galv_cli_value(cli, GALV_OPTION_MODEL);
    name = name == NULL ? DEFAULT_MODEL : name;
    setup->model_from = origin_of(name);
    return galv_model_load(&setup->job.model, name, err);
}

static galv_status read_nodes(int32_t *n_nodes, const galv_cli *cli, galv_err *err)
{
    int64_t nodes = *n_nodes;
    galv_status status =
        galv_cli_count(&nodes, cli, GALV_OPTION_NODES, 1, MAX_NODES, err);
    *n_nodes = (int32_t)nodes;
    return status;
}

static galv_status refuse_both(galv_err *err)
{
    galv_fail(err, GALV_USAGE, "--gpu and --cluster are two ways to say the same");
    galv_hint(err, "give one of them");
    return GALV_USAGE;
}

/* --gpus-per-node and --set, in that order. */
static galv_status change_cluster(galv_cluster *cluster, const galv_cli *cli,
                                  galv_err *err)
{
    int64_t per_node = 0;
    galv_status status =
        galv_cli_count(&per_node, cli, GALV_OPTION_GPUS_PER_NODE, 1, 4096, err);
    if (status == GALV_OK && per_node > 0) {
        char assignment[48];
        snprintf(assignment, sizeof assignment, "devices_per_node=%lld",
                 (long long)per_node);
        status = galv_cluster_set(cluster, assignment, err);
    }
    for (size_t i = 0; status == GALV_OK; i++) {
        const char *assignment = galv_cli_repeated(cli, GALV_OPTION_SET, i);
        if (assignment == NULL) {
            break;
        }
        status = galv_cluster_set(cluster, assignment, err);
        if (status != GALV_OK && err->file[0] == '\0') {
            return galv_cli_blame(cli, GALV_OPTION_SET, assignment, err);
        }
    }
    return status == GALV_OK ? galv_cluster_check(cluster, err) : status;
}

static galv_status read_cluster(galv_setup *setup, const galv_cli *cli, galv_err *err)
{
    const char *gpu = galv_cli_value(cli, GALV_OPTION_GPU);
    const char *name = galv_cli_value(cli, GALV_OPTION_CLUSTER);
    int32_t n_nodes = 0;
    galv_status status = read_nodes(&n_nodes, cli, err);
    if (status != GALV_OK) {
        return status;
    }
    if (gpu != NULL && name != NULL) {
        return refuse_both(err);
    }
    if (gpu != NULL) {
        setup->cluster_from = GALV_ORIGIN_CATALOG;
        status = galv_cluster_from_device(&setup->job.cluster, gpu,
                                          n_nodes > 0 ? n_nodes : DEFAULT_NODES, err);
    } else {
        name = name == NULL ? DEFAULT_CLUSTER : name;
        setup->cluster_from = origin_of(name);
        if (n_nodes == 0 && setup->cluster_from == GALV_ORIGIN_CATALOG) {
            n_nodes = DEFAULT_NODES;
        }
        status = galv_cluster_load(&setup->job.cluster, name, n_nodes, err);
    }
    if (status != GALV_OK) {
        return status;
    }
    return change_cluster(&setup->job.cluster, cli, err);
}

/* ---- workload ---- */

static galv_status read_words_of_workload(galv_workload *w, const galv_cli *cli,
                                          galv_err *err)
{
    static const char *const sums[] = {"fp32", "bf16", "fp16"};
    static const galv_precision of_sums[] = {GALV_FP32, GALV_BF16, GALV_FP16};
    int precision = (int)w->precision;
    int grad = -1;
    int software = (int)w->software;
    galv_status status = galv_cli_word(&precision, cli, GALV_OPTION_PRECISION,
                                       galv_precision_names, GALV_N_PRECISIONS, err);
    if (status == GALV_OK) {
        status = galv_cli_word(&grad, cli, GALV_OPTION_GRAD_PRECISION, sums, 3, err);
    }
    if (status == GALV_OK) {
        status = galv_cli_word(&software, cli, GALV_OPTION_SOFTWARE,
                               galv_software_names, GALV_N_SOFTWARES, err);
    }
    int64_t modules[GALV_N_RECOMPUTE_MODULES];
    size_t n_modules = 0;
    if (status == GALV_OK) {
        status =
            galv_cli_words(modules, &n_modules, GALV_N_RECOMPUTE_MODULES, cli,
                           GALV_OPTION_RECOMPUTE_MODULES, galv_recompute_module_names,
                           GALV_N_RECOMPUTE_MODULES, err);
    }
    for (size_t i = 0; i < n_modules && status == GALV_OK; i++) {
        uint32_t others = i > 0 ? w->recompute_modules : 0;
        w->recompute_modules = others | 1u << modules[i];
    }
    w->precision = (galv_precision)precision;
    w->grad_precision = grad >= 0 ? of_sums[grad] : w->grad_precision;
    w->software = (galv_software)software;
    return status;
}

/* A sweep takes lists here (cli/sweep_jobs.h), and plan of batches (cli/batches.h); the
 * first value stands for them. */
static galv_status read_count(int64_t *value, const galv_cli *cli, galv_option_id id,
                              int64_t high, galv_err *err)
{
    int64_t values[MAX_SWEEP] = {*value};
    size_t n = 1;
    bool may_be_list =
        cli->command->id == GALV_COMMAND_SWEEP ||
        (cli->command->id == GALV_COMMAND_PLAN && id == GALV_OPTION_GLOBAL_BATCH);
    if (!may_be_list) {
        return galv_cli_count(value, cli, id, 1, high, err);
    }
    galv_status status = galv_cli_counts(values, &n, MAX_SWEEP, cli, id, 1, high, err);
    if (status == GALV_OK) {
        *value = values[0];
    }
    return status;
}

static galv_status read_workload(galv_workload *w, const galv_cli *cli, galv_err *err)
{
    galv_status status = read_words_of_workload(w, cli, err);
    int64_t seq_length = w->seq_length;
    int64_t tokens = (int64_t)w->tokens_to_train;
    if (status == GALV_OK) {
        status = read_count(&seq_length, cli, GALV_OPTION_SEQ_LENGTH, 1 << 28, err);
    }
    if (status == GALV_OK) {
        status = read_count(&w->global_batch_size, cli, GALV_OPTION_GLOBAL_BATCH,
                            (int64_t)1 << 40, err);
    }
    if (status == GALV_OK) {
        status = galv_cli_count(&tokens, cli, GALV_OPTION_TOKENS, 1,
                                1000000000000000000, err);
    }
    const char *limit = galv_cli_value(cli, GALV_OPTION_MEMORY_LIMIT);
    if (status == GALV_OK && limit != NULL && cli->command->id != GALV_COMMAND_SWEEP) {
        status = galv_cli_memory(&w->memory_limit_bytes, cli, limit, err);
    }
    w->seq_length = (int32_t)seq_length;
    w->tokens_to_train = (double)tokens;
    if (galv_cli_given(cli, GALV_OPTION_NO_FLASH_ATTENTION)) {
        w->flash_attention = false;
    }
    return status == GALV_OK ? galv_workload_check(w, err) : status;
}

/* ---- profile and the rest ---- */

static galv_status read_profile(galv_setup *setup, const galv_cli *cli, galv_err *err)
{
    galv_status status = GALV_OK;
    for (size_t i = 0; status == GALV_OK; i++) {
        const char *path = galv_cli_repeated(cli, GALV_OPTION_PROFILE, i);
        if (path == NULL) {
            break;
        }
        if (setup->profile == NULL) {
            setup->profile = galv_profile_new();
        }
        if (setup->profile == NULL) {
            return galv_fail(err, GALV_NO_MEMORY, "out of memory");
        }
        status = galv_profile_read(setup->profile, path, err);
    }
    return status;
}

/* fp8 on a GPU without it is priced as another precision: that must not go unnoticed.
 */
static galv_status warn_of_precision(const galv_setup *setup, const galv_cli *cli,
                                     galv_err *err)
{
    galv_precision precision = setup->job.workload.precision;
    for (int32_t i = 0; i < setup->job.cluster.n_pools; i++) {
        const galv_device *device = &setup->job.cluster.pools[i].device;
        if (device->peak_flop_per_s[precision] <= 0) {
            return galv_cli_warn(
                cli, err, "%s has no %s: priced as %s", device->id,
                galv_precision_names[precision],
                galv_precision_names[galv_device_stand_in(device, precision)]);
        }
    }
    return GALV_OK;
}

static galv_status finish_setup(galv_setup *setup, const galv_cli *cli, galv_err *err)
{
    setup->seed = 1;
    galv_status status =
        galv_cli_count(&setup->seed, cli, GALV_OPTION_SEED, 0, INT64_MAX / 2, err);
    if (status == GALV_OK) {
        status = read_profile(setup, cli, err);
    }
    return status == GALV_OK ? warn_of_precision(setup, cli, err) : status;
}

galv_status galv_setup_read(galv_setup *setup, const galv_cli *cli, galv_err *err)
{
    memset(setup, 0, sizeof *setup);
    setup->job.workload = (galv_workload)GALV_WORKLOAD_INIT;
    galv_status status = read_model(setup, cli, err);
    if (status == GALV_OK) {
        status = read_cluster(setup, cli, err);
    }
    if (status == GALV_OK) {
        status = read_workload(&setup->job.workload, cli, err);
    }
    if (status != GALV_OK) {
        return status;
    }
    galv_job_fill_defaults(&setup->job);
    return finish_setup(setup, cli, err);
}

galv_status galv_setup_read_on(galv_setup *setup, const galv_cli *cli,
                               const galv_cluster *cluster, galv_err *err)
{
    memset(setup, 0, sizeof *setup);
    setup->job.workload = (galv_workload)GALV_WORKLOAD_INIT;
    setup->job.cluster = *cluster;
    setup->cluster_from = GALV_ORIGIN_CATALOG;
    galv_status status = read_model(setup, cli, err);
    if (status == GALV_OK) {
        status = read_workload(&setup->job.workload, cli, err);
    }
    if (status != GALV_OK) {
        return status;
    }
    int64_t batch = setup->job.workload.global_batch_size;
    galv_job_fill_defaults(&setup->job);
    setup->job.workload.global_batch_size = batch;
    return finish_setup(setup, cli, err);
}

/* Another kind of cluster under a plan: as many nodes as give the same GPUs. */
static galv_status replace_cluster(galv_setup *setup, const galv_cli *cli,
                                   galv_err *err)
{
    const char *gpu = galv_cli_value(cli, GALV_OPTION_GPU);
    const char *name = galv_cli_value(cli, GALV_OPTION_CLUSTER);
    galv_cluster *cluster = &setup->job.cluster;
    if (gpu != NULL && name != NULL) {
        return refuse_both(err);
    }
    if (gpu != NULL || name != NULL) {
        int64_t n_devices = galv_plan_n_devices(setup->plan);
        galv_cluster other;
        galv_status status = gpu != NULL ? galv_cluster_from_device(&other, gpu, 1, err)
                                         : galv_cluster_load(&other, name, 0, err);
        if (status != GALV_OK) {
            return status;
        }
        if (other.n_pools == 1 && galv_cluster_n_devices(&other) != n_devices) {
            int64_t nodes = n_devices / other.pools[0].devices_per_node;
            status =
                galv_cluster_set_nodes(&other, nodes < 1 ? 1 : (int32_t)nodes, err);
        }
        if (status != GALV_OK) {
            return status;
        }
        *cluster = other;
        setup->cluster_from = gpu != NULL ? GALV_ORIGIN_CATALOG : origin_of(name);
    }
    int32_t n_nodes = 0;
    galv_status status = read_nodes(&n_nodes, cli, err);
    if (status == GALV_OK && n_nodes > 0) {
        status = galv_cluster_set_nodes(cluster, n_nodes, err);
    }
    return status == GALV_OK ? change_cluster(cluster, cli, err) : status;
}

static galv_status refuse_degrees(const galv_cli *cli, galv_err *err)
{
    for (size_t i = 0; i < GALV_N_OPTIONS; i++) {
        if (galv_options[i].group == GALV_IN_STRATEGY &&
            galv_cli_given(cli, galv_options[i].id)) {
            galv_fail(err, GALV_USAGE,
                      "--%s and a plan file: the plan says that itself",
                      galv_options[i].name);
            galv_hint(err, "leave out one of the two");
            return GALV_USAGE;
        }
    }
    return GALV_OK;
}

galv_status galv_setup_load(galv_setup *setup, const galv_cli *cli, const char *path,
                            galv_err *err)
{
    memset(setup, 0, sizeof *setup);
    galv_status status = refuse_degrees(cli, err);
    return status == GALV_OK ? galv_setup_load_job(setup, cli, path, err) : status;
}

/* A plan's file knows no schedules: the name is looked up here, and is the file's
 * fault.
 */
static galv_status check_schedule(const galv_plan *plan, const char *path,
                                  galv_err *err)
{
    galv_schedule schedule;
    const galv_schedule *found = NULL;
    galv_status status = galv_schedule_find(&found, plan->schedule, err);
    if (status != GALV_OK) {
        char message[sizeof err->message];
        snprintf(message, sizeof message, "%s", err->message);
        snprintf(err->message, sizeof err->message, "schedule: %.200s", message);
        galv_hint(err, "`galvatron-sim catalog schedules` lists them");
    } else {
        status = galv_schedule_of_plan(&schedule, plan, err);
    }
    if (status == GALV_USAGE) {
        err->status = status = GALV_INPUT;
        galv_err_set_file(err, path);
    }
    return status;
}

galv_status galv_setup_load_job(galv_setup *setup, const galv_cli *cli,
                                const char *path, galv_err *err)
{
    memset(setup, 0, sizeof *setup);
    galv_status status =
        galv_plan_load(&setup->job, &setup->plan, path, cli->arena, err);
    if (status == GALV_OK) {
        status = check_schedule(setup->plan, path, err);
    }
    if (status != GALV_OK) {
        return status;
    }
    setup->model_from = GALV_ORIGIN_FILE;
    setup->cluster_from = GALV_ORIGIN_FILE;
    setup->workload_from = GALV_ORIGIN_FILE;
    if (galv_cli_given(cli, GALV_OPTION_MODEL)) {
        status = read_model(setup, cli, err);
    }
    if (status == GALV_OK) {
        status = replace_cluster(setup, cli, err);
    }
    if (status == GALV_OK) {
        status = read_workload(&setup->job.workload, cli, err);
    }
    if (status != GALV_OK) {
        return status;
    }
    galv_job_fill_defaults(&setup->job);
    if (galv_cli_given(cli, GALV_OPTION_GLOBAL_BATCH)) {
        setup->plan->global_batch_size = setup->job.workload.global_batch_size;
    }
    status = galv_plan_check(setup->plan, &setup->job, err);
    return status == GALV_OK ? finish_setup(setup, cli, err) : status;
}

void galv_setup_release(galv_setup *setup)
{
    galv_profile_free(setup->profile);
    setup->profile = NULL;
}

galv_status galv_setup_costmodel(galv_costmodel **model, const galv_setup *setup,
                                 const galv_cli *cli, galv_err *err)
{
    galv_costmodel *made = NULL;
    galv_status status = galv_costmodel_new(&made, &setup->job, setup->profile, err);
    if (status != GALV_OK) {
        return status;
    }
    size_t n = 0;
    const char *const *warnings = galv_costmodel_warnings(made, &n);
    for (size_t i = 0; i < n && status == GALV_OK; i++) {
        status = galv_cli_warn(cli, err, "%s", warnings[i]);
    }
    if (status != GALV_OK) {
        galv_costmodel_free(made);
        return status;
    }
    *model = made;
    return GALV_OK;
}

galv_status galv_jobs_read(int *n_jobs, const galv_cli *cli, galv_err *err)
{
    int64_t jobs = galv_parallel_default_jobs();
    galv_status status = galv_cli_count(&jobs, cli, GALV_OPTION_JOBS, 1, 1024, err);
    *n_jobs = (int)jobs;
    return status;
}

/* ---- sweeps ---- */

/* n_nodes 0 = what a file says, else the usual number. */
static galv_status one_cluster(galv_cluster *cluster, const char *gpu, const char *name,
                               int32_t n_nodes, const galv_cli *cli, galv_err *err)
{
    if (n_nodes == 0 && (gpu != NULL || origin_of(name) == GALV_ORIGIN_CATALOG)) {
        n_nodes = DEFAULT_NODES;
    }
    galv_status status = gpu != NULL
                             ? galv_cluster_from_device(cluster, gpu, n_nodes, err)
                             : galv_cluster_load(cluster, name, n_nodes, err);
    if (status != GALV_OK) {
        return status;
    }
    return change_cluster(cluster, cli, err);
}

galv_status galv_clusters_read(galv_cluster **clusters, size_t *n_clusters,
                               const galv_cli *cli, galv_err *err)
{
    bool of_gpus = galv_cli_given(cli, GALV_OPTION_GPU);
    if (of_gpus && galv_cli_given(cli, GALV_OPTION_CLUSTER)) {
        return refuse_both(err);
    }
    int64_t nodes[MAX_SWEEP] = {0};
    size_t n_nodes = 1;
    galv_status status = galv_cli_counts(nodes, &n_nodes, MAX_SWEEP, cli,
                                         GALV_OPTION_NODES, 1, MAX_NODES, err);
    static const char *usual[] = {DEFAULT_CLUSTER};
    const char **names = NULL;
    size_t n_kinds = 0;
    if (status == GALV_OK) {
        status = galv_cli_split(&names, &n_kinds, cli,
                                of_gpus ? GALV_OPTION_GPU : GALV_OPTION_CLUSTER, err);
    }
    if (status != GALV_OK) {
        return status;
    }
    if (n_kinds == 0) {
        names = usual;
        n_kinds = 1;
    }
    galv_cluster *made = GALV_NEW_ARRAY(cli->arena, galv_cluster, n_kinds * n_nodes);
    if (made == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    size_t n = 0;
    for (size_t kind = 0; kind < n_kinds; kind++) {
        for (size_t i = 0; status == GALV_OK && i < n_nodes; i++) {
            status = one_cluster(&made[n++], of_gpus ? names[kind] : NULL, names[kind],
                                 (int32_t)nodes[i], cli, err);
        }
    }
    *clusters = made;
    *n_clusters = n;
    return status;
}

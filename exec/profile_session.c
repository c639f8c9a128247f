/* The order of things. Every rank makes the same list of what is wanted; rank 0 knows
 * what the file has already and tells the others. What belongs together (all layers of
 * one strategy and micro-batch; one collective) is measured together, and the file is
 * replaced after each, so a run that is stopped loses little and the next one goes on.
 */
#include "exec/profile_session.h"

#include "base/file.h"
#include "base/units.h"
#include "exec/parameters.h"
#include "exec/profile_rows.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PROGRESS_AFTER_S 1.0

typedef struct session {
    galv_profile_options options;
    galv_world *world;
    galv_backend *backend;
    galv_meter meter;
    galv_arena *arena;
    galv_cluster cluster;
    galv_job job;
    galv_needs needs;
    galv_sheet sheet; /* rank 0 */
    size_t n_done, n_kept;
    double began_s;
    bool shows;
} session;

/* ---- the machine ---- */

static bool is_first(const session *p)
{
    return galv_world_rank(p->world) == 0;
}

static void path_of(char *path, size_t size, const session *p, const char *name)
{
    snprintf(path, size, "%s/%s", p->options.out, name);
}

static galv_status write_cluster(const session *p, galv_err *err)
{
    char path[1024];
    galv_text text = GALV_TEXT_INIT;
    galv_json_writer writer;
    path_of(path, sizeof path, p, "cluster.json");
    galv_json_writer_init(&writer, &text);
    galv_cluster_to_json(&p->cluster, &writer);
    galv_status status = galv_json_finish(&writer, err);
    if (status == GALV_OK) {
        status = galv_file_write(path, text.bytes, text.length, err);
    }
    galv_text_release(&text);
    return status;
}

/* The cluster of an earlier run with as many ranks, or a new one. Collective. */
static galv_status find_cluster(session *p, galv_err *err)
{
    char path[1024];
    bool found = false;
    path_of(path, sizeof path, p, "cluster.json");
    if (is_first(p) && !p->options.fresh && galv_is_file(path) &&
        galv_cluster_load(&p->cluster, path, 0, err) == GALV_OK) {
        const galv_pool *pool = &p->cluster.pools[0];
        found = galv_cluster_n_devices(&p->cluster) == p->backend->n_ranks &&
                (p->options.device == NULL ||
                 strcmp(p->options.device, pool->device.id) == 0);
    }
    galv_status status = galv_world_agree(p->world, err);
    if (status == GALV_OK) {
        status = galv_world_broadcast(p->world, &found, sizeof found, 0, err);
    }
    if (status == GALV_OK && !found) {
        status = galv_measure_cluster(&p->cluster, p->options.device, &p->meter, err);
        if (status == GALV_OK && is_first(p)) {
            write_cluster(p, err);
        }
        status = galv_world_agree(p->world, err);
    }
    if (status == GALV_OK) {
        status = galv_world_broadcast(p->world, &p->cluster, sizeof p->cluster, 0, err);
    }
    return status;
}

/* ---- what is needed ---- */

static galv_status need_plan(session *p, galv_err *err)
{
    galv_plan *plan = NULL;
    galv_status status =
        galv_plan_load(&p->job, &plan, p->options.plan_path, p->arena, err);
    if (status != GALV_OK) {
        return status;
    }
    const char *device = p->job.cluster.pools[0].device.id;
    if (is_first(p) && !p->options.quiet && strcmp(device, p->needs.device) != 0) {
        fprintf(stderr,
                "galvatron-exec profile: the plan is for %s, what is measured is %s\n",
                device, p->needs.device);
    }
    status = galv_needs_of_plan(&p->needs, &p->job, plan, err);
    p->job.cluster = p->cluster;
    return status;
}

/* All passes of one uniform plan, gradients of inputs and weights apart, too. */
static galv_status need_uniform(session *p, int32_t tp, int32_t micro_batch_size,
                                galv_err *err)
{
    galv_plan *plan = NULL;
    galv_uniform_plan uniform = {.strategy = GALV_STRATEGY_INIT,
                                 .pp = 1,
                                 .vpp = 1,
                                 .micro_batch_size = micro_batch_size,
                                 .overlap = GALV_OVERLAP_INIT};
    uniform.strategy.tp = tp;
    uniform.strategy.dp = p->backend->n_ranks / tp;
    uniform.strategy.sp = tp > 1 ? GALV_SP_MEGATRON : GALV_SP_NONE;
    p->job.workload.global_batch_size = (int64_t)micro_batch_size * uniform.strategy.dp;
    galv_status status =
        galv_plan_make_uniform(&plan, &p->job, &uniform, p->arena, err);
    size_t before = p->needs.n;
    if (status == GALV_OK) {
        status = galv_needs_of_plan(&p->needs, &p->job, plan, err);
    }
    size_t after = p->needs.n;
    static const int phases[] = {GALV_OP_BACKWARD, GALV_OP_BACKWARD_INPUT,
                                 GALV_OP_BACKWARD_WEIGHT};
    for (size_t i = before; i < after && status == GALV_OK; i++) {
        galv_wanted_row need = p->needs.needs[i];
        bool forward =
            need.row.kind == GALV_PROFILE_COMPUTE && need.row.phase == GALV_OP_FORWARD;
        for (size_t k = 0; k < 3 && forward && status == GALV_OK; k++) {
            need.row.phase = phases[k];
            status = galv_needs_add(&p->needs, &need, err);
        }
    }
    return status;
}

static galv_status need_model(session *p, galv_err *err)
{
    galv_profile_options *o = &p->options;
    int32_t n_ranks = p->backend->n_ranks;
    galv_workload workload = GALV_WORKLOAD_INIT;
    p->job.workload = workload;
    p->job.workload.precision = (galv_precision)p->needs.precision;
    p->job.cluster = p->cluster;
    galv_status status = galv_model_load(&p->job.model, o->model, err);
    if (status != GALV_OK) {
        return status;
    }
    p->job.workload.seq_length =
        o->seq_length > 0 ? (int32_t)o->seq_length : p->job.model.seq_length;
    if (o->n_micro_batches == 0) {
        o->micro_batches[o->n_micro_batches++] = 1;
        o->micro_batches[o->n_micro_batches++] = 2;
    }
    bool given = o->n_tps > 0;
    for (int64_t tp = 1; !given && o->n_tps < GALV_MOST_PROFILED && tp <= n_ranks;
         tp *= 2) {
        if (n_ranks % tp == 0) {
            o->tps[o->n_tps++] = tp;
        }
    }
    for (size_t t = 0; t < o->n_tps && status == GALV_OK; t++) {
        if (n_ranks % o->tps[t] != 0) {
            return galv_fail(err, GALV_USAGE, "tp %lld cannot be measured on %d ranks",
                             (long long)o->tps[t], (int)n_ranks);
        }
        for (size_t m = 0; m < o->n_micro_batches && status == GALV_OK; m++) {
            status =
                need_uniform(p, (int32_t)o->tps[t], (int32_t)o->micro_batches[m], err);
        }
    }
    return status == GALV_OK ? galv_needs_of_collectives(&p->needs, n_ranks,
                                                         o->most_message_bytes, err)
                             : status;
}

/* Marks what the file has. Collective. */
static galv_status mark_done(session *p, galv_err *err)
{
    bool *done = GALV_NEW_ARRAY(p->arena, bool, p->needs.n + 1);
    if (done == NULL) {
        galv_fail(err, GALV_NO_MEMORY, "no memory for what to measure");
    }
    galv_status status = galv_world_agree(p->world, err);
    for (size_t i = 0; status == GALV_OK && is_first(p) && i < p->needs.n; i++) {
        done[i] = galv_sheet_find(&p->sheet, &p->needs.needs[i].row) != NULL;
    }
    if (status == GALV_OK) {
        status = galv_world_broadcast(p->world, done, p->needs.n + 1, 0, err);
    }
    for (size_t i = 0; status == GALV_OK && i < p->needs.n; i++) {
        p->needs.needs[i].done = done[i];
        p->n_kept += done[i];
    }
    return status;
}

/* ---- measuring ---- */

static void show_progress(session *p, const galv_wanted_row *need)
{
    char what[96];
    char left[32];
    double spent_s = galv_measure_now_s() - p->began_s;
    if (!p->shows || spent_s < PROGRESS_AFTER_S) {
        return;
    }
    size_t n_new = p->needs.n - p->n_kept;
    double left_s =
        p->n_done > 0 ? spent_s * (double)(n_new - p->n_done) / (double)p->n_done : 0;
    fprintf(stderr, "\r\033[K%zu of %zu rows, %s left: %s", p->n_done, n_new,
            p->n_done > 0 ? galv_print_duration(left, sizeof left, left_s) : "?",
            galv_wanted_row_print(what, sizeof what, need));
    fflush(stderr);
}

/* Rows that were measured since `already[n]` was taken, into the file. */
static void keep(session *p, const bool *already, galv_err *err)
{
    for (size_t i = 0; i < p->needs.n && err->status == GALV_OK; i++) {
        galv_wanted_row *need = &p->needs.needs[i];
        if (already[i] || !need->done) {
            continue;
        }
        p->n_done++;
        snprintf(need->row.source, sizeof need->row.source,
                 "galvatron-exec %s, %.40s, "
                 "%d ranks, %.1f GHz",
                 GALV_VERSION, p->backend->libraries, (int)p->backend->n_ranks,
                 p->cluster.pools[0].device.clock_hz / 1e9);
        bool empty = need->row.kind == GALV_PROFILE_MEMORY &&
                     !(need->row.activation_bytes + need->row.parameter_bytes > 0);
        if (is_first(p) && !empty) {
            galv_sheet_add(&p->sheet, &need->row, err);
        }
    }
    if (is_first(p) && err->status == GALV_OK) {
        galv_sheet_save(&p->sheet, err);
    }
}

static galv_status measure_needs(session *p, galv_err *err)
{
    bool *already = GALV_NEW_ARRAY(p->arena, bool, p->needs.n + 1);
    if (already == NULL) {
        galv_fail(err, GALV_NO_MEMORY, "no memory for what to measure");
    }
    galv_status status = galv_world_agree(p->world, err);
    for (size_t i = 0; status == GALV_OK && i < p->needs.n; i++) {
        galv_wanted_row *need = &p->needs.needs[i];
        if (need->done) {
            continue;
        }
        for (size_t k = 0; k < p->needs.n; k++) {
            already[k] = p->needs.needs[k].done;
        }
        show_progress(p, need);
        status = need->row.kind == GALV_PROFILE_COLLECTIVE
                     ? galv_measure_collective(need, &p->meter, err)
                     : galv_measure_layers(&p->needs, i, &p->job, &p->meter, err);
        if (status == GALV_OK) {
            keep(p, already, err);
            status = galv_world_agree(p->world, err);
        }
    }
    return status;
}

/* ---- what is of the whole machine: overlap and the factors of the cost model ---- */

static galv_status add_factor(session *p, const char *name, double value, galv_err *err)
{
    galv_profile_row row = {.kind = GALV_PROFILE_FACTOR, .precision = -1};
    snprintf(row.device, sizeof row.device, "%s", p->needs.device);
    snprintf(row.op, sizeof row.op, "%s", name);
    snprintf(row.source, sizeof row.source, "galvatron-exec %s, %.60s", GALV_VERSION,
             p->backend->libraries);
    row.value = value;
    return galv_sheet_find(&p->sheet, &row) == NULL
               ? galv_sheet_add(&p->sheet, &row, err)
               : GALV_OK;
}

/* What the cost model takes from PyTorch on GPUs and this executor does otherwise:
 * memory.csv counts tensors as they are asked for and, on a GPU, what is held beside
 * them, as it was after all layers were measured; master weights are kept beside fp32
 * ones, and the step and the loss work in place. */
static void add_memory_factors(session *p, galv_err *err)
{
    static const char *const unused[] = {"collectives_mib", "group_mib",
                                         "allocator_slack", "workspace"};
    add_factor(p, "context_mib",
               (double)p->backend->beside_bytes(p->backend) / (1 << 20), err);
    for (size_t i = 0; i < sizeof unused / sizeof unused[0]; i++) {
        add_factor(p, unused[i], 0, err);
    }
    add_factor(p, "optimizer_bytes", GALV_OPTIMIZER_BYTES, err);
    add_factor(p, "step_transient", 0, err);
    add_factor(p, "loss_transient", 0, err);
}

static galv_status measure_machine(session *p, galv_err *err)
{
    galv_profile_row row = {.kind = GALV_PROFILE_OVERLAP, .precision = -1};
    snprintf(row.device, sizeof row.device, "%s", p->needs.device);
    snprintf(row.source, sizeof row.source, "galvatron-exec %s, %.60s", GALV_VERSION,
             p->backend->libraries);
    bool known = is_first(p) && galv_sheet_find(&p->sheet, &row) != NULL;
    if (is_first(p)) {
        add_memory_factors(p, err);
    }
    galv_status status = galv_world_broadcast(p->world, &known, sizeof known, 0, err);
    if (status != GALV_OK || known) {
        if (is_first(p) && status == GALV_OK && err->status == GALV_OK) {
            galv_sheet_save(&p->sheet, err);
        }
        return status == GALV_OK ? galv_world_agree(p->world, err) : status;
    }
    double wait_s = 0;
    double meeting_s = 0;
    status = galv_measure_overlap(&row, &p->meter, err);
    if (status == GALV_OK) {
        status = galv_measure_latencies(&wait_s, &meeting_s, &p->meter, err);
    }
    if (status == GALV_OK && is_first(p)) {
        galv_sheet_add(&p->sheet, &row, err);
        add_factor(p, "stream_wait_us", 1e6 * wait_s, err);
        add_factor(p, "step_us", 1e6 * meeting_s, err);
        galv_sheet_save(&p->sheet, err);
    }
    return status == GALV_OK ? galv_world_agree(p->world, err) : status;
}

/* ---- all of it ---- */

static galv_status prepare(session *p, const atomic_bool *stop, galv_err *err)
{
    p->arena = galv_arena_new();
    p->began_s = galv_measure_now_s();
    if (p->arena == NULL) {
        galv_fail(err, GALV_NO_MEMORY, "no memory for a profile");
    }
    if (err->status == GALV_OK && is_first(p)) {
        char path[1024];
        path_of(path, sizeof path, p, "profile.csv");
        if (galv_folder_make(p->options.out, err) == GALV_OK) {
            galv_sheet_open(&p->sheet, path, !p->options.fresh, err);
        }
    }
    galv_status status = galv_world_agree(p->world, err);
    if (status != GALV_OK) {
        return status;
    }
    p->shows = is_first(p) && !p->options.quiet && isatty(STDERR_FILENO);
    p->meter = (galv_meter){p->world, p->backend, p->options.patience, stop};
    p->needs.arena = p->arena;
    p->needs.precision = p->backend->element_bytes == 4 ? GALV_FP32 : GALV_BF16;
    return find_cluster(p, err);
}

static galv_status profile_all(session *p, const atomic_bool *stop, galv_err *err)
{
    galv_status status = prepare(p, stop, err);
    if (status == GALV_OK) {
        p->needs.device = p->cluster.pools[0].device.id;
        if (p->options.plan_path != NULL) {
            need_plan(p, err);
        } else {
            need_model(p, err);
        }
        status = galv_world_agree(p->world, err);
    }
    if (status == GALV_OK) {
        status = mark_done(p, err);
    }
    if (status == GALV_OK) {
        status = measure_needs(p, err);
    }
    if (status == GALV_OK) {
        status = measure_machine(p, err);
    }
    if (p->shows && galv_measure_now_s() - p->began_s >= PROGRESS_AFTER_S) {
        fprintf(stderr, "\r\033[K");
    }
    return status;
}

galv_status galv_profile_run(galv_profile_result *result,
                             const galv_profile_options *options, galv_world *world,
                             galv_backend *backend, const atomic_bool *stop,
                             galv_err *err)
{
    session p = {.options = *options, .world = world, .backend = backend};
    galv_status status = profile_all(&p, stop, err);
    *result = (galv_profile_result){p.cluster, p.needs.precision, p.n_done, p.n_kept,
                                    galv_measure_now_s() - p.began_s};
    if (p.sheet.profile != NULL) {
        galv_sheet_close(&p.sheet);
    }
    galv_arena_free(p.arena);
    return status;
}

/* Making a cost model, and the questions that no plan is needed for. */
#include "costmodel/costmodel_internal.h"

#include "base/words.h"

#include <gsl/gsl_errno.h>

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GALV_WORD(name, word) word,
const char *const galv_provenance_names[GALV_N_PROVENANCES] = {
    GALV_PROVENANCE_TABLE(GALV_WORD)};
const char *const galv_memory_use_names[GALV_N_MEMORY_USES] = {
    GALV_MEMORY_TABLE(GALV_WORD)};
#undef GALV_WORD

/* What the driver and firmware keep of the memory as sold. */
#define RESERVED_BYTES (700.0 * 1048576.0)

/* Adds a warning unless the same was given or there are too many. */
static void add_warning(galv_costmodel *model, const char *text)
{
    for (size_t i = 0; i < model->n_warnings; i++) {
        if (strcmp(model->warnings[i], text) == 0) {
            return;
        }
    }
    if (model->n_warnings < GALV_MAX_WARNINGS) {
        const char *copy = galv_arena_strdup(model->arena, text);
        if (copy != NULL) {
            model->warnings[model->n_warnings++] = copy;
        }
    }
}

static void warn(void *context, const char *text)
{
    galv_costmodel *model = context;
    add_warning(model, text);
}

/* Whether a profile has times of layers on this device. */
static bool has_layers(const galv_profile *profile, const char *device)
{
    for (size_t i = 0; profile != NULL && i < profile->n_rows; i++) {
        const galv_profile_row *row = &profile->rows[i];
        if (row->kind == GALV_PROFILE_COMPUTE && strcmp(row->device, device) == 0) {
            return true;
        }
    }
    return false;
}

/* Of devices of which neither kernels nor layers of the job have been measured. */
static void warn_of_unmeasured(galv_costmodel *model, const galv_profile *profile)
{
    for (int32_t i = 0; i < model->job.cluster.n_pools; i++) {
        const char *device = model->job.cluster.pools[i].device.id;
        bool layers = model->measured.n_series > 0 && has_layers(profile, device);
        if (!model->laws[i].measured_device && !layers) {
            char text[160];
            snprintf(text, sizeof text,
                     "no kernel of %s has been measured: priced from its "
                     "specification and from devices like it",
                     device);
            add_warning(model, text);
        }
    }
}

/* Of factors that change nothing, since none has their name. */
static void warn_of_factors(galv_costmodel *model, const galv_profile *profile)
{
    for (size_t i = 0; profile != NULL && i < profile->n_rows; i++) {
        const char *name = profile->rows[i].op;
        if (profile->rows[i].kind == GALV_PROFILE_FACTOR &&
            galv_word_index(galv_factor_names, GALV_N_FACTORS, name) < 0) {
            const char *near =
                galv_word_nearest(galv_factor_names, GALV_N_FACTORS, name);
            char text[160];
            snprintf(text, sizeof text,
                     "no factor '%.48s', which a profile gives%s%s%s", name,
                     near != NULL ? "; did you mean '" : "", near != NULL ? near : "",
                     near != NULL ? "'?" : "");
            add_warning(model, text);
        }
    }
}

static galv_status init_laws(galv_costmodel *model, const galv_profile *profile,
                             galv_err *err)
{
    for (int32_t i = 0; i < model->job.cluster.n_pools; i++) {
        const galv_pool *pool = &model->job.cluster.pools[i];
        galv_status status = galv_device_law_init(&model->laws[i], pool,
                                                  &model->job.workload, profile, err);
        if (status != GALV_OK) {
            return status;
        }
        if (model->job.cluster.torus[0] > 0) {
            /* neighbours on wires of their own: no NIC, no NCCL between them */
            model->laws[i].collective.hop_inter_s = pool->inter_latency_s;
        }
        for (int p = 0; p < GALV_N_PRECISIONS; p++) {
            status =
                galv_gemm_read_points(&model->laws[i].gemm[p], profile, pool->device.id,
                                      (galv_precision)p, model->arena, err);
            if (status != GALV_OK) {
                return status;
            }
            model->laws[i].measured_device =
                model->laws[i].measured_device || model->laws[i].gemm[p].n_points > 0;
        }
    }
    return GALV_OK;
}

/* GSL's handler is the process's, so it is set once, however many threads make models:
 * the default one aborts; every return value is checked here instead. */
static pthread_once_t handler_once = PTHREAD_ONCE_INIT;

static void turn_handler_off(void)
{
    gsl_set_error_handler_off();
}

galv_status galv_costmodel_new(galv_costmodel **model, const galv_job *job,
                               const galv_profile *profile, galv_err *err)
{
    pthread_once(&handler_once, turn_handler_off);
    galv_costmodel *made = calloc(1, sizeof *made);
    galv_arena *arena = galv_arena_new();
    if (made == NULL || arena == NULL) {
        free(made);
        galv_arena_free(arena);
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    made->arena = arena;
    made->job = *job;
    if (made->job.workload.seq_length <= 0) {
        made->job.workload.seq_length = job->model.seq_length;
    }
    galv_model_facts_init(&made->facts, &made->job);
    made->model_flop = galv_count_model_flop(&made->job);
    galv_status status = init_laws(made, profile, err);
    if (status == GALV_OK) {
        status = galv_measured_init(&made->measured, &made->job, profile, arena, warn,
                                    made, err);
    }
    if (status != GALV_OK) {
        galv_costmodel_free(made);
        return status;
    }
    warn_of_unmeasured(made, profile);
    warn_of_factors(made, profile);
    *model = made;
    return GALV_OK;
}

void galv_costmodel_free(galv_costmodel *model)
{
    if (model != NULL) {
        galv_measured_release(&model->measured);
        galv_arena_free(model->arena);
        free(model);
    }
}

const galv_job *galv_costmodel_job(const galv_costmodel *model)
{
    return &model->job;
}

double galv_costmodel_model_flop(const galv_costmodel *model)
{
    return model->model_flop;
}

double galv_costmodel_peak_flop_per_s(const galv_costmodel *model)
{
    const galv_cluster *cluster = &model->job.cluster;
    double sum = 0;
    double n_devices = 0;
    if (cluster->n_pools == 1) {
        return galv_device_peak(&cluster->pools[0].device,
                                model->job.workload.precision);
    }
    for (int32_t i = 0; i < cluster->n_pools; i++) {
        const galv_pool *pool = &cluster->pools[i];
        double n = (double)pool->n_nodes * pool->devices_per_node;
        sum += n * galv_device_peak(&pool->device, model->job.workload.precision);
        n_devices += n;
    }
    return n_devices > 0 ? sum / n_devices : 0;
}

double galv_costmodel_memory_limit(const galv_costmodel *model)
{
    double least = galv_costmodel_pool_limit(model, 0);
    for (int32_t i = 1; i < model->job.cluster.n_pools; i++) {
        least = fmin(least, galv_costmodel_pool_limit(model, i));
    }
    return least;
}

double galv_costmodel_pool_limit(const galv_costmodel *model, int32_t pool)
{
    const galv_workload *workload = &model->job.workload;
    double bytes = (double)model->job.cluster.pools[pool].device.memory_bytes;
    double usable = bytes > RESERVED_BYTES ? bytes - RESERVED_BYTES : bytes;
    if (workload->memory_limit_bytes > 0) {
        /* of unlike devices none is asked what it would do with more */
        return model->job.cluster.n_pools > 1
                   ? fmin(usable, workload->memory_limit_bytes)
                   : workload->memory_limit_bytes;
    }
    return workload->memory_limit_frac > 0 ? workload->memory_limit_frac * usable
                                           : usable;
}

double galv_costmodel_stage_limit(const galv_costmodel *model, const galv_plan *plan,
                                  int32_t stage)
{
    const galv_cluster *cluster = &model->job.cluster;
    int32_t pool = cluster->n_pools > 1 ? galv_placement_pool(plan, cluster, stage) : 0;
    return galv_costmodel_pool_limit(model, pool);
}

void galv_memory_need_add(galv_memory_need *need, double bytes, double limit_bytes)
{
    if (bytes * need->limit_bytes > need->bytes * limit_bytes ||
        !(need->limit_bytes > 0)) {
        *need = (galv_memory_need){bytes, limit_bytes};
    }
}

static void clear(galv_cost *cost)
{
    memset(cost, 0, sizeof *cost);
    cost->compute_slowdown = 1;
    cost->comm_slowdown = 1;
}

void galv_costmodel_gemm(galv_cost *cost, const galv_costmodel *model,
                         galv_precision precision, double m, double n, double k)
{
    clear(cost);
    const galv_gemm_law *law = &model->laws[0].gemm[precision];
    galv_gemm_law alone = *law;
    alone.factor = 1;
    galv_cost_add(cost, galv_gemm_time(&alone, 1, m, n, k, 2),
                  galv_gemm_provenance(law, m, n, k), 2 * m * n * k);
}

void galv_costmodel_attention(galv_cost *cost, const galv_costmodel *model, int pass,
                              double batch, double heads, double query_groups,
                              double seq_q, double seq_kv, double head_dim, bool causal)
{
    (void)query_groups; /* grouping changes bytes, not work */
    clear(cost);
    galv_attention_law alone = model->laws[0].attention;
    alone.factor = 1;
    bool backward = pass == GALV_OP_BACKWARD;
    double flop =
        galv_attention_flop(batch, heads, seq_q, seq_kv, head_dim, head_dim, causal) *
        (backward ? 2.5 : 1);
    galv_cost_add(cost,
                  galv_attention_time(&alone, backward, causal, flop, seq_kv, head_dim),
                  alone.provenance, flop);
}

void galv_costmodel_collective(galv_cost *cost, const galv_costmodel *model, int kind,
                               int32_t n_ranks, int32_t ranks_per_node,
                               int32_t sharers_per_node, double message_bytes)
{
    clear(cost);
    int32_t per_node = ranks_per_node > 0 ? ranks_per_node : 1;
    per_node = per_node < n_ranks ? per_node : n_ranks;
    galv_group group = {.n_ranks = n_ranks,
                        .n_nodes = (n_ranks + per_node - 1) / per_node,
                        .ranks_per_node = per_node,
                        .sharers_per_node =
                            sharers_per_node > 0 ? sharers_per_node : 1};
    double time = 0;
    galv_provenance provenance = GALV_PROVENANCE_MEASURED;
    galv_collective_cost(cost, &model->laws[0].collective, kind, &group, message_bytes);
    if (galv_measured_collective(&time, &provenance, &model->measured, kind, n_ranks,
                                 per_node, message_bytes)) {
        cost->latency_s *= cost->work_s > 0 ? fmin(time / cost->work_s, 1) : 0;
        cost->headroom = 1;
        cost->work_s = 0;
        memset(cost->provenance_s, 0, sizeof cost->provenance_s);
        galv_cost_add(cost, time, provenance, 0);
    }
    galv_cost_set_slowdowns(cost, model->laws[0].factors[GALV_FACTOR_COMPUTE_SLOWDOWN],
                            model->laws[0].factors[GALV_FACTOR_COMM_SLOWDOWN],
                            model->laws[0].measured_overlap);
}

double galv_costmodel_network_rate(const galv_costmodel *model, int32_t pool)
{
    const galv_pool *of = &model->job.cluster.pools[pool];
    int32_t domain = of->scaleup_domain > of->devices_per_node ? of->scaleup_domain
                                                               : of->devices_per_node;
    return model->laws[pool].collective.node_bytes_per_s / (domain > 0 ? domain : 1);
}

const char *const *galv_costmodel_warnings(const galv_costmodel *model, size_t *n)
{
    *n = model->n_warnings;
    return model->warnings;
}

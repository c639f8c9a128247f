/* From a case to a job and a plan: what the row states, and what its software implies.
 *
 * Nothing here depends on a single source, or on the notes of a row beyond the
 * environment that they state (cases.h): what a publication
 * leaves open is decided by software, year and family alone, so that one rule stands
 * for every case and can be wrong for all of them only together. The rules are listed
 * in the header. Left out: capacity factors, gradients reduced in bf16 where a recipe
 * sets that, sharding over a part of the data-parallel ranks, weights shared by an MTP
 * head. */
#include "traces/cases.h"

#include "base/words.h"
#include "plan/chunks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_VIRTUAL_STAGES 65536

static galv_status contradicts(const galv_case *c, galv_err *err, const char *message)
{
    return galv_fail_at(err, c->file, c->line, 0, "case %.80s: %s", c->case_id,
                        message);
}

/* Errors of the functions below name no place: they get the row's, and are the file's
 * fault, whatever they would be elsewhere. */
static galv_status placed(galv_status status, const galv_case *c, galv_err *err)
{
    if (status == GALV_OK || status == GALV_NO_MEMORY || status == GALV_INTERNAL) {
        return status;
    }
    galv_err_set_file(err, c->file);
    if (err->line == 0) {
        err->line = c->line;
    }
    err->status = GALV_INPUT;
    return GALV_INPUT;
}

static bool is_v(const galv_case *c)
{
    return galv_schedule_is_folded(c->schedule);
}

static bool is_looped(const galv_case *c)
{
    return strcmp(c->schedule, "interleaved") == 0 ||
           strcmp(c->schedule, "breadth-first") == 0;
}

static galv_status check_available(const galv_case *c, galv_err *err)
{
    if (c->model.n_groups == 0) {
        galv_fail_at(err, c->file, c->line, 0,
                     "case %.80s has stage times only, no model to make a plan of",
                     c->case_id);
        return err->status = GALV_UNAVAILABLE;
    }
    if (c->vpp > 1 && c->stage_layers[0] != '\0' && !is_looped(c) && !is_v(c)) {
        galv_fail_at(err, c->file, c->line, 0,
                     "case %.80s: stage_layers with several chunks a stage are not "
                     "available for schedule '%.40s'",
                     c->case_id, c->schedule);
        return err->status = GALV_UNAVAILABLE;
    }
    return GALV_OK;
}

static int32_t common_divisor(int32_t a, int32_t b)
{
    while (b != 0) {
        int32_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* A number of devices that is no multiple of the domain (or smaller than it) is made of
 * equal parts of one, so that rank r still lies in domain r / gpus_per_node. */
static galv_status make_cluster(galv_cluster *cluster, const galv_case *c,
                                galv_err *err)
{
    int32_t per_node = common_divisor(c->num_gpus, c->gpus_per_node);
    galv_status status =
        galv_cluster_from_device(cluster, c->gpu, c->num_gpus / per_node, err);
    if (status != GALV_OK) {
        return status;
    }
    galv_pool *pool = &cluster->pools[0];
    pool->devices_per_node = per_node;
    pool->scaleup_domain = c->gpus_per_node;
    if (pool->devices_per_bus > 0) {
        pool->devices_per_bus = common_divisor(pool->devices_per_bus, per_node);
    }
    /* A row speaks of nodes and of what lies between them: where it gives rates, they
     * are those of switches. */
    if (c->intra_bytes_per_s > 0 || c->inter_bytes_per_s > 0) {
        memset(cluster->torus, 0, sizeof cluster->torus);
    } else if (galv_cluster_n_torus_dims(cluster) > 0) {
        pool->scaleup_domain = per_node;
    }
    if (c->intra_bytes_per_s > 0) {
        pool->intra_bytes_per_s = c->intra_bytes_per_s;
    }
    if (c->inter_bytes_per_s > 0) {
        pool->inter_bytes_per_s = c->inter_bytes_per_s;
    }
    return galv_cluster_check(cluster, err);
}

static galv_precision gradient_precision(const galv_case *c, galv_software software,
                                         galv_precision precision)
{
    galv_precision half = precision == GALV_FP16 ? GALV_FP16 : GALV_BF16;
    if (precision == GALV_FP32 || precision == GALV_TF32) {
        return GALV_FP32;
    }
    switch (software) {
    case GALV_SOFTWARE_MEGATRON:
        /* recipes that overlap the reduction of a distributed optimizer are NVIDIA's
         * benchmarks, which reduce in bf16 (grad_reduce_in_fp32: false); they overlap
         * tensor parallelism too, where there is any */
        if (c->software_year >= 2023 && c->zero > 0 && c->overlap_grad_reduce &&
            (c->tp == 1 || c->tp_comm_overlap)) {
            return half;
        }
        return precision == GALV_FP16 ? GALV_FP16 : GALV_FP32;
    case GALV_SOFTWARE_DEEPSPEED:
    case GALV_SOFTWARE_ONEFLOW:
        return half;
    default:
        return GALV_FP32;
    }
}

static galv_workload make_workload(const galv_case *c)
{
    galv_workload w = GALV_WORKLOAD_INIT;
    w.seq_length = c->model.seq_length;
    w.global_batch_size = c->global_batch_size;
    w.precision = (galv_precision)galv_word_index(galv_precision_names,
                                                  GALV_N_PRECISIONS, c->precision);
    w.software = (galv_software)galv_word_index(galv_software_names, GALV_N_SOFTWARES,
                                                c->software);
    w.software_year = c->software_year;
    w.grad_precision = gradient_precision(c, w.software, w.precision);
    w.flash_attention = c->flash_attention;
    w.causal = c->causal_attention;
    w.expert_tp = c->expert_tp;
    w.vocab_unpadded = c->vocab_unpadded;
    w.launch_blocking = c->launch_blocking;
    w.fp8_params = w.software == GALV_SOFTWARE_MEGATRON && c->zero > 0;
    return w;
}

/* Blocks of one stage over its chunks: as even as can be, the larger shares last where
 * the embedding takes a place in the first chunk, first otherwise (so that the head of
 * the last stage meets a smaller one). In a V the chunks come back the other way. */
static void split_stage(int32_t *stage_blocks, int32_t stage, int32_t blocks,
                        const galv_case *c)
{
    int32_t rest = blocks % c->vpp;
    for (int32_t chunk = 0; chunk < c->vpp; chunk++) {
        bool larger = stage == 0 ? chunk >= c->vpp - rest : chunk < rest;
        bool back = chunk == 1 && is_v(c);
        int32_t place = back ? c->pp - 1 - stage : stage;
        stage_blocks[chunk * c->pp + place] = blocks / c->vpp + (larger ? 1 : 0);
    }
}

/* Places that the embedding and the head must take for the blocks of a case to fill
 * its virtual stages, 1 or 2; 0 where blocks fill them alone or cannot. */
static int64_t places_of_ends(const galv_case *c)
{
    int64_t missing = (int64_t)c->pp * c->vpp - galv_model_n_blocks(&c->model);
    return is_looped(c) && (missing == 1 || missing == 2) ? missing : 0;
}

/* "2-3-3-2" to blocks of each virtual stage; NULL in `stage_blocks` when the case does
 * not say and any split will do. */
static galv_status read_stage_layers(int32_t **stage_blocks, const galv_case *c,
                                     galv_arena *arena, galv_err *err)
{
    int64_t of_ends = places_of_ends(c);
    *stage_blocks = NULL;
    if (c->stage_layers[0] == '\0' && of_ends == 0) {
        return GALV_OK;
    }
    int64_t n_virtual = (int64_t)c->pp * c->vpp;
    int32_t *read = GALV_NEW_ARRAY(arena, int32_t, n_virtual);
    if (read == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    if (c->stage_layers[0] == '\0') {
        for (int64_t s = 0; s < n_virtual; s++) {
            read[s] = s == n_virtual - 1 || (s == 0 && of_ends == 2) ? 0 : 1;
        }
        *stage_blocks = read;
        return GALV_OK;
    }
    const char *at = c->stage_layers;
    int64_t total = 0;
    for (int32_t stage = 0; stage < c->pp; stage++) {
        if (*at < '0' || *at > '9') {
            return contradicts(c, err,
                               "stage_layers is not one number per stage, with "
                               "'-' in between");
        }
        char *end;
        long blocks = strtol(at, &end, 10);
        bool is_last = stage == c->pp - 1;
        if (blocks > 1000000 || *end != (is_last ? '\0' : '-')) {
            return contradicts(c, err,
                               "stage_layers is not one number per stage, with "
                               "'-' in between");
        }
        at = end + 1;
        total += blocks;
        split_stage(read, stage, (int32_t)blocks, c);
    }
    if (total != galv_model_n_blocks(&c->model)) {
        return contradicts(c, err, "stage_layers do not add up to num_layers");
    }
    *stage_blocks = read;
    return GALV_OK;
}

static galv_status check_degrees(const galv_case *c, galv_err *err)
{
    if (c->gpu[0] == '\0') {
        return contradicts(c, err, "the gpu is missing");
    }
    if (c->num_gpus == 0) {
        return contradicts(c, err, "num_gpus is missing");
    }
    if (c->global_batch_size == 0) {
        return contradicts(c, err, "global_batch_size is missing");
    }
    if ((int64_t)c->pp * c->vpp > MAX_VIRTUAL_STAGES) {
        return contradicts(c, err, "pp x vpp is beyond any pipeline");
    }
    /* in double: four degrees of 1e8 do not fit 64 bits, and equality is exact below
       2^53 */
    double devices = (double)c->tp * c->cp * c->pp * c->dp;
    if (devices > c->num_gpus || devices < c->num_gpus) {
        return contradicts(c, err, "tp x cp x pp x dp is not num_gpus");
    }
    return GALV_OK;
}

static galv_strategy make_strategy(const galv_case *c)
{
    galv_strategy s = GALV_STRATEGY_INIT;
    s.tp = c->tp;
    s.cp = c->cp;
    s.ep = c->ep;
    s.dp = c->dp;
    s.zero = c->zero;
    if (strcmp(c->sp, "ulysses") == 0) {
        s.sp = GALV_SP_ULYSSES;
    } else if (strcmp(c->sp, "1") == 0 && c->tp > 1) {
        s.sp = GALV_SP_MEGATRON;
    }
    s.recompute = (galv_recompute)galv_word_index(galv_recompute_names,
                                                  GALV_N_RECOMPUTES, c->recompute);
    return s;
}

/* Puts the blocks of a plan of vpp 1 where the case says. A stage may be left with the
 * embedding or the head alone (22 blocks on 8 x 3 virtual stages), which a split that
 * balances blocks would never do. */
static galv_status lay_out(galv_plan *plan, const galv_job *job, const galv_case *c,
                           const int32_t *stage_blocks, galv_arena *arena,
                           galv_err *err)
{
    int32_t n_virtual = c->pp * c->vpp;
    plan->first_layer = GALV_NEW_ARRAY(arena, int32_t, n_virtual + 1);
    if (plan->first_layer == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    plan->vpp = c->vpp;
    snprintf(plan->schedule, sizeof plan->schedule, "%s", c->schedule);
    int32_t layer = 1; /* after the embedding */
    for (int32_t s = 0; s < n_virtual; s++) {
        plan->first_layer[s] = s == 0 ? 0 : layer;
        layer += stage_blocks[s];
    }
    plan->first_layer[n_virtual] = plan->n_layers;
    return galv_plan_check(plan, job, err);
}

/* The name and the chunks under which a schedule is known here; see the header. */
static void settle_schedule(galv_case *c)
{
    bool chunked = c->vpp > 1;
    if (c->pp == 1) {
        c->schedule = "none";
        c->vpp = 1;
    } else if (is_v(c)) {
        c->vpp = chunked ? c->vpp : 2;
    } else if (strcmp(c->schedule, "dualpipe") == 0) {
        c->vpp = c->vpp == 2 ? 1 : c->vpp; /* its two copies, counted as chunks */
    } else if (strcmp(c->schedule, "gpipe") == 0 ||
               strcmp(c->schedule, "breadth-first") == 0) {
        c->schedule = chunked ? "breadth-first" : "gpipe";
    } else if (strcmp(c->schedule, "1f1b") == 0 || c->schedule[0] == '\0' ||
               strcmp(c->schedule, "interleaved") == 0 ||
               strcmp(c->schedule, "other") == 0) {
        c->schedule = chunked ? "interleaved" : "1f1b";
    }
}

/* A rank's samples that are no multiple of the micro-batch: as many micro-batches, or
 * as few more as it takes, of equal size. */
static void settle_micro_batch(galv_case *c)
{
    int64_t samples = c->dp > 0 ? c->global_batch_size / c->dp : 0;
    if (samples == 0 || c->global_batch_size % c->dp != 0 ||
        samples % c->micro_batch_size == 0) {
        return;
    }
    int64_t n = samples / c->micro_batch_size + 1;
    while (samples % n != 0) {
        n++;
    }
    c->micro_batch_size = (int32_t)(samples / n);
}

/* Are pipeline messages asynchronous? See the header. */
static bool sends_beside(const galv_case *c, bool interleaved)
{
    return (interleaved && (c->software_year == 0 || c->software_year >= 2022)) ||
           strncmp(c->schedule, "zb-", 3) == 0 || strncmp(c->schedule, "v-", 2) == 0;
}

/* The authors of zero bubble validate the optimizer step afterwards; their software has
 * that for fp16 alone. */
static bool steps_overlap(const galv_case *c)
{
    return strncmp(c->schedule, "zb-", 3) == 0 && strcmp(c->precision, "fp16") == 0;
}

static galv_status make_plan(galv_plan **plan, const galv_job *job, const galv_case *c,
                             const int32_t *stage_blocks, galv_arena *arena,
                             galv_err *err)
{
    bool interleaved = is_looped(c) || c->vpp > 1;
    bool placed_by_hand = stage_blocks != NULL && interleaved;
    galv_uniform_plan uniform = {
        .strategy = make_strategy(c),
        .pp = c->pp,
        .vpp = placed_by_hand ? 1 : c->vpp,
        .schedule = placed_by_hand ? NULL : c->schedule,
        .micro_batch_size = c->micro_batch_size,
        .overlap = {.grad_reduce = c->overlap_grad_reduce,
                    .param_gather = c->overlap_param_gather,
                    .tp_comm = c->tp_comm_overlap,
                    .p2p = sends_beside(c, interleaved),
                    .step = steps_overlap(c)},
        .stage_blocks = placed_by_hand ? NULL : stage_blocks,
    };
    galv_status status = galv_plan_make_uniform(plan, job, &uniform, arena, err);
    if (status == GALV_OK && placed_by_hand) {
        status = lay_out(*plan, job, c, stage_blocks, arena, err);
    }
    return status;
}

galv_status galv_case_to_plan(galv_job *job, galv_plan **plan, const galv_case *stated,
                              galv_arena *arena, galv_err *err)
{
    galv_case settled = *stated;
    const galv_case *c = &settled;
    settle_schedule(&settled);
    settle_micro_batch(&settled);
    galv_status status = check_available(c, err);
    if (status == GALV_OK) {
        status = check_degrees(c, err);
    }
    if (status != GALV_OK) {
        return status;
    }
    galv_job made = {.model = c->model, .workload = make_workload(c)};
    status = make_cluster(&made.cluster, c, err);
    if (status == GALV_OK) {
        status = galv_model_check(&made.model, err);
    }
    if (status == GALV_OK) {
        status = galv_workload_check(&made.workload, err);
    }
    int32_t *stage_blocks = NULL;
    if (status == GALV_OK) {
        status = read_stage_layers(&stage_blocks, c, arena, err);
    }
    if (status != GALV_OK) {
        return placed(status, c, err);
    }
    galv_plan *read = NULL;
    status = make_plan(&read, &made, c, stage_blocks, arena, err);
    if (status != GALV_OK) {
        return placed(status, c, err);
    }
    *job = made;
    *plan = read;
    return GALV_OK;
}

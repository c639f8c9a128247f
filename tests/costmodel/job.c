#include "tests/costmodel/job.h"

#include <criterion/criterion.h>
#include <string.h>

static void init_pool(galv_pool *pool, int32_t nodes)
{
    memset(pool, 0, sizeof *pool);
    galv_device *d = &pool->device;
    strcpy(d->id, "a100-sxm-80gb");
    strcpy(d->arch, "Ampere GA100");
    d->memory_bytes = 80ull << 30;
    d->memory_bytes_per_s = 2039e9;
    d->peak_flop_per_s[GALV_BF16] = 312e12;
    d->peak_flop_per_s[GALV_FP16] = 312e12;
    d->peak_flop_per_s[GALV_TF32] = 156e12;
    d->n_sm = 108;
    d->tdp_w = 400;
    d->scaleup_bytes_per_s = 300e9;
    d->p2p_bytes_per_s = 300e9;
    pool->n_nodes = nodes;
    pool->devices_per_node = 8;
    pool->scaleup_domain = 8;
    pool->intra_bytes_per_s = 300e9;
    pool->intra_latency_s = 2e-6;
    pool->inter_bytes_per_s = 25e9;
    pool->inter_efficiency = 0.94;
    pool->inter_latency_s = 1.5e-6;
    pool->nics_per_node = 8;
}

void test_gpt_job(galv_job *job, int32_t layers, int32_t hidden, int32_t heads,
                  int32_t seq, int32_t vocab, int32_t nodes, int64_t batch)
{
    memset(job, 0, sizeof *job);
    job->model.seq_length = seq;
    job->model.tied_embeddings = true;
    job->model.n_groups = 3;
    galv_layer_group *g = job->model.groups;
    g[0].kind = GALV_LAYER_EMBEDDING;
    g[0].n_layers = 1;
    g[0].hidden_size = hidden;
    g[0].vocab_size = vocab;
    g[0].max_positions = seq;
    g[0].dropout = 0.1;
    g[1].kind = GALV_LAYER_DECODER;
    g[1].n_layers = layers;
    g[1].hidden_size = hidden;
    g[1].ffn_hidden_size = 4 * hidden;
    g[1].num_attention_heads = heads;
    g[1].num_query_groups = heads;
    g[1].kv_channels = hidden / heads;
    g[1].linear_bias = true;
    g[1].dropout = 0.1;
    g[2].kind = GALV_LAYER_HEAD;
    g[2].n_layers = 1;
    g[2].hidden_size = hidden;
    g[2].vocab_size = vocab;
    job->cluster.n_pools = 1;
    init_pool(&job->cluster.pools[0], nodes);
    galv_workload workload = GALV_WORKLOAD_INIT;
    job->workload = workload;
    job->workload.seq_length = seq;
    job->workload.global_batch_size = batch;
    job->workload.flash_attention = false;
    job->workload.causal = false;
}

void test_uniform_plan(test_plan *p, const galv_job *job, const galv_strategy *strategy,
                       int32_t pp, int32_t micro_batch)
{
    memset(p, 0, sizeof *p);
    int32_t n_layers = galv_model_n_layers(&job->model);
    p->strategy = *strategy;
    p->plan.pp = pp;
    p->plan.vpp = 1;
    strcpy(p->plan.schedule, "1f1b");
    p->plan.micro_batch_size = micro_batch;
    p->plan.global_batch_size = job->workload.global_batch_size;
    p->plan.n_layers = n_layers;
    p->plan.n_strategies = 1;
    p->plan.strategies = &p->strategy;
    p->plan.layer_strategy = p->layer_strategy;
    p->plan.first_layer = p->first_layer;
    strcpy(p->plan.rank_order, "tp-cp-dp-pp");
    int32_t blocks = n_layers - 2;
    for (int32_t stage = 1; stage < pp; stage++) {
        p->first_layer[stage] = 1 + blocks * stage / pp;
    }
    p->first_layer[pp] = n_layers;
}

galv_costmodel *test_model(const galv_job *job, const galv_profile *profile)
{
    galv_costmodel *model = NULL;
    galv_err err = GALV_ERR_INIT;
    cr_assert(galv_costmodel_new(&model, job, profile, &err) == GALV_OK, "%s",
              err.message);
    return model;
}

galv_cost test_op(const galv_costmodel *model, const test_plan *p, int kind, int part,
                  int32_t first_layer, int32_t n_layers)
{
    galv_operation op;
    memset(&op, 0, sizeof op);
    op.kind = (uint8_t)kind;
    op.part = (uint8_t)part;
    op.pass = (uint8_t)kind;
    op.first_layer = first_layer;
    op.n_layers = n_layers;
    op.peer_stage = -1;
    while (first_layer >= p->plan.first_layer[op.stage + 1]) {
        op.stage++;
    }
    galv_cost cost;
    galv_costmodel_operation(&cost, model, &p->plan, &op);
    return cost;
}

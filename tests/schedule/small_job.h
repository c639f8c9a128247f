/* A small GPT or MoE of our own, so that tests of programs need no catalog. */
#ifndef GALV_TESTS_SCHEDULE_SMALL_JOB_H
#define GALV_TESTS_SCHEDULE_SMALL_JOB_H

#include "plan/plan.h"

#include <string.h>

static inline galv_layer_group small_group(galv_layer_kind kind, int32_t n_layers)
{
    galv_layer_group g = {0};
    g.kind = kind;
    g.n_layers = n_layers;
    g.hidden_size = 1024;
    g.ffn_hidden_size = 4096;
    g.num_attention_heads = 16;
    g.num_query_groups = 16;
    g.kv_channels = 64;
    g.vocab_size = 32000;
    if (kind == GALV_LAYER_MOE_DECODER) {
        g.num_experts = 8;
        g.moe_router_topk = 2;
        g.moe_ffn_hidden_size = 4096;
    }
    return g;
}

/* An embedding, n_blocks of a kind, and a head, on nodes of 8. */
static inline galv_job small_job(galv_layer_kind kind, int32_t n_blocks,
                                 int32_t n_devices, int64_t global_batch)
{
    galv_job job;
    memset(&job, 0, sizeof job);
    job.model.n_groups = 3;
    job.model.seq_length = 2048;
    job.model.groups[0] = small_group(GALV_LAYER_EMBEDDING, 1);
    job.model.groups[1] = small_group(kind, n_blocks);
    job.model.groups[2] = small_group(GALV_LAYER_HEAD, 1);
    galv_workload workload = GALV_WORKLOAD_INIT;
    job.workload = workload;
    job.workload.seq_length = 2048;
    job.workload.global_batch_size = global_batch;
    job.cluster.n_pools = 1;
    job.cluster.pools[0].n_nodes = n_devices / 8 > 0 ? n_devices / 8 : 1;
    job.cluster.pools[0].devices_per_node = n_devices < 8 ? n_devices : 8;
    job.cluster.pools[0].scaleup_domain = job.cluster.pools[0].devices_per_node;
    return job;
}

#endif

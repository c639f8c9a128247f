/* A small hash table from what a price depends on to the price.
 *
 * The key holds every field of the operation but the number of its first layer and its
 * chunk, for which the group and strategy of the layers stand, and whether the chunk is
 * the first (what a step costs once is charged there). The first layer stays in the key
 * where the layers are not all alike (a bucket of gradients that begins with the
 * embedding, say), and where they begin a chunk (what a pass costs once depends on the
 * whole chunk). The stage counts only where it can matter: messages between stages, and
 * the pools of a mixed cluster. */
#include "sim/prices.h"

#include "plan/placement.h"

enum { N_BUCKETS = 128 };

typedef struct price {
    struct price *next;
    uint64_t key[3];
    galv_cost cost;
} price;

struct galv_prices {
    const galv_costmodel *model;
    const galv_plan *plan;
    galv_arena *arena;
    int32_t *group_of;  /* [n_layers] index of each layer's group */
    bool *begins_chunk; /* [n_layers + 1] */
    bool mixed;         /* stages may lie in different pools */
    size_t count;
    price *buckets[N_BUCKETS];
};

galv_status galv_prices_new(galv_prices **prices, const galv_costmodel *model,
                            const galv_plan *plan, galv_arena *arena, galv_err *err)
{
    const galv_job *job = galv_costmodel_job(model);
    galv_prices *made = GALV_NEW(arena, galv_prices);
    int32_t *group_of = GALV_NEW_ARRAY(arena, int32_t, plan->n_layers + 1);
    bool *begins_chunk = GALV_NEW_ARRAY(arena, bool, plan->n_layers + 1);
    if (!made || !group_of || !begins_chunk) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    int32_t layer = 0;
    for (int32_t g = 0; g < job->model.n_groups; g++) {
        for (int32_t i = 0; i < job->model.groups[g].n_layers; i++) {
            group_of[layer++] = g;
        }
    }
    for (int32_t s = 0; s <= plan->pp * plan->vpp; s++) {
        begins_chunk[plan->first_layer[s]] = true;
    }
    made->model = model;
    made->plan = plan;
    made->arena = arena;
    made->group_of = group_of;
    made->begins_chunk = begins_chunk;
    made->mixed = job->cluster.n_pools > 1;
    *prices = made;
    return GALV_OK;
}

static bool alike(const galv_prices *p, const galv_operation *op)
{
    for (int32_t i = 1; i < op->n_layers; i++) {
        int32_t layer = op->first_layer + i;
        if (p->group_of[layer] != p->group_of[op->first_layer] ||
            p->plan->layer_strategy[layer] !=
                p->plan->layer_strategy[op->first_layer]) {
            return false;
        }
    }
    return true;
}

static void make_key(uint64_t key[3], const galv_prices *p, const galv_operation *op)
{
    bool message = op->kind == GALV_OP_SEND || op->kind == GALV_OP_RECV;
    bool placed = message || p->mixed || op->part == GALV_PART_TIED;
    int32_t layer = op->first_layer;
    key[0] = (uint64_t)op->kind | (uint64_t)op->stream << 8 | (uint64_t)op->part << 16 |
             (uint64_t)op->pass << 24 | (uint64_t)(uint32_t)op->n_layers << 32 |
             (uint64_t)(op->chunk <= 0) << 63;
    key[1] = !p->begins_chunk[layer] && alike(p, op)
                 ? (uint64_t)(uint32_t)p->group_of[layer] << 32 |
                       (uint32_t)p->plan->layer_strategy[layer]
                 : ~(uint64_t)(uint32_t)layer;
    key[2] =
        placed ? (uint64_t)(uint32_t)op->stage << 32 | (uint32_t)op->peer_stage : 0;
}

const galv_cost *galv_prices_get(galv_prices *p, const galv_operation *operation)
{
    uint64_t key[3];
    make_key(key, p, operation);
    uint64_t hash =
        (key[0] ^ key[1] * 0x9E3779B97F4A7C15u ^ key[2]) * 0xD6E8FEB86659FD93u;
    price **bucket = &p->buckets[(hash >> 40) % N_BUCKETS];
    for (price *at = *bucket; at; at = at->next) {
        if (at->key[0] == key[0] && at->key[1] == key[1] && at->key[2] == key[2]) {
            return &at->cost;
        }
    }
    price *made = GALV_NEW(p->arena, price);
    if (!made) {
        return NULL;
    }
    galv_costmodel_operation(&made->cost, p->model, p->plan, operation);
    for (int i = 0; i < 3; i++) {
        made->key[i] = key[i];
    }
    made->next = *bucket;
    *bucket = made;
    p->count++;
    return &made->cost;
}

size_t galv_prices_count(const galv_prices *prices)
{
    return prices->count;
}

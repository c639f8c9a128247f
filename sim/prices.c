/* A small hash table from what a price depends on to the price.
 *
 * The key holds every field of the operation but the number of its first layer and its
 * chunk, for which the group and strategy of the layers stand, and whether the chunk is
 * the first (what a step costs once is charged there). What begins a chunk depends on
 * the length of the chunk and on the layer in its middle too, since what a pass costs
 * once hides behind the rest of the chunk: chunks that agree in these are of one class.
 * The first layer stays in the key where the layers are not all alike (a bucket of
 * gradients that begins with the embedding, say). The stage counts only where it can
 * matter: messages between stages, what two stages that hold copies of the same layers
 * do together, and the pools of a mixed cluster. */
#include "sim/prices.h"

#include "plan/placement.h"

enum { N_BUCKETS = 128, N_KEYS = 4 };

typedef struct price {
    struct price *next;
    uint64_t key[N_KEYS];
    galv_cost cost;
} price;

struct galv_prices {
    const galv_costmodel *model;
    const galv_plan *plan;
    galv_arena *arena;
    int32_t *group_of;      /* [n_layers] index of each layer's group */
    uint32_t *opened_class; /* [n_layers + 1] class of the chunk that a layer begins,
                               from 1; 0 = it begins none */
    int32_t *alike_to;      /* [pp * vpp] first virtual stage with such layers */
    bool mixed;             /* stages may lie in different pools */
    size_t count;
    price *buckets[N_BUCKETS];
};

/* Gives each layer that begins a chunk the class of its chunk: the first chunk that
 * agrees with it, counted from 1. */
static void classify_chunks(galv_prices *p)
{
    const galv_plan *plan = p->plan;
    int32_t n_virtual = plan->pp * plan->vpp;
    for (int32_t s = 0; s < n_virtual; s++) {
        int32_t first = plan->first_layer[s];
        int32_t n = plan->first_layer[s + 1] - first;
        int32_t class_of = s;
        for (int32_t t = 0; n > 0 && t < s && class_of == s; t++) {
            int32_t other = plan->first_layer[t];
            bool same = plan->first_layer[t + 1] - other == n &&
                        p->group_of[other + n / 2] == p->group_of[first + n / 2] &&
                        plan->layer_strategy[other + n / 2] ==
                            plan->layer_strategy[first + n / 2];
            class_of = same ? t : class_of;
        }
        if (n > 0) {
            p->opened_class[first] = (uint32_t)class_of + 1;
        }
    }
}

/* Two alike layers at the border of a chunk: does the same change hands there? */
static bool alike_neighbours(const galv_prices *p, int32_t a, int32_t b, int32_t side)
{
    const int32_t *strategy = p->plan->layer_strategy;
    bool in_a = a + side >= 0 && a + side < p->plan->n_layers;
    bool in_b = b + side >= 0 && b + side < p->plan->n_layers;
    int32_t from_a = in_a ? strategy[a + side] : strategy[a];
    int32_t from_b = in_b ? strategy[b + side] : strategy[b];
    return from_a == from_b &&
           (from_a == strategy[a] || p->group_of[a + side] == p->group_of[b + side]);
}

/* Do two virtual stages hold alike layers? */
static bool alike_layers(const galv_prices *p, int32_t a, int32_t b)
{
    const int32_t *first = p->plan->first_layer;
    int32_t n = first[a + 1] - first[a];
    if (first[b + 1] - first[b] != n) {
        return false;
    }
    for (int32_t i = 0; i < n; i++) {
        if (p->group_of[first[a] + i] != p->group_of[first[b] + i] ||
            p->plan->layer_strategy[first[a] + i] !=
                p->plan->layer_strategy[first[b] + i]) {
            return false;
        }
    }
    return n == 0 || (alike_neighbours(p, first[a], first[b], -1) &&
                      alike_neighbours(p, first[a] + n - 1, first[b] + n - 1, 1));
}

static void find_alike(galv_prices *p)
{
    /* what both copies do together depends on how far apart they are */
    bool single = p->mixed || galv_plan_n_copies(p->plan) > 1;
    int32_t n_virtual = p->plan->pp * p->plan->vpp;
    for (int32_t v = 0; v < n_virtual; v++) {
        p->alike_to[v] = v;
        for (int32_t u = 0; u < v && !single && p->alike_to[v] == v; u++) {
            if (p->alike_to[u] == u && alike_layers(p, u, v)) {
                p->alike_to[v] = u;
            }
        }
    }
}

int32_t galv_prices_class(const galv_prices *prices, int32_t virtual_stage)
{
    return prices->alike_to[virtual_stage];
}

galv_status galv_prices_new(galv_prices **prices, const galv_costmodel *model,
                            const galv_plan *plan, galv_arena *arena, galv_err *err)
{
    const galv_job *job = galv_costmodel_job(model);
    galv_prices *made = GALV_NEW(arena, galv_prices);
    int32_t *group_of = GALV_NEW_ARRAY(arena, int32_t, plan->n_layers + 1);
    uint32_t *opened_class = GALV_NEW_ARRAY(arena, uint32_t, plan->n_layers + 1);
    int32_t *alike_to = GALV_NEW_ARRAY(arena, int32_t, plan->pp * plan->vpp);
    if (!made || !group_of || !opened_class || !alike_to) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    int32_t layer = 0;
    for (int32_t g = 0; g < job->model.n_groups; g++) {
        for (int32_t i = 0; i < job->model.groups[g].n_layers; i++) {
            group_of[layer++] = g;
        }
    }
    made->model = model;
    made->plan = plan;
    made->arena = arena;
    made->group_of = group_of;
    made->opened_class = opened_class;
    made->mixed = job->cluster.n_pools > 1;
    made->alike_to = alike_to;
    find_alike(made);
    classify_chunks(made);
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

static void make_key(uint64_t key[N_KEYS], const galv_prices *p,
                     const galv_operation *op)
{
    bool message = op->kind == GALV_OP_SEND || op->kind == GALV_OP_RECV;
    bool both_copies = op->stream == GALV_STREAM_DP && galv_plan_n_copies(p->plan) > 1;
    bool placed = message || p->mixed || op->part == GALV_PART_TIED || both_copies;
    int32_t layer = op->first_layer;
    key[0] = (uint64_t)op->kind | (uint64_t)op->stream << 8 | (uint64_t)op->part << 16 |
             (uint64_t)op->pass << 24 | (uint64_t)(uint32_t)op->n_layers << 32 |
             (uint64_t)(op->chunk <= 0) << 63;
    key[1] = alike(p, op) ? (uint64_t)(uint32_t)p->group_of[layer] << 32 |
                                (uint32_t)p->plan->layer_strategy[layer]
                          : ~(uint64_t)(uint32_t)layer;
    key[2] =
        placed ? (uint64_t)(uint32_t)op->stage << 32 | (uint32_t)op->peer_stage : 0;
    key[3] = p->opened_class[layer];
}

const galv_cost *galv_prices_get(galv_prices *p, const galv_operation *operation)
{
    uint64_t key[N_KEYS];
    make_key(key, p, operation);
    uint64_t hash = (key[0] ^ key[1] * 0x9E3779B97F4A7C15u ^ key[2] ^ key[3] << 17) *
                    0xD6E8FEB86659FD93u;
    price **bucket = &p->buckets[(hash >> 40) % N_BUCKETS];
    for (price *at = *bucket; at; at = at->next) {
        if (at->key[0] == key[0] && at->key[1] == key[1] && at->key[2] == key[2] &&
            at->key[3] == key[3]) {
            return &at->cost;
        }
    }
    price *made = GALV_NEW(p->arena, price);
    if (!made) {
        return NULL;
    }
    galv_costmodel_operation(&made->cost, p->model, p->plan, operation);
    for (int i = 0; i < N_KEYS; i++) {
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

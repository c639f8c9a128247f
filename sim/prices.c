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
 * do together, and the pools of a mixed cluster.
 *
 * In a table that outlives the plan the same is written out in full: strategies by
 * their number in the table, and what of the plan itself matters (the samples of a
 * micro-batch, whether there is a pipeline, the order of ranks). Where stages begin in
 * the middle of a node the stage of every layer would matter too; such plans keep out
 * of tables. */
#include "sim/prices_internal.h"

#include "plan/placement.h"

enum { N_KEYS = 4 };

struct galv_known_price {
    struct galv_known_price *next;
    uint64_t key[N_KEYS];
    const galv_cost *cost;
};

/* ---- layers that are alike ---- */

static uint64_t run_at(const galv_prices *p, int32_t layer, int32_t end)
{
    uint64_t strategy = p->strategies[p->plan->layer_strategy[layer]];
    return (uint64_t)(p->group_of[layer] + 1) << 48 | strategy << 32 |
           (uint32_t)(end - layer);
}

static int32_t end_of_row(const galv_prices *p, int32_t layer, int32_t end)
{
    return p->run_end[layer] < end ? p->run_end[layer] : end;
}

bool galv_prices_fill_runs(galv_price_key *key, const galv_prices *p, int32_t first,
                           int32_t end)
{
    int n = 0;
    for (int32_t layer = first; layer < end; layer = end_of_row(p, layer, end)) {
        if (n == GALV_KEY_RUNS) {
            return false;
        }
        key->runs[n++] = run_at(p, layer, end_of_row(p, layer, end));
    }
    return true;
}

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
    p->classified = true;
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
static bool alike_layers(const galv_prices *p, int32_t v, int32_t u)
{
    const int32_t *first = p->plan->first_layer;
    int32_t n = first[v + 1] - first[v];
    if (first[u + 1] - first[u] != n) {
        return false;
    }
    int32_t a = first[v];
    int32_t b = first[u];
    while (a < first[v + 1]) {
        int32_t next = end_of_row(p, a, first[v + 1]);
        if (p->group_of[a] != p->group_of[b] ||
            p->plan->layer_strategy[a] != p->plan->layer_strategy[b] ||
            end_of_row(p, b, first[u + 1]) - b != next - a) {
            return false;
        }
        b += next - a;
        a = next;
    }
    return n == 0 || (alike_neighbours(p, first[v], first[u], -1) &&
                      alike_neighbours(p, a - 1, b - 1, 1));
}

static void find_alike(galv_prices *p, int32_t *firsts)
{
    int32_t n_virtual = p->plan->pp * p->plan->vpp;
    int32_t n_classes = 0; /* firsts[n_classes] of them */
    for (int32_t v = 0; v < n_virtual; v++) {
        int32_t i = p->placed ? n_classes : 0;
        while (i < n_classes && !alike_layers(p, firsts[i], v)) {
            i++;
        }
        if (i == n_classes) {
            firsts[n_classes++] = v;
        }
        p->alike_to[v] = firsts[i];
    }
}

/* Do two stages hold chunks of the same classes, in the same order? */
static bool alike_stages(const galv_prices *p, int32_t a, int32_t b)
{
    bool same = true;
    for (int32_t chunk = 0; same && chunk < p->n_chunks; chunk++) {
        same = p->alike_to[p->virtual_of[a * p->n_chunks + chunk]] ==
               p->alike_to[p->virtual_of[b * p->n_chunks + chunk]];
    }
    return same;
}

static void find_alike_stages(galv_prices *p, int32_t *firsts)
{
    int32_t n_classes = 0;
    for (int32_t stage = 0; stage < p->plan->pp; stage++) {
        int32_t i = p->placed ? n_classes : 0;
        for (int32_t chunk = 0; chunk < p->n_chunks; chunk++) {
            p->virtual_of[stage * p->n_chunks + chunk] =
                galv_plan_virtual_stage(p->plan, stage, chunk);
        }
        while (i < n_classes && !alike_stages(p, firsts[i], stage)) {
            i++;
        }
        if (i == n_classes) {
            firsts[n_classes++] = stage;
        }
        p->stage_like[stage] = firsts[i];
    }
}

int32_t galv_prices_class(const galv_prices *prices, int32_t virtual_stage)
{
    return prices->alike_to[virtual_stage];
}

/* ---- making ---- */

static bool allocate(galv_prices *p, galv_arena *arena)
{
    size_t n_layers = (size_t)p->plan->n_layers + 1;
    size_t n_virtual = (size_t)p->plan->pp * (size_t)p->plan->vpp;
    p->arena = arena;
    p->group_of = GALV_NEW_ARRAY(arena, int32_t, n_layers);
    p->run_end = GALV_NEW_ARRAY(arena, int32_t, n_layers);
    p->opened_class = GALV_NEW_ARRAY(arena, uint32_t, n_layers);
    p->alike_to = GALV_NEW_ARRAY(arena, int32_t, n_virtual);
    p->strategies = GALV_NEW_ARRAY(arena, uint64_t, p->plan->n_strategies);
    p->passes = GALV_NEW_ARRAY(arena, const galv_pass_price *, 4 * n_virtual);
    p->n_chunks = galv_plan_n_chunks(p->plan);
    p->virtual_of = GALV_NEW_ARRAY(arena, int32_t, p->plan->pp * p->n_chunks);
    p->stage_like = GALV_NEW_ARRAY(arena, int32_t, p->plan->pp);
    p->held = GALV_NEW_ARRAY(arena, galv_stage_memory, p->plan->pp);
    p->holds = GALV_NEW_ARRAY(arena, bool, p->plan->pp);
    return p->group_of && p->run_end && p->opened_class && p->alike_to &&
           p->strategies && p->passes && p->virtual_of && p->stage_like && p->held &&
           p->holds;
}

static void fill_layers(galv_prices *p, const galv_model *model)
{
    int32_t layer = 0;
    for (int32_t g = 0; g < model->n_groups; g++) {
        for (int32_t i = 0; i < model->groups[g].n_layers; i++) {
            p->group_of[layer++] = g;
        }
    }
    const int32_t *strategy = p->plan->layer_strategy;
    for (layer = p->plan->n_layers - 1; layer >= 0; layer--) {
        bool goes_on = layer + 1 < p->plan->n_layers &&
                       p->group_of[layer] == p->group_of[layer + 1] &&
                       strategy[layer] == strategy[layer + 1];
        p->run_end[layer] = goes_on ? p->run_end[layer + 1] : layer + 1;
    }
}

/* Do all stages of a plan begin alike on their nodes? */
static bool begins_alike(const galv_plan *plan, const galv_cluster *cluster)
{
    const galv_strategy *first = galv_plan_strategy(plan, 0);
    int64_t per_stage = (int64_t)first->tp * first->cp * first->dp;
    const galv_pool *pool = &cluster->pools[0];
    int64_t domain = pool->scaleup_domain > pool->devices_per_node
                         ? pool->scaleup_domain
                         : pool->devices_per_node;
    return cluster->n_pools > 1 || /* the stage is in every key */
           domain < 1 || per_stage % domain == 0 || domain % per_stage == 0;
}

/* What of the plan is in every key; false when nothing of it may go to a table. */
static bool enter_table(galv_prices *p, const galv_cluster *cluster)
{
    const galv_plan *plan = p->plan;
    int64_t samples = (int64_t)plan->micro_batch_size * galv_plan_strategy(plan, 0)->dp;
    bool inside = galv_plan_rank_order(plan) == GALV_RANK_ORDER_PP_INSIDE;
    uint64_t depth = inside ? (uint64_t)plan->pp : plan->pp > 1 ? 2 : 1;
    const galv_overlap *o = &plan->overlap;
    uint64_t flags = (uint64_t)inside | (uint64_t)(galv_plan_n_copies(plan) > 1) << 1 |
                     (uint64_t)o->grad_reduce << 2 | (uint64_t)o->param_gather << 3 |
                     (uint64_t)o->tp_comm << 4 | (uint64_t)o->p2p << 5 |
                     (uint64_t)o->step << 6;
    p->plan_word = (uint64_t)samples | depth << 32 | flags << 56;
    for (int32_t i = 0; i < plan->n_strategies; i++) {
        int32_t number = galv_price_table_strategy(p->table, &plan->strategies[i]);
        if (number < 0) {
            return false;
        }
        p->strategies[i] = (uint64_t)(uint32_t)number;
    }
    return samples <= UINT32_MAX && begins_alike(plan, cluster);
}

galv_status galv_prices_new(galv_prices **prices, const galv_costmodel *model,
                            const galv_plan *plan, galv_price_table *table,
                            galv_arena *arena, galv_err *err)
{
    const galv_job *job = galv_costmodel_job(model);
    galv_prices *made = GALV_NEW(arena, galv_prices);
    int32_t *firsts = GALV_NEW_ARRAY(arena, int32_t, plan->pp * plan->vpp);
    if (made != NULL) {
        made->model = model;
        made->plan = plan;
        made->table = table;
        made->mixed = job->cluster.n_pools > 1;
        /* what both copies do together depends on how far apart they are */
        made->placed = made->mixed || galv_plan_n_copies(plan) > 1;
    }
    if (made == NULL || firsts == NULL || !allocate(made, arena)) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    if (table != NULL) {
        galv_price_table_begin(table, model);
        made->table = enter_table(made, &job->cluster) ? table : NULL;
    }
    fill_layers(made, &job->model);
    find_alike(made, firsts);
    find_alike_stages(made, firsts);
    *prices = made;
    return GALV_OK;
}

/* ---- one operation ---- */

/* Does what it costs depend on the chunk that it may open? See opened_chunk in
 * costmodel/operation.c. */
static bool may_open(const galv_operation *op)
{
    return (op->kind == GALV_OP_FORWARD || op->kind == GALV_OP_BACKWARD ||
            op->kind == GALV_OP_BACKWARD_INPUT) &&
           (op->part == GALV_PART_WHOLE || op->part == GALV_PART_ATTENTION);
}

static bool is_placed(const galv_prices *p, const galv_operation *op)
{
    bool message = op->kind == GALV_OP_SEND || op->kind == GALV_OP_RECV;
    bool both_copies = op->stream == GALV_STREAM_DP && galv_plan_n_copies(p->plan) > 1;
    return message || p->mixed || op->part == GALV_PART_TIED || both_copies;
}

static void make_key(uint64_t key[N_KEYS], galv_prices *p, const galv_operation *op)
{
    int32_t layer = op->first_layer;
    bool alike = p->run_end[layer] >= layer + op->n_layers;
    if (may_open(op) && !p->classified) {
        classify_chunks(p);
    }
    key[0] = (uint64_t)op->kind | (uint64_t)op->stream << 8 | (uint64_t)op->part << 16 |
             (uint64_t)op->pass << 24 | (uint64_t)(uint32_t)op->n_layers << 32 |
             (uint64_t)(op->chunk <= 0) << 63;
    key[1] = alike ? (uint64_t)(uint32_t)p->group_of[layer] << 32 |
                         (uint32_t)p->plan->layer_strategy[layer]
                   : ~(uint64_t)(uint32_t)layer;
    key[2] = is_placed(p, op)
                 ? (uint64_t)(uint32_t)op->stage << 32 | (uint32_t)op->peer_stage
                 : 0;
    key[3] = may_open(op) ? p->opened_class[layer] : 0;
}

/* The chunk that an operation opens, as the cost model looks for it; 0 = none. */
static uint64_t chunk_word(const galv_prices *p, const galv_operation *op)
{
    const int32_t *first_layer = p->plan->first_layer;
    int32_t low = 0;
    int32_t high = p->plan->pp * p->plan->vpp;
    while (low < high) {
        int32_t middle = (low + high) / 2;
        if (first_layer[middle] < op->first_layer) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (!may_open(op) || first_layer[low] != op->first_layer) {
        return 0;
    }
    int32_t n = first_layer[low + 1] - first_layer[low];
    int32_t layer = first_layer[low] + n / 2;
    return run_at(p, layer, layer) | (uint32_t)n;
}

/* The key in the table; false when it has no room for the operation. */
static bool fill_key(galv_price_key *key, const galv_prices *p,
                     const galv_operation *op, uint64_t what)
{
    *key = (galv_price_key){.what = what, .plan = p->plan_word};
    if (is_placed(p, op)) {
        key->where = (uint64_t)(uint32_t)(op->stage + 1) |
                     (uint64_t)(uint32_t)(op->peer_stage + 1) << 20 |
                     (uint64_t)(uint32_t)p->plan->pp << 40;
    }
    key->around = chunk_word(p, op);
    if (op->part == GALV_PART_TIED) {
        key->around = run_at(p, 0, 1);
    }
    return galv_prices_fill_runs(key, p, op->first_layer,
                                 op->first_layer + op->n_layers);
}

static const galv_cost *ask(galv_prices *p, const galv_operation *op, uint64_t what)
{
    galv_price_key key;
    if (p->table == NULL || !fill_key(&key, p, op, what)) {
        galv_cost *own = GALV_NEW(p->arena, galv_cost);
        if (own != NULL) {
            galv_costmodel_operation_by(
                own, p->model, p->plan, op,
                p->table != NULL ? galv_price_table_times(p->table) : NULL);
        }
        return own;
    }
    const galv_cost *known = galv_price_table_find(p->table, &key);
    if (known != NULL) {
        return known;
    }
    galv_cost made;
    galv_costmodel_operation_by(&made, p->model, p->plan, op,
                                galv_price_table_times(p->table));
    return galv_price_table_add(p->table, &key, &made);
}

const galv_cost *galv_prices_get(galv_prices *p, const galv_operation *operation)
{
    uint64_t key[N_KEYS];
    make_key(key, p, operation);
    uint64_t hash = (key[0] ^ key[1] * 0x9E3779B97F4A7C15u ^ key[2] ^ key[3] << 17) *
                    0xD6E8FEB86659FD93u;
    galv_known_price **bucket = &p->buckets[(hash >> 40) % GALV_N_PRICE_BUCKETS];
    for (galv_known_price *at = *bucket; at; at = at->next) {
        if (at->key[0] == key[0] && at->key[1] == key[1] && at->key[2] == key[2] &&
            at->key[3] == key[3]) {
            return at->cost;
        }
    }
    galv_known_price *made = GALV_NEW(p->arena, galv_known_price);
    const galv_cost *cost = made != NULL ? ask(p, operation, key[0]) : NULL;
    if (cost == NULL) {
        return NULL;
    }
    for (int i = 0; i < N_KEYS; i++) {
        made->key[i] = key[i];
    }
    made->cost = cost;
    made->next = *bucket;
    *bucket = made;
    p->count++;
    return cost;
}

size_t galv_prices_count(const galv_prices *prices)
{
    return prices->count;
}

/* ---- one stage ---- */

int32_t galv_prices_virtual_stage(const galv_prices *prices, int32_t stage,
                                  int32_t chunk)
{
    return prices->virtual_of[stage * prices->n_chunks + chunk];
}

int32_t galv_prices_stage_class(const galv_prices *prices, int32_t stage)
{
    return prices->stage_like[stage];
}

const galv_stage_memory *galv_prices_held(galv_prices *p, int32_t stage)
{
    int32_t like = p->stage_like[stage];
    if (!p->holds[like]) {
        galv_costmodel_stage_memory(&p->held[like], p->model, p->plan, like);
        p->holds[like] = true;
    }
    return &p->held[like];
}

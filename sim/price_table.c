/* Two hash tables with open addressing, of places in an arena. Keys are compared whole:
 * a hash that agrees by chance costs a comparison, never a wrong price. */
#include "sim/prices_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define MOST_BYTES ((size_t)8 << 20)
enum { FIRST_SLOTS = 1024, MOST_STRATEGIES = 0xfffe };

typedef struct entry {
    uint64_t hash;
    galv_price_key key;
    void *value; /* behind it */
} entry;

typedef struct map {
    entry **slots; /* [n_slots], a power of two; NULL = empty */
    size_t n_slots, n_entries;
    size_t value_bytes;
} map;

struct galv_price_table {
    const galv_costmodel *model;
    galv_arena *arena;
    map costs, passes;
    galv_strategy *strategies; /* [n_strategies] */
    int32_t n_strategies, capacity;
    int32_t *by_hash; /* [4 * capacity] number + 1; 0 = none */
    galv_layer_times *times;
};

static uint64_t mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * 0x9E3779B97F4A7C15u;
    return hash ^ hash >> 29;
}

static uint64_t hash_key(const galv_price_key *key)
{
    uint64_t hash = mix(mix(0, key->what), key->plan);
    hash = mix(mix(hash, key->where), key->around);
    for (int i = 0; i < GALV_KEY_RUNS && key->runs[i] != 0; i++) {
        hash = mix(hash, key->runs[i]);
    }
    return hash ^ hash >> 32;
}

static bool same_key(const galv_price_key *a, const galv_price_key *b)
{
    bool same = a->what == b->what && a->plan == b->plan && a->where == b->where &&
                a->around == b->around;
    for (int i = 0; same && i < GALV_KEY_RUNS && (a->runs[i] | b->runs[i]) != 0; i++) {
        same = a->runs[i] == b->runs[i];
    }
    return same;
}

static void put(map *m, entry *e)
{
    size_t at = (size_t)e->hash & (m->n_slots - 1);
    while (m->slots[at] != NULL) {
        at = (at + 1) & (m->n_slots - 1);
    }
    m->slots[at] = e;
}

/* Room for one more entry. */
static bool grow(map *m, galv_arena *arena)
{
    if (2 * (m->n_entries + 1) <= m->n_slots) {
        return true;
    }
    map grown = *m;
    grown.n_slots = m->n_slots > 0 ? 2 * m->n_slots : FIRST_SLOTS;
    grown.slots = GALV_NEW_ARRAY(arena, entry *, grown.n_slots);
    if (grown.slots == NULL) {
        return false;
    }
    for (size_t i = 0; i < m->n_slots; i++) {
        if (m->slots[i] != NULL) {
            put(&grown, m->slots[i]);
        }
    }
    *m = grown;
    return true;
}

static const void *find(const map *m, const galv_price_key *key)
{
    uint64_t hash = hash_key(key);
    for (size_t at = (size_t)hash & (m->n_slots - 1);
         m->n_slots > 0 && m->slots[at] != NULL; at = (at + 1) & (m->n_slots - 1)) {
        if (m->slots[at]->hash == hash && same_key(&m->slots[at]->key, key)) {
            return m->slots[at]->value;
        }
    }
    return NULL;
}

static const void *add(galv_arena *arena, map *m, const galv_price_key *key,
                       const void *value)
{
    entry *made = GALV_NEW(arena, entry);
    void *copy = galv_arena_calloc(arena, 1, m->value_bytes);
    if (made == NULL || copy == NULL || !grow(m, arena)) {
        return NULL;
    }
    made->hash = hash_key(key);
    made->key = *key;
    made->value = memcpy(copy, value, m->value_bytes);
    put(m, made);
    m->n_entries++;
    return copy;
}

const galv_cost *galv_price_table_find(const galv_price_table *table,
                                       const galv_price_key *key)
{
    return find(&table->costs, key);
}

const galv_cost *galv_price_table_add(galv_price_table *table,
                                      const galv_price_key *key, const galv_cost *cost)
{
    return add(table->arena, &table->costs, key, cost);
}

const galv_pass_price *galv_price_table_find_pass(const galv_price_table *table,
                                                  const galv_price_key *key)
{
    return find(&table->passes, key);
}

const galv_pass_price *galv_price_table_add_pass(galv_price_table *table,
                                                 const galv_price_key *key,
                                                 const galv_pass_price *price)
{
    return add(table->arena, &table->passes, key, price);
}

/* ---- strategies ---- */

static uint64_t hash_strategy(const galv_strategy *s)
{
    uint64_t degrees = (uint64_t)(uint32_t)s->tp << 32 | (uint32_t)s->dp;
    uint64_t others = (uint64_t)(uint32_t)s->cp << 32 | (uint32_t)s->ep;
    return mix(mix(mix(0, degrees), others), (uint64_t)s->sp << 16 |
                                                 (uint64_t)s->recompute << 8 |
                                                 (uint64_t)(uint32_t)s->zero);
}

static int32_t *strategy_slot(galv_price_table *t, const galv_strategy *strategy)
{
    size_t n_slots = 4 * (size_t)t->capacity;
    size_t at = (size_t)(hash_strategy(strategy) >> 20) & (n_slots - 1);
    while (t->by_hash[at] != 0 &&
           !galv_strategy_equal(&t->strategies[t->by_hash[at] - 1], strategy)) {
        at = (at + 1) & (n_slots - 1);
    }
    return &t->by_hash[at];
}

static bool grow_strategies(galv_price_table *t)
{
    if (t->n_strategies < t->capacity) {
        return true;
    }
    galv_price_table grown = *t;
    grown.capacity = t->capacity > 0 ? 2 * t->capacity : 64;
    grown.strategies = GALV_NEW_ARRAY(t->arena, galv_strategy, grown.capacity);
    grown.by_hash = GALV_NEW_ARRAY(t->arena, int32_t, 4 * grown.capacity);
    if (grown.strategies == NULL || grown.by_hash == NULL) {
        return false;
    }
    for (int32_t i = 0; i < t->n_strategies; i++) {
        grown.strategies[i] = t->strategies[i];
        *strategy_slot(&grown, &t->strategies[i]) = i + 1;
    }
    *t = grown;
    return true;
}

int32_t galv_price_table_strategy(galv_price_table *table,
                                  const galv_strategy *strategy)
{
    if (table->n_strategies > MOST_STRATEGIES || !grow_strategies(table)) {
        return -1;
    }
    int32_t *slot = strategy_slot(table, strategy);
    if (*slot == 0) {
        table->strategies[table->n_strategies++] = *strategy;
        *slot = table->n_strategies;
    }
    return *slot - 1;
}

/* ---- the whole ---- */

static void clear(galv_price_table *table)
{
    galv_price_table empty = {
        .model = table->model, .arena = table->arena, .times = table->times};
    galv_arena_reset(table->arena);
    *table = empty;
    table->costs.value_bytes = sizeof(galv_cost);
    table->passes.value_bytes = sizeof(galv_pass_price);
}

void galv_price_table_begin(galv_price_table *table, const galv_costmodel *model)
{
    assert(table->model == model);
    (void)model;
    if (galv_arena_used_bytes(table->arena) > MOST_BYTES ||
        table->n_strategies > MOST_STRATEGIES / 2) {
        clear(table);
    }
}

galv_price_table *galv_price_table_new(const galv_costmodel *model)
{
    galv_price_table *table = calloc(1, sizeof *table);
    galv_arena *arena = galv_arena_new();
    galv_layer_times *times = galv_layer_times_new();
    if (table == NULL || arena == NULL || times == NULL) {
        free(table);
        galv_arena_free(arena);
        galv_layer_times_free(times);
        return NULL;
    }
    table->model = model;
    table->arena = arena;
    table->times = times;
    clear(table);
    return table;
}

void galv_price_table_free(galv_price_table *table)
{
    if (table != NULL) {
        galv_layer_times_free(table->times);
        galv_arena_free(table->arena);
        free(table);
    }
}

galv_layer_times *galv_price_table_times(const galv_price_table *table)
{
    return table->times;
}

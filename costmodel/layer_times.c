#include "costmodel/layer_times_internal.h"

#include <stdlib.h>
#include <string.h>

enum { N_PLACES = 1024 }; /* a power of two; some 150 kB */

typedef struct key {
    const galv_device_law *law;
    const galv_layer_group *group;
    double samples, count;
    int32_t tp, cp, ep;
    uint8_t sp, recompute, part, pass;
    bool sums_apart;
} key;

typedef struct place {
    bool taken;
    key key;
    double work_s, flop, provenance_s[GALV_N_PROVENANCES];
} place;

struct galv_layer_times {
    place places[N_PLACES];
};

galv_layer_times *galv_layer_times_new(void)
{
    return calloc(1, sizeof(galv_layer_times));
}

void galv_layer_times_free(galv_layer_times *times)
{
    free(times);
}

static bool same(const key *a, const key *b)
{
    return a->law == b->law && a->group == b->group && a->samples == b->samples &&
           a->count == b->count && a->tp == b->tp && a->cp == b->cp && a->ep == b->ep &&
           a->sp == b->sp && a->recompute == b->recompute && a->part == b->part &&
           a->pass == b->pass && a->sums_apart == b->sums_apart;
}

static place *find(galv_layer_times *times, const key *k)
{
    uint64_t bits[2];
    memcpy(&bits[0], &k->samples, sizeof bits[0]);
    memcpy(&bits[1], &k->count, sizeof bits[1]);
    uint64_t hash = (uint64_t)(uintptr_t)k->group ^ (uint64_t)(uintptr_t)k->law << 7;
    hash = (hash ^ bits[0]) * 0x9E3779B97F4A7C15u;
    hash = (hash ^ bits[1] ^ (uint64_t)k->tp ^ (uint64_t)k->cp << 16 ^
            (uint64_t)k->ep << 32) *
           0xD6E8FEB86659FD93u;
    hash ^= hash >> 32;
    hash = (hash ^ k->sp ^ (uint64_t)k->recompute << 4 ^ (uint64_t)k->part << 8 ^
            (uint64_t)k->pass << 16 ^ (uint64_t)k->sums_apart << 24) *
           0x9E3779B97F4A7C15u;
    return &times->places[hash >> 40 & (N_PLACES - 1)];
}

void galv_layer_times_add(galv_cost *cost, galv_layer_times *times,
                          const galv_device_law *law, const galv_layer_share *share,
                          const galv_strategy *strategy, int part, int pass,
                          double count)
{
    key k = {law,           share->group,          share->samples,
             count,         strategy->tp,          strategy->cp,
             strategy->ep,  (uint8_t)strategy->sp, (uint8_t)strategy->recompute,
             (uint8_t)part, (uint8_t)pass,         share->sums_apart};
    /* sums that begin with something else round otherwise */
    bool fresh = cost->work_s <= 0 && cost->flop <= 0;
    place *at = times != NULL && fresh ? find(times, &k) : NULL;
    if (at == NULL || !at->taken || !same(&at->key, &k)) {
        galv_layer_add(cost, law, share, strategy->recompute, part, pass, count);
        if (at != NULL) {
            *at = (place){
                .taken = true, .key = k, .work_s = cost->work_s, .flop = cost->flop};
            memcpy(at->provenance_s, cost->provenance_s, sizeof at->provenance_s);
        }
        return;
    }
    cost->work_s = at->work_s;
    cost->flop = at->flop;
    memcpy(cost->provenance_s, at->provenance_s, sizeof at->provenance_s);
}

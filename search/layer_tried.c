/* Layerings that were judged. Guesses and exchanges meet the same ones again and again;
 * each is judged once, unless what it was stopped at was less than what is asked now.
 */
#include "search/layerwise_internal.h"

#include <string.h>

struct galv_layer_tried {
    galv_layer_tried *next;
    uint64_t hash;
    double least_s;
    const galv_layerwise_shape *entry;
    galv_layering layering;
};

static uint64_t mix(uint64_t hash, int32_t value)
{
    hash = (hash ^ (uint32_t)value) * 0x9E3779B97F4A7C15u;
    return hash ^ hash >> 29;
}

static int32_t count_borders(const galv_layer_table *table)
{
    return table->shape.pp * table->shape.vpp + 1;
}

static uint64_t hash_of(const galv_layering *layering, const galv_layer_table *table)
{
    uint64_t hash = 0;
    for (int32_t i = 0; i < table->n_layers; i++) {
        hash = mix(hash, layering->choice[i]);
    }
    for (int32_t i = 0; i < count_borders(table); i++) {
        hash = mix(hash, layering->first_layer[i]);
    }
    return hash;
}

static galv_layer_tried *find(const galv_layerwise *l, const galv_layering *layering,
                              uint64_t hash)
{
    const galv_layer_table *table = l->entry->table;
    size_t n_layers = (size_t)table->n_layers;
    size_t n_borders = (size_t)count_borders(table);
    galv_layer_tried *at = l->tried;
    while (at != NULL && (at->hash != hash || at->entry != l->entry ||
                          memcmp(at->layering.choice, layering->choice,
                                 n_layers * sizeof *layering->choice) != 0 ||
                          memcmp(at->layering.first_layer, layering->first_layer,
                                 n_borders * sizeof *layering->first_layer) != 0)) {
        at = at->next;
    }
    return at;
}

double galv_layerwise_least_s(const galv_layerwise *l, const galv_layering *layering)
{
    const galv_layer_tried *known =
        find(l, layering, hash_of(layering, l->entry->table));
    return known != NULL ? known->least_s : 0;
}

galv_status galv_layerwise_remember(galv_layerwise *l, const galv_layering *layering,
                                    double least_s)
{
    const galv_layer_table *table = l->entry->table;
    size_t n_layers = (size_t)table->n_layers;
    size_t n_borders = (size_t)count_borders(table);
    uint64_t hash = hash_of(layering, table);
    galv_layer_tried *known = find(l, layering, hash);
    if (known == NULL) {
        known = GALV_NEW(l->arena, galv_layer_tried);
        int16_t *choice = GALV_NEW_ARRAY(l->arena, int16_t, n_layers);
        int32_t *first_layer = GALV_NEW_ARRAY(l->arena, int32_t, n_borders);
        if (!known || !choice || !first_layer) {
            return galv_fail(l->err, GALV_NO_MEMORY, "out of memory");
        }
        memcpy(choice, layering->choice, n_layers * sizeof *choice);
        memcpy(first_layer, layering->first_layer, n_borders * sizeof *first_layer);
        *known = (galv_layer_tried){l->tried, hash, 0, l->entry, {choice, first_layer}};
        l->tried = known;
    }
    known->least_s = least_s;
    return GALV_OK;
}

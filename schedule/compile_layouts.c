/* A table for single passes and a short list for pairs: a stage has at most four kinds
 * of pairs for every two of its chunks, and nearly always two in all. */
#include "schedule/compile_layouts_internal.h"

#include "plan/chunks.h"

#define N_PASSES 4

galv_status galv_stage_layouts_init(galv_stage_layouts *layouts, const galv_job *job,
                                    const galv_plan *plan, const galv_chunk *chunks,
                                    galv_arena *arena, galv_err *err)
{
    galv_stage_layouts made = {job, plan, chunks, NULL, NULL, arena};
    made.passes = GALV_NEW_ARRAY(arena, galv_pass_layout *,
                                 4 * N_PASSES * (size_t)galv_plan_n_chunks(plan));
    if (made.passes == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for the passes of a stage");
    }
    *layouts = made;
    return GALV_OK;
}

/* Where the ops are noted as they are stamped. */
static galv_status add_room(galv_pass_layout *layout, galv_arena *arena, galv_err *err)
{
    layout->stamped = GALV_NEW_ARRAY(arena, uint32_t, layout->n_ops);
    return layout->stamped != NULL
               ? GALV_OK
               : galv_fail(err, GALV_NO_MEMORY,
                           "a pass of %d operations does not fit in memory",
                           (int)layout->n_ops);
}

static galv_status get_pass(galv_pass_layout **layout, galv_stage_layouts *l,
                            const galv_pass_key *key, bool beside, galv_err *err)
{
    galv_pass_layout **place = &l->passes[(key->chunk * N_PASSES + key->pass) * 4 +
                                          (key->hooked ? 2 : 0) + (beside ? 1 : 0)];
    galv_status status = GALV_OK;
    if (*place == NULL) {
        const galv_pass_hooks hooks = {key->hooked && l->plan->overlap.param_gather,
                                       key->hooked && l->plan->overlap.grad_reduce,
                                       beside, false};
        galv_pass_layout *made = GALV_NEW(l->arena, galv_pass_layout);
        status = made == NULL
                     ? galv_fail(err, GALV_NO_MEMORY, "no memory for a pass")
                     : galv_compile_pass(made, l->job, l->plan, &l->chunks[key->chunk],
                                         key->pass, &hooks, l->arena, err);
        if (status == GALV_OK) {
            status = add_room(made, l->arena, err);
        }
        *place = status == GALV_OK ? made : NULL;
    }
    *layout = *place;
    return status;
}

static bool same_key(const galv_pass_key *a, const galv_pass_key *b)
{
    return a->chunk == b->chunk && a->pass == b->pass && a->hooked == b->hooked;
}

galv_status galv_stage_layouts_get(galv_pass_layout **layout, galv_stage_layouts *l,
                                   const galv_pass_key *keys, int n_keys, galv_err *err)
{
    galv_pass_layout *passes[2] = {NULL, NULL};
    galv_status status = GALV_OK;
    if (n_keys == 1) {
        return get_pass(layout, l, keys, false, err);
    }
    for (galv_pair_layout *at = l->pairs; at != NULL; at = at->next) {
        if (same_key(&at->keys[0], &keys[0]) && same_key(&at->keys[1], &keys[1])) {
            *layout = &at->layout;
            return GALV_OK;
        }
    }
    for (int i = 0; i < 2 && status == GALV_OK; i++) {
        status = get_pass(&passes[i], l, &keys[i], true, err);
    }
    galv_pair_layout *made = GALV_NEW(l->arena, galv_pair_layout);
    if (status == GALV_OK && made == NULL) {
        status = galv_fail(err, GALV_NO_MEMORY, "no memory for a pair of passes");
    }
    if (status == GALV_OK) {
        made->keys[0] = keys[0];
        made->keys[1] = keys[1];
        status = galv_compile_pair(&made->layout, passes[0], passes[1], l->arena, err);
    }
    if (status == GALV_OK) {
        status = add_room(&made->layout, l->arena, err);
    }
    if (status == GALV_OK) {
        made->next = l->pairs;
        l->pairs = made;
        *layout = &made->layout;
    }
    return status;
}

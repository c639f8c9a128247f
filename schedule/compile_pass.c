/* Parts of a program without the program: one pass or a pair by itself, and how many
 * operations there would be. Both lay passes out with the very code that compile stamps
 * from. */
#include "schedule/compile_layouts_internal.h"

#include "plan/chunks.h"

/* One pass by itself is laid out for the middle of the iteration. */
static galv_status lay_out(galv_pass_layout **layout, const galv_job *job,
                           const galv_plan *plan, int32_t stage,
                           const galv_pass_key *keys, int n, galv_arena *arena,
                           galv_err *err)
{
    galv_schedule schedule;
    galv_schedule_shape shape;
    galv_chunk *chunks = NULL;
    galv_stage_layouts layouts;
    galv_status status = galv_compile_shape(&schedule, &shape, plan, err);
    if (status == GALV_OK) {
        status = galv_compile_chunks(&chunks, job, plan, &schedule, &shape, stage,
                                     arena, err);
    }
    if (status == GALV_OK) {
        status = galv_stage_layouts_init(&layouts, job, plan, chunks, arena, err);
    }
    return status == GALV_OK ? galv_stage_layouts_get(layout, &layouts, keys, n, err)
                             : status;
}

static galv_status show(galv_pass_ops *pass_ops, const galv_pass_layout *layout,
                        galv_arena *arena, galv_err *err)
{
    galv_operation *ops = GALV_NEW_ARRAY(arena, galv_operation, layout->n_ops);
    int32_t *waits_for = GALV_NEW_ARRAY(arena, int32_t, layout->n_ops);
    int32_t *also = GALV_NEW_ARRAY(arena, int32_t, layout->n_ops);
    galv_pass_repeat *repeats =
        GALV_NEW_ARRAY(arena, galv_pass_repeat, layout->n_repeats);
    if (ops == NULL || waits_for == NULL || also == NULL || repeats == NULL) {
        return galv_fail(err, GALV_NO_MEMORY,
                         "a pass of %d operations does not fit in "
                         "memory",
                         (int)layout->n_ops);
    }
    for (int32_t i = 0; i < layout->n_repeats; i++) {
        repeats[i] = layout->repeats[i];
    }
    for (int32_t i = 0; i < layout->n_ops; i++) {
        const galv_pass_op *from = &layout->ops[i];
        ops[i] = from->operation;
        waits_for[i] = from->n_waits > 0 ? from->waits[0] : -1;
        also[i] = from->n_waits > 1 ? from->waits[1] : -1;
    }
    pass_ops->n_ops = layout->n_ops;
    pass_ops->ops = ops;
    pass_ops->waits_for = waits_for;
    pass_ops->also_waits_for = also;
    pass_ops->n_repeats = layout->n_repeats;
    pass_ops->repeats = repeats;
    return GALV_OK;
}

galv_status galv_program_pass(galv_pass_ops *pass_ops, const galv_job *job,
                              const galv_plan *plan, int32_t stage, int32_t chunk,
                              int pass, galv_arena *arena, galv_err *err)
{
    galv_pass_layout *layout = NULL;
    const galv_pass_key key = {chunk, pass, false};
    galv_status status = lay_out(&layout, job, plan, stage, &key, 1, arena, err);
    return status == GALV_OK ? show(pass_ops, layout, arena, err) : status;
}

galv_status galv_program_pass_short(galv_pass_ops *pass_ops, const galv_job *job,
                                    const galv_plan *plan, int32_t stage, int32_t chunk,
                                    int pass, galv_arena *arena, galv_err *err)
{
    static const galv_pass_hooks hooks = {.shortens = true};
    galv_schedule schedule;
    galv_schedule_shape shape;
    galv_chunk of = {0};
    galv_pass_layout layout;
    galv_status status = galv_compile_shape(&schedule, &shape, plan, err);
    if (status == GALV_OK) {
        status = galv_compile_chunk(&of, job, plan, &schedule, &shape, stage, chunk,
                                    arena, err);
    }
    if (status == GALV_OK) {
        status = galv_compile_pass(&layout, job, plan, &of, pass, &hooks, arena, err);
    }
    return status == GALV_OK ? show(pass_ops, &layout, arena, err) : status;
}

galv_status galv_program_check_shape(const galv_plan *plan, galv_err *err)
{
    galv_schedule schedule;
    galv_schedule_shape shape;
    return galv_compile_shape(&schedule, &shape, plan, err);
}

galv_status galv_program_pair(galv_pass_ops *pass_ops, const galv_job *job,
                              const galv_plan *plan, int32_t stage,
                              int32_t forward_chunk, int32_t backward_chunk,
                              int backward_pass, galv_arena *arena, galv_err *err)
{
    galv_pass_layout *layout = NULL;
    const galv_pass_key keys[2] = {{forward_chunk, GALV_PASS_FORWARD, false},
                                   {backward_chunk, backward_pass, false}};
    galv_status status = lay_out(&layout, job, plan, stage, keys, 2, arena, err);
    return status == GALV_OK ? show(pass_ops, layout, arena, err) : status;
}

/* Ops of one micro-batch on one chunk, messages included; and of what comes once. A
 * backward is whole or split: where both are, what has more is counted. */
static bool count_chunk(double *per_micro_batch, double *once, const galv_job *job,
                        const galv_plan *plan, const galv_chunk *chunk,
                        const galv_schedule *schedule, galv_arena *arena)
{
    const galv_pass_hooks hooked = {true, true, true, false};
    galv_err err = GALV_ERR_INIT;
    double counts[GALV_PASS_NONE] = {0};
    for (int pass = GALV_PASS_FORWARD; pass < GALV_PASS_NONE; pass++) {
        galv_pass_layout layout;
        if (!galv_schedule_uses(schedule, pass)) {
            continue;
        }
        if (galv_compile_pass(&layout, job, plan, chunk, pass, &hooked, arena, &err) !=
            GALV_OK) {
            return false;
        }
        counts[pass] = layout.n_ops + 2;
    }
    double split = counts[GALV_PASS_BACKWARD_INPUT] + counts[GALV_PASS_BACKWARD_WEIGHT];
    double whole = counts[GALV_PASS_BACKWARD];
    *per_micro_batch += counts[GALV_PASS_FORWARD] + (whole > split ? whole : split);
    *once += 4.0 * chunk->n_buckets + 2; /* gathers, reductions, tied table, step */
    return true;
}

double galv_program_count(const galv_job *job, const galv_plan *plan)
{
    galv_schedule schedule;
    galv_schedule_shape shape;
    galv_err err = GALV_ERR_INIT;
    galv_arena *arena = galv_arena_new();
    double per_micro_batch = 0;
    double once = 0;
    bool counted =
        arena != NULL && galv_compile_shape(&schedule, &shape, plan, &err) == GALV_OK;
    for (int32_t stage = 0; counted && stage < plan->pp; stage++) {
        galv_chunk *chunks = NULL;
        counted = galv_compile_chunks(&chunks, job, plan, &schedule, &shape, stage,
                                      arena, &err) == GALV_OK;
        for (int32_t i = 0; counted && i < galv_plan_n_chunks(plan); i++) {
            counted = count_chunk(&per_micro_batch, &once, job, plan, &chunks[i],
                                  &schedule, arena);
        }
        galv_arena_reset(arena);
    }
    galv_arena_free(arena);
    double times =
        !counted ? 0 : shape.n_micro_batches / (double)galv_plan_n_copies(plan);
    return counted ? per_micro_batch * times + once : 0;
}

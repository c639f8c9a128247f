/* The table of schedules, and what is the same for all of them.
 *
 * A schedule is the order in which the pipeline stages work through (pass, chunk,
 * micro-batch). It says nothing about time: when a slot runs follows from the order,
 * from the data that a slot needs, and from what the simulator is told that things
 * cost. So a schedule can be checked and counted without a cost model, and every one of
 * them is played by the same engine. Most orders are written down stage by stage; those
 * that are found for given costs (zb-auto, zb-v and the like) play the pipeline with
 * ratios of costs while they are made, all stages at once.
 *
 * An order that a user brings (plan/order.h) is a schedule that holds it in place of
 * functions. What is known of it without the order, for those who only have its name,
 * stands in a table of its own, which is not listed. */
#include "schedule/schedule_internal.h"

#include "base/words.h"

#include <math.h>
#include <string.h>

#define MAX_CHUNKS 4096

static const galv_schedule schedules[] = {
    {.name = "none",
     .summary = "no pipeline: forward and backward of each micro-batch in turn",
     .source = "gradient accumulation on one stage",
     .min_chunks = 1,
     .max_chunks = 1,
     .min_stages = 1,
     .searched = true,
     .order = galv_order_none},
    {.name = "gpipe",
     .summary = "all forwards, then all backwards",
     .source = "Huang et al. 2019, arXiv 1811.06965",
     .min_chunks = 1,
     .max_chunks = 1,
     .min_stages = 1,
     .searched = true,
     .order = galv_order_gpipe},
    {.name = "1f1b",
     .summary = "one forward, one backward; few activations (PipeDream-flush)",
     .source = "Narayanan et al. 2021, arXiv 2006.09503 and 2104.04473",
     .min_chunks = 1,
     .max_chunks = 1,
     .min_stages = 1,
     .searched = true,
     .order = galv_order_1f1b},
    {.name = "interleaved",
     .summary = "1F1B over several chunks a stage; the bubble shrinks by chunks",
     .source = "Narayanan et al. 2021, arXiv 2104.04473 section 2.2",
     .min_chunks = 2,
     .max_chunks = MAX_CHUNKS,
     .min_stages = 2,
     .searched = true,
     .order = galv_order_interleaved},
    {.name = "breadth-first",
     .summary = "chunk by chunk, all micro-batches; enters a chunk once",
     .source = "Lamy-Poirier 2023, arXiv 2211.05953",
     .min_chunks = 2,
     .max_chunks = MAX_CHUNKS,
     .min_stages = 2,
     .order = galv_order_breadth_first},
    {.name = "zb-h1",
     .summary = "1F1B, weight gradients in its gaps; p micro-batches a stage",
     .source = "Qi et al. 2023, arXiv 2401.10241",
     .splits_backward = true,
     .min_chunks = 1,
     .max_chunks = 1,
     .min_stages = 2,
     .order = galv_order_zb_h1},
    {.name = "zb-h2",
     .summary = "no gaps for equal costs; twice the activations of 1F1B",
     .source = "Qi et al. 2023, arXiv 2401.10241",
     .splits_backward = true,
     .min_chunks = 1,
     .max_chunks = 1,
     .min_stages = 2,
     .order = galv_order_zb_h2},
    {.name = "zb-1p",
     .summary = "zero bubble for given costs, with the memory of p micro-batches",
     .source = "Qi et al. 2023, arXiv 2401.10241",
     .splits_backward = true,
     .min_chunks = 1,
     .max_chunks = 1,
     .min_stages = 2,
     .follows_costs = true,
     .order_all = galv_order_zb_1p},
    {.name = "zb-2p",
     .summary = "zero bubble for given costs, with the memory of 2p micro-batches",
     .source = "Qi et al. 2023, arXiv 2401.10241",
     .splits_backward = true,
     .min_chunks = 1,
     .max_chunks = 1,
     .min_stages = 2,
     .follows_costs = true,
     .order_all = galv_order_zb_2p},
    {.name = "zb-auto",
     .summary = "zero bubble for given costs, with the memory that there is",
     .source = "Qi et al. 2023, arXiv 2401.10241",
     .splits_backward = true,
     .min_chunks = 1,
     .max_chunks = 1,
     .min_stages = 2,
     .follows_costs = true,
     .fills_memory = true,
     .order_all = galv_order_zb_auto},
    {.name = "zb-v",
     .summary = "zero bubble on two chunks in a V; p micro-batches a stage",
     .source = "Qi et al. 2024, arXiv 2405.15362",
     .splits_backward = true,
     .min_chunks = 2,
     .max_chunks = 2,
     .min_stages = 2,
     .follows_costs = true,
     .order_all = galv_order_zb_v,
     .virtual_stage = galv_virtual_stage_v},
    {.name = "v-1f1b",
     .summary = "1F1B on two chunks in a V; two thirds of its memory",
     .source = "Qi et al. 2024, arXiv 2405.15362",
     .min_chunks = 2,
     .max_chunks = 2,
     .min_stages = 2,
     .order_all = galv_order_v_1f1b,
     .virtual_stage = galv_virtual_stage_v},
    {.name = "v-half",
     .summary = "two chunks in a V with about a half of 1F1B's memory",
     .source = "Qi et al. 2024, arXiv 2405.15362",
     .splits_backward = true,
     .min_chunks = 2,
     .max_chunks = 2,
     .min_stages = 2,
     .order_all = galv_order_v_half,
     .virtual_stage = galv_virtual_stage_v},
    {.name = "v-min",
     .summary = "two chunks in a V with about a third of 1F1B's memory",
     .source = "Qi et al. 2024, arXiv 2405.15362",
     .splits_backward = true,
     .min_chunks = 2,
     .max_chunks = 2,
     .min_stages = 2,
     .order_all = galv_order_v_min,
     .virtual_stage = galv_virtual_stage_v},
    {.name = "dualpipe",
     .summary = "two copies in opposite directions, forward beside backward",
     .source = "DeepSeek-AI 2024, arXiv 2412.19437",
     .needs = "stages and micro-batches even, 2 micro-batches a stage or more",
     .splits_backward = true,
     .min_chunks = 1,
     .max_chunks = 1,
     .min_stages = 2,
     .pairs = true,
     .two_way = true,
     .check = galv_check_dualpipe,
     .order = galv_order_dualpipe,
     .virtual_stage = galv_virtual_stage_two_way},
    {.name = "dualpipev",
     .summary = "DualPipe folded into a V: one copy, two chunks a stage",
     .source = "Qi et al. 2025, github.com/deepseek-ai/DualPipe",
     .needs = "2 micro-batches a stage or more",
     .splits_backward = true,
     .min_chunks = 2,
     .max_chunks = 2,
     .min_stages = 2,
     .pairs = true,
     .check = galv_check_dualpipev,
     .order = galv_order_dualpipev,
     .virtual_stage = galv_virtual_stage_v},
};

#define N_SCHEDULES (sizeof schedules / sizeof schedules[0])

/* By galv_order_schedule. */
static const galv_schedule customs[] = {
    {.name = "custom",
     .summary = "an order of one's own",
     .source = "the user",
     .min_chunks = 1,
     .max_chunks = MAX_CHUNKS,
     .min_stages = 1},
    {.name = "custom-split",
     .summary = "an order of one's own, backward split",
     .source = "the user",
     .splits_backward = true,
     .min_chunks = 1,
     .max_chunks = MAX_CHUNKS,
     .min_stages = 1},
    {.name = "custom-paired",
     .summary = "an order of one's own, passes beside each other",
     .source = "the user",
     .pairs = true,
     .min_chunks = 1,
     .max_chunks = MAX_CHUNKS,
     .min_stages = 1},
    {.name = "custom-two-way",
     .summary = "an order of one's own, two copies in opposite directions",
     .source = "the user",
     .pairs = true,
     .two_way = true,
     .min_chunks = 1,
     .max_chunks = 1,
     .min_stages = 2},
};

#define N_CUSTOMS (sizeof customs / sizeof customs[0])

const galv_schedule *galv_schedules(size_t *n_schedules)
{
    *n_schedules = N_SCHEDULES;
    return schedules;
}

/* The search asks some thousand times a second: most names differ in their first
 * letter. */
static bool is_called(const galv_schedule *schedule, const char *name)
{
    return schedule->name[0] == name[0] && strcmp(schedule->name, name) == 0;
}

galv_status galv_schedule_find(const galv_schedule **schedule, const char *name,
                               galv_err *err)
{
    const char *words[N_SCHEDULES];
    const char *wanted = strcmp(name, "bfs") == 0 ? "breadth-first" : name;
    for (size_t i = 0; i < N_CUSTOMS; i++) {
        if (is_called(&customs[i], name)) {
            *schedule = &customs[i];
            return GALV_OK;
        }
    }
    for (size_t i = 0; i < N_SCHEDULES; i++) {
        if (is_called(&schedules[i], wanted)) {
            *schedule = &schedules[i];
            return GALV_OK;
        }
        words[i] = schedules[i].name;
    }
    galv_status status = galv_fail(err, GALV_USAGE, "no schedule '%s'", name);
    galv_hint_words(err, words, N_SCHEDULES, name);
    return status;
}

galv_schedule galv_schedule_of_order(const galv_order *order)
{
    galv_schedule schedule = customs[0];
    for (size_t i = 0; i < N_CUSTOMS; i++) {
        if (strcmp(customs[i].name, galv_order_schedule(order)) == 0) {
            schedule = customs[i];
        }
    }
    schedule.splits_backward = order->splits_backward;
    schedule.min_chunks = schedule.max_chunks = order->n_chunks;
    schedule.min_stages = order->n_stages;
    schedule.own = order;
    return schedule;
}

galv_status galv_schedule_of_plan(galv_schedule *schedule, const galv_plan *plan,
                                  galv_err *err)
{
    const galv_schedule *found = NULL;
    galv_status status = galv_schedule_find(&found, plan->schedule, err);
    if (status != GALV_OK) {
        return status;
    }
    bool custom = found->order == NULL && found->order_all == NULL;
    if (custom && plan->order == NULL) {
        return galv_fail(err, GALV_USAGE, "schedule %s without an order",
                         plan->schedule);
    }
    *schedule = custom ? galv_schedule_of_order(plan->order) : *found;
    return GALV_OK;
}

size_t galv_schedule_n_slots(const galv_schedule *schedule,
                             const galv_schedule_shape *shape)
{
    size_t passes = schedule->splits_backward ? 3 : 2;
    return passes * (size_t)shape->n_micro_batches * (size_t)shape->n_chunks;
}

static bool can_weigh(double weight)
{
    return weight >= 0 && isfinite(weight);
}

static galv_status check_weights(const galv_schedule_shape *shape, galv_err *err)
{
    const galv_schedule_weights *weights = shape->weights;
    bool good = can_weigh(weights->message) && can_weigh(weights->memory_limit);
    for (int32_t stage = 0; weights->stages != NULL && stage < shape->n_stages;
         stage++) {
        const galv_stage_weights *s = &weights->stages[stage];
        good = good && can_weigh(s->forward) && can_weigh(s->input) &&
               can_weigh(s->weight) && can_weigh(s->waiting);
    }
    return good ? GALV_OK
                : galv_fail(err, GALV_USAGE,
                            "what passes cost must be finite and not negative");
}

static galv_status copy_own(galv_slot *slots, const galv_schedule *schedule,
                            const galv_schedule_shape *shape, galv_err *err)
{
    const galv_order *own = schedule->own;
    if (own == NULL) {
        return galv_fail(err, GALV_USAGE, "schedule %s without an order",
                         schedule->name);
    }
    if (own->n_stages != shape->n_stages || own->n_chunks != shape->n_chunks ||
        own->n_micro_batches != shape->n_micro_batches) {
        return galv_fail(err, GALV_USAGE,
                         "the order of %s is for %d stages, %d chunks and %d "
                         "micro-batches, not %d, %d and %d",
                         schedule->name, (int)own->n_stages, (int)own->n_chunks,
                         (int)own->n_micro_batches, (int)shape->n_stages,
                         (int)shape->n_chunks, (int)shape->n_micro_batches);
    }
    memcpy(slots, own->slots, (size_t)own->n_stages * own->n_slots * sizeof *slots);
    return GALV_OK;
}

galv_status galv_schedule_order(galv_slot *slots, const galv_schedule *schedule,
                                const galv_schedule_shape *shape, galv_err *err)
{
    galv_status status = shape->weights != NULL ? check_weights(shape, err) : GALV_OK;
    if (status == GALV_OK && schedule->order == NULL && schedule->order_all == NULL) {
        return copy_own(slots, schedule, shape, err);
    }
    if (status == GALV_OK && schedule->order_all != NULL) {
        return schedule->order_all(slots, shape, err);
    }
    size_t n_slots = galv_schedule_n_slots(schedule, shape);
    for (int32_t stage = 0; stage < shape->n_stages && status == GALV_OK; stage++) {
        status = schedule->order(&slots[(size_t)stage * n_slots], shape, stage, err);
    }
    return status;
}

bool galv_schedule_uses(const galv_schedule *schedule, int pass)
{
    bool mixed = schedule->own != NULL || schedule->pairs;
    switch (pass) {
    case GALV_PASS_FORWARD:
        return true;
    case GALV_PASS_BACKWARD:
        return !schedule->splits_backward || mixed;
    case GALV_PASS_BACKWARD_INPUT:
    case GALV_PASS_BACKWARD_WEIGHT:
        return schedule->splits_backward;
    default:
        return false;
    }
}

galv_status galv_schedule_check(const galv_schedule *schedule,
                                const galv_schedule_shape *shape, galv_err *err)
{
    if (schedule->own != NULL) {
        return GALV_OK; /* galv_plan_set_order has seen to it */
    }
    galv_status status = galv_schedule_check_shape(schedule->name, shape, 0, err);
    return status == GALV_OK && schedule->check != NULL ? schedule->check(shape, err)
                                                        : status;
}

int32_t galv_schedule_n_virtual_stages(const galv_schedule *schedule,
                                       const galv_schedule_shape *shape)
{
    return schedule->two_way ? shape->n_stages : shape->n_stages * shape->n_chunks;
}

int32_t galv_schedule_virtual_stage(const galv_schedule *schedule,
                                    const galv_schedule_shape *shape, int32_t stage,
                                    int32_t chunk)
{
    if (schedule->own != NULL) {
        return galv_order_virtual_stage(schedule->own, stage, chunk);
    }
    if (schedule->virtual_stage != NULL) {
        return schedule->virtual_stage(shape, stage, chunk);
    }
    return chunk * shape->n_stages + stage;
}

int32_t galv_virtual_stage_v(const galv_schedule_shape *shape, int32_t stage,
                             int32_t chunk)
{
    return chunk == 0 ? stage : 2 * shape->n_stages - 1 - stage;
}

galv_slot galv_slot_make(galv_pass pass, int32_t chunk, int32_t micro_batch)
{
    galv_slot slot = {(uint8_t)pass, 0, (int16_t)chunk, micro_batch};
    return slot;
}

galv_status galv_schedule_check_shape(const char *name,
                                      const galv_schedule_shape *shape, int32_t stage,
                                      galv_err *err)
{
    const galv_schedule *schedule = NULL;
    galv_status status = galv_schedule_find(&schedule, name, err);
    if (status != GALV_OK) {
        return status;
    }
    if (shape->n_stages < 1 || shape->n_chunks < 1 || shape->n_micro_batches < 1 ||
        shape->group_size < 0 || stage < 0 || stage >= shape->n_stages) {
        return galv_fail(err, GALV_USAGE,
                         "schedule %s: stage %d of %d, %d chunks, %d micro-batches, "
                         "groups of %d cannot be",
                         name, (int)stage, (int)shape->n_stages, (int)shape->n_chunks,
                         (int)shape->n_micro_batches, (int)shape->group_size);
    }
    if (shape->n_stages < schedule->min_stages) {
        return galv_fail(err, GALV_USAGE,
                         "schedule %s needs at least %d pipeline stages, not %d", name,
                         (int)schedule->min_stages, (int)shape->n_stages);
    }
    if (shape->n_chunks < schedule->min_chunks ||
        shape->n_chunks > schedule->max_chunks) {
        int32_t nearest = shape->n_chunks < schedule->min_chunks ? schedule->min_chunks
                                                                 : schedule->max_chunks;
        return galv_fail(err, GALV_USAGE,
                         "schedule %s cannot have %d chunks a stage; the nearest is %d",
                         name, (int)shape->n_chunks, (int)nearest);
    }
    return GALV_OK;
}

galv_status galv_schedule_units(int32_t *n_units, const char *name,
                                const galv_schedule_shape *shape, double wanted,
                                galv_err *err)
{
    galv_status status = galv_schedule_check_shape(name, shape, 0, err);
    if (status == GALV_OK && wanted >= INT32_MAX) {
        return galv_schedule_no_room(shape, err);
    }
    *n_units = status == GALV_OK ? (int32_t)wanted : 0;
    return status;
}

galv_status galv_schedule_no_room(const galv_schedule_shape *shape, galv_err *err)
{
    return galv_fail(err, GALV_NO_MEMORY,
                     "a schedule of %d stages and %d micro-batches does not fit in "
                     "memory",
                     (int)shape->n_stages, (int)shape->n_micro_batches);
}

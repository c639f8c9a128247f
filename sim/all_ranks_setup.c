/* Setting up a simulation of every rank: where ranks meet, where progress is kept, and
 * how ranks differ. */
#include "sim/all_ranks_internal.h"

/* Slots: one per group for each distinct (stage, stream, stride, n). */
static galv_status fill_classes(all_ranks *s, const galv_meeting *meetings,
                                galv_arena *arena, galv_err *err)
{
    const galv_program *program = s->program;
    hot_class *hot = GALV_NEW_ARRAY(arena, hot_class, program->n_classes);
    /* last class of each (stage, stream), and the one before it with another meeting */
    size_t n_lists = (size_t)program->n_ranks * GALV_N_STREAMS;
    uint32_t *first = GALV_NEW_ARRAY(arena, uint32_t, n_lists);
    uint32_t *next = GALV_NEW_ARRAY(arena, uint32_t, program->n_classes);
    if (hot == NULL || first == NULL || next == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for classes");
    }
    galv_sim_fill_classes(hot, program, s->costs);
    for (uint32_t i = 0; i < program->n_classes; i++) {
        meeting_class *class = &s->classes[i];
        class->hot = hot[i];
        class->stride = hot[i].work_s > 0 ? (uint32_t)meetings[i].stride : 1;
        class->n = hot[i].work_s > 0 ? (uint32_t)meetings[i].n : 1;
        class->block = class->stride * class->n;
        uint32_t stage = (uint32_t)program->classes[i].stage;
        class->first_rank = stage * s->per_stage;
        if (class->block < 1 || s->per_stage % class->block != 0) {
            return galv_fail(err, GALV_INPUT,
                             "groups of %u ranks, %u apart, do not divide the %u ranks "
                             "of a stage",
                             (unsigned)class->n, (unsigned)class->stride,
                             (unsigned)s->per_stage);
        }
        uint32_t *list = &first[stage * GALV_N_STREAMS + hot[i].stream];
        uint32_t other = *list;
        while (other != 0 && (s->classes[other - 1].stride != class->stride ||
                              s->classes[other - 1].n != class->n)) {
            other = next[other - 1];
        }
        if (other != 0) {
            class->first_slot = s->classes[other - 1].first_slot;
            continue;
        }
        class->first_slot = s->n_slots;
        s->n_slots += s->per_stage / class->n;
        next[i] = *list;
        *list = i + 1;
    }
    return GALV_OK;
}

/* Dependencies, and who follows them, by place of progress. */
static bool fill_neighbours(all_ranks *s, galv_arena *arena)
{
    const galv_program *program = s->program;
    uint32_t *queue_of = GALV_NEW_ARRAY(arena, uint32_t, program->n_ops);
    if (queue_of == NULL) {
        return false;
    }
    uint32_t n_queues = (uint32_t)program->n_ranks * GALV_N_STREAMS;
    for (uint32_t queue = 0; queue < n_queues; queue++) {
        uint32_t stage = queue / GALV_N_STREAMS;
        uint32_t stream = queue % GALV_N_STREAMS;
        uint32_t of_place_0 = stage * s->per_stage * GALV_N_STREAMS + stream;
        for (uint32_t op = program->queue_begin[queue];
             op < program->queue_begin[queue + 1]; op++) {
            queue_of[op] = of_place_0;
        }
        for (uint32_t place = 0; place < s->per_stage; place++) {
            s->queues[of_place_0 + place * GALV_N_STREAMS].head =
                program->queue_begin[queue];
        }
    }
    uint32_t *first = s->first_after;
    for (uint32_t i = 0; i < program->n_dependencies; i++) {
        first[program->dependencies[i] + 2]++;
    }
    for (uint32_t op = 0; op < program->n_ops; op++) {
        first[op + 2] += first[op + 1];
    }
    for (uint32_t op = 0; op < program->n_ops; op++) {
        for (uint32_t i = program->ops[op].first_dependency;
             i < program->ops[op + 1].first_dependency; i++) {
            uint32_t on = program->dependencies[i];
            neighbour before = {on, queue_of[on]};
            neighbour after = {op, queue_of[op]};
            s->before[i] = before;
            s->after[first[on + 1]++] = after;
        }
    }
    return true;
}

static bool fill_ranks(all_ranks *s, const galv_stage_memory *base, galv_arena *arena)
{
    for (uint32_t i = 0; i < s->n_ranks; i++) {
        rank_state *rank = &s->ranks[i];
        rank->stage = i / s->per_stage;
        rank->place = i % s->per_stage;
        rank->compute_factor = 1;
        if (s->spans != NULL && (int32_t)rank->place == s->options->record_place) {
            int32_t stage = (int32_t)rank->stage;
            hot_class *hot = GALV_NEW_ARRAY(arena, hot_class, s->program->n_classes);
            if (hot == NULL) {
                return false;
            }
            galv_sim_fill_classes(hot, s->program, s->costs);
            rank->account.sampled_as = stage;
            rank->account.samples =
                GALV_NEW_ARRAY(arena, galv_memory_sample,
                               galv_sim_most_samples(s->program, hot, stage));
            if (rank->account.samples == NULL) {
                return false;
            }
        }
        galv_account_begin(&rank->account, &s->results[i],
                           base == NULL ? NULL : &base[rank->stage]);
    }
    for (uint32_t i = 0; i < s->n_slots; i++) {
        s->slots[i].heap_place = GALV_NOT_IN_HEAP;
    }
    return true;
}

static galv_status allocate(all_ranks *s, galv_arena *arena, galv_err *err)
{
    const galv_program *program = s->program;
    s->before = GALV_NEW_ARRAY(arena, neighbour, program->n_dependencies);
    s->after = GALV_NEW_ARRAY(arena, neighbour, program->n_dependencies);
    s->first_after = GALV_NEW_ARRAY(arena, uint32_t, (size_t)program->n_ops + 2);
    s->queues = GALV_NEW_ARRAY(arena, rank_queue, s->n_queues);
    s->ranks = GALV_NEW_ARRAY(arena, rank_state, s->n_ranks);
    s->results = GALV_NEW_ARRAY(arena, galv_rank_result, s->n_ranks);
    s->waited_s = GALV_NEW_ARRAY(arena, double, s->n_ranks);
    s->slots = GALV_NEW_ARRAY(arena, meeting_slot, s->n_slots);
    s->heap = GALV_NEW_ARRAY(arena, heap_entry, s->n_slots);
    s->ready = GALV_NEW_ARRAY(arena, uint32_t, s->n_queues);
    s->is_ready = GALV_NEW_ARRAY(arena, uint8_t, s->n_queues);
    s->changed = GALV_NEW_ARRAY(arena, uint32_t, s->n_ranks);
    s->changed_slots = GALV_NEW_ARRAY(arena, uint32_t, s->n_slots);
    if (s->options->record_place >= 0) {
        s->spans = GALV_NEW_ARRAY(arena, galv_span, program->n_ops);
    }
    if (s->before == NULL || s->after == NULL || s->first_after == NULL ||
        s->queues == NULL || s->ranks == NULL || s->results == NULL ||
        s->waited_s == NULL || s->slots == NULL || s->heap == NULL ||
        s->ready == NULL || s->is_ready == NULL || s->changed == NULL ||
        s->changed_slots == NULL ||
        (s->options->record_place >= 0 && s->spans == NULL)) {
        return galv_fail(err, GALV_NO_MEMORY,
                         "a simulation of %u ranks does not fit in memory",
                         (unsigned)s->n_ranks);
    }
    return GALV_OK;
}

/* Slots are the flows of the network. */
static galv_status share_network(all_ranks *s, galv_arena *arena, galv_err *err)
{
    const galv_network *network = s->options->network;
    if (network == NULL) {
        return GALV_OK;
    }
    uint32_t *most_uses = GALV_NEW_ARRAY(arena, uint32_t, s->n_slots);
    if (most_uses == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for the network");
    }
    for (uint32_t i = 0; i < s->program->n_classes; i++) {
        meeting_class *class = &s->classes[i];
        int32_t index = network->classes[i].route;
        if (index < 0 || !(class->hot.work_s > 0)) {
            continue;
        }
        const galv_route *route = &network->routes[index];
        class->hot.inter_share = 0;
        for (uint32_t group = 0; group < route->n_groups; group++) {
            uint32_t n = route->first_use[group + 1] - route->first_use[group];
            uint32_t *most = &most_uses[class->first_slot + group];
            *most = n > *most ? n : *most;
        }
    }
    return galv_max_min_new(&s->sharing, network->capacities, network->n_links,
                            most_uses, s->n_slots, arena, err);
}

static galv_status apply_differences(all_ranks *s, galv_arena *arena, galv_err *err)
{
    const galv_differences *differences = s->options->differences;
    if (!galv_differences_of_ranks(differences)) {
        return GALV_OK;
    }
    double *factors = NULL;
    galv_status status = galv_differences_factors(
        &factors, differences, s->options->run, (int32_t)s->n_ranks, arena, err);
    for (uint32_t i = 0; status == GALV_OK && i < s->n_ranks; i++) {
        s->ranks[i].compute_factor = factors[i];
    }
    s->key = galv_random_key(differences->seed, s->options->run);
    s->compute_sigma = differences->compute_sigma;
    s->comm_sigma = differences->comm_sigma;
    return status;
}

galv_status galv_all_ranks_set_up(all_ranks *s, const galv_stage_memory *base,
                                  const galv_meeting *meetings, galv_arena *arena,
                                  galv_err *err)
{
    s->n_ranks = s->per_stage * (uint32_t)s->program->n_ranks;
    s->n_queues = s->n_ranks * GALV_N_STREAMS;
    s->classes = GALV_NEW_ARRAY(arena, meeting_class, s->program->n_classes);
    galv_status status = s->classes == NULL
                             ? galv_fail(err, GALV_NO_MEMORY, "no memory for classes")
                             : fill_classes(s, meetings, arena, err);
    if (status == GALV_OK) {
        status = allocate(s, arena, err);
    }
    if (status == GALV_OK &&
        (!fill_neighbours(s, arena) || !fill_ranks(s, base, arena))) {
        status = galv_fail(err, GALV_NO_MEMORY, "no memory for %u ranks",
                           (unsigned)s->n_ranks);
    }
    if (status == GALV_OK) {
        status = share_network(s, arena, err);
    }
    return status == GALV_OK ? apply_differences(s, arena, err) : status;
}

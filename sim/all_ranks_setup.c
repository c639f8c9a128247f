/* Setting up a simulation of every rank: where ranks meet, where progress is kept, and
 * how ranks differ. */
#include "sim/all_ranks_internal.h"

#include <math.h>

static bool same_meeting(galv_meeting a, galv_meeting b)
{
    return a.stride == b.stride && a.n == b.n;
}

/* See meeting_class. */
static int8_t shift_of(galv_meeting meeting)
{
    int8_t shift = 0;
    while ((1 << shift) < meeting.n && shift < 30) {
        shift++;
    }
    return meeting.stride == 1 && (1 << shift) == meeting.n ? shift : -1;
}

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
        galv_meeting alone = {1, 1};
        class->meeting = hot[i].work_s > 0 && meetings[i].n > 1 ? meetings[i] : alone;
        class->n = (uint32_t) class->meeting.n;
        class->shift = shift_of(class->meeting);
        uint32_t stage = (uint32_t)program->classes[i].stage;
        class->first_rank = stage * s->per_stage;
        if (class->meeting.stride < 1 ||
            s->per_stage % (class->n * (uint32_t) class->meeting.stride) != 0) {
            return galv_fail(err, GALV_INPUT,
                             "groups of %u ranks, %u apart, do not divide the %u ranks "
                             "of a stage",
                             (unsigned)class->n, (unsigned)class->meeting.stride,
                             (unsigned)s->per_stage);
        }
        uint32_t *list = &first[stage * GALV_N_STREAMS + hot[i].stream];
        uint32_t other = *list;
        while (other != 0 &&
               !same_meeting(s->classes[other - 1].meeting, class->meeting)) {
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
        rank->breakdown = GALV_BREAKDOWN_BUBBLE;
        if (s->spans != NULL && (int32_t)rank->place == s->options->record_place) {
            int32_t stage = (int32_t)rank->stage;
            hot_class *hot = GALV_NEW_ARRAY(arena, hot_class, s->program->n_classes);
            if (hot == NULL) {
                return false;
            }
            galv_sim_fill_classes(hot, s->program, s->costs);
            s->accounts[i].sampled_as = stage;
            s->accounts[i].samples =
                GALV_NEW_ARRAY(arena, galv_memory_sample,
                               galv_sim_most_samples(s->program, hot, stage));
            if (s->accounts[i].samples == NULL) {
                return false;
            }
        }
        galv_account_begin(&s->accounts[i], &s->results[i],
                           base == NULL ? NULL : &base[rank->stage]);
    }
    for (uint32_t i = 0; i < s->n_blocks; i++) {
        s->heap[i].block = i;
        s->heap[i].end_s = INFINITY;
        s->heap_place[i] = i;
        for (uint32_t k = 0; k < GALV_BLOCK; k++) {
            s->ends[i * GALV_BLOCK + k] = INFINITY;
        }
    }
    return true;
}

/* An array that begins with a cache line. */
static void *new_aligned(galv_arena *arena, size_t count, size_t size)
{
    const size_t line = 64;
    char *made = galv_arena_calloc(arena, count + line / size + 1, size);
    return made == NULL ? NULL : made + (line - (uintptr_t)made % line) % line;
}

static galv_status allocate(all_ranks *s, galv_arena *arena, galv_err *err)
{
    const galv_program *program = s->program;
    s->before = GALV_NEW_ARRAY(arena, neighbour, program->n_dependencies);
    s->after = GALV_NEW_ARRAY(arena, neighbour, program->n_dependencies);
    s->first_after = GALV_NEW_ARRAY(arena, uint32_t, (size_t)program->n_ops + 2);
    s->queues = new_aligned(arena, s->n_queues, sizeof *s->queues);
    s->ranks = new_aligned(arena, s->n_ranks, sizeof *s->ranks);
    s->results = GALV_NEW_ARRAY(arena, galv_rank_result, s->n_ranks);
    s->accounts = GALV_NEW_ARRAY(arena, rank_account, s->n_ranks);
    s->slots = new_aligned(arena, s->n_slots, sizeof *s->slots);
    s->n_blocks = (s->n_slots + GALV_BLOCK - 1) / GALV_BLOCK;
    s->ends = new_aligned(arena, (size_t)s->n_blocks * GALV_BLOCK, sizeof *s->ends);
    s->heap = GALV_NEW_ARRAY(arena, heap_entry, s->n_blocks);
    s->heap_place = GALV_NEW_ARRAY(arena, uint32_t, s->n_blocks);
    s->ready = GALV_NEW_ARRAY(arena, uint32_t, s->n_queues);
    s->is_ready = GALV_NEW_ARRAY(arena, uint8_t, s->n_queues);
    s->changed = GALV_NEW_ARRAY(arena, uint32_t, s->n_ranks);
    s->changed_slots = GALV_NEW_ARRAY(arena, uint32_t, s->n_slots);
    bool every = s->options->record_place == GALV_EVERY_PLACE;
    bool records = every || s->options->record_place >= 0;
    if (records) {
        s->spans = GALV_NEW_ARRAY(arena, galv_span,
                                  (size_t)program->n_ops * (every ? s->per_stage : 1));
    }
    if (s->before == NULL || s->after == NULL || s->first_after == NULL ||
        s->queues == NULL || s->ranks == NULL || s->results == NULL ||
        s->accounts == NULL || s->slots == NULL || s->ends == NULL || s->heap == NULL ||
        s->heap_place == NULL || s->ready == NULL || s->is_ready == NULL ||
        s->changed == NULL || s->changed_slots == NULL ||
        (records && s->spans == NULL)) {
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
    s->compute_factors = factors;
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

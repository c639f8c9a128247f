/* The clock over every rank.
 *
 * Model. Each rank keeps, for each of its streams, how far it has come in its stage's
 * program; nothing else of the program is kept by rank. What an op waits for has ended
 * when the queue of that other op, in the same pipeline, has gone past it. An op whose
 * turn has come arrives at its slot: the place where the ranks of its group meet. When
 * all have arrived the activity begins, for all at once; an op without partners is a
 * meeting of one. The heap holds slots by the end of what runs there, so a collective
 * of a thousand ranks is one entry.
 *
 * Groups meet in the same order on all their ranks, since those share one program: so a
 * slot needs no queue of its own, and the whole deadlocks only where the folded program
 * does.
 *
 * Order of things at one moment: all that ends now ends, in an order that the same
 * input repeats; then all that can starts; then rates are set. Stragglers and jitter
 * change the work of an operation when it begins. All memory is taken before the clock
 * starts. */
#include "sim/all_ranks_internal.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* ---- the heap: four children each, so that siblings share a cache line ---- */

static bool earlier(const heap_entry *a, const heap_entry *b)
{
    return a->end_s < b->end_s; /* all that ends at one moment is taken out together */
}

static void put(all_ranks *s, uint32_t at, heap_entry entry)
{
    s->heap[at] = entry;
    s->heap_place[entry.block] = at;
}

/* Puts an entry where it belongs, beginning at its old place. */
static void sift(all_ranks *s, uint32_t at, heap_entry entry)
{
    heap_entry *heap = s->heap;
    while (at > 0 && earlier(&entry, &heap[(at - 1) / 4])) {
        put(s, at, heap[(at - 1) / 4]);
        at = (at - 1) / 4;
    }
    for (;;) {
        uint32_t first = 4 * at + 1;
        uint32_t end = first + 4 < s->n_blocks ? first + 4 : s->n_blocks;
        uint32_t best = first;
        for (uint32_t child = first + 1; child < end; child++) {
            best = earlier(&heap[child], &heap[best]) ? child : best;
        }
        if (first >= s->n_blocks || !earlier(&heap[best], &entry)) {
            break;
        }
        put(s, at, heap[best]);
        at = best;
    }
    put(s, at, entry);
}

void galv_all_ranks_schedule(all_ranks *s, uint32_t slot, double end_s)
{
    uint32_t block = slot / GALV_BLOCK;
    const double *ends = &s->ends[block * GALV_BLOCK];
    s->ends[slot] = end_s;
    heap_entry entry = {ends[0], block};
    for (uint32_t i = 1; i < GALV_BLOCK; i++) {
        entry.end_s = ends[i] < entry.end_s ? ends[i] : entry.end_s;
    }
    uint32_t at = s->heap_place[block];
    if (entry.end_s < s->heap[at].end_s || entry.end_s > s->heap[at].end_s) {
        sift(s, at, entry);
    }
}

/* Takes out the first slot of those that end first. */
static uint32_t pop(all_ranks *s)
{
    uint32_t slot = s->heap[0].block * GALV_BLOCK;
    while (s->ends[slot] > s->heap[0].end_s) {
        slot++;
    }
    galv_all_ranks_schedule(s, slot, INFINITY);
    return slot;
}

/* ---- starting and ending ---- */

static void look_at(all_ranks *s, uint32_t queue)
{
    if (s->is_ready[queue] == 0) {
        s->is_ready[queue] = 1;
        s->ready[s->n_ready++] = queue;
    }
}

/* Counts a rank's time up to now. */
static void count_time(all_ranks *s, rank_state *rank)
{
    double passed_s = s->now_s - rank->counted_s;
    if (rank->waiting != 0 && rank->breakdown == GALV_BREAKDOWN_BUBBLE) {
        rank->waited_s += passed_s;
    }
    rank->spent_s[rank->breakdown] += passed_s;
    rank->counted_s = s->now_s;
}

/* What runs on a rank is about to change. */
static void touch(all_ranks *s, uint32_t rank_index)
{
    rank_state *rank = &s->ranks[rank_index];
    if (!rank->changed) {
        rank->changed = true;
        s->changed[s->n_changed++] = rank_index;
    }
    count_time(s, rank);
}

static void record(all_ranks *s, const meeting_slot *slot, uint32_t rank_index)
{
    const rank_state *rank = &s->ranks[rank_index];
    bool every = s->options->record_place == GALV_EVERY_PLACE;
    if (!every && (int32_t)rank->place != s->options->record_place) {
        return;
    }
    size_t row = every ? rank->place : 0;
    galv_span *span = &s->spans[row * s->program->n_ops + slot->op];
    galv_sim_fill_span(span, s->program, slot->op, &s->classes[slot->class_index].hot);
    span->rank = (int32_t)(every ? rank_index : rank->stage);
    span->start_s = slot->start_s;
    span->end_s = s->now_s;
}

/* One rank is through with an op. */
static void end_on_rank(all_ranks *s, const meeting_slot *slot, uint32_t rank_index)
{
    const hot_class *class = &s->classes[slot->class_index].hot;
    uint32_t queue = rank_index * GALV_N_STREAMS + class->stream;
    if (class->end_memory != 0) {
        galv_account_end(&s->accounts[rank_index], &s->results[rank_index], class,
                         &s->costs[slot->class_index], slot->op, s->now_s);
    }
    s->queues[queue].busy_s += s->now_s - slot->start_s;
    s->ranks[rank_index].end_s = s->now_s;
    if (s->spans != NULL) {
        record(s, slot, rank_index);
    }
    s->queues[queue].head = slot->op + 1;
    uint32_t offset = s->ranks[rank_index].place * GALV_N_STREAMS;
    for (uint32_t i = s->first_after[slot->op]; i < s->first_after[slot->op + 1]; i++) {
        uint32_t other = s->after[i].queue + offset;
        if (s->queues[other].head == s->after[i].op) {
            look_at(s, other);
        }
    }
    look_at(s, queue);
}

static void end_slot(all_ranks *s, uint32_t slot_index)
{
    const meeting_slot *slot = &s->slots[slot_index];
    const meeting_class *class = &s->classes[slot->class_index];
    uint32_t stride = (uint32_t) class->meeting.stride;
    uint8_t bit = (uint8_t)(1U << class->hot.stream);
    if (slot->flows) {
        galv_max_min_end(s->sharing, slot_index);
        s->n_flow_changes++;
    }
    for (uint32_t k = 0; k < class->n; k++) {
        uint32_t rank = slot->first_rank + k * stride;
        touch(s, rank);
        s->ranks[rank].running &= (uint8_t)~bit;
        end_on_rank(s, slot, rank);
    }
    s->n_done += class->n;
    s->n_events += class->n;
}

/* The work of an activity that begins now, differences included. */
static double work_of(const all_ranks *s, const meeting_slot *slot)
{
    const meeting_class *class = &s->classes[slot->class_index];
    double work_s = class->hot.work_s;
    bool compute = class->hot.stream == GALV_STREAM_COMPUTE;
    double sigma = compute ? s->compute_sigma : s->comm_sigma;
    if (compute && s->compute_factors != NULL) {
        work_s *= s->compute_factors[slot->first_rank];
    }
    if (sigma > 0) {
        work_s *= galv_random_lognormal(s->key, slot->first_rank, slot->op, sigma);
    }
    return work_s;
}

/* The latency is over: the transfer takes its links. */
static void begin_transfer(all_ranks *s, uint32_t slot_index)
{
    meeting_slot *slot = &s->slots[slot_index];
    const meeting_class *class = &s->classes[slot->class_index];
    const galv_network *network = s->options->network;
    const galv_network_class *asks = &network->classes[slot->class_index];
    const galv_route *route = &network->routes[asks->route];
    const uint32_t *use = &route->first_use[slot_index - class->first_slot];
    slot->latent = false;
    slot->flows = true;
    slot->rate = 1;
    galv_all_ranks_schedule(s, slot_index, s->now_s + slot->left_s);
    galv_max_min_begin(s->sharing, slot_index, &route->uses[use[0]], use[1] - use[0],
                       asks->scale, asks->weight, asks->cap);
    s->n_flow_changes++;
    s->n_events++;
}

/* A meeting that crosses no link of the network is one piece of work. */
static bool crosses_network(const all_ranks *s, uint32_t slot_index,
                            const meeting_class *class)
{
    const galv_network *network = s->options->network;
    int32_t index = s->sharing == NULL
                        ? -1
                        : network->classes[s->slots[slot_index].class_index].route;
    if (index < 0) {
        return false;
    }
    const uint32_t *use =
        &network->routes[index].first_use[slot_index - class->first_slot];
    return use[0] < use[1];
}

static void begin_work(all_ranks *s, uint32_t slot_index, const meeting_class *class)
{
    meeting_slot *slot = &s->slots[slot_index];
    double work_s = work_of(s, slot);
    slot->rate = 1;
    slot->recount = class->hot.stream != GALV_STREAM_COMPUTE;
    slot->flows = false;
    slot->latent = false;
    if (!crosses_network(s, slot_index, class)) {
        galv_all_ranks_schedule(s, slot_index, s->now_s + work_s);
        return;
    }
    const galv_network_class *asks = &s->options->network->classes[slot->class_index];
    double latency_s = asks->latency_s * (work_s / class->hot.work_s);
    slot->left_s = work_s - latency_s;
    slot->latent = latency_s > 0;
    if (slot->latent) {
        galv_all_ranks_schedule(s, slot_index, s->now_s + latency_s);
    } else {
        begin_transfer(s, slot_index);
    }
}

static void begin_slot(all_ranks *s, uint32_t slot_index)
{
    meeting_slot *slot = &s->slots[slot_index];
    const meeting_class *class = &s->classes[slot->class_index];
    uint32_t stride = (uint32_t) class->meeting.stride;
    uint8_t bit = (uint8_t)(1U << class->hot.stream);
    slot->n_arrived = 0;
    slot->start_s = s->now_s;
    s->n_events += class->n;
    bool works = class->hot.work_s > 0;
    if (works) {
        begin_work(s, slot_index, class);
    }
    for (uint32_t k = 0; k < class->n; k++) {
        uint32_t rank_index = slot->first_rank + k * stride;
        rank_state *rank = &s->ranks[rank_index];
        if (class->hot.start_memory != 0) {
            galv_account_start(&s->accounts[rank_index], &s->results[rank_index],
                               &class->hot, &s->costs[slot->class_index], slot->op,
                               s->now_s);
        }
        if (works) {
            touch(s, rank_index);
            rank->running |= bit;
        } else {
            count_time(s, rank);
        }
        rank->waiting &= (uint8_t)~bit;
    }
    if (!works) {
        for (uint32_t k = 0; k < class->n; k++) {
            end_on_rank(s, slot, slot->first_rank + k * stride);
        }
        s->n_done += class->n;
        s->n_events += class->n;
    }
}

/* The head of a queue: has its turn come, it arrives at its slot. */
static void try_head(all_ranks *s, uint32_t queue_index)
{
    uint32_t rank_index = queue_index / GALV_N_STREAMS;
    uint32_t stream = queue_index % GALV_N_STREAMS;
    rank_state *rank = &s->ranks[rank_index];
    rank_queue *queue = &s->queues[queue_index];
    uint32_t op = queue->head;
    uint8_t bit = (uint8_t)(1U << stream);
    if (((rank->running | rank->waiting) & bit) != 0 ||
        op >= s->program->queue_begin[rank->stage * GALV_N_STREAMS + stream + 1]) {
        return;
    }
    const galv_program_op *ops = &s->program->ops[op];
    uint32_t offset = rank->place * GALV_N_STREAMS;
    for (uint32_t i = ops[0].first_dependency; i < ops[1].first_dependency; i++) {
        if (s->queues[s->before[i].queue + offset].head <= s->before[i].op) {
            return;
        }
    }
    const meeting_class *class = &s->classes[ops->class_index];
    uint32_t group = class->shift >= 0
                         ? rank->place >> class->shift
                         : galv_meeting_group(class->meeting, rank->place);
    queue->slot = class->first_slot + group;
    meeting_slot *slot = &s->slots[queue->slot];
    if (slot->n_arrived == 0) {
        slot->op = op;
        slot->class_index = ops->class_index;
        slot->first_rank =
            class->shift >= 0
                ? class->first_rank + (group << class->shift)
                : class->first_rank + galv_meeting_first_place(class->meeting, group);
    }
    assert(slot->op == op);
    if (++slot->n_arrived == class->n) {
        begin_slot(s, queue->slot);
    } else {
        count_time(s, rank);
        rank->waiting |= bit;
    }
}

static void settle(all_ranks *s)
{
    while (s->n_ready > 0) {
        uint32_t queue = s->ready[--s->n_ready];
        s->is_ready[queue] = 0;
        try_head(s, queue);
    }
    galv_all_ranks_settle_rates(s);
}

/* The next events come in time, not in memory: what they will touch is asked for while
 * one of them is worked on. */
static void prefetch_next(const all_ranks *s)
{
    const heap_entry *next = &s->heap[0];
    if (!(next->end_s < (double)INFINITY)) {
        return;
    }
    uint32_t at = next->block * GALV_BLOCK;
    while (s->ends[at] > next->end_s) {
        at++;
    }
    const meeting_slot *slot = &s->slots[at];
    uint32_t n = s->classes[slot->class_index].n;
    uint32_t stride = (uint32_t)s->classes[slot->class_index].meeting.stride;
    for (uint32_t k = 0; k < n && k < 8; k++) {
        uint32_t rank = slot->first_rank + k * stride;
        __builtin_prefetch(&s->ranks[rank], 1);
        __builtin_prefetch(&s->ranks[rank].spent_s[4], 1);
        __builtin_prefetch(&s->accounts[rank], 1);
        __builtin_prefetch(&s->results[rank].peak_bytes, 1);
        __builtin_prefetch(&s->queues[(size_t)rank * GALV_N_STREAMS], 1);
    }
    for (uint32_t i = 1; i < 5 && i < s->n_blocks; i++) {
        __builtin_prefetch(&s->slots[s->heap[i].block * GALV_BLOCK], 1);
        __builtin_prefetch(&s->ends[s->heap[i].block * GALV_BLOCK], 1);
    }
}

static void play(all_ranks *s)
{
    for (uint32_t queue = s->n_queues; queue > 0; queue--) {
        look_at(s, queue - 1);
    }
    settle(s);
    while (s->heap[0].end_s < (double)INFINITY) {
        s->now_s = s->heap[0].end_s;
        while (s->heap[0].end_s <= s->now_s) {
            uint32_t slot = pop(s);
            prefetch_next(s);
            if (s->slots[slot].latent) {
                begin_transfer(s, slot);
            } else {
                end_slot(s, slot);
            }
        }
        settle(s);
    }
}

/* ---- results ---- */

static galv_status make_timeline(galv_timeline *timeline, const all_ranks *s,
                                 galv_arena *arena, galv_err *err)
{
    int32_t n_stages = s->program->n_ranks;
    size_t n_samples = 0;
    for (int32_t pass = 0; pass < 2; pass++) { /* count, then copy */
        size_t n = 0;
        for (int32_t stage = 0; stage < n_stages; stage++) {
            const rank_account *account =
                &s->accounts[(uint32_t)stage * s->per_stage +
                             (uint32_t)s->options->record_place];
            if (pass == 1) {
                memcpy(&timeline->samples[n], account->samples,
                       account->n_samples * sizeof *account->samples);
            }
            n += account->n_samples;
        }
        n_samples = n;
        if (pass == 0) {
            timeline->samples = GALV_NEW_ARRAY(arena, galv_memory_sample, n);
            if (timeline->samples == NULL) {
                return galv_fail(err, GALV_NO_MEMORY, "no memory for a timeline");
            }
        }
    }
    timeline->n_ranks = n_stages;
    timeline->n_chunks = s->program->n_chunks;
    timeline->duration_s = s->now_s;
    timeline->n_spans = s->program->n_ops;
    timeline->spans = s->spans;
    timeline->n_samples = n_samples;
    return GALV_OK;
}

static galv_status fail_deadlock(const all_ranks *s, galv_err *err)
{
    for (uint32_t queue = 0; queue < s->n_queues; queue++) {
        const rank_state *rank = &s->ranks[queue / GALV_N_STREAMS];
        uint32_t op = s->queues[queue].head;
        if (op < s->program->queue_begin[rank->stage * GALV_N_STREAMS +
                                         queue % GALV_N_STREAMS + 1]) {
            char name[96];
            return galv_fail(err, GALV_INPUT, "the program deadlocks: %s never starts",
                             galv_program_name_op(name, sizeof name, s->program, op));
        }
    }
    return galv_fail(err, GALV_INTERNAL, "the simulation stopped early");
}

/* Brings what was counted into a rank's result. */
static void finish_rank(all_ranks *s, uint32_t rank_index)
{
    rank_state *rank = &s->ranks[rank_index];
    galv_rank_result *result = &s->results[rank_index];
    count_time(s, rank);
    result->end_s = rank->end_s;
    memcpy(result->spent_s, rank->spent_s, sizeof rank->spent_s);
    for (int stream = 0; stream < GALV_N_STREAMS; stream++) {
        result->comm_s[stream] =
            s->queues[(size_t)rank_index * GALV_N_STREAMS + (size_t)stream].busy_s;
    }
    s->accounts[rank_index].counted_s = s->now_s;
    galv_account_finish(&s->accounts[rank_index], result, s->now_s);
}

galv_status galv_all_ranks_simulate(galv_all_ranks_result *result,
                                    const galv_program *program, const galv_cost *costs,
                                    const galv_stage_memory *base,
                                    const galv_meeting *meetings,
                                    int32_t ranks_per_stage,
                                    const galv_all_ranks_options *options,
                                    galv_arena *arena, galv_err *err)
{
    all_ranks s = {0};
    s.program = program;
    s.costs = costs;
    s.options = options;
    s.per_stage = (uint32_t)ranks_per_stage;
    galv_status status = galv_all_ranks_set_up(&s, base, meetings, arena, err);
    if (status != GALV_OK) {
        return status;
    }
    play(&s);
    if (s.n_done < (uint64_t)program->n_ops * s.per_stage) {
        return fail_deadlock(&s, err);
    }
    double *waited_s = GALV_NEW_ARRAY(arena, double, s.n_ranks);
    if (waited_s == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for results");
    }
    for (uint32_t i = 0; i < s.n_ranks; i++) {
        finish_rank(&s, i);
        waited_s[i] = s.ranks[i].waited_s;
    }
    galv_all_ranks_result made = {0};
    if (options->record_place >= 0) {
        status = make_timeline(&made.sim.timeline, &s, arena, err);
    }
    made.ranks_per_stage = ranks_per_stage;
    made.sim.iteration_time_s = s.now_s;
    made.sim.n_events = s.n_events;
    made.sim.n_ranks = (int32_t)s.n_ranks;
    made.sim.ranks = s.results;
    made.waited_s = waited_s;
    made.spans = options->record_place == GALV_EVERY_PLACE ? s.spans : NULL;
    made.n_flow_changes = s.n_flow_changes;
    made.n_held_up = s.n_held_up;
    if (status == GALV_OK) {
        *result = made;
    }
    return status;
}

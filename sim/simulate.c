/* The engine: queues, what they wait for, and ranks by their next event.
 *
 * Model. Every (rank, stream) is a queue that runs its operations in order, one at a
 * time. An operation starts at the moment when the one before it and all its
 * dependencies have ended; nothing is decided at run time. The clock goes from one end
 * of an activity to the next; what ends and what starts changes the rates on its own
 * rank only (rates.c), so each rank keeps the earliest end of what runs there, and what
 * is looked for is the next rank, not the next activity: one of as many as the pipeline
 * is deep.
 *
 * Order of things at one moment: ranks by number, on a rank streams by number; what an
 * end sets free starts before the next end is looked at, and operations without work
 * end at once. So the same program and costs give the same bits.
 *
 * Cost. Setting up is linear in operations and dependencies; afterwards an operation
 * costs one start, one end, and two settings of a rank's rates. All memory is taken
 * before the clock starts. */
#include "sim/simulate_internal.h"

#include <math.h>
#include <string.h>

#define ROUNDING 1e-12

/* ---- starting and ending ---- */

void galv_sim_look_at(sim *s, uint32_t queue)
{
    if (s->is_ready[queue] == 0) {
        s->is_ready[queue] = 1;
        s->ready[s->n_ready++] = queue;
    }
}

/* What runs on a rank is about to change. */
static void touch(sim *s, int32_t rank)
{
    if (!s->ranks[rank].changed) {
        s->ranks[rank].changed = true;
        s->changed[s->n_changed++] = rank;
        galv_account_time(&s->ranks[rank].account, &s->results[rank], s->now_s);
    }
}

void galv_sim_free_followers(sim *s, uint32_t op)
{
    const uint32_t end = s->ops[op + 1].first_next;
    s->n_done++;
    for (uint32_t i = s->ops[op].first_next; i < end; i++) {
        uint32_t freed = s->next[i];
        hot_op *waits = &s->ops[freed];
        if (--waits->pending == 0 && s->queues[waits->queue].head == freed) {
            galv_sim_look_at(s, waits->queue);
        }
    }
}

/* The head of a queue has ended: bookkeeping, and whoever waited for it. */
static void end_head(sim *s, uint32_t queue_index, int32_t rank)
{
    sim_queue *queue = &s->queues[queue_index];
    uint32_t op = queue->head;
    const hot_class *class = &s->classes[queue->class_index];
    galv_rank_result *result = &s->results[rank];
    if (class->end_memory != 0) {
        galv_account_end(&s->ranks[rank].account, result, class,
                         &s->costs[queue->class_index], op, s->now_s);
    }
    result->comm_s[class->stream] += s->now_s - queue->start_s;
    result->end_s = s->now_s;
    if (s->spans != NULL) {
        s->spans[op].start_s = queue->start_s;
        s->spans[op].end_s = s->now_s;
    }
    queue->head = op + 1;
    s->n_events++;
    galv_sim_free_followers(s, op);
    galv_sim_look_at(s, queue_index);
}

/* Starts the head of an idle queue; ends it at once when it has no work. */
static void start_head(sim *s, uint32_t queue_index, int32_t rank)
{
    sim_queue *queue = &s->queues[queue_index];
    uint32_t op = queue->head;
    uint32_t class_index = s->ops[op].class_index;
    const hot_class *class = &s->classes[class_index];
    queue->class_index = class_index;
    queue->start_s = s->now_s;
    s->n_events++;
    if (class->start_memory != 0) {
        galv_account_start(&s->ranks[rank].account, &s->results[rank], class,
                           &s->costs[class_index], op, s->now_s);
    }
    if (class->work_s <= 0) {
        end_head(s, queue_index, rank);
        return;
    }
    touch(s, rank);
    if (s->bodies != NULL && galv_sim_has_body(s, class_index)) {
        galv_sim_enter_body(s, rank);
        return;
    }
    if (class->stream == GALV_STREAM_COMPUTE &&
        s->results[rank].comm_s[GALV_STREAM_COMPUTE] <= 0) {
        s->results[rank].begin_s = s->now_s;
    }
    queue->rate = 1;
    queue->end_s = s->now_s + class->work_s;
    s->ranks[rank].running |= (uint8_t)(1U << class->stream);
}

void galv_sim_set_breakdown(sim *s, int32_t rank)
{
    sim_rank *state = &s->ranks[rank];
    state->account.breakdown = GALV_BREAKDOWN_BUBBLE;
    if (state->running != 0) { /* streams are numbered in the order that counts */
        int stream = galv_sim_first_stream(state->running);
        const sim_queue *queue =
            &s->queues[(size_t)rank * GALV_N_STREAMS + (size_t)stream];
        state->account.breakdown = s->classes[queue->class_index].breakdown;
    }
}

/* Starts what may start now. */
static void start_ready(sim *s)
{
    while (s->n_ready > 0) {
        uint32_t queue_index = s->ready[--s->n_ready];
        sim_queue *queue = &s->queues[queue_index];
        int32_t rank = queue->rank;
        unsigned bit = 1U << (queue_index - (uint32_t)rank * GALV_N_STREAMS);
        s->is_ready[queue_index] = 0;
        if (queue->head < queue->end && (s->ranks[rank].running & bit) == 0 &&
            s->ops[queue->head].pending == 0) {
            start_head(s, queue_index, rank);
        }
    }
}

/* Starts all that can start now, and sets the rates where anything changed. */
static void settle(sim *s)
{
    do {
        start_ready(s);
    } while (s->bodies != NULL && galv_sim_play_body(s));
    for (int32_t i = 0; i < s->n_changed; i++) {
        int32_t rank = s->changed[i];
        s->ranks[rank].changed = false;
        if (s->ranks[rank].until_s > 0) {
            s->ranks[rank].next_s = galv_sim_next_announcement(s, rank);
        } else {
            galv_sim_set_breakdown(s, rank);
            galv_sim_set_rates(s, rank);
        }
        earliest_set(&s->next_ranks, (uint32_t)rank, s->ranks[rank].next_s);
    }
    s->n_changed = 0;
}

/* Ends what ends now on a rank, stream by stream. */
static void end_due(sim *s, int32_t rank)
{
    touch(s, rank);
    if (s->ranks[rank].until_s > 0 && !galv_sim_announce(s, rank)) {
        return;
    }
    unsigned running = s->ranks[rank].running;
    uint32_t first_queue = (uint32_t)rank * GALV_N_STREAMS;
    for (unsigned left = running; left != 0; left &= left - 1) {
        uint32_t stream = (uint32_t)galv_sim_first_stream(left);
        if (s->queues[first_queue + stream].end_s <= s->now_s) {
            s->ranks[rank].running &= (uint8_t) ~(1U << stream);
            end_head(s, first_queue + stream, rank);
        }
    }
}

/* Is even the longest path longer than stop_at_s? Then that is the time. Sums in
 * another order must not end above the engine's. */
static bool cannot_end_in_time(sim *s)
{
    if (!(s->options->stop_at_s > 0)) {
        return false;
    }
    double least_s = galv_sim_longest_path(s) * (1 - ROUNDING);
    if (least_s <= s->options->stop_at_s) {
        return false;
    }
    s->now_s = least_s;
    return true;
}

/* Plays the program; true when the clock passed stop_at_s. */
static bool play(sim *s)
{
    uint32_t n_queues = (uint32_t)s->program->n_ranks * GALV_N_STREAMS;
    for (uint32_t queue = n_queues; queue > 0; queue--) {
        galv_sim_look_at(s, queue - 1);
    }
    settle(s);
    while (earliest_time(&s->next_ranks) < (double)INFINITY) {
        int32_t rank = (int32_t)earliest_who(&s->next_ranks);
        s->now_s = earliest_time(&s->next_ranks);
        if (s->options->stop_at_s > 0 && s->now_s > s->options->stop_at_s) {
            return true;
        }
        end_due(s, rank);
        settle(s);
    }
    return false;
}

/* ---- setting up ---- */

/* Uses of memory that change, a bit each. */
_Static_assert(GALV_N_MEMORY_USES <= 8, "a mask of uses is one byte");

static uint8_t changed_uses(const double *bytes, double transient)
{
    unsigned changed = transient > 0 ? 1U << GALV_MEMORY_BUFFERS : 0;
    for (int use = 0; use < GALV_N_MEMORY_USES; use++) {
        if (bytes[use] < 0 || bytes[use] > 0) {
            changed |= 1U << use;
        }
    }
    return (uint8_t)changed;
}

void galv_sim_fill_classes(hot_class *classes, const galv_program *program,
                           const galv_cost *costs)
{
    for (uint32_t i = 0; i < program->n_classes; i++) {
        const galv_cost *cost = &costs[i];
        hot_class *class = &classes[i];
        class->work_s = cost->work_s;
        class->intra_share = cost->intra_share;
        class->inter_share = cost->inter_share;
        class->compute_slowdown = cost->compute_slowdown;
        class->comm_slowdown = cost->comm_slowdown;
        class->message_bytes = cost->message_bytes;
        class->stream = program->classes[i].stream;
        class->breakdown = galv_sim_breakdown_of(&program->classes[i]);
        class->start_memory = changed_uses(cost->start_bytes, cost->transient_bytes);
        class->end_memory = changed_uses(cost->end_bytes, cost->transient_bytes);
    }
}

/* Waits left of every op, and who follows it: dependencies turned round by a counting
 * sort. */
static void fill_waits(sim *s)
{
    const galv_program *program = s->program;
    hot_op *ops = s->ops;
    for (uint32_t i = 0; i < program->n_dependencies; i++) {
        ops[program->dependencies[i] + 2].first_next++;
    }
    for (uint32_t op = 0; op < program->n_ops; op++) {
        ops[op + 2].first_next += ops[op + 1].first_next;
    }
    for (uint32_t op = 0; op < program->n_ops; op++) {
        uint32_t begin = program->ops[op].first_dependency;
        uint32_t end = program->ops[op + 1].first_dependency;
        ops[op].class_index = program->ops[op].class_index;
        ops[op].pending = end - begin;
        for (uint32_t i = begin; i < end; i++) {
            s->next[ops[program->dependencies[i] + 1].first_next++] = op;
        }
    }
    uint32_t n_queues = (uint32_t)program->n_ranks * GALV_N_STREAMS;
    for (uint32_t queue = 0; queue < n_queues; queue++) {
        s->queues[queue].head = program->queue_begin[queue];
        s->queues[queue].end = program->queue_begin[queue + 1];
        s->queues[queue].rank = (int32_t)(queue / GALV_N_STREAMS);
        for (uint32_t op = s->queues[queue].head; op < s->queues[queue].end; op++) {
            ops[op].queue = queue;
        }
    }
}

size_t galv_sim_most_samples(const galv_program *program, const hot_class *classes,
                             int32_t rank)
{
    const uint32_t *begin = &program->queue_begin[(size_t)rank * GALV_N_STREAMS];
    size_t n = 1;
    for (uint32_t op = begin[0]; op < begin[GALV_N_STREAMS]; op++) {
        const hot_class *class = &classes[program->ops[op].class_index];
        n += class->start_memory != 0;
        n += class->end_memory != 0;
    }
    return n;
}

/* Room for every sample that a rank can write: one per change of memory. */
static bool make_samples(sim *s, galv_arena *arena)
{
    for (int32_t rank = 0; rank < s->program->n_ranks; rank++) {
        rank_account *account = &s->ranks[rank].account;
        account->sampled_as = rank;
        account->samples =
            GALV_NEW_ARRAY(arena, galv_memory_sample,
                           galv_sim_most_samples(s->program, s->classes, rank));
        if (account->samples == NULL) {
            return false;
        }
    }
    return true;
}

static bool set_up(sim *s, const galv_stage_memory *base, galv_arena *arena)
{
    const galv_program *program = s->program;
    size_t n_ranks = (size_t)program->n_ranks;
    size_t n_queues = n_ranks * GALV_N_STREAMS;
    galv_arena *scratch = galv_arena_scratch(arena);
    if (scratch == NULL) {
        return false;
    }
    s->scratch = scratch;
    s->classes = GALV_NEW_ARRAY(scratch, hot_class, program->n_classes);
    s->ops = GALV_NEW_ARRAY(scratch, hot_op, (size_t)program->n_ops + 2);
    s->next = GALV_NEW_ARRAY(scratch, uint32_t, program->n_dependencies);
    s->queues = GALV_NEW_ARRAY(scratch, sim_queue, n_queues);
    s->ranks = GALV_NEW_ARRAY(scratch, sim_rank, n_ranks);
    s->ready = GALV_NEW_ARRAY(scratch, uint32_t, n_queues);
    s->is_ready = GALV_NEW_ARRAY(scratch, uint8_t, n_queues);
    s->changed = GALV_NEW_ARRAY(scratch, int32_t, n_ranks);
    s->results = GALV_NEW_ARRAY(arena, galv_rank_result, n_ranks);
    if (s->classes == NULL || s->ops == NULL || s->next == NULL || s->queues == NULL ||
        s->ranks == NULL || s->ready == NULL || s->is_ready == NULL ||
        s->changed == NULL || s->results == NULL ||
        !earliest_init(&s->next_ranks, (uint32_t)n_ranks, scratch)) {
        return false;
    }
    galv_sim_fill_classes(s->classes, program, s->costs);
    fill_waits(s);
    if (!galv_sim_make_bodies(s)) {
        return false;
    }
    if (s->options->record_timeline) {
        s->spans = GALV_NEW_ARRAY(arena, galv_span, program->n_ops);
        if (s->spans == NULL || !make_samples(s, arena)) {
            return false;
        }
    }
    for (int32_t rank = 0; rank < program->n_ranks; rank++) {
        s->ranks[rank].next_s = INFINITY;
        galv_account_begin(&s->ranks[rank].account, &s->results[rank],
                           base == NULL ? NULL : &base[rank]);
    }
    return true;
}

/* ---- results ---- */

static galv_status fail_deadlock(const sim *s, galv_err *err)
{
    const galv_program *program = s->program;
    uint32_t n_queues = (uint32_t)program->n_ranks * GALV_N_STREAMS;
    for (uint32_t queue = 0; queue < n_queues; queue++) {
        uint32_t op = s->queues[queue].head;
        if (op == s->queues[queue].end) {
            continue;
        }
        char name[96];
        char other[96] = "nothing";
        for (uint32_t i = program->ops[op].first_dependency;
             i < program->ops[op + 1].first_dependency; i++) {
            uint32_t on = program->dependencies[i];
            if (on >= s->queues[s->ops[on].queue].head) {
                galv_program_name_op(other, sizeof other, program, on);
                break;
            }
        }
        return galv_fail(err, GALV_INPUT,
                         "the program deadlocks: %s never starts, it waits for %s",
                         galv_program_name_op(name, sizeof name, program, op), other);
    }
    return galv_fail(err, GALV_INTERNAL, "the simulation stopped early");
}

void galv_sim_fill_span(galv_span *span, const galv_program *program, uint32_t op,
                        const hot_class *class)
{
    const galv_operation *operation = &program->classes[program->ops[op].class_index];
    span->stream = operation->stream;
    span->kind = operation->kind;
    span->part = operation->part;
    span->pass = operation->pass;
    span->stage = operation->stage;
    span->chunk = operation->chunk;
    span->micro_batch = program->ops[op].micro_batch;
    span->first_layer = operation->first_layer;
    span->n_layers = operation->n_layers;
    span->bytes = class->message_bytes;
}

/* Spans by (rank, stream, start) are the program's order; those that never ran are left
 * out. */
static bool make_timeline(galv_timeline *timeline, sim *s, galv_arena *arena)
{
    int32_t n_ranks = s->program->n_ranks;
    size_t n_spans = 0;
    for (uint32_t op = 0; op < s->program->n_ops; op++) {
        if (op < s->queues[s->ops[op].queue].head) {
            s->spans[op].rank = (int32_t)(s->ops[op].queue / GALV_N_STREAMS);
            galv_sim_fill_span(&s->spans[op], s->program, op,
                               &s->classes[s->program->ops[op].class_index]);
            s->spans[n_spans++] = s->spans[op];
        }
    }
    size_t n_samples = 0;
    for (int32_t rank = 0; rank < n_ranks; rank++) {
        n_samples += s->ranks[rank].account.n_samples;
    }
    galv_memory_sample *samples = GALV_NEW_ARRAY(arena, galv_memory_sample, n_samples);
    if (samples == NULL) {
        return false;
    }
    size_t at = 0;
    for (int32_t rank = 0; rank < n_ranks; rank++) {
        memcpy(&samples[at], s->ranks[rank].account.samples,
               s->ranks[rank].account.n_samples * sizeof *samples);
        at += s->ranks[rank].account.n_samples;
    }
    memset(timeline, 0, sizeof *timeline);
    timeline->n_ranks = n_ranks;
    timeline->n_chunks = s->program->n_chunks;
    timeline->duration_s = s->now_s;
    timeline->n_spans = n_spans;
    timeline->spans = s->spans;
    timeline->n_samples = n_samples;
    timeline->samples = samples;
    return true;
}

galv_status galv_simulate(galv_sim_result *result, const galv_program *program,
                          const galv_cost *costs, const galv_stage_memory *base,
                          const galv_sim_options *options, galv_arena *arena,
                          galv_err *err)
{
    sim s = {0};
    s.program = program;
    s.costs = costs;
    s.options = options;
    if (!set_up(&s, base, arena)) {
        return galv_fail(err, GALV_NO_MEMORY,
                         "a simulation of %u operations does not fit in memory",
                         (unsigned)program->n_ops);
    }
    bool stopped = cannot_end_in_time(&s) || play(&s);
    if (!stopped && s.n_done < program->n_ops) {
        return fail_deadlock(&s, err);
    }
    for (int32_t rank = 0; rank < program->n_ranks; rank++) {
        galv_account_finish(&s.ranks[rank].account, &s.results[rank], s.now_s);
    }
    galv_timeline timeline = {0};
    if (s.spans != NULL && !make_timeline(&timeline, &s, arena)) {
        return galv_fail(err, GALV_NO_MEMORY,
                         "a timeline of %u spans does not fit in "
                         "memory",
                         (unsigned)program->n_ops);
    }
    result->iteration_time_s = s.now_s;
    result->stopped = stopped;
    result->n_events = s.n_events;
    result->n_ranks = program->n_ranks;
    result->ranks = s.results;
    result->timeline = timeline;
    return GALV_OK;
}

/* Passes that are single operations, played by themselves.
 *
 * While a rank is at a pass, nothing that other ranks do can make anything start or end
 * there: what comes in is looked at when the pass is over, and a received message takes
 * no time of its own. So when a pass begins, all of it is played at once, with what
 * else runs on the rank: its messages to other stages and those of parameters that are
 * under way. The clock of the rank runs ahead by that. Others must not know before it
 * is time: that a message has been sent is announced when the common clock is there;
 * messages of parameters are waited for only by what waits for the rank itself as well.
 *
 * The play is the engine's own: the same rates, the same account, in the same order, so
 * that the same bits come out. With nothing beside it but a message that starts with
 * it, as is usual, a pass goes as it went before; who asks for no more than that
 * (repeat_passes) is spared most plays, and gets the same up to rounding. */
#include "sim/simulate_internal.h"

#include <math.h>
#include <string.h>

/* A pass as it was played once, from time 0 with nothing held, and with nothing beside
 * it but perhaps a message to another stage that started with it. */
typedef struct record {
    struct record *next;
    bool sends; /* such a message, of this class */
    uint32_t class_index;
    bool sent;     /* it ended before the pass did: */
    double sent_s; /* then, or what it would take if nothing changed */
    double rate;
    double took_s;
    rank_account account; /* what changed */
    galv_rank_result result;
} record;

/* A pass, ready to be played. */
typedef struct body {
    record *records;
    const galv_program_body *made;
    uint32_t *waits;      /* [n_ops] how many it waits for */
    uint32_t *first_next; /* [n_ops + 1] */
    uint32_t *next;       /* who waits for it */
    uint32_t *order;      /* [n_ops] ops by stream */
    uint32_t first[GALV_N_STREAMS + 1];
} body;

typedef struct sim_bodies {
    body **of;         /* [n_classes] */
    uint32_t *pending; /* [most ops of one] of the pass that is played */
    double *sent_s;    /* [n_ops] when a message has ended that is not announced yet */
    int32_t *entered;  /* [n_ranks] whose pass begins now */
    int32_t n_entered;
} sim_bodies;

static uint32_t stream_of(const sim *s, const body *b, uint32_t op)
{
    return s->classes[b->made->classes[op]].stream;
}

static bool turn_waits(body *b, galv_arena *scratch)
{
    uint32_t n_ops = b->made->n_ops;
    const uint32_t *first_wait = b->made->first_wait;
    b->waits = GALV_NEW_ARRAY(scratch, uint32_t, n_ops);
    b->first_next = GALV_NEW_ARRAY(scratch, uint32_t, n_ops + 2);
    b->next = GALV_NEW_ARRAY(scratch, uint32_t, first_wait[n_ops]);
    if (!b->waits || !b->first_next || !b->next) {
        return false;
    }
    for (uint32_t i = 0; i < first_wait[n_ops]; i++) {
        b->first_next[b->made->waits[i] + 2]++;
    }
    for (uint32_t op = 0; op < n_ops; op++) {
        b->first_next[op + 2] += b->first_next[op + 1];
    }
    for (uint32_t op = 0; op < n_ops; op++) {
        b->waits[op] = first_wait[op + 1] - first_wait[op];
        for (uint32_t i = first_wait[op]; i < first_wait[op + 1]; i++) {
            b->next[b->first_next[b->made->waits[i] + 1]++] = op;
        }
    }
    return true;
}

static body *make_body(const sim *s, const galv_program_body *from, galv_arena *scratch)
{
    body *b = GALV_NEW(scratch, body);
    uint32_t *order = GALV_NEW_ARRAY(scratch, uint32_t, from->n_ops);
    if (b == NULL || order == NULL) {
        return NULL;
    }
    b->made = from;
    b->order = order;
    for (int stream = 0; stream < GALV_N_STREAMS; stream++) {
        b->first[stream + 1] = b->first[stream];
        for (uint32_t op = 0; op < from->n_ops; op++) {
            if (stream_of(s, b, op) == (uint32_t)stream) {
                order[b->first[stream + 1]++] = op;
            }
        }
    }
    return turn_waits(b, scratch) ? b : NULL;
}

bool galv_sim_make_bodies(sim *s)
{
    const galv_program *program = s->program;
    uint32_t most = 0;
    if (program->bodies == NULL) {
        return true;
    }
    sim_bodies *made = GALV_NEW(s->scratch, sim_bodies);
    if (made == NULL) {
        return false;
    }
    made->of = GALV_NEW_ARRAY(s->scratch, body *, program->n_classes);
    made->sent_s = GALV_NEW_ARRAY(s->scratch, double, program->n_ops);
    made->entered = GALV_NEW_ARRAY(s->scratch, int32_t, program->n_ranks);
    for (uint32_t i = 0; made->of != NULL && i < program->n_classes; i++) {
        if (program->bodies[i] != NULL) {
            made->of[i] = make_body(s, program->bodies[i], s->scratch);
            most = program->bodies[i]->n_ops > most ? program->bodies[i]->n_ops : most;
            if (made->of[i] == NULL) {
                return false;
            }
        }
    }
    made->pending = GALV_NEW_ARRAY(s->scratch, uint32_t, most);
    s->bodies = made;
    return made->of && made->sent_s && made->entered && made->pending;
}

bool galv_sim_has_body(const sim *s, uint32_t class_index)
{
    return s->bodies->of[class_index] != NULL;
}

void galv_sim_enter_body(sim *s, int32_t rank)
{
    s->bodies->entered[s->bodies->n_entered++] = rank;
    s->ranks[rank].running |= 1U << GALV_STREAM_COMPUTE;
}

/* ---- playing ---- */

typedef struct player {
    sim *s;
    int32_t rank;
    const body *body;
    uint32_t op;                 /* the pass in the program */
    uint32_t at[GALV_N_STREAMS]; /* next of body->order */
    uint32_t n_left;
    unsigned look; /* streams that may have something to start, a bit each */
    sim_queue *queues;
} player;

static bool is_of_pass(int stream)
{
    return stream <= GALV_STREAM_EP;
}

/* What is at the head of a stream has ended. */
static void end(player *p, int stream)
{
    sim *s = p->s;
    sim_queue *queue = &p->queues[stream];
    const hot_class *class = &s->classes[queue->class_index];
    galv_rank_result *result = &s->results[p->rank];
    uint32_t op = is_of_pass(stream) ? p->op : queue->head;
    if (class->end_memory != 0) {
        galv_account_end(&s->ranks[p->rank].account, result, class,
                         &s->costs[queue->class_index], op, s->now_s);
    }
    result->comm_s[stream] += s->now_s - queue->start_s;
    result->end_s = s->now_s;
    p->look |= 1U << stream;
    if (!is_of_pass(stream)) {
        queue->head++;
        if (stream == GALV_STREAM_PP_SEND) {
            s->bodies->sent_s[op] = s->now_s;
        } else {
            galv_sim_free_followers(s, op);
        }
        return;
    }
    uint32_t i = p->body->order[p->at[stream]++];
    p->n_left--;
    for (uint32_t k = p->body->first_next[i]; k < p->body->first_next[i + 1]; k++) {
        uint32_t freed = p->body->next[k];
        if (--s->bodies->pending[freed] == 0) {
            p->look |= 1U << stream_of(s, p->body, freed);
        }
    }
}

/* Can the head of a stream start? Its class then. */
static bool is_startable(const player *p, int stream, uint32_t *class_index)
{
    const sim *s = p->s;
    if (is_of_pass(stream)) {
        uint32_t at = p->at[stream];
        if (at == p->body->first[stream + 1] ||
            s->bodies->pending[p->body->order[at]] > 0) {
            return false;
        }
        *class_index = p->body->made->classes[p->body->order[at]];
        return true;
    }
    const sim_queue *queue = &p->queues[stream];
    if (queue->head == queue->end || s->ops[queue->head].pending > 0) {
        return false;
    }
    *class_index = s->ops[queue->head].class_index;
    return true;
}

static void start(player *p, int stream)
{
    sim *s = p->s;
    sim_queue *queue = &p->queues[stream];
    uint32_t class_index = 0;
    if (!is_startable(p, stream, &class_index)) {
        return;
    }
    const hot_class *class = &s->classes[class_index];
    galv_rank_result *result = &s->results[p->rank];
    queue->class_index = class_index;
    queue->start_s = s->now_s;
    if (class->start_memory != 0) {
        galv_account_start(&s->ranks[p->rank].account, result, class,
                           &s->costs[class_index],
                           is_of_pass(stream) ? p->op : queue->head, s->now_s);
    }
    if (class->work_s <= 0) {
        end(p, stream);
        return;
    }
    if (stream == GALV_STREAM_COMPUTE && result->comm_s[stream] <= 0) {
        result->begin_s = s->now_s;
    }
    queue->rate = 1;
    queue->end_s = s->now_s + class->work_s;
    s->ranks[p->rank].running |= (uint8_t)(1U << stream);
}

/* Goes on until the pass is over; the clock is then where it is. */
static void play(player *p)
{
    sim *s = p->s;
    sim_rank *state = &s->ranks[p->rank];
    for (;;) {
        while (p->look != 0) {
            int stream = galv_sim_first_stream(p->look);
            p->look &= p->look - 1;
            if ((state->running >> stream & 1U) == 0) {
                start(p, stream);
            }
        }
        if (p->n_left == 0 || state->running == 0) {
            return;
        }
        galv_sim_set_breakdown(s, p->rank);
        galv_sim_set_rates(s, p->rank);
        s->now_s = state->next_s;
        galv_account_time(&state->account, &s->results[p->rank], s->now_s);
        for (unsigned left = state->running; left != 0; left &= left - 1) {
            int stream = galv_sim_first_stream(left);
            if (p->queues[stream].end_s <= s->now_s) {
                state->running &= (uint8_t) ~(1U << stream);
                end(p, stream);
            }
        }
    }
}

/* Plays a pass that begins now. */
static void play_pass(sim *s, int32_t rank, const body *b, uint32_t op)
{
    sim_rank *state = &s->ranks[rank];
    player p = {.s = s,
                .rank = rank,
                .body = b,
                .op = op,
                .n_left = b->made->n_ops,
                .look = (1U << (GALV_STREAM_EP + 1)) - 1,
                .queues = &s->queues[(size_t)rank * GALV_N_STREAMS]};
    memcpy(p.at, b->first, sizeof p.at);
    memcpy(s->bodies->pending, b->waits, b->made->n_ops * sizeof *b->waits);
    state->running &= (uint8_t) ~(1U << GALV_STREAM_COMPUTE);
    play(&p);
    state->until_s = s->now_s;
    state->running |= 1U << GALV_STREAM_COMPUTE;
}

/* ---- again ---- */

/* Plays it from nothing, at time 0, with the message beside it that starts with it. */
static void make_record(record *made, sim *s, int32_t rank, const body *b, uint32_t op)
{
    static const rank_account nothing;
    static const galv_rank_result none;
    sim_rank *state = &s->ranks[rank];
    sim_queue *send = &s->queues[(size_t)rank * GALV_N_STREAMS + GALV_STREAM_PP_SEND];
    const sim_rank before = *state;
    const sim_queue sending = *send;
    const galv_rank_result result = s->results[rank];
    const double now_s = s->now_s;
    state->account = nothing;
    state->account.breakdown = before.account.breakdown;
    s->results[rank] = none;
    s->now_s = send->start_s = 0;
    send->end_s = made->sends ? s->classes[send->class_index].work_s : 0;
    play_pass(s, rank, b, op);
    made->took_s = state->until_s;
    made->sent = made->sends && send->head > sending.head;
    made->sent_s = made->sent ? s->bodies->sent_s[sending.head] : send->end_s;
    made->rate = send->rate;
    made->account = state->account;
    made->result = s->results[rank];
    *send = sending;
    *state = before;
    s->results[rank] = result;
    s->now_s = now_s;
}

/* What the play of a pass would have left behind. */
static void repeat_record(const record *r, sim *s, int32_t rank, uint32_t op)
{
    sim_rank *state = &s->ranks[rank];
    galv_rank_result *result = &s->results[rank];
    sim_queue *send = &s->queues[(size_t)rank * GALV_N_STREAMS + GALV_STREAM_PP_SEND];
    double *uses = state->account.use_bytes;
    double held = 0;
    for (int use = 0; use < GALV_N_MEMORY_USES; use++) {
        held += uses[use];
    }
    if (held + r->result.peak_bytes > result->peak_bytes) {
        result->peak_bytes = held + r->result.peak_bytes;
        result->peak_time_s = s->now_s + r->result.peak_time_s;
        result->peak_op = op;
        for (int use = 0; use < GALV_N_MEMORY_USES; use++) {
            result->peak_use_bytes[use] = uses[use] + r->result.peak_use_bytes[use];
        }
    }
    for (int use = 0; use < GALV_N_MEMORY_USES; use++) {
        uses[use] += r->account.use_bytes[use];
    }
    for (int part = 0; part < GALV_N_BREAKDOWNS; part++) {
        result->spent_s[part] += r->result.spent_s[part];
    }
    for (int stream = 0; stream < GALV_N_STREAMS; stream++) {
        result->comm_s[stream] += r->result.comm_s[stream];
    }
    state->until_s = s->now_s + r->took_s;
    state->account.counted_s = state->until_s;
    state->account.breakdown = r->account.breakdown;
    result->end_s = state->until_s;
    if (r->sent) {
        s->bodies->sent_s[send->head++] = s->now_s + r->sent_s;
        state->running &= (uint8_t) ~(1U << GALV_STREAM_PP_SEND);
    } else if (r->sends) {
        send->end_s = s->now_s + r->sent_s;
        send->rate = r->rate;
    }
}

/* Is nothing beside a pass but, at most, a message that starts at the same moment? */
static bool begins_afresh(const sim *s, int32_t rank)
{
    const sim_queue *send =
        &s->queues[(size_t)rank * GALV_N_STREAMS + GALV_STREAM_PP_SEND];
    const unsigned running = s->ranks[rank].running &
                             ~(1U << GALV_STREAM_COMPUTE | 1U << GALV_STREAM_PP_SEND);
    bool sends = (s->ranks[rank].running >> GALV_STREAM_PP_SEND & 1U) != 0;
    bool fresh = !sends || (send->start_s >= s->now_s && send->rate >= 1);
    /* the first computation of a rank is noted */
    return running == 0 && fresh && s->results[rank].comm_s[GALV_STREAM_COMPUTE] > 0;
}

/* The record of a pass; NULL when memory is out. */
static const record *find_record(sim *s, int32_t rank, body *b, uint32_t op)
{
    const sim_queue *send =
        &s->queues[(size_t)rank * GALV_N_STREAMS + GALV_STREAM_PP_SEND];
    bool sends = (s->ranks[rank].running >> GALV_STREAM_PP_SEND & 1U) != 0;
    for (const record *at = b->records; at != NULL; at = at->next) {
        if (at->sends == sends && (!sends || at->class_index == send->class_index)) {
            return at;
        }
    }
    record *made = GALV_NEW(s->scratch, record);
    if (made != NULL) {
        made->sends = sends;
        made->class_index = send->class_index;
        make_record(made, s, rank, b, op);
        made->next = b->records;
        b->records = made;
    }
    return made;
}

bool galv_sim_play_body(sim *s)
{
    if (s->bodies->n_entered == 0) {
        return false;
    }
    int32_t rank = s->bodies->entered[--s->bodies->n_entered];
    sim_rank *state = &s->ranks[rank];
    sim_queue *queues = &s->queues[(size_t)rank * GALV_N_STREAMS];
    sim_queue *compute = &queues[GALV_STREAM_COMPUTE];
    uint32_t op = compute->head;
    uint32_t class_index = s->ops[op].class_index;
    body *b = s->bodies->of[class_index];
    const double now_s = s->now_s;
    const record *known = NULL;
    if (s->options->repeat_passes && begins_afresh(s, rank)) {
        known = find_record(s, rank, b, op);
    }
    state->announced = queues[GALV_STREAM_PP_SEND].head;
    if (known != NULL) {
        repeat_record(known, s, rank, op);
    } else {
        play_pass(s, rank, b, op);
        s->now_s = now_s;
    }
    compute->class_index = class_index;
    compute->start_s = compute->end_s = state->until_s; /* what it took is counted */
    compute->rate = 1;
    return true;
}

/* ---- telling ---- */

double galv_sim_next_announcement(const sim *s, int32_t rank)
{
    const sim_rank *state = &s->ranks[rank];
    const sim_queue *sends =
        &s->queues[(size_t)rank * GALV_N_STREAMS + GALV_STREAM_PP_SEND];
    return state->announced < sends->head
               ? fmin(s->bodies->sent_s[state->announced], state->until_s)
               : state->until_s;
}

bool galv_sim_announce(sim *s, int32_t rank)
{
    sim_rank *state = &s->ranks[rank];
    const sim_queue *sends =
        &s->queues[(size_t)rank * GALV_N_STREAMS + GALV_STREAM_PP_SEND];
    while (state->announced < sends->head &&
           s->bodies->sent_s[state->announced] <= s->now_s) {
        galv_sim_free_followers(s, state->announced++);
    }
    if (s->now_s < state->until_s) {
        return false;
    }
    state->until_s = 0;
    return true;
}

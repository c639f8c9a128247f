/* When a message is under way: what of a send and of its receive is communication.
 *
 * A receive is posted long before its message is sent, and a send may be noticed to
 * have ended long after. What either waits for the other rank is the pipeline's bubble,
 * or hidden behind computation, and no communication. A message moves from when both
 * have been posted; where the backend moves nothing while its rank computes
 * (moves_when_called), from the end of the receiver's last computation before it was
 * there; and until it was there.
 *
 * Send and receive find each other by the micro-batch, the direction, the boundary
 * between layers and the place among the ranks of their stages. Where parts go to more
 * ranks than they come from (layers spread differently), a receive begins with the
 * first of the sends, and these stay as they are. */
#include "exec/trainer_internal.h"

#include <stdlib.h>

/* The layer that the message goes to or comes from, the same for both its ends. */
static int32_t boundary_of(const galv_span *s)
{
    bool forward = s->pass == GALV_OP_FORWARD;
    bool after = forward == (s->kind == GALV_OP_SEND);
    return after ? s->first_layer + s->n_layers : s->first_layer;
}

static int by_message(const galv_span *p, const galv_span *q)
{
    int32_t differ = p->micro_batch - q->micro_batch;
    differ = differ != 0 ? differ : p->pass - q->pass;
    return differ != 0 ? differ : boundary_of(p) - boundary_of(q);
}

static int by_message_and_rank(const void *a, const void *b)
{
    const galv_span *p = *(galv_span *const *)a;
    const galv_span *q = *(galv_span *const *)b;
    int order = by_message(p, q);
    return order != 0 ? order : p->rank - q->rank;
}

static int by_rank_and_end(const void *a, const void *b)
{
    const galv_span *p = *(galv_span *const *)a;
    const galv_span *q = *(galv_span *const *)b;
    int32_t differ = p->rank - q->rank;
    return differ != 0 ? differ : (p->end_s > q->end_s) - (p->end_s < q->end_s);
}

/* Spans of one kind, in an order. */
typedef struct choice {
    galv_span **spans;
    size_t n;
} choice;

static choice choose(galv_span **room, galv_timeline *t, galv_op_kind kind,
                     int (*order)(const void *, const void *))
{
    choice chosen = {.spans = room};
    for (size_t i = 0; i < t->n_spans; i++) {
        galv_span *span = &t->spans[i];
        bool computes = span->stream == GALV_STREAM_COMPUTE;
        if (kind == GALV_OP_FORWARD ? computes : !computes && span->kind == kind) {
            room[chosen.n++] = span;
        }
    }
    qsort(room, chosen.n, sizeof *room, order);
    return chosen;
}

/* The end of the last computation of the rank that was over at `before_s`, or 0. */
static double attentive_from(const choice *computations, int32_t rank, double before_s)
{
    size_t low = 0;
    size_t high = computations->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const galv_span *span = computations->spans[middle];
        bool later = span->rank != rank ? span->rank > rank : span->end_s > before_s;
        if (later) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    const galv_span *last = low > 0 ? computations->spans[low - 1] : NULL;
    return last != NULL && last->rank == rank ? last->end_s : 0;
}

static double at_most(double time_s, double limit_s)
{
    return time_s < limit_s ? time_s : limit_s;
}

static double at_least(double time_s, double limit_s)
{
    return time_s > limit_s ? time_s : limit_s;
}

static void trim_pair(galv_span *send, galv_span *recv, double attentive_s)
{
    double posted_s = at_least(send->start_s, recv->start_s);
    double moves_s = at_least(posted_s, attentive_s);
    double there_s = at_least(recv->end_s, send->start_s);
    recv->start_s = at_most(moves_s, recv->end_s);
    send->end_s = at_most(send->end_s, there_s);
    send->start_s = at_most(moves_s, send->end_s);
}

/* One message, or several of one micro-batch over one boundary. */
static void trim_group(galv_span **sends, size_t n_sends, galv_span **recvs,
                       size_t n_recvs, const choice *computations)
{
    for (size_t i = 0; i < n_recvs; i++) {
        double attentive_s =
            computations != NULL
                ? attentive_from(computations, recvs[i]->rank, recvs[i]->end_s)
                : 0;
        if (n_sends == n_recvs) {
            trim_pair(sends[i], recvs[i], attentive_s);
            continue;
        }
        double sent_s = sends[0]->start_s;
        for (size_t k = 1; k < n_sends; k++) {
            sent_s = at_most(sent_s, sends[k]->start_s);
        }
        recvs[i]->start_s =
            at_most(at_least(at_least(sent_s, attentive_s), recvs[i]->start_s),
                    recvs[i]->end_s);
    }
}

/* As many as are of one message with the first. */
static size_t count_alike(const choice *all, size_t first)
{
    size_t n = 1;
    while (first + n < all->n &&
           by_message(all->spans[first], all->spans[first + n]) == 0) {
        n++;
    }
    return n;
}

galv_status galv_timeline_trim_messages(galv_timeline *t, bool moves_when_called,
                                        galv_err *err)
{
    galv_span **room = calloc(3 * (t->n_spans + 1), sizeof *room);
    if (room == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for the timeline");
    }
    choice sends = choose(room, t, GALV_OP_SEND, by_message_and_rank);
    choice recvs = choose(room + t->n_spans, t, GALV_OP_RECV, by_message_and_rank);
    choice computations =
        choose(room + 2 * t->n_spans, t, GALV_OP_FORWARD, by_rank_and_end);
    size_t send = 0;
    size_t recv = 0;
    while (send < sends.n && recv < recvs.n) {
        int order = by_message(sends.spans[send], recvs.spans[recv]);
        size_t n_sends = order <= 0 ? count_alike(&sends, send) : 0;
        size_t n_recvs = order >= 0 ? count_alike(&recvs, recv) : 0;
        if (order == 0) {
            trim_group(sends.spans + send, n_sends, recvs.spans + recv, n_recvs,
                       moves_when_called ? &computations : NULL);
        }
        send += n_sends;
        recv += n_recvs;
    }
    free(room);
    return GALV_OK;
}

/* The streams of the host backend.
 *
 * A stream is a queue of what is not done yet: communication, marks, waits, memory to
 * give back. Computation never waits in a queue: it is done when it is called, after
 * its own stream has been emptied (galv_host_drain). So a stream without communication
 * is always empty, and costs nothing.
 *
 * There is no thread: communication goes on when the backend is called. An item starts
 * when all before it in its stream are done. One exception: sends and receives that
 * stand next to each other go together, as long as their buffers do not overlap (nobody
 * can tell the difference, except that two ranks which both send to each other, then
 * receive, on one stream, do not lock). What waits for other ranks keeps all streams
 * going, so a rank never stops another by the order in which its own work is queued. */
#include "exec/host_internal.h"

#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

double galv_host_now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* The longer a rank has waited the longer it sleeps, an eighth of its wait (what is
 * seen late is late by so much), so that a long wait costs next to nothing. Not so
 * while a long message may be on its way: MPI passes it on piece by piece, when it is
 * called. */
void galv_host_nap(int n_tries, bool passes_on)
{
    const long least_ns = 50000; /* the timer's own slack */
    const long most_ns = 1000000;
    if (n_tries < HOST_YIELDS) {
        sched_yield();
        return;
    }
    long ns = least_ns;
    for (int i = HOST_YIELDS; !passes_on && i < n_tries && ns < most_ns; i++) {
        ns += ns / 8;
    }
    nanosleep(&(struct timespec){.tv_nsec = ns < most_ns ? ns : most_ns}, NULL);
}

host_item *galv_host_item_new(host *h, host_item_kind kind)
{
    host_item *item = h->spare;
    if (item != NULL) {
        h->spare = item->next;
        galv_letter *letters = item->letters;
        int n_allocated = item->n_allocated;
        memset(item, 0, sizeof *item);
        item->letters = letters;
        item->n_allocated = n_allocated;
    } else {
        item = calloc(1, sizeof *item);
        if (item == NULL) {
            galv_host_fail(h, GALV_NO_MEMORY, "out of memory");
            return NULL;
        }
    }
    item->kind = kind;
    return item;
}

void galv_host_push(host *h, galv_stream stream, host_item *item)
{
    host_stream *queue = &h->streams[stream];
    item->next = NULL;
    if (queue->last == NULL) {
        queue->first = item;
    } else {
        queue->last->next = item;
    }
    queue->last = item;
    h->n_waiting++;
    galv_host_progress(h);
}

static void item_end(host_item *item)
{
    free(item->begins);
    free(item->work);
    item->begins = NULL;
    item->work = NULL;
    item->done = true;
}

static size_t item_bytes(const host_item *item)
{
    return item->n * HOST_VALUE_BYTES;
}

static bool overlap(const char *a, size_t a_bytes, const char *b, size_t b_bytes)
{
    return a != NULL && b != NULL && a < b + b_bytes && b < a + a_bytes;
}

/* Whether a message may go beside an earlier one of its stream that is under way. */
static bool may_pass(const host_item *later, const host_item *earlier)
{
    size_t n_later = item_bytes(later);
    size_t n_earlier = item_bytes(earlier);
    return !overlap(later->out, n_later, earlier->out, n_earlier) &&
           !overlap(later->out, n_later, earlier->in, n_earlier) &&
           !overlap(later->in, n_later, earlier->out, n_earlier);
}

static bool may_start(const host_stream *queue, const host_item *item, bool alone)
{
    if (alone) {
        return true;
    }
    if (item->kind != HOST_MESSAGE) {
        return false;
    }
    for (const host_item *earlier = queue->first; earlier != item;
         earlier = earlier->next) {
        if (!earlier->done && earlier->kind == HOST_MESSAGE &&
            !may_pass(item, earlier)) {
            return false;
        }
    }
    return true;
}

/* Steps a communication as far as it goes. */
static void communicate(host *h, host_item *item)
{
    if (!item->started) {
        item->started = true;
        if (item->step(h, item)) {
            item_end(item);
            return;
        }
    }
    for (;;) {
        bool complete = item->n_letters == 0;
        if (!complete &&
            !h->mail->arrived(h->mail, &complete, item->letters, item->n_letters)) {
            galv_host_fail(h, GALV_IO, "communication failed: a rank has gone?");
            return;
        }
        if (!complete ||
            (item->not_before_s > 0 && galv_host_now_s() < item->not_before_s)) {
            return;
        }
        item->not_before_s = 0;
        item->n_letters = 0;
        h->n_long -= item->is_long;
        item->is_long = false;
        item->phase++;
        if (item->step(h, item)) {
            item_end(item);
            return;
        }
    }
}

static void stamp(host *h, galv_event event)
{
    h->events[event].time_s = galv_host_now_s();
    h->events[event].done = true;
}

/* Lets one stream go on; false when an item holds up all behind it. `alone`: all items
 * before are done. */
static bool advance(host *h, const host_stream *queue, host_item *item, bool alone)
{
    switch (item->kind) {
    case HOST_COMMUNICATE:
    case HOST_MESSAGE:
        if (!item->started && !may_start(queue, item, alone)) {
            return false;
        }
        communicate(h, item);
        return item->done || item->kind == HOST_MESSAGE;
    case HOST_RECORD:
        if (alone) {
            stamp(h, item->event);
            item->done = true;
        }
        return true;
    case HOST_RELEASE:
        if (alone) {
            galv_host_recycle(h, item->memory);
            item->done = true;
        }
        return true;
    case HOST_WAIT:
        item->done = h->events[item->event].done;
        return item->done;
    }
    return false;
}

static void progress_stream(host *h, host_stream *queue)
{
    bool alone = true;
    for (host_item *item = queue->first; item != NULL && h->err.status == GALV_OK;
         item = item->next) {
        if (!item->done && !advance(h, queue, item, alone)) {
            break;
        }
        alone = alone && item->done;
    }
    while (queue->first != NULL && queue->first->done) {
        host_item *item = queue->first;
        queue->first = item->next;
        if (queue->first == NULL) {
            queue->last = NULL;
        }
        item->next = h->spare;
        h->spare = item;
        h->n_waiting--;
    }
}

void galv_host_progress(host *h)
{
    if (h->n_waiting == 0 || h->err.status != GALV_OK) {
        return;
    }
    for (int stream = 0; stream < GALV_N_STREAMS; stream++) {
        progress_stream(h, &h->streams[stream]);
    }
}

void galv_host_drain(host *h, galv_stream stream)
{
    int n_tries = 0;
    while (h->streams[stream].first != NULL && h->err.status == GALV_OK) {
        galv_host_progress(h);
        if (h->streams[stream].first == NULL) {
            break;
        }
        if (n_tries % 64 == 63) {
            galv_host_listen(h);
        }
        if (h->mail != NULL) {
            h->mail->rest(h->mail, n_tries, h->n_long > 0);
        } else {
            galv_host_nap(n_tries, false);
        }
        n_tries = n_tries < INT_MAX ? n_tries + 1 : HOST_YIELDS;
    }
}

static galv_event record(galv_backend *b, galv_stream stream)
{
    host *h = (host *)b;
    if (h->n_events == h->n_events_allocated) {
        size_t n = h->n_events_allocated < 64 ? 64 : 2 * h->n_events_allocated;
        host_event *events =
            n < INT32_MAX ? realloc(h->events, n * sizeof *events) : NULL;
        if (events == NULL) {
            galv_host_fail(h, GALV_NO_MEMORY, "out of memory");
            return 0;
        }
        h->events = events;
        h->n_events_allocated = n;
    }
    galv_event event = (galv_event)h->n_events++;
    h->events[event] = (host_event){.time_s = h->start_s, .done = false};
    galv_host_progress(h);
    if (h->streams[stream].first == NULL) {
        stamp(h, event);
        return event;
    }
    host_item *item = galv_host_item_new(h, HOST_RECORD);
    if (item != NULL) {
        item->event = event;
        galv_host_push(h, stream, item);
    }
    return event;
}

static void wait_event(galv_backend *b, galv_stream stream, galv_event event)
{
    host *h = (host *)b;
    if (h->err.status != GALV_OK) {
        return;
    }
    if (event < 0 || (size_t)event >= h->n_events) {
        galv_host_fail(h, GALV_INTERNAL, "wait for an event that was never recorded");
        return;
    }
    if (h->events[event].done) {
        return;
    }
    host_item *item = galv_host_item_new(h, HOST_WAIT);
    if (item != NULL) {
        item->event = event;
        galv_host_push(h, stream, item);
    }
}

static void synchronize(galv_backend *b)
{
    host *h = (host *)b;
    for (int stream = 0; stream < GALV_N_STREAMS; stream++) {
        galv_host_drain(h, (galv_stream)stream);
    }
}

static double event_time_s(galv_backend *b, galv_event event)
{
    const host *h = (const host *)b;
    if (event < 0 || (size_t)event >= h->n_events) {
        return 0;
    }
    return h->events[event].time_s - h->start_s;
}

static void reset_events(galv_backend *b)
{
    host *h = (host *)b;
    synchronize(b);
    h->n_events = 0;
    h->start_s = galv_host_now_s();
}

static void item_free(host_item *item)
{
    while (item != NULL) {
        host_item *next = item->next;
        item_end(item);
        free(item->letters);
        free(item);
        item = next;
    }
}

void galv_host_free_streams(host *h)
{
    if (h->err.status == GALV_OK) {
        synchronize(&h->base);
    }
    for (int stream = 0; stream < GALV_N_STREAMS; stream++) {
        for (host_item *item = h->streams[stream].first; item != NULL;
             item = item->next) {
            if (item->kind == HOST_RELEASE && !item->done) {
                galv_host_recycle(h, item->memory);
            }
        }
        item_free(h->streams[stream].first);
    }
    item_free(h->spare);
    free(h->events);
}

void galv_host_fill_streams(galv_backend *b)
{
    b->record = record;
    b->wait = wait_event;
    b->synchronize = synchronize;
    b->event_time_s = event_time_s;
    b->reset_events = reset_events;
}

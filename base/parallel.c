/* A parallel loop. Items are handed out one at a time from one atomic counter: they
 * are whole simulations, far dearer than the counter, and one at a time balances best.
 * The calling thread is worker 0. Which worker takes which item is not determined;
 * results are, since every item writes only its own slot.
 *
 * All threads are made before any item is run: they wait at a gate until the last one
 * exists, so that a failure to make one leaves nothing half done. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* sched_getaffinity */
#endif
#include "base/parallel.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct loop_state {
    galv_parallel_body body;
    void *context;
    size_t n_items;
    atomic_size_t next;
    pthread_mutex_t lock;
    pthread_cond_t opened;
    bool open;
    bool cancelled;
} loop_state;

typedef struct worker_state {
    loop_state *loop;
    pthread_t thread;
    int index;
} worker_state;

static void run_items(loop_state *loop, int index)
{
    for (;;) {
        size_t item = atomic_fetch_add_explicit(&loop->next, 1, memory_order_relaxed);
        if (item >= loop->n_items) {
            return;
        }
        loop->body(loop->context, item, index);
    }
}

static void *run_worker(void *argument)
{
    const worker_state *self = argument;
    loop_state *loop = self->loop;
    pthread_mutex_lock(&loop->lock);
    while (!loop->open) {
        pthread_cond_wait(&loop->opened, &loop->lock);
    }
    bool cancelled = loop->cancelled;
    pthread_mutex_unlock(&loop->lock);
    if (!cancelled) {
        run_items(loop, self->index);
    }
    return NULL;
}

static void open_gate(loop_state *loop, bool cancelled)
{
    pthread_mutex_lock(&loop->lock);
    loop->open = true;
    loop->cancelled = cancelled;
    pthread_cond_broadcast(&loop->opened);
    pthread_mutex_unlock(&loop->lock);
}

galv_status galv_parallel_for(int n_jobs, size_t n_items, galv_parallel_body body,
                              void *context, galv_err *err)
{
    size_t n_workers = n_jobs < 1 ? 1 : (size_t)n_jobs;
    if (n_workers > n_items) {
        n_workers = n_items;
    }
    if (n_workers <= 1) {
        for (size_t item = 0; item < n_items; item++) {
            body(context, item, 0);
        }
        return GALV_OK;
    }
    worker_state *workers = calloc(n_workers, sizeof *workers);
    if (workers == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory for %zu threads",
                         n_workers);
    }
    loop_state loop = {.body = body, .context = context, .n_items = n_items};
    atomic_init(&loop.next, 0);
    pthread_mutex_init(&loop.lock, NULL);
    pthread_cond_init(&loop.opened, NULL);

    size_t n_made = 1; /* worker 0 is the caller */
    while (n_made < n_workers) {
        worker_state *self = &workers[n_made];
        self->loop = &loop;
        self->index = (int)n_made;
        if (pthread_create(&self->thread, NULL, run_worker, self) != 0) {
            break;
        }
        n_made++;
    }
    bool complete = n_made == n_workers;
    open_gate(&loop, !complete);
    if (complete) {
        run_items(&loop, 0);
    }
    for (size_t i = 1; i < n_made; i++) {
        pthread_join(workers[i].thread, NULL);
    }
    pthread_cond_destroy(&loop.opened);
    pthread_mutex_destroy(&loop.lock);
    free(workers);
    if (!complete) {
        galv_fail(err, GALV_NO_MEMORY, "cannot start %zu threads", n_workers);
        galv_hint(err, "use fewer jobs (-j)");
        return GALV_NO_MEMORY;
    }
    return GALV_OK;
}

int galv_parallel_default_jobs(void)
{
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) {
        int n = CPU_COUNT(&set);
        if (n > 0) {
            return n;
        }
    }
#endif
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online < 1 ? 1 : (int)online;
}

/* The longest path through a program, by the work of its operations alone: what it
 * takes at least. In the engine an operation starts when the one before it in its queue
 * and all that it waits for have ended, and works no faster than alone, so none can end
 * sooner than here; communication that shares a link or slows computation is what makes
 * the engine's answer later. No heap, no rates and no memory: a fraction of the work of
 * a simulation. Each queue is gone through as far as it can be, and again when what its
 * head waits for is known. */
#include "sim/simulate_internal.h"

typedef struct path {
    const sim *s;
    double *ready_s; /* [n_ops] when all that it waits for has ended, as far as known */
    uint32_t *pending; /* [n_ops] of that, not known yet */
    double *free_s;    /* [n_queues] when its last operation ended */
    uint32_t *heads;   /* [n_queues] the next of each */
    uint32_t *open;    /* [n_queues] queues whose head can go on: a stack, each at most
                          once */
    uint32_t n_open;
} path;

static bool set_up(path *p, galv_arena *scratch)
{
    const sim *s = p->s;
    size_t n_ops = s->program->n_ops;
    size_t n_queues = (size_t)s->program->n_ranks * GALV_N_STREAMS;
    p->ready_s = GALV_NEW_ARRAY(scratch, double, n_ops + 1);
    p->pending = GALV_NEW_ARRAY(scratch, uint32_t, n_ops + 1);
    p->free_s = GALV_NEW_ARRAY(scratch, double, n_queues);
    p->heads = GALV_NEW_ARRAY(scratch, uint32_t, n_queues);
    p->open = GALV_NEW_ARRAY(scratch, uint32_t, n_queues);
    if (!p->ready_s || !p->pending || !p->free_s || !p->heads || !p->open) {
        return false;
    }
    for (size_t op = 0; op < n_ops; op++) {
        p->pending[op] = s->ops[op].pending;
    }
    for (size_t i = n_queues; i > 0; i--) {
        const sim_queue *queue = &s->queues[i - 1];
        p->heads[i - 1] = queue->head;
        if (queue->head < queue->end && p->pending[queue->head] == 0) {
            p->open[p->n_open++] = (uint32_t)i - 1;
        }
    }
    return true;
}

/* Ends the head of a queue; true when the next one can go on. */
static bool end_head(path *p, uint32_t queue)
{
    const sim *s = p->s;
    uint32_t op = p->heads[queue]++;
    double start_s =
        p->ready_s[op] > p->free_s[queue] ? p->ready_s[op] : p->free_s[queue];
    double end_s = start_s + s->classes[s->ops[op].class_index].work_s;
    p->free_s[queue] = end_s;
    for (uint32_t i = s->ops[op].first_next; i < s->ops[op + 1].first_next; i++) {
        uint32_t waits = s->next[i];
        uint32_t other = s->ops[waits].queue;
        if (end_s > p->ready_s[waits]) {
            p->ready_s[waits] = end_s;
        }
        if (--p->pending[waits] == 0 && other != queue && p->heads[other] == waits) {
            p->open[p->n_open++] = other;
        }
    }
    return p->heads[queue] < s->queues[queue].end && p->pending[p->heads[queue]] == 0;
}

double galv_sim_longest_path(const sim *s)
{
    path p = {.s = s};
    double longest_s = 0;
    if (!set_up(&p, s->scratch)) {
        return 0;
    }
    while (p.n_open > 0) {
        uint32_t queue = p.open[--p.n_open];
        while (end_head(&p, queue)) {
        }
        longest_s = p.free_s[queue] > longest_s ? p.free_s[queue] : longest_s;
    }
    return longest_s;
}

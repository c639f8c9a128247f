/* Three steps, each in slices that run in parallel and whose size depends on nothing:
 *
 *   order   by cheap bound; what holds too much throughout is left at once;
 *   heap    of those priced, by closer bound; one may leave it when no cheap bound of
 *           those that are not priced yet is below its own;
 *   row     of those whose memory was estimated, in the order in which they left. */
#include "search/queue.h"

#include "base/parallel.h"
#include "search/pricing.h"

#include <math.h>
#include <stdlib.h>

/* Candidates of a slice. The first ones are small: often the best comes at once. */
enum { FIRST_PRICED = 16, PRICING_SLICE = 128, FIRST_ESTIMATED = 4, MEMORY_SLICE = 32 };

typedef struct entry {
    double bound_s;
    size_t index;
} entry;

struct galv_queue {
    galv_queue_work work;
    entry *order; /* [n_order] by cheap bound */
    size_t n_order, n_priced;
    size_t slice, memory_slice; /* of the next */
    entry *heap;
    size_t n_heap;
    entry row[MEMORY_SLICE];
    size_t row_at, n_row;
    galv_status *statuses; /* [n_jobs] first failure of a worker */
    galv_err *errors;      /* [n_jobs] */
};

static bool before(const entry *a, const entry *b)
{
    return a->bound_s < b->bound_s || (a->bound_s <= b->bound_s && a->index < b->index);
}

static int compare_entries(const void *left, const void *right)
{
    return before(left, right) ? -1 : before(right, left) ? 1 : 0;
}

/* ---- heap ---- */

static void push_heap(galv_queue *q, entry e)
{
    size_t at = q->n_heap++;
    while (at > 0 && before(&e, &q->heap[(at - 1) / 2])) {
        q->heap[at] = q->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    q->heap[at] = e;
}

static entry pop_heap(galv_queue *q)
{
    entry top = q->heap[0];
    entry last = q->heap[--q->n_heap];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= q->n_heap) {
            break;
        }
        child += child + 1 < q->n_heap && before(&q->heap[child + 1], &q->heap[child]);
        if (!before(&q->heap[child], &last)) {
            break;
        }
        q->heap[at] = q->heap[child];
        at = child;
    }
    q->heap[at] = last;
    return top;
}

/* ---- in parallel ---- */

static void keep_error(galv_queue *q, int worker, galv_status status,
                       const galv_err *err)
{
    if (q->statuses[worker] == GALV_OK) {
        q->statuses[worker] = status;
        q->errors[worker] = *err;
    }
}

/* Closer bound of one candidate, unless it cannot fit. A plan that cannot be compiled
 * is a fault of the tree. */
static void price_item(void *context, size_t item, int worker)
{
    galv_queue *q = context;
    galv_searched *c = &q->work.searched[q->order[q->n_priced + item].index];
    galv_arena *arena = q->work.arenas[worker];
    galv_plan *plan = NULL;
    galv_prices *prices = NULL;
    galv_plan_price price = {0};
    galv_err err = GALV_ERR_INIT;
    galv_status status =
        galv_candidate_plan(&plan, &c->candidate, q->work.space,
                            galv_costmodel_job(q->work.model), arena, &err);
    if (status == GALV_OK) {
        status = galv_prices_new(&prices, q->work.model, plan, q->work.tables[worker],
                                 arena, &err);
    }
    if (status == GALV_OK) {
        status = galv_price_plan(&price, q->work.model, plan, prices, arena, &err);
    }
    if (status == GALV_OK) {
        bool may_fit = galv_memory_need_fits(&price.held);
        c->fate = may_fit ? GALV_FATE_LEFT : GALV_FATE_OUT_OF_MEMORY;
        c->peak_memory_bytes = price.held.bytes;
        c->bound_s = may_fit ? fmax(c->bound_s, price.bound_s) : 0;
    } else {
        keep_error(q, worker, status, &err);
    }
    galv_arena_reset(arena);
}

/* Does it fit? */
static void judge_item(void *context, size_t item, int worker)
{
    galv_queue *q = context;
    galv_searched *c = &q->work.searched[q->row[item].index];
    galv_arena *arena = q->work.arenas[worker];
    galv_plan *plan = NULL;
    galv_prices *prices = NULL;
    galv_memory_need need = {0, 0};
    galv_err err = GALV_ERR_INIT;
    galv_status status =
        galv_candidate_plan(&plan, &c->candidate, q->work.space,
                            galv_costmodel_job(q->work.model), arena, &err);
    if (status == GALV_OK) {
        status = galv_prices_new(&prices, q->work.model, plan, q->work.tables[worker],
                                 arena, &err);
    }
    if (status == GALV_OK) {
        status =
            galv_price_memory(&need, q->work.model, plan, prices, false, arena, &err);
    }
    if (status != GALV_OK) {
        keep_error(q, worker, status, &err);
    } else {
        c->peak_memory_bytes = fmax(c->peak_memory_bytes, need.bytes);
        c->fate = galv_memory_need_fits(&need) ? c->fate : GALV_FATE_OUT_OF_MEMORY;
    }
    galv_arena_reset(arena);
}

static galv_status run_slice(galv_queue *q, size_t n,
                             void (*item)(void *context, size_t item, int worker),
                             galv_err *err)
{
    galv_status status = galv_parallel_for(q->work.n_jobs, n, item, q, err);
    for (int worker = 0; status == GALV_OK && worker < q->work.n_jobs; worker++) {
        if (q->statuses[worker] != GALV_OK) {
            return galv_fail(err, q->statuses[worker], "%s", q->errors[worker].message);
        }
    }
    return status;
}

/* ---- steps ---- */

static galv_status price_slice(galv_queue *q, double last_s, galv_err *err)
{
    size_t n = 0;
    while (n < q->slice && q->n_priced + n < q->n_order &&
           q->order[q->n_priced + n].bound_s < last_s) {
        n++;
    }
    galv_status status = run_slice(q, n, price_item, err);
    for (size_t i = 0; status == GALV_OK && i < n; i++) {
        size_t index = q->order[q->n_priced + i].index;
        const galv_searched *c = &q->work.searched[index];
        if (c->fate == GALV_FATE_LEFT) {
            push_heap(q, (entry){c->bound_s, index});
        }
    }
    q->n_priced += n;
    q->slice = 2 * q->slice < PRICING_SLICE ? 2 * q->slice : PRICING_SLICE;
    return status;
}

/* The first of the heap, when nothing that is not priced can come before it; false =
 * none is below `last_s`. */
static galv_status leave_heap(entry *first, bool *any, galv_queue *q, double last_s,
                              galv_err *err)
{
    galv_status status = GALV_OK;
    for (;;) {
        double top_s = q->n_heap > 0 ? q->heap[0].bound_s : (double)INFINITY;
        bool more = q->n_priced < q->n_order &&
                    q->order[q->n_priced].bound_s <= top_s &&
                    q->order[q->n_priced].bound_s < last_s;
        if (!more || status != GALV_OK ||
            (q->n_heap > 0 && q->work.stopped(q->work.stopped_at))) {
            break;
        }
        status = price_slice(q, last_s, err);
    }
    *any = status == GALV_OK && q->n_heap > 0 && q->heap[0].bound_s < last_s;
    if (*any) {
        *first = pop_heap(q);
    }
    return status;
}

galv_status galv_queue_next(size_t *index, galv_queue *q, double last_s, galv_err *err)
{
    *index = q->work.n;
    while (q->row_at < q->n_row) {
        const entry *e = &q->row[q->row_at];
        if (e->bound_s >= last_s) {
            return GALV_OK;
        }
        q->row_at++;
        if (q->work.searched[e->index].fate == GALV_FATE_LEFT) {
            *index = e->index;
            return GALV_OK;
        }
    }
    for (q->row_at = q->n_row = 0; q->n_row < q->memory_slice; q->n_row++) {
        bool any = false;
        galv_status status = leave_heap(&q->row[q->n_row], &any, q, last_s, err);
        if (status != GALV_OK) {
            return status;
        }
        if (!any) {
            break;
        }
    }
    if (q->n_row == 0) {
        return GALV_OK;
    }
    q->memory_slice =
        2 * q->memory_slice < MEMORY_SLICE ? 2 * q->memory_slice : MEMORY_SLICE;
    galv_status status = run_slice(q, q->n_row, judge_item, err);
    return status == GALV_OK ? galv_queue_next(index, q, last_s, err) : status;
}

size_t galv_queue_n_priced(const galv_queue *q)
{
    return q->work.n - q->n_order + q->n_priced;
}

galv_status galv_queue_new(galv_queue **queue, const galv_queue_work *work,
                           const galv_shapes *shapes, galv_arena *arena, galv_err *err)
{
    galv_queue *q = GALV_NEW(arena, galv_queue);
    if (!q) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    q->work = *work;
    q->slice = FIRST_PRICED;
    q->memory_slice = FIRST_ESTIMATED;
    q->order = GALV_NEW_ARRAY(arena, entry, work->n + 1);
    q->heap = GALV_NEW_ARRAY(arena, entry, work->n + 1);
    q->statuses = GALV_NEW_ARRAY(arena, galv_status, work->n_jobs);
    q->errors = GALV_NEW_ARRAY(arena, galv_err, work->n_jobs);
    if (!q->order || !q->heap || !q->statuses || !q->errors) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < work->n; i++) {
        galv_searched *c = &work->searched[i];
        galv_shape_bound known = galv_shapes_bound(shapes, i);
        c->bound_s = known.bound_s;
        c->peak_memory_bytes = known.least.bytes;
        c->fate = GALV_FATE_LEFT;
        if (!galv_memory_need_fits(&known.least)) {
            c->fate = GALV_FATE_OUT_OF_MEMORY;
            c->bound_s = 0;
            continue;
        }
        q->order[q->n_order++] = (entry){known.bound_s, i};
    }
    qsort(q->order, q->n_order, sizeof *q->order, compare_entries);
    *queue = q;
    return GALV_OK;
}

/* The measured timeline: every rank's spans on one clock.
 *
 * A rank's times count from when it reset its events. Rank 0 gets those moments on its
 * own clock (world.h), takes the first of all ranks for the begin of the iteration, and
 * shifts each rank's spans by how much later it began. */
#include "exec/trainer_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLOCK_ROUNDS 8

/* What a rank tells the others before its spans. */
typedef struct header {
    double began_s; /* on rank 0's clock */
    uint64_t n_spans, n_samples;
    int32_t first_layer, last_layer;
} header;

typedef struct gathered {
    header *headers; /* [n_ranks] */
    char *mine;      /* spans, then samples */
    char *all;       /* [n_ranks] of the largest */
    size_t bytes;    /* of one rank, the largest */
} gathered;

/* What this rank has to tell: spans, memory samples, and their header. */
static galv_status prepare(header *mine, galv_span **spans,
                           galv_memory_sample **samples, galv_trainer *t, galv_err *err)
{
    galv_worker *w = &t->worker;
    galv_recorder *r = &w->recorder;
    double offset_s = 0;
    galv_status status =
        galv_world_clock_offset_s(w->world, &offset_s, CLOCK_ROUNDS, err);
    *spans = calloc(r->n_spans + 1, sizeof **spans);
    *samples = calloc(r->n_samples + 1, sizeof **samples);
    if (status == GALV_OK && (*spans == NULL || *samples == NULL || r->failed)) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for the timeline");
    }
    if (status == GALV_OK) {
        galv_recorder_resolve(r, *spans, *samples, w->b->rank, 0);
        mine->n_spans = galv_recorder_drop_empty(r, *spans);
    }
    mine->n_samples = r->n_samples;
    mine->began_s = t->began_s + offset_s;
    mine->first_layer = mine->last_layer = -1;
    for (int32_t i = 0; i < w->plan->n_layers; i++) {
        if (w->layers[i].here) {
            mine->first_layer = mine->first_layer < 0 ? i : mine->first_layer;
            mine->last_layer = i;
        }
    }
    return status;
}

static galv_status gather_spans(gathered *g, const header *mine, const galv_span *spans,
                                const galv_memory_sample *samples, galv_trainer *t,
                                galv_err *err)
{
    galv_worker *w = &t->worker;
    size_t n_ranks = (size_t)w->b->n_ranks;
    galv_status status =
        galv_world_all_gather(w->world, g->headers, mine, sizeof *mine, err);
    for (size_t i = 0; status == GALV_OK && i < n_ranks; i++) {
        size_t bytes = g->headers[i].n_spans * sizeof(galv_span) +
                       g->headers[i].n_samples * sizeof(galv_memory_sample);
        g->bytes = bytes > g->bytes ? bytes : g->bytes;
    }
    if (status == GALV_OK) {
        g->mine = calloc(g->bytes + 1, 1);
        g->all = calloc(g->bytes * n_ranks + 1, 1);
        if (g->mine == NULL || g->all == NULL) {
            galv_fail(err, GALV_NO_MEMORY, "no memory for the timeline");
        }
        status = galv_world_agree(w->world, err);
    }
    if (status == GALV_OK) {
        galv_span *to = (galv_span *)(void *)g->mine;
        memcpy(to, spans, mine->n_spans * sizeof *to);
        memcpy(to + mine->n_spans, samples, mine->n_samples * sizeof *samples);
        status = galv_world_all_gather(w->world, g->all, g->mine, g->bytes, err);
    }
    return status;
}

static galv_status gather(gathered *g, galv_trainer *t, galv_err *err)
{
    header mine = {0};
    galv_span *spans = NULL;
    galv_memory_sample *samples = NULL;
    prepare(&mine, &spans, &samples, t, err);
    g->headers = calloc((size_t)t->worker.b->n_ranks, sizeof *g->headers);
    if (g->headers == NULL) {
        galv_fail(err, GALV_NO_MEMORY, "no memory for the timeline");
    }
    galv_status status = galv_world_agree(t->worker.world, err);
    if (status == GALV_OK) {
        status = gather_spans(g, &mine, spans, samples, t, err);
    }
    free(spans);
    free(samples);
    return status;
}

static galv_status assemble(galv_timeline *timeline, galv_trainer *t, const gathered *g,
                            galv_arena *arena, galv_err *err)
{
    galv_worker *w = &t->worker;
    int32_t n_ranks = w->b->n_ranks;
    galv_timeline made = {0};
    double begin_s = g->headers[0].began_s;
    char plan[128];
    for (int32_t rank = 0; rank < n_ranks; rank++) {
        const header *h = &g->headers[rank];
        made.n_spans += h->n_spans;
        made.n_samples += h->n_samples;
        begin_s = h->began_s < begin_s ? h->began_s : begin_s;
    }
    made.spans = GALV_NEW_ARRAY(arena, galv_span, made.n_spans);
    made.samples = GALV_NEW_ARRAY(arena, galv_memory_sample, made.n_samples);
    made.first_layer = GALV_NEW_ARRAY(arena, int32_t, n_ranks);
    made.last_layer = GALV_NEW_ARRAY(arena, int32_t, n_ranks);
    if (made.spans == NULL || made.samples == NULL || made.first_layer == NULL ||
        made.last_layer == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for the timeline");
    }
    galv_span *span = made.spans;
    galv_memory_sample *sample = made.samples;
    for (int32_t rank = 0; rank < n_ranks; rank++) {
        const header *h = &g->headers[rank];
        const char *from = g->all + (size_t)rank * g->bytes;
        double later_s = h->began_s - begin_s;
        memcpy(span, from, h->n_spans * sizeof *span);
        memcpy(sample, from + h->n_spans * sizeof *span, h->n_samples * sizeof *sample);
        for (size_t i = 0; i < h->n_spans; i++, span++) {
            span->start_s += later_s;
            span->end_s += later_s;
            made.duration_s =
                span->end_s > made.duration_s ? span->end_s : made.duration_s;
        }
        for (size_t i = 0; i < h->n_samples; i++, sample++) {
            sample->time_s += later_s;
        }
        made.first_layer[rank] = h->first_layer;
        made.last_layer[rank] = h->last_layer;
    }
    made.measured = true;
    made.n_ranks = n_ranks;
    made.n_chunks = w->plan->vpp;
    made.memory_limit_bytes = (double)w->b->device_bytes;
    snprintf(made.title, sizeof made.title, "%s: %s", w->job->model.name,
             galv_plan_print(plan, sizeof plan, w->plan));
    snprintf(made.subtitle, sizeof made.subtitle, "%s, step %lld", w->b->device,
             (long long)w->adamw.step);
    if (galv_timeline_trim_messages(&made, w->b->moves_when_called, err) != GALV_OK) {
        return err->status;
    }
    galv_timeline_sort(&made);
    *timeline = made;
    return GALV_OK;
}

galv_status galv_trainer_timeline(galv_timeline *timeline, galv_trainer *trainer,
                                  galv_arena *arena, galv_err *err)
{
    gathered g = {0};
    galv_status status = gather(&g, trainer, err);
    if (status == GALV_OK && trainer->worker.b->rank == 0) {
        assemble(timeline, trainer, &g, arena, err);
    }
    free(g.headers);
    free(g.mine);
    free(g.all);
    if (status == GALV_OK) {
        status = galv_world_agree(trainer->worker.world, err);
    }
    return status;
}

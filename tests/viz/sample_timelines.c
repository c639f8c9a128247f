/* List scheduling by hand: every rank runs its passes in the order of its schedule, a
 * pass begins when its rank is free and its input has come. The orders are those of
 * GPipe, of 1F1B, and of Megatron-LM's interleaved 1F1B. */
#include "tests/viz/sample_timelines.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct pass {
    bool forward;
    int32_t micro_batch;
    int32_t chunk;
} pass;

typedef struct builder {
    const sample_shape *shape;
    galv_timeline *timeline;
    size_t capacity;
} builder;

static pass interleaved_pass(const sample_shape *s, bool forward, int32_t k)
{
    int32_t in_group = k % (s->p * s->v);
    int32_t chunk = in_group / s->p;
    pass result = {forward, k / (s->p * s->v) * s->p + in_group % s->p,
                   forward ? chunk : s->v - 1 - chunk};
    return result;
}

/* The order of a rank's passes: warm-up forwards, one forward one backward, the rest.
 */
static void order_passes(const sample_shape *s, int32_t rank, pass *passes)
{
    int32_t total = s->m * s->v;
    int32_t warm =
        s->v > 1 ? 2 * (s->p - rank - 1) + (s->v - 1) * s->p : s->p - rank - 1;
    warm = s->gpipe || warm > total ? total : warm;
    int32_t n = 0;
    int32_t forwards = 0;
    int32_t backwards = 0;
    while (forwards < warm) {
        passes[n++] = interleaved_pass(s, true, forwards++);
    }
    while (backwards < total) {
        if (forwards < total) {
            passes[n++] = interleaved_pass(s, true, forwards++);
        }
        passes[n++] = interleaved_pass(s, false, backwards++);
    }
}

static galv_span *add_span(builder *b, int32_t rank, int stream, int kind, pass p,
                           double start_s, double end_s)
{
    galv_span *span = &b->timeline->spans[b->timeline->n_spans++];
    if (b->timeline->n_spans > b->capacity) {
        abort();
    }
    span->rank = rank;
    span->stage = rank;
    span->stream = (uint8_t)stream;
    span->kind = (uint8_t)kind;
    span->pass = (uint8_t)(p.forward ? GALV_OP_FORWARD : GALV_OP_BACKWARD);
    span->chunk = p.chunk;
    span->micro_batch = p.micro_batch;
    span->first_layer = rank * b->shape->n_layers;
    span->n_layers = b->shape->n_layers;
    span->start_s = start_s;
    span->end_s = end_s;
    return span;
}

static void add_layers(builder *b, int32_t rank, int kind, pass p, double start_s,
                       double end_s)
{
    int32_t n = b->shape->n_layers;
    double layer_s = (end_s - start_s) / n;
    for (int32_t i = 0; i < n; i++) {
        int32_t layer = kind == GALV_OP_FORWARD ? i : n - 1 - i;
        double at = start_s + i * layer_s;
        galv_span *span =
            add_span(b, rank, GALV_STREAM_COMPUTE, kind, p, at, at + 0.8 * layer_s);
        span->first_layer = rank * n + layer;
        span->n_layers = 1;
        span = add_span(b, rank, GALV_STREAM_TP, GALV_OP_ALL_REDUCE, p,
                        at + 0.8 * layer_s, at + layer_s);
        span->first_layer = rank * n + layer;
        span->n_layers = 1;
    }
}

static void add_cell(builder *b, int32_t rank, int kind, pass p, double start_s,
                     double end_s)
{
    if (b->shape->layers) {
        add_layers(b, rank, kind, p, start_s, end_s);
    } else {
        add_span(b, rank, GALV_STREAM_COMPUTE, kind, p, start_s, end_s);
    }
}

static void add_pass(builder *b, int32_t rank, pass p, double start_s, double end_s)
{
    const sample_shape *s = b->shape;
    if (p.forward) {
        add_cell(b, rank, GALV_OP_FORWARD, p, start_s, end_s);
        return;
    }
    if (s->recompute) {
        add_cell(b, rank, GALV_OP_RECOMPUTE, p, start_s, start_s + s->forward_s);
        start_s += s->forward_s;
    }
    if (s->split_weights) {
        double middle = (start_s + end_s) / 2.0;
        add_cell(b, rank, GALV_OP_BACKWARD_INPUT, p, start_s, middle);
        add_cell(b, rank, GALV_OP_BACKWARD_WEIGHT, p, middle, end_s);
    } else {
        add_cell(b, rank, GALV_OP_BACKWARD, p, start_s, end_s);
    }
}

/* When the input of a pass has come; -1 when what makes it has not run yet. */
static double input_s(const sample_shape *s, const double *done, int32_t rank, pass p)
{
    int32_t position = p.chunk * s->p + rank;
    int32_t last = s->p * s->v - 1;
    bool forward = p.forward;
    if (forward && position == 0) {
        return 0.0;
    }
    int32_t from = forward ? position - 1 : position + 1;
    if (!forward && position == last) {
        from = position;
        forward = true;
    }
    double when = done[((forward ? 0 : 1) * (last + 1) + from) * s->m + p.micro_batch];
    return when < 0.0 ? -1.0 : when + (from == position ? 0.0 : s->message_s);
}

static double run_passes(builder *b, galv_arena *arena)
{
    const sample_shape *s = b->shape;
    int32_t per_rank = 2 * s->m * s->v;
    int32_t n_positions = s->p * s->v;
    pass *passes = GALV_NEW_ARRAY(arena, pass, per_rank * s->p);
    int32_t *next = GALV_NEW_ARRAY(arena, int32_t, s->p);
    double *free_s = GALV_NEW_ARRAY(arena, double, s->p);
    double *done = GALV_NEW_ARRAY(arena, double, 2 * n_positions * s->m);
    for (int32_t i = 0; i < 2 * n_positions * s->m; i++) {
        done[i] = -1.0;
    }
    for (int32_t rank = 0; rank < s->p; rank++) {
        order_passes(s, rank, passes + rank * per_rank);
    }
    double end_s = 0.0;
    for (bool moved = true; moved;) {
        moved = false;
        for (int32_t rank = 0; rank < s->p; rank++) {
            while (next[rank] < per_rank) {
                pass p = passes[rank * per_rank + next[rank]];
                double ready = input_s(s, done, rank, p);
                if (ready < 0.0) {
                    break;
                }
                double start = ready > free_s[rank] ? ready : free_s[rank];
                double length =
                    p.forward ? s->forward_s
                              : s->backward_s + (s->recompute ? s->forward_s : 0.0);
                int32_t position = p.chunk * s->p + rank;
                int32_t last = n_positions - 1;
                bool sends = p.forward ? position < last : position > 0;
                add_pass(b, rank, p, start, start + length);
                if (sends && s->message_s > 0.0) {
                    add_span(b, rank, GALV_STREAM_PP_SEND, GALV_OP_SEND, p,
                             start + length, start + length + s->message_s);
                }
                done[((p.forward ? 0 : 1) * n_positions + position) * s->m +
                     p.micro_batch] = start + length;
                free_s[rank] = start + length;
                end_s = free_s[rank] > end_s ? free_s[rank] : end_s;
                next[rank]++;
                moved = true;
            }
        }
    }
    return end_s;
}

/* Static memory, plus one share per forward that waits for its backward. */
static void add_memory(builder *b, int32_t rank)
{
    const double gib = 1073741824.0;
    galv_timeline *t = b->timeline;
    double bytes = (28.0 - 6.0 * rank / b->shape->p) * gib;
    double share = 26.0 * gib / (b->shape->p * b->shape->v + (b->shape->v - 1) * 2);
    galv_memory_sample *first = &t->samples[t->n_samples++];
    *first = (galv_memory_sample){rank, 0.0, bytes};
    for (size_t i = 0; i < t->n_spans; i++) {
        const galv_span *span = &t->spans[i];
        if (span->rank != rank || span->stream != GALV_STREAM_COMPUTE) {
            continue;
        }
        double part = span->n_layers / (double)b->shape->n_layers;
        bool made = span->kind == GALV_OP_FORWARD;
        bool freed =
            span->kind == GALV_OP_BACKWARD || span->kind == GALV_OP_BACKWARD_INPUT;
        if (made || freed) {
            bytes += (made ? share : -share) * part;
            t->samples[t->n_samples++] =
                (galv_memory_sample){rank, made ? span->start_s : span->end_s, bytes};
        }
    }
}

galv_timeline sample_timeline(const sample_shape *shape, galv_arena *arena)
{
    galv_timeline t = {.n_ranks = shape->p, .n_chunks = shape->v};
    builder b = {shape, &t, 0};
    size_t passes = (size_t)(2 * shape->m * shape->v * shape->p);
    size_t spans_per_pass = shape->layers ? 6U * (size_t)shape->n_layers : 4U;
    b.capacity = passes * spans_per_pass + (size_t)shape->p * 4U;
    t.spans = GALV_NEW_ARRAY(arena, galv_span, b.capacity);
    t.samples = GALV_NEW_ARRAY(arena, galv_memory_sample, b.capacity);
    t.first_layer = GALV_NEW_ARRAY(arena, int32_t, shape->p);
    t.last_layer = GALV_NEW_ARRAY(arena, int32_t, shape->p);
    double end_s = run_passes(&b, arena);
    pass none = {false, -1, 0};
    for (int32_t rank = 0; rank < shape->p; rank++) {
        double at = 0.0;
        for (size_t i = 0; i < t.n_spans; i++) {
            at = t.spans[i].rank == rank && t.spans[i].end_s > at ? t.spans[i].end_s
                                                                  : at;
        }
        if (shape->reduce_s > 0.0) {
            add_span(&b, rank, GALV_STREAM_DP, GALV_OP_REDUCE_SCATTER, none, at,
                     at + shape->reduce_s);
        }
        at = end_s + shape->reduce_s;
        if (shape->optimizer_s > 0.0) {
            add_span(&b, rank, GALV_STREAM_COMPUTE, GALV_OP_OPTIMIZER, none, at,
                     at + shape->optimizer_s);
            at += shape->optimizer_s;
        }
        if (shape->reduce_s > 0.0) {
            add_span(&b, rank, GALV_STREAM_DP, GALV_OP_ALL_GATHER, none, at,
                     at + shape->reduce_s / 2.0);
        }
        t.first_layer[rank] = rank * shape->n_layers;
        t.last_layer[rank] = (rank + 1) * shape->n_layers - 1;
    }
    t.duration_s = end_s + shape->reduce_s * 1.5 + shape->optimizer_s;
    t.memory_limit_bytes = shape->limit_gib * 1073741824.0;
    galv_timeline_sort(&t);
    for (int32_t rank = 0; rank < shape->p; rank++) {
        add_memory(&b, rank);
    }
    galv_timeline_sort(&t);
    snprintf(t.title, sizeof t.title,
             "gpt-175b on %d x h100-sxm-80gb: tp 8, pp %d, vpp %d, %d micro-batches",
             (int)shape->p * 8, (int)shape->p, (int)shape->v, (int)shape->m);
    snprintf(t.subtitle, sizeof t.subtitle,
             "step %.2f s \xC2\xB7 bubble %.1f %% \xC2\xB7 MFU 46.0 %% \xC2\xB7 "
             "peak 54.0 of 79.6 GiB",
             t.duration_s,
             100.0 * (shape->p - 1) / (shape->m * shape->v + shape->p - 1));
    return t;
}

const named_shape sample_shapes[N_SAMPLE_SHAPES] = {
    {"1f1b 4x8",
     {.p = 4,
      .m = 8,
      .v = 1,
      .n_layers = 20,
      .forward_s = 0.1,
      .backward_s = 0.2,
      .message_s = 0.004,
      .reduce_s = 0.15,
      .optimizer_s = 0.05,
      .limit_gib = 79.6}},
    {"1f1b 4x8 with layers",
     {.p = 4,
      .m = 8,
      .v = 1,
      .n_layers = 20,
      .forward_s = 0.1,
      .backward_s = 0.2,
      .message_s = 0.014,
      .reduce_s = 0.15,
      .layers = true,
      .limit_gib = 79.6}},
    {"interleaved 8x32x2 over its limit",
     {.p = 8,
      .m = 32,
      .v = 2,
      .n_layers = 10,
      .forward_s = 0.05,
      .backward_s = 0.1,
      .message_s = 0.002,
      .reduce_s = 0.2,
      .optimizer_s = 0.05,
      .limit_gib = 50.0}},
    {"interleaved 4x8x4",
     {.p = 4, .m = 8, .v = 4, .n_layers = 5, .forward_s = 0.05, .backward_s = 0.1}},
    {"1f1b 16x128",
     {.p = 16,
      .m = 128,
      .v = 1,
      .n_layers = 6,
      .forward_s = 0.02,
      .backward_s = 0.04,
      .message_s = 0.001,
      .reduce_s = 0.1,
      .optimizer_s = 0.05,
      .limit_gib = 79.6}},
    {"one stage with layers",
     {.p = 1,
      .m = 8,
      .v = 1,
      .n_layers = 80,
      .forward_s = 0.4,
      .backward_s = 0.8,
      .reduce_s = 0.3,
      .optimizer_s = 0.1,
      .layers = true,
      .limit_gib = 79.6}},
    {"one stage, one micro-batch, microseconds",
     {.p = 1, .m = 1, .v = 1, .n_layers = 1, .forward_s = 2e-6, .backward_s = 4e-6}},
    {"64 stages",
     {.p = 64,
      .m = 64,
      .v = 1,
      .n_layers = 2,
      .forward_s = 0.02,
      .backward_s = 0.04,
      .message_s = 0.001,
      .reduce_s = 0.1,
      .limit_gib = 79.6}},
    {"gpipe with recompute",
     {.p = 4,
      .m = 8,
      .v = 1,
      .n_layers = 20,
      .forward_s = 0.001,
      .backward_s = 0.002,
      .gpipe = true,
      .recompute = true,
      .optimizer_s = 0.0005}},
    {"split weights",
     {.p = 4,
      .m = 6,
      .v = 1,
      .n_layers = 20,
      .forward_s = 0.1,
      .backward_s = 0.2,
      .split_weights = true,
      .recompute = true,
      .reduce_s = 0.2}},
    {"two stages, three hours",
     {.p = 2, .m = 3, .v = 1, .n_layers = 2, .forward_s = 1000, .backward_s = 2000}},
};

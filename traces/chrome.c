/* The Chrome trace event format (JSON object form), as chrome://tracing and Perfetto
 * read it. Source: "Trace Event Format", Google, public document (the letters ph: X
 * complete event, M metadata, C counter, s/f flow).
 *
 * Viewers require that complete events of one (pid, tid) nest or are disjoint, and
 * silently mis-draw those that overlap by half. Simulated streams do not overlap;
 * measured ones may, and so may several transfers of one stream. So each stream has
 * lanes: a span goes to the lane that has been free longest, or opens another one.
 * Times are rounded to whole nanoseconds before durations are taken, which keeps
 * disjoint what is disjoint: rounding is monotone.
 *
 * A flow needs to know which receive answers a send. Spans do not name their peer; it
 * follows from stage, chunk, micro-batch and pass: forward goes to the next virtual
 * stage, backward to the one before. In looped schedules that is the next stage, or
 * stage 0 of the next chunk; in V-shaped ones odd chunks run the other way. Ranks of a
 * stage are paired in order, as Megatron's rank order (pp slowest) has it. A send
 * whose receive is not in the timeline has no arrow. */
#include "traces/timeline.h"
#include "traces/timeline_internal.h"

#include "base/arena.h"
#include "base/file.h"
#include "base/json.h"
#include "base/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct writer {
    galv_text *out;
    bool has_event;
} writer;

/* One lane of a stream and the time from which it is free. */
typedef struct lane {
    int64_t free_ns;
    int32_t number;
} lane;

static int64_t nanoseconds(double seconds)
{
    return (int64_t)(seconds * 1e9 + 0.5); /* times are not negative */
}

static void begin_event(writer *w)
{
    galv_text_append(w->out, w->has_event ? ",\n" : "\n");
    w->has_event = true;
}

static void put_us(writer *w, const char *key, int64_t ns)
{
    galv_text_printf(w->out, ",\"%s\":%" PRId64 ".%03d", key, ns / 1000,
                     (int)(ns % 1000));
}

static int thread_of(int stream, int32_t lane_number)
{
    return stream + (int)lane_number * GALV_N_STREAMS;
}

static void write_metadata(writer *w, int32_t pid, int tid, const char *name,
                           const char *value)
{
    begin_event(w);
    galv_text_printf(w->out,
                     "{\"ph\":\"M\",\"pid\":%d,\"tid\":%d,\"name\":\"%s_name\","
                     "\"args\":{\"name\":\"%s\"}}",
                     (int)pid, tid, name, value);
    begin_event(w);
    galv_text_printf(w->out,
                     "{\"ph\":\"M\",\"pid\":%d,\"tid\":%d,\"name\":\"%s_sort_index\","
                     "\"args\":{\"sort_index\":%d}}",
                     (int)pid, tid, name, tid == 0 && name[0] == 'p' ? (int)pid : tid);
}

static void write_rank_name(writer *w, const galv_timeline *t, int32_t rank)
{
    char name[64];
    snprintf(name, sizeof name, "rank %d", (int)rank);
    if (t->first_layer != NULL && t->last_layer != NULL && t->first_layer[rank] >= 0) {
        /* of further chunks the timeline does not know the layers */
        snprintf(name, sizeof name, "rank %d (%slayers %d-%d)", (int)rank,
                 t->n_chunks > 1 ? "chunk 0: " : "", (int)t->first_layer[rank],
                 (int)t->last_layer[rank]);
    }
    write_metadata(w, rank, 0, "process", name);
}

static void write_lane_name(writer *w, int32_t rank, int stream, int32_t number)
{
    char name[64];
    snprintf(name, sizeof name, number == 0 ? "%s" : "%s %d", galv_stream_names[stream],
             (int)number + 1);
    write_metadata(w, rank, thread_of(stream, number), "thread", name);
}

/* The lanes of one stream as a heap: the one that is free first on top. */
static bool frees_before(const lane *a, const lane *b)
{
    return a->free_ns != b->free_ns ? a->free_ns < b->free_ns : a->number < b->number;
}

static void sift_down(lane *heap, size_t n, size_t i)
{
    for (;;) {
        size_t least = i;
        for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < n; child++) {
            if (frees_before(&heap[child], &heap[least])) {
                least = child;
            }
        }
        if (least == i) {
            return;
        }
        lane held = heap[i];
        heap[i] = heap[least];
        heap[least] = held;
        i = least;
    }
}

static void sift_up(lane *heap, size_t i)
{
    while (i > 0 && frees_before(&heap[i], &heap[(i - 1) / 2])) {
        lane held = heap[i];
        heap[i] = heap[(i - 1) / 2];
        heap[(i - 1) / 2] = held;
        i = (i - 1) / 2;
    }
}

/* Lane numbers of the spans of one stream of one rank, which are sorted by start. The
 * heap has room for n lanes. Returns how many were needed. */
static int32_t assign_lanes(int32_t *lane_of, const galv_span *spans, size_t n,
                            lane *heap)
{
    size_t n_lanes = 0;
    for (size_t i = 0; i < n; i++) {
        int64_t start_ns = nanoseconds(spans[i].start_s);
        int64_t end_ns = nanoseconds(spans[i].end_s);
        if (n_lanes > 0 && heap[0].free_ns <= start_ns) {
            lane_of[i] = heap[0].number;
            heap[0].free_ns = end_ns;
            sift_down(heap, n_lanes, 0);
        } else {
            heap[n_lanes] = (lane){end_ns, (int32_t)n_lanes};
            lane_of[i] = (int32_t)n_lanes;
            sift_up(heap, n_lanes);
            n_lanes++;
        }
    }
    return (int32_t)n_lanes;
}

static void write_span(writer *w, const galv_span *s, int32_t lane_number)
{
    int64_t start_ns = nanoseconds(s->start_s);
    begin_event(w);
    galv_text_printf(w->out,
                     "{\"ph\":\"X\",\"pid\":%d,\"tid\":%d,\"cat\":\"%s\",\"name\":\"%s",
                     (int)s->rank, thread_of(s->stream, lane_number),
                     galv_stream_names[s->stream], galv_op_kind_names[s->kind]);
    if (s->micro_batch >= 0) {
        galv_text_printf(w->out, " mb%d", (int)s->micro_batch);
    }
    galv_text_append_char(w->out, '"');
    put_us(w, "ts", start_ns);
    put_us(w, "dur", nanoseconds(s->end_s) - start_ns);
    galv_text_printf(w->out, ",\"args\":{\"stage\":%d,\"chunk\":%d", (int)s->stage,
                     (int)s->chunk);
    if (s->micro_batch >= 0) {
        galv_text_printf(w->out, ",\"micro_batch\":%d", (int)s->micro_batch);
    }
    if (s->first_layer >= 0) {
        galv_text_printf(w->out, ",\"first_layer\":%d,\"n_layers\":%d",
                         (int)s->first_layer, (int)s->n_layers);
    }
    if (s->part != GALV_PART_WHOLE) {
        galv_text_printf(w->out, ",\"part\":\"%s\"", galv_part_names[s->part]);
    }
    if (s->pass != s->kind) {
        galv_text_printf(w->out, ",\"pass\":\"%s\"", galv_op_kind_names[s->pass]);
    }
    if (s->bytes > 0) {
        galv_text_printf(w->out, ",\"bytes\":%.0f", s->bytes);
    }
    galv_text_append(w->out, "}}");
}

/* ---- flows ---- */

/* One end of a message: where it belongs, and which span it is. */
typedef struct message_end {
    int32_t stage, offset, chunk, micro_batch;
    bool backward;
    size_t span;
} message_end;

static int compare_ends(const void *a, const void *b)
{
    const message_end *x = a;
    const message_end *y = b;
    const int32_t keys_x[] = {x->backward, x->micro_batch, x->stage, x->chunk,
                              x->offset};
    const int32_t keys_y[] = {y->backward, y->micro_batch, y->stage, y->chunk,
                              y->offset};
    for (size_t i = 0; i < sizeof keys_x / sizeof keys_x[0]; i++) {
        if (keys_x[i] != keys_y[i]) {
            return keys_x[i] < keys_y[i] ? -1 : 1;
        }
    }
    return 0;
}

/* Ties in order of the spans, so that the result does not depend on qsort. */
static int compare_ends_stably(const void *a, const void *b)
{
    int by_key = compare_ends(a, b);
    size_t x = ((const message_end *)a)->span;
    size_t y = ((const message_end *)b)->span;
    return by_key != 0 ? by_key : (x > y) - (x < y);
}

static message_end end_of(const galv_timeline *t, size_t span,
                          const int32_t *first_rank)
{
    const galv_span *s = &t->spans[span];
    return (message_end){.stage = s->stage,
                         .offset = s->rank - first_rank[s->rank],
                         .chunk = s->chunk,
                         .micro_batch = s->micro_batch,
                         .backward =
                             s->pass != GALV_OP_FORWARD && s->pass != GALV_OP_RECOMPUTE,
                         .span = span};
}

/* The receive that answers a send, or NULL. */
static const message_end *find_answer(const message_end *send, const message_end *recvs,
                                      size_t n_recvs, int32_t n_stages)
{
    int32_t step = send->backward ? -1 : 1;
    message_end looped = *send;
    looped.stage = send->stage + step;
    if (looped.stage < 0 || looped.stage >= n_stages) {
        looped.stage = send->backward ? n_stages - 1 : 0;
        looped.chunk += step;
    }
    const message_end *found =
        bsearch(&looped, recvs, n_recvs, sizeof *recvs, compare_ends);
    if (found == NULL && send->chunk % 2 == 1) {
        message_end folded = *send;
        folded.stage = send->stage - step;
        found = bsearch(&folded, recvs, n_recvs, sizeof *recvs, compare_ends);
    }
    return found;
}

static void write_flow(writer *w, const galv_timeline *t, const int32_t *lane_of,
                       size_t send, size_t recv, int64_t id)
{
    const galv_span *from = &t->spans[send];
    const galv_span *to = &t->spans[recv];
    int64_t start_ns = nanoseconds(from->start_s);
    int64_t end_ns = nanoseconds(to->start_s);
    end_ns = end_ns > start_ns ? end_ns : start_ns; /* arrows do not go back in time */
    begin_event(w);
    galv_text_printf(w->out,
                     "{\"ph\":\"s\",\"pid\":%d,\"tid\":%d,\"cat\":\"message\","
                     "\"name\":\"message\",\"id\":%" PRId64,
                     (int)from->rank, thread_of(from->stream, lane_of[send]), id);
    put_us(w, "ts", start_ns);
    galv_text_append_char(w->out, '}');
    begin_event(w);
    galv_text_printf(w->out,
                     "{\"ph\":\"f\",\"bp\":\"e\",\"pid\":%d,\"tid\":%d,"
                     "\"cat\":\"message\",\"name\":\"message\",\"id\":%" PRId64,
                     (int)to->rank, thread_of(to->stream, lane_of[recv]), id);
    put_us(w, "ts", end_ns);
    galv_text_append_char(w->out, '}');
}

/* First rank of the stage that a rank belongs to: runs of ranks of one stage. */
static int32_t *find_first_ranks(const galv_timeline *t, int32_t *n_stages,
                                 galv_arena *arena)
{
    int32_t *stage = GALV_NEW_ARRAY(arena, int32_t, t->n_ranks);
    int32_t *first = GALV_NEW_ARRAY(arena, int32_t, t->n_ranks);
    if (stage == NULL || first == NULL) {
        return NULL;
    }
    *n_stages = 0;
    for (size_t i = 0; i < t->n_spans; i++) {
        stage[t->spans[i].rank] = t->spans[i].stage;
        if (t->spans[i].stage >= *n_stages) {
            *n_stages = t->spans[i].stage + 1;
        }
    }
    for (int32_t rank = 1; rank < t->n_ranks; rank++) {
        first[rank] = stage[rank] == stage[rank - 1] ? first[rank - 1] : rank;
    }
    return first;
}

static galv_status write_flows(writer *w, const galv_timeline *t,
                               const int32_t *lane_of, galv_arena *arena, galv_err *err)
{
    int32_t n_stages;
    int32_t *first_rank = find_first_ranks(t, &n_stages, arena);
    message_end *recvs = GALV_NEW_ARRAY(arena, message_end, t->n_spans);
    if (first_rank == NULL || recvs == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    size_t n_recvs = 0;
    for (size_t i = 0; i < t->n_spans; i++) {
        if (t->spans[i].kind == GALV_OP_RECV) {
            recvs[n_recvs++] = end_of(t, i, first_rank);
        }
    }
    if (n_recvs == 0) {
        return GALV_OK;
    }
    qsort(recvs, n_recvs, sizeof *recvs, compare_ends_stably);
    int64_t id = 0;
    for (size_t i = 0; i < t->n_spans; i++) {
        if (t->spans[i].kind != GALV_OP_SEND) {
            continue;
        }
        message_end send = end_of(t, i, first_rank);
        const message_end *recv = find_answer(&send, recvs, n_recvs, n_stages);
        if (recv != NULL) {
            write_flow(w, t, lane_of, i, recv->span, ++id);
        }
    }
    return GALV_OK;
}

/* ---- the document ---- */

static galv_status write_spans(writer *w, const galv_timeline *t, int32_t *lane_of,
                               galv_arena *arena, galv_err *err)
{
    lane *heap = GALV_NEW_ARRAY(arena, lane, t->n_spans);
    if (heap == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    for (size_t begin = 0, end = 0; begin < t->n_spans; begin = end) {
        const galv_span *first = &t->spans[begin];
        for (end = begin + 1; end < t->n_spans && t->spans[end].rank == first->rank &&
                              t->spans[end].stream == first->stream;
             end++) {
        }
        int32_t n_lanes = assign_lanes(lane_of + begin, first, end - begin, heap);
        for (int32_t number = 0; number < n_lanes; number++) {
            write_lane_name(w, first->rank, first->stream, number);
        }
        for (size_t i = begin; i < end; i++) {
            write_span(w, &t->spans[i], lane_of[i]);
        }
    }
    return GALV_OK;
}

static void write_samples(writer *w, const galv_timeline *t)
{
    for (size_t i = 0; i < t->n_samples; i++) {
        const galv_memory_sample *sample = &t->samples[i];
        begin_event(w);
        galv_text_printf(w->out,
                         "{\"ph\":\"C\",\"pid\":%d,\"tid\":0,\"name\":\"memory\"",
                         (int)sample->rank);
        put_us(w, "ts", nanoseconds(sample->time_s));
        galv_text_printf(w->out, ",\"args\":{\"bytes\":%.0f}}", sample->bytes);
    }
}

static void write_tail(galv_text *out, const galv_timeline *t)
{
    galv_json_writer json;
    galv_json_writer_init(&json, out);
    galv_text_append(out,
                     "\n],\n\"displayTimeUnit\":\"ms\",\n\"otherData\":{\"title\":");
    galv_json_put_string(&json, t->title);
    galv_text_append(out, ",\"subtitle\":");
    galv_json_writer_init(&json, out);
    galv_json_put_string(&json, t->subtitle);
    galv_text_printf(out, ",\"origin\":\"%s\"}}\n",
                     t->measured ? "measured" : "simulated");
}

static galv_status write_document(galv_text *out, const galv_timeline *timeline,
                                  galv_arena *arena, galv_err *err)
{
    galv_timeline t = *timeline;
    t.spans = GALV_NEW_ARRAY(arena, galv_span, t.n_spans);
    t.samples = GALV_NEW_ARRAY(arena, galv_memory_sample, t.n_samples);
    int32_t *lane_of = GALV_NEW_ARRAY(arena, int32_t, t.n_spans);
    if (t.spans == NULL || t.samples == NULL || lane_of == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    if (t.n_spans > 0) {
        memcpy(t.spans, timeline->spans, t.n_spans * sizeof *t.spans);
    }
    if (t.n_samples > 0) {
        memcpy(t.samples, timeline->samples, t.n_samples * sizeof *t.samples);
    }
    galv_timeline_sort(&t);
    writer w = {out, false};
    galv_text_append(out, "{\"traceEvents\":[");
    for (int32_t rank = 0; rank < t.n_ranks; rank++) {
        write_rank_name(&w, &t, rank);
    }
    galv_status status = write_spans(&w, &t, lane_of, arena, err);
    if (status == GALV_OK) {
        status = write_flows(&w, &t, lane_of, arena, err);
    }
    write_samples(&w, &t);
    write_tail(out, &t);
    return status;
}

galv_status galv_timeline_put_chrome(galv_text *out, const galv_timeline *timeline,
                                     galv_err *err)
{
    galv_status status = galv_timeline_check(timeline, err);
    if (status != GALV_OK) {
        return status;
    }
    galv_arena *arena = galv_arena_new();
    if (arena == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    status = write_document(out, timeline, arena, err);
    if (status == GALV_OK && out->failed) {
        status = galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    galv_arena_free(arena);
    return status;
}

galv_status galv_timeline_write_chrome(const galv_timeline *timeline, const char *path,
                                       galv_err *err)
{
    galv_text out = GALV_TEXT_INIT;
    galv_status status = galv_timeline_put_chrome(&out, timeline, err);
    if (status == GALV_OK) {
        status = galv_file_write(path, out.bytes, out.length, err);
    }
    galv_text_release(&out);
    return status;
}

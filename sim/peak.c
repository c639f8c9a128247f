/* What a stage holds when it is fullest.
 *
 * The engine keeps the sums by use at the peak. Whose they are follows from the order:
 * every operation whose start (end) lies before that moment has taken (given back) what
 * its cost says. What starts or ends at the very moment may have done so before or
 * after the peak: the sums tell which.
 *
 * Activations are booked to the micro-batch of the operation that takes them. Buffers
 * are parted into gathered parameters, logits and workspace. The head's operations
 * change both of the first two at once: forward +l - g, backward -l - g, so that l and
 * g are half the difference and half the sum. What is left of a part after rounding is
 * less than a byte and taken for nothing.
 *
 * Left out: fragments of the allocator (part of the context). */
#include "sim/peak.h"

#include "base/units.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDING_BYTES 1.0
#define TIES_BYTES     1024.0 /* far below any tensor, far above rounding */

void galv_peak_read(galv_peak *peak, const galv_program *program,
                    const galv_rank_result *result, int32_t stage)
{
    galv_peak made = {.time_s = result->peak_time_s, .micro_batch = -1};
    uint32_t op = result->peak_op;
    if (op < program->n_ops && galv_program_rank(program, op) == stage) {
        made.has_operation = true;
        made.operation = program->classes[program->ops[op].class_index];
        made.micro_batch = program->ops[op].micro_batch;
    }
    *peak = made;
}

/* ---- attribution ---- */

/* Which of the operations that start, or end, at the very moment of the peak had done
 * so before it. */
typedef enum ties { TIES_LOWER, TIES_ALL, TIES_NONE, N_TIES } ties;

typedef struct moment {
    double time_s;
    uint32_t op;
    uint8_t stream;
    bool by_end; /* the end of `op` made the peak, not its start */
    ties starts, ends;
} moment;

static bool is_before(const moment *m, double time_s, ties at_once, uint8_t stream)
{
    return time_s < m->time_s ||
           (time_s <= m->time_s &&
            (at_once == TIES_ALL || (at_once == TIES_LOWER && stream < m->stream)));
}

static bool has_started(const moment *m, uint32_t op, const galv_span *span)
{
    return op == m->op || is_before(m, span->start_s, m->starts, span->stream);
}

static bool has_ended(const moment *m, uint32_t op, const galv_span *span)
{
    return op == m->op ? m->by_end : is_before(m, span->end_s, m->ends, span->stream);
}

/* Logits of one micro-batch: half the difference of what the head's forward and
 * backward change. */
static double logits_of(const galv_program *program, const galv_cost *costs,
                        int32_t stage, int32_t head_layer)
{
    double changes[2] = {0, 0};
    bool found[2] = {false, false};
    for (uint32_t i = 0; i < program->n_classes; i++) {
        const galv_operation *o = &program->classes[i];
        int way = o->kind == GALV_OP_FORWARD ? 0
                  : o->kind == GALV_OP_BACKWARD || o->kind == GALV_OP_BACKWARD_INPUT
                      ? 1
                      : -1;
        if (way >= 0 && o->stage == stage && o->stream == GALV_STREAM_COMPUTE &&
            o->first_layer == head_layer) {
            changes[way] = costs[i].end_bytes[GALV_MEMORY_BUFFERS];
            found[way] = true;
        }
    }
    return found[0] && found[1] ? (changes[0] - changes[1]) / 2 : 0;
}

/* How a class changes the logits when it ends: +1, -1 or not at all. */
static int turns_logits(const galv_operation *o, int32_t head_layer)
{
    if (o->stream != GALV_STREAM_COMPUTE || o->first_layer != head_layer) {
        return 0;
    }
    return o->kind == GALV_OP_FORWARD                                         ? 1
           : o->kind == GALV_OP_BACKWARD || o->kind == GALV_OP_BACKWARD_INPUT ? -1
                                                                              : 0;
}

static double whole(double bytes)
{
    return fabs(bytes) < ROUNDING_BYTES ? 0 : bytes;
}

static void count_held(galv_peak *peak, const double *held, int32_t n)
{
    peak->n_micro_batches = 0;
    peak->most_bytes = 0;
    for (int32_t b = 0; b < n; b++) {
        peak->n_micro_batches += held[b] > ROUNDING_BYTES ? 1 : 0;
        peak->most_bytes = fmax(peak->most_bytes, held[b]);
    }
}

typedef struct attribution {
    const galv_program *program;
    const galv_cost *costs;
    const galv_span *spans;
    int32_t stage, head_layer;
    double logits; /* of one micro-batch */
    double *held;  /* [n_micro_batches + 1] activations; the last: of none of them */
} attribution;

/* Adds up what has been taken and given back by a moment. */
static void add_up(galv_peak *peak, const attribution *a, const moment *at)
{
    const galv_program *program = a->program;
    int32_t m = program->n_micro_batches;
    const uint32_t *begin = &program->queue_begin[(size_t)a->stage * GALV_N_STREAMS];
    memset(a->held, 0, ((size_t)m + 1) * sizeof *a->held);
    peak->gathered_bytes = peak->logits_bytes = peak->workspace_bytes = 0;
    for (uint32_t op = begin[0]; op < begin[GALV_N_STREAMS]; op++) {
        uint32_t class_index = program->ops[op].class_index;
        const galv_cost *cost = &a->costs[class_index];
        int32_t b = program->ops[op].micro_batch;
        double *held = &a->held[b >= 0 && b < m ? b : m];
        if (!has_started(at, op, &a->spans[op])) {
            continue;
        }
        *held += cost->start_bytes[GALV_MEMORY_ACTIVATIONS];
        peak->gathered_bytes += cost->start_bytes[GALV_MEMORY_BUFFERS];
        if (!has_ended(at, op, &a->spans[op])) {
            peak->workspace_bytes += cost->transient_bytes;
            continue;
        }
        double turned =
            a->logits * turns_logits(&program->classes[class_index], a->head_layer);
        *held += cost->end_bytes[GALV_MEMORY_ACTIVATIONS];
        peak->logits_bytes += turned;
        peak->gathered_bytes += cost->end_bytes[GALV_MEMORY_BUFFERS] - turned;
    }
}

/* How far that is from what the engine counted. */
static double mismatch(const galv_peak *peak, const attribution *a,
                       const galv_rank_result *result, const galv_stage_memory *base)
{
    const double *use = result->peak_use_bytes;
    double activations = base->bytes[GALV_MEMORY_ACTIVATIONS];
    for (int32_t b = 0; b <= a->program->n_micro_batches; b++) {
        activations += a->held[b];
    }
    double buffers = peak->gathered_bytes + peak->logits_bytes + peak->workspace_bytes +
                     base->bytes[GALV_MEMORY_BUFFERS];
    return fabs(activations - use[GALV_MEMORY_ACTIVATIONS]) +
           fabs(buffers - use[GALV_MEMORY_BUFFERS]);
}

/* Tries what may have come before what at the very moment until it agrees with the
 * engine, which nearly always is the first try; else takes the nearest. */
static void find_ties(galv_peak *peak, const attribution *a, moment *at,
                      const galv_rank_result *result, const galv_stage_memory *base)
{
    moment best = *at;
    double least = INFINITY;
    for (int i = 0; i < N_TIES * N_TIES && least > TIES_BYTES; i++) {
        at->ends = (ties)(i % N_TIES);
        at->starts = (ties)(i / N_TIES);
        add_up(peak, a, at);
        double off = mismatch(peak, a, result, base);
        if (off < least) {
            least = off;
            best = *at;
        }
    }
    add_up(peak, a, &best);
}

galv_status galv_peak_attribute(galv_peak *peak, const galv_program *program,
                                const galv_cost *costs, const galv_span *spans,
                                const galv_rank_result *result, int32_t stage,
                                const galv_stage_memory *base, int32_t head_layer,
                                galv_err *err)
{
    if (!peak->has_operation) {
        return GALV_OK;
    }
    int32_t m = program->n_micro_batches;
    const galv_span *span = &spans[result->peak_op];
    attribution a = {program, costs, spans, stage, head_layer, 0, NULL};
    moment at = {result->peak_time_s, result->peak_op,
                 span->stream,        span->start_s < result->peak_time_s,
                 TIES_LOWER,          TIES_LOWER};
    a.held = calloc((size_t)m + 1, sizeof *a.held);
    if (a.held == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for %d micro-batches", (int)m);
    }
    a.logits = logits_of(program, costs, stage, head_layer);
    galv_peak made = *peak;
    find_ties(&made, &a, &at, result, base);
    count_held(&made, a.held, m);
    free(a.held);
    made.standing_bytes = base->bytes[GALV_MEMORY_BUFFERS];
    made.gathered_bytes = whole(made.gathered_bytes);
    made.logits_bytes = whole(made.logits_bytes);
    made.attributed = true;
    *peak = made;
    return GALV_OK;
}

/* ---- saying ---- */

void galv_peak_print(galv_text *out, const galv_peak *peak)
{
    char time[32];
    if (!peak->has_operation) {
        galv_text_append(out, "what is held throughout");
        return;
    }
    const galv_operation *o = &peak->operation;
    for (const char *c = galv_op_kind_names[o->kind]; *c != '\0'; c++) {
        galv_text_append_char(out, *c == '_' ? '-' : *c);
    }
    if (peak->micro_batch >= 0) {
        galv_text_printf(out, " of micro-batch %d", (int)peak->micro_batch);
    }
    if (o->n_layers == 1) {
        galv_text_printf(out, ", layer %d", (int)o->first_layer);
    } else if (o->n_layers > 1) {
        galv_text_printf(out, ", layers %d-%d", (int)o->first_layer,
                         (int)(o->first_layer + o->n_layers - 1));
    }
    galv_text_printf(out, ", at %s",
                     galv_print_duration(time, sizeof time, peak->time_s));
}

void galv_peak_to_json(const galv_peak *peak, galv_json_writer *writer)
{
    galv_json_key_f64(writer, "time_s", peak->time_s);
    if (peak->has_operation) {
        const galv_operation *o = &peak->operation;
        galv_json_key_string(writer, "operation", galv_op_kind_names[o->kind]);
        galv_json_key_string(writer, "part", galv_part_names[o->part]);
        galv_json_key_i64(writer, "chunk", o->chunk);
        galv_json_key_i64(writer, "micro_batch", peak->micro_batch);
        galv_json_key_i64(writer, "first_layer", o->first_layer);
        galv_json_key_i64(writer, "n_layers", o->n_layers);
    }
    if (peak->attributed) {
        galv_json_key_i64(writer, "micro_batches_held", peak->n_micro_batches);
        galv_json_key_f64(writer, "largest_micro_batch_bytes", peak->most_bytes);
        galv_json_key_f64(writer, "gathered_parameter_bytes", peak->gathered_bytes);
        galv_json_key_f64(writer, "logits_bytes", peak->logits_bytes);
        galv_json_key_f64(writer, "workspace_bytes", peak->workspace_bytes);
        galv_json_key_f64(writer, "standing_buffer_bytes", peak->standing_bytes);
    }
}

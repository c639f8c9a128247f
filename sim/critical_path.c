/* The path, and the account of each rank's time.
 *
 * The path. An operation begins when the one before it in its queue and all that it
 * waits for have ended; the last of these to end is what held it up. From the operation
 * that ends last, one goes back from each to what held it up, to the begin of the
 * iteration. In a simulated timeline each begins at the very moment at which what held
 * it up ends, so the path covers every second once, and a second taken off an operation
 * that is not on it gains nothing. What is on it in the way of communication is what is
 * really exposed.
 *
 * The ranks. A rank's time is cut wherever something starts or ends on it. As in the
 * engine's own account, a piece goes to computation if any runs, else to the first of
 * tp, cp, ep, dp, pp that runs, else to the bubble. A bubble ends when an operation
 * begins; what held that one up is on another rank (nothing ran here), and tells the
 * cause: a message of a forward or a backward, or, for all else, the gradients of
 * others that the step waits for. While that message itself is under way the wait
 * counts as the message's. After the last operation of a rank all is counted as
 * waiting for the step.
 *
 * Every rank by itself. A collective begins when the last of its ranks has come, so
 * what any of them waits for may have held it up, and the path goes over to that rank.
 * A rank that is itself through with all that goes before waits for the others: cause
 * "collective".
 *
 * Left out: what would be critical next. A path that is nearly as long as this one may
 * run elsewhere, so shortening the path by a second need not gain one. */
#include "sim/critical_path.h"

#include "sim/simulate_internal.h"
#include "sim/weigh.h"

#include <math.h>
#include <string.h>

const char *const galv_bubble_names[GALV_N_BUBBLES] = {
#define GALV_WORD(name, word) word,
    GALV_BUBBLE_TABLE(GALV_WORD)
#undef GALV_WORD
};

#define NO_OP UINT32_MAX

typedef struct finding {
    const galv_program *program;
    const galv_cost *costs;
    const galv_span *spans; /* [n_ops] by op */
    double duration_s;
    const galv_unfolded_program *unfolded; /* NULL: one rank for each stage */
} finding;

static const galv_operation *class_of(const finding *f, uint32_t op)
{
    return &f->program->classes[f->program->ops[op].class_index];
}

/* The later of two candidates for what held up an operation of `rank`. */
static uint32_t later(const finding *f, uint32_t a, uint32_t b, int32_t rank)
{
    if (a == NO_OP || b == NO_OP) {
        return a == NO_OP ? b : a;
    }
    const galv_span *x = &f->spans[a];
    const galv_span *y = &f->spans[b];
    if (x->end_s < y->end_s || x->end_s > y->end_s) {
        return x->end_s > y->end_s ? a : b;
    }
    if ((x->rank == rank) != (y->rank == rank)) {
        return x->rank == rank ? a : b;
    }
    return a < b ? a : b;
}

/* The later of `found` and all that an operation waits for on its own rank. */
static uint32_t later_before(const finding *f, uint32_t found, uint32_t op,
                             int32_t rank)
{
    const galv_span *span = &f->spans[op];
    if (op > 0 && f->spans[op - 1].rank == span->rank &&
        f->spans[op - 1].stream == span->stream) {
        found = later(f, found, op - 1, rank);
    }
    for (uint32_t i = f->program->ops[op].first_dependency;
         i < f->program->ops[op + 1].first_dependency; i++) {
        found = later(f, found, f->program->dependencies[i], rank);
    }
    return found;
}

static uint32_t next_member(const finding *f, uint32_t op)
{
    return f->unfolded == NULL ? op : f->unfolded->next_member[op];
}

/* What held up an operation: the last to end of all that it waited for, on any rank of
 * a collective; NO_OP when it waited for nothing. */
static uint32_t held_up_by(const finding *f, uint32_t op)
{
    uint32_t found = NO_OP;
    uint32_t member = op;
    do {
        found = later_before(f, found, member, f->spans[op].rank);
        member = next_member(f, member);
    } while (member != op);
    return found;
}

/* Was a collective held up by what another of its ranks waited for? */
static bool waits_for_others(const finding *f, uint32_t op)
{
    if (next_member(f, op) == op) {
        return false;
    }
    uint32_t own = later_before(f, NO_OP, op, f->spans[op].rank);
    return own == NO_OP || f->spans[own].end_s < f->spans[op].start_s;
}

/* ---- the path ---- */

static uint32_t last_op(const finding *f)
{
    uint32_t last = NO_OP;
    for (uint32_t op = 0; op < f->program->n_ops; op++) {
        if (last == NO_OP || f->spans[op].end_s > f->spans[last].end_s) {
            last = op;
        }
    }
    return last;
}

static galv_status walk_back(galv_critical_path *path, const finding *f,
                             galv_arena *arena, galv_err *err)
{
    uint32_t last = last_op(f);
    path->n_ops = 0;
    for (uint32_t op = last; op != NO_OP; op = held_up_by(f, op)) {
        path->n_ops++;
    }
    path->ops = GALV_NEW_ARRAY(arena, uint32_t, path->n_ops);
    path->segments = GALV_NEW_ARRAY(arena, galv_path_segment, path->n_ops);
    if (path->ops == NULL || path->segments == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for a path of %zu operations",
                         path->n_ops);
    }
    size_t at = path->n_ops;
    for (uint32_t op = last; op != NO_OP; op = held_up_by(f, op)) {
        path->ops[--at] = op;
    }
    return GALV_OK;
}

/* What a segment is named after: recomputation is part of backward. */
static uint8_t segment_kind(const galv_operation *class)
{
    int kind = class->kind;
    if (class->stream == GALV_STREAM_TP || class->stream == GALV_STREAM_CP ||
        class->stream == GALV_STREAM_EP) {
        kind = class->pass;
    }
    return (uint8_t)(kind == GALV_OP_RECOMPUTE ? GALV_OP_BACKWARD : kind);
}

static void add_to_segments(galv_critical_path *path, const finding *f, uint32_t op)
{
    const galv_span *span = &f->spans[op];
    uint8_t kind = segment_kind(class_of(f, op));
    if (path->n_segments > 0) {
        galv_path_segment *segment = &path->segments[path->n_segments - 1];
        if (segment->rank == span->rank && segment->kind == kind &&
            segment->chunk == span->chunk &&
            segment->micro_batch == span->micro_batch) {
            segment->end_s = span->end_s;
            segment->n_ops++;
            return;
        }
    }
    path->segments[path->n_segments++] =
        (galv_path_segment){span->rank, span->stage,   span->chunk, span->micro_batch,
                            kind,       span->start_s, span->end_s, 1};
}

static void sum_path(galv_critical_path *path, const finding *f)
{
    double now_s = 0;
    int32_t rank = -1;
    for (size_t i = 0; i < path->n_ops; i++) {
        uint32_t op = path->ops[i];
        const galv_span *span = &f->spans[op];
        int part = galv_sim_breakdown_of(class_of(f, op));
        double length_s = span->end_s - span->start_s;
        galv_rank_time *own = &path->ranks[span->rank];
        if (span->start_s > now_s) { /* measured timelines only */
            path->spent_s[GALV_BREAKDOWN_BUBBLE] += span->start_s - now_s;
            own->path_s[GALV_BREAKDOWN_BUBBLE] += span->start_s - now_s;
        }
        now_s = span->end_s;
        if (!(length_s > 0)) {
            continue;
        }
        path->spent_s[part] += length_s;
        own->path_s[part] += length_s;
        if (f->unfolded != NULL) {
            path->slowed_s += fmax(length_s - f->unfolded->work_s[op], 0);
        } else if (f->costs != NULL) {
            double alone_s = f->costs[f->program->ops[op].class_index].work_s;
            path->slowed_s += fmax(length_s - alone_s, 0);
        }
        path->n_hops += rank >= 0 && rank != span->rank;
        rank = span->rank;
        add_to_segments(path, f, op);
    }
    if (f->duration_s > now_s) {
        path->spent_s[GALV_BREAKDOWN_BUBBLE] += f->duration_s - now_s;
    }
}

/* ---- the ranks ---- */

/* A rank as it is gone through in time. */
typedef struct sweep {
    int32_t rank;
    uint32_t at[GALV_N_STREAMS];  /* first op that has not ended */
    uint32_t end[GALV_N_STREAMS]; /* of the queue */
    double first_compute_s;
    double last_forward_s; /* when its last forward ended */
} sweep;

static sweep sweep_begin(const finding *f, int32_t rank)
{
    sweep s = {0};
    const uint32_t *begin = &f->program->queue_begin[(size_t)rank * GALV_N_STREAMS];
    s.rank = rank;
    s.first_compute_s = (double)INFINITY;
    for (int stream = 0; stream < GALV_N_STREAMS; stream++) {
        s.at[stream] = begin[stream];
        s.end[stream] = begin[stream + 1];
    }
    for (uint32_t op = begin[GALV_STREAM_COMPUTE]; op < begin[GALV_STREAM_COMPUTE + 1];
         op++) {
        const galv_span *span = &f->spans[op];
        if (span->end_s > span->start_s) {
            s.first_compute_s = fmin(s.first_compute_s, span->start_s);
        }
        if (span->kind == GALV_OP_FORWARD) {
            s.last_forward_s = fmax(s.last_forward_s, span->end_s);
        }
    }
    return s;
}

/* The first operation to begin on a rank on which nothing runs; NO_OP = it is done. */
static uint32_t next_to_start(const finding *f, const sweep *s)
{
    uint32_t found = NO_OP;
    for (int stream = 0; stream < GALV_N_STREAMS; stream++) {
        uint32_t op = s->at[stream];
        if (op < s->end[stream] &&
            (found == NO_OP || f->spans[op].start_s < f->spans[found].start_s)) {
            found = op;
        }
    }
    return found;
}

/* The operation of another rank that a wait of `op` is for, NO_OP when there is none;
 * `op` becomes the one that waits directly. */
static uint32_t waited_for(const finding *f, uint32_t *op)
{
    uint32_t by = held_up_by(f, *op);
    while (by != NO_OP && f->spans[by].rank == f->spans[*op].rank &&
           !(f->spans[by].end_s > f->spans[by].start_s)) {
        *op = by;
        by = held_up_by(f, by);
    }
    return by == NO_OP || f->spans[by].rank == f->spans[*op].rank ? NO_OP : by;
}

static galv_bubble cause_of(const finding *f, const sweep *s, double from_s,
                            uint32_t waits, uint32_t by)
{
    const galv_operation *waiting = class_of(f, waits);
    int kind = waiting->kind;
    if (by != NO_OP && class_of(f, by)->kind == GALV_OP_SEND) {
        kind = class_of(f, by)->pass;
    }
    if (waits_for_others(f, waits)) {
        return GALV_BUBBLE_COLLECTIVE;
    }
    if (f->spans[waits].start_s <= s->first_compute_s) {
        return GALV_BUBBLE_WARM_UP;
    }
    switch (kind) {
    case GALV_OP_FORWARD:
        return GALV_BUBBLE_UPSTREAM;
    case GALV_OP_BACKWARD:
    case GALV_OP_BACKWARD_INPUT:
        return from_s >= s->last_forward_s ? GALV_BUBBLE_COOL_DOWN
                                           : GALV_BUBBLE_DOWNSTREAM;
    default:
        return GALV_BUBBLE_STEP;
    }
}

static void count_bubble(galv_rank_time *time, const finding *f, const sweep *s,
                         double from_s, double to_s)
{
    uint32_t op = next_to_start(f, s);
    time->spent_s[GALV_BREAKDOWN_BUBBLE] += to_s - from_s;
    if (op == NO_OP) {
        time->bubble_s[GALV_BUBBLE_STEP] += to_s - from_s;
        return;
    }
    uint32_t by = waited_for(f, &op);
    galv_bubble cause = cause_of(f, s, from_s, op, by);
    double message_s = 0;
    if (by != NO_OP && f->spans[by].kind == GALV_OP_SEND &&
        cause != GALV_BUBBLE_COLLECTIVE) {
        message_s = fmax(to_s - fmax(from_s, f->spans[by].start_s), 0);
    }
    time->bubble_s[GALV_BUBBLE_MESSAGE] += message_s;
    time->bubble_s[cause] += to_s - from_s - message_s;
}

/* Goes on past what has ended by `now_s`; the first stream that runs then, -1 = none,
 * and the next moment at which something begins or ends. */
static int what_runs(sweep *s, const finding *f, double now_s, double *next_s)
{
    int runs = -1;
    *next_s = f->duration_s;
    for (int stream = GALV_N_STREAMS - 1; stream >= 0; stream--) {
        while (s->at[stream] < s->end[stream] &&
               f->spans[s->at[stream]].end_s <= now_s) {
            s->at[stream]++;
        }
        if (s->at[stream] == s->end[stream]) {
            continue;
        }
        const galv_span *span = &f->spans[s->at[stream]];
        if (span->start_s <= now_s) {
            runs = stream;
            *next_s = fmin(*next_s, span->end_s);
        } else {
            *next_s = fmin(*next_s, span->start_s);
        }
    }
    return runs;
}

static void sum_rank(galv_rank_time *time, const finding *f, int32_t rank)
{
    sweep s = sweep_begin(f, rank);
    double now_s = 0;
    while (now_s < f->duration_s) {
        double next_s = 0;
        int stream = what_runs(&s, f, now_s, &next_s);
        if (stream < 0) {
            count_bubble(time, f, &s, now_s, next_s);
        } else {
            int part = galv_sim_breakdown_of(class_of(f, s.at[stream]));
            time->spent_s[part] += next_s - now_s;
        }
        now_s = next_s;
    }
}

/* ---- the whole ---- */

static galv_status find(galv_critical_path *path, const finding *f,
                        const galv_timeline *timeline, galv_arena *arena, galv_err *err)
{
    galv_critical_path made = {0};
    const galv_program *program = f->program;
    if (timeline->n_spans != program->n_ops || timeline->n_ranks != program->n_ranks) {
        return galv_fail(err, GALV_INPUT,
                         "a timeline of %zu operations, the program has %u",
                         timeline->n_spans, (unsigned)program->n_ops);
    }
    made.duration_s = timeline->duration_s;
    made.ranks_per_stage = f->unfolded == NULL ? 1 : f->unfolded->ranks_per_stage;
    made.n_ranks = program->n_ranks;
    made.ranks = GALV_NEW_ARRAY(arena, galv_rank_time, program->n_ranks);
    if (made.ranks == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for %d ranks",
                         (int)program->n_ranks);
    }
    galv_status status = walk_back(&made, f, arena, err);
    if (status != GALV_OK) {
        return status;
    }
    sum_path(&made, f);
    for (int32_t rank = 0; rank < program->n_ranks; rank++) {
        sum_rank(&made.ranks[rank], f, rank);
    }
    *path = made;
    return GALV_OK;
}

galv_status galv_critical_path_find(galv_critical_path *path,
                                    const galv_program *program, const galv_cost *costs,
                                    const galv_timeline *timeline, galv_arena *arena,
                                    galv_err *err)
{
    finding f = {program, costs, timeline->spans, timeline->duration_s, NULL};
    return find(path, &f, timeline, arena, err);
}

galv_status galv_critical_path_find_all(galv_critical_path *path,
                                        const galv_unfolded_program *unfolded,
                                        const galv_timeline *timeline,
                                        galv_arena *arena, galv_err *err)
{
    finding f = {unfolded->program, NULL, timeline->spans, timeline->duration_s,
                 unfolded};
    return find(path, &f, timeline, arena, err);
}

galv_status galv_critical_path_of_all_ranks(galv_critical_path *path,
                                            const galv_costmodel *model,
                                            const galv_plan *plan,
                                            const galv_evaluate_options *options,
                                            uint32_t run, galv_arena *arena,
                                            galv_err *err)
{
    galv_program *program = NULL;
    galv_cost *costs = NULL;
    galv_meeting *meetings = NULL;
    galv_network *network = NULL;
    int32_t per_stage = 0;
    galv_unfolded_program unfolded = {0};
    galv_all_ranks_result all = {0};
    galv_timeline timeline = {0};
    const galv_differences *differences = options->differences;
    bool shared = options->share_network ||
                  (differences != NULL && differences->n_slow_links > 0);
    galv_status status = galv_program_of_plan(&program, model, plan, NULL, arena, err);
    if (status == GALV_OK) {
        status = galv_price_program(&costs, model, plan, program, arena, err);
    }
    if (status == GALV_OK) {
        status =
            galv_meetings_of_plan(&meetings, &per_stage, plan, program, arena, err);
    }
    if (status == GALV_OK) { /* first, since it says what is too large */
        status = galv_unfold(&unfolded, program, costs, meetings, per_stage,
                             differences, run, arena, err);
    }
    if (status == GALV_OK && shared) {
        status = galv_network_new(&network, model, plan, program, costs, meetings,
                                  per_stage, differences, arena, err);
    }
    galv_all_ranks_options chosen = {differences, run, network, GALV_EVERY_PLACE};
    if (status == GALV_OK) {
        status = galv_all_ranks_simulate(&all, program, costs, NULL, meetings,
                                         per_stage, &chosen, arena, err);
    }
    if (status == GALV_OK) {
        status = galv_unfold_timeline(&timeline, &unfolded, program, &all, arena, err);
    }
    return status == GALV_OK
               ? galv_critical_path_find_all(path, &unfolded, &timeline, arena, err)
               : status;
}

galv_status galv_critical_path_of_plan(galv_critical_path *path,
                                       const galv_costmodel *model,
                                       const galv_plan *plan, galv_arena *arena,
                                       galv_err *err)
{
    galv_program *program = NULL;
    galv_cost *costs = NULL;
    galv_sim_result result = {0};
    galv_sim_options options = GALV_SIM_OPTIONS_INIT;
    options.record_timeline = true;
    galv_status status = galv_program_of_plan(&program, model, plan, NULL, arena, err);
    if (status == GALV_OK) {
        status = galv_price_program(&costs, model, plan, program, arena, err);
    }
    if (status == GALV_OK) {
        status = galv_simulate(&result, program, costs, NULL, &options, arena, err);
    }
    return status != GALV_OK ? status
                             : galv_critical_path_find(path, program, costs,
                                                       &result.timeline, arena, err);
}

/* ---- JSON ---- */

static void put_seconds(galv_json_writer *writer, const char *key,
                        const char *const names[], const double *values_s, int n)
{
    galv_json_put_key(writer, key);
    galv_json_begin_object(writer, true);
    for (int i = 0; i < n; i++) {
        galv_json_key_f64(writer, names[i], values_s[i]);
    }
    galv_json_end_object(writer);
}

static void put_rank(galv_json_writer *writer, int32_t rank, const galv_rank_time *time)
{
    galv_json_begin_object(writer, true);
    galv_json_key_i64(writer, "rank", rank);
    put_seconds(writer, "spent_s", galv_breakdown_names, time->spent_s,
                GALV_N_BREAKDOWNS);
    put_seconds(writer, "bubble_s", galv_bubble_names, time->bubble_s, GALV_N_BUBBLES);
    put_seconds(writer, "path_s", galv_breakdown_names, time->path_s,
                GALV_N_BREAKDOWNS);
    galv_json_end_object(writer);
}

static void put_segment(galv_json_writer *writer, const galv_path_segment *segment)
{
    galv_json_begin_object(writer, true);
    galv_json_key_i64(writer, "rank", segment->rank);
    galv_json_key_i64(writer, "stage", segment->stage);
    galv_json_key_i64(writer, "chunk", segment->chunk);
    galv_json_key_i64(writer, "micro_batch", segment->micro_batch);
    galv_json_key_string(writer, "kind", galv_op_kind_names[segment->kind]);
    galv_json_key_f64(writer, "start_s", segment->start_s);
    galv_json_key_f64(writer, "end_s", segment->end_s);
    galv_json_key_i64(writer, "operations", segment->n_ops);
    galv_json_end_object(writer);
}

void galv_critical_path_to_json(const galv_critical_path *path,
                                galv_json_writer *writer)
{
    galv_json_begin_object(writer, false);
    galv_json_key_f64(writer, "duration_s", path->duration_s);
    galv_json_key_i64(writer, "operations", (int64_t)path->n_ops);
    galv_json_key_i64(writer, "hops", (int64_t)path->n_hops);
    galv_json_key_f64(writer, "slowed_s", path->slowed_s);
    put_seconds(writer, "spent_s", galv_breakdown_names, path->spent_s,
                GALV_N_BREAKDOWNS);
    galv_json_key_i64(writer, "ranks_per_stage", path->ranks_per_stage);
    galv_json_put_key(writer, "ranks");
    galv_json_begin_array(writer, false);
    for (int32_t rank = 0; rank < path->n_ranks; rank++) {
        put_rank(writer, rank, &path->ranks[rank]);
    }
    galv_json_end_array(writer);
    galv_json_put_key(writer, "segments");
    galv_json_begin_array(writer, false);
    for (size_t i = 0; i < path->n_segments; i++) {
        put_segment(writer, &path->segments[i]);
    }
    galv_json_end_array(writer);
    galv_json_end_object(writer);
}

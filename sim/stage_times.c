/* Measured stage times in, a schedule's time, bubble and memory out.
 *
 * Where somebody has measured how long a micro-batch takes on each stage, no model of
 * costs stands between the measurement and the schedule: what is simulated is the order
 * alone. Passes on one stage follow one another; a message leaves when the pass that
 * made it has ended, takes t_comm_s, and delays who needs it, and who sent it only
 * where messages block. There is no optimizer step and no gradient reduction.
 *
 * Where stages wait for one another at the optimizer step (a norm of all gradients, a
 * check for overflow), an iteration takes from the first pass of all to the last of
 * all. Where they do not (post-validation), stages run on, each by itself: an iteration
 * then takes as long as the stage that needs longest from its first pass to its last,
 * and a parallelogram costs no more than a rectangle.
 *
 * Memory is activations alone. A backward that is done for inputs and weights together
 * gives all of them back; split, each half gives back half, as the orders that count
 * memory (zb-auto) take it to be. */
#include "sim/stage_times.h"

#include "base/units.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define MOST_STAGES 65536
#define MOST_CHUNKS 1024
#define MOST_TIME_S 1e6
#define MOST_BYTES  1e15

/* ---- reading ---- */

typedef struct columns {
    int stage, chunk, forward, input, weight, message, bytes;
} columns;

typedef struct row {
    int32_t stage, chunk;
    galv_stage_time time;
} row;

static galv_status find_columns(columns *c, const galv_csv *table, galv_err *err)
{
    c->stage = galv_csv_require(table, "stage", err);
    c->forward = c->stage < 0 ? -1 : galv_csv_require(table, "t_f_s", err);
    c->input = c->forward < 0 ? -1 : galv_csv_require(table, "t_b_s", err);
    c->chunk = galv_csv_column(table, "chunk");
    c->weight = galv_csv_column(table, "t_w_s");
    c->message = galv_csv_column(table, "t_comm_s");
    c->bytes = galv_csv_column(table, "activation_bytes");
    static const char *const names[] = {"stage", "chunk",    "t_f_s",           "t_b_s",
                                        "t_w_s", "t_comm_s", "activation_bytes"};
    return c->input < 0
               ? err->status
               : galv_csv_not_nearly(table, names, sizeof names / sizeof names[0], err);
}

static galv_status read_row(row *r, const galv_csv *table, size_t i, const columns *c,
                            galv_err *err)
{
    const struct {
        int column;
        double high;
        double *to;
    } numbers[] = {
        {c->forward, MOST_TIME_S, &r->time.forward_s},
        {c->input, MOST_TIME_S, &r->time.input_s},
        {c->weight, MOST_TIME_S, &r->time.weight_s},
        {c->message, MOST_TIME_S, &r->time.message_s},
        {c->bytes, MOST_BYTES, &r->time.activation_bytes},
    };
    const int needed[] = {c->stage, c->forward, c->input};
    for (size_t k = 0; k < 3; k++) {
        if (galv_csv_cell(table, i, needed[k])[0] == '\0') {
            return galv_csv_fail(table, i, needed[k], err, "is empty");
        }
    }
    galv_status status =
        galv_csv_i32(table, i, c->stage, 0, MOST_STAGES - 1, &r->stage, err);
    if (status == GALV_OK) {
        status = galv_csv_i32(table, i, c->chunk, 0, MOST_CHUNKS - 1, &r->chunk, err);
    }
    for (size_t k = 0; k < sizeof numbers / sizeof numbers[0] && status == GALV_OK;
         k++) {
        status = galv_csv_f64(table, i, numbers[k].column, 0, numbers[k].high,
                              numbers[k].to, err);
    }
    return status;
}

/* Puts every row in its place; each place must be filled once. */
static galv_status place_rows(galv_stage_times *times, const row *rows,
                              const galv_csv *table, const columns *c,
                              galv_arena *arena, galv_err *err)
{
    size_t n = (size_t)times->n_stages * (size_t)times->n_chunks;
    times->times =
        n <= table->n_rows ? GALV_NEW_ARRAY(arena, galv_stage_time, n) : NULL;
    bool *seen = n <= table->n_rows ? GALV_NEW_ARRAY(arena, bool, n) : NULL;
    if (n <= table->n_rows && (times->times == NULL || seen == NULL)) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for %zu stage times", n);
    }
    for (size_t i = 0; i < table->n_rows && seen != NULL; i++) {
        size_t at =
            (size_t)rows[i].stage * (size_t)times->n_chunks + (size_t)rows[i].chunk;
        if (seen[at]) {
            return galv_csv_fail(table, i, c->stage, err,
                                 "stage %d, chunk %d, is there twice",
                                 (int)rows[i].stage, (int)rows[i].chunk);
        }
        seen[at] = true;
        times->times[at] = rows[i].time;
    }
    if (table->n_rows != n) {
        return galv_fail_at(err, table->name, 0, 0,
                            "%zu rows for %d stages of %d chunks: every chunk of "
                            "every stage needs one",
                            table->n_rows, (int)times->n_stages, (int)times->n_chunks);
    }
    return GALV_OK;
}

/* Without a column of bytes, or with nothing in it, memory is counted in
 * micro-batches. */
static void count_activations(galv_stage_times *times)
{
    size_t n = (size_t)times->n_stages * (size_t)times->n_chunks;
    times->has_bytes = false;
    for (size_t i = 0; i < n; i++) {
        times->has_bytes |= times->times[i].activation_bytes > 0;
    }
    for (size_t i = 0; i < n && !times->has_bytes; i++) {
        times->times[i].activation_bytes = 1.0 / times->n_chunks;
    }
}

galv_status galv_stage_times_read_table(galv_stage_times *times, const galv_csv *table,
                                        galv_arena *arena, galv_err *err)
{
    columns c;
    galv_stage_times made = {0};
    galv_status status = find_columns(&c, table, err);
    if (status != GALV_OK) {
        return status;
    }
    if (table->n_rows == 0) {
        return galv_fail_at(err, table->name, 1, 0, "no stage times");
    }
    row *rows = GALV_NEW_ARRAY(arena, row, table->n_rows);
    if (rows == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for %zu stage times",
                         table->n_rows);
    }
    for (size_t i = 0; i < table->n_rows && status == GALV_OK; i++) {
        const row *r = &rows[i];
        status = read_row(&rows[i], table, i, &c, err);
        made.n_stages = r->stage >= made.n_stages ? r->stage + 1 : made.n_stages;
        made.n_chunks = r->chunk >= made.n_chunks ? r->chunk + 1 : made.n_chunks;
    }
    if (status == GALV_OK) {
        status = place_rows(&made, rows, table, &c, arena, err);
    }
    if (status == GALV_OK) {
        made.name = table->name;
        count_activations(&made);
        *times = made;
    }
    return status;
}

galv_status galv_stage_times_read(galv_stage_times *times, const char *path,
                                  galv_arena *arena, galv_err *err)
{
    galv_csv table;
    galv_status status = galv_csv_read_file(&table, path, arena, err);
    return status != GALV_OK ? status
                             : galv_stage_times_read_table(times, &table, arena, err);
}

/* ---- costs ---- */

/* All chunks of a stage; its messages are all alike: their mean. */
static galv_stage_time whole_stage(const galv_stage_times *times, int32_t stage)
{
    galv_stage_time whole = {0};
    for (int32_t chunk = 0; chunk < times->n_chunks; chunk++) {
        const galv_stage_time *t = &times->times[stage * times->n_chunks + chunk];
        whole.forward_s += t->forward_s;
        whole.input_s += t->input_s;
        whole.weight_s += t->weight_s;
        whole.message_s += t->message_s / times->n_chunks;
        whole.activation_bytes += t->activation_bytes;
    }
    return whole;
}

static galv_stage_time time_of(const galv_stage_times *times,
                               const galv_schedule *schedule, int32_t n_chunks,
                               const galv_operation *class)
{
    if (!schedule->two_way && n_chunks == times->n_chunks) {
        return times->times[class->stage * times->n_chunks + class->chunk];
    }
    /* first_layer is the virtual stage: two-way, the stage whose passes they are */
    galv_stage_time t =
        whole_stage(times, schedule->two_way ? class->first_layer : class->stage);
    t.forward_s /= n_chunks;
    t.input_s /= n_chunks;
    t.weight_s /= n_chunks;
    t.activation_bytes /= n_chunks;
    return t;
}

static void fill_cost(galv_cost *cost, int kind, const galv_stage_time *t)
{
    double *changes = cost->end_bytes;
    cost->compute_slowdown = cost->comm_slowdown = 1;
    switch (kind) {
    case GALV_OP_FORWARD:
        cost->work_s = t->forward_s;
        cost->start_bytes[GALV_MEMORY_ACTIVATIONS] = t->activation_bytes;
        break;
    case GALV_OP_BACKWARD:
        cost->work_s = t->input_s + t->weight_s;
        changes[GALV_MEMORY_ACTIVATIONS] = -t->activation_bytes;
        break;
    case GALV_OP_BACKWARD_INPUT:
        cost->work_s = t->input_s;
        changes[GALV_MEMORY_ACTIVATIONS] = -t->activation_bytes / 2;
        break;
    case GALV_OP_BACKWARD_WEIGHT:
        cost->work_s = t->weight_s;
        changes[GALV_MEMORY_ACTIVATIONS] = -t->activation_bytes / 2;
        break;
    case GALV_OP_SEND:
        cost->work_s = t->message_s;
        break;
    default:
        break;
    }
    cost->provenance_s[GALV_PROVENANCE_MEASURED] = cost->work_s;
}

/* ---- playing ---- */

static int32_t choose_chunks(const galv_stage_times *times,
                             const galv_schedule *schedule, int32_t asked)
{
    if (asked > 0) {
        return asked;
    }
    int32_t n = times->n_chunks;
    n = n < schedule->min_chunks ? schedule->min_chunks : n;
    return n > schedule->max_chunks ? schedule->max_chunks : n;
}

/* Makes every pass wait for the messages of the pass before it on its stage. Messages
 * leave a stage in the order in which they were made, so the last one is enough. */
static galv_status block(galv_program *program, galv_arena *arena, galv_err *err)
{
    const uint32_t none = UINT32_MAX;
    size_t n_most = (size_t)program->n_dependencies + program->n_ops;
    uint32_t *sent = GALV_NEW_ARRAY(arena, uint32_t, program->n_ops);
    uint32_t *waits = GALV_NEW_ARRAY(arena, uint32_t, n_most);
    if (sent == NULL || waits == NULL || n_most > UINT32_MAX) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for messages that block");
    }
    for (uint32_t op = 0; op < program->n_ops; op++) {
        sent[op] = none;
    }
    for (uint32_t op = 0; op < program->n_ops; op++) {
        if (program->classes[program->ops[op].class_index].kind == GALV_OP_SEND) {
            sent[program->dependencies[program->ops[op].first_dependency]] = op;
        }
    }
    uint32_t n = 0;
    for (int32_t rank = 0; rank < program->n_ranks; rank++) {
        const uint32_t *begin = &program->queue_begin[(size_t)rank * GALV_N_STREAMS];
        for (uint32_t op = begin[0]; op < begin[GALV_N_STREAMS]; op++) {
            uint32_t first = n;
            for (uint32_t i = program->ops[op].first_dependency;
                 i < program->ops[op + 1].first_dependency; i++) {
                waits[n++] = program->dependencies[i];
            }
            if (op > begin[0] && op < begin[1] && sent[op - 1] != none) {
                waits[n++] = sent[op - 1];
            }
            program->ops[op].first_dependency = first;
        }
    }
    program->ops[program->n_ops].first_dependency = n;
    program->dependencies = waits;
    program->n_dependencies = n;
    return GALV_OK;
}

/* What orders that follow costs go by. */
static galv_status weigh(galv_schedule_weights *weights, const galv_stage_times *times,
                         const galv_stage_times_options *options, galv_arena *arena,
                         galv_err *err)
{
    galv_stage_weights *stages =
        GALV_NEW_ARRAY(arena, galv_stage_weights, times->n_stages);
    if (stages == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for %d stages",
                         (int)times->n_stages);
    }
    weights->message = 0;
    for (int32_t stage = 0; stage < times->n_stages; stage++) {
        galv_stage_time whole = whole_stage(times, stage);
        stages[stage].forward = whole.forward_s;
        stages[stage].input = whole.input_s;
        stages[stage].weight = whole.weight_s;
        weights->message += whole.message_s / times->n_stages;
    }
    weights->stages = stages;
    weights->memory_limit = options->memory_limit;
    weights->rolling = options->steps_overlap;
    return GALV_OK;
}

/* The longest time from a stage's first pass to the end of its last, or of its last
 * message where those hold it up. */
static double longest_stage_s(const galv_timeline *timeline, const double *begin_s,
                              bool messages_block)
{
    double longest_s = 0;
    for (size_t i = 0; i < timeline->n_spans; i++) {
        const galv_span *span = &timeline->spans[i];
        if (span->stream == GALV_STREAM_COMPUTE ||
            (messages_block && span->kind == GALV_OP_SEND)) {
            longest_s = fmax(longest_s, span->end_s - begin_s[span->rank]);
        }
    }
    return longest_s;
}

static galv_status find_period(galv_stage_times_result *result, bool messages_block,
                               galv_arena *arena, galv_err *err)
{
    const galv_timeline *timeline = &result->sim.timeline;
    double *begin_s = GALV_NEW_ARRAY(arena, double, result->sim.n_ranks);
    if (begin_s == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for %d stages",
                         (int)result->sim.n_ranks);
    }
    for (int32_t rank = 0; rank < result->sim.n_ranks; rank++) {
        begin_s[rank] = result->sim.iteration_time_s;
    }
    for (size_t i = 0; i < timeline->n_spans; i++) {
        const galv_span *span = &timeline->spans[i];
        if (span->stream == GALV_STREAM_COMPUTE) {
            begin_s[span->rank] = fmin(begin_s[span->rank], span->start_s);
        }
    }
    result->period_s = longest_stage_s(timeline, begin_s, messages_block);
    return GALV_OK;
}

static void sum_up(galv_stage_times_result *result, bool steps_overlap)
{
    double busy_s = 0;
    for (int32_t rank = 0; rank < result->sim.n_ranks; rank++) {
        double own_s = result->sim.ranks[rank].busy_s;
        busy_s += own_s / result->sim.n_ranks;
        result->least_time_s = fmax(result->least_time_s, own_s);
    }
    result->makespan_s = result->sim.iteration_time_s;
    result->iteration_time_s = steps_overlap ? result->period_s : result->makespan_s;
    if (result->iteration_time_s > 0) {
        result->bubble_frac = 1 - busy_s / result->iteration_time_s;
    }
    if (result->period_s > 0) {
        result->rolling_bubble_frac = 1 - busy_s / result->period_s;
    }
}

static void title(galv_stage_times_result *result, const galv_stage_times *times,
                  const galv_stage_times_options *options)
{
    galv_timeline *timeline = &result->sim.timeline;
    snprintf(timeline->title, sizeof timeline->title,
             "%s: %d stage%s, %d chunk%s each, %d micro-batch%s",
             result->schedule->name, (int)times->n_stages,
             times->n_stages == 1 ? "" : "s", (int)result->n_chunks,
             result->n_chunks == 1 ? "" : "s", (int)options->n_micro_batches,
             options->n_micro_batches == 1 ? "" : "es");
    char duration[32];
    snprintf(timeline->subtitle, sizeof timeline->subtitle,
             "%s%s \xc2\xb7 bubble %.1f %% \xc2\xb7 stage times as given",
             galv_print_seconds(duration, sizeof duration, result->iteration_time_s),
             options->steps_overlap ? " an iteration, steps overlap" : "",
             100 * result->bubble_frac);
}

galv_status galv_stage_times_shape(galv_schedule_shape *shape,
                                   const galv_stage_times *times,
                                   const galv_schedule *schedule,
                                   const galv_stage_times_options *options,
                                   galv_arena *arena, galv_err *err)
{
    galv_schedule_weights *weights = GALV_NEW(arena, galv_schedule_weights);
    if (weights == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    shape->n_stages = times->n_stages;
    shape->n_chunks = choose_chunks(times, schedule, options->n_chunks);
    shape->n_micro_batches = options->n_micro_batches;
    shape->group_size = options->group_size;
    shape->weights = weights;
    return weigh(weights, times, options, arena, err);
}

galv_status galv_stage_times_simulate(galv_stage_times_result *result,
                                      const galv_stage_times *times,
                                      const galv_schedule *schedule,
                                      const galv_stage_times_options *options,
                                      galv_arena *arena, galv_err *err)
{
    galv_schedule_shape shape;
    galv_program *program = NULL;
    galv_stage_times_result made = {0};
    galv_sim_options sim_options = GALV_SIM_OPTIONS_INIT;
    sim_options.record_timeline = true;
    made.schedule = schedule;
    galv_status status =
        galv_stage_times_shape(&shape, times, schedule, options, arena, err);
    if (status != GALV_OK) {
        return status;
    }
    made.n_chunks = shape.n_chunks;
    status = galv_program_from_schedule(&program, schedule, &shape, arena, err);
    if (status == GALV_OK && options->messages_block) {
        status = block(program, arena, err);
    }
    if (status != GALV_OK) {
        return status;
    }
    galv_cost *costs = GALV_NEW_ARRAY(arena, galv_cost, program->n_classes);
    if (costs == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for %u costs",
                         (unsigned)program->n_classes);
    }
    for (uint32_t i = 0; i < program->n_classes; i++) {
        galv_stage_time t =
            time_of(times, schedule, made.n_chunks, &program->classes[i]);
        fill_cost(&costs[i], program->classes[i].kind, &t);
    }
    status = galv_simulate(&made.sim, program, costs, NULL, &sim_options, arena, err);
    if (status == GALV_OK) {
        status = find_period(&made, options->messages_block, arena, err);
    }
    if (status == GALV_OK) {
        const galv_timeline none = {0};
        sum_up(&made, options->steps_overlap);
        title(&made, times, options);
        made.sim.timeline = options->record_timeline ? made.sim.timeline : none;
        *result = made;
    }
    return status;
}

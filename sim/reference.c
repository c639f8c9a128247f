/* The rules of the engine, written down without regard for speed.
 *
 * Time goes from one end of an activity to the next. At every moment (1) all that is
 * done ends; (2) every queue is looked at, over and over until nothing changes: its
 * next operation starts when the one before it and all its dependencies have ended, and
 * ends at once when it has no work; (3) the rate of every activity is worked out anew
 * from what runs on its rank; (4) the clock is moved to the earliest end, and what is
 * left of each activity gets smaller by its rate times that long.
 *
 * Differences from the engine, on purpose: work left is followed instead of the time of
 * the end; nothing is kept of rates; long double, so that its own rounding is far below
 * the engine's; ends that fall together to one part in 10^15 are one moment, at which
 * every end comes before every start. The engine goes rank by rank there, so the peak
 * of a rank may differ where an end and a start of the same moment change its memory.
 *
 * Every rank by itself: the ranks of a collective are a ring of operations. They start
 * when all of them can; the links of every rank of the ring slow it, by the worst, and
 * computation on any of them does.
 *
 * Shared with the engine: the program, the costs, and how memory is counted (an
 * operation's transient goes before its other changes at its end). */
#include "sim/reference.h"
#include "sim/weigh.h"

#include <math.h>
#include <string.h>

#define SAME_MOMENT 1e-15L

typedef struct activity {
    bool running;
    bool rated; /* its rate is that of this moment */
    uint32_t op;
    const galv_cost *cost;
    long double left_s; /* of the work, at rate 1 */
    long double rate;
} activity;

typedef struct reference {
    const galv_program *program;
    const galv_cost *costs;
    const galv_unfolded_program *unfolded; /* NULL: ranks that never meet */
    uint32_t *queue_of;                    /* [n_ops] where they do */
    activity *activities;                  /* [n_queues] */
    uint32_t *head;                        /* [n_queues] first op that has not ended */
    bool *done;                            /* [n_ops] */
    double *held_bytes;                    /* [n_ranks * GALV_N_MEMORY_USES] */
    long double now_s;
    uint32_t n_done;
    galv_reference_result result;
} reference;

static uint32_t count_queues(const reference *r)
{
    return (uint32_t)r->program->n_ranks * GALV_N_STREAMS;
}

/* ---- memory ---- */

static void change_memory(reference *r, uint32_t rank, const double *changes,
                          double transient)
{
    double *held = &r->held_bytes[(size_t)rank * GALV_N_MEMORY_USES];
    double total = 0;
    held[GALV_MEMORY_BUFFERS] += transient;
    for (int use = 0; use < GALV_N_MEMORY_USES; use++) {
        held[use] += changes[use];
        total += held[use];
    }
    r->result.peak_bytes[rank] = fmax(r->result.peak_bytes[rank], total);
}

/* ---- starting and ending ---- */

static void end_activity(reference *r, uint32_t queue)
{
    activity *a = &r->activities[queue];
    a->running = false;
    r->done[a->op] = true;
    r->head[queue]++;
    r->n_done++;
    r->result.end_s[a->op] = (double)r->now_s;
    change_memory(r, queue / GALV_N_STREAMS, a->cost->end_bytes,
                  -a->cost->transient_bytes);
}

/* The same collective on the next rank of its group; the op itself where alone. */
static uint32_t next_member(const reference *r, uint32_t op)
{
    return r->unfolded == NULL ? op : r->unfolded->next_member[op];
}

static uint32_t queue_of_member(const reference *r, uint32_t queue, uint32_t op,
                                uint32_t member)
{
    return member == op ? queue : r->queue_of[member];
}

/* Has the turn of a queue's next operation come? */
static bool has_turn(const reference *r, uint32_t queue)
{
    uint32_t op = r->head[queue];
    if (r->activities[queue].running || op == r->program->queue_begin[queue + 1]) {
        return false;
    }
    for (uint32_t i = r->program->ops[op].first_dependency;
         i < r->program->ops[op + 1].first_dependency; i++) {
        if (!r->done[r->program->dependencies[i]]) {
            return false;
        }
    }
    return true;
}

/* And that of the same collective on all its ranks? */
static bool can_start(const reference *r, uint32_t queue)
{
    if (!has_turn(r, queue)) {
        return false;
    }
    uint32_t op = r->head[queue];
    for (uint32_t other = next_member(r, op); other != op;
         other = next_member(r, other)) {
        uint32_t of = r->queue_of[other];
        if (r->head[of] != other || !has_turn(r, of)) {
            return false;
        }
    }
    return true;
}

static void start_activity(reference *r, uint32_t queue)
{
    activity *a = &r->activities[queue];
    a->running = true;
    a->op = r->head[queue];
    a->cost = &r->costs[r->program->ops[a->op].class_index];
    a->left_s = (long double)(r->unfolded == NULL ? a->cost->work_s
                                                  : r->unfolded->work_s[a->op]);
    r->result.start_s[a->op] = (double)r->now_s;
    change_memory(r, queue / GALV_N_STREAMS, a->cost->start_bytes,
                  a->cost->transient_bytes);
}

/* Starts what comes next in a queue, on all ranks that do it together. */
static void start_together(reference *r, uint32_t queue)
{
    uint32_t op = r->head[queue];
    uint32_t member = op;
    do {
        start_activity(r, queue_of_member(r, queue, op, member));
        member = next_member(r, member);
    } while (member != op);
    if (r->activities[queue].left_s > 0) {
        return;
    }
    do {
        end_activity(r, queue_of_member(r, queue, op, member));
        member = next_member(r, member);
    } while (member != op);
}

static void start_all(reference *r)
{
    bool started = true;
    while (started) {
        started = false;
        for (uint32_t queue = 0; queue < count_queues(r); queue++) {
            while (can_start(r, queue)) {
                start_together(r, queue);
                started = true;
            }
        }
    }
}

/* ---- rates ---- */

/* How much computation is slowed by what is communicated beside it on its rank:
 * streams[] are the rank's activities. */
static long double computation_slowed(const activity *streams)
{
    long double slowdown = 1;
    for (int other = 0; other < GALV_N_STREAMS; other++) {
        if (streams[other].running && other != GALV_STREAM_COMPUTE) {
            slowdown =
                fmaxl(slowdown, (long double)streams[other].cost->compute_slowdown);
        }
    }
    return slowdown;
}

/* How much the links of one rank slow a communication that uses them. */
static long double slowed_by_links(const activity *streams, const galv_cost *cost)
{
    long double intra = 0;
    long double inter = 0;
    for (int other = 0; other < GALV_N_STREAMS; other++) {
        if (streams[other].running && other != GALV_STREAM_COMPUTE) {
            intra += (long double)streams[other].cost->intra_share;
            inter += (long double)streams[other].cost->inter_share;
        }
    }
    long double slowed = 1;
    if (cost->intra_share > 0) {
        slowed = fmaxl(slowed, intra);
    }
    if (cost->inter_share > 0) {
        slowed = fmaxl(slowed, inter);
    }
    return slowed;
}

/* The rate of a communication, from what runs beside it on all its ranks. */
static long double communication_rate(const reference *r, uint32_t queue)
{
    uint32_t op = r->head[queue];
    uint32_t member = op;
    const galv_cost *cost = r->activities[queue].cost;
    long double slowed = 1;
    bool beside = false;
    do {
        uint32_t of = queue_of_member(r, queue, op, member);
        const activity *streams = &r->activities[of - of % GALV_N_STREAMS];
        slowed = fmaxl(slowed, slowed_by_links(streams, cost));
        beside |= streams[GALV_STREAM_COMPUTE].running;
        member = next_member(r, member);
    } while (member != op);
    if (beside) {
        slowed *= fmaxl(1, (long double)cost->comm_slowdown);
    }
    return 1 / slowed;
}

static void set_rate(reference *r, uint32_t queue)
{
    activity *a = &r->activities[queue];
    if (queue % GALV_N_STREAMS == GALV_STREAM_COMPUTE) {
        a->rate = 1 / computation_slowed(&r->activities[queue]);
        return;
    }
    if (a->rated) { /* with another rank of its group */
        return;
    }
    long double rate = communication_rate(r, queue);
    uint32_t member = a->op;
    do {
        activity *of = &r->activities[queue_of_member(r, queue, a->op, member)];
        of->rate = rate;
        of->rated = true;
        member = next_member(r, member);
    } while (member != a->op);
}

/* ---- the clock ---- */

/* How long until the next end; INFINITY when nothing runs. */
static long double set_rates(reference *r)
{
    long double soonest = (long double)INFINITY;
    for (uint32_t queue = 0; queue < count_queues(r); queue++) {
        r->activities[queue].rated = false;
    }
    for (uint32_t queue = 0; queue < count_queues(r); queue++) {
        activity *a = &r->activities[queue];
        if (a->running) {
            set_rate(r, queue);
            soonest = fminl(soonest, a->left_s / a->rate);
        }
    }
    return soonest;
}

static void advance(reference *r, long double step_s)
{
    r->now_s += step_s;
    r->result.n_steps++;
    for (uint32_t queue = 0; queue < count_queues(r); queue++) {
        activity *a = &r->activities[queue];
        if (a->running) {
            a->left_s -= step_s * a->rate;
            if (a->left_s <= r->now_s * SAME_MOMENT) {
                end_activity(r, queue);
            }
        }
    }
}

static galv_status play(reference *r, galv_err *err)
{
    start_all(r);
    while (r->n_done < r->program->n_ops) {
        long double step_s = set_rates(r);
        if (!(step_s < (long double)INFINITY)) {
            return galv_fail(err, GALV_INPUT,
                             "the program deadlocks: %u of its %u operations never run",
                             (unsigned)(r->program->n_ops - r->n_done),
                             (unsigned)r->program->n_ops);
        }
        advance(r, step_s);
        start_all(r);
    }
    return GALV_OK;
}

static bool set_up(reference *r, const galv_stage_memory *base, galv_arena *arena)
{
    size_t n_ranks = (size_t)r->program->n_ranks;
    size_t n_queues = n_ranks * GALV_N_STREAMS;
    size_t n_ops = r->program->n_ops;
    r->activities = GALV_NEW_ARRAY(arena, activity, n_queues);
    r->head = GALV_NEW_ARRAY(arena, uint32_t, n_queues);
    r->done = GALV_NEW_ARRAY(arena, bool, n_ops);
    r->held_bytes = GALV_NEW_ARRAY(arena, double, n_ranks *GALV_N_MEMORY_USES);
    r->result.start_s = GALV_NEW_ARRAY(arena, double, n_ops);
    r->result.end_s = GALV_NEW_ARRAY(arena, double, n_ops);
    r->result.peak_bytes = GALV_NEW_ARRAY(arena, double, n_ranks);
    if (r->activities == NULL || r->head == NULL || r->done == NULL ||
        r->held_bytes == NULL || r->result.start_s == NULL || r->result.end_s == NULL ||
        r->result.peak_bytes == NULL) {
        return false;
    }
    for (size_t queue = 0; queue < n_queues; queue++) {
        r->head[queue] = r->program->queue_begin[queue];
    }
    for (uint32_t rank = 0; base != NULL && rank < n_ranks; rank++) {
        change_memory(r, rank, base[rank].bytes, 0);
    }
    return true;
}

static galv_status run(galv_reference_result *result, reference *r,
                       const galv_stage_memory *base, galv_arena *arena, galv_err *err)
{
    if (!set_up(r, base, arena)) {
        return galv_fail(err, GALV_NO_MEMORY,
                         "a check of %u operations does not fit in memory",
                         (unsigned)r->program->n_ops);
    }
    galv_status status = play(r, err);
    if (status == GALV_OK) {
        r->result.iteration_time_s = (double)r->now_s;
        *result = r->result;
    }
    return status;
}

galv_status galv_reference_simulate(galv_reference_result *result,
                                    const galv_program *program, const galv_cost *costs,
                                    const galv_stage_memory *base, galv_arena *arena,
                                    galv_err *err)
{
    reference r = {.program = program, .costs = costs};
    return run(result, &r, base, arena, err);
}

galv_status galv_reference_simulate_all(galv_reference_result *result,
                                        const galv_unfolded_program *unfolded,
                                        const galv_cost *costs,
                                        const galv_stage_memory *base,
                                        galv_arena *arena, galv_err *err)
{
    const galv_program *program = unfolded->program;
    reference r = {.program = program, .costs = costs, .unfolded = unfolded};
    galv_stage_memory *of_ranks = NULL;
    r.queue_of = GALV_NEW_ARRAY(arena, uint32_t, program->n_ops);
    if (base != NULL) {
        of_ranks = GALV_NEW_ARRAY(arena, galv_stage_memory, program->n_ranks);
    }
    if (r.queue_of == NULL || (base != NULL && of_ranks == NULL)) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for %d ranks",
                         (int)program->n_ranks);
    }
    for (uint32_t queue = 0; queue < count_queues(&r); queue++) {
        for (uint32_t op = program->queue_begin[queue];
             op < program->queue_begin[queue + 1]; op++) {
            r.queue_of[op] = queue;
        }
    }
    for (int32_t rank = 0; base != NULL && rank < program->n_ranks; rank++) {
        of_ranks[rank] = base[rank / unfolded->ranks_per_stage];
    }
    return run(result, &r, of_ranks, arena, err);
}

/* ---- comparing ---- */

galv_status galv_check_results(galv_check *check, const galv_program *program,
                               const galv_sim_result *sim,
                               const galv_reference_result *reference_result,
                               galv_err *err)
{
    galv_check made = {0};
    const galv_reference_result *r = reference_result;
    if (sim->timeline.n_spans != program->n_ops || sim->n_ranks != program->n_ranks) {
        return galv_fail(err, GALV_INTERNAL, "a timeline of %zu spans, not %u",
                         sim->timeline.n_spans, (unsigned)program->n_ops);
    }
    double whole_s = fmax(r->iteration_time_s, 1e-300);
    for (uint32_t op = 0; op < program->n_ops; op++) {
        const galv_span *span = &sim->timeline.spans[op];
        double apart_s = fmax(fabs(span->start_s - r->start_s[op]),
                              fabs(span->end_s - r->end_s[op]));
        if (apart_s / whole_s > made.time_frac) {
            made.time_frac = apart_s / whole_s;
            made.worst_op = op;
        }
    }
    double apart_s = fabs(sim->iteration_time_s - r->iteration_time_s);
    made.time_frac = fmax(made.time_frac, apart_s / whole_s);
    for (int32_t rank = 0; rank < program->n_ranks; rank++) {
        double apart = fabs(sim->ranks[rank].peak_bytes - r->peak_bytes[rank]);
        double frac = apart / fmax(r->peak_bytes[rank], 1);
        if (frac > made.memory_frac) {
            made.memory_frac = frac;
            made.worst_rank = rank;
        }
    }
    made.iteration_time_s = r->iteration_time_s;
    made.n_steps = r->n_steps;
    made.n_ops = program->n_ops;
    *check = made;
    return GALV_OK;
}

/* A plan compiled, and priced. */
typedef struct stand {
    galv_program *program;
    galv_cost *costs;
    galv_stage_memory *base;
} stand;

static galv_status prepare(stand *s, const galv_costmodel *model, const galv_plan *plan,
                           galv_arena *arena, galv_err *err)
{
    s->base = GALV_NEW_ARRAY(arena, galv_stage_memory, plan->pp);
    if (s->base == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for %d stages", (int)plan->pp);
    }
    for (int32_t stage = 0; stage < plan->pp; stage++) {
        galv_costmodel_stage_memory(&s->base[stage], model, plan, stage);
    }
    galv_status status =
        galv_program_of_plan(&s->program, model, plan, NULL, arena, err);
    return status == GALV_OK
               ? galv_price_program(&s->costs, model, plan, s->program, arena, err)
               : status;
}

galv_status galv_check_plan(galv_check *check, const galv_costmodel *model,
                            const galv_plan *plan, galv_arena *arena, galv_err *err)
{
    stand s = {0};
    galv_sim_result sim = {0};
    galv_reference_result naive = {0};
    galv_sim_options options = GALV_SIM_OPTIONS_INIT;
    options.record_timeline = true;
    galv_status status = prepare(&s, model, plan, arena, err);
    if (status == GALV_OK) {
        status = galv_simulate(&sim, s.program, s.costs, s.base, &options, arena, err);
    }
    if (status == GALV_OK) {
        status =
            galv_reference_simulate(&naive, s.program, s.costs, s.base, arena, err);
    }
    return status != GALV_OK ? status
                             : galv_check_results(check, s.program, &sim, &naive, err);
}

static galv_status refuse_large(const galv_program *program, int32_t ranks_per_stage,
                                galv_err *err)
{
    double n = ranks_per_stage;
    double n_ranks = n * program->n_ranks;
    double n_ops = n * program->n_ops;
    if (n_ranks * n_ops <= GALV_MOST_CHECKED) {
        return GALV_OK;
    }
    galv_fail(err, GALV_USAGE,
              "%.0f operations of %.0f ranks are too many for the second simulator: at "
              "most %.0f operations of so many ranks",
              n_ops, n_ranks, floor(GALV_MOST_CHECKED / n_ranks));
    galv_hint(err, "a smaller cluster or fewer micro-batches, or the check of one rank "
                   "for each stage, without --all-ranks");
    return GALV_USAGE;
}

galv_status galv_check_all_ranks(galv_check *check, const galv_costmodel *model,
                                 const galv_plan *plan,
                                 const galv_differences *differences,
                                 uint32_t run_index, galv_arena *arena, galv_err *err)
{
    stand s = {0};
    galv_meeting *meetings = NULL;
    int32_t per_stage = 0;
    galv_all_ranks_result all = {0};
    galv_unfolded_program unfolded = {0};
    galv_reference_result naive = {0};
    galv_all_ranks_options options = {differences, run_index, NULL, GALV_EVERY_PLACE};
    galv_status status = prepare(&s, model, plan, arena, err);
    if (status == GALV_OK) {
        status =
            galv_meetings_of_plan(&meetings, &per_stage, plan, s.program, arena, err);
    }
    if (status == GALV_OK) {
        status = refuse_large(s.program, per_stage, err);
    }
    if (status == GALV_OK) {
        status = galv_unfold(&unfolded, s.program, s.costs, meetings, per_stage,
                             differences, run_index, arena, err);
    }
    if (status == GALV_OK) {
        status = galv_all_ranks_simulate(&all, s.program, s.costs, s.base, meetings,
                                         per_stage, &options, arena, err);
    }
    if (status == GALV_OK) {
        status = galv_unfold_timeline(&all.sim.timeline, &unfolded, s.program, &all,
                                      arena, err);
    }
    if (status == GALV_OK) {
        status =
            galv_reference_simulate_all(&naive, &unfolded, s.costs, s.base, arena, err);
    }
    return status != GALV_OK
               ? status
               : galv_check_results(check, unfolded.program, &all.sim, &naive, err);
}

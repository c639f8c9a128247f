/* Writing out what the simulation of every rank keeps once.
 *
 * The operations of a rank are those of its stage in the folded program, in the same
 * order; ranks follow one another, so where an op lies is arithmetic. What an op waits
 * for lies on the same place of its own or another stage. A collective is one op on
 * each of its ranks; a ring ties them together, as a dependency could not: none of them
 * begins before the other. One without work moves nothing, and nobody waits in it.
 *
 * What an operation takes is worked out here again from the differences, by the rule
 * that differences.h states (one draw for all ranks of a collective, by the first of
 * them), not taken from the engine, which is checked against this. */
#include "sim/unfold.h"

#include <string.h>

static uint32_t stage_begin(const galv_program *folded, int32_t stage)
{
    return folded->queue_begin[(size_t)stage * GALV_N_STREAMS];
}

uint32_t galv_unfolded_op(const galv_program *folded, int32_t ranks_per_stage,
                          uint32_t op, int32_t stage, int32_t place)
{
    uint32_t first = stage_begin(folded, stage);
    uint32_t n_stage = stage_begin(folded, stage + 1) - first;
    return first * (uint32_t)ranks_per_stage + (uint32_t)place * n_stage + (op - first);
}

typedef struct writing {
    const galv_program *folded;
    galv_program *program;
    galv_unfolded_program *out;
    const galv_cost *costs;
    const galv_meeting *meetings;
    int32_t *stage_of; /* [n_ops of the folded] */
    double *factors;   /* [n_ranks] of stragglers; NULL: all 1 */
    double compute_sigma, comm_sigma;
    uint64_t key;
} writing;

static double work_of(const writing *w, uint32_t class_index, uint32_t op,
                      int32_t first_rank)
{
    double work_s = w->costs[class_index].work_s;
    bool compute = w->folded->classes[class_index].stream == GALV_STREAM_COMPUTE;
    double sigma = compute ? w->compute_sigma : w->comm_sigma;
    if (compute && w->factors != NULL) {
        work_s *= w->factors[first_rank];
    }
    return sigma > 0
               ? work_s * galv_random_lognormal(w->key, (uint64_t)first_rank, op, sigma)
               : work_s;
}

/* One op of one rank: its ring, its work, what it waits for. */
static void write_op(writing *w, uint32_t op, int32_t stage, int32_t place)
{
    const galv_program *folded = w->folded;
    galv_program *program = w->program;
    int32_t n = w->out->ranks_per_stage;
    uint32_t at = galv_unfolded_op(folded, n, op, stage, place);
    uint32_t class_index = folded->ops[op].class_index;
    galv_meeting meeting = w->meetings[class_index];
    int32_t first = place;
    int32_t next = place;
    if (meeting.n > 1 && w->costs[class_index].work_s > 0) {
        uint32_t group = galv_meeting_group(meeting, (uint32_t)place);
        first = (int32_t)galv_meeting_first_place(meeting, group);
        next = place + meeting.stride;
        next = next < first + meeting.n * meeting.stride ? next : first;
    }
    program->ops[at] = folded->ops[op];
    program->ops[at].first_dependency = program->n_dependencies;
    w->out->next_member[at] = galv_unfolded_op(folded, n, op, stage, next);
    w->out->work_s[at] = work_of(w, class_index, op, stage * n + first);
    for (uint32_t i = folded->ops[op].first_dependency;
         i < folded->ops[op + 1].first_dependency; i++) {
        uint32_t other = folded->dependencies[i];
        program->dependencies[program->n_dependencies++] =
            galv_unfolded_op(folded, n, other, w->stage_of[other], place);
    }
}

static void write_ranks(writing *w)
{
    const galv_program *folded = w->folded;
    galv_program *program = w->program;
    int32_t n = w->out->ranks_per_stage;
    for (int32_t rank = 0; rank < program->n_ranks; rank++) {
        int32_t stage = rank / n;
        int32_t place = rank % n;
        const uint32_t *queues = &folded->queue_begin[(size_t)stage * GALV_N_STREAMS];
        for (int stream = 0; stream < GALV_N_STREAMS; stream++) {
            program->queue_begin[(size_t)rank * GALV_N_STREAMS + (size_t)stream] =
                galv_unfolded_op(folded, n, queues[stream], stage, place);
        }
        for (uint32_t op = queues[0]; op < queues[GALV_N_STREAMS]; op++) {
            write_op(w, op, stage, place);
        }
    }
    program->queue_begin[(size_t)program->n_ranks * GALV_N_STREAMS] = program->n_ops;
    program->ops[program->n_ops].first_dependency = program->n_dependencies;
}

static galv_status allocate(writing *w, int32_t ranks_per_stage, galv_arena *arena,
                            galv_err *err)
{
    const galv_program *folded = w->folded;
    uint64_t n = (uint64_t)ranks_per_stage;
    uint64_t n_ops = n * folded->n_ops;
    uint64_t n_ranks = n * (uint64_t)folded->n_ranks;
    if (n_ops > GALV_MOST_UNFOLDED_OPS || n * folded->n_dependencies > UINT32_MAX / 2) {
        return galv_fail(err, GALV_USAGE,
                         "%llu operations of %llu ranks are too many to be written "
                         "out: at most %d",
                         (unsigned long long)n_ops, (unsigned long long)n_ranks,
                         GALV_MOST_UNFOLDED_OPS);
    }
    galv_program *made = w->program = GALV_NEW(arena, galv_program);
    w->stage_of = GALV_NEW_ARRAY(arena, int32_t, folded->n_ops + 1);
    w->out->next_member = GALV_NEW_ARRAY(arena, uint32_t, n_ops);
    w->out->work_s = GALV_NEW_ARRAY(arena, double, n_ops);
    bool enough = made != NULL && w->stage_of != NULL && w->out->next_member != NULL &&
                  w->out->work_s != NULL;
    if (enough) {
        *made = *folded;
        made->n_ranks = (int32_t)n_ranks;
        made->n_ops = (uint32_t)n_ops;
        made->n_dependencies = 0; /* as far as they are written */
        made->ops = GALV_NEW_ARRAY(arena, galv_program_op, n_ops + 1);
        made->queue_begin =
            GALV_NEW_ARRAY(arena, uint32_t, n_ranks * GALV_N_STREAMS + 1);
        made->dependencies =
            GALV_NEW_ARRAY(arena, uint32_t, n * folded->n_dependencies + 1);
        enough = made->ops != NULL && made->queue_begin != NULL &&
                 made->dependencies != NULL;
    }
    return enough ? GALV_OK
                  : galv_fail(err, GALV_NO_MEMORY, "no memory for %llu operations",
                              (unsigned long long)n_ops);
}

galv_status galv_unfold(galv_unfolded_program *unfolded, const galv_program *program,
                        const galv_cost *costs, const galv_meeting *meetings,
                        int32_t ranks_per_stage, const galv_differences *differences,
                        uint32_t run, galv_arena *arena, galv_err *err)
{
    galv_unfolded_program made = {.ranks_per_stage = ranks_per_stage};
    writing w = {.folded = program, .out = &made, .costs = costs, .meetings = meetings};
    galv_status status = allocate(&w, ranks_per_stage, arena, err);
    if (status == GALV_OK && galv_differences_of_ranks(differences)) {
        w.compute_sigma = differences->compute_sigma;
        w.comm_sigma = differences->comm_sigma;
        w.key = galv_random_key(differences->seed, run);
        status = galv_differences_factors(&w.factors, differences, run,
                                          w.program->n_ranks, arena, err);
    }
    if (status != GALV_OK) {
        return status;
    }
    for (int32_t stage = 0; stage < program->n_ranks; stage++) {
        for (uint32_t op = stage_begin(program, stage);
             op < stage_begin(program, stage + 1); op++) {
            w.stage_of[op] = stage;
        }
    }
    write_ranks(&w);
    made.program = w.program;
    *unfolded = made;
    return GALV_OK;
}

galv_status galv_unfold_timeline(galv_timeline *timeline,
                                 const galv_unfolded_program *unfolded,
                                 const galv_program *folded,
                                 const galv_all_ranks_result *all, galv_arena *arena,
                                 galv_err *err)
{
    const galv_program *program = unfolded->program;
    int32_t n = unfolded->ranks_per_stage;
    galv_timeline made = {0};
    made.spans = GALV_NEW_ARRAY(arena, galv_span, program->n_ops);
    if (made.spans == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for a timeline of %u ops",
                         (unsigned)program->n_ops);
    }
    for (int32_t rank = 0; rank < program->n_ranks; rank++) {
        int32_t stage = rank / n;
        uint32_t first = stage_begin(folded, stage);
        uint32_t to = galv_unfolded_op(folded, n, first, stage, rank % n);
        const galv_span *from = &all->spans[(size_t)(rank % n) * folded->n_ops + first];
        memcpy(&made.spans[to], from,
               (stage_begin(folded, stage + 1) - first) * sizeof *from);
    }
    made.n_ranks = program->n_ranks;
    made.n_chunks = program->n_chunks;
    made.n_spans = program->n_ops;
    made.duration_s = all->sim.iteration_time_s;
    *timeline = made;
    return GALV_OK;
}

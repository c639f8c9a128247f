/* One task, solved for the time that Galvatron reports.
 *
 * Let c_i and r_i be the sums over the blocks of stage i without and with the reduction
 * of gradients, C_i = c_i and what embedding and head add. The iteration (costmodel/
 * galvatron_model.h) is the largest of
 *
 *   T1  = sum C_i + (n-1) C_last
 *   T2a = (min(p-1, n-1) + n+1-p) C_0
 *   T2b = sum over i >= 1 of C_i + (n+1-p) C_0
 *
 * plus what the reductions of some stage i take beyond all passes up to it:
 * max(0, max over i of r_i - sum over j <= i of C_j). Each stage has a memory of its
 * own, so without that last term every stage would simply be as fast as it can. With
 * the excess of stage 0 alone, r_0 - C_0, the whole is still monotone in every C_i and
 * in r_0: so stages from 1 on are as fast as they can be, and stage 0 minimises the
 * largest of six linear terms in (c_0, r_0); both are what search/counts.h does
 * exactly. The minimum is a lower bound of the task. When at that point no later stage
 * has a larger excess, it is the time of that plan, hence the task's best; else the
 * plan is kept with its true time, and the bound is reported. */
#include "search/galvatron_task_internal.h"

#include <math.h>
#include <string.h>

/* ---- what can be used ---- */

static bool is_megatron(const galv_strategy *s)
{
    return s->tp > 1 && s->sp != GALV_SP_ULYSSES;
}

/* Without a buffer there is no tensor parallelism; with one, no larger degree. */
static bool allowed(const galv_galvatron_room *room, const galv_strategy *s)
{
    return room->buffer_tp == 0 ? !is_megatron(s) : s->tp <= room->buffer_tp;
}

static double whole(const galv_galvatron_room *room, double mib)
{
    return room->space->exact_mib ? mib : ceil(mib);
}

static double layer_mib(const galv_galvatron_room *room, const galv_galvatron_part *p,
                        int32_t stage)
{
    int32_t in_flight = galv_galvatron_in_flight(&room->shape->task, stage);
    return whole(room, p->states_mib + p->activation_mib * in_flight);
}

/* What embedding and head add to a stage. */
static galv_galvatron_part end_of(const galv_galvatron_room *room, int32_t ends,
                                  int32_t stage)
{
    galv_galvatron_part none = {0};
    int32_t last = room->shape->task.pp - 1;
    return stage == 0 || stage == last ? room->shape->priced[ends].ends[stage > 0]
                                       : none;
}

/* MiB for the blocks of a stage. */
static double limit_of(const galv_galvatron_room *room, int32_t ends, int32_t stage)
{
    galv_galvatron_part end = end_of(room, ends, stage);
    int32_t in_flight = galv_galvatron_in_flight(&room->shape->task, stage);
    double held = end.states_mib + end.activation_mib * in_flight;
    return room->usable_mib - whole(room, held + room->inputs->context_mib) -
           floor(room->buffer_mib);
}

bool galv_galvatron_end_allowed(const galv_galvatron_room *room, int32_t ends)
{
    const galv_galvatron_priced *p = &room->shape->priced[ends];
    return p->is_end && allowed(room, &p->strategy);
}

/* Layers evenly, the rest on the last stage, as Galvatron has it. */
static void divide_evenly(galv_galvatron_room *room)
{
    int32_t pp = room->shape->task.pp, n = room->inputs->n_layers;
    for (int32_t s = 0; s < pp; s++) {
        room->stage_blocks[s] = n / pp;
    }
    room->stage_blocks[pp - 1] += n % pp;
}

bool galv_galvatron_turn_to(galv_galvatron_room *room,
                            const galv_galvatron_shape *shape, int32_t shape_index,
                            int32_t buffer_tp)
{
    room->shape = shape;
    room->shape_index = shape_index;
    room->buffer_tp = buffer_tp;
    room->buffer_mib = galv_galvatron_buffer_mib(room->inputs, &shape->task, buffer_tp);
    divide_evenly(room);
    for (int32_t s = 0; s < shape->task.pp; s++) {
        if (s > 0 && galv_galvatron_in_flight(&shape->task, s) ==
                         galv_galvatron_in_flight(&shape->task, s - 1)) {
            room->n_options[s] = room->n_options[s - 1];
            memcpy(room->options[s], room->options[s - 1], sizeof room->options[s]);
            continue;
        }
        int32_t n = 0;
        for (int32_t i = 0; i < shape->n_priced; i++) {
            const galv_galvatron_priced *p = &shape->priced[i];
            if (p->is_layer && allowed(room, &p->strategy)) {
                room->options[s][n++] =
                    (galv_count_option){p->layer.no_sync_s, p->layer.sync_s,
                                        layer_mib(room, &p->layer, s), i};
            }
        }
        room->n_options[s] = galv_counts_prepare(room->options[s], n);
        if (n == 0) {
            return false;
        }
    }
    return true;
}

/* ---- the terms ---- */

static galv_count_problem problem_of(const galv_galvatron_room *room, int32_t ends,
                                     int32_t stage, const galv_count_term *terms,
                                     int32_t n_terms, double beat)
{
    return (galv_count_problem){room->stage_blocks[stage],
                                room->n_options[stage],
                                room->options[stage],
                                limit_of(room, ends, stage),
                                n_terms,
                                terms,
                                beat};
}

/* C_i alone. */
static galv_count_term fastest(const galv_galvatron_room *room, int32_t ends,
                               int32_t stage)
{
    return (galv_count_term){end_of(room, ends, stage).no_sync_s, 1, 0};
}

/* The iteration in (c_0, r_0), later stages given: `middle` the sum of C_1 .. C_p-2,
 * `last` C_p-1 (both 0 with one stage). */
static int32_t first_terms(galv_count_term *terms, const galv_galvatron_room *room,
                           int32_t ends, double middle, double last)
{
    double p = room->shape->task.pp, n = room->shape->task.n_micro_batches;
    double end = end_of(room, ends, 0).no_sync_s;
    if (room->shape->task.pp == 1) {
        terms[0] = (galv_count_term){n * end, n, 0};
        terms[1] = (galv_count_term){(n - 1) * end, n - 1, 1};
        return 2;
    }
    double alone = fmin(p - 1, n - 1) + n + 1 - p;
    const galv_count_term passes[] = {
        {middle + n * last + end, 1, 0},
        {alone * end, alone, 0},
        {middle + last + (n + 1 - p) * end, n + 1 - p, 0}};
    for (int i = 0; i < 3; i++) {
        terms[i] = passes[i];
        terms[3 + i] = (galv_count_term){passes[i].constant - end,
                                         passes[i].no_sync - 1, passes[i].sync + 1};
    }
    return 6;
}

/* ---- bounds ---- */

/* Fills room->bounds_s; false when a stage cannot hold its blocks. */
static bool bound_stages(galv_galvatron_room *room, int32_t ends)
{
    for (int32_t s = 0; s < room->shape->task.pp; s++) {
        galv_count_term term = fastest(room, ends, s);
        galv_count_problem problem = problem_of(room, ends, s, &term, 1, INFINITY);
        room->bounds_s[s] = galv_counts_bound(&problem);
        if (!isfinite(room->bounds_s[s])) {
            return false;
        }
    }
    return true;
}

static double middle_of(const double *stage_s, int32_t pp)
{
    double sum = 0;
    for (int32_t s = 1; s < pp - 1; s++) {
        sum += stage_s[s];
    }
    return sum;
}

static double first_bound(const galv_galvatron_room *room, int32_t ends)
{
    galv_count_term terms[6];
    int32_t pp = room->shape->task.pp;
    int32_t n = first_terms(terms, room, ends, middle_of(room->bounds_s, pp),
                            pp > 1 ? room->bounds_s[pp - 1] : 0);
    galv_count_problem problem = problem_of(room, ends, 0, terms, n, INFINITY);
    return galv_counts_bound(&problem);
}

double galv_galvatron_task_bound(galv_galvatron_room *room, int32_t ends)
{
    return bound_stages(room, ends) ? first_bound(room, ends) : (double)INFINITY;
}

/* ---- solving ---- */

/* What is left of the best time for C_i, others at their bounds. */
static double allowance(const galv_galvatron_room *room, int32_t stage)
{
    int32_t pp = room->shape->task.pp;
    double n = room->shape->task.n_micro_batches;
    double others = 0;
    for (int32_t s = 0; s < pp; s++) {
        double times = s == pp - 1 ? n : 1;
        others += s == stage ? 0 : times * room->bounds_s[s];
    }
    return (room->best.time_s - others) / (stage == pp - 1 ? n : 1);
}

static void keep(galv_galvatron_room *room, int32_t ends,
                 const galv_galvatron_stage *stages, double time_s)
{
    galv_galvatron_best *best = &room->best;
    best->time_s = time_s;
    best->shape = room->shape_index;
    best->buffer_tp = room->buffer_tp;
    best->ends = ends;
    for (int32_t s = 0; s < room->shape->task.pp; s++) {
        best->stages[s] = stages[s];
        best->stage_blocks[s] = room->stage_blocks[s];
        memset(best->counts[s], 0, sizeof best->counts[s]);
        for (int32_t i = 0; i < room->n_options[s]; i++) {
            best->counts[s][room->options[s][i].name] = room->answers[s].counts[i];
        }
    }
}

/* The true time of the answers. */
static void judge(galv_galvatron_room *room, int32_t ends)
{
    galv_galvatron_stage stages[GALV_GALVATRON_MAX_STAGES];
    int32_t pp = room->shape->task.pp;
    double least = room->answers[0].value;
    for (int32_t s = 0; s < pp; s++) {
        const galv_count_answer *a = &room->answers[s];
        stages[s] = (galv_galvatron_stage){
            a->sync_s, a->no_sync_s + end_of(room, ends, s).no_sync_s,
            room->usable_mib - limit_of(room, ends, s) + a->memory};
    }
    double time =
        galv_galvatron_pipeline_s(stages, pp, room->shape->task.n_micro_batches);
    if (time < room->best.time_s) {
        keep(room, ends, stages, time);
    }
    if (time > least * (1 + 1e-12)) {
        room->lower_bound_s = fmin(room->lower_bound_s, least);
    }
}

void galv_galvatron_task_solve(galv_galvatron_room *room, int32_t ends)
{
    int32_t pp = room->shape->task.pp;
    if (!bound_stages(room, ends)) {
        return;
    }
    double bound = first_bound(room, ends);
    for (int32_t s = pp - 1; s >= 0 && bound < room->best.time_s; s--) {
        galv_count_term terms[6] = {fastest(room, ends, s)};
        int32_t n_terms = 1;
        double beat = s > 0 ? allowance(room, s) : room->best.time_s;
        if (s == 0) {
            n_terms = first_terms(terms, room, ends, middle_of(room->bounds_s, pp),
                                  pp > 1 ? room->bounds_s[pp - 1] : 0);
        }
        galv_count_problem problem = problem_of(room, ends, s, terms, n_terms, beat);
        galv_counts_best(&room->answers[s], &problem);
        if (!room->answers[s].exact) {
            room->lower_bound_s = fmin(room->lower_bound_s, bound);
        }
        if (!room->answers[s].found) {
            return;
        }
        if (s > 0) {
            room->bounds_s[s] = room->answers[s].value;
            bound = first_bound(room, ends);
        }
    }
    if (bound < room->best.time_s) {
        judge(room, ends);
    }
}

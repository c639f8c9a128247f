/* Candidates of each phase, and the shortest way through them.
 *
 * A layout is one plan apart from the batch and the micro-batch, which can change from
 * step to step; each is tried in every phase with every micro-batch, so that a plan
 * that is second best everywhere can be kept throughout. With K candidates of each of P
 * phases there are at most K P layouts, and P (K P)^2 switches to be priced; a switch
 * between two layouts costs the same whatever the phases. What every phase takes at
 * least, by its search, is what no sequence can beat. */
#include "search/phases.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    MOST_CANDIDATES = 16, /* of a phase, unless asked for */
    LEAST_CANDIDATES = 4,
    USUAL_LAYOUTS = 64,    /* of all phases, about */
    MOST_MICRO_BATCHES = 8 /* tried of one layout in one phase */
};

typedef struct runner {
    const galv_phase *phases;
    size_t n_phases;
    galv_job *jobs;  /* [n_phases] */
    bool *proven;    /* [n_phases] */
    double *least_s; /* [n_phases] of a step: no plan is faster */
    const galv_space *space;
    galv_costmodel **models; /* [n_phases] */
    size_t n_layouts, capacity;
    const galv_plan **layouts; /* [capacity] */
    galv_plan **plans;         /* [n_phases][capacity]; NULL: does not run there */
    galv_result *results;      /* [n_phases][capacity] */
    galv_switching *switches;  /* [capacity][capacity] */
    double restart_time_s;
    galv_arena *arena;
} runner;

galv_status galv_plan_in_phase(galv_plan **copy, const galv_plan *plan,
                               const galv_job *phase_job, galv_arena *arena,
                               galv_err *err)
{
    galv_plan *made = NULL;
    galv_status status = galv_plan_copy(&made, plan, arena, err);
    if (status == GALV_OK) {
        made->global_batch_size = phase_job->workload.global_batch_size;
        status = galv_plan_check(made, phase_job, err);
    }
    if (status == GALV_OK) {
        *copy = made;
    }
    return status;
}

static galv_status allocate(runner *r, size_t per_phase, galv_err *err)
{
    r->capacity = per_phase * r->n_phases;
    r->jobs = GALV_NEW_ARRAY(r->arena, galv_job, r->n_phases);
    r->proven = GALV_NEW_ARRAY(r->arena, bool, r->n_phases);
    r->least_s = GALV_NEW_ARRAY(r->arena, double, r->n_phases);
    r->models = GALV_NEW_ARRAY(r->arena, galv_costmodel *, r->n_phases);
    r->layouts = GALV_NEW_ARRAY(r->arena, const galv_plan *, r->capacity);
    r->plans = GALV_NEW_ARRAY(r->arena, galv_plan *, r->n_phases * r->capacity);
    r->results = GALV_NEW_ARRAY(r->arena, galv_result, r->n_phases * r->capacity);
    r->switches = GALV_NEW_ARRAY(r->arena, galv_switching, r->capacity * r->capacity);
    bool made = r->jobs && r->proven && r->least_s && r->models && r->layouts &&
                r->plans && r->results && r->switches;
    return made ? GALV_OK : galv_fail(err, GALV_NO_MEMORY, "out of memory");
}

static void name_phase(galv_err *err, const galv_phase *phase)
{
    char message[sizeof err->message];
    snprintf(message, sizeof message, "%s", err->message);
    snprintf(err->message, sizeof err->message, "phase %s: %.440s", phase->name,
             message);
}

/* Keeps a plan of a layout for a phase if it is the fastest one there. */
static void offer(runner *r, size_t phase, size_t layout, galv_plan *plan,
                  const galv_result *result)
{
    size_t at = phase * r->capacity + layout;
    if (r->plans[at] == NULL ||
        result->iteration_time_s < r->results[at].iteration_time_s) {
        r->plans[at] = plan;
        r->results[at] = *result;
    }
}

/* Searches one phase and adds its best plans to the layouts. */
static galv_status search_phase(runner *r, size_t phase, const galv_profile *profile,
                                const galv_space *space,
                                const galv_search_options *options, bool *interrupted,
                                galv_err *err)
{
    galv_search_result found = {0};
    galv_status status =
        galv_costmodel_new(&r->models[phase], &r->jobs[phase], profile, err);
    if (status == GALV_OK) {
        status = galv_search(&found, r->models[phase], space, options, r->arena, err);
    }
    if (status != GALV_OK) {
        name_phase(err, &r->phases[phase]);
        return status;
    }
    r->proven[phase] = found.proven_optimal;
    r->least_s[phase] = found.interrupted ? 0 : found.lower_bound_s;
    *interrupted = *interrupted || found.interrupted;
    for (int32_t i = 0; i < found.n_plans; i++) {
        size_t layout = 0;
        while (layout < r->n_layouts &&
               !galv_same_layout(r->layouts[layout], found.plans[i].plan)) {
            layout++;
        }
        if (layout == r->capacity) {
            continue;
        }
        if (layout == r->n_layouts) {
            r->layouts[r->n_layouts++] = found.plans[i].plan;
        }
        offer(r, phase, layout, found.plans[i].plan, &found.plans[i].result);
    }
    return GALV_OK;
}

static bool wanted(const galv_choices *choices, int64_t value)
{
    for (size_t i = 0; i < choices->n_values; i++) {
        if (choices->values[i] == value) {
            return true;
        }
    }
    return choices->n_values == 0;
}

/* One layout with one micro-batch in one phase, as far as it may be the best. */
static galv_status try_micro_batch(runner *r, size_t phase, size_t layout,
                                   int32_t micro_batch, galv_err *err)
{
    galv_evaluate_options options = GALV_EVALUATE_OPTIONS_INIT;
    galv_err why = GALV_ERR_INIT;
    galv_plan *plan = NULL;
    galv_plan other = *r->layouts[layout];
    galv_result result = {0};
    size_t at = phase * r->capacity + layout;
    other.micro_batch_size = micro_batch;
    options.sim.stop_at_s = r->plans[at] != NULL ? r->results[at].iteration_time_s : 0;
    galv_status status =
        galv_plan_in_phase(&plan, &other, &r->jobs[phase], r->arena, &why);
    if (status == GALV_OK) {
        status =
            galv_evaluate(&result, r->models[phase], plan, &options, r->arena, &why);
    }
    if (status == GALV_NO_MEMORY) {
        return galv_fail(err, status, "%s", why.message);
    }
    if (status == GALV_OK && !result.stopped && result.fits) {
        offer(r, phase, layout, plan, &result);
    }
    return GALV_OK;
}

/* Every layout in every phase where it can run and fits. */
static galv_status try_everywhere(runner *r, galv_err *err)
{
    for (size_t phase = 0; phase < r->n_phases; phase++) {
        int64_t batch = r->jobs[phase].workload.global_batch_size;
        for (size_t i = 0; i < r->n_layouts; i++) {
            int64_t samples = batch / galv_plan_strategy(r->layouts[i], 0)->dp;
            int n_tried = 0;
            galv_status status =
                try_micro_batch(r, phase, i, r->layouts[i]->micro_batch_size, err);
            for (int64_t size = 1;
                 status == GALV_OK && size <= samples && n_tried < MOST_MICRO_BATCHES;
                 size++) {
                if (samples % size == 0 && wanted(&r->space->micro_batch, size)) {
                    n_tried++;
                    status = try_micro_batch(r, phase, i, (int32_t)size, err);
                }
            }
            if (status != GALV_OK) {
                return status;
            }
        }
    }
    return GALV_OK;
}

static galv_status price_switches(runner *r, galv_err *err)
{
    galv_status status = GALV_OK;
    for (size_t from = 0; from < r->n_layouts; from++) {
        for (size_t to = 0; to < r->n_layouts && status == GALV_OK; to++) {
            if (from != to) {
                status = galv_switching_cost(&r->switches[from * r->capacity + to],
                                             &r->jobs[0], r->layouts[from],
                                             r->layouts[to], err);
            }
        }
    }
    return status;
}

static double phase_time_s(const runner *r, size_t phase, size_t layout)
{
    size_t at = phase * r->capacity + layout;
    if (r->plans[at] == NULL) {
        return HUGE_VAL;
    }
    return galv_phase_steps(&r->jobs[phase], &r->phases[phase]) *
           r->results[at].iteration_time_s;
}

static double switch_time_s(const runner *r, size_t from, size_t to)
{
    const galv_switching *s = &r->switches[from * r->capacity + to];
    return s->changes ? s->time_s + r->restart_time_s : 0;
}

/* The sequence of layouts that ends first: ends_s[layout] of the phase at hand, and for
 * every phase which layout it came from. Ties go to staying, then to the first. */
static galv_status shortest(size_t *choice, double *time_s, const runner *r,
                            galv_err *err)
{
    size_t n = r->n_layouts;
    double *ends_s = GALV_NEW_ARRAY(r->arena, double, n);
    double *next_s = GALV_NEW_ARRAY(r->arena, double, n);
    size_t *came_from = GALV_NEW_ARRAY(r->arena, size_t, n * r->n_phases);
    if (ends_s == NULL || next_s == NULL || came_from == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    for (size_t layout = 0; layout < n; layout++) {
        ends_s[layout] = phase_time_s(r, 0, layout);
    }
    for (size_t phase = 1; phase < r->n_phases; phase++) {
        for (size_t to = 0; to < n; to++) {
            size_t best = to;
            double best_s = ends_s[to];
            for (size_t from = 0; from < n; from++) {
                double after_s = ends_s[from] + switch_time_s(r, from, to);
                if (after_s < best_s) {
                    best = from;
                    best_s = after_s;
                }
            }
            came_from[phase * n + to] = best;
            next_s[to] = best_s + phase_time_s(r, phase, to);
        }
        memcpy(ends_s, next_s, n * sizeof ends_s[0]);
    }
    size_t last = 0;
    for (size_t layout = 1; layout < n; layout++) {
        last = ends_s[layout] < ends_s[last] ? layout : last;
    }
    *time_s = ends_s[last];
    for (size_t phase = r->n_phases; phase-- > 0;) {
        choice[phase] = last;
        last = phase > 0 ? came_from[phase * n + last] : last;
    }
    return GALV_OK;
}

static void keep_one(galv_planned_run *run, const runner *r)
{
    run->kept_time_s = HUGE_VAL;
    for (size_t layout = 0; layout < r->n_layouts; layout++) {
        double sum_s = 0;
        for (size_t phase = 0; phase < r->n_phases; phase++) {
            sum_s += phase_time_s(r, phase, layout);
        }
        if (sum_s < run->kept_time_s) {
            run->kept_time_s = sum_s;
            run->kept_plan = r->plans[layout];
        }
    }
}

static galv_status choose(galv_planned_run *run, const runner *r, galv_err *err)
{
    size_t choice[GALV_MOST_PHASES];
    galv_status status = shortest(choice, &run->time_s, r, err);
    run->n_phases = r->n_phases;
    run->phases = GALV_NEW_ARRAY(r->arena, galv_planned_phase, r->n_phases);
    if (status == GALV_OK && run->phases == NULL) {
        status = galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    for (size_t phase = 0; phase < r->n_phases && status == GALV_OK; phase++) {
        galv_planned_phase *p = &run->phases[phase];
        size_t at = phase * r->capacity + choice[phase];
        p->phase = &r->phases[phase];
        p->job = r->jobs[phase];
        p->plan = r->plans[at];
        p->result = r->results[at];
        p->n_steps = galv_phase_steps(&p->job, p->phase);
        p->time_s = phase_time_s(r, phase, choice[phase]);
        p->proven = r->proven[phase];
        run->lower_bound_s += p->n_steps * r->least_s[phase];
        if (phase > 0) {
            p->switching = r->switches[choice[phase - 1] * r->capacity + choice[phase]];
            p->switched = p->switching.changes;
            run->n_switches += p->switched;
        }
    }
    keep_one(run, r);
    return status;
}

galv_status galv_phases_plan(galv_planned_run *run, const galv_job *job,
                             const galv_phase *phases, size_t n_phases,
                             const galv_profile *profile, const galv_space *space,
                             const galv_search_options *options, double restart_time_s,
                             galv_arena *arena, galv_err *err)
{
    galv_planned_run made = {0};
    galv_search_options own = *options;
    if (options->top_k <= 0) {
        int32_t each = (int32_t)(USUAL_LAYOUTS / n_phases);
        own.top_k = each > MOST_CANDIDATES    ? MOST_CANDIDATES
                    : each < LEAST_CANDIDATES ? LEAST_CANDIDATES
                                              : each;
        own.per_kind = 1;
    }
    runner r = {.phases = phases,
                .n_phases = n_phases,
                .space = space,
                .restart_time_s = restart_time_s,
                .arena = arena};
    galv_status status = allocate(&r, (size_t)own.top_k, err);
    for (size_t phase = 0; phase < n_phases && status == GALV_OK; phase++) {
        r.jobs[phase] = galv_phase_job(job, &phases[phase]);
        status = search_phase(&r, phase, profile, space, &own, &made.interrupted, err);
    }
    if (status == GALV_OK) {
        status = try_everywhere(&r, err);
    }
    if (status == GALV_OK) {
        status = price_switches(&r, err);
    }
    if (status == GALV_OK) {
        status = choose(&made, &r, err);
    }
    for (size_t phase = 0; r.models != NULL && phase < n_phases; phase++) {
        galv_costmodel_free(r.models[phase]);
    }
    if (status == GALV_OK) {
        *run = made;
    }
    return status;
}

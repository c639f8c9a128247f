/* Leave out and fit anew.
 *
 * For every pair of a word and a stack one calibration is made; its knobs, which are
 * distances from the built-in values, are then laid on each left-out case's own device
 * and software year. Cases are predicted one at a time: each has a profile of its own.
 *
 * A calibration takes runs by device and precision; of its stacks the one nearest to
 * the case is taken: of its device and precision, else of its device, else of its
 * precision, else any; of several the one with the most runs. */
#include "accuracy/leave_out.h"

#include "accuracy/calibrate.h"
#include "accuracy/error_sums.h"

#include <math.h>
#include <string.h>

#define MOST_OF_SOURCE 16
#define MIN_RUNS       3

typedef struct leaving {
    const galv_case *cases;
    size_t n_cases;
    int by;
    const galv_profile *profile;
    int n_jobs;
    galv_arena *arena;
    const galv_validation *all; /* everything, as built in */
} leaving;

static bool same_stack(const galv_validated_case *a, const galv_validated_case *b)
{
    static const galv_feature features[] = {
        GALV_FEATURE_SOFTWARE, GALV_FEATURE_GENERATION, GALV_FEATURE_PRECISION};
    for (int i = 0; i < 3; i++) {
        if (strcmp(a->kind.words[features[i]], b->kind.words[features[i]]) != 0) {
            return false;
        }
    }
    return true;
}

static bool same_word(const leaving *l, size_t a, size_t b)
{
    return strcmp(galv_case_word(&l->all->cases[a], l->by),
                  galv_case_word(&l->all->cases[b], l->by)) == 0;
}

static bool is_run(const galv_validated_case *c)
{
    return !isnan(c->error_frac) && c->kind.words[GALV_FEATURE_SOFTWARE][0] != '\0';
}

/* The cases that speak for case `target`, chosen evenly from each source. */
static size_t choose(galv_case *chosen, const leaving *l, size_t target)
{
    size_t n = 0;
    for (size_t i = 0; i < l->n_cases; i++) {
        const galv_validated_case *c = &l->all->cases[i];
        if (!is_run(c) || same_word(l, i, target) ||
            !same_stack(c, &l->all->cases[target])) {
            continue;
        }
        size_t before = 0; /* of this source that also speak */
        size_t total = 0;
        for (size_t j = 0; j < l->n_cases; j++) {
            const galv_validated_case *other = &l->all->cases[j];
            if (is_run(other) && strcmp(other->source, c->source) == 0 &&
                !same_word(l, j, target) && same_stack(other, c)) {
                before += j < i;
                total++;
            }
        }
        /* Every (total / most)-th: where the multiple of `most` passes a whole. */
        if (total <= MOST_OF_SOURCE ||
            (before + 1) * MOST_OF_SOURCE / total > before * MOST_OF_SOURCE / total) {
            chosen[n] = l->cases[i];
            chosen[n++].source = c->source;
        }
    }
    return n;
}

static int nearness(const galv_stack_fit *stack, const galv_case *c)
{
    bool device = strcmp(stack->device->id, c->gpu) == 0;
    bool precision =
        strcmp(galv_precision_names[stack->workload->precision], c->precision) == 0;
    return stack->n_runs == 0 ? -1 : (device ? 2 : 0) + (precision ? 1 : 0);
}

static const galv_stack_fit *nearest_stack(const galv_calibration *calibration,
                                           const galv_case *c)
{
    const galv_stack_fit *best = &calibration->stacks[0];
    for (size_t s = 1; s < calibration->n_stacks; s++) {
        const galv_stack_fit *stack = &calibration->stacks[s];
        int more = nearness(stack, c) - nearness(best, c);
        if (more > 0 || (more == 0 && stack->n_runs > best->n_runs)) {
            best = stack;
        }
    }
    return best;
}

/* Predicts one case under the knobs of a stack. */
static galv_status predict_one(galv_validated_case *out, const leaving *l, size_t i,
                               const galv_stack_fit *stack, galv_err *err)
{
    galv_job job;
    galv_plan *plan = NULL;
    double x[GALV_N_KNOBS];
    galv_knob_zeros zeros;
    galv_validation one;
    galv_profile *profile = galv_profile_new();
    if (profile == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for a profile");
    }
    galv_status status = galv_case_to_plan(&job, &plan, &l->cases[i], l->arena, err);
    for (int k = 0; k < GALV_N_KNOBS; k++) {
        x[k] = stack->knobs[k].x;
    }
    for (size_t r = 0; l->profile != NULL && r < l->profile->n_rows; r++) {
        if (status == GALV_OK) {
            status = galv_profile_add(profile, &l->profile->rows[r], err);
        }
    }
    if (status == GALV_OK) {
        const galv_device *device = &job.cluster.pools[0].device;
        galv_knob_zeros_init(&zeros, device, &job.workload, l->profile);
        status = galv_knobs_to_profile(profile, x, &zeros, device,
                                       job.workload.precision, "left out", err);
    }
    if (status == GALV_OK) {
        status = galv_validate(&one, &l->cases[i], 1, profile, 1, l->arena, err);
    }
    if (status == GALV_OK) {
        *out = one.cases[0];
    }
    galv_profile_free(profile);
    return status;
}

/* All cases of the word and stack of `first`, which comes first among them. */
static galv_status predict_left_out(galv_validated_case *out, bool *refitted,
                                    const leaving *l, size_t first, galv_case *chosen,
                                    galv_err *err)
{
    galv_measured_run *runs = NULL;
    size_t n_runs = 0;
    galv_calibration calibration;
    size_t n = choose(chosen, l, first);
    if (n < MIN_RUNS) {
        return GALV_OK;
    }
    galv_status status = galv_runs_from_cases(&runs, &n_runs, chosen, n, l->arena, err);
    if (status == GALV_OK) {
        status = galv_calibrate(&calibration, runs, n_runs, l->profile, GALV_FOR_OTHERS,
                                l->n_jobs, l->arena, err);
    }
    for (size_t i = first; i < l->n_cases && status == GALV_OK; i++) {
        const galv_validated_case *c = &l->all->cases[i];
        if (is_run(c) && same_word(l, i, first) &&
            same_stack(c, &l->all->cases[first])) {
            status = predict_one(&out[i], l, i,
                                 nearest_stack(&calibration, c->measured), err);
            refitted[i] = status == GALV_OK;
        }
    }
    return status;
}

static galv_status finish(galv_validation *validation, bool **refitted,
                          galv_validation *made, bool *again, galv_arena *arena,
                          galv_err *err)
{
    galv_error_sum *sum = NULL;
    size_t n = 0;
    galv_status status = galv_error_sums(&sum, &n, made, GALV_BY_ALL, arena, err);
    if (status != GALV_OK) {
        return status;
    }
    made->n_timed = sum->n_timed;
    made->mape_frac = sum->mape_frac;
    made->bias_frac = sum->bias_frac;
    made->p90_frac = sum->p90_frac;
    made->worst_frac = sum->worst_frac;
    made->n_memory = sum->n_memory;
    made->memory_mape_frac = sum->memory_mape_frac;
    *validation = *made;
    *refitted = again;
    return GALV_OK;
}

galv_status galv_leave_out(galv_validation *validation, bool **refitted,
                           const galv_case *cases, size_t n_cases, int by,
                           const galv_profile *profile, int n_jobs, galv_arena *arena,
                           galv_err *err)
{
    galv_validation all;
    leaving l = {cases, n_cases, by, profile, n_jobs, arena, &all};
    galv_status status =
        galv_validate(&all, cases, n_cases, profile, n_jobs, arena, err);
    if (status != GALV_OK) {
        return status;
    }
    galv_validated_case *out = GALV_NEW_ARRAY(arena, galv_validated_case, n_cases);
    bool *done = GALV_NEW_ARRAY(arena, bool, n_cases);
    bool *again = GALV_NEW_ARRAY(arena, bool, n_cases);
    galv_case *chosen = GALV_NEW_ARRAY(arena, galv_case, n_cases);
    if (out == NULL || done == NULL || again == NULL || chosen == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for %zu cases", n_cases);
    }
    if (n_cases > 0) {
        memcpy(out, all.cases, n_cases * sizeof *out);
    }
    for (size_t i = 0; i < n_cases && status == GALV_OK; i++) {
        if (done[i] || !is_run(&all.cases[i])) {
            continue;
        }
        for (size_t j = i; j < n_cases; j++) {
            done[j] = done[j] ||
                      (same_word(&l, i, j) && same_stack(&all.cases[i], &all.cases[j]));
        }
        status = predict_left_out(out, again, &l, i, chosen, err);
    }
    all.cases = out;
    return status == GALV_OK ? finish(validation, refitted, &all, again, arena, err)
                             : status;
}

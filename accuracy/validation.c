/* Validation: every case predicted by itself, then the sums over all.
 *
 * A case is independent of the others: it gets an arena of its own while it is
 * predicted, what lasts is copied into the caller's arena afterwards, and sums are
 * taken in the order of the cases, so the number of threads cannot change a bit.
 *
 * Cases that give stage times (t_f, t_b for inputs, t_w, t_comm) instead of a model are
 * played from their schedule alone, with those times: whole-stage times are shared out
 * evenly over the chunks, and schedules that do not split backward take t_b + t_w.
 * Plain schedules of several chunks are taken to be Megatron-LM's with messages that
 * block, which is how the authors of zero bubble ran them beside their own
 * (--no-overlap-p2p-communication in examples/pretrain_zero_bubble.sh of their
 * repository); without chunks it makes next to no difference. Such a prediction leaves
 * out the optimizer step, which the measured time contains.
 *
 * p90 is the smallest error that at least 90 % of the timed cases do not exceed. */
#include "accuracy/validation.h"

#include "base/parallel.h"
#include "sim/stage_times.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WHY_NOT_LENGTH 210

typedef struct validating {
    const galv_profile *profile;
    galv_validated_case *cases;
    galv_stage_result **stages; /* [n_cases] of the heap, NULL = none */
} validating;

/* ---- stage times alone ---- */

/* Stage times are measured with nothing beside them, so that what a message costs its
 * stage is not in them: messages block. Schedules that split backward ran with
 * post-validation, the others have no use for it (docs/model.md). */
static galv_status predict_stage_times(galv_validated_case *out, galv_arena *arena,
                                       galv_err *err)
{
    const galv_case *c = out->measured;
    const galv_schedule *schedule = NULL;
    galv_stage_times_result played = {0};
    galv_status status = galv_schedule_find(&schedule, c->schedule, err);
    if (status != GALV_OK) {
        return status;
    }
    galv_stage_times times = {"", c->pp, 1, NULL, false};
    times.times = GALV_NEW_ARRAY(arena, galv_stage_time, c->pp);
    if (times.times == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for a case");
    }
    for (int32_t stage = 0; stage < c->pp; stage++) {
        times.times[stage] =
            (galv_stage_time){c->t_f_s, c->t_b_s, c->t_w_s, c->t_comm_s, 0};
    }
    galv_stage_times_options options = {.n_chunks = c->vpp > 0 ? c->vpp : 1,
                                        .n_micro_batches = c->n_micro_batches,
                                        .messages_block = true,
                                        .steps_overlap = schedule->splits_backward,
                                        .memory_limit = c->memory_limit_activations};
    status = galv_stage_times_simulate(&played, &times, schedule, &options, arena, err);
    if (status == GALV_OK) {
        const galv_sim_result *from = &played.sim;
        double *spent_s = out->result.breakdown_s;
        out->predicted_iteration_time_s = played.iteration_time_s;
        out->result.iteration_time_s = played.iteration_time_s;
        out->result.events = from->n_events;
        out->result.provenance[GALV_PROVENANCE_MEASURED] = 1;
        for (int32_t rank = 0; rank < from->n_ranks; rank++) {
            for (int part = 0; part < GALV_N_BREAKDOWNS; part++) {
                spent_s[part] += from->ranks[rank].spent_s[part] / from->n_ranks;
            }
        }
        /* what a stage idles while others still are in the iteration before */
        spent_s[GALV_BREAKDOWN_BUBBLE] -= played.makespan_s - played.iteration_time_s;
    }
    return status;
}

/* ---- one case ---- */

double galv_peak_as_counted(const galv_stage_result *stage,
                            const galv_kept_memory *kept, const char *memory_kind)
{
    double needed = stage->peak_memory_bytes;
    double allocated = needed - stage->memory[GALV_MEMORY_CONTEXT];
    bool in_step =
        stage->peak.has_operation && stage->peak.operation.kind == GALV_OP_OPTIMIZER;
    double flat = in_step ? 0 : kept->flat_bytes;
    if (strcmp(memory_kind, "torch_peak") == 0) {
        return allocated;
    }
    if (strcmp(memory_kind, "torch_reserved") == 0) {
        return allocated + kept->slack_bytes + flat;
    }
    return strcmp(memory_kind, "nvidia_smi") == 0 ? needed + flat : needed;
}

static double peak_of_kind(const galv_result *result, const galv_costmodel *model,
                           const galv_plan *plan, const char *memory_kind)
{
    double peak = 0;
    for (int32_t i = 0; i < result->n_stages; i++) {
        galv_kept_memory kept;
        galv_costmodel_kept(&kept, model, plan, i);
        peak = fmax(peak, galv_peak_as_counted(&result->stages[i], &kept, memory_kind));
    }
    return peak;
}

static galv_status predict_plan(galv_validated_case *out, galv_stage_result **stages,
                                const galv_profile *profile, galv_arena *arena,
                                galv_err *err)
{
    galv_job job;
    galv_plan *plan = NULL;
    galv_costmodel *model = NULL;
    galv_result result = {0};
    const galv_evaluate_options options = GALV_EVALUATE_OPTIONS_INIT;
    galv_status status = galv_case_to_plan(&job, &plan, out->measured, arena, err);
    if (status == GALV_OK) {
        status = galv_costmodel_new(&model, &job, profile, err);
    }
    if (status != GALV_OK) {
        return status;
    }
    status = galv_evaluate(&result, model, plan, &options, arena, err);
    if (status == GALV_OK) {
        out->predicted_peak_memory_bytes =
            peak_of_kind(&result, model, plan, out->measured->memory_kind);
    }
    galv_costmodel_free(model);
    if (status != GALV_OK) {
        return status;
    }
    size_t n_stages = (size_t)result.n_stages;
    *stages = calloc(n_stages, sizeof **stages);
    if (*stages == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for the stages of a case");
    }
    memcpy(*stages, result.stages, n_stages * sizeof **stages);
    out->predicted_iteration_time_s = result.iteration_time_s;
    galv_run_kind_init(&out->kind, &job, plan, &result);
    result.stages = NULL;
    out->result = result;
    return GALV_OK;
}

static void predict(void *context, size_t item, int worker)
{
    validating *v = context;
    galv_validated_case *out = &v->cases[item];
    galv_err err = GALV_ERR_INIT;
    galv_arena *arena = galv_arena_new();
    (void)worker;
    if (arena == NULL) {
        out->status = galv_fail(&err, GALV_NO_MEMORY, "no memory for a case");
    } else if (out->measured->fault != NULL) {
        out->status = galv_fail(&err, GALV_INPUT, "%s", out->measured->fault);
    } else if (out->measured->model.n_groups == 0 && out->measured->t_f_s > 0) {
        out->status = predict_stage_times(out, arena, &err);
    } else {
        out->status = predict_plan(out, &v->stages[item], v->profile, arena, &err);
    }
    if (out->status != GALV_OK) {
        snprintf(out->why_not, sizeof out->why_not, "%.*s%s%.80s", WHY_NOT_LENGTH,
                 err.message, err.hint[0] != '\0' ? "; " : "", err.hint);
    }
    galv_arena_free(arena);
}

/* ---- sums ---- */

static int compare_f64(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static void set_errors(galv_validated_case *c)
{
    c->error_frac = (double)NAN;
    c->memory_error_frac = (double)NAN;
    if (c->status != GALV_OK) {
        return;
    }
    if (c->measured->iteration_time_s > 0) {
        c->error_frac =
            c->predicted_iteration_time_s / c->measured->iteration_time_s - 1;
    }
    if (c->measured->peak_memory_bytes > 0 && c->predicted_peak_memory_bytes > 0) {
        c->memory_error_frac =
            c->predicted_peak_memory_bytes / c->measured->peak_memory_bytes - 1;
    }
}

/* sizes[n_cases] is room for the sizes of the errors. */
static void sum_up(galv_validation *v, double *sizes)
{
    double sum_size = 0;
    double sum = 0;
    double sum_memory = 0;
    v->worst_frac = (double)NAN;
    for (size_t i = 0; i < v->n_cases; i++) {
        const galv_validated_case *c = &v->cases[i];
        if (!isnan(c->error_frac)) {
            double size = fabs(c->error_frac);
            if (v->n_timed == 0 || size > fabs(v->worst_frac)) {
                v->worst_frac = c->error_frac;
            }
            sizes[v->n_timed++] = size;
            sum_size += size;
            sum += c->error_frac;
        }
        if (!isnan(c->memory_error_frac)) {
            v->n_memory++;
            sum_memory += fabs(c->memory_error_frac);
        }
    }
    double n = (double)v->n_timed;
    v->mape_frac = v->n_timed > 0 ? sum_size / n : (double)NAN;
    v->bias_frac = v->n_timed > 0 ? sum / n : (double)NAN;
    v->p90_frac = (double)NAN;
    if (v->n_timed > 0) {
        qsort(sizes, v->n_timed, sizeof *sizes, compare_f64);
        v->p90_frac = sizes[(size_t)ceil(0.9 * n - 1e-9) - 1];
    }
    v->memory_mape_frac =
        v->n_memory > 0 ? sum_memory / (double)v->n_memory : (double)NAN;
}

/* What a case's source is called when it states none: its file, without folder and
 * extension. */
static const char *file_stem(const char *file, galv_arena *arena)
{
    const char *slash = strrchr(file, '/');
    const char *name = slash != NULL ? slash + 1 : file;
    size_t length = strcspn(name, ".");
    return galv_arena_printf(arena, "%.*s", (int)length, name);
}

static galv_status name_cases(galv_validated_case *out, const galv_case *cases,
                              size_t n_cases, galv_arena *arena, galv_err *err)
{
    for (size_t i = 0; i < n_cases; i++) {
        const galv_case *c = &cases[i];
        out[i].measured = c;
        out[i].source = c->source != NULL && c->source[0] != '\0'
                            ? c->source
                            : file_stem(c->file != NULL ? c->file : "", arena);
        out[i].group =
            out[i].source == NULL
                ? NULL
                : galv_arena_printf(arena, "%s, %s", out[i].source, c->model_family);
        if (out[i].group == NULL) {
            return galv_fail(err, GALV_NO_MEMORY, "%zu cases do not fit in memory",
                             n_cases);
        }
    }
    return GALV_OK;
}

/* Moves the stages of every case from the heap into the arena. */
static bool keep_stages(galv_validated_case *cases, galv_stage_result *const *stages,
                        size_t n_cases, galv_arena *arena)
{
    for (size_t i = 0; i < n_cases; i++) {
        if (stages[i] == NULL) {
            continue;
        }
        size_t n = (size_t)cases[i].result.n_stages;
        cases[i].result.stages = GALV_NEW_ARRAY(arena, galv_stage_result, n);
        if (cases[i].result.stages == NULL) {
            return false;
        }
        memcpy(cases[i].result.stages, stages[i], n * sizeof **stages);
    }
    return true;
}

galv_status galv_validate(galv_validation *validation, const galv_case *cases,
                          size_t n_cases, const galv_profile *profile, int n_jobs,
                          galv_arena *arena, galv_err *err)
{
    galv_validation made = {0};
    validating v = {profile, NULL, NULL};
    made.n_cases = n_cases;
    made.cases = GALV_NEW_ARRAY(arena, galv_validated_case, n_cases);
    double *sizes = calloc(n_cases + 1, sizeof *sizes);
    v.stages = calloc(n_cases + 1, sizeof *v.stages);
    v.cases = made.cases;
    galv_status status = GALV_OK;
    if (made.cases == NULL || sizes == NULL || v.stages == NULL) {
        status =
            galv_fail(err, GALV_NO_MEMORY, "%zu cases do not fit in memory", n_cases);
    }
    if (status == GALV_OK) {
        status = name_cases(made.cases, cases, n_cases, arena, err);
    }
    if (status == GALV_OK) {
        status = galv_parallel_for(n_jobs, n_cases, predict, &v, err);
    }
    if (status == GALV_OK) {
        for (size_t i = 0; i < n_cases; i++) {
            set_errors(&made.cases[i]);
        }
        sum_up(&made, sizes);
        if (!keep_stages(made.cases, v.stages, n_cases, arena)) {
            status = galv_fail(err, GALV_NO_MEMORY, "%zu cases do not fit in memory",
                               n_cases);
        }
    }
    for (size_t i = 0; i < n_cases && v.stages != NULL; i++) {
        free(v.stages[i]);
    }
    free(v.stages);
    free(sizes);
    if (status == GALV_OK) {
        *validation = made;
    }
    return status;
}

/* What goes into a calibration and what comes out of it: cases and logs, a profile.
 *
 * A log says nothing about what was run, so a plan has to come with it; its first
 * iteration compiles, allocates and connects, and is left out. */
#include "accuracy/calibrate.h"

#include "base/csv.h"
#include "base/file.h"
#include "base/units.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

galv_status galv_runs_from_cases(galv_measured_run **runs, size_t *n_runs,
                                 const galv_case *cases, size_t n_cases,
                                 galv_arena *arena, galv_err *err)
{
    galv_measured_run *made = GALV_NEW_ARRAY(arena, galv_measured_run, n_cases);
    if (made == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for %zu runs", n_cases);
    }
    size_t n = 0;
    for (size_t i = 0; i < n_cases; i++) {
        galv_err why_not = GALV_ERR_INIT;
        galv_plan *plan = NULL;
        galv_job *job = GALV_NEW(arena, galv_job);
        if (job == NULL) {
            return galv_fail(err, GALV_NO_MEMORY, "no memory for %zu runs", n_cases);
        }
        if (cases[i].iteration_time_s > 0 && cases[i].model.n_groups > 0 &&
            galv_case_to_plan(job, &plan, &cases[i], arena, &why_not) == GALV_OK) {
            made[n++] = (galv_measured_run){
                cases[i].case_id,          cases[i].source,    job, plan,
                cases[i].iteration_time_s, cases[i].noise_frac};
        }
    }
    *runs = made;
    *n_runs = n;
    return GALV_OK;
}

static int compare_f64(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, size_t n)
{
    qsort(values, n, sizeof *values, compare_f64);
    return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/* An iteration is between a nanosecond and 30 years, as in a table of cases. */
#define LEAST_MS 1e-6
#define MOST_MS  1e12

galv_status galv_megatron_log_read(double *iteration_time_s, double *noise_frac,
                                   size_t *n_iterations, const char *path,
                                   galv_arena *arena, galv_err *err)
{
    char *text = NULL;
    size_t length = 0;
    galv_status status = galv_file_read(&text, &length, path, 0, arena, err);
    return status == GALV_OK
               ? galv_megatron_log_read_text(iteration_time_s, noise_frac, n_iterations,
                                             path, text, length, arena, err)
               : status;
}

galv_status galv_megatron_log_read_text(double *iteration_time_s, double *noise_frac,
                                        size_t *n_iterations, const char *path,
                                        const char *bytes, size_t length,
                                        galv_arena *arena, galv_err *err)
{
    static const char mark[] = "elapsed time per iteration (ms):";
    char *text = GALV_NEW_ARRAY(arena, char, length + 1);
    if (text == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for a log of %zu bytes",
                         length);
    }
    for (size_t i = 0; i < length; i++) { /* a node that died left zeros: no end here */
        text[i] = bytes[i] == '\0' ? ' ' : bytes[i];
    }
    text[length] = '\0';
    size_t n = 0;
    for (const char *at = strstr(text, mark); at != NULL; at = strstr(at + 1, mark)) {
        n++;
    }
    double *times = GALV_NEW_ARRAY(arena, double, n + 1);
    if (times == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for %zu iterations", n);
    }
    size_t kept = 0;
    for (const char *at = strstr(text, mark); at != NULL; at = strstr(at + 1, mark)) {
        char *end = NULL;
        double ms = strtod(at + strlen(mark), &end);
        if (ms >= LEAST_MS && ms <= MOST_MS) {
            times[kept++] = ms / 1000;
        }
    }
    if (kept == 0) {
        galv_fail_at(err, path, 0, 0, "no '%s' in this log", mark);
        return GALV_INPUT;
    }
    double *used = kept > 1 ? times + 1 : times;
    size_t n_used = kept > 1 ? kept - 1 : 1;
    double middle = median(used, n_used);
    for (size_t i = 0; i < n_used; i++) {
        used[i] = fabs(used[i] - middle);
    }
    *iteration_time_s = middle;
    *noise_frac = 1.4826 * median(used, n_used) / middle;
    *n_iterations = kept;
    return GALV_OK;
}

/* ---- out ---- */

static void source_of(char *text, size_t size, const galv_stack_fit *stack)
{
    snprintf(text, size, "calibrated on %zu run%s, error %.1f -> %.1f %%",
             stack->n_runs, stack->n_runs == 1 ? "" : "s",
             100 * stack->mape_before_frac, 100 * stack->mape_after_frac);
}

galv_status galv_calibration_to_profile(galv_profile *profile,
                                        const galv_calibration *calibration,
                                        galv_err *err)
{
    galv_status status = GALV_OK;
    for (size_t s = 0; s < calibration->n_stacks && status == GALV_OK; s++) {
        const galv_stack_fit *stack = &calibration->stacks[s];
        galv_knob_zeros zeros;
        double x[GALV_N_KNOBS];
        char source[96];
        source_of(source, sizeof source, stack);
        for (int k = 0; k < GALV_N_KNOBS; k++) {
            x[k] = stack->knobs[k].x;
            memcpy(zeros.value[k], stack->knobs[k].builtin, sizeof zeros.value[k]);
        }
        status = galv_knobs_to_profile(profile, x, &zeros, stack->device,
                                       stack->workload->precision, source, err);
    }
    return status;
}

static void put_f64(galv_text *out, double value)
{
    char number[40];
    galv_csv_put(out,
                 isfinite(value) ? galv_print_exact(number, sizeof number, value) : "",
                 false);
}

void galv_calibration_print(galv_text *out, const galv_calibration *calibration)
{
    galv_text_append(out, "kind,device,precision,op,value,builtin,low,high,runs,"
                          "mape_before_frac,mape_after_frac,median_before_frac,"
                          "median_after_frac,source\n");
    for (size_t s = 0; s < calibration->n_stacks; s++) {
        const galv_stack_fit *stack = &calibration->stacks[s];
        char source[96];
        char count[24];
        source_of(source, sizeof source, stack);
        snprintf(count, sizeof count, "%zu", stack->n_runs);
        for (int k = 0; k < GALV_N_KNOBS; k++) {
            const galv_fitted_knob *knob = &stack->knobs[k];
            for (int i = 0; i < GALV_MAX_FACTORS_OF_KNOB; i++) {
                const char *name = galv_knobs[k].factors[i];
                if (name == NULL || isnan(knob->value[i]) || knob->x == 0) {
                    continue;
                }
                galv_csv_put(out, "factor", true);
                galv_csv_put(out, stack->device->id, false);
                galv_csv_put(out, galv_precision_names[stack->workload->precision],
                             false);
                galv_csv_put(out, name, false);
                put_f64(out, knob->value[i]);
                put_f64(out, knob->builtin[i]);
                put_f64(out, knob->low[i]);
                put_f64(out, knob->high[i]);
                galv_csv_put(out, count, false);
                put_f64(out, stack->mape_before_frac);
                put_f64(out, stack->mape_after_frac);
                put_f64(out, stack->median_before_frac);
                put_f64(out, stack->median_after_frac);
                galv_csv_put(out, source, false);
                galv_text_append(out, "\n");
            }
        }
    }
}

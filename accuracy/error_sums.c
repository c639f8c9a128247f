/* Sums over the cases of a validation.
 *
 * Cases are taken in their order, so every sum has the same bits whatever ran in
 * parallel before. Words are few, so they are found by looking through them. */
#include "accuracy/error_sums.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define GALV_WORD(id, word) word,
static const char *const by_words[] = {GALV_BY_TABLE(GALV_WORD)};
#undef GALV_WORD

const char *galv_by_name(int by)
{
    return by < GALV_BY_FEATURE ? by_words[by]
                                : galv_feature_names[by - GALV_BY_FEATURE];
}

const char *galv_case_word(const galv_validated_case *c, int by)
{
    const char *word = "";
    switch (by) {
    case GALV_BY_ALL:
        word = "all";
        break;
    case GALV_BY_SOURCE:
        word = c->source;
        break;
    case GALV_BY_FAMILY:
        word = c->measured->model_family;
        break;
    case GALV_BY_GPU:
        word = c->measured->gpu;
        break;
    case GALV_BY_MEMORY_KIND:
        word = c->measured->peak_memory_bytes > 0 ? c->measured->memory_kind : "";
        break;
    case GALV_BY_CONFIDENCE:
        word = c->measured->confidence;
        break;
    case GALV_BY_GROUP:
        word = c->group;
        break;
    default:
        word = c->kind.words[by - GALV_BY_FEATURE];
        break;
    }
    return word != NULL ? word : "";
}

/* ---- sums ---- */

static int compare_f64(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

typedef struct statistics {
    size_t n;
    double mape, bias, p90, worst;
    size_t n_within;
} statistics;

/* Of errors[n], which are sorted by size. */
static statistics sum_errors(const double *errors, double *sizes, size_t n)
{
    statistics s = {n, (double)NAN, (double)NAN, (double)NAN, (double)NAN, 0};
    double sum = 0;
    double sum_sizes = 0;
    for (size_t i = 0; i < n; i++) {
        sizes[i] = fabs(errors[i]);
        sum += errors[i];
        sum_sizes += sizes[i];
        s.n_within += sizes[i] <= 0.1;
        if (i == 0 || sizes[i] > fabs(s.worst)) {
            s.worst = errors[i];
        }
    }
    if (n > 0) {
        s.mape = sum_sizes / (double)n;
        s.bias = sum / (double)n;
        qsort(sizes, n, sizeof *sizes, compare_f64);
        s.p90 = sizes[(size_t)ceil(0.9 * (double)n - 1e-9) - 1];
    }
    return s;
}

static void sum_word(galv_error_sum *sum, const galv_validation *v, int by,
                     double *errors, double *sizes)
{
    size_t n_timed = 0;
    for (size_t i = 0; i < v->n_cases; i++) {
        const galv_validated_case *c = &v->cases[i];
        if (strcmp(galv_case_word(c, by), sum->name) != 0) {
            continue;
        }
        sum->n_cases++;
        sum->n_failed += c->status != GALV_OK;
        if (!isnan(c->error_frac)) {
            errors[n_timed++] = c->error_frac;
        }
    }
    statistics s = sum_errors(errors, sizes, n_timed);
    sum->n_timed = s.n;
    sum->mape_frac = s.mape;
    sum->bias_frac = s.bias;
    sum->p90_frac = s.p90;
    sum->worst_frac = s.worst;
    sum->n_within = s.n_within;
    size_t n_memory = 0;
    for (size_t i = 0; i < v->n_cases; i++) {
        const galv_validated_case *c = &v->cases[i];
        if (!isnan(c->memory_error_frac) &&
            strcmp(galv_case_word(c, by), sum->name) == 0) {
            errors[n_memory++] = c->memory_error_frac;
        }
    }
    s = sum_errors(errors, sizes, n_memory);
    sum->n_memory = s.n;
    sum->memory_mape_frac = s.mape;
    sum->memory_bias_frac = s.bias;
    sum->memory_p90_frac = s.p90;
    sum->memory_worst_frac = s.worst;
}

galv_status galv_error_sums(galv_error_sum **sums, size_t *n_sums,
                            const galv_validation *validation, int by,
                            galv_arena *arena, galv_err *err)
{
    size_t n_cases = validation->n_cases;
    galv_error_sum *made = GALV_NEW_ARRAY(arena, galv_error_sum, n_cases + 1);
    double *errors = GALV_NEW_ARRAY(arena, double, n_cases + 1);
    double *sizes = GALV_NEW_ARRAY(arena, double, n_cases + 1);
    if (made == NULL || errors == NULL || sizes == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for sums of %zu cases",
                         n_cases);
    }
    size_t n = 0;
    if (by == GALV_BY_ALL) {
        made[n++].name = "all";
    }
    for (size_t i = 0; i < n_cases && by != GALV_BY_ALL; i++) {
        const char *word = galv_case_word(&validation->cases[i], by);
        size_t k = 0;
        while (k < n && strcmp(made[k].name, word) != 0) {
            k++;
        }
        if (k == n) {
            made[n++].name = word;
        }
    }
    for (size_t k = 0; k < n; k++) {
        sum_word(&made[k], validation, by, errors, sizes);
    }
    *sums = made;
    *n_sums = n;
    return GALV_OK;
}

/* ---- ranking ---- */

double galv_kendall_tau(const double *a, const double *b, size_t n)
{
    double same = 0;
    double untied_a = 0;
    double untied_b = 0;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = i + 1; j < n; j++) {
            int order_a = (a[i] > a[j]) - (a[i] < a[j]);
            int order_b = (b[i] > b[j]) - (b[i] < b[j]);
            same += order_a * order_b;
            untied_a += order_a != 0;
            untied_b += order_b != 0;
        }
    }
    return untied_a > 0 && untied_b > 0 ? same / sqrt(untied_a * untied_b)
                                        : (double)NAN;
}

static bool in_sweep(const galv_validated_case *c, const char *sweep)
{
    return !isnan(c->error_frac) && strcmp(c->measured->sweep, sweep) == 0;
}

static bool in_source(const galv_validated_case *c, const char *source)
{
    return !isnan(c->error_frac) && strcmp(c->source, source) == 0;
}

static bool same_word(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* Is it one plan, of one sweep, so of one model and batch? */
static bool is_repeated(const galv_case *a, const galv_case *b)
{
    return a->sweep[0] != '\0' && strcmp(a->sweep, b->sweep) == 0 &&
           a->software_year == b->software_year && a->num_gpus == b->num_gpus &&
           a->tp == b->tp && a->cp == b->cp && a->ep == b->ep && a->pp == b->pp &&
           a->vpp == b->vpp && a->dp == b->dp && a->zero == b->zero &&
           a->micro_batch_size == b->micro_batch_size &&
           a->global_batch_size == b->global_batch_size &&
           a->flash_attention == b->flash_attention &&
           a->overlap_grad_reduce == b->overlap_grad_reduce &&
           a->overlap_param_gather == b->overlap_param_gather &&
           a->tp_comm_overlap == b->tp_comm_overlap &&
           a->launch_blocking == b->launch_blocking &&
           same_word(a->software, b->software) && same_word(a->gpu, b->gpu) &&
           same_word(a->precision, b->precision) && same_word(a->sp, b->sp) &&
           same_word(a->schedule, b->schedule) &&
           same_word(a->recompute, b->recompute) &&
           same_word(a->stage_layers, b->stage_layers);
}

/* What runs of one plan differ by in a source; 0 where none was repeated. */
static double noise_of_repeats(const galv_validation *v, const char *source)
{
    double sum = 0;
    double n = 0;
    for (size_t i = 0; i < v->n_cases; i++) {
        const galv_validated_case *a = &v->cases[i];
        for (size_t j = i + 1; j < v->n_cases && in_source(a, source); j++) {
            const galv_validated_case *b = &v->cases[j];
            if (in_source(b, source) && is_repeated(a->measured, b->measured)) {
                double d =
                    log(a->measured->iteration_time_s / b->measured->iteration_time_s);
                sum += d * d / 2;
                n++;
            }
        }
    }
    return n > 0 ? sqrt(sum / n) : 0;
}

/* Noise of the runs of a source that state none; `room` for a number of each case. */
static double noise_of_source(const galv_validation *v, const char *source,
                              double *room)
{
    size_t n = 0;
    for (size_t i = 0; i < v->n_cases; i++) {
        const galv_validated_case *c = &v->cases[i];
        if (in_source(c, source) && c->measured->noise_frac > 0) {
            room[n++] = c->measured->noise_frac;
        }
    }
    if (n > 0) {
        qsort(room, n, sizeof *room, compare_f64);
        return (room[n / 2] + room[(n - 1) / 2]) / 2;
    }
    double repeats = noise_of_repeats(v, source);
    return repeats > 0 ? repeats : GALV_USUAL_NOISE;
}

/* The clear pairs of n runs and their tau; noise[n] is relative. */
static void rank_clear(galv_ranking *r, const double *predicted, const double *measured,
                       const double *noise)
{
    double same = 0;
    for (size_t i = 0; i < r->n; i++) {
        for (size_t j = i + 1; j < r->n; j++) {
            double apart = log(measured[i] / measured[j]);
            if (fabs(apart) > hypot(noise[i], noise[j])) {
                int order =
                    (predicted[i] > predicted[j]) - (predicted[i] < predicted[j]);
                same += apart > 0 ? order : -order;
                r->n_clear++;
            }
        }
    }
    r->tau_clear = r->n_clear > 0 ? same / (double)r->n_clear : (double)NAN;
}

/* Fills a ranking; n stays below 2 where there is nothing to rank. */
static void rank_sweep(galv_ranking *r, const galv_validation *v, const double *usual,
                       double *predicted, double *measured, double *noise)
{
    for (size_t i = 0; i < v->n_cases; i++) {
        const galv_validated_case *c = &v->cases[i];
        if (!in_sweep(c, r->sweep)) {
            continue;
        }
        predicted[r->n] = c->predicted_iteration_time_s;
        measured[r->n] = c->measured->iteration_time_s;
        noise[r->n] = c->measured->noise_frac > 0 ? c->measured->noise_frac : usual[i];
        if (r->n == 0 ||
            c->predicted_iteration_time_s < r->predicted->predicted_iteration_time_s) {
            r->predicted = c;
        }
        if (r->n == 0 ||
            c->measured->iteration_time_s < r->fastest->measured->iteration_time_s) {
            r->fastest = c;
        }
        r->n++;
    }
    if (r->n >= 2) {
        r->tau = galv_kendall_tau(predicted, measured, r->n);
        rank_clear(r, predicted, measured, noise);
        r->regret_frac = r->predicted->measured->iteration_time_s /
                             r->fastest->measured->iteration_time_s -
                         1;
    }
}

galv_status galv_rankings(galv_ranking **rankings, size_t *n_rankings,
                          const galv_validation *validation, galv_arena *arena,
                          galv_err *err)
{
    size_t n_cases = validation->n_cases;
    galv_ranking *made = GALV_NEW_ARRAY(arena, galv_ranking, n_cases + 1);
    double *predicted = GALV_NEW_ARRAY(arena, double, n_cases + 1);
    double *measured = GALV_NEW_ARRAY(arena, double, n_cases + 1);
    double *noise = GALV_NEW_ARRAY(arena, double, n_cases + 1);
    double *usual = GALV_NEW_ARRAY(arena, double, n_cases + 1);
    const char **seen = GALV_NEW_ARRAY(arena, const char *, n_cases + 1);
    if (made == NULL || predicted == NULL || measured == NULL || noise == NULL ||
        usual == NULL || seen == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory to rank %zu cases", n_cases);
    }
    size_t n = 0;
    size_t n_seen = 0;
    for (size_t i = 0; i < n_cases; i++) {
        const char *source = validation->cases[i].source;
        size_t first = 0;
        while (strcmp(validation->cases[first].source, source) != 0) {
            first++;
        }
        usual[i] =
            first < i ? usual[first] : noise_of_source(validation, source, noise);
    }
    for (size_t i = 0; i < n_cases; i++) {
        const char *sweep = validation->cases[i].measured->sweep;
        size_t k = 0;
        while (k < n_seen && strcmp(seen[k], sweep) != 0) {
            k++;
        }
        if (sweep[0] == '\0' || k < n_seen) {
            continue;
        }
        seen[n_seen++] = sweep;
        made[n] = (galv_ranking){.sweep = sweep};
        rank_sweep(&made[n], validation, usual, predicted, measured, noise);
        n += made[n].n >= 2;
    }
    *rankings = made;
    *n_rankings = n;
    return GALV_OK;
}

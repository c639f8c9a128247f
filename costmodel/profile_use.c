/* Using measurements.
 *
 * Rows of a layer (device, precision, kind, shape) are grouped by phase, tp and cp into
 * curves over the samples of a micro-batch, at the job's own sequence length. Where
 * that length was not measured but others were, each point is found along the sequence
 * first: between two measured lengths by GSL's linear interpolation, outside by a
 * quadratic fitted to three or more (attention grows with the square), a line through
 * two, or in proportion to a single one.
 *
 * Then along samples: a point that fits exactly is replayed; between points GSL
 * interpolates; outside, the least-squares line extrapolates, never below half or above
 * twice proportion. Several rows of one point are averaged. Collectives are the same in
 * logarithms of bytes and seconds; longer messages than measured go by the last rate,
 * shorter ones take the time of the shortest.
 *
 * An all-gather or reduce-scatter that was not measured takes half of a measured
 * all-reduce.
 *
 * Rows of the optimizer are one point of a layer, whatever samples they name. Rows of
 * Ulysses and of tensor parallelism at one degree are curves of their own; where only
 * one of the two was measured it serves for both.
 *
 * Kernel rows are gemm_points.c's. Left out: rows of another shape than the job's (a
 * profile of a similar model says nothing exact of this one). */
#include "costmodel/profile_use_internal.h"

#include "base/words.h"

#include <gsl/gsl_errno.h>
#include <gsl/gsl_multifit.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct point {
    int32_t group;
    int phase;
    int32_t tp, cp;
    bool ulysses;
    double samples, seq, time_s;
    galv_provenance provenance;
} point;

static int order_of(double a, double b)
{
    return (a > b) - (a < b);
}

static int by_series(const void *a, const void *b)
{
    const point *p = a;
    const point *q = b;
    int order = order_of(p->group, q->group);
    order = order != 0 ? order : order_of(p->phase, q->phase);
    order = order != 0 ? order : order_of(p->tp, q->tp);
    order = order != 0 ? order : order_of(p->cp, q->cp);
    order = order != 0 ? order : order_of(p->ulysses, q->ulysses);
    order = order != 0 ? order : order_of(p->samples, q->samples);
    order = order != 0 ? order : order_of(p->seq, q->seq);
    return order != 0 ? order : order_of(p->time_s, q->time_s);
}

static bool same_series(const point *p, const point *q)
{
    return p->group == q->group && p->phase == q->phase && p->tp == q->tp &&
           p->cp == q->cp && p->ulysses == q->ulysses;
}

/* ---- which rows are of this job ---- */

static bool device_is_used(const galv_job *job, const char *device)
{
    bool used = device[0] == '\0';
    for (int32_t i = 0; i < job->cluster.n_pools; i++) {
        used = used || strcmp(device, job->cluster.pools[i].device.id) == 0;
    }
    return used;
}

static bool fits(int32_t measured, int32_t wanted)
{
    return measured == 0 || measured == wanted;
}

static bool row_is_of_group(const galv_profile_row *row, const galv_layer_group *group)
{
    int32_t ffn = group->kind == GALV_LAYER_MOE_DECODER ? group->moe_ffn_hidden_size
                                                        : group->ffn_hidden_size;
    bool other = strcmp(row->layer, "other") == 0;
    if (other) {
        return group->kind == GALV_LAYER_HEAD &&
               fits(row->hidden_size, group->hidden_size) &&
               fits(row->vocab_size, group->vocab_size);
    }
    return strcmp(row->layer, galv_layer_kind_names[group->kind]) == 0 &&
           fits(row->hidden_size, group->hidden_size) &&
           fits(row->ffn_hidden_size, ffn) &&
           fits(row->num_attention_heads, group->num_attention_heads) &&
           fits(row->num_query_groups, group->num_query_groups) &&
           fits(row->num_experts, group->num_experts) &&
           fits(row->moe_router_topk, group->moe_router_topk) &&
           fits(row->vocab_size, group->vocab_size);
}

static double group_seq(const galv_job *job, int32_t group)
{
    int32_t own = job->model.groups[group].seq_length;
    return own > 0 ? own : job->workload.seq_length;
}

/* ---- along the sequence ---- */

/* Time at `seq` from n points of one micro-batch at other lengths, ascending. */
static double along_sequence(const point *points, size_t n, double seq,
                             galv_provenance *provenance)
{
    *provenance = GALV_PROVENANCE_FITTED;
    size_t last = n - 1;
    if (n == 1) {
        return points[0].time_s * seq / points[0].seq;
    }
    if (seq > points[0].seq && seq < points[last].seq) {
        size_t i = 0;
        while (points[i + 1].seq < seq) {
            i++;
        }
        double w = (seq - points[i].seq) / (points[i + 1].seq - points[i].seq);
        *provenance = GALV_PROVENANCE_INTERPOLATED;
        return (1 - w) * points[i].time_s + w * points[i + 1].time_s;
    }
    size_t degree = n >= 3 ? 3 : 2;
    double estimate = points[last].time_s * seq / points[last].seq;
    gsl_matrix *x = gsl_matrix_alloc(n, degree);
    gsl_vector *y = gsl_vector_alloc(n);
    gsl_vector *c = gsl_vector_alloc(degree);
    gsl_matrix *covariance = gsl_matrix_alloc(degree, degree);
    gsl_multifit_linear_workspace *work = gsl_multifit_linear_alloc(n, degree);
    if (x != NULL && y != NULL && c != NULL && covariance != NULL && work != NULL) {
        double scale = points[last].seq;
        for (size_t i = 0; i < n; i++) {
            double s = points[i].seq / scale;
            gsl_matrix_set(x, i, 0, 1);
            gsl_matrix_set(x, i, 1, s);
            if (degree == 3) {
                gsl_matrix_set(x, i, 2, s * s);
            }
            gsl_vector_set(y, i, points[i].time_s);
        }
        double chisq = 0;
        if (gsl_multifit_linear(x, y, c, covariance, &chisq, work) == GSL_SUCCESS) {
            double s = seq / scale;
            double fitted = gsl_vector_get(c, 0) + gsl_vector_get(c, 1) * s +
                            (degree == 3 ? gsl_vector_get(c, 2) * s * s : 0);
            /* not below a quarter of proportion: a bent fit is no measurement */
            estimate = fmax(fitted, 0.25 * estimate);
        }
    }
    gsl_multifit_linear_free(work);
    gsl_matrix_free(covariance);
    gsl_vector_free(c);
    gsl_vector_free(y);
    gsl_matrix_free(x);
    return estimate;
}

/* Reduces the points of one series to one per micro-batch at `seq`, in place; returns
 * how many. Points are sorted by samples, then sequence. */
static size_t at_sequence(point *points, size_t n, double seq)
{
    /* repeated measurements of one point: their mean */
    size_t n_distinct = 0;
    for (size_t i = 0; i < n;) {
        size_t j = i;
        double sum = 0;
        while (j < n && points[j].samples == points[i].samples &&
               points[j].seq == points[i].seq) {
            sum += points[j++].time_s;
        }
        points[n_distinct] = points[i];
        points[n_distinct++].time_s = sum / (double)(j - i);
        i = j;
    }
    bool measured = false;
    for (size_t i = 0; i < n_distinct; i++) {
        measured = measured || points[i].seq == seq;
    }
    size_t n_out = 0;
    for (size_t i = 0; i < n_distinct;) {
        size_t j = i;
        size_t exact = n_distinct;
        while (j < n_distinct && points[j].samples == points[i].samples) {
            exact = points[j].seq == seq ? j : exact;
            j++;
        }
        point p = points[exact < n_distinct ? exact : i];
        p.provenance = GALV_PROVENANCE_MEASURED;
        if (exact == n_distinct && !measured) {
            p.time_s = along_sequence(&points[i], j - i, seq, &p.provenance);
        }
        if (exact < n_distinct || !measured) {
            p.seq = seq;
            points[n_out++] = p;
        }
        i = j;
    }
    return n_out;
}

typedef struct reader {
    galv_measured *measured;
    const galv_job *job;
    galv_arena *arena;
    galv_warn warn;
    void *context;
    galv_err *err;
} reader;

static void warn_of_distance(const reader *r, const point *points, size_t n)
{
    double seq = group_seq(r->job, points[0].group);
    double low = points[0].seq;
    double high = points[0].seq;
    for (size_t i = 0; i < n; i++) {
        low = fmin(low, points[i].seq);
        high = fmax(high, points[i].seq);
    }
    const char *kind =
        galv_layer_kind_names[r->job->model.groups[points[0].group].kind];
    char text[256];
    if (seq > high) {
        snprintf(text, sizeof text,
                 "sequence %.0f is %.3g times the longest that the profile has for %s "
                 "(%.0f): extrapolated",
                 seq, seq / high, kind, high);
        r->warn(r->context, text);
    } else if (seq < low) {
        snprintf(text, sizeof text,
                 "sequence %.0f is %.3g of the shortest that the profile has for %s "
                 "(%.0f): extrapolated",
                 seq, seq / low, kind, low);
        r->warn(r->context, text);
    }
}

static galv_status add_series(reader *r, point *points, size_t n)
{
    warn_of_distance(r, points, n);
    n = at_sequence(points, n, group_seq(r->job, points[0].group));
    galv_layer_series *s = &r->measured->series[r->measured->n_series];
    s->group = points[0].group;
    s->phase = points[0].phase;
    s->tp = points[0].tp;
    s->cp = points[0].cp;
    s->ulysses = points[0].ulysses;
    s->best = GALV_PROVENANCE_MEASURED;
    s->curve.n = n;
    s->curve.x = GALV_NEW_ARRAY(r->arena, double, n);
    s->curve.y = GALV_NEW_ARRAY(r->arena, double, n);
    if (s->curve.x == NULL || s->curve.y == NULL) {
        return galv_fail(r->err, GALV_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < n; i++) {
        s->curve.x[i] = points[i].samples;
        s->curve.y[i] = points[i].time_s;
        if (points[i].provenance > s->best) {
            s->best = points[i].provenance;
        }
    }
    galv_status status = galv_curve_finish(&s->curve, r->err);
    if (status == GALV_OK) {
        r->measured->n_series++;
    }
    return status;
}

static galv_status read_layers(reader *r, const galv_profile *profile)
{
    point *points = GALV_NEW_ARRAY(
        r->arena, point, profile->n_rows * (size_t)r->job->model.n_groups + 1);
    if (points == NULL) {
        return galv_fail(r->err, GALV_NO_MEMORY, "out of memory");
    }
    size_t n = 0;
    size_t n_compute = 0;
    for (size_t i = 0; i < profile->n_rows; i++) {
        const galv_profile_row *row = &profile->rows[i];
        bool step = row->phase == GALV_OP_OPTIMIZER;
        if (row->kind != GALV_PROFILE_COMPUTE) {
            continue;
        }
        n_compute++;
        for (int32_t g = 0; g < r->job->model.n_groups; g++) {
            if (!device_is_used(r->job, row->device) ||
                (row->precision >= 0 &&
                 row->precision != (int)r->job->workload.precision) ||
                !row_is_of_group(row, &r->job->model.groups[g]) || !(row->time_s > 0) ||
                !(row->micro_batch_size > 0)) {
                continue;
            }
            r->measured->other_is_measured =
                r->measured->other_is_measured || strcmp(row->layer, "other") == 0;
            /* a step is the same whatever the samples were */
            double seq =
                row->seq_length > 0 && !step ? row->seq_length : group_seq(r->job, g);
            points[n++] = (point){g,
                                  row->phase,
                                  row->tp > 0 ? row->tp : 1,
                                  row->cp > 0 ? row->cp : 1,
                                  row->sp == GALV_SP_ULYSSES,
                                  step ? 1 : row->micro_batch_size,
                                  seq,
                                  row->time_s,
                                  GALV_PROVENANCE_MEASURED};
        }
    }
    if (n_compute > 0 && n == 0) {
        r->warn(r->context, "the profile has layer times, but none of this model's "
                            "shape, precision and device: not used");
    }
    qsort(points, n, sizeof points[0], by_series);
    r->measured->series = GALV_NEW_ARRAY(r->arena, galv_layer_series, n + 1);
    if (r->measured->series == NULL) {
        return galv_fail(r->err, GALV_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < n;) {
        size_t j = i;
        while (j < n && same_series(&points[j], &points[i])) {
            j++;
        }
        galv_status status = add_series(r, &points[i], j - i);
        if (status != GALV_OK) {
            return status;
        }
        i = j;
    }
    return GALV_OK;
}

/* ---- collectives ---- */

/* "send_recv" and the words of operations. */
static int collective_kind(const char *op)
{
    if (strcmp(op, "send_recv") == 0) {
        return GALV_OP_SEND;
    }
    return galv_word_index(galv_op_kind_names, GALV_N_OP_KINDS, op);
}

static galv_status read_collectives(reader *r, const galv_profile *profile)
{
    point *points = GALV_NEW_ARRAY(r->arena, point, profile->n_rows + 1);
    if (points == NULL) {
        return galv_fail(r->err, GALV_NO_MEMORY, "out of memory");
    }
    size_t n = 0;
    for (size_t i = 0; i < profile->n_rows; i++) {
        const galv_profile_row *row = &profile->rows[i];
        int kind = row->kind == GALV_PROFILE_COLLECTIVE ? collective_kind(row->op) : -1;
        if (kind >= 0 && device_is_used(r->job, row->device) && row->time_s > 0 &&
            row->message_bytes > 0 && row->ranks > 1) {
            int32_t per_node =
                row->ranks_per_node > 0 ? row->ranks_per_node : row->ranks;
            points[n++] = (point){kind,
                                  0,
                                  row->ranks,
                                  per_node,
                                  false,
                                  log(row->message_bytes),
                                  0,
                                  log(row->time_s),
                                  GALV_PROVENANCE_MEASURED};
        }
    }
    qsort(points, n, sizeof points[0], by_series);
    r->measured->collectives = GALV_NEW_ARRAY(r->arena, galv_collective_series, n + 1);
    if (r->measured->collectives == NULL) {
        return galv_fail(r->err, GALV_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < n;) {
        size_t j = i;
        while (j < n && same_series(&points[j], &points[i])) {
            j++;
        }
        size_t n_points = at_sequence(&points[i], j - i, 0);
        galv_collective_series *s =
            &r->measured->collectives[r->measured->n_collectives];
        s->kind = points[i].group;
        s->ranks = points[i].tp;
        s->ranks_per_node = points[i].cp;
        s->curve.n = n_points;
        s->curve.x = GALV_NEW_ARRAY(r->arena, double, n_points);
        s->curve.y = GALV_NEW_ARRAY(r->arena, double, n_points);
        if (s->curve.x == NULL || s->curve.y == NULL) {
            return galv_fail(r->err, GALV_NO_MEMORY, "out of memory");
        }
        for (size_t p = 0; p < n_points; p++) {
            s->curve.x[p] = points[i + p].samples;
            s->curve.y[p] = points[i + p].time_s;
        }
        galv_status status = galv_curve_finish(&s->curve, r->err);
        if (status != GALV_OK) {
            return status;
        }
        r->measured->n_collectives++;
        i = j;
    }
    return GALV_OK;
}

static bool measured_kind(double *time_s, galv_provenance *provenance,
                          const galv_measured *measured, int kind, int32_t ranks,
                          int32_t ranks_per_node, double bytes)
{
    for (size_t i = 0; i < measured->n_collectives; i++) {
        const galv_collective_series *s = &measured->collectives[i];
        if (s->kind != kind || s->ranks != ranks ||
            s->ranks_per_node != ranks_per_node) {
            continue;
        }
        double x = log(bytes);
        size_t last = s->curve.n - 1;
        *provenance = GALV_PROVENANCE_FITTED;
        if (x > s->curve.x[last] + 1e-9) {
            *time_s = exp(s->curve.y[last] + x - s->curve.x[last]);
        } else if (x < s->curve.x[0] - 1e-9) {
            /* one long message alone: all rate; several: the floor of the shortest */
            double floor = s->curve.n > 1 ? 1 : exp(x - s->curve.x[0]);
            *time_s = fmax(exp(s->curve.y[0]) * floor, 10e-6);
        } else {
            *time_s = exp(galv_curve_value(&s->curve, x, provenance));
        }
        return true;
    }
    return false;
}

bool galv_measured_collective(double *time_s, galv_provenance *provenance,
                              const galv_measured *measured, int kind, int32_t ranks,
                              int32_t ranks_per_node, double bytes)
{
    if (measured_kind(time_s, provenance, measured, kind, ranks, ranks_per_node,
                      bytes)) {
        return true;
    }
    /* a ring's all-reduce is a reduce-scatter and an all-gather */
    if ((kind == GALV_OP_ALL_GATHER || kind == GALV_OP_REDUCE_SCATTER) &&
        measured_kind(time_s, provenance, measured, GALV_OP_ALL_REDUCE, ranks,
                      ranks_per_node, bytes)) {
        *time_s /= 2;
        *provenance = GALV_PROVENANCE_FITTED;
        return true;
    }
    return false;
}

/* ---- memory ---- */

static galv_status read_memory(reader *r, const galv_profile *profile)
{
    r->measured->memory =
        GALV_NEW_ARRAY(r->arena, galv_memory_point,
                       profile->n_rows * (size_t)r->job->model.n_groups + 1);
    if (r->measured->memory == NULL) {
        return galv_fail(r->err, GALV_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < profile->n_rows; i++) {
        const galv_profile_row *row = &profile->rows[i];
        for (int32_t g = 0; g < r->job->model.n_groups; g++) {
            const galv_layer_group *group = &r->job->model.groups[g];
            if (row->kind != GALV_PROFILE_MEMORY ||
                row->recompute == GALV_RECOMPUTE_FULL ||
                !(row->activation_bytes > 0 || row->parameter_bytes > 0) ||
                strcmp(row->layer, "other") == 0 || !row_is_of_group(row, group)) {
                continue;
            }
            double seq = group_seq(r->job, g);
            double samples = row->micro_batch_size > 0 ? row->micro_batch_size : 1;
            double scale = row->seq_length > 0 ? seq / row->seq_length : 1;
            galv_memory_point *p = &r->measured->memory[r->measured->n_memory++];
            p->group = group;
            p->tp = row->tp > 0 ? row->tp : 1;
            p->selective = row->recompute == GALV_RECOMPUTE_SELECTIVE;
            p->sp = p->tp > 1 ? row->sp : GALV_SP_NONE;
            /* a rank of a ring holds its part of the sequence */
            p->bytes_per_sample =
                row->activation_bytes * scale * (row->cp > 0 ? row->cp : 1) / samples;
            /* a quotient of the whole at tp 1 only (traces/galvatron.h) */
            p->parameters = p->tp == 1 ? row->parameter_bytes / 4 : 0;
        }
    }
    return GALV_OK;
}

double galv_measured_memory_ratio(const galv_measured *measured,
                                  const galv_layer_share *share,
                                  const galv_strategy *strategy)
{
    bool selective = strategy->recompute == GALV_RECOMPUTE_SELECTIVE;
    int sp = strategy->tp > 1 ? (int)strategy->sp : GALV_SP_NONE;
    const galv_memory_point *best = NULL;
    for (size_t i = 0; i < measured->n_memory; i++) {
        const galv_memory_point *p = &measured->memory[i];
        if (p->bytes_per_sample > 0 && p->tp == strategy->tp &&
            p->selective == selective && p->group->kind == share->group->kind &&
            p->group->hidden_size == share->group->hidden_size &&
            (p->sp == sp || p->sp == GALV_SP_NONE) &&
            (best == NULL || (best->sp != sp && p->sp == sp))) {
            best = p;
        }
    }
    double counted =
        best != NULL ? galv_layer_activation_bytes(share, selective, GALV_PART_WHOLE)
                     : 0;
    return counted > 0 ? best->bytes_per_sample * share->samples / (share->cp * counted)
                       : 1;
}

double galv_measured_parameter_ratio(const galv_measured *measured,
                                     const galv_model *model,
                                     const galv_layer_group *group)
{
    for (size_t i = 0; i < measured->n_memory; i++) {
        const galv_memory_point *p = &measured->memory[i];
        if (p->parameters > 0 && p->group == group) {
            galv_layer_parameters whole = galv_layer_count_parameters(model, group);
            double ratio = p->parameters / (whole.dense + whole.experts);
            /* half or twice a layer of this shape is another layer */
            return ratio > 0.5 && ratio < 2 ? ratio : 1;
        }
    }
    return 1;
}

/* ---- all of it ---- */

const galv_layer_series *galv_measured_series(const galv_measured *measured,
                                              int32_t group, int phase,
                                              const galv_strategy *strategy,
                                              bool *exact)
{
    const galv_layer_series *nearest = NULL;
    double distance = HUGE_VAL;
    for (size_t i = 0; i < measured->n_series; i++) {
        const galv_layer_series *s = &measured->series[i];
        if (s->group != group || s->phase != phase) {
            continue;
        }
        double d = fabs(log((double)s->tp / strategy->tp)) +
                   2 * fabs(log((double)s->cp / strategy->cp));
        bool ulysses = strategy->sp == GALV_SP_ULYSSES;
        d += s->tp > 1 && s->ulysses != ulysses ? 0.01 : 0; /* the lesser evil */
        if (d < distance) {
            distance = d;
            nearest = s;
        }
    }
    *exact =
        nearest != NULL && nearest->tp == strategy->tp && nearest->cp == strategy->cp;
    return nearest;
}

galv_status galv_measured_init(galv_measured *measured, const galv_job *job,
                               const galv_profile *profile, galv_arena *arena,
                               galv_warn warn, void *context, galv_err *err)
{
    memset(measured, 0, sizeof *measured);
    if (profile == NULL || profile->n_rows == 0) {
        return GALV_OK;
    }
    reader r = {measured, job, arena, warn, context, err};
    galv_status status = read_layers(&r, profile);
    if (status == GALV_OK) {
        status = read_collectives(&r, profile);
    }
    if (status == GALV_OK) {
        status = read_memory(&r, profile);
    }
    return status;
}

void galv_measured_release(galv_measured *measured)
{
    for (size_t i = 0; i < measured->n_series; i++) {
        gsl_interp_free(measured->series[i].curve.interp);
    }
    for (size_t i = 0; i < measured->n_collectives; i++) {
        gsl_interp_free(measured->collectives[i].curve.interp);
    }
}

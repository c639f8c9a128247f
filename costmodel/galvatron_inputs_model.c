/* Galvatron's inputs of the model: forward times of a layer, and its memory.
 *
 * The backward pass is not profiled: Galvatron takes it for twice the forward. Times
 * are per layer and sample; three modes make one number or one line of them, and each
 * has its oddity, kept here:
 * - static takes the first key of the file, whatever its batch size and sequence
 *   length; the shipped file begins with batch size 1, 12 % slower per sample than 8;
 * - batch fits a line to time by samples, over the keys of the sequence length;
 * - sequence fits a parabola to the layer and a line to the rest, over the keys of
 *   batch size 1.
 * Memory of the sequence mode is in proportion to the longest profiled sequence
 * (activations) or that of the shortest (parameters of a layer). */
#include "costmodel/galvatron_inputs_internal.h"

#include "traces/galvatron_files.h"

#include <stdio.h>
#include <string.h>

#define MAX_POINTS 512

/* ---- computation ---- */

typedef struct points {
    size_t n;
    double samples[MAX_POINTS], seq[MAX_POINTS], ms[MAX_POINTS];
} points;

/* Gathers the keys of one pattern in file order. */
static galv_status gather(points *p, galv_json_value root, const char *pattern,
                          galv_err *err)
{
    p->n = 0;
    for (size_t i = 0; i < galv_json_n_keys(root); i++) {
        galv_json_value value;
        int32_t shape[2];
        if (!galv_galvatron_scan_key(galv_json_key(root, i, &value), pattern, shape)) {
            continue;
        }
        if (p->n == MAX_POINTS) {
            return galv_json_fail(value, err, "more than %d times", MAX_POINTS);
        }
        galv_status status = galv_galvatron_number(&p->ms[p->n], value, err);
        if (status != GALV_OK) {
            return status;
        }
        p->samples[p->n] = shape[0];
        p->seq[p->n++] = shape[1];
    }
    return p->n > 0 ? GALV_OK
                    : galv_json_fail(root, err, "no key like '%s' in here", pattern);
}

/* Keeps the points that have `seq` tokens (0: any) and `samples` samples (0: any). */
static void keep(points *p, double seq, double samples)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++) {
        bool fits =
            (seq <= 0 || (p->seq[i] >= seq && p->seq[i] <= seq)) &&
            (samples <= 0 || (p->samples[i] >= samples && p->samples[i] <= samples));
        if (fits) {
            p->samples[n] = p->samples[i];
            p->seq[n] = p->seq[i];
            p->ms[n++] = p->ms[i];
        }
    }
    p->n = n;
}

static size_t count_different(const double *x, size_t n)
{
    size_t different = 0;
    for (size_t i = 0; i < n; i++) {
        size_t j = 0;
        while (j < i && !(x[j] >= x[i] && x[j] <= x[i])) {
            j++;
        }
        different += j == i;
    }
    return different;
}

static galv_status fit_batch(galv_galvatron_line *line, points *p, int32_t seq,
                             galv_json_value root, galv_err *err)
{
    keep(p, seq, 0);
    if (p->n < GALV_GALVATRON_MIN_POINTS || count_different(p->samples, p->n) < 2) {
        galv_json_fail(root, err,
                       "the line over batch sizes needs %d times of %d tokens, there "
                       "are %zu",
                       GALV_GALVATRON_MIN_POINTS, (int)seq, p->n);
        galv_hint(err, "static takes the first time of the file");
        return GALV_INPUT;
    }
    for (size_t i = 0; i < p->n; i++) {
        p->ms[i] *= p->samples[i]; /* of all samples */
    }
    *line = galv_galvatron_fit_line(p->samples, p->ms, p->n);
    return GALV_OK;
}

static galv_status fit_sequence(galv_galvatron_line *line, points *p, int32_t seq,
                                bool bent, galv_json_value root, galv_err *err)
{
    size_t needed = bent ? 3 : 2;
    keep(p, 0, 1);
    size_t different = count_different(p->seq, p->n);
    if (different < needed) {
        galv_json_fail(root, err,
                       "the fit over sequence lengths needs %zu of them with one "
                       "sample, there are %zu",
                       needed, different);
        galv_hint(err, "static takes the first time of the file, batch fits a line");
        return GALV_INPUT;
    }
    galv_galvatron_line straight = galv_galvatron_fit_line(p->seq, p->ms, p->n);
    line->constant = 0;
    line->slope = bent ? galv_galvatron_fit_parabola(p->seq, p->ms, p->n, seq)
                       : straight.slope * seq + straight.constant;
    return GALV_OK;
}

static galv_status read_times(galv_galvatron_line *line, galv_json_value root,
                              galv_galvatron_time_mode mode, int32_t seq, bool is_layer,
                              galv_err *err)
{
    points p;
    galv_status status =
        gather(&p, root,
               is_layer ? "layertype_0_bsz#_seq#" : "layertype_other_bsz#_seq#", err);
    if (status != GALV_OK) {
        return status;
    }
    if (mode == GALV_GALVATRON_TIME_BATCH) {
        return fit_batch(line, &p, seq, root, err);
    }
    if (mode == GALV_GALVATRON_TIME_SEQUENCE) {
        return fit_sequence(line, &p, seq, is_layer, root, err);
    }
    *line = (galv_galvatron_line){p.ms[0], 0};
    return GALV_OK;
}

galv_status galv_galvatron_inputs_computation(galv_galvatron_inputs *inputs,
                                              galv_json_value root,
                                              galv_galvatron_time_mode mode,
                                              galv_err *err)
{
    galv_status status =
        read_times(&inputs->layer_ms, root, mode, inputs->seq_length, true, err);
    if (status == GALV_OK) {
        status =
            read_times(&inputs->ends_ms, root, mode, inputs->seq_length, false, err);
    }
    return status;
}

/* ---- memory ---- */

/* The record of a sequence length; in the sequence mode of the longest (or shortest)
 * profiled, with the factor from its length to ours. */
static galv_status find_record(galv_json_value *record, double *scale,
                               const galv_galvatron_inputs *inputs,
                               galv_json_value root, const char *stem,
                               galv_galvatron_memory_mode mode, bool longest,
                               galv_err *err)
{
    char key[64];
    snprintf(key, sizeof key, "%s%s", stem, inputs->sequence_parallel ? "_sp" : "");
    galv_json_value lengths;
    galv_status status = galv_galvatron_need(&lengths, root, key, err);
    if (status != GALV_OK) {
        return status;
    }
    int32_t chosen = 0;
    for (size_t i = 0; i < galv_json_n_keys(lengths); i++) {
        galv_json_value value;
        int32_t length[1];
        if (!galv_galvatron_scan_key(galv_json_key(lengths, i, &value), "#", length)) {
            continue;
        }
        bool better =
            mode == GALV_GALVATRON_MEMORY_STATIC
                ? length[0] == inputs->seq_length
                : chosen == 0 || (longest ? length[0] > chosen : length[0] < chosen);
        if (better && length[0] > 0) {
            chosen = length[0];
            *record = value;
        }
    }
    if (chosen == 0) {
        galv_json_fail(lengths, err, "no memory of %d tokens in '%s'",
                       (int)inputs->seq_length, key);
        galv_hint(err, "memory in proportion to the longest: the sequence mode");
        return GALV_INPUT;
    }
    *scale = (double)inputs->seq_length / chosen;
    return GALV_OK;
}

static void scale_by(galv_galvatron_by_degree *table, double scale)
{
    for (int32_t i = 0; i < table->n; i++) {
        table->values[i] *= scale;
    }
}

static galv_status read_layer(galv_galvatron_inputs *inputs, galv_json_value root,
                              galv_galvatron_memory_mode mode, galv_err *err)
{
    galv_json_value record, member;
    double scale = 1;
    galv_status status =
        find_record(&record, &scale, inputs, root, "layertype_0", mode, false, err);
    if (status == GALV_OK) {
        status = galv_galvatron_need(&member, record, "parameter_size", err);
    }
    if (status == GALV_OK) {
        status = galv_galvatron_number(&inputs->parameter_mib, member, err);
    }
    if (status == GALV_OK) {
        status =
            find_record(&record, &scale, inputs, root, "layertype_0", mode, true, err);
    }
    if (status == GALV_OK) {
        status =
            galv_galvatron_need(&record, record, "tp_activation_per_bsz_dict", err);
    }
    if (status == GALV_OK) {
        status = galv_galvatron_put_object(&inputs->activation_mib, record, err);
    }
    if (status == GALV_OK) {
        status = galv_galvatron_need(&member, record, "checkpoint", err);
    }
    if (status == GALV_OK) {
        status = galv_galvatron_number(&inputs->checkpoint_mib, member, err);
    }
    if (status == GALV_OK) {
        scale_by(&inputs->activation_mib, scale);
        inputs->checkpoint_mib *= scale;
    }
    return status;
}

static galv_status read_ends(galv_galvatron_inputs *inputs, galv_json_value root,
                             galv_galvatron_place place,
                             galv_galvatron_memory_mode mode, galv_err *err)
{
    static const char *const stems[GALV_GALVATRON_N_PLACES] = {
        "other_memory_pp_off", "other_memory_pp_on_first", "other_memory_pp_on_last"};
    galv_galvatron_ends *ends = &inputs->ends[place];
    galv_json_value record, member;
    double scale = 1;
    galv_status status =
        find_record(&record, &scale, inputs, root, stems[place], mode, true, err);
    if (status == GALV_OK) {
        status = galv_galvatron_need(&member, record, "model_states", err);
    }
    if (status == GALV_OK) {
        status = galv_galvatron_put_object(&ends->states_mib, member, err);
    }
    if (status == GALV_OK) {
        status = galv_galvatron_need(&member, record, "activation", err);
    }
    if (status == GALV_OK) {
        status = galv_galvatron_put_object(&ends->activation_mib, member, err);
    }
    if (status == GALV_OK) {
        scale_by(&ends->activation_mib, scale);
    }
    return status;
}

galv_status galv_galvatron_inputs_memory(galv_galvatron_inputs *inputs,
                                         galv_json_value root,
                                         galv_galvatron_memory_mode mode, galv_err *err)
{
    galv_status status = read_layer(inputs, root, mode, err);
    for (int place = 0; status == GALV_OK && place < GALV_GALVATRON_N_PLACES; place++) {
        status = read_ends(inputs, root, (galv_galvatron_place)place, mode, err);
    }
    return status;
}

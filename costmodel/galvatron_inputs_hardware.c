/* Galvatron's inputs of the hardware: bandwidths, times of collectives, the overlap.
 *
 * Bandwidths are turned round once, into ms per MiB. The group of all devices has one
 * bandwidth, whichever way its ranks are told to lie. All-gathers are not measured:
 * Galvatron takes half of an all-reduce. Messages that were measured cost what was
 * measured, all others what a line through them says, however far from the points it
 * runs (an all-gather of 1 MiB on eight GPUs comes out at 2.3 times its time). */
#include "costmodel/galvatron_inputs_internal.h"

#include "traces/galvatron_files.h"

#include <string.h>

static galv_status need_object(galv_json_value root, galv_err *err)
{
    return galv_json_type_of(root) == GALV_JSON_OBJECT
               ? GALV_OK
               : galv_json_fail(root, err, "an object is expected here");
}

static galv_status bandwidth(double *ms_per_mib, galv_json_value value, galv_err *err)
{
    double mib_per_ms = 0;
    galv_status status = galv_galvatron_number(&mib_per_ms, value, err);
    if (status == GALV_OK && !(mib_per_ms > 0)) {
        status = galv_json_fail(value, err, "a bandwidth is above 0");
    }
    if (status == GALV_OK) {
        *ms_per_mib = 1 / mib_per_ms;
    }
    return status;
}

galv_status galv_galvatron_inputs_all_reduce(galv_galvatron_inputs *inputs,
                                             galv_json_value root, galv_err *err)
{
    galv_status status = need_object(root, err);
    for (size_t i = 0; status == GALV_OK && i < galv_json_n_keys(root); i++) {
        galv_json_value value;
        int32_t key[2];
        double ms_per_mib = 0;
        if (!galv_galvatron_scan_key(galv_json_key(root, i, &value),
                                     "allreduce_size_#_consec_#", key)) {
            continue;
        }
        status = bandwidth(&ms_per_mib, value, err);
        bool everybody = key[0] == inputs->n_devices;
        if (status == GALV_OK && key[1] == 1) {
            status = galv_galvatron_put(&inputs->consecutive_ms_per_mib, key[0],
                                        ms_per_mib, value, err);
        }
        if (status == GALV_OK && (everybody ? key[1] == 1 : key[1] == 0)) {
            status = galv_galvatron_put(&inputs->strided_ms_per_mib, key[0], ms_per_mib,
                                        value, err);
        }
    }
    return status;
}

galv_status galv_galvatron_inputs_p2p(galv_galvatron_inputs *inputs,
                                      galv_json_value root, galv_err *err)
{
    galv_status status = need_object(root, err);
    for (size_t i = 0; status == GALV_OK && i < galv_json_n_keys(root); i++) {
        galv_json_value value;
        int32_t stages[1];
        double ms_per_mib = 0;
        if (!galv_galvatron_scan_key(galv_json_key(root, i, &value), "pp_size_#",
                                     stages)) {
            continue;
        }
        status = bandwidth(&ms_per_mib, value, err);
        if (status == GALV_OK) {
            status = galv_galvatron_put(&inputs->p2p_ms_per_mib, stages[0], ms_per_mib,
                                        value, err);
        }
    }
    return status;
}

static galv_status draw_lines(galv_galvatron_collective *collective, const char *what,
                              galv_json_value root, galv_err *err)
{
    for (int32_t g = 0; g < collective->n; g++) {
        galv_galvatron_times *group = &collective->groups[g];
        if (group->n < GALV_GALVATRON_MIN_POINTS) {
            return galv_json_fail(
                root, err, "%s of %d ranks: %d messages, Galvatron wants %d", what,
                (int)group->n_ranks, (int)group->n, GALV_GALVATRON_MIN_POINTS);
        }
        group->line = galv_galvatron_fit_line(group->message_mib, group->time_ms,
                                              (size_t)group->n);
    }
    return GALV_OK;
}

galv_status galv_galvatron_inputs_sp_time(galv_galvatron_inputs *inputs,
                                          galv_json_value root, galv_err *err)
{
    galv_status status = need_object(root, err);
    for (size_t i = 0; status == GALV_OK && i < galv_json_n_keys(root); i++) {
        galv_json_value value;
        int32_t key[2];
        double time_ms = 0;
        const char *text = galv_json_key(root, i, &value);
        bool reduces = galv_galvatron_scan_key(text, "allreduce_size_#_#MB_time", key);
        if (!reduces &&
            !galv_galvatron_scan_key(text, "all2all_size_#_#MB_time", key)) {
            continue;
        }
        status = galv_galvatron_number(&time_ms, value, err);
        if (status == GALV_OK) {
            status = galv_galvatron_put_time(
                reduces ? &inputs->all_gather : &inputs->all_to_all, key[0], key[1],
                reduces ? time_ms / 2 : time_ms, value, err);
        }
    }
    if (status == GALV_OK) {
        status = draw_lines(&inputs->all_gather, "all-reduces", root, err);
    }
    if (status == GALV_OK) {
        status = draw_lines(&inputs->all_to_all, "all-to-alls", root, err);
    }
    return status;
}

galv_status galv_galvatron_inputs_overlap(galv_galvatron_inputs *inputs,
                                          galv_json_value root, galv_err *err)
{
    galv_json_value value;
    galv_status status = galv_galvatron_need(&value, root, "overlap_coe", err);
    if (status == GALV_OK) {
        status =
            galv_json_to_f64(&inputs->overlap, value, 1, GALV_GALVATRON_MAX_INPUT, err);
    }
    return status;
}
